//! What was written and not read back, and what a read of it told.

use std::collections::BTreeMap;

use crate::model::{AttributeName, AttributeType, RecordId, SentValue, Timestamp};

/// What was written to one contact and not read back yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Unverified {
    /// Brevo's number of the contact.
    pub id: i64,
    /// The Intercom contact that it stands for.
    pub owner: RecordId,
    /// What was written.
    pub sent: BTreeMap<AttributeName, SentValue>,
    /// When.
    pub at: Timestamp,
}

/// What a read of one contact told of what was written to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Brevo's number of the contact.
    pub id: i64,
    /// When it was written: what was written since is not judged.
    pub at: Timestamp,
    /// The values that arrived.
    pub taken: Vec<AttributeName>,
    /// The values that did not.
    pub dropped: BTreeMap<AttributeName, SentValue>,
}

/// Values of one attribute that are parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedAttribute {
    /// The attribute.
    pub name: AttributeName,
    /// The type that it had when they were written last.
    pub kind: Option<AttributeType>,
    /// Of how many contacts.
    pub contacts: u64,
}

/// How many values were looked for after they were written, and what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationCounts {
    /// Values that were looked for.
    pub checked: u64,
    /// Those that Brevo had dropped.
    pub dropped: u64,
    /// Those that Brevo took when they were written again.
    pub repaired: u64,
    /// Those that are not written any more.
    pub parked: u64,
}
