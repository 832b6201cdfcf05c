//! Finding rows of a PostgreSQL table by what they hold.

use async_trait::async_trait;
use futures::FutureExt;
use sqlx::{AssertSqlSafe, Row};

use super::{Postgres, gone_sql};
use crate::connector::sql::cells::RawCell;
use crate::connector::sql::dialect::{Find, keys_of, on_connection};
use crate::connector::sql::lookup::Sought;
use crate::connector::sql::table::Table;

#[async_trait]
impl Find for Postgres {
    async fn count_rows(&self, table: &Table) -> Result<u64, sqlx::Error> {
        let layout = &table.layout;
        let sql = format!("SELECT count(*) FROM {} AS t WHERE NOT {}", layout.quoted, gone_sql(layout));
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool).await?;
        Ok(rows.unsigned_abs())
    }

    /// In the collation "C" letters and ranges are those of ASCII, whatever the column's own is. The values are a subquery, which
    /// is hashed: an array would be walked for each row.
    async fn find(&self, table: &Table, sought: Sought) -> Result<Vec<String>, sqlx::Error> {
        let (layout, column) = (&table.layout, format!("t.{}", sought.column.quoted));
        let (key, name) = (&layout.key.quoted, &layout.quoted);
        let plain = if sought.fold { "lower(btrim(held))" } else { "btrim(held)" };
        let sql = format!(
            "SELECT key, held FROM (SELECT t.{key}::text AS key, {column}::text COLLATE \"C\" AS held FROM {name} AS t \
             WHERE {column} IS NOT NULL AND t.{key} IS NOT NULL AND NOT {}) AS t \
             WHERE {plain} IN (SELECT unnest($1::text[])) OR held ~ '[^ -~]'",
            gone_sql(layout)
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(sought.values.clone());
        on_connection(&self.pool, move |connection| {
            async move {
                keys_of(query.fetch(connection), &sought, |row| Ok((row.try_get(0)?, RawCell::Text(row.try_get(1)?))))
                    .await
            }
            .boxed()
        })
        .await
    }
}
