//! The connector against servers that answer as BigCommerce does, and as it should not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{BigCommerce, FEED_ATTRIBUTE_VALUES, FEED_CUSTOMERS, FieldWanted, Settings};
use crate::connector::{Connector, End, Lane, Page, Unreserved};
use crate::http::{Client, Timeouts};
use crate::model::{
    Cell, Class, DefinitionState, Existence, Failure, FieldType, Key, Outcome, Seen, Timestamp, Value, Write,
};

mod beside;
mod making;
mod reading;
mod resources;
mod trouble;
mod writing;

const TOKEN: &str = "hunter2-secret-token";

const NO_RESERVATION: &Unreserved = &Unreserved(Lane::Fresh);

fn settings(api_url: &str, fields: &[&str]) -> Settings {
    Settings {
        name: "acme".to_owned(),
        store_hash: "abc123".to_owned(),
        api_url: api_url.to_owned(),
        access_token: Arc::new(|| Ok(SecretString::from(TOKEN))),
        share: 0.8,
        fields: fields.iter().map(|name| FieldWanted::new(*name, FieldType::String)).collect(),
        create_attributes: false,
        create_groups: false,
        patience: Duration::ZERO,
        cancel: CancellationToken::new(),
        client: Client::new(Timeouts { total: Duration::from_millis(1500), ..Timeouts::default() }),
    }
}

/// A server that answers every request (without the path's beginning that all share) as the function says.
async fn server(answer: impl Fn(&Call) -> ResponseTemplate + Send + Sync + 'static) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(move |request: &Request| answer(&Call::of(request))).mount(&server).await;
    server
}

struct Call {
    /// `GET /customers?limit=250`, exactly as it was sent.
    line: String,
    token: String,
    body: Json,
}

impl Call {
    fn of(request: &Request) -> Self {
        let path = request.url.path();
        let path =
            path.strip_prefix("/stores/abc123/v3").or(path.strip_prefix("/stores/abc123")).unwrap_or("elsewhere");
        let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let token = request.headers.get("x-auth-token").map(|token| token.to_str().unwrap().to_owned());
        Self {
            line: format!("{} {path}{query}", request.method),
            token: token.unwrap_or_default(),
            body: serde_json::from_slice(&request.body).unwrap_or_default(),
        }
    }
}

/// A server whose answers carry a status, JSON and nothing else, and the lines that it was asked.
async fn bare_server(
    answer: impl Fn(&str) -> (u16, Json) + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn({
        let asked = Arc::clone(&asked);
        async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 65_536];
                let length = socket.read(&mut request).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&request[..length]).into_owned();
                let line = head.split(" HTTP/").next().unwrap_or_default().replace("/stores/abc123", "");
                let (status, body) = answer(&line);
                asked.lock().unwrap().push(line);
                let body = body.to_string();
                let head =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = socket.write_all((head + &body).as_bytes()).await;
            }
        }
    });
    (address, asked)
}

async fn calls(server: &MockServer) -> Vec<String> {
    server.received_requests().await.unwrap().iter().map(|request| Call::of(request).line).collect()
}

fn good(body: Json) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn definitions() -> Json {
    json!({"data": [
        {"id": 1, "name": "Job title", "type": "string", "date_created": "2020-01-01T00:00:00Z"},
        {"id": 2, "name": "Wholesaler ID", "type": "string"},
    ], "meta": {"pagination": {"total": 2, "total_pages": 1}}})
}

fn value(id: u64, customer: u64, attribute: u64, text: &str) -> Json {
    json!({"id": id, "attribute_id": attribute, "attribute_value": text, "customer_id": customer,
        "date_created": "2026-01-01T00:00:00Z", "date_modified": "2026-01-02T03:04:05Z"})
}

const FIELDS: &[&str] = &["attribute:Job title", "attribute:Wholesaler ID", "customer:email"];

/// A prepared store on a server that answers definitions itself, and the rest as the function says.
async fn prepared(answer: impl Fn(&Call) -> ResponseTemplate + Send + Sync + 'static) -> (MockServer, BigCommerce) {
    prepared_with(|_| {}, answer).await
}

async fn prepared_with(
    adjust: impl FnOnce(&mut Settings),
    answer: impl Fn(&Call) -> ResponseTemplate + Send + Sync + 'static,
) -> (MockServer, BigCommerce) {
    let server =
        server(
            move |call| {
                if call.line.starts_with("GET /customers/attributes?") { good(definitions()) } else { answer(call) }
            },
        )
        .await;
    let mut settings = settings(&server.uri(), FIELDS);
    adjust(&mut settings);
    let store = BigCommerce::new(settings).unwrap();
    store.prepare(&[], false).await.unwrap();
    (server, store)
}

fn since() -> Timestamp {
    Timestamp::parse("2026-01-02T00:00:00Z").unwrap()
}

async fn feed(store: &BigCommerce, feed: &'static str) -> Vec<Result<Page, Failure>> {
    store.changes(feed, since()).collect().await
}

fn text(cell: &Cell) -> &str {
    match &cell.seen {
        Seen::Value(Value::Text(text)) => text,
        Seen::Absent => "absent",
        _ => "unseen",
    }
}

fn shown(page: &Page) -> Vec<(String, Vec<&str>)> {
    let row = |record: &crate::model::Observed| record.key.to_string();
    page.observed.iter().map(|record| (row(record), record.cells.iter().map(text).collect())).collect()
}

fn write(customer: u64, field: usize, value: Option<&str>, token: Option<&str>) -> Write {
    Write {
        key: Key::new(customer.to_string()),
        field,
        expect: Cell { token: token.map(str::to_owned), ..Cell::default() },
        value: value.map(Value::text),
        modified: None,
    }
}

fn said(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Written { .. } => "written",
            Outcome::Changed => "changed",
            Outcome::Gone => "gone",
            Outcome::Rejected(_) => "rejected",
            Outcome::BatchRejected(_) => "batch rejected",
            Outcome::NotSent(_) => "not sent",
            Outcome::Unknown(_) => "unknown",
        })
        .collect()
}
