//! What holds of each kind of resource beside attributes and customers, by an example.

use attune::engine::Reach;
use attune::model::{Conflict, FieldRule, FieldType, HeldReason, OnClear};

use crate::plan::{Plan, REPLICA_LAG_MS};
use crate::scenarios::{couple, plan, text};
use crate::stage::{Stage, play};
use crate::world::CRM;

fn field(store: &str, kind: FieldType) -> FieldRule {
    FieldRule { kind, ..FieldRule::new(store, "field") }
}

fn consent() -> FieldRule {
    field("subscriber:marketing_newsletter", FieldType::Boolean)
}

fn segment() -> FieldRule {
    field("segment:Trade", FieldType::Boolean)
}

fn both(stage: &Stage, number: u64) -> [Option<String>; 2] {
    [stage.holds(1, 1000 + number, 1), stage.holds(CRM, number, 1)]
}

fn held(stage: &Stage) -> Vec<HeldReason> {
    stage.process.held().iter().map(|held| held.reason).collect()
}

const YES: Option<&str> = Some("true");
const NO: Option<&str> = Some("false");

#[test]
fn at_first_meeting_a_refusal_goes_over_and_a_yes_fills_no_blank() {
    play(plan(1, vec![consent()]), |mut stage| async move {
        let couples =
            [(YES, None), (None, YES), (NO, None), (None, NO), (YES, NO), (NO, YES), (YES, YES), (None, None)];
        for (number, (store, crm)) in (1..).zip(couples) {
            couple(&stage, number, &[store], &[crm]);
        }
        stage.open().await;
        stage.settle().await;
        let yes_or_nothing = [[text("true"), None], [None, text("true")]];
        assert_eq!([both(&stage, 1), both(&stage, 2)], yes_or_nothing);
        for number in 3..=6 {
            assert_eq!(both(&stage, number), [text("false"), text("false")], "{number}");
        }
        assert_eq!(held(&stage), [HeldReason::FirstMeeting; 2]);
    });
}

#[test]
fn a_refusal_wins_a_conflict_whenever_it_was_said() {
    for (agreed, store, crm, ends) in [
        (None, NO, YES, [NO, NO]),
        (None, YES, NO, [NO, NO]),
        (YES, NO, None, [NO, NO]),
        (YES, None, NO, [NO, NO]),
        (NO, YES, None, [YES, None]),
        (NO, None, YES, [None, YES]),
    ] {
        for store_first in [true, false] {
            play(plan(1, vec![consent()]), move |mut stage| async move {
                couple(&stage, 1, &[agreed], &[agreed]);
                stage.open().await;
                stage.settle().await;
                let edits = [(1, 1001, store), (CRM, 1, crm)];
                let order = if store_first { [0, 1] } else { [1, 0] };
                for at in order {
                    let (system, key, value) = edits[at];
                    stage.edit(system, key, 1, value);
                    stage.hub.sleep(5_000).await;
                }
                stage.pull(Reach::Sweep).await;
                stage.settle().await;
                let words = format!("{agreed:?} {store:?} {crm:?} {store_first}");
                assert_eq!(both(&stage, 1), ends.map(|held| held.map(str::to_owned)), "{words}");
                let is_open = ends[0] != ends[1];
                assert_eq!(held(&stage), vec![HeldReason::Conflict; usize::from(is_open)], "{words}");
            });
        }
    }
}

#[test]
fn a_refusal_goes_over_however_often_it_was_taken_back() {
    play(plan(1, vec![consent()]), |mut stage| async move {
        couple(&stage, 1, &[NO], &[NO]);
        stage.open().await;
        stage.settle().await;
        for _ in 0..3 {
            stage.edit(1, 1001, 1, YES);
            stage.settle().await;
            stage.edit(1, 1001, 1, NO);
            stage.settle().await;
            assert_eq!(both(&stage, 1), [text("false"), text("false")]);
        }
        // So much to and fro is held.
        stage.edit(1, 1001, 1, YES);
        stage.settle().await;
        assert_eq!(both(&stage, 1), [text("true"), text("false")]);
        assert_eq!(held(&stage), [HeldReason::Oscillating]);
    });
}

#[test]
fn in_no_segment_and_nothing_are_the_same() {
    play(plan(1, vec![segment()]), |mut stage| async move {
        couple(&stage, 1, &[None], &[None]);
        couple(&stage, 2, &[None], &[NO]);
        couple(&stage, 3, &[None], &[YES]);
        couple(&stage, 4, &[YES], &[None]);
        couple(&stage, 5, &[YES], &[NO]);
        stage.open().await;
        stage.settle().await;
        assert_eq!([both(&stage, 1), both(&stage, 2)], [[None, None], [None, text("false")]]);
        assert_eq!([both(&stage, 3), both(&stage, 4)], [[text("true"), text("true")], [text("true"), text("true")]]);
        assert_eq!(held(&stage), [HeldReason::FirstMeeting], "a CRM can say that somebody is in none");
        assert_eq!(stage.writes(), 2);
        // Nothing again, where somebody was in.
        stage.edit(CRM, 3, 1, None);
        stage.settle().await;
        assert_eq!(both(&stage, 3), [None, None]);
        assert_eq!(stage.writes(), 3);
    });
}

#[test]
fn who_joins_and_leaves_is_found_by_the_poll_that_reads_all_members() {
    play(Plan { polls_per_members: 3, ..plan(1, vec![segment()]) }, |mut stage| async move {
        couple(&stage, 1, &[None], &[None]);
        stage.open().await;
        stage.settle().await;
        for (value, shown) in [(YES, text("true")), (None, text("false"))] {
            stage.hub.sleep(REPLICA_LAG_MS).await;
            stage.edit(1, 1001, 1, value);
            let mut polls = 0;
            while stage.holds(CRM, 1, 1) != shown {
                stage.round().await;
                polls += 1;
                assert!(polls <= 6, "{shown:?} was not found");
            }
        }
    });
}

#[test]
fn who_is_missing_from_a_list_of_members_is_read_before_the_crm_is_told() {
    let list = field("segments", FieldType::List);
    for (rule, member, other) in [(segment(), "true", "true"), (list, "[\"Gold\",\"Trade\"]", "[\"Gold\"]")] {
        play(Plan { polls_per_members: 1, ..plan(1, vec![rule]) }, move |mut stage| async move {
            couple(&stage, 1, &[Some(member)], &[Some(member)]);
            couple(&stage, 2, &[Some(other)], &[Some(other)]);
            stage.open().await;
            stage.settle().await;
            let writes = stage.writes();
            stage.hub.sleep(REPLICA_LAG_MS).await;
            stage.hub.world().plan.faults.hidden = 1000;
            stage.pull(Reach::Changes).await;
            stage.pass().await;
            stage.hub.world().plan.faults.hidden = 0;
            assert_eq!(both(&stage, 1), [text(member), text(member)]);
            stage.hub.sleep(REPLICA_LAG_MS).await;
            stage.settle().await;
            assert_eq!(both(&stage, 1), [text(member), text(member)]);
            assert_eq!(stage.writes(), writes);
        });
    }
}

#[test]
fn a_metafield_that_is_deleted_is_cleared_and_one_that_a_torn_list_did_not_show_is_not() {
    play(plan(1, vec![field("metafield:erp/id", FieldType::String)]), |mut stage| async move {
        couple(&stage, 1, &[Some("a")], &[None]);
        couple(&stage, 2, &[Some("b")], &[Some("b")]);
        stage.open().await;
        stage.settle().await;
        assert_eq!(both(&stage, 1), [text("a"), text("a")]);
        let writes = stage.writes();
        stage.hub.sleep(REPLICA_LAG_MS).await;
        stage.hub.world().plan.faults.torn_read = 1000;
        stage.engine.pull(&stage.sources[1], Reach::Sweep).await.unwrap();
        stage.pass().await;
        stage.hub.world().plan.faults.torn_read = 0;
        assert_eq!(stage.writes(), writes);
        stage.edit(1, 1001, 1, None);
        stage.pull(Reach::Changes).await;
        stage.pass().await;
        assert_eq!(stage.holds(CRM, 1, 1), text("a"), "no feed shows what is not there");
        stage.pull(Reach::Sweep).await;
        stage.settle().await;
        assert_eq!(both(&stage, 1), [None, None]);
        assert_eq!(both(&stage, 2), [text("b"), text("b")]);
    });
}

#[test]
fn a_metafield_is_no_sign_that_its_customer_is_there() {
    let world = Plan { leaves_rows: true, ..plan(1, vec![field("metafield:erp/id", FieldType::String)]) };
    play(world, |mut stage| async move {
        couple(&stage, 1, &[Some("a")], &[Some("a")]);
        stage.open().await;
        stage.settle().await;
        let now = stage.hub.now();
        stage.hub.world().remove(now, 1, 1001, None);
        for reach in [Reach::Sweep, Reach::Changes, Reach::Sweep] {
            stage.pull(reach).await;
            stage.pass().await;
            assert_eq!(stage.process.rows()["link"], 0);
        }
        assert_eq!(stage.holds(CRM, 1, 1), text("a"), "who is gone clears nothing");
    });
}

#[test]
fn an_address_is_found_with_its_customer_and_one_that_must_have_it_keeps_it() {
    for (name, clearable) in [("address:company", true), ("address:required city", false)] {
        play(plan(1, vec![field(name, FieldType::String)]), move |mut stage| async move {
            couple(&stage, 1, &[Some("a")], &[Some("a")]);
            stage.open().await;
            stage.settle().await;
            stage.hub.sleep(REPLICA_LAG_MS).await;
            stage.edit(1, 1001, 1, Some("b"));
            stage.pull(Reach::Changes).await;
            stage.pass().await;
            assert_eq!(stage.holds(CRM, 1, 1), text("a"), "nothing dates it");
            stage.pull(Reach::Sweep).await;
            stage.settle().await;
            assert_eq!(stage.holds(CRM, 1, 1), text("b"));
            stage.edit(CRM, 1, 1, None);
            stage.settle().await;
            let kept = if clearable { None } else { text("b") };
            assert_eq!(both(&stage, 1), [kept, None]);
            assert_eq!(held(&stage), vec![HeldReason::CannotBeTaken; usize::from(!clearable)]);
        });
    }
}

#[test]
fn a_list_of_segments_is_a_set() {
    let rule = FieldRule { conflict: Conflict::Store, ..field("segments", FieldType::List) };
    play(plan(1, vec![rule]), |mut stage| async move {
        couple(&stage, 1, &[Some("[\"Trade\",\"Gold\"]")], &[Some("[\"Gold\",\"Trade\",\"Gold\"]")]);
        couple(&stage, 2, &[None], &[Some("[\"Silver\"]")]);
        stage.open().await;
        stage.settle().await;
        assert_eq!(stage.writes(), 1);
        assert_eq!(stage.holds(1, 1002, 1), text("[\"Silver\"]"));
        stage.edit(1, 1002, 1, Some("[]"));
        stage.pull(Reach::Sweep).await;
        stage.hub.sleep(REPLICA_LAG_MS).await;
        stage.pull(Reach::Sweep).await;
        stage.settle().await;
        assert_eq!(stage.holds(CRM, 2, 1), None);
    });
}

#[test]
fn a_cleared_consent_is_held_where_the_mapping_says_so() {
    let rule = FieldRule { on_clear: OnClear::Hold, ..consent() };
    play(plan(1, vec![rule]), |mut stage| async move {
        couple(&stage, 1, &[NO], &[NO]);
        couple(&stage, 2, &[YES], &[YES]);
        stage.open().await;
        stage.settle().await;
        for number in [1, 2] {
            stage.edit(1, 1000 + number, 1, None);
        }
        stage.pull(Reach::Sweep).await;
        stage.settle().await;
        assert_eq!([stage.holds(CRM, 1, 1), stage.holds(CRM, 2, 1)], [text("false"), text("true")]);
        assert_eq!(held(&stage), [HeldReason::Conflict; 2]);
    });
}
