//! Time as the core sees it: a number that the shell passes in.

use serde::{Deserialize, Serialize};
use std::ops::{Add, Sub};
use std::str::FromStr;

/// A moment: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Microseconds since the Unix epoch.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// The moment `ms` milliseconds after this one.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000)))
    }

    /// Whole milliseconds from `earlier` to this moment; 0 when the clock stepped back.
    pub fn ms_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0) / 1_000).unwrap_or(0)
    }

    /// As a calendar time, for time zones and for people.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

/// The first moment that a number is taken for: 2000-01-01T00:00:00Z. Below it are years, and moments in seconds or milliseconds.
const LEAST_AS_NUMBER: i64 = 946_684_800_000_000;

/// Why a text is not a moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAMoment {
    /// Neither form.
    #[error("is not a moment; {WRITE_MOMENT}")]
    Unreadable,
    /// A number, but not one of microseconds.
    #[error("is not a number of microseconds since 1970, from the year 2000 on; {WRITE_MOMENT}")]
    OutOfRange,
}

const WRITE_MOMENT: &str =
    "write 2026-07-01T00:00:00Z (RFC 3339), or microseconds since 1970 such as 1782864000000000";

impl FromStr for Timestamp {
    type Err = NotAMoment;

    /// Reads `2026-07-01T00:00:00Z` (RFC 3339, with any offset), or microseconds since 1970 from the year 2000 on.
    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let micros = text.parse().ok().filter(|micros| *micros >= LEAST_AS_NUMBER);
            let at = micros.filter(|micros| jiff::Timestamp::from_microsecond(*micros).is_ok());
            return at.map(Self).ok_or(NotAMoment::OutOfRange);
        }
        let at: Result<jiff::Timestamp, _> = text.parse();
        at.map(Self::from).map_err(|_| NotAMoment::Unreadable)
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(at: jiff::Timestamp) -> Self {
        Self(at.as_microsecond())
    }
}

impl Add<std::time::Duration> for Timestamp {
    type Output = Self;
    fn add(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub for Timestamp {
    type Output = i64;
    /// Microseconds between two moments.
    fn sub(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_two_forms() {
        let july = Timestamp(1_782_864_000_000_000);
        for text in [
            "2026-07-01T00:00:00Z",
            "2026-06-30T20:00:00-04:00",
            "2026-07-01T00:00:00.000Z",
            "1782864000000000",
        ] {
            assert_eq!(text.parse(), Ok(july), "{text}");
        }
        for (text, error) in [
            ("", NotAMoment::Unreadable),
            ("yesterday", NotAMoment::Unreadable),
            ("2026-07-01", NotAMoment::Unreadable),
            ("2026-07-01T00:00:00", NotAMoment::Unreadable),
            ("2026-02-30T00:00:00Z", NotAMoment::Unreadable),
            ("2020", NotAMoment::OutOfRange),
            ("1782864000", NotAMoment::OutOfRange),
            ("1782864000000", NotAMoment::OutOfRange),
            ("-1782864000000000", NotAMoment::OutOfRange),
            ("9223372036854775807", NotAMoment::OutOfRange),
            ("99999999999999999999", NotAMoment::OutOfRange),
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(error), "{text}");
        }
    }
}
