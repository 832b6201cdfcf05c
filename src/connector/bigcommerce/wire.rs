//! The JSON of BigCommerce, borrowed from the answer: only what is read is named, and unknown fields are skipped.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::{Cell, Seen, Timestamp, Value};

/// A list: rows, and where the next ones are.
#[derive(Debug, Deserialize)]
pub(super) struct Listing<R> {
    pub(super) data: Vec<R>,
    #[serde(default)]
    pub(super) meta: Meta,
}

/// The first page of customers shows both paginations; a page after a cursor shows only the cursor's.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Meta {
    pub(super) pagination: Option<Pagination>,
    pub(super) cursor_pagination: Option<CursorPagination>,
}

/// Pages by number.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Pagination {
    pub(super) total: Option<u64>,
    pub(super) total_pages: Option<u64>,
    pub(super) links: Option<Links>,
}

/// Pages by cursor.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CursorPagination {
    pub(super) end_cursor: Option<String>,
    pub(super) links: Option<Links>,
}

/// Query strings, beginning with a question mark.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Links {
    pub(super) next: Option<String>,
}

impl Links {
    pub(super) fn next(&self) -> Option<&str> {
        self.next.as_deref().filter(|next| !next.is_empty())
    }
}

/// Text borrowed where it has no escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Text that may be missing or null: missing is unseen, null and empty are absent.
#[derive(Debug, Default)]
pub(super) enum Shown<'a> {
    #[default]
    Missing,
    Null,
    Text(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Shown<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<Text<'a>>::deserialize(deserializer)?.map_or(Self::Null, |text| Self::Text(text.0)))
    }
}

impl Shown<'_> {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Missing | Self::Null => "",
            Self::Text(text) => text,
        }
    }

    pub(super) fn seen(&self) -> Seen {
        match self {
            Self::Missing => Seen::Unseen,
            Self::Null => Seen::Absent,
            Self::Text(text) if text.is_empty() => Seen::Absent,
            Self::Text(text) => Seen::Value(Value::text(text.as_ref())),
        }
    }
}

/// A customer.
#[derive(Debug, Deserialize)]
pub(super) struct CustomerRow<'a> {
    pub(super) id: u64,
    #[serde(borrow, default)]
    pub(super) email: Shown<'a>,
    #[serde(borrow, default)]
    pub(super) first_name: Shown<'a>,
    #[serde(borrow, default)]
    pub(super) last_name: Shown<'a>,
    #[serde(borrow, default)]
    pub(super) company: Shown<'a>,
    #[serde(borrow, default)]
    pub(super) phone: Shown<'a>,
    #[serde(borrow, default)]
    pub(super) notes: Shown<'a>,
    #[serde(borrow, default)]
    pub(super) tax_exempt_category: Shown<'a>,
    #[serde(borrow, default)]
    date_modified: Shown<'a>,
    pub(super) attribute_count: Option<usize>,
    #[serde(borrow, default)]
    pub(super) attributes: Option<Vec<ValueRow<'a>>>,
}

impl CustomerRow<'_> {
    pub(super) fn modified(&self) -> Option<Timestamp> {
        Timestamp::parse(self.date_modified.text())
    }
}

/// An attribute value. Inside a customer the customer's id may be left out.
#[derive(Debug, Deserialize)]
pub(super) struct ValueRow<'a> {
    pub(super) id: Option<u64>,
    pub(super) attribute_id: u64,
    #[serde(borrow, default)]
    attribute_value: Shown<'a>,
    pub(super) customer_id: Option<u64>,
    #[serde(borrow, default)]
    date_modified: Shown<'a>,
}

impl ValueRow<'_> {
    /// The value with its own date and id. A row with an empty value is still a row: it keeps its id.
    pub(super) fn cell(&self) -> Cell {
        Cell {
            seen: self.attribute_value.seen(),
            modified: Timestamp::parse(self.date_modified.text()),
            token: self.id.map(|id| id.to_string()),
        }
    }
}

/// An attribute's definition.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct AttributeRow {
    pub(super) id: u64,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// A definition to make.
#[derive(Debug, Serialize)]
pub(super) struct NewAttribute<'a> {
    pub(super) name: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
}

/// A value to put: requests say `value` where answers say `attribute_value`, and never name the value's own id.
#[derive(Debug, Serialize)]
pub(super) struct Upsert<'a> {
    pub(super) attribute_id: u64,
    pub(super) value: &'a str,
    pub(super) customer_id: u64,
}
