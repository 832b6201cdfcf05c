//! What can go wrong with the checkpoint, and what to do about it.

use std::path::{Path, PathBuf};

const FULL: &str = "the disk is full";

/// A failure of the checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be made.
    #[error("the checkpoint {path} cannot be made: {source}; give a folder that can be written in state.url")]
    Create {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be opened.
    #[error("the checkpoint {path} cannot be opened: {reason}")]
    Open {
        /// Where.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// There is none.
    #[error("there is no checkpoint at {path} yet; `attune sync` or `attune run` makes it")]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{path} is not a checkpoint of Attune; name another file in state.url, or move this one away")]
    NotACheckpoint {
        /// Where.
        path: PathBuf,
    },
    /// It was written by a newer Attune.
    #[error("the checkpoint {path} has version {found}, this Attune knows versions up to {known}; run a newer Attune")]
    Newer {
        /// Where.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: usize,
    },
    /// It was written by an older Attune, and this process may only read it.
    #[error(
        "the checkpoint {path} has version {found}, which an older Attune wrote; start the daemon of this version, or run \
         `attune sync`: either brings it up to date"
    )]
    Older {
        /// Where.
        path: PathBuf,
        /// Its version.
        found: usize,
    },
    /// Another process has it.
    #[error("another Attune works on this checkpoint: {holder}; stop it first")]
    Locked {
        /// Who, as far as it is known.
        holder: String,
    },
    /// The disk or the file refuses writes.
    #[error("the checkpoint cannot be written: {0}; nothing is sent until it can")]
    Unwritable(String),
    /// The name in the configuration means another system than before.
    #[error(
        "{side} {name:?} was {known} and is now {found}: refused, so that the memory of one is not used for another; \
         give the new one another name, or run `attune forget {name}` first"
    )]
    AnotherSystem {
        /// `store` or `crm`.
        side: &'static str,
        /// The name in the configuration.
        name: String,
        /// What it was.
        known: String,
        /// What it is.
        found: String,
    },
    /// A copy cannot be made.
    #[error("the copy {path} cannot be made: {reason}")]
    Backup {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What is stored cannot be read.
    #[error("the checkpoint holds something unreadable: {0}")]
    Encoding(String),
    /// Anything else the database says.
    #[error("the checkpoint's database failed: {0}")]
    Database(String),
}

impl Error {
    /// What the file system says when a file is to be made.
    pub(super) fn create(path: &Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        if matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge) {
            return Self::Unwritable(FULL.to_owned());
        }
        Self::Create { path: path.to_owned(), source }
    }

    pub(super) fn open(path: &Path, error: sqlx::Error) -> Self {
        let reason = match code(&error) {
            Some(26 | 11) => return Self::NotACheckpoint { path: path.to_owned() },
            Some(8) => "it is read-only; make it writable for this user".to_owned(),
            Some(14) => "its folder is missing, or cannot be written by this user".to_owned(),
            // These pass, and nobody need change the configuration.
            Some(5 | 10 | 13) => return error.into(),
            _ => error.to_string(),
        };
        Self::Open { path: path.to_owned(), reason }
    }

    /// Whether a change of configuration (and nothing else) mends it.
    pub const fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Create { .. }
                | Self::Open { .. }
                | Self::NotACheckpoint { .. }
                | Self::Newer { .. }
                | Self::Older { .. }
                | Self::AnotherSystem { .. }
        )
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match code(&error) {
            Some(8) => Self::Unwritable("it is read-only".to_owned()),
            Some(13) => Self::Unwritable(FULL.to_owned()),
            Some(5) => Self::Unwritable("another program keeps it locked".to_owned()),
            Some(10) => Self::Unwritable(format!("the disk failed ({error})")),
            Some(11 | 26) => Self::Unwritable("the file is damaged; restore a copy or start a new one".to_owned()),
            _ => Self::Database(error.to_string()),
        }
    }
}

/// SQLite's primary result code (<https://sqlite.org/rescode.html>).
fn code(error: &sqlx::Error) -> Option<i64> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i64>().ok().map(|code| code & 0xff)
}
