//! Metafields: both ways, in part, owned by another app, deleted.

use attune::simulator::settings::{HiddenMetafield, MetafieldPages, Readings};

use crate::world::{Config, World, text, unlimited};

const ERP_ID: &str = r#"store = "metafield:erp/id", crm = "code""#;
const NOTE: &str = r#"store = "metafield:erp/note", crm = "note", permission_set = "read""#;

/// The value of the metafield that is ours.
fn ours(world: &World, customer: u64, name: &str) -> Option<String> {
    let all = world.store().metafields(customer, name);
    all.into_iter().find(|metafield| metafield.owner == "token-a").map(|metafield| metafield.value)
}

fn set(world: &World, customer: u64, name: &str, value: Option<&str>) {
    world.store().set_metafield(customer, name, value, ("token-a", "app_only"));
}

async fn both_ways(readings: Readings) {
    let world = World::with(unlimited(readings)).await;
    for number in 1..=25 {
        world.person(&[], &[("code", &format!("'C-{number}'"))]).await;
    }
    set(&world, 1, "erp/note", Some("from the store"));
    world.configure(&Config::new(&[ERP_ID, NOTE]));
    world.run("sync").await.ended(0);
    for number in 1..=25 {
        assert_eq!(ours(&world, number, "erp/id"), text(&format!("C-{number}")));
    }
    assert_eq!(world.cell(1, "note").await, text("from the store"));
    world.edit("note = 'from the CRM'", "id = 2").await;
    world.edit("code = 'C-2b'", "id = 2").await;
    world.edit("code = NULL", "id = 3").await;
    set(&world, 4, "erp/id", Some("C-4b"));
    world.run("sync").await.ended(0);
    assert_eq!(ours(&world, 2, "erp/id"), text("C-2b"));
    assert_eq!(ours(&world, 2, "erp/note"), text("from the CRM"));
    assert_eq!(world.store().metafields(2, "erp/note")[0].permission_set, "read");
    assert_eq!(world.store().metafields(2, "erp/id")[0].permission_set, "app_only");
    assert_eq!(ours(&world, 3, "erp/id"), None, "an empty metafield is none");
    assert_eq!(world.cell(4, "code").await, text("C-4b"));
    // One that was deleted leaves no trace in the feed.
    set(&world, 5, "erp/id", None);
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(5, "code").await, text("C-5"));
    let said = world.run("sync --sweep").await.ended(0);
    assert_eq!(world.cell(5, "code").await, None);
    assert!(!said.has_event("drift.found"), "{said:#?}");
    world.is_quiet(0).await;
    // A customer that is gone leaves its metafields behind: they keep nobody alive.
    world.store().delete_customer(6).unwrap();
    let said = world.run("sync --sweep").await.ended(0);
    let gone = |event: &serde_json::Value| event["event"] == "sweep.completed" && event["gone"] == 1;
    assert!(said.events.iter().any(gone), "{said:#?}");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metafields_go_both_ways_and_deletions_are_found() {
    both_ways(Readings::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_numbered_pages_too() {
    both_ways(Readings { metafield_pages: MetafieldPages::Numbered, ..Readings::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metafield_of_another_app_is_held_and_the_others_go() {
    let refused = Readings { hidden_metafield: HiddenMetafield::Refused, ..Readings::default() };
    for (readings, codes, held) in [(Readings::default(), ["ours", "theirs"], 1), (refused, ["hidden", "theirs"], 2)] {
        let world = World::with(unlimited(readings)).await;
        for number in 1..=12 {
            world.person(&[], &[("code", &format!("'C-{number}'"))]).await;
        }
        // One that we do not see, and one that we see and may not change.
        world.store().set_metafield(1, "erp/id", Some("hidden"), ("other app", "app_only"));
        world.store().set_metafield(2, "erp/id", Some("theirs"), ("other app", "read"));
        let crm_wins = format!("{ERP_ID}, conflict = \"crm\"");
        world.configure(&Config::new(&[&crm_wins]));
        world.run("sync").await.ended(1);
        for number in 3..=12 {
            assert_eq!(
                ours(&world, number, "erp/id"),
                text(&format!("C-{number}")),
                "the others of the batch are made"
            );
        }
        let rows = world.held().await;
        assert_eq!(rows.len(), held, "{rows:?}");
        assert!(rows.iter().all(|row| row["reason"] == "rejected"), "{rows:?}");
        let said = world.run("held").await.ended(0);
        assert!(said.stdout.contains("if another app did, let that app share it"), "{said:#?}");
        assert_eq!(ours(&world, 1, "erp/id").is_some(), codes[0] == "ours");
        assert_eq!(world.store().metafields(2, "erp/id")[0].value, codes[1]);
        world.is_quiet(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metafields_cost_a_call_for_ten_and_one_for_each_that_is_rechecked() {
    let world = World::of(20).await;
    world.configure(&Config::new(&[ERP_ID]));
    world.run("sync").await.ended(0);
    world.store().reset_report();
    world.edit("code = 'x'", "true").await;
    world.run("sync").await.ended(0);
    let report = world.store().report();
    assert_eq!((report.calls_of("POST metafields"), report.calls_of("PUT metafields")), (2, 0), "{report:#?}");
    assert_eq!(report.calls_of("GET customer-metafields"), 20, "{report:#?}");
    world.store().reset_report();
    world.edit("code = 'y'", "true").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.store().report().calls_of("PUT metafields"), 2);
    world.store().reset_report();
    world.edit("code = NULL", "true").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.store().report().calls_of("DELETE customer-metafield"), 20);
    world.store().reset_report();
    world.run("sync").await.ended(0);
    assert_eq!(world.store().report().calls_of("GET metafields"), 1);
    world.run("sync --sweep").await.ended(0);
    let report = world.store().report();
    assert_eq!((report.violations, report.throttled()), (0, 0), "{report:#?}");
}
