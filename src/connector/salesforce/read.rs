//! Reads: windows and sweeps in pages by id, direct reads, what was deleted and what was merged.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::stream::BoxStream;
use serde_json::{Map, Value};

use super::api::senseless;
use super::fields::{Field, Object, Spelling, id18, instant};
use super::{ROWS_PER_PAGE, Salesforce};
use crate::connector::paid::Paid;
use crate::connector::{End, Lane, Page, walk};
use crate::model::{Cell, Existence, Failure, Key, Observed, Seen, Timestamp};

/// How much later than its stamp a record may appear: stamps are set before transactions are done.
const STAMP_LAG: std::time::Duration = std::time::Duration::from_secs(60);

/// A record that conflicts are dated by: when somebody last changed it.
const MODIFIED: &str = "LastModifiedDate";
/// When anything last changed it: windows are by this one.
const STAMP: &str = "SystemModstamp";
/// The record that a merged one was merged into.
const MASTER: &str = "MasterRecordId";

/// A read of several pages: where it stands.
struct Walk {
    object: Arc<Object>,
    since: Option<Timestamp>,
    after: String,
    clock: Timestamp,
}

impl Salesforce {
    /// All records, or those that changed at or after `since`, in pages by id.
    pub(super) fn pages(&self, since: Option<Timestamp>) -> BoxStream<'_, Result<Page, Failure>> {
        let lane = if since.is_some() { Lane::Fresh } else { Lane::Sweep };
        let since = since.map(|since| since - STAMP_LAG);
        let begin = async move {
            let object = self.found().await?;
            Ok(Walk { object, since, after: String::new(), clock: Timestamp::EPOCH })
        };
        walk::pages(begin, move |walk| self.next_page(walk, Paid::in_lane(lane)))
    }

    async fn next_page(&self, mut walk: Walk, paid: Paid<'_>) -> Result<(Page, Option<Walk>), Failure> {
        let object = Arc::clone(&walk.object);
        let mut conditions = Vec::new();
        if let Some(since) = walk.since.map(Timestamp::to_seconds_text) {
            // A linked record's change is a change of those that link to it.
            let stamps = object.relationships.iter().map(|name| format!("{name}.{STAMP} >= {since}"));
            let stamps: Vec<String> = std::iter::once(format!("{STAMP} >= {since}")).chain(stamps).collect();
            conditions.push(format!("({})", stamps.join(" OR ")));
        }
        if !walk.after.is_empty() {
            conditions.push(format!("Id > '{}'", walk.after));
        }
        let condition =
            if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let names = names(&object, None).join(", ");
        let soql = |rows: usize| format!("SELECT {names} FROM {}{condition} ORDER BY Id LIMIT {rows}", self.object);
        let (answered, rows) = self.query(soql, ROWS_PER_PAGE, paid).await?;
        walk.clock = walk.clock.max(answered.clock);
        let mut last = walk.after.clone();
        let mut observed = Vec::with_capacity(answered.body.records.len());
        for row in &answered.body.records {
            let id = id_in(row)?;
            // Case tells ids apart, and their order is that of their bytes.
            if id == last {
                return Err(senseless("a query answered the same record twice"));
            }
            observed.push(observe(&object, &id, row, None));
            last = id;
        }
        // An answer may have fewer rows than were asked for and say that it is not done.
        let more = !answered.body.done || answered.body.records.len() >= rows;
        if more && last == walk.after {
            return Err(senseless("a query is not done and has no rows"));
        }
        let end = if more { None } else { Some(End::Whole) };
        let page = Page { observed, clock: walk.clock, end };
        walk.after = last;
        Ok((page, more.then_some(walk)))
    }

    /// The records with these keys: `Gone` where there is none, not said where the user may not see it.
    pub(super) async fn read_directly(
        &self,
        keys: &[Key],
        fields: &[usize],
        paid: Paid<'_>,
    ) -> Result<Vec<Observed>, Failure> {
        let object = self.found().await?;
        let ids: BTreeSet<String> = keys.iter().filter_map(id_of).collect();
        let mut known: HashMap<String, Observed> = HashMap::new();
        if !ids.is_empty() {
            let rows = self.rows(&object, &ids, Some(fields), paid).await?;
            known.extend(rows.into_iter().map(|(id, row)| (id.clone(), observe(&object, &id, &row, Some(fields)))));
            let missing: Vec<&String> = ids.iter().filter(|id| !known.contains_key(*id)).collect();
            for id in self.hidden(&object, &missing, paid).await? {
                let record = Observed { key: Key::new(&id), ..absent(&object, Existence::NotSaid) };
                known.insert(id, record);
            }
        }
        let one = |key: &Key| {
            let found = id_of(key).and_then(|id| known.get(&id)).cloned();
            Observed { key: key.clone(), ..found.unwrap_or_else(|| absent(&object, Existence::Gone)) }
        };
        Ok(keys.iter().map(one).collect())
    }

    /// These records, deleted ones too, as far as they are there and may be seen.
    pub(super) async fn rows(
        &self,
        object: &Object,
        ids: &BTreeSet<String>,
        fields: Option<&[usize]>,
        paid: Paid<'_>,
    ) -> Result<Vec<(String, Map<String, Value>)>, Failure> {
        let names = names(object, fields).join(", ");
        let mut found: Vec<(String, Map<String, Value>)> = Vec::new();
        let mut left = ids.clone();
        while !left.is_empty() {
            let among: Vec<String> = left.iter().map(|id| format!("'{id}'")).collect();
            let among = among.join(", ");
            let soql = |rows: usize| {
                format!("SELECT {names} FROM {} WHERE Id IN ({among}) ORDER BY Id LIMIT {rows}", self.object)
            };
            let (answered, rows) = self.query(soql, left.len(), paid).await?;
            // It may answer fewer rows than were asked for, but not none.
            let done = answered.body.done && answered.body.records.len() < rows || answered.body.records.is_empty();
            for row in answered.body.records {
                let id = id_in(&row)?;
                left.remove(&id);
                found.push((id, row));
            }
            if done {
                break;
            }
        }
        Ok(found)
    }

    /// Which of these records, which a query did not show, are there all the same, so that only rights hide them.
    async fn hidden(&self, object: &Object, ids: &[&String], paid: Paid<'_>) -> Result<Vec<String>, Failure> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let among: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        let (among, user) = (among.join(", "), &object.user);
        let soql = |_rows: usize| {
            format!(
                "SELECT RecordId, HasReadAccess FROM UserRecordAccess WHERE UserId = '{user}' AND RecordId IN ({among})"
            )
        };
        let (answered, _) = self.query(soql, ids.len(), paid).await?;
        let is_hidden = |row: &&Map<String, Value>| row.get("HasReadAccess") == Some(&Value::Bool(false));
        let id = |row: &Map<String, Value>| row.get("RecordId").and_then(Value::as_str).map(id18);
        Ok(answered.body.records.iter().filter(is_hidden).filter_map(id).collect())
    }
}

/// What is read for these fields (none: all), as SOQL names it.
fn names(object: &Object, fields: Option<&[usize]>) -> Vec<String> {
    let mut names: BTreeSet<String> = ["Id", "IsDeleted", MODIFIED].map(str::to_owned).into();
    if object.names_master {
        names.insert(MASTER.to_owned());
    }
    for (index, field) in object.fields.iter().enumerate() {
        if let Some(field) = field
            && fields.is_none_or(|fields| fields.contains(&index))
        {
            names.insert(field.path.clone());
            if let Some(relationship) = field.relationship() {
                names.insert(format!("{relationship}.{MODIFIED}"));
            }
        }
    }
    names.into_iter().collect()
}

pub(super) fn id_in(row: &Map<String, Value>) -> Result<String, Failure> {
    row.get("Id").and_then(Value::as_str).map(id18).ok_or_else(|| senseless("a query answered a record without its id"))
}

/// The id in a key; none where a record cannot have this key.
pub(super) fn id_of(key: &Key) -> Option<String> {
    let id = id18(key.as_str());
    (id.len() == 18 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(id)
}

fn observe(object: &Object, id: &str, row: &Map<String, Value>, fields: Option<&[usize]>) -> Observed {
    let modified = modified(row);
    let master = row.get(MASTER).and_then(Value::as_str).filter(|master| !master.is_empty());
    if row.get("IsDeleted") == Some(&Value::Bool(true)) {
        let existence = master.map_or(Existence::Gone, |master| Existence::MergedInto(Key::new(id18(master))));
        return Observed { key: Key::new(id), modified, ..absent(object, existence) };
    }
    let cells = object
        .fields
        .iter()
        .enumerate()
        .map(|(index, field)| match field {
            Some(field) if fields.is_none_or(|fields| fields.contains(&index)) => cell(field, row, modified),
            _ => Cell::default(),
        })
        .collect();
    Observed { key: Key::new(id), existence: Existence::Present, modified, cells }
}

/// What a row shows of a field. Behind a relationship, the younger of both records dates it; where there is no linked record, or
/// it is not shown, it is null.
pub(super) fn cell(field: &Field, row: &Map<String, Value>, of_row: Option<Timestamp>) -> Cell {
    let Some((relationship, name)) = field.path.split_once('.') else {
        return Cell { seen: field.spelling.seen(row.get(&field.path)), ..Cell::default() };
    };
    match row.get(relationship) {
        Some(Value::Object(linked)) => {
            Cell { seen: field.spelling.seen(linked.get(name)), modified: modified(linked).max(of_row), token: None }
        }
        Some(Value::Null) => Cell { modified: of_row, ..Cell::absent() },
        _ => Cell::default(),
    }
}

pub(super) fn modified(row: &Map<String, Value>) -> Option<Timestamp> {
    match Spelling::Instant.seen(row.get(MODIFIED)) {
        Seen::Value(value) => instant(&value.display()),
        Seen::Absent | Seen::Unseen => None,
    }
}

fn absent(object: &Object, existence: Existence) -> Observed {
    let cells = vec![Cell::default(); object.fields.len()];
    Observed { key: Key::new(""), existence, modified: None, cells }
}
