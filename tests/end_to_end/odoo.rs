//! A store and a running Odoo, both ways, where `ATTUNE_TEST_ODOO` names one (docs/testing.md).

use serde_json::{Value as Json, json};

use attune::simulator::NewCustomer;

use crate::world::{World, text, writes};

struct Odoo {
    address: String,
    keys: Json,
    database: String,
}

impl Odoo {
    fn named() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let named =
            (variable("ATTUNE_TEST_ODOO"), variable("ATTUNE_TEST_ODOO_KEYS"), variable("ATTUNE_TEST_ODOO_POSTGRES"));
        let (Some(address), Some(keys), Some(postgres)) = named else {
            eprintln!("skipped: ATTUNE_TEST_ODOO is not set");
            return None;
        };
        let keys = serde_json::from_str(&std::fs::read_to_string(keys).unwrap()).unwrap();
        Some(Self { address, keys, database: postgres.rsplit('/').next().unwrap().to_owned() })
    }

    /// What somebody does in Odoo.
    async fn call(&self, model: &str, method: &str, arguments: Json) -> Json {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let call = client
            .post(format!("{}/json/2/{model}/{method}", self.address))
            .bearer_auth(self.keys["admin"]["key"].as_str().unwrap())
            .header("x-odoo-database", &self.database)
            .json(&arguments);
        let answer = call.send().await.unwrap();
        assert!(answer.status().is_success(), "{model}.{method}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    async fn create(&self, values: Json) -> i64 {
        self.call("res.partner", "create", json!({ "vals_list": [values] })).await[0].as_i64().unwrap()
    }

    async fn edit(&self, id: i64, values: Json) {
        self.call("res.partner", "write", json!({ "ids": [id], "vals": values })).await;
    }

    async fn value(&self, id: i64, field: &str) -> Json {
        self.call("res.partner", "read", json!({ "ids": [id], "fields": [field] })).await[0][field].clone()
    }
}

fn configure(world: &World, odoo: &Odoo) {
    std::fs::write(world.path("odoo.key"), odoo.keys["sync"]["key"].as_str().unwrap()).unwrap();
    let config = format!(
        r#"
[store.acme]
store_hash   = "abc123"
access_token = {{ env = "ACME_TOKEN" }}
api_url      = "{}"
crm          = "odoo"
mapping      = "b2b"
rails        = {{ writes = {{ count = 10000, percent = 100 }}, clears = {{ count = 100, percent = 100 }} }}
quarantine   = "0s"
replica_lag  = "0s"

[crm.odoo]
kind        = "odoo"
url         = "{}"
database    = "{}"
api_key     = {{ file = "odoo.key" }}
quarantine  = "0s"
replica_lag = "0s"

[mapping.b2b]
match = [{{ store = "customer:email", crm = "email" }}]
field = [
  {{ store = "attribute:Title", crm = "function" }},
  {{ store = "attribute:Grade", crm = "x_price_tier" }},
  {{ store = "attribute:Code", crm = "parent_id.x_wholesaler_id", direction = "to_store" }},
]

[server]
listen = "off"
"#,
        world.simulator.url(),
        odoo.address,
        odoo.database,
    );
    std::fs::write(world.path("attune.toml"), config).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_store_and_an_odoo_come_to_agree_and_stay_so() {
    let Some(odoo) = Odoo::named() else { return };
    let world = World::new().await;
    configure(&world, &odoo);
    let company = odoo.create(json!({ "name": "Company", "is_company": true, "x_wholesaler_id": "W-1" })).await;
    let mut partners = Vec::new();
    for number in 1..=13 {
        let email = format!("odoo-{}-{number}@example.test", std::process::id());
        world.store().add_customer(NewCustomer::new(&email, [])).unwrap();
        let parent = if number <= 12 { json!(company) } else { json!(false) };
        let values = json!({ "name": format!("P {number}"), "email": email, "function": "Buyer", "parent_id": parent });
        partners.push(odoo.create(values).await);
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
    odoo.edit(partners[2], json!({ "function": "Owner", "x_price_tier": "silver" })).await;
    odoo.edit(partners[3], json!({ "function": false })).await;
    world.run("sync").await.ended(0);
    assert_eq!(odoo.value(partners[0], "function").await, "Head buyer");
    assert_eq!(odoo.value(partners[1], "x_price_tier").await, "gold");
    assert_eq!(world.store().value(3, "Title"), text("Owner"));
    assert_eq!(world.store().value(3, "Grade"), text("silver"));
    assert_eq!(world.store().value(4, "Title"), None);
    // One edit of the company reaches its twelve people in two upserts.
    let before = writes(&world.store());
    odoo.edit(company, json!({ "x_wholesaler_id": "W-2" })).await;
    world.run("sync").await.ended(0);
    for id in 1..=12 {
        assert_eq!(world.store().value(id, "Code"), text("W-2"), "{id}");
    }
    assert_eq!(writes(&world.store()) - before, 2);
    // A value that Odoo refuses is held, and goes once it is right; its neighbours are not kept waiting.
    world.store().set_value(5, "Grade", "platinum").unwrap();
    world.store().set_value(6, "Grade", "bronze").unwrap();
    world.run("sync").await.ended(1);
    assert_eq!(odoo.value(partners[5], "x_price_tier").await, "bronze");
    assert_eq!(world.reasons().await, ["rejected"]);
    world.store().set_value(5, "Grade", "gold").unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(odoo.value(partners[4], "x_price_tier").await, "gold");
    // Archived is gone, and back again it is linked again.
    odoo.edit(partners[6], json!({ "active": false })).await;
    world.run("sync").await.ended(0);
    world.store().set_value(7, "Title", "Away").unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(odoo.value(partners[6], "function").await, "Buyer");
    odoo.edit(partners[6], json!({ "active": true })).await;
    world.run("sync --sweep").await;
    assert_eq!(world.store().value(7, "Title"), text("Away"), "the sides differ when they meet again");
    world.run("sync --sweep").await;
    let quiet = writes(&world.store());
    let stamp = odoo.value(partners[0], "write_date").await;
    world.run("sync --sweep").await;
    assert_eq!(writes(&world.store()), quiet);
    assert_eq!(odoo.value(partners[0], "write_date").await, stamp);
}
