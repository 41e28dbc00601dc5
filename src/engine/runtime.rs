//! The engine's workers: started, woken, and stopped in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;

use super::rule_history::keep_rules;
use super::{
    Engine, EngineError, Inner, budget, companies, connection, double_opt_ins, events, guard,
    objects, pipeline, sweep, verification,
};
use crate::http::{Backoff, Lane, random_fraction};
use crate::model::Timestamp;
use crate::store::{Priority, Resource, Sync, SyncState};

/// Workers of the live lane: one contact that hangs must not keep the others waiting.
const LIVE_WORKERS: usize = 4;
/// How many keys a live worker claims at a time.
const LIVE_CLAIM: usize = 16;
/// Workers of the bulk lane: while one waits for Brevo, the other one derives.
const BULK_WORKERS: usize = 2;
/// How many keys a round of the bulk lane claims.
const BULK_CLAIM: usize = 10_000;
/// How long the bulk lane waits for as many while contacts are read, and while a sync reads what makes
/// few of them dirty: a fuller import costs as much as a small one, and is read back as often.
const PATIENCE: Duration = Duration::from_secs(10);
const LITTLE_PATIENCE: Duration = Duration::from_secs(3);
/// From how many waiting keys on the live lane leaves its work to the bulk lane.
const LIVE_BACKLOG: u64 = 200;
/// The longest that a worker waits before it looks for work by itself.
const LOOK: Duration = Duration::from_secs(30);
/// How often what is older than the retention is removed.
const PRUNE: Duration = Duration::from_secs(3_600);
/// How often the whole of Brevo is read back.
const FULL_READ_BACK_SECONDS: i64 = 24 * 3_600;
/// How long the workers may take to end what they are doing.
const STOP: Duration = Duration::from_secs(15);

/// Which sweeps and read-backs an engine makes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// As configured: the engine is a service.
    AsConfigured,
    /// None: the engine runs for one command.
    None,
}

impl Engine {
    /// Starts the workers.
    pub fn start(&self, schedule: Schedule) {
        let inner = &self.inner;
        let keep_rules = keep_rules(Arc::clone(inner));
        self.tasks.spawn(keep_rules);
        let (engine, tasks) = (self.clone(), self.tasks.clone());
        for _ in 0..LIVE_WORKERS {
            self.tasks.spawn(live(Arc::clone(inner)));
        }
        self.tasks.spawn(async move {
            if engine.inner.prepare().await.is_err() {
                return;
            }
            for _ in 0..BULK_WORKERS {
                tasks.spawn(bulk(Arc::clone(&engine.inner)));
            }
            tasks.spawn(events::deliver(Arc::clone(&engine.inner)));
            tasks.spawn(verification::verify(Arc::clone(&engine.inner)));
            tasks.spawn(companies::deliver(Arc::clone(&engine.inner)));
            tasks.spawn(objects::deliver(Arc::clone(&engine.inner)));
            tasks.spawn(double_opt_ins::deliver(Arc::clone(&engine.inner)));
        });
        self.tasks.spawn(syncs(Arc::clone(inner)));
        self.tasks.spawn(guard::keep(Arc::clone(inner)));
        if schedule == Schedule::AsConfigured {
            self.tasks.spawn(connection::identify(Arc::clone(inner)));
            self.tasks.spawn(sweep::sweeps(Arc::clone(inner)));
            self.tasks.spawn(read_backs(Arc::clone(inner)));
            self.tasks.spawn(prune(Arc::clone(inner)));
        }
    }

    /// Stops in order: no new claims, what is under way ends, the store writes what waits and closes.
    /// What does not end in time is done again at the next start.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP, self.tasks.wait()).await.is_err() {
            tracing::warn!("some calls did not end in time; they are made again at the next start");
        }
        budget::Budget::end(&self.inner.store, self.inner.clock.now()).await;
        self.inner.store.close().await;
    }

    /// Waits until nothing is due and no sync runs.
    pub async fn drained(&self) -> Result<(), EngineError> {
        loop {
            let counts = self.inner.store.counts(self.now()).await?;
            let is_syncing =
                self.inner.store.syncs(50).await?.iter().any(|sync| !sync.state.is_over());
            // Nothing waits for events that Brevo does not take at all.
            let sends =
                counts.events.due > counts.events.stuck && self.inner.events.disabled().is_none();
            let links = counts.sinks.links.due > 0 && self.inner.companies.disabled().is_none();
            let objects = counts.sinks.objects.due > 0 && self.inner.objects.disabled().is_none();
            let asks = counts.sinks.double_opt_ins.due > 0
                && self.inner.double_opt_ins.disabled().is_none();
            let brings = sends || links || objects || asks;
            // A record that waits for its next try is not done.
            if counts.work == 0 && counts.records.pending == 0 && !is_syncing && !brings {
                return Ok(());
            }
            if self.inner.wait(Duration::from_millis(100)).await.is_err() {
                return Err(EngineError::Stopping);
            }
        }
    }
}

impl Inner {
    /// Finds out what must be known before the first write in bulk, however often it takes.
    async fn prepare(&self) -> Result<(), EngineError> {
        let mut attempt = 0;
        loop {
            let Err(error) = self.try_prepare().await else {
                self.gate.open();
                return Ok(());
            };
            self.note(&error);
            attempt += 1;
            self.wait(Backoff::default().delay(attempt, None, random_fraction())).await?;
        }
    }

    /// What became of imports that were under way when the last process ended, for which the live lane
    /// waits with all but opt-outs; then what Brevo holds, for which it does not wait: it asks for each
    /// contact.
    async fn try_prepare(&self) -> Result<(), EngineError> {
        let services = self.services.load_full();
        if !self.has_recovered.load(Ordering::Relaxed) {
            services.importer.recover(Lane::Live).await?;
            self.has_recovered.store(true, Ordering::Relaxed);
            self.live_work.notify_one();
        }
        if !services.read_back.is_complete().await? {
            let contacts = services.read_back.full(Lane::Bulk).await?;
            tracing::info!(contacts, "read what brevo holds");
        }
        Ok(())
    }

    /// Waits; an error if the engine stops.
    pub(super) async fn wait(&self, duration: Duration) -> Result<(), EngineError> {
        tokio::select! {
            () = tokio::time::sleep(duration) => Ok(()),
            () = self.stop.cancelled() => Err(EngineError::Stopping),
        }
    }

    /// Waits until there may be work: somebody says so, a key becomes due, or it is time to look.
    async fn wait_for_work(
        &self,
        wake: &Notify,
        priorities: &[Priority],
    ) -> Result<(), EngineError> {
        // A store that fails is looked at again later; it must not end a worker.
        let due = self.store.next_due(priorities).await.unwrap_or_else(|error| {
            self.note(&error.into());
            None
        });
        let now = self.clock.now();
        let until_due = due.map(|due| {
            Duration::from_secs(due.seconds().saturating_sub(now.seconds()).max(1).unsigned_abs())
        });
        let wait = until_due.unwrap_or(LOOK).min(LOOK);
        tokio::select! {
            () = wake.notified() => Ok(()),
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.stop.cancelled() => Err(EngineError::Stopping),
        }
    }

    /// Waits while Brevo as a whole cannot be written to.
    pub(super) async fn wait_for_gate(&self) -> Result<(), EngineError> {
        while let Some(wait) = self.gate.wait() {
            tokio::select! {
                () = self.gate.opened(wait) => {}
                () = self.stop.cancelled() => return Err(EngineError::Stopping),
            }
        }
        if self.stop.is_cancelled() { Err(EngineError::Stopping) } else { Ok(()) }
    }

    /// What may be claimed: nothing that asks rules while there are none.
    fn claimable(&self, priorities: &'static [Priority]) -> &'static [Priority] {
        if self.rules.current().is_some() { priorities } else { &[] }
    }
}

/// A worker of the live lane.
async fn live(engine: Arc<Inner>) {
    while let Ok(found) = live_round(&engine).await {
        if !found
            && engine
                .wait_for_work(&engine.live_work, &[Priority::Urgent, Priority::Live])
                .await
                .is_err()
        {
            return;
        }
    }
}

async fn live_round(engine: &Inner) -> Result<bool, EngineError> {
    engine.wait_for_gate().await?;
    // More than single calls can serve is left to the bulk lane: it writes in bulk, and would wait
    // for ever for a budget that single calls use up.
    let waiting = engine.store.waiting(Priority::Live, engine.clock.now()).await.unwrap_or(0);
    let is_flooded = waiting > LIVE_BACKLOG;
    if is_flooded {
        engine.bulk_work.notify_one();
    }
    let has_recovered = engine.has_recovered.load(Ordering::Relaxed);
    let asks_rules = has_recovered && !is_flooded && engine.rules.current().is_some();
    let priorities: &[Priority] =
        if !asks_rules { &[Priority::Urgent] } else { &[Priority::Urgent, Priority::Live] };
    let claims = match engine.store.claim(priorities, LIVE_CLAIM, engine.clock.now()).await {
        Ok(claims) => claims,
        Err(error) => {
            engine.note(&error.into());
            engine.wait(Duration::from_secs(1)).await?;
            return Ok(false);
        }
    };
    if claims.is_empty() {
        return Ok(false);
    }
    // One wake may stand for several keys: let another worker look, too.
    engine.live_work.notify_one();
    pipeline::work(engine, claims, Lane::Live).await;
    Ok(true)
}

/// A worker of the bulk lane. It takes what sweeps and new rules made dirty and, when more waits
/// in the live lane than single calls can serve, that as well.
async fn bulk(engine: Arc<Inner>) {
    while let Ok(found) = bulk_round(&engine).await {
        if !found && engine.wait_for_work(&engine.bulk_work, &[Priority::Bulk]).await.is_err() {
            return;
        }
    }
}

async fn bulk_round(engine: &Inner) -> Result<bool, EngineError> {
    engine.wait_for_gate().await?;
    let claimed = async {
        // One worker gathers at a time: of two, the second would get what the first one leaves.
        let _gathering = engine.bulk_gathering.lock().await;
        let waiting = || engine.store.waiting(Priority::Bulk, engine.clock.now());
        let is_syncing = || engine.reading.load().is_some();
        let patience = match engine.reading.load().as_deref() {
            Some(Resource::Contacts) => PATIENCE,
            _ => LITTLE_PATIENCE,
        };
        let enough = |waiting: &u64| *waiting == 0 || *waiting >= BULK_CLAIM as u64;
        engine.gather(patience, waiting, enough, is_syncing).await?;
        let now = engine.clock.now();
        let priorities: &'static [Priority] =
            if engine.store.waiting(Priority::Live, now).await? > LIVE_BACKLOG {
                &[Priority::Live, Priority::Bulk]
            } else {
                &[Priority::Bulk]
            };
        Ok(engine.store.claim(engine.claimable(priorities), BULK_CLAIM, now).await?)
    };
    match claimed.await {
        Ok(claims) if claims.is_empty() => Ok(false),
        Ok(claims) => {
            engine.bulk_rounds.fetch_add(1, Ordering::Relaxed);
            pipeline::work(engine, claims, Lane::Bulk).await;
            engine.bulk_rounds.fetch_sub(1, Ordering::Relaxed);
            Ok(true)
        }
        Err(error @ EngineError::Stopping) => Err(error),
        Err(error) => {
            engine.note(&error);
            engine.wait(Duration::from_secs(1)).await?;
            Ok(false)
        }
    }
}

/// Runs syncs, one at a time, those first that a restart interrupted.
async fn syncs(engine: Arc<Inner>) {
    loop {
        let next = match engine.store.syncs(200).await {
            Ok(syncs) => next_sync(syncs),
            Err(error) => {
                engine.note(&error.into());
                None
            }
        };
        let waited = match next {
            Some(sync) => match engine.run_sync(sync).await {
                Ok(_) => {
                    // What it takes away may be counted to its end.
                    engine.guard.wake();
                    Ok(())
                }
                Err(error) => {
                    engine.note(&error);
                    engine.wait(Duration::from_secs(1)).await
                }
            },
            None => tokio::select! {
                () = engine.sync_work.notified() => Ok(()),
                () = tokio::time::sleep(LOOK) => Ok(()),
                () = engine.stop.cancelled() => Err(EngineError::Stopping),
            },
        };
        if waited.is_err() || engine.stop.is_cancelled() {
            return;
        }
    }
}

fn next_sync(newest_first: Vec<Sync>) -> Option<Sync> {
    let mut open: Vec<Sync> =
        newest_first.into_iter().filter(|sync| !sync.state.is_over()).collect();
    open.reverse();
    let running = open.iter().position(|sync| sync.state == SyncState::Running);
    let index = running.unwrap_or(0);
    if index < open.len() { Some(open.swap_remove(index)) } else { None }
}

/// Reads Brevo back: what changed as often as configured, everything once a day.
async fn read_backs(engine: Arc<Inner>) {
    let mut last_full = engine.clock.now();
    loop {
        let every = engine.config.load().brevo.read_back_every;
        if engine.wait(every.unwrap_or(LOOK)).await.is_err() {
            return;
        }
        if every.is_none() || engine.gate.wait().is_some() {
            continue;
        }
        let now: Timestamp = engine.clock.now();
        let read_back = engine.services.load_full().read_back.clone();
        let is_full = now.seconds() - last_full.seconds() >= FULL_READ_BACK_SECONDS;
        let result = if is_full {
            read_back.full(Lane::Bulk).await.map(|_| ())
        } else {
            read_back.changes(Lane::Bulk, None).await.map(|_| ())
        };
        match result {
            Ok(()) if is_full => last_full = now,
            Ok(()) => {}
            Err(error) => engine.note(&error),
        }
        engine.bulk_work.notify_one();
        engine.live_work.notify_one();
    }
}

async fn prune(engine: Arc<Inner>) {
    loop {
        let retention = engine.config.load().store.retention.as_secs().cast_signed();
        match engine.store.prune(engine.clock.now().plus(-retention)).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "removed what is older than the retention"),
            Err(error) => engine.note(&error.into()),
        }
        if engine.wait(PRUNE).await.is_err() {
            return;
        }
    }
}
