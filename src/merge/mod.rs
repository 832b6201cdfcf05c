//! Pure decisions: three-way merge, canonical values, rails. No clock, no I/O, no async.
//!
//! Must not know: connectors, the checkpoint, the engine, tokio.

mod canonical;
mod consent;
mod day;
mod decide;
mod number;
mod rails;
mod undo;

#[cfg(test)]
mod canonical_test;
#[cfg(test)]
mod consent_test;
#[cfg(test)]
mod laws_test;
#[cfg(test)]
mod table_test;

pub use canonical::{CannotBeTaken, canonical, encode, fits, nothing};
pub use decide::{Decision, Facts, Intent, Taken, Target, decide, obstacle, resolve};
pub use rails::{Counts, Crossed, crossed};
pub use undo::{NotPutBack, put_back, refuses_mail};
