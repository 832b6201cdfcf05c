//! MySQL (8.0 and later) and MariaDB (10.5 and later). Our sessions speak UTC and are strict: a value that does not fit
//! is an error, never cut.
//!
//! Neither database answers an `UPDATE` with its rows, and both compare text by collations that ignore case and blanks.
//! So a batch is one transaction: its rows are read and locked, compared here to the byte, written, and read back.

mod find;
mod make;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use sqlx::error::DatabaseError;
use sqlx::mysql::{
    MySql, MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlPool, MySqlPoolOptions,
    MySqlRow,
};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use tokio::sync::OnceCell;

use super::{
    CALL_LIMIT, CONNECT_LIMIT, Column, Dialect, Inspection, NOT_DELETED_SQL, Native, PAGE_ROWS, RawPage, RawRow,
    Relation, RowUpdate, SAMPLE_ROWS, Sample, Scope, Statements, UpdateError, Updated, count_sql, day_before,
    misconfigured, narrow_sql, odd_times_sql, on_connection, page_of, reach, time_sample, timed_out, windowed, windows,
};
use crate::connector::sql::cells::RawCell;
use crate::connector::sql::fault::{Label, Meaning};
use crate::connector::sql::table::{KeyKind, Layout, Slot, Table};
use crate::connector::sql::times::{TextStyle, Times, Unit};
use crate::model::{Class, Failure, Timestamp};

/// Connections that one source keeps at most.
const CONNECTIONS: u32 = 4;
/// Whatever the server's own modes are: nothing is cut or rounded in silence, names are quoted as we quote them, and no
/// lock is waited for beyond this.
const SESSION_SQL: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', \
                           innodb_lock_wait_timeout = 10, lock_wait_timeout = 10";
const EPOCH: &str = "TIMESTAMP'1970-01-01 00:00:00'";
/// The columns before those of the slots in a row that is read.
const FIRST_CELL: usize = 3;
/// A statement takes 65,535 values.
const VALUES_MAX: usize = 60_000;
/// Dates of the year 0 are no times.
const NO_DATE: &str = "'1000-01-01'";

/// A database of a MySQL or MariaDB server.
pub(super) struct MySqlServer {
    pool: MySqlPool,
    options: MySqlConnectOptions,
    /// What the server is: asked once.
    server: OnceCell<String>,
}

impl MySqlServer {
    /// The database that the URL names.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub(super) fn open(url: &str, label: &Label) -> Result<Self, Failure> {
        let next = "write mysql://USER:PASSWORD@HOST/DATABASE, with special characters percent-encoded";
        let options = MySqlConnectOptions::from_str(url)
            .map_err(|_| misconfigured(label, "`url` is no URL of a MySQL or MariaDB database", next))?
            .disable_statement_logging();
        let pool = MySqlPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT_LIMIT)
            // No lifetimes, so no maintenance task: the one of sqlx 0.9 was seen to spin for ever in a small pool.
            .max_lifetime(None)
            .idle_timeout(None)
            .after_connect(|connection, _| {
                async move { sqlx::raw_sql(SESSION_SQL).execute(connection).await.map(drop) }.boxed()
            })
            .connect_lazy_with(options.clone());
        Ok(Self { pool, options, server: OnceCell::new() })
    }

    /// What the server is, whatever it is called: MySQL's `server_uuid`, MariaDB's `server_uid`, or its address where it has
    /// neither. A question that got no answer is a failure: it must not make the server look like another one.
    async fn server(&self) -> Result<&str, sqlx::Error> {
        let ask = || async {
            for sql in ["SELECT @@server_uuid", "SELECT @@server_uid"] {
                match sqlx::query(sql).fetch_one(&self.pool).await {
                    Ok(row) => {
                        if let Some(server) = text(&row, 0)?.filter(|server| !server.is_empty()) {
                            return Ok(server);
                        }
                    }
                    Err(sqlx::Error::Database(error)) if number(error.as_ref()) == UNKNOWN_VARIABLE => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(format!("{}:{}", self.options.get_host(), self.options.get_port()))
        };
        self.server.get_or_try_init(ask).await.map(String::as_str)
    }

    async fn relation(&self, schema: &str, table: &str, is_view: bool) -> Result<Relation, sqlx::Error> {
        let view_takes_writes = if is_view {
            let sql = "SELECT CONVERT(is_updatable USING utf8mb4) FROM information_schema.views \
                       WHERE table_schema = ? AND table_name = ?";
            let row = sqlx::query(sql).bind(schema).bind(table).fetch_optional(&self.pool).await?;
            row.map(|row| text(&row, 0)).transpose()?.flatten().is_some_and(|word| word == "YES")
        } else {
            true
        };
        let sql = "SELECT column_name, data_type, column_type, is_nullable, CAST(character_maximum_length AS CHAR), \
                   CAST(numeric_scale AS CHAR), CAST(numeric_precision AS CHAR), extra, privileges, column_default \
                   FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position";
        let rows = sqlx::query(sql).bind(schema).bind(table).fetch_all(&self.pool).await?;
        let columns = rows.iter().map(|row| column(row, view_takes_writes)).collect::<Result<_, _>>()?;
        // An index on a part of a column (`sub_part`) neither makes it unique nor finds all of it.
        let sql = "SELECT column_name, non_unique = 0 AND (SELECT COUNT(*) FROM information_schema.statistics AS other \
                   WHERE other.table_schema = s.table_schema AND other.table_name = s.table_name \
                   AND other.index_name = s.index_name) = 1 FROM information_schema.statistics AS s \
                   WHERE table_schema = ? AND table_name = ? AND seq_in_index = 1 AND sub_part IS NULL";
        let (mut unique, mut indexed) = (Vec::new(), Vec::new());
        for row in sqlx::query(sql).bind(schema).bind(table).fetch_all(&self.pool).await? {
            let Some(name) = text(&row, 0)? else { continue };
            if row.try_get_unchecked::<i64, _>(1)? != 0 {
                unique.push(name.clone());
            }
            indexed.push(name);
        }
        let quoted = format!("{}.{}", self.quote(schema), self.quote(table));
        // Who has not the right `TRIGGER` is shown no triggers.
        Ok(Relation { quoted, is_view, columns, unique, indexed, updates_run: None })
    }
}

#[async_trait]
impl Dialect for MySqlServer {
    fn name(&self) -> &'static str {
        "MySQL"
    }

    fn meaning(&self, error: &dyn DatabaseError) -> Meaning {
        meaning(error)
    }

    /// Names of columns are compared without case.
    fn same_name(&self, wanted: &str, column: &str) -> bool {
        wanted.to_lowercase() == column.to_lowercase()
    }

    fn refuses_nul(&self) -> bool {
        false
    }

    fn quote(&self, name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    async fn inspect(&self, named: &str) -> Result<Inspection, sqlx::Error> {
        // A pool would only say that it waited in vain; one connection of its own says why.
        reach::<MySqlConnection>(&self.options).await?;
        let clock = self.clock().await?;
        let database = sqlx::query("SELECT CONVERT(DATABASE() USING utf8mb4)").fetch_one(&self.pool).await?;
        let database = text(&database, 0)?.unwrap_or_default();
        let (schema, table) = match named.split_once('.') {
            Some((schema, table)) => (schema, table),
            None => (database.as_str(), named),
        };
        let sql = "SELECT table_schema, table_name, table_type = 'VIEW' FROM information_schema.tables \
                   WHERE table_schema = ? AND table_name = ? AND table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED') \
                   ORDER BY BINARY table_name = BINARY ? DESC LIMIT 1";
        let query = sqlx::query(sql).bind(schema).bind(table).bind(table);
        let found = match query.fetch_optional(&self.pool).await? {
            Some(row) => Some((
                text(&row, 0)?.unwrap_or_default(),
                text(&row, 1)?.unwrap_or_default(),
                row.try_get_unchecked::<i64, _>(2)? != 0,
            )),
            None => None,
        };
        let (schema, table) = found.as_ref().map_or((schema, table), |(schema, table, _)| (schema, table));
        let identity = format!("mysql:{}/{schema}/{table}", self.server().await?);
        let (relation, tables) = match &found {
            Some((schema, table, is_view)) => (Some(self.relation(schema, table, *is_view).await?), Vec::new()),
            None => {
                let sql = "SELECT IF(table_schema = DATABASE(), table_name, CONCAT(table_schema, '.', table_name)) \
                           FROM information_schema.tables \
                           WHERE table_schema NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys') \
                           ORDER BY 1 LIMIT 200";
                let rows = sqlx::query(sql).fetch_all(&self.pool).await?;
                let names = rows.iter().map(|row| Ok(text(row, 0)?.unwrap_or_default()));
                (None, names.collect::<Result<_, sqlx::Error>>()?)
            }
        };
        Ok(Inspection { identity, clock, relation, tables })
    }

    async fn sample(&self, layout: &Layout) -> Result<Sample, sqlx::Error> {
        let Layout { quoted: table, key, modified, .. } = layout;
        let (key, key_column, column) = (&key.quoted, &key.column, &modified.quoted);
        let native = modified.column.native;
        let nothing = match native {
            Native::Text => format!(" OR {column} = ''"),
            Native::Instant | Native::LocalTime => format!(" OR {column} < {NO_DATE}"),
            _ => String::new(),
        };
        let exists = |sql: String| async move {
            let sql = format!("SELECT EXISTS ({sql})");
            sqlx::query(AssertSqlSafe(sql)).fetch_one(&self.pool).await?.try_get_unchecked::<i64, _>(0)
        };
        let without_time = exists(format!("SELECT 1 FROM {table} WHERE {column} IS NULL{nothing}")).await? != 0;
        let duplicate_keys = !layout.key_is_unique && {
            let sql = format!("SELECT 1 FROM {table} WHERE {key} IS NOT NULL GROUP BY {key} HAVING COUNT(*) > 1");
            exists(sql).await? != 0
        };
        let times = if matches!(native, Native::Text | Native::Integer | Native::Number) {
            let shown = as_text(column);
            let sql = format!(
                "SELECT {shown} FROM {table} WHERE {column} IS NOT NULL AND {shown} <> '' ORDER BY {key} DESC LIMIT {SAMPLE_ROWS}"
            );
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
            let texts = rows.iter().map(|row| Ok(time_sample(native, text(row, 0)?.unwrap_or_default())));
            texts.collect::<Result<_, sqlx::Error>>()?
        } else {
            Vec::new()
        };
        // Fractions cannot be told from whole numbers without reading them all.
        let keys = (false, false, key_column.native == Native::Number);
        Ok(Sample { times, keys, without_time, duplicate_keys, ..Sample::default() })
    }

    fn statements(&self, table: &Table) -> Statements {
        let name = &table.layout.quoted;
        let key = &table.layout.key.quoted;
        let row = row_sql(table);
        let windows = windows(table, |table, alias, _| window_sql(table, alias));
        let window = format!("({})", windows.join(" OR "));
        let page = |scope: Scope, after: bool| -> Arc<str> {
            let from = if after { format!("t.{key} > ?") } else { format!("t.{key} IS NOT NULL") };
            let tail = format!("{from} ORDER BY t.{key} LIMIT ?");
            match scope {
                Scope::Everything => format!("SELECT {row} FROM {name} AS t WHERE {tail}").into(),
                Scope::Wide => format!("SELECT {row} FROM {name} AS t WHERE {window} AND {tail}").into(),
                // A limit keeps the planner from merging the two, and walking the whole table by key instead.
                Scope::Narrow => {
                    format!("SELECT {row} FROM ({} LIMIT {}) AS t WHERE {tail}", narrow_sql(table, &windows), u64::MAX)
                        .into()
                }
            }
        };
        let pages =
            [Scope::Everything, Scope::Wide, Scope::Narrow].map(|scope| [false, true].map(|after| page(scope, after)));
        let count = count_sql(table, &windows);
        let fetch = format!("SELECT {row} FROM {name} AS t WHERE t.{key} IN ");
        Statements { pages, count: count.into(), fetch: fetch.into() }
    }

    async fn clock(&self) -> Result<Timestamp, sqlx::Error> {
        let sql = AssertSqlSafe(format!("SELECT CAST({} AS SIGNED)", millis_of("UTC_TIMESTAMP(6)")));
        let row = sqlx::query(sql).fetch_one(&self.pool).await?;
        Ok(Timestamp::from_millis(row.try_get_unchecked(0)?))
    }

    async fn count(&self, table: &Table, sql: &Arc<str>, since: Timestamp) -> Result<i64, sqlx::Error> {
        let query = bind_windows(sqlx::query(AssertSqlSafe(sql.clone())), table, since);
        query.fetch_one(&self.pool).await?.try_get_unchecked(0)
    }

    async fn page(
        &self,
        table: &Table,
        sql: &Arc<str>,
        since: Option<Timestamp>,
        after: Option<&str>,
    ) -> Result<RawPage, sqlx::Error> {
        let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
        if let Some(since) = since {
            query = bind_windows(query, table, since);
        }
        if let Some(after) = after {
            query = bind_key(query, table, after);
        }
        let query = query.bind(i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX));
        on_connection(&self.pool, move |connection| {
            async move {
                page_of(query.fetch(connection), |row| {
                    let row = raw_row(row)?;
                    let bytes = row.bytes();
                    Ok((row, bytes))
                })
                .await
            }
            .boxed()
        })
        .await
    }

    async fn fetch(&self, table: &Table, sql: &Arc<str>, keys: &[&str]) -> Result<Vec<RawRow>, sqlx::Error> {
        let query = by_keys(table, sql, keys, "");
        on_connection(&self.pool, move |connection| read(connection, query).boxed()).await
    }

    /// A transaction that locks the rows, compares them, writes those that hold what was expected, and reads them back. A row
    /// that another transaction holds is waited for and compared as that transaction left it.
    async fn update(&self, table: &Table, fetch_sql: &Arc<str>, rows: &[RowUpdate]) -> Result<Updated, UpdateError> {
        let mut connection = self.pool.acquire().await.map_err(UpdateError::not_done)?;
        let committing = AtomicBool::new(false);
        let work = transact(&mut connection, table, fetch_sql, rows, &committing);
        let error = match tokio::time::timeout(CALL_LIMIT, work).await {
            Ok(Ok(updated)) => return Ok(updated),
            Ok(Err(error)) => error,
            Err(_) => timed_out(),
        };
        // Until the commit is sent nothing can have happened, and a commit that the server refuses has rolled back. A
        // connection that is given up ends its transaction.
        drop(connection.detach());
        let refused = matches!(&error, sqlx::Error::Database(error) if !lost(error.as_ref()));
        Err(UpdateError { may_have_happened: committing.load(Ordering::Relaxed) && !refused, error })
    }
}

async fn transact(
    connection: &mut MySqlConnection,
    table: &Table,
    fetch_sql: &Arc<str>,
    rows: &[RowUpdate],
    committing: &AtomicBool,
) -> Result<Updated, sqlx::Error> {
    sqlx::raw_sql("START TRANSACTION").execute(&mut *connection).await?;
    let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    let held = read(connection, by_keys(table, fetch_sql, &keys, " FOR UPDATE")).await?;
    let held: BTreeMap<&str, &RawRow> =
        held.iter().filter(|row| !row.gone).map(|row| (row.key.as_str(), row)).collect();
    let as_expected = |row: &RowUpdate| held.get(row.key.as_str()).is_some_and(|held| still_holds(held, row));
    let (fit, others): (Vec<&RowUpdate>, Vec<&RowUpdate>) = rows.iter().partition(|row| as_expected(row));
    // Rows that set the same columns go together.
    let mut alike: BTreeMap<Vec<usize>, Vec<&RowUpdate>> = BTreeMap::new();
    for row in fit {
        alike.entry(row.sets.iter().map(|set| set.slot).collect()).or_default().push(row);
    }
    let mut keys = Vec::new();
    for (slots, rows) in alike {
        let most = VALUES_MAX / (2 * slots.len() + 5);
        for rows in rows.chunks(most.max(1)) {
            write(connection, table, &slots, rows).await?;
            keys.extend(rows.iter().map(|row| row.key.as_str()));
        }
    }
    let written =
        if keys.is_empty() { Vec::new() } else { read(connection, by_keys(table, fetch_sql, &keys, "")).await? };
    let changed = others.into_iter().filter(|row| held.contains_key(row.key.as_str())).map(|row| row.key.clone());
    let updated = Updated { written, changed: changed.collect() };
    committing.store(true, Ordering::Relaxed);
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
    Ok(updated)
}

/// Whether a row holds what it is expected to hold, to the byte.
fn still_holds(held: &RawRow, row: &RowUpdate) -> bool {
    row.sets.iter().all(|set| match (held.cells.get(set.slot), &set.expected) {
        (Some(RawCell::Null), None) => true,
        (Some(RawCell::Text(text)), Some(expected)) => text == expected,
        _ => false,
    })
}

/// Writes rows that set the same columns by one statement.
async fn write(
    connection: &mut MySqlConnection,
    table: &Table,
    slots: &[usize],
    rows: &[&RowUpdate],
) -> Result<(), sqlx::Error> {
    let layout = &table.layout;
    let key = &layout.key.quoted;
    let chosen = format!("CASE t.{key}{} END", " WHEN ? THEN ?".repeat(rows.len()));
    let mut sets: Vec<String> = slots
        .iter()
        .filter_map(|slot| layout.slots.get(*slot))
        .map(|slot| format!("t.{} = {}", slot.quoted, stored_sql(&slot.column.native, &chosen)))
        .collect();
    let mut times_asked = 0;
    if table.sets_modified {
        let time = written_time_sql(table, &chosen);
        times_asked = time.matches(&chosen).count();
        sets.push(format!("t.{} = {time}", layout.modified.quoted));
    }
    let places = places(rows.len());
    let sql = format!("UPDATE {} AS t SET {} WHERE t.{key} IN {places}", layout.quoted, sets.join(", "));
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for slot in slots {
        for row in rows {
            let value = row.sets.iter().find(|set| set.slot == *slot).and_then(|set| set.value.clone());
            query = bind_key(query, table, &row.key).bind(value);
        }
    }
    for _ in 0..times_asked {
        for row in rows {
            let asked_ms = row.modified.map_or(0, Timestamp::as_millis);
            query = bind_key(query, table, &row.key).bind(asked_ms - asked_ms.rem_euclid(unit_ms(table)));
        }
    }
    for row in rows {
        query = bind_key(query, table, &row.key);
    }
    query.execute(connection).await.map(drop)
}

/// The rows with these keys.
fn by_keys(table: &Table, sql: &str, keys: &[&str], tail: &str) -> Query<'static, MySql, MySqlArguments> {
    let sql = format!("{sql}{}{tail}", places(keys.len()));
    // Its text differs by how many there are: kept, such statements would fill the server's memory.
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for key in keys {
        query = bind_key(query, table, key);
    }
    query
}

async fn read(
    connection: &mut MySqlConnection,
    query: Query<'static, MySql, MySqlArguments>,
) -> Result<Vec<RawRow>, sqlx::Error> {
    query.fetch_all(connection).await?.iter().map(raw_row).collect()
}

fn places(count: usize) -> String {
    format!("({})", vec!["?"; count].join(", "))
}

fn bind_key<'q>(query: Query<'q, MySql, MySqlArguments>, table: &Table, key: &str) -> Query<'q, MySql, MySqlArguments> {
    match (table.key_kind, key.parse::<i64>()) {
        (KeyKind::Integer, Ok(number)) => query.bind(number),
        _ => query.bind(key.to_owned()),
    }
}

/// A text of an answer, whatever its type is called.
fn text(row: &MySqlRow, at: usize) -> Result<Option<String>, sqlx::Error> {
    Ok(row.try_get_unchecked::<Option<Vec<u8>>, _>(at)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn raw_row(row: &MySqlRow) -> Result<RawRow, sqlx::Error> {
    let cell = |at: usize| -> Result<RawCell, sqlx::Error> {
        Ok(match row.try_get_unchecked::<Option<Vec<u8>>, _>(at)? {
            None => RawCell::Null,
            Some(bytes) => String::from_utf8(bytes).map_or(RawCell::Unreadable, RawCell::Text),
        })
    };
    Ok(RawRow {
        key: text(row, 0)?.unwrap_or_default(),
        modified: row.try_get_unchecked(1)?,
        gone: row.try_get_unchecked::<i64, _>(2)? != 0,
        cells: (FIRST_CELL..row.len()).map(cell).collect::<Result<_, _>>()?,
    })
}

/// A column as text in the one character set that we speak.
fn as_text(column: &str) -> String {
    format!("CONVERT({column} USING utf8mb4)")
}

/// A row: key, time in milliseconds, gone, and the cells as text.
fn row_sql(table: &Table) -> String {
    let layout = &table.layout;
    let modified = millis_sql(&format!("t.{}", layout.modified.quoted), &table.times);
    let key = as_text(&format!("t.{}", layout.key.quoted));
    let mut sql = format!("{key}, CAST({modified} AS SIGNED), {}", gone_sql(layout));
    for Slot { quoted, .. } in &layout.slots {
        let _ = write!(sql, ", {}", as_text(&format!("t.{quoted}")));
    }
    sql
}

/// 1 where the row is marked as deleted: its mark is more than nothing, false, or zeros in any spelling.
fn gone_sql(layout: &Layout) -> String {
    layout.deleted.as_ref().map_or_else(
        || "0".to_owned(),
        |Slot { quoted, .. }| {
            let mark = as_text(&format!("t.{quoted}"));
            format!(
                "CAST(COALESCE(LOWER({mark}) NOT IN {NOT_DELETED_SQL} AND {mark} NOT REGEXP '^[-0.: ]*$', 0) AS SIGNED)"
            )
        },
    )
}

/// The rows of a window: a bound that an index understands, then the exact time in milliseconds. Rows without a time, or
/// with one that cannot be read, belong to every window.
fn window_sql(table: &Table, alias: &str) -> String {
    let column = format!("{alias}.{}", table.layout.modified.quoted);
    let odd = match &table.times {
        Times::Instant | Times::Local => format!(" OR {column} < {NO_DATE}"),
        times => odd_times_sql(&column, times),
    };
    let millis = millis_sql(&column, &table.times);
    format!("({column} >= ?{odd} OR {column} IS NULL) AND COALESCE({millis} >= ?, 1)")
}

fn bind_windows<'q>(
    mut query: Query<'q, MySql, MySqlArguments>,
    table: &Table,
    since: Timestamp,
) -> Query<'q, MySql, MySqlArguments> {
    let millis = since.as_millis();
    for table in windowed(table) {
        query = match &table.times {
            Times::Instant | Times::Local => {
                let text = since.max(Timestamp::EPOCH).to_seconds_text();
                query.bind(text.replace('T', " ").trim_end_matches('Z').to_owned())
            }
            Times::Unix(Unit::Milliseconds) => query.bind(millis),
            Times::Unix(_) => query.bind(millis.div_euclid(1000)),
            Times::Text(_) => query.bind(day_before(since)),
        };
        query = query.bind(millis);
    }
    query
}

fn millis_of(time: &str) -> String {
    format!("TIMESTAMPDIFF(MICROSECOND, {EPOCH}, {time}) DIV 1000")
}

/// A time in milliseconds since the Unix epoch; null if it is no time. Never an error, whatever the column holds.
fn millis_sql(column: &str, times: &Times) -> String {
    match times {
        Times::Instant | Times::Local => format!("CASE WHEN {column} >= {NO_DATE} THEN {} END", millis_of(column)),
        Times::Unix(unit) => {
            let (factor, limit) = if *unit == Unit::Milliseconds { (1, "1e15") } else { (1000, "1e12") };
            format!("CASE WHEN ABS({column}) < {limit} THEN FLOOR({column} * {factor}) END")
        }
        // A day that does not exist has no time here; its row is read every time.
        Times::Text(_) => {
            let plain = format!("CONCAT(LEFT({column}, 10), ' ', SUBSTR({column}, 12, 8))");
            let seconds = format!("TIMESTAMPDIFF(SECOND, {EPOCH}, STR_TO_DATE({plain}, '%Y-%m-%d %H:%i:%s'))");
            let rest = format!("SUBSTR({column}, 20)");
            // Where nothing matches, MySQL answers null and MariaDB an empty text.
            let part = |pattern: &str| format!("COALESCE(REGEXP_SUBSTR({rest}, '{pattern}'), '')");
            let fraction = format!("FLOOR(CONCAT('0', {}) * 1000)", part("^[.][0-9]+"));
            let zone = part("[-+][0-9:]+$");
            // Minutes east of Greenwich, by the digits of the zone.
            let minutes = format!("CONCAT(LEFT({zone}, 1), '1') * (SUBSTR({zone}, 2, 2) * 60 + RIGHT({zone}, 2))");
            let minutes = format!("CASE WHEN {zone} = '' THEN 0 ELSE {minutes} END");
            format!(
                "CASE WHEN {column} REGEXP '^[12][0-9]{{3}}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\
                 ([.][0-9]{{1,9}})?([Zz]|[-+](0[0-9]|1[0-4]):?[0-5][0-9])?$' \
                 THEN ({seconds} - 60 * ({minutes})) * 1000 + {fraction} END"
            )
        }
    }
}

/// In which steps the modified column counts: what is finer would be rounded up by some servers.
fn unit_ms(table: &Table) -> i64 {
    match &table.times {
        Times::Instant | Times::Local => match fraction_digits(&table.layout.modified.column) {
            0 => 1000,
            1 => 100,
            2 => 10,
            _ => 1,
        },
        Times::Unix(Unit::Seconds) => 1000,
        Times::Unix(_) => 1,
        Times::Text(style) => {
            if style.fraction {
                1
            } else {
                1000
            }
        }
    }
}

/// The digits of the fraction that a date and time column keeps, as its type says: `datetime(3)`.
fn fraction_digits(column: &Column) -> u32 {
    let digits = column.declared.split_once('(').and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
    digits.unwrap_or(0).min(6)
}

/// The time to write: the database's, but never lower than the one there, nor than the one asked for (in milliseconds).
fn written_time_sql(table: &Table, asked_ms: &str) -> String {
    let modified = &table.layout.modified;
    let column = format!("t.{}", modified.quoted);
    let unit = unit_ms(table);
    let now_ms = format!("({}) DIV {unit} * {unit}", millis_of("UTC_TIMESTAMP(6)"));
    let millis = format!("GREATEST({now_ms}, {asked_ms})");
    match &table.times {
        Times::Instant | Times::Local => {
            let now = format!("UTC_TIMESTAMP({})", fraction_digits(&modified.column));
            format!(
                "GREATEST({now}, COALESCE({column}, {now}), TIMESTAMPADD(MICROSECOND, ({asked_ms}) * 1000, {EPOCH}))"
            )
        }
        Times::Unix(style) => {
            let number = match style {
                Unit::Seconds => format!("{millis} DIV 1000"),
                Unit::FractionalSeconds => format!("{millis} / 1000.0"),
                Unit::Milliseconds => millis,
            };
            format!("GREATEST({number}, COALESCE({column}, 0))")
        }
        Times::Text(TextStyle { separator, fraction, suffix }) => {
            let time = format!("TIMESTAMPADD(MICROSECOND, {millis} * 1000, {EPOCH})");
            let digits = if *fraction { 23 } else { 19 };
            let shown = format!("LEFT(DATE_FORMAT({time}, '%Y-%m-%d{separator}%H:%i:%s.%f'), {digits})");
            let there = millis_sql(&column, &table.times);
            format!("CASE WHEN COALESCE({there} >= {millis}, 0) THEN {column} ELSE CONCAT({shown}, '{suffix}') END")
        }
    }
}

/// A text on its way into a column: dates and times are spelled with a blank and without a zone, for both are UTC.
fn stored_sql(native: &Native, value: &str) -> String {
    match native {
        Native::Instant | Native::LocalTime => format!("REPLACE(REPLACE({value}, 'T', ' '), 'Z', '')"),
        _ => value.to_owned(),
    }
}

/// A column from its row of the schema.
fn column(row: &MySqlRow, takes_writes: bool) -> Result<Column, sqlx::Error> {
    let word = |at: usize| Ok::<_, sqlx::Error>(text(row, at)?.unwrap_or_default());
    let (name, data_type, declared, nullable) = (word(0)?, word(1)?.to_lowercase(), word(2)?, word(3)?);
    let (scale, precision): (Option<u32>, Option<u32>) = (word(5)?.parse().ok(), word(6)?.parse().ok());
    let (extra, privileges, default) = (word(7)?.to_uppercase(), word(8)?.to_lowercase(), word(9)?.to_lowercase());
    let native = native(&data_type, &declared.to_lowercase(), scale, precision);
    let is_made = ["VIRTUAL", "STORED GENERATED", "PERSISTENT"].iter().any(|made| extra.contains(made));
    Ok(Column {
        name,
        native,
        nullable: nullable == "YES",
        max_chars: if matches!(data_type.as_str(), "char" | "varchar") { word(4)?.parse().ok() } else { None },
        writable: takes_writes && !is_made && privileges.contains("update"),
        cast: None,
        defaults_to_now: default.contains("current_timestamp"),
        declared,
    })
}

/// What a column stores, by its type: <https://mariadb.com/docs/server/reference/data-types>.
fn native(data_type: &str, declared: &str, scale: Option<u32>, precision: Option<u32>) -> Native {
    match data_type {
        "tinyint" if declared.starts_with("tinyint(1)") => Native::BooleanAsNumber,
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "year" => Native::Integer,
        // Without a fraction, and few enough digits for what we take for whole numbers.
        "decimal" | "numeric" if scale == Some(0) && precision.is_some_and(|digits| digits <= 18) => Native::Integer,
        "decimal" | "numeric" | "float" | "double" | "real" => Native::Number,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Native::Text,
        "enum" => Native::Word,
        "date" => Native::Date,
        "timestamp" => Native::Instant,
        "datetime" => Native::LocalTime,
        "uuid" => Native::Uuid,
        _ => Native::Unsupported,
    }
}

const UNKNOWN_VARIABLE: u16 = 1193;

fn number(error: &dyn DatabaseError) -> u16 {
    error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number)
}

/// Whether an answer says that the server is going, so that it does not tell what became of a commit.
fn lost(error: &dyn DatabaseError) -> bool {
    matches!(number(error), 1053 | 1077 | 1080 | 1152..=1161 | 1180 | 1317 | 1927 | 3169) || number(error) == 0
}

/// What the servers' numbers mean: <https://mariadb.com/docs/server/reference/error-codes>,
/// <https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>.
fn meaning(error: &dyn DatabaseError) -> Meaning {
    let refused = |what: &str| {
        Meaning::new(Class::Rejected, format!("{what} refuses the value"), "correct the value, or lift the rule")
    };
    match number(error) {
        1045 | 1698 => Meaning::new(Class::Auth, "the user or the password is refused", "correct `url`"),
        1044 | 1142 | 1143 | 1227 | 1370 => Meaning::new(
            Class::Auth,
            "this user has no right to do this",
            "give it those that docs/connectors/sql.md names",
        ),
        1046 => Meaning::new(Class::Misconfigured, "`url` names no database", "write it behind the host: …/DATABASE"),
        1049 => Meaning::new(Class::Misconfigured, "there is no such database", "correct `url`"),
        1146 | 1054 => Meaning::new(
            Class::Misconfigured,
            "the table or one of its columns is not there any more",
            "correct the configuration, or put it back",
        ),
        1290 | 1792 | 1836 => Meaning::new(
            Class::Misconfigured,
            "it takes no writes: it is a replica or read-only",
            "let `url` name the primary",
        ),
        1048 | 1263 | 1364 => refused("a NOT NULL constraint"),
        1022 | 1062 | 1169 | 1586 => refused("a UNIQUE constraint"),
        1216 | 1217 | 1451 | 1452 => refused("a FOREIGN KEY constraint"),
        3819 | 4025 => refused("a CHECK constraint"),
        1406 => refused("the column's length"),
        1264 | 1265 | 1292 | 1366 | 1411 | 1525 | 1690 | 3140 => refused("the column's type"),
        1644 => refused("a trigger"),
        1369 => refused("the view's condition"),
        1040 | 1203 | 1226 => Meaning::new(Class::Retry, "it has too many connections", "it is tried again"),
        1205 | 1213 | 1317 | 1969 | 3024 => {
            Meaning::new(Class::Retry, "it took too long, or waited too long for a lock", "see what holds the table")
        }
        code if lost(error) || matches!(code, 1020 | 1021 | 1037 | 1041 | 1114 | 1206 | 1412 | 1615) => {
            Meaning::new(Class::Retry, format!("it cannot do this just now (code {code})"), "it is tried again")
        }
        code => Meaning::new(
            Class::Broken,
            format!("the statement was not understood (code {code})"),
            "please report this as a defect",
        ),
    }
}
