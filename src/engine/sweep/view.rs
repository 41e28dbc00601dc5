//! How sweeps stand, as the API, `status` and commands show it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::Timestamp;
use crate::store::{Progress, Resource, Store, StoreError, Sync, SyncKind, SyncState};

/// How many syncs are looked through for the last one of each resource.
const NEWEST: usize = 50;

/// How far a sweep has come with one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceView {
    /// Objects read, each counted once.
    pub seen: u64,
    /// Objects that Intercom says there are; null where it does not say, or where the figures are
    /// partial.
    pub expected: Option<u64>,
    /// True once all that was asked for was read.
    pub done: bool,
    /// Pages read.
    pub pages: u64,
    /// Only what changed since some time was asked for: the figures say nothing about the whole.
    pub partial: bool,
    /// When it began to be read (ISO 8601, UTC).
    pub started_at: Option<String>,
    /// When it was ended with.
    pub ended_at: Option<String>,
    /// From when on changes were asked for; null: everything was.
    pub since: Option<String>,
    /// How long ago, in seconds, the last sweep of it began that left nothing unread: what changed
    /// later may be known by notifications only. Null before the first.
    pub lag_seconds: Option<i64>,
    /// Why it is not complete.
    pub error: Option<String>,
}

impl ResourceView {
    /// How a resource of a sync stands. A sync that left nothing unread is itself the last such one.
    pub fn new(progress: &Progress, swept: Option<Timestamp>, now: Timestamp) -> Self {
        let iso = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            seen: progress.seen,
            expected: progress.expected,
            done: progress.done,
            pages: progress.pages,
            partial: progress.partial,
            started_at: iso(progress.started_at),
            ended_at: iso(progress.ended_at),
            since: iso(progress.since),
            lag_seconds: swept.map(|began| (now.seconds() - began.seconds()).max(0)),
            error: progress.error.clone(),
        }
    }
}

/// The last sweep of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepView {
    /// The sync that it was part of.
    pub sync: String,
    /// Full or incremental.
    #[serde(rename = "type")]
    pub kind: SyncKind,
    /// How it stands: a resource is over before its sync is.
    pub state: SyncState,
    /// How far it has come.
    #[serde(flatten)]
    pub resource: ResourceView,
}

/// The last sweep of each resource that was ever read.
pub async fn sweeps_view(
    store: &dyn Store,
    now: Timestamp,
) -> Result<BTreeMap<Resource, SweepView>, StoreError> {
    let mut views = BTreeMap::new();
    for sync in store.syncs(NEWEST).await? {
        for (resource, progress) in &sync.resources {
            // A store of an earlier version did not note when a resource began.
            let was_read = progress.started_at.is_some() || progress.done;
            if !was_read || views.contains_key(resource) {
                continue;
            }
            let swept = swept(store, *resource).await?;
            let resource_view = ResourceView::new(progress, swept, now);
            let state = state_of(&sync, progress);
            let view = SweepView {
                sync: sync.id.clone(),
                kind: sync.kind,
                state,
                resource: resource_view,
            };
            views.insert(*resource, view);
        }
    }
    Ok(views)
}

/// How one resource of a sync stands.
fn state_of(sync: &Sync, progress: &Progress) -> SyncState {
    match (progress.done, progress.is_open()) {
        (true, _) => SyncState::Done,
        (false, true) if !sync.state.is_over() => SyncState::Running,
        (false, _) if progress.seen == 0 => SyncState::Failed,
        (false, _) => SyncState::Incomplete,
    }
}

/// When the newest sweep began after which nothing of a resource was left unread.
pub(super) async fn swept(
    store: &dyn Store,
    resource: Resource,
) -> Result<Option<Timestamp>, StoreError> {
    let noted = store.fact(fact_of(resource)).await?.and_then(|seconds| seconds.parse().ok());
    if let Some(seconds) = noted {
        return Ok(Some(Timestamp::from_seconds(seconds)));
    }
    // A store of an earlier version has noted nothing, but its syncs say it.
    let syncs = store.syncs(NEWEST).await?;
    let complete = syncs.iter().filter(|sync| {
        let is_whole = sync.kind == SyncKind::Incremental || sync.since.is_none();
        sync.state == SyncState::Done && is_whole && sync.resources.contains_key(&resource)
    });
    Ok(complete.filter_map(|sync| sync.started_at).max())
}

/// Under which name it is kept when the last such sweep of a resource began.
pub(super) fn fact_of(resource: Resource) -> &'static str {
    match resource {
        Resource::Tags => "swept_tags",
        Resource::Companies => "swept_companies",
        Resource::Contacts => "swept_contacts",
        Resource::Conversations => "swept_conversations",
        Resource::Events => "swept_events",
    }
}
