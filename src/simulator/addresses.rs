//! `/v3/customers/addresses`: no dates, no cursors, and an address that is equal to another is silently not made.
//!
//! Must not know: other fields of customers; sockets, quotas.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::SerializeMap;

use super::answer::{Answer, Meta, Pagination, Refusal, json_answer, rows};
use super::body::{self, Row};
use super::data::{Address, Data};
use super::query::{Paging, Query, invalid};
use super::records::Records;
use super::request::Request;
use super::settings::EqualAddress;

/// The most rows in one call that are known to be taken.
const BATCH_MAX: usize = 10;

/// BigCommerce's names, and how long their texts may be.
pub(super) const TEXTS: [(&str, usize); 11] = [
    ("first_name", 255),
    ("last_name", 255),
    ("company", 255),
    ("address1", 255),
    ("address2", 255),
    ("city", 100),
    ("state_or_province", 100),
    ("postal_code", 30),
    ("country_code", 2),
    ("phone", 50),
    ("address_type", 20),
];

const REQUIRED: [&str; 5] = ["first_name", "last_name", "address1", "city", "country_code"];
/// What a new address names, be it empty: "required for countries that need" it.
const NAMED: [&str; 2] = ["state_or_province", "postal_code"];

/// An address as it is shown.
pub(super) struct AddressRow<'data> {
    customer_id: u64,
    address: &'data Address,
    form_fields: bool,
}

impl<'data> AddressRow<'data> {
    /// A customer's address, with its form fields or without.
    pub(super) const fn new(customer_id: u64, address: &'data Address, form_fields: bool) -> Self {
        Self { customer_id, address, form_fields }
    }
}

impl Serialize for AddressRow<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.address.id)?;
        map.serialize_entry("customer_id", &self.customer_id)?;
        for (name, _) in TEXTS {
            map.serialize_entry(name, self.address.texts.get(name).map_or("", String::as_str))?;
        }
        let country = self.address.texts.get("country_code").map_or("", String::as_str);
        map.serialize_entry("country", if country == "US" { "United States" } else { country })?;
        if self.form_fields {
            let fields: Vec<_> = self
                .address
                .form_fields
                .iter()
                .map(|(name, value)| serde_json::json!({ "name": name, "value": value, "address_id": self.address.id }))
                .collect();
            map.serialize_entry("form_fields", &fields)?;
        }
        map.end()
    }
}

/// `GET /v3/customers/addresses`
pub(super) fn list(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let known = ["page", "limit", "company:in", "name:in", "customer_id:in", "id:in", "include"];
    let query = Query::parse(request.query, &known)?;
    let paging = query.paging()?;
    let (customers, wanted) = (query.ids("customer_id:in")?, query.ids("id:in")?);
    let form_fields = match query.text("include")?.as_deref() {
        None => false,
        Some("formfields") => true,
        Some(_) => return Err(invalid("include")),
    };
    let data: &Data = records.listed(request.behind, request.moment);
    let all = data.customers().filter(|customer| customers.as_ref().is_none_or(|ids| ids.contains(&customer.id)));
    let all = all.flat_map(|customer| customer.addresses.iter().map(move |address| (customer.id, address)));
    let mut all: Vec<(u64, &Address)> =
        all.filter(|(_, address)| wanted.as_ref().is_none_or(|ids| ids.contains(&address.id))).collect();
    all.sort_by_key(|(_, address)| address.id);
    let places: Vec<u64> = (0..all.len() as u64).collect();
    let page = if request.repeating { Paging { page: 1, ..paging } } else { paging };
    let shown: Vec<AddressRow<'_>> = page
        .slice(&places)
        .iter()
        .filter_map(|place| all.get(usize::try_from(*place).ok()?))
        .map(|(customer, address)| AddressRow::new(*customer, address, form_fields))
        .collect();
    let pagination = Pagination::of(paging, all.len(), shown.len(), &query.others(), request.repeating);
    Ok(rows(&shown, Meta { pagination: Some(pagination), cursor_pagination: None }))
}

/// Puts the texts and form fields that a row sends into an address.
fn put(address: &mut Address, row: Row<'_>) -> Result<(), Refusal> {
    for (name, _) in TEXTS {
        if let Some(text) = row.text(name)? {
            address.texts.insert(name, text.to_owned());
        }
    }
    for field in row.get("form_fields").and_then(serde_json::Value::as_array).into_iter().flatten() {
        let text = |name: &str| field.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        if let (Some(name), Some(value)) = (text("name"), text("value")) {
            address.form_fields.insert(name, value);
        }
    }
    Ok(())
}

/// What is wrong with an address: the field and the words.
fn problem(texts: &BTreeMap<&'static str, String>) -> Option<(&'static str, String)> {
    for (name, most) in TEXTS {
        if let Some(Err(what)) = texts.get(name).map(|text| body::length(text, 0, most)) {
            return Some((name, what));
        }
    }
    if let Some(name) = REQUIRED.into_iter().find(|name| texts.get(name).is_none_or(String::is_empty)) {
        return Some((name, format!("{name} is required")));
    }
    let code = texts.get("state_or_province").is_some_and(|state| state.len() == 2);
    code.then(|| ("state_or_province", "must be the full name of the state".to_owned()))
}

const FIELDS: [&str; 14] = [
    "id",
    "customer_id",
    "first_name",
    "last_name",
    "company",
    "address1",
    "address2",
    "city",
    "state_or_province",
    "postal_code",
    "country_code",
    "phone",
    "address_type",
    "form_fields",
];

/// The rows of a write: (customer, address), refused as a whole if one is.
fn wanted(records: &mut Records, request: &Request<'_>, is_new: bool) -> Result<Vec<(u64, Address)>, Refusal> {
    Query::parse(request.query, &[])?;
    let values = body::parse(request.body)?;
    if values.len() > BATCH_MAX {
        request.violation("more than 10 addresses");
    }
    let mut wanted = Vec::new();
    let mut refusal: Option<Refusal> = None;
    let refused = || Refusal::new(422, "The address was not valid.");
    for (index, row) in body::rows(&values, &FIELDS)?.into_iter().enumerate() {
        let found = if is_new {
            let customer = row.required_number("customer_id")?;
            let known = records.now().customer(customer).is_some();
            known.then(|| (customer, Address::default())).ok_or("customer_id")
        } else {
            let id = row.required_number("id")?;
            let mut all = records.now().customers();
            let held = all.find_map(|customer| {
                customer.addresses.iter().find(|address| address.id == id).map(|address| (customer.id, address.clone()))
            });
            held.ok_or("id")
        };
        let (customer, mut address) = match found {
            Ok(found) => found,
            Err(field) => {
                refusal = Some(refusal.unwrap_or_else(refused).because(format!("{index}.{field}"), "is not valid"));
                continue;
            }
        };
        put(&mut address, row)?;
        for name in NAMED.into_iter().filter(|_| is_new) {
            row.required_text(name)?;
        }
        if is_new && address.texts.get("address_type").is_none_or(String::is_empty) {
            address.texts.insert("address_type", "residential".to_owned());
        }
        match problem(&address.texts) {
            Some((field, what)) => {
                refusal = Some(refusal.unwrap_or_else(refused).because(format!("{index}.{field}"), what));
            }
            None => wanted.push((customer, address)),
        }
    }
    refusal.map_or(Ok(wanted), Err)
}

/// Does what is wanted, but for what would be equal to another address of the customer.
fn carry_out(records: &mut Records, request: &Request<'_>, wanted: Vec<(u64, Address)>) -> Answer {
    let mut done: Vec<(u64, Address)> = Vec::new();
    for (customer, mut address) in wanted {
        let held = records.now().customer(customer).map(|customer| customer.addresses.as_slice()).unwrap_or_default();
        if held.iter().any(|other| other.id != address.id && same(&other.texts, &address.texts)) {
            continue;
        }
        if address.id == 0 {
            address.id = records.next_address();
        }
        records.edit_addresses(request.moment, customer, |addresses| {
            match addresses.iter_mut().find(|other| other.id == address.id) {
                Some(held) => *held = address.clone(),
                None => addresses.push(address.clone()),
            }
        });
        done.push((customer, address));
    }
    if done.is_empty() && request.readings.equal_address == EqualAddress::EmptyObject {
        return json_answer(&serde_json::json!({}));
    }
    let shown: Vec<AddressRow<'_>> =
        done.iter().map(|(customer, address)| AddressRow::new(*customer, address, false)).collect();
    rows(&shown, Meta::default())
}

/// Whether two addresses are one: a text that is not there is an empty one.
fn same(one: &BTreeMap<&'static str, String>, other: &BTreeMap<&'static str, String>) -> bool {
    let text = |texts: &BTreeMap<&'static str, String>, name: &str| texts.get(name).cloned().unwrap_or_default();
    TEXTS.iter().all(|(name, _)| text(one, name) == text(other, name))
}

/// `POST /v3/customers/addresses`
pub(super) fn create(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let wanted = wanted(records, &request, true)?;
    Ok(carry_out(records, &request, wanted))
}

/// `PUT /v3/customers/addresses`
pub(super) fn update(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let wanted = wanted(records, &request, false)?;
    Ok(carry_out(records, &request, wanted))
}

/// `DELETE /v3/customers/addresses?id:in=…`
pub(super) fn delete(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.query, &["id:in"])?;
    let ids = query.ids("id:in")?.ok_or_else(|| invalid("id:in").because("id:in", "it would delete all"))?;
    let holders: Vec<u64> = records
        .now()
        .customers()
        .filter(|customer| customer.addresses.iter().any(|address| ids.contains(&address.id)))
        .map(|customer| customer.id)
        .collect();
    for customer in holders {
        records.edit_addresses(request.moment, customer, |held| held.retain(|address| !ids.contains(&address.id)));
    }
    Ok(Answer::NoContent)
}
