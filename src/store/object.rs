//! Custom objects that rules asked for, on their way to Brevo.

use super::Cause;
use crate::model::{Fields, RecordId, Timestamp};

/// An object that is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct DueObject {
    /// Its number in the store.
    pub seq: i64,
    /// Which change of it: the end of an attempt speaks of this one only.
    pub version: i64,
    /// Its type.
    pub kind: String,
    /// Our id of it.
    pub id: String,
    /// What it says.
    pub fields: Fields,
    /// The Intercom contact that it belongs to.
    pub contact: RecordId,
    /// Brevo's number of that contact, if Brevo has it.
    pub number: Option<i64>,
    /// `scripts/mapping.rhai:14:9`, the line that asked for it.
    pub origin: Option<String>,
    /// The rules that asked for it.
    pub rule_set: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when it fails.
    pub failing_since: Option<Timestamp>,
}

/// How an attempt to send an object ended.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectEnd {
    /// Brevo has it, for the contact with this number.
    Sent(Option<i64>),
    /// It will not be sent by itself.
    Dead(Cause),
    /// It is tried again.
    Retry {
        /// Not before this time.
        at: Timestamp,
        /// True if it failed by itself; false if the service or the engine did.
        counts: bool,
    },
}
