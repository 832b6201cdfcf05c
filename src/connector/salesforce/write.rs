//! Writes: collections of 200 records, each answered for on its own and in order, then read back.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::{DATA, senseless};
use super::fields::{Field, Object};
use super::read::{cell, id_of, modified};
use super::{ROWS_PER_WRITE, Salesforce};
use crate::connector::batch::{by_record, fill, refuse};
use crate::connector::paid::Paid;
use crate::connector::{Lane, Reservation};
use crate::http::Request;
use crate::model::{Class, Failure, Outcome, Write};

/// Packs writes: all of one record in one batch.
pub(super) fn batches(writes: Vec<Write>) -> Vec<Vec<Write>> {
    by_record(writes).chunks(ROWS_PER_WRITE).map(<[_]>::concat).collect()
}

/// The writes of each record that are sent, by their place in the batch, in the order of the call.
type Sent = BTreeMap<String, Vec<usize>>;

/// What became of one record.
#[derive(Deserialize)]
pub(super) struct RowResult {
    pub(super) id: Option<String>,
    pub(super) success: bool,
    #[serde(default)]
    pub(super) errors: Vec<Problem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) status_code: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) fields: Vec<String>,
}

impl RowResult {
    /// Why it was refused, in Salesforce's own word.
    pub(super) fn code(&self) -> &str {
        code_of(&self.errors)
    }

    /// Whether it says that the record is not there any more.
    pub(super) fn is_missing(&self) -> bool {
        says_missing(&self.errors)
    }
}

fn code_of(problems: &[Problem]) -> &str {
    problems.first().map(|problem| problem.status_code.as_str()).unwrap_or_default()
}

fn says_missing(problems: &[Problem]) -> bool {
    ["ENTITY_IS_DELETED", "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID"].contains(&code_of(problems))
        && problems.iter().all(|problem| problem.fields.is_empty())
}

/// Whether a refusal goes away by itself.
pub(super) fn is_passing(code: &str) -> bool {
    ["UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "PROCESSING_HALTED", "TXN_SECURITY_METERING_ERROR"].contains(&code)
}

/// A code as it may be shown.
pub(super) fn shown(code: &str) -> &str {
    if is_code(code) { code } else { "no reason" }
}

impl Salesforce {
    /// Sends one batch, once.
    pub(super) async fn update(&self, batch: &[Write], reservation: &dyn Reservation) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        match self.found().await {
            Ok(object) => self.update_with(&object, batch, reservation, &mut outcomes).await,
            Err(failure) => fill(&mut outcomes, &Outcome::NotSent(failure)),
        }
        let missing = || Outcome::Unknown(senseless("Salesforce did not say what became of a record"));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    async fn update_with(
        &self,
        object: &Object,
        batch: &[Write],
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Outcome>],
    ) {
        let mut sent = Sent::new();
        for (place, write) in batch.iter().enumerate() {
            match id_of(&write.key) {
                None => outcomes[place] = Some(Outcome::Gone),
                Some(_) if own(object, write.field).is_none() => {
                    let name = self.names.get(write.field).map_or("?", String::as_str);
                    outcomes[place] = Some(Outcome::Rejected(format!("`{name}` of Salesforce cannot be written")));
                }
                Some(id) => sent.entry(id).or_default().push(place),
            }
        }
        if sent.is_empty() {
            return;
        }
        let records: Vec<Value> = sent
            .iter()
            .map(|(id, places)| {
                let mut record = Map::new();
                record.insert("attributes".to_owned(), json!({ "type": self.object }));
                record.insert("id".to_owned(), json!(id));
                for place in places {
                    if let Some(field) = own(object, batch[*place].field) {
                        record.insert(field.path.clone(), field.spelling.json(batch[*place].value.as_ref()));
                    }
                }
                Value::Object(record)
            })
            .collect();
        let body = json!({ "allOrNone": false, "records": records });
        let paid = Paid::by(reservation, reservation.lane());
        let request = Request::change(Method::PATCH, "", Some(body.to_string().into_bytes()));
        let answer = match self.change(&format!("{DATA}/composite/sobjects"), &request, paid).await {
            Ok(answer) => answer,
            Err(failure) => return refuse("Salesforce", batch.len(), failure, outcomes),
        };
        match answer.json::<Vec<RowResult>>() {
            Ok(results) if results.len() == sent.len() => {
                let mut written = BTreeSet::new();
                for ((id, places), result) in sent.iter().zip(results) {
                    if result.success {
                        written.insert(id.clone());
                    } else {
                        self.row_refused(object, batch, places, &result.errors, outcomes);
                    }
                }
                self.read_back(object, batch, &sent, &written, outcomes).await;
            }
            Ok(_) => {}
            Err(failure) => fill(outcomes, &Outcome::Unknown(failure)),
        }
    }

    /// What is stored now: the answer does not tell.
    async fn read_back(
        &self,
        object: &Object,
        batch: &[Write],
        sent: &Sent,
        written: &BTreeSet<String>,
        outcomes: &mut [Option<Outcome>],
    ) {
        if written.is_empty() {
            return;
        }
        let places = || written.iter().flat_map(|id| &sent[id]);
        let fields: Vec<usize> = places().map(|place| batch[*place].field).collect();
        let rows = match self.rows(object, written, Some(&fields), Paid::in_lane(Lane::Resolve)).await {
            Ok(rows) => rows,
            Err(failure) => {
                let unknown = Outcome::Unknown(failure.possibly_happened());
                for place in places() {
                    outcomes[*place] = Some(unknown.clone());
                }
                return;
            }
        };
        for (id, row) in rows {
            for place in sent.get(&id).into_iter().flatten() {
                let stored = own(object, batch[*place].field).map(|field| cell(field, &row, modified(&row)));
                outcomes[*place] =
                    stored.filter(|stored| !stored.seen.is_unseen()).map(|stored| Outcome::Written { stored });
            }
        }
    }

    /// A record that was not written: the fields that stood in the way are refused, the others of it go again.
    fn row_refused(
        &self,
        object: &Object,
        batch: &[Write],
        places: &[usize],
        problems: &[Problem],
        outcomes: &mut [Option<Outcome>],
    ) {
        for problem in problems {
            // What Salesforce says may quote the value.
            tracing::debug!(target: "attune", "Salesforce refused a record ({}): {}", problem.status_code, problem.message);
        }
        let code = code_of(problems);
        let shown = shown(code);
        let again = |class: Class| {
            Failure::new(class, format!("Salesforce did not write a record ({shown}); what is not to blame goes again"))
        };
        let named = |field: &Field| {
            problems.iter().any(|problem| problem.fields.iter().any(|name| name.eq_ignore_ascii_case(&field.path)))
        };
        for place in places {
            let Some(field) = own(object, batch[*place].field) else { continue };
            outcomes[*place] = Some(match () {
                () if says_missing(problems) => Outcome::Gone,
                () if is_passing(code) => Outcome::NotSent(again(Class::Retry)),
                () if places.len() == 1 || named(field) => Outcome::Rejected(format!(
                    "Salesforce does not take this value for `{}` ({shown}); correct it where it comes from, or lift the rule",
                    field.path
                )),
                () => Outcome::BatchRejected(again(Class::Rejected)),
            });
        }
    }
}

fn is_code(code: &str) -> bool {
    !code.is_empty() && code.len() <= 100 && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// A field that can be written.
fn own(object: &Object, field: usize) -> Option<&Field> {
    object.fields.get(field)?.as_ref().filter(|field| field.writable)
}
