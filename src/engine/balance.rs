//! The balance of a pass: every mapped field that it looked at is in exactly one place.

use serde::{Deserialize, Serialize};

/// Counts of one pass, in mapped fields of linked records unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// All that it looked at.
    pub observed: u64,
    /// Nothing to do.
    pub unchanged: u64,
    /// Found equal on both sides, and agreed on without a write.
    pub agreed: u64,
    /// Written, and shown by the target.
    pub written: u64,
    /// Waiting for a person.
    pub held: u64,
    /// Left alone by the mapping, or by a person's word.
    pub kept: u64,
    /// Changed again before it was written.
    pub superseded: u64,
    /// Not written yet.
    pub pending: u64,
    /// Refused by a failure.
    pub failed: u64,
    /// Fields of records without a link.
    pub unlinked: u64,
    /// Links made.
    pub links_created: u64,
    /// Records made, on either side.
    #[serde(default)]
    pub records_created: u64,
    /// Records that are gone, whose links ended.
    pub records_deleted: u64,
    /// Conflicts that a policy decided.
    pub conflicts: u64,
    /// Edits on the target of a one-way field that were put back.
    #[serde(default)]
    pub put_back: u64,
    /// Values written to the store.
    pub store_writes: u64,
    /// Values written to the CRM.
    pub crm_writes: u64,
    /// The longest time from the last read of a field to the sending of its write.
    pub recheck_window_ms: u64,
}

/// Where one field ends up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Unchanged,
    Agreed,
    Written,
    Held,
    Kept,
    Superseded,
    Pending,
    Failed,
}

impl Place {
    /// Whether something is left to do in the field.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Superseded | Self::Pending | Self::Failed)
    }
}

impl Balance {
    /// Whether every field that was looked at is in exactly one place.
    pub const fn adds_up(&self) -> bool {
        let settled = self.unchanged + self.agreed + self.written + self.held + self.kept;
        self.observed == settled + self.superseded + self.pending + self.failed + self.unlinked
    }

    pub(super) fn put(&mut self, place: Place) {
        self.observed += 1;
        *match place {
            Place::Unchanged => &mut self.unchanged,
            Place::Agreed => &mut self.agreed,
            Place::Written => &mut self.written,
            Place::Held => &mut self.held,
            Place::Kept => &mut self.kept,
            Place::Superseded => &mut self.superseded,
            Place::Pending => &mut self.pending,
            Place::Failed => &mut self.failed,
        } += 1;
    }

    pub(super) const fn put_unlinked(&mut self, fields: u64) {
        self.observed += fields;
        self.unlinked += fields;
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.observed += more.observed;
        self.unchanged += more.unchanged;
        self.agreed += more.agreed;
        self.written += more.written;
        self.held += more.held;
        self.kept += more.kept;
        self.superseded += more.superseded;
        self.pending += more.pending;
        self.failed += more.failed;
        self.conflicts += more.conflicts;
        self.put_back += more.put_back;
        self.store_writes += more.store_writes;
        self.crm_writes += more.crm_writes;
        self.recheck_window_ms = self.recheck_window_ms.max(more.recheck_window_ms);
    }
}
