//! Form fields: what a merchant asks at sign-up, what customers have entered, `GET /v3/customers/form-field-values`.
//!
//! Must not know: where customers are listed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{Answer, Meta, Pagination, Refusal, rows};
use super::query::Query;
use super::records::Records;
use super::request::Request;
use super::settings::{EmptyValue, FormFieldWrites, Readings, RequiredFormFields, UnknownFormFields};

/// How the values of a form field are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormFieldKind {
    /// Text: also dates and picklists.
    Text,
    /// A number.
    Number,
    /// Several texts: checkboxes.
    List,
}

/// What a merchant asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FormField {
    pub(super) name: String,
    pub(super) kind: FormFieldKind,
    pub(super) required: bool,
}

/// What a customer has entered, as JSON, by the form field's name.
pub(super) type Entered = Vec<(String, Value)>;

/// A form field as a customer shows it.
#[derive(Serialize)]
pub(super) struct FormFieldRow<'data> {
    name: &'data str,
    value: &'data Value,
    customer_id: u64,
}

impl<'data> FormFieldRow<'data> {
    pub(super) fn all(customer: u64, entered: &'data Entered) -> Vec<Self> {
        entered.iter().map(|(name, value)| FormFieldRow { name, value, customer_id: customer }).collect()
    }
}

/// Whether nothing is entered.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn has_kind(value: &Value, kind: FormFieldKind) -> bool {
    match kind {
        _ if is_empty(value) => true,
        FormFieldKind::Text => value.is_string(),
        FormFieldKind::Number => value.is_number(),
        FormFieldKind::List => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
    }
}

/// The `form_fields` of a row, if sent: names with values.
pub(super) fn sent(list: Option<&Value>) -> Result<Option<Entered>, Refusal> {
    let misshapen = || {
        Refusal::new(422, "JSON data is missing or invalid").because("form_fields", "is no list of names with values")
    };
    let Some(list) = list else { return Ok(None) };
    let items = list.as_array().ok_or_else(|| misshapen().violating())?;
    let entry = |item: &Value| {
        let known = item.as_object().filter(|object| object.keys().all(|key| key == "name" || key == "value"));
        known
            .and_then(|object| Some((object.get("name")?.as_str()?.to_owned(), object.get("value")?.clone())))
            .ok_or_else(|| misshapen().violating())
    };
    items.iter().map(entry).collect::<Result<_, _>>().map(Some)
}

/// What a customer has entered once this was sent, or why it is refused.
pub(super) fn entered(
    asked: &[FormField],
    before: &Entered,
    sent: &Entered,
    readings: &Readings,
) -> Result<Entered, String> {
    let mut after = match readings.form_field_writes {
        FormFieldWrites::Merge => before.clone(),
        FormFieldWrites::Replace => Vec::new(),
    };
    for (name, value) in sent {
        let Some(field) = asked.iter().find(|field| field.name == *name) else {
            match readings.unknown_form_fields {
                UnknownFormFields::Refused => return Err("there is no such form field".to_owned()),
                UnknownFormFields::Ignored => continue,
            }
        };
        if !has_kind(value, field.kind) {
            return Err("the value is not of the form field's type".to_owned());
        }
        after.retain(|(known, _)| known != name);
        if !is_empty(value) || readings.empty_value == EmptyValue::Stores {
            after.push((name.clone(), value.clone()));
        }
    }
    let is_missing = |field: &&FormField| {
        field.required && !after.iter().any(|(name, value)| *name == field.name && !is_empty(value))
    };
    if readings.required_form_fields == RequiredFormFields::Checked && asked.iter().any(|field| is_missing(&field)) {
        return Err("a required form field is empty".to_owned());
    }
    Ok(after)
}

/// `GET /v3/customers/form-field-values`
pub(super) fn list(records: &Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.query, &["page", "limit", "customer_id", "field_name"])?;
    let paging = query.paging()?;
    let name = query.text("field_name")?;
    let customer = query.text("customer_id")?;
    let all: Vec<FormFieldRow<'_>> = records
        .now()
        .customers()
        .filter(|one| customer.as_ref().is_none_or(|customer| *customer == one.id.to_string()))
        .flat_map(|one| FormFieldRow::all(one.id, &one.form_fields))
        .filter(|row| name.as_ref().is_none_or(|name| row.name == name))
        .collect();
    let start = usize::try_from((paging.page - 1).saturating_mul(paging.limit)).unwrap_or(usize::MAX);
    let shown: Vec<&FormFieldRow<'_>> =
        all.iter().skip(start).take(usize::try_from(paging.limit).unwrap_or(usize::MAX)).collect();
    let pagination = Pagination::of(paging, all.len(), shown.len(), &query.others(), request.repeating);
    Ok(rows(&shown, Meta { pagination: Some(pagination), cursor_pagination: None }))
}
