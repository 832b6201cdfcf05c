//! What differs between databases: a file for each. Everything else in `sql/` is written once.
//!
//! A dialect owns its connections, looks at the schema, writes the SQL, runs it, and says what its errors mean. It must
//! not know settings, cells or outcomes. SQL texts are made of quoted identifiers and of type names that the database
//! itself gave; values are always bound.

mod mysql;
mod postgres;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{Stream, TryStreamExt};
use secrecy::ExposeSecret;
use sqlx::error::DatabaseError;
use sqlx::pool::Pool;
use sqlx::{Connection, Database};

use super::Settings;
use super::cells::RawCell;
use super::fault::{Label, Meaning};
use super::lifecycle::NewRow;
use super::lookup::Sought;
use super::related::RowPointsTo;
use super::table::{Layout, Table};
use super::times::{TimeSample, Times};
use crate::connector::lookup::KEYS_FOUND_MAX;
use crate::model::{Class, Failure, Timestamp};

/// The most rows of a page.
pub(super) const PAGE_ROWS: usize = 2_000;
/// A page ends early beyond this many bytes of values, so that memory stays flat whatever the table holds.
const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// A window with more rows than this is read by walking the whole table by key once, instead of sorting it for each
/// page.
const NARROW_ROWS: usize = 20_000;
/// How long one call may take, the wait for a connection apart.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The most recent rows that are looked at to find styles.
const SAMPLE_ROWS: usize = 50;

/// What a look at the schema found.
pub(super) struct Inspection {
    /// What this database and table are, whatever name the configuration gives them.
    pub(super) identity: String,
    /// The database's clock.
    pub(super) clock: Timestamp,
    /// The table; none if there is no such table.
    pub(super) relation: Option<Relation>,
    /// The tables there are, where the wanted one is not.
    pub(super) tables: Vec<String>,
}

/// A table or view.
pub(super) struct Relation {
    /// Its name, quoted.
    pub(super) quoted: String,
    /// A view: it has no indexes of its own.
    pub(super) is_view: bool,
    pub(super) columns: Vec<Column>,
    /// Columns that alone are unique by an index.
    pub(super) unique: Vec<String>,
    /// Columns that lead an index.
    pub(super) indexed: Vec<String>,
    /// Whether something of the database's own may run when a row is updated, a trigger for example; none where this user
    /// cannot see that.
    pub(super) updates_run: Option<bool>,
}

/// One column as the schema declares it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its type, as the database words it.
    pub(super) declared: String,
    pub(super) native: Native,
    pub(super) nullable: bool,
    pub(super) max_chars: Option<u32>,
    /// Whether it can be written at all (a generated column cannot, nor can most views).
    pub(super) writable: bool,
    /// The type that text is cast to on its way into the column; none where the column itself converts.
    pub(super) cast: Option<String>,
    /// Whether its default is the database's current time.
    pub(super) defaults_to_now: bool,
}

/// What a column stores, as far as we tell types apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Native {
    Text,
    Integer,
    Number,
    /// Booleans that are shown as `true` and `false`.
    Boolean,
    /// Booleans that are stored as 1 and 0.
    BooleanAsNumber,
    Date,
    Instant,
    /// A date and time without a zone.
    LocalTime,
    Uuid,
    /// One word of a list (an enumeration).
    Word,
    /// SQLite: a column that takes anything as it is.
    Anything,
    /// A type whose values have no faithful text.
    Unsupported,
}

/// What a look at the rows found.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// The modification times of the most recent rows, most recent first.
    pub(super) times: Vec<TimeSample>,
    /// Whether keys were seen, and of which kind: (integers, text, others).
    pub(super) keys: (bool, bool, bool),
    /// Whether there is a row without a modification time.
    pub(super) without_time: bool,
    /// Whether two rows have one key.
    pub(super) duplicate_keys: bool,
    /// The mapped columns in which something was seen that is no text.
    pub(super) unreadable: Vec<String>,
}

/// The SQL texts of a table, made once.
pub(super) struct Statements {
    /// For every scope: the first page, and those after a key.
    pub(super) pages: [[Arc<str>; 2]; 3],
    /// How many rows a window has, counted up to a limit.
    pub(super) count: Arc<str>,
    /// The rows with these keys.
    pub(super) fetch: Arc<str>,
}

/// Which rows a page is taken from, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of them.
    Everything = 0,
    /// Those of a window with many rows: the table is walked by key.
    Wide = 1,
    /// Those of a window with few rows: found by the index on the modified column, sorted by key.
    Narrow = 2,
}

/// One row as the database showed it.
#[derive(Clone, Debug)]
pub(super) struct RawRow {
    pub(super) key: String,
    /// Milliseconds since the Unix epoch.
    pub(super) modified: Option<i64>,
    pub(super) gone: bool,
    /// One for each of the table's slots.
    pub(super) cells: Vec<RawCell>,
}

impl RawRow {
    /// The bytes of its texts.
    fn bytes(&self) -> usize {
        self.cells.iter().map(|cell| if let RawCell::Text(text) = cell { text.len() } else { 0 }).sum()
    }

    /// Which record a slot points to.
    pub(super) fn points_to(&self, slot: usize) -> RowPointsTo {
        match self.cells.get(slot) {
            Some(RawCell::Text(key)) if !key.is_empty() => RowPointsTo::Key(key.clone()),
            Some(RawCell::Unreadable) => RowPointsTo::Unknown,
            _ => RowPointsTo::Nothing,
        }
    }
}

/// One page as the database showed it.
pub(super) struct RawPage {
    pub(super) rows: Vec<RawRow>,
    /// Whether there may be rows behind the last one.
    pub(super) more: bool,
}

/// What is written to one row.
#[derive(Clone, Debug)]
pub(super) struct RowUpdate {
    pub(super) key: String,
    /// The least modification time to set.
    pub(super) modified: Option<Timestamp>,
    pub(super) sets: Vec<Set>,
}

/// What is written to one column of one row.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// Which of the table's slots.
    pub(super) slot: usize,
    /// The new text, or null.
    pub(super) value: Option<String>,
    /// The text that the column must still hold, or null.
    pub(super) expected: Option<String>,
}

/// What an update did.
pub(super) struct Updated {
    /// The rows that were written, as they are stored now.
    pub(super) written: Vec<RawRow>,
    /// The keys of the other rows that are there: they hold something else than was expected.
    pub(super) changed: Vec<String>,
}

/// Why an update failed, and whether it can have happened all the same.
pub(super) struct UpdateError {
    pub(super) error: sqlx::Error,
    pub(super) may_have_happened: bool,
}

impl UpdateError {
    fn not_done(error: sqlx::Error) -> Self {
        Self { error, may_have_happened: false }
    }
}

/// Finding rows by what they hold.
#[async_trait]
pub(super) trait Find {
    /// How many rows there are that are not marked as deleted.
    async fn count_rows(&self, table: &Table) -> Result<u64, sqlx::Error>;

    /// The keys of the rows that hold what is sought and are not marked as deleted. The database compares what is printable
    /// ASCII; whatever else a row holds is compared here, for no two databases agree on what letters and white space are.
    async fn find(&self, table: &Table, sought: Sought) -> Result<Vec<String>, sqlx::Error>;
}

/// Making and removing rows.
#[async_trait]
pub(super) trait Make {
    /// Inserts rows in one transaction, each on its own: the key of each, none where the database does not tell it (then it was
    /// not made), or the error by which the database refused it. A failure is one of all.
    async fn insert(&self, table: &Table, rows: &[NewRow]) -> Result<Vec<InsertedRow>, UpdateError>;

    /// Deletes the rows with these keys in one transaction, each on its own, or marks them where the table has a column for
    /// that: for each the error by which the database refused it, if it did. One that is not there is no error.
    async fn remove(&self, table: &Table, keys: &[&str]) -> Result<Vec<Option<sqlx::Error>>, UpdateError>;
}

/// What became of one row: its key, or the refusal.
pub(super) type InsertedRow = Result<Option<String>, sqlx::Error>;

/// One kind of database.
#[async_trait]
pub(super) trait Dialect: Find + Make + Send + Sync {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// What one of its own errors means.
    fn meaning(&self, error: &dyn DatabaseError) -> Meaning;

    /// A name as the database compares names of columns.
    fn same_name(&self, wanted: &str, column: &str) -> bool;

    /// Whether its text cannot hold the NUL character.
    fn refuses_nul(&self) -> bool;

    /// An identifier, quoted.
    fn quote(&self, name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    /// Looks at the schema, for a table named as in the configuration.
    async fn inspect(&self, table: &str) -> Result<Inspection, sqlx::Error>;

    /// Looks at a few rows, and for what no schema says.
    async fn sample(&self, layout: &Layout) -> Result<Sample, sqlx::Error>;

    /// Makes the texts of a table's reads.
    fn statements(&self, table: &Table) -> Statements;

    /// The database's clock.
    async fn clock(&self) -> Result<Timestamp, sqlx::Error>;

    /// How many rows a window has, by the text that counts them.
    async fn count(&self, table: &Table, sql: &Arc<str>, since: Timestamp) -> Result<i64, sqlx::Error>;

    /// How a window is best read.
    async fn scope(&self, table: &Table, sql: &Arc<str>, since: Timestamp) -> Result<Scope, sqlx::Error> {
        if !is_indexed(table) {
            return Ok(Scope::Wide);
        }
        let rows = self.count(table, sql, since).await?;
        Ok(if usize::try_from(rows).is_ok_and(|rows| rows <= NARROW_ROWS) { Scope::Narrow } else { Scope::Wide })
    }

    /// One page: rows in the order of their keys, after a key.
    async fn page(
        &self,
        table: &Table,
        sql: &Arc<str>,
        since: Option<Timestamp>,
        after: Option<&str>,
    ) -> Result<RawPage, sqlx::Error>;

    /// The rows with these keys, in any order.
    async fn fetch(&self, table: &Table, sql: &Arc<str>, keys: &[&str]) -> Result<Vec<RawRow>, sqlx::Error>;

    /// Writes rows by one conditional statement: each row entirely or not at all. `fetch` is the text that reads rows.
    async fn update(&self, table: &Table, fetch: &Arc<str>, rows: &[RowUpdate]) -> Result<Updated, UpdateError>;
}

/// The database that the URL names. It is not reached yet, but for the file of SQLite, which must be there.
pub(super) async fn open(settings: &Settings, label: &Label) -> Result<Arc<dyn Dialect>, Failure> {
    let url = settings.url.expose_secret();
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    match scheme {
        "sqlite" => Ok(Arc::new(sqlite::Sqlite::open(url, label, settings.patience).await?)),
        "postgres" | "postgresql" => Ok(Arc::new(postgres::Postgres::open(url, label)?)),
        "mysql" | "mariadb" => Ok(Arc::new(mysql::MySqlServer::open(url, label)?)),
        _ => Err(misconfigured(
            label,
            "`url` does not begin with `sqlite:`, `postgres:` or `mysql:`",
            "write sqlite:FILE, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE",
        )),
    }
}

/// A failure of the configuration.
pub(super) fn misconfigured(label: &Label, why: impl AsRef<str>, next: &str) -> Failure {
    Failure::new(Class::Misconfigured, format!("{label}: {}; {next}", why.as_ref()))
}

/// Runs `work` on a connection of the pool. A connection that does not answer in time is thrown away: it must not go
/// back to the pool with an answer outstanding.
async fn on_connection<D, T>(
    pool: &Pool<D>,
    work: impl for<'c> FnOnce(&'c mut D::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
) -> Result<T, sqlx::Error>
where
    D: Database,
    T: Send,
{
    let mut connection = pool.acquire().await?;
    match tokio::time::timeout(CALL_LIMIT, work(&mut *connection)).await {
        Ok(result) => result,
        Err(_) => {
            drop(connection.detach());
            Err(timed_out())
        }
    }
}

/// Collects a page from the rows of an answer; `read` makes a row of each, and says how many bytes it holds.
async fn page_of<R>(
    mut rows: impl Stream<Item = Result<R, sqlx::Error>> + Unpin,
    read: impl Fn(&R) -> Result<(RawRow, usize), sqlx::Error>,
) -> Result<RawPage, sqlx::Error> {
    let mut page = RawPage { rows: Vec::new(), more: false };
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        let (row, row_bytes) = read(&row)?;
        bytes += row_bytes;
        page.rows.push(row);
        if bytes > PAGE_BYTES || page.rows.len() == PAGE_ROWS {
            page.more = true;
            break;
        }
    }
    Ok(page)
}

/// Collects the keys of rows that hold what is sought; `read` makes the key and what the row holds of each.
async fn keys_of<R>(
    mut rows: impl Stream<Item = Result<R, sqlx::Error>> + Unpin,
    sought: &Sought,
    read: impl Fn(&R) -> Result<(String, RawCell), sqlx::Error>,
) -> Result<Vec<String>, sqlx::Error> {
    let mut keys = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let (key, held) = read(&row)?;
        if sought.is(held) {
            keys.push(key);
        }
        if keys.len() == KEYS_FOUND_MAX {
            break;
        }
    }
    Ok(keys)
}

/// One statement about one row, with the texts to bind.
struct RowStatement {
    sql: String,
    values: Vec<String>,
    /// Whether it must tell the row's key: one that does not is undone.
    tells_key: bool,
}

/// Whether a database refused a row for what it is, so that others are not touched by it.
fn is_about_the_row(dialect: &dyn Dialect, error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if dialect.meaning(error.as_ref()).class == Class::Rejected)
}

/// The conditions for the rows of a window, each of which an index finds: the table's own window (`window` makes it, for a
/// table under an alias, by its number among the windows), and for each table that its rows point to, the rows that point to
/// one of that one's window.
fn windows(table: &Table, window: impl Fn(&Table, &str, usize) -> String) -> Vec<String> {
    let layout = &table.layout;
    let pointing = layout.related.iter().enumerate().map(|(at, related)| {
        let Layout { quoted, key, .. } = &related.table.layout;
        let from = &layout.slots[related.from].quoted;
        let theirs = window(&related.table, "r", at + 1);
        format!("t.{from} IN (SELECT r.{} FROM {quoted} AS r WHERE {theirs})", key.quoted)
    });
    std::iter::once(window(table, "t", 0)).chain(pointing).collect()
}

/// The tables whose windows [`windows`] names, in its order.
fn windowed(table: &Table) -> impl Iterator<Item = &Table> {
    std::iter::once(table).chain(table.layout.related.iter().map(|related| &related.table))
}

/// Whether indexes find the rows of a window.
fn is_indexed(table: &Table) -> bool {
    windowed(table).all(|table| table.layout.modified_is_indexed)
        && table.layout.related.iter().all(|related| related.from_is_indexed)
}

/// How many rows a window has, each condition counted up to a limit.
fn count_sql(table: &Table, windows: &[String]) -> String {
    let (name, limit) = (&table.layout.quoted, NARROW_ROWS + 1);
    let counted = windows.iter().enumerate().map(|(at, window)| {
        format!("(SELECT count(*) FROM (SELECT 1 FROM {name} AS t WHERE {window} LIMIT {limit}) AS counted_{at})")
    });
    format!("SELECT {}", counted.collect::<Vec<_>>().join(" + "))
}

/// The rows of a window, found by indexes: those of each condition, each row once.
fn narrow_sql(table: &Table, windows: &[String]) -> String {
    let (name, columns) = (&table.layout.quoted, columns_sql(&table.layout));
    let selects = windows.iter().map(|window| format!("SELECT {columns} FROM {name} AS t WHERE {window}"));
    selects.collect::<Vec<_>>().join(" UNION ")
}

/// The columns that a row is made of.
fn columns_sql(layout: &Layout) -> String {
    let mut columns: Vec<String> = [&layout.key, &layout.modified]
        .into_iter()
        .chain(&layout.deleted)
        .chain(&layout.slots)
        .map(|slot| format!("t.{}", slot.quoted))
        .collect();
    columns.sort_unstable();
    columns.dedup();
    columns.join(", ")
}

/// The columns that a batch sets, each once.
fn slots_of(rows: &[RowUpdate]) -> Vec<usize> {
    let mut slots: Vec<usize> = rows.iter().flat_map(|row| row.sets.iter().map(|set| set.slot)).collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// The day by which an index finds the rows of a window whose times are text: a day earlier, and the day only, so that
/// no row of the window is below it, whatever the zone and the separator.
fn day_before(since: Timestamp) -> String {
    let day_before = since.max(Timestamp::EPOCH) - Duration::from_secs(24 * 60 * 60);
    day_before.to_seconds_text().chars().take("0000-00-00".len()).collect()
}

/// The rows below that day whose text is no time (empty, `02.01.2026`), and numbers among text: whatever sorts before
/// the years.
fn odd_times_sql(column: &str, times: &Times) -> String {
    if matches!(times, Times::Text(_)) { format!(" OR {column} < '0:'") } else { String::new() }
}

/// What marks no row as deleted: nothing, false, and zero in every spelling (`0`, `0.00`, `0000-00-00 00:00:00`).
const NOT_DELETED_SQL: &str = "('', 'f', 'false')";
const ZEROS_SQL: &str = "'0.-: '";

/// A time of a column whose type says what it is.
fn time_sample(native: Native, text: String) -> TimeSample {
    match native {
        Native::Integer => text.parse().map_or(TimeSample::Other, TimeSample::Integer),
        Native::Number => text.parse().map_or(TimeSample::Other, TimeSample::Real),
        _ => TimeSample::Text(text),
    }
}

/// The error of a call that was given up.
fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// Makes one connection and closes it: unlike a pool's, its failure says why.
async fn reach<C: Connection>(options: &C::Options) -> Result<(), sqlx::Error> {
    let attempt = async { C::connect_with(options).await?.close().await };
    tokio::time::timeout(CONNECT_LIMIT, attempt).await.unwrap_or_else(|_| Err(timed_out()))
}
