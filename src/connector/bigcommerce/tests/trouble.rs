//! Answers as they should not be, secrets that are refused, stopping.

use super::*;

#[tokio::test]
async fn what_cannot_be_read_is_broken_for_a_read_and_unknown_for_a_write() {
    let body = Arc::new(Mutex::new(String::new()));
    let (_server, store) = prepared({
        let body = Arc::clone(&body);
        move |_| ResponseTemplate::new(200).set_body_string(body.lock().unwrap().clone())
    })
    .await;
    for (answer, says) in [
        ("<html><body>Sign in, bob@example.com</body></html>", "HTML instead of JSON"),
        (r#"{"data": [{"id": 1, "email": "bob@exa"#, "cut off"),
        (r#"{"data": {"id": 1}}"#, "a shape"),
        (r#"{"data": [{"id": "bob@example.com"}]}"#, "a shape"),
        (r#"{"meta": {}}"#, "a shape"),
        ("", "nothing"),
    ] {
        answer.clone_into(&mut body.lock().unwrap());
        let failure = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap_err();
        assert_eq!(failure.class, Class::Broken, "{answer}");
        assert!(failure.message.contains(says), "{failure}");
        assert!(!failure.to_string().contains("bob"), "{failure}");
        let outcomes = store.write(&[write(10, 0, Some("a"), None)], NO_RESERVATION).await;
        assert_eq!(said(&outcomes), ["unknown"], "{answer}");
    }
}

#[tokio::test]
async fn an_answer_that_becomes_readable_is_read() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (_server, store) = prepared_with(|settings| settings.patience = Duration::from_secs(30), {
        let asked = Arc::clone(&asked);
        move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => ResponseTemplate::new(503),
            1 => ResponseTemplate::new(200).set_body_string("<html>maintenance</html>"),
            2 => ResponseTemplate::new(429).insert_header("x-rate-limit-time-reset-ms", "30"),
            _ => good(json!({"data": [], "meta": {}})),
        }
    })
    .await;
    let page = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap();
    assert_eq!(page.end, Some(End::Whole));
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_body_without_end_is_refused_and_not_kept() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let written = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let written = Arc::clone(&written);
        async move {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
            let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, " ".repeat(1 << 16));
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let _ = socket.write_all(head.as_bytes()).await;
                while socket.write_all(chunk.as_bytes()).await.is_ok() {
                    written.fetch_add(1 << 16, Ordering::SeqCst);
                }
            }
        }
    });
    let mut settings = settings(&address, &["customer:email"]);
    settings.client = Client::default();
    let store = BigCommerce::new(settings).unwrap();
    let failure = store.everything().next().await.unwrap().unwrap_err();
    assert_eq!(failure.class, Class::Broken);
    assert!(failure.message.contains("16777216 bytes"), "{failure}");
    // It is asked for once more, in smaller pages. What lies in the sockets' buffers was sent as well.
    assert!(written.load(Ordering::SeqCst) < 128 * 1024 * 1024);
}

#[tokio::test]
async fn an_announced_gigabyte_is_not_even_begun() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n{").await;
            let _ = socket.read(&mut request).await;
        }
    });
    let store = BigCommerce::new(settings(&address, &["customer:email"])).unwrap();
    let failure = store.everything().next().await.unwrap().unwrap_err();
    assert_eq!(failure.class, Class::Broken);
    assert!(failure.message.contains("16777216 bytes"), "{failure}");
}

#[tokio::test]
async fn a_redirect_is_refused() {
    let (server, store) =
        prepared(|_| ResponseTemplate::new(301).insert_header("location", "http://127.0.0.1:9/elsewhere")).await;
    let failure = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap_err();
    assert_eq!(failure.class, Class::Misconfigured);
    assert!(failure.message.contains("redirect"), "{failure}");
    assert_eq!(calls(&server).await.len(), 2);
}

#[tokio::test]
async fn a_refused_read_is_our_defect() {
    let (_server, store) = prepared(|_| {
        ResponseTemplate::new(422)
            .set_body_json(json!({"title": "The filter(s): foo are not valid filter parameter(s)."}))
    })
    .await;
    let failure = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap_err();
    assert_eq!(failure.class, Class::Broken);
    assert!(failure.detail.unwrap().contains("filter(s)"));
}

// Secrets.

#[tokio::test]
async fn a_refused_token_is_read_again_and_tried_once_more_if_it_changed() {
    let server = server(|call| {
        if call.token == "new" { good(definitions()) } else { ResponseTemplate::new(401).set_body_string(TOKEN) }
    })
    .await;
    let reads = Arc::new(AtomicUsize::new(0));
    let mut settings = settings(&server.uri(), FIELDS);
    settings.access_token = {
        let reads = Arc::clone(&reads);
        Arc::new(move || {
            let old = reads.fetch_add(1, Ordering::SeqCst) == 0;
            Ok(SecretString::from(if old { TOKEN } else { "new\n" }))
        })
    };
    let store = BigCommerce::new(settings).unwrap();
    store.prepare(&[], false).await.unwrap();
    store.prepare(&[], false).await.unwrap();
    assert_eq!(calls(&server).await.len(), 3);
    assert_eq!(reads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_that_stays_refused_is_not_tried_twice() {
    for (status, says) in [(401, "access token"), (403, "scope")] {
        let server =
            server(move |_| ResponseTemplate::new(status).set_body_string(TOKEN).insert_header("x-request-id", TOKEN))
                .await;
        let store = BigCommerce::new(settings(&server.uri(), FIELDS)).unwrap();
        let failure = store.prepare(&[], false).await.unwrap_err();
        assert_eq!(failure.class, Class::Auth);
        assert!(failure.message.contains(says), "{failure}");
        let printed = format!("{failure} {failure:?} {store:?}");
        assert!(!printed.contains(TOKEN), "{printed}");
        assert_eq!(calls(&server).await.len(), 1);
    }
}

#[tokio::test]
async fn a_token_that_an_answer_holds_is_never_shown() {
    for odd in [
        // Cut in the middle of the token, where half of it would not be recognised.
        ResponseTemplate::new(422).set_body_string(format!("{}{TOKEN}", "x".repeat(490))),
        ResponseTemplate::new(422).set_body_json(json!({"title": "no", "errors": {TOKEN: TOKEN}})),
        ResponseTemplate::new(200).set_body_json(json!({"data": TOKEN})),
        ResponseTemplate::new(200).set_body_json(json!({"data": [{"id": TOKEN}]})),
    ] {
        let (_server, store) = prepared(move |_| odd.clone()).await;
        let failure = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap_err();
        let outcomes = store.write(&[write(10, 0, Some("a"), None)], NO_RESERVATION).await;
        let printed = format!("{failure} {failure:?} {outcomes:?}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

#[tokio::test]
async fn a_429_that_asks_for_no_wait_does_not_make_us_hammer() {
    let (server, store) = prepared(|_| {
        ResponseTemplate::new(429).insert_header("x-rate-limit-time-reset-ms", "0").insert_header("x-retry-after", "0")
    })
    .await;
    let read = feed(&store, FEED_CUSTOMERS);
    assert!(
        tokio::time::timeout(Duration::from_millis(1200), read).await.is_err(),
        "waiting for a quota is not failing"
    );
    let asked = calls(&server).await.len();
    assert!((2..=4).contains(&asked), "{asked} calls");
}

#[tokio::test]
async fn a_token_that_is_no_token_is_misconfigured_and_not_echoed() {
    let server = server(|call| panic!("{}", call.line)).await;
    for (secret, says) in
        [(Err("no file at /nowhere"), "no file"), (Ok(" \n"), "empty"), (Ok("hunter2\nhunter3"), "line break")]
    {
        let mut settings = settings(&server.uri(), FIELDS);
        settings.access_token = Arc::new(move || secret.map(SecretString::from).map_err(str::to_owned));
        let failure = BigCommerce::new(settings).unwrap().prepare(&[], false).await.unwrap_err();
        assert_eq!(failure.class, Class::Misconfigured);
        assert!(failure.message.contains(says) && !format!("{failure:?}").contains("hunter"), "{failure:?}");
    }
}

#[test]
fn a_store_hash_cannot_change_the_address() {
    for hash in ["", "../x", "abc?x", "abc/v2"] {
        let mut settings = settings("https://api.bigcommerce.com", FIELDS);
        settings.store_hash = hash.to_owned();
        assert_eq!(BigCommerce::new(settings).unwrap_err().class, Class::Misconfigured, "{hash}");
    }
}

// Stopping.

#[tokio::test]
async fn a_read_ends_at_once_when_attune_stops() {
    let cancel = CancellationToken::new();
    let (_server, store) = prepared_with(
        |settings| {
            settings.cancel = cancel.clone();
            settings.client = Client::default();
            settings.patience = Duration::from_secs(3600);
        },
        {
            let cancel = cancel.clone();
            move |_| {
                cancel.cancel();
                good(json!({"data": []})).set_delay(Duration::from_secs(25))
            }
        },
    )
    .await;
    let began = std::time::Instant::now();
    let failure = feed(&store, FEED_CUSTOMERS).await.remove(0).unwrap_err();
    assert!(failure.message.contains("stopp"), "{failure}");
    assert!(began.elapsed() < Duration::from_secs(20));
    let outcomes = store.write(&[write(10, 0, Some("a"), None)], NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["not sent"]);
}
