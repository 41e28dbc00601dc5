//! Companies on their way to Brevo, by a worker of their own: Brevo allows a hundred calls an hour for
//! all that is no contact, so a few changes are single calls, many are one import, and what is as it
//! should be is no call at all.
//!
//! Brevo knows no key of ours for a company. Each bears Intercom's id as an attribute ([`MARKER`]), by
//! which one whose creation was not heard of is found again, so that a crash makes no twin.

mod account;
mod derive;
mod file;
mod links;
mod read_back;
mod write;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use account::CompanyAccount;
use derive::Want;
pub(super) use read_back::wait_for_end as wait_for_process;
use tokio::time::Instant;

use super::derive::Footing;
use super::scripts::Claimed;
use super::sink::{GATHER, Sink};
use super::{EngineError, Inner};
use crate::brevo::{BrevoError, ErrorKind};
use crate::http::{Backoff, Lane, random_fraction};
use crate::intercom::normalize;
use crate::model::Timestamp;
use crate::store::{
    Claim, CompanySubject, CompanyWrite, Ending, Outcome, Priority, Resource, Settlement,
};

/// The attribute of Brevo's companies that holds Intercom's id.
pub(super) const MARKER: &str = "intercom_company_id";
/// How many companies a round takes.
const CLAIM: usize = 5_000;
/// How long something may fail before it is given up, in seconds.
const GIVE_UP_AFTER_SECONDS: i64 = 24 * 3_600;

/// Brings companies and their links to Brevo until the engine stops.
pub(crate) async fn deliver(engine: Arc<Inner>) {
    // What an earlier process left out is tried again.
    let mut has_released = false;
    let mut read_back = Instant::now();
    loop {
        let round = match engine.ready_for_companies().await {
            Ok(()) => round(&engine, &mut has_released, &mut read_back).await,
            Err(error) => Err(error),
        };
        let waited = match round {
            Ok(true) => Ok(()),
            Ok(false) => {
                let due = engine.store.next_due(&[Priority::Companies]).await;
                engine.wait_for(&engine.companies, due).await
            }
            Err(EngineError::Stopping) => return,
            Err(error) => {
                engine.note_of(&engine.companies, &error);
                engine.wait(Duration::from_secs(1)).await
            }
        };
        if waited.is_err() || engine.stop.is_cancelled() {
            return;
        }
    }
}

/// Takes what is due a step further; true if there may be more.
async fn round(
    engine: &Inner,
    has_released: &mut bool,
    last_read: &mut Instant,
) -> Result<bool, EngineError> {
    let takes_none = engine.companies.disabled().is_some() && engine.companies.wait().is_some();
    if takes_none {
        *has_released = false;
    } else if !*has_released {
        engine.store.release_companies(engine.clock.now()).await?;
        *has_released = true;
    }
    let found = derive_due(engine, takes_none).await?;
    if takes_none || engine.companies.disabled().is_some() {
        return Ok(found);
    }
    let every = engine.config.load().brevo.read_back_every;
    if every.is_some_and(|every| last_read.elapsed() >= every) {
        *last_read = Instant::now();
        read_back::changes(engine).await?;
    }
    Ok(links::deliver(engine).await? || found)
}

/// Derives companies that are due, and writes what is missing; true if there were any.
async fn derive_due(engine: &Inner, takes_none: bool) -> Result<bool, EngineError> {
    let Some(rules) = engine.rules.current() else { return Ok(false) };
    let waiting = || engine.store.waiting(Priority::Companies, engine.clock.now());
    let enough = |waiting: &u64| *waiting == 0 || *waiting >= CLAIM as u64;
    let reads_companies = || engine.reading.load().as_deref() == Some(&Resource::Companies);
    // Whoever only wants to know writes nothing.
    if engine.gather(GATHER, waiting, enough, reads_companies).await? == 0 {
        return Ok(false);
    }
    let now = engine.clock.now();
    let claims = engine.store.claim(&[Priority::Companies], CLAIM, now).await?;
    if claims.is_empty() {
        return Ok(false);
    }
    let footing = Footing { config: engine.config.load_full(), rules, as_of: now };
    let mut round = Round { engine, open: claims.clone() };
    if let Err(error) = round.run(&footing, claims, takes_none).await {
        round.give_back(&error).await;
        return Err(error);
    }
    Ok(true)
}

/// One round of companies, and the claims whose end is not settled yet.
struct Round<'a> {
    engine: &'a Inner,
    open: Vec<Claim>,
}

/// A company with what should be true of it.
#[derive(Debug)]
struct Wanted {
    claim: Claim,
    subject: CompanySubject,
    want: Want,
}

impl Claimed for (Claim, CompanySubject) {
    fn claim(&self) -> &Claim {
        &self.0
    }
}

impl Round<'_> {
    async fn run(
        &mut self,
        footing: &Footing,
        claims: Vec<Claim>,
        takes_none: bool,
    ) -> Result<(), EngineError> {
        self.read_again(&claims).await?;
        let (endings, wanted) = self.decide(footing, claims).await?;
        self.settle(endings).await?;
        if wanted.is_empty() {
            return Ok(());
        }
        if takes_none {
            return self.withhold(wanted).await;
        }
        match self.write(footing, wanted).await {
            // The plan has no companies: they are left out until it does.
            Err(EngineError::Brevo(error)) if is_unavailable(&error) => {
                self.engine.companies.disable(&error);
                self.withhold_open().await
            }
            written => written,
        }
    }

    /// Reads those again of which two snapshots of one second differ.
    async fn read_again(&self, claims: &[Claim]) -> Result<(), EngineError> {
        let Some(intercom) = self.engine.services.load_full().intercom.clone() else {
            return Ok(());
        };
        for claim in claims.iter().filter(|claim| claim.needs_read) {
            match intercom.company(Lane::Live, &claim.key.id).await {
                Ok(snapshot) => {
                    let now = self.engine.clock.now();
                    self.engine.store.learn(vec![snapshot], Vec::new(), now).await?;
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Runs the rules.
    async fn decide(
        &self,
        footing: &Footing,
        claims: Vec<Claim>,
    ) -> Result<(Vec<Settlement>, Vec<Wanted>), EngineError> {
        let store = &self.engine.store;
        let ids = claims.iter().map(|claim| claim.key.id.clone()).collect();
        let subjects = self.named(store.companies(ids).await?).await?;
        let keys: Vec<_> = claims.iter().map(|claim| claim.key.clone()).collect();
        let journeys = claims.into_iter().zip(subjects).collect();
        let footing = footing.clone();
        let decide = move |(claim, subject)| derive::decide(&footing, claim, subject);
        let decided = self.engine.scripts.run(store, journeys, decide).await?;
        // What follows may wait for an import of half an hour: a crash then is not the scripts'.
        store.evaluated(keys).await?;
        let (mut endings, mut wanted) = (Vec::new(), Vec::new());
        for one in decided {
            match one {
                Ok(one) => wanted.push(one),
                Err(ending) => endings.push(*ending),
            }
        }
        Ok((endings, wanted))
    }

    /// The companies with the names of their tags, which are looked up where they are not known.
    async fn named(
        &self,
        mut subjects: Vec<CompanySubject>,
    ) -> Result<Vec<CompanySubject>, EngineError> {
        let services = self.engine.services.load_full();
        let Some(hydrator) = &services.hydrator else { return Ok(subjects) };
        let mut unnamed = Vec::new();
        for subject in &subjects {
            let live = subject.record.as_ref().filter(|record| record.liveness.is_live());
            let borne = live.map(|record| normalize::company_tag_ids(&record.body));
            unnamed
                .extend(borne.into_iter().flatten().filter(|tag| !subject.tags.contains_key(tag)));
        }
        if hydrator.look_up_tags(Lane::Live, &unnamed).await? {
            let ids = subjects.into_iter().map(|subject| subject.id).collect();
            subjects = self.engine.store.companies(ids).await?;
            // What another name of a known tag makes dirty waits in the bulk lane.
            self.engine.bulk_work.notify_one();
        }
        Ok(subjects)
    }

    /// Leaves companies out until Brevo takes them.
    async fn withhold(&mut self, wanted: Vec<Wanted>) -> Result<(), EngineError> {
        let endings = wanted.into_iter().map(|one| withheld(one.claim)).collect();
        self.settle(endings).await
    }

    async fn withhold_open(&mut self) -> Result<(), EngineError> {
        let endings = self.open.clone().into_iter().map(withheld).collect();
        self.settle(endings).await
    }

    async fn settle(&mut self, endings: Vec<Settlement>) -> Result<(), EngineError> {
        if endings.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = endings.iter().map(|ending| ending.claim.key.clone()).collect();
        self.engine.store.settle(endings, self.engine.clock.now()).await?;
        self.open.retain(|claim| !keys.contains(&claim.key));
        Ok(())
    }

    /// Gives claims back that a failure of the whole round left open.
    async fn give_back(&mut self, error: &EngineError) {
        let now = self.engine.clock.now();
        let wait = match error {
            EngineError::Brevo(BrevoError::RateLimited { retry_after }) => retry_after.as_secs(),
            _ => 1,
        };
        let at = now.plus(wait.max(1).cast_signed());
        let retry =
            |claim| Settlement::new(claim, Ending::Retry { at, cursor: None, counts: false });
        let endings = std::mem::take(&mut self.open).into_iter().map(retry).collect();
        if let Err(error) = self.engine.store.settle(endings, now).await {
            // The claims are freed at the next start at the latest.
            tracing::error!("claims cannot be given back: {error}");
        }
    }
}

fn withheld(claim: Claim) -> Settlement {
    let ending = Ending::Done { outcome: Outcome::Skipped, due_again: None };
    Settlement { company: Some(CompanyWrite::Withhold), ..Settlement::new(claim, ending) }
}

/// True of what says that this account has no companies at all: its plan, or its API.
fn is_unavailable(error: &BrevoError) -> bool {
    match error {
        BrevoError::Forbidden { .. } | BrevoError::NotFound { .. } => true,
        BrevoError::Malformed { reason, .. } => reason.starts_with("404"),
        BrevoError::Invalid { status, .. } => *status == 405,
        _ => false,
    }
}

/// When to try again what failed, or its end if it has failed for a day.
fn retry(claim: &Claim, error: &BrevoError, now: Timestamp, counts: bool) -> Ending {
    let failing = claim.failing_since.map(|since| now.seconds() - since.seconds());
    if counts && failing.is_some_and(|seconds| seconds > GIVE_UP_AFTER_SECONDS) {
        return Ending::Dead(crate::store::Cause {
            kind: "expired",
            message: format!("it failed for a day: {error}"),
            ..Default::default()
        });
    }
    let asked = match error {
        BrevoError::RateLimited { retry_after } => Some(*retry_after),
        _ => None,
    };
    let wait = Backoff::default().delay(claim.attempts, asked, random_fraction());
    Ending::Retry { at: now.plus(wait.as_secs().max(1).cast_signed()), cursor: None, counts }
}

impl Inner {
    /// Waits while Brevo as a whole cannot be written to, or this sink was asked to wait. A sink that
    /// is left alone for long is no reason to wait: what waits for it is left out.
    async fn ready_for_companies(&self) -> Result<(), EngineError> {
        loop {
            self.wait_for_gate().await?;
            let Some(wait) = self.companies.wait() else { return Ok(()) };
            if self.companies.disabled().is_some() {
                return Ok(());
            }
            tokio::select! {
                waited = self.wait(wait) => waited?,
                () = self.companies.woken() => {}
            }
        }
    }

    /// Remembers why something cannot be brought to Brevo: of the key for everything, else for this
    /// sink alone.
    pub(super) fn note_of(&self, sink: &Sink, error: &EngineError) {
        match error {
            EngineError::Brevo(error @ BrevoError::Unauthorized { .. }) => self.gate.note(error),
            EngineError::Brevo(error @ BrevoError::Forbidden { .. }) => sink.disable(error),
            EngineError::Brevo(error) if error.kind() == ErrorKind::Transient => sink.fail(error),
            EngineError::Brevo(error) => sink.fail(error),
            error => self.note(error),
        }
    }
}
