//! The customer's own fields: what each can hold, what a customer shows of it, what is sent to change it.
//!
//! `write` puts customers: of one customer several fields go in one row, with its group and its form fields.
//!
//! Must not know: attributes.

mod write;

use std::borrow::Cow;

use serde_json::{Value as Json, json};

use super::wire::{CustomerRow, Shown};
use crate::connector::names::nearest;
use crate::model::{Cell, FieldOptions, FieldShape, Holds, Seen, Value};

pub(super) use write::{CUSTOMERS_PER_PUT, batches};

/// The longest first and the longest last name.
const NAME_CHARS_MAX: usize = 100;

/// The fields of a customer.
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
    AcceptsEmails,
    StoreCredit,
    ChannelIds,
    OriginChannelId,
    DateCreated,
    DateModified,
}

/// The names after `customer:`.
const CUSTOMER_FIELDS: [(&str, CustomerField); 15] = [
    ("id", CustomerField::Id),
    ("email", CustomerField::Email),
    ("first_name", CustomerField::FirstName),
    ("last_name", CustomerField::LastName),
    ("name", CustomerField::Name),
    ("company", CustomerField::Company),
    ("phone", CustomerField::Phone),
    ("notes", CustomerField::Notes),
    ("tax_exempt_category", CustomerField::TaxExemptCategory),
    ("accepts_product_review_abandoned_cart_emails", CustomerField::AcceptsEmails),
    ("store_credit", CustomerField::StoreCredit),
    ("channel_ids", CustomerField::ChannelIds),
    ("origin_channel_id", CustomerField::OriginChannelId),
    ("date_created", CustomerField::DateCreated),
    ("date_modified", CustomerField::DateModified),
];

impl CustomerField {
    /// Reads what stands after `customer:`; the error is a sentence.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        if let Some((_, field)) = CUSTOMER_FIELDS.iter().find(|(known, _)| *known == name) {
            return Ok(*field);
        }
        let names = CUSTOMER_FIELDS.iter().map(|(known, _)| *known).chain(["group"]);
        let nearest = nearest(name, names.clone()).map(|known| format!("; the nearest is `customer:{known}`"));
        Err(format!(
            "a customer has no field `{name}`{}; its fields are {}",
            nearest.unwrap_or_default(),
            names.collect::<Vec<_>>().join(", ")
        ))
    }

    /// What it can hold, by the documented lengths. A customer is never without a name or an e-mail.
    pub(super) fn shape(self, options: &FieldOptions) -> FieldShape {
        let text = |max_chars: Option<u32>| FieldShape { max_chars, ..FieldShape::TEXT };
        let never_empty = |shape: FieldShape| FieldShape { clearable: false, ..shape };
        let holding = |holds: Holds| never_empty(FieldShape { holds, ..FieldShape::TEXT });
        let read_only = |shape: FieldShape| FieldShape { writable: false, clearable: false, ..shape };
        let meant = |shape: FieldShape| FieldShape { writable: options.allow_side_effects, ..never_empty(shape) };
        match self {
            Self::Email => meant(text(Some(250))),
            Self::ChannelIds => meant(holding(Holds::List)),
            Self::FirstName | Self::LastName => never_empty(text(Some(100))),
            Self::Name => holding(Holds::FullName),
            Self::Company | Self::TaxExemptCategory => text(Some(255)),
            Self::Phone => text(Some(50)),
            Self::Notes => text(None),
            Self::AcceptsEmails => holding(Holds::Boolean),
            Self::StoreCredit => read_only(holding(Holds::Number)),
            Self::Id | Self::OriginChannelId | Self::DateCreated | Self::DateModified => read_only(text(None)),
        }
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
            Self::AcceptsEmails => row.accepts_product_review_abandoned_cart_emails.seen(),
            Self::StoreCredit => match row.store_credit_amounts.as_deref() {
                None => Seen::Unseen,
                Some([]) => Seen::Absent,
                Some([credit, ..]) => credit.amount.seen(),
            },
            Self::ChannelIds => row.channel_ids.seen(),
            Self::OriginChannelId => row.origin_channel_id.seen(),
            Self::DateCreated => row.date_created.seen(),
            Self::DateModified => row.date_modified.seen(),
        };
        Cell { seen, modified: None, token: None }
    }

    /// What of a row of the call holds this value (an empty text clears); the error is a sentence without the value.
    pub(super) fn entries(self, value: Option<&Value>) -> Result<Vec<(&'static str, Json)>, String> {
        let text = match value {
            None => "",
            Some(Value::Text(text)) => text,
            Some(Value::List(_)) if self == Self::ChannelIds => "",
            Some(Value::List(_)) => return Err("it is a list, and the customer holds one text".to_owned()),
        };
        let one = |name: &'static str| Ok(vec![(name, json!(text))]);
        match self {
            Self::Email => one("email"),
            Self::FirstName => one("first_name"),
            Self::LastName => one("last_name"),
            Self::Company => one("company"),
            Self::Phone => one("phone"),
            Self::Notes => one("notes"),
            Self::TaxExemptCategory => one("tax_exempt_category"),
            Self::Name => {
                let (first, last) = split_name(text)?;
                Ok(vec![("first_name", json!(first)), ("last_name", json!(last))])
            }
            Self::AcceptsEmails => match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "on" | "1" => Ok(vec![(ACCEPTS_EMAILS, json!(true))]),
                "false" | "f" | "no" | "n" | "off" | "0" => Ok(vec![(ACCEPTS_EMAILS, json!(false))]),
                _ => Err("it is neither true nor false".to_owned()),
            },
            Self::ChannelIds => channel_ids(value).map(|ids| vec![("channel_ids", json!(ids))]),
            Self::Id | Self::StoreCredit | Self::OriginChannelId | Self::DateCreated | Self::DateModified => {
                Err("its field is read-only".to_owned())
            }
        }
    }

    /// What else may be the matter where the store refuses one value.
    const fn hint(self) -> &'static str {
        match self {
            Self::Email => "; if it is an e-mail, another customer may have it",
            Self::ChannelIds => "; the store may have no such channel",
            _ => "",
        }
    }
}

const ACCEPTS_EMAILS: &str = "accepts_product_review_abandoned_cart_emails";

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

/// First and last name: the last space stands between them.
fn split_name(name: &str) -> Result<(&str, &str), String> {
    let (first, last) =
        name.trim().rsplit_once(' ').ok_or("it is one word, and a customer has a first and a last name")?;
    let first = first.trim_end();
    if [first, last].into_iter().any(|part| part.chars().count() > NAME_CHARS_MAX) {
        return Err(format!("its first or its last name has more than {NAME_CHARS_MAX} characters"));
    }
    Ok((first, last))
}

/// Never an empty list: nobody could log in.
fn channel_ids(value: Option<&Value>) -> Result<Vec<u64>, String> {
    let Some(Value::List(items)) = value else { return Err("it is no list of channel ids".to_owned()) };
    let ids: Result<Vec<u64>, _> = items.iter().map(|item| item.trim().parse()).collect();
    match ids {
        Ok(ids) if !ids.is_empty() => Ok(ids),
        _ => Err("it is no list of channel ids".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_split_at_its_last_space() {
        for (name, first, last) in [
            ("Ann Lee", "Ann", "Lee"),
            ("Ann Mary  Lee", "Ann Mary", "Lee"),
            (" Ludwig van Beethoven ", "Ludwig van", "Beethoven"),
        ] {
            let entries = CustomerField::Name.entries(Some(&Value::text(name))).unwrap();
            assert_eq!(entries, [("first_name", json!(first)), ("last_name", json!(last))]);
        }
        for wrong in ["Madonna", "", &format!("{} Lee", "x".repeat(101))] {
            let sentence = CustomerField::Name.entries(Some(&Value::text(wrong))).unwrap_err();
            assert!(!sentence.contains("Madonna"), "no values in sentences: {sentence}");
        }
    }

    #[test]
    fn what_is_sent_has_its_type_and_nothing_clears() {
        let list = Value::List(vec!["1".to_owned(), "3".to_owned()]);
        assert_eq!(CustomerField::ChannelIds.entries(Some(&list)), Ok(vec![("channel_ids", json!([1, 3]))]));
        assert!(CustomerField::ChannelIds.entries(None).is_err());
        assert!(CustomerField::ChannelIds.entries(Some(&Value::List(Vec::new()))).is_err());
        assert_eq!(
            CustomerField::AcceptsEmails.entries(Some(&Value::text("Yes"))),
            Ok(vec![(ACCEPTS_EMAILS, json!(true))])
        );
        assert_eq!(CustomerField::Company.entries(None), Ok(vec![("company", json!(""))]));
        for read_only in [CustomerField::Id, CustomerField::StoreCredit, CustomerField::OriginChannelId] {
            assert!(read_only.entries(Some(&Value::text("1"))).is_err());
            let shape = read_only.shape(&FieldOptions { allow_side_effects: true, ..FieldOptions::default() });
            assert!(!shape.writable, "whatever the mapping allows");
        }
        assert!(!CustomerField::Email.shape(&FieldOptions::default()).writable);
    }
}
