//! The gate before the writer: closed while Brevo as a whole cannot be written to, so that nothing
//! is given up for a reason that is not its own.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::brevo::{BrevoError, ErrorKind};
use crate::http::{Backoff, random_fraction};

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
}

/// Whether calls to Brevo make sense now.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<State>);

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
        if state.closed.take().is_some() {
            tracing::info!("brevo can be written to again");
        }
        *state = State::default();
    }

    /// Why it is closed, for `status`.
    pub(crate) fn reason(&self) -> Option<Closed> {
        self.state().closed.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
