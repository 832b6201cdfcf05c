//! The mistakes of who describes an API, against a server on loopback that answers as Directus does.

use attune::connector::rest::Rest;
use attune::model::FieldType;
use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::mistakes::Table;
use crate::rest_world::{Home, Manner, Peer, TOKEN, connector};

const TITLE: &[(&str, FieldType)] = &[("title", FieldType::String)];

async fn answering(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

#[tokio::test]
async fn are_found() {
    let mut table = Table::default();
    let home = Home { manner: Manner::Directus };
    let peer: Peer = home.peer(2).await;
    {
        // In Directus a record that nobody edited has no modification time, which is no mistake.
        let mut held = peer.held();
        held.rows.values_mut().for_each(|row| drop(row.insert("date_updated".to_owned(), row["date_created"].clone())));
    }
    let described = |lines: &str| Ok::<Rest, _>(connector(&peer.address, home.api(&peer.address, lines), TITLE, TOKEN));
    let field =
        |name: &str| Ok(connector(&peer.address, home.api(&peer.address, ""), &[(name, FieldType::String)], TOKEN));
    table.quiet("nothing", described("")).await;

    let other = Ok(connector(&peer.address, home.api(&peer.address, ""), TITLE, "hunter2-another"));
    table.row("a wrong token or header", other, 77, &["refuses our credentials", "`auth` in [crm.erp]"]).await;
    let mut api = home.api(&peer.address, "");
    api.collection = Some("contcats".to_owned());
    let collection = Ok(connector(&peer.address, api, TITLE, TOKEN));
    table
        .row(
            "no such collection",
            collection,
            77,
            &["no such collection", "`collection` and `key` in [crm.erp]", "rights"],
        )
        .await;
    table.row("no such field", field("titel"), 78, &["`titel`", "[crm.erp]", "mapping's `crm`"]).await;
    table.row("no such key", described("key = \"uid\""), 77, &["`collection` and `key` in [crm.erp]"]).await;
    table.row("no such time", described("modified = \"updated\""), 78, &["`updated` (`modified`)", "[crm.erp]"]).await;
    table
        .row("records that are elsewhere", described("list.records = \"/rows\""), 78, &["`records`", "[crm.erp]"])
        .await;
    table
        .row(
            "a time that is none",
            described("modified = \"note\"\ncreated = \"note\""),
            0,
            &["2 of 2 records have no time", "`modified`"],
        )
        .await;
    let odata = Home { manner: Manner::OData }.peer_with(2, TITLE, "etag = \"@odata.tag\"").await;
    table
        .row("an ETag that nobody shows", Ok(odata.connector), 78, &["an ETag and show none", "`etag`", "[crm.erp]"])
        .await;
    let nowhere = Ok(connector("http://127.0.0.1:1", home.api(&peer.address, ""), TITLE, TOKEN));
    table.row("nothing listens there", nowhere, 75, &["cannot be reached"]).await;

    let at = |server: &MockServer| Ok(connector(&server.uri(), home.api(&server.uri(), ""), TITLE, TOKEN));
    let lost = answering(ResponseTemplate::new(404)).await;
    table
        .row(
            "a path too many or too few",
            at(&lost),
            78,
            &["nothing at this address", "`url`, `collection` and the paths"],
        )
        .await;
    let moved = answering(ResponseTemplate::new(302).insert_header("location", "/login")).await;
    table.row("a redirect to a login", at(&moved), 78, &["redirect", "never followed", "check the address"]).await;
    let page = ResponseTemplate::new(200).set_body_raw("<html>Log in</html>", "text/html");
    table.row("a login page with a good status", at(&answering(page).await), 75, &["check the address"]).await;
    let empty = home.peer(0).await;
    table.row("a user who sees nothing", Ok(empty.connector), 0, &["shows no record", "rights of its user"]).await;
    let odd = answering(ResponseTemplate::new(200).set_body_json(json!({ "data": [{ "id": { "a": 1 } }] }))).await;
    table.row("a key that is none", at(&odd), 78, &["[crm.erp]"]).await;
    table.holds();
}
