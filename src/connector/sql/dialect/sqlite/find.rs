//! Finding rows of a SQLite table by what they hold.

use async_trait::async_trait;
use futures::FutureExt;
use sqlx::{AssertSqlSafe, Row};

use super::{Sqlite, gone_sql, keys_json, text_sql};
use crate::connector::sql::cells::{Codec, RawCell};
use crate::connector::sql::dialect::{Find, keys_of, on_connection};
use crate::connector::sql::lookup::Sought;
use crate::connector::sql::table::Table;

#[async_trait]
impl Find for Sqlite {
    async fn count_rows(&self, table: &Table) -> Result<u64, sqlx::Error> {
        let layout = &table.layout;
        // Without a condition an index is counted.
        let condition =
            layout.deleted.as_ref().map_or_else(String::new, |_| format!(" WHERE NOT {}", gone_sql(layout)));
        let sql = format!("SELECT count(*) FROM {} AS t{condition}", layout.quoted);
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool).await?;
        Ok(rows.unsigned_abs())
    }

    /// `lower` and `trim` know printable ASCII here, which is what they are asked about.
    async fn find(&self, table: &Table, sought: Sought) -> Result<Vec<String>, sqlx::Error> {
        let (layout, column) = (&table.layout, format!("t.{}", sought.column.quoted));
        let (key, name, text) = (&layout.key.quoted, &layout.quoted, text_sql(&column));
        let plain = if sought.fold { "lower(trim(held))" } else { "trim(held)" };
        // A real number among whole ones may be written with an exponent.
        let odd = if sought.codec == Codec::Number { " OR held GLOB '*e*'" } else { "" };
        let sql = format!(
            "SELECT key, held FROM (SELECT CAST(t.{key} AS TEXT) AS key, {text} AS held FROM {name} AS t \
             WHERE typeof({column}) NOT IN ('null', 'blob') AND t.{key} IS NOT NULL AND NOT {}) \
             WHERE {plain} IN (SELECT value FROM json_each(?1)) OR held GLOB '*[^ -~]*'{odd}",
            gone_sql(layout)
        );
        let values: Vec<&str> = sought.values.iter().map(String::as_str).collect();
        let query = sqlx::query(AssertSqlSafe(sql)).bind(keys_json(&values)?);
        on_connection(&self.pool, move |connection| {
            async move {
                keys_of(query.fetch(connection), &sought, |row| {
                    let held = String::from_utf8(row.try_get(1)?).map_or(RawCell::Unreadable, RawCell::Text);
                    Ok((row.try_get(0)?, held))
                })
                .await
            }
            .boxed()
        })
        .await
    }
}
