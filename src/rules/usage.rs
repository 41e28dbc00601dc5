//! How many operations scripts use, for people who want to know.

use std::time::Duration;

use super::budget::Budget;

/// Does some work, and tells how many operations scripts on this thread used for it.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, u64) {
    // What ends inside counts for the budget around it.
    let budget = Budget::within(Duration::MAX);
    let result = work();
    (result, budget.operations())
}
