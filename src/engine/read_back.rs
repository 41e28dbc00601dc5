//! Reading Brevo back, which keeps the mirror true: all of it at the first start and daily, what
//! changed in between.

use std::sync::Arc;

use super::EngineError;
use crate::brevo::{BrevoClient, ContactsQuery, Identifier};
use crate::http::Lane;
use crate::model::{BrevoContact, Clock, Email, Timestamp};
use crate::store::Store;

/// Contacts on a page.
const PAGE: u32 = 1_000;
/// Ids in a query (facts: Brevo section 2).
const IDS: usize = 20;
/// How far the next read reaches back before the start of the last one: clocks differ, and reads may
/// trail writes.
const OVERLAP_SECONDS: i64 = 30;
/// The fact that says from where the next read goes on; there is none before the first full one.
const CURSOR: &str = "read_back_cursor";
/// The fact that says how many contacts the account had at the last full read.
const TOTAL: &str = "read_back_total";

/// Reads Brevo into the mirror.
#[derive(Debug, Clone)]
pub(crate) struct ReadBack {
    pub(crate) brevo: BrevoClient,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl ReadBack {
    /// True once the whole account was read, so that a contact that the mirror lacks is one that
    /// Brevo lacks.
    pub(crate) async fn is_complete(&self) -> Result<bool, EngineError> {
        Ok(self.store.fact(CURSOR).await?.is_some())
    }

    /// Reads the whole account. What the mirror has and Brevo no longer answers was deleted there,
    /// which a walk by offsets can only suspect, so each of those is asked for again.
    pub(crate) async fn full(&self, lane: Lane) -> Result<u64, EngineError> {
        let began = self.clock.now();
        let mut cursor = began;
        let mut seen = 0;
        loop {
            let query = ContactsQuery { offset: seen, limit: PAGE, ..ContactsQuery::default() };
            let page = self.brevo.contacts_page(lane, &query).await?;
            if seen == 0 {
                cursor = page.server_date.unwrap_or(began);
            }
            let count = page.contacts.len() as u64;
            self.store.observe(page.contacts, page.began).await?;
            seen += count;
            if count < u64::from(PAGE) {
                break;
            }
        }
        self.find_deleted(lane, began).await?;
        self.store.put_fact(TOTAL, seen.to_string()).await?;
        self.move_cursor(cursor).await?;
        Ok(seen)
    }

    /// Reads what changed since the last read and answers it.
    pub(crate) async fn changes(&self, lane: Lane) -> Result<Vec<BrevoContact>, EngineError> {
        let Some(cursor) = self.store.fact(CURSOR).await?.and_then(|text| text.parse().ok()) else {
            self.full(lane).await?;
            return Ok(Vec::new());
        };
        let (changes, cursor) = self.read_since(lane, Timestamp::from_seconds(cursor)).await?;
        self.move_cursor(cursor).await?;
        Ok(changes)
    }

    /// Reads what changed since a time and answers it. Where [`Self::changes`] goes on stays as it is:
    /// what lies between was not read.
    pub(crate) async fn since(
        &self,
        lane: Lane,
        since: Timestamp,
    ) -> Result<Vec<BrevoContact>, EngineError> {
        Ok(self.read_since(lane, since).await?.0)
    }

    async fn read_since(
        &self,
        lane: Lane,
        since: Timestamp,
    ) -> Result<(Vec<BrevoContact>, Timestamp), EngineError> {
        let since = since.plus(-OVERLAP_SECONDS);
        let mut all: Vec<BrevoContact> = Vec::new();
        let mut cursor = self.clock.now();
        loop {
            let offset = all.len() as u64;
            let query = ContactsQuery {
                modified_since: Some(since),
                offset,
                limit: PAGE,
                ..ContactsQuery::default()
            };
            let page = self.brevo.contacts_page(lane, &query).await?;
            if offset == 0 {
                cursor = page.server_date.unwrap_or(page.began);
            }
            let is_last = page.contacts.len() < PAGE as usize;
            self.store.observe(page.contacts.clone(), page.began).await?;
            all.extend(page.contacts);
            if is_last {
                break;
            }
        }
        Ok((all, cursor))
    }

    /// Reads contacts of which the mirror keeps only an outline, the cheapest way: twenty a call, or
    /// the whole account.
    pub(crate) async fn details(&self, lane: Lane, ids: &[i64]) -> Result<(), EngineError> {
        let total: usize =
            self.store.fact(TOTAL).await?.and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
        if ids.len() / IDS > total / PAGE as usize + 1 {
            self.full(lane).await?;
            return Ok(());
        }
        for chunk in ids.chunks(IDS) {
            for contact in self.by_ids(lane, chunk).await? {
                self.store.observe_one(contact, self.clock.now()).await?;
            }
        }
        Ok(())
    }

    /// Reads one contact by its address.
    pub(crate) async fn by_address(
        &self,
        lane: Lane,
        email: &Email,
    ) -> Result<Option<BrevoContact>, EngineError> {
        self.one(lane, Identifier::Email(email.clone())).await
    }

    /// Reads one contact by the digits of its SMS number.
    pub(crate) async fn by_phone(
        &self,
        lane: Lane,
        digits: String,
    ) -> Result<Option<BrevoContact>, EngineError> {
        self.one(lane, Identifier::Phone(digits)).await
    }

    /// Reads one contact by its number; one that is gone leaves the mirror.
    pub(crate) async fn by_id(
        &self,
        lane: Lane,
        id: i64,
    ) -> Result<Option<BrevoContact>, EngineError> {
        let found = self.one(lane, Identifier::Id(id)).await?;
        if found.is_none() {
            self.store.forget(vec![id]).await?;
        }
        Ok(found)
    }

    async fn one(
        &self,
        lane: Lane,
        identifier: Identifier,
    ) -> Result<Option<BrevoContact>, EngineError> {
        let found = self.brevo.contact(lane, &identifier).await?;
        if let Some(contact) = &found {
            self.store.observe_one(contact.clone(), self.clock.now()).await?;
        }
        Ok(found)
    }

    /// Reads up to twenty contacts by number; those that are gone leave the mirror.
    async fn by_ids(&self, lane: Lane, ids: &[i64]) -> Result<Vec<BrevoContact>, EngineError> {
        let query = ContactsQuery { ids, limit: PAGE, ..ContactsQuery::default() };
        let found = self.brevo.contacts_page(lane, &query).await?.contacts;
        let is_gone = |id: &&i64| !found.iter().any(|contact| contact.id == **id);
        self.store.forget(ids.iter().filter(is_gone).copied().collect()).await?;
        Ok(found)
    }

    async fn find_deleted(&self, lane: Lane, began: Timestamp) -> Result<(), EngineError> {
        let unread = self.store.mirror_unread_since(began).await?;
        for chunk in unread.chunks(IDS) {
            self.by_ids(lane, chunk).await?;
        }
        Ok(())
    }

    async fn move_cursor(&self, cursor: Timestamp) -> Result<(), EngineError> {
        self.store.put_fact(CURSOR, cursor.seconds().to_string()).await?;
        Ok(())
    }
}
