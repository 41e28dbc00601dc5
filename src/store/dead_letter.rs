//! Dead letters: what will not be retried by itself, with its cause.

use serde::Serialize;

use crate::model::Timestamp;

/// Something that was given up, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// `contact:665f…`; null for a notification that cannot be used.
    pub record: Option<String>,
    /// What a notification that cannot be used is about, as far as it says; null once it is too old.
    pub topic: Option<String>,
    /// The class of the cause, from a closed list.
    pub kind: String,
    /// What happened, and what to do.
    pub message: String,
    /// `scripts/mapping.rhai:14:9`, where a script's line is to blame.
    pub origin: Option<String>,
    /// What was sent to Brevo, with addresses and numbers masked.
    pub request: Option<String>,
    /// What Brevo answered.
    pub response: Option<String>,
    /// The rules that decided.
    pub rule_set: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Accepted inputs that it stands for.
    pub inputs: u32,
    /// When it was given up.
    pub at: Timestamp,
}

/// Which dead letters a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterQuery {
    /// The one with this number.
    One(i64),
    /// All of them.
    All,
}
