//! Making and removing rows of a PostgreSQL table.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::{Postgres, gone_sql, key_type, loses_answers, written_time_sql};
use crate::connector::sql::dialect::{
    CALL_LIMIT, InsertedRow, Make, Native, RowStatement, UpdateError, is_about_the_row, timed_out,
};
use crate::connector::sql::lifecycle::NewRow;
use crate::connector::sql::table::Table;

/// A time that is asked for by nobody, under the name that [`written_time_sql`] has for it.
const NO_TIME_SQL: &str = "(SELECT 0::int8 AS m) AS w";

#[async_trait]
impl Make for Postgres {
    async fn insert(&self, table: &Table, rows: &[NewRow]) -> Result<Vec<InsertedRow>, UpdateError> {
        self.each(&rows.iter().map(|row| insert(table, row)).collect::<Vec<_>>()).await
    }

    async fn remove(&self, table: &Table, keys: &[&str]) -> Result<Vec<Option<sqlx::Error>>, UpdateError> {
        let statements: Vec<RowStatement> = keys.iter().map(|key| remove(table, key)).collect();
        Ok(self.each(&statements).await?.into_iter().map(Result::err).collect())
    }
}

impl Postgres {
    /// Runs statements in one transaction, each undone alone where the database refuses its row.
    async fn each(&self, statements: &[RowStatement]) -> Result<Vec<InsertedRow>, UpdateError> {
        let mut connection = self.pool.acquire().await.map_err(UpdateError::not_done)?;
        let committing = AtomicBool::new(false);
        let work = self.transact_each(&mut connection, statements, &committing);
        let error = match tokio::time::timeout(CALL_LIMIT, work).await {
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(error)) => error,
            Err(_) => timed_out(),
        };
        // Until the commit is sent nothing can have happened, and a commit that the server refuses has rolled back. A
        // connection that is given up ends its transaction.
        drop(connection.detach());
        Err(UpdateError { may_have_happened: committing.load(Ordering::Relaxed) && loses_answers(&error), error })
    }

    async fn transact_each(
        &self,
        connection: &mut PgConnection,
        statements: &[RowStatement],
        committing: &AtomicBool,
    ) -> Result<Vec<InsertedRow>, sqlx::Error> {
        sqlx::query("BEGIN").execute(&mut *connection).await?;
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
            match row {
                Ok(Some(_)) => {}
                Ok(None) if !statement.tells_key => {}
                Err(error) if !is_about_the_row(self, &error) => return Err(error),
                _ => _ = sqlx::query("ROLLBACK TO SAVEPOINT attune_row").execute(&mut *connection).await?,
            }
            sqlx::query("RELEASE SAVEPOINT attune_row").execute(&mut *connection).await?;
            rows.push(row);
        }
        committing.store(true, Ordering::Relaxed);
        sqlx::query("COMMIT").execute(&mut *connection).await?;
        Ok(rows)
    }
}

fn insert(table: &Table, row: &NewRow) -> RowStatement {
    let layout = &table.layout;
    let key = &layout.key.quoted;
    let (mut columns, mut inputs, mut values) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(given) = &row.key {
        columns.push(key.as_str());
        inputs.push(format!("$1::text::{}", key_type(table)));
        values.push(given.clone());
    }
    for (slot, value) in &row.values {
        let slot = &layout.slots[*slot];
        values.push(value.clone());
        columns.push(&slot.quoted);
        inputs.push(format!("${}::text::{}", values.len(), slot.cast.as_deref().unwrap_or("text")));
    }
    if table.sets_modified {
        let modified = &layout.modified;
        columns.push(&modified.quoted);
        // There is no time yet that must not be lowered.
        let none = format!("NULL::{}", modified.cast.as_deref().unwrap_or("text"));
        inputs.push(written_time_sql(&none, table));
    }
    let sql = format!(
        "INSERT INTO {} ({}) SELECT {} FROM {NO_TIME_SQL} RETURNING {key}::text",
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
    let is_it = format!("{column} = $1::text::{} AND {column}::text COLLATE \"C\" = $1::text", key_type(table));
    let sql = match &layout.deleted {
        None => format!("DELETE FROM {} AS t WHERE {is_it}", layout.quoted),
        Some(deleted) => {
            let mark = match deleted.column.native {
                Native::Boolean => "true",
                Native::Integer | Native::Number => "1",
                Native::Instant => "now()",
                Native::LocalTime => "now() AT TIME ZONE 'UTC'",
                Native::Date => "(now() AT TIME ZONE 'UTC')::date",
                _ => "to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')",
            };
            let mut sets = format!("{} = {mark}", deleted.quoted);
            if table.sets_modified && layout.modified.quoted != deleted.quoted {
                let modified = &layout.modified.quoted;
                sets.push_str(&format!(", {modified} = {}", written_time_sql(&format!("t.{modified}"), table)));
            }
            format!(
                "UPDATE {} AS t SET {sets} FROM {NO_TIME_SQL} WHERE {is_it} AND NOT {}",
                layout.quoted,
                gone_sql(layout)
            )
        }
    };
    RowStatement { sql, values: vec![key.to_owned()], tells_key: false }
}
