//! Making and removing records: parties with their contact mechanisms in one call, all or nothing.
//!
//! Tryton has no place for the token of a creation, and names no record that it refuses. A record is removed as people do it, by
//! archiving it, which breaks no document that names it; one of a model that has no archive is deleted.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::fields::{ACTIVE, Field};
use super::rows::id_of;
use super::rpc::Call;
use super::write::Numbers;
use super::{PAGE_ROWS, ROWS_PER_WRITE, Ready, Tryton};
use crate::connector::lifecycle::says_it_is_there;
use crate::connector::paid::Paid;
use crate::connector::{Created, Lane, Lifecycle, LifecycleLimits, NewRecord, Removed, Reservation};
use crate::model::{Class, Existence, Failure, Key};

/// What Tryton says where two parties that are made at once get the next code of one sequence, which nobody gave them: it goes
/// away by itself.
const CODE_IS_TAKEN: &str = "The code on party must be unique";

#[async_trait]
impl Lifecycle for Tryton {
    fn lifecycle_limits(&self) -> LifecycleLimits {
        LifecycleLimits { records_per_create: ROWS_PER_WRITE, keys_per_remove: PAGE_ROWS }
    }

    fn required(&self) -> Vec<Vec<&'static str>> {
        if self.model == "party.party" { vec![vec!["name"]] } else { Vec::new() }
    }

    /// What has not been looked at yet takes nothing.
    fn creates_with(&self, field: usize) -> bool {
        self.known().is_some_and(|ready| takes(&ready, field))
    }

    async fn create(&self, batch: &[NewRecord], reservation: &dyn Reservation) -> Vec<Created> {
        let mut outcomes: Vec<Option<Created>> = vec![None; batch.len()];
        let prepared = match self.ready().await {
            Ok(ready) => {
                let values = batch.iter().flat_map(|record| &record.values).map(|(field, value)| (*field, value));
                self.numbers(&ready, values, reservation).await.map(|numbers| (ready, numbers))
            }
            Err(failure) => Err(failure),
        };
        match prepared {
            Ok((ready, numbers)) => self.make(&ready, batch, &numbers, reservation, &mut outcomes).await,
            Err(failure) => outcomes.fill(Some(Created::NotSent(failure))),
        }
        let missing = || Created::Unknown(self.senseless("create"));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    async fn remove(&self, keys: &[Key], reservation: &dyn Reservation) -> Vec<Removed> {
        let all = |outcome: Removed| vec![outcome; keys.len()];
        if keys.is_empty() {
            return Vec::new();
        }
        let looked = match self.ready().await {
            // One that is gone would keep the others.
            Ok(ready) => {
                self.read_directly(keys, &[], Paid::by(reservation, Lane::Fresh)).await.map(|now| (ready, now))
            }
            Err(failure) => Err(failure),
        };
        let (ready, now) = match looked {
            Ok(looked) => looked,
            Err(failure) => return all(Removed::NotSent(failure)),
        };
        let there = now.iter().filter(|record| record.existence == Existence::Present);
        let ids: Vec<i64> = there.filter_map(|record| id_of(&record.key)).collect();
        let removed = self.remove_all(&ready, &ids, reservation).await;
        let outcome = |key: &Key| id_of(key).and_then(|id| removed.get(&id)).cloned();
        crate::connector::lifecycle::removed(&now, outcome, ("Tryton", &self.model))
    }
}

fn takes(ready: &Ready, field: usize) -> bool {
    ready.model.fields.get(field).is_some_and(Field::is_writable)
}

impl Tryton {
    async fn make(
        &self,
        ready: &Ready,
        batch: &[NewRecord],
        numbers: &Numbers,
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Created>],
    ) {
        let (mut places, mut records) = (Vec::new(), Vec::new());
        for (place, record) in batch.iter().enumerate() {
            match self.new_record(ready, record, numbers) {
                Ok(values) => {
                    places.push(place);
                    records.push(Value::Object(values));
                }
                Err(why) => outcomes[place] = Some(Created::Rejected(why)),
            }
        }
        if places.is_empty() {
            return;
        }
        let call = Call::new(&self.model, "create", json!([records]));
        match self.change(&ready.context, &call, Paid::by(reservation, reservation.lane())).await {
            Ok(Value::Array(ids)) if ids.len() == places.len() => {
                for (place, id) in places.iter().zip(ids) {
                    outcomes[*place] = id.as_i64().map(|id| Created::Made(Key::new(id.to_string())));
                }
            }
            Ok(_) => {}
            Err(failure) => {
                let outcome = self.not_made(ready, places.len(), failure).await;
                for place in places {
                    outcomes[place] = Some(outcome.clone());
                }
            }
        }
    }

    /// The values of a new record; or why there can be none.
    fn new_record(&self, ready: &Ready, record: &NewRecord, numbers: &Numbers) -> Result<Map<String, Value>, String> {
        let mut values = Map::new();
        let mut mechanisms = Vec::new();
        for (field, value) in &record.values {
            match ready.model.fields.get(*field).filter(|_| takes(ready, *field)) {
                Some(Field::Own(column, _)) => {
                    let written = match numbers.get(&(*field, value.display())) {
                        Some(Ok(number)) => json!(number),
                        Some(Err(why)) => return Err(why.clone()),
                        None => column.spelling.written(Some(value)),
                    };
                    values.insert(column.name.clone(), written);
                }
                Some(Field::Mechanism { kind, .. }) => {
                    mechanisms.push(json!({ "type": kind, "value": value.display() }));
                }
                _ => {
                    let name = self.names.get(*field).map_or("?", String::as_str);
                    return Err(format!("`{name}` of `{}` cannot be given to a new record", self.model));
                }
            }
        }
        if let Some(model) = ready.model.mechanisms.as_ref().filter(|_| !mechanisms.is_empty()) {
            values.insert(model.link.to_owned(), json!([["create", mechanisms]]));
        }
        Ok(values)
    }

    /// What became of so many new records of one call that was refused, or not answered.
    async fn not_made(&self, ready: &Ready, records: usize, failure: Failure) -> Created {
        if failure.may_have_happened {
            return Created::Unknown(failure);
        }
        if failure.class != Class::Rejected {
            return Created::NotSent(failure);
        }
        // It may hold values: the sentence of a held one must not.
        let said = failure.detail.as_deref().unwrap_or_default();
        tracing::debug!(target: "attune", records, "{failure}: {said}");
        let may = self.may(&ready.context, &[self.model.as_str()]).await;
        match () {
            () if may.is_ok_and(|may| !may.create(&self.model)) => Created::NotSent(self.forbidden()),
            () if records > 1 => Created::BatchRejected(failure),
            () if said.contains(CODE_IS_TAKEN) => Created::NotSent(Failure {
                class: Class::Retry,
                message: "Tryton gave one code to two new parties at once; it is tried again".to_owned(),
                ..failure
            }),
            () if says_it_is_there(said) => Created::Exists(None),
            () => Created::Rejected(format!(
                "Tryton does not take this record of `{}`; correct the customer, or lift Tryton's rule",
                self.model
            )),
        }
    }

    /// Removes records that are there: all in one call, and where one stands in the way, in halves down to it. What was refused
    /// was rolled back, so that nothing is sent twice.
    async fn remove_all(&self, ready: &Ready, ids: &[i64], reservation: &dyn Reservation) -> BTreeMap<i64, Removed> {
        let mut removed = BTreeMap::new();
        let mut waiting = if ids.is_empty() { Vec::new() } else { vec![ids] };
        while let Some(ids) = waiting.pop() {
            let call = if ready.model.has_active {
                Call::new(&self.model, "write", json!([ids, { ACTIVE: false }]))
            } else {
                Call::new(&self.model, "delete", json!([ids]))
            };
            let paid = Paid::by(reservation, reservation.lane());
            let outcome = match self.change(&ready.context, &call, paid).await {
                Ok(_) => Removed::Gone,
                Err(failure) if failure.may_have_happened => Removed::Unknown(failure),
                Err(failure) if failure.class == Class::Rejected && ids.len() > 1 => {
                    let (first, second) = ids.split_at(ids.len() / 2);
                    waiting.extend([second, first]);
                    continue;
                }
                Err(failure) if failure.class == Class::Rejected => self.not_removed(ready, &failure).await,
                Err(failure) => Removed::NotSent(failure),
            };
            removed.extend(ids.iter().map(|id| (*id, outcome.clone())));
        }
        removed
    }

    async fn not_removed(&self, ready: &Ready, failure: &Failure) -> Removed {
        let said = failure.detail.as_deref().unwrap_or_default();
        tracing::debug!(target: "attune", "{failure}: {said}");
        let model = self.model.as_str();
        let may = self.may(&ready.context, &[model]).await;
        let lacks_right =
            may.is_ok_and(|may| if ready.model.has_active { !may.write(model) } else { !may.delete(model) });
        if lacks_right {
            return Removed::NotSent(self.forbidden());
        }
        Removed::Rejected(format!("Tryton does not let this record of `{model}` go; archive or delete it there"))
    }
}
