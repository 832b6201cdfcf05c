//! Days and instants as text.

/// The day of `YYYY-MM-DD`, or of an instant, as it is written there: the time and its offset do not move it. None where
/// the text is neither, or where there is no such day.
///
/// An instant is RFC 3339 or what databases print: a space for the `T`, no seconds, no offset, an offset of hours alone.
pub(super) fn canonical_day(text: &str) -> Option<&str> {
    let (day, time) = text.split_at_checked(10)?;
    (is_day(day) && (time.is_empty() || is_time(time))).then_some(day)
}

/// Whether the text is a day and nothing more.
pub(super) fn is_day(text: &str) -> bool {
    let [year, month, day] = text.split('-').collect::<Vec<_>>()[..] else {
        return false;
    };
    let (Some(year), Some(month), Some(day)) = (digits(year, 4), digits(month, 2), digits(day, 2)) else {
        return false;
    };
    let (Ok(year), Ok(month), Ok(day)) = (i16::try_from(year), i8::try_from(month), i8::try_from(day)) else {
        return false;
    };
    jiff::civil::Date::new(year, month, day).is_ok()
}

/// Whether the text is `T03:04[:05[.678]][Z|+01:00]`, with a space for the `T` if need be.
fn is_time(text: &str) -> bool {
    let Some(text) = text.strip_prefix(['T', 't', ' ']) else {
        return false;
    };
    let clock_end = text.find(|character: char| !matches!(character, '0'..='9' | ':' | '.')).unwrap_or(text.len());
    let (clock, offset) = text.split_at(clock_end);
    is_clock(clock) && (offset.is_empty() || is_offset(offset.trim_start_matches(' ')))
}

fn is_clock(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').map_or((text, None), |(clock, fraction)| (clock, Some(fraction)));
    let fits = |text: &str, below: u16| digits(text, 2).is_some_and(|number| number < below);
    match clock.split(':').collect::<Vec<_>>()[..] {
        [hour, minute] => fits(hour, 24) && fits(minute, 60) && fraction.is_none(),
        // 60: a leap second.
        [hour, minute, second] => {
            fits(hour, 24)
                && fits(minute, 60)
                && fits(second, 61)
                && fraction.is_none_or(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        }
        _ => false,
    }
}

fn is_offset(text: &str) -> bool {
    if matches!(text, "Z" | "z") {
        return true;
    }
    let Some(offset) = text.strip_prefix(['+', '-']) else {
        return false;
    };
    let (hours, minutes) = match offset.len() {
        2 => (offset, "00"),
        4 if offset.is_ascii() => offset.split_at(2),
        5 => match offset.split_once(':') {
            Some(parts) => parts,
            None => return false,
        },
        _ => return false,
    };
    digits(hours, 2).is_some_and(|number| number < 24) && digits(minutes, 2).is_some_and(|number| number < 60)
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u16> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::{canonical_day, is_day};

    #[test]
    fn an_instant_is_the_day_that_it_names() {
        for text in [
            "2026-01-02",
            "2026-01-02T00:00:00Z",
            "2026-01-02T23:59:59.999999-11:00",
            "2026-01-02t00:00:00z",
            "2026-01-02 03:04:05",
            "2026-01-02 03:04:05.678",
            "2026-01-02 03:04:05+00",
            "2026-01-02 03:04:05.678+0130",
            "2026-01-02 03:04:05 +01:30",
            "2026-01-02T03:04",
            "2026-01-02T23:59:60Z",
        ] {
            assert_eq!(canonical_day(text), Some("2026-01-02"), "{text}");
        }
        assert_eq!(canonical_day("2024-02-29"), Some("2024-02-29"));
    }

    #[test]
    fn what_is_not_a_day_is_none() {
        for text in [
            "",
            "2024-02-30",
            "2023-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-01-00",
            "0000-00-00",
            "2026-1-2",
            "02.01.2026",
            "01/02/2026",
            "20260102",
            "2026-01-02T",
            "2026-01-02T25:00:00Z",
            "2026-01-02T03:60:00Z",
            "2026-01-02T03",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05+25:00",
            "2026-01-02T03:04:05+1",
            "2026-01-02T03:04:05Zulu",
            "2026-01-02x",
            "2026-01-0é",
            "+026-01-02",
            "infinity",
            "2026-01-02T03:04:05+aé",
        ] {
            assert_eq!(canonical_day(text), None, "{text}");
        }
        assert!(!is_day("2026-01-02T00:00:00Z"));
    }
}
