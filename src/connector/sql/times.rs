//! The styles in which a modified column holds times, found from samples of it.
//!
//! Text without a zone is UTC (`CURRENT_TIMESTAMP` of SQLite is).

/// How a modified column holds its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// The database's own instants (with a time zone).
    Instant,
    /// The database's own date and time without a zone: UTC.
    Local,
    /// Numbers since the Unix epoch.
    Unix(Unit),
    /// Text.
    Text(TextStyle),
}

/// What the numbers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    /// Whole seconds.
    Seconds,
    /// Seconds with a fraction.
    FractionalSeconds,
    /// Whole milliseconds.
    Milliseconds,
}

/// How times are spelled: what we write looks like what is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TextStyle {
    /// `T` or a space between day and time.
    pub(super) separator: char,
    /// Whether seconds have a fraction (milliseconds, when we write).
    pub(super) fraction: bool,
    /// `Z`, `+00:00` or nothing.
    pub(super) suffix: &'static str,
}

impl TextStyle {
    /// `2026-01-02 03:04:05`, as `CURRENT_TIMESTAMP` writes it.
    pub(super) const SQL: Self = Self { separator: ' ', fraction: false, suffix: "" };
    /// `2026-01-02T03:04:05.678Z`.
    pub(super) const RFC_3339: Self = Self { separator: 'T', fraction: true, suffix: "Z" };

    /// The style of a time, if the text is one. Days without a time are not: they cannot order a day's edits.
    fn of(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shape = b"0000-00-00 00:00:00";
        if bytes.len() < shape.len() {
            return None;
        }
        for (index, (byte, expected)) in bytes.iter().zip(shape).enumerate() {
            let fits = match (index, expected) {
                (10, _) => matches!(byte, b' ' | b'T' | b't'),
                (_, b'0') => byte.is_ascii_digit(),
                (_, separator) => byte == separator,
            };
            if !fits {
                return None;
            }
        }
        let rest = &text[shape.len()..];
        let zone = rest.strip_prefix('.').map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        let suffix = match zone {
            "" => "",
            "Z" | "z" => "Z",
            _ if zone.starts_with(['+', '-']) => "+00:00",
            _ => return None,
        };
        Some(Self { separator: if bytes[10] == b' ' { ' ' } else { 'T' }, fraction: rest.starts_with('.'), suffix })
    }
}

/// One value of a modified column, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TimeSample {
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Real(f64),
    /// Text.
    Text(String),
    /// Anything else.
    Other,
}

/// Unix seconds of the year 5138: greater numbers count milliseconds.
const SECONDS_MAX: i64 = 100_000_000_000;

/// The style that most samples have; none if there are samples and none of them is a time.
pub(super) fn style_of(samples: &[TimeSample], when_empty: Times) -> Option<Times> {
    if samples.is_empty() {
        return Some(when_empty);
    }
    let mut votes: Vec<(Times, usize)> = Vec::new();
    for style in samples.iter().filter_map(style_of_one) {
        match votes.iter_mut().find(|(known, _)| *known == style) {
            Some((_, count)) => *count += 1,
            None => votes.push((style, 1)),
        }
    }
    // Whole seconds among seconds with a fraction are those that happened to be whole.
    let has = |votes: &[(Times, usize)], unit| votes.iter().any(|(style, _)| *style == Times::Unix(unit));
    if has(&votes, Unit::FractionalSeconds) {
        votes.retain(|(style, _)| *style != Times::Unix(Unit::Seconds));
    }
    // The first of equals is the most recent row's.
    let most = votes.iter().map(|(_, count)| *count).max()?;
    votes.into_iter().find(|(_, count)| *count == most).map(|(style, _)| style)
}

fn style_of_one(sample: &TimeSample) -> Option<Times> {
    match sample {
        TimeSample::Integer(number) if *number > SECONDS_MAX => Some(Times::Unix(Unit::Milliseconds)),
        TimeSample::Integer(_) => Some(Times::Unix(Unit::Seconds)),
        TimeSample::Real(_) => Some(Times::Unix(Unit::FractionalSeconds)),
        TimeSample::Text(text) => TextStyle::of(text).map(Times::Text),
        TimeSample::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_are_found() {
        let text = |text: &str| style_of(&[TimeSample::Text(text.into())], Times::Instant);
        assert_eq!(text("2026-01-02 03:04:05"), Some(Times::Text(TextStyle::SQL)));
        assert_eq!(text("2026-01-02T03:04:05.123Z"), Some(Times::Text(TextStyle::RFC_3339)));
        assert_eq!(
            text("2026-01-02T03:04:05+02:00"),
            Some(Times::Text(TextStyle { separator: 'T', fraction: false, suffix: "+00:00" }))
        );
        for not_a_time in ["2026-01-02", "", "yesterday", "2026-01-02 03:04", "2026-01-02 03:04:05 MEZ"] {
            assert_eq!(text(not_a_time), None, "{not_a_time}");
        }
        assert_eq!(style_of(&[], Times::Local), Some(Times::Local));
        let units = [TimeSample::Integer(1_700_000_000), TimeSample::Real(1_700_000_000.5)];
        assert_eq!(style_of(&units, Times::Instant), Some(Times::Unix(Unit::FractionalSeconds)));
        let millis = [TimeSample::Integer(1_700_000_000_000)];
        assert_eq!(style_of(&millis, Times::Instant), Some(Times::Unix(Unit::Milliseconds)));
    }
}
