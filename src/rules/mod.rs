//! The rules: scripts in, decisions out.
//!
//! A [`RuleSet`] is all scripts compiled together; [`RuleSet::decide_contact`] derives what should
//! be true of one contact in Brevo, its siblings the rest. Handlers are pure: the same record, scripts and `as_of` give
//! the same decision, byte for byte. Nothing here touches the network or the store; only loading
//! and reloading read files, and only the deadline of a script reads a clock.
//!
//! Scripts are CPU work: call them off the async executor, on threads with large stacks.

mod blame;
mod calls;
mod check;
mod decide;
mod diagnostic;
mod error;
mod evaluation;
mod files;
mod handle;
mod handlers;
mod harness;
mod host;
mod input;
mod limits;
mod load;
mod merge;
mod reload;
mod ruleset;
mod sandbox;
mod status;
mod target;
mod test_decision;
mod test_outcome;
mod trial;
mod view;
mod written;

pub use diagnostic::{Diagnostic, Severity};
pub use error::{Limit, ScriptError, ScriptErrorKind};
pub use harness::{TestOutcome, TestReport, run_tests};
pub use input::{ContactInput, RecordInput};
pub use limits::Limits;
pub use reload::{ReloadOptions, Rules};
pub use ruleset::{RuleEnvironment, RuleSet, SourceFile};
pub use status::{ReloadOutcome, RuleError, RulesStatus};

#[cfg(test)]
mod tests;
