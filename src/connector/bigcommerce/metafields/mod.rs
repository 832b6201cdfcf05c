//! Metafields of customers: `metafield:NAMESPACE/KEY`, a text of up to 65,535 characters.
//!
//! They belong to the API account that made them, and who else sees or changes them is told by their `permission_set`. One of
//! another app that we do not see is nothing to us; one that we see and may not change is read, and held when it is to be written.
//!
//! - `read`: the feed, the sweep, and those of given customers
//! - `write`: made and changed by tens, deleted one by one
//!
//! Must not know: other fields of customers.

mod read;
mod write;

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use super::BigCommerce;
use super::field::Field;
use super::wire::{Shown, number};
use crate::http::encoded;
use crate::model::{Cell, FieldShape, Timestamp};

pub(super) use write::{METAFIELDS_PER_CALL, batches};

/// The longest namespace and the longest key.
const NAME_CHARS_MAX: usize = 64;

/// The longest value.
const VALUE_CHARS_MAX: u32 = 65_535;

/// Who sees and changes a metafield that we make, where the mapping says nothing: we.
const PERMISSION_SET: &str = "app_only";

/// A metafield by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metafield {
    namespace: String,
    key: String,
}

impl Metafield {
    /// Reads `NAMESPACE/KEY`; the error is a sentence.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let (namespace, key) = name.split_once('/').unwrap_or((name, ""));
        let fits = |part: &str| (1..=NAME_CHARS_MAX).contains(&part.chars().count()) && !part.contains(',');
        if fits(namespace) && fits(key) {
            Ok(Self { namespace: namespace.to_owned(), key: key.to_owned() })
        } else {
            Err(format!(
                "`metafield:{name}` names no metafield; write `metafield:NAMESPACE/KEY`, each of 1 to {NAME_CHARS_MAX} \
                 characters without commas"
            ))
        }
    }
}

/// What a metafield can hold. It is never empty: nothing is no metafield.
pub(super) fn shape() -> FieldShape {
    FieldShape { max_chars: Some(VALUE_CHARS_MAX), ..FieldShape::TEXT }
}

/// A metafield of a customer.
#[derive(Debug, Deserialize)]
struct MetafieldRow<'a> {
    #[serde(deserialize_with = "number")]
    id: u64,
    #[serde(deserialize_with = "number")]
    resource_id: u64,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Shown<'a>,
    #[serde(borrow, default)]
    date_modified: Shown<'a>,
    #[serde(borrow, default)]
    permission_set: Shown<'a>,
}

impl MetafieldRow<'_> {
    fn modified(&self) -> Option<Timestamp> {
        Timestamp::parse(self.date_modified.text())
    }

    fn cell(&self) -> Cell {
        Cell { seen: self.value.seen(), modified: self.modified(), token: Some(self.id.to_string()) }
    }

    /// Of several that an app may see under one name, the one that only it sees is its own; otherwise the youngest counts.
    fn rank(&self) -> (bool, u64) {
        (self.permission_set.text() == PERMISSION_SET, self.id)
    }
}

/// Cells by customer and field.
type Cells = HashMap<(u64, usize), Cell>;

impl BigCommerce {
    fn metafields_mapped(&self) -> impl Iterator<Item = (usize, &Metafield)> {
        self.fields.iter().enumerate().filter_map(|(index, field)| match field {
            Field::Metafield(metafield) => Some((index, metafield)),
            _ => None,
        })
    }

    /// The filter that shows no others than these, or few.
    fn metafield_filter(&self) -> String {
        let list = |part: fn(&Metafield) -> &str| {
            let mut parts: Vec<String> =
                self.metafields_mapped().map(|(_, metafield)| encoded(part(metafield))).collect();
            parts.sort_unstable();
            parts.dedup();
            parts.join(",")
        };
        format!("&namespace:in={}&key:in={}", list(|metafield| &metafield.namespace), list(|metafield| &metafield.key))
    }

    /// What rows show of mapped fields.
    fn metafield_cells(&self, rows: &[MetafieldRow<'_>]) -> Cells {
        let mut found: HashMap<(u64, usize), ((bool, u64), Cell)> = HashMap::new();
        for row in rows {
            let named = |metafield: &Metafield| metafield.namespace == row.namespace && metafield.key == row.key;
            for (field, _) in self.metafields_mapped().filter(|(_, metafield)| named(metafield)) {
                let shown = (row.rank(), row.cell());
                let known = found.entry((row.resource_id, field)).or_insert_with(|| shown.clone());
                if known.0 < shown.0 {
                    *known = shown;
                }
            }
        }
        found.into_iter().map(|(place, (_, cell))| (place, cell)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_namespace_and_a_key() {
        let parsed = Metafield::parse("erp/customer/id").unwrap();
        assert_eq!((parsed.namespace.as_str(), parsed.key.as_str()), ("erp", "customer/id"));
        for wrong in ["", "erp", "erp/", "/id", "a,b/id", &format!("erp/{}", "x".repeat(65))] {
            assert!(Metafield::parse(wrong).unwrap_err().contains("NAMESPACE/KEY"), "{wrong}");
        }
    }
}
