//! Durations, and instants in RFC 3339.

use std::time::Duration;

use attune::config::parse_duration;
use attune::model::Timestamp;

use super::reference::leading_day;

/// A duration is a whole number and a unit, at most a year; its text is never shown.
pub fn duration(text: &str) {
    let found = parse_duration(text);
    let trimmed = text.trim();
    let number: String = trimmed.chars().take_while(char::is_ascii_digit).collect();
    let unit_ms = match &trimmed[number.len()..] {
        "ms" => Some(1_u128),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let significant = number.trim_start_matches('0');
    let size = match significant.len() {
        0 => 0,
        1..=30 => significant.parse::<u128>().unwrap(),
        _ => u128::MAX,
    };
    let millis = unit_ms.filter(|_| !number.is_empty()).and_then(|unit| size.checked_mul(unit));
    let wanted = millis.filter(|millis| *millis <= 366 * 86_400_000);
    assert_eq!(found.as_ref().ok().map(Duration::as_millis), wanted, "{text:?}");
    if let Err(sentence) = found {
        assert!(trimmed.chars().count() < 8 || !sentence.contains(trimmed), "{sentence} shows {text:?}");
    }
}

/// An instant keeps its value when it is spelled and read again, and no day that does not exist is one.
pub fn instant(text: &str) {
    let Some(instant) = Timestamp::parse(text) else { return };
    let spelled = instant.to_string();
    assert_eq!(Timestamp::parse(&spelled), Some(instant), "{text:?} became {spelled:?}");
    let plain =
        text.len() >= 10 && text.is_char_boundary(10) && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    if plain && text.as_bytes()[..4].iter().all(u8::is_ascii_digit) {
        assert!(leading_day(text).is_some(), "{text:?} names no day, but became {spelled}");
    }
    let seconds = Timestamp::parse(&instant.to_seconds_text()).expect("whole seconds are an instant");
    assert!((0..1000).contains(&instant.millis_since(seconds)), "{text:?} was cut to {seconds}");
    // Whatever comes far from now is held, not wrapped around.
    let year = Duration::from_secs(366 * 86_400);
    assert!(instant - year < instant && instant < instant + year);
}
