//! What Brevo holds of companies: listed, taken over, and waited for after imports.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::brevo::{
    BrevoCompany, BrevoError, CompaniesQuery, CompanyImport, ErrorKind, ProcessId, ProcessStatus,
};
use crate::engine::{EngineError, Inner};
use crate::http::Lane;
use crate::model::{AttributeValue, RecordId, Timestamp};
use crate::store::FoundCompany;

/// The fact that all companies were listed once: what is ours is known since.
const LISTED: &str = "companies_listed";
/// The fact up to when changes were read.
const READ_UP_TO: &str = "companies_read_up_to";
/// The fact that holds an import from before its call until its end.
const IMPORT: &str = "companies_import";
/// Clocks differ, and reads trail writes.
const MARGIN_SECONDS: i64 = 120;
/// How often the end of an import is asked for, each time after twice the wait, up to a minute.
const POLLS: usize = 30;
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often what an import made is looked for.
const LOOKS: usize = 4;

/// An import that was begun.
#[derive(Debug, Serialize, Deserialize)]
struct OpenImport {
    started: i64,
    /// None: the answer was not heard.
    process: Option<i64>,
}

/// True once all companies of the account were listed.
pub(super) async fn has_listed(engine: &Inner) -> Result<bool, EngineError> {
    Ok(engine.store.fact(LISTED).await?.is_some())
}

/// Lists companies and takes over those that bear an id of ours; answers how many those are.
pub(super) async fn list(
    engine: &Inner,
    lane: Lane,
    marker: &str,
    query: &CompaniesQuery,
) -> Result<Vec<BrevoCompany>, EngineError> {
    let brevo = engine.services.load_full().brevo.clone();
    let listed = brevo.companies(lane, query).await?;
    engine.companies.succeed();
    let found = |company: &BrevoCompany| {
        let id = match company.attributes.get(marker)? {
            AttributeValue::Text(id) => id.parse().ok()?,
            _ => return None,
        };
        let (brevo, held) = (company.id.clone(), company.attributes.clone());
        Some(FoundCompany { id, brevo, held, contacts: company.contacts.clone() })
    };
    let found: Vec<FoundCompany> = listed.iter().filter_map(found).collect();
    if !found.is_empty() {
        engine.store.adopt_companies(found, engine.clock.now()).await?;
    }
    Ok(listed)
}

/// Lists what changed since a time, or everything.
pub(super) async fn since(
    engine: &Inner,
    lane: Lane,
    marker: &str,
    since: Option<Timestamp>,
) -> Result<Vec<BrevoCompany>, EngineError> {
    let began = engine.clock.now();
    let modified_since = since.map(|since| since.plus(-MARGIN_SECONDS));
    let query = CompaniesQuery { modified_since, ..CompaniesQuery::default() };
    let listed = list(engine, lane, marker, &query).await?;
    if since.is_none() {
        engine.store.put_fact(LISTED, began.seconds().to_string()).await?;
        engine.store.put_fact(READ_UP_TO, began.seconds().to_string()).await?;
    }
    Ok(listed)
}

/// Reads what changed since the last time; what others changed of ours is derived again.
pub(super) async fn changes(engine: &Inner) -> Result<(), EngineError> {
    let Some(text) = engine.store.fact(READ_UP_TO).await? else { return Ok(()) };
    let began = engine.clock.now();
    let marker = engine.services.load_full().companies.marker();
    let up_to = Timestamp::from_seconds(text.parse().unwrap_or_default());
    since(engine, Lane::Bulk, &marker, Some(up_to)).await?;
    engine.store.put_fact(READ_UP_TO, began.seconds().to_string()).await?;
    Ok(())
}

/// Makes an import, from its durable intent to its end.
pub(super) async fn import(
    engine: &Inner,
    lane: Lane,
    file: &str,
    kind: CompanyImport,
) -> Result<(), EngineError> {
    let started = engine.clock.now();
    note(engine, Some(OpenImport { started: started.seconds(), process: None })).await?;
    let brevo = engine.services.load_full().brevo.clone();
    let process = match brevo.import_companies(lane, file, kind).await {
        Ok(process) => process,
        Err(error) => {
            if !error.outcome_unknown() {
                note(engine, None).await?;
            }
            return Err(error.into());
        }
    };
    let open = OpenImport { started: started.seconds(), process: Some(process.0) };
    note(engine, Some(open)).await?;
    wait_for_end(engine, lane, process).await?;
    note(engine, None).await
}

async fn note(engine: &Inner, open: Option<OpenImport>) -> Result<(), EngineError> {
    let text = open.map(|open| serde_json::json!(open).to_string()).unwrap_or_default();
    Ok(engine.store.put_fact(IMPORT, text).await?)
}

/// Finds out what became of an import whose end is not known, before anything else is made.
pub(super) async fn recover(engine: &Inner, lane: Lane) -> Result<(), EngineError> {
    let text = engine.store.fact(IMPORT).await?.unwrap_or_default();
    let Ok(open) = serde_json::from_str::<OpenImport>(&text) else { return Ok(()) };
    match open.process {
        Some(process) => {
            wait_for_end(engine, lane, ProcessId(process)).await?;
        }
        None => wait_until_idle(engine, lane).await?,
    }
    let marker = engine.services.load_full().companies.marker();
    since(engine, lane, &marker, Some(Timestamp::from_seconds(open.started))).await?;
    note(engine, None).await
}

/// Lists what changed until all of `new` are there, or they were looked for long enough; answers how
/// many companies were shown.
pub(super) async fn until_shown(
    engine: &Inner,
    lane: Lane,
    marker: &str,
    started: Timestamp,
    new: &[RecordId],
) -> Result<usize, EngineError> {
    let mut shown = 0;
    for wait in waits().take(LOOKS) {
        shown = since(engine, lane, marker, Some(started)).await?.len();
        let known = engine.store.companies(new.to_vec()).await?;
        if known.iter().all(|subject| subject.known.brevo.is_some()) {
            break;
        }
        engine.wait(wait).await?;
    }
    Ok(shown)
}

/// Waits until a process has ended, asking sparingly: it is one of a hundred calls an hour. Answers
/// whether it completed.
pub(in crate::engine) async fn wait_for_end(
    engine: &Inner,
    lane: Lane,
    process: ProcessId,
) -> Result<bool, EngineError> {
    for wait in waits().take(POLLS) {
        engine.wait(wait).await?;
        let brevo = engine.services.load_full().brevo.clone();
        match brevo.process(lane, process).await {
            Ok(state) if state.status == ProcessStatus::Running => {}
            Ok(state) => {
                let is_complete = state.status == ProcessStatus::Completed;
                if !is_complete {
                    tracing::warn!(import.process = %process, status = ?state.status, "a process of brevo's did not complete");
                }
                return Ok(is_complete);
            }
            Err(BrevoError::NotFound { .. }) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Transient => {}
            // That a process is none is answered with 404 and another code than for other objects.
            Err(BrevoError::Invalid { status: 404, .. }) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
    tracing::warn!(import.process = %process, "a process of brevo's does not end");
    Ok(false)
}

/// Waits until no process of the account runs: the one whose number is not known may be among them.
async fn wait_until_idle(engine: &Inner, lane: Lane) -> Result<(), EngineError> {
    for wait in waits().take(POLLS) {
        engine.wait(wait).await?;
        let brevo = engine.services.load_full().brevo.clone();
        match brevo.is_processing(lane).await {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) if error.kind() == ErrorKind::Transient => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// How long to wait before each look: twice as long each time, up to a minute.
fn waits() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(FIRST_WAIT), |wait| Some((*wait * 2).min(LONGEST_WAIT)))
}
