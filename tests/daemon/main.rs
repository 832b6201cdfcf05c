//! The daemon over simulated stores and a SQLite CRM: what travels, what fails alone, how it stops and reloads.

#![allow(clippy::unwrap_used)]

mod alerts;
mod browser;
mod isolation;
mod metrics;
mod orders;
mod page;
mod sharing;
mod stopping;
mod world;

#[path = "../openapi/traffic.rs"]
mod traffic;

use std::time::Duration;

use attune::model::Side;

use world::{World, events, until};

#[tokio::test(flavor = "multi_thread")]
async fn edits_on_both_sides_travel_and_then_it_is_quiet() {
    let world = World::new(&["both-ways"], 3).await;
    world.edit_customer("both-ways", 1, "Buyer");
    world.edit_contact(2, "Seller").await;
    world.configure("");
    let daemon = world.run().await;
    until("the first values meet", async || {
        world.contact(1).await.as_deref() == Some("Buyer")
            && world.customer("both-ways", 2).as_deref() == Some("Seller")
    })
    .await;
    world.edit_contact(1, "Head of buying").await;
    world.edit_customer("both-ways", 2, "Head of selling");
    world.edit_customer("both-ways", 3, "New");
    until("the edits travel", async || {
        world.customer("both-ways", 1).as_deref() == Some("Head of buying")
            && world.contact(2).await.as_deref() == Some("Head of selling")
            && world.contact(3).await.as_deref() == Some("New")
    })
    .await;
    let puts = world.store("both-ways").report().calls_of("PUT attribute-values");
    let polls = world.store("both-ways").report().total;
    until("ten more polls", async || world.store("both-ways").report().total >= polls + 20).await;
    assert_eq!(world.store("both-ways").report().calls_of("PUT attribute-values"), puts, "it is not quiet");
    assert_eq!(daemon.outcomes().await, ["written"; 5]);
    assert_eq!(world.store("both-ways").report().violation_notes, [""; 0]);
    let (ended, took) = daemon.stop().await;
    assert!(ended.finished && took < Duration::from_secs(3), "{ended:?} after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_alive_at_once_and_ready_after_the_first_pass() {
    let world = World::new(&["health"], 1).await;
    world.store("health").change_behaviour(|behaviour| behaviour.latency_ms = 300);
    world.configure("");
    let daemon = world.run().await;
    until("it listens", async || daemon.control.address().is_some()).await;
    let (status, about) = daemon.page("/livez").await.unwrap();
    assert_eq!((status, &about["status"], &about["loops"]), (200, &"alive".into(), &4.into()), "{about}");
    let (status, about) = daemon.page("/readyz").await.unwrap();
    assert_eq!(
        (status, &about["waiting"][0]),
        (503, &"health with erp: its first pass is under way".into()),
        "{about}"
    );
    daemon.until_ready().await;
    let (_, about) = daemon.page("/readyz").await.unwrap();
    assert_eq!((&about["pairs"], &about["failing"]), (&1.into(), &serde_json::json!([])), "{about}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_nothing_listens_and_a_taken_address_is_said() {
    let mut world = World::new(&["listening"], 1).await;
    world.server = world.simulator.address().to_string();
    world.configure("");
    let refused = world.run().await.refused().await;
    assert!(refused.is_configuration(), "{refused}");
    assert!(refused.to_string().starts_with(&format!("cannot listen on {}", world.server)), "{refused}");

    world.server = "off".to_owned();
    world.configure("");
    let daemon = world.run().await;
    until("it passes", async || daemon.state(Side::Store, "listening").await == "ok").await;
    assert_eq!(daemon.control.address(), None);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_begin_by_the_clock_and_never_overlap() {
    let mut world = World::new(&["swept"], 2).await;
    world.store_lines = world.store_lines.replace("sweep = \"off\"", "sweep = \"* * * * * *\"");
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    // Each sweep takes longer than the second after which the next one is due.
    world.store("swept").change_behaviour(|behaviour| behaviour.latency_ms = 700);
    // At the start the pair may have counted the customers beside the first sweep.
    world.store("swept").reset_report();
    until("three sweeps", async || events("sweep.completed", "swept").len() >= 4).await;
    assert_eq!(world.store("swept").report().highest_concurrency_of.get("GET customers"), Some(&1));
    daemon.stop().await;
}
