//! Contact mechanisms: records of their own that belong to a party, of which a field shows the first of a type.
//!
//! First is as Tryton itself orders them: without a sequence before those with one, then by sequence, then by number. A party
//! without one gets one by a write; a clear deactivates the one that was seen, which can be undone and breaks no document that
//! names it. Where another of the type would take its place, the field would not be clear, so such a clear is refused.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::fields::{self, ACTIVE, CREATE_DATE, Field, STAMP, WRITE_DATE};
use super::rows::{modified, stamp};
use super::rpc::Call;
use super::values::Spelling;
use super::{Ready, Tryton};
use crate::connector::paid::Paid;
use crate::http::is_too_large;
use crate::model::{Cell, Failure, Seen, Timestamp, Value as Text};

/// The rows of one answer.
const ROWS_MAX: usize = 5_000;

/// The fewest records whose mechanisms are asked for when answers are too large.
const OWNERS_MIN: usize = 10;

/// One contact mechanism.
pub(super) struct Mechanism {
    id: i64,
    kind: String,
    value: Seen,
    is_active: bool,
    sequence: Option<i64>,
    modified: Option<Timestamp>,
    stamp: String,
}

/// The contact mechanisms of each record, in Tryton's own order.
pub(super) type ByOwner = HashMap<i64, Vec<Mechanism>>;

/// What a write of a cell is conditional on: the stamps of the record and of the mechanism that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) record: String,
    /// The mechanism that was shown, and its stamp.
    pub(super) first: Option<(i64, String)>,
    /// Whether another of its type stands behind it.
    pub(super) has_others: bool,
}

impl Token {
    /// The token of a cell of the record itself.
    pub(super) fn of_record(stamp: &str) -> String {
        stamp.to_owned()
    }

    fn of_mechanism(&self) -> String {
        match &self.first {
            Some((id, stamp)) => format!("{} {id} {stamp} {}", self.record, u8::from(self.has_others)),
            None => self.record.clone(),
        }
    }

    /// A token as a cell carries it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(' ').collect();
        match parts[..] {
            [record] if !record.is_empty() => Some(Self { record: record.to_owned(), first: None, has_others: false }),
            [record, id, stamp, others] => Some(Self {
                record: record.to_owned(),
                first: Some((id.parse().ok()?, stamp.to_owned())),
                has_others: others == "1",
            }),
            _ => None,
        }
    }
}

/// What a record shows of its first mechanism of a type.
pub(super) fn cell(all: &[Mechanism], kind: &str, record_stamp: &str) -> Cell {
    // One that was deactivated tells when the field changed.
    let modified = all.iter().filter(|one| one.kind == kind).filter_map(|one| one.modified).max();
    let mut active = all.iter().filter(|one| one.kind == kind && one.is_active);
    let first = active.next();
    let token = Token {
        record: record_stamp.to_owned(),
        first: first.map(|first| (first.id, first.stamp.clone())),
        has_others: active.next().is_some(),
    };
    Cell { seen: first.map_or(Seen::Absent, |first| first.value.clone()), modified, token: Some(token.of_mechanism()) }
}

/// What is written to a record's mechanisms for one of its fields; none where there is nothing to do.
pub(super) fn command(kind: &str, token: &Token, value: Option<&Text>) -> Option<Value> {
    match (&token.first, value) {
        (Some((id, _)), Some(value)) => Some(json!(["write", [id], { "value": value.display() }])),
        (Some((id, _)), None) => Some(json!(["write", [id], { ACTIVE: false }])),
        (None, Some(value)) => Some(json!(["create", [{ "type": kind, "value": value.display() }]])),
        (None, None) => None,
    }
}

impl Tryton {
    /// The mechanisms of these records, of every type that one of `fields` (none: all) shows.
    pub(super) async fn mechanisms(
        &self,
        ready: &Ready,
        owners: &[i64],
        fields: Option<&[usize]>,
        paid: Paid<'_>,
    ) -> Result<ByOwner, Failure> {
        let mut found = ByOwner::new();
        let is_asked = |index: &usize| fields.is_none_or(|fields| fields.contains(index));
        let kinds: BTreeSet<&str> = ready
            .model
            .fields
            .iter()
            .enumerate()
            .filter(|(index, _)| is_asked(index))
            .filter_map(|(_, field)| match field {
                Field::Mechanism { kind, .. } => Some(kind.as_str()),
                _ => None,
            })
            .collect();
        let Some(model) = &ready.model.mechanisms else { return Ok(found) };
        if kinds.is_empty() || owners.is_empty() {
            return Ok(found);
        }
        let mut waiting = vec![(owners, 0)];
        while let Some((owners, after)) = waiting.pop() {
            let domain = json!([[model.owner, "in", owners], ["type", "in", kinds], ["id", ">", after]]);
            let names = json!([model.owner, "type", "value", "sequence", ACTIVE, WRITE_DATE, CREATE_DATE, STAMP]);
            let call = Call::search_read(&model.model, &domain, ROWS_MAX, &names);
            let rows = match self.ask_for_records(&ready.context, &call, paid).await {
                Ok(answered) => self.rows_of(answered.result)?,
                Err(failure) if is_too_large(&failure) && owners.len() > OWNERS_MIN => {
                    let (first, second) = owners.split_at(owners.len() / 2);
                    waiting.extend([(second, after), (first, after)]);
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            if let Some((last, _)) = rows.last().filter(|_| rows.len() >= ROWS_MAX) {
                if *last <= after {
                    return Err(self.senseless("search_read"));
                }
                waiting.push((owners, *last));
            }
            for (id, row) in rows {
                let (owner, mechanism) =
                    self.mechanism_of(model, id, &row).ok_or_else(|| self.senseless("search_read"))?;
                found.entry(owner).or_default().push(mechanism);
            }
        }
        for mechanisms in found.values_mut() {
            mechanisms.sort_by_key(|one| (one.sequence, one.id));
        }
        Ok(found)
    }

    fn mechanism_of(&self, model: &fields::Mechanisms, id: i64, row: &Map<String, Value>) -> Option<(i64, Mechanism)> {
        let mechanism = Mechanism {
            id,
            kind: row.get("type")?.as_str()?.to_owned(),
            value: Spelling::Text.seen(row.get("value")),
            is_active: Spelling::Boolean.seen(row.get(ACTIVE)) != Seen::Value(Text::text("false")),
            sequence: row.get("sequence").and_then(Value::as_i64),
            modified: modified(row),
            stamp: stamp(row)?.to_owned(),
        };
        Some((row.get(&model.owner)?.as_i64()?, mechanism))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mechanism(id: i64, sequence: Option<i64>, is_active: bool) -> Mechanism {
        Mechanism {
            id,
            kind: "email".to_owned(),
            value: Seen::Value(Text::text(format!("{id}@example.test"))),
            is_active,
            sequence,
            modified: Some(Timestamp::from_millis(id)),
            stamp: format!("{id}.5"),
        }
    }

    #[test]
    fn the_first_of_a_type_is_shown_and_is_what_a_write_goes_to() {
        let all = [mechanism(3, None, true), mechanism(9, None, false), mechanism(2, Some(1), true)];
        let shown = cell(&all, "email", "7.25");
        assert_eq!(shown.seen, Seen::Value(Text::text("3@example.test")));
        assert_eq!(shown.modified, Some(Timestamp::from_millis(9)), "of the one that was deactivated");
        let token = Token::parse(shown.token.as_deref().unwrap()).unwrap();
        assert_eq!(token, Token { record: "7.25".into(), first: Some((3, "3.5".into())), has_others: true });
        let value = Text::text("new");
        assert_eq!(command("email", &token, Some(&value)), Some(json!(["write", [3], { "value": "new" }])));
        assert_eq!(command("email", &token, None), Some(json!(["write", [3], { "active": false }])));

        let none = cell(&all, "phone", "7.25");
        assert_eq!((none.seen, none.modified), (Seen::Absent, None));
        let token = Token::parse(none.token.as_deref().unwrap()).unwrap();
        let created = json!(["create", [{ "type": "phone", "value": "new" }]]);
        assert_eq!(command("phone", &token, Some(&value)), Some(created));
        assert_eq!(command("phone", &token, None), None);
        for odd in ["", "7.25 x 3.5 1", "7.25 3", "a b c d e"] {
            assert_eq!(Token::parse(odd), None, "{odd}");
        }
    }
}
