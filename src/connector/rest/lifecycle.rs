//! Making and removing records, each by a request of its own, where the description says how.
//!
//! The answer to a creation must show the new record with its key: without it nobody knows what was made. A status alone proves no
//! removal either: the records are looked at afterwards.

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::value::RawValue;

use super::values::{self, Kind};
use super::{Rest, SINGLE_KEYS_PER_FETCH};
use crate::connector::lifecycle::says_it_is_there;
use crate::connector::paid::Paid;
use crate::connector::{Created, Lane, Lifecycle, LifecycleLimits, NewRecord, Removed, Reservation};
use crate::http::Answer;
use crate::model::{ApiCreate, ApiDelete, Class, Existence, Failure, Holds, Key};

#[async_trait]
impl Lifecycle for Rest {
    fn lifecycle_limits(&self) -> LifecycleLimits {
        let keys_per_remove = if self.api.delete.is_some() { self.keys_per_remove() } else { 0 };
        LifecycleLimits { records_per_create: self.api.create.is_some().into(), keys_per_remove }
    }

    fn creates_with(&self, field: usize) -> bool {
        let taken = [Some(&self.api.key), self.api.modified.as_ref(), self.api.created.as_ref()];
        let is_own = |name: &String| !name.contains('.') && !taken.contains(&Some(name));
        self.api.create.is_some() && self.names.get(field).is_some_and(is_own)
    }

    async fn create(&self, batch: &[NewRecord], reservation: &dyn Reservation) -> Vec<Created> {
        let mut outcomes = Vec::with_capacity(batch.len());
        let found = self.found().await;
        for record in batch {
            outcomes.push(match &found {
                Ok(found) => self.make(record, found, Paid::by(reservation, reservation.lane())).await,
                Err(failure) => Created::NotSent(failure.clone()),
            });
        }
        outcomes
    }

    async fn remove(&self, keys: &[Key], reservation: &dyn Reservation) -> Vec<Removed> {
        let mut said: Vec<Said> = Vec::with_capacity(keys.len());
        for key in keys {
            let is_possible = self.queries.is_key(key);
            let paid = Paid::by(reservation, reservation.lane());
            said.push(if is_possible { self.delete(key, paid).await } else { Said::Settled(Removed::Gone) });
        }
        let is_open = |said: &Said| !matches!(said, Said::Settled(_));
        let look: Vec<Key> =
            keys.iter().zip(&said).filter(|(_, said)| is_open(said)).map(|(key, _)| key.clone()).collect();
        let now = if look.is_empty() {
            Ok(Default::default())
        } else {
            self.by_keys(&look, &[], Paid::in_lane(Lane::Resolve)).await
        };
        let is_there = |key: &Key| match &now {
            Ok(now) => Ok(now.get(key).is_some_and(|record| record.existence == Existence::Present)),
            Err(failure) => Err(failure.clone()),
        };
        let outcome = |(key, said): (&Key, Said)| match (said, is_there(key)) {
            (Said::Settled(outcome), _) => outcome,
            (_, Ok(false)) => Removed::Gone,
            (Said::Good, Ok(true)) => Removed::Rejected(
                "the API did not remove this record, whatever it answered; remove it there".to_owned(),
            ),
            // It was told to be missing, and is not: the user may not remove it.
            (Said::Missing(failure), Ok(true)) => Removed::NotSent(failure),
            (Said::Good, Err(failure)) => Removed::Unknown(failure.possibly_happened()),
            (Said::Missing(_), Err(failure)) => Removed::NotSent(failure),
        };
        keys.iter().zip(said).map(outcome).collect()
    }
}

/// What was answered to a removal.
enum Said {
    Settled(Removed),
    /// It is done; whether it is, is looked at.
    Good,
    /// There is no such record, perhaps.
    Missing(Failure),
}

impl Rest {
    fn keys_per_remove(&self) -> usize {
        if self.api.list.keys.is_some() {
            self.api.list.keys_max.min(SINGLE_KEYS_PER_FETCH)
        } else {
            SINGLE_KEYS_PER_FETCH
        }
    }

    async fn make(&self, record: &NewRecord, found: &[Holds], paid: Paid<'_>) -> Created {
        let (Some(create), Some((path, query))) = (&self.api.create, self.queries.create()) else {
            return Created::Rejected(format!("[crm.{}] does not say how a record is made; add `create`", self.name));
        };
        let members: Result<Vec<String>, String> =
            record.values.iter().map(|(field, value)| self.new_member(*field, value, found)).collect();
        let members = match members {
            Ok(members) => members,
            Err(why) => return Created::Rejected(why),
        };
        let body = format!("{{{}}}", members.join(",")).into_bytes();
        match self.change(Method::POST, path, (query, Some(body), self.create_headers.clone()), paid).await {
            Ok(answer) => match self.key_in(create, &answer) {
                Some(key) => Created::Made(key),
                None => Created::Unknown(
                    self.unfitting("the answer to a creation shows no record with its key at `record` of `create` in")
                        .possibly_happened(),
                ),
            },
            Err(failure) => self.not_made(create, failure),
        }
    }

    /// `"name":value`; a sentence where it cannot be sent.
    fn new_member(&self, field: usize, value: &crate::model::Value, found: &[Holds]) -> Result<String, String> {
        let name = self.names.get(field).map_or("?", String::as_str);
        if !self.creates_with(field) {
            return Err(format!("`{name}` cannot be given to a new record"));
        }
        if name == "@key" {
            let key = Key::new(value.display());
            if !self.queries.is_key(&key) {
                return Err("the mapped value cannot be a key here; correct the mapping, or `key_is`".to_owned());
            }
            let name = serde_json::Value::from(self.api.key.as_str());
            return Ok(format!("{name}:{}", self.queries.json(key.as_str())));
        }
        let holds = found.get(field).copied().unwrap_or(Holds::Text);
        let value = values::spelt(holds, value).ok_or_else(|| {
            format!("`{name}` holds values of another type than this one; correct the value, or `types`")
        })?;
        Ok(format!("{}:{value}", serde_json::Value::from(name)))
    }

    /// The key of the record that an answer shows: alone, or in a list of one.
    fn key_in(&self, create: &ApiCreate, answer: &Answer) -> Option<Key> {
        let whole: &RawValue = serde_json::from_slice(&answer.body).ok()?;
        let place = values::at(whole, &create.record)?;
        let record = match values::kind(place) {
            Kind::List => match values::list(place)?[..] {
                [one] => values::record(one)?,
                _ => return None,
            },
            _ => values::record(place)?,
        };
        self.key_of(&record).ok().filter(|key| self.queries.is_key(key))
    }

    fn not_made(&self, create: &ApiCreate, failure: Failure) -> Created {
        let said = failure.detail.clone().unwrap_or_default();
        let status = failure.status.unwrap_or_default();
        let is_refused = failure.class == Class::Rejected || create.refused.contains(&status);
        if is_refused || failure.class == Class::Auth {
            // It may hold values: the sentence of a held one must not.
            tracing::debug!(target: "attune", "{failure}: {said}");
        }
        match () {
            () if create.exists.contains(&status) || (is_refused && says_it_is_there(&said)) => Created::Exists(None),
            () if is_refused => Created::Rejected(format!(
                "the API does not take this new record (status {status}); correct the customer, or map what is missing"
            )),
            () if failure.class == Class::Auth => Created::NotSent(self.explained(failure)),
            () if failure.class == Class::Misconfigured && failure.status.is_some() => {
                // Nothing is there that could have done it.
                Created::NotSent(Failure { may_have_happened: false, ..self.explained(failure) })
            }
            () if failure.may_have_happened => Created::Unknown(failure),
            () => Created::NotSent(failure),
        }
    }

    /// Removes one record.
    async fn delete(&self, key: &Key, paid: Paid<'_>) -> Said {
        let (Some(ApiDelete { missing, .. }), Some((path, query))) = (&self.api.delete, self.queries.delete(key))
        else {
            let why = format!("[crm.{}] does not say how a record is removed; add `delete`", self.name);
            return Said::Settled(Removed::Rejected(why));
        };
        let headers: HeaderMap = self.delete_headers.clone();
        let failure = match self.change(Method::DELETE, path, (query, None, headers), paid).await {
            Ok(_) => return Said::Good,
            Err(failure) => failure,
        };
        let said = failure.detail.as_deref().unwrap_or_default();
        tracing::debug!(target: "attune", "{failure}: {said}");
        let is_missing = failure.status.is_some_and(|status| missing.contains(&status));
        Said::Settled(match failure.class {
            Class::Rejected if !is_missing => Removed::Rejected(format!(
                "the API does not let this record go (status {}); remove it there",
                failure.status.unwrap_or_default()
            )),
            Class::Auth | Class::Misconfigured if failure.status.is_some() => {
                let failure = Failure { may_have_happened: false, ..self.explained(failure) };
                if is_missing {
                    return Said::Missing(failure);
                }
                Removed::NotSent(failure)
            }
            _ if is_missing => return Said::Missing(failure),
            _ if failure.may_have_happened => Removed::Unknown(failure),
            _ => Removed::NotSent(failure),
        })
    }
}
