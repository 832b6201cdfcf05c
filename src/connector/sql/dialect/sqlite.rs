//! SQLite: files that belong to someone else. Nothing about the file is changed: it is never created, its journal mode
//! stays as it is, foreign keys are enforced as SQLite's own default in this build says (on).
//!
//! A row comes as one JSON text: `[key, modified in ms, gone, cell, …]`, where a cell is null, text, or the number 0 for
//! what is no text. One value a row is several times cheaper than one a column, because the driver copies each value and
//! hands it to another thread. A batch of writes goes in the same way.

mod find;
mod make;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use sqlx::error::DatabaseError;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use super::{
    CALL_LIMIT, CONNECT_LIMIT, Column, Dialect, Inspection, NOT_DELETED_SQL, Native, PAGE_ROWS, RawPage, RawRow,
    Relation, RowUpdate, SAMPLE_ROWS, Sample, Statements, UpdateError, Updated, ZEROS_SQL, count_sql, day_before,
    misconfigured, narrow_sql, odd_times_sql, on_connection, page_of, slots_of, timed_out, windowed, windows,
};
use crate::connector::sql::cells::RawCell;
use crate::connector::sql::fault::{Label, Meaning};
use crate::connector::sql::table::{KeyKind, Layout, Slot, Table};
use crate::connector::sql::times::{TextStyle, TimeSample, Times, Unit};
use crate::model::{Class, Failure, Timestamp};

/// One connection reads while the other writes.
const CONNECTIONS: u32 = 2;
/// How long SQLite waits for another process's lock.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// However short somebody's patience is: other processes hold the lock for moments all the time.
const BUSY_LEAST: Duration = Duration::from_millis(500);
/// Rows that the driver's thread may be ahead.
const ROWS_AHEAD: usize = 256;
/// The database's clock in milliseconds, cut: never later than the truth.
const NOW_MS: &str = "CAST(unixepoch('now','subsec')*1000 AS INTEGER)";

/// A SQLite file.
pub(super) struct Sqlite {
    pool: SqlitePool,
    path: PathBuf,
    /// Whether the URL asks for no writes, or the file gives this user no right to them.
    is_read_only: bool,
}

impl Sqlite {
    /// The file that the URL names.
    ///
    /// # Errors
    /// When the URL cannot be read, or the file is not there.
    pub(super) async fn open(url: &str, label: &Label, patience: Duration) -> Result<Self, Failure> {
        let next = "write sqlite:FILE";
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|_| misconfigured(label, "`url` is no URL of a SQLite database", next))?;
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(misconfigured(label, "`url` names a database in memory, which nobody else can see", next));
        }
        let named = options.get_filename().display().to_string();
        let path = tokio::fs::canonicalize(options.get_filename()).await.map_err(|error| {
            let why = format!("the SQLite file `{named}` cannot be opened ({})", error.kind());
            misconfigured(label, why, "correct `url`, or create the database first: Attune never does")
        })?;
        if path.is_dir() {
            return Err(misconfigured(label, format!("`{named}` is a folder"), "let `url` name a SQLite file in it"));
        }
        let options = options
            .filename(&path)
            .create_if_missing(false)
            .busy_timeout(BUSY_LIMIT.min(patience.max(BUSY_LEAST)))
            .row_buffer_size(ROWS_AHEAD)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT_LIMIT)
            // No lifetimes, so no maintenance task: the one of sqlx 0.9 was seen to spin for ever in a small pool.
            .max_lifetime(None)
            .idle_timeout(None)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        // A question to the system: to open the file and close it again would end the locks that we have on it.
        let is_denied = rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_err();
        let asks_for_none = url.contains("mode=ro") || url.contains("immutable=");
        Ok(Self { pool, path, is_read_only: is_denied || asks_for_none })
    }

    /// The columns of a table or view, the columns that are unique alone, and those that lead an index.
    async fn relation(&self, table: &str) -> Result<Relation, sqlx::Error> {
        let sql = "SELECT name, type, \"notnull\", coalesce(dflt_value, ''), pk, hidden FROM pragma_table_xinfo(?1) \
                   WHERE hidden <> 1 ORDER BY cid";
        let rows: Vec<(String, String, bool, String, i64, i64)> =
            sqlx::query_as(sql).bind(table).fetch_all(&self.pool).await?;
        // A view takes writes only where somebody said what they mean.
        let sql = "SELECT (SELECT type FROM sqlite_schema WHERE name = ?1) = 'view', \
                   EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 AND sql LIKE '%INSTEAD%OF%UPDATE%')";
        let (is_view, replaced): (bool, bool) = sqlx::query_as(sql).bind(table).fetch_one(&self.pool).await?;
        let mut unique = Vec::new();
        let mut indexed = Vec::new();
        let primary: Vec<&String> = rows.iter().filter(|row| row.4 > 0).map(|row| &row.0).collect();
        if let [only] = primary[..] {
            unique.push(only.clone());
            indexed.push(only.clone());
        }
        let sql = "SELECT coalesce(column.name, ''), list.\"unique\", (SELECT count(*) FROM pragma_index_info(list.name)) \
                   FROM pragma_index_list(?1) AS list JOIN pragma_index_info(list.name) AS column \
                   WHERE column.seqno = 0 AND NOT list.partial";
        let indexes: Vec<(String, bool, i64)> = sqlx::query_as(sql).bind(table).fetch_all(&self.pool).await?;
        for (column, is_unique, columns) in indexes {
            if is_unique && columns == 1 {
                unique.push(column.clone());
            }
            indexed.push(column);
        }
        let columns = rows
            .into_iter()
            .map(|(name, declared, not_null, default, primary, hidden)| {
                let native = native(&declared);
                let default = default.to_ascii_uppercase();
                Column {
                    name,
                    max_chars: if native == Native::Text { declared_length(&declared) } else { None },
                    native,
                    nullable: !not_null && primary == 0,
                    writable: !self.is_read_only && hidden == 0 && (replaced || !is_view),
                    cast: None,
                    defaults_to_now: default.contains("CURRENT_TIMESTAMP") || default.contains("DATETIME("),
                    declared: if declared.is_empty() { "(none)".to_owned() } else { declared },
                }
            })
            .collect();
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE \
                   AND sql LIKE '%UPDATE%')";
        let updates_run = Some(is_view || sqlx::query_scalar(sql).bind(table).fetch_one(&self.pool).await?);
        Ok(Relation { quoted: self.quote(table), is_view, columns, unique, indexed, updates_run })
    }
}

#[async_trait]
impl Dialect for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn meaning(&self, error: &dyn DatabaseError) -> Meaning {
        meaning(error)
    }

    fn same_name(&self, wanted: &str, column: &str) -> bool {
        wanted.eq_ignore_ascii_case(column)
    }

    /// Text with a NUL can be stored, but most of SQLite's functions end at it.
    fn refuses_nul(&self) -> bool {
        true
    }

    async fn inspect(&self, named: &str) -> Result<Inspection, sqlx::Error> {
        let clock = self.clock().await?;
        let table = named.strip_prefix("main.").unwrap_or(named);
        let sql = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                   ORDER BY name";
        let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(&self.pool).await?;
        let found = tables.iter().find(|name| name.eq_ignore_ascii_case(table)).cloned();
        let identity = format!("sqlite:{}#{}", self.path.display(), found.as_deref().unwrap_or(table));
        let relation = match found {
            Some(name) => Some(self.relation(&name).await?),
            None => None,
        };
        Ok(Inspection { identity, clock, relation, tables })
    }

    async fn sample(&self, layout: &Layout) -> Result<Sample, sqlx::Error> {
        let Layout { quoted: table, key, modified, .. } = layout;
        let (key, modified) = (&key.quoted, &modified.quoted);
        // Numbers sort before text, and text before blobs: the ends show every kind there is.
        let sql = format!(
            "SELECT coalesce((SELECT typeof(min({key})) FROM {table}), 'null'), \
             coalesce((SELECT typeof(max({key})) FROM {table}), 'null'), \
             EXISTS (SELECT 1 FROM {table} WHERE {modified} IS NULL OR {modified} = '')"
        );
        let (least, greatest, without_time): (String, String, bool) =
            sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&self.pool).await?;
        let has = |kinds: &[&str]| kinds.contains(&least.as_str()) || kinds.contains(&greatest.as_str());
        let keys = (has(&["integer"]), has(&["text"]), has(&["real", "blob"]));
        let sql = format!(
            "SELECT typeof({modified}), CAST({modified} AS TEXT) FROM {table} \
             WHERE {modified} IS NOT NULL AND {modified} <> '' ORDER BY {key} DESC LIMIT {SAMPLE_ROWS}"
        );
        let times: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&self.pool).await?;
        let times = times.into_iter().map(|(kind, text)| time_sample(&kind, text)).collect();
        let duplicate_keys = if layout.key_is_unique {
            false
        } else {
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM {table} WHERE {key} IS NOT NULL GROUP BY {key} HAVING count(*) > 1)"
            );
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool).await?
        };
        let mut unreadable = Vec::new();
        for Slot { quoted, column, .. } in &layout.slots {
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM (SELECT {quoted} AS value FROM {table} ORDER BY {key} DESC \
                 LIMIT {SAMPLE_ROWS}) WHERE typeof(value) = 'blob')"
            );
            if sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.pool).await? {
                unreadable.push(column.name.clone());
            }
        }
        Ok(Sample { times, keys, without_time, duplicate_keys, unreadable })
    }

    fn statements(&self, table: &Table) -> Statements {
        let name = &table.layout.quoted;
        let key = &table.layout.key.quoted;
        let row = row_sql(table);
        let windows = windows(table, |table, alias, at| window_sql(table, alias, 1 + 2 * at));
        let binds = 2 * windows.len();
        let page = |rows: &str, condition: &str, key: &str, binds: usize, after: bool| -> Arc<str> {
            let (from, limit) = if after {
                (format!("{key} > ?{}", binds + 1), binds + 2)
            } else {
                (format!("{key} IS NOT NULL"), binds + 1)
            };
            format!("SELECT {row} FROM {rows} AS t WHERE {condition}{from} ORDER BY {key} LIMIT ?{limit}").into()
        };
        let by_key = format!("t.{key}");
        // The plus keeps the planner from walking the whole table by key.
        let sorted = format!("+t.{key}");
        let in_window = format!("({}) AND ", windows.join(" OR "));
        let found = format!("({})", narrow_sql(table, &windows));
        let narrow = if windows.len() == 1 { (name, in_window.as_str()) } else { (&found, "") };
        let scopes = [(name, "", &by_key, 0), (name, &in_window, &by_key, binds), (narrow.0, narrow.1, &sorted, binds)];
        let pages = scopes
            .map(|(rows, condition, key, binds)| [false, true].map(|after| page(rows, condition, key, binds, after)));
        let count = count_sql(table, &windows);
        let key_type = key_type(table.key_kind);
        let fetch = format!(
            "SELECT {row} FROM {name} AS t WHERE t.{key} IN (SELECT CAST(value AS {key_type}) FROM json_each(?1))"
        );
        Statements { pages, count: count.into(), fetch: fetch.into() }
    }

    async fn clock(&self) -> Result<Timestamp, sqlx::Error> {
        let sql = AssertSqlSafe(format!("SELECT {NOW_MS}"));
        Ok(Timestamp::from_millis(sqlx::query_scalar(sql).fetch_one(&self.pool).await?))
    }

    async fn count(&self, table: &Table, sql: &Arc<str>, since: Timestamp) -> Result<i64, sqlx::Error> {
        let query = bind_windows(sqlx::query(AssertSqlSafe(sql.clone())), table, since);
        query.fetch_one(&self.pool).await?.try_get(0)
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
            query = match (table.key_kind, after.parse::<i64>()) {
                (KeyKind::Integer, Ok(number)) => query.bind(number),
                _ => query.bind(after.to_owned()),
            };
        }
        let query = query.bind(i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX));
        on_connection(&self.pool, move |connection| {
            async move {
                page_of(query.fetch(connection), |row| {
                    let json: &[u8] = row.try_get(0)?;
                    Ok((parse(json)?, json.len()))
                })
                .await
            }
            .boxed()
        })
        .await
    }

    async fn fetch(&self, _table: &Table, sql: &Arc<str>, keys: &[&str]) -> Result<Vec<RawRow>, sqlx::Error> {
        let (sql, keys) = (sql.clone(), keys_json(keys)?);
        on_connection(&self.pool, move |connection| fetch(connection, sql, keys).boxed()).await
    }

    /// A transaction around one `UPDATE`: `RAISE(FAIL)` in a trigger would otherwise leave half a batch behind, and the
    /// rows are read back as they are after all triggers, which `RETURNING` does not show.
    async fn update(&self, table: &Table, fetch_sql: &Arc<str>, rows: &[RowUpdate]) -> Result<Updated, UpdateError> {
        let slots = slots_of(rows);
        let sql = update_sql(table, &slots);
        let payload = payload(rows, &slots).map_err(UpdateError::not_done)?;
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let keys = keys_json(&keys).map_err(UpdateError::not_done)?;

        let mut connection = self.pool.acquire().await.map_err(UpdateError::not_done)?;
        let committing = AtomicBool::new(false);
        let work = transact(&mut connection, sql, payload, fetch_sql.clone(), keys, &committing);
        let error = match tokio::time::timeout(CALL_LIMIT, work).await {
            Ok(Ok((written, present))) => {
                let (written, others): (Vec<_>, Vec<_>) =
                    present.into_iter().partition(|row| written.binary_search(&row.key).is_ok());
                let changed = others.into_iter().filter(|row| !row.gone).map(|row| row.key).collect();
                return Ok(Updated { written, changed });
            }
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
        // Until the commit is sent nothing can have happened. A commit that found the file busy or a constraint broken
        // left the transaction open, and it was rolled back.
        let refused = matches!(&error, sqlx::Error::Database(error) if matches!(primary_code(error.as_ref()), 5 | 19));
        Err(UpdateError { error, may_have_happened: committing.load(Ordering::Relaxed) && !refused })
    }
}

/// The transaction of a batch: the keys that were written (sorted), and all rows of the batch that are there.
async fn transact(
    connection: &mut SqliteConnection,
    sql: String,
    payload: String,
    fetch_sql: Arc<str>,
    keys: String,
    committing: &AtomicBool,
) -> Result<(Vec<String>, Vec<RawRow>), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let mut written: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(payload).fetch_all(&mut *connection).await?;
    let present = fetch(connection, fetch_sql, keys).await?;
    committing.store(true, Ordering::Relaxed);
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    written.sort_unstable();
    Ok((written, present))
}

async fn fetch(connection: &mut SqliteConnection, sql: Arc<str>, keys: String) -> Result<Vec<RawRow>, sqlx::Error> {
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(keys).fetch_all(connection).await?;
    rows.iter().map(|row| parse(row.try_get(0)?)).collect()
}

fn keys_json(keys: &[&str]) -> Result<String, sqlx::Error> {
    serde_json::to_string(keys).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// The batch as JSON: `[[key, modified in ms, (flag, value, expected) for each slot …], …]`. The flag is 0 for a column
/// that is not set, 1 where the text is compared, and 2 where its hexadecimal form is, because JSON ends at a NUL.
fn payload(rows: &[RowUpdate], slots: &[usize]) -> Result<String, sqlx::Error> {
    let mut json = String::from("[");
    let push = |json: &mut String, value: &Option<String>| match serde_json::to_string(value) {
        Ok(text) => {
            json.push_str(&text);
            Ok(())
        }
        Err(error) => Err(sqlx::Error::Encode(Box::new(error))),
    };
    for (index, row) in rows.iter().enumerate() {
        json.push_str(if index == 0 { "[" } else { ",[" });
        push(&mut json, &Some(row.key.clone()))?;
        let _ = write!(json, ",{}", row.modified.map_or(0, Timestamp::as_millis));
        for slot in slots {
            match row.sets.iter().find(|set| set.slot == *slot) {
                None => json.push_str(",0,null,null"),
                Some(set) => {
                    let hidden = set.expected.as_deref().filter(|text| text.contains('\0')).map(hexadecimal);
                    json.push_str(if hidden.is_some() { ",2," } else { ",1," });
                    push(&mut json, &set.value)?;
                    json.push(',');
                    push(&mut json, if hidden.is_some() { &hidden } else { &set.expected })?;
                }
            }
        }
        json.push(']');
    }
    json.push(']');
    Ok(json)
}

fn hexadecimal(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02X}");
        hex
    })
}

fn update_sql(table: &Table, slots: &[usize]) -> String {
    let layout = &table.layout;
    let key = &layout.key.quoted;
    let mut inputs = format!("CAST(value->>0 AS {}) AS k", key_type(table.key_kind));
    let mut sets = Vec::new();
    let mut conditions = String::new();
    for (index, slot) in slots.iter().enumerate() {
        let (first, Slot { quoted, cast, .. }) = (2 + 3 * index, &layout.slots[*slot]);
        let _ = write!(
            inputs,
            ", value->>{first} AS s{index}, value->>{} AS v{index}, value->>{} AS e{index}",
            first + 1,
            first + 2
        );
        let value = match cast {
            Some(kind) => format!("CAST(w.v{index} AS {kind})"),
            None => format!("w.v{index}"),
        };
        let text = text_sql(&format!("t.{quoted}"));
        sets.push(format!("{quoted} = CASE WHEN w.s{index} THEN {value} ELSE t.{quoted} END"));
        let _ = write!(
            conditions,
            " AND CASE w.s{index} WHEN 0 THEN 1 WHEN 1 THEN {text} IS w.e{index} ELSE hex({text}) IS w.e{index} END"
        );
    }
    if table.sets_modified {
        let modified = &layout.modified.quoted;
        let column = format!("t.{modified}");
        let resolution = resolution_ms(&table.times);
        let _ = write!(inputs, ", max({NOW_MS}, value->>1)/{resolution}*{resolution} AS m");
        sets.push(format!(
            "{modified} = CASE WHEN coalesce({} >= w.m, 0) THEN {column} ELSE {} END",
            millis_sql(&column, &table.times),
            written_time_sql(&table.times)
        ));
    }
    format!(
        "WITH w AS MATERIALIZED (SELECT {inputs} FROM json_each(?1)) \
         UPDATE OR ABORT {} AS t SET {} FROM w WHERE t.{key} = w.k AND NOT {}{conditions} RETURNING CAST({key} AS TEXT)",
        layout.quoted,
        sets.join(", "),
        gone_sql(layout)
    )
}

fn key_type(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Integer => "INTEGER",
        KeyKind::Text | KeyKind::Uuid => "TEXT",
    }
}

/// A row as JSON.
fn row_sql(table: &Table) -> String {
    let layout = &table.layout;
    let modified = millis_sql(&format!("t.{}", layout.modified.quoted), &table.times);
    let mut sql = format!("json_array(CAST(t.{} AS TEXT), {modified}, {}", layout.key.quoted, gone_sql(layout));
    for Slot { quoted, .. } in &layout.slots {
        let column = format!("t.{quoted}");
        let _ = write!(sql, ", CASE typeof({column}) WHEN 'blob' THEN 0 ELSE {} END", text_sql(&column));
    }
    sql.push(')');
    sql
}

/// A value as text. SQLite writes 15 digits of a real number, which are another number where it takes 17 to tell it.
fn text_sql(column: &str) -> String {
    format!(
        "CASE WHEN typeof({column}) = 'real' AND CAST(CAST({column} AS TEXT) AS REAL) <> {column} \
         THEN printf('%!.17g', {column}) ELSE CAST({column} AS TEXT) END"
    )
}

fn gone_sql(layout: &Layout) -> String {
    layout.deleted.as_ref().map_or_else(
        || "0".to_owned(),
        |Slot { quoted, .. }| {
            format!("(trim(lower(coalesce(CAST(t.{quoted} AS TEXT), '')), {ZEROS_SQL}) NOT IN {NOT_DELETED_SQL})")
        },
    )
}

/// The rows of a window: a bound that an index understands (the value of this number), then the exact time (the next, in
/// milliseconds). Rows without a time, or with one that cannot be read, belong to every window.
fn window_sql(table: &Table, alias: &str, first: usize) -> String {
    let column = format!("{alias}.{}", table.layout.modified.quoted);
    let odd = odd_times_sql(&column, &table.times);
    let (millis, exact) = (millis_sql(&column, &table.times), first + 1);
    format!("({column} >= ?{first}{odd} OR {column} IS NULL) AND coalesce({millis} >= ?{exact}, 1)")
}

fn bind_windows<'q>(
    mut query: Query<'q, sqlx::Sqlite, SqliteArguments>,
    table: &Table,
    since: Timestamp,
) -> Query<'q, sqlx::Sqlite, SqliteArguments> {
    for table in windowed(table) {
        query = match Bound::of(&table.times, since) {
            Bound::Integer(number) => query.bind(number),
            Bound::Real(number) => query.bind(number),
            Bound::Text(text) => query.bind(text),
        };
        query = query.bind(since.as_millis());
    }
    query
}

/// A time in milliseconds since the Unix epoch, whatever it is stored as; null if it is no time.
fn millis_sql(column: &str, times: &Times) -> String {
    let factor = if *times == Times::Unix(Unit::Milliseconds) { 1 } else { 1000 };
    format!(
        "CAST(CASE typeof({column}) WHEN 'integer' THEN {column}*{factor} WHEN 'real' THEN round({column}*{factor}) \
         WHEN 'text' THEN round(unixepoch({column}, 'subsec')*1000) END AS INTEGER)"
    )
}

/// How exactly we write times, in milliseconds.
fn resolution_ms(times: &Times) -> u32 {
    match times {
        Times::Unix(Unit::Seconds) | Times::Text(TextStyle { fraction: false, .. }) => 1000,
        _ => 1,
    }
}

/// `w.m` (milliseconds) as the column spells times.
fn written_time_sql(times: &Times) -> String {
    match times {
        Times::Unix(Unit::Seconds) => "w.m/1000".to_owned(),
        Times::Unix(Unit::Milliseconds) => "w.m".to_owned(),
        Times::Unix(Unit::FractionalSeconds) => "w.m/1000.0".to_owned(),
        Times::Text(style) => text_time_sql(style),
        // SQLite has no instants of its own.
        Times::Instant | Times::Local => text_time_sql(&TextStyle::SQL),
    }
}

fn text_time_sql(style: &TextStyle) -> String {
    let seconds = if style.fraction { "%f" } else { "%S" };
    format!("strftime('%Y-%m-%d{}%H:%M:{seconds}', w.m/1000.0, 'unixepoch') || '{}'", style.separator, style.suffix)
}

/// The bound by which an index finds the rows of a window: never later than the window's begin.
enum Bound {
    Integer(i64),
    Real(f64),
    Text(String),
}

impl Bound {
    fn of(times: &Times, since: Timestamp) -> Self {
        let millis = since.as_millis();
        match times {
            Times::Unix(Unit::Seconds) => Self::Integer(millis.div_euclid(1000)),
            Times::Unix(Unit::Milliseconds) => Self::Integer(millis),
            Times::Unix(Unit::FractionalSeconds) => Self::Real(millis.div_euclid(1000) as f64),
            Times::Text(_) | Times::Instant | Times::Local => Self::Text(day_before(since)),
        }
    }
}

fn time_sample(kind: &str, text: String) -> TimeSample {
    match kind {
        "integer" => text.parse().map_or(TimeSample::Other, TimeSample::Integer),
        "real" => text.parse().map_or(TimeSample::Other, TimeSample::Real),
        "text" => TimeSample::Text(text),
        _ => TimeSample::Other,
    }
}

/// What a column stores, by SQLite's own rules for declared types, and by custom for dates and booleans, which SQLite
/// does not have.
fn native(declared: &str) -> Native {
    let declared = declared.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    if has(&["INT"]) {
        Native::Integer
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        Native::Text
    } else if declared.is_empty() || has(&["BLOB"]) {
        Native::Anything
    } else if has(&["REAL", "FLOA", "DOUB", "NUM", "DEC", "MONEY"]) {
        Native::Number
    } else if has(&["BOOL"]) {
        Native::BooleanAsNumber
    } else {
        // DATE, DATETIME, TIMESTAMP, UUID, …: text, in practice.
        Native::Text
    }
}

/// `VARCHAR(50)` → 50.
fn declared_length(declared: &str) -> Option<u32> {
    let (_, rest) = declared.split_once('(')?;
    rest.split([')', ',']).next()?.trim().parse().ok()
}

/// The primary result code: the lower byte of the extended one.
fn primary_code(error: &dyn DatabaseError) -> i32 {
    error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(1) & 0xff
}

/// What SQLite's result codes mean: <https://www.sqlite.org/rescode.html>.
fn meaning(error: &dyn DatabaseError) -> Meaning {
    let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(1);
    let message = error.message();
    // `UNIQUE constraint failed: contacts.email`: names of the schema, no values.
    let named = || message.split_once(": ").map_or_else(String::new, |(_, names)| format!(" (`{names}`)"));
    let correct = "correct the value, or lift the rule";
    match (code & 0xff, code) {
        (5 | 6, _) => Meaning::new(Class::Retry, "the database is locked by another process", "it is tried again"),
        (8, _) => {
            Meaning::new(Class::Misconfigured, "the file may not be written", "give this user the right to write it")
        }
        (3 | 23, _) => Meaning::new(Class::Auth, "access is denied", "give this user the right to use it"),
        (10, _) => Meaning::new(Class::Retry, "the file could not be read or written", "see the disk"),
        (13, _) => Meaning::new(Class::Retry, "the disk is full", "make room"),
        (14, _) => {
            Meaning::new(Class::Retry, "the file cannot be opened", "see whether it is still there, and its rights")
        }
        (17, _) => Meaning::new(Class::Retry, "the schema has just changed", "it is tried again"),
        (11, _) => Meaning::new(Class::Misconfigured, "the file is damaged", "run `PRAGMA integrity_check`"),
        (26, _) => Meaning::new(Class::Misconfigured, "the file is no SQLite database", "correct `url`"),
        (_, 275) => Meaning::new(Class::Rejected, format!("a CHECK constraint refuses the value{}", named()), correct),
        (_, 1299) => {
            Meaning::new(Class::Rejected, format!("a NOT NULL constraint refuses the value{}", named()), correct)
        }
        (_, 1555 | 2067) => {
            Meaning::new(Class::Rejected, format!("a UNIQUE constraint refuses the value{}", named()), correct)
        }
        (_, 787) => Meaning::new(Class::Rejected, "a FOREIGN KEY constraint refuses the value", correct),
        (_, 1811) => Meaning::new(Class::Rejected, "a trigger refuses the value", correct),
        (_, 3091) => Meaning::new(Class::Rejected, "the column's type refuses the value", correct),
        (19, _) => Meaning::new(Class::Rejected, "a constraint refuses the value", correct),
        (18 | 20, _) => Meaning::new(Class::Rejected, "the value is too long or of another type", correct),
        (1, _) if message.starts_with("no such table") || message.starts_with("no such column") => Meaning::new(
            Class::Misconfigured,
            "the table or one of its columns is not there any more",
            "correct the configuration, or put it back",
        ),
        _ => Meaning::new(Class::Broken, "the statement was not understood", "please report this as a defect"),
    }
}

/// A row from its JSON. Bytes that are no UTF-8 make their cell unreadable, not the row.
fn parse(json: &[u8]) -> Result<RawRow, sqlx::Error> {
    if let Ok(row) = serde_json::from_slice(json) {
        return Ok(row);
    }
    let mut row: RawRow =
        serde_json::from_str(&String::from_utf8_lossy(json)).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    for cell in &mut row.cells {
        if matches!(cell, RawCell::Text(text) if text.contains(char::REPLACEMENT_CHARACTER)) {
            *cell = RawCell::Unreadable;
        }
    }
    Ok(row)
}

impl<'de> Deserialize<'de> for RawRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Row;
        impl<'de> Visitor<'de> for Row {
            type Value = RawRow;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("[key, modified, gone, cells…]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawRow, A::Error> {
                let missing = |index| de::Error::invalid_length(index, &self);
                let key = seq.next_element()?.ok_or_else(|| missing(0))?;
                let modified = seq.next_element()?.ok_or_else(|| missing(1))?;
                let gone: u8 = seq.next_element()?.ok_or_else(|| missing(2))?;
                let mut cells = Vec::with_capacity(8);
                while let Some(cell) = seq.next_element()? {
                    cells.push(cell);
                }
                Ok(RawRow { key, modified, gone: gone != 0, cells })
            }
        }
        deserializer.deserialize_seq(Row)
    }
}

impl<'de> Deserialize<'de> for RawCell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneCell;
        impl Visitor<'_> for OneCell {
            type Value = RawCell;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("null, text or 0")
            }

            fn visit_unit<E>(self) -> Result<RawCell, E> {
                Ok(RawCell::Null)
            }

            fn visit_u64<E>(self, _: u64) -> Result<RawCell, E> {
                Ok(RawCell::Unreadable)
            }

            fn visit_str<E>(self, text: &str) -> Result<RawCell, E> {
                Ok(RawCell::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<RawCell, E> {
                Ok(RawCell::Text(text))
            }
        }
        deserializer.deserialize_any(OneCell)
    }
}
