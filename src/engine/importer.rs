//! One import, from before its call until its end is known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

use super::EngineError;
use super::callbacks::{Callback, Callbacks};
use super::read_back::ReadBack;
use crate::brevo::{
    BrevoError, ErrorKind, ImportFile, ProblemKind, ProcessId, ProcessState, ProcessStatus,
};
use crate::http::Lane;
use crate::model::{BrevoContact, Email, ListId, Timestamp};
use crate::store::OpenImport;
use crate::telemetry;

/// The first wait before a process is asked for; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often an import is looked for before it is given up.
const POLLS: usize = 16;

/// The same where Brevo calls back: then a look only helps if the call is lost.
const FIRST_SPARSE_WAIT: Duration = Duration::from_secs(30);
const LONGEST_SPARSE_WAIT: Duration = Duration::from_secs(300);
/// How often what an import of unknown fate has written is looked for.
const LOOKS: usize = 4;

/// What an import did.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    /// Brevo's contacts as a read after its end shows them, by address. Who is missing was not taken.
    pub(crate) found: BTreeMap<Email, BrevoContact>,
    /// The rows that Brevo itself says it did not take, by address.
    pub(crate) refused: BTreeMap<String, ProblemKind>,
}

/// Runs imports, one at a time, and finds out what they did.
#[derive(Debug, Clone)]
pub(crate) struct Importer {
    pub(crate) read_back: ReadBack,
    pub(crate) callbacks: Arc<Callbacks>,
    /// Where Brevo can reach this engine.
    pub(crate) public_url: Option<Url>,
    pub(crate) stop: CancellationToken,
}

impl Importer {
    /// Imports a file and finds out what came of its rows.
    ///
    /// The intent is durable before the call and the process right after it, so that a crash leaves
    /// an import whose fate is asked for, not one that is sent twice. Who stands in no answer was
    /// not taken, for a reason that a single call will tell. `rows` are the addresses in the file.
    pub(crate) async fn run(
        &self,
        lane: Lane,
        file: &ImportFile,
        rows: &[&Email],
        lists: &[ListId],
    ) -> Result<Imported, EngineError> {
        let ReadBack { brevo, store, clock, .. } = &self.read_back;
        let answered = self.read_back.last_answer();
        let callback = self.public_url.as_ref().and_then(|url| self.callbacks.expect(url));
        let id = store.open_import(clock.now(), file.rows().len()).await?;
        let notify_url = callback.as_ref().map(|callback| &callback.url);
        let process = match brevo.start_import(lane, file, lists, notify_url).await {
            Ok(process) => process,
            Err(error) if error.outcome_unknown() => {
                tracing::warn!("the answer to an import is lost, brevo is asked instead: {error}");
                let found = self.look_for(lane, rows, answered, callback.as_ref()).await?;
                store.close_import(id).await?;
                // Nothing of it: it did not arrive, and may be sent again.
                return if found.is_empty() { Err(error.into()) } else { Ok(found.into()) };
            }
            Err(error) => {
                store.close_import(id).await?;
                return Err(error.into());
            }
        };
        store.import_started(id, process.0).await?;
        tracing::debug!(import.process = %process, rows = rows.len(), "an import begins");
        let imported = self.wait_for_rows(lane, process, rows, answered, callback.as_ref()).await?;
        let (read, refused) = (imported.found.len(), imported.refused.len());
        tracing::debug!(import.process = %process, read, refused, "an import is confirmed");
        store.close_import(id).await?;
        Ok(imported)
    }

    /// Waits until the process has ended, or all its rows are there, and answers what is there.
    async fn wait_for_rows(
        &self,
        lane: Lane,
        process: ProcessId,
        rows: &[&Email],
        answered: Timestamp,
        callback: Option<&Callback>,
    ) -> Result<Imported, EngineError> {
        for wait in waits(callback.is_some() && !self.callbacks.fail()) {
            let was_called = self.pause(wait, callback).await?;
            if !self.may_ask() {
                let found = self.confirmed(lane, answered).await?;
                if rows.iter().all(|address| found.contains_key(*address)) {
                    return Ok(found.into());
                }
                continue;
            }
            let Some(state) = self.ended(lane, process).await? else {
                continue;
            };
            if let Some(callback) = callback.filter(|_| !was_called) {
                callback.was_missed();
            }
            if state.status != ProcessStatus::Completed {
                tracing::warn!(import.process = %process, status = ?state.status, "an import did not complete; its contacts are written singly");
            }
            let refused = self.refused_rows(lane, &state).await;
            return Ok(Imported { found: self.confirmed(lane, answered).await?, refused });
        }
        tracing::warn!(import.process = %process, "an import does not end; what it has not written is written singly");
        Ok(self.confirmed(lane, answered).await?.into())
    }

    /// Looks for what an import wrote whose answer is lost, until it writes no more.
    async fn look_for(
        &self,
        lane: Lane,
        rows: &[&Email],
        answered: Timestamp,
        callback: Option<&Callback>,
    ) -> Result<BTreeMap<Email, BrevoContact>, EngineError> {
        let mut there = 0;
        let mut found = BTreeMap::new();
        for wait in waits(false).take(LOOKS) {
            self.pause(wait, callback).await?;
            found = self.confirmed(lane, answered).await?;
            let now = rows.iter().filter(|address| found.contains_key(**address)).count();
            if now == rows.len() || (now > 0 && now == there) {
                break;
            }
            there = now;
        }
        found.retain(|address, _| rows.contains(&address));
        Ok(found)
    }

    /// Reads the files in which an import lists the rows that it did not take. Without them, a single
    /// call tells.
    async fn refused_rows(
        &self,
        lane: Lane,
        state: &ProcessState,
    ) -> BTreeMap<String, ProblemKind> {
        let mut refused = BTreeMap::new();
        for file in &state.problem_files {
            match self.read_back.brevo.problem_rows(lane, &file.url).await {
                Ok(rows) => {
                    metrics::counter!(telemetry::IMPORT_ROWS_REFUSED.name, "reason" => file.kind.to_string())
                        .increment(rows.len() as u64);
                    tracing::warn!(rows = rows.len(), reason = %file.kind, "an import did not take some of its rows");
                    refused.extend(rows.into_iter().map(|row| (row, file.kind.clone())));
                }
                Err(error) => tracing::warn!(
                    "the rows that an import did not take cannot be read, brevo is asked instead: {error}"
                ),
            }
        }
        refused
    }

    /// True while imports have used less than half of what may be asked in an hour beside contacts:
    /// the rest is for what no read of contacts can tell.
    fn may_ask(&self) -> bool {
        let buckets = self.read_back.brevo.limit_status();
        let other = buckets.iter().find(|bucket| bucket.name == "brevo.other");
        other.is_none_or(|other| {
            other.limit == 0 || (other.blocked_for.is_none() && other.in_use < other.limit / 2)
        })
    }

    /// Finds out about imports that were open when the last process ended.
    pub(crate) async fn recover(&self, lane: Lane) -> Result<(), EngineError> {
        for OpenImport { id, process, started } in self.read_back.store.open_imports().await? {
            if let Some(process) = process {
                self.wait_for_end(lane, ProcessId(process)).await?;
            }
            self.read_back.since(lane, started).await?;
            self.read_back.store.close_import(id).await?;
        }
        Ok(())
    }

    async fn confirmed(
        &self,
        lane: Lane,
        answered: Timestamp,
    ) -> Result<BTreeMap<Email, BrevoContact>, EngineError> {
        let contacts = self.read_back.since_answer(lane, answered).await?;
        let by_address =
            contacts.into_iter().filter_map(|contact| Some((contact.email.clone()?, contact)));
        Ok(by_address.collect())
    }

    /// Waits until a process has ended, asking sparingly: it is one of a hundred calls an hour.
    async fn wait_for_end(&self, lane: Lane, process: ProcessId) -> Result<(), EngineError> {
        for wait in waits(false) {
            self.pause(wait, None).await?;
            if self.may_ask() && self.ended(lane, process).await?.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// How a process ended; none: it runs, or cannot be asked for now.
    async fn ended(
        &self,
        lane: Lane,
        process: ProcessId,
    ) -> Result<Option<ProcessState>, EngineError> {
        match self.read_back.brevo.process(lane, process).await {
            Ok(state) => Ok(Some(state).filter(|state| state.status != ProcessStatus::Running)),
            // No such process any more: it has ended, and the read-back tells how.
            Err(BrevoError::NotFound { .. }) => Ok(Some(ProcessState {
                status: ProcessStatus::Completed,
                problem_files: Vec::new(),
            })),
            // The bucket is empty, or the key may not ask: a longer wait, then the read-back decides.
            Err(BrevoError::RateLimited { .. } | BrevoError::Forbidden { .. }) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Transient => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits, and answers whether Brevo called meanwhile.
    async fn pause(
        &self,
        wait: Duration,
        callback: Option<&Callback>,
    ) -> Result<bool, EngineError> {
        let called = async {
            match callback {
                Some(callback) => callback.called().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(false),
            () = called => Ok(true),
            () = self.stop.cancelled() => Err(EngineError::Stopping),
        }
    }
}

impl From<BTreeMap<Email, BrevoContact>> for Imported {
    fn from(found: BTreeMap<Email, BrevoContact>) -> Self {
        Self { found, refused: BTreeMap::new() }
    }
}

/// How long to wait before each look: twice as long each time, up to a minute; where Brevo calls back,
/// up to five.
fn waits(calls_back: bool) -> impl Iterator<Item = Duration> {
    let (first, longest) = if calls_back {
        (FIRST_SPARSE_WAIT, LONGEST_SPARSE_WAIT)
    } else {
        (FIRST_WAIT, LONGEST_WAIT)
    };
    let doubling = std::iter::successors(Some(first), move |wait| Some((*wait * 2).min(longest)));
    doubling.take(POLLS)
}
