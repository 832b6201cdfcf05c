//! A table of a SQL database as a source: SQLite, PostgreSQL, MySQL and MariaDB; another database is one file more in `dialect/`.
//!
//! One table, one key column, one column with modification times, and the columns that a mapping names, also of tables that
//! its rows point to. Reads are paged
//! by key, so that no edit can shift a row past a page; writes are one conditional statement for a batch. It must not
//! know the checkpoint, the engine or mappings. Times are the database's, never ours.

mod cells;
mod dialect;
mod fault;
mod lifecycle;
mod lookup;
mod read;
mod related;
mod table;
mod times;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use self::dialect::{Dialect, Scope, Statements};
use self::fault::Label;
pub use self::related::Relation;
use self::table::Table;
use super::{Connector, FieldWanted, Lane, Lifecycle, Limits, Lookup, Page, Prepared, Reservation, Unreserved};
use crate::model::{Failure, Key, Observed, Outcome, Timestamp, Write};

/// The one feed of a table: its rows by their modification time.
const FEED_ROWS: &str = "rows";

/// The most keys of one direct read.
const KEYS_PER_FETCH: usize = 1_000;

/// How far in the future a modification time is no clock that is a little fast.
const AHEAD: Duration = Duration::from_secs(10 * 60);

/// Nothing is dated so far ahead.
const FOR_EVER: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Who sets the modification time of a row that we write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModifiedBy {
    /// We do, in the column's own style.
    #[default]
    Attune,
    /// The database does, by a trigger.
    Database,
}

/// What the configuration says about one table (`[crm.NAME]` with `kind = "sql"`).
#[derive(Clone, Debug)]
pub struct Settings {
    /// The source's name in the configuration, for messages.
    pub name: String,
    /// `sqlite:…`, `postgres://…` or `mysql://…`, with its password: never printed.
    pub url: SecretString,
    /// The table or view; `schema.table` where the database has schemas.
    pub table: String,
    /// The key column: integers, text or UUIDs; its values are unique.
    pub key: String,
    /// The column with each row's modification time: a timestamp, RFC 3339 text, `YYYY-MM-DD HH:MM:SS` text in UTC, or
    /// unix seconds.
    pub modified: String,
    /// Who sets that column on our writes.
    pub modified_by: ModifiedBy,
    /// The column that marks a row as gone: neither null, nor false, nor 0, nor empty.
    pub deleted: Option<String>,
    /// Tables that contacts point to, by the word before the dot in a field's name.
    pub relations: BTreeMap<String, Relation>,
    /// The fields, in the order that cells and writes index.
    pub fields: Vec<FieldWanted>,
    /// How long a read that fails for a passing reason is repeated before the failure is handed on.
    pub patience: Duration,
    /// Ends every wait at once.
    pub cancel: CancellationToken,
}

impl Settings {
    /// The settings of a table with every default of the configuration.
    pub fn new(name: impl Into<String>, url: SecretString, table: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url,
            table: table.into(),
            key: "id".to_owned(),
            modified: "updated_at".to_owned(),
            modified_by: ModifiedBy::default(),
            deleted: None,
            relations: BTreeMap::new(),
            fields: Vec::new(),
            patience: Duration::from_secs(30),
            cancel: CancellationToken::new(),
        }
    }
}

/// A table of a SQL database. Nothing is reached before the first call.
pub struct Sql {
    settings: Settings,
    label: Label,
    names: Vec<String>,
    /// The database, once its URL has been understood: pools connect by themselves, when needed.
    database: Mutex<Option<Arc<dyn Dialect>>>,
    /// What the last look at the schema found.
    ready: Mutex<Option<Arc<Ready>>>,
}

/// Everything that reads and writes need, found by looking at the schema.
struct Ready {
    dialect: Arc<dyn Dialect>,
    table: Table,
    statements: Statements,
}

impl Sql {
    /// A connector for these settings.
    pub fn new(settings: Settings) -> Self {
        let label = Label { name: settings.name.clone(), table: settings.table.clone() };
        let names = settings.fields.iter().map(|field| field.name.clone()).collect();
        Self { settings, label, names, database: Mutex::new(None), ready: Mutex::new(None) }
    }

    /// The database, opened at the first call.
    async fn database(&self) -> Result<Arc<dyn Dialect>, Failure> {
        if let Some(dialect) = self.database.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(dialect);
        }
        let opened = dialect::open(&self.settings, &self.label).await?;
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(slot.get_or_insert(opened).clone())
    }

    /// What the schema was found to be; looked at now if it never was.
    async fn ready(&self) -> Result<Arc<Ready>, Failure> {
        match self.known() {
            Some(ready) => Ok(ready),
            None => Ok(self.look().await?.0),
        }
    }

    /// What the last look at the schema found.
    fn known(&self) -> Option<Arc<Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the schema and remembers what was found.
    async fn look(&self) -> Result<(Arc<Ready>, Prepared), Failure> {
        let (ready, prepared) = self
            .patiently(|| async {
                let dialect = self.database().await?;
                let inspected =
                    dialect.inspect(&self.settings.table).await.map_err(|error| self.failure(&*dialect, &error))?;
                let (related, more) = self.look_at_related(&*dialect).await?;
                let layout = table::check(&self.settings, &self.label, &*dialect, &inspected, related)?;
                let sample = dialect.sample(&layout).await.map_err(|error| self.failure(&*dialect, &error))?;
                let undated = layout.undated_writes(&self.settings, &self.label);
                let all_are_dated = !sample.without_time;
                let (table, mut warnings) = layout.finish(&self.settings, &self.label, sample)?;
                warnings.extend(more);
                warnings.extend(undated);
                let statements = dialect.statements(&table);
                let ready = Ready { dialect, table, statements };
                let odd = self.look_at_rows(&ready, inspected.clock, all_are_dated).await;
                warnings.extend(odd.map_err(|error| self.failure(&*ready.dialect, &error))?);
                let prepared = Prepared {
                    identity: inspected.identity,
                    clock: inspected.clock,
                    definitions: ready.table.definitions(),
                    warnings,
                    choices: Vec::new(),
                };
                Ok((Arc::new(ready), prepared))
            })
            .await?;
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready.clone());
        Ok((ready, prepared))
    }

    /// What the rows say about `deleted` and `modified`, in sentences. Never a walk through a table that is configured well.
    async fn look_at_rows(
        &self,
        Ready { dialect, table, statements }: &Ready,
        clock: Timestamp,
        all_are_dated: bool,
    ) -> Result<Vec<String>, sqlx::Error> {
        let (name, modified) = (&self.settings.table, &self.settings.modified);
        let mut sentences = Vec::new();
        if let Some(deleted) = &self.settings.deleted
            && table.layout.key_is_unique
        {
            let sql = &statements.pages[Scope::Everything as usize][0];
            let page = dialect.page(table, sql, None, None).await?;
            let all_gone = !page.rows.is_empty() && page.rows.iter().all(|row| row.gone);
            if all_gone && dialect.count_rows(table).await? == 0 {
                sentences.push(format!(
                    "{}: every row of `{name}` counts as deleted, for `{deleted}` is filled in all of them; let `deleted` name \
                     a column that is null, false, 0 or empty in rows that are not, or take it out",
                    self.label
                ));
            }
        }
        // An index finds them; rows without a time would be among them, and those of other tables.
        let is_cheap = table.layout.modified_is_indexed && all_are_dated && table.layout.related.is_empty();
        let since = async |time: Timestamp| dialect.count(table, &statements.count, time).await;
        let ahead = if is_cheap { since(clock + AHEAD).await? } else { 0 };
        // What is no time at all belongs to every window, also to the last one.
        if ahead > 0 && ahead > since(clock + FOR_EVER).await? {
            sentences.push(format!(
                "{}: `{name}` has rows whose `{modified}` is in the future: it is in local time and not in UTC, or somebody's \
                 clock is wrong; such rows win conflicts as the newer ones",
                self.label
            ));
        }
        Ok(sentences)
    }

    fn failure(&self, dialect: &dyn Dialect, error: &sqlx::Error) -> Failure {
        fault::failure(&self.label, dialect, error)
    }
}

#[async_trait]
impl Connector for Sql {
    fn kind(&self) -> &'static str {
        "sql"
    }

    fn fields(&self) -> &[String] {
        &self.names
    }

    fn limits(&self) -> Limits {
        Limits {
            batches_per_round: 1,
            writes_per_batch: write::BATCH_ROWS,
            keys_per_fetch: KEYS_PER_FETCH,
            conditional_writes: true,
            shows_nulls: true,
        }
    }

    /// Columns are never created, and they have no ids: both arguments are without meaning here.
    async fn prepare(&self, _known: &[Option<String>], _may_create: bool) -> Result<Prepared, Failure> {
        Ok(self.look().await?.1)
    }

    fn feeds(&self) -> &'static [&'static str] {
        &[FEED_ROWS]
    }

    fn changes(&self, _feed: &'static str, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        self.pages(Some(since))
    }

    fn everything(&self) -> BoxStream<'_, Result<Page, Failure>> {
        self.pages(None)
    }

    async fn fetch(
        &self,
        keys: &[Key],
        fields: &[usize],
        _reservation: &dyn Reservation,
    ) -> Result<Vec<Observed>, Failure> {
        self.read_directly(keys, fields).await
    }

    fn batches(&self, writes: Vec<Write>) -> Vec<Vec<Write>> {
        write::batches(writes)
    }

    async fn reserve(&self, _lane: Lane, _calls: usize) -> Result<Box<dyn Reservation>, Failure> {
        Ok(Box::new(Unreserved(Lane::Fresh)))
    }

    async fn write(&self, batch: &[Write], _reservation: &dyn Reservation) -> Vec<Outcome> {
        self.send(batch).await
    }

    fn lookup(&self) -> Option<&dyn Lookup> {
        Some(self)
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }
}
