//! Which fields a model has for us, and how Odoo spells their values in answers and in `load`.
//!
//! Empty text, dates and links are `false`; numbers and booleans have no empty state at all. A link (many2one) is named by
//! what it shows, or as `FIELD:id` by the number of the record; `LINK.FIELD` is a field of the linked record, read only.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Odoo;
use super::rpc::{Call, Protocol};
use crate::connector::Lane;
use crate::connector::names::meant;
use crate::connector::paid::Paid;
use crate::model::{Class, Definition, DefinitionState, Failure, FieldShape, Holds, Seen, Timestamp, Value as Text};

/// What is read of every record beside its fields.
pub(super) const WRITE_DATE: &str = "write_date";
/// The fields that tell archived records, of which a model has one if any: models made in Odoo itself have the second.
const ACTIVE: [&str; 2] = ["active", "x_active"];

/// A model as it was found.
pub(super) struct Model {
    /// One for each of the connector's fields.
    pub(super) fields: Vec<Field>,
    /// The links that dotted fields follow.
    pub(super) relations: Vec<Relation>,
    /// The field that tells archived records, where they can be archived.
    pub(super) active: Option<&'static str>,
}

/// What one field of the connector is here.
pub(super) enum Field {
    /// The record's own number.
    Key,
    /// A field of the model.
    Own(Column, FieldShape),
    /// A field of a record that is linked.
    Related { relation: usize, column: Column },
    /// Not there, or of a type that is not supported.
    Nowhere,
}

/// A link that dotted fields follow.
pub(super) struct Relation {
    /// The model's field: `parent_id`.
    pub(super) link: String,
    /// The linked model.
    pub(super) model: String,
}

/// A field of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) spelling: Spelling,
    /// Whether records can be found by its text: not where Odoo computes it as it is shown, nor by the words of a list.
    pub(super) finds: bool,
    /// Whether Odoo holds a text of it for each language.
    pub(super) is_translated: bool,
    /// The words that it takes, where it takes no others.
    pub(super) choices: Vec<String>,
}

/// How values are spelt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Text,
    Number,
    Boolean,
    Date,
    /// UTC, in whole seconds, without a zone.
    Instant,
    /// A link, by what the linked record of this model shows.
    LinkByName(String),
    /// A link, by the linked record's number.
    LinkById,
}

impl Column {
    /// What a value in an answer shows; unseen where it has a shape that the field's type does not have.
    pub(super) fn seen(&self, value: Option<&Value>) -> Seen {
        let Some(value) = value else { return Seen::Unseen };
        let text = match (&self.spelling, value) {
            (Spelling::Boolean, Value::Bool(value)) => value.to_string(),
            (_, Value::Bool(false) | Value::Null) => return Seen::Absent,
            (Spelling::Text | Spelling::Date, Value::String(text)) => text.clone(),
            (Spelling::Instant, Value::String(text)) => match instant(text) {
                Some(instant) => instant.to_string(),
                None => text.clone(),
            },
            // Rust's own display of a fraction has no exponent.
            (Spelling::Number, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => whole.to_string(),
                (None, Some(fraction)) => fraction.to_string(),
                (None, None) => return Seen::Unseen,
            },
            (Spelling::LinkByName(_), Value::Array(link)) => match link.get(1).and_then(Value::as_str) {
                Some(name) => name.to_owned(),
                None => return Seen::Unseen,
            },
            (Spelling::LinkById, Value::Array(link)) => match link.first().and_then(Value::as_i64) {
                Some(id) => id.to_string(),
                None => return Seen::Unseen,
            },
            _ => return Seen::Unseen,
        };
        if text.is_empty() { Seen::Absent } else { Seen::Value(Text::Text(text)) }
    }

    /// The column of `load` that writes it.
    pub(super) fn heading(&self) -> String {
        match self.spelling {
            Spelling::LinkByName(_) | Spelling::LinkById => format!("{}/.id", self.name),
            _ => self.name.clone(),
        }
    }

    /// The cell of `load` for a value; none clears. Links by name are found out before.
    pub(super) fn cell(&self, value: Option<&Text>) -> String {
        let text = value.map(Text::display).unwrap_or_default();
        match (&self.spelling, text.as_str()) {
            // A JSON `true` is no cell to `load`.
            (Spelling::Boolean, "true") => "1".to_owned(),
            (Spelling::Boolean, "false") => "0".to_owned(),
            (Spelling::Instant, day) if day.len() == "2026-01-02".len() => format!("{day} 00:00:00"),
            (Spelling::Instant, _) => Timestamp::parse(&text).map_or(text, odoo_time),
            _ => text,
        }
    }
}

/// `2026-01-02 03:04:05`, which is UTC.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    Timestamp::parse(&format!("{}Z", text.replacen(' ', "T", 1)))
}

/// An instant as Odoo writes and compares it: a zone would be refused.
pub(super) fn odoo_time(instant: Timestamp) -> String {
    instant.to_seconds_text().replace('T', " ").replace('Z', "")
}

/// What `fields_get` says of one field.
struct Described<'a> {
    name: &'a str,
    said: &'a Value,
}

impl Described<'_> {
    fn text(&self, key: &str) -> &str {
        self.said.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn is(&self, key: &str) -> bool {
        self.said.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The column and its shape; none where values of this type are not supported.
    fn column(&self, by_id: bool, may_write: bool) -> Option<(Column, FieldShape)> {
        let (spelling, holds) = match self.text("type") {
            "many2one" if by_id => (Spelling::LinkById, Holds::Integer),
            _ if by_id => return None,
            "many2one" => (Spelling::LinkByName(self.text("relation").to_owned()), Holds::Text),
            "char" | "text" | "selection" => (Spelling::Text, Holds::Text),
            "integer" => (Spelling::Number, Holds::Integer),
            "float" | "monetary" => (Spelling::Number, Holds::Number),
            "boolean" => (Spelling::Boolean, Holds::Boolean),
            "date" => (Spelling::Date, Holds::Date),
            "datetime" => (Spelling::Instant, Holds::Instant),
            _ => return None,
        };
        let has_empty = !matches!(spelling, Spelling::Number | Spelling::Boolean);
        let size = self.said.get("size").and_then(Value::as_u64).filter(|size| *size > 0);
        let ours = ![WRITE_DATE, "create_date", "id"].contains(&self.name);
        let shape = FieldShape {
            holds,
            max_chars: size.and_then(|size| u32::try_from(size).ok()),
            writable: may_write && ours && !self.is("readonly"),
            clearable: has_empty && !self.is("required"),
            refuses_nul: true,
        };
        let finds = ["char", "text"].contains(&self.text("type")) && self.is("searchable");
        let is_translated = spelling == Spelling::Text && self.is("translate");
        let words = self.said.get("selection").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let choices = words.iter().filter_map(|word| Some(word.get(0)?.as_str()?.to_owned())).collect();
        Some((Column { name: self.name.to_owned(), spelling, finds, is_translated, choices }, shape))
    }
}

/// The most names that a message lists.
const NAMES_LISTED_MAX: usize = 5;

impl Odoo {
    /// Finds the fields in the model, and in those that dotted fields lead to.
    pub(super) async fn find_fields(&self, protocol: Protocol) -> Result<(Model, Vec<Definition>, Timestamp), Failure> {
        let (said, clock) = self.describe(protocol, &self.model).await.map_err(|mut failure| {
            if failure.class == Class::Misconfigured && failure.code.is_some() {
                let (model, name) = (&self.model, &self.name);
                failure.message = format!("Odoo has no model `{model}`; correct `model` in [crm.{name}]");
            }
            failure
        })?;
        let may_write = self.may(protocol, "write").await?;
        let mut relations: Vec<Relation> = Vec::new();
        let mut linked: BTreeMap<&str, Result<Map<String, Value>, Failure>> = BTreeMap::new();
        let (mut fields, mut states) = (Vec::new(), Vec::new());
        for name in &self.names {
            let (field, state) = if name == "@key" {
                let shape = FieldShape { writable: false, clearable: false, ..FieldShape::TEXT };
                (Field::Key, DefinitionState::Usable(shape))
            } else if let Some((link, _)) = name.split_once('.') {
                if !linked.contains_key(link)
                    && let Some(model) = said.get(link).and_then(|said| said.get("relation")).and_then(Value::as_str)
                {
                    let described = match self.describe(protocol, model).await {
                        Ok((described, _)) => Ok(described),
                        Err(failure) if failure.class == Class::Retry => return Err(failure),
                        Err(failure) => Err(failure),
                    };
                    linked.insert(link, described);
                }
                self.related(name, &said, linked.get(link), &mut relations)
            } else {
                self.own(name, &said, may_write)
            };
            fields.push(field);
            states.push(state);
        }
        let definitions = states.into_iter().map(|state| Definition { id: None, state }).collect();
        let active = ACTIVE.into_iter().find(|name| said.contains_key(*name));
        Ok((Model { fields, relations, active }, definitions, clock))
    }

    fn own(&self, name: &str, said: &Map<String, Value>, may_write: bool) -> (Field, DefinitionState) {
        let (plain, by_id) = match name.split_once(':') {
            Some((plain, "id")) => (plain, true),
            _ => (name, false),
        };
        let Some(described) = said.get(plain) else { return self.missing(&self.model, plain, said) };
        let described = Described { name: plain, said: described };
        match described.column(by_id, may_write) {
            Some((column, shape)) => (Field::Own(column, shape.clone()), DefinitionState::Usable(shape)),
            None => self.unsupported(name, described.text("type")),
        }
    }

    fn related(
        &self,
        name: &str,
        said: &Map<String, Value>,
        linked: Option<&Result<Map<String, Value>, Failure>>,
        relations: &mut Vec<Relation>,
    ) -> (Field, DefinitionState) {
        let (link, field) = name.split_once('.').unwrap_or((name, ""));
        let Some(described) = said.get(link) else { return self.missing(&self.model, link, said) };
        let described = Described { name: link, said: described };
        if described.text("type") != "many2one" {
            let why = format!(
                "`{link}` of `{}` is no link to one record (its type is {}), so `{name}` leads nowhere; correct the \
                 mapping's `crm`",
                self.model,
                described.text("type")
            );
            return (Field::Nowhere, DefinitionState::Unusable(why));
        }
        let model = described.text("relation");
        let fields = match linked {
            Some(Ok(fields)) => fields,
            Some(Err(failure)) => {
                let why = format!("the fields of `{model}`, to which `{link}` leads: {failure}");
                return (Field::Nowhere, DefinitionState::Unusable(why));
            }
            None => return self.missing(model, field, &Map::new()),
        };
        let Some(described) = fields.get(field) else { return self.missing(model, field, fields) };
        let described = Described { name: field, said: described };
        let Some((column, shape)) = described.column(false, false) else {
            return self.unsupported(name, described.text("type"));
        };
        let known = relations.iter().position(|relation| relation.link == link);
        let relation = known.unwrap_or_else(|| {
            relations.push(Relation { link: link.to_owned(), model: model.to_owned() });
            relations.len() - 1
        });
        (Field::Related { relation, column }, DefinitionState::Usable(shape))
    }

    fn missing(&self, model: &str, name: &str, said: &Map<String, Value>) -> (Field, DefinitionState) {
        let label = |said: &'_ Value| said.get("string").and_then(Value::as_str).unwrap_or_default().to_owned();
        let labels: Vec<(&str, String)> = said.iter().map(|(name, said)| (name.as_str(), label(said))).collect();
        let hint = match meant(name, labels.iter().map(|(name, label)| (*name, label.as_str()))) {
            Some(like) => format!("; perhaps `{like}` is meant"),
            None => {
                let own: Vec<&str> = said
                    .keys()
                    .map(String::as_str)
                    .filter(|name| name.starts_with("x_"))
                    .take(NAMES_LISTED_MAX)
                    .collect();
                if own.is_empty() { String::new() } else { format!("; it has {}, for example", own.join(", ")) }
            }
        };
        let why = format!(
            "there is no field `{name}` in `{model}`, or this user may not see it{hint}; correct the mapping's `crm`, or \
             make the field in Odoo"
        );
        (Field::Nowhere, DefinitionState::Unusable(why))
    }

    fn unsupported(&self, name: &str, kind: &str) -> (Field, DefinitionState) {
        let why = format!(
            "`{name}` of `{}` is of type {kind}, which is not supported here; map a field of text, a selection, a number, \
             a date, a boolean or a link (`LINK` by name, `LINK:id` by number)",
            self.model
        );
        (Field::Nowhere, DefinitionState::Unusable(why))
    }

    /// Every field of a model that this user may see.
    async fn describe(&self, protocol: Protocol, model: &str) -> Result<(Map<String, Value>, Timestamp), Failure> {
        let attributes =
            ["type", "string", "readonly", "required", "relation", "size", "searchable", "translate", "selection"];
        let call = Call::new(model, "fields_get", json!({ "attributes": attributes }));
        let answered = self.ask(protocol, &call, Paid::in_lane(Lane::Fresh)).await?;
        match answered.result {
            Value::Object(fields) => Ok((fields, answered.clock)),
            _ => Err(self.senseless("fields_get")),
        }
    }

    /// Whether this user may do this with records of the model at all. Its rules may still forbid single ones.
    pub(super) async fn may(&self, protocol: Protocol, operation: &str) -> Result<bool, Failure> {
        let no_records: &[i64] = &[];
        let now =
            Call { ids: Some(no_records), ..Call::new(&self.model, "has_access", json!({ "operation": operation })) };
        let before_18 =
            Call::new(&self.model, "check_access_rights", json!({ "operation": operation, "raise_exception": false }));
        let mut refusal = None;
        for call in [now, before_18] {
            match self.ask(protocol, &call, Paid::in_lane(Lane::Fresh)).await {
                Ok(answered) => return answered.result.as_bool().ok_or_else(|| self.senseless(call.method)),
                Err(failure) if super::has_said_no(&failure) => refusal = Some(failure),
                Err(failure) => return Err(failure),
            }
        }
        Err(refusal.unwrap_or_else(|| self.senseless("has_access")))
    }

    /// An answer of a shape that the method does not have.
    pub(super) fn senseless(&self, method: &str) -> Failure {
        let why = format!(
            "the answer to `{method}` of `{}` has a shape that we do not understand; please report this as a defect of \
             Attune",
            self.model
        );
        Failure::new(Class::Broken, why).possibly_happened()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(spelling: Spelling) -> Column {
        Column { name: "x".to_owned(), spelling, finds: false, is_translated: false, choices: Vec::new() }
    }

    fn value(text: &str) -> Seen {
        Seen::Value(Text::text(text))
    }

    #[test]
    fn what_answers_show() {
        let link = || Spelling::LinkByName("res.country".to_owned());
        for (spelling, answer, seen) in [
            (Spelling::Text, json!("a"), value("a")),
            (Spelling::Text, json!(""), Seen::Absent),
            (Spelling::Text, json!(false), Seen::Absent),
            (Spelling::Text, json!(7), Seen::Unseen),
            (Spelling::Number, json!(0.0), value("0")),
            (Spelling::Number, json!(12.5), value("12.5")),
            (Spelling::Number, json!(1e20), value("100000000000000000000")),
            (Spelling::Number, json!(-3), value("-3")),
            (Spelling::Boolean, json!(false), value("false")),
            (Spelling::Boolean, json!(true), value("true")),
            (Spelling::Date, json!("2026-01-02"), value("2026-01-02")),
            (Spelling::Instant, json!("2026-01-02 03:04:05"), value("2026-01-02T03:04:05Z")),
            (link(), json!([57, "Germany"]), value("Germany")),
            (link(), json!(false), Seen::Absent),
            (Spelling::LinkById, json!([57, "Germany"]), value("57")),
        ] {
            assert_eq!(column(spelling.clone()).seen(Some(&answer)), seen, "{spelling:?} {answer}");
        }
        assert_eq!(column(Spelling::Text).seen(None), Seen::Unseen);
    }

    #[test]
    fn what_load_is_given() {
        for (spelling, text, cell) in [
            (Spelling::Text, Some(" a "), " a "),
            (Spelling::Text, None, ""),
            (Spelling::Boolean, Some("true"), "1"),
            (Spelling::Boolean, Some("false"), "0"),
            (Spelling::Instant, Some("2026-01-02T03:04:05Z"), "2026-01-02 03:04:05"),
            (Spelling::Instant, Some("2026-01-02T03:04:05.678Z"), "2026-01-02 03:04:05"),
            (Spelling::Instant, Some("2026-01-02"), "2026-01-02 00:00:00"),
            (Spelling::Date, Some("2026-01-02"), "2026-01-02"),
            (Spelling::Number, Some("12.5"), "12.5"),
        ] {
            assert_eq!(column(spelling.clone()).cell(text.map(Text::text).as_ref()), cell, "{spelling:?} {text:?}");
        }
        assert_eq!(column(Spelling::LinkById).heading(), "x/.id");
        assert_eq!(column(Spelling::Date).heading(), "x");
    }
}
