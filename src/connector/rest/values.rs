//! JSON as it was written: places in it, texts of its values, and how values are spelt for it. Pure.
//!
//! Numbers are never read as floating point: an id or an amount keeps every digit that the system sent.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::model::{Holds, Seen, Timestamp, Value as Stored};

/// One object of an answer: its members, unread.
pub(super) type Record<'a> = BTreeMap<String, &'a RawValue>;

/// Numbers that are written with an exponent are written out up to so many digits.
const DIGITS_MAX: i64 = 400;

/// Numbers of at least this many seconds are milliseconds: as seconds they are in the year 5138.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// The value at a JSON pointer; the pointer of the whole is empty.
pub(super) fn at<'a>(whole: &'a RawValue, pointer: &str) -> Option<&'a RawValue> {
    let mut value = whole;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        value = match value.get().as_bytes().first()? {
            b'{' => record(value)?.remove(&part)?,
            b'[' => list(value)?.into_iter().nth(part.parse().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

/// The members of an object.
pub(super) fn record(value: &RawValue) -> Option<Record<'_>> {
    serde_json::from_str(value.get()).ok()
}

/// The items of a list.
pub(super) fn list(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// What kind of value this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    List,
    Object,
}

pub(super) fn kind(value: &RawValue) -> Kind {
    match value.get().as_bytes().first() {
        Some(b'"') => Kind::Text,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'[') => Kind::List,
        Some(b'{') => Kind::Object,
        Some(b'n') | None => Kind::Null,
        Some(_) => Kind::Number,
    }
}

/// The text of a text, a number or a truth value.
pub(super) fn text(value: &RawValue) -> Option<String> {
    match kind(value) {
        Kind::Text => serde_json::from_str(value.get()).ok(),
        Kind::Number => Some(written_out(value.get())),
        Kind::Boolean => Some(value.get().to_owned()),
        Kind::Null | Kind::List | Kind::Object => None,
    }
}

/// What a value shows: null and nothing are absent; what has no text is unseen.
pub(super) fn seen(value: &RawValue) -> Seen {
    match kind(value) {
        Kind::Null => Seen::Absent,
        Kind::Object => Seen::Unseen,
        Kind::List => {
            let texts = list(value).and_then(|items| items.into_iter().map(text).collect::<Option<Vec<_>>>());
            match texts {
                Some(texts) if texts.is_empty() => Seen::Absent,
                Some(texts) => Seen::Value(Stored::List(texts)),
                None => Seen::Unseen,
            }
        }
        _ => match text(value) {
            Some(text) if text.is_empty() => Seen::Absent,
            Some(text) => Seen::Value(Stored::Text(text)),
            None => Seen::Unseen,
        },
    }
}

/// A number without an exponent, digit for digit.
fn written_out(number: &str) -> String {
    let Some((digits, power)) = number.split_once(['e', 'E']) else { return number.to_owned() };
    let Some(power) = power.parse::<i64>().ok().filter(|power| power.abs() <= DIGITS_MAX) else {
        return number.to_owned();
    };
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).unwrap_or(0) + power;
    let length = i64::try_from(all.len()).unwrap_or(0);
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    let (whole, fraction) = if point <= 0 {
        ("0".to_owned(), format!("{}{all}", zeros(-point)))
    } else if point >= length {
        (format!("{all}{}", zeros(point - length)), String::new())
    } else {
        let (whole, fraction) = all.split_at(usize::try_from(point).unwrap_or(0));
        (whole.to_owned(), fraction.to_owned())
    };
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A time in any spelling that APIs have: RFC 3339, with a space for the `T`, without a zone (then UTC), unix seconds or
/// milliseconds.
pub(super) fn time(value: &RawValue) -> Option<Timestamp> {
    match kind(value) {
        Kind::Number => {
            let number: i64 = text(value)?.split('.').next()?.parse().ok()?;
            let millis = if number.abs() < MILLISECONDS_FROM { number.checked_mul(1000)? } else { number };
            Some(Timestamp::from_millis(millis))
        }
        Kind::Text => {
            let text = text(value)?;
            let text = text.trim().replacen(' ', "T", 1);
            let has_zone = text.split_once('T')?.1.contains(['Z', 'z', '+', '-']);
            Timestamp::parse(&if has_zone { text } else { format!("{text}Z") })
        }
        _ => None,
    }
}

/// Whether a mark says that a record is gone.
pub(super) fn is_marked(value: &RawValue, values: &[String]) -> bool {
    let text = text(value).unwrap_or_default();
    if values.is_empty() {
        let nothing = matches!(text.as_str(), "" | "false" | "0");
        return !nothing || matches!(kind(value), Kind::List | Kind::Object);
    }
    values.contains(&text)
}

/// What a field of these values holds, as far as values tell: none where all are null.
pub(super) fn holds<'a>(values: impl Iterator<Item = &'a RawValue>) -> Option<Holds> {
    let mut found = None;
    for value in values {
        let this = match kind(value) {
            Kind::Null => continue,
            Kind::Boolean => Holds::Boolean,
            Kind::Number => Holds::Number,
            Kind::List => Holds::List,
            Kind::Text | Kind::Object => match text(value).as_deref() {
                Some("") => continue,
                Some(text) if is_day(text) => Holds::Date,
                Some(_) if time(value).is_some() => Holds::Instant,
                _ => Holds::Text,
            },
        };
        found = match found {
            None => Some(this),
            Some(before) if before == this => found,
            // Texts of which some look like days are texts.
            Some(_) => return Some(Holds::Text),
        };
    }
    found
}

fn is_day(text: &str) -> bool {
    text.len() == "2026-01-02".len() && Timestamp::parse(&format!("{text}T00:00:00Z")).is_some()
}

/// A value as JSON, for a field that holds this; none where it cannot hold it.
pub(super) fn spelt(holds: Holds, value: &Stored) -> Option<String> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let text = match (holds, value) {
        (Holds::List, Stored::List(items)) => return Some(serde_json::Value::from(items.clone()).to_string()),
        (Holds::List, Stored::Text(text)) => return Some(serde_json::Value::from(vec![text.clone()]).to_string()),
        (_, Stored::List(_)) => return None,
        (_, Stored::Text(text)) => text,
    };
    match holds {
        Holds::Number | Holds::Integer => {
            let number: &RawValue = serde_json::from_str(text).ok()?;
            (kind(number) == Kind::Number).then(|| number.get().to_owned())
        }
        Holds::Boolean => match text.as_str() {
            "true" | "1" => Some("true".to_owned()),
            "false" | "0" => Some("false".to_owned()),
            _ => None,
        },
        Holds::Instant if is_day(text) => Some(quoted(&format!("{text}T00:00:00Z"))),
        _ => Some(quoted(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn numbers_keep_every_digit() {
        for (json, expected) in [
            ("12345678901234567890123.45", "12345678901234567890123.45"),
            ("0.10", "0.10"),
            ("1e5", "100000"),
            ("1.25E-3", "0.00125"),
            ("-2.5e1", "-25"),
            ("-12.5e1", "-125"),
            ("1.2345e2", "123.45"),
            ("0e0", "0"),
            ("1e999999", "1e999999"),
            ("7", "7"),
        ] {
            assert_eq!(seen(&raw(json)), Seen::Value(Stored::text(expected)), "{json}");
        }
    }

    #[test]
    fn values_show_what_they_are() {
        for (json, expected) in [
            ("null", Seen::Absent),
            ("\"\"", Seen::Absent),
            ("[]", Seen::Absent),
            ("\" \"", Seen::Value(Stored::text(" "))),
            ("false", Seen::Value(Stored::text("false"))),
            ("\"a\\u00e4\\\"\"", Seen::Value(Stored::text("aä\""))),
            ("[\"a\", 1]", Seen::Value(Stored::List(vec!["a".to_owned(), "1".to_owned()]))),
            ("{\"a\":1}", Seen::Unseen),
            ("[{}]", Seen::Unseen),
        ] {
            assert_eq!(seen(&raw(json)), expected, "{json}");
        }
    }

    #[test]
    fn places_are_found_by_pointers() {
        let whole = raw(r#"{"a":{"b/c":[1,{"@odata.nextLink":"x"}]}}"#);
        assert_eq!(at(&whole, "/a/b~1c/1/@odata.nextLink").map(RawValue::get), Some("\"x\""));
        assert_eq!(at(&whole, "").map(RawValue::get), Some(whole.get()));
        for nowhere in ["/b", "/a/b~1c/2", "/a/b~1c/x", "/a/b~1c/0/x"] {
            assert!(at(&whole, nowhere).is_none(), "{nowhere}");
        }
    }

    #[test]
    fn times_have_many_spellings() {
        let at = Timestamp::parse("2026-11-22T11:41:03Z");
        for json in [
            "\"2026-11-22T11:41:03Z\"",
            "\"2026-11-22T11:41:03\"",
            "\"2026-11-22 11:41:03+00:00\"",
            "\"2026-11-22 11:41:03\"",
            "\"2026-11-22T12:41:03.000+01:00\"",
            "1795347663",
            "1795347663000",
        ] {
            assert_eq!(time(&raw(json)), at, "{json}");
        }
        for json in ["null", "\"\"", "\"soon\"", "\"2026-11-22\"", "true", "{}"] {
            assert_eq!(time(&raw(json)), None, "{json}");
        }
    }

    #[test]
    fn what_a_field_holds_is_told_by_its_values() {
        let told = |values: &[&str]| {
            let values: Vec<_> = values.iter().map(|json| raw(json)).collect();
            holds(values.iter().map(AsRef::as_ref))
        };
        assert_eq!(told(&["null", "\"\""]), None);
        assert_eq!(told(&["null", "3"]), Some(Holds::Number));
        assert_eq!(told(&["\"12.50\""]), Some(Holds::Text), "a decimal that is sent as text is written as text");
        assert_eq!(told(&["\"2026-01-02\"", "null"]), Some(Holds::Date));
        assert_eq!(told(&["\"2026-01-02\"", "\"soon\""]), Some(Holds::Text));
        assert_eq!(told(&["\"2026-01-02T03:04:05Z\""]), Some(Holds::Instant));
        assert_eq!(told(&["true"]), Some(Holds::Boolean));
    }

    #[test]
    fn values_are_spelt_for_what_holds_them() {
        let text = |holds, value: &str| spelt(holds, &Stored::text(value));
        assert_eq!(text(Holds::Text, "a\"b").as_deref(), Some("\"a\\\"b\""));
        assert_eq!(text(Holds::Text, "12").as_deref(), Some("\"12\""));
        assert_eq!(text(Holds::Number, "12345678901234567890.1").as_deref(), Some("12345678901234567890.1"));
        for no_number in ["abc", "\"7\"", "1,\"x\":2", "null", "", "true", "0012"] {
            assert_eq!(text(Holds::Number, no_number), None, "{no_number}");
        }
        assert_eq!(text(Holds::Boolean, "1").as_deref(), Some("true"));
        assert_eq!(text(Holds::Boolean, "maybe"), None);
        assert_eq!(text(Holds::Instant, "2026-01-02").as_deref(), Some("\"2026-01-02T00:00:00Z\""));
        assert_eq!(text(Holds::Date, "2026-01-02").as_deref(), Some("\"2026-01-02\""));
        assert_eq!(spelt(Holds::List, &Stored::List(vec!["a".to_owned()])).as_deref(), Some("[\"a\"]"));
        assert_eq!(spelt(Holds::Text, &Stored::List(vec!["a".to_owned()])), None);
    }
}
