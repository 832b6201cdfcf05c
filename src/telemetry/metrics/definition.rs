//! The metrics, as one table: each with its type, its unit, what it is about and the labels that divide it.
//!
//! A label's values are names of the configuration or words of a fixed list, so the number of series is bounded by what is
//! configured. `docs/metrics.md` says what to do about each; a test holds the page and this table together.

use crate::model::HeldReason;
use crate::telemetry::Event;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows, and begins again at 0 with the process.
    Counter,
    /// How things stand.
    Gauge,
    /// A fact in the labels; the value is 1.
    Info,
    /// How often something took how long: from milliseconds to hours.
    Durations,
    /// The same for the time between a last read and the sending of a write, which is at most 2 seconds.
    Windows,
}

impl Kind {
    /// The upper bounds of the buckets, in seconds; none where it is no histogram.
    pub const fn buckets(self) -> Option<&'static [f64]> {
        match self {
            Self::Durations => Some(&[0.05, 0.2, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0]),
            Self::Windows => Some(&[0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 5.0]),
            Self::Counter | Self::Gauge | Self::Info => None,
        }
    }

    /// The word for it in the exposition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
            Self::Durations | Self::Windows => "histogram",
        }
    }
}

/// What a metric is about: one series, or one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The process.
    Process,
    /// A store (label `store`) or a CRM (label `crm`).
    Source,
    /// A store with a CRM (both labels).
    Pair,
}

/// A label beside `store` and `crm`, and every value that it can have.
pub type Divided = (&'static str, &'static [&'static str]);

/// All that is fixed about one metric.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Without `attune_`, the unit, and the `_total` of counters.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The base unit, where it has one.
    pub unit: Option<&'static str>,
    /// What it is about.
    pub scope: Scope,
    /// By what it is divided further.
    pub by: &'static [Divided],
    /// A sentence.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $variant:ident = $kind:ident $name:literal $($unit:literal)? of $scope:ident
        $(by $label:literal $words:ident)*;)*) => {
        /// Every metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric {
            $($(#[doc = $help])+ $variant,)*
        }

        impl Metric {
            /// All of them, in the order in which they are written.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// What is fixed about it.
            pub const fn definition(self) -> Definition {
                match self {
                    $(Self::$variant => Definition {
                        name: $name,
                        kind: Kind::$kind,
                        unit: only(&[$($unit)?]),
                        scope: Scope::$scope,
                        by: &[$(($label, $words)),*],
                        help: concat!($($help),+),
                    },)*
                }
            }
        }
    };
}

const fn only(units: &'static [&'static str]) -> Option<&'static str> {
    match units {
        [unit] => Some(unit),
        _ => None,
    }
}

/// The states of a source, as `attune status` says them.
pub const SOURCE_STATES: &[&str] = &["ok", "new", "paused", "unreachable", "unauthorized", "misconfigured", "failing"];

/// The states of a pair: its own, or that of the source that keeps it from working.
pub const PAIR_STATES: &[&str] = &[
    "ok",
    "new",
    "paused",
    "stopped",
    "observing",
    "behind",
    "unreachable",
    "unauthorized",
    "misconfigured",
    "failing",
];

const REASONS: [&str; HeldReason::ALL.len()] = {
    let mut words = [""; HeldReason::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = HeldReason::ALL[at].as_str();
        at += 1;
    }
    words
};
const HELD: &[&str] = &REASONS;
const SIDES: &[&str] = &["store", "crm"];
const LOOPS: &[&str] = &["turning", "stuck"];
const RELOADS: &[&str] = &["taken", "rejected"];
const EVENTS: &[&str] = Event::NAMES;
const CALLS: &[&str] = &["ok", "throttled", "unauthorized", "refused", "failed", "unanswered"];
const READS: &[&str] = &["whole", "torn", "failed"];
const WRITES: &[&str] = &["written", "refused", "unknown"];
const OUTAGES: &[&str] = &["unreachable", "unauthorized"];
const PASSES: &[&str] = &["completed", "failed"];
const CLASSES: &[&str] = &["retry", "auth", "rejected", "misconfigured", "broken"];
const FIELDS: &[&str] =
    &["unchanged", "agreed", "written", "held", "kept", "superseded", "pending", "failed", "unlinked"];
const PARTNERS: &[&str] = &["left", "deleted"];
const MESSAGES: &[&str] = &["sent", "failed"];
const RAILS: &[&str] = &["writes", "clears", "creates", "deletes"];

metrics! {
    /// The version of Attune that runs.
    Build = Info "build" of Process;
    /// When the process began, in seconds since 1970.
    Started = Gauge "start_timestamp" "seconds" of Process;
    /// How many loops there are: one for each store, CRM and pair, and one for requests.
    Loops = Gauge "loops" of Process by "state" LOOPS;
    /// How often a loop panicked; it starts again by itself.
    Panics = Counter "panics" of Process;
    /// Whether the checkpoint can be written: 1 or 0.
    CheckpointWritable = Gauge "checkpoint_writable" of Process;
    /// How large the checkpoint is on disk, with what is not folded into its file yet.
    CheckpointSize = Gauge "checkpoint_size" "bytes" of Process;
    /// How old the look at the checkpoint is from which this answer tells states, lag, pending and held.
    ReportAge = Gauge "report_age" "seconds" of Process;
    /// Whether the last reading of the configuration was taken: 1; 0: it was rejected, and the one before is in force.
    ConfigTaken = Gauge "config_last_reload_successful" of Process;
    /// How often the configuration was read again.
    ConfigReloads = Counter "config_reloads" of Process by "outcome" RELOADS;
    /// Messages to the webhook; failed: not delivered, and sent again while the state lasts.
    AlertMessages = Counter "alert_messages" of Process by "outcome" MESSAGES;
    /// Events, by name, whether their level was logged or not; docs/events.md says what each means.
    Events = Counter "events" of Process by "event" EVENTS;

    /// In which state a store or a CRM is: 1 for that state, 0 for the others.
    SourceState = Gauge "source_state" of Source by "state" SOURCE_STATES;
    /// When it was last read to the end, in seconds since 1970.
    LastRead = Gauge "last_read_timestamp" "seconds" of Source;
    /// When it was last read whole, in seconds since 1970.
    LastSweep = Gauge "last_sweep_timestamp" "seconds" of Source;
    /// How far the cursor of its slowest feed is behind its own clock.
    CursorAge = Gauge "cursor_age" "seconds" of Source;
    /// How far its clock is ahead of this machine's.
    ClockOffset = Gauge "clock_offset" "seconds" of Source;
    /// Changed fields that the last sweep found and the feeds had missed; 0 for ever.
    Drift = Gauge "drift_fields" of Source;
    /// Changed fields that sweeps found and the feeds had missed.
    DriftFound = Counter "drift_found_fields" of Source;
    /// How long sweeps that ended cleanly took.
    SweepDuration = Durations "sweep_duration" "seconds" of Source;
    /// Reads: of what changed, or of everything.
    Reads = Counter "reads" of Source by "outcome" READS;
    /// Records that reads showed.
    ReadRecords = Counter "read_records" of Source;
    /// Calls over HTTP, by what came of them; throttled: answered with 429.
    HttpCalls = Counter "http_calls" of Source by "outcome" CALLS;
    /// Calls in a window of its quota, for all apps together, where it says so.
    QuotaLimit = Gauge "quota_limit_calls" of Source;
    /// Calls left in this window, for all apps together.
    QuotaLeft = Gauge "quota_left_calls" of Source;
    /// The share of the window's calls that is used up, by all apps together: 0 to 1.
    QuotaUsed = Gauge "quota_used" "ratio" of Source;
    /// How long calls waited for the quota, all together.
    QuotaWaited = Counter "quota_wait" "seconds" of Source;
    /// Outages begun, by the event that told it.
    Outages = Counter "outages" of Source by "reason" OUTAGES;

    /// In which state a store with a CRM is: 1 for that state, 0 for the others.
    PairState = Gauge "pair_state" of Pair by "state" PAIR_STATES;
    /// How old the oldest change is that is not on both sides yet; 0: there is none.
    Lag = Gauge "lag" "seconds" of Pair;
    /// Fields of linked records that are not known equal, and wait for nobody.
    Pending = Gauge "pending_fields" of Pair;
    /// Fields and records that wait for a person.
    Held = Gauge "held" of Pair by "reason" HELD;
    /// Linked records.
    Linked = Gauge "linked_records" of Pair;
    /// When a pass last completed, in seconds since 1970.
    LastPass = Gauge "last_pass_timestamp" "seconds" of Pair;
    /// How long passes took.
    PassDuration = Durations "pass_duration" "seconds" of Pair by "outcome" PASSES;
    /// Passes that gave up, by class of failure.
    PassFailures = Counter "pass_failures" of Pair by "reason" CLASSES;
    /// Mapped fields of linked records that passes looked at, by what became of them.
    Fields = Counter "fields" of Pair by "outcome" FIELDS;
    /// Values sent to a side, by what its answer said; unknown: it may still take effect, and is read back.
    Writes = Counter "writes" of Pair by "side" SIDES by "outcome" WRITES;
    /// The longest time from the last read of a field to the sending of its write, for each pass that wrote.
    RecheckWindow = Windows "recheck_window" "seconds" of Pair;
    /// Links made.
    LinksCreated = Counter "links_created" of Pair;
    /// Missing partners made, by the side on which.
    RecordsCreated = Counter "records_created" of Pair by "side" SIDES;
    /// Linked records gone, by the side that they had vanished from, and what became of their partner.
    RecordsGone = Counter "records_gone" of Pair by "side" SIDES by "outcome" PARTNERS;
    /// Fields and records that came to be held.
    NewlyHeld = Counter "newly_held" of Pair by "reason" HELD;
    /// Conflicts that a policy decided, by the side whose value stayed.
    Conflicts = Counter "conflicts_resolved" of Pair by "side" SIDES;
    /// How often it stood still before a write that would have crossed a rail.
    RailStops = Counter "rail_stops" of Pair by "reason" RAILS;
}

impl Metric {
    /// The name under which Prometheus keeps it: `attune_lag_seconds`; for a histogram the part before `_bucket`.
    pub fn full_name(self) -> String {
        let Definition { name, kind, unit, .. } = self.definition();
        let unit = unit.map(|unit| format!("_{unit}")).unwrap_or_default();
        let suffix = match kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Durations | Kind::Windows => "",
        };
        format!("attune_{name}{unit}{suffix}")
    }

    /// Its labels, in the order of a series' values.
    pub fn labels(self) -> Vec<&'static str> {
        let Definition { kind, scope, by, .. } = self.definition();
        let about: &[&str] = match (kind, scope) {
            (Kind::Info, _) => &["version"],
            (_, Scope::Process) => &[],
            (_, Scope::Source | Scope::Pair) => &["store", "crm"],
        };
        about.iter().copied().chain(by.iter().map(|(label, _)| *label)).collect()
    }
}
