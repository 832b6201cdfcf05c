//! Canonical values: the form in which sides are compared, and the way back to what a side can store.
//!
//! A canonical value uses the store's words. It is text, except for a list; a number, a day or a truth value is the one
//! text that stands for it.

use std::borrow::Cow;

use super::day::{canonical_day, is_day};
use super::number::canonical_number;
use crate::model::{Canonical, FieldRule, FieldShape, FieldType, Holds, Meaning, Side, Value};
use crate::proof::Fault;

/// Why a value cannot be brought over: a sentence without the value itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CannotBeTaken(pub String);

impl CannotBeTaken {
    fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// The canonical form of what `side` holds; none where that is the same as nothing (an empty string, an empty list).
///
/// # Errors
/// When the value is not of the field's type, or not one of its mapped words.
pub fn canonical(rule: &FieldRule, side: Side, value: &Value) -> Result<Option<Canonical>, CannotBeTaken> {
    if crate::proof::has(Fault::ComparedAsSpelt) {
        return Ok(Some(Canonical(value.clone())));
    }
    if rule.kind == FieldType::List {
        let mut items = Vec::new();
        for item in &*items_of(rule, side, value) {
            items.extend(canonical_text(rule, side, item)?);
        }
        items.sort_unstable();
        items.dedup();
        return Ok((!items.is_empty()).then_some(Canonical(Value::List(items))));
    }
    let text = match value {
        Value::Text(text) => text.as_str(),
        Value::List(items) => match &items[..] {
            [] => "",
            [item] => item,
            _ => return Err(CannotBeTaken::because(format!("the {} holds several values", name(side)))),
        },
    };
    Ok(canonical_text(rule, side, text)?.map(|text| Canonical(Value::Text(text))))
}

/// What a side that holds nothing is compared as: nothing, but where that means the same as false.
pub fn nothing(rule: &FieldRule) -> Option<Canonical> {
    match rule.meaning() {
        Meaning::Membership if crate::proof::has(Fault::NothingIsNotFalse) => None,
        Meaning::Membership => Some(Canonical(Value::text("false"))),
        Meaning::Plain | Meaning::Consent => None,
    }
}

/// What to send to `side` so that it holds `value`, in that side's words.
///
/// # Errors
/// When the side has no word for it.
pub fn encode(rule: &FieldRule, side: Side, value: &Canonical) -> Result<Value, CannotBeTaken> {
    if rule.values.is_empty() {
        return Ok(value.value().clone());
    }
    let word = |canonical: &String| match side {
        Side::Store => Ok(spelt_in_store(rule, canonical)),
        Side::Crm => crm_word(rule, canonical),
    };
    Ok(match value.value() {
        Value::Text(text) => Value::Text(word(text)?),
        Value::List(items) => Value::List(items.iter().map(word).collect::<Result<_, _>>()?),
    })
}

/// Whether a target of this shape can hold the encoded value as it is.
///
/// # Errors
/// When it is too long, of another kind, or holds a character the target refuses.
pub fn fits(shape: &FieldShape, value: &Value) -> Result<(), CannotBeTaken> {
    let texts = match value {
        Value::Text(text) => std::slice::from_ref(text),
        Value::List(items) => items,
    };
    for text in texts {
        if shape.refuses_nul && text.contains('\0') {
            return Err(CannotBeTaken::because("it holds a NUL character, which the target refuses"));
        }
        if let Some(max_chars) = shape.max_chars {
            let chars = text.chars().count();
            if chars > usize::try_from(max_chars).unwrap_or(usize::MAX) {
                return Err(CannotBeTaken::because(format!(
                    "it has {chars} characters, and the target takes {max_chars}"
                )));
            }
        }
    }
    let problem = match (shape.holds, value) {
        (Holds::List, Value::List(_)) | (Holds::Text, Value::Text(_)) => None,
        (Holds::List, Value::Text(_)) => Some("it is one text, and the target holds a list"),
        (_, Value::List(_)) => Some("it is a list, and the target holds one value"),
        (Holds::FullName, Value::Text(text)) => {
            let one_word = !text.trim().contains(' ');
            one_word.then_some("the target keeps a first and a last name apart, and it has no space between them")
        }
        (Holds::Number, Value::Text(text)) => {
            canonical_number(text).is_none().then_some("the target holds numbers, and it is not one")
        }
        (Holds::Integer, Value::Text(text)) => {
            let whole = canonical_number(text).is_some_and(|number| number.parse::<i64>().is_ok());
            (!whole).then_some("the target holds whole numbers, and it is not one")
        }
        // An instant is not cut to its day here: nothing is ever truncated.
        (Holds::Date, Value::Text(text)) => (!is_day(text)).then_some("the target holds days, and it is not one"),
        (Holds::Instant, Value::Text(text)) => {
            canonical_day(text).is_none().then_some("the target holds days or instants, and it is neither")
        }
        (Holds::Boolean, Value::Text(text)) => {
            truth(text).is_none().then_some("the target holds true or false, and it is neither")
        }
    };
    problem.map_or(Ok(()), |problem| Err(CannotBeTaken::because(problem)))
}

/// The encoded value in the spelling that a target of this shape stores; its canonical form stays the same. A list in a
/// text is a JSON array, or in the CRM what the mapping separates; one text in a list is a list of one, a truth value in a
/// number is 1 or 0.
///
/// # Errors
/// When an item of a list has the separator in it.
pub(super) fn spell(rule: &FieldRule, side: Side, shape: &FieldShape, value: Value) -> Result<Value, CannotBeTaken> {
    Ok(match (shape.holds, value) {
        (Holds::Text, Value::List(items)) => match separator(rule, side) {
            Some(separator) if items.iter().any(|item| item.contains(separator)) => {
                return Err(CannotBeTaken::because("an item of the list has the mapping's `separator` in it"));
            }
            Some(separator) => Value::Text(items.join(separator)),
            None => Value::Text(serde_json::Value::from(items).to_string()),
        },
        (Holds::List, Value::Text(text)) => Value::List(vec![text]),
        (Holds::Integer | Holds::Number, Value::Text(text))
            if rule.kind == FieldType::Boolean && rule.values.is_empty() =>
        {
            Value::Text(match truth(&text) {
                Some(true) => "1".to_owned(),
                Some(false) => "0".to_owned(),
                None => text,
            })
        }
        (_, value) => value,
    })
}

/// What stands between the items of a list in a text of this side.
fn separator(rule: &FieldRule, side: Side) -> Option<&str> {
    rule.options.separator.as_deref().filter(|separator| side == Side::Crm && !separator.is_empty())
}

/// What is compared instead, where a value has no canonical form: the text as it stands, trimmed like any other.
pub(super) fn as_written(rule: &FieldRule, value: &Value) -> Canonical {
    Canonical(match value {
        Value::Text(text) => Value::Text(trimmed(rule, text).to_owned()),
        Value::List(items) => Value::List(items.clone()),
    })
}

/// One text in the store's words and in the one spelling of its type; none where it is empty.
fn canonical_text(rule: &FieldRule, side: Side, text: &str) -> Result<Option<String>, CannotBeTaken> {
    let text = trimmed(rule, text);
    if text.is_empty() {
        return Ok(None);
    }
    if rule.values.is_empty() {
        return of_type(rule, side, text).map(Some);
    }
    let not_a_word = || {
        CannotBeTaken::because(format!("the {} holds a word that `values` of the mapping does not have", name(side)))
    };
    match side {
        Side::Crm => {
            let word = rule.values.iter().find(|(crm, _)| trimmed(rule, crm) == text).map(|(_, store)| store);
            store_word(rule, word.ok_or_else(not_a_word)?)
        }
        Side::Store => {
            let word = of_type(rule, side, text)?;
            let known =
                rule.values.values().any(|store| store_word(rule, store).ok().flatten().as_ref() == Some(&word));
            if known { Ok(Some(word)) } else { Err(not_a_word()) }
        }
    }
}

/// A store's word from `values`, in the one spelling of its type; none where it is empty: that CRM word means nothing.
fn store_word(rule: &FieldRule, word: &str) -> Result<Option<String>, CannotBeTaken> {
    let word = trimmed(rule, word);
    if word.is_empty() { Ok(None) } else { of_type(rule, Side::Store, word).map(Some) }
}

/// The store's word for a canonical text, as `values` spells it. A value that no word stands for comes from the store itself.
fn spelt_in_store(rule: &FieldRule, canonical: &str) -> String {
    let stands_for = |store: &&String| store_word(rule, store).ok().flatten().as_deref() == Some(canonical);
    let word = rule.values.values().find(stands_for);
    word.map_or_else(|| canonical.to_owned(), |word| trimmed(rule, word).to_owned())
}

/// The CRM's word for a canonical text. Where a one-way mapping has several, the first of the alphabet.
fn crm_word(rule: &FieldRule, canonical: &str) -> Result<String, CannotBeTaken> {
    rule.values
        .iter()
        .find(|(_, store)| store_word(rule, store).ok().flatten().as_deref() == Some(canonical))
        .map(|(crm, _)| crm.clone())
        .ok_or_else(|| CannotBeTaken::because("`values` of the mapping has no CRM word for it"))
}

/// A text that is not empty, in the one spelling of its type.
fn of_type(rule: &FieldRule, side: Side, text: &str) -> Result<String, CannotBeTaken> {
    let (canonical, wanted) = match rule.kind {
        FieldType::String | FieldType::List => (Some(text.to_owned()), "a text"),
        FieldType::Number => (canonical_number(text), "a decimal number of at most 64 digits"),
        FieldType::Date => (canonical_day(text).map(str::to_owned), "a day that exists (YYYY-MM-DD)"),
        FieldType::Boolean => (truth(text).map(|truth| truth.to_string()), "true or false"),
    };
    canonical.ok_or_else(|| CannotBeTaken::because(format!("what the {} holds is not {wanted}", name(side))))
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// White space counts only in texts, and only where the mapping says `trim = false`.
fn trimmed<'a>(rule: &FieldRule, text: &'a str) -> &'a str {
    let exact = !rule.trim && rule.kind == FieldType::String;
    if exact { text } else { text.trim() }
}

/// The items of a list. A source without lists holds them with a separator between, where the mapping names one, or as a
/// JSON array; any other text is one item.
fn items_of<'v>(rule: &FieldRule, side: Side, value: &'v Value) -> Cow<'v, [String]> {
    match value {
        Value::List(items) => Cow::Borrowed(items),
        Value::Text(text) if separator(rule, side).is_some() => {
            Cow::Owned(text.split(separator(rule, side).unwrap_or_default()).map(str::to_owned).collect())
        }
        Value::Text(text) => match serde_json::from_str::<Vec<String>>(text) {
            Ok(items) => Cow::Owned(items),
            Err(_) => Cow::Borrowed(std::slice::from_ref(text)),
        },
    }
}

const fn name(side: Side) -> &'static str {
    match side {
        Side::Store => "store",
        Side::Crm => "CRM",
    }
}
