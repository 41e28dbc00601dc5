//! Contacts: pages, one, writing, deleting.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::call::{Call, CallKind};
use super::client::{BrevoClient, read, server_date};
use super::error::BrevoError;
use super::wire::{ContactWrite, ContactsAnswer, IdAnswer, contact};
use crate::http::Lane;
use crate::model::{BrevoContact, Email, ListId, Timestamp};

/// The most contacts that a page holds.
const MAX_PAGE: u32 = 1000;
/// The most contacts that a page can be asked for by number.
const MAX_IDS: usize = 20;

/// What need not be encoded in a path. `+` must be: Brevo reads it as a space (facts: Brevo section
/// 13).
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Which contact is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identifier {
    /// The one with this number.
    Id(i64),
    /// The one with this address.
    Email(Email),
    /// The one with this `EXT_ID`.
    ExtId(String),
    /// The one with this SMS number, given by its digits.
    Phone(String),
}

/// Which contacts a page is taken from, oldest contact first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContactsQuery<'a> {
    /// Only those that changed at this time or later.
    pub modified_since: Option<Timestamp>,
    /// Only those of this list.
    pub list: Option<ListId>,
    /// Only these, at most 20; empty: all.
    pub ids: &'a [i64],
    /// How many to leave out, from the oldest on.
    pub offset: u64,
    /// How many the page may hold, at most 1,000; 0: 1,000.
    pub limit: u32,
}

/// A page of contacts. The last page is one that holds fewer than were asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ContactsPage {
    /// The contacts, in the order of their creation.
    pub contacts: Vec<BrevoContact>,
    /// How many the query finds in all.
    pub count: u64,
    /// When the call was sent, by our clock.
    pub began: Timestamp,
    /// When it was answered, by Brevo's clock.
    pub server_date: Option<Timestamp>,
}

/// What an upsert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upserted {
    /// A contact with this number is new.
    Created(i64),
    /// The contact existed. Brevo does not say its number.
    Updated,
}

impl BrevoClient {
    /// A page of contacts.
    pub async fn contacts_page(
        &self,
        lane: Lane,
        query: &ContactsQuery<'_>,
    ) -> Result<ContactsPage, BrevoError> {
        if query.ids.len() > MAX_IDS {
            let text = "a page of contacts can be asked for by at most 20 ids";
            return Err(BrevoError::Unusable(text.into()));
        }
        let limit = if query.limit == 0 { MAX_PAGE } else { query.limit.min(MAX_PAGE) };
        let mut call = self
            .call(CallKind::ContactsPage, "/contacts")?
            .query("limit", limit)
            .query("offset", query.offset)
            // Newest first, the default, would shift the pages with every new contact.
            .query("sort", "asc");
        if let Some(since) = query.modified_since {
            call = call.query("modifiedSince", with_milliseconds(since));
        }
        if let Some(list) = query.list {
            call = call.query("listIds", list);
        }
        for id in query.ids {
            call = call.query("ids", id);
        }
        let began = self.now();
        let answer = self.send(lane, call).await?;
        let ContactsAnswer { contacts, count } = read(CallKind::ContactsPage, &answer)?;
        let contacts = contacts.iter().map(contact).collect::<Option<_>>();
        let contacts = contacts.ok_or_else(|| without_id(CallKind::ContactsPage))?;
        Ok(ContactsPage { contacts, count, began, server_date: server_date(&answer) })
    }

    /// One contact, if Brevo has it.
    pub async fn contact(
        &self,
        lane: Lane,
        identifier: &Identifier,
    ) -> Result<Option<BrevoContact>, BrevoError> {
        let answer = match self.send(lane, self.on(CallKind::Contact, identifier)?).await {
            Err(BrevoError::NotFound { .. }) => return Ok(None),
            answer => answer?,
        };
        let body = read(CallKind::Contact, &answer)?;
        contact(&body).map(Some).ok_or_else(|| without_id(CallKind::Contact))
    }

    /// Creates a contact, or updates the one that has its address or `EXT_ID`. Lists are only added:
    /// `unlink_list_ids` is not sent.
    ///
    /// # Errors
    ///
    /// [`BrevoError::Duplicate`] if another contact owns one of the other identifiers.
    pub async fn upsert(&self, lane: Lane, write: &ContactWrite) -> Result<Upserted, BrevoError> {
        let call = self.call(CallKind::Upsert, "/contacts")?.json(&write.creating())?;
        let answer = self.send(lane, call).await?;
        if answer.status.as_u16() == 204 {
            return Ok(Upserted::Updated);
        }
        let IdAnswer { id } = read(CallKind::Upsert, &answer)?;
        Ok(Upserted::Created(id))
    }

    /// Updates a contact. `email` is its new address: of a blacklisted contact, ask afterwards
    /// whether it still is (facts: Brevo section 4).
    ///
    /// # Errors
    ///
    /// [`BrevoError::NotFound`] if Brevo has no such contact, [`BrevoError::Duplicate`] if another
    /// one owns one of the identifiers.
    pub async fn update(
        &self,
        lane: Lane,
        identifier: &Identifier,
        write: &ContactWrite,
    ) -> Result<(), BrevoError> {
        let call = self.on(CallKind::Update, identifier)?.json(&write.updating())?;
        self.send(lane, call).await?;
        Ok(())
    }

    /// Deletes a contact; false if Brevo had none.
    pub async fn delete(&self, lane: Lane, identifier: &Identifier) -> Result<bool, BrevoError> {
        match self.send(lane, self.on(CallKind::Delete, identifier)?).await {
            Ok(_) => Ok(true),
            Err(BrevoError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A call about one contact, with the type of the identifier: an `EXT_ID` of digits would
    /// otherwise be read as a number.
    pub(super) fn on(&self, kind: CallKind, identifier: &Identifier) -> Result<Call, BrevoError> {
        let (text, of_type) = match identifier {
            Identifier::Id(id) => (id.to_string(), "contact_id"),
            Identifier::Email(email) => (email.to_string(), "email_id"),
            Identifier::ExtId(ext_id) => (ext_id.clone(), "ext_id"),
            Identifier::Phone(digits) => (digits.clone(), "phone_id"),
        };
        // These would name another path, encoded or not.
        if matches!(text.as_str(), "" | "." | "..") {
            return Err(BrevoError::Unusable(format!("`{text}` cannot identify a contact")));
        }
        let encoded = utf8_percent_encode(&text, IN_PATH);
        Ok(self.call(kind, &format!("/contacts/{encoded}"))?.query("identifierType", of_type))
    }
}

/// `YYYY-MM-DDTHH:mm:ss.SSSZ`, the form that Brevo's filters take.
pub(super) fn with_milliseconds(time: Timestamp) -> String {
    time.to_string().replace('Z', ".000Z")
}

fn without_id(kind: CallKind) -> BrevoError {
    BrevoError::Malformed { call: kind.route(), reason: "a contact has no id".into() }
}
