//! What a change of the mapping does, several stores on one CRM, and `mode = "observe"`.

use attune::simulator::NewCustomer;

use crate::world::{Config, GRADE, TITLE, World, text, writes};

const POINTS: &str = r#"store = "attribute:Points", crm = "points", type = "number""#;

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_added_later_fills_itself_alone() {
    let world = World::new().await;
    world.person(&[("Title", "a"), ("Grade", "g")], &[("points", "5")]).await;
    world.person(&[("Title", "b")], &[("grade", "'h'")]).await;
    world.run("sync").await.ended(0);
    let before = world.history().await.len();
    world.configure(&Config::new(&[TITLE, GRADE, POINTS]));
    world.run("sync").await.ended(0);
    let history = world.history().await;
    let news = &history[..history.len() - before];
    assert_eq!(news.len(), 3, "{news:?}");
    assert!(news.iter().all(|write| write["field"] != "attribute:Title"), "{news:?}");
    assert_eq!(world.cell(1, "grade").await, text("g"));
    assert_eq!(world.store().value(2, "Grade"), text("h"));
    assert_eq!(world.store().value(1, "Points"), text("5"));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_taken_out_and_put_back_starts_unknown() {
    let world = World::new().await;
    world.person(&[("Title", "a"), ("Grade", "g")], &[]).await;
    world.person(&[("Title", "a"), ("Grade", "g")], &[]).await;
    world.configure(&Config::new(&[TITLE, GRADE]));
    world.run("sync").await.ended(0);
    world.configure(&Config::new(&[TITLE]));
    world.run("sync").await.ended(0);
    world.edit("grade = 'edited meanwhile'", "id = 1").await;
    world.edit("grade = NULL", "id = 2").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(1, "Grade"), text("g"), "it is not mapped");
    world.configure(&Config::new(&[TITLE, GRADE]));
    world.run("sync").await.ended(1);
    assert_eq!(world.both(1, "Grade", "grade").await, (text("g"), text("edited meanwhile")));
    assert_eq!(world.reasons().await, ["first meeting"], "nothing was agreed any more");
    assert_eq!(world.both(2, "Grade", "grade").await, (text("g"), text("g")), "and so no clear can be derived");
    world.is_quiet(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_type_or_direction_is_said() {
    let world = World::new().await;
    world.person(&[("Note", "1.0")], &[("note", "'1.0'")]).await;
    let note = |more: &str| Config::new(&[&format!("store = \"attribute:Note\", crm = \"note\"{more}")]);
    world.configure(&note(""));
    world.run("sync").await.ended(0);
    world.configure(&note(", direction = \"to_store\""));
    let said = world.run("sync").await.ended(0);
    let reason = said.event("schema.changed")["reason"].as_str().unwrap();
    assert!(reason.contains("direction=to_store") && reason.contains("what was agreed stays"), "{reason}");
    world.edit("note = '2.0'", "true").await;
    world.configure(&note(", type = \"boolean\""));
    let said = world.run("sync").await.ended(1);
    let reason = said.event("schema.changed")["reason"].as_str().unwrap();
    assert!(reason.contains("type=boolean") && reason.contains("meet for the first time"), "{reason}");
    assert_eq!(world.both(1, "Note", "note").await, (text("1.0"), text("2.0")), "what differs was never agreed");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_on_one_contact_travel_to_each_other_in_one_command() {
    let world = World::of(12).await;
    world.configure(&Config::new(&[TITLE, GRADE]).more(&world.second_store()));
    for number in 1..=12 {
        let email = format!("p{number}@example.com");
        world.bolt().add_customer(NewCustomer::new(&email, [("Title", "shared")])).unwrap();
    }
    world.run("sync").await.ended(0);
    world.titles(12, "shared").await;
    world.bolt().set_value(1, "Title", "by bolt").unwrap();
    world.store().set_value(2, "Title", "by acme").unwrap();
    world.edit("title = 'by the CRM'", "id = 3").await;
    world.bolt().set_value(3, "Grade", "by bolt").unwrap();
    world.store().set_value(4, "Grade", "by acme").unwrap();
    world.run("sync").await.ended(0);
    for (id, title) in [(1, "by bolt"), (2, "by acme"), (3, "by the CRM"), (4, "shared")] {
        world.titles(id, title).await;
        assert_eq!(world.bolt().value(id, "Title"), text(title));
    }
    assert_eq!(world.store().value(3, "Grade"), text("by bolt"));
    assert_eq!(world.bolt().value(4, "Grade"), text("by acme"));
    // A clear in one store reaches the other through the CRM.
    world.bolt().clear_value(1, "Title").unwrap();
    world.run("sync --sweep").await.ended(0);
    assert_eq!(world.both(1, "Title", "title").await, (None, None));
    world.is_quiet(0).await;
    // A contact that one store's customer leaves stays the other's.
    world.bolt().delete_customer(2).unwrap();
    world.run("sync --sweep").await.ended(0);
    world.titles(2, "by acme").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_of_one_person_in_two_stores_are_a_conflict_by_their_dates() {
    let world = World::of(1).await;
    world.configure(&Config::new(&[TITLE]).more(&world.second_store()));
    world.bolt().add_customer(NewCustomer::new("p1@example.com", [("Title", "a")])).unwrap();
    world.run("sync").await.ended(0);
    world.store_edit_at(10, 1, "Title", "the later");
    world.bolt().set_value(1, "Title", "the earlier").unwrap();
    world.run("sync").await.ended(0);
    world.titles(1, "the later").await;
    assert_eq!(world.bolt().value(1, "Title"), text("the later"));
    let history = world.history().await;
    assert!(history.iter().any(|write| write["old"] == "the earlier"), "what lost is in history: {history:?}");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_reads_links_decides_and_sends_nothing() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[("grade", "'g'")]).await;
    let observing = Config::new(&[TITLE, GRADE, r#"store = "attribute:Shoe size", crm = "note""#])
        .mapping("create_attributes = true")
        .store("mode = \"observe\"");
    world.configure(&observing);
    for line in ["sync", "sync --sweep"] {
        world.run(line).await.ended(1);
    }
    assert_eq!(world.status("acme").await["pending"], 2);
    assert_eq!(world.run("link --json").await.ended(0).json()["stores"][0]["linked"], 1);
    assert_eq!(world.history().await.len(), 0);
    assert_eq!((world.store_writes(), writes(&world.bolt())), (0, 0));
    assert_eq!(world.cell(1, "title").await, None);
    assert_eq!(world.store().attributes().len(), 7, "no attribute is created");
    world.edit("note = '46'", "true").await;
    let plan = world.run("plan --json").await.ended(0).json();
    let writes = plan["stores"][0]["writes"].as_array().unwrap();
    assert_eq!(writes.len(), 3, "also of the attribute that is yet to be made: {plan}");
    assert!(writes.iter().any(|write| write["field"] == "attribute:Shoe size" && write["new"] == "46"), "{plan}");
    let syncing = std::fs::read_to_string(world.path("attune.toml")).unwrap().replace("mode = \"observe\"", "");
    std::fs::write(world.path("attune.toml"), syncing).unwrap();
    world.run("sync").await.ended(0);
    world.titles(1, "a").await;
    assert_eq!(world.store().value(1, "Grade"), text("g"));
    assert_eq!(world.store().value(1, "Shoe size"), text("46"));
    world.is_quiet(0).await;
}
