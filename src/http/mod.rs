//! The one way out over HTTP: pacing to a quota, limits on what comes back, classes of failure, redaction.
//!
//! A `Caller` speaks to one system. A call takes a `Turn` from the system's `Throttle` and is then sent exactly
//! once; what fails is classified in one place and never carries a secret, an address with a query, or personal data
//! in its message. Repeating reads is the connector's (`connector::retry`): nothing here sends twice, except after a
//! 401 or 403 (known not to have happened) when the secret has changed.
//!
//! Must not know: which system answers, what a customer is, the checkpoint, the engine.

mod answer;
mod caller;
mod client;
mod encoded;
mod failure;
mod lanes;
mod pace;
mod throttle;
mod told;
pub mod webhook;

pub use answer::Answer;
pub use caller::{Caller, Credential, Endpoint, Fetch, Pay, Request, SecretProvider, SecretSource, Settings, Turn};
pub use client::{Client, Timeouts};
pub use encoded::encoded;
pub use failure::is_too_large;
pub use throttle::{FixedQuota, Reserved, Throttle, ThrottleSettings};

/// Which work a call belongs to; under one quota, earlier lanes go first and the last two keep a tenth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Reading back unknown outcomes.
    Resolve,
    /// Fresh changes.
    Fresh,
    /// Sweeps.
    Sweep,
    /// Backfill.
    Backfill,
}

/// A quota as the source last told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Quota {
    /// Calls left in this window, for all apps together.
    pub left: u64,
    /// Calls in a window.
    pub quota: u64,
    /// Milliseconds until the window ends.
    pub reset_ms: u64,
}
