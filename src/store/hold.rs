//! Holds: what rules, configuration and sweeps would take away from too many people, until somebody
//! approves or rejects it.

use serde::{Deserialize, Serialize};

use crate::model::{Email, RecordId, Takes, Timestamp};

/// Something that is about to be taken away from a contact.
#[derive(Debug, Clone, PartialEq)]
pub struct Taking {
    /// From whom.
    pub contact: RecordId,
    /// What.
    pub takes: Takes,
    /// What made the contact dirty, if that is counted as a whole: a sweep, or new rules.
    pub cause: Option<i64>,
    /// The rules that decided; none: no rule was asked.
    pub rule_set: Option<String>,
}

/// What removals are measured by.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// What may be taken away without approval.
    pub bound: crate::model::Bound,
    /// The version of the live rules.
    pub rule_set: Option<String>,
    /// A new set derives all known records again, so that what it takes away can be counted first.
    pub reapplies: bool,
}

/// What must not be done now of what would be taken away.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judgement {
    /// It waits, until it is counted or approved.
    pub waits: Takes,
    /// Somebody rejected it.
    pub rejected: Takes,
}

/// Judgements on removals, in the order of the question.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judged {
    /// One for each.
    pub judgements: Vec<Judgement>,
    /// Rules are counted of which nobody has said yet that all records are derived again.
    pub is_unfed: bool,
}

/// Changes that wait for somebody's approval, all by one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Its number.
    pub id: i64,
    /// `rule set 1a2b…`, `configuration (rule set 1a2b…)`, `sweep 0190…`, or `changes within ten
    /// minutes`.
    pub cause: String,
    /// How many contacts something is taken away from.
    pub contacts: u64,
    /// Memberships that go.
    pub removals: u64,
    /// Values that go.
    pub clears: u64,
    /// Channels by which people are unsubscribed.
    pub unsubscribes: u64,
    /// Contacts that go.
    pub deletions: u64,
    /// When it was begun.
    #[serde(with = "iso")]
    pub created_at: Timestamp,
}

/// One contact of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldChange {
    /// The Intercom contact.
    pub contact: RecordId,
    /// Its address.
    pub address: Option<Email>,
    /// What is taken away from it.
    pub takes: Takes,
}

/// A time as ISO 8601 text.
mod iso {
    use serde::{Deserialize as _, Deserializer, Serializer, de};
    use serde_json::Value;

    use crate::model::Timestamp;

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(at)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let value = Value::deserialize(from)?;
        Timestamp::parse(&value).ok_or_else(|| de::Error::custom("no time"))
    }
}
