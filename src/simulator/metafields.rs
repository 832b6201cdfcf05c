//! `/v3/customers/metafields` and those of one customer.
//!
//! Must not know: other fields of customers; sockets, quotas.

use serde::Serialize;

use super::answer::{Answer, Meta, Pagination, Refusal, RowError, json_answer, partly, rows, wholly};
use super::beside::{Beside, Metafield};
use super::body::{self, Row};
use super::customers::{Position, cursors};
use super::dates::Seconds;
use super::query::{DateFilter, Paging, Query};
use super::records::Records;
use super::request::Request;
use super::settings::{DateBounds, HiddenMetafield, MetafieldPages};

/// The most rows in one call that are known to be taken.
const BATCH_MAX: usize = 10;

const PARAMETERS: [&str; 13] = [
    "page",
    "limit",
    "key",
    "key:in",
    "namespace",
    "namespace:in",
    "direction",
    "date_created:min",
    "date_created:max",
    "date_modified:min",
    "date_modified:max",
    "before",
    "after",
];

/// The date of a metafield: with an offset, unlike every other date.
fn offset_date(date: Seconds) -> String {
    date.timestamp().to_seconds_text().replace('Z', "+00:00")
}

/// A metafield as it is shown.
#[derive(Serialize)]
struct MetafieldRow<'data> {
    id: u64,
    permission_set: &'data str,
    namespace: &'data str,
    key: &'data str,
    value: &'data str,
    description: &'data str,
    resource_type: &'static str,
    resource_id: u64,
    date_created: String,
    date_modified: String,
    owner_client_id: &'data str,
}

impl<'data> MetafieldRow<'data> {
    fn new(id: u64, metafield: &'data Metafield) -> Self {
        Self {
            id,
            permission_set: &metafield.permission_set,
            namespace: &metafield.namespace,
            key: &metafield.key,
            value: &metafield.value,
            description: &metafield.description,
            resource_type: "customer",
            resource_id: metafield.customer_id,
            date_created: offset_date(metafield.created),
            date_modified: offset_date(metafield.modified),
            owner_client_id: &metafield.owner,
        }
    }
}

struct Filter {
    customer: Option<u64>,
    keys: Option<Vec<String>>,
    namespaces: Option<Vec<String>>,
    created: DateFilter,
    modified: DateFilter,
    bounds: DateBounds,
    client: String,
}

impl Filter {
    fn parse(query: &Query<'_>, request: &Request<'_>, customer: Option<u64>) -> Result<Self, Refusal> {
        let either = |one: &str, many: &str| -> Result<Option<Vec<String>>, Refusal> {
            Ok(query.text(one)?.map(|text| vec![text]).or(query.texts(many)?))
        };
        Ok(Self {
            customer,
            keys: either("key", "key:in")?,
            namespaces: either("namespace", "namespace:in")?,
            created: query.dates("date_created", true, request.moment.date)?,
            modified: query.dates("date_modified", true, request.moment.date)?,
            bounds: request.readings.date_bounds,
            client: request.client.to_owned(),
        })
    }

    fn matches(&self, metafield: &Metafield) -> bool {
        let among = |list: &Option<Vec<String>>, text: &String| list.as_ref().is_none_or(|list| list.contains(text));
        self.customer.is_none_or(|customer| customer == metafield.customer_id)
            && metafield.is_seen_by(&self.client)
            && among(&self.keys, &metafield.key)
            && among(&self.namespaces, &metafield.namespace)
            && self.created.matches(metafield.created, self.bounds)
            && self.modified.matches(metafield.modified, self.bounds)
    }

    fn select(&self, beside: &Beside) -> Vec<u64> {
        beside.metafields.iter().filter(|(_, metafield)| self.matches(metafield)).map(|(id, _)| *id).collect()
    }
}

fn listed(records: &mut Records, request: Request<'_>, customer: Option<u64>) -> Result<Answer, Refusal> {
    let offered = request.readings.metafield_pages == MetafieldPages::Cursor;
    let known = if offered { &PARAMETERS[..] } else { &PARAMETERS[..PARAMETERS.len() - 2] };
    let query = Query::parse(request.query, known)?;
    let paging = query.paging()?;
    let filter = Filter::parse(&query, &request, customer)?;
    let position = Position::parse(&query)?;
    let beside = records.listed(request.behind, request.moment).beside();
    let selected = filter.select(beside);
    let others = query.others();
    let first = Paging { page: 1, ..paging };
    let (ids, pagination) = match position {
        Position::Page => {
            let shown = if request.repeating { first.slice(&selected) } else { paging.slice(&selected) };
            (shown, Some(Pagination::of(paging, selected.len(), shown.len(), &others, request.repeating)))
        }
        Position::After(id) => (first.slice(&selected[selected.partition_point(|&other| other <= id)..]), None),
        Position::Before(id) => {
            let rest = &selected[..selected.partition_point(|&other| other < id)];
            (&rest[rest.len().saturating_sub(paging.limit as usize)..], None)
        }
    };
    let cursor_pagination = offered.then(|| cursors(&selected, ids, paging, &others, &request));
    let shown: Vec<MetafieldRow<'_>> =
        ids.iter().filter_map(|id| Some(MetafieldRow::new(*id, beside.metafields.get(id)?))).collect();
    Ok(rows(&shown, Meta { pagination, cursor_pagination }))
}

/// `GET /v3/customers/metafields`
pub(super) fn list(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    listed(records, request, None)
}

/// `GET /v3/customers/{id}/metafields`
pub(super) fn of_customer(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    listed(records, request, Some(request.ids.number()))
}

fn found<'data>(beside: &'data Beside, request: &Request<'_>) -> Result<(u64, &'data Metafield), Refusal> {
    let id = request.ids.second;
    let metafield = beside
        .metafields
        .get(&id)
        .filter(|metafield| metafield.customer_id == request.ids.number() && metafield.is_seen_by(request.client));
    metafield.map(|metafield| (id, metafield)).ok_or_else(|| Refusal::new(404, "The metafield was not found."))
}

/// `GET /v3/customers/{id}/metafields/{id}`
pub(super) fn one(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    let (id, metafield) = found(records.now().beside(), &request)?;
    Ok(json_answer(&serde_json::json!({ "data": MetafieldRow::new(id, metafield), "meta": {} })))
}

/// `DELETE /v3/customers/{id}/metafields/{id}`
pub(super) fn delete(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    let (id, metafield) = found(records.now().beside(), &request)?;
    if !metafield.is_changed_by(request.client) {
        return Err(Refusal::new(403, "Unauthorized to delete"));
    }
    records.edit_beside(request.moment, |beside| beside.metafields.remove(&id));
    Ok(Answer::NoContent)
}

/// What is wrong with the texts of a row.
fn check(row: Row<'_>, all: bool) -> Result<Option<&'static str>, Refusal> {
    let permissions = ["app_only", "read", "write", "read_and_sf_access", "write_and_sf_access"];
    let limits = [("namespace", 64), ("key", 64), ("value", 65_535)];
    for (field, most) in limits {
        match row.text(field)? {
            Some(text) if body::length(text, 1, most).is_err() => return Ok(Some("a text is too short or too long")),
            None if all => return Err(Refusal::new(400, "Input is invalid").because(field, "is missing").violating()),
            _ => {}
        }
    }
    match row.text("permission_set")? {
        Some(word) if !permissions.contains(&word) => Ok(Some("the permission_set is none")),
        None if all => Err(Refusal::new(400, "Input is invalid").because("permission_set", "is missing").violating()),
        _ => Ok(None),
    }
}

/// `POST /v3/customers/metafields`: what can be done is done, whatever becomes of the rest.
pub(super) fn create(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    const KNOWN: [&str; 6] = ["permission_set", "namespace", "key", "value", "description", "resource_id"];
    Query::parse(request.query, &[])?;
    let values = body::parse(request.body)?;
    let (mut ids, mut errors) = (Vec::new(), Vec::new());
    for (index, row) in body::rows(&values, &KNOWN)?.into_iter().enumerate() {
        let customer = row.required_number("resource_id")?;
        let problem = check(row, true)?;
        let (namespace, key) = (row.required_text("namespace")?, row.required_text("key")?);
        let named = |metafield: &&Metafield| {
            metafield.customer_id == customer && metafield.namespace == namespace && metafield.key == key
        };
        let beside = records.now().beside();
        let is_ours = beside.metafields.values().filter(named).any(|metafield| metafield.owner == request.client);
        let is_theirs = beside.metafields.values().any(|metafield| named(&metafield));
        if index >= BATCH_MAX {
            request.violation("more than 10 metafields");
        }
        if let Some(what) = problem {
            errors.push(RowError::new(422, "The metafield was not valid.", index, what));
        } else if is_ours {
            errors.push(RowError::new(409, "The metafield exists already.", index, "conflict"));
        } else if is_theirs && request.readings.hidden_metafield == HiddenMetafield::Refused {
            errors.push(RowError::new(403, "Unauthorized to create", index, "Unauthorized to create"));
        } else {
            let made = Metafield {
                customer_id: customer,
                namespace: namespace.to_owned(),
                key: key.to_owned(),
                value: row.required_text("value")?.to_owned(),
                description: row.text("description")?.unwrap_or_default().to_owned(),
                permission_set: row.required_text("permission_set")?.to_owned(),
                owner: request.client.to_owned(),
                created: request.moment.date,
                modified: request.moment.date,
            };
            ids.push(records.edit_beside(request.moment, |beside| {
                let id = beside.next_id();
                beside.metafields.insert(id, made);
                id
            }));
        }
    }
    answered(records, &ids, &errors)
}

fn answered(records: &Records, ids: &[u64], errors: &[RowError]) -> Result<Answer, Refusal> {
    let beside = records.now().beside();
    let done: Vec<MetafieldRow<'_>> =
        ids.iter().filter_map(|id| Some(MetafieldRow::new(*id, beside.metafields.get(id)?))).collect();
    if errors.is_empty() { Ok(Answer::Json(wholly(&done))) } else { Err(partly(422, &done, errors)) }
}

/// `PUT /v3/customers/metafields`
pub(super) fn update(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    const KNOWN: [&str; 6] = ["id", "permission_set", "namespace", "key", "value", "description"];
    Query::parse(request.query, &[])?;
    let values = body::parse(request.body)?;
    let (mut ids, mut errors) = (Vec::new(), Vec::new());
    for (index, row) in body::rows(&values, &KNOWN)?.into_iter().enumerate() {
        let id = row.required_number("id")?;
        let problem = check(row, false)?;
        if index >= BATCH_MAX {
            request.violation("more than 10 metafields");
        }
        let metafield = records.now().beside().metafields.get(&id);
        let metafield = metafield.filter(|metafield| metafield.is_seen_by(request.client));
        match (metafield, problem) {
            (None, _) => errors.push(RowError::new(404, "Metafield does not exist", index, "Metafield does not exist")),
            (Some(metafield), _) if !metafield.is_changed_by(request.client) => {
                errors.push(RowError::new(403, "Unauthorized to update", index, "Unauthorized to update"));
            }
            (Some(_), Some(what)) => errors.push(RowError::new(422, "The metafield was not valid.", index, what)),
            (Some(_), None) => {
                let (value, permission) = (row.text("value")?, row.text("permission_set")?);
                records.edit_beside(request.moment, |beside| {
                    let Some(metafield) = beside.metafields.get_mut(&id) else { return };
                    value.into_iter().for_each(|value| value.clone_into(&mut metafield.value));
                    permission.into_iter().for_each(|word| word.clone_into(&mut metafield.permission_set));
                    metafield.modified = request.moment.date;
                });
                ids.push(id);
            }
        }
    }
    answered(records, &ids, &errors)
}
