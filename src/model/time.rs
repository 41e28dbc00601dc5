//! Time as Intercom counts it (whole seconds) and the one place that reads the clock.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::fmt::temporal::DateTimeParser;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Seconds since 1970-01-01T00:00:00Z. Fractions are cut: Intercom's own `updated_at` loses them in
/// some notifications, so nothing finer can be compared (facts: Intercom section 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// As seconds in the year 5138, as milliseconds in 1973: from here on a number counts the latter.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;
/// The end of the year 9998.
const LAST_SECOND: i64 = 253_370_764_799;

impl Timestamp {
    /// The beginning of 1970, older than any record.
    pub const EPOCH: Self = Self(0);

    /// A time from its seconds since 1970.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970.
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// This time, `seconds` later (or earlier, if negative).
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Reads a time as either service writes it: an integer or float of seconds, or ISO 8601 with
    /// any offset; with none, UTC. `null`, `""`, `0`-length and anything else is `None`.
    pub fn parse(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => {
                let float = || number.as_f64().filter(|f| f.is_finite()).map(|f| f.floor() as i64);
                number.as_i64().or_else(float).map(Self)
            }
            Value::String(text) => Self::parse_text(text),
            _ => None,
        }
    }

    /// This time as a date from 1970 to 9998, milliseconds in the place of seconds read as such. None:
    /// it is no date.
    pub fn in_calendar(self) -> Option<Self> {
        let is_in_milliseconds = self.0 >= FIRST_MILLISECONDS;
        let read = if is_in_milliseconds { Self(self.0 / 1_000) } else { self };
        (0..=LAST_SECOND).contains(&read.0).then_some(read)
    }

    /// Reads an ISO 8601 date or date-time.
    pub fn parse_text(text: &str) -> Option<Self> {
        static PARSER: DateTimeParser = DateTimeParser::new();
        let text = text.trim();
        if let Ok(instant) = PARSER.parse_timestamp(text) {
            return Some(Self(instant.as_nanosecond().div_euclid(1_000_000_000) as i64));
        }
        let civil = PARSER.parse_datetime(text).ok()?;
        let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(Self(zoned.timestamp().as_second()))
    }
}

/// ISO 8601, whatever the number: what no calendar reaches is written as its first or last second.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (jiff::Timestamp::MIN, jiff::Timestamp::MAX);
        let seconds = self.0.clamp(first.as_second(), last.as_second());
        let end = if seconds < 0 { first } else { last };
        write!(f, "{}", jiff::Timestamp::from_second(seconds).unwrap_or(end))
    }
}

/// Says what time it is. A trait, because tests hand in their own.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_second())
    }
}

/// A clock that stands still until it is moved, for tests and for evaluation at a given `as_of`.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Moves the clock by `seconds`.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_every_form_of_time_that_the_services_write() {
        fn case(value: Value, seconds: Option<i64>) {
            assert_eq!(Timestamp::parse(&value).map(Timestamp::seconds), seconds, "{value}");
        }
        case(json!(1_768_019_995), Some(1_768_019_995));
        case(json!(1_768_019_995.9), Some(1_768_019_995));
        case(json!("2026-01-10T04:39:55.465+00:00"), Some(1_768_019_995));
        case(json!("2026-01-10T04:39:55.000Z"), Some(1_768_019_995));
        case(json!("2026-01-10T05:39:55+01:00"), Some(1_768_019_995));
        case(json!("2026-01-10"), Some(1_768_003_200));
        case(json!(2_738_966_400_i64), Some(2_738_966_400));
        case(json!(null), None);
        case(json!(""), None);
        case(json!("yesterday"), None);
        case(json!({}), None);
    }
}
