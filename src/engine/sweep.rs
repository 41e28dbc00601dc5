//! Sweeps of Intercom: the truth that webhooks only hurry ahead of.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::suppression::opt_outs_of;
use super::{EngineError, Inner};
use crate::http::Lane;
use crate::intercom::{Cursor, IntercomClient, IntercomError, Page};
use crate::model::{Snapshot, Timestamp};
use crate::store::{
    Arrival, Content, LIVE_SINCE, Priority, Progress, Resource, Sync, SyncKind, SyncState,
};

/// How far an incremental sweep reaches back before the start of the last one: changes take minutes
/// to become searchable (facts: Intercom section 3.3).
const LAG_SECONDS: i64 = 900;
/// How often a scroll over companies is begun again after Intercom lost it.
const SCROLLS: u32 = 3;

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
            let enabled = [
                (Resource::Companies, configured.companies),
                (Resource::Tags, configured.tags),
                (Resource::Contacts, configured.contacts),
            ];
            resources =
                enabled.iter().filter(|(_, on)| *on).map(|(resource, _)| *resource).collect();
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
            cursor: None,
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
        let contacts = self.store.rederive_all(self.clock.now()).await?;
        tracing::info!(events, contacts, "what happened before the first sync is sent, too");
        Ok(())
    }

    /// Runs a sync to its end, from where it stands. A page is durable before the cursor moves.
    pub(crate) async fn run_sync(&self, mut sync: Sync) -> Result<Sync, EngineError> {
        let services = self.services.load_full();
        let Some(intercom) = services.intercom.clone() else {
            sync.state = SyncState::Failed;
            sync.finished_at = Some(self.clock.now());
            sync.error = Some("the intercom connector is not enabled".to_owned());
            self.store.put_sync(sync.clone()).await?;
            return Ok(sync);
        };
        sync.state = SyncState::Running;
        sync.started_at = sync.started_at.or_else(|| Some(self.clock.now()));
        if sync.kind == SyncKind::Incremental && sync.since.is_none() {
            sync.since = self.last_sweep().await?.map(|began| began.plus(-LAG_SECONDS));
        }
        self.begin_life(&sync).await?;
        self.store.put_sync(sync.clone()).await?;
        tracing::info!(sync.id, kind = ?sync.kind, "a sync begins");

        let mut sweep = Sweep { engine: self, intercom, sync };
        self.syncing.store(true, Ordering::Relaxed);
        let mut result = sweep.run().await;
        if result.is_ok() && sweep.sync.backfills {
            result = self.backfill().await;
        }
        self.syncing.store(false, Ordering::Relaxed);
        self.bulk_work.notify_one();
        let mut sync = sweep.sync;
        sync.finished_at = Some(self.clock.now());
        sync.state = match &result {
            Ok(()) => SyncState::Done,
            Err(EngineError::Stopping) => {
                // It goes on at the next start.
                sync.finished_at = None;
                SyncState::Running
            }
            Err(_) if sync.resources.values().all(|progress| progress.seen == 0) => {
                SyncState::Failed
            }
            Err(_) => SyncState::Incomplete,
        };
        sync.error = result.as_ref().err().map(ToString::to_string);
        self.store.put_sync(sync.clone()).await?;
        if let Err(error) = &result {
            self.note(error);
            tracing::warn!(sync.id, state = ?sync.state, "a sync ended early: {error}");
        } else {
            self.set_connected(true);
            tracing::info!(sync.id, "a sync is complete");
        }
        Ok(sync)
    }

    /// When the newest complete sweep of contacts began.
    pub(crate) async fn last_sweep(&self) -> Result<Option<Timestamp>, EngineError> {
        let syncs = self.store.syncs(50).await?;
        let complete = syncs.iter().filter(|sync| {
            let has_contacts = sync.resources.contains_key(&Resource::Contacts);
            // A full sweep that was bounded by a date says nothing about what lies before it.
            let is_whole = sync.kind == SyncKind::Incremental || sync.since.is_none();
            sync.state == SyncState::Done && has_contacts && is_whole
        });
        Ok(complete.filter_map(|sync| sync.started_at).max())
    }
}

struct Sweep<'a> {
    engine: &'a Inner,
    intercom: IntercomClient,
    sync: Sync,
}

impl Sweep<'_> {
    /// Companies first, then the names of tags, then the contacts that refer to both: so a contact's
    /// derivation finds everything that it needs.
    async fn run(&mut self) -> Result<(), EngineError> {
        for resource in [Resource::Companies, Resource::Tags, Resource::Contacts] {
            let is_open = self.sync.resources.get(&resource).is_some_and(|progress| !progress.done);
            if !is_open {
                continue;
            }
            match resource {
                Resource::Companies => self.companies().await?,
                Resource::Tags => self.tags().await?,
                Resource::Contacts => self.contacts().await?,
            }
            self.progress(resource).done = true;
            self.engine.store.put_sync(self.sync.clone()).await?;
        }
        Ok(())
    }

    async fn contacts(&mut self) -> Result<(), EngineError> {
        let mut cursor = self.sync.cursor.as_deref().and_then(Cursor::from_text);
        loop {
            self.go_on()?;
            let page = self.contacts_page(cursor.as_ref()).await?;
            let Page { snapshots, next, total, unusable } = page;
            if unusable > 0 {
                tracing::warn!(unusable, "contacts without a usable id were left out");
            }
            let since = self.sync.since;
            let is_past = snapshots
                .iter()
                .any(|snapshot| since.is_some_and(|since| snapshot.version.at < since));
            let wanted: Vec<_> = snapshots
                .into_iter()
                .filter(|snapshot| since.is_none_or(|since| snapshot.version.at >= since))
                .collect();
            let progress = self.progress(Resource::Contacts);
            progress.seen += wanted.len() as u64;
            // A sweep that is bounded by a date cannot say how many it should see.
            progress.expected = total.filter(|_| since.is_none());
            self.sync.cursor = next.as_ref().map(|cursor| cursor.as_str().to_owned());
            self.store_page(wanted).await?;
            match next {
                // Both listings are sorted by `updated_at`, newest first.
                Some(next) if !is_past => cursor = Some(next),
                _ => break,
            }
        }
        self.sync.cursor = None;
        Ok(())
    }

    async fn contacts_page(&self, cursor: Option<&Cursor>) -> Result<Page, IntercomError> {
        match (self.sync.kind, self.sync.since) {
            (SyncKind::Incremental, Some(since)) => {
                self.intercom.updated_contacts_page(Lane::Bulk, since, cursor).await
            }
            _ => self.intercom.contacts_page(Lane::Bulk, cursor).await,
        }
    }

    async fn tags(&mut self) -> Result<(), EngineError> {
        let tags = self.intercom.tags(Lane::Bulk).await?;
        self.progress(Resource::Tags).seen = tags.len() as u64;
        self.engine.store.learn(tags, Vec::new(), self.engine.clock.now()).await?;
        Ok(())
    }

    /// Scrolls the companies. Only one scroll runs in a workspace; while another tool has it, they
    /// are listed by page, which Intercom allows up to 10,000.
    async fn companies(&mut self) -> Result<(), EngineError> {
        for _ in 0..SCROLLS {
            match self.scroll().await {
                Err(EngineError::Intercom(IntercomError::ScrollBusy)) => {
                    return self.list_companies().await;
                }
                Err(EngineError::Intercom(
                    IntercomError::ScrollExpired | IntercomError::Server { .. },
                )) => {}
                other => return other,
            }
        }
        self.list_companies().await
    }

    async fn scroll(&mut self) -> Result<(), EngineError> {
        self.progress(Resource::Companies).seen = 0;
        let mut scroll = None;
        loop {
            self.go_on()?;
            let page = self.intercom.companies_scroll(Lane::Bulk, scroll.as_deref()).await?;
            self.take_companies(page.snapshots).await?;
            match page.next {
                Some(next) => scroll = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn list_companies(&mut self) -> Result<(), EngineError> {
        self.progress(Resource::Companies).seen = 0;
        let mut number = 1;
        loop {
            self.go_on()?;
            let page = self.intercom.companies_list_page(Lane::Bulk, number).await?;
            self.progress(Resource::Companies).expected = page.total;
            self.take_companies(page.snapshots).await?;
            match page.next {
                Some(next) => number = next,
                None => return Ok(()),
            }
        }
    }

    async fn take_companies(&mut self, snapshots: Vec<Snapshot>) -> Result<(), EngineError> {
        self.progress(Resource::Companies).seen += snapshots.len() as u64;
        self.store_page(snapshots).await
    }

    async fn store_page(&self, snapshots: Vec<Snapshot>) -> Result<(), EngineError> {
        let received = self.engine.clock.now();
        let arrivals = snapshots.into_iter().map(|snapshot| {
            let opt_outs = opt_outs_of(&snapshot);
            let content =
                Content::Snapshots { primary: Box::new(snapshot), others: Vec::new(), opt_outs };
            Arrival { notification: None, received, priority: Priority::Bulk, content }
        });
        self.engine.store.accept_page(arrivals.collect(), self.sync.clone()).await?;
        self.engine.bulk_work.notify_one();
        self.engine.live_work.notify_one();
        Ok(())
    }

    fn go_on(&self) -> Result<(), EngineError> {
        let is_stopping = self.engine.stop.is_cancelled();
        if is_stopping { Err(EngineError::Stopping) } else { Ok(()) }
    }

    fn progress(&mut self, resource: Resource) -> &mut Progress {
        let resources: &mut BTreeMap<_, _> = &mut self.sync.resources;
        resources.entry(resource).or_default()
    }
}
