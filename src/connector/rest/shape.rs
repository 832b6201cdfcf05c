//! What the API was found to be: whether it answers as its description says, which fields there are, and what they hold.
//!
//! There is no schema that every API has, so fields are told by the records of one page. Three calls.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Rest;
use super::call::Question;
use super::query::{Queries, Start};
use super::values::{self, Kind, Record};
use crate::connector::names::nearest;
use crate::connector::paid::Paid;
use crate::connector::{FieldWanted, Lane, Prepared};
use crate::http::Answer;
use crate::model::{
    Api, Class, Definition, DefinitionState, Existence, Failure, FieldShape, FieldType, Holds, Timestamp,
};

/// The records that fields are told by.
const SAMPLE: usize = 100;

/// Nothing is dated so far ahead.
const FAR_AHEAD: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl Rest {
    /// Looks at the API.
    pub(super) async fn look(&self) -> Result<Prepared, Failure> {
        let (answer, clock) = match self.sample().await {
            Ok(sample) => sample,
            Err(failure) => return Err(self.blamed(failure).await),
        };
        let records = self.records(&answer)?;
        let states: Vec<DefinitionState> = self.wanted.iter().map(|field| self.state(field, &records)).collect();
        self.remember(&records);
        let mut warnings = Vec::new();
        match records.first() {
            None => warnings.push(format!(
                "the API shows no record, so that nothing could be checked; if there are some, check `collection` in \
                 [crm.{}] and the rights of its user",
                self.name
            )),
            Some(record) => {
                self.check_record(record)?;
                self.check_by_key(record).await?;
            }
        }
        if !records.is_empty() {
            warnings.extend(self.check_dates(&records));
            warnings.extend(self.check_since(clock).await?);
        }
        let definitions = states.into_iter().map(|state| Definition { id: None, state }).collect();
        let identity = format!("rest {}{}", self.caller.base(), self.queries.list_path());
        Ok(Prepared { identity, clock, definitions, warnings, choices: Vec::new() })
    }

    /// What each field holds; looked at now if nobody did.
    pub(super) async fn found(&self) -> Result<Arc<Vec<Holds>>, Failure> {
        if let Some(found) = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(found);
        }
        let (answer, _) = self.sample().await?;
        Ok(self.remember(&self.records(&answer)?))
    }

    fn remember(&self, records: &[Record<'_>]) -> Arc<Vec<Holds>> {
        let found: Arc<Vec<Holds>> = Arc::new(self.wanted.iter().map(|field| self.holds(field, records)).collect());
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&found));
        found
    }

    async fn sample(&self) -> Result<(Answer, Timestamp), Failure> {
        let limit = SAMPLE.min(self.api.list.page_size);
        let answer = self.first_page(None, limit).await?;
        let clock = answer.clock.ok_or_else(|| self.senseless("an answer without a clock was taken"))?;
        Ok((answer, clock))
    }

    async fn first_page(&self, since: Option<Timestamp>, limit: usize) -> Result<Answer, Failure> {
        let query = self.queries.page(since, Start { page: 1, ..Start::default() }, limit);
        let question = Question { path: self.queries.list_path(), query, headers: &self.list_headers, missing: &[] };
        self.ask(&question, Paid::in_lane(Lane::Fresh)).await
    }

    /// An API that refuses a whole list for one field does not say which in words that may be shown: each is asked for alone.
    async fn blamed(&self, failure: Failure) -> Failure {
        let bare = Api { modified: None, created: None, deleted: None, related_modified: None, ..self.api.clone() };
        if !matches!(failure.status, Some(400 | 403 | 404 | 422)) || !self.answers(&bare, &[]).await {
            return failure;
        }
        let roles = [
            ("modified", self.api.modified.clone()),
            ("created", self.api.created.clone()),
            ("deleted", self.api.deleted.clone().map(|(field, _)| field)),
        ];
        let mut refused = Vec::new();
        for (role, field) in roles.into_iter().filter_map(|(role, field)| Some((role, field?))) {
            // In whatever role: what counts is that it is asked for.
            if !self.answers(&Api { modified: Some(field.clone()), ..bare.clone() }, &[]).await {
                refused.push(format!("`{field}` (`{role}`)"));
            }
        }
        for field in &self.wanted {
            if !self.answers(&bare, std::slice::from_ref(field)).await {
                refused.push(format!("`{}`", field.name));
            }
        }
        if refused.is_empty() {
            return failure;
        }
        let message = format!(
            "the API does not show {}: there is no such field, or this user may not see it; correct the mapping's `crm`, \
             [crm.{}], or the user's rights (all else is fine)",
            refused.join(", "),
            self.name
        );
        Failure { class: Class::Misconfigured, message, ..failure }
    }

    /// Whether a list of an API like this, with these mapped fields alone, is answered.
    async fn answers(&self, api: &Api, fields: &[FieldWanted]) -> bool {
        let queries = Queries::new(api, fields);
        let query = queries.page(None, Start { page: 1, ..Start::default() }, 1);
        let question = Question { path: queries.list_path(), query, headers: &self.list_headers, missing: &[] };
        self.ask(&question, Paid::in_lane(Lane::Fresh)).await.is_ok()
    }

    /// The first record has what the description says that every record has.
    fn check_record(&self, record: &Record<'_>) -> Result<(), Failure> {
        let key = self.key_of(record)?;
        if !self.queries.is_key(&key) {
            return Err(self.unfitting("the keys of records are not what `key_is` says; correct it in"));
        }
        let roles = [("modified", self.api.modified.as_ref()), ("created", self.api.created.as_ref())];
        let roles = roles.into_iter().chain([("deleted", self.api.deleted.as_ref().map(|(field, _)| field))]);
        for (role, field) in roles.filter_map(|(role, field)| Some((role, field?))) {
            if !record.contains_key(field) && !self.api.omits_nulls {
                let hint = nearest(field, record.keys().map(String::as_str))
                    .map_or_else(String::new, |like| format!(" (did you mean `{like}`?)"));
                let why = format!(
                    "records show no `{field}`{hint}; correct `{role}`, or the rights of the API's user to that field, in"
                );
                return Err(self.unfitting(&why));
            }
        }
        Ok(())
    }

    /// A record that the list shows is found by its key, with its ETag where there should be one.
    async fn check_by_key(&self, record: &Record<'_>) -> Result<(), Failure> {
        let key = self.key_of(record)?;
        let fields: Vec<usize> = (0..self.names.len()).collect();
        let found = self.by_keys(std::slice::from_ref(&key), &fields, Paid::in_lane(Lane::Fresh)).await?;
        let marked = self.observe(key.clone(), record, None).existence != Existence::Present;
        match found.get(&key) {
            None => Err(self.unfitting(
                "a record that the list shows is not found by its key; check `keys` of `list`, or `read`, and `key_is`, in",
            )),
            Some(found)
                if self.api.etag.is_some()
                    && !marked
                    && found.cells.iter().all(|cell| cell.token.is_none()) =>
            {
                Err(self.unfitting(
                    "records are to have an ETag and show none; correct `etag`, or take it out (writes are then not \
                     conditional), in",
                ))
            }
            Some(_) => Ok(()),
        }
    }

    fn check_dates(&self, records: &[Record<'_>]) -> Option<String> {
        let is_dated = |record: &Record<'_>| self.modified(record).is_some();
        let undated = records.iter().filter(|record| !is_dated(record)).count();
        (undated > 0).then(|| {
            format!(
                "{undated} of {} records have no time in `modified` or `created`, so that their changes are found by the \
                 sweep alone; name both in [crm.{}] if the API has them",
                records.len(),
                self.name
            )
        })
    }

    /// An API that does not know a parameter ignores it: then every poll would read everything.
    async fn check_since(&self, clock: Timestamp) -> Result<Option<String>, Failure> {
        if !self.queries.can_ask_since() {
            let why = format!(
                "the API is not asked since when (`since` of `list` and `modified` in [crm.{}]): every poll reads all of it",
                self.name
            );
            return Ok(Some(why));
        }
        let ahead = clock + FAR_AHEAD;
        let answer = self.first_page(Some(ahead), SAMPLE.min(self.api.list.page_size)).await?;
        let records = self.records(&answer)?;
        let is_old = |record: &Record<'_>| self.modified(record).is_none_or(|modified| modified < ahead);
        Ok(records.iter().any(is_old).then(|| {
            format!(
                "asked for what changed since next year, the API shows records: it does not understand `since` or \
                 `filter` of `list` in [crm.{}], and every poll reads all of it",
                self.name
            )
        }))
    }

    /// What a field holds: as configured, as its values tell, or as the mapping has it.
    fn holds(&self, field: &FieldWanted, records: &[Record<'_>]) -> Holds {
        if let Some(holds) = self.api.types.get(&field.name) {
            return *holds;
        }
        let values = records.iter().filter_map(|record| record.get(&field.name).copied());
        let by_mapping = match field.kind {
            FieldType::String => Holds::Text,
            FieldType::Number => Holds::Number,
            FieldType::Date => Holds::Date,
            FieldType::Boolean => Holds::Boolean,
            FieldType::List => Holds::List,
        };
        match values::holds(values) {
            // Texts that look like days are days where the mapping says so.
            Some(Holds::Date | Holds::Instant) if field.kind != FieldType::Date => Holds::Text,
            told => told.unwrap_or(by_mapping),
        }
    }

    fn state(&self, field: &FieldWanted, records: &[Record<'_>]) -> DefinitionState {
        let name = field.name.as_str();
        let read_only = FieldShape { writable: false, clearable: false, ..FieldShape::TEXT };
        if name == "@key" {
            return DefinitionState::Usable(read_only);
        }
        let top = name.split_once('.').map_or(name, |(relation, _)| relation);
        let values: Vec<_> = records.iter().filter_map(|record| record.get(top).copied()).collect();
        if values.is_empty() && !records.is_empty() && !self.api.omits_nulls {
            let known: BTreeSet<&str> = records.iter().flat_map(|record| record.keys().map(String::as_str)).collect();
            return DefinitionState::Unusable(self.no_field(name, top, &known));
        }
        if let Some((relation, inner)) = name.split_once('.') {
            return match self.related(relation, inner, &values) {
                Some(why) => DefinitionState::Unusable(why),
                None => DefinitionState::Usable(read_only),
            };
        }
        if values.iter().any(|value| values::kind(value) == Kind::Object) {
            let why =
                format!("`{name}` is an object; map one of its fields, `{name}.FIELD`, with direction = \"to_store\"");
            return DefinitionState::Unusable(why);
        }
        let own = [Some(&self.api.key), self.api.modified.as_ref(), self.api.created.as_ref()];
        let is_own = own.into_iter().flatten().any(|own| own == name)
            || self.api.deleted.as_ref().is_some_and(|(field, _)| field == name);
        let writable = self.api.write.is_some() && !is_own;
        let holds = self.holds(field, records);
        DefinitionState::Usable(FieldShape { holds, writable, clearable: writable, ..FieldShape::TEXT })
    }

    /// Why a field of related records cannot be used, if so.
    fn related(&self, relation: &str, field: &str, values: &[&serde_json::value::RawValue]) -> Option<String> {
        let shown: Vec<_> = values.iter().filter(|value| values::kind(value) != Kind::Null).collect();
        if shown.is_empty() {
            return None;
        }
        let records: Vec<Record<'_>> = shown
            .iter()
            .filter(|value| values::kind(value) == Kind::Object)
            .filter_map(|value| values::record(value))
            .collect();
        if records.is_empty() {
            return Some(format!(
                "`{relation}` shows no related record but something else, so that `{relation}.{field}` leads nowhere; \
                 check `expand` or the fields that `list` asks for in [crm.{}]",
                self.name
            ));
        }
        let known: BTreeSet<&str> = records.iter().flat_map(|record| record.keys().map(String::as_str)).collect();
        let is_missing = !known.contains(field) && !self.api.omits_nulls;
        is_missing.then(|| self.no_field(&format!("{relation}.{field}"), field, &known))
    }

    fn no_field(&self, name: &str, part: &str, known: &BTreeSet<&str>) -> String {
        let hint =
            nearest(part, known.iter().copied()).map_or_else(String::new, |like| format!("; did you mean `{like}`?"));
        format!(
            "records show no field `{name}`, or this user may not see it{hint}; correct the mapping's `crm`, or \
             make the field there",
        )
    }
}
