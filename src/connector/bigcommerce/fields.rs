//! Which store fields exist, and what a customer shows of those that are its own.

use std::borrow::Cow;

use super::wire::{CustomerRow, Shown};
use crate::connector::names::nearest;
use crate::model::{Cell, FieldShape, FieldType, Holds, Seen, Value};

/// One store field, read from its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// A customer attribute, by the name of its definition.
    Attribute(String),
    /// A field of the customer itself: read, not written.
    Customer(CustomerField),
    /// A sentence that says why it cannot be used.
    Unusable(String),
}

/// The fields of a customer that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CustomerField {
    Id,
    Email,
    FirstName,
    LastName,
    /// First and last name, with a space between.
    Name,
    Company,
    Phone,
    Notes,
    TaxExemptCategory,
}

/// The names after `customer:`.
const CUSTOMER_FIELDS: [(&str, CustomerField); 9] = [
    ("id", CustomerField::Id),
    ("email", CustomerField::Email),
    ("first_name", CustomerField::FirstName),
    ("last_name", CustomerField::LastName),
    ("name", CustomerField::Name),
    ("company", CustomerField::Company),
    ("phone", CustomerField::Phone),
    ("notes", CustomerField::Notes),
    ("tax_exempt_category", CustomerField::TaxExemptCategory),
];

/// Kinds of store fields that the configuration knows and this connector does not serve yet.
const KINDS_TO_COME: [&str; 6] = ["form_field", "metafield", "address", "subscriber", "segment", "segments"];

impl Field {
    /// Reads `attribute:Job title`, `customer:email`.
    pub(super) fn parse(text: &str) -> Self {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "attribute" if name.trim().is_empty() => {
                Self::Unusable(format!("`{text}` names no attribute; write `attribute:` and the attribute's name"))
            }
            "attribute" => Self::Attribute(name.to_owned()),
            "customer" if name == "group" => Self::Unusable(
                "`customer:group` is not supported yet: customer groups can be neither read nor written; take it out \
                 of the mapping"
                    .to_owned(),
            ),
            "customer" => match CUSTOMER_FIELDS.iter().find(|(known, _)| *known == name) {
                Some((_, field)) => Self::Customer(*field),
                None => {
                    let names = CUSTOMER_FIELDS.iter().map(|(known, _)| *known);
                    let nearest = nearest(name, names).map(|known| format!("; the nearest is `customer:{known}`"));
                    Self::Unusable(format!(
                        "a customer has no field `{name}`{}; its fields are {}",
                        nearest.unwrap_or_default(),
                        CUSTOMER_FIELDS.map(|(known, _)| known).join(", ")
                    ))
                }
            },
            _ if KINDS_TO_COME.contains(&kind) => Self::Unusable(format!(
                "`{text}` is not supported yet; store fields are `attribute:…` and `customer:…`"
            )),
            _ => Self::Unusable(format!(
                "`{text}` is not a store field; store fields are `attribute:NAME` and `customer:NAME`"
            )),
        }
    }
}

impl CustomerField {
    /// All are text for a mapping, and none is written in this version.
    pub(super) const fn shape(self) -> FieldShape {
        FieldShape { holds: Holds::Text, max_chars: None, writable: false, clearable: false, refuses_nul: false }
    }

    /// What the customer shows. Its date is the record's: a customer does not date its fields.
    pub(super) fn cell(self, row: &CustomerRow<'_>) -> Cell {
        let seen = match self {
            Self::Id => Seen::Value(Value::text(row.id.to_string())),
            Self::Email => row.email.seen(),
            Self::FirstName => row.first_name.seen(),
            Self::LastName => row.last_name.seen(),
            Self::Name => full_name(&row.first_name, &row.last_name),
            Self::Company => row.company.seen(),
            Self::Phone => row.phone.seen(),
            Self::Notes => row.notes.seen(),
            Self::TaxExemptCategory => row.tax_exempt_category.seen(),
        };
        Cell { seen, modified: None, token: None }
    }
}

fn full_name(first: &Shown<'_>, last: &Shown<'_>) -> Seen {
    if matches!((first, last), (Shown::Missing, _) | (_, Shown::Missing)) {
        return Seen::Unseen;
    }
    let parts: Vec<Cow<'_, str>> = [first.text(), last.text()]
        .into_iter()
        .map(|part| Cow::Borrowed(part.trim()))
        .filter(|part| !part.is_empty())
        .collect();
    if parts.is_empty() { Seen::Absent } else { Seen::Value(Value::text(parts.join(" "))) }
}

/// The type an attribute must have for a field of a mapping; BigCommerce knows `string`, `number` and `date`.
pub(super) const fn attribute_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Number => "number",
        FieldType::Date => "date",
        FieldType::String | FieldType::Boolean | FieldType::List => "string",
    }
}

/// What an attribute of a type takes: at most 255 characters, whatever its type.
pub(super) fn attribute_shape(kind: FieldType) -> FieldShape {
    let holds = match kind {
        FieldType::Number => Holds::Number,
        FieldType::Date => Holds::Date,
        FieldType::String | FieldType::Boolean | FieldType::List => Holds::Text,
    };
    FieldShape { holds, max_chars: Some(255), ..FieldShape::TEXT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_store_fields() {
        assert_eq!(Field::parse("attribute:Job title: main"), Field::Attribute("Job title: main".to_owned()));
        assert_eq!(Field::parse("customer:email"), Field::Customer(CustomerField::Email));
        for (wrong, says) in [
            ("attribute: ", "names no attribute"),
            ("customer:group", "not supported yet"),
            ("customer:e-mail", "`customer:email`"),
            ("form_field:Size", "not supported yet"),
            ("segments", "not supported yet"),
            ("email", "not a store field"),
        ] {
            let Field::Unusable(sentence) = Field::parse(wrong) else { panic!("{wrong}") };
            assert!(sentence.contains(says), "{sentence}");
        }
    }
}
