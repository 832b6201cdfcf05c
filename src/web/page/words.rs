//! Facts in words and marks for people: moments, numbers, values. Pure.

use std::fmt;

use askama::filters::HtmlSafe;

use super::Quota;
use crate::model::{Side, Timestamp, Value, ago};

/// Characters of a value that are shown; the whole is in `attune explain`.
const VALUE_CHARS_MAX: usize = 300;

/// A moment as `<time>`; made of digits and our own words alone.
#[derive(Debug)]
pub(super) struct When {
    moment: Option<Timestamp>,
    now: Timestamp,
    exact: bool,
}

impl When {
    /// How long ago.
    pub fn ago(moment: Option<Timestamp>, now: Timestamp) -> Self {
        Self { moment, now, exact: false }
    }

    /// To the second, in UTC.
    pub fn exact(moment: Timestamp) -> Self {
        Self { moment: Some(moment), now: moment, exact: true }
    }
}

impl fmt::Display for When {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(moment) = self.moment else { return formatter.write_str("never") };
        let text = moment.to_seconds_text();
        let (day, time) = text.split_once('T').unwrap_or((&text, ""));
        let spelled = format!("{day} {}", time.trim_end_matches('Z'));
        if self.exact {
            return write!(formatter, "<time datetime=\"{text}\">{spelled}</time>");
        }
        write!(formatter, "<time datetime=\"{text}\" title=\"{spelled} UTC\">{}</time>", ago(self.moment, self.now))
    }
}

impl HtmlSafe for When {}

/// `12345` as `12,345`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A value as it is shown; none: nothing.
pub(super) fn value(value: Option<&Value>) -> Option<String> {
    let text = value?.display();
    let mut shown: String = text.chars().take(VALUE_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    // Seen, not obeyed: a line break or another control has a sign of its own.
    Some(shown.chars().map(|letter| if letter.is_control() { '\u{2423}' } else { letter }).collect())
}

/// How a state looks, beside its word.
pub(super) fn tone(state: &str) -> &'static str {
    match state {
        "ok" => "good",
        "new" | "observing" => "calm",
        "paused" => "rest",
        "stopped" | "behind" => "halt",
        _ => "bad",
    }
}

/// Percent of a quota that is in use, by all apps together.
pub(super) fn used(quota: &Quota) -> u64 {
    100 - (quota.left.min(quota.of) * 100).checked_div(quota.of).unwrap_or(100)
}

/// The word for a side in a sentence.
pub(super) const fn side(side: Side) -> &'static str {
    match side {
        Side::Store => "store",
        Side::Crm => "CRM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let shown = [0, 999, 1000, 12_345, 1_234_567].map(number);
        assert_eq!(shown, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn long_values_are_cut_and_controls_are_seen() {
        assert_eq!(value(Some(&Value::text("a\u{1b}b\n"))).as_deref(), Some("a\u{2423}b\u{2423}"));
        assert_eq!(value(Some(&Value::text("é".repeat(400)))).unwrap().chars().count(), VALUE_CHARS_MAX + 1);
        assert_eq!(value(Some(&Value::List(vec!["a".to_owned(), "b".to_owned()]))).as_deref(), Some("a, b"));
        assert_eq!(value(None), None);
    }

    #[test]
    fn moments_are_marked_up() {
        let moment = Timestamp::from_millis(1_700_000_000_000);
        let now = Timestamp::from_millis(1_700_000_200_000);
        assert_eq!(
            When::ago(Some(moment), now).to_string(),
            "<time datetime=\"2023-11-14T22:13:20Z\" title=\"2023-11-14 22:13:20 UTC\">3 min ago</time>"
        );
        assert_eq!(
            When::exact(moment).to_string(),
            "<time datetime=\"2023-11-14T22:13:20Z\">2023-11-14 22:13:20</time>"
        );
        assert_eq!(When::ago(None, now).to_string(), "never");
    }

    #[test]
    fn a_quota_in_use_is_what_is_not_left() {
        let used = |left, of| used(&Quota { left, of });
        assert_eq!([used(150, 150), used(135, 150), used(0, 150), used(200, 150), used(0, 0)], [0, 10, 100, 0, 0]);
    }
}
