//! The engine's only clock, so that a simulation can own time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use rustix::time::{ClockId, clock_gettime};

use crate::model::Timestamp;

/// Time as the engine sees it: "ours" in the checkpoint.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Waits.
    async fn sleep(&self, duration: Duration);
}

/// The machine's clock as it was when the process began, and from then on the time that went by, asleep or not. Whoever
/// sets the machine's clock moves no quarantine and no order of reads and writes: only the next process knows of it.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    began: Timestamp,
    began_up: Duration,
}

impl Default for SystemClock {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let began = Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Self { began, began_up: up() }
    }
}

/// How long the machine has been up.
fn up() -> Duration {
    let up = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(up.tv_sec).unwrap_or(0), u32::try_from(up.tv_nsec).unwrap_or(0))
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.began + up().saturating_sub(self.began_up)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
