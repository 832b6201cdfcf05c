//! Rows of answers as observations: what a record shows of its own, of what it links to, and of its contact mechanisms.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::fields::{ACTIVE, CALLED, CREATE_DATE, Field, Model, REPLACED_BY, STAMP, WRITE_DATE};
use super::mechanisms::{self, ByOwner, Token};
use super::values::{Spelling, instant};
use crate::model::{Cell, Existence, Key, Observed, Seen, Timestamp, Value as Text};

/// What is shown with records: linked records by their number, for each relation, and contact mechanisms.
#[derive(Default)]
pub(super) struct Beside {
    pub(super) linked: Vec<HashMap<i64, Map<String, Value>>>,
    pub(super) mechanisms: ByOwner,
}

/// The names of what is read for these fields (none: all).
pub(super) fn names<'a>(model: &'a Model, fields: Option<&[usize]>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::from([WRITE_DATE, CREATE_DATE, STAMP]);
    names.extend(model.has_active.then_some(ACTIVE));
    names.extend(model.has_replaced_by.then_some(REPLACED_BY));
    for (index, field) in model.fields.iter().enumerate() {
        if fields.is_some_and(|fields| !fields.contains(&index)) {
            continue;
        }
        match field {
            Field::Own(column, _) => drop(names.insert(&column.name)),
            Field::Related { relation, .. } => drop(names.insert(&model.relations[*relation].link)),
            Field::Key | Field::Mechanism { .. } | Field::Nowhere => {}
        }
    }
    names
}

/// The number in a key; none where a record cannot have this key.
pub(super) fn id_of(key: &Key) -> Option<i64> {
    key.as_str().parse().ok().filter(|id: &i64| *id > 0 && id.to_string() == key.as_str())
}

/// A record as others see it: gone where it is archived or merged.
pub(super) fn observe(
    model: &Model,
    id: i64,
    row: &Map<String, Value>,
    fields: Option<&[usize]>,
    beside: &Beside,
) -> Observed {
    if model.has_active && Spelling::Boolean.seen(row.get(ACTIVE)) == Seen::Value(Text::text("false")) {
        let existence = match row.get(REPLACED_BY).and_then(Value::as_i64) {
            Some(other) => Existence::MergedInto(Key::new(other.to_string())),
            None => Existence::Gone,
        };
        return Observed { modified: modified(row), existence, ..gone(model, &Key::new(id.to_string())) };
    }
    shown(model, id, row, fields, beside)
}

/// A record as it is stored, archived or not.
pub(super) fn shown(
    model: &Model,
    id: i64,
    row: &Map<String, Value>,
    fields: Option<&[usize]>,
    beside: &Beside,
) -> Observed {
    let key = Key::new(id.to_string());
    let modified = modified(row);
    let stamp = stamp(row).unwrap_or_default();
    let linked = |relation: usize| {
        let link = row.get(&model.relations[relation].link);
        (link, link.and_then(Value::as_i64).and_then(|id| beside.linked.get(relation)?.get(&id)))
    };
    let cells = model
        .fields
        .iter()
        .enumerate()
        .map(|(index, field)| match field {
            _ if fields.is_some_and(|fields| !fields.contains(&index)) => Cell::default(),
            Field::Key => Cell { seen: Seen::Value(Text::text(key.as_str())), ..Cell::default() },
            Field::Own(column, _) => {
                let seen = match column.spelling {
                    Spelling::LinkByName(relation) => match linked(relation) {
                        (Some(Value::Null), _) => Seen::Absent,
                        (_, Some(other)) => Spelling::Text.seen(other.get(CALLED)),
                        // It may not be read.
                        (_, None) => Seen::Unseen,
                    },
                    spelling => spelling.seen(row.get(&column.name)),
                };
                Cell { seen, modified: None, token: Some(Token::of_record(stamp)) }
            }
            Field::Related { relation, column } => match linked(*relation) {
                // Either may have brought the value: the other record changed, or this one links to another.
                (_, Some(other)) => Cell {
                    seen: column.spelling.seen(other.get(&column.name)),
                    modified: self::modified(other).max(modified),
                    token: None,
                },
                (Some(Value::Null), None) => Cell { modified, ..Cell::absent() },
                // It may not be read.
                (_, None) => Cell::default(),
            },
            Field::Mechanism { kind, .. } => {
                let own = beside.mechanisms.get(&id).map(Vec::as_slice).unwrap_or_default();
                mechanisms::cell(own, kind, stamp)
            }
            Field::Nowhere => Cell::default(),
        })
        .collect();
    Observed { key, existence: Existence::Present, modified, cells }
}

/// When a record changed last.
pub(super) fn modified(row: &Map<String, Value>) -> Option<Timestamp> {
    row.get(WRITE_DATE).and_then(instant).max(row.get(CREATE_DATE).and_then(instant))
}

/// What a conditional write of a record compares.
pub(super) fn stamp(row: &Map<String, Value>) -> Option<&str> {
    row.get(STAMP)?.as_str().filter(|stamp| !stamp.is_empty() && !stamp.contains(' '))
}

/// A record that is not there.
pub(super) fn gone(model: &Model, key: &Key) -> Observed {
    let cells = vec![Cell::default(); model.fields.len()];
    Observed { key: key.clone(), existence: Existence::Gone, modified: None, cells }
}
