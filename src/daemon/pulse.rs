//! A loop's sign of life: what `/livez` and the watchdog look at.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A loop that waits beats this often.
pub(super) const BEAT: Duration = Duration::from_secs(10);

/// A loop that waits and was silent for so long hangs.
const WAITING_SILENCE_MAX: Duration = Duration::from_secs(120);

/// A loop that works and made no call for so long hangs. Long, for a quota that others use up may be waited for.
const WORKING_SILENCE_MAX: Duration = Duration::from_secs(900);

/// The sign of life of one loop.
#[derive(Debug)]
pub(super) struct Pulse {
    born: Instant,
    last_ms: AtomicU64,
    working: AtomicBool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { born: Instant::now(), last_ms: AtomicU64::new(0), working: AtomicBool::new(false) }
    }
}

impl Pulse {
    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The loop turns.
    pub fn beat(&self) {
        self.last_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// Whether the loop turns.
    pub fn is_alive(&self) -> bool {
        let silence = Duration::from_millis(self.elapsed_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed)));
        let most = if self.working.load(Ordering::Relaxed) { WORKING_SILENCE_MAX } else { WAITING_SILENCE_MAX };
        silence <= most
    }

    /// Works on something long; beats as often as its progress moves.
    pub async fn during<F: Future>(&self, work: F, progress: impl Fn() -> u64) -> F::Output {
        let mut work = std::pin::pin!(work);
        let mut before = progress();
        self.working.store(true, Ordering::Relaxed);
        self.beat();
        let done = loop {
            tokio::select! {
                biased;
                done = &mut work => break done,
                () = tokio::time::sleep(BEAT) => {
                    let now = progress();
                    if now != before {
                        before = now;
                        self.beat();
                    }
                }
            }
        };
        self.working.store(false, Ordering::Relaxed);
        self.beat();
        done
    }

    /// Waits, beating; ends at once when stopped. Whether to go on.
    pub async fn rest(&self, duration: Duration, stop: &CancellationToken) -> bool {
        self.working.store(false, Ordering::Relaxed);
        let until = Instant::now() + duration;
        loop {
            self.beat();
            let now = Instant::now();
            if now >= until {
                return !stop.is_cancelled();
            }
            if stop.run_until_cancelled(tokio::time::sleep_until(until.min(now + BEAT))).await.is_none() {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_is_found_and_one_that_works_or_rests_is_not() {
        let pulse = Pulse::default();
        let stop = CancellationToken::new();
        assert!(pulse.rest(Duration::from_secs(3600), &stop).await);
        assert!(pulse.is_alive());
        tokio::time::advance(WAITING_SILENCE_MAX + Duration::from_secs(1)).await;
        assert!(!pulse.is_alive());

        let calls = AtomicU64::new(0);
        let long = async {
            for _ in 0..60 {
                tokio::time::sleep(Duration::from_secs(60)).await;
                calls.fetch_add(1, Ordering::Relaxed);
                assert!(pulse.is_alive());
            }
            tokio::time::sleep(WORKING_SILENCE_MAX + BEAT * 2).await;
            assert!(!pulse.is_alive());
        };
        pulse.during(long, || calls.load(Ordering::Relaxed)).await;
        assert!(pulse.is_alive());

        stop.cancel();
        assert!(!pulse.rest(Duration::from_secs(3600), &stop).await);
    }
}
