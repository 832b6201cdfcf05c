//! `/v3/customers/attribute-values`: the list without sort and cursor, the upsert, the delete.
//!
//! Must not know: other fields of customers; sockets, quotas.

use serde::Serialize;

use super::answer::{Answer, Meta, Pagination, Refusal, rows};
use super::body::{self, Checked};
use super::data::{AttributeValue, Data};
use super::dates::Seconds;
use super::query::{DateFilter, Paging, Query, invalid};
use super::records::Records;
use super::request::Request;
use super::settings::{AttributeKind, Readings, RefusedBatch, TypedValues, ValueLength, ValuesOrder};

/// The most rows in one upsert.
const BATCH_MAX: usize = 10;
/// The longest value, in characters (or bytes, where it is read so).
const VALUE_MAX: usize = 255;

const PARAMETERS: [&str; 11] = [
    "page",
    "limit",
    "customer_id:in",
    "attribute_id:in",
    "name",
    "date_created",
    "date_created:min",
    "date_created:max",
    "date_modified",
    "date_modified:min",
    "date_modified:max",
];

/// A value as it is shown: what an upsert calls `value` is `attribute_value` here.
#[derive(Serialize)]
pub(super) struct ValueRow<'data> {
    id: u64,
    attribute_id: u64,
    attribute_value: &'data str,
    customer_id: u64,
    date_created: Seconds,
    date_modified: Seconds,
}

impl<'data> ValueRow<'data> {
    /// A customer's value.
    pub(super) fn new(customer_id: u64, value: &'data AttributeValue) -> Self {
        Self {
            id: value.id,
            attribute_id: value.attribute_id,
            attribute_value: &value.text,
            customer_id,
            date_created: value.created,
            date_modified: value.modified,
        }
    }
}

struct Filter {
    customers: Option<Vec<u64>>,
    attributes: Option<Vec<u64>>,
    name: Option<String>,
    created: DateFilter,
    modified: DateFilter,
}

impl Filter {
    /// The values that match, in the order of the list.
    fn select(&self, data: &Data, readings: &Readings) -> Vec<u64> {
        let bounds = readings.date_bounds;
        let named = self.name.as_ref().map(|name| data.definition_named(name).map(|definition| definition.id));
        let wanted = |attribute: u64| {
            self.attributes.as_ref().is_none_or(|ids| ids.contains(&attribute))
                && named.is_none_or(|named| named == Some(attribute))
        };
        let mut found: Vec<(Seconds, u64)> = if let (None, Some(lowest)) = (&self.customers, self.modified.lowest()) {
            // The date of creation is not in the index: it is looked at where it was asked for, which is rare.
            let any_creation = self.created.is_any();
            data.values_since(lowest)
                .filter(|&(modified, id, attribute)| {
                    wanted(attribute)
                        && self.modified.matches(modified, bounds)
                        && (any_creation
                            || data.value(id).is_some_and(|(_, value)| self.created.matches(value.created, bounds)))
                })
                .map(|(modified, id, _)| (modified, id))
                .collect()
        } else {
            let matching = |value: &&AttributeValue| {
                wanted(value.attribute_id)
                    && self.created.matches(value.created, bounds)
                    && self.modified.matches(value.modified, bounds)
            };
            let dated = |value: &AttributeValue| (value.modified, value.id);
            match &self.customers {
                Some(ids) => {
                    let mut ids = ids.clone();
                    ids.sort_unstable();
                    ids.dedup();
                    let held = ids.iter().filter_map(|&id| data.customer(id)).flat_map(|customer| &customer.values);
                    held.filter(matching).map(dated).collect()
                }
                None => data.customers().flat_map(|customer| &customer.values).filter(matching).map(dated).collect(),
            }
        };
        match readings.values_order {
            ValuesOrder::ById => found.sort_unstable_by_key(|&(_, id)| id),
            ValuesOrder::ByModified => found.sort_unstable(),
        }
        found.into_iter().map(|(_, id)| id).collect()
    }
}

/// `GET /v3/customers/attribute-values`
pub(super) fn list(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.query, &PARAMETERS)?;
    let paging = query.paging()?;
    let filter = Filter {
        customers: query.ids("customer_id:in")?,
        attributes: query.ids("attribute_id:in")?,
        name: query.text("name")?,
        created: query.dates("date_created", true, request.moment.date)?,
        modified: query.dates("date_modified", true, request.moment.date)?,
    };
    let data = records.listed(request.behind, request.moment);
    let others = query.others();
    let selected = data.select(&format!("values {others}"), |data| filter.select(data, &request.readings));
    let page = if request.repeating { Paging { page: 1, ..paging } } else { paging };
    let shown: Vec<ValueRow<'_>> = page
        .slice(&selected)
        .iter()
        .filter_map(|&id| data.value(id))
        .map(|(customer, value)| ValueRow::new(customer.id, value))
        .collect();
    let pagination = Pagination::of(paging, selected.len(), shown.len(), &others, request.repeating);
    Ok(rows(&shown, Meta { pagination: Some(pagination), cursor_pagination: None }))
}

/// What a value becomes when it is stored, or why it is refused.
pub(super) fn taken(data: &Data, readings: &Readings, attribute_id: u64, text: &str) -> Result<String, String> {
    let definition = data.definition(attribute_id).ok_or("invalid attribute ID")?;
    body::length(text, 0, VALUE_MAX)?;
    if readings.value_length == ValueLength::Bytes && text.len() > VALUE_MAX {
        return Err(format!("must not be longer than {VALUE_MAX} bytes"));
    }
    if text.is_empty() || readings.typed_values == TypedValues::AsSent {
        return Ok(text.to_owned());
    }
    let normalised = match definition.kind {
        AttributeKind::String => text.trim().to_owned(),
        AttributeKind::Number => normal_number(text.trim()).ok_or("is not a number")?,
        AttributeKind::Date => normal_date(text.trim()).ok_or("is not a date")?,
    };
    Ok(if readings.typed_values == TypedValues::Normalised { normalised } else { text.to_owned() })
}

/// `-01.50` → `-1.5`. None: not a plain decimal number.
fn normal_number(text: &str) -> Option<String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || digits.ends_with('.') {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    let sign = if whole == "0" && fraction.is_empty() { "" } else { sign };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// The day of a date or time. None: there is no such day.
fn normal_date(text: &str) -> Option<String> {
    let day = match text.split_once('T') {
        None if text.len() == 10 => text,
        Some((day, _)) if text.parse::<jiff::Timestamp>().is_ok() => day,
        _ => return None,
    };
    day.parse::<jiff::civil::Date>().ok().map(|day| day.to_string())
}

/// `PUT /v3/customers/attribute-values`
pub(super) fn upsert(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    let values = body::parse(request.body)?;
    if values.len() > BATCH_MAX {
        return Err(Refusal::new(422, format!("Max batch size allowed is {BATCH_MAX}")).violating());
    }
    let mut too_long = false;
    let mut checked = Checked::default();
    for (index, row) in body::rows(&values, &["id", "attribute_id", "customer_id", "value"])?.into_iter().enumerate() {
        let attribute = row.required_number("attribute_id")?;
        let customer = row.required_number("customer_id")?;
        let text = row.required_text("value")?;
        let id = row.number("id")?;
        if id.is_some() {
            // What an id that disagrees does is not documented; a client that sends none need not know.
            request.violation("id is sent in an upsert");
        }
        too_long |= text.chars().count() > VALUE_MAX;
        let disagrees = id.is_some_and(|id| {
            let held = records.now().value(id).map(|(holder, value)| (holder.id, value.attribute_id));
            held != Some((customer, attribute))
        });
        checked.take(if disagrees {
            Err((format!("{index}.id"), "does not belong to this customer and attribute".to_owned()))
        } else if records.now().customer(customer).is_none() {
            Err((format!("{index}.customer_id"), "invalid customer ID".to_owned()))
        } else {
            let field = if records.now().definition(attribute).is_none() { "attribute_id" } else { "value" };
            taken(records.now(), &request.readings, attribute, text)
                .map_err(|what| (format!("{index}.{field}"), what))
                .map(|text| (customer, attribute, text))
        });
    }
    let refusal = checked.refusal("Update customer attribute values failed.");
    let refusal = refusal.map(|refusal| if too_long { refusal.violating() } else { refusal });
    if refusal.is_some() && request.readings.refused_batch == RefusedBatch::Atomic {
        return refusal.map_or(Ok(Answer::NoContent), Err);
    }
    for (customer, attribute, text) in &checked.good {
        records.set_value(request.moment, &request.readings, *customer, *attribute, text);
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let shown: Vec<ValueRow<'_>> = checked
        .good
        .iter()
        .filter_map(|&(customer, attribute, _)| {
            let held = &records.now().customer(customer)?.values;
            held.iter().find(|value| value.attribute_id == attribute).map(|value| ValueRow::new(customer, value))
        })
        .collect();
    Ok(rows(&shown, Meta::default()))
}

/// `DELETE /v3/customers/attribute-values?id:in=…`
pub(super) fn delete(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.query, &["id:in"])?;
    for id in query.ids("id:in")?.ok_or_else(|| invalid("id:in"))? {
        records.delete_value(request.moment, &request.readings, id);
    }
    Ok(Answer::NoContent)
}
