//! How often contacts did what: an aggregate that outlives the events it was made of.

use crate::model::{RecordId, Timestamp};

/// How often a contact did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCount {
    /// What it did.
    pub name: String,
    /// How often, each time counted once, whether it was notified, listed or summed up by Intercom.
    pub count: u64,
    /// For the first time.
    pub first: Timestamp,
    /// For the last time.
    pub last: Timestamp,
}

/// A contact whose events are to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventReading {
    /// The contact.
    pub contact: RecordId,
    /// When it was last seen: what was listed then need not be listed again.
    pub seen_at: Timestamp,
    /// True if its events were listed before, so that only new ones are wanted.
    pub was_read: bool,
}

/// Contacts among which some have events to be listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventReadings {
    /// Those to be listed.
    pub wanted: Vec<EventReading>,
    /// The last contact that was looked at; none: there are no more.
    pub last: Option<RecordId>,
}
