//! One address of a customer, field by field: `address:city`, `address:company`. Which of its addresses is meant is said by the
//! mapping: the first that was made, or the one whose form field says so.
//!
//! Nothing dates an address, and whether a change of one dates the customer is not documented. An address that is equal to another
//! is not made twice: the call is answered as if it was.
//!
//! - `read`: with the customers, and beside them where they do not show all
//! - `write`: made and changed by tens
//!
//! Must not know: other fields of customers, but what a new address needs of them.

mod read;
mod write;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BigCommerce;
use super::field::Field;
use super::wire::{CustomerRow, FormFieldRow, Shown, number, optional_rows};
use crate::connector::names::nearest;
use crate::model::{AddressMark, Cell, FieldShape, Seen, Value};

pub(super) use write::{ADDRESSES_PER_CALL, batches};

/// A field of an address, by BigCommerce's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AddressField {
    name: &'static str,
    chars_max: u32,
    /// No address is without it.
    required: bool,
    writable: bool,
}

const fn optional(name: &'static str, chars_max: u32) -> AddressField {
    AddressField { name, chars_max, required: false, writable: true }
}

const fn required(name: &'static str, chars_max: u32) -> AddressField {
    AddressField { name, chars_max, required: true, writable: true }
}

/// The names after `address:`. Whether a state or a postal code is needed depends on the country.
const ADDRESS_FIELDS: [AddressField; 12] = [
    required("first_name", 255),
    required("last_name", 255),
    optional("company", 255),
    required("address1", 255),
    optional("address2", 255),
    required("city", 100),
    optional("state_or_province", 100),
    optional("postal_code", 30),
    required("country_code", 2),
    optional("phone", 50),
    required("address_type", 20),
    AddressField { name: "country", chars_max: 100, required: true, writable: false },
];

impl AddressField {
    /// Reads what stands after `address:`; the error is a sentence.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let names = ADDRESS_FIELDS.map(|field| field.name);
        ADDRESS_FIELDS.into_iter().find(|field| field.name == name).ok_or_else(|| {
            let nearest = nearest(name, names.into_iter()).map(|known| format!("; the nearest is `address:{known}`"));
            format!(
                "an address has no field `{name}`{}; its fields are {}",
                nearest.unwrap_or_default(),
                names.join(", ")
            )
        })
    }

    /// What it can hold.
    pub(super) const fn shape(self) -> FieldShape {
        FieldShape {
            max_chars: Some(self.chars_max),
            writable: self.writable,
            clearable: self.writable && !self.required,
            ..FieldShape::TEXT
        }
    }
}

/// An address.
#[derive(Debug, Deserialize)]
pub(super) struct AddressRow<'a> {
    #[serde(deserialize_with = "number")]
    id: u64,
    #[serde(deserialize_with = "number")]
    customer_id: u64,
    #[serde(borrow, default)]
    first_name: Shown<'a>,
    #[serde(borrow, default)]
    last_name: Shown<'a>,
    #[serde(borrow, default)]
    company: Shown<'a>,
    #[serde(borrow, default)]
    address1: Shown<'a>,
    #[serde(borrow, default)]
    address2: Shown<'a>,
    #[serde(borrow, default)]
    city: Shown<'a>,
    #[serde(borrow, default)]
    state_or_province: Shown<'a>,
    #[serde(borrow, default)]
    postal_code: Shown<'a>,
    #[serde(borrow, default)]
    country_code: Shown<'a>,
    #[serde(borrow, default)]
    phone: Shown<'a>,
    #[serde(borrow, default)]
    address_type: Shown<'a>,
    #[serde(borrow, default)]
    country: Shown<'a>,
    #[serde(borrow, default, deserialize_with = "optional_rows")]
    form_fields: Option<Vec<FormFieldRow<'a>>>,
}

/// An address, kept. What it did not show is not among its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    id: u64,
    customer: u64,
    texts: BTreeMap<&'static str, String>,
    form_fields: BTreeMap<String, String>,
}

impl AddressRow<'_> {
    pub(super) fn kept(&self) -> Address {
        let shown = [
            ("first_name", &self.first_name),
            ("last_name", &self.last_name),
            ("company", &self.company),
            ("address1", &self.address1),
            ("address2", &self.address2),
            ("city", &self.city),
            ("state_or_province", &self.state_or_province),
            ("postal_code", &self.postal_code),
            ("country_code", &self.country_code),
            ("phone", &self.phone),
            ("address_type", &self.address_type),
            ("country", &self.country),
        ];
        let text = |shown: &Shown<'_>| match shown {
            Shown::Missing => None,
            other => Some(other.text().to_owned()),
        };
        let texts = shown.into_iter().filter_map(|(name, shown)| Some((name, text(shown)?))).collect();
        let marks = self.form_fields.as_deref().unwrap_or_default().iter();
        let form_fields =
            marks.filter_map(|field| Some((field.name.clone().into_owned(), marked(field.value?.get())?))).collect();
        Address { id: self.id, customer: self.customer_id, texts, form_fields }
    }
}

/// The text of a form field; of a list or an object none.
fn marked(value: &str) -> Option<String> {
    match serde_json::from_str(value).ok()? {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Address {
    fn cell(&self, field: AddressField, token: Option<String>) -> Cell {
        let seen = match self.texts.get(field.name) {
            None => Seen::Unseen,
            Some(text) if text.is_empty() => Seen::Absent,
            Some(text) => Seen::Value(Value::text(text.clone())),
        };
        Cell { seen, token, ..Cell::default() }
    }

    fn is_marked(&self, mark: &AddressMark) -> bool {
        self.form_fields.get(&mark.form_field).is_some_and(|value| value.trim() == mark.value.trim())
    }
}

/// What a write needs: the address, or who it is to be made for. In memory only.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Token {
    id: Option<u64>,
    first_name: String,
    last_name: String,
}

/// What a customer shows of its addresses.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// How many it has.
    count: Option<u64>,
    /// Those that it shows; none where it was not asked.
    shown: Option<Vec<Address>>,
    first_name: String,
    last_name: String,
}

impl Book {
    pub(super) fn of(row: &CustomerRow<'_>) -> Self {
        let shown = row.addresses.as_deref();
        Self {
            count: row.address_count,
            shown: shown.map(|rows| rows.iter().map(AddressRow::kept).collect()),
            first_name: row.first_name.text().to_owned(),
            last_name: row.last_name.text().to_owned(),
        }
    }

    /// Whether it shows all of its addresses, and of them what tells which is meant.
    fn is_whole(&self, mark: Option<&AddressMark>) -> bool {
        let shown = self.shown.as_ref().and_then(|shown| u64::try_from(shown.len()).ok());
        self.count.is_some() && shown == self.count && (mark.is_none() || self.count == Some(0))
    }
}

impl BigCommerce {
    fn addresses_mapped(&self) -> impl Iterator<Item = (usize, AddressField)> {
        self.fields.iter().enumerate().filter_map(|(index, field)| match field {
            Field::Address(field) => Some((index, *field)),
            _ => None,
        })
    }

    pub(super) fn maps_addresses(&self) -> bool {
        self.addresses_mapped().next().is_some()
    }

    /// What tells which address is meant; none: the first.
    fn address_mark(&self) -> Option<&AddressMark> {
        let wanted = self.fields.wanted().filter(|(_, field, _)| matches!(field, Field::Address(_)));
        wanted.filter_map(|(.., wanted)| wanted.options.address.as_ref()).next()
    }

    /// The address that is meant.
    fn meant<'a>(&self, addresses: impl Iterator<Item = &'a Address>) -> Option<&'a Address> {
        let mark = self.address_mark();
        addresses.filter(|address| mark.is_none_or(|mark| address.is_marked(mark))).min_by_key(|address| address.id)
    }

    /// Shows of a record the address that is meant, or that there is none.
    fn show_address(&self, cells: &mut [Cell], book: &Book, addresses: &[Address]) {
        let meant = self.meant(addresses.iter());
        let token = Token {
            id: meant.map(|address| address.id),
            first_name: book.first_name.clone(),
            last_name: book.last_name.clone(),
        };
        let token = serde_json::to_string(&token).ok();
        for (index, field) in self.addresses_mapped() {
            cells[index] = match meant {
                Some(address) => address.cell(field, token.clone()),
                None => Cell { seen: Seen::Absent, token: token.clone(), ..Cell::default() },
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_needs_cannot_be_cleared_and_its_country_by_name_is_read_only() {
        for (name, writable, clearable) in
            [("city", true, false), ("company", true, true), ("country_code", true, false), ("country", false, false)]
        {
            let shape = AddressField::parse(name).unwrap().shape();
            assert_eq!((shape.writable, shape.clearable), (writable, clearable), "{name}");
        }
        assert!(AddressField::parse("town").unwrap_err().contains("its fields are first_name"));
    }

    #[test]
    fn a_form_field_tells_which_address_is_meant() {
        let row: AddressRow<'_> = serde_json::from_str(
            r#"{"id": 7, "customer_id": 1, "city": "Akron", "company": null,
                "form_fields": [{"name": "Kind", "value": "Billing"}, {"name": "Many", "value": ["a"]}]}"#,
        )
        .unwrap();
        let address = row.kept();
        let mark = |value: &str| AddressMark { form_field: "Kind".to_owned(), value: value.to_owned() };
        assert!(address.is_marked(&mark("Billing")) && !address.is_marked(&mark("Shipping")));
        let seen = |name: &str| address.cell(AddressField::parse(name).unwrap(), None).seen;
        assert_eq!(seen("city"), Seen::Value(Value::text("Akron")));
        assert_eq!((seen("company"), seen("phone")), (Seen::Absent, Seen::Unseen));
    }
}
