//! Pages, cursors, filters, includes, dates.

use super::*;

#[tokio::test]
async fn pages_by_number_cover_everything_once() {
    let bench = Bench::new().await;
    let first = bench.get("/v3/customers?limit=12").await;
    let pagination = &first.body["meta"]["pagination"];
    assert_eq!(
        *pagination,
        json!({
            "total": 30, "count": 12, "per_page": 12, "current_page": 1, "total_pages": 3,
            "links": { "current": "?page=1&limit=12", "next": "?page=2&limit=12" }
        })
    );
    assert!(first.body["meta"]["cursor_pagination"].is_object());
    let second = bench.get("/v3/customers?limit=12&page=2").await;
    let third = bench.get("/v3/customers?page=3&limit=12&include=attributes").await;
    assert!(second.body["meta"].get("cursor_pagination").is_none(), "only the first page has cursors");
    assert_eq!(third.body["meta"]["pagination"]["links"]["previous"], "?page=2&limit=12&include=attributes");
    assert!(third.body["meta"]["pagination"]["links"].get("next").is_none());
    assert_eq!([first.ids(), second.ids(), third.ids()].concat(), (1..=30).collect::<Vec<_>>());
    let beyond = bench.get("/v3/customers?limit=12&page=4").await;
    assert_eq!((beyond.status, beyond.ids().len(), beyond.total()), (200, 0, 30));
    assert_eq!(bench.get(VALUES).await.ids().len(), 50, "the default page");
}

#[tokio::test]
async fn pages_by_cursor_cover_everything_once_there_and_back() {
    let bench = Bench::new().await;
    let mut page = bench.get("/v3/customers?limit=12").await;
    let mut seen = page.ids();
    let mut calls = 1;
    while let Some(next) = page.body["meta"]["cursor_pagination"]["links"]["next"].as_str() {
        assert!(next.starts_with("?after="), "{next}");
        page = bench.get(&format!("/v3/customers{next}")).await;
        assert!(page.body["meta"].get("pagination").is_none(), "no totals with a cursor");
        seen.extend(page.ids());
        calls += 1;
    }
    assert_eq!((seen, calls), ((1..=30).collect::<Vec<_>>(), 3));
    let start = page.body["meta"]["cursor_pagination"]["start_cursor"].as_str().unwrap();
    let back = bench.get(&format!("/v3/customers?before={start}&limit=12&page=7")).await;
    assert_eq!(back.ids(), (13..=24).collect::<Vec<_>>(), "page is ignored");
    // Nobody is skipped because someone before them went.
    bench.store().delete_customer(5).unwrap();
    let after = bench.get("/v3/customers?after=eyJpZCI6NX0&limit=3").await;
    assert_eq!(after.ids(), [6, 7, 8]);
}

#[tokio::test]
async fn an_edit_moves_no_row_out_of_a_list_with_a_lower_bound_only() {
    let bench = Bench::new().await;
    let filter = format!("{VALUES}?date_modified:min=2025-01-01T00:00:00Z&limit=50");
    let first = bench.get(&filter).await;
    bench.store().set_value(1, "Job title", "moved").unwrap();
    let second = bench.get(&format!("{filter}&page=2")).await;
    let mut seen = [first.ids(), second.ids()].concat();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((first.total(), second.total(), seen.len()), (90, 90, 90));
}

#[tokio::test]
async fn filters_of_customers() {
    let bench = Bench::new().await;
    let store = bench.store();
    let new = NewCustomer {
        email: "Plus+Sign@Example.com".to_owned(),
        first_name: "Zoë".to_owned(),
        last_name: "Quill".to_owned(),
        company: "A & B".to_owned(),
        phone: "555 1".to_owned(),
        ..NewCustomer::default()
    };
    let id = store.add_customer(new).unwrap();
    for (filter, expected) in [
        ("id:in=3,1,99,3", vec![1, 3]),
        ("email:in=customer0000002@example.com,plus%2Bsign@example.com", vec![2, id]),
        ("email:in=plus+sign@example.com", vec![]),
        ("email:in=CUSTOMER0000002@example.com", vec![2]),
        ("name:in=Zo%C3%AB+Quill", vec![id]),
        ("name:like=QUIL", vec![id]),
        ("company:in=A%20%26%20B", vec![id]),
        ("phone:in=555+1", vec![id]),
        ("company:in=nobody", vec![]),
    ] {
        let got = bench.get(&format!("{CUSTOMERS}?{filter}")).await;
        assert_eq!((got.status, got.ids()), (200, expected), "{filter}");
    }
    assert_eq!(bench.get("/v3/customers?customer_group_id:in=0&limit=250").await.ids().len(), 31);
    let sorted = bench.get("/v3/customers?sort=date_modified:desc&limit=2").await;
    assert_eq!(sorted.ids()[0], id);
    let by_name = bench.get("/v3/customers?sort=last_name:asc&limit=250").await;
    let names: Vec<&str> =
        by_name.body["data"].as_array().unwrap().iter().map(|row| row["last_name"].as_str().unwrap()).collect();
    assert!(names.is_sorted_by_key(|name| name.to_lowercase()));
}

#[tokio::test]
async fn filters_of_values_and_definitions() {
    let bench = Bench::new().await;
    for (filter, total) in [
        ("customer_id:in=1,2", 6),
        ("customer_id:in=1,2&attribute_id:in=3", 2),
        ("attribute_id:in=1,3", 60),
        ("name=Credit", 30),
        ("name=credit", 0),
        ("customer_id:in=99", 0),
    ] {
        assert_eq!(bench.get(&format!("{VALUES}?{filter}")).await.total(), total, "{filter}");
    }
    for (filter, ids) in [
        ("", vec![1, 2, 3]),
        ("?name=Job+title", vec![1]),
        ("?name:like=IN", vec![3]),
        ("?type=number", vec![2]),
        ("?limit=1&page=2", vec![2]),
    ] {
        let got = bench.get(&format!("{ATTRIBUTES}{filter}")).await;
        assert_eq!((got.status, got.ids()), (200, ids), "{filter}");
    }
}

#[tokio::test]
async fn customers_show_their_values_only_if_asked() {
    let bench = Bench::new().await;
    let plain = &bench.get("/v3/customers?id:in=1").await.body["data"][0];
    assert_eq!((&plain["attribute_count"], plain.get("attributes"), plain.get("addresses")), (&json!(3), None, None));
    assert_eq!((&plain["channel_ids"], &plain["customer_group_id"]), (&Value::Null, &json!(0)));
    let full = bench.get("/v3/customers?id:in=1&include=attributes,addresses,storecredit,formfields").await;
    let full = &full.body["data"][0];
    let value = &bench.get(&format!("{VALUES}?customer_id:in=1")).await.body["data"][0];
    assert_eq!(full["attributes"][0], *value);
    assert!(value["attribute_value"].is_string() && value.get("name").is_none());
    assert_eq!(full["addresses"], json!([]));
}

#[tokio::test]
async fn times_are_whole_seconds_of_the_simulators_clock() {
    let mut settings = settings();
    settings.clock_skew_ms = 90_000;
    let bench = Bench::with(settings).await;
    bench.store().set_value(1, "Job title", "later").unwrap();
    let got = bench.get(&format!("{VALUES}?customer_id:in=1&attribute_id:in=1")).await;
    let text = got.body["data"][0]["date_modified"].as_str().unwrap();
    assert_eq!(text.len(), "2026-01-02T03:04:05Z".len());
    let modified = Timestamp::parse(text).unwrap();
    let ahead = modified.millis_since(Timestamp::from_millis(jiff::Timestamp::now().as_millisecond()));
    assert!((30_000..91_000).contains(&ahead), "{ahead}");
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(got.header("date").unwrap()).unwrap();
    assert!((date.as_second() - modified.as_millis() / 1000).abs() < 60);
    let time = bench.get("/v2/time").await.body["time"].as_i64().unwrap();
    assert!((time - date.as_second()).abs() < 60);
    bench.simulator.advance(Duration::from_secs(3_600));
    assert!(bench.get("/v2/time").await.body["time"].as_i64().unwrap() >= time + 3_600);
    assert_eq!(bench.get("/v2/store").await.body["id"], "abc123");
}
