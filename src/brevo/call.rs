//! The calls that exist: method, route, bucket, and whether a call may be repeated.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use reqwest::Method;
use serde::Serialize;
use url::Url;

use super::error::BrevoError;

/// What kind of call was made, for counts and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// `GET /account`.
    Account,
    /// `GET /contacts`.
    ContactsPage,
    /// `GET /contacts/{identifier}`.
    Contact,
    /// `POST /contacts`.
    Upsert,
    /// `PUT /contacts/{identifier}`.
    Update,
    /// `PUT /contacts/{identifier}`, to lift an opt-out.
    Resubscribe,
    /// `DELETE /contacts/{identifier}`.
    Delete,
    /// `POST /contacts/import`.
    Import,
    /// `GET /processes/{id}`.
    Process,
    /// `GET /processes`.
    Processes,
    /// `GET` of a file in which an import lists rows; not part of the API.
    File,
    /// `GET /contacts/attributes`.
    Attributes,
    /// `POST /contacts/attributes/{category}/{name}`.
    CreateAttribute,
    /// `PUT /contacts/attributes/{category}/{name}`.
    UpdateAttribute,
    /// `GET /contacts/lists`.
    Lists,
    /// `POST /contacts/lists`.
    CreateList,
    /// `GET /contacts/folders`.
    Folders,
    /// `POST /contacts/folders`.
    CreateFolder,
    /// `POST /contacts/lists/{id}/contacts/add`.
    AddToList,
    /// `POST /contacts/lists/{id}/contacts/remove`.
    RemoveFromList,
    /// `POST /events/batch`.
    SendEvents,
    /// `GET /events`.
    FindEvents,
    /// `GET /webhooks`.
    Webhooks,
    /// `GET /companies`.
    Companies,
    /// `POST /companies`.
    CreateCompany,
    /// `PATCH /companies/{id}`.
    UpdateCompany,
    /// `DELETE /companies/{id}`.
    DeleteCompany,
    /// `PATCH /companies/link-unlink/{id}`.
    LinkCompany,
    /// `POST /companies/import`.
    ImportCompanies,
    /// `GET /crm/attributes/companies`.
    CompanyAttributes,
    /// `POST /crm/attributes`.
    CreateCompanyAttribute,
    /// `POST /objects/{type}/batch/upsert`.
    UpsertObjects,
    /// `POST /contacts/doubleOptinConfirmation`.
    DoubleOptIn,
}

impl CallKind {
    /// True of calls that change something in Brevo.
    pub fn is_write(self) -> bool {
        self.method() != Method::GET
    }

    /// The path as a pattern, which stands for the path in logs and metrics.
    pub fn route(self) -> &'static str {
        match self {
            Self::Account => "/account",
            Self::ContactsPage | Self::Upsert => "/contacts",
            Self::Contact | Self::Update | Self::Resubscribe | Self::Delete => {
                "/contacts/{identifier}"
            }
            Self::Import => "/contacts/import",
            Self::Process => "/processes/{id}",
            Self::Processes => "/processes",
            Self::File => "{file}",
            Self::Attributes => "/contacts/attributes",
            Self::CreateAttribute | Self::UpdateAttribute => {
                "/contacts/attributes/{category}/{name}"
            }
            Self::Lists | Self::CreateList => "/contacts/lists",
            Self::Folders | Self::CreateFolder => "/contacts/folders",
            Self::AddToList => "/contacts/lists/{id}/contacts/add",
            Self::RemoveFromList => "/contacts/lists/{id}/contacts/remove",
            Self::SendEvents => "/events/batch",
            Self::FindEvents => "/events",
            Self::Webhooks => "/webhooks",
            Self::Companies | Self::CreateCompany => "/companies",
            Self::UpdateCompany | Self::DeleteCompany => "/companies/{id}",
            Self::LinkCompany => "/companies/link-unlink/{id}",
            Self::ImportCompanies => "/companies/import",
            Self::CompanyAttributes => "/crm/attributes/companies",
            Self::CreateCompanyAttribute => "/crm/attributes",
            Self::UpsertObjects => "/objects/{type}/batch/upsert",
            Self::DoubleOptIn => "/contacts/doubleOptinConfirmation",
        }
    }

    pub(super) fn method(self) -> Method {
        match self {
            Self::Account
            | Self::ContactsPage
            | Self::Contact
            | Self::Process
            | Self::Processes
            | Self::File
            | Self::Attributes
            | Self::Lists
            | Self::Folders
            | Self::FindEvents
            | Self::Webhooks
            | Self::Companies
            | Self::CompanyAttributes => Method::GET,
            Self::Update | Self::Resubscribe | Self::UpdateAttribute => Method::PUT,
            Self::UpdateCompany | Self::LinkCompany => Method::PATCH,
            Self::Delete | Self::DeleteCompany => Method::DELETE,
            Self::Upsert
            | Self::Import
            | Self::CreateAttribute
            | Self::CreateList
            | Self::CreateFolder
            | Self::AddToList
            | Self::RemoveFromList
            | Self::SendEvents
            | Self::CreateCompany
            | Self::ImportCompanies
            | Self::CreateCompanyAttribute
            | Self::UpsertObjects
            | Self::DoubleOptIn => Method::POST,
        }
    }

    /// True where a second call changes nothing that the first did not. An import is written once: a
    /// second one of the same rows would hold up the account's queue. Two lists may share a name. An
    /// event has no identity in Brevo: sent twice, it happened twice. Nor has a company, and nobody likes
    /// to be asked twice to confirm. Whoever opts out while an opt-out is lifted must not be overtaken by a
    /// second call.
    pub(super) fn is_idempotent(self) -> bool {
        !matches!(
            self,
            Self::Import
                | Self::CreateList
                | Self::CreateFolder
                | Self::SendEvents
                | Self::CreateCompany
                | Self::ImportCompanies
                | Self::DoubleOptIn
                | Self::Resubscribe
        )
    }

    /// True of what is not even repeated where it certainly failed: whether somebody may be asked is to
    /// be found out again first.
    pub(super) fn is_made_once(self) -> bool {
        matches!(self, Self::DoubleOptIn | Self::Resubscribe)
    }

    /// Which rate limit the call counts against (facts: Brevo section 9).
    pub(super) fn bucket(self) -> Bucket {
        match self {
            Self::File => Bucket::None,
            Self::SendEvents => Bucket::Events,
            // Only the sending of events has a bucket of its own.
            Self::Account
            | Self::Webhooks
            | Self::Process
            | Self::Processes
            | Self::FindEvents
            | Self::Companies
            | Self::CreateCompany
            | Self::UpdateCompany
            | Self::DeleteCompany
            | Self::LinkCompany
            | Self::ImportCompanies
            | Self::CompanyAttributes
            | Self::CreateCompanyAttribute
            | Self::UpsertObjects => Bucket::Other,
            _ => Bucket::Contacts,
        }
    }
}

/// A rate limit of Brevo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bucket {
    /// `/contacts...`: calls per second and hour.
    Contacts,
    /// The sending of events: calls per second and hour.
    Events,
    /// All that has no bucket of its own: calls per hour.
    Other,
    /// Not part of the API.
    None,
}

/// One call, ready to be sent as often as it takes.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) kind: CallKind,
    pub(super) url: Url,
    pub(super) body: Option<Bytes>,
    pub(super) content_type: &'static str,
}

impl Call {
    /// A call to `path` below `base`. What stands in the path is percent-encoded already.
    pub(super) fn new(kind: CallKind, base: &Url, path: &str) -> Result<Self, BrevoError> {
        let text = format!("{}{path}", base.as_str().trim_end_matches('/'));
        let url = Url::parse(&text).map_err(|reason| {
            BrevoError::Unusable(format!("`base_url` cannot be used: {reason}"))
        })?;
        Ok(Self { kind, url, body: None, content_type: "application/json" })
    }

    /// Adds a parameter to the query.
    #[must_use]
    pub(super) fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.url.query_pairs_mut().append_pair(name, &value.to_string());
        self
    }

    /// Sets the body.
    pub(super) fn json(mut self, body: &impl Serialize) -> Result<Self, BrevoError> {
        let bytes = serde_json::to_vec(body).map_err(|reason| {
            BrevoError::Unusable(format!("the request cannot be written: {reason}"))
        })?;
        self.body = Some(bytes.into());
        Ok(self)
    }

    /// Sets a body that is not JSON.
    #[must_use]
    pub(super) fn form(mut self, content_type: &'static str, body: Bytes) -> Self {
        self.content_type = content_type;
        self.body = Some(body);
        self
    }
}

/// How many calls were made, repeated ones included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct CallCounts(BTreeMap<CallKind, u64>);

impl CallCounts {
    /// Calls of one kind.
    pub fn of(&self, kind: CallKind) -> u64 {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// Calls that change something.
    pub fn writes(&self) -> u64 {
        self.iter().filter(|(kind, _)| kind.is_write()).map(|(_, count)| count).sum()
    }

    /// Calls that only read.
    pub fn reads(&self) -> u64 {
        self.iter().filter(|(kind, _)| !kind.is_write()).map(|(_, count)| count).sum()
    }

    /// All kinds that were called at least once.
    pub fn iter(&self) -> impl Iterator<Item = (CallKind, u64)> + '_ {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }
}

/// Counts calls.
#[derive(Debug, Default)]
pub(super) struct CallCounter(Mutex<CallCounts>);

impl CallCounter {
    pub(super) fn count(&self, kind: CallKind) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.0.entry(kind).or_default() += 1;
    }

    pub(super) fn counts(&self) -> CallCounts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
