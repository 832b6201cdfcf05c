//! Making and removing records.
//!
//! A record is made by `load` under an external id that holds the token of its creation: asked again, Odoo answers the record
//! that it made, and leaves it as it is (`noupdate`), archived or not. A record is removed as people do it, by archiving it;
//! one of a model that has no archive is deleted.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::fields::Field;
use super::read::id_of;
use super::rpc::{Call, forbidden, is_forbidden};
use super::write::{Numbers, batch_refused, cell, complaints, is_about, own, said};
use super::{Odoo, PAGE_ROWS, ROWS_PER_LOAD, Ready};
use crate::connector::lifecycle::says_it_is_there;
use crate::connector::paid::Paid;
use crate::connector::{Created, Lane, Lifecycle, LifecycleLimits, NewRecord, Removed, Reservation};
use crate::model::{Class, Existence, Failure, Key};

/// The module in the external ids of what Attune made.
const MODULE: &str = "attune";

/// The records of one call, which give values to the same fields, by their place in the batch.
type Alike = BTreeMap<Vec<usize>, Vec<usize>>;

#[async_trait]
impl Lifecycle for Odoo {
    fn lifecycle_limits(&self) -> LifecycleLimits {
        LifecycleLimits { records_per_create: ROWS_PER_LOAD, keys_per_remove: PAGE_ROWS }
    }

    fn required(&self) -> Vec<Vec<&'static str>> {
        if self.model == "res.partner" { vec![vec!["name"]] } else { Vec::new() }
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
            Ok((ready, numbers)) => {
                for (fields, places) in self.alike(&ready, batch, &numbers, &mut outcomes) {
                    let call = self.load_call(&ready, batch, (&fields, &places), &numbers);
                    self.make(&ready, &call, &places, reservation, &mut outcomes).await;
                }
            }
            Err(failure) => outcomes.fill(Some(Created::NotSent(failure))),
        }
        let missing = || Created::Unknown(self.senseless("load"));
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
        crate::connector::lifecycle::removed(&now, outcome, ("Odoo", &self.model))
    }
}

fn takes(ready: &Ready, field: usize) -> bool {
    matches!(ready.model.fields.get(field), Some(Field::Own(_, shape)) if shape.writable)
}

impl Odoo {
    /// The records by the fields that they give values to, since the rows of `load` have the same columns. What cannot be sent
    /// is settled.
    fn alike(&self, ready: &Ready, batch: &[NewRecord], numbers: &Numbers, outcomes: &mut [Option<Created>]) -> Alike {
        let mut alike = Alike::new();
        for (place, record) in batch.iter().enumerate() {
            let problem = record.values.iter().find_map(|(field, value)| {
                if !takes(ready, *field) {
                    let name = self.names.get(*field).map_or("?", String::as_str);
                    return Some(format!("`{name}` of `{}` cannot be given to a new record", self.model));
                }
                numbers.get(&(*field, value.display()))?.as_ref().err().cloned()
            });
            match problem {
                Some(why) => outcomes[place] = Some(Created::Rejected(why)),
                None => {
                    let mut fields: Vec<usize> = record.values.iter().map(|(field, _)| *field).collect();
                    fields.sort_unstable();
                    alike.entry(fields).or_default().push(place);
                }
            }
        }
        alike
    }

    /// The call that makes records which give values to the same fields.
    fn load_call(
        &self,
        ready: &Ready,
        batch: &[NewRecord],
        (fields, places): (&[usize], &[usize]),
        numbers: &Numbers,
    ) -> Call<'_> {
        let mut headings = vec!["id".to_owned()];
        headings.extend(fields.iter().filter_map(|field| Some(own(ready, *field)?.heading())));
        // A model that was made in Odoo itself may have no default: then the new record would be in the archive.
        let active = ready.model.active.filter(|active| !headings.iter().any(|heading| heading == active));
        headings.extend(active.map(str::to_owned));
        let data: Vec<Vec<String>> = places
            .iter()
            .map(|place| {
                let record = &batch[*place];
                let mut row = vec![format!("{MODULE}.{}", record.token)];
                row.extend(fields.iter().map(|field| {
                    let value = record.values.iter().find(|(of, _)| of == field).map(|(_, value)| value);
                    cell(ready, *field, value, numbers)
                }));
                row.extend(active.map(|_| "1".to_owned()));
                row
            })
            .collect();
        // What was made before is not written again, and nobody is told or made a follower.
        let context = json!({
            "mode": "update", "noupdate": true, "mail_create_nosubscribe": true, "mail_auto_subscribe_no_notify": true,
        });
        Call::new(&self.model, "load", json!({ "fields": headings, "data": data, "context": context }))
    }

    async fn make(
        &self,
        ready: &Ready,
        call: &Call<'_>,
        places: &[usize],
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Created>],
    ) {
        let all = |outcome: &Created, outcomes: &mut [Option<Created>]| {
            for place in places {
                outcomes[*place] = Some(outcome.clone());
            }
        };
        match self.change(ready.protocol, call, Paid::by(reservation, reservation.lane())).await {
            Ok(result) => match result.get("ids") {
                Some(Value::Array(ids)) if ids.len() == places.len() => {
                    for (place, id) in places.iter().zip(ids) {
                        outcomes[*place] = id.as_i64().map(|id| Created::Made(Key::new(id.to_string())));
                    }
                }
                Some(Value::Bool(false)) if self.is_about_rights(ready, "create", &result).await => {
                    all(&Created::NotSent(forbidden()), outcomes);
                }
                Some(Value::Bool(false)) => self.not_made(&result, places, outcomes),
                _ => {}
            },
            Err(failure) => {
                let is_refused = match failure.class {
                    Class::Rejected => true,
                    Class::Auth => is_forbidden(&failure) && self.may(ready.protocol, "create").await.unwrap_or(false),
                    _ => false,
                };
                if is_refused {
                    // It may hold values: the sentence of a held one must not.
                    let said = failure.detail.as_deref().unwrap_or_default();
                    tracing::debug!(target: "attune", records = places.len(), "{failure}: {said}");
                }
                let outcome = match failure.class {
                    _ if failure.may_have_happened => Created::Unknown(failure),
                    _ if is_refused && places.len() == 1 => Created::Rejected(failure.message),
                    _ if is_refused => Created::BatchRejected(failure),
                    _ => Created::NotSent(failure),
                };
                all(&outcome, outcomes);
            }
        }
    }

    /// Nothing was made: the rows that stood in the way are refused, the others go again.
    fn not_made(&self, result: &Value, places: &[usize], outcomes: &mut [Option<Created>]) {
        let complaints = complaints(result);
        for (row, place) in places.iter().enumerate() {
            let own: Vec<&&Value> = complaints.iter().filter(|message| is_about(message, row)).collect();
            let is_there = own.iter().any(|message| says_it_is_there(said(message)))
                || (places.len() == 1 && complaints.iter().any(|message| says_it_is_there(said(message))));
            outcomes[*place] = Some(if is_there {
                Created::Exists(None)
            } else if !own.is_empty() || places.len() == 1 {
                let named = own.iter().find_map(|message| self.named(message));
                let of = named.map_or_else(String::new, |name| format!(" for its `{name}`"));
                Created::Rejected(format!(
                    "Odoo does not take this record of `{}`{of}; correct the customer, or lift Odoo's rule",
                    self.model
                ))
            } else {
                Created::BatchRejected(batch_refused())
            });
        }
    }

    /// The field that a complaint names, if it is one of ours.
    fn named(&self, message: &Value) -> Option<&str> {
        let field = message.get("field").and_then(Value::as_str)?.split('/').next()?;
        let plain = |name: &'_ str| name.split_once(':').map_or(name, |(plain, _)| plain).to_owned();
        self.names.iter().map(String::as_str).find(|name| plain(name) == field)
    }

    /// Removes records that are there: all in one call, and where one stands in the way, in halves down to it. What was refused
    /// was rolled back, so that nothing is sent twice.
    async fn remove_all(&self, ready: &Ready, ids: &[i64], reservation: &dyn Reservation) -> BTreeMap<i64, Removed> {
        let mut removed = BTreeMap::new();
        let mut waiting = if ids.is_empty() { Vec::new() } else { vec![ids] };
        while let Some(ids) = waiting.pop() {
            let call = match ready.model.active {
                Some(active) => Call::new(&self.model, "write", json!({ "vals": { active: false } })),
                None => Call::new(&self.model, "unlink", json!({})),
            };
            let operation = call.method;
            let call = Call { ids: Some(ids), ..call };
            let paid = Paid::by(reservation, reservation.lane());
            let outcome = match self.change(ready.protocol, &call, paid).await {
                Ok(_) => Removed::Gone,
                Err(failure) if failure.may_have_happened => Removed::Unknown(failure),
                Err(failure) if failure.class == Class::Rejected || is_forbidden(&failure) => {
                    if is_forbidden(&failure) && !self.may(ready.protocol, operation).await.unwrap_or(true) {
                        Removed::NotSent(failure)
                    } else if ids.len() > 1 {
                        let (first, second) = ids.split_at(ids.len() / 2);
                        waiting.extend([second, first]);
                        continue;
                    } else {
                        let said = failure.detail.as_deref().unwrap_or_default();
                        tracing::debug!(target: "attune", "{failure}: {said}");
                        Removed::Rejected(self.kept(&failure))
                    }
                }
                Err(failure) => Removed::NotSent(failure),
            };
            removed.extend(ids.iter().map(|id| (*id, outcome.clone())));
        }
        removed
    }

    fn kept(&self, failure: &Failure) -> String {
        let code = failure.code.as_deref().unwrap_or("no reason");
        format!("Odoo does not let this record of `{}` go ({code}); archive or delete it there", self.model)
    }
}
