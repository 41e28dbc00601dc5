//! Who does the work of a command that writes: the running engine, through its API, or an engine of
//! this process that lives as long as the command.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::{Api, Route};
use super::deployment::{Deployment, Running};
use super::failure::Failure;
use super::status_view::{self, StatusView};
use crate::engine::{Engine, EngineLock, PlanView, Schedule, SyncRequest};
use crate::model::{Clock, SystemClock};
use crate::store::{DeadLetterQuery, SqliteStore, Store, SyncState};

/// How often an engine is asked how it stands.
const LOOK: Duration = Duration::from_millis(300);
/// How long an engine that says why it cannot work is waited for while nothing moves.
const STALLED: Duration = Duration::from_secs(60);

/// An engine that works for a command.
#[derive(Debug)]
pub(super) enum Runner {
    /// The running one.
    Service(Api),
    /// One of this process, with the lock on its store, held until everything is written.
    Own { engine: Engine, _lock: EngineLock },
}

/// What becomes of events that happened before the first sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum History {
    /// They are known without being sent.
    Known,
    /// They are sent as well.
    Sent,
}

/// How a sync stands.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SyncView {
    pub(super) state: SyncState,
    pub(super) resources: BTreeMap<String, ProgressView>,
    #[serde(default)]
    pub(super) error: Option<String>,
}

/// How far a sync has come with one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProgressView {
    pub(super) seen: u64,
    pub(super) expected: Option<u64>,
    pub(super) done: bool,
}

#[derive(Debug, Deserialize)]
struct Queued {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Retried {
    retried: u64,
}

#[derive(Debug, Deserialize)]
struct Approved {
    approved: u64,
}

impl Runner {
    /// Finds the running engine, or takes the lock and starts one that makes no sweeps by itself.
    ///
    /// # Errors
    /// Another command that works on the store; secrets that are missing; rules that do not load,
    /// for then nothing could be derived.
    pub(super) async fn start(config: &Path) -> Result<Self, Failure> {
        // Beside a running engine this command needs no secret of a service.
        match Deployment::load_without_secrets(config)?.running()? {
            Running::Service { api, .. } => return Ok(Self::Service(api)),
            Running::Command { pid } => return Err(busy(pid)),
            Running::Nobody => {}
        }
        let deployment = Deployment::load(config)?;
        deployment.require_secrets().await?;
        let (store, lock) = lock_and_open(&deployment)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let engine = Engine::open(deployment.config, Arc::new(store), clock).await?;
        if engine.rules().version.is_none() {
            let failure = Failure::failed("the rules do not load, so nothing can be derived");
            return Err(failure.with_help("run `tajo scripts check`"));
        }
        engine.start(Schedule::None);
        Ok(Self::Own { engine, _lock: lock })
    }

    /// Asks for a sync; its id.
    pub(super) async fn request_sync(
        &self,
        request: SyncRequest,
        history: History,
    ) -> Result<String, Failure> {
        match self {
            Self::Own { engine, .. } => Ok(match history {
                History::Known => engine.request_sync(request).await?.id,
                History::Sent => engine.request_backfill(request).await?.id,
            }),
            Self::Service(api) => {
                let names: Vec<&str> =
                    request.resources.iter().map(|resource| resource.as_str()).collect();
                let since = request.since.map(|at| at.to_string());
                let mut body = json!({ "type": request.kind, "since": since });
                if let (false, Some(fields)) = (names.is_empty(), body.as_object_mut()) {
                    fields.insert("resources".to_owned(), json!(names));
                }
                if let (History::Sent, Some(fields)) = (history, body.as_object_mut()) {
                    fields.insert("backfillEvents".to_owned(), json!(true));
                }
                let route = "/api/v1/connectors/intercom/sync";
                let queued: Option<Queued> = api.change(Method::POST, route, Some(body)).await?;
                queued
                    .map(|queued| queued.id)
                    .ok_or_else(|| Failure::failed("the running engine knows no syncs"))
            }
        }
    }

    /// How the newest bulk changes were written to Brevo, oldest first.
    pub(super) async fn plans(&self) -> Result<Vec<PlanView>, Failure> {
        match self {
            Self::Own { engine, .. } => Ok(engine.plans()),
            Self::Service(api) => api.get("/api/v1/plans").await,
        }
    }

    /// How a sync stands.
    pub(super) async fn sync(&self, id: &str) -> Result<SyncView, Failure> {
        let found: Option<SyncView> = match self {
            Self::Own { engine, .. } => match engine.sync(id).await? {
                Some(sync) => serde_json::from_value(serde_json::to_value(sync)?)?,
                None => None,
            },
            Self::Service(api) => {
                let path = format!("/api/v1/connectors/intercom/syncs/{id}");
                api.find(Route { path: &path, pattern: "/api/v1/connectors/intercom/syncs/{id}" })
                    .await?
            }
        };
        found.ok_or_else(|| Failure::failed(format!("the engine no longer knows the sync {id}")))
    }

    /// The engine's figures.
    pub(super) async fn status(&self) -> Result<StatusView, Failure> {
        StatusView::of(match self {
            Self::Own { engine, .. } => serde_json::to_value(engine.status().await?)?,
            Self::Service(api) => status_view::of_service(api).await?,
        })
    }

    /// Calls that the engine made to Brevo since its start, if it tells.
    pub(super) async fn brevo_calls(&self) -> Option<u64> {
        match self {
            Self::Own { engine, .. } => {
                let calls = engine.brevo_calls();
                Some(calls.reads() + calls.writes())
            }
            Self::Service(api) => Some(calls_in(&api.text("/metrics").await.ok()?)),
        }
    }

    /// Makes dead letters due again; answers how many.
    pub(super) async fn retry_dead_letters(&self, query: DeadLetterQuery) -> Result<u64, Failure> {
        let api = match self {
            Self::Own { engine, .. } => return Ok(engine.retry_dead_letters(query).await?),
            Self::Service(api) => api,
        };
        let retried: Option<Retried> = match query {
            DeadLetterQuery::All => {
                api.change(Method::POST, "/api/v1/dead-letters/retry", None).await?
            }
            DeadLetterQuery::One(id) => {
                let path = format!("/api/v1/dead-letters/{id}/retry");
                let route = Route { path: &path, pattern: "/api/v1/dead-letters/{id}/retry" };
                api.change(Method::POST, route, None).await?
            }
        };
        Ok(retried.map_or(0, |answer| answer.retried))
    }

    /// Approves a hold; answers of how many contacts; none: nothing waits under this number.
    pub(super) async fn approve_hold(&self, id: i64) -> Result<Option<u64>, Failure> {
        match self {
            Self::Own { engine, .. } => {
                let Some(view) = engine.hold(id).await? else { return Ok(None) };
                Ok(engine.approve_hold(id).await?.then_some(view.hold.contacts))
            }
            Self::Service(api) => {
                let path = format!("/api/v1/held/{id}/approve");
                let route = Route { path: &path, pattern: "/api/v1/held/{id}/approve" };
                let approved: Option<Approved> = api.change(Method::POST, route, None).await?;
                Ok(approved.map(|answer| answer.approved))
            }
        }
    }

    /// Waits until nothing is due, and shows each look at the figures; answers the last.
    ///
    /// # Errors
    /// Nothing moves for a minute and the engine says why: it would wait for somebody to act.
    pub(super) async fn drained(
        &self,
        mut show: impl FnMut(&StatusView),
    ) -> Result<StatusView, Failure> {
        let mut stalled = Stalled::default();
        loop {
            let status = self.status().await?;
            show(&status);
            if status.work == 0 && status.records.pending == 0 && status.left_to_send() == 0 {
                return Ok(status);
            }
            if stalled.is_too_long(&status) {
                let failure = Failure::failed(format!(
                    "nothing has moved for {} s: {}",
                    STALLED.as_secs(),
                    status.degraded.join("; ")
                ));
                return Err(
                    failure.with_help("what was read is kept, and the next engine goes on with it")
                );
            }
            look_again().await;
        }
    }

    /// Ends the engine, if it is this command's own.
    pub(super) async fn stop(self) {
        if let Self::Own { engine, _lock } = self {
            engine.stop().await;
        }
    }
}

/// Takes the lock on the store and opens it for writing.
pub(super) fn lock_and_open(deployment: &Deployment) -> Result<(SqliteStore, EngineLock), Failure> {
    let lock = EngineLock::take(deployment.store())?;
    let key = deployment.address_key()?;
    Ok((SqliteStore::open(deployment.store(), key, SystemClock.now())?, lock))
}

/// Waits until it is worth looking at the figures again.
pub(super) async fn look_again() {
    tokio::time::sleep(LOOK).await;
}

/// The failure to get at a store on which another command works.
pub(super) fn busy(pid: u32) -> Failure {
    let failure = Failure::failed(format!("another command (pid {pid}) works on the store"));
    failure.with_help("wait until it ends")
}

/// Drops dead letters in a store on which nobody runs; that needs no engine.
pub(super) async fn drop_in_store(
    deployment: &Deployment,
    query: DeadLetterQuery,
) -> Result<u64, Failure> {
    let (store, _lock) = lock_and_open(deployment)?;
    let dropped = store.drop_dead_letters(query).await?;
    store.close().await;
    Ok(dropped)
}

/// Since when nothing has moved.
#[derive(Debug, Default)]
struct Stalled {
    since: Option<(Instant, Vec<u64>)>,
}

impl Stalled {
    fn is_too_long(&mut self, status: &StatusView) -> bool {
        let records = &status.records;
        let figures = vec![
            status.work,
            records.pending,
            records.accepted,
            status.rederived,
            status.dead_letters,
            status.left_to_send(),
        ];
        match &self.since {
            Some((since, before)) if *before == figures && !status.degraded.is_empty() => {
                since.elapsed() >= STALLED
            }
            _ => {
                self.since = Some((Instant::now(), figures));
                false
            }
        }
    }
}

/// The sum of all kinds of calls in the text of the metrics, which leaves out what was never called.
fn calls_in(metrics: &str) -> u64 {
    let calls = metrics.lines().filter_map(|line| {
        let value = line.strip_prefix("tajo_brevo_calls_total{")?.rsplit(' ').next()?;
        value.parse::<f64>().ok()
    });
    calls.sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_summed_over_their_kinds() {
        let metrics = "# TYPE tajo_brevo_calls_total counter\n\
                       tajo_brevo_calls_total{call=\"import\"} 3\n\
                       tajo_brevo_calls_total{call=\"upsert\"} 39\n\
                       tajo_work 7\n";
        assert_eq!(calls_in(metrics), 42);
        assert_eq!(calls_in("tajo_work 7\n"), 0);
    }

    #[test]
    fn only_an_engine_that_says_why_can_be_stalled() {
        let mut status = StatusView { work: 3, ..StatusView::default() };
        let long_ago = Instant::now().checked_sub(STALLED);
        let figures = vec![3, 0, 0, 0, 0, 0];
        let mut stalled = Stalled { since: long_ago.map(|at| (at, figures.clone())) };
        assert!(!stalled.is_too_long(&status), "an import may take its time");
        status.degraded.push("writing to brevo is paused".to_owned());
        let mut stalled = Stalled { since: long_ago.map(|at| (at, figures)) };
        assert!(stalled.is_too_long(&status));
        status.work = 2;
        assert!(!stalled.is_too_long(&status), "it moved");
    }
}
