//! Intercom: reading it over its API, and its notifications, verified and brought into one shape.
//!
//! Whatever comes in leaves this module as a [`crate::model::Snapshot`] with a body that is the same
//! whichever way and in whichever API version it came. Nothing is written to Intercom here.

mod attributes;
mod client;
mod error;
pub mod normalize;
mod oauth;
mod page;
mod reads;
mod redact;
mod topic;
mod webhook;
mod wire;

pub use attributes::{AttributeModel, DataAttribute};
pub use client::{IntercomClient, IntercomSettings};
pub use error::IntercomError;
pub use oauth::{Granted, OAuthApp, OAuthError};
pub use page::{CompanyPage, Cursor, Page, ScrollPage};
pub use redact::Redacted;
pub use topic::{ConversationTopic, Topic};
pub use webhook::{
    Content, Notification, SignatureRejected, Unusable, Unverified, Verified, trusted,
};
pub use wire::Me;
