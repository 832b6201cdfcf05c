//! Whether what a write replaced may go back where it stood. It is a person's word, so no table is asked; but what is no
//! value of the field any more is not sent, and consent to be sent mail is not given by undoing.

use super::canonical::{CannotBeTaken, canonical, fits, nothing};
use super::decide::{Intent, Taken, Target};
use crate::model::{Canonical, FieldRule, Meaning, Side, Value, Why};

/// Why a value cannot be put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotPutBack {
    /// It would overwrite a refusal to be sent mail, or consent to it.
    Consent,
    /// The target cannot take it.
    CannotBeTaken(CannotBeTaken),
}

/// The write that puts `value` (none: nothing), as `to` once held it, back there.
///
/// # Errors
/// When the target cannot take it, or it would undo a refusal to be sent mail.
pub fn put_back(rule: &FieldRule, to: Side, target: &Target<'_>, value: Option<&Value>) -> Result<Intent, NotPutBack> {
    let cannot = |reason: &str| NotPutBack::CannotBeTaken(CannotBeTaken(reason.to_owned()));
    let read = |value: &Value| canonical(rule, to, value).map_err(NotPutBack::CannotBeTaken);
    let meant = value.map(read).transpose()?.flatten();
    if rule.meaning() == Meaning::Consent {
        let now = target.seen.value().and_then(|value| canonical(rule, to, value).ok().flatten());
        if says(now.as_ref(), "false") || says(meant.as_ref(), "true") {
            return Err(NotPutBack::Consent);
        }
    }
    if !target.shape.writable {
        return Err(cannot("the target field cannot be written"));
    }
    let encoded = match (value, &meant) {
        (Some(value), Some(_)) => {
            fits(target.shape, value).map_err(NotPutBack::CannotBeTaken)?;
            Some(value.clone())
        }
        _ if !target.shape.clearable => return Err(cannot("the target field cannot hold nothing")),
        _ => None,
    };
    let value = meant.or_else(|| nothing(rule));
    Ok(Intent { to, value, encoded, why: Why::Undone, taken: Taken::Free })
}

/// Whether a value refuses to be sent mail: put back, it wins on the other side too.
pub fn refuses_mail(rule: &FieldRule, value: Option<&Canonical>) -> bool {
    rule.meaning() == Meaning::Consent && says(value, "false")
}

fn says(value: Option<&Canonical>, word: &str) -> bool {
    value.is_some_and(|value| matches!(value.value(), Value::Text(text) if text == word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FieldShape, FieldType, Seen};

    fn rule(store: &str) -> FieldRule {
        FieldRule::new(store, "column")
    }

    fn put(rule: &FieldRule, shape: FieldShape, now: Option<&str>, back: Option<&str>) -> Result<Intent, NotPutBack> {
        let seen = now.map_or(Seen::Absent, |now| Seen::Value(Value::text(now)));
        let back = back.map(Value::text);
        put_back(rule, Side::Crm, &Target { seen: &seen, edited: None, shape: &shape }, back.as_ref())
    }

    #[test]
    fn what_was_there_goes_back_as_it_was_spelt() {
        let intent = put(&rule("attribute:Title"), FieldShape::TEXT, Some("b"), Some(" a ")).unwrap();
        assert_eq!(intent.encoded, Some(Value::text(" a ")));
        assert_eq!(intent.value, Some(Canonical(Value::text("a"))));
        assert_eq!((intent.why, intent.taken), (Why::Undone, Taken::Free));
        let clear = put(&rule("attribute:Title"), FieldShape::TEXT, Some("b"), None).unwrap();
        assert_eq!((clear.encoded, clear.value), (None, None));
    }

    #[test]
    fn what_the_target_cannot_take_does_not() {
        let title = rule("attribute:Title");
        let read_only = FieldShape { writable: false, ..FieldShape::TEXT };
        let full = FieldShape { clearable: false, ..FieldShape::TEXT };
        let short = FieldShape { max_chars: Some(2), ..FieldShape::TEXT };
        for (shape, back) in [(read_only, Some("a")), (full.clone(), None), (full, Some("")), (short, Some("abc"))] {
            assert!(matches!(put(&title, shape, Some("b"), back), Err(NotPutBack::CannotBeTaken(_))), "{back:?}");
        }
    }

    #[test]
    fn undoing_gives_no_consent_and_takes_no_refusal_away() {
        let mail = FieldRule { kind: FieldType::Boolean, ..rule("subscriber:marketing_newsletter") };
        let values = [None, Some("false"), Some("true")];
        for now in values {
            for back in values {
                let allowed = now != Some("false") && back != Some("true");
                let intent = put(&mail, FieldShape::TEXT, now, back);
                assert_eq!(intent.is_ok(), allowed, "{now:?} to {back:?}: {intent:?}");
            }
        }
    }
}
