//! Repeating reads: how often, how long, and when to give up. Writes are never repeated here or anywhere below the
//! engine.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::{Class, Failure};

/// How often an answer that cannot be read is asked for again: it rarely becomes readable.
const UNREADABLE_REPEATS_MAX: u32 = 2;

/// The attempts of one read.
///
/// ```text
/// let mut attempts = Attempts::new(patience, &cancel);
/// loop {
///     wait for a turn under the quota        // not counted
///     attempts.begin();
///     match read().await {
///         Ok(read) => return Ok(read),
///         Err(failure) => attempts.failed(failure).await?,
///     }
/// }
/// ```
pub(crate) struct Attempts<'a> {
    patience_left: Duration,
    began: Instant,
    delays: ExponentialBackoff,
    unreadable: u32,
    cancel: &'a CancellationToken,
}

impl<'a> Attempts<'a> {
    /// Attempts that end when `patience` has been spent on calls and on the delays between them, or on cancellation.
    pub(crate) fn new(patience: Duration, cancel: &'a CancellationToken) -> Self {
        // The jitter adds up to as much again: the first repeat comes within a second, later ones within ten.
        let delays = ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(Duration::from_millis(400))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times()
            .build();
        Self { patience_left: patience, began: Instant::now(), delays, unreadable: 0, cancel }
    }

    /// A call leaves now: what was waited before (for a quota) is no failure and is not counted.
    pub(crate) fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// Waits before the next attempt, if this failure may go away by itself.
    ///
    /// # Errors
    /// The failure, where it will not go away, patience is spent, or Attune stops.
    pub(crate) async fn failed(&mut self, failure: Failure) -> Result<(), Failure> {
        if failure.class != Class::Retry || self.cancel.is_cancelled() {
            return Err(failure);
        }
        if failure.status == Some(429) && failure.retry_after.is_some() {
            // The system says when to come back: that is a quota, and whoever paces calls waits for it.
            return Ok(());
        }
        self.wait(failure).await
    }

    /// Waits before the next attempt after an answer that could not be read: a few times, whatever its class.
    ///
    /// # Errors
    /// The failure, when it was asked for often enough.
    pub(crate) async fn unreadable(&mut self, failure: Failure) -> Result<(), Failure> {
        self.unreadable += 1;
        if self.unreadable > UNREADABLE_REPEATS_MAX || self.cancel.is_cancelled() {
            return Err(failure);
        }
        self.wait(failure).await
    }

    async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        self.patience_left = self.patience_left.saturating_sub(self.began.elapsed());
        let asked = failure.retry_after.unwrap_or_default();
        if self.patience_left.is_zero() || asked > self.patience_left {
            return Err(failure);
        }
        // The last attempt is made when patience ends, not a whole delay before.
        let delay = self.delays.next().unwrap_or(Duration::MAX).max(asked).min(self.patience_left);
        self.patience_left -= delay;
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(failure),
            () = tokio::time::sleep(delay) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: Class) -> Failure {
        Failure::new(class, "no")
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_within_a_second_then_doubling_until_patience_is_spent() {
        let cancel = CancellationToken::new();
        let mut attempts = Attempts::new(Duration::from_secs(30), &cancel);
        let began = Instant::now();
        let mut waits = Vec::new();
        loop {
            // A wait for the quota costs no patience.
            tokio::time::sleep(Duration::from_secs(100)).await;
            attempts.begin();
            let at = Instant::now();
            if attempts.failed(failure(Class::Retry)).await.is_err() {
                break;
            }
            waits.push(at.elapsed());
        }
        assert!(waits[0] < Duration::from_secs(1) && waits.iter().all(|wait| *wait <= Duration::from_secs(10)));
        // The clock of the test ticks in milliseconds.
        let waited = waits.iter().sum::<Duration>().as_secs_f64();
        assert!(waits.len() >= 4 && (29.9..30.1).contains(&waited), "the last attempt is made at the end: {waits:?}");
        assert!(began.elapsed() > Duration::from_secs(400));
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_at_once_on_what_does_not_go_away_or_when_stopped() {
        let cancel = CancellationToken::new();
        let mut attempts = Attempts::new(Duration::from_secs(30), &cancel);
        for class in [Class::Auth, Class::Rejected, Class::Misconfigured, Class::Broken] {
            assert!(attempts.failed(failure(class)).await.is_err());
        }
        cancel.cancel();
        assert!(attempts.failed(failure(Class::Retry)).await.is_err());
        assert!(Attempts::new(Duration::ZERO, &CancellationToken::new()).failed(failure(Class::Retry)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_that_says_when_costs_no_patience() {
        let cancel = CancellationToken::new();
        let mut attempts = Attempts::new(Duration::ZERO, &cancel);
        let mut quota = failure(Class::Retry);
        quota.status = Some(429);
        quota.retry_after = Some(Duration::from_secs(30));
        assert!(attempts.failed(quota.clone()).await.is_ok());
        quota.retry_after = None;
        assert!(attempts.failed(quota).await.is_err(), "a bare 429 is no quota");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_asked_for_twice_more() {
        let cancel = CancellationToken::new();
        let mut attempts = Attempts::new(Duration::from_secs(30), &cancel);
        assert!(attempts.unreadable(failure(Class::Broken)).await.is_ok());
        assert!(attempts.unreadable(failure(Class::Broken)).await.is_ok());
        assert!(attempts.unreadable(failure(Class::Broken)).await.is_err());
    }
}
