//! Addresses: made, changed, cleared, found again; the one that is meant; what cannot be made; what is silently not done.

use attune::simulator::CustomerEdit;
use attune::simulator::settings::{EqualAddress, IncludedAddresses, Readings};

use crate::world::{Config, World, text, unlimited};

const FIELDS: [&str; 5] = [
    r#"store = "address:city", crm = "title""#,
    r#"store = "address:country_code", crm = "grade""#,
    r#"store = "address:company", crm = "note""#,
    r#"store = "address:address1", crm = "code""#,
    r#"store = "address:state_or_province", crm = "kind""#,
];

const AKRON: [(&str, &str); 6] = [
    ("first_name", "Ada"),
    ("last_name", "Lee"),
    ("address1", "1 Street"),
    ("city", "Akron"),
    ("country_code", "US"),
    ("company", "Acme"),
];

/// A person with a name, and contact's values.
async fn person(world: &World, crm: &[(&str, &str)]) -> u64 {
    let number = world.person(&[], crm).await;
    let edit = CustomerEdit {
        first_name: Some("Ada".to_owned()),
        last_name: Some("Lee".to_owned()),
        ..CustomerEdit::default()
    };
    world.store().edit_customer(number, edit).unwrap();
    number
}

/// What an address of a customer holds: the how manieth, the text.
fn held(world: &World, customer: u64, which: usize, name: &str) -> Option<String> {
    world.store().addresses(customer).get(which).and_then(|(_, texts)| texts.get(name).cloned())
}

async fn both_ways(readings: Readings) {
    let world = World::with(unlimited(readings)).await;
    let home = [("title", "'Bern'"), ("grade", "'CH'"), ("code", "'2 Lane'"), ("note", "'Beta'")];
    person(&world, &home).await;
    person(&world, &[]).await;
    let second = world.store().add_address(2, &AKRON).unwrap();
    for number in 0..11 {
        let city = format!("City {number}");
        let elsewhere: Vec<(&str, &str)> = AKRON
            .iter()
            .filter(|(name, _)| *name != "company")
            .map(|(name, text)| if *name == "city" { ("city", city.as_str()) } else { (*name, *text) })
            .collect();
        world.store().add_address(2, &elsewhere).unwrap();
    }
    world.configure(&Config::new(&FIELDS));
    world.run("sync").await.ended(0);
    let texts = ["city", "country_code", "address1", "company", "first_name", "address_type"];
    let made = texts.map(|name| held(&world, 1, 0, name).unwrap_or_default());
    assert_eq!(made, ["Bern", "CH", "2 Lane", "Beta", "Ada", "residential"]);
    assert_eq!((world.cell(2, "title").await, world.cell(2, "note").await), (text("Akron"), text("Acme")));
    world.is_quiet(0).await;
    // The CRM moves and leaves the company; nothing tells of an address that changes in the store but a sweep.
    world.edit("title = 'Basel', note = NULL, kind = 'Basel-Stadt'", "id = 1").await;
    world.store().edit_address(2, second, &[("company", "Acme Ltd")]);
    world.run("sync").await.ended(0);
    let moved = ["city", "company", "state_or_province"].map(|name| held(&world, 1, 0, name));
    assert_eq!(moved, [text("Basel"), None, text("Basel-Stadt")]);
    let said = world.run("sync --sweep").await.ended(0);
    assert_eq!(world.cell(2, "note").await, text("Acme Ltd"));
    assert!(!said.has_event("drift.found"), "{said:#?}");
    // The first address goes: the next one is meant from now on.
    world.store().edit_address(2, second, &[]);
    world.run("sync --sweep").await;
    assert_eq!(world.cell(2, "title").await, text("City 0"));
    assert_eq!(world.cell(2, "note").await, None);
    world.settle().await;
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_goes_both_ways() {
    both_ways(Readings::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_customers_show_all_of_theirs_too() {
    let readings = Readings {
        included_addresses: IncludedAddresses::All,
        equal_address: EqualAddress::EmptyObject,
        ..Readings::default()
    };
    both_ways(readings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_country_is_held_until_it_has_one() {
    let world = World::new().await;
    person(&world, &[("title", "'Bern'"), ("code", "'2 Lane'")]).await;
    world.configure(&Config::new(&FIELDS));
    world.run("sync").await.ended(1);
    assert_eq!(world.reasons().await, ["rejected", "rejected"]);
    let said = world.run("held").await.ended(0).stdout;
    assert!(said.contains("none can be made without country_code"), "{said}");
    assert_eq!(world.store().addresses(1).len(), 0);
    assert_eq!(world.store().report().calls_of("POST addresses"), 0, "what cannot be made is not sent");
    world.edit("grade = 'CH'", "id = 1").await;
    world.run("sync").await.ended(1);
    world.run("held retry --field address:city --yes").await.ended(0);
    world.run("held retry --field address:address1 --yes").await.ended(0);
    world.run("held retry --field address:country_code --yes").await;
    world.run("sync").await.ended(0);
    assert_eq!(held(&world, 1, 0, "city"), text("Bern"));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_silently_not_done_and_what_is_refused_is_held_with_the_reason() {
    for equal_address in [EqualAddress::NoRow, EqualAddress::EmptyObject] {
        let world = World::with(unlimited(Readings { equal_address, ..Readings::default() })).await;
        for _ in 0..3 {
            let number = person(&world, &[]).await;
            world.store().add_address(number, &AKRON).unwrap();
        }
        let bern: Vec<(&str, &str)> =
            AKRON.iter().map(|(name, text)| if *name == "city" { ("city", "Bern") } else { (*name, *text) }).collect();
        world.store().add_address(1, &bern).unwrap();
        world.configure(&Config::new(&FIELDS));
        world.run("sync").await.ended(0);
        // Customer 1 would have the same address twice, customer 2 a state by its code, customer 3 nothing wrong.
        world.edit("title = 'Bern'", "id IN (1, 3)").await;
        world.edit("kind = 'OH'", "id = 2").await;
        world.run("sync").await.ended(1);
        assert_eq!(world.reasons().await, ["rejected", "rejected"]);
        let said = world.run("held").await.ended(0).stdout;
        assert!(said.contains("BigCommerce keeps no two") && said.contains("Ohio, not OH"), "{said}");
        assert_eq!((held(&world, 1, 0, "city"), held(&world, 3, 0, "city")), (text("Akron"), text("Bern")));
        world.is_quiet(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_field_says_which_address_is_meant() {
    let world = World::new().await;
    person(&world, &[]).await;
    world.store().add_address(1, &AKRON).unwrap();
    let mut billing = AKRON.to_vec();
    billing.extend([("Kind", "Billing"), ("city", "Bern")]);
    world.store().add_address(1, &billing).unwrap();
    person(&world, &[("title", "'Cork'"), ("grade", "'IE'"), ("code", "'3 Road'")]).await;
    world.store().add_address(2, &AKRON).unwrap();
    let mark = r#"address = { form_field = "Kind", value = "Billing" }"#;
    world.configure(&Config::new(&FIELDS).mapping(mark));
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(1, "title").await, text("Bern"));
    assert_eq!((held(&world, 2, 0, "city"), held(&world, 2, 1, "city")), (text("Akron"), text("Cork")));
    world.edit("title = 'Basel'", "id = 1").await;
    world.run("sync").await.ended(0);
    assert_eq!((held(&world, 1, 0, "city"), held(&world, 1, 1, "city")), (text("Akron"), text("Basel")));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_cost_a_call_for_ten_customers() {
    let world = World::new().await;
    for number in 1..=25 {
        let street = format!("'{number} Street'");
        person(&world, &[("title", "'Bern'"), ("grade", "'CH'"), ("code", &street)]).await;
    }
    world.configure(&Config::new(&FIELDS));
    world.run("sync").await.ended(0);
    assert_eq!(world.store().report().calls_of("POST addresses"), 3);
    world.store().reset_report();
    world.edit("title = 'Basel', note = 'Beta'", "true").await;
    world.run("sync").await.ended(0);
    let report = world.store().report();
    assert_eq!((report.calls_of("PUT addresses"), report.calls_of("GET addresses")), (3, 0), "{report:#?}");
    assert_eq!(report.violations, 0);
}
