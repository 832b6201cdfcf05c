//! What is sent, what became of it, and when nothing is.

use super::*;

#[tokio::test]
async fn what_became_of_a_write_is_told_by_what_is_stored_and_not_by_the_status() {
    let buyer = "written Some(\"Buyer\")";
    for (case, answer, stored, expected) in [
        ("it is written", ResponseTemplate::new(204), Some("Buyer"), buyer),
        ("the server made something else of it", good(json!({})), Some("buyer"), "written Some(\"buyer\")"),
        ("the answer claims that it is written", good(row(1, "Buyer")), None, "gone"),
        (
            "HTML of what stands in between",
            ResponseTemplate::new(200).set_body_string("<html>"),
            Some("old"),
            "written Some(\"old\")",
        ),
        ("there is none", refusal(404), None, "gone"),
        ("there is one, and no such path", refusal(404), Some("old"), "not sent Misconfigured"),
        ("a bad value", refusal(400), Some("old"), "rejected"),
        ("a bad value that breaks the server", refusal(500), Some("old"), "rejected"),
        ("too many calls", ResponseTemplate::new(429).insert_header("retry-after", "1"), Some("old"), "not sent Retry"),
        ("a refused key", refusal(401), Some("old"), "not sent Auth"),
        ("a missing right", refusal(403), Some("old"), "not sent Auth"),
        ("a condition is wanted", refusal(428), Some("old"), "not sent Misconfigured"),
        ("a breakdown", refusal(503), Some("old"), "unknown"),
        ("a redirect", ResponseTemplate::new(302), Some("old"), "not sent Misconfigured"),
    ] {
        let server = server(move |request| match (request.method.as_str(), stored) {
            ("PATCH", _) => answer.clone(),
            // The sample that types are told by.
            (_, _) if argument(request, "ids").is_none() => good(rows([9])),
            (_, Some(title)) => good(json!({ "data": [row(1, title)] })),
            (_, None) => good(rows([])),
        })
        .await;
        let connector = server.connector(api());
        let outcomes = connector.write(&[write(1, Some("Buyer"))], NOW).await;
        assert_eq!(outcomes.iter().map(word).collect::<Vec<_>>(), [expected], "{case}");
        let writes = server.asked().iter().filter(|line| line.starts_with("PATCH")).count();
        assert_eq!(writes, 1, "{case}: a write is sent once");
    }
}

#[tokio::test]
async fn a_list_of_records_that_is_refused_goes_again_in_parts() {
    for (case, answer, expected) in [
        ("all is well", good(json!([{ "id": 1 }, { "id": 2 }])), ["written Some(\"Buyer\")", "gone"]),
        ("a bad value", refusal(422), ["batch", "batch"]),
        ("one is not there and nothing was written", refusal(404), ["batch", "gone"]),
        ("a breakdown", refusal(502), ["unknown", "unknown"]),
        ("cut off", ResponseTemplate::new(200).set_body_string("[{"), ["written Some(\"Buyer\")", "gone"]),
    ] {
        let server = server(move |request| match request.method.as_str() {
            "PATCH" => answer.clone(),
            _ => good(rows([1].into_iter().filter(|_| argument(request, "ids").is_none_or(|ids| ids != "2")))),
        })
        .await;
        let mut api = api();
        let write_request = api.write.as_mut().unwrap();
        (write_request.body, write_request.path) = (ApiBody::Array, "/contacts".to_owned());
        let connector = server.connector(api);
        let outcomes = connector.write(&[write(1, Some("Buyer")), write(2, Some("Buyer"))], NOW).await;
        assert_eq!(outcomes.iter().map(word).collect::<Vec<_>>(), expected, "{case}");
        let bodies = server.asked.lock().unwrap();
        let sent = bodies.iter().find(|(line, _)| line == "PATCH /contacts").map(|(_, body)| body.as_str());
        assert_eq!(sent, Some("[{\"id\":1,\"title\":\"Buyer\"},{\"id\":2,\"title\":\"Buyer\"}]"));
    }
}

#[tokio::test]
async fn every_wait_ends_when_attune_stops() {
    let server = server(|_| good(rows([1])).set_delay(Duration::from_secs(60))).await;
    let mut settings = server.settings(api());
    settings.client = Client::default();
    settings.patience = Duration::from_secs(60);
    let cancel = settings.cancel.clone();
    let connector = Rest::new(settings).unwrap();
    let began = std::time::Instant::now();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    };
    let keys = [Key::new("1")];
    let (read, ()) = tokio::join!(connector.fetch(&keys, &[0], NOW), stop);
    assert!(read.is_err());
    let outcomes = connector.write(&[write(1, Some("x"))], NOW).await;
    assert_eq!(word(&outcomes[0]), "not sent Retry");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn values_that_a_field_cannot_hold_are_never_sent() {
    let server = server(|request| match request.method.as_str() {
        "PATCH" => ResponseTemplate::new(204),
        _ => good(json!({ "data": [{ "id": 1, "title": 7, "updated": "2026-01-05T10:00:00Z" }] })),
    })
    .await;
    let connector = server.connector(api());
    for (value, expected, sent) in [
        (Some("abc"), "rejected", 0),
        (Some("8, \"admin\": 1"), "rejected", 0),
        (Some("7"), "written Some(\"7\")", 1),
        (None, "written Some(\"7\")", 1),
    ] {
        let outcomes = connector.write(&[write(1, value)], NOW).await;
        assert_eq!(word(&outcomes[0]), expected, "{value:?}");
        let writes = server.asked().iter().filter(|line| line.starts_with("PATCH")).count();
        assert_eq!(writes, sent, "{value:?}");
    }
    let mut settings = server.settings(api());
    settings.fields = ["@key", "account.wholesaler_id"].map(|name| FieldWanted::new(name, FieldType::String)).to_vec();
    let connector = Rest::new(settings).unwrap();
    for field in [0, 1] {
        let outcomes = connector.write(&[Write { field, ..write(1, Some("7")) }], NOW).await;
        assert_eq!(word(&outcomes[0]), "rejected", "read only");
    }
    assert!(!server.asked().iter().any(|line| line.starts_with("PATCH")));
}

#[tokio::test]
async fn one_bad_field_does_not_hide_the_others_of_its_record() {
    let server = server(|request| match request.method.as_str() {
        "PATCH" => panic!("nothing is sent in part"),
        _ => good(json!({ "data": [{ "id": 1, "title": "x", "score": 7, "updated": "2026-01-05T10:00:00Z" }] })),
    })
    .await;
    let mut settings = server.settings(api());
    settings.fields.push(FieldWanted::new("score", FieldType::String));
    let connector = Rest::new(settings).unwrap();
    let writes = [write(1, Some("Buyer")), Write { field: 1, ..write(1, Some("abc")) }];
    let outcomes = connector.write(&writes, NOW).await;
    assert_eq!(outcomes.iter().map(word).collect::<Vec<_>>(), ["batch", "rejected"]);
}
