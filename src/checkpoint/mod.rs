//! All that is remembered, and all SQL that remembers it: a SQLite file.
//!
//! One writer connection, short `BEGIN IMMEDIATE` transactions, batched statements through `json_each`: a constant
//! number of statements a page, whatever the page holds. Intents and acknowledgements are written with
//! `synchronous = FULL`, everything else can be read again from the sources and is written with `NORMAL`.
//!
//! Must not know: HTTP, connectors, the engine, what the rows are decided by.

mod attempts;
mod backup;
mod creations;
mod database;
mod error;
mod forget;
mod held;
mod links;
mod lock;
#[cfg(test)]
mod migration_test;
#[cfg(test)]
pub(crate) mod on_the_spot;
mod pairs;
mod records;
mod reports;
mod requests;
mod retention;
mod seen;
mod sources;
mod undo;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row as _, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use database::{Database, Row, Statement, statement};

pub use attempts::{Attempt, HistoryFilter, HistoryRow, NewAttempt, Settled};
pub use creations::{Creation, CreationState, Ended, Sending, SentField};
pub use database::{Datum, OnTheSpot};
pub use error::Error;
pub use forget::{Forgotten, Person};
pub use held::{HeldCount, HeldFilter, HeldRow, HeldState, NewHeld};
pub use links::{LinkRow, LinkUpdate};
pub use lock::Lock;
pub use pairs::{Behind, MappedRow, PairNames, PairRow, Stopped};
pub use records::{RecordRow, RecordSave, Waiting};
pub use reports::{ExplainRow, LinkCounts, WritesInTime};
pub use requests::RequestRow;
pub use seen::{SeenCell, SeenRecord};
pub use sources::{Cursor, FieldRow, SourceRow};
pub use undo::{PastWrite, PutBack, UndoFilter};

const APPLICATION_ID: i32 = 0x4174_746e; // "Attn"
/// What makes a checkpoint of an empty file, one step after the other; the number of steps taken is its version.
const MIGRATIONS: [&str; 5] = [
    include_str!("../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../migrations/sqlite/0002_by_key.sql"),
    include_str!("../../migrations/sqlite/0003_creations.sql"),
    include_str!("../../migrations/sqlite/0004_former.sql"),
    include_str!("../../migrations/sqlite/0005_forgotten.sql"),
];

/// Scratch space of a pass and of a sweep, made on each connection and gone with it.
const SCRATCH: &str = "
    CREATE TEMP TABLE swept (record INTEGER PRIMARY KEY);
    CREATE TEMP TABLE work (pair INTEGER NOT NULL, link INTEGER NOT NULL, PRIMARY KEY (pair, link)) WITHOUT ROWID;
    CREATE TEMP TABLE candidate (pair INTEGER NOT NULL, record INTEGER NOT NULL, PRIMARY KEY (pair, record)) WITHOUT ROWID;";

/// Asked right before and right after every commit; true stops the caller there for ever, as a crash would.
pub type CrashHook = Arc<dyn Fn() -> bool + Send + Sync>;

/// The open checkpoint. Cheap to clone; all clones share the one writer connection.
#[derive(Clone)]
pub struct Checkpoint {
    shared: Arc<Shared>,
}

struct Shared {
    database: Mutex<Database>,
    /// A transaction was dropped half-way (its task was cancelled): roll back before the next one.
    abandoned: AtomicBool,
    crash: Option<CrashHook>,
    /// The highest attempt ever made, kept in a file beside the checkpoint: shows when the checkpoint was restored.
    mark: Option<PathBuf>,
    marked: AtomicI64,
    path: Option<PathBuf>,
}

impl Checkpoint {
    /// Opens the checkpoint at `path` for writing, and makes it (mode 0600) where there is none.
    ///
    /// # Errors
    /// When the file cannot be opened, is no checkpoint of ours, or one of a newer version.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        create_private(path)?;
        // Looked at before anything is set on it: what is not ours stays as it is.
        let look = SqliteConnectOptions::new().filename(path).disable_statement_logging();
        let mut looking = look.connect().await.map_err(|source| Error::open(path, source))?;
        verify(&mut looking, Some(path)).await?;
        looking.close().await.map_err(|source| Error::open(path, source))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(std::time::Duration::from_secs(10))
            // Of a new file; in one that is there it takes effect when that is written anew.
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .pragma("cache_size", "-4000")
            .disable_statement_logging();
        Self::connect(&options, Some(path)).await
    }

    /// Opens the checkpoint at `path` for reading only, beside a process that writes it.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; also when there is none yet.
    pub async fn open_to_read(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            return Err(Error::Missing { path: path.to_owned() });
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(std::time::Duration::from_secs(10))
            .disable_statement_logging();
        let connection = options.connect().await.map_err(|source| Error::open(path, source))?;
        let mut connection = connection;
        match verify(&mut connection, Some(path)).await? {
            0 => return Err(Error::Missing { path: path.to_owned() }),
            found if found < MIGRATIONS.len() => return Err(Error::Older { path: path.to_owned(), found }),
            _ => {}
        }
        sqlx::raw_sql(SCRATCH).execute(&mut connection).await.map_err(|source| Error::open(path, source))?;
        Ok(Self::new(Database::Sqlite(connection), Some(path), None))
    }

    /// A checkpoint that remembers nothing and is written nowhere: what reading commands see before the first pass.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub async fn empty() -> Result<Self, Error> {
        let options = SqliteConnectOptions::new().in_memory(true).disable_statement_logging();
        Self::connect(&options, None).await
    }

    /// A new checkpoint in a database of the caller's that answers on the spot, for simulation.
    ///
    /// # Errors
    /// When that database refuses.
    pub fn simulated(mut database: Box<dyn OnTheSpot>, crash: Option<CrashHook>) -> Result<Self, Error> {
        for script in MIGRATIONS.into_iter().chain([SCRATCH]) {
            database.script(script).map_err(Error::Database)?;
        }
        Ok(Self::new(Database::OnTheSpot(database), None, crash))
    }

    async fn connect(options: &SqliteConnectOptions, path: Option<&Path>) -> Result<Self, Error> {
        let shown = path.unwrap_or(Path::new(":memory:"));
        let mut connection = options.connect().await.map_err(|source| Error::open(shown, source))?;
        let version = verify(&mut connection, path).await?;
        migrate(&mut connection, version).await.map_err(|source| Error::open(shown, source))?;
        sqlx::raw_sql(SCRATCH).execute(&mut connection).await.map_err(|source| Error::open(shown, source))?;
        Ok(Self::new(Database::Sqlite(connection), path, None))
    }

    fn new(database: Database, path: Option<&Path>, crash: Option<CrashHook>) -> Self {
        Self {
            shared: Arc::new(Shared {
                database: Mutex::new(database),
                abandoned: AtomicBool::new(false),
                crash,
                mark: path.map(|path| lock::beside(path, "mark")),
                marked: AtomicI64::new(0),
                path: path.map(Path::to_owned),
            }),
        }
    }

    /// Where it is, unless it is in memory.
    pub fn path(&self) -> Option<&Path> {
        self.shared.path.as_deref()
    }

    /// Begins a transaction that may write. Others wait until it ends: keep it short, and await nothing else in it.
    ///
    /// # Errors
    /// When the database refuses (disk full, read-only, busy for 10 s).
    pub async fn begin(&self) -> Result<Transaction<'_>, Error> {
        self.start("BEGIN IMMEDIATE").await
    }

    /// Begins a transaction that only reads: one consistent picture.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn read(&self) -> Result<Transaction<'_>, Error> {
        self.start("BEGIN").await
    }

    async fn start(&self, begin: &'static str) -> Result<Transaction<'_>, Error> {
        let database = self.shared.database.lock().await;
        let mut transaction = Transaction { shared: &self.shared, database, open: false, durable: false, newest: None };
        if self.shared.abandoned.swap(false, Ordering::SeqCst) {
            // Nothing to roll back is not an error worth telling.
            let _ = transaction.statement("ROLLBACK").await;
        }
        transaction.statement(begin).await?;
        transaction.open = true;
        Ok(transaction)
    }

    /// Writes the file anew, so that what was removed from it is nowhere in it nor in what stands beside it. Nobody else
    /// works on the checkpoint meanwhile; it takes as much room on the disk again. Whether all of it is gone: not while
    /// another process reads.
    ///
    /// # Errors
    /// When the database refuses (disk full).
    pub async fn scrub(&self) -> Result<bool, Error> {
        let mut database = self.shared.database.lock().await;
        if database.is_on_the_spot() {
            return Ok(true);
        }
        if self.shared.abandoned.swap(false, Ordering::SeqCst) {
            // Nothing to roll back is not an error worth telling.
            let _ = database.execute(statement("ROLLBACK")).await;
        }
        database.execute(statement("VACUUM")).await?;
        // The old pages are in the file until the new ones are copied over them, and in the log until it is cut.
        let rows = database.rows(statement("PRAGMA wal_checkpoint(TRUNCATE)")).await?;
        Ok(rows.first().is_some_and(|row| row.get::<i64>(0) == 0))
    }

    /// Whether the checkpoint is older than the mark beside it: it was restored from a copy.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn is_behind_its_mark(&self) -> Result<bool, Error> {
        let marked = match &self.shared.mark {
            Some(mark) => std::fs::read_to_string(mark).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            None => self.shared.marked.load(Ordering::SeqCst),
        };
        let mut transaction = self.read().await?;
        let newest = transaction.newest_attempt().await?;
        transaction.end().await?;
        self.shared.marked.store(newest, Ordering::SeqCst);
        Ok(marked > newest)
    }

    /// Writes the mark to what the checkpoint holds: it is the truth from now on.
    ///
    /// # Errors
    /// When the database refuses. A mark that cannot be written is not an error: it only guards.
    pub async fn accept_as_it_is(&self) -> Result<(), Error> {
        let mut transaction = self.read().await?;
        let newest = transaction.newest_attempt().await?;
        transaction.end().await?;
        self.shared.write_mark(newest);
        Ok(())
    }
}

impl Shared {
    fn write_mark(&self, newest: i64) {
        if let Some(mark) = &self.mark {
            // Best effort by design: without the mark a restored checkpoint is recognised by what the sides hold.
            let _ = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(mark)
                .and_then(|mut file| file.write_all(newest.to_string().as_bytes()));
        }
        self.marked.store(newest, Ordering::SeqCst);
    }
}

/// One transaction. Dropped without [`Transaction::commit`] it is rolled back.
pub struct Transaction<'a> {
    shared: &'a Shared,
    database: MutexGuard<'a, Database>,
    open: bool,
    durable: bool,
    /// The newest attempt that it records: marked once it is committed, for a mark ahead of the checkpoint would make
    /// a crash look like a restored copy.
    newest: Option<i64>,
}

impl Transaction<'_> {
    /// Commits. With `synchronous = FULL` if an attempt or acknowledgement was recorded.
    ///
    /// # Errors
    /// When the database refuses; then nothing of the transaction was done.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.crash_point().await;
        self.statement("COMMIT").await?;
        self.open = false;
        if let Some(newest) = self.newest {
            self.shared.write_mark(newest);
        }
        if self.durable {
            self.statement("PRAGMA synchronous = NORMAL").await?;
        }
        self.crash_point().await;
        Ok(())
    }

    /// Ends a transaction that only read.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end(mut self) -> Result<(), Error> {
        self.statement("ROLLBACK").await?;
        self.open = false;
        Ok(())
    }

    async fn crash_point(&self) {
        if self.shared.crash.as_ref().is_some_and(|crash| crash()) {
            std::future::pending::<()>().await;
        }
    }

    async fn statement(&mut self, sql: &'static str) -> Result<(), Error> {
        self.database.execute(statement(sql)).await?;
        Ok(())
    }

    /// The first row, where there must be one.
    async fn one(&mut self, statement: Statement) -> Result<Row, Error> {
        let missing = || Error::Database("a statement that always has a row had none".to_owned());
        self.first(statement).await?.ok_or_else(missing)
    }

    /// The first row, if there is one.
    async fn first(&mut self, statement: Statement) -> Result<Option<Row>, Error> {
        Ok(self.database.rows(statement).await?.into_iter().next())
    }

    /// Makes this transaction survive a power loss, once committed. Must be the first thing said in it.
    async fn make_durable(&mut self) -> Result<(), Error> {
        if !self.durable && !self.database.is_on_the_spot() {
            // SQLite takes the setting only between transactions.
            self.statement("ROLLBACK").await?;
            self.statement("PRAGMA synchronous = FULL").await?;
            self.statement("BEGIN IMMEDIATE").await?;
            self.durable = true;
        }
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            self.shared.abandoned.store(true, Ordering::SeqCst);
        }
    }
}

/// The version of the checkpoint (0: an empty file).
async fn verify(connection: &mut SqliteConnection, path: Option<&Path>) -> Result<usize, Error> {
    let shown = path.unwrap_or(Path::new(":memory:"));
    let row = sqlx::query(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
                (SELECT count(*) FROM sqlite_master)",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(|source| Error::open(shown, source))?;
    let (application, version, tables): (i32, i64, i64) = (row.get(0), row.get(1), row.get(2));
    if tables == 0 && application == 0 {
        return Ok(0);
    }
    if application != APPLICATION_ID {
        return Err(Error::NotACheckpoint { path: shown.to_owned() });
    }
    usize::try_from(version).ok().filter(|version| *version <= MIGRATIONS.len()).ok_or_else(|| Error::Newer {
        path: shown.to_owned(),
        found: version,
        known: MIGRATIONS.len(),
    })
}

/// Takes the steps that a checkpoint of this version lacks, all of them or none.
async fn migrate(connection: &mut SqliteConnection, version: usize) -> Result<(), sqlx::Error> {
    if version == MIGRATIONS.len() {
        return Ok(());
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for step in &MIGRATIONS[version..] {
        sqlx::raw_sql(*step).execute(&mut *transaction).await?;
    }
    let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}", MIGRATIONS.len());
    sqlx::raw_sql(AssertSqlSafe(marks)).execute(&mut *transaction).await?;
    transaction.commit().await
}

fn create_private(path: &Path) -> Result<(), Error> {
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(Error::create(path, source)),
    }
}

/// `SELECT … WHERE key IN (SELECT value FROM json_each(?))`: the list as one bound parameter.
fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Encoding(error.to_string()))
}

fn from_json<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Encoding(error.to_string()))
}
