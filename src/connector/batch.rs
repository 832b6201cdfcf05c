//! Batches of writes: all writes of one record stay together, and every write has one outcome.

use std::collections::BTreeMap;

use crate::model::{Class, Failure, Key, Outcome, Write};

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

/// What became of so many writes of one call that a system refused, or did not answer, as a whole: of one write it is known
/// which value stood in the way, of several it is found by halving.
pub(super) fn refuse(system: &str, writes: usize, failure: Failure, outcomes: &mut [Option<Outcome>]) {
    if failure.class == Class::Rejected {
        // It may hold values: the sentence of a held one must not.
        let said = failure.detail.as_deref().unwrap_or_default();
        tracing::debug!(target: "attune", writes, "{failure}: {said}");
    }
    let outcome = match failure.class {
        _ if failure.may_have_happened => Outcome::Unknown(failure),
        Class::Rejected if writes == 1 => Outcome::Rejected(format!(
            "{system} refused the value (status {}); correct it where it comes from",
            failure.status.unwrap_or_default()
        )),
        Class::Rejected => Outcome::BatchRejected(failure),
        _ => Outcome::NotSent(failure),
    };
    fill(outcomes, &outcome);
}
