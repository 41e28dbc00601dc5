//! Imports: starting one, how far it is, and which rows Brevo did not take.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use super::call::{Call, CallKind};
use super::client::{BrevoClient, read};
use super::error::BrevoError;
use super::import::{ImportBody, ImportFile, parse_problem_rows};
use super::wire::{ProcessAnswer, ProcessIdAnswer};
use crate::http::Lane;
use crate::model::ListId;

/// The number of a process of Brevo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(pub i64);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessState {
    /// Whether it has ended.
    pub status: ProcessStatus,
    /// Files that list the rows that were not taken. A row in none of them was taken.
    pub problem_files: Vec<ProblemFile>,
}

/// Whether a process has ended, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessStatus {
    /// Waiting or at work; also what every word means that is not known.
    Running,
    /// Done.
    Completed,
    /// Not done, or not all of it.
    Failed,
    /// Cancelled by somebody.
    Cancelled,
}

/// A file that lists rows of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemFile {
    /// Why its rows were not taken.
    pub kind: ProblemKind,
    /// Where it lies.
    pub url: Url,
}

/// Why rows were not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProblemKind {
    /// The address is none.
    InvalidEmail,
    /// The row, or another contact, has the same identifier. In the words of the attributes:
    /// `EMAIL`, `SMS`, `WHATSAPP`, `LANDLINE_NUMBER`, `EXT_ID`, `ID`.
    Duplicate(&'static str),
    /// Something else, in Brevo's word.
    Other(String),
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidEmail => f.write_str("invalid e-mail"),
            Self::Duplicate(identifier) => write!(f, "duplicate {identifier}"),
            // A word of Brevo's must not become as many labels as it likes.
            Self::Other(_) => f.write_str("other"),
        }
    }
}

impl BrevoClient {
    /// Starts an import into `lists`, of which Brevo wants at least one. Everybody in the file is put
    /// on all of them. `notify_url` is called when the import has ended.
    ///
    /// Never repeated where Brevo may have accepted it.
    pub async fn start_import(
        &self,
        lane: Lane,
        file: &ImportFile,
        lists: &[ListId],
        notify_url: Option<&Url>,
    ) -> Result<ProcessId, BrevoError> {
        let body = ImportBody::new(file, lists, notify_url);
        let call = self.call(CallKind::Import, "/contacts/import")?.json(&body)?;
        let answer: ProcessIdAnswer = read(CallKind::Import, &self.send(lane, call).await?)?;
        Ok(ProcessId(answer.process_id))
    }

    /// How far a process is. Costs one of 100 calls an hour.
    ///
    /// # Errors
    ///
    /// [`BrevoError::NotFound`] if there is no such process; [`BrevoError::RateLimited`] if the
    /// bucket has no room within a minute.
    pub async fn process(&self, lane: Lane, id: ProcessId) -> Result<ProcessState, BrevoError> {
        let call = self.call(CallKind::Process, &format!("/processes/{id}"))?;
        let answer: ProcessAnswer = read(CallKind::Process, &self.send(lane, call).await?)?;
        let status = match answer.status.as_str() {
            "completed" => ProcessStatus::Completed,
            "failed" => ProcessStatus::Failed,
            "cancelled" => ProcessStatus::Cancelled,
            _ => ProcessStatus::Running,
        };
        let files = answer.info.map(|info| info.import).unwrap_or_default();
        let problem_files = files.iter().filter_map(|(kind, url)| {
            let url = Url::parse(url.as_str()?).ok()?;
            Some(ProblemFile { kind: problem_kind(kind), url })
        });
        Ok(ProcessState { status, problem_files: problem_files.collect() })
    }

    /// Who stands in a file of rows that were not taken: addresses in lower case, or the first cell
    /// of rows without one.
    ///
    /// # Errors
    ///
    /// [`BrevoError::Unusable`] for a file that is neither on Brevo's API host nor behind HTTPS.
    pub async fn problem_rows(&self, lane: Lane, url: &Url) -> Result<Vec<String>, BrevoError> {
        if url.scheme() != "https" && url.origin() != self.base_url().origin() {
            let text = "brevo names a file that is neither on its own host nor behind https";
            return Err(BrevoError::Unusable(text.into()));
        }
        let content_type = "text/csv";
        let call = Call { kind: CallKind::File, url: url.clone(), body: None, content_type };
        Ok(parse_problem_rows(&self.send(lane, call).await?.body))
    }
}

fn problem_kind(name: &str) -> ProblemKind {
    match name {
        "invalid_emails" => ProblemKind::InvalidEmail,
        "duplicate_email_id" => ProblemKind::Duplicate("EMAIL"),
        "duplicate_phone_id" => ProblemKind::Duplicate("SMS"),
        "duplicate_whatsapp_id" => ProblemKind::Duplicate("WHATSAPP"),
        "duplicate_landline_number_id" => ProblemKind::Duplicate("LANDLINE_NUMBER"),
        "duplicate_ext_id" => ProblemKind::Duplicate("EXT_ID"),
        "duplicate_contact_id" => ProblemKind::Duplicate("ID"),
        other => ProblemKind::Other(other.to_owned()),
    }
}
