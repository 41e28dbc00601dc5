//! Plain data: no I/O, no async, never reads the clock by itself.
//!
//! A contact's journey is a type per station: a [`Snapshot`] comes in and becomes a [`Record`], the
//! rules turn it into a [`Decision`], and [`Change`] is what is still missing for the decision to be
//! true in Brevo.

mod attribute;
mod brevo_contact;
mod change;
mod company_decision;
mod company_state;
mod consent;
mod conversation;
mod custom_event;
mod decision;
mod digest;
mod emission;
mod hold;
mod id;
mod part;
mod phone;
mod record;
mod reverse_decision;
mod rules_pin;
mod sent_value;
mod time;
mod transition;

pub use attribute::{AttributeName, AttributeType, AttributeValue, InvalidAttributeName};
pub use brevo_contact::{Applied, BrevoContact, Mirrored};
pub use change::{Change, Identity, Resolved, ResolvedAttribute, difference};
pub use company_decision::CompanyDecision;
pub use company_state::{CompanyChange, CompanyState, CompanyValues, company_difference};
pub use consent::{
    Entry, History, Lifted, MayResubscribe, OptIn, Says, SeenBy, Stays, Witness, judge,
};
pub use conversation::{ConversationOutline, conversation_summary};
pub use custom_event::{EventPerson, made_event_id};
pub use decision::{
    AttributeIntent, Decision, Diagnosis, Line, ListIntent, ListRef, Origin, Traced, Verdict,
};
pub use digest::{Digest, canonical_json};
pub use emission::{DoubleOptIn, Emission, Fields, ObjectKey, TrackedEvent};
pub use hold::{Bound, Parts, Takes, Word};
pub use id::{
    Email, InvalidId, ListId, RecordId, RecordKey, RecordKind, RuleSetVersion, WorkspaceId,
};
pub use part::{Part, list_in_words};
pub use phone::phone_digits;
pub use record::{Freshness, Liveness, Record, Snapshot, Source, Version, email_of};
pub use reverse_decision::{ContactRole, Message, ReverseDecision, TagIntent};
pub use rules_pin::RulesPin;
pub use sent_value::{MissedValue, SentValue};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use transition::{Gathered, Transition, TransitionKind, concluded, gather};
