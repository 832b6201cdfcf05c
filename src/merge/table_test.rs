//! The merge table, case by case. `.` is absent, `?` unknown or unseen, a letter a value.

use super::*;
use crate::model::{
    Agreed, Canonical, Conflict, Direction, FieldRule, FieldShape, OnClear, Seen, Side, Timestamp, Value,
};

/// One field, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub rule: FieldRule,
    pub agreed: Agreed,
    pub store: Seen,
    pub crm: Seen,
    pub store_edited: Option<Timestamp>,
    pub crm_edited: Option<Timestamp>,
    pub store_shape: FieldShape,
    pub crm_shape: FieldShape,
}

impl Case {
    pub fn new(agreed: Agreed, store: Seen, crm: Seen) -> Self {
        Self {
            rule: FieldRule::new("attribute:Job title", "job_title"),
            agreed,
            store,
            crm,
            store_edited: None,
            crm_edited: None,
            store_shape: FieldShape::TEXT,
            crm_shape: FieldShape::TEXT,
        }
    }

    /// From three words: agreed, store, CRM.
    fn of(words: &str) -> Self {
        let [agreed, store, crm] = words.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("not three words: {words}")
        };
        let agreed = match agreed {
            "?" => Agreed::Unknown,
            "." => Agreed::Absent,
            text => Agreed::Value(Canonical(Value::text(text))),
        };
        let seen = |word| match word {
            "?" => Seen::Unseen,
            "." => Seen::Absent,
            text => Seen::Value(Value::text(text)),
        };
        Self::new(agreed, seen(store), seen(crm))
    }

    pub fn facts(&self) -> Facts<'_> {
        Facts {
            rule: &self.rule,
            agreed: &self.agreed,
            store: Target { seen: &self.store, edited: self.store_edited, shape: &self.store_shape },
            crm: Target { seen: &self.crm, edited: self.crm_edited, shape: &self.crm_shape },
        }
    }

    pub fn decide(&self) -> Decision {
        decide(&self.facts())
    }

    /// How the decision reads in the tables below.
    fn decision(&self) -> String {
        in_words(&self.decide())
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

fn in_words(decision: &Decision) -> String {
    let value = |value: Option<&Value>| value.map_or(".".to_owned(), Value::display);
    match decision {
        Decision::Settled => "settled".to_owned(),
        Decision::Agree(Agreed::Value(agreed)) => format!("agree {}", agreed.value().display()),
        Decision::Agree(Agreed::Absent) => "agree .".to_owned(),
        Decision::Agree(Agreed::Unknown) => "agree ?".to_owned(),
        Decision::Write(intent) => {
            format!("{} := {} ({}, {:?})", intent.to, value(intent.encoded.as_ref()), intent.why.as_str(), intent.taken)
        }
        Decision::Hold(reason) => format!("hold: {reason}"),
        Decision::Kept => "kept".to_owned(),
        Decision::Unseen(side) => format!("unseen: {side}"),
    }
}

/// Checks every row of a table under a rule.
fn table(change: impl Fn(&mut Case), rows: &[(&str, &str)]) {
    for (words, expected) in rows {
        assert_eq!(&Case::of(words).with(&change).decision(), expected, "agreed, store, CRM: {words}");
    }
}

#[test]
fn both_ways_with_every_default() {
    table(
        |_| {},
        &[
            // Never seen: nothing can be said.
            ("a ? a", "unseen: store"),
            ("? ? ?", "unseen: store"),
            ("a a ?", "unseen: crm"),
            (". . ?", "unseen: crm"),
            // Equal.
            ("a a a", "settled"),
            (". . .", "settled"),
            ("? . .", "agree ."),
            ("? a a", "agree a"),
            (". a a", "agree a"),
            ("a b b", "agree b"),
            ("a . .", "agree ."),
            // First meeting.
            ("? a .", "crm := a (filled, Fill)"),
            ("? . a", "store := a (filled, Fill)"),
            ("? a b", "hold: first meeting"),
            // One side changed.
            (". a .", "crm := a (changed, Write)"),
            (". . a", "store := a (changed, Write)"),
            ("a b a", "crm := b (changed, Write)"),
            ("a a b", "store := b (changed, Write)"),
            // One side cleared.
            ("a . a", "crm := . (cleared, Clear)"),
            ("a a .", "store := . (cleared, Clear)"),
            // Both changed: the edit beats the clear; otherwise a conflict, and no times are known here.
            ("a . b", "store := b (edit beats clear, Write)"),
            ("a b .", "crm := b (edit beats clear, Write)"),
            ("a b c", "hold: conflict"),
            (". a b", "hold: conflict"),
        ],
    );
}

#[test]
fn a_side_wins_conflicts_and_first_meetings() {
    table(
        |case| case.rule.conflict = Conflict::Store,
        &[
            ("? a b", "crm := a (first meeting, Clear)"),
            ("a b c", "crm := b (conflict, Write)"),
            (". a b", "crm := a (conflict, Write)"),
            // It decides nothing else.
            ("? . b", "store := b (filled, Fill)"),
            ("a a b", "store := b (changed, Write)"),
            ("a . b", "store := b (edit beats clear, Write)"),
        ],
    );
    table(
        |case| case.rule.conflict = Conflict::Crm,
        &[("? a b", "store := b (first meeting, Clear)"), ("a b c", "store := c (conflict, Write)")],
    );
    table(
        |case| {
            case.rule.conflict = Conflict::Hold;
            case.store_edited = Some(Timestamp::from_millis(100_000));
            case.crm_edited = Some(Timestamp::EPOCH);
        },
        &[("? a b", "hold: first meeting"), ("a b c", "hold: conflict"), ("a b a", "crm := b (changed, Write)")],
    );
}

#[test]
fn the_newest_edit_wins_unless_it_is_a_tie() {
    let conflict = |store: Option<i64>, crm: Option<i64>| {
        Case::of("a b c")
            .with(|case| {
                case.store_edited = store.map(Timestamp::from_millis);
                case.crm_edited = crm.map(Timestamp::from_millis);
            })
            .decision()
    };
    assert_eq!(conflict(Some(12_001), Some(10_000)), "crm := b (conflict, Write)");
    assert_eq!(conflict(Some(10_000), Some(12_001)), "store := c (conflict, Write)");
    for (store, crm) in [
        (Some(12_000), Some(10_000)),
        (Some(10_000), Some(12_000)),
        (Some(10_000), Some(10_000)),
        (Some(99_000), None),
        (None, Some(99_000)),
        (None, None),
    ] {
        assert_eq!(conflict(store, crm), "hold: conflict");
    }
    assert_eq!(conflict(Some(i64::MAX), Some(i64::MIN)), "crm := b (conflict, Write)");
    assert_eq!(conflict(Some(i64::MIN), Some(i64::MAX)), "store := c (conflict, Write)");
    // Times never decide a first meeting.
    table(
        |case| {
            case.store_edited = Some(Timestamp::from_millis(99_000));
            case.crm_edited = Some(Timestamp::EPOCH);
        },
        &[("? a b", "hold: first meeting")],
    );
}

#[test]
fn a_clear_is_carried_restored_or_held() {
    table(
        |case| case.rule.on_clear = OnClear::Restore,
        &[
            ("a . a", "store := a (restored, Write)"),
            ("a a .", "crm := a (restored, Write)"),
            ("a . b", "store := b (edit beats clear, Write)"),
            ("a . .", "agree ."),
            ("? . a", "store := a (filled, Fill)"),
        ],
    );
    table(
        |case| case.rule.on_clear = OnClear::Hold,
        &[
            ("a . a", "hold: conflict"),
            ("a a .", "hold: conflict"),
            ("a . b", "store := b (edit beats clear, Write)"),
            ("a . .", "agree ."),
        ],
    );
}

#[test]
fn one_way_the_target_ends_equal_to_the_source() {
    table(
        |case| case.rule.direction = Direction::ToStore,
        &[
            ("a ? a", "unseen: store"),
            ("a a ?", "unseen: crm"),
            ("a a a", "settled"),
            ("? a a", "agree a"),
            ("? . a", "store := a (filled, Fill)"),
            ("? b a", "store := a (first meeting, Clear)"),
            ("a a b", "store := b (changed, Write)"),
            (". . b", "store := b (changed, Write)"),
            // An edit of the target is put back.
            ("a b a", "store := a (put back, Write)"),
            ("a . a", "store := a (put back, Write)"),
            ("a b c", "store := c (put back, Write)"),
            (". b c", "store := c (put back, Write)"),
            // The source never had a value.
            ("? a .", "kept"),
            (". a .", "kept"),
            ("? . .", "agree ."),
            // The source was cleared.
            ("a a .", "store := . (cleared, Clear)"),
            ("a b .", "store := . (cleared, Clear)"),
            ("a . .", "agree ."),
        ],
    );
    table(
        |case| {
            case.rule.direction = Direction::ToStore;
            case.rule.on_clear = OnClear::Restore;
        },
        &[("a a .", "kept"), ("a b .", "kept"), ("a . a", "store := a (put back, Write)")],
    );
    table(
        |case| {
            case.rule.direction = Direction::ToStore;
            case.rule.on_clear = OnClear::Hold;
        },
        &[("a a .", "hold: conflict"), ("? a .", "kept")],
    );
    table(
        |case| case.rule.direction = Direction::ToCrm,
        &[
            ("? a b", "crm := a (first meeting, Clear)"),
            ("a a b", "crm := a (put back, Write)"),
            ("a . a", "crm := . (cleared, Clear)"),
            ("? . a", "kept"),
        ],
    );
}

#[test]
fn without_overwriting_only_what_is_absent_is_filled() {
    for conflict in [Conflict::Newest, Conflict::Store, Conflict::Crm, Conflict::Hold] {
        table(
            |case| {
                case.rule.overwrite = false;
                case.rule.conflict = conflict;
            },
            &[
                ("? a b", "kept"),
                ("a b a", "kept"),
                ("a b c", "kept"),
                ("a . a", "kept"),
                ("? a .", "crm := a (filled, Fill)"),
                (". . a", "store := a (changed, Write)"),
                ("a . b", "store := b (edit beats clear, Write)"),
                ("a b b", "agree b"),
            ],
        );
    }
    table(
        |case| {
            case.rule.overwrite = false;
            case.rule.direction = Direction::ToStore;
        },
        &[
            ("? b a", "kept"),
            ("a b a", "kept"),
            ("a a .", "kept"),
            ("a . a", "store := a (put back, Write)"),
            ("? . a", "store := a (filled, Fill)"),
        ],
    );
    table(
        |case| {
            case.rule.overwrite = false;
            case.rule.on_clear = OnClear::Restore;
        },
        &[("a . a", "store := a (restored, Write)")],
    );
}

#[test]
fn what_a_target_cannot_take_is_held() {
    let cannot = "hold: cannot be taken";
    let short = FieldShape { max_chars: Some(3), ..FieldShape::TEXT };
    let frozen = FieldShape { writable: false, ..FieldShape::TEXT };
    let filled = FieldShape { clearable: false, ..FieldShape::TEXT };
    table(
        |case| case.store_shape = short.clone(),
        &[
            ("a a éééé", cannot),
            ("a a ééé", "store := ééé (changed, Write)"),
            ("a éééé a", "crm := éééé (changed, Write)"),
        ],
    );
    table(|case| case.crm_shape = frozen.clone(), &[("a b a", cannot), ("a a b", "store := b (changed, Write)")]);
    table(
        |case| case.crm_shape = filled.clone(),
        &[("a . a", cannot), ("a a .", "store := . (cleared, Clear)"), ("a b a", "crm := b (changed, Write)")],
    );
    // What would not be sent anyway is not held for it.
    table(
        |case| {
            case.crm_shape = frozen.clone();
            case.rule.overwrite = false;
        },
        &[("a b a", "kept")],
    );
}

#[test]
fn a_value_without_a_canonical_form_differs_from_all_others_and_is_never_sent() {
    table(
        |case| case.rule.kind = crate::model::FieldType::Number,
        &[
            ("1 1.0 +1e0", "settled"),
            ("1 x 1", "hold: cannot be taken"),
            ("? x .", "hold: cannot be taken"),
            ("? x 1", "hold: first meeting"),
            ("1 x .", "hold: cannot be taken"),
            ("1 x y", "hold: conflict"),
            // The same text on both sides is equal, and stays so; leaving it is an edit like any other.
            ("? x x", "agree x"),
            ("1 x x", "agree x"),
            ("x x x", "settled"),
            ("x 2 x", "crm := 2 (changed, Write)"),
            ("x . x", "crm := . (cleared, Clear)"),
        ],
    );
    table(
        |case| {
            case.rule.kind = crate::model::FieldType::Number;
            case.rule.direction = Direction::ToStore;
        },
        &[
            ("1 x 1", "store := 1 (put back, Write)"),
            ("? x 1", "store := 1 (first meeting, Clear)"),
            ("1 1 x", "hold: cannot be taken"),
            ("? x .", "kept"),
        ],
    );
}

#[test]
fn words_are_translated_and_unknown_ones_held() {
    let translated = |case: &mut Case| {
        case.rule.values = [("g", "Gold"), ("s", "Silver")].map(|(crm, store)| (crm.into(), store.into())).into();
    };
    table(
        translated,
        &[
            ("? Gold g", "agree Gold"),
            ("Gold Gold g", "settled"),
            ("Gold Silver g", "crm := s (changed, Write)"),
            ("Gold Gold s", "store := Silver (changed, Write)"),
            ("Gold Gold b", "hold: cannot be taken"),
            ("Gold Bronze g", "hold: cannot be taken"),
            // The store's word on the CRM's side is no word of the CRM, however equal it looks.
            ("Gold Gold Gold", "hold: cannot be taken"),
        ],
    );
}

#[test]
fn a_list_is_a_set_and_is_stored_as_json_in_a_text() {
    let list = |items: &[&str]| Value::List(items.iter().map(|item| (*item).to_owned()).collect());
    let mut case = Case::new(
        Agreed::Unknown,
        Seen::Value(Value::text(r#"["b", "a", " a "]"#)),
        Seen::Value(list(&["a", "b", ""])),
    );
    case.rule.kind = crate::model::FieldType::List;
    case.crm_shape.holds = crate::model::Holds::List;
    assert_eq!(case.decide(), Decision::Agree(Agreed::Value(Canonical(list(&["a", "b"])))));

    case.agreed = Agreed::Value(Canonical(list(&["a", "b"])));
    case.crm = Seen::Value(list(&["c", "a"]));
    let Decision::Write(intent) = case.decide() else { panic!("a change is written") };
    assert_eq!((intent.to, intent.encoded), (Side::Store, Some(Value::text(r#"["a","c"]"#))));

    case.crm = Seen::Value(list(&["b", "a"]));
    case.store = Seen::Value(Value::text("a"));
    let Decision::Write(intent) = case.decide() else { panic!("a change is written") };
    assert_eq!((intent.to, intent.encoded), (Side::Crm, Some(list(&["a"]))));
}

#[test]
fn a_person_takes_a_side_whatever_the_mapping_says() {
    let take =
        |words: &str, side, change: fn(&mut Case)| in_words(&resolve(&Case::of(words).with(change).facts(), side));
    let strict = |case: &mut Case| {
        case.rule.direction = Direction::ToStore;
        case.rule.overwrite = false;
        case.rule.conflict = Conflict::Hold;
    };
    assert_eq!(take("a b c", Side::Store, |_| {}), "crm := b (resolved, Free)");
    assert_eq!(take("a b c", Side::Crm, |_| {}), "store := c (resolved, Free)");
    assert_eq!(take("? . c", Side::Store, |_| {}), "crm := . (resolved, Free)");
    assert_eq!(take("? b c", Side::Store, strict), "crm := b (resolved, Free)");
    assert_eq!(take("? b b", Side::Store, |_| {}), "agree b");
    assert_eq!(take("b b b", Side::Store, |_| {}), "settled");
    assert_eq!(take("b b ?", Side::Store, |_| {}), "unseen: crm");
    assert_eq!(take("a b c", Side::Store, |case| case.crm_shape.writable = false), "hold: cannot be taken");
}

#[test]
fn an_obstacle_says_what_is_wrong_without_the_value() {
    let long = Case::of("a a secret").with(|case| case.store_shape.max_chars = Some(5));
    let sentence = obstacle(&long.facts(), Side::Store).unwrap().to_string();
    assert_eq!(sentence, "it has 6 characters, and the target takes 5");
    assert_eq!(obstacle(&long.facts(), Side::Crm), None);
    let text = Case::of("1 1 secret").with(|case| case.rule.kind = crate::model::FieldType::Number);
    let sentence = obstacle(&text.facts(), Side::Store).unwrap().to_string();
    assert_eq!(sentence, "what the CRM holds is not a decimal number of at most 64 digits");
    assert_eq!(obstacle(&Case::of("? ? b").facts(), Side::Store), None);
}
