//! `/v2/customer_groups`: a bare list, 204 where it is empty, errors as lists.
//!
//! Must not know: customers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::answer::{Answer, Refusal, json_answer};
use super::dates::Seconds;
use super::query::{Query, decode};
use super::records::Records;
use super::request::Request;
use super::settings::GroupNames;

/// A customer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) created: Seconds,
    pub(super) modified: Seconds,
}

/// The groups of a store, by id.
pub(super) type Groups = BTreeMap<u64, Group>;

#[derive(Serialize)]
struct GroupRow<'data> {
    id: u64,
    name: &'data str,
    is_default: bool,
    category_access: serde_json::Value,
    discount_rules: [u8; 0],
    date_created: String,
    date_modified: String,
    is_group_for_guests: bool,
}

impl<'data> GroupRow<'data> {
    fn new(id: u64, group: &'data Group) -> Self {
        // Without a zone, and with a space: https://developer.bigcommerce.com/docs/rest-management/customer-groups
        let date = |date: Seconds| date.timestamp().to_seconds_text().replace('T', " ").replace('Z', "");
        Self {
            id,
            name: &group.name,
            is_default: false,
            category_access: json!({ "type": "all" }),
            discount_rules: [],
            date_created: date(group.created),
            date_modified: date(group.modified),
            is_group_for_guests: false,
        }
    }
}

/// `GET /v2/customer_groups`
pub(super) fn list(records: &Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.query, &["page", "limit", "name"])?;
    let paging = query.paging()?;
    let name = query.raw("name").and_then(decode);
    let named = |group: &Group| name.as_ref().is_none_or(|name| *name == group.name);
    let all: Vec<u64> = records.groups().iter().filter(|(_, group)| named(group)).map(|(id, _)| *id).collect();
    let shown: Vec<GroupRow<'_>> =
        paging.slice(&all).iter().filter_map(|id| Some(GroupRow::new(*id, records.groups().get(id)?))).collect();
    Ok(if shown.is_empty() { Answer::NoContent } else { json_answer(&shown) })
}

/// `POST /v2/customer_groups`
pub(super) fn create(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    let refuse = |what: &str| Refusal::new(400, what);
    let body: serde_json::Value =
        serde_json::from_slice(request.body).map_err(|_| refuse("Input is invalid").violating())?;
    let Some(body) = body.as_object() else { return Err(refuse("Input is invalid").violating()) };
    if body.keys().any(|key| key != "name") {
        request.violation("more than a name is sent for a new group");
    }
    let name = body.get("name").and_then(serde_json::Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err(refuse("The field 'name' is invalid.").violating());
    }
    let taken = records.groups().values().any(|group| group.name == name);
    if taken && request.readings.group_names == GroupNames::Unique {
        return Err(Refusal::new(409, "A customer group of this name exists already."));
    }
    let id = records.create_group(request.moment, name);
    let group = records.groups().get(&id).map(|group| json_answer(&GroupRow::new(id, group)));
    Ok(group.unwrap_or(Answer::NoContent))
}
