//! Intercom: reading and writing it over its API, and its notifications, verified and brought into one shape.
//!
//! Whatever comes in leaves this module as a [`crate::model::Snapshot`] with a body that is the same
//! whichever way and in whichever API version it came.

mod attributes;
mod client;
mod companies;
mod conversations;
mod course;
mod error;
mod events;
pub mod normalize;
mod oauth;
mod page;
mod people;
mod reads;
mod redact;
#[cfg(test)]
mod sandbox_tests;
mod topic;
mod webhook;
mod wire;
mod workspace;

pub use attributes::{AttributeModel, DataAttribute};
pub use client::{IntercomClient, IntercomSettings};
pub use conversations::{Management, Voice};
pub use error::IntercomError;
pub use events::{EventPage, EventTotal};
pub use oauth::{Granted, OAuthApp, OAuthError};
pub use page::{CompanyPage, Cursor, Page, ScrollPage};
pub use people::Consent;
pub use redact::Redacted;
pub use topic::{ConversationTopic, Topic};
pub use webhook::{
    Content, Notification, SignatureRejected, Unusable, Unverified, Verified, trusted,
};
pub use wire::Me;
pub use workspace::{Admin, Segment, SubscriptionType};
