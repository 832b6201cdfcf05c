//! The JSON of BigCommerce, borrowed from the answer: only what is read is named, and unknown fields are skipped.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::addresses::AddressRow;
use crate::model::{Cell, Seen, Timestamp, Value};

/// A list: rows, and where the next ones are. Read as `Object<Listing<…>>`.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub(super) struct Listing<R> {
    #[serde(deserialize_with = "rows")]
    pub(super) data: Vec<R>,
    #[serde(default, deserialize_with = "object_or_default")]
    pub(super) meta: Meta,
}

/// An object that must be there and be one: what is derived for a structure would also take a list, by position, and so
/// `[[]]` for a list without rows.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let there = object(deserializer)?;
        there.map(Self).ok_or_else(|| de::Error::custom("nothing where an object is expected"))
    }
}

fn rows<'de, D: Deserializer<'de>, R: Deserialize<'de>>(deserializer: D) -> Result<Vec<R>, D::Error> {
    let rows: Vec<Object<R>> = Deserialize::deserialize(deserializer)?;
    Ok(rows.into_iter().map(|Object(row)| row).collect())
}

pub(super) fn optional_rows<'de, D: Deserializer<'de>, R: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<R>>, D::Error> {
    let rows: Option<Vec<Object<R>>> = Deserialize::deserialize(deserializer)?;
    Ok(rows.map(|rows| rows.into_iter().map(|Object(row)| row).collect()))
}

/// The first page of customers shows both paginations; a page after a cursor shows only the cursor's.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Meta {
    #[serde(default, deserialize_with = "object")]
    pub(super) pagination: Option<Pagination>,
    #[serde(default, deserialize_with = "object")]
    pub(super) cursor_pagination: Option<CursorPagination>,
}

/// Pages by number.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Pagination {
    #[serde(default, deserialize_with = "optional_number")]
    pub(super) total: Option<u64>,
    #[serde(default, deserialize_with = "optional_number")]
    pub(super) per_page: Option<u64>,
    #[serde(default, deserialize_with = "optional_number")]
    pub(super) total_pages: Option<u64>,
    #[serde(default, deserialize_with = "object")]
    pub(super) links: Option<Links>,
}

/// Pages by cursor.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CursorPagination {
    #[serde(default, deserialize_with = "optional_number")]
    pub(super) per_page: Option<u64>,
    pub(super) end_cursor: Option<String>,
    #[serde(default, deserialize_with = "object")]
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

/// Text that may be missing or null: missing is unseen, null and empty are absent. Documented as text whatever it means;
/// a number or a boolean that comes as one is taken as it is written.
#[derive(Debug, Default)]
pub(super) enum Shown<'a> {
    #[default]
    Missing,
    Null,
    Text(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Shown<'a> {
    /// Read as it is written: a number that went through a binary fraction would come back as another.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = <&'de RawValue>::deserialize(deserializer)?.get();
        match written.as_bytes() {
            b"null" => Ok(Self::Null),
            [b'"', inside @ .., b'"'] if !inside.contains(&b'\\') => {
                Ok(Self::Text(Cow::Borrowed(&written[1..written.len() - 1])))
            }
            [b'"', ..] => serde_json::from_str(written)
                .map(|text| Self::Text(Cow::Owned(text)))
                .map_err(|_| de::Error::custom("text with an escape that stands for no character")),
            [b'[' | b'{', ..] => Err(de::Error::custom("a list or an object where text is expected")),
            _ => Ok(Self::Text(Cow::Borrowed(written))),
        }
    }
}

/// A list of texts or numbers that may be missing or null.
#[derive(Debug, Default)]
pub(super) enum ShownList<'a> {
    #[default]
    Missing,
    Null,
    Items(Vec<Shown<'a>>),
}

impl<'de: 'a, 'a> Deserialize<'de> for ShownList<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Option::<Vec<Shown<'a>>>::deserialize(deserializer)?;
        Ok(items.map_or(Self::Null, Self::Items))
    }
}

impl ShownList<'_> {
    pub(super) fn seen(&self) -> Seen {
        match self {
            Self::Missing => Seen::Unseen,
            Self::Null => Seen::Absent,
            Self::Items(items) if items.is_empty() => Seen::Absent,
            Self::Items(items) => Seen::Value(Value::List(items.iter().map(|item| item.text().to_owned()).collect())),
        }
    }
}

/// An id or a count: a number, or its digits as text.
pub(super) fn optional_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Number;
    impl Visitor<'_> for Number {
        type Value = Option<u64>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a whole number")
        }

        fn visit_unit<E>(self) -> Result<Option<u64>, E> {
            Ok(None)
        }

        fn visit_u64<E>(self, number: u64) -> Result<Option<u64>, E> {
            Ok(Some(number))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<u64>, E> {
            // The text itself stays out of the message: it may be anything.
            text.parse().map(Some).map_err(|_| E::custom("text where a whole number is expected"))
        }
    }
    deserializer.deserialize_any(Number)
}

/// As [`optional_number`], but there.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    optional_number(deserializer)?.ok_or_else(|| de::Error::custom("null where a whole number is expected"))
}

/// An object; nothing where there is a null or an empty list, which is how some servers write an empty object.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct Entries<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
        type Value = Option<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<T>, A::Error> {
            match seq.next_element::<IgnoredAny>()? {
                None => Ok(None),
                Some(_) => Err(de::Error::custom("a list where an object is expected")),
            }
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }
    deserializer.deserialize_any(Entries(PhantomData))
}

fn object_or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    object(deserializer).map(Option::unwrap_or_default)
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
    #[serde(deserialize_with = "number")]
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
    pub(super) accepts_product_review_abandoned_cart_emails: Shown<'a>,
    #[serde(borrow, default)]
    customer_group_id: Shown<'a>,
    #[serde(borrow, default)]
    pub(super) origin_channel_id: Shown<'a>,
    #[serde(borrow, default)]
    pub(super) channel_ids: ShownList<'a>,
    #[serde(borrow, default)]
    pub(super) date_created: Shown<'a>,
    #[serde(borrow, default)]
    pub(super) date_modified: Shown<'a>,
    #[serde(default, deserialize_with = "optional_number")]
    pub(super) attribute_count: Option<u64>,
    #[serde(borrow, default, deserialize_with = "optional_rows")]
    pub(super) attributes: Option<Vec<ValueRow<'a>>>,
    #[serde(borrow, default, deserialize_with = "optional_rows")]
    pub(super) store_credit_amounts: Option<Vec<CreditRow<'a>>>,
    #[serde(borrow, default, deserialize_with = "optional_rows")]
    pub(super) form_fields: Option<Vec<FormFieldRow<'a>>>,
    #[serde(default, deserialize_with = "optional_number")]
    pub(super) address_count: Option<u64>,
    #[serde(borrow, default, deserialize_with = "optional_rows")]
    pub(super) addresses: Option<Vec<AddressRow<'a>>>,
    /// Null or empty: none.
    #[serde(borrow, default)]
    pub(super) shopper_profile_id: Shown<'a>,
    #[serde(borrow, default)]
    pub(super) segment_ids: ShownList<'a>,
}

/// Store credit. There is one row of it.
#[derive(Debug, Deserialize)]
pub(super) struct CreditRow<'a> {
    #[serde(borrow, default)]
    pub(super) amount: Shown<'a>,
}

/// A form field of a customer: a text, a number or a list of texts.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct FormFieldRow<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) value: Option<&'a RawValue>,
}

impl CustomerRow<'_> {
    /// The id of its group, where it is shown; 0: none.
    pub(super) fn group(&self) -> Option<u64> {
        match &self.customer_group_id {
            Shown::Missing => None,
            Shown::Null => Some(0),
            Shown::Text(id) => id.parse().ok(),
        }
    }

    pub(super) fn modified(&self) -> Option<Timestamp> {
        Timestamp::parse(self.date_modified.text())
    }
}

/// An attribute value. Inside a customer the customer's id may be left out.
#[derive(Debug, Deserialize)]
pub(super) struct ValueRow<'a> {
    #[serde(default, deserialize_with = "optional_number")]
    pub(super) id: Option<u64>,
    #[serde(deserialize_with = "number")]
    pub(super) attribute_id: u64,
    #[serde(borrow, default)]
    attribute_value: Shown<'a>,
    #[serde(default, deserialize_with = "optional_number")]
    pub(super) customer_id: Option<u64>,
    #[serde(borrow, default)]
    date_modified: Shown<'a>,
}

impl ValueRow<'_> {
    pub(super) fn modified(&self) -> Option<Timestamp> {
        Timestamp::parse(self.date_modified.text())
    }

    /// The value with its own date and id. A row with an empty value is still a row: it keeps its id.
    pub(super) fn cell(&self) -> Cell {
        Cell { seen: self.attribute_value.seen(), modified: self.modified(), token: self.id.map(|id| id.to_string()) }
    }
}

/// An attribute's definition.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct AttributeRow {
    #[serde(deserialize_with = "number")]
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
