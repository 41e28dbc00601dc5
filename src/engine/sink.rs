//! One of the things that are brought to Brevo beside contacts, each by a loop of its own: events,
//! companies, objects. What stops one of them stops no other.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{EngineError, Inner};
use crate::brevo::BrevoError;
use crate::http::{Backoff, random_fraction};
use crate::model::Timestamp;
use crate::store::StoreError;

/// How long something that the account does not have is left alone before it is tried again.
const DISABLED_FOR: Duration = Duration::from_secs(600);
/// The longest that a loop waits before it looks by itself.
const LOOK: Duration = Duration::from_secs(30);
/// How long what is due waits for more, where Brevo allows a hundred calls an hour: a call costs as much
/// for one as for many.
pub(super) const GATHER: Duration = Duration::from_secs(120);
/// How often more is looked for.
const GATHER_LOOK: Duration = Duration::from_millis(100);
/// From when on nothing counts as having been sent lately.
const PAUSE: Duration = Duration::from_secs(1);

/// How it stands with one of the things that are brought to Brevo.
#[derive(Debug)]
pub(crate) struct Sink {
    /// What is brought, in the plural.
    noun: &'static str,
    work: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The account or its key may not have them.
    disabled: Option<String>,
    /// The last attempt failed for no event's reason.
    failing: Option<String>,
    until: Option<Instant>,
    failures: u32,
    /// When the last batch was sent.
    last: Option<Instant>,
}

impl Sink {
    /// A sink for what is called so, in the plural.
    pub(crate) fn new(noun: &'static str) -> Self {
        let (work, state) = Default::default();
        Self { noun, work, state }
    }

    /// Says that there may be something to send.
    pub(crate) fn wake(&self) {
        self.work.notify_one();
    }

    /// Tries at once again: the configuration changed.
    pub(crate) fn reset(&self) {
        *self.state() = State::default();
        self.wake();
    }

    /// Why nothing is sent, if that will last.
    pub(crate) fn disabled(&self) -> Option<String> {
        self.state().disabled.clone()
    }

    /// What is not as it should be, for `status`.
    pub(crate) fn problem(&self) -> Option<String> {
        let state = self.state();
        let disabled = state.disabled.as_ref().map(|reason| {
            let noun = self.noun;
            format!("brevo takes no {noun}, they are kept and everything else goes on: {reason}")
        });
        let failing =
            || state.failing.as_ref().map(|why| format!("{} cannot be sent: {why}", self.noun));
        disabled.or_else(failing)
    }

    pub(crate) fn disable(&self, error: &BrevoError) {
        let mut state = self.state();
        if state.disabled.is_none() {
            tracing::warn!("brevo takes no {}, they are kept until it does: {error}", self.noun);
        }
        state.disabled = Some(error.to_string());
        state.until = Some(Instant::now() + DISABLED_FOR);
    }

    pub(crate) fn fail(&self, error: &BrevoError) {
        let mut state = self.state();
        let reason = error.to_string();
        if state.failing.as_ref() != Some(&reason) {
            tracing::warn!("{} cannot be sent, trying again: {reason}", self.noun);
        }
        let asked = match error {
            BrevoError::RateLimited { retry_after } => Some(*retry_after),
            _ => None,
        };
        let wait = Backoff::default().delay(state.failures, asked, random_fraction());
        state.failures = state.failures.saturating_add(1);
        state.failing = Some(reason);
        state.until = Some(Instant::now() + wait);
    }

    pub(crate) fn succeed(&self) {
        let mut state = self.state();
        if state.disabled.is_some() || state.failing.is_some() {
            tracing::info!("{} are sent again", self.noun);
        }
        *state = State { last: Some(Instant::now()), ..State::default() };
    }

    /// True if nothing was sent for a while.
    pub(crate) fn is_idle(&self) -> bool {
        self.state().last.is_none_or(|last| last.elapsed() >= PAUSE)
    }

    pub(crate) fn wait(&self) -> Option<Duration> {
        self.state().until.and_then(|until| until.checked_duration_since(Instant::now()))
    }

    pub(crate) fn failures(&self) -> u32 {
        self.state().failures
    }

    /// Waits until somebody says that there may be something to send.
    pub(crate) async fn woken(&self) {
        self.work.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Waits while Brevo as a whole cannot be written to, or a sink was asked to wait.
    pub(super) async fn ready_for(&self, sink: &Sink) -> Result<(), EngineError> {
        loop {
            self.wait_for_gate().await?;
            let Some(wait) = sink.wait() else { return Ok(()) };
            tokio::select! {
                waited = self.wait(wait) => waited?,
                () = sink.woken() => {}
            }
        }
    }

    /// Waits until there may be something for a sink: somebody says so, it is due, or it is time to
    /// look.
    pub(super) async fn wait_for(
        &self,
        sink: &Sink,
        due: Result<Option<Timestamp>, StoreError>,
    ) -> Result<(), EngineError> {
        let due = due.unwrap_or_else(|error| {
            self.note(&error.into());
            None
        });
        let now = self.clock.now();
        let until_due = due.map(|due| {
            Duration::from_secs(due.seconds().saturating_sub(now.seconds()).max(1).unsigned_abs())
        });
        tokio::select! {
            () = sink.woken() => Ok(()),
            () = tokio::time::sleep(until_due.unwrap_or(LOOK).min(LOOK)) => Ok(()),
            () = self.stop.cancelled() => Err(EngineError::Stopping),
        }
    }
}

impl Inner {
    /// True while a sync reads, or many contacts are written.
    pub(super) fn brings_more(&self) -> bool {
        self.reading.load().is_some() || self.bulk_rounds.load(Ordering::Relaxed) > 0
    }

    /// Loads what is due, with what is about to come while `comes_more`: until it is `enough`, or for
    /// as long as `patience` lasts.
    pub(super) async fn gather<T, F>(
        &self,
        patience: Duration,
        load: impl Fn() -> F,
        enough: impl Fn(&T) -> bool,
        comes_more: impl Fn() -> bool,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let began = Instant::now();
        loop {
            // Asked first: what came before the last of it is loaded.
            let more = comes_more();
            let due = load().await?;
            if enough(&due) || !more || began.elapsed() >= patience {
                return Ok(due);
            }
            self.wait(GATHER_LOOK).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_an_account_does_not_have_is_left_alone_for_a_while_and_the_reason_is_shown() {
        let sink = Sink::new("events");
        assert_eq!((sink.problem(), sink.wait()), (None, None));
        sink.fail(&BrevoError::Server { status: 500 });
        let problem = "events cannot be sent: brevo failed with status 500: try again later";
        assert_eq!(sink.problem().as_deref(), Some(problem));
        assert_eq!((sink.disabled(), sink.failures()), (None, 1));
        sink.disable(&BrevoError::Forbidden {
            code: "x".into(),
            message: "not in the plan".into(),
        });
        let problem = "brevo takes no events, they are kept and everything else goes on: brevo does not \
                       allow this call (x: not in the plan): check the key and the plan";
        assert_eq!(sink.problem().as_deref(), Some(problem));
        assert!(sink.wait().unwrap() > DISABLED_FOR - Duration::from_secs(1));
        sink.succeed();
        assert_eq!((sink.problem(), sink.wait(), sink.failures()), (None, None, 0));
    }
}
