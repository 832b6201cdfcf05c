//! A Salesforce on loopback, as strict as its documentation: it reads the SOQL that the connector writes, and nothing else. No
//! real one was at hand: what is proven here is that the connector does what the documentation asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use attune::connector::salesforce::{Grant, Salesforce, Settings};
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

pub const SECRET: &str = "hunter2 & more";

#[derive(Clone, Default)]
pub struct Record {
    pub values: HashMap<String, Value>,
    /// `SystemModstamp` and `LastModifiedDate`.
    pub stamp: i64,
    pub modified: i64,
    pub deleted: bool,
    pub master: Option<String>,
    /// Whether our user may see it.
    pub hidden: bool,
}

/// What the org holds and how it behaves.
#[derive(Default)]
pub struct Org {
    pub organization: String,
    pub objects: HashMap<String, BTreeMap<String, Record>>,
    last_id: u64,
    pub token: u64,
    pub tokens_given: u64,
    /// Rows of one answer at most, however many were asked for.
    pub rows_max: Option<usize>,
    /// Queries of more rows take too long.
    pub slow_beyond: Option<usize>,
    /// The field of which no two contacts have one value: a rule of the org.
    pub unique: Option<&'static str>,
    /// What the header about the limit says.
    pub limit: String,
    /// Answers that come instead of the next ones: to paths that end so, once each.
    pub instead: Vec<(String, u16, Value)>,
    pub calls: Vec<String>,
}

pub type Shared = Arc<Mutex<Org>>;

pub fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("a sensible time")
}

/// As Salesforce writes times: the zone has no colon.
fn time(millis: i64) -> String {
    let seconds = Timestamp::from_millis(millis).to_seconds_text();
    format!("{}.{:03}+0000", seconds.trim_end_matches('Z'), millis.rem_euclid(1000))
}

impl Record {
    fn value(&self, id: &str, name: &str) -> Value {
        match name {
            "Id" => json!(id),
            "IsDeleted" => json!(self.deleted),
            "LastModifiedDate" => json!(time(self.modified)),
            "SystemModstamp" => json!(time(self.stamp)),
            "MasterRecordId" => json!(self.master),
            name => self.values.get(name).cloned().unwrap_or(Value::Null),
        }
    }
}

impl Org {
    pub fn add(&mut self, object: &str, values: &[(&str, Value)]) -> String {
        self.last_id += 1;
        let prefix = if object == "Account" { "001" } else { "003" };
        let id = format!("{prefix}A{:011}IAA", self.last_id);
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let record = Record { values, stamp: now(), modified: now(), ..Record::default() };
        self.objects.entry(object.to_owned()).or_default().insert(id.clone(), record);
        id
    }

    pub fn record(&mut self, object: &str, id: &str) -> &mut Record {
        self.objects.get_mut(object).and_then(|records| records.get_mut(id)).expect("a record")
    }

    pub fn edit(&mut self, object: &str, id: &str, name: &str, value: Value) {
        let record = self.record(object, id);
        record.values.insert(name.to_owned(), value);
        (record.stamp, record.modified) = (now(), now());
    }

    fn describe(object: &str) -> Value {
        let field = |name: &str, kind: &str, updateable: bool| json!({ "name": name, "type": kind, "length": 32000, "filterable": kind != "textarea", "updateable": updateable, "createable": updateable, "nillable": true, "referenceTo": [] });
        let mut account = field("AccountId", "reference", true);
        account["relationshipName"] = json!("Account");
        account["referenceTo"] = json!(["Account"]);
        let mut token = field("Token__c", "string", true);
        token["externalId"] = json!(true);
        let fields = match object {
            "Contact" => json!([
                field("Id", "id", false),
                field("Title", "string", true),
                field("Note__c", "textarea", true),
                field("Score__c", "double", true),
                field("Vip__c", "boolean", true),
                field("Seen__c", "datetime", true),
                field("Photo__c", "base64", true),
                field("Full__c", "string", false),
                field("MasterRecordId", "reference", false),
                account,
                token,
            ]),
            "Account" => json!([field("Id", "id", false), field("Wholesaler__c", "string", true)]),
            other => panic!("{other}"),
        };
        json!({ "name": object, "updateable": true, "fields": fields })
    }

    fn query(&self, soql: &str) -> Result<Value, (u16, Value)> {
        if soql.contains("FROM UserRecordAccess") {
            let ids = quoted(soql.split("RecordId IN").nth(1).expect("ids"));
            assert!(ids.len() <= 200, "too many ids");
            let records = ids.iter().filter_map(|id| {
                let record = self.objects["Contact"].get(id)?;
                Some(json!({ "RecordId": id, "HasReadAccess": !record.hidden }))
            });
            let records: Vec<Value> = records.collect();
            return Ok(json!({ "done": true, "totalSize": records.len(), "records": records }));
        }
        let names: Vec<&str> = soql
            .strip_prefix("SELECT ")
            .and_then(|rest| rest.split(" FROM ").next())
            .expect("names")
            .split(", ")
            .collect();
        let rest = soql.split_once(" FROM ").expect("an object").1;
        let object = rest.split(' ').next().expect("an object");
        if names == ["COUNT()"] {
            assert!(rest.ends_with(" WHERE IsDeleted = false"));
            let count = self.objects.get(object).into_iter().flatten().filter(|(_, record)| !record.deleted).count();
            return Ok(json!({ "done": true, "totalSize": count, "records": [] }));
        }
        let (rest, limit) = rest.rsplit_once(" LIMIT ").expect("a limit");
        let limit: usize = limit.parse().expect("a number");
        if self.slow_beyond.is_some_and(|rows| limit > rows) {
            return Err((400, json!([{ "errorCode": "QUERY_TIMEOUT", "message": "took too long" }])));
        }
        let (rest, order) = rest.rsplit_once(" ORDER BY ").expect("an order");
        assert_eq!(order, "Id");
        let condition = rest.split_once(" WHERE ").map(|(_, condition)| condition).unwrap_or_default();
        let accounts = self.objects.get("Account");
        let account_of =
            |record: &Record| accounts.and_then(|accounts| accounts.get(record.values.get("AccountId")?.as_str()?));
        let passes = |id: &str, record: &Record| {
            condition.split(" AND ").filter(|part| !part.is_empty()).all(|part| {
                if part == "IsDeleted = false" {
                    return !record.deleted;
                }
                if let Some((name, among)) = part.split_once(" IN ").filter(|(name, _)| *name != "Id") {
                    // Whatever the case of letters.
                    let held = record.values.get(name).and_then(Value::as_str).map(str::to_lowercase);
                    return quoted(among).iter().any(|one| Some(one.to_lowercase()) == held);
                }
                if let Some(after) = part.strip_prefix("Id > ") {
                    return id > quoted(after)[0].as_str();
                }
                if let Some(among) = part.strip_prefix("Id IN ") {
                    return quoted(among).iter().any(|one| one == id);
                }
                let stamps = part.strip_prefix('(').and_then(|part| part.strip_suffix(')')).expect("stamps");
                stamps.split(" OR ").any(|stamp| {
                    let (name, since) = stamp.split_once(" >= ").expect("a lower bound");
                    assert!(since.len() == 20 && since.ends_with('Z'), "a literal in UTC: {since}");
                    let since = Timestamp::parse(since).expect("a time").as_millis();
                    match name {
                        "SystemModstamp" => record.stamp >= since,
                        "Account.SystemModstamp" => account_of(record).is_some_and(|account| account.stamp >= since),
                        other => panic!("{other}"),
                    }
                })
            })
        };
        let hits = self.objects.get(object).into_iter().flatten();
        let mut hits = hits.filter(|(id, record)| !record.hidden && passes(id, record)).take(limit);
        let rows_max = self.rows_max.unwrap_or(2_000);
        let mut records = Vec::new();
        for (id, record) in hits.by_ref().take(rows_max) {
            let mut row = Map::new();
            row.insert("attributes".to_owned(), json!({ "type": object }));
            for name in &names {
                match name.split_once('.') {
                    None => drop(row.insert((*name).to_owned(), record.value(id, name))),
                    Some((relationship, name)) => {
                        let linked = row.entry(relationship).or_insert(Value::Null);
                        if let Some(account) = account_of(record) {
                            let value = account.value("", name);
                            match linked {
                                Value::Object(linked) => drop(linked.insert(name.to_owned(), value)),
                                _ => *linked = json!({ name: value }),
                            }
                        }
                    }
                }
            }
            records.push(Value::Object(row));
        }
        let done = hits.next().is_none();
        Ok(json!({ "done": done, "totalSize": records.len(), "records": records }))
    }

    fn update(&mut self, body: &Value) -> Value {
        assert_eq!(body["allOrNone"], json!(false));
        let records = body["records"].as_array().expect("records").clone();
        assert!(records.len() <= 200, "too many records");
        let results = records.iter().map(|record| {
            let object = record["attributes"]["type"].as_str().expect("a type").to_owned();
            let id = record["id"].as_str().expect("an id").to_owned();
            let problem = |code: &str, fields: &[&str]| {
                json!({ "success": false, "errors": [{ "statusCode": code, "message": REFUSED, "fields": fields }] })
            };
            let found = self.objects.get_mut(&object).and_then(|records| records.get_mut(&id));
            let Some(found) = found else { return problem("INVALID_CROSS_REFERENCE_KEY", &[]) };
            if found.deleted {
                return problem("ENTITY_IS_DELETED", &[]);
            }
            let values: Vec<(String, Value)> = record
                .as_object()
                .expect("an object")
                .iter()
                .filter(|(name, _)| !["attributes", "id"].contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            if let Some((name, _)) = values.iter().find(|(_, value)| *value == REFUSED) {
                return problem("FIELD_CUSTOM_VALIDATION_EXCEPTION", &[name]);
            }
            for (name, value) in values {
                // Nothing is null.
                let value = if value == "" { Value::Null } else { value };
                found.values.insert(name, value);
            }
            (found.stamp, found.modified) = (now(), now());
            json!({ "id": id, "success": true, "errors": [] })
        });
        Value::Array(results.collect())
    }
}

impl Org {
    /// New records; those that have the value of an external id already are written.
    fn create(&mut self, external: Option<&str>, body: &Value) -> Value {
        assert_eq!(body["allOrNone"], json!(false));
        let records = body["records"].as_array().expect("records").clone();
        assert!(records.len() <= 200, "too many records");
        let results = records.iter().map(|record| {
            let object = record["attributes"]["type"].as_str().expect("a type");
            let fields = record.as_object().expect("an object").iter();
            let fields: Vec<(&str, Value)> = fields
                .filter(|(name, _)| *name != "attributes")
                .map(|(name, value)| (name.as_str(), value.clone()))
                .collect();
            let problem = |code: &str, message: &str, fields: &[&str]| {
                json!({ "success": false, "errors": [{ "statusCode": code, "message": message, "fields": fields }] })
            };
            if let Some((name, _)) = fields.iter().find(|(_, value)| *value == REFUSED) {
                return problem("FIELD_CUSTOM_VALIDATION_EXCEPTION", REFUSED, &[name]);
            }
            let with = |name: &str| {
                let (_, value) = fields.iter().find(|(other, _)| *other == name)?;
                let records = self.objects.get(object).into_iter().flatten();
                let mut same = records.filter(|(_, other)| !other.deleted && other.values.get(name) == Some(value));
                same.next().map(|(id, _)| id.clone())
            };
            let known = external.and_then(with);
            if let Some(id) = self.unique.and_then(with).filter(|id| Some(id) != known.as_ref()) {
                let message = format!("duplicate value found: x duplicates value on record with id: {}", &id[..15]);
                return problem("DUPLICATE_VALUE", &message, &[]);
            }
            match known {
                Some(id) => {
                    for (name, value) in fields {
                        self.edit(object, &id, name, value);
                    }
                    json!({ "id": id, "success": true, "errors": [], "created": false })
                }
                None => json!({ "id": self.add(object, &fields), "success": true, "errors": [], "created": true }),
            }
        });
        Value::Array(results.collect())
    }

    /// Into the bin.
    fn delete(&mut self, query: &str) -> Value {
        let ids = query.strip_prefix("ids=").and_then(|query| query.strip_suffix("&allOrNone=false")).expect("a query");
        let ids: Vec<&str> = ids.split(',').collect();
        assert!(ids.len() <= 200, "too many ids");
        let results = ids.iter().map(|id| {
            let problem = |code: &str| {
                json!({ "id": id, "success": false, "errors": [{ "statusCode": code, "message": "no", "fields": [] }] })
            };
            match self.objects.get_mut("Contact").and_then(|records| records.get_mut(*id)) {
                None => problem("INVALID_CROSS_REFERENCE_KEY"),
                Some(record) if record.deleted => problem("ENTITY_IS_DELETED"),
                Some(record) if record.values.contains_key("Keeps__c") => problem("DELETE_FAILED"),
                Some(record) => {
                    (record.deleted, record.stamp) = (true, now());
                    json!({ "id": id, "success": true, "errors": [] })
                }
            }
        });
        Value::Array(results.collect())
    }
}

/// What stands between quotes.
fn quoted(text: &str) -> Vec<String> {
    let (mut texts, mut open) = (Vec::new(), None::<String>);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (&mut open, character) {
            (None, '\'') => open = Some(String::new()),
            (Some(_), '\'') => texts.extend(open.take()),
            (Some(text), '\\') => text.push(match characters.next().expect("an escaped character") {
                'n' => '\n',
                character @ ('\'' | '\\' | '"' | '_' | '%') => character,
                other => panic!("no escape: {other}"),
            }),
            (Some(text), character) => text.push(character),
            (None, character) => assert!("(), ".contains(character), "not between quotes: {character}"),
        }
    }
    assert_eq!(open, None, "a text without an end");
    texts
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits: Vec<u8> = rest.by_ref().take(2).collect();
            let digits = String::from_utf8(digits).expect("digits");
            bytes.push(u8::from_str_radix(&digits, 16).expect("a byte"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("text")
}

async fn answer(State(org): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut org = org.lock().expect("no panic");
    let path = uri.path().to_owned();
    org.calls.push(format!("{method} {path}"));
    let given =
        |status: u16, body: Value| (StatusCode::from_u16(status).expect("a status"), axum::Json(body)).into_response();
    if let Some(at) = org.instead.iter().position(|(end, ..)| path.ends_with(end)) {
        let (_, status, body) = org.instead.remove(at);
        return given(status, body);
    }
    if path == "/services/oauth2/token" {
        let form = String::from_utf8(body.to_vec()).expect("a form");
        assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
        let good = form.split('&').any(|pair| decoded(pair) == format!("client_secret={SECRET}"));
        let signed = form.split('&').any(|pair| pair.starts_with("assertion=") && pair.matches('.').count() == 2);
        if !good && !signed {
            return given(400, json!({ "error": "invalid_client", "error_description": "no" }));
        }
        org.tokens_given += 1;
        let token = format!("token-{}", org.token);
        return given(200, json!({ "access_token": token, "token_type": "Bearer" }));
    }
    if headers.get("authorization").is_none_or(|value| value != &format!("Bearer token-{}", org.token)) {
        return given(401, json!([{ "errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid" }]));
    }
    let data = path.strip_prefix("/services/data/v62.0/").unwrap_or(&path);
    let (status, body) = match (method.as_str(), data) {
        ("GET", "/services/oauth2/userinfo") => {
            (200, json!({ "organization_id": org.organization, "user_id": "005000000000001" }))
        }
        ("GET", "sobjects/Contact/describe") => (200, Org::describe("Contact")),
        ("GET", "sobjects/Account/describe") => (200, Org::describe("Account")),
        ("GET", "queryAll") => {
            let soql = uri.query().and_then(|query| query.strip_prefix("q=")).expect("a query");
            assert!(uri.to_string().len() <= 16_000, "the address is too long");
            match org.query(&decoded(soql)) {
                Ok(found) => (200, found),
                Err(problem) => problem,
            }
        }
        ("POST", "composite/sobjects") => (200, org.create(None, &serde_json::from_slice(&body).expect("JSON"))),
        ("PATCH", "composite/sobjects/Contact/Token__c") => {
            (200, org.create(Some("Token__c"), &serde_json::from_slice(&body).expect("JSON")))
        }
        ("DELETE", "composite/sobjects") => (200, org.delete(uri.query().expect("ids"))),
        ("PATCH", "composite/sobjects") => (200, org.update(&serde_json::from_slice(&body).expect("JSON"))),
        _ => (404, json!([{ "errorCode": "NOT_FOUND", "message": "no" }])),
    };
    let limit = org.limit.clone();
    ([("sforce-limit-info", limit)], given(status, body)).into_response()
}

/// An org on loopback, for as long as the test lasts.
pub struct SalesforceServer {
    pub org: Shared,
    pub url: String,
}

impl SalesforceServer {
    pub async fn start() -> Self {
        static ORGS: AtomicU64 = AtomicU64::new(1);
        let number = ORGS.fetch_add(1, Ordering::Relaxed);
        let organization = format!("00D{number:012}");
        let org = Org { organization, limit: "api-usage=18/5000".to_owned(), ..Org::default() };
        let org = Arc::new(Mutex::new(org));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&org));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { org, url }
    }

    pub fn settings(&self, fields: &[(&str, FieldType)]) -> Settings {
        let field = |(name, kind): &(&str, FieldType)| FieldWanted::new(*name, *kind);
        Settings {
            name: "crm".to_owned(),
            url: self.url.clone(),
            grant: Grant::ClientCredentials {
                client_id: "3MVG9.attune".to_owned(),
                client_secret: Arc::new(|| Ok(SecretString::from(SECRET))),
            },
            object: "Contact".to_owned(),
            external_id: None,
            quota: None,
            fields: fields.iter().map(field).collect(),
            patience: Duration::ZERO,
            cancel: CancellationToken::new(),
            client: Client::default(),
        }
    }

    pub fn org(&self) -> std::sync::MutexGuard<'_, Org> {
        self.org.lock().expect("no panic")
    }
}

/// Where worlds are made.
pub struct Loopback;

pub async fn on_salesforce(test: impl for<'a> FnOnce(&'a Loopback) -> BoxFuture<'a, ()>) {
    test(&Loopback).await;
}

#[async_trait]
impl Place for Loopback {
    async fn world(&self, records: usize) -> Box<dyn World> {
        let server = SalesforceServer::start().await;
        for number in 1..=records {
            server.org().add("Contact", &[("Title", json!(format!("title {number}")))]);
        }
        let mut settings = server.settings(&[("Title", FieldType::String), ("Note__c", FieldType::String)]);
        settings.external_id = Some("Token__c".to_owned());
        let connector = Salesforce::new(settings).expect("the settings are sound");
        Box::new(SalesforceWorld { server, connector })
    }
}

struct SalesforceWorld {
    server: SalesforceServer,
    connector: Salesforce,
}

#[async_trait]
impl World for SalesforceWorld {
    fn connector(&self) -> &dyn Connector {
        &self.connector
    }

    async fn keys(&self) -> Vec<Key> {
        self.server.org().objects.get("Contact").into_iter().flatten().map(|(id, _)| Key::new(id)).collect()
    }

    async fn edit(&self, key: &Key, field: usize, value: Option<&str>) {
        let name = match field {
            TITLE => "Title",
            NOTE => "Note__c",
            _ => panic!("no such field"),
        };
        self.server.org().edit("Contact", key.as_str(), name, json!(value));
    }

    async fn add(&self, title: &str) -> Key {
        Key::new(self.server.org().add("Contact", &[("Title", json!(title))]))
    }

    /// Out of the bin too.
    async fn remove(&self, key: &Key) {
        self.server.org().objects.get_mut("Contact").expect("contacts").remove(key.as_str());
    }

    /// Into the bin.
    async fn mark_deleted(&self, key: &Key) -> bool {
        let mut org = self.server.org();
        let record = org.record("Contact", key.as_str());
        (record.deleted, record.stamp) = (true, now());
        true
    }

    async fn storm(&self, title: &str) -> Timestamp {
        let at = now();
        for record in self.server.org().objects.get_mut("Contact").expect("contacts").values_mut() {
            record.values.insert("Title".to_owned(), json!(title));
            (record.stamp, record.modified) = (at, at);
        }
        Timestamp::from_millis(at)
    }

    async fn set_modified(&self, _key: &Key, _modified: Timestamp) -> bool {
        false
    }

    async fn make_titles_unique(&self) -> bool {
        self.server.org().unique = Some("Title");
        true
    }

    fn keeps_tokens(&self) -> bool {
        true
    }

    async fn now(&self) -> Timestamp {
        Timestamp::from_millis(now())
    }
}
