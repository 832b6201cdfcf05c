//! The customer's own fields, its group and its form fields, each both ways; what people do that goes wrong with them; and
//! two scenarios from BigCommerce's guides.

use attune::simulator::settings::Readings;
use attune::simulator::{CustomerEdit, CustomerState, FormFieldKind};
use serde_json::{Value as Json, json};

use crate::world::{Config, World, text, unlimited};

const COMPANY: &str = r#"store = "customer:company", crm = "title""#;
const PHONE: &str = r#"store = "customer:phone", crm = "grade""#;
const NOTES: &str = r#"store = "customer:notes", crm = "note""#;
const TAX: &str = r#"store = "customer:tax_exempt_category", crm = "code""#;
const EMAILS: &str = r#"store = "customer:accepts_product_review_abandoned_cart_emails", crm = "vip", type = "boolean", conflict = "crm""#;
const GROUP: &str = r#"store = "customer:group", crm = "grade""#;
const SIZE: &str = r#"store = "form_field:Size", crm = "title""#;
const POINTS: &str = r#"store = "form_field:Points", crm = "points", type = "number""#;
const TOPPINGS: &str = r#"store = "form_field:Toppings", crm = "note", type = "list", separator = ";""#;

fn customer(world: &World, id: u64) -> CustomerState {
    world.store().customer(id).unwrap()
}

/// How often the store was asked for something: `PUT customers`.
fn calls(world: &World, call: &str) -> u64 {
    world.store().report().calls.get(call).copied().unwrap_or(0)
}

/// The one thing that is held: its field, its reason, and all that people are told about it.
async fn the_held(world: &World) -> (String, String, String) {
    let held = world.held().await;
    assert_eq!(held.len(), 1, "{held:?}");
    let word = |key: &str| held[0][key].as_str().unwrap_or_default().to_owned();
    (word("field"), word("reason"), told(world).await)
}

/// What people are told about everything that is held.
async fn told(world: &World) -> String {
    world.run("held").await.ended(0).stdout
}

// The customer's own fields.

#[tokio::test(flavor = "multi_thread")]
async fn own_fields_go_both_ways_and_those_of_a_customer_in_one_row() {
    let world = World::new().await;
    let crm = [("title", "'Acme'"), ("grade", "'0123'"), ("note", "'likes tea'"), ("code", "'B'"), ("vip", "1")];
    for _ in 0..11 {
        world.person(&[], &crm).await;
    }
    world.configure(&Config::new(&[COMPANY, PHONE, NOTES, TAX, EMAILS]));
    world.run("sync").await.ended(0);
    assert_eq!(calls(&world, "PUT customers"), 2, "55 values of 11 customers");
    for id in 1..=11 {
        let now = customer(&world, id);
        let texts = [now.company, now.phone, now.notes, now.tax_exempt_category];
        assert_eq!(texts, ["Acme", "0123", "likes tea", "B"]);
        assert!(now.accepts_emails);
    }
    world.is_quiet(0).await;

    // The other way: one edit of each in the store.
    let edit = CustomerEdit {
        company: text("Bolt"),
        phone: text("4567"),
        notes: text("likes coffee"),
        tax_exempt_category: text("C"),
        accepts_emails: Some(false),
        ..CustomerEdit::default()
    };
    world.store().edit_customer(3, edit).unwrap();
    world.run("sync").await.ended(0);
    for (column, value) in [("title", "Bolt"), ("grade", "4567"), ("note", "likes coffee"), ("code", "C"), ("vip", "0")]
    {
        assert_eq!(world.cell(3, column).await, text(value), "{column}");
    }
    world.is_quiet(0).await;

    // And clears, both ways: an empty text in the store is nothing.
    world.edit("title = NULL, grade = ''", "id = 5").await;
    world.store().edit_customer(5, CustomerEdit { notes: text(""), ..CustomerEdit::default() }).unwrap();
    world.run("sync").await.ended(0);
    let now = customer(&world, 5);
    assert_eq!((now.company, now.phone), (String::new(), String::new()));
    assert_eq!(world.cell(5, "note").await, None);
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_split_and_its_parts_are_never_empty() {
    let world = World::new().await;
    world.person(&[], &[("title", "'Ann Mary Lee'")]).await;
    world.person(&[], &[("title", "'Madonna'")]).await;
    world.configure(&Config::new(&[r#"store = "customer:name", crm = "title""#]));
    world.run("sync").await.ended(1);
    let now = customer(&world, 1);
    assert_eq!((now.first_name.as_str(), now.last_name.as_str()), ("Ann Mary", "Lee"));
    let (field, reason, all) = the_held(&world).await;
    assert_eq!((field.as_str(), reason.as_str()), ("customer:name", "cannot be taken"), "{all}");
    // A second word lets it go.
    world.edit("title = 'Madonna Ciccone'", "id = 2").await;
    world.run("sync").await.ended(0);
    assert_eq!(customer(&world, 2).first_name, "Madonna");
    let edit = CustomerEdit { last_name: text("Lee-Jones"), ..CustomerEdit::default() };
    world.store().edit_customer(1, edit).unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(1, "title").await, text("Ann Mary Lee-Jones"));
    world.edit("title = NULL", "id = 1").await;
    world.run("sync").await.ended(1);
    assert_eq!(world.reasons().await, ["cannot be taken"], "a customer is never without a name");
    world.is_quiet(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_e_mail_that_another_customer_has_is_held_and_the_others_go() {
    for readings in [Readings::default(), Readings::opposite()] {
        let world = World::with(unlimited(readings)).await;
        for _ in 0..4 {
            world.person(&[], &[("grade", "'1'")]).await;
        }
        let mail = r#"store = "customer:email", crm = "email", allow_side_effects = true"#;
        world.configure(&Config::new(&[mail, PHONE]));
        world.run("sync").await.ended(0);
        world.edit("email = 'p4@example.com', grade = '2'", "id = 2").await;
        world.edit("email = 'new@example.com', grade = '2'", "id = 3").await;
        world.run("sync").await.ended(1);
        assert_eq!(customer(&world, 3).email, "new@example.com");
        assert_eq!(customer(&world, 2).email, "p2@example.com");
        assert_eq!((customer(&world, 2).phone, customer(&world, 3).phone), ("2".to_owned(), "2".to_owned()));
        let (field, reason, all) = the_held(&world).await;
        assert_eq!((field.as_str(), reason.as_str()), ("customer:email", "rejected"), "{all}");
        assert!(all.contains("another customer may have it"), "{all}");
        world.is_quiet(1).await;
        // A link is by keys, whatever becomes of the e-mail it was found by.
        world.edit("email = 'p2.new@example.com'", "id = 2").await;
        world.run("sync").await.ended(0);
        assert_eq!(customer(&world, 2).email, "p2.new@example.com");
        world.is_quiet(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_answer_is_lost_is_read_back_and_nothing_is_written_twice() {
    for fault in ["reset-after", "no-rows", "5xx-after", "truncated"] {
        for readings in [Readings::default(), Readings::opposite()] {
            let world = with_values(readings).await;
            world.store().add_group("Wholesale");
            world.configure(&Config::new(&[SIZE, r#"store = "customer:group", crm = "grade""#, TAX]));
            world.run("sync").await.ended(0);
            world.edit("title = 'XL', grade = 'Wholesale', code = 'B'", "true").await;
            world.store().add_fault(format!("{fault}*1@PUT customers").parse().unwrap()).unwrap();
            world.run("sync").await;
            world.settle().await;
            for id in 1..=2 {
                let now = customer(&world, id);
                assert_eq!((now.customer_group_id, now.tax_exempt_category.as_str()), (1, "B"), "{fault}");
                assert_eq!(world.store().form_field(id, "Size"), Some(json!("XL")), "{fault}");
            }
            let written = world.history().await.iter().filter(|write| write["outcome"] == "written").count();
            assert!(written >= 6, "{fault}");
            world.is_quiet(0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn store_credit_goes_to_the_crm_and_channels_only_where_they_are_meant() {
    for readings in [Readings::default(), Readings::opposite()] {
        let world = World::with(unlimited(readings)).await;
        world.person(&[], &[("note", "'1;2'")]).await;
        let edit = CustomerEdit { store_credit: Some(12.5), channel_ids: Some(vec![1]), ..CustomerEdit::default() };
        world.store().edit_customer(1, edit).unwrap();
        let credit = r#"store = "customer:store_credit", crm = "points", type = "number", direction = "to_crm""#;
        let channels = r#"store = "customer:channel_ids", crm = "note", type = "list", separator = ";", direction = "to_store", allow_side_effects = true"#;
        world.configure(&Config::new(&[credit, channels]));
        world.run("sync").await.ended(0);
        assert_eq!(world.cell(1, "points").await, text("12.5"));
        assert_eq!(customer(&world, 1).channel_ids, Some(vec![1, 2]));
        world.is_quiet(0).await;
        world.edit("points = 99", "id = 1").await;
        world.run("sync").await.ended(0);
        assert_eq!(world.cell(1, "points").await, text("12.5"), "money is the store's to know");
        world.is_quiet(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_call_dates_nobody_s_edit() {
    let world = World::new().await;
    world.person(&[], &[("title", "'a'"), ("grade", "'1'")]).await;
    world.configure(&Config::new(&[COMPANY, PHONE]));
    world.run("sync").await.ended(0);
    // Our call changes the company; it dates the customer, and with it the phone that nobody has touched.
    world.edit("title = 'b'", "id = 1").await;
    world.run("sync").await.ended(0);
    assert_eq!(customer(&world, 1).company, "b");
    world.edit("grade = '2'", "id = 1").await;
    world.run("sync").await.ended(0);
    assert_eq!(customer(&world, 1).phone, "2", "no conflict with our own write");
    assert_eq!(world.history().await.iter().filter(|write| write["reason"] == "conflict").count(), 0);
    world.is_quiet(0).await;
    // A conflict goes by the times of the people who edited.
    world.simulator.set_clock_skew_ms(20_000);
    world.store().edit_customer(1, CustomerEdit { phone: text("from the store"), ..CustomerEdit::default() }).unwrap();
    world.simulator.set_clock_skew_ms(0);
    world.edit("grade = 'from the CRM'", "id = 1").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(1, "grade").await, text("from the store"));
}

// Groups.

#[tokio::test(flavor = "multi_thread")]
async fn groups_go_both_ways_by_name() {
    let world = World::new().await;
    for number in 1..=251 {
        world.store().add_group(&format!("Group {number}"));
    }
    for _ in 0..3 {
        world.person(&[], &[]).await;
    }
    world.edit("grade = 'Group 251'", "id = 1").await;
    let member = CustomerEdit { customer_group_id: Some(7), ..CustomerEdit::default() };
    world.store().edit_customer(2, member).unwrap();
    world.configure(&Config::new(&[GROUP]));
    world.run("sync").await.ended(0);
    assert_eq!(customer(&world, 1).customer_group_id, 251, "also from the second page of groups");
    assert_eq!(world.cell(2, "grade").await, text("Group 7"));
    world.is_quiet(0).await;
    // Out of the group, from either side.
    world.edit("grade = NULL", "id = 1").await;
    let out = CustomerEdit { customer_group_id: Some(0), ..CustomerEdit::default() };
    world.store().edit_customer(2, out).unwrap();
    world.run("sync").await.ended(0);
    assert_eq!((customer(&world, 1).customer_group_id, world.cell(2, "grade").await), (0, None));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_group_is_held_until_somebody_makes_it_or_the_mapping_does() {
    let world = World::new().await;
    for _ in 0..12 {
        world.person(&[], &[("grade", "'Wholesale'")]).await;
    }
    world.configure(&Config::new(&[GROUP]));
    world.run("sync").await.ended(1);
    let held = world.held().await;
    assert_eq!(held.len(), 12);
    assert!(held.iter().all(|held| held["reason"] == "rejected"), "{held:?}");
    assert!(told(&world).await.contains("create_groups"), "{}", told(&world).await);
    assert_eq!(calls(&world, "POST customer-groups"), 0);
    // The mapping may make it: once, for all of them.
    world.configure(&Config::new(&[GROUP]).mapping("create_groups = true"));
    world.run("held retry --reason rejected --yes").await;
    world.run("sync").await;
    world.settle().await;
    assert_eq!(world.store().groups(), [(1, "Wholesale".to_owned())]);
    assert_eq!(calls(&world, "POST customer-groups"), 1);
    assert!((1..=12).all(|id| customer(&world, id).customer_group_id == 1));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_name_that_exists_twice_is_held_with_the_reason() {
    let world = World::new().await;
    world.store().add_group("Wholesale");
    world.store().add_group("Wholesale");
    world.person(&[], &[("grade", "'Wholesale'")]).await;
    world.configure(&Config::new(&[GROUP]).mapping("create_groups = true"));
    world.run("sync").await.ended(1);
    let (field, reason, all) = the_held(&world).await;
    assert_eq!((field.as_str(), reason.as_str()), ("customer:group", "rejected"));
    assert!(all.contains("several customer groups of this name"), "{all}");
    assert_eq!(calls(&world, "POST customer-groups"), 0);
    world.store().rename_group(2, "Wholesale (old)").unwrap();
    world.run("held retry --reason rejected --yes").await;
    world.settle().await;
    assert_eq!(customer(&world, 1).customer_group_id, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_customers_of_a_group_take_part() {
    let world = World::new().await;
    let wholesale = world.store().add_group("Wholesale");
    for _ in 0..2 {
        world.person(&[], &[("title", "'x'")]).await;
    }
    let join = CustomerEdit { customer_group_id: Some(wholesale), ..CustomerEdit::default() };
    world.store().edit_customer(2, join.clone()).unwrap();
    world.configure(&Config::new(&[COMPANY]).mapping("only = { store = { \"customer:group\" = [\"Wholesale\"] } }"));
    world.run("sync").await.ended(0);
    assert_eq!((customer(&world, 1).company, customer(&world, 2).company), (String::new(), "x".to_owned()));
    world.store().edit_customer(1, join).unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(customer(&world, 1).company, "x", "it joined");
    world.is_quiet(0).await;
}

// Form fields.

async fn with_form_fields(readings: Readings) -> World {
    let world = World::with(unlimited(readings)).await;
    for (name, kind) in [
        ("Size", FormFieldKind::Text),
        ("Points", FormFieldKind::Number),
        ("Toppings", FormFieldKind::List),
        ("Unmapped", FormFieldKind::Text),
    ] {
        world.store().add_form_field(name, kind);
    }
    world
}

/// Customer 1 has entered everything, customer 2 nothing.
async fn with_values(readings: Readings) -> World {
    let world = with_form_fields(readings).await;
    world.person(&[], &[]).await;
    world.person(&[], &[("title", "'L'"), ("points", "7.5"), ("note", "'b;a'")]).await;
    let entered =
        [("Size", json!("M")), ("Points", json!(3)), ("Toppings", json!(["c", "d"])), ("Unmapped", json!("keep me"))];
    for (name, value) in entered {
        world.store().set_form_field(1, name, &value).unwrap();
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn form_fields_go_both_ways_in_both_readings() {
    for readings in [Readings::default(), Readings::opposite()] {
        let world = with_values(readings).await;
        world.configure(&Config::new(&[SIZE, POINTS, TOPPINGS]));
        world.run("sync").await.ended(0);
        for (column, value) in [("title", "M"), ("points", "3"), ("note", "c;d")] {
            assert_eq!(world.cell(1, column).await, text(value), "{column}");
        }
        let entered = |id: u64, name: &str| world.store().form_field(id, name);
        assert_eq!(entered(2, "Size"), Some(json!("L")));
        assert_eq!(entered(2, "Points"), Some(json!(7.5)));
        assert_eq!(entered(2, "Toppings"), Some(json!(["a", "b"])));
        world.is_quiet(0).await;
        // One changes, the others stay, mapped or not.
        world.edit("title = 'XL'", "id = 1").await;
        world.run("sync").await.ended(0);
        assert_eq!(entered(1, "Size"), Some(json!("XL")));
        assert_eq!(entered(1, "Points"), Some(json!(3)));
        assert_eq!(entered(1, "Toppings"), Some(json!(["c", "d"])));
        assert_eq!(entered(1, "Unmapped"), Some(json!("keep me")), "{readings:?}");
        world.is_quiet(0).await;
        // A shopper's edit is found by the next sweep at the latest, and a clear from the CRM empties.
        world.store().set_form_field(1, "Toppings", &json!(["d", "e"])).unwrap();
        world.edit("points = NULL", "id = 2").await;
        world.run("sync --sweep").await.ended(0);
        assert_eq!(world.cell(1, "note").await, text("d;e"));
        assert!(entered(2, "Points").is_none_or(|value| value == json!("")), "{:?}", entered(2, "Points"));
        world.is_quiet(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn form_fields_that_nobody_has_filled_in_are_filled_by_their_types() {
    for readings in [Readings::default(), Readings::opposite()] {
        let world = with_form_fields(readings).await;
        world.person(&[], &[("title", "'L'"), ("points", "7.5"), ("note", "'b;a'")]).await;
        world.configure(&Config::new(&[SIZE, POINTS, TOPPINGS]));
        let said = world.run("sync").await.ended(0);
        let warned = said.events.iter().filter(|event| event["event"] == "note");
        let warned = warned.filter(|event| event["message"].as_str().unwrap().contains("nobody has a value")).count();
        assert_eq!(warned, 3, "they may be slips: {said:#?}");
        let entered = |name: &str| world.store().form_field(1, name);
        assert_eq!((entered("Size"), entered("Points")), (Some(json!("L")), Some(json!(7.5))));
        assert_eq!(entered("Toppings"), Some(json!(["a", "b"])));
        world.is_quiet(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_field_that_was_renamed_is_no_thousand_clears() {
    for readings in [Readings::default(), Readings::opposite()] {
        let world = with_values(readings).await;
        world.configure(&Config::new(&[SIZE]));
        world.run("sync").await.ended(0);
        world.store().rename_form_field("Size", "Shirt size").unwrap();
        world.edit("title = 'XL'", "id = 1").await;
        world.run("sync --sweep").await.ended(1);
        assert_eq!(world.reasons().await, ["definition changed"; 2]);
        assert_eq!(world.cell(2, "title").await, text("L"), "nothing is cleared");
        assert_eq!(world.store().form_field(1, "Shirt size"), Some(json!("M")), "and nothing written");
        // The merchant puts it back.
        world.store().rename_form_field("Shirt size", "Size").unwrap();
        world.settle().await;
        assert_eq!(world.store().form_field(1, "Size"), Some(json!("XL")));
        world.is_quiet(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_field_that_was_made_required_or_never_existed_is_held_with_the_reason() {
    for unknown in [Readings::default(), Readings::opposite()] {
        let world = with_values(unknown).await;
        world.store().change_behaviour(|behaviour| behaviour.readings.set("required_form_fields", "checked").unwrap());
        world.configure(&Config::new(&[SIZE]));
        world.run("sync").await.ended(0);
        world.store().require_form_field("Unmapped").unwrap();
        world.edit("title = 'S'", "true").await;
        world.run("sync").await.ended(1);
        assert_eq!(world.store().form_field(1, "Size"), Some(json!("S")), "customer 1 has it");
        let (_, reason, all) = the_held(&world).await;
        assert_eq!(reason, "rejected");
        assert!(all.contains("made required"), "{all}");
        // One that nobody has ever had: a slip in the mapping, as far as anybody can tell.
        world.configure(&Config::new(&[r#"store = "form_field:Sise", crm = "title""#]));
        let said = world.run("sync").await.ended(1);
        assert_eq!(world.reasons().await, ["rejected"; 2], "{said:#?}");
        world.is_quiet(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_field_of_another_type_is_said_before_anything_is_written() {
    let world = with_values(Readings::default()).await;
    for (field, says) in [
        (r#"store = "form_field:Toppings", crm = "note""#, "set type = \"list\""),
        (r#"store = "form_field:Size", crm = "note", type = "list""#, "holds one value"),
    ] {
        world.configure(&Config::new(&[field]));
        world.run("sync").await.ended(78).complains(&[says]);
    }
    assert_eq!(world.store_writes(), 0);
    for (separator, warned) in [("", true), (r#", separator = ";""#, false)] {
        let toppings = format!(r#"store = "form_field:Toppings", crm = "note", type = "list"{separator}"#);
        world.configure(&Config::new(&[&toppings]));
        let said = world.run("check").await.ended(0);
        assert_eq!(said.stdout.contains("give `separator`"), warned, "{said:#?}");
    }
}

// Scenarios from BigCommerce's guides.

/// The store as another program uses it.
async fn api(world: &World, method: &str, path: &str, body: Option<Json>) -> Json {
    let url = format!("{}/stores/abc123/v3{path}", world.simulator.url());
    let request = reqwest::Client::new().request(method.parse().unwrap(), url).header("X-Auth-Token", "token-a");
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_chatbot_learns_is_in_the_crm_one_poll_later() {
    let world = World::of(27).await;
    let shown =
        api(&world, "GET", "/customers?id:in=27&include=attributes,storecredit,addresses,formfields", None).await;
    assert_eq!(shown["data"][0]["attributes"], json!([]), "the bot does not know yet");
    let defined =
        api(&world, "POST", "/customers/attributes", Some(json!([{ "name": "Skin concern", "type": "string" }])));
    let attribute = defined.await["data"][0]["id"].clone();
    world.configure(&Config::new(&[r#"store = "attribute:Skin concern", crm = "note""#]));
    world.run("sync").await.ended(0);
    let value = json!([{ "attribute_id": attribute, "value": "Sensitive", "customer_id": 27 }]);
    api(&world, "PUT", "/customers/attribute-values", Some(value)).await;
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(27, "note").await, text("Sensitive"));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wholesaler_s_sign_up_comes_back_once_the_crm_confirms_it() {
    let world = World::new().await;
    world.store().add_form_field("Wholesaler ID", FormFieldKind::Text);
    world.store().create_attribute("Wholesaler ID", attune::simulator::AttributeKind::String).unwrap();
    for _ in 0..2 {
        world.person(&[], &[]).await;
    }
    world.edit("code = 'W-old'", "id = 2").await;
    for id in 1..=2 {
        world.store().set_form_field(id, "Wholesaler ID", &json!(format!("W-{id}"))).unwrap();
    }
    world.configure(&Config::new(&[
        r#"store = "form_field:Wholesaler ID", crm = "code", direction = "to_crm", overwrite = false"#,
        r#"store = "attribute:Wholesaler ID", crm = "grade", direction = "to_store""#,
    ]));
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(1, "code").await, text("W-1"), "what the shopper claims");
    assert_eq!(world.cell(2, "code").await, text("W-old"), "what the CRM knows already stays");
    assert_eq!(world.store().value(1, "Wholesaler ID"), None, "nobody has confirmed it");
    world.edit("grade = code", "id = 1").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(1, "Wholesaler ID"), text("W-1"));
    assert_eq!(world.store().value(2, "Wholesaler ID"), None);
    world.is_quiet(0).await;
}

// What it costs.

#[tokio::test(flavor = "multi_thread")]
async fn each_costs_the_calls_that_the_documentation_says() {
    let world = with_form_fields(Readings::default()).await;
    world.store().add_group("Wholesale");
    for _ in 0..40 {
        world.person(&[], &[]).await;
    }
    let size = r#"store = "form_field:Size", crm = "code""#;
    world.configure(&Config::new(&[COMPANY, GROUP, size, NOTES]));
    world.store().set_form_field(40, "Size", &json!("M")).unwrap();
    world.run("sync").await.ended(0);
    let counted = async || {
        world.store().reset_report();
        world.run("sync").await.ended(0);
        let calls = world.store().report().calls;
        calls
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(call, count)| format!("{count} {call}"))
            .collect::<Vec<_>>()
    };
    // A process begins with the definitions, the groups, and a call for each form field.
    let start = ["1 GET attributes", "1 GET customer-groups", "1 GET form-field-values"];
    let and = |more: &[&str]| {
        let mut all: Vec<String> = start.iter().chain(more).map(|call| (*call).to_owned()).collect();
        all.sort_by(|one, other| one.split_once(' ').map(|one| one.1).cmp(&other.split_once(' ').map(|other| other.1)));
        all
    };
    assert_eq!(counted().await, and(&["1 GET customers"]), "idle: the one feed");
    // 90 values of 30 customers: the feed, one recheck, three calls.
    world.edit("title = 'x', grade = 'Wholesale', note = 'y'", "id <= 30").await;
    assert_eq!(counted().await, and(&["2 GET customers", "3 PUT customers"]));
    // 30 form fields: the answers do not show them, so that each call is read back.
    world.edit("code = 'L'", "id <= 30").await;
    assert_eq!(counted().await, and(&["5 GET customers", "3 PUT customers"]));
    // 30 clears of form fields, which are read back, too.
    world.edit("code = NULL", "id <= 30").await;
    assert_eq!(counted().await, and(&["5 GET customers", "3 PUT customers"]));
    // A sweep: a page, and a feed before it.
    world.store().reset_report();
    world.run("sync --sweep").await.ended(0);
    assert_eq!(calls(&world, "GET customers"), 2);
}
