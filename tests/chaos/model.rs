//! What must be true of every change that was made, and of what is there in the end.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::ledger::{Act, By, Cell, Change};
use crate::plan::{Field, Plan};

/// Everything that is known at rest.
pub struct Rest {
    pub changes: Vec<Change>,
    pub acts: Vec<Act>,
    pub values: BTreeMap<Cell, Option<String>>,
    pub history: Vec<Json>,
    pub held: Vec<Json>,
    /// It once took its checkpoint for an old one, and held whatever differed.
    pub behind: bool,
}

/// What a cell held, one after the other.
type Past = BTreeMap<Cell, Vec<Option<String>>>;

pub fn check(plan: &Plan, rest: &Rest) -> Vec<String> {
    let mut found = Vec::new();
    let mut past: Past = plan.cells().into_iter().map(|cell| (cell, vec![plan.initial(cell)])).collect();
    for change in &rest.changes {
        let states = past.get_mut(&change.cell).unwrap();
        if states.last() != Some(&change.old) {
            let name = named(plan, change.cell);
            found.push(format!("{name} held {:?} and not {:?}: a change that nobody noted", change.old, states.last()));
        }
        states.push(change.new.clone());
    }
    for (cell, value) in &rest.values {
        if past[cell].last() != Some(value) {
            found.push(format!("{} holds {value:?}: a change that nobody noted", named(plan, *cell)));
        }
    }
    let mut at: BTreeMap<Cell, usize> = BTreeMap::new();
    for (number, change) in rest.changes.iter().enumerate() {
        let state = at.entry(change.cell).or_insert(0);
        if let By::Attune { read_ms } = change.by {
            let written = Written { plan, rest, past: &past, change, number, state: *state, read_ms };
            written.judge(&mut found);
        }
        *state += 1;
    }
    history(plan, rest, &past, &mut found);
    agreement(plan, rest, &mut found);
    found
}

fn named(plan: &Plan, cell: Cell) -> String {
    format!("person {}, {}", cell.person, plan.name(cell))
}

/// The cells that a cell's values may come from and go to.
fn partners(plan: &Plan, cell: Cell) -> Vec<Cell> {
    let systems = if cell.system == 0 { 1..=plan.stores } else { 0..=0 };
    systems.map(|system| Cell { system, ..cell }).collect()
}

/// Whether a row of history is about this cell.
fn is_about(plan: &Plan, row: &Json, cell: Cell) -> bool {
    let (side, key) = if cell.system == 0 { ("crm", "crm_key") } else { ("store", "store_key") };
    let of_system = cell.system == 0 || row["store"] == crate::simulated::NAMES[cell.system - 1];
    let person = cell.person.to_string();
    of_system
        && row["side"] == side
        && row[key] == person.as_str()
        && row["field"] == plan.fields[cell.field].name().as_str()
}

/// A change that Attune made.
struct Written<'a> {
    plan: &'a Plan,
    rest: &'a Rest,
    past: &'a Past,
    change: &'a Change,
    number: usize,
    /// The place in the cell's past of what it replaced.
    state: usize,
    read_ms: Option<u64>,
}

impl Written<'_> {
    fn judge(&self, found: &mut Vec<String>) {
        let Change { cell, old, new, .. } = self.change;
        let what = format!("attune wrote {new:?} over {old:?} ({})", named(self.plan, *cell));
        let field: &Field = &self.plan.fields[cell.field];
        let into = if cell.system == 0 { "to_store" } else { "to_crm" };
        if field.direction == into {
            found.push(format!("{what}: against its direction"));
        }
        let recorded: Vec<&Json> = self
            .rest
            .history
            .iter()
            .filter(|row| is_about(self.plan, row, *cell) && row["new"].as_str() == new.as_deref())
            .collect();
        let replaced = self.may_have_known();
        if recorded.is_empty() {
            found.push(format!("{what}: history has no such write"));
        } else if !recorded.iter().any(|row| replaced.contains(&row["old"].as_str())) {
            found.push(format!("{what}: what it replaced is lost, it is not in history"));
        }
        let one_way = field.direction != "both";
        match new {
            Some(new) => self.judge_value(new, one_way, field, &what, found),
            None => self.judge_clear(one_way, &what, found),
        }
    }

    /// What Attune may have known that this cell held: what it did hold; and, where that came after the last read before
    /// this was sent (the window that no API closes), what it held before that.
    fn may_have_known(&self) -> Vec<Option<&str>> {
        let Change { cell, old, .. } = self.change;
        let mut known = vec![old.as_deref()];
        // A CRM's write is conditional.
        let (true, Some(read_ms)) = (cell.system > 0, self.read_ms) else { return known };
        let before = self.rest.changes[..self.number].iter().rev().filter(|change| change.cell == *cell);
        for Change { old, by, at_ms, .. } in before {
            let is_seen = at_ms.is_none_or(|at_ms| at_ms + self.plan.faults.lag_ms < read_ms);
            if is_seen || !matches!(by, By::Person(_)) {
                break;
            }
            known.push(old.as_deref());
        }
        known
    }

    fn judge_value(&self, new: &str, one_way: bool, field: &Field, what: &str, found: &mut Vec<String>) {
        let Change { cell, .. } = self.change;
        let holds = |states: &[Option<String>]| states.iter().any(|state| state.as_deref() == Some(new));
        if !partners(self.plan, *cell).iter().any(|partner| holds(&self.past[partner])) {
            found.push(format!("{what}: nobody on the other side ever said that"));
        }
        let typed = self.rest.acts.iter().filter(|act| act.value.as_deref() == Some(new)).count();
        let replaced = self.may_have_known();
        if self.met_for_the_first_time() || self.carries_what_came_back(new, &replaced) {
            return;
        }
        let refilled = replaced.contains(&None)
            && (field.on_clear == "restore" || typed == 0 && !self.plan.settled_first || self.was_cut_off(new));
        // An edit that came after a write that was cut off looks as if it had come instead of it: a conflict, by the policy.
        let mut rows = self.rest.history.iter().filter(|row| is_about(self.plan, row, *cell) && row["new"] == new);
        let conflict = rows.any(|row| row["reason"] == "conflict" && replaced.contains(&row["old"].as_str()));
        let undecided = conflict && self.was_cut_off(new);
        if holds(&self.past[cell][..self.state]) && !one_way && !refilled && !undecided && typed < 2 {
            found.push(format!("{what}: it was replaced there, and comes back"));
        }
    }

    /// Whether such a write was cut off before: nobody knows of one whether what was seen next came after it or instead of it.
    fn was_cut_off(&self, new: &str) -> bool {
        let mut rows = self.rest.history.iter().filter(|row| is_about(self.plan, row, self.change.cell));
        rows.any(|row| row["new"] == new && row["outcome"] == "unknown")
    }

    /// Whether this only carries over a value that had come back on the other side before: that is judged there.
    fn carries_what_came_back(&self, new: &str, replaced: &[Option<&str>]) -> bool {
        let cell = self.change.cell;
        let history = &self.rest.history;
        let writes =
            |row: &Json, cell: Cell| is_about(self.plan, row, cell) && row["new"] == new && row["outcome"] != "refused";
        let is_this = |row: &Json| writes(row, cell) && replaced.contains(&row["old"].as_str());
        let Some(at) = history.iter().position(is_this) else { return false };
        let came_back = |partner: Cell| {
            let first = self.past[&partner].iter().position(|state| state.as_deref() == Some(new));
            let mut changes = self.rest.changes.iter().filter(|change| change.cell == partner);
            let was_ours = match first {
                None => return false,
                Some(0) => false,
                Some(state) => changes.nth(state - 1).is_some_and(|change| matches!(change.by, By::Attune { .. })),
            };
            // History is newest first. The first time it came there, if we carried it there, is no return.
            let before = history[at + 1..].iter().filter(|row| writes(row, partner)).count();
            before > usize::from(was_ours)
        };
        partners(self.plan, cell).into_iter().any(came_back)
    }

    /// Whether the two sides had never agreed in this field: then the policy says whose value stands, and what is absent is
    /// filled, whatever was held there before. Only where no pass had gone through, and history knows of nothing written in
    /// this field before.
    fn met_for_the_first_time(&self) -> bool {
        let change = self.change;
        if self.plan.settled_first {
            return false;
        }
        let mut rows = self.rest.history.iter().enumerate();
        let row = rows.find(|(_, row)| {
            is_about(self.plan, row, change.cell)
                && (row["reason"] == "first meeting" || row["reason"] == "filled")
                && self.may_have_known().contains(&row["old"].as_str())
                && row["new"].as_str() == change.new.as_deref()
        });
        let Some((at, row)) = row else { return false };
        let same_link = |other: &Json| ["store", "store_key", "field"].iter().all(|name| other[name] == row[name]);
        // History is newest first.
        !self.rest.history[at + 1..].iter().any(|other| same_link(other) && other["outcome"] == "written")
    }

    /// A clear is carried over only to what whoever cleared it knew.
    fn judge_clear(&self, one_way: bool, what: &str, found: &mut Vec<String>) {
        let replaced = self.may_have_known();
        let knew = |partner: &Cell| {
            let states = &self.past[partner];
            let held = states.iter().position(|state| replaced.contains(&state.as_deref()));
            held.is_some_and(|held| states[held..].iter().any(Option::is_none))
        };
        if !one_way && !partners(self.plan, self.change.cell).iter().any(knew) {
            found.push(format!("{what}: who cleared it did not know what it held"));
        }
    }
}

/// What history says was written was there.
fn history(plan: &Plan, rest: &Rest, past: &Past, found: &mut Vec<String>) {
    for row in rest.history.iter().filter(|row| row["outcome"] == "written") {
        let Some(cell) = plan.cells().into_iter().find(|cell| is_about(plan, row, *cell)) else {
            found.push(format!("history is about nobody: {row}"));
            continue;
        };
        if !past[&cell].iter().any(|state| state.as_deref() == row["new"].as_str()) {
            found.push(format!("history has a write that never arrived: {row}"));
        }
    }
}

/// Both sides agree in every field that is neither held nor kept; what is held is held with what is there.
fn agreement(plan: &Plan, rest: &Rest, found: &mut Vec<String>) {
    for (cell, stored) in rest.values.iter().filter(|(cell, _)| cell.system > 0) {
        let contact = &rest.values[&Cell { system: 0, ..*cell }];
        let field = &plan.fields[cell.field];
        let person = cell.person.to_string();
        let held = rest.held.iter().find(|held| {
            held["store"] == crate::simulated::NAMES[cell.system - 1]
                && held["store_key"] == person.as_str()
                && held["field"] == field.name().as_str()
        });
        let what = format!("{}: {stored:?} here, {contact:?} in the CRM", named(plan, *cell));
        if let Some(held) = held {
            let shown = (held["store_value"].as_str(), held["crm_value"].as_str());
            if shown != (stored.as_deref(), contact.as_deref()) {
                found.push(format!("{what}: held with other values, {held}"));
            }
            let undecided = ["newest", "hold"].contains(&field.conflict) || field.on_clear == "hold";
            let may = match held["reason"].as_str() {
                Some("conflict") => undecided || rest.behind,
                // Where people type the same on both sides too often, the checkpoint looks as if it had been restored.
                Some("first meeting") => ["newest", "hold"].contains(&field.conflict) || rest.behind,
                // Restored again and again, or carried to and fro by people.
                Some("oscillating") => true,
                Some("two writers") => plan.stores > 1,
                _ => false,
            };
            if !may {
                found.push(format!("{what}: held without cause, {held}"));
            }
            continue;
        }
        let source_is_empty = match field.direction {
            "to_store" => contact.is_none(),
            "to_crm" => stored.is_none(),
            _ => false,
        };
        if stored != contact && !source_is_empty {
            found.push(format!("{what}: they do not agree"));
        }
    }
    for held in rest.held.iter().filter(|held| held["field"].is_null()) {
        found.push(format!("a record is held: {held}"));
    }
}
