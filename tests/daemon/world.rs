//! A world for one daemon: simulated stores, a SQLite CRM and a checkpoint in a folder of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use attune::checkpoint::{Checkpoint, HistoryFilter, Lock};
use attune::config::{self, Config, Environment};
use attune::daemon::{self, Control, Ended, RunSettings};
use attune::engine::{Answer, Request};
use attune::http::{Client, Timeouts};
use attune::model::{Side, Timestamp};
use attune::simulator::{
    self, AttributeKind, AttributeSettings, NewCustomer, Population, Simulator, StoreControl, StoreSettings,
};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Nothing here takes longer, unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const ATTRIBUTE: &str = "Job title";

/// The folder, the CRM and the stores; the daemon comes and goes.
pub struct World {
    pub folder: TempDir,
    pub simulator: Simulator,
    pub names: Vec<String>,
    /// Lines of the configuration: for each store, and for the CRM.
    pub store_lines: String,
    pub crm_lines: String,
    pub server: String,
    pub server_lines: String,
}

/// A daemon at work.
pub struct Running {
    pub control: Control,
    pub checkpoint: Checkpoint,
    task: JoinHandle<Result<Ended, daemon::Error>>,
}

impl World {
    /// Stores with these names, one CRM. In every store customer 1 is contact 1, and so on: `people` of them.
    pub async fn new(names: &[&str], people: u64) -> Self {
        listen();
        let folder = TempDir::new().unwrap();
        let stores = names.iter().map(|name| StoreSettings {
            hash: hash(name),
            token: token(name),
            population: Population {
                attributes: vec![AttributeSettings { name: ATTRIBUTE.to_owned(), kind: AttributeKind::String }],
                ..Population::default()
            },
            ..StoreSettings::default()
        });
        let record = crate::traffic::record();
        let settings = simulator::Settings { stores: stores.collect(), record, ..simulator::Settings::default() };
        let simulator = simulator::start(settings).await.unwrap();
        let world = Self {
            folder,
            simulator,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            store_lines: "poll = \"200ms\"\nsweep = \"off\"\nquarantine = \"2s\"\nreplica_lag = \"100ms\"\n".to_owned(),
            crm_lines: "poll = \"200ms\"\nsweep = \"off\"\nquarantine = \"2s\"\nreplica_lag = \"100ms\"\n".to_owned(),
            server: "127.0.0.1:0".to_owned(),
            server_lines: String::new(),
        };
        for name in names {
            std::fs::write(world.path(&format!("{name}.token")), token(name)).unwrap();
            for person in 1..=people {
                world.store(name).add_customer(NewCustomer::new(&email(person), [])).unwrap();
            }
        }
        let mut crm = world.crm().await;
        let sql =
            "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, job_title TEXT, nick TEXT, updated_at TEXT)";
        sqlx::query(sql).execute(&mut crm).await.unwrap();
        for person in 1..=people {
            let sql = "INSERT INTO contacts (email, updated_at) VALUES (?1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))";
            sqlx::query(sql).bind(email(person)).execute(&mut crm).await.unwrap();
        }
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn store(&self, name: &str) -> StoreControl {
        self.simulator.store(&hash(name)).unwrap()
    }

    pub async fn crm(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path("crm.db")).create_if_missing(true);
        options.busy_timeout(PATIENCE).connect().await.unwrap()
    }

    /// A person's edit in the CRM.
    pub async fn edit_contact(&self, person: u64, title: &str) {
        let sql =
            "UPDATE contacts SET job_title = ?2, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = ?1";
        let person = i64::try_from(person).unwrap();
        sqlx::query(sql).bind(person).bind(title).execute(&mut self.crm().await).await.unwrap();
    }

    pub async fn contact(&self, person: u64) -> Option<String> {
        let query = sqlx::query("SELECT job_title FROM contacts WHERE id = ?1").bind(i64::try_from(person).unwrap());
        query.fetch_one(&mut self.crm().await).await.unwrap().get(0)
    }

    /// A person's edit in a store.
    pub fn edit_customer(&self, store: &str, person: u64, title: &str) {
        self.store(store).set_value(person, ATTRIBUTE, title).unwrap();
    }

    pub fn customer(&self, store: &str, person: u64) -> Option<String> {
        self.store(store).value(person, ATTRIBUTE)
    }

    /// Writes the configuration that the fields say, with these fields mapped beside the attribute.
    pub fn configure(&self, more: &str) {
        let mut text = format!("[server]\nlisten = \"{}\"\n{}", self.server, self.server_lines);
        let (url, crm) = (self.simulator.url(), self.path("crm.db"));
        for name in &self.names {
            let (hash, token) = (hash(name), self.path(&format!("{name}.token")));
            write!(
                text,
                "[store.{name}]\nstore_hash = \"{hash}\"\napi_url = \"{url}\"\naccess_token = {{ file = {token:?} }}\n\
                 crm = \"erp\"\nmapping = \"b2b\"\n{}",
                self.store_lines
            )
            .unwrap();
        }
        write!(
            text,
            "[crm.erp]\nkind = \"sql\"\nurl = \"sqlite:{}\"\ntable = \"contacts\"\n{}[mapping.b2b]\n\
             match = [{{ store = \"customer:email\", crm = \"email\" }}]\n\
             field = [{{ store = \"attribute:{ATTRIBUTE}\", crm = \"job_title\" }}{more}]\n",
            crm.display(),
            self.crm_lines
        )
        .unwrap();
        std::fs::write(self.path("attune.toml"), text).unwrap();
    }

    pub fn load(&self) -> Config {
        config::load(&[self.path("attune.toml")], []).unwrap()
    }

    /// Starts a daemon on what was configured.
    pub async fn run(&self) -> Running {
        self.run_with(|_| {}).await
    }

    pub async fn run_with(&self, adjust: impl FnOnce(&mut RunSettings)) -> Running {
        let (path, file) = (self.path("attune.db"), self.path("attune.toml"));
        let lock = Lock::take(&path, "a test").unwrap();
        let checkpoint = Checkpoint::open(&path).await.unwrap();
        let control = Control::new();
        let loader = Arc::new(move || config::load(std::slice::from_ref(&file), []));
        let environment = Environment::default();
        let mut settings =
            RunSettings::new(self.load(), loader, environment, checkpoint.clone(), lock, control.clone());
        settings.patience = Duration::from_millis(100);
        settings.client = Client::new(Timeouts::default());
        adjust(&mut settings);
        Running { control, checkpoint, task: tokio::spawn(daemon::run(settings)) }
    }
}

impl Running {
    /// Stops it; how it ended, and how long that took.
    pub async fn stop(self) -> (Ended, Duration) {
        let began = Instant::now();
        self.control.stop("the test is over");
        let ended = self.task.await.unwrap().unwrap();
        assert_eq!(ended.reason, "the test is over");
        (ended, began.elapsed())
    }

    /// Why it could not start.
    pub async fn refused(self) -> daemon::Error {
        self.task.await.unwrap().unwrap_err()
    }

    /// Leaves a request, as another process does; its number.
    pub async fn leave(&self, request: &Request) -> i64 {
        self.leave_text(&serde_json::to_string(request).unwrap()).await
    }

    pub async fn leave_text(&self, request: &str) -> i64 {
        let mut transaction = self.checkpoint.begin().await.unwrap();
        let id = transaction.leave_request(Timestamp::from_millis(i64::MAX / 2), request).await.unwrap();
        transaction.commit().await.unwrap();
        id
    }

    /// The answer to a request.
    pub async fn answer(&self, id: i64) -> Answer {
        let answer = async || {
            let mut transaction = self.checkpoint.read().await.unwrap();
            let answer = transaction.answer_to(id).await.unwrap();
            transaction.end().await.unwrap();
            answer
        };
        until("a request is answered", async || answer().await.is_some()).await;
        serde_json::from_str(&answer().await.unwrap()).unwrap()
    }

    pub async fn ask(&self, request: &Request) -> Answer {
        self.answer(self.leave(request).await).await
    }

    /// The state of a source, as `status` shows it.
    pub async fn state(&self, side: Side, name: &str) -> String {
        let mut transaction = self.checkpoint.read().await.unwrap();
        let row = transaction.source(side, name).await.unwrap();
        transaction.end().await.unwrap();
        row.map_or_else(|| "unknown".to_owned(), |row| row.state)
    }

    /// The outcomes of all writes, newest first.
    pub async fn outcomes(&self) -> Vec<String> {
        let mut transaction = self.checkpoint.read().await.unwrap();
        let rows = transaction.history(&HistoryFilter::default()).await.unwrap();
        transaction.end().await.unwrap();
        rows.into_iter().map(|row| row.outcome).collect()
    }

    /// Status and body of a page of the daemon's own server; none while it does not listen.
    pub async fn page(&self, path: &str) -> Option<(u16, serde_json::Value)> {
        let address = self.control.address()?;
        let answer = reqwest::get(format!("http://{address}{path}")).await.ok()?;
        let status = answer.status().as_u16();
        Some((status, serde_json::from_str(&answer.text().await.unwrap()).unwrap()))
    }

    pub async fn until_ready(&self) {
        until("the daemon is ready", async || self.page("/readyz").await.is_some_and(|(status, _)| status == 200))
            .await;
    }
}

/// Waits for a condition, and fails where it does not come.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?}, and never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn email(person: u64) -> String {
    format!("person{person}@example.com")
}

fn hash(name: &str) -> String {
    name.replace('-', "")
}

pub fn token(name: &str) -> String {
    format!("token-of-{name}")
}

/// The events of this process: names and fields.
static EVENTS: Mutex<Vec<BTreeMap<String, String>>> = Mutex::new(Vec::new());

/// Those of one name about one source (or one pair's store).
pub fn events(name: &str, about: &str) -> Vec<BTreeMap<String, String>> {
    let events = EVENTS.lock().unwrap();
    let fits = |event: &&BTreeMap<String, String>| {
        let is = |field: &str, value: &str| event.get(field).is_some_and(|found| found == value);
        is("event", name) && (is("store", about) || is("crm", about))
    };
    events.iter().filter(fits).cloned().collect()
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        use tracing_subscriber::layer::SubscriberExt;
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Listener)).unwrap();
    });
}

struct Listener;

struct Fields(BTreeMap<String, String>);

impl tracing::field::Visit for Fields {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Listener {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target() == "attune" {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            if std::env::var_os("ATTUNE_TEST_EVENTS").is_some() {
                eprintln!("{:?}", fields.0);
            }
            EVENTS.lock().unwrap().push(fields.0);
        }
    }
}
