//! Times as Intercom writes them, and the days of a workspace.

use jiff::civil::Date;
use jiff::tz::TimeZone;

/// `2026-01-10T04:39:55.465+00:00`, as notifications write times.
pub(super) fn iso(milliseconds: i64) -> String {
    match jiff::Timestamp::from_millisecond(milliseconds) {
        Ok(instant) => instant.strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string(),
        Err(_) => String::new(),
    }
}

/// The calendar day of a time in a time zone.
pub(super) fn day(seconds: i64, zone: &TimeZone) -> Option<Date> {
    let instant = jiff::Timestamp::from_second(seconds).ok()?;
    Some(instant.to_zoned(zone.clone()).date())
}
