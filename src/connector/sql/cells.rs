//! Cells: from the text that a database shows to what the model sees, and back to the text that the column takes.
//!
//! The text as it was read is what a conditional write compares with, so it is never lost: where it differs from what
//! the model sees, it rides along as the cell's token.

use crate::model::{Cell, Seen, Value};

/// One column of one row as the database showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RawCell {
    /// Null.
    Null,
    /// The column's value cast to text.
    Text(String),
    /// Something that is no text (a blob, bytes that are no UTF-8).
    Unreadable,
}

/// How a column's own text and the model's text correspond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    /// They are the same.
    Plain,
    /// Numbers: `1.0e+15` is shown without an exponent.
    Number,
    /// True and false, stored as 1 and 0.
    BooleanAsNumber,
    /// Instants: `2026-01-02 03:04:05+00` is shown as `2026-01-02T03:04:05Z`.
    Instant,
}

impl Codec {
    /// What the model sees of a text that was read.
    pub(super) fn decode(self, raw: RawCell, keep_token: bool) -> Cell {
        let raw = match raw {
            RawCell::Null => return Cell::absent(),
            RawCell::Unreadable => return Cell::default(),
            // An empty column is absent, but it is not null: the conditional write must know.
            RawCell::Text(raw) if raw.is_empty() => return Cell { token: Some(raw), ..Cell::absent() },
            RawCell::Text(raw) => raw,
        };
        match self.shown(&raw) {
            Some(shown) => Cell { seen: Seen::Value(Value::Text(shown)), modified: None, token: Some(raw) },
            None => {
                let token = keep_token.then(|| raw.clone());
                Cell { seen: Seen::Value(Value::Text(raw)), modified: None, token }
            }
        }
    }

    /// The model's text, where it is another than the column's.
    fn shown(self, raw: &str) -> Option<String> {
        match self {
            Self::Plain => None,
            Self::Number => without_exponent(raw),
            Self::BooleanAsNumber => match raw {
                "1" | "1.0" => Some("true".to_owned()),
                "0" | "0.0" => Some("false".to_owned()),
                _ => None,
            },
            Self::Instant => rfc3339(raw),
        }
    }

    /// The column's text for the model's.
    pub(super) fn encode(self, value: &Value) -> String {
        let text = value.display();
        match (self, text.as_str()) {
            (Self::BooleanAsNumber, "true") => "1".to_owned(),
            (Self::BooleanAsNumber, "false") => "0".to_owned(),
            _ => text,
        }
    }
}

/// The text that a conditional write compares with: none where the cell was not seen, null for a null.
pub(super) fn expected(cell: &Cell) -> Option<Option<String>> {
    match &cell.seen {
        Seen::Unseen => None,
        Seen::Absent => Some(cell.token.clone()),
        Seen::Value(value) => Some(Some(cell.token.clone().unwrap_or_else(|| value.display()))),
    }
}

/// A decimal without its exponent; none if it has none, or is no number, or would become absurdly long.
fn without_exponent(raw: &str) -> Option<String> {
    const SHIFT_MAX: u32 = 400;
    let (mantissa, exponent) = raw.split_once(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) || exponent.unsigned_abs() > SHIFT_MAX {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let text = if point <= 0 {
        format!("0.{}{digits}", "0".repeat(usize::try_from(-point).ok()?))
    } else {
        let point = usize::try_from(point).ok()?;
        if point >= digits.len() {
            format!("{digits}{}", "0".repeat(point - digits.len()))
        } else {
            format!("{}.{}", &digits[..point], &digits[point..])
        }
    };
    Some(format!("{sign}{text}"))
}

/// `2026-01-02 03:04:05.5+00` as `2026-01-02T03:04:05.5Z`; a time without a zone stays without one.
fn rfc3339(raw: &str) -> Option<String> {
    let (day, time) = raw.split_once(' ')?;
    match time.strip_suffix("+00") {
        Some(time) => Some(format!("{day}T{time}Z")),
        None => Some(format!("{day}T{time}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_written_out() {
        for (raw, plain) in [
            ("1.0e+15", "1000000000000000"),
            ("-1.25e+03", "-1250"),
            ("1.25e-03", "0.00125"),
            ("1.2345e+02", "123.45"),
            ("1e15", "1000000000000000"),
        ] {
            assert_eq!(without_exponent(raw).as_deref(), Some(plain), "{raw}");
        }
        for raw in ["12.5", "e5", "1e", "one", "1e999999", "1e-2147483648", "Infinity"] {
            assert_eq!(without_exponent(raw), None, "{raw}");
        }
    }

    #[test]
    fn a_cell_keeps_the_text_that_was_read() {
        let cell = Codec::BooleanAsNumber.decode(RawCell::Text("1".into()), false);
        assert_eq!(cell.seen, Seen::Value(Value::text("true")));
        assert_eq!(expected(&cell), Some(Some("1".to_owned())));
        let empty = Codec::Plain.decode(RawCell::Text(String::new()), false);
        assert_eq!(empty.seen, Seen::Absent);
        assert_eq!(expected(&empty), Some(Some(String::new())));
        assert_eq!(expected(&Codec::Plain.decode(RawCell::Null, true)), Some(None));
        assert_eq!(expected(&Codec::Plain.decode(RawCell::Unreadable, true)), None);
        let spaced = Codec::Plain.decode(RawCell::Text(" a ".into()), false);
        assert_eq!(expected(&spaced), Some(Some(" a ".to_owned())));
    }

    #[test]
    fn instants_are_rfc_3339() {
        let shown = |raw: &str| Codec::Instant.shown(raw);
        assert_eq!(shown("2026-01-02 03:04:05.5+00").as_deref(), Some("2026-01-02T03:04:05.5Z"));
        assert_eq!(shown("2026-01-02 03:04:05").as_deref(), Some("2026-01-02T03:04:05"));
        assert_eq!(shown("infinity"), None);
    }
}
