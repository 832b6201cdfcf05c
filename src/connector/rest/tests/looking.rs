//! What the first look finds.

use super::*;

#[tokio::test]
async fn looking_finds_the_fields_and_what_they_hold() {
    let server = server(|request| {
        let record = json!({
            "id": 1, "title": "x", "score": 3, "active": true, "born": "1990-01-02", "note": null,
            "account": { "wholesaler_id": "W1" }, "updated": "2026-01-05T10:00:00Z",
        });
        match argument(request, "since") {
            Some(_) => good(rows([])),
            None => good(json!({ "data": [record] })),
        }
    })
    .await;
    let mut settings = server.settings(api());
    let wanted = |name: &str, kind| FieldWanted::new(name, kind);
    settings.fields = vec![
        wanted("title", FieldType::String),
        wanted("score", FieldType::String),
        wanted("active", FieldType::Boolean),
        wanted("born", FieldType::Date),
        wanted("note", FieldType::Number),
        wanted("@key", FieldType::String),
        wanted("account.wholesaler_id", FieldType::String),
        wanted("updated", FieldType::String),
        wanted("titel", FieldType::String),
        wanted("account", FieldType::String),
        wanted("account.wholesalerid", FieldType::String),
    ];
    let connector = Rest::new(settings).unwrap();
    let prepared = connector.prepare(&[], false).await.unwrap();
    assert_eq!(prepared.warnings, [""; 0]);
    let shapes: Vec<_> = prepared
        .definitions
        .iter()
        .map(|definition| match &definition.state {
            DefinitionState::Usable(shape) => Ok((shape.holds, shape.writable)),
            DefinitionState::Unusable(why) => Err(why.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        shapes[..8],
        [
            Ok((Holds::Text, true)),
            Ok((Holds::Number, true)),
            Ok((Holds::Boolean, true)),
            Ok((Holds::Date, true)),
            Ok((Holds::Number, true)),
            Ok((Holds::Text, false)),
            Ok((Holds::Text, false)),
            Ok((Holds::Text, false)),
        ]
    );
    let why = |index: usize| shapes[index].as_ref().unwrap_err();
    assert!(why(8).contains("did you mean `title`?"), "{}", why(8));
    assert!(why(9).contains("object"), "{}", why(9));
    assert!(why(10).contains("did you mean `wholesaler_id`?"), "{}", why(10));
}

#[tokio::test]
async fn looking_finds_what_the_description_has_wrong() {
    let look = async |api: Api, answers: fn(&Request) -> ResponseTemplate| {
        let server = server(answers).await;
        server.connector(api).prepare(&[], false).await
    };
    let with = |change: fn(&mut Api)| {
        let mut api = api();
        change(&mut api);
        api
    };
    let good_answers: fn(&Request) -> ResponseTemplate =
        |request| if argument(request, "since").is_some() { good(rows([])) } else { good(rows([1])) };
    for (case, api, answers, expected) in [
        ("a name", with(|api| api.modified = Some("update".to_owned())), good_answers, "did you mean `updated`?"),
        ("kind of keys", with(|api| api.key_is = ApiKeyIs::Uuid), good_answers, "`key_is`"),
        ("an ETag", with(|api| api.etag = Some("etag".to_owned())), good_answers, "`etag`"),
        (
            "not found by its key",
            api(),
            |request| if argument(request, "ids").is_some() { good(rows([])) } else { good(rows([1])) },
            "not found by its key",
        ),
    ] {
        let failure = look(api, answers).await.unwrap_err();
        assert_eq!(failure.class, Class::Misconfigured, "{case}");
        assert!(failure.message.contains(expected) && failure.message.contains("[crm.erp]"), "{case}: {failure}");
    }
    // What does not stop us.
    let ignores: fn(&Request) -> ResponseTemplate = |_| good(rows([1]));
    let undated: fn(&Request) -> ResponseTemplate = |request| {
        if argument(request, "since").is_some() {
            return good(rows([]));
        }
        good(json!({ "data": [{ "id": 1, "title": "x", "updated": null }] }))
    };
    let none: fn(&Request) -> ResponseTemplate = |_| good(rows([]));
    for (answers, expected) in
        [(ignores, "does not understand `since`"), (undated, "have no time"), (none, "shows no record")]
    {
        let warnings = look(api(), answers).await.unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].contains(expected), "{warnings:?}");
    }
}

#[tokio::test]
async fn a_field_that_makes_an_api_refuse_everything_is_named() {
    let server = server(|request| {
        let fields = argument(request, "fields").unwrap();
        if fields.split(',').any(|field| field == "titel" || field == "hidden") {
            refusal(403)
        } else {
            good(rows([1]))
        }
    })
    .await;
    let mut api = api();
    api.list.query = "limit={limit}&fields={fields}".to_owned();
    let mut settings = server.settings(api.clone());
    settings.fields.extend(["titel", "hidden"].map(|name| FieldWanted::new(name, FieldType::String)));
    let failure = Rest::new(settings).unwrap().prepare(&[], false).await.unwrap_err();
    assert_eq!(failure.class, Class::Misconfigured);
    assert!(failure.message.contains("`titel`, `hidden`") && !failure.message.contains("`title`"), "{failure}");
    is_quiet(&failure);
    // What is refused without any field is not a field's fault.
    let closed = self::server(|_| refusal(403)).await;
    let failure = closed.connector(api).prepare(&[], false).await.unwrap_err();
    assert_eq!(failure.class, Class::Auth);
    assert_eq!(closed.asked().len(), 2);
}
