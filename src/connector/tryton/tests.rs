//! The connector against servers that answer as a Tryton does, and as it should not. What a real one answers is in the contract.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt;
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{Settings, Tryton};
use crate::connector::{Connector, FieldWanted, Lane, Page, Unreserved};
use crate::http::{Client, Timeouts};
use crate::model::{Cell, Class, Existence, Failure, FieldType, Key, Outcome, Timestamp, Value, Write};

const PASSWORD: &str = "hunter2 \"secret\"";

const NOW: &Unreserved = &Unreserved(Lane::Fresh);

/// Answers one call: its method and its parameters.
type Answers = Arc<dyn Fn(&str, &Json) -> ResponseTemplate + Send + Sync>;

struct Server {
    http: MockServer,
    /// `login`, `search_read`, `write`, … in their order, without what is asked at start.
    asked: Arc<Mutex<Vec<String>>>,
    /// The sessions that calls are let in with: none, and it is the number of logins.
    valid: Arc<Mutex<Option<String>>>,
}

impl Server {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn connector(&self) -> Tryton {
        Tryton::new(self.settings()).unwrap()
    }

    fn settings(&self) -> Settings {
        let field = |name: &str| FieldWanted::new(name, FieldType::String);
        Settings {
            name: "erp".to_owned(),
            url: format!("{}/", self.http.uri()),
            database: "crm".to_owned(),
            user: "sync".to_owned(),
            password: Arc::new(|| Ok(SecretString::from(PASSWORD))),
            model: "party.party".to_owned(),
            quota: None,
            fields: vec![field("name"), field("contact_mechanism:email")],
            patience: Duration::ZERO,
            cancel: CancellationToken::new(),
            client: Client::new(Timeouts { total: Duration::from_millis(1500), ..Timeouts::default() }),
        }
    }
}

/// A server with a text field and contact mechanisms, that answers everything else as the function says.
async fn server(answers: impl Fn(&str, &Json) -> ResponseTemplate + Send + Sync + 'static) -> Server {
    let answers: Answers = Arc::new(answers);
    let (asked, valid) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
    let (log, sessions) = (Arc::clone(&asked), Arc::clone(&valid));
    let logins = AtomicUsize::new(0);
    let http = MockServer::start().await;
    let respond = move |request: &Request| {
        assert_eq!(request.url.path(), "/crm/rpc/");
        let said = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(said("accept-encoding").as_deref(), Some("gzip"), "or long answers are mislabelled");
        let body: Json = serde_json::from_slice(&request.body).unwrap();
        let (method, parameters) = (body["method"].as_str().unwrap(), &body["params"]);
        if method == "common.db.login" {
            assert_eq!(said("authorization"), None, "the password is in the body alone");
            log.lock().unwrap().push("login".to_owned());
            assert_eq!(parameters[0], "sync");
            return match parameters[1]["password"].as_str().unwrap() {
                "refused" => ResponseTemplate::new(401),
                "locked" => ResponseTemplate::new(429),
                "half" => error(json!(["LoginException", ["sms_code", "bob@example.com", "char"]])),
                "busy" => error(json!(["database is locked", ""])),
                "lost" => ResponseTemplate::new(502),
                "elsewhere" => ResponseTemplate::new(404).set_body_string("<html>"),
                "odd" => good(json!({ "session": 7 })),
                password => {
                    assert_eq!(password, PASSWORD, "as it is, whatever it holds");
                    let session = format!("session-{}", logins.fetch_add(1, Ordering::Relaxed) + 1);
                    *sessions.lock().unwrap() = Some(session.clone());
                    good(json!([7, session, null]))
                }
            };
        }
        let session = said("authorization").unwrap();
        let current = sessions.lock().unwrap().clone();
        if current.as_ref().is_none_or(|current| session != format!("Session {}", header_of(current))) {
            log.lock().unwrap().push("refused".to_owned());
            return ResponseTemplate::new(401);
        }
        let field = |kind: &str| json!({ "type": kind, "readonly": false, "required": false, "searchable": true, "states": "{}" });
        match method {
            "model.res.user.get_preferences" => {
                good(json!({ "company": 3, "language": "de", "locale": {}, "_private": 1 }))
            }
            "model.party.party.fields_get" => good(json!({
                "name": field("char"),
                "active": field("boolean"),
                "contact_mechanisms": { "type": "one2many", "relation": "party.contact_mechanism", "relation_field": "party" },
            })),
            "model.party.contact_mechanism.fields_get" => good(json!({
                "type": { "type": "selection", "selection": [["email", "E-Mail"], ["phone", "Phone"]] },
                "value": field("char"),
                "active": field("boolean"),
            })),
            "model.ir.model.access.get_access" => {
                let all = json!({ "read": 1, "write": 1, "create": true, "delete": 0 });
                good(json!({ "party.party": all, "party.contact_mechanism": all }))
            }
            _ => {
                let method = method.trim_start_matches("model.").to_owned();
                log.lock().unwrap().push(method.clone());
                answers(&method, parameters)
            }
        }
    };
    Mock::given(any()).respond_with(respond).mount(&http).await;
    Server { http, asked, valid }
}

/// `sync:7:session-N` as a header carries it: each part is three characters long or made so.
fn header_of(session: &str) -> String {
    assert_eq!(session.len(), "session-1".len());
    let number = match session.as_bytes()[8] {
        b'1' => "MQ==",
        b'2' => "Mg==",
        b'3' => "Mw==",
        other => panic!("{other}"),
    };
    format!("c3luYzo3OnNlc3Npb24t{number}")
}

fn good(result: Json) -> ResponseTemplate {
    let body = json!({ "id": 0, "result": result });
    ResponseTemplate::new(200).set_body_json(body).insert_header("date", "Tue, 06 Jan 2026 10:00:00 GMT")
}

fn error(error: Json) -> ResponseTemplate {
    let body = json!({ "id": 0, "error": error });
    ResponseTemplate::new(200).set_body_json(body).insert_header("date", "Tue, 06 Jan 2026 10:00:00 GMT")
}

fn at(second: i64) -> Json {
    json!({ "__class__": "datetime", "year": 2026, "month": 1, "day": 5, "hour": 10, "minute": 0, "second": second, "microsecond": 5 })
}

fn row(id: i64, name: &str, stamp: &str) -> Json {
    json!({ "id": id, "name": name, "active": 1, "write_date": null, "create_date": at(1), "_timestamp": stamp })
}

fn write(id: i64, token: &str) -> Write {
    let (key, value) = (Key::new(id.to_string()), Some(Value::text("Ours")));
    Write { key, field: 0, expect: Cell { token: Some(token.to_owned()), ..Cell::absent() }, value, modified: None }
}

fn is_quiet(failure: &Failure) {
    for secret in ["bob@", "hunter2", "session-"] {
        assert!(!failure.to_string().contains(secret), "{failure}");
    }
}

fn words(outcomes: &[Outcome]) -> Vec<&'static str> {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Written { .. } => "written",
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
    };
    outcomes.iter().map(word).collect()
}

#[tokio::test]
async fn what_became_of_a_write_is_told_by_the_name_of_the_exception_and_not_by_a_status() {
    let refusal = || error(json!(["UserError", ["bob@example.com is no good", "", null]]));
    let cases: [(&str, ResponseTemplate, [&str; 2]); 14] = [
        ("both written", good(json!(null)), ["written", "written"]),
        ("refused", refusal(), ["batch", "batch"]),
        ("asks a person", error(json!(["UserWarning", ["name", "bob@", ""]])), ["batch", "batch"]),
        ("Python's own", error(json!(["'bob@'", ""])), ["batch", "batch"]),
        ("the database's own", error(json!(["could not serialize access", ""])), ["not sent", "not sent"]),
        ("no exception at all", error(json!(null)), ["batch", "batch"]),
        ("too many records", ResponseTemplate::new(413), ["batch", "batch"]),
        ("another shape", ResponseTemplate::new(200).set_body_json(json!({ "id": 0 })), ["unknown", "unknown"]),
        ("cut off", ResponseTemplate::new(200).set_body_string("{\"id\": 0,"), ["unknown", "unknown"]),
        ("mislabelled", good(json!(null)).insert_header("content-encoding", "gzip"), ["unknown", "unknown"]),
        ("given up", ResponseTemplate::new(504), ["unknown", "unknown"]),
        ("what stands in between", ResponseTemplate::new(502).set_body_string("<html>"), ["unknown", "unknown"]),
        ("too many calls", ResponseTemplate::new(429).insert_header("retry-after", "1"), ["not sent", "not sent"]),
        ("forbidden", ResponseTemplate::new(403).set_body_string("<html>"), ["not sent", "not sent"]),
    ];
    for (case, answer, expected) in cases {
        let server = server(move |method, _| match method {
            "party.party.write" => answer.clone(),
            "party.party.search_read" => good(json!([row(1, "Ours", "1.5"), row(2, "Ours", "2.5")])),
            other => panic!("{other}"),
        })
        .await;
        let connector = server.connector();
        let outcomes = connector.write(&[write(1, "1.5"), write(2, "2.5")], NOW).await;
        assert_eq!(words(&outcomes), expected, "{case}");
        let writes = server.asked().iter().filter(|method| *method == "party.party.write").count();
        // A call that was forbidden was not made: it is made once more with a new session.
        assert_eq!(writes, if case == "forbidden" { 2 } else { 1 }, "{case}: a write is sent once");
    }
}

#[tokio::test]
async fn every_record_is_written_on_the_condition_that_was_read() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let server = server(move |method, parameters| match method {
        "party.party.write" => {
            seen.lock().unwrap().push(parameters.clone());
            good(json!(null))
        }
        "party.party.search_read" => good(json!([row(1, "Ours", "1.6"), row(2, "Ours", "2.6")])),
        "party.contact_mechanism.search_read" => good(json!([
            { "id": 9, "party": 1, "type": "email", "value": "Ours", "active": true, "_timestamp": "9.6", "create_date": at(1) },
            { "id": 10, "party": 2, "type": "email", "value": "Ours", "active": true, "_timestamp": "10.6", "create_date": at(1) },
        ])),
        other => panic!("{other}"),
    })
    .await;
    let connector = server.connector();
    let writes = [
        write(1, "1.5"),
        Write { field: 1, ..write(1, "1.5 9 9.5 0") },
        Write { field: 1, ..write(2, "2.5") },
        Write { field: 1, value: None, ..write(3, "3.5 11 11.5 1") },
        Write { expect: Cell::absent(), ..write(4, "") },
        write(5, "5.5"),
        Write { field: 1, ..write(5, "5.6") },
    ];
    let outcomes = connector.write(&writes, NOW).await;
    assert_eq!(words(&outcomes), ["written", "written", "written", "rejected", "changed", "changed", "changed"]);
    let Outcome::Written { stored } = &outcomes[1] else { unreachable!() };
    assert_eq!(stored.token.as_deref(), Some("1.6 9 9.6 0"), "the next write is conditional on what is stored now");
    let calls = calls.lock().unwrap();
    let expected = json!([
        [1], { "name": "Ours", "contact_mechanisms": [["write", [9], { "value": "Ours" }]] },
        [2], { "contact_mechanisms": [["create", [{ "type": "email", "value": "Ours" }]]] },
        {
            "company": 3, "language": "en", "active_test": false,
            "_timestamp": { "party.party,1": "1.5", "party.contact_mechanism,9": "9.5", "party.party,2": "2.5" },
        },
    ]);
    assert_eq!(*calls, [expected]);
}

#[tokio::test]
async fn what_lost_is_taken_out_and_the_others_are_sent_again_a_few_times() {
    // The first send loses with one record, the second with another, the third is written.
    let sends = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sends);
    let looks = AtomicUsize::new(0);
    let lost = || error(json!(["ConcurrencyException", "bob@example.com was modified in the meanwhile"]));
    let server = server(move |method, parameters| match method {
        "party.party.write" => {
            let mut sends = seen.lock().unwrap();
            sends.push(parameters.as_array().unwrap().len() / 2);
            if sends.len() < 3 { lost() } else { good(json!(null)) }
        }
        "party.party.search_read" => match looks.fetch_add(1, Ordering::Relaxed) {
            0 => good(json!([row(1, "Theirs", "1.9"), row(2, "x", "2.5"), row(3, "x", "3.5"), row(4, "x", "4.5")])),
            1 => good(json!([row(2, "x", "2.5"), row(4, "x", "4.5")])),
            _ => good(json!([row(2, "Ours", "2.7"), row(4, "Ours", "4.7")])),
        },
        other => panic!("{other}"),
    })
    .await;
    let connector = server.connector();
    let batch = [write(1, "1.5"), write(2, "2.5"), write(3, "3.5"), write(4, "4.5")];
    assert_eq!(words(&connector.write(&batch, NOW).await), ["changed", "written", "gone", "written"]);
    assert_eq!(*sends.lock().unwrap(), [4, 3, 2]);
}

#[tokio::test]
async fn records_that_keep_changing_are_left_to_the_engine() {
    let server = server(|method, _| match method {
        "party.party.write" => error(json!(["ConcurrencyException", "modified"])),
        _ => good(json!([row(1, "x", "1.5"), row(2, "x", "2.5")])),
    })
    .await;
    let connector = server.connector();
    assert_eq!(words(&connector.write(&[write(1, "1.5"), write(2, "2.5")], NOW).await), ["batch", "batch"]);
    assert_eq!(server.asked().iter().filter(|method| *method == "party.party.write").count(), 3);
}

#[tokio::test]
async fn one_record_that_lost_is_changed_whatever_it_shows() {
    let server = server(|method, _| match method {
        "party.party.write" => error(json!(["ConcurrencyException", "modified"])),
        _ => good(json!([row(1, "x", "1.5")])),
    })
    .await;
    assert_eq!(words(&server.connector().write(&[write(1, "1.5")], NOW).await), ["changed"]);
}

#[tokio::test]
async fn a_record_that_is_gone_before_it_is_read_back_is_unknown() {
    let server = server(|method, _| match method {
        "party.party.write" => good(json!(null)),
        _ => good(json!([row(1, "Ours", "1.6")])),
    })
    .await;
    let outcomes = server.connector().write(&[write(1, "1.5"), write(2, "2.5")], NOW).await;
    assert_eq!(words(&outcomes), ["written", "unknown"]);
}

#[tokio::test]
async fn an_expired_session_logs_in_again_once() {
    let server = server(|method, _| match method {
        "party.party.search_read" => good(json!([row(1, "x", "1.5")])),
        "party.contact_mechanism.search_read" => good(json!([])),
        other => panic!("{other}"),
    })
    .await;
    let connector = server.connector();
    let fetch = async || connector.fetch(&[Key::new("1")], &[0], NOW).await;
    fetch().await.unwrap();
    assert_eq!(server.asked(), ["login", "party.party.search_read"]);
    *server.valid.lock().unwrap() = None;
    // Four that find out at the same time make one login.
    let (one, two, three, four) = tokio::join!(fetch(), fetch(), fetch(), fetch());
    assert!([one, two, three, four].iter().all(Result::is_ok));
    let asked = server.asked();
    assert_eq!(asked.iter().filter(|method| *method == "login").count(), 1, "{asked:?}");
    assert_eq!(asked.iter().filter(|method| *method == "party.party.search_read").count(), 4, "{asked:?}");
}

#[tokio::test]
async fn a_login_that_fails_says_why_and_is_not_repeated_where_that_does_harm() {
    for (password, class, word, logins) in [
        ("refused", Class::Auth, "`password`", 1),
        ("locked", Class::Auth, "minutes", 1),
        ("half", Class::Auth, "password", 1),
        ("busy", Class::Retry, "again", 2),
        ("lost", Class::Retry, "again", 2),
        ("elsewhere", Class::Misconfigured, "`database`", 2),
        ("odd", Class::Broken, "no session", 2),
    ] {
        let server = server(|method, _| panic!("{method}")).await;
        let mut settings = server.settings();
        settings.password = Arc::new(move || Ok(SecretString::from(password)));
        let connector = Tryton::new(settings).unwrap();
        for _ in 0..2 {
            let failure = connector.prepare(&[], false).await.unwrap_err();
            is_quiet(&failure);
            assert_eq!(failure.class, class, "{failure}");
            assert!(failure.message.contains(word), "{failure}");
            assert!(!failure.may_have_happened, "{failure}");
        }
        assert_eq!(server.asked().len(), logins, "{password}");
    }
}

#[tokio::test]
async fn a_password_that_cannot_be_read_says_where_it_was_looked_for() {
    let server = server(|method, _| panic!("{method}")).await;
    let mut settings = server.settings();
    settings.password = Arc::new(|| Err("there is no file tryton".to_owned()));
    let failure = Tryton::new(settings).unwrap().prepare(&[], false).await.unwrap_err();
    assert!(failure.class == Class::Misconfigured && failure.message.contains("no file tryton"), "{failure}");
    assert_eq!(server.asked(), [""; 0]);
}

#[tokio::test]
async fn reads_that_fail_tell_what_to_do() {
    for (answer, class, word) in [
        (error(json!(["'nope'", ""])), Class::Misconfigured, "a field"),
        (error(json!(["UserError", ["bob@", "", null]])), Class::Misconfigured, "a field"),
        (error(json!(["server closed the connection unexpectedly", ""])), Class::Retry, "again"),
        (ResponseTemplate::new(404).set_body_string("<html>"), Class::Misconfigured, "`database`"),
        (ResponseTemplate::new(403).set_body_string("<html>"), Class::Auth, "rights"),
        (ResponseTemplate::new(504), Class::Retry, "again"),
        (ResponseTemplate::new(200).set_body_string("{\"id\": 0"), Class::Broken, "cut off"),
        (good(json!([row(1, "x", "1.5")])).insert_header("date", "yesterday"), Class::Broken, "`Date`"),
        (good(json!({ "id": 1 })), Class::Broken, "a shape"),
        (good(json!([{ "name": "x" }])), Class::Broken, "a shape"),
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
async fn a_page_that_is_too_large_is_asked_for_in_smaller_ones() {
    let limits = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&limits);
    let server = server(move |method, parameters| {
        if method != "party.party.search_read" {
            return good(json!([]));
        }
        let (limit, after) = (parameters[2].as_i64().unwrap(), parameters[0][0][2].as_i64().unwrap());
        seen.lock().unwrap().push(limit);
        match limit {
            // Tryton's own limit on the records of a request.
            1_000 => return ResponseTemplate::new(413),
            // More than is read of one answer.
            125 => return good(Json::Array((1..=125).map(|id| row(id, &"x".repeat(150_000), "1.5")).collect())),
            _ => {}
        }
        good(Json::Array((after + 1..=(after + limit).min(40)).map(|id| row(id, "x", "1.5")).collect()))
    })
    .await;
    let connector = server.connector();
    let pages: Vec<Page> = connector.everything().try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.observed.len()).sum::<usize>(), 40);
    assert_eq!(limits.lock().unwrap()[..3], [1_000, 125, 15]);
}

#[tokio::test]
async fn pages_that_do_not_go_on_end_the_read() {
    let server = server(|method, _| match method {
        "party.party.search_read" => good(Json::Array((1..=1_000).map(|id| row(id, "x", "1.5")).collect())),
        _ => good(json!([])),
    })
    .await;
    let connector = server.connector();
    let failure = connector.everything().try_collect::<Vec<Page>>().await.unwrap_err();
    assert_eq!(failure.class, Class::Broken, "{failure}");
}

#[tokio::test]
async fn windows_look_at_both_models_and_at_both_dates_and_have_no_end() {
    let since = json!({ "__class__": "datetime", "year": 2026, "month": 1, "day": 5, "hour": 10, "minute": 0, "second": 0, "microsecond": 999_000 });
    let expected = json!([
        [
            "OR",
            ["write_date", ">=", since],
            ["create_date", ">=", since],
            ["contact_mechanisms.write_date", ">=", since],
            ["contact_mechanisms.create_date", ">=", since],
        ],
        ["id", ">", 0],
    ]);
    let server = server(move |method, parameters| {
        assert_eq!(parameters[5], json!({ "company": 3, "language": "en", "active_test": false }));
        if method == "party.contact_mechanism.search_read" {
            assert_eq!(parameters[0], json!([["party", "in", [1, 2, 3]], ["type", "in", ["email"]], ["id", ">", 0]]));
            return good(json!([]));
        }
        assert_eq!(parameters[0], expected);
        assert_eq!(parameters[3], json!([["id", "ASC"]]), "never the order of the model");
        let mut archived = row(2, "y", "2.5");
        archived["active"] = json!(false);
        good(json!([row(1, "x", "1.5"), archived, row(3, "z", "3.5")]))
    })
    .await;
    let connector = server.connector();
    let since = Timestamp::parse("2026-01-05T10:00:00.999Z").unwrap();
    let pages: Vec<Page> = connector.changes("records", since).try_collect().await.unwrap();
    let existence: Vec<_> = pages[0].observed.iter().map(|record| record.existence.clone()).collect();
    assert_eq!(existence, [Existence::Present, Existence::Gone, Existence::Present], "archived is gone");
    let created = Timestamp::parse("2026-01-05T10:00:01Z").unwrap();
    assert_eq!(pages[0].observed[0].modified, Some(created), "one that was never written is dated by its creation");
    assert!(pages[0].clock < Timestamp::parse("2026-01-06T10:00:00Z").unwrap());
}

#[tokio::test]
async fn a_thousand_deleted_records_are_told_in_a_few_calls() {
    let server = server(|method, parameters| match method {
        "party.party.search_read" => good(json!([])),
        "party.party.read" => error(json!(["UserError", ["… that don't exist", "", null]])),
        "ir.model.log.search_read" => {
            let asked = parameters[0][1][2].as_array().unwrap().clone();
            good(Json::Array(asked.iter().zip(1..).map(|(named, id)| json!({ "id": id, "resource": named })).collect()))
        }
        other => panic!("{other}"),
    })
    .await;
    let connector = server.connector();
    let keys: Vec<Key> = (1..=1_000).map(|id| Key::new(id.to_string())).collect();
    let records = connector.fetch(&keys, &[0], NOW).await.unwrap();
    assert!(records.iter().all(|record| record.existence == Existence::Gone));
    assert_eq!(server.asked(), ["login", "party.party.search_read", "party.party.read", "ir.model.log.search_read"]);
}

#[tokio::test]
async fn what_the_log_does_not_tell_is_looked_for_with_an_end() {
    let server = server(|method, _| match method {
        "party.party.search_read" | "ir.model.log.search_read" => good(json!([])),
        _ => error(json!(["UserError", ["… that don't exist", "", null]])),
    })
    .await;
    let connector = server.connector();
    let keys: Vec<Key> = (1..=1_000).map(|id| Key::new(id.to_string())).collect();
    let records = connector.fetch(&keys, &[0], NOW).await.unwrap();
    assert!(server.asked().len() < 70);
    let said = |existence: Existence| records.iter().filter(|record| record.existence == existence).count();
    assert!(said(Existence::Gone) > 0, "some are found out");
    assert_eq!(said(Existence::Gone) + said(Existence::NotSaid), 1_000, "the others are not taken for gone");
}

#[tokio::test]
async fn a_read_ends_at_once_when_attune_stops() {
    let server = server(|_, _| good(json!([])).set_delay(Duration::from_secs(1))).await;
    let settings = server.settings();
    let cancel = settings.cancel.clone();
    let connector = Tryton::new(settings).unwrap();
    connector.prepare(&[], false).await.unwrap();
    let began = std::time::Instant::now();
    let keys = [Key::new("1")];
    let stop = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.cancel();
    };
    let (read, ()) = tokio::join!(connector.fetch(&keys, &[0], NOW), stop);
    assert!(read.is_err() && began.elapsed() < Duration::from_millis(800), "{:?}", began.elapsed());
}
