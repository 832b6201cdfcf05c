//! One pass, one sweep: the only room that knows connectors, merge and checkpoint together.
//!
//! Generic over clock, connectors and checkpoint, so that whole histories run in simulation. It repeats no write, and
//! keeps no state of its own between passes: what is left to do is computed, every time, from what each side was seen
//! to hold and what was agreed.
//!
//! Must not know: BigCommerce, SQL, HTTP, configuration files, the command line.

mod ability;
mod attach;
mod balance;
mod behind;
mod by_key;
#[cfg(test)]
mod by_key_test;
mod clock;
mod conclude;
mod create;
mod decide;
mod error;
mod forget;
mod link;
mod observe;
mod operate;
mod pass;
mod plan;
mod pull;
mod push;
mod rails;
mod read_back;
mod remove;
mod report;
mod resolve;
mod survey;
mod tidy;
mod undo;
mod unlink;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use ability::inability;
pub use attach::{PairSettings, SourceSettings, folds_case};
pub use balance::Balance;
pub use clock::{Clock, SystemClock};
pub use error::Error;
pub use operate::{Answer, HeldAction, HeldSelection, Request};
pub use pass::{PassOptions, PassReport, Standing};
pub use plan::{Cost, PlanLine, PlanSink, PlanTotals, Planned};
pub use pull::{Pulled, Reach};
pub use read_back::ReadBack;
pub use report::{Explained, ExplainedField, LinkReport, LinkStanding, LinkState, PairStatus, next_step, rails_of};
pub use undo::{LeftAlone, UndoLine, UndoSelection, UndoTotals};

use crate::checkpoint::{Checkpoint, Cursor, SeenRecord};
use crate::connector::{Connector, Dating};
use crate::merge;
use crate::model::{DefinitionState, Direction, FieldRule, FieldShape, Mapping, Mode, Rails, Side, Timestamp, Value};
use crate::telemetry;

/// Every read of a feed begins this much before the cursor: whole-second times, and whether a bound includes its own
/// second, make no difference.
pub(crate) const OVERREACH: Duration = Duration::from_secs(2);

/// Links and records looked at with one set of statements.
pub(crate) const CHUNK: usize = 1000;

/// What runs passes and reads.
#[derive(Clone)]
pub struct Engine {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stop: CancellationToken,
}

/// How a source is read.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How far reads reach back behind the cursor, at start and once in this time.
    pub overlap: Duration,
    /// How long a write of unknown outcome may still take effect.
    pub quarantine: Duration,
    /// How old a read may be.
    pub replica_lag: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            overlap: Duration::from_secs(300),
            quarantine: Duration::from_secs(120),
            replica_lag: Duration::from_secs(60),
        }
    }
}

/// One field of a source, as the engine uses it.
#[derive(Clone, Debug)]
pub(crate) struct SourceField {
    pub id: i64,
    pub name: String,
    pub dating: Dating,
}

/// How a source defines one of its fields now.
#[derive(Clone, Debug)]
pub(crate) struct Defined {
    pub shape: FieldShape,
    pub definition: Option<String>,
    pub changed: Option<String>,
    pub to_create: bool,
}

/// A store or CRM that was reached: who it is is known, and its fields are found.
pub struct Source {
    /// Its id in the checkpoint.
    pub id: i64,
    /// Its side.
    pub side: Side,
    /// Its label.
    pub name: String,
    /// What the system says it is.
    pub(crate) identity: String,
    /// How it is read.
    pub times: Times,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) fields: Vec<SourceField>,
    /// Fields by which links are found, and whether letter case counts in them.
    pub(crate) match_fields: Vec<(i64, bool)>,
    pub(crate) defined: RwLock<Vec<Defined>>,
    /// A field is new to the mapping, or to the rules of matching: everything must be read before anything is decided.
    pub(crate) must_sweep: AtomicBool,
    pub(crate) must_index: AtomicBool,
    /// Only linked records are known, and those that unlinked customers were found to be: see [`by_key`].
    pub(crate) by_key: AtomicBool,
    /// The first read of a feed in this process reaches back the whole overlap.
    pub(crate) started: AtomicBool,
    /// The pairs that it is a side of.
    pub(crate) pairs: Mutex<Vec<Weak<Pair>>>,
    /// Writes of several pairs take turns, a round each.
    pub(crate) lane: tokio::sync::Mutex<()>,
    pub(crate) calls: AtomicU64,
    /// Theirs: up to when all of its feeds have been read; none before the first read.
    pub(crate) covered: Mutex<Option<Timestamp>>,
    /// Its clock minus ours, in milliseconds.
    pub(crate) offset_ms: AtomicI64,
    /// It has told its time to this process: what an earlier one knew of it was by another clock of ours.
    pub(crate) told_time: AtomicBool,
}

impl Source {
    /// As events name it.
    pub fn event(&self) -> telemetry::Source<'_> {
        telemetry::Source::of(self.side, &self.name)
    }

    pub(crate) fn error(&self, failure: crate::model::Failure) -> Error {
        Error::Source { side: self.side, name: self.name.clone(), failure: Box::new(failure) }
    }

    pub(crate) fn reindexes(&self) -> bool {
        self.must_index.load(Ordering::SeqCst)
    }

    /// Whether it is a CRM whose records can be found by what they hold: it may not have to be read whole.
    pub(crate) fn finds_by_value(&self) -> bool {
        self.side == Side::Crm && self.connector.lookup().is_some()
    }

    /// Where a field stands among the connector's.
    pub(crate) fn place(&self, field: i64) -> Option<usize> {
        self.fields.iter().position(|known| known.id == field)
    }

    /// What tells when a field changed.
    pub(crate) fn dating(&self, field: i64) -> Dating {
        self.fields.iter().find(|known| known.id == field).map_or(Dating::Nothing, |known| known.dating)
    }

    pub(crate) fn is_match_field(&self, field: i64) -> bool {
        self.match_fields.iter().any(|(id, _)| *id == field)
    }

    /// The values by which a record is found, in the form in which they are compared.
    pub(crate) fn match_values(&self, seen: &SeenRecord) -> Vec<(i64, String)> {
        self.match_fields
            .iter()
            .filter_map(|(field, fold)| Some((*field, comparable(seen.value(*field)?, *fold)?)))
            .collect()
    }

    pub(crate) fn defined(&self, field: usize) -> Option<Defined> {
        self.defined.read().unwrap_or_else(PoisonError::into_inner).get(field).cloned()
    }

    pub(crate) fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Up to when all of its feeds have been read.
    pub(crate) fn covered(&self) -> Option<Timestamp> {
        *self.covered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cover(&self, cursors: &BTreeMap<String, Cursor>) {
        let covered = cursors.values().map(|cursor| cursor.at).min();
        *self.covered.lock().unwrap_or_else(PoisonError::into_inner) = covered;
    }

    pub(crate) fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// A time of ours as its clock shows it.
    pub(crate) fn their_time(&self, ours: Timestamp) -> Timestamp {
        Timestamp::from_millis(ours.as_millis() + self.offset_ms())
    }

    /// The pairs that it is a side of, one by one.
    pub(crate) fn pairs(&self) -> Vec<Arc<Pair>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
    }

    /// What is left of its quota.
    pub fn quota(&self) -> Option<crate::connector::Quota> {
        self.connector.quota()
    }
}

/// A match value as it is compared: trimmed, e-mails case-folded; empty never matches.
pub(crate) fn comparable(value: &Value, fold: bool) -> Option<String> {
    let Value::Text(text) = value else { return None };
    let trimmed = text.trim();
    (!trimmed.is_empty()).then(|| if fold { trimmed.to_lowercase() } else { trimmed.to_owned() })
}

/// One field of a pair.
#[derive(Clone, Debug)]
pub(crate) struct PairField {
    /// What agreed values belong to.
    pub mapped: i64,
    pub rule: FieldRule,
    /// Index into the store's fields, and its id.
    pub store: (usize, i64),
    /// Index into the CRM's fields, and its id.
    pub crm: (usize, i64),
}

impl PairField {
    /// The side that it is only ever written to.
    pub const fn writes_only(&self) -> Option<Side> {
        match self.rule.direction {
            Direction::Both => None,
            Direction::ToStore => Some(Side::Store),
            Direction::ToCrm => Some(Side::Crm),
        }
    }

    pub const fn on(&self, side: Side) -> (usize, i64) {
        match side {
            Side::Store => self.store,
            Side::Crm => self.crm,
        }
    }
}

/// A store with a CRM, both reached.
pub struct Pair {
    /// Its id in the checkpoint.
    pub id: i64,
    /// The store.
    pub store: Arc<Source>,
    /// The CRM.
    pub crm: Arc<Source>,
    /// Whether it writes.
    pub mode: Mode,
    pub(crate) mapping: Mapping,
    pub(crate) rails: Rails,
    pub(crate) fields: Vec<PairField>,
    /// (store field, CRM field, whether letter case is ignored) of each match rule.
    pub(crate) rules: Vec<(i64, i64, bool)>,
    pub(crate) only_store: BTreeMap<i64, Vec<String>>,
    pub(crate) only_crm: BTreeMap<i64, Vec<String>>,
    pub(crate) first_since_start: AtomicBool,
    /// Held while links are made; links that were made before its own pass, by the pass of a rival.
    pub(crate) linking: tokio::sync::Mutex<u64>,
    /// Whether somebody was told already that a rail stops it, where one does.
    pub(crate) rails_said: AtomicBool,
}

impl Pair {
    /// As events name it.
    pub fn event(&self) -> telemetry::Pair<'_> {
        telemetry::Pair { store: &self.store.name, crm: &self.crm.name }
    }

    /// The source on a side.
    pub const fn source(&self, side: Side) -> &Arc<Source> {
        match side {
            Side::Store => &self.store,
            Side::Crm => &self.crm,
        }
    }

    /// A pass has ended. The first one that knows what both sides hold now tells whether the checkpoint is behind them;
    /// what moves alike on both sides later is people's doing.
    pub(crate) fn has_compared(&self) {
        if self.store.started.load(Ordering::SeqCst) && self.crm.started.load(Ordering::SeqCst) {
            self.first_since_start.store(false, Ordering::SeqCst);
        }
    }

    /// Has the next pass say that a rail stops it, also where an earlier process has said so: a daemon begins.
    pub fn say_rails_anew(&self) {
        self.rails_said.store(false, Ordering::SeqCst);
    }

    /// The sides on which partners are made.
    pub(crate) fn creates_on(&self) -> impl Iterator<Item = Side> {
        let create = self.mapping.create;
        [Side::Store, Side::Crm].into_iter().filter(move |side| create.on(*side))
    }

    /// The field of a match rule on a side.
    pub(crate) fn rule_field(&self, rule: usize, side: Side) -> Option<i64> {
        let (store, crm, _) = self.rules.get(rule)?;
        Some(if side == Side::Store { *store } else { *crm })
    }

    /// All that a record could be found by: rules, and its values under them as they are compared.
    pub(crate) fn findable(&self, side: Side, seen: &SeenRecord) -> impl Iterator<Item = (usize, String)> {
        let rules = self.rules.iter().enumerate();
        let value = move |(at, (store, crm, fold)): (usize, &(i64, i64, bool))| {
            let field = if side == Side::Store { *store } else { *crm };
            Some((at, comparable(seen.value(field)?, *fold)?))
        };
        rules.filter_map(value)
    }

    /// Whether a record takes part.
    pub(crate) fn takes(&self, side: Side, seen: &SeenRecord) -> bool {
        let only = match side {
            Side::Store => &self.only_store,
            Side::Crm => &self.only_crm,
        };
        only.iter().all(|(field, allowed)| match seen.value(*field) {
            None => false,
            Some(Value::Text(text)) => allowed.iter().any(|word| word == text.trim()),
            Some(Value::List(items)) => items.iter().any(|item| allowed.iter().any(|word| word == item.trim())),
        })
    }

    /// The first match rule for which a record has a value, and that value as it is compared.
    pub(crate) fn deciding(&self, side: Side, seen: &SeenRecord) -> Option<(usize, String)> {
        self.findable(side, seen).next()
    }
}

/// How many mapped fields changed hands, for the rails.
pub(crate) type Counts = merge::Counts;

impl Engine {
    /// An engine on a checkpoint. Every wait in it ends when `stop` is cancelled.
    pub fn new(checkpoint: Checkpoint, clock: Arc<dyn Clock>, stop: CancellationToken) -> Self {
        Self { checkpoint, clock, stop }
    }

    /// The checkpoint.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The clock, for another engine.
    pub(crate) fn shared_clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub(crate) fn going_on(&self) -> Result<(), Error> {
        if self.stop.is_cancelled() { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// The shape of a usable field; text where nothing is known of it yet.
pub(crate) const fn shape_of(state: &DefinitionState) -> FieldShape {
    match state {
        DefinitionState::Usable(shape)
        | DefinitionState::Renamed(shape, _)
        | DefinitionState::ToCreate(shape)
        | DefinitionState::Created(shape) => FieldShape {
            holds: shape.holds,
            max_chars: shape.max_chars,
            writable: shape.writable,
            clearable: shape.clearable,
            refuses_nul: shape.refuses_nul,
        },
        DefinitionState::Changed(_) | DefinitionState::Unusable(_) => FieldShape::TEXT,
    }
}
