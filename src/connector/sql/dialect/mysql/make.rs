//! Making and removing rows of a MySQL or MariaDB table. MySQL tells no key but one that it counted; MariaDB any.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlConnection;

use super::{MySqlServer, as_text, gone_sql, lost, stored_sql, text, written_time_sql};
use crate::connector::sql::dialect::{
    CALL_LIMIT, InsertedRow, Make, Native, RowStatement, UpdateError, is_about_the_row, timed_out,
};
use crate::connector::sql::lifecycle::NewRow;
use crate::connector::sql::table::{KeyKind, Table};

/// How the key of a new row is told.
#[derive(Clone, Debug)]
enum KeyIs {
    /// It was given.
    Given(String),
    /// The server counts it.
    Counted,
    /// The server shows it.
    Shown,
    /// Nobody asks.
    Unasked,
}

#[async_trait]
impl Make for MySqlServer {
    async fn insert(&self, table: &Table, rows: &[NewRow]) -> Result<Vec<InsertedRow>, UpdateError> {
        let is_counted = table.key_kind == KeyKind::Integer;
        let shows_rows = !is_counted && self.shows_rows().await.map_err(UpdateError::not_done)?;
        let statements = rows.iter().map(|row| {
            let key_is = match &row.key {
                Some(key) => KeyIs::Given(key.clone()),
                None if shows_rows => KeyIs::Shown,
                None => KeyIs::Counted,
            };
            (insert(table, row, &key_is), key_is)
        });
        self.each(&statements.collect::<Vec<_>>()).await
    }

    async fn remove(&self, table: &Table, keys: &[&str]) -> Result<Vec<Option<sqlx::Error>>, UpdateError> {
        let statements: Vec<_> = keys.iter().map(|key| (remove(table, key), KeyIs::Unasked)).collect();
        Ok(self.each(&statements).await?.into_iter().map(Result::err).collect())
    }
}

impl MySqlServer {
    /// Whether the server shows the rows that it inserts: MariaDB does.
    async fn shows_rows(&self) -> Result<bool, sqlx::Error> {
        let row = sqlx::query("SELECT CONVERT(VERSION() USING utf8mb4)").fetch_one(&self.pool).await?;
        Ok(text(&row, 0)?.is_some_and(|version| version.contains("MariaDB")))
    }

    /// Runs statements in one transaction, each undone alone where the database refuses its row.
    async fn each(&self, statements: &[(RowStatement, KeyIs)]) -> Result<Vec<InsertedRow>, UpdateError> {
        let mut connection = self.pool.acquire().await.map_err(UpdateError::not_done)?;
        let committing = AtomicBool::new(false);
        let work = self.transact_each(&mut connection, statements, &committing);
        let error = match tokio::time::timeout(CALL_LIMIT, work).await {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(error)) => error,
            Err(_) => timed_out(),
        };
        // As for an update: until the commit is sent nothing can have happened, and a refused one has rolled back.
        drop(connection.detach());
        let refused = matches!(&error, sqlx::Error::Database(error) if !lost(error.as_ref()));
        Err(UpdateError { may_have_happened: committing.load(Ordering::Relaxed) && !refused, error })
    }

    async fn transact_each(
        &self,
        connection: &mut MySqlConnection,
        statements: &[(RowStatement, KeyIs)],
        committing: &AtomicBool,
    ) -> Result<Vec<InsertedRow>, sqlx::Error> {
        sqlx::raw_sql("START TRANSACTION").execute(&mut *connection).await?;
        let mut rows = Vec::with_capacity(statements.len());
        for (statement, key_is) in statements {
            sqlx::raw_sql("SAVEPOINT attune_row").execute(&mut *connection).await?;
            let row = run(connection, statement, key_is).await;
            match row {
                Ok(Some(_)) => {}
                Ok(None) if !statement.tells_key => {}
                Err(error) if !is_about_the_row(self, &error) => return Err(error),
                _ => _ = sqlx::raw_sql("ROLLBACK TO SAVEPOINT attune_row").execute(&mut *connection).await?,
            }
            rows.push(row);
        }
        committing.store(true, Ordering::Relaxed);
        sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
        Ok(rows)
    }
}

/// Runs a statement: the key of its row.
async fn run(
    connection: &mut MySqlConnection,
    statement: &RowStatement,
    key_is: &KeyIs,
) -> Result<Option<String>, sqlx::Error> {
    let mut query = sqlx::query(AssertSqlSafe(statement.sql.clone())).persistent(false);
    for value in &statement.values {
        query = query.bind(value.clone());
    }
    if let KeyIs::Shown = key_is {
        let rows = query.fetch_all(connection).await?;
        return rows.first().map_or(Ok(None), |row| text(row, 0));
    }
    let done = query.execute(connection).await?;
    Ok(match key_is {
        KeyIs::Given(key) => Some(key.clone()),
        KeyIs::Counted => Some(done.last_insert_id()).filter(|id| *id > 0).map(|id| id.to_string()),
        KeyIs::Shown | KeyIs::Unasked => None,
    })
}

fn insert(table: &Table, row: &NewRow, key_is: &KeyIs) -> RowStatement {
    let layout = &table.layout;
    let (mut columns, mut inputs, mut values) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(given) = &row.key {
        columns.push(&layout.key.quoted);
        inputs.push("?".to_owned());
        values.push(given.clone());
    }
    for (slot, value) in &row.values {
        let slot = &layout.slots[*slot];
        columns.push(&slot.quoted);
        inputs.push(stored_sql(&slot.column.native, "?"));
        values.push(value.clone());
    }
    let modified = &layout.modified.quoted;
    if table.sets_modified {
        columns.push(modified);
        inputs.push(written_time_sql(table, "0"));
    }
    let columns: Vec<&str> = columns.into_iter().map(String::as_str).collect();
    let shown = match key_is {
        KeyIs::Shown => format!(" RETURNING {}", as_text(&layout.key.quoted)),
        _ => String::new(),
    };
    // There is no time yet that must not be lowered.
    let sql = format!(
        "INSERT INTO {} ({}) SELECT {} FROM (SELECT NULL AS {modified}) AS t{shown}",
        layout.quoted,
        columns.join(", "),
        inputs.join(", "),
    );
    RowStatement { sql, values, tells_key: true }
}

/// The key to the byte, whatever the collation takes for equal: what is deleted does not come back.
fn remove(table: &Table, key: &str) -> RowStatement {
    let layout = &table.layout;
    let column = format!("t.{}", layout.key.quoted);
    let is_it = format!("{column} = ? AND CAST({} AS BINARY) = CAST(? AS BINARY)", as_text(&column));
    let sql = match &layout.deleted {
        None => format!("DELETE t FROM {} AS t WHERE {is_it}", layout.quoted),
        Some(deleted) => {
            let mark = match deleted.column.native {
                Native::BooleanAsNumber | Native::Integer | Native::Number => "1",
                Native::Instant | Native::LocalTime => "UTC_TIMESTAMP()",
                Native::Date => "UTC_DATE()",
                _ => "DATE_FORMAT(UTC_TIMESTAMP(), '%Y-%m-%dT%H:%i:%sZ')",
            };
            let mut sets = format!("t.{} = {mark}", deleted.quoted);
            if table.sets_modified && layout.modified.quoted != deleted.quoted {
                sets.push_str(&format!(", t.{} = {}", layout.modified.quoted, written_time_sql(table, "0")));
            }
            format!("UPDATE {} AS t SET {sets} WHERE {is_it} AND NOT {}", layout.quoted, gone_sql(layout))
        }
    };
    RowStatement { sql, values: vec![key.to_owned(), key.to_owned()], tells_key: false }
}
