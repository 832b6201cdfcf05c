//! Finding rows of a MySQL or MariaDB table by what they hold.

use async_trait::async_trait;
use futures::FutureExt;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Row};

use super::{MySqlServer, as_text, gone_sql, places, text};
use crate::connector::sql::cells::RawCell;
use crate::connector::sql::dialect::{Find, keys_of, on_connection};
use crate::connector::sql::lookup::Sought;
use crate::connector::sql::table::Table;

#[async_trait]
impl Find for MySqlServer {
    async fn count_rows(&self, table: &Table) -> Result<u64, sqlx::Error> {
        let layout = &table.layout;
        let sql = format!("SELECT COUNT(*) FROM {} AS t WHERE NOT {}", layout.quoted, gone_sql(layout));
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&self.pool).await?;
        Ok(row.try_get_unchecked::<i64, _>(0)?.unsigned_abs())
    }

    /// In a binary collation letters and ranges are those of ASCII, whatever the column's own is.
    async fn find(&self, table: &Table, sought: Sought) -> Result<Vec<String>, sqlx::Error> {
        let (layout, column) = (&table.layout, format!("t.{}", sought.column.quoted));
        let key = &layout.key.quoted;
        let held = format!("{} COLLATE utf8mb4_bin", as_text(&column));
        let plain = if sought.fold { format!("LOWER(TRIM({held}))") } else { format!("TRIM({held})") };
        let sql = format!(
            "SELECT {}, {held} FROM {} AS t WHERE {column} IS NOT NULL AND t.{key} IS NOT NULL AND NOT {} \
             AND ({plain} IN {} OR {held} REGEXP '[^ -~]')",
            as_text(&format!("t.{key}")),
            layout.quoted,
            gone_sql(layout),
            places(sought.values.len())
        );
        // Its text differs by how many values there are: kept, such statements would fill the server's memory.
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for value in &sought.values {
            query = query.bind(value.clone());
        }
        on_connection(&self.pool, move |connection| {
            async move {
                keys_of(query.fetch(connection), &sought, |row: &MySqlRow| {
                    let held = text(row, 1)?.map_or(RawCell::Null, RawCell::Text);
                    Ok((text(row, 0)?.unwrap_or_default(), held))
                })
                .await
            }
            .boxed()
        })
        .await
    }
}
