//! Windows in which the services count requests, as strict as theirs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::model::Timestamp;

/// What a request that was let through leaves over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// How many requests the window lets through; `None` if it is off.
    pub limit: Option<u32>,
    /// How many more it lets through now; `u32::MAX` if it is off.
    pub calls: u32,
    /// How long until the next one that was counted leaves the window.
    pub reset: Duration,
}

/// A request was refused; it does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter {
    /// How many requests the window lets through.
    pub limit: u32,
    /// How long until one would be let through.
    pub wait: Duration,
}

/// A true sliding window: at most `limit` requests in any stretch of `length`.
#[derive(Debug, Clone)]
pub struct Window {
    limit: Option<u32>,
    length: Duration,
    calls: VecDeque<Instant>,
}

impl Window {
    /// A window of `length` that lets `limit` requests through, or all of them if `None`.
    pub fn new(limit: Option<u32>, length: Duration) -> Self {
        Self { limit, length, calls: VecDeque::new() }
    }

    /// Changes the limit; what was counted stays counted.
    pub fn set_limit(&mut self, limit: Option<u32>) {
        self.limit = limit;
    }

    /// How many requests it lets through; `None` if it is off.
    pub fn limit(&self) -> Option<u32> {
        self.limit
    }

    /// How long it is.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// Counts a request at `now`, which never goes backwards, or refuses it.
    pub fn try_take(&mut self, now: Instant) -> Result<Remaining, RetryAfter> {
        let Some(limit) = self.limit else {
            return Ok(Remaining { limit: None, calls: u32::MAX, reset: Duration::ZERO });
        };
        self.forget_before(now);
        let used = self.calls.len();
        if used >= limit as usize {
            let surplus = used - limit as usize;
            let wait = self.calls.get(surplus).map_or(self.length, |at| self.left_of(*at, now));
            return Err(RetryAfter { limit, wait });
        }
        self.calls.push_back(now);
        Ok(self.remaining(now))
    }

    /// What is left at `now`, without counting anything.
    pub fn peek(&mut self, now: Instant) -> Remaining {
        self.forget_before(now);
        self.remaining(now)
    }

    fn remaining(&self, now: Instant) -> Remaining {
        let used = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        let calls = self.limit.map_or(u32::MAX, |limit| limit.saturating_sub(used));
        let reset = self.calls.front().map_or(Duration::ZERO, |at| self.left_of(*at, now));
        Remaining { limit: self.limit, calls, reset }
    }

    fn left_of(&self, at: Instant, now: Instant) -> Duration {
        self.length.saturating_sub(now.saturating_duration_since(at))
    }

    fn forget_before(&mut self, now: Instant) {
        while self.calls.front().is_some_and(|at| self.left_of(*at, now).is_zero()) {
            self.calls.pop_front();
        }
    }
}

/// Windows that begin at multiples of their length since 1970, as Intercom's do.
#[derive(Debug, Clone)]
pub struct EpochWindow {
    limit: Option<u32>,
    length_seconds: i64,
    began: Timestamp,
    used: u32,
}

/// Where an [`EpochWindow`] stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStanding {
    /// How many requests the window lets through; `None` if it is off.
    pub limit: Option<u32>,
    /// How many more it lets through now; `u32::MAX` if it is off.
    pub remaining: u32,
    /// When the window ends.
    pub ends: Timestamp,
    /// True if this request was let through.
    pub is_allowed: bool,
}

impl EpochWindow {
    /// Windows of `length_seconds` that let `limit` requests through, or all of them if `None`.
    pub fn new(limit: Option<u32>, length_seconds: i64) -> Self {
        Self { limit, length_seconds: length_seconds.max(1), began: Timestamp::EPOCH, used: 0 }
    }

    /// Changes the limit; what was counted stays counted.
    pub fn set_limit(&mut self, limit: Option<u32>) {
        self.limit = limit;
    }

    /// Counts a request at `now`, or refuses it; a refused one does not count.
    pub fn take(&mut self, now: Timestamp) -> EpochStanding {
        let offset = now.seconds().rem_euclid(self.length_seconds);
        let began = now.plus(-offset);
        if began != self.began {
            self.began = began;
            self.used = 0;
        }
        let is_allowed = self.limit.is_none_or(|limit| self.used < limit);
        if is_allowed {
            self.used = self.used.saturating_add(1);
        }
        let remaining = self.limit.map_or(u32::MAX, |limit| limit.saturating_sub(self.used));
        let ends = began.plus(self.length_seconds);
        EpochStanding { limit: self.limit, remaining, ends, is_allowed }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_refused_request_does_not_count() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut window = Window::new(Some(2), second);
        assert_eq!(window.try_take(start).map(|left| left.calls), Ok(1));
        let half = start + second / 2;
        assert_eq!(window.try_take(half).map(|left| left.reset), Ok(second / 2));
        let refused = RetryAfter { limit: 2, wait: second / 2 };
        assert_eq!(window.try_take(half), Err(refused));
        assert_eq!(window.try_take(start + second).map(|left| left.calls), Ok(0));
        window.set_limit(None);
        assert!(window.try_take(start + second).is_ok());
    }

    #[test]
    fn epoch_windows_end_at_multiples_of_their_length() {
        let at = Timestamp::from_seconds;
        let mut window = EpochWindow::new(Some(1), 10);
        let first = window.take(at(1_003));
        assert_eq!((first.is_allowed, first.remaining, first.ends), (true, 0, at(1_010)));
        assert!(!window.take(at(1_009)).is_allowed);
        assert!(window.take(at(1_010)).is_allowed);
        window.set_limit(None);
        assert!(window.take(at(1_010)).is_allowed);
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_in_any_window(gaps in prop::collection::vec(0u64..400, 1..200)) {
            let length = Duration::from_secs(1);
            let mut window = Window::new(Some(5), length);
            let mut now = Instant::now();
            let mut allowed: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                match window.try_take(now) {
                    Ok(_) => allowed.push(now),
                    Err(refused) => prop_assert!(refused.wait > Duration::ZERO),
                }
            }
            for (index, from) in allowed.iter().enumerate() {
                let inside = allowed.iter().skip(index).take_while(|at| **at < *from + length);
                prop_assert!(inside.count() <= 5);
            }
        }
    }
}
