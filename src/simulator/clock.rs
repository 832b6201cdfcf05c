//! The simulator's two clocks: the one that dates rows and answers, and the one that measures how long things last.
//!
//! Must not know: what is dated or measured.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::model::Timestamp;

use super::dates::Seconds;
use super::records::Moment;

/// Follows this machine's clock, but for a skew, and for what it was told to advance.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    skew_ms: AtomicI64,
    advanced_ms: AtomicI64,
}

impl Clock {
    /// Starts now.
    pub(super) fn new(skew_ms: i64) -> Self {
        Self { started: Instant::now(), skew_ms: AtomicI64::new(skew_ms), advanced_ms: AtomicI64::new(0) }
    }

    /// What rows and `Date` headers are dated with.
    pub(super) fn now(&self) -> Timestamp {
        let offset = self.skew_ms.load(Ordering::Relaxed).saturating_add(self.advanced_ms.load(Ordering::Relaxed));
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond().saturating_add(offset))
    }

    /// By both clocks.
    pub(super) fn moment(&self) -> Moment {
        let elapsed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let elapsed = elapsed.saturating_add(self.advanced_ms.load(Ordering::Relaxed));
        Moment { date: Seconds::of(self.now()), elapsed_ms: u64::try_from(elapsed).unwrap_or(0) }
    }

    /// How far dates are ahead of this machine's clock, in milliseconds, what was advanced apart.
    pub(super) fn skew_ms(&self) -> i64 {
        self.skew_ms.load(Ordering::Relaxed)
    }

    /// Sets that.
    pub(super) fn set_skew_ms(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    /// Lets time pass at once: for dates, quota windows, lag and late effects alike.
    pub(super) fn advance(&self, by: Duration) {
        self.advanced_ms.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}
