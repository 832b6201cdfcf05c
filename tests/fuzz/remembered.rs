//! What the checkpoint is given to remember, and files that hold something else.

use std::collections::BTreeMap;

use attune::checkpoint::{Cursor, SeenCell};
use attune::model::{Timestamp, Value};
use proptest::prelude::*;
use proptest::sample::select;

use crate::harness::{Cost, fuzz};
use crate::mutation::{broken, json, number, text};
use crate::targets::remembered::{self, Everything, Known};

fn moment() -> BoxedStrategy<Timestamp> {
    prop_oneof![3 => any::<i64>(), 1 => select(vec![0, -1, i64::MIN, i64::MAX, 1 << 53, (1 << 53) + 1])]
        .prop_map(Timestamp::from_millis)
        .boxed()
}

fn value() -> BoxedStrategy<Value> {
    prop_oneof![
        3 => text().prop_map(Value::Text),
        1 => number().prop_map(Value::Text),
        1 => prop::collection::vec(text(), 0..3).prop_map(Value::List),
    ]
    .boxed()
}

fn cell() -> BoxedStrategy<SeenCell> {
    let moment = || prop::option::of(moment());
    (prop::option::weighted(0.8, value()), moment(), moment(), moment(), any::<bool>())
        .prop_map(|(value, modified, edited, acknowledged, ours)| SeenCell {
            value,
            modified,
            edited,
            acknowledged,
            ours,
        })
        .boxed()
}

fn known() -> BoxedStrategy<Known> {
    let key = || prop_oneof![2 => (1_u64..99).prop_map(|key| key.to_string()), 1 => number(), 2 => text()];
    (key(), prop::option::weighted(0.1, key()), prop::collection::vec(cell(), 0..6), prop::option::of(text()))
        .prop_map(|(key, merged_into, cells, matched_by)| Known { key, merged_into, cells, matched_by })
        .boxed()
}

fn everything() -> BoxedStrategy<Everything> {
    let records = prop::collection::vec(known(), 1..5).prop_map(|mut records| {
        records.sort_by(|one, other| one.key.cmp(&other.key));
        records.dedup_by(|one, other| one.key == other.key);
        records
    });
    let cursor = (moment(), moment()).prop_map(|(at, overlapped_at)| Cursor { at, overlapped_at });
    let cursors = prop::collection::btree_map(text(), cursor, 0..4);
    let agreed = prop::collection::vec(prop::option::of(prop_oneof![text(), number(), json()]), 0..6);
    (records, known(), cursors, agreed, text())
        .prop_map(|(store, crm, cursors, agreed, state)| Everything { store, crm, cursors, agreed, state })
        .boxed()
}

#[test]
fn everything_comes_back() {
    fuzz("everything comes back", Cost::Trip, &everything(), remembered::through);
}

#[test]
fn packed_cells() {
    let cell = (number(), json(), number(), json(), number(), 0_u8..3).prop_map(
        |(field, value, modified, edited, acknowledged, ours)| {
            format!("[{field},{value},{modified},{edited},{acknowledged},{ours}]")
        },
    );
    let record = prop::collection::vec(prop_oneof![4 => cell, 1 => json()], 0..4)
        .prop_map(|cells| format!("[{}]", cells.join(",")));
    fuzz("packed cells", Cost::Text, &broken(record), |bytes| remembered::packed(&String::from_utf8_lossy(bytes)));
}

#[test]
fn packed_cursors() {
    let cursor =
        (number(), json()).prop_map(|(at, overlapped_at)| format!(r#"{{"at":{at},"overlapped_at":{overlapped_at}}}"#));
    let cursors = prop::collection::vec((text(), cursor), 0..4).prop_map(|cursors| {
        let cursors: BTreeMap<String, String> = cursors.into_iter().collect();
        let cursors: Vec<String> = cursors
            .iter()
            .map(|(feed, cursor)| format!("{}:{cursor}", serde_json::Value::from(feed.as_str())))
            .collect();
        format!("{{{}}}", cursors.join(","))
    });
    fuzz("packed cursors", Cost::Text, &broken(cursors), |bytes| {
        remembered::packed_cursors(&String::from_utf8_lossy(bytes))
    });
}
