//! The rules: scripts in, decisions out.
//!
//! A [`RuleSet`] is all scripts compiled together; [`RuleSet::decide_contact`] derives what should
//! be true of one contact in Brevo, its siblings the rest. Handlers are pure: the same record, scripts and `as_of` give
//! the same decision, byte for byte. Nothing here touches the network or the store; only loading
//! and reloading read files, and only the deadline of a script reads a clock.
//!
//! Scripts are CPU work: call them off the async executor.

mod author;
mod blame;
mod budget;
mod calls;
mod check;
mod code;
mod contrast;
mod coverage;
mod decide;
mod definitions;
mod diagnostic;
mod error;
mod evaluation;
mod evidence;
mod files;
mod functions;
mod handle;
mod handlers;
mod harness;
mod host;
mod input;
mod journal;
mod judge;
mod limits;
mod load;
mod merge;
mod properties;
mod reference;
mod reload;
mod ruleset;
mod sandbox;
mod single;
mod status;
mod target;
mod test_decision;
mod test_outcome;
mod trial;
mod usage;
mod view;
mod watch;
mod weight;
mod written;

pub use author::process_user;
pub use check::{
    BrevoNames, Checked, IntercomNames, LiveNames, RecordNames, check_files, check_folder,
};
pub use code::Code;
pub use coverage::{Coverage, FileCoverage, FunctionCoverage, Recorder};
pub use definitions::{AccountNames, DefinitionFile, definitions, is_definition_file};
pub use diagnostic::{Diagnostic, Severity};
pub use error::{Limit, ScriptError, ScriptErrorKind};
pub use evidence::Evidence;
pub use files::FolderContent;
pub use harness::{TestOutcome, TestReport, TestRun, run_selected_tests, run_tests};
pub(crate) use host::is_free_email;
pub use input::{ContactInput, RecordInput};
pub use judge::{Rehearsal, rehearse};
pub use limits::Limits;
pub use reference::reference;
pub use reload::{Pinned, ReloadOptions, Rules};
pub use ruleset::{RuleEnvironment, RuleSet, SourceFile};
pub use single::handler_names;
pub use status::{Judgement, Refusal, ReloadOutcome, RuleError, RulesStatus};
pub(crate) use trial::summary as conversation_summary;
pub use usage::measured;

#[cfg(test)]
mod tests;
