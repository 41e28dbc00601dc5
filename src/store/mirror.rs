//! What the store remembers of Brevo's side.

use super::AfterLoss;
use crate::model::{AttributeName, Mirrored, RecordId, SentValue};
use std::collections::BTreeMap;

/// What the mirror knows of an address or an owner.
#[derive(Debug, Clone, PartialEq)]
pub enum MirrorEntry {
    /// Everything.
    Full(Box<Mirrored>),
    /// That it exists, and whether it is blacklisted: it had no match in Intercom when it was read.
    Outline {
        /// Brevo's number of the contact.
        id: i64,
        /// No marketing e-mail.
        email_blacklisted: bool,
        /// No marketing SMS.
        sms_blacklisted: bool,
    },
}

impl MirrorEntry {
    /// Brevo's number of the contact.
    pub fn id(&self) -> i64 {
        match self {
            Self::Full(mirrored) => mirrored.contact.id,
            Self::Outline { id, .. } => *id,
        }
    }
}

/// The contact of Brevo's that has an `EXT_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtIdHolder {
    /// Brevo's number of the contact.
    pub id: i64,
    /// The Intercom contact that it stands for.
    pub owner: Option<RecordId>,
}

/// A change of the mirror that becomes durable together with the work that caused it.
#[derive(Debug, Clone, PartialEq)]
pub enum MirrorWrite {
    /// This is what Brevo holds, what was applied, and for whom.
    Put(Box<Mirrored>),
    /// The contact is blacklisted; all else stays.
    Blacklist {
        /// Brevo's number of the contact.
        id: i64,
        /// For e-mail.
        email: bool,
        /// For SMS.
        sms: bool,
    },
    /// The contact stands for this Intercom contact, unless it stands for one already.
    Own {
        /// Brevo's number of the contact.
        id: i64,
        /// The Intercom contact.
        owner: RecordId,
    },
    /// The contact no longer stands for this Intercom contact.
    Disown {
        /// Brevo's number of the contact.
        id: i64,
        /// The Intercom contact it stood for.
        owner: RecordId,
    },
    /// These values were written, and nobody has read them back yet.
    Sent {
        /// Brevo's number of the contact.
        id: i64,
        /// The Intercom contact that it stands for.
        owner: RecordId,
        /// The values by attribute.
        values: BTreeMap<AttributeName, SentValue>,
    },
    /// Intercom is to be told that the contact opted out in Brevo, if it did and Intercom was not.
    TellIntercom {
        /// The Intercom contact.
        contact: RecordId,
    },
    /// Intercom was told.
    ToldIntercom {
        /// The Intercom contact.
        contact: RecordId,
    },
    /// A value that Brevo did not take is not wanted any more, or is there.
    Unpark {
        /// Brevo's number of the contact.
        id: i64,
        /// The attribute.
        attribute: AttributeName,
    },
    /// The contact is gone from Brevo, as was decided.
    Forget {
        /// Brevo's number of the contact.
        id: i64,
    },
    /// The contact is gone from Brevo, and somebody else deleted it.
    Lose {
        /// Brevo's number of the contact.
        id: i64,
        /// What becomes of whom it stood for.
        then: AfterLoss,
    },
}
