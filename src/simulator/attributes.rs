//! `/v3/customers/attributes`: attribute definitions.
//!
//! Must not know: customers, beyond that deleting a definition takes their values with it.

use serde::Serialize;

use super::answer::{Answer, Meta, Pagination, Refusal, rows};
use super::body::{self, Checked};
use super::data::{Data, Definition};
use super::dates::Seconds;
use super::query::{Paging, Query, invalid};
use super::records::Records;
use super::request::Request;
use super::settings::{AttributeKind, AttributeNames, AttributesPages, Readings, RefusedBatch};

/// A store cannot have more.
pub(super) const ATTRIBUTES_MAX: usize = 50;
/// The longest name.
const NAME_MAX: usize = 255;

const PARAMETERS: [&str; 11] = [
    "page",
    "limit",
    "name",
    "name:like",
    "type",
    "date_created",
    "date_created:min",
    "date_created:max",
    "date_modified",
    "date_modified:min",
    "date_modified:max",
];

#[derive(Serialize)]
struct DefinitionRow<'data> {
    id: u64,
    name: &'data str,
    #[serde(rename = "type")]
    kind: AttributeKind,
    date_created: Seconds,
    date_modified: Seconds,
}

impl<'data> DefinitionRow<'data> {
    fn new(definition: &'data Definition) -> Self {
        Self {
            id: definition.id,
            name: &definition.name,
            kind: definition.kind,
            date_created: definition.created,
            date_modified: definition.modified,
        }
    }
}

/// `GET /v3/customers/attributes`
pub(super) fn list(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.query, &PARAMETERS)?;
    let paging = query.paging()?;
    let name = query.text("name")?;
    let part = query.text("name:like")?.map(|part| part.to_lowercase());
    let kind = match query.text("type")? {
        Some(word) => Some(AttributeKind::parse(&word).ok_or_else(|| invalid("type"))?),
        None => None,
    };
    let created = query.dates("date_created", true, request.moment.date)?;
    let modified = query.dates("date_modified", true, request.moment.date)?;
    let bounds = request.readings.date_bounds;
    let data = records.listed(request.behind, request.moment);
    let selected: Vec<u64> = data
        .definitions()
        .filter(|definition| {
            name.as_ref().is_none_or(|name| *name == definition.name)
                && part.as_ref().is_none_or(|part| definition.name.to_lowercase().contains(part))
                && kind.is_none_or(|kind| kind == definition.kind)
                && created.matches(definition.created, bounds)
                && modified.matches(definition.modified, bounds)
        })
        .map(|definition| definition.id)
        .collect();
    let shown = if request.repeating { Paging { page: 1, ..paging } } else { paging };
    let shown: Vec<DefinitionRow<'_>> =
        shown.slice(&selected).iter().filter_map(|&id| data.definition(id)).map(DefinitionRow::new).collect();
    let pagination = Pagination::of(paging, selected.len(), shown.len(), &query.others(), request.repeating);
    let pagination = (request.readings.attributes_pages == AttributesPages::Shown).then_some(pagination);
    Ok(rows(&shown, Meta { pagination, cursor_pagination: None }))
}

/// Whether a name belongs to another definition, or to one earlier in the same call.
fn in_use(data: &Data, readings: &Readings, name: &str, own: Option<u64>, earlier: &[&str]) -> bool {
    let same = |other: &str| match readings.attribute_names {
        AttributeNames::Unique => other == name,
        AttributeNames::Folded => other.to_lowercase() == name.to_lowercase(),
        AttributeNames::Repeatable => false,
    };
    earlier.iter().any(|other| same(other))
        || data.definitions().any(|other| Some(other.id) != own && same(&other.name))
}

fn shown(records: &Records, ids: &[u64]) -> Answer {
    let definitions: Vec<DefinitionRow<'_>> =
        ids.iter().filter_map(|&id| records.now().definition(id)).map(DefinitionRow::new).collect();
    rows(&definitions, Meta::default())
}

/// `POST /v3/customers/attributes`
pub(super) fn create(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    let values = body::parse(request.body)?;
    let mut names: Vec<&str> = Vec::new();
    let mut checked = Checked::default();
    for (index, row) in body::rows(&values, &["name", "type"])?.into_iter().enumerate() {
        let name = row.required_text("name")?;
        let word = row.required_text("type")?;
        let kind = AttributeKind::parse(word).ok_or_else(|| {
            Refusal::new(422, "Create customer attributes failed.")
                .because(format!("{index}.type"), "must be string, number or date")
                .violating()
        })?;
        checked.take(if let Err(what) = body::length(name, 1, NAME_MAX) {
            Err((format!("{index}.name"), what))
        } else if in_use(records.now(), &request.readings, name, None, &names) {
            Err((format!("{index}.name"), format!("an attribute named {name} already exists")))
        } else if records.now().definitions().len() + checked.good.len() >= ATTRIBUTES_MAX {
            Err((format!("{index}"), format!("a store cannot have more than {ATTRIBUTES_MAX} customer attributes")))
        } else {
            Ok((name, kind))
        });
        names.push(name);
    }
    let refusal = checked.refusal("Create customer attributes failed.");
    if refusal.is_some() && request.readings.refused_batch == RefusedBatch::Atomic {
        return refusal.map_or(Ok(Answer::NoContent), Err);
    }
    let ids: Vec<u64> =
        checked.good.iter().map(|&(name, kind)| records.create_definition(request.moment, name, kind)).collect();
    refusal.map_or_else(|| Ok(shown(records, &ids)), Err)
}

/// `PUT /v3/customers/attributes`: a new name, nothing else; the type is for ever.
pub(super) fn rename(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    let values = body::parse(request.body)?;
    let mut checked = Checked::default();
    for (index, row) in body::rows(&values, &["id", "name"])?.into_iter().enumerate() {
        let id = row.required_number("id")?;
        let name = row.required_text("name")?;
        checked.take(if records.now().definition(id).is_none() {
            Err((format!("{index}.id"), "invalid attribute ID".to_owned()))
        } else if let Err(what) = body::length(name, 1, NAME_MAX) {
            Err((format!("{index}.name"), what))
        } else if in_use(records.now(), &request.readings, name, Some(id), &[]) {
            Err((format!("{index}.name"), format!("an attribute named {name} already exists")))
        } else {
            Ok((id, name))
        });
    }
    let refusal = checked.refusal("Update customer attributes failed.");
    if refusal.is_some() && request.readings.refused_batch == RefusedBatch::Atomic {
        return refusal.map_or(Ok(Answer::NoContent), Err);
    }
    let mut ids = Vec::new();
    for &(id, name) in &checked.good {
        records.rename_definition(request.moment, id, name);
        ids.push(id);
    }
    refusal.map_or_else(|| Ok(shown(records, &ids)), Err)
}

/// `DELETE /v3/customers/attributes?id:in=…`: every customer's values of them go too.
pub(super) fn delete(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.query, &["id:in"])?;
    for id in query.ids("id:in")?.ok_or_else(|| invalid("id:in"))? {
        records.delete_definition(request.moment, id);
    }
    Ok(Answer::NoContent)
}
