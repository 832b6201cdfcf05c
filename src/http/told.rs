//! What one answer says about the quota: its headers, in whatever form they come. Pure.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap};

use super::answer;

/// The longest that one answer can make us wait: whatever asks for more is asked again then.
pub(super) const BLOCK_MAX: Duration = Duration::from_secs(3600);

/// What one answer says about the quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) quota: Option<u64>,
    pub(super) left: Option<u64>,
    pub(super) reset: Option<Duration>,
    pub(super) window: Option<Duration>,
    pub(super) retry_after: Option<Duration>,
    pub(super) throttled: bool,
    pub(super) success: bool,
}

impl Told {
    /// Reads BigCommerce's `X-Rate-Limit-*` and HubSpot's `X-HubSpot-RateLimit-*` (milliseconds), `X-Retry-After` (seconds) and
    /// the standard `Retry-After` (seconds or a date).
    pub(super) fn read(status: u16, headers: &HeaderMap) -> Self {
        // Less than nothing left is nothing left.
        let number = |name: &str| u64::try_from(text(headers, name)?.parse::<i64>().ok()?.max(0)).ok();
        let millis = |name: &str| number(name).map(Duration::from_millis);
        Self {
            quota: number("x-rate-limit-requests-quota").or_else(|| number("x-hubspot-ratelimit-max")),
            left: number("x-rate-limit-requests-left").or_else(|| number("x-hubspot-ratelimit-remaining")),
            reset: millis("x-rate-limit-time-reset-ms"),
            window: millis("x-rate-limit-time-window-ms")
                .or_else(|| millis("x-hubspot-ratelimit-interval-milliseconds"))
                .filter(|window| !window.is_zero()),
            retry_after: delay(headers, "x-retry-after").or_else(|| delay(headers, "retry-after")),
            throttled: status == 429,
            success: (200..300).contains(&status),
        }
    }

    /// How long a 429 asks us to wait: the longer of the two headers.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.retry_after.max(self.reset).map(|wait| wait.min(BLOCK_MAX))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Seconds, or a date: then from the answer's own date, or from now by our clock where it has none.
fn delay(headers: &HeaderMap, name: &str) -> Option<Duration> {
    let most_s = BLOCK_MAX.as_secs_f64();
    if let Ok(seconds) = text(headers, name)?.parse::<f64>() {
        return seconds.is_finite().then(|| Duration::from_secs_f64(seconds.clamp(0.0, most_s)));
    }
    let until = answer::date(headers, name)?;
    let from = answer::date(headers, DATE.as_str()).unwrap_or_else(jiff::Timestamp::now);
    let wait_s = until.as_second().saturating_sub(from.as_second());
    Some(Duration::from_secs(u64::try_from(wait_s).unwrap_or(0)).min(BLOCK_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pairs: &[(&'static str, &str)]) -> Told {
        Told::read(429, &pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect())
    }

    #[test]
    fn a_delay_has_many_forms() {
        let seconds = |text: &str| {
            told(&[("retry-after", text), ("date", "Tue, 15 Nov 1994 08:12:31 GMT")])
                .wait()
                .map(|wait| wait.as_secs_f64())
        };
        for (text, expected) in [
            ("7", Some(7.0)),
            (" 7 ", Some(7.0)),
            ("1.5", Some(1.5)),
            ("-3", Some(0.0)),
            ("99999999999999999999999", Some(3600.0)),
            ("Tue, 15 Nov 1994 08:13:01 GMT", Some(30.0)),
            ("Tue, 15 Nov 1994 08:00:00 GMT", Some(0.0)),
            ("Tue, 15 Nov 2094 08:00:00 GMT", Some(3600.0)),
            ("soon", None),
            ("NaN", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        let both = [("x-retry-after", "2"), ("retry-after", "9"), ("x-rate-limit-time-reset-ms", "4500")];
        assert_eq!(told(&both).wait(), Some(Duration::from_millis(4500)), "the longer of BigCommerce's own two");
    }

    #[test]
    fn numbers_that_make_no_sense_are_left_out() {
        let odd = told(&[
            ("x-rate-limit-requests-quota", "unlimited"),
            ("x-rate-limit-requests-left", "-5"),
            ("x-rate-limit-time-window-ms", "0"),
            ("x-rate-limit-time-reset-ms", "1e3"),
        ]);
        assert_eq!(odd, Told { left: Some(0), throttled: true, ..Told::default() });
    }
}
