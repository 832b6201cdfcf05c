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
use crate::connector::{Connector, End, Lane, Page, Unlimited};
use crate::http::{Client, Timeouts};
use crate::model::{
    Cell, Class, DefinitionState, Existence, Failure, FieldType, Key, Outcome, Seen, Timestamp, Value, Write,
};

const TOKEN: &str = "hunter2-secret-token";

const NO_RESERVATION: &Unlimited = &Unlimited;

fn settings(api_url: &str, fields: &[&str]) -> Settings {
    Settings {
        name: "acme".to_owned(),
        store_hash: "abc123".to_owned(),
        api_url: api_url.to_owned(),
        access_token: Arc::new(|| Ok(SecretString::from(TOKEN))),
        share: 0.8,
        fields: fields.iter().map(|name| FieldWanted { name: (*name).to_owned(), kind: FieldType::String }).collect(),
        create_attributes: false,
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
        let path = request.url.path().strip_prefix("/stores/abc123/v3").unwrap_or("elsewhere");
        let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let token = request.headers.get("x-auth-token").map(|token| token.to_str().unwrap().to_owned());
        Self {
            line: format!("{} {path}{query}", request.method),
            token: token.unwrap_or_default(),
            body: serde_json::from_slice(&request.body).unwrap_or_default(),
        }
    }
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

// Feeds and sweeps.

#[tokio::test]
async fn everything_is_read_by_cursor_and_incomplete_customers_again() {
    let (server, store) = prepared(|call| match call.line.as_str() {
        "GET /customers?limit=250&include=attributes" => good(json!({"data": [
            {"id": 10, "email": "a@example.com", "date_modified": "2026-01-02T03:00:00Z", "attribute_count": 1,
             "attributes": [value(100, 10, 1, "Buyer")]},
            {"id": 11, "email": "", "attribute_count": 12, "attributes": [value(101, 11, 1, "Boss \u{1f600}")]},
        ], "meta": {"pagination": {"total": 3, "total_pages": 2},
            "cursor_pagination": {"end_cursor": "c2=", "links": {"next": "?after=c2="}}}})),
        "GET /customers/attribute-values?limit=250&customer_id:in=11&attribute_id:in=1,2" => good(json!({
            "data": [value(101, 11, 1, "Boss \u{1f600}"), value(102, 11, 2, "W-1")],
            "meta": {"pagination": {"total": 2, "total_pages": 1}}})),
        "GET /customers?limit=250&include=attributes&after=c2%3D" => good(json!({"data": [
            {"id": 12, "email": null, "attribute_count": 0, "attributes": []},
        ], "meta": {"cursor_pagination": {"end_cursor": "c3=", "links": {"previous": "?before=c3="}}}})),
        other => panic!("{other}"),
    })
    .await;
    let before = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
    let pages: Vec<Page> = store.everything().map(Result::unwrap).collect().await;
    assert_eq!(pages.len(), 2);
    assert_eq!(
        shown(&pages[0]),
        [
            ("10".to_owned(), vec!["Buyer", "absent", "a@example.com"]),
            ("11".to_owned(), vec!["Boss \u{1f600}", "W-1", "absent"]),
        ]
    );
    assert_eq!(shown(&pages[1]), [("12".to_owned(), vec!["absent", "absent", "absent"])]);
    assert_eq!((pages[0].end, pages[1].end), (None, Some(End::Whole)));
    let first = &pages[0].observed[0];
    assert_eq!(first.modified, Timestamp::parse("2026-01-02T03:00:00Z"));
    assert_eq!(first.cells[0].modified, Timestamp::parse("2026-01-02T03:04:05Z"));
    assert_eq!(first.cells[0].token.as_deref(), Some("100"));
    assert_eq!(first.cells[2].modified, None, "a customer dates itself, not its fields");
    assert!(pages[0].clock <= before + Duration::from_millis(50), "the clock before the call, never later");
    assert!(pages[0].clock >= before - Duration::from_secs(5));
    assert_eq!(calls(&server).await.len(), 4);
}

#[tokio::test]
async fn a_customer_without_a_count_is_not_taken_for_complete() {
    let (_server, store) = prepared(|call| {
        if call.line.starts_with("GET /customers?") {
            good(json!({"data": [{"id": 10}], "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
        } else {
            assert!(call.line.contains("customer_id:in=10"));
            good(json!({"data": [value(100, 10, 1, "Buyer")], "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
        }
    })
    .await;
    let page = &feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap();
    assert_eq!(shown(page), [("10".to_owned(), vec!["Buyer", "absent", "unseen"])], "no e-mail shown: unseen");
}

#[tokio::test]
async fn the_customers_feed_walks_numbers_where_no_cursor_is_offered() {
    let (server, store) = prepared(|call| {
        let meta = json!({"pagination": {"total": 2, "total_pages": 2}});
        let id = if call.line.ends_with("&page=2") { 2 } else { 1 };
        good(json!({"data": [{"id": id, "attribute_count": 0}], "meta": meta}))
    })
    .await;
    let pages = feed(&store, FEED_CUSTOMERS).await;
    assert_eq!(pages.len(), 2);
    assert_eq!(pages[1].as_ref().unwrap().end, Some(End::Whole));
    assert_eq!(
        calls(&server).await[1..],
        [
            "GET /customers?limit=250&include=attributes&date_modified:min=2026-01-02T00:00:00Z",
            "GET /customers?limit=250&include=attributes&date_modified:min=2026-01-02T00:00:00Z&page=2",
        ]
    );
}

#[tokio::test]
async fn the_values_feed_shows_single_cells() {
    let (server, store) = prepared(|call| {
        let (rows, page) = if call.line.ends_with("&page=2") {
            (json!([value(102, 11, 1, "")]), 2)
        } else {
            (json!([value(100, 10, 1, "Buyer"), value(101, 10, 2, "W-1")]), 1)
        };
        good(json!({"data": rows, "meta": {"pagination": {"total": 3, "total_pages": 2, "current_page": page}}}))
    })
    .await;
    let pages: Vec<Page> = feed(&store, FEED_ATTRIBUTE_VALUES).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(shown(&pages[0]), [("10".to_owned(), vec!["Buyer", "W-1", "unseen"])]);
    assert_eq!(shown(&pages[1]), [("11".to_owned(), vec!["absent", "unseen", "unseen"])]);
    assert_eq!(pages[1].observed[0].cells[0].token.as_deref(), Some("102"), "an empty value is still a row");
    assert_eq!(pages[0].observed[0].modified, None);
    let line = "GET /customers/attribute-values?limit=250&attribute_id:in=1,2&date_modified:min=2026-01-02T00:00:00Z";
    assert_eq!(calls(&server).await[1], line);
}

#[tokio::test]
async fn a_torn_feed_is_read_four_times_and_then_says_so() {
    let (server, store) = prepared(|call| {
        // A row of the first page is deleted between the pages, every time, and another slips past the second page.
        let (rows, total) = if call.line.ends_with("&page=2") {
            (json!([value(103, 12, 1, "c")]), 3)
        } else {
            (json!([value(100, 10, 1, "a"), value(101, 11, 1, "b")]), 4)
        };
        good(json!({"data": rows, "meta": {"pagination": {"total": total, "total_pages": 2}}}))
    })
    .await;
    let pages: Vec<Page> = feed(&store, FEED_ATTRIBUTE_VALUES).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(pages.len(), 8);
    assert!(pages[..7].iter().all(|page| page.end.is_none()));
    assert_eq!(pages[7].end, Some(End::Torn));
    assert_eq!(calls(&server).await.len(), 9);
}

#[tokio::test]
async fn a_page_that_repeats_for_ever_ends_in_an_error() {
    let (server, store) = prepared(|_| {
        good(json!({"data": [{"id": 1, "attribute_count": 0}], "meta": {
            "cursor_pagination": {"end_cursor": "same", "links": {"next": "?after=same"}}}}))
    })
    .await;
    let pages: Vec<_> = store.everything().collect().await;
    assert_eq!(pages.len(), 2);
    let failure = pages[1].as_ref().unwrap_err();
    assert_eq!(failure.class, Class::Broken);
    assert!(failure.message.contains("again and again"), "{failure}");
    assert_eq!(calls(&server).await.len(), 3);
}

#[tokio::test]
async fn without_attributes_there_is_one_feed_and_no_include() {
    let server = server(|call| {
        assert_eq!(call.line, "GET /customers?limit=250&date_modified:min=2026-01-02T00:00:00Z");
        good(json!({"data": [{"id": 1, "first_name": "Ann", "last_name": " Lee "}]}))
    })
    .await;
    let store = BigCommerce::new(settings(&server.uri(), &["customer:name"])).unwrap();
    assert_eq!(store.feeds(), [FEED_CUSTOMERS]);
    let page = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap();
    assert_eq!(shown(&page), [("1".to_owned(), vec!["Ann Lee"])]);
}

// Direct reads.

#[tokio::test]
async fn a_recheck_of_values_is_one_call_and_complete() {
    let (server, store) = prepared(|_| {
        good(json!({"data": [value(100, 10, 2, "W-1")], "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
    })
    .await;
    let keys = [Key::new("11"), Key::new("10"), Key::new("no number")];
    let records = store.fetch(&keys, &[1], NO_RESERVATION).await.unwrap();
    let cells: Vec<Vec<&str>> = records.iter().map(|record| record.cells.iter().map(text).collect()).collect();
    assert_eq!(cells[0], ["unseen", "absent", "unseen"]);
    assert_eq!(cells[1], ["unseen", "W-1", "unseen"]);
    assert_eq!(records[0].existence, Existence::Present);
    assert_eq!(records[1].cells[1].token.as_deref(), Some("100"));
    assert_eq!(records[2].existence, Existence::Gone);
    assert_eq!(
        calls(&server).await[1..],
        ["GET /customers/attribute-values?limit=250&customer_id:in=10,11&attribute_id:in=2"]
    );
}

#[tokio::test]
async fn existence_is_asked_of_customers() {
    let (server, store) = prepared(|_| {
        good(json!({"data": [{"id": 10, "email": "a@example.com", "attribute_count": 0}],
            "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
    })
    .await;
    let keys = [Key::new("10"), Key::new("11")];
    let records = store.fetch(&keys, &[], NO_RESERVATION).await.unwrap();
    assert_eq!((&records[0].existence, &records[1].existence), (&Existence::Present, &Existence::Gone));
    assert!(records.iter().flat_map(|record| &record.cells).all(|cell| cell.seen.is_unseen()));
    let records = store.fetch(&keys[..1], &[0, 2], NO_RESERVATION).await.unwrap();
    assert_eq!(records[0].cells.iter().map(text).collect::<Vec<_>>(), ["absent", "unseen", "a@example.com"]);
    assert_eq!(
        calls(&server).await[1..],
        ["GET /customers?limit=250&id:in=10,11", "GET /customers?limit=250&include=attributes&id:in=10",]
    );
}

// Definitions.

#[tokio::test]
async fn a_missing_attribute_is_made_only_where_both_allow_it() {
    let made = Arc::new(AtomicUsize::new(0));
    let server = server({
        let made = Arc::clone(&made);
        move |call| match call.line.as_str() {
            "GET /customers/attributes?limit=250" => {
                let mut rows = definitions()["data"].as_array().unwrap().clone();
                if made.load(Ordering::SeqCst) > 0 {
                    rows.push(json!({"id": 3, "name": "Grade", "type": "string"}));
                }
                good(json!({"data": rows, "meta": {}}))
            }
            "POST /customers/attributes" => {
                assert_eq!(call.body, json!([{"name": "Grade", "type": "string"}]));
                // Somebody else was quicker.
                made.fetch_add(1, Ordering::SeqCst);
                ResponseTemplate::new(422).set_body_json(json!({"title": "already exists"}))
            }
            other => panic!("{other}"),
        }
    })
    .await;
    let fields = ["attribute:Grade", "attribute:Job titel", "customer:group"];
    let refusing = BigCommerce::new(settings(&server.uri(), &fields)).unwrap();
    let found = refusing.prepare(&[], true).await.unwrap();
    assert_eq!(found.identity, "abc123");
    let sentences: Vec<&str> = found
        .definitions
        .iter()
        .map(|definition| match &definition.state {
            DefinitionState::Unusable(sentence) => sentence.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(sentences[0].contains("create_attributes = true"), "{}", sentences[0]);
    assert!(sentences[1].contains("nearest is `Job title`"), "{}", sentences[1]);
    assert!(sentences[2].contains("not supported yet"));

    let allowed = |fields: &[&str]| {
        let mut settings = settings(&server.uri(), fields);
        settings.create_attributes = true;
        BigCommerce::new(settings).unwrap()
    };
    let store = allowed(&fields[..1]);
    let found = store.prepare(&[], false).await.unwrap();
    assert!(matches!(found.definitions[0].state, DefinitionState::ToCreate(_)));
    assert_eq!(made.load(Ordering::SeqCst), 0);
    let found = store.prepare(&[], true).await.unwrap();
    assert!(matches!(found.definitions[0].state, DefinitionState::Created(_)));
    assert_eq!(found.definitions[0].id.as_deref(), Some("3"));
    let found = store.prepare(&[Some("3".to_owned())], true).await.unwrap();
    assert!(matches!(found.definitions[0].state, DefinitionState::Usable(_)));
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_full_store_takes_no_more_attributes() {
    let server = server(|call| {
        assert!(call.line.starts_with("GET "));
        let rows: Vec<Json> =
            (1..=50).map(|id| json!({"id": id, "name": format!("A{id}"), "type": "string"})).collect();
        good(json!({"data": rows, "meta": {}}))
    })
    .await;
    let mut settings = settings(&server.uri(), &["attribute:Grade"]);
    settings.create_attributes = true;
    let found = BigCommerce::new(settings).unwrap().prepare(&[], true).await.unwrap();
    let DefinitionState::Unusable(sentence) = &found.definitions[0].state else { panic!() };
    assert!(sentence.contains("50 attributes already"), "{sentence}");
}

#[tokio::test]
async fn a_deleted_attribute_leaves_its_values_unseen() {
    let (server, store) = prepared(|_| {
        good(json!({"data": [{"id": 10, "attribute_count": 1, "attributes": [value(100, 10, 1, "Buyer")]}],
            "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
    })
    .await;
    let known = [Some("1".to_owned()), Some("77".to_owned())];
    let found = store.prepare(&known, true).await.unwrap();
    assert!(matches!(found.definitions[1].state, DefinitionState::Changed(_)));
    let page = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap();
    assert_eq!(shown(&page), [("10".to_owned(), vec!["Buyer", "unseen", "unseen"])]);
    let outcomes = store.write(&[write(10, 1, Some("x"), None)], NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["not sent"]);
    assert!(calls(&server).await.iter().all(|call| call.starts_with("GET ")));
}

#[tokio::test]
async fn before_it_is_prepared_nothing_is_read_or_written() {
    let server = server(|call| panic!("{}", call.line)).await;
    let store = BigCommerce::new(settings(&server.uri(), FIELDS)).unwrap();
    assert_eq!(store.everything().next().await.unwrap().unwrap_err().class, Class::Broken);
    assert_eq!(store.fetch(&[Key::new("1")], &[0], NO_RESERVATION).await.unwrap_err().class, Class::Broken);
    let outcomes = store.write(&[write(1, 0, Some("x"), None)], NO_RESERVATION).await;
    assert!(matches!(&outcomes[0], Outcome::NotSent(failure) if failure.class == Class::Broken));
}

// Writes.

#[tokio::test]
async fn stored_rows_are_found_by_customer_and_attribute_not_by_place() {
    let (server, store) = prepared(|call| {
        assert_eq!(call.line, "PUT /customers/attribute-values");
        assert_eq!(
            call.body,
            json!([
                {"attribute_id": 1, "value": "a", "customer_id": 10},
                {"attribute_id": 2, "value": "b", "customer_id": 10},
                {"attribute_id": 1, "value": "c", "customer_id": 11},
            ])
        );
        good(json!({"data": [value(3, 11, 1, "C"), value(1, 10, 1, "a")], "meta": {}}))
    })
    .await;
    let batch = [write(10, 0, Some("a"), Some("1")), write(10, 1, Some("b"), None), write(11, 0, Some("c"), Some("3"))];
    let outcomes = store.write(&batch, NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["written", "unknown", "written"]);
    let Outcome::Written { stored } = &outcomes[2] else { panic!() };
    assert_eq!((text(stored), stored.token.as_deref()), ("C", Some("3")));
    assert_eq!(stored.modified, Timestamp::parse("2026-01-02T03:04:05Z"));
    assert_eq!(calls(&server).await.len(), 2, "a write is sent once");
}

#[tokio::test]
async fn every_refusal_of_a_write_has_its_outcome() {
    let status = Arc::new(AtomicUsize::new(0));
    let (server, store) = prepared({
        let status = Arc::clone(&status);
        move |_| {
            let status = status.load(Ordering::SeqCst) as u16;
            let body = format!(r#"{{"title":"bob@example.com {TOKEN}","errors":{{"0.value":"too odd"}}}}"#);
            ResponseTemplate::new(status).set_body_string(body).insert_header("x-request-id", "req-1")
        }
    })
    .await;
    let batch = [write(10, 0, Some("a"), None), write(11, 0, Some("b"), None)];
    for (answer, one, two) in [
        (422, "rejected", "batch rejected"),
        (400, "rejected", "batch rejected"),
        (413, "rejected", "batch rejected"),
        (401, "not sent", "not sent"),
        (403, "not sent", "not sent"),
        (500, "unknown", "unknown"),
        (503, "unknown", "unknown"),
        (404, "unknown", "unknown"),
        (200, "unknown", "unknown"),
        (302, "unknown", "unknown"),
    ] {
        status.store(answer, Ordering::SeqCst);
        let sent_before = calls(&server).await.len();
        assert_eq!(said(&store.write(&batch[..1], NO_RESERVATION).await), [one], "{answer}");
        let outcomes = store.write(&batch, NO_RESERVATION).await;
        assert_eq!(said(&outcomes), [two, two], "{answer}");
        assert_eq!(calls(&server).await.len(), sent_before + 2, "each was sent once");
        let printed = format!("{outcomes:?}");
        assert!(!printed.contains(TOKEN), "{printed}");
        for outcome in &outcomes {
            let (Outcome::NotSent(failure) | Outcome::Unknown(failure) | Outcome::BatchRejected(failure)) = outcome
            else {
                panic!("{outcome:?}")
            };
            assert!(!failure.to_string().contains("bob@example.com"));
            if answer != 200 {
                assert_eq!(failure.status, Some(answer as u16));
                assert_eq!(failure.request_id.as_deref(), Some("req-1"));
                assert!(failure.detail.as_ref().unwrap().contains("bob@example.com"));
            }
        }
    }
}

#[tokio::test]
async fn a_write_after_a_429_is_not_sent_until_the_system_is_ready() {
    let (server, store) =
        prepared(|_| ResponseTemplate::new(429).insert_header("x-rate-limit-time-reset-ms", "60000")).await;
    let batch = [write(10, 0, Some("a"), None)];
    let reservation = store.reserve(Lane::Fresh, 2).await.unwrap();
    for _ in 0..2 {
        let outcomes = store.write(&batch, reservation.as_ref()).await;
        let Outcome::NotSent(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
        assert!(failure.retry_after.unwrap() > Duration::from_secs(50));
    }
    assert_eq!(calls(&server).await.len(), 2, "the second was not even sent");
}

#[tokio::test]
async fn a_write_that_is_not_answered_is_unknown_and_one_that_cannot_leave_is_not_sent() {
    let (server, store) = prepared(|_| good(json!({"data": []})).set_delay(Duration::from_secs(20))).await;
    let batch = [write(10, 0, Some("a"), None)];
    let outcomes = store.write(&batch, NO_RESERVATION).await;
    let Outcome::Unknown(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert!(failure.message.contains("did not answer in time"), "{failure}");
    drop(server);
    // The port is closed only after the pooled connections are: what is certain is that nothing answers there.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let store = BigCommerce::new(settings(&address, &["customer:email"])).unwrap();
    let failure = store.fetch(&[Key::new("1")], &[], NO_RESERVATION).await.unwrap_err();
    assert_eq!((failure.class, failure.may_have_happened), (Class::Retry, false));
    assert!(failure.message.contains("cannot be reached"), "{failure}");
}

#[tokio::test]
async fn a_delete_is_settled_by_reading_back() {
    let answers = Arc::new(Mutex::new((204, json!([]))));
    let (server, store) = prepared({
        let answers = Arc::clone(&answers);
        move |call| {
            let (status, rows) = answers.lock().unwrap().clone();
            if call.line.starts_with("DELETE") {
                return ResponseTemplate::new(status);
            }
            let total = rows.as_array().unwrap().len();
            good(json!({"data": rows, "meta": {"pagination": {"total": total, "total_pages": 1}}}))
        }
    })
    .await;
    let batch = [write(10, 0, None, Some("100")), write(11, 1, None, Some("101")), write(12, 0, None, None)];
    let outcomes = store.write(&batch, NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["written", "written", "not sent"]);
    assert!(matches!(&outcomes[0], Outcome::Written { stored } if stored.seen == Seen::Absent));
    assert_eq!(
        calls(&server).await[1..],
        [
            "DELETE /customers/attribute-values?id:in=101,100",
            "GET /customers/attribute-values?limit=250&customer_id:in=10,11&attribute_id:in=1,2",
        ]
    );
    *answers.lock().unwrap() = (204, json!([value(100, 10, 1, "still")]));
    assert_eq!(said(&store.write(&batch[..2], NO_RESERVATION).await), ["unknown", "written"]);
    *answers.lock().unwrap() = (500, json!([]));
    assert_eq!(said(&store.write(&batch[..2], NO_RESERVATION).await), ["written", "written"]);
    *answers.lock().unwrap() = (422, json!([]));
    let calls_before = calls(&server).await.len();
    assert_eq!(said(&store.write(&batch[..1], NO_RESERVATION).await), ["rejected"]);
    assert_eq!(said(&store.write(&batch[2..], NO_RESERVATION).await), ["not sent"]);
    assert_eq!(calls(&server).await.len(), calls_before + 1);
}

// What comes back and should not.

#[tokio::test]
async fn what_cannot_be_read_is_broken_for_a_read_and_unknown_for_a_write() {
    let body = Arc::new(Mutex::new(String::new()));
    let (_server, store) = prepared({
        let body = Arc::clone(&body);
        move |_| ResponseTemplate::new(200).set_body_string(body.lock().unwrap().clone())
    })
    .await;
    for (answer, says) in [
        ("<html><body>Sign in, bob@example.com</body></html>", "HTML instead of JSON"),
        (r#"{"data": [{"id": 1, "email": "bob@exa"#, "cut off"),
        (r#"{"data": {"id": 1}}"#, "a shape"),
        (r#"{"data": [{"id": "bob@example.com"}]}"#, "a shape"),
        (r#"{"meta": {}}"#, "a shape"),
        ("", "nothing"),
    ] {
        answer.clone_into(&mut body.lock().unwrap());
        let failure = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap_err();
        assert_eq!(failure.class, Class::Broken, "{answer}");
        assert!(failure.message.contains(says), "{failure}");
        assert!(!failure.to_string().contains("bob"), "{failure}");
        let outcomes = store.write(&[write(10, 0, Some("a"), None)], NO_RESERVATION).await;
        assert_eq!(said(&outcomes), ["unknown"], "{answer}");
    }
}

#[tokio::test]
async fn an_answer_that_becomes_readable_is_read() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (_server, store) = prepared_with(|settings| settings.patience = Duration::from_secs(30), {
        let asked = Arc::clone(&asked);
        move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => ResponseTemplate::new(503),
            1 => ResponseTemplate::new(200).set_body_string("<html>maintenance</html>"),
            2 => ResponseTemplate::new(429).insert_header("x-rate-limit-time-reset-ms", "30"),
            _ => good(json!({"data": [], "meta": {}})),
        }
    })
    .await;
    let page = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap();
    assert_eq!(page.end, Some(End::Whole));
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_body_without_end_is_refused_and_not_kept() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let written = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let written = Arc::clone(&written);
        async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = socket.write_all(head.as_bytes()).await;
            let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, " ".repeat(1 << 16));
            while socket.write_all(chunk.as_bytes()).await.is_ok() {
                written.fetch_add(1 << 16, Ordering::SeqCst);
            }
        }
    });
    let mut settings = settings(&address, &["customer:email"]);
    settings.client = Client::default();
    let store = BigCommerce::new(settings).unwrap();
    let failure = store.everything().next().await.unwrap().unwrap_err();
    assert_eq!(failure.class, Class::Broken);
    assert!(failure.message.contains("16777216 bytes"), "{failure}");
    // What lies in the sockets' buffers was sent as well.
    assert!(written.load(Ordering::SeqCst) < 64 * 1024 * 1024);
}

#[tokio::test]
async fn an_announced_gigabyte_is_not_even_begun() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n{").await;
        let _ = socket.read(&mut request).await;
    });
    let store = BigCommerce::new(settings(&address, &["customer:email"])).unwrap();
    let failure = store.everything().next().await.unwrap().unwrap_err();
    assert_eq!(failure.class, Class::Broken);
    assert!(failure.message.contains("16777216 bytes"), "{failure}");
}

#[tokio::test]
async fn a_redirect_is_refused() {
    let (server, store) =
        prepared(|_| ResponseTemplate::new(301).insert_header("location", "http://127.0.0.1:9/elsewhere")).await;
    let failure = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap_err();
    assert_eq!(failure.class, Class::Misconfigured);
    assert!(failure.message.contains("redirect"), "{failure}");
    assert_eq!(calls(&server).await.len(), 2);
}

#[tokio::test]
async fn a_refused_read_is_our_defect() {
    let (_server, store) = prepared(|_| {
        ResponseTemplate::new(422)
            .set_body_json(json!({"title": "The filter(s): foo are not valid filter parameter(s)."}))
    })
    .await;
    let failure = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap_err();
    assert_eq!(failure.class, Class::Broken);
    assert!(failure.detail.unwrap().contains("filter(s)"));
}

// Secrets.

#[tokio::test]
async fn a_refused_token_is_read_again_and_tried_once_more_if_it_changed() {
    let server = server(|call| {
        if call.token == "new" { good(definitions()) } else { ResponseTemplate::new(401).set_body_string(TOKEN) }
    })
    .await;
    let reads = Arc::new(AtomicUsize::new(0));
    let mut settings = settings(&server.uri(), FIELDS);
    settings.access_token = {
        let reads = Arc::clone(&reads);
        Arc::new(move || {
            let old = reads.fetch_add(1, Ordering::SeqCst) == 0;
            Ok(SecretString::from(if old { TOKEN } else { "new\n" }))
        })
    };
    let store = BigCommerce::new(settings).unwrap();
    store.prepare(&[], false).await.unwrap();
    store.prepare(&[], false).await.unwrap();
    assert_eq!(calls(&server).await.len(), 3);
    assert_eq!(reads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_that_stays_refused_is_not_tried_twice() {
    for (status, says) in [(401, "access token"), (403, "scope")] {
        let server =
            server(move |_| ResponseTemplate::new(status).set_body_string(TOKEN).insert_header("x-request-id", TOKEN))
                .await;
        let store = BigCommerce::new(settings(&server.uri(), FIELDS)).unwrap();
        let failure = store.prepare(&[], false).await.unwrap_err();
        assert_eq!(failure.class, Class::Auth);
        assert!(failure.message.contains(says), "{failure}");
        let printed = format!("{failure} {failure:?} {store:?}");
        assert!(!printed.contains(TOKEN), "{printed}");
        assert_eq!(calls(&server).await.len(), 1);
    }
}

#[tokio::test]
async fn a_token_that_is_no_token_is_misconfigured_and_not_echoed() {
    let server = server(|call| panic!("{}", call.line)).await;
    for (secret, says) in
        [(Err("no file at /nowhere"), "no file"), (Ok(" \n"), "empty"), (Ok("hunter2\nhunter3"), "line break")]
    {
        let mut settings = settings(&server.uri(), FIELDS);
        settings.access_token = Arc::new(move || secret.map(SecretString::from).map_err(str::to_owned));
        let failure = BigCommerce::new(settings).unwrap().prepare(&[], false).await.unwrap_err();
        assert_eq!(failure.class, Class::Misconfigured);
        assert!(failure.message.contains(says) && !format!("{failure:?}").contains("hunter"), "{failure:?}");
    }
}

#[test]
fn a_store_hash_cannot_change_the_address() {
    for hash in ["", "../x", "abc?x", "abc/v2"] {
        let mut settings = settings("https://api.bigcommerce.com", FIELDS);
        settings.store_hash = hash.to_owned();
        assert_eq!(BigCommerce::new(settings).unwrap_err().class, Class::Misconfigured, "{hash}");
    }
}

// Stopping.

#[tokio::test]
async fn a_read_ends_at_once_when_attune_stops() {
    let cancel = CancellationToken::new();
    let (_server, store) = prepared_with(
        |settings| {
            settings.cancel = cancel.clone();
            settings.client = Client::default();
            settings.patience = Duration::from_secs(3600);
        },
        {
            let cancel = cancel.clone();
            move |_| {
                cancel.cancel();
                good(json!({"data": []})).set_delay(Duration::from_secs(25))
            }
        },
    )
    .await;
    let began = std::time::Instant::now();
    let failure = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap_err();
    assert!(failure.message.contains("stopp"), "{failure}");
    assert!(began.elapsed() < Duration::from_secs(20));
    let outcomes = store.write(&[write(10, 0, Some("a"), None)], NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["not sent"]);
}
