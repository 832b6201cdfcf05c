//! Numbers, days, truth values, lists, mapped words, durations and instants.

use std::collections::BTreeMap;

use attune::model::FieldType;
use proptest::prelude::*;
use proptest::sample::select;

use crate::harness::{Cost, fuzz};
use crate::mutation::{number, text, time};
use crate::targets::{times, values};

fn spaced(inner: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let space = select(vec!["", "", "", " ", "\t", "\u{a0}", "\u{2003}", "\u{feff}", "\0"]);
    (space.clone(), inner, space).prop_map(|(before, inner, after)| format!("{before}{inner}{after}")).boxed()
}

/// The same number, most often, spelled in another way.
fn twins() -> BoxedStrategy<(String, String)> {
    (number(), number(), 0_u8..8, 0_usize..4)
        .prop_map(|(one, other, how, zeros)| {
            let zeros = "0".repeat(zeros);
            let twin = match how {
                0 => format!("+{one}"),
                1 if one.contains('.') && !one.contains(['e', 'E']) => format!("{one}{zeros}"),
                2 if !one.contains(['.', 'e', 'E']) => format!("{one}.{zeros}"),
                3 if !one.contains(['e', 'E']) => format!("{one}e0"),
                4 if !one.starts_with(['-', '+']) => format!("{zeros}{one}"),
                5 => one.replace('E', "e"),
                6 if !one.contains(['.', 'e', 'E']) => format!("{one}{zeros}e-{}", zeros.len()),
                _ => other,
            };
            (one, twin)
        })
        .boxed()
}

#[test]
fn numbers() {
    fuzz("numbers", Cost::Text, &prop_oneof![6 => spaced(number()), 1 => text(), 1 => time()], |text| {
        values::number(text)
    });
    fuzz("two numbers", Cost::Text, &twins(), |(one, other)| values::numbers(one, other));
}

#[test]
fn days() {
    fuzz("days", Cost::Text, &prop_oneof![8 => spaced(time()), 1 => text(), 1 => number()], |text| values::day(text));
}

#[test]
fn every_day_of_four_centuries() {
    for year in 1900..2300 {
        for month in 0..14 {
            for day in 0..33 {
                values::day(&format!("{year:04}-{month:02}-{day:02}"));
            }
        }
    }
}

#[test]
fn truth_values() {
    let word = select(vec![
        "true",
        "T",
        "Yes",
        "y",
        "ON",
        "1",
        "false",
        "f",
        "no",
        "N",
        "off",
        "0",
        "01",
        "1.0",
        "truе",
        "ＹＥＳ",
        "oN\u{307}",
    ]);
    fuzz(
        "truth values",
        Cost::Text,
        &prop_oneof![4 => spaced(word.prop_map(str::to_owned).boxed()), 1 => text()],
        |text| {
            values::truth(text);
        },
    );
}

#[test]
fn texts_and_lists() {
    fuzz("texts", Cost::Text, &(spaced(text()), spaced(text())), |(one, other)| values::texts(one, other));
    fuzz("lists", Cost::Text, &prop::collection::vec(spaced(text()), 0..6), |items| values::list(items));
    let as_text = prop_oneof![
        crate::mutation::json(),
        prop::collection::vec(text(), 0..4).prop_map(|items| serde_json::Value::from(items).to_string()),
    ];
    fuzz("lists in texts", Cost::Text, &as_text, |text| values::list_in_a_text(text));
}

#[test]
fn mapped_words() {
    let kind = select(vec![FieldType::String, FieldType::Number, FieldType::Date, FieldType::Boolean, FieldType::List]);
    let word = || prop_oneof![3 => "[a-c]{1,2}", 2 => text(), 2 => number(), 1 => time(), 1 => select(vec!["yes", "no", "1", "0", "true"]).prop_map(str::to_owned)];
    let input = (kind, prop::collection::vec((word(), word()), 0..5), word(), any::<prop::sample::Index>());
    fuzz("mapped words", Cost::Text, &input, |(kind, pairs, other, at)| {
        // As the configuration hands them over: trimmed, and no CRM word empty.
        let trimmed = pairs.iter().map(|(crm, store)| (crm.trim().to_owned(), store.trim().to_owned()));
        let mapped: BTreeMap<String, String> = trimmed.filter(|(crm, _)| !crm.is_empty()).collect();
        values::words(*kind, &mapped, other);
        if let Some((crm, store)) = pairs.get(at.index(pairs.len().max(1))) {
            values::words(*kind, &mapped, crm);
            values::words(*kind, &mapped, store);
        }
    });
}

#[test]
fn durations() {
    let unit = select(vec!["ms", "s", "m", "h", "d", "", "M", "min", "µs", " s", "w", "\0"]);
    let duration = (number(), unit).prop_map(|(number, unit)| format!("{number}{unit}")).boxed();
    fuzz("durations", Cost::Text, &prop_oneof![6 => spaced(duration), 1 => text()], |text| times::duration(text));
}

#[test]
fn instants() {
    let written = any::<i64>().prop_map(|millis| attune::model::Timestamp::from_millis(millis / 40_000).to_string());
    fuzz("instants", Cost::Text, &prop_oneof![6 => time(), 2 => written, 1 => text()], |text| times::instant(text));
}
