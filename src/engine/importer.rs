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
/// How often an import is asked for before the read-back decides.
const POLLS: u32 = 16;

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
    /// not taken, for a reason that a single call will tell.
    pub(crate) async fn run(
        &self,
        lane: Lane,
        file: &ImportFile,
        lists: &[ListId],
    ) -> Result<BTreeMap<Email, BrevoContact>, EngineError> {
        let ReadBack { brevo, store, clock } = &self.read_back;
        let started = clock.now();
        let id = store.open_import(started, file.rows().len()).await?;
        let process = match brevo.start_import(lane, file, lists, None).await {
            Ok(process) => process,
            Err(error) if error.outcome_unknown() => {
                tracing::warn!("the answer to an import is lost, brevo is asked instead: {error}");
                let found = self.confirmed(lane, started).await?;
                store.close_import(id).await?;
                return Ok(found);
            }
            Err(error) => {
                store.close_import(id).await?;
                return Err(error.into());
            }
        };
        store.import_started(id, process.0).await?;
        let status = self.wait_for_end(lane, process).await?;
        if status != ProcessStatus::Completed {
            tracing::warn!(import.process = %process, ?status, "an import did not complete; its contacts are written singly");
        }
        let found = self.confirmed(lane, started).await?;
        store.close_import(id).await?;
        Ok(found)
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
        started: Timestamp,
    ) -> Result<BTreeMap<Email, BrevoContact>, EngineError> {
        let contacts = self.read_back.since(lane, started).await?;
        let by_address =
            contacts.into_iter().filter_map(|contact| Some((contact.email.clone()?, contact)));
        Ok(by_address.collect())
    }

    /// Waits until a process has ended, asking sparingly: it is one of a hundred calls an hour.
    async fn wait_for_end(
        &self,
        lane: Lane,
        process: ProcessId,
    ) -> Result<ProcessStatus, EngineError> {
        let mut wait = FIRST_WAIT;
        for _ in 0..POLLS {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return Err(EngineError::Stopping),
            }
            match self.read_back.brevo.process(lane, process).await {
                Ok(state) if state.status != ProcessStatus::Running => return Ok(state.status),
                // No such process any more: it has ended, and the read-back tells how.
                Err(BrevoError::NotFound { .. }) => return Ok(ProcessStatus::Completed),
                // The bucket is empty: a longer wait, then the read-back decides.
                Ok(_) | Err(BrevoError::RateLimited { .. }) => {}
                Err(error) if error.kind() == crate::brevo::ErrorKind::Transient => {}
                Err(error) => return Err(error.into()),
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        Ok(ProcessStatus::Running)
    }
}
