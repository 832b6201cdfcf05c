//! Segments, metafields, subscribers and addresses.

use super::*;

const SEGMENTS: &str = "/v3/segments";
const PROFILES: &str = "/v3/shopper-profiles";
const METAFIELDS: &str = "/v3/customers/metafields";
const SUBSCRIBERS: &str = "/v3/customers/subscribers";
const ADDRESSES: &str = "/v3/customers/addresses";

fn text<'got>(got: &'got Got, pointer: &str) -> &'got str {
    got.body.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}: {got:?}"))
}

#[tokio::test]
async fn customers_are_put_into_segments_by_their_profiles() {
    let bench = Bench::new().await;
    let got = bench.write("POST", SEGMENTS, json!([{ "name": "Gold" }])).await;
    let segment = text(&got, "/data/0/id").to_owned();
    assert_eq!((got.status, bench.get(SEGMENTS).await.body["data"][0]["name"].as_str()), (201, Some("Gold")));
    assert_eq!(bench.write("POST", SEGMENTS, json!([{ "name": "Gold" }])).await.status, 409);

    let got = bench.write("POST", PROFILES, json!([{ "customer_id": 1 }, { "customer_id": 2 }])).await;
    let profiles = [text(&got, "/data/0/id").to_owned(), text(&got, "/data/1/id").to_owned()];
    assert_eq!((got.status, bench.write("POST", PROFILES, json!([{ "customer_id": 1 }])).await.status), (201, 409));
    assert_eq!(bench.write("POST", PROFILES, json!([{ "customer_id": 999 }])).await.status, 400);

    let members = format!("{SEGMENTS}/{segment}/shopper-profiles");
    assert_eq!(bench.write("POST", &members, json!([profiles[0]])).await.status, 201);
    let got = bench.write("POST", &members, json!(profiles)).await;
    assert_eq!((got.status, got.body["errors"][0]["status"].as_u64()), (409, Some(409)));
    assert_eq!(bench.get(&members).await.total(), 1, "the batch was refused as a whole");
    let got = bench.get("/v3/customers?id:in=1,2&include=shopper_profile_id,segment_ids").await;
    assert_eq!(got.body["data"][0]["segment_ids"], json!([segment]));
    assert_eq!(got.body["data"][1]["segment_ids"], json!([]));
    assert_eq!(got.body["data"][1]["shopper_profile_id"], json!(profiles[1]));

    assert_eq!(bench.delete(&format!("{members}?id:in={}", profiles[0])).await.status, 204);
    assert_eq!((bench.get(&members).await.total(), bench.violations()), (0, 0));
    bench.store().set_member(2, "Gold", true).unwrap();
    assert_eq!(bench.store().segments_of(2), ["Gold".to_owned()].into());
    bench.delete(&members).await;
    assert_eq!((bench.store().segments_of(2).len(), bench.violations()), (0, 1), "without ids it empties the segment");
    assert_eq!(bench.get("/v3/segments/5e60e47a-0000-4000-8000-00000000ffff/shopper-profiles").await.status, 404);
}

#[tokio::test]
async fn batches_of_members_may_be_done_in_part() {
    let bench = Bench::behaving(|behaviour| behaviour.readings.segment_writes = settings::SegmentWrites::Partial).await;
    bench.store().set_member(1, "Gold", true).unwrap();
    let got = bench.write("POST", PROFILES, json!([{ "customer_id": 1 }, { "customer_id": 2 }])).await;
    assert_eq!(
        (got.status, got.body["meta"]["success"].as_u64(), got.body["meta"]["failed"].as_u64()),
        (422, Some(1), Some(1))
    );
    assert_eq!(bench.store().profiles(), 2);
    let got = bench.get(SEGMENTS).await;
    let members = format!("{SEGMENTS}/{}/shopper-profiles", text(&got, "/data/0/id"));
    let got = bench.delete(&format!("{members}?id:in=5e60e47a-0000-4000-8000-00000000ffff")).await;
    assert_eq!((got.status, got.body["data"].clone()), (200, json!([])));
}

#[tokio::test]
async fn a_plan_without_segments_says_so() {
    let bench = Bench::behaving(|behaviour| behaviour.no_segments = true).await;
    for path in [SEGMENTS, PROFILES] {
        let got = bench.get(path).await;
        assert_eq!((got.status, got.title()), (403, "Exclusive enterprise feature"));
    }
    assert_eq!(bench.get(CUSTOMERS).await.status, 200);
}

#[tokio::test]
async fn metafields_belong_to_the_app_that_made_them() {
    let bench = Bench::new().await;
    let store = bench.store();
    store.set_metafield(1, "erp/id", Some("hidden"), ("other", "app_only"));
    store.set_metafield(2, "erp/id", Some("shown"), ("other", "read"));
    store.set_metafield(3, "erp/id", Some("open"), ("other", "write"));
    let got = bench.get(&format!("{METAFIELDS}?namespace:in=erp&key:in=id")).await;
    assert_eq!(got.total(), 2);
    assert_eq!(text(&got, "/data/0/date_modified").len(), "2018-05-07T20:14:17+00:00".len());
    let row = |value: &str| json!({ "namespace": "erp", "key": "id", "value": value, "permission_set": "app_only", "resource_id": 1 });
    let got = bench.write("POST", METAFIELDS, json!([row("ours"), row("again")])).await;
    assert_eq!((got.status, got.body["data"].as_array().unwrap().len()), (422, 1));
    assert_eq!(got.body["errors"][0]["status"], 409);
    let ids = bench.get(&format!("{METAFIELDS}?key=id")).await.ids();
    let change = |id: u64| json!([{ "id": id, "value": "new" }]);
    for (id, status) in ids.iter().zip([422, 200, 200]) {
        assert_eq!(bench.write("PUT", METAFIELDS, change(*id)).await.status, status, "{id}");
    }
    assert_eq!(bench.delete(&format!("/v3/customers/2/metafields/{}", ids[0])).await.status, 403);
    assert_eq!(bench.delete(&format!("/v3/customers/1/metafields/{}", ids[2])).await.status, 204);
    assert_eq!(bench.get("/v3/customers/1/metafields").await.total(), 0);
    assert_eq!(bench.violations(), 0);
    assert_eq!((bench.delete(METAFIELDS).await.status, bench.violations()), (405, 1));
    assert_eq!(store.metafields(1, "erp/id").len(), 1, "theirs is still there");
}

#[tokio::test]
async fn metafields_are_walked_by_cursor_and_by_date() {
    let bench = Bench::new().await;
    for customer in 1..=5 {
        bench.store().set_metafield(customer, "erp/id", Some("x"), ("token", "app_only"));
    }
    let (mut path, mut seen) = (format!("{METAFIELDS}?limit=2&key=id"), Vec::new());
    loop {
        let got = bench.get(&path).await;
        seen.extend(got.ids());
        let Some(next) = got.body["meta"]["cursor_pagination"]["links"]["next"].as_str() else { break };
        path = format!("{METAFIELDS}{next}");
    }
    assert_eq!(seen.len(), 5);
    bench.simulator.advance(Duration::from_secs(60));
    bench.store().set_metafield(4, "erp/id", Some("y"), ("token", "app_only"));
    let since = Timestamp::from_millis(bench.simulator.now().as_millis() - 5000).to_seconds_text();
    assert_eq!(bench.get(&format!("{METAFIELDS}?date_modified:min={since}")).await.total(), 1);
    assert_eq!(bench.violations(), 0);
}

#[tokio::test]
async fn subscribers_are_one_for_an_email_and_lose_what_is_not_sent() {
    let bench = Bench::new().await;
    let new = json!({ "email": "a@example.com", "consents": ["marketing_newsletter"] });
    let got = bench.write("POST", SUBSCRIBERS, new.clone()).await;
    let id = got.body["data"]["id"].as_u64().unwrap();
    assert_eq!((got.status, bench.write("POST", SUBSCRIBERS, new).await.status), (200, 409));
    let path = format!("{SUBSCRIBERS}/{id}");
    bench.write("PUT", &path, json!({ "consents": ["abandoned_cart"] })).await;
    assert_eq!(bench.store().consents("a@example.com"), Some(["abandoned_cart".to_owned()].into()));
    assert_eq!(bench.write("PUT", &path, json!({ "consents": ["everything"] })).await.status, 422);
    assert_eq!(bench.get(&format!("{SUBSCRIBERS}?email=a@example.com")).await.ids(), [id]);
    assert_eq!((bench.get(&format!("{SUBSCRIBERS}/999")).await.status, bench.violations()), (404, 1));
    bench.store().set_consents("b@example.com", Some(&[]));
    assert_eq!(bench.delete(&path).await.status, 204);
    assert_eq!(bench.get(SUBSCRIBERS).await.total(), 1);
    bench.delete(SUBSCRIBERS).await;
    assert_eq!((bench.get(SUBSCRIBERS).await.total(), bench.violations()), (0, 2), "everybody was deleted");
}

#[tokio::test]
async fn an_equal_address_is_silently_not_made() {
    let bench = Bench::new().await;
    let address = |city: &str| {
        json!({ "customer_id": 1, "first_name": "A", "last_name": "B", "address1": "1 Street", "city": city,
            "state_or_province": "Ohio", "postal_code": "1", "country_code": "US" })
    };
    let got = bench.write("POST", ADDRESSES, json!([address("Akron"), address("Akron")])).await;
    assert_eq!((got.status, got.ids().len()), (200, 1));
    let akron = got.ids()[0];
    let bern = bench.write("POST", ADDRESSES, json!([address("Bern")])).await.ids()[0];
    let got = bench.write("PUT", ADDRESSES, json!([{ "id": bern, "city": "Akron" }])).await;
    assert_eq!((got.status, got.body["data"].clone()), (200, json!([])));
    bench.store().change_behaviour(|behaviour| behaviour.readings.equal_address = settings::EqualAddress::EmptyObject);
    assert_eq!(bench.write("POST", ADDRESSES, json!([address("Akron")])).await.body, json!({}));
    let mut stateless = address("Cork");
    stateless["state_or_province"] = json!("OH");
    let mut homeless = address("Cork");
    homeless["country_code"] = json!("");
    let mut unnamed = address("Cork");
    unnamed.as_object_mut().unwrap().remove("postal_code");
    for wrong in [stateless, homeless, unnamed] {
        assert_eq!(bench.write("POST", ADDRESSES, json!([wrong])).await.status, 422);
    }
    for number in 0..10 {
        bench.store().add_address(1, &[("city", &number.to_string()), ("Kind", "Billing")]).unwrap();
    }
    let got = bench.get("/v3/customers?id:in=1&include=addresses").await;
    assert_eq!(got.body["data"][0]["address_count"], 12);
    assert_eq!(got.body["data"][0]["addresses"].as_array().unwrap().len(), 10);
    let got = bench.get(&format!("{ADDRESSES}?customer_id:in=1&include=formfields")).await;
    assert_eq!((got.total(), got.body["data"][11]["form_fields"][0]["value"].as_str()), (12, Some("Billing")));
    assert_eq!(bench.delete(&format!("{ADDRESSES}?id:in={akron}")).await.status, 204);
    let left = bench.store().addresses(1).len();
    assert_eq!((left, bench.violations()), (11, 1), "no correct client leaves a required name out");
}
