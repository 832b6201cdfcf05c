//! `/metrics`: what it tells of a daemon at work, and that asking delays nobody.

use std::time::{Duration, Instant};

use attune::daemon::Reloaded;
use attune::engine::Request;

use super::world::{Running, World, until};

/// The metrics as they are now.
struct Told(String);

impl Told {
    async fn by(daemon: &Running) -> Self {
        let address = daemon.control.address().unwrap();
        let answer = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let text = answer.text().await.unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        Self(text)
    }

    /// What a series stands at: `attune_lag_seconds{store="acme",crm="erp"}`.
    fn at(&self, series: &str) -> Option<f64> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }

    fn is(&self, series: &str, value: f64) -> bool {
        self.at(series) == Some(value)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted_and_how_things_stand_is_told() {
    let world = World::new(&["measured"], 2).await;
    world.edit_customer("measured", 1, "Buyer");
    world.edit_contact(2, "Seller").await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    until("both are written", async || daemon.outcomes().await.len() == 2).await;
    // Too long for the store: held.
    world.edit_contact(1, &"x".repeat(256)).await;
    let pair = "{store=\"measured\",crm=\"erp\"";
    until("how it stands is told", async || {
        let told = Told::by(&daemon).await;
        told.is(&format!("attune_held{pair},reason=\"cannot be taken\"}}"), 1.0)
            && told.is(&format!("attune_pair_state{pair},state=\"ok\"}}"), 1.0)
            && told.is(&format!("attune_pair_state{pair},state=\"new\"}}"), 0.0)
            && told.is(&format!("attune_linked_records{pair}}}"), 2.0)
            && told.is(&format!("attune_pending_fields{pair}}}"), 0.0)
            && told.is(&format!("attune_lag_seconds{pair}}}"), 0.0)
    })
    .await;
    let told = Told::by(&daemon).await;
    for series in [
        format!("attune_writes_total{pair},side=\"store\",outcome=\"written\"}}"),
        format!("attune_writes_total{pair},side=\"crm\",outcome=\"written\"}}"),
        format!("attune_newly_held_total{pair},reason=\"cannot be taken\"}}"),
        "attune_checkpoint_writable".to_owned(),
        "attune_config_last_reload_successful".to_owned(),
        "attune_source_state{store=\"measured\",state=\"ok\"}".to_owned(),
        "attune_source_state{crm=\"erp\",state=\"ok\"}".to_owned(),
        format!("attune_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(told.is(&series, 1.0), "{series} is {:?}\n{}", told.at(&series), told.0);
    }
    assert!(told.is(&format!("attune_links_created_total{pair}}}"), 2.0), "{}", told.0);
    assert!(told.is("attune_loops{state=\"turning\"}", 4.0) && told.is("attune_loops{state=\"stuck\"}", 0.0));
    for series in [
        "attune_http_calls_total{store=\"measured\",outcome=\"ok\"}".to_owned(),
        "attune_reads_total{store=\"measured\",outcome=\"whole\"}".to_owned(),
        "attune_reads_total{crm=\"erp\",outcome=\"whole\"}".to_owned(),
        "attune_sweep_duration_seconds_count{crm=\"erp\"}".to_owned(),
        "attune_quota_limit_calls{store=\"measured\"}".to_owned(),
        "attune_quota_left_calls{store=\"measured\"}".to_owned(),
        "attune_checkpoint_size_bytes".to_owned(),
        format!("attune_pass_duration_seconds_count{pair},outcome=\"completed\"}}"),
        format!("attune_recheck_window_seconds_count{pair}}}"),
        format!("attune_last_pass_timestamp_seconds{pair}}}"),
    ] {
        assert!(told.at(&series) > Some(0.0), "{series} is {:?}", told.at(&series));
    }
    // Within seconds: it polls every 200 ms, BigCommerce dates in whole seconds.
    let age = told.at("attune_cursor_age_seconds{store=\"measured\"}").unwrap();
    assert!((0.0..15.0).contains(&age), "{age}");
    assert!(!told.0.contains('@') && !told.0.contains("xxx"), "{}", told.0);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_in_trouble_is_told_and_a_store_that_goes_takes_its_series_along() {
    let mut world = World::new(&["staying", "leaving"], 1).await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    world.store("leaving").set_outage(true);
    until("the outage is told", async || {
        let told = Told::by(&daemon).await;
        told.is("attune_source_state{store=\"leaving\",state=\"unreachable\"}", 1.0)
            && told.is("attune_pair_state{store=\"leaving\",crm=\"erp\",state=\"unreachable\"}", 1.0)
            && told.is("attune_source_state{store=\"staying\",state=\"ok\"}", 1.0)
            && told.is("attune_outages_total{store=\"leaving\",reason=\"unreachable\"}", 1.0)
            && told.at("attune_reads_total{store=\"leaving\",outcome=\"failed\"}") > Some(0.0)
            && told.at("attune_http_calls_total{store=\"leaving\",outcome=\"unanswered\"}") > Some(0.0)
    })
    .await;
    let paused = daemon.ask(&Request::Pause { name: "staying".to_owned() }).await;
    assert!(paused.done, "{paused:?}");
    until("the pause is told", async || {
        Told::by(&daemon).await.is("attune_source_state{store=\"staying\",state=\"paused\"}", 1.0)
    })
    .await;

    // Not taken: it is told, and the one before goes on being told of.
    let sound = std::fs::read_to_string(world.path("attune.toml")).unwrap();
    std::fs::write(world.path("attune.toml"), sound.replace("store_hash", "store_hsah")).unwrap();
    assert!(matches!(daemon.control.reload().await.unwrap(), Reloaded::Rejected(_)));
    let told = Told::by(&daemon).await;
    assert!(told.is("attune_config_last_reload_successful", 0.0) && told.0.contains("leaving"), "{}", told.0);

    let reads = told.at("attune_reads_total{crm=\"erp\",outcome=\"whole\"}");
    world.names.retain(|name| name != "leaving");
    world.configure("");
    assert_eq!(daemon.control.reload().await.unwrap(), Reloaded::Taken);
    until("the other is told of again", async || {
        Told::by(&daemon).await.at("attune_lag_seconds{store=\"staying\",crm=\"erp\"}").is_some()
    })
    .await;
    let told = Told::by(&daemon).await;
    assert!(!told.0.contains("leaving"), "{}", told.0);
    assert!(told.is("attune_config_last_reload_successful", 1.0));
    assert!(told.at("attune_config_reloads_total{outcome=\"rejected\"}") >= Some(1.0));
    assert!(told.at("attune_reads_total{crm=\"erp\",outcome=\"whole\"}") >= reads, "it goes on where it was");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_waits_for_no_loop_and_no_loop_for_asking() {
    let world = World::new(&["asked-much"], 3).await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    // Somebody writes the checkpoint for long: it is told of all the same.
    let writing = daemon.checkpoint.begin().await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let began = Instant::now();
    let told = Told::by(&daemon).await;
    let took = began.elapsed();
    let age = told.at("attune_report_age_seconds").unwrap();
    assert!(took < Duration::from_secs(3) && age < 3.0, "it took {took:?}, and was {age} s old");
    writing.end().await.unwrap();

    // Many ask at once, and edits travel meanwhile.
    let asking = futures::future::join_all((0..50).map(|_| Told::by(&daemon)));
    let editing = async {
        for title in ["one", "two", "three"] {
            world.edit_contact(1, title).await;
            until("an edit travels", async || world.customer("asked-much", 1).as_deref() == Some(title)).await;
        }
    };
    let (told, ()) = futures::join!(asking, editing);
    assert_eq!(told.len(), 50);
    daemon.stop().await;
}
