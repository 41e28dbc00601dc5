//! Addresses that are asked to confirm an opt-in, each once.

use std::collections::BTreeSet;

use super::Cause;
use crate::model::{DoubleOptIn, Email, ListId, RecordId, Timestamp};

/// An address that is to be asked to confirm.
#[derive(Debug, Clone, PartialEq)]
pub struct DueDoubleOptIn {
    /// Its number in the store.
    pub seq: i64,
    /// Which change of it: what follows speaks of this one only.
    pub version: i64,
    /// The Intercom contact for whom it is asked.
    pub contact: RecordId,
    /// Whom to ask.
    pub email: Email,
    /// What to ask.
    pub wanted: DoubleOptIn,
    /// The address opted out of marketing e-mail.
    pub is_suppressed: bool,
    /// The lists that whoever has the address left by himself.
    pub left_lists: BTreeSet<ListId>,
    /// `scripts/mapping.rhai:14:9`, the line that asked for it.
    pub origin: Option<String>,
    /// The rules that asked for it.
    pub rule_set: Option<String>,
    /// How often it failed.
    pub attempts: u32,
    /// Since when it fails.
    pub failing_since: Option<Timestamp>,
}

/// How an attempt to ask somebody to confirm ended.
#[derive(Debug, Clone, PartialEq)]
pub enum DoubleOptInEnd {
    /// Brevo has taken it: the address is never asked again.
    Asked,
    /// There is nothing to ask for while the address is on these lists, or has left them.
    Needless(BTreeSet<ListId>),
    /// It must not be asked. Rules may ask for it again.
    Withdrawn,
    /// It is a dead letter, and nobody was asked.
    Refused(Cause),
    /// It is a dead letter, and the e-mail may have been sent.
    Doubtful(Cause),
    /// Nobody was asked, and it is tried again.
    Retry {
        /// Not before this time.
        at: Timestamp,
        /// True if it failed by itself; false if the service or the engine did.
        counts: bool,
    },
}
