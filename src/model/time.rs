//! Instants as whole milliseconds since the Unix epoch, as every source and the checkpoint can hold them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z. Which clock it was read from is said where it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339 (`2026-01-02T03:04:05Z`, with or without a fraction, any offset).
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|instant| Self(instant.as_millisecond()))
    }

    /// How much later this is than `earlier`; negative when it is not.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The same instant cut to the whole second, written `2026-01-02T03:04:05Z`.
    pub fn to_seconds_text(self) -> String {
        match jiff::Timestamp::from_second(self.0.div_euclid(1000)) {
            Ok(instant) => instant.to_string(),
            Err(_) => "1970-01-01T00:00:00Z".to_owned(),
        }
    }
}

/// RFC 3339 in UTC, with a fraction where there is one.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(formatter, "{instant}"),
            Err(_) => write!(formatter, "{} ms", self.0),
        }
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// How long ago a moment is, for people.
pub fn ago(moment: Option<Timestamp>, now: Timestamp) -> String {
    moment.map_or_else(
        || "never".to_owned(),
        |moment| {
            let millis = u64::try_from(now.millis_since(moment)).unwrap_or(0);
            format!("{} ago", lasting(Duration::from_millis(millis)))
        },
    )
}

/// A duration for people: two digits are enough.
pub fn lasting(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.is_zero() => "0 s".to_owned(),
        0 => format!("{} ms", duration.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let shown = [0, 12, 1000, 119_000, 120_000, 7_200_000, 200_000_000].map(Duration::from_millis).map(lasting);
        assert_eq!(shown, ["0 s", "12 ms", "1 s", "119 s", "2 min", "2 h", "2 days"]);
    }
}
