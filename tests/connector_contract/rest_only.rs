//! The traps that real APIs set, as they were seen on running ones: each was a lost or an invented write.

use attune::connector::{Connector, Lane, Unreserved};
use attune::model::{
    Cell, Class, DefinitionState, Existence, Failure, FieldType, Holds, Key, Outcome, Seen, Timestamp, Value, Write,
};
use futures::TryStreamExt;
use serde_json::json;

use crate::rest_world::{Home, Manner, Peer, TOKEN, connector};
use crate::world::World;

/// The traps that every API may set.
macro_rules! traps {
    ($($test:ident),* $(,)?) => {
        on!(rest_world::on_directus_like as directus_like, rest_only, [$($test),*]);
        on!(rest_world::on_odata_like as odata_like, rest_only, [$($test),*]);
        on!(rest_world::on_odata_batch_like as odata_batch_like, rest_only, [$($test),*]);
    };
}

traps!(
    a_good_status_for_a_record_that_is_not_there_is_no_write,
    a_server_that_shows_fewer_than_asked_hides_nothing,
    numbers_are_written_as_numbers_and_texts_as_texts,
    a_value_that_a_column_cannot_hold_is_held_and_no_breakdown,
    related_fields_come_along_and_their_edits_too,
    refusals_say_what_to_do,
    one_call_writes_many,
    an_edit_in_the_second_of_the_cursor_is_seen,
);

/// Those of APIs with conditional writes.
macro_rules! conditions {
    ($($test:ident),* $(,)?) => {
        on!(rest_world::on_odata_like as conditions_odata_like, rest_only, [$($test),*]);
        on!(rest_world::on_odata_batch_like as conditions_odata_batch_like, rest_only, [$($test),*]);
    };
}

conditions!(
    an_edit_of_another_field_makes_a_conditional_write_lose,
    without_a_condition_nothing_is_written_where_one_is_wanted,
    without_an_etag_nothing_that_is_gone_comes_back,
);

const NOW: &Unreserved = &Unreserved(Lane::Fresh);

fn is_quiet(text: &str) {
    assert!(!text.contains("bob@") && !text.contains(TOKEN), "{text}");
}

/// The key under which a server has its record of this number.
fn key(peer: &Peer, number: usize) -> Key {
    let held = peer.held();
    let (key, _) = held.sorted()[number - 1];
    Key::new(key.as_str())
}

async fn write(peer: &Peer, keys: &[Key], field: usize, value: &str) -> Vec<(Key, Outcome)> {
    let fields: Vec<usize> = (0..peer.connector.fields().len()).collect();
    let records = peer.connector.fetch(keys, &fields, NOW).await.expect("the fetch succeeds");
    let writes = records
        .iter()
        .map(|record| Write {
            key: record.key.clone(),
            field,
            expect: record.cells[field].clone(),
            value: Some(Value::text(value)),
            modified: None,
        })
        .collect();
    let mut outcomes = Vec::new();
    for batch in peer.connector.batches(writes) {
        let answered = peer.connector.write(&batch, NOW).await;
        outcomes.extend(batch.into_iter().map(|write| write.key).zip(answered));
    }
    outcomes
}

pub async fn a_good_status_for_a_record_that_is_not_there_is_no_write(home: &Home) {
    let peer = home.peer(3).await;
    let keys: Vec<Key> = (1..=3).map(|number| key(&peer, number)).collect();
    let fetched = peer.connector.fetch(&keys, &[0], NOW).await.expect("the fetch succeeds");
    peer.remove(&keys[1]).await;
    let writes: Vec<Write> = fetched
        .iter()
        .map(|record| Write {
            key: record.key.clone(),
            field: 0,
            expect: record.cells[0].clone(),
            value: Some(Value::text("Buyer")),
            modified: None,
        })
        .collect();
    for batch in peer.connector.batches(writes) {
        let outcomes = peer.connector.write(&batch, NOW).await;
        for (write, outcome) in batch.iter().zip(outcomes) {
            if write.key == keys[1] {
                assert!(matches!(outcome, Outcome::Gone), "{outcome:?}");
            } else {
                assert!(
                    matches!(&outcome, Outcome::Written { stored } if stored.seen == Cell::text("Buyer").seen),
                    "{outcome:?}"
                );
            }
        }
    }
    assert_eq!(peer.held().rows.len(), 2, "nothing came back to life");
}

pub async fn a_server_that_shows_fewer_than_asked_hides_nothing(home: &Home) {
    let peer = home.peer_with(900, &[("title", FieldType::String)], "list.keys_max = 900").await;
    let keys = peer.keys().await;
    let found = peer.connector.fetch(&keys, &[0], NOW).await.expect("the fetch succeeds");
    assert!(found.iter().all(|record| record.existence == Existence::Present));
    let calls = peer.held().calls.len();
    assert_eq!(calls, 3, "400, 400 and 100 at once");
}

pub async fn numbers_are_written_as_numbers_and_texts_as_texts(home: &Home) {
    let fields = [("score", FieldType::String), ("title", FieldType::Number), ("limit", FieldType::Number)];
    let fields = if home.manner == Manner::Directus { &fields[..] } else { &fields[..2] };
    let peer = home.peer_with(1, fields, "").await;
    let prepared = peer.connector.prepare(&[], false).await.expect("it can be prepared");
    assert_eq!(prepared.warnings, [""; 0]);
    let DefinitionState::Usable(shape) = &prepared.definitions[0].state else { panic!("it is usable") };
    assert_eq!(shape.holds, Holds::Number);
    let keys = [key(&peer, 1)];
    for (field, value, body) in
        [(0, "8", "\"score\":8}"), (1, "12", "\"title\":\"12\"}"), (2, "13.5", "\"limit\":\"13.5\"}")]
    {
        if field < fields.len() {
            let outcomes = write(&peer, &keys, field, value).await;
            assert!(matches!(&outcomes[0].1, Outcome::Written { .. }), "{outcomes:?}");
            let bodies = peer.held().bodies.clone();
            assert!(bodies.last().expect("a write").contains(body), "{bodies:?}");
        }
    }
}

pub async fn a_value_that_a_column_cannot_hold_is_held_and_no_breakdown(home: &Home) {
    // Directus answers 500 with the text of the database.
    let peer = home
        .peer_with(2, &[("title", FieldType::String), ("score", FieldType::String)], "types = { score = \"text\" }")
        .await;
    let keys = [key(&peer, 1)];
    let outcomes = write(&peer, &keys, 1, "bob@example.com").await;
    let Outcome::Rejected(why) = &outcomes[0].1 else { panic!("{outcomes:?}") };
    is_quiet(why);
    assert!(why.contains("`score`"), "{why}");
    // By its type it is not even sent.
    let peer = home.peer_with(2, &[("title", FieldType::String), ("score", FieldType::String)], "").await;
    let outcomes = write(&peer, &[key(&peer, 1)], 1, "bob@example.com").await;
    assert!(matches!(&outcomes[0].1, Outcome::Rejected(_)), "{outcomes:?}");
    assert!(peer.held().bodies.is_empty());
}

pub async fn related_fields_come_along_and_their_edits_too(home: &Home) {
    let more = match home.manner {
        Manner::Directus => "related_modified = \"date_updated\"",
        _ => "related_modified = \"modifiedAt\"",
    };
    let fields = [("title", FieldType::String), ("account.wholesaler_id", FieldType::String)];
    // `related_modified` is part of one of the descriptions already.
    let more = if home.manner == Manner::ODataBatch { "" } else { more };
    let peer = home.peer_with(3, &fields, more).await;
    let updated = if home.manner == Manner::Directus { "date_updated" } else { "modifiedAt" };
    let long_ago = "2020-01-01T00:00:00Z";
    {
        let mut held = peer.held();
        let account = json!({ "wholesaler_id": "W1", updated: long_ago }).as_object().expect("an object").clone();
        held.accounts.insert("a1".to_owned(), account);
        let keys: Vec<String> = held.rows.keys().cloned().collect();
        for key in &keys[..2] {
            held.rows.get_mut(key).expect("it is there").insert("account".to_owned(), json!("a1"));
        }
        for key in &keys {
            for name in ["date_created", "date_updated", "createdAt", "modifiedAt"] {
                if let Some(at) = held.rows.get_mut(key).expect("it is there").get_mut(name) {
                    *at = json!(long_ago);
                }
            }
        }
    }
    let keys = peer.keys().await;
    let found = peer.connector.fetch(&keys, &[1], NOW).await.expect("the fetch succeeds");
    let seen: Vec<Seen> = found.iter().map(|record| record.cells[1].seen.clone()).collect();
    assert_eq!(seen, [Cell::text("W1").seen, Cell::text("W1").seen, Seen::Absent]);
    // One edit of the account reaches both.
    let since = peer.now().await;
    peer.held().accounts.get_mut("a1").expect("it is there").extend([
        ("wholesaler_id".to_owned(), json!("W2")),
        (updated.to_owned(), json!((since + std::time::Duration::from_secs(1)).to_string())),
    ]);
    let pages: Vec<_> = peer.connector.changes("records", since).try_collect().await.expect("the read succeeds");
    let changed: Vec<_> = pages.iter().flat_map(|page| &page.observed).collect();
    assert_eq!(changed.len(), 2);
    for record in changed {
        assert_eq!(record.cells[1].seen, Cell::text("W2").seen);
        assert!(record.cells[1].modified >= Some(since), "the account's time: {:?}", record.cells[1].modified);
        assert!(record.modified < Some(since));
    }
    let prepared = peer.connector.prepare(&[], false).await.expect("it can be prepared");
    assert!(matches!(&prepared.definitions[1].state, DefinitionState::Usable(shape) if !shape.writable));
}

pub async fn refusals_say_what_to_do(home: &Home) {
    let peer = home.peer(2).await;
    let fields = [("title", FieldType::String)];
    let refused = connector(&peer.address, home.api(&peer.address, ""), &fields, "another");
    let failure = refused.prepare(&[], false).await.expect_err("the token is wrong");
    assert_eq!(failure.class, Class::Auth);
    assert!(failure.message.contains("`auth` in [crm.erp]"), "{failure}");
    let look = async |more: &str, fields: &[(&str, FieldType)]| -> Failure {
        let mut api = home.api(&peer.address, "");
        if let Some((name, value)) = more.split_once(' ') {
            match name {
                "collection" => api.collection = Some(value.to_owned()),
                "modified" => api.modified = Some(value.to_owned()),
                other => panic!("{other}"),
            }
        }
        let failure = connector(&peer.address, api, fields, TOKEN).prepare(&[], false).await.expect_err("it is wrong");
        is_quiet(&failure.to_string());
        failure
    };
    for (more, fields, expected) in [
        ("collection nothing", &fields[..], "`collection`"),
        ("modified no_such_field", &fields[..], "`modified`"),
        ("", &[("titel", FieldType::String)][..], "`titel`"),
    ] {
        let failure = look(more, fields).await;
        assert!(matches!(failure.class, Class::Auth | Class::Misconfigured), "{failure}");
        assert!(failure.message.contains("[crm.erp]") && failure.message.contains(expected), "{failure}");
    }
}

pub async fn an_edit_of_another_field_makes_a_conditional_write_lose(home: &Home) {
    let peer = home.peer(3).await;
    let keys = peer.keys().await;
    let records = peer.connector.fetch(&keys, &[0, 1], NOW).await.expect("the fetch succeeds");
    peer.edit(&keys[1], 1, Some("theirs")).await;
    let writes: Vec<Write> = records
        .iter()
        .map(|record| Write {
            key: record.key.clone(),
            field: 0,
            expect: record.cells[0].clone(),
            value: Some(Value::text("ours")),
            modified: None,
        })
        .collect();
    let mut words = Vec::new();
    for batch in peer.connector.batches(writes) {
        words.extend(peer.connector.write(&batch, NOW).await.into_iter().map(|outcome| match outcome {
            Outcome::Written { stored } => {
                assert!(stored.token.is_some(), "the next write needs the new ETag");
                "written"
            }
            Outcome::Changed => "changed",
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(words, ["written", "changed", "written"]);
    assert_eq!(peer.held().rows[keys[1].as_str()]["title"], json!("title 2"));
}

pub async fn without_a_condition_nothing_is_written_where_one_is_wanted(home: &Home) {
    let peer =
        home.peer_with(2, &[("title", FieldType::String)], "etag = \"\"\nwrite.headers = { If-Match = \"\" }").await;
    let keys = peer.keys().await;
    assert!(!peer.connector.limits().conditional_writes);
    for (_, outcome) in write(&peer, &keys, 0, "ours").await {
        let Outcome::NotSent(failure) = outcome else { panic!("{outcome:?}") };
        assert_eq!(failure.class, Class::Misconfigured);
        assert!(failure.message.contains("`etag` in [crm.erp]"), "{failure}");
        is_quiet(&failure.to_string());
    }
}

pub async fn without_an_etag_nothing_that_is_gone_comes_back(home: &Home) {
    let peer = home.peer_with(2, &[("title", FieldType::String)], "etag = \"\"").await;
    let keys = peer.keys().await;
    peer.remove(&keys[0]).await;
    let writes = keys.iter().map(|key| Write {
        key: key.clone(),
        field: 0,
        expect: Cell::absent(),
        value: Some(Value::text("ours")),
        modified: None,
    });
    let mut outcomes = Vec::new();
    for batch in peer.connector.batches(writes.collect()) {
        outcomes.extend(peer.connector.write(&batch, NOW).await);
    }
    assert!(matches!(&outcomes[..], [Outcome::Gone, Outcome::Written { .. }]), "{outcomes:?}");
    assert_eq!(peer.held().rows.len(), 1);
}

pub async fn one_call_writes_many(home: &Home) {
    let peer = home.peer(40).await;
    let keys = peer.keys().await;
    peer.connector.prepare(&[], false).await.expect("it can be prepared");
    peer.held().calls.clear();
    let outcomes = write(&peer, &keys, 0, "ours").await;
    assert!(outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Written { .. })));
    let calls = peer.held().calls.clone();
    let expected = match home.manner {
        // One read before; what the answer shows is not read back.
        Manner::Directus | Manner::ODataBatch => 2,
        Manner::OData => 41,
    };
    assert_eq!(calls.len(), expected, "{calls:?}");
}

pub async fn an_edit_in_the_second_of_the_cursor_is_seen(home: &Home) {
    let peer = home.peer(2).await;
    let keys = peer.keys().await;
    let since = peer.now().await;
    peer.edit(&keys[0], 0, Some("edited")).await;
    // The time is cut to the second on its way, never rounded up.
    let since = Timestamp::from_millis(since.as_millis() / 1000 * 1000 + 999).min(peer.now().await);
    let pages: Vec<_> = peer.connector.changes("records", since).try_collect().await.expect("the read succeeds");
    let seen =
        pages.iter().flat_map(|page| &page.observed).any(|record| record.cells[0].seen == Cell::text("edited").seen);
    assert!(seen);
}
