//! Who may call next: those who wait stand in lanes. Pure.
//!
//! Earlier lanes go first; of ten calls, one is kept for the last two lanes while they have work.

use std::collections::VecDeque;

use super::Lane;

/// Of ten calls, so many go to the first two lanes while the last two have work.
const FIRST_LANES_OF_TEN: usize = 9;

/// Someone who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    id: u64,
    lane: usize,
    /// How many calls are to leave at once.
    pub(super) calls: usize,
}

/// All who wait, each lane in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    waiting: [VecDeque<Waiter>; 4],
    next_id: u64,
    /// Calls that went to the first two lanes since the last two had a turn.
    first_in_a_row: usize,
}

impl Lanes {
    /// Stands behind the others of a lane.
    pub(super) fn join(&mut self, lane: Lane, calls: usize) -> Waiter {
        let waiter = Waiter { id: self.next_id, lane: lane as usize, calls };
        self.next_id += 1;
        self.waiting[waiter.lane].push_back(waiter);
        waiter
    }

    /// Waits no more, served or not.
    pub(super) fn leave(&mut self, waiter: Waiter) {
        self.waiting[waiter.lane].retain(|other| other.id != waiter.id);
    }

    /// Who is next, whatever the quota says.
    pub(super) fn next(&self) -> Option<Waiter> {
        let front = |lane: usize| self.waiting[lane].front().copied();
        let last_two = || front(2).or_else(|| front(3));
        if self.first_in_a_row >= FIRST_LANES_OF_TEN
            && let Some(next) = last_two()
        {
            return Some(next);
        }
        front(0).or_else(|| front(1)).or_else(last_two)
    }

    /// Who was next has its calls.
    pub(super) fn served(&mut self, waiter: Waiter) {
        self.leave(waiter);
        self.first_in_a_row = if waiter.lane < 2 {
            (self.first_in_a_row + waiter.calls).min(FIRST_LANES_OF_TEN * 10)
        } else {
            self.first_in_a_row.saturating_sub(waiter.calls * FIRST_LANES_OF_TEN)
        };
        if self.waiting[2].is_empty() && self.waiting[3].is_empty() {
            // What is kept for lanes without work is not saved up for them.
            self.first_in_a_row = self.first_in_a_row.min(FIRST_LANES_OF_TEN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_reservations_count_by_their_calls() {
        let mut lanes = Lanes::default();
        for _ in 0..10 {
            lanes.join(Lane::Fresh, 4);
            lanes.join(Lane::Sweep, 1);
        }
        let mut calls = [0, 0];
        for _ in 0..8 {
            let next = lanes.next().unwrap();
            calls[usize::from(next.lane >= 2)] += next.calls;
            lanes.served(next);
        }
        assert_eq!(calls, [24, 2], "a tenth, in the end");
    }

    #[test]
    fn who_leaves_is_not_next() {
        let mut lanes = Lanes::default();
        let first = lanes.join(Lane::Fresh, 1);
        let second = lanes.join(Lane::Backfill, 1);
        lanes.leave(first);
        assert_eq!(lanes.next(), Some(second));
        lanes.served(second);
        assert_eq!(lanes.next(), None);
    }
}
