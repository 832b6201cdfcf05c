//! A checkpoint that cannot be written, is of a newer version, or is none.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use crate::world::{Config, Said, TITLE, World, finish, text};

async fn checkpoint(world: &World) -> SqliteConnection {
    SqliteConnectOptions::new().filename(world.path("attune.db")).connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_a_newer_version_is_left_alone() {
    let world = World::of(1).await;
    world.run("sync").await.ended(0);
    let mut connection = checkpoint(&world).await;
    sqlx::query("PRAGMA user_version = 99").execute(&mut connection).await.unwrap();
    drop(connection);
    world.edit("title = 'b'", "true").await;
    for line in ["sync", "status", "held", "run", "plan"] {
        let said = world.run(line).await.ended(78);
        said.complains(&["attune.db has version 99", "run a newer Attune"]);
    }
    assert_eq!(world.store_writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_somebody_else_is_left_alone() {
    let world = World::of(1).await;
    std::fs::copy(world.path("erp.db"), world.path("attune.db")).unwrap();
    let before = std::fs::read(world.path("attune.db")).unwrap();
    for line in ["sync", "status", "run"] {
        world.run(line).await.ended(78).complains(&["attune.db is not a checkpoint of Attune", "state.url"]);
    }
    assert!(std::fs::read(world.path("attune.db")).unwrap() == before, "it was written to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_is_said() {
    let world = World::of(1).await;
    world.configure(&Config::new(&[TITLE]).more("[state]\nurl = \"sqlite:nowhere/attune.db\""));
    world.run("sync").await.ended(78).complains(&["nowhere/attune.db", "cannot be made", "state.url"]);
    // Nobody, not even root, makes a file there.
    world.configure(&Config::new(&[TITLE]).more("[state]\nurl = \"sqlite:/proc/attune.db\""));
    world.run("sync").await.ended(78).complains(&["/proc/attune.db", "cannot be made"]);
    assert_eq!(world.store_writes(), 0);
}

/// Runs a command line with files that cannot grow beyond so many blocks of 1024 bytes: a full disk, to the process.
async fn with_a_full_disk(world: &World, blocks: u64, line: &str) -> Said {
    let binary = env!("CARGO_BIN_EXE_attune");
    // SIGXFSZ would end the process; ignored, the write fails instead, as on a full disk.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {binary} {line}");
    finish(world.command_of("bash", &["-c".to_owned(), script]).spawn().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_nothing_is_sent() {
    let world = World::new().await;
    for _ in 0..50 {
        world.person(&[("Title", "a")], &[("title", "'a'")]).await;
    }
    world.run("sync").await.ended(0);
    world.edit(&format!("title = '{}'", "b".repeat(200)), "true").await;
    // However early it is met, it is no fault of the configuration: who runs this (systemd) tries again after 75 only.
    for (blocks, line) in [(0, "sync"), (1, "sync"), (4, "sync"), (32, "sync"), (40, "sync"), (0, "run"), (4, "run")] {
        let said = with_a_full_disk(&world, blocks, line).await.ended(75).complains(&["the checkpoint"]);
        assert!(said.stderr.contains("disk"), "{said:#?}");
    }
    assert_eq!(world.store_writes(), 0, "what cannot be recorded is not sent");
    world.run("sync").await.ended(0);
    world.titles(50, &"b".repeat(200)).await;
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_in_the_middle_loses_nothing() {
    let world = World::new().await;
    for _ in 0..60 {
        world.person(&[("Title", "a")], &[("title", "'a'")]).await;
    }
    world.run("sync").await.ended(0);
    world.edit("title = 'b' || id", "true").await;
    let mut full = 0;
    for blocks in [40, 80, 120, 160, 240, 320] {
        let said = with_a_full_disk(&world, blocks, "sync").await;
        if said.code == 0 {
            break;
        }
        assert!(matches!(said.code, 1 | 75 | 78), "{blocks}: {said:#?}");
        full += 1;
    }
    assert!(full > 0, "no disk was full");
    world.settle().await;
    for (id, title) in world.column("title").await {
        assert_eq!(title, Some(format!("b{id}")));
        assert_eq!(world.store().value(id.unsigned_abs(), "Title"), title);
    }
    let history = world.history().await;
    assert!(history.iter().all(|write| write["old"] == "a"), "{history:?}");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_checkpoint_is_said_and_nothing_is_sent() {
    let world = World::of(1).await;
    world.run("sync").await.ended(0);
    world.edit("title = 'b'", "true").await;
    // Root may write everywhere: another user, who may read all of it and write none.
    let folder = world.folder.path().to_owned();
    let mode = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    mode(&folder, 0o755);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        mode(&path, if path.ends_with("erp.db") { 0o666 } else { 0o644 });
    }
    let mut arguments: Vec<String> =
        ["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_attune"), "sync"]
            .map(str::to_owned)
            .into();
    arguments.push("--patience=1s".to_owned());
    let said = match world.command_of("setpriv", &arguments).spawn() {
        Ok(child) => finish(child).await,
        Err(error) => return eprintln!("skipped: setpriv: {error}"),
    };
    if said.stderr.contains("setpriv: ") || said.stderr.contains("Permission denied") && said.code == 127 {
        return eprintln!("skipped: {}", said.stderr);
    }
    let said = said.ended(78);
    assert!(said.stderr.contains("attune.db") && said.stderr.contains("state.url"), "{said:#?}");
    assert_eq!(world.store_writes(), 0);
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(1, "Title"), text("b"));
}
