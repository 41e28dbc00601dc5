//! What a rule gives off beside a contact's state: events, objects, confirmations. And what a
//! conversation or a custom event gives off as a whole.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Decision, Line, ListRef, Origin, RecordId, RecordKey, RuleSetVersion, Timestamp, Traced,
    Verdict,
};

/// Fields of an event, an object or a message, as JSON.
pub type Fields = Map<String, Value>;

/// A custom event for Brevo, or for Intercom in the other direction.
///
/// One is sent once for each record, name and `at`, or once for each record and name where there is
/// no `at`; the properties are no part of that key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackedEvent {
    /// The name, as Brevo can hold it: 1 to 255 of `A-Z a-z 0-9 _ -`.
    pub name: String,
    /// When it happened; none: when it is sent.
    pub at: Option<Timestamp>,
    /// Properties, at most 50 KB.
    pub properties: Fields,
}

/// Names a custom object in Brevo.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The object's type, which the account has to have.
    pub kind: String,
    /// Our id of it, which becomes its `ext_id`.
    pub id: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

// As text, so that it can be the key of a map in JSON. A type has no colon in Brevo.
impl Serialize for ObjectKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.split_once(':') {
            Some((kind, id)) => Ok(Self { kind: kind.to_owned(), id: id.to_owned() }),
            None => Err(serde::de::Error::custom("an object's key is `type:id`")),
        }
    }
}

/// An e-mail that asks a person to confirm, before Brevo puts him on lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoubleOptIn {
    /// The number of Brevo's template.
    pub template: i64,
    /// Where the person lands after the confirmation.
    pub redirection_url: String,
    /// The lists that the confirmation puts him on.
    pub lists: Vec<ListRef>,
}

/// What one conversation, or one custom event, gives off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Emission {
    /// The record it was derived from.
    pub subject: RecordKey,
    /// The rules that decided.
    pub rule_set: RuleSetVersion,
    /// The time that `older_than` and `within` compared with.
    pub as_of: Timestamp,
    /// Written or skipped, and by which line (none: the default).
    pub verdict: Verdict,
    /// The line that chose the verdict.
    pub verdict_origin: Option<Origin>,
    /// `track(…)`, in the order of the calls.
    pub events: Vec<Traced<TrackedEvent>>,
    /// `upsert_object(…)`: the fields of objects, by type and id.
    pub objects: BTreeMap<ObjectKey, Traced<Fields>>,
    /// `brevo.contact(c)`: what is said of contacts, by Intercom's id.
    pub contacts: BTreeMap<RecordId, Decision>,
    /// What the scripts logged.
    pub log: Vec<Line>,
    /// When the answer of some `older_than` or `within` flips: the earliest such time.
    pub flips_at: Option<Timestamp>,
}

impl Emission {
    /// An emission of nothing yet.
    pub fn new(subject: RecordKey, rule_set: RuleSetVersion, as_of: Timestamp) -> Self {
        Self {
            subject,
            rule_set,
            as_of,
            verdict: Verdict::Write,
            verdict_origin: None,
            events: Vec::new(),
            objects: BTreeMap::new(),
            contacts: BTreeMap::new(),
            log: Vec::new(),
            flips_at: None,
        }
    }
}
