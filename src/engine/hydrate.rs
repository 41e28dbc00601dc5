//! Fetches what a derivation needs and the store does not have yet: sub-lists beyond ten, names of
//! tags, companies, and the read that orders two snapshots of one second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use moka::future::Cache;
use serde_json::json;
use tokio::sync::Mutex;

use super::{EngineError, assemble, suppression};
use crate::http::{Lane, Retry};
use crate::intercom::IntercomClient;
use crate::intercom::normalize::{self, Truncated};
use crate::model::{Clock, Liveness, RecordId, RecordKey, Snapshot, Source, Timestamp};
use crate::store::{SUBSCRIPTION_TYPES, Store, StoreError, Subject, Sublists};

/// How many contacts are completed at a time.
const PARALLEL: usize = 8;
/// How many companies that Intercom does not have are remembered, so as not to ask again.
const UNKNOWN_COMPANIES: u64 = 10_000;
/// How many tags are remembered as looked up.
const LOOKED_UP_TAGS: u64 = 20_000;
/// For how long the names of tags and the absence of companies are believed.
const TTL: std::time::Duration = std::time::Duration::from_secs(600);

/// Fetches from Intercom what is missing.
#[derive(Debug, Clone)]
pub(crate) struct Hydrator {
    intercom: IntercomClient,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Tags that were looked up; false: Intercom names none with this id. `/tags` answers all at once.
    tags: Cache<RecordId, bool>,
    /// Whoever reads all tags: others wait for what he learns.
    reads_tags: Arc<Mutex<()>>,
    /// Companies that were asked for; false: Intercom has none with this id.
    companies: Cache<RecordId, bool>,
    /// Contacts that a conversation or an event names and that were asked for, likewise.
    contacts: Cache<RecordId, bool>,
    /// Whether the names of subscription types were read lately.
    subscription_types: Cache<(), ()>,
}

impl Hydrator {
    pub(crate) fn new(
        intercom: IntercomClient,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let tags = Cache::builder().max_capacity(LOOKED_UP_TAGS).time_to_live(TTL).build();
        let companies = Cache::builder().max_capacity(UNKNOWN_COMPANIES).time_to_live(TTL).build();
        let contacts = Cache::builder().max_capacity(UNKNOWN_COMPANIES).time_to_live(TTL).build();
        let subscription_types = Cache::builder().max_capacity(1).time_to_live(TTL).build();
        let reads_tags = Arc::default();
        Self { intercom, store, clock, tags, reads_tags, companies, contacts, subscription_types }
    }

    /// Completes subjects; answers the ids of those of which more is stored now.
    pub(crate) async fn complete(
        &self,
        lane: Lane,
        subjects: &[(Subject, bool)],
    ) -> Result<Vec<RecordId>, EngineError> {
        let tasks: Vec<_> = subjects
            .iter()
            .map(|(subject, needs_read)| self.complete_one(lane, subject, *needs_read))
            .collect();
        let completed: Vec<Option<RecordId>> =
            stream::iter(tasks).buffered(PARALLEL).try_collect().await?;
        Ok(completed.into_iter().flatten().collect())
    }

    async fn complete_one(
        &self,
        lane: Lane,
        subject: &Subject,
        needs_read: bool,
    ) -> Result<Option<RecordId>, EngineError> {
        let changed = match self.has_completed(lane, subject, needs_read).await {
            // It is gone, or Intercom refuses this one: what is known of it has to do, until a
            // notification or a sweep says more.
            Err(EngineError::Intercom(error))
                if error.retry() == Retry::Never && !error.is_refused_access() =>
            {
                tracing::warn!(contact.id = %subject.id, "a contact cannot be completed: {error}");
                false
            }
            other => other?,
        };
        Ok(changed.then(|| subject.id.clone()))
    }

    async fn has_completed(
        &self,
        lane: Lane,
        subject: &Subject,
        needs_read: bool,
    ) -> Result<bool, EngineError> {
        let mut changed = false;
        if needs_read {
            changed |= self.read_again(lane, &subject.id).await?;
        }
        let Some(record) = subject.record.as_ref().filter(|record| record.liveness.is_live())
        else {
            return Ok(changed);
        };
        let (_, tags_cut) = normalize::contact_tag_ids(&record.body);
        let (_, companies_cut) = normalize::contact_company_ids(&record.body);
        if subject.sublists.is_none()
            && (tags_cut == Truncated::Yes || companies_cut == Truncated::Yes)
        {
            self.read_sublists(lane, subject, tags_cut, companies_cut).await?;
            return Ok(true);
        }
        let mut unnamed = assemble::seen_tag_ids(subject, record);
        unnamed.retain(|id| !subject.tags.contains_key(id));
        changed |= self.read_tags(lane, &unnamed).await?;
        let nameless = assemble::subscription_ids(record)
            .any(|id| !subject.subscription_types.contains_key(&id));
        if nameless {
            changed |= self.read_subscription_types(lane).await?;
        }
        for company in assemble::company_ids(subject, record) {
            if !subject.companies.contains_key(&company) {
                changed |= self.read_company(lane, &company).await?;
            }
        }
        Ok(changed)
    }

    /// Reads a contact again. One that is not there keeps its last snapshot: whether it was merged,
    /// archived or deleted is for a notification or a sweep to say.
    pub(crate) async fn read_again(&self, lane: Lane, id: &RecordId) -> Result<bool, EngineError> {
        Ok(self.show(lane, id).await?.is_some())
    }

    /// Reads a contact again, and answers what Intercom shows of it, if anything.
    pub(crate) async fn show(
        &self,
        lane: Lane,
        id: &RecordId,
    ) -> Result<Option<Snapshot>, EngineError> {
        match self.intercom.contact(lane, id).await {
            Ok(snapshot) => {
                self.learn(vec![snapshot.clone()]).await?;
                Ok(Some(snapshot))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn read_sublists(
        &self,
        lane: Lane,
        subject: &Subject,
        tags: Truncated,
        companies: Truncated,
    ) -> Result<(), EngineError> {
        let ids = |snapshots: &[Snapshot]| {
            let mut ids: Vec<_> =
                snapshots.iter().map(|snapshot| snapshot.key.id.clone()).collect();
            ids.sort();
            ids
        };
        let mut full = Sublists::default();
        let mut found = Vec::new();
        if tags == Truncated::Yes {
            let tags = self.intercom.contact_tags(lane, &subject.id).await?;
            full.tags = Some(ids(&tags));
            found.extend(tags);
        }
        if companies == Truncated::Yes {
            let companies = self.intercom.contact_companies(lane, &subject.id).await?;
            full.companies = Some(ids(&companies));
            found.extend(companies);
        }
        self.learn(found).await?;
        self.store.put_sublists(subject.id.clone(), full, self.clock.now()).await?;
        Ok(())
    }

    /// Looks up the names of tags that companies bear; true if there is more to know of them now.
    /// Where Intercom refuses to tell them, the rules see those that are known.
    pub(crate) async fn look_up_tags(
        &self,
        lane: Lane,
        unnamed: &[RecordId],
    ) -> Result<bool, EngineError> {
        match self.read_tags(lane, unnamed).await {
            Err(EngineError::Intercom(error))
                if error.retry() == Retry::Never && !error.is_refused_access() =>
            {
                tracing::warn!("names of companies' tags cannot be read: {error}");
                Ok(false)
            }
            other => other,
        }
    }

    /// Reads the names of all tags if one of `unnamed` was not looked up within ten minutes; true if
    /// Intercom names one of them. Who is not among them is not asked for again meanwhile.
    async fn read_tags(&self, lane: Lane, unnamed: &[RecordId]) -> Result<bool, EngineError> {
        let is_known = || unnamed.iter().all(|id| self.tags.contains_key(id));
        if !is_known() {
            let _turn = self.reads_tags.lock().await;
            if !is_known() {
                let tags = self.intercom.tags(lane).await?;
                let named: BTreeSet<_> = tags.iter().map(|tag| tag.key.id.clone()).collect();
                let nameless: Vec<_> = unnamed.iter().filter(|id| !named.contains(id)).collect();
                let known = nameless.iter().map(|id| self.nameless(id)).chain(tags).collect();
                self.learn(known).await?;
                for id in nameless {
                    self.tags.insert(id.clone(), false).await;
                }
                for id in named {
                    self.tags.insert(id, true).await;
                }
            }
        }
        for id in unnamed {
            if self.tags.get(id).await == Some(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A tag that Intercom does not name. It is older than all that Intercom may say of it, so that a
    /// name that comes later is another one, and reaches what bears the tag.
    fn nameless(&self, id: &RecordId) -> Snapshot {
        let body = normalize::tag(&json!({ "id": id }));
        let (key, now) = (RecordKey::tag(id.clone()), self.clock.now());
        Snapshot::new(key, Liveness::Live, body, Source::Notification, Timestamp::EPOCH, now)
    }

    /// Reads the names of all subscription types, at most once in ten minutes.
    async fn read_subscription_types(&self, lane: Lane) -> Result<bool, EngineError> {
        let asked_before = self.subscription_types.contains_key(&());
        let read = async {
            let names = match self.intercom.subscription_types(lane).await {
                Ok(names) => names,
                // A token without that scope, or a plan without subscription types: there are none.
                Err(error) if error.retry() == Retry::Never => {
                    tracing::warn!("subscription types cannot be read, so rules see none: {error}");
                    return Ok(());
                }
                Err(error) => return Err(EngineError::from(error)),
            };
            let names: BTreeMap<RecordId, String> =
                names.into_iter().map(|kind| (kind.id, kind.name)).collect();
            let text = serde_json::to_string(&names).map_err(StoreError::from)?;
            self.store.put_fact(SUBSCRIPTION_TYPES, text).await?;
            Ok::<_, EngineError>(())
        };
        self.subscription_types.try_get_with((), read).await?;
        Ok(!asked_before)
    }

    /// Reads a contact that another record names and the store lacks; true if Intercom has it.
    pub(crate) async fn read_contact(
        &self,
        lane: Lane,
        id: &RecordId,
    ) -> Result<bool, EngineError> {
        let read = async {
            match self.read_again(lane, id).await {
                // What Intercom refuses for good is as good as not there.
                Err(EngineError::Intercom(error))
                    if error.retry() == Retry::Never && !error.is_refused_access() =>
                {
                    Ok(false)
                }
                read => read,
            }
        };
        Ok(self.contacts.try_get_with(id.clone(), read).await?)
    }

    /// Reads a conversation again. One that is not there keeps its last snapshot: that it was deleted is
    /// for a notification or a sweep to say.
    pub(crate) async fn read_conversation(
        &self,
        lane: Lane,
        id: &RecordId,
    ) -> Result<(), EngineError> {
        match self.intercom.conversation(lane, id).await {
            Ok(snapshot) => self.learn(vec![snapshot]).await,
            Err(error) if error.retry() == Retry::Never && !error.is_refused_access() => {
                tracing::warn!(conversation.id = %id, "a conversation cannot be read again: {error}");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn read_company(&self, lane: Lane, id: &RecordId) -> Result<bool, EngineError> {
        let read = async {
            match self.intercom.company(lane, id).await {
                Ok(snapshot) => {
                    self.learn(vec![snapshot]).await?;
                    Ok(true)
                }
                Err(error) if error.is_not_found() => Ok(false),
                Err(error) => Err(EngineError::from(error)),
            }
        };
        Ok(self.companies.try_get_with(id.clone(), read).await?)
    }

    async fn learn(&self, snapshots: Vec<Snapshot>) -> Result<(), EngineError> {
        let opt_outs = snapshots.iter().flat_map(suppression::opt_outs_of).collect();
        self.store.learn(snapshots, opt_outs, self.clock.now()).await?;
        Ok(())
    }
}
