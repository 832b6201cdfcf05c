//! Whole histories, by seed: edits, faults, crashes, clock skew, several stores on one CRM, driven through the real
//! engine, merge and checkpoint, with a model that says what must be true at rest.
//!
//! `ATTUNE_SEED=7 cargo test --test simulation one_seed -- --nocapture` tells the story of one seed;
//! `ATTUNE_SEEDS=1..2000 cargo test --test simulation many_seeds` runs a range.

#![allow(clippy::unwrap_used, reason = "whatever is not as it should be in here is a failed history")]

mod database;
mod driver;
mod executor;
mod oracle;
mod people;
mod plan;
mod provenance;
mod random;
mod scenarios;
mod script;
mod stage;
mod world;

use std::ops::Range;

/// As many as the test command has time for.
const SEEDS: Range<u64> = 0..2000;

fn seeds() -> Range<u64> {
    let Ok(range) = std::env::var("ATTUNE_SEEDS") else { return SEEDS };
    let (from, to) = range.split_once("..").expect("ATTUNE_SEEDS is FROM..TO");
    from.parse().expect("FROM is a number")..to.parse().expect("TO is a number")
}

/// Runs a seed; what went wrong, with the command that runs it again.
fn fails(seed: u64) -> Option<String> {
    let found = std::panic::catch_unwind(|| driver::run(seed, false).violations)
        .unwrap_or_else(|panic| vec![panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned())]);
    let first = found.first()?;
    Some(format!(
        "seed {seed}: {first} ({} in all)\n  ATTUNE_SEED={seed} cargo test --test simulation one_seed -- --nocapture",
        found.len()
    ))
}

#[test]
fn many_seeds() {
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get() as u64);
    let seeds = seeds();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = |thread: u64| {
            let seeds = seeds.clone();
            move || seeds.filter(|seed| seed % threads == thread).filter_map(fails).collect::<Vec<_>>()
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{} of {} seeds fail\n{}", failures.len(), seeds.count(), failures.join("\n"));
}

#[test]
fn the_same_seed_is_the_same_history() {
    for seed in 0..30 {
        assert_eq!(driver::run(seed, false).hash, driver::run(seed, false).hash, "seed {seed}");
    }
}

/// The story of one seed, for people.
#[test]
fn one_seed() {
    let seed = std::env::var("ATTUNE_SEED").ok().and_then(|seed| seed.parse().ok());
    let history = driver::run(seed.unwrap_or(0), seed.is_some());
    if seed.is_some() {
        println!(
            "{} acts, {} calls, {} writes, {} crashes, {} lost in the window; met: {:#?}",
            history.acts, history.calls, history.writes, history.crashes, history.lost_in_window, history.met
        );
    }
    assert_eq!(history.violations, Vec::<String>::new());
}
