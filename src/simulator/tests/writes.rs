//! What writes do.

use super::*;

#[tokio::test]
async fn an_upsert_makes_and_changes_values_and_answers_with_the_rows() {
    let bench = Bench::new().await;
    let id = bench.store().add_customer(NewCustomer::new("new@example.com", [])).unwrap();
    let got = bench.upsert(json!([row(id, 1, "Buyer"), row(1, 1, "Boss")])).await;
    assert_eq!((got.status, &got.body["meta"]), (200, &json!({})));
    let rows = got.body["data"].as_array().unwrap();
    assert_eq!((&rows[0]["customer_id"], &rows[0]["attribute_value"]), (&json!(id), &json!("Buyer")));
    assert_eq!((&rows[1]["customer_id"], &rows[1]["attribute_value"]), (&json!(1), &json!("Boss")));
    assert!(rows[0].get("value").is_none() && rows[0]["date_created"] == rows[0]["date_modified"]);
    assert!(rows[1]["date_created"].as_str() < rows[1]["date_modified"].as_str());
    assert_eq!(bench.store().value(id, "Job title").as_deref(), Some("Buyer"));
    let since = rows[1]["date_modified"].as_str().unwrap();
    assert_eq!(bench.get(&format!("{VALUES}?date_modified:min={since}")).await.total(), 2);
}

#[tokio::test]
async fn rows_about_what_is_not_there_or_too_long_are_refused_by_index() {
    let bench = Bench::new().await;
    for (bad, field, violation) in [
        (row(99, 1, "x"), "1.customer_id", 0),
        (row(1, 99, "x"), "1.attribute_id", 0),
        (row(1, 1, &"é".repeat(256)), "1.value", 1),
    ] {
        let before = bench.violations();
        let got = bench.upsert(json!([row(2, 1, "good"), bad])).await;
        assert_eq!((got.status, got.title()), (422, "Update customer attribute values failed."));
        assert!(got.body["errors"][field].is_string(), "{}", got.body);
        assert_eq!(bench.violations() - before, violation, "{field}");
    }
    assert_ne!(bench.store().value(2, "Job title").as_deref(), Some("good"));
    assert_eq!(bench.upsert(json!([row(1, 1, &"é".repeat(255))])).await.status, 200);
}

#[tokio::test]
async fn values_are_deleted_by_id_and_nothing_tells_of_it() {
    let bench = Bench::new().await;
    let id = bench.store().customer(1).unwrap().attributes["Job title"].id;
    let got = bench.delete(&format!("{VALUES}?id:in={id},{id},777777")).await;
    assert_eq!((got.status, got.body), (204, Value::Null));
    assert_eq!((bench.store().value(1, "Job title"), bench.get(VALUES).await.total()), (None, 89));
    // A value that comes back has an id of its own.
    bench.upsert(json!([row(1, 1, "again")])).await;
    assert!(bench.store().customer(1).unwrap().attributes["Job title"].id > 90);
}

#[tokio::test]
async fn customers_are_created_edited_and_deleted() {
    let bench = Bench::new().await;
    let new = json!([{
        "email": "ada@example.com", "first_name": "Ada", "last_name": "L", "company": "Engines",
        "attributes": [{ "attribute_id": 1, "attribute_value": "Countess" }],
        "trigger_account_created_notification": false,
    }]);
    let made = bench.write("POST", CUSTOMERS, new.clone()).await;
    assert_eq!((made.status, made.ids()), (200, vec![31]));
    assert_eq!(bench.store().value(31, "Job title").as_deref(), Some("Countess"));
    let again = bench.write("POST", CUSTOMERS, new).await;
    assert_eq!((again.status, again.title()), (422, "Create customers failed."));
    assert_eq!(
        again.body["errors"][".customer_create"],
        "Error creating customers: email ada@example.com already in use"
    );
    let edited = bench.write("PUT", CUSTOMERS, json!([{ "id": 31, "phone": "1", "origin_channel_id": 7 }])).await;
    assert_eq!((edited.status, &edited.body["data"][0]["origin_channel_id"]), (200, &json!(1)));
    let ada = bench.store().customer(31).unwrap();
    assert_eq!((ada.phone.as_str(), ada.company.as_str()), ("1", "Engines"), "what was not sent stays");
    let taken = bench.write("PUT", CUSTOMERS, json!([{ "id": 1, "email": "ADA@example.com" }])).await;
    assert_eq!(taken.status, 422);
    let unknown = bench.write("PUT", CUSTOMERS, json!([{ "id": 99, "phone": "1" }])).await;
    assert_eq!(unknown.body["errors"]["0.id"], "invalid customer ID");
    for (field, value) in [("email", "a".repeat(250) + "@b"), ("first_name", String::new()), ("phone", "1".repeat(51))]
    {
        let refused = bench.write("PUT", CUSTOMERS, json!([{ "id": 1, field: value }])).await;
        assert_eq!(refused.status, 422);
        assert!(refused.body["errors"][format!("0.{field}")].is_string(), "{}", refused.body);
    }
    assert_eq!(bench.delete("/v3/customers?id:in=31,99").await.status, 204);
    assert_eq!((bench.store().customer(31), bench.get(VALUES).await.total()), (None, 90));
    assert_eq!(bench.violations(), 0);
}

#[tokio::test]
async fn definitions_are_created_renamed_and_deleted_with_their_values() {
    let bench = Bench::new().await;
    let made = bench.write("POST", ATTRIBUTES, json!([{ "name": "Tier", "type": "string" }])).await;
    assert_eq!((made.status, made.ids()), (200, vec![4]));
    let again = bench.write("POST", ATTRIBUTES, json!([{ "name": "Tier", "type": "number" }])).await;
    assert_eq!((again.status, again.title()), (422, "Create customer attributes failed."));
    assert!(again.body["errors"]["0.name"].as_str().unwrap().contains("already exists"));
    let taken = bench.write("PUT", ATTRIBUTES, json!([{ "id": 4, "name": "Credit" }])).await;
    let unknown = bench.write("PUT", ATTRIBUTES, json!([{ "id": 9, "name": "Credit 2" }])).await;
    let renamed = bench.write("PUT", ATTRIBUTES, json!([{ "id": 2, "name": "Limit" }])).await;
    assert_eq!((taken.status, unknown.status, renamed.status), (422, 422, 200));
    assert_eq!(bench.get(&format!("{VALUES}?name=Limit")).await.total(), 30, "the values stay");
    assert_eq!(bench.delete("/v3/customers/attributes?id:in=2").await.status, 204);
    assert_eq!(bench.get(VALUES).await.total(), 60);
    assert_eq!(bench.get("/v3/customers?id:in=1").await.body["data"][0]["attribute_count"], 2);

    let many: Value = (1..=47).map(|number| json!({ "name": format!("N{number}"), "type": "date" })).collect();
    assert_eq!(bench.write("POST", ATTRIBUTES, many).await.status, 200);
    let one_more = bench.write("POST", ATTRIBUTES, json!([{ "name": "Last straw", "type": "date" }])).await;
    assert_eq!(one_more.status, 422);
    assert!(one_more.body["errors"]["0"].as_str().unwrap().contains("more than 50"), "{}", one_more.body);
}
