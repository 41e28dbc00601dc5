//! What comes in from Brevo: one event of a webhook, on its way into journal, ledger and work in one
//! step.

use super::OptOut;
use crate::model::{Email, Timestamp};

/// One accepted event of Brevo's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrevoArrival {
    /// Equal for every delivery of the event.
    pub dedupe_key: String,
    /// Its name.
    pub topic: String,
    /// All of it; kept only of people whom Intercom knows, too.
    pub body: Vec<u8>,
    /// When it was received.
    pub received: Timestamp,
    /// What follows from it.
    pub effect: BrevoEffect,
}

/// What follows from an event of Brevo's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrevoEffect {
    /// The contact is read, and derived again if it is not as mirrored.
    Read {
        /// Its address.
        email: Email,
        /// The person takes no more messages.
        opt_out: Option<OptOut>,
    },
    /// Nothing: an echo of our own writes, or an event that changes no contact.
    Nothing,
    /// It cannot be used: it becomes a dead letter.
    Unusable {
        /// What is wrong with it.
        reason: String,
    },
}

/// How many events of a webhook were new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BrevoAcceptance {
    /// They are durable now.
    pub accepted: usize,
    /// They were before.
    pub duplicates: usize,
}

/// What becomes of an Intercom contact whose Brevo contact somebody else deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLoss {
    /// It has none until its record changes.
    Wait,
    /// It is derived again, which makes another.
    MakeAgain,
}
