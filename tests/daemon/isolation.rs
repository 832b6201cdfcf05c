//! One source's trouble is said once and delays no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use attune::daemon::SyncOutcome;
use attune::engine::{Clock, Request, SystemClock};
use attune::model::{Class, Side, Timestamp};

use super::world::{World, events, token, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_and_a_dead_api_delay_nobody_else() {
    let world = World::new(&["sound", "locked-out", "dead"], 1).await;
    std::fs::write(world.path("locked-out.token"), "wrong").unwrap();
    world.store("dead").set_outage(true);
    world.edit_customer("sound", 1, "Buyer");
    world.configure("");
    let began = Instant::now();
    let daemon = world.run().await;
    until("the sound store is served", async || world.contact(1).await.as_deref() == Some("Buyer")).await;
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    until("both are said", async || {
        !events("source.unauthorized", "locked-out").is_empty() && !events("source.unreachable", "dead").is_empty()
    })
    .await;
    // A pair that fails for a stated reason does not keep the others from being ready.
    daemon.until_ready().await;
    let (_, about) = daemon.page("/readyz").await.unwrap();
    let failing = about["failing"].to_string();
    assert!(failing.contains("locked-out with erp: store locked-out is unauthorized"), "{about}");
    assert!(failing.contains("dead with erp: store dead is unreachable"), "{about}");
    assert!(!about.to_string().contains("wrong"), "{about}");

    // It goes on: the CRM's edits reach the sound store, again and again.
    for title in ["one", "two", "three"] {
        world.edit_contact(1, title).await;
        until("an edit travels", async || world.customer("sound", 1).as_deref() == Some(title)).await;
    }
    assert_eq!(world.store("locked-out").report().total, 1, "it is asked again only every 5 minutes");
    assert_eq!(events("source.unauthorized", "locked-out").len(), 1);
    assert_eq!(events("source.unreachable", "dead").len(), 1);
    assert_eq!(daemon.state(Side::Store, "locked-out").await, "unauthorized");
    assert_eq!(daemon.state(Side::Store, "dead").await, "unreachable");

    // Mended, they are asked at once by whoever asks for a pass; without, one of them by itself.
    world.store("dead").set_outage(false);
    until("it recovers by itself", async || world.customer("dead", 1).as_deref() == Some("three")).await;
    std::fs::write(world.path("locked-out.token"), token("locked-out")).unwrap();
    let answer = daemon.ask(&Request::Sync { stores: vec!["locked-out".to_owned()], sweep: false }).await;
    let outcome: SyncOutcome = serde_json::from_str(&answer.message).unwrap();
    assert_eq!(outcome, SyncOutcome::default(), "{answer:?}");
    assert_eq!(world.customer("locked-out", 1).as_deref(), Some("three"));
    for name in ["dead", "locked-out"] {
        assert_eq!(events("source.recovered", name).len(), 1, "{name}");
        assert_eq!(daemon.state(Side::Store, name).await, "ok");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_stops_one_store_and_says_which() {
    let world = World::new(&["keyed", "keyless"], 1).await;
    std::fs::remove_file(world.path("keyless.token")).unwrap();
    world.edit_customer("keyed", 1, "Buyer");
    world.configure("");
    let daemon = world.run().await;
    until("the other is served", async || world.contact(1).await.as_deref() == Some("Buyer")).await;
    until("it is misconfigured", async || daemon.state(Side::Store, "keyless").await == "misconfigured").await;
    let said = events("source.unreachable", "keyless");
    assert!(said.len() == 1 && said[0]["reason"].contains("keyless.token"), "{said:?}");
    assert_eq!(world.store("keyless").report().total, 0);

    let answer = daemon.ask(&Request::Sync { stores: Vec::new(), sweep: false }).await;
    let outcome: SyncOutcome = serde_json::from_str(&answer.message).unwrap();
    let failed: Vec<_> =
        outcome.failed.iter().map(|failed| (failed.side, failed.name.as_str(), failed.class)).collect();
    assert_eq!(failed, [(Side::Store, "keyless", Class::Misconfigured)]);

    std::fs::write(world.path("keyless.token"), token("keyless")).unwrap();
    // A reload that changes nothing asks again whoever rests.
    daemon.control.reload().await.unwrap();
    until("it is served", async || world.customer("keyless", 1).as_deref() == Some("Buyer")).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_writes_alone_is_said_once_and_still_read() {
    use attune::simulator::{Fault, FaultRule};
    let world = World::new(&["read-only"], 2).await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    world.store("read-only").add_fault(FaultRule::always(Fault::Forbidden).on("PUT attribute-values")).unwrap();
    world.edit_contact(1, "Buyer").await;
    until("it is said", async || events("source.unauthorized", "read-only").len() == 1).await;
    let failed = events("pass.failed", "read-only");
    assert!(failed.len() == 1 && failed[0]["class"] == "auth" && failed[0]["retry_in_ms"] == "300000", "{failed:?}");
    let polls = world.store("read-only").report().total;
    until("it is read on", async || world.store("read-only").report().total >= polls + 10).await;
    until("its state is shown", async || daemon.state(Side::Store, "read-only").await == "unauthorized").await;
    assert_eq!(world.store("read-only").report().calls_of("PUT attribute-values"), 1);
    assert!(events("source.recovered", "read-only").is_empty());

    world.store("read-only").clear_faults();
    let answer = daemon.ask(&Request::Sync { stores: Vec::new(), sweep: false }).await;
    assert_eq!(serde_json::from_str::<SyncOutcome>(&answer.message).unwrap(), SyncOutcome::default());
    assert_eq!(world.customer("read-only", 1).as_deref(), Some("Buyer"));
    assert_eq!(events("source.recovered", "read-only").len(), 1);
    assert_eq!(events("source.unauthorized", "read-only").len(), 1);
    daemon.stop().await;
}

/// A clock that makes whoever asks it panic, now and then.
#[derive(Default)]
struct FaultyClock {
    asked: AtomicU64,
    panics: AtomicU64,
}

#[async_trait]
impl Clock for FaultyClock {
    fn now(&self) -> Timestamp {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        if asked % 61 == 60 && self.panics.load(Ordering::SeqCst) < 4 {
            self.panics.fetch_add(1, Ordering::SeqCst);
            panic!("a defect, for the test");
        }
        SystemClock::default().now()
    }

    async fn sleep(&self, duration: Duration) {
        SystemClock::default().sleep(duration).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_counted_and_everything_goes_on() {
    let world = World::new(&["panicking", "bystander"], 2).await;
    world.edit_customer("panicking", 1, "Buyer");
    world.configure("");
    let clock = Arc::new(FaultyClock::default());
    let faulty = Arc::clone(&clock);
    let daemon = world.run_with(|settings| settings.clock = faulty).await;
    until("all panics have happened", async || clock.panics.load(Ordering::SeqCst) == 4).await;
    // Some of them in the middle of a write: that is of unknown outcome until it was read back.
    until("the values meet", async || {
        let answer = daemon.ask(&Request::Sync { stores: Vec::new(), sweep: false }).await;
        serde_json::from_str::<SyncOutcome>(&answer.message).unwrap() == SyncOutcome::default()
    })
    .await;
    assert_eq!(world.customer("bystander", 1).as_deref(), Some("Buyer"));
    for title in ["one", "two"] {
        world.edit_contact(1, title).await;
        until("an edit travels to both", async || {
            ["panicking", "bystander"].iter().all(|store| world.customer(store, 1).as_deref() == Some(title))
        })
        .await;
    }
    let (status, about) = daemon.page("/livez").await.unwrap();
    assert_eq!((status, &about["panics"]), (200, &4.into()), "{about}");
    daemon.stop().await;
}
