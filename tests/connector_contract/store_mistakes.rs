//! The mistakes of who connects a store, against the simulator.

use std::sync::Arc;
use std::time::Duration;

use attune::connector::FieldWanted;
use attune::connector::bigcommerce::{BigCommerce, Settings};
use attune::http::{Client, Timeouts};
use attune::model::{Failure, FieldType};
use attune::simulator::settings::{AttributeKind, Scope, Settings as Simulated};
use attune::simulator::{self, StoreControl};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::mistakes::Table;

struct Store {
    simulator: simulator::Simulator,
    token: &'static str,
}

impl Store {
    async fn start() -> Self {
        let store =
            Self { simulator: simulator::start(Simulated::default()).await.expect("it starts"), token: "hunter2" };
        store.control().set_token(store.token);
        for (name, kind) in [("Job title", AttributeKind::String), ("Points", AttributeKind::Number)] {
            store.control().create_attribute(name, kind).expect("it is made");
        }
        store
    }

    fn control(&self) -> StoreControl {
        self.simulator.store("abc123").expect("the store")
    }

    fn with(&self, fields: &[(&str, FieldType)], change: impl FnOnce(&mut Settings)) -> Result<BigCommerce, Failure> {
        let token = self.token;
        let mut settings = Settings {
            name: "acme".to_owned(),
            store_hash: "abc123".to_owned(),
            api_url: self.simulator.url().to_owned(),
            access_token: Arc::new(move || Ok(SecretString::from(token))),
            share: 0.8,
            fields: fields.iter().map(|(name, kind)| FieldWanted::new(*name, *kind)).collect(),
            create_attributes: false,
            create_groups: false,
            patience: Duration::ZERO,
            cancel: CancellationToken::new(),
            client: Client::new(Timeouts::default()),
        };
        change(&mut settings);
        BigCommerce::new(settings)
    }
}

const TITLE: &[(&str, FieldType)] = &[("attribute:Job title", FieldType::String)];

#[tokio::test]
async fn are_found() {
    let store = Store::start().await;
    let mut table = Table::default();
    let sound = |fields: &[(&str, FieldType)]| store.with(fields, |_| {});
    table.quiet("nothing", sound(TITLE)).await;

    let address = store.with(TITLE, |settings| "abc123/v3".clone_into(&mut settings.store_hash));
    table.row("a path for a hash", address, 78, &["store hash", "/stores/"]).await;
    let other = store.with(TITLE, |settings| "abc124".clone_into(&mut settings.store_hash));
    table.row("the hash of no store", other, 78, &["was not found", "store_hash"]).await;
    let token =
        store.with(TITLE, |settings| settings.access_token = Arc::new(|| Ok(SecretString::from("hunter2-other"))));
    table
        .row("a token of another store", token, 77, &["refuses the access token", "`access_token`", "`store_hash`"])
        .await;
    let nowhere = store.with(TITLE, |settings| "http://127.0.0.1:1".clone_into(&mut settings.api_url));
    table.row("nothing listens there", nowhere, 75, &["cannot be reached", "check the network and the address"]).await;

    let mistyped = sound(&[("attribute:Job titel", FieldType::String)]);
    table
        .row(
            "no such attribute",
            mistyped,
            78,
            &["no attribute named `Job titel`", "nearest is `Job title`", "create_attributes"],
        )
        .await;
    let kind = sound(&[("attribute:Points", FieldType::String)]);
    table
        .row("an attribute of another type", kind, 78, &["`Points` holds values of type number", "change `type`"])
        .await;
    let nobody = sound(&[("form_field:Shoe size", FieldType::String)]);
    table
        .row("no such form field", nobody, 0, &["nobody has a value in the form field `Shoe size`", "compare its name"])
        .await;
    let read_only = sound(&[("customer:id", FieldType::String)]);
    table.row("a field that nobody can write", read_only, 0, &["read only: customer:id"]).await;

    for number in 0..47 {
        store.control().create_attribute(&format!("Other {number}"), AttributeKind::String).expect("it is made");
    }
    let two = [("attribute:New", FieldType::String), ("attribute:Newer", FieldType::String)];
    let made = store.with(&two, |settings| settings.create_attributes = true);
    table.row("more than 50 attributes", made, 78, &["`Newer` cannot be created", "allows 50", "delete one"]).await;

    store.control().change_behaviour(|behaviour| behaviour.no_segments = true);
    let segments = sound(&[("segment:Wholesale", FieldType::Boolean)]);
    table.row("segments that the plan has not", segments, 78, &["segments", "Enterprise", "segment:…"]).await;
    store.control().set_scopes(&[Scope::InformationRead]);
    table.row("a token without the scope", sound(TITLE), 77, &["the scope Customers (modify)", "`store_hash`"]).await;
    table.holds();
}

#[test]
fn those_of_the_files_are_found() {
    let mut table = Table::default();
    let file = |store: &str, field: &str| {
        format!(
            "[store.acme]\nstore_hash = \"abc123\"\ncrm = \"erp\"\nmapping = \"b2b\"\naccess_token = {{ env = \"T\" }}\n{store}\n\
             [crm.erp]\nkind = \"sql\"\nurl = \"sqlite:erp.db\"\ntable = \"contacts\"\n\
             [mapping.b2b]\nmatch = [{{ store = \"customer:email\", crm = \"email\" }}]\n\
             field = [{{ store = \"{field}\", crm = \"job_title\" }}]\n"
        )
    };
    let path = file("api_url = \"https://api.bigcommerce.com/stores/abc123/v3/\"", "attribute:Job title");
    table.offline("an address with a path", &path, &["attune.toml:6", "scheme and host alone", "`store_hash`"]);
    table.offline(
        "plain http",
        &file("api_url = \"http://api.bigcommerce.com\"", "attribute:Job title"),
        &["must be https"],
    );
    table.offline("a field of customers that is none", &file("", "customer:compny"), &["customer:company"]);
    table.offline("a kind of field that is none", &file("", "atribute:Job title"), &["attribute:"]);
    table.holds();
}
