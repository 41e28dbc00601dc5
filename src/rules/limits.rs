//! Every limit that a script runs under.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rhai::Engine;

use super::usage;

/// How many operations pass between two looks at the clock; more often costs, less often is late.
const OPERATIONS_PER_LOOK: u64 = 256;

/// How many levels the call of a handler takes before the handler has called anything.
const HANDLER_LEVELS: usize = 2;

/// What one call of a handler may use.
///
/// Rhai's defaults are unlimited or differ between debug and release builds, so each one is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Steps of the interpreter.
    pub operations: u64,
    /// Wall time.
    pub time: Duration,
    /// Bytes that a script may hold at once. Not enforced yet; the size limits below bound it.
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

    /// Sets the limits on an engine. The time limit acts while a [`Deadline`] stands on the thread.
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
        if self.time == Duration::MAX {
            return;
        }
        // The memory counter belongs here as well: whatever is asked every few operations.
        engine.on_progress(|operations| {
            usage::count();
            (operations % OPERATIONS_PER_LOOK == 0 && Deadline::has_passed())
                .then(|| TIME_TOKEN.into())
        });
    }
}

/// What `on_progress` ends a script with when its time is over.
const TIME_TOKEN: &str = "time";

thread_local! {
    /// `on_progress` is one function for all threads that share an engine, so each thread keeps its
    /// own.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time by which the script on this thread must have ended; stands until it is dropped.
#[derive(Debug)]
pub(crate) struct Deadline {
    outer: Option<Instant>,
}

impl Deadline {
    /// Gives the script on this thread this much time, or what an outer script has left, if less.
    pub(crate) fn start(time: Duration) -> Self {
        let outer = DEADLINE.get();
        // A time that no clock reaches is none.
        if let Some(own) = Instant::now().checked_add(time) {
            DEADLINE.set(Some(outer.map_or(own, |outer| outer.min(own))));
        }
        Self { outer }
    }

    fn has_passed() -> bool {
        DEADLINE.get().is_some_and(|deadline| Instant::now() >= deadline)
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        DEADLINE.set(self.outer);
    }
}
