//! The connector against servers that answer as APIs do, and as they should not. What a whole one answers is in the contract.

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
use super::settings::{Api, Auth, Body, KeyIs, List, Paging, ReadOne, Settings, WriteRequest};
use crate::connector::{Connector, End, FieldWanted, Lane, Page, Unreserved};
use crate::http::{Client, Timeouts};
use crate::model::{
    Cell, Class, DefinitionState, Existence, Failure, FieldType, Holds, Key, Outcome, Seen, Timestamp, Value, Write,
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
            fields: vec![FieldWanted { name: "title".to_owned(), kind: FieldType::String }],
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
        key_is: KeyIs::Number,
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
        list: List {
            path: "/contacts".to_owned(),
            query: "limit={limit}".to_owned(),
            records: "/data".to_owned(),
            page_size: 3,
            paging: Paging::Key { after: "after={key}".to_owned(), next: None },
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
        write: Some(WriteRequest {
            method: "PATCH".to_owned(),
            path: "/contacts/{key}".to_owned(),
            query: String::new(),
            body: Body::Record,
            batch: 50,
            records: None,
            missing: vec![404, 410],
            refused: vec![500],
            headers: BTreeMap::new(),
        }),
    }
}

fn paged(paging: Paging, query: &str, total: Option<&str>) -> Api {
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

#[tokio::test]
async fn what_became_of_a_write_is_told_by_what_is_stored_and_not_by_the_status() {
    let buyer = "written Some(\"Buyer\")";
    for (case, answer, stored, expected) in [
        ("it is written", ResponseTemplate::new(204), Some("Buyer"), buyer),
        ("the server made something else of it", good(json!({})), Some("buyer"), "written Some(\"buyer\")"),
        ("the answer claims that it is written", good(row(1, "Buyer")), None, "gone"),
        (
            "HTML of what stands in between",
            ResponseTemplate::new(200).set_body_string("<html>"),
            Some("old"),
            "written Some(\"old\")",
        ),
        ("there is none", refusal(404), None, "gone"),
        ("there is one, and no such path", refusal(404), Some("old"), "not sent Misconfigured"),
        ("a bad value", refusal(400), Some("old"), "rejected"),
        ("a bad value that breaks the server", refusal(500), Some("old"), "rejected"),
        ("too many calls", ResponseTemplate::new(429).insert_header("retry-after", "1"), Some("old"), "not sent Retry"),
        ("a refused key", refusal(401), Some("old"), "not sent Auth"),
        ("a missing right", refusal(403), Some("old"), "not sent Auth"),
        ("a condition is wanted", refusal(428), Some("old"), "not sent Misconfigured"),
        ("a breakdown", refusal(503), Some("old"), "unknown"),
        ("a redirect", ResponseTemplate::new(302), Some("old"), "not sent Misconfigured"),
    ] {
        let server = server(move |request| match (request.method.as_str(), stored) {
            ("PATCH", _) => answer.clone(),
            // The sample that types are told by.
            (_, _) if argument(request, "ids").is_none() => good(rows([9])),
            (_, Some(title)) => good(json!({ "data": [row(1, title)] })),
            (_, None) => good(rows([])),
        })
        .await;
        let connector = server.connector(api());
        let outcomes = connector.write(&[write(1, Some("Buyer"))], NOW).await;
        assert_eq!(outcomes.iter().map(word).collect::<Vec<_>>(), [expected], "{case}");
        let writes = server.asked().iter().filter(|line| line.starts_with("PATCH")).count();
        assert_eq!(writes, 1, "{case}: a write is sent once");
    }
}

#[tokio::test]
async fn a_list_of_records_that_is_refused_goes_again_in_parts() {
    for (case, answer, expected) in [
        ("all is well", good(json!([{ "id": 1 }, { "id": 2 }])), ["written Some(\"Buyer\")", "gone"]),
        ("a bad value", refusal(422), ["batch", "batch"]),
        ("one is not there and nothing was written", refusal(404), ["batch", "gone"]),
        ("a breakdown", refusal(502), ["unknown", "unknown"]),
        ("cut off", ResponseTemplate::new(200).set_body_string("[{"), ["written Some(\"Buyer\")", "gone"]),
    ] {
        let server = server(move |request| match request.method.as_str() {
            "PATCH" => answer.clone(),
            _ => good(rows([1].into_iter().filter(|_| argument(request, "ids").is_none_or(|ids| ids != "2")))),
        })
        .await;
        let mut api = api();
        let write_request = api.write.as_mut().unwrap();
        (write_request.body, write_request.path) = (Body::Array, "/contacts".to_owned());
        let connector = server.connector(api);
        let outcomes = connector.write(&[write(1, Some("Buyer")), write(2, Some("Buyer"))], NOW).await;
        assert_eq!(outcomes.iter().map(word).collect::<Vec<_>>(), expected, "{case}");
        let bodies = server.asked.lock().unwrap();
        let sent = bodies.iter().find(|(line, _)| line == "PATCH /contacts").map(|(_, body)| body.as_str());
        assert_eq!(sent, Some("[{\"id\":1,\"title\":\"Buyer\"},{\"id\":2,\"title\":\"Buyer\"}]"));
    }
}

#[tokio::test]
async fn pages_by_key_end_with_an_empty_one() {
    // Never more than two records, whatever is asked for.
    let server = server(|request| {
        let after = number(request, "after").unwrap_or(0);
        good(rows((1..=5).filter(|id| *id > after).take(2)))
    })
    .await;
    let connector = server.connector(api());
    assert_eq!(everything(&connector).await.unwrap(), (vec![1, 2, 3, 4, 5], End::Whole));
    assert_eq!(server.asked()[1..3], ["GET /contacts?limit=3&after=2", "GET /contacts?limit=3&after=4"]);
    let since = Timestamp::parse("2026-01-02T03:04:05.999Z").unwrap();
    let _page = connector.changes("records", since).next().await;
    assert_eq!(server.asked(), ["GET /contacts?limit=3&since=2026-01-02T03%3A04%3A05Z"], "a time is never rounded up");
}

#[tokio::test]
async fn pages_that_do_not_go_on_are_found_out() {
    // It does not know `after`, and ignores it.
    let server_of_one = server(|_| good(rows([1, 2]))).await;
    let failure = everything(&server_of_one.connector(api())).await.unwrap_err();
    assert_eq!(failure.class, Class::Misconfigured);
    assert!(failure.message.contains("[crm.erp]"), "{failure}");
    // It does not sort.
    let unsorted = server(|request| match argument(request, "after") {
        None => good(rows([2, 1])),
        Some(_) => good(rows([])),
    })
    .await;
    let failure = everything(&unsorted.connector(api())).await.unwrap_err();
    assert!(failure.message.contains("order"), "{failure}");
    // The same token, the same page, the same address.
    let stuck = server(|_| good(json!({ "data": [row(1, "x")], "next": "abc", "total": 9 }))).await;
    let cursor = Paging::Cursor { pointer: "/next".to_owned(), query: "&cursor={cursor}".to_owned() };
    for paging in [cursor, Paging::Next { pointer: "/next".to_owned() }, Paging::Page] {
        let api = paged(paging.clone(), "page={page}", Some("/total"));
        let failure = everything(&stuck.connector(api)).await.unwrap_err();
        assert_eq!(failure.class, Class::Misconfigured, "{paging:?}");
        assert!(failure.message.contains("again and again"), "{failure}");
    }
}

#[tokio::test]
async fn pages_by_offset_overlap_so_that_a_deletion_is_seen() {
    for (deleted, expected) in
        [(false, (vec![1, 2, 3, 3, 4, 5, 5], End::Whole)), (true, (vec![1, 2, 3, 4, 5, 5], End::Torn))]
    {
        let server = server(move |request| {
            let offset = number(request, "offset").unwrap() as usize;
            let ids = if deleted && offset > 0 { vec![2, 3, 4, 5] } else { vec![1, 2, 3, 4, 5] };
            good(rows(ids.into_iter().skip(offset).take(3)))
        })
        .await;
        let connector = server.connector(paged(Paging::Offset, "offset={offset}&limit={limit}", None));
        assert_eq!(everything(&connector).await.unwrap(), expected, "deleted: {deleted}");
    }
    let empty = server(|_| good(rows([]))).await;
    let connector = empty.connector(paged(Paging::Offset, "offset={offset}&limit={limit}", None));
    assert_eq!(everything(&connector).await.unwrap(), (vec![], End::Whole));
}

#[tokio::test]
async fn pages_by_number_are_counted_against_the_total() {
    for (shown, end) in [(5, End::Whole), (4, End::Torn)] {
        let server = server(move |request| {
            let page = number(request, "page").unwrap() as usize;
            let mut body = rows((1..=shown).skip((page - 1) * 2).take(2));
            body["total"] = json!(5);
            good(body)
        })
        .await;
        let connector = server.connector(paged(Paging::Page, "page={page}", Some("/total")));
        assert_eq!(everything(&connector).await.unwrap(), ((1..=shown).collect(), end));
    }
}

#[tokio::test]
async fn tokens_and_addresses_of_next_pages_are_followed() {
    let cursor = Paging::Cursor { pointer: "/next".to_owned(), query: "&cursor={cursor}".to_owned() };
    let tokens = server(|request| match argument(request, "cursor").as_deref() {
        None => good(json!({ "data": [row(1, "x")], "next": "a/b=&c" })),
        Some("a/b=&c") => good(json!({ "data": [row(2, "x")], "next": null })),
        Some(other) => panic!("{other}"),
    })
    .await;
    let found = everything(&tokens.connector(paged(cursor, "limit={limit}", None))).await.unwrap();
    assert_eq!(found, (vec![1, 2], End::Whole));

    let header = server(|request| match argument(request, "page").as_deref() {
        None => good(rows([1])).insert_header("link", "</contacts?page=2>; rel=\"next\", </contacts>; rel=\"first\""),
        _ => good(rows([2])).insert_header("link", "</contacts>; rel=\"first\""),
    })
    .await;
    let found = everything(&header.connector(paged(Paging::Link, "limit={limit}", None))).await.unwrap();
    assert_eq!(found, (vec![1, 2], End::Whole));
}

#[tokio::test]
async fn a_next_page_is_never_asked_for_from_another_host() {
    let next = || Paging::Next { pointer: "/next".to_owned() };
    for (link, sound) in [
        ("contacts?page=2", true),
        ("/contacts?page=2", true),
        ("OWN/contacts?page=2", true),
        ("?page=2", true),
        ("https://evil.example.com/contacts?page=2", false),
        ("//evil.example.com/contacts?page=2", false),
        ("http://user:password@127.0.0.1/contacts?page=2", false),
        ("http://127.0.0.1:9/contacts?page=2", false),
        ("file:///etc/passwd", false),
    ] {
        let server = server(move |request| match argument(request, "page") {
            None => {
                let own = format!("http://{}", request.headers.get("host").unwrap().to_str().unwrap());
                good(json!({ "data": [row(1, "x")], "next": link.replace("OWN", &own) }))
            }
            Some(_) => good(rows([2])),
        })
        .await;
        let found = everything(&server.connector(paged(next(), "limit={limit}", None))).await;
        if sound {
            assert_eq!(found.unwrap(), (vec![1, 2], End::Whole), "{link}");
        } else {
            let failure = found.unwrap_err();
            assert_eq!(failure.class, Class::Misconfigured);
            assert!(!failure.message.contains("evil") && failure.message.contains("`url`"), "{failure}");
            assert_eq!(server.asked().len(), 1, "{link}");
        }
    }
}

#[tokio::test]
async fn records_are_read_by_their_keys_and_gone_only_when_asked_for_alone() {
    // It shows two at once, and says nothing of the others.
    let server = server(|request| {
        let asked = argument(request, "ids").unwrap();
        good(rows(asked.split(',').map(|id| id.parse().unwrap()).filter(|id| *id != 4_u64).take(2)))
    })
    .await;
    let keys = ["1", "2", "3", "4", "5", "none", "05"].map(Key::new);
    let found = server.connector(api()).fetch(&keys, &[0], NOW).await.unwrap();
    let there: Vec<bool> = found.iter().map(|record| record.existence == Existence::Present).collect();
    assert_eq!(there, [true, true, true, false, true, false, false]);
    assert_eq!(server.asked().len(), 3, "2 of 5, 2 of 3, and one that stays away is asked for once more");
    // One that answers with what was not asked for ignores the condition: what it leaves out is not gone.
    let other = self::server(|_| good(rows([7]))).await;
    let failure = other.connector(api()).fetch(&keys[..1], &[0], NOW).await.unwrap_err();
    assert_eq!(failure.class, Class::Misconfigured);
}

#[tokio::test]
async fn records_are_read_one_by_one_where_nothing_else_is_possible() {
    let server = server(|request| match request.url.path() {
        "/contacts/1" => good(row(1, "x")).insert_header("etag", "\"7\""),
        "/contacts/2" => refusal(404),
        "/contacts/3" => refusal(403),
        _ => good(row(9, "another")),
    })
    .await;
    let mut api = api();
    api.list.keys = None;
    api.etag = Some("etag".to_owned());
    api.read = Some(ReadOne {
        path: "/contacts/{key}".to_owned(),
        query: String::new(),
        record: String::new(),
        missing: vec![403, 404],
        headers: BTreeMap::new(),
    });
    let connector = server.connector(api.clone());
    let found = connector.fetch(&["1", "2", "3"].map(Key::new), &[0], NOW).await.unwrap();
    assert_eq!(found[0].cells[0].token.as_deref(), Some("\"7\""), "the ETag is in the header");
    assert_eq!((&found[1].existence, &found[2].existence), (&Existence::Gone, &Existence::Gone));
    let failure = connector.fetch(&[Key::new("4")], &[0], NOW).await.unwrap_err();
    assert_eq!(failure.class, Class::Misconfigured, "another record than asked for");
    // Where 403 does not say that it is missing, it is about rights.
    api.read.as_mut().unwrap().missing = vec![404];
    let failure = server.connector(api).fetch(&[Key::new("3")], &[0], NOW).await.unwrap_err();
    assert_eq!(failure.class, Class::Auth);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_told_and_never_repeated_in_words() {
    let missing_key = json!({ "data": [{ "title": "bob@example.com", "updated": "2026-01-05T10:00:00Z" }] });
    for (case, answer, class) in [
        ("nothing there", good(json!({ "items": [] })), Class::Misconfigured),
        ("no list", good(json!({ "data": { "id": 1 } })), Class::Misconfigured),
        ("no records", good(json!({ "data": ["bob@example.com"] })), Class::Misconfigured),
        ("no key", good(missing_key), Class::Misconfigured),
        ("a key that is none", good(json!({ "data": [{ "id": { "a": "bob@example.com" } }] })), Class::Misconfigured),
        (
            "cut off",
            ResponseTemplate::new(200).set_body_string("{\"data\": [{\"id\": 1, \"title\": \"bob@"),
            Class::Broken,
        ),
        ("HTML", ResponseTemplate::new(200).set_body_string("<html>bob@"), Class::Broken),
        ("not there", refusal(404), Class::Misconfigured),
        ("no such field", refusal(400), Class::Misconfigured),
        ("no right", refusal(403), Class::Auth),
        ("a refused key", refusal(401), Class::Auth),
        ("a breakdown", refusal(503), Class::Retry),
    ] {
        let server = server(move |_| answer.clone()).await;
        let failure = everything(&server.connector(api())).await.unwrap_err();
        assert_eq!(failure.class, class, "{case}: {failure}");
        is_quiet(&failure);
    }
}

#[tokio::test]
async fn too_large_an_answer_is_asked_for_in_parts() {
    let server = server(|request| {
        let limit = number(request, "limit").unwrap();
        if limit > 10 {
            return ResponseTemplate::new(200).set_body_bytes(vec![b' '; 17 * 1024 * 1024]);
        }
        good(rows(number(request, "after").map_or(1, |after| after + 1)..=3))
    })
    .await;
    let mut api = api();
    api.list.page_size = 500;
    assert_eq!(everything(&server.connector(api)).await.unwrap(), (vec![1, 2, 3], End::Whole));
}

#[tokio::test]
async fn an_api_that_cannot_be_asked_since_when_is_looked_through() {
    let server = server(|request| match argument(request, "after") {
        None => {
            let mut body = rows([1, 2]);
            body["data"][1]["updated"] = json!("2026-01-07T10:00:00Z");
            good(body)
        }
        Some(_) => good(rows([])),
    })
    .await;
    let mut api = api();
    api.list.since = None;
    let connector = server.connector(api);
    let since = Timestamp::parse("2026-01-06T00:00:00Z").unwrap();
    let pages: Vec<Page> = connector.changes("records", since).try_collect().await.unwrap();
    let keys: Vec<_> = pages.iter().flat_map(|page| &page.observed).map(|record| record.key.as_str()).collect();
    assert_eq!(keys, ["2"]);
}

#[tokio::test]
async fn looking_finds_the_fields_and_what_they_hold() {
    let server = server(|request| {
        let record = json!({
            "id": 1, "title": "x", "score": 3, "active": true, "born": "1990-01-02", "note": null,
            "account": { "wholesaler_id": "W1" }, "updated": "2026-01-05T10:00:00Z",
        });
        match argument(request, "since") {
            Some(_) => good(rows([])),
            None => good(json!({ "data": [record] })),
        }
    })
    .await;
    let mut settings = server.settings(api());
    let wanted = |name: &str, kind| FieldWanted { name: name.to_owned(), kind };
    settings.fields = vec![
        wanted("title", FieldType::String),
        wanted("score", FieldType::String),
        wanted("active", FieldType::Boolean),
        wanted("born", FieldType::Date),
        wanted("note", FieldType::Number),
        wanted("@key", FieldType::String),
        wanted("account.wholesaler_id", FieldType::String),
        wanted("updated", FieldType::String),
        wanted("titel", FieldType::String),
        wanted("account", FieldType::String),
        wanted("account.wholesalerid", FieldType::String),
    ];
    let connector = Rest::new(settings).unwrap();
    let prepared = connector.prepare(&[], false).await.unwrap();
    assert_eq!(prepared.warnings, [""; 0]);
    let shapes: Vec<_> = prepared
        .definitions
        .iter()
        .map(|definition| match &definition.state {
            DefinitionState::Usable(shape) => Ok((shape.holds, shape.writable)),
            DefinitionState::Unusable(why) => Err(why.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        shapes[..8],
        [
            Ok((Holds::Text, true)),
            Ok((Holds::Number, true)),
            Ok((Holds::Boolean, true)),
            Ok((Holds::Date, true)),
            Ok((Holds::Number, true)),
            Ok((Holds::Text, false)),
            Ok((Holds::Text, false)),
            Ok((Holds::Text, false)),
        ]
    );
    let why = |index: usize| shapes[index].as_ref().unwrap_err();
    assert!(why(8).contains("did you mean `title`?"), "{}", why(8));
    assert!(why(9).contains("object"), "{}", why(9));
    assert!(why(10).contains("did you mean `wholesaler_id`?"), "{}", why(10));
}

#[tokio::test]
async fn looking_finds_what_the_description_has_wrong() {
    let look = async |api: Api, answers: fn(&Request) -> ResponseTemplate| {
        let server = server(answers).await;
        server.connector(api).prepare(&[], false).await
    };
    let with = |change: fn(&mut Api)| {
        let mut api = api();
        change(&mut api);
        api
    };
    let good_answers: fn(&Request) -> ResponseTemplate =
        |request| if argument(request, "since").is_some() { good(rows([])) } else { good(rows([1])) };
    for (case, api, answers, expected) in [
        ("a name", with(|api| api.modified = Some("update".to_owned())), good_answers, "did you mean `updated`?"),
        ("kind of keys", with(|api| api.key_is = KeyIs::Uuid), good_answers, "`key_is`"),
        ("an ETag", with(|api| api.etag = Some("etag".to_owned())), good_answers, "`etag`"),
        (
            "not found by its key",
            api(),
            |request| if argument(request, "ids").is_some() { good(rows([])) } else { good(rows([1])) },
            "not found by its key",
        ),
    ] {
        let failure = look(api, answers).await.unwrap_err();
        assert_eq!(failure.class, Class::Misconfigured, "{case}");
        assert!(failure.message.contains(expected) && failure.message.contains("[crm.erp]"), "{case}: {failure}");
    }
    // What does not stop us.
    let ignores: fn(&Request) -> ResponseTemplate = |_| good(rows([1]));
    let undated: fn(&Request) -> ResponseTemplate = |request| {
        if argument(request, "since").is_some() {
            return good(rows([]));
        }
        good(json!({ "data": [{ "id": 1, "title": "x", "updated": null }] }))
    };
    let none: fn(&Request) -> ResponseTemplate = |_| good(rows([]));
    for (answers, expected) in
        [(ignores, "does not understand `since`"), (undated, "have no time"), (none, "shows no record")]
    {
        let warnings = look(api(), answers).await.unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].contains(expected), "{warnings:?}");
    }
}

/// A token endpoint and an API that takes the latest token alone; tokens live so long.
async fn with_tokens(life_s: u64, good_for: usize) -> (Server, Settings) {
    let calls = Arc::new(Mutex::new((0_usize, 0_usize)));
    let server = server(move |request| {
        let mut calls = calls.lock().unwrap();
        if request.url.path() == "/token" {
            assert_eq!(request.headers.get("authorization").unwrap(), "Basic YXR0dW5lOnMlM0FlJTIwY3JldA==");
            assert_eq!(request.headers.get("content-type").unwrap(), "application/x-www-form-urlencoded");
            assert_eq!(request.body, b"grant_type=client_credentials&scope=api%3A%2F%2Fx%2F.default");
            *calls = (calls.0 + 1, 0);
            return good(
                json!({ "access_token": format!("token-{}", calls.0), "expires_in": life_s, "token_type": "Bearer" }),
            );
        }
        calls.1 += 1;
        let latest = format!("Bearer token-{}", calls.0);
        if calls.1 > good_for || request.headers.get("authorization").is_none_or(|value| value != latest.as_str()) {
            return refusal(401);
        }
        good(rows([1]))
    })
    .await;
    let mut settings = server.settings(api());
    settings.auth = Auth::OAuth {
        token_url: format!("{}/token", server.http.uri()),
        client_id: "attune".to_owned(),
        secret: Arc::new(|| Ok(SecretString::from("s:e cret"))),
        scope: Some("api://x/.default".to_owned()),
    };
    (server, settings)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_anew_before_it_expires() {
    let (server, settings) = with_tokens(3600, usize::MAX).await;
    let connector = Rest::new(settings).unwrap();
    for _ in 0..3 {
        connector.fetch(&[Key::new("1")], &[0], NOW).await.unwrap();
    }
    let fetched = |server: &Server| server.asked().iter().filter(|line| *line == "POST /token").count();
    assert_eq!(fetched(&server), 1);
    // A token that lives for no time is never used twice.
    let (server, settings) = with_tokens(0, usize::MAX).await;
    let connector = Rest::new(settings).unwrap();
    for _ in 0..3 {
        connector.fetch(&[Key::new("1")], &[0], NOW).await.unwrap();
    }
    assert_eq!(fetched(&server), 3);
}

#[tokio::test]
async fn a_refused_token_is_fetched_anew_once() {
    let (server, settings) = with_tokens(3600, 1).await;
    let connector = Rest::new(settings).unwrap();
    connector.fetch(&[Key::new("1")], &[0], NOW).await.unwrap();
    // Young tokens are not fetched anew: a right is missing.
    let failure = connector.fetch(&[Key::new("1")], &[0], NOW).await.unwrap_err();
    assert_eq!(failure.class, Class::Auth);
    is_quiet(&failure);
    tokio::time::sleep(Duration::from_millis(5_100)).await;
    connector.fetch(&[Key::new("1")], &[0], NOW).await.unwrap();
    let asked = server.asked();
    let calls: Vec<&str> = asked.iter().map(|line| if line == "POST /token" { "token" } else { "call" }).collect();
    assert_eq!(calls, ["token", "call", "call", "call", "token", "call"]);
}

#[tokio::test]
async fn a_token_that_is_not_given_says_why() {
    for (answer, class) in [
        (refusal(400), Class::Auth),
        (refusal(401), Class::Auth),
        (refusal(503), Class::Retry),
        (good(json!({ "token": SECRET })), Class::Misconfigured),
        (ResponseTemplate::new(200).set_body_string(format!("access_token={SECRET}")), Class::Broken),
    ] {
        let server = server(move |request| {
            assert_eq!(request.url.path(), "/token", "nothing is called without a token");
            answer.clone()
        })
        .await;
        let mut settings = server.settings(api());
        settings.auth = Auth::OAuth {
            token_url: format!("{}/token", server.http.uri()),
            client_id: "attune".to_owned(),
            secret: Arc::new(|| Ok(SecretString::from(SECRET))),
            scope: None,
        };
        let failure = Rest::new(settings).unwrap().fetch(&[Key::new("1")], &[0], NOW).await.unwrap_err();
        assert_eq!(failure.class, class, "{failure}");
        assert!(!format!("{failure:?}").contains(SECRET), "{failure:?}");
    }
}

#[tokio::test]
async fn a_user_and_a_password_go_into_every_call() {
    let server = server(|request| {
        assert_eq!(request.headers.get("authorization").unwrap(), "Basic YXR0dW5lOmh1bnRlcjItc2VjcmV0");
        good(rows([1]))
    })
    .await;
    let mut settings = server.settings(api());
    settings.auth = Auth::Basic { user: "attune".to_owned(), secret: Arc::new(|| Ok(SecretString::from(SECRET))) };
    Rest::new(settings).unwrap().fetch(&[Key::new("1")], &[0], NOW).await.unwrap();
}

#[tokio::test]
async fn every_wait_ends_when_attune_stops() {
    let server = server(|_| good(rows([1])).set_delay(Duration::from_secs(60))).await;
    let mut settings = server.settings(api());
    settings.client = Client::default();
    settings.patience = Duration::from_secs(60);
    let cancel = settings.cancel.clone();
    let connector = Rest::new(settings).unwrap();
    let began = std::time::Instant::now();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    };
    let keys = [Key::new("1")];
    let (read, ()) = tokio::join!(connector.fetch(&keys, &[0], NOW), stop);
    assert!(read.is_err());
    let outcomes = connector.write(&[write(1, Some("x"))], NOW).await;
    assert_eq!(word(&outcomes[0]), "not sent Retry");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn values_that_a_field_cannot_hold_are_never_sent() {
    let server = server(|request| match request.method.as_str() {
        "PATCH" => ResponseTemplate::new(204),
        _ => good(json!({ "data": [{ "id": 1, "title": 7, "updated": "2026-01-05T10:00:00Z" }] })),
    })
    .await;
    let connector = server.connector(api());
    for (value, expected, sent) in [
        (Some("abc"), "rejected", 0),
        (Some("8, \"admin\": 1"), "rejected", 0),
        (Some("7"), "written Some(\"7\")", 1),
        (None, "written Some(\"7\")", 1),
    ] {
        let outcomes = connector.write(&[write(1, value)], NOW).await;
        assert_eq!(word(&outcomes[0]), expected, "{value:?}");
        let writes = server.asked().iter().filter(|line| line.starts_with("PATCH")).count();
        assert_eq!(writes, sent, "{value:?}");
    }
    let mut settings = server.settings(api());
    settings.fields = ["@key", "account.wholesaler_id"]
        .map(|name| FieldWanted { name: name.to_owned(), kind: FieldType::String })
        .to_vec();
    let connector = Rest::new(settings).unwrap();
    for field in [0, 1] {
        let outcomes = connector.write(&[Write { field, ..write(1, Some("7")) }], NOW).await;
        assert_eq!(word(&outcomes[0]), "rejected", "read only");
    }
    assert!(!server.asked().iter().any(|line| line.starts_with("PATCH")));
}

#[tokio::test]
async fn one_bad_field_does_not_hide_the_others_of_its_record() {
    let server = server(|request| match request.method.as_str() {
        "PATCH" => panic!("nothing is sent in part"),
        _ => good(json!({ "data": [{ "id": 1, "title": "x", "score": 7, "updated": "2026-01-05T10:00:00Z" }] })),
    })
    .await;
    let mut settings = server.settings(api());
    settings.fields.push(FieldWanted { name: "score".to_owned(), kind: FieldType::String });
    let connector = Rest::new(settings).unwrap();
    let writes = [write(1, Some("Buyer")), Write { field: 1, ..write(1, Some("abc")) }];
    let outcomes = connector.write(&writes, NOW).await;
    assert_eq!(outcomes.iter().map(word).collect::<Vec<_>>(), ["batch", "rejected"]);
}

#[tokio::test]
async fn what_leaves_out_nothing_shows_nothing_and_what_it_cannot_show_is_unseen() {
    let record = || json!({ "data": [{ "id": 1, "updated": "2026-01-05T10:00:00Z" }] });
    let server = server(move |_| good(record())).await;
    let seen = async |omits: bool| {
        let mut api = api();
        api.omits_nulls = omits;
        server.connector(api).fetch(&[Key::new("1")], &[0], NOW).await.unwrap()[0].cells[0].seen.clone()
    };
    assert_eq!(seen(false).await, Seen::Unseen);
    assert_eq!(seen(true).await, Seen::Absent);
}

#[tokio::test]
async fn a_field_that_makes_an_api_refuse_everything_is_named() {
    let server = server(|request| {
        let fields = argument(request, "fields").unwrap();
        if fields.split(',').any(|field| field == "titel" || field == "hidden") {
            refusal(403)
        } else {
            good(rows([1]))
        }
    })
    .await;
    let mut api = api();
    api.list.query = "limit={limit}&fields={fields}".to_owned();
    let mut settings = server.settings(api.clone());
    settings
        .fields
        .extend(["titel", "hidden"].map(|name| FieldWanted { name: name.to_owned(), kind: FieldType::String }));
    let failure = Rest::new(settings).unwrap().prepare(&[], false).await.unwrap_err();
    assert_eq!(failure.class, Class::Misconfigured);
    assert!(failure.message.contains("`titel`, `hidden`") && !failure.message.contains("`title`"), "{failure}");
    is_quiet(&failure);
    // What is refused without any field is not a field's fault.
    let closed = self::server(|_| refusal(403)).await;
    let failure = closed.connector(api).prepare(&[], false).await.unwrap_err();
    assert_eq!(failure.class, Class::Auth);
    assert_eq!(closed.asked().len(), 2);
}
