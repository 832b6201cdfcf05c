//! What only Salesforce has: two stamps, a bin, merges, accounts, sharing, answers that end early, a limit of a day.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use attune::connector::salesforce::Salesforce;
use attune::connector::{Connector, End, Lane, Unreserved};
use attune::model::{
    Cell, Class, DefinitionState, Existence, FieldType, Key, Observed, Outcome, Seen, Timestamp, Value, Write,
};
use futures::TryStreamExt;
use serde_json::json;

use crate::salesforce_world::{SECRET, SalesforceServer, now};
use crate::world::REFUSED;

const NOW: Unreserved = Unreserved(Lane::Fresh);
const TEXTS: [(&str, FieldType); 2] = [("Title", FieldType::String), ("Note__c", FieldType::String)];

fn connector(server: &SalesforceServer, fields: &[(&str, FieldType)]) -> Salesforce {
    Salesforce::new(server.settings(fields)).expect("the settings are sound")
}

async fn changes(connector: &Salesforce, since: i64) -> Vec<Observed> {
    let pages: Vec<_> =
        connector.changes("records", Timestamp::from_millis(since)).try_collect().await.expect("it is read");
    assert_eq!(pages.last().expect("a page").end, Some(End::Whole));
    pages.into_iter().flat_map(|page| page.observed).collect()
}

async fn fetch(connector: &Salesforce, ids: &[&str]) -> Vec<Observed> {
    let keys: Vec<Key> = ids.iter().map(|id| Key::new(*id)).collect();
    let fields: Vec<usize> = (0..connector.fields().len()).collect();
    connector.fetch(&keys, &fields, &NOW).await.expect("it is read")
}

fn write(id: &str, field: usize, value: &str) -> Write {
    let value = Some(Value::text(value));
    Write { key: Key::new(id), field, expect: Cell::absent(), value, modified: None }
}

#[tokio::test]
async fn answers_that_end_early_are_gone_on_with() {
    let server = SalesforceServer::start().await;
    for number in 0..1_001 {
        server.org().add("Contact", &[("Title", json!(number.to_string()))]);
    }
    server.org().rows_max = Some(250);
    let connector = connector(&server, &TEXTS);
    assert_eq!(changes(&connector, 0).await.len(), 1_001);
    let keys: Vec<String> = server.org().objects["Contact"].keys().take(200).cloned().collect();
    server.org().rows_max = Some(70);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert!(fetch(&connector, &keys).await.iter().all(|record| record.existence == Existence::Present));
}

#[tokio::test]
async fn a_query_that_takes_too_long_asks_for_less() {
    let server = SalesforceServer::start().await;
    for number in 0..700 {
        server.org().add("Contact", &[("Title", json!(number.to_string()))]);
    }
    server.org().slow_beyond = Some(500);
    let connector = connector(&server, &TEXTS);
    assert_eq!(changes(&connector, 0).await.len(), 700);
}

#[tokio::test]
async fn the_stamp_finds_and_the_date_decides() {
    let server = SalesforceServer::start().await;
    let id = server.org().add("Contact", &[("Title", json!("x"))]);
    let long_ago = now() - 1_000_000;

    server.org().record("Contact", &id).modified = long_ago;
    let shown = changes(&connector(&server, &TEXTS), now() - 1_000).await;
    assert_eq!(shown[0].modified, Some(Timestamp::from_millis(long_ago)));
    // One that appears later than its stamp says is still found.
    server.org().record("Contact", &id).stamp = now() - 30_000;
    assert_eq!(changes(&connector(&server, &TEXTS), now()).await.len(), 1);
}

#[tokio::test]
async fn merged_records_are_followed_and_ids_of_15_characters_known() {
    let server = SalesforceServer::start().await;
    let winner = server.org().add("Contact", &[("Title", json!("w"))]);
    let loser = server.org().add("Contact", &[("Title", json!("l"))]);
    {
        let mut org = server.org();
        let record = org.record("Contact", &loser);
        (record.deleted, record.master, record.stamp) = (true, Some(winner.clone()), now());
    }
    let connector = connector(&server, &TEXTS);
    let records = fetch(&connector, &[&loser, &winner[..15]]).await;
    assert_eq!(records[0].existence, Existence::MergedInto(Key::new(&winner)));
    assert_eq!((records[1].existence.clone(), records[1].key.as_str()), (Existence::Present, &winner[..15]));
    let outcomes = connector.write(&[write(&loser, 0, "late")], &NOW).await;
    assert!(matches!(outcomes[..], [Outcome::Gone]), "{outcomes:?}");
}

#[tokio::test]
async fn what_sharing_hides_is_not_gone() {
    let server = SalesforceServer::start().await;
    let hidden = server.org().add("Contact", &[("Title", json!("x"))]);
    let gone = server.org().add("Contact", &[("Title", json!("y"))]);
    server.org().record("Contact", &hidden).hidden = true;
    server.org().objects.get_mut("Contact").expect("contacts").remove(&gone);
    let existence: Vec<_> = fetch(&connector(&server, &TEXTS), &[&hidden, &gone, "no id at all"])
        .await
        .into_iter()
        .map(|record| record.existence)
        .collect();
    assert_eq!(existence, [Existence::NotSaid, Existence::Gone, Existence::Gone]);
}

#[tokio::test]
async fn an_edit_of_an_account_brings_its_contacts() {
    let server = SalesforceServer::start().await;
    let account = server.org().add("Account", &[("Wholesaler__c", json!("W-1"))]);
    let ann = server.org().add("Contact", &[("Title", json!("x")), ("AccountId", json!(account))]);
    let alone = server.org().add("Contact", &[("Title", json!("y"))]);
    for id in [&ann, &alone] {
        let mut org = server.org();
        let record = org.record("Contact", id);
        (record.stamp, record.modified) = (0, 0);
    }
    server.org().record("Account", &account).stamp = 0;
    let connector = connector(&server, &[("Title", FieldType::String), ("Account.wholesaler__c", FieldType::String)]);
    let shown = fetch(&connector, &[&ann, &alone]).await;
    assert_eq!(shown[0].cells[1].seen, Seen::Value(Value::text("W-1")));
    assert_eq!(shown[1].cells[1].seen, Seen::Absent);
    let before = now();
    assert!(changes(&connector, before).await.is_empty());
    server.org().edit("Account", &account, "Wholesaler__c", json!("W-2"));
    let fed = changes(&connector, before).await;
    assert_eq!(fed.len(), 1);
    assert_eq!(fed[0].cells[1].seen, Seen::Value(Value::text("W-2")));
    assert!(
        fed[0].cells[1].modified >= Some(Timestamp::from_millis(before)) && fed[0].modified < fed[0].cells[1].modified
    );
    let outcomes = connector.write(&[write(&ann, 1, "W-3")], &NOW).await;
    assert!(matches!(outcomes[..], [Outcome::Rejected(_)]), "many share it: {outcomes:?}");
}

#[tokio::test]
async fn answers_are_read_row_by_row() {
    let server = SalesforceServer::start().await;
    let ids: Vec<String> = (0..5).map(|_| server.org().add("Contact", &[("Title", json!("x"))])).collect();
    let connector = connector(&server, &TEXTS);
    server.org().record("Contact", &ids[3]).deleted = true;
    let writes = [
        write(&ids[0], 0, "good"),
        write(&ids[1], 0, REFUSED),
        write(&ids[2], 0, "good"),
        write(&ids[2], 1, REFUSED),
        write(&ids[3], 0, "late"),
        write(&ids[4], 0, "good"),
    ];
    let outcomes = connector.write(&writes, &NOW).await;
    let words: Vec<&str> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Written { .. } => "written",
            Outcome::Rejected(why) => {
                assert!(!why.contains(REFUSED) && why.contains("FIELD_CUSTOM_VALIDATION_EXCEPTION"), "{why}");
                "rejected"
            }
            Outcome::BatchRejected(_) => "again",
            Outcome::Gone => "gone",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(words, ["written", "rejected", "again", "rejected", "gone", "written"]);
}

#[tokio::test]
async fn values_of_every_type_come_and_go() {
    let server = SalesforceServer::start().await;
    let id = server.org().add("Contact", &[]);
    let fields = [
        ("Score__c", FieldType::Number),
        ("Vip__c", FieldType::Boolean),
        ("Seen__c", FieldType::Date),
        ("AccountId", FieldType::String),
        ("@key", FieldType::String),
    ];
    let connector = connector(&server, &fields);
    let writes = [
        write(&id, 0, "12.5"),
        write(&id, 1, "true"),
        write(&id, 2, "2026-01-02T03:04:05Z"),
        write(&id, 3, "001A0000006Vm9r"),
    ];
    for outcome in connector.write(&writes, &NOW).await {
        assert!(matches!(outcome, Outcome::Written { .. }), "{outcome:?}");
    }
    let record = fetch(&connector, &[&id]).await.remove(0);
    let shown: Vec<String> = record.cells.iter().map(|cell| cell.seen.value().expect("a value").display()).collect();
    assert_eq!(shown, ["12.5", "true", "2026-01-02T03:04:05Z", "001A0000006Vm9rIAC", id.as_str()]);
}

#[tokio::test]
async fn fields_that_cannot_be_used_say_why() {
    let server = SalesforceServer::start().await;
    let fields = ["Titel", "Photo__c", "Full__c", "Account.Wholesalr__c", "Owner.Name", "title"];
    let connector = connector(&server, &fields.map(|name| (name, FieldType::String)));
    let prepared = connector.prepare(&[], false).await.expect("it can be prepared");
    let states: Vec<String> = prepared
        .definitions
        .iter()
        .map(|definition| match &definition.state {
            DefinitionState::Unusable(why) => why.clone(),
            DefinitionState::Usable(shape) => format!("usable {}", shape.writable),
            other => panic!("{other:?}"),
        })
        .collect();
    for (state, expected) in states.iter().zip([
        "perhaps `Title`",
        "type base64",
        "usable false",
        "perhaps `Wholesaler__c`",
        "leads to no one object",
        "usable true",
    ]) {
        assert!(state.contains(expected), "{state}");
    }
}

#[tokio::test]
async fn an_expired_session_is_renewed_and_a_wrong_secret_is_not_repeated() {
    let server = SalesforceServer::start().await;
    let id = server.org().add("Contact", &[("Title", json!("x"))]);
    let connector = connector(&server, &TEXTS);
    fetch(&connector, &[&id]).await;
    server.org().token += 1;
    fetch(&connector, &[&id]).await;
    assert_eq!(server.org().tokens_given, 2);
    let mut settings = server.settings(&TEXTS);
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    settings.grant = attune::connector::salesforce::Grant::ClientCredentials {
        client_id: "x".to_owned(),
        client_secret: Arc::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok("wrong-hunter2".into())
        }),
    };
    let wrong = Salesforce::new(settings).expect("sound");
    let failure = wrong.prepare(&[], false).await.expect_err("it is wrong");
    assert!(failure.class == Class::Auth && failure.message.contains("client_id"), "{failure}");
    assert!(!format!("{failure:?}").contains("hunter2") && !format!("{failure:?}").contains(SECRET));
    let asked = server.org().calls.iter().filter(|call| call.ends_with("/token")).count();
    assert_eq!(asked, 3, "two good ones and one that was refused");
}

#[tokio::test]
async fn the_limit_of_a_day_is_respected() {
    let server = SalesforceServer::start().await;
    let id = server.org().add("Contact", &[("Title", json!("x"))]);
    let near = connector(&server, &TEXTS);
    fetch(&near, &[&id]).await;
    server.org().limit = "api-usage=4000/5000".to_owned();
    fetch(&near, &[&id]).await;
    let calls = server.org().calls.len();
    let outcomes = near.write(&[write(&id, 0, "y")], &NOW).await;
    assert!(matches!(&outcomes[..], [Outcome::NotSent(failure)] if failure.class == Class::Retry), "{outcomes:?}");
    assert_eq!(server.org().calls.len(), calls, "nothing was called");
    assert_eq!(near.quota().map(|quota| quota.left), Some(1_000));

    server.org().limit = "api-usage=18/5000".to_owned();
    let over = connector(&server, &TEXTS);
    fetch(&over, &[&id]).await;
    let problem = json!([{ "errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded." }]);
    for _ in 0..2 {
        server.org().instead.push(("composite/sobjects".to_owned(), 403, problem.clone()));
    }
    let outcomes = over.write(&[write(&id, 0, "y")], &NOW).await;
    let [Outcome::NotSent(failure)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert!(failure.class == Class::Retry && failure.retry_after.is_some(), "{failure}");
}

#[tokio::test]
async fn failures_of_a_write_have_their_classes() {
    let server = SalesforceServer::start().await;
    let id = server.org().add("Contact", &[("Title", json!("x"))]);
    let connector = connector(&server, &TEXTS);
    fetch(&connector, &[&id]).await;
    let problem = |code: &str| json!([{ "errorCode": code, "message": "bob@example.com" }]);
    for (status, body, expected) in [
        (400, problem("JSON_PARSER_ERROR"), "rejected"),
        (503, problem("SERVER_UNAVAILABLE"), "not sent"),
        (500, problem("UNKNOWN_EXCEPTION"), "unknown"),
        (200, json!([]), "unknown"),
        (200, json!({ "success": true }), "unknown"),
        (200, json!([{ "success": false, "errors": [{ "statusCode": "UNABLE_TO_LOCK_ROW" }] }]), "not sent"),
    ] {
        server.org().instead.push(("composite/sobjects".to_owned(), status, body));
        let outcomes = connector.write(&[write(&id, 0, "y")], &NOW).await;
        let word = match &outcomes[0] {
            Outcome::Rejected(why) => {
                assert!(!why.contains("bob@"), "{why}");
                "rejected"
            }
            Outcome::NotSent(failure) => {
                assert!(!failure.message.contains("bob@") && !failure.may_have_happened, "{failure}");
                "not sent"
            }
            Outcome::Unknown(_) => "unknown",
            other => panic!("{other:?}"),
        };
        assert_eq!(word, expected, "{status}");
    }
}
