//! Columns and attributes that are missing, renamed, gone, made again, or of another type.

use attune::simulator::AttributeKind;

use crate::world::{Config, GRADE, TITLE, World, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_column_is_named_with_the_nearest() {
    let world = World::of(1).await;
    world.configure(&Config::new(&[r#"store = "attribute:Title", crm = "titel""#]));
    for line in ["check", "sync", "plan"] {
        world.run(line).await.ended(78).complains(&["attune: crm erp:", "titel", "title"]);
    }
    world.configure(&Config::new(&[TITLE]).crm("modified = \"changed_at\""));
    world.run("sync").await.ended(78).complains(&["attune: crm erp:", "changed_at"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_attribute_is_named_with_the_nearest_and_what_to_do() {
    let world = World::of(1).await;
    world.configure(&Config::new(&[r#"store = "attribute:Titel", crm = "title""#]));
    for line in ["check", "sync"] {
        let said = world.run(line).await.ended(78);
        said.complains(&["attune: store acme:", "no attribute named `Titel`", "`Title`", "create_attributes = true"]);
    }
    assert_eq!(world.store_writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_of_another_type_is_refused_and_never_made_again() {
    let world = World::of(1).await;
    world.configure(&Config::new(&[r#"store = "attribute:Points", crm = "points", type = "date""#]));
    let said = world.run("sync").await.ended(78);
    said.complains(&["attune: store acme:", "`Points` holds values of type number", "says date"]);
    assert_eq!(world.store_writes(), 0);
    assert_eq!(world.store().attributes().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_attribute_goes_on_and_is_said() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[]).await;
    world.run("sync").await.ended(0);
    world.store().rename_attribute("Title", "Job title").unwrap();
    world.edit("title = 'b'", "true").await;
    let said = world.run("sync").await.ended(0);
    let event = said.event("schema.changed");
    assert!(event["reason"].as_str().unwrap().contains("Job title"), "{event}");
    assert_eq!(world.store().value(1, "Job title"), text("b"));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_attribute_clears_nothing_and_is_not_made_again() {
    let world = World::new().await;
    world.person(&[("Title", "a"), ("Grade", "g")], &[]).await;
    world.configure(&Config::new(&[TITLE, GRADE]).mapping("create_attributes = true"));
    world.run("sync").await.ended(0);
    world.store().delete_attribute("Title").unwrap();
    world.edit("grade = 'h'", "true").await;
    let said = world.run("sync --sweep").await.ended(1);
    let event = said.event("schema.changed");
    assert!(event["reason"].as_str().unwrap().contains("has been deleted"), "{event}");
    assert_eq!(world.cell(1, "title").await, text("a"), "its values are unseen, not clears");
    assert_eq!(world.store().value(1, "Grade"), text("h"), "other fields go on");
    assert_eq!(world.reasons().await, ["definition changed"]);
    assert_eq!(world.store().attributes().len(), 6, "nothing is created in its place");
    world.edit("title = 'b'", "true").await;
    let said = world.run("sync").await.ended(1);
    assert!(!said.has_event("schema.changed"), "it is said once: {said:#?}");
    world.is_quiet(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_that_is_deleted_and_made_again_waits_for_a_person() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[]).await;
    world.run("sync").await.ended(0);
    world.store().delete_attribute("Title").unwrap();
    world.store().create_attribute("Title", AttributeKind::String).unwrap();
    world.store().set_value(1, "Title", "of the new one").unwrap();
    world.edit("title = 'b'", "true").await;
    let said = world.run("sync --sweep").await.ended(1);
    let event = said.event("schema.changed");
    assert!(event["reason"].as_str().unwrap().contains("another attribute"), "{event}");
    assert_eq!(world.both(1, "Title", "title").await, (text("of the new one"), text("b")));
    assert_eq!(world.reasons().await, ["definition changed"]);
    world.is_quiet(1).await;
    // Taken as it is, it is a new field: the sides meet for the first time in it.
    world.run("held retry --reason 'definition changed' --yes").await.ended(0);
    world.run("sync").await.ended(1);
    assert_eq!(world.reasons().await, ["first meeting"]);
    world.run("held resolve --take store --store acme --yes").await.ended(0);
    world.run("sync").await.ended(0);
    world.titles(1, "of the new one").await;
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_a_person_lets_go_of_clears_nothing() {
    for made_again in [true, false] {
        let world = World::new().await;
        world.person(&[("Title", "a")], &[]).await;
        world.configure(&Config::new(&[TITLE]).mapping("create_attributes = true"));
        world.run("sync").await.ended(0);
        world.store().delete_attribute("Title").unwrap();
        if made_again {
            world.store().create_attribute("Title", AttributeKind::String).unwrap();
        }
        world.run("sync --sweep").await.ended(1);
        world.run("held retry --reason 'definition changed' --yes").await.ended(0);
        world.run("sync").await.ended(0);
        world.run("sync --sweep").await.ended(0);
        // The new one is filled: that it holds nothing is no clear of what the old one held.
        world.titles(1, "a").await;
        assert_eq!(world.store().attributes().len(), 7);
        world.is_quiet(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_attributes_are_all_there_can_be() {
    let world = World::of(1).await;
    for number in world.store().attributes().len()..50 {
        world.store().create_attribute(&format!("Attribute {number}"), AttributeKind::String).unwrap();
    }
    let config = Config::new(&[r#"store = "attribute:One more", crm = "note""#]);
    world.configure(&config.mapping("create_attributes = true"));
    let said = world.run("sync").await.ended(78);
    said.complains(&["attune: store acme:", "`One more` cannot be created", "50 attributes already"]);
    assert_eq!(world.store_writes(), 0);
}
