//! Every limit that a script runs under.

use std::time::Duration;

use rhai::Engine;

use super::budget;
use super::error::{Limit, ScriptError, ScriptErrorKind};
use super::weight::Scales;
use crate::model::{AttributeIntent, AttributeValue, Decision, Origin};

/// How much text a decision may hold: as much as one call of Brevo takes with ease.
const DECISION_BYTES: usize = 1024 * 1024;

/// How many levels the call of a handler takes before the handler has called anything.
const HANDLER_LEVELS: usize = 2;

/// What the evaluation of one record may use, all its handlers together.
///
/// Rhai's defaults are unlimited or differ between debug and release builds, so each one is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Steps of the interpreter.
    pub operations: u64,
    /// Wall time.
    pub time: Duration,
    /// Bytes that a script may hold at once: all that its thread has allocated since the start and
    /// not freed, so the decision counts, and the record does not.
    pub memory_bytes: u64,
    /// Nested calls of script functions.
    pub call_depth: usize,
    /// Bytes of one text.
    pub string_bytes: usize,
    /// Items of one array.
    pub array_items: usize,
    /// Keys of one map.
    pub map_items: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            operations: 200_000,
            time: Duration::from_millis(250),
            memory_bytes: 32 * 1024 * 1024,
            call_depth: 24,
            string_bytes: 65_536,
            array_items: 1_000,
            map_items: 512,
        }
    }
}

impl Limits {
    /// No limits but those of depth, to measure what limits cost.
    pub fn off() -> Self {
        Self {
            operations: 0,
            time: Duration::MAX,
            memory_bytes: u64::MAX,
            string_bytes: 0,
            array_items: 0,
            map_items: 0,
            ..Self::default()
        }
    }

    /// Limits for a file of tests, which runs many handlers.
    pub(crate) fn for_tests(&self) -> Self {
        Self {
            operations: self.operations.saturating_mul(100),
            time: Duration::from_secs(10).max(self.time),
            array_items: self.array_items.max(10_000),
            map_items: self.map_items.max(10_000),
            ..self.clone()
        }
    }

    /// Sets the limits on an engine. Operations, time and memory count while a [`Budget`] stands on
    /// the thread.
    ///
    /// [`Budget`]: super::budget::Budget
    pub(crate) fn apply(&self, engine: &mut Engine) {
        engine
            .set_max_operations(self.operations)
            .set_max_call_levels(self.call_depth + HANDLER_LEVELS)
            .set_max_string_size(self.string_bytes)
            .set_max_array_size(self.array_items)
            .set_max_map_size(self.map_items)
            .set_max_expr_depths(64, 64)
            .set_max_variables(256)
            .set_max_functions(2_000)
            .set_max_modules(256);
        if self.time == Duration::MAX && self.memory_bytes == u64::MAX {
            return;
        }
        engine.on_progress(|_| budget::spend());
        let scales = Scales::new(self);
        #[expect(deprecated, reason = "the hook is volatile, and the version of rhai is exact")]
        engine.on_var(move |name, _, context| scales.check(name, &context).map(|()| None));
    }

    /// Refuses a decision that no service should be asked to take.
    pub(crate) fn check(&self, decision: &Decision) -> Result<(), ScriptError> {
        let over = |count: usize, limit: usize| limit > 0 && count > limit;
        if over(decision.attributes.len(), self.map_items)
            || over(decision.keep.len(), self.map_items)
        {
            let last = decision.attributes.values().next_back().map(|traced| &traced.origin);
            let what = format!("the decision has more than {} attributes", self.map_items);
            return Err(too_large(what, last));
        }
        if over(decision.lists.len(), self.array_items) {
            let last = decision.lists.values().next_back().map(|traced| &traced.origin);
            let what = format!("the decision has more than {} lists", self.array_items);
            return Err(too_large(what, last));
        }
        let mut bytes = 0;
        for traced in decision.attributes.values() {
            bytes += text_bytes(&traced.value);
            if over(bytes, DECISION_BYTES) {
                let what = "the decision holds more than 1 MiB of text".to_owned();
                return Err(too_large(what, Some(&traced.origin)));
            }
        }
        Ok(())
    }
}

fn text_bytes(intent: &AttributeIntent) -> usize {
    match intent {
        AttributeIntent::Set(AttributeValue::Text(text)) => text.len(),
        AttributeIntent::Set(AttributeValue::List(options)) => {
            options.iter().map(String::len).sum()
        }
        _ => 0,
    }
}

fn too_large(message: String, origin: Option<&Origin>) -> ScriptError {
    let kind = ScriptErrorKind::LimitExceeded(Limit::Size);
    ScriptError { kind, message, origin: origin.cloned(), trace: Vec::new() }
}
