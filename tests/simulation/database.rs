//! The database of a simulated checkpoint: its own SQL, answered on the spot.

use attune::checkpoint::{Datum, OnTheSpot};

#[path = "../../src/checkpoint/on_the_spot.rs"]
mod on_the_spot;

pub use on_the_spot::{InMemory, Tables};
