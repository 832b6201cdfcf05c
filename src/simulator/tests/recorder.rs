//! The record of calls: whole, without tokens, shared.

use std::path::Path;

use super::*;

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn recording(path: &Path, change: impl FnOnce(&mut Behaviour)) -> Bench {
    let mut settings = settings();
    settings.record = Some(path.to_owned());
    settings.stores[0].behaviour.quota.unlimited = true;
    change(&mut settings.stores[0].behaviour);
    Bench::with(settings).await
}

#[tokio::test]
async fn a_call_is_recorded_whole_but_for_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.jsonl");
    let bench = recording(&path, |_| ()).await;
    let wrote = bench.upsert(json!([row(1, 1, "Größe \"x\"\n")])).await;
    let read = bench.get("/v3/customers/attribute-values?customer_id:in=1&limit=9").await;
    assert_eq!(bench.delete("/v3/customers/attribute-values?id:in=1").await.status, 204);
    assert_eq!(bench.get("/v3/nothing?x").await.status, 404);
    // A token that somebody puts in the wrong place is no better there.
    let header = bench.request("GET", "/v2/time").header("X-Auth-Client", "secret-token");
    assert_eq!(bench.send(header).await.status, 200);
    assert!(bench.simulator.record_is_complete().is_ok());

    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(":\"token\"") && !text.contains("secret-token"), "{text}");
    let lines = lines(&path);
    let told: Vec<_> =
        lines.iter().map(|line| json!([line["method"], line["path"], line["query"], line["status"]])).collect();
    assert_eq!(
        json!(told),
        json!([
            ["PUT", VALUES, null, 200],
            ["GET", VALUES, "customer_id:in=1&limit=9", 200],
            ["DELETE", VALUES, "id:in=1", 204],
            ["GET", "/v3/nothing", "x", 404],
            ["GET", "/v2/time", null, 200],
        ])
    );
    let body = |value: &Value| serde_json::from_str::<Value>(value.as_str().unwrap()).unwrap();
    assert_eq!(body(&lines[0]["request"]), json!([row(1, 1, "Größe \"x\"\n")]));
    assert_eq!((body(&lines[0]["answer"]), body(&lines[1]["answer"])), (wrote.body, read.body));
    assert_eq!(
        (&lines[1]["request"], &lines[2]["answer"], &lines[2]["answer_bytes"]),
        (&json!(null), &json!(null), &json!(0))
    );
    assert_eq!((&lines[0]["store"], &lines[0]["fault"]), (&json!("abc123"), &json!(null)));
    let headers = &lines[0]["headers"];
    assert_eq!(
        (&headers["content-type"], &headers["x-auth-token"]),
        (&json!("application/json"), &json!("not recorded"))
    );
}

#[tokio::test]
async fn what_went_wrong_on_purpose_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (fault, status, with_answer) in [
        (Fault::Html, 200, true),
        (Fault::Truncated, 200, false),
        (Fault::ResetAfter, 0, false),
        (Fault::Unauthorized, 401, true),
    ] {
        let path = folder.path().join(fault.as_str());
        let bench = recording(&path, |behaviour| behaviour.faults = vec![FaultRule::always(fault)]).await;
        if let Ok(answer) = bench.request("GET", CUSTOMERS).send().await {
            let _ = answer.bytes().await;
        }
        let line = &lines(&path)[0];
        assert_eq!((&line["fault"], &line["status"]), (&json!(fault.as_str()), &json!(status)));
        assert_eq!(line["answer"].is_string(), with_answer, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_simulators_share_a_file_and_its_lines_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.jsonl");
    let benches = [recording(&path, |_| ()).await, recording(&path, |_| ()).await, recording(&path, |_| ()).await];
    let calls = benches.iter().map(async |bench| {
        for _ in 0..20 {
            bench.get("/v3/customers?limit=30&include=attributes").await;
        }
    });
    futures::future::join_all(calls).await;
    let lines = lines(&path);
    assert_eq!(lines.len(), 60);
    assert!(lines.iter().all(|line| line["answer"].as_str().unwrap().len() > 4096), "more than a page of memory each");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_left_out_and_its_length_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.jsonl");
    let bench = recording(&path, |_| ()).await;
    for (length, kept) in [(1_000, true), (2 << 20, false)] {
        bench.upsert(json!([row(1, 1, &"x".repeat(length))])).await;
        let line = lines(&path).pop().unwrap();
        assert_eq!(line["request"].is_string(), kept);
        assert!(line["request_bytes"].as_u64().unwrap() > length as u64);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_record_that_cannot_be_written_is_said() {
    let mut settings = settings();
    settings.record = Some("/nowhere/calls.jsonl".into());
    let refused = start(settings).await.unwrap_err().to_string();
    assert!(refused.contains("cannot record calls to /nowhere/calls.jsonl"), "{refused}");

    let bench = recording(Path::new("/dev/full"), |_| ()).await;
    assert!(bench.simulator.record_is_complete().is_ok());
    assert_eq!(bench.get(CUSTOMERS).await.status, 200, "the store serves all the same");
    let incomplete = bench.simulator.record_is_complete().unwrap_err().to_string();
    assert!(incomplete.contains("/dev/full"), "{incomplete}");
}
