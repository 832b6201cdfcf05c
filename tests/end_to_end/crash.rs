//! Promise 4 by example: `kill -9` over real processes in the middle of a push.

use std::collections::BTreeMap;

use crate::world::{Config, TITLE, World, finish, kill, terminate, text, until};

const PUT: &str = "PUT attribute-values";
const PEOPLE: u64 = 60;

/// Sixty people whose titles agree, all edited in the CRM since; nothing of that is carried over yet.
async fn sixty_edits() -> (World, Config) {
    let world = World::new().await;
    for number in 1..=PEOPLE {
        let old = format!("Old {number}");
        world.person(&[("Title", &old)], &[("title", &format!("'{old}'"))]).await;
    }
    let config = Config::new(&[TITLE]);
    world.configure(&config);
    world.run("sync").await.ended(0);
    assert_eq!(world.store_writes(), 0, "they agree from the start");
    world.edit("title = 'New ' || id", "true").await;
    world.store().reset_report();
    (world, config)
}

/// How many customers have their new title.
fn carried_over(world: &World) -> u64 {
    let is_new = |number: &u64| world.store().value(*number, "Title") == Some(format!("New {number}"));
    (1..=PEOPLE).filter(is_new).count() as u64
}

/// A slow call takes longer than the test, and is in nobody's way.
fn never_answered(world: &World) {
    world.store().change_behaviour(|behaviour| {
        behaviour.slow.0 = 600_000;
        behaviour.concurrency.writes = 0;
    });
}

/// Both sides hold every new title, and history every old one; no value was carried over twice.
async fn nothing_is_lost(world: &World, lost_calls: u64) {
    for (id, title) in world.column("title").await {
        let wanted = Some(format!("New {id}"));
        assert_eq!(title, wanted, "the CRM's title of {id}");
        assert_eq!(world.store().value(id.unsigned_abs(), "Title"), wanted, "the store's title of {id}");
    }
    let mut old: BTreeMap<String, u64> = BTreeMap::new();
    for write in world.history().await {
        assert_eq!(write["side"], "store", "{write}");
        assert_eq!(write["new"], format!("New {}", write["store_key"].as_str().unwrap()));
        *old.entry(write["old"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for number in 1..=PEOPLE {
        assert!(old.contains_key(&format!("Old {number}")), "the old title of {number} is not in history: {old:?}");
    }
    let calls = world.store().report().calls_of(PUT);
    assert!(calls <= PEOPLE / 10 + lost_calls, "{calls} upserts");
    world.is_quiet(0).await;
}

/// A first pass that carries on where the killed one was: what may still take effect is left alone.
async fn carry_on_beside_the_unknown(world: &World, config: &Config, lost: u64) {
    world.store().clear_faults();
    world.configure(&config.quarantine("1h"));
    let said = world.run("sync --json").await.ended(1).json();
    assert_eq!(said["stores"][0]["pending"], lost, "{said}");
    let unknown = world.history().await.iter().filter(|write| write["outcome"] == "unknown").count() as u64;
    assert_eq!(unknown, lost);
    world.run("sync").await.ended(1);
    assert_eq!(world.store().report().calls_of(PUT), PEOPLE / 10, "nothing in quarantine is sent again");
    world.configure(config);
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_upserts_are_in_flight() {
    let (world, config) = sixty_edits().await;
    world.configure(&config.quarantine("1h"));
    world.store().change_behaviour(|behaviour| behaviour.slow.0 = 3_000);
    world.store().add_fault("slow*3@PUT attribute-values".parse().unwrap()).unwrap();
    let child = world.command("sync").spawn().unwrap();
    until("three upserts in flight", || world.store().report().calls_of(PUT) == 3).await;
    assert_eq!(carried_over(&world), 0, "they have no effect yet");
    kill(child).await;
    carry_on_beside_the_unknown_late(&world, &config).await;
    nothing_is_lost(&world, 0).await;
}

/// As [`carry_on_beside_the_unknown`], where the effect comes late.
async fn carry_on_beside_the_unknown_late(world: &World, config: &Config) {
    until("the late effects", || carried_over(world) == 30).await;
    carry_on_beside_the_unknown(world, config, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_right_after_the_effect_with_the_answer_delayed() {
    let (world, config) = sixty_edits().await;
    world.configure(&config.quarantine("1h"));
    never_answered(&world);
    world.store().add_fault("slow-after*3@PUT attribute-values".parse().unwrap()).unwrap();
    let child = world.command("sync").spawn().unwrap();
    until("the effects", || carried_over(&world) == 30).await;
    kill(child).await;
    carry_on_beside_the_unknown(&world, &config, 30).await;
    nothing_is_lost(&world, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_upserts_in_flight_that_never_arrive() {
    let (world, config) = sixty_edits().await;
    world.configure(&config.quarantine("1h"));
    never_answered(&world);
    world.store().add_fault("slow*3@PUT attribute-values".parse().unwrap()).unwrap();
    let child = world.command("sync").spawn().unwrap();
    until("three upserts in flight", || world.store().report().calls_of(PUT) == 3).await;
    kill(child).await;
    world.store().clear_faults();
    let said = world.run("sync --json").await.ended(1).json();
    assert_eq!(said["stores"][0]["pending"], 30, "{said}");
    world.configure(&config);
    world.settle().await;
    nothing_is_lost(&world, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_two_rounds_of_batches() {
    let (world, config) = sixty_edits().await;
    world.store().change_behaviour(|behaviour| behaviour.slow.0 = 60_000);
    // The recheck of the second round does not come back: the first round is settled, the second not begun.
    world.store().add_fault("slow+2@GET attribute-values".parse().unwrap()).unwrap();
    let child = world.command("sync").spawn().unwrap();
    until("the second recheck", || {
        world.store().report().calls_of(PUT) == 3 && world.store().report().calls_of("GET attribute-values") == 3
    })
    .await;
    kill(child).await;
    world.store().clear_faults();
    world.configure(&config.quarantine("1h"));
    world.run("sync").await.ended(0);
    nothing_is_lost(&world, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_in_the_middle_and_started_again() {
    let (world, config) = sixty_edits().await;
    let config = config.store("poll = \"50ms\"").crm("poll = \"50ms\"");
    world.configure(&config);
    never_answered(&world);
    world.store().add_fault("slow-after*1@PUT attribute-values".parse().unwrap()).unwrap();
    let child = world.command("run").spawn().unwrap();
    // One of three calls is without an answer: all three are unsettled.
    until("an upsert without an answer", || world.store().report().calls_of(PUT) == 3).await;
    until("the effects", || carried_over(&world) == 30).await;
    kill(child).await;
    world.store().clear_faults();
    let child = world.command("run").spawn().unwrap();
    until("agreement", || carried_over(&world) == PEOPLE).await;
    world.run("sync").await;
    terminate(&child).await;
    finish(child).await.ended(0);
    world.settle().await;
    nothing_is_lost(&world, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_crm_is_written() {
    let world = World::new().await;
    for number in 1..=20 {
        let old = format!("Old {number}");
        world.person(&[("Title", &old)], &[("title", &format!("'{old}'"))]).await;
    }
    let config = Config::new(&[TITLE]);
    world.configure(&config.quarantine("1h"));
    world.run("sync").await.ended(0);
    for number in 1..=20 {
        world.store().set_value(number, "Title", &format!("New {number}")).unwrap();
    }
    // Somebody else holds the database: the write has left and does not come back.
    let mut connection = world.sqlite().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    let child = world.command("sync --patience 60s").spawn().unwrap();
    let (mut attempts, began) = (0, std::time::Instant::now());
    while attempts < 20 {
        assert!(began.elapsed().as_secs() < 30, "no write was on its way");
        attempts = world.history().await.iter().filter(|write| write["outcome"] == "unknown").count();
    }
    kill(child).await;
    sqlx::query("ROLLBACK").execute(&mut connection).await.unwrap();
    drop(connection);
    let said = world.run("sync --json").await.ended(1).json();
    assert_eq!(said["stores"][0]["pending"], 20, "{said}");
    world.configure(&config);
    world.settle().await;
    for (id, title) in world.column("title").await {
        assert_eq!(title, Some(format!("New {id}")));
    }
    let history = world.history().await;
    assert!(history.iter().all(|write| write["old"] == format!("Old {}", write["crm_key"].as_str().unwrap())));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_an_attribute_is_created() {
    let world = World::of(1).await;
    let config = Config::new(&[r#"store = "attribute:Shoe size", crm = "note""#]).mapping("create_attributes = true");
    world.configure(&config);
    world.edit("note = '46'", "true").await;
    never_answered(&world);
    world.store().add_fault("slow-after*1@POST attributes".parse().unwrap()).unwrap();
    let child = world.command("sync").spawn().unwrap();
    let count = || world.store().attributes().iter().filter(|attribute| attribute.name == "Shoe size").count();
    until("the attribute", || count() == 1).await;
    kill(child).await;
    world.run("sync").await.ended(0);
    assert_eq!(count(), 1, "it is not created twice");
    assert_eq!(world.store().value(1, "Shoe size"), text("46"));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_at_every_call_of_a_first_pass() {
    let world = World::new().await;
    for number in 1..=40 {
        if number % 2 == 0 {
            world.person(&[("Title", &format!("New {number}"))], &[]).await;
        } else {
            world.person(&[], &[("title", &format!("'New {number}'"))]).await;
        }
    }
    world.store().change_behaviour(|behaviour| behaviour.latency_ms = 25);
    let mut killed = 0;
    for calls in 1.. {
        world.store().reset_report();
        let mut child = world.command("sync").spawn().unwrap();
        let mut ended = None;
        until("so many calls, or the end", || {
            ended = child.try_wait().unwrap();
            ended.is_some() || world.store().report().total >= calls
        })
        .await;
        if let Some(ended) = ended {
            assert!(matches!(ended.code(), Some(0 | 1)), "{ended}");
            break;
        }
        child.start_kill().unwrap();
        child.wait().await.unwrap();
        killed += 1;
    }
    assert!(killed >= 3, "{killed}");
    world.settle().await;
    for (id, title) in world.column("title").await {
        assert_eq!(title, Some(format!("New {id}")));
        assert_eq!(world.store().value(id.unsigned_abs(), "Title"), title);
    }
    assert_eq!(world.status("acme").await["held"], 0);
    world.is_quiet(0).await;
}
