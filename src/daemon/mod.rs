//! From a configuration to running sources and pairs: schedule, signals, readiness, shutdown.
//!
//! One loop for each source and one for each pair; each wakes on its interval, on its sweep or on demand (a `Bell`), and
//! cannot overlap itself. What fails backs off alone; a panic restarts one loop. `Works` are all loops of one
//! configuration: a reload stops them and starts others on the same checkpoint.
//!
//! Must not know: what a pass does, what a connector sends, how anything is printed.

mod acts;
mod alerts;
mod bell;
mod blueprint;
mod connectors;
mod control;
mod fleet;
mod lookout;
mod meters;
mod office;
mod outage;
mod pair;
mod passes;
mod pulse;
mod requests;
mod run;
mod schedule;
mod service;
mod source;
mod standings;
mod supervise;
mod tidying;
mod told;
mod vitals;
mod watched;
mod works;

pub use blueprint::{Blueprint, PairPlan, SourcePlan, Surroundings};
pub use control::{Control, Reloaded};
pub use fleet::{Fleet, PairSlot, SourceSlot};
pub use outage::Failed;
pub use requests::SyncOutcome;
pub use run::{Ended, Error, Loader, RunSettings, run};
pub use standings::{CrmStanding, Standings, StoreStanding};

/// Whole milliseconds.
fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
