//! Segments: a CRM's tier puts customers into "Gold" and takes them out, so that a promotion reaches them; a list of segments;
//! a plan without them.

use std::collections::BTreeSet;

use attune::simulator::settings::{IncludedSegments, Readings, SegmentWrites};
use attune::simulator::{Fault, FaultRule};

use crate::world::{Config, World, text, unlimited};

/// The CRM's tier is a word, and the store knows members.
const GOLD: &str =
    r#"store = "segment:Gold", crm = "grade", type = "boolean", values = { gold = "true", silver = "false" }"#;

const VIP: &str = r#"store = "segment:Vip club", crm = "vip", type = "boolean""#;

const LIST: &str =
    r#"store = "segments", crm = "note", type = "list", separator = ";", among = ["Gold", "Silver", "Bronze"]"#;

fn segments(world: &World, customer: u64) -> Vec<String> {
    world.store().segments_of(customer).into_iter().collect()
}

async fn tier_of_the_crm(readings: Readings) {
    let world = World::with(unlimited(readings)).await;
    for grade in ["'gold'", "'silver'", "NULL", "'gold'"] {
        world.person(&[], &[("grade", grade)]).await;
    }
    // Customer 4 was put into it by hand, long ago; customer 2 was, too, and the CRM says otherwise.
    world.store().set_member(4, "Gold", true).unwrap();
    world.store().set_member(2, "Gold", true).unwrap();
    world.configure(&Config::new(&[GOLD]).mapping("").store(""));
    let check = world.run("check").await.ended(0);
    assert!(!check.stdout.is_empty());
    let said = world.run("sync").await.ended(1);
    assert_eq!(said.event("field.held")["reason"], "first meeting");
    assert_eq!(world.reasons().await, ["first meeting"], "2 differs; 1 was never in it");
    world.run("held resolve --field segment:Gold --take crm --yes").await.ended(0);
    world.run("sync").await.ended(0);
    let is_gold = |customer| segments(&world, customer) == ["Gold"];
    assert_eq!([1, 2, 3, 4].map(is_gold), [true, false, false, true]);

    // The CRM promotes and demotes.
    world.edit("grade = 'silver'", "id = 1").await;
    world.edit("grade = 'gold'", "id = 3").await;
    world.edit("grade = NULL", "id = 4").await;
    world.run("sync").await.ended(0);
    assert_eq!([1, 2, 3, 4].map(is_gold), [false, false, true, false]);
    assert_eq!(world.cell(4, "grade").await, None, "nothing is left to say");
    // Somebody does the same in the store. Who left before this process began is found by a sweep.
    world.store().set_member(2, "Gold", true).unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(2, "grade").await, text("gold"));
    world.store().set_member(3, "Gold", false).unwrap();
    let said = world.run("sync --sweep").await.ended(0);
    assert_eq!(world.cell(3, "grade").await, text("silver"));
    assert!(!said.has_event("drift.found"), "no feed could have told: {said:#?}");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_puts_customers_into_a_segment_and_takes_them_out() {
    tier_of_the_crm(Readings::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_newer_shape_of_the_api_too() {
    tier_of_the_crm(Readings { segment_writes: SegmentWrites::Partial, ..Readings::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_segment_is_made_by_the_first_pass_that_writes_and_by_nothing_else() {
    let world = World::of(2).await;
    world.edit("vip = 1", "id = 1").await;
    world.configure(&Config::new(&[VIP]).store("mode = \"observe\""));
    let said = world.run("check").await.ended(0);
    assert!(said.stdout.contains("the first pass that writes makes it"), "{said:#?}");
    world.run("sync").await;
    world.run("plan").await.ended(0);
    assert_eq!(world.store().segments(), BTreeSet::new());
    world.configure(&Config::new(&[VIP]));
    world.run("sync").await.ended(0);
    assert_eq!((segments(&world, 1), segments(&world, 2)), (vec!["Vip club".to_owned()], vec![]));
    assert_eq!(world.store().profiles(), 1, "who joins nothing needs no profile");
    world.is_quiet(0).await;
    // Renamed it goes on, deleted it is held.
    world.store().rename_segment("Vip club", Some("Club"));
    let said = world.run("sync --sweep").await.ended(0);
    assert!(said.event("schema.changed")["reason"].as_str().unwrap().contains("Club"));
    world.edit("vip = 1", "id = 2").await;
    world.run("sync").await.ended(0);
    assert_eq!(segments(&world, 2), ["Club"]);
    world.store().rename_segment("Club", None);
    world.run("sync --sweep").await.ended(1);
    assert_eq!(world.reasons().await, ["definition changed", "definition changed"]);
    assert_eq!(world.cell(1, "vip").await, text("1"), "nobody left it");
    assert_eq!(world.store().segments(), BTreeSet::new(), "nothing is made in its place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_segments_is_limited_to_those_that_are_named() {
    let world = World::of(4).await;
    world.store().set_member(1, "Gold", true).unwrap();
    world.store().set_member(1, "Staff", true).unwrap();
    world.store().set_member(2, "Staff", true).unwrap();
    world.edit("note = 'Silver;Bronze'", "id = 3").await;
    world.edit("note = 'Staff'", "id = 4").await;
    world.configure(&Config::new(&[LIST]));
    world.run("sync").await.ended(1);
    assert_eq!(world.cell(1, "note").await, text("Gold"));
    assert_eq!(world.cell(2, "note").await, None, "Staff is not among them");
    assert_eq!(segments(&world, 3), ["Bronze", "Silver"]);
    let held = world.held().await;
    assert_eq!((held.len(), held[0]["reason"].as_str()), (1, Some("rejected")), "{held:?}");
    world.edit("note = 'Gold;Silver'", "id = 3").await;
    world.edit("note = NULL", "id IN (1, 4)").await;
    world.run("sync").await.ended(0);
    assert_eq!(segments(&world, 3), ["Gold", "Silver"]);
    assert_eq!(segments(&world, 1), ["Staff"], "whatever else somebody is in stays");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_written_in_part_is_nobody_s_edit() {
    let world = World::of(1).await;
    for segment in ["Gold", "Silver"] {
        world.store().set_member(1, segment, true).unwrap();
        world.store().set_member(1, segment, false).unwrap();
    }
    world.edit("note = 'Gold;Silver'", "id = 1").await;
    world.configure(&Config::new(&[&format!("{LIST}, conflict = \"store\"")]));
    // One of the two calls is refused for lack of quota.
    world.store().add_fault(FaultRule::next(1, Fault::Bare429).on("POST segment-members")).unwrap();
    world.run("sync").await.ended(1);
    assert_eq!(segments(&world, 1).len(), 1, "the other was made");
    assert_eq!(world.reasons().await, ["altered by target"]);
    world.run("sync --sweep").await.ended(1);
    assert_eq!(world.cell(1, "note").await, text("Gold;Silver"), "our own half is not taken for the store's word");
    world.run("held resolve --take crm --store acme --yes").await.ended(0);
    world.run("sync").await.ended(0);
    assert_eq!(segments(&world, 1), ["Gold", "Silver"]);
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_segments_says_so_once_and_clearly() {
    let world = World::of(1).await;
    world.configure(&Config::new(&[GOLD]));
    world.store().change_behaviour(|behaviour| behaviour.no_segments = true);
    for line in ["check", "sync"] {
        let said = world.run(line).await.ended(78);
        assert!(said.stdout.contains("only Enterprise") || said.stderr.contains("only Enterprise"), "{said:#?}");
    }
    world.store().change_behaviour(|behaviour| {
        behaviour.no_segments = false;
        behaviour.readings.included_segments = IncludedSegments::Unknown;
    });
    let said = world.run("sync").await.ended(78);
    assert!(said.stderr.contains("does not show which segments"), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_cost_a_call_for_fifty() {
    let world = World::of(120).await;
    world.configure(&Config::new(&[VIP]));
    world.run("sync").await.ended(0);
    world.store().reset_report();
    world.edit("vip = 1", "true").await;
    world.run("sync").await.ended(0);
    let report = world.store().report();
    let calls = |call: &str| report.calls_of(call);
    assert_eq!((calls("POST segment-members"), calls("POST shopper-profiles")), (3, 3), "{report:#?}");
    world.store().reset_report();
    world.edit("vip = 0", "true").await;
    world.run("sync").await.ended(0);
    let report = world.store().report();
    assert_eq!(report.calls_of("DELETE segment-members"), 3, "{report:#?}");
    world.store().reset_report();
    world.run("sync").await.ended(0);
    let report = world.store().report();
    // Definitions, whether customers show segments, customers, members.
    assert_eq!((report.total, report.violations), (5, 0), "{report:#?}");
}
