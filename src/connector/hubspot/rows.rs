//! Records as HubSpot answers them, and what they show: values dated by their history, the primary company's beside them.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::properties::{COMPANY_ID, Place, Property};
use crate::model::{Cell, Existence, Key, Observed, Seen, Timestamp, Value as Text};

/// The property of a record that others were merged into: their ids.
pub(super) const MERGED_IDS: &str = "hs_merged_object_ids";

/// A record as HubSpot answers it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) id: Value,
    #[serde(default)]
    pub(super) properties: HashMap<String, Option<String>>,
    #[serde(default)]
    properties_with_history: HashMap<String, Vec<Version>>,
    updated_at: Option<String>,
    /// What the one who made it called its creation.
    pub(super) object_write_trace_id: Option<String>,
    pub(super) archived_at: Option<String>,
}

/// A value that a property has or had; the newest comes first.
#[derive(Debug, Deserialize)]
struct Version {
    timestamp: Option<String>,
}

/// Rows, and what went wrong with others.
#[derive(Debug, Deserialize)]
pub(super) struct Rows {
    #[serde(default)]
    pub(super) results: Vec<Row>,
    #[serde(default)]
    pub(super) errors: Vec<Problem>,
    paging: Option<Paging>,
}

/// What HubSpot says of records that it did not read or write.
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) category: String,
    #[serde(default)]
    pub(super) context: HashMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) message: String,
}

impl Problem {
    /// Whether it says that there is such a record already.
    pub(super) fn says_it_is_there(&self) -> bool {
        ["CONFLICT", "OBJECT_ALREADY_EXISTS"].contains(&self.category.as_str()) || existing(&self.message).is_some()
    }

    /// Whether it says that a record is not there.
    pub(super) fn is_missing(&self) -> bool {
        self.category == "OBJECT_NOT_FOUND"
    }
}

#[derive(Debug, Deserialize)]
struct Paging {
    next: Option<Next>,
}

#[derive(Debug, Deserialize)]
struct Next {
    after: String,
}

impl Row {
    /// The records that were merged into this one.
    pub(super) fn merged(&self) -> impl Iterator<Item = u64> + '_ {
        let ids = self.properties.get(MERGED_IDS).and_then(Option::as_deref).unwrap_or_default();
        ids.split(';').filter_map(|id| id.trim().parse().ok())
    }
}

impl Rows {
    pub(super) fn next(&self) -> Option<&str> {
        self.paging.as_ref()?.next.as_ref().map(|next| next.after.as_str()).filter(|after| !after.is_empty())
    }
}

/// The companies of some contacts.
pub(super) type Companies = HashMap<u64, Row>;

/// The record's own properties that these fields (none: all) need, each once.
pub(super) fn names(properties: &[Option<Property>], fields: Option<&[usize]>) -> Vec<String> {
    let mut names = BTreeSet::new();
    for (index, property) in properties.iter().enumerate() {
        let Some(property) = property else { continue };
        if fields.is_some_and(|fields| !fields.contains(&index)) {
            continue;
        }
        match &property.place {
            Place::Own(name) => drop(names.insert(name.clone())),
            Place::OfCompany(_) => drop(names.insert(COMPANY_ID.to_owned())),
            Place::Key => {}
        }
    }
    names.into_iter().collect()
}

/// The id in a key; none where a record cannot have this key.
pub(super) fn id_of(key: &Key) -> Option<u64> {
    key.as_str().parse().ok().filter(|id: &u64| *id > 0 && id.to_string() == key.as_str())
}

pub(super) fn company_of(row: &Row) -> Option<u64> {
    row.properties.get(COMPANY_ID)?.as_deref()?.parse().ok()
}

pub(super) fn observe(
    properties: &[Option<Property>],
    fields: Option<&[usize]>,
    id: u64,
    row: &Row,
    companies: &Companies,
) -> Observed {
    let cells = properties
        .iter()
        .enumerate()
        .map(|(index, property)| match property {
            Some(property) if fields.is_none_or(|fields| fields.contains(&index)) => cell(property, id, row, companies),
            _ => Cell::default(),
        })
        .collect();
    let modified = row.updated_at.as_deref().and_then(Timestamp::parse);
    Observed { key: Key::new(id.to_string()), existence: Existence::Present, modified, cells }
}

fn cell(property: &Property, id: u64, row: &Row, companies: &Companies) -> Cell {
    match &property.place {
        Place::Key => Cell { seen: Seen::Value(Text::text(id.to_string())), ..Cell::default() },
        Place::Own(name) => own(property, name, row),
        Place::OfCompany(name) => match (company_of(row), row.properties.get(COMPANY_ID)) {
            // The contact may have brought the value by coming to this company.
            (Some(company), _) => match companies.get(&company).map(|company| own(property, name, company)) {
                Some(cell) if !cell.seen.is_unseen() => {
                    Cell { modified: cell.modified.max(dated(row, COMPANY_ID)), ..cell }
                }
                _ => Cell::default(),
            },
            (None, Some(_)) => Cell { modified: dated(row, COMPANY_ID), ..Cell::absent() },
            (None, None) => Cell::default(),
        },
    }
}

/// A property of a row, dated by its history.
pub(super) fn own(property: &Property, name: &str, row: &Row) -> Cell {
    match row.properties.get(name) {
        None => Cell::default(),
        Some(text) => Cell { seen: property.spelling.seen(text.as_deref()), modified: dated(row, name), token: None },
    }
}

fn dated(row: &Row, name: &str) -> Option<Timestamp> {
    let versions = row.properties_with_history.get(name)?;
    versions.iter().filter_map(|version| version.timestamp.as_deref().and_then(Timestamp::parse)).max()
}

/// The record that is in the way of a new one: `Contact already exists. Existing ID: 2926551`.
pub(super) fn existing(message: &str) -> Option<Key> {
    let (_, rest) = message.split_once("Existing ID: ")?;
    let id: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(Key::new(id)).filter(|key| id_of(key).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_in_the_way_is_named() {
        for (message, id) in [
            ("Contact already exists. Existing ID: 2926551", Some("2926551")),
            ("A contact with email a@example.com already exists. Existing ID: 7.", Some("7")),
            ("Contact already exists. Existing ID: unknown", None),
            ("Property values were not valid", None),
        ] {
            assert_eq!(existing(message), id.map(Key::new), "{message}");
        }
    }
}
