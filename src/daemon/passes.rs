//! The last passes of a pair that did something, for people who look: in memory, a few of each.
//!
//! The checkpoint keeps what was written and the balance of the last pass alone; most passes find nothing to do.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::engine::Balance;
use crate::model::Timestamp;

/// So many are remembered of each pair.
const REMEMBERED_MAX: usize = 12;

/// One pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PassNote {
    /// Its number; 0: it failed before it had one.
    pub number: u64,
    /// Ours: when it ended.
    pub at: Timestamp,
    pub duration_ms: u64,
    /// How it ended, in words; none: it did what there was to do.
    pub ended: Option<String>,
    pub balance: Balance,
}

/// The last passes of one pair.
#[derive(Debug)]
pub(super) struct Passes {
    /// Ours: since when they are remembered.
    pub since: Timestamp,
    notes: Mutex<VecDeque<PassNote>>,
}

impl Passes {
    pub fn new(since: Timestamp) -> Self {
        Self { since, notes: Mutex::default() }
    }

    /// Remembers a pass. One that came to the same as the one before takes its place: a pair that stands at a rail, or a
    /// system that fails, says so at every poll.
    pub fn note(&self, note: PassNote) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let said = |note: &PassNote| (note.ended.clone(), Balance { recheck_window_ms: 0, ..note.balance });
        if note.ended.is_some() && notes.front().is_some_and(|newest| said(newest) == said(&note)) {
            notes.pop_front();
        }
        notes.truncate(REMEMBERED_MAX - 1);
        notes.push_front(note);
    }

    /// Newest first.
    pub fn newest(&self) -> Vec<PassNote> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(number: u64, ended: Option<&str>) -> PassNote {
        let at = Timestamp::from_millis(i64::try_from(number).unwrap());
        PassNote { number, at, duration_ms: 1, ended: ended.map(str::to_owned), balance: Balance::default() }
    }

    #[test]
    fn the_newest_are_remembered_and_what_repeats_is_one() {
        let passes = Passes::new(Timestamp::EPOCH);
        for number in 1..=20 {
            passes.note(note(number, None));
        }
        for number in 21..=40 {
            passes.note(note(number, Some("stopped at a rail")));
        }
        let numbers: Vec<u64> = passes.newest().iter().map(|note| note.number).collect();
        assert_eq!(numbers, [40, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10]);
    }
}
