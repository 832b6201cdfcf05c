//! All that happened, as it is known for certain: what every cell held after every change, who made it, and a story of
//! the rest. People act through here; what Attune changed is seen on the wire (stores) or by a trigger (the CRM).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// One value: a field of a person in a system. System 0 is the CRM, the others are stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub system: usize,
    pub person: u64,
    pub field: usize,
}

/// Who made a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The number of the act.
    Person(usize),
    /// Attune. In a store: when its last read of that value had begun (ms); none: it had never read it.
    Attune { read_ms: Option<u64> },
}

/// A cell got another value.
#[derive(Clone, Debug)]
pub struct Change {
    pub cell: Cell,
    pub old: Option<String>,
    pub new: Option<String>,
    pub by: By,
    /// In a store: when it had been made at the latest.
    pub at_ms: Option<u64>,
}

/// A person's edit.
#[derive(Clone, Debug)]
pub struct Act {
    pub cell: Cell,
    pub value: Option<String>,
}

#[derive(Debug, Default)]
struct Known {
    acts: Vec<Act>,
    changes: Vec<Change>,
    /// When a field of a person last changed somewhere, as far as that is seen at once.
    touched: BTreeMap<(u64, usize), u64>,
    story: Vec<(u64, String)>,
    violations: Vec<String>,
    met: BTreeMap<String, u64>,
}

#[derive(Debug)]
pub struct Ledger {
    began: Instant,
    known: Mutex<Known>,
}

impl Ledger {
    pub fn new() -> Self {
        Self { began: Instant::now(), known: Mutex::default() }
    }

    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A person is about to edit: the act's number.
    pub fn begin(&self, cell: Cell, value: Option<String>) -> usize {
        let mut known = self.known();
        known.acts.push(Act { cell, value });
        known.acts.len() - 1
    }

    /// The edit is made.
    pub fn end(&self, act: usize, name: &str) {
        let now = self.now_ms();
        let mut known = self.known();
        let Act { cell, value } = known.acts[act].clone();
        let Cell { person, field, .. } = cell;
        known.touched.insert((person, field), now);
        known.story.push((now, format!("act {act}: person {person}, {name} := {value:?}")));
    }

    /// A cell of a store has just changed.
    pub fn changed(&self, cell: Cell, old: Option<String>, new: Option<String>, by: By) {
        let now = self.now_ms();
        let mut known = self.known();
        known.touched.insert((cell.person, cell.field), now);
        known.changes.push(Change { cell, old, new, by, at_ms: Some(now) });
    }

    /// When somebody, or Attune in a store, last changed this field of this person.
    pub fn touched_ms(&self, cell: Cell) -> Option<u64> {
        self.known().touched.get(&(cell.person, cell.field)).copied()
    }

    /// Something to be told when it fails.
    pub fn tell(&self, what: impl Into<String>) {
        let now = self.now_ms();
        self.known().story.push((now, what.into()));
    }

    /// Something that happens in this world happened: counted, to prove that it does.
    pub fn meet(&self, what: &str) {
        *self.known().met.entry(what.to_owned()).or_default() += 1;
    }

    /// Something that must never happen.
    pub fn violate(&self, what: impl Into<String>) {
        let what = what.into();
        self.tell(format!("VIOLATION: {what}"));
        self.known().violations.push(what);
    }

    pub fn acts(&self) -> Vec<Act> {
        self.known().acts.clone()
    }

    pub fn changes(&self) -> Vec<Change> {
        self.known().changes.clone()
    }

    pub fn violations(&self) -> Vec<String> {
        self.known().violations.clone()
    }

    pub fn met(&self) -> BTreeMap<String, u64> {
        self.known().met.clone()
    }

    pub fn story(&self) -> String {
        let mut story = self.known().story.clone();
        story.sort_by_key(|(at, _)| *at);
        story.iter().map(|(at, what)| format!("{at:>6} ms  {what}\n")).collect()
    }
}
