//! Answers that are lost, late, or say nothing: pending, never sent twice within the quarantine, in agreement after it.

use crate::world::{Config, TITLE, World, text, until};

const PUT: &str = "PUT attribute-values";

/// Twenty edits whose upserts go wrong like this; what is in history while nobody knows.
async fn lost(fault: &str, takes_effect: bool) {
    let world = World::new().await;
    for _ in 0..20 {
        world.person(&[("Title", "old")], &[("title", "'old'")]).await;
    }
    let config = Config::new(&[TITLE]);
    world.configure(&config.quarantine("1h"));
    world.run("sync").await.ended(0);
    world.edit("title = 'new'", "true").await;
    world.store().change_behaviour(|behaviour| behaviour.late_effect.0 = 50);
    world.store().add_fault(format!("{fault}*2@{PUT}").parse().unwrap()).unwrap();
    let said = world.run("sync --json").await.ended(1).json();
    assert_eq!(said["stores"][0]["pending"], 20, "{fault}: {said}");
    assert_eq!(world.held().await.len(), 0, "{fault}: pending is not held");
    let history = world.history().await;
    assert_eq!(history.len(), 20);
    assert!(history.iter().all(|write| write["outcome"] == "unknown" && write["old"] == "old"), "{fault}: {history:?}");
    if takes_effect {
        let is_new = |id| world.store().value(id, "Title") == text("new");
        until("the effects", || (1..=20).all(is_new)).await;
    }
    // Neither side is touched while it may still take effect, whatever people do meanwhile.
    world.edit("title = 'newer'", "id = 1").await;
    world.store().set_value(2, "Title", "newest").unwrap();
    world.run("sync").await.ended(1);
    world.run("sync --sweep").await.ended(1);
    assert_eq!(world.store().report().calls_of(PUT), 2, "{fault}: nothing is sent again");
    assert_eq!(world.cell(2, "title").await, text("new"));
    world.configure(&config);
    world.run("sync").await;
    // What a person typed meanwhile is an edit: the later one, unless both were made within two seconds.
    let reasons = world.reasons().await;
    if !reasons.is_empty() {
        assert_eq!(reasons, ["conflict"], "{fault}");
        assert_eq!(world.both(2, "Title", "title").await, (text("newest"), text("new")));
        world.run("held resolve --take store --store acme --yes").await.ended(0);
    }
    world.settle().await;
    world.titles(2, "newest").await;
    world.titles(1, "newer").await;
    for id in 3..=20 {
        world.titles(id, "new").await;
    }
    let again = world.store().report().calls_of(PUT) - 2;
    assert!(again <= if takes_effect { 1 } else { 2 }, "{fault}: {again} upserts after the quarantine");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_after_the_effect() {
    lost("reset-after", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_and_carried_out_later() {
    lost("late-effect", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_error_after_the_effect() {
    lost("5xx-after", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_without_a_row() {
    lost("no-rows", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_an_answer() {
    lost("truncated", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_error_without_an_effect() {
    lost("5xx", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn html_after_a_write() {
    lost("html", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_delete_is_settled_by_reading_back_at_once() {
    let world = World::new().await;
    for _ in 0..5 {
        world.person(&[("Title", "old")], &[("title", "'old'")]).await;
    }
    world.configure(&Config::new(&[TITLE]).quarantine("1h"));
    world.run("sync").await.ended(0);
    world.edit("title = NULL", "true").await;
    world.store().add_fault("reset-after*1@DELETE attribute-values".parse().unwrap()).unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(world.store().report().calls_of("DELETE attribute-values"), 1);
    for id in 1..=5 {
        assert_eq!(world.store().value(id, "Title"), None);
    }
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_not_to_have_happened_is_sent_again() {
    let world = World::new().await;
    for _ in 0..20 {
        world.person(&[("Title", "old")], &[("title", "'old'")]).await;
    }
    world.configure(&Config::new(&[TITLE]).quarantine("1h"));
    world.run("sync").await.ended(0);
    world.edit("title = 'new'", "true").await;
    world.store().add_fault(format!("bare-429*1@{PUT}").parse().unwrap()).unwrap();
    world.run("sync").await.ended(0);
    world.titles(1, "new").await;
    world.titles(20, "new").await;
    assert_eq!(world.store().report().calls_of(PUT), 3);
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_reads_put_nothing_old_over_anything_new() {
    let world = World::new().await;
    for _ in 0..5 {
        world.person(&[("Title", "old")], &[("title", "'old'")]).await;
    }
    let config = Config::new(&[TITLE]);
    world.configure(&config);
    world.run("sync").await.ended(0);
    world.edit("title = 'new'", "true").await;
    world.run("sync").await.ended(0);
    // From now on the store's lists show what was, before our own writes.
    world.store().change_behaviour(|behaviour| behaviour.replica.lag_ms = 3_600_000);
    world.run("sync --sweep").await;
    world.run("sync --sweep").await;
    for id in 1..=5 {
        assert_eq!(world.cell(id, "title").await, text("new"), "a stale read is no edit");
    }
    world.store().change_behaviour(|behaviour| behaviour.replica.lag_ms = 0);
    world.settle().await;
    world.titles(1, "new").await;
    world.is_quiet(0).await;
}
