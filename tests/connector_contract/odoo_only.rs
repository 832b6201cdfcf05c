//! What only Odoo has: links, fields of linked records, archiving, rights, two protocols, keys that expire.

use attune::connector::odoo::Odoo;
use attune::connector::{Connector, End, Lane, Unreserved};
use attune::model::{
    Cell, Class, DefinitionState, Existence, FieldType, Holds, Key, Observed, Outcome, Seen, Timestamp, Value, Write,
};
use futures::TryStreamExt;
use serde_json::{Value as Json, json};

use crate::odoo_world::Server;
use crate::world::World;

on!(
    odoo_world::on_odoo as now,
    odoo_only,
    [
        values_of_every_type_come_and_go,
        a_link_is_written_by_name_or_by_number,
        fields_of_a_linked_record_are_read_and_its_edits_are_fed,
        an_archived_record_is_gone_until_it_is_back,
        rows_that_stand_in_the_way_are_named,
        fields_that_cannot_be_used_say_why,
        a_wrong_key_a_wrong_database_and_a_wrong_model_are_told_apart,
        a_key_that_expires_soon_is_spoken_of,
    ]
);

on!(
    odoo_world::on_odoo_before_19 as before_19,
    odoo_only,
    [
        values_of_every_type_come_and_go,
        a_link_is_written_by_name_or_by_number,
        fields_of_a_linked_record_are_read_and_its_edits_are_fed,
        rows_that_stand_in_the_way_are_named,
        a_wrong_key_a_wrong_database_and_a_wrong_model_are_told_apart,
    ]
);

on!(
    odoo_world::on_odoo_14 as version_14,
    odoo_only,
    [
        values_of_every_type_come_and_go,
        a_link_is_written_by_name_or_by_number,
        fields_of_a_linked_record_are_read_and_its_edits_are_fed,
        an_archived_record_is_gone_until_it_is_back,
        rows_that_stand_in_the_way_are_named,
        fields_that_cannot_be_used_say_why,
        a_wrong_key_a_wrong_database_and_a_wrong_model_are_told_apart,
    ]
);

on!(
    odoo_world::on_odoo_14_alone as rights_14,
    odoo_only,
    [what_a_rule_hides_is_not_gone, a_user_who_may_only_read_writes_nothing]
);

on!(
    odoo_world::on_odoo_alone as rights,
    odoo_only,
    [what_a_rule_hides_is_not_gone, a_user_who_may_only_read_writes_nothing]
);

on!(
    odoo_world::on_odoo_before_19_alone as rights_before_19,
    odoo_only,
    [what_a_rule_hides_is_not_gone, a_user_who_may_only_read_writes_nothing]
);

const NOW: Unreserved = Unreserved(Lane::Fresh);

fn connector(server: &Server, user: &str, fields: &[(&str, FieldType)]) -> Odoo {
    Odoo::new(server.settings("res.partner", user, fields)).expect("the settings are sound")
}

async fn partner(server: &Server, values: Json) -> Key {
    let made = server.call("res.partner", "create", json!({ "vals_list": [values] })).await;
    Key::new(made[0].to_string())
}

async fn change(server: &Server, key: &Key, values: Json) {
    let id: i64 = key.as_str().parse().expect("a number");
    server.call("res.partner", "write", json!({ "ids": [id], "vals": values })).await;
}

async fn fetch(connector: &Odoo, key: &Key) -> Observed {
    let fields: Vec<usize> = (0..connector.fields().len()).collect();
    connector.fetch(std::slice::from_ref(key), &fields, &NOW).await.expect("it is read").remove(0)
}

fn shown(record: &Observed) -> Vec<Option<&str>> {
    let text = |cell: &'_ Cell| match &cell.seen {
        Seen::Value(Value::Text(_)) | Seen::Absent => cell.seen.value().map(|_| ()),
        other => panic!("neither absent nor a text: {other:?}"),
    };
    record
        .cells
        .iter()
        .map(|cell| {
            text(cell).map(|()| match cell.seen.value() {
                Some(Value::Text(text)) => text.as_str(),
                _ => unreachable!(),
            })
        })
        .collect()
}

fn write(key: &Key, field: usize, value: Option<&str>) -> Write {
    Write { key: key.clone(), field, expect: Cell::absent(), value: value.map(Value::text), modified: None }
}

async fn send(connector: &Odoo, writes: Vec<Write>) -> Vec<Outcome> {
    let batch = connector.batches(writes.clone()).remove(0);
    assert_eq!(batch.len(), writes.len(), "one batch");
    let outcomes = connector.write(&batch, &NOW).await;
    // In the order in which they were given: a batch has another.
    let place = |write: &Write| batch.iter().position(|one| (&one.key, one.field) == (&write.key, write.field));
    writes.iter().map(|write| outcomes[place(write).expect("it is in the batch")].clone()).collect()
}

pub async fn values_of_every_type_come_and_go(server: &Server) {
    let connector = connector(
        server,
        "sync",
        &[
            ("name", FieldType::String),
            ("x_price_tier", FieldType::String),
            ("x_vip", FieldType::Boolean),
            ("x_credit", FieldType::Number),
            ("x_since", FieldType::Date),
            ("color", FieldType::Number),
            ("@key", FieldType::String),
        ],
    );
    let prepared = connector.prepare(&[], false).await.expect("it can be prepared");
    let shapes: Vec<(Holds, bool, bool)> = prepared
        .definitions
        .iter()
        .map(|definition| match &definition.state {
            DefinitionState::Usable(shape) => (shape.holds, shape.writable, shape.clearable),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        shapes,
        [
            (Holds::Text, true, true),
            (Holds::Text, true, true),
            (Holds::Boolean, true, false),
            (Holds::Number, true, false),
            (Holds::Date, true, true),
            (Holds::Integer, true, false),
            (Holds::Text, false, false),
        ]
    );
    let key = partner(server, json!({ "name": "Ann", "x_vip": true, "x_credit": 0.1 })).await;
    let number = Some(key.as_str());
    let record = fetch(&connector, &key).await;
    assert_eq!(shown(&record), [Some("Ann"), None, Some("true"), Some("0.1"), None, Some("0"), number]);
    let values = [Some("Bob"), Some("gold"), Some("false"), Some("1234567.25"), Some("2026-02-28"), Some("7")];
    let writes = values.iter().enumerate().map(|(field, value)| write(&key, field, *value)).collect();
    for (outcome, value) in send(&connector, writes).await.iter().zip(values) {
        let Outcome::Written { stored } = outcome else { panic!("{outcome:?}") };
        assert_eq!(stored.seen.value(), value.map(Value::text).as_ref());
    }
    let cleared = send(&connector, vec![write(&key, 1, None), write(&key, 4, None)]).await;
    for outcome in cleared {
        assert!(matches!(&outcome, Outcome::Written { stored } if stored.seen == Seen::Absent), "{outcome:?}");
    }
    let record = fetch(&connector, &key).await;
    assert_eq!(shown(&record), [Some("Bob"), None, Some("false"), Some("1234567.25"), None, Some("7"), number]);
}

pub async fn a_link_is_written_by_name_or_by_number(server: &Server) {
    let connector = connector(
        server,
        "sync",
        &[("country_id", FieldType::String), ("parent_id", FieldType::String), ("parent_id:id", FieldType::Number)],
    );
    let twins = ["Twin & Co", "Twin & Co"];
    for name in twins {
        partner(server, json!({ "name": name, "is_company": true })).await;
    }
    // Odoo also finds companies by e-mail and reference.
    partner(server, json!({ "name": "Other", "email": "single@example.test", "is_company": true })).await;
    let company = format!("Single {}", std::process::id());
    let number = partner(server, json!({ "name": company, "is_company": true })).await;
    let key = partner(server, json!({ "name": "Ann" })).await;
    let outcomes = send(&connector, vec![write(&key, 0, Some("Germany"))]).await;
    assert!(matches!(&outcomes[0], Outcome::Written { stored } if *stored == Cell::text("Germany")), "{outcomes:?}");
    let outcomes = send(&connector, vec![write(&key, 2, Some(number.as_str()))]).await;
    assert!(
        matches!(&outcomes[0], Outcome::Written { stored } if *stored == Cell::text(number.as_str())),
        "{outcomes:?}"
    );
    let record = fetch(&connector, &key).await;
    assert_eq!(shown(&record), [Some("Germany"), Some(company.as_str()), Some(number.as_str())]);
    for (name, why) in [(twins[0], "several"), ("single@example.test", "no record"), ("No such company", "no record")] {
        let outcomes = send(&connector, vec![write(&key, 1, Some(name))]).await;
        let Outcome::Rejected(sentence) = &outcomes[0] else { panic!("{outcomes:?}") };
        assert!(sentence.contains(why) && !sentence.contains(name), "{sentence}");
    }
    assert_eq!(shown(&fetch(&connector, &key).await)[1], Some(company.as_str()), "nothing was written");
    let outcomes = send(&connector, vec![write(&key, 1, None)]).await;
    assert!(matches!(&outcomes[0], Outcome::Written { stored } if stored.seen == Seen::Absent), "{outcomes:?}");
}

pub async fn fields_of_a_linked_record_are_read_and_its_edits_are_fed(server: &Server) {
    let connector = connector(
        server,
        "sync",
        &[
            ("name", FieldType::String),
            ("parent_id.x_wholesaler_id", FieldType::String),
            ("parent_id.x_credit", FieldType::Number),
        ],
    );
    let company = partner(server, json!({ "name": "Company", "is_company": true, "x_wholesaler_id": "W-1" })).await;
    let number: i64 = company.as_str().parse().expect("a number");
    let ann = partner(server, json!({ "name": "Ann", "parent_id": number })).await;
    let alone = partner(server, json!({ "name": "Alone" })).await;
    assert_eq!(shown(&fetch(&connector, &ann).await), [Some("Ann"), Some("W-1"), Some("0")]);
    assert_eq!(shown(&fetch(&connector, &alone).await), [Some("Alone"), None, None]);
    // The contact's own date stays, and so it is not the edit's.
    server.run(&format!("UPDATE res_partner SET write_date = '2020-01-01' WHERE id = {ann}")).await;
    let edit = "x_wholesaler_id = 'W-2', write_date = now() AT TIME ZONE 'UTC'";
    server.run(&format!("UPDATE res_partner SET {edit} WHERE id = {company}")).await;
    let clock = connector.prepare(&[], false).await.expect("it can be prepared").clock;
    let since = Timestamp::from_millis(clock.as_millis() - 30_000);
    let pages: Vec<_> = connector.changes("records", since).try_collect().await.expect("it is read");
    assert_eq!(pages.last().expect("a page").end, Some(End::Whole));
    let fed: Vec<&Observed> = pages.iter().flat_map(|page| &page.observed).filter(|record| record.key == ann).collect();
    assert_eq!(fed.len(), 1, "the company's edit brings its people");
    assert_eq!(shown(fed[0]), [Some("Ann"), Some("W-2"), Some("0")]);
    assert!(fed[0].modified < Some(since), "the contact itself is old");
    assert!(fed[0].cells[1].modified >= Some(since), "and what the company shows is not");
    let outcomes = send(&connector, vec![write(&ann, 1, Some("W-3"))]).await;
    assert!(matches!(outcomes[0], Outcome::Rejected(_)), "many may share it: {outcomes:?}");
}

pub async fn what_a_rule_hides_is_not_gone(server: &Server) {
    let connector = connector(server, "sync", &[("name", FieldType::String)]);
    let name = format!("Hidden {}", std::process::id());
    let hidden = partner(server, json!({ "name": name, "ref": "HIDDEN" })).await;
    let seen = partner(server, json!({ "name": "Seen" })).await;
    let gone = partner(server, json!({ "name": "Gone" })).await;
    let id: i64 = gone.as_str().parse().expect("a number");
    server.call("res.partner", "unlink", json!({ "ids": [id] })).await;
    let model = server.call("ir.model", "search", json!({ "domain": [["model", "=", "res.partner"]] })).await;
    let rule = json!({
        "name": name, "model_id": model[0], "domain_force": "['|', ('ref', '!=', 'HIDDEN'), ('ref', '=', False)]",
        "perm_read": true, "perm_write": true, "perm_create": false, "perm_unlink": false,
    });
    let rule = server.call("ir.rule", "create", json!({ "vals_list": [rule] })).await;
    let asked = [gone.clone(), hidden.clone(), seen.clone()];
    let records = connector.fetch(&asked, &[0], &NOW).await;
    let outcomes = send(&connector, vec![write(&hidden, 0, Some("x")), write(&seen, 0, Some("y"))]).await;
    server.call("ir.rule", "unlink", json!({ "ids": rule })).await;
    let existence: Vec<Existence> =
        records.expect("they are read").into_iter().map(|record| record.existence).collect();
    assert_eq!(existence, [Existence::Gone, Existence::NotSaid, Existence::Present]);
    assert!(matches!(outcomes[..], [Outcome::Gone, Outcome::BatchRejected(_)]), "{outcomes:?}");
}

pub async fn an_archived_record_is_gone_until_it_is_back(server: &Server) {
    let connector = connector(server, "sync", &[("name", FieldType::String)]);
    let key = partner(server, json!({ "name": "Ann" })).await;
    for (active, existence) in [(false, Existence::Gone), (true, Existence::Present)] {
        change(server, &key, json!({ "active": active })).await;
        assert_eq!(fetch(&connector, &key).await.existence, existence);
        let pages: Vec<_> = connector.everything().try_collect().await.expect("it is read");
        let record =
            pages.iter().flat_map(|page| &page.observed).find(|record| record.key == key).expect("it is shown");
        assert_eq!(record.existence, existence);
    }
}

pub async fn rows_that_stand_in_the_way_are_named(server: &Server) {
    let connector = connector(server, "sync", &[("function", FieldType::String), ("x_price_tier", FieldType::String)]);
    let mut keys = Vec::new();
    for name in ["One", "Two", "Three", "Four"] {
        keys.push(partner(server, json!({ "name": name })).await);
    }
    let id: i64 = keys[3].as_str().parse().expect("a number");
    server.call("res.partner", "unlink", json!({ "ids": [id] })).await;
    let tiers = ["gold", "platinum", "silver", "gold"];
    let writes = keys
        .iter()
        .zip(tiers)
        .flat_map(|(key, tier)| [write(key, 0, Some("Buyer")), write(key, 1, Some(tier))])
        .collect();
    let outcomes = send(&connector, writes).await;
    let words: Vec<&str> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Rejected(why) => {
                assert!(!why.contains("platinum"), "{why}");
                "rejected"
            }
            Outcome::BatchRejected(failure) => {
                assert!(!failure.message.contains("platinum"), "{failure}");
                "again"
            }
            Outcome::Gone => "gone",
            other => panic!("{other:?}"),
        })
        .collect();
    // One call tells both: the value that is refused, and the record that is gone.
    assert_eq!(words, ["again", "again", "again", "rejected", "again", "again", "gone", "gone"]);
    assert_eq!(shown(&fetch(&connector, &keys[0]).await), [None, None], "all or nothing");
}

pub async fn a_user_who_may_only_read_writes_nothing(server: &Server) {
    let connector = connector(server, "readonly", &[("function", FieldType::String)]);
    let prepared = connector.prepare(&[], false).await.expect("it can be prepared");
    let DefinitionState::Usable(shape) = &prepared.definitions[0].state else { panic!("{prepared:?}") };
    assert!(!shape.writable, "the user has no right to write");
    // One who loses the right while Attune runs is told so, and nothing is held for the values.
    let own = server.model(1).await;
    let writer = Odoo::new(server.settings(&own.model, "sync", &[("x_title", FieldType::String)])).expect("sound");
    let key = own.keys().await.remove(0);
    fetch(&writer, &key).await;
    let rights = server.call("ir.model.access", "search", json!({ "domain": [["name", "=", own.model]] })).await;
    server.call("ir.model.access", "write", json!({ "ids": rights, "vals": { "perm_write": false } })).await;
    let outcomes = send(&writer, vec![write(&key, 0, Some("Buyer"))]).await;
    server.call("ir.model.access", "write", json!({ "ids": rights, "vals": { "perm_write": true } })).await;
    let Outcome::NotSent(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(failure.class, Class::Auth, "{failure}");
}

pub async fn fields_that_cannot_be_used_say_why(server: &Server) {
    let connector = connector(
        server,
        "sync",
        &[
            ("Job Position", FieldType::String),
            ("comment", FieldType::String),
            ("category_id", FieldType::String),
            ("name.ref", FieldType::String),
            ("parent_id.reff", FieldType::String),
            ("display_name", FieldType::String),
            ("write_date", FieldType::Date),
        ],
    );
    let prepared = connector.prepare(&[], false).await.expect("it can be prepared");
    let states: Vec<String> = prepared
        .definitions
        .iter()
        .map(|definition| match &definition.state {
            DefinitionState::Unusable(why) => why.clone(),
            DefinitionState::Usable(shape) => format!("usable, writable: {}", shape.writable),
            other => panic!("{other:?}"),
        })
        .collect();
    // In version 14 the comment is plain text.
    let comment = if server.is_version_14() { "usable, writable: true" } else { "type html" };
    for (state, expected) in states.iter().zip([
        "perhaps `function`",
        comment,
        "type many2many",
        "no link to one record",
        "perhaps `ref`",
        "usable, writable: false",
        "usable, writable: false",
    ]) {
        assert!(state.contains(expected), "{state}");
    }
    let pages: Vec<_> = connector.everything().try_collect().await.expect("the others are read");
    assert!(pages.iter().flat_map(|page| &page.observed).all(|record| record.cells[0].seen.is_unseen()));
}

pub async fn a_wrong_key_a_wrong_database_and_a_wrong_model_are_told_apart(server: &Server) {
    use std::sync::Arc;
    let mut key = server.settings("res.partner", "sync", &[]);
    key.api_key = Arc::new(|| Ok("no such key".into()));
    let mut model = server.settings("res.partner", "sync", &[]);
    model.model = "res.partnr".to_owned();
    for (settings, class, word) in [(key, Class::Auth, "api_key"), (model, Class::Misconfigured, "model")] {
        let failure = Odoo::new(settings).expect("sound").prepare(&[], false).await.expect_err("it is wrong");
        assert_eq!(failure.class, class, "{failure}");
        assert!(failure.message.contains(word) && !failure.message.contains("no such key"), "{failure}");
    }
    let mut database = server.settings("res.partner", "sync", &[]);
    database.database = "nowhere".to_owned();
    let failure = Odoo::new(database).expect("sound").prepare(&[], false).await.expect_err("it is wrong");
    // Before version 19 it looks like a database that is down.
    assert!(matches!(failure.class, Class::Misconfigured | Class::Retry), "{failure}");
    assert!(failure.message.contains("`database`"), "{failure}");
}

pub async fn a_key_that_expires_soon_is_spoken_of(server: &Server) {
    let connector = connector(server, "readonly", &[]);
    let expires = |when: &'static str| async move {
        let of_user = "user_id = (SELECT id FROM res_users WHERE login = 'readbot')";
        server.run(&format!("UPDATE res_users_apikeys SET expiration_date = {when} WHERE {of_user}")).await;
    };
    expires("now() AT TIME ZONE 'UTC' + interval '5 days'").await;
    let soon = connector.prepare(&[], false).await;
    expires("now() AT TIME ZONE 'UTC' + interval '50 days'").await;
    let later = connector.prepare(&[], false).await;
    expires("NULL").await;
    let warnings = soon.expect("it can be prepared").warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("expires at 20"), "{warnings:?}");
    assert_eq!(later.expect("it can be prepared").warnings, [""; 0]);
}
