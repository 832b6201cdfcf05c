//! The laws of the merge, over everything: every state of a field under every rule.

use super::table_test::Case;
use super::*;
use crate::model::{
    Agreed, Canonical, Conflict, Direction, FieldShape, FieldType, HeldReason, OnClear, Seen, Side, Timestamp, Value,
    Why,
};

/// Calls `check` with every combination; `words` are what sides may hold.
fn everything(kind: FieldType, words: &[&str], mut check: impl FnMut(&Case)) {
    let texts: Vec<_> = words.iter().map(|word| Value::text(*word)).collect();
    let agreed: Vec<_> = [Agreed::Unknown, Agreed::Absent]
        .into_iter()
        .chain(texts.iter().map(|text| Agreed::Value(Canonical(text.clone()))))
        .collect();
    let seen: Vec<_> = [Seen::Unseen, Seen::Absent].into_iter().chain(texts.iter().cloned().map(Seen::Value)).collect();
    let time = |millis| Some(Timestamp::from_millis(millis));
    let times = [
        (None, None),
        (time(0), None),
        (None, time(0)),
        (time(0), time(2000)),
        (time(0), time(9000)),
        (time(9000), time(0)),
    ];
    let frozen = FieldShape { writable: false, ..FieldShape::TEXT };
    let never_empty = FieldShape { clearable: false, ..FieldShape::TEXT };
    let shapes = [
        (FieldShape::TEXT, FieldShape::TEXT),
        (frozen, FieldShape::TEXT),
        (FieldShape::TEXT, never_empty.clone()),
        (never_empty, FieldShape::TEXT),
    ];
    let mut case = Case::new(Agreed::Unknown, Seen::Unseen, Seen::Unseen);
    case.rule.kind = kind;
    for direction in [Direction::Both, Direction::ToStore, Direction::ToCrm] {
        for conflict in [Conflict::Newest, Conflict::Store, Conflict::Crm, Conflict::Hold] {
            for on_clear in [OnClear::Propagate, OnClear::Restore, OnClear::Hold] {
                for overwrite in [true, false] {
                    case.rule.direction = direction;
                    case.rule.conflict = conflict;
                    case.rule.on_clear = on_clear;
                    case.rule.overwrite = overwrite;
                    for (store_shape, crm_shape) in &shapes {
                        case.store_shape = store_shape.clone();
                        case.crm_shape = crm_shape.clone();
                        for (store_edited, crm_edited) in times {
                            case.store_edited = store_edited;
                            case.crm_edited = crm_edited;
                            for agreed in &agreed {
                                case.agreed = agreed.clone();
                                for store in &seen {
                                    case.store = store.clone();
                                    for crm in &seen {
                                        case.crm = crm.clone();
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
}

/// Every state of a text field, and of a number field where `x` and `y` are no numbers.
fn every_case(mut check: impl FnMut(&Case)) {
    everything(FieldType::String, &["a", "b", "c"], &mut check);
    everything(FieldType::Number, &["1", "x", "y"], &mut check);
}

/// Both sides swapped, and what the rule says of them.
fn mirrored(case: &Case) -> Case {
    let mut mirrored = case.clone();
    mirrored.store = case.crm.clone();
    mirrored.crm = case.store.clone();
    mirrored.store_edited = case.crm_edited;
    mirrored.crm_edited = case.store_edited;
    mirrored.store_shape = case.crm_shape.clone();
    mirrored.crm_shape = case.store_shape.clone();
    mirrored.rule.direction = match case.rule.direction {
        Direction::Both => Direction::Both,
        Direction::ToStore => Direction::ToCrm,
        Direction::ToCrm => Direction::ToStore,
    };
    mirrored.rule.conflict = match case.rule.conflict {
        Conflict::Store => Conflict::Crm,
        Conflict::Crm => Conflict::Store,
        neutral => neutral,
    };
    mirrored
}

fn mirrored_decision(decision: Decision) -> Decision {
    match decision {
        Decision::Write(intent) => Decision::Write(Intent { to: intent.to.other(), ..intent }),
        Decision::Unseen(side) => Decision::Unseen(side.other()),
        same => same,
    }
}

/// The field after the decision has been carried out by sources that store what they are sent.
fn carried_out(case: &Case, decision: &Decision) -> Case {
    let mut after = case.clone();
    match decision {
        Decision::Write(intent) => {
            let seen = intent.encoded.clone().map_or(Seen::Absent, Seen::Value);
            match intent.to {
                Side::Store => after.store = seen,
                Side::Crm => after.crm = seen,
            }
            after.agreed = Agreed::on(intent.value.clone());
        }
        Decision::Agree(agreed) => after.agreed = agreed.clone(),
        _ => {}
    }
    after
}

/// What a side holds as agreed would hold it; all words of these tests are canonical.
fn as_agreed(seen: &Seen) -> Agreed {
    Agreed::on(seen.value().cloned().map(Canonical))
}

#[test]
fn swapping_the_sides_and_the_policy_swaps_the_decision() {
    every_case(|case| {
        // With both sides unseen either may be named.
        if !(case.store.is_unseen() && case.crm.is_unseen()) {
            assert_eq!(mirrored(case).decide(), mirrored_decision(case.decide()), "{case:?}");
        }
    });
}

#[test]
fn a_decision_carried_out_leaves_nothing_to_decide() {
    every_case(|case| {
        let decision = case.decide();
        let again = carried_out(case, &decision).decide();
        match decision {
            Decision::Write(_) | Decision::Agree(_) => assert_eq!(again, Decision::Settled, "{case:?}"),
            still => assert_eq!(again, still, "{case:?}"),
        }
    });
}

#[test]
fn a_person_s_choice_carried_out_leaves_nothing_to_decide() {
    every_case(|case| {
        for side in [Side::Store, Side::Crm] {
            let decision = resolve(&case.facts(), side);
            if let Decision::Write(intent) = &decision {
                assert_eq!((intent.to, intent.why, intent.taken), (side.other(), Why::Resolved, Taken::Free));
                assert_eq!(carried_out(case, &decision).decide(), Decision::Settled, "{case:?}");
            }
        }
    });
}

#[test]
fn nothing_is_invented_and_nothing_unreadable_sent() {
    every_case(|case| {
        if let Decision::Write(intent) = case.decide() {
            let (source, target, shape) = match intent.to {
                Side::Store => (&case.crm, &case.store, &case.store_shape),
                Side::Crm => (&case.store, &case.crm, &case.crm_shape),
            };
            assert_eq!(intent.encoded.as_ref(), source.value(), "{case:?}");
            assert_eq!(intent.value.as_ref().map(Canonical::value), source.value(), "{case:?}");
            assert_ne!(source, target, "a write changes something: {case:?}");
            assert!(shape.writable && (shape.clearable || intent.encoded.is_some()), "{case:?}");
            assert!(!matches!(source.value(), Some(Value::Text(text)) if text == "x" || text == "y"), "{case:?}");
        }
    });
}

#[test]
fn equal_sides_are_never_written_or_held() {
    every_case(|case| {
        if case.store == case.crm && !case.store.is_unseen() {
            let expected = if as_agreed(&case.store) == case.agreed {
                Decision::Settled
            } else {
                Decision::Agree(as_agreed(&case.store))
            };
            assert_eq!(case.decide(), expected, "{case:?}");
        }
    });
}

#[test]
fn an_unseen_side_stops_every_decision_and_nothing_else_does() {
    every_case(|case| {
        let unseen = case.store.is_unseen() || case.crm.is_unseen();
        assert_eq!(matches!(case.decide(), Decision::Unseen(_)), unseen, "{case:?}");
    });
}

#[test]
fn a_change_of_one_side_is_never_a_conflict() {
    every_case(|case| {
        let (store, crm) = (as_agreed(&case.store), as_agreed(&case.crm));
        let one_changed = (store == case.agreed) != (crm == case.agreed);
        let cleared = case.store == Seen::Absent || case.crm == Seen::Absent;
        if one_changed && !cleared {
            match case.decide() {
                Decision::Write(intent) => assert!(matches!(intent.why, Why::Changed | Why::PutBack), "{case:?}"),
                Decision::Hold(reason) => assert_eq!(reason, HeldReason::CannotBeTaken, "{case:?}"),
                Decision::Kept => assert!(!case.rule.overwrite, "{case:?}"),
                Decision::Unseen(_) => {}
                other => panic!("{other:?}: {case:?}"),
            }
        }
    });
}

#[test]
fn a_clear_needs_an_agreed_value_and_a_side_that_lost_it() {
    every_case(|case| {
        if let Decision::Write(intent) = case.decide()
            && intent.value.is_none()
        {
            assert!(matches!(case.agreed, Agreed::Value(_)), "{case:?}");
            assert_eq!((intent.why, intent.taken), (Why::Cleared, Taken::Clear), "{case:?}");
            assert_eq!(case.rule.on_clear, OnClear::Propagate, "{case:?}");
        }
    });
}

#[test]
fn the_rails_see_every_clear_and_every_overwrite_at_first_meeting() {
    every_case(|case| {
        if let Decision::Write(intent) = case.decide() {
            let target = match intent.to {
                Side::Store => &case.store,
                Side::Crm => &case.crm,
            };
            let first_meeting = case.agreed == Agreed::Unknown;
            let expected = match (intent.value.is_some(), first_meeting, *target == Seen::Absent) {
                (false, _, _) | (true, true, false) => Taken::Clear,
                (true, true, true) => Taken::Fill,
                (true, false, _) => Taken::Write,
            };
            assert_eq!(intent.taken, expected, "{case:?}");
        }
    });
}

#[test]
fn without_overwriting_no_value_is_lost() {
    every_case(|case| {
        if let Decision::Write(intent) = case.decide()
            && !case.rule.overwrite
        {
            let target = match intent.to {
                Side::Store => &case.store,
                Side::Crm => &case.crm,
            };
            assert_eq!(*target, Seen::Absent, "{case:?}");
        }
    });
}

#[test]
fn a_one_way_source_is_never_written() {
    every_case(|case| {
        if let Decision::Write(intent) = case.decide() {
            match case.rule.direction {
                Direction::Both => {}
                Direction::ToStore => assert_eq!(intent.to, Side::Store, "{case:?}"),
                Direction::ToCrm => assert_eq!(intent.to, Side::Crm, "{case:?}"),
            }
        }
    });
}

#[test]
fn times_decide_conflicts_and_nothing_else() {
    every_case(|case| {
        let mut timeless = case.clone();
        timeless.store_edited = None;
        timeless.crm_edited = None;
        let (decision, without) = (case.decide(), timeless.decide());
        if decision != without {
            assert_eq!(without, Decision::Hold(HeldReason::Conflict), "{case:?}");
            assert_eq!(case.rule.conflict, Conflict::Newest, "{case:?}");
        }
    });
}
