//! Collections of a running Directus as worlds. The hands of the tests use its API as an administrator.
//!
//! `ATTUNE_TEST_DIRECTUS` is its address, `ATTUNE_TEST_DIRECTUS_TOKEN` the static token of an administrator;
//! `tests/servers/directus.sh` starts one and prints both.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use attune::connector::Connector;
use attune::connector::rest::Rest;
use attune::model::{FieldType, Key, Timestamp};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};

use crate::rest_world::{api, connector};
use crate::world::{NOTE, Place, REFUSED, TITLE, World};

on!(directus_world::on_directus as traps, directus_world, [traps_are_as_imitated]);

/// A running Directus.
#[derive(Clone)]
pub struct Server {
    address: String,
    token: String,
}

/// Runs a test against the running Directus; says so where there is none.
pub async fn on_directus(test: impl for<'a> FnOnce(&'a Server) -> BoxFuture<'a, ()>) {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    match (variable("ATTUNE_TEST_DIRECTUS"), variable("ATTUNE_TEST_DIRECTUS_TOKEN")) {
        (Some(address), Some(token)) => {
            let _collections = AT_ONCE.acquire().await.expect("it is never closed");
            test(&Server { address, token }).await;
        }
        _ => println!("skipped: ATTUNE_TEST_DIRECTUS is not set"),
    }
}

/// Tests at once: Directus allows so many collections and no more.
static AT_ONCE: Semaphore = Semaphore::const_new(3);

/// Collections are made one at a time: each changes the schema.
static SCHEMA: Mutex<()> = Mutex::const_new(());

impl Server {
    /// What somebody does as the administrator.
    async fn call(&self, method: reqwest::Method, path: &str, body: Value) -> Value {
        static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
        let client = CLIENT
            .get_or_init(|| {
                // Connections belong to the runtime of one test.
                reqwest::Client::builder()
                    .no_proxy()
                    .tls_certs_only([])
                    .pool_max_idle_per_host(0)
                    .build()
                    .expect("a client")
            })
            .clone();
        let call = client.request(method, format!("{}{path}", self.address)).bearer_auth(&self.token).json(&body);
        let answer = call.send().await.expect("Directus answers");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {text}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") }
    }

    pub async fn contacts(&self, records: usize) -> Contacts {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let collection = format!("attune_{}_{number}", std::process::id());
        let field =
            |name: &str, kind: &str, meta: Value| json!({ "field": name, "type": kind, "meta": meta, "schema": {} });
        let refuses = json!({ "validation": { "_and": [{ "title": { "_neq": REFUSED } }] } });
        let fields = json!([
            { "field": "id", "type": "integer", "schema": { "is_primary_key": true, "has_auto_increment": true } },
            field("title", "text", refuses),
            field("note", "text", json!({})),
            field("status", "string", json!({})),
            field("score", "integer", json!({})),
            field("date_created", "timestamp", json!({ "special": ["date-created"] })),
            field("date_updated", "timestamp", json!({ "special": ["date-updated"] })),
        ]);
        {
            let _alone = SCHEMA.lock().await;
            let made =
                json!({ "collection": collection, "schema": {}, "meta": { "accountability": null }, "fields": fields });
            self.call(reqwest::Method::POST, "/collections", made).await;
        }
        let rows: Vec<Value> = (1..=records).map(|number| json!({ "title": format!("title {number}") })).collect();
        for chunk in rows.chunks(500) {
            self.call(reqwest::Method::POST, &format!("/items/{collection}?fields=id"), json!(chunk)).await;
        }
        let lines = format!(
            "profile = \"directus\"\ncollection = \"{collection}\"\ndeleted = {{ field = \"status\", values = [\"archived\"] }}"
        );
        let fields = [("title", FieldType::String), ("note", FieldType::String)];
        let connector = connector(&self.address, api(&self.address, &lines), &fields, &self.token);
        Contacts { server: self.clone(), collection, connector }
    }
}

#[async_trait]
impl Place for Server {
    async fn world(&self, records: usize) -> Box<dyn World> {
        Box::new(self.contacts(records).await)
    }
}

/// A collection that one test has for itself.
pub struct Contacts {
    server: Server,
    collection: String,
    connector: Rest,
}

impl Drop for Contacts {
    fn drop(&mut self) {
        let (server, path) = (self.server.clone(), format!("/collections/{}", self.collection));
        let delete = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let _alone = SCHEMA.lock().await;
                server.call(reqwest::Method::DELETE, &path, json!({})).await;
            });
        };
        drop(std::thread::spawn(delete).join());
    }
}

impl Contacts {
    async fn items(&self, method: reqwest::Method, rest: &str, body: Value) -> Value {
        self.server.call(method, &format!("/items/{}{rest}", self.collection), body).await
    }
}

#[async_trait]
impl World for Contacts {
    fn connector(&self) -> &dyn Connector {
        &self.connector
    }

    async fn keys(&self) -> Vec<Key> {
        let items = self.items(reqwest::Method::GET, "?limit=-1&fields=id&sort=id", json!({})).await;
        let items = items["data"].as_array().expect("a list").iter();
        items.map(|item| Key::new(item["id"].to_string())).collect()
    }

    async fn edit(&self, key: &Key, field: usize, value: Option<&str>) {
        let name = match field {
            TITLE => "title",
            NOTE => "note",
            _ => panic!("no such field"),
        };
        self.items(reqwest::Method::PATCH, &format!("/{key}"), json!({ name: value })).await;
    }

    async fn add(&self, title: &str) -> Key {
        let made = self.items(reqwest::Method::POST, "", json!({ "title": title })).await;
        Key::new(made["data"]["id"].to_string())
    }

    async fn remove(&self, key: &Key) {
        self.items(reqwest::Method::DELETE, &format!("/{key}"), json!({})).await;
    }

    async fn mark_deleted(&self, key: &Key) -> bool {
        self.items(reqwest::Method::PATCH, &format!("/{key}"), json!({ "status": "archived" })).await;
        true
    }

    async fn storm(&self, title: &str) -> Timestamp {
        let at = self.now().await;
        let all = json!({ "query": { "filter": { "id": { "_gt": 0 } }, "limit": -1 }, "data": { "title": title } });
        self.items(reqwest::Method::PATCH, "?fields=id&limit=1", all).await;
        at
    }

    /// Directus sets it on every write.
    async fn set_modified(&self, _key: &Key, _modified: Timestamp) -> bool {
        false
    }

    /// It runs on this machine.
    async fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }
}

/// What only a running one can tell: the traps that the servers of `rest_world` imitate are there.
pub async fn traps_are_as_imitated(server: &Server) {
    let world = server.contacts(3).await;
    let path = format!("/items/{}", world.collection);
    let fresh = server.call(reqwest::Method::GET, &format!("{path}/1"), json!({})).await;
    assert!(fresh["data"]["date_updated"].is_null(), "new records have no modification time");
    let body = json!([{ "id": 1, "title": "there" }, { "id": 99, "title": "not there" }]);
    let answer = server.call(reqwest::Method::PATCH, &format!("{path}?fields=id"), body).await;
    assert_eq!(answer["data"], json!([{ "id": 1 }]), "one that is not there is left out, with a good status");
    let ignored = server.call(reqwest::Method::PATCH, &format!("{path}/1"), json!({ "no_such_field": 1 })).await;
    assert!(ignored["data"]["no_such_field"].is_null(), "what is no field is ignored with a good status");
    let missing = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
    let missing = missing.get(format!("{}{path}/99", server.address)).bearer_auth(&server.token).send().await;
    assert_eq!(missing.expect("it answers").status().as_u16(), 403, "what is not there is forbidden");
}
