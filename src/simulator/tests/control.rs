//! The control API, in process and over HTTP, and the simulator's own life.

use super::*;

impl Bench {
    async fn order(&self, method: &str, path: &str, body: Value) -> Got {
        let url = format!("{}/_simulator{path}", self.simulator.url());
        self.send(self.client.request(method.parse().unwrap(), url).body(body.to_string())).await
    }

    async fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let got = self.order(method, &format!("/stores/abc123{path}"), body).await;
        assert_eq!(got.status, 200, "{method} {path}: {}", got.body);
        got.body
    }
}

#[tokio::test]
async fn a_script_can_do_what_people_do_to_what_belongs_to_a_customer() {
    let bench = Bench::new().await;
    let store = bench.store();
    bench.done("PUT", "/customers/1/segments", json!({ "Gold": true, "Silver": false })).await;
    assert_eq!(bench.done("GET", "/customers/1/segments", Value::Null).await, json!(["Gold"]));
    bench.done("PUT", "/customers/1/metafields", json!({ "erp/id": "7", "erp/note": null })).await;
    assert_eq!(store.metafields(1, "erp/id")[0].value, "7");
    bench.done("PUT", "/subscribers", json!({ "a@example.com": ["abandoned_cart"], "b@example.com": null })).await;
    assert_eq!(store.consents("a@example.com"), Some(["abandoned_cart".to_owned()].into()));
    let made = bench.done("POST", "/customers/1/addresses", json!({ "city": "Bern", "Kind": "Billing" })).await;
    let address = format!("/customers/1/addresses/{}", made["id"]);
    bench.done("PUT", &address, json!({ "city": "Basel" })).await;
    let held = bench.done("GET", "/customers/1/addresses", Value::Null).await;
    assert_eq!(held[0][1], json!({ "city": "Basel", "address_type": "residential" }));
    bench.done("PUT", &address, json!({})).await;
    assert!(store.addresses(1).is_empty());
    assert_eq!(bench.order("GET", "/stores/abc123/customers/one/segments", Value::Null).await.status, 400);
    assert_eq!(bench.order("PUT", "/stores/abc123/customers/99/segments", json!({ "Gold": true })).await.status, 404);
}

#[tokio::test]
async fn a_script_can_do_what_people_do() {
    let bench = Bench::new().await;
    let store = bench.store();
    bench.done("POST", "/attributes", json!({ "name": "Tier", "type": "string" })).await;
    let new = json!({ "email": "a@b.c", "attributes": { "Tier": "gold" } });
    let id = bench.done("POST", "/customers", new).await["id"].as_u64().unwrap();
    assert_eq!(store.value(id, "Tier").as_deref(), Some("gold"));
    bench.done("PUT", &format!("/customers/{id}/values"), json!({ "Tier": null, "Job title": "Boss" })).await;
    bench.done("PUT", &format!("/customers/{id}"), json!({ "first_name": "Ada" })).await;
    let shown = bench.done("GET", &format!("/customers/{id}"), Value::Null).await;
    assert_eq!((&shown["first_name"], &shown["attributes"]["Job title"]["value"]), (&json!("Ada"), &json!("Boss")));
    assert!(shown["attributes"].get("Tier").is_none());
    assert_eq!(bench.done("GET", "/customers?email=A%40b.c", Value::Null).await[0]["id"], id);
    assert_eq!(bench.done("GET", "/customers", Value::Null).await.as_array().unwrap().len(), 31);
    bench.done("POST", "/attributes/rename", json!({ "from": "Tier", "to": "Level" })).await;
    bench.done("POST", "/attributes/delete", json!({ "name": "Credit" })).await;
    let names: Vec<String> = store.attributes().into_iter().map(|attribute| attribute.name).collect();
    assert_eq!(names, ["Job title", "Since", "Level"]);
    assert_eq!(
        bench.done("GET", "/attributes", Value::Null).await[2],
        json!({ "id": 4, "name": "Level", "type": "string" })
    );
    bench.done("DELETE", &format!("/customers/{id}"), Value::Null).await;
    assert_eq!(store.customer(id), None);
}

#[tokio::test]
async fn a_script_can_change_how_a_store_behaves() {
    let bench = Bench::new().await;
    let patch = json!({ "quota": { "calls": 7 }, "readings": { "date_bounds": "exclusive" } });
    let behaviour = bench.done("PATCH", "/behaviour", patch).await;
    assert_eq!((&behaviour["quota"]["calls"], &behaviour["quota"]["window_ms"]), (&json!(7), &json!(30_000)));
    assert_eq!(behaviour, bench.done("GET", "/behaviour", Value::Null).await);
    assert_eq!(bench.get("/v2/time").await.header("x-rate-limit-requests-quota"), Some("7"));
    bench.done("POST", "/faults", json!("403*1@GET customers")).await;
    bench.done("POST", "/faults", json!({ "fault": "401", "times": 1 })).await;
    assert_eq!((bench.get(CUSTOMERS).await.status, bench.get(CUSTOMERS).await.status), (401, 403));
    bench.done("POST", "/faults", json!("403")).await;
    bench.done("DELETE", "/faults", Value::Null).await;
    assert_eq!(bench.get(CUSTOMERS).await.status, 200);
    bench.done("PUT", "/outage", json!(true)).await;
    assert!(bench.request("GET", CUSTOMERS).send().await.is_err());
    bench.done("PUT", "/outage", json!(false)).await;
    bench.done("PUT", "/scopes", json!(["store_v2_customers_read_only"])).await;
    assert_eq!(bench.upsert(json!([])).await.status, 403);
    bench.done("PUT", "/token", json!("new")).await;
    assert_eq!(bench.get(CUSTOMERS).await.status, 401);
}

#[tokio::test]
async fn a_script_can_turn_the_clock_and_close_the_door() {
    let bench = Bench::new().await;
    let about = bench.order("GET", "", Value::Null).await.body;
    assert_eq!((&about["stores"], &about["url"]), (&json!(["abc123"]), &json!(bench.simulator.url())));
    let before = bench.simulator.now();
    bench.order("POST", "/clock", json!({ "advance_ms": 5_000_000, "skew_ms": 1_000_000 })).await;
    assert!(bench.simulator.now().millis_since(before) >= 6_000_000);
    for (for_ms, opens) in [(20, true), (3_600_000, false)] {
        let order = bench.order("POST", "/refuse", json!({ "for_ms": for_ms })).await;
        assert_eq!(order.body["refusing_for_ms"], for_ms);
        let door = async || tokio::net::TcpStream::connect(bench.simulator.address()).await.is_ok();
        if opens {
            while !door().await {}
        } else {
            assert!(!door().await);
        }
    }
}

#[tokio::test]
async fn what_was_counted_can_be_read_and_forgotten() {
    let bench = Bench::new().await;
    bench.get("/v3/customers?limit=2").await;
    bench.get("/v3/customers?foo=2").await;
    bench.upsert(json!([row(1, 1, "x")])).await;
    let report = bench.done("GET", "/report", Value::Null).await;
    assert_eq!((&report["total"], &report["violations"]), (&json!(3), &json!(1)));
    assert_eq!(report["calls"], json!({ "GET customers": 2, "PUT attribute-values": 1 }));
    assert_eq!(report["statuses"], json!({ "200": 2, "422": 1 }));
    assert_eq!(bench.store().report().calls_of("GET customers"), 2);
    let requests = bench.done("GET", "/requests", Value::Null).await;
    assert_eq!((&requests[1]["target"], &requests[1]["status"]), (&json!("/v3/customers?foo=2"), &json!(422)));
    bench.done("DELETE", "/report", Value::Null).await;
    assert_eq!((bench.store().report(), bench.store().requests()), (Report::default(), Vec::new()));
}

#[tokio::test]
async fn the_log_has_an_end() {
    let bench = Bench::with(Settings { log_limit: 3, ..settings() }).await;
    for _ in 0..5 {
        bench.get("/v2/time").await;
    }
    let numbers: Vec<u64> = bench.store().requests().iter().map(|request| request.number).collect();
    assert_eq!(numbers, [3, 4, 5]);
}

#[tokio::test]
async fn wrong_orders_say_what_is_wrong() {
    let bench = Bench::new().await;
    for (method, path, body, status, what) in [
        ("GET", "/nothing", Value::Null, 404, "there is no GET /_simulator/nothing"),
        ("GET", "/stores/other/customers", Value::Null, 404, "there is no store"),
        ("GET", "/stores/abc123/customers/99", Value::Null, 404, "there is no customer 99"),
        ("PUT", "/stores/abc123/customers/1/values", json!({ "Tier": "x" }), 404, "no attribute named \"Tier\""),
        ("PUT", "/stores/abc123/customers/1", json!({ "age": 7 }), 400, "unknown field `age`"),
        ("POST", "/stores/abc123/faults", json!("gremlins"), 400, "there is no fault"),
        ("PATCH", "/stores/abc123/behaviour", json!({ "quota": { "cals": 7 } }), 400, "unknown field `cals`"),
        (
            "PATCH",
            "/stores/abc123/behaviour",
            json!({ "faults": [{ "fault": "5xx", "on": "PUT x" }] }),
            400,
            "neither a method",
        ),
        ("POST", "/stores/abc123/attributes", json!({ "name": "Credit", "type": "date" }), 400, "already"),
        ("POST", "/clock", json!("now"), 400, "the body"),
    ] {
        let got = bench.order(method, path, body).await;
        assert_eq!(got.status, status, "{method} {path}");
        assert!(got.body["error"].as_str().unwrap().contains(what), "{}", got.body);
    }
}

#[tokio::test]
async fn it_stops_when_told_and_when_dropped() {
    let bench = Bench::new().await;
    let address = bench.simulator.address();
    assert_eq!(bench.get(CUSTOMERS).await.status, 200, "a connection that stays open");
    let taken = start(Settings { listen: address, ..settings() }).await.unwrap_err();
    assert!(taken.to_string().contains("choose another address or port"), "{taken}");
    bench.simulator.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());

    let dropped = start(settings()).await.unwrap();
    let address = dropped.address();
    drop(dropped);
    while tokio::net::TcpStream::connect(address).await.is_ok() {}
}

#[tokio::test]
async fn settings_that_do_not_fit_together_are_refused() {
    let refused = async |change: fn(&mut Settings)| {
        let mut settings = settings();
        change(&mut settings);
        start(settings).await.unwrap_err().to_string()
    };
    assert!(refused(|settings| settings.stores.clear()).await.contains("no store"));
    assert!(refused(|settings| settings.stores.push(StoreSettings::default())).await.contains("two stores"));
    assert!(refused(|settings| settings.stores[0].hash = "a/b".to_owned()).await.contains("letters and digits"));
    let twice = refused(|settings| {
        let attributes = &mut settings.stores[0].population.attributes;
        attributes.push(attributes[0].clone());
    });
    assert!(twice.await.contains("two attributes named"));
}

#[tokio::test]
async fn the_command_prints_its_address_and_ends_when_cancelled() {
    use clap::{Args as _, Command, FromArgMatches as _};
    let command = flags::Flags::augment_args(Command::new("simulate"));
    let matches = command.try_get_matches_from(["simulate", "--listen", "127.0.0.1:0"]).unwrap();
    let flags = flags::Flags::from_arg_matches(&matches).unwrap();
    let cancel = CancellationToken::new();
    let running = tokio::spawn(flags::run(flags, cancel.clone()));
    cancel.cancel();
    running.await.unwrap().unwrap();
}
