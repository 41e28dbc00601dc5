//! Opt-outs that are to be lifted.

use crate::model::{
    BrevoContact, Email, Lifted, MayResubscribe, Origin, RecordId, RuleSetVersion, Timestamp,
};

/// A wish of the rules to lift an opt-out.
#[derive(Debug, Clone, PartialEq)]
pub struct LiftWish {
    /// The configuration's leave.
    pub leave: MayResubscribe,
    /// The Intercom contact that they were run for.
    pub contact: RecordId,
    /// Its address.
    pub email: Email,
    /// The rules.
    pub rule_set: RuleSetVersion,
    /// The line that asks for it.
    pub origin: Origin,
}

/// How the lifting of an opt-out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiftEnd {
    /// It is lifted.
    Lifted,
    /// Somebody opted out meanwhile: Brevo is told so.
    Overtaken,
}

/// An opt-out that is being lifted: written down, and not yet told to Brevo.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenLift {
    /// What may be told to Brevo.
    pub lifted: Lifted,
    /// What asked for it.
    pub wish: LiftWish,
    /// Brevo's contact, as it was read right before.
    pub held: BrevoContact,
}

/// A lift that was given up, of which Brevo may have been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftLift {
    /// Brevo's number of the contact.
    pub brevo: i64,
    /// When Brevo had last changed the contact before that, as it said.
    pub modified: Option<Timestamp>,
}
