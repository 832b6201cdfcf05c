//! Looking for records by what they hold: how a source much larger than its other side is read, and what is asked before
//! a record is made.

use async_trait::async_trait;

use super::Lane;
use crate::model::{Failure, Key};

/// What a source's lookups take in one call, and what a whole read takes: what to choose by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupLimits {
    /// The most values of one [`Lookup::keys_with`].
    pub values_per_find: usize,
    /// The records that one call of [`super::Connector::everything`] shows.
    pub rows_per_page: usize,
}

/// A source that finds records by a value.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// What to choose by.
    fn lookup_limits(&self) -> LookupLimits;

    /// Whether records can be found by this field (an index into the connector's fields).
    fn finds_by(&self, field: usize) -> bool;

    /// How many records there are, about.
    async fn count(&self, lane: Lane) -> Result<u64, Failure>;

    /// The keys of the records that hold one of these values in a field; with `fold`, whatever the case of their letters.
    /// It may name more (the caller compares what it reads of them), never fewer than there were when it was asked, as far as
    /// the source's own search knows them. At most `values_per_find` values; only for fields that [`Lookup::finds_by`].
    async fn keys_with(&self, field: usize, values: &[String], fold: bool, lane: Lane) -> Result<Vec<Key>, Failure>;
}
