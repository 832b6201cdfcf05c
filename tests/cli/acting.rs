//! What commands do.

use attune::simulator::NewCustomer;
use serde_json::json;

use crate::world::{TITLE, World, checkpoint};

/// The ids of what is held, in fields for this reason.
async fn held(world: &World, reason: &str) -> Vec<i64> {
    let held = world.run("held --json").await.ended(0).json();
    let rows = held.as_array().unwrap().iter().filter(|row| row["reason"] == reason);
    rows.map(|row| row["id"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_carries_edits_both_ways_and_then_there_is_nothing_to_do() {
    let world = World::small().await;
    world.run("sync").await.ended(0);
    world.edit_title("c1", "Head buyer").await;
    world.store().set_value(2, "Job title", "Big boss").unwrap();
    let plan = world.run("plan --json").await.ended(0).json();
    assert_eq!(plan["stores"][0]["writes"].as_array().unwrap().len(), 2, "{plan}");
    let synced = world.run("sync --json").await.ended(0).json();
    assert_eq!(synced["stores"][0]["pass"]["store_writes"], 1);
    assert_eq!(synced["stores"][0]["pass"]["crm_writes"], 1);
    assert_eq!(world.store().value(1, "Job title").as_deref(), Some("Head buyer"));
    assert_eq!(world.title("c2").await.as_deref(), Some("Big boss"));
    world.store().clear_value(2, "Job title").unwrap();
    // That a value is gone is only seen by looking at everything.
    world.run("sync --sweep").await.ended(0);
    assert_eq!(world.title("c2").await, None);
    let writes = world.store_writes();
    world.run("sync").await.ended(0);
    world.run("sync --sweep").await.ended(0);
    assert_eq!(world.store_writes(), writes, "a quiet pass writes nothing");
    world.run("plan --exit-code").await.ended(0);
    assert_eq!(world.store().report().violation_notes, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expected_plan_is_written_and_another_is_not() {
    let world = World::small().await;
    let digest = |said: crate::world::Said| said.json()["digest"].as_str().unwrap().to_owned();
    let expected = digest(world.run("plan --json").await.ended(0));
    world.edit_title("c2", "Big boss").await;
    let said = world.run(&format!("sync --expect {expected}")).await.ended(1);
    said.complains(&["the plan is not the expected one any more"]);
    assert_eq!(world.store_writes(), 0);
    assert_eq!(world.title("c1").await, None);
    let expected = digest(world.run("plan --json").await.ended(0));
    world.run(&format!("sync --expect {expected}")).await.ended(0);
    assert_eq!(world.store().value(2, "Job title").as_deref(), Some("Big boss"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_pass_writes_so_many_records_and_reads_them_back() {
    let world = World::small().await;
    let said = world.run("sync --limit 1").await.ended(1);
    assert!(said.stdout.contains("1 field of 1 record read back: both sides agree"), "{said:#?}");
    assert_eq!(world.run("history --json").await.json().as_array().unwrap().len(), 1);
    world.run("sync").await.ended(0);
    assert_eq!(world.run("history --json").await.json().as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_fields_are_settled_by_a_person_who_is_asked() {
    let world = World::new().await;
    world.run("sync").await.ended(1);
    let [id] = held(&world, "first meeting").await[..] else { panic!("one field") };
    let line = format!("held resolve --take store {id}");
    let said = world.run(&line).await.ended(0);
    said.complains(&["1 field: take the store's value for both sides? [y/N]", "nothing was done"]);
    world.answer(&line, "no\n").await.ended(0).complains(&["nothing was done"]);
    world.run("sync").await.ended(1);
    assert_eq!(world.title("c3").await.as_deref(), Some("Cook"), "nobody said yes");
    let said = world.answer(&line, "y\n").await.ended(0);
    assert!(said.stdout.contains("take the store's value with the next pass"), "{said:#?}");
    let waiting = world.run(&format!("held --json --field '{TITLE}'")).await.json();
    assert_eq!(waiting[0]["next_step"], "the next pass takes the store's value");
    world.run("sync").await.ended(1);
    assert_eq!(world.title("c3").await.as_deref(), Some("Clerk"));
    assert_eq!(held(&world, "first meeting").await, [0; 0]);
    world.run(&format!("held retry {id} --yes")).await.ended(1).complains(&["not held (any more)"]);
    world.run("held retry one --yes").await.ended(2).complains(&["\"one\" is no id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_fields_are_settled_by_filters_and_dropped_until_a_side_changes() {
    let world = World::new().await;
    world.crm("DELETE FROM contacts WHERE id IN ('c6', 'c7')").await;
    world.run("sync").await.ended(1);
    let said = world.run("held drop --reason 'first meeting' --reason conflict --yes").await.ended(0);
    assert!(said.stdout.starts_with("1 held"), "{said:#?}");
    world.run("sync").await.ended(0);
    assert_eq!(world.run("held --json").await.json(), json!([]));
    assert_eq!(world.title("c3").await.as_deref(), Some("Cook"), "both sides stay as they are");
    assert_eq!(world.store().value(3, "Job title").as_deref(), Some("Clerk"));
    world.edit_title("c3", "Chef").await;
    world.run("sync").await.ended(1);
    let said = world.run("held resolve --take crm --since 1h --store acme --yes").await.ended(0);
    assert!(said.stdout.starts_with("1 held"), "{said:#?}");
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(3, "Job title").as_deref(), Some("Chef"));
    let said = world.run("held drop --reason conflict --yes").await.ended(0);
    assert_eq!(said.stdout, "Nothing that fits is held.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_made_and_parted_by_hand() {
    let world = World::new().await;
    world.run("link add acme 5 c7").await.ended(1).complains(&["run `attune sync` or `attune plan` first"]);
    world.run("sync").await.ended(1);
    assert_eq!(held(&world, "ambiguous").await.len(), 3);
    world.run("link add acme 99 c7").await.ended(1).complains(&["no customer 99"]);
    world.run("link add acmee 5 c7").await.ended(2).complains(&["did you mean \"acme\"?"]);
    let said = world.run("link add acme 5 c7").await.ended(0);
    assert_eq!(said.stdout, "customer 5 of acme is contact c7 of erp\n");
    world.run("sync").await.ended(1);
    assert_eq!(world.title("c7").await.as_deref(), Some("Farmer"));
    assert_eq!(held(&world, "ambiguous").await, [0; 0], "there is nobody left to choose between");
    world.run("sync --sweep").await.ended(1);
    assert_eq!(held(&world, "ambiguous").await, [0; 0], "a person has seen it, and nothing changed since");
    let said = world.run("link remove acme 1").await.ended(0);
    assert_eq!(said.stdout, "customer 1 of acme and contact c1 are parted, for good\n");
    world.edit_title("c1", "Nobody").await;
    world.run("sync --sweep").await.ended(1);
    assert_eq!(world.store().value(1, "Job title").as_deref(), Some("Buyer"));
    world.run("link remove acme 1").await.ended(1).complains(&["has no link"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_made_from_a_file() {
    let world = World::new().await;
    world.run("sync").await.ended(1);
    for id in [1, 2] {
        world.run(&format!("link remove acme {id}")).await.ended(0);
    }
    // What the list wrote, completed by hand.
    let listed = world.run("link --csv").await.ended(0).stdout;
    let columns = listed.lines().next().unwrap();
    let file = |rows: &str| std::fs::write(world.path("links.csv"), format!("{columns}\r\n{rows}")).unwrap();
    file("acme,erp,5,c7,ambiguous,\r\nacmee,erp,1,c1,,\r\n");
    world.run("link add --csv links.csv").await.ended(2).complains(&["did you mean \"acme\"?"]);
    file("acme,erp,5,c7,ambiguous,\r\nacme,erp,1,,,\r\n");
    world.run("link add --csv links.csv").await.ended(2).complains(&["row 3: `crm_key` is empty"]);
    assert_eq!(held(&world, "ambiguous").await.len(), 3, "nothing of a bad file is used");
    file("acme,erp,5,c7,ambiguous,\r\nacme,erp,1,c2,,\r\nacme,erp,2,c2,,\r\nacme,erp,99,c1,,\r\n");
    let said = world.run("link add --csv links.csv").await.ended(1);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "2 customers of acme are paired with contacts of erp, 2 are not:",
            "  contact c2 has a link already; `attune link remove acme CUSTOMER` parts it",
            "  acme has no customer 99",
        ]
    );
    file("acme,,2,c1,,\r\n");
    let said = world.run("link add --csv links.csv").await.ended(0);
    assert_eq!(said.stdout, "customer 2 of acme is contact c1 of erp\n");
    let listed = world.run("link --csv").await.ended(0).stdout;
    for linked in ["acme,erp,5,c7,linked,", "acme,erp,1,c2,linked,", "acme,erp,2,c1,linked,"] {
        assert!(listed.contains(linked), "{listed}");
    }
    world.run("link add --csv nowhere.csv").await.ended(2).complains(&["nowhere.csv: cannot be read"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_ambiguous_with_somebody_linked_by_hand_waits_no_more() {
    let world = World::new().await;
    world.crm("DELETE FROM contacts WHERE id IN ('c3', 'c7')").await;
    world.store().add_customer(NewCustomer::new("fay@example.com", vec![])).unwrap();
    world.run("sync").await.ended(1);
    assert_eq!(held(&world, "ambiguous").await.len(), 3, "two customers, one contact");
    let said = world.run("link add acme 5 c6").await.ended(0);
    assert!(
        said.events.iter().any(|event| event["event"] == "operator.acted" && event["store"] == "acme"),
        "{said:#?}"
    );
    world.run("sync").await.ended(0);
    assert_eq!(
        world.run("held --json").await.json(),
        json!([]),
        "customer 6 has no partner, and nobody to ask about it"
    );
    world.run("link remove acme 5").await.ended(0);
    world.run("sync").await.ended(1);
    assert_eq!(held(&world, "ambiguous").await.len(), 3, "the contact is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_is_not_planned_as_held_when_something_else_changes() {
    let world = World::new().await;
    world.crm("DELETE FROM contacts WHERE id = 'c3'").await;
    world.run("sync").await.ended(1);
    let said = world.run("held drop --reason ambiguous --yes").await.ended(0);
    let acted = said.events.iter().find(|event| event["event"] == "operator.acted").unwrap();
    assert_eq!((&acted["store"], &acted["action"], &acted["count"]), (&json!("acme"), &json!("held drop"), &json!(3)));
    world.edit_title("c1", "Head buyer").await;
    let plan = world.run("plan --json").await.ended(0).json();
    assert_eq!(plan["stores"][0]["held"], json!([]), "{plan}");
    assert_eq!(plan["stores"][0]["writes"].as_array().unwrap().len(), 1, "{plan}");
    world.run("sync").await.ended(0);
    world.crm("INSERT INTO contacts VALUES ('c9', 'fay@example.com', NULL, NULL, '2030-01-01T00:00:00Z')").await;
    world.run("sync").await.ended(1);
    assert_eq!(held(&world, "ambiguous").await.len(), 4, "there is one more to choose from");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rail_stopped_is_let_through_by_approve_without_a_question() {
    let world = World::small().await;
    world.configure("rails = { writes = { count = 1, percent = 100 } }", "", "");
    world.run("sync").await.ended(0);
    world.run("approve acme").await.ended(1).complains(&["nothing of acme is stopped at a rail"]);
    world.edit_title("c1", "One").await;
    world.edit_title("c2", "Two").await;
    let plan = world.run("plan").await.ended(0);
    assert!(plan.stdout.contains("The rail `writes` would stop it: 2 in 24 hours, where 1 are allowed"), "{plan:#?}");
    let said = world.run("sync").await.ended(1);
    assert!(said.stdout.contains("acme ⇄ erp: stopped"), "{said:#?}");
    assert!(said.events.iter().any(|event| event["event"] == "rail.stopped"), "{said:#?}");
    assert_eq!(world.store().value(1, "Job title").as_deref(), Some("Buyer"));
    assert_eq!(world.run("status --json").await.json()["stores"][0]["state"], "stopped");
    assert_eq!(world.run("status --json").await.json()["stores"][0]["pending"], 2);
    let said = world.run("approve acme").await.ended(0);
    insta::assert_snapshot!("approve", said.stable(&world));
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(1, "Job title").as_deref(), Some("One"));
    assert_eq!(world.store().value(2, "Job title").as_deref(), Some("Two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_system_is_left_alone_even_before_it_was_ever_reached() {
    let world = World::small().await;
    world.configure("", "", &world.second_store());
    world.run("pause nobody").await.ended(2).complains(&["no store or CRM is called \"nobody\""]);
    world.run("pause bolt").await.ended(0);
    world.bolt().set_outage(true);
    world.bolt().reset_report();
    let said = world.run("sync").await.ended(0);
    said.complains(&["bolt ⇄ erp: store bolt is paused", "attune resume bolt"]);
    assert_eq!(world.bolt().report().total, 0);
    assert_eq!(world.title("c1").await.as_deref(), Some("Buyer"), "the other store goes on");
    let status = world.run("status --json").await.ended(0).json();
    let states: Vec<_> = status["stores"].as_array().unwrap().iter().map(|store| store["state"].clone()).collect();
    assert_eq!(states, ["ok", "paused"]);
    world.bolt().set_outage(false);
    world.run("resume bolt").await.ended(0);
    world.run("sync").await.ended(0);
    assert!(world.bolt().report().total > 0);
    world.run("pause erp").await.ended(0);
    world.edit_title("c1", "Unseen").await;
    world.run("sync").await.ended(0).complains(&["crm erp is paused"]);
    assert_eq!(world.store().value(1, "Job title").as_deref(), Some("Buyer"));
    assert_eq!(world.run("status --json").await.json()["crms"][0]["state"], "paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_was_paused_before_its_system_was_known_is_the_system_s_new_label() {
    let world = World::small().await;
    world.run("sync").await.ended(0);
    let text = std::fs::read_to_string(world.path("attune.toml")).unwrap();
    std::fs::write(world.path("attune.toml"), text.replace("[store.acme]", "[store.apex]")).unwrap();
    world.run("pause apex").await.ended(0);
    world.run("resume apex").await.ended(0);
    world.edit_title("c1", "Head buyer").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(1, "Job title").as_deref(), Some("Head buyer"));
    let history = world.run("history --json").await.json();
    assert!(history.as_array().unwrap().iter().all(|write| write["store"] == "apex"), "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_meets_for_the_first_time_again() {
    let world = World::small().await;
    world.run("forget acme").await.ended(1).complains(&["nothing is remembered of \"acme\""]);
    world.run("sync").await.ended(0);
    let said = world.run("forget acme").await.ended(0);
    assert!(said.stdout.contains("all that was remembered of acme is dropped"), "{said:#?}");
    assert_eq!(world.run("link --json").await.json()["stores"][0]["unique"], 2);
    world.run("sync").await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_travel_between_two_stores_in_one_command() {
    let world = World::small().await;
    world.configure("", "", &world.second_store());
    for email in ["ann@example.com", "bob@example.com"] {
        world.bolt().add_customer(attune::simulator::NewCustomer::new(email, [])).unwrap();
    }
    world.run("sync").await.ended(0);
    let ids = |email: &str| world.bolt().customers_with_email(email)[0].id;
    assert_eq!(world.bolt().value(ids("ann@example.com"), "Job title").as_deref(), Some("Buyer"));
    world.bolt().set_value(ids("bob@example.com"), "Job title", "Big boss").unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(2, "Job title").as_deref(), Some("Big boss"));
    assert_eq!(world.title("c2").await.as_deref(), Some("Big boss"));
    let only = world.run("sync --json --store bolt").await.ended(0).json();
    assert_eq!(only["stores"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_is_ours_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::small().await;
    world.run("sync").await.ended(0);
    let path = checkpoint(world.folder.path());
    // What lies beside it too.
    for ending in ["", ".lock", ".mark"] {
        let file = format!("{}{ending}", path.display());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_is_shown_and_asked_about_and_done() {
    let world = World::small().await;
    world.run("sync").await.ended(0);
    world.edit_title("c1", "Head buyer").await;
    world.run("sync").await.ended(0);
    let said = world.run("undo --pass 2").await;
    insta::assert_snapshot!("undo", said.stable(&world));
    assert_eq!(world.store().value(1, "Job title").as_deref(), Some("Head buyer"));
    let shown = world.run("undo --pass 2 --json").await.ended(0).json();
    assert_eq!(
        shown,
        json!({ "stores": [{ "name": "acme", "crm": "erp", "done": null, "left": [], "writes": [{
            "side": "store", "store_key": "1", "crm_key": "c1", "field": TITLE, "old": "Head buyer", "new": "Buyer",
            "reason": "undone",
        }] }] })
    );
    world.run("undo --pass 2 --store acme --yes").await.ended(0);
    assert_eq!(world.store().value(1, "Job title").as_deref(), Some("Buyer"));
    assert_eq!(world.title("c1").await.as_deref(), Some("Head buyer"));
    let said = world.run("explain 1").await.ended(0);
    assert!(said.stdout.contains("a person undid a write of it"), "{said:#?}");
    let writes = world.store_writes();
    world.run("sync --sweep").await.ended(0);
    world.run("plan --exit-code").await.ended(0);
    assert_eq!(world.store_writes(), writes, "a pass after it writes nothing");
    let history = world.run("history --limit 1 --json").await.json();
    assert_eq!((&history[0]["reason"], &history[0]["pass"]), (&json!("undone"), &json!(3)), "{history}");
    let said = world.run("undo --since 1h --until 2026-01-01").await.ended(0);
    assert!(said.stdout.contains("0 left alone"), "{said:#?}");
}
