//! Proves that the proof can fail: planted faults are found.
//!
//! `ATTUNE_PLANTED_SEEDS=1000 cargo test --profile simulation --features proof --test simulation planted -- --nocapture` counts
//! how many of a thousand histories find each, or find the one that `ATTUNE_PLANTED` names. Without the variable each is looked
//! for until it is found.

use attune::proof::{self, Fault};

use crate::script::Script;
use crate::{number, on_every_core, shrink};

/// A fault that so many histories do not find survives: the model is too weak, or the remedy is needless.
const HISTORIES_MAX: u64 = 20_000;

/// The scene that finds a fault which in random histories another remedy covers, only more slowly: after a second look.
fn scene(fault: Fault) -> Option<fn()> {
    (fault == Fault::ReadBeforeOurWrite)
        .then_some(crate::scenarios::what_was_read_before_our_write_was_acknowledged_says_nothing)
}

/// Does something with a fault planted.
fn planted<T>(fault: Fault, work: impl FnOnce() -> T) -> T {
    proof::plant(Some(fault));
    let done = work();
    proof::plant(None);
    done
}

/// What the histories of some seeds found with a fault planted: how many, the first, and what was wrong there.
struct Found {
    tried: u64,
    failing: u64,
    first: Option<String>,
}

fn look_for(fault: Fault, seeds: std::ops::Range<u64>, until_found: bool) -> Found {
    let mut found = Found { tried: 0, failing: 0, first: None };
    if let Some(scene) = scene(fault) {
        let wrong = planted(fault, || std::panic::catch_unwind(scene)).is_err();
        let first = wrong.then(|| "its scene".to_owned());
        return Found { tried: 1, failing: u64::from(wrong), first };
    }
    for seed in seeds {
        let wrong = planted(fault, || shrink::wrong(&Script::of(seed)));
        found.tried += 1;
        if let Some(wrong) = wrong {
            found.failing += 1;
            found.first.get_or_insert_with(|| format!("seed {seed}: {wrong}"));
            if until_found {
                break;
            }
        }
    }
    found
}

#[test]
fn planted_faults_are_found() {
    let counted = number("ATTUNE_PLANTED_SEEDS");
    // Panics are findings here: they need not be told.
    std::panic::set_hook(Box::new(|_| {}));
    let looked_for: Vec<Fault> = Fault::ALL.into_iter().filter(is_named).collect();
    let found = on_every_core(looked_for, |fault| {
        (fault, look_for(fault, 0..counted.unwrap_or(HISTORIES_MAX), counted.is_none()))
    });
    drop(std::panic::take_hook());
    let mut lines: Vec<(Fault, String)> = Vec::new();
    let mut survivors = Vec::new();
    for (fault, found) in found {
        let Found { tried, failing, first } = found;
        match first {
            Some(first) => lines.push((fault, format!("{fault:?}: {failing} of {tried}, first by {first}"))),
            None => survivors.push(format!("{fault:?} survives {tried} histories")),
        }
    }
    lines.sort();
    lines.iter().for_each(|(_, line)| println!("{line}"));
    survivors.iter().for_each(|line| println!("{line}"));
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
}

fn is_named(fault: &Fault) -> bool {
    let names = std::env::var("ATTUNE_PLANTED");
    names.map_or(true, |names| names.split(',').any(|name| name == format!("{fault:?}")))
}

/// The shortest history of a seed that finds a planted fault, as it is kept in `regressions/`: `ATTUNE_PLANTED` names it.
#[test]
fn shortest_planted() {
    let (Ok(name), Some(seed)) = (std::env::var("ATTUNE_PLANTED"), number("ATTUNE_SEED")) else { return };
    let fault = Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name).expect("a fault of this name");
    let shortest = planted(fault, || shrink::shrink(&Script::of(seed)));
    let Some((script, wrong)) = shortest else {
        println!("seed {seed} does not find {name}");
        return;
    };
    let regression = crate::regressions::Regression { wrong: format!("with {name}: {wrong}"), script };
    println!("{}", serde_json::to_string_pretty(&regression).unwrap());
}
