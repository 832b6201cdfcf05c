//! What only Tryton has: contact mechanisms, sessions, locked users, archiving and merging, rights and rules, typed values.

use std::sync::{Arc, Mutex};

use attune::connector::tryton::Tryton;
use attune::connector::{Connector, Lane, Unreserved};
use attune::model::{
    Cell, Class, DefinitionState, Existence, FieldType, Holds, Key, Observed, Outcome, Seen, Timestamp, Value, Write,
};
use futures::TryStreamExt;
use secrecy::SecretString;
use serde_json::{Value as Json, json};

use crate::tryton_world::{Server, instant};
use crate::world::World;

on!(
    tryton_world::on_tryton as tryton_alone,
    tryton_only,
    [
        values_of_every_type_come_and_go,
        the_first_contact_mechanism_is_read_and_written,
        a_clear_deactivates_and_never_brings_another_to_the_front,
        a_change_of_a_contact_mechanism_is_a_change_of_its_party,
        a_write_on_a_changed_contact_mechanism_loses_and_the_others_are_written,
        a_link_is_written_by_name_or_by_number,
        fields_of_a_linked_record_are_read_and_its_edits_are_fed,
        archived_and_merged_records_are_told_apart,
        one_record_that_is_gone_keeps_the_others_from_being_written_and_is_named,
        what_a_rule_hides_is_not_gone,
        a_user_who_may_only_read_writes_nothing,
        fields_that_cannot_be_used_say_why,
        a_refused_password_is_sent_once_and_never_locks_the_user_out,
        a_user_who_is_locked_out_is_not_knocked_for,
        a_password_that_was_changed_is_found_in_mid_run,
        a_wrong_database_and_a_wrong_model_are_told_apart,
    ]
);

const PARTY: &str = "party.party";
const MECHANISM: &str = "party.contact_mechanism";
const NOW: Unreserved = Unreserved(Lane::Fresh);

async fn party(server: &Server, values: Json) -> Key {
    Key::new(server.create(PARTY, values).await.to_string())
}

fn number(key: &Key) -> i64 {
    key.as_str().parse().expect("a number")
}

async fn fetch(connector: &Tryton, key: &Key) -> Observed {
    let fields: Vec<usize> = (0..connector.fields().len()).collect();
    connector.fetch(std::slice::from_ref(key), &fields, &NOW).await.expect("it is read").remove(0)
}

fn text(cell: &Cell) -> Option<String> {
    match &cell.seen {
        Seen::Value(value) => Some(value.display()),
        Seen::Absent => None,
        Seen::Unseen => panic!("unseen"),
    }
}

fn shown(record: &Observed) -> Vec<Option<String>> {
    record.cells.iter().map(text).collect()
}

fn write(record: &Observed, field: usize, value: Option<&str>) -> Write {
    let (key, expect) = (record.key.clone(), record.cells[field].clone());
    Write { key, field, expect, value: value.map(Value::text), modified: None }
}

async fn send(connector: &Tryton, writes: Vec<Write>) -> Vec<Outcome> {
    let batch = connector.batches(writes.clone()).remove(0);
    assert_eq!(batch.len(), writes.len(), "one batch");
    let outcomes = connector.write(&batch, &NOW).await;
    // In the order in which they were given: a batch has another.
    let place = |write: &Write| batch.iter().position(|one| (&one.key, one.field) == (&write.key, write.field));
    writes.iter().map(|write| outcomes[place(write).expect("it is in the batch")].clone()).collect()
}

/// Writes one value on what is there now.
async fn put(connector: &Tryton, key: &Key, field: usize, value: Option<&str>) -> Outcome {
    let record = fetch(connector, key).await;
    send(connector, vec![write(&record, field, value)]).await.remove(0)
}

fn stored(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Written { stored } => text(stored),
        other => panic!("not written: {other:?}"),
    }
}

async fn changes(connector: &Tryton, since: Timestamp) -> Vec<Observed> {
    let pages: Vec<_> = connector.changes("records", since).try_collect().await.expect("it is read");
    pages.into_iter().flat_map(|page| page.observed).collect()
}

async fn everything(connector: &Tryton) -> Vec<Observed> {
    let pages: Vec<_> = connector.everything().try_collect().await.expect("it is read");
    pages.into_iter().flat_map(|page| page.observed).collect()
}

fn words(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Written { .. } => "written",
            Outcome::Changed => "changed",
            Outcome::Gone => "gone",
            Outcome::Rejected(_) => "rejected",
            Outcome::BatchRejected(_) => "again",
            Outcome::NotSent(_) => "not sent",
            Outcome::Unknown(_) => "unknown",
        })
        .collect()
}

pub async fn values_of_every_type_come_and_go(server: &Server) {
    let fields = [
        ("name", FieldType::String, "Ann", " Ann & co ", Holds::Text),
        ("attune_text", FieldType::String, "a\nb", "ä 𝄞\r\n", Holds::Text),
        ("attune_short", FieldType::String, "short", "0123456789", Holds::Text),
        ("attune_integer", FieldType::Number, "7", "-2147483648", Holds::Integer),
        ("attune_float", FieldType::Number, "12.5", "-0.1", Holds::Number),
        ("attune_decimal", FieldType::Number, "1.2", "123456789012.3456", Holds::Number),
        ("attune_boolean", FieldType::Boolean, "true", "false", Holds::Boolean),
        ("attune_date", FieldType::Date, "2026-01-02", "1969-12-31", Holds::Date),
        ("attune_instant", FieldType::String, "2026-01-02T03:04:05Z", "1969-12-31T23:59:59Z", Holds::Instant),
        ("attune_grade", FieldType::String, "gold", "silver", Holds::Text),
    ];
    let wanted: Vec<(&str, FieldType)> = fields.iter().map(|(name, kind, ..)| (*name, *kind)).collect();
    let connector = server.connector(PARTY, &wanted);
    let prepared = connector.prepare(&[], false).await.expect("it can be prepared");
    for (definition, (name, .., holds)) in prepared.definitions.iter().zip(&fields) {
        let DefinitionState::Usable(shape) = &definition.state else { panic!("{name}: {definition:?}") };
        assert_eq!((shape.holds, shape.writable), (*holds, true), "{name}");
        assert_eq!(shape.clearable, *name != "attune_boolean", "{name}");
        assert_eq!(shape.max_chars, (*name == "attune_short").then_some(10), "{name}");
    }
    let key = party(server, json!({ "name": "Ann" })).await;
    for round in 0..2 {
        let record = fetch(&connector, &key).await;
        let values: Vec<&str> =
            fields.iter().map(|(_, _, one, other, _)| if round == 0 { *one } else { *other }).collect();
        let writes = values.iter().enumerate().map(|(field, value)| write(&record, field, Some(value))).collect();
        let outcomes = send(&connector, writes).await;
        let expected: Vec<Option<String>> = values.iter().map(|value| Some((*value).to_owned())).collect();
        assert_eq!(outcomes.iter().map(stored).collect::<Vec<_>>(), expected);
        assert_eq!(shown(&fetch(&connector, &key).await), expected);
    }
    // All but the boolean can hold nothing.
    let record = fetch(&connector, &key).await;
    let writes = (0..fields.len()).filter(|field| *field != 6).map(|field| write(&record, field, None)).collect();
    let outcomes = send(&connector, writes).await;
    assert!(outcomes.iter().map(stored).all(|value| value.is_none()), "{outcomes:?}");
    // What the type does not take is refused by Tryton, in words that quote nothing.
    for (field, value) in [(2, "01234567890"), (9, "platinum"), (0, "two\nlines")] {
        match put(&connector, &key, field, Some(value)).await {
            Outcome::Rejected(why) => assert!(!why.contains(value) && why.contains(fields[field].0), "{why}"),
            other => panic!("{value}: {other:?}"),
        }
    }
}

pub async fn the_first_contact_mechanism_is_read_and_written(server: &Server) {
    let connector = server.connector(
        PARTY,
        &[("contact_mechanism:email", FieldType::String), ("contact_mechanism:phone", FieldType::String)],
    );
    let mechanisms = json!([["create", [
        { "type": "email", "value": "second@example.test", "sequence": 2 },
        { "type": "email", "value": "first@example.test", "sequence": 1 },
        { "type": "website", "value": "https://example.test" },
    ]]]);
    let key = party(server, json!({ "name": "Ann", "contact_mechanisms": mechanisms })).await;
    assert_eq!(shown(&fetch(&connector, &key).await), [Some("first@example.test".to_owned()), None]);
    assert_eq!(server.value(PARTY, number(&key), "email").await, "first@example.test", "as Tryton itself shows it");
    // One without a sequence stands before all others, as in Tryton.
    let front = json!({ "party": number(&key), "type": "email", "value": "front@example.test" });
    server.create(MECHANISM, front).await;
    assert_eq!(server.value(PARTY, number(&key), "email").await, "front@example.test");
    assert_eq!(text(&fetch(&connector, &key).await.cells[0]).as_deref(), Some("front@example.test"));
    // The first is changed, the phone is made: one call, one record.
    let record = fetch(&connector, &key).await;
    let writes = vec![write(&record, 0, Some("new@example.test")), write(&record, 1, Some("+1 202 555 0100"))];
    let outcomes = send(&connector, writes).await;
    assert_eq!(
        outcomes.iter().map(stored).collect::<Vec<_>>(),
        [Some("new@example.test".into()), Some("+1 202 555 0100".into())]
    );
    assert_eq!(server.ids(MECHANISM, json!([["party", "=", number(&key)]])).await.len(), 5, "nothing else was made");
    assert_eq!(server.value(PARTY, number(&key), "phone").await, "+1 202 555 0100");
    // Tryton takes spaces off: what is stored is what is told.
    assert_eq!(stored(&put(&connector, &key, 1, Some(" +49 30 1 ")).await).as_deref(), Some("+49 30 1"));
}

pub async fn a_clear_deactivates_and_never_brings_another_to_the_front(server: &Server) {
    let connector = server.connector(PARTY, &[("contact_mechanism:email", FieldType::String)]);
    let mechanisms = json!([["create", [{ "type": "email", "value": "only@example.test" }]]]);
    let key = party(server, json!({ "name": "Ann", "contact_mechanisms": mechanisms })).await;
    assert_eq!(stored(&put(&connector, &key, 0, None).await), None);
    let all = server.ids(MECHANISM, json!([["party", "=", number(&key)]])).await;
    let active = server.value(MECHANISM, all[0], "active").await;
    assert!(active == json!(false) || active == json!(0), "it is there still: {active}");
    let cleared = instant(&server.value(MECHANISM, all[0], "write_date").await);
    assert_eq!(fetch(&connector, &key).await.cells[0].modified, Some(cleared), "the clear has a date");
    // Cleared once more, nothing happens; filled again, there is a new one.
    assert_eq!(stored(&put(&connector, &key, 0, None).await), None);
    assert_eq!(
        stored(&put(&connector, &key, 0, Some("again@example.test")).await).as_deref(),
        Some("again@example.test")
    );
    server.create(MECHANISM, json!({ "party": number(&key), "type": "email", "value": "other@example.test" })).await;
    let Outcome::Rejected(why) = put(&connector, &key, 0, None).await else { panic!("it was cleared") };
    assert!(why.contains("another of this type") && !why.contains("@"), "{why}");
    assert_eq!(text(&fetch(&connector, &key).await.cells[0]).as_deref(), Some("again@example.test"));
}

pub async fn a_change_of_a_contact_mechanism_is_a_change_of_its_party(server: &Server) {
    let connector = server.connector(PARTY, &[("contact_mechanism:email", FieldType::String)]);
    let key = party(server, json!({ "name": "Ann" })).await;
    let dated = server.value(PARTY, number(&key), "write_date").await;
    let mechanism =
        server.create(MECHANISM, json!({ "party": number(&key), "type": "email", "value": "1@example.test" })).await;
    let mut expected = Some("1@example.test");
    for values in
        [json!({}), json!({ "value": "2@example.test" }), json!({ "active": false }), json!({ "active": true })]
    {
        if let Some(value) = values.get("value").and_then(Json::as_str) {
            assert_eq!(value, "2@example.test");
            expected = Some("2@example.test");
        }
        server.call(MECHANISM, "write", json!([[mechanism], values])).await;
        let at = instant(&server.value(MECHANISM, mechanism, "write_date").await);
        assert_eq!(server.value(PARTY, number(&key), "write_date").await, dated, "the party is not dated by it");
        let changed = changes(&connector, at).await;
        let record = changed.iter().find(|record| record.key == key).expect("it is in the feed");
        let is_active = values.get("active") != Some(&json!(false));
        assert_eq!(text(&record.cells[0]).as_deref(), expected.filter(|_| is_active), "{values}");
        assert_eq!(record.cells[0].modified, Some(at), "and the field is dated by it");
    }
    // Deleted in the form of the party, it dates the party; deleted alone, it leaves no date, and is found by the sweep.
    let form = json!([[number(&key)], { "contact_mechanisms": [["delete", [mechanism]]] }]);
    server.call(PARTY, "write", form).await;
    let at = instant(&server.value(PARTY, number(&key), "write_date").await);
    let changed = changes(&connector, at).await;
    assert_eq!(text(&changed.iter().find(|record| record.key == key).expect("in the feed").cells[0]), None);
    let alone =
        server.create(MECHANISM, json!({ "party": number(&key), "type": "email", "value": "3@example.test" })).await;
    let at = instant(&server.value(MECHANISM, alone, "write_date").await);
    server.call(MECHANISM, "delete", json!([[alone]])).await;
    assert!(!changes(&connector, at).await.iter().any(|record| record.key == key), "nothing tells of it");
    let swept = everything(&connector).await;
    assert_eq!(text(&swept.iter().find(|record| record.key == key).expect("in the sweep").cells[0]), None);
}

pub async fn a_write_on_a_changed_contact_mechanism_loses_and_the_others_are_written(server: &Server) {
    let connector =
        server.connector(PARTY, &[("name", FieldType::String), ("contact_mechanism:email", FieldType::String)]);
    let mut records = Vec::new();
    for name in ["One", "Two", "Three"] {
        let mechanisms = json!([["create", [{ "type": "email", "value": format!("{name}@example.test") }]]]);
        let key = party(server, json!({ "name": name, "contact_mechanisms": mechanisms })).await;
        records.push(fetch(&connector, &key).await);
    }
    let of_second = server.ids(MECHANISM, json!([["party", "=", number(&records[1].key)]])).await;
    server.call(MECHANISM, "write", json!([of_second, { "value": "theirs@example.test" }])).await;
    let writes = records
        .iter()
        .flat_map(|record| [write(record, 0, Some("Ours")), write(record, 1, Some("ours@example.test"))])
        .collect();
    let outcomes = send(&connector, writes).await;
    assert_eq!(words(&outcomes), ["written", "written", "changed", "changed", "written", "written"]);
    let second = fetch(&connector, &records[1].key).await;
    assert_eq!(shown(&second), [Some("Two".to_owned()), Some("theirs@example.test".to_owned())], "not a part of it");
    // What is written without the stamp of a recheck is not written at all.
    let mut blind = write(&second, 0, Some("Ours"));
    blind.expect.token = None;
    assert_eq!(words(&send(&connector, vec![blind]).await), ["changed"]);
}

pub async fn a_link_is_written_by_name_or_by_number(server: &Server) {
    let name = format!("Company {:?}", std::time::Instant::now());
    let company = party(server, json!({ "name": name })).await;
    let twice = party(server, json!({ "name": "Twins" })).await;
    party(server, json!({ "name": "Twins" })).await;
    let connector =
        server.connector(PARTY, &[("attune_company", FieldType::String), ("attune_company:id", FieldType::Number)]);
    let key = party(server, json!({ "name": "Ann" })).await;
    assert_eq!(shown(&fetch(&connector, &key).await), [None, None]);
    assert_eq!(stored(&put(&connector, &key, 0, Some(&name)).await), Some(name.clone()));
    assert_eq!(shown(&fetch(&connector, &key).await), [Some(name.clone()), Some(company.to_string())]);
    assert_eq!(stored(&put(&connector, &key, 1, Some(twice.as_str())).await), Some(twice.to_string()));
    assert_eq!(text(&fetch(&connector, &key).await.cells[0]).as_deref(), Some("Twins"));
    for (value, why) in [("Twins", "several records"), ("Nobody's company", "no record")] {
        match put(&connector, &key, 0, Some(value)).await {
            Outcome::Rejected(said) => assert!(said.contains(why) && !said.contains(value), "{said}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stored(&put(&connector, &key, 0, None).await), None);
}

pub async fn fields_of_a_linked_record_are_read_and_its_edits_are_fed(server: &Server) {
    let connector = server.connector(
        PARTY,
        &[("attune_company.attune_text", FieldType::String), ("attune_company.attune_date", FieldType::Date)],
    );
    let prepared = connector.prepare(&[], false).await.expect("it can be prepared");
    assert!(
        prepared.definitions.iter().all(|one| matches!(&one.state, DefinitionState::Usable(shape) if !shape.writable))
    );
    assert_eq!(prepared.warnings, [""; 0]);
    let company = party(server, json!({ "name": "Company", "attune_text": "W-1" })).await;
    let key = party(server, json!({ "name": "Ann", "attune_company": number(&company) })).await;
    let alone = party(server, json!({ "name": "Bob" })).await;
    assert_eq!(shown(&fetch(&connector, &key).await), [Some("W-1".to_owned()), None]);
    assert_eq!(shown(&fetch(&connector, &alone).await), [None, None], "no link, no value");
    server.call(PARTY, "write", json!([[number(&company)], { "attune_text": "W-2" }])).await;
    let at = instant(&server.value(PARTY, number(&company), "write_date").await);
    let changed = changes(&connector, at).await;
    let record = changed.iter().find(|record| record.key == key).expect("the edit reaches who links to it");
    assert_eq!(text(&record.cells[0]).as_deref(), Some("W-2"));
    assert_eq!(record.cells[0].modified, Some(at));
    assert!(!changed.iter().any(|record| record.key == alone));
    assert_eq!(words(&send(&connector, vec![write(record, 0, Some("mine"))]).await), ["rejected"]);
    // A link that Tryton computes cannot be searched by, and this is said.
    let computed = server.connector(PARTY, &[("lang.code", FieldType::String)]);
    let warnings = computed.prepare(&[], false).await.expect("it can be prepared").warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("`lang`"), "{warnings:?}");
    changes(&computed, at).await;
}

pub async fn archived_and_merged_records_are_told_apart(server: &Server) {
    let connector = server.connector(PARTY, &[("name", FieldType::String)]);
    let archived = party(server, json!({ "name": "Archived" })).await;
    for (active, existence) in [(false, Existence::Gone), (true, Existence::Present)] {
        server.call(PARTY, "write", json!([[number(&archived)], { "active": active }])).await;
        assert_eq!(fetch(&connector, &archived).await.existence, existence);
    }
    let (loser, winner) =
        (party(server, json!({ "name": "Same" })).await, party(server, json!({ "name": "Same" })).await);
    let before = fetch(&connector, &loser).await;
    server.replace(number(&loser), number(&winner)).await;
    let merged = Existence::MergedInto(winner.clone());
    let at = instant(&server.value(PARTY, number(&loser), "write_date").await);
    let in_feed = changes(&connector, at).await;
    assert_eq!(in_feed.iter().find(|record| record.key == loser).expect("in the feed").existence, merged);
    assert_eq!(fetch(&connector, &loser).await.existence, merged);
    assert_eq!(fetch(&connector, &winner).await.existence, Existence::Present);
    assert_eq!(words(&send(&connector, vec![write(&before, 0, Some("late"))]).await), ["gone"]);
}

pub async fn one_record_that_is_gone_keeps_the_others_from_being_written_and_is_named(server: &Server) {
    let connector = server.connector(PARTY, &[("name", FieldType::String)]);
    let mut records = Vec::new();
    for name in ["One", "Two", "Three"] {
        let key = party(server, json!({ "name": name })).await;
        records.push(fetch(&connector, &key).await);
    }
    server.call(PARTY, "delete", json!([[number(&records[1].key)]])).await;
    let outcomes = send(&connector, records.iter().map(|record| write(record, 0, Some("Ours"))).collect()).await;
    assert_eq!(words(&outcomes), ["again", "gone", "again"]);
    assert_eq!(text(&fetch(&connector, &records[0].key).await.cells[0]).as_deref(), Some("One"), "all or nothing");
    let outcomes =
        send(&connector, vec![write(&records[0], 0, Some("Ours")), write(&records[2], 0, Some("Ours"))]).await;
    assert_eq!(words(&outcomes), ["written", "written"]);
}

pub async fn what_a_rule_hides_is_not_gone(server: &Server) {
    let own = server.model(5).await;
    let (_, login) = server.user("a password of some length").await;
    let settings = server.settings(&own.model, &login, "a password of some length", &[("title", FieldType::String)]);
    let connector = Tryton::new(settings).expect("sound");
    let keys = own.keys().await;
    own.edit(&keys[1], 0, Some("HIDDEN")).await;
    let records = connector.fetch(&keys, &[0], &NOW).await.expect("they are read");
    let rule = json!({
        "name": "hide", "model": own.model, "global_p": true, "perm_read": true, "perm_write": true, "perm_create": true,
        "perm_delete": true, "rules": [["create", [{ "domain": "[[\"title\", \"!=\", \"HIDDEN\"]]" }]]],
    });
    let rule = server.create("ir.rule.group", rule).await;
    for gone in [0, 3, 4] {
        own.remove(&keys[gone]).await;
    }
    let existence = connector.fetch(&keys, &[0], &NOW).await;
    let outcomes = send(&connector, vec![write(&records[1], 0, Some("x")), write(&records[2], 0, Some("y"))]).await;
    server.call("ir.rule.group", "delete", json!([[rule]])).await;
    let existence: Vec<Existence> =
        existence.expect("they are read").into_iter().map(|record| record.existence).collect();
    let [gone, hidden, present] = [Existence::Gone, Existence::NotSaid, Existence::Present];
    assert_eq!(existence, [gone.clone(), hidden, present, gone.clone(), gone]);
    assert_eq!(words(&outcomes), ["gone", "again"]);
}

pub async fn a_user_who_may_only_read_writes_nothing(server: &Server) {
    let own = server.model(1).await;
    let (_, login) = server.user("a password of some length").await;
    let settings = || server.settings(&own.model, &login, "a password of some length", &[("title", FieldType::String)]);
    let writer = Tryton::new(settings()).expect("sound");
    let record = fetch(&writer, &own.keys().await[0]).await;
    let rights = |read: bool| json!({ "model": own.model, "perm_read": read, "perm_write": false, "perm_create": false, "perm_delete": false });
    let access = server.create("ir.model.access", rights(true)).await;
    let prepared = Tryton::new(settings()).expect("sound").prepare(&[], false).await;
    let outcomes = send(&writer, vec![write(&record, 0, Some("Ours"))]).await;
    server.call("ir.model.access", "write", json!([[access], rights(false)])).await;
    let read = writer.everything().try_collect::<Vec<_>>().await;
    let unprepared = Tryton::new(settings()).expect("sound").prepare(&[], false).await;
    server.call("ir.model.access", "delete", json!([[access]])).await;
    let prepared = prepared.expect("it can be prepared");
    assert!(matches!(&prepared.definitions[0].state, DefinitionState::Usable(shape) if !shape.writable));
    // One who loses the right while Attune runs is told so, and nothing is held for the values.
    let Outcome::NotSent(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
    for failure in [failure, &read.expect_err("it may not be read"), &unprepared.expect_err("it may not be read")] {
        assert_eq!(failure.class, Class::Auth, "{failure}");
        assert!(failure.message.contains("rights"), "{failure}");
    }
}

pub async fn fields_that_cannot_be_used_say_why(server: &Server) {
    let fields = [
        ("nmae", "did you mean `name`?"),
        ("email", "map `contact_mechanism:email`"),
        ("contact_mechanism:emial", "did you mean `contact_mechanism:email`?"),
        ("categories", "type many2many"),
        ("name:id", "type char"),
        ("name.code", "no link to one record"),
        ("attune_company.nmae", "did you mean `name`?"),
        ("code", "usable, writable: false"),
        ("full_name", "usable, writable: false"),
        ("write_date", "usable, writable: false"),
        ("@key", "usable, writable: false"),
    ];
    let wanted: Vec<(&str, FieldType)> = fields.iter().map(|(name, _)| (*name, FieldType::String)).collect();
    let connector = server.connector(PARTY, &wanted);
    let prepared = connector.prepare(&[], false).await.expect("it can be prepared");
    for (definition, (name, expected)) in prepared.definitions.iter().zip(fields) {
        let said = match &definition.state {
            DefinitionState::Unusable(why) => why.clone(),
            DefinitionState::Usable(shape) => format!("usable, writable: {}", shape.writable),
            other => panic!("{other:?}"),
        };
        assert!(said.contains(expected), "{name}: {said}");
    }
    let other = server.connector("party.category", &[("contact_mechanism:email", FieldType::String)]);
    let prepared = other.prepare(&[], false).await.expect("it can be prepared");
    assert!(
        matches!(&prepared.definitions[0].state, DefinitionState::Unusable(why) if why.contains("no contact mechanisms"))
    );
    let key = party(server, json!({ "name": "Ann" })).await;
    assert!(fetch(&connector, &key).await.cells[..7].iter().all(|cell| cell.seen.is_unseen()), "the others are read");
}

pub async fn a_refused_password_is_sent_once_and_never_locks_the_user_out(server: &Server) {
    let (_, login) = server.user("the right password").await;
    let kept = Arc::new(Mutex::new("wrong".to_owned()));
    let read = Arc::clone(&kept);
    let mut settings = server.settings(PARTY, &login, "", &[("name", FieldType::String)]);
    settings.password = Arc::new(move || Ok(SecretString::from(read.lock().expect("no panic").clone())));
    let connector = Tryton::new(settings).expect("sound");
    // Ten refused logins would lock the user out for minutes.
    for knock in 0..10 {
        let failure = connector.prepare(&[], false).await.expect_err("it is refused");
        assert_eq!(failure.class, Class::Auth, "{failure}");
        assert!(failure.message.contains("`password`") && !failure.message.contains("wrong"), "{knock}: {failure}");
    }
    *kept.lock().expect("no panic") = "the right password".to_owned();
    connector.prepare(&[], false).await.expect("the right one is let in at once");
}

pub async fn a_user_who_is_locked_out_is_not_knocked_for(server: &Server) {
    let (_, login) = server.user("the right password").await;
    let settings = |password: &str| server.settings(PARTY, &login, password, &[("name", FieldType::String)]);
    // Somebody else knocks with wrong passwords.
    let mut locked = None;
    for number in 0..8 {
        let connector = Tryton::new(settings(&format!("wrong {number}"))).expect("sound");
        let failure = connector.prepare(&[], false).await.expect_err("it is refused");
        if failure.status == Some(429) {
            locked = Some(number);
            break;
        }
    }
    assert!(locked.is_some(), "the server locks users out");
    let connector = Tryton::new(settings("the right password")).expect("sound");
    let failure = connector.prepare(&[], false).await.expect_err("the right one is not let in");
    assert_eq!((failure.class, failure.status), (Class::Auth, Some(429)), "{failure}");
    assert!(failure.message.contains("minutes"), "{failure}");
    let failure = connector.prepare(&[], false).await.expect_err("nor again");
    assert_eq!(failure.status, None, "and it was not asked again: {failure}");
}

pub async fn a_password_that_was_changed_is_found_in_mid_run(server: &Server) {
    let (user, login) = server.user("the first password").await;
    let kept = Arc::new(Mutex::new("the first password".to_owned()));
    let read = Arc::clone(&kept);
    let mut settings = server.settings(PARTY, &login, "", &[("name", FieldType::String)]);
    settings.password = Arc::new(move || Ok(SecretString::from(read.lock().expect("no panic").clone())));
    let connector = Tryton::new(settings).expect("sound");
    let key = party(server, json!({ "name": "Ann" })).await;
    let record = fetch(&connector, &key).await;
    // Tryton ends all sessions of the user.
    server.call("res.user", "write", json!([[user], { "password": "the second password" }])).await;
    let outcomes = send(&connector, vec![write(&record, 0, Some("Ours"))]).await;
    let Outcome::NotSent(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(failure.class, Class::Auth, "{failure}");
    *kept.lock().expect("no panic") = "the second password".to_owned();
    assert_eq!(words(&send(&connector, vec![write(&record, 0, Some("Ours"))]).await), ["written"]);
}

pub async fn a_wrong_database_and_a_wrong_model_are_told_apart(server: &Server) {
    let fields = [("name", FieldType::String)];
    let failure = server.connector("party.prty", &fields).prepare(&[], false).await.expect_err("it is wrong");
    assert_eq!(failure.class, Class::Misconfigured, "{failure}");
    assert!(failure.message.contains("`model`"), "{failure}");
    let mut settings = server.settings(PARTY, "admin", "any", &fields);
    settings.database = "nowhere".to_owned();
    let failure = Tryton::new(settings).expect("sound").prepare(&[], false).await.expect_err("it is wrong");
    assert_eq!(failure.class, Class::Misconfigured, "{failure}");
    assert!(failure.message.contains("`database`"), "{failure}");
}
