//! What records show, and direct reads by key.
//!
//! A record that a list by keys leaves out is asked for again before it counts as gone: a server may answer fewer records
//! than it was asked for and say nothing of it.

use std::collections::{BTreeSet, HashMap};

use serde_json::value::RawValue;

use super::Rest;
use super::call::Question;
use super::values::{self, Kind, Record};
use crate::connector::paid::Paid;
use crate::http::Answer;
use crate::model::{Cell, Class, Existence, Failure, Key, Observed, Seen, Timestamp, Value};

impl Rest {
    /// The records with these keys that are there, marked as deleted or not.
    pub(super) async fn by_keys(
        &self,
        keys: &[Key],
        fields: &[usize],
        paid: Paid<'_>,
    ) -> Result<HashMap<Key, Observed>, Failure> {
        let distinct: BTreeSet<&Key> = keys.iter().filter(|key| self.queries.is_key(key)).collect();
        let keys: Vec<&Key> = distinct.into_iter().collect();
        let mut found = HashMap::new();
        if self.api.list.keys.is_none() {
            for key in keys {
                found.extend(self.one(key, fields, paid).await?);
            }
            return Ok(found);
        }
        for chunk in keys.chunks(self.api.list.keys_max.max(1)) {
            let mut open = chunk.to_vec();
            while !open.is_empty() {
                let shown = self.listed(&open, fields, paid).await?;
                let before = open.len();
                open.retain(|key| !shown.contains_key(*key));
                found.extend(shown);
                if open.len() == before {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// What one list by keys shows.
    async fn listed(&self, keys: &[&Key], fields: &[usize], paid: Paid<'_>) -> Result<HashMap<Key, Observed>, Failure> {
        let mut found = HashMap::new();
        let mut waiting = vec![keys];
        while let Some(keys) = waiting.pop() {
            let Some(query) = self.queries.keys(keys) else { break };
            let question =
                Question { path: self.queries.list_path(), query, headers: &self.list_headers, missing: &[] };
            let answer = match self.ask(&question, paid).await {
                Ok(answer) => answer,
                Err(failure) if crate::http::is_too_large(&failure) && keys.len() > 1 => {
                    let (first, second) = keys.split_at(keys.len() / 2);
                    waiting.extend([second, first]);
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            for record in self.records(&answer)? {
                let key = self.key_of(&record)?;
                if !keys.contains(&&key) {
                    return Err(self.unfitting(
                        "asked for records by their keys, the API answered with others; check `keys` and `filter` of `list` in",
                    ));
                }
                found.insert(key.clone(), self.observe(key, &record, Some(fields)));
            }
        }
        Ok(found)
    }

    /// One record, read by itself; none where it is not there.
    async fn one(&self, key: &Key, fields: &[usize], paid: Paid<'_>) -> Result<Option<(Key, Observed)>, Failure> {
        let (Some(read), Some((path, query))) = (&self.api.read, self.queries.read(key)) else {
            return Err(
                self.unfitting("records can be read neither by keys nor one by one; add `keys` to `list` or `read` to")
            );
        };
        let question = Question { path, query, headers: &self.read_headers, missing: &read.missing };
        let answer = match self.ask(&question, paid).await {
            Ok(answer) => answer,
            Err(failure) if failure.status.is_some_and(|status| read.missing.contains(&status)) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let whole: &RawValue = answer.json()?;
        let place = values::at(whole, &read.record);
        let Some(record) = place.and_then(values::record) else {
            return Err(self.unfitting("the answer to the read of one record has none at `record` of `read` in"));
        };
        let shown = self.key_of(&record)?;
        if shown != *key {
            return Err(
                self.unfitting("asked for one record, the API answered with another; check `path` of `read` in")
            );
        }
        let mut observed = self.observe(shown.clone(), &record, Some(fields));
        // Where the body has no ETag, the header may.
        let header = answer.headers.get(reqwest::header::ETAG).and_then(|etag| etag.to_str().ok());
        if self.api.etag.is_some()
            && let Some(etag) = header
        {
            for cell in observed.cells.iter_mut().filter(|cell| cell.token.is_none() && !cell.seen.is_unseen()) {
                cell.token = Some(etag.to_owned());
            }
        }
        Ok(Some((shown, observed)))
    }

    /// The records in the answer to a list.
    pub(super) fn records<'a>(&self, answer: &'a Answer) -> Result<Vec<Record<'a>>, Failure> {
        let whole: &RawValue = answer.json()?;
        self.records_in(whole, &self.api.list.records).ok_or_else(|| {
            let mut failure = self.unfitting("the answer to a list has no list of records at `records` of `list` in");
            failure.request_id.clone_from(&answer.request_id);
            failure
        })
    }

    /// The records at a place of an answer: a list of them, or one.
    pub(super) fn records_in<'a>(&self, whole: &'a RawValue, pointer: &str) -> Option<Vec<Record<'a>>> {
        let place = values::at(whole, pointer)?;
        match values::kind(place) {
            Kind::List => values::list(place)?.into_iter().map(values::record).collect(),
            _ => None,
        }
    }

    /// The record's key.
    pub(super) fn key_of(&self, record: &Record<'_>) -> Result<Key, Failure> {
        let key = record.get(&self.api.key).and_then(|value| match values::kind(value) {
            Kind::Text | Kind::Number => values::text(value),
            _ => None,
        });
        match key.filter(|key| !key.is_empty()) {
            Some(key) => Ok(Key::new(key)),
            None => {
                let why = format!(
                    "a record shows no `{}`, which is to be its key; correct `key`, or the fields that `list` asks for, in",
                    self.api.key
                );
                Err(self.unfitting(&why))
            }
        }
    }

    /// When the record was made or changed, whichever is later.
    pub(super) fn modified(&self, record: &Record<'_>) -> Option<Timestamp> {
        let at = |field: &Option<String>| values::time(record.get(field.as_ref()?)?);
        at(&self.api.modified).max(at(&self.api.created))
    }

    /// What a record shows of these fields (none: all).
    pub(super) fn observe(&self, key: Key, record: &Record<'_>, fields: Option<&[usize]>) -> Observed {
        let modified = self.modified(record);
        if let Some((field, marks)) = &self.api.deleted
            && record.get(field).is_some_and(|value| values::is_marked(value, marks))
        {
            return self.gone(&key, modified);
        }
        let etag = self.api.etag.as_ref().and_then(|field| values::text(record.get(field)?));
        let cells = self
            .names
            .iter()
            .enumerate()
            .map(|(index, name)| match fields {
                Some(fields) if !fields.contains(&index) => Cell::default(),
                _ => Cell { token: etag.clone(), ..self.cell(name, &key, record, modified) },
            })
            .collect();
        Observed { key, existence: Existence::Present, modified, cells }
    }

    fn cell(&self, name: &str, key: &Key, record: &Record<'_>, modified: Option<Timestamp>) -> Cell {
        if name == "@key" {
            return Cell { seen: Seen::Value(Value::text(key.as_str())), ..Cell::default() };
        }
        let missing = || if self.api.omits_nulls { Seen::Absent } else { Seen::Unseen };
        let Some((relation, field)) = name.split_once('.') else {
            let seen = record.get(name).map_or_else(missing, |value| values::seen(value));
            return Cell { seen, ..Cell::default() };
        };
        let Some(related) = record.get(relation) else { return Cell { seen: missing(), ..Cell::default() } };
        match values::kind(related) {
            Kind::Null => Cell { modified, ..Cell::absent() },
            Kind::Object => {
                let Some(related) = values::record(related) else { return Cell::default() };
                let seen = related.get(field).map_or_else(missing, |value| values::seen(value));
                // Either may have brought the value: the other record changed, or this one points to another.
                let changed = self.api.related_modified.as_ref().and_then(|field| values::time(related.get(field)?));
                Cell { seen, modified: changed.max(modified), token: None }
            }
            // Its key alone, or several: what it holds is not shown.
            _ => Cell::default(),
        }
    }

    pub(super) fn gone(&self, key: &Key, modified: Option<Timestamp>) -> Observed {
        let cells = vec![Cell::default(); self.names.len()];
        Observed { key: key.clone(), existence: Existence::Gone, modified, cells }
    }

    /// A defect: of ours, or of the description.
    pub(super) fn senseless(&self, what: &str) -> Failure {
        let why = format!("{what}; please report this as a defect of Attune");
        Failure::new(Class::Broken, why).possibly_happened()
    }
}
