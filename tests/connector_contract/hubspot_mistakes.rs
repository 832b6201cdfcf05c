//! The mistakes of who connects a HubSpot, against the server on loopback that follows its documentation.

use std::sync::Arc;

use attune::connector::hubspot::{HubSpot, Settings};
use attune::model::{Failure, FieldType};
use secrecy::SecretString;
use serde_json::{Value as Json, json};

use crate::hubspot_world::HubSpotServer;
use crate::mistakes::Table;

fn connector(server: &HubSpotServer, field: &str, change: impl FnOnce(&mut Settings)) -> Result<HubSpot, Failure> {
    let mut settings = server.settings(&[(field, FieldType::String)]);
    change(&mut settings);
    HubSpot::new(settings)
}

/// What the answer about an account's properties is: one of each kind.
fn properties() -> Json {
    let property = |name: &str, kind: &str, more: Json| {
        let mut described = json!({
            "name": name, "label": name, "type": kind, "calculated": false, "modificationMetadata": { "readOnlyValue": false },
        });
        described.as_object_mut().expect("a table").extend(more.as_object().cloned().unwrap_or_default());
        described
    };
    let options =
        json!({ "options": [{ "label": "Gold", "value": "gold" }, { "label": "Silver", "value": "silver" }] });
    json!({ "results": [
        property("jobtitle", "string", json!({ "label": "Job Title" })),
        property("tier", "enumeration", options),
        property("score", "number", json!({ "calculated": true })),
        property("place", "json", json!({})),
    ] })
}

#[tokio::test]
async fn are_found() {
    let mut table = Table::default();
    let server = HubSpotServer::start().await;
    let answers = |end: &str, status: u16, body: Json| server.account().instead.push((end.to_owned(), status, body));
    let sound = |field: &str| connector(&server, field, |_| {});
    let described = |field: &str| {
        answers("properties/contacts", 200, properties());
        sound(field)
    };
    table.quiet("nothing", sound("title")).await;
    table.quiet("nothing", described("jobtitle")).await;

    table
        .row(
            "no such property",
            sound("titel"),
            78,
            &["no property `titel`", "perhaps `title` is meant", "internal name"],
        )
        .await;
    table.row("the label of a property", described("Job Title"), 78, &["perhaps `jobtitle` is meant"]).await;
    table.row("a calculated property", described("score"), 0, &["read only: score"]).await;
    table.row("a property of an odd type", described("place"), 78, &["`place`", "type json", "not supported"]).await;
    table.row("a property of choices", described("tier"), 0, &["choices of tier: gold, silver"]).await;
    let company = connector(&server, "company.wholesaler_id", |settings| "companies".clone_into(&mut settings.object));
    table
        .row(
            "a company of no contact",
            company,
            78,
            &["only contacts have a primary company", "`object` is `companies`"],
        )
        .await;

    let token = connector(&server, "title", |settings| {
        settings.access_token = Arc::new(|| Ok(SecretString::from("hunter2-of-another")));
    });
    table.row("a token that is no more", token, 77, &["refuses the access token", "`access_token` in [crm.crm]"]).await;
    let scopes = json!({
        "status": "error", "category": "MISSING_SCOPES",
        "message": "This app hasn't been granted all required scopes to make this call. Read more about required scopes here: \
                    https://developers.hubspot.com/scopes.",
        "errors": [{
            "message": "One or more of the following scopes are required.",
            "context": { "requiredGranularScopes": ["crm.schemas.contacts.read"] },
        }],
    });
    answers("properties/contacts", 403, scopes);
    table
        .row(
            "a missing scope",
            sound("title"),
            77,
            &["may not do this", "the scope crm.schemas.contacts.read", "[crm.crm]"],
        )
        .await;
    answers(
        "properties/contacts",
        403,
        json!({ "status": "error", "category": "FORBIDDEN", "message": "bob@example.com" }),
    );
    table
        .row("a scope that is not named", sound("title"), 77, &["the scopes that docs/connectors/hubspot.md names"])
        .await;
    answers(
        "properties/contacs",
        400,
        json!({ "status": "error", "category": "VALIDATION_ERROR", "message": "Unable to infer object type" }),
    );
    let object = connector(&server, "title", |settings| "contacs".clone_into(&mut settings.object));
    table.row("no such object", object, 78, &["no object `contacs`", "`object` in [crm.crm]"]).await;
    answers("details", 403, json!({ "status": "error", "category": "MISSING_SCOPES", "message": "no" }));
    table.row("a token of another kind", sound("title"), 77, &["may not do this"]).await;
    let nowhere = connector(&server, "title", |settings| "http://127.0.0.1:1".clone_into(&mut settings.url));
    table.row("nothing listens there", nowhere, 75, &["cannot be reached"]).await;
    table.holds();
}
