//! Undoing: what our writes replaced goes back where it stood, and nowhere else; and then everything is quiet.

use serde_json::Value as Json;

use crate::world::{Config, GRADE, TITLE, World, finish, kill, terminate, text, until};

/// So many people who agree on the title `a`.
async fn agreed(people: u64, config: &Config) -> World {
    let world = World::new().await;
    for _ in 0..people {
        world.person(&[("Title", "a")], &[("title", "'a'")]).await;
    }
    world.configure(config);
    world.run("sync").await.ended(0);
    world
}

/// The number of the newest pass that wrote.
async fn newest_pass(world: &World) -> i64 {
    world.history().await[0]["pass"].as_i64().unwrap()
}

/// What `undo` shows: the writes, and what is left alone with the reasons.
async fn shown(world: &World, line: &str) -> (Vec<Json>, Vec<Json>) {
    let said = world.run(&format!("undo {line} --json")).await.ended(0).json();
    let list = |name: &str| said["stores"][0][name].as_array().unwrap().clone();
    (list("writes"), list("left"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pass_wrote_goes_back_and_stays_until_somebody_edits() {
    let world = agreed(5, &Config::new(&[TITLE])).await;
    world.edit("title = 'b'", "id <= 3").await;
    world.store().set_value(4, "Title", "c").unwrap();
    world.run("sync").await.ended(0);
    let pass = newest_pass(&world).await;
    world.store_edit_at(5, 2, "Title", "z");
    let before = world.store_writes();
    let (writes, left) = shown(&world, &format!("--pass {pass}")).await;
    assert_eq!((writes.len(), left.len()), (3, 1), "{writes:?} {left:?}");
    assert_eq!(
        (&left[0]["store_key"], &left[0]["old"], &left[0]["reason"]),
        (&"2".into(), &"z".into(), &"changed since".into())
    );
    let said = world.run(&format!("undo --pass {pass}")).await.ended(0).complains(&["--yes does it"]);
    assert!(said.stdout.contains("\"b\" → \"a\" in the store"), "{said:#?}");
    assert_eq!(world.store_writes(), before, "it was only shown");

    let said = world.run(&format!("undo --pass {pass} --yes")).await.ended(0);
    assert!(said.stdout.contains("3 values put back by pass"), "{said:#?}");
    assert_eq!(said.event("operator.acted")["action"], "undo");
    assert_eq!(world.both(1, "Title", "title").await, (text("a"), text("b")), "the CRM's edit is nobody's to take");
    assert_eq!(world.both(4, "Title", "title").await, (text("c"), text("a")));
    assert_eq!(world.both(2, "Title", "title").await, (text("z"), text("b")), "what changed since is left alone");
    let history = world.history().await;
    assert!(history[..3].iter().all(|write| write["reason"] == "undone" && write["outcome"] == "written"));
    world.run("sync").await.ended(0);
    world.titles(2, "z").await;
    world.is_quiet(0).await;
    assert_eq!(world.both(1, "Title", "title").await, (text("a"), text("b")));
    assert_eq!(world.held().await.len(), 0, "nothing waits for a person");

    // Asked for again it does nothing: what it would undo has been undone.
    let (writes, _) = shown(&world, &format!("--pass {pass}")).await;
    assert_eq!(writes, Vec::<Json>::new());
    // Whichever side is edited next, the edit is carried over.
    world.edit("title = 'd'", "id = 1").await;
    world.store().set_value(3, "Title", "e").unwrap();
    world.run("sync").await.ended(0);
    world.titles(1, "d").await;
    world.titles(3, "e").await;
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_is_undone_like_any_write() {
    let world = agreed(2, &Config::new(&[TITLE])).await;
    world.edit("title = 'b'", "true").await;
    world.run("sync").await.ended(0);
    world.run("undo --since 1h --yes").await.ended(0);
    assert_eq!(world.both(1, "Title", "title").await, (text("a"), text("b")));
    let (writes, left) = shown(&world, "--since 1h").await;
    assert_eq!((writes.len(), left.len()), (0, 2), "the same again comes to nothing");
    assert_eq!(left[0]["reason"], "it holds that already");
    let pass = newest_pass(&world).await;
    world.run(&format!("undo --pass {pass} --yes")).await.ended(0);
    world.titles(1, "b").await;
    world.titles(2, "b").await;
    world.is_quiet(0).await;
    world.edit("title = 'c'", "id = 1").await;
    world.run("sync").await.ended(0);
    world.titles(1, "c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fills_are_cleared_and_clears_are_filled_on_the_one_side_that_was_written() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[]).await;
    world.person(&[], &[("title", "'b'")]).await;
    world.run("sync").await.ended(0);
    world.titles(1, "a").await;
    world.titles(2, "b").await;
    world.run("undo --since 1h --yes").await.ended(0);
    assert_eq!(world.both(1, "Title", "title").await, (text("a"), None), "what was filled from stays");
    assert_eq!(world.both(2, "Title", "title").await, (None, text("b")));
    world.is_quiet(0).await;

    let world = agreed(1, &Config::new(&[TITLE])).await;
    world.edit("title = NULL", "id = 1").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(1, "Title"), None);
    world.run("undo --since 1h --field attribute:Title --side store --yes").await.ended(0);
    assert_eq!(world.both(1, "Title", "title").await, (text("a"), None));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_writes_go_back_to_before_the_first_as_far_as_nobody_came_between() {
    let world = agreed(2, &Config::new(&[TITLE, GRADE])).await;
    world.edit("title = 'b', grade = 'x'", "true").await;
    world.run("sync").await.ended(0);
    world.store().set_value(2, "Title", "person").unwrap();
    world.run("sync").await.ended(0);
    world.edit("title = 'c'", "true").await;
    world.run("sync").await.ended(0);
    world.run("undo --since 1h --side store --field attribute:Title --yes").await.ended(0);
    assert_eq!(world.both(1, "Title", "title").await, (text("a"), text("c")));
    assert_eq!(world.both(2, "Title", "title").await, (text("person"), text("c")), "a person's value is not undone");
    assert_eq!(world.store().value(1, "Grade"), text("x"), "another field");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_both_sides_of_a_field_the_one_that_was_written_last_goes_back() {
    let world = agreed(1, &Config::new(&[TITLE])).await;
    world.store().set_value(1, "Title", "b").unwrap();
    world.run("sync").await.ended(0);
    world.store().set_value(1, "Title", "x").unwrap();
    world.edit("title = 'x'", "id = 1").await;
    world.run("sync").await.ended(0);
    world.edit("title = 'b'", "id = 1").await;
    world.run("sync").await.ended(0);
    let (writes, left) = shown(&world, "--since 1h").await;
    assert_eq!((writes.len(), left.len()), (1, 1), "{writes:?} {left:?}");
    world.run("undo --since 1h --yes").await.ended(0);
    assert_eq!(world.both(1, "Title", "title").await, (text("x"), text("b")));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_on_one_crm_come_to_rest_after_it() {
    let world = World::new().await;
    world.configure(&Config::new(&[TITLE]).more(&world.second_store()));
    world.person(&[("Title", "a")], &[("title", "'a'")]).await;
    world.bolt().add_customer(attune::simulator::NewCustomer::new("p1@example.com", [("Title", "a")])).unwrap();
    world.run("sync").await.ended(0);
    world.store().set_value(1, "Title", "b").unwrap();
    world.settle().await;
    assert_eq!(world.bolt().value(1, "Title"), text("b"));
    // What goes back in the CRM is, for the other store, an edit.
    world.run("undo --since 1h --yes").await;
    world.settle().await;
    assert_eq!(world.both(1, "Title", "title").await, (text("b"), text("a")));
    assert_eq!(world.bolt().value(1, "Title"), text("a"));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_undone_counts_on_no_rail_and_passes_where_one_stops_the_pair() {
    let config =
        Config::new(&[TITLE]).rails("writes = { count = 3, percent = 100 }, clears = { count = 0, percent = 100 }");
    let world = agreed(8, &config).await;
    world.edit("title = 'b'", "id <= 3").await;
    world.run("sync").await.ended(0);
    let pass = newest_pass(&world).await;
    world.edit("title = 'c'", "id > 3").await;
    world.run("sync").await.ended(1).event("rail.stopped");
    let said = world.run(&format!("undo --pass {pass} --yes")).await;
    assert!(said.stdout.contains("3 values put back"), "{said:#?}");
    for id in 1..=3 {
        assert_eq!(world.both(id, "Title", "title").await, (text("a"), text("b")));
    }
    assert_eq!(world.store().value(4, "Title"), text("a"), "what the rail stopped stays stopped");
    assert_eq!(world.status("acme").await["state"], "stopped");
    world.run("approve acme").await.ended(0);
    world.run("sync").await.ended(0);
    world.titles(4, "c").await;
    assert_eq!(world.both(1, "Title", "title").await, (text("a"), text("b")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_read_back_and_what_was_undone_stays_undone() {
    let config = Config::new(&[TITLE]);
    for fault in ["reset-after", "reset-before"] {
        let world = agreed(2, &config).await;
        world.edit("title = 'b'", "true").await;
        world.run("sync").await.ended(0);
        world.configure(&config.quarantine("1h"));
        world.store().add_fault(format!("{fault}*1@PUT attribute-values").parse().unwrap()).unwrap();
        let said = world.run("undo --since 1h --yes --json").await.ended(1).json();
        assert_eq!(said["stores"][0]["done"]["pending"], 2, "{fault}: {said}");
        world.run("sync").await.ended(1);
        world.configure(&config);
        world.settle().await;
        for id in 1..=2 {
            assert_eq!(world.both(id, "Title", "title").await, (text("a"), text("b")), "{fault}");
        }
        world.is_quiet(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_half_way_the_next_pass_goes_on_with_it() {
    let world = agreed(40, &Config::new(&[TITLE])).await;
    world.edit("title = 'b'", "true").await;
    world.run("sync").await.ended(0);
    world.store().change_behaviour(|behaviour| {
        behaviour.slow.0 = 600_000;
        behaviour.concurrency.writes = 0;
    });
    world.store().add_fault("slow-after*2+1@PUT attribute-values".parse().unwrap()).unwrap();
    let child = world.command("undo --since 1h --yes").spawn().unwrap();
    let back = || (1..=40).filter(|id| world.store().value(*id, "Title") == text("a")).count();
    until("the first effects", || back() >= 20).await;
    kill(child).await;
    world.store().clear_faults();
    assert!(back() < 40, "it was killed too late");
    world.settle().await;
    for id in 1..=40 {
        assert_eq!(world.both(id, "Title", "title").await, (text("a"), text("b")), "{id}");
    }
    world.is_quiet(0).await;
    assert_eq!(world.held().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_made_deleted_or_given_consent_by_it() {
    let news = r#"store = "subscriber:marketing_newsletter", crm = "vip", type = "boolean""#;
    let world = World::new().await;
    world.configure(&Config::new(&[TITLE, news]).mapping("create = \"crm\""));
    let id = world.person(&[("Title", "a")], &[("title", "'a'"), ("vip", "1")]).await;
    let email = format!("p{id}@example.com");
    world.store().set_consents(&email, Some(&["marketing_newsletter"]));
    world.store().add_customer(attune::simulator::NewCustomer::new("alone@example.com", [("Title", "x")])).unwrap();
    world.run("sync").await.ended(0);
    world.store().set_consents(&email, Some(&[]));
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(id, "vip").await, text("0"));
    let (writes, left) = shown(&world, "--since 1h").await;
    assert_eq!(writes, Vec::<Json>::new());
    let reasons: Vec<&str> = left.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    assert!(reasons.contains(&"a refusal stays, and consent is not given by undoing"), "{reasons:?}");
    assert!(reasons.contains(&"the record was made with it: nobody is deleted"), "{reasons:?}");
    world.run("undo --since 1h --yes").await.ended(0);
    assert_eq!(world.cell(id, "vip").await, text("0"));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_daemon_it_is_the_daemon_that_undoes() {
    let config = Config::new(&[TITLE]).store("poll = \"100ms\"").crm("poll = \"100ms\"");
    let world = agreed(3, &config).await;
    let daemon = world.command("run").spawn().unwrap();
    world.edit("title = 'b'", "true").await;
    until("the edits", || (1..=3).all(|id| world.store().value(id, "Title") == text("b"))).await;
    world.run("sync").await.ended(0);
    let said = world.run("undo --since 1h").await.ended(0).complains(&["a daemon is running", "--yes does it"]);
    assert!(said.stdout.contains("Put back: 3"), "{said:#?}");
    world.run("undo --since 1h --yes").await.ended(0);
    until("the undo", || (1..=3).all(|id| world.store().value(id, "Title") == text("a"))).await;
    world.run("sync").await.ended(0);
    world.run("sync --sweep").await.ended(0);
    assert_eq!(world.both(1, "Title", "title").await, (text("a"), text("b")));
    world.edit("title = 'c'", "id = 1").await;
    until("the next edit", || world.store().value(1, "Title") == text("c")).await;
    terminate(&daemon).await;
    finish(daemon).await.ended(0);
    world.is_quiet(0).await;
}
