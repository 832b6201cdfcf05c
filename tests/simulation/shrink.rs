//! From a failing history to the shortest one that fails in the same way, told so that a person can read it.
//!
//! A history is a list: people, deeds, faults that strike, deaths. Halves, then quarters, then single things are left out
//! for as long as it still fails (delta debugging: Zeller & Hildebrandt, "Simplifying and isolating failure-inducing
//! input", 2002). The first run writes down which faults struck; from then on only what is on the list strikes.

use crate::driver::{self, History};
use crate::script::{Death, Script};

/// So many histories are tried at the most.
const TRIES_MAX: usize = 4_000;

/// What a history came to; a panic is a violation like any other.
pub fn run(script: &Script) -> Result<History, String> {
    std::panic::catch_unwind(|| driver::play(script, false)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "?".to_owned())
    })
}

/// The first thing that is wrong with a history.
pub fn wrong(script: &Script) -> Option<String> {
    match run(script) {
        Ok(history) => history.violations.into_iter().next(),
        Err(panic) => Some(format!("a panic: {panic}")),
    }
}

/// The kind of a violation: its words, without what it is about.
fn kind(wrong: &str) -> String {
    let words = wrong.split_whitespace().map(|word| word.trim_matches([':', ',', ';']));
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    words.filter(is_word).collect::<Vec<_>>().join(" ")
}

/// The shortest history found that fails as this one does.
pub fn shrink(script: &Script) -> Option<(Script, String)> {
    let struck = run(script).map(|history| history.struck).unwrap_or_default();
    let mut shrinking = Shrinking { kind: kind(&wrong(script)?), tries: 0, best: script.clone() };
    shrinking.attempt(Script { strikes: Some(struck.into_iter().collect()), ..script.clone() });
    loop {
        let before = size(&shrinking.best);
        shrinking.lives();
        shrinking.deeds();
        shrinking.strikes();
        shrinking.people();
        shrinking.fields();
        shrinking.resources();
        if size(&shrinking.best) == before || shrinking.tries >= TRIES_MAX {
            break;
        }
    }
    let wrong = wrong(&shrinking.best)?;
    Some((shrinking.best, wrong))
}

fn size(script: &Script) -> usize {
    script.beings.len() + script.deeds.len() + script.deaths.len() + script.strikes.as_ref().map_or(0, |set| set.len())
}

struct Shrinking {
    kind: String,
    tries: usize,
    best: Script,
}

impl Shrinking {
    /// Takes a shorter history if it fails in the same way.
    fn attempt(&mut self, script: Script) -> bool {
        self.tries += 1;
        let fails = self.tries <= TRIES_MAX && wrong(&script).is_some_and(|wrong| kind(&wrong) == self.kind);
        if fails {
            self.best = script;
        }
        fails
    }

    /// Leaves out as much of a list as can be.
    fn thin<T: Clone>(&mut self, get: impl Fn(&Script) -> Vec<T>, set: impl Fn(&mut Script, Vec<T>)) {
        let mut chunk = get(&self.best).len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < get(&self.best).len() {
                let mut rest = get(&self.best);
                rest.drain(at..(at + chunk).min(rest.len()));
                let mut script = self.best.clone();
                set(&mut script, rest);
                if !self.attempt(script) {
                    at += chunk;
                }
            }
            if chunk == 1 {
                return;
            }
            chunk = chunk.div_ceil(2);
        }
    }

    fn deeds(&mut self) {
        self.thin(|script| script.deeds.clone(), |script, deeds| script.deeds = deeds);
    }

    fn strikes(&mut self) {
        self.thin(
            |script| script.strikes.iter().flatten().cloned().collect(),
            |script, strikes| script.strikes = Some(strikes.into_iter().collect()),
        );
    }

    fn people(&mut self) {
        self.thin(
            |script| {
                let people: std::collections::BTreeSet<u64> = script.beings.iter().map(|being| being.person).collect();
                people.into_iter().collect()
            },
            |script, people| script.beings.retain(|being| people.contains(&being.person)),
        );
    }

    /// Deaths are counted by lives: what does not die at its place lives on.
    fn lives(&mut self) {
        let mut script = self.best.clone();
        script.deaths.clear();
        if !self.attempt(script) {
            for at in (0..self.best.deaths.len()).rev() {
                let mut script = self.best.clone();
                script.deaths[at] = Death::default();
                while script.deaths.last() == Some(&Death::default()) {
                    script.deaths.pop();
                }
                self.attempt(script);
            }
        }
    }

    /// What fails with attributes alone needs no other resource.
    fn resources(&mut self) {
        for at in 0..self.best.plan.fields.len() {
            let name = format!("attribute:F{at}");
            if self.best.plan.fields[at].store != name {
                let mut script = self.best.clone();
                script.plan.fields[at].store = name;
                self.attempt(script);
            }
        }
    }

    /// A world with fewer mapped fields has fewer cells.
    fn fields(&mut self) {
        for _ in 1..self.best.plan.fields.len() {
            let mut script = self.best.clone();
            let last = script.plan.fields.len();
            script.plan.fields.pop();
            script.beings.iter_mut().for_each(|being| being.values.truncate(last));
            if script.deeds.iter().all(|timed| timed.deed.field().is_none_or(|field| field < last)) {
                self.attempt(script);
            }
        }
    }
}
