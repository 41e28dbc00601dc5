//! The three buckets of requests, each with true sliding windows (facts: Brevo section 9).

use std::time::{Duration, Instant};

use crate::sandbox::window::{Remaining, RetryAfter, Window};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// How many requests the account may make; `None` is without a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Below `/v3/contacts`, in any second.
    pub contacts_per_second: Option<u32>,
    /// Below `/v3/contacts`, in any hour.
    pub contacts_per_hour: Option<u32>,
    /// Below `/v3/events`, in any second.
    pub events_per_second: Option<u32>,
    /// Below `/v3/events`, in any hour.
    pub events_per_hour: Option<u32>,
    /// Everything else together, in any hour.
    pub other_per_hour: Option<u32>,
}

impl Default for Limits {
    /// The General tier.
    fn default() -> Self {
        Self {
            contacts_per_second: Some(10),
            contacts_per_hour: Some(36_000),
            events_per_second: Some(10),
            events_per_hour: Some(36_000),
            other_per_hour: Some(100),
        }
    }
}

impl Limits {
    /// No limits at all; answers then carry no rate headers.
    pub const fn off() -> Self {
        Self {
            contacts_per_second: None,
            contacts_per_hour: None,
            events_per_second: None,
            events_per_hour: None,
            other_per_hour: None,
        }
    }
}

/// What the three headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) limit: u32,
    pub(super) remaining: u32,
    /// Whole seconds, rounded up.
    pub(super) reset: u64,
}

/// A request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Throttled(pub(super) Standing);

/// Counts the requests of the account.
#[derive(Debug)]
pub(super) struct Rates {
    contacts: Bucket,
    events: Bucket,
    other: Bucket,
}

/// Windows from short to long. All must hold; the headers tell of the first.
#[derive(Debug)]
struct Bucket(Vec<Window>);

impl Rates {
    pub(super) fn new(limits: Limits) -> Self {
        let window = Window::new;
        let Limits { contacts_per_second, contacts_per_hour, other_per_hour, .. } = limits;
        let Limits { events_per_second, events_per_hour, .. } = limits;
        Self {
            contacts: Bucket(vec![
                window(contacts_per_second, SECOND),
                window(contacts_per_hour, HOUR),
            ]),
            events: Bucket(vec![window(events_per_second, SECOND), window(events_per_hour, HOUR)]),
            other: Bucket(vec![window(other_per_hour, HOUR)]),
        }
    }

    /// Counts a request to the path whose first part after `/v3` is `family`, or refuses it. Which
    /// bucket `/events/batch` belongs to is not known; it counts as an event call.
    pub(super) fn take(
        &mut self,
        family: &str,
        now: Instant,
    ) -> Result<Option<Standing>, Throttled> {
        match family {
            "contacts" => self.contacts.take(now),
            "events" => self.events.take(now),
            _ => self.other.take(now),
        }
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> Result<Option<Standing>, Throttled> {
        // Looked at before any is counted: a refused request counts in no window.
        for window in &mut self.0 {
            let left = window.peek(now);
            if left.limit.is_some() && left.calls == 0 {
                return window.try_take(now).map(Standing::of).map_err(Throttled::from);
            }
        }
        let mut standing = None;
        for window in &mut self.0 {
            let left = window.try_take(now).map_err(Throttled::from)?;
            standing = standing.or(Standing::of(left));
        }
        Ok(standing)
    }
}

impl Standing {
    fn of(left: Remaining) -> Option<Self> {
        let limit = left.limit?;
        Some(Self { limit, remaining: left.calls, reset: whole_seconds(left.reset) })
    }
}

impl From<RetryAfter> for Throttled {
    fn from(refused: RetryAfter) -> Self {
        let reset = whole_seconds(refused.wait);
        Self(Standing { limit: refused.limit, remaining: 0, reset })
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_apart_and_the_hour_holds_too() {
        let limits = Limits {
            contacts_per_second: Some(2),
            contacts_per_hour: Some(3),
            other_per_hour: Some(1),
            ..Limits::off()
        };
        let mut rates = Rates::new(limits);
        let start = Instant::now();
        let first = rates.take("contacts", start);
        assert_eq!(first, Ok(Some(Standing { limit: 2, remaining: 1, reset: 1 })));
        assert!(rates.take("contacts", start).is_ok());
        let refused = Throttled(Standing { limit: 2, remaining: 0, reset: 1 });
        assert_eq!(rates.take("contacts", start), Err(refused));
        assert!(rates.take("contacts", start + SECOND).is_ok());
        let refused = Throttled(Standing { limit: 3, remaining: 0, reset: 3599 });
        assert_eq!(rates.take("contacts", start + SECOND), Err(refused));
        assert_eq!(rates.take("events", start), Ok(None));
        assert!(rates.take("account", start).is_ok());
        assert!(rates.take("processes", start).is_err());
    }
}
