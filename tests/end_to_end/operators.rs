//! Rails, approval, pauses, and what a person says to what is held.

use crate::world::{Config, TITLE, World, text};

/// So many people who agree on their titles, under these rails.
async fn agreed(people: u64, rails: &str) -> World {
    let world = World::new().await;
    for _ in 0..people {
        world.person(&[("Title", "a")], &[("title", "'a'")]).await;
    }
    world.configure(&Config::new(&[TITLE]).rails(rails));
    world.run("sync").await.ended(0);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_beyond_the_rail_stop_before_the_first_and_approve_lets_exactly_those_through() {
    let world = agreed(30, "writes = { count = 20, percent = 100 }").await;
    world.edit("title = 'b'", "id <= 21").await;
    let said = world.run("sync").await.ended(1);
    let stopped = said.event("rail.stopped");
    assert_eq!((&stopped["rail"], &stopped["count"], &stopped["limit"]), (&"writes".into(), &21.into(), &20.into()));
    assert_eq!(world.store_writes(), 0, "before the first write");
    assert_eq!(world.status("acme").await["state"], "stopped");
    assert_eq!(world.status("acme").await["pending"], 21);
    let said = world.run("sync").await.ended(1);
    assert!(!said.has_event("rail.stopped"), "it is said once: {said:#?}");
    let approved = world.run("approve acme").await.ended(0);
    assert!(approved.stdout.contains("21"), "{approved:#?}");
    // What changes after the approval is counted: one of the approved is edited again, and others come up to the rail.
    world.edit("title = 'c'", "id = 1").await;
    world.edit("title = 'b'", "id > 21").await;
    world.run("sync").await.ended(0);
    world.titles(1, "c").await;
    for id in 2..=30 {
        world.titles(id, "b").await;
    }
    world.is_quiet(0).await;
    // The ten that nobody had approved count, the twenty that somebody had do not.
    world.edit("title = 'd'", "id <= 11").await;
    let said = world.run("sync").await.ended(1);
    assert_eq!(said.event("rail.stopped")["count"], 21, "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_covers_no_more_than_what_was_stopped() {
    let world = agreed(24, "writes = { count = 10, percent = 100 }").await;
    world.edit("title = 'b'", "id <= 12").await;
    world.run("sync").await.ended(1);
    world.run("approve acme").await.ended(0);
    world.edit("title = 'b'", "id > 12").await;
    let said = world.run("sync").await.ended(1);
    assert_eq!(said.event("rail.stopped")["count"], 12, "those that nobody approved: {said:#?}");
    world.titles(12, "b").await;
    assert_eq!(world.store().value(13, "Title"), text("a"));
    world.run("approve acme").await.ended(0);
    world.run("sync").await.ended(0);
    world.titles(24, "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clears_beyond_the_rail_stop_the_pair() {
    let world = agreed(15, "clears = { count = 10, percent = 100 }").await;
    world.edit("title = NULL", "id <= 11").await;
    let said = world.run("sync").await.ended(1);
    assert_eq!(said.event("rail.stopped")["rail"], "clears");
    assert_eq!(world.store_writes(), 0);
    world.run("approve acme").await.ended(0);
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(11, "Title"), None);
    assert_eq!(world.store().value(12, "Title"), text("a"));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_gone_beyond_the_rail_unlink_nobody() {
    let world = agreed(15, "deletes = { count = 10, percent = 100 }").await;
    world.sql("DELETE FROM contacts WHERE id <= 11").await;
    world.store().set_value(15, "Title", "edited").unwrap();
    let said = world.run("sync --sweep").await.ended(1);
    assert_eq!(said.event("rail.stopped")["rail"], "deletes");
    let linked = || async { world.run("link --json").await.json()["stores"][0]["linked"].as_u64().unwrap() };
    assert_eq!(linked().await, 15);
    assert_eq!(world.cell(15, "title").await, text("a"), "nothing is written either");
    world.run("approve acme").await.ended(0);
    world.run("sync").await.ended(0);
    assert_eq!(linked().await, 4);
    world.titles(15, "edited").await;
    assert_eq!(world.store().value(1, "Title"), text("a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_percentage_never_stops_fewer_than_ten() {
    let world = agreed(12, "writes = { count = 1000, percent = 1 }").await;
    world.edit("title = 'b'", "id <= 10").await;
    world.run("sync").await.ended(0);
    world.titles(10, "b").await;
    world.edit("title = 'b'", "id > 10").await;
    let said = world.run("sync").await.ended(1);
    assert_eq!(said.event("rail.stopped")["count"], 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_store_is_neither_read_nor_written_and_misses_nothing() {
    let world = agreed(3, "writes = { count = 1000, percent = 100 }").await;
    world.run("pause acme").await.ended(0);
    world.edit("title = 'b'", "id = 1").await;
    world.store().set_value(2, "Title", "c").unwrap();
    world.store().reset_report();
    world.run("sync").await.ended(1).complains(&["paused"]);
    assert_eq!(world.store().report().total, 0);
    world.run("resume acme").await.ended(0);
    world.run("sync").await.ended(0);
    world.titles(1, "b").await;
    world.titles(2, "c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_s_choice_is_for_the_values_it_was_made_about() {
    let world = World::new().await;
    for _ in 0..3 {
        world.person(&[("Title", "store")], &[("title", "'crm'")]).await;
    }
    world.run("sync").await.ended(1);
    assert_eq!(world.reasons().await, ["first meeting"; 3]);
    let held = world.held().await;
    let id = |key: &str| held.iter().find(|held| held["store_key"] == key).unwrap()["id"].to_string();
    world.run(&format!("held resolve --take crm {} --yes", id("1"))).await.ended(0);
    world.run(&format!("held drop {} --yes", id("2"))).await.ended(0);
    world.run(&format!("held retry {} --yes", id("3"))).await.ended(0);
    world.run("sync").await.ended(1);
    world.titles(1, "crm").await;
    assert_eq!(world.both(2, "Title", "title").await, (text("store"), text("crm")));
    assert_eq!(world.reasons().await, ["first meeting"], "the retried one is held anew, the dropped one is not");
    world.is_quiet(1).await;
    // Made equal by a person it is held no more; the dropped one is looked at when a side changes.
    world.store().set_value(3, "Title", "crm").unwrap();
    world.edit("title = 'edited'", "id = 2").await;
    world.run("sync").await.ended(1);
    let held = world.held().await;
    assert_eq!((held.len(), &held[0]["store_key"]), (1, &"2".into()), "{held:?}");
    // What was chosen before somebody edited again is not carried out.
    world.run("held resolve --take store --store acme --yes").await.ended(0);
    world.edit("title = 'edited again'", "id = 2").await;
    world.run("sync").await.ended(1);
    assert_eq!(world.both(2, "Title", "title").await, (text("store"), text("edited again")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_means_another_store_is_refused_until_it_is_forgotten() {
    let world = World::of(1).await;
    world.run("sync").await.ended(0);
    let config = world.text(&Config::new(&[TITLE])).replace("abc123", "def456").replace("ACME_TOKEN", "BOLT_TOKEN");
    std::fs::write(world.path("attune.toml"), config).unwrap();
    world.bolt().add_customer(attune::simulator::NewCustomer::new("p1@example.com", [("Title", "other")])).unwrap();
    let said = world.run("sync").await.ended(78);
    said.complains(&["store \"acme\" was abc123 and is now def456", "attune forget acme"]);
    assert_eq!(world.cell(1, "title").await, None);
    world.run("forget acme --yes").await.ended(0);
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(1, "title").await, text("other"));
}
