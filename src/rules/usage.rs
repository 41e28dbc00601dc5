//! How many operations scripts use, for people who want to know.

use std::cell::Cell;

thread_local! {
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts an operation of the interpreter on this thread.
pub(crate) fn count() {
    OPERATIONS.set(OPERATIONS.get() + 1);
}

/// Does some work, and tells how many operations scripts on this thread used for it.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = OPERATIONS.get();
    let result = work();
    (result, OPERATIONS.get() - before)
}
