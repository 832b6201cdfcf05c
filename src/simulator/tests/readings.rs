//! What the documents leave open, both ways.

use super::*;
use crate::simulator::settings::*;

async fn reading(change: impl FnOnce(&mut Readings)) -> Bench {
    Bench::behaving(|behaviour| change(&mut behaviour.readings)).await
}

#[tokio::test]
async fn a_lower_bound_is_inclusive_or_exclusive() {
    for (bounds, total) in [(DateBounds::Inclusive, 1), (DateBounds::Exclusive, 0)] {
        let bench = reading(|readings| readings.date_bounds = bounds).await;
        bench.store().set_value(1, "Job title", "x").unwrap();
        let modified = bench.store().customer(1).unwrap().attributes["Job title"].modified;
        let at = |instant: Timestamp| format!("{VALUES}?date_modified:min={}", instant.to_seconds_text());
        assert_eq!(bench.get(&at(modified)).await.total(), total);
        assert_eq!(bench.get(&at(modified - Duration::from_secs(1))).await.total(), 1);
        let exact = format!("{VALUES}?date_modified={}", modified.to_seconds_text());
        assert_eq!(bench.get(&exact).await.total(), 1);
        let max =
            format!("{VALUES}?date_modified:max={}&customer_id:in=1&attribute_id:in=1", modified.to_seconds_text());
        assert_eq!(bench.get(&max).await.total(), total);
    }
}

#[tokio::test]
async fn an_upsert_of_the_same_value_bumps_its_date_or_not() {
    for (unchanged, bumped) in [(UnchangedUpsert::Bumps, true), (UnchangedUpsert::Keeps, false)] {
        let bench = reading(|readings| readings.unchanged_upsert = unchanged).await;
        let before = bench.store().customer(1).unwrap().attributes["Job title"].clone();
        let got = bench.upsert(json!([row(1, 1, &before.value)])).await;
        assert_eq!((got.status, &got.body["data"][0]["attribute_value"]), (200, &json!(before.value)));
        let after = bench.store().customer(1).unwrap().attributes["Job title"].clone();
        assert_eq!((after.modified > before.modified, after.id), (bumped, before.id));
    }
}

#[tokio::test]
async fn a_batch_with_a_bad_row_is_refused_whole_or_done_in_part() {
    for (refused, done) in [(RefusedBatch::Atomic, false), (RefusedBatch::Partial, true)] {
        let bench = reading(|readings| readings.refused_batch = refused).await;
        let got = bench.upsert(json!([row(1, 1, "one"), row(99, 1, "x"), row(2, 1, "two")])).await;
        assert_eq!(got.status, 422);
        assert_eq!(bench.store().value(1, "Job title").as_deref() == Some("one"), done);
        assert_eq!(bench.store().value(2, "Job title").as_deref() == Some("two"), done);
        let edits = json!([{ "id": 1, "phone": "7" }, { "id": 99, "phone": "7" }]);
        assert_eq!(bench.write("PUT", CUSTOMERS, edits).await.status, 422);
        assert_eq!(bench.store().customer(1).unwrap().phone == "7", done);
        let person = |email: &str| json!({ "email": email, "first_name": "A", "last_name": "B", "trigger_account_created_notification": false });
        let people = json!([person("new@example.com"), person("NEW@example.com")]);
        assert_eq!(bench.write("POST", CUSTOMERS, people).await.status, 422);
        assert_eq!(bench.store().customers_with_email("new@example.com").len() == 1, done);
        let names = json!([{ "name": "New", "type": "date" }, { "name": "Credit", "type": "date" }]);
        assert_eq!(bench.write("POST", ATTRIBUTES, names).await.status, 422);
        assert_eq!(bench.store().attributes().len() == 4, done);
    }
}

#[tokio::test]
async fn included_values_are_all_or_the_first_ten() {
    for (included, shown) in [(IncludedAttributes::All, 12), (IncludedAttributes::FirstTen, 10)] {
        let bench = reading(|readings| readings.included_attributes = included).await;
        for number in 4..=12 {
            let name = format!("Attribute {number}");
            bench.store().create_attribute(&name, AttributeKind::String).unwrap();
            bench.store().set_value(1, &name, "x").unwrap();
        }
        let got = bench.get("/v3/customers?id:in=1&include=attributes").await;
        let customer = &got.body["data"][0];
        assert_eq!(
            (customer["attributes"].as_array().unwrap().len(), &customer["attribute_count"]),
            (shown, &json!(12))
        );
    }
}

#[tokio::test]
async fn an_empty_value_is_stored_or_deletes() {
    for (empty, held) in [(EmptyValue::Stores, Some("")), (EmptyValue::Deletes, None)] {
        let bench = reading(|readings| readings.empty_value = empty).await;
        let got = bench.upsert(json!([row(1, 1, ""), row(2, 1, "x")])).await;
        assert_eq!((got.status, got.body["data"].as_array().unwrap().len()), (200, if held.is_some() { 2 } else { 1 }));
        assert_eq!(bench.store().value(1, "Job title").as_deref(), held);
    }
}

#[tokio::test]
async fn cursors_are_offered_or_not() {
    let bench = reading(|readings| readings.cursor_pages = CursorPages::Absent).await;
    let first = bench.get("/v3/customers?limit=10").await;
    assert!(first.body["meta"].get("cursor_pagination").is_none());
    assert_eq!(bench.get("/v3/customers?after=eyJpZCI6MX0").await.status, 422);
}

#[tokio::test]
async fn the_last_cursor_page_has_no_next_or_an_empty_one() {
    let bench = reading(|readings| readings.cursor_end = CursorEnd::EmptyPage).await;
    let last = bench.get("/v3/customers?after=eyJpZCI6MjB9&limit=10").await;
    assert_eq!(last.ids().len(), 10);
    let next = last.body["meta"]["cursor_pagination"]["links"]["next"].as_str().unwrap();
    let empty = bench.get(&format!("/v3/customers{next}")).await;
    assert_eq!((empty.status, &empty.body["data"]), (200, &json!([])));
    assert!(empty.body["meta"]["cursor_pagination"]["links"].get("next").is_none());
    assert!(empty.body["meta"]["cursor_pagination"].get("end_cursor").is_none());
}

#[tokio::test]
async fn typed_values_are_taken_checked_or_normalised() {
    let cases = [
        (2, "1.0", true, "1"),
        (2, "-01.50", true, "-1.5"),
        (2, "-0.0", true, "0"),
        (2, "1e3", false, ""),
        (2, "twelve", false, ""),
        (2, ".5", false, ""),
        (3, "2026-01-02", true, "2026-01-02"),
        (3, "2026-01-02T00:00:00Z", true, "2026-01-02"),
        (3, "2026-02-30", false, ""),
        (3, "next week", false, ""),
        (1, " spaced ", true, "spaced"),
    ];
    for typed in [TypedValues::AsSent, TypedValues::Validated, TypedValues::Normalised] {
        let bench = reading(|readings| readings.typed_values = typed).await;
        for (attribute, sent, valid, normal) in cases {
            let got = bench.upsert(json!([row(1, attribute, sent)])).await;
            let taken = valid || typed == TypedValues::AsSent;
            assert_eq!(got.status, if taken { 200 } else { 422 }, "{typed:?} {sent}");
            if taken {
                let stored = if typed == TypedValues::Normalised { normal } else { sent };
                assert_eq!(got.body["data"][0]["attribute_value"], stored, "{typed:?}");
            }
        }
        assert_eq!(bench.violations(), 0);
    }
}

#[tokio::test]
async fn an_edit_of_a_value_touches_the_customer_or_not() {
    for (edits, touched) in [(ValueEdits::KeepCustomer, false), (ValueEdits::TouchCustomer, true)] {
        let bench = reading(|readings| readings.value_edits = edits).await;
        let before = bench.store().customer(1).unwrap().modified;
        bench.upsert(json!([row(1, 1, "x")])).await;
        assert_eq!(bench.store().customer(1).unwrap().modified > before, touched);
        let before = bench.store().customer(2).unwrap().modified;
        bench.store().clear_value(2, "Job title").unwrap();
        assert_eq!(bench.store().customer(2).unwrap().modified > before, touched);
    }
}

#[tokio::test]
async fn values_come_by_id_or_by_modification() {
    for (order, first) in [(ValuesOrder::ById, true), (ValuesOrder::ByModified, false)] {
        let bench = reading(|readings| readings.values_order = order).await;
        bench.store().set_value(1, "Job title", "x").unwrap();
        let edited = bench.store().customer(1).unwrap().attributes["Job title"].id;
        for filter in ["limit=250", "limit=250&attribute_id:in=1", "limit=250&date_modified:min=2025-01-01T00:00:00Z"] {
            let ids = bench.get(&format!("{VALUES}?{filter}")).await.ids();
            assert_eq!((ids.first() == Some(&edited), ids.last() == Some(&edited)), (first, !first), "{filter}");
        }
    }
}

#[tokio::test]
async fn the_case_of_an_email_matters_or_not() {
    for (case, same) in [(EmailCase::Folded, true), (EmailCase::Exact, false)] {
        let bench = reading(|readings| readings.email_case = case).await;
        let found = bench.get("/v3/customers?email:in=Customer0000001@example.com").await;
        assert_eq!(found.total() == 1, same);
        let person = json!([{
            "email": "Customer0000001@example.com", "first_name": "A", "last_name": "B",
            "trigger_account_created_notification": false,
        }]);
        assert_eq!(bench.write("POST", CUSTOMERS, person).await.status == 422, same);
    }
}

#[tokio::test]
async fn a_reading_may_change_while_it_runs() {
    let bench = Bench::new().await;
    bench.store().set_value(1, "Job title", "x").unwrap();
    let modified = bench.store().customer(1).unwrap().attributes["Job title"].modified;
    let since = format!("{VALUES}?date_modified:min={}", modified.to_seconds_text());
    assert_eq!(bench.get(&since).await.total(), 1);
    bench.store().change_behaviour(|behaviour| behaviour.readings = Readings::opposite());
    assert_eq!(bench.get(&since).await.total(), 0);
}

#[tokio::test]
async fn values_are_found_by_creation_and_modification_together() {
    let bench = Bench::new().await;
    let before = (bench.simulator.now() - Duration::from_secs(60)).to_seconds_text();
    bench.store().set_value(1, "Job title", "edited").unwrap();
    let new = bench.store().add_customer(NewCustomer::new("n@example.com", [("Job title", "made")])).unwrap();
    let both = bench.get(&format!("{VALUES}?date_modified:min={before}&date_created:min={before}")).await;
    assert_eq!((both.total(), &both.body["data"][0]["customer_id"]), (1, &json!(new)));
    assert_eq!(bench.get(&format!("{VALUES}?date_modified:min={before}")).await.total(), 2);
}

#[tokio::test]
async fn definitions_are_listed_with_pages_or_without() {
    for (pages, shown) in [(AttributesPages::Shown, true), (AttributesPages::Absent, false)] {
        let bench = reading(|readings| readings.attributes_pages = pages).await;
        let got = bench.get(ATTRIBUTES).await;
        assert_eq!(got.body["meta"].get("pagination").is_some(), shown);
        assert_eq!(got.body["data"].as_array().map(Vec::len), Some(bench.store().attributes().len()));
    }
}

#[tokio::test]
async fn a_name_is_had_once_or_twice() {
    for (names, exact, folded) in
        [(AttributeNames::Unique, 422, 200), (AttributeNames::Folded, 422, 422), (AttributeNames::Repeatable, 200, 200)]
    {
        for (name, status) in [("Job title", exact), ("JOB TITLE", folded), ("New", 200)] {
            let bench = reading(|readings| readings.attribute_names = names).await;
            let got = bench.write("POST", ATTRIBUTES, json!([{ "name": name, "type": "string" }])).await;
            assert_eq!(got.status, status, "{names:?} {name}");
            let got = bench.write("PUT", ATTRIBUTES, json!([{ "id": 2, "name": name }])).await;
            assert_eq!(got.status == 422, names != AttributeNames::Repeatable, "{names:?} {name}: it is had by now");
        }
    }
}

#[tokio::test]
async fn the_longest_value_is_counted_in_characters_or_bytes() {
    for (length, status) in [(ValueLength::Characters, 200), (ValueLength::Bytes, 422)] {
        let bench = reading(|readings| readings.value_length = length).await;
        assert_eq!(bench.upsert(json!([row(1, 1, &"x".repeat(255))])).await.status, 200);
        assert_eq!(bench.upsert(json!([row(1, 1, &"é".repeat(128))])).await.status, status);
        assert_eq!(bench.store().report().violations, 0, "a client cannot know");
    }
}

#[tokio::test]
async fn a_list_of_ids_is_as_long_as_it_likes_or_not() {
    let ids: Vec<String> = (1..=101).map(|id| id.to_string()).collect();
    for (most, status) in [(IdsPerList::Any, 200), (IdsPerList::Hundred, 422)] {
        let bench = reading(|readings| readings.ids_per_list = most).await;
        assert_eq!(bench.get(&format!("{CUSTOMERS}?id:in={}", ids[..100].join(","))).await.status, 200);
        assert_eq!(bench.get(&format!("{VALUES}?customer_id:in={}", ids.join(","))).await.status, status);
    }
}

#[test]
fn every_reading_has_a_name_words_and_an_opposite() {
    let mut readings = Readings::default();
    for (name, words) in Readings::ALL {
        readings.set(name, words[words.len() - 1]).unwrap();
    }
    assert_eq!(readings, Readings::opposite());
    let json = serde_json::to_value(readings).unwrap();
    for (name, words) in Readings::ALL {
        assert_eq!(json[name], words[words.len() - 1]);
    }
}
