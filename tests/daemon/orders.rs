//! What a running daemon is asked: requests of other processes, and to read its configuration again.

use attune::checkpoint::{self, Lock};
use attune::daemon::{Reloaded, SyncOutcome};
use attune::engine::{HeldAction, HeldSelection, Request};
use attune::model::HeldReason;

use super::world::{World, events, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_is_asked_for_and_answered_when_it_is_done() {
    let mut world = World::new(&["asked"], 2).await;
    // Nothing happens by itself.
    world.store_lines = world.store_lines.replace("200ms", "1h");
    world.crm_lines = world.crm_lines.replace("200ms", "1h");
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    world.edit_customer("asked", 1, "Buyer");
    world.edit_contact(2, "Seller").await;
    let answer = daemon.ask(&Request::Sync { stores: vec!["asked".to_owned()], sweep: false }).await;
    assert!(answer.done, "{answer:?}");
    assert_eq!(serde_json::from_str::<SyncOutcome>(&answer.message).unwrap(), SyncOutcome::default());
    assert_eq!(world.contact(1).await.as_deref(), Some("Buyer"));
    assert_eq!(world.customer("asked", 2).as_deref(), Some("Seller"));

    // What the feeds cannot show, a sweep finds; what cannot be decided is told.
    world.edit_customer("asked", 1, "A");
    world.edit_contact(1, "B").await;
    world.edit_contact(2, &"x".repeat(256)).await;
    let swept = events("sweep.completed", "asked").len();
    let answer = daemon.ask(&Request::Sync { stores: Vec::new(), sweep: true }).await;
    let outcome: SyncOutcome = serde_json::from_str(&answer.message).unwrap();
    assert!(outcome.held >= 1 && outcome.failed.is_empty(), "{outcome:?}");
    assert_eq!(events("sweep.completed", "asked").len(), swept + 1);

    let unknown = daemon.ask(&Request::Sync { stores: vec!["nobody".to_owned()], sweep: false }).await;
    assert!(!unknown.done && unknown.message.contains("no store \"nobody\""), "{unknown:?}");
    let nonsense = daemon.answer(daemon.leave_text("{\"Dance\":{}}").await).await;
    assert!(!nonsense.done && nonsense.message.contains("does not know this request"), "{nonsense:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pauses_a_store_stops_it_and_who_decides_is_obeyed_at_once() {
    let world = World::new(&["paused"], 1).await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    let paused = daemon.ask(&Request::Pause { name: "paused".to_owned() }).await;
    assert!(paused.done, "{paused:?}");
    until("it is known to be paused", async || {
        let (status, about) = daemon.page("/readyz").await.unwrap();
        status == 200 && about["failing"][0] == "paused with erp: store paused is paused: a person paused it"
    })
    .await;
    let calls = world.store("paused").report().total;
    world.edit_contact(1, "Buyer").await;
    let answer = daemon.ask(&Request::Sync { stores: Vec::new(), sweep: true }).await;
    let outcome: SyncOutcome = serde_json::from_str(&answer.message).unwrap();
    assert_eq!((outcome.pending, outcome.failed.len()), (1, 0), "{outcome:?}");
    assert_eq!(world.store("paused").report().total, calls, "it was called while it was paused");
    assert_eq!(events("source.paused", "paused").len(), 1);

    daemon.ask(&Request::Resume { name: "paused".to_owned() }).await;
    until("it goes on", async || world.customer("paused", 1).as_deref() == Some("Buyer")).await;
    until("it is said to work again", async || events("source.recovered", "paused").len() == 1).await;
    assert_eq!(events("operator.acted", "paused").len(), 2, "pausing and resuming");

    world.edit_contact(1, &"x".repeat(256)).await;
    until("it is held", async || !events("field.held", "paused").is_empty()).await;
    let selection = HeldSelection { reasons: vec![HeldReason::CannotBeTaken], ..HeldSelection::default() };
    let take = HeldAction::Take(attune::model::Side::Store);
    let decided = daemon.ask(&Request::Held { selection, action: take }).await;
    assert!(decided.done, "{decided:?}");
    until("the store's value is taken", async || world.contact(1).await.as_deref() == Some("Buyer")).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_pass_is_told_when_the_daemon_stops() {
    let world = World::new(&["left-waiting"], 1).await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    world.store("left-waiting").change_behaviour(|behaviour| behaviour.latency_ms = 60_000);
    let id = daemon.leave(&Request::Sync { stores: Vec::new(), sweep: false }).await;
    let calls = world.store("left-waiting").report().total;
    until("a read is under way", async || world.store("left-waiting").report().total > calls).await;
    let checkpoint = daemon.checkpoint.clone();
    let (ended, took) = daemon.stop().await;
    assert!(ended.finished && took.as_secs() < 5, "a read is not waited for: {ended:?} after {took:?}");
    let mut transaction = checkpoint.read().await.unwrap();
    let answer = transaction.answer_to(id).await.unwrap().unwrap();
    assert!(answer.contains("was stopped before this was done"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_configuration_is_swapped_in_and_another_is_not() {
    let world = World::new(&["reloaded"], 1).await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    assert_eq!(daemon.control.reload().await.unwrap(), Reloaded::Unchanged);

    // Not sound: the one before stays in force.
    let sound = std::fs::read_to_string(world.path("attune.toml")).unwrap();
    std::fs::write(world.path("attune.toml"), sound.replace("store_hash", "store_hsah")).unwrap();
    let Reloaded::Rejected(reason) = daemon.control.reload().await.unwrap() else { panic!("it was taken") };
    assert!(reason.contains("attune.toml:") && reason.contains("`store_hash`"), "{reason}");
    world.edit_customer("reloaded", 1, "Buyer");
    until("it goes on", async || world.contact(1).await.as_deref() == Some("Buyer")).await;

    // Sound: another field is mapped, and filled.
    world.store("reloaded").create_attribute("Nick", attune::simulator::AttributeKind::String).unwrap();
    world.store("reloaded").set_value(1, "Nick", "Bob").unwrap();
    world.configure(", { store = \"attribute:Nick\", crm = \"nick\" }");
    assert_eq!(daemon.control.reload().await.unwrap(), Reloaded::Taken);
    let nick = async || {
        let query = sqlx::query_scalar::<_, Option<String>>("SELECT nick FROM contacts WHERE id = 1");
        query.fetch_one(&mut world.crm().await).await.unwrap()
    };
    until("the new field is filled", async || nick().await.as_deref() == Some("Bob")).await;
    // It was ready before, so it is ready: nobody takes it out of service for a reload.
    assert_eq!(daemon.page("/readyz").await.unwrap().0, 200);
    // The lock was never let go.
    let refused = Lock::take(&world.path("attune.db"), "another").unwrap_err();
    assert!(matches!(refused, checkpoint::Error::Locked { holder } if holder == "a test"));
    daemon.stop().await;
    Lock::take(&world.path("attune.db"), "another").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_are_all_answered() {
    let world = World::new(&["busy"], 3).await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    for round in 0..10 {
        let mut left = Vec::new();
        for _ in 0..10 {
            left.push(daemon.leave(&Request::Sync { stores: Vec::new(), sweep: false }).await);
        }
        left.push(
            daemon.leave(&Request::Held { selection: HeldSelection::default(), action: HeldAction::Retry }).await,
        );
        world.edit_contact(1, &format!("round {round}")).await;
        for id in left {
            assert!(daemon.answer(id).await.done);
        }
    }
    daemon.stop().await;
}
