//! What the benches share: a simulated store in a process of its own, a SQLite CRM with the same people, and the
//! accounting of a child process as the operating system keeps it.

#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use attune::simulator::generate;
use attune::simulator::settings::{AttributeKind, AttributeSettings, Population, Quota, Settings, StoreSettings};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

/// The mapped fields: attribute and column.
pub const FIELDS: [(&str, &str); 5] = [
    ("Job title", "job_title"),
    ("Wholesaler ID", "wholesaler_id"),
    ("Region", "region"),
    ("Tier", "tier"),
    ("Contact", "contact"),
];

/// The people of the store; `missing`: the share of values that it lacks.
pub fn population(customers: u64, missing: f64) -> Population {
    let attribute =
        |(name, _): &(&str, &str)| AttributeSettings { name: (*name).to_owned(), kind: AttributeKind::String };
    Population { customers, attributes: FIELDS.iter().map(attribute).collect(), missing, seed: 7 }
}

/// A simulated store in a child process, so that its work is not counted as ours.
pub struct Store {
    child: Child,
    /// Its address.
    pub url: String,
}

impl Store {
    /// Starts this very executable again as the simulator. `quota`: calls and window in milliseconds.
    pub fn start(customers: u64, missing: f64, quota: Option<(u64, u64)>) -> Self {
        let quota = quota.map_or_else(|| "none".to_owned(), |(calls, window_ms)| format!("{calls}/{window_ms}"));
        let mut child = Command::new(std::env::current_exe().expect("this executable has a path"))
            .args(["--as-simulator", &customers.to_string(), &quota, &missing.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the simulator starts");
        let mut url = String::new();
        let stdout = child.stdout.take().expect("the simulator has a standard output");
        BufReader::new(stdout).read_line(&mut url).expect("the simulator says where it is");
        Self { child, url: url.trim().to_owned() }
    }

    /// A request of the simulator's control API; the body of the answer.
    pub fn control(&self, method: &str, path: &str, body: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the simulator listens");
        let length = body.len();
        write!(
            stream,
            "{method} /_simulator{path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .expect("the simulator reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the simulator answers");
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    /// All calls since the report was last reset, and all 429s.
    pub fn calls(&self) -> (u64, u64, serde_json::Value) {
        let report: serde_json::Value =
            serde_json::from_str(&self.control("GET", "/stores/abc123/report", "")).expect("the report is JSON");
        let number = |name: &str| report[name].as_u64().unwrap_or(0);
        (number("total"), number("throttled_by_quota") + number("throttled_by_concurrency"), report["calls"].clone())
    }

    /// Starts counting anew.
    pub fn reset(&self) {
        self.control("DELETE", "/stores/abc123/report", "");
    }

    /// Moves the store's clock on.
    pub fn advance(&self, by: Duration) {
        self.control("POST", "/clock", &format!("{{\"advance_ms\":{}}}", by.as_millis()));
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// If this process is to be the simulator, it is, until it is killed. Call it first in `main`.
pub fn be_the_simulator_if_asked() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).map(String::as_str) != Some("--as-simulator") {
        return;
    }
    let customers = arguments[2].parse().expect("a number of customers");
    let missing = arguments[4].parse().expect("a share");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut store = StoreSettings { population: population(customers, missing), ..StoreSettings::default() };
        match arguments[3].split_once('/') {
            None => store.behaviour.quota.unlimited = true,
            Some((calls, window_ms)) => {
                store.behaviour.quota = Quota {
                    calls: calls.parse().expect("calls"),
                    window_ms: window_ms.parse().expect("milliseconds"),
                    ..Quota::default()
                };
            }
        }
        let settings = Settings { stores: vec![store], log_limit: 0, ..Settings::default() };
        let simulator = attune::simulator::start(settings).await.expect("the simulator starts");
        println!("{}", simulator.url());
        std::future::pending::<()>().await;
    });
}

/// A folder with a configuration, a token and a CRM; gone at the end.
pub struct Place {
    /// Where it is.
    pub folder: PathBuf,
}

impl Place {
    /// Makes the folder and the CRM. `whole`: it lacks no value; otherwise every second one, not those that the store lacks.
    pub fn make(name: &str, customers: u64, whole: bool, store: &Store) -> Self {
        let folder = std::env::temp_dir().join(format!("attune-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let place = Self { folder };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(make_crm(&place.folder.join("crm.db"), customers, whole));
        std::fs::write(place.folder.join("token"), "token").expect("the token is written");
        place.configure(store, "");
        place
    }

    /// Writes the configuration; `more` goes to the store's table.
    pub fn configure(&self, store: &Store, more: &str) {
        let fields: Vec<String> = FIELDS
            .iter()
            .map(|(attribute, column)| format!("  {{ store = \"attribute:{attribute}\", crm = \"{column}\" }},\n"))
            .collect();
        let folder = self.folder.display();
        let text = format!(
            "[state]\nurl = \"sqlite:{folder}/attune.db\"\n[server]\nlisten = \"off\"\n[log]\nlevel = \"warn\"\n\
             [store.acme]\nstore_hash = \"abc123\"\naccess_token = {{ file = \"{folder}/token\" }}\napi_url = \"{url}\"\n\
             crm = \"erp\"\nmapping = \"b2b\"\n{more}\n[crm.erp]\nkind = \"sql\"\nurl = \"sqlite:{folder}/crm.db\"\n\
             table = \"contacts\"\n[mapping.b2b]\nmatch = [{{ store = \"customer:email\", crm = \"email\" }}]\n\
             field = [\n{fields}]\n",
            url = store.url,
            fields = fields.concat(),
        );
        std::fs::write(self.folder.join("attune.toml"), text).expect("the configuration is written");
    }

    /// Changes a column of so many contacts, as people do: with the time of the change, to the millisecond. (In whole seconds it
    /// may look older than a write of ours in the same second, and then waits to be read again.)
    pub fn change_crm(&self, contacts: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(self.folder.join("crm.db"));
            let mut crm = options.disable_statement_logging().connect().await.expect("the CRM opens");
            sqlx::query(
                "UPDATE contacts SET job_title = 'changed ' || random(), updated_at = strftime('%Y-%m-%dT%H:%M:%fZ')
                 WHERE id <= ?1",
            )
            .bind(i64::try_from(contacts).expect("a number of contacts"))
            .execute(&mut crm)
            .await
            .expect("the contacts are changed");
            crm.close().await.expect("the CRM closes");
        });
    }

    /// A command of Attune in this place.
    pub fn attune(&self, arguments: &[&str]) -> Used {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attune"));
        command.arg("--config").arg(self.folder.join("attune.toml")).args(arguments).current_dir(&self.folder);
        run(command)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn make_crm(path: &Path, customers: u64, whole: bool) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut crm = options.disable_statement_logging().connect().await.expect("the CRM opens");
    let columns: Vec<String> = FIELDS.iter().map(|(_, column)| format!("{column} TEXT, ")).collect();
    let make = format!(
        "PRAGMA journal_mode = WAL; CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, {}updated_at TEXT);
         CREATE INDEX contacts_updated_at ON contacts (updated_at);",
        columns.concat()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut crm).await.expect("the table is made");
    let people = population(customers, 0.0);
    for chunk in (1..=customers).collect::<Vec<_>>().chunks(5000) {
        let rows: Vec<_> = chunk
            .iter()
            .map(|id| {
                let keeps = |field: usize| whole || (id.wrapping_mul(31) + field as u64 * 7).is_multiple_of(2);
                let value = |field: usize| generate::value(&people, *id, field).filter(|_| keeps(field));
                (id, generate::email(*id), value(0), value(1), value(2), value(3), value(4))
            })
            .collect();
        sqlx::query(
            "INSERT INTO contacts SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
                    value ->> 6, '2026-01-01T00:00:00Z' FROM json_each(?1)",
        )
        .bind(serde_json::to_string(&rows).expect("rows are JSON"))
        .execute(&mut crm)
        .await
        .expect("the contacts are written");
    }
    crm.close().await.expect("the CRM closes");
}

/// What a process has used, as the operating system counts it.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// Seconds of processor time, user and system together.
    pub cpu_s: f64,
    /// The most memory resident, in megabytes.
    pub rss_mb: f64,
    /// Seconds that passed.
    pub wall_s: f64,
    /// Its exit code.
    pub exit: i32,
}

/// Runs a command to its end. Its times are read from `/proc` when it has ended and before it is reaped; its memory's
/// high-water mark as long as it lives, every few milliseconds.
pub fn run(mut command: Command) -> Used {
    let started = Instant::now();
    let log = std::env::temp_dir().join(format!("attune-bench-{}.log", std::process::id()));
    let output = std::fs::File::create(&log).expect("a log file");
    let errors = output.try_clone().expect("a log file");
    let mut child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().expect("the command starts");
    let place = format!("/proc/{}", child.id());
    let mut rss_kb = 0;
    let cpu_s = loop {
        let status = std::fs::read_to_string(format!("{place}/status")).unwrap_or_default();
        let line = |name: &str| status.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        if let Some(line) = line("VmHWM:") {
            rss_kb = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(rss_kb);
        }
        if line("State:").is_none_or(|state| state.contains('Z')) {
            break cpu_seconds(&place);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let wall_s = started.elapsed().as_secs_f64();
    let exit = child.wait().ok().and_then(|status| status.code()).unwrap_or(-1);
    if !matches!(exit, 0 | 1) {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        panic!("{command:?} ended with {exit}:\n{}", &said[..said.len().min(4000)]);
    }
    let _ = std::fs::remove_file(&log);
    Used { cpu_s, rss_mb: f64::from(rss_kb) / 1024.0, wall_s, exit }
}

fn cpu_seconds(place: &str) -> f64 {
    // Fields 14 and 15 of /proc/PID/stat, counted after the command's name in brackets; a tick is 10 ms on Linux.
    let stat = std::fs::read_to_string(format!("{place}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map(|(_, after)| after.to_owned()).unwrap_or_default();
    let ticks: u32 = after.split_whitespace().skip(11).take(2).filter_map(|number| number.parse::<u32>().ok()).sum();
    f64::from(ticks) / 100.0
}
