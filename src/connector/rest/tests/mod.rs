//! The connector against servers that answer as APIs do, and as they should not. What a whole one answers is in the contract.

mod auth;
mod looking;
mod paging;
mod reading;
mod writing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::Rest;
use super::settings::{Auth, Settings};
use crate::connector::{Connector, End, FieldWanted, Lane, Page, Unreserved};
use crate::http::{Client, Timeouts};
use crate::model::{
    Api, ApiBody, ApiKeyIs, ApiList, ApiPaging, ApiRead, ApiWrite, Cell, Class, DefinitionState, Existence, Failure,
    FieldType, Holds, Key, Outcome, Seen, Timestamp, Value, Write,
};

const SECRET: &str = "hunter2-secret";

const NOW: &Unreserved = &Unreserved(Lane::Fresh);

struct Server {
    http: MockServer,
    /// Method, path and query of each call, and its body.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Server {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap()).into_iter().map(|(asked, _)| asked).collect()
    }

    fn settings(&self, api: Api) -> Settings {
        Settings {
            name: "erp".to_owned(),
            url: self.http.uri(),
            auth: Auth::Header {
                header: "X-Key".to_owned(),
                prefix: String::new(),
                secret: Arc::new(|| Ok(SecretString::from(SECRET))),
            },
            api,
            quota: None,
            fields: vec![FieldWanted::new("title", FieldType::String)],
            patience: Duration::ZERO,
            cancel: CancellationToken::new(),
            client: Client::new(Timeouts { total: Duration::from_millis(1500), ..Timeouts::default() }),
        }
    }

    fn connector(&self, api: Api) -> Rest {
        Rest::new(self.settings(api)).unwrap()
    }
}

async fn server(answers: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static) -> Server {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let http = MockServer::start().await;
    let respond = move |request: &Request| {
        let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let line = format!("{} {}{query}", request.method, request.url.path());
        log.lock().unwrap().push((line, String::from_utf8_lossy(&request.body).into_owned()));
        let answer = answers(request);
        answer.insert_header("date", "Tue, 06 Jan 2026 10:00:00 GMT")
    };
    Mock::given(any()).respond_with(respond).mount(&http).await;
    Server { http, asked }
}

/// A plain API: pages by key, one record for each write, read back.
fn api() -> Api {
    Api {
        collection: None,
        key: "id".to_owned(),
        key_is: ApiKeyIs::Number,
        modified: Some("updated".to_owned()),
        created: None,
        deleted: None,
        related_modified: None,
        etag: None,
        time: "%Y-%m-%dT%H:%M:%SZ".to_owned(),
        clears_with_empty: false,
        omits_nulls: false,
        types: BTreeMap::new(),
        headers: BTreeMap::new(),
        list: ApiList {
            path: "/contacts".to_owned(),
            query: "limit={limit}".to_owned(),
            records: "/data".to_owned(),
            page_size: 3,
            paging: ApiPaging::Key { after: "after={key}".to_owned(), next: None },
            total: None,
            filter: "&{conditions}".to_owned(),
            and: "&".to_owned(),
            since: Some("since={since}".to_owned()),
            since_related: None,
            any: "({conditions})".to_owned(),
            or: " or ".to_owned(),
            keys: Some("ids={keys}".to_owned()),
            each: "{key}".to_owned(),
            between: ",".to_owned(),
            keys_max: 50,
            expand: None,
            relation: "{relation}".to_owned(),
            between_relations: ",".to_owned(),
            headers: BTreeMap::new(),
        },
        read: None,
        create: None,
        delete: None,
        write: Some(ApiWrite {
            method: "PATCH".to_owned(),
            path: "/contacts/{key}".to_owned(),
            query: String::new(),
            body: ApiBody::Record,
            batch: 50,
            records: None,
            missing: vec![404, 410],
            refused: vec![500],
            headers: BTreeMap::new(),
        }),
    }
}

fn paged(paging: ApiPaging, query: &str, total: Option<&str>) -> Api {
    let mut api = api();
    api.list.paging = paging;
    api.list.query = query.to_owned();
    api.list.total = total.map(str::to_owned);
    api
}

fn good(body: Json) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn row(id: u64, title: &str) -> Json {
    json!({ "id": id, "title": title, "updated": "2026-01-05T10:00:00Z" })
}

fn rows(ids: impl IntoIterator<Item = u64>) -> Json {
    json!({ "data": ids.into_iter().map(|id| row(id, "Buyer")).collect::<Vec<_>>() })
}

fn argument(request: &Request, name: &str) -> Option<String> {
    request.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn number(request: &Request, name: &str) -> Option<u64> {
    argument(request, name).map(|text| text.parse().unwrap())
}

fn write(id: u64, value: Option<&str>) -> Write {
    let key = Key::new(id.to_string());
    Write { key, field: 0, expect: Cell::absent(), value: value.map(Value::text), modified: None }
}

fn is_quiet(failure: &Failure) {
    let text = failure.to_string();
    assert!(!text.contains("bob@") && !text.contains(SECRET), "{text}");
}

async fn everything(connector: &Rest) -> Result<(Vec<u64>, End), Failure> {
    let pages: Vec<Page> = connector.everything().try_collect().await?;
    let end = pages.last().unwrap().end.unwrap();
    let keys = pages.iter().flat_map(|page| &page.observed).map(|record| record.key.as_str().parse().unwrap());
    Ok((keys.collect(), end))
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Written { stored } => format!("written {:?}", stored.seen.value().map(Value::display)),
        Outcome::Changed => "changed".to_owned(),
        Outcome::Gone => "gone".to_owned(),
        Outcome::Rejected(why) => {
            assert!(!why.contains("bob@") && !why.contains("Buyer"), "{why}");
            "rejected".to_owned()
        }
        Outcome::BatchRejected(failure) => {
            is_quiet(failure);
            "batch".to_owned()
        }
        Outcome::NotSent(failure) => {
            is_quiet(failure);
            format!("not sent {:?}", failure.class)
        }
        Outcome::Unknown(failure) => {
            is_quiet(failure);
            assert!(failure.may_have_happened);
            "unknown".to_owned()
        }
    }
}

fn refusal(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
        .set_body_json(json!({ "error": { "code": "no", "message": "bob@example.com Buyer" } }))
}
