//! Consent, case by case and over everything. `y` and `n` are yes and no, `.` is absent, `?` unknown.

use super::table_test::Case;
use super::*;
use crate::model::{
    Agreed, Canonical, Conflict, Direction, FieldShape, FieldType, HeldReason, OnClear, Seen, Side, Timestamp, Value,
};

fn value(word: &str) -> Option<Value> {
    match word {
        "y" => Some(Value::text("true")),
        "n" => Some(Value::text("false")),
        _ => None,
    }
}

fn case(words: &str) -> Case {
    let [agreed, store, crm] = words.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{words}") };
    let agreed = if agreed == "?" { Agreed::Unknown } else { Agreed::on(value(agreed).map(Canonical)) };
    let seen = |word: &str| value(word).map_or(Seen::Absent, Seen::Value);
    let mut case = Case::new(agreed, seen(store), seen(crm));
    case.rule.store = "subscriber:marketing_newsletter".to_owned();
    case.rule.kind = FieldType::Boolean;
    case
}

fn in_words(decision: &Decision) -> String {
    match decision {
        Decision::Write(intent) => {
            let value = intent.encoded.as_ref().map_or(".".to_owned(), Value::display);
            format!("{} := {value} ({})", intent.to, intent.why.as_str())
        }
        Decision::Hold(reason) => format!("hold: {reason}"),
        other => format!("{other:?}").split('(').next().unwrap_or_default().to_lowercase(),
    }
}

const TABLE: [(&str, &str); 24] = [
    ("? y y", "agree"),
    ("? . .", "agree"),
    ("y y y", "settled"),
    // First meeting: a refusal wins, consent fills no blank.
    ("? n y", "crm := false (first meeting)"),
    ("? y n", "store := false (first meeting)"),
    ("? n .", "crm := false (filled)"),
    ("? . n", "store := false (filled)"),
    ("? y .", "hold: first meeting"),
    ("? . y", "hold: first meeting"),
    // An edit that was seen is carried over, whichever it is.
    ("y n y", "crm := false (changed)"),
    ("y y n", "store := false (changed)"),
    ("n y n", "crm := true (changed)"),
    ("n n y", "store := true (changed)"),
    (". y .", "crm := true (changed)"),
    (". . y", "store := true (changed)"),
    (". n .", "crm := false (changed)"),
    ("y . y", "crm := . (cleared)"),
    ("y y .", "store := . (cleared)"),
    // Both changed.
    (". n y", "crm := false (conflict)"),
    (". y n", "store := false (conflict)"),
    ("y n .", "crm := false (edit beats clear)"),
    ("y . n", "store := false (edit beats clear)"),
    ("n y .", "hold: conflict"),
    ("n . y", "hold: conflict"),
];

#[test]
fn both_ways_whatever_the_policy() {
    for (words, expected) in TABLE {
        for conflict in [Conflict::Newest, Conflict::Store, Conflict::Crm, Conflict::Hold] {
            for overwrite in [true, false] {
                let mut case = case(words);
                case.rule.conflict = conflict;
                case.rule.overwrite = overwrite;
                assert_eq!(in_words(&case.decide()), expected, "agreed, store, CRM: {words} {conflict:?} {overwrite}");
            }
        }
    }
}

#[test]
fn one_way_and_restored() {
    for (words, direction, on_clear, expected) in [
        ("? y .", Direction::ToCrm, OnClear::Propagate, "hold: first meeting"),
        ("? y n", Direction::ToCrm, OnClear::Propagate, "hold: first meeting"),
        ("? n y", Direction::ToCrm, OnClear::Propagate, "crm := false (first meeting)"),
        ("? . y", Direction::ToCrm, OnClear::Propagate, "kept"),
        ("n y n", Direction::ToCrm, OnClear::Propagate, "crm := true (changed)"),
        // Somebody said no on the target: it is not put back, and does not travel against the direction.
        ("y y n", Direction::ToCrm, OnClear::Propagate, "hold: conflict"),
        ("n n y", Direction::ToCrm, OnClear::Propagate, "crm := false (put back)"),
        ("y . n", Direction::ToCrm, OnClear::Propagate, "hold: conflict"),
        ("y . y", Direction::Both, OnClear::Restore, "hold: conflict"),
        ("n . n", Direction::Both, OnClear::Restore, "store := false (restored)"),
        ("y . y", Direction::Both, OnClear::Hold, "hold: conflict"),
    ] {
        let mut case = case(words);
        case.rule.direction = direction;
        case.rule.on_clear = on_clear;
        assert_eq!(in_words(&case.decide()), expected, "agreed, store, CRM: {words} {direction:?} {on_clear:?}");
    }
}

#[test]
fn a_person_may_decide_otherwise() {
    let case = case("? n y");
    assert_eq!(in_words(&resolve(&case.facts(), Side::Crm)), "store := true (resolved)");
}

/// Every state under every rule.
fn every_case(mut check: impl FnMut(&Case)) {
    let time = |millis| Some(Timestamp::from_millis(millis));
    let never_empty = FieldShape { clearable: false, ..FieldShape::TEXT };
    for words in ["?", ".", "y", "n", "maybe"] {
        for store in [".", "y", "n", "maybe"] {
            for crm in [".", "y", "n", "maybe"] {
                let mut case = case(&format!("{} {} {}", words.replace("maybe", "."), store, crm));
                let odd = || Value::text("maybe");
                if words == "maybe" {
                    case.agreed = Agreed::Value(Canonical(odd()));
                }
                for (word, seen) in [(store, &mut case.store), (crm, &mut case.crm)] {
                    if word == "maybe" {
                        *seen = Seen::Value(odd());
                    }
                }
                for direction in [Direction::Both, Direction::ToStore, Direction::ToCrm] {
                    for conflict in [Conflict::Newest, Conflict::Store, Conflict::Crm, Conflict::Hold] {
                        for on_clear in [OnClear::Propagate, OnClear::Restore, OnClear::Hold] {
                            for shape in [FieldShape::TEXT, never_empty.clone()] {
                                for (store_edited, crm_edited) in
                                    [(None, None), (time(0), time(9000)), (time(9000), time(0))]
                                {
                                    case.rule.direction = direction;
                                    case.rule.conflict = conflict;
                                    case.rule.on_clear = on_clear;
                                    case.store_shape = shape.clone();
                                    case.store_edited = store_edited;
                                    case.crm_edited = crm_edited;
                                    check(&case);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn as_agreed(seen: &Seen) -> Agreed {
    Agreed::on(seen.value().cloned().map(Canonical))
}

#[test]
fn yes_is_written_only_where_the_target_holds_what_was_agreed() {
    every_case(|case| {
        if let Decision::Write(intent) = case.decide()
            && intent.encoded == value("y")
        {
            let target = if intent.to == Side::Store { &case.store } else { &case.crm };
            assert_eq!(as_agreed(target), case.agreed, "{case:?}");
        }
    });
}

#[test]
fn a_refusal_wins_every_conflict_and_first_meeting() {
    every_case(|case| {
        let no = |seen: &Seen| seen.value() == value("n").as_ref();
        let open = as_agreed(&case.store) != case.agreed && as_agreed(&case.crm) != case.agreed;
        if !open || no(&case.store) == no(&case.crm) {
            return;
        }
        let refusing = if no(&case.store) { Side::Store } else { Side::Crm };
        match case.decide() {
            Decision::Write(intent) => {
                assert_eq!((intent.to, intent.encoded), (refusing.other(), value("n")), "{case:?}")
            }
            Decision::Hold(reason) => {
                // Against the direction nothing travels, but nothing overwrites the refusal either.
                let against =
                    case.rule.direction == if refusing == Side::Store { Direction::ToStore } else { Direction::ToCrm };
                assert!(against || reason == HeldReason::CannotBeTaken, "{case:?}");
            }
            Decision::Kept => assert_ne!(case.rule.direction, Direction::Both, "{case:?}"),
            other => panic!("{other:?}: {case:?}"),
        }
    });
}

#[test]
fn neither_policy_nor_time_decides_about_consent() {
    every_case(|case| {
        let mut other = case.clone();
        other.rule.conflict = Conflict::Hold;
        (other.store_edited, other.crm_edited) = (None, None);
        let odd = |seen: &Seen| seen.value() == Some(&Value::text("maybe"));
        if !odd(&case.store) && !odd(&case.crm) {
            assert_eq!(case.decide(), other.decide(), "{case:?}");
        }
    });
}

#[test]
fn in_no_segment_and_nothing_are_one() {
    for (words, expected) in [
        ("? n .", "agree"),
        ("? . n", "agree"),
        ("n . n", "settled"),
        ("y y .", "store := false (changed)"),
        ("y . y", "crm := false (changed)"),
        (". . y", "store := true (changed)"),
        // Whether somebody decided that a customer is in no segment the store cannot tell; the CRM can.
        ("? n y", "store := true (filled)"),
        ("? y .", "crm := true (filled)"),
        ("? y n", "hold: first meeting"),
    ] {
        let mut case = case(words);
        case.rule.store = "segment:Gold".to_owned();
        assert_eq!(in_words(&case.decide()), expected, "agreed, store, CRM: {words}");
    }
    for (words, expected) in [
        ("? n y", "store := true (filled)"),
        ("? y n", "store := false (first meeting)"),
        ("? y .", "kept"),
        ("y y .", "store := false (changed)"),
        ("n y n", "store := false (put back)"),
    ] {
        let mut case = case(words);
        case.rule.store = "segment:Gold".to_owned();
        case.rule.direction = Direction::ToStore;
        assert_eq!(in_words(&case.decide()), expected, "to the store; agreed, store, CRM: {words}");
    }
    let mut case = case("y y .");
    case.rule.store = "segment:Gold".to_owned();
    let Decision::Write(intent) = case.decide() else { panic!() };
    assert_eq!(intent.taken, Taken::Clear, "a blank that takes somebody out of a segment counts as a clear");
}
