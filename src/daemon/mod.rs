//! From a configuration to running sources and pairs: schedule, signals, readiness, shutdown.
//!
//! Must not know: what a pass does, what a connector sends, how anything is printed.

mod blueprint;
mod fleet;

pub use blueprint::{Blueprint, PairPlan, SourcePlan, Surroundings};
pub use fleet::{Fleet, PairSlot, SourceSlot};
