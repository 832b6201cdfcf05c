//! What only HubSpot has: a search that lags and ends, history, archives, merges, companies, answers row by row.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use attune::connector::hubspot::HubSpot;
use attune::connector::{Connector, End, Lane, Unreserved};
use attune::model::{
    Cell, Class, DefinitionState, Existence, FieldType, Holds, Key, Observed, Outcome, Seen, Timestamp, Value, Write,
};
use futures::TryStreamExt;
use serde_json::json;

use crate::hubspot_world::{HubSpotServer, TOKEN, now};
use crate::world::REFUSED;

const NOW: Unreserved = Unreserved(Lane::Fresh);
const TEXTS: [(&str, FieldType); 2] = [("title", FieldType::String), ("note", FieldType::String)];

fn connector(server: &HubSpotServer, fields: &[(&str, FieldType)]) -> HubSpot {
    HubSpot::new(server.settings(fields)).expect("the settings are sound")
}

fn key(id: u64) -> Key {
    Key::new(id.to_string())
}

async fn changes(connector: &HubSpot, feed: &'static str, since: i64) -> Vec<Observed> {
    let since = Timestamp::from_millis(since);
    let pages: Vec<_> = connector.changes(feed, since).try_collect().await.expect("the feed is read");
    assert_eq!(pages.last().expect("a page").end, Some(End::Whole));
    pages.into_iter().flat_map(|page| page.observed).collect()
}

async fn fetch(connector: &HubSpot, ids: &[u64]) -> Vec<Observed> {
    let keys: Vec<Key> = ids.iter().map(|id| key(*id)).collect();
    let fields: Vec<usize> = (0..connector.fields().len()).collect();
    connector.fetch(&keys, &fields, &NOW).await.expect("it is read")
}

fn write(id: u64, field: usize, value: &str) -> Write {
    let value = Some(Value::text(value));
    Write { key: key(id), field, expect: Cell::absent(), value, modified: None }
}

#[tokio::test]
async fn twenty_thousand_contacts_of_one_time_are_all_shown() {
    let server = HubSpotServer::start().await;
    for number in 0..20_000 {
        server.account().add("contacts", &[("title", &number.to_string())]);
    }
    let at = now();
    let ids: Vec<u64> = server.account().objects["contacts"].keys().copied().collect();
    for id in ids {
        server.account().edit("contacts", id, "note", "the month's end");
    }
    let connector = connector(&server, &[("note", FieldType::String)]);
    let shown: BTreeSet<Key> = changes(&connector, "records", at).await.into_iter().map(|record| record.key).collect();
    assert_eq!(shown.len(), 20_000);
    // 100 searches and one that is empty, 400 reads: none for one contact alone.
    let calls = server.account().calls.len();
    assert!(calls <= 505, "{calls} calls");
}

#[tokio::test]
async fn what_search_learns_of_late_is_not_missed() {
    let server = HubSpotServer::start().await;
    let id = server.account().add("contacts", &[("title", "old")]);
    let connector = connector(&server, &TEXTS);
    server.account().lag_ms = 1_000;
    server.account().edit("contacts", id, "title", "new");
    // The poll right after it does not see it, and its cursor is past the edit.
    assert!(changes(&connector, "records", now() - 1).await.is_empty());
    let cursor = now() + 5_000;
    server.account().lag_ms = 0;
    let shown = changes(&connector, "records", cursor).await;
    assert_eq!(shown[0].cells[0].seen, Seen::Value(Value::text("new")), "values are read directly");
}

#[tokio::test]
async fn each_property_is_dated_by_its_own_history() {
    let server = HubSpotServer::start().await;
    let id = server.account().add("contacts", &[("title", "Buyer"), ("note", "x")]);
    let connector = connector(&server, &TEXTS);
    let before = now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    server.account().edit("contacts", id, "note", "");
    for record in [fetch(&connector, &[id]).await, changes(&connector, "records", before).await] {
        let [title, note] = &record[0].cells[..] else { panic!("two fields") };
        assert!(title.modified.expect("dated").as_millis() <= before, "an edit beside it does not date it");
        assert!(note.seen == Seen::Absent && note.modified.expect("a clear is dated").as_millis() > before);
    }
}

#[tokio::test]
async fn archived_records_are_gone_until_they_are_back() {
    let server = HubSpotServer::start().await;
    let ids: Vec<u64> = (0..3).map(|_| server.account().add("contacts", &[("title", "x")])).collect();
    let connector = connector(&server, &TEXTS);
    let since = now();
    server.account().archive(ids[0], since - 60_000);
    server.account().archive(ids[1], since);
    let gone = changes(&connector, "archived", since).await;
    assert_eq!(
        gone.iter().map(|record| (&record.key, &record.existence)).collect::<Vec<_>>(),
        [(&key(ids[1]), &Existence::Gone)]
    );
    let existence: Vec<_> = fetch(&connector, &ids).await.into_iter().map(|record| record.existence).collect();
    assert_eq!(existence, [Existence::Gone, Existence::Gone, Existence::Present]);
    let pages: Vec<_> = connector.everything().try_collect().await.expect("the sweep is read");
    let all: Vec<(Key, Existence)> =
        pages.into_iter().flat_map(|page| page.observed).map(|record| (record.key, record.existence)).collect();
    let expected = [(ids[2], Existence::Present), (ids[0], Existence::Gone), (ids[1], Existence::Gone)];
    assert_eq!(all, expected.map(|(id, existence)| (key(id), existence)));
    server.account().record("contacts", ids[1]).restore();
    assert_eq!(fetch(&connector, &ids[1..2]).await[0].existence, Existence::Present);
}

#[tokio::test]
async fn merged_records_are_followed_to_the_new_one() {
    let server = HubSpotServer::start().await;
    let one = server.account().add("contacts", &[("title", "one")]);
    let other = server.account().add("contacts", &[("title", "other")]);
    let connector = connector(&server, &TEXTS);
    let since = now();
    let winner = server.account().merge(one, other);
    let into = Existence::MergedInto(key(winner));
    let records = fetch(&connector, &[one, winner, other]).await;
    let existence: Vec<_> = records.into_iter().map(|record| record.existence).collect();
    assert_eq!(existence, [into.clone(), Existence::Present, into.clone()]);
    let fed: Vec<(Key, Existence)> =
        changes(&connector, "records", since).await.into_iter().map(|record| (record.key, record.existence)).collect();
    assert_eq!(fed, [(key(winner), Existence::Present), (key(one), into.clone()), (key(other), into)]);
    // A write to an old id lands on the new record: it is not taken for one to the old.
    let outcomes = connector.write(&[write(one, 0, "late")], &NOW).await;
    assert!(matches!(outcomes[..], [Outcome::Unknown(_)]), "{outcomes:?}");
}

#[tokio::test]
async fn an_edit_of_a_company_brings_its_contacts() {
    let server = HubSpotServer::start().await;
    let company = server.account().add("companies", &[("wholesaler_id", "W-1")]);
    let people: Vec<u64> = (0..450)
        .map(|_| server.account().add("contacts", &[("title", "x"), ("associatedcompanyid", &company.to_string())]))
        .collect();
    let alone = server.account().add("contacts", &[("title", "y")]);
    let connector = connector(&server, &[("title", FieldType::String), ("company.wholesaler_id", FieldType::String)]);
    assert_eq!(connector.feeds(), ["records", "archived", "companies"]);
    let shown = fetch(&connector, &[people[0], alone]).await;
    assert_eq!(shown[0].cells[1].seen, Seen::Value(Value::text("W-1")));
    assert_eq!(shown[1].cells[1].seen, Seen::Absent);
    let far = now() + 120_000;
    assert!(changes(&connector, "companies", far).await.is_empty());
    let before = now();
    tokio::time::sleep(Duration::from_millis(2)).await;
    server.account().edit("companies", company, "wholesaler_id", "W-2");
    let fed = changes(&connector, "companies", before).await;
    assert_eq!(fed.len(), 450);
    assert!(fed.iter().all(|record| record.cells[1].seen == Seen::Value(Value::text("W-2"))));
    assert!(fed.iter().all(|record| record.cells[1].modified.expect("dated").as_millis() > before));
    let outcomes = connector.write(&[write(people[0], 1, "W-3")], &NOW).await;
    assert!(matches!(outcomes[..], [Outcome::Rejected(_)]), "many share it: {outcomes:?}");
}

#[tokio::test]
async fn answers_are_read_row_by_row() {
    let server = HubSpotServer::start().await;
    let ids: Vec<u64> = (0..5).map(|_| server.account().add("contacts", &[("title", "x")])).collect();
    let connector = connector(&server, &TEXTS);
    server.account().refuses_rows = true;
    server.account().objects.get_mut("contacts").expect("contacts").remove(&ids[3]);
    let writes = [
        write(ids[0], 0, "good"),
        write(ids[1], 0, REFUSED),
        write(ids[2], 0, "good"),
        write(ids[2], 1, REFUSED),
        write(ids[3], 0, "late"),
        write(ids[4], 0, "good"),
    ];
    let outcomes = connector.write(&writes, &NOW).await;
    let words: Vec<&str> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Written { .. } => "written",
            Outcome::Rejected(why) => {
                assert!(!why.contains(REFUSED), "{why}");
                "rejected"
            }
            Outcome::BatchRejected(failure) => {
                assert!(!failure.message.contains(REFUSED), "{failure}");
                "again"
            }
            Outcome::Gone => "gone",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(words, ["written", "rejected", "again", "again", "gone", "written"]);
}

#[tokio::test]
async fn an_answer_without_the_value_is_not_believed() {
    let server = HubSpotServer::start().await;
    let id = server.account().add("contacts", &[("title", "x")]);
    let connector = connector(&server, &TEXTS);
    server.account().hides_values = true;
    let outcomes = connector.write(&[write(id, 0, "y")], &NOW).await;
    assert!(matches!(&outcomes[0], Outcome::Written { stored } if stored.seen == Seen::Value(Value::text("y"))));
    // One that names other records than were asked for says nothing of ours.
    let nothing = json!({ "status": "COMPLETE", "results": [] });
    server.account().instead.push(("batch/update".to_owned(), 200, nothing));
    let outcomes = connector.write(&[write(id, 0, "z")], &NOW).await;
    assert!(matches!(&outcomes[0], Outcome::Unknown(failure) if failure.may_have_happened), "{outcomes:?}");
    assert_eq!(fetch(&connector, &[id]).await[0].cells[0].seen, Seen::Value(Value::text("y")));
}

#[tokio::test]
async fn failures_of_a_write_have_their_classes() {
    let server = HubSpotServer::start().await;
    let id = server.account().add("contacts", &[("title", "x")]);
    let connector = connector(&server, &TEXTS);
    fetch(&connector, &[id]).await;
    for (status, expected) in [
        (400, "rejected"),
        (409, "rejected"),
        (401, "not sent"),
        (403, "not sent"),
        (423, "not sent"),
        (429, "not sent"),
        (477, "not sent"),
        (500, "unknown"),
        (503, "unknown"),
    ] {
        let problem = json!({ "status": "error", "category": "X", "message": "bob@example.com" });
        server.account().instead.push(("batch/update".to_owned(), status, problem));
        let outcomes = connector.write(&[write(id, 0, "y")], &NOW).await;
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

#[tokio::test]
async fn properties_are_compared_and_made_on_request() {
    let server = HubSpotServer::start().await;
    let fields = [
        ("titel", FieldType::String),
        ("hs_lead_score", FieldType::Number),
        ("picture", FieldType::String),
        ("vip_since", FieldType::Date),
        ("is_vip", FieldType::Boolean),
    ];
    let more = [("hs_lead_score", "number"), ("picture", "object_coordinates")];
    let more = more.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    server.account().properties.get_mut("contacts").expect("contacts").extend(more);
    let state = |definitions: &[attune::model::Definition], at: usize| match &definitions[at].state {
        DefinitionState::Unusable(why) => why.clone(),
        DefinitionState::Usable(shape) => format!("usable {:?} {}", shape.holds, shape.writable),
        DefinitionState::ToCreate(shape) => format!("to create {:?}", shape.holds),
        DefinitionState::Created(shape) => format!("created {:?}", shape.holds),
        other => panic!("{other:?}"),
    };
    let found = connector(&server, &fields).prepare(&[], true).await.expect("it can be prepared").definitions;
    assert!(state(&found, 0).contains("perhaps `title`"), "{}", state(&found, 0));
    assert_eq!(state(&found, 1), format!("usable {:?} false", Holds::Number));
    assert!(state(&found, 2).contains("object_coordinates"));
    assert!(state(&found, 3).contains("no property `vip_since`"), "nobody asked for it: {}", state(&found, 3));

    let mut settings = server.settings(&fields[3..]);
    settings.create_in_group = Some("contactinformation".to_owned());
    let maker = HubSpot::new(settings).expect("sound");
    let looked = maker.prepare(&[], false).await.expect("it can be prepared").definitions;
    assert_eq!([state(&looked, 0), state(&looked, 1)], ["to create Date", "to create Boolean"]);
    let made = maker.prepare(&[], true).await.expect("it can be prepared").definitions;
    assert_eq!([state(&made, 0), state(&made, 1)], ["created Date", "created Boolean"]);
    let id = server.account().add("contacts", &[]);
    let outcomes = maker.write(&[write(id, 0, "2026-01-02"), write(id, 1, "true")], &NOW).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Written { .. })), "{outcomes:?}");
    let again = maker.prepare(&[], true).await.expect("it can be prepared").definitions;
    assert!(state(&again, 0).starts_with("usable"));
}

#[tokio::test]
async fn a_token_that_was_changed_is_found_in_mid_run() {
    let server = HubSpotServer::start().await;
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reads);
    let mut settings = server.settings(&TEXTS);
    settings.access_token = Arc::new(move || {
        let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(if first { "pat-old" } else { TOKEN }.into())
    });
    HubSpot::new(settings).expect("sound").prepare(&[], false).await.expect("the new token is found");
    let mut settings = server.settings(&TEXTS);
    settings.access_token = Arc::new(|| Ok("pat-wrong".into()));
    let failure = HubSpot::new(settings).expect("sound").prepare(&[], false).await.expect_err("it is wrong");
    assert!(failure.class == Class::Auth && failure.message.contains("access_token"), "{failure}");
    assert!(!failure.to_string().contains("pat-wrong"));
}

#[tokio::test]
async fn a_property_that_is_gone_is_a_matter_of_the_configuration() {
    let server = HubSpotServer::start().await;
    let connector = connector(&server, &TEXTS);
    connector.prepare(&[], false).await.expect("it can be prepared");
    let problem = json!({ "status": "error", "category": "VALIDATION_ERROR", "message": "no such property" });
    server.account().instead.push(("search".to_owned(), 400, problem));
    let since = Timestamp::from_millis(0);
    let failure = connector.changes("records", since).try_collect::<Vec<_>>().await.expect_err("it is refused");
    assert_eq!(failure.class, Class::Misconfigured, "{failure}");
}
