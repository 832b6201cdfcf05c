//! Which fields a model has for us: its own, those of linked records, and the contact mechanisms of a party.
//!
//! A link (many2one) is named by what it shows, or as `FIELD:id` by the number of the record; `LINK.FIELD` is a field of the
//! linked record, read only; `contact_mechanism:TYPE` is the first mechanism of that type.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Tryton;
use super::rpc::{Call, is_refusal};
use super::states::always;
use super::values::{Column, Spelling};
use crate::connector::Lane;
use crate::connector::names::nearest;
use crate::connector::paid::Paid;
use crate::model::{Class, Definition, DefinitionState, Failure, FieldShape, Holds, Seen, Timestamp, Value as Text};

/// When a record was last written; on servers before version 8, none for one that was only created.
pub(super) const WRITE_DATE: &str = "write_date";
pub(super) const CREATE_DATE: &str = "create_date";
/// What a conditional write compares.
pub(super) const STAMP: &str = "_timestamp";
pub(super) const ACTIVE: &str = "active";
/// The party that a merged one was merged into.
pub(super) const REPLACED_BY: &str = "replaced_by";
/// What a linked record is called.
pub(super) const CALLED: &str = "rec_name";

/// How the names of contact mechanisms begin.
const MECHANISM: &str = "contact_mechanism:";
/// The field of a party that has them.
const MECHANISMS: &str = "contact_mechanisms";

/// A model as it was found.
pub(super) struct Model {
    /// One for each of the connector's fields.
    pub(super) fields: Vec<Field>,
    /// The links that fields follow.
    pub(super) relations: Vec<Relation>,
    /// Where contact mechanisms are; none where no field is one.
    pub(super) mechanisms: Option<Mechanisms>,
    /// Whether records can be archived.
    pub(super) has_active: bool,
    /// Whether records can be merged.
    pub(super) has_replaced_by: bool,
}

/// What one field of the connector is here.
pub(super) enum Field {
    /// The record's own number.
    Key,
    /// A field of the model.
    Own(Column, FieldShape),
    /// A field of a record that is linked.
    Related { relation: usize, column: Column },
    /// The value of the first contact mechanism of this type.
    Mechanism { kind: String, shape: FieldShape },
    /// Not there, or of a type that is not supported.
    Nowhere,
}

impl Field {
    /// Whether it can be written.
    pub(super) const fn is_writable(&self) -> bool {
        matches!(self, Self::Own(_, shape) | Self::Mechanism { shape, .. } if shape.writable)
    }
}

/// A link that fields follow.
pub(super) struct Relation {
    /// The model's field: `lang`.
    pub(super) link: String,
    /// The linked model.
    pub(super) model: String,
    /// Whether records can be searched by what they link to: not where the link is computed.
    pub(super) is_searchable: bool,
}

/// The contact mechanisms of a model.
pub(super) struct Mechanisms {
    /// The field that has them.
    pub(super) link: &'static str,
    /// Their model.
    pub(super) model: String,
    /// Their field that names the record.
    pub(super) owner: String,
}

/// What the user may do with records of each model; single fields and records may still be forbidden.
pub(super) struct May(Map<String, Value>);

impl May {
    fn is(&self, model: &str, right: &str) -> bool {
        let right = self.0.get(model).and_then(|rights| rights.get(right));
        Spelling::Boolean.seen(right) == Seen::Value(Text::text("true"))
    }

    pub(super) fn read(&self, model: &str) -> bool {
        self.is(model, "read")
    }

    pub(super) fn write(&self, model: &str) -> bool {
        self.is(model, "write")
    }

    pub(super) fn create(&self, model: &str) -> bool {
        self.is(model, "create")
    }

    pub(super) fn delete(&self, model: &str) -> bool {
        self.is(model, "delete")
    }
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

    /// Whether saved records have it so.
    fn is_always(&self, state: &str) -> bool {
        self.is(state) || always(self.said.get("states"), state)
    }

    fn shape(&self, spelling: Spelling, holds: Holds, may_write: bool) -> FieldShape {
        let size = self.said.get("size").and_then(Value::as_u64).filter(|size| *size > 0);
        let ours = ![WRITE_DATE, CREATE_DATE, "id"].contains(&self.name);
        FieldShape {
            holds,
            max_chars: size.and_then(|size| u32::try_from(size).ok()),
            writable: may_write && ours && !self.is_always("readonly"),
            clearable: spelling != Spelling::Boolean && !self.is_always("required"),
            refuses_nul: true,
        }
    }
}

/// The most names that a message lists.
const NAMES_LISTED_MAX: usize = 5;

/// What was found while the names are gone through.
struct Found<'a> {
    said: &'a Map<String, Value>,
    may: May,
    /// The fields of linked models, or why they are not known.
    linked: BTreeMap<String, Result<Map<String, Value>, Failure>>,
    relations: Vec<Relation>,
}

impl Found<'_> {
    fn relation(&mut self, link: &str, model: &str) -> usize {
        let known = self.relations.iter().position(|relation| relation.link == link);
        known.unwrap_or_else(|| {
            let said = self.said.get(link).and_then(|said| said.get("searchable"));
            let is_searchable = said.and_then(Value::as_bool).unwrap_or(true);
            self.relations.push(Relation { link: link.to_owned(), model: model.to_owned(), is_searchable });
            self.relations.len() - 1
        })
    }

    fn model_of(&self, link: &str) -> &str {
        self.said.get(link).and_then(|said| said.get("relation")).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Tryton {
    /// Finds the fields in the model, and in those that links lead to.
    pub(super) async fn find_fields(
        &self,
        context: &Map<String, Value>,
    ) -> Result<(Model, Vec<Definition>, Timestamp), Failure> {
        let (said, clock) = self.describe(context, &self.model).await.map_err(|mut failure| {
            if is_refusal(&failure) {
                let (model, name) = (&self.model, &self.name);
                failure.class = Class::Misconfigured;
                failure.message = format!(
                    "Tryton has no model `{model}`, or its module is not activated; correct `model` in [crm.{name}]"
                );
            }
            failure
        })?;
        let mut found = Found { said: &said, may: May(Map::new()), linked: BTreeMap::new(), relations: Vec::new() };
        // All models that may be needed, and what the user may do there.
        let mut models = vec![self.model.as_str()];
        let links = self.names.iter().map(|name| name.split(['.', ':']).next().unwrap_or_default());
        for link in links.chain([MECHANISMS]) {
            let model =
                said.get(link).and_then(|said| said.get("relation")).and_then(Value::as_str).unwrap_or_default();
            if !model.is_empty() && !models.contains(&model) {
                models.push(model);
            }
        }
        found.may = self.may(context, &models).await?;
        if !found.may.read(&self.model) {
            return Err(self.forbidden());
        }
        for model in &models[1..] {
            let described = match self.describe(context, model).await {
                Ok((described, _)) => Ok(described),
                Err(failure) if is_refusal(&failure) => Err(failure),
                Err(failure) => return Err(failure),
            };
            found.linked.insert((*model).to_owned(), described);
        }
        let (mut fields, mut states) = (Vec::new(), Vec::new());
        for name in &self.names {
            let (field, state) = if name == "@key" {
                let shape = FieldShape { writable: false, clearable: false, ..FieldShape::TEXT };
                (Field::Key, DefinitionState::Usable(shape))
            } else if let Some(kind) = name.strip_prefix(MECHANISM) {
                self.mechanism(kind, &found)
            } else if name.contains('.') {
                self.related(name, &mut found)
            } else {
                self.own(name, &mut found)
            };
            fields.push(field);
            states.push(state);
        }
        let has_mechanisms = fields.iter().any(|field| matches!(field, Field::Mechanism { .. }));
        let text = |key: &str| said.get(MECHANISMS)?.get(key)?.as_str().map(str::to_owned);
        let mechanisms = text("relation").filter(|_| has_mechanisms).map(|model| Mechanisms {
            link: MECHANISMS,
            model,
            owner: text("relation_field").unwrap_or_else(|| "party".to_owned()),
        });
        let model = Model {
            fields,
            relations: found.relations,
            mechanisms,
            has_active: said.contains_key(ACTIVE),
            has_replaced_by: said.contains_key(REPLACED_BY),
        };
        let definitions = states.into_iter().map(|state| Definition { id: None, state }).collect();
        Ok((model, definitions, clock))
    }

    fn own(&self, name: &str, found: &mut Found<'_>) -> (Field, DefinitionState) {
        let (plain, by_id) = match name.split_once(':') {
            Some((plain, "id")) => (plain, true),
            _ => (name, false),
        };
        let Some(said) = found.said.get(plain) else { return self.missing(&self.model, plain, found.said) };
        let described = Described { name: plain, said };
        let kinds = kinds_of(found);
        if kinds.contains(&plain) && !said.get("searchable").and_then(Value::as_bool).unwrap_or(false) {
            let why = format!(
                "`{plain}` of `{}` is computed from its contact mechanisms and cannot be written, and a change of them does \
                 not show in it; map `{MECHANISM}{plain}`",
                self.model
            );
            return (Field::Nowhere, DefinitionState::Unusable(why));
        }
        let kind = described.text("type");
        let spelt = match kind {
            "many2one" if by_id => Some((Spelling::LinkById, Holds::Integer)),
            _ if by_id => None,
            "many2one" => {
                let model = found.model_of(plain).to_owned();
                if !found.may.read(&model) {
                    return self.unreadable_link(name, &model);
                }
                Some((Spelling::LinkByName(found.relation(plain, &model)), Holds::Text))
            }
            kind => Spelling::of(kind),
        };
        let Some((spelling, holds)) = spelt else { return self.unsupported(name, kind) };
        let shape = described.shape(spelling, holds, found.may.write(&self.model));
        let finds = ["char", "text"].contains(&kind) && described.is("searchable");
        let column = Column { name: plain.to_owned(), spelling, finds };
        (Field::Own(column, shape.clone()), DefinitionState::Usable(shape))
    }

    fn related(&self, name: &str, found: &mut Found<'_>) -> (Field, DefinitionState) {
        let (link, field) = name.split_once('.').unwrap_or((name, ""));
        let Some(said) = found.said.get(link) else { return self.missing(&self.model, link, found.said) };
        let described = Described { name: link, said };
        let kind = described.text("type");
        if kind != "many2one" {
            let why = format!(
                "`{link}` of `{}` is no link to one record (its type is {kind}), so `{name}` leads nowhere; correct the \
                 mapping's `crm`",
                self.model
            );
            return (Field::Nowhere, DefinitionState::Unusable(why));
        }
        let model = found.model_of(link).to_owned();
        if !found.may.read(&model) {
            return self.unreadable_link(name, &model);
        }
        let fields = match found.linked.get(&model) {
            Some(Ok(fields)) => fields,
            Some(Err(failure)) => {
                let why = format!("the fields of `{model}`, to which `{link}` leads: {failure}");
                return (Field::Nowhere, DefinitionState::Unusable(why));
            }
            // A record that links to one of its own kind.
            None => found.said,
        };
        let Some(said) = fields.get(field) else { return self.missing(&model, field, fields) };
        let described = Described { name: field, said };
        let kind = described.text("type");
        let Some((spelling, holds)) = Spelling::of(kind) else { return self.unsupported(name, kind) };
        let shape = described.shape(spelling, holds, false);
        let relation = found.relation(link, &model);
        let column = Column { name: field.to_owned(), spelling, finds: false };
        (Field::Related { relation, column }, DefinitionState::Usable(shape))
    }

    fn mechanism(&self, kind: &str, found: &Found<'_>) -> (Field, DefinitionState) {
        let unusable = |why: String| (Field::Nowhere, DefinitionState::Unusable(why));
        let model = found.model_of(MECHANISMS);
        let fields = match found.linked.get(model) {
            Some(Ok(fields)) if found.may.read(model) => fields,
            Some(_) => return self.unreadable_link(&format!("{MECHANISM}{kind}"), model),
            None => {
                return unusable(format!(
                    "`{}` has no contact mechanisms; correct the mapping's `crm`, or `model`",
                    self.model
                ));
            }
        };
        let kinds = kinds_of(found);
        if !kinds.contains(&kind) {
            let hint = match nearest(kind, kinds.iter().copied()) {
                Some(like) => format!("did you mean `{MECHANISM}{like}`?"),
                None => format!("there are {}", kinds.join(", ")),
            };
            return unusable(format!("there is no type `{kind}` of contact mechanisms; {hint}"));
        }
        let may = &found.may;
        let all = may.write(&self.model) && may.write(model) && may.create(model);
        let shape =
            FieldShape { writable: all, clearable: fields.contains_key(ACTIVE), refuses_nul: true, ..FieldShape::TEXT };
        (Field::Mechanism { kind: kind.to_owned(), shape: shape.clone() }, DefinitionState::Usable(shape))
    }

    fn missing(&self, model: &str, name: &str, said: &Map<String, Value>) -> (Field, DefinitionState) {
        let hint = match nearest(name, said.keys().map(String::as_str)) {
            Some(like) => format!("; did you mean `{like}`?"),
            None => {
                let some: Vec<&str> = said.keys().map(String::as_str).take(NAMES_LISTED_MAX).collect();
                if some.is_empty() { String::new() } else { format!("; it has {}, for example", some.join(", ")) }
            }
        };
        let why = format!(
            "there is no field `{name}` in `{model}`, or this user may not see it{hint}; correct the mapping's `crm`, or \
             make the field in a module of Tryton"
        );
        (Field::Nowhere, DefinitionState::Unusable(why))
    }

    fn unsupported(&self, name: &str, kind: &str) -> (Field, DefinitionState) {
        let why = format!(
            "`{name}` of `{}` is of type {kind}, which is not supported here; map a field of text, a selection, a number, \
             a date, a boolean, a link (`LINK` by name, `LINK:id` by number) or `{MECHANISM}TYPE`",
            self.model
        );
        (Field::Nowhere, DefinitionState::Unusable(why))
    }

    fn unreadable_link(&self, name: &str, model: &str) -> (Field, DefinitionState) {
        let why = format!(
            "`{name}` needs the right to read `{model}`, which this user does not have; give it to the user's group"
        );
        (Field::Nowhere, DefinitionState::Unusable(why))
    }

    /// Every field of a model that this user may see.
    async fn describe(
        &self,
        context: &Map<String, Value>,
        model: &str,
    ) -> Result<(Map<String, Value>, Timestamp), Failure> {
        let call = Call::new(model, "fields_get", json!([[]]));
        let answered = self.ask(context, &call, Paid::in_lane(Lane::Fresh)).await?;
        match answered.result {
            Value::Object(fields) => Ok((fields, answered.clock)),
            _ => Err(self.senseless("fields_get")),
        }
    }

    /// What this user may do with records of these models.
    pub(super) async fn may(&self, context: &Map<String, Value>, models: &[&str]) -> Result<May, Failure> {
        let call = Call::new("ir.model.access", "get_access", json!([models]));
        match self.ask(context, &call, Paid::in_lane(Lane::Fresh)).await?.result {
            Value::Object(rights) => Ok(May(rights)),
            _ => Err(self.senseless("get_access")),
        }
    }
}

/// The types of contact mechanisms.
fn kinds_of<'a>(found: &'a Found<'_>) -> Vec<&'a str> {
    let Some(Ok(fields)) = found.linked.get(found.model_of(MECHANISMS)) else { return Vec::new() };
    let selection = fields.get("type").and_then(|said| said.get("selection")).and_then(Value::as_array);
    selection.into_iter().flatten().filter_map(|pair| pair.get(0)?.as_str()).collect()
}
