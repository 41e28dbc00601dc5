//! When sweeps begin by themselves: as configured, and at once after anything that may have lost a
//! notification.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::SyncRequest;
use crate::engine::{EngineError, Inner};
use crate::store::{Progress, Resource, SyncKind, SyncState};

/// The longest that goes by before the schedule is looked at again.
const LOOK: Duration = Duration::from_secs(30);
/// How long an Intercom that cannot be read is left alone at first, and at most.
const RETRY: Duration = Duration::from_secs(30);
const LONGEST_RETRY: Duration = Duration::from_secs(900);

/// What makes a sweep due before its time, and what the last ones left unread.
#[derive(Debug, Default)]
pub(in crate::engine) struct Watch {
    /// An input was refused: its sender may not come again.
    has_refused: AtomicBool,
    woken: Notify,
    /// What the last sweep of a resource did not find, though Intercom says that it is there.
    shortfalls: Mutex<BTreeMap<Resource, String>>,
}

impl Watch {
    /// Says that an input was refused.
    pub(in crate::engine) fn note_refusal(&self) {
        self.has_refused.store(true, Ordering::Relaxed);
    }

    /// Says that inputs can be taken again.
    pub(in crate::engine) fn note_recovery(&self) {
        if self.has_refused.load(Ordering::Relaxed) {
            self.woken.notify_one();
        }
    }

    /// Says that Intercom can be read, which it could not: what is due is begun.
    pub(in crate::engine) fn note_connection(&self) {
        self.woken.notify_one();
    }

    /// Remembers what a sweep found missing of a resource, or that nothing is.
    pub(super) fn note_end(&self, resource: Resource, progress: &Progress) {
        let mut shortfalls = self.shortfalls();
        match (progress.is_complete(), progress.expected) {
            (false, Some(expected)) if progress.error.is_some() => {
                let text = format!("saw {} of {expected}", progress.seen);
                shortfalls.insert(resource, text);
            }
            _ if progress.done => {
                shortfalls.remove(&resource);
            }
            _ => {}
        }
    }

    /// What the last sweeps did not find, a sentence each.
    pub(in crate::engine) fn problems(&self) -> Vec<String> {
        let sentence = |(resource, text): (&Resource, &String)| {
            format!("the last sweep of {} is incomplete: it {text}", resource.as_str())
        };
        self.shortfalls().iter().map(sentence).collect()
    }

    fn shortfalls(&self) -> MutexGuard<'_, BTreeMap<Resource, String>> {
        self.shortfalls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long Intercom is left alone while it cannot be read.
#[derive(Debug, Default)]
struct Patience {
    failures: u32,
    until: Option<Instant>,
}

impl Patience {
    /// True if it is time to try again; the next time it takes twice as long.
    fn ends(&mut self, is_failing: bool, now: Instant) -> bool {
        if !is_failing {
            *self = Self::default();
            return false;
        }
        if self.until.is_some_and(|until| now < until) {
            return false;
        }
        let wait = RETRY.saturating_mul(1 << self.failures.min(10)).min(LONGEST_RETRY);
        self.failures += 1;
        self.until = Some(now + wait);
        true
    }
}

/// Requests the sweeps that the configuration asks for, the first ones at start, and incremental
/// ones at once after a refusal, after downtime, and as soon as Intercom answers again.
pub(in crate::engine) async fn sweeps(engine: Arc<Inner>) {
    let mut last: BTreeMap<&str, Instant> = BTreeMap::new();
    let mut patience = Patience::default();
    if let Err(error) = engine.catch_up().await {
        engine.note(&error);
    }
    loop {
        let config = engine.config.load_full();
        let now = Instant::now();
        let mut next = now + LOOK;
        let is_readable = engine.services.load().intercom.is_some();
        let is_failing = is_readable && engine.intercom_problem().is_some();
        let may_sweep = is_readable && config.intercom.sync_every.is_some();
        let is_due =
            patience.ends(is_failing, now) || may_sweep && engine.has_recovered_intake().await;
        if is_due && let Err(error) = engine.request_sweep(SyncKind::Incremental).await {
            engine.note(&error);
        }
        // A full sweep is an incremental one as well.
        for (name, kind, every) in [
            ("full", SyncKind::Full, config.intercom.full_sync_every),
            ("incremental", SyncKind::Incremental, config.intercom.sync_every),
        ] {
            let Some(every) = every.filter(|_| is_readable) else {
                continue;
            };
            let due = last.get(name).map_or(now, |at| *at + every);
            if due > now {
                next = next.min(due);
                continue;
            }
            if let Err(error) = engine.request_sweep(kind).await {
                engine.note(&error);
                continue;
            }
            last.insert(name, now);
            if kind == SyncKind::Full {
                last.insert("incremental", now);
            }
            next = next.min(now + every);
        }
        tokio::select! {
            () = sleep_until(next) => {}
            () = engine.watch.woken.notified() => {}
            () = engine.stop.cancelled() => return,
        }
    }
}

impl Inner {
    /// Requests a sweep, unless one of its kind waits already.
    async fn request_sweep(&self, kind: SyncKind) -> Result<(), EngineError> {
        let syncs = self.store.syncs(50).await?;
        let waits = syncs.iter().any(|sync| sync.kind == kind && sync.state == SyncState::Queued);
        let runs = syncs.iter().any(|sync| sync.kind == kind && sync.state == SyncState::Running);
        // One that runs has read its beginning already: what was lost since needs another one.
        if !waits && (!runs || kind == SyncKind::Incremental) {
            self.request_sync(SyncRequest { kind, resources: Vec::new(), since: None }).await?;
        }
        Ok(())
    }

    /// After downtime in the middle of a full sweep, what changed meanwhile is read before long, too.
    async fn catch_up(&self) -> Result<(), EngineError> {
        let is_wanted = {
            let config = self.config.load();
            config.intercom.enabled && config.intercom.sync_every.is_some()
        };
        let syncs = self.store.syncs(50).await?;
        let was_interrupted = syncs.iter().any(|sync| sync.state == SyncState::Running);
        if is_wanted && was_interrupted {
            self.request_sweep(SyncKind::Incremental).await?;
        }
        Ok(())
    }

    /// True, once, if inputs were refused and can be taken again.
    async fn has_recovered_intake(&self) -> bool {
        if !self.watch.has_refused.load(Ordering::Relaxed) {
            return false;
        }
        let probed = self.store.probe().await;
        self.note_store(probed.as_ref().err());
        probed.is_ok() && self.watch.has_refused.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intercom_that_cannot_be_read_is_asked_less_and_less() {
        let begin = Instant::now();
        let mut patience = Patience::default();
        let tries: Vec<u64> = (0..4_000)
            .step_by(10)
            .filter(|second| patience.ends(true, begin + Duration::from_secs(*second)))
            .collect();
        assert_eq!(tries, [0, 30, 90, 210, 450, 930, 1_830, 2_730, 3_630]);
        assert!(!patience.ends(false, begin));
        assert!(patience.ends(true, begin), "the next failure is the first one again");
    }

    #[test]
    fn what_a_sweep_misses_is_said_until_one_misses_nothing() {
        let watch = Watch::default();
        let short = Progress {
            seen: 490,
            expected: Some(500),
            error: Some("saw 490 of 500".to_owned()),
            ..Progress::default()
        };
        watch.note_end(Resource::Contacts, &short);
        let expected = "the last sweep of contacts is incomplete: it saw 490 of 500";
        assert_eq!(watch.problems(), [expected]);
        watch.note_end(Resource::Contacts, &Progress { done: true, seen: 500, ..short });
        assert_eq!(watch.problems(), Vec::<String>::new());
    }
}
