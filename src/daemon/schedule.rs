//! When sources are read: polls spread over their interval, sweeps by cron in UTC.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::parser::{CronParser, Seconds};
use tokio::time::Instant;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::source::SourceState;
use crate::config::Sweep;
use crate::model::Timestamp;

/// `daily` sweeps begin at one of the minutes from 00:00 to 05:59 UTC.
const NIGHT_MINUTES: u64 = 360;

/// Room for every job to come due at the same moment.
const CHANNEL_SIZE_MIN: usize = 200;

/// A number that a name always has.
fn number_of(name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    hash.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// When a source is polled: at moments that lie an interval apart, at a place in it that its name decides, so that many
/// sources do not all ask at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Polls {
    origin: Instant,
    phase: Duration,
    every: Duration,
}

impl Polls {
    /// Polls of the source with this name, counted from now.
    pub fn new(name: &str, every: Duration) -> Self {
        let every = every.max(Duration::from_millis(1));
        let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        Self { origin: Instant::now(), phase: Duration::from_millis(number_of(name) % every_ms), every }
    }

    /// The first of its moments after `now`: after a long read those that were missed are not made up for.
    pub fn after(&self, now: Instant) -> Instant {
        let first = self.origin + self.phase;
        let Some(late) = now.checked_duration_since(first) else { return first };
        let periods = late.as_nanos() / self.every.as_nanos() + 1;
        let whole = u32::try_from(periods).map(|periods| self.every.checked_mul(periods));
        match whole {
            Ok(Some(whole)) => first + whole,
            _ => now + self.every,
        }
    }
}

/// The cron pattern, six fields, of a source's sweeps; none where it is never swept by itself.
fn pattern(sweep: &Sweep, name: &str) -> Option<String> {
    match sweep {
        Sweep::Off => None,
        Sweep::Cron(pattern) => Some(pattern.clone()),
        Sweep::Daily => {
            let minute = number_of(name) % NIGHT_MINUTES;
            Some(format!("0 {} {} * * *", minute % 60, minute / 60))
        }
    }
}

/// Whether a sweep came due since the last one ended: nobody was there to begin it.
pub(super) fn is_overdue(sweep: &Sweep, name: &str, swept_at: Timestamp, now: Timestamp) -> bool {
    let due = || {
        let parser = CronParser::builder().seconds(Seconds::Required).dom_and_dow(true).build();
        let cron = parser.parse(&pattern(sweep, name)?).ok()?;
        let last = DateTime::<Utc>::from_timestamp_millis(swept_at.as_millis())?;
        // A pattern that never comes due again has no next occurrence.
        let next = cron.find_next_occurrence(&last, false).ok()?;
        Some(next.timestamp_millis() <= now.as_millis())
    };
    due().unwrap_or(false)
}

/// What wakes the loops of sources for their sweeps, and does nothing else.
pub(super) struct Sweeps {
    scheduler: JobScheduler,
}

impl Sweeps {
    /// Starts the clockwork.
    ///
    /// # Errors
    /// When the scheduler refuses.
    pub async fn start(sources: &[Arc<SourceState>]) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new_with_channel_size(CHANNEL_SIZE_MIN.max(sources.len() * 4)).await?;
        for source in sources {
            let Some(pattern) = pattern(&source.sweep, &source.name) else { continue };
            let source = Arc::clone(source);
            // `Job::new` counts in UTC.
            scheduler.add(Job::new(pattern.as_str(), move |_, _| source.bell.sweep())?).await?;
        }
        scheduler.start().await?;
        Ok(Self { scheduler })
    }

    /// Stops it.
    pub async fn stop(mut self) {
        // It can only fail to tell others, and there are none.
        let _ = self.scheduler.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn polls_are_an_interval_apart_and_spread() {
        let every = Duration::from_secs(30);
        let now = Instant::now();
        let mut phases = std::collections::BTreeSet::new();
        for store in 0..40 {
            let polls = Polls::new(&format!("store-{store}"), every);
            let first = polls.after(now);
            assert!(first <= now + every);
            assert_eq!(polls.after(first), first + every);
            assert_eq!(polls.after(first + every * 7 + Duration::from_secs(1)), first + every * 8);
            phases.insert(first.duration_since(now).as_secs() / 3);
        }
        assert!(phases.len() >= 8, "{phases:?}");
    }

    #[test]
    fn daily_is_a_minute_of_the_night_that_the_name_decides() {
        let mut minutes = std::collections::BTreeSet::new();
        for store in 0..100 {
            let name = format!("store-{store}");
            let daily = pattern(&Sweep::Daily, &name).unwrap();
            assert_eq!(Some(&daily), pattern(&Sweep::Daily, &name).as_ref());
            let fields: Vec<&str> = daily.split(' ').collect();
            let (minute, hour): (u64, u64) = (fields[1].parse().unwrap(), fields[2].parse().unwrap());
            assert!(fields[0] == "0" && minute < 60 && hour < 6 && fields[3..] == ["*"; 3], "{daily}");
            minutes.insert((hour, minute));
        }
        assert!(minutes.len() > 60, "{}", minutes.len());
        assert_eq!(pattern(&Sweep::Off, "acme"), None);
    }

    #[test]
    fn a_sweep_is_overdue_when_one_came_due_since_the_last() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let cron = Sweep::Cron("0 30 3 * * *".to_owned());
        let swept = at("2026-11-22T03:30:41Z");
        assert!(!is_overdue(&cron, "acme", swept, at("2026-11-23T03:29:59Z")));
        assert!(is_overdue(&cron, "acme", swept, at("2026-11-23T03:30:00Z")));
        assert!(is_overdue(&cron, "acme", swept, at("2026-12-24T00:00:00Z")));
        assert!(is_overdue(&Sweep::Daily, "acme", swept, at("2026-11-23T06:00:00Z")));
        assert!(!is_overdue(&Sweep::Off, "acme", swept, at("2027-11-23T06:00:00Z")));
    }
}
