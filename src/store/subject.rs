//! All that a derivation needs to know of one contact, loaded in one read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventCount, MirrorEntry, Overlay};
use crate::model::{
    AttributeName, Change, ConversationOutline, Digest, Email, ListId, MissedValue, Record,
    RecordId,
};

/// The whole of sub-lists that a snapshot showed only ten of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sublists {
    /// Ids of all tags, ascending; none: the snapshot shows them all.
    pub tags: Option<Vec<RecordId>>,
    /// Ids of all companies, ascending; none: the snapshot shows them all.
    pub companies: Option<Vec<RecordId>>,
}

/// The conversations of a contact.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conversations {
    /// What the counts need, of all of them.
    pub outlines: Vec<ConversationOutline>,
    /// The newest in full, the newest first.
    pub newest: Vec<Value>,
}

/// Which contact to load, and which of Brevo's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectQuery {
    /// The Intercom contact.
    pub id: RecordId,
    /// The address to look for in the mirror and the ledger; none: the one of the record.
    pub address: Option<Email>,
}

impl From<RecordId> for SubjectQuery {
    fn from(id: RecordId) -> Self {
        Self { id, address: None }
    }
}

/// A contact and what it derives from.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// The Intercom contact's id.
    pub id: RecordId,
    /// Its newest snapshot; none: it was never seen.
    pub record: Option<Record>,
    /// Sub-lists that were read in full for this very snapshot.
    pub sublists: Option<Sublists>,
    /// Names of the tags that the snapshot, `sublists` and its companies list, as far as they are
    /// known.
    pub tags: BTreeMap<RecordId, String>,
    /// The companies that they list, as far as they are known.
    pub companies: BTreeMap<RecordId, Record>,
    /// Names of subscription types, as far as they are known.
    pub subscription_types: BTreeMap<RecordId, String>,
    /// Its conversations.
    pub conversations: Conversations,
    /// What the rules say of it where they look at other records, the newest last.
    pub overlays: Vec<Overlay>,
    /// What it did how often.
    pub events: Vec<EventCount>,
    /// Other live contacts with the same address, by id.
    pub duplicates: Vec<Record>,
    /// The Brevo contact that stands for this one.
    pub owned: Option<MirrorEntry>,
    /// The address that the next three fields are about.
    pub address: Option<Email>,
    /// The Brevo contact that has this address, if that is another.
    pub at_address: Option<MirrorEntry>,
    /// Brevo's number of the contact that has the record's phone number.
    pub at_number: Option<i64>,
    /// What was about to be written for it when the last process died, if its end is not known.
    pub intent: Option<Change>,
    /// Which snapshot was derived last when somebody deleted its Brevo contact.
    pub lost_with: Option<Digest>,
    /// Values of its Brevo contact that Brevo did not take.
    pub missed: BTreeMap<AttributeName, MissedValue>,
    /// Lists that the person left by himself, where Brevo has no contact that would tell.
    pub left_lists: BTreeSet<ListId>,
    /// Somebody said that this address takes no e-mail.
    pub email_suppressed: bool,
    /// Somebody said that this person takes no SMS.
    pub sms_suppressed: bool,
}
