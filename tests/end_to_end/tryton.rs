//! A store and a running Tryton, both ways, where `ATTUNE_TEST_TRYTON` names one (docs/testing.md).

use serde_json::{Value as Json, json};

use attune::simulator::NewCustomer;

use crate::world::{World, text, writes};

const PARTY: &str = "party.party";
const MECHANISM: &str = "party.contact_mechanism";

struct Tryton {
    address: String,
    database: String,
    password: String,
}

impl Tryton {
    fn named() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let named = (
            variable("ATTUNE_TEST_TRYTON"),
            variable("ATTUNE_TEST_TRYTON_DATABASE"),
            variable("ATTUNE_TEST_TRYTON_PASSWORD"),
        );
        let (Some(address), Some(database), Some(password)) = named else {
            eprintln!("skipped: ATTUNE_TEST_TRYTON is not set");
            return None;
        };
        Some(Self { address, database, password })
    }

    /// What somebody does in Tryton: with a login for each call, by the password itself.
    async fn call(&self, model: &str, method: &str, mut parameters: Json) -> Json {
        parameters.as_array_mut().unwrap().push(json!({ "language": "en" }));
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).gzip(true).build().unwrap();
        let call = client
            .post(format!("{}/{}/rpc/", self.address, self.database))
            .basic_auth("admin", Some(&self.password))
            .json(&json!({ "id": 0, "method": format!("model.{model}.{method}"), "params": parameters }));
        let answer = call.send().await.unwrap();
        assert!(answer.status().is_success(), "{model}.{method}: {}", answer.status());
        let mut answer: Json = answer.json().await.unwrap();
        assert!(answer.get("error").is_none(), "{model}.{method}: {answer}");
        answer["result"].take()
    }

    async fn create(&self, values: Json) -> i64 {
        self.call(PARTY, "create", json!([[values]])).await[0].as_i64().unwrap()
    }

    async fn edit(&self, id: i64, values: Json) {
        self.call(PARTY, "write", json!([[id], values])).await;
    }

    async fn value(&self, id: i64, field: &str) -> Json {
        self.call(PARTY, "read", json!([[id], [field]])).await[0][field].take()
    }
}

fn configure(world: &World, tryton: &Tryton) {
    std::fs::write(world.path("tryton.password"), &tryton.password).unwrap();
    let config = format!(
        r#"
[store.acme]
store_hash   = "abc123"
access_token = {{ env = "ACME_TOKEN" }}
api_url      = "{}"
crm          = "tryton"
mapping      = "b2b"
rails        = {{ writes = {{ count = 10000, percent = 100 }}, clears = {{ count = 100, percent = 100 }} }}
quarantine   = "0s"
replica_lag  = "0s"

[crm.tryton]
kind        = "tryton"
url         = "{}"
database    = "{}"
user        = "admin"
password    = {{ file = "tryton.password" }}
quarantine  = "0s"
replica_lag = "0s"

[mapping.b2b]
match = [{{ store = "customer:email", crm = "contact_mechanism:email" }}]
field = [
  {{ store = "attribute:Title", crm = "attune_text" }},
  {{ store = "attribute:Grade", crm = "attune_grade" }},
  {{ store = "attribute:Note", crm = "contact_mechanism:phone" }},
  {{ store = "attribute:Points", crm = "attune_decimal", type = "number" }},
  {{ store = "attribute:Born", crm = "attune_date", type = "date" }},
  {{ store = "attribute:Code", crm = "attune_company.attune_short", direction = "to_store" }},
]

[server]
listen = "off"
"#,
        world.simulator.url(),
        tryton.address,
        tryton.database,
    );
    std::fs::write(world.path("attune.toml"), config).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_store_and_a_tryton_come_to_agree_and_stay_so() {
    let Some(tryton) = Tryton::named() else { return };
    let world = World::new().await;
    configure(&world, &tryton);
    let company = tryton.create(json!({ "name": "Company", "attune_short": "W-1" })).await;
    let mut parties = Vec::new();
    let run = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    for number in 1..=13 {
        let email = format!("tryton-{run}-{number}@example.test");
        world.store().add_customer(NewCustomer::new(&email, [])).unwrap();
        let company = if number <= 12 { json!(company) } else { json!(null) };
        let values = json!({
            "name": format!("P {number}"), "attune_text": "Buyer", "attune_company": company,
            "contact_mechanisms": [["create", [{ "type": "email", "value": email }]]],
        });
        parties.push(tryton.create(values).await);
    }
    world.run("check").await.ended(0);
    world.run("sync").await.ended(0);
    for id in 1..=13 {
        assert_eq!(world.store().value(id, "Title"), text("Buyer"));
        assert_eq!(world.store().value(id, "Code"), if id <= 12 { text("W-1") } else { None });
    }
    // Both sides are edited, each elsewhere.
    world.store().set_value(1, "Title", "Head buyer").unwrap();
    world.store().set_value(2, "Grade", "gold").unwrap();
    world.store().set_value(3, "Note", "+1 202 555 0100").unwrap();
    world.store().set_value(4, "Points", "12.5").unwrap();
    world.store().set_value(5, "Born", "1969-12-31").unwrap();
    tryton.edit(parties[5], json!({ "attune_text": "Owner", "attune_grade": "silver" })).await;
    tryton.edit(parties[6], json!({ "attune_text": null })).await;
    // A contact mechanism alone: it does not date its party.
    let phone = json!([[{ "party": parties[7], "type": "phone", "value": "+49 30 1" }]]);
    let phone = tryton.call(MECHANISM, "create", phone).await[0].as_i64().unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(tryton.value(parties[0], "attune_text").await, "Head buyer");
    assert_eq!(tryton.value(parties[1], "attune_grade").await, "gold");
    assert_eq!(tryton.value(parties[2], "phone").await, "+1 202 555 0100");
    assert_eq!(
        tryton.value(parties[3], "attune_decimal").await["decimal"].as_str().unwrap().trim_end_matches('0'),
        "12.5"
    );
    assert_eq!(tryton.value(parties[4], "attune_date").await["year"], 1969);
    assert_eq!(world.store().value(6, "Title"), text("Owner"));
    assert_eq!(world.store().value(6, "Grade"), text("silver"));
    assert_eq!(world.store().value(7, "Title"), None);
    assert_eq!(world.store().value(8, "Note"), text("+49 30 1"));
    // A phone that is deactivated clears the attribute, and a clear in the store deactivates a phone.
    tryton.call(MECHANISM, "write", json!([[phone], { "active": false }])).await;
    world.store().clear_value(3, "Note").unwrap();
    world.run("sync --sweep").await.ended(0);
    assert_eq!(world.store().value(8, "Note"), None);
    assert_eq!(tryton.value(parties[2], "phone").await, "");
    // One edit of the company reaches its twelve people in two upserts.
    let before = writes(&world.store());
    tryton.edit(company, json!({ "attune_short": "W-2" })).await;
    world.run("sync").await.ended(0);
    for id in 1..=12 {
        assert_eq!(world.store().value(id, "Code"), text("W-2"), "{id}");
    }
    assert_eq!(writes(&world.store()) - before, 2);
    // A value that Tryton refuses is held, and goes once it is right; its neighbours are not kept waiting.
    world.store().set_value(5, "Grade", "platinum").unwrap();
    world.store().set_value(6, "Grade", "gold").unwrap();
    world.run("sync").await.ended(1);
    assert_eq!(tryton.value(parties[5], "attune_grade").await, "gold");
    assert_eq!(world.reasons().await, ["rejected"]);
    world.store().set_value(5, "Grade", "gold").unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(tryton.value(parties[4], "attune_grade").await, "gold");
    // Archived is gone: nothing is written there.
    tryton.edit(parties[8], json!({ "active": false })).await;
    world.run("sync").await.ended(0);
    world.store().set_value(9, "Title", "Away").unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(tryton.value(parties[8], "attune_text").await, "Buyer");
    // At rest nothing is written, on either side.
    world.run("sync --sweep").await;
    let quiet = writes(&world.store());
    let stamp = tryton.value(parties[0], "_timestamp").await;
    world.run("sync --sweep").await;
    assert_eq!(writes(&world.store()), quiet);
    assert_eq!(tryton.value(parties[0], "_timestamp").await, stamp);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_ends_with_77_and_a_wrong_field_with_78() {
    let Some(tryton) = Tryton::named() else { return };
    let world = World::new().await;
    // Of a user who is not there: nobody is locked out.
    configure(&world, &tryton);
    let config = std::fs::read_to_string(world.path("attune.toml")).unwrap();
    let nobody = format!("user        = \"nobody-{}\"", std::process::id());
    std::fs::write(world.path("attune.toml"), config.replace("user        = \"admin\"", &nobody)).unwrap();
    world.run("check").await.ended(77);
    std::fs::write(world.path("attune.toml"), config.replace("\"contact_mechanism:phone\"", "\"phone\"")).unwrap();
    let said = world.run("check").await.ended(78);
    assert!(format!("{}{}", said.stdout, said.stderr).contains("map `contact_mechanism:phone`"), "{said:?}");
}
