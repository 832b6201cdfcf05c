//! A folder with a configuration, a simulated store with a handful of customers, a SQLite CRM with a handful of
//! contacts, and the binary to run there.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use attune::simulator::settings::{AttributeKind, AttributeSettings, Population, Settings, StoreSettings};
use attune::simulator::{self, NewCustomer, Simulator, StoreControl};
use serde_json::Value as Json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

pub const TITLE: &str = "attribute:Job title";
pub const POINTS: &str = "attribute:Points";

/// Everything a test needs; gone with it.
pub struct World {
    pub folder: tempfile::TempDir,
    pub simulator: Simulator,
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
    /// The document on stdout.
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:#?}"))
    }

    /// Fails with all that was said unless it ended with this code.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Fails with all that was said unless stderr has these words.
    #[track_caller]
    pub fn complains(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in stderr: {self:#?}");
        }
        self
    }

    /// What stands in a snapshot: code, stdout and stderr without what changes from run to run.
    pub fn stable(&self, world: &World) -> String {
        let text = format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr);
        stable(&text, world)
    }
}

/// Replaces the folder, the port, times, ages and digests, and blanks that line up columns.
fn stable(text: &str, world: &World) -> String {
    let folder = world.folder.path().canonicalize().unwrap();
    let text = text.replace(folder.to_str().unwrap(), "[folder]");
    let text = text.replace(&world.simulator.address().to_string(), "[address]");
    let mut lines = Vec::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let mut words: Vec<String> = Vec::new();
        for word in line.split_whitespace() {
            let bare = word.trim_matches(|symbol: char| !symbol.is_ascii_alphanumeric());
            let is_digest = bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_time = attune::model::Timestamp::parse(bare).is_some();
            let words_before = words.len();
            if bare == "ago" && words_before >= 2 {
                words.truncate(words_before - 2);
                words.push(word.replace("ago", "[ago]"));
            } else if bare == "150" && words.last().is_some_and(|word| word == "of") {
                words.truncate(words_before - 2);
                words.push("[quota]".to_owned());
            } else if is_digest {
                words.push(word.replace(bare, "[digest]"));
            } else if is_time {
                words.push(word.replace(bare, "[time]"));
            } else {
                words.push(word.to_owned());
            }
        }
        lines.push(format!("{}{}", " ".repeat(indent), words.join(" ")));
    }
    lines.join("\n")
}

impl World {
    /// Customers 1–5 and contacts c1–c7: one pair to fill each way, one that differs, one alone on each side, one
    /// customer with two candidates.
    pub async fn new() -> Self {
        let attribute = |name: &str, kind| AttributeSettings { name: name.to_owned(), kind };
        let population = Population {
            attributes: vec![attribute("Job title", AttributeKind::String), attribute("Points", AttributeKind::Number)],
            ..Population::default()
        };
        let store = |hash: &str, token: &str| StoreSettings {
            hash: hash.to_owned(),
            token: token.to_owned(),
            population: population.clone(),
            ..StoreSettings::default()
        };
        let stores = vec![store("abc123", "token-a"), store("def456", "token-b")];
        let simulator = simulator::start(Settings { stores, record: crate::traffic::record(), ..Settings::default() })
            .await
            .unwrap();
        let world = Self { folder: tempfile::tempdir().unwrap(), simulator };
        for (email, values) in [
            ("ann@example.com", vec![("Job title", "Buyer"), ("Points", "10")]),
            ("bob@example.com", vec![]),
            ("cyd@example.com", vec![("Job title", "Clerk")]),
            ("dan@example.com", vec![("Job title", "Driver")]),
            ("fay@example.com", vec![("Job title", "Farmer")]),
        ] {
            world.store().add_customer(NewCustomer::new(email, values)).unwrap();
        }
        world
            .crm("CREATE TABLE contacts (id TEXT PRIMARY KEY, email TEXT, job_title TEXT, points INTEGER, updated_at TEXT)")
            .await;
        world.crm("CREATE INDEX contacts_updated_at ON contacts (updated_at)").await;
        for row in [
            "('c1', 'Ann@Example.com', NULL, 10, '2026-01-01T00:00:00Z')",
            "('c2', 'bob@example.com', 'Boss', NULL, '2026-01-01T00:00:00Z')",
            "('c3', 'cyd@example.com', 'Cook', NULL, '2026-01-01T00:00:00Z')",
            "('c5', 'eve@example.com', 'Editor', NULL, '2026-01-01T00:00:00Z')",
            "('c6', 'fay@example.com', NULL, NULL, '2026-01-01T00:00:00Z')",
            "('c7', 'fay@example.com', NULL, NULL, '2026-01-01T00:00:00Z')",
            "('c8', NULL, NULL, NULL, '2026-01-01T00:00:00Z')",
        ] {
            world.crm(&format!("INSERT INTO contacts VALUES {row}")).await;
        }
        world.configure("", "", "");
        world
    }

    /// Customers 1–2 with contacts that fill each other; after one pass both sides agree and nothing is held.
    pub async fn small() -> Self {
        let world = Self::new().await;
        world.crm("DELETE FROM contacts WHERE id NOT IN ('c1', 'c2')").await;
        for id in 3..=5 {
            world.store().delete_customer(id).unwrap();
        }
        world
    }

    /// Writes the configuration: more for the store, for the first field, and for the end of the file.
    pub fn configure(&self, store: &str, field: &str, end: &str) {
        let url = self.simulator.url();
        let text = format!(
            r#"[store.acme]
store_hash   = "abc123"
access_token = {{ env = "ACME_TOKEN" }}
api_url      = "{url}"
crm          = "erp"
mapping      = "b2b"
{store}

[crm.erp]
kind  = "sql"
url   = "sqlite:erp.db"
table = "contacts"

[mapping.b2b]
match = [{{ store = "customer:email", crm = "email" }}]
field = [
  {{ store = "attribute:Job title", crm = "job_title"{field} }},
  {{ store = "attribute:Points", crm = "points", type = "number" }},
]
{end}
"#
        );
        std::fs::write(self.path("attune.toml"), text).unwrap();
    }

    /// A second store, `bolt`, on the same CRM.
    pub fn second_store(&self) -> String {
        let url = self.simulator.url();
        format!(
            "[store.bolt]\nstore_hash = \"def456\"\naccess_token = {{ env = \"BOLT_TOKEN\" }}\napi_url = \"{url}\"\n\
             crm = \"erp\"\nmapping = \"b2b\""
        )
    }

    /// The first store.
    pub fn store(&self) -> StoreControl {
        self.simulator.store("abc123").unwrap()
    }

    /// The second store.
    pub fn bolt(&self) -> StoreControl {
        self.simulator.store("def456").unwrap()
    }

    /// Calls that wrote to the first store.
    pub fn store_writes(&self) -> u64 {
        let calls = self.store().report().calls;
        calls.iter().filter(|(call, _)| !call.starts_with("GET")).map(|(_, count)| count).sum()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Does something to the CRM's database.
    pub async fn crm(&self, sql: &str) {
        let mut connection = self.crm_options().connect().await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }

    /// A contact's job title.
    pub async fn title(&self, id: &str) -> Option<String> {
        let mut connection = self.crm_options().connect().await.unwrap();
        let query = sqlx::query("SELECT job_title FROM contacts WHERE id = ?1").bind(id);
        query.fetch_one(&mut connection).await.unwrap().get(0)
    }

    /// Someone edits a contact's job title, now.
    pub async fn edit_title(&self, id: &str, title: &str) {
        let now = attune::model::Timestamp::from_millis(now_millis());
        self.crm(&format!("UPDATE contacts SET job_title = '{title}', updated_at = '{now}' WHERE id = '{id}'")).await;
    }

    fn crm_options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(self.path("erp.db")).create_if_missing(true)
    }

    /// The binary, about to run a command line in the folder.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attune"));
        command
            .args(words(line))
            .current_dir(self.folder.path())
            .env_clear()
            .env("ACME_TOKEN", "token-a")
            .env("BOLT_TOKEN", "token-b")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command line to its end.
    pub async fn run(&self, line: &str) -> Said {
        finish(self.command(line).spawn().unwrap()).await
    }

    /// Runs a command line with a person's answer on stdin.
    pub async fn answer(&self, line: &str, answer: &str) -> Said {
        let mut child = self.command(line).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(answer.as_bytes()).await.unwrap();
        drop(stdin);
        finish(child).await
    }

    /// Runs a command line with another variable.
    pub async fn run_with(&self, line: &str, name: &str, value: &str) -> Said {
        finish(self.command(line).env(name, value).spawn().unwrap()).await
    }
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

/// Sends a signal by its name.
pub async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
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

fn now_millis() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// The checkpoint's file in a folder.
pub fn checkpoint(folder: &Path) -> PathBuf {
    folder.join("attune.db")
}

/// Keys of a JSON object, sorted.
pub fn keys(object: &Json) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}
