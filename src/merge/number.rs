//! Decimal numbers as exact text: no binary fractions, so `0.1` is `0.1` and 20 digits stay 20 digits.

/// The most digits of a number written out; a longer one is not a value that anybody typed.
const DIGITS_MAX: usize = 64;

/// The one way to write a number: no plus sign, no exponent, no leading or trailing zeros, no `-0`. None where the text
/// is not a decimal number, or needs more than 64 digits.
pub(super) fn canonical_number(text: &str) -> Option<String> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let exponent = exponent.map_or(Some(0), parse_exponent)?;

    // The number is 0.DIGITS × 10^point, without zeros on either end of DIGITS.
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let leading_zeros = digits.len() - significant.len();
    let significant = significant.trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let point = i64::try_from(whole.len()).ok()? - i64::try_from(leading_zeros).ok()? + exponent;

    let count = i64::try_from(significant.len()).ok()?;
    let (whole_digits, fraction_digits) = (point.max(0), (count - point).max(0));
    if whole_digits + fraction_digits > i64::try_from(DIGITS_MAX).ok()? {
        return None;
    }
    let point_at = usize::try_from(whole_digits).ok()?;
    let zeros_before = "0".repeat(usize::try_from(-point.min(0)).ok()?);
    let sign = if negative { "-" } else { "" };
    Some(if point_at >= significant.len() {
        format!("{sign}{significant}{}", "0".repeat(point_at - significant.len()))
    } else if point_at == 0 {
        format!("{sign}0.{zeros_before}{significant}")
    } else {
        format!("{sign}{}.{}", &significant[..point_at], &significant[point_at..])
    })
}

/// An exponent so large that the number cannot be written out is refused before it costs anything, unless it is one of
/// zero; it is cut to a size that is refused later.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size: i64 = digits.parse().unwrap_or(i64::MAX).min(1 << 40);
    Some(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::canonical_number;

    #[test]
    fn one_number_has_one_spelling() {
        for (spellings, canonical) in [
            (&["1", "1.0", "1e0", "+1", "01", "1.", "10e-1", "0.1E1", "1.000"][..], "1"),
            (&["0", "-0", "0.0", "+0", "00", ".0", "0e999999999999999999999", "-0e-5"], "0"),
            (&["-2.50", "-2.5", "-25e-1", "-.25e1"], "-2.5"),
            (&["0.001", "1e-3", ".001", "00.0010"], "0.001"),
            (&["1200", "1.2e3", "12e+2", "1200.00"], "1200"),
            (&["12345678901234567890.12345678901234567890"], "12345678901234567890.1234567890123456789"),
        ] {
            for spelling in spellings {
                assert_eq!(canonical_number(spelling).as_deref(), Some(canonical), "{spelling}");
            }
        }
    }

    #[test]
    fn what_is_not_a_decimal_number_is_none() {
        for text in [
            "", "+", "-", ".", "e5", "1e", "1e+", "1e1.5", "--1", "+-1", "1,5", "1 000", "1_000", "0x10", "NaN", "inf",
            "٣", "1.2.3", "½", "1e5e5", "$5",
        ] {
            assert_eq!(canonical_number(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_too_long_to_write_out_is_none() {
        assert!(canonical_number(&"9".repeat(64)).is_some());
        assert_eq!(canonical_number(&"9".repeat(65)), None);
        assert!(canonical_number("1e63").is_some());
        assert_eq!(canonical_number("1e64"), None);
        assert!(canonical_number("1e-64").is_some());
        assert_eq!(canonical_number("1e-65"), None);
        assert_eq!(canonical_number("1e999999999999999999999999"), None);
        assert_eq!(canonical_number("1e-999999999999999999999999"), None);
    }

    proptest! {
        #[test]
        fn spelling_with_an_exponent_changes_nothing(units in any::<i64>(), places in 0_usize..18, shift in 0_i32..20) {
            let text = units.unsigned_abs().to_string();
            let padded = format!("{text:0>width$}", width = places + 1);
            let (whole, fraction) = padded.split_at(padded.len() - places);
            let sign = if units < 0 { "-" } else { "" };
            let plain = canonical_number(&format!("{sign}{whole}.{fraction}"));
            prop_assert!(plain.is_some());
            let exponent = shift - i32::try_from(places).unwrap();
            let zeros = "0".repeat(usize::try_from(shift).unwrap());
            let shifted = format!("{units}e{exponent}");
            let spelled_out = canonical_number(&format!("{sign}{whole}{fraction}{zeros}e-{places}"));
            prop_assert_eq!(canonical_number(&shifted), spelled_out);
            if shift == 0 {
                prop_assert_eq!(canonical_number(&shifted), plain);
            }
        }

        #[test]
        fn it_is_its_own_spelling_and_equal_to_what_was_read(number in -1.0e15_f64..1.0e15) {
            let canonical = canonical_number(&format!("{number:e}")).unwrap();
            prop_assert_eq!(canonical_number(&canonical), Some(canonical.clone()));
            prop_assert_eq!(canonical.parse::<f64>().unwrap(), number);
        }

        #[test]
        fn no_text_is_too_strange(text in "[-+.eE0-9 ]{0,30}|\\PC{0,20}") {
            if let Some(canonical) = canonical_number(&text) {
                prop_assert_eq!(canonical_number(&canonical), Some(canonical.clone()));
            }
        }
    }
}
