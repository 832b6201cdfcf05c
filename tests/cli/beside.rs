//! Beside a daemon: everything may be read, and what is to be done is asked of the daemon.

use std::time::{Duration, Instant};

use attune::checkpoint::{Checkpoint, Lock};
use attune::engine::{Answer, HeldAction, Request};
use attune::model::{HeldReason, Side, Timestamp};
use serde_json::json;

use crate::world::{Said, TITLE, World, checkpoint, finish};

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
                { "side": "store", "name": "acme", "class": "auth", "message": "it refuses us" },
                { "side": "crm", "name": "erp", "class": "retry", "message": "it does not answer" },
            ] }),
            77,
        ),
        (
            json!({ "held": 0, "pending": 0, "stopped": 0, "failed": [
                { "side": "crm", "name": "erp", "class": "misconfigured", "message": "no such column" },
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
