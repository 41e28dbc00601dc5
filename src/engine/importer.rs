//! One import, from before its call until its end is known.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::EngineError;
use super::read_back::ReadBack;
use crate::brevo::{BrevoError, ImportFile, ProcessId, ProcessStatus};
use crate::http::Lane;
use crate::model::{BrevoContact, Email, ListId, Timestamp};
use crate::store::OpenImport;

/// The first wait before a process is asked for; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often an import is looked for before it is given up.
const POLLS: usize = 16;

/// Runs imports, one at a time, and finds out what they did.
#[derive(Debug, Clone)]
pub(crate) struct Importer {
    pub(crate) read_back: ReadBack,
    pub(crate) stop: CancellationToken,
}

impl Importer {
    /// Imports a file and answers Brevo's contacts as a read after its end shows them, by address.
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
    ) -> Result<BTreeMap<Email, BrevoContact>, EngineError> {
        let ReadBack { brevo, store, clock, .. } = &self.read_back;
        let answered = self.read_back.last_answer();
        let id = store.open_import(clock.now(), file.rows().len()).await?;
        let process = match brevo.start_import(lane, file, lists, None).await {
            Ok(process) => process,
            Err(error) if error.outcome_unknown() => {
                tracing::warn!("the answer to an import is lost, brevo is asked instead: {error}");
                let found = self.confirmed(lane, answered).await?;
                store.close_import(id).await?;
                return Ok(found);
            }
            Err(error) => {
                store.close_import(id).await?;
                return Err(error.into());
            }
        };
        store.import_started(id, process.0).await?;
        tracing::debug!(import.process = %process, rows = rows.len(), "an import begins");
        let found = self.wait_for_rows(lane, process, rows, answered).await?;
        tracing::debug!(import.process = %process, read = found.len(), "an import is confirmed");
        store.close_import(id).await?;
        Ok(found)
    }

    /// Waits until the process has ended, or all its rows are there, and answers what is there.
    async fn wait_for_rows(
        &self,
        lane: Lane,
        process: ProcessId,
        rows: &[&Email],
        answered: Timestamp,
    ) -> Result<BTreeMap<Email, BrevoContact>, EngineError> {
        for wait in waits() {
            self.pause(wait).await?;
            if !self.may_ask() {
                let found = self.confirmed(lane, answered).await?;
                if rows.iter().all(|address| found.contains_key(*address)) {
                    return Ok(found);
                }
                continue;
            }
            match self.ended(lane, process).await? {
                None => continue,
                Some(ProcessStatus::Completed) => {}
                Some(status) => {
                    tracing::warn!(import.process = %process, ?status, "an import did not complete; its contacts are written singly");
                }
            }
            return self.confirmed(lane, answered).await;
        }
        tracing::warn!(import.process = %process, "an import does not end; what it has not written is written singly");
        self.confirmed(lane, answered).await
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
        for wait in waits() {
            self.pause(wait).await?;
            if self.ended(lane, process).await?.is_some() {
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
    ) -> Result<Option<ProcessStatus>, EngineError> {
        match self.read_back.brevo.process(lane, process).await {
            Ok(state) => Ok(Some(state.status).filter(|status| *status != ProcessStatus::Running)),
            // No such process any more: it has ended, and the read-back tells how.
            Err(BrevoError::NotFound { .. }) => Ok(Some(ProcessStatus::Completed)),
            // The bucket is empty: a longer wait, then the read-back decides.
            Err(BrevoError::RateLimited { .. }) => Ok(None),
            Err(error) if error.kind() == crate::brevo::ErrorKind::Transient => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn pause(&self, wait: Duration) -> Result<(), EngineError> {
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.stop.cancelled() => Err(EngineError::Stopping),
        }
    }
}

/// How long to wait before each look: twice as long each time, up to a minute.
fn waits() -> impl Iterator<Item = Duration> {
    let doubling =
        std::iter::successors(Some(FIRST_WAIT), |wait| Some((*wait * 2).min(LONGEST_WAIT)));
    doubling.take(POLLS)
}
