//! Upserts and deletes, and what became of them.

use super::*;

#[tokio::test]
async fn stored_rows_are_found_by_customer_and_attribute_not_by_place() {
    let (server, store) = prepared(|call| {
        assert_eq!(call.line, "PUT /customers/attribute-values");
        assert_eq!(
            call.body,
            json!([
                {"attribute_id": 1, "value": "a", "customer_id": 10},
                {"attribute_id": 2, "value": "b", "customer_id": 10},
                {"attribute_id": 1, "value": "c", "customer_id": 11},
            ])
        );
        good(json!({"data": [value(3, 11, 1, "C"), value(1, 10, 1, "a")], "meta": {}}))
    })
    .await;
    let batch = [write(10, 0, Some("a"), Some("1")), write(10, 1, Some("b"), None), write(11, 0, Some("c"), Some("3"))];
    let outcomes = store.write(&batch, NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["written", "unknown", "written"]);
    let Outcome::Written { stored } = &outcomes[2] else { panic!() };
    assert_eq!((text(stored), stored.token.as_deref()), ("C", Some("3")));
    assert_eq!(stored.modified, Timestamp::parse("2026-01-02T03:04:05Z"));
    assert_eq!(calls(&server).await.len(), 2, "a write is sent once");
}

#[tokio::test]
async fn every_refusal_of_a_write_has_its_outcome() {
    let status = Arc::new(AtomicUsize::new(0));
    let (server, store) = prepared({
        let status = Arc::clone(&status);
        move |_| {
            let status = status.load(Ordering::SeqCst) as u16;
            let body = format!(r#"{{"title":"bob@example.com {TOKEN}","errors":{{"0.value":"too odd"}}}}"#);
            ResponseTemplate::new(status).set_body_string(body).insert_header("x-request-id", "req-1")
        }
    })
    .await;
    let batch = [write(10, 0, Some("a"), None), write(11, 0, Some("b"), None)];
    for (answer, one, two) in [
        (422, "rejected", "batch rejected"),
        (400, "rejected", "batch rejected"),
        (413, "rejected", "batch rejected"),
        (401, "not sent", "not sent"),
        (403, "not sent", "not sent"),
        (500, "unknown", "unknown"),
        (503, "unknown", "unknown"),
        (404, "unknown", "unknown"),
        (200, "unknown", "unknown"),
        (302, "unknown", "unknown"),
    ] {
        status.store(answer, Ordering::SeqCst);
        let sent_before = calls(&server).await.len();
        assert_eq!(said(&store.write(&batch[..1], NO_RESERVATION).await), [one], "{answer}");
        let outcomes = store.write(&batch, NO_RESERVATION).await;
        assert_eq!(said(&outcomes), [two, two], "{answer}");
        assert_eq!(calls(&server).await.len(), sent_before + 2, "each was sent once");
        let printed = format!("{outcomes:?}");
        assert!(!printed.contains(TOKEN), "{printed}");
        for outcome in &outcomes {
            let (Outcome::NotSent(failure) | Outcome::Unknown(failure) | Outcome::BatchRejected(failure)) = outcome
            else {
                panic!("{outcome:?}")
            };
            assert!(!failure.to_string().contains("bob@example.com"));
            if answer != 200 {
                assert_eq!(failure.status, Some(answer as u16));
                assert_eq!(failure.request_id.as_deref(), Some("req-1"));
                assert!(failure.detail.as_ref().unwrap().contains("bob@example.com"));
            }
        }
    }
}

#[tokio::test]
async fn a_write_after_a_429_is_not_sent_until_the_system_is_ready() {
    let (server, store) =
        prepared(|_| ResponseTemplate::new(429).insert_header("x-rate-limit-time-reset-ms", "60000")).await;
    let batch = [write(10, 0, Some("a"), None)];
    let reservation = store.reserve(Lane::Fresh, 2).await.unwrap();
    for _ in 0..2 {
        let outcomes = store.write(&batch, reservation.as_ref()).await;
        let Outcome::NotSent(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
        assert!(failure.retry_after.unwrap() > Duration::from_secs(50));
    }
    assert_eq!(calls(&server).await.len(), 2, "the second was not even sent");
}

#[tokio::test]
async fn a_write_that_is_not_answered_is_unknown_and_one_that_cannot_leave_is_not_sent() {
    let (server, store) = prepared(|_| good(json!({"data": []})).set_delay(Duration::from_secs(20))).await;
    let batch = [write(10, 0, Some("a"), None)];
    let outcomes = store.write(&batch, NO_RESERVATION).await;
    let Outcome::Unknown(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert!(failure.message.contains("did not answer in time"), "{failure}");
    drop(server);
    // The port is closed only after the pooled connections are: what is certain is that nothing answers there.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let store = BigCommerce::new(settings(&address, &["customer:email"])).unwrap();
    let failure = store.fetch(&[Key::new("1")], &[], NO_RESERVATION).await.unwrap_err();
    assert_eq!((failure.class, failure.may_have_happened), (Class::Retry, false));
    assert!(failure.message.contains("cannot be reached"), "{failure}");
}

#[tokio::test]
async fn a_delete_is_settled_by_reading_back() {
    let answers = Arc::new(Mutex::new((204, json!([]))));
    let (server, store) = prepared({
        let answers = Arc::clone(&answers);
        move |call| {
            let (status, rows) = answers.lock().unwrap().clone();
            if call.line.starts_with("DELETE") {
                return ResponseTemplate::new(status);
            }
            let total = rows.as_array().unwrap().len();
            good(json!({"data": rows, "meta": {"pagination": {"total": total, "total_pages": 1}}}))
        }
    })
    .await;
    let batch = [write(10, 0, None, Some("100")), write(11, 1, None, Some("101")), write(12, 0, None, None)];
    let outcomes = store.write(&batch, NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["written", "written", "not sent"]);
    assert!(matches!(&outcomes[0], Outcome::Written { stored } if stored.seen == Seen::Absent));
    assert_eq!(
        calls(&server).await[1..],
        [
            "DELETE /customers/attribute-values?id:in=100,101",
            "GET /customers/attribute-values?limit=250&customer_id:in=10,11&attribute_id:in=1,2",
        ]
    );
    *answers.lock().unwrap() = (204, json!([value(100, 10, 1, "still")]));
    assert_eq!(said(&store.write(&batch[..2], NO_RESERVATION).await), ["unknown", "written"]);
    *answers.lock().unwrap() = (500, json!([]));
    assert_eq!(said(&store.write(&batch[..2], NO_RESERVATION).await), ["written", "written"]);
    *answers.lock().unwrap() = (422, json!([]));
    let calls_before = calls(&server).await.len();
    assert_eq!(said(&store.write(&batch[..1], NO_RESERVATION).await), ["rejected"]);
    assert_eq!(said(&store.write(&batch[2..], NO_RESERVATION).await), ["not sent"]);
    assert_eq!(calls(&server).await.len(), calls_before + 1);
}
