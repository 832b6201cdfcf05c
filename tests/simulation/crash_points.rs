//! A crash at every point: a history is run once without, to count the turns of its tasks and its commits; then once for
//! each of them, dying there.

use crate::driver;
use crate::script::{Death, Script};

/// The points of a history: its turns, its commits.
pub fn points(script: &Script) -> Vec<Death> {
    let history = driver::play(&Script { deaths: Vec::new(), ..script.clone() }, false);
    let turns = (1..history.turns).map(|turn| Death { turns: Some(turn), commits: None });
    let commits = (0..history.commits).map(|commit| Death { turns: None, commits: Some(commit) });
    turns.chain(commits).collect()
}

/// A short history of a seed, so that all of its points can be tried.
pub fn short(seed: u64) -> Script {
    let mut script = Script::of(seed);
    script.plan.chaos_ms = script.plan.chaos_ms.min(45_000);
    script.deeds.retain(|timed| timed.at_ms < 40_000);
    script.deeds.truncate(6);
    script.plan.sweep_ms = script.plan.sweep_ms.max(45_000);
    script
}
