//! Finding records by what a field holds, and counting them: archived records are not there.
//!
//! Odoo compares letters as its database does, which may not know the case of some, and counts white space. So it is asked for
//! whatever may hold a value, and what it shows is compared here.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::fields::{Column, Field};
use super::read::id_of;
use super::rpc::Call;
use super::{Odoo, PAGE_ROWS, Ready};
use crate::connector::lookup::{KEYS_FOUND_MAX, Wanted, like, spaced};
use crate::connector::paid::Paid;
use crate::connector::{Lane, Lookup, LookupLimits};
use crate::model::{Failure, Key, Seen};

/// The values of one find: the database compares every record with every one of them.
const VALUES_PER_FIND: usize = 50;

#[async_trait]
impl Lookup for Odoo {
    fn lookup_limits(&self) -> LookupLimits {
        LookupLimits { values_per_find: VALUES_PER_FIND, rows_per_page: PAGE_ROWS }
    }

    /// What has not been looked at yet finds nothing.
    fn finds_by(&self, field: usize) -> bool {
        self.known().is_some_and(|ready| match ready.model.fields.get(field) {
            Some(Field::Key) => true,
            Some(Field::Own(column, _)) => column.finds,
            _ => false,
        })
    }

    async fn count(&self, lane: Lane) -> Result<u64, Failure> {
        let ready = self.ready().await?;
        let call = Call::new(&self.model, "search_count", json!({ "domain": live(&ready) }));
        let answered = self.ask(ready.protocol, &call, Paid::in_lane(lane)).await?;
        answered.result.as_u64().ok_or_else(|| self.senseless("search_count"))
    }

    async fn keys_with(&self, field: usize, values: &[String], fold: bool, lane: Lane) -> Result<Vec<Key>, Failure> {
        let ready = self.ready().await?;
        let column = match ready.model.fields.get(field) {
            Some(Field::Own(column, _)) => Some(column),
            Some(Field::Key) => None,
            _ => return Ok(Vec::new()),
        };
        let condition = match column {
            Some(column) => condition(column, values, fold),
            None => by_number(values),
        };
        let Some(mut condition) = condition else { return Ok(Vec::new()) };
        condition.extend(live(&ready));
        let wanted = Wanted::new(values, fold);
        let names: Vec<&str> = column.iter().map(|column| column.name.as_str()).collect();
        let (mut keys, mut after) = (Vec::new(), 0);
        while keys.len() < KEYS_FOUND_MAX {
            let mut domain = vec![json!(["id", ">", after])];
            domain.extend(condition.iter().cloned());
            let arguments = json!({ "domain": domain, "fields": names, "order": "id", "limit": PAGE_ROWS });
            let call = Call::new(&self.model, "search_read", arguments);
            let answered = self.ask(ready.protocol, &call, Paid::in_lane(lane)).await?;
            let rows = self.rows_of(answered.result)?;
            let Some((last, _)) = rows.last() else { break };
            if *last <= after {
                return Err(self.senseless("search_read"));
            }
            after = *last;
            let held =
                |row: &serde_json::Map<String, Value>| match column.map(|column| column.seen(row.get(&column.name))) {
                    Some(Seen::Value(value)) => wanted.is(&value.display()),
                    Some(Seen::Absent | Seen::Unseen) => false,
                    None => true,
                };
            keys.extend(rows.iter().filter(|(_, row)| held(row)).map(|(id, _)| Key::new(id.to_string())));
            if rows.len() < PAGE_ROWS {
                break;
            }
        }
        Ok(keys)
    }
}

/// What is not archived.
fn live(ready: &Ready) -> Vec<Value> {
    ready.model.active.iter().map(|active| json!([active, "=", true])).collect()
}

/// The records with these numbers; none where no record can have one of them.
fn by_number(values: &[String]) -> Option<Vec<Value>> {
    let numbers: BTreeSet<i64> = values.iter().filter_map(|value| id_of(&Key::new(value))).collect();
    (!numbers.is_empty()).then(|| vec![json!(["id", "in", numbers])])
}

/// Records that may hold one of these values: those that are like one, and those that begin or end with white space.
fn condition(column: &Column, values: &[String], fold: bool) -> Option<Vec<Value>> {
    // Its database has no such character.
    let values: Vec<&String> = values.iter().filter(|value| !value.is_empty() && !value.contains('\0')).collect();
    if values.is_empty() {
        return None;
    }
    let name = &column.name;
    let mut either: Vec<Value> = if fold {
        values.iter().map(|value| json!([name, "=ilike", like(value)])).collect()
    } else {
        vec![json!([name, "in", values])]
    };
    either.extend(spaced().map(|pattern| json!([name, "=like", pattern])));
    let mut condition = vec![json!("|"); either.len() - 1];
    condition.extend(either);
    Some(condition)
}
