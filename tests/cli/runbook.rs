//! What the runbook says of bad days, done with the built binary.

use std::time::{Duration, Instant};

use crate::world::{World, finish, signal};

const DAEMON: &str = "[server]\nlisten = \"off\"\n[defaults]\npoll = \"100ms\"";

/// Waits until the state of the store is this one.
async fn until_state(world: &World, state: &str) {
    let began = Instant::now();
    loop {
        let stores = world.run("status --json").await;
        if stores.code == 0 && stores.json()["stores"][0]["state"] == state {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not {state} within 30 s: {stores:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_the_crm_is_renamed() {
    let world = World::small().await;
    world.configure("", "", DAEMON);
    let running = world.command("run").spawn().unwrap();
    until_state(&world, "ok").await;
    world.crm("ALTER TABLE contacts RENAME COLUMN job_title TO position").await;
    world.store().set_value(1, "Job title", "Head buyer").unwrap();
    until_state(&world, "misconfigured").await;
    let status = world.run("status").await.ended(0);
    assert!(status.stdout.contains("one of its columns is not there any more"), "{status:#?}");
    world.run("check").await.ended(78).complains(&["job_title"]);

    let text = std::fs::read_to_string(world.path("attune.toml")).unwrap();
    std::fs::write(world.path("attune.toml"), text.replace("\"job_title\"", "\"position\"")).unwrap();
    world.run("check").await.ended(0);
    signal(&running, "HUP").await;
    until_state(&world, "ok").await;
    // What was edited since the renaming meets for the first time; nothing else is held.
    let held = world.run("held --json").await.ended(0).json();
    let held: Vec<_> = held.as_array().unwrap().iter().map(|held| (&held["store_key"], &held["reason"])).collect();
    assert_eq!(held, [(&"1".into(), &"first meeting".into())]);
    world.run("held resolve --take store --reason 'first meeting' --yes").await.ended(0);
    world.run("sync").await.ended(0);
    signal(&running, "TERM").await;
    let events = finish(running).await.ended(0).events;
    assert_eq!(events.iter().filter(|event| event["event"] == "source.unreachable").count(), 1, "{events:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crm_is_restored_from_a_copy_in_which_fields_were_still_empty() {
    let world = World::small().await;
    let fast = "replica_lag = \"100ms\"";
    world.configure("", "", "");
    let text = std::fs::read_to_string(world.path("attune.toml")).unwrap();
    let with_lag = text.replace("table = \"contacts\"", &format!("table = \"contacts\"\n{fast}"));
    std::fs::write(world.path("attune.toml"), &with_lag).unwrap();
    world.crm("UPDATE contacts SET job_title = NULL WHERE id = 'c2'").await;
    world.run("sync").await.ended(0);
    std::fs::copy(world.path("erp.db"), world.path("yesterday.db")).unwrap();
    world.store().set_value(2, "Job title", "Typed today").unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(world.title("c2").await.as_deref(), Some("Typed today"));

    std::fs::copy(world.path("yesterday.db"), world.path("erp.db")).unwrap();
    let observed = with_lag
        .replace("mapping      = \"b2b\"", "mapping      = \"b2b\"\nmode = \"observe\"")
        .replace("crm = \"job_title\"", "crm = \"job_title\", on_clear = \"restore\"");
    std::fs::write(world.path("attune.toml"), &observed).unwrap();
    world.run("sync --sweep").await;
    tokio::time::sleep(Duration::from_millis(200)).await; // The replica lag, in real time.
    world.run("sync --sweep").await;
    let plan = world.run("plan --json").await.ended(0).json();
    let writes = plan["stores"][0]["writes"].as_array().unwrap();
    assert_eq!(writes.len(), 1, "{plan}");
    assert_eq!((&writes[0]["side"], &writes[0]["new"]), (&"crm".into(), &"Typed today".into()), "{plan}");
    std::fs::write(world.path("attune.toml"), observed.replace("mode = \"observe\"", "")).unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(world.title("c2").await.as_deref(), Some("Typed today"));
    assert_eq!(world.store().value(2, "Job title").as_deref(), Some("Typed today"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_sqlite_crm_is_another_system_at_another_path() {
    let world = World::small().await;
    world.run("sync").await.ended(0);
    let writes = world.store_writes();
    std::fs::create_dir(world.path("moved")).unwrap();
    std::fs::copy(world.path("erp.db"), world.path("moved/erp.db")).unwrap();
    let text = std::fs::read_to_string(world.path("attune.toml")).unwrap();
    std::fs::write(world.path("attune.toml"), text.replace("sqlite:erp.db", "sqlite:moved/erp.db")).unwrap();
    world.run("sync").await.ended(78).complains(&["erp.db#contacts and is now", "attune forget erp"]);
    assert_eq!(world.store_writes(), writes);
    std::fs::write(world.path("attune.toml"), text).unwrap();
    world.run("sync").await.ended(0);
}
