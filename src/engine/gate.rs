//! The gate before the writer: closed while Brevo as a whole cannot be written to, so that nothing
//! is given up for a reason that is not its own.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::brevo::{BrevoError, ErrorKind};
use crate::http::{Backoff, random_fraction};
use crate::model::RecordId;

/// Why nothing is written now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The key is refused: nothing goes on until somebody acts.
    KeyRefused(String),
    /// The service does not answer as it should.
    ServiceDown(String),
}

#[derive(Debug, Default)]
struct State {
    closed: Option<Closed>,
    until: Option<Instant>,
    failures: u32,
    /// Whose calls failed since the last one that succeeded; two are enough to know.
    failing: BTreeSet<RecordId>,
    /// How the call of the only one of them failed.
    suspicion: Option<String>,
}

/// Whether calls to Brevo make sense now.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    opened: Notify,
}

impl Gate {
    /// How long to wait before the next try; none: go on.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let state = self.state();
        state.until.and_then(|until| until.checked_duration_since(Instant::now()))
    }

    /// Closes the gate for a while that grows with each failure in a row: 1 s to 60 s.
    pub(crate) fn close(&self, why: Closed) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let wait = Backoff::default().delay(state.failures, None, random_fraction());
        state.until = Some(Instant::now() + wait);
        if state.closed.as_ref() != Some(&why) {
            match &why {
                Closed::KeyRefused(reason) => {
                    tracing::error!("brevo refuses the key, writing is paused: {reason}")
                }
                Closed::ServiceDown(reason) => {
                    tracing::warn!("brevo cannot be written to, trying again: {reason}")
                }
            }
        }
        state.closed = Some(why);
    }

    /// Waits until the gate opens, or for as long as it is closed now.
    pub(crate) async fn opened(&self, wait: Duration) {
        // A timeout is as good: the caller looks again.
        let _ = tokio::time::timeout(wait, self.opened.notified()).await;
    }

    /// Notes a failed call that was about one record. What fails for one record only, again and again,
    /// closes nothing: the others go on.
    pub(crate) fn note_of(&self, record: &RecordId, error: &BrevoError) {
        let may_be_its_own = match error {
            // Brevo works on this contact.
            BrevoError::TooEarly => return,
            BrevoError::Server { .. } | BrevoError::Malformed { .. } => true,
            BrevoError::Transport { was_sent, .. } => *was_sent,
            _ => false,
        };
        if may_be_its_own {
            let mut state = self.state();
            if state.failing.len() < 2 {
                state.failing.insert(record.clone());
            }
            if state.failing.len() < 2 {
                state.suspicion = Some(error.to_string());
                return;
            }
        }
        self.note(error);
    }

    /// Closes the gate for what is nobody's record's fault, and opens it for what shows that Brevo
    /// answers.
    pub(crate) fn note(&self, error: &BrevoError) {
        match error.kind() {
            ErrorKind::Key => self.close(Closed::KeyRefused(error.to_string())),
            ErrorKind::Transient => self.close(Closed::ServiceDown(error.to_string())),
            ErrorKind::Permanent => self.open(),
        }
    }

    /// Opens the gate: a call succeeded.
    pub(crate) fn open(&self) {
        let mut state = self.state();
        let was_closed = state.closed.take().is_some();
        *state = State::default();
        drop(state);
        if was_closed {
            tracing::info!("brevo can be written to again");
            self.opened.notify_waiters();
        }
    }

    /// Why it is closed, for `status`.
    pub(crate) fn reason(&self) -> Option<Closed> {
        let state = self.state();
        let suspicion = || state.suspicion.clone().map(Closed::ServiceDown);
        state.closed.clone().or_else(suspicion)
    }

    /// True while Brevo as a whole cannot be written to, as far as known: then failures are nobody's.
    pub(crate) fn is_down(&self) -> bool {
        self.state().closed.is_some()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
