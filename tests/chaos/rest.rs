//! At rest: edits and faults have stopped, passes run until nothing changes; then everything is looked at.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::havoc::{self, SYNC};
use crate::ledger::{Cell, Change};
use crate::model::{self, Rest};
use crate::plan::Running;
use crate::world::World;

/// Passes after which nothing may be left to do. What is in quarantine or waits for a replica is waited for.
const PASSES_MAX: usize = 40;
const PATIENCE: Duration = Duration::from_secs(30);

/// Passes until nothing is left to do, by whoever makes them in this world.
pub async fn come_to_rest(world: &World) {
    world.strikes.often(0);
    world.strikes.arm(None);
    if world.plan.running == Running::Daemon {
        by_daemon(world).await;
    } else {
        world.attune.kill("at the end").await;
    }
    for pass in 0.. {
        let (before, began_ms) = (world.changes().await.len(), world.ledger.now_ms());
        // Where a value that is cleared leaves no trace in a store's feeds, a sweep finds it.
        let line = if pass == 0 { "sync --sweep --patience 3s" } else { SYNC };
        let said = world.attune.run(line).await;
        let pending = pending(world).await;
        world.ledger.tell(format!("pass {pass} at rest: {:?}, {pending} pending", said.code));
        if !matches!(said.code, Some(0 | 1)) {
            world.ledger.violate(format!("a pass without faults ended with {:?}", said.code));
        }
        let changes = world.changes().await;
        // A pass whose reads may have been older than the last change says nothing about it.
        let shown_ms = changes.iter().filter_map(|change| change.at_ms).max().unwrap_or(0) + world.plan.faults.lag_ms;
        if pending == 0 && changes.len() == before && shown_ms <= began_ms {
            return;
        }
        tokio::time::sleep(Duration::from_millis(shown_ms.saturating_sub(world.ledger.now_ms()))).await;
        if pass == PASSES_MAX {
            return world.ledger.violate(format!("after {pass} passes something is left to do: {pending} pending"));
        }
        if pending > 0 {
            // What is in quarantine cannot be hurried.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn by_daemon(world: &World) {
    if matches!(world.attune.look().await, crate::attune::Life::Absent | crate::attune::Life::Ended(_)) {
        world.attune.start("run").await;
    }
    // After failures in a row it asks again after seconds; somebody who waits has it ask now.
    let began = Instant::now();
    let mut last = (usize::MAX, u64::MAX);
    loop {
        let said = world.attune.run(SYNC).await;
        let now = (world.changes().await.len(), pending(world).await);
        if matches!(said.code, Some(0 | 1)) && now == last && now.1 == 0 {
            break;
        }
        last = now;
        if began.elapsed() > PATIENCE {
            world.ledger.violate(format!("the daemon does not come to rest: {said:?}, {} pending", now.1));
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    havoc::stop(world).await;
}

/// What is left to do, as `status` counts it.
async fn pending(world: &World) -> u64 {
    let status = world.attune.json("status --json").await;
    let stores = status["stores"].as_array().unwrap();
    stores.iter().map(|store| store["pending"].as_u64().unwrap()).sum()
}

/// What must be true at rest.
pub async fn check(world: &World, drift_is_possible: bool) {
    let rest = gather(world).await;
    for Change { cell, old, new, by, .. } in rest.changes.iter().filter(|change| change.cell.system == 0) {
        world
            .ledger
            .tell(format!("  in the CRM, {by:?}: person {}, field {}: {old:?} → {new:?}", cell.person, cell.field));
    }
    for row in &rest.history {
        world.ledger.tell(format!("  in history: {row}"));
    }
    let found = model::check(&world.plan, &rest);
    if !found.is_empty() {
        for person in 1..=world.plan.people {
            let said = world.attune.run(&format!("explain p{person}@example.com --json")).await;
            world.ledger.tell(format!("  attune explain: {}", said.stdout));
        }
    }
    found.into_iter().for_each(|what| world.ledger.violate(what));
    quiet(world, &rest, drift_is_possible).await;
    limits(world).await;
    said(world);
    checkpoint(world).await;
}

async fn gather(world: &World) -> Rest {
    let mut values: std::collections::BTreeMap<Cell, Option<String>> =
        world.crm.values(&world.plan).await.into_iter().collect();
    for store in 1..=world.plan.stores {
        values.extend(world.simulated.values(&world.plan, store).await);
    }
    Rest {
        changes: world.changes().await,
        acts: world.ledger.acts(),
        values,
        history: rows(world.attune.json("history --json").await),
        held: rows(world.attune.json("held --json").await),
        behind: std::fs::read_to_string(world.attune.log_path()).unwrap().contains("\"checkpoint.behind\""),
    }
}

fn rows(json: Json) -> Vec<Json> {
    match json {
        Json::Array(rows) => rows,
        other => panic!("no list: {other}"),
    }
}

/// Another pass and a sweep write nothing, and a sweep finds nothing that the feeds had missed.
async fn quiet(world: &World, rest: &Rest, drift_is_possible: bool) {
    let code = Some(i32::from(!rest.held.is_empty()));
    let writes = world.proxy.writes();
    for line in ["sync", "sync --sweep"] {
        let ended = world.attune.run(line).await.code;
        if ended != code {
            world.ledger.violate(format!("{line} at rest ended with {ended:?}, not {code:?}"));
        }
        let history = rows(world.attune.json("history --json").await).len() - rest.history.len();
        let changes = world.changes().await.len() - rest.changes.len();
        let calls = world.proxy.writes() - writes;
        if history + changes > 0 || calls > 0 {
            world.ledger.violate(format!("{line} at rest: {history} writes, {changes} changes, {calls} writing calls"));
        }
    }
    let status = world.attune.json("status --json").await;
    for store in status["stores"].as_array().unwrap() {
        if store["drift"] != 0 && !drift_is_possible {
            world.ledger.violate(format!("the sweep found drift: {store}"));
        }
    }
}

/// What the simulator counted.
async fn limits(world: &World) {
    for store in 1..=world.plan.stores {
        let report = world.simulated.report(store).await;
        for what in report["violation_notes"].as_array().unwrap() {
            world.ledger.violate(format!("a call that no correct client makes: {what}"));
        }
        if report["throttled_by_concurrency"] != 0 || report["throttled_by_quota"] != 0 {
            world.ledger.violate(format!("throttled: {report}"));
        }
    }
}

/// What Attune said of itself.
fn said(world: &World) {
    let log = std::fs::read_to_string(world.attune.log_path()).unwrap();
    for line in log.lines().filter(|line| line.contains("panicked") || line.contains("\"level\":\"ERROR\"")) {
        // It is no defect that systems fail, or that the disk does.
        // Who types the same three values on both sides while no process runs looks like a restored checkpoint.
        let expected =
            ["source.unreachable", "pass.failed", "cannot be written", "disk is full", "\"checkpoint.behind\""];
        if !expected.iter().any(|words| line.contains(words)) {
            world.ledger.violate(format!("it says: {line}"));
        }
    }
}

/// No attempt is open, and the checkpoint is sound.
async fn checkpoint(world: &World) {
    use sqlx::{ConnectOptions, Connection};
    let path = world.attune.log_path().with_file_name("state").join("attune.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.unwrap();
    let open: i64 =
        sqlx::query_scalar("SELECT count(*) FROM history WHERE open = 1").fetch_one(&mut connection).await.unwrap();
    let sound: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    if open > 0 {
        world.ledger.violate(format!("{open} attempts are open at rest"));
    }
    if sound != "ok" {
        world.ledger.violate(format!("the checkpoint is damaged: {sound}"));
    }
}
