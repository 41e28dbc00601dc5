//! Reading Brevo back, which keeps the mirror true: all of it at the first start and daily, what
//! changed in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::EngineError;
use super::account::Account;
use crate::brevo::{BrevoClient, ContactsPage, ContactsQuery, Identifier, Standing};
use crate::http::Lane;
use crate::model::{BrevoContact, Clock, Email, Timestamp};
use crate::store::{AfterLoss, Store};

/// Contacts on a page.
const PAGE: u32 = 1_000;
/// Ids in a query (facts: Brevo section 2).
const IDS: usize = 20;
/// How many contacts that a list of ids lacks are asked for one by one in a full read: each is a call.
/// The rest is asked for by the next one.
const SINGLY: usize = 1_000;
/// How far the next read reaches back before the start of the last one: clocks differ, and reads may
/// trail writes.
const OVERLAP_SECONDS: i64 = 30;
/// How far apart the clocks of Brevo's own machines may be.
const UNEVEN_SECONDS: i64 = 5;
/// The fact that says from where the next read goes on; there is none before the first full one.
const CURSOR: &str = "read_back_cursor";
/// The fact that says how many contacts the account had at the last full read.
const TOTAL: &str = "read_back_total";

/// Reads Brevo into the mirror.
#[derive(Debug, Clone)]
pub(crate) struct ReadBack {
    pub(crate) brevo: BrevoClient,
    /// Its attributes, by which values are read.
    pub(crate) account: Account,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What becomes of whom a contact stood for that is gone from Brevo.
    pub(crate) after_loss: AfterLoss,
    /// The date of Brevo's newest answer, in seconds since 1970.
    pub(crate) newest: Arc<AtomicI64>,
}

/// What a read of one contact found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// What the mirror holds.
    AsMirrored,
    /// Something else.
    Changed,
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
        let mut page = self.page(lane, None, 0).await?;
        let cursor = page.server_date.unwrap_or(began);
        let mut seen = page.contacts.len() as u64;
        while is_full(&page) {
            page = self.observe_and_read_on(lane, None, page, seen).await?;
            seen += page.contacts.len() as u64;
        }
        self.store.observe(page.contacts, page.began).await?;
        self.find_deleted(lane, began).await?;
        self.store.put_fact(TOTAL, seen.to_string()).await?;
        self.move_cursor(cursor).await?;
        Ok(seen)
    }

    /// Reads what changed since the last read, or since `began` if that was before, and answers it.
    pub(crate) async fn changes(
        &self,
        lane: Lane,
        began: Option<Timestamp>,
    ) -> Result<Vec<BrevoContact>, EngineError> {
        let Some(cursor) = self.store.fact(CURSOR).await?.and_then(|text| text.parse().ok()) else {
            self.full(lane).await?;
            return Ok(Vec::new());
        };
        let cursor = Timestamp::from_seconds(cursor);
        let since = began.map_or(cursor, |began| began.min(cursor));
        let (changes, cursor) = self.read_since(lane, since).await?;
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

    /// Reads what changed since an import was sent, which was after the newest answer that came before
    /// it: so what the imports before it wrote is not read again.
    pub(crate) async fn since_answer(
        &self,
        lane: Lane,
        answered: Timestamp,
    ) -> Result<Vec<BrevoContact>, EngineError> {
        Ok(self.read_from(lane, answered.plus(-UNEVEN_SECONDS)).await?.0)
    }

    /// The date of Brevo's newest answer, by its own clock; before the first one, a time that is
    /// early enough by ours.
    pub(crate) fn last_answer(&self) -> Timestamp {
        match self.newest.load(Ordering::Relaxed) {
            0 => self.clock.now().plus(-OVERLAP_SECONDS),
            seconds => Timestamp::from_seconds(seconds),
        }
    }

    async fn read_since(
        &self,
        lane: Lane,
        since: Timestamp,
    ) -> Result<(Vec<BrevoContact>, Timestamp), EngineError> {
        self.read_from(lane, since.plus(-OVERLAP_SECONDS)).await
    }

    async fn read_from(
        &self,
        lane: Lane,
        since: Timestamp,
    ) -> Result<(Vec<BrevoContact>, Timestamp), EngineError> {
        let mut page = self.page(lane, Some(since), 0).await?;
        let cursor = page.server_date.unwrap_or(page.began);
        let mut all = page.contacts.clone();
        while is_full(&page) {
            page = self.observe_and_read_on(lane, Some(since), page, all.len() as u64).await?;
            all.extend_from_slice(&page.contacts);
        }
        self.store.observe(page.contacts, page.began).await?;
        Ok((all, cursor))
    }

    /// Writes a page into the mirror while the next one is read.
    async fn observe_and_read_on(
        &self,
        lane: Lane,
        since: Option<Timestamp>,
        page: ContactsPage,
        offset: u64,
    ) -> Result<ContactsPage, EngineError> {
        let observe = async { Ok(self.store.observe(page.contacts, page.began).await?) };
        let (_, next) = tokio::try_join!(observe, self.page(lane, since, offset))?;
        Ok(next)
    }

    async fn page(
        &self,
        lane: Lane,
        since: Option<Timestamp>,
        offset: u64,
    ) -> Result<ContactsPage, EngineError> {
        let query = ContactsQuery {
            modified_since: since,
            offset,
            limit: PAGE,
            ..ContactsQuery::default()
        };
        let page = self.normalised(lane, self.brevo.contacts_page(lane, &query).await?).await?;
        if let Some(date) = page.server_date {
            self.newest.fetch_max(date.seconds(), Ordering::Relaxed);
        }
        Ok(page)
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

    /// Reads one contact by its `EXT_ID`.
    pub(crate) async fn by_ext_id(
        &self,
        lane: Lane,
        ext_id: String,
    ) -> Result<Option<BrevoContact>, EngineError> {
        self.one(lane, Identifier::ExtId(ext_id)).await
    }

    /// Reads one contact by its number; one that is gone leaves the mirror.
    pub(crate) async fn by_id(
        &self,
        lane: Lane,
        id: i64,
    ) -> Result<Option<BrevoContact>, EngineError> {
        let found = self.one(lane, Identifier::Id(id)).await?;
        if found.is_none() {
            self.store.lose(vec![id], self.after_loss, self.clock.now()).await?;
        }
        Ok(found)
    }

    /// Reads one contact by its number, with what Brevo remembers of its mail; one that is gone leaves
    /// the mirror.
    pub(crate) async fn standing(
        &self,
        lane: Lane,
        id: i64,
    ) -> Result<Option<Standing>, EngineError> {
        let Some(standing) = self.brevo.standing(lane, id).await? else {
            self.store.lose(vec![id], self.after_loss, self.clock.now()).await?;
            return Ok(None);
        };
        let contact = self.account.catalogue(lane).await?.normalised(standing.contact);
        self.store.observe_one(contact.clone(), self.clock.now()).await?;
        Ok(Some(Standing { contact, ..standing }))
    }

    /// Reads a contact of which a webhook told, by the address that it had then; answers what that
    /// found. The caller sees to it that nobody writes to it meanwhile.
    pub(crate) async fn changed(&self, lane: Lane, email: &Email) -> Result<Found, EngineError> {
        let mut contact = self.ask(lane, &Identifier::Email(email.clone())).await?;
        if contact.is_none() {
            let Some(known) = self.store.mirror_at(email.clone()).await? else {
                return Ok(Found::AsMirrored);
            };
            // It may have got another address.
            contact = self.ask(lane, &Identifier::Id(known.id())).await?;
            if contact.is_none() {
                self.store.lose(vec![known.id()], self.after_loss, self.clock.now()).await?;
                return Ok(Found::Changed);
            }
        }
        let moved = match contact {
            Some(contact) => self.store.observe_changed(contact, self.clock.now()).await?,
            None => false,
        };
        Ok(if moved { Found::Changed } else { Found::AsMirrored })
    }

    async fn one(
        &self,
        lane: Lane,
        identifier: Identifier,
    ) -> Result<Option<BrevoContact>, EngineError> {
        let found = self.ask(lane, &identifier).await?;
        if let Some(contact) = &found {
            self.store.observe_one(contact.clone(), self.clock.now()).await?;
        }
        Ok(found)
    }

    /// One contact of Brevo's, with its values in the form that the attributes take.
    async fn ask(
        &self,
        lane: Lane,
        identifier: &Identifier,
    ) -> Result<Option<BrevoContact>, EngineError> {
        let Some(contact) = self.brevo.contact(lane, identifier).await? else {
            return Ok(None);
        };
        Ok(Some(self.account.catalogue(lane).await?.normalised(contact)))
    }

    async fn normalised(
        &self,
        lane: Lane,
        page: ContactsPage,
    ) -> Result<ContactsPage, EngineError> {
        if page.contacts.is_empty() {
            return Ok(page);
        }
        let catalogue = self.account.catalogue(lane).await?;
        let contacts = page.contacts.into_iter().map(|contact| catalogue.normalised(contact));
        Ok(ContactsPage { contacts: contacts.collect(), ..page })
    }

    /// Reads up to twenty contacts by number that were written to, into the mirror.
    pub(crate) async fn again(
        &self,
        lane: Lane,
        ids: &[i64],
    ) -> Result<Vec<BrevoContact>, EngineError> {
        let began = self.clock.now();
        let found = self.by_ids(lane, ids).await?;
        self.store.observe(found.clone(), began).await?;
        Ok(found)
    }

    /// Reads up to twenty contacts by number; those that are gone leave the mirror.
    async fn by_ids(&self, lane: Lane, ids: &[i64]) -> Result<Vec<BrevoContact>, EngineError> {
        let (mut found, lacking) = self.listed(lane, ids).await?;
        found.extend(self.singly(lane, &lacking).await?);
        Ok(found)
    }

    /// Asks for up to twenty contacts by number; answers them, and the numbers that the list lacks.
    async fn listed(
        &self,
        lane: Lane,
        ids: &[i64],
    ) -> Result<(Vec<BrevoContact>, Vec<i64>), EngineError> {
        let query = ContactsQuery { ids, limit: PAGE, ..ContactsQuery::default() };
        let page = self.normalised(lane, self.brevo.contacts_page(lane, &query).await?).await?;
        let mut found = page.contacts;
        found.retain(|contact| ids.contains(&contact.id));
        let is_lacking = |id: &&i64| !found.iter().any(|contact| contact.id == **id);
        let lacking = ids.iter().filter(is_lacking).copied().collect();
        Ok((found, lacking))
    }

    /// Asks one by one for contacts that a list lacks. That a list lacks somebody proves nothing: only
    /// who is not found by his own number is gone, and leaves the mirror.
    async fn singly(&self, lane: Lane, ids: &[i64]) -> Result<Vec<BrevoContact>, EngineError> {
        let mut found = Vec::new();
        for id in ids {
            found.extend(self.by_id(lane, *id).await?);
        }
        if !found.is_empty() {
            let (asked, there) = (ids.len(), found.len());
            tracing::warn!(asked, there, "brevo left out of a list of ids contacts that it has");
        }
        Ok(found)
    }

    async fn find_deleted(&self, lane: Lane, began: Timestamp) -> Result<(), EngineError> {
        let unread = self.store.mirror_unread_since(began).await?;
        let mut left = SINGLY;
        for chunk in unread.chunks(IDS) {
            let (found, mut lacking) = self.listed(lane, chunk).await?;
            self.store.observe(found, began).await?;
            if lacking.len() > left {
                tracing::warn!(
                    "more contacts than expected seem gone from brevo: the rest is asked for later"
                );
                lacking.truncate(left);
            }
            left -= lacking.len();
            self.singly(lane, &lacking).await?;
        }
        Ok(())
    }

    async fn move_cursor(&self, cursor: Timestamp) -> Result<(), EngineError> {
        self.store.put_fact(CURSOR, cursor.seconds().to_string()).await?;
        Ok(())
    }
}

/// True if there may be a further page.
fn is_full(page: &ContactsPage) -> bool {
    page.contacts.len() >= PAGE as usize
}

#[cfg(test)]
#[path = "read_back_tests.rs"]
mod tests;
