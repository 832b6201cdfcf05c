//! The lock of the one process that may write: an operating-system lock on a file beside the checkpoint. It ends with
//! the process, however it ends; no lease, no waiting.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::Error;

/// Held for as long as the value lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the checkpoint at `path`, or says who has it.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it; [`Error::Create`] when the file cannot be made.
    pub fn take(path: &Path, who: &str) -> Result<Self, Error> {
        use std::os::unix::fs::OpenOptionsExt;
        let place = beside(path, "lock");
        let failed = |source| Error::create(&place, source);
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&place)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(failed)?;
                write!(file, "{who}").map_err(failed)?;
                Ok(Self { _file: file })
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.rewind().and_then(|()| file.read_to_string(&mut holder).map(drop));
                Err(Error::Locked { holder: if holder.is_empty() { "process unknown".to_owned() } else { holder } })
            }
            Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// The file beside the checkpoint with this ending.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
