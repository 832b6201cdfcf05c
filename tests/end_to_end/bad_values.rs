//! Values that one side holds and the other cannot take: held, said, never cut, and never in anybody's way.

use crate::world::{Config, GRADE, TITLE, World, text};

const POINTS: &str = r#"store = "attribute:Points", crm = "points", type = "number""#;
const BORN: &str = r#"store = "attribute:Born", crm = "born", type = "date""#;

/// What is said of the fields that a pass leaves held: to a person on a terminal, and not in the log.
async fn what_is_held(world: &World, value: &str) -> String {
    let said = world.run("sync").await.ended(1);
    assert_eq!(said.event("field.held")["reason"], "cannot be taken");
    assert!(!format!("{:?}", said.events).contains(value), "values are not for the log: {said:#?}");
    world.run("held").await.ended(0).stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_256_characters_is_held_and_one_of_255_is_sent() {
    let world = World::of(3).await;
    world.run("sync").await.ended(0);
    let (fits, too_long) = ("é".repeat(255), "é".repeat(256));
    world.edit(&format!("title = '{fits}'"), "id = 1").await;
    world.edit(&format!("title = '{too_long}'"), "id = 2").await;
    world.edit("title = 'b'", "id = 3").await;
    let why = what_is_held(&world, &too_long).await;
    assert!(why.contains("256") && why.contains("255"), "{why}");
    world.titles(1, &fits).await;
    world.titles(3, "b").await;
    assert_eq!(world.store().value(2, "Title"), None, "nothing is cut");
    let held = world.run("held").await.ended(0);
    assert!(held.stdout.contains("cannot be taken"), "{held:#?}");
    let explained = world.run("explain 2").await.ended(0);
    assert!(explained.stdout.contains("cannot be taken"), "{explained:#?}");
    world.is_quiet(1).await;
    world.edit("title = 'short'", "id = 2").await;
    world.run("sync").await.ended(0);
    world.titles(2, "short").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_in_a_number_is_held() {
    let world = World::of(2).await;
    world.configure(&Config::new(&[TITLE, POINTS]));
    world.run("sync").await.ended(0);
    world.store().set_value(1, "Points", "twelve").unwrap();
    world.store().set_value(2, "Points", "12").unwrap();
    let why = what_is_held(&world, "twelve").await;
    assert!(why.contains("number"), "{why}");
    assert_eq!(world.cell(1, "points").await, None);
    assert_eq!(world.cell(2, "points").await, text("12"));
    world.is_quiet(1).await;
    world.store().set_value(1, "Points", "12").unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(1, "points").await, text("12"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_that_does_not_exist_is_held() {
    let world = World::of(3).await;
    world.configure(&Config::new(&[TITLE, BORN]));
    world.run("sync").await.ended(0);
    world.edit("born = '2023-02-29'", "id = 1").await;
    world.edit("born = '2024-02-29'", "id = 2").await;
    world.store().set_value(3, "Born", "2024-13-01").unwrap();
    let why = what_is_held(&world, "2023-02-29").await;
    assert!(why.matches("not a day that exists").count() == 2, "{why}");
    assert_eq!(world.store().value(1, "Born"), None);
    assert_eq!(world.store().value(2, "Born"), text("2024-02-29"));
    assert_eq!(world.cell(3, "born").await, None);
    assert_eq!(world.reasons().await, ["cannot be taken"; 2]);
    world.is_quiet(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nul_and_emoji_arrive_as_they_are_or_not_at_all() {
    let world = World::of(3).await;
    world.configure(&Config::new(&[TITLE, GRADE]));
    world.run("sync").await.ended(0);
    let emoji = "👩‍💻 «Köchin» \u{202e}\u{200b}% ' \" ; -- \\ \u{7}";
    world.store().set_value(1, "Title", emoji).unwrap();
    world.edit(&format!("grade = '{}'", emoji.replace('\'', "''")), "id = 1").await;
    world.store().set_value(2, "Title", "before\0after").unwrap();
    world.edit("grade = 'before' || char(0) || 'after'", "id = 3").await;
    let said = world.run("sync").await;
    assert!(matches!(said.code, 0 | 1), "{said:#?}");
    world.titles(1, emoji).await;
    assert_eq!(world.store().value(1, "Grade").as_deref(), Some(emoji));
    for (target, source) in [(world.cell(2, "title").await, "the store"), (world.store().value(3, "Grade"), "the CRM")]
    {
        let whole = target.as_deref() == Some("before\0after");
        assert!(whole || target.is_none(), "what came of {source}'s value is cut: {target:?}");
        assert!(whole || said.code == 1, "what did not arrive is held");
    }
    world.is_quiet(said.code).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_store_refuses_is_found_and_holds_back_nobody() {
    let mut behaviour = crate::world::unlimited(attune::simulator::Readings::default());
    behaviour.readings.set("typed_values", "validated").unwrap();
    let world = World::with(behaviour).await;
    for _ in 0..12 {
        world.person(&[], &[]).await;
    }
    world.configure(&Config::new(&[r#"store = "attribute:Title", crm = "title""#]));
    world.run("sync").await.ended(0);
    world.edit("title = 'b'", "true").await;
    // Customer 7 goes right before the upsert: the store refuses the batch that it is in.
    world.store().delete_customer(7).unwrap();
    let said = world.run("sync").await;
    assert!(matches!(said.code, 0 | 1), "{said:#?}");
    for id in (1..=12).filter(|id| *id != 7) {
        world.titles(id, "b").await;
    }
    world.run("sync --sweep").await.ended(0);
    world.is_quiet(0).await;
}
