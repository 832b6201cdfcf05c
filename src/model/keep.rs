//! How long history is kept.

use std::time::Duration;

/// What of history is kept. What is younger than a day is kept in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Writes of so long ago.
    pub age: Duration,
    /// So many writes, the newest.
    pub writes: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { age: Duration::from_secs(365 * 86_400), writes: 5_000_000 }
    }
}
