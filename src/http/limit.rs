//! A rate limit, kept as the server counts it.
//!
//! A call occupies a slot from the moment it is sent until one window after its response arrived.
//! The server saw it somewhere in between, so however long calls travel, no window of the server,
//! wherever it starts, holds more than the limit. Headers correct the limit; a refusal blocks all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use super::window::Window;

/// Longest time that headers may block or count others' calls; no service has longer windows.
const MAX_RESET: Duration = Duration::from_secs(3600);
/// The same for windows of less than a minute (facts: Brevo section 9).
const MAX_SHORT_RESET: Duration = Duration::from_secs(60);
/// How long after a call of another lane bulk leaves a part of short windows free.
const LIVE_IDLE: Duration = Duration::from_secs(5);
/// Headers may add windows that were not configured, up to this many in all.
const MAX_WINDOWS: usize = 4;

/// So many calls in any window of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls, at least one.
    pub calls: u32,
    /// Length of the window.
    pub per: Duration,
}

/// Who goes first when calls wait; inside a lane the first to come is the first to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// What may not wait behind anything, such as an opt-out.
    Urgent,
    /// What somebody changed a moment ago.
    Live,
    /// Sweeps and backfills. A part of every window is kept from them while anybody else calls, and of
    /// windows of an hour always.
    Bulk,
}

/// What the headers of a response say about one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// Calls allowed in a window.
    pub limit: u32,
    /// Calls left in the current window.
    pub remaining: u32,
    /// Time until the current window ends.
    pub reset: Duration,
    /// Length of the window; an observation of a length that is not configured adds a window.
    pub per: Duration,
}

/// The tightest window of a limiter, for `status` and metrics.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitStatus {
    /// The limiter's name.
    pub name: &'static str,
    /// Calls allowed in a window.
    pub limit: u32,
    /// Length of the window in seconds.
    pub per_seconds: f64,
    /// Slots that are occupied, by others' calls too, as far as known.
    pub in_use: u32,
    /// Slots that are free.
    pub remaining: u32,
    /// How long the service still refuses all calls; in JSON as seconds.
    #[serde(rename = "blockedSeconds", serialize_with = "as_seconds")]
    pub blocked_for: Option<Duration>,
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn as_seconds<S: Serializer>(wait: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    wait.map(|wait| wait.as_secs_f64()).serialize(serializer)
}

/// Hands out permits to call; a cheap clone shares the count. Needs a Tokio runtime.
#[derive(Debug, Clone)]
pub struct Limiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: &'static str,
    state: Mutex<State>,
    /// Wakes the dispatcher when something other than time made room.
    changed: Notify,
}

impl Limiter {
    /// A limiter that keeps all `rates` at once; without any it lets everything through until
    /// headers bring one.
    pub fn new(name: &'static str, rates: &[Rate]) -> Self {
        let windows = rates.iter().map(|rate| Window::new(rate.calls, rate.per)).collect();
        let state = State { windows, ..State::default() };
        Self(Arc::new(Shared { name, state: Mutex::new(state), changed: Notify::new() }))
    }

    /// Waits until one call may be sent. Dropping the future gives up the place in the queue.
    pub async fn acquire(&self, lane: Lane) -> Permit {
        let receiver = {
            let (sender, receiver) = oneshot::channel();
            let mut state = self.0.lock();
            if lane != Lane::Bulk {
                state.live_seen = Some(Instant::now());
            }
            state.queue(lane).push_back(sender);
            self.0.grant(&mut state);
            if state.has_waiters() && !state.is_dispatching {
                state.is_dispatching = true;
                tokio::spawn(Arc::clone(&self.0).dispatch());
            }
            receiver
        };
        match receiver.await {
            Ok(permit) => permit,
            // Only a runtime that is shutting down drops the dispatcher.
            Err(_) => std::future::pending().await,
        }
    }

    /// Keeps other limits from now on; what was counted stays.
    pub fn set_rates(&self, rates: &[Rate]) {
        let mut state = self.0.lock();
        for rate in rates {
            match state.windows.iter_mut().find(|window| window.per == rate.per) {
                Some(window) => window.limit = rate.calls.max(1),
                None => state.windows.push(Window::new(rate.calls, rate.per)),
            }
        }
        drop(state);
        self.0.changed.notify_one();
    }

    /// Counts calls that were made before this limiter was set up, given by how long ago they ended.
    pub fn recall(&self, ages: &[Duration]) {
        let now = Instant::now();
        self.0.lock().windows.iter_mut().for_each(|window| window.recall(ages, now));
    }

    /// Takes every window that is no longer than `longest` to be used up: what was called until a
    /// moment ago is not known.
    pub fn assume_used(&self, longest: Duration) {
        let now = Instant::now();
        self.0.lock().windows.iter_mut().for_each(|window| window.fill(longest, now));
    }

    /// Takes in what a response said. Headers win over configuration, but not against reason.
    pub fn observe(&self, observation: Observation) {
        let now = Instant::now();
        self.0.lock().observe(observation, now);
        self.0.changed.notify_one();
    }

    /// Lets nothing through before `until`, in no lane: the service has refused a call. No longer
    /// than an hour; an earlier block that lasts longer stays.
    pub fn block_until(&self, until: Instant) {
        let mut state = self.0.lock();
        let until = until.min(Instant::now() + MAX_RESET);
        state.blocked_until = state.blocked_until.max(Some(until));
        drop(state);
        self.0.changed.notify_one();
    }

    /// How the window stands that has the smallest share left.
    pub fn status(&self) -> LimitStatus {
        let now = Instant::now();
        let mut state = self.0.lock();
        let blocked_for =
            state.blocked_until.map(|until| until.duration_since(now)).filter(|d| !d.is_zero());
        for window in &mut state.windows {
            window.expire(now);
        }
        let tightest =
            state.windows.iter().min_by(|a, b| a.share_left().total_cmp(&b.share_left()));
        let (limit, per, in_use) =
            tightest.map_or((0, Duration::ZERO, 0), |w| (w.limit, w.per, w.in_use()));
        let per_seconds = per.as_secs_f64();
        let remaining = limit.saturating_sub(in_use);
        LimitStatus { name: self.0.name, limit, per_seconds, in_use, remaining, blocked_for }
    }
}

/// The right to send one call. Finish it, or drop it, when the response has arrived or the call
/// has failed: its slot becomes free one window later.
#[derive(Debug)]
#[must_use = "a permit that is dropped before its response arrives counts too little"]
pub struct Permit {
    /// None once it was given back.
    limiter: Option<Arc<Shared>>,
    lane: Lane,
}

impl Permit {
    /// Says that the response has arrived; dropping the permit does the same.
    pub fn finish(self) {}
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(shared) = self.limiter.take() else {
            return;
        };
        let now = Instant::now();
        for window in &mut shared.lock().windows {
            window.finish(self.lane, now);
        }
        shared.changed.notify_one();
    }
}

impl Shared {
    /// A panic while the lock was held leaves counts that are still counts.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants what waits as room appears; ends when nothing waits.
    async fn dispatch(self: Arc<Self>) {
        loop {
            let next = {
                let mut state = self.lock();
                self.grant(&mut state);
                if !state.has_waiters() {
                    state.is_dispatching = false;
                    return;
                }
                state.next_release(Instant::now())
            };
            match next {
                Some(at) => tokio::select! {
                    () = sleep_until(at) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Grants all that may go now, urgent before live before bulk.
    fn grant(self: &Arc<Self>, state: &mut State) {
        let now = Instant::now();
        if state.is_blocked(now) {
            return;
        }
        for window in &mut state.windows {
            window.expire(now);
        }
        for lane in [Lane::Urgent, Lane::Live, Lane::Bulk] {
            while state.has_room(lane, now) {
                let Some(waiter) = state.queue(lane).pop_front() else {
                    break;
                };
                let permit = Permit { limiter: Some(Arc::clone(self)), lane };
                match waiter.send(permit) {
                    Ok(()) => state.windows.iter_mut().for_each(|window| window.start(lane)),
                    // Nobody waits for it any more; giving it back would ask for the lock again.
                    Err(mut permit) => permit.limiter = None,
                }
            }
        }
    }
}

type Queue = VecDeque<oneshot::Sender<Permit>>;

#[derive(Debug, Default)]
struct State {
    windows: Vec<Window>,
    urgent: Queue,
    live: Queue,
    bulk: Queue,
    blocked_until: Option<Instant>,
    /// When somebody other than bulk last asked.
    live_seen: Option<Instant>,
    is_dispatching: bool,
}

impl State {
    fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Urgent => &mut self.urgent,
            Lane::Live => &mut self.live,
            Lane::Bulk => &mut self.bulk,
        }
    }

    fn has_waiters(&self) -> bool {
        !(self.urgent.is_empty() && self.live.is_empty() && self.bulk.is_empty())
    }

    fn is_blocked(&self, now: Instant) -> bool {
        self.blocked_until.is_some_and(|until| now < until)
    }

    fn has_room(&self, lane: Lane, now: Instant) -> bool {
        let is_live_idle = self.live_seen.is_none_or(|seen| now >= seen + LIVE_IDLE);
        self.windows.iter().all(|window| window.has_room(lane, is_live_idle))
    }

    /// When time alone may make room; none if only a response can.
    fn next_release(&self, now: Instant) -> Option<Instant> {
        if let Some(until) = self.blocked_until.filter(|until| now < *until) {
            return Some(until);
        }
        // A full window has room at its next release at the soonest; all of them must have room.
        let full = self.windows.iter().filter(|window| !window.has_room(Lane::Bulk, false));
        full.filter_map(Window::next_release).min()
    }

    fn observe(&mut self, observation: Observation, now: Instant) {
        let per = observation.per.clamp(Duration::from_secs(1), MAX_RESET);
        let limit = observation.limit.clamp(1, 1_000_000);
        let is_known = self.windows.iter().any(|window| window.per == per);
        if !is_known && self.windows.len() < MAX_WINDOWS {
            self.windows.push(Window::new(limit, per));
        }
        let Some(window) = self.windows.iter_mut().find(|window| window.per == per) else {
            return;
        };
        window.expire(now);
        window.limit = limit;
        let longest = if per < MAX_SHORT_RESET { MAX_SHORT_RESET } else { MAX_RESET };
        window.note_others(observation.remaining, now + observation.reset.min(longest));
    }
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
