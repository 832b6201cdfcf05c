//! What a store answers: bodies in every role, whole answers with their headers, and the cursors in them.

use std::sync::Arc;
use std::time::Duration;

use attune::connector::bigcommerce::{BigCommerce, FEED_ATTRIBUTE_VALUES};
use attune::connector::{Connector, End, Page, Unreserved};
use attune::http::{
    Caller, Credential, Endpoint, Lane, Pay, Request, SecretSource, Settings, Throttle, ThrottleSettings,
};
use attune::model::{Cell, Class, Failure, Key, Outcome, Seen, Side, Timestamp, Value, Write};
use futures::StreamExt;
use reqwest::header::{HeaderMap, HeaderName};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::reference::{Decimal, Json, Unread};
use super::server::{Server, TOKEN, good, with_server};

const DEFINITIONS: &str = r#"{"data": [{"id": 1, "name": "Job title", "type": "string"},
    {"id": 2, "name": "Wholesaler ID", "type": "string"}], "meta": {"pagination": {"total": 2, "total_pages": 1}}}"#;

const EMAIL: usize = 2;

const EMPTY: &str = r#"{"data": []}"#;

/// The same answer for ever is seen through after a few pages.
const PAGES_MAX: usize = 12;

/// One body as the answer to every kind of call.
pub fn body(body: &[u8]) {
    let read = Json::parse(body);
    with_server(|server| {
        definitions(server, body, &read);
        customers(server, body, &read);
        values(server, body, &read);
        written(server, body, &read);
        own(server, body, &read);
        beside(server, body);
    });
}

/// Refused as unreadable or as worth repeating: never as anything else, never with what the answer said in the sentence.
fn is_a_failure_to_read(failure: &Failure) {
    assert!(matches!(failure.class, Class::Broken | Class::Retry), "{failure:?}");
    shows_no_secret(failure);
}

fn shows_no_secret(failure: &Failure) {
    assert!(!format!("{failure:?}").contains(TOKEN), "{failure:?}");
    assert!(failure.message.len() < 500, "{failure:?}");
    assert!(failure.detail.as_ref().is_none_or(|detail| detail.chars().count() <= 501 + TOKEN.len()), "{failure:?}");
    assert!(failure.retry_after.is_none_or(|wait| wait <= Duration::from_secs(3600)), "{failure:?}");
}

/// The rows of a list, as the model reads it: none where it is no list of objects, and so must not be taken for one.
fn rows(read: &Result<Json, Unread>) -> Option<&[Json]> {
    let rows = read.as_ref().ok()?.get("data")?.list()?;
    rows.iter().all(|row| matches!(row, Json::Object(_))).then_some(rows)
}

fn must_be_rows<'a>(read: &'a Result<Json, Unread>, body: &[u8]) -> Option<&'a [Json]> {
    if matches!(read, Err(Unread::TooDeep)) {
        return None;
    }
    let rows = rows(read);
    assert!(rows.is_some(), "taken for a list: {}", String::from_utf8_lossy(body));
    rows
}

/// Whether what was shown is what the row says, to the last digit.
fn is_shown(seen: &Seen, said: &[&Json]) -> bool {
    match (seen, said) {
        (Seen::Unseen, []) => true,
        (Seen::Absent, [Json::Null]) => true,
        (Seen::Absent, [Json::Text(text)]) => text.is_empty(),
        (Seen::Value(Value::Text(shown)), [Json::Text(text)]) => shown == text,
        (Seen::Value(Value::Text(shown)), [Json::Bool(flag)]) => *shown == flag.to_string(),
        (Seen::Value(Value::Text(shown)), [Json::Number(text)]) => {
            Decimal::parse(shown).is_some() && Decimal::parse(shown) == Decimal::parse(text)
        }
        _ => false,
    }
}

fn pages(server: &Server, store: &BigCommerce, feed: Option<&'static str>) -> Vec<Result<Page, Failure>> {
    let since = Timestamp::parse("2026-01-02T00:00:00Z").expect("a time");
    server.runtime.block_on(async {
        let stream = feed.map_or_else(|| store.everything(), |feed| store.changes(feed, since));
        stream.take(PAGES_MAX + 1).collect().await
    })
}

fn definitions(server: &Server, body: &[u8], read: &Result<Json, Unread>) {
    let answer = good(body);
    server.answers(move |_| answer.clone());
    match server.runtime.block_on(server.store().prepare(&[], false)) {
        Err(failure) => is_a_failure_to_read(&failure),
        Ok(prepared) => {
            let Some(rows) = must_be_rows(read, body) else { return };
            for definition in prepared.definitions.iter().filter_map(|definition| definition.id.as_deref()) {
                let known = rows.iter().filter_map(|row| row.get("id")?.whole());
                assert!(known.into_iter().any(|id| id.to_string() == definition), "{definition} is no id of {rows:?}");
            }
        }
    }
    assert!(server.asked().len() <= PAGES_MAX, "asked {} times", server.asked().len());
}

/// A store that knows its attributes, and answers everything else with this body.
fn prepared(server: &Server, path: &'static str, body: &[u8]) -> BigCommerce {
    let (definitions, empty, answer) = (good(DEFINITIONS.as_bytes()), good(EMPTY.as_bytes()), good(body));
    server.answers(move |line| {
        let asked = line.split('?').next().unwrap_or_default();
        if asked.ends_with("/customers/attributes") {
            definitions.clone()
        } else if asked.ends_with(path) {
            answer.clone()
        } else {
            empty.clone()
        }
    });
    let store = server.store();
    server.runtime.block_on(store.prepare(&[], false)).expect("the definitions are sound");
    store
}

fn customers(server: &Server, body: &[u8], read: &Result<Json, Unread>) {
    let store = prepared(server, "/v3/customers", body);
    let pages = pages(server, &store, None);
    assert!(pages.len() <= PAGES_MAX, "the walk has no end");
    for page in &pages {
        let page = match page {
            Err(failure) => return is_a_failure_to_read(failure),
            Ok(page) => page,
        };
        let Some(rows) = must_be_rows(read, body) else { return };
        assert_eq!(page.observed.len(), rows.len(), "{rows:?}");
        for (observed, row) in page.observed.iter().zip(rows) {
            let id = row.get("id").and_then(Json::whole);
            assert_eq!(Some(observed.key.to_string()), id.map(|id| id.to_string()), "{row:?}");
            assert!(is_shown(&observed.cells[EMAIL].seen, &row.all("email")), "{row:?} became {observed:?}");
            let attributes = row.get("attributes").and_then(Json::list).unwrap_or_default();
            for (field, attribute) in [(0, 1), (1, 2)] {
                let Seen::Value(_) = &observed.cells[field].seen else { continue };
                let mut said =
                    attributes.iter().filter(|row| row.get("attribute_id").and_then(Json::whole) == Some(attribute));
                assert!(
                    said.any(|row| is_shown(&observed.cells[field].seen, &row.all("attribute_value"))),
                    "{row:?} became {observed:?}"
                );
            }
        }
    }
}

fn values(server: &Server, body: &[u8], read: &Result<Json, Unread>) {
    let store = prepared(server, "/v3/customers/attribute-values", body);
    let pages = pages(server, &store, Some(FEED_ATTRIBUTE_VALUES));
    assert!(pages.len() <= PAGES_MAX, "the walk has no end");
    for page in &pages {
        let page = match page {
            Err(failure) => return is_a_failure_to_read(failure),
            Ok(page) => page,
        };
        let Some(rows) = must_be_rows(read, body) else { return };
        for observed in &page.observed {
            for (field, attribute) in [(0, 1), (1, 2)] {
                let cell = &observed.cells[field];
                let of_cell = |row: &&Json| {
                    let whole = |name| row.get(name).and_then(Json::whole);
                    whole("attribute_id") == Some(attribute)
                        && whole("customer_id").map(|id| id.to_string()).as_deref() == Some(observed.key.as_str())
                };
                match rows.iter().rfind(of_cell) {
                    None => assert_eq!(*cell, Cell::default(), "nobody said that of {}", observed.key),
                    Some(row) => {
                        assert!(is_shown(&cell.seen, &row.all("attribute_value")), "{row:?} became {cell:?}");
                        assert_eq!(cell.token, row.get("id").and_then(Json::whole).map(|id| id.to_string()));
                    }
                }
            }
        }
        // No row is dropped without a word.
        for row in rows {
            let customer = row.get("customer_id").and_then(Json::whole).map(|id| id.to_string());
            let found = page.observed.iter().any(|observed| Some(observed.key.as_str()) == customer.as_deref());
            assert!(found, "{row:?} was dropped");
        }
    }
}

fn written(server: &Server, body: &[u8], read: &Result<Json, Unread>) {
    let store = prepared(server, "/v3/customers/attribute-values", body);
    let write = Write {
        key: Key::new("7"),
        field: 0,
        expect: Cell::default(),
        value: Some(Value::text("Buyer")),
        modified: None,
    };
    let outcomes = server.runtime.block_on(store.write(std::slice::from_ref(&write), &Unreserved(Lane::Fresh)));
    match &outcomes[..] {
        [Outcome::Written { stored }] => {
            let Some(rows) = must_be_rows(read, body) else { return };
            let of_cell = |row: &&Json| {
                let whole = |name| row.get(name).and_then(Json::whole);
                whole("attribute_id") == Some(1) && whole("customer_id") == Some(7)
            };
            let said = rows.iter().filter(of_cell).any(|row| is_shown(&stored.seen, &row.all("attribute_value")));
            assert!(said, "taken for written: {}", String::from_utf8_lossy(body));
        }
        // It may have taken effect: nobody knows.
        [Outcome::Unknown(failure)] => {
            is_a_failure_to_read(failure);
            assert!(failure.may_have_happened, "{failure:?}");
        }
        other => panic!("an answer of 200 became {other:?}"),
    }
    assert_eq!(server.asked().iter().filter(|line| line.starts_with("PUT")).count(), 1, "a write is sent once");
}

/// The customer's own fields, its group, its form fields: read, listed and written.
fn own(server: &Server, body: &[u8], read: &Result<Json, Unread>) {
    const FIELDS: [&str; 4] = ["customer:company", "customer:group", "form_field:Size", "customer:channel_ids"];
    let (definitions, empty, answer) = (good(DEFINITIONS.as_bytes()), good(EMPTY.as_bytes()), good(body));
    let groups = good(br#"[{"id": 1, "name": "Wholesale"}]"#);
    for broken in ["/v3/customers", "/v2/customer_groups", "/v3/customers/form-field-values"] {
        let (definitions, empty, answer, groups) = (definitions.clone(), empty.clone(), answer.clone(), groups.clone());
        server.answers(move |line| match line.split('?').next().unwrap_or_default() {
            asked if asked.ends_with(broken) => answer.clone(),
            asked if asked.ends_with("/customers/attributes") => definitions.clone(),
            asked if asked.ends_with("/customer_groups") => groups.clone(),
            _ => empty.clone(),
        });
        let store = server.store_of(&FIELDS);
        match server.runtime.block_on(store.prepare(&[], false)) {
            Err(failure) => is_a_failure_to_read(&failure),
            Ok(_) if broken != "/v3/customers" => {}
            Ok(_) => {
                for page in pages(server, &store, None) {
                    let page = match page {
                        Err(failure) => return is_a_failure_to_read(&failure),
                        Ok(page) => page,
                    };
                    let Some(rows) = must_be_rows(read, body) else { return };
                    for (observed, row) in page.observed.iter().zip(rows) {
                        assert!(is_shown(&observed.cells[0].seen, &row.all("company")), "{row:?} became {observed:?}");
                    }
                }
                let value = Some(Value::text("Acme"));
                let write = Write { key: Key::new("7"), field: 0, expect: Cell::default(), value, modified: None };
                let write = std::slice::from_ref(&write);
                let outcomes = server.runtime.block_on(store.write(write, &Unreserved(Lane::Fresh)));
                if let [Outcome::Written { stored }] = &outcomes[..] {
                    let Some(rows) = must_be_rows(read, body) else { return };
                    let of_customer = |row: &&Json| row.get("id").and_then(Json::whole) == Some(7);
                    let said = rows.iter().filter(of_customer).any(|row| is_shown(&stored.seen, &row.all("company")));
                    assert!(said, "taken for written: {}", String::from_utf8_lossy(body));
                } else {
                    assert!(matches!(&outcomes[..], [Outcome::Unknown(_)]), "{outcomes:?}");
                }
            }
        }
    }
}

/// A whole answer, from its status line on, as it comes over the wire.
pub fn exchange(answer: &[u8]) {
    const BYTES_MAX: usize = 4096;
    with_server(|server| {
        let bytes = answer.to_vec();
        server.answers(move |_| bytes.clone());
        let throttle = Throttle::new(
            ThrottleSettings { side: Side::Store, name: "acme".to_owned(), share: 0.8, fixed: None, in_flight_max: 8 },
            CancellationToken::new(),
        );
        let caller = Caller::new(Settings {
            client: server.client(),
            base: format!("{}/stores/abc123", server.address),
            credential: Credential {
                header: HeaderName::from_static("x-auth-token"),
                prefix: "".into(),
                secret: SecretSource::Kept(Arc::new(|| Ok(SecretString::from(TOKEN)))),
            },
            headers: HeaderMap::new(),
            throttle,
            body_bytes_max: Some(BYTES_MAX),
        })
        .expect("the settings are sound");
        let endpoint = Endpoint::new("/v3/customers", 3);
        let sent = server.runtime.block_on(async {
            let turn = caller.turn(&endpoint, Pay::InTurn(Lane::Fresh)).await.expect("nothing is known of a quota");
            caller.send(turn, &Request::get("limit=250")).await
        });
        match sent {
            Ok(answer) => {
                assert!((200..300).contains(&answer.status));
                assert!(answer.body.len() <= BYTES_MAX, "{} bytes", answer.body.len());
                plain_id(answer.request_id.as_deref());
                if let Err(failure) = answer.json::<serde_json::Value>() {
                    is_a_failure_to_read(&failure);
                }
            }
            Err(failure) => {
                shows_no_secret(&failure);
                plain_id(failure.request_id.as_deref());
                assert!(failure.status.is_none_or(|status| !(200..300).contains(&status) || failure.may_have_happened));
            }
        }
        // Whatever was told of the quota, it can be reckoned with.
        let seconds = caller.throttle().seconds_for(1000);
        assert!(seconds.is_finite() && seconds >= 0.0, "{seconds}");
        if let Some(quota) = caller.throttle().quota() {
            assert!(quota.reset_ms <= 3_600_000, "{quota:?}");
        }
    });
}

fn plain_id(id: Option<&str>) {
    let Some(id) = id else { return };
    assert!(id.len() <= 100 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
}

/// A cursor comes back to the store as the store gave it, whatever is in it.
pub fn cursor(cursor: &str) {
    let first = serde_json::json!({
        "data": [{"id": 1, "email": "ada@example.com", "attribute_count": 0, "attributes": []}],
        "meta": {"cursor_pagination": {"end_cursor": cursor, "links": {"next": "?after=linked"}}},
    });
    with_server(|server| {
        let (first, empty, definitions) =
            (good(first.to_string().as_bytes()), good(EMPTY.as_bytes()), good(DEFINITIONS.as_bytes()));
        server.answers(move |line| {
            if line.contains("/customers/attributes?") {
                definitions.clone()
            } else if line.contains("after=") {
                empty.clone()
            } else {
                first.clone()
            }
        });
        let store = server.store();
        server.runtime.block_on(store.prepare(&[], false)).expect("the definitions are sound");
        let pages = pages(server, &store, None);
        assert_eq!(pages.len(), 2, "{pages:?}");
        let end = pages[1].as_ref().map(|page| page.end).expect("both pages are sound");
        assert_eq!(end, Some(End::Whole));
        let asked = server.asked();
        let after = asked.last().and_then(|line| line.split_once("&after=")).map(|(_, after)| after).expect("a cursor");
        assert!(after.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)), "{after:?}");
        let wanted = if cursor.is_empty() { "linked" } else { cursor };
        assert_eq!(unescaped(after), wanted.as_bytes(), "{after:?}");
    });
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// How a store that hides nothing pages through its customers.
#[derive(Clone, Copy, Debug)]
pub struct Paged {
    pub customers: usize,
    pub page_rows: usize,
    pub by_cursor: bool,
    pub says_total: bool,
    pub says_pages: bool,
    pub says_page_rows: bool,
    pub links: bool,
}

impl Paged {
    /// Whether its answers say enough for the end to be known.
    fn tells(self) -> bool {
        self.says_total || self.says_page_rows || if self.by_cursor { self.links } else { self.says_pages }
    }

    fn page(self, line: &str) -> Vec<u8> {
        let asked = |name: &str| {
            let (_, rest) = line.split_once(name)?;
            rest.split('&').next()?.parse::<usize>().ok()
        };
        let first = match (asked("&after="), asked("&page=")) {
            (Some(after), _) => after,
            (_, Some(page)) => (page - 1) * self.page_rows,
            _ => 0,
        };
        let end = (first + self.page_rows).min(self.customers);
        let row = |id| format!(r#"{{"id":{},"email":"a@b.c","attribute_count":0,"attributes":[]}}"#, id + 1);
        let rows: Vec<String> = (first..end).map(row).collect();
        let mut numbered = Vec::new();
        let mut push = |said: bool, entry: String| numbered.extend(said.then_some(entry));
        push(self.says_total, format!(r#""total":{}"#, self.customers));
        push(self.says_page_rows, format!(r#""per_page":{}"#, self.page_rows));
        push(self.says_pages, format!(r#""total_pages":{}"#, self.customers.div_ceil(self.page_rows)));
        let mut meta = Vec::new();
        if !self.by_cursor || line.matches("&after=").count() == 0 {
            meta.push(format!(r#""pagination":{{{}}}"#, numbered.join(",")));
        }
        if self.by_cursor {
            let next = match (self.links, end < self.customers) {
                (false, _) => String::new(),
                (true, true) => format!(r#","links":{{"next":"?limit=250&after={end}"}}"#),
                (true, false) => r#","links":{"next":null}"#.to_owned(),
            };
            let rows = if self.says_page_rows { format!(r#""per_page":{},"#, self.page_rows) } else { String::new() };
            meta.push(format!(r#""cursor_pagination":{{{rows}"end_cursor":"{end}"{next}}}"#));
        }
        good(format!(r#"{{"data":[{}],"meta":{{{}}}}}"#, rows.join(","), meta.join(",")).as_bytes())
    }
}

/// A walk ends soon, and one that says that it was whole has shown every customer once.
pub fn walk(paged: Paged) {
    with_server(|server| {
        let definitions = good(DEFINITIONS.as_bytes());
        server.answers(
            move |line| {
                if line.contains("/customers/attributes?") { definitions.clone() } else { paged.page(line) }
            },
        );
        let store = server.store();
        server.runtime.block_on(store.prepare(&[], false)).expect("the definitions are sound");
        let walked: Vec<_> = server.runtime.block_on(store.everything().take(100).collect());
        let calls = server.asked().len() - 1;
        assert!(calls <= paged.customers.div_ceil(paged.page_rows) + 1, "{paged:?} took {calls} calls");
        let mut seen = Vec::new();
        let mut end = None;
        for page in &walked {
            let page = page.as_ref().unwrap_or_else(|failure| panic!("{paged:?}: {failure}"));
            seen.extend(page.observed.iter().map(|observed| observed.key.to_string()));
            end = page.end;
        }
        assert_eq!(end, Some(End::Whole), "{paged:?}");
        if paged.tells() {
            let all: Vec<String> = (1..=paged.customers).map(|id| id.to_string()).collect();
            assert_eq!(seen, all, "{paged:?}");
        }
    });
}

/// All of this family, by the first byte.
pub fn any(data: &[u8]) {
    match data.split_first() {
        Some((0..128, rest)) => body(rest),
        Some((128..192, rest)) => exchange(rest),
        Some((192.., rest)) => cursor(&String::from_utf8_lossy(rest)),
        None => {}
    }
}

/// What has lists of its own: segments and who is in them, metafields, subscribers, addresses. Read every way there is and
/// written: whatever comes ends, is no panic, and is taken for written only where it says so.
fn beside(server: &Server, body: &[u8]) {
    const FIELDS: [&str; 5] =
        ["segment:Gold", "metafield:erp/id", "subscriber:marketing_newsletter", "address:city", "customer:company"];
    const CUSTOMER: &str = r#"{"data": [{"id": 7, "email": "a@example.com", "first_name": "A", "last_name": "B",
        "address_count": 2, "addresses": [], "shopper_profile_id": "p7", "segment_ids": []}]}"#;
    const SEGMENTS: &str = r#"{"data": [{"id": "5e60e47a", "name": "Gold"}]}"#;
    const ENDS: [&str; 6] =
        ["/segments", "/shopper-profiles", "/metafields", "/subscribers", "/addresses", "/subscribers/5"];
    const TOKENS: [Option<&str>; 4] = [
        Some("p7"),
        None,
        Some(r#"{"id":5,"email":"a@example.com","consents":[]}"#),
        Some(r#"{"id":3,"first_name":"A","last_name":"B"}"#),
    ];
    // One role for each body: of all of them there are enough.
    let broken = ENDS[body.len() % ENDS.len()];
    let [definitions, empty, customer, segments, answer] =
        [DEFINITIONS.as_bytes(), EMPTY.as_bytes(), CUSTOMER.as_bytes(), SEGMENTS.as_bytes(), body].map(good);
    server.answers(move |line| match line.split('?').next().unwrap_or_default() {
        asked if asked.ends_with(broken) => answer.clone(),
        asked if asked.ends_with("/customers/attributes") => definitions.clone(),
        asked if asked.ends_with("/v3/segments") => segments.clone(),
        asked if asked.ends_with("/v3/customers") => customer.clone(),
        _ => empty.clone(),
    });
    let store = server.store_of(&FIELDS);
    match server.runtime.block_on(store.prepare(&[], false)) {
        Err(failure) => is_a_failure_to_read(&failure),
        Ok(_) => {
            for feed in store.feeds().iter().map(|feed| Some(*feed)).chain([None]) {
                let pages = pages(server, &store, feed);
                assert!(pages.len() <= PAGES_MAX, "the walk of {feed:?} has no end");
                pages.iter().filter_map(|page| page.as_ref().err()).for_each(is_a_failure_to_read);
            }
            let every: Vec<usize> = (0..FIELDS.len()).collect();
            let (keys, lane) = ([Key::new("7")], Unreserved(Lane::Fresh));
            let fetched = store.fetch(&keys, &every, &lane);
            if let Err(failure) = server.runtime.block_on(fetched) {
                is_a_failure_to_read(&failure);
            }
            for (field, token) in TOKENS.iter().enumerate() {
                let text = if field == 0 || field == 2 { "true" } else { "Xyzzy" };
                let expect = Cell { token: token.map(str::to_owned), ..Cell::default() };
                let write = Write { key: Key::new("7"), field, expect, value: Some(Value::text(text)), modified: None };
                let outcomes = server.runtime.block_on(store.write(&[write], &Unreserved(Lane::Fresh)));
                let said = String::from_utf8_lossy(body);
                match &outcomes[..] {
                    // A text that nothing else here holds: whoever says that it is stored has read it.
                    [Outcome::Written { stored }] if stored.seen == Seen::Value(Value::text("Xyzzy")) => {
                        assert!(said.contains("Xyzzy"), "taken for written: {said}");
                    }
                    [Outcome::Unknown(failure) | Outcome::NotSent(failure) | Outcome::BatchRejected(failure)] => {
                        shows_no_secret(failure);
                    }
                    [_] => {}
                    _ => panic!("{} outcomes of one write", outcomes.len()),
                }
            }
        }
    }
}
