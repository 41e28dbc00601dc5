//! What a test did so far, so that a failure can be explained.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{Dynamic, EvalAltResult};
use serde_json::Value;

use super::error::{ScriptError, cause};
use super::test_decision::TestDecision;
use super::test_outcome::TestOutcome;
use crate::model::Part;

/// Shared by the functions that one test calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Notes>>);

/// What is noted.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// How many assertions were made.
    pub(crate) asserted: usize,
    /// What the last `run_…` decided.
    pub(crate) ran: Option<Arc<[Part]>>,
    /// Which parts of decisions were looked at since the last assertion.
    pub(crate) read: Vec<Read>,
    /// What an assertion found and what it wanted.
    pub(crate) mismatch: Option<(Value, Value)>,
    /// The rules broke in the last `run_…`.
    pub(crate) broken: Option<ScriptError>,
}

/// A look at a part of a decision.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    /// The whole decision.
    pub(crate) of: Arc<[Part]>,
    /// Which part, as [`crate::model::Part`] names it.
    pub(crate) what: String,
    /// Which of several of the name, such as a list.
    pub(crate) value: Option<String>,
}

impl Journal {
    /// Takes what was noted, and begins anew.
    pub(crate) fn take(&self) -> Notes {
        std::mem::take(&mut *self.notes())
    }

    /// Notes what came of a `run_…`: a decision, or rules that broke.
    pub(crate) fn run(
        &self,
        result: Result<Dynamic, Box<EvalAltResult>>,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let mut notes = self.notes();
        match &result {
            Ok(decision) => {
                let contact = decision.read_lock::<TestDecision>().map(|d| d.parts.clone());
                let other = || decision.read_lock::<TestOutcome>().map(|d| d.told.clone());
                notes.ran = contact.or_else(other);
            }
            Err(error) => notes.broken = cause(error),
        }
        drop(notes);
        result
    }

    /// Notes a look at a part of a decision.
    pub(crate) fn read(&self, of: &Arc<[Part]>, what: &str, value: Option<String>) {
        self.notes().read.push(Read { of: of.clone(), what: what.to_owned(), value });
    }

    /// Notes an assertion. What was read before it is forgotten where it holds.
    pub(crate) fn asserted(&self, holds: bool) {
        let mut notes = self.notes();
        notes.asserted += 1;
        if holds {
            notes.read.clear();
        }
    }

    /// Notes two values that should have been equal.
    pub(crate) fn differed(&self, actual: Value, expected: Value) {
        self.notes().mismatch = Some((actual, expected));
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
