//! Checkpoints of older versions: brought up when opened for writing, refused with what to do when opened for reading.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::{APPLICATION_ID, Checkpoint, Error, MIGRATIONS};
use crate::model::Side;

/// A checkpoint as the version that took so many steps left it.
async fn left_by(version: usize, path: &std::path::Path) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    for step in &MIGRATIONS[..version] {
        sqlx::raw_sql(*step).execute(&mut connection).await.unwrap();
    }
    let marks = format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};
         INSERT INTO source (side, name, identity, swept_at) VALUES ('crm', 'erp', 'the erp', 77);"
    );
    sqlx::raw_sql(AssertSqlSafe(marks)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn every_older_version_is_brought_up_with_what_it_remembers() {
    for version in 1..=MIGRATIONS.len() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("attune.db");
        left_by(version, &path).await;
        let is_older = version < MIGRATIONS.len();
        let to_read = Checkpoint::open_to_read(&path).await;
        assert_eq!(matches!(&to_read, Err(Error::Older { found, .. }) if *found == version), is_older);
        drop(to_read);
        drop(Checkpoint::open(&path).await.unwrap());
        let checkpoint = Checkpoint::open_to_read(&path).await.unwrap();
        let mut transaction = checkpoint.read().await.unwrap();
        let row = transaction.source(Side::Crm, "erp").await.unwrap().unwrap();
        assert_eq!((row.identity.as_deref(), row.by_key), (Some("the erp"), false));
        transaction.end().await.unwrap();
    }
}
