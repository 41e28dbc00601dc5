//! What the rules say should be true of one contact in Intercom: the other direction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Line, Origin, RecordKey, RuleSetVersion, Timestamp, Traced, TrackedEvent, Verdict};

/// What a contact is created as in Intercom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactRole {
    /// Somebody who is known by an address.
    Lead,
    /// Somebody who signed up.
    User,
}

/// What is wanted of a tag in Intercom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagIntent {
    /// The contact has it.
    Add,
    /// The contact has it not.
    Remove,
}

/// Something that is said in Intercom, once for each Brevo event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// A note on the contact, seen by the team.
    Note {
        /// What it says.
        text: String,
    },
    /// A reply in a conversation.
    Reply {
        /// Which conversation.
        conversation: String,
        /// What it says.
        text: String,
    },
    /// A new conversation.
    Start {
        /// What it says.
        text: String,
    },
}

/// What should be true of one contact in Intercom, and what is to be said there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReverseDecision {
    /// Brevo's contact or event that it was derived from.
    pub subject: RecordKey,
    /// The rules that decided.
    pub rule_set: RuleSetVersion,
    /// The time that `older_than` and `within` compared with.
    pub as_of: Timestamp,
    /// Written or skipped, and by which line (none: the default).
    pub verdict: Verdict,
    /// The line that chose the verdict.
    pub verdict_origin: Option<Origin>,
    /// Fields of the contact; `null` takes a value back.
    pub fields: BTreeMap<String, Traced<Value>>,
    /// Custom attributes; `null` takes a value back.
    pub custom_attributes: BTreeMap<String, Traced<Value>>,
    /// Tags by name; the last word wins.
    pub tags: BTreeMap<String, Traced<TagIntent>>,
    /// `create(…)`: a contact is made if there is none.
    pub create: Option<Traced<ContactRole>>,
    /// `archive()`.
    pub archive: Option<Origin>,
    /// `track(…)`, in the order of the calls.
    pub events: Vec<Traced<TrackedEvent>>,
    /// `note(…)`, `reply(…)`, `start_conversation(…)`, in the order of the calls.
    pub messages: Vec<Traced<Message>>,
    /// What the scripts logged.
    pub log: Vec<Line>,
    /// When the answer of some `older_than` or `within` flips: the earliest such time.
    pub flips_at: Option<Timestamp>,
}

impl ReverseDecision {
    /// A decision in which nothing is said yet.
    pub fn new(subject: RecordKey, rule_set: RuleSetVersion, as_of: Timestamp) -> Self {
        Self {
            subject,
            rule_set,
            as_of,
            verdict: Verdict::Write,
            verdict_origin: None,
            fields: BTreeMap::new(),
            custom_attributes: BTreeMap::new(),
            tags: BTreeMap::new(),
            create: None,
            archive: None,
            events: Vec::new(),
            messages: Vec::new(),
            log: Vec::new(),
            flips_at: None,
        }
    }
}
