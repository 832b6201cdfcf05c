//! The simulator as a process of its own, and its control interface over HTTP.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::ledger::Cell;
use crate::plan::Plan;

pub const HASHES: [&str; 2] = ["abc123", "def456"];
pub const NAMES: [&str; 2] = ["acme", "bolt"];
pub const TOKEN: &str = "token-of-all";

pub struct Simulated {
    pub url: String,
    client: reqwest::Client,
    child: Mutex<Child>,
}

impl Simulated {
    /// Starts it, with stores whose customers 1, 2, … hold what the plan says.
    pub async fn start(plan: &Plan) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_attune"));
        command.args(["simulate", "--listen", "127.0.0.1:0", "--token", TOKEN]);
        for hash in &HASHES[..plan.stores] {
            command.args(["--store", hash]);
        }
        for field in &plan.fields {
            let kind = if field.number { "number" } else { "string" };
            command.arg("--attribute").arg(format!("{}:{kind}", field.store));
        }
        if plan.quota {
            command.args(["--quota", "60", "--window", "1s"]);
        } else {
            command.arg("--unlimited");
        }
        if plan.faults.lag_ms > 0 {
            command.args(["--lag", &format!("{}ms", plan.faults.lag_ms), "--lag-share", "0.5"]);
        }
        if plan.touches {
            command.args(["--reading", "value_edits=touch-customer"]);
        }
        if let Some(record) = crate::traffic::record() {
            command.arg("--record").arg(record);
        }
        command.args(["--clock-skew", &format!("{}ms", plan.faults.skew_ms)]);
        let mut child =
            command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.next_line().await.unwrap().expect("the simulator's address");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let simulated = Self { url, client, child: Mutex::new(child) };
        for store in 1..=plan.stores {
            for person in 1..=plan.people {
                let values: BTreeMap<&str, String> = plan
                    .fields
                    .iter()
                    .enumerate()
                    .filter_map(|(field, known)| {
                        Some((known.store, plan.initial(Cell { system: store, person, field })?))
                    })
                    .collect();
                let body = json!({ "email": format!("P{person}@example.com"), "attributes": values });
                let made = simulated.order(reqwest::Method::POST, store, "customers", Some(body)).await;
                assert_eq!(made["id"], person);
            }
        }
        simulated
    }

    /// Ends it: whoever still holds it does not keep its process.
    pub async fn end(&self) {
        let _ = self.child.lock().await.kill().await;
    }

    async fn order(&self, method: reqwest::Method, store: usize, path: &str, body: Option<Json>) -> Json {
        let url = format!("{}/_simulator/stores/{}/{path}", self.url, HASHES[store - 1]);
        let request = self.client.request(method, url);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        answer.json().await.unwrap()
    }

    /// Somebody edits a value in a store, dated by the store.
    pub async fn edit(&self, plan: &Plan, cell: Cell, value: Option<&str>) {
        let mut body = serde_json::Map::new();
        body.insert(plan.fields[cell.field].store.to_owned(), json!(value));
        let path = format!("customers/{}/values", cell.person);
        self.order(reqwest::Method::PUT, cell.system, &path, Some(Json::Object(body))).await;
    }

    /// What everybody holds in a store, truly.
    pub async fn values(&self, plan: &Plan, store: usize) -> BTreeMap<Cell, Option<String>> {
        let customers = self.order(reqwest::Method::GET, store, "customers", None).await;
        let mut values = BTreeMap::new();
        for customer in customers.as_array().unwrap() {
            let person = customer["id"].as_u64().unwrap();
            for (field, known) in plan.fields.iter().enumerate() {
                let value = customer["attributes"][known.store]["value"].as_str().map(str::to_owned);
                values.insert(Cell { system: store, person, field }, value);
            }
        }
        values
    }

    pub async fn report(&self, store: usize) -> Json {
        self.order(reqwest::Method::GET, store, "report", None).await
    }
}
