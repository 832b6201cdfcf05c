//! Reads: the feed and the sweep in pages by id, direct reads, and what linked records show.
//!
//! `write_date` is compared with `>=` alone: other comparisons mean different things in different versions, for what is
//! stored is finer than what is shown. Pages go by id and by nothing else, since the order of equal seconds is hidden.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::stream::BoxStream;
use serde_json::{Map, Value, json};

use super::fields::{Field, Model, WRITE_DATE, instant, odoo_time};
use super::rpc::{Answered, Call, is_forbidden};
use super::{Odoo, PAGE_ROWS, Ready};
use crate::connector::paid::Paid;
use crate::connector::{End, Lane, Page, walk};
use crate::http::is_too_large;
use crate::model::{Cell, Existence, Failure, Key, Observed, Seen, Timestamp, Value as Text};

/// The fewest rows that are asked for when answers are too large.
const ROWS_MIN: usize = 10;

/// A read of several pages: where it stands.
struct Walk {
    ready: Arc<Ready>,
    since: Option<Timestamp>,
    after: i64,
    rows: usize,
    /// The server's clock before the last page: answers that take long put it further back than earlier ones.
    clock: Timestamp,
}

/// Linked records, by their number, for each relation; empty where none of its fields was asked for.
type Linked = Vec<HashMap<i64, Map<String, Value>>>;

impl Odoo {
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
            match self.search(&ready, domain, None, walk.rows, paid).await {
                Ok(answered) => break answered,
                Err(failure) if is_too_large(&failure) && walk.rows > ROWS_MIN => {
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
        let linked = self.linked(&ready, &rows, None, paid).await?;
        let observed = rows.iter().map(|(id, row)| observe(&ready.model, *id, row, None, &linked)).collect();
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
            let linked = self.linked(&ready, &rows, Some(fields), paid).await?;
            found.extend(rows.iter().map(|(id, row)| (*id, observe(&ready.model, *id, row, Some(fields), &linked))));
            let missing: Vec<i64> = ids.into_iter().filter(|id| !found.contains_key(id)).collect();
            for id in self.hidden(&ready, &missing, paid).await? {
                let record =
                    Observed { existence: Existence::NotSaid, ..gone(&ready.model, &Key::new(id.to_string())) };
                found.insert(id, record);
            }
        }
        let one = |key: &Key| id_of(key).and_then(|id| found.get(&id)).cloned();
        Ok(keys.iter().map(|key| one(key).unwrap_or_else(|| gone(&ready.model, key))).collect())
    }

    /// These records, as far as they are there and may be seen, in the order of their ids.
    async fn rows(&self, ready: &Ready, ids: &[i64], fields: &[usize], paid: Paid<'_>) -> Result<Rows, Failure> {
        let mut rows = Vec::new();
        let mut waiting = vec![ids];
        while let Some(ids) = waiting.pop() {
            match self.search(ready, json!([["id", "in", ids]]), Some(fields), ids.len(), paid).await {
                Ok((_, found)) => rows.extend(found),
                Err(failure) if is_too_large(&failure) && ids.len() > ROWS_MIN => {
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
        domain: Value,
        fields: Option<&[usize]>,
        limit: usize,
        paid: Paid<'_>,
    ) -> Result<(Answered, Rows), Failure> {
        let names = names(&ready.model, fields);
        let arguments = json!({ "domain": domain, "fields": names, "order": "id", "limit": limit });
        let mut answered = self.ask(ready.protocol, &Call::new(&self.model, "search_read", arguments), paid).await?;
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

    /// Which of these records, which a search did not show, are there all the same, so that only a rule hides them. To read a
    /// record that is gone is no error, to read one that is hidden is. Of the id alone Odoo would show any that it is asked for.
    async fn hidden(&self, ready: &Ready, ids: &[i64], paid: Paid<'_>) -> Result<Vec<i64>, Failure> {
        let mut hidden = Vec::new();
        let mut waiting = if ids.is_empty() { Vec::new() } else { vec![ids] };
        while let Some(ids) = waiting.pop() {
            let call = Call { ids: Some(ids), ..Call::new(&self.model, "read", json!({ "fields": [WRITE_DATE] })) };
            match self.ask(ready.protocol, &call, paid).await {
                // One that came back in between is hidden from nobody, and not gone either.
                Ok(answered) => hidden.extend(self.rows_of(answered.result)?.into_iter().map(|(id, _)| id)),
                Err(failure) if is_forbidden(&failure) => {
                    if let [id] = ids {
                        hidden.push(*id);
                    } else {
                        let (first, second) = ids.split_at(ids.len() / 2);
                        waiting.extend([first, second]);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(hidden)
    }

    /// The records that these rows link to, for each relation of which one of `fields` (none: all) is.
    async fn linked(
        &self,
        ready: &Ready,
        rows: &[(i64, Map<String, Value>)],
        fields: Option<&[usize]>,
        paid: Paid<'_>,
    ) -> Result<Linked, Failure> {
        let mut linked = Linked::new();
        for (index, relation) in ready.model.relations.iter().enumerate() {
            let mut columns: BTreeSet<&str> = BTreeSet::new();
            for (at, field) in ready.model.fields.iter().enumerate() {
                if let Field::Related { relation, column } = field
                    && *relation == index
                    && fields.is_none_or(|fields| fields.contains(&at))
                {
                    columns.insert(&column.name);
                }
            }
            let mut by_id = HashMap::new();
            if !columns.is_empty() {
                let ids: BTreeSet<i64> = rows.iter().filter_map(|(_, row)| link_of(row, &relation.link)).collect();
                let ids: Vec<i64> = ids.into_iter().collect();
                columns.insert(WRITE_DATE);
                for ids in ids.chunks(PAGE_ROWS) {
                    let arguments =
                        json!({ "domain": [["id", "in", ids]], "fields": columns, "order": "id", "limit": ids.len() });
                    let call = Call::new(&relation.model, "search_read", arguments);
                    match self.ask(ready.protocol, &call, paid).await {
                        Ok(answered) => by_id.extend(self.rows_of(answered.result)?),
                        // What may not be read is unseen.
                        Err(failure) if is_forbidden(&failure) => {}
                        Err(failure) => return Err(failure),
                    }
                }
            }
            linked.push(by_id);
        }
        Ok(linked)
    }

    /// What these records hold after a write, by id.
    pub(super) async fn read_back(
        &self,
        ready: &Ready,
        ids: &[i64],
        fields: &[usize],
        paid: Paid<'_>,
    ) -> Result<BTreeMap<i64, Observed>, Failure> {
        let rows = self.rows(ready, ids, fields, paid).await?;
        Ok(rows.iter().map(|(id, row)| (*id, shown(&ready.model, *id, row, Some(fields), &Linked::new()))).collect())
    }
}

/// Records by id, in its order.
type Rows = Vec<(i64, Map<String, Value>)>;

/// Records after an id; those that changed since, or that link to one that did.
fn domain(model: &Model, since: Option<Timestamp>, after: i64) -> Value {
    let mut domain = Vec::new();
    if let Some(since) = since.map(odoo_time) {
        domain.extend(model.relations.iter().map(|_| json!("|")));
        domain.push(json!([WRITE_DATE, ">=", since]));
        domain.extend(
            model.relations.iter().map(|relation| json!([format!("{}.{WRITE_DATE}", relation.link), ">=", since])),
        );
    }
    domain.push(json!(["id", ">", after]));
    Value::Array(domain)
}

/// The names of what is read for these fields (none: all).
fn names<'a>(model: &'a Model, fields: Option<&[usize]>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::from([WRITE_DATE]);
    names.extend(model.active);
    for (index, field) in model.fields.iter().enumerate() {
        if fields.is_some_and(|fields| !fields.contains(&index)) {
            continue;
        }
        match field {
            Field::Own(column, _) => drop(names.insert(&column.name)),
            Field::Related { relation, .. } => drop(names.insert(&model.relations[*relation].link)),
            Field::Key | Field::Nowhere => {}
        }
    }
    names
}

fn link_of(row: &Map<String, Value>, link: &str) -> Option<i64> {
    row.get(link)?.get(0)?.as_i64()
}

/// The number in a key; none where a record cannot have this key.
pub(super) fn id_of(key: &Key) -> Option<i64> {
    key.as_str().parse().ok().filter(|id: &i64| *id > 0 && id.to_string() == key.as_str())
}

fn observe(model: &Model, id: i64, row: &Map<String, Value>, fields: Option<&[usize]>, linked: &Linked) -> Observed {
    if model.active.is_some_and(|active| row.get(active) == Some(&Value::Bool(false))) {
        return Observed { modified: modified(row), ..gone(model, &Key::new(id.to_string())) };
    }
    shown(model, id, row, fields, linked)
}

/// A record as it is stored, archived or not.
fn shown(model: &Model, id: i64, row: &Map<String, Value>, fields: Option<&[usize]>, linked: &Linked) -> Observed {
    let key = Key::new(id.to_string());
    let modified = modified(row);
    let cells = model
        .fields
        .iter()
        .enumerate()
        .map(|(index, field)| match field {
            _ if fields.is_some_and(|fields| !fields.contains(&index)) => Cell::default(),
            Field::Key => Cell { seen: Seen::Value(Text::text(key.as_str())), ..Cell::default() },
            Field::Own(column, _) => Cell { seen: column.seen(row.get(&column.name)), ..Cell::default() },
            Field::Related { relation, column } => {
                let link = row.get(&model.relations[*relation].link);
                let other = link.and_then(|link| link.get(0)).and_then(Value::as_i64);
                match (link, other.and_then(|id| linked.get(*relation)?.get(&id))) {
                    // Either may have brought the value: the other record changed, or this one links to another.
                    (_, Some(other)) => Cell {
                        seen: column.seen(other.get(&column.name)),
                        modified: self::modified(other).max(modified),
                        token: None,
                    },
                    (Some(Value::Bool(false)), None) => Cell { modified, ..Cell::absent() },
                    // It may not be read.
                    (_, None) => Cell::default(),
                }
            }
            Field::Nowhere => Cell::default(),
        })
        .collect();
    Observed { key, existence: Existence::Present, modified, cells }
}

fn modified(row: &Map<String, Value>) -> Option<Timestamp> {
    row.get(WRITE_DATE)?.as_str().and_then(instant)
}

fn gone(model: &Model, key: &Key) -> Observed {
    let cells = vec![Cell::default(); model.fields.len()];
    Observed { key: key.clone(), existence: Existence::Gone, modified: None, cells }
}
