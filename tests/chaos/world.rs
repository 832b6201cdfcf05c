//! All of it together: the processes, the databases, the configuration; and what people do.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::attune::Attune;
use crate::clock::OurClock;
use crate::crm::Crm;
use crate::disk::Disk;
use crate::ledger::{By, Cell, Change, Ledger};
use crate::plan::{A_SECOND_MS, Field, Plan, QUARANTINE_MS, REPLICA_LAG_MS};
use crate::proxy::Proxy;
use crate::simulated::{HASHES, NAMES, Simulated};
use crate::strikes::Strikes;
use crate::wire::Wire;

pub struct World {
    pub plan: Plan,
    pub ledger: Arc<Ledger>,
    pub simulated: Arc<Simulated>,
    pub proxy: Arc<Proxy>,
    pub crm: Crm,
    pub attune: Arc<Attune>,
    pub strikes: Arc<Strikes>,
    values: AtomicUsize,
    /// What serves it, ended with it.
    _serving: JoinSet<()>,
}

impl World {
    pub async fn start(plan: Plan, folder: &Path, postgres_url: Option<&str>) -> Self {
        let ledger = Arc::new(Ledger::new());
        let strikes = Arc::new(Strikes::new(plan.seed, Arc::clone(&ledger)));
        let clock = OurClock::new(folder, plan.faults.steps);
        let disk = Arc::new(Disk::new(&folder.join("state"), plan.faults.full_disk));
        let attune = Arc::new(Attune::new(folder, Arc::clone(&ledger), clock, disk));
        let simulated = Arc::new(Simulated::start(&plan).await);
        if plan.faults.lag_ms > 0 {
            // So that nothing is written in the second in which the stores were filled.
            tokio::time::sleep(Duration::from_millis(A_SECOND_MS + plan.faults.lag_ms)).await;
        }
        let crm = match postgres_url.filter(|_| plan.postgres) {
            Some(url) => Crm::postgres(url, &format!("{}_{}", plan.seed, nonce())).await,
            None => Crm::sqlite(&folder.join("erp.db")).await,
        };
        crm.fill(&plan).await;
        let proxy = Proxy::new(
            plan.clone(),
            Arc::clone(&ledger),
            Arc::clone(&simulated),
            Arc::clone(&attune),
            Arc::clone(&strikes),
        );
        let proxy = Arc::new(proxy);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api_url = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(Arc::clone(&proxy).serve(listener));
        let crm_url = match postgres_url.filter(|_| plan.postgres) {
            Some(url) => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let (url, server) = through(url, &listener.local_addr().unwrap().to_string());
                let wire = Wire { server, attune: Arc::clone(&attune), strikes: Arc::clone(&strikes) };
                serving.spawn(Arc::new(wire).serve(listener));
                url
            }
            None => "sqlite:erp.db".to_owned(),
        };
        let config = configuration(&plan, &api_url, &crm_url, &crm.table);
        std::fs::write(folder.join("attune.toml"), config).unwrap();
        Self { plan, ledger, simulated, proxy, crm, attune, strikes, values: AtomicUsize::new(1), _serving: serving }
    }

    /// A value of a field that nobody has used.
    pub fn fresh(&self, field: usize) -> String {
        self.plan.value(field, self.values.fetch_add(1, Ordering::SeqCst))
    }

    /// Somebody gives a cell a value, or clears it; false: they leave it alone.
    pub async fn edit(&self, cell: Cell, value: Option<String>) -> bool {
        let lags = self.plan.faults.lag_ms > 0;
        // Nothing is written to a store between a look at it and the edit.
        let _turn = if lags || cell.system > 0 { Some(self.proxy.turn.lock().await) } else { None };
        if lags && !self.can_be_told_from_a_replica(cell).await {
            return false;
        }
        self.ledger.meet("edit");
        let name = self.plan.name(cell);
        if cell.system == 0 {
            let act = self.ledger.begin(cell, value.clone());
            self.crm.edit(&self.plan, cell, value.as_deref(), act).await;
            self.ledger.end(act, &name);
            return true;
        }
        let old = self.simulated.values(&self.plan, cell.system).await[&cell].clone();
        let act = self.ledger.begin(cell, value.clone());
        self.simulated.edit(&self.plan, cell, value.as_deref()).await;
        self.ledger.end(act, &name);
        if old != value {
            self.ledger.changed(cell, old, value, By::Person(act));
        }
        true
    }

    /// Whether an edit here can be told from what a lagging replica shows. One of the same second cannot, nor an absence
    /// right after somebody filled a value in (docs/testing.md): so people edit what is at rest, and no empty or one-way
    /// value of a store.
    async fn can_be_told_from_a_replica(&self, cell: Cell) -> bool {
        let now = self.ledger.now_ms();
        let settled_ms = A_SECOND_MS + self.plan.faults.lag_ms;
        if self.ledger.touched_ms(cell).is_some_and(|touched_ms| now < touched_ms + settled_ms) {
            return false;
        }
        let mut held: Vec<Option<String>> = Vec::new();
        for (of, value) in self.crm.values(&self.plan).await {
            held.extend((of == Cell { system: 0, ..cell }).then_some(value));
        }
        for store in 1..=self.plan.stores {
            held.push(self.simulated.values(&self.plan, store).await[&Cell { system: store, ..cell }].clone());
        }
        let of_store = cell.system > 0;
        let is_fit = !of_store || held[0].is_some() && self.plan.fields[cell.field].direction != "to_store";
        is_fit && held.iter().all(|value| *value == held[0])
    }

    /// Every change of every cell, in order for each.
    pub async fn changes(&self) -> Vec<Change> {
        let mut changes = self.crm.changes(&self.plan).await;
        changes.extend(self.ledger.changes());
        changes
    }
}

/// The same database through another address, in the clear; and the address that it was at.
fn through(url: &str, address: &str) -> (String, String) {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let (user, server) = authority.rsplit_once('@').unwrap_or(("postgres", authority));
    let server = if server.contains(':') { server.to_owned() } else { format!("{server}:5432") };
    (format!("{scheme}://{user}@{address}/{path}?sslmode=disable"), server)
}

/// Tells apart worlds of one seed in one process.
fn nonce() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::SeqCst)
}

fn configuration(plan: &Plan, api_url: &str, crm_url: &str, table: &str) -> String {
    let sweep = if plan.sweeps { "*/2 * * * * *" } else { "off" };
    let times = format!(
        "poll = \"{}ms\"\nsweep = \"{sweep}\"\noverlap = \"2s\"\nquarantine = \"{QUARANTINE_MS}ms\"\n\
         replica_lag = \"{REPLICA_LAG_MS}ms\"\n",
        plan.poll_ms
    );
    let mut text = format!(
        "[state]\nurl = \"sqlite:state/attune.db\"\n[server]\nlisten = \"off\"\n[crm.erp]\nkind = \"sql\"\n\
         url = \"{crm_url}\"\ntable = \"{table}\"\n{times}"
    );
    for (name, hash) in NAMES.iter().zip(HASHES).take(plan.stores) {
        text += &format!(
            "[store.{name}]\nstore_hash = \"{hash}\"\naccess_token = {{ env = \"TOKEN\" }}\napi_url = \"{api_url}\"\n\
             crm = \"erp\"\nmapping = \"b2b\"\n{times}\
             rails = {{ writes = {{ count = 100000, percent = 100 }}, clears = {{ count = 100000, percent = 100 }} }}\n"
        );
    }
    text += "[mapping.b2b]\nmatch = [{ store = \"customer:email\", crm = \"email\" }]\n";
    for Field { store, column, number, conflict, on_clear, direction } in &plan.fields {
        let kind = if *number { "number" } else { "string" };
        text += &format!(
            "[[mapping.b2b.field]]\nstore = \"attribute:{store}\"\ncrm = \"{column}\"\ntype = \"{kind}\"\n\
             conflict = \"{conflict}\"\non_clear = \"{on_clear}\"\ndirection = \"{direction}\"\n"
        );
    }
    text
}
