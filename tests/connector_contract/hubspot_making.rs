//! What only HubSpot has when records are made and archived: traces, answers in no order, merged records, e-mails.

use attune::connector::hubspot::HubSpot;
use attune::connector::{Created, Lane, Lifecycle, NewRecord, Removed, Unreserved};
use attune::model::{Class, Existence, FieldType, Key, Value};
use serde_json::{Value as Json, json};

use crate::hubspot_world::HubSpotServer;
use crate::suite::text;

const NOW: Unreserved = Unreserved(Lane::Fresh);

async fn connector(server: &HubSpotServer) -> HubSpot {
    use attune::connector::Connector;
    let fields = [("email", FieldType::String), ("note", FieldType::String), ("hs_score", FieldType::String)];
    let connector = HubSpot::new(server.settings(&fields)).expect("the settings are sound");
    assert!(!connector.creates_with(0), "nobody has looked yet");
    connector.prepare(&[], false).await.expect("it can be prepared");
    connector
}

fn record(token: &str, values: &[(usize, &str)]) -> NewRecord {
    let values = values.iter().map(|(field, value)| (*field, Value::text(*value))).collect();
    NewRecord { token: token.to_owned(), values }
}

fn key(outcome: &Created) -> Key {
    match outcome {
        Created::Made(key) => key.clone(),
        other => panic!("not made: {other:?}"),
    }
}

#[tokio::test]
async fn an_answer_in_no_order_is_told_apart_by_traces_and_without_them_by_what_it_holds() {
    use attune::connector::Connector;
    for hides_traces in [false, true] {
        let server = HubSpotServer::start().await;
        server.account().unique = Some("email");
        server.account().hides_traces = hides_traces;
        let connector = connector(&server).await;
        assert_eq!(connector.required(), [["email"]]);
        let batch = [
            record("a", &[(0, "ada@example.com"), (1, "same")]),
            record("b", &[(0, "bob@example.com"), (1, "same")]),
            record("c", &[(1, "alike")]),
            record("d", &[(1, "alike")]),
        ];
        let outcomes = connector.create(&batch, &NOW).await;
        let keys = [key(&outcomes[0]), key(&outcomes[1])];
        let shown = connector.fetch(&keys, &[0], &NOW).await.expect("it is read");
        assert_eq!(text(&shown[0].cells[0]), Some("ada@example.com"));
        assert_eq!(text(&shown[1].cells[0]), Some("bob@example.com"));
        for outcome in &outcomes[2..] {
            match outcome {
                Created::Made(_) => assert!(!hides_traces),
                Created::Unknown(failure) => {
                    assert!(hides_traces && failure.may_have_happened, "nobody can tell them apart")
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_became_of_a_creation_is_told_by_the_answer() {
    let refused =
        |category: &str, message: &str| json!({ "status": "error", "category": category, "message": message });
    let exists = || refused("CONFLICT", "Contact already exists. Existing ID: 77");
    let results = |results: Json| json!({ "status": "COMPLETE", "results": results });
    let row = |id: &str, trace: &str| json!({ "id": id, "properties": {}, "objectWriteTraceId": trace });
    let nameless = json!({ "status": "COMPLETE", "results": [], "errors": [refused("VALIDATION_ERROR", "ada@")] });
    for (what, status, answer, alone, together) in [
        ("made", 201, results(json!([row("7", "a"), row("8", "b")])), "made 7", "made 7, made 8"),
        ("one is missing", 201, results(json!([row("7", "a")])), "made 7", "made 7, unknown"),
        ("there is one", 409, exists(), "exists 77", "batch, batch"),
        ("a bad value", 400, refused("VALIDATION_ERROR", "ada@"), "rejected", "batch, batch"),
        ("nobody is named", 207, nameless, "rejected", "batch, batch"),
        ("a lost answer", 502, json!("<html>"), "unknown", "unknown, unknown"),
        ("another shape", 201, json!([]), "unknown", "unknown, unknown"),
        ("no right", 403, refused("MISSING_SCOPES", "no"), "not sent", "not sent, not sent"),
        ("too many calls", 429, refused("RATE_LIMITS", "no"), "not sent", "not sent, not sent"),
    ] {
        let server = HubSpotServer::start().await;
        let connector = connector(&server).await;
        let batch = [record("a", &[(0, "ada@example.com")]), record("b", &[(0, "bob@example.com")])];
        for (batch, expected) in [(&batch[..1], alone), (&batch[..], together)] {
            server.account().instead.push(("/batch/create".to_owned(), status, answer.clone()));
            let outcomes = connector.create(batch, &NOW).await;
            let words: Vec<String> = outcomes
                .into_iter()
                .map(|outcome| match outcome {
                    Created::Made(key) => format!("made {key}"),
                    Created::Exists(key) => format!("exists {}", key.expect("a key")),
                    Created::Rejected(why) => {
                        assert!(!why.contains("ada@"), "{why}");
                        "rejected".to_owned()
                    }
                    Created::BatchRejected(failure) => {
                        assert!(failure.class == Class::Rejected && !failure.to_string().contains("ada@"), "{failure}");
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
        let sent = server.account().calls.iter().filter(|call| call.ends_with("/batch/create")).count();
        assert_eq!(sent, 2, "{what}: each is sent once");
    }
}

#[tokio::test]
async fn a_field_that_cannot_be_given_keeps_its_record_alone() {
    let server = HubSpotServer::start().await;
    let properties = |server: &HubSpotServer| {
        server
            .account()
            .properties
            .get_mut("contacts")
            .expect("contacts")
            .push(("hs_score".to_owned(), "string".to_owned()))
    };
    properties(&server);
    let connector = connector(&server).await;
    let takes: Vec<bool> = (0..3).map(|field| connector.creates_with(field)).collect();
    assert_eq!(takes, [true, true, false], "one that is read only");
    let batch = [record("a", &[(0, "ada@example.com"), (2, "7")]), record("b", &[(0, "bob@example.com")])];
    let outcomes = connector.create(&batch, &NOW).await;
    assert!(matches!(&outcomes[0], Created::Rejected(why) if why.contains("hs_score")), "{outcomes:?}");
    key(&outcomes[1]);
}

#[tokio::test]
async fn the_winner_of_a_merge_is_not_archived_for_the_loser() {
    use attune::connector::Connector;
    let server = HubSpotServer::start().await;
    let ids: Vec<u64> = (0..3).map(|_| server.account().add("contacts", &[("note", "x")])).collect();
    let winner = server.account().merge(ids[0], ids[1]);
    let connector = connector(&server).await;
    let key = |id: u64| Key::new(id.to_string());
    let outcomes = connector.remove(&[key(ids[0]), key(ids[2])], &NOW).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Removed::Gone)), "{outcomes:?}");
    let now = connector.fetch(&[key(winner), key(ids[2])], &[], &NOW).await.expect("it is read");
    let existence: Vec<&Existence> = now.iter().map(|record| &record.existence).collect();
    assert_eq!(existence, [&Existence::Present, &Existence::Gone]);
    for (status, is_unknown) in [(502, true), (403, false)] {
        server.account().instead.push(("/batch/archive".to_owned(), status, json!({ "category": "x" })));
        let outcomes = connector.remove(&[key(winner), key(ids[2])], &NOW).await;
        match &outcomes[0] {
            Removed::Unknown(failure) => assert!(is_unknown && failure.may_have_happened),
            Removed::NotSent(failure) => assert!(!is_unknown && failure.class == Class::Auth),
            other => panic!("{other:?}"),
        }
        assert!(matches!(outcomes[1], Removed::Gone), "it was gone before");
    }
}
