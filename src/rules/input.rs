//! What a decision is derived from.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::model::{RecordKey, Timestamp};

/// Everything that a contact's decision is derived from.
#[derive(Clone, PartialEq)]
pub struct ContactInput {
    /// Which contact.
    pub key: RecordKey,
    /// The contact as scripts see it, with its relations: `tags` (names), `company`, `companies`,
    /// `language`, `subscriptions`, `duplicates`, `conversations`, `events`.
    pub contact: Arc<Value>,
    /// Brevo's contact, if it holds one: `id`, `email`, `lists`, `blacklisted`, attributes by name.
    pub existing: Option<Arc<Value>>,
    /// The time that `older_than` and `within` compare with.
    pub as_of: Timestamp,
}

/// Everything that the decision on any other record is derived from.
#[derive(Clone, PartialEq)]
pub struct RecordInput {
    /// Which record.
    pub key: RecordKey,
    /// The record as scripts see it, with its relations: a conversation's `contact`, `contacts` and
    /// `transitions`, an event's `contact`, a company's `tags` (names) and `contacts_count`.
    pub record: Arc<Value>,
    /// The time that `older_than` and `within` compare with.
    pub as_of: Timestamp,
}

impl fmt::Debug for ContactInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest is personal.
        let Self { key, as_of, .. } = self;
        f.debug_struct("ContactInput")
            .field("key", key)
            .field("as_of", as_of)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RecordInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest is personal.
        let Self { key, as_of, .. } = self;
        f.debug_struct("RecordInput")
            .field("key", key)
            .field("as_of", as_of)
            .finish_non_exhaustive()
    }
}
