//! A customer as an answer shows it, with what was asked to be included.
//!
//! Must not know: which customers are shown.

use serde::Serialize;

use super::addresses::AddressRow;
use super::answer::Refusal;
use super::data::{Customer, Data};
use super::dates::Seconds;
use super::form_fields::FormFieldRow;
use super::query::{Query, invalid};
use super::settings::{
    FormFieldsAnswered, IncludedAddresses, IncludedAttributes, IncludedSegments, Readings, StoreCreditAmount,
};
use super::values::ValueRow;

/// How many values `include=attributes` shows where it is limited.
const INCLUDED_MAX: usize = 10;

/// A customer as it is shown.
#[derive(Serialize)]
pub(super) struct CustomerRow<'data> {
    id: u64,
    email: &'data str,
    first_name: &'data str,
    last_name: &'data str,
    company: &'data str,
    phone: &'data str,
    registration_ip_address: &'static str,
    notes: &'data str,
    tax_exempt_category: &'data str,
    customer_group_id: u64,
    date_created: Seconds,
    date_modified: Seconds,
    address_count: usize,
    attribute_count: usize,
    authentication: Authentication,
    accepts_product_review_abandoned_cart_emails: bool,
    origin_channel_id: u64,
    channel_ids: Option<&'data [u64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<AddressRow<'data>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Vec<ValueRow<'data>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    form_fields: Option<Vec<FormFieldRow<'data>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_credit_amounts: Option<[StoreCredit; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shopper_profile_id: Option<Option<&'data str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment_ids: Option<Vec<&'data str>>,
}

#[derive(Serialize)]
struct Authentication {
    force_password_reset: bool,
}

#[derive(Serialize)]
struct StoreCredit {
    amount: Amount,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Amount {
    Number(f64),
    Text(String),
}

impl Amount {
    fn of(amount: f64, readings: &Readings) -> Self {
        match readings.store_credit_amount {
            StoreCreditAmount::Number => Self::Number(amount),
            StoreCreditAmount::Text => Self::Text(format!("{amount:.4}")),
        }
    }
}

/// What `include` asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Include {
    addresses: bool,
    attributes: bool,
    form_fields: bool,
    store_credit: bool,
    shopper_profile_id: bool,
    segment_ids: bool,
}

impl Include {
    /// What the answer to a write shows beside the customers' own fields.
    pub(super) fn answered(readings: &Readings) -> Self {
        let form_fields = readings.form_fields_answered == FormFieldsAnswered::Shown;
        Self { form_fields, ..Self::default() }
    }

    /// From the query.
    pub(super) fn parse(query: &Query<'_>, readings: &Readings) -> Result<Self, Refusal> {
        let segments = readings.included_segments == IncludedSegments::Shown;
        let mut include = Self::default();
        for name in query.texts("include")?.unwrap_or_default() {
            match name.as_str() {
                "addresses" => include.addresses = true,
                "attributes" => include.attributes = true,
                "formfields" => include.form_fields = true,
                "storecredit" => include.store_credit = true,
                "shopper_profile_id" if segments => include.shopper_profile_id = true,
                "segment_ids" if segments => include.segment_ids = true,
                _ => return Err(invalid("include")),
            }
        }
        Ok(include)
    }
}

impl<'data> CustomerRow<'data> {
    /// The customer with what was asked to be included.
    pub(super) fn new(data: &'data Data, customer: &'data Customer, include: Include, readings: &Readings) -> Self {
        let addresses = match readings.included_addresses {
            IncludedAddresses::FirstTen => INCLUDED_MAX,
            IncludedAddresses::All => usize::MAX,
        };
        let shown = match readings.included_attributes {
            IncludedAttributes::All => usize::MAX,
            IncludedAttributes::FirstTen => INCLUDED_MAX,
        };
        Self {
            id: customer.id,
            email: &customer.email,
            first_name: &customer.first_name,
            last_name: &customer.last_name,
            company: &customer.company,
            phone: &customer.phone,
            registration_ip_address: "",
            notes: &customer.notes,
            tax_exempt_category: &customer.tax_exempt_category,
            customer_group_id: customer.customer_group_id,
            date_created: customer.created,
            date_modified: customer.modified,
            address_count: customer.addresses.len(),
            attribute_count: customer.values.len(),
            authentication: Authentication { force_password_reset: customer.force_password_reset },
            accepts_product_review_abandoned_cart_emails: customer.accepts_emails,
            origin_channel_id: customer.origin_channel_id,
            channel_ids: customer.channel_ids.as_deref(),
            addresses: include.addresses.then(|| {
                let shown = customer.addresses.iter().take(addresses);
                shown.map(|address| AddressRow::new(customer.id, address, false)).collect()
            }),
            attributes: include
                .attributes
                .then(|| customer.values.iter().take(shown).map(|value| ValueRow::new(customer.id, value)).collect()),
            shopper_profile_id: include.shopper_profile_id.then(|| data.beside().profile_of(customer.id)),
            segment_ids: include.segment_ids.then(|| data.beside().segments_of(customer.id)),
            form_fields: include.form_fields.then(|| FormFieldRow::all(customer.id, &customer.form_fields)),
            store_credit_amounts: include
                .store_credit
                .then(|| [StoreCredit { amount: Amount::of(customer.store_credit, readings) }]),
        }
    }
}
