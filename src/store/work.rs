//! Work: keys to derive again, claims on them, and how a claim ends.

use serde::{Deserialize, Serialize};

use super::{CompanyWrite, Derivation, MirrorWrite, Priority};
use crate::model::{Change, Decision, Emission, RecordId, Timestamp};

/// What is to be done for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Blacklist the contact in Brevo; asks no rule.
    OptOut,
    /// Derive the contact's decision and write the difference.
    Contact,
    /// Derive the company's decision and write the difference.
    Company,
    /// Derive what a conversation gives off.
    Conversation,
    /// Derive what a custom event gives off.
    Event,
    /// Read a contact of Brevo's of which a webhook told.
    BrevoContact,
    /// Make the contacts of a company dirty.
    Members,
    /// Make dirty what bears a tag that got another name.
    Bearers,
    /// Tell Intercom that the contact opted out in Brevo.
    TellIntercom,
}

impl Task {
    /// The word for it in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OptOut => "opt_out",
            Self::Contact => "contact",
            Self::Company => "company",
            Self::Conversation => "conversation",
            Self::Event => "custom_event",
            Self::BrevoContact => "brevo_contact",
            Self::Members => "members",
            Self::Bearers => "bearers",
            Self::TellIntercom => "tell_intercom",
        }
    }

    /// Reads [`Self::as_str`] back.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "opt_out" => Some(Self::OptOut),
            "contact" => Some(Self::Contact),
            "company" => Some(Self::Company),
            "conversation" => Some(Self::Conversation),
            "custom_event" => Some(Self::Event),
            "brevo_contact" => Some(Self::BrevoContact),
            "members" => Some(Self::Members),
            "bearers" => Some(Self::Bearers),
            "tell_intercom" => Some(Self::TellIntercom),
            _ => None,
        }
    }
}

/// Names a piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkKey {
    /// What is to be done.
    pub task: Task,
    /// For which object.
    pub id: RecordId,
}

/// A claim on a piece of work: the engine that holds it does it, nobody else.
///
/// Making the claim is durable before anything is evaluated, so a record that takes the process down
/// is found out at the next start.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// What was claimed.
    pub key: WorkKey,
    /// Which dirtying of it: a later one stays when this claim ends.
    pub seq: i64,
    /// Accepted inputs whose outcome this claim decides.
    pub carried: u32,
    /// How often it was claimed since it last succeeded, this time included.
    pub attempts: u32,
    /// When it began to fail.
    pub failing_since: Option<Timestamp>,
    /// Only a read can tell which of two snapshots of one second is newer.
    pub needs_read: bool,
    /// Whether it may have taken the process down: evaluate it alone.
    pub suspicion: Suspicion,
    /// How urgent it is.
    pub priority: Priority,
    /// How far a fan-out has come.
    pub cursor: Option<String>,
    /// Which claim on the key this is: only the last one can end.
    pub token: i64,
    /// What made it dirty, where that is counted as a whole: the number of a hold.
    pub cause: Option<i64>,
}

/// How much speaks for it that what was claimed took the process down, by what was going on when the
/// process last died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspicion {
    /// Nothing.
    None,
    /// It was claimed, as were others.
    Claimed,
    /// It was being evaluated alone. Once is no proof: whoever kills the process while suspects are
    /// evaluated one by one always hits one of them.
    Alone,
}

/// How the claim's inputs are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Brevo was changed, and confirmed it.
    Applied,
    /// Brevo was as decided already.
    Unchanged,
    /// The rules, or an operator, left it out.
    Skipped,
    /// Nothing derives from it.
    Ignored,
    /// What it takes away waits; the rest was written.
    Held,
}

/// How a claim ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// It is done.
    Done {
        /// How its inputs are counted.
        outcome: Outcome,
        /// When to derive it again without any input: the answer of a rule flips then.
        due_again: Option<Timestamp>,
    },
    /// It is tried again.
    Retry {
        /// Not before this time.
        at: Timestamp,
        /// How far a fan-out has come.
        cursor: Option<String>,
        /// True if it failed by itself; false if the service or the engine did.
        counts: bool,
    },
    /// It will not be tried again by itself.
    Dead(Cause),
}

/// Why something became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cause {
    /// The class of the cause: `script`, `refused`, `identity`, `list`, `expired`, `crash`, `unusable`,
    /// `event`, `object`, `link`, `double_opt_in`.
    pub kind: &'static str,
    /// What happened, and what to do.
    pub message: String,
    /// `scripts/mapping.rhai:14:9`, where a script's line is to blame.
    pub origin: Option<String>,
    /// What was sent to Brevo, with addresses and numbers masked.
    pub request: Option<String>,
    /// What Brevo answered, with addresses masked.
    pub response: Option<String>,
    /// The rules that decided.
    pub rule_set: Option<String>,
}

/// What is about to be written for a contact.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// The Intercom contact.
    pub owner: RecordId,
    /// What is written.
    pub change: Change,
    /// The contacts of Brevo's that are touched, by number, and for whom each stood when the change was
    /// worked out.
    pub basis: Vec<(i64, Option<RecordId>)>,
}

/// What a conversation or a custom event gave off, on its way to where it belongs.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    /// What the rules said.
    pub emission: Emission,
    /// The version of the record that they looked at.
    pub at: Timestamp,
}

/// The end of a claim, with all that becomes true in the same step.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The claim that ends.
    pub claim: Claim,
    /// How it ends.
    pub ending: Ending,
    /// What became known of Brevo's side.
    pub mirror: Vec<MirrorWrite>,
    /// What was decided.
    pub decision: Option<Box<Decision>>,
    /// Other contacts that this one's end makes dirty.
    pub dirties: Vec<RecordId>,
    /// What a record that is no contact gave off; none: it is a contact, or did not end as decided.
    pub emission: Option<Box<Emitted>>,
    /// The derivation that ended as decided, with the events that it tracked; none where it did not.
    pub derivation: Option<Box<Derivation>>,
    /// What became known of a company.
    pub company: Option<CompanyWrite>,
    /// The phone number that it is to get and another contact has; none: it waits for none.
    pub waits_for_number: Option<WantedNumber>,
}

/// A phone number that one contact is to get and another has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedNumber {
    /// Its digits.
    pub digits: String,
    /// The other one does not have it yet, but gets it first.
    pub is_promised: bool,
}

impl Settlement {
    /// The end of a claim with nothing else to remember.
    pub fn new(claim: Claim, ending: Ending) -> Self {
        Self {
            claim,
            ending,
            mirror: Vec::new(),
            decision: None,
            dirties: Vec::new(),
            emission: None,
            derivation: None,
            company: None,
            waits_for_number: None,
        }
    }
}
