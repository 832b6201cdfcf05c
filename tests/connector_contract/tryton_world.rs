//! Models of a running Tryton as worlds. The module `attune_contract` (`tryton_module/`) has a few of them, and the hands of the
//! tests are another client's: they call the same server as its administrator.
//!
//! `ATTUNE_TEST_TRYTON` is its address, `ATTUNE_TEST_TRYTON_DATABASE` its database, `ATTUNE_TEST_TRYTON_PASSWORD` the password of
//! `admin`; docs/testing.md says how to get one.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use attune::connector::tryton::{Settings, TIMEOUTS, Tryton};
use attune::connector::{Connector, FieldWanted};
use attune::http::Client;
use attune::model::{FieldType, Key, Timestamp};
use futures::future::BoxFuture;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::world::{NOTE, Place, TITLE, World};

/// A running Tryton.
#[derive(Clone)]
pub struct Server {
    pub address: String,
    pub database: String,
    password: String,
}

/// The models that worlds are made of; the module has one more, by which the time is told.
const MODELS: usize = 11;

/// The record by which the time is told.
static CLOCK: OnceCell<i64> = OnceCell::const_new();

/// The session of the administrator.
static SESSION: OnceCell<String> = OnceCell::const_new();

/// Models that are free.
fn free() -> &'static Mutex<Vec<String>> {
    static FREE: OnceLock<Mutex<Vec<String>>> = OnceLock::new();
    FREE.get_or_init(|| Mutex::new((0..MODELS).map(|number| format!("attune.contract_{number}")).collect()))
}

/// The running Tryton; none, and says so, where none was named.
pub fn server() -> Option<Server> {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let named = (
        variable("ATTUNE_TEST_TRYTON"),
        variable("ATTUNE_TEST_TRYTON_DATABASE"),
        variable("ATTUNE_TEST_TRYTON_PASSWORD"),
    );
    let (Some(address), Some(database), Some(password)) = named else {
        println!("skipped: ATTUNE_TEST_TRYTON is not set");
        return None;
    };
    Some(Server { address, database, password })
}

/// Runs a test.
pub async fn on_tryton(test: impl for<'a> FnOnce(&'a Server) -> BoxFuture<'a, ()>) {
    if let Some(server) = server() {
        test(&server).await;
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).gzip(true).build().expect("a client")
}

impl Server {
    async fn rpc(&self, method: &str, parameters: &Value, session: Option<&str>) -> Value {
        let mut call = client()
            .post(format!("{}/{}/rpc/", self.address, self.database))
            .json(&json!({ "id": 0, "method": method, "params": parameters }));
        if let Some(session) = session {
            call = call.header("authorization", format!("Session {session}"));
        }
        let answer = call.send().await.expect("Tryton answers");
        assert!(answer.status().is_success(), "{method}: {}", answer.status());
        answer.json().await.expect("JSON")
    }

    /// What somebody does as the administrator, archived records shown; the exception where there is one.
    pub async fn attempt(&self, model: &str, method: &str, parameters: Value) -> Result<Value, Value> {
        let log_in = || async {
            let parameters = json!(["admin", { "password": self.password }]);
            let answer = self.rpc("common.db.login", &parameters, None).await;
            let session = format!("admin:{}:{}", answer["result"][0], answer["result"][1].as_str().expect("a session"));
            base64(session.as_bytes())
        };
        let session = SESSION.get_or_init(log_in).await;
        let mut parameters = parameters;
        parameters.as_array_mut().expect("an array").push(json!({ "active_test": false, "language": "en" }));
        let mut answer = self.rpc(&format!("model.{model}.{method}"), &parameters, Some(session)).await;
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].take()),
        }
    }

    /// Somebody replaces a party by another of the same name, as the wizard does.
    pub async fn replace(&self, loser: i64, winner: i64) {
        self.call("res.user", "get_preferences", json!([true])).await;
        let session = SESSION.get().map(String::as_str);
        let made = self.rpc("wizard.party.replace.create", &json!([{}]), session).await;
        let context = json!({ "active_model": "party.party", "active_id": loser, "active_ids": [loser] });
        let asked = json!({ "ask": { "source": loser, "destination": winner } });
        let parameters = json!([made["result"][0], asked, "replace", context]);
        let answer = self.rpc("wizard.party.replace.execute", &parameters, session).await;
        assert!(answer.get("error").is_none(), "{answer}");
    }

    /// A new user with this password, by its login.
    pub async fn user(&self, password: &str) -> (i64, String) {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_micros();
        let login = format!("contract-{since}-{number}");
        let values = json!({ "name": login, "login": login, "password": password });
        (self.create("res.user", values).await, login)
    }

    /// What somebody does as the administrator.
    pub async fn call(&self, model: &str, method: &str, parameters: Value) -> Value {
        self.attempt(model, method, parameters).await.unwrap_or_else(|error| panic!("{model}.{method}: {error}"))
    }

    /// The one record that is made with these values.
    pub async fn create(&self, model: &str, values: Value) -> i64 {
        loop {
            match self.attempt(model, "create", json!([[values]])).await {
                Ok(made) => return made[0].as_i64().expect("a number"),
                // Another test was given the next code of the sequence at the same time.
                Err(error) if error.to_string().contains("The code on party must be unique") => {}
                Err(error) => panic!("{model}.create: {error}"),
            }
        }
    }

    /// What one field of a record holds.
    pub async fn value(&self, model: &str, id: i64, field: &str) -> Value {
        self.call(model, "read", json!([[id], [field]])).await[0][field].take()
    }

    /// The numbers of the records of a model.
    pub async fn ids(&self, model: &str, domain: Value) -> Vec<i64> {
        let found = self.call(model, "search", json!([domain, 0, null, [["id", "ASC"]]])).await;
        found.as_array().expect("an array").iter().map(|id| id.as_i64().expect("a number")).collect()
    }

    /// Settings for a model as one of the users.
    pub fn settings(&self, model: &str, user: &str, password: &str, fields: &[(&str, FieldType)]) -> Settings {
        let password = password.to_owned();
        Settings {
            name: "erp".to_owned(),
            url: self.address.clone(),
            database: self.database.clone(),
            user: user.to_owned(),
            password: Arc::new(move || Ok(SecretString::from(password.clone()))),
            model: model.to_owned(),
            quota: None,
            fields: fields.iter().map(|(name, kind)| FieldWanted::new(*name, *kind)).collect(),
            patience: Duration::from_secs(5),
            cancel: CancellationToken::new(),
            client: Client::new(TIMEOUTS),
        }
    }

    /// A connector of the administrator's.
    pub fn connector(&self, model: &str, fields: &[(&str, FieldType)]) -> Tryton {
        Tryton::new(self.settings(model, "admin", &self.password, fields)).expect("the settings are sound")
    }

    /// A world, as what it is.
    pub async fn model(&self, records: usize) -> Model {
        let model = loop {
            if let Some(model) = free().lock().expect("no panic").pop() {
                break model;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let old = self.ids(&model, json!([])).await;
        self.call(&model, "delete", json!([old])).await;
        let new: Vec<Value> = (1..=records).map(|number| json!({ "title": format!("title {number}") })).collect();
        if !new.is_empty() {
            self.call(&model, "create", json!([new])).await;
        }
        let connector = self.connector(&model, &[("title", FieldType::String), ("note", FieldType::String)]);
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
    connector: Tryton,
}

impl Drop for Model {
    fn drop(&mut self) {
        free().lock().expect("no panic").push(self.model.clone());
    }
}

fn id_of(key: &Key) -> i64 {
    key.as_str().parse().expect("a number")
}

#[async_trait]
impl World for Model {
    fn connector(&self) -> &dyn Connector {
        &self.connector
    }

    async fn keys(&self) -> Vec<Key> {
        self.server.ids(&self.model, json!([])).await.into_iter().map(|id| Key::new(id.to_string())).collect()
    }

    async fn edit(&self, key: &Key, field: usize, value: Option<&str>) {
        let name = match field {
            TITLE => "title",
            NOTE => "note",
            _ => panic!("no such field"),
        };
        self.server.call(&self.model, "write", json!([[id_of(key)], { name: value }])).await;
    }

    async fn add(&self, title: &str) -> Key {
        Key::new(self.server.create(&self.model, json!({ "title": title })).await.to_string())
    }

    async fn remove(&self, key: &Key) {
        self.server.call(&self.model, "delete", json!([[id_of(key)]])).await;
    }

    async fn mark_deleted(&self, key: &Key) -> bool {
        self.server.call(&self.model, "write", json!([[id_of(key)], { "active": false }])).await;
        true
    }

    async fn storm(&self, title: &str) -> Timestamp {
        let all = self.server.ids(&self.model, json!([])).await;
        self.server.call(&self.model, "write", json!([all, { "title": title }])).await;
        instant(&self.server.value(&self.model, all[0], "write_date").await)
    }

    /// The server sets it on every write.
    async fn set_modified(&self, _key: &Key, _modified: Timestamp) -> bool {
        false
    }

    /// When the server says that a record was written just now.
    async fn now(&self) -> Timestamp {
        let model = format!("attune.contract_{MODELS}");
        let clock = *CLOCK.get_or_init(|| self.server.create(&model, json!({ "title": "clock" }))).await;
        self.server.call(&model, "write", json!([[clock], { "note": "tick" }])).await;
        instant(&self.server.value(&model, clock, "write_date").await)
    }
}

/// An instant as Tryton writes it.
pub fn instant(tagged: &Value) -> Timestamp {
    let part = |name: &str| tagged[name].as_i64().expect("a number");
    let text = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        part("year"),
        part("month"),
        part("day"),
        part("hour"),
        part("minute"),
        part("second"),
        part("microsecond")
    );
    Timestamp::parse(&text).expect("a time")
}

/// Bytes as the header of a session carries them.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)).collect();
    let mut text: String = bits
        .chunks(6)
        .map(|chunk| {
            let number = (0..6).fold(0_usize, |sum, place| sum * 2 + usize::from(*chunk.get(place).unwrap_or(&0)));
            char::from(LETTERS[number])
        })
        .collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}
