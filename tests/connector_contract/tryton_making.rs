//! What only Tryton has when parties are found, made and removed: contact mechanisms, links, rights, rules that a module makes.

use attune::connector::tryton::Tryton;
use attune::connector::{Connector, Created, Lane, Lifecycle, Lookup, NewRecord, Removed, Unreserved};
use attune::model::{Class, Existence, FieldType, Key, Seen, Value};
use serde_json::json;

use crate::making::token;
use crate::tryton_world::Server;
use crate::world::World;

on!(
    tryton_world::on_tryton as tryton_alone,
    tryton_making,
    [
        a_party_is_made_with_its_contact_mechanisms_and_found_by_them,
        what_tryton_does_not_take_is_told_and_keeps_nobody,
        what_is_unique_exists_and_what_has_no_archive_is_deleted,
        who_may_only_read_makes_and_removes_nothing,
    ]
);

const PARTY: &str = "party.party";
const NOW: Unreserved = Unreserved(Lane::Fresh);
const FIELDS: [(&str, FieldType); 6] = [
    ("name", FieldType::String),
    ("contact_mechanism:email", FieldType::String),
    ("contact_mechanism:phone", FieldType::String),
    ("attune_decimal", FieldType::Number),
    ("attune_company", FieldType::String),
    ("@key", FieldType::String),
];

async fn connector(server: &Server) -> Tryton {
    let connector = server.connector(PARTY, &FIELDS);
    assert!(!connector.creates_with(0) && !connector.finds_by(0), "nobody has looked yet");
    connector.prepare(&[], false).await.expect("it can be prepared");
    connector
}

fn record(values: &[(usize, &str)]) -> NewRecord {
    let values = values.iter().map(|(field, value)| (*field, Value::text(*value))).collect();
    NewRecord { token: token("tryton"), values }
}

fn key(outcome: &Created) -> Key {
    match outcome {
        Created::Made(key) => key.clone(),
        other => panic!("not made: {other:?}"),
    }
}

/// Makes records of which none is refused. Other tests make parties at the same time, and Tryton can give one code to two.
async fn make(connector: &Tryton, batch: &[NewRecord]) -> Vec<Created> {
    loop {
        let outcomes = connector.create(batch, &NOW).await;
        let again = |outcome: &Created| matches!(outcome, Created::BatchRejected(_) | Created::NotSent(_));
        if !outcomes.iter().any(again) {
            return outcomes;
        }
    }
}

pub async fn a_party_is_made_with_its_contact_mechanisms_and_found_by_them(server: &Server) {
    let connector = connector(server).await;
    assert_eq!(connector.required(), [["name"]]);
    let finds: Vec<bool> = (0..FIELDS.len()).map(|field| connector.finds_by(field)).collect();
    assert_eq!(finds, [true, true, true, false, false, true]);
    let own = token("Ada");
    let email = format!("{own}@Ex%mple.com");
    let batch = [
        record(&[(0, &own), (1, &email), (2, "+49 30 123456"), (3, "12.5")]),
        record(&[(0, "Bob"), (4, &own)]),
        record(&[(0, "Cy")]),
    ];
    // Who is linked to by name must be there.
    let outcomes = make(&connector, &batch).await;
    assert!(matches!(&outcomes[1], Created::Rejected(why) if why.contains("no record has this name")), "{outcomes:?}");
    let (ada, cy) = (key(&outcomes[0]), key(&outcomes[2]));
    let bob = key(&make(&connector, &batch[1..2]).await[0]);
    let fields: Vec<usize> = (0..FIELDS.len()).collect();
    let shown = connector.fetch(&[ada.clone(), bob.clone()], &fields, &NOW).await.expect("it is read");
    let cells: Vec<Seen> = shown[0].cells.iter().map(|cell| cell.seen.clone()).collect();
    let text = |text: &str| Seen::Value(Value::text(text));
    assert_eq!(cells[..2], [text(&own), text(&email)]);
    assert_eq!((&cells[3], &cells[4]), (&text("12.5"), &Seen::Absent));
    assert_eq!(shown[1].cells[4].seen, text(&own));
    let find = async |field: usize, value: &str, fold: bool| {
        connector.keys_with(field, &[value.to_owned(), "nobody".to_owned()], fold, Lane::Fresh).await.expect("it finds")
    };
    assert_eq!(find(1, &email.to_lowercase(), true).await, std::slice::from_ref(&ada), "in any case of letters");
    assert_eq!(find(1, &email, false).await, std::slice::from_ref(&ada));
    assert_eq!(find(2, &email, false).await, [], "of another type");
    assert_eq!(find(1, &email.replace('%', "a"), true).await, [], "a sign is itself");
    assert_eq!(find(5, cy.as_str(), false).await, std::slice::from_ref(&cy));
    let outcomes = connector.remove(&[ada.clone(), bob, cy], &NOW).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Removed::Gone)), "{outcomes:?}");
    assert_eq!(find(1, &email, false).await, [], "who is archived is not found");
    assert_eq!(connector.fetch(&[ada], &[], &NOW).await.expect("it is read")[0].existence, Existence::Gone);
}

pub async fn what_tryton_does_not_take_is_told_and_keeps_nobody(server: &Server) {
    let connector = server.connector(PARTY, &[("name", FieldType::String), ("attune_short", FieldType::String)]);
    connector.prepare(&[], false).await.expect("it can be prepared");
    let batch = [record(&[(0, "Dee"), (1, "much too long for it")]), record(&[(0, "Eve"), (1, "short")])];
    let outcomes = connector.create(&batch, &NOW).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Created::BatchRejected(_))), "{outcomes:?}");
    let outcomes = connector.create(&batch[..1], &NOW).await;
    assert!(matches!(&outcomes[0], Created::Rejected(why) if !why.contains("much too")), "{outcomes:?}");
    key(&make(&connector, &batch[1..]).await[0]);
}

pub async fn what_is_unique_exists_and_what_has_no_archive_is_deleted(server: &Server) {
    let groups = server.connector("res.group", &[("name", FieldType::String)]);
    groups.prepare(&[], false).await.expect("it can be prepared");
    assert!(groups.required().is_empty());
    let own = token("group");
    let made = groups.create(&[record(&[(0, &own)])], &NOW).await;
    let again = groups.create(&[record(&[(0, &own)])], &NOW).await;
    assert!(matches!(again[0], Created::Exists(None)), "{again:?}");
    let outcomes = groups.remove(&[key(&made[0]), Key::new("999999999")], &NOW).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Removed::Gone)), "{outcomes:?}");
    let id: i64 = key(&made[0]).as_str().parse().expect("a number");
    assert_eq!(server.ids("res.group", json!([["id", "=", id]])).await, [id], "archived");

    let exports = server.connector("ir.export", &[("name", FieldType::String), ("user:id", FieldType::Number)]);
    let user = server.ids("res.user", json!([["login", "=", "admin"]])).await[0].to_string();
    exports.prepare(&[], false).await.expect("it can be prepared");
    let made = exports.create(&[record(&[(0, &own), (1, &user)])], &NOW).await;
    let id: i64 = key(&made[0]).as_str().parse().expect("a number");
    let outcomes = exports.remove(&[key(&made[0])], &NOW).await;
    assert!(matches!(outcomes[0], Removed::Gone), "{outcomes:?}");
    assert_eq!(server.ids("ir.export", json!([["id", "=", id]])).await, [0_i64; 0], "deleted");
}

pub async fn who_may_only_read_makes_and_removes_nothing(server: &Server) {
    let own = server.model(2).await;
    let keys = own.keys().await;
    let (_, login) = server.user("a password of some length").await;
    let fields = [("title", FieldType::String)];
    let connector =
        Tryton::new(server.settings(&own.model, &login, "a password of some length", &fields)).expect("sound");
    // One who loses the rights while Attune runs.
    connector.prepare(&[], false).await.expect("it can be prepared");
    let rights = json!({ "model": own.model, "perm_read": true, "perm_write": false, "perm_create": false, "perm_delete": false });
    let access = server.create("ir.model.access", rights).await;
    let created = connector.create(&[record(&[(0, "one")]), record(&[(0, "two")])], &NOW).await;
    let removed = connector.remove(&keys, &NOW).await;
    server.call("ir.model.access", "delete", json!([[access]])).await;
    for outcome in created {
        assert!(matches!(&outcome, Created::NotSent(failure) if failure.class == Class::Auth), "{outcome:?}");
    }
    for outcome in removed {
        assert!(matches!(&outcome, Removed::NotSent(failure) if failure.class == Class::Auth), "{outcome:?}");
    }
    let left = connector.fetch(&keys, &[], &NOW).await.expect("it is read");
    assert!(left.iter().all(|record| record.existence == Existence::Present));
}
