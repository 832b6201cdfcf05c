//! One system: its records, each with every state it ever had, so that any past can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use attune::connector::Dating;
use attune::model::{FieldType, Timestamp, Value};

use super::World;
use super::resource::Resource;
use crate::oracle::compared;
use crate::plan::{Normalises, Plan};

/// Where what an act says comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was there when the record appeared.
    Beginning,
    /// A person typed it.
    Person,
}

/// What somebody else than us said of one field.
#[derive(Clone, Debug)]
pub struct Act {
    /// True time of what it is dated with.
    pub at: i64,
    pub origin: Origin,
    pub system: usize,
    pub key: u64,
    pub person: u64,
    pub field: usize,
    /// As it was stored.
    pub value: Option<String>,
    /// What had been said where it was made, itself included: all that it replaces.
    pub knows: Arc<BTreeSet<usize>>,
}

#[derive(Clone, Debug)]
pub struct CellState {
    pub value: Option<String>,
    /// The system's time.
    pub date: i64,
    pub id: u64,
    /// Counts every change of any cell of the system.
    pub version: u64,
    /// The act whose value it holds.
    pub carries: usize,
    /// The acts that were ever here, and those that what came here had replaced.
    pub knows: Arc<BTreeSet<usize>>,
    /// We wrote it.
    pub ours: bool,
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
    /// The record that carries on.
    pub merged_into: Option<u64>,
    pub states: Vec<State>,
}

impl Record {
    pub fn now(&self) -> &State {
        self.states.last().unwrap()
    }

    pub fn at(&self, time: i64) -> Option<&State> {
        self.states.iter().rev().find(|state| state.at <= time)
    }

    /// A cell as it was in this version.
    pub fn version(&self, field: usize, version: u64) -> Option<&CellState> {
        self.states.iter().rev().map(|state| &state.cells[field]).find(|cell| cell.version == version)
    }
}

pub struct System {
    pub number: usize,
    pub name: String,
    pub names: Vec<String>,
    /// What each field belongs to, and of what type it is.
    pub resources: Vec<Resource>,
    kinds: Vec<FieldType>,
    pub records: BTreeMap<u64, Record>,
    pub skew_ms: i64,
    pub whole_seconds: bool,
    pub in_flight: u32,
    pub is_crm: bool,
    normalises: Normalises,
    versions: u64,
}

impl System {
    pub fn all(plan: &Plan) -> Vec<Self> {
        let names = |email: &str, of: fn(&attune::model::FieldRule) -> String| {
            std::iter::once(email.to_owned()).chain(plan.fields.iter().map(of)).collect::<Vec<_>>()
        };
        let make = |number: usize| {
            let is_crm = number < plan.crms;
            let name = match (is_crm, number) {
                (true, 0) => "crm".to_owned(),
                (true, number) => format!("crm{}", number + 1),
                (false, number) => format!("store{}", number + 1 - plan.crms),
            };
            let names = if is_crm {
                names("email", |rule| rule.crm.clone())
            } else {
                names("customer:email", |rule| rule.store.clone())
            };
            let resource = |name: &String| if is_crm { Resource::Customer } else { Resource::of(name) };
            let kinds = std::iter::once(FieldType::String).chain(plan.fields.iter().map(|rule| rule.kind));
            Self {
                number,
                name,
                resources: names.iter().map(resource).collect(),
                kinds: kinds.collect(),
                names,
                records: BTreeMap::new(),
                skew_ms: plan.skews_ms[number],
                whole_seconds: !is_crm || plan.crm_whole_seconds,
                in_flight: 0,
                is_crm,
                normalises: if is_crm { plan.normalises } else { Normalises::Nothing },
                versions: 0,
            }
        };
        (0..plan.crms + plan.stores).map(make).collect()
    }

    /// Whether a field has no date but its record's: all of a CRM's, and a customer's own in a store.
    pub fn dates_by_record(&self, field: usize) -> bool {
        self.resources[field].dating() == Dating::Record
    }

    /// Whether a field is shown with its record, not by itself.
    pub fn is_own(&self, field: usize) -> bool {
        self.resources[field].dating() != Dating::Itself
    }

    /// The most calls that may be under way at once: three of each kind that writes to it. Metafields are deleted one by one,
    /// and a call is about one segment: so many calls come of what counts as one.
    pub fn calls_at_once(&self) -> u32 {
        let kinds: BTreeSet<(usize, u32)> = self.resources[1..]
            .iter()
            .map(|resource| {
                let calls = match resource {
                    Resource::Metafield => 10,
                    Resource::Segment | Resource::Segments => 50,
                    _ => 1,
                };
                (resource.destination().number, calls)
            })
            .collect();
        3 * kinds.iter().map(|(_, calls)| calls).sum::<u32>().max(1)
    }

    /// The system's own time.
    pub fn stamp(&self, now: i64) -> i64 {
        let time = now + self.skew_ms;
        if self.whole_seconds { time.div_euclid(1000) * 1000 } else { time }
    }

    pub fn clock(&self, now: i64) -> Timestamp {
        Timestamp::from_millis(self.stamp(now))
    }

    /// What is stored where this value is written.
    pub fn store(&self, field: usize, value: Option<String>) -> Option<String> {
        let value = value?;
        // Nobody is out of a segment but by not being in it.
        if self.resources[field] == Resource::Segment && value == "false" {
            return None;
        }
        if field == 0 || matches!(self.kinds[field], FieldType::Boolean | FieldType::List) {
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

    /// Changes one cell now. `date`: the system's time that it is dated with. `knows`: what comes with it.
    fn change(
        &mut self,
        (now, date): (i64, i64),
        (key, field): (u64, usize),
        value: Option<String>,
        carries: usize,
        knows: Arc<BTreeSet<usize>>,
        ours: bool,
    ) {
        self.versions += 1;
        let version = self.versions;
        let with_record = self.dates_by_record(field);
        let Some(record) = self.records.get_mut(&key) else { return };
        let mut state = record.now().clone();
        state.at = now;
        let before = &state.cells[field];
        let id = if before.value.is_some() { before.id } else { version };
        state.cells[field] = CellState { value, date, id, version, carries, knows, ours };
        if with_record {
            state.modified = date;
        }
        record.states.push(state);
    }

    /// Holds again what it held then. What was made since is gone, what was removed is back; dates are those of then.
    /// Answers the cells that changed.
    fn restore(&mut self, now: i64, then: i64) -> Vec<(u64, usize)> {
        let mut changed = Vec::new();
        for (key, record) in &mut self.records {
            let held = record.now().clone();
            let mut state = record.at(then).cloned().unwrap_or_else(|| State { gone: true, ..held.clone() });
            state.at = now;
            for (field, (cell, before)) in state.cells.iter_mut().zip(&held.cells).enumerate() {
                if cell.version != before.version || state.gone != held.gone {
                    self.versions += 1;
                    cell.version = self.versions;
                    changed.push((*key, field));
                }
            }
            if !state.gone {
                record.merged_into = None;
            }
            record.states.push(state);
        }
        changed
    }

    fn remove(&mut self, now: i64, key: u64, merged_into: Option<u64>) {
        let stamp = self.stamp(now);
        let Some(record) = self.records.get_mut(&key) else { return };
        let mut state = record.now().clone();
        (state.at, state.gone, state.modified) = (now, true, stamp);
        record.states.push(state);
        record.merged_into = merged_into;
    }
}

/// A value as the world keeps it: a list as JSON.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::List(items) => serde_json::to_string(items).unwrap(),
    }
}

impl World {
    /// A record appears, with what it holds at first.
    pub fn add(&mut self, now: i64, system: usize, key: u64, person: u64, values: &[Option<String>]) {
        let date = self.systems[system].stamp(now);
        let mut cells = Vec::new();
        for (field, value) in values.iter().enumerate() {
            let value = self.systems[system].store(field, value.clone());
            let number = self.acts.len();
            let knows = Arc::new(BTreeSet::from([number]));
            let origin = Origin::Beginning;
            let (value_then, known) = (value.clone(), Arc::clone(&knows));
            self.acts.push(Act { at: now, origin, system, key, person, field, value: value_then, knows: known });
            let system = &mut self.systems[system];
            system.versions += 1;
            let version = system.versions;
            cells.push(CellState { value, date, id: version, version, carries: number, knows, ours: false });
        }
        let state = State { at: now, gone: false, modified: date, cells };
        let record = Record { person, merged_into: None, states: vec![state] };
        self.systems[system].records.insert(key, record);
    }

    /// A record appears that we made. `carried`: the acts that its values carry; what nobody said begins here.
    pub fn add_made(
        &mut self,
        now: i64,
        system: usize,
        (key, person): (u64, u64),
        values: &[Option<String>],
        carried: &[Option<usize>],
    ) {
        let date = self.systems[system].stamp(now);
        let (mut sent, mut cells) = (Vec::new(), Vec::new());
        for (field, (value, carries)) in values.iter().zip(carried).enumerate() {
            let as_sent = value.clone();
            let value = self.systems[system].store(field, value.clone());
            let number = carries.unwrap_or_else(|| {
                let number = self.acts.len();
                let (knows, value) = (Arc::new(BTreeSet::from([number])), value.clone());
                self.acts.push(Act { at: now, origin: Origin::Beginning, system, key, person, field, value, knows });
                number
            });
            let knows = Arc::clone(&self.acts[number].knows);
            let target = &mut self.systems[system];
            target.versions += 1;
            let version = target.versions;
            let cell = CellState { value, date, id: version, version, carries: number, knows, ours: true };
            sent.push(CellState { value: as_sent, ..cell.clone() });
            cells.push(cell);
        }
        // What it was sent with stands for it until it is read.
        let states = [sent, cells].map(|cells| State { at: now, gone: false, modified: date, cells });
        self.systems[system].records.insert(key, Record { person, merged_into: None, states: states.into() });
    }

    /// A number that no call before has had.
    pub fn versions(&self) -> u64 {
        self.systems.iter().map(|system| system.versions).sum()
    }

    /// A person changes a field; it takes effect now, whenever it is dated.
    pub fn edit(&mut self, now: i64, system: usize, key: u64, field: usize, value: Option<String>, dated: i64) {
        let Some(record) = self.systems[system].records.get(&key).filter(|record| !record.now().gone) else { return };
        let (person, before) = (record.person, record.now().cells[field].clone());
        let number = self.acts.len();
        let value = self.systems[system].store(field, value);
        self.say(now, format!("person: {} {key} field {field} := {value:?}", self.systems[system].name));
        let date = self.systems[system].stamp(dated);
        self.stirred_at = now;
        if let Some(rule) = field.checked_sub(1).and_then(|at| self.plan.fields.get(at))
            && compared(rule, value.as_deref()) == compared(rule, before.value.as_deref())
        {
            // He says what is there already: nobody can tell, and whatever said it first still stands.
            self.retyped.insert((system, key), dated);
            let change = &mut self.systems[system];
            return change.change((now, date), (key, field), value, before.carries, before.knows, before.ours);
        }
        let mut knows = (*before.knows).clone();
        knows.insert(number);
        let knows = Arc::new(knows);
        let (then, known) = (value.clone(), Arc::clone(&knows));
        let act = Act { at: dated, origin: Origin::Person, system, key, person, field, value: then, knows: known };
        self.acts.push(act);
        self.systems[system].change((now, date), (key, field), value, number, knows, false);
    }

    /// A write of ours takes effect: it carries an act, and all that this act replaced is replaced here too.
    pub fn land(
        &mut self,
        (now, date): (i64, i64),
        system: usize,
        key: u64,
        field: usize,
        value: Option<String>,
        carries: usize,
    ) {
        let before = self.systems[system].records[&key].now().cells[field].clone();
        let knows = before.knows.union(&self.acts[carries].knows).copied().collect();
        let value = self.systems[system].store(field, value);
        self.systems[system].change((now, date), (key, field), value, carries, Arc::new(knows), true);
        self.stirred_at = now;
    }

    /// A record is removed, or merged into another.
    pub fn remove(&mut self, now: i64, system: usize, key: u64, merged_into: Option<u64>) {
        self.goings[system] += 1;
        self.systems[system].remove(now, key, merged_into);
    }

    /// A system is restored from a backup: what was said there since is lost, and not by us.
    pub fn restore(&mut self, now: i64, system: usize, then: i64) {
        let was_there: Vec<u64> =
            self.systems[system].records.iter().filter(|(_, record)| !record.now().gone).map(|(key, _)| *key).collect();
        let changed: BTreeSet<(u64, usize)> = self.systems[system].restore(now, then).into_iter().collect();
        let records = &self.systems[system].records;
        self.goings[system] += was_there.iter().filter(|key| records[key].now().gone).count() as u64;
        let lost = self.acts.iter().enumerate();
        let lost = lost.filter(|(_, act)| act.system == system && changed.contains(&(act.key, act.field)));
        self.lost_in_window.extend(lost.map(|(number, _)| number).collect::<Vec<_>>());
        self.restored = true;
        self.stirred_at = now;
        self.stir_all();
    }

    /// The true time of a stale read: at a second's edge where dates are whole seconds, for within a second nobody can
    /// tell the older of two values. Nor where our own write had left already and took effect later: its date is not told.
    pub fn past(&self, system: usize, time: i64) -> i64 {
        let clock = &self.systems[system];
        if !clock.whole_seconds {
            return time;
        }
        let edge = |time: i64| (time + clock.skew_ms).div_euclid(1000) * 1000 - clock.skew_ms - 1;
        let before = edge(time);
        let left = self.sent.iter().filter(|((target, ..), _)| *target == system).map(|(_, (sent, _))| *sent);
        let near = left.filter(|sent| (before - 2_000..=before + 1_000).contains(sent));
        near.min().map_or(before, |sent| edge(sent - 1_000))
    }

    /// Where a person is: system and key, also of records that are gone.
    pub fn of_person(&self, person: u64) -> Vec<(usize, u64)> {
        let of = |system: &System| {
            let keys = system.records.iter().filter(|(_, record)| record.person == person).map(|(key, _)| *key);
            keys.map(|key| (system.number, key)).collect::<Vec<_>>()
        };
        self.systems.iter().flat_map(of).collect()
    }

    /// What a cell holds now; none also where the record is gone.
    pub fn holds(&self, system: usize, key: u64, field: usize) -> Option<&str> {
        let state = self.systems[system].records.get(&key)?.now();
        if state.gone { None } else { state.cells[field].value.as_deref() }
    }
}
