//! What has lists of its own beside the customers: memberships, metafields, subscribers, addresses.

use super::*;
use crate::connector::bigcommerce::{FEED_METAFIELDS, FEED_SEGMENTS, FEED_SUBSCRIBERS};

const GOLD: &str = "5e60e47a-0000-4000-8000-000000000001";

fn segments() -> Json {
    json!({"data": [{"id": GOLD, "name": "Gold"}], "meta": {"pagination": {"total": 1, "total_pages": 1}}})
}

fn listed(rows: &[Json]) -> ResponseTemplate {
    good(json!({"data": rows, "meta": {"pagination": {"total": rows.len(), "total_pages": 1}}}))
        .insert_header("date", "Fri, 02 Jan 2026 03:04:05 GMT")
}

/// Prepared with these fields, on a server that has one segment.
async fn with_fields(
    fields: &[&str],
    answer: impl Fn(&Call) -> ResponseTemplate + Send + Sync + 'static,
) -> (MockServer, BigCommerce) {
    let server = server(move |call| match call.line.as_str() {
        line if line.starts_with("GET /customers/attributes?") => good(definitions()),
        "GET /segments?limit=250" => good(segments()),
        "GET /customers?limit=1&include=shopper_profile_id,segment_ids" => listed(&[]),
        _ => answer(call),
    })
    .await;
    let store = BigCommerce::new(settings(&server.uri(), fields)).unwrap();
    store.prepare(&[], false).await.unwrap();
    (server, store)
}

fn expecting(write: Write, seen: Seen, token: Option<&str>) -> Write {
    Write { expect: Cell { seen, token: token.map(str::to_owned), ..Cell::default() }, ..write }
}

fn yes_or_no(word: &str) -> Seen {
    Seen::Value(Value::text(word))
}

#[tokio::test]
async fn every_tenth_poll_reads_who_is_in_and_shows_who_joined_and_who_left() {
    let read = Arc::new(AtomicUsize::new(0));
    let (server, store) = with_fields(&["segment:Gold"], {
        let read = Arc::clone(&read);
        move |call| {
            assert_eq!(call.line, format!("GET /segments/{GOLD}/shopper-profiles?limit=250"));
            let members: &[u64] = match read.fetch_add(1, Ordering::SeqCst) {
                0 => &[1, 2, 3],
                1 => &[2, 3, 4],
                _ => return ResponseTemplate::new(404),
            };
            let rows: Vec<Json> = members.iter().map(|id| json!({"id": format!("p{id}"), "customer_id": id})).collect();
            listed(&rows)
        }
    })
    .await;
    let mut seen = Vec::new();
    for _ in 0..21 {
        let pages: Vec<Page> = feed(&store, FEED_SEGMENTS).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(pages.last().unwrap().end, Some(End::Whole));
        assert!(pages.iter().flat_map(|page| &page.observed).all(|record| record.existence == Existence::NotSaid));
        let rows = pages.iter().flat_map(|page| &page.observed);
        seen.push(rows.map(|record| format!("{} {}", record.key, text(&record.cells[0]))).collect::<Vec<_>>());
    }
    assert_eq!(seen[0], ["1 true", "2 true", "3 true"]);
    assert_eq!(seen[10], ["1 false", "4 true"]);
    assert!(seen[1..10].iter().chain(&seen[11..20]).all(Vec::is_empty));
    assert!(seen[20].is_empty(), "of a segment that is gone nobody is taken for having left");
    assert_eq!(read.load(Ordering::SeqCst), 3);
    drop(server);
}

#[tokio::test]
async fn whoever_has_no_profile_is_in_no_segment_and_what_is_not_shown_is_unseen() {
    let (_server, store) = with_fields(&["segment:Gold"], |call| {
        assert!(
            call.line.starts_with("GET /customers?limit=250&include=shopper_profile_id,segment_ids"),
            "{}",
            call.line
        );
        listed(&[
            json!({"id": 1, "shopper_profile_id": "p1", "segment_ids": [GOLD, "other"]}),
            json!({"id": 2, "shopper_profile_id": "p2", "segment_ids": ["other"]}),
            json!({"id": 3, "shopper_profile_id": null}),
            json!({"id": 4, "shopper_profile_id": "", "segment_ids": null}),
            json!({"id": 5}),
            json!({"id": 6, "shopper_profile_id": "p6"}),
        ])
    })
    .await;
    let pages: Vec<_> = store.everything().map(Result::unwrap).collect().await;
    let members: Vec<&str> = pages[0].observed.iter().map(|record| text(&record.cells[0])).collect();
    assert_eq!(members, ["true", "false", "false", "false", "unseen", "unseen"]);
    assert_eq!(pages[0].observed[0].cells[0].token.as_deref(), Some("p1"));
}

#[tokio::test]
async fn joining_is_proven_by_rows_and_leaving_by_a_read_with_ids_in_every_delete() {
    let (server, store) = with_fields(&["segment:Gold"], |call| match call.line.split('?').next().unwrap() {
        "POST /shopper-profiles" => {
            assert_eq!(call.body, json!([{"customer_id": 2}]));
            ResponseTemplate::new(201).set_body_json(json!({"data": [{"id": "p2", "customer_id": 2}]}))
        }
        line if line.starts_with("POST /segments/") => {
            assert_eq!(call.body, json!(["p1", "p2"]));
            ResponseTemplate::new(201).set_body_json(json!({"data": [{"id": "p1", "customer_id": 1}]}))
        }
        line if line.starts_with("DELETE /segments/") => {
            assert!(call.line.ends_with("?id:in=p3"), "{}", call.line);
            ResponseTemplate::new(204)
        }
        _ => listed(&[
            json!({"id": 2, "shopper_profile_id": "p2", "segment_ids": []}),
            json!({"id": 3, "shopper_profile_id": "p3", "segment_ids": []}),
        ]),
    })
    .await;
    let batch = [
        expecting(write(1, 0, Some("true"), None), yes_or_no("false"), Some("p1")),
        expecting(write(2, 0, Some("true"), None), yes_or_no("false"), None),
        expecting(write(3, 0, Some("false"), None), yes_or_no("true"), Some("p3")),
    ];
    // Customer 2 is not in the answer and not in the segment afterwards: nobody knows.
    assert_eq!(said(&store.write(&batch, NO_RESERVATION).await), ["written", "unknown", "written"]);
    let sent: Vec<String> = calls(&server).await.into_iter().filter(|line| !line.starts_with("GET")).collect();
    assert_eq!(sent.len(), 3, "each once: {sent:?}");
}

#[tokio::test]
async fn a_segment_that_refuses_somebody_refuses_nobody_else() {
    let (_server, store) = with_fields(&["segment:Gold"], |call| match call.line.split('?').next().unwrap() {
        line if line.starts_with("POST /segments/") => ResponseTemplate::new(409).set_body_json(json!({"data": []})),
        _ => listed(&[
            json!({"id": 1, "shopper_profile_id": "p1", "segment_ids": [GOLD]}),
            json!({"id": 2, "shopper_profile_id": "p2", "segment_ids": []}),
            json!({"id": 4, "shopper_profile_id": "p4", "segment_ids": []}),
        ]),
    })
    .await;
    let joins = |customer: u64| {
        let profile = format!("p{customer}");
        expecting(write(customer, 0, Some("true"), None), yes_or_no("false"), Some(&profile))
    };
    // 1 is in it already, 3 is gone.
    let outcomes = store.write(&[joins(1), joins(2), joins(3), joins(4)], NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["written", "batch rejected", "gone", "batch rejected"]);
    assert_eq!(said(&store.write(&[joins(2)], NO_RESERVATION).await), ["rejected"]);
}

fn metafield(id: u64, customer: u64, value: &str, permission: &str) -> Json {
    json!({"id": id, "resource_id": customer, "namespace": "erp", "key": "id", "value": value,
        "permission_set": permission, "date_modified": "2026-01-02T03:04:05+00:00"})
}

#[tokio::test]
async fn of_metafields_what_is_mapped_is_asked_for_and_ours_counts() {
    let (server, store) = with_fields(&["metafield:erp/id"], |call| {
        let mut other = metafield(9, 3, "other", "read");
        other["key"] = json!("other");
        assert!(call.line.contains("namespace:in=erp&key:in=id"), "{}", call.line);
        listed(&[metafield(7, 1, "ours", "app_only"), metafield(8, 1, "theirs", "read"), other])
    })
    .await;
    let pages = feed(&store, FEED_METAFIELDS).await;
    let page = pages[0].as_ref().unwrap();
    assert_eq!(shown(page), [("1".to_owned(), vec!["ours"])]);
    let cell = &page.observed[0].cells[0];
    assert_eq!((cell.token.as_deref(), cell.modified), (Some("7"), Timestamp::parse("2026-01-02T03:04:05Z")));
    assert_eq!(page.observed[0].existence, Existence::NotSaid, "nobody checks that the customer exists");
    let asked = calls(&server).await.pop().unwrap();
    assert!(asked.ends_with("&date_modified:min=2026-01-02T00:00:00Z"), "{asked}");
}

#[tokio::test]
async fn a_batch_of_metafields_that_is_done_in_part_is_read_row_by_row() {
    let errors = Arc::new(Mutex::new(json!([])));
    let (_server, store) = with_fields(&["metafield:erp/id"], {
        let errors = Arc::clone(&errors);
        move |call| {
            assert_eq!(call.line, "POST /customers/metafields");
            assert_eq!(call.body[0]["permission_set"], "app_only");
            let errors = errors.lock().unwrap().clone();
            let body = json!({"data": [metafield(7, 1, "a", "app_only")], "errors": errors,
                "meta": {"total": 3, "success": 1, "failed": 2}});
            ResponseTemplate::new(422).set_body_json(body)
        }
    })
    .await;
    let batch = [write(1, 0, Some("a"), None), write(2, 0, Some("b"), None), write(3, 0, Some("c"), None)];
    let status = |status: u16| json!({"status": status, "errors": {"0": "no"}});
    for (said_of_them, rest) in [
        (json!([status(403), status(403)]), "rejected"),
        (json!([status(403), status(422)]), "batch rejected"),
        (json!([status(429)]), "not sent"),
        (json!([status(500)]), "unknown"),
        (json!([status(404)]), "changed"),
        (json!([]), "unknown"),
    ] {
        *errors.lock().unwrap() = said_of_them.clone();
        let outcomes = store.write(&batch, NO_RESERVATION).await;
        assert_eq!(said(&outcomes), ["written", rest, rest], "{said_of_them}");
        if let Outcome::Rejected(why) = &outcomes[1] {
            assert!(why.contains("belongs to the API account that made it") && why.contains("403"), "{why}");
        }
    }
}

#[tokio::test]
async fn a_metafield_is_deleted_alone_and_seen_to_be_gone() {
    let status = Arc::new(AtomicUsize::new(204));
    let left = Arc::new(AtomicUsize::new(0));
    let (server, store) = with_fields(&["metafield:erp/id"], {
        let (status, left) = (Arc::clone(&status), Arc::clone(&left));
        move |call| {
            if call.line.starts_with("DELETE") {
                assert_eq!(call.line, "DELETE /customers/1/metafields/7");
                return ResponseTemplate::new(status.load(Ordering::SeqCst) as u16);
            }
            assert!(call.line.starts_with("GET /customers/1/metafields?"), "{}", call.line);
            let rows: Vec<Json> = (0..left.load(Ordering::SeqCst)).map(|_| metafield(7, 1, "a", "read")).collect();
            listed(&rows)
        }
    })
    .await;
    for (answer, remaining, outcome) in
        [(204, 0, "written"), (204, 1, "unknown"), (404, 0, "written"), (403, 1, "rejected"), (500, 1, "unknown")]
    {
        status.store(answer, Ordering::SeqCst);
        left.store(remaining, Ordering::SeqCst);
        let outcomes = store.write(&[write(1, 0, None, Some("7"))], NO_RESERVATION).await;
        assert_eq!(said(&outcomes), [outcome], "{answer}");
    }
    assert!(calls(&server).await.iter().all(|line| !line.starts_with("DELETE /customers/metafields")));
    let outcomes = store.write(&[write(1, 0, None, None)], NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["not sent"], "without an id there is nothing to call");
}

fn subscriber(id: u64, email: &str, consents: &[&str]) -> Json {
    json!({"id": id, "email": email, "consents": consents, "date_modified": "2026-01-02T03:04:05Z"})
}

const CONSENTS: &[&str] = &["subscriber:marketing_newsletter", "subscriber:abandoned_cart"];

#[tokio::test]
async fn a_subscriber_is_every_customer_with_the_email_whatever_its_case() {
    let (_server, store) = with_fields(CONSENTS, |call| {
        if call.line.starts_with("GET /customers/subscribers?limit=250&date_modified:min=") {
            let mut silent = subscriber(9, "silent@example.com", &[]);
            silent["consents"] = Json::Null;
            return listed(&[
                subscriber(7, "Ann@Example.com", &["abandoned_cart"]),
                subscriber(8, "nobody@example.com", &[]),
                silent,
            ]);
        }
        let asked = "GET /customers?limit=250&email:in=Ann%40Example.com,ann%40example.com,nobody%40example.com,\
                     silent%40example.com";
        assert_eq!(call.line, asked);
        listed(&[
            json!({"id": 1, "email": "ann@example.com"}),
            json!({"id": 2, "email": "ANN@example.com"}),
            json!({"id": 3, "email": "silent@example.com"}),
        ])
    })
    .await;
    let pages = feed(&store, FEED_SUBSCRIBERS).await;
    let expected = |key: &str| (key.to_owned(), vec!["false", "true"]);
    let mut rows = shown(pages[0].as_ref().unwrap());
    rows.sort();
    assert_eq!(rows, [expected("1"), expected("2"), ("3".to_owned(), vec!["unseen", "unseen"])]);
}

#[tokio::test]
async fn all_consents_of_a_subscriber_are_sent_at_once_and_nobody_is_deleted() {
    let (server, store) = with_fields(CONSENTS, |call| match call.line.as_str() {
        "PUT /customers/subscribers/7" => {
            assert_eq!(call.body, json!({"consents": ["abandoned_cart"]}));
            good(json!({"data": subscriber(7, "a@example.com", &["abandoned_cart"]), "meta": {}}))
        }
        "POST /customers/subscribers" => {
            assert_eq!(call.body, json!({"email": "b@example.com", "consents": ["marketing_newsletter"]}));
            good(json!({"data": subscriber(9, "b@example.com", &["marketing_newsletter"])}))
        }
        other => panic!("{other}"),
    })
    .await;
    let known = r#"{"id":7,"email":"a@example.com","consents":["marketing_newsletter","abandoned_cart"]}"#;
    let outcomes = store.write(&[write(1, 0, Some("false"), Some(known))], NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["written"]);
    let new = r#"{"id":null,"email":"b@example.com","consents":[]}"#;
    let both = [write(2, 0, Some("true"), Some(new)), write(2, 1, Some("false"), Some(new))];
    let outcomes = store.write(&both, NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["written", "written"]);
    let Outcome::Written { stored } = &outcomes[1] else { panic!() };
    assert_eq!(text(stored), "false");
    assert_eq!(said(&store.write(&[write(3, 0, Some("true"), None)], NO_RESERVATION).await), ["not sent"]);
    assert_eq!(calls(&server).await.iter().filter(|line| !line.starts_with("GET")).count(), 2);
}

#[tokio::test]
async fn an_address_that_the_answer_leaves_out_is_read_back() {
    let held = Arc::new(Mutex::new(json!([])));
    let (_server, store) = with_fields(&["address:city", "address:company"], {
        let held = Arc::clone(&held);
        move |call| {
            if call.line.starts_with("GET /customers/addresses?limit=250&customer_id:in=1") {
                return listed(held.lock().unwrap().as_array().unwrap());
            }
            assert_eq!(call.line, "PUT /customers/addresses");
            assert_eq!(call.body, json!([{"id": 7, "city": "Bern", "company": ""}]));
            good(json!({}))
        }
    })
    .await;
    let address = |id: u64, city: &str| json!({"id": id, "customer_id": 1, "city": city, "company": ""});
    let token = r#"{"id":7,"first_name":"A","last_name":"B"}"#;
    let batch = [write(1, 0, Some("Bern"), Some(token)), write(1, 1, None, Some(token))];
    for (rows, outcome) in [
        (json!([address(7, "Bern")]), "written"),
        (json!([address(7, "Akron"), address(8, "Bern")]), "rejected"),
        (json!([address(7, "Akron")]), "rejected"),
    ] {
        *held.lock().unwrap() = rows;
        let outcomes = store.write(&batch, NO_RESERVATION).await;
        assert_eq!(said(&outcomes), [outcome, outcome]);
    }
}
