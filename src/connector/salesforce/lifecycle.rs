//! Making and deleting records: collections of 200, each record answered for on its own and in order.
//!
//! Where the configuration names an external id field, a new record holds the token of its creation there. Whoever asks again is
//! answered the record that has it, in the bin too: it is neither made twice nor written over.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::api::{DATA, senseless};
use super::fields::{Field, Object, id18};
use super::read::{id_in, id_of};
use super::write::{RowResult, is_passing, shown};
use super::{ROWS_PER_PAGE, ROWS_PER_WRITE, Salesforce};
use crate::connector::paid::Paid;
use crate::connector::{Created, Lane, Lifecycle, LifecycleLimits, NewRecord, Removed, Reservation};
use crate::http::Request;
use crate::model::{Class, Failure, Key};

#[async_trait]
impl Lifecycle for Salesforce {
    fn lifecycle_limits(&self) -> LifecycleLimits {
        LifecycleLimits { records_per_create: ROWS_PER_WRITE, keys_per_remove: ROWS_PER_WRITE }
    }

    fn required(&self) -> Vec<Vec<&'static str>> {
        match self.object.to_ascii_lowercase().as_str() {
            "contact" => vec![vec!["LastName"]],
            "lead" => vec![vec!["LastName"], vec!["Company"]],
            "account" => vec![vec!["Name"]],
            _ => Vec::new(),
        }
    }

    /// What has not been looked at yet takes nothing.
    fn creates_with(&self, field: usize) -> bool {
        self.known().is_some_and(|object| creatable(&object, field).is_some())
    }

    async fn create(&self, batch: &[NewRecord], reservation: &dyn Reservation) -> Vec<Created> {
        let mut outcomes: Vec<Option<Created>> = vec![None; batch.len()];
        let prepared = match self.found().await {
            Ok(object) => self.made_before(&object, batch, reservation).await.map(|made| (object, made)),
            Err(failure) => Err(failure),
        };
        match prepared {
            Ok((object, made)) => {
                for (place, record) in batch.iter().enumerate() {
                    outcomes[place] = match made.get(&record.token) {
                        Some(id) => Some(Created::Made(Key::new(id))),
                        None => self.problem(&object, record).map(Created::Rejected),
                    };
                }
                self.make(&object, batch, reservation, &mut outcomes).await;
            }
            Err(failure) => outcomes.fill(Some(Created::NotSent(failure))),
        }
        let missing = || Created::Unknown(senseless("Salesforce did not say what became of a new record"));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    async fn remove(&self, keys: &[Key], reservation: &dyn Reservation) -> Vec<Removed> {
        let ids: Vec<String> = keys.iter().filter_map(id_of).collect();
        if ids.is_empty() {
            return vec![Removed::Gone; keys.len()];
        }
        let query = format!("ids={}&allOrNone=false", ids.join(","));
        let request = Request::change(Method::DELETE, query, None);
        let paid = Paid::by(reservation, reservation.lane());
        let results = match self.change(&format!("{DATA}/composite/sobjects"), &request, paid).await {
            Ok(answer) => {
                answer.json::<Vec<RowResult>>().map_err(|failure| Removed::Unknown(failure.possibly_happened()))
            }
            Err(failure) => Err(match failure.class {
                _ if failure.may_have_happened => Removed::Unknown(failure),
                Class::Rejected => Removed::Rejected(self.kept(failure.code.as_deref().unwrap_or_default())),
                _ => Removed::NotSent(failure),
            }),
        };
        let results = match results {
            Ok(results) if results.len() == ids.len() => results,
            Ok(_) => {
                let why = senseless("Salesforce did not say what became of a record that was to be deleted");
                return vec![Removed::Unknown(why); keys.len()];
            }
            Err(outcome) => return vec![outcome; keys.len()],
        };
        let mut results = results.iter();
        let outcome = |key: &Key| match id_of(key).and_then(|_| results.next()) {
            None => Removed::Gone,
            Some(result) if result.success || result.is_missing() => Removed::Gone,
            Some(result) if is_passing(result.code()) => Removed::NotSent(again(result.code())),
            Some(result) => {
                for problem in &result.errors {
                    // What Salesforce says may quote names.
                    tracing::debug!(target: "attune", "Salesforce kept a record ({}): {}", problem.status_code, problem.message);
                }
                Removed::Rejected(self.kept(result.code()))
            }
        };
        keys.iter().map(outcome).collect()
    }
}

/// A field that a new record can be given a value of.
fn creatable(object: &Object, field: usize) -> Option<&Field> {
    object.fields.get(field)?.as_ref().filter(|field| field.creatable)
}

/// The id in what Salesforce says of a value that must be unique: `duplicates value on record with id: 003…`.
fn named_id(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("with id: ")?;
    let id: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    id_of(&Key::new(id))
}

fn again(code: &str) -> Failure {
    let why = format!("Salesforce could not do it just now ({}); it is tried again", shown(code));
    Failure::new(Class::Retry, why)
}

impl Salesforce {
    /// Which of these tokens have their record already, in the bin or not.
    async fn made_before(
        &self,
        object: &Object,
        batch: &[NewRecord],
        reservation: &dyn Reservation,
    ) -> Result<HashMap<String, String>, Failure> {
        let mut made: HashMap<String, String> = HashMap::new();
        let Some(name) = object.external_id.as_deref().filter(|_| !batch.is_empty()) else { return Ok(made) };
        // Letters, digits and `_`, by the contract of tokens; nothing else is put into a query.
        let is_token = |token: &&str| token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let mut tokens: BTreeSet<&str> = batch.iter().map(|record| record.token.as_str()).filter(is_token).collect();
        while !tokens.is_empty() {
            let among: Vec<String> = tokens.iter().map(|token| format!("'{token}'")).collect();
            let among = among.join(", ");
            let soql = |rows: usize| {
                format!("SELECT Id, {name} FROM {} WHERE {name} IN ({among}) ORDER BY Id LIMIT {rows}", self.object)
            };
            let paid = Paid::by(reservation, Lane::Fresh);
            let (answered, rows) = self.query(soql, ROWS_PER_PAGE, paid).await?;
            let before = tokens.len();
            for row in &answered.body.records {
                let token = row.get(name).and_then(Value::as_str).unwrap_or_default();
                tokens.remove(token);
                made.insert(token.to_owned(), id_in(row)?);
            }
            // It may answer fewer rows than there are, but not none.
            if (answered.body.done && answered.body.records.len() < rows) || tokens.len() == before {
                break;
            }
        }
        Ok(made)
    }

    /// Why a record cannot be made as it is.
    fn problem(&self, object: &Object, record: &NewRecord) -> Option<String> {
        let field = record.values.iter().map(|(field, _)| *field).find(|field| creatable(object, *field).is_none())?;
        let name = self.names.get(field).map_or("?", String::as_str);
        Some(format!("`{name}` of Salesforce cannot be given to a new record"))
    }

    /// Makes the records that have no outcome yet, with one call.
    async fn make(
        &self,
        object: &Object,
        batch: &[NewRecord],
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Created>],
    ) {
        let places: Vec<usize> = (0..batch.len()).filter(|place| outcomes[*place].is_none()).collect();
        if places.is_empty() {
            return;
        }
        let records: Vec<Value> = places.iter().map(|place| self.new_record(object, &batch[*place])).collect();
        let body = json!({ "allOrNone": false, "records": records }).to_string().into_bytes();
        let (method, path) = match &object.external_id {
            Some(name) => (Method::PATCH, format!("{DATA}/composite/sobjects/{}/{name}", self.object)),
            None => (Method::POST, format!("{DATA}/composite/sobjects")),
        };
        let paid = Paid::by(reservation, reservation.lane());
        let results = match self.change(&path, &Request::change(method, "", Some(body)), paid).await {
            Ok(answer) => {
                answer.json::<Vec<RowResult>>().map_err(|failure| Created::Unknown(failure.possibly_happened()))
            }
            Err(failure) => Err(match failure.class {
                _ if failure.may_have_happened => Created::Unknown(failure),
                Class::Rejected if places.len() == 1 => {
                    Created::Rejected(self.not_taken(failure.code.as_deref().unwrap_or_default(), &[]))
                }
                Class::Rejected => Created::BatchRejected(failure),
                _ => Created::NotSent(failure),
            }),
        };
        match results {
            Ok(results) if results.len() == places.len() => {
                for (place, result) in places.iter().zip(results) {
                    outcomes[*place] = self.made(&result);
                }
            }
            Ok(_) => {}
            Err(outcome) => {
                for place in places {
                    outcomes[place] = Some(outcome.clone());
                }
            }
        }
    }

    fn new_record(&self, object: &Object, record: &NewRecord) -> Value {
        let mut fields = Map::new();
        fields.insert("attributes".to_owned(), json!({ "type": self.object }));
        for (field, value) in &record.values {
            if let Some(field) = creatable(object, *field) {
                fields.insert(field.path.clone(), field.spelling.json(Some(value)));
            }
        }
        if let Some(name) = &object.external_id {
            fields.insert(name.clone(), json!(record.token));
        }
        Value::Object(fields)
    }

    /// What became of one record; none where the answer does not tell.
    fn made(&self, result: &RowResult) -> Option<Created> {
        if result.success {
            return result.id.as_deref().map(|id| Created::Made(Key::new(id18(id))));
        }
        for problem in &result.errors {
            // What Salesforce says may quote the value.
            tracing::debug!(target: "attune", "Salesforce refused a new record ({}): {}", problem.status_code, problem.message);
        }
        Some(match result.code() {
            "DUPLICATE_VALUE" | "DUPLICATES_DETECTED" => {
                let named = result.errors.iter().find_map(|problem| named_id(&problem.message));
                Created::Exists(named.map(Key))
            }
            code if is_passing(code) => Created::NotSent(again(code)),
            code => {
                let fields: Vec<&str> =
                    result.errors.iter().flat_map(|problem| &problem.fields).map(String::as_str).collect();
                Created::Rejected(self.not_taken(code, &fields))
            }
        })
    }

    fn not_taken(&self, code: &str, fields: &[&str]) -> String {
        let is_name = |name: &&&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte));
        let named: Vec<String> = fields.iter().filter(is_name).map(|name| format!("`{name}`")).collect();
        let of = if named.is_empty() { String::new() } else { format!(" for {}", named.join(", ")) };
        format!(
            "Salesforce does not take a new `{}`{of} ({}); correct the customer, map what is missing, or lift the rule",
            self.object,
            shown(code)
        )
    }

    fn kept(&self, code: &str) -> String {
        format!(
            "Salesforce does not delete this `{}` ({}); delete it there, or lift what keeps it",
            self.object,
            shown(code)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_that_has_a_unique_value_is_named() {
        for (message, id) in [
            (
                "duplicate value found: X__c duplicates value on record with id: 001A0000006Vm9r",
                Some("001A0000006Vm9rIAC"),
            ),
            ("duplicates value on record with id: 001A0000006Vm9rIAC.", Some("001A0000006Vm9rIAC")),
            ("duplicate value found: <unknown> duplicates value on record with id: <unknown>", None),
            ("Use one of these records?", None),
        ] {
            assert_eq!(named_id(message).as_deref(), id, "{message}");
        }
    }
}
