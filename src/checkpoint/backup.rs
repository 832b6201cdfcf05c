//! A copy of the checkpoint, in one file, while others work on it.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row as _};

use super::database::statement;
use super::{Checkpoint, Error, verify};

impl Checkpoint {
    /// Copies what is remembered at this moment into a new file (mode 0600), and makes sure that the copy is whole. Answers its
    /// size in bytes. Whatever goes wrong, no file is left.
    ///
    /// # Errors
    /// When there is a file already, or it cannot be written; when the copy is damaged.
    pub async fn back_up(&self, path: &Path) -> Result<u64, Error> {
        let failed = |source: std::io::Error| Error::Backup { path: path.to_owned(), reason: source.to_string() };
        // SQLite takes an empty file; made by us it is ours alone from its first byte.
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let unfinished = Unfinished(Some(path.to_owned()));
        let shown = path
            .to_str()
            .ok_or_else(|| Error::Backup { path: path.to_owned(), reason: "its name is no UTF-8".to_owned() })?;
        {
            let mut database = self.shared.database.lock().await;
            database.execute(statement("VACUUM INTO ?1").bind(shown)).await?;
        }
        file.sync_all().map_err(failed)?;
        check(path).await?;
        let size_bytes = file.metadata().map_err(failed)?.len();
        unfinished.keep();
        Ok(size_bytes)
    }
}

/// Reads all of a copy.
async fn check(path: &Path) -> Result<(), Error> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    let mut connection = options.connect().await.map_err(|source| Error::open(path, source))?;
    verify(&mut connection, Some(path)).await?;
    let found: String = sqlx::query("PRAGMA integrity_check(1)").fetch_one(&mut connection).await?.get(0);
    connection.close().await.map_err(|source| Error::open(path, source))?;
    if found == "ok" {
        return Ok(());
    }
    Err(Error::Backup { path: path.to_owned(), reason: format!("the copy is damaged: {found}") })
}

/// A file that is removed unless it is kept.
struct Unfinished(Option<PathBuf>);

impl Unfinished {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What cannot be removed was said to have failed all the same.
            let _ = std::fs::remove_file(path);
        }
    }
}
