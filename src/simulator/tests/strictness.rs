//! What is refused, and how.

use super::*;

#[tokio::test]
async fn unknown_parameters_are_named_and_counted() {
    let bench = Bench::new().await;
    for (path, named) in [
        ("/v3/customers?foo=1", "foo"),
        ("/v3/customers?page=1&foo=1&bar=2", "foo, bar"),
        ("/v3/customers?customer_id=1", "customer_id"),
        ("/v3/customers?date_modified:greater=2026-01-02T03:04:05Z", "date_modified:greater"),
        ("/v3/customers/attributes?id:in=1", "id:in"),
        ("/v3/customers/attributes?name:in=a", "name:in"),
        ("/v3/customers/attribute-values?id:in=1", "id:in"),
        ("/v3/customers/attribute-values?sort=id:asc", "sort"),
        ("/v3/customers/attribute-values?after=eyJpZCI6MjA0fQ", "after"),
        ("/v3/customers?&page=2", ""),
        ("/v3/customers?", ""),
    ] {
        let before = bench.violations();
        let got = bench.get(path).await;
        assert_eq!(got.status, 422, "{path}");
        assert_eq!(got.title(), format!("The filter(s): {named} are not valid filter parameter(s)."), "{path}");
        assert_eq!((got.body["status"].as_u64(), &got.body["errors"]), (Some(422), &json!({})));
        assert!(got.body["type"].as_str().unwrap().ends_with("/api-status-codes"));
        assert_eq!(bench.violations(), before + 1, "{path}");
    }
}

#[tokio::test]
async fn values_of_parameters_that_mean_nothing_are_refused() {
    let bench = Bench::new().await;
    for path in [
        "/v3/customers?page=0",
        "/v3/customers?limit=0",
        "/v3/customers?limit=ten",
        "/v3/customers?id:in=",
        "/v3/customers?id:in=1,,2",
        "/v3/customers?id:in=one",
        "/v3/customers?email:in=",
        "/v3/customers?include=everything",
        "/v3/customers?sort=email:asc",
        "/v3/customers?sort=date_modified",
        "/v3/customers?after=204",
        "/v3/customers?after=eyJpZCI6MX0&before=eyJpZCI6Mn0",
        "/v3/customers?page=1&page=2",
        "/v3/customers/attributes?type=text",
        "/v3/customers/attribute-values?customer_id:in=",
        "/v3/customers/attribute-values?attribute_id:in=",
    ] {
        assert_eq!(bench.get(path).await.status, 422, "{path}");
    }
    let got = bench.get("/v3/customers?limit=251").await;
    assert_eq!((got.status, bench.get("/v3/customers?limit=250").await.status), (413, 200));
    assert_eq!(bench.violations(), 17);
}

#[tokio::test]
async fn dates_are_taken_as_they_stand_in_the_url() {
    let bench = Bench::new().await;
    for (filter, status) in [
        ("date_modified:min=2025-01-02T03:04:05Z", 200),
        ("date_modified%3Amin=2025-01-02T03:04:05Z", 200),
        ("date_modified:min=2025-01-02T03:04:05", 200),
        ("date_modified:min=2025-01-02T03:04:05-0400", 200),
        ("date_modified:min=2025-01-02T03%3A04%3A05Z", 422),
        ("date_modified:min=2025-01-02T03:04:05+00:00", 422),
        ("date_modified:min=2025-01-02T03:04:05.123Z", 422),
        ("date_modified:min=yesterday", 422),
        ("date_modified:min=", 422),
    ] {
        for endpoint in [CUSTOMERS, ATTRIBUTES, VALUES] {
            assert_eq!(bench.get(&format!("{endpoint}?{filter}")).await.status, status, "{endpoint} {filter}");
        }
    }
    // Unix times, in milliseconds, only where the documents have them.
    let unix = "date_modified:min=1735689600000";
    assert_eq!(bench.get(&format!("{VALUES}?{unix}")).await.total(), 90);
    assert_eq!(bench.get(&format!("{CUSTOMERS}?{unix}")).await.status, 422);
}

#[tokio::test]
async fn tokens_and_scopes_are_checked() {
    let bench = Bench::new().await;
    let url = format!("{}/stores/abc123/v3/customers", bench.simulator.url());
    let without = bench.send(bench.client.get(&url)).await;
    let wrong = bench.send(bench.client.get(&url).header("X-Auth-Token", "guess")).await;
    assert_eq!((without.status, wrong.status), (401, 401));
    assert!(wrong.header("x-request-id").is_some());

    bench.store().set_scopes(&[Scope::CustomersRead]);
    assert_eq!(bench.get(CUSTOMERS).await.status, 200);
    let refused = bench.upsert(json!([row(1, 1, "x")])).await;
    assert_eq!((refused.status, refused.title()), (403, "You don't have a required scope to access the endpoint"));
    assert_eq!(bench.get("/v2/time").await.status, 403);
    bench.store().set_scopes(&[Scope::InformationRead]);
    assert_eq!((bench.get(CUSTOMERS).await.status, bench.get("/v2/time").await.status), (403, 200));

    bench.store().set_token("another");
    let revoked = bench.get("/v2/time").await;
    assert_eq!(revoked.status, 401);
    assert!(revoked.body.is_array(), "errors of version 2 are lists: {}", revoked.body);
    // Who is refused for what the operator did has no defect.
    assert_eq!(bench.violations(), 0);
}

#[tokio::test]
async fn only_what_there_is_is_there() {
    let bench = Bench::new().await;
    assert_eq!(bench.get("/v3/customers/1").await.status, 404);
    assert_eq!(bench.get("/v3/nothing").await.status, 404);
    assert_eq!(bench.write("POST", VALUES, json!([])).await.status, 405);
    assert_eq!(bench.write("PATCH", CUSTOMERS, json!([])).await.status, 405);
    let elsewhere = bench.client.get(format!("{}/stores/other/v3/customers", bench.simulator.url()));
    assert_eq!(elsewhere.send().await.unwrap().status().as_u16(), 404);
    let long = format!("{CUSTOMERS}?email:in={}", "a".repeat(9_000));
    assert_eq!(bench.get(&long).await.status, 414);
}

#[tokio::test]
async fn bodies_are_lists_of_known_fields_declared_as_json() {
    let bench = Bench::new().await;
    let not_json = bench.send(bench.request("PUT", VALUES).body("[]")).await;
    assert_eq!(not_json.status, 415);
    let broken = bench.request("PUT", VALUES).header("Content-Type", "application/json").body("[{");
    assert_eq!(bench.send(broken).await.status, 400);
    for (method, path, body, field, what) in [
        ("PUT", VALUES, row(1, 1, "x"), "", "error.expected.jsarray"),
        ("PUT", VALUES, json!(["x"]), "", "error.expected.jsobject"),
        (
            "PUT",
            VALUES,
            json!([{ "customer_id": 1, "attribute_id": 1, "attribute_value": "x" }]),
            "attribute_value",
            "error.unexpected",
        ),
        ("PUT", VALUES, json!([{ "customer_id": 1, "attribute_id": 1 }]), "value", "error.path.missing"),
        (
            "PUT",
            VALUES,
            json!([{ "customer_id": 1, "attribute_id": 1, "value": 7 }]),
            "value",
            "error.expected.jsstring",
        ),
        (
            "PUT",
            VALUES,
            json!([{ "customer_id": "1", "attribute_id": 1, "value": "" }]),
            "customer_id",
            "error.expected.jsnumber",
        ),
        ("POST", CUSTOMERS, json!([{ "email": "a@b.c", "first_name": "A" }]), "last_name", "error.path.missing"),
        ("PUT", CUSTOMERS, json!([{ "first_name": "A" }]), "id", "error.path.missing"),
        ("PUT", CUSTOMERS, json!([{ "id": 1, "attributes": [] }]), "attributes", "error.unexpected"),
        ("POST", ATTRIBUTES, json!([{ "name": "A" }]), "type", "error.path.missing"),
        ("PUT", ATTRIBUTES, json!([{ "id": 1, "name": "A", "type": "date" }]), "type", "error.unexpected"),
    ] {
        let before = bench.violations();
        let got = bench.write(method, path, body.clone()).await;
        assert_eq!((got.status, got.title()), (422, "JSON data is missing or invalid"), "{body}");
        assert_eq!(got.body["errors"][field], what, "{body}");
        assert_eq!(bench.violations(), before + 1);
    }
}

#[tokio::test]
async fn batches_have_ten_rows_at_most() {
    let bench = Bench::new().await;
    let values = |count: u64| (1..=count).map(|id| row(id, 1, "x")).collect::<Value>();
    assert_eq!(bench.upsert(values(10)).await.status, 200);
    let refused = bench.upsert(values(11)).await;
    assert_eq!((refused.status, refused.title()), (422, "Max batch size allowed is 10"));
    let names = |count: u64| (1..=count).map(|id| json!({ "id": id, "company": "x" })).collect::<Value>();
    assert_eq!(bench.write("PUT", CUSTOMERS, names(10)).await.status, 200);
    assert_eq!(bench.write("PUT", CUSTOMERS, names(11)).await.status, 413);
    assert_eq!(bench.violations(), 2);
}

#[tokio::test]
async fn deletes_need_ids() {
    let bench = Bench::new().await;
    // Customers: "a 204 is returned, with no changes".
    assert_eq!(bench.delete(CUSTOMERS).await.status, 204);
    assert_eq!((bench.get(CUSTOMERS).await.total(), bench.violations()), (30, 1));
    for path in [ATTRIBUTES, VALUES] {
        assert_eq!(bench.delete(path).await.status, 422);
    }
    for path in [CUSTOMERS, ATTRIBUTES, VALUES] {
        assert_eq!(bench.delete(&format!("{path}?id:in=")).await.status, 422);
    }
    assert_eq!((bench.get(VALUES).await.total(), bench.violations()), (90, 6));
}

#[tokio::test]
async fn what_is_taken_though_no_client_should_send_it_is_counted() {
    let bench = Bench::new().await;
    let new = json!([{ "email": "a@b.c", "first_name": "A", "last_name": "B" }]);
    assert_eq!(bench.write("POST", CUSTOMERS, new).await.status, 200);
    let report = bench.store().report();
    assert_eq!(report.violations, 1);
    assert!(report.violation_notes[0].contains("trigger_account_created_notification"), "{report:?}");
    let id = bench.store().customer(1).unwrap().attributes["Job title"].id;
    let with_id = |id: u64| json!([{ "id": id, "customer_id": 1, "attribute_id": 1, "value": "x" }]);
    assert_eq!(bench.upsert(with_id(id)).await.status, 200);
    assert_eq!(
        bench.upsert(with_id(id + 1)).await.body["errors"]["0.id"],
        "does not belong to this customer and attribute"
    );
    assert_eq!(bench.violations(), 3);
}
