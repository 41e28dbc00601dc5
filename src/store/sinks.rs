//! Figures of what is brought to Brevo beside contacts and events. They stand apart from those of the
//! records: what asked for a link or an object has its own outcome.

use serde::Serialize;

/// Figures of companies in Brevo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct CompanyCounts {
    /// Brevo has them.
    pub synced: u64,
    /// They wait to be derived, or to be written.
    pub due: u64,
    /// They wait until Brevo takes companies.
    pub withheld: u64,
    /// They are dead letters.
    pub dead: u64,
}

/// Figures of links between contacts and companies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct LinkCounts {
    /// The engine made them, and they stand.
    pub linked: u64,
    /// They are to be made or undone now: Brevo has both ends.
    pub due: u64,
    /// They are dead letters.
    pub dead: u64,
}

/// Figures of custom objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ObjectCounts {
    /// How often one was sent.
    pub sent: u64,
    /// They wait to be sent.
    pub due: u64,
    /// They are dead letters.
    pub dead: u64,
}

/// Figures of people who are asked to confirm an opt-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DoubleOptInCounts {
    /// Addresses that Brevo was asked to send the e-mail to.
    pub sent: u64,
    /// Addresses that wait to be asked.
    pub due: u64,
    /// They are dead letters.
    pub dead: u64,
}
