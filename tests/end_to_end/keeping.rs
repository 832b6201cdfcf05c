//! Keeping: history is cut to what is to be kept.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};

use crate::world::{Config, TITLE, World, finish, terminate, text, until};

/// Does something to the checkpoint's database, while nobody works on it.
async fn checkpoint(world: &World, sql: &str) {
    let options = SqliteConnectOptions::new().filename(world.path("attune.db"));
    let mut connection = options.connect().await.unwrap();
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_cuts_history_to_what_is_to_be_kept() {
    let config = Config::new(&[TITLE]).crm("poll = \"100ms\"").more("[state]\nkeep = { age = \"30d\" }");
    let world = World::of(3).await;
    world.configure(&config);
    for title in ["a", "b"] {
        world.edit(&format!("title = '{title}'"), "true").await;
        world.run("sync").await.ended(0);
    }
    checkpoint(&world, "UPDATE history SET at = at - 31 * 86400000 WHERE new = '\"a\"'").await;
    let daemon = world.command("run").spawn().unwrap();
    let mut left = world.history().await;
    let began = std::time::Instant::now();
    while left.len() > 3 && began.elapsed().as_secs() < 20 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        left = world.history().await;
    }
    assert!(left.len() == 3 && left.iter().all(|write| write["new"] == "b"), "{left:?}");
    world.edit("title = 'c'", "id = 1").await;
    until("an edit", || world.store().value(1, "Title") == text("c")).await;
    terminate(&daemon).await;
    let said = finish(daemon).await.ended(0);
    let told = said.events.iter().find(|event| event["writes"] == 3);
    assert!(told.is_some_and(|event| event["event"] == "note"), "{said:#?}");
    world.is_quiet(0).await;
}
