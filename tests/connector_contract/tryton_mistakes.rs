//! The mistakes of who connects a Tryton, against servers on loopback that answer as one does (what a real one answers is in
//! `tryton_only`).

use std::sync::Arc;
use std::time::Duration;

use attune::connector::FieldWanted;
use attune::connector::tryton::{Settings, Tryton};
use attune::http::{Client, Timeouts};
use attune::model::{Failure, FieldType};
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::mistakes::Table;

fn page(body: Json) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body).insert_header("date", "Tue, 06 Jan 2026 10:00:00 GMT")
}

fn good(result: Json) -> ResponseTemplate {
    page(json!({ "id": 1, "result": result }))
}

fn error(error: Json) -> ResponseTemplate {
    page(json!({ "id": 1, "error": error }))
}

/// A server that answers calls of methods that end so otherwise.
async fn server(otherwise: &[(&'static str, ResponseTemplate)]) -> MockServer {
    let otherwise = otherwise.to_vec();
    let server = MockServer::start().await;
    let respond = move |request: &Request| {
        let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
        let method = body["method"].as_str().unwrap_or_default().to_owned();
        if let Some((_, answer)) = otherwise.iter().find(|(end, _)| method.ends_with(end)) {
            return answer.clone();
        }
        let field = |kind: &str, readonly: bool, searchable: bool| json!({ "type": kind, "readonly": readonly, "required": false, "searchable": searchable, "states": "{}" });
        let all = json!({ "read": true, "write": true, "create": true, "delete": true });
        match method.as_str() {
            "common.db.login" => good(json!([7, "session-1", null])),
            "model.res.user.get_preferences" => good(json!({ "company": 3, "language": "en", "locale": {} })),
            "model.party.party.fields_get" => good(json!({
                "name": field("char", false, true),
                "code": field("char", true, true),
                "email": field("char", true, false),
                "photo": field("binary", false, false),
                "active": field("boolean", false, true),
                "contact_mechanisms": { "type": "one2many", "relation": "party.contact_mechanism", "relation_field": "party" },
            })),
            "model.party.contact_mechanism.fields_get" => good(json!({
                "type": { "type": "selection", "selection": [["email", "E-Mail"], ["phone", "Phone"]] },
                "value": field("char", false, true),
                "active": field("boolean", false, true),
            })),
            "model.ir.model.access.get_access" => good(json!({ "party.party": all, "party.contact_mechanism": all })),
            _ => error(json!(["KeyError", ["bob@example.com", ""]])),
        }
    };
    Mock::given(any()).respond_with(respond).mount(&server).await;
    server
}

fn connector(url: &str, field: &str, change: impl FnOnce(&mut Settings)) -> Result<Tryton, Failure> {
    let mut settings = Settings {
        name: "erp".to_owned(),
        url: url.to_owned(),
        database: "crm".to_owned(),
        user: "sync".to_owned(),
        password: Arc::new(|| Ok(SecretString::from("hunter2"))),
        model: "party.party".to_owned(),
        quota: None,
        fields: vec![FieldWanted::new(field, FieldType::String)],
        patience: Duration::ZERO,
        cancel: CancellationToken::new(),
        client: Client::new(Timeouts::default()),
    };
    change(&mut settings);
    Tryton::new(settings)
}

#[tokio::test]
async fn are_found() {
    let mut table = Table::default();
    let sound = server(&[]).await;
    let url = &sound.uri();
    let field = |name: &str| connector(url, name, |_| {});
    table.quiet("nothing", field("name")).await;
    table.row("no such field", field("naem"), 78, &["no field `naem`", "did you mean `name`?", "`crm`"]).await;
    table.row("a field that is read only", field("code"), 0, &["read only: code"]).await;
    table
        .row(
            "an e-mail as a field",
            field("email"),
            78,
            &["computed from its contact mechanisms", "contact_mechanism:email"],
        )
        .await;
    let mechanism = field("contact_mechanism:emial");
    table.row("no such contact mechanism", mechanism, 78, &["no type `emial`", "contact_mechanism:email"]).await;
    table.row("a field of an odd type", field("photo"), 78, &["`photo`", "type binary", "not supported"]).await;
    table.row("a way that leads nowhere", field("name.code"), 78, &["no link to one record"]).await;
    let model = connector(url, "name", |settings| "party.pary".clone_into(&mut settings.model));
    table.row("no such model", model, 78, &["party.pary"]).await;
    let nowhere = connector("http://127.0.0.1:1", "name", |_| {});
    table.row("nothing listens there", nowhere, 75, &["cannot be reached"]).await;

    let lost = ResponseTemplate::new(404).set_body_string("<html>");
    let words = &["no Tryton with this database", "`url` and `database` in [crm.erp]"];
    table
        .row(
            "a wrong address or database",
            connector(&server(&[("login", lost)]).await.uri(), "name", |_| {}),
            78,
            words,
        )
        .await;
    let refused = server(&[("login", ResponseTemplate::new(401))]).await;
    let words = &["refuses this user or password", "`user` and `password` in [crm.erp]"];
    table.row("a wrong password", connector(&refused.uri(), "name", |_| {}), 77, words).await;
    let locked = server(&[("login", ResponseTemplate::new(429))]).await;
    table
        .row("a user who is locked out", connector(&locked.uri(), "name", |_| {}), 77, &["too many refused logins"])
        .await;
    let more = server(&[("login", error(json!(["LoginException", ["sms_code", "bob@example.com", "char"]])))]).await;
    table.row("a user with two factors", connector(&more.uri(), "name", |_| {}), 77, &["more than a password"]).await;
    let html = server(&[("login", ResponseTemplate::new(200).set_body_string("<html>"))]).await;
    table.row("the address of a page", connector(&html.uri(), "name", |_| {}), 75, &["check the address"]).await;

    let access = |write: bool, read: bool| {
        let some = json!({ "read": read, "write": write, "create": write, "delete": write });
        good(json!({ "party.party": some, "party.contact_mechanism": some }))
    };
    let reader = server(&[("get_access", access(false, true))]).await;
    table.row("no right to write", connector(&reader.uri(), "name", |_| {}), 0, &["read only: name"]).await;
    let nobody = server(&[("get_access", access(false, false))]).await;
    let words = &["may not do that", "docs/connectors/tryton.md"];
    table.row("no right to read", connector(&nobody.uri(), "name", |_| {}), 77, words).await;
    table.holds();
}
