//! Writes: batches of updates, each record answered for on its own, and what became of each.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::api::{id_in, senseless};
use super::properties::{Place, Property};
use super::rows::{Problem, Rows, id_of, names, own};
use super::{HubSpot, ROWS_PER_READ, ROWS_PER_WRITE};
use crate::connector::batch::{by_record, fill, refuse};
use crate::connector::paid::Paid;
use crate::connector::{Lane, Reservation};
use crate::http::Answer;
use crate::model::{Class, Failure, Outcome, Write};

/// Packs writes: all of one record in one batch.
pub(super) fn batches(writes: Vec<Write>) -> Vec<Vec<Write>> {
    by_record(writes).chunks(ROWS_PER_WRITE).map(<[_]>::concat).collect()
}

/// The writes of each record that are sent, by their place in the batch.
type Sent = BTreeMap<u64, Vec<usize>>;

impl HubSpot {
    /// Sends one batch, once.
    pub(super) async fn update(&self, batch: &[Write], reservation: &dyn Reservation) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        match self.properties().await {
            Ok(properties) => self.update_with(&properties, batch, reservation, &mut outcomes).await,
            Err(failure) => fill(&mut outcomes, &Outcome::NotSent(failure)),
        }
        let missing = || Outcome::Unknown(senseless("HubSpot did not say what became of a record"));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    async fn update_with(
        &self,
        properties: &[Option<Property>],
        batch: &[Write],
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Outcome>],
    ) {
        let mut sent = Sent::new();
        for (place, write) in batch.iter().enumerate() {
            let writable =
                properties.get(write.field).is_some_and(|found| found.as_ref().is_some_and(|one| one.writable));
            match id_of(&write.key) {
                None => outcomes[place] = Some(Outcome::Gone),
                Some(_) if !writable => {
                    let name = self.names.get(write.field).map_or("?", String::as_str);
                    outcomes[place] = Some(Outcome::Rejected(format!("`{name}` of HubSpot cannot be written")));
                }
                Some(id) => sent.entry(id).or_default().push(place),
            }
        }
        if sent.is_empty() {
            return;
        }
        let inputs: Vec<Value> = sent
            .iter()
            .map(|(id, places)| {
                let values: Map<String, Value> = places
                    .iter()
                    .filter_map(|place| {
                        let name = own_name(properties, batch[*place].field)?;
                        // Nothing is the empty text.
                        let value = batch[*place].value.as_ref().map(crate::model::Value::display).unwrap_or_default();
                        Some((name.to_owned(), Value::String(value)))
                    })
                    .collect();
                json!({ "id": id.to_string(), "properties": values, "objectWriteTraceId": id.to_string() })
            })
            .collect();
        let path = format!("/crm/v3/objects/{}/batch/update", self.object);
        let paid = Paid::by(reservation, reservation.lane());
        match self.change(&path, &json!({ "inputs": inputs }), paid).await {
            Ok(answer) => self.answered(properties, batch, &sent, &answer, outcomes).await,
            Err(failure) => refuse("HubSpot", batch.len(), failure, outcomes),
        }
    }

    /// A status of 200 and one of 207 are read alike, record by record.
    async fn answered(
        &self,
        properties: &[Option<Property>],
        batch: &[Write],
        sent: &Sent,
        answer: &Answer,
        outcomes: &mut [Option<Outcome>],
    ) {
        let rows: Rows = match answer.json() {
            Ok(rows) => rows,
            Err(failure) => return fill(outcomes, &Outcome::Unknown(failure)),
        };
        let mut unclear = BTreeSet::new();
        for (id, places) in sent {
            let row = rows.results.iter().find(|row| id_in(&row.id) == Some(*id));
            for place in places {
                let field = batch[*place].field;
                let property = properties.get(field).and_then(Option::as_ref);
                let stored = property
                    .zip(row)
                    .and_then(|(property, row)| Some(own(property, own_name(properties, field)?, row)));
                match stored {
                    Some(stored) if !stored.seen.is_unseen() => {
                        outcomes[*place] = Some(Outcome::Written { stored });
                    }
                    Some(_) => drop(unclear.insert(*id)),
                    None => {}
                }
            }
        }
        let trace = |id: &u64, name: &str, problem: &Problem| {
            problem.context.get(name).is_some_and(|ids| ids.contains(&id.to_string()))
        };
        let mut nameless = false;
        for problem in &rows.errors {
            // What HubSpot says quotes the value.
            tracing::debug!(target: "attune", "HubSpot refused a record ({}): {}", problem.category, problem.message);
            let of: Vec<u64> = sent
                .keys()
                .filter(|id| trace(id, "objectWriteTraceId", problem) || trace(id, "ids", problem))
                .copied()
                .collect();
            nameless |= of.is_empty();
            for place in of.iter().filter_map(|id| sent.get(id)).flatten() {
                let alone =
                    sent.get(&id_of(&batch[*place].key).unwrap_or_default()).is_some_and(|places| places.len() == 1);
                outcomes[*place] = Some(match () {
                    () if problem.is_missing() => Outcome::Gone,
                    () if alone => Outcome::Rejected(self.not_taken(batch[*place].field)),
                    () => Outcome::BatchRejected(batch_refused()),
                });
            }
        }
        if nameless {
            for place in sent.values().flatten() {
                let open = outcomes[*place].is_none();
                if open {
                    outcomes[*place] = Some(Outcome::BatchRejected(batch_refused()));
                }
            }
        }
        self.read_back(properties, batch, sent, unclear, outcomes).await;
    }

    /// What is stored where the answer did not show it.
    async fn read_back(
        &self,
        properties: &[Option<Property>],
        batch: &[Write],
        sent: &Sent,
        unclear: BTreeSet<u64>,
        outcomes: &mut [Option<Outcome>],
    ) {
        let ids: Vec<u64> = unclear.into_iter().collect();
        for ids in ids.chunks(ROWS_PER_READ) {
            let fields: Vec<usize> = ids.iter().flat_map(|id| &sent[id]).map(|place| batch[*place].field).collect();
            let names = names(properties, Some(&fields));
            let rows = self.batch(&self.object, &names, ids, Paid::in_lane(Lane::Resolve)).await;
            for place in ids.iter().flat_map(|id| &sent[id]) {
                let write = &batch[*place];
                outcomes[*place] = match &rows {
                    Err(failure) => Some(Outcome::Unknown(failure.clone().possibly_happened())),
                    Ok(rows) => rows.results.iter().find(|row| id_in(&row.id) == id_of(&write.key)).and_then(|row| {
                        let property = properties.get(write.field)?.as_ref()?;
                        let stored = own(property, own_name(properties, write.field)?, row);
                        (!stored.seen.is_unseen()).then_some(Outcome::Written { stored })
                    }),
                };
            }
        }
    }

    fn not_taken(&self, field: usize) -> String {
        let name = self.names.get(field).map_or("?", String::as_str);
        format!("HubSpot does not take this value for `{name}`; correct it where it comes from")
    }
}

pub(super) fn own_name(properties: &[Option<Property>], field: usize) -> Option<&str> {
    match &properties.get(field)?.as_ref()?.place {
        Place::Own(name) => Some(name),
        _ => None,
    }
}

pub(super) fn batch_refused() -> Failure {
    Failure::new(Class::Rejected, "HubSpot refused some of a batch without saying which value; the others go again")
}
