//! The CRM: a table in SQLite or PostgreSQL, and a trigger that notes every change of it, ours and theirs.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use tokio::sync::Mutex;

use crate::ledger::{By, Cell, Change};
use crate::plan::Plan;

/// A change as the database logs it: contact, field, old, new, who.
type ChangeRow = (i64, String, Option<String>, Option<String>, Option<String>);

pub struct Crm {
    connection: Mutex<Database>,
    /// The schema to drop at the end.
    schema: Option<String>,
    pub table: String,
}

enum Database {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

macro_rules! on {
    ($database:expr, $connection:ident => $work:expr) => {
        match $database {
            Database::Sqlite($connection) => $work,
            Database::Postgres($connection) => $work,
        }
    };
}

/// How this kind of database says "now" as the table holds it.
const SQLITE_NOW: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

impl Crm {
    pub async fn sqlite(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let connection = options.busy_timeout(Duration::from_secs(20)).connect().await.unwrap();
        Self { connection: Mutex::new(Database::Sqlite(connection)), schema: None, table: "contacts".to_owned() }
    }

    pub async fn postgres(url: &str, name: &str) -> Self {
        let connection = PgConnection::connect(url).await.unwrap();
        let schema = format!("chaos_{}_{name}", std::process::id());
        let table = format!("{schema}.contacts");
        Self { connection: Mutex::new(Database::Postgres(connection)), schema: Some(schema), table }
    }

    /// Makes the table, the notes and the people.
    pub async fn fill(&self, plan: &Plan) {
        let table = &self.table;
        let log = self.log();
        if let Some(schema) = &self.schema {
            self.sql(&format!("CREATE SCHEMA {schema}")).await;
            self.sql(&format!(
                "CREATE TABLE {table} (id BIGINT PRIMARY KEY, email TEXT, title TEXT, grade TEXT, note TEXT, points NUMERIC, \
                 updated_at TIMESTAMPTZ, who TEXT)"
            ))
            .await;
            self.sql(&format!(
                "CREATE TABLE {log} (id BIGSERIAL PRIMARY KEY, contact BIGINT, field TEXT, old TEXT, new TEXT, who TEXT)"
            ))
            .await;
            for field in &plan.fields {
                let column = field.column;
                self.sql(&format!(
                    "CREATE FUNCTION {schema}.note_{column}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     INSERT INTO {log} (contact, field, old, new, who) VALUES (NEW.id, '{column}', OLD.{column}::text, \
                     NEW.{column}::text, CASE WHEN NEW.who IS DISTINCT FROM OLD.who THEN NEW.who END); RETURN NULL; END $$"
                ))
                .await;
                self.sql(&format!(
                    "CREATE TRIGGER note_{column} AFTER UPDATE ON {table} FOR EACH ROW \
                     WHEN (NEW.{column} IS DISTINCT FROM OLD.{column}) EXECUTE FUNCTION {schema}.note_{column}()"
                ))
                .await;
            }
        } else {
            self.sql(
                "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, title TEXT, grade TEXT, note TEXT, \
                 points NUMERIC, updated_at TEXT, who TEXT)",
            )
            .await;
            self.sql(&format!(
                "CREATE TABLE {log} (id INTEGER PRIMARY KEY, contact INTEGER, field TEXT, old TEXT, new TEXT, who TEXT)"
            ))
            .await;
            for field in &plan.fields {
                let column = field.column;
                self.sql(&format!(
                    "CREATE TRIGGER note_{column} AFTER UPDATE ON contacts WHEN NEW.{column} IS NOT OLD.{column} BEGIN \
                     INSERT INTO {log} (contact, field, old, new, who) VALUES (NEW.id, '{column}', CAST(OLD.{column} AS TEXT), \
                     CAST(NEW.{column} AS TEXT), CASE WHEN NEW.who IS NOT OLD.who THEN NEW.who END); END"
                ))
                .await;
            }
        }
        self.sql(&format!("CREATE INDEX contacts_updated_at ON {table} (updated_at)")).await;
        for person in 1..=plan.people {
            let values: Vec<String> = (0..plan.fields.len())
                .map(|field| quoted(plan.initial(Cell { system: 0, person, field }).as_deref()))
                .collect();
            let columns: Vec<&str> = plan.fields.iter().map(|field| field.column).collect();
            self.sql(&format!(
                "INSERT INTO {table} (id, email, updated_at, {}) VALUES ({person}, 'p{person}@example.com', \
                 '2026-01-01T00:00:00Z', {})",
                columns.join(", "),
                values.join(", ")
            ))
            .await;
        }
    }

    fn log(&self) -> String {
        self.schema.as_ref().map_or_else(|| "log".to_owned(), |schema| format!("{schema}.log"))
    }

    async fn sql(&self, sql: &str) {
        let mut database = self.connection.lock().await;
        on!(&mut *database, connection => {
            sqlx::query(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
        });
    }

    /// Somebody edits a field, dated by the database.
    pub async fn edit(&self, plan: &Plan, cell: Cell, value: Option<&str>, act: usize) {
        let now = if self.schema.is_some() { "clock_timestamp()" } else { SQLITE_NOW };
        let column = plan.fields[cell.field].column;
        let (table, value, person) = (&self.table, quoted(value), cell.person);
        self.sql(&format!(
            "UPDATE {table} SET {column} = {value}, updated_at = {now}, who = 'act {act}' WHERE id = {person}"
        ))
        .await;
    }

    /// Somebody's transaction has the whole table for so long.
    pub async fn lock(&self, time: Duration) {
        let table = &self.table;
        let lock = match self.schema {
            Some(_) => format!("BEGIN; LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"),
            None => "BEGIN IMMEDIATE".to_owned(),
        };
        let mut database = self.connection.lock().await;
        on!(&mut *database, connection => {
            sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *connection).await.unwrap();
            tokio::time::sleep(time).await;
            sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.unwrap();
        });
    }

    /// Every change there was, in order.
    pub async fn changes(&self, plan: &Plan) -> Vec<Change> {
        let sql = format!("SELECT contact, field, old, new, who FROM {} ORDER BY id", self.log());
        let mut database = self.connection.lock().await;
        let rows: Vec<ChangeRow> = on!(&mut *database, connection =>
            sqlx::query_as(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap());
        rows.into_iter()
            .map(|(contact, column, old, new, who)| {
                let field = plan.fields.iter().position(|field| field.column == column).unwrap();
                let act = who.as_deref().and_then(|who| who.strip_prefix("act ")).map(|act| act.parse().unwrap());
                Change {
                    cell: Cell { system: 0, person: contact.unsigned_abs(), field },
                    old,
                    new,
                    by: act.map_or(By::Attune { read_ms: None }, By::Person),
                    at_ms: None,
                }
            })
            .collect()
    }

    /// What everybody holds.
    pub async fn values(&self, plan: &Plan) -> Vec<(Cell, Option<String>)> {
        let columns: Vec<String> = plan.fields.iter().map(|field| format!("CAST({} AS TEXT)", field.column)).collect();
        let sql = format!("SELECT id, {} FROM {} ORDER BY id", columns.join(", "), self.table);
        let mut values = Vec::new();
        let mut database = self.connection.lock().await;
        let mut take = |person: i64, field: usize, value| {
            values.push((Cell { system: 0, person: person.unsigned_abs(), field }, value));
        };
        on!(&mut *database, connection => {
            for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap() {
                (0..plan.fields.len()).for_each(|field| take(row.get(0), field, row.get(field + 1)));
            }
        });
        values
    }

    /// Drops what outlives the folder.
    pub async fn end(&self) {
        if let Some(schema) = &self.schema {
            self.sql(&format!("DROP SCHEMA {schema} CASCADE")).await;
        }
    }
}

fn quoted(value: Option<&str>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| format!("'{value}'"))
}
