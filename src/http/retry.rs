//! How long to wait before a call is made again. Pure: chance is an argument.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// What to do after a failure: a property of the error, asked once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Again, after the backoff of this attempt.
    Now,
    /// Again, no sooner than the service asked.
    After(Duration),
    /// The same call would fail again.
    Never,
}

/// Waits that double from `base` to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub base: Duration,
    /// The longest wait that the service did not ask for, before jitter.
    pub max: Duration,
}

impl Default for Backoff {
    /// From one second to one minute.
    fn default() -> Self {
        Self::from_base(Duration::from_secs(1))
    }
}

impl Backoff {
    /// Waits that double from `base` to sixty times `base`.
    pub fn from_base(base: Duration) -> Self {
        Self { base, max: base.saturating_mul(60) }
    }

    /// The wait after `attempt` failures beyond the first (0 after the first failure).
    ///
    /// `retry_after` is a floor and `jitter`, a fraction from 0 to 1, only adds: up to half of the
    /// doubling wait, so that callers who failed together do not return together.
    pub fn delay(&self, attempt: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
        let doubling = ExponentialBuilder::new()
            .with_min_delay(self.base)
            .with_max_delay(self.max)
            .without_max_times()
            .build()
            // 2^31 is beyond any ratio of `max` to `base`.
            .nth(attempt.min(31) as usize)
            .unwrap_or(self.max);
        let spread = doubling.mul_f64(jitter.clamp(0.0, 1.0) / 2.0);
        doubling.max(retry_after.unwrap_or_default()).saturating_add(spread)
    }
}

/// [`Backoff::delay`] from one second to one minute.
pub fn delay(attempt: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    Backoff::default().delay(attempt, retry_after, jitter)
}

/// A fraction from 0 to below 1, for jitter; one half where the system has no randomness.
pub fn random_fraction() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_from_a_second_to_a_minute() {
        fn case(attempt: u32, seconds: u64) {
            assert_eq!(delay(attempt, None, 0.0), Duration::from_secs(seconds), "{attempt}");
        }
        case(0, 1);
        case(1, 2);
        case(5, 32);
        case(6, 60);
        case(u32::MAX, 60);
        assert_eq!(delay(0, Some(Duration::from_secs(90)), 0.0), Duration::from_secs(90));
    }

    proptest! {
        #[test]
        fn jitter_only_adds_and_the_wait_asked_for_is_a_floor(
            attempt in 0_u32..40, asked in prop::option::of(0_u64..4000), jitter in -1.0_f64..2.0,
        ) {
            let asked = asked.map(Duration::from_secs);
            let plain = delay(attempt, asked, 0.0);
            let spread = delay(attempt, asked, jitter);
            prop_assert!(spread >= plain && spread <= plain + Duration::from_secs(30));
            prop_assert!(spread >= asked.unwrap_or_default());
        }

        #[test]
        fn a_random_fraction_is_below_one(_n in 0..8) {
            prop_assert!((0.0..1.0).contains(&random_fraction()));
        }
    }
}
