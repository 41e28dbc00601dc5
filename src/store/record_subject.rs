//! All that the derivation of a record that is no contact needs to know.

use std::collections::BTreeMap;

use super::Overlay;
use crate::model::{Record, RecordId, RecordKey, Transition};

/// A conversation, a custom event or a company with what it derives from.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordSubject {
    /// Which record.
    pub key: RecordKey,
    /// Its newest snapshot; none: it was never seen.
    pub record: Option<Record>,
    /// What happened to a conversation, in the order in which it became known.
    pub course: Vec<Transition>,
    /// The contacts that it is about, the first one first.
    pub contacts: Vec<RecordId>,
    /// Names of the tags of a company, as far as they are known.
    pub tags: BTreeMap<RecordId, String>,
    /// How many known contacts belong to a company.
    pub contacts_count: u64,
    /// What was said of contacts at the derivation before.
    pub overlays: Vec<Overlay>,
}
