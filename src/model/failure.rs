//! Failures of a source: a class that decides what happens next, and the facts a person needs. Never a secret, never
//! personal data in what `Display` prints; what a system said goes to [`Failure::detail`], for `debug` and terminals.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a failure means for what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// It may go away by itself: 429, 5xx, timeouts, broken connections. Reads are repeated with backoff.
    Retry,
    /// The credentials are refused (401, 403): this source rests, others go on.
    Auth,
    /// What was sent is refused (this row).
    Rejected,
    /// The configuration does not fit this system (no such column, attribute of another type, secret missing).
    Misconfigured,
    /// We sent something wrong, or the answer has a shape we do not understand: a defect.
    Broken,
}

/// One failure of one call to one source.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What it means for what happens next.
    pub class: Class,
    /// One sentence: what, where, why, what to do. No secret, no personal data, no text that came from the system.
    pub message: String,
    /// HTTP status, where there was one.
    pub status: Option<u16>,
    /// The system's own word for what is wrong (the name of an exception, an error code), where its answer has one.
    pub code: Option<String>,
    /// The system's id for the request (`X-Request-Id`).
    pub request_id: Option<String>,
    /// What the system itself said (title and errors), shortened; may hold personal data: `debug` and terminals only.
    pub detail: Option<String>,
    /// How long the system asks us to wait.
    pub retry_after: Option<Duration>,
    /// Whether the call may have taken effect, or may still.
    pub may_have_happened: bool,
}

impl Failure {
    /// A failure of a class with its sentence.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            status: None,
            code: None,
            request_id: None,
            detail: None,
            retry_after: None,
            may_have_happened: false,
        }
    }

    /// Marks that the call may have taken effect.
    #[must_use]
    pub fn possibly_happened(mut self) -> Self {
        self.may_have_happened = true;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        if let Some(status) = self.status {
            write!(formatter, " (status {status})")?;
        }
        if let Some(request_id) = &self.request_id {
            write!(formatter, " (request {request_id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
