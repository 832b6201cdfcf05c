//! Making and removing rows of a SQLite table.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::{Sqlite, gone_sql, key_type, millis_sql, primary_code, resolution_ms, text_time_sql, written_time_sql};
use crate::connector::sql::dialect::{
    CALL_LIMIT, InsertedRow, Make, Native, RowStatement, UpdateError, is_about_the_row, timed_out,
};
use crate::connector::sql::lifecycle::NewRow;
use crate::connector::sql::table::Table;
use crate::connector::sql::times::{TextStyle, Times};

#[async_trait]
impl Make for Sqlite {
    async fn insert(&self, table: &Table, rows: &[NewRow]) -> Result<Vec<InsertedRow>, UpdateError> {
        self.each(&rows.iter().map(|row| insert(table, row)).collect::<Vec<_>>()).await
    }

    async fn remove(&self, table: &Table, keys: &[&str]) -> Result<Vec<Option<sqlx::Error>>, UpdateError> {
        let statements: Vec<RowStatement> = keys.iter().map(|key| remove(table, key)).collect();
        Ok(self.each(&statements).await?.into_iter().map(Result::err).collect())
    }
}

impl Sqlite {
    /// Runs statements in one transaction, each undone alone where the database refuses its row.
    async fn each(&self, statements: &[RowStatement]) -> Result<Vec<InsertedRow>, UpdateError> {
        let mut connection = self.pool.acquire().await.map_err(UpdateError::not_done)?;
        let committing = AtomicBool::new(false);
        let work = self.transact_each(&mut connection, statements, &committing);
        let error = match tokio::time::timeout(CALL_LIMIT, work).await {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(error)) => {
                if sqlx::query("ROLLBACK").execute(&mut *connection).await.is_err() {
                    drop(connection.detach());
                }
                error
            }
            Err(_) => {
                drop(connection.detach());
                timed_out()
            }
        };
        // As for an update: until the commit is sent nothing can have happened, and one that was refused was rolled back.
        let refused = matches!(&error, sqlx::Error::Database(error) if matches!(primary_code(error.as_ref()), 5 | 19));
        Err(UpdateError { error, may_have_happened: committing.load(Ordering::Relaxed) && !refused })
    }

    async fn transact_each(
        &self,
        connection: &mut SqliteConnection,
        statements: &[RowStatement],
        committing: &AtomicBool,
    ) -> Result<Vec<InsertedRow>, sqlx::Error> {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        let mut rows = Vec::with_capacity(statements.len());
        for statement in statements {
            sqlx::query("SAVEPOINT attune_row").execute(&mut *connection).await?;
            let mut query = sqlx::query_scalar(AssertSqlSafe(statement.sql.clone())).persistent(false);
            for value in &statement.values {
                query = query.bind(value.clone());
            }
            // To the end: a statement can fail after it has shown its row.
            let shown: Result<Vec<Option<String>>, sqlx::Error> = query.fetch_all(&mut *connection).await;
            let row = shown.map(|rows| rows.into_iter().flatten().next());
            let undone = match &row {
                Ok(row) => row.is_none() && statement.tells_key,
                Err(error) => is_about_the_row(self, error),
            };
            if undone {
                let rollback = sqlx::query("ROLLBACK TO attune_row").execute(&mut *connection).await;
                // A trigger that rolled back all has ended the transaction: then nothing is left to go on with.
                if let Err(rollback) = rollback {
                    return Err(row.err().unwrap_or(rollback));
                }
            } else if let Err(error) = row {
                return Err(error);
            }
            sqlx::query("RELEASE attune_row").execute(&mut *connection).await?;
            rows.push(row);
        }
        committing.store(true, Ordering::Relaxed);
        sqlx::query("COMMIT").execute(&mut *connection).await?;
        Ok(rows)
    }
}

/// The time of a row that is made or marked now, by the clock of the database, as `w.m`.
fn now_sql(table: &Table) -> String {
    let resolution = resolution_ms(&table.times);
    format!("(SELECT {}/{resolution}*{resolution} AS m) AS w", super::NOW_MS)
}

/// `OR ABORT`, whatever the table's own clauses say: no other row is ever replaced.
fn insert(table: &Table, row: &NewRow) -> RowStatement {
    let layout = &table.layout;
    let key = &layout.key.quoted;
    let (mut columns, mut inputs, mut values) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(given) = &row.key {
        columns.push(key.as_str());
        inputs.push(format!("CAST(?1 AS {})", key_type(table.key_kind)));
        values.push(given.clone());
    }
    for (slot, value) in &row.values {
        let slot = &layout.slots[*slot];
        values.push(value.clone());
        columns.push(&slot.quoted);
        inputs.push(match &slot.cast {
            Some(kind) => format!("CAST(?{} AS {kind})", values.len()),
            None => format!("?{}", values.len()),
        });
    }
    if table.sets_modified {
        columns.push(&layout.modified.quoted);
        inputs.push(written_time_sql(&table.times));
    }
    let sql = format!(
        "INSERT OR ABORT INTO {} ({}) SELECT {} FROM {} WHERE true RETURNING CAST({key} AS TEXT)",
        layout.quoted,
        columns.join(", "),
        inputs.join(", "),
        now_sql(table)
    );
    RowStatement { sql, values, tells_key: true }
}

/// The key to the byte, whatever the collation takes for equal: what is deleted does not come back.
fn remove(table: &Table, key: &str) -> RowStatement {
    let layout = &table.layout;
    let (column, kind) = (format!("t.{}", layout.key.quoted), key_type(table.key_kind));
    let is_it = format!("{column} = CAST(?1 AS {kind}) AND CAST({column} AS TEXT) COLLATE BINARY = ?1");
    let sql = match &layout.deleted {
        None => format!("DELETE FROM {} AS t WHERE {is_it}", layout.quoted),
        Some(deleted) => {
            let mark = match deleted.column.native {
                Native::Integer | Native::Number | Native::BooleanAsNumber => "1".to_owned(),
                _ => match &table.times {
                    Times::Text(style) => text_time_sql(style),
                    _ => text_time_sql(&TextStyle::RFC_3339),
                },
            };
            let mut sets = format!("{} = {mark}", deleted.quoted);
            if table.sets_modified && layout.modified.quoted != deleted.quoted {
                let modified = &layout.modified.quoted;
                let column = format!("t.{modified}");
                sets.push_str(&format!(
                    ", {modified} = CASE WHEN coalesce({} >= w.m, 0) THEN {column} ELSE {} END",
                    millis_sql(&column, &table.times),
                    written_time_sql(&table.times)
                ));
            }
            format!(
                "UPDATE OR ABORT {} AS t SET {sets} FROM {} WHERE {is_it} AND NOT {}",
                layout.quoted,
                now_sql(table),
                gone_sql(layout)
            )
        }
    };
    RowStatement { sql, values: vec![key.to_owned()], tells_key: false }
}
