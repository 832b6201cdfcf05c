//! How pages follow each other, and what is found out of those that do not.

use super::*;

#[tokio::test]
async fn pages_by_key_end_with_an_empty_one() {
    // Never more than two records, whatever is asked for.
    let server = server(|request| {
        let after = number(request, "after").unwrap_or(0);
        good(rows((1..=5).filter(|id| *id > after).take(2)))
    })
    .await;
    let connector = server.connector(api());
    assert_eq!(everything(&connector).await.unwrap(), (vec![1, 2, 3, 4, 5], End::Whole));
    assert_eq!(server.asked()[1..3], ["GET /contacts?limit=3&after=2", "GET /contacts?limit=3&after=4"]);
    // One that tells of more is done when it does not.
    let mut telling = api();
    telling.list.paging = ApiPaging::Key { after: "after={key}".to_owned(), next: Some("/next".to_owned()) };
    assert_eq!(everything(&server.connector(telling)).await.unwrap(), (vec![1, 2], End::Whole));
    assert_eq!(server.asked(), ["GET /contacts?limit=3"]);
    let since = Timestamp::parse("2026-01-02T03:04:05.999Z").unwrap();
    let _page = connector.changes("records", since).next().await;
    assert_eq!(server.asked(), ["GET /contacts?limit=3&since=2026-01-02T03%3A04%3A05Z"], "a time is never rounded up");
}

#[tokio::test]
async fn pages_that_do_not_go_on_are_found_out() {
    // It does not know `after`, and ignores it.
    let server_of_one = server(|_| good(rows([1, 2]))).await;
    let failure = everything(&server_of_one.connector(api())).await.unwrap_err();
    assert_eq!(failure.class, Class::Misconfigured);
    assert!(failure.message.contains("[crm.erp]"), "{failure}");
    // It does not sort.
    let unsorted = server(|request| match argument(request, "after") {
        None => good(rows([2, 1])),
        Some(_) => good(rows([])),
    })
    .await;
    let failure = everything(&unsorted.connector(api())).await.unwrap_err();
    assert!(failure.message.contains("order"), "{failure}");
    // The same token, the same page, the same address.
    let stuck = server(|_| good(json!({ "data": [row(1, "x")], "next": "abc", "total": 9 }))).await;
    let cursor = ApiPaging::Cursor { pointer: "/next".to_owned(), query: "&cursor={cursor}".to_owned() };
    for paging in [cursor, ApiPaging::Next { pointer: "/next".to_owned() }, ApiPaging::Page] {
        let api = paged(paging.clone(), "page={page}", Some("/total"));
        let failure = everything(&stuck.connector(api)).await.unwrap_err();
        assert_eq!(failure.class, Class::Misconfigured, "{paging:?}");
        assert!(failure.message.contains("again and again"), "{failure}");
    }
}

#[tokio::test]
async fn pages_by_offset_overlap_so_that_a_deletion_is_seen() {
    for (deleted, expected) in
        [(false, (vec![1, 2, 3, 3, 4, 5, 5], End::Whole)), (true, (vec![1, 2, 3, 4, 5, 5], End::Torn))]
    {
        let server = server(move |request| {
            let offset = number(request, "offset").unwrap() as usize;
            let ids = if deleted && offset > 0 { vec![2, 3, 4, 5] } else { vec![1, 2, 3, 4, 5] };
            good(rows(ids.into_iter().skip(offset).take(3)))
        })
        .await;
        let connector = server.connector(paged(ApiPaging::Offset, "offset={offset}&limit={limit}", None));
        assert_eq!(everything(&connector).await.unwrap(), expected, "deleted: {deleted}");
    }
    let empty = server(|_| good(rows([]))).await;
    let connector = empty.connector(paged(ApiPaging::Offset, "offset={offset}&limit={limit}", None));
    assert_eq!(everything(&connector).await.unwrap(), (vec![], End::Whole));
}

#[tokio::test]
async fn pages_by_number_are_counted_against_the_total() {
    for (shown, end) in [(5, End::Whole), (4, End::Torn)] {
        let server = server(move |request| {
            let page = number(request, "page").unwrap() as usize;
            let mut body = rows((1..=shown).skip((page - 1) * 2).take(2));
            body["total"] = json!(5);
            good(body)
        })
        .await;
        let connector = server.connector(paged(ApiPaging::Page, "page={page}", Some("/total")));
        assert_eq!(everything(&connector).await.unwrap(), ((1..=shown).collect(), end));
    }
}

#[tokio::test]
async fn tokens_and_addresses_of_next_pages_are_followed() {
    let cursor = ApiPaging::Cursor { pointer: "/next".to_owned(), query: "&cursor={cursor}".to_owned() };
    let tokens = server(|request| match argument(request, "cursor").as_deref() {
        None => good(json!({ "data": [row(1, "x")], "next": "a/b=&c" })),
        Some("a/b=&c") => good(json!({ "data": [row(2, "x")], "next": null })),
        Some(other) => panic!("{other}"),
    })
    .await;
    let found = everything(&tokens.connector(paged(cursor, "limit={limit}", None))).await.unwrap();
    assert_eq!(found, (vec![1, 2], End::Whole));

    let header = server(|request| match argument(request, "page").as_deref() {
        None => good(rows([1])).insert_header("link", "</contacts?page=2>; rel=\"next\", </contacts>; rel=\"first\""),
        _ => good(rows([2])).insert_header("link", "</contacts>; rel=\"first\""),
    })
    .await;
    let found = everything(&header.connector(paged(ApiPaging::Link, "limit={limit}", None))).await.unwrap();
    assert_eq!(found, (vec![1, 2], End::Whole));
}

#[tokio::test]
async fn a_next_page_is_never_asked_for_from_another_host() {
    let next = || ApiPaging::Next { pointer: "/next".to_owned() };
    for (link, sound) in [
        ("contacts?page=2", true),
        ("/contacts?page=2", true),
        ("OWN/contacts?page=2", true),
        ("?page=2", true),
        ("https://evil.example.com/contacts?page=2", false),
        ("//evil.example.com/contacts?page=2", false),
        ("http://user:password@127.0.0.1/contacts?page=2", false),
        ("http://127.0.0.1:9/contacts?page=2", false),
        ("file:///etc/passwd", false),
    ] {
        let server = server(move |request| match argument(request, "page") {
            None => {
                let own = format!("http://{}", request.headers.get("host").unwrap().to_str().unwrap());
                good(json!({ "data": [row(1, "x")], "next": link.replace("OWN", &own) }))
            }
            Some(_) => good(rows([2])),
        })
        .await;
        let found = everything(&server.connector(paged(next(), "limit={limit}", None))).await;
        if sound {
            assert_eq!(found.unwrap(), (vec![1, 2], End::Whole), "{link}");
        } else {
            let failure = found.unwrap_err();
            assert_eq!(failure.class, Class::Misconfigured);
            assert!(!failure.message.contains("evil") && failure.message.contains("`url`"), "{failure}");
            assert_eq!(server.asked().len(), 1, "{link}");
        }
    }
}

#[tokio::test]
async fn too_large_an_answer_is_asked_for_in_parts() {
    let server = server(|request| {
        let limit = number(request, "limit").unwrap();
        if limit > 10 {
            return ResponseTemplate::new(200).set_body_bytes(vec![b' '; 17 * 1024 * 1024]);
        }
        good(rows(number(request, "after").map_or(1, |after| after + 1)..=3))
    })
    .await;
    let mut api = api();
    api.list.page_size = 500;
    assert_eq!(everything(&server.connector(api)).await.unwrap(), (vec![1, 2, 3], End::Whole));
}

#[tokio::test]
async fn an_api_that_cannot_be_asked_since_when_is_looked_through() {
    let server = server(|request| match argument(request, "after") {
        None => {
            let mut body = rows([1, 2]);
            body["data"][1]["updated"] = json!("2026-01-07T10:00:00Z");
            good(body)
        }
        Some(_) => good(rows([])),
    })
    .await;
    let mut api = api();
    api.list.since = None;
    let connector = server.connector(api);
    let since = Timestamp::parse("2026-01-06T00:00:00Z").unwrap();
    let pages: Vec<Page> = connector.changes("records", since).try_collect().await.unwrap();
    let keys: Vec<_> = pages.iter().flat_map(|page| &page.observed).map(|record| record.key.as_str()).collect();
    assert_eq!(keys, ["2"]);
}
