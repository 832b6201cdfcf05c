//! What a first pass over an Odoo costs beside the same reads and writes made directly, in the best batches.
//!
//! `cargo bench -- odoo`, where `ATTUNE_TEST_ODOO` names one (docs/testing.md); `ATTUNE_BENCH_CUSTOMERS=2000` for another size.
//! Every customer has two values and no contact has one: the pass reads all contacts and writes two fields of each, and
//! nothing to the store. The contacts are made for the bench and deleted after it.

use std::time::{Duration, Instant};

use attune::simulator::generate;
use serde_json::{Value, json};

use super::support::{Place, Store};

/// The rows of one read and of one write, as the connector has them.
const ROWS_READ: usize = 1_000;
const ROWS_WRITTEN: usize = 200;

/// Runs the bench.
pub fn run() {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let named =
        (variable("ATTUNE_TEST_ODOO"), variable("ATTUNE_TEST_ODOO_KEYS"), variable("ATTUNE_TEST_ODOO_POSTGRES"));
    let (Some(address), Some(keys), Some(postgres)) = named else {
        println!("skipped: ATTUNE_TEST_ODOO is not set");
        return;
    };
    let keys: Value = serde_json::from_str(&std::fs::read_to_string(keys).expect("the keys are there")).expect("JSON");
    let key = keys["admin"]["key"].as_str().expect("a key").to_owned();
    let database = postgres.rsplit('/').next().expect("a database").to_owned();
    let customers = variable("ATTUNE_BENCH_CUSTOMERS").and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let odoo = Odoo { address, key, database };

    let ids = runtime.block_on(odoo.make(customers));
    println!("{customers} contacts, two values each to be written");
    println!("{:<44}{:>9}{:>9}", "", "wall s", "CPU s");

    let began = Instant::now();
    let read = runtime.block_on(odoo.read());
    let (reading, began) = (began.elapsed(), Instant::now());
    runtime.block_on(odoo.write(&ids));
    let direct = reading + began.elapsed();
    println!("{:<44}{:>9.1}", format!("directly: {read} read in pages"), reading.as_secs_f64());
    println!("{:<44}{:>9.1}", "directly: read and written", direct.as_secs_f64());

    runtime.block_on(odoo.clear(&ids));
    let store = Store::start(customers, 0.0, None);
    let place = Place::make("odoo", 0, true, &store);
    odoo.configure(&place, &store);
    let used = place.attune(&["sync"]);
    println!("{:<44}{:>9.1}{:>9.1}", "attune sync: the first pass", used.wall_s, used.cpu_s);
    println!("ratio {:.2}, {:.0} MB", used.wall_s / direct.as_secs_f64(), used.rss_mb);

    runtime.block_on(odoo.remove(&ids));
}

struct Odoo {
    address: String,
    key: String,
    database: String,
}

impl Odoo {
    async fn call(&self, model: &str, method: &str, arguments: Value) -> Value {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(300));
        let call = client
            .build()
            .expect("a client")
            .post(format!("{}/json/2/{model}/{method}", self.address))
            .bearer_auth(&self.key)
            .header("x-odoo-database", &self.database)
            .json(&arguments);
        let answer = call.send().await.expect("Odoo answers");
        assert!(answer.status().is_success(), "{model}.{method}: {}", answer.text().await.unwrap_or_default());
        answer.json().await.expect("JSON")
    }

    async fn make(&self, customers: u64) -> Vec<i64> {
        let mut ids = Vec::new();
        let people: Vec<Value> = (1..=customers)
            .map(
                |number| json!({ "name": format!("Bench {number}"), "email": generate::email(number), "ref": "BENCH" }),
            )
            .collect();
        for people in people.chunks(ROWS_READ) {
            let made = self.call("res.partner", "create", json!({ "vals_list": people })).await;
            ids.extend(made.as_array().expect("ids").iter().filter_map(Value::as_i64));
        }
        ids
    }

    async fn read(&self) -> usize {
        let (mut after, mut read) = (0, 0);
        loop {
            let arguments = json!({
                "domain": [["id", ">", after]], "fields": ["active", "email", "function", "write_date", "x_wholesaler_id"],
                "order": "id", "limit": ROWS_READ, "context": { "active_test": false },
            });
            let rows = self.call("res.partner", "search_read", arguments).await;
            let rows = rows.as_array().expect("rows");
            read += rows.len();
            match rows.last() {
                Some(last) if rows.len() == ROWS_READ => after = last["id"].as_i64().expect("an id"),
                _ => return read,
            }
        }
    }

    async fn write(&self, ids: &[i64]) {
        for ids in ids.chunks(ROWS_WRITTEN) {
            let data: Vec<Value> = ids
                .iter()
                .map(|id| json!([id.to_string(), format!("direct title {id}"), format!("direct W-{id}")]))
                .collect();
            let fields = [".id", "function", "x_wholesaler_id"];
            let answer = self.call("res.partner", "load", json!({ "fields": fields, "data": data })).await;
            assert!(answer["ids"].is_array(), "{}", answer["messages"]);
        }
    }

    async fn clear(&self, ids: &[i64]) {
        for ids in ids.chunks(ROWS_READ) {
            let nothing = json!({ "function": false, "x_wholesaler_id": false });
            self.call("res.partner", "write", json!({ "ids": ids, "vals": nothing })).await;
        }
    }

    async fn remove(&self, ids: &[i64]) {
        for ids in ids.chunks(ROWS_READ) {
            self.call("res.partner", "unlink", json!({ "ids": ids })).await;
        }
    }

    fn configure(&self, place: &Place, store: &Store) {
        let folder = place.folder.display();
        std::fs::write(place.folder.join("key"), &self.key).expect("the key is written");
        let text = format!(
            r#"
[state]
url = "sqlite:{folder}/attune.db"
[server]
listen = "off"
[log]
level = "warn"
[store.acme]
store_hash = "abc123"
access_token = {{ file = "{folder}/token" }}
api_url = "{}"
crm = "odoo"
mapping = "b2b"
rails = {{ writes = {{ count = 1000000, percent = 100 }} }}
[crm.odoo]
kind = "odoo"
url = "{}"
database = "{}"
api_key = {{ file = "{folder}/key" }}
[mapping.b2b]
match = [{{ store = "customer:email", crm = "email" }}]
field = [
  {{ store = "attribute:Job title", crm = "function" }},
  {{ store = "attribute:Wholesaler ID", crm = "x_wholesaler_id" }},
]
"#,
            store.url, self.address, self.database,
        );
        std::fs::write(place.folder.join("attune.toml"), text).expect("the configuration is written");
    }
}
