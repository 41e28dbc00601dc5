//! What comes in: one accepted input, on its way into journal, records and work in one step.

use serde::{Deserialize, Serialize};

use crate::model::{Email, RecordId, Snapshot, Timestamp};

/// Which work goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Opt-outs and deletions.
    Urgent,
    /// What a notification brought.
    Live,
    /// What sweeps and new rules brought.
    Bulk,
    /// Companies, whatever brought them: they have a worker of their own, since Brevo allows few calls.
    Companies,
}

impl Priority {
    /// The number that orders it in the store.
    pub fn rank(self) -> i64 {
        match self {
            Self::Urgent => 0,
            Self::Live => 1,
            Self::Bulk => 2,
            Self::Companies => 3,
        }
    }

    /// Reads [`Self::rank`] back.
    pub fn from_rank(rank: i64) -> Self {
        match rank {
            0 => Self::Urgent,
            1 => Self::Live,
            3 => Self::Companies,
            _ => Self::Bulk,
        }
    }
}

/// By which channel somebody does not want to be reached any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Marketing e-mail.
    Email,
    /// Marketing SMS.
    Sms,
}

impl Channel {
    /// The word for it in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
        }
    }
}

/// Why somebody is not to be reached any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptOutReason {
    /// He asked for it.
    Asked,
    /// The address does not exist.
    Bounced,
    /// He calls the mail spam.
    Complained,
}

/// An opt-out, on its way into the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOut {
    /// Whose address; none: the one that is known of `contact`.
    pub email: Option<Email>,
    /// Of an opt-out from SMS, the digits of the person's number; none: those that are known of
    /// `contact`.
    pub phone: Option<String>,
    /// By which channel.
    pub channel: Channel,
    /// Why.
    pub reason: OptOutReason,
    /// When it was made, as far as that is known.
    pub at: Timestamp,
    /// Where it came from: `intercom`, `brevo`.
    pub source: &'static str,
    /// The Intercom contact that it came with, if any.
    pub contact: Option<RecordId>,
}

/// A notification as it is journalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journalled {
    /// The notification's id, or what stands for it.
    pub dedupe_key: String,
    /// Intercom's name of the topic.
    pub topic: String,
    /// The raw body.
    pub body: Vec<u8>,
}

/// One accepted input.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// The notification that brought it; none: a sync did.
    pub notification: Option<Journalled>,
    /// When it was received.
    pub received: Timestamp,
    /// Where the work that it makes is queued.
    pub priority: Priority,
    /// What it says.
    pub content: Content,
}

/// What an accepted input says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Objects as they are now. The first is what the input is about; its outcome is the input's.
    Snapshots {
        /// What the input is about.
        primary: Box<Snapshot>,
        /// What else it shows.
        others: Vec<Snapshot>,
        /// Opt-outs that it shows, stale or not.
        opt_outs: Vec<OptOut>,
    },
    /// Nothing that concerns us: a ping, a topic that no rule handles.
    Nothing,
    /// It is another workspace's.
    Foreign,
    /// Signed, but nothing that can be used: it becomes a dead letter.
    Unusable {
        /// What is wrong with it.
        reason: String,
    },
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceptance {
    /// It is durable.
    Accepted,
    /// A notification with this id was accepted before.
    Duplicate,
}
