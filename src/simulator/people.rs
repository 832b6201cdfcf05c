//! What the control API is given and shows: customers, values and definitions, by name and as plain data.
//!
//! Must not know: where they are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

use super::data::{Customer, Data};
use super::settings::AttributeKind;

/// A customer to be added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewCustomer {
    /// Unlike over the API, it may be empty, and it may be in use already.
    pub email: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Company.
    pub company: String,
    /// Phone.
    pub phone: String,
    /// Notes.
    pub notes: String,
    /// Values by attribute name.
    pub attributes: BTreeMap<String, String>,
}

impl NewCustomer {
    /// One with an e-mail and attribute values.
    pub fn new<'text>(email: &str, attributes: impl IntoIterator<Item = (&'text str, &'text str)>) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self { email: email.to_owned(), attributes: attributes.into_iter().map(owned).collect(), ..Self::default() }
    }
}

/// An edit of a customer's own fields; what is none stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CustomerEdit {
    /// E-mail.
    pub email: Option<String>,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Company.
    pub company: Option<String>,
    /// Phone.
    pub phone: Option<String>,
    /// Notes.
    pub notes: Option<String>,
    /// Tax exemption.
    pub tax_exempt_category: Option<String>,
    /// The group's id; 0 takes the customer out of its group.
    pub customer_group_id: Option<u64>,
    /// Whether e-mails about reviews and carts are welcome.
    pub accepts_emails: Option<bool>,
    /// Store credit.
    pub store_credit: Option<f64>,
    /// The channels that the customer can log in to.
    pub channel_ids: Option<Vec<u64>>,
}

/// A customer as it is, whatever lists show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CustomerState {
    /// Its id.
    pub id: u64,
    /// E-mail.
    pub email: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Company.
    pub company: String,
    /// Phone.
    pub phone: String,
    /// Notes.
    pub notes: String,
    /// Tax exemption.
    pub tax_exempt_category: String,
    /// The group's id; 0: none.
    pub customer_group_id: u64,
    /// Whether e-mails about reviews and carts are welcome.
    pub accepts_emails: bool,
    /// The channels that the customer can log in to; none: those that are open to all.
    pub channel_ids: Option<Vec<u64>>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created: Timestamp,
    /// When it changed.
    pub modified: Timestamp,
    /// Values by attribute name.
    pub attributes: BTreeMap<String, ValueState>,
}

/// A value as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValueState {
    /// Its id.
    pub id: u64,
    /// The value.
    pub value: String,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created: Timestamp,
    /// When it changed.
    pub modified: Timestamp,
}

/// An attribute definition as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttributeState {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: AttributeKind,
}

/// A customer with its values by name.
pub(super) fn state_of(data: &Data, customer: &Customer) -> CustomerState {
    let attributes = customer.values.iter().filter_map(|value| {
        let name = data.definition(value.attribute_id)?.name.clone();
        let (created, modified) = (value.created.timestamp(), value.modified.timestamp());
        Some((name, ValueState { id: value.id, value: value.text.to_string(), created, modified }))
    });
    CustomerState {
        id: customer.id,
        email: customer.email.clone(),
        first_name: customer.first_name.clone(),
        last_name: customer.last_name.clone(),
        company: customer.company.clone(),
        phone: customer.phone.clone(),
        notes: customer.notes.clone(),
        tax_exempt_category: customer.tax_exempt_category.clone(),
        customer_group_id: customer.customer_group_id,
        accepts_emails: customer.accepts_emails,
        channel_ids: customer.channel_ids.clone(),
        created: customer.created.timestamp(),
        modified: customer.modified.timestamp(),
        attributes: attributes.collect(),
    }
}
