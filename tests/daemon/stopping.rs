//! A daemon that is told to stop finishes the batch in flight, within its grace.

use std::time::Duration;

use attune::simulator::settings::SlowMs;
use attune::simulator::{Fault, FaultRule};

use super::world::{Running, World, until};

/// A daemon whose first write to its store is under way and takes so long.
async fn writing(world: &World, takes_ms: u64, grace: Duration) -> Running {
    world.store(&world.names[0]).change_behaviour(|behaviour| behaviour.slow = SlowMs(takes_ms));
    let rule = FaultRule::always(Fault::SlowAfter).on("PUT attribute-values");
    world.store(&world.names[0]).add_fault(rule).unwrap();
    for person in 1..=100 {
        world.edit_contact(person, "Buyer").await;
    }
    world.configure("");
    let daemon = world.run_with(|settings| settings.grace = grace).await;
    let under_way = || world.store(&world.names[0]).report().calls_of("PUT attribute-values") > 0;
    until("a write is under way", async || under_way()).await;
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn the_batch_in_flight_is_finished_and_recorded() {
    let mut world = World::new(&["finishing"], 100).await;
    // The rest of a first pass that was stopped may count against a day's rails; this is about stopping.
    world.store_lines += "[store.finishing.rails]\nwrites = { count = 10000, percent = 100 }\n";
    let daemon = writing(&world, 1500, Duration::from_secs(10)).await;
    let checkpoint = daemon.checkpoint.clone();
    let (ended, took) = daemon.stop().await;
    assert!(ended.finished, "{ended:?}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    let puts = world.store("finishing").report().calls_of("PUT attribute-values");
    assert!((1..=3).contains(&puts), "no further batch was sent: {puts}");
    // What left was answered, and the answer was remembered: nothing is of unknown outcome.
    let mut transaction = checkpoint.read().await.unwrap();
    let history = transaction.history(&attune::checkpoint::HistoryFilter::default()).await.unwrap();
    transaction.end().await.unwrap();
    assert!(!history.is_empty() && history.iter().all(|row| row.outcome == "written"), "{history:?}");
    drop(checkpoint);

    // The next start goes on where this one stopped.
    world.store("finishing").clear_faults();
    let daemon = world.run().await;
    until("the rest is written", async || {
        (1..=100).all(|person| world.customer("finishing", person).as_deref() == Some("Buyer"))
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_longer_than_the_grace_is_left_and_read_back_by_the_next_start() {
    let world = World::new(&["cut-off"], 100).await;
    let daemon = writing(&world, 6_000, Duration::from_secs(1)).await;
    let (ended, took) = daemon.stop().await;
    assert!(!ended.finished, "{ended:?}");
    assert!(took < Duration::from_secs(4), "it took {took:?}");

    world.store("cut-off").clear_faults();
    let daemon = world.run().await;
    until("everything is written", async || {
        (1..=100).all(|person| world.customer("cut-off", person).as_deref() == Some("Buyer"))
    })
    .await;
    // A write that was sent again was known not to have happened: nothing is of unknown outcome, nothing written twice.
    until("nothing is of unknown outcome", async || {
        let outcomes = daemon.outcomes().await;
        let count = |outcome: &str| outcomes.iter().filter(|known| *known == outcome).count();
        count("written") == 100 && count("unknown") == 0
    })
    .await;
    daemon.stop().await;
}
