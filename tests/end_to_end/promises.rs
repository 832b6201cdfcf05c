//! Quiet, courtesy, isolation and bounds by example.

use std::time::{Duration, Instant};

use attune::simulator::{Behaviour, Readings};

use crate::world::{Config, GRADE, TITLE, World, finish, terminate, unlimited, until};

const PUT: &str = "PUT attribute-values";
const VALUES: &str = "GET attribute-values";

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_the_quota_s_share_and_three_writes_at_once() {
    let mut behaviour = Behaviour::default();
    behaviour.quota.calls = 150;
    behaviour.quota.window_ms = 3_000;
    behaviour.latency_ms = 5;
    let world = World::with(behaviour).await;
    let mut rows = Vec::new();
    for number in 1..=600 {
        let email = format!("p{number}@example.com");
        world.store().add_customer(attune::simulator::NewCustomer::new(&email, [])).unwrap();
        rows.push(format!("({number}, '{email}', 'Title {number}', '2026-01-01T00:00:00Z')"));
    }
    world.sql(&format!("INSERT INTO contacts (id, email, title, updated_at) VALUES {}", rows.join(", "))).await;
    world.run("sync").await.ended(0);
    for number in 1..=600 {
        assert_eq!(world.store().value(number, "Title"), Some(format!("Title {number}")));
    }
    let report = world.store().report();
    assert_eq!((report.throttled(), report.throttled_by_quota, report.throttled_by_concurrency), (0, 0, 0));
    assert_eq!(report.calls_of(PUT), 60);
    assert!(report.highest_concurrency_of[PUT] <= 3, "{report:?}");
    let status = world.run("status --json").await.ended(0).json();
    assert_eq!(status["stores"][0]["quota"]["calls"].as_u64().or(Some(150)), Some(150), "{status}");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_costs_what_changed() {
    let world = World::new().await;
    let mut rows = Vec::new();
    for number in 1..=1200 {
        let email = format!("p{number}@example.com");
        let new = attune::simulator::NewCustomer::new(&email, [("Title", "old"), ("Grade", "same")]);
        world.store().add_customer(new).unwrap();
        rows.push(format!("({number}, '{email}', 'old', 'same', '2026-01-01T00:00:00Z')"));
    }
    world.sql(&format!("INSERT INTO contacts (id, email, title, grade, updated_at) VALUES {}", rows.join(", "))).await;
    world.configure(&Config::new(&[TITLE, GRADE]));
    world.run("sync").await.ended(0);
    assert_eq!(world.store_writes(), 0);
    // An idle pass: the definitions, and a call for each of the two feeds.
    world.store().reset_report();
    world.run("sync").await.ended(0);
    let idle = world.store().report();
    let feeds = (idle.calls_of("GET customers"), idle.calls_of(VALUES));
    assert!(idle.total <= 3 + feeds.0.saturating_sub(1) + feeds.1.saturating_sub(1), "{:?}", idle.calls);
    world.edit("title = 'new'", "id <= 1000").await;
    world.store().reset_report();
    world.run("sync").await.ended(0);
    let report = world.store().report();
    assert_eq!(report.calls_of(PUT), 100, "{:?}", report.calls);
    let rechecks = report.calls_of(VALUES) - feeds.1;
    assert!(rechecks <= 34, "{rechecks} rechecks: {:?}", report.calls);
    assert_eq!(report.calls_of("GET customers"), feeds.0);
    assert_eq!(report.total, 100 + rechecks + idle.total, "{:?}", report.calls);
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_trouble_and_a_row_in_trouble_delay_nobody_else() {
    let world = World::of(12).await;
    for number in 1..=12 {
        let new = attune::simulator::NewCustomer::new(&format!("p{number}@example.com"), []);
        world.bolt().add_customer(new).unwrap();
    }
    world.configure(&Config::new(&[TITLE]).more(&world.second_store()));
    world.run("sync").await.ended(0);
    world.bolt().set_outage(true);
    world.edit("title = 'b'", "true").await;
    world.edit(&format!("title = '{}'", "x".repeat(256)), "id = 5").await;
    let said = world.run("sync --patience 1s").await.ended(75);
    let said = said.complains(&["attune: store bolt:"]);
    assert!(said.has_event("source.unreachable"), "{said:#?}");
    for number in (1..=12).filter(|number| *number != 5) {
        world.titles(number, "b").await;
    }
    assert_eq!(world.store().value(5, "Title"), None);
    world.bolt().set_outage(false);
    world.run("sync").await.ended(1);
    assert_eq!(world.bolt().value(1, "Title"), crate::world::text("b"));
    assert_eq!(world.reasons().await, ["cannot be taken"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_with_one_store_in_trouble_carries_the_other_s_edits() {
    let world = World::of(2).await;
    world.bolt().add_customer(attune::simulator::NewCustomer::new("p1@example.com", [])).unwrap();
    let poll = "poll = \"50ms\"\n";
    let config = Config::new(&[TITLE]).store(poll).crm(poll);
    world.configure(&config.more(&format!("{}{poll}", world.second_store())));
    world.bolt().change_behaviour(|behaviour| behaviour.slow.0 = 60_000);
    world.bolt().add_fault("slow".parse().unwrap()).unwrap();
    let child = world.command("run").spawn().unwrap();
    world.store().set_value(1, "Title", "a").unwrap();
    world.edit("title = 'b'", "id = 2").await;
    until("the edit of the CRM", || world.store().value(2, "Title").as_deref() == Some("b")).await;
    let began = Instant::now();
    terminate(&child).await;
    finish(child).await.ended(0);
    assert!(began.elapsed() < Duration::from_secs(15), "a call without an answer keeps it: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_quota_headers_is_written_all_the_same() {
    let mut behaviour = unlimited(Readings::default());
    behaviour.quota.headers = false;
    let world = World::with(behaviour).await;
    for _ in 0..30 {
        world.person(&[], &[("title", "'a'")]).await;
    }
    world.run("sync").await.ended(0);
    world.titles(30, "a").await;
    assert_eq!(world.store().report().throttled(), 0);
    world.is_quiet(0).await;
}
