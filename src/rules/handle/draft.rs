//! A decision while it is being written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{ImmutableString, Position};

use super::Ctx;
use crate::model::{Origin, Traced};
use crate::rules::evaluation::Evaluation;

/// A decision that one evaluation writes. Clones share it; its lock is taken for one write at a time
/// and never while a script runs.
#[derive(Debug, Clone)]
pub(super) struct Draft<D> {
    sheet: Arc<Mutex<Sheet<D>>>,
    evaluation: Evaluation,
}

#[derive(Debug)]
struct Sheet<D> {
    decision: D,
    /// Rhai writes back what a method was called on, as in `brevo.NAME.len()`, at the place of the
    /// read.
    last_read: Option<(ImmutableString, Position)>,
}

impl<D: Clone> Draft<D> {
    /// A draft that begins with a decision.
    pub(super) fn new(decision: D, evaluation: Evaluation) -> Self {
        let sheet = Sheet { decision, last_read: None };
        Self { sheet: Arc::new(Mutex::new(sheet)), evaluation }
    }

    /// The evaluation that writes it.
    pub(super) fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }

    /// The place of the call that a host function serves.
    pub(super) fn origin(&self, ctx: &Ctx<'_>) -> Origin {
        self.evaluation.origin(ctx)
    }

    /// A value with the place of the call that wrote it.
    pub(super) fn traced<T>(&self, ctx: &Ctx<'_>, value: T) -> Traced<T> {
        Traced { value, origin: self.origin(ctx) }
    }

    /// Reads or writes the decision.
    pub(super) fn with<T>(&self, use_it: impl FnOnce(&mut D) -> T) -> T {
        use_it(&mut self.sheet().decision)
    }

    /// Remembers that a property was read, and where.
    pub(super) fn note_read(&self, name: &ImmutableString, at: Position) {
        self.sheet().last_read = Some((name.clone(), at));
    }

    /// True if Rhai may be writing back what was read just now: the same property at the same place.
    pub(super) fn is_write_back(&self, name: &ImmutableString, at: Position) -> bool {
        let was_read = self.sheet().last_read.take();
        was_read.is_some_and(|(read, place)| place == at && read == *name)
    }

    /// The decision as it stands.
    pub(super) fn snapshot(&self) -> D {
        self.sheet().decision.clone()
    }

    /// The decision, when the scripts are done with it.
    pub(super) fn finish(self) -> D {
        match Arc::try_unwrap(self.sheet) {
            Ok(sheet) => sheet.into_inner().unwrap_or_else(PoisonError::into_inner).decision,
            Err(shared) => shared.lock().unwrap_or_else(PoisonError::into_inner).decision.clone(),
        }
    }

    fn sheet(&self) -> MutexGuard<'_, Sheet<D>> {
        self.sheet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
