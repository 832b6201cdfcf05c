//! Pure decisions: three-way merge, canonical values, rails. No clock, no I/O, no async.
//!
//! Must not know: connectors, the checkpoint, the engine, tokio.

mod canonical;
mod decide;
mod rails;

pub use canonical::{CannotBeTaken, canonical, encode, fits};
pub use decide::{Decision, Facts, Intent, Taken, Target, decide, resolve};
pub use rails::{Counts, Crossed, crossed};
