//! Segments: whether a customer is in one (`segment:NAME`), and in which of several (`segments`).
//!
//! A customer is in a segment by its shopper profile, of which it has one or none. Nothing dates a membership, and nothing tells that
//! it changed: who is in is read with every customer, and as a whole now and then.
//!
//! - `definitions`: segments by name and by id
//! - `members`: the feed, which reads who is in as a whole
//! - `write`: profiles that are missing, joining and leaving
//!
//! Must not know: other fields of customers.

mod definitions;
mod members;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use super::field::Field;
use super::wire::{CustomerRow, Shown, ShownList};
use crate::model::{Cell, FieldShape, Holds, Seen, Value};

pub(super) use members::Roster;
pub(super) use write::{PROFILES_PER_CALL, batches};

/// The mapped segments that the store has.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// For each field its segments, name to id: of `segment:NAME` one, of `segments` those among which it is limited.
    by_field: Vec<BTreeMap<String, String>>,
}

impl Segments {
    fn of_field(&self, field: usize) -> Option<&BTreeMap<String, String>> {
        self.by_field.get(field)
    }

    /// The ids of all, each once.
    fn ids(&self) -> BTreeSet<&str> {
        self.by_field.iter().flat_map(BTreeMap::values).map(String::as_str).collect()
    }

    /// What a field about segments holds of somebody who is in these; none where that is not known of one of them.
    fn cell(&self, index: usize, field: &Field, is_in: impl Fn(&str) -> Option<bool>) -> Cell {
        let Some(found) = self.of_field(index) else { return Cell::default() };
        let seen = match field {
            Field::Segment(name) => match found.get(name).and_then(|id| is_in(id)) {
                Some(member) => Seen::Value(Value::text(member.to_string())),
                None => Seen::Unseen,
            },
            Field::Segments => {
                let names: Option<Vec<(&String, bool)>> =
                    found.iter().map(|(name, id)| Some((name, is_in(id)?))).collect();
                match names {
                    Some(names) => {
                        let within = names.into_iter().filter(|(_, member)| *member);
                        let within: Vec<String> = within.map(|(name, _)| name.clone()).collect();
                        if within.is_empty() { Seen::Absent } else { Seen::Value(Value::List(within)) }
                    }
                    None => Seen::Unseen,
                }
            }
            _ => Seen::Unseen,
        };
        Cell { seen, ..Cell::default() }
    }

    /// What a customer shows. Whoever has no profile is in no segment.
    pub(super) fn cell_of(&self, index: usize, field: &Field, row: &CustomerRow<'_>) -> Cell {
        let no_profile = match &row.shopper_profile_id {
            Shown::Null => true,
            Shown::Text(id) => id.is_empty(),
            Shown::Missing => false,
        };
        let within = match &row.segment_ids {
            ShownList::Items(ids) => ids.as_slice(),
            ShownList::Missing | ShownList::Null if no_profile => &[],
            ShownList::Missing | ShownList::Null => return Cell::default(),
        };
        let is_in = |id: &str| Some(within.iter().any(|other| other.text() == id));
        let profile = row.shopper_profile_id.text();
        let token = (!profile.is_empty()).then(|| profile.to_owned());
        Cell { token, ..self.cell(index, field, is_in) }
    }
}

/// What a field about segments can hold.
fn shape(field: &Field) -> FieldShape {
    match field {
        Field::Segments => FieldShape { holds: Holds::List, ..FieldShape::TEXT },
        _ => FieldShape { holds: Holds::Boolean, clearable: false, ..FieldShape::TEXT },
    }
}

/// Whether an id can stand in a path: the UUIDs that BigCommerce gives can.
fn is_path_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 64
        && id.chars().all(|character| character.is_ascii_alphanumeric() || character == '-')
}
