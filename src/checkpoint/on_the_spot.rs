//! SQLite in memory, called directly: the database of a simulated checkpoint. Tests only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use super::{Datum, OnTheSpot};

/// A database in memory. What one history leaves is wiped, and the next one of the same thread goes on with its schema and
/// its prepared statements: making them anew is a fifth of a short history.
#[derive(Clone)]
pub struct InMemory {
    database: Arc<Mutex<Open>>,
}

struct Open {
    kept: Option<Kept>,
    /// How many of the scripts that made the schema were asked for so far.
    scripts: usize,
}

/// The tables, each with its rows.
pub type Tables = Vec<(String, Vec<Vec<Value>>)>;

struct Kept {
    connection: Connection,
    /// What made its schema.
    scripts: Vec<String>,
    /// What its schema puts into it.
    pristine: Tables,
}

thread_local! {
    static KEPT: std::cell::RefCell<Option<Kept>> = const { std::cell::RefCell::new(None) };
}

/// So many prepared statements are kept: more than the checkpoint has.
const STATEMENTS: usize = 256;

impl InMemory {
    /// An empty one.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn open() -> Result<Self, String> {
        let kept = match KEPT.take() {
            Some(kept) => kept,
            None => Kept::new().map_err(|error| error.to_string())?,
        };
        Ok(Self { database: Arc::new(Mutex::new(Open { kept: Some(kept), scripts: 0 })) })
    }

    fn open_now(&self) -> MutexGuard<'_, Open> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that it holds.
    ///
    /// # Errors
    /// What SQLite says.
    #[allow(dead_code, reason = "the unit tests share this file and restore nothing")]
    pub fn copy(&self) -> Result<Tables, String> {
        let open = self.open_now();
        open.kept.as_ref().ok_or(CLOSED)?.rows().map_err(|error| error.to_string())
    }

    /// Holds what it held once, as a file that was restored from a backup does.
    ///
    /// # Errors
    /// What SQLite says.
    #[allow(dead_code, reason = "the unit tests share this file and restore nothing")]
    pub fn put_back(&self, tables: &Tables) -> Result<(), String> {
        let open = self.open_now();
        open.kept.as_ref().ok_or(CLOSED)?.fill(tables).map_err(|error| error.to_string())
    }
}

const CLOSED: &str = "it is closed";

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take()
            && kept.fill(&kept.pristine).is_ok()
        {
            KEPT.set(Some(kept));
        }
    }
}

impl Kept {
    fn new() -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let settings = "PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;";
        connection.execute_batch(settings)?;
        Ok(Self { connection, scripts: Vec::new(), pristine: Vec::new() })
    }

    fn script(&mut self, number: usize, sql: &str) -> rusqlite::Result<()> {
        if self.scripts.get(number).is_some_and(|done| done == sql) {
            return Ok(());
        }
        self.connection.execute_batch(sql)?;
        self.scripts.push(sql.to_owned());
        self.pristine = self.rows()?;
        Ok(())
    }

    fn rows(&self) -> rusqlite::Result<Tables> {
        let names = "SELECT name FROM sqlite_master WHERE type = 'table'
                     UNION ALL SELECT 'temp.' || name FROM temp.sqlite_master WHERE type = 'table'";
        let mut statement = self.connection.prepare(names)?;
        let names: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut tables = Vec::new();
        for name in names {
            let mut statement = self.connection.prepare(&format!("SELECT * FROM {name}"))?;
            let columns = statement.column_count();
            let row = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get(at)).collect();
            let rows = statement.query_map([], row)?.collect::<rusqlite::Result<_>>()?;
            tables.push((name, rows));
        }
        Ok(tables)
    }

    /// Holds these tables, and nothing else.
    fn fill(&self, tables: &Tables) -> rusqlite::Result<()> {
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        // What refers to others goes first. Foreign keys are not turned off for it: that would prepare every statement anew.
        self.connection.execute_batch("BEGIN")?;
        for (name, _) in tables.iter().rev() {
            self.connection.prepare_cached(&format!("DELETE FROM {name}"))?.execute([])?;
        }
        for (name, rows) in tables {
            // SQLite's own counters have begun to count what was put in.
            self.connection.prepare_cached(&format!("DELETE FROM {name}"))?.execute([])?;
            for row in rows {
                let places = vec!["?"; row.len()].join(", ");
                let insert = format!("INSERT INTO {name} VALUES ({places})");
                self.connection.prepare_cached(&insert)?.execute(rusqlite::params_from_iter(row))?;
            }
        }
        // Triggers have counted them too, on top of what the rows say.
        let counts = "UPDATE pair SET links = (SELECT count(*) FROM link WHERE link.pair = pair.id)";
        self.connection.prepare_cached(counts)?.execute([])?;
        self.connection.execute_batch("COMMIT")
    }
}

fn bound(argument: &Datum) -> ToSqlOutput<'_> {
    match argument {
        Datum::Null => ToSqlOutput::Owned(Value::Null),
        Datum::Integer(number) => ToSqlOutput::Owned(Value::Integer(*number)),
        Datum::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
    }
}

fn datum(value: ValueRef<'_>) -> Datum {
    match value {
        ValueRef::Null => Datum::Null,
        ValueRef::Integer(number) => Datum::Integer(number),
        ValueRef::Text(text) => Datum::Text(String::from_utf8_lossy(text).into_owned()),
        other => panic!("the checkpoint holds neither {other:?} nor its like"),
    }
}

fn run(connection: &Connection, sql: &str, arguments: &[Datum]) -> rusqlite::Result<(Vec<Vec<Datum>>, u64)> {
    let mut statement = connection.prepare_cached(sql)?;
    let columns = statement.column_count();
    let before = connection.total_changes();
    let mut rows = statement.query(rusqlite::params_from_iter(arguments.iter().map(bound)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((0..columns).map(|at| Ok(datum(row.get_ref(at)?))).collect::<rusqlite::Result<_>>()?);
    }
    drop(rows);
    Ok((found, connection.total_changes() - before))
}

impl OnTheSpot for InMemory {
    fn run(&mut self, sql: &str, arguments: &[Datum]) -> Result<(Vec<Vec<Datum>>, u64), String> {
        let open = self.open_now();
        run(&open.kept.as_ref().ok_or(CLOSED)?.connection, sql, arguments)
            .map_err(|error| format!("{error}, in: {sql}"))
    }

    fn script(&mut self, sql: &str) -> Result<(), String> {
        let mut open = self.open_now();
        open.scripts += 1;
        let number = open.scripts - 1;
        open.kept.as_mut().ok_or(CLOSED)?.script(number, sql).map_err(|error| error.to_string())
    }
}
