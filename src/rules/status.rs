//! How the rules stand: which are live, and what keeps others from being so.

use std::fmt;

use serde::Serialize;

use super::diagnostic::Diagnostic;
use super::ruleset::SourceFile;
use crate::model::{RuleSetVersion, RulesPin, Timestamp};

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

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, file, line, column } = self;
        match line {
            0 => write!(f, "{file}: {message}"),
            _ => write!(f, "{file}:{line}:{column}: {message}"),
        }
    }
}

impl From<&Diagnostic> for RuleError {
    fn from(found: &Diagnostic) -> Self {
        let Diagnostic { message, file, line, column, .. } = found.clone();
        Self { message, file, line, column }
    }
}

impl RuleError {
    /// The first of some problems that is an error; warnings alone refuse nothing.
    pub(crate) fn first_of(problems: &[Diagnostic]) -> Self {
        let shown = problems.iter().find(|problem| problem.is_error()).or(problems.first());
        shown.map_or_else(
            || Self {
                message: "the rules were refused".to_owned(),
                file: "scripts".to_owned(),
                line: 0,
                column: 0,
            },
            Self::from,
        )
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
    /// Why the folder's content is not live; `None` if it is, or if another version is pinned.
    pub error: Option<RuleError>,
    /// All of that.
    pub refused: Option<Refusal>,
    /// The version that is pinned.
    pub pinned: Option<RulesPin>,
}

/// Rules that were refused, and everything that is wrong with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// When they were refused.
    pub at: Timestamp,
    /// Their version; `None` where not all files can be read.
    pub version: Option<RuleSetVersion>,
    /// What is wrong.
    pub problems: Vec<Diagnostic>,
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

/// A version that was judged, for the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The version.
    pub version: RuleSetVersion,
    /// When it was judged.
    pub at: Timestamp,
    /// Who wrote it, or pinned it, as far as that is known.
    pub author: Option<String>,
    /// Its files.
    pub files: Vec<SourceFile>,
    /// Why it was refused; `None`: it is live.
    pub error: Option<RuleError>,
    /// The pin that it ended by going live.
    pub ended: Option<RulesPin>,
}
