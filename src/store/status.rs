//! Figures of the store.

use serde::Serialize;

use super::{EventCounts, SinkCounts, VerificationCounts};

/// Every accepted input, by what became of it. `accepted` is the sum of the others, at any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RecordCounts {
    /// Inputs that were made durable: notifications, and snapshots of syncs.
    pub accepted: u64,
    /// Brevo was changed for them.
    pub applied: u64,
    /// Nothing had to be changed.
    pub unchanged: u64,
    /// A newer one came before they were derived, or they were older than what was known.
    pub superseded: u64,
    /// Nothing derives from them.
    pub ignored: u64,
    /// The rules, or an operator, left them out.
    pub skipped: u64,
    /// They wait for an operator's approval.
    pub held: u64,
    /// They are dead letters.
    pub dead: u64,
    /// They wait to be derived.
    pub pending: u64,
}

/// Figures of the store, read in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreCounts {
    /// Accepted inputs.
    pub records: RecordCounts,
    /// Repeated notifications.
    pub duplicates: u64,
    /// Notifications of other workspaces; they are among the ignored.
    pub foreign: u64,
    /// Derivations without an input of their own.
    pub rederived: u64,
    /// Opt-outs that a newer opt-in lifted.
    pub resubscribed: u64,
    /// Keys that are due or claimed, derivations without an input included; and what holds count or
    /// let go.
    pub work: u64,
    /// Live contacts known.
    pub contacts: u64,
    /// Live companies known.
    pub companies: u64,
    /// Conversations known.
    pub conversations: u64,
    /// Custom events known.
    pub custom_events: u64,
    /// Brevo contacts that stand for an Intercom contact.
    pub managed: u64,
    /// Contacts of which something waits for approval.
    pub held_changes: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Values that were written, and whether Brevo took them.
    pub values: VerificationCounts,
    /// Events that rules tracked.
    pub events: EventCounts,
    /// What is brought to Brevo beside contacts and events.
    pub sinks: SinkCounts,
}
