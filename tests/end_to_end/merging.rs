//! Two-way scenarios: who wins, which way, what a clear does, and what values become on the way.

use attune::simulator::Readings;

use crate::world::{Config, GRADE, TITLE, World, text, unlimited};

const NOTE: &str = r#"store = "attribute:Note", crm = "note""#;
const CODE: &str = r#"store = "attribute:Code", crm = "code""#;

fn field(base: &str, more: &str) -> String {
    format!("{base}, {more}")
}

fn fields(fields: &[(&str, &str)]) -> Config {
    let fields: Vec<String> = fields.iter().map(|(base, more)| field(base, more)).collect();
    Config::new(&fields.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Values by field: on one side.
type Values = [(&'static str, &'static str); 4];

/// The four text fields, each with `a` on both sides.
const SAME: (Values, Values) = (
    [("Title", "a"), ("Grade", "a"), ("Note", "a"), ("Code", "a")],
    [("title", "'a'"), ("grade", "'a'"), ("note", "'a'"), ("code", "'a'")],
);

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_goes_by_the_policy() {
    let world = World::new().await;
    for _ in 0..3 {
        world.person(&SAME.0, &SAME.1).await;
    }
    world.configure(&fields(&[
        (TITLE, "conflict = \"newest\""),
        (GRADE, "conflict = \"store\""),
        (NOTE, "conflict = \"crm\""),
        (CODE, "conflict = \"hold\""),
    ]));
    world.run("sync").await.ended(0);
    for (id, name) in (1..=3).flat_map(|id| ["Title", "Grade", "Note", "Code"].map(|name| (id, name))) {
        // The store's edit is the later one of person 1, the earlier one of person 2; of person 3 nobody can say.
        world.store_edit_at(if id == 1 { 10 } else { 0 }, id, name, "store");
    }
    for (id, later_s) in [(1, 0), (2, 10), (3, 0)] {
        world.edit_at(later_s, "title = 'crm', grade = 'crm', note = 'crm', code = 'crm'", &format!("id = {id}")).await;
    }
    let said = world.run("sync").await.ended(1);
    world.titles(1, "store").await;
    world.titles(2, "crm").await;
    assert_eq!(world.both(3, "Title", "title").await, (text("store"), text("crm")), "a tie is held");
    for id in 1..=3 {
        assert_eq!(world.both(id, "Grade", "grade").await, (text("store"), text("store")));
        assert_eq!(world.both(id, "Note", "note").await, (text("crm"), text("crm")));
        assert_eq!(world.both(id, "Code", "code").await, (text("store"), text("crm")));
    }
    assert_eq!(world.reasons().await, ["conflict"; 4]);
    assert!(said.has_event("field.held") && said.has_event("conflict.resolved"), "{said:#?}");
    let history = world.history().await;
    let lost: Vec<_> = history.iter().filter(|write| write["reason"] == "conflict").collect();
    assert_eq!(lost.len(), 8, "what lost is in history: {history:?}");
    assert!(lost.iter().all(|write| write["old"] == "crm" || write["old"] == "store"));
    world.is_quiet(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_way_the_target_ends_equal_to_the_source() {
    let world = World::new().await;
    world.person(&SAME.0, &SAME.1).await;
    world.person(&[("Title", "mine")], &[("grade", "'mine'")]).await;
    world.person(&[("Title", "store"), ("Grade", "store")], &[("title", "'crm'"), ("grade", "'crm'")]).await;
    world.configure(&fields(&[(TITLE, "direction = \"to_store\""), (GRADE, "direction = \"to_crm\"")]));
    world.run("sync").await.ended(0);
    assert_eq!(world.both(2, "Title", "title").await, (text("mine"), None), "the source never had one: it is kept");
    assert_eq!(world.both(2, "Grade", "grade").await, (None, text("mine")));
    assert_eq!(world.both(3, "Title", "title").await, (text("crm"), text("crm")), "also at first meeting");
    assert_eq!(world.both(3, "Grade", "grade").await, (text("store"), text("store")));
    world.store().set_value(1, "Title", "edited on the target").unwrap();
    world.edit("grade = 'edited on the target'", "id = 1").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.both(1, "Title", "title").await, (text("a"), text("a")), "an edit on the target is put back");
    assert_eq!(world.both(1, "Grade", "grade").await, (text("a"), text("a")));
    let history = world.history().await;
    let back: Vec<_> = history.iter().filter(|write| write["reason"] == "put back").collect();
    assert_eq!(back.len(), 2, "{history:?}");
    assert!(back.iter().all(|write| write["old"] == "edited on the target" && write["new"] == "a"), "{back:?}");
    world.edit("title = 'b'", "id = 1").await;
    world.store().set_value(1, "Grade", "b").unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(world.both(1, "Title", "title").await, (text("b"), text("b")));
    assert_eq!(world.both(1, "Grade", "grade").await, (text("b"), text("b")));
    // A clear of the source clears the target; a clear of the target is put back.
    world.edit("title = NULL, grade = NULL", "id = 1").await;
    world.run("sync --sweep").await.ended(0);
    assert_eq!(world.both(1, "Title", "title").await, (None, None));
    assert_eq!(world.both(1, "Grade", "grade").await, (text("b"), text("b")));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_is_carried_over_filled_again_or_held() {
    let world = World::new().await;
    for _ in 0..2 {
        world.person(&SAME.0, &SAME.1).await;
    }
    world.configure(&fields(&[
        (TITLE, "on_clear = \"propagate\""),
        (GRADE, "on_clear = \"restore\""),
        (NOTE, "on_clear = \"hold\""),
    ]));
    world.run("sync").await.ended(0);
    for name in ["Title", "Grade", "Note"] {
        world.store().clear_value(1, name).unwrap();
    }
    world.edit("title = '', grade = NULL, note = '  '", "id = 2").await;
    // A value that is gone from the store leaves no trace in its feed; one that is gone from the CRM does.
    world.run("sync").await.ended(1);
    assert_eq!(world.store().value(2, "Title"), None);
    assert_eq!(world.both(2, "Grade", "grade").await, (text("a"), text("a")));
    world.run("sync --sweep").await.ended(1);
    assert_eq!(world.both(1, "Title", "title").await, (None, None), "one sweep is enough");
    assert_eq!(world.both(1, "Grade", "grade").await, (text("a"), text("a")));
    assert_eq!(world.both(1, "Note", "note").await, (None, text("a")));
    assert_eq!(world.store().value(2, "Note"), text("a"));
    assert_eq!(world.reasons().await, ["conflict", "conflict"]);
    // An edit beats a clear.
    world.store().set_value(1, "Title", "b").unwrap();
    world.run("sync").await.ended(1);
    world.store().clear_value(1, "Title").unwrap();
    world.edit("title = 'c'", "id = 1").await;
    world.run("sync --sweep").await.ended(1);
    world.titles(1, "c").await;
    world.is_quiet(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_overwrite_only_what_is_absent_is_written() {
    let world = World::new().await;
    world.person(&[("Title", "store")], &[("title", "'crm'"), ("grade", "'crm'")]).await;
    world.configure(&fields(&[(TITLE, "overwrite = false"), (GRADE, "overwrite = false")]));
    world.run("sync").await.ended(0);
    assert_eq!(world.both(1, "Title", "title").await, (text("store"), text("crm")));
    assert_eq!(world.both(1, "Grade", "grade").await, (text("crm"), text("crm")));
    world.edit("grade = 'edited'", "id = 1").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.both(1, "Grade", "grade").await, (text("crm"), text("edited")));
    assert_eq!(world.status("acme").await["pending"], 0, "what overwrite leaves is not pending");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_mapped_typed_and_trimmed() {
    let world = World::new().await;
    world
        .person(
            &[("Points", "1.50"), ("Born", "1990-05-17"), ("Vip", "true"), ("Note", "same"), ("Code", "Gold tier")],
            &[
                ("points", "1.5"),
                ("born", "'1990-05-17T00:00:00Z'"),
                ("vip", "1"),
                ("note", "' same '"),
                ("code", "'gold'"),
            ],
        )
        .await;
    world.person(&[("Code", "Silver tier"), ("Points", "7"), ("Born", "2000-02-29"), ("Vip", "false")], &[]).await;
    world
        .person(
            &[],
            &[("code", "'gold'"), ("points", "2.25"), ("born", "'1999-12-31'"), ("vip", "1"), ("title", "' b '")],
        )
        .await;
    world.configure(&Config::new(&[
        r#"store = "attribute:Points", crm = "points", type = "number""#,
        r#"store = "attribute:Born", crm = "born", type = "date""#,
        r#"store = "attribute:Vip", crm = "vip", type = "boolean""#,
        NOTE,
        r#"store = "attribute:Code", crm = "code", values = { gold = "Gold tier", silver = "Silver tier" }"#,
        r#"store = "attribute:Title", crm = "title", trim = false"#,
        r#"store = "attribute:Grade", crm = "grade""#,
    ]));
    world.run("sync").await.ended(0);
    let history = world.history().await;
    assert!(history.iter().all(|write| write["store_key"] != "1"), "equal values are no writes: {history:?}");
    assert_eq!(world.both(2, "Code", "code").await, (text("Silver tier"), text("silver")));
    assert_eq!(world.both(2, "Points", "points").await, (text("7"), text("7")));
    assert_eq!(world.both(2, "Born", "born").await, (text("2000-02-29"), text("2000-02-29")));
    assert_eq!(world.both(2, "Vip", "vip").await, (text("false"), text("0")));
    assert_eq!(world.store().value(3, "Code"), text("Gold tier"));
    assert_eq!(world.store().value(3, "Points"), text("2.25"));
    assert_eq!(world.store().value(3, "Born"), text("1999-12-31"));
    assert_eq!(world.store().value(3, "Vip"), text("true"));
    assert_eq!(world.store().value(3, "Title"), text(" b "), "without trimming blanks count");
    // What is the same in another spelling is no edit; a word that is not in the list is held.
    world.edit("points = '1.500', born = '1990-05-17 00:00:00', note = 'same  '", "id = 1").await;
    world.store().set_value(2, "Code", "Bronze tier").unwrap();
    let before = world.history().await.len();
    world.run("sync").await.ended(1);
    assert_eq!(world.history().await.len(), before);
    assert_eq!(world.reasons().await, ["cannot be taken"]);
    assert_eq!(world.cell(2, "code").await, text("silver"));
    world.is_quiet(1).await;
}

/// Edits everywhere, in both directions, clears and a conflict: what any reading of BigCommerce's facts must lead to.
async fn two_way(world: World, boolean: [&str; 2]) {
    let person_2 = [("Title", "two"), ("Points", "10"), ("Born", "2001-01-01"), ("Note", "n"), ("Grade", "g")];
    world.person(&[("Title", "one"), ("Vip", "true")], &[("points", "3"), ("born", "'1980-06-01'")]).await;
    world.person(&person_2, &[("code", "'k'")]).await;
    world.person(&[("Title", "store's")], &[("title", "'crm''s'")]).await;
    for _ in 0..25 {
        world.person(&[("Title", "x")], &[("title", "'x'")]).await;
    }
    world.configure(&Config::new(&[
        r#"store = "attribute:Title", crm = "title""#,
        r#"store = "attribute:Grade", crm = "grade", on_clear = "restore""#,
        r#"store = "attribute:Note", crm = "note", conflict = "crm""#,
        r#"store = "attribute:Code", crm = "code", direction = "to_store""#,
        r#"store = "attribute:Points", crm = "points", type = "number""#,
        r#"store = "attribute:Born", crm = "born", type = "date""#,
        r#"store = "attribute:Vip", crm = "vip", type = "boolean""#,
    ]));
    world.run("sync").await.ended(1);
    world.titles(1, "one").await;
    assert_eq!(world.cell(1, "vip").await, text(boolean[1]));
    assert_eq!(world.store().value(1, "Points"), text("3"));
    assert_eq!(world.store().value(1, "Born"), text("1980-06-01"));
    assert_eq!(world.cell(2, "points").await, text("10"));
    assert_eq!(world.cell(2, "born").await, text("2001-01-01"));
    assert_eq!(world.store().value(2, "Code"), text("k"));
    assert_eq!(world.reasons().await, ["first meeting"]);
    world.run("held resolve --take store --store acme --yes").await.ended(0);

    world.store().set_value(1, "Title", "one, edited").unwrap();
    world.edit("title = 'two, edited'", "id = 2").await;
    world.edit("title = 'many, edited'", "id > 3").await;
    world.store().set_value(1, "Vip", "false").unwrap();
    world.edit("points = 4.5", "id = 1").await;
    world.store().set_value(2, "Born", "2002-02-02").unwrap();
    world.run("sync").await.ended(0);
    world.titles(1, "one, edited").await;
    world.titles(2, "two, edited").await;
    world.titles(3, "store's").await;
    for id in 4..=28 {
        world.titles(id, "many, edited").await;
    }
    assert_eq!(world.cell(1, "vip").await, text(boolean[0]));
    assert_eq!(world.store().value(1, "Points"), text("4.5"));
    assert_eq!(world.cell(2, "born").await, text("2002-02-02"));

    world.store().set_value(2, "Note", "store").unwrap();
    world.edit("note = 'crm'", "id = 2").await;
    world.store().set_value(2, "Code", "edited on the target").unwrap();
    world.store().clear_value(2, "Grade").unwrap();
    world.store().clear_value(2, "Points").unwrap();
    world.edit("born = NULL", "id = 2").await;
    world.run("sync --sweep").await.ended(0);
    assert_eq!(world.both(2, "Note", "note").await, (text("crm"), text("crm")));
    assert_eq!(world.both(2, "Code", "code").await, (text("k"), text("k")));
    assert_eq!(world.both(2, "Grade", "grade").await, (text("g"), text("g")));
    assert_eq!(world.both(2, "Points", "points").await, (None, None));
    assert_eq!(world.both(2, "Born", "born").await, (None, None));
    world.is_quiet(0).await;
    assert_eq!(world.store().report().throttled(), 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_by_the_likelier_reading_of_every_fact() {
    two_way(World::new().await, ["0", "1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_by_the_opposite_reading_of_every_fact() {
    two_way(World::with(unlimited(Readings::opposite())).await, ["0", "1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_with_postgresql() {
    if let Some(world) = World::postgres().await {
        two_way(world, ["false", "true"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_with_mysql() {
    if let Some(world) = World::mysql().await {
        two_way(world, ["0", "1"]).await;
    }
}
