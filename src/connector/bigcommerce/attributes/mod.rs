//! Attributes: a definition for each name, and a value of each customer with a date and an id of its own.
//!
//! - `definitions`: found by name once, then known by id; made where the mapping says so
//! - `values`: the feed of values, and the values of given customers
//! - `write`: upserts and deletes
//!
//! Must not know: what else a customer has.

mod definitions;
mod values;
mod write;

use std::collections::BTreeSet;

use crate::model::{FieldShape, FieldType, Holds};

pub(super) use values::show_all;
pub(super) use write::{VALUES_PER_UPSERT, batches};

/// The ids of the mapped attributes that can be used.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    by_field: Vec<Option<u64>>,
    ids: Vec<u64>,
}

impl Attributes {
    pub(super) fn new(by_field: Vec<Option<u64>>) -> Self {
        let ids: BTreeSet<u64> = by_field.iter().flatten().copied().collect();
        Self { by_field, ids: ids.into_iter().collect() }
    }

    /// All of them, each once.
    pub(super) fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// The attribute of a field; none where it cannot be used now.
    pub(super) fn of_field(&self, field: usize) -> Option<u64> {
        self.by_field.get(field).copied().flatten()
    }

    /// The fields that show an attribute. There are at most 50: walking them is quicker than looking them up.
    pub(super) fn fields_of(&self, attribute: u64) -> impl Iterator<Item = usize> + '_ {
        self.by_field.iter().enumerate().filter(move |(_, id)| **id == Some(attribute)).map(|(field, _)| field)
    }
}

/// The type an attribute must have for a field of a mapping; BigCommerce knows `string`, `number` and `date`.
const fn attribute_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Number => "number",
        FieldType::Date => "date",
        FieldType::String | FieldType::Boolean | FieldType::List => "string",
    }
}

/// What an attribute of a type takes: at most 255 characters, whatever its type.
fn attribute_shape(kind: FieldType) -> FieldShape {
    let holds = match kind {
        FieldType::Number => Holds::Number,
        FieldType::Date => Holds::Date,
        FieldType::String | FieldType::Boolean | FieldType::List => Holds::Text,
    };
    FieldShape { holds, max_chars: Some(255), ..FieldShape::TEXT }
}
