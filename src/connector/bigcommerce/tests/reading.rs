//! Feeds, sweeps, direct reads, definitions.

use super::*;

#[tokio::test]
async fn everything_is_read_by_cursor_and_incomplete_customers_again() {
    let (server, store) = prepared(|call| match call.line.as_str() {
        "GET /customers?limit=250&include=attributes" => good(json!({"data": [
            {"id": 10, "email": "a@example.com", "date_modified": "2026-01-02T03:00:00Z", "attribute_count": 1,
             "attributes": [value(100, 10, 1, "Buyer")]},
            {"id": 11, "email": "", "attribute_count": 12, "attributes": [value(101, 11, 1, "Boss \u{1f600}")]},
        ], "meta": {"pagination": {"total": 3, "total_pages": 2},
            "cursor_pagination": {"end_cursor": "c2=", "links": {"next": "?after=c2="}}}})),
        "GET /customers/attribute-values?limit=250&customer_id:in=11&attribute_id:in=1,2" => good(json!({
            "data": [value(101, 11, 1, "Boss \u{1f600}"), value(102, 11, 2, "W-1")],
            "meta": {"pagination": {"total": 2, "total_pages": 1}}})),
        "GET /customers?limit=250&include=attributes&after=c2%3D" => good(json!({"data": [
            {"id": 12, "email": null, "attribute_count": 0, "attributes": []},
        ], "meta": {"cursor_pagination": {"end_cursor": "c3=", "links": {"previous": "?before=c3="}}}})),
        other => panic!("{other}"),
    })
    .await;
    let before = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
    let pages: Vec<Page> = store.everything().map(Result::unwrap).collect().await;
    assert_eq!(pages.len(), 2);
    assert_eq!(
        shown(&pages[0]),
        [
            ("10".to_owned(), vec!["Buyer", "absent", "a@example.com"]),
            ("11".to_owned(), vec!["Boss \u{1f600}", "W-1", "absent"]),
        ]
    );
    assert_eq!(shown(&pages[1]), [("12".to_owned(), vec!["absent", "absent", "absent"])]);
    assert_eq!((pages[0].end, pages[1].end), (None, Some(End::Whole)));
    let first = &pages[0].observed[0];
    assert_eq!(first.modified, Timestamp::parse("2026-01-02T03:00:00Z"));
    assert_eq!(first.cells[0].modified, Timestamp::parse("2026-01-02T03:04:05Z"));
    assert_eq!(first.cells[0].token.as_deref(), Some("100"));
    assert_eq!(first.cells[2].modified, None, "a customer dates itself, not its fields");
    assert!(pages[0].clock <= before + Duration::from_millis(50), "the clock before the call, never later");
    assert!(pages[0].clock >= before - Duration::from_secs(5));
    assert_eq!(calls(&server).await.len(), 4);
}

#[tokio::test]
async fn a_customer_without_a_count_is_not_taken_for_complete() {
    let (_server, store) = prepared(|call| {
        if call.line.starts_with("GET /customers?") {
            good(json!({"data": [{"id": 10}], "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
        } else {
            assert!(call.line.contains("customer_id:in=10"));
            good(json!({"data": [value(100, 10, 1, "Buyer")], "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
        }
    })
    .await;
    let page = &feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap();
    assert_eq!(shown(page), [("10".to_owned(), vec!["Buyer", "absent", "unseen"])], "no e-mail shown: unseen");
}

#[tokio::test]
async fn the_customers_feed_walks_numbers_where_no_cursor_is_offered() {
    let (server, store) = prepared(|call| {
        let meta = json!({"pagination": {"total": 2, "total_pages": 2}});
        let id = if call.line.ends_with("&page=2") { 2 } else { 1 };
        good(json!({"data": [{"id": id, "attribute_count": 0}], "meta": meta}))
    })
    .await;
    let pages = feed(&store, FEED_CUSTOMERS).await;
    assert_eq!(pages.len(), 2);
    assert_eq!(pages[1].as_ref().unwrap().end, Some(End::Whole));
    assert_eq!(
        calls(&server).await[1..],
        [
            "GET /customers?limit=250&include=attributes&date_modified:min=2026-01-02T00:00:00Z",
            "GET /customers?limit=250&include=attributes&date_modified:min=2026-01-02T00:00:00Z&page=2",
        ]
    );
}

#[tokio::test]
async fn the_values_feed_shows_single_cells() {
    let (server, store) = prepared(|call| {
        let (rows, page) = if call.line.ends_with("&page=2") {
            (json!([value(102, 11, 1, "")]), 2)
        } else {
            (json!([value(100, 10, 1, "Buyer"), value(101, 10, 2, "W-1")]), 1)
        };
        good(json!({"data": rows, "meta": {"pagination": {"total": 3, "total_pages": 2, "current_page": page}}}))
    })
    .await;
    let pages: Vec<Page> = feed(&store, FEED_ATTRIBUTE_VALUES).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(shown(&pages[0]), [("10".to_owned(), vec!["Buyer", "W-1", "unseen"])]);
    assert_eq!(shown(&pages[1]), [("11".to_owned(), vec!["absent", "unseen", "unseen"])]);
    assert_eq!(pages[1].observed[0].cells[0].token.as_deref(), Some("102"), "an empty value is still a row");
    assert_eq!(pages[0].observed[0].modified, None);
    let line = "GET /customers/attribute-values?limit=250&attribute_id:in=1,2&date_modified:min=2026-01-02T00:00:00Z";
    assert_eq!(calls(&server).await[1], line);
}

#[tokio::test]
async fn a_torn_feed_is_read_four_times_and_then_says_so() {
    let (server, store) = prepared(|call| {
        // A row of the first page is deleted between the pages, every time, and another slips past the second page.
        let (rows, total) = if call.line.ends_with("&page=2") {
            (json!([value(103, 12, 1, "c")]), 3)
        } else {
            (json!([value(100, 10, 1, "a"), value(101, 11, 1, "b")]), 4)
        };
        good(json!({"data": rows, "meta": {"pagination": {"total": total, "total_pages": 2}}}))
    })
    .await;
    let pages: Vec<Page> = feed(&store, FEED_ATTRIBUTE_VALUES).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(pages.len(), 8);
    assert!(pages[..7].iter().all(|page| page.end.is_none()));
    assert_eq!(pages[7].end, Some(End::Torn));
    assert_eq!(calls(&server).await.len(), 9);
}

#[tokio::test]
async fn a_page_that_repeats_for_ever_ends_in_an_error() {
    let (server, store) = prepared(|_| {
        good(json!({"data": [{"id": 1, "attribute_count": 0}], "meta": {
            "cursor_pagination": {"end_cursor": "same", "links": {"next": "?after=same"}}}}))
    })
    .await;
    let pages: Vec<_> = store.everything().collect().await;
    assert_eq!(pages.len(), 2);
    let failure = pages[1].as_ref().unwrap_err();
    assert_eq!(failure.class, Class::Broken);
    assert!(failure.message.contains("again and again"), "{failure}");
    assert_eq!(calls(&server).await.len(), 3);
}

#[tokio::test]
async fn without_attributes_there_is_one_feed_and_no_include() {
    let server = server(|call| {
        assert_eq!(call.line, "GET /customers?limit=250&date_modified:min=2026-01-02T00:00:00Z");
        good(json!({"data": [{"id": 1, "first_name": "Ann", "last_name": " Lee "}]}))
    })
    .await;
    let store = BigCommerce::new(settings(&server.uri(), &["customer:name"])).unwrap();
    assert_eq!(store.feeds(), [FEED_CUSTOMERS]);
    let page = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap();
    assert_eq!(shown(&page), [("1".to_owned(), vec!["Ann Lee"])]);
}

// Direct reads.

#[tokio::test]
async fn a_recheck_of_values_is_one_call_and_complete() {
    let (server, store) = prepared(|_| {
        good(json!({"data": [value(100, 10, 2, "W-1")], "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
    })
    .await;
    let keys = [Key::new("11"), Key::new("10"), Key::new("no number")];
    let records = store.fetch(&keys, &[1], NO_RESERVATION).await.unwrap();
    let cells: Vec<Vec<&str>> = records.iter().map(|record| record.cells.iter().map(text).collect()).collect();
    assert_eq!(cells[0], ["unseen", "absent", "unseen"]);
    assert_eq!(cells[1], ["unseen", "W-1", "unseen"]);
    assert_eq!(records[0].existence, Existence::NotSaid);
    assert_eq!(records[1].cells[1].token.as_deref(), Some("100"));
    assert_eq!(records[2].existence, Existence::Gone);
    assert_eq!(
        calls(&server).await[1..],
        ["GET /customers/attribute-values?limit=250&customer_id:in=10,11&attribute_id:in=2"]
    );
}

#[tokio::test]
async fn existence_is_asked_of_customers() {
    let (server, store) = prepared(|_| {
        good(json!({"data": [{"id": 10, "email": "a@example.com", "attribute_count": 0}],
            "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
    })
    .await;
    let keys = [Key::new("10"), Key::new("11")];
    let records = store.fetch(&keys, &[], NO_RESERVATION).await.unwrap();
    assert_eq!((&records[0].existence, &records[1].existence), (&Existence::Present, &Existence::Gone));
    assert!(records.iter().flat_map(|record| &record.cells).all(|cell| cell.seen.is_unseen()));
    let records = store.fetch(&keys[..1], &[0, 2], NO_RESERVATION).await.unwrap();
    assert_eq!(records[0].cells.iter().map(text).collect::<Vec<_>>(), ["absent", "unseen", "a@example.com"]);
    assert_eq!(
        calls(&server).await[1..],
        ["GET /customers?limit=250&id:in=10,11", "GET /customers?limit=250&include=attributes&id:in=10",]
    );
}

// Definitions.

#[tokio::test]
async fn a_missing_attribute_is_made_only_where_both_allow_it() {
    let made = Arc::new(AtomicUsize::new(0));
    let server = server({
        let made = Arc::clone(&made);
        move |call| match call.line.as_str() {
            "GET /customers/attributes?limit=250" => {
                let mut rows = definitions()["data"].as_array().unwrap().clone();
                if made.load(Ordering::SeqCst) > 0 {
                    rows.push(json!({"id": 3, "name": "Grade", "type": "string"}));
                }
                good(json!({"data": rows, "meta": {}}))
            }
            "POST /customers/attributes" => {
                assert_eq!(call.body, json!([{"name": "Grade", "type": "string"}]));
                // Somebody else was quicker.
                made.fetch_add(1, Ordering::SeqCst);
                ResponseTemplate::new(422).set_body_json(json!({"title": "already exists"}))
            }
            other => panic!("{other}"),
        }
    })
    .await;
    let fields = ["attribute:Grade", "attribute:Job titel", "customer:groups"];
    let refusing = BigCommerce::new(settings(&server.uri(), &fields)).unwrap();
    let found = refusing.prepare(&[], true).await.unwrap();
    assert_eq!(found.identity, "abc123");
    let sentences: Vec<&str> = found
        .definitions
        .iter()
        .map(|definition| match &definition.state {
            DefinitionState::Unusable(sentence) => sentence.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(sentences[0].contains("create_attributes = true"), "{}", sentences[0]);
    assert!(sentences[1].contains("nearest is `Job title`"), "{}", sentences[1]);
    assert!(sentences[2].contains("nearest is `customer:group`"), "{}", sentences[2]);

    let allowed = |fields: &[&str]| {
        let mut settings = settings(&server.uri(), fields);
        settings.create_attributes = true;
        BigCommerce::new(settings).unwrap()
    };
    let store = allowed(&fields[..1]);
    let found = store.prepare(&[], false).await.unwrap();
    assert!(matches!(found.definitions[0].state, DefinitionState::ToCreate(_)));
    assert_eq!(made.load(Ordering::SeqCst), 0);
    let found = store.prepare(&[], true).await.unwrap();
    assert!(matches!(found.definitions[0].state, DefinitionState::Created(_)));
    assert_eq!(found.definitions[0].id.as_deref(), Some("3"));
    let found = store.prepare(&[Some("3".to_owned())], true).await.unwrap();
    assert!(matches!(found.definitions[0].state, DefinitionState::Usable(_)));
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_full_store_takes_no_more_attributes() {
    let server = server(|call| {
        assert!(call.line.starts_with("GET "));
        let rows: Vec<Json> =
            (1..=50).map(|id| json!({"id": id, "name": format!("A{id}"), "type": "string"})).collect();
        good(json!({"data": rows, "meta": {}}))
    })
    .await;
    let mut settings = settings(&server.uri(), &["attribute:Grade"]);
    settings.create_attributes = true;
    let found = BigCommerce::new(settings).unwrap().prepare(&[], true).await.unwrap();
    let DefinitionState::Unusable(sentence) = &found.definitions[0].state else { panic!() };
    assert!(sentence.contains("50 attributes already"), "{sentence}");
}

#[tokio::test]
async fn a_deleted_attribute_leaves_its_values_unseen() {
    let (server, store) = prepared(|_| {
        good(json!({"data": [{"id": 10, "attribute_count": 1, "attributes": [value(100, 10, 1, "Buyer")]}],
            "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
    })
    .await;
    let known = [Some("1".to_owned()), Some("77".to_owned())];
    let found = store.prepare(&known, true).await.unwrap();
    assert!(matches!(found.definitions[1].state, DefinitionState::Changed(_)));
    let page = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap();
    assert_eq!(shown(&page), [("10".to_owned(), vec!["Buyer", "unseen", "unseen"])]);
    let outcomes = store.write(&[write(10, 1, Some("x"), None)], NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["not sent"]);
    assert!(calls(&server).await.iter().all(|call| call.starts_with("GET ")));
}

#[tokio::test]
async fn before_it_is_prepared_nothing_is_read_or_written() {
    let server = server(|call| panic!("{}", call.line)).await;
    let store = BigCommerce::new(settings(&server.uri(), FIELDS)).unwrap();
    assert_eq!(store.everything().next().await.unwrap().unwrap_err().class, Class::Broken);
    assert_eq!(store.fetch(&[Key::new("1")], &[0], NO_RESERVATION).await.unwrap_err().class, Class::Broken);
    let outcomes = store.write(&[write(1, 0, Some("x"), None)], NO_RESERVATION).await;
    assert!(matches!(&outcomes[0], Outcome::NotSent(failure) if failure.class == Class::Broken));
}

// Answers that are sparse, or written otherwise than documented.

#[tokio::test]
async fn numbers_as_text_and_text_as_numbers_are_read_all_the_same() {
    let (_server, store) = prepared(|call| {
        let values = |rows: Json| {
            json!({"data": rows, "new": {"field": 1}, "meta": {"pagination": {"total": "1", "count": "1",
                "per_page": "250", "current_page": "1", "total_pages": "1", "links": []}}})
        };
        let value = json!({"id": "100", "attribute_id": "1", "attribute_value": 12.5, "customer_id": "10",
            "date_created": null, "date_modified": "2026-01-02T03:04:05+00:00", "new": [1]});
        good(if call.line.starts_with("GET /customers?") {
            let customer = json!({"id": "10", "email": null, "attribute_count": "1", "attributes": [value]});
            values(json!([customer]))
        } else {
            values(json!([value]))
        })
    })
    .await;
    for name in [FEED_CUSTOMERS, FEED_ATTRIBUTE_VALUES] {
        let pages = feed(&store, name).await;
        let page = pages[0].as_ref().unwrap();
        assert_eq!((pages.len(), page.end), (1, Some(End::Whole)));
        let cell = &page.observed[0].cells[0];
        assert_eq!((page.observed[0].key.as_str(), text(cell), cell.token.as_deref()), ("10", "12.5", Some("100")));
        assert_eq!(cell.modified, Timestamp::parse("2026-01-02T03:04:05Z"));
    }
}

#[tokio::test]
async fn an_empty_list_is_the_end_whatever_stands_beside_it() {
    for meta in [json!({}), json!(null), json!([]), json!({"pagination": null}), json!({"pagination": {"total": 0}})] {
        let shown = meta.clone();
        let (server, store) = prepared(move |_| good(json!({"data": [], "meta": shown}))).await;
        let pages = feed(&store, FEED_ATTRIBUTE_VALUES).await;
        assert_eq!(pages[0].as_ref().unwrap().end, Some(End::Whole), "{meta}");
        assert_eq!(calls(&server).await.len(), 2, "{meta}");
    }
}

#[tokio::test]
async fn a_count_that_is_not_the_number_of_values_shown_is_looked_into() {
    for count in [json!(0), json!(2), json!(null)] {
        let shown = count.clone();
        let (server, store) = prepared(move |call| {
            let page = |rows: Json| good(json!({"data": rows, "meta": {"pagination": {"total": 1}}}));
            if call.line.starts_with("GET /customers?") {
                page(json!([{"id": 10, "attribute_count": shown, "attributes": [value(100, 10, 1, "Buyer")]}]))
            } else {
                page(json!([value(100, 10, 1, "Buyer")]))
            }
        })
        .await;
        let page = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap();
        assert_eq!(shown_of(&page), ["Buyer", "absent", "unseen"], "{count}");
        assert_eq!(calls(&server).await.len(), 3, "{count}: read again once, not for ever");
    }
}

fn shown_of(page: &Page) -> Vec<&str> {
    page.observed[0].cells.iter().map(text).collect()
}

#[tokio::test]
async fn a_store_that_dates_no_answer_is_asked_for_its_time() {
    let time_s = since().as_millis() as u64 / 1000 + 500;
    let (address, asked) = bare_server(move |line| match line {
        "GET /v2/time" => (200, json!({"time": time_s})),
        line if line.starts_with("GET /v3/customers/attributes?") => (200, definitions()),
        _ => (200, json!({"data": [], "meta": {"pagination": {"total": 0}}})),
    })
    .await;
    let store = BigCommerce::new(settings(&address, FIELDS)).unwrap();
    let time = since() + Duration::from_secs(500);
    let clock = store.prepare(&[], false).await.unwrap().clock;
    assert!(clock <= time + Duration::from_secs(2) && clock + Duration::from_secs(2) > time, "{clock}");
    let page = feed(&store, FEED_ATTRIBUTE_VALUES).await.remove(0).unwrap();
    assert!(page.clock >= clock && page.clock <= time + Duration::from_secs(2), "{}", page.clock);
    let asked = asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|line| *line == "GET /v2/time").count(), 1, "{asked:?}");
    assert_eq!(asked.len(), 4, "the first question again, once: {asked:?}");
}

#[tokio::test]
async fn a_store_that_tells_no_time_at_all_says_so_and_can_be_read_directly() {
    let (address, asked) = bare_server(|line| match line {
        "GET /v2/time" => (403, json!({"title": "no scope"})),
        line if line.starts_with("GET /v3/customers/attributes?") => (200, definitions()),
        _ => (200, json!({"data": [{"id": 1, "email": "a@example.com"}]})),
    })
    .await;
    let failure = BigCommerce::new(settings(&address, FIELDS)).unwrap().prepare(&[], false).await.unwrap_err();
    assert!(failure.message.contains("`/v2/time`"), "{failure}");
    let store = BigCommerce::new(settings(&address, &["customer:email"])).unwrap();
    for _ in 0..3 {
        let records = store.fetch(&[Key::new("1")], &[0], NO_RESERVATION).await.unwrap();
        assert_eq!(text(&records[0].cells[0]), "a@example.com");
    }
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2 + 4, "its time is asked for once: {asked:?}");
}

#[tokio::test]
async fn a_list_of_ids_that_is_refused_is_halved_and_that_is_remembered() {
    let (server, store) = prepared(|call| {
        let ids = call.line.split("id:in=").nth(1).unwrap().split('&').next().unwrap();
        let ids: Vec<u64> = ids.split(',').map(|id| id.parse().unwrap()).collect();
        if ids.len() > 40 {
            return ResponseTemplate::new(422).set_body_json(json!({"title": "too many ids"}));
        }
        let rows: Vec<Json> = ids.iter().map(|id| value(*id, *id, 1, "x")).collect();
        good(json!({"data": rows, "meta": {"pagination": {"total": ids.len()}}}))
    })
    .await;
    let keys: Vec<Key> = (1..=100).map(|id| Key::new(id.to_string())).collect();
    for calls_so_far in [1 + 2 + 4, 1 + 2 + 4 + 4] {
        let records = store.fetch(&keys, &[0], NO_RESERVATION).await.unwrap();
        assert!(records.iter().all(|record| text(&record.cells[0]) == "x"));
        assert_eq!(calls(&server).await.len(), calls_so_far);
    }
}

#[tokio::test]
async fn definitions_that_were_not_all_seen_are_not_taken_for_deleted() {
    let server = server(|_| {
        let mut shown = definitions();
        shown["meta"]["pagination"]["total"] = json!(3);
        good(shown)
    })
    .await;
    let mut settings = settings(&server.uri(), &["attribute:Grade"]);
    settings.create_attributes = true;
    let store = BigCommerce::new(settings).unwrap();
    let failure = store.prepare(&[Some("3".to_owned())], true).await.unwrap_err();
    assert_eq!(failure.class, Class::Broken, "the second page repeats the first: {failure}");
    assert!(calls(&server).await.iter().all(|call| call.starts_with("GET ")), "and none is made a second time");
}

#[tokio::test]
async fn an_attribute_that_does_not_appear_at_once_is_not_made_twice() {
    for status in [200, 500] {
        let server = server(move |call| match call.line.as_str() {
            "POST /customers/attributes" => ResponseTemplate::new(status).set_body_json(json!({"data": []})),
            _ => good(definitions()),
        })
        .await;
        let mut settings = settings(&server.uri(), &["attribute:Grade"]);
        settings.create_attributes = true;
        let store = BigCommerce::new(settings).unwrap();
        assert_eq!(store.prepare(&[], true).await.unwrap_err().class, Class::Retry);
        for _ in 0..3 {
            let found = store.prepare(&[], true).await.unwrap();
            assert!(matches!(found.definitions[0].state, DefinitionState::ToCreate(_)));
        }
        let made = calls(&server).await.iter().filter(|call| call.starts_with("POST")).count();
        assert_eq!(made, 1, "{status}");
    }
}

#[tokio::test]
async fn a_page_that_is_too_much_for_the_store_is_asked_for_in_smaller_ones() {
    let page = |ids: std::ops::Range<u64>, next: bool| {
        let end = ids.end;
        let rows: Vec<Json> = ids.map(|id| json!({"id": id, "attribute_count": 0})).collect();
        let links = if next { json!({"next": format!("?after={end}")}) } else { json!({}) };
        let mut meta = json!({"cursor_pagination": {"end_cursor": end.to_string(), "links": links}});
        if end == 250 {
            meta["pagination"] = json!({"total": 320});
        }
        good(json!({"data": rows, "meta": meta}))
    };
    let (server, store) = prepared(move |call| match call.line.as_str() {
        "GET /customers?limit=250&include=attributes" => page(0..250, true),
        "GET /customers?limit=50&include=attributes&after=250" => page(250..300, true),
        "GET /customers?limit=50&include=attributes&after=300" => page(300..320, false),
        "GET /customers?limit=250&include=attributes&after=250" => ResponseTemplate::new(504),
        other => panic!("{other}"),
    })
    .await;
    let pages: Vec<Page> = store.everything().map(Result::unwrap).collect().await;
    assert_eq!(pages.iter().map(|page| page.observed.len()).collect::<Vec<_>>(), [250, 50, 20]);
    assert_eq!(pages[2].end, Some(End::Whole));
    assert_eq!(calls(&server).await.len(), 5);
}

#[tokio::test]
async fn a_page_that_is_too_large_to_be_read_is_asked_for_in_smaller_ones() {
    let (server, store) = prepared(|call| {
        let notes = if call.line.contains("limit=250") { 17 * 1024 * 1024 } else { 100 };
        good(json!({"data": [{"id": 1, "attribute_count": 0, "notes": "x".repeat(notes)}],
            "meta": {"pagination": {"total": 1}, "cursor_pagination": {"end_cursor": "a", "links": {}}}}))
    })
    .await;
    let pages: Vec<Page> = store.everything().map(Result::unwrap).collect().await;
    assert_eq!(pages.len(), 1);
    assert_eq!(calls(&server).await[1..].len(), 2);
}

#[tokio::test]
async fn a_direct_read_without_a_reservation_waits_its_turn() {
    let (server, store) = prepared(|_| {
        good(json!({"data": [], "meta": {"pagination": {"total": 0}}}))
            .insert_header("x-rate-limit-requests-quota", "100")
            .insert_header("x-rate-limit-requests-left", "0")
            .insert_header("x-rate-limit-time-reset-ms", "600")
            .insert_header("x-rate-limit-time-window-ms", "30000")
    })
    .await;
    let keys = [Key::new("1")];
    store.fetch(&keys, &[0], NO_RESERVATION).await.unwrap();
    let began = std::time::Instant::now();
    store.fetch(&keys, &[0], NO_RESERVATION).await.unwrap();
    assert!(began.elapsed() > Duration::from_millis(500), "nothing was left: {:?}", began.elapsed());
    assert_eq!(calls(&server).await.len(), 3);
}
