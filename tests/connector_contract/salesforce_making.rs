//! What only Salesforce has when records are made and deleted: an external id or none, codes, the bin.

use attune::connector::salesforce::Salesforce;
use attune::connector::{Connector, Created, Lane, Lifecycle, NewRecord, Removed, Unreserved};
use attune::model::{Class, FieldType, Key, Value};
use serde_json::json;

use crate::salesforce_world::SalesforceServer;

const NOW: Unreserved = Unreserved(Lane::Fresh);

const FIELDS: [(&str, FieldType); 5] = [
    ("Title", FieldType::String),
    ("Score__c", FieldType::Number),
    ("Vip__c", FieldType::Boolean),
    ("Full__c", FieldType::String),
    ("@key", FieldType::String),
];

async fn connector(server: &SalesforceServer, external_id: Option<&str>) -> Salesforce {
    let mut settings = server.settings(&FIELDS);
    settings.external_id = external_id.map(str::to_owned);
    let connector = Salesforce::new(settings).expect("the settings are sound");
    assert!(!connector.creates_with(0), "nobody has looked yet");
    connector.prepare(&[], false).await.expect("it can be prepared");
    connector
}

fn record(token: &str, values: &[(usize, &str)]) -> NewRecord {
    let values = values.iter().map(|(field, value)| (*field, Value::text(*value))).collect();
    NewRecord { token: token.to_owned(), values }
}

fn key(outcome: &Created) -> &str {
    match outcome {
        Created::Made(key) => key.as_str(),
        other => panic!("not made: {other:?}"),
    }
}

#[tokio::test]
async fn without_an_external_id_a_record_is_inserted() {
    let server = SalesforceServer::start().await;
    let connector = connector(&server, None).await;
    assert_eq!(connector.required(), [["LastName"]]);
    let takes: Vec<bool> = (0..FIELDS.len()).map(|field| connector.creates_with(field)).collect();
    assert_eq!(takes, [true, true, true, false, false]);
    let batch = [record("a", &[(0, "one"), (1, "12.5"), (2, "true")]), record("b", &[(0, "two"), (3, "made up")])];
    let outcomes = connector.create(&batch, &NOW).await;
    assert!(matches!(&outcomes[1], Created::Rejected(why) if why.contains("Full__c")), "{outcomes:?}");
    let values = server.org().record("Contact", key(&outcomes[0])).values.clone();
    assert_eq!((&values["Score__c"], &values["Vip__c"]), (&json!(12.5), &json!(true)));
    assert!(!values.contains_key("Token__c"));
    let calls = std::mem::take(&mut server.org().calls);
    assert_eq!(calls.last().expect("a call"), "POST /services/data/v62.0/composite/sobjects", "and no question before");
}

#[tokio::test]
async fn a_token_is_looked_for_in_answers_that_end_early_and_in_the_bin() {
    let server = SalesforceServer::start().await;
    let connector = connector(&server, Some("token__C")).await;
    let batch: Vec<NewRecord> = (0..5).map(|number| record(&format!("t{number}"), &[(0, "x")])).collect();
    let first = connector.create(&batch[..4], &NOW).await;
    server.org().record("Contact", key(&first[2])).deleted = true;
    server.org().rows_max = Some(2);
    let again = connector.create(&batch, &NOW).await;
    for (one, other) in first.iter().zip(&again) {
        assert_eq!(key(one), key(other));
    }
    assert_eq!(server.org().objects["Contact"].len(), 5, "one was new: {:?}", again[4]);
    assert!(server.org().record("Contact", key(&first[2])).deleted, "what is in the bin stays there");
}

#[tokio::test]
async fn an_external_id_that_is_none_is_a_matter_of_the_configuration() {
    let server = SalesforceServer::start().await;
    for (field, word) in [("Nowhere__c", "not there"), ("Title", "no external id"), ("Full__c", "no external id")] {
        let mut settings = server.settings(&FIELDS);
        settings.external_id = Some(field.to_owned());
        let prepared = Salesforce::new(settings).expect("the settings are sound").prepare(&[], false).await;
        let failure = prepared.expect_err("it is wrong");
        assert_eq!(failure.class, Class::Misconfigured);
        assert!(failure.message.contains(word) && failure.message.contains("external_id"), "{failure}");
    }
}

#[tokio::test]
async fn what_became_of_a_creation_is_told_by_the_answer() {
    let row = |code: &str, message: &str| json!({ "success": false, "errors": [{ "statusCode": code, "message": message, "fields": ["LastName"] }] });
    let made = || json!({ "id": "003A0000006Vm9r", "success": true, "errors": [] });
    let there = || row("DUPLICATE_VALUE", "duplicates value on record with id: 001A0000006Vm9r");
    let whole = |code: &str| json!([{ "errorCode": code, "message": "ada@" }]);
    for (what, status, answer, expected) in [
        ("made", 200, json!([made(), made()]), "made 003A0000006Vm9rIAC, made 003A0000006Vm9rIAC"),
        ("one is there", 200, json!([there(), made()]), "exists 001A0000006Vm9rIAC, made 003A0000006Vm9rIAC"),
        (
            "a rule of duplicates",
            200,
            json!([made(), row("DUPLICATES_DETECTED", "Use one?")]),
            "made 003A0000006Vm9rIAC, exists",
        ),
        (
            "a name is missing",
            200,
            json!([row("REQUIRED_FIELD_MISSING", "ada@"), made()]),
            "rejected REQUIRED_FIELD_MISSING LastName, made 003A0000006Vm9rIAC",
        ),
        ("it is locked", 200, json!([row("UNABLE_TO_LOCK_ROW", "x"), made()]), "not sent, made 003A0000006Vm9rIAC"),
        ("fewer rows", 200, json!([made()]), "unknown, unknown"),
        ("another shape", 200, json!({}), "unknown, unknown"),
        ("a lost answer", 502, json!("<html>"), "unknown, unknown"),
        ("all of it refused", 400, whole("JSON_PARSER_ERROR"), "batch, batch"),
        ("no right", 403, whole("INSUFFICIENT_ACCESS"), "not sent, not sent"),
    ] {
        let server = SalesforceServer::start().await;
        let connector = connector(&server, None).await;
        server.org().instead.push(("composite/sobjects".to_owned(), status, answer));
        let outcomes = connector.create(&[record("a", &[(0, "one")]), record("b", &[(0, "two")])], &NOW).await;
        let words: Vec<String> = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Created::Made(key) => format!("made {key}"),
                Created::Exists(Some(key)) => format!("exists {key}"),
                Created::Exists(None) => "exists".to_owned(),
                Created::Rejected(why) => {
                    assert!(!why.contains("ada@"), "{why}");
                    let words = ["REQUIRED_FIELD_MISSING", "LastName"].into_iter().filter(|word| why.contains(word));
                    std::iter::once("rejected").chain(words).collect::<Vec<_>>().join(" ")
                }
                Created::BatchRejected(failure) => {
                    assert!(!failure.to_string().contains("ada@"), "{failure}");
                    "batch".to_owned()
                }
                Created::NotSent(_) => "not sent".to_owned(),
                Created::Unknown(failure) => {
                    assert!(failure.may_have_happened, "{what}");
                    "unknown".to_owned()
                }
            })
            .collect();
        assert_eq!(words.join(", "), expected, "{what}");
    }
}

#[tokio::test]
async fn a_record_that_is_kept_is_told_and_a_lost_answer_is_unknown() {
    let server = SalesforceServer::start().await;
    let ids: Vec<String> = (0..3).map(|_| server.org().add("Contact", &[("Title", json!("x"))])).collect();
    server.org().record("Contact", &ids[1]).values.insert("Keeps__c".to_owned(), json!(true));
    let connector = connector(&server, None).await;
    let keys: Vec<Key> = ids.iter().map(Key::new).collect();
    let outcomes = connector.remove(&keys, &NOW).await;
    assert!(matches!(outcomes[0], Removed::Gone) && matches!(outcomes[2], Removed::Gone), "{outcomes:?}");
    assert!(matches!(&outcomes[1], Removed::Rejected(why) if why.contains("DELETE_FAILED")), "{outcomes:?}");
    for (status, answer, is_unknown) in [
        (502, json!("<html>"), true),
        (200, json!([]), true),
        (403, json!([{ "errorCode": "INSUFFICIENT_ACCESS" }]), false),
    ] {
        server.org().instead.push(("composite/sobjects".to_owned(), status, answer));
        let outcomes = connector.remove(&keys[1..2], &NOW).await;
        match &outcomes[0] {
            Removed::Unknown(failure) => assert!(is_unknown && failure.may_have_happened),
            Removed::NotSent(failure) => assert!(!is_unknown && failure.class == Class::Auth),
            other => panic!("{status}: {other:?}"),
        }
    }
}
