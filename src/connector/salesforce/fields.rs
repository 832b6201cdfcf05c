//! Which fields an object has for us, how Salesforce spells their values, and ids of 15 and 18 characters.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Number, Value, json};

use super::Salesforce;
use super::api::{Answered, DATA};
use crate::connector::Lane;
use crate::connector::names::meant;
use crate::connector::paid::Paid;
use crate::model::{Class, Definition, DefinitionState, Failure, FieldShape, Holds, Seen, Timestamp, Value as Text};

/// An object as it was found.
pub(super) struct Object {
    /// One for each of the connector's fields; none where it cannot be used.
    pub(super) fields: Vec<Option<Field>>,
    /// The relationships that dotted fields follow, each once.
    pub(super) relationships: Vec<String>,
    /// Whether merged rows name the record that carries on.
    pub(super) names_master: bool,
    /// The user that we are, for questions about rights.
    pub(super) user: String,
    /// The field that holds the token of a creation, as Salesforce spells it.
    pub(super) external_id: Option<String>,
}

/// What a look at the object found for whoever prepares.
pub(super) struct Found {
    pub(super) definitions: Vec<Definition>,
    pub(super) clock: Timestamp,
    /// As [`crate::connector::Prepared::choices`]: of restricted picklists.
    pub(super) choices: Vec<(usize, Vec<String>)>,
}

/// One field of the connector, as it was found.
pub(super) struct Field {
    /// As SOQL names it: `Title`, `Account.X__c`; `Id` for the key.
    pub(super) path: String,
    pub(super) spelling: Spelling,
    pub(super) writable: bool,
    /// Whether a new record can be given a value of it.
    pub(super) creatable: bool,
    /// Whether records can be found by it, whatever the case of its letters: not by long texts, by choices, or where it is told
    /// apart.
    pub(super) finds: bool,
}

impl Field {
    /// The relationship that it is behind.
    pub(super) fn relationship(&self) -> Option<&str> {
        self.path.split_once('.').map(|(relationship, _)| relationship)
    }
}

/// How values are spelt in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Text,
    Number,
    Boolean,
    /// `2026-01-02T03:04:05.000+0000`.
    Instant,
    /// 15 characters are the same as 18.
    Id,
}

impl Spelling {
    /// What a value in an answer shows; unseen where it has a shape that the field's type does not have.
    pub(super) fn seen(self, value: Option<&Value>) -> Seen {
        let text = match (self, value) {
            (_, None) => return Seen::Unseen,
            (_, Some(Value::Null)) => return Seen::Absent,
            (Self::Text, Some(Value::String(text))) => text.clone(),
            (Self::Id, Some(Value::String(text))) => id18(text),
            (Self::Instant, Some(Value::String(text))) => {
                instant(text).map_or_else(|| text.clone(), |instant| instant.to_string())
            }
            (Self::Boolean, Some(Value::Bool(value))) => value.to_string(),
            // Rust's own display of a fraction has no exponent.
            (Self::Number, Some(Value::Number(number))) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => whole.to_string(),
                (None, Some(fraction)) => fraction.to_string(),
                (None, None) => return Seen::Unseen,
            },
            _ => return Seen::Unseen,
        };
        if text.is_empty() { Seen::Absent } else { Seen::Value(Text::Text(text)) }
    }

    /// A value as it is sent; none clears.
    pub(super) fn json(self, value: Option<&Text>) -> Value {
        let Some(text) = value.map(Text::display) else { return Value::Null };
        match self {
            Self::Boolean => json!(text == "true"),
            // As it is written, to the last digit that JSON numbers here can have.
            Self::Number => text
                .parse::<i64>()
                .map(Number::from)
                .ok()
                .or_else(|| Number::from_f64(text.parse().ok()?))
                .map_or(json!(text), Value::Number),
            Self::Instant => json!(Timestamp::parse(&text).map_or(text, |instant| instant.to_string())),
            Self::Id => json!(id18(&text)),
            Self::Text => json!(text),
        }
    }
}

/// `2026-01-02T03:04:05.000+0000`, whose zone has no colon.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    match text.strip_suffix("+0000") {
        Some(utc) => Timestamp::parse(&format!("{utc}Z")),
        None => Timestamp::parse(text),
    }
}

/// An id of 18 characters for one of 15: three letters more, that tell which letters are large. Anything else stays as it is.
pub(super) fn id18(id: &str) -> String {
    if id.len() != 15 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    let check = id.as_bytes().chunks(5).map(|part| {
        let bits = part.iter().enumerate().filter(|(_, byte)| byte.is_ascii_uppercase()).map(|(at, _)| 1_usize << at);
        char::from(LETTERS[bits.sum::<usize>()])
    });
    id.chars().chain(check).collect()
}

#[derive(Deserialize)]
struct Description {
    fields: Vec<Described>,
    #[serde(default)]
    updateable: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    name: String,
    #[serde(default)]
    label: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    length: u32,
    #[serde(default)]
    updateable: bool,
    #[serde(default)]
    createable: bool,
    #[serde(default)]
    external_id: bool,
    #[serde(default)]
    nillable: bool,
    #[serde(default)]
    filterable: bool,
    #[serde(default)]
    case_sensitive: bool,
    #[serde(default)]
    restricted_picklist: bool,
    #[serde(default)]
    picklist_values: Vec<Choice>,
    relationship_name: Option<String>,
    #[serde(default)]
    reference_to: Vec<String>,
}

/// One of the words of a picklist.
#[derive(Deserialize)]
struct Choice {
    value: String,
    #[serde(default)]
    active: bool,
}

impl Described {
    fn field(&self, path: String, may_write: bool) -> Option<(Field, FieldShape)> {
        let (spelling, holds) = match self.kind.as_str() {
            "string" | "textarea" | "picklist" | "multipicklist" | "combobox" | "email" | "phone" | "url"
            | "encryptedstring" | "date" | "time" => (Spelling::Text, Holds::Text),
            "int" | "long" => (Spelling::Number, Holds::Integer),
            "double" | "currency" | "percent" => (Spelling::Number, Holds::Number),
            "boolean" => (Spelling::Boolean, Holds::Boolean),
            "datetime" => (Spelling::Instant, Holds::Instant),
            "reference" | "id" => (Spelling::Id, Holds::Text),
            _ => return None,
        };
        let holds = if self.kind == "date" { Holds::Date } else { holds };
        let writable = may_write && self.updateable;
        let max_chars = (holds == Holds::Text && self.length > 0).then_some(self.length);
        let clearable = writable && self.nillable && spelling != Spelling::Boolean;
        let shape = FieldShape { holds, max_chars, writable, clearable, refuses_nul: true };
        let is_text = ["string", "textarea", "email", "phone", "url"].contains(&self.kind.as_str());
        let finds = is_text && self.filterable && !self.case_sensitive && !path.contains('.');
        let creatable = self.createable && !path.contains('.');
        Some((Field { path, spelling, writable, creatable, finds }, shape))
    }
}

impl Salesforce {
    /// Finds the fields in the object, and in those that dotted fields lead to.
    pub(super) async fn find_fields(&self, user: String) -> Result<(Object, Found), Failure> {
        let Answered { body: object, clock } = self.describe(&self.object).await?;
        let mut others: HashMap<String, Description> = HashMap::new();
        let (mut fields, mut definitions, mut relationships) = (Vec::new(), Vec::new(), Vec::new());
        for name in &self.names {
            let found = if name == "@key" {
                let shape = FieldShape { writable: false, clearable: false, ..FieldShape::TEXT };
                Ok((
                    Field {
                        path: "Id".to_owned(),
                        spelling: Spelling::Id,
                        writable: false,
                        creatable: false,
                        finds: true,
                    },
                    shape,
                ))
            } else if let Some((relationship, field)) = name.split_once('.') {
                let named = |described: &&Described| {
                    described.relationship_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(relationship))
                };
                match object.fields.iter().find(named).map(|described| &described.reference_to[..]) {
                    Some([target]) => {
                        if !others.contains_key(target) {
                            match self.describe(target).await {
                                Ok(answered) => drop(others.insert(target.clone(), answered.body)),
                                Err(failure) if matches!(failure.class, Class::Auth | Class::Misconfigured) => {}
                                Err(failure) => return Err(failure),
                            }
                        }
                        match others.get(target) {
                            Some(other) => found_in(target, field, name, other, false),
                            None => Err(format!("the user may not see `{target}`, to which `{relationship}` leads")),
                        }
                    }
                    _ => Err(format!("`{relationship}` of `{}` leads to no one object", self.object)),
                }
            } else {
                found_in(&self.object, name, name, &object, object.updateable)
            };
            let (field, state) = match found {
                Ok((field, shape)) => {
                    if let Some(relationship) = field.relationship()
                        && !relationships.iter().any(|known| known == relationship)
                    {
                        relationships.push(relationship.to_owned());
                    }
                    (Some(field), DefinitionState::Usable(shape))
                }
                Err(why) => (
                    None,
                    DefinitionState::Unusable(format!("{why}; correct the mapping's `crm`, or the user's rights")),
                ),
            };
            fields.push(field);
            definitions.push(Definition { id: None, state });
        }
        let external_id = self.external_id.as_deref().map(|name| self.external_id_in(name, &object)).transpose()?;
        let names_master = object.fields.iter().any(|described| described.name == "MasterRecordId");
        let choices = self.names.iter().enumerate().filter_map(|(index, name)| {
            let described = object.fields.iter().find(|described| described.name.eq_ignore_ascii_case(name))?;
            let words = described.picklist_values.iter().filter(|choice| choice.active);
            described.restricted_picklist.then(|| (index, words.map(|choice| choice.value.clone()).collect()))
        });
        let found = Found { definitions, clock, choices: choices.collect() };
        Ok((Object { fields, relationships, names_master, user, external_id }, found))
    }

    /// The field that is to hold the tokens of creations.
    fn external_id_in(&self, name: &str, object: &Description) -> Result<String, Failure> {
        let found = object.fields.iter().find(|described| described.name.eq_ignore_ascii_case(name));
        let wrong = match found {
            None => "is not there, or the user may not see it",
            Some(found) if !found.external_id || found.kind != "string" => "is no external id of text",
            Some(found) if !found.createable => "may not be set by the user",
            Some(found) => return Ok(found.name.clone()),
        };
        let why = format!(
            "`{name}` of `{}` of Salesforce {wrong}; correct `external_id` in [crm.{}], or the field",
            self.object, self.name
        );
        Err(Failure::new(Class::Misconfigured, why))
    }

    async fn describe(&self, object: &str) -> Result<Answered<Description>, Failure> {
        self.read(&format!("{DATA}/sobjects/{object}/describe"), "", Paid::in_lane(Lane::Fresh)).await
    }
}

/// A field of an object by its API name, whose case does not matter.
fn found_in(
    object: &str,
    field: &str,
    path: &str,
    description: &Description,
    may_write: bool,
) -> Result<(Field, FieldShape), String> {
    let Some(described) = description.fields.iter().find(|described| described.name.eq_ignore_ascii_case(field)) else {
        let hint = meant(field, description.fields.iter().map(|known| (known.name.as_str(), known.label.as_str())));
        let hint = hint.map_or_else(String::new, |like| format!("; perhaps `{like}` is meant"));
        return Err(format!(
            "there is no field `{field}` in `{object}` of Salesforce, or the user may not see it{hint}"
        ));
    };
    // As Salesforce spells it: answers are looked up by it.
    let path = match path.split_once('.') {
        Some((relationship, _)) => format!("{relationship}.{}", described.name),
        None => described.name.clone(),
    };
    described.field(path, may_write).ok_or_else(|| {
        format!("`{field}` of `{object}` is of Salesforce's type {}, which is not supported", described.kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_15_characters_are_those_of_18() {
        for (short, long) in
            [("001A0000006Vm9r", "001A0000006Vm9rIAC"), ("003000000000000", "003000000000000AAA"), ("x", "x")]
        {
            assert_eq!(id18(short), long);
            assert_eq!(id18(long), long);
        }
    }

    #[test]
    fn what_answers_show_and_what_is_sent() {
        let value = |text: &str| Seen::Value(Text::text(text));
        for (spelling, answer, seen) in [
            (Spelling::Text, json!("a"), value("a")),
            (Spelling::Text, json!(null), Seen::Absent),
            (Spelling::Text, json!(7), Seen::Unseen),
            (Spelling::Number, json!(12.5), value("12.5")),
            (Spelling::Number, json!(3.0), value("3")),
            (Spelling::Boolean, json!(false), value("false")),
            (Spelling::Instant, json!("2026-01-02T03:04:05.000+0000"), value("2026-01-02T03:04:05Z")),
            (Spelling::Id, json!("001A0000006Vm9r"), value("001A0000006Vm9rIAC")),
        ] {
            assert_eq!(spelling.seen(Some(&answer)), seen, "{spelling:?} {answer}");
        }
        for (spelling, text, sent) in [
            (Spelling::Text, "a", json!("a")),
            (Spelling::Number, "12.5", json!(12.5)),
            (Spelling::Number, "3", json!(3)),
            (Spelling::Boolean, "true", json!(true)),
            (Spelling::Instant, "2026-01-02T03:04:05Z", json!("2026-01-02T03:04:05Z")),
        ] {
            assert_eq!(spelling.json(Some(&Text::text(text))), sent, "{spelling:?} {text}");
            assert_eq!(spelling.json(None), Value::Null);
        }
    }
}
