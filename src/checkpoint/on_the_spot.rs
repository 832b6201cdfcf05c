//! SQLite in memory, called directly: the database of a simulated checkpoint. Tests only.

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use super::{Datum, OnTheSpot};

/// A database in memory.
pub struct InMemory(std::sync::Mutex<Connection>);

/// So many prepared statements are kept: more than the checkpoint has.
const STATEMENTS: usize = 256;

impl InMemory {
    /// An empty one.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn open() -> Result<Self, String> {
        let connection = Connection::open_in_memory().map_err(|error| error.to_string())?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let settings = "PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;";
        connection.execute_batch(settings).map_err(|error| error.to_string())?;
        Ok(Self(std::sync::Mutex::new(connection)))
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
        let connection = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        run(connection, sql, arguments).map_err(|error| format!("{error}, in: {sql}"))
    }

    fn script(&mut self, sql: &str) -> Result<(), String> {
        let connection = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        connection.execute_batch(sql).map_err(|error| error.to_string())
    }
}
