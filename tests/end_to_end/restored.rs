//! A checkpoint that was restored from a copy: recognised, and nothing old is written over anything new.

use std::path::PathBuf;

use attune::checkpoint::{Checkpoint, NewAttempt};
use attune::model::{Key, Side, Timestamp};

use crate::world::{Config, TITLE, World, text};

/// The checkpoint's file and what SQLite keeps beside it.
fn files(world: &World) -> [PathBuf; 3] {
    ["attune.db", "attune.db-wal", "attune.db-shm"].map(|name| world.path(name))
}

fn save(world: &World) {
    std::fs::create_dir(world.path("copy")).unwrap();
    for file in files(world).iter().filter(|file| file.exists()) {
        std::fs::copy(file, world.path("copy").join(file.file_name().unwrap())).unwrap();
    }
}

fn restore(world: &World) {
    for file in files(world) {
        let copy = world.path("copy").join(file.file_name().unwrap());
        if copy.exists() {
            std::fs::copy(copy, file).unwrap();
        } else if file.exists() {
            std::fs::remove_file(file).unwrap();
        }
    }
}

/// Ten people; the copy knows all titles as `a`. Since then they became `b` and were carried over; and after the copy
/// was put back, one is edited on each side.
async fn restored(keep_mark: bool) {
    let world = World::new().await;
    for _ in 0..10 {
        world.person(&[("Title", "a")], &[("title", "'a'")]).await;
    }
    world.configure(&Config::new(&[TITLE]));
    world.run("sync").await.ended(0);
    save(&world);
    world.edit("title = 'b'", "id <= 8").await;
    world.run("sync").await.ended(0);
    // What a value was, it is again: only the forgotten history knows that `a` is the newer one here.
    world.edit("title = 'a'", "id = 1").await;
    world.run("sync").await.ended(0);
    world.titles(1, "a").await;
    restore(&world);
    if !keep_mark {
        std::fs::remove_file(world.path("attune.db.mark")).unwrap();
    }
    world.edit("title = 'new in the CRM'", "id = 2").await;
    world.store().set_value(9, "Title", "new in the store").unwrap();
    let writes = world.store_writes();
    let said = world.run("sync").await.ended(1);
    let reason = said.event("checkpoint.behind")["reason"].as_str().unwrap();
    assert!(reason.contains("compares and writes nothing"), "{reason}");
    assert_eq!(world.store_writes(), writes, "it compares only");
    assert_eq!(world.both(2, "Title", "title").await, (text("b"), text("new in the CRM")));
    assert_eq!(world.both(9, "Title", "title").await, (text("new in the store"), text("a")));
    for id in 3..=8 {
        world.titles(id, "b").await;
    }
    // By the mark it is certain; otherwise one side that holds what was agreed shows that the other was edited.
    assert_eq!(world.reasons().await, vec!["first meeting"; if keep_mark { 2 } else { 1 }]);
    // From here on it is as ever.
    let said = world.run("sync --sweep").await.ended(1);
    assert!(!said.has_event("checkpoint.behind"), "{said:#?}");
    world.edit("title = 'c'", "id = 3").await;
    world.run("held resolve --take crm --store acme --yes").await.ended(0);
    world.run("sync").await.ended(0);
    world.titles(3, "c").await;
    world.titles(2, "new in the CRM").await;
    world.titles(9, if keep_mark { "a" } else { "new in the store" }).await;
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_checkpoint_is_recognised_by_its_mark() {
    restored(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_checkpoint_is_recognised_by_what_the_sides_hold() {
    restored(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_checkpoint_meets_for_the_first_time() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[("title", "'a'")]).await;
    world.person(&[("Title", "a")], &[("title", "'a'")]).await;
    world.run("sync").await.ended(0);
    for file in files(&world).iter().filter(|file| file.exists()) {
        std::fs::remove_file(file).unwrap();
    }
    world.edit("title = 'b'", "id = 1").await;
    world.run("sync").await.ended(1);
    assert_eq!(world.both(1, "Title", "title").await, (text("a"), text("b")));
    assert_eq!(world.reasons().await, ["first meeting"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_never_recorded_leaves_no_mark() {
    let world = World::new().await;
    for _ in 0..5 {
        world.person(&[("Title", "a")], &[("title", "'a'")]).await;
    }
    world.run("sync").await.ended(0);
    // What a process does that is killed, or whose disk is full, right before it commits.
    let checkpoint = Checkpoint::open(&world.path("attune.db")).await.unwrap();
    let mut transaction = checkpoint.begin().await.unwrap();
    let attempt = NewAttempt {
        link: 1,
        mapped: 1,
        record: 1,
        field: 1,
        store_key: Key::new("1"),
        crm_key: Key::new("1"),
        name: "attribute:Title".to_owned(),
        old: "null".to_owned(),
        new: "null".to_owned(),
        canonical: "null".to_owned(),
        edited: None,
        reason: "changed",
        counted: None,
        returned: None,
    };
    transaction.intend(2, 1, Side::Store, Timestamp::EPOCH, &[attempt]).await.unwrap();
    drop(transaction);
    drop(checkpoint);
    world.edit("title = 'b'", "true").await;
    let said = world.run("sync").await.ended(0);
    assert!(!said.has_event("checkpoint.behind"), "{said:#?}");
    world.titles(5, "b").await;
}
