//! Writes: `load` by the records' numbers, many records in one call, all or nothing, and what became of each.
//!
//! An answer with status 200 may be a refusal: only `ids` says that something was written, and `messages` say which rows
//! stood in the way. Values are then read back, for Odoo may store others (an `onchange` of somebody's module).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::fields::{Field, Spelling};
use super::read::id_of;
use super::rpc::{Call, forbidden, is_forbidden};
use super::{Odoo, ROWS_PER_LOAD, Ready};
use crate::connector::batch::{by_record, fill};
use crate::connector::paid::Paid;
use crate::connector::{Lane, Reservation};
use crate::model::{Class, Failure, Outcome, Value as Text, Write};

/// The names that one link is looked up by, of which the right one is among the first few: others may have it as their e-mail
/// or reference.
const SAME_NAMES_MAX: usize = 20;

/// Packs writes: all of one record in one batch, and in one batch only records of which the same fields are written, since the
/// rows of `load` have the same columns.
pub(super) fn batches(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut alike: BTreeMap<Vec<usize>, Vec<Vec<Write>>> = BTreeMap::new();
    for mut record in by_record(writes) {
        record.sort_by_key(|write| write.field);
        alike.entry(record.iter().map(|write| write.field).collect()).or_default().push(record);
    }
    alike
        .into_values()
        .flat_map(|records| records.chunks(ROWS_PER_LOAD).map(<[_]>::concat).collect::<Vec<_>>())
        .collect()
}

/// The rows of one call, each the writes of one record, by their place in the batch.
struct Rows {
    fields: Vec<usize>,
    rows: Vec<(i64, Vec<usize>)>,
}

/// What a record that is linked is called, and its number; or why there is none.
pub(super) type Numbers = HashMap<(usize, String), Result<i64, String>>;

impl Odoo {
    /// Sends one batch, once.
    pub(super) async fn load(&self, batch: &[Write], reservation: &dyn Reservation) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        match self.ready().await {
            Ok(ready) => self.load_with(&ready, batch, reservation, &mut outcomes).await,
            Err(failure) => fill(&mut outcomes, &Outcome::NotSent(failure)),
        }
        let missing = || Outcome::Unknown(self.senseless("load"));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    async fn load_with(
        &self,
        ready: &Ready,
        batch: &[Write],
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Outcome>],
    ) {
        let values = batch.iter().filter_map(|write| Some((write.field, write.value.as_ref()?)));
        let numbers = match self.numbers(ready, values, reservation).await {
            Ok(numbers) => numbers,
            Err(failure) => return fill(outcomes, &Outcome::NotSent(failure)),
        };
        let Some(Rows { fields, rows }) = self.plan(ready, batch, &numbers, outcomes) else { return };
        let headings: Vec<String> = std::iter::once(".id".to_owned())
            .chain(fields.iter().filter_map(|field| Some(own(ready, *field)?.heading())))
            .collect();
        let data: Vec<Vec<String>> = rows
            .iter()
            .map(|(id, places)| {
                let cells = places.iter().map(|place| &batch[*place]);
                let cells = cells.map(|write| cell(ready, write.field, write.value.as_ref(), &numbers));
                std::iter::once(id.to_string()).chain(cells).collect()
            })
            .collect();
        let call = Call::new(&self.model, "load", json!({ "fields": headings, "data": data }));
        let paid = Paid::by(reservation, reservation.lane());
        match self.change(ready.protocol, &call, paid).await {
            Ok(result) => match result.get("ids") {
                Some(Value::Array(ids)) if ids.len() == rows.len() => {
                    self.written(ready, batch, &fields, &rows, outcomes).await;
                }
                Some(Value::Bool(false)) if self.is_about_rights(ready, "write", &result).await => {
                    fill(outcomes, &Outcome::NotSent(forbidden()));
                }
                Some(Value::Bool(false)) => self.refused(&result, batch, &rows, outcomes),
                _ => {}
            },
            Err(failure) => {
                let alone = rows.len() == 1 && fields.len() == 1;
                let is_refused = match failure.class {
                    Class::Rejected => true,
                    // A rule that forbids one record forbids the batch that it is in; a right that is gone, everything.
                    Class::Auth => is_forbidden(&failure) && self.may(ready.protocol, "write").await.unwrap_or(false),
                    _ => false,
                };
                if is_refused {
                    // It may hold values: the sentence of a held one must not.
                    let said = failure.detail.as_deref().unwrap_or_default();
                    tracing::debug!(target: "attune", records = rows.len(), "{failure}: {said}");
                }
                let outcome = match failure.class {
                    _ if failure.may_have_happened => Outcome::Unknown(failure),
                    _ if is_refused && alone => Outcome::Rejected(failure.message),
                    _ if is_refused => Outcome::BatchRejected(failure),
                    _ => Outcome::NotSent(failure),
                };
                fill(outcomes, &outcome);
            }
        }
    }

    /// The rows to send; none where nothing is left to send. What cannot be sent is settled.
    fn plan(
        &self,
        ready: &Ready,
        batch: &[Write],
        numbers: &Numbers,
        outcomes: &mut [Option<Outcome>],
    ) -> Option<Rows> {
        let mut rows: Vec<(i64, Vec<usize>)> = Vec::new();
        let mut fields = BTreeSet::new();
        let mut unsent = BTreeSet::new();
        for (place, write) in batch.iter().enumerate() {
            let Some(id) = id_of(&write.key) else {
                outcomes[place] = Some(Outcome::Gone);
                continue;
            };
            let writable = matches!(ready.model.fields.get(write.field), Some(Field::Own(_, shape)) if shape.writable);
            let problem = if writable {
                write
                    .value
                    .as_ref()
                    .and_then(|value| numbers.get(&(write.field, value.display()))?.as_ref().err().cloned())
            } else {
                let name = self.names.get(write.field).map_or("?", String::as_str);
                Some(format!("`{name}` of `{}` cannot be written", self.model))
            };
            if let Some(why) = problem {
                outcomes[place] = Some(Outcome::Rejected(why));
                unsent.insert(id);
                continue;
            }
            fields.insert(write.field);
            match rows.last_mut() {
                Some((last, places)) if *last == id => places.push(place),
                _ => rows.push((id, vec![place])),
            }
        }
        // A record is written entirely or not at all, and all rows have the same columns: the others of its fields go alone.
        let is_whole = |places: &[usize]| places.iter().map(|place| batch[*place].field).eq(fields.iter().copied());
        let (rows, split): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(id, places)| !unsent.contains(id) && is_whole(places));
        for place in split.into_iter().flat_map(|(_, places)| places) {
            let why = "another field of the record stood in the way";
            outcomes[place] = Some(Outcome::BatchRejected(Failure::new(Class::Rejected, why)));
        }
        (!rows.is_empty()).then(|| Rows { fields: fields.into_iter().collect(), rows })
    }

    /// The numbers of the records that links are set to by name: one call for each name, not for each record.
    pub(super) async fn numbers(
        &self,
        ready: &Ready,
        values: impl Iterator<Item = (usize, &Text)>,
        reservation: &dyn Reservation,
    ) -> Result<Numbers, Failure> {
        let mut numbers = Numbers::new();
        for (field, value) in values {
            let Some(column) = own(ready, field) else { continue };
            let (Spelling::LinkByName(model), name) = (&column.spelling, value.display()) else { continue };
            if numbers.contains_key(&(field, name.clone())) {
                continue;
            }
            let arguments = json!({ "name": name, "operator": "=", "limit": SAME_NAMES_MAX });
            let call = Call::new(model, "name_search", arguments);
            let answered = self.ask(ready.protocol, &call, Paid::by(reservation, Lane::Fresh)).await?;
            let pairs = answered.result.as_array().map(Vec::as_slice).unwrap_or_default();
            let called_so: Vec<i64> = pairs
                .iter()
                .filter(|pair| pair.get(1).and_then(Value::as_str) == Some(name.as_str()))
                .filter_map(|pair| pair.get(0)?.as_i64())
                .collect();
            let number = match called_so[..] {
                [number] => Ok(number),
                [] => Err("no record has this name"),
                _ => Err("several records have this name"),
            };
            let number = number.map_err(|why| {
                format!("`{}` cannot be set to this value, for {why} in `{model}` of Odoo; correct the value, or map `{}:id`", column.name, column.name
                )
            });
            numbers.insert((field, name), number);
        }
        Ok(numbers)
    }

    async fn written(
        &self,
        ready: &Ready,
        batch: &[Write],
        fields: &[usize],
        rows: &[(i64, Vec<usize>)],
        outcomes: &mut [Option<Outcome>],
    ) {
        let ids: Vec<i64> = rows.iter().map(|(id, _)| *id).collect();
        let shown = match self.read_back(ready, &ids, fields, Paid::in_lane(Lane::Resolve)).await {
            Ok(shown) => shown,
            Err(failure) => {
                let unknown = Outcome::Unknown(failure.possibly_happened());
                for place in rows.iter().flat_map(|(_, places)| places) {
                    outcomes[*place] = Some(unknown.clone());
                }
                return;
            }
        };
        for (id, places) in rows {
            let Some(record) = shown.get(id) else { continue };
            for place in places {
                let stored = record.cells[batch[*place].field].clone();
                outcomes[*place] = (!stored.seen.is_unseen()).then_some(Outcome::Written { stored });
            }
        }
    }

    /// Whether a refusal that names no field is one of the user: rows are said to be forbidden in words alone.
    pub(super) async fn is_about_rights(&self, ready: &Ready, operation: &str, result: &Value) -> bool {
        let messages = result.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        messages.iter().all(|message| message.get("field").is_none())
            && !self.may(ready.protocol, operation).await.unwrap_or(true)
    }

    /// Nothing was written: the rows that stood in the way are refused, the others go again.
    fn refused(&self, result: &Value, batch: &[Write], rows: &[(i64, Vec<usize>)], outcomes: &mut [Option<Outcome>]) {
        let (failure, messages) = (batch_refused(), complaints(result));
        let alone = rows.len() == 1;
        for (index, (_, places)) in rows.iter().enumerate() {
            let own: Vec<&Value> = messages.iter().filter(|message| is_about(message, index)).copied().collect();
            let field_of = |message: &&Value| message.get("field").and_then(Value::as_str).map(str::to_owned);
            let named: BTreeSet<String> = own.iter().filter_map(field_of).collect();
            for place in places {
                let name = self.names.get(batch[*place].field).map_or("?", String::as_str);
                let plain = name.split_once(':').map_or(name, |(plain, _)| plain);
                let is_named = named.iter().any(|named| named.split('/').next() == Some(plain));
                let refused = || Outcome::Rejected(format!("Odoo does not take this value for `{name}`"));
                outcomes[*place] = Some(if named.contains(".id") {
                    Outcome::Gone
                } else if is_named {
                    refused()
                } else if places.len() == 1 && (!own.is_empty() || alone) {
                    // Whatever it says, it is about the only value that was sent.
                    refused()
                } else {
                    Outcome::BatchRejected(failure.clone())
                });
            }
        }
    }
}

pub(super) fn batch_refused() -> Failure {
    Failure::new(Class::Rejected, "Odoo refused a batch of records for what one of them holds; the others go again")
}

/// What Odoo complains of. Where single rows are complained of, what it says first of the first row may be what it said of all
/// of them: that is left out.
pub(super) fn complaints(result: &Value) -> Vec<&Value> {
    let messages = result.get("messages").and_then(Value::as_array).into_iter().flatten();
    let mut messages: Vec<&Value> =
        messages.filter(|message| message.get("type").and_then(Value::as_str) != Some("warning")).collect();
    for message in &messages {
        // What Odoo says quotes the value.
        tracing::debug!(target: "attune", "{}: {}", batch_refused(), said(message));
    }
    if messages.len() > 1 && is_about(messages[0], 0) && messages[0].get("field").is_none() {
        messages.remove(0);
    }
    messages
}

/// Whether a complaint is about this row.
pub(super) fn is_about(message: &Value, row: usize) -> bool {
    message.get("record").and_then(Value::as_u64) == Some(row as u64)
}

pub(super) fn said(message: &Value) -> &str {
    message.get("message").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn own(ready: &Ready, field: usize) -> Option<&super::fields::Column> {
    match ready.model.fields.get(field) {
        Some(Field::Own(column, _)) => Some(column),
        _ => None,
    }
}

pub(super) fn cell(ready: &Ready, field: usize, value: Option<&Text>, numbers: &Numbers) -> String {
    let Some(column) = own(ready, field) else { return String::new() };
    match value.and_then(|value| numbers.get(&(field, value.display()))) {
        Some(Ok(number)) => number.to_string(),
        _ => column.cell(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cell, Key};

    fn write(key: usize, field: usize) -> Write {
        let key = Key::new(key.to_string());
        Write { key, field, expect: Cell::absent(), value: Some(Text::text("x")), modified: None }
    }

    #[test]
    fn rows_of_a_batch_have_the_same_columns_and_are_never_split() {
        let mut writes: Vec<Write> = (1..=450).flat_map(|key| [write(key, 1), write(key, 0)]).collect();
        writes.extend((451..=460).map(|key| write(key, 1)));
        let batches = batches(writes);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [400, 400, 100, 10]);
        for batch in &batches[..3] {
            for record in batch.chunks(2) {
                assert_eq!(record[0].key, record[1].key);
                assert_eq!((record[0].field, record[1].field), (0, 1));
            }
        }
    }
}
