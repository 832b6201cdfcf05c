//! What runs the checkpoint's SQL: a connection of its own, or one that answers on the spot.
//!
//! In simulation no other thread may decide what happens next, and a history has thousands of statements: there the
//! driver's worker thread is both a source of chance and most of the cost. So a test brings its own connection.
//!
//! Must not know: what the statements are about.

use std::borrow::Cow;

use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::Error;

/// One value of a row, or one bound to a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// NULL.
    Null,
    /// INTEGER; a truth is 0 or 1.
    Integer(i64),
    /// TEXT.
    Text(String),
}

/// A database that answers at once, on the caller's thread: for simulation.
pub trait OnTheSpot: Send + Sync {
    /// Runs one statement. Answers its rows, and how many rows it changed.
    ///
    /// # Errors
    /// What the database says.
    fn run(&mut self, sql: &str, arguments: &[Datum]) -> Result<(Vec<Vec<Datum>>, u64), String>;

    /// Runs several statements that have no arguments and whose rows nobody wants.
    ///
    /// # Errors
    /// What the database says.
    fn script(&mut self, sql: &str) -> Result<(), String>;
}

pub(super) enum Database {
    Sqlite(SqliteConnection),
    OnTheSpot(Box<dyn OnTheSpot>),
}

/// One statement with what is bound to it.
pub(super) struct Statement {
    sql: Cow<'static, str>,
    arguments: Vec<Datum>,
}

pub(super) fn statement(sql: impl Into<Cow<'static, str>>) -> Statement {
    Statement { sql: sql.into(), arguments: Vec::new() }
}

impl Statement {
    pub fn bind(mut self, value: impl Into<Datum>) -> Self {
        self.arguments.push(value.into());
        self
    }
}

/// One row of an answer.
pub(super) enum Row {
    Sqlite(SqliteRow),
    OnTheSpot(Vec<Datum>),
}

impl Row {
    /// A column by its place.
    ///
    /// # Panics
    /// When the column is not of this type: the statement and its reader, which lie side by side, do not fit.
    pub fn get<'r, T: Column<'r>>(&'r self, at: usize) -> T {
        match self {
            Self::Sqlite(row) => row.get(at),
            Self::OnTheSpot(row) => T::of(&row[at]),
        }
    }
}

/// What a column can be read as.
pub(super) trait Column<'r>: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite> {
    fn of(datum: &'r Datum) -> Self;
}

impl Database {
    pub const fn is_on_the_spot(&self) -> bool {
        matches!(self, Self::OnTheSpot(_))
    }

    pub async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>, Error> {
        match self {
            Self::Sqlite(connection) => {
                let rows = bound(statement).fetch_all(connection).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Self::OnTheSpot(database) => {
                let (rows, _) = database.run(&statement.sql, &statement.arguments).map_err(Error::Database)?;
                Ok(rows.into_iter().map(Row::OnTheSpot).collect())
            }
        }
    }

    /// How many rows it changed.
    pub async fn execute(&mut self, statement: Statement) -> Result<u64, Error> {
        match self {
            Self::Sqlite(connection) => Ok(bound(statement).execute(connection).await?.rows_affected()),
            Self::OnTheSpot(database) => {
                Ok(database.run(&statement.sql, &statement.arguments).map_err(Error::Database)?.1)
            }
        }
    }
}

fn bound(statement: Statement) -> sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments> {
    let query = match statement.sql {
        Cow::Borrowed(sql) => sqlx::query(sql),
        Cow::Owned(sql) => sqlx::query(AssertSqlSafe(sql)),
    };
    statement.arguments.into_iter().fold(query, |query, argument| match argument {
        Datum::Null => query.bind(None::<i64>),
        Datum::Integer(number) => query.bind(number),
        Datum::Text(text) => query.bind(text),
    })
}

// === what is bound ===

impl From<i64> for Datum {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Datum {
    fn from(truth: bool) -> Self {
        Self::Integer(i64::from(truth))
    }
}

impl From<String> for Datum {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Datum {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Self>> From<Option<T>> for Datum {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

// === what is read ===

impl Column<'_> for i64 {
    fn of(datum: &Datum) -> Self {
        match datum {
            Datum::Integer(number) => *number,
            other => panic!("a number was expected, and it is {other:?}"),
        }
    }
}

impl Column<'_> for bool {
    fn of(datum: &Datum) -> Self {
        i64::of(datum) != 0
    }
}

impl<'r> Column<'r> for &'r str {
    fn of(datum: &'r Datum) -> Self {
        match datum {
            Datum::Text(text) => text,
            other => panic!("a text was expected, and it is {other:?}"),
        }
    }
}

impl Column<'_> for String {
    fn of(datum: &Datum) -> Self {
        <&str>::of(datum).to_owned()
    }
}

impl<'r, T: Column<'r>> Column<'r> for Option<T> {
    fn of(datum: &'r Datum) -> Self {
        if *datum == Datum::Null { None } else { Some(T::of(datum)) }
    }
}
