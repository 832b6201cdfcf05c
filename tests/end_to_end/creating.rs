//! Partners that are made for lack of one, and deleted with the other.

use attune::simulator::settings::{Readings, RefusedBatch};
use attune::simulator::{CustomerEdit, NewCustomer};

use crate::world::{Config, TITLE, World, text, unlimited};

const NAMES: [&str; 2] =
    [r#"store = "customer:first_name", crm = "grade""#, r#"store = "customer:last_name", crm = "note""#];

fn config(create: &str) -> Config {
    Config::new(&[TITLE, NAMES[0], NAMES[1]])
        .mapping(&format!("create = \"{create}\""))
        .rails("creates = { count = 100, percent = 100 }, deletes = { count = 100, percent = 100 }")
}

/// Contacts: their ids, e-mails and titles.
async fn contacts(world: &World) -> Vec<(Option<String>, Option<String>)> {
    let (emails, titles) = (world.column("email").await, world.column("title").await);
    emails.into_iter().zip(titles).map(|((_, email), (_, title))| (email, title)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_without_a_contact_gets_one_and_both_ways_work_from_then_on() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[]).await;
    world.store().add_customer(NewCustomer::new("New@Example.com", [("Title", "b")])).unwrap();
    world.store().add_customer(NewCustomer::new("", [("Title", "nobody")])).unwrap();
    world.configure(&config("crm"));
    let plan = world.run("plan --json").await.ended(0).json();
    let made: Vec<_> = plan["stores"][0]["writes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|write| write["reason"] == "created")
        .map(|write| (write["store_key"].clone(), write["crm_key"].clone(), write["field"].clone()))
        .collect();
    assert!(made.contains(&("2".into(), serde_json::Value::Null, "attribute:Title".into())), "{plan:#}");
    assert_eq!(contacts(&world).await.len(), 1, "a plan writes nothing");
    let said = world.run("sync").await.ended(0);
    let created = said.event("record.created");
    assert_eq!((&created["side"], &created["store_key"]), (&"crm".into(), &"2".into()), "{created:#}");
    assert_eq!(said.event("pass.completed")["records_created"], 1);
    let made = contacts(&world).await;
    assert_eq!(made.len(), 2, "who has no e-mail waits: {made:?}");
    assert_eq!(made[1], (text("New@Example.com"), text("b")));
    let history = world.run("history --json").await.ended(0).json();
    let of_title = history.as_array().unwrap().iter().find(|row| row["reason"] == "created" && row["new"] == "b");
    assert!(of_title.is_some_and(|row| row["outcome"] == "written" && row["old"].is_null()), "{history:#}");
    world.is_quiet(0).await;
    world.edit("title = 'c'", "title = 'b'").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(2, "Title"), text("c"));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_without_a_customer_gets_one_and_nobody_is_written_to() {
    let world = World::new().await;
    world.person(&[], &[]).await;
    world.contact(7, "'new@example.com'", &[("title", "'b'"), ("grade", "'Ann'"), ("note", "'Lee'")]).await;
    // A customer needs a name.
    world.contact(8, "'nameless@example.com'", &[("title", "'c'")]).await;
    world.configure(&config("store"));
    world.run("sync").await.ended(1);
    let customers = world.store().customers();
    let made = customers.iter().find(|customer| customer.email == "new@example.com").expect("it is made");
    assert_eq!((made.first_name.as_str(), made.last_name.as_str()), ("Ann", "Lee"));
    assert_eq!(world.store().value(made.id, "Title"), text("b"));
    let held = world.held().await;
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!((&held[0]["crm_key"], &held[0]["reason"]), (&"8".into(), &"cannot be taken".into()), "{held:?}");
    world.edit("grade = 'Bo', note = 'Diddley'", "id = 8").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.store().customers().len(), 3);
    assert!(world.held().await.is_empty());
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_make_what_they_lack_and_no_one_twice() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[]).await;
    world.store().add_customer(NewCustomer::new("store@example.com", [("Title", "s")])).unwrap();
    world.contact(9, "'crm@example.com'", &[("title", "'c'"), ("grade", "'Ann'"), ("note", "'Lee'")]).await;
    world.configure(&config("both"));
    world.run("sync").await.ended(0);
    assert_eq!((world.store().customers().len(), contacts(&world).await.len()), (3, 3));
    world.is_quiet(0).await;
    // The checkpoint is lost: everybody is found again, nobody is made again.
    std::fs::remove_file(world.path("attune.db")).unwrap();
    world.run("sync").await.ended(0);
    assert_eq!((world.store().customers().len(), contacts(&world).await.len()), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_creates_rail_counts_from_the_first_pass_on() {
    let world = World::new().await;
    for number in 0..12 {
        let email = format!("new{number}@example.com");
        world.store().add_customer(NewCustomer::new(&email, [("Title", "x")])).unwrap();
    }
    world.configure(&config("crm").rails("creates = { count = 11, percent = 100 }"));
    let said = world.run("sync").await.ended(1);
    let stopped = said.event("rail.stopped");
    assert_eq!((&stopped["rail"], &stopped["count"], &stopped["limit"]), (&"creates".into(), &12.into(), &11.into()));
    assert!(contacts(&world).await.is_empty(), "before the first one");
    world.run("approve acme --yes").await.ended(0);
    world.run("sync").await.ended(0);
    assert_eq!(contacts(&world).await.len(), 12);
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_deleted_is_not_made_again() {
    let world = World::new().await;
    world.store().add_customer(NewCustomer::new("a@example.com", [("Title", "a")])).unwrap();
    world.configure(&config("crm"));
    world.run("sync").await.ended(0);
    world.sql("DELETE FROM contacts").await;
    world.run("sync --sweep").await.ended(0);
    let edit = CustomerEdit { company: Some("Lee & Co".to_owned()), ..CustomerEdit::default() };
    world.store().edit_customer(1, edit).unwrap();
    world.store().set_value(1, "Title", "edited").unwrap();
    world.run("sync --sweep").await.ended(0);
    assert!(contacts(&world).await.is_empty());
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_goes_with_its_record_and_what_it_held_is_in_history() {
    let world = World::new().await;
    for title in ["a", "b", "c"] {
        world.person(&[("Title", title)], &[]).await;
    }
    world.configure(&config("none").mapping("on_delete = \"delete\""));
    world.run("sync").await.ended(0);
    world.store().delete_customer(1).unwrap();
    world.sql("DELETE FROM contacts WHERE id = 2").await;
    // An edit that the other side has not got beats the deletion.
    world.store().delete_customer(3).unwrap();
    world.edit("title = 'edited'", "id = 3").await;
    let said = world.run("sync --sweep").await.ended(0);
    assert_eq!(said.event("record.deleted")["partner_deleted"], true, "{said:#?}");
    assert_eq!(world.column("title").await, [(3, text("edited"))]);
    assert!(world.store().customers().is_empty());
    let history = world.run("history --json").await.ended(0).json();
    let deleted: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["reason"] == "deleted" && row["field"] == "attribute:Title")
        .map(|row| (row["side"].as_str().unwrap(), row["old"].as_str().unwrap(), row["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(deleted.len(), 2, "{history:#}");
    assert!(deleted.contains(&("crm", "a", "written")) && deleted.contains(&("store", "b", "written")), "{deleted:?}");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_of_two_stores_is_made_once_and_stays_while_one_of_them_has_it() {
    let world = World::new().await;
    let config = config("crm").mapping("create = \"crm\"\non_delete = \"delete\"").more(&world.second_store());
    for store in [world.store(), world.bolt()] {
        store.add_customer(NewCustomer::new("a@example.com", [("Title", "a")])).unwrap();
    }
    world.configure(&config);
    world.run("sync").await.ended(0);
    assert_eq!(contacts(&world).await, [(text("a@example.com"), text("a"))]);
    world.store().delete_customer(1).unwrap();
    world.run("sync --sweep").await.ended(0);
    assert_eq!(contacts(&world).await.len(), 1, "the other store's customer is this contact, too");
    world.bolt().delete_customer(1).unwrap();
    world.run("sync --sweep").await.ended(0);
    assert!(contacts(&world).await.is_empty());
}

/// One customer is to be made, and the answer goes wrong like this.
async fn lost(fault: &str) {
    let world = World::new().await;
    world.contact(7, "'new@example.com'", &[("title", "'b'"), ("grade", "'Ann'"), ("note", "'Lee'")]).await;
    let config = config("store");
    world.configure(&config.quarantine("1h"));
    world.store().change_behaviour(|behaviour| behaviour.late_effect.0 = 50);
    world.store().add_fault(format!("{fault}*1@POST customers").parse().unwrap()).unwrap();
    world.run("sync").await;
    world.run("sync").await;
    world.run("sync --sweep").await;
    assert_eq!(
        world.store().report().calls_of("POST customers"),
        1,
        "{fault}: nothing is sent again while it may take effect"
    );
    world.configure(&config);
    world.run("sync").await;
    world.run("sync").await.ended(0);
    let customers = world.store().customers();
    assert_eq!(customers.len(), 1, "{fault}: made once, and not twice");
    assert_eq!(world.store().value(customers[0].id, "Title"), text("b"));
    let history = world.history().await;
    assert!(history.iter().any(|write| write["reason"] == "created" && write["new"] == "b"), "{fault}: {history:?}");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_of_unknown_outcome_is_looked_for_before_it_is_sent_again() {
    for fault in ["reset-after", "late-effect", "5xx-after", "no-rows", "truncated", "5xx", "html"] {
        lost(fault).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_e_mail_that_somebody_has_is_linked_and_does_not_fail_the_others() {
    for readings in [Readings { refused_batch: RefusedBatch::Partial, ..Readings::default() }, Readings::default()] {
        let world = World::with(unlimited(readings)).await;
        for number in 1..=3 {
            let email = format!("'p{number}@example.com'");
            world.contact(number, &email, &[("title", "'x'"), ("grade", "'Ann'"), ("note", "'Lee'")]).await;
        }
        world.configure(&config("store"));
        world.run("plan").await.ended(0);
        // Registered since: nobody has read it yet.
        world
            .store()
            .add_customer(NewCustomer { email: "P2@example.com".to_owned(), ..NewCustomer::default() })
            .unwrap();
        world.run("sync").await;
        world.run("sync").await.ended(0);
        let mut emails: Vec<String> = world.store().customers().into_iter().map(|customer| customer.email).collect();
        emails.sort();
        assert_eq!(emails, ["P2@example.com", "p1@example.com", "p3@example.com"]);
        world.titles(1, "x").await;
        world.is_quiet(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_that_cannot_make_what_it_asks_for_is_refused_before_anything_is_written() {
    let world = World::new().await;
    world.contact(7, "'new@example.com'", &[("title", "'b'")]).await;
    world.configure(&Config::new(&[TITLE]).mapping("create = \"store\""));
    let says = ["makes missing partners here", "`customer:first_name` or `customer:name`"];
    world.run("check").await.ended(78).complains(&says);
    world.run("sync").await.ended(78).complains(&says);
    assert!(world.store().customers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_making_thirty_customers_costs() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[]).await;
    world.configure(&config("store"));
    world.run("sync").await.ended(0);
    for number in 2..32 {
        let email = format!("'p{number}@example.com'");
        world.contact(number, &email, &[("title", "'b'"), ("grade", "'Ann'"), ("note", "'Lee'")]).await;
    }
    world.edit("title = title", "id > 1").await;
    let before = world.store().report();
    world.run("sync").await.ended(0);
    let after = world.store().report();
    let calls = |what: &str| after.calls_of(what) - before.calls_of(what);
    assert_eq!(calls("POST customers"), 3);
    // Its two feeds and its definitions as ever; for each batch who has an e-mail already (15 are asked for at a time), and
    // what was made.
    assert_eq!((calls("GET customers"), calls("GET attribute-values")), (7, 1), "{after:?}");
    assert_eq!((calls("PUT customers"), calls("PUT attribute-values")), (0, 0), "names and titles go in the same call");
}
