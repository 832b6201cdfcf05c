//! Calls about segments, metafields, subscribers and addresses that are lost on the way, before or after their effect: everything
//! is read back, nothing is done twice, and both sides agree in the end.

use attune::simulator::settings::Replica;
use attune::simulator::{CustomerEdit, Fault, FaultRule};

use crate::world::{Config, World, text};

const FIELDS: [&str; 6] = [
    r#"store = "segment:Gold", crm = "vip", type = "boolean""#,
    r#"store = "metafield:erp/id", crm = "code""#,
    r#"store = "subscriber:marketing_newsletter", crm = "kind", type = "boolean""#,
    r#"store = "address:city", crm = "title""#,
    r#"store = "address:country_code", crm = "grade""#,
    r#"store = "address:address1", crm = "note""#,
];

const WRITES: [&str; 8] = [
    "POST shopper-profiles",
    "POST segment-members",
    "DELETE segment-members",
    "POST metafields",
    "PUT metafields",
    "POST subscribers",
    "PUT subscriber",
    "POST addresses",
];

/// What the store holds of a person.
fn held(world: &World, number: u64) -> (bool, Option<String>, Option<bool>, Option<String>) {
    let store = world.store();
    let consents = store.consents(&format!("p{number}@example.com"));
    let metafields = store.metafields(number, "erp/id");
    assert!(metafields.len() <= 1, "made twice: {metafields:?}");
    let addresses = store.addresses(number);
    assert!(addresses.len() <= 1, "made twice: {addresses:?}");
    (
        store.segments_of(number).contains("Gold"),
        metafields.first().map(|metafield| metafield.value.clone()),
        consents.map(|consents| consents.contains("marketing_newsletter")),
        addresses.first().and_then(|(_, texts)| texts.get("city").cloned()),
    )
}

/// Four people with names.
async fn people() -> World {
    let world = World::of(4).await;
    for number in 1..=4 {
        let edit = CustomerEdit {
            first_name: Some("Ada".to_owned()),
            last_name: Some("Lee".to_owned()),
            ..CustomerEdit::default()
        };
        world.store().edit_customer(number, edit).unwrap();
    }
    world
}

async fn survives(fault: Fault) {
    let world = people().await;
    world.configure(&Config::new(&FIELDS));
    world.run("sync").await.ended(0);
    let fail = || {
        for call in WRITES {
            world.store().add_fault(FaultRule::next(1, fault).on(call)).unwrap();
        }
    };
    fail();
    world.edit("vip = 1, code = 'a', kind = 'true', title = 'Bern', grade = 'CH', note = '1 Street'", "true").await;
    world.settle().await;
    for number in 1..=4 {
        assert_eq!(held(&world, number), (true, text("a"), Some(true), text("Bern")), "{fault:?}");
    }
    world.store().clear_faults();
    fail();
    world.edit("vip = 0, code = 'b', kind = 'false', title = 'Basel'", "true").await;
    world.settle().await;
    for number in 1..=4 {
        assert_eq!(held(&world, number), (false, text("b"), Some(false), text("Basel")), "{fault:?}");
    }
    world.store().clear_faults();
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_after_their_effect() {
    survives(Fault::ResetAfter).await;
    survives(Fault::ServerErrorAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_lost_before_their_effect() {
    survives(Fault::ResetBefore).await;
    survives(Fault::Bare429).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_show_nothing_or_half() {
    survives(Fault::NoRows).await;
    survives(Fault::Truncated).await;
    survives(Fault::WrongShape).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_lag_are_no_edits() {
    let world = people().await;
    let quick = "quarantine = \"1s\"\nreplica_lag = \"1s\"";
    let mut config = Config::new(&FIELDS);
    config.store = quick.to_owned();
    world.configure(&config);
    world.run("sync").await.ended(0);
    world.store().change_behaviour(|behaviour| behaviour.replica = Replica { lag_ms: 600, share: 0.5 });
    for (set, expected) in [
        (
            "vip = 1, code = 'a', kind = 'true', title = 'Bern', grade = 'CH', note = '1 Street'",
            (true, "a", true, "Bern"),
        ),
        ("vip = 0, code = 'b', kind = 'false', title = 'Basel'", (false, "b", false, "Basel")),
    ] {
        // Dates are whole seconds: two writes in one could not be told apart.
        world.simulator.advance(std::time::Duration::from_secs(3));
        world.edit(set, "true").await;
        world.settle().await;
        for number in 1..=4 {
            let (gold, code, news, city) = expected;
            assert_eq!(held(&world, number), (gold, text(code), Some(news), text(city)), "{number}");
        }
        assert_eq!(world.cell(1, "vip").await, text(if expected.0 { "1" } else { "0" }), "the CRM keeps what it said");
        assert_eq!(world.cell(1, "code").await, text(expected.1));
    }
    world.store().change_behaviour(|behaviour| behaviour.replica = Replica::default());
    world.settle().await;
    world.is_quiet(0).await;
}
