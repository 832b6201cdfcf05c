//! Copies of the checkpoint: whole, private, made beside a daemon, and fit to be restored.

use std::os::unix::fs::PermissionsExt;

use crate::world::{Config, TITLE, World, finish, terminate, text, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_made_beside_a_daemon_and_restored() {
    let config = Config::new(&[TITLE]).store("poll = \"100ms\"").crm("poll = \"100ms\"");
    let world = World::of(2).await;
    world.configure(&config);
    world.run("backup copy.db").await.ended(75).complains(&["there is no checkpoint yet"]);
    world.edit("title = 'a'", "true").await;
    world.run("sync").await.ended(0);
    let daemon = world.command("run").spawn().unwrap();
    world.edit("title = 'b'", "id = 1").await;
    until("an edit", || world.store().value(1, "Title") == text("b")).await;
    world.run("sync").await.ended(0);
    let said = world.run("backup copy.db").await.ended(0);
    assert!(said.stdout.contains("copy.db holds all that is remembered now"), "{said:#?}");
    let mode = std::fs::metadata(world.path("copy.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for left in ["copy.db-wal", "copy.db-shm", "copy.db-journal"] {
        assert!(!world.path(left).exists(), "{left}: a copy is one file");
    }
    let before = std::fs::read(world.path("copy.db")).unwrap();
    world.run("backup copy.db").await.ended(2).complains(&["copy.db is there already"]);
    assert_eq!(std::fs::read(world.path("copy.db")).unwrap(), before);
    world.run("backup nowhere/copy.db").await.ended(75).complains(&["nowhere/copy.db", "cannot be made"]);
    let json = world.run("backup other.db --json").await.ended(0).json();
    assert_eq!(json["size_bytes"], std::fs::metadata(world.path("other.db")).unwrap().len());

    // What is written after the copy is not in it: restored, it is recognised, and old values win over nobody's.
    world.edit("title = 'c'", "id = 2").await;
    until("an edit", || world.store().value(2, "Title") == text("c")).await;
    terminate(&daemon).await;
    finish(daemon).await.ended(0);
    for beside in ["attune.db-wal", "attune.db-shm"] {
        let _ = std::fs::remove_file(world.path(beside));
    }
    std::fs::rename(world.path("copy.db"), world.path("attune.db")).unwrap();
    let said = world.run("sync").await.ended(0);
    assert!(said.has_event("checkpoint.behind"), "{said:#?}");
    world.titles(1, "b").await;
    world.titles(2, "c").await;
    let history = world.history().await;
    assert!(history.iter().any(|write| write["new"] == "b"), "{history:?}");
    world.is_quiet(0).await;
}
