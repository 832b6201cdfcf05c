//! Where the calls of simulated stores are recorded, to be held against BigCommerce's own descriptions by `check.py`.

use std::path::PathBuf;

/// A file for each suite, in the folder that `ATTUNE_TEST_TRAFFIC` names; none where it is not set.
pub fn record() -> Option<PathBuf> {
    let folder = std::env::var_os("ATTUNE_TEST_TRAFFIC")?;
    Some(PathBuf::from(folder).join(concat!(env!("CARGO_CRATE_NAME"), ".jsonl")))
}
