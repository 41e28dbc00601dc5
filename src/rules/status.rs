//! How the rules stand: which are live, and what keeps others from being so.

use serde::Serialize;

use super::diagnostic::Diagnostic;
use crate::model::{RuleSetVersion, Timestamp};

/// What is wrong with the rules in the folder, as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleError {
    /// What is wrong.
    pub message: String,
    /// The file as it is shown to people.
    pub file: String,
    /// The line, from 1; 0 where it is about the whole file.
    pub line: u32,
    /// The column, from 1; 0 where it is not known.
    pub column: u32,
}

impl From<&Diagnostic> for RuleError {
    fn from(found: &Diagnostic) -> Self {
        let Diagnostic { message, file, line, column, .. } = found.clone();
        Self { message, file, line, column }
    }
}

/// Which rules are live, and what keeps those in the folder from being so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RulesStatus {
    /// The live version; `None` while there is none.
    pub version: Option<RuleSetVersion>,
    /// When it went live.
    pub loaded_at: Option<Timestamp>,
    /// Why the folder's content is not live; `None` if it is.
    pub error: Option<RuleError>,
}

/// What a look at the folder came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum ReloadOutcome {
    /// Nothing that was not known.
    Unchanged,
    /// This version is live now.
    Live(RuleSetVersion),
    /// The content was refused; the previous rules stay.
    Refused(RuleError),
}
