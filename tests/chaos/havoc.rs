//! Whoever operates Attune, and everything else that goes wrong.

use std::time::Duration;

use crate::attune::Life;
use crate::plan::Running;
use crate::random::Random;
use crate::world::World;

/// A one-shot gives up on a system that fails after this.
pub const SYNC: &str = "sync --patience 3s";

/// The longest that a process is stopped.
const PAUSE_MAX_MS: u64 = 700;

/// From one end to the other it is less than `overlap`: what is lost by more than that, a sweep finds (docs/testing.md).
const STEP_MAX_MS: i64 = 900;

async fn wait(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Starts, kills, stops and asks, until the time comes.
pub async fn operate(world: &World, until_ms: u64) {
    match world.plan.running {
        Running::Daemon => daemon(world, until_ms).await,
        Running::OneShots => one_shots(world, until_ms).await,
    }
}

async fn daemon(world: &World, until_ms: u64) {
    let mut random = Random::keyed(world.plan.seed, &[3]);
    let faults = world.plan.faults;
    while world.ledger.now_ms() < until_ms {
        match world.attune.look().await {
            Life::Running => {}
            Life::Absent => world.attune.start("run").await,
            Life::Ended(status) => {
                // On a full disk it may not start; whoever runs it (systemd) tries again, but not after these.
                let code = status.code();
                world.ledger.tell(format!("the daemon ended by itself: {status}"));
                world.ledger.meet("daemon ended by itself");
                if !(faults.full_disk && code == Some(75)) {
                    world.ledger.violate(format!("the daemon ended by itself: {status}"));
                }
                wait(100).await;
                continue;
            }
        }
        wait(20 + random.below(200)).await;
        let number = random.below(1000);
        if number < faults.kills {
            world.attune.kill("at random").await;
            wait(random.below(200)).await;
        } else if random.chance(faults.pauses) {
            pause(world, 50 + random.below(PAUSE_MAX_MS - 50)).await;
        } else if random.chance(150) {
            let said = world.attune.run(SYNC).await;
            world.ledger.tell(format!("sync beside the daemon: {:?}", said.code));
            world.ledger.meet("sync beside the daemon");
            judge_code(world, said.code);
        } else if random.chance(50) {
            stop(world).await;
        }
    }
}

/// Asks the daemon to end, which it does.
pub async fn stop(world: &World) {
    if world.attune.signal("TERM").await
        && let Some(status) = world.attune.end().await
    {
        world.ledger.tell(format!("SIGTERM: {status}"));
        world.ledger.meet("SIGTERM");
        // A signal that comes before it is heard ends the process by itself.
        let early = std::os::unix::process::ExitStatusExt::signal(&status) == Some(15);
        if !(status.success() || early || world.plan.faults.full_disk && status.code() == Some(75)) {
            world.ledger.violate(format!("after SIGTERM: {status}"));
        }
    }
}

async fn pause(world: &World, ms: u64) {
    if world.attune.signal("STOP").await {
        world.ledger.tell(format!("SIGSTOP for {ms} ms"));
        world.ledger.meet("SIGSTOP");
        wait(ms).await;
        world.attune.signal("CONT").await;
    }
}

async fn one_shots(world: &World, until_ms: u64) {
    let mut random = Random::keyed(world.plan.seed, &[3]);
    let faults = world.plan.faults;
    while world.ledger.now_ms() < until_ms {
        wait(random.below(150)).await;
        let line = if random.chance(100) { "sync --sweep --patience 3s" } else { SYNC };
        world.attune.start(line).await;
        if random.chance(faults.kills) {
            wait(random.below(80)).await;
            world.attune.kill("at random").await;
        } else if random.chance(faults.pauses) {
            wait(random.below(60)).await;
            pause(world, 50 + random.below(PAUSE_MAX_MS - 50)).await;
        }
        if let Some(status) = world.attune.end().await {
            world.ledger.tell(format!("sync ended: {status}"));
            judge_code(world, status.code());
        }
    }
}

/// What a command may end with while things go wrong.
fn judge_code(world: &World, code: Option<i32>) {
    if !matches!(code, Some(0 | 1 | 75)) {
        world.ledger.violate(format!("a command ended with {code:?} while systems failed"));
    }
}

/// The disk, the clock, somebody's long transaction.
pub async fn surroundings(world: &World, until_ms: u64) {
    let mut random = Random::keyed(world.plan.seed, &[4]);
    let faults = world.plan.faults;
    while world.ledger.now_ms() < until_ms {
        wait(200 + random.below(800)).await;
        match random.below(3) {
            0 if faults.full_disk => {
                let how = if world.attune.disk.is_mounted() { "full disk" } else { "files that may not grow" };
                world.ledger.tell(format!("{how}: begins"));
                world.ledger.meet(how);
                world.attune.disk.fill();
                wait(200 + random.below(700)).await;
                world.attune.disk.free();
                world.ledger.tell(format!("{how}: ends"));
            }
            1 if faults.steps && world.attune.clock.steps() => {
                let ahead_ms = random.between(-STEP_MAX_MS, STEP_MAX_MS);
                world.ledger.tell(format!("Attune's clock is {ahead_ms} ms ahead from now on"));
                world.ledger.meet("clock stepped");
                world.attune.clock.step(ahead_ms);
            }
            2 if faults.locks => {
                world.ledger.meet("CRM locked");
                world.crm.lock(Duration::from_millis(50 + random.below(400))).await;
            }
            _ => {}
        }
    }
    world.attune.clock.step(0);
}
