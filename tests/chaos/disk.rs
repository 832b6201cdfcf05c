//! The checkpoint's disk: a small tmpfs that can be filled, where we may mount one. Otherwise the files of the next
//! process may not grow (`ulimit -f`, with SIGXFSZ ignored, so that a write fails as on a full disk).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Disk {
    folder: PathBuf,
    mounted: bool,
    limited: AtomicBool,
}

/// Whether a tmpfs may be mounted here.
pub fn can_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    Disk::new(&folder.path().join("disk"), true).is_mounted()
}

/// More than a checkpoint takes when there is no ballast. Its log alone may grow to 4 MB, and cannot shrink on a disk
/// that it fills by itself: no more than on a real one would that mend itself.
const SIZE: &str = "size=16m";

impl Disk {
    /// A folder for the checkpoint. On a disk of its own if it is to be full once.
    pub fn new(folder: &Path, wanted: bool) -> Self {
        std::fs::create_dir(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(folder).stderr(Stdio::null());
        let mounted = wanted && mount.status().is_ok_and(|status| status.success());
        Self { folder: folder.to_owned(), mounted, limited: AtomicBool::new(false) }
    }

    pub const fn is_mounted(&self) -> bool {
        self.mounted
    }

    /// Not a byte more can be written: at once, or by the next process.
    pub fn fill(&self) {
        if !self.mounted {
            return self.limited.store(true, Ordering::SeqCst);
        }
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        for size in [65_536, 4_096] {
            let block = vec![1; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    pub fn free(&self) {
        if self.mounted {
            std::fs::remove_file(self.ballast()).unwrap();
        }
        self.limited.store(false, Ordering::SeqCst);
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// What to run so that the program runs on this disk, and what comes before its arguments.
    pub fn program(&self, program: &str) -> (String, Vec<String>) {
        if !self.limited.load(Ordering::SeqCst) {
            return (program.to_owned(), Vec::new());
        }
        // Less than a checkpoint has: whatever is added to it fails.
        let script = "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\"";
        ("sh".to_owned(), vec!["-c".to_owned(), script.to_owned(), program.to_owned()])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: whoever still holds a file of it does not keep it.
            let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        }
    }
}
