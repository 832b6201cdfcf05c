//! Forgetting a person: nothing of theirs is left in the checkpoint, not a byte, and everybody else goes on.

use attune::simulator::NewCustomer;

use crate::world::{Config, TITLE, World, finish, terminate, text, until};

/// Whether a text is anywhere in the checkpoint's files.
fn traces(world: &World, what: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(world.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("attune.db") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        if bytes.windows(what.len()).any(|window| window.eq_ignore_ascii_case(what.as_bytes())) {
            found.push(name);
        }
    }
    found
}

/// Two people with values that were overwritten, and nobody's besides.
async fn two_people(config: &Config) -> World {
    let world = World::new().await;
    world.person(&[("Title", "quokka-one")], &[("title", "'quokka-one'")]).await;
    world.person(&[("Title", "wombat-one")], &[("title", "'wombat-one'")]).await;
    world.configure(config);
    world.run("sync").await.ended(0);
    for number in ["two", "three"] {
        world.edit(&format!("title = 'quokka-{number}'"), "id = 1").await;
        world.edit(&format!("title = 'wombat-{number}'"), "id = 2").await;
        world.run("sync").await.ended(0);
    }
    world.titles(1, "quokka-three").await;
    world
}

fn is_forgotten(world: &World) {
    for word in ["quokka", "p1@example.com"] {
        assert_eq!(traces(world, word), Vec::<String>::new(), "{word} is still there");
    }
    for word in ["wombat-three", "wombat-one", "p2@example.com"] {
        assert!(!traces(world, word).is_empty(), "{word} is gone too");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_a_person_leaves_and_a_mark_stays() {
    let world = two_people(&Config::new(&[TITLE])).await;
    assert!(!traces(&world, "quokka-one").is_empty());
    // They asked for it, and were deleted in both systems.
    world.store().delete_customer(1).unwrap();
    world.sql("DELETE FROM contacts WHERE id = 1").await;
    let said = world.run("forget acme 1 --yes").await.ended(0);
    assert!(said.stdout.contains("customer 1 of acme is forgotten: 2 records, 1 link and"), "{said:#?}");
    let event = said.event("operator.acted");
    assert_eq!((&event["action"], &event["store"]), (&"forget".into(), &"acme".into()));
    is_forgotten(&world);
    let history = world.history().await;
    assert!(!history.is_empty() && history.iter().all(|write| write["store_key"] == "2"), "{history:?}");
    let said = world.run("explain 1").await;
    assert!(said.stdout.contains("it was forgotten at"), "{said:#?}");
    world.run("forget acme 1 --yes").await.ended(1).complains(&["nothing is remembered of customer 1", "forgotten at"]);
    world.is_quiet(0).await;
    is_forgotten(&world);
    world.run("forget acme 77 --yes").await.ended(1).complains(&["nothing is remembered of customer 77 of acme"]);
    world.run("forget nobody 1 --yes").await.ended(1).complains(&["no store or CRM \"nobody\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_still_there_is_met_again_and_nobody_is_made_for_who_is_left() {
    let names = [r#"store = "customer:first_name", crm = "grade""#, r#"store = "customer:last_name", crm = "note""#];
    let config = Config::new(&[TITLE, names[0], names[1]]).mapping("create = \"both\"");
    let world = two_people(&config).await;
    world.run("forget acme 1 --yes").await.ended(0);
    is_forgotten(&world);
    world.run("sync --sweep").await.ended(0);
    let said = world.run("explain 1 --json").await.ended(0).json();
    assert_eq!(said["records"][0]["linked"], true, "{said}");
    assert_eq!(world.status("acme").await["drift"], 0, "whoever is met again was not missed");
    world.titles(1, "quokka-three").await;
    world.edit("title = 'quokka-four'", "id = 1").await;
    world.run("sync").await.ended(0);
    world.titles(1, "quokka-four").await;
    // Only the contact stays: nobody brings the customer back.
    world.store().delete_customer(1).unwrap();
    world.run("forget erp 1 --yes").await.ended(0);
    is_forgotten(&world);
    world.run("sync --sweep").await.ended(0);
    world.is_quiet(0).await;
    assert_eq!(world.store().customers_with_email("p1@example.com").len(), 0, "a forgotten customer was made again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_gone_before_is_forgotten_with_the_partner_that_nothing_was_ever_written_to() {
    let world = World::new().await;
    world.person(&[("Title", "quokka")], &[("title", "'quokka'")]).await;
    world.person(&[("Title", "wombat-one")], &[("title", "'wombat-one'")]).await;
    world.run("sync").await.ended(0);
    world.edit("title = 'wombat-three'", "id = 2").await;
    world.run("sync").await.ended(0);
    world.store().delete_customer(1).unwrap();
    world.sql("DELETE FROM contacts WHERE id = 1").await;
    world.run("sync --sweep").await.ended(0);
    assert!(!traces(&world, "quokka").is_empty(), "what is gone is remembered");
    world.run("forget acme 1 --yes").await.ended(0);
    is_forgotten(&world);
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_another_store_is_linked_to_stays() {
    let world = World::new().await;
    world.configure(&Config::new(&[TITLE]).more(&world.second_store()));
    world.person(&[("Title", "quokka")], &[]).await;
    world.bolt().add_customer(NewCustomer::new("p1@example.com", [])).unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(world.bolt().value(1, "Title"), text("quokka"));
    let said = world.run("forget acme 1 --yes").await.ended(0);
    assert!(said.stdout.contains("1 of erp stays: somebody else is linked to it"), "{said:#?}");
    world.run("sync --store bolt").await.ended(0);
    assert_eq!(world.bolt().customers().len(), 1);
    let said = world.run("forget erp 1 --yes").await.ended(0);
    assert!(said.stdout.contains("contact 1 of erp is forgotten"), "{said:#?}");
    assert_eq!(traces(&world, "quokka"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_still_take_effect_is_not_forgotten() {
    let config = Config::new(&[TITLE]);
    let world = two_people(&config).await;
    world.configure(&config.quarantine("1h"));
    world.edit("title = 'quokka-late'", "id = 1").await;
    world.store().add_fault("reset-after*1@PUT attribute-values".parse().unwrap()).unwrap();
    world.run("sync").await.ended(1);
    world.run("forget acme 1 --yes").await.ended(1).complains(&["under way", "nothing was forgotten"]);
    assert!(world.history().await.iter().any(|write| write["store_key"] == "1"));
    world.configure(&config);
    world.settle().await;
    world.run("forget acme 1 --yes").await.ended(0);
    is_forgotten(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_daemon_it_is_the_daemon_that_forgets() {
    let config = Config::new(&[TITLE]).store("poll = \"100ms\"").crm("poll = \"100ms\"");
    let world = two_people(&config).await;
    let daemon = world.command("run").spawn().unwrap();
    world.edit("title = 'quokka-four'", "id = 1").await;
    until("an edit", || world.store().value(1, "Title") == text("quokka-four")).await;
    world.run("sync").await.ended(0);
    world.store().delete_customer(1).unwrap();
    world.sql("DELETE FROM contacts WHERE id = 1").await;
    world.run("forget acme 1 --yes").await.ended(0);
    is_forgotten(&world);
    world.edit("title = 'wombat-four'", "id = 2").await;
    until("the other's edit", || world.store().value(2, "Title") == text("wombat-four")).await;
    terminate(&daemon).await;
    finish(daemon).await.ended(0);
    assert_eq!(traces(&world, "quokka"), Vec::<String>::new());
}
