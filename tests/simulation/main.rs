//! Whole histories, by seed: edits, faults, crashes, clock skew, several stores on one CRM, driven through the real
//! engine, merge and checkpoint, with a model that says what must be true at rest.
//!
//! `ATTUNE_SEED=7 cargo test --test simulation one_seed -- --nocapture` tells the story of one seed;
//! `ATTUNE_SEEDS=1..2000 cargo test --test simulation many_seeds` runs a range. See `docs/testing.md`.

#![allow(clippy::unwrap_used, reason = "whatever is not as it should be in here is a failed history")]

mod crash_points;
mod database;
mod driver;
mod executor;
mod oracle;
mod people;
mod plan;
#[cfg(feature = "proof")]
mod proof;
mod provenance;
mod random;
mod regressions;
mod resource_scenes;
mod scenarios;
mod script;
mod shrink;
mod stage;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::script::Script;

/// As many as the test command has time for.
const SEEDS: Range<u64> = 0..1000;

/// As many crash points as the test command has time for, of how many seeds.
const CRASHES: usize = 300;
const CRASH_SEEDS: u64 = 60;

/// From a seed on, what strikes at all has struck in so many.
const COVERED: u64 = 1000;

/// And so many have met each cell of the consent's table.
const CONSENT_COVERED: u64 = 10_000;

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn seeds() -> Range<u64> {
    let Ok(range) = std::env::var("ATTUNE_SEEDS") else { return SEEDS };
    let (from, to) = range.split_once("..").expect("ATTUNE_SEEDS is FROM..TO");
    from.parse().expect("FROM is a number")..to.parse().expect("TO is a number")
}

/// Does something for each of many, on every core, and answers all that came of it.
fn on_every_core<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let items = std::sync::Mutex::new(items.into_iter());
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    loop {
                        let item = items.lock().unwrap().next();
                        let Some(item) = item else { return done };
                        done.push(work(item));
                    }
                })
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Runs a seed: what was met, and what went wrong, with the commands that tell more.
fn tried(seed: u64) -> (BTreeMap<String, u64>, Option<String>) {
    let (met, found) = match shrink::run(&Script::of(seed)) {
        Ok(history) => (history.met, history.violations),
        Err(panic) => (BTreeMap::new(), vec![format!("a panic: {panic}")]),
    };
    let told = found.first().map(|first| {
        format!(
            "seed {seed}: {first} ({} in all)\n  ATTUNE_SEED={seed} cargo test --test simulation one_seed -- --nocapture\n  \
             ATTUNE_SEED={seed} cargo test --test simulation shortest -- --nocapture",
            found.len()
        )
    });
    (met, told)
}

#[test]
fn many_seeds() {
    let seeds = seeds();
    let mut met: BTreeMap<String, u64> = BTreeMap::new();
    let mut failures = Vec::new();
    for (more, failure) in on_every_core(seeds.clone().collect(), tried) {
        more.into_iter().for_each(|(what, times)| *met.entry(what).or_default() += times);
        failures.extend(failure);
    }
    for (what, times) in &met {
        println!("{times:9} {what}");
    }
    let many = seeds.end - seeds.start;
    assert!(failures.is_empty(), "{} of {many} seeds fail\n{}", failures.len(), failures.join("\n"));
    if many >= COVERED {
        let missing: Vec<&str> = MUST_BE_MET.into_iter().filter(|what| !met.contains_key(*what)).collect();
        assert!(missing.is_empty(), "{many} histories never met: {missing:?}");
    }
    if many >= CONSENT_COVERED && cfg!(feature = "proof") {
        let is_met = |cell: &String| met.keys().any(|what| what.starts_with(cell.as_str()));
        let missing: Vec<String> = cells_of_consent().into_iter().filter(|cell| !is_met(cell)).collect();
        assert!(missing.is_empty(), "{many} histories never met: {missing:?}");
    }
}

/// The cells of the consent's table in which the sides differ, as the merge counts them.
fn cells_of_consent() -> Vec<String> {
    const SAID: [&str; 3] = ["nothing", "yes", "no"];
    let mut cells = Vec::new();
    for agreed in ["unknown", "nothing", "yes", "no"] {
        for store in SAID {
            for crm in SAID.into_iter().filter(|crm| *crm != store) {
                cells.push(format!("consent: Both, agreed {agreed}, store {store}, CRM {crm}: "));
            }
        }
    }
    cells
}

/// What enough histories have met; with the feature `proof` the cells of the merge's table too.
const MUST_BE_MET: [&str; 62] = [
    "a field of the kind: address",
    "a field of the kind: attribute",
    "a field of the kind: consent",
    "a field of the kind: customer's own",
    "a field of the kind: form field",
    "a field of the kind: list of segments",
    "a field of the kind: metafield",
    "a field of the kind: segment",
    "a refusal goes over what it did not know",
    "a system shows nothing",
    "checkpoint restored, with its mark",
    "checkpoint restored, without its mark",
    "conflict",
    "cut",
    "e-mail changed",
    "fills, or edit beats clear",
    "follows",
    "held: altered by target",
    "held: ambiguous",
    "held: cannot be taken",
    "held: conflict",
    "held: first meeting",
    "held: rejected",
    "held: two writers",
    "late commit",
    "lost in the window",
    "lost",
    "mapping changed",
    "members read",
    "not sent",
    "operator decides",
    "operator: Approve",
    "operator: Drop",
    "operator: Retry",
    "operator: TakeCrm",
    "operator: TakeStore",
    "our clock jumps",
    "paused",
    "policy changed",
    "read fails",
    "record merged",
    "record removed",
    "registered again",
    "slow",
    "stale",
    "stopped at a rail",
    "system restored",
    "the process dies",
    "throttled",
    "torn",
    "unauthorized",
    "wrote: changed (refused)",
    "wrote: changed (unknown)",
    "wrote: changed (written)",
    "wrote: cleared (written)",
    "wrote: conflict (written)",
    "wrote: edit beats clear (written)",
    "wrote: filled (written)",
    "wrote: first meeting (written)",
    "wrote: put back (written)",
    "wrote: resolved (written)",
    "wrote: restored (written)",
];

#[test]
fn the_same_seed_is_the_same_history() {
    let differing: Vec<u64> = on_every_core((0..100).collect(), |seed: u64| {
        (driver::run(seed, false).hash != driver::run(seed, false).hash).then_some(seed)
    })
    .into_iter()
    .flatten()
    .collect();
    assert_eq!(differing, Vec::<u64>::new());
}

/// Dies at points spread over the short histories of many seeds; at all of them if `ATTUNE_CRASHES` is large enough.
#[test]
fn a_crash_at_any_point() {
    let many = number("ATTUNE_CRASHES").map_or(CRASHES, |many| usize::try_from(many).unwrap());
    let seeds: Vec<u64> = (0..number("ATTUNE_CRASH_SEEDS").unwrap_or(CRASH_SEEDS)).collect();
    let each = many.div_ceil(seeds.len());
    let found = on_every_core(seeds, |seed| {
        let script = crash_points::short(seed);
        let points = crash_points::points(&script);
        let step = points.len().div_ceil(each).max(1);
        let points: Vec<_> = points.into_iter().step_by(step).collect();
        let wrong: Vec<String> = points
            .iter()
            .filter_map(|death| {
                let script = Script { deaths: vec![*death], ..script.clone() };
                shrink::wrong(&script).map(|wrong| format!("seed {seed}, {death:?}: {wrong}"))
            })
            .collect();
        (points.len(), wrong)
    });
    let (tried, wrong): (Vec<usize>, Vec<Vec<String>>) = found.into_iter().unzip();
    let wrong = wrong.concat();
    println!("{} crashes", tried.iter().sum::<usize>());
    assert!(
        wrong.is_empty(),
        "{} of {} crashes do harm\n{}",
        wrong.len(),
        tried.iter().sum::<usize>(),
        wrong.join("\n")
    );
}

/// The story of one seed, for people.
#[test]
fn one_seed() {
    let seed = number("ATTUNE_SEED");
    let history = driver::run(seed.unwrap_or(0), seed.is_some());
    if seed.is_some() {
        println!(
            "{} acts, {} calls, {} writes, {} crashes, {} lost in the window; met: {:#?}",
            history.acts, history.calls, history.writes, history.crashes, history.lost_in_window, history.met
        );
    }
    assert_eq!(history.violations, Vec::<String>::new());
}

/// The shortest history that fails as a seed does, as a story, and as the list that is kept in `regressions/`.
#[test]
fn shortest() {
    let Some(seed) = number("ATTUNE_SEED") else { return };
    let Some((script, wrong)) = shrink::shrink(&Script::of(seed)) else {
        println!("seed {seed} does not fail");
        return;
    };
    driver::play(&script, true);
    let regression = regressions::Regression { wrong: wrong.clone(), script };
    println!("{}", serde_json::to_string_pretty(&regression).unwrap());
    panic!("seed {seed}: {wrong}");
}
