//! What became of writes: told by records in the answer as they are stored, or by reading back. A status alone proves nothing:
//! Directus answers 200 and 204 to writes of records that do not exist, and leaves them out.

use std::collections::BTreeSet;

use reqwest::header::{ETAG, HeaderMap};
use serde_json::value::RawValue;

use super::Rest;
use super::values;
use super::write::Row;
use crate::connector::Lane;
use crate::connector::paid::Paid;
use crate::http::is_too_large;
use crate::model::{ApiBody, Class, Existence, Failure, Key, Observed, Outcome, Write};

/// What was answered to one record.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// The record as it is stored.
    Stored(Box<Observed>),
    /// It is good, and the record is not shown.
    Good,
    /// There is no such record, perhaps.
    Missing(Failure),
    /// It is no longer what it was.
    Lost,
    /// What was sent is refused, nothing of it was written.
    Refused(Failure),
    /// A status that is a refusal here, and a breakdown elsewhere.
    PerhapsRefused(Failure),
    /// Anything else.
    Failed(Failure),
}

impl Rest {
    /// What a failure of a write says of its records.
    pub(super) fn said(&self, failure: Failure) -> Said {
        if failure.class == Class::Rejected || failure.class == Class::Auth {
            // It may hold values: the sentence of a held one must not.
            let detail = failure.detail.as_deref().unwrap_or_default();
            tracing::debug!(target: "attune", "{failure}: {detail}");
        }
        let (missing, refused) =
            self.api.write.as_ref().map_or((&[][..], &[][..]), |write| (&write.missing[..], &write.refused[..]));
        match failure.status {
            Some(412) => Said::Lost,
            Some(428) => Said::Failed(Failure {
                status: failure.status,
                ..self.unfitting("the API wants writes to be conditional; name the field with the ETag as `etag` in")
            }),
            Some(status) if missing.contains(&status) => Said::Missing(self.explained(failure)),
            Some(status) if refused.contains(&status) => Said::PerhapsRefused(self.refused_failure(Some(status))),
            status if failure.class == Class::Rejected => Said::Refused(self.refused_failure(status)),
            _ if failure.class == Class::Misconfigured && failure.status.is_some() => {
                // Nothing is there that could have done it.
                Said::Failed(Failure { may_have_happened: false, ..self.explained(failure) })
            }
            _ if failure.class == Class::Auth => Said::Failed(self.explained(failure)),
            _ => Said::Failed(failure),
        }
    }

    pub(super) fn refused_failure(&self, status: Option<u16>) -> Failure {
        let why = "the API does not take what was sent";
        Failure { status, ..Failure::new(Class::Rejected, why) }
    }

    /// A request in a batch that was answered with this status.
    pub(super) fn part_failed(&self, status: u16) -> Failure {
        let (class, may_have_happened) = match status {
            401 | 403 => (Class::Auth, false),
            404 | 410 => (Class::Misconfigured, false),
            429 => (Class::Retry, false),
            400..=499 => (Class::Rejected, false),
            _ => (Class::Retry, true),
        };
        let why = "the API could not do a part of a batch; it is tried again";
        Failure { status: Some(status), may_have_happened, ..Failure::new(class, why) }
    }

    /// The record that the answer to a write of one record shows.
    pub(super) fn shown_one(&self, key: &Key, body: &[u8], headers: &HeaderMap) -> Said {
        let Some(pointer) = self.api.write.as_ref().and_then(|write| write.records.as_ref()) else { return Said::Good };
        let whole: Option<&RawValue> = serde_json::from_slice(body).ok();
        let record = whole.and_then(|whole| values::record(values::at(whole, pointer)?));
        match record {
            Some(record) if self.key_of(&record).is_ok_and(|shown| shown == *key) => {
                let mut observed = self.observe(key.clone(), &record, None);
                if let Some(etag) = headers.get(ETAG).and_then(|etag| etag.to_str().ok()) {
                    observed.cells.iter_mut().for_each(|cell| cell.token = cell.token.take().or(Some(etag.to_owned())));
                }
                Said::Stored(Box::new(observed))
            }
            _ => Said::Good,
        }
    }

    /// The records that the answer to a write of several shows; those that it leaves out are looked at.
    pub(super) fn shown_all(&self, rows: &[Row], body: &[u8]) -> Vec<Said> {
        let pointer = self.api.write.as_ref().and_then(|write| write.records.as_ref());
        let whole: Option<&RawValue> = serde_json::from_slice(body).ok();
        let records = whole.zip(pointer).and_then(|(whole, pointer)| self.records_in(whole, pointer));
        let mut said = vec![Said::Good; rows.len()];
        for record in records.unwrap_or_default() {
            let Ok(key) = self.key_of(&record) else { continue };
            if let Some(place) = rows.iter().position(|row| row.key == key) {
                said[place] = Said::Stored(Box::new(self.observe(key, &record, None)));
            }
        }
        said
    }

    /// Settles every write of these rows; reads back what the answer does not tell.
    pub(super) async fn conclude(
        &self,
        writes: &[Write],
        rows: &[Row],
        said: Vec<Said>,
        outcomes: &mut [Option<Outcome>],
    ) {
        let fields: BTreeSet<usize> =
            rows.iter().flat_map(|row| &row.places).map(|place| writes[*place].field).collect();
        let fields: Vec<usize> = fields.into_iter().collect();
        let is_told = |row: &Row, said: &Said| match said {
            Said::Stored(observed) => {
                observed.existence != Existence::Present
                    || row.places.iter().all(|place| !observed.cells[writes[*place].field].seen.is_unseen())
            }
            Said::Refused(_) | Said::Failed(_) => true,
            Said::Good | Said::Missing(_) | Said::Lost | Said::PerhapsRefused(_) => false,
        };
        let look: Vec<Key> =
            rows.iter().zip(&said).filter(|(row, said)| !is_told(row, said)).map(|(row, _)| row.key.clone()).collect();
        let shown = if look.is_empty() {
            Ok(std::collections::HashMap::new())
        } else {
            self.by_keys(&look, &fields, Paid::in_lane(Lane::Resolve)).await
        };
        for (row, said) in rows.iter().zip(said) {
            let told = is_told(row, &said);
            let found =
                shown.as_ref().map(|shown| shown.get(&row.key).filter(|found| found.existence == Existence::Present));
            // Of several fields, or several records that stand or fall together, nobody knows which one it is.
            let alone = row.places.len() == 1 && (rows.len() == 1 || !self.stands_together());
            for place in &row.places {
                let write = &writes[*place];
                let stored = |observed: &Observed| observed.cells.get(write.field).cloned().unwrap_or_default();
                outcomes[*place] = Some(match (&said, &found) {
                    (Said::Stored(observed), _) if told => match observed.existence {
                        Existence::Present => Outcome::Written { stored: stored(observed) },
                        _ => Outcome::Gone,
                    },
                    (Said::Stored(_) | Said::Good, Err(failure)) => {
                        Outcome::Unknown((*failure).clone().possibly_happened())
                    }
                    (
                        Said::Stored(_) | Said::Good | Said::Missing(_) | Said::Lost | Said::PerhapsRefused(_),
                        Ok(None),
                    ) => Outcome::Gone,
                    (Said::Stored(_) | Said::Good, Ok(Some(observed))) => {
                        let stored = stored(observed);
                        if stored.seen.is_unseen() {
                            Outcome::Unknown(
                                self.unfitting(
                                    "the API does not show a field that was written; check the mapping's `crm`, and",
                                )
                                .possibly_happened(),
                            )
                        } else {
                            Outcome::Written { stored }
                        }
                    }
                    (Said::Lost, _) => Outcome::Changed,
                    (Said::Missing(_), Err(failure)) => Outcome::NotSent((*failure).clone()),
                    (Said::PerhapsRefused(_), Err(failure)) => Outcome::Unknown((*failure).clone().possibly_happened()),
                    // Another one of the batch is not there, and all stand together.
                    (Said::Missing(_), Ok(Some(_))) if rows.len() > 1 && self.stands_together() => {
                        Outcome::BatchRejected(self.refused_failure(None))
                    }
                    (Said::Missing(failure), Ok(Some(_))) => Outcome::NotSent(failure.clone()),
                    (Said::Refused(failure), _) | (Said::PerhapsRefused(failure), Ok(Some(_))) => {
                        if alone {
                            Outcome::Rejected(self.refused_value(write))
                        } else {
                            Outcome::BatchRejected(failure.clone())
                        }
                    }
                    (Said::Failed(failure), _) if failure.may_have_happened || is_too_large(failure) => {
                        Outcome::Unknown(failure.clone().possibly_happened())
                    }
                    (Said::Failed(failure), _) => Outcome::NotSent(failure.clone()),
                });
            }
        }
    }

    /// Whether all records of a batch are written or none.
    fn stands_together(&self) -> bool {
        self.api.write.as_ref().is_some_and(|write| write.body == ApiBody::Array)
    }

    fn refused_value(&self, write: &Write) -> String {
        let name = self.names.get(write.field).map_or("?", String::as_str);
        format!("the API does not take this value for `{name}`")
    }
}
