//! The slots of one window, as [`super::Limiter`] counts them. Plain data: time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Lane;

/// The slots of one window.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) limit: u32,
    pub(super) per: Duration,
    /// Calls without a response yet, in all lanes and of bulk.
    in_flight: u32,
    bulk_in_flight: u32,
    /// When each response of the last window arrived, oldest first, and whether it was bulk.
    finished: VecDeque<(Instant, bool)>,
    bulk_finished: u32,
    /// Calls that others made on the same account, until when they count.
    others: Option<(u32, Instant)>,
}

impl Window {
    pub(super) fn new(calls: u32, per: Duration) -> Self {
        Self {
            limit: calls.max(1),
            per,
            in_flight: 0,
            bulk_in_flight: 0,
            finished: VecDeque::new(),
            bulk_finished: 0,
            others: None,
        }
    }

    pub(super) fn start(&mut self, lane: Lane) {
        self.in_flight += 1;
        self.bulk_in_flight += u32::from(lane == Lane::Bulk);
    }

    /// A window that was added while the call was under way has not counted its start.
    pub(super) fn finish(&mut self, lane: Lane, now: Instant) {
        let is_bulk = lane == Lane::Bulk;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.bulk_in_flight = self.bulk_in_flight.saturating_sub(u32::from(is_bulk));
        self.finished.push_back((now, is_bulk));
        self.bulk_finished += u32::from(is_bulk);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, is_bulk)) = self.finished.front().copied() {
            if at + self.per > now {
                break;
            }
            self.finished.pop_front();
            self.bulk_finished -= u32::from(is_bulk);
        }
        self.others = self.others.filter(|(_, until)| now < *until);
    }

    /// Takes in calls that were made before this window was set up, each that long ago.
    pub(super) fn recall(&mut self, ages: &[Duration], now: Instant) {
        let mut past: Vec<Instant> = ages
            .iter()
            .filter(|age| **age < self.per)
            // A machine that has just started may not know of a time that long ago.
            .map(|age| now.checked_sub(*age).unwrap_or(now))
            .collect();
        past.sort_unstable();
        self.finished.extend(past.into_iter().map(|at| (at, false)));
        self.finished.make_contiguous().sort_unstable();
    }

    /// Takes all calls of this window to have been made just now, if it is no longer than `longest`.
    pub(super) fn fill(&mut self, longest: Duration, now: Instant) {
        if self.per <= longest {
            let missing = self.limit.saturating_sub(self.in_use());
            self.finished.extend((0..missing).map(|_| (now, false)));
        }
    }

    /// How many calls are kept from bulk. A short window is all bulk's while nobody else calls: who
    /// comes then waits for one release at most. Of a window of an hour a part is always kept.
    fn reserve(&self, is_live_idle: bool) -> u32 {
        match self.limit {
            ..=2 => 0,
            _ if is_live_idle && self.per < Duration::from_secs(60) => 0,
            limit @ 1_000.. => limit / 50,
            limit => (limit / 5).max(1),
        }
    }

    pub(super) fn has_room(&self, lane: Lane, is_live_idle: bool) -> bool {
        let reserve = self.reserve(is_live_idle);
        let bulk = self.bulk_in_flight + self.bulk_finished + self.others_count();
        self.in_use() < self.limit && (lane != Lane::Bulk || bulk < self.limit - reserve)
    }

    fn ours(&self) -> u32 {
        self.in_flight.saturating_add(u32::try_from(self.finished.len()).unwrap_or(u32::MAX))
    }

    fn others_count(&self) -> u32 {
        self.others.map_or(0, |(count, _)| count)
    }

    pub(super) fn in_use(&self) -> u32 {
        self.ours().saturating_add(self.others_count())
    }

    pub(super) fn share_left(&self) -> f64 {
        f64::from(self.limit.saturating_sub(self.in_use())) / f64::from(self.limit)
    }

    pub(super) fn next_release(&self) -> Option<Instant> {
        let ours = self.finished.front().map(|(at, _)| *at + self.per);
        let others = self.others.map(|(_, until)| until);
        ours.into_iter().chain(others).min()
    }

    /// Our count is never below the server's count of us, so what is missing beyond it is others'.
    /// Within a window the highest estimate stays: answers overtake each other.
    pub(super) fn note_others(&mut self, remaining: u32, until: Instant) {
        let count = self.limit.saturating_sub(remaining).saturating_sub(self.ours());
        if count > 0 && count >= self.others_count() {
            self.others = Some((count, until));
        }
    }
}
