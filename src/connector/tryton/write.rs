//! Writes: many records with their own values in one call, all or nothing, each on the condition that it is still as the
//! recheck saw it; and what became of each.
//!
//! A write that lost says so, but not which record lost: that is read, and the others are sent again, for what lost was rolled
//! back whole. Any other refusal names no record either, so the engine halves the batch. Values are then read back, for Tryton
//! may store others (spaces around them, a telephone number in its usual form).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::fields::{CALLED, Field};
use super::mechanisms::{Token, command};
use super::rows::id_of;
use super::rpc::{Call, LOST};
use super::values::Spelling;
use super::{ROWS_PER_WRITE, Ready, Tryton};
use crate::connector::batch;
use crate::connector::paid::Paid;
use crate::connector::{Lane, Reservation};
use crate::model::{Class, Existence, Failure, Observed, Outcome, Value as Text, Write};

/// How often a batch is sent at most, without those of its records that lost.
const SENDS_MAX: usize = 3;

/// More records than one are not called the same by more than a few.
const SAME_NAMES_MAX: usize = 20;

/// Packs writes: all of one record in one batch.
pub(super) fn batches(writes: Vec<Write>) -> Vec<Vec<Write>> {
    batch::by_record(writes).chunks(ROWS_PER_WRITE).map(<[_]>::concat).collect()
}

/// One record of a call.
struct Row {
    id: i64,
    /// Its writes, by their place in the batch.
    places: Vec<usize>,
    values: Map<String, Value>,
    /// What must not have changed: `party.party,7` and its stamp.
    stamps: Map<String, Value>,
}

/// What a record that is linked is called, and its number; or why there is none.
pub(super) type Numbers = HashMap<(usize, String), Result<i64, String>>;

/// One batch on its way.
struct Sending<'a> {
    ready: &'a Ready,
    batch: &'a [Write],
    /// The fields that are written.
    fields: Vec<usize>,
    outcomes: Vec<Option<Outcome>>,
}

impl Sending<'_> {
    /// The outcome of every write that has none yet.
    fn fill(&mut self, outcome: &Outcome) {
        batch::fill(&mut self.outcomes, outcome);
    }

    fn settle(&mut self, row: &Row, outcome: &Outcome) {
        for place in &row.places {
            self.outcomes[*place] = Some(outcome.clone());
        }
    }

    /// What became of a record that was refused, if it is that it is not there any more or not as it was.
    fn lost(&self, row: &Row, now: Option<&Observed>) -> Option<Outcome> {
        let Some(now) = now.filter(|now| now.existence == Existence::Present) else { return Some(Outcome::Gone) };
        let is_as_it_was = |place: &usize| {
            let write = &self.batch[*place];
            match (token_of(write), now.cells[write.field].token.as_deref().and_then(Token::parse)) {
                (Some(expected), Some(now)) => expected.record == now.record && expected.first == now.first,
                _ => false,
            }
        };
        (!row.places.iter().all(is_as_it_was)).then_some(Outcome::Changed)
    }
}

fn token_of(write: &Write) -> Option<Token> {
    write.expect.token.as_deref().and_then(Token::parse)
}

impl Tryton {
    /// Sends one batch: once, and what did not lose again where a part of it did.
    pub(super) async fn send(&self, batch: &[Write], reservation: &dyn Reservation) -> Vec<Outcome> {
        let outcomes = vec![None; batch.len()];
        let outcomes = match self.ready().await {
            Ok(ready) => {
                let fields = batch.iter().map(|write| write.field).collect::<BTreeSet<_>>().into_iter().collect();
                let mut sending = Sending { ready: &ready, batch, fields, outcomes };
                self.send_with(&mut sending, reservation).await;
                sending.outcomes
            }
            Err(failure) => {
                outcomes.into_iter().map(|_: Option<Outcome>| Some(Outcome::NotSent(failure.clone()))).collect()
            }
        };
        let missing = || Outcome::Unknown(self.senseless("write"));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    async fn send_with(&self, sending: &mut Sending<'_>, reservation: &dyn Reservation) {
        let values = sending.batch.iter().filter_map(|write| Some((write.field, write.value.as_ref()?)));
        let numbers = match self.numbers(sending.ready, values, reservation).await {
            Ok(numbers) => numbers,
            Err(failure) => return sending.fill(&Outcome::NotSent(failure)),
        };
        let mut rows = self.plan(sending, &numbers);
        let mut paid = Paid::by(reservation, reservation.lane());
        for _ in 0..SENDS_MAX {
            if rows.is_empty() {
                return;
            }
            match self.change(&sending.ready.context, &self.call(&rows), paid).await {
                Ok(_) => return self.written(sending, &rows).await,
                Err(failure) if failure.code.as_deref() == Some(LOST) => {
                    rows = match self.without_lost(sending, rows).await {
                        Ok(rows) => rows,
                        Err(failure) => return sending.fill(&Outcome::NotSent(failure)),
                    };
                    paid = Paid::in_lane(reservation.lane());
                }
                Err(failure) => return self.refused(sending, &rows, failure).await,
            }
        }
        let why = "records of this batch keep changing in Tryton; they go again".to_owned();
        sending.fill(&Outcome::BatchRejected(Failure::new(Class::Rejected, why)));
    }

    fn call(&self, rows: &[Row]) -> Call<'_> {
        let parameters = rows.iter().flat_map(|row| [json!([row.id]), Value::Object(row.values.clone())]).collect();
        let stamps: Map<String, Value> = rows.iter().flat_map(|row| row.stamps.clone()).collect();
        let mut call = Call::new(&self.model, "write", Value::Array(parameters));
        call.context.insert("_timestamp".to_owned(), Value::Object(stamps));
        call
    }

    /// The records to send. What cannot be sent is settled.
    fn plan(&self, sending: &mut Sending<'_>, numbers: &Numbers) -> Vec<Row> {
        let mut rows: BTreeMap<i64, Row> = BTreeMap::new();
        let mut unsent: BTreeMap<i64, Outcome> = BTreeMap::new();
        for (place, write) in sending.batch.iter().enumerate() {
            let Some(id) = id_of(&write.key) else {
                sending.outcomes[place] = Some(Outcome::Gone);
                continue;
            };
            let row = rows.entry(id).or_insert_with(|| Row {
                id,
                places: Vec::new(),
                values: Map::new(),
                stamps: Map::new(),
            });
            row.places.push(place);
            match self.add(sending.ready, row, write, numbers) {
                Ok(()) => {}
                Err(outcome) => {
                    let stood_in_the_way = "another field of the record stood in the way".to_owned();
                    unsent.insert(
                        id,
                        match &outcome {
                            Outcome::Changed => Outcome::Changed,
                            _ => Outcome::BatchRejected(Failure::new(Class::Rejected, stood_in_the_way)),
                        },
                    );
                    sending.outcomes[place] = Some(outcome);
                }
            }
        }
        // A record is written entirely or not at all.
        for (id, outcome) in &unsent {
            for place in rows.remove(id).into_iter().flat_map(|row| row.places) {
                sending.outcomes[place].get_or_insert_with(|| outcome.clone());
            }
        }
        rows.into_values().collect()
    }

    /// Adds one write to the values of its record; or what becomes of it without being sent.
    fn add(&self, ready: &Ready, row: &mut Row, write: &Write, numbers: &Numbers) -> Result<(), Outcome> {
        let name = self.names.get(write.field).map_or("?", String::as_str);
        let Some(field) = ready.model.fields.get(write.field).filter(|field| field.is_writable()) else {
            let why = format!("`{name}` of `{}` cannot be written", self.model);
            return Err(Outcome::Rejected(why));
        };
        // Without what the recheck saw there is no condition, and nothing is written without one.
        let token = token_of(write).ok_or(Outcome::Changed)?;
        let stamp = Value::String(token.record.clone());
        if row.stamps.insert(format!("{},{}", self.model, row.id), stamp.clone()).is_some_and(|other| other != stamp) {
            return Err(Outcome::Changed);
        }
        let value = write.value.as_ref();
        match field {
            Field::Own(column, _) => {
                let number = value.and_then(|value| numbers.get(&(write.field, value.display())));
                let written = match number {
                    Some(Ok(number)) => json!(number),
                    Some(Err(why)) => return Err(Outcome::Rejected(why.clone())),
                    None => column.spelling.written(value),
                };
                row.values.insert(column.name.clone(), written);
            }
            Field::Mechanism { kind, .. } => {
                let Some(mechanisms) = &ready.model.mechanisms else { return Ok(()) };
                if value.is_none() && token.has_others {
                    let why = format!(
                        "`{name}` cannot be cleared, for the party has another of this type, which would take its place; \
                         remove them in Tryton"
                    );
                    return Err(Outcome::Rejected(why));
                }
                if let Some((id, stamp)) = &token.first {
                    row.stamps.insert(format!("{},{id}", mechanisms.model), json!(stamp));
                }
                let commands = row.values.entry(mechanisms.link).or_insert_with(|| json!([]));
                if let (Value::Array(commands), Some(command)) = (commands, command(kind, &token, value)) {
                    commands.push(command);
                }
            }
            Field::Key | Field::Related { .. } | Field::Nowhere => {}
        }
        Ok(())
    }

    /// The numbers of the records that links are set to by name: one call for each name, not for each record.
    pub(super) async fn numbers(
        &self,
        ready: &Ready,
        values: impl Iterator<Item = (usize, &Text)>,
        reservation: &dyn Reservation,
    ) -> Result<Numbers, Failure> {
        let mut numbers = Numbers::new();
        let model = &ready.model;
        for (field, value) in values {
            let Some(Field::Own(column, _)) = model.fields.get(field) else { continue };
            let (Spelling::LinkByName(relation), name) = (column.spelling, value.display()) else { continue };
            if numbers.contains_key(&(field, name.clone())) {
                continue;
            }
            let linked = &model.relations[relation].model;
            let domain = json!([[CALLED, "=", name]]);
            let mut call = Call::search_read(linked, &domain, SAME_NAMES_MAX, &json!([CALLED]));
            call.context.insert("active_test".to_owned(), json!(true));
            let paid = Paid::by(reservation, Lane::Fresh);
            let rows = self.rows_of(self.ask_for_records(&ready.context, &call, paid).await?.result)?;
            let called_so: Vec<i64> = rows
                .iter()
                .filter(|(_, row)| row.get(CALLED).and_then(Value::as_str) == Some(name.as_str()))
                .map(|(id, _)| *id)
                .collect();
            let number = match called_so[..] {
                [number] => Ok(number),
                [] => Err("no record has this name"),
                _ => Err("several records have this name"),
            };
            let number = number.map_err(|why| {
                format!("`{}` cannot be set to this value, for {why} in `{linked}` of Tryton; correct the value, or map `{}:id`", column.name, column.name
                )
            });
            numbers.insert((field, name), number);
        }
        Ok(numbers)
    }

    /// The rows that did not lose; those that did are settled.
    async fn without_lost(&self, sending: &mut Sending<'_>, rows: Vec<Row>) -> Result<Vec<Row>, Failure> {
        let now = self.look_again_at(sending, &rows).await?;
        let mut left = Vec::new();
        for row in rows {
            match sending.lost(&row, now.get(&row.id)) {
                Some(outcome) => sending.settle(&row, &outcome),
                None => left.push(row),
            }
        }
        // Tryton says that it changed, whatever it shows.
        if let [row] = &left[..]
            && now.len() == 1
        {
            sending.settle(row, &Outcome::Changed);
            left.clear();
        }
        Ok(left)
    }

    async fn look_again_at(&self, sending: &Sending<'_>, rows: &[Row]) -> Result<BTreeMap<i64, Observed>, Failure> {
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        self.look_again(sending.ready, &ids, &sending.fields, Paid::in_lane(Lane::Resolve)).await
    }

    async fn written(&self, sending: &mut Sending<'_>, rows: &[Row]) {
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let paid = Paid::in_lane(Lane::Resolve);
        let shown = match self.read_back(sending.ready, &ids, &sending.fields, paid).await {
            Ok(shown) => shown,
            Err(failure) => return sending.fill(&Outcome::Unknown(failure.possibly_happened())),
        };
        for row in rows {
            let Some(record) = shown.get(&row.id) else { continue };
            for place in &row.places {
                let stored = record.cells[sending.batch[*place].field].clone();
                sending.outcomes[*place] = (!stored.seen.is_unseen()).then_some(Outcome::Written { stored });
            }
        }
    }

    /// Nothing was written, or nobody knows.
    async fn refused(&self, sending: &mut Sending<'_>, rows: &[Row], failure: Failure) {
        if failure.may_have_happened {
            return sending.fill(&Outcome::Unknown(failure));
        }
        if failure.class != Class::Rejected {
            return sending.fill(&Outcome::NotSent(failure));
        }
        // It may hold values: the sentence of a held one must not.
        let said = failure.detail.as_deref().unwrap_or_default();
        tracing::debug!(target: "attune", records = rows.len(), "{failure}: {said}");
        let mut is_gone = false;
        if let Ok(now) = self.look_again_at(sending, rows).await {
            for row in rows {
                if let Some(Outcome::Gone) = sending.lost(row, now.get(&row.id)) {
                    sending.settle(row, &Outcome::Gone);
                    is_gone = true;
                }
            }
        }
        // A right that is gone forbids everything; a rule that forbids one record forbids the batch that it is in.
        let may = self.may(&sending.ready.context, &[self.model.as_str()]).await;
        if may.is_ok_and(|may| !may.write(&self.model)) {
            return sending.fill(&Outcome::NotSent(self.forbidden()));
        }
        match rows {
            [Row { places, .. }] if places.len() == 1 && !is_gone => {
                let name = self.names.get(sending.batch[places[0]].field).map_or("?", String::as_str);
                let why = format!("Tryton does not take this value for `{name}`");
                sending.fill(&Outcome::Rejected(why));
            }
            _ => sending.fill(&Outcome::BatchRejected(failure)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cell, Key};

    #[test]
    fn batches_hold_whole_records() {
        let write = |key: usize, field: usize| {
            let key = Key::new(key.to_string());
            Write { key, field, expect: Cell::absent(), value: Some(Text::text("x")), modified: None }
        };
        let mut writes: Vec<Write> = (1..=450).map(|key| write(key, 1)).collect();
        writes.extend((1..=450).map(|key| write(key, 0)));
        let batches = batches(writes);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [400, 400, 100]);
        for record in batches.iter().flat_map(|batch| batch.chunks(2)) {
            assert_eq!(record[0].key, record[1].key);
        }
    }
}
