//! Canonical values by example, and their laws.

use proptest::prelude::*;

use super::canonical::spell;
use super::*;
use crate::model::{Canonical, FieldOptions, FieldRule, FieldShape, FieldType, Holds, Side, Value};

const SIDES: [Side; 2] = [Side::Store, Side::Crm];
const KINDS: [FieldType; 5] =
    [FieldType::String, FieldType::Number, FieldType::Date, FieldType::Boolean, FieldType::List];

fn rule(kind: FieldType) -> FieldRule {
    FieldRule { kind, ..FieldRule::new("attribute:Tier", "tier") }
}

fn with_words(kind: FieldType, words: &[(&str, &str)]) -> FieldRule {
    FieldRule {
        values: words.iter().map(|(crm, store)| ((*crm).to_owned(), (*store).to_owned())).collect(),
        ..rule(kind)
    }
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| (*item).to_owned()).collect())
}

/// The canonical text of a store's text.
fn text(rule: &FieldRule, text: &str) -> Option<Value> {
    canonical(rule, Side::Store, &Value::text(text)).unwrap().map(|canonical| canonical.value().clone())
}

#[test]
fn text_is_trimmed_unless_told_not_to() {
    let trimming = rule(FieldType::String);
    assert_eq!(text(&trimming, " \u{a0}\u{2003}a  b\t\n"), Some(Value::text("a  b")));
    assert_eq!(text(&trimming, "Ä"), Some(Value::text("Ä")));
    assert_eq!(text(&trimming, " \t"), None);
    let exact = FieldRule { trim: false, ..trimming };
    assert_eq!(text(&exact, " a "), Some(Value::text(" a ")));
    assert_eq!(text(&exact, " "), Some(Value::text(" ")));
    assert_eq!(text(&exact, ""), None);
}

#[test]
fn each_type_has_one_spelling() {
    for (kind, spelling, expected) in [
        (FieldType::Number, " 1.0 ", Some(Value::text("1"))),
        (FieldType::Number, " ", None),
        (FieldType::Date, " 2026-01-02T00:00:00Z", Some(Value::text("2026-01-02"))),
        (FieldType::Boolean, " YES ", Some(Value::text("true"))),
        (FieldType::Boolean, "f", Some(Value::text("false"))),
        (FieldType::Boolean, "0", Some(Value::text("false"))),
        (FieldType::List, " b ", Some(list(&["b"]))),
        (FieldType::List, r#"["b","a"," b",""]"#, Some(list(&["a", "b"]))),
        (FieldType::List, "[b", Some(list(&["[b"]))),
        (FieldType::List, "a;b", Some(list(&["a;b"]))),
        (FieldType::List, "[]", None),
        (FieldType::List, "", None),
    ] {
        assert_eq!(text(&rule(kind), spelling), expected, "{kind:?} {spelling:?}");
    }
    assert_eq!(canonical(&rule(FieldType::String), Side::Crm, &list(&["a"])), Ok(Some(Canonical(Value::text("a")))));
    assert_eq!(canonical(&rule(FieldType::String), Side::Crm, &list(&[])), Ok(None));
}

#[test]
fn what_is_not_of_its_type_is_refused_without_being_shown() {
    for (kind, value, sentence) in [
        (FieldType::Number, Value::text("jane"), "what the CRM holds is not a decimal number of at most 64 digits"),
        (FieldType::Date, Value::text("2024-02-30"), "what the CRM holds is not a day that exists (YYYY-MM-DD)"),
        (FieldType::Boolean, Value::text("maybe"), "what the CRM holds is not true or false"),
        (FieldType::String, list(&["a", "b"]), "the CRM holds several values"),
    ] {
        assert_eq!(canonical(&rule(kind), Side::Crm, &value).unwrap_err().to_string(), sentence);
    }
}

#[test]
fn words_are_compared_in_the_store_s_words() {
    let rule = with_words(FieldType::String, &[("gold", "Gold tier"), (" plain ", "Plain"), ("none", "")]);
    let from = |side, word| canonical(&rule, side, &Value::text(word));
    assert_eq!(from(Side::Crm, " gold"), Ok(Some(Canonical(Value::text("Gold tier")))));
    assert_eq!(from(Side::Crm, "plain"), Ok(Some(Canonical(Value::text("Plain")))));
    assert_eq!(from(Side::Crm, "none"), Ok(None), "a word for nothing");
    assert_eq!(from(Side::Crm, ""), Ok(None));
    assert_eq!(from(Side::Store, "Gold tier "), Ok(Some(Canonical(Value::text("Gold tier")))));
    assert_eq!(
        from(Side::Crm, "Gold tier").unwrap_err().to_string(),
        "the CRM holds a word that `values` of the mapping does not have"
    );
    assert!(from(Side::Store, "gold").is_err());

    let typed = with_words(FieldType::Boolean, &[("J", "yes"), ("N", "no")]);
    assert_eq!(canonical(&typed, Side::Store, &Value::text("TRUE")), Ok(Some(Canonical(Value::text("true")))));
    assert_eq!(encode(&typed, Side::Crm, &Canonical(Value::text("true"))), Ok(Value::text("J")));

    let several = with_words(FieldType::List, &[("a", "A"), ("b", "B")]);
    assert_eq!(canonical(&several, Side::Crm, &list(&["b", "a"])), Ok(Some(Canonical(list(&["A", "B"])))));
    assert_eq!(encode(&several, Side::Crm, &Canonical(list(&["A", "B"]))), Ok(list(&["a", "b"])));
    assert!(canonical(&several, Side::Crm, &list(&["a", "c"])).is_err());
    assert!(encode(&several, Side::Crm, &Canonical(list(&["C"]))).is_err());
}

#[test]
fn a_target_takes_what_it_can_hold_as_it_is() {
    let shape = |holds| FieldShape { holds, max_chars: Some(255), refuses_nul: true, ..FieldShape::TEXT };
    for (holds, taken, refused) in [
        (Holds::Text, &["", "a", "\u{1f600}"][..], &["a\0b"][..]),
        (Holds::Number, &["1.50", "-3", "1e5"], &["a", "", "1,5"]),
        (Holds::Integer, &["3", "-3", "3.0", "9223372036854775807"], &["3.5", "9223372036854775808", "a"]),
        (Holds::Date, &["2026-01-02"], &["2026-01-02T03:04:05Z", "2024-02-30", "a"]),
        (Holds::Instant, &["2026-01-02", "2026-01-02T03:04:05Z"], &["2024-02-30", "a"]),
        (Holds::Boolean, &["true", "0"], &["maybe"]),
        (Holds::List, &[], &["a"]),
        (Holds::FullName, &["Ann Lee", " Ann Mary Lee "], &["Ann", " Ann ", ""]),
    ] {
        for text in taken {
            assert_eq!(fits(&shape(holds), &Value::text(*text)), Ok(()), "{holds:?} {text:?}");
        }
        for text in refused {
            assert!(fits(&shape(holds), &Value::text(*text)).is_err(), "{holds:?} {text:?}");
        }
    }
    assert_eq!(fits(&shape(Holds::Text), &Value::text("é".repeat(255))), Ok(()), "characters, not bytes");
    assert_eq!(
        fits(&shape(Holds::Text), &Value::text("é".repeat(256))).unwrap_err().to_string(),
        "it has 256 characters, and the target takes 255"
    );
    assert_eq!(fits(&FieldShape::TEXT, &Value::text("a\0b".repeat(1000))), Ok(()));
    assert_eq!(fits(&shape(Holds::List), &list(&["a", "b"])), Ok(()));
    assert!(fits(&shape(Holds::List), &list(&["a\0"])).is_err());
    assert!(fits(&shape(Holds::Text), &list(&["a"])).is_err());
}

#[test]
fn a_list_in_a_text_of_the_crm_is_separated_as_the_mapping_says() {
    let options = FieldOptions { separator: Some(";".to_owned()), ..FieldOptions::default() };
    let rule = FieldRule { options, ..rule(FieldType::List) };
    let set = |items: &[&str]| Ok(Some(Canonical(list(items))));
    assert_eq!(canonical(&rule, Side::Crm, &Value::text(" b; a ;;b")), set(&["a", "b"]));
    assert_eq!(canonical(&rule, Side::Crm, &Value::text(" ; ")), Ok(None));
    assert_eq!(canonical(&rule, Side::Crm, &list(&["b", "a;c"])), set(&["a;c", "b"]), "a list is one already");
    assert_eq!(canonical(&rule, Side::Store, &Value::text("a;b")), set(&["a;b"]), "it says nothing about the store");
    let spelt = |side, items: &[&str]| spell(&rule, side, &FieldShape::TEXT, list(items));
    assert_eq!(spelt(Side::Crm, &["a", "b"]), Ok(Value::text("a;b")));
    assert_eq!(spelt(Side::Store, &["a", "b"]), Ok(Value::text("[\"a\",\"b\"]")));
    assert!(spelt(Side::Crm, &["a;c", "b"]).is_err(), "it would come back as another list");
}

#[test]
fn a_truth_value_in_a_number_is_one_or_zero() {
    let integer = FieldShape { holds: Holds::Integer, ..FieldShape::TEXT };
    assert_eq!(spell(&rule(FieldType::Boolean), Side::Store, &integer, Value::text("true")), Ok(Value::text("1")));
    assert_eq!(spell(&rule(FieldType::Boolean), Side::Store, &integer, Value::text("false")), Ok(Value::text("0")));
    assert_eq!(spell(&rule(FieldType::Number), Side::Store, &integer, Value::text("1")), Ok(Value::text("1")));
    assert_eq!(
        spell(&rule(FieldType::Boolean), Side::Store, &FieldShape::TEXT, Value::text("true")),
        Ok(Value::text("true"))
    );
}

/// Any rule: every type, trimmed or not, with and without words.
fn any_rule() -> impl Strategy<Value = FieldRule> {
    let separators = prop::sample::select(&[None, Some(";"), Some(" | ")][..]);
    (prop::sample::select(&KINDS[..]), any::<bool>(), any::<bool>(), separators).prop_map(
        |(kind, trim, words, separator)| {
            let words: &[(&str, &str)] = match (words, kind) {
                (false, _) => &[],
                (true, FieldType::String | FieldType::List) => &[("g", "Gold"), ("s", " Silver "), ("-", "")],
                (true, FieldType::Number) => &[("low", "1.0"), ("high", "20")],
                (true, FieldType::Date) => &[("start", "2026-01-01"), ("end", "2026-12-31")],
                (true, FieldType::Boolean) => &[("J", "yes"), ("N", "0")],
            };
            let options = FieldOptions { separator: separator.map(str::to_owned), ..FieldOptions::default() };
            FieldRule { trim, options, ..with_words(kind, words) }
        },
    )
}

/// Texts that are often of some type, or almost, and often a mapped word.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,12}",
        "[ \\t]{0,2}[-+]?[0-9]{0,9}\\.?[0-9]{0,9}([eE][-+]?[0-9]{1,3})?[ ]?",
        "20[0-9]{2}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,6})?)?(Z|[-+][0-9]{2}(:?[0-9]{2})?)?)?",
        "(?i:true|false|yes|no|t|f|y|n|on|off|1|0)",
        prop::sample::select(
            &["g", "s", "-", "Gold", "Silver", "low", "high", "1", "20", "start", "J", "N", "true"][..]
        )
        .prop_map(str::to_owned),
        "\\[(\"[a-c ]{0,3}\"(,\"[a-c ]{0,3}\"){0,3})?\\]",
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => any_text().prop_map(Value::Text),
        1 => prop::collection::vec(any_text(), 0..4).prop_map(Value::List),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_canonical_value_is_its_own_canonical_value(rule in any_rule(), value in any_value()) {
        for side in SIDES {
            if let Ok(Some(once)) = canonical(&rule, side, &value) {
                prop_assert_eq!(canonical(&rule, Side::Store, once.value()), Ok(Some(once.clone())));
            }
        }
    }

    #[test]
    fn what_is_sent_reads_as_what_was_meant(rule in any_rule(), value in any_value()) {
        for from in SIDES {
            let Ok(Some(meant)) = canonical(&rule, from, &value) else { continue };
            for to in SIDES {
                let sent = encode(&rule, to, &meant).unwrap();
                prop_assert_eq!(canonical(&rule, to, &sent), Ok(Some(meant.clone())));
                for holds in [
                    Holds::Text, Holds::Number, Holds::Integer, Holds::Date, Holds::Instant, Holds::Boolean, Holds::List,
                ] {
                    let shape = FieldShape { holds, ..FieldShape::TEXT };
                    let Ok(spelled) = spell(&rule, to, &shape, sent.clone()) else { continue };
                    prop_assert_eq!(canonical(&rule, to, &spelled), Ok(Some(meant.clone())), "{:?}", holds);
                    if holds == Holds::Text {
                        prop_assert_eq!(fits(&shape, &spelled), Ok(()));
                    }
                }
            }
        }
    }

    #[test]
    fn a_list_is_the_same_in_any_order(mut items in prop::collection::vec("[a-d ]{0,3}", 0..6)) {
        let rule = rule(FieldType::List);
        let forwards = canonical(&rule, Side::Crm, &Value::List(items.clone()));
        items.reverse();
        items.extend(items.first().cloned());
        prop_assert_eq!(canonical(&rule, Side::Crm, &Value::List(items)), forwards);
    }
}
