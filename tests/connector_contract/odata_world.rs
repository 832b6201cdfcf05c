//! Entity sets of a running OData v4 service as worlds, by the profile that ships with the program: once with pages by key, as
//! the profile has it, once by `@odata.nextLink`. The hands of the tests use the service too.
//!
//! `ATTUNE_TEST_ODATA` is its address; `tests/servers/odata.sh` starts one and prints it.

use std::sync::{Mutex, OnceLock};

use async_trait::async_trait;
use attune::connector::Connector;
use attune::connector::rest::Rest;
use attune::model::{FieldType, Key, Timestamp};
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value, json};

use crate::rest_world::{api, connector};
use crate::world::{NOTE, Place, REFUSED, TITLE, World};

/// How many entity sets there are: as many worlds at a time.
const SETS: usize = 48;

on!(odata_world::on_odata as odata_traps, odata_world, [conditions_and_pages_are_as_imitated]);
on!(odata_world::on_odata_next as odata_next_traps, odata_world, [conditions_and_pages_are_as_imitated]);

/// A running service, and how it is read.
#[derive(Clone)]
pub struct Service {
    address: String,
    paging: &'static str,
}

/// Runs a test against the running service; says so where there is none.
pub async fn on_odata(test: impl for<'a> FnOnce(&'a Service) -> BoxFuture<'a, ()>) {
    on(test, "").await;
}

/// The same with pages by `@odata.nextLink`.
pub async fn on_odata_next(test: impl for<'a> FnOnce(&'a Service) -> BoxFuture<'a, ()>) {
    on(test, "list.query = \"$select={fields}\"\nlist.paging = \"next\"\nlist.next = \"/@odata.nextLink\"").await;
}

async fn on(test: impl for<'a> FnOnce(&'a Service) -> BoxFuture<'a, ()>, paging: &'static str) {
    match std::env::var("ATTUNE_TEST_ODATA").ok().filter(|text| !text.is_empty()) {
        Some(address) => test(&Service { address, paging }).await,
        None => println!("skipped: ATTUNE_TEST_ODATA is not set"),
    }
}

/// The entity sets that no test has.
fn free() -> &'static Mutex<Vec<usize>> {
    static FREE: OnceLock<Mutex<Vec<usize>>> = OnceLock::new();
    FREE.get_or_init(|| Mutex::new((1..=SETS).collect()))
}

impl Service {
    async fn call(&self, method: Method, path: &str, condition: Option<&str>, body: Value) -> (u16, Value) {
        // Connections belong to the runtime of one test.
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).pool_max_idle_per_host(0).build();
        let mut call = client.expect("a client").request(method, format!("{}/{path}", self.address)).json(&body);
        if let Some(condition) = condition {
            call = call.header("If-Match", condition);
        }
        let answer = call.send().await.expect("the service answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") })
    }

    /// What must go well.
    async fn act(&self, method: Method, path: &str, body: Value) -> Value {
        let condition = (method == Method::PATCH || method == Method::DELETE).then_some("*");
        let (status, answer) = self.call(method, path, condition, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    async fn contacts(&self, records: usize) -> Contacts {
        let number = free().lock().expect("no panic").pop().expect("more tests at a time than entity sets");
        let set = format!("Contacts{number}");
        self.act(Method::POST, "seed", json!({ "contacts": set, "records": records })).await;
        let lines = format!(
            "profile = \"odata\"\ncollection = \"{set}\"\ndeleted = {{ field = \"status\", values = [\"archived\"] }}\n{}",
            self.paging
        );
        let fields = [("title", FieldType::String), ("note", FieldType::String)];
        let connector = connector(&self.address, api(&self.address, &lines), &fields, "any");
        Contacts { service: self.clone(), number, set, connector }
    }
}

#[async_trait]
impl Place for Service {
    async fn world(&self, records: usize) -> Box<dyn World> {
        Box::new(self.contacts(records).await)
    }
}

/// An entity set that one test has for itself.
pub struct Contacts {
    service: Service,
    number: usize,
    set: String,
    connector: Rest,
}

impl Drop for Contacts {
    fn drop(&mut self) {
        if let Ok(mut free) = free().lock() {
            free.push(self.number);
        }
    }
}

impl Contacts {
    fn path(&self, key: &Key) -> String {
        format!("{}('{}')", self.set, key.as_str().replace('\'', "''"))
    }

    async fn change(&self, key: &Key, changes: Value) {
        self.service.act(Method::PATCH, &self.path(key), changes).await;
    }
}

#[async_trait]
impl World for Contacts {
    fn connector(&self) -> &dyn Connector {
        &self.connector
    }

    async fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        let mut next = Some(format!("{}?$select=ID&$orderby=ID", self.set));
        while let Some(path) = next {
            let page = self.service.act(Method::GET, &path, json!({})).await;
            let rows = page["value"].as_array().expect("a list");
            keys.extend(rows.iter().map(|row| Key::new(row["ID"].as_str().expect("a key"))));
            next = page["@odata.nextLink"].as_str().map(str::to_owned);
        }
        keys
    }

    async fn edit(&self, key: &Key, field: usize, value: Option<&str>) {
        let name = match field {
            TITLE => "title",
            NOTE => "note",
            _ => panic!("no such field"),
        };
        self.change(key, json!({ name: value })).await;
    }

    async fn add(&self, title: &str) -> Key {
        let made = self.service.act(Method::POST, &self.set, json!({ "title": title })).await;
        Key::new(made["ID"].as_str().expect("a key"))
    }

    async fn remove(&self, key: &Key) {
        self.service.act(Method::DELETE, &self.path(key), json!({})).await;
    }

    async fn mark_deleted(&self, key: &Key) -> bool {
        self.change(key, json!({ "status": "archived" })).await;
        true
    }

    async fn storm(&self, title: &str) -> Timestamp {
        let at = self.now().await;
        self.service.act(Method::POST, "storm", json!({ "contacts": self.set, "title": title })).await;
        at
    }

    /// The service sets it on every write.
    async fn set_modified(&self, _key: &Key, _modified: Timestamp) -> bool {
        false
    }

    /// It runs on this machine.
    async fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }
}

/// What only a running one can tell: the answers that the servers of `rest_world` imitate are its own.
pub async fn conditions_and_pages_are_as_imitated(service: &Service) {
    let world = service.contacts(250).await;
    let key = world.keys().await[0].clone();
    let (path, title) = (world.path(&key), json!({ "title": "x" }));
    assert_eq!(service.call(Method::PATCH, &path, None, title.clone()).await.0, 428, "a write without a condition");
    assert_eq!(service.call(Method::PATCH, &path, Some("W/\"old\""), title).await.0, 412, "a condition that fails");
    let refused = service.call(Method::PATCH, &path, Some("*"), json!({ "title": REFUSED })).await;
    assert_eq!(refused.0, 400, "a value that the service refuses: {}", refused.1);
    let page = service.act(Method::GET, &world.set, json!({})).await;
    let next = page["@odata.nextLink"].as_str().expect("a next page");
    assert_eq!(page["value"].as_array().map(Vec::len), Some(100), "a page is shorter than what was asked for");
    assert!(!next.contains("://"), "its address is relative: {next}");
}
