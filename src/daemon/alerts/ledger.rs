//! What was told, and what is to be told now. Pure: it is handed the time.
//!
//! A message is due where what was told of a subject is not how it stands. A state that lasted less than `after` is not
//! told, and its end is told once it has been gone for as long, so whatever comes and goes quicker tells nothing. In an hour
//! at most [`MESSAGES_PER_HOUR_MAX`] messages are sent; what still differs when there is room again is told then. There is no
//! queue: what ended before it was told is never told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::trouble::{Subject, Trouble, Troubles};
use crate::model::Timestamp;

/// Messages in any hour.
pub(super) const MESSAGES_PER_HOUR_MAX: usize = 30;

const HOUR: Duration = Duration::from_secs(3600);

/// What is known of one subject.
#[derive(Debug)]
struct Entry {
    /// How it stands; none: well.
    now: Option<Trouble>,
    /// In this state (reasons may change) since.
    since: Timestamp,
    /// What was told last and not taken back: the trouble, and since when it had lasted.
    told: Option<(Trouble, Timestamp)>,
}

impl Entry {
    fn differs(&self) -> bool {
        state(self.now.as_ref()) != state(self.told.as_ref().map(|(trouble, _)| trouble))
    }
}

fn state(trouble: Option<&Trouble>) -> Option<&str> {
    trouble.map(|trouble| trouble.state.as_str())
}

/// A message that is due.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Due {
    pub subject: Subject,
    /// What was told before and is so no more.
    pub before: Option<Trouble>,
    /// How it stands now; none: it is over.
    pub now: Option<Trouble>,
    /// Since when the trouble lasts, or lasted.
    pub since: Timestamp,
}

/// All that was told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<Subject, Entry>,
    sent: VecDeque<Timestamp>,
}

impl Ledger {
    /// Notes how everything stands now.
    pub fn note(&mut self, mut troubles: Troubles, now: Timestamp) {
        for (subject, entry) in &mut self.entries {
            let trouble = troubles.remove(subject);
            if state(trouble.as_ref()) != state(entry.now.as_ref()) {
                entry.since = now;
            }
            entry.now = trouble;
        }
        self.entries.retain(|_, entry| entry.now.is_some() || entry.told.is_some());
        for (subject, trouble) in troubles {
            self.entries.insert(subject, Entry { now: Some(trouble), since: now, told: None });
        }
    }

    /// The next message, if one is due and there is room for it.
    pub fn next(&mut self, now: Timestamp, after: Duration) -> Option<Due> {
        while self.sent.front().is_some_and(|sent| now >= *sent + HOUR) {
            self.sent.pop_front();
        }
        if self.sent.len() >= MESSAGES_PER_HOUR_MAX {
            return None;
        }
        let due = |(_, entry): &(&Subject, &Entry)| entry.differs() && now >= entry.since + after;
        // Who waits longest goes first.
        let (subject, entry) = self.entries.iter().filter(due).min_by_key(|(_, entry)| entry.since)?;
        Some(Due {
            subject: subject.clone(),
            before: entry.told.as_ref().map(|(trouble, _)| trouble.clone()),
            now: entry.now.clone(),
            since: match (&entry.now, &entry.told) {
                (None, Some((_, since))) => *since,
                _ => entry.since,
            },
        })
    }

    /// Notes that a message has arrived.
    pub fn told(&mut self, due: Due, now: Timestamp) {
        self.sent.push_back(now);
        if let Some(entry) = self.entries.get_mut(&due.subject) {
            entry.told = due.now.map(|trouble| (trouble, due.since));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trouble::{About, Concern};
    use super::*;
    use crate::model::Side;

    const AFTER: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000) + Duration::from_secs(seconds)
    }

    fn crm(name: &str) -> Subject {
        (About::Source(Side::Crm, name.to_owned()), Concern::State)
    }

    fn troubles(all: &[(&str, &str)]) -> Troubles {
        let trouble = |state: &str| Trouble {
            state: state.to_owned(),
            reason: "why".to_owned(),
            concerns: Vec::new(),
            command: "attune status".to_owned(),
        };
        all.iter().map(|(name, state)| (crm(name), trouble(state))).collect()
    }

    /// Notes, and takes every message that is due, as what it was and what it is.
    fn step(ledger: &mut Ledger, seconds: u64, all: &[(&str, &str)]) -> Vec<(Option<String>, Option<String>)> {
        ledger.note(troubles(all), at(seconds));
        let mut taken = Vec::new();
        while let Some(due) = ledger.next(at(seconds), AFTER) {
            let word = |trouble: &Option<Trouble>| trouble.as_ref().map(|trouble| trouble.state.clone());
            taken.push((word(&due.before), word(&due.now)));
            ledger.told(due, at(seconds));
        }
        taken
    }

    fn began(state: &str) -> (Option<String>, Option<String>) {
        (None, Some(state.to_owned()))
    }

    fn over(state: &str) -> (Option<String>, Option<String>) {
        (Some(state.to_owned()), None)
    }

    #[test]
    fn a_state_is_told_once_when_it_has_lasted_and_once_when_it_is_over() {
        let mut ledger = Ledger::default();
        let down = [("erp", "unreachable")];
        assert_eq!(step(&mut ledger, 0, &down), []);
        assert_eq!(step(&mut ledger, 59, &down), []);
        assert_eq!(step(&mut ledger, 60, &down), [began("unreachable")]);
        for seconds in 61..600 {
            assert_eq!(step(&mut ledger, seconds, &down), []);
        }
        assert_eq!(step(&mut ledger, 600, &[]), []);
        assert_eq!(step(&mut ledger, 660, &[]), [over("unreachable")]);
        assert_eq!(step(&mut ledger, 661, &[]), []);
        assert!(ledger.entries.is_empty(), "nothing is kept of what is over and told");
    }

    #[test]
    fn another_state_of_the_same_subject_is_one_message() {
        let mut ledger = Ledger::default();
        step(&mut ledger, 0, &[("erp", "unreachable")]);
        assert_eq!(step(&mut ledger, 60, &[("erp", "unreachable")]), [began("unreachable")]);
        assert_eq!(step(&mut ledger, 61, &[("erp", "unauthorized")]), []);
        let changed = (Some("unreachable".to_owned()), Some("unauthorized".to_owned()));
        assert_eq!(step(&mut ledger, 121, &[("erp", "unauthorized")]), [changed]);
        step(&mut ledger, 130, &[]);
        let ended = {
            ledger.note(Troubles::new(), at(190));
            ledger.next(at(190), AFTER).unwrap()
        };
        assert_eq!((ended.now, ended.since), (None, at(61)), "the end says since when it had lasted");
    }

    #[test]
    fn what_comes_and_goes_quicker_tells_nothing() {
        let mut ledger = Ledger::default();
        for minute in 0..120 {
            assert_eq!(step(&mut ledger, minute * 60, &[("erp", "unreachable")]), []);
            assert_eq!(step(&mut ledger, minute * 60 + 30, &[]), []);
        }
        // Told, and then flapping: neither its end nor another beginning.
        let down = [("erp", "unreachable")];
        step(&mut ledger, 10_000, &down);
        assert_eq!(step(&mut ledger, 10_060, &down), [began("unreachable")]);
        for round in 0..100 {
            assert_eq!(step(&mut ledger, 10_100 + round * 60, &[]), []);
            assert_eq!(step(&mut ledger, 10_130 + round * 60, &down), []);
        }
        assert_eq!(step(&mut ledger, 20_000, &down), []);
    }

    #[test]
    fn an_hour_takes_so_many_messages_and_what_still_differs_is_told_later() {
        let mut ledger = Ledger::default();
        let names: Vec<String> = (0..50).map(|number| format!("crm{number:02}")).collect();
        let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "unreachable")).collect();
        step(&mut ledger, 0, &all);
        assert_eq!(step(&mut ledger, 60, &all).len(), MESSAGES_PER_HOUR_MAX);
        assert_eq!(step(&mut ledger, 3000, &all), []);
        // Five of those that were not told are well again: nobody hears of them.
        assert_eq!(step(&mut ledger, 3500, &all[..45]), []);
        assert_eq!(step(&mut ledger, 3660, &all[..45]).len(), 15);
        assert_eq!(step(&mut ledger, 3661, &all[..45]), []);
    }

    #[test]
    fn what_did_not_arrive_stays_due() {
        let mut ledger = Ledger::default();
        ledger.note(troubles(&[("erp", "unreachable")]), at(0));
        let due = ledger.next(at(60), AFTER);
        assert!(due.is_some());
        assert_eq!(ledger.next(at(70), AFTER), due);
    }
}
