//! The connector against servers that answer as an Odoo does, and as it should not. What a real one answers is in the contract.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt;
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{Odoo, Settings};
use crate::connector::{Connector, Created, FieldWanted, Lane, Lifecycle, NewRecord, Page, Removed, Unreserved};
use crate::http::{Client, Timeouts};
use crate::model::{Cell, Class, Existence, Failure, FieldType, Key, Outcome, Timestamp, Value, Write};

const KEY: &str = "hunter2-secret-key";

const NOW: &Unreserved = &Unreserved(Lane::Fresh);

/// Answers one call: its method (or its path) and its body.
type Answers = Arc<dyn Fn(&str, &Json) -> ResponseTemplate + Send + Sync>;

struct Server {
    http: MockServer,
    /// `search_read`, `load`, … in their order, without what is asked at start.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn connector(&self) -> Odoo {
        Odoo::new(self.settings()).unwrap()
    }

    fn settings(&self) -> Settings {
        Settings {
            name: "erp".to_owned(),
            url: self.http.uri(),
            database: "crm".to_owned(),
            user: None,
            api_key: Arc::new(|| Ok(SecretString::from(KEY))),
            model: "res.partner".to_owned(),
            quota: None,
            fields: vec![FieldWanted::new("function", FieldType::String)],
            patience: Duration::ZERO,
            cancel: CancellationToken::new(),
            client: Client::new(Timeouts { total: Duration::from_millis(1500), ..Timeouts::default() }),
        }
    }
}

/// A server of version 19 with one text field, that answers everything else as the function says.
async fn server(answers: impl Fn(&str, &Json) -> ResponseTemplate + Send + Sync + 'static) -> Server {
    let answers: Answers = Arc::new(answers);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let http = MockServer::start().await;
    let respond = move |request: &Request| {
        let path = request.url.path();
        let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
        let answer = match path {
            "/json/version" => good(json!({ "version_info": [19, 0, 0, "final", 0, ""], "version": "19.0" })),
            "/json/2/res.partner/fields_get" => good(json!({
                "function": { "type": "char", "readonly": false, "required": false },
                "active": { "type": "boolean", "readonly": false, "required": false },
            })),
            "/json/2/res.partner/has_access" => good(json!(true)),
            "/json/2/ir.config_parameter/get_param" => good(json!("uuid-1")),
            "/json/2/res.users.apikeys/search_read" => good(json!([])),
            _ => {
                let method = path.rsplit('/').next().unwrap_or_default().to_owned();
                log.lock().unwrap().push(method.clone());
                return answers(&method, &body);
            }
        };
        if request.headers.get("authorization").is_some_and(|value| value == "bearer refused") {
            return exception(401, "werkzeug.exceptions.Unauthorized");
        }
        answer
    };
    Mock::given(any()).respond_with(respond).mount(&http).await;
    Server { http, asked }
}

fn good(body: Json) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body).insert_header("date", "Tue, 06 Jan 2026 10:00:00 GMT")
}

fn exception(status: u16, name: &str) -> ResponseTemplate {
    let body = json!({ "name": name, "message": "bob@example.com is no good", "arguments": [], "debug": "Traceback" });
    ResponseTemplate::new(status).set_body_json(body)
}

fn row(id: i64, function: &str) -> Json {
    json!({ "id": id, "function": function, "active": true, "write_date": "2026-01-05 10:00:00" })
}

fn write(id: i64) -> Write {
    let (key, value) = (Key::new(id.to_string()), Some(Value::text("Buyer")));
    Write { key, field: 0, expect: Cell::absent(), value, modified: None }
}

fn is_quiet(failure: &Failure) {
    assert!(!failure.to_string().contains("bob@") && !failure.to_string().contains(KEY), "{failure}");
}

#[tokio::test]
async fn what_became_of_a_write_is_told_by_the_answer_and_not_by_its_status() {
    let refusal = || json!({ "ids": false, "messages": [{ "type": "error", "record": 0, "field": "function", "message": "bob@" }] });
    let nameless = || json!({ "ids": false, "messages": [{ "type": "error", "message": "bob@" }] });
    let gone =
        || json!({ "ids": false, "messages": [{ "type": "error", "record": 1, "field": ".id", "message": "?" }] });
    // What is said of the whole comes first, as if it were of the first row.
    let said = |row: usize| json!({ "type": "error", "record": row, "message": "bob@" });
    let of_all = || json!({ "ids": false, "messages": [said(0), said(1)] });
    let cases: [(&str, ResponseTemplate, [&str; 2]); 13] = [
        ("all of them, then one", good(of_all()), ["batch", "rejected"]),
        ("both written", good(json!({ "ids": [1, 2], "messages": [] })), ["written", "written"]),
        ("a bad value", good(refusal()), ["rejected", "batch"]),
        ("no name", good(nameless()), ["batch", "batch"]),
        ("one is gone", good(gone()), ["batch", "gone"]),
        ("fewer ids", good(json!({ "ids": [1], "messages": [] })), ["unknown", "unknown"]),
        ("another shape", good(json!([])), ["unknown", "unknown"]),
        ("cut off", ResponseTemplate::new(200).set_body_string("{\"ids\": [1"), ["unknown", "unknown"]),
        ("an exception for good", exception(500, "builtins.ValueError"), ["batch", "batch"]),
        ("a passing one", exception(500, "psycopg2.errors.SerializationFailure"), ["not sent", "not sent"]),
        ("a refused key", exception(401, "werkzeug.exceptions.Unauthorized"), ["not sent", "not sent"]),
        ("what stands in between", ResponseTemplate::new(502).set_body_string("<html>"), ["unknown", "unknown"]),
        ("too many calls", ResponseTemplate::new(429).insert_header("retry-after", "1"), ["not sent", "not sent"]),
    ];
    for (case, answer, expected) in cases {
        let server = server(move |method, _| match method {
            "load" => answer.clone(),
            "search_read" => good(json!([row(1, "Buyer"), row(2, "Buyer")])),
            other => panic!("{other}"),
        })
        .await;
        let connector = server.connector();
        let outcomes = connector.write(&[write(1), write(2)], NOW).await;
        let words = outcomes.iter().map(|outcome| match outcome {
            Outcome::Written { stored } => {
                assert_eq!(*stored, Cell::text("Buyer"));
                "written"
            }
            Outcome::Rejected(why) => {
                assert!(!why.contains("bob@"), "{why}");
                "rejected"
            }
            Outcome::BatchRejected(failure) => {
                is_quiet(failure);
                "batch"
            }
            Outcome::Gone => "gone",
            Outcome::Changed => "changed",
            Outcome::NotSent(failure) => {
                is_quiet(failure);
                assert!(!failure.may_have_happened);
                "not sent"
            }
            Outcome::Unknown(failure) => {
                is_quiet(failure);
                assert!(failure.may_have_happened);
                "unknown"
            }
        });
        assert_eq!(words.collect::<Vec<_>>(), expected, "{case}");
        let asked = server.asked();
        assert_eq!(asked.iter().filter(|method| *method == "load").count(), 1, "{case}: a write is sent once");
    }
}

#[tokio::test]
async fn a_record_that_is_gone_before_it_is_read_back_is_unknown() {
    let server = server(|method, _| match method {
        "load" => good(json!({ "ids": [1, 2], "messages": [] })),
        _ => good(json!([row(1, "Buyer")])),
    })
    .await;
    let outcomes = server.connector().write(&[write(1), write(2)], NOW).await;
    assert!(matches!(outcomes[..], [Outcome::Written { .. }, Outcome::Unknown(_)]), "{outcomes:?}");
}

#[tokio::test]
async fn a_page_that_is_too_large_is_asked_for_in_smaller_ones() {
    let limits = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&limits);
    let server = server(move |_, body| {
        let (limit, after) = (body["limit"].as_i64().unwrap(), body["domain"][0][2].as_i64().unwrap());
        seen.lock().unwrap().push(limit);
        let long = "x".repeat(if limit > 500 { 20_000 } else { 10 });
        good(Json::Array((after + 1..=(after + limit).min(1_500)).map(|id| row(id, &long)).collect()))
    })
    .await;
    let connector = server.connector();
    let pages: Vec<Page> = connector.everything().try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.observed.len()).sum::<usize>(), 1_500);
    assert_eq!(limits.lock().unwrap()[..2], [1_000, 125]);
}

#[tokio::test]
async fn pages_that_do_not_go_on_end_the_read() {
    let server = server(|_, _| good(Json::Array((1..=1_000).map(|id| row(id, "x")).collect()))).await;
    let connector = server.connector();
    let failure = connector.everything().try_collect::<Vec<Page>>().await.unwrap_err();
    assert_eq!(failure.class, Class::Broken, "{failure}");
}

#[tokio::test]
async fn reads_that_fail_tell_what_to_do() {
    for (answer, class, word) in [
        (exception(500, "builtins.ValueError"), Class::Misconfigured, "a field"),
        (exception(403, "odoo.exceptions.AccessError"), Class::Auth, "rights"),
        (exception(401, "werkzeug.exceptions.Unauthorized"), Class::Auth, "api_key"),
        (exception(500, "psycopg2.OperationalError"), Class::Retry, "again"),
        (ResponseTemplate::new(404).set_body_string("<html>"), Class::Misconfigured, "`database`"),
        (ResponseTemplate::new(200).set_body_string("[{\"id\": 1"), Class::Broken, "cut off"),
        (good(json!([row(1, "x")])).insert_header("date", "yesterday"), Class::Broken, "`Date`"),
        (good(json!({ "id": 1 })), Class::Broken, "a shape"),
    ] {
        let server = server(move |_, _| answer.clone()).await;
        let connector = server.connector();
        let failure = connector.everything().try_collect::<Vec<Page>>().await.unwrap_err();
        is_quiet(&failure);
        assert_eq!(failure.class, class, "{failure}");
        assert!(failure.message.contains(word), "{failure}");
    }
}

#[tokio::test]
async fn a_key_that_was_changed_is_found_in_mid_run() {
    let server = server(|_, _| good(json!([row(1, "x")]))).await;
    let reads = Arc::new(AtomicUsize::new(0));
    let mut settings = server.settings();
    let counted = Arc::clone(&reads);
    settings.api_key = Arc::new(move || {
        let refused = counted.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(SecretString::from(if refused { "refused" } else { KEY }))
    });
    Odoo::new(settings).unwrap().prepare(&[], false).await.unwrap();
    assert_eq!(reads.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn the_older_protocol_logs_in_and_hides_the_key_in_the_body() {
    let http = MockServer::start().await;
    let keys = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&keys);
    let respond = move |request: &Request| {
        if request.url.path() != "/jsonrpc" {
            return ResponseTemplate::new(404).set_body_string("<html>");
        }
        let body: Json = serde_json::from_slice(&request.body).unwrap();
        let arguments = &body["params"]["args"];
        seen.lock().unwrap().push(arguments[2].as_str().unwrap().to_owned());
        let result = match (body["params"]["method"].as_str().unwrap(), arguments[4].as_str()) {
            ("authenticate", _) if arguments[2] == "first \"key\"" => json!(false),
            ("authenticate", _) => json!(7),
            ("execute_kw", Some("fields_get")) => json!({ "function": { "type": "char" } }),
            ("execute_kw", Some("has_access")) => {
                let data = json!({ "name": "builtins.AttributeError", "message": "no such method" });
                return good(json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 200, "data": data } }));
            }
            ("execute_kw", Some("check_access_rights")) => json!(true),
            // Version 14 knows the domain by another name: it goes by its place.
            ("execute_kw", Some("search_count")) => {
                assert!(arguments[5][0].is_array() && arguments[6].get("domain").is_none(), "{arguments}");
                json!(3)
            }
            ("execute_kw", Some("get_param")) => json!("uuid-2"),
            ("execute_kw", Some("search_read")) if arguments[3] == "res.users.apikeys" => {
                let data = json!({ "name": "builtins.ValueError", "message": "Invalid field expiration_date" });
                return good(json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 200, "data": data } }));
            }
            other => panic!("{other:?}"),
        };
        good(json!({ "jsonrpc": "2.0", "id": 1, "result": result }))
    };
    Mock::given(any()).respond_with(respond).mount(&http).await;
    let server = Server { http, asked: Arc::default() };
    let reads = Arc::new(AtomicUsize::new(0));
    let mut settings = server.settings();
    settings.user = Some("sync".to_owned());
    settings.api_key = Arc::new(move || {
        let first = reads.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(SecretString::from(if first { "first \"key\"" } else { "second" }))
    });
    let connector = Odoo::new(settings).unwrap();
    let failure = connector.prepare(&[], false).await.unwrap_err();
    assert_eq!(failure.class, Class::Auth, "a refusal that is no status: {failure}");
    let prepared = connector.prepare(&[], false).await.unwrap();
    assert_eq!(prepared.identity, "odoo uuid-2 res.partner");
    assert_eq!(connector.lookup().unwrap().count(Lane::Fresh).await.unwrap(), 3);
    let keys = std::mem::take(&mut *keys.lock().unwrap());
    assert_eq!(keys[0], "first \"key\"", "as it is, whatever it holds");
    assert!(keys[1..].iter().all(|key| key == "second"), "{keys:?}");
}

#[tokio::test]
async fn the_older_protocol_wants_a_user() {
    let http = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(404)).mount(&http).await;
    let server = Server { http, asked: Arc::default() };
    let failure = server.connector().prepare(&[], false).await.unwrap_err();
    assert!(failure.class == Class::Misconfigured && failure.message.contains("`user`"), "{failure}");
}

#[tokio::test]
async fn windows_have_no_zone_and_no_end() {
    let server = server(|_, body| {
        assert_eq!(body["domain"], json!([["write_date", ">=", "2026-01-05 10:00:00"], ["id", ">", 0]]));
        assert_eq!(body["context"], json!({ "active_test": false, "lang": "en_US", "tz": "UTC" }));
        good(json!([row(1, "x"), { "id": 2, "function": "y", "active": false, "write_date": "2026-01-05 10:00:01" }]))
    })
    .await;
    let connector = server.connector();
    let since = Timestamp::parse("2026-01-05T10:00:00.999Z").unwrap();
    let pages: Vec<Page> = connector.changes("records", since).try_collect().await.unwrap();
    let existence: Vec<_> = pages[0].observed.iter().map(|record| record.existence.clone()).collect();
    assert_eq!(existence, [Existence::Present, Existence::Gone], "archived is gone");
    assert!(pages[0].clock < Timestamp::parse("2026-01-06T10:00:00Z").unwrap());
}

fn record(token: &str) -> NewRecord {
    NewRecord { token: token.to_owned(), values: vec![(0, Value::text("Buyer"))] }
}

#[tokio::test]
async fn what_became_of_a_creation_is_told_by_the_answer_and_not_by_its_status() {
    let messages = |messages: Json| good(json!({ "ids": false, "messages": messages }));
    let about = |row: usize, words: &str| json!({ "type": "error", "record": row, "message": words });
    let cases: [(&str, ResponseTemplate, [&str; 2]); 11] = [
        ("both made", good(json!({ "ids": [7, 8], "messages": [] })), ["made 7", "made 8"]),
        ("one is refused", messages(json!([about(1, "bob@")])), ["batch", "rejected"]),
        // What is said of the first comes first, and again of the one that it is about.
        ("all of them, then one", messages(json!([about(0, "bob@"), about(1, "bob@")])), ["batch", "rejected"]),
        ("one is there", messages(json!([about(0, "The name must be unique!")])), ["exists", "batch"]),
        ("no name", messages(json!([{ "type": "error", "message": "bob@" }])), ["batch", "batch"]),
        ("fewer ids", good(json!({ "ids": [7], "messages": [] })), ["unknown", "unknown"]),
        ("another shape", good(json!([])), ["unknown", "unknown"]),
        ("an exception for good", exception(500, "builtins.ValueError"), ["batch", "batch"]),
        ("a passing one", exception(500, "psycopg2.errors.SerializationFailure"), ["not sent", "not sent"]),
        ("what stands in between", ResponseTemplate::new(502).set_body_string("<html>"), ["unknown", "unknown"]),
        ("no answer in time", good(json!({})).set_delay(Duration::from_secs(5)), ["unknown", "unknown"]),
    ];
    for (what, answer, expected) in cases {
        let server = server(move |method, body| {
            assert_eq!(method, "load", "{what}");
            assert_eq!(body["fields"], json!(["id", "function", "active"]));
            assert_eq!(body["data"], json!([["attune.a_1", "Buyer", "1"], ["attune.b_2", "Buyer", "1"]]));
            assert_eq!((&body["context"]["mode"], &body["context"]["noupdate"]), (&json!("update"), &json!(true)));
            answer.clone()
        })
        .await;
        let outcomes = server.connector().create(&[record("a_1"), record("b_2")], NOW).await;
        let words: Vec<String> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Created::Made(key) => format!("made {key}"),
                Created::Exists(_) => "exists".to_owned(),
                Created::Rejected(why) => {
                    assert!(!why.contains("bob@"), "{why}");
                    "rejected".to_owned()
                }
                Created::BatchRejected(failure) => {
                    is_quiet(failure);
                    "batch".to_owned()
                }
                Created::NotSent(_) => "not sent".to_owned(),
                Created::Unknown(failure) => {
                    assert!(failure.may_have_happened, "{what}");
                    "unknown".to_owned()
                }
            })
            .collect();
        assert_eq!(words, expected, "{what}");
        assert_eq!(server.asked(), ["load"], "{what}: sent once");
    }
}

#[tokio::test]
async fn a_removal_whose_answer_was_lost_is_unknown() {
    let server = server(|method, body| match method {
        "search_read" => good(json!([row(1, "a"), row(2, "b")])),
        _ => {
            assert_eq!((method, &body["vals"]), ("write", &json!({ "active": false })));
            ResponseTemplate::new(502).set_body_string("<html>")
        }
    })
    .await;
    let outcomes = server.connector().remove(&[Key::new("1"), Key::new("2")], NOW).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Removed::Unknown(_))), "{outcomes:?}");
    assert_eq!(server.asked(), ["search_read", "write"], "nothing is sent twice");
}
