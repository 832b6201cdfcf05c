//! What was seen of one record, packed into one column: a page of records costs one statement, however many fields.

use serde::{Deserialize, Serialize};

use crate::model::{Seen, Timestamp, Value};

/// What was last seen in one field of one record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenCell {
    /// The value as the source writes it; none: absent.
    pub value: Option<Value>,
    /// The newest modification time known for the field, in the source's time.
    pub modified: Option<Timestamp>,
    /// When somebody else than us last edited it, in the source's time; none where that is not known.
    pub edited: Option<Timestamp>,
    /// When our own write of it was last acknowledged, on our clock.
    pub acknowledged: Option<Timestamp>,
    /// Whether the value is the one that we wrote then.
    pub ours: bool,
}

impl SeenCell {
    /// As the merge takes it.
    pub fn seen(&self) -> Seen {
        self.value.clone().map_or(Seen::Absent, Seen::Value)
    }
}

/// All fields of one record, by field id; a field that is not here is unseen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeenRecord(Vec<Packed>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Packed(i64, Option<Value>, Option<Timestamp>, Option<Timestamp>, Option<Timestamp>, u8);

impl SeenRecord {
    /// Nothing was seen.
    pub const EMPTY: Self = Self(Vec::new());

    /// The cell of a field; none: unseen.
    pub fn get(&self, field: i64) -> Option<SeenCell> {
        self.0.iter().find(|packed| packed.0 == field).map(|packed| SeenCell {
            value: packed.1.clone(),
            modified: packed.2,
            edited: packed.3,
            acknowledged: packed.4,
            ours: packed.5 != 0,
        })
    }

    /// What the merge takes for a field.
    pub fn seen(&self, field: i64) -> Seen {
        match self.0.iter().find(|packed| packed.0 == field) {
            None => Seen::Unseen,
            Some(Packed(_, None, ..)) => Seen::Absent,
            Some(Packed(_, Some(value), ..)) => Seen::Value(value.clone()),
        }
    }

    /// The value of a field, where one was seen.
    pub fn value(&self, field: i64) -> Option<&Value> {
        self.0.iter().find(|packed| packed.0 == field).and_then(|packed| packed.1.as_ref())
    }

    /// The newest modification time known for any other field than this one that counts, in the source's time.
    pub fn modified_beside(&self, field: i64, counts: impl Fn(i64) -> bool) -> Option<Timestamp> {
        self.0.iter().filter(|packed| packed.0 != field && counts(packed.0)).filter_map(|packed| packed.2).max()
    }

    /// Our own writes to other fields than this one, where their values still stand: the earliest date that they can have
    /// given, in the source's time, and when they were acknowledged, on our clock.
    pub fn written_beside(&self, field: i64) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.0
            .iter()
            .filter(move |packed| packed.0 != field && packed.5 != 0)
            .filter_map(|packed| packed.2.zip(packed.4))
    }

    /// Sets the cell of a field.
    pub fn set(&mut self, field: i64, cell: SeenCell) {
        let packed = Packed(field, cell.value, cell.modified, cell.edited, cell.acknowledged, u8::from(cell.ours));
        match self.0.iter_mut().find(|packed| packed.0 == field) {
            Some(known) => *known = packed,
            None => self.0.push(packed),
        }
    }

    /// Makes a field unseen again.
    pub fn forget(&mut self, field: i64) {
        self.0.retain(|packed| packed.0 != field);
    }
}
