//! The mistakes of who connects an Odoo, against servers on loopback that answer as one does (what a real one answers is in
//! `odoo_only`).

use std::sync::Arc;
use std::time::Duration;

use attune::connector::FieldWanted;
use attune::connector::odoo::{Odoo, Settings};
use attune::http::{Client, Timeouts};
use attune::model::{Failure, FieldType};
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::mistakes::Table;

fn good(body: Json) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body).insert_header("date", "Tue, 06 Jan 2026 10:00:00 GMT")
}

fn exception(status: u16, name: &str) -> ResponseTemplate {
    let body = json!({ "name": name, "message": "bob@example.com", "arguments": [], "debug": "Traceback" });
    ResponseTemplate::new(status).set_body_json(body)
}

/// A server of version 19 that answers paths that end so otherwise.
async fn server(otherwise: &[(&'static str, ResponseTemplate)]) -> MockServer {
    let otherwise = otherwise.to_vec();
    let server = MockServer::start().await;
    let field = |kind: &str, more: Json| {
        let mut field =
            json!({ "type": kind, "string": "A label", "readonly": false, "required": false, "searchable": true });
        field.as_object_mut().expect("a table").extend(more.as_object().cloned().unwrap_or_default());
        field
    };
    let fields = json!({
        "function": field("char", json!({ "string": "Job Position" })),
        "comment": field("char", json!({ "translate": true })),
        "tier": field("selection", json!({ "selection": [["gold", "Gold"], ["silver", "Silver"]] })),
        "display_name": field("char", json!({ "readonly": true })),
        "child_ids": field("one2many", json!({ "relation": "res.partner" })),
        "active": field("boolean", json!({})),
    });
    let respond = move |request: &Request| {
        let path = request.url.path();
        if let Some((_, answer)) = otherwise.iter().find(|(end, _)| path.ends_with(end)) {
            return answer.clone();
        }
        match path {
            "/json/version" => good(json!({ "version_info": [19, 0, 0, "final", 0, ""], "version": "19.0" })),
            "/json/2/res.partner/fields_get" => good(fields.clone()),
            "/json/2/res.partner/has_access" => good(json!(true)),
            "/json/2/ir.config_parameter/get_param" => good(json!("uuid-1")),
            "/json/2/res.users.apikeys/search_read" => good(json!([])),
            _ => exception(404, "werkzeug.exceptions.NotFound"),
        }
    };
    Mock::given(any()).respond_with(respond).mount(&server).await;
    server
}

fn connector(url: &str, field: &str, change: impl FnOnce(&mut Settings)) -> Result<Odoo, Failure> {
    let mut settings = Settings {
        name: "erp".to_owned(),
        url: url.to_owned(),
        database: "crm".to_owned(),
        user: None,
        api_key: Arc::new(|| Ok(SecretString::from("hunter2"))),
        model: "res.partner".to_owned(),
        quota: None,
        fields: vec![FieldWanted::new(field, FieldType::String)],
        patience: Duration::ZERO,
        cancel: CancellationToken::new(),
        client: Client::new(Timeouts::default()),
    };
    change(&mut settings);
    Odoo::new(settings)
}

#[tokio::test]
async fn are_found() {
    let mut table = Table::default();
    let sound = server(&[]).await;
    let url = &sound.uri();
    let field = |name: &str| connector(url, name, |_| {});
    table.quiet("nothing", field("function")).await;
    table
        .row("no such field", field("functoin"), 78, &["no field `functoin`", "perhaps `function` is meant", "`crm`"])
        .await;
    table.row("the label of a field", field("Job Position"), 78, &["perhaps `function` is meant"]).await;
    table.row("a computed field", field("display_name"), 0, &["read only: display_name"]).await;
    table.row("a link to many", field("child_ids"), 78, &["`child_ids`", "one2many", "is not supported"]).await;
    table.row("a way that leads nowhere", field("function.name"), 78, &["no link to one record"]).await;
    table.row("a text for each language", field("comment"), 0, &["`comment`", "each language", "en_US"]).await;
    table.row("a selection", field("tier"), 0, &["choices of tier: gold, silver"]).await;
    let model = connector(url, "function", |settings| "res.parner".clone_into(&mut settings.model));
    table.row("no such model", model, 78, &["no model `res.parner`", "`model` in [crm.erp]"]).await;
    let nowhere = connector("http://127.0.0.1:1", "function", |_| {});
    table.row("nothing listens there", nowhere, 75, &["cannot be reached"]).await;
    let plain = connector("http://erp.example.com", "function", |_| {});
    table.row("an address without https", plain, 78, &["https"]).await;

    let moved = ResponseTemplate::new(301).insert_header("location", "https://erp.example.com/");
    let moved = server(&[("", moved)]).await;
    let words = &["sends callers to another address", "[crm.erp]"];
    table.row("an address that redirects", connector(&moved.uri(), "function", |_| {}), 78, words).await;
    let named = connector(&moved.uri(), "function", |settings| settings.user = Some("sync".to_owned()));
    table.row("the same before version 19", named, 78, words).await;
    let page = server(&[("", ResponseTemplate::new(200).set_body_string("<html>Log in</html>"))]).await;
    let words = &["`user`", "no Odoo at `url`", "/web"];
    table.row("the address of a page", connector(&page.uri(), "function", |_| {}), 78, words).await;

    let refused = server(&[("fields_get", exception(401, "werkzeug.exceptions.Unauthorized"))]).await;
    let words = &["refuses the API key", "`api_key`", "has not expired"];
    table.row("a wrong key", connector(&refused.uri(), "function", |_| {}), 77, words).await;
    let absent = server(&[("fields_get", ResponseTemplate::new(404).set_body_string("<html>"))]).await;
    let words = &["no Odoo with this database", "`url` and `database` in [crm.erp]"];
    table.row("a wrong database", connector(&absent.uri(), "function", |_| {}), 78, words).await;
    let denied = server(&[("fields_get", exception(403, "odoo.exceptions.AccessError"))]).await;
    let words = &["may not do that", "give the user the rights"];
    table.row("no right to read", connector(&denied.uri(), "function", |_| {}), 77, words).await;
    let reader = server(&[("has_access", good(json!(false)))]).await;
    let words = &["read only: function"];
    table.row("no right to write", connector(&reader.uri(), "function", |_| {}), 0, words).await;
    let key = good(json!([{ "id": 1, "expiration_date": "2026-01-09 10:00:00" }]));
    let soon = server(&[("apikeys/search_read", key)]).await;
    let words = &["expires at 2026-01-09 10:00:00 UTC", "make a new one in time"];
    table.row("a key that ends soon", connector(&soon.uri(), "function", |_| {}), 0, words).await;
    table.holds();
}
