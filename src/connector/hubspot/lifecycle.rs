//! Making and archiving records: batches of 100, each record answered for on its own.
//!
//! HubSpot remembers no token: it is sent as the trace of a record, by which the answer is read, and forgotten. What keeps a
//! contact from being made twice is its e-mail, which HubSpot lets one contact have.

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::api::{id_in, senseless};
use super::properties::Property;
use super::rows::{Row, Rows, existing};
use super::write::{batch_refused, own_name};
use super::{HubSpot, ROWS_PER_WRITE};
use crate::connector::paid::Paid;
use crate::connector::{Created, Lane, Lifecycle, LifecycleLimits, NewRecord, Removed, Reservation};
use crate::http::Answer;
use crate::model::{Class, Existence, Failure, Key};

/// What a record is told apart by in an answer that has no traces, where it is given.
const EMAIL: &str = "email";

/// A record on its way: its place in the batch, its token and its values by their properties' names.
struct Sent<'a> {
    place: usize,
    token: &'a str,
    values: Map<String, Value>,
}

#[async_trait]
impl Lifecycle for HubSpot {
    fn lifecycle_limits(&self) -> LifecycleLimits {
        LifecycleLimits { records_per_create: ROWS_PER_WRITE, keys_per_remove: ROWS_PER_WRITE }
    }

    /// HubSpot itself would take a contact without one, and make it twice.
    fn required(&self) -> Vec<Vec<&'static str>> {
        if self.object == "contacts" { vec![vec![EMAIL]] } else { Vec::new() }
    }

    /// What has not been looked at yet takes nothing.
    fn creates_with(&self, field: usize) -> bool {
        takes(&self.known().unwrap_or_default(), field)
    }

    async fn create(&self, batch: &[NewRecord], reservation: &dyn Reservation) -> Vec<Created> {
        let mut outcomes: Vec<Option<Created>> = vec![None; batch.len()];
        match self.properties().await {
            Ok(properties) => self.make(&properties, batch, reservation, &mut outcomes).await,
            Err(failure) => outcomes.fill(Some(Created::NotSent(failure))),
        }
        let missing = || Created::Unknown(senseless("HubSpot did not say what became of a new record"));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    async fn remove(&self, keys: &[Key], reservation: &dyn Reservation) -> Vec<Removed> {
        let all = |outcome: Removed| vec![outcome; keys.len()];
        if keys.is_empty() {
            return Vec::new();
        }
        // The id of one that was merged stands for the one that carries on, which must stay.
        let now = match self.read_directly(keys, &[], Paid::by(reservation, Lane::Fresh)).await {
            Ok(now) => now,
            Err(failure) => return all(Removed::NotSent(failure)),
        };
        let there = |record: &&crate::model::Observed| record.existence == Existence::Present;
        let inputs: Vec<Value> = now.iter().filter(there).map(|record| json!({ "id": record.key.as_str() })).collect();
        if inputs.is_empty() {
            return now.iter().map(|record| not_there(&record.existence)).collect();
        }
        let path = format!("/crm/v3/objects/{}/batch/archive", self.object);
        let paid = Paid::by(reservation, reservation.lane());
        let removed = match self.change(&path, &json!({ "inputs": inputs }), paid).await {
            Ok(answer) => archived(&answer),
            Err(failure) if failure.may_have_happened => Err(Removed::Unknown(failure)),
            Err(failure) if failure.class == Class::Rejected => {
                let said = failure.detail.as_deref().unwrap_or_default();
                tracing::debug!(target: "attune", records = inputs.len(), "{failure}: {said}");
                Err(Removed::Rejected(kept()))
            }
            Err(failure) => Err(Removed::NotSent(failure)),
        };
        let outcome = |record: &crate::model::Observed| match (&record.existence, &removed) {
            (Existence::Present, Err(outcome)) => outcome.clone(),
            (Existence::Present, Ok(refused)) if refused.contains(&record.key) => Removed::Rejected(kept()),
            (Existence::Present, Ok(_)) => Removed::Gone,
            (existence, _) => not_there(existence),
        };
        now.iter().map(outcome).collect()
    }
}

fn takes(properties: &[Option<Property>], field: usize) -> bool {
    properties.get(field).is_some_and(|found| found.as_ref().is_some_and(|property| property.writable))
}

/// What becomes of one that is not to be archived, for it is not there.
fn not_there(existence: &Existence) -> Removed {
    match existence {
        Existence::NotSaid => Removed::NotSent(Failure::new(
            Class::Retry,
            "HubSpot does not say whether a record is there; it is looked at again",
        )),
        _ => Removed::Gone,
    }
}

fn kept() -> String {
    "HubSpot does not archive this record; archive it there, or see what keeps it".to_owned()
}

/// Which records were kept: an answer without a word archived all of them.
fn archived(answer: &Answer) -> Result<Vec<Key>, Removed> {
    if answer.body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let rows: Rows = answer.json().map_err(|failure| Removed::Unknown(failure.possibly_happened()))?;
    let mut kept = Vec::new();
    for problem in rows.errors.iter().filter(|problem| !problem.is_missing()) {
        tracing::debug!(target: "attune", "HubSpot kept a record ({}): {}", problem.category, problem.message);
        let ids = problem.context.get("ids").or_else(|| problem.context.get("id"));
        let Some(ids) = ids else {
            return Err(Removed::Unknown(senseless("HubSpot did not say which record it kept")));
        };
        kept.extend(ids.iter().map(Key::new));
    }
    Ok(kept)
}

impl HubSpot {
    async fn make(
        &self,
        properties: &[Option<Property>],
        batch: &[NewRecord],
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Created>],
    ) {
        let mut sent: Vec<Sent<'_>> = Vec::new();
        for (place, record) in batch.iter().enumerate() {
            let unfit = record.values.iter().map(|(field, _)| *field).find(|field| !takes(properties, *field));
            if let Some(field) = unfit {
                let name = self.names.get(field).map_or("?", String::as_str);
                let why = format!("`{name}` of HubSpot cannot be given to a new record");
                outcomes[place] = Some(Created::Rejected(why));
                continue;
            }
            let values = record.values.iter();
            let values = values.filter_map(|(field, value)| {
                Some((own_name(properties, *field)?.to_owned(), Value::String(value.display())))
            });
            sent.push(Sent { place, token: &record.token, values: values.collect() });
        }
        if sent.is_empty() {
            return;
        }
        let inputs = sent.iter().map(|one| json!({ "properties": one.values, "objectWriteTraceId": one.token }));
        let body = json!({ "inputs": inputs.collect::<Vec<_>>() });
        let path = format!("/crm/v3/objects/{}/batch/create", self.object);
        match self.change(&path, &body, Paid::by(reservation, reservation.lane())).await {
            Ok(answer) => self.answered_new(&sent, &answer, outcomes),
            Err(failure) => {
                let outcome = not_made(sent.len(), failure);
                for one in &sent {
                    outcomes[one.place] = Some(outcome.clone());
                }
            }
        }
    }

    /// A status of 201 and one of 207 are read alike, record by record.
    fn answered_new(&self, sent: &[Sent<'_>], answer: &Answer, outcomes: &mut [Option<Created>]) {
        let rows: Rows = match answer.json() {
            Ok(rows) => rows,
            Err(failure) => {
                let unknown = Created::Unknown(failure.possibly_happened());
                for one in sent {
                    outcomes[one.place] = Some(unknown.clone());
                }
                return;
            }
        };
        for row in &rows.results {
            let mut of = sent.iter().filter(|one| is_of(row, one));
            // One that could be either's is nobody's.
            if let (Some(one), None, Some(id)) = (of.next(), of.next(), id_in(&row.id)) {
                outcomes[one.place] = Some(Created::Made(Key::new(id.to_string())));
            }
        }
        let mut nameless = false;
        for problem in &rows.errors {
            // What HubSpot says quotes the value.
            tracing::debug!(target: "attune", "HubSpot refused a new record ({}): {}", problem.category, problem.message);
            let traces = problem.context.get("objectWriteTraceId");
            let of: Vec<&Sent<'_>> = match traces {
                Some(traces) => sent.iter().filter(|one| traces.iter().any(|trace| trace == one.token)).collect(),
                None if sent.len() == 1 => sent.iter().collect(),
                None => Vec::new(),
            };
            nameless |= of.is_empty();
            for one in of {
                outcomes[one.place] = Some(if problem.says_it_is_there() {
                    Created::Exists(existing(&problem.message))
                } else {
                    Created::Rejected(not_taken())
                });
            }
        }
        if nameless && rows.results.is_empty() {
            for one in sent {
                outcomes[one.place].get_or_insert_with(|| Created::BatchRejected(batch_refused()));
            }
        }
    }
}

/// Whether a row of an answer is what became of a new record: by its trace, or where it has none by what it holds.
fn is_of(row: &Row, one: &Sent<'_>) -> bool {
    if let Some(trace) = &row.object_write_trace_id {
        return trace == one.token;
    }
    let holds = |name: &str, value: &Value| {
        let held = row.properties.get(name).and_then(Option::as_deref);
        held.zip(value.as_str()).is_some_and(|(held, value)| held.trim().to_lowercase() == value.trim().to_lowercase())
    };
    match one.values.get(EMAIL) {
        Some(email) => holds(EMAIL, email),
        None => !one.values.is_empty() && one.values.iter().all(|(name, value)| holds(name, value)),
    }
}

/// What became of so many new records of one call that was refused, or not answered, as a whole.
fn not_made(records: usize, failure: Failure) -> Created {
    let said = failure.detail.as_deref().unwrap_or_default();
    if failure.class == Class::Rejected {
        // It may hold values: the sentence of a held one must not.
        tracing::debug!(target: "attune", records, "{failure}: {said}");
    }
    match failure.class {
        _ if failure.may_have_happened => Created::Unknown(failure),
        Class::Rejected if records == 1 && failure.status == Some(409) => Created::Exists(existing(said)),
        Class::Rejected if records == 1 => Created::Rejected(not_taken()),
        Class::Rejected => Created::BatchRejected(failure),
        _ => Created::NotSent(failure),
    }
}

fn not_taken() -> String {
    "HubSpot does not take this new record for one of its values; correct the customer, or HubSpot's rule".to_owned()
}
