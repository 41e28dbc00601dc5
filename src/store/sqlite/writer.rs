//! The one thread that writes. Intake goes first; what waits together is committed together, and
//! nobody gets an answer before the commit is synced.

use std::cell::{Cell, RefCell};
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
/// How long the log may get before it is moved into the main file, in pages of 4 KiB. A longer one
/// saves moving pages that are written again and again, a shorter one keeps the file small.
const LOG_PAGES: i32 = 4_096;
/// How many inputs may wait before intake answers that the store is busy.
const INTAKE_WAITING: usize = 8_192;

/// Which writes go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
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

/// A verb that waits for its turn.
trait Verb: Send {
    /// Runs it; false: it failed, and nothing of what it did may stand.
    fn run(&mut self, tx: &Tx<'_>) -> bool;

    /// Tells the caller what became of it, once the commit is synced or has failed.
    fn answer(self: Box<Self>, committed: &Result<(), String>);
}

type Job = Box<dyn Verb>;

/// A verb, what it came to, and who waits for that.
struct Pending<T, F> {
    verb: F,
    result: Option<Result<T, StoreError>>,
    /// The verb goes back with the answer: what it holds is freed where it was made, and not by the one
    /// thread that everybody waits for.
    answer: oneshot::Sender<(Result<T, StoreError>, F)>,
}

impl<T, F> Verb for Pending<T, F>
where
    T: Send,
    F: FnMut(&Tx<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> bool {
        let result = (self.verb)(tx);
        let stands = result.is_ok();
        self.result = Some(result);
        stands
    }

    fn answer(self: Box<Self>, committed: &Result<(), String>) {
        let result = match (self.result, committed) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(reason)) => Err(StoreError::Database(reason.clone())),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // The caller may have gone; the write stands all the same.
        let _ = self.answer.send((result, self.verb));
    }
}

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

    /// Runs `verb` in the next commit and answers once that is synced. It shares a savepoint with
    /// nobody: if it fails, nothing of it stands.
    pub(super) async fn write<T, F>(&self, verb: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let mut verb = Some(verb);
        let once = move |tx: &Tx<'_>| verb.take().map_or(Err(StoreError::Closed), |verb| verb(tx));
        self.queue(Queue::Other, once).await
    }

    /// The same for an input, which goes before all else. Inputs run together, without a savepoint
    /// each; when one of them fails, all of them run again, each by itself. So `verb` must do the same
    /// each time.
    pub(super) async fn take_in<T, F>(&self, verb: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.queue(Queue::Intake, verb).await
    }

    async fn queue<T, F>(&self, queue: Queue, verb: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.enqueue(queue, Box::new(Pending { verb, result: None, answer }))?;
        // A verb that panicked is gone without an answer.
        let (result, _verb) = answered.await.map_err(|_| StoreError::Closed)?;
        result
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

thread_local! {
    /// How long the log was after the last commit of this thread, in pages.
    static LOG: Cell<i32> = const { Cell::new(0) };
}

fn run(conn: &Connection, workspace: &str, shared: &Shared) {
    conn.wal_hook(Some(|_, pages| {
        LOG.set(pages);
        Ok(())
    }));
    let mut longest = LOG_PAGES;
    while let Some(intake) = next_intake(shared) {
        commit(conn, workspace, shared, intake);
        // Moving what is committed into the main file is nobody's to wait for, so it comes after the
        // answers. A reader in the way only puts it off.
        let log = LOG.get();
        if log >= longest {
            let _ = conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
            longest = log + LOG_PAGES / 4;
        } else if log < LOG_PAGES {
            longest = LOG_PAGES;
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

/// Commits what waits, and answers.
fn commit(conn: &Connection, workspace: &str, shared: &Shared, mut intake: Vec<Job>) {
    let began = Instant::now();
    let mut counts = Counts::new();
    let mut done = Vec::with_capacity(intake.len() + 1);
    let mut open = begin(conn);
    if open.is_ok() && run_together(conn, &mut intake, &mut counts) {
        done.append(&mut intake);
    } else if open.is_ok() {
        // What the others did goes as well, and each of them runs again by itself.
        counts.clear();
        let _ = conn.execute_batch("ROLLBACK");
        open = begin(conn);
    }
    let mut waiting = intake.into_iter();
    while let Some(job) = waiting.next().or_else(|| next_other(shared, began)) {
        match &open {
            Ok(()) => done.extend(run_alone(conn, job, &mut counts)),
            Err(_) => done.push(job),
        }
        // A full disk takes the whole transaction back: what came before did not happen, either.
        if open.is_ok() && conn.is_autocommit() {
            open = Err("the transaction was rolled back; is the disk full?".to_owned());
        }
    }
    let outcome = open.and_then(|()| {
        let committed = flush(conn, workspace, counts).and_then(|()| execute(conn, "COMMIT"));
        committed.map_err(|error| {
            let _ = conn.execute_batch("ROLLBACK");
            error.to_string()
        })
    });
    for job in done {
        job.answer(&outcome);
    }
}

fn begin(conn: &Connection) -> Result<(), String> {
    execute(conn, "BEGIN IMMEDIATE").map_err(|error| error.to_string())
}

fn execute(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.execute(()).map(|_| ())
}

/// Runs inputs without a savepoint each, which would copy every page that they touch. False: one of
/// them failed.
fn run_together(conn: &Connection, jobs: &mut [Job], counts: &mut Counts) -> bool {
    let tx = Tx { conn, counts: RefCell::default() };
    let stands = jobs.iter_mut().all(|job| runs(job, &tx) == Some(true));
    *counts = tx.counts.into_inner();
    stands && !conn.is_autocommit()
}

/// Runs one verb in a savepoint of its own, so that one that fails leaves no half of itself; none: it
/// panicked, or could not be run, and its caller hears that the store is closed.
fn run_alone(conn: &Connection, mut job: Job, counts: &mut Counts) -> Option<Job> {
    execute(conn, "SAVEPOINT verb").ok()?;
    let tx = Tx { conn, counts: RefCell::default() };
    let ran = runs(&mut job, &tx);
    if ran == Some(true) {
        for (name, by) in tx.counts.take() {
            *counts.entry(name).or_default() += by;
        }
    } else {
        let _ = execute(conn, "ROLLBACK TO verb");
    }
    let _ = execute(conn, "RELEASE verb");
    ran.map(|_| job)
}

/// Runs a verb; none: it panicked. A bug in one verb must not end the one thread that writes, and
/// nothing that it touched outlives the transaction or the savepoint.
fn runs(job: &mut Job, tx: &Tx<'_>) -> Option<bool> {
    catch_unwind(AssertUnwindSafe(|| job.run(tx))).ok()
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
