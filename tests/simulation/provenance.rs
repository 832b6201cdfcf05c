//! Where each value that we write comes from, and whether it may go where we send it.
//!
//! Every cell carries the act (what a person said) whose value it holds, and knows all acts that were ever there or that
//! what came there had replaced. So each write can be judged as it leaves, by what the process was shown of its target:
//!
//! - it carries something that somebody said;
//! - it does not bring back what was replaced there (nothing superseded returns by itself);
//! - what it replaces was known to whoever said it; if not, both changed, and the policy of the field must allow it.
//!
//! Of consent to be sent mail no policy decides (decision 17). A refusal may replace whatever stands, known or not. A yes may
//! replace only what both sides had agreed on: what the place where it was said has held as well, before. So it fills no blank
//! that its own side did not share, and overwrites no refusal that its own side had not heard of. Nor is a refusal replaced with nothing
//! otherwise.

use std::collections::BTreeSet;

use attune::model::{Conflict, Create, Direction, FieldRule, Meaning, OnClear, Side, Write};

use crate::oracle::{compared, is_blank};
use crate::world::{Act, CellState, Origin, Record, World, text_of};

/// Edits are told apart by clocks of whole seconds whose offset is known to a second or so; two seconds are a tie.
const NEWEST_TOLERANCE_MS: i64 = 4_000;

impl World {
    /// The acts that a write may carry: what was never at its target, or else what was.
    pub fn may_carry(&self, system: usize, key: u64, write: &Write) -> Vec<usize> {
        let mut candidates = self.candidates(system, key, write);
        let Some(cell) = self.shown(system, key, write) else { return Vec::new() };
        if candidates.iter().any(|act| !cell.knows.contains(act)) {
            candidates.retain(|act| !cell.knows.contains(act));
        } else if let Some(last) = candidates.pop() {
            candidates = vec![last];
        }
        candidates
    }

    /// The act that a write carries, the latest if there are several.
    pub fn carried(&self, system: usize, key: u64, write: &Write) -> Option<usize> {
        self.may_carry(system, key, write).last().copied()
    }

    /// The target's cell as the process was shown it.
    fn shown(&self, system: usize, key: u64, write: &Write) -> Option<CellState> {
        let version = write.expect.token.as_deref().and_then(|token| token.parse().ok())?;
        self.systems[system].records.get(&key)?.version(write.field, version).cloned()
    }

    /// All acts whose word a write may carry: what it says stood in a place that it can come from. Where people's records
    /// were mixed up, it may be anybody's.
    fn candidates(&self, system: usize, key: u64, write: &Write) -> Vec<usize> {
        let rule = &self.plan.fields[write.field - 1];
        let value = compared(rule, write.value.as_ref().map(text_of).as_deref());
        let person = self.systems[system].records[&key].person;
        let mixed = self.stirred.contains(&person);
        let sources = self.systems[self.others(system)].iter().flat_map(|system| system.records.values());
        let mut stood: BTreeSet<usize> = sources
            .filter(|record| mixed || record.person == person)
            .flat_map(|record| &record.states)
            .map(|state| &state.cells[write.field])
            .filter(|cell| compared(rule, cell.value.as_deref()) == value)
            .map(|cell| cell.carries)
            .collect();
        if mixed {
            let says = |act: &Act| act.field == write.field && compared(rule, act.value.as_deref()) == value;
            stood.extend((0..self.acts.len()).filter(|number| says(&self.acts[*number])));
        }
        stood.into_iter().collect()
    }

    /// Judges a write as it leaves.
    pub fn judge(&mut self, now: i64, system: usize, key: u64, write: &Write) {
        let Some(cell) = self.shown(system, key, write) else { return };
        let (rule, side) = (self.plan.fields[write.field - 1].clone(), self.side(system));
        let value = compared(&rule, write.value.as_ref().map(text_of).as_deref());
        let before = compared(&rule, cell.value.as_deref());
        let person = self.systems[system].records[&key].person;
        if self.decided.contains_key(&(system, key, write.field)) {
            return;
        }
        let what = format!("{value:?} over {before:?} in {} of {key} at {}", rule.store, self.systems[system].name);
        if before == value {
            return self.violate(now, format!("{what}: it was there already"));
        }
        if into(rule.direction).is_some_and(|into| into != side) {
            return self.violate(now, format!("{what}: against its direction"));
        }
        let blank = is_blank(&rule, side, cell.value.as_deref());
        if !rule.overwrite && !blank {
            return self.violate(now, format!("{what}: `overwrite = false`"));
        }
        if rule.meaning() == Meaning::Consent && self.presumes((system, key), &rule, write.field, (&before, &value)) {
            return self.violate(now, format!("{what}: consent is presumed, or a refusal is lost"));
        }
        let candidates = self.candidates(system, key, write);
        if candidates.is_empty() {
            return self.violate(now, format!("{what}: nobody ever said that"));
        }
        let met_unknown = self.made_unknown.contains(&(system, key));
        // Links that came and went meet for the first time again; what they agreed on is forgotten.
        if met_unknown || self.stirred.contains(&person) || !self.stirred.is_empty() && blank {
            return;
        }
        // What a target altered an operator, or another store of the contact, may have sent once more.
        if candidates.contains(&cell.carries) {
            return self.meet("sent again what was altered");
        }
        // What an operator decided for one partner of a record goes on to the others.
        let decided = self.decided.keys().any(|(_, _, field)| *field == write.field);
        if decided && self.systems.len() > 2 {
            return;
        }
        let one_way = rule.direction != Direction::Both;
        // With several stores what is restored comes from one that lags behind, and goes on to the others.
        let restored = rule.on_clear == OnClear::Restore && (before.is_none() || self.systems.len() > 2);
        // A store that is read for the first time later than others brings what it held from the beginning, by its policy; and
        // into what was emptied meanwhile, where it is later than the making of the record.
        let late_meeting = self.systems.len() > 2
            && (matches!(rule.conflict, Conflict::Store | Conflict::Crm) || self.plan.creates != Create::None)
            && candidates.iter().any(|act| self.acts[*act].origin == Origin::Beginning);
        let doubtful = |act: &usize| self.doubtful.contains(&(write.field, *act));
        let replaced = |act: &usize| cell.knows.contains(act) && !doubtful(act);
        if !one_way && !restored && !late_meeting && candidates.iter().all(replaced) {
            return self.violate(now, format!("{what}: it was replaced there, and comes back"));
        }
        if one_way || decided {
            return;
        }
        let known = candidates.iter().any(|act| self.knew(*act, &cell, &rule));
        if known {
            self.meet("follows");
        } else if let Some(wrong) = self.forbidden(&rule, side, &candidates, &cell, &value) {
            self.violate(now, format!("{what}: {wrong}"));
        }
    }

    /// Whether a write says yes, or takes a refusal away, where nobody can have agreed on what it replaces: no place that it can
    /// come from has held that, before it held what is written.
    fn presumes(
        &self,
        (system, key): (usize, u64),
        rule: &FieldRule,
        field: usize,
        (before, value): (&Option<String>, &Option<String>),
    ) -> bool {
        if value.as_deref() == Some("false") || value.is_none() && before.as_deref() != Some("false") {
            return false;
        }
        let person = self.systems[system].records[&key].person;
        let mixed = self.stirred.contains(&person);
        let shared = |record: &Record| {
            let mut held = false;
            record.states.iter().any(|state| {
                let now = compared(rule, state.cells[field].value.as_deref());
                let follows = held && now == *value;
                held |= now == *before;
                follows
            })
        };
        let sources = self.systems[self.others(system)].iter().flat_map(|system| system.records.values());
        !sources.filter(|record| mixed || record.person == person).any(shared)
    }

    /// Whether whoever said something knew what a cell holds: he saw it, or an equal value; or where his word stands now
    /// it has been weighed against it.
    fn knew(&self, act: usize, cell: &CellState, rule: &FieldRule) -> bool {
        let said = &self.acts[act];
        let held = &self.acts[cell.carries];
        let value = |act: &Act| compared(rule, act.value.as_deref());
        let saw = |known: &BTreeSet<usize>| {
            known.contains(&cell.carries)
                || known.iter().any(|number| {
                    let seen = &self.acts[*number];
                    seen.field == held.field && value(seen) == value(held)
                })
        };
        let weighed = || {
            self.of_person(said.person).into_iter().any(|(system, key)| {
                let states = &self.systems[system].records[&key].states;
                states.iter().map(|state| &state.cells[held.field]).any(|cell| cell.carries == act && saw(&cell.knows))
            })
        };
        saw(&said.knows) || weighed()
    }

    /// When the process may take an act to have been done: a CRM dates whole records, a store so a customer's own fields.
    fn dated(&self, act: &Act) -> i64 {
        let same = |other: &&Act| (other.system, other.key) == (act.system, act.key);
        let retyped = self.retyped.get(&(act.system, act.key)).copied();
        let newest = self.acts.iter().filter(same).map(|other| other.at).max().max(retyped);
        let by_record = self.systems[act.system].dates_by_record(act.field);
        if by_record { newest.unwrap_or(act.at) } else { act.at }
    }

    /// When what an act says was said first in its place: what came between may never have been seen.
    fn first_said(&self, act: usize) -> i64 {
        let said = &self.acts[act];
        let rule = &self.plan.fields[said.field - 1];
        let same = |other: &&Act| {
            (other.system, other.key, other.field) == (said.system, said.key, said.field)
                && compared(rule, other.value.as_deref()) == compared(rule, said.value.as_deref())
        };
        self.acts.iter().filter(same).map(|other| other.at).min().unwrap_or(said.at)
    }

    /// Whether two people said different things at the same moment, and neither's date can be taken for another's.
    fn is_tie(&self, held: usize, candidates: &[usize]) -> bool {
        const SAME_MOMENT_MS: i64 = 300;
        let alone = |act: &Act| self.dated(act) == act.at;
        // With more than two systems what is held here may have been decided elsewhere.
        let (faults, skews_ms) = (&self.plan.faults, &self.plan.skews_ms);
        let steady = self.systems.len() == 2
            && skews_ms.iter().all(|skew| *skew == 0)
            && faults.slow == 0
            && faults.late_commit == 0;
        let typed = |act: &Act| act.origin == Origin::Person && alone(act);
        let held = &self.acts[held];
        steady
            && typed(held)
            && candidates.iter().all(|act| {
                let act = &self.acts[*act];
                typed(act) && (act.at - held.at).abs() <= SAME_MOMENT_MS
            })
    }

    /// Both sides changed without knowing of each other: what the policy of the field says against this outcome.
    fn forbidden(
        &mut self,
        rule: &FieldRule,
        side: Side,
        candidates: &[usize],
        cell: &CellState,
        value: &Option<String>,
    ) -> Option<String> {
        if is_blank(rule, side, cell.value.as_deref()) {
            self.meet("fills, or edit beats clear");
            return None;
        }
        if rule.meaning() == Meaning::Consent {
            // What may be written at all was judged before.
            self.meet("a refusal goes over what it did not know");
            return None;
        }
        if value.is_none() {
            return Some("a clear beats an edit that it did not know".to_owned());
        }
        self.meet("conflict");
        let held = &self.acts[cell.carries];
        let at_first = held.origin == Origin::Beginning
            && candidates.iter().all(|act| self.acts[*act].origin == Origin::Beginning);
        match rule.conflict {
            Conflict::Hold => Some("the policy is to hold".to_owned()),
            // Who slipped off a list of members was seen to be in no segment: so much was agreed on.
            Conflict::Newest
                if at_first && rule.meaning() == Meaning::Membership && self.met.contains_key("hidden") =>
            {
                None
            }
            Conflict::Newest if at_first => Some("they had never met".to_owned()),
            Conflict::Store if side == Side::Store => Some("the store's value goes first".to_owned()),
            Conflict::Crm if side == Side::Crm => Some("the CRM's value goes first".to_owned()),
            Conflict::Newest if self.is_tie(cell.carries, candidates) => {
                Some("a tie is nobody's to resolve".to_owned())
            }
            Conflict::Newest => {
                let said = self.first_said(cell.carries);
                let later_ms = candidates.iter().map(|act| said - self.dated(&self.acts[*act])).min()?;
                (later_ms > NEWEST_TOLERANCE_MS).then(|| format!("what it replaces was said {later_ms} ms later"))
            }
            _ => None,
        }
    }
}

pub const fn into(direction: Direction) -> Option<Side> {
    match direction {
        Direction::Both => None,
        Direction::ToStore => Some(Side::Store),
        Direction::ToCrm => Some(Side::Crm),
    }
}
