//! Models of a running Odoo as worlds. A model takes a second to make, so a few are made and used again; the hands of the
//! tests go straight to Odoo's database, as no other client can.
//!
//! `ATTUNE_TEST_ODOO` is its address, `ATTUNE_TEST_ODOO_KEYS` a file with the keys of its users (`{"admin": {"key": …}}`),
//! `ATTUNE_TEST_ODOO_POSTGRES` its database; docs/testing.md says how to get one. `ATTUNE_TEST_ODOO_14` and the two beside it
//! name an Odoo 14, which knows the older protocol alone; `tests/servers/odoo14.sh` starts one.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use attune::connector::odoo::{Odoo, Settings, TIMEOUTS};
use attune::connector::{Connector, FieldWanted};
use attune::http::Client;
use attune::model::{FieldType, Key, Timestamp};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use futures::future::BoxFuture;
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::{OnceCell, RwLock};
use tokio_util::sync::CancellationToken;

use crate::world::{NOTE, Place, REFUSED, TITLE, World};

/// A running Odoo.
#[derive(Clone)]
pub struct Server {
    pub address: String,
    pub database: String,
    pub keys: Arc<Value>,
    pub pool: PgPool,
    /// The address with JSON-RPC alone, as before version 19.
    before_19: Option<String>,
    /// Its models that are free. All are made before any is used: while one is made, Odoo knows none of them.
    free: &'static OnceCell<Mutex<Vec<String>>>,
}

/// Which of the running ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Now,
    /// The same, behind something that hides the newer protocol.
    NowAsBefore19,
    V14,
}

/// How many models there are: the tests that run at once have two worlds each.
const MODELS: usize = 12;

static FREE: OnceCell<Mutex<Vec<String>>> = OnceCell::const_new();
static FREE_14: OnceCell<Mutex<Vec<String>>> = OnceCell::const_new();

/// The running Odoo; none, and says so, where none was named.
async fn server(version: Version) -> Option<Server> {
    let (name, free) = match version {
        Version::Now | Version::NowAsBefore19 => ("ATTUNE_TEST_ODOO", &FREE),
        Version::V14 => ("ATTUNE_TEST_ODOO_14", &FREE_14),
    };
    let variable = |more: &str| std::env::var(format!("{name}{more}")).ok().filter(|text| !text.is_empty());
    let (Some(address), Some(keys), Some(postgres)) = (variable(""), variable("_KEYS"), variable("_POSTGRES")) else {
        println!("skipped: {name} is not set");
        return None;
    };
    let keys = std::fs::read_to_string(keys).expect("the file of keys is there");
    let keys = Arc::new(serde_json::from_str(&keys).expect("it is JSON"));
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(2).connect(&postgres).await.expect("it answers");
    let database = postgres.rsplit('/').next().expect("a database").to_owned();
    let before_19 = match version {
        Version::Now => None,
        Version::NowAsBefore19 => Some(older(&address).await),
        Version::V14 => Some(address.clone()),
    };
    Some(Server { address, database, keys, pool, before_19, free })
}

/// Held by every test, and by one that changes rights alone: Odoo remembers rights across calls, and those that were read
/// while they changed for good.
static RIGHTS: RwLock<()> = RwLock::const_new(());
static RIGHTS_14: RwLock<()> = RwLock::const_new(());

/// Runs a test in the protocol of version 19 and later.
pub async fn on_odoo(test: impl for<'a> FnOnce(&'a Server) -> BoxFuture<'a, ()>) {
    let _steady = RIGHTS.read().await;
    on(Version::Now, test).await;
}

/// Runs a test in the protocol of earlier versions: what stands in between hides the newer one.
pub async fn on_odoo_before_19(test: impl for<'a> FnOnce(&'a Server) -> BoxFuture<'a, ()>) {
    let _steady = RIGHTS.read().await;
    on(Version::NowAsBefore19, test).await;
}

/// Runs a test against version 14.
pub async fn on_odoo_14(test: impl for<'a> FnOnce(&'a Server) -> BoxFuture<'a, ()>) {
    let _steady = RIGHTS_14.read().await;
    on(Version::V14, test).await;
}

/// Runs a test while no other runs.
pub async fn on_odoo_alone(test: impl for<'a> FnOnce(&'a Server) -> BoxFuture<'a, ()>) {
    let _alone = RIGHTS.write().await;
    on(Version::Now, test).await;
}

/// Runs a test in the older protocol while no other runs.
pub async fn on_odoo_before_19_alone(test: impl for<'a> FnOnce(&'a Server) -> BoxFuture<'a, ()>) {
    let _alone = RIGHTS.write().await;
    on(Version::NowAsBefore19, test).await;
}

/// Runs a test against version 14 while no other runs there.
pub async fn on_odoo_14_alone(test: impl for<'a> FnOnce(&'a Server) -> BoxFuture<'a, ()>) {
    let _alone = RIGHTS_14.write().await;
    on(Version::V14, test).await;
}

async fn on(version: Version, test: impl for<'a> FnOnce(&'a Server) -> BoxFuture<'a, ()>) {
    if let Some(server) = server(version).await {
        test(&server).await;
    }
}

/// A server that passes JSON-RPC on and knows nothing else.
async fn older(address: &str) -> String {
    async fn pass(
        State(address): State<String>,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> axum::response::Response {
        if uri.path() != "/jsonrpc" {
            return (StatusCode::NOT_FOUND, "<html>").into_response();
        }
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        let call = client.request(method, format!("{address}{uri}")).headers(headers).body(body);
        let answer = call.send().await.expect("Odoo answers");
        let mut headers = answer.headers().clone();
        headers.remove("transfer-encoding");
        (answer.status(), headers, answer.bytes().await.expect("a body")).into_response()
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let own = format!("http://{}", listener.local_addr().expect("an address"));
    let router = axum::Router::new().fallback(pass).with_state(address.to_owned());
    tokio::spawn(async move { axum::serve(listener, router).await });
    own
}

impl Server {
    /// What somebody does as the administrator: with named arguments, as version 19 takes them.
    pub async fn call(&self, model: &str, method: &str, arguments: Value) -> Value {
        static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
        let client = CLIENT
            .get_or_init(|| reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client"))
            .clone();
        let admin = &self.keys["admin"];
        let key = admin["key"].as_str().expect("a key");
        if self.is_version_14() {
            let Value::Object(mut named) = arguments else { panic!("arguments have names") };
            // Records, what they are made of and what is looked for come first: their names were others.
            let first: Vec<Value> =
                ["ids", "domain", "vals", "vals_list"].iter().filter_map(|name| named.remove(*name)).collect();
            let all = json!([self.database, admin["uid"], key, model, method, first, named]);
            let params = json!({ "service": "object", "method": "execute_kw", "args": all });
            let body = json!({ "jsonrpc": "2.0", "method": "call", "params": params });
            let answer = client.post(format!("{}/jsonrpc", self.address)).json(&body).send().await;
            let answer: Value = answer.expect("Odoo answers").json().await.expect("JSON");
            assert!(answer["error"].is_null(), "{model}.{method}: {}", answer["error"]["data"]["message"]);
            return answer["result"].clone();
        }
        let answer = client
            .post(format!("{}/json/2/{model}/{method}", self.address))
            .bearer_auth(key)
            .header("x-odoo-database", &self.database)
            .json(&arguments)
            .send()
            .await
            .expect("Odoo answers");
        let status = answer.status();
        let body: Value = answer.json().await.expect("JSON");
        assert!(status.is_success(), "{model}.{method}: {}", body["message"]);
        body
    }

    /// Whether it really is an older one, with nothing in between.
    pub fn is_version_14(&self) -> bool {
        self.before_19.as_ref() == Some(&self.address)
    }

    pub async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.expect("the statement runs");
    }

    /// Settings for a model as one of the users.
    pub fn settings(&self, model: &str, user: &str, fields: &[(&str, FieldType)]) -> Settings {
        let key = self.keys[user]["key"].as_str().expect("a key").to_owned();
        Settings {
            name: "erp".to_owned(),
            url: self.before_19.clone().unwrap_or_else(|| self.address.clone()),
            database: self.database.clone(),
            user: self.before_19.is_some().then(|| self.keys[user]["login"].as_str().expect("a login").to_owned()),
            api_key: Arc::new(move || Ok(SecretString::from(key.clone()))),
            model: model.to_owned(),
            quota: None,
            fields: fields.iter().map(|(name, kind)| FieldWanted::new(*name, *kind)).collect(),
            patience: Duration::ZERO,
            cancel: CancellationToken::new(),
            client: Client::new(TIMEOUTS),
        }
    }

    /// A model that no other test uses.
    async fn take_model(&self) -> String {
        let make = || async {
            let mut models = Vec::new();
            for number in 0..MODELS {
                models.push(self.make_model(&format!("x_contract_{number}")).await);
            }
            // The rights of the model that was made last are not in force before rights are looked at anew.
            let rights = self.call("ir.model.access", "search", json!({ "domain": [["name", "in", models]] })).await;
            self.call("ir.model.access", "write", json!({ "ids": rights, "vals": { "perm_read": true } })).await;
            Mutex::new(models)
        };
        let free = self.free.get_or_init(make).await;
        loop {
            if let Some(model) = free.lock().expect("no panic").pop() {
                return model;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A model with two texts that can be archived, and whose database refuses one title. It stays for the next run.
    async fn make_model(&self, model: &str) -> String {
        let made = self.call("ir.model", "search_count", json!({ "domain": [["model", "=", model]] })).await;
        if made != json!(0) {
            return model.to_owned();
        }
        let field = |name: &str, label: &str, kind: &str| json!([0, 0, { "name": name, "field_description": label, "ttype": kind, "state": "manual" }]);
        let fields = [
            field("x_title", "Title", "char"),
            field("x_note", "Note", "text"),
            field("x_active", "Active", "boolean"),
        ];
        let made = self
            .call(
                "ir.model",
                "create",
                json!({ "vals_list": [{ "name": model, "model": model, "state": "manual", "field_id": fields }] }),
            )
            .await;
        let access = json!({
            "name": model, "model_id": made[0], "perm_read": true, "perm_write": true, "perm_create": true, "perm_unlink": true,
        });
        self.call("ir.model.access", "create", json!({ "vals_list": [access] })).await;
        self.run(&format!("ALTER TABLE {model} ADD CONSTRAINT {model}_refuses CHECK (x_title <> '{REFUSED}')")).await;
        model.to_owned()
    }
}

impl Server {
    /// A world, as what it is.
    pub async fn model(&self, records: usize) -> Model {
        let model = self.take_model().await;
        self.run(&format!("TRUNCATE {model} RESTART IDENTITY; DROP INDEX IF EXISTS {model}_titles")).await;
        self.run(&format!(
            "INSERT INTO {model} (x_title, x_active, write_date, write_uid) SELECT 'title ' || n, true, \
             now() AT TIME ZONE 'UTC', 1 FROM generate_series(1, {records}) AS n"
        ))
        .await;
        let settings = self.settings(&model, "admin", &[("x_title", FieldType::String), ("x_note", FieldType::String)]);
        let connector = Odoo::new(settings).expect("the settings are sound");
        Model { server: self.clone(), model, connector }
    }
}

#[async_trait]
impl Place for Server {
    async fn world(&self, records: usize) -> Box<dyn World> {
        Box::new(self.model(records).await)
    }
}

/// A model that one test has for itself.
pub struct Model {
    server: Server,
    pub model: String,
    connector: Odoo,
}

impl Drop for Model {
    fn drop(&mut self) {
        self.server.free.get().expect("it came from there").lock().expect("no panic").push(self.model.clone());
    }
}

#[async_trait]
impl World for Model {
    fn connector(&self) -> &dyn Connector {
        &self.connector
    }

    async fn keys(&self) -> Vec<Key> {
        let ids: Vec<i32> = sqlx::query_scalar(AssertSqlSafe(format!("SELECT id FROM {} ORDER BY id", self.model)))
            .fetch_all(&self.server.pool)
            .await
            .expect("the ids are read");
        ids.into_iter().map(|id| Key::new(id.to_string())).collect()
    }

    async fn edit(&self, key: &Key, field: usize, value: Option<&str>) {
        let column = match field {
            TITLE => "x_title",
            NOTE => "x_note",
            _ => panic!("no such field"),
        };
        let sql = format!(
            "UPDATE {} SET {column} = $1, write_date = now() AT TIME ZONE 'UTC' WHERE id = {}",
            self.model,
            key.as_str()
        );
        sqlx::query(AssertSqlSafe(sql)).bind(value).execute(&self.server.pool).await.expect("the edit is made");
    }

    async fn add(&self, title: &str) -> Key {
        let made =
            self.server.call(&self.model, "create", json!({ "vals_list": [{ "x_title": title, "x_active": true }] }));
        Key::new(made.await[0].to_string())
    }

    async fn remove(&self, key: &Key) {
        let id: i64 = key.as_str().parse().expect("a number");
        self.server.call(&self.model, "unlink", json!({ "ids": [id] })).await;
    }

    async fn mark_deleted(&self, key: &Key) -> bool {
        let id: i64 = key.as_str().parse().expect("a number");
        self.server.call(&self.model, "write", json!({ "ids": [id], "vals": { "x_active": false } })).await;
        true
    }

    async fn storm(&self, title: &str) -> Timestamp {
        let at = self.now().await;
        let sql = format!("UPDATE {} SET x_title = $1, write_date = $2::timestamptz AT TIME ZONE 'UTC'", self.model);
        sqlx::query(AssertSqlSafe(sql.replace("$2", &format!("'{at}'"))))
            .bind(title)
            .execute(&self.server.pool)
            .await
            .expect("the storm passes");
        at
    }

    /// The server sets it on every write, and to an earlier time too.
    async fn set_modified(&self, _key: &Key, _modified: Timestamp) -> bool {
        false
    }

    async fn make_titles_unique(&self) -> bool {
        let model = &self.model;
        self.server.run(&format!("CREATE UNIQUE INDEX {model}_titles ON {model} (x_title)")).await;
        true
    }

    fn keeps_tokens(&self) -> bool {
        true
    }

    async fn now(&self) -> Timestamp {
        let millis: i64 = sqlx::query_scalar("SELECT (extract(epoch FROM now()) * 1000)::bigint")
            .fetch_one(&self.server.pool)
            .await
            .expect("the time is read");
        Timestamp::from_millis(millis)
    }
}
