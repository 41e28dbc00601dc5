//! The one thread that writes. Intake goes first; what waits together is committed together, and
//! nobody gets an answer before the commit is synced.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

/// How many inputs share a commit at most.
const INTAKE_PER_COMMIT: usize = 512;
/// How long other writes may keep intake waiting.
const OTHERS_PER_COMMIT: Duration = Duration::from_millis(20);
/// How many verbs are committed between two checkpoints.
const WRITES_PER_CHECKPOINT: usize = 1_000;
/// How many inputs may wait before intake answers that the store is busy.
const INTAKE_WAITING: usize = 8_192;

/// Which writes go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    Intake,
    Other,
}

/// The transaction that a verb runs in.
pub(super) struct Tx<'c> {
    pub(super) conn: &'c Connection,
    counts: RefCell<Counts>,
}

type Counts = BTreeMap<&'static str, i64>;

impl Tx<'_> {
    /// Adds to a counter, in the same transaction.
    pub(super) fn count(&self, name: &'static str, by: i64) {
        if by != 0 {
            *self.counts.borrow_mut().entry(name).or_default() += by;
        }
    }
}

/// Tells a caller what became of his verb, once the commit is synced or has failed.
type Completion = Box<dyn FnOnce(Result<(), String>) + Send>;
/// A verb that waits; it is given a transaction, or the reason why there is none. Answers whether
/// its effects stand.
type Job = Box<dyn FnOnce(Result<&Tx<'_>, String>) -> (bool, Completion) + Send>;

#[derive(Default)]
struct Waiting {
    intake: VecDeque<Job>,
    other: VecDeque<Job>,
    closing: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl Shared {
    /// A panic in a job poisons nothing that matters: the queues are whole at any moment.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handle of the writing thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    /// Starts the thread on a connection of its own.
    pub(super) fn start(conn: Connection, workspace: String) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let queues = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(&conn, &workspace, &queues))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Runs `verb` in the next commit and answers once that is synced.
    pub(super) async fn write<T, F>(&self, queue: Queue, verb: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |tx| {
            let result = tx.map_err(StoreError::Database).and_then(verb);
            let stands = result.is_ok();
            let completion = move |committed: Result<(), String>| {
                let result = result.and_then(|value| {
                    committed.map_err(StoreError::Database)?;
                    Ok(value)
                });
                // The caller may have gone; the write stands all the same.
                let _ = answer.send(result);
            };
            (stands, Box::new(completion))
        });
        self.enqueue(queue, job)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    fn enqueue(&self, queue: Queue, job: Job) -> Result<(), StoreError> {
        let mut waiting = self.shared.lock();
        if waiting.closing {
            return Err(StoreError::Closed);
        }
        match queue {
            Queue::Intake if waiting.intake.len() >= INTAKE_WAITING => {
                return Err(StoreError::Busy { waiting: waiting.intake.len() });
            }
            Queue::Intake => waiting.intake.push_back(job),
            Queue::Other => waiting.other.push_back(job),
        }
        drop(waiting);
        self.shared.arrived.notify_one();
        Ok(())
    }

    /// Writes what waits, then ends the thread.
    pub(super) async fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.arrived.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Joining may wait for a commit, so it is done off the executor.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.arrived.notify_one();
    }
}

fn run(conn: &Connection, workspace: &str, shared: &Shared) {
    let mut unchecked = 0;
    while let Some(intake) = next_intake(shared) {
        unchecked += commit(conn, workspace, shared, intake);
        // Moving what is committed into the main file is nobody's to wait for, so it comes after the
        // answers. A reader in the way only puts it off.
        if unchecked >= WRITES_PER_CHECKPOINT {
            let _ = conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
            unchecked = 0;
        }
    }
    // A last checkpoint leaves a single file behind; a failure here loses nothing.
    let _ = conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
}

/// Waits for something to write; none once the store closes and nothing waits.
fn next_intake(shared: &Shared) -> Option<Vec<Job>> {
    let mut waiting = shared.lock();
    loop {
        if !waiting.intake.is_empty() || !waiting.other.is_empty() {
            let count = waiting.intake.len().min(INTAKE_PER_COMMIT);
            return Some(waiting.intake.drain(..count).collect());
        }
        if waiting.closing {
            return None;
        }
        waiting = shared.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Commits what waits, answers, and says how many verbs that were.
fn commit(conn: &Connection, workspace: &str, shared: &Shared, intake: Vec<Job>) -> usize {
    let mut completions = Vec::with_capacity(intake.len() + 1);
    let mut counts = Counts::new();
    let began = Instant::now();
    let mut opened = conn.execute_batch("BEGIN IMMEDIATE").map_err(|error| error.to_string());

    let mut jobs = intake.into_iter();
    while let Some(job) = jobs.next().or_else(|| next_other(shared, began)) {
        match &opened {
            Ok(()) => completions.extend(run_job(conn, job, &mut counts)),
            Err(reason) => completions.push(job(Err(reason.clone())).1),
        }
        // A full disk takes the whole transaction back: what came before did not happen, either.
        if opened.is_ok() && conn.is_autocommit() {
            opened = Err("the transaction was rolled back; is the disk full?".to_owned());
        }
    }
    let outcome = opened.and_then(|()| {
        let committed = flush(conn, workspace, counts).and_then(|()| conn.execute_batch("COMMIT"));
        committed.map_err(|error| {
            let _ = conn.execute_batch("ROLLBACK");
            error.to_string()
        })
    });
    let verbs = completions.len();
    for completion in completions {
        completion(outcome.clone());
    }
    verbs
}

/// Runs one verb in a savepoint of its own, so that one that fails leaves no half of itself; none: it
/// panicked, and its caller hears that the store is closed.
fn run_job(conn: &Connection, job: Job, counts: &mut Counts) -> Option<Completion> {
    let savepoint = |sql: &str| conn.prepare_cached(sql).and_then(|mut s| s.execute(()));
    if let Err(error) = savepoint("SAVEPOINT verb") {
        return Some(job(Err(error.to_string())).1);
    }
    let tx = Tx { conn, counts: RefCell::default() };
    // A bug in one verb must not end the one thread that writes. Nothing that it touched outlives the
    // savepoint.
    let ran = catch_unwind(AssertUnwindSafe(|| job(Ok(&tx))));
    let (stands, completion) = match ran {
        Ok((stands, completion)) => (stands, Some(completion)),
        Err(_) => (false, None),
    };
    if stands {
        for (name, by) in tx.counts.take() {
            *counts.entry(name).or_default() += by;
        }
    } else {
        let _ = savepoint("ROLLBACK TO verb");
    }
    let _ = savepoint("RELEASE verb");
    completion
}

fn flush(conn: &Connection, workspace: &str, counts: Counts) -> rusqlite::Result<()> {
    for (name, by) in counts {
        conn.prepare_cached(
            "INSERT INTO counters (workspace, name, value) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET value = value + excluded.value",
        )?
        .execute((workspace, name, by))?;
    }
    Ok(())
}

fn next_other(shared: &Shared, began: Instant) -> Option<Job> {
    if began.elapsed() >= OTHERS_PER_COMMIT {
        return None;
    }
    shared.lock().other.pop_front()
}
