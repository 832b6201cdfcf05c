//! Attributes: found by name once, then known by id; made where the mapping says so; never deleted or made anew.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use reqwest::Method;
use tokio::time::Instant;

use super::super::field::Field;
use super::super::paging::{Paging, Step};
use super::super::wire::{AttributeRow, Listing, NewAttribute, Object};
use super::super::{BigCommerce, Lane, PAGE_ROWS, Paid, explained};
use super::{Attributes, attribute_shape, attribute_type};
use crate::connector::End;
use crate::connector::names::nearest;
use crate::http::{Answer, Pay, Request};
use crate::model::{Class, Definition, DefinitionState, Failure, FieldType, Timestamp};

/// A store cannot have more attributes.
const ATTRIBUTES_MAX: usize = 50;

/// How long an attribute that was asked to be made may take to appear. Whether a name can be had twice is not documented:
/// meanwhile it is not asked for again.
const APPEARS_WITHIN: Duration = Duration::from_secs(120);

/// What the store defines, as one listing shows it.
struct Listed {
    rows: Vec<AttributeRow>,
    clock: Timestamp,
}

impl BigCommerce {
    /// Finds the definition of each attribute, and makes those that are missing if both the mapping and the caller allow.
    /// The listing tells the time, and whether the token is any good.
    pub(in super::super) async fn define_attributes(
        &self,
        known: &[Option<String>],
        may_create: bool,
    ) -> Result<(BTreeMap<usize, Definition>, Timestamp), Failure> {
        let Listed { mut rows, clock } = self.list_definitions().await?;
        let mut definitions: BTreeMap<usize, Definition> = BTreeMap::new();
        for (index, field, wanted) in self.fields.wanted() {
            let planned = definitions.values().filter(|one| matches!(one.state, DefinitionState::ToCreate(_))).count();
            let Field::Attribute(name) = field else { continue };
            let known = known.get(index).and_then(Option::as_deref);
            let definition = match found(&rows, name, wanted.kind, known) {
                Some(definition) => definition,
                None => self.missing((&mut rows, planned), name, wanted.kind, may_create).await?,
            };
            definitions.insert(index, definition);
        }
        let id_of = |definition: &Definition| match definition.state {
            DefinitionState::Usable(_) | DefinitionState::Renamed(..) | DefinitionState::Created(_) => {
                definition.id.as_deref().and_then(|id| id.parse().ok())
            }
            _ => None,
        };
        let by_field = (0..self.fields.len()).map(|field| definitions.get(&field).and_then(id_of)).collect();
        *self.attributes.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(Attributes::new(by_field)));
        Ok((definitions, clock))
    }

    async fn list_definitions(&self) -> Result<Listed, Failure> {
        let mut paging = Paging::default();
        let mut listed: Option<Listed> = None;
        loop {
            let query = format!("limit={PAGE_ROWS}{}", paging.query());
            let parse = |answer: &Answer| {
                let Object(listing) = answer.json::<Object<Listing<AttributeRow>>>()?;
                Ok((listing, answer.clock))
            };
            let endpoint = &self.endpoints.attributes;
            let (listing, clock) = self.read(endpoint, &query, Paid::in_lane(Lane::Fresh), parse).await?;
            let clock = clock.ok_or_else(|| self.undated(endpoint))?;
            let ids: Vec<u64> = listing.data.iter().map(|row| row.id).collect();
            let step = paging.turned(&ids, &listing.meta).map_err(|why| self.senseless(endpoint, why))?;
            let listed = listed.get_or_insert_with(|| Listed { rows: Vec::new(), clock });
            listed.rows.extend(listing.data);
            match step {
                Step::More => {}
                Step::Again => listed.rows.clear(),
                Step::End(End::Whole) => {
                    return Ok(Listed { rows: std::mem::take(&mut listed.rows), clock: listed.clock });
                }
                // One that was not seen would be taken for deleted, or made a second time.
                Step::End(End::Torn) => return Err(self.restless("attributes")),
            }
        }
    }

    /// What becomes of a field whose attribute the store does not have and never had; `planned` others are still to be made.
    async fn missing(
        &self,
        (rows, planned): (&mut Vec<AttributeRow>, usize),
        name: &str,
        kind: FieldType,
        may_create: bool,
    ) -> Result<Definition, Failure> {
        let state = if !self.create_attributes {
            let nearest = nearest(name, rows.iter().map(|row| row.name.as_str()));
            let nearest = nearest.map(|nearest| format!("; the nearest is `{nearest}`")).unwrap_or_default();
            DefinitionState::Unusable(format!(
                "the store has no attribute named `{name}`{nearest}; correct the mapping, create the attribute in \
                 BigCommerce, or set create_attributes = true"
            ))
        } else if rows.len() + planned >= ATTRIBUTES_MAX {
            DefinitionState::Unusable(format!(
                "the attribute `{name}` cannot be created: the store has {} attributes already, with those that are still to be \
                 created, and BigCommerce allows {ATTRIBUTES_MAX}; delete one that is not needed, or map an existing one",
                rows.len() + planned
            ))
        } else if name.chars().count() > 255 {
            DefinitionState::Unusable(
                "the attribute cannot be created: its name is longer than the 255 characters that BigCommerce allows"
                    .to_owned(),
            )
        } else if may_create && self.may_ask_for(name) {
            return self.create(rows, name, kind).await;
        } else {
            DefinitionState::ToCreate(attribute_shape(kind))
        };
        Ok(Definition { id: None, state })
    }

    /// Whether an attribute was not asked for a moment ago; now it is.
    fn may_ask_for(&self, name: &str) -> bool {
        let mut asked_for = self.asked_for.lock().unwrap_or_else(PoisonError::into_inner);
        asked_for.retain(|_, at| at.elapsed() < APPEARS_WITHIN);
        let free = !asked_for.contains_key(name);
        if free {
            asked_for.insert(name.to_owned(), Instant::now());
        }
        free
    }

    /// Makes one attribute, with one call that is never repeated: whatever it answers, a listing says what there is.
    async fn create(&self, rows: &mut Vec<AttributeRow>, name: &str, kind: FieldType) -> Result<Definition, Failure> {
        let wanted = [NewAttribute { name, kind: attribute_type(kind) }];
        let body = serde_json::to_vec(&wanted).map_err(|_unwritable| self.unwritable())?;
        let request = Request::change(Method::POST, "", Some(body));
        let endpoint = &self.endpoints.attribute_writes;
        let turn = self.caller.turn(endpoint, Pay::InTurn(Lane::Fresh)).await?;
        let refusal = match self.caller.send(turn, &request).await {
            Ok(_) => None,
            // It exists already, or was made although the answer was lost: the listing knows.
            Err(failure) if failure.class == Class::Rejected || failure.may_have_happened => Some(explained(failure)),
            Err(failure) => {
                self.asked_for.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
                return Err(explained(failure));
            }
        };
        *rows = self.list_definitions().await?.rows;
        match (found(rows, name, kind, None), refusal) {
            (Some(Definition { id, state: DefinitionState::Usable(shape) }), _) => {
                Ok(Definition { id, state: DefinitionState::Created(shape) })
            }
            (Some(unusable), _) => Ok(unusable),
            (None, Some(failure)) if failure.class != Class::Rejected => Err(failure),
            (None, Some(_)) => {
                let sentence = format!(
                    "BigCommerce refused to create the attribute `{name}`; create it in BigCommerce, or correct the \
                     mapping"
                );
                Ok(Definition { id: None, state: DefinitionState::Unusable(sentence) })
            }
            (None, None) => {
                let sentence = format!(
                    "BigCommerce says that it created the attribute `{name}`, but does not list it yet; it is looked \
                     for again"
                );
                Err(Failure::new(Class::Retry, sentence))
            }
        }
    }
}

/// The definition of an attribute field, or none where the store has none of that name and never had.
fn found(rows: &[AttributeRow], name: &str, kind: FieldType, known: Option<&str>) -> Option<Definition> {
    let named: Vec<&AttributeRow> = rows.iter().filter(|row| row.name == name).collect();
    let of = |row: &AttributeRow, renamed: bool| {
        let id = Some(row.id.to_string());
        let wanted = attribute_type(kind);
        let state = if row.kind != wanted {
            DefinitionState::Unusable(format!(
                "the attribute `{}` holds values of type {}, but the mapping says {} (which needs an attribute of type \
                 {wanted}); change `type` in the mapping, or map another attribute: an attribute's type cannot change",
                row.name,
                row.kind,
                kind.as_str()
            ))
        } else if renamed {
            DefinitionState::Renamed(attribute_shape(kind), row.name.clone())
        } else {
            DefinitionState::Usable(attribute_shape(kind))
        };
        Definition { id, state }
    };
    if let Some(known) = known {
        let row = rows.iter().find(|row| row.id.to_string() == known);
        let other = named.iter().find(|row| row.id.to_string() != known);
        let changed = |sentence: String| {
            // The remembered id stays: a person decides whether the new definition takes its place.
            Some(Definition { id: Some(known.to_owned()), state: DefinitionState::Changed(sentence) })
        };
        return match (row, other) {
            (Some(row), None) => Some(of(row, row.name != name)),
            (Some(row), Some(_)) if row.name == name => Some(duplicate(name)),
            (_, Some(other)) => changed(format!(
                "the name `{name}` now belongs to another attribute (id {} instead of {known}); nothing is written to \
                 it until someone decides",
                other.id
            )),
            (None, None) => changed(format!(
                "the attribute `{name}` (id {known}) has been deleted in BigCommerce, and its values with it; nothing is \
                 created in its place"
            )),
        };
    }
    match named.as_slice() {
        [] => None,
        [row] => Some(of(row, false)),
        _ => Some(duplicate(name)),
    }
}

fn duplicate(name: &str) -> Definition {
    let sentence = format!(
        "the store has several attributes named `{name}`; rename all but one in BigCommerce, so that the name says which"
    );
    Definition { id: None, state: DefinitionState::Unusable(sentence) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(u64, &str, &str)]) -> Vec<AttributeRow> {
        rows.iter()
            .map(|(id, name, kind)| AttributeRow { id: *id, name: (*name).to_owned(), kind: (*kind).to_owned() })
            .collect()
    }

    #[test]
    fn by_name_first_and_by_id_ever_after() {
        let listed = rows(&[(5, "Job title", "string"), (6, "Limit", "number")]);
        let shape = attribute_shape(FieldType::String);
        let usable = Definition { id: Some("5".to_owned()), state: DefinitionState::Usable(shape.clone()) };
        assert_eq!(found(&listed, "Job title", FieldType::String, None), Some(usable.clone()));
        assert_eq!(found(&listed, "Job title", FieldType::List, Some("5")), Some(usable));
        assert_eq!(found(&listed, "job title", FieldType::String, None), None, "names are exact");
        let renamed = found(&listed, "Title", FieldType::String, Some("5")).unwrap();
        assert_eq!(renamed.state, DefinitionState::Renamed(shape, "Job title".to_owned()));
        assert_eq!(renamed.id.as_deref(), Some("5"));
    }

    #[test]
    fn gone_or_replaced_is_changed_and_keeps_the_remembered_id() {
        let listed = rows(&[(9, "Job title", "string"), (5, "Old title", "string")]);
        for (name, known, says) in [
            ("Birthday", "4", "has been deleted"),
            ("Job title", "4", "another attribute"),
            ("Job title", "5", "another attribute"),
        ] {
            let definition = found(&listed, name, FieldType::String, Some(known)).unwrap();
            assert_eq!(definition.id.as_deref(), Some(known));
            assert!(matches!(&definition.state, DefinitionState::Changed(sentence) if sentence.contains(says)));
        }
    }

    #[test]
    fn another_type_or_a_second_of_the_name_cannot_be_used() {
        let listed = rows(&[(5, "Limit", "string"), (6, "Twice", "string"), (7, "Twice", "string")]);
        let unusable = |name, kind, known| match found(&listed, name, kind, known).unwrap().state {
            DefinitionState::Unusable(sentence) => sentence,
            other => panic!("{other:?}"),
        };
        let sentence = unusable("Limit", FieldType::Number, None);
        assert!(sentence.contains("type string") && sentence.contains("says number"), "{sentence}");
        assert_eq!(unusable("Limit", FieldType::Number, Some("5")), sentence);
        assert!(unusable("Twice", FieldType::String, None).contains("several attributes"));
        assert!(unusable("Twice", FieldType::String, Some("6")).contains("several attributes"));
    }
}
