//! Numbers, days, truth values, lists and mapped words: what both sides are compared by.

use std::collections::{BTreeMap, BTreeSet};

use attune::merge::{canonical, encode};
use attune::model::{FieldRule, FieldType, Side, Value};

use super::reference::{Decimal, day_of};
use super::times::{duration, instant};

fn rule(kind: FieldType) -> FieldRule {
    FieldRule { kind, ..FieldRule::new("attribute:A", "a") }
}

/// The canonical text of a type; `Err`: refused, `Ok(None)`: nothing.
fn text_of(kind: FieldType, text: &str) -> Result<Option<String>, String> {
    let found = canonical(&rule(kind), Side::Store, &Value::text(text));
    let other = canonical(&rule(kind), Side::Crm, &Value::text(text));
    assert_eq!(found.is_ok(), other.is_ok(), "one side takes {text:?}, the other does not");
    match found {
        Err(refused) => {
            let trimmed = text.trim();
            // Words that stand in every sentence of ours prove nothing.
            let shown = trimmed.chars().count() > 12 && refused.to_string().contains(trimmed);
            assert!(!shown, "the refusal shows {text:?}");
            Err(refused.0)
        }
        Ok(None) => Ok(None),
        Ok(Some(value)) => {
            assert_eq!(
                other.as_ref().ok().and_then(Option::as_ref),
                Some(&value),
                "the sides read {text:?} differently"
            );
            let Value::Text(spelled) = value.value() else { panic!("{text:?} became a list") };
            let again = canonical(&rule(kind), Side::Store, value.value());
            assert_eq!(again, Ok(Some(value.clone())), "{text:?} is canonical as {spelled:?}, which is not");
            Ok(Some(spelled.clone()))
        }
    }
}

/// A number keeps its value to the last digit, or is refused.
pub fn number(text: &str) {
    let found = text_of(FieldType::Number, text);
    let text = text.trim();
    if text.is_empty() {
        return assert_eq!(found, Ok(None));
    }
    match Decimal::parse(text) {
        None => assert!(found.is_err(), "{text:?} is no number, but became {found:?}"),
        Some(exact) if exact.digits_written_out() > 64 => {
            assert!(found.is_err(), "{text:?} has more than 64 digits, but became {found:?}");
        }
        Some(exact) => {
            let spelled = found.unwrap_or_else(|why| panic!("{text:?}: {why}")).expect("a number is a value");
            assert_eq!(Decimal::parse(&spelled), Some(exact), "{text:?} became {spelled:?}");
            assert!(spelled.len() <= 64 + "-0.".len(), "{text:?} became {} characters", spelled.len());
            assert!(spelled.bytes().all(|byte| b"-.0123456789".contains(&byte)), "{text:?} became {spelled:?}");
        }
    }
}

/// Two spellings are one number if and only if they are equal.
pub fn numbers(one: &str, other: &str) {
    let (Ok(Some(a)), Ok(Some(b))) = (text_of(FieldType::Number, one), text_of(FieldType::Number, other)) else {
        return;
    };
    let exact = |text: &str| Decimal::parse(text.trim()).unwrap_or_else(|| panic!("{text:?} was taken for a number"));
    assert_eq!(a == b, exact(one) == exact(other), "{one:?} and {other:?} became {a:?} and {b:?}");
}

/// A day exists, and an instant is the day that it names.
pub fn day(text: &str) {
    let found = text_of(FieldType::Date, text);
    let text = text.trim();
    if text.is_empty() {
        return assert_eq!(found, Ok(None));
    }
    assert_eq!(found.ok().flatten().as_deref(), day_of(text), "{text:?}");
}

/// True, false, or refused.
pub fn truth(text: &str) {
    let found = text_of(FieldType::Boolean, text);
    let text = text.trim();
    if text.is_empty() {
        return assert_eq!(found, Ok(None));
    }
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    let wanted = if is(&["true", "t", "yes", "y", "on", "1"]) {
        Some("true")
    } else if is(&["false", "f", "no", "n", "off", "0"]) {
        Some("false")
    } else {
        None
    };
    assert_eq!(found.ok().flatten().as_deref(), wanted, "{text:?}");
}

/// Texts are equal if and only if they are, but for white space around them where it does not count.
pub fn texts(one: &str, other: &str) {
    for trim in [true, false] {
        let rule = FieldRule { trim, ..FieldRule::new("attribute:A", "a") };
        let of = |text: &str| canonical(&rule, Side::Crm, &Value::text(text)).expect("every text is a text");
        let plain = |text: &str| if trim { text.trim().to_owned() } else { text.to_owned() };
        assert_eq!(of(one) == of(other), plain(one) == plain(other), "{one:?} and {other:?}, trim = {trim}");
        assert_eq!(of(one).is_none(), plain(one).is_empty(), "{one:?}, trim = {trim}");
    }
}

/// A list is a set, however it is spelled: as a list, or as JSON in a text.
pub fn list(items: &[String]) {
    let rule = rule(FieldType::List);
    let wanted: BTreeSet<&str> = items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()).collect();
    let as_json = Value::Text(serde_json::Value::from(items.to_vec()).to_string());
    for spelled in [Value::List(items.to_vec()), as_json] {
        let found = canonical(&rule, Side::Crm, &spelled).expect("every list is a list");
        match &found {
            None => assert!(wanted.is_empty(), "{items:?} became nothing"),
            Some(value) => {
                let Value::List(found) = value.value() else { panic!("{items:?} became a text") };
                assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), wanted);
                assert_eq!(found.len(), wanted.len(), "a set holds nothing twice");
                assert_eq!(canonical(&rule, Side::Store, value.value()), Ok(Some(value.clone())));
            }
        }
    }
}

/// A text in a field of lists is a JSON array of texts, or one item.
pub fn list_in_a_text(text: &str) {
    let found = canonical(&rule(FieldType::List), Side::Store, &Value::text(text)).expect("every text is a list");
    if let Some(value) = &found {
        assert_eq!(canonical(&rule(FieldType::List), Side::Store, value.value()), Ok(found.clone()));
    }
}

/// What a CRM word means comes back as that word, where no two words mean the same; a word that is not mapped is refused.
pub fn words(kind: FieldType, values: &BTreeMap<String, String>, text: &str) {
    let rule = FieldRule { kind, values: values.clone(), ..FieldRule::new("attribute:A", "a") };
    let meaning = |text: &str| canonical(&rule, Side::Crm, &Value::text(text));
    for side in [Side::Store, Side::Crm] {
        let Ok(Some(value)) = canonical(&rule, side, &Value::text(text)) else { continue };
        if side == Side::Crm && !values.is_empty() && kind != FieldType::List {
            assert!(values.keys().any(|word| word.trim() == text.trim()), "{text:?} is no word of {values:?}");
        }
        let word = encode(&rule, Side::Crm, &value).expect("what was understood has a word");
        assert_eq!(canonical(&rule, Side::Crm, &word).as_ref(), Ok(&Some(value.clone())), "{text:?} became {word:?}");
        let store = encode(&rule, Side::Store, &value).expect("the store's word is the value");
        assert_eq!(
            canonical(&rule, Side::Store, &store).as_ref(),
            Ok(&Some(value.clone())),
            "{text:?} became {store:?}"
        );
        let twins = values.keys().filter(|word| meaning(word).ok().flatten().as_ref() == Some(&value)).count();
        if side == Side::Crm && twins == 1 && kind != FieldType::List {
            let Value::Text(word) = &word else { panic!("a text became a list") };
            assert_eq!(word.trim(), text.trim(), "of {values:?}");
        }
    }
}

/// All of this family, by one text.
pub fn any(text: &str) {
    duration(text);
    instant(text);
    number(text);
    day(text);
    truth(text);
    texts(text, text.trim());
    list_in_a_text(text);
    if let Some((one, other)) = text.split_once('|') {
        numbers(one, other);
        texts(one, other);
    }
    let items: Vec<String> = text.split(',').map(str::to_owned).collect();
    list(&items);
}
