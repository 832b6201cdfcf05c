//! Why a pass or a read ended early.

use crate::checkpoint;
use crate::model::{Failure, Side};

/// What stopped the engine's work, in one of its classes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source failed.
    #[error("{side} {name}: {failure}")]
    Source {
        /// Which side it is on.
        side: Side,
        /// Its label.
        name: String,
        /// How it failed.
        failure: Box<Failure>,
    },
    /// The checkpoint failed.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// We were told to stop.
    #[error("stopped before it was done; nothing is lost, the next pass goes on from here")]
    Stopped,
    /// `--expect` named another plan.
    #[error("the plan is not the expected one any more: it is {found}; look at `attune plan` again")]
    PlanMoved {
        /// The digest of the plan as it is now.
        found: String,
    },
}

impl Error {
    /// The failure of the source, where that is what it was.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Source { failure, .. } => Some(failure),
            _ => None,
        }
    }
}
