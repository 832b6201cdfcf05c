//! Beside a daemon: everything may be read, and what is to be done is asked of the daemon. Where its answers matter a
//! test plays the daemon; at the end a real one runs.

use std::time::{Duration, Instant};

use attune::checkpoint::{Checkpoint, Lock};
use attune::engine::{Answer, HeldAction, Request};
use attune::model::{HeldReason, Side, Timestamp};
use serde_json::json;

use crate::world::{Said, TITLE, World, checkpoint, finish, signal};

/// As a daemon: holds the lock until it is dropped.
fn daemon(world: &World) -> Lock {
    Lock::take(&checkpoint(world.folder.path()), "attune run, process 1").unwrap()
}

/// Runs a command, and as the daemon answers what it asks for.
async fn answered(world: &World, line: &str, message: &str) -> (Request, Said) {
    let child = world.command(line).spawn().unwrap();
    let checkpoint = Checkpoint::open(&checkpoint(world.folder.path())).await.unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    let request = loop {
        let mut transaction = checkpoint.begin().await.unwrap();
        let open = transaction.open_requests().await.unwrap();
        if let Some(row) = open.first() {
            let answer = Answer { done: true, count: 1, message: message.to_owned() };
            let answer = serde_json::to_string(&answer).unwrap();
            transaction.answer_request(row.id, &answer, Timestamp::EPOCH).await.unwrap();
            transaction.commit().await.unwrap();
            break serde_json::from_str(&row.request).unwrap();
        }
        transaction.end().await.unwrap();
        assert!(Instant::now() < until, "nothing was asked for");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    (request, finish(child).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_may_be_read() {
    let world = World::new().await;
    world.run("sync").await.ended(1);
    let _daemon = daemon(&world);
    world.store().set_outage(true);
    for line in ["status", "held", "history", "explain c1"] {
        world.run(line).await.ended(0);
    }
    for line in ["plan", "plan --json", "link", "link --csv"] {
        world.run(line).await.ended(0).complains(&["a daemon is running", "store acme", "ago"]);
    }
    let plan = world.run("plan --json").await.json();
    assert_eq!(plan["stores"][0]["held"].as_array().unwrap().len(), 4, "{plan}");
    world.run("forget acme --yes").await.ended(75).complains(&["stop it"]);
    world.run("sync --limit 1").await.ended(2).complains(&["a daemon is running"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_has_just_begun_is_waited_for() {
    let world = World::new().await;
    // It has the lock, and has not made its checkpoint yet.
    let _daemon = daemon(&world);
    let said = world.run("sync --patience 1s").await.ended(75);
    said.complains(&["there is no checkpoint", "attune.db"]);
    let (request, said) = answered(&world, "pause acme", "done").await;
    assert_eq!(request, Request::Pause { name: "acme".to_owned() });
    said.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_done_is_asked_for() {
    let world = World::new().await;
    world.run("sync").await.ended(1);
    let _daemon = daemon(&world);
    let (request, said) = answered(&world, "pause acme", "done").await;
    assert_eq!(request, Request::Pause { name: "acme".to_owned() });
    assert_eq!(said.ended(0).stdout, "done\n");
    let (request, _) = answered(&world, "resume erp", "done").await;
    assert_eq!(request, Request::Resume { name: "erp".to_owned() });
    let (request, _) = answered(&world, "approve acme", "done").await;
    assert_eq!(request, Request::Approve { store: "acme".to_owned() });
    let (request, _) = answered(&world, "link remove acme 1", "done").await;
    assert_eq!(request, Request::LinkRemove { store: "acme".to_owned(), customer: "1".to_owned() });
    let line = format!("held resolve --take crm --field '{TITLE}' --reason 'first meeting' --yes");
    let (request, _) = answered(&world, &line, "done").await;
    let Request::Held { selection, action } = request else { panic!("{request:?}") };
    assert_eq!(action, HeldAction::Take(Side::Crm));
    assert_eq!((selection.fields, selection.reasons), (vec![TITLE.to_owned()], vec![HeldReason::FirstMeeting]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_is_asked_for_by_what_was_shown() {
    let world = World::small().await;
    world.run("sync").await.ended(0);
    let _daemon = daemon(&world);
    let said = world.run(&format!("undo --since 1h --side crm --field '{TITLE}'")).await.ended(0);
    assert!(said.stdout.contains("\"Buyer\" → nothing in the CRM"), "{said:#?}");
    let (request, said) = answered(&world, "undo --pass 1 --side crm --yes", "done").await;
    let Request::Undo(selection) = request else { panic!("{request:?}") };
    assert_eq!((selection.pass, selection.side, selection.newest), (Some(1), Some(Side::Crm), 2));
    assert!(said.ended(0).stdout.contains("put back by the daemon's next pass"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_is_asked_for_and_its_outcome_is_the_exit_code() {
    let world = World::small().await;
    world.run("sync").await.ended(0);
    let _daemon = daemon(&world);
    for (answer, code) in [
        (json!({ "held": 0, "pending": 0, "stopped": 0, "failed": [] }), 0),
        (json!({ "held": 1, "pending": 0, "stopped": 0, "failed": [] }), 1),
        (json!({ "held": 0, "pending": 0, "stopped": 1, "failed": [] }), 1),
        (
            json!({ "held": 1, "pending": 0, "stopped": 0, "failed": [
                { "side": "store", "name": "acme", "class": "auth", "message": "it refuses us", "status": 401, "request_id": null },
                { "side": "crm", "name": "erp", "class": "retry", "message": "it does not answer", "status": null, "request_id": null },
            ] }),
            77,
        ),
        (
            json!({ "held": 0, "pending": 0, "stopped": 0, "failed": [
                { "side": "crm", "name": "erp", "class": "misconfigured", "message": "no such column", "status": null, "request_id": null },
            ] }),
            78,
        ),
    ] {
        let (request, said) = answered(&world, "sync --sweep --store acme", &answer.to_string()).await;
        assert_eq!(request, Request::Sync { stores: vec!["acme".to_owned()], sweep: true });
        let said = said.ended(code);
        for failure in answer["failed"].as_array().unwrap() {
            let message = failure["message"].as_str().unwrap();
            assert!(said.stderr.contains(message), "{said:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_is_told_when_the_daemon_does_not_answer_or_ends() {
    let world = World::small().await;
    world.run("sync").await.ended(0);
    let daemon = daemon(&world);
    world.run("pause acme --patience 300ms").await.ended(75).complains(&["did not answer in time"]);
    let child = world.command("sync").spawn().unwrap();
    drop(daemon);
    let said = finish(child).await;
    // It may have seen the lock before it was dropped, or not.
    assert!(said.code == 75 && said.stderr.contains("the daemon ended") || said.code == 0, "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_command_is_waited_for_and_named() {
    let world = World::small().await;
    let lock = Lock::take(&checkpoint(world.folder.path()), "attune, process 7").unwrap();
    world.run("sync --patience 300ms").await.ended(75).complains(&["process 7"]);
    let child = world.command("sync").spawn().unwrap();
    drop(lock);
    finish(child).await.ended(0);
}

const DAEMON: &str = "[server]\nlisten = \"off\"\n[defaults]\npoll = \"100ms\"";

/// Waits until something is so.
async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_keeps_both_sides_in_agreement_and_does_what_it_is_asked() {
    let world = World::new().await;
    world.crm("DELETE FROM contacts WHERE id IN ('c6', 'c7')").await;
    world.configure("poll = \"100ms\"", "", DAEMON);
    let running = world.command("run").spawn().unwrap();
    until("the first pass", || async { world.title("c1").await.as_deref() == Some("Buyer") }).await;
    until("a status", || async { world.run("status --json").await.json()["stores"][0]["held"] == 1 }).await;
    world.run("run").await.ended(75).complains(&["attune run, process", &running.id().unwrap().to_string()]);

    world.store().set_value(1, "Job title", "Head buyer").unwrap();
    until("an edit", || async { world.title("c1").await.as_deref() == Some("Head buyer") }).await;
    world.run("sync").await.ended(1);
    world.run("plan").await.ended(0).complains(&["a daemon is running"]);
    world.run("link").await.ended(0).complains(&["a daemon is running"]);
    world.run("held resolve --take crm --reason 'first meeting' --yes").await.ended(0);
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(3, "Job title").as_deref(), Some("Cook"));
    world.run("approve acme").await.ended(1).complains(&["nothing of acme is stopped"]);
    world.run("link remove acme 2").await.ended(0);
    world.run("link add acme 2 c2").await.ended(0);
    world.run("pause erp").await.ended(0);
    assert_eq!(world.run("status --json").await.json()["stores"][0]["state"], "paused");
    let said = world.run("sync").await.ended(0);
    assert!(said.stdout.contains("acme ⇄ erp: paused (crm erp is paused; `attune resume erp`)"), "{said:#?}");
    let sync = world.run("sync --json").await.ended(0).json();
    assert_eq!((&sync["stores"][0]["name"], &sync["stores"][0]["state"]), (&json!("acme"), &json!("paused")), "{sync}");
    world.run("plan").await.ended(0).complains(&["crm erp is paused"]);
    world.run("resume erp").await.ended(0);
    world.run("sync --sweep").await.ended(0);
    world.run("forget acme --yes").await.ended(75);
    let history = world.run("history --json").await.ended(0).json();
    assert_eq!(history.as_array().unwrap().len(), 4, "{history}");

    signal(&running, "TERM").await;
    let said = finish(running).await.ended(0);
    let names: Vec<&str> = said.events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert!(names.contains(&"daemon.started") && names.contains(&"daemon.stopped"), "{names:?}");
    world.run("sync").await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_store_refuses_it_says_so_and_still_ends_with_0() {
    let world = World::small().await;
    world.configure("", "", &format!("{DAEMON}\n{}", world.second_store()));
    let running = world.command("run").env("BOLT_TOKEN", "stale").spawn().unwrap();
    until("the sound store's pass", || async { world.title("c1").await.as_deref() == Some("Buyer") }).await;
    world.run("sync").await.ended(77).complains(&["store bolt"]);
    signal(&running, "INT").await;
    finish(running).await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_does_not_start_on_what_cannot_work() {
    let world = World::small().await;
    let address = world.simulator.address();
    world.configure("", "", &format!("[server]\nlisten = \"{address}\""));
    world.run("run").await.ended(78).complains(&[&address.to_string()]);
    world.run("run --store nobody").await.ended(2);
    world.configure("", "", "[sever]");
    world.run("run").await.ended(78);
}
