//! Servers on loopback that answer as Directus and as an OData v4 service do, with their traps, as worlds: each world is a server
//! of its own. They are strict: what the real ones would refuse or silently ignore, they refuse or ignore too. The connector
//! is configured by the profiles that ship with the program.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use attune::config::{self, CrmKind};
use attune::connector::rest::{Auth, Rest, Settings};
use attune::connector::{Connector, FieldWanted};
use attune::http::{Client, Timeouts};
use attune::model::{Api, FieldType, Key, Timestamp};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::rest_query::{Filter, arguments};
use crate::world::{NOTE, Place, REFUSED, TITLE, World};

/// The secret that every server asks for.
pub const TOKEN: &str = "hunter2-the-token";

/// The most records of a page, whatever was asked for and without a word.
const PAGE_MAX: usize = 400;

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Directus,
    /// One request for each write, and pages by key.
    OData,
    /// Writes in batches, and pages by `@odata.nextLink`.
    ODataBatch,
}

/// One kind of server.
#[derive(Clone)]
pub struct Home {
    pub manner: Manner,
}

pub async fn on_directus_like(test: impl for<'a> FnOnce(&'a Home) -> BoxFuture<'a, ()>) {
    test(&Home { manner: Manner::Directus }).await;
}

pub async fn on_odata_like(test: impl for<'a> FnOnce(&'a Home) -> BoxFuture<'a, ()>) {
    test(&Home { manner: Manner::OData }).await;
}

pub async fn on_odata_batch_like(test: impl for<'a> FnOnce(&'a Home) -> BoxFuture<'a, ()>) {
    test(&Home { manner: Manner::ODataBatch }).await;
}

/// What a server holds, and how it fails.
pub struct Held {
    manner: Manner,
    pub rows: BTreeMap<String, Map<String, Value>>,
    pub accounts: BTreeMap<String, Map<String, Value>>,
    next: u64,
    /// Every call: method, path and query, as it came.
    pub calls: Vec<String>,
    /// The bodies of writes.
    pub bodies: Vec<String>,
    /// Whether no two records may have one title.
    pub unique_titles: bool,
    /// What is answered to the next creation or removal in place of an answer, when it has been done.
    pub lost_answer: Option<u16>,
}

pub type Shared = Arc<Mutex<Held>>;

/// A server with its connector.
pub struct Peer {
    pub held: Shared,
    pub address: String,
    pub connector: Rest,
    manner: Manner,
}

fn clock() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

impl Held {
    fn names(&self) -> (&'static str, &'static str, &'static str) {
        match self.manner {
            Manner::Directus => ("id", "date_created", "date_updated"),
            _ => ("ID", "createdAt", "modifiedAt"),
        }
    }

    /// A record as somebody makes it: in Directus it has no modification time.
    pub fn add(&mut self, title: &str, at: Timestamp) -> String {
        self.next += 1;
        let (key_name, created, updated) = self.names();
        let (key, id) = match self.manner {
            Manner::Directus => (self.next.to_string(), json!(self.next)),
            _ => (format!("c'{:05}", self.next), json!(format!("c'{:05}", self.next))),
        };
        let updated_at = if self.manner == Manner::Directus { Value::Null } else { json!(at.to_string()) };
        let row = json!({
            key_name: id, "title": title, "note": null, "status": "published", "score": 7, "limit": "12.50",
            created: at.to_string(), updated: updated_at, "account": null, "version": 1,
        });
        let Value::Object(row) = row else { unreachable!() };
        self.rows.insert(key.clone(), row);
        key
    }

    /// Changes fields as an edit does.
    pub fn edit(&mut self, key: &str, changes: &Map<String, Value>, at: Timestamp) {
        let (_, _, updated) = self.names();
        let row = self.rows.get_mut(key).expect("the record is there");
        for (name, value) in changes {
            // What is no field is ignored without a word.
            if row.contains_key(name) {
                row.insert(name.clone(), value.clone());
            }
        }
        row.insert(updated.to_owned(), json!(at.to_string()));
        let version = row["version"].as_u64().expect("a version");
        row.insert("version".to_owned(), json!(version + 1));
    }

    /// The record in the order of keys: as they sort in the database.
    pub fn sorted(&self) -> Vec<(&String, &Map<String, Value>)> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        if self.manner == Manner::Directus {
            rows.sort_by_key(|(key, _)| key.parse::<u64>().expect("a number"));
        }
        rows
    }

    /// A record with the record that it points to.
    fn whole(&self, row: &Map<String, Value>) -> Map<String, Value> {
        let mut row = row.clone();
        if let Some(account) = row["account"].as_str().and_then(|key| self.accounts.get(key)) {
            row.insert("account".to_owned(), Value::Object(account.clone()));
        }
        row
    }

    /// Makes a record with these fields; the status where it does not.
    fn create(&mut self, body: &str, at: Timestamp) -> Result<String, u16> {
        let Ok(Value::Object(values)) = serde_json::from_str(body) else { return Err(400) };
        let title = values.get("title").cloned().unwrap_or_default();
        let is_taken = self.unique_titles && self.rows.values().any(|row| row["title"] == title);
        match () {
            () if title == json!(REFUSED) => Err(400),
            () if is_taken => Err(409),
            () => {
                let key = self.add("", at);
                let row = self.rows.get_mut(&key).expect("it was made");
                row.insert("title".to_owned(), Value::Null);
                // What is no field is ignored without a word.
                let known: Vec<_> = values.into_iter().filter(|(name, _)| row.contains_key(name)).collect();
                row.extend(known);
                Ok(key)
            }
        }
    }

    fn etag(row: &Map<String, Value>) -> String {
        format!("W/\"{}\"", row["version"])
    }

    /// What is shown of a record: these fields, `x.y` of related ones; none where one is not there.
    fn shown(&self, row: &Map<String, Value>, fields: &[&str]) -> Option<Value> {
        let whole = self.whole(row);
        let mut shown = Map::new();
        for field in fields {
            match field.split_once('.') {
                None => drop(shown.insert((*field).to_owned(), whole.get(*field)?.clone())),
                Some((relation, inner)) => match whole.get(relation)? {
                    Value::Object(related) => {
                        let entry = shown.entry(relation.to_owned()).or_insert_with(|| json!({}));
                        entry.as_object_mut()?.insert(inner.to_owned(), related.get(inner)?.clone());
                    }
                    _ => drop(shown.insert(relation.to_owned(), Value::Null)),
                },
            }
        }
        if self.manner != Manner::Directus {
            shown.insert("@odata.etag".to_owned(), json!(Self::etag(row)));
        }
        Some(Value::Object(shown))
    }
}

fn answer(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).expect("a status"), axum::Json(body)).into_response()
}

fn directus_error(status: u16, code: &str) -> Response {
    answer(status, json!({ "errors": [{ "message": "bob@example.com: no", "extensions": { "code": code } }] }))
}

fn odata_error(status: u16, code: &str) -> Response {
    answer(status, json!({ "error": { "code": code, "message": "bob@example.com: no" } }))
}

async fn serve(State(held): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut lost = None;
    let mut response = {
        let mut held = held.lock().expect("no panic");
        held.calls.push(format!("{method} {uri}"));
        if [Method::POST, Method::DELETE].contains(&method) {
            lost = held.lost_answer.take();
        }
        let body = String::from_utf8(body.to_vec()).expect("text");
        if method != Method::GET {
            held.bodies.push(body.clone());
        }
        let authorised = headers.get("authorization").is_some_and(|value| value == &format!("Bearer {TOKEN}"));
        match held.manner {
            _ if !authorised => answer(401, json!({})),
            Manner::Directus => directus(&mut held, &method, &uri, &body),
            _ => odata(&mut held, &method, &uri, &headers, &body),
        }
    };
    if [Method::POST, Method::DELETE].contains(&method)
        && let Some(status) = lost
    {
        response = answer(status, json!({}));
    }
    let date = jiff::fmt::strtime::format("%a, %d %b %Y %H:%M:%S GMT", jiff::Timestamp::now()).expect("a date");
    response.headers_mut().insert("date", date.parse().expect("a header"));
    response
}

/// `/items/contacts`: a page of 100 where nobody says how many; 403 for what is not there; 200 for writes of records that
/// are not, which are left out.
fn directus(held: &mut Held, method: &Method, uri: &Uri, body: &str) -> Response {
    let arguments = arguments(uri.query().unwrap_or_default());
    if let Some(key) = uri.path().strip_prefix("/items/contacts/").filter(|_| *method == Method::DELETE) {
        return match held.rows.remove(key) {
            Some(_) => StatusCode::NO_CONTENT.into_response(),
            None => directus_error(403, "FORBIDDEN"),
        };
    }
    if uri.path() != "/items/contacts" {
        return directus_error(403, "FORBIDDEN");
    }
    let fields: Vec<&str> = arguments.get("fields").map_or("*", String::as_str).split(',').collect();
    if *method == Method::GET {
        let filter = match arguments.get("filter").map(|text| Filter::of_json(text)) {
            Some(Some(filter)) => filter,
            Some(None) => return directus_error(400, "INVALID_QUERY"),
            None => Filter::Always,
        };
        let limit = arguments.get("limit").map_or(Some(100), |limit| limit.parse().ok());
        let Some(limit) = limit else { return directus_error(400, "INVALID_QUERY") };
        let mut rows: Vec<_> = held.sorted();
        if arguments.get("sort").map(String::as_str) != Some("id") {
            rows.reverse();
        }
        let mut shown = Vec::new();
        for (_, row) in rows {
            match filter.holds(&held.whole(row)) {
                Some(true) if shown.len() < limit.min(PAGE_MAX) => match held.shown(row, &fields) {
                    Some(row) => shown.push(row),
                    None => return directus_error(403, "FORBIDDEN"),
                },
                Some(_) => {}
                None => return directus_error(403, "FORBIDDEN"),
            }
        }
        return answer(200, json!({ "data": shown }));
    }
    if *method == Method::POST {
        return match held.create(body, clock()) {
            Ok(key) => answer(200, json!({ "data": held.shown(&held.rows[&key], &fields) })),
            Err(409) => {
                let message = "Value for field \"title\" in collection \"contacts\" has to be unique.";
                let error = json!({ "message": message, "extensions": { "code": "RECORD_NOT_UNIQUE" } });
                answer(400, json!({ "errors": [error] }))
            }
            Err(status) => directus_error(status, "FAILED_VALIDATION"),
        };
    }
    let Ok(Value::Array(items)) = serde_json::from_str(body) else { return directus_error(400, "INVALID_PAYLOAD") };
    if *method != Method::PATCH {
        return directus_error(404, "ROUTE_NOT_FOUND");
    }
    for item in &items {
        if item["title"] == json!(REFUSED) {
            return directus_error(400, "RECORD_NOT_UNIQUE");
        }
        if item.get("score").is_some_and(|score| !score.is_number() && !score.is_null()) {
            return directus_error(500, "INTERNAL_SERVER_ERROR");
        }
    }
    let at = clock();
    let mut shown = Vec::new();
    for item in items {
        let Value::Object(mut changes) = item else { return directus_error(400, "INVALID_PAYLOAD") };
        let key = changes.remove("id").map(|id| id.to_string()).unwrap_or_default();
        if held.rows.contains_key(&key) {
            held.edit(&key, &changes, at);
            shown.extend(held.shown(&held.rows[&key], &fields));
        }
    }
    answer(200, json!({ "data": shown }))
}

/// `/odata/v4/Contacts`: 428 without a condition, 412 where it does not hold; a relative `@odata.nextLink`.
fn odata(held: &mut Held, method: &Method, uri: &Uri, headers: &HeaderMap, body: &str) -> Response {
    let arguments = arguments(uri.query().unwrap_or_default());
    let path = crate::rest_query::decoded(uri.path());
    if path == "/odata/v4/$batch" && *method == Method::POST {
        return odata_batch(held, headers, body);
    }
    if path == "/odata/v4/Contacts" && *method == Method::GET {
        return odata_page(held, &arguments, headers);
    }
    if path == "/odata/v4/Contacts" && *method == Method::POST {
        let shows = headers.get("prefer").is_some_and(|prefer| prefer == "return=representation");
        return match held.create(body, clock()) {
            Ok(key) if shows => {
                let row = &held.rows[&key];
                let fields: Vec<&str> = row.keys().map(String::as_str).filter(|name| *name != "account").collect();
                answer(201, held.shown(row, &fields).expect("all are there"))
            }
            Ok(_) => StatusCode::NO_CONTENT.into_response(),
            Err(409) if held.manner == Manner::ODataBatch => odata_error(412, "DuplicateRecord"),
            Err(status) => odata_error(status, "BadRequest"),
        };
    }
    let key = path.strip_prefix("/odata/v4/Contacts('").and_then(|rest| rest.strip_suffix("')"));
    let Some(key) = key.map(|key| key.replace("''", "'")) else { return odata_error(404, "NoSuchPath") };
    if *method == Method::DELETE {
        // Dataverse asks for no condition.
        if held.manner == Manner::OData && headers.get("if-match").is_none() {
            return odata_error(428, "PreconditionRequired");
        }
        return match held.rows.remove(&key) {
            Some(_) => StatusCode::NO_CONTENT.into_response(),
            None => odata_error(404, "NotFound"),
        };
    }
    if *method != Method::PATCH {
        return odata_error(405, "MethodNotAllowed");
    }
    // Without a condition a PATCH would make the record.
    let Some(condition) = headers.get("if-match") else { return odata_error(428, "PreconditionRequired") };
    let Some(row) = held.rows.get(&key) else { return odata_error(404, "NotFound") };
    if condition != "*" && condition != Held::etag(row).as_str() {
        return odata_error(412, "PreconditionFailed");
    }
    let Ok(Value::Object(changes)) = serde_json::from_str(body) else { return odata_error(400, "BadRequest") };
    let is_sound = |(name, value): (&String, &Value)| match name.as_str() {
        "title" | "note" => value.is_string() || value.is_null(),
        "score" => value.is_number() || value.is_null(),
        _ => false,
    };
    if changes.get("title") == Some(&json!(REFUSED)) || !changes.iter().all(is_sound) {
        return odata_error(400, "BadRequest");
    }
    held.edit(&key, &changes, clock());
    let row = &held.rows[&key];
    if headers.get("prefer").is_some_and(|prefer| prefer == "return=representation") {
        let fields: Vec<&str> = row.keys().map(String::as_str).filter(|name| *name != "account").collect();
        return answer(200, held.shown(row, &fields).expect("all are there"));
    }
    StatusCode::NO_CONTENT.into_response()
}

fn odata_page(held: &Held, arguments: &BTreeMap<String, String>, headers: &HeaderMap) -> Response {
    let filter = match arguments.get("$filter").map(|text| Filter::of_odata(text)) {
        Some(Some(filter)) => filter,
        Some(None) => return odata_error(400, "BadRequest"),
        None => Filter::Always,
    };
    let preferred =
        headers.get("prefer").and_then(|prefer| prefer.to_str().ok()?.strip_prefix("odata.maxpagesize=")?.parse().ok());
    let top = arguments.get("$top").map_or(Some(usize::MAX), |top| top.parse().ok());
    let Some(top) = top else { return odata_error(400, "BadRequest") };
    let page = PAGE_MAX.min(preferred.unwrap_or(usize::MAX));
    let mut fields: Vec<String> =
        arguments.get("$select").map(|select| select.split(',').map(str::to_owned).collect()).unwrap_or_default();
    if let Some(expand) = arguments.get("$expand") {
        let Some((relation, select)) = expand.strip_suffix(')').and_then(|expand| expand.split_once("($select="))
        else {
            return odata_error(400, "BadRequest");
        };
        fields.extend(select.split(',').map(|field| format!("{relation}.{field}")));
    }
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let after = arguments.get("$skiptoken");
    let (mut shown, mut more, mut last) = (Vec::new(), false, String::new());
    for (key, row) in held.sorted() {
        if after.is_some_and(|after| key <= after) {
            continue;
        }
        match filter.holds(&held.whole(row)) {
            Some(true) if shown.len() >= top => {}
            Some(true) if shown.len() >= page => more = true,
            Some(true) => match held.shown(row, &fields) {
                Some(row) => {
                    shown.push(row);
                    last.clone_from(key);
                }
                None => return odata_error(400, "BadRequest"),
            },
            Some(false) => {}
            None => return odata_error(400, "BadRequest"),
        }
    }
    let mut body = json!({ "@odata.context": "$metadata#Contacts", "value": shown });
    if more {
        let others: Vec<String> = arguments
            .iter()
            .filter(|(name, _)| *name != "$skiptoken")
            .map(|(name, value)| format!("{name}={}", crate::rest_query::encoded(value)))
            .collect();
        let link = format!("Contacts?{}&$skiptoken={}", others.join("&"), crate::rest_query::encoded(&last));
        body["@odata.nextLink"] = json!(link);
    }
    answer(200, body)
}

/// Requests that stand for themselves; without the preference it stops at the first that fails.
fn odata_batch(held: &mut Held, headers: &HeaderMap, body: &str) -> Response {
    let goes_on = headers.get("prefer").is_some_and(|prefer| prefer == "odata.continue-on-error");
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let Some(boundary) = kind.strip_prefix("multipart/mixed; boundary=") else {
        return odata_error(415, "Unsupported");
    };
    let mut answers = String::new();
    for part in body.split(&format!("--{boundary}")).skip(1).filter(|part| !part.starts_with("--")) {
        let Some((about, request)) = part.trim_start().split_once("\r\n\r\n") else {
            return odata_error(400, "BadBatch");
        };
        if !about.contains("application/http") {
            return odata_error(400, "BadBatch");
        }
        let (head, body) = request.split_once("\r\n\r\n").expect("a request has a head");
        let mut lines = head.lines();
        let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let method: Method = first[0].parse().expect("a method");
        // As the strictest of them: relative to the service, and in no other form.
        if first[1].contains("//") || first[1].starts_with('/') {
            return odata_error(400, "BadBatch");
        }
        let uri: Uri = format!("/odata/v4/{}", first[1]).parse().expect("an address");
        let mut own: HeaderMap = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").expect("a header");
            own.insert(name.parse::<axum::http::HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        let length: usize = own["content-length"].to_str().expect("text").parse().expect("a length");
        let answered = odata(held, &method, &uri, &own, &body[..length]);
        let status = answered.status();
        let bytes =
            futures::executor::block_on(axum::body::to_bytes(answered.into_body(), usize::MAX)).expect("a body");
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        answers.push_str(&format!(
            "--answers\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 {status}\r\n\
             Content-Type: application/json\r\n\r\n{text}\r\n"
        ));
        if !status.is_success() && !goes_on {
            break;
        }
    }
    answers.push_str("--answers--\r\n");
    ([("content-type", "multipart/mixed; boundary=answers")], answers).into_response()
}

impl Home {
    /// The description of the API: the profile as it ships, and what a test adds to it.
    pub fn api(&self, address: &str, more: &str) -> Api {
        let own = match self.manner {
            Manner::Directus => "profile = \"directus\"\ndeleted = { field = \"status\", values = [\"archived\"] }",
            Manner::OData => "profile = \"odata\"\ndeleted = { field = \"status\", values = [\"archived\"] }",
            Manner::ODataBatch => {
                "profile = \"dataverse\"\nkey = \"ID\"\nkey_is = \"text\"\nmodified = \"modifiedAt\"\ncreated = \"createdAt\"\n\
                 related_modified = \"modifiedAt\"\ndeleted = { field = \"status\", values = [\"archived\"] }\n\
                 write.path = \"/{collection}({literal})\"\ndelete.path = \"/{collection}({literal})\""
            }
        };
        let collection = if self.manner == Manner::Directus { "contacts" } else { "Contacts" };
        api(address, &format!("collection = \"{collection}\"\n{own}\n{more}"))
    }

    pub async fn peer_with(&self, records: usize, fields: &[(&str, FieldType)], more: &str) -> Peer {
        let mut held = Held {
            manner: self.manner,
            rows: BTreeMap::new(),
            accounts: BTreeMap::new(),
            next: 0,
            calls: Vec::new(),
            bodies: Vec::new(),
            unique_titles: false,
            lost_answer: None,
        };
        let at = clock();
        for number in 1..=records {
            held.add(&format!("title {number}"), at);
        }
        let held: Shared = Arc::new(Mutex::new(held));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let router = axum::Router::new().fallback(serve).with_state(Arc::clone(&held));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let address = if self.manner == Manner::Directus { address } else { format!("{address}/odata/v4") };
        let connector = connector(&address, self.api(&address, more), fields, TOKEN);
        Peer { held, address, connector, manner: self.manner }
    }

    pub async fn peer(&self, records: usize) -> Peer {
        self.peer_with(records, &[("title", FieldType::String), ("note", FieldType::String)], "").await
    }
}

/// What a configuration makes of these lines of `[crm.erp]`.
pub fn api(address: &str, lines: &str) -> Api {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("attune.toml");
    let text = format!(
        "[store.acme]\nstore_hash = \"abc\"\naccess_token = {{ env = \"T\" }}\ncrm = \"erp\"\nmapping = \"b2b\"\n\
         [mapping.b2b]\nmatch = [{{ store = \"customer:email\", crm = \"note\" }}]\n\
         field = [{{ store = \"attribute:Title\", crm = \"title\" }}]\n\
         [crm.erp]\nkind = \"rest\"\nurl = \"{address}\"\n\
         auth = {{ header = \"Authorization\", prefix = \"Bearer \", secret = {{ env = \"T\" }} }}\n{lines}\n"
    );
    std::fs::write(&file, text).expect("the file is written");
    let config = config::load(&[file], Vec::new()).unwrap_or_else(|problems| panic!("{problems}"));
    let CrmKind::Rest(settings) = &config.crms["erp"].kind else { panic!("no API") };
    settings.api.clone()
}

pub fn connector(address: &str, api: Api, fields: &[(&str, FieldType)], token: &str) -> Rest {
    let token = token.to_owned();
    Rest::new(Settings {
        name: "erp".to_owned(),
        url: address.to_owned(),
        auth: Auth::Header {
            header: "Authorization".to_owned(),
            prefix: "Bearer ".to_owned(),
            secret: Arc::new(move || Ok(SecretString::from(token.clone()))),
        },
        api,
        quota: None,
        fields: fields.iter().map(|(name, kind)| FieldWanted::new(*name, *kind)).collect(),
        patience: Duration::ZERO,
        cancel: CancellationToken::new(),
        // Connections belong to the runtime of one test.
        client: Client::new(Timeouts::default()),
    })
    .expect("the settings are sound")
}

#[async_trait]
impl Place for Home {
    async fn world(&self, records: usize) -> Box<dyn World> {
        Box::new(self.peer(records).await)
    }
}

impl Peer {
    pub fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().expect("no panic")
    }

    fn change(&self, key: &Key, name: &str, value: Value) {
        let changes = [(name.to_owned(), value)].into_iter().collect();
        self.held().edit(key.as_str(), &changes, clock());
    }
}

#[async_trait]
impl World for Peer {
    fn connector(&self) -> &dyn Connector {
        &self.connector
    }

    async fn keys(&self) -> Vec<Key> {
        self.held().sorted().into_iter().map(|(key, _)| Key::new(key.as_str())).collect()
    }

    async fn edit(&self, key: &Key, field: usize, value: Option<&str>) {
        let name = match field {
            TITLE => "title",
            NOTE => "note",
            _ => panic!("no such field"),
        };
        self.change(key, name, json!(value));
    }

    async fn add(&self, title: &str) -> Key {
        Key::new(self.held().add(title, clock()))
    }

    async fn remove(&self, key: &Key) {
        self.held().rows.remove(key.as_str()).expect("it was there");
    }

    async fn mark_deleted(&self, key: &Key) -> bool {
        self.change(key, "status", json!("archived"));
        true
    }

    async fn storm(&self, title: &str) -> Timestamp {
        let at = clock();
        let changes: Map<String, Value> = [("title".to_owned(), json!(title))].into_iter().collect();
        let keys: Vec<String> = self.held().rows.keys().cloned().collect();
        keys.iter().for_each(|key| self.held().edit(key, &changes, at));
        at
    }

    async fn make_titles_unique(&self) -> bool {
        self.held().unique_titles = true;
        true
    }

    /// The server sets it on every write.
    async fn set_modified(&self, _key: &Key, _modified: Timestamp) -> bool {
        false
    }

    async fn now(&self) -> Timestamp {
        debug_assert!(matches!(self.manner, Manner::Directus | Manner::OData | Manner::ODataBatch));
        clock()
    }
}
