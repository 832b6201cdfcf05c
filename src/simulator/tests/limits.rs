//! Quota, concurrency, lag.

use super::*;
use crate::simulator::settings::{Quota, Replica};

#[tokio::test]
async fn the_quota_is_shown_on_every_answer_and_kept() {
    let quota = Quota { calls: 3, window_ms: 3_600_000, ..Quota::default() };
    let bench = Bench::behaving(|behaviour| behaviour.quota = quota).await;
    for left in ["2", "1", "0"] {
        let got = bench.get("/v2/time").await;
        assert_eq!((got.status, got.header("x-rate-limit-requests-left")), (200, Some(left)));
        assert_eq!(got.header("x-rate-limit-requests-quota"), Some("3"));
        assert_eq!(got.header("x-rate-limit-time-window-ms"), Some("3600000"));
        assert!(got.header("x-rate-limit-time-reset-ms").unwrap().parse::<u64>().unwrap() <= 3_600_000);
        assert!(got.header("x-retry-after").is_none());
    }
    let refused = bench.get(CUSTOMERS).await;
    let reset_ms: u64 = refused.header("x-rate-limit-time-reset-ms").unwrap().parse().unwrap();
    assert_eq!((refused.status, refused.header("x-rate-limit-requests-left")), (429, Some("0")));
    assert_eq!(refused.header("x-retry-after"), Some(reset_ms.div_ceil(1000).to_string().as_str()));
    let report = bench.store().report();
    assert_eq!((report.throttled(), report.throttled_by_quota, report.violations), (1, 1, 0));
    bench.simulator.advance(Duration::from_millis(3_600_000));
    assert_eq!(bench.get(CUSTOMERS).await.status, 200);
}

#[tokio::test]
async fn other_apps_use_the_same_quota() {
    let quota = Quota { calls: 100, other_apps: 100, window_ms: 3_600_000, ..Quota::default() };
    let bench = Bench::behaving(|behaviour| behaviour.quota = quota).await;
    bench.simulator.advance(Duration::from_millis(1_800_000));
    let left: u64 = bench.get("/v2/time").await.header("x-rate-limit-requests-left").unwrap().parse().unwrap();
    assert!((45..50).contains(&left), "half the window, half the quota: {left}");
}

#[tokio::test]
async fn a_quota_may_be_unlimited_or_not_shown() {
    let bench = Bench::behaving(|behaviour| behaviour.quota.unlimited = true).await;
    let got = bench.get("/v2/time").await;
    assert_eq!(got.header("x-rate-limit-requests-quota"), Some("16101495"));
    bench.store().change_behaviour(|behaviour| {
        behaviour.quota = Quota { calls: 0, headers: false, ..Quota::default() };
    });
    let got = bench.get("/v2/time").await;
    assert_eq!((got.status, got.header("x-rate-limit-requests-left"), got.header("x-retry-after")), (429, None, None));
}

#[tokio::test]
async fn a_fourth_write_at_once_is_refused_without_headers() {
    let bench = Bench::behaving(|behaviour| {
        behaviour.slow.0 = 3_600_000;
        behaviour.faults = vec![FaultRule::next(3, Fault::Slow).on("PUT attribute-values")];
    })
    .await;
    let body = json!([row(1, 1, "x")]);
    let stuck: Vec<_> = (0..3).map(|_| tokio::spawn(bench.request("PUT", VALUES).json(&body).send())).collect();
    let busy = || bench.store().report().highest_concurrency_of.get("PUT attribute-values") == Some(&3);
    until("three under way", busy).await;
    let fourth = bench.upsert(body).await;
    assert_eq!((fourth.status, fourth.header("x-rate-limit-requests-left")), (429, None));
    assert!(fourth.header("x-request-id").is_some());
    // Another endpoint has a limit of its own, and reads have none.
    assert_eq!(bench.write("PUT", CUSTOMERS, json!([{ "id": 1, "phone": "1" }])).await.status, 200);
    assert_eq!(bench.get(VALUES).await.status, 200);
    let report = bench.store().report();
    assert_eq!((report.throttled_by_concurrency, report.violations, report.highest_concurrency), (1, 1, 4));
    for stuck in stuck {
        stuck.abort();
    }
}

#[tokio::test]
async fn reads_may_have_a_limit_too() {
    let bench = Bench::behaving(|behaviour| {
        behaviour.concurrency.reads = 1;
        behaviour.slow.0 = 3_600_000;
        behaviour.faults = vec![FaultRule::next(1, Fault::Slow)];
    })
    .await;
    let stuck = tokio::spawn(bench.request("GET", VALUES).send());
    until("one under way", || bench.store().report().highest_concurrency == 1).await;
    assert_eq!(bench.get(VALUES).await.status, 429);
    // A reader that hangs up makes room.
    stuck.abort();
    let mut got = 429;
    while got == 429 {
        got = bench.get(VALUES).await.status;
    }
    assert_eq!(got, 200);
}

#[tokio::test]
async fn lists_lag_behind_writes() {
    let bench = Bench::behaving(|behaviour| behaviour.replica = Replica { lag_ms: 3_600_000, share: 1.0 }).await;
    let listed = async || {
        let got = bench.get(&format!("{VALUES}?customer_id:in=1&attribute_id:in=1")).await;
        got.body["data"][0]["attribute_value"].as_str().unwrap().to_owned()
    };
    let old = listed().await;
    let written = bench.upsert(json!([row(1, 1, "new")])).await;
    assert_eq!(written.body["data"][0]["attribute_value"], "new", "the answer to the write is not a list");
    let id = bench.store().add_customer(NewCustomer::default()).unwrap();
    bench.store().create_attribute("Later", AttributeKind::Date).unwrap();
    assert_eq!((listed().await, bench.store().value(1, "Job title").as_deref()), (old, Some("new")));
    assert_eq!((bench.get(CUSTOMERS).await.total(), bench.get(ATTRIBUTES).await.total()), (30, 3));
    bench.simulator.advance(Duration::from_millis(3_600_000));
    assert_eq!(listed().await, "new");
    assert_eq!((bench.get(CUSTOMERS).await.total(), bench.get(ATTRIBUTES).await.total()), (31, 4));
    assert_eq!(bench.get("/v3/customers?id:in=31").await.ids(), [id]);
}

#[tokio::test]
async fn a_share_of_the_reads_lags_and_what_is_read_jumps_back_and_forth() {
    let bench = Bench::behaving(|behaviour| behaviour.replica = Replica { lag_ms: 3_600_000, share: 0.5 }).await;
    bench.store().delete_customer(1).unwrap();
    let mut totals = Vec::new();
    for _ in 0..40 {
        totals.push(bench.get("/v3/customers?limit=1").await.total());
    }
    assert!(totals.contains(&29) && totals.contains(&30), "{totals:?}");
}

#[tokio::test]
async fn latency_is_the_least_an_answer_takes() {
    let bench = Bench::behaving(|behaviour| behaviour.latency_ms = 30).await;
    let before = std::time::Instant::now();
    bench.get("/v2/time").await;
    assert!(before.elapsed() >= Duration::from_millis(30));
}
