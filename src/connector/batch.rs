//! Batches of writes: all writes of one record stay together, and every write has one outcome.

use std::collections::BTreeMap;

use crate::model::{Key, Outcome, Write};

/// The writes of each record together, in the order of their keys.
pub(super) fn by_record(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut records: BTreeMap<Key, Vec<Write>> = BTreeMap::new();
    for write in writes {
        records.entry(write.key.clone()).or_default().push(write);
    }
    records.into_values().collect()
}

/// Gives this outcome to every write that has none yet.
pub(super) fn fill(outcomes: &mut [Option<Outcome>], outcome: &Outcome) {
    for open in outcomes.iter_mut().filter(|open| open.is_none()) {
        *open = Some(outcome.clone());
    }
}
