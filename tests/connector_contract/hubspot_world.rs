//! A HubSpot on loopback, as strict as its documentation, and the hands of those who work in it. No real one was at hand: what
//! is proven here is that the connector does what the documentation asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use attune::connector::hubspot::{HubSpot, Settings};
use attune::connector::{Connector, FieldWanted};
use attune::http::Client;
use attune::model::{FieldType, Key, Timestamp};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::world::{NOTE, Place, REFUSED, TITLE, World};

pub const TOKEN: &str = "pat-eu1-hunter2";

/// One value of a property, and when it came.
type Version = (String, i64);

#[derive(Clone, Default)]
pub struct Record {
    properties: HashMap<String, Vec<Version>>,
    modified: i64,
    archived: Option<i64>,
    merged_into: Option<u64>,
    merged: Vec<u64>,
}

/// What the account holds and how it behaves.
#[derive(Default)]
pub struct Account {
    pub portal: u64,
    pub objects: HashMap<String, BTreeMap<u64, Record>>,
    /// By object: name and type.
    pub properties: HashMap<String, Vec<(String, String)>>,
    last_id: u64,
    /// How long search does not know of a change, in milliseconds.
    pub lag_ms: i64,
    /// Whether a bad value is refused for its record alone (207), and not for the batch.
    pub refuses_rows: bool,
    /// Whether answers to updates leave the values out.
    pub hides_values: bool,
    /// The property of which no two records have one value.
    pub unique: Option<&'static str>,
    /// Whether answers to creations name them.
    pub hides_traces: bool,
    /// Answers that come instead of the next ones: to paths that end so, once each.
    pub instead: Vec<(String, u16, Value)>,
    /// Every call: method, path, and the body's size in inputs.
    pub calls: Vec<String>,
}

pub type Shared = Arc<Mutex<Account>>;

pub fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("a sensible time")
}

fn time(millis: i64) -> String {
    Timestamp::from_millis(millis).to_string()
}

impl Record {
    fn value(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.last().map(|(value, _)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn set(&mut self, name: &str, value: &str, at: i64) {
        let versions = self.properties.entry(name.to_owned()).or_default();
        if versions.last().map_or("", |(value, _)| value.as_str()) != value {
            versions.push((value.to_owned(), at));
        }
        self.modified = at;
    }

    /// Somebody takes it out of the bin.
    pub fn restore(&mut self) {
        self.archived = None;
        self.modified = now();
    }

    fn shown(&self, id: u64, names: &[String], history: &[String]) -> Value {
        let mut properties = Map::new();
        for name in names.iter().chain(history) {
            let value = match name.as_str() {
                "hs_object_id" => Some(id.to_string()),
                "hs_merged_object_ids" if self.merged.is_empty() => None,
                "hs_merged_object_ids" => Some(self.merged.iter().map(u64::to_string).collect::<Vec<_>>().join(";")),
                name => self.value(name).map(str::to_owned),
            };
            properties.insert(name.clone(), value.map_or(Value::Null, Value::String));
        }
        let mut shown = json!({
            "id": id.to_string(), "properties": properties, "createdAt": time(0), "updatedAt": time(self.modified),
            "archived": self.archived.is_some(),
        });
        if let Some(at) = self.archived {
            shown["archivedAt"] = json!(time(at));
        }
        if !history.is_empty() {
            let of = |name: &String| {
                let versions = self.properties.get(name).map(Vec::as_slice).unwrap_or_default();
                let newest_first =
                    versions.iter().rev().map(|(value, at)| json!({ "value": value, "timestamp": time(*at) }));
                (name.clone(), Value::Array(newest_first.collect()))
            };
            shown["propertiesWithHistory"] = Value::Object(history.iter().map(of).collect());
        }
        shown
    }
}

impl Account {
    pub fn add(&mut self, object: &str, values: &[(&str, &str)]) -> u64 {
        self.last_id += 7;
        let mut record = Record { modified: now(), ..Record::default() };
        for (name, value) in values {
            record.set(name, value, now());
        }
        let id = self.last_id;
        self.objects.entry(object.to_owned()).or_default().insert(id, record);
        id
    }

    pub fn record(&mut self, object: &str, id: u64) -> &mut Record {
        self.objects.get_mut(object).and_then(|records| records.get_mut(&id)).expect("a record")
    }

    pub fn edit(&mut self, object: &str, id: u64, name: &str, value: &str) {
        self.record(object, id).set(name, value, now());
    }

    pub fn archive(&mut self, id: u64, at: i64) {
        self.record("contacts", id).archived = Some(at);
    }

    /// As it is today: both become a new one.
    pub fn merge(&mut self, one: u64, other: u64) -> u64 {
        let mut winner = self.record("contacts", one).clone();
        winner.modified = now();
        winner.merged = vec![one, other];
        self.last_id += 7;
        let id = self.last_id;
        self.objects.get_mut("contacts").expect("contacts").insert(id, winner);
        for loser in [one, other] {
            self.record("contacts", loser).merged_into = Some(id);
        }
        id
    }

    fn live(&self, object: &str) -> impl Iterator<Item = (u64, &Record)> {
        let records = self.objects.get(object).into_iter().flatten();
        records
            .filter(|(_, record)| record.archived.is_none() && record.merged_into.is_none())
            .map(|(id, one)| (*id, one))
    }

    /// A record by an id, or by one that was merged into it.
    fn found(&self, object: &str, id: u64, archived: bool) -> Option<(u64, &Record)> {
        let record = self.objects.get(object)?.get(&id)?;
        match record.merged_into {
            Some(winner) => self.found(object, winner, archived),
            None => (record.archived.is_some() == archived).then_some((id, record)),
        }
    }

    fn search(&self, object: &str, body: &Value) -> Option<Value> {
        let limit = body["limit"].as_u64().unwrap_or(10);
        // Beyond the first 10,000 results it answers nothing: whoever pages by place comes to that end.
        if limit > 200 || body.get("after").is_some() {
            return None;
        }
        assert!(body.to_string().len() <= 3_000, "the search is too long");
        let groups = body["filterGroups"].as_array().expect("groups");
        assert!(
            groups.len() <= 5 && groups.iter().all(|group| group["filters"].as_array().expect("filters").len() <= 6)
        );
        let filters = groups.first().map_or(&[][..], |group| group["filters"].as_array().expect("filters"));
        let passes = |id: u64, record: &Record| {
            filters.iter().all(|filter| {
                let name = filter["propertyName"].as_str().expect("a name");
                let own = match name {
                    "hs_object_id" => Some(id.to_string()),
                    "lastmodifieddate" if object == "contacts" => Some(record.modified.to_string()),
                    "hs_lastmodifieddate" if object != "contacts" => Some(record.modified.to_string()),
                    "lastmodifieddate" | "hs_lastmodifieddate" => panic!("{object} has no {name}"),
                    name => record.value(name).map(str::to_owned),
                };
                let number = |text: &str| text.parse::<i64>().expect("a number, as text");
                match filter["operator"].as_str().expect("an operator") {
                    "GTE" => own.is_some_and(|own| number(&own) >= number(filter["value"].as_str().expect("text"))),
                    "GT" => own.is_some_and(|own| number(&own) > number(filter["value"].as_str().expect("text"))),
                    "IN" => {
                        let values = filter["values"].as_array().expect("values");
                        assert!(values.len() <= 100);
                        // Texts are kept in small letters, and only these are found.
                        own.is_some_and(|own| values.contains(&json!(own.to_lowercase())))
                    }
                    other => panic!("{other}"),
                }
            })
        };
        assert!(
            groups.is_empty() || body["sorts"] == json!([{ "propertyName": "hs_object_id", "direction": "ASCENDING" }])
        );
        let known_until = now() - self.lag_ms;
        let hits: Vec<(u64, &Record)> = self
            .live(object)
            .filter(|(_, record)| record.modified <= known_until)
            .filter(|(id, record)| passes(*id, record))
            .collect();
        let names = words(&body["properties"]);
        let page = hits.iter().take(usize::try_from(limit).expect("small"));
        let results: Vec<Value> = page.map(|(id, record)| record.shown(*id, &names, &[])).collect();
        Some(json!({ "total": hits.len(), "results": results }))
    }

    fn list(&self, object: &str, query: &HashMap<String, String>) -> Value {
        let number = |name: &str, default: u64| query.get(name).map_or(default, |text| text.parse().expect("a number"));
        let (limit, after) = (number("limit", 10), number("after", 0));
        let archived = query.get("archived").is_some_and(|text| text == "true");
        let split = |name: &str| -> Vec<String> {
            query.get(name).map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default()
        };
        let (names, history) = (split("properties"), split("propertiesWithHistory"));
        assert!(limit <= if history.is_empty() { 100 } else { 50 }, "too many rows");
        let records = self.objects.get(object).into_iter().flatten();
        let mut rows = records.filter(|(id, record)| {
            **id >= after && record.archived.is_some() == archived && record.merged_into.is_none()
        });
        let page: Vec<Value> = rows
            .by_ref()
            .take(usize::try_from(limit).expect("small"))
            .map(|(id, record)| record.shown(*id, &names, &history))
            .collect();
        match rows.next() {
            Some((next, _)) => json!({ "results": page, "paging": { "next": { "after": next.to_string() } } }),
            None => json!({ "results": page }),
        }
    }

    fn batch_read(&self, object: &str, archived: bool, body: &Value) -> (StatusCode, Value) {
        let inputs = body["inputs"].as_array().expect("inputs");
        let history = words(&body["propertiesWithHistory"]);
        assert!(inputs.len() <= if history.is_empty() { 100 } else { 50 }, "too many inputs");
        let names = words(&body["properties"]);
        let (mut results, mut missing) = (Vec::new(), Vec::new());
        for input in inputs {
            let id: u64 = input["id"].as_str().expect("ids are text").parse().expect("a number");
            match self.found(object, id, archived) {
                Some((id, record)) => results.push(record.shown(id, &names, &history)),
                None => missing.push(id.to_string()),
            }
        }
        if missing.is_empty() {
            return (StatusCode::OK, json!({ "status": "COMPLETE", "results": results }));
        }
        let problem = json!({
            "status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some objects",
            "context": { "ids": missing },
        });
        let body = json!({ "status": "COMPLETE", "results": results, "numErrors": 1, "errors": [problem] });
        (StatusCode::MULTI_STATUS, body)
    }

    fn batch_update(&mut self, object: &str, body: &Value) -> (StatusCode, Value) {
        let inputs = body["inputs"].as_array().expect("inputs").clone();
        assert!(inputs.len() <= 100, "too many inputs");
        let is_bad = |input: &Value| {
            let values = input["properties"].as_object().expect("properties");
            assert!(values.values().all(Value::is_string), "every value is text");
            values.values().any(|value| value == REFUSED)
        };
        if !self.refuses_rows && inputs.iter().any(is_bad) {
            let message = format!("Property values were not valid: [{REFUSED}]");
            let body = json!({ "status": "error", "message": message, "category": "VALIDATION_ERROR" });
            return (StatusCode::BAD_REQUEST, body);
        }
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for input in &inputs {
            let id: u64 = input["id"].as_str().expect("ids are text").parse().expect("a number");
            let trace = input["objectWriteTraceId"].clone();
            let problem = |category: &str| json!({ "status": "error", "category": category, "message": REFUSED, "context": { "objectWriteTraceId": [trace] } });
            if is_bad(input) {
                errors.push(problem("VALIDATION_ERROR"));
                continue;
            }
            let Some((found, _)) = self.found(object, id, false) else {
                errors.push(problem("OBJECT_NOT_FOUND"));
                continue;
            };
            let values = input["properties"].as_object().expect("properties").clone();
            let record = self.objects.get_mut(object).and_then(|records| records.get_mut(&found)).expect("it is there");
            for (name, value) in &values {
                record.set(name, value.as_str().expect("text"), now());
            }
            let names: Vec<String> = if self.hides_values { Vec::new() } else { values.keys().cloned().collect() };
            results.push(record.shown(found, &names, &[]));
        }
        if errors.is_empty() {
            return (StatusCode::OK, json!({ "status": "COMPLETE", "results": results }));
        }
        let body = json!({ "status": "COMPLETE", "results": results, "numErrors": errors.len(), "errors": errors });
        (StatusCode::MULTI_STATUS, body)
    }
}

impl Account {
    /// Records that say how they are called are answered for one by one; otherwise one that is refused refuses all.
    fn batch_create(&mut self, object: &str, body: &Value) -> (StatusCode, Value) {
        let inputs = body["inputs"].as_array().expect("inputs").clone();
        assert!(!inputs.is_empty() && inputs.len() <= 100, "too many inputs, or none");
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for input in &inputs {
            let trace = input["objectWriteTraceId"].as_str().expect("a trace");
            let values = input["properties"].as_object().expect("properties");
            assert!(values.values().all(Value::is_string), "every value is text");
            let values: Vec<(&str, &str)> =
                values.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("text"))).collect();
            let same = self.unique.and_then(|unique| {
                let (_, value) = values.iter().find(|(name, _)| *name == unique)?;
                self.live(object).find(|(_, record)| record.value(unique) == Some(value)).map(|(id, _)| id)
            });
            let problem = |category: &str, message: &str| json!({ "status": "error", "category": category, "message": message, "context": { "objectWriteTraceId": [trace] } });
            if values.iter().any(|(_, value)| *value == REFUSED) {
                errors.push(problem("VALIDATION_ERROR", REFUSED));
            } else if let Some(id) = same {
                errors.push(problem("CONFLICT", &format!("Contact already exists. Existing ID: {id}")));
            } else {
                let id = self.add(object, &values);
                let names: Vec<String> = values.iter().map(|(name, _)| (*name).to_owned()).collect();
                let mut shown = self.record(object, id).shown(id, &names, &[]);
                if !self.hides_traces {
                    shown["objectWriteTraceId"] = json!(trace);
                }
                results.push(shown);
            }
        }
        // In no order.
        results.reverse();
        if errors.is_empty() {
            return (StatusCode::CREATED, json!({ "status": "COMPLETE", "results": results }));
        }
        let body = json!({ "status": "COMPLETE", "results": results, "numErrors": errors.len(), "errors": errors });
        (StatusCode::MULTI_STATUS, body)
    }

    /// The id of a merged record stands for the one that it was merged into; what is not there is no error.
    fn batch_archive(&mut self, object: &str, body: &Value) {
        let inputs = body["inputs"].as_array().expect("inputs");
        assert!(!inputs.is_empty() && inputs.len() <= 100, "too many inputs, or none");
        for input in inputs {
            let id: u64 = input["id"].as_str().expect("ids are text").parse().expect("a number");
            if let Some((id, _)) = self.found(object, id, false) {
                self.archive(id, now());
            }
        }
    }
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|word| word.as_str().expect("a word").to_owned()).collect()
}

fn refusal(status: u16, category: &str) -> Response {
    let body = json!({ "status": "error", "category": category, "message": "no" });
    (StatusCode::from_u16(status).expect("a status"), axum::Json(body)).into_response()
}

async fn answer(State(account): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if headers.get("authorization").is_none_or(|value| value != &format!("Bearer {TOKEN}")) {
        return refusal(401, "INVALID_AUTHENTICATION");
    }
    let mut account = account.lock().expect("no panic");
    let path = uri.path().to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    account.calls.push(format!("{method} {path}"));
    if let Some(at) = account.instead.iter().position(|(end, ..)| path.ends_with(end)) {
        let (_, status, body) = account.instead.remove(at);
        return (StatusCode::from_u16(status).expect("a status"), axum::Json(body)).into_response();
    }
    let query: HashMap<String, String> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (status, body) = match (method.as_str(), &parts[..]) {
        ("GET", ["account-info", "v3", "details"]) => (StatusCode::OK, json!({ "portalId": account.portal })),
        ("GET", ["crm", "v3", "properties", object]) => {
            let properties = account.properties.get(*object).cloned().unwrap_or_default();
            let described = properties.iter().map(|(name, kind)| {
                json!({
                    "name": name, "label": name, "type": kind, "fieldType": "text", "calculated": false,
                    "modificationMetadata": { "readOnlyValue": name.starts_with("hs_") },
                })
            });
            (StatusCode::OK, json!({ "results": described.collect::<Vec<_>>() }))
        }
        ("POST", ["crm", "v3", "properties", object]) => {
            let text = |name: &str| body[name].as_str().expect("text").to_owned();
            assert!(!text("label").is_empty() && !text("groupName").is_empty() && !text("fieldType").is_empty());
            let one = (text("name"), text("type"));
            account.properties.entry((*object).to_owned()).or_default().push(one);
            (StatusCode::CREATED, body)
        }
        ("POST", ["crm", "v3", "objects", object, "search"]) => match account.search(object, &body) {
            Some(found) => (StatusCode::OK, found),
            None => return refusal(400, "VALIDATION_ERROR"),
        },
        ("GET", ["crm", "v3", "objects", object]) => (StatusCode::OK, account.list(object, &query)),
        ("POST", ["crm", "v3", "objects", object, "batch", "read"]) => {
            account.batch_read(object, query.get("archived").is_some_and(|text| text == "true"), &body)
        }
        ("POST", ["crm", "v3", "objects", object, "batch", "create"]) => account.batch_create(object, &body),
        ("POST", ["crm", "v3", "objects", object, "batch", "archive"]) => {
            account.batch_archive(object, &body);
            return StatusCode::NO_CONTENT.into_response();
        }
        ("POST", ["crm", "v3", "objects", object, "batch", "update"]) => account.batch_update(object, &body),
        other => panic!("{other:?}"),
    };
    (status, axum::Json(body)).into_response()
}

/// A HubSpot account on loopback, for as long as the test lasts.
pub struct HubSpotServer {
    pub account: Shared,
    pub url: String,
}

impl HubSpotServer {
    pub async fn start() -> Self {
        static PORTALS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let portal = PORTALS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let text = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "string".to_owned())).collect();
        let mut account = Account { portal, ..Account::default() };
        account.properties.insert("contacts".to_owned(), text(&["title", "note", "email", "associatedcompanyid"]));
        account.properties.insert("companies".to_owned(), text(&["wholesaler_id"]));
        let account = Arc::new(Mutex::new(account));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&account));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { account, url }
    }

    pub fn settings(&self, fields: &[(&str, FieldType)]) -> Settings {
        let field = |(name, kind): &(&str, FieldType)| FieldWanted::new(*name, *kind);
        Settings {
            name: "crm".to_owned(),
            url: self.url.clone(),
            access_token: Arc::new(|| Ok(SecretString::from(TOKEN))),
            object: "contacts".to_owned(),
            create_in_group: None,
            quota: None,
            searches_per_second: 10_000,
            fields: fields.iter().map(field).collect(),
            patience: Duration::ZERO,
            cancel: CancellationToken::new(),
            client: Client::default(),
        }
    }

    pub fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().expect("no panic")
    }
}

/// Where worlds are made.
pub struct Loopback;

pub async fn on_hubspot(test: impl for<'a> FnOnce(&'a Loopback) -> BoxFuture<'a, ()>) {
    test(&Loopback).await;
}

#[async_trait]
impl Place for Loopback {
    async fn world(&self, records: usize) -> Box<dyn World> {
        let server = HubSpotServer::start().await;
        for number in 1..=records {
            server.account().add("contacts", &[("title", &format!("title {number}"))]);
        }
        let settings = server.settings(&[("title", FieldType::String), ("note", FieldType::String)]);
        let connector = HubSpot::new(settings).expect("the settings are sound");
        Box::new(HubSpotWorld { server, connector })
    }
}

struct HubSpotWorld {
    server: HubSpotServer,
    connector: HubSpot,
}

fn id(key: &Key) -> u64 {
    key.as_str().parse().expect("a number")
}

#[async_trait]
impl World for HubSpotWorld {
    fn connector(&self) -> &dyn Connector {
        &self.connector
    }

    async fn keys(&self) -> Vec<Key> {
        self.server
            .account()
            .objects
            .get("contacts")
            .into_iter()
            .flatten()
            .map(|(id, _)| Key::new(id.to_string()))
            .collect()
    }

    async fn edit(&self, key: &Key, field: usize, value: Option<&str>) {
        let name = match field {
            TITLE => "title",
            NOTE => "note",
            _ => panic!("no such field"),
        };
        self.server.account().edit("contacts", id(key), name, value.unwrap_or_default());
    }

    async fn add(&self, title: &str) -> Key {
        Key::new(self.server.account().add("contacts", &[("title", title)]).to_string())
    }

    /// As the law demands: nothing is left, not among the archived either.
    async fn remove(&self, key: &Key) {
        self.server.account().objects.get_mut("contacts").expect("contacts").remove(&id(key));
    }

    /// As people delete: it is archived, and told by the feed of archived records, which is not the first.
    async fn mark_deleted(&self, _key: &Key) -> bool {
        false
    }

    async fn storm(&self, title: &str) -> Timestamp {
        let at = now();
        for record in self.server.account().objects.get_mut("contacts").expect("contacts").values_mut() {
            record.set("title", title, at);
        }
        Timestamp::from_millis(at)
    }

    async fn set_modified(&self, _key: &Key, _modified: Timestamp) -> bool {
        false
    }

    async fn make_titles_unique(&self) -> bool {
        self.server.account().unique = Some("title");
        true
    }

    async fn now(&self) -> Timestamp {
        Timestamp::from_millis(now())
    }
}
