//! Durations as people write them: `500ms`, `30s`, `5m`, `2h`, `1d`.

use std::time::Duration;

/// No duration in a configuration is longer: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Reads a whole number and a unit: `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// A sentence that says what is expected, without the text itself.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(EXPECTED.to_owned()),
    };
    if number.is_empty() {
        return Err(EXPECTED.to_owned());
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| format!("longer than the longest duration, {}", show(LONGEST)))
}

const EXPECTED: &str =
    "expected a duration: a whole number and its unit, such as \"500ms\", \"30s\", \"5m\", \"2h\" or \"1d\"";

/// A duration as it is written in a configuration, in the largest unit that holds it whole.
pub(super) fn show(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit_ms, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if millis >= unit_ms && millis.is_multiple_of(unit_ms) {
            return format!("{}{unit}", millis / unit_ms);
        }
    }
    if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_shown() {
        for text in ["500ms", "30s", "5m", "2h", "1d", "0s"] {
            assert_eq!(parse(text).map(show), Ok(text.to_owned()));
        }
        assert_eq!(parse("120s").map(show), Ok("2m".to_owned()));
    }

    #[test]
    fn anything_else_is_refused_without_an_echo() {
        for text in ["", "s", "30", "-1s", "1.5h", "30 s", "30sec", "½s", "1h30m"] {
            assert_eq!(parse(text), Err(EXPECTED.to_owned()), "{text}");
        }
        for text in ["99999999999999999999s", "18446744073709551615d", "367d"] {
            assert_eq!(parse(text), Err("longer than the longest duration, 366d".to_owned()), "{text}");
        }
    }
}
