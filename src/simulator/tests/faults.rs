//! Every fault, as a client that knows nothing of it meets it.

use super::*;

/// A bench on which the next call fails this way.
async fn failing(fault: Fault) -> Bench {
    Bench::behaving(|behaviour| behaviour.faults = vec![FaultRule::next(1, fault)]).await
}

fn title(bench: &Bench) -> Option<String> {
    bench.store().value(1, "Job title")
}

#[tokio::test]
async fn a_server_error_comes_before_or_after_the_effect() {
    for (fault, done) in [(Fault::ServerError, false), (Fault::ServerErrorAfter, true)] {
        let bench = failing(fault).await;
        let got = bench.upsert(json!([row(1, 1, "x")])).await;
        assert!([500, 502, 503, 504].contains(&got.status), "{}", got.status);
        assert_eq!((title(&bench).as_deref() == Some("x"), got.title()), (done, ""), "{fault}");
        assert_eq!(bench.upsert(json!([row(1, 1, "x")])).await.status, 200, "only once");
        assert_eq!(bench.store().report().faults[fault.as_str()], 1);
    }
}

#[tokio::test]
async fn a_reset_comes_before_or_after_the_effect() {
    for (fault, done) in [(Fault::ResetBefore, false), (Fault::ResetAfter, true)] {
        let bench = failing(fault).await;
        let body = json!([row(1, 1, "x")]);
        let error = bench.request("PUT", VALUES).json(&body).send().await.unwrap_err();
        assert!(error.is_request() && !error.is_connect() && !error.is_timeout(), "{error:?}");
        assert_eq!(title(&bench).as_deref() == Some("x"), done, "{fault}");
        let logged = bench.store().requests();
        assert_eq!((logged[0].status, logged[0].fault), (0, Some(fault)));
        assert_eq!(bench.upsert(body).await.status, 200);
    }
}

#[tokio::test]
async fn a_late_effect_comes_when_nobody_expects_it_any_more() {
    let bench = failing(Fault::LateEffect).await;
    bench.store().change_behaviour(|behaviour| behaviour.late_effect.0 = 3_600_000);
    bench.request("PUT", VALUES).json(&json!([row(1, 1, "late")])).send().await.unwrap_err();
    assert_ne!(title(&bench).as_deref(), Some("late"));
    bench.upsert(json!([row(1, 1, "newer")])).await;
    bench.simulator.advance(Duration::from_millis(3_600_000));
    assert_eq!(title(&bench).as_deref(), Some("late"));
}

#[tokio::test]
async fn a_truncated_body_ends_early() {
    let bench = failing(Fault::Truncated).await;
    let answer = bench.request("GET", CUSTOMERS).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let length = answer.content_length().unwrap();
    assert!(length > 1_000);
    let error = answer.bytes().await.unwrap_err();
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    // Of a write: it was done all the same.
    let bench = failing(Fault::Truncated).await;
    let answer = bench.request("PUT", VALUES).json(&json!([row(1, 1, "x")])).send().await.unwrap();
    assert!(answer.bytes().await.is_err());
    assert_eq!(title(&bench).as_deref(), Some("x"));
}

#[tokio::test]
async fn absurd_bodies_are_answered_with_200() {
    let bench = failing(Fault::Html).await;
    let answer = bench.request("GET", CUSTOMERS).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/html; charset=UTF-8");
    assert!(answer.text().await.unwrap().starts_with("<!DOCTYPE html>"));

    let got = failing(Fault::WrongShape).await.get(CUSTOMERS).await;
    assert_eq!((got.status, got.body["data"].is_object()), (200, true));

    let bench = failing(Fault::NoRows).await;
    let got = bench.upsert(json!([row(1, 1, "x")])).await;
    assert_eq!((got.status, &got.body["data"]), (200, &json!([])));
    assert_eq!(title(&bench).as_deref(), Some("x"), "it was done");
}

#[tokio::test]
async fn a_huge_body_goes_on_and_on() {
    let bench = failing(Fault::Huge).await;
    let mut answer = bench.request("GET", CUSTOMERS).send().await.unwrap();
    assert_eq!(answer.content_length(), Some(1 << 30));
    let mut read = 0;
    while read < 1 << 20 {
        read += answer.chunk().await.unwrap().unwrap().len();
    }
    drop(answer);
    let bench = failing(Fault::Huge).await;
    bench.store().change_behaviour(|behaviour| behaviour.huge_body.0 = 100_000);
    let text = bench.request("GET", CUSTOMERS).send().await.unwrap().text().await.unwrap();
    assert_eq!((text.len(), &text[..9]), (100_000, r#"{"data":["#));
}

#[tokio::test]
async fn slowness_comes_before_or_after_the_effect() {
    for (fault, done) in [(Fault::Slow, false), (Fault::SlowAfter, true)] {
        let bench = failing(fault).await;
        bench.store().change_behaviour(|behaviour| behaviour.slow.0 = 3_600_000);
        let waiting = tokio::spawn(bench.request("PUT", VALUES).json(&json!([row(1, 1, "x")])).send());
        until("the call", || bench.store().report().faults.contains_key(fault.as_str())).await;
        if done {
            until("the effect", || title(&bench).as_deref() == Some("x")).await;
        } else {
            assert_ne!(title(&bench).as_deref(), Some("x"));
        }
        assert!(!waiting.is_finished(), "the answer takes an hour");
        waiting.abort();
    }
}

#[tokio::test]
async fn who_hangs_up_on_a_write_does_not_undo_it() {
    let bench = failing(Fault::Slow).await;
    bench.store().change_behaviour(|behaviour| behaviour.slow.0 = 100);
    let hasty = tokio::spawn(bench.request("PUT", VALUES).json(&json!([row(1, 1, "x")])).send());
    until("the call", || bench.store().report().total == 1).await;
    hasty.abort();
    until("the effect", || title(&bench).as_deref() == Some("x")).await;
}

#[tokio::test]
async fn refusals_out_of_the_blue() {
    let got = failing(Fault::Bare429).await.get(CUSTOMERS).await;
    assert_eq!((got.status, got.header("x-rate-limit-requests-left"), got.header("x-retry-after")), (429, None, None));
    assert_eq!(failing(Fault::Unauthorized).await.get(CUSTOMERS).await.status, 401);
    assert_eq!(failing(Fault::Forbidden).await.get(CUSTOMERS).await.status, 403);
}

#[tokio::test]
async fn a_page_repeats_for_ever() {
    let bench = Bench::behaving(|behaviour| behaviour.faults = vec![FaultRule::always(Fault::RepeatPage)]).await;
    for path in ["/v3/customers?limit=10", "/v3/customers/attribute-values?limit=10"] {
        let first = bench.get(path).await;
        for page in [2, 50] {
            let got = bench.get(&format!("{path}&page={page}")).await;
            assert_eq!(got.ids(), first.ids());
            assert!(got.body["meta"]["pagination"]["links"]["next"].is_string());
        }
    }
    let mut next = "?limit=10".to_owned();
    for _ in 0..5 {
        let got = bench.get(&format!("/v3/customers{next}")).await;
        assert_eq!(got.ids(), (1..=10).collect::<Vec<_>>());
        next = got.body["meta"]["cursor_pagination"]["links"]["next"].as_str().unwrap().to_owned();
    }
}

#[tokio::test]
async fn an_outage_resets_one_store_and_leaves_the_other() {
    let mut settings = settings();
    settings.stores.push(StoreSettings { hash: "other".to_owned(), ..StoreSettings::default() });
    let bench = Bench::with(settings).await;
    bench.store().set_outage(true);
    assert!(bench.request("GET", CUSTOMERS).send().await.is_err());
    let other = format!("{}/stores/other/v3/customers", bench.simulator.url());
    assert_eq!(bench.send(bench.client.get(other).header("X-Auth-Token", "token")).await.status, 200);
    bench.store().set_outage(false);
    assert_eq!(bench.get(CUSTOMERS).await.status, 200);
}

#[tokio::test]
async fn connections_are_refused_and_accepted_again() {
    let bench = Bench::new().await;
    assert_eq!(bench.get(CUSTOMERS).await.status, 200);
    for _ in 0..3 {
        bench.simulator.refuse_connections(true).await;
        // A pooled connection may fail first; a new one is refused.
        let fresh = reqwest::Client::builder().no_proxy().build().unwrap();
        let error = fresh.get(bench.simulator.url()).send().await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        bench.simulator.refuse_connections(false).await;
        let fresh = reqwest::Client::builder().no_proxy().build().unwrap();
        assert!(fresh.get(format!("{}/_simulator", bench.simulator.url())).send().await.is_ok());
    }
}

#[tokio::test]
async fn rules_have_probabilities_budgets_and_calls_they_leave_alone() {
    let statuses = async |faults: Vec<FaultRule>, calls: usize| {
        let mut settings = settings();
        settings.stores[0].behaviour.faults = faults;
        settings.stores[0].behaviour.quota.unlimited = true;
        let bench = Bench::with(settings).await;
        let mut statuses = Vec::new();
        for _ in 0..calls {
            statuses.push(bench.get("/v2/time").await.status);
        }
        statuses
    };
    let script = FaultRule { skip: 1, ..FaultRule::next(2, Fault::Unauthorized) };
    assert_eq!(
        statuses(vec![script.clone(), FaultRule::next(1, Fault::Forbidden)], 5).await,
        [403, 401, 401, 200, 200]
    );
    assert_eq!(statuses(vec![FaultRule::always(Fault::Forbidden).on("PUT")], 2).await, [200, 200]);
    assert_eq!(statuses(vec![FaultRule::always(Fault::Forbidden).on("GET time")], 2).await, [403, 403]);
    let half = vec![FaultRule { probability: 0.5, ..FaultRule::always(Fault::Forbidden) }];
    let drawn = statuses(half.clone(), 60).await;
    let failed = drawn.iter().filter(|status| **status == 403).count();
    assert!((15..45).contains(&failed), "{failed} of 60");
    assert_eq!(drawn, statuses(half, 60).await, "the same seed, the same luck");
}
