//! Sweeps of Intercom: the truth that webhooks only hurry ahead of.
//!
//! A sweep reads one resource after the other, each with a cursor of its own that moves in the
//! transaction that stores its page, so that it goes on where the last process stood. A full one
//! counts what it saw against what Intercom says there is, looks again for what moved meanwhile, and
//! is only called done if nothing is missing. What two complete full sweeps did not see, and a read
//! does not find, is gone.

mod bound;
mod companies;
mod events;
mod gone;
mod listing;
mod schedule;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use bound::LAG_SECONDS;
pub(super) use schedule::{Watch, sweeps};
pub use view::{ResourceView, SweepView, sweeps_view};

use super::suppression::opt_outs_of;
use super::{EngineError, Inner};
use crate::config::Resources;
use crate::http::Lane;
use crate::intercom::{IntercomClient, IntercomError};
use crate::model::{Snapshot, Timestamp};
use crate::store::{
    Arrival, Content, LIVE_SINCE, Priority, Progress, Resource, Sync, SyncKind, SyncState,
};

/// The order in which resources are read: names of tags and companies first, so that a contact's
/// derivation finds what it refers to; then what refers to contacts.
const ORDER: [Resource; 5] = [
    Resource::Companies,
    Resource::Tags,
    Resource::Contacts,
    Resource::Conversations,
    Resource::Events,
];

/// What somebody wants to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// Everything, or what changed.
    pub kind: SyncKind,
    /// Which objects; empty: all that the configuration names.
    pub resources: Vec<Resource>,
    /// Only what was updated since.
    pub since: Option<Timestamp>,
}

impl SyncRequest {
    /// The first resource that is asked for by name and that the configuration turns off.
    pub fn turned_off(&self, configured: &Resources) -> Option<Resource> {
        self.resources.iter().find(|resource| !is_read(configured, **resource)).copied()
    }
}

/// True if the configuration lets a sync read a resource.
pub fn is_read(configured: &Resources, resource: Resource) -> bool {
    match resource {
        Resource::Companies => configured.companies,
        Resource::Tags => configured.tags,
        Resource::Contacts => configured.contacts,
        Resource::Conversations => configured.conversations,
        Resource::Events => configured.events,
    }
}

impl Inner {
    /// Queues a sync; answers it.
    pub(crate) async fn request_sync(&self, request: SyncRequest) -> Result<Sync, EngineError> {
        self.queue(self.queued(request)).await
    }

    /// Queues a sync after which nothing counts as having happened too early to be sent.
    pub(crate) async fn request_backfill(&self, request: SyncRequest) -> Result<Sync, EngineError> {
        self.queue(Sync { backfills: true, ..self.queued(request) }).await
    }

    async fn queue(&self, sync: Sync) -> Result<Sync, EngineError> {
        self.store.put_sync(sync.clone()).await?;
        self.sync_work.notify_one();
        Ok(sync)
    }

    fn queued(&self, request: SyncRequest) -> Sync {
        let configured = self.config.load().intercom.sync;
        let mut resources = request.resources;
        if resources.is_empty() {
            resources = ORDER.into_iter().filter(|one| is_read(&configured, *one)).collect();
        }
        Sync {
            id: uuid::Uuid::now_v7().to_string(),
            kind: request.kind,
            state: SyncState::Queued,
            resources: resources
                .into_iter()
                .map(|resource| (resource, Progress::default()))
                .collect(),
            since: request.since,
            requested_at: self.clock.now(),
            started_at: None,
            finished_at: None,
            backfills: false,
            error: None,
        }
    }

    /// Remembers when the first sync began: what happened before is known without being sent as
    /// events, unless somebody wants it to be.
    async fn begin_life(&self, sync: &Sync) -> Result<(), EngineError> {
        let since = if sync.backfills { Some(Timestamp::EPOCH) } else { sync.started_at };
        let is_set = self.store.fact(LIVE_SINCE).await?.is_some();
        if let Some(since) = since.filter(|_| sync.backfills || !is_set) {
            self.store.put_fact(LIVE_SINCE, since.seconds().to_string()).await?;
        }
        Ok(())
    }

    /// Derives all contacts again, those included whose events were held to be too old until now.
    async fn backfill(&self) -> Result<(), EngineError> {
        let events = self.store.forget_event_history().await?;
        let contacts = self.store.rederive_all(None, self.clock.now()).await?;
        tracing::info!(events, contacts, "what happened before the first sync is sent, too");
        Ok(())
    }

    /// Runs a sync to its end, from where it stands. A page is durable before the cursor moves.
    pub(crate) async fn run_sync(&self, mut sync: Sync) -> Result<Sync, EngineError> {
        let services = self.services.load_full();
        let Some(intercom) = services.intercom.clone() else {
            sync.state = SyncState::Failed;
            sync.finished_at = Some(self.clock.now());
            let reason = self.is_unconnected();
            sync.error = reason.or(Some("the intercom connector is not enabled".to_owned()));
            self.store.put_sync(sync.clone()).await?;
            return Ok(sync);
        };
        if let Err(error) = self.check_workspace().await {
            sync.state = SyncState::Failed;
            sync.finished_at = Some(self.clock.now());
            sync.error = Some(error.to_string());
            self.store.put_sync(sync.clone()).await?;
            return Ok(sync);
        }
        sync.state = SyncState::Running;
        sync.started_at = sync.started_at.or_else(|| Some(self.clock.now()));
        self.begin_life(&sync).await?;
        self.store.put_sync(sync.clone()).await?;
        tracing::info!(sync.id, kind = ?sync.kind, "a sync begins");

        let mut sweep = Sweep { engine: self, intercom, sync };
        let mut result = sweep.run().await;
        if result.is_ok() && sweep.sync.backfills {
            result = self.backfill().await;
        }
        self.reading.store(None);
        self.bulk_work.notify_one();
        self.companies.wake();
        self.end_sync(sweep.sync, result).await
    }

    async fn end_sync(
        &self,
        mut sync: Sync,
        result: Result<(), EngineError>,
    ) -> Result<Sync, EngineError> {
        let is_complete = sync.resources.values().all(|progress| progress.done);
        sync.finished_at = Some(self.clock.now());
        sync.state = match &result {
            Ok(()) if is_complete => SyncState::Done,
            Err(EngineError::Stopping) => {
                // It goes on at the next start.
                sync.finished_at = None;
                SyncState::Running
            }
            Err(_) if sync.resources.values().all(|progress| progress.seen == 0) => {
                SyncState::Failed
            }
            Ok(()) | Err(_) => SyncState::Incomplete,
        };
        sync.error = match &result {
            Err(EngineError::Stopping) => None,
            result => shortfall(&sync).or_else(|| result.as_ref().err().map(ToString::to_string)),
        };
        self.store.put_sync(sync.clone()).await?;
        match &result {
            Ok(()) => self.set_connected(true),
            Err(error) => self.note(error),
        }
        if sync.state == SyncState::Done {
            tracing::info!(sync.id, "a sync is complete");
        } else if let Some(reason) = &sync.error {
            tracing::warn!(sync.id, state = ?sync.state, "a sync is not complete: {reason}");
        }
        Ok(sync)
    }

    /// From when on an incremental sweep has to read a resource: the start of the last sweep that saw
    /// all of it, and what may not have been searchable then. None: it was never read as a whole.
    async fn unread_since(&self, resource: Resource) -> Result<Option<Timestamp>, EngineError> {
        let began = self.swept(resource).await?;
        Ok(began.map(|began| began.plus(-LAG_SECONDS)))
    }

    /// When the newest sweep began after which nothing of a resource was left unread.
    pub(crate) async fn swept(&self, resource: Resource) -> Result<Option<Timestamp>, EngineError> {
        Ok(view::swept(self.store.as_ref(), resource).await?)
    }
}

impl Inner {
    /// The same for all resources that were ever read.
    pub(crate) async fn swept_all(&self) -> Result<BTreeMap<Resource, Timestamp>, EngineError> {
        let mut all = BTreeMap::new();
        for resource in ORDER {
            all.extend(self.swept(resource).await?.map(|began| (resource, began)));
        }
        Ok(all)
    }
}

/// What is missing of a sync, resource by resource.
fn shortfall(sync: &Sync) -> Option<String> {
    let parts: Vec<String> = sync
        .resources
        .iter()
        .filter_map(|(resource, progress)| {
            progress.error.as_ref().map(|error| format!("{}: {error}", resource.as_str()))
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// A sync that is being run.
pub(super) struct Sweep<'a> {
    pub(super) engine: &'a Inner,
    pub(super) intercom: IntercomClient,
    pub(super) sync: Sync,
}

impl Sweep<'_> {
    /// Reads what is left. What cannot be read of one resource keeps no other from being read, unless
    /// the token is refused; the first such failure is answered.
    async fn run(&mut self) -> Result<(), EngineError> {
        let mut first = None;
        for resource in ORDER {
            let is_open = self.sync.resources.get(&resource).is_some_and(Progress::is_open);
            if !is_open {
                continue;
            }
            self.engine.reading.store(Some(Arc::new(resource)));
            self.begin(resource).await?;
            let read = match resource {
                Resource::Companies => self.companies().await,
                Resource::Tags => self.tags().await,
                Resource::Contacts | Resource::Conversations => self.listed(resource).await,
                Resource::Events => self.events().await,
            };
            let failure = match read {
                Ok(()) => None,
                Err(EngineError::Intercom(error)) => Some(error),
                Err(error) => return Err(error),
            };
            self.end(resource, failure.as_ref()).await?;
            if let Some(error) = failure {
                let is_final = matches!(error, IntercomError::Unauthorized { .. });
                let error = EngineError::from(error);
                if is_final {
                    return Err(error);
                }
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }

    async fn begin(&mut self, resource: Resource) -> Result<(), EngineError> {
        let now = self.engine.clock.now();
        let is_new = self.progress(resource).started_at.is_none();
        if !is_new {
            return Ok(());
        }
        let since = match (self.sync.since, self.sync.kind) {
            (Some(since), _) => Some(since),
            (None, SyncKind::Incremental) => self.engine.unread_since(resource).await?,
            (None, SyncKind::Full) => None,
        };
        let asked = self.sync.since.is_some();
        let progress = self.progress(resource);
        progress.started_at = Some(now);
        progress.since = since;
        // Companies are always read as a whole: nothing lists those that changed.
        progress.partial = since.is_some() && (asked || resource != Resource::Companies);
        progress.pass_began = Some(now);
        self.engine.store.put_sync(self.sync.clone()).await?;
        Ok(())
    }

    /// Ends a resource: done if it was read to its end and nothing is known to be missing.
    async fn end(
        &mut self,
        resource: Resource,
        failure: Option<&IntercomError>,
    ) -> Result<(), EngineError> {
        let now = self.engine.clock.now();
        let progress = self.progress(resource);
        progress.ended_at = Some(now);
        progress.cursor = None;
        progress.error = match (failure, progress.expected) {
            (Some(error), _) => Some(error.to_string()),
            (None, Some(expected)) if !progress.is_complete() => {
                Some(format!("saw {} of {expected}", progress.seen))
            }
            (None, _) => None,
        };
        progress.done = progress.error.is_none();
        let progress = progress.clone();
        self.engine.store.put_sync(self.sync.clone()).await?;
        if failure.is_none() {
            self.engine.watch.note_end(resource, &progress);
        }
        if progress.done {
            self.note_swept(resource, &progress).await?;
        }
        Ok(())
    }

    /// Remembers that nothing is left unread from before this sweep. A sweep that was bounded later
    /// than where the last one began leaves a gap.
    async fn note_swept(&self, resource: Resource, progress: &Progress) -> Result<(), EngineError> {
        let before = self.engine.swept(resource).await?;
        let leaves_gap = progress.partial
            && progress.since.is_some_and(|since| before.is_none_or(|before| since > before));
        if let Some(began) = progress.started_at.filter(|_| !leaves_gap).max(before) {
            self.engine
                .store
                .put_fact(view::fact_of(resource), began.seconds().to_string())
                .await?;
        }
        Ok(())
    }

    async fn tags(&mut self) -> Result<(), EngineError> {
        let tags = self.intercom.tags(Lane::Bulk).await?;
        let progress = self.progress(Resource::Tags);
        progress.seen = tags.len() as u64;
        progress.pages = 1;
        self.engine.store.learn_tags(tags, &self.sync, self.engine.clock.now()).await?;
        // What bears a tag that got another name is dirty now.
        self.engine.bulk_work.notify_one();
        Ok(())
    }

    /// Makes a page durable, with how far this sweep has come.
    pub(super) async fn store_page(
        &mut self,
        resource: Resource,
        snapshots: Vec<Snapshot>,
    ) -> Result<(), EngineError> {
        let received = self.engine.clock.now();
        let arrivals = snapshots.into_iter().map(|snapshot| {
            let opt_outs = opt_outs_of(&snapshot);
            let content =
                Content::Snapshots { primary: Box::new(snapshot), others: Vec::new(), opt_outs };
            Arrival { notification: None, received, priority: Priority::Bulk, content }
        });
        let store = &self.engine.store;
        self.sync = store.accept_page(arrivals.collect(), self.sync.clone(), resource).await?;
        self.engine.bulk_work.notify_one();
        self.engine.companies.wake();
        self.engine.live_work.notify_one();
        Ok(())
    }

    pub(super) fn go_on(&self) -> Result<(), EngineError> {
        let is_stopping = self.engine.stop.is_cancelled();
        if is_stopping { Err(EngineError::Stopping) } else { Ok(()) }
    }

    pub(super) fn progress(&mut self, resource: Resource) -> &mut Progress {
        self.sync.resources.entry(resource).or_default()
    }
}
