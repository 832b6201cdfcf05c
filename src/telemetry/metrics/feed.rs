//! What an event or a measure counts for: the one place that feeds counters and histograms.

use std::time::Duration;

use super::definition::Metric;
use super::series::Series;
use crate::model::Side;
use crate::telemetry::event::class_word;
use crate::telemetry::{Event, Pair, Source};

/// What became of one call over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It was done.
    Ok,
    /// 429: too many calls.
    Throttled,
    /// 401 or 403.
    Unauthorized,
    /// Another status below 500: what was sent is not taken.
    Refused,
    /// 500 and above.
    Failed,
    /// No answer: no connection, a time limit, or we were told to stop.
    Unanswered,
}

impl CallOutcome {
    /// What an answer's status means.
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Ok,
            429 => Self::Throttled,
            401 | 403 => Self::Unauthorized,
            500.. => Self::Failed,
            _ => Self::Refused,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Throttled => "throttled",
            Self::Unauthorized => "unauthorized",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unanswered => "unanswered",
        }
    }
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// It was read to the end.
    Whole,
    /// Records came and went while it was read: it is read again.
    Torn,
    /// It gave up.
    Failed,
}

impl ReadOutcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Torn => "torn",
            Self::Failed => "failed",
        }
    }
}

/// What a target's answer said of a value that was sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It holds what was sent, or what it made of it.
    Written,
    /// It does not.
    Refused,
    /// Nobody knows yet.
    Unknown,
}

impl WriteOutcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOutcome {
    /// It arrived.
    Sent,
    /// It did not, however often it was tried.
    Failed,
}

impl MessageOutcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

/// What happens too often for a line of its own, and is counted.
#[derive(Clone, Copy, Debug)]
pub enum Measure<'a> {
    /// A call over HTTP.
    Call {
        /// To whom.
        source: Source<'a>,
        /// What became of it.
        outcome: CallOutcome,
    },
    /// A wait for the quota.
    QuotaWait {
        /// Whose.
        source: Source<'a>,
        /// How long.
        waited: Duration,
    },
    /// A read of what changed, or of everything.
    Read {
        /// Of whom.
        source: Source<'a>,
        /// What became of it.
        outcome: ReadOutcome,
        /// Records that it showed.
        records: u64,
    },
    /// A message to the webhook.
    Message {
        /// What became of it.
        outcome: MessageOutcome,
    },
    /// Values that were sent.
    Writes {
        /// In which pair.
        pair: Pair<'a>,
        /// To which side.
        side: Side,
        /// What became of them.
        outcome: WriteOutcome,
        /// How many.
        count: u64,
    },
}

pub(super) fn measure(series: &mut Series, measure: &Measure<'_>) {
    match measure {
        Measure::Call { source, outcome } => series.count_of(Metric::HttpCalls, source, &[outcome.word()], 1.0),
        Measure::QuotaWait { source, waited } => {
            series.count_of(Metric::QuotaWaited, source, &[], waited.as_secs_f64());
        }
        Measure::Read { source, outcome, records } => {
            series.count_of(Metric::Reads, source, &[outcome.word()], 1.0);
            series.count_of(Metric::ReadRecords, source, &[], number(*records));
        }
        Measure::Message { outcome } => series.count(Metric::AlertMessages, &[outcome.word()], 1.0),
        Measure::Writes { pair, side, outcome, count } => {
            series.count_of(Metric::Writes, pair, &[side.as_str(), outcome.word()], number(*count));
        }
    }
}

pub(super) fn event(series: &mut Series, event: &Event<'_>) {
    series.count(Metric::Events, &[event.name()], 1.0);
    match event {
        Event::ConfigReloaded { .. } => series.count(Metric::ConfigReloads, &["taken"], 1.0),
        Event::ConfigRejected { .. } => series.count(Metric::ConfigReloads, &["rejected"], 1.0),
        Event::PassCompleted { .. } => completed(series, event),
        Event::PassFailed { pair, duration_ms, class, .. } => {
            series.observe_of(Metric::PassDuration, pair, &["failed"], seconds(*duration_ms));
            series.count_of(Metric::PassFailures, pair, &[class_word(*class)], 1.0);
        }
        Event::SweepCompleted { source, duration_ms, drift, .. } => {
            series.observe_of(Metric::SweepDuration, source, &[], seconds(*duration_ms));
            series.count_of(Metric::DriftFound, source, &[], number(*drift));
        }
        Event::LinkCreated { pair, .. } => series.count_of(Metric::LinksCreated, pair, &[], 1.0),
        Event::RecordCreated { pair, side, .. } => {
            series.count_of(Metric::RecordsCreated, pair, &[side.as_str()], 1.0);
        }
        Event::RecordDeleted { pair, side, partner_deleted, .. } => {
            let partner = if *partner_deleted { "deleted" } else { "left" };
            series.count_of(Metric::RecordsGone, pair, &[side.as_str(), partner], 1.0);
        }
        Event::FieldHeld { pair, reason, .. } | Event::RecordHeld { pair, reason, .. } => {
            series.count_of(Metric::NewlyHeld, pair, &[reason.as_str()], 1.0);
        }
        Event::ConflictResolved { pair, winner, .. } => {
            series.count_of(Metric::Conflicts, pair, &[winner.as_str()], 1.0);
        }
        Event::RailStopped { pair, rail, .. } => series.count_of(Metric::RailStops, pair, &[rail], 1.0),
        Event::SourceUnauthorized { source, .. } => series.count_of(Metric::Outages, source, &["unauthorized"], 1.0),
        Event::SourceUnreachable { source, .. } => series.count_of(Metric::Outages, source, &["unreachable"], 1.0),
        // Counted by name; what else they say is a gauge (state, drift, quota), or counted where it happens (429s).
        Event::DaemonStarted { .. }
        | Event::DaemonStopped { .. }
        | Event::StoreHeartbeat { .. }
        | Event::AttributeCreated { .. }
        | Event::SchemaChanged { .. }
        | Event::QuotaWaiting { .. }
        | Event::QuotaThrottled { .. }
        | Event::SourcePaused { .. }
        | Event::SourceRecovered { .. }
        | Event::ClockSkewed { .. }
        | Event::DriftFound { .. }
        | Event::CheckpointBehind { .. }
        | Event::OperatorActed { .. } => {}
    }
}

fn completed(series: &mut Series, event: &Event<'_>) {
    let Event::PassCompleted { pair, duration_ms, store_writes, crm_writes, recheck_window_ms, .. } = event else {
        return;
    };
    series.observe_of(Metric::PassDuration, pair, &["completed"], seconds(*duration_ms));
    for (outcome, count) in event.places().into_iter().flatten() {
        series.count_of(Metric::Fields, pair, &[outcome], number(count));
    }
    if store_writes + crm_writes > 0 {
        series.observe_of(Metric::RecheckWindow, pair, &[], seconds(*recheck_window_ms));
    }
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

/// As metrics hold numbers: exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
const fn number(count: u64) -> f64 {
    count as f64
}
