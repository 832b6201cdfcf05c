//! What the engine asks of a source, whatever its kind; a folder for each kind.
//!
//! A connector turns one system's API into observations, writes and outcomes. It must not know the checkpoint, the
//! engine, pairs or mappings: only the list of its own fields. It repeats reads (with backoff, within its patience);
//! it never repeats a write: attempts are the engine's.

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use crate::http::{Lane, Quota};
use crate::model::{Definition, Failure, FieldOptions, FieldType, Key, Observed, Outcome, Timestamp, Write};
pub use lifecycle::{Created, Lifecycle, LifecycleLimits, NewRecord, Removed};
pub use lookup::{Lookup, LookupLimits};

mod batch;
pub mod bigcommerce;
pub mod hubspot;
mod lifecycle;
mod lookup;
mod names;
pub mod odoo;
mod paid;
pub mod rest;
mod retry;
pub mod salesforce;
pub mod sql;
pub mod tryton;
mod walk;

/// A field that a mapping names, as a connector is opened with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldWanted {
    /// `attribute:Job title`, `customer:email`; a column's name, or `@key` for the key itself.
    pub name: String,
    /// The canonical form in which its values will be compared.
    pub kind: FieldType,
    /// What the mapping says of it besides.
    pub options: FieldOptions,
}

impl FieldWanted {
    /// A field of which the mapping says nothing else.
    pub fn new(name: impl Into<String>, kind: FieldType) -> Self {
        Self { name: name.into(), kind, options: FieldOptions::default() }
    }
}

/// What tells when a field's value changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dating {
    /// Each value has a time of its own ([`crate::model::Cell::modified`]).
    Itself,
    /// Only the record has one ([`Observed::modified`]), and it moves with every change of the field.
    #[default]
    Record,
    /// Nothing: not even the record's time need move. What differs soon after a change is then looked at twice.
    Nothing,
}

/// Where the writes of a field go. Those of one destination share calls, those of different ones never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// Tells it from the connector's others.
    pub number: usize,
    /// The most that is sure to fit into one call.
    pub per_call: PerCall,
}

/// What a call is full of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PerCall {
    /// So many writes.
    Writes(usize),
    /// So many records, however many writes each has.
    Records(usize),
}

/// One page of a feed or of a sweep.
#[derive(Clone, Debug)]
pub struct Page {
    /// The records on it. The same record may appear again on a later page.
    pub observed: Vec<Observed>,
    /// The source's own clock at a moment before this page was asked for (never later than the truth).
    pub clock: Timestamp,
    /// Set on the last page only: whether the whole read can be trusted to be complete.
    pub end: Option<End>,
}

/// How a read of several pages ended. A stream that ends without one was cut off, and counts as torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every row was shown.
    Whole,
    /// Rows may have slipped between pages: keep what was seen, do not move the cursor.
    Torn,
}

/// What a source answers about itself.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What the system says it is (store hash; database and table): a name in the configuration is only a label.
    pub identity: String,
    /// The source's own clock just now, never later than the truth.
    pub clock: Timestamp,
    /// One for each of the connector's fields, in their order.
    pub definitions: Vec<Definition>,
    /// Sentences for the operator: what is unusual but does not stop us.
    pub warnings: Vec<String>,
    /// The words that a field takes, where it takes no others: the field's index, and its choices.
    pub choices: Vec<(usize, Vec<String>)>,
}

/// Calls that are paid for in advance, so that a round's recheck and its writes follow each other without waiting.
/// Dropping it gives back what was not used.
pub trait Reservation: Send + Sync {
    /// Takes one prepaid call; false when none is left (the call then waits its turn like any other).
    fn take(&self) -> bool;

    /// Where a call that is not prepaid waits its turn.
    fn lane(&self) -> Lane {
        Lane::Fresh
    }
}

/// No reservation: nothing is paid for. In a source with a quota each call waits its turn in this lane, one without is not
/// limited.
pub struct Unreserved(pub Lane);

impl Reservation for Unreserved {
    fn take(&self) -> bool {
        false
    }

    fn lane(&self) -> Lane {
        self.0
    }
}

/// What the engine must know to plan writes for a kind of source.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most batches of one round for one destination: written at the same time, after one recheck.
    pub batches_per_round: usize,
    /// The most writes of one batch.
    pub writes_per_batch: usize,
    /// The most keys of one [`Connector::fetch`].
    pub keys_per_fetch: usize,
    /// Whether a write of a field that changed since the recheck is refused by the source itself.
    pub conditional_writes: bool,
    /// Whether values missing from a complete answer were missing when the source was asked (a null that was read),
    /// so that no second look is needed before a clear.
    pub shows_nulls: bool,
}

/// One system: its feeds, direct reads and writes.
#[async_trait]
pub trait Connector: Send + Sync {
    /// `bigcommerce`, `sql`, …
    fn kind(&self) -> &'static str;

    /// The names of the fields that cells and writes index into. Fixed for the life of the connector.
    fn fields(&self) -> &[String];

    /// What to plan by.
    fn limits(&self) -> Limits;

    /// What tells when a value of this field changed.
    fn dating(&self, field: usize) -> Dating {
        let _ = field;
        Dating::Record
    }

    /// Where writes of this field go.
    fn destination(&self, field: usize) -> Destination {
        let _ = field;
        Destination { number: 0, per_call: PerCall::Writes(self.limits().writes_per_batch) }
    }

    /// Reaches the system, says what it is, and finds the fields. `known` holds the remembered definition ids, one for
    /// each field. Fields are created only if `may_create` (and the connector was opened to create them).
    async fn prepare(&self, known: &[Option<String>], may_create: bool) -> Result<Prepared, Failure>;

    /// The names of the change feeds; each has a cursor of its own.
    fn feeds(&self) -> &[&'static str];

    /// Everything of one feed that changed at or after `since` (the source's time), in pages.
    fn changes(&self, feed: &'static str, since: Timestamp) -> BoxStream<'_, Result<Page, Failure>>;

    /// Every record with every field, in pages: the sweep, and the first pass.
    fn everything(&self) -> BoxStream<'_, Result<Page, Failure>>;

    /// Reads these records directly: one answer for each key, complete for the fields asked (absent is absent), `Gone`
    /// where the record is not there; `Unseen` for the fields not asked. At most `keys_per_fetch` keys.
    async fn fetch(
        &self,
        keys: &[Key],
        fields: &[usize],
        reservation: &dyn Reservation,
    ) -> Result<Vec<Observed>, Failure>;

    /// Packs writes into the fewest calls the API takes: each inner list is one call, to one destination.
    fn batches(&self, writes: Vec<Write>) -> Vec<Vec<Write>>;

    /// Waits until `calls` calls may leave without waiting, and takes them.
    async fn reserve(&self, lane: Lane, calls: usize) -> Result<Box<dyn Reservation>, Failure>;

    /// Sends one batch (from [`Connector::batches`]) once. One outcome for each write, in order.
    async fn write(&self, batch: &[Write], reservation: &dyn Reservation) -> Vec<Outcome>;

    /// How long so many calls take at least, in seconds, by the quota as it is known.
    fn seconds_for(&self, calls: u64) -> f64 {
        let _ = calls;
        0.0
    }

    /// How records are found by what they hold, where the system can do that.
    fn lookup(&self) -> Option<&dyn Lookup> {
        None
    }

    /// How records are made and removed, where the system can do that.
    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        None
    }

    /// What is left of the quota, for `status`, where the source has one.
    fn quota(&self) -> Option<Quota> {
        None
    }
}
