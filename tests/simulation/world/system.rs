//! One system: its records, each with every state it ever had, so that any past can be read.

use std::collections::BTreeMap;

use attune::model::{Side, Timestamp};

use super::{CRM, Edit, World};
use crate::plan::{Normalises, Plan, QUARANTINE_MS, REPLICA_LAG_MS};

/// Who wrote a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    Beginning,
    /// The edit's number.
    Person(usize),
    Us,
}

#[derive(Clone, Debug)]
pub struct CellState {
    pub value: Option<String>,
    /// The system's time.
    pub date: i64,
    pub id: u64,
    /// Counts every change of any cell of the system.
    pub version: u64,
    pub author: Author,
}

#[derive(Clone, Debug)]
pub struct State {
    /// True time from which this is what the system holds.
    pub at: i64,
    pub gone: bool,
    /// The system's time.
    pub modified: i64,
    /// The e-mail first, then the mapped fields.
    pub cells: Vec<CellState>,
}

pub struct Record {
    pub person: u64,
    pub states: Vec<State>,
}

impl Record {
    pub fn now(&self) -> &State {
        self.states.last().unwrap()
    }

    pub fn at(&self, time: i64) -> Option<&State> {
        self.states.iter().rev().find(|state| state.at <= time)
    }
}

pub struct System {
    pub number: usize,
    pub name: String,
    pub names: Vec<String>,
    pub records: BTreeMap<u64, Record>,
    pub skew_ms: i64,
    pub whole_seconds: bool,
    pub in_flight: u32,
    pub normalises: Normalises,
    versions: u64,
}

impl System {
    pub fn all(plan: &Plan) -> Vec<Self> {
        let make = |number: usize, names: Vec<String>| Self {
            number,
            name: if number == CRM { "crm".to_owned() } else { format!("store{number}") },
            names,
            records: BTreeMap::new(),
            skew_ms: plan.skews_ms[number],
            whole_seconds: number != CRM || plan.crm_whole_seconds,
            in_flight: 0,
            normalises: if number == CRM { plan.normalises } else { Normalises::Nothing },
            versions: 0,
        };
        let names = |email: &str, of: fn(&attune::model::FieldRule) -> String| {
            std::iter::once(email.to_owned()).chain(plan.fields.iter().map(of)).collect::<Vec<_>>()
        };
        let mut systems = vec![make(CRM, names("email", |rule| rule.crm.clone()))];
        systems
            .extend((1..=plan.stores).map(|number| make(number, names("customer:email", |rule| rule.store.clone()))));
        systems
    }

    /// The system's own time.
    pub fn stamp(&self, now: i64) -> i64 {
        let time = now + self.skew_ms;
        if self.whole_seconds { time.div_euclid(1000) * 1000 } else { time }
    }

    pub fn clock(&self, now: i64) -> Timestamp {
        Timestamp::from_millis(self.stamp(now))
    }

    /// The true time of a stale read: at a second's edge where dates are whole seconds, for within a second nobody can
    /// tell the older of two values.
    pub fn past(&self, time: i64) -> i64 {
        if self.whole_seconds { (time + self.skew_ms).div_euclid(1000) * 1000 - self.skew_ms - 1 } else { time }
    }

    /// What is stored where this value is written.
    pub fn store(&self, field: usize, value: Option<String>) -> Option<String> {
        let value = value?;
        if field == 0 {
            return Some(value);
        }
        Some(match self.normalises {
            Normalises::Nothing => value,
            Normalises::Trims => value.trim().to_owned(),
            Normalises::Numbers if value.contains('.') => value.trim_end_matches('0').trim_end_matches('.').to_owned(),
            Normalises::Numbers => value,
            Normalises::Truncates => value.chars().take(6).collect(),
        })
    }

    /// Changes one cell now. `date`: the system's time that it is dated with.
    pub fn change(&mut self, now: i64, key: u64, field: usize, value: Option<String>, date: i64, author: Author) {
        self.versions += 1;
        let version = self.versions;
        let value = self.store(field, value);
        let is_crm = self.number == CRM;
        let Some(record) = self.records.get_mut(&key) else { return };
        let mut state = record.now().clone();
        state.at = now;
        let id = if state.cells[field].value.is_some() { state.cells[field].id } else { version };
        state.cells[field] = CellState { value, date, id, version, author };
        if is_crm || field == 0 {
            state.modified = date;
        }
        record.states.push(state);
    }

    pub fn remove(&mut self, now: i64, key: u64) {
        let stamp = self.stamp(now);
        let Some(record) = self.records.get_mut(&key) else { return };
        let mut state = record.now().clone();
        (state.at, state.gone, state.modified) = (now, true, stamp);
        record.states.push(state);
    }

    pub fn add(&mut self, now: i64, key: u64, person: u64, values: Vec<Option<String>>, author: Author) {
        let date = self.stamp(now);
        let mut cells = Vec::new();
        for (field, value) in values.into_iter().enumerate() {
            self.versions += 1;
            let version = self.versions;
            cells.push(CellState { value: self.store(field, value), date, id: version, version, author });
        }
        let state = State { at: now, gone: false, modified: date, cells };
        self.records.insert(key, Record { person, states: vec![state] });
    }
}

impl World {
    /// People as contacts, and as customers of one store or of several; what they hold at first is somebody's too.
    pub fn populate(&mut self) {
        let begin = super::BEGIN_MS - 3_600_000;
        let mut number = 0;
        for person in 1..=self.plan.people {
            let mut random = self.decide("person", &person.to_string());
            let email = format!("P{person}@example.com");
            let mut systems = vec![CRM, 1 + usize::try_from(random.below(self.plan.stores as u64)).unwrap()];
            let shared = self.plan.shared;
            systems.extend((1..=self.plan.stores).filter(|_| random.chance(shared)));
            systems.sort_unstable();
            systems.dedup();
            for system in systems {
                let key = u64::try_from(system).unwrap() * 1000 + person;
                let mut values = vec![Some(email.clone())];
                for field in 1..self.systems[system].names.len() {
                    // Most begin equal or with one side empty; a few differ when they first meet.
                    let value = match random.below(10) {
                        0..4 => Some(self.initial(person, field)),
                        4..9 => None,
                        _ => {
                            number += 1;
                            Some(self.value(field, 900 + number))
                        }
                    };
                    values.push(value);
                }
                self.systems[system].add(begin, key, person, values.clone(), Author::Beginning);
            }
        }
    }

    fn initial(&self, person: u64, field: usize) -> String {
        self.value(field, 500 + person * 10 + field as u64)
    }

    /// A value of the field's type that nobody has used.
    pub fn value(&self, field: usize, number: u64) -> String {
        match self.plan.fields[field - 1].kind {
            attune::model::FieldType::Number if number.is_multiple_of(5) => format!("{number}.125"),
            attune::model::FieldType::Number => format!("{number}.50"),
            _ if number.is_multiple_of(5) => format!("v{number} at length"),
            _ if number.is_multiple_of(7) => format!(" v{number} "),
            _ => format!("v{number}"),
        }
    }

    /// A person changes a field; it takes effect now, whenever it is dated.
    pub fn edit(&mut self, now: i64, system: usize, key: u64, field: usize, value: Option<String>, date: i64) {
        if self.systems[system].records.get(&key).is_none_or(|record| record.now().gone) {
            return;
        }
        let number = self.edits.len();
        let value = self.systems[system].store(field, value);
        self.say(now, format!("person: {} {key} field {field} := {value:?}", self.systems[system].name));
        let alone = self.everybody_agreed(now, system, key, field);
        self.edits.push(Edit { system, key, field, value: value.clone(), alone });
        self.systems[system].change(now, key, field, value, date, Author::Person(number));
    }

    /// Whether all who hold this person's field hold the same, and the process has seen that and finished with it.
    fn everybody_agreed(&self, now: i64, system: usize, key: u64, field: usize) -> bool {
        if field == 0 || self.plan.deletions + self.plan.duplicates > 0 {
            return false;
        }
        let person = self.systems[system].records[&key].person;
        let lag = if self.misses_injected { REPLICA_LAG_MS } else { 0 };
        let mut held = Vec::new();
        for (other, key) in self.of_person(person) {
            let record = &self.systems[other].records[&key];
            let version = record.now().cells[field].version;
            let changed = record.states.iter().find(|state| state.cells[field].version == version);
            let since = changed.map_or(0, |state| state.at);
            let under_way = self.unknown.get(&(other, key, field)).is_some_and(|at| now < at + QUARANTINE_MS);
            if under_way {
                return false;
            }
            for place in self.of_person(person).into_iter().filter(|(store, _)| *store != CRM) {
                let linked = self.linked.get(&place).copied().unwrap_or(i64::MAX - lag);
                if since.max(linked) + lag > self.passed[place.0] {
                    return false;
                }
            }
            let rule = &self.plan.fields[field - 1];
            held.push(crate::oracle::compared(rule, Self::side(other), self.holds(other, key, field)));
        }
        held.windows(2).all(|two| two[0] == two[1])
    }

    /// Where a person is: system and key.
    pub fn of_person(&self, person: u64) -> Vec<(usize, u64)> {
        (0..self.systems.len()).filter_map(|system| Some((system, self.key_of(system, person)?))).collect()
    }

    /// What a cell holds now; none also where the record is gone.
    pub fn holds(&self, system: usize, key: u64, field: usize) -> Option<&str> {
        let state = self.systems[system].records.get(&key)?.now();
        if state.gone { None } else { state.cells[field].value.as_deref() }
    }

    /// The key of a person at a system.
    pub fn key_of(&self, system: usize, person: u64) -> Option<u64> {
        self.systems[system].records.iter().find(|(_, record)| record.person == person).map(|(key, _)| *key)
    }

    pub fn system_named(&self, side: Side, name: &str) -> usize {
        self.systems.iter().position(|system| system.name == name && Self::side(system.number) == side).unwrap()
    }
}
