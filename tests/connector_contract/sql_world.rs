//! Tables as worlds: a file for SQLite, a schema for PostgreSQL and MySQL, and the hands of another program in all.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use attune::connector::Connector;
use attune::connector::FieldWanted;
use attune::connector::sql::{Settings, Sql};
use attune::model::{FieldType, Key, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, MySqlPool, PgPool, SqlitePool};

use crate::world::{NOTE, Place, REFUSED, TITLE, World};

/// A database to make tables in.
pub enum Database {
    Sqlite { folder: tempfile::TempDir, pools: Mutex<Vec<(String, SqlitePool)>> },
    Postgres { url: String, pool: PgPool, schema: String },
    MySql { url: String, pool: MySqlPool, schema: String },
}

/// Runs a test in a folder of its own.
pub async fn on_sqlite(test: impl for<'a> FnOnce(&'a Database) -> BoxFuture<'a, ()>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    test(&Database::Sqlite { folder, pools: Mutex::default() }).await;
}

/// Runs a test in a schema of its own, which is dropped also if the test fails; skips it, and says so, where there is no
/// PostgreSQL.
pub async fn on_postgres(test: impl for<'a> FnOnce(&'a Database) -> BoxFuture<'a, ()>) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Ok(url) = std::env::var("ATTUNE_TEST_POSTGRES") else {
        println!("skipped: ATTUNE_TEST_POSTGRES is not set");
        return;
    };
    let schema = format!("attune_contract_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(2).connect(&url).await.expect("PostgreSQL answers");
    let database = Database::Postgres { url, pool: pool.clone(), schema: schema.clone() };
    database.run(&format!("CREATE SCHEMA {schema}")).await;
    let result = AssertUnwindSafe(test(&database)).catch_unwind().await;
    database.run(&format!("DROP SCHEMA {schema} CASCADE")).await;
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

/// Runs a test in a schema of its own on MySQL or MariaDB, as [`on_postgres`] does. The hands of the tests quote names as the
/// other databases do.
pub async fn on_mysql(test: impl for<'a> FnOnce(&'a Database) -> BoxFuture<'a, ()>) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Ok(url) = std::env::var("ATTUNE_TEST_MYSQL") else {
        println!("skipped: ATTUNE_TEST_MYSQL is not set");
        return;
    };
    let schema = format!("attune_contract_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let pool = sqlx::mysql::MySqlPoolOptions::new()
        .max_connections(2)
        .after_connect(|connection, _| {
            let quotes = sqlx::raw_sql("SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')");
            async move { quotes.execute(connection).await.map(drop) }.boxed()
        })
        .connect(&url)
        .await
        .expect("MySQL answers");
    let database = Database::MySql { url, pool: pool.clone(), schema: schema.clone() };
    database.run(&format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4")).await;
    let result = AssertUnwindSafe(test(&database)).catch_unwind().await;
    database.run(&format!("DROP DATABASE {schema}")).await;
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

impl Database {
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite { .. })
    }

    /// One of two texts, by the kind of database, in tests that MySQL has no part in.
    pub fn either<'a>(&self, sqlite: &'a str, postgres: &'a str) -> &'a str {
        if self.is_sqlite() { sqlite } else { postgres }
    }

    /// One of three texts, by the kind of database.
    pub fn one_of<'a>(&self, sqlite: &'a str, postgres: &'a str, mysql: &'a str) -> &'a str {
        match self {
            Self::Sqlite { .. } => sqlite,
            Self::Postgres { .. } => postgres,
            Self::MySql { .. } => mysql,
        }
    }

    /// A time in the spelling that the database takes.
    fn time(&self, time: Timestamp) -> String {
        match self {
            Self::MySql { .. } => time.to_string().replace('T', " ").replace('Z', ""),
            _ => time.to_string(),
        }
    }

    /// A name for a new table, and the settings that name it. On SQLite each table is in a file of its own.
    pub fn new_table(&self) -> Settings {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let (url, table) = match self {
            Self::Sqlite { folder, .. } => {
                (format!("sqlite:{}/{number}.db", folder.path().display()), "contacts".to_owned())
            }
            Self::Postgres { url, schema, .. } | Self::MySql { url, schema, .. } => {
                (url.clone(), format!("{schema}.contacts_{number}"))
            }
        };
        let mut settings = Settings::new("erp", url.into(), table);
        settings.patience = Duration::ZERO;
        settings
    }

    /// The file of a table of SQLite, as another program has it open.
    async fn sqlite_pool(&self, settings: &Settings) -> SqlitePool {
        use secrecy::ExposeSecret;
        let Self::Sqlite { pools, .. } = self else { panic!("not SQLite") };
        let url = settings.url.expose_secret().to_owned();
        if let Some((_, pool)) = pools.lock().expect("no panic").iter().find(|(known, _)| *known == url) {
            return pool.clone();
        }
        let options: SqliteConnectOptions = url.parse().expect("a URL");
        let pool = sqlx::sqlite::SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.create_if_missing(true))
            .await
            .expect("the file is made");
        pools.lock().expect("no panic").push((url, pool.clone()));
        pool
    }

    /// Runs SQL of a test on a server.
    async fn run(&self, sql: &str) {
        let statements = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let done = match self {
            Self::Sqlite { .. } => panic!("a file is no server"),
            Self::Postgres { pool, .. } => statements.execute(pool).await.map(drop),
            Self::MySql { pool, .. } => statements.execute(pool).await.map(drop),
        };
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs SQL as another program would, on the database that the settings name.
    pub async fn execute(&self, settings: &Settings, sql: &str) {
        if self.is_sqlite() {
            let pool = self.sqlite_pool(settings).await;
            let result = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&pool).await;
            result.unwrap_or_else(|error| panic!("{sql}: {error}"));
        } else {
            self.run(sql).await;
        }
    }

    /// Runs one statement with texts to bind.
    pub async fn execute_with(&self, settings: &Settings, sql: &str, texts: &[Option<&str>]) {
        let sql_text = AssertSqlSafe(sql.to_owned());
        let done = match self {
            Self::Sqlite { .. } => {
                let mut query = sqlx::query(sql_text);
                for text in texts {
                    query = query.bind(text.map(str::to_owned));
                }
                query.execute(&self.sqlite_pool(settings).await).await.map(drop)
            }
            Self::Postgres { pool, .. } => {
                let mut query = sqlx::query(sql_text);
                for text in texts {
                    query = query.bind(text.map(str::to_owned));
                }
                query.execute(pool).await.map(drop)
            }
            Self::MySql { pool, .. } => {
                let places = sql.replace("$1", "?").replace("$2", "?");
                let mut query = sqlx::query(AssertSqlSafe(places));
                for text in texts {
                    query = query.bind(text.map(str::to_owned));
                }
                query.execute(pool).await.map(drop)
            }
        };
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The texts of the first column of an answer.
    pub async fn texts(&self, settings: &Settings, sql: &str) -> Vec<String> {
        let sql_text = AssertSqlSafe(sql.to_owned());
        let answer = match self {
            Self::Sqlite { .. } => sqlx::query_scalar(sql_text).fetch_all(&self.sqlite_pool(settings).await).await,
            Self::Postgres { pool, .. } => sqlx::query_scalar(sql_text).fetch_all(pool).await,
            Self::MySql { pool, .. } => sqlx::query_scalar(sql_text).fetch_all(pool).await,
        };
        answer.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// SQL for the database's current time, as a program writes it into the modified column.
    pub fn now_sql(&self) -> &'static str {
        self.one_of("strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", "clock_timestamp()", "UTC_TIMESTAMP(6)")
    }
}

/// Settings for a field of text.
pub fn text_field(name: &str) -> FieldWanted {
    FieldWanted::new(name, FieldType::String)
}

#[async_trait]
impl Place for Database {
    async fn world(&self, records: usize) -> Box<dyn World> {
        let mut settings = self.new_table();
        settings.deleted = Some("deleted_at".to_owned());
        settings.fields = vec![text_field("job \"title\""), text_field("note")];
        let table = settings.table.clone();
        let columns =
            "\"job \"\"title\"\"\" {text} NOT NULL DEFAULT ('') CHECK (\"job \"\"title\"\"\" <> '{refused}'), note {text}, \
                       updated_at {time}, deleted_at {time}"
                .replace("{refused}", REFUSED)
                .replace("{text}", self.one_of("text", "text", "mediumtext"))
                .replace("{time}", self.one_of("TEXT", "timestamptz", "timestamp(6) NULL"));
        let key = self.one_of(
            "INTEGER PRIMARY KEY",
            "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
            "bigint AUTO_INCREMENT PRIMARY KEY",
        );
        let now = self.now_sql();
        let numbers = self.one_of(
            "WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {records}) \
             SELECT 'title ' || number, {now} FROM numbers WHERE {records} > 0",
            "SELECT 'title ' || number, {now} FROM generate_series(1, {records}) AS number",
            "SELECT CONCAT('title ', number), {now} FROM (SELECT 1000 * a.d + 100 * b.d + 10 * c.d + e.d + 1 AS number \
             FROM {digits} AS a, {digits} AS b, {digits} AS c, {digits} AS e) AS numbers WHERE number <= {records} ORDER BY number",
        );
        let digits: Vec<String> = (0..10).map(|digit| format!("SELECT {digit} AS d")).collect();
        let numbers = numbers.replace("{digits}", &format!("({})", digits.join(" UNION ALL ")));
        let numbers = numbers.replace("{records}", &records.to_string()).replace("{now}", now);
        let sql = format!(
            "CREATE TABLE {table} (id {key}, {columns}); CREATE INDEX ON_MODIFIED ON {table} (updated_at); \
             INSERT INTO {table} (\"job \"\"title\"\"\", updated_at) {numbers}"
        );
        // Names of indexes are unique in a schema.
        let sql = sql.replace("ON_MODIFIED", &format!("modified_{}", table.rsplit('.').next().unwrap_or(&table)));
        self.execute(&settings, &sql).await;
        let connector = Sql::new(settings.clone());
        connector.prepare(&[None, None], false).await.expect("it can be prepared");
        Box::new(SqlWorld { database: self.borrowed(), settings, connector })
    }
}

impl Database {
    /// A second handle on the same database, for a world.
    fn borrowed(&self) -> Self {
        match self {
            Self::Sqlite { pools, .. } => Self::Sqlite {
                folder: tempfile::tempdir().expect("a temporary folder"),
                pools: Mutex::new(pools.lock().expect("no panic").clone()),
            },
            Self::Postgres { url, pool, schema } => {
                Self::Postgres { url: url.clone(), pool: pool.clone(), schema: schema.clone() }
            }
            Self::MySql { url, pool, schema } => {
                Self::MySql { url: url.clone(), pool: pool.clone(), schema: schema.clone() }
            }
        }
    }
}

struct SqlWorld {
    database: Database,
    settings: Settings,
    connector: Sql,
}

impl SqlWorld {
    fn column(field: usize) -> &'static str {
        match field {
            TITLE => "\"job \"\"title\"\"\"",
            NOTE => "note",
            _ => panic!("no such field"),
        }
    }

    async fn execute_with(&self, sql: &str, texts: &[Option<&str>]) {
        self.database.execute_with(&self.settings, sql, texts).await;
    }
}

#[async_trait]
impl World for SqlWorld {
    fn connector(&self) -> &dyn Connector {
        &self.connector
    }

    async fn keys(&self) -> Vec<Key> {
        let text = self.database.one_of("text", "text", "char");
        let sql = format!("SELECT CAST(t.id AS {text}) FROM {} AS t ORDER BY t.id", self.settings.table);
        self.database.texts(&self.settings, &sql).await.into_iter().map(Key).collect()
    }

    async fn edit(&self, key: &Key, field: usize, value: Option<&str>) {
        let (table, column, now) = (&self.settings.table, Self::column(field), self.database.now_sql());
        let sql = format!("UPDATE {table} SET {column} = $1, updated_at = {now} WHERE id = {key}");
        self.execute_with(&sql, &[value]).await;
    }

    async fn add(&self, title: &str) -> Key {
        let (table, column, now) = (&self.settings.table, Self::column(TITLE), self.database.now_sql());
        self.execute_with(&format!("INSERT INTO {table} ({column}, updated_at) VALUES ($1, {now})"), &[Some(title)])
            .await;
        self.keys().await.pop().expect("a record")
    }

    async fn remove(&self, key: &Key) {
        self.execute_with(&format!("DELETE FROM {} WHERE id = {key}", self.settings.table), &[]).await;
    }

    async fn mark_deleted(&self, key: &Key) -> bool {
        let (table, now) = (&self.settings.table, self.database.now_sql());
        self.execute_with(&format!("UPDATE {table} SET deleted_at = {now}, updated_at = {now} WHERE id = {key}"), &[])
            .await;
        true
    }

    async fn storm(&self, title: &str) -> Timestamp {
        let (table, column, now) = (&self.settings.table, Self::column(TITLE), self.now().await);
        let time = self.database.one_of("$2", "$2::timestamptz", "$2");
        let sql = format!("UPDATE {table} SET {column} = $1, updated_at = {time}");
        self.execute_with(&sql, &[Some(title), Some(&self.database.time(now))]).await;
        now
    }

    async fn set_modified(&self, key: &Key, modified: Timestamp) -> bool {
        let time = self.database.one_of("$1", "$1::timestamptz", "$1");
        let sql = format!("UPDATE {} SET updated_at = {time} WHERE id = {key}", self.settings.table);
        self.execute_with(&sql, &[Some(&self.database.time(modified))]).await;
        true
    }

    async fn make_titles_unique(&self) -> bool {
        let (table, column) = (&self.settings.table, Self::column(TITLE));
        let part = self.database.one_of("", "", " (100)");
        let name = format!("titles_{}", table.rsplit('.').next().unwrap_or(table));
        self.execute_with(&format!("CREATE UNIQUE INDEX {name} ON {table} ({column}{part})"), &[]).await;
        true
    }

    async fn now(&self) -> Timestamp {
        let sql = self.database.one_of(
            "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
            "SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')",
        );
        let text = self.database.texts(&self.settings, sql).await.remove(0);
        Timestamp::parse(&text).expect("a time")
    }
}
