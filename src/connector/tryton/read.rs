//! Reads: the feed and the sweep in pages by id, direct reads, and what linked records show.
//!
//! A change of a contact mechanism or of a linked record does not date the record that shows it: the feed asks for records of
//! which any of these changed. Pages go by id and by nothing else, since many records can have one date.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::stream::BoxStream;
use serde_json::{Map, Value, json};

use super::fields::{CALLED, CREATE_DATE, Field, Model, WRITE_DATE};
use super::rows::{Beside, gone, id_of, names, observe, shown};
use super::rpc::{Answered, Call, is_by_rule, is_refusal};
use super::values::{Spelling, tagged};
use super::{PAGE_ROWS, Ready, Tryton};
use crate::connector::paid::Paid;
use crate::connector::{End, Lane, Page, walk};
use crate::http::is_too_large;
use crate::model::{Class, Existence, Failure, Key, Observed, Timestamp};

/// The fewest rows that are asked for when answers are too large.
const ROWS_MIN: usize = 10;

/// The most calls that find out whether records are gone or hidden; what is left then is not said.
const LOOKS_MAX: usize = 64;

/// A read of several pages: where it stands.
struct Walk {
    ready: Arc<Ready>,
    since: Option<Timestamp>,
    after: i64,
    rows: usize,
    /// The server's clock before the last page: answers that take long put it further back than earlier ones.
    clock: Timestamp,
}

/// Records by id, in its order.
pub(super) type Rows = Vec<(i64, Map<String, Value>)>;

impl Tryton {
    /// All records, or those that changed at or after `since`, in pages by id.
    pub(super) fn pages(&self, since: Option<Timestamp>) -> BoxStream<'_, Result<Page, Failure>> {
        let lane = if since.is_some() { Lane::Fresh } else { Lane::Sweep };
        let begin = async move {
            let ready = self.ready().await?;
            Ok(Walk { ready, since, after: 0, rows: PAGE_ROWS, clock: Timestamp::EPOCH })
        };
        walk::pages(begin, move |walk| self.next_page(walk, Paid::in_lane(lane)))
    }

    async fn next_page(&self, mut walk: Walk, paid: Paid<'_>) -> Result<(Page, Option<Walk>), Failure> {
        let ready = Arc::clone(&walk.ready);
        let (answered, rows) = loop {
            let domain = domain(&ready.model, walk.since, walk.after);
            match self.search(&ready, &domain, None, walk.rows, paid).await {
                Ok(answered) => break answered,
                Err(failure) if is_too_much(&failure) && walk.rows > ROWS_MIN => {
                    walk.rows = (walk.rows / 8).max(ROWS_MIN)
                }
                Err(failure) => return Err(failure),
            }
        };
        let last = rows.last().map(|(id, _)| *id);
        let more = rows.len() >= walk.rows;
        if last.is_some_and(|last| last <= walk.after) || !rows.is_sorted_by(|one, other| one.0 < other.0) {
            return Err(self.senseless("search_read"));
        }
        let beside = self.beside(&ready, &rows, None, paid).await?;
        let observed = rows.iter().map(|(id, row)| observe(&ready.model, *id, row, None, &beside)).collect();
        let end = if more { None } else { Some(End::Whole) };
        walk.clock = walk.clock.max(answered.clock);
        let page = Page { observed, clock: walk.clock, end };
        walk.after = last.unwrap_or(walk.after);
        Ok((page, more.then_some(walk)))
    }

    /// The records with these keys: `Gone` where there is none, not said where this user may not see it.
    pub(super) async fn read_directly(
        &self,
        keys: &[Key],
        fields: &[usize],
        paid: Paid<'_>,
    ) -> Result<Vec<Observed>, Failure> {
        let ready = self.ready().await?;
        let ids: Vec<i64> = keys.iter().filter_map(id_of).collect::<BTreeSet<_>>().into_iter().collect();
        let mut found: HashMap<i64, Observed> = HashMap::new();
        if !ids.is_empty() {
            let rows = self.rows(&ready, &ids, fields, paid).await?;
            let beside = self.beside(&ready, &rows, Some(fields), paid).await?;
            found.extend(rows.iter().map(|(id, row)| (*id, observe(&ready.model, *id, row, Some(fields), &beside))));
            let missing: Vec<i64> = ids.into_iter().filter(|id| !found.contains_key(id)).collect();
            for id in self.hidden(&ready, missing, paid).await? {
                let record =
                    Observed { existence: Existence::NotSaid, ..gone(&ready.model, &Key::new(id.to_string())) };
                found.insert(id, record);
            }
        }
        let one = |key: &Key| id_of(key).and_then(|id| found.get(&id)).cloned();
        Ok(keys.iter().map(|key| one(key).unwrap_or_else(|| gone(&ready.model, key))).collect())
    }

    /// What these records hold after a write, archived or not, by id.
    pub(super) async fn read_back(
        &self,
        ready: &Ready,
        ids: &[i64],
        fields: &[usize],
        paid: Paid<'_>,
    ) -> Result<BTreeMap<i64, Observed>, Failure> {
        let rows = self.rows(ready, ids, fields, paid).await?;
        let beside = self.beside(ready, &rows, Some(fields), paid).await?;
        Ok(rows.iter().map(|(id, row)| (*id, shown(&ready.model, *id, row, Some(fields), &beside))).collect())
    }

    /// These records as they are now, by id: `Gone` where archived, left out where not there or not to be seen.
    pub(super) async fn look_again(
        &self,
        ready: &Ready,
        ids: &[i64],
        fields: &[usize],
        paid: Paid<'_>,
    ) -> Result<BTreeMap<i64, Observed>, Failure> {
        let rows = self.rows(ready, ids, fields, paid).await?;
        let beside = self.beside(ready, &rows, Some(fields), paid).await?;
        Ok(rows.iter().map(|(id, row)| (*id, observe(&ready.model, *id, row, Some(fields), &beside))).collect())
    }

    /// These records, as far as they are there and may be seen, in the order of their ids.
    async fn rows(&self, ready: &Ready, ids: &[i64], fields: &[usize], paid: Paid<'_>) -> Result<Rows, Failure> {
        let mut rows = Vec::new();
        let mut waiting = vec![ids];
        while let Some(ids) = waiting.pop() {
            match self.search(ready, &json!([["id", "in", ids]]), Some(fields), ids.len(), paid).await {
                Ok((_, found)) => rows.extend(found),
                Err(failure) if is_too_much(&failure) && ids.len() > ROWS_MIN => {
                    let (first, second) = ids.split_at(ids.len() / 2);
                    waiting.extend([second, first]);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(rows)
    }

    async fn search(
        &self,
        ready: &Ready,
        domain: &Value,
        fields: Option<&[usize]>,
        limit: usize,
        paid: Paid<'_>,
    ) -> Result<(Answered, Rows), Failure> {
        let names = json!(names(&ready.model, fields));
        let call = Call::search_read(&self.model, domain, limit, &names);
        let mut answered = self.ask_for_records(&ready.context, &call, paid).await?;
        let rows = self.rows_of(answered.result.take())?;
        Ok((answered, rows))
    }

    pub(super) fn rows_of(&self, result: Value) -> Result<Rows, Failure> {
        let Value::Array(rows) = result else { return Err(self.senseless("search_read")) };
        rows.into_iter()
            .map(|row| match row {
                Value::Object(row) => row.get("id").and_then(Value::as_i64).map(|id| (id, row)),
                _ => None,
            })
            .collect::<Option<Rows>>()
            .ok_or_else(|| self.senseless("search_read"))
    }

    /// Which of these records, which a search did not show, are there all the same, so that only a rule hides them. To read one
    /// of either kind is refused, but only a rule is explained; what was deleted stands in Tryton's own log.
    async fn hidden(&self, ready: &Ready, ids: Vec<i64>, paid: Paid<'_>) -> Result<Vec<i64>, Failure> {
        let mut hidden = Vec::new();
        let mut waiting = if ids.is_empty() { Vec::new() } else { vec![ids] };
        let mut is_log_read = false;
        let mut looks = 0;
        while let Some(mut ids) = waiting.pop() {
            looks += 1;
            if looks > LOOKS_MAX {
                hidden.extend(ids);
                continue;
            }
            let call = Call::new(&self.model, "read", json!([ids, [WRITE_DATE]]));
            match self.ask(&ready.context, &call, paid).await {
                // One that came back in between is hidden from nobody, and not gone either.
                Ok(_) => hidden.extend(ids),
                Err(failure) if is_refusal(&failure) && is_by_rule(&failure) => hidden.extend(ids),
                Err(failure) if is_refusal(&failure) => {
                    // One of them at least is gone.
                    if !is_log_read && ids.len() > 1 {
                        is_log_read = true;
                        let deleted = self.deleted(ready, &ids, paid).await?;
                        ids.retain(|id| !deleted.contains(id));
                        if !ids.is_empty() {
                            waiting.push(ids);
                        }
                    } else if ids.len() > 1 {
                        let second = ids.split_off(ids.len() / 2);
                        waiting.extend([second, ids]);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(hidden)
    }

    /// Which of these records Tryton's log says were deleted; none where the user may not read it.
    async fn deleted(&self, ready: &Ready, ids: &[i64], paid: Paid<'_>) -> Result<BTreeSet<i64>, Failure> {
        let mut deleted = BTreeSet::new();
        let resources: Vec<String> = ids.iter().map(|id| format!("{},{id}", self.model)).collect();
        let domain = json!([["event", "=", "delete"], ["resource", "in", resources]]);
        let call = Call::search_read("ir.model.log", &domain, ids.len() * 2, &json!(["resource"]));
        let rows = match self.ask(&ready.context, &call, paid).await {
            Ok(answered) => self.rows_of(answered.result)?,
            Err(failure) if is_refusal(&failure) => return Ok(deleted),
            Err(failure) => return Err(failure),
        };
        for (_, row) in rows {
            let named: Option<i64> =
                row.get("resource").and_then(Value::as_str).and_then(|named| named.split_once(',')?.1.parse().ok());
            deleted.extend(named);
        }
        Ok(deleted)
    }

    /// What is shown with these rows for `fields` (none: all).
    async fn beside(
        &self,
        ready: &Ready,
        rows: &[(i64, Map<String, Value>)],
        fields: Option<&[usize]>,
        paid: Paid<'_>,
    ) -> Result<Beside, Failure> {
        let owners: Vec<i64> = rows.iter().map(|(id, _)| *id).collect();
        let mechanisms = self.mechanisms(ready, &owners, fields, paid).await?;
        let mut linked = Vec::new();
        for (index, relation) in ready.model.relations.iter().enumerate() {
            let columns = columns_of(&ready.model, index, fields);
            let mut by_id = HashMap::new();
            if !columns.is_empty() {
                let ids: BTreeSet<i64> = rows.iter().filter_map(|(_, row)| row.get(&relation.link)?.as_i64()).collect();
                let ids: Vec<i64> = ids.into_iter().collect();
                let names: Vec<&str> = columns.into_iter().chain([WRITE_DATE, CREATE_DATE]).collect();
                for ids in ids.chunks(PAGE_ROWS) {
                    let domain = json!([["id", "in", ids]]);
                    let call = Call::search_read(&relation.model, &domain, ids.len(), &json!(names));
                    match self.ask_for_records(&ready.context, &call, paid).await {
                        Ok(answered) => by_id.extend(self.rows_of(answered.result)?),
                        // What may not be read is unseen.
                        Err(failure) if failure.class == Class::Auth && failure.status.is_none() => {}
                        Err(failure) => return Err(failure),
                    }
                }
            }
            linked.push(by_id);
        }
        Ok(Beside { linked, mechanisms })
    }
}

/// Whether asking for less may help: the answer was too large, or the server lets nobody ask for so many records.
fn is_too_much(failure: &Failure) -> bool {
    is_too_large(failure) || failure.status == Some(413)
}

/// What is read of the records of a relation, for those of its fields that were asked for.
fn columns_of<'a>(model: &'a Model, index: usize, fields: Option<&[usize]>) -> BTreeSet<&'a str> {
    let mut columns = BTreeSet::new();
    for (at, field) in model.fields.iter().enumerate() {
        if fields.is_some_and(|fields| !fields.contains(&at)) {
            continue;
        }
        match field {
            Field::Related { relation, column } if *relation == index => drop(columns.insert(column.name.as_str())),
            Field::Own(column, _) if column.spelling == Spelling::LinkByName(index) => drop(columns.insert(CALLED)),
            _ => {}
        }
    }
    columns
}

/// Records after an id; those that changed since, or of which something that is shown with them did.
fn domain(model: &Model, since: Option<Timestamp>, after: i64) -> Value {
    let mut domain = Vec::new();
    if let Some(since) = since.map(tagged) {
        let links =
            model.relations.iter().filter(|relation| relation.is_searchable).map(|relation| relation.link.as_str());
        let links = links.chain(model.mechanisms.iter().map(|mechanisms| mechanisms.link));
        let prefixes = std::iter::once(String::new()).chain(links.map(|link| format!("{link}.")));
        // One that was only created has no other date on servers before version 8.
        let dated = prefixes
            .flat_map(|prefix| [WRITE_DATE, CREATE_DATE].map(|name| json!([format!("{prefix}{name}"), ">=", since])));
        domain.push(Value::Array(std::iter::once(json!("OR")).chain(dated).collect()));
    }
    domain.push(json!(["id", ">", after]));
    Value::Array(domain)
}
