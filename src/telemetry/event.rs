//! The events, as one table: each with its fields and its level.

use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::model::{Class, HeldReason, Side};

/// A store with a CRM, by their names in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The store.
    pub store: &'a str,
    /// The CRM.
    pub crm: &'a str,
}

/// A store or a CRM, by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// A store.
    Store(&'a str),
    /// A CRM.
    Crm(&'a str),
}

impl<'a> Source<'a> {
    /// The source of a pair on one side.
    pub const fn of(side: Side, name: &'a str) -> Self {
        match side {
            Side::Store => Self::Store(name),
            Side::Crm => Self::Crm(name),
        }
    }
}

/// Declares [`Event`]. Each line of the table is a name, what the event is about in brackets, its fields, and, after
/// `+ detail`, a text that came from a system: that one never goes out with the event, only on a `debug` line of its own.
macro_rules! events {
    ($(
        $(#[$about_variant:meta])*
        $variant:ident = $name:literal $(($about:ident: $About:ty))? {
            $($(#[$about_field:meta])* $field:ident: $kind:ty,)*
        } $(+ $detail:ident)?
    )*) => {
        /// Something an operator or a script may act on. `docs/events.md` says what each means and what to do.
        ///
        /// Keys, never values, e-mails or names of people. Names and fields are an interface.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event<'a> {
            $(
                $(#[$about_variant])*
                $variant {
                    $(
                        /// What it is about.
                        $about: $About,
                    )?
                    $($(#[$about_field])* $field: $kind,)*
                    $(
                        /// Text that came from a system; it may hold personal data, so it is logged at `debug` only.
                        $detail: Option<&'a str>,
                    )?
                },
            )*
        }

        impl Event<'_> {
            /// The names of all events.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// Its name: `pass.completed`.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                }
            }

            /// Counts it, and writes it at `level`.
            fn write(&self, level: Level) {
                super::metrics::hear(self);
                // A first pass makes as many quiet events as there are records: their messages are not even composed.
                if level > LevelFilter::current() {
                    return;
                }
                let message = self.message();
                match self {
                    $(
                        Self::$variant { $($about,)? $($field,)* $($detail,)? } => {
                            let (store, crm) = names(&[$($about as &dyn Named)?]);
                            at_level!(level, {
                                event = $name, message = message.as_str(), store, crm,
                                $($field = Loggable::loggable($field),)*
                            });
                            $(
                                if let Some(text) = $detail {
                                    tracing::debug!(
                                        target: "attune",
                                        message = "what the system said", about = $name, store, crm, detail = *text,
                                    );
                                }
                            )?
                        }
                    )*
                }
            }
        }
    };
}

/// `tracing` fixes the level of a place in the code, so there is one place for each level.
macro_rules! at_level {
    ($level:expr, { $($fields:tt)* }) => {
        match $level {
            Level::ERROR => tracing::event!(target: "attune", Level::ERROR, { $($fields)* }),
            Level::WARN => tracing::event!(target: "attune", Level::WARN, { $($fields)* }),
            Level::INFO => tracing::event!(target: "attune", Level::INFO, { $($fields)* }),
            _ => tracing::event!(target: "attune", Level::DEBUG, { $($fields)* }),
        }
    };
}

events! {
    /// The daemon is up and has its lock.
    DaemonStarted = "daemon.started" {
        /// Attune's version.
        version: &'a str,
        /// How many stores it serves.
        stores: u64,
        /// How many CRMs it serves.
        crms: u64,
        /// How many pairs of a store and a CRM it serves.
        pairs: u64,
    }

    /// The daemon ends.
    DaemonStopped = "daemon.stopped" {
        /// Why: `SIGTERM`, `SIGINT`, or a sentence.
        reason: &'a str,
        /// Whether everything in flight was finished within `grace`.
        finished: bool,
        /// How long it ran.
        duration_ms: u64,
    }

    /// The configuration was read again, and is in force.
    ConfigReloaded = "config.reloaded" {
        /// How many stores it names now.
        stores: u64,
        /// How many CRMs it names now.
        crms: u64,
        /// How many pairs of a store and a CRM it names now.
        pairs: u64,
    }

    /// The configuration was read again and is not sound; the one before stays in force.
    ConfigRejected = "config.rejected" {
        /// How many problems were found.
        problems: u64,
        /// The first of them, as a sentence with file and line; never a secret.
        reason: &'a str,
    }

    /// A pass ended well. Counts are of mapped fields of linked records that it looked at, unless said otherwise.
    PassCompleted = "pass.completed" (pair: Pair<'a>) {
        /// Its id, as in `history`.
        pass: u64,
        /// From its start to its end.
        duration_ms: u64,
        /// All that it looked at: the sum of the next nine.
        observed: u64,
        /// Nothing to do: both sides hold what was agreed.
        unchanged: u64,
        /// Found equal on both sides, and agreed on without a write.
        agreed: u64,
        /// Written, and shown by the target.
        written: u64,
        /// Waiting for a person.
        held: u64,
        /// Left alone: a one-way source that never had a value, or `overwrite = false`.
        kept: u64,
        /// Changed again before it was written: decided anew by a later pass.
        superseded: u64,
        /// Not written yet: stopped at a rail, of unknown outcome, or waiting to be read again.
        pending: u64,
        /// Not written because a call failed: tried again by the next pass.
        failed: u64,
        /// Fields of records without a link.
        unlinked: u64,
        /// Links that this pass made.
        links_created: u64,
        /// Records that this pass made, on either side.
        records_created: u64,
        /// Records that this pass deleted, on either side, or unlinked because they are gone.
        records_deleted: u64,
        /// Conflicts that a policy decided.
        conflicts: u64,
        /// Edits on the target of a one-way field that were put back.
        put_back: u64,
        /// Values written to or cleared in the store.
        store_writes: u64,
        /// Values written to or cleared in the CRM.
        crm_writes: u64,
        /// Calls to the store.
        store_calls: u64,
        /// Calls to the CRM.
        crm_calls: u64,
        /// The longest time from the last read of a field to the sending of its write; 0 without a write.
        recheck_window_ms: u64,
    }

    /// A pass gave up; the next one begins where it left.
    PassFailed = "pass.failed" (pair: Pair<'a>) {
        /// Its id.
        pass: u64,
        /// From its start to its end.
        duration_ms: u64,
        /// What kind of failure it was.
        class: Class,
        /// What happened, where, why and what to do, as a sentence; no text that came from a system.
        reason: &'a str,
        /// HTTP status, where there was one.
        status: Option<u64>,
        /// The system's id for the request.
        request_id: Option<&'a str>,
        /// When the next pass starts.
        retry_in_ms: Option<u64>,
    } + detail

    /// A source was read whole.
    SweepCompleted = "sweep.completed" (source: Source<'a>) {
        /// From its start to its end.
        duration_ms: u64,
        /// Records read.
        records: u64,
        /// Records that are no longer there.
        gone: u64,
        /// Changes that the feeds had missed; zero for ever, or `drift.found` follows.
        drift: u64,
        /// Calls it took.
        calls: u64,
    }

    /// Every 15 minutes, for a pair whose passes have nothing to tell.
    StoreHeartbeat = "store.heartbeat" (pair: Pair<'a>) {
        /// As `attune status` says it.
        state: &'a str,
        /// Passes since the last heartbeat.
        passes: u64,
        /// Fields that wait for nobody but are not known equal.
        pending: u64,
        /// Fields and records that wait for a person.
        held: u64,
        /// How long ago both sides were last read.
        lag_ms: Option<u64>,
    }

    /// A customer and a contact are one person from now on.
    LinkCreated = "link.created" (pair: Pair<'a>) {
        /// Which pass.
        pass: u64,
        /// The customer.
        store_key: &'a str,
        /// The contact.
        crm_key: &'a str,
        /// By what: the store field of the match rule, `key` where they were linked before, `hand`, or `created`.
        by: &'a str,
    }

    /// A missing partner was made.
    RecordCreated = "record.created" (pair: Pair<'a>) {
        /// Which pass.
        pass: u64,
        /// Where it was made.
        side: Side,
        /// The customer.
        store_key: &'a str,
        /// The contact.
        crm_key: &'a str,
    }

    /// A record is gone: its link ended, and its partner was deleted where the mapping says so.
    RecordDeleted = "record.deleted" (pair: Pair<'a>) {
        /// Which pass.
        pass: u64,
        /// The side that it had vanished from.
        side: Side,
        /// The customer.
        store_key: &'a str,
        /// The contact.
        crm_key: &'a str,
        /// Whether the partner was deleted (`on_delete = "delete"`) or left (`unlink`).
        partner_deleted: bool,
    }

    /// An attribute definition was made in a store.
    AttributeCreated = "attribute.created" (source: Source<'a>) {
        /// `attribute:Job title`.
        field: &'a str,
        /// The id of the definition.
        attribute_id: &'a str,
    }

    /// A field is not what it was: renamed, gone, of another type, or mapped differently.
    SchemaChanged = "schema.changed" (source: Source<'a>) {
        /// The field, by the name it has on this source.
        field: &'a str,
        /// What changed and what follows, as a sentence.
        reason: &'a str,
    }

    /// A field waits for a person.
    FieldHeld = "field.held" (pair: Pair<'a>) {
        /// Which pass.
        pass: u64,
        /// The customer.
        store_key: &'a str,
        /// The contact.
        crm_key: &'a str,
        /// The field, by its store name.
        field: &'a str,
        /// Why.
        reason: HeldReason,
    } + detail

    /// A record waits for a person.
    RecordHeld = "record.held" (pair: Pair<'a>) {
        /// Which pass.
        pass: u64,
        /// The side that the record is on.
        side: Side,
        /// The record.
        key: &'a str,
        /// Why.
        reason: HeldReason,
        /// How many records it could belong to.
        candidates: u64,
    }

    /// Both sides had changed a field, and its policy chose one.
    ConflictResolved = "conflict.resolved" (pair: Pair<'a>) {
        /// Which pass.
        pass: u64,
        /// The customer.
        store_key: &'a str,
        /// The contact.
        crm_key: &'a str,
        /// The field, by its store name.
        field: &'a str,
        /// The side whose value stays.
        winner: Side,
        /// The policy: `newest`, `store` or `crm`.
        policy: &'a str,
    }

    /// A pair stands still before a write that would cross a rail.
    RailStopped = "rail.stopped" (pair: Pair<'a>) {
        /// Which pass.
        pass: u64,
        /// `writes`, `clears`, `creates` or `deletes`.
        rail: &'a str,
        /// What the last 24 hours would come to.
        count: u64,
        /// What is allowed.
        limit: u64,
    }

    /// Work waits until the quota's window ends.
    QuotaWaiting = "quota.waiting" (source: Source<'a>) {
        /// How long.
        wait_ms: u64,
        /// Calls left in this window, for all apps together, where the source says so.
        left: Option<u64>,
        /// Calls in a window.
        quota: Option<u64>,
    }

    /// The source answered 429: other apps took the quota, or the pacing is wrong.
    QuotaThrottled = "quota.throttled" (source: Source<'a>) {
        /// How long nothing is sent.
        wait_ms: u64,
        /// The system's id for the request.
        request_id: Option<&'a str>,
    }

    /// A source is not read or written until it is resumed.
    SourcePaused = "source.paused" (source: Source<'a>) {
        /// Why, as a sentence.
        reason: &'a str,
    }

    /// A source works again.
    SourceRecovered = "source.recovered" (source: Source<'a>) {
        /// How long it did not.
        duration_ms: u64,
    }

    /// A source refuses our credentials.
    SourceUnauthorized = "source.unauthorized" (source: Source<'a>) {
        /// What happened, where, why and what to do, as a sentence; no text that came from a system.
        reason: &'a str,
        /// HTTP status, where there was one.
        status: Option<u64>,
        /// The system's id for the request.
        request_id: Option<&'a str>,
        /// When it is asked again.
        retry_in_ms: Option<u64>,
    } + detail

    /// A source does not answer, or keeps failing.
    SourceUnreachable = "source.unreachable" (source: Source<'a>) {
        /// What happened, where, why and what to do, as a sentence; no text that came from a system.
        reason: &'a str,
        /// HTTP status, where there was one.
        status: Option<u64>,
        /// The system's id for the request.
        request_id: Option<&'a str>,
        /// How often in a row.
        failures: u64,
        /// When it is asked again.
        retry_in_ms: Option<u64>,
    } + detail

    /// A source holds a row dated later than its own clock.
    ClockSkewed = "clock.skewed" (source: Source<'a>) {
        /// How far ahead, at most.
        ahead_ms: u64,
        /// In how many records.
        records: u64,
    }

    /// A sweep found changes that the feeds had missed.
    DriftFound = "drift.found" (source: Source<'a>) {
        /// How many fields.
        drift: u64,
    }

    /// The checkpoint is older than what the sides hold: it was restored from a backup.
    CheckpointBehind = "checkpoint.behind" (pair: Pair<'a>) {
        /// How it shows, and what follows, as a sentence.
        reason: &'a str,
    }

    /// A person did something.
    OperatorActed = "operator.acted" (target: Option<Source<'a>>) {
        /// The command: `approve`, `held resolve`, `pause`, …
        action: &'a str,
        /// How many things it touched.
        count: u64,
    }
}

/// A line about one source that is no event of its own: its `event` is `note`.
pub fn note_of(level: Level, source: Source<'_>, text: &str) {
    let (store, crm) = source.names();
    at_level!(level, { event = "note", message = text, store, crm, });
}

impl Event<'_> {
    /// Writes it at its level.
    pub fn emit(&self) {
        self.write(self.level());
    }

    /// Writes it at `debug` if told so, else at its level: of the events about one record, only the first
    /// [`Event::RECORDS_PER_PASS`] of a pass are shown; `pass.completed` counts them all.
    pub fn emit_at(&self, debug: bool) {
        self.write(if debug { Level::DEBUG } else { self.level() });
    }

    /// Writes it at `info` at least, where `debug` would be its level.
    pub fn emit_as_news(&self) {
        self.write(self.level().min(Level::INFO));
    }

    /// How many events about one record a pass shows above `debug`.
    pub const RECORDS_PER_PASS: u64 = 20;

    /// The level at which [`Event::emit`] writes it.
    pub fn level(&self) -> Level {
        match self {
            Self::PassCompleted { .. } if !self.balances() => Level::ERROR,
            Self::PassCompleted { .. } if !self.something_happened() => Level::DEBUG,
            Self::DaemonStopped { finished: false, .. } => Level::WARN,
            Self::PassFailed { class: Class::Retry, .. } => Level::WARN,

            Self::DaemonStarted { .. }
            | Self::DaemonStopped { .. }
            | Self::ConfigReloaded { .. }
            | Self::PassCompleted { .. }
            | Self::SweepCompleted { .. }
            | Self::StoreHeartbeat { .. }
            | Self::LinkCreated { .. }
            | Self::RecordCreated { .. }
            | Self::RecordDeleted { .. }
            | Self::AttributeCreated { .. }
            | Self::ConflictResolved { .. }
            | Self::QuotaWaiting { .. }
            | Self::SourceRecovered { .. }
            | Self::OperatorActed { .. } => Level::INFO,

            Self::SchemaChanged { .. }
            | Self::FieldHeld { .. }
            | Self::RecordHeld { .. }
            | Self::QuotaThrottled { .. }
            | Self::SourcePaused { .. }
            | Self::SourceUnreachable { .. }
            | Self::ClockSkewed { .. }
            | Self::DriftFound { .. } => Level::WARN,

            Self::ConfigRejected { .. }
            | Self::PassFailed { .. }
            | Self::RailStopped { .. }
            | Self::SourceUnauthorized { .. }
            | Self::CheckpointBehind { .. } => Level::ERROR,
        }
    }

    /// Where the fields are that a completed pass looked at, by the words of its balance; none for every other event.
    pub const fn places(&self) -> Option<[(&'static str, u64); 9]> {
        let Self::PassCompleted {
            unchanged, agreed, written, held, kept, superseded, pending, failed, unlinked, ..
        } = self
        else {
            return None;
        };
        Some([
            ("unchanged", *unchanged),
            ("agreed", *agreed),
            ("written", *written),
            ("held", *held),
            ("kept", *kept),
            ("superseded", *superseded),
            ("pending", *pending),
            ("failed", *failed),
            ("unlinked", *unlinked),
        ])
    }

    /// Whether the balance of `pass.completed` holds; true for every other event.
    pub fn balances(&self) -> bool {
        let (Self::PassCompleted { observed, .. }, Some(places)) = (self, self.places()) else { return true };
        let accounted = places.into_iter().try_fold(0_u64, |sum, (_, count)| sum.checked_add(count));
        accounted == Some(*observed)
    }

    /// Whether a completed pass changed anything; what it only found again (held, kept, pending) is no news.
    fn something_happened(&self) -> bool {
        let Self::PassCompleted {
            agreed,
            written,
            superseded,
            failed,
            links_created,
            records_created,
            records_deleted,
            store_writes,
            crm_writes,
            ..
        } = self
        else {
            return true;
        };
        [agreed, written, superseded, failed, links_created, records_created, records_deleted, store_writes, crm_writes]
            .into_iter()
            .any(|count| *count > 0)
    }
}

/// What an event is about, as its fields `store` and `crm`.
trait Named {
    fn names(&self) -> (Option<&str>, Option<&str>);
}

impl Named for Pair<'_> {
    fn names(&self) -> (Option<&str>, Option<&str>) {
        (Some(self.store), Some(self.crm))
    }
}

impl Named for Source<'_> {
    fn names(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::Store(name) => (Some(name), None),
            Self::Crm(name) => (None, Some(name)),
        }
    }
}

impl Named for Option<Source<'_>> {
    fn names(&self) -> (Option<&str>, Option<&str>) {
        self.as_ref().map_or((None, None), Named::names)
    }
}

/// The fields `store` and `crm` of what an event is about, which is one thing or nothing.
fn names<'a>(about: &[&'a dyn Named]) -> (Option<&'a str>, Option<&'a str>) {
    about.first().map_or((None, None), |about| about.names())
}

/// How a field's type is written: numbers and texts as they are, our own words as their text.
trait Loggable {
    fn loggable(&self) -> impl tracing::Value + '_;
}

macro_rules! loggable_as_it_is {
    ($($kind:ty),*) => {$(
        impl Loggable for $kind {
            fn loggable(&self) -> impl tracing::Value + '_ {
                *self
            }
        }
    )*};
}

loggable_as_it_is!(bool, u64, Option<u64>, &str, Option<&str>);

impl Loggable for Side {
    fn loggable(&self) -> impl tracing::Value + '_ {
        self.as_str()
    }
}

impl Loggable for HeldReason {
    fn loggable(&self) -> impl tracing::Value + '_ {
        self.as_str()
    }
}

impl Loggable for Class {
    fn loggable(&self) -> impl tracing::Value + '_ {
        class_word(*self)
    }
}

/// The word for a class.
pub(super) const fn class_word(class: Class) -> &'static str {
    match class {
        Class::Retry => "retry",
        Class::Auth => "auth",
        Class::Rejected => "rejected",
        Class::Misconfigured => "misconfigured",
        Class::Broken => "broken",
    }
}
