//! Form fields: what a shopper enters at sign-up, by the names that the merchant gave. They have no definitions to ask for,
//! no ids and no dates: that one exists is known only from a customer who has a value in it.
//!
//! A form field that nobody has a value in any more was renamed or deleted, as far as anybody can tell: its values are then
//! unseen, never absent, so that a new name is not taken for a thousand clears. Whether a call replaces all of a customer's
//! form fields or only those that it names is not documented: all are sent, those that change with their new values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use super::field::Field;
use super::read::CustomersPage;
use super::wire::{FormFieldRow, Listing, Object, Shown, optional_number};
use super::{BigCommerce, PAGE_ROWS, Paid};
use crate::http::{Answer, encoded};
use crate::model::{
    Cell, Class, Definition, DefinitionState, Failure, FieldShape, FieldType, Holds, Outcome, Seen, Value, Write,
};

/// For so long somebody who has a value in a form field proves that it exists.
const PROVEN_FOR: Duration = Duration::from_secs(60);

/// What is known of the mapped form fields, by their place among the connector's fields.
#[derive(Debug, Default)]
pub(super) struct FormFields(Mutex<BTreeMap<usize, Known>>);

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// How its values are stored; none: nobody had one.
    stored: Option<Stored>,
    /// Somebody had a value once: that nobody has is news.
    was_held: bool,
    proven: Option<Instant>,
}

/// How BigCommerce stores the values of a form field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Text,
    Number,
    List,
}

/// A value of somebody: a customer's, or one of an address.
#[derive(Debug, Deserialize)]
struct Holder<'a> {
    #[serde(default, deserialize_with = "optional_number")]
    customer_id: Option<u64>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

/// What is shown of a form field.
fn seen(value: &RawValue) -> Seen {
    let text = value.get();
    match text.as_bytes() {
        [b'[', ..] => match serde_json::from_str::<Vec<Shown<'_>>>(text) {
            Ok(items) => {
                let items: Vec<String> =
                    items.iter().map(|item| item.text().to_owned()).filter(|item| !item.is_empty()).collect();
                if items.is_empty() { Seen::Absent } else { Seen::Value(Value::List(items)) }
            }
            Err(_) => Seen::Unseen,
        },
        _ => serde_json::from_str::<Shown<'_>>(text).map_or(Seen::Unseen, |shown| shown.seen()),
    }
}

impl Stored {
    fn of(value: &RawValue) -> Self {
        match value.get().as_bytes() {
            [b'[', ..] => Self::List,
            [b'0'..=b'9' | b'-', ..] => Self::Number,
            _ => Self::Text,
        }
    }
}

fn shape(kind: FieldType, stored: Option<Stored>) -> FieldShape {
    let holds = match (stored, kind) {
        (Some(Stored::List), _) | (None, FieldType::List) => Holds::List,
        (Some(Stored::Number), _) => Holds::Number,
        _ => Holds::Text,
    };
    FieldShape { holds, ..FieldShape::TEXT }
}

/// A form field as a call names it.
#[derive(Debug, Deserialize, Serialize)]
struct FormFieldPut<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(deserialize_with = "owned")]
    value: Box<RawValue>,
}

fn owned<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Box<RawValue>, D::Error> {
    Box::<RawValue>::deserialize(deserializer)
}

/// All form fields of a customer, as a call names them.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct FormFieldsPut(Vec<FormFieldPut<'static>>);

impl FormFieldsPut {
    /// From what the recheck has shown.
    pub(super) fn of(token: Option<&str>) -> Option<Self> {
        let shown: Vec<FormFieldPut<'_>> = serde_json::from_str(token?).ok()?;
        let owned = |put: FormFieldPut<'_>| FormFieldPut { name: Cow::Owned(put.name.into_owned()), value: put.value };
        Some(Self(shown.into_iter().map(owned).collect()))
    }

    /// Gives one a value; none empties it. Whoever leaves it out may leave it as it is.
    pub(super) fn set(&mut self, name: &str, value: Option<&Value>, stored: Option<Stored>) {
        let known = self.0.iter_mut().find(|known| known.name == name);
        let is_list = stored == Some(Stored::List)
            || known.as_ref().is_some_and(|known| Stored::of(&known.value) == Stored::List);
        let raw = match value {
            None if is_list => to_raw_value::<[u8; 0]>(&[]),
            None => to_raw_value(""),
            Some(Value::List(items)) => to_raw_value(items),
            // As it is written: what went through a binary fraction might be another number.
            Some(Value::Text(text)) if stored == Some(Stored::Number) => {
                RawValue::from_string(text.clone()).or_else(|_| to_raw_value(text))
            }
            Some(Value::Text(text)) => to_raw_value(text),
        };
        // Texts and lists of texts always become JSON.
        let Ok(value) = raw else { return };
        match known {
            Some(known) => known.value = value,
            None => self.0.push(FormFieldPut { name: Cow::Owned(name.to_owned()), value }),
        }
    }
}

impl FormFields {
    fn of(&self, field: usize) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&field).copied().unwrap_or_default()
    }

    fn note(&self, field: usize, known: Known) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(field, known);
    }
}

/// The cell of a form field of a customer that shows these; its token is all of them, which a write needs.
pub(super) fn cell(name: &str, shown: Option<&[FormFieldRow<'_>]>, token: Option<&str>) -> Cell {
    let Some(shown) = shown else { return Cell::default() };
    let value = shown.iter().find(|row| row.name == name).and_then(|row| row.value);
    let seen = value.map_or(Seen::Absent, seen);
    Cell { seen, modified: None, token: token.map(str::to_owned) }
}

/// All that a customer has entered, to be sent again.
pub(super) fn token(shown: &[FormFieldRow<'_>]) -> Option<String> {
    let entered: Vec<&FormFieldRow<'_>> = shown.iter().filter(|row| row.value.is_some()).collect();
    serde_json::to_string(&entered).ok()
}

impl BigCommerce {
    fn form_fields_mapped(&self) -> Vec<(usize, &str)> {
        let mapped = self.fields.iter().enumerate();
        mapped
            .filter_map(|(at, field)| if let Field::Form(name) = field { Some((at, &**name)) } else { None })
            .collect()
    }

    pub(super) fn maps_form_fields(&self) -> bool {
        self.fields.iter().any(|field| matches!(field, Field::Form(_)))
    }

    /// How the values of a form field are stored, as far as it is known: where nobody has one, as the mapping has it.
    pub(super) fn form_field_holds(&self, field: usize) -> Option<Stored> {
        self.form_fields.of(field).stored.or(match self.fields.kind(field)? {
            FieldType::Number => Some(Stored::Number),
            FieldType::List => Some(Stored::List),
            FieldType::String | FieldType::Date | FieldType::Boolean => None,
        })
    }

    /// Finds out, with a call for each, which form fields somebody has a value in.
    pub(super) async fn define_form_fields(
        &self,
        known: &[Option<String>],
        paid: Paid<'_>,
    ) -> Result<(BTreeMap<usize, Definition>, Vec<String>), Failure> {
        let mut definitions = BTreeMap::new();
        let mut warnings = Vec::new();
        for (index, field, wanted) in self.fields.wanted() {
            let Field::Form(name) = field else { continue };
            let stored = self.form_field_stored(name, paid).await?;
            let known = known.get(index).cloned().flatten();
            let was_held = stored.is_some() || known.is_some();
            let proven = stored.is_some().then(Instant::now);
            self.form_fields.note(index, Known { stored, was_held, proven });
            let state = match (stored, wanted.kind) {
                (None, _) if known.is_some() => DefinitionState::Changed(format!(
                    "no customer has a value in the form field `{name}` any more: it was renamed or deleted in BigCommerce, \
                     or its last value was cleared; nothing is written until somebody has one, or the mapping names another"
                )),
                (Some(Stored::List), kind) if kind != FieldType::List => DefinitionState::Unusable(format!(
                    "the form field `{name}` holds lists, but the mapping says {}; set type = \"list\"",
                    kind.as_str()
                )),
                (Some(Stored::Text | Stored::Number), FieldType::List) => DefinitionState::Unusable(format!(
                    "the form field `{name}` holds one value, but the mapping says list; set another type"
                )),
                (stored, kind) => DefinitionState::Usable(shape(kind, stored)),
            };
            if stored.is_none() && known.is_none() {
                warnings.push(format!(
                    "nobody has a value in the form field `{name}`: if somebody should have, compare its name with \
                     BigCommerce"
                ));
            }
            definitions.insert(index, Definition { id: known.or_else(|| stored.map(|_| name.clone())), state });
        }
        Ok((definitions, warnings))
    }

    /// How the values of a form field are stored; none where nobody has one.
    async fn form_field_stored(&self, name: &str, paid: Paid<'_>) -> Result<Option<Stored>, Failure> {
        let query = format!("limit={PAGE_ROWS}&field_name={}", encoded(name));
        let parse = |answer: &Answer| {
            let Object(listing) = answer.json::<Object<Listing<Holder<'_>>>>()?;
            // Of addresses' form fields of the same name nothing is known here but that the name exists.
            let of_customer = listing.data.iter().find(|holder| holder.customer_id.is_some());
            let value = |holder: &Holder<'_>| holder.value.map_or(Stored::Text, Stored::of);
            Ok(of_customer.or(listing.data.first()).map(value))
        };
        self.read(&self.endpoints.form_field_values, &query, paid, parse).await
    }

    /// Whether somebody has a value in a form field now, or had one a moment ago.
    async fn is_held(&self, field: usize, name: &str, paid: Paid<'_>) -> Result<bool, Failure> {
        let known = self.form_fields.of(field);
        if known.proven.is_some_and(|proven| proven.elapsed() < PROVEN_FOR) {
            return Ok(true);
        }
        let stored = self.form_field_stored(name, paid).await?;
        if stored.is_some() {
            self.form_fields.note(field, Known { stored, was_held: true, proven: Some(Instant::now()) });
        }
        Ok(stored.is_some())
    }

    /// Takes back that a form field is absent where nobody has a value in it any more.
    pub(super) async fn doubt_form_fields(&self, page: &mut CustomersPage, paid: Paid<'_>) -> Result<(), Failure> {
        for (field, name) in self.form_fields_mapped() {
            let any = |wanted: fn(&Seen) -> bool| page.observed.iter().any(|record| wanted(&record.cells[field].seen));
            if any(|seen| seen.value().is_some()) {
                let known = self.form_fields.of(field);
                self.form_fields.note(field, Known { was_held: true, proven: Some(Instant::now()), ..known });
            } else if any(|seen| *seen == Seen::Absent)
                && self.form_fields.of(field).was_held
                && !self.is_held(field, name, paid).await?
            {
                for record in &mut page.observed {
                    record.cells[field] = Cell::default();
                }
            }
        }
        Ok(())
    }

    /// What became of a form field that the store shows so after it took the call.
    pub(super) async fn form_field_outcome(&self, write: &Write, shown: &Cell, paid: Paid<'_>) -> Outcome {
        let wanted = write.value.clone().map_or(Seen::Absent, Seen::Value);
        if shown.seen != write.expect.seen || shown.seen == wanted {
            return Outcome::Written { stored: shown.clone() };
        }
        // It took the call and shows what was there before: a copy that lags, or nothing by this name.
        let Some(Field::Form(name)) = self.fields.get(write.field) else {
            return self.unsendable("no form field");
        };
        match self.form_field_stored(name, paid).await {
            Ok(None) => Outcome::Rejected(
                "BigCommerce took the value and does not show it, nor any other in this form field: it was renamed or deleted \
                 there, or never existed; correct the mapping"
                    .to_owned(),
            ),
            Ok(Some(_)) => {
                let sentence = format!(
                    "store {} took a form field and still shows what it held before; it is looked at again later",
                    self.store_hash
                );
                Outcome::Unknown(Failure::new(Class::Retry, sentence).possibly_happened())
            }
            Err(failure) => Outcome::Unknown(failure.possibly_happened()),
        }
    }

    /// A write of a form field that the recheck did not show.
    pub(super) fn not_rechecked(&self) -> Failure {
        let sentence = format!("store {} did not show the customer's form fields right before", self.store_hash);
        Failure::new(Class::Retry, sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_survives_in_both_readings() {
        let shown = r#"[{"name":"Size","value":"M"},{"name":"Points","value":12345678901234567890.10},{"name":"Toppings","value":["a","b"]}]"#;
        let mut put = FormFieldsPut::of(Some(shown)).unwrap();
        put.set("Size", Some(&Value::text("L")), Some(Stored::Text));
        put.set("Toppings", None, None);
        put.set("New", Some(&Value::text("7.50")), Some(Stored::Number));
        assert_eq!(
            serde_json::to_string(&put).unwrap(),
            r#"[{"name":"Size","value":"L"},{"name":"Points","value":12345678901234567890.10},{"name":"Toppings","value":[]},{"name":"New","value":7.50}]"#
        );
        put.set("Size", None, None);
        assert!(serde_json::to_string(&put).unwrap().starts_with(r#"[{"name":"Size","value":""}"#), "named, and empty");
        assert!(FormFieldsPut::of(None).is_none(), "nothing is sent that would replace what nobody has read");
    }

    #[test]
    fn values_are_texts_numbers_and_lists() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let list = |items: &[&str]| Seen::Value(Value::List(items.iter().map(|item| (*item).to_owned()).collect()));
        for (shown, means) in [
            (r#""M""#, Seen::Value(Value::text("M"))),
            (r#""""#, Seen::Absent),
            ("null", Seen::Absent),
            ("7.50", Seen::Value(Value::text("7.50"))),
            (r#"["a","b"]"#, list(&["a", "b"])),
            (r#"[1]"#, list(&["1"])),
            ("[]", Seen::Absent),
            (r#"{"a":1}"#, Seen::Unseen),
        ] {
            assert_eq!(seen(&raw(shown)), means, "{shown}");
        }
    }
}
