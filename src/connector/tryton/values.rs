//! How Tryton spells values: dates and decimals are objects that name their class, nothing is null, a boolean is a number on
//! SQLite.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::{Map, Number, Value, json};

use crate::model::{Holds, Seen, Timestamp, Value as Text};

/// A field of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) spelling: Spelling,
    /// Whether records can be found by its text: not where Tryton computes it, nor by the words of a list.
    pub(super) finds: bool,
}

/// How values are spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Text,
    Integer,
    Float,
    Decimal,
    Boolean,
    Date,
    /// UTC, without a zone, in whole seconds.
    Instant,
    /// The same, with microseconds.
    FineInstant,
    /// A link, by the linked record's number.
    LinkById,
    /// A link, by what the linked record is called: in this relation.
    LinkByName(usize),
}

impl Spelling {
    /// The spelling of a type of field, and what such a field can hold; none where values of this type are not supported.
    pub(super) fn of(kind: &str) -> Option<(Self, Holds)> {
        Some(match kind {
            "char" | "text" | "selection" => (Self::Text, Holds::Text),
            "integer" | "biginteger" => (Self::Integer, Holds::Integer),
            "float" => (Self::Float, Holds::Number),
            "numeric" => (Self::Decimal, Holds::Number),
            "boolean" => (Self::Boolean, Holds::Boolean),
            "date" => (Self::Date, Holds::Date),
            "datetime" => (Self::Instant, Holds::Instant),
            "timestamp" => (Self::FineInstant, Holds::Instant),
            _ => return None,
        })
    }

    /// What a value in an answer shows; unseen where it has a shape that the field's type does not have. What a linked record
    /// is called stands elsewhere.
    pub(super) fn seen(self, value: Option<&Value>) -> Seen {
        let Some(value) = value else { return Seen::Unseen };
        let text = match (self, value) {
            (_, Value::Null) => return Seen::Absent,
            (Self::Text, Value::String(text)) => text.clone(),
            (Self::Boolean, Value::Bool(value)) => value.to_string(),
            (Self::Boolean, Value::Number(number)) if number.as_i64() == Some(0) => "false".to_owned(),
            (Self::Boolean, Value::Number(number)) if number.as_i64() == Some(1) => "true".to_owned(),
            // Rust's own display of a fraction has no exponent.
            (Self::Integer | Self::Float, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => whole.to_string(),
                (None, Some(fraction)) => fraction.to_string(),
                (None, None) => return Seen::Unseen,
            },
            (Self::Decimal, Value::Object(tagged)) => match tagged.get("decimal").and_then(Value::as_str) {
                Some(decimal) => decimal.to_owned(),
                None => return Seen::Unseen,
            },
            (Self::Date, Value::Object(tagged)) => match day(tagged) {
                Some(day) => day.to_string(),
                None => return Seen::Unseen,
            },
            (Self::Instant | Self::FineInstant, value) => match instant(value) {
                Some(instant) => instant.to_string(),
                None => return Seen::Unseen,
            },
            (Self::LinkById, Value::Number(number)) => match number.as_i64() {
                Some(id) => id.to_string(),
                None => return Seen::Unseen,
            },
            _ => return Seen::Unseen,
        };
        if text.is_empty() { Seen::Absent } else { Seen::Value(Text::Text(text)) }
    }

    /// A value as it is written; none clears. What a link by name leads to is found out before.
    pub(super) fn written(self, value: Option<&Text>) -> Value {
        let Some(text) = value.map(Text::display) else { return Value::Null };
        let written = match self {
            Self::Text | Self::LinkByName(_) => None,
            Self::Integer | Self::LinkById => text.parse::<i64>().ok().map(Value::from),
            Self::Float => text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number),
            Self::Decimal => Some(json!({ "__class__": "Decimal", "decimal": text })),
            Self::Boolean => text.parse::<bool>().ok().map(Value::Bool),
            Self::Date => text
                .get(..10)
                .and_then(|day| day.parse::<Date>().ok())
                .map(|day| json!({ "__class__": "date", "year": day.year(), "month": day.month(), "day": day.day() })),
            Self::Instant | Self::FineInstant => {
                let instant = Timestamp::parse(&text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")));
                instant.map(|instant| match self {
                    Self::Instant => tagged(Timestamp::from_millis(instant.as_millis().div_euclid(1000) * 1000)),
                    _ => tagged(instant),
                })
            }
        };
        // What has no other form is refused by Tryton itself.
        written.unwrap_or(Value::String(text))
    }
}

/// An instant in an answer, which is UTC; cut to the millisecond.
pub(super) fn instant(value: &Value) -> Option<Timestamp> {
    let tagged = value.as_object()?;
    let date = day(tagged)?;
    let part = |name: &str| tagged.get(name).and_then(Value::as_i64).and_then(|part| i8::try_from(part).ok());
    let micros = i32::try_from(tagged.get("microsecond")?.as_i64()?).ok()?;
    let nanos = micros.checked_mul(1_000)?;
    let time =
        DateTime::new(date.year(), date.month(), date.day(), part("hour")?, part("minute")?, part("second")?, nanos);
    let zoned = TimeZone::UTC.to_timestamp(time.ok()?).ok()?;
    Some(Timestamp::from_millis(zoned.as_millisecond()))
}

fn day(tagged: &Map<String, Value>) -> Option<Date> {
    let part = |name: &str| tagged.get(name)?.as_i64();
    Date::new(i16::try_from(part("year")?).ok()?, i8::try_from(part("month")?).ok()?, i8::try_from(part("day")?).ok()?)
        .ok()
}

/// An instant as Tryton reads it.
pub(super) fn tagged(instant: Timestamp) -> Value {
    let utc = jiff::Timestamp::from_millisecond(instant.as_millis()).unwrap_or_default();
    let civil = TimeZone::UTC.to_datetime(utc);
    json!({
        "__class__": "datetime", "year": civil.year(), "month": civil.month(), "day": civil.day(), "hour": civil.hour(),
        "minute": civil.minute(), "second": civil.second(), "microsecond": civil.subsec_nanosecond() / 1_000,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Seen {
        Seen::Value(Text::text(text))
    }

    fn at(micros: i64) -> Value {
        json!({ "__class__": "datetime", "year": 2026, "month": 1, "day": 2, "hour": 3, "minute": 4, "second": 5, "microsecond": micros })
    }

    #[test]
    fn what_answers_show() {
        let day = json!({ "__class__": "date", "year": 2026, "month": 1, "day": 2 });
        let no_day = json!({ "__class__": "date", "year": 2026, "month": 13, "day": 2 });
        for (spelling, answer, seen) in [
            (Spelling::Text, json!(" a "), value(" a ")),
            (Spelling::Text, json!(""), Seen::Absent),
            (Spelling::Text, json!(7), Seen::Unseen),
            (Spelling::Integer, json!(0), value("0")),
            (Spelling::Integer, json!(-3), value("-3")),
            (Spelling::Integer, Value::Null, Seen::Absent),
            (Spelling::Float, json!(12.5), value("12.5")),
            (Spelling::Float, json!(1e20), value("100000000000000000000")),
            (Spelling::Decimal, json!({ "__class__": "Decimal", "decimal": "1.20" }), value("1.20")),
            (Spelling::Decimal, json!(1.2), Seen::Unseen),
            (Spelling::Boolean, json!(false), value("false")),
            (Spelling::Boolean, json!(1), value("true")),
            (Spelling::Boolean, json!(2), Seen::Unseen),
            (Spelling::Date, day, value("2026-01-02")),
            (Spelling::Date, no_day, Seen::Unseen),
            (Spelling::Instant, at(0), value("2026-01-02T03:04:05Z")),
            (Spelling::FineInstant, at(678_901), value("2026-01-02T03:04:05.678Z")),
            (Spelling::LinkById, json!(57), value("57")),
            (Spelling::LinkById, Value::Null, Seen::Absent),
        ] {
            assert_eq!(spelling.seen(Some(&answer)), seen, "{spelling:?} {answer}");
        }
        assert_eq!(Spelling::Text.seen(None), Seen::Unseen);
    }

    #[test]
    fn what_is_written() {
        let midnight = json!({ "__class__": "datetime", "year": 2026, "month": 1, "day": 2, "hour": 0, "minute": 0, "second": 0, "microsecond": 0 });
        for (spelling, text, written) in [
            (Spelling::Text, Some(" a "), json!(" a ")),
            (Spelling::Text, None, Value::Null),
            (Spelling::Integer, Some("12"), json!(12)),
            (Spelling::Integer, Some("twelve"), json!("twelve")),
            (Spelling::Float, Some("12.5"), json!(12.5)),
            (Spelling::Decimal, Some("0.1"), json!({ "__class__": "Decimal", "decimal": "0.1" })),
            (Spelling::Boolean, Some("true"), json!(true)),
            (Spelling::Date, Some("2026-01-02"), json!({ "__class__": "date", "year": 2026, "month": 1, "day": 2 })),
            (Spelling::Date, None, Value::Null),
            (Spelling::Instant, Some("2026-01-02T03:04:05.678Z"), at(0)),
            (Spelling::FineInstant, Some("2026-01-02T03:04:05.678Z"), at(678_000)),
            (Spelling::Instant, Some("2026-01-02"), midnight),
            (Spelling::LinkById, Some("57"), json!(57)),
        ] {
            assert_eq!(spelling.written(text.map(Text::text).as_ref()), written, "{spelling:?} {text:?}");
        }
    }
}
