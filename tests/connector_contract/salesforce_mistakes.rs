//! The mistakes of who connects a Salesforce, against the server on loopback that follows its documentation.

use std::sync::Arc;

use attune::connector::salesforce::{Grant, Salesforce, Settings};
use attune::model::{Failure, FieldType};
use secrecy::SecretString;
use serde_json::{Value as Json, json};

use crate::mistakes::Table;
use crate::salesforce_world::SalesforceServer;

fn connector(
    server: &SalesforceServer,
    field: &str,
    change: impl FnOnce(&mut Settings),
) -> Result<Salesforce, Failure> {
    let mut settings = server.settings(&[(field, FieldType::String)]);
    change(&mut settings);
    Salesforce::new(settings)
}

fn picklist(restricted: bool) -> Json {
    let value = |value: &str, active: bool| json!({ "value": value, "label": value, "active": active });
    json!({ "name": "Contact", "updateable": true, "fields": [{
        "name": "Tier__c", "label": "Tier", "type": "picklist", "length": 255, "updateable": true, "createable": true, "nillable": true,
        "filterable": true, "referenceTo": [], "restrictedPicklist": restricted,
        "picklistValues": [value("Gold", true), value("Silver", true), value("Tin", false)],
    }] })
}

#[tokio::test]
async fn are_found() {
    let mut table = Table::default();
    let server = SalesforceServer::start().await;
    let answers = |end: &str, status: u16, body: Json| server.org().instead.push((end.to_owned(), status, body));
    let problem = |code: &str| json!([{ "errorCode": code, "message": "bob@example.com" }]);
    let sound = |field: &str| connector(&server, field, |_| {});
    table.quiet("nothing", sound("Title")).await;

    for url in
        ["https://login.salesforce.com", "https://test.salesforce.com/", "https://acme.lightning.force.com/lightning"]
    {
        let wrong = connector(&server, "Title", |settings| url.clone_into(&mut settings.url));
        table.row(url, wrong, 78, &["`url` of [crm.crm]", "https://NAME.my.salesforce.com", "My Domain"]).await;
    }
    let secret = connector(&server, "Title", |settings| {
        let client_secret = Arc::new(|| Ok(SecretString::from("hunter2-other")));
        settings.grant = Grant::ClientCredentials { client_id: "3MVG9.other".to_owned(), client_secret };
    });
    table.row("a wrong key or secret", secret, 77, &["no token (invalid_client)", "`client_id`", "[crm.crm]"]).await;
    answers("oauth2/token", 400, json!({ "error": "unsupported_grant_type", "error_description": "bob@example.com" }));
    let words = &["no token (unsupported_grant_type)", "connected app allows this way in"];
    table.row("an app without this way in", sound("Title"), 77, words).await;
    answers("userinfo", 403, json!("Missing_OAuth_Token"));
    table
        .row("an app without the scope", sound("Title"), 77, &["may not do this", "docs/connectors/salesforce.md"])
        .await;
    answers("describe", 403, problem("API_DISABLED_FOR_ORG"));
    table
        .row(
            "an edition or a user without the API",
            sound("Title"),
            77,
            &["may not do this", "docs/connectors/salesforce.md"],
        )
        .await;
    answers("describe", 404, problem("NOT_FOUND"));
    table
        .row("no such object", sound("Title"), 78, &["no object `Contact`, or the user may not see it", "`object`"])
        .await;

    table
        .row("no such field", sound("Titel"), 78, &["no field `Titel`", "may not see it", "perhaps `Title` is meant"])
        .await;
    table.row("a formula", sound("Full__c"), 0, &["read only: Full__c"]).await;
    table.row("a field of an odd type", sound("Photo__c"), 78, &["`Photo__c`", "type base64", "not supported"]).await;
    table
        .row(
            "a way that leads nowhere",
            sound("Acount.Wholesaler__c"),
            78,
            &["`Acount` of `Contact` leads to no one object"],
        )
        .await;
    answers("describe", 200, picklist(true));
    table.row("a restricted picklist", sound("Tier__c"), 0, &["choices of Tier__c: Gold, Silver"]).await;
    answers("describe", 200, picklist(false));
    table.quiet("a picklist that takes any word", sound("Tier__c")).await;
    for (name, why) in
        [("Nobody__c", "is not there, or the user may not see it"), ("Note__c", "is no external id of text")]
    {
        let external = connector(&server, "Title", |settings| settings.external_id = Some(name.to_owned()));
        table.row(name, external, 78, &[why, "correct `external_id` in [crm.crm]"]).await;
    }
    answers("describe", 403, problem("REQUEST_LIMIT_EXCEEDED"));
    table
        .row(
            "the day's calls are used up",
            sound("Title"),
            75,
            &["API calls of the last 24 hours", "goes on by itself"],
        )
        .await;
    let nowhere = connector(&server, "Title", |settings| "http://127.0.0.1:1".clone_into(&mut settings.url));
    table.row("nothing listens there", nowhere, 75, &["cannot be reached"]).await;
    table.holds();
}
