//! What goes wrong with one source, said once for as long as it lasts; and how long to leave it alone.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::engine;
use crate::model::{Class, Failure, Side};
use crate::telemetry::{Event, Source as Named};

/// A source that refuses us, or does not fit the configuration, is asked again this often.
pub(super) const RESTING: Duration = Duration::from_secs(300);

const DELAY_MIN: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(300);

/// A system that asks for a longer rest than this is asked again anyway.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The delays after failures in a row: 1 s, doubling to 5 minutes.
#[derive(Debug)]
pub(super) struct Delays(ExponentialBackoff);

impl Default for Delays {
    fn default() -> Self {
        let delays = ExponentialBuilder::new().with_min_delay(DELAY_MIN).with_max_delay(DELAY_MAX).without_max_times();
        Self(delays.build())
    }
}

impl Delays {
    /// The next one.
    pub fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(DELAY_MAX)
    }

    /// How long to wait after a failure.
    pub fn after(&mut self, failure: &Failed) -> Duration {
        match failure.class {
            Class::Auth | Class::Misconfigured => RESTING,
            Class::Retry | Class::Rejected | Class::Broken => {
                self.next().max(failure.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
            }
        }
    }
}

/// Why a turn of a loop failed; also what `attune sync` beside a daemon is told. No secret, no personal data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The side of the source that failed, or was to be read while the checkpoint failed.
    pub side: Side,
    /// Its label.
    pub name: String,
    /// What kind of failure it is.
    pub class: Class,
    /// What, where, why, what to do.
    pub message: String,
    /// HTTP status, where there was one.
    pub status: Option<u16>,
    /// The system's id for the request.
    pub request_id: Option<String>,
    /// It was the checkpoint that failed, not the source.
    #[serde(skip)]
    pub(super) of_checkpoint: bool,
    /// How long the system asks us to wait.
    #[serde(skip)]
    pub(super) retry_after: Option<Duration>,
    /// What the system said: for `debug` only.
    #[serde(skip)]
    pub(super) detail: Option<String>,
}

impl Failed {
    /// What failed in a turn about this source; none if we were told to stop.
    pub(super) fn of(error: &engine::Error, side: Side, name: &str) -> Option<Self> {
        let of_turn = |class, message: String| Self::of_source(side, name, &Failure::new(class, message));
        match error {
            engine::Error::Source { side, name, failure } => Some(Self::of_source(*side, name, failure)),
            engine::Error::Checkpoint(error @ crate::checkpoint::Error::AnotherSystem { .. }) => {
                Some(of_turn(Class::Misconfigured, error.to_string()))
            }
            engine::Error::Checkpoint(error) => {
                Some(Self { of_checkpoint: true, ..of_turn(Class::Retry, error.to_string()) })
            }
            engine::Error::PlanMoved { .. } => Some(of_turn(Class::Broken, error.to_string())),
            engine::Error::Stopped => None,
        }
    }

    /// A failure of a source.
    pub(super) fn of_source(side: Side, name: &str, failure: &Failure) -> Self {
        Self {
            side,
            name: name.to_owned(),
            class: failure.class,
            message: failure.message.clone(),
            status: failure.status,
            request_id: failure.request_id.clone(),
            of_checkpoint: false,
            retry_after: failure.retry_after,
            detail: failure.detail.clone(),
        }
    }

    /// The word for the state that it puts its source into.
    pub(super) const fn state(&self) -> &'static str {
        match self.class {
            Class::Retry => "unreachable",
            Class::Auth => "unauthorized",
            Class::Misconfigured => "misconfigured",
            Class::Rejected | Class::Broken => "failing",
        }
    }
}

/// A source does not work, since a while.
#[derive(Clone, Debug)]
pub(super) struct Outage {
    since: Instant,
    failures: u64,
    /// As `status` says it.
    pub state: &'static str,
    /// Why.
    pub reason: String,
    /// It is read well, but refuses what this pair writes: reading it well is no end of it.
    pub writes_of: Option<usize>,
}

impl Outage {
    /// Notes a failure of a source, and says it if it is news.
    pub fn note(known: &mut Option<Self>, failed: &Failed, retry_in: Duration, writes_of: Option<usize>) {
        let state = failed.state();
        let news = known.as_ref().is_none_or(|outage| outage.state != state);
        let outage = known.get_or_insert_with(|| Self {
            since: Instant::now(),
            failures: 0,
            state,
            reason: String::new(),
            writes_of: None,
        });
        outage.failures += 1;
        outage.state = state;
        outage.reason.clone_from(&failed.message);
        outage.writes_of = writes_of;
        let source = Named::of(failed.side, &failed.name);
        let (reason, status) = (failed.message.as_str(), failed.status.map(u64::from));
        let (request_id, detail) = (failed.request_id.as_deref(), failed.detail.as_deref());
        let (failures, retry_in_ms) = (outage.failures, Some(super::millis(retry_in)));
        if !news {
            let state = outage.state;
            tracing::debug!(target: "attune", name = %failed.name, failures, retry_in_ms, reason, "still {state}");
        } else if failed.class == Class::Auth {
            Event::SourceUnauthorized { source, reason, status, request_id, retry_in_ms, detail }.emit();
        } else {
            Event::SourceUnreachable { source, reason, status, request_id, failures, retry_in_ms, detail }.emit();
        }
    }

    /// The source works again.
    pub fn over(self, side: Side, name: &str) {
        let duration_ms = super::millis(self.since.elapsed());
        Event::SourceRecovered { source: Named::of(side, name), duration_ms }.emit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_one_second_to_five_minutes() {
        let mut delays = Delays::default();
        let first: Vec<u64> = (0..11).map(|_| delays.next().as_secs()).collect();
        assert_eq!(first, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn a_source_that_refuses_us_rests_and_one_that_says_when_is_obeyed() {
        let mut failure = Failure::new(Class::Auth, "no");
        let mut delays = Delays::default();
        assert_eq!(delays.after(&Failed::of_source(Side::Store, "acme", &failure)), RESTING);
        failure.class = Class::Retry;
        failure.retry_after = Some(Duration::from_secs(77));
        assert_eq!(delays.after(&Failed::of_source(Side::Store, "acme", &failure)), Duration::from_secs(77));
        failure.retry_after = None;
        assert_eq!(delays.after(&Failed::of_source(Side::Store, "acme", &failure)), Duration::from_secs(2));
    }

    #[test]
    fn an_outage_keeps_its_beginning_while_its_reason_changes() {
        let mut known = None;
        let mut failed = Failed::of_source(Side::Store, "acme", &Failure::new(Class::Retry, "no answer"));
        Outage::note(&mut known, &failed, DELAY_MIN, None);
        Outage::note(&mut known, &failed, DELAY_MIN, None);
        failed.class = Class::Auth;
        Outage::note(&mut known, &failed, RESTING, None);
        let outage = known.unwrap();
        assert_eq!((outage.failures, outage.state, outage.reason.as_str()), (3, "unauthorized", "no answer"));
    }
}
