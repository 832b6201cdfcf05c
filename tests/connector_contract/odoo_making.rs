//! What only Odoo has when records are made and removed: links, required names, rights, users behind contacts, lists without an
//! archive.

use attune::connector::odoo::Odoo;
use attune::connector::{Connector, Created, Lane, Lifecycle, NewRecord, Removed, Unreserved};
use attune::model::{Class, Existence, FieldType, Key, Seen, Value};
use serde_json::json;

use crate::making::token;
use crate::odoo_world::Server;

on!(
    odoo_world::on_odoo as now,
    odoo_making,
    [a_contact_is_made_with_values_of_every_type, a_contact_that_odoo_needs_stays, what_has_no_archive_is_deleted]
);
on!(
    odoo_world::on_odoo_before_19 as before_19,
    odoo_making,
    [a_contact_is_made_with_values_of_every_type, a_contact_that_odoo_needs_stays, what_has_no_archive_is_deleted]
);
on!(
    odoo_world::on_odoo_14 as version_14,
    odoo_making,
    [
        a_contact_is_made_with_values_of_every_type,
        a_contact_that_odoo_needs_stays,
        what_has_no_archive_is_deleted,
        who_may_only_read_makes_and_removes_nothing,
    ]
);
on!(odoo_world::on_odoo as rights, odoo_making, [who_may_only_read_makes_and_removes_nothing]);

const NOW: Unreserved = Unreserved(Lane::Fresh);

const FIELDS: [(&str, FieldType); 7] = [
    ("name", FieldType::String),
    ("email", FieldType::String),
    ("x_price_tier", FieldType::String),
    ("x_vip", FieldType::Boolean),
    ("x_credit", FieldType::Number),
    ("x_since", FieldType::Date),
    ("country_id", FieldType::String),
];

async fn connector(server: &Server, model: &str, user: &str, fields: &[(&str, FieldType)]) -> Odoo {
    let connector = Odoo::new(server.settings(model, user, fields)).expect("the settings are sound");
    connector.prepare(&[], false).await.expect("it can be prepared");
    connector
}

fn record(values: &[(usize, &str)]) -> NewRecord {
    let values = values.iter().map(|(field, value)| (*field, Value::text(*value))).collect();
    NewRecord { token: token("odoo"), values }
}

pub async fn a_contact_is_made_with_values_of_every_type(server: &Server) {
    let connector = connector(server, "res.partner", "sync", &FIELDS).await;
    assert_eq!(connector.required(), [["name"]]);
    let values = ["Ada", "ada@made.example", "gold", "true", "12.5", "2026-01-02", "Germany"];
    let all: Vec<(usize, &str)> = values.into_iter().enumerate().collect();
    let batch = [
        record(&all),
        record(&[(0, "Bob")]),
        record(&[(0, "Cy"), (2, "copper")]),
        record(&[(1, "nameless@made.example")]),
        record(&[(0, "Dee"), (6, "Atlantis")]),
        record(&[(0, "Eve"), (1, "eve@made.example")]),
    ];
    let outcomes = connector.create(&batch, &NOW).await;
    let key = |at: usize| match &outcomes[at] {
        Created::Made(key) => key.clone(),
        other => panic!("{at}: {other:?}"),
    };
    for (at, word) in [(2, "x_price_tier"), (3, "res.partner"), (4, "no record has this name")] {
        let Created::Rejected(why) = &outcomes[at] else { panic!("{at}: {outcomes:?}") };
        assert!(why.contains(word) && !why.contains("copper") && !why.contains("nameless@"), "{why}");
    }
    let fields: Vec<usize> = (0..FIELDS.len()).collect();
    let shown = connector.fetch(&[key(0), key(1), key(5)], &fields, &NOW).await.expect("it is read");
    let cells: Vec<Seen> = shown[0].cells.iter().map(|cell| cell.seen.clone()).collect();
    assert_eq!(cells, values.map(|value| Seen::Value(Value::text(value))));
    assert_eq!(shown[1].cells[1].seen, Seen::Absent);
    // Who is no administrator may not look at external ids, and still makes nobody twice.
    let again = connector.create(&batch[..1], &NOW).await;
    assert!(matches!(&again[0], Created::Made(same) if *same == key(0)), "{again:?}");
    let removed = connector.remove(&[key(0), key(1), key(5)], &NOW).await;
    assert!(removed.iter().all(|outcome| matches!(outcome, Removed::Gone)), "{removed:?}");
    let again = connector.create(&batch[..1], &NOW).await;
    assert!(matches!(&again[0], Created::Made(same) if *same == key(0)), "{again:?}");
    let shown = connector.fetch(&[key(0)], &fields, &NOW).await.expect("it is read");
    assert_eq!(shown[0].existence, Existence::Gone, "who was archived stays so");
}

pub async fn a_contact_that_odoo_needs_stays(server: &Server) {
    let connector = connector(server, "res.partner", "sync", &FIELDS).await;
    let made = connector.create(&[record(&[(0, "Gil")])], &NOW).await;
    let Created::Made(gil) = &made[0] else { panic!("{made:?}") };
    // Behind this one is a user who is at work.
    let needed = server.call(
        "res.users",
        "search_read",
        json!({ "domain": [["login", "=", "readbot"]], "fields": ["partner_id"] }),
    );
    let needed = Key::new(needed.await[0]["partner_id"][0].to_string());
    let outcomes = connector.remove(&[needed.clone(), gil.clone()], &NOW).await;
    assert!(matches!(outcomes[1], Removed::Gone), "{outcomes:?}");
    let Removed::Rejected(why) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert!(why.contains("archive or delete it there") && !why.contains("readbot"), "{why}");
    let shown = connector.fetch(&[needed, gil.clone()], &[], &NOW).await.expect("it is read");
    let existence: Vec<&Existence> = shown.iter().map(|record| &record.existence).collect();
    assert_eq!(existence, [&Existence::Present, &Existence::Gone]);
}

pub async fn what_has_no_archive_is_deleted(server: &Server) {
    // A list that comes with every Odoo, whose entries have no archive.
    let connector = connector(server, "ir.default", "admin", &[("json_value", FieldType::String)]).await;
    assert!(connector.required().is_empty());
    let field = server.call(
        "ir.model.fields",
        "search",
        json!({ "domain": [["model", "=", "res.partner"], ["name", "=", "function"]] }),
    );
    let field = field.await[0].clone();
    let make = async || {
        let made =
            server.call("ir.default", "create", json!({ "vals_list": [{ "field_id": field, "json_value": "\"x\"" }] }));
        Key::new(made.await[0].to_string())
    };
    let keys = [make().await, make().await];
    let outcomes = connector.remove(&keys, &NOW).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Removed::Gone)), "{outcomes:?}");
    let left = server.call(
        "ir.default",
        "search_count",
        json!({ "domain": [["id", "in", keys.clone().map(|key| key.0.parse::<i64>().expect("a number"))]] }),
    );
    assert_eq!(left.await, json!(0));
}

pub async fn who_may_only_read_makes_and_removes_nothing(server: &Server) {
    let reader = connector(server, "res.partner", "readonly", &FIELDS).await;
    assert!(!reader.creates_with(0), "it may write nothing");
    let writer = connector(server, "res.partner", "sync", &FIELDS).await;
    let made = writer.create(&[record(&[(0, "Hal")])], &NOW).await;
    let Created::Made(key) = &made[0] else { panic!("{made:?}") };
    let outcomes = reader.remove(std::slice::from_ref(key), &NOW).await;
    let Removed::NotSent(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(failure.class, Class::Auth, "{failure}");
    let shown = reader.fetch(std::slice::from_ref(key), &[], &NOW).await.expect("it is read");
    assert_eq!(shown[0].existence, Existence::Present);
    writer.remove(std::slice::from_ref(key), &NOW).await;
}
