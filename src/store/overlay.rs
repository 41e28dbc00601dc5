//! What the rules say of a contact where they look at another record.

use crate::model::{Decision, RecordId, RecordKey, Timestamp};

/// A decision on a contact that a conversation or an event gave off. It holds as long as the rules go
/// on saying it of that record.
#[derive(Debug, Clone, PartialEq)]
pub struct Overlay {
    /// The contact.
    pub contact: RecordId,
    /// The record that it was derived from.
    pub subject: RecordKey,
    /// The version of that record: of two overlays the newer one has the last word.
    pub at: Timestamp,
    /// What should be true.
    pub decision: Decision,
}
