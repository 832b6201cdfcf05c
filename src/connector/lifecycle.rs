//! Making and removing records, where a system can do that and a mapping says so.

use async_trait::async_trait;

use super::Reservation;
use crate::model::{Existence, Failure, Key, Observed, Value};

/// A record to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// A name that the engine gives to this one creation, of letters, digits and `_`: the same each time it is tried. A system
    /// that keeps names of others for its records (an external id) cannot make it twice.
    pub token: String,
    /// What it is to hold, by field (an index into the connector's fields), each field once.
    pub values: Vec<(usize, Value)>,
}

/// What became of one record of a [`Lifecycle::create`].
#[derive(Clone, Debug)]
pub enum Created {
    /// The system says that it made the record, or had made it under the same token, and what its key is.
    Made(Key),
    /// The system has a record that stands in the way: the same e-mail, the same unique value. Its key, if it says so.
    /// Nothing was made.
    Exists(Option<Key>),
    /// This record cannot be made as it is: a sentence that says why and what to do, without anything that it holds.
    Rejected(String),
    /// The batch failed as a whole because of one or more of its records, and nothing of it was made.
    BatchRejected(Failure),
    /// Known not to have happened.
    NotSent(Failure),
    /// It may have happened, or may still happen.
    Unknown(Failure),
}

/// What became of one record of a [`Lifecycle::remove`].
#[derive(Clone, Debug)]
pub enum Removed {
    /// It is not there any more (deleted, archived, or gone before).
    Gone,
    /// The system does not let this record go: a sentence that says why and what to do.
    Rejected(String),
    /// Known not to have happened.
    NotSent(Failure),
    /// It may have happened, or may still happen.
    Unknown(Failure),
}

/// What a source takes to make and remove records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifecycleLimits {
    /// The most records of one [`Lifecycle::create`]; 0: it makes none.
    pub records_per_create: usize,
    /// The most keys of one [`Lifecycle::remove`]; 0: it removes none.
    pub keys_per_remove: usize,
}

/// A source that makes and removes records.
#[async_trait]
pub trait Lifecycle: Send + Sync {
    /// What to plan by.
    fn lifecycle_limits(&self) -> LifecycleLimits;

    /// Fields without which no record can be made: each inner list is a choice of which one suffices, by the connector's own
    /// names, in any case of letters. A mapping that creates must give a value to one of each.
    fn required(&self) -> Vec<Vec<&'static str>> {
        Vec::new()
    }

    /// Whether a new record can be given a value of this field when it is made. One that cannot is written afterwards.
    fn creates_with(&self, field: usize) -> bool;

    /// Makes records with one call, sent once. One outcome for each, in order. The call is paid for as a write's is. Nothing
    /// that a system does to people by itself on a creation (a welcome e-mail) is triggered.
    async fn create(&self, batch: &[NewRecord], reservation: &dyn Reservation) -> Vec<Created>;

    /// Deletes or archives these records, as the system can, with as few calls as it takes, each sent once. One outcome for
    /// each, in order. A record that is gone already is `Gone`.
    async fn remove(&self, keys: &[Key], reservation: &dyn Reservation) -> Vec<Removed>;
}

/// What became of records by what they were right before, and of those that were there by what the call for them came to.
/// `system`: its name, for the sentence about one that is hidden from us.
pub(super) fn removed(
    before: &[Observed],
    outcome: impl Fn(&Key) -> Option<Removed>,
    (system, model): (&str, &str),
) -> Vec<Removed> {
    let of_one = |record: &Observed| match record.existence {
        Existence::Present => outcome(&record.key).unwrap_or(Removed::Gone),
        Existence::Gone | Existence::MergedInto(_) => Removed::Gone,
        Existence::NotSaid => Removed::Rejected(format!(
            "a rule of {system} hides this record of `{model}` from the user; lift the rule, or remove the record there"
        )),
    };
    before.iter().map(of_one).collect()
}

/// Whether a system that has no code for it says that there is such a record: its words in English, which it is asked for, those
/// of databases and of most modules. Anything else is a refusal.
pub(super) fn says_it_is_there(said: &str) -> bool {
    let said = said.to_lowercase();
    let words = [
        "already exist",
        "must be unique",
        "should be unique",
        "has to be unique",
        "duplicate key",
        "unique constraint",
    ];
    words.iter().any(|words| said.contains(words))
}
