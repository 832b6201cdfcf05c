//! Which properties an object has for us, how HubSpot spells their values, and making those that are missing.
//!
//! Every value is text in JSON, whatever its type, and nothing is null or the empty text. `company.NAME` is a property of the
//! contact's primary company, read only.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use serde::Deserialize;
use serde_json::json;

use super::HubSpot;
use super::api::Answered;
use crate::connector::Lane;
use crate::connector::names::meant;
use crate::connector::paid::Paid;
use crate::http::Request;
use crate::model::{Class, Definition, DefinitionState, Failure, FieldShape, FieldType, Holds, Seen, Timestamp, Value};

/// How properties of the primary company begin.
pub(super) const COMPANY_PREFIX: &str = "company.";
/// The contact's property that holds the primary company's id.
pub(super) const COMPANY_ID: &str = "associatedcompanyid";

/// The longest text of a property, in characters.
const TEXT_CHARS_MAX: u32 = 65_536;

/// One field of the connector, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) place: Place,
    pub(super) spelling: Spelling,
    pub(super) writable: bool,
    /// Whether records can be found by it, whatever the case of its letters: of choices it counts.
    pub(super) finds: bool,
}

/// Where a field's value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The record's own id.
    Key,
    /// A property of the record.
    Own(String),
    /// A property of the primary company.
    OfCompany(String),
}

/// How values are spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Text,
    /// Days, or the milliseconds of their beginning.
    Date,
    /// RFC 3339, or milliseconds.
    Instant,
}

impl Spelling {
    /// What a value in an answer shows; none is nothing.
    pub(super) fn seen(self, text: Option<&str>) -> Seen {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Seen::Absent };
        let instant = || {
            let millis = text.parse::<i64>().ok().filter(|_| text.len() > 8).map(Timestamp::from_millis);
            millis.or_else(|| Timestamp::parse(text))
        };
        let shown = match self {
            Self::Text => None,
            Self::Instant => instant().map(|instant| instant.to_string()),
            Self::Date if text.len() == "2026-01-02".len() => None,
            Self::Date => instant().map(|instant| instant.to_string().chars().take("2026-01-02".len()).collect()),
        };
        Seen::Value(Value::Text(shown.unwrap_or_else(|| text.to_owned())))
    }
}

/// A property as HubSpot describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    name: String,
    #[serde(default)]
    label: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    calculated: bool,
    #[serde(default)]
    modification_metadata: Modification,
    #[serde(default)]
    options: Vec<Choice>,
}

/// One of the words that a property of choices takes.
#[derive(Debug, Deserialize)]
struct Choice {
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Modification {
    #[serde(default)]
    read_only_value: bool,
}

#[derive(Debug, Deserialize)]
struct Listing {
    results: Vec<Described>,
}

/// What a look at the properties found.
pub(super) struct Found {
    pub(super) definitions: Vec<Definition>,
    pub(super) clock: Timestamp,
    /// As [`crate::connector::Prepared::choices`].
    pub(super) choices: Vec<(usize, Vec<String>)>,
}

type Properties = HashMap<String, Described>;

impl Described {
    fn property(&self, place: Place) -> Option<(Property, FieldShape)> {
        let (spelling, holds) = match self.kind.as_str() {
            "string" | "enumeration" | "phone_number" => (Spelling::Text, Holds::Text),
            "number" => (Spelling::Text, Holds::Number),
            "bool" => (Spelling::Text, Holds::Boolean),
            "date" => (Spelling::Date, Holds::Date),
            "datetime" => (Spelling::Instant, Holds::Instant),
            _ => return None,
        };
        let own = matches!(place, Place::Own(_));
        let writable = own && !self.calculated && !self.modification_metadata.read_only_value;
        let max_chars = (holds == Holds::Text).then_some(TEXT_CHARS_MAX);
        let shape = FieldShape { holds, max_chars, writable, clearable: writable, refuses_nul: true };
        let finds = own && self.kind == "string";
        Some((Property { place, spelling, writable, finds }, shape))
    }
}

impl HubSpot {
    /// Finds the properties by name and remembers them; missing ones are made where that is wanted.
    pub(super) async fn find_properties(&self, may_create: bool) -> Result<Found, Failure> {
        let Answered { body: known, clock } = self.describe(&self.object).await?;
        let of_company = if self.maps_companies() { self.describe("companies").await?.body } else { Properties::new() };
        let (mut found, mut definitions) = (Vec::new(), Vec::new());
        for (name, kind) in self.names.iter().zip(&self.kinds) {
            let (property, state) = if name == "@key" {
                let shape = FieldShape { writable: false, clearable: false, ..FieldShape::TEXT };
                let property = Property { place: Place::Key, spelling: Spelling::Text, writable: false, finds: true };
                (Some(property), DefinitionState::Usable(shape))
            } else if name.starts_with(COMPANY_PREFIX) && self.object != "contacts" {
                let why = format!("`{name}`: only contacts have a primary company, and `object` is `{}`", self.object);
                (None, DefinitionState::Unusable(why))
            } else if let Some(name) = name.strip_prefix(COMPANY_PREFIX) {
                usable("companies", name, &of_company, Place::OfCompany(name.to_owned()))
            } else if known.contains_key(name) || self.create_in_group.is_none() {
                usable(&self.object, name, &known, Place::Own(name.clone()))
            } else {
                self.create(name, *kind, may_create).await?
            };
            found.push(property);
            definitions.push(Definition { id: None, state });
        }
        let words = |name: &String| Some(known.get(name)?).filter(|known| known.kind == "enumeration");
        let choices = self.names.iter().enumerate().filter_map(|(index, name)| {
            let words: Vec<String> = words(name)?.options.iter().map(|choice| choice.value.clone()).collect();
            // HubSpot keeps some lists elsewhere, and shows none of their words.
            (!words.is_empty()).then_some((index, words))
        });
        let choices = choices.collect();
        *self.properties.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(found));
        Ok(Found { definitions, clock, choices })
    }

    async fn describe(&self, object: &str) -> Result<Answered<Properties>, Failure> {
        let path = format!("/crm/v3/properties/{object}");
        let listing = self.read(&path, &Request::get(""), Paid::in_lane(Lane::Fresh)).await;
        let listing: Answered<Listing> = listing.map_err(|failure| match failure.status {
            // So it answers about objects that it does not have.
            Some(400) => Failure { message: self.no_object(object), ..failure },
            _ => failure,
        })?;
        let by_name = listing.body.results.into_iter().map(|described| (described.name.clone(), described)).collect();
        Ok(Answered { body: by_name, clock: listing.clock })
    }

    /// Makes a property, or says that it will be made.
    async fn create(
        &self,
        name: &str,
        kind: FieldType,
        may_create: bool,
    ) -> Result<(Option<Property>, DefinitionState), Failure> {
        let (native, widget, spelling, holds) = match kind {
            FieldType::String => ("string", "text", Spelling::Text, Holds::Text),
            FieldType::Number => ("number", "number", Spelling::Text, Holds::Number),
            FieldType::Date => ("date", "date", Spelling::Date, Holds::Date),
            FieldType::Boolean => ("bool", "booleancheckbox", Spelling::Text, Holds::Boolean),
            FieldType::List => {
                let why = format!("HubSpot has no property `{name}`, and lists are not made: make it there");
                return Ok((None, DefinitionState::Unusable(why)));
            }
        };
        let is_name =
            |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
        if !name.chars().all(is_name) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            let why = format!(
                "HubSpot has no property `{name}`, and none can be called so: a name has small letters, digits and `_`"
            );
            return Ok((None, DefinitionState::Unusable(why)));
        }
        let max_chars = (holds == Holds::Text).then_some(TEXT_CHARS_MAX);
        let shape = FieldShape { holds, max_chars, writable: true, clearable: true, refuses_nul: true };
        if !may_create {
            return Ok((None, DefinitionState::ToCreate(shape)));
        }
        let mut body = json!({
            "name": name, "label": name, "groupName": self.create_in_group, "type": native, "fieldType": widget,
        });
        if kind == FieldType::Boolean {
            let option = |value: &str, label: &str| json!({ "value": value, "label": label, "displayOrder": 0 });
            body["options"] = json!([option("true", "Yes"), option("false", "No")]);
        }
        let path = format!("/crm/v3/properties/{}", self.object);
        match self.change(&path, &body, Paid::in_lane(Lane::Fresh)).await {
            Ok(_) => {
                let finds = native == "string";
                let property = Property { place: Place::Own(name.to_owned()), spelling, writable: true, finds };
                Ok((Some(property), DefinitionState::Created(shape)))
            }
            Err(failure) if failure.class == Class::Rejected && failure.status != Some(409) => {
                let why = format!(
                    "HubSpot did not make the property `{name}` (status {}); make it there, or correct `property_group` in \
                     [crm.{}]",
                    failure.status.unwrap_or_default(),
                    self.name
                );
                Ok((None, DefinitionState::Unusable(why)))
            }
            // Somebody else made it, or nobody knows: the next look tells.
            Err(failure) if failure.status == Some(409) || failure.may_have_happened => {
                Ok((None, DefinitionState::ToCreate(shape)))
            }
            Err(failure) => Err(failure),
        }
    }
}

fn usable(object: &str, name: &str, known: &Properties, place: Place) -> (Option<Property>, DefinitionState) {
    let Some(described) = known.get(name) else {
        let hint = meant(name, known.values().map(|known| (known.name.as_str(), known.label.as_str())));
        let hint = hint.map_or_else(String::new, |like| format!("; perhaps `{like}` is meant"));
        let why = format!(
            "HubSpot has no property `{name}` of {object}, or the token may not see it{hint}; correct the mapping's `crm` (the \
             internal name, not the label), or make the property"
        );
        return (None, DefinitionState::Unusable(why));
    };
    match described.property(place) {
        Some((property, shape)) => (Some(property), DefinitionState::Usable(shape)),
        None => {
            let why = format!(
                "`{name}` of {object} is of HubSpot's type {}, which is not supported; map a property of text, numbers, dates, \
                 booleans or choices",
                described.kind
            );
            (None, DefinitionState::Unusable(why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_show() {
        let value = |text: &str| Seen::Value(Value::text(text));
        for (spelling, text, seen) in [
            (Spelling::Text, Some("a"), value("a")),
            (Spelling::Text, Some(""), Seen::Absent),
            (Spelling::Text, None, Seen::Absent),
            (Spelling::Date, Some("2026-01-02"), value("2026-01-02")),
            (Spelling::Date, Some("1767312000000"), value("2026-01-02")),
            (Spelling::Instant, Some("2026-01-02T03:04:05.678Z"), value("2026-01-02T03:04:05.678Z")),
            (Spelling::Instant, Some("1767323045678"), value("2026-01-02T03:04:05.678Z")),
        ] {
            assert_eq!(spelling.seen(text), seen, "{spelling:?} {text:?}");
        }
    }
}
