//! Whole seconds since the Unix epoch, as BigCommerce writes and reads them.
//!
//! Must not know: which clock they came from.

use serde::{Serialize, Serializer};

use crate::model::Timestamp;

/// An instant in whole seconds; sub-second precision never appears in BigCommerce's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seconds(pub(super) i64);

impl Seconds {
    /// Cuts off the fraction.
    pub(super) const fn of(instant: Timestamp) -> Self {
        Self(instant.as_millis().div_euclid(1000))
    }

    /// The same instant for everyone else.
    pub(super) const fn timestamp(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_mul(1000))
    }

    /// `2026-01-02T03:04:05Z`. By hand: a page of customers has thousands of dates.
    fn text(self) -> [u8; 20] {
        let (days, second) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        // Days to a civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let mut text = *b"0000-00-00T00:00:00Z";
        let two = |text: &mut [u8; 20], at: usize, number: i64| {
            text[at] = b'0' + (number / 10 % 10) as u8;
            text[at + 1] = b'0' + (number % 10) as u8;
        };
        two(&mut text, 0, year / 100);
        two(&mut text, 2, year % 100);
        two(&mut text, 5, month);
        two(&mut text, 8, day);
        two(&mut text, 11, second / 3600);
        two(&mut text, 14, second / 60 % 60);
        two(&mut text, 17, second % 60);
        text
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

/// What a date in a query may look like, as it stands there, undecoded.
///
/// A date alone gets the current time of day appended, as BigCommerce's catalogue does: whoever sends one is surprised
/// here too. No zone means UTC. A Unix time is taken, where it is taken at all, in milliseconds, as BigCommerce's old
/// examples have it.
pub(super) fn parse_filter(raw: &str, unix: bool, now: Seconds) -> Option<Seconds> {
    if unix && raw.len() >= 12 && raw.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Seconds(raw.parse::<i64>().ok()?.div_euclid(1000)));
    }
    if raw.len() == 10 {
        let day = Timestamp::parse(&format!("{raw}T00:00:00Z"))?;
        return Some(Seconds(Seconds::of(day).0 + now.0.rem_euclid(86_400)));
    }
    let (clock, zone) = raw.split_at_checked(19)?;
    let shape = clock.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    // A plus sign is a space by the time a server sees it, so an offset can only be behind UTC.
    let zone_shape = match zone.as_bytes() {
        [] | b"Z" => true,
        [b'-', a, b, b':', c, d] | [b'-', a, b, c, d] => [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()),
        _ => false,
    };
    if !shape || !zone_shape {
        return None;
    }
    let zone = if zone.is_empty() { "Z" } else { zone };
    Timestamp::parse(&format!("{clock}{zone}")).map(Seconds::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(seconds: i64) -> String {
        serde_json::to_value(Seconds(seconds)).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn writes_what_everyone_else_writes() {
        for step in 0..20_000_i64 {
            let seconds = step * 977_777 - 2_000_000_000;
            assert_eq!(written(seconds), Timestamp::from_millis(seconds * 1000).to_seconds_text());
        }
        assert_eq!(written(951_782_400), "2000-02-29T00:00:00Z");
    }

    #[test]
    fn reads_full_times_and_nothing_odd() {
        let now = Seconds(1_800_000_000);
        let read = |raw: &str| parse_filter(raw, false, now).map(|seconds| seconds.0);
        assert_eq!(read("2026-01-02T03:04:05Z"), Some(1_767_323_045));
        assert_eq!(read("2026-01-02T03:04:05"), Some(1_767_323_045));
        assert_eq!(read("2026-01-01T23:04:05-0400"), Some(1_767_323_045));
        assert_eq!(read("2026-01-01T23:04:05-04:00"), Some(1_767_323_045));
        for odd in [
            "2026-01-02T03%3A04%3A05Z",
            "2026-01-02T03:04:05.000Z",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04:05+00:00",
            "2026-02-30T03:04:05Z",
            "1767323045000",
            "yesterday",
            "",
        ] {
            assert_eq!(read(odd), None, "{odd}");
        }
        assert_eq!(parse_filter("1767323045000", true, now), Some(Seconds(1_767_323_045)));
        // The trap: midnight was meant, the time of day is what comes.
        assert_eq!(read("2026-01-02"), Some(1_767_312_000 + 1_800_000_000 % 86_400));
    }
}
