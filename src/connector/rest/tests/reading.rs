//! Direct reads, and answers that make no sense.

use super::*;

#[tokio::test]
async fn records_are_read_by_their_keys_and_gone_only_when_asked_for_alone() {
    // It shows two at once, and says nothing of the others.
    let server = server(|request| {
        let asked = argument(request, "ids").unwrap();
        good(rows(asked.split(',').map(|id| id.parse().unwrap()).filter(|id| *id != 4_u64).take(2)))
    })
    .await;
    let keys = ["1", "2", "3", "4", "5", "none", "05"].map(Key::new);
    let found = server.connector(api()).fetch(&keys, &[0], NOW).await.unwrap();
    let there: Vec<bool> = found.iter().map(|record| record.existence == Existence::Present).collect();
    assert_eq!(there, [true, true, true, false, true, false, false]);
    assert_eq!(server.asked().len(), 3, "2 of 5, 2 of 3, and one that stays away is asked for once more");
    // One that answers with what was not asked for ignores the condition: what it leaves out is not gone.
    let other = self::server(|_| good(rows([7]))).await;
    let failure = other.connector(api()).fetch(&keys[..1], &[0], NOW).await.unwrap_err();
    assert_eq!(failure.class, Class::Misconfigured);
}

#[tokio::test]
async fn records_are_read_one_by_one_where_nothing_else_is_possible() {
    let server = server(|request| match request.url.path() {
        "/contacts/1" => good(row(1, "x")).insert_header("etag", "\"7\""),
        "/contacts/2" => refusal(404),
        "/contacts/3" => refusal(403),
        _ => good(row(9, "another")),
    })
    .await;
    let mut api = api();
    api.list.keys = None;
    api.etag = Some("etag".to_owned());
    api.read = Some(ApiRead {
        path: "/contacts/{key}".to_owned(),
        query: String::new(),
        record: String::new(),
        missing: vec![403, 404],
        headers: BTreeMap::new(),
    });
    let connector = server.connector(api.clone());
    let found = connector.fetch(&["1", "2", "3"].map(Key::new), &[0], NOW).await.unwrap();
    assert_eq!(found[0].cells[0].token.as_deref(), Some("\"7\""), "the ETag is in the header");
    assert_eq!((&found[1].existence, &found[2].existence), (&Existence::Gone, &Existence::Gone));
    let failure = connector.fetch(&[Key::new("4")], &[0], NOW).await.unwrap_err();
    assert_eq!(failure.class, Class::Misconfigured, "another record than asked for");
    // Where 403 does not say that it is missing, it is about rights.
    api.read.as_mut().unwrap().missing = vec![404];
    let failure = server.connector(api).fetch(&[Key::new("3")], &[0], NOW).await.unwrap_err();
    assert_eq!(failure.class, Class::Auth);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_told_and_never_repeated_in_words() {
    let missing_key = json!({ "data": [{ "title": "bob@example.com", "updated": "2026-01-05T10:00:00Z" }] });
    for (case, answer, class) in [
        ("nothing there", good(json!({ "items": [] })), Class::Misconfigured),
        ("no list", good(json!({ "data": { "id": 1 } })), Class::Misconfigured),
        ("no records", good(json!({ "data": ["bob@example.com"] })), Class::Misconfigured),
        ("no key", good(missing_key), Class::Misconfigured),
        ("a key that is none", good(json!({ "data": [{ "id": { "a": "bob@example.com" } }] })), Class::Misconfigured),
        (
            "cut off",
            ResponseTemplate::new(200).set_body_string("{\"data\": [{\"id\": 1, \"title\": \"bob@"),
            Class::Broken,
        ),
        ("HTML", ResponseTemplate::new(200).set_body_string("<html>bob@"), Class::Broken),
        ("not there", refusal(404), Class::Misconfigured),
        ("no such field", refusal(400), Class::Misconfigured),
        ("no right", refusal(403), Class::Auth),
        ("a refused key", refusal(401), Class::Auth),
        ("a breakdown", refusal(503), Class::Retry),
    ] {
        let server = server(move |_| answer.clone()).await;
        let failure = everything(&server.connector(api())).await.unwrap_err();
        assert_eq!(failure.class, class, "{case}: {failure}");
        is_quiet(&failure);
    }
}

#[tokio::test]
async fn what_leaves_out_nothing_shows_nothing_and_what_it_cannot_show_is_unseen() {
    let record = || json!({ "data": [{ "id": 1, "updated": "2026-01-05T10:00:00Z" }] });
    let server = server(move |_| good(record())).await;
    let seen = async |omits: bool| {
        let mut api = api();
        api.omits_nulls = omits;
        server.connector(api).fetch(&[Key::new("1")], &[0], NOW).await.unwrap()[0].cells[0].seen.clone()
    };
    assert_eq!(seen(false).await, Seen::Unseen);
    assert_eq!(seen(true).await, Seen::Absent);
}
