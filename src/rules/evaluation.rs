//! What one evaluation carries with it: its time, what it logged, when its answers change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{EvalAltResult, ImmutableString, NativeCallContext, Position};

use super::error::{line_column, refuse, single_line};
use super::host::Region;
use crate::model::{Line, Origin, Timestamp};

/// How many lines one evaluation may log; the rest is dropped and the last line says so.
const MAX_LINES: usize = 100;

/// Handed to scripts as the tag of a call, so that host functions find it and scripts do not.
#[derive(Debug, Clone)]
pub(crate) struct Evaluation(Arc<State>);

/// A text that was read as a phone number, the region it was read in, and the number.
type PhoneRead = (ImmutableString, Option<Region>, Option<ImmutableString>);

#[derive(Debug)]
struct State {
    /// The last text that was read as a phone number.
    phone: Mutex<Option<PhoneRead>>,
    as_of: Option<Timestamp>,
    sources: Arc<[Arc<str>]>,
    notes: Mutex<Notes>,
}

/// What an evaluation leaves behind beside its decision.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// What was logged.
    pub(crate) log: Vec<Line>,
    /// The earliest time at which some answer about time flips.
    pub(crate) flips_at: Option<Timestamp>,
}

impl Evaluation {
    /// An evaluation at a time, of scripts in these files.
    pub(crate) fn new(as_of: Timestamp, sources: Arc<[Arc<str>]>) -> Self {
        Self::with(Some(as_of), sources)
    }

    /// An evaluation whose result must not change with time alone.
    pub(crate) fn timeless(sources: Arc<[Arc<str>]>) -> Self {
        Self::with(None, sources)
    }

    fn with(as_of: Option<Timestamp>, sources: Arc<[Arc<str>]>) -> Self {
        Self(Arc::new(State { phone: Mutex::default(), as_of, sources, notes: Mutex::default() }))
    }

    /// The evaluation that a host function was called in. There is none while a rule set is loaded.
    pub(crate) fn of(ctx: &NativeCallContext<'_>) -> Result<Self, Box<EvalAltResult>> {
        ctx.tag()
            .and_then(|tag| tag.read_lock::<Self>().map(|evaluation| evaluation.clone()))
            .ok_or_else(|| {
                refuse(format!("`{}` works in handlers, not at the top level", ctx.fn_name()))
            })
    }

    /// The time that `older_than` and `within` compare with; `None` where there is none.
    pub(crate) fn as_of(&self) -> Option<Timestamp> {
        self.0.as_of
    }

    /// The place of a call. Files are shared, so that a write costs no allocation for its origin.
    pub(crate) fn origin(&self, ctx: &NativeCallContext<'_>) -> Origin {
        self.origin_at(ctx, ctx.call_position())
    }

    /// A place in the file of a call.
    pub(crate) fn origin_at(&self, ctx: &NativeCallContext<'_>, at: Position) -> Origin {
        let source = ctx.call_source().unwrap_or_default();
        let known = self.0.sources.iter().find(|file| &***file == source);
        let file = known.cloned().unwrap_or_else(|| source.into());
        let (line, column) = line_column(at);
        Origin { file, line, column }
    }

    /// What `read` makes of a phone number: rules tend to read a contact's more than once, and that is
    /// the most expensive thing that they do.
    pub(crate) fn phone(
        &self,
        text: &str,
        region: Option<Region>,
        read: impl FnOnce() -> Option<String>,
    ) -> Option<ImmutableString> {
        let mut last = self.0.phone.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, of, number)) if known == text && *of == region => number.clone(),
            _ => {
                let number = read().map(ImmutableString::from);
                *last = Some((text.into(), region, number.clone()));
                number
            }
        }
    }

    /// Remembers that an answer flips at `at`, if that is still to come.
    pub(crate) fn flips_at(&self, at: Timestamp) {
        if self.as_of().is_none_or(|as_of| at <= as_of) {
            return;
        }
        let mut notes = self.notes();
        notes.flips_at = Some(notes.flips_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Logs a line, escaped and cut.
    pub(crate) fn log(&self, text: &str, origin: Origin) {
        let mut notes = self.notes();
        if notes.log.len() < MAX_LINES - 1 {
            notes.log.push(Line { text: single_line(text), origin });
        } else if notes.log.len() < MAX_LINES {
            let text = format!("more than {MAX_LINES} lines: the rest is not kept");
            notes.log.push(Line { text, origin });
        }
    }

    /// Takes what the evaluation left behind.
    pub(crate) fn take_notes(&self) -> Notes {
        std::mem::take(&mut *self.notes())
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
