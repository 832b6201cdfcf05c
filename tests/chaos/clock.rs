//! Attune's clock: libfaketime before the process, where Debian's package is installed. Its file says how far it is off.

use std::path::{Path, PathBuf};

use tokio::process::Command;

pub struct OurClock {
    library: Option<PathBuf>,
    file: PathBuf,
}

/// Where Debian puts it.
pub fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let paths = folders.filter_map(|folder| Some(folder.ok()?.path().join("faketime/libfaketime.so.1")));
    paths.into_iter().find(|path| path.exists())
}

impl OurClock {
    /// One that can be stepped, if that is wanted and can be done.
    pub fn new(folder: &Path, wanted: bool) -> Self {
        let clock = Self { library: library().filter(|_| wanted), file: folder.join("clock") };
        clock.step(0);
        clock
    }

    pub const fn steps(&self) -> bool {
        self.library.is_some()
    }

    /// It is ahead so far from now on.
    pub fn step(&self, ahead_ms: i64) {
        if self.steps() {
            // In one move: a process that reads half a file would see any time.
            let new = self.file.with_extension("new");
            std::fs::write(&new, format!("{:+}.{:03}\n", ahead_ms / 1000, ahead_ms.abs() % 1000)).unwrap();
            std::fs::rename(&new, &self.file).unwrap();
        }
    }

    pub fn apply(&self, command: &mut Command) {
        if let Some(library) = &self.library {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", &self.file)
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
    }
}
