//! What a seed makes of the world: who is there, under which rules, and what goes wrong how often.

use crate::random::Random;

/// One mapped field and its rules.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub store: &'static str,
    pub column: &'static str,
    pub number: bool,
    pub conflict: &'static str,
    pub on_clear: &'static str,
    pub direction: &'static str,
}

impl Field {
    /// As history names it.
    pub fn name(&self) -> String {
        format!("attribute:{}", self.store)
    }
}

/// How the binary is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// `attune run`, with a `sync` beside it now and then.
    Daemon,
    /// `attune sync`, again and again, as a timer would.
    OneShots,
}

/// Which parts of the world go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// `kill -9` at random, so many times in a thousand turns of whoever operates Attune.
    pub kills: u64,
    /// At a point of a call: killed, cut, delayed or truncated, so many times in a thousand points.
    pub strikes: u64,
    /// Stopped with SIGSTOP, so many times in a thousand turns.
    pub pauses: u64,
    /// The checkpoint's disk is full for a while.
    pub full_disk: bool,
    /// Attune's clock is stepped.
    pub steps: bool,
    /// Somebody locks the CRM's table for a moment.
    pub locks: bool,
    /// How far the store's lists lag behind.
    pub lag_ms: u64,
    /// How far the store's clock is ahead.
    pub skew_ms: i64,
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub postgres: bool,
    pub running: Running,
    pub stores: usize,
    pub people: u64,
    pub fields: Vec<Field>,
    /// Edits are so far apart on average.
    pub gap_ms: u64,
    /// So long people and faults are at work.
    pub havoc_ms: u64,
    /// One pass goes through before anything goes wrong: everything is agreed on, where it can be.
    pub settled_first: bool,
    pub poll_ms: u64,
    /// Sweeps every few seconds.
    pub sweeps: bool,
    /// The store has a quota that is soon used up.
    pub quota: bool,
    /// A value that is edited changes its customer's date, so that feeds show what is cleared.
    pub touches: bool,
    pub faults: Faults,
}

/// Stores date in whole seconds.
pub const A_SECOND_MS: u64 = 1_000;

/// What a write of unknown outcome is waited for. Longer than the longest delay of a call, a pause and a late arrival together.
pub const QUARANTINE_MS: u64 = 2_000;
/// The latest that a write arrives after it left: no later than Attune was told to wait for it, however busy the machine is.
pub const LATE_MAX_MS: u64 = QUARANTINE_MS / 3;
pub const REPLICA_LAG_MS: u64 = 1_000;

const NAMES: [(&str, &str, bool); 4] =
    [("Title", "title", false), ("Grade", "grade", false), ("Note", "note", false), ("Points", "points", true)];

impl Plan {
    pub fn of(seed: u64, postgres: bool) -> Self {
        let mut random = Random::keyed(seed, &[1]);
        let fields = NAMES.map(|(store, column, number)| Field {
            store,
            column,
            number,
            conflict: random.pick::<&str>(&["newest", "newest", "store", "crm", "hold"]),
            on_clear: random.pick::<&str>(&["propagate", "propagate", "propagate", "restore", "hold"]),
            direction: random.pick::<&str>(&["both", "both", "both", "both", "both", "both", "to_store", "to_crm"]),
        });
        let mut often = |most: u64| if random.chance(650) { 1 + random.below(most) } else { 0 };
        let (kills, strikes, pauses) = (often(600), often(80), often(250));
        let steps = random.chance(250);
        let lags = random.chance(250);
        let faults = Faults {
            kills,
            // A clock that jumps ahead ends a quarantine early: nothing may arrive late then.
            strikes: if steps { 0 } else { strikes },
            pauses: if steps { 0 } else { pauses },
            full_disk: random.chance(300),
            steps,
            locks: random.chance(300),
            // Nor may what a read shows be older than the clock says.
            lag_ms: if lags && !steps { 100 + random.below(200) } else { 0 },
            skew_ms: if random.chance(250) { random.between(-3_000, 3_000) } else { 0 },
        };
        Self {
            seed,
            // Drawn in any case: a seed is the same history where there is no PostgreSQL.
            postgres: random.chance(400) && postgres,
            running: *random.pick(&[Running::Daemon, Running::Daemon, Running::OneShots]),
            stores: if random.chance(350) { 2 } else { 1 },
            people: 4 + random.below(9),
            fields: fields.to_vec(),
            gap_ms: 10 + random.below(90),
            // With a lag people take their time.
            havoc_ms: (2_000 + random.below(1_500)) * if faults.lag_ms > 0 { 2 } else { 1 },
            settled_first: random.chance(750),
            poll_ms: *random.pick(&[50, 200, 500]),
            sweeps: random.chance(300),
            quota: random.chance(250),
            touches: random.chance(500),
            faults,
        }
    }

    /// A calm world of one store whose fields have these rules: for what is done on purpose, step by step.
    pub fn calm(seed: u64, postgres: bool) -> Self {
        let rules = [("newest", "propagate"), ("store", "propagate"), ("crm", "propagate"), ("hold", "restore")];
        let fields = NAMES.iter().zip(rules).map(|((store, column, number), (conflict, on_clear))| Field {
            store,
            column,
            number: *number,
            conflict,
            on_clear,
            direction: "both",
        });
        Self {
            seed,
            postgres,
            running: Running::OneShots,
            stores: 1,
            people: 6,
            fields: fields.collect(),
            gap_ms: 0,
            havoc_ms: 0,
            settled_first: true,
            poll_ms: 200,
            sweeps: false,
            quota: false,
            touches: true,
            faults: Faults::default(),
        }
    }

    /// A value of a field's type that nobody else uses.
    pub fn value(&self, field: usize, number: usize) -> String {
        if self.fields[field].number { format!("{}", 10 * number + 5) } else { format!("v{number} of {}", self.seed) }
    }

    /// What a cell holds at first: most agree or have one side empty, a few differ.
    pub fn initial(&self, cell: crate::ledger::Cell) -> Option<String> {
        let (person, field) = (cell.person, cell.field as u64);
        let kind = Random::keyed(self.seed, &[7, person, field]).below(20);
        let number = usize::try_from(100_000 + person * 100 + field * 10).unwrap();
        match kind {
            0..8 => Some(self.value(cell.field, number)),
            8..12 => (cell.system == 0).then(|| self.value(cell.field, number)),
            12..16 => (cell.system == 1).then(|| self.value(cell.field, number)),
            16..18 => None,
            _ => Some(self.value(cell.field, number + 1 + cell.system)),
        }
    }

    pub fn cells(&self) -> Vec<crate::ledger::Cell> {
        let mut cells = Vec::new();
        for system in 0..=self.stores {
            for person in 1..=self.people {
                cells.extend((0..self.fields.len()).map(|field| crate::ledger::Cell { system, person, field }));
            }
        }
        cells
    }

    /// How a cell is called in a story.
    pub fn name(&self, cell: crate::ledger::Cell) -> String {
        let system = ["CRM", "acme", "bolt"][cell.system];
        format!("{} in {system}", self.fields[cell.field].store)
    }
}
