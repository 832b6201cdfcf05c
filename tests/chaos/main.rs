//! Whole histories over real processes, by seed: the built binary, the simulator as a process of its own, a real database.
//! People edit both sides while Attune is killed, stopped and cut off; then everything comes to rest, and a model that knows
//! every change says whether all promises were kept. Decisions are the seed's; time is real.

#![allow(clippy::unwrap_used)]

mod attune;
mod clock;
mod crm;
mod disk;
mod havoc;
mod ledger;
mod model;
mod people;
mod plan;
mod proxy;
#[allow(dead_code)]
#[path = "../simulation/random.rs"]
mod random;
mod rest;
mod simulated;
mod steps;
mod strikes;
#[path = "../openapi/traffic.rs"]
mod traffic;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plan::Plan;
use world::World;

/// Histories at once: most of each is waiting.
const AT_ONCE: usize = 4;

/// Histories, and struck steps of a push, in the test command.
const FEW: u64 = 4;

/// After so many failures nothing more is to be learnt.
const FAILURES_MAX: usize = 5;

fn postgres() -> Option<String> {
    std::env::var("ATTUNE_TEST_POSTGRES").ok()
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: {text:?} is no number")))
}

/// How a history went.
struct Outcome {
    violations: Vec<String>,
    story: String,
    met: BTreeMap<String, u64>,
}

async fn history(seed: u64) -> Outcome {
    let plan = Plan::of(seed, postgres().is_some());
    told(plan, |world| async move {
        let Plan { postgres, stores, quota, faults, .. } = &world.plan;
        let kinds = [
            (*postgres, "history with PostgreSQL"),
            (*stores > 1, "history with two stores"),
            (*quota, "history with a small quota"),
            (faults.lag_ms > 0, "history with a lagging replica"),
            (faults.skew_ms != 0, "history with a store whose clock is off"),
        ];
        kinds.iter().filter(|(is_so, _)| *is_so).for_each(|(_, kind)| world.ledger.meet(kind));
        if world.plan.settled_first {
            world.attune.run("sync").await;
        }
        let until_ms = world.ledger.now_ms() + world.plan.havoc_ms;
        world.strikes.often(world.plan.faults.strikes);
        tokio::join!(
            people::live(&world, until_ms),
            havoc::operate(&world, until_ms),
            havoc::surroundings(&world, until_ms)
        );
        world.ledger.tell("edits and faults have stopped");
        rest::come_to_rest(&world).await;
        rest::check(&world, world.plan.faults.lag_ms > 0 || world.plan.faults.steps).await;
    })
    .await
}

/// Lets something happen in a world, and tells how it went; a panic is a violation.
async fn told<Happening>(plan: Plan, happens: impl FnOnce(Arc<World>) -> Happening) -> Outcome
where
    Happening: Future<Output = ()> + Send + 'static,
{
    let folder = tempfile::tempdir().unwrap();
    let world = Arc::new(World::start(plan, folder.path(), postgres().as_deref()).await);
    let (ledger, attune) = (Arc::clone(&world.ledger), Arc::clone(&world.attune));
    if let Err(error) = tokio::spawn(happens(Arc::clone(&world))).await {
        ledger.violate(format!("it panicked: {error}"));
    }
    attune.kill("at the very end").await;
    world.crm.end().await;
    world.simulated.end().await;
    let violations = ledger.violations();
    let mut story = format!("{:#?}\n{}", world.plan, ledger.story());
    if !violations.is_empty() {
        story += &format!("what Attune said: {}\n", std::fs::read_to_string(attune.log_path()).unwrap_or_default());
    }
    Outcome { violations, story, met: ledger.met() }
}

/// Runs seeds, several at once, as long as `more` gives another; how many, and what was met.
async fn run_all(more: impl Fn(u64) -> bool + Send + Sync + 'static, from: u64) -> (u64, BTreeMap<String, u64>) {
    let next = Arc::new(Mutex::new((from, BTreeMap::new(), Vec::new())));
    let more = Arc::new(more);
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (next, more) = (Arc::clone(&next), Arc::clone(&more));
        workers.spawn(async move {
            loop {
                let seed = {
                    let mut next = next.lock().unwrap();
                    let seed = next.0;
                    if !more(seed) || next.2.len() >= FAILURES_MAX {
                        return;
                    }
                    next.0 += 1;
                    seed
                };
                let outcome = history(seed).await;
                let mut next = next.lock().unwrap();
                for (what, count) in &outcome.met {
                    *next.1.entry(what.clone()).or_default() += count;
                }
                if !outcome.violations.is_empty() {
                    println!("{}", outcome.story);
                    next.2.push(format!("seed {seed}: {:#?}\n  {}", outcome.violations, again(seed)));
                }
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
    let (to, met, failed) = Arc::into_inner(next).unwrap().into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    (to - from, met)
}

fn again(seed: u64) -> String {
    format!("again: ATTUNE_SEED={seed} cargo test --test chaos one_seed -- --nocapture")
}

fn again_steps(seed: u64) -> String {
    format!("again: ATTUNE_CHAOS_SECONDS=600 ATTUNE_SEED={seed} cargo test --test chaos every_step -- --nocapture")
}

/// What was not tried on this machine.
fn say_what_is_skipped() {
    let missing = [
        (postgres().is_none(), "PostgreSQL (ATTUNE_TEST_POSTGRES is not set)"),
        (clock::library().is_none(), "steps of Attune's clock (libfaketime is not installed)"),
        (!disk::can_mount(), "a disk that is full (no tmpfs may be mounted; files that may not grow instead)"),
    ];
    for (_, what) in missing.iter().filter(|(is_missing, _)| *is_missing) {
        println!("skipped: {what}");
    }
}

/// `ATTUNE_CHAOS_SECONDS=120`: as many seeds as begin in that time, from `ATTUNE_CHAOS_FROM` on; otherwise a few.
#[tokio::test(flavor = "multi_thread")]
async fn many_seeds() {
    say_what_is_skipped();
    let began = Instant::now();
    let (from, time) = (number("ATTUNE_CHAOS_FROM").unwrap_or(0), time());
    let (histories, met) =
        run_all(move |seed| time.map_or(seed < from + FEW, |time| began.elapsed() < time), from).await;
    println!("{histories} histories from seed {from} on, in {:?}; met: {met:#?}", began.elapsed());
    if time.is_none() {
        println!("skipped: more of them (ATTUNE_CHAOS_SECONDS is not set)");
    }
}

/// How long new histories are begun, and new steps struck.
fn time() -> Option<Duration> {
    number("ATTUNE_CHAOS_SECONDS").map(Duration::from_secs)
}

/// `ATTUNE_SEED=7`: that one, with its story.
#[tokio::test(flavor = "multi_thread")]
async fn one_seed() {
    let Some(seed) = number("ATTUNE_SEED") else {
        println!("skipped: ATTUNE_SEED is not set");
        return;
    };
    let outcome = history(seed).await;
    println!("{}\nmet: {:#?}", outcome.story, outcome.met);
    assert!(outcome.violations.is_empty(), "{:#?}\n{}", outcome.violations, again(seed));
}
