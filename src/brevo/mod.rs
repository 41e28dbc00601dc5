//! Brevo: the client, and the cheapest way to write what is missing.
//!
//! [`BrevoClient`] speaks the part of Brevo's API that the engine needs, never faster than Brevo
//! allows, and retries what can be retried without changing the result. [`Plan`], [`Catalogue`] and
//! [`ImportFile`] are pure. The ratchet for consent stands in the types: an [`OptOut`] can be said,
//! its opposite only with a `model::Lifted`, by a call of its own.

mod attributes;
mod call;
mod catalogue;
mod client;
mod companies;
mod contacts;
mod double_opt_in;
mod draft;
mod error;
mod events;
mod explain;
mod import;
mod imports;
mod lists;
mod movers;
mod objects;
mod plan;
mod resubscribe;
mod shown;
mod webhook;
mod webhooks;
mod wire;

pub use attributes::{Attribute, AttributeCategory, AttributeOption};
pub use call::{CallCounts, CallKind};
pub use catalogue::{Catalogue, IllTyped, type_for_creation};
pub use client::{BrevoClient, BrevoSettings, BucketRates, ChargeBook};
pub use companies::{
    BrevoCompany, CompaniesQuery, CompanyAttribute, CompanyAttributeType, CompanyImport,
    MAX_COMPANY_FILE_BYTES,
};
pub use contacts::{ContactsPage, ContactsQuery, Identifier, Upserted};
pub use double_opt_in::Confirmation;
pub use error::{BrevoError, ErrorKind};
pub use events::{EventWrite, EventsAnswer, MAX_EVENTS};
pub use explain::{Explained, ExplainedImport, ExplainedList, ListActionName};
pub use import::{ImportError, ImportFile, ImportRow, is_importable};
pub use imports::{ProblemFile, ProblemKind, ProcessId, ProcessState, ProcessStatus};
pub use lists::{ListOutcome, MAX_LIST_MEMBERS, Member};
pub use objects::{MAX_OBJECTS, ObjectWrite};
pub use plan::{By, ImportStep, ListCall, Plan, PlannedChange, Situation};
pub use resubscribe::Standing;
pub use shown::shown_request;
pub use webhook::{BrevoEvent, BrevoEventKind, UnusableWebhook, is_webhook_token, parse_webhook};
pub use webhooks::{Webhook, WebhookType};
pub use wire::{Account, ContactWrite, Folder, List, OptOut, PlanVertical};

#[cfg(test)]
mod normal_form_tests;
#[cfg(test)]
mod tests;
