//! Finding records by what a field or a contact mechanism holds, and counting them: archived records are not there.
//!
//! Tryton compares letters as its database does, which may not know the case of some, and counts white space. So it is asked for
//! whatever may hold a value, and what it shows is compared here. Whoever has a contact mechanism is named, whichever of several
//! it is.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::fields::{ACTIVE, Field};
use super::rows::id_of;
use super::rpc::Call;
use super::values::Spelling;
use super::{PAGE_ROWS, Ready, Tryton};
use crate::connector::lookup::{KEYS_FOUND_MAX, Wanted, like, spaced};
use crate::connector::paid::Paid;
use crate::connector::{Lane, Lookup, LookupLimits};
use crate::model::{Failure, Key, Seen};

/// The values of one find: the database compares every record with every one of them.
const VALUES_PER_FIND: usize = 50;

#[async_trait]
impl Lookup for Tryton {
    fn lookup_limits(&self) -> LookupLimits {
        LookupLimits { values_per_find: VALUES_PER_FIND, rows_per_page: PAGE_ROWS }
    }

    /// What has not been looked at yet finds nothing.
    fn finds_by(&self, field: usize) -> bool {
        self.known().is_some_and(|ready| match ready.model.fields.get(field) {
            Some(Field::Key | Field::Mechanism { .. }) => true,
            Some(Field::Own(column, _)) => column.finds,
            _ => false,
        })
    }

    async fn count(&self, lane: Lane) -> Result<u64, Failure> {
        let ready = self.ready().await?;
        let call = Call::new(&self.model, "search_count", json!([live(&ready, "")]));
        let answered = self.ask_for_records(&ready.context, &call, Paid::in_lane(lane)).await?;
        answered.result.as_u64().ok_or_else(|| self.senseless("search_count"))
    }

    async fn keys_with(&self, field: usize, values: &[String], fold: bool, lane: Lane) -> Result<Vec<Key>, Failure> {
        let ready = self.ready().await?;
        let values: Vec<String> = values.iter().filter(|value| can_be_held(value)).cloned().collect();
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let search = match ready.model.fields.get(field) {
            Some(Field::Key) => {
                let numbers: BTreeSet<i64> = values.iter().filter_map(|value| id_of(&Key::new(value))).collect();
                let mut domain = live(&ready, "");
                domain.push(json!(["id", "in", numbers]));
                Search { model: &self.model, domain, owner: "id", held: None }
            }
            Some(Field::Own(column, _)) => {
                let mut domain = live(&ready, "");
                domain.push(condition(&column.name, &values, fold));
                Search { model: &self.model, domain, owner: "id", held: Some(&column.name) }
            }
            Some(Field::Mechanism { kind, .. }) => {
                let Some(mechanisms) = &ready.model.mechanisms else { return Ok(Vec::new()) };
                let mut domain = live(&ready, &format!("{}.", mechanisms.owner));
                domain.extend([json!(["type", "=", kind]), condition("value", &values, fold)]);
                Search { model: &mechanisms.model, domain, owner: &mechanisms.owner, held: Some("value") }
            }
            _ => return Ok(Vec::new()),
        };
        self.owners(&ready, &search, &Wanted::new(&values, fold), Paid::in_lane(lane)).await
    }
}

/// Rows that may hold what is wanted, and whose they are.
struct Search<'a> {
    model: &'a str,
    domain: Vec<Value>,
    /// The field with the number of the record.
    owner: &'a str,
    /// The field that is compared; none where the domain says it all.
    held: Option<&'a str>,
}

impl Tryton {
    /// The keys of the records whose rows hold what is wanted, each once.
    async fn owners(
        &self,
        ready: &Ready,
        search: &Search<'_>,
        wanted: &Wanted,
        paid: Paid<'_>,
    ) -> Result<Vec<Key>, Failure> {
        let names: Vec<&str> = search.held.into_iter().chain([search.owner]).collect();
        let (mut owners, mut after) = (BTreeSet::new(), 0);
        while owners.len() < KEYS_FOUND_MAX {
            let mut domain = search.domain.clone();
            domain.push(json!(["id", ">", after]));
            let call = Call::search_read(search.model, &Value::Array(domain), PAGE_ROWS, &json!(names));
            let answered = self.ask_for_records(&ready.context, &call, paid).await?;
            let rows = self.rows_of(answered.result)?;
            let Some((last, _)) = rows.last() else { break };
            if *last <= after {
                return Err(self.senseless("search_read"));
            }
            after = *last;
            let is_held = |row: &Map<String, Value>| {
                search.held.is_none_or(|name| {
                    let seen = Spelling::Text.seen(row.get(name));
                    matches!(seen, Seen::Value(value) if wanted.is(&value.display()))
                })
            };
            let of_row = |row: &Map<String, Value>| row.get(search.owner).and_then(Value::as_i64);
            owners.extend(rows.iter().filter(|(_, row)| is_held(row)).filter_map(|(_, row)| of_row(row)));
            if rows.len() < PAGE_ROWS {
                break;
            }
        }
        Ok(owners.into_iter().map(|id| Key::new(id.to_string())).collect())
    }
}

/// Whether a text of Tryton can be this one.
fn can_be_held(value: &str) -> bool {
    !value.is_empty() && !value.contains('\0')
}

/// What is not archived.
fn live(ready: &Ready, prefix: &str) -> Vec<Value> {
    if ready.model.has_active { vec![json!([format!("{prefix}{ACTIVE}"), "=", true])] } else { Vec::new() }
}

/// Rows that may hold one of these values: those that are like one, and those that begin or end with white space.
fn condition(name: &str, values: &[String], fold: bool) -> Value {
    let mut either = vec![json!("OR")];
    if fold {
        either.extend(values.iter().map(|value| json!([name, "ilike", like(value)])));
    } else {
        either.push(json!([name, "in", values]));
    }
    either.extend(spaced().map(|pattern| json!([name, "like", pattern])));
    Value::Array(either)
}
