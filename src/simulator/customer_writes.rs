//! `POST /v3/customers` and `PUT /v3/customers`.
//!
//! Must not know: lists; sockets, quotas.

use super::answer::{Answer, Meta, Refusal, rows};
use super::body::{self, Checked, Row};
use super::customer_row::{CustomerRow, Include};
use super::customers::same_email;
use super::data::{Customer, Data};
use super::form_fields::{self, Entered};
use super::query::Query;
use super::records::Records;
use super::request::Request;
use super::settings::{Readings, RefusedBatch};
use super::values::taken;

/// The most customers in one call; more is 413.
const BATCH_MAX: usize = 10;
/// The most values that a new customer may bring.
const ATTRIBUTES_MAX: usize = 10;

const COMMON: [&str; 13] = [
    "email",
    "first_name",
    "last_name",
    "company",
    "phone",
    "notes",
    "tax_exempt_category",
    "customer_group_id",
    "authentication",
    "accepts_product_review_abandoned_cart_emails",
    "store_credit_amounts",
    "origin_channel_id",
    "channel_ids",
];

/// What one row wants a customer to be; none: left as it is.
#[derive(Clone, Debug, Default)]
struct Wanted<'body> {
    email: Option<&'body str>,
    first_name: Option<&'body str>,
    last_name: Option<&'body str>,
    company: Option<&'body str>,
    phone: Option<&'body str>,
    notes: Option<&'body str>,
    tax_exempt_category: Option<&'body str>,
    customer_group_id: Option<u64>,
    accepts_emails: Option<bool>,
    force_password_reset: Option<bool>,
    origin_channel_id: Option<u64>,
    channel_ids: Option<Option<Vec<u64>>>,
    store_credit: Option<f64>,
}

impl<'body> Wanted<'body> {
    fn read(row: Row<'body>) -> Result<Self, Refusal> {
        let authentication = row.object("authentication")?;
        let force_password_reset = match authentication {
            Some(authentication) => authentication.flag("force_password_reset")?,
            None => None,
        };
        let channel_ids = match row.get("channel_ids") {
            None => None,
            Some(serde_json::Value::Null) => Some(None),
            Some(_) => Some(row.numbers("channel_ids")?),
        };
        Ok(Self {
            email: row.text("email")?,
            first_name: row.text("first_name")?,
            last_name: row.text("last_name")?,
            company: row.text("company")?,
            phone: row.text("phone")?,
            notes: row.text("notes")?,
            tax_exempt_category: row.text("tax_exempt_category")?,
            customer_group_id: row.number("customer_group_id")?,
            accepts_emails: row.flag("accepts_product_review_abandoned_cart_emails")?,
            force_password_reset,
            origin_channel_id: row.number("origin_channel_id")?,
            channel_ids,
            store_credit: row.get("store_credit_amounts").and_then(|amounts| amounts.get(0)?.get("amount")?.as_f64()),
        })
    }

    /// The lengths that the documents give.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let limits = [
            ("email", self.email, 3, 250),
            ("first_name", self.first_name, 1, 100),
            ("last_name", self.last_name, 1, 100),
            ("company", self.company, 0, 255),
            ("phone", self.phone, 0, 50),
            ("tax_exempt_category", self.tax_exempt_category, 0, 255),
        ];
        for (field, text, min, max) in limits {
            if let Some(text) = text {
                body::length(text, min, max).map_err(|what| (field, what))?;
            }
        }
        if self.email.is_some_and(|email| !email.contains('@')) {
            return Err(("email", "invalid email".to_owned()));
        }
        if matches!(&self.channel_ids, Some(Some(ids)) if ids.is_empty()) {
            return Err(("channel_ids", "must not be empty".to_owned()));
        }
        Ok(())
    }

    fn apply(&self, customer: &mut Customer) {
        let texts = [
            (self.email, &mut customer.email),
            (self.first_name, &mut customer.first_name),
            (self.last_name, &mut customer.last_name),
            (self.company, &mut customer.company),
            (self.phone, &mut customer.phone),
            (self.notes, &mut customer.notes),
            (self.tax_exempt_category, &mut customer.tax_exempt_category),
        ];
        for (wanted, held) in texts {
            if let Some(wanted) = wanted {
                wanted.clone_into(held);
            }
        }
        customer.customer_group_id = self.customer_group_id.unwrap_or(customer.customer_group_id);
        customer.accepts_emails = self.accepts_emails.unwrap_or(customer.accepts_emails);
        customer.force_password_reset = self.force_password_reset.unwrap_or(customer.force_password_reset);
        customer.store_credit = self.store_credit.unwrap_or(customer.store_credit);
        if let Some(channel_ids) = &self.channel_ids {
            customer.channel_ids.clone_from(channel_ids);
        }
    }
}

/// Whether an e-mail belongs to someone else, in the store or earlier in the same call.
fn in_use(data: &Data, readings: &Readings, email: &str, own: Option<u64>, earlier: &[&str]) -> bool {
    earlier.iter().any(|other| same_email(email, other, readings))
        || data.with_email(email).iter().any(|&id| {
            Some(id) != own && data.customer(id).is_some_and(|other| same_email(email, &other.email, readings))
        })
}

/// Parses a body of at most ten rows.
fn batch(request: &Request<'_>) -> Result<Vec<serde_json::Value>, Refusal> {
    Query::parse(request.query, &[])?;
    let values = body::parse(request.body)?;
    if values.len() > BATCH_MAX {
        return Err(Refusal::new(413, format!("Max batch size allowed is {BATCH_MAX}")).violating());
    }
    Ok(values)
}

fn shown(records: &Records, request: &Request<'_>, ids: &[u64]) -> Answer {
    let customers: Vec<CustomerRow<'_>> = ids
        .iter()
        .filter_map(|&id| records.now().customer(id))
        .map(|customer| {
            CustomerRow::new(records.now(), customer, Include::answered(&request.readings), &request.readings)
        })
        .collect();
    rows(&customers, Meta::default())
}

/// `POST /v3/customers`
pub(super) fn create(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let values = batch(&request)?;
    let mut known = COMMON.to_vec();
    known.extend(["attributes", "addresses", "form_fields", "trigger_account_created_notification"]);
    let mut emails: Vec<&str> = Vec::new();
    let mut checked = Checked::default();
    for (index, row) in body::rows(&values, &known)?.into_iter().enumerate() {
        let email = row.required_text("email")?;
        row.required_text("first_name")?;
        row.required_text("last_name")?;
        let wanted = Wanted::read(row)?;
        let form_fields = form_fields::sent(row.get("form_fields"))?.unwrap_or_default();
        if row.flag("trigger_account_created_notification")? != Some(false) {
            // What happens by default is not documented: without an explicit `false` a shopper may get an e-mail.
            request.violation("trigger_account_created_notification is not said to be false");
        }
        let attributes = attributes(row)?;
        let verdict = if let Err((field, what)) = wanted.check() {
            Err((format!("{index}.{field}"), what))
        } else if in_use(records.now(), &request.readings, email, None, &emails) {
            Err((".customer_create".to_owned(), format!("Error creating customers: email {email} already in use")))
        } else {
            let taken: Result<Vec<(u64, String)>, String> = attributes
                .iter()
                .map(|&(id, text)| Ok((id, taken(records.now(), &request.readings, id, text)?)))
                .collect();
            let entered = form_fields::entered(records.form_fields(), &Entered::new(), &form_fields, &request.readings);
            match (taken, entered) {
                (Err(what), _) => Err((format!("{index}.attributes"), what)),
                (_, Err(what)) => Err((format!("{index}.form_fields"), what)),
                (Ok(attributes), Ok(entered)) => Ok((wanted, attributes, entered)),
            }
        };
        emails.push(email);
        checked.take(verdict);
    }
    let refusal = checked.refusal("Create customers failed.");
    if refusal.is_some() && request.readings.refused_batch == RefusedBatch::Atomic {
        return refusal.map_or(Ok(Answer::NoContent), Err);
    }
    let mut ids = Vec::new();
    for (wanted, attributes, entered) in &checked.good {
        let mut customer = Customer::blank(0);
        customer.origin_channel_id = wanted.origin_channel_id.unwrap_or(customer.origin_channel_id);
        wanted.apply(&mut customer);
        customer.form_fields.clone_from(entered);
        let id = records.create_customer(request.moment, customer);
        for (attribute, text) in attributes {
            records.set_value(request.moment, &request.readings, id, *attribute, text);
        }
        ids.push(id);
    }
    refusal.map_or_else(|| Ok(shown(records, &request, &ids)), Err)
}

/// The values that a new customer brings: here it is `attribute_value`, where the upsert wants `value`.
fn attributes(row: Row<'_>) -> Result<Vec<(u64, &str)>, Refusal> {
    let Some(list) = row.get("attributes") else { return Ok(Vec::new()) };
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    if list.len() > ATTRIBUTES_MAX {
        let what = format!("at most {ATTRIBUTES_MAX}");
        return Err(Refusal::new(422, "JSON data is missing or invalid").because("attributes", what).violating());
    }
    body::rows(list, &["attribute_id", "attribute_value"])?
        .into_iter()
        .map(|row| Ok((row.required_number("attribute_id")?, row.required_text("attribute_value")?)))
        .collect()
}

/// `PUT /v3/customers`
pub(super) fn update(records: &mut Records, request: Request<'_>) -> Result<Answer, Refusal> {
    let values = batch(&request)?;
    let mut known = COMMON.to_vec();
    known.extend(["id", "form_fields", "registration_ip_address"]);
    let mut emails: Vec<&str> = Vec::new();
    let mut checked = Checked::default();
    for (index, row) in body::rows(&values, &known)?.into_iter().enumerate() {
        let id = row.required_number("id")?;
        let wanted = Wanted::read(row)?;
        let form_fields = form_fields::sent(row.get("form_fields"))?;
        let entered = form_fields.zip(records.now().customer(id)).map(|(sent, customer)| {
            form_fields::entered(records.form_fields(), &customer.form_fields, &sent, &request.readings)
        });
        checked.take(if records.now().customer(id).is_none() {
            Err((format!("{index}.id"), "invalid customer ID".to_owned()))
        } else if let Err((field, what)) = wanted.check() {
            Err((format!("{index}.{field}"), what))
        } else if let Some(email) =
            wanted.email.filter(|email| in_use(records.now(), &request.readings, email, Some(id), &emails))
        {
            Err((".customer_update".to_owned(), format!("Error updating customers: email {email} already in use")))
        } else {
            let refused = |what| (format!("{index}.form_fields"), what);
            entered.transpose().map_err(refused).map(|entered| (id, wanted.clone(), entered))
        });
        emails.extend(wanted.email);
    }
    let refusal = checked.refusal("Update customers failed.");
    if refusal.is_some() && request.readings.refused_batch == RefusedBatch::Atomic {
        return refusal.map_or(Ok(Answer::NoContent), Err);
    }
    let mut ids = Vec::new();
    for (id, wanted, entered) in &checked.good {
        // `origin_channel_id` is silently ignored here (https://github.com/bigcommerce/docs/pull/315).
        records.edit_customer(request.moment, *id, |customer| {
            wanted.apply(customer);
            if let Some(entered) = entered {
                customer.form_fields.clone_from(entered);
            }
        });
        ids.push(*id);
    }
    refusal.map_or_else(|| Ok(shown(records, &request, &ids)), Err)
}
