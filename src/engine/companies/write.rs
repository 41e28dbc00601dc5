//! What is missing of companies, written: singly where it is little, by one import where it is much.

use std::collections::BTreeMap;

use super::account::{CompanyCatalogue, fit};
use super::derive::{Values, Want};
use super::file::{self, Row};
use super::{Round, Wanted, read_back, retry};
use crate::brevo::{BrevoClient, BrevoError, CompaniesQuery, CompanyImport, ErrorKind};
use crate::engine::EngineError;
use crate::engine::derive::Footing;
use crate::http::Lane;
use crate::model::{
    AttributeIntent, AttributeValue, CompanyChange, CompanyState, RecordId, Timestamp,
    company_difference,
};
use crate::store::{
    Cause, Claim, CompanySubject, CompanyWrite, Ending, KnownCompany, Outcome, Settlement,
};
use crate::telemetry;

/// Up to this many companies are written, or looked for, one by one.
pub(super) const FEW: usize = 5;
/// How long Brevo is given to show a company whose creation was not heard of.
const LOOK_AFTER_SECONDS: i64 = 10;

/// A company with what has to be written.
#[derive(Debug)]
struct Planned {
    claim: Claim,
    id: RecordId,
    known: KnownCompany,
    action: Action,
    /// Where each value was decided, by its name in Brevo.
    origins: BTreeMap<String, String>,
    rule_set: Option<String>,
    due_again: Option<Timestamp>,
}

#[derive(Debug)]
enum Action {
    Write(CompanyChange),
    Delete,
}

impl Round<'_> {
    pub(super) async fn write(
        &mut self,
        footing: &Footing,
        wanted: Vec<Wanted>,
    ) -> Result<(), EngineError> {
        let services = self.engine.services.load_full();
        let lane = if wanted.len() <= FEW { Lane::Live } else { Lane::Bulk };
        read_back::recover(self.engine, lane).await?;
        let values: Vec<&Values> = wanted.iter().filter_map(Wanted::values).collect();
        let may_create = footing.config.brevo.create_attributes;
        let catalogue = services.companies.ensure(lane, may_create, &values).await?;
        let wanted = self.find(lane, &catalogue, wanted).await?;
        let (mut planned, mut endings) = (Vec::new(), Vec::new());
        let mut has_misfits = false;
        for one in wanted {
            match plan(&catalogue, one, &mut has_misfits) {
                Ok(one) => planned.push(one),
                Err(ending) => endings.push(*ending),
            }
        }
        if has_misfits {
            // Somebody may have mended it in Brevo by the next time.
            services.companies.refresh_soon();
        }
        self.settle(endings).await?;
        let (many, mut single): (Vec<_>, Vec<_>) =
            planned.into_iter().partition(Planned::is_importable);
        if many.len() > FEW {
            single.extend(self.import(lane, many).await?);
        } else {
            single.extend(many);
        }
        for one in single {
            let ending = self.write_one(&services.brevo, lane, one).await?;
            self.settle(vec![ending]).await?;
        }
        Ok(())
    }

    /// Looks in Brevo for companies that are not known to be there: all of them once, later only those
    /// whose creation was not heard of.
    async fn find(
        &mut self,
        lane: Lane,
        catalogue: &CompanyCatalogue,
        wanted: Vec<Wanted>,
    ) -> Result<Vec<Wanted>, EngineError> {
        let now = self.engine.clock.now();
        let has_listed = read_back::has_listed(self.engine).await?;
        let is_unknown = |one: &Wanted| one.subject.known.brevo.is_none() && one.values().is_some();
        let is_young = |one: &Wanted| {
            let at = one.subject.known.intended.map(|at| at.plus(LOOK_AFTER_SECONDS));
            at.filter(|at| is_unknown(one) && *at > now)
        };
        let (young, wanted): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|one| is_young(one).is_some());
        let later = young.into_iter().map(|one| {
            let at = is_young(&one).unwrap_or(now);
            Settlement::new(one.claim, Ending::Retry { at, cursor: None, counts: false })
        });
        self.settle(later.collect()).await?;
        let sought: Vec<&Wanted> = wanted
            .iter()
            .filter(|one| is_unknown(one))
            .filter(|one| !has_listed || one.subject.known.intended.is_some())
            .collect();
        if sought.is_empty() {
            return Ok(wanted);
        }
        if sought.len() <= FEW {
            for one in &sought {
                let value = one.subject.id.to_string();
                let attribute = Some((catalogue.marker().to_owned(), value));
                let query = CompaniesQuery { attribute, ..CompaniesQuery::default() };
                read_back::list(self.engine, lane, catalogue.marker(), &query).await?;
            }
        } else {
            let since = sought.iter().filter_map(|one| one.subject.known.intended).min();
            let since = since.filter(|_| has_listed);
            read_back::since(self.engine, lane, catalogue.marker(), since).await?;
        }
        self.reload(wanted).await
    }

    async fn reload(&self, wanted: Vec<Wanted>) -> Result<Vec<Wanted>, EngineError> {
        let ids = wanted.iter().map(|one| one.subject.id.clone()).collect();
        let subjects = self.engine.store.companies(ids).await?;
        let known = |(one, subject): (Wanted, CompanySubject)| Wanted {
            subject: CompanySubject { known: subject.known, ..one.subject },
            ..one
        };
        Ok(wanted.into_iter().zip(subjects).map(known).collect())
    }

    /// Writes many at once, and answers those of which something is missing afterwards.
    async fn import(
        &mut self,
        lane: Lane,
        planned: Vec<Planned>,
    ) -> Result<Vec<Planned>, EngineError> {
        let engine = self.engine;
        let new: Vec<RecordId> = planned
            .iter()
            .filter(|one| one.known.brevo.is_none())
            .map(|one| one.id.clone())
            .collect();
        let rows: Vec<Row<'_>> = planned
            .iter()
            .filter_map(|one| match &one.action {
                Action::Write(change) => {
                    Some(Row { brevo: one.known.brevo.as_deref(), values: &change.set })
                }
                Action::Delete => None,
            })
            .collect();
        let files = file::files(&rows)?;
        let started = engine.clock.now();
        engine.store.intend_companies(new.clone(), started).await?;
        for (text, rows) in &files {
            tracing::info!(rows, "companies are imported");
            read_back::import(engine, lane, text, CompanyImport::Write).await?;
        }
        engine.companies.succeed();
        let catalogue_marker = engine.services.load_full().companies.marker();
        let found = read_back::until_shown(engine, lane, &catalogue_marker, started, &new).await?;
        tracing::debug!(found, rows = planned.len(), "an import of companies is read back");
        let ids = planned.iter().map(|one| one.id.clone()).collect();
        let subjects = engine.store.companies(ids).await?;
        let (mut endings, mut rest) = (Vec::new(), Vec::new());
        for (one, subject) in planned.into_iter().zip(subjects) {
            match one.confirmed(subject.known) {
                Ok(ending) => endings.push(*ending),
                Err(one) => rest.push(*one),
            }
        }
        self.settle(endings).await?;
        Ok(rest)
    }

    /// Makes the calls for one company. A failure that is not its own ends the round.
    async fn write_one(
        &self,
        brevo: &BrevoClient,
        lane: Lane,
        one: Planned,
    ) -> Result<Settlement, EngineError> {
        let written = match (&one.action, one.known.brevo.as_deref()) {
            (Action::Delete, Some(id)) => {
                brevo.delete_company(lane, id).await.map(|_| CompanyWrite::Forget)
            }
            (Action::Delete, None) => Ok(CompanyWrite::Forget),
            (Action::Write(change), Some(id)) => {
                let answer = brevo.update_company(lane, id, &change.values()).await;
                answer.map(|held| one.put(id, change, held.map(|company| company.attributes)))
            }
            (Action::Write(change), None) => {
                let now = self.engine.clock.now();
                self.engine.store.intend_companies(vec![one.id.clone()], now).await?;
                let name = change.set.get("name").map(ToString::to_string).unwrap_or_default();
                let created = brevo.create_company(lane, &name, &change.set).await;
                created.map(|id| {
                    let state = CompanyState { created: true, ..CompanyState::default() };
                    let state = state.after(change);
                    CompanyWrite::Put(Box::new(KnownCompany {
                        brevo: Some(id),
                        state,
                        intended: None,
                    }))
                })
            }
        };
        match written {
            Ok(write) => {
                self.engine.companies.succeed();
                Ok(one.ended(Outcome::Applied, Some(write)))
            }
            Err(error) => self.failed(one, error).await,
        }
    }

    /// How a company ends whose write failed.
    async fn failed(&self, one: Planned, error: BrevoError) -> Result<Settlement, EngineError> {
        let creates = one.known.brevo.is_none();
        // It is certain that nothing was made.
        let nothing_made = || CompanyWrite::Put(Box::default());
        let now = self.engine.clock.now();
        match error.kind() {
            ErrorKind::Permanent if matches!(error, BrevoError::NotFound { .. }) && !creates => {
                // Somebody deleted it. It is made anew, since Intercom still has it.
                let ending = Ending::Retry { at: now, cursor: None, counts: true };
                let company = Some(CompanyWrite::Forget);
                Ok(Settlement { company, ..Settlement::new(one.claim, ending) })
            }
            ErrorKind::Permanent => {
                self.engine.companies.succeed();
                let company = creates.then(nothing_made);
                let cause = one.refused(&error);
                Ok(Settlement { company, ..Settlement::new(one.claim, Ending::Dead(cause)) })
            }
            ErrorKind::Key => Err(error.into()),
            ErrorKind::Transient => {
                let is_limit = matches!(error, BrevoError::RateLimited { .. });
                // It counts for the company only while the service works for others.
                let counts = !is_limit && self.engine.companies.failures() == 0;
                let company = (creates && !error.outcome_unknown()).then(nothing_made);
                let ending = retry(&one.claim, &error, now, counts);
                let settlement = Settlement { company, ..Settlement::new(one.claim, ending) };
                self.engine.store.settle(vec![settlement], now).await?;
                Err(error.into())
            }
        }
    }
}

impl Wanted {
    fn values(&self) -> Option<&Values> {
        match &self.want {
            Want::Values(values) => Some(values),
            Want::Gone { .. } => None,
        }
    }
}

/// What is missing for a company to be as decided; or its end, if nothing is.
fn plan(
    catalogue: &CompanyCatalogue,
    wanted: Wanted,
    has_misfits: &mut bool,
) -> Result<Planned, Box<Settlement>> {
    let due_again = wanted.want.due_again();
    let Wanted { claim, subject: CompanySubject { id, known, .. }, want } = wanted;
    let mut planned = Planned {
        claim,
        id,
        known,
        action: Action::Delete,
        origins: BTreeMap::new(),
        rule_set: None,
        due_again,
    };
    let Want::Values(values) = want else { return Ok(planned) };
    planned.rule_set = Some(values.rule_set.to_string());
    let mut intents = BTreeMap::new();
    for (name, traced) in values.attributes {
        let origin = traced.origin.to_string();
        let fitting = match (catalogue.find(&name), traced.value) {
            (None, AttributeIntent::Set(_)) => Err(
                "companies of the account have no such attribute: make it in Brevo, or set `connectors.brevo.create_attributes: true`"
                    .to_owned(),
            ),
            (None, _) => continue,
            (Some(known), AttributeIntent::Set(value)) => {
                fit(known, &value).map(|value| (known, AttributeIntent::Set(value)))
            }
            (Some(known), intent) => Ok((known, intent)),
        };
        match fitting {
            Ok((known, intent)) => {
                planned.origins.insert(known.name.clone(), origin);
                intents.insert(known.name.clone(), intent);
            }
            Err(reason) => {
                *has_misfits = true;
                left_out(&planned.id, &name, &origin, &reason);
            }
        }
    }
    let marker = AttributeValue::Text(planned.id.to_string());
    intents.insert(catalogue.marker().to_owned(), AttributeIntent::Set(marker));
    let creates = planned.known.brevo.is_none();
    if creates && !matches!(intents.get("name"), Some(AttributeIntent::Set(_))) {
        let cause = planned.nameless();
        return Err(Box::new(Settlement::new(planned.claim, Ending::Dead(cause))));
    }
    let nothing = CompanyState::default();
    let state = if creates { &nothing } else { &planned.known.state };
    let change = company_difference(&intents, state);
    if change.is_empty() {
        return Err(Box::new(planned.ended(Outcome::Unchanged, None)));
    }
    planned.action = Action::Write(change);
    Ok(planned)
}

fn left_out(company: &RecordId, attribute: &str, origin: &str, reason: &str) {
    metrics::counter!(telemetry::VALUES_LEFT_OUT.name).increment(1);
    tracing::warn!(
        company.id = %company,
        attribute.name = attribute,
        origin,
        "a value was left out, the rest is written: {reason}"
    );
}

impl Planned {
    fn is_importable(&self) -> bool {
        match &self.action {
            Action::Write(change) => change.clear.is_empty() && file::is_importable(&change.set),
            Action::Delete => false,
        }
    }

    /// The state once a change was written to the company `id`, and Brevo answered what it holds.
    fn put(
        &self,
        id: &str,
        change: &CompanyChange,
        held: Option<crate::model::CompanyValues>,
    ) -> CompanyWrite {
        let state = match held {
            Some(held) => {
                let (state, refused) = self.known.state.confirmed(change, held);
                for name in refused {
                    let origin = self.origins.get(&name).map(String::as_str).unwrap_or_default();
                    let reason = "brevo did not take it; check the type of the attribute";
                    left_out(&self.id, &name, origin, reason);
                }
                state
            }
            None => self.known.state.after(change),
        };
        let brevo = Some(id.to_owned());
        CompanyWrite::Put(Box::new(KnownCompany { brevo, state, intended: None }))
    }

    /// The end of a company whose import is there; else what is still missing of it.
    fn confirmed(self, known: KnownCompany) -> Result<Box<Settlement>, Box<Self>> {
        let Action::Write(change) = &self.action else { return Err(Box::new(self)) };
        let wanted = |(name, value): (&String, &AttributeValue)| {
            (name.clone(), AttributeIntent::Set(value.clone()))
        };
        let intents: BTreeMap<String, AttributeIntent> = change.set.iter().map(wanted).collect();
        let missing = company_difference(&intents, &known.state);
        if known.brevo.is_some() && missing.is_empty() {
            let state =
                CompanyState { held: known.state.held.clone(), ..known.state.after(change) };
            let write = CompanyWrite::Put(Box::new(KnownCompany { state, ..known }));
            return Ok(Box::new(self.ended(Outcome::Applied, Some(write))));
        }
        let action = Action::Write(missing);
        Err(Box::new(Self { known, action, ..self }))
    }

    fn ended(self, outcome: Outcome, company: Option<CompanyWrite>) -> Settlement {
        let ending = Ending::Done { outcome, due_again: self.due_again };
        Settlement { company, ..Settlement::new(self.claim, ending) }
    }

    fn nameless(&self) -> Cause {
        Cause {
            kind: "identity",
            message: "brevo makes no company without a name: set `brevo.name` in `map_company`, or skip it"
                .to_owned(),
            rule_set: self.rule_set.clone(),
            ..Cause::default()
        }
    }

    /// The line to blame is the one that decided the value that Brevo names, if it names one.
    fn refused(&self, error: &BrevoError) -> Cause {
        tracing::warn!(company.id = %self.id, "brevo refuses a company; it is a dead letter: {error}");
        let text = error.to_string();
        let named = self.origins.iter().find(|(name, _)| text.contains(name.as_str()));
        let origin = named.or_else(|| self.origins.get_key_value("name"));
        Cause {
            kind: "refused",
            message: text.clone(),
            origin: origin.map(|(_, origin)| origin.clone()),
            response: Some(text),
            request: None,
            rule_set: self.rule_set.clone(),
        }
    }
}
