//! A folder with a configuration, a simulated store (a second one where it is asked for), a CRM in SQLite, PostgreSQL or MySQL,
//! and the binary to run there. Customer N and contact N are one person, `pN@example.com`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use attune::model::Timestamp;
use attune::simulator::settings::{
    AttributeKind, AttributeSettings, Behaviour, Population, Readings, Settings, StoreSettings,
};
use attune::simulator::{self, NewCustomer, Simulator, StoreControl};
use serde_json::Value as Json;
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use tokio::process::{Child, Command};

/// Longer than any condition takes to come true, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The attributes of a store, and the columns of a contact that go with them.
const ATTRIBUTES: [(&str, AttributeKind); 7] = [
    ("Title", AttributeKind::String),
    ("Grade", AttributeKind::String),
    ("Note", AttributeKind::String),
    ("Code", AttributeKind::String),
    ("Vip", AttributeKind::String),
    ("Points", AttributeKind::Number),
    ("Born", AttributeKind::Date),
];

pub const TITLE: &str = r#"store = "attribute:Title", crm = "title""#;
pub const GRADE: &str = r#"store = "attribute:Grade", crm = "grade""#;

/// Everything a test needs; gone with it.
pub struct World {
    pub folder: tempfile::TempDir,
    pub simulator: Simulator,
    database: Database,
}

enum Database {
    Sqlite,
    /// A schema of its own, dropped by [`World::end`].
    Postgres {
        url: String,
        schema: String,
    },
    /// The same.
    MySql {
        url: String,
        schema: String,
    },
}

/// The configuration, as text in its places.
#[derive(Clone, Debug)]
pub struct Config {
    /// Each as it stands between braces.
    pub fields: Vec<String>,
    pub rails: String,
    pub store: String,
    pub crm: String,
    pub mapping: String,
    /// At the end of the file.
    pub more: String,
}

impl Config {
    /// These fields; unknown outcomes and stale reads are waited for no longer than a moment, and rails are far away.
    pub fn new(fields: &[&str]) -> Self {
        let quick = "quarantine = \"0s\"\nreplica_lag = \"0s\"";
        Self {
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            rails: "writes = { count = 10000, percent = 100 }, clears = { count = 100, percent = 100 }".to_owned(),
            store: quick.to_owned(),
            crm: quick.to_owned(),
            mapping: String::new(),
            more: String::new(),
        }
    }

    pub fn store(mut self, more: &str) -> Self {
        self.store = format!("{}\n{more}", self.store);
        self
    }

    pub fn rails(mut self, rails: &str) -> Self {
        self.rails = rails.to_owned();
        self
    }

    pub fn crm(mut self, more: &str) -> Self {
        self.crm = format!("{}\n{more}", self.crm);
        self
    }

    pub fn mapping(mut self, more: &str) -> Self {
        self.mapping = more.to_owned();
        self
    }

    pub fn more(mut self, more: &str) -> Self {
        self.more = more.to_owned();
        self
    }

    /// As it is, but writes of unknown outcome are in quarantine for so long.
    pub fn quarantine(&self, time: &str) -> Self {
        let set = |text: &str| text.replace("quarantine = \"0s\"", &format!("quarantine = \"{time}\""));
        Self { store: set(&self.store), crm: set(&self.crm), ..self.clone() }
    }
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    /// Without the events.
    pub stderr: String,
    pub events: Vec<Json>,
}

impl Said {
    #[track_caller]
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:#?}"))
    }

    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Fails unless stderr has these words.
    #[track_caller]
    pub fn complains(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in stderr: {self:#?}");
        }
        self
    }

    /// The first event of this name.
    #[track_caller]
    pub fn event(&self, name: &str) -> &Json {
        let found = self.events.iter().find(|event| event["event"] == name);
        found.unwrap_or_else(|| panic!("there is no {name}: {self:#?}"))
    }

    pub fn has_event(&self, name: &str) -> bool {
        self.events.iter().any(|event| event["event"] == name)
    }
}

impl World {
    /// Two stores, `abc123` and `def456`, that behave so; a SQLite CRM; nobody in either.
    pub async fn with(behaviour: Behaviour) -> Self {
        Self::on(behaviour, Database::Sqlite).await
    }

    /// No quota.
    pub async fn new() -> Self {
        Self::with(unlimited(Readings::default())).await
    }

    /// With so many people who have no values.
    pub async fn of(people: u64) -> Self {
        let world = Self::new().await;
        for _ in 0..people {
            world.person(&[], &[]).await;
        }
        world
    }

    /// On PostgreSQL; none where `ATTUNE_TEST_POSTGRES` names none.
    pub async fn postgres() -> Option<Self> {
        let Ok(url) = std::env::var("ATTUNE_TEST_POSTGRES") else {
            eprintln!("skipped: ATTUNE_TEST_POSTGRES is not set");
            return None;
        };
        let schema = format!("end_to_end_{}_{}", std::process::id(), millis());
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).execute(&mut connection).await.unwrap();
        Some(Self::on(unlimited(Readings::default()), Database::Postgres { url, schema }).await)
    }

    /// On MySQL or MariaDB; none where `ATTUNE_TEST_MYSQL` names none.
    pub async fn mysql() -> Option<Self> {
        let Ok(url) = std::env::var("ATTUNE_TEST_MYSQL") else {
            eprintln!("skipped: ATTUNE_TEST_MYSQL is not set");
            return None;
        };
        let schema = format!("end_to_end_{}_{}", std::process::id(), millis());
        let mut connection = MySqlConnection::connect(&url).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {schema}"))).execute(&mut connection).await.unwrap();
        Some(Self::on(unlimited(Readings::default()), Database::MySql { url, schema }).await)
    }

    async fn on(behaviour: Behaviour, database: Database) -> Self {
        let attributes: Vec<AttributeSettings> =
            ATTRIBUTES.iter().map(|(name, kind)| AttributeSettings { name: (*name).to_owned(), kind: *kind }).collect();
        let store = |hash: &str, token: &str| StoreSettings {
            hash: hash.to_owned(),
            token: token.to_owned(),
            population: Population { attributes: attributes.clone(), ..Population::default() },
            behaviour: behaviour.clone(),
            ..StoreSettings::default()
        };
        let stores = vec![store("abc123", "token-a"), store("def456", "token-b")];
        let simulator = simulator::start(Settings { stores, record: crate::traffic::record(), ..Settings::default() })
            .await
            .unwrap();
        let world = Self { folder: tempfile::tempdir().unwrap(), simulator, database };
        let columns = match world.database {
            Database::Sqlite => {
                "id INTEGER PRIMARY KEY, email TEXT, title TEXT, grade TEXT, note TEXT, code TEXT, vip BOOLEAN, \
                 points NUMERIC, born TEXT, kind TEXT, updated_at TEXT"
            }
            Database::Postgres { .. } => {
                "id BIGINT PRIMARY KEY, email TEXT, title TEXT, grade TEXT, note TEXT, code TEXT, vip BOOLEAN, \
                 points NUMERIC, born DATE, kind TEXT, updated_at TIMESTAMPTZ"
            }
            Database::MySql { .. } => {
                "id BIGINT PRIMARY KEY, email VARCHAR(255), title TEXT, grade TEXT, note TEXT, code TEXT, vip BOOLEAN, \
                 points DOUBLE, born DATE, kind TEXT, updated_at TIMESTAMP(3) NULL"
            }
        };
        let table = world.table();
        world.sql(&format!("CREATE TABLE {table} ({columns})")).await;
        world.sql(&format!("CREATE INDEX contacts_updated_at ON {table} (updated_at)")).await;
        world.configure(&Config::new(&[TITLE]));
        world
    }

    /// Drops what outlives the folder.
    pub async fn end(self) {
        if let Database::Postgres { url, schema } = &self.database {
            let mut connection = PgConnection::connect(url).await.unwrap();
            let sql = format!("DROP SCHEMA {schema} CASCADE");
            sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        }
        if let Database::MySql { url, schema } = &self.database {
            let mut connection = MySqlConnection::connect(url).await.unwrap();
            sqlx::query(AssertSqlSafe(format!("DROP DATABASE {schema}"))).execute(&mut connection).await.unwrap();
        }
    }

    /// Writes the configuration.
    pub fn configure(&self, config: &Config) {
        std::fs::write(self.path("attune.toml"), self.text(config)).unwrap();
    }

    /// The configuration as text.
    pub fn text(&self, config: &Config) -> String {
        let Config { fields, rails, store, crm, mapping, more } = config;
        let (url, table) = (self.simulator.url(), self.table());
        let database = match &self.database {
            Database::Sqlite => "\"sqlite:erp.db\"",
            Database::Postgres { .. } | Database::MySql { .. } => "{ env = \"ERP_URL\" }",
        };
        let fields: Vec<String> = fields.iter().map(|field| format!("  {{ {field} }},")).collect();
        let fields = fields.join("\n");
        format!(
            r#"
[store.acme]
store_hash   = "abc123"
access_token = {{ env = "ACME_TOKEN" }}
api_url      = "{url}"
crm          = "erp"
mapping      = "b2b"
rails        = {{ {rails} }}
{store}

[crm.erp]
kind  = "sql"
url   = {database}
table = "{table}"
{crm}

[mapping.b2b]
match = [{{ store = "customer:email", crm = "email" }}]
{mapping}
field = [
{fields}
]

[server]
listen = "off"

{more}
"#
        )
    }

    /// A second store, `bolt`, on the same CRM: for [`Config::more`].
    pub fn second_store(&self) -> String {
        let url = self.simulator.url();
        format!(
            "[store.bolt]\nstore_hash = \"def456\"\naccess_token = {{ env = \"BOLT_TOKEN\" }}\napi_url = \"{url}\"\n\
             crm = \"erp\"\nmapping = \"b2b\"\nquarantine = \"0s\"\nreplica_lag = \"0s\"\n\
             rails = {{ writes = {{ count = 10000, percent = 100 }} }}\n"
        )
    }

    pub fn store(&self) -> StoreControl {
        self.simulator.store("abc123").unwrap()
    }

    pub fn bolt(&self) -> StoreControl {
        self.simulator.store("def456").unwrap()
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    // People and their values.

    /// A new person with values on both sides, as they stand in SQL on the CRM's; its number.
    pub async fn person(&self, store: &[(&str, &str)], crm: &[(&str, &str)]) -> u64 {
        let number = self.store().customers().len() as u64 + 1;
        let email = format!("p{number}@example.com");
        let id = self.store().add_customer(NewCustomer::new(&email, store.iter().copied())).unwrap();
        assert_eq!(id, number);
        self.contact(number, &format!("'{email}'"), crm).await;
        number
    }

    /// A new contact, its values as they stand in SQL. It was last changed long ago.
    pub async fn contact(&self, id: u64, email: &str, values: &[(&str, &str)]) {
        let columns: String = values.iter().map(|(column, _)| format!(", {column}")).collect();
        let values: String = values.iter().map(|(_, value)| format!(", {value}")).collect();
        let (table, long_ago) = (self.table(), self.time("2026-01-01T00:00:00Z"));
        let sql = format!(
            "INSERT INTO {table} (id, email, updated_at{columns}) VALUES ({id}, {email}, '{long_ago}'{values})"
        );
        self.sql(&sql).await;
    }

    /// Somebody edits a contact, now: `set("title = 'Boss'", "id = 1")`.
    pub async fn edit(&self, set: &str, which: &str) {
        self.edit_at(0, set, which).await;
    }

    /// The same, dated so many seconds later.
    pub async fn edit_at(&self, later_s: i64, set: &str, which: &str) {
        let at = self.time(&Timestamp::from_millis(millis() + later_s * 1000).to_string());
        let table = self.table();
        self.sql(&format!("UPDATE {table} SET {set}, updated_at = '{at}' WHERE {which}")).await;
    }

    /// Somebody edits a value in the store, dated so many seconds later.
    pub fn store_edit_at(&self, later_s: i64, id: u64, name: &str, value: &str) {
        self.simulator.set_clock_skew_ms(later_s * 1000);
        self.store().set_value(id, name, value).unwrap();
        self.simulator.set_clock_skew_ms(0);
    }

    /// A contact's value, as text.
    pub async fn cell(&self, id: u64, column: &str) -> Option<String> {
        let text = if matches!(self.database, Database::MySql { .. }) { "CHAR" } else { "TEXT" };
        let sql = format!("SELECT CAST({column} AS {text}) FROM {} WHERE id = {id}", self.table());
        match &self.database {
            Database::Sqlite => {
                let mut connection = self.sqlite().await;
                sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap().get(0)
            }
            Database::Postgres { url, .. } => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap().get(0)
            }
            Database::MySql { url, .. } => {
                let mut connection = MySqlConnection::connect(url).await.unwrap();
                sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap().get(0)
            }
        }
    }

    /// All values of a column, by contact.
    pub async fn column(&self, column: &str) -> Vec<(i64, Option<String>)> {
        let sql = format!("SELECT id, CAST({column} AS TEXT) FROM {} ORDER BY id", self.table());
        let mut connection = self.sqlite().await;
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// What both sides hold of a person: the store's value, the CRM's.
    pub async fn both(&self, id: u64, name: &str, column: &str) -> (Option<String>, Option<String>) {
        (self.store().value(id, name), self.cell(id, column).await)
    }

    /// Fails unless both sides hold exactly this title.
    #[track_caller]
    pub fn titles(&self, id: u64, title: &str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let wanted = (Some(title.to_owned()), Some(title.to_owned()));
            assert_eq!(self.both(id, "Title", "title").await, wanted, "person {id} at {place}");
        }
    }

    /// The CRM's table.
    pub fn table(&self) -> String {
        match &self.database {
            Database::Sqlite => "contacts".to_owned(),
            Database::Postgres { schema, .. } | Database::MySql { schema, .. } => format!("{schema}.contacts"),
        }
    }

    /// Does something to the CRM's database.
    pub async fn sql(&self, sql: &str) {
        match &self.database {
            Database::Sqlite => {
                let mut connection = self.sqlite().await;
                sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
            }
            Database::Postgres { url, .. } => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
            }
            Database::MySql { url, .. } => {
                let mut connection = MySqlConnection::connect(url).await.unwrap();
                sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
            }
        }
    }

    /// A time in the spelling that the database takes.
    fn time(&self, time: &str) -> String {
        match &self.database {
            Database::MySql { .. } => time.replace('T', " ").replace('Z', ""),
            _ => time.to_owned(),
        }
    }

    pub async fn sqlite(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path("erp.db")).create_if_missing(true);
        options.busy_timeout(PATIENCE).connect().await.unwrap()
    }

    // Commands.

    /// The binary, about to run a command line in the folder; `'…'` keeps blanks.
    pub fn command(&self, line: &str) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_attune"), &words(line))
    }

    /// Any program, as the binary would be run.
    pub fn command_of(&self, program: &str, arguments: &[String]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("ACME_TOKEN", "token-a")
            .env("BOLT_TOKEN", "token-b")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Database::Postgres { url, .. } | Database::MySql { url, .. } = &self.database {
            command.env("ERP_URL", url);
        }
        command
    }

    /// Runs a command line to its end.
    pub async fn run(&self, line: &str) -> Said {
        finish(self.command(line).spawn().unwrap()).await
    }

    /// What is held, by the reasons' words.
    pub async fn held(&self) -> Vec<Json> {
        self.run("held --json").await.ended(0).json().as_array().unwrap().clone()
    }

    /// The reasons for which fields and records are held, sorted.
    pub async fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> =
            self.held().await.iter().map(|held| held["reason"].as_str().unwrap().to_owned()).collect();
        reasons.sort();
        reasons
    }

    /// Every write, the newest first.
    pub async fn history(&self) -> Vec<Json> {
        self.run("history --json").await.ended(0).json().as_array().unwrap().clone()
    }

    /// How a store stands.
    pub async fn status(&self, store: &str) -> Json {
        let status = self.run("status --json").await.ended(0).json();
        let found = status["stores"].as_array().unwrap().iter().find(|row| row["name"] == store).cloned();
        found.unwrap_or_else(|| panic!("no store {store}: {status}"))
    }

    /// Passes until nothing is left to do, as a timer would make them.
    pub async fn settle(&self) {
        let began = Instant::now();
        loop {
            let said = self.run("sync").await;
            if said.code == 0 {
                return;
            }
            let goes_on = said.code == 1 && began.elapsed() < PATIENCE;
            assert!(goes_on, "{said:#?}\nheld: {:?}", self.held().await);
        }
    }

    /// Calls that wrote to the first store.
    pub fn store_writes(&self) -> u64 {
        writes(&self.store())
    }

    /// Fails unless two more passes and a sweep write nothing anywhere.
    pub async fn is_quiet(&self, code: i32) {
        let before = (self.store_writes(), writes(&self.bolt()), self.history().await.len(), self.dates().await);
        self.run("sync").await.ended(code);
        self.run("sync").await.ended(code);
        self.run("sync --sweep").await.ended(code);
        let after = (self.store_writes(), writes(&self.bolt()), self.history().await.len(), self.dates().await);
        assert_eq!(after, before, "something was written after convergence");
        assert_eq!(self.store().report().violation_notes, Vec::<String>::new());
    }

    /// When contacts were last changed.
    async fn dates(&self) -> Vec<(i64, Option<String>)> {
        match &self.database {
            Database::Sqlite => self.column("updated_at").await,
            Database::Postgres { url, .. } => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let sql = format!("SELECT id, CAST(updated_at AS TEXT) FROM {} ORDER BY id", self.table());
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
            Database::MySql { url, .. } => {
                let mut connection = MySqlConnection::connect(url).await.unwrap();
                let sql = format!("SELECT id, CAST(updated_at AS CHAR) FROM {} ORDER BY id", self.table());
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
        }
    }
}

/// A store without a quota that reads the facts so.
pub fn unlimited(readings: Readings) -> Behaviour {
    let mut behaviour = Behaviour { readings, ..Behaviour::default() };
    behaviour.quota.unlimited = true;
    behaviour
}

/// Calls that wrote to a store.
pub fn writes(store: &StoreControl) -> u64 {
    store.report().calls.iter().filter(|(call, _)| !call.starts_with("GET")).map(|(_, count)| count).sum()
}

/// Waits for a command's end.
pub async fn finish(child: Child) -> Said {
    let output = child.wait_with_output().await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let (events, stderr): (Vec<&str>, Vec<&str>) = stderr.lines().partition(|line| line.starts_with('{'));
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: stderr.join("\n"),
        events: events.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect(),
    }
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < PATIENCE, "{place}: not so after {PATIENCE:?}: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// `kill -9`, and the end of the process.
pub async fn kill(mut child: Child) {
    child.start_kill().unwrap();
    let status = child.wait().await.unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "it ended by itself: {status}");
}

/// Asks a process to end.
pub async fn terminate(child: &Child) {
    let id = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &id]).status().await.unwrap().success());
}

/// Words of a line; `'…'` keeps blanks.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

pub fn millis() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

pub fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}
