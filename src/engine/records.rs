//! Records that are no contacts: derived by rules of their own, and settled with what they gave off.
//!
//! Their journey is short, since nothing of it is written to Brevo by the claim itself: load, complete,
//! decide, settle. What was tracked becomes events in the transaction of the settlement, what was said of
//! contacts is laid over those contacts' own decisions, and objects go to their sink.

use std::collections::HashMap;
use std::sync::Arc;

use super::derive::{self, Footing};
use super::pipeline::Round;
use super::scripts::Claimed;
use super::{EngineError, assemble};
use crate::model::{
    Digest, Emission, EventPerson, Origin, Record, RecordId, RecordKey, RecordKind, Source, Verdict,
};
use crate::rules::{RecordInput, RuleSet, ScriptError};
use crate::store::{
    Claim, Derivation, Emitted, Ending, Outcome, RecordSubject, Settlement, Subject, SubjectQuery,
    Task,
};

/// How many records are derived at a time; bounds memory.
const CHUNK: usize = 200;

/// A claim on a record with all that its derivation needs.
#[derive(Debug)]
pub(super) struct RecordJourney {
    pub(super) claim: Claim,
    pub(super) subject: RecordSubject,
    /// The contacts that it is about, as far as they are known.
    pub(super) contacts: Vec<Subject>,
}

impl Claimed for RecordJourney {
    fn claim(&self) -> &Claim {
        &self.claim
    }
}

/// Which record a task derives; none: it is no task of this kind.
pub(super) fn key_of(claim: &Claim) -> Option<RecordKey> {
    let kind = match claim.key.task {
        Task::Conversation => RecordKind::Conversation,
        Task::Event => RecordKind::Event,
        Task::OptOut
        | Task::Contact
        | Task::Company
        | Task::Members
        | Task::Bearers
        | Task::BrevoContact
        | Task::TellIntercom => return None,
    };
    Some(RecordKey { kind, id: claim.key.id.clone() })
}

impl Round<'_> {
    /// Derives records and settles them.
    pub(super) async fn derive_records(&mut self, claims: Vec<Claim>) -> Result<(), EngineError> {
        if claims.is_empty() {
            return Ok(());
        }
        let footing = self.footing()?;
        for chunk in claims.chunks(CHUNK) {
            let journeys = self.load_records(chunk).await?;
            let endings = self.decide_records(&footing, journeys).await?;
            for emitted in endings.iter().filter_map(|ending| ending.emission.as_ref()) {
                self.engine.unserved.note_emission(&emitted.emission);
            }
            self.settle(endings).await?;
        }
        Ok(())
    }

    async fn load_records(&self, claims: &[Claim]) -> Result<Vec<RecordJourney>, EngineError> {
        let store = &self.engine.store;
        if let Some(hydrator) = &self.services.hydrator {
            for claim in claims.iter().filter(|claim| claim.needs_read) {
                if claim.key.task == Task::Conversation {
                    hydrator.read_conversation(self.lane, &claim.key.id).await?;
                    // What it says of its contacts makes them dirty, in the bulk lane.
                    self.engine.bulk_work.notify_one();
                }
            }
        }
        let keys = claims.iter().filter_map(key_of).collect();
        let subjects = store.record_subjects(keys).await?;
        let mut wanted: Vec<RecordId> =
            subjects.iter().flat_map(|subject| subject.contacts.iter().cloned()).collect();
        wanted.sort();
        wanted.dedup();
        let contacts = self.contacts_of_records(wanted).await?;
        let journeys = claims.iter().zip(subjects).map(|(claim, subject)| {
            let known = subject.contacts.iter().filter_map(|id| contacts.get(id).cloned());
            RecordJourney { claim: claim.clone(), contacts: known.collect(), subject }
        });
        Ok(journeys.collect())
    }

    /// Loads contacts that records name, and fetches those that the store lacks: a conversation names
    /// ids only.
    async fn contacts_of_records(
        &self,
        wanted: Vec<RecordId>,
    ) -> Result<HashMap<RecordId, Subject>, EngineError> {
        let store = &self.engine.store;
        let queries = |ids: &[RecordId]| ids.iter().cloned().map(SubjectQuery::from).collect();
        let mut subjects = store.subjects(queries(&wanted)).await?;
        let unknown: Vec<RecordId> = subjects
            .iter()
            .filter(|subject| subject.record.is_none())
            .map(|subject| subject.id.clone())
            .collect();
        if let Some(hydrator) = &self.services.hydrator
            && !unknown.is_empty()
        {
            let mut found = Vec::new();
            for id in unknown {
                if hydrator.read_contact(self.lane, &id).await? {
                    found.push(id);
                }
            }
            if !found.is_empty() {
                // They are dirty now, in the bulk lane.
                self.engine.bulk_work.notify_one();
                subjects.extend(store.subjects(queries(&found)).await?);
            }
        }
        Ok(subjects.into_iter().map(|subject| (subject.id.clone(), subject)).collect())
    }

    async fn decide_records(
        &self,
        footing: &Footing,
        mut journeys: Vec<RecordJourney>,
    ) -> Result<Vec<Settlement>, EngineError> {
        // What they track is sent in the order in which it is settled: that in which it happened,
        // whichever thread is done first.
        let happened = |journey: &RecordJourney| {
            let at = journey.subject.record.as_ref().map(|record| record.version.at);
            (at, journey.claim.token)
        };
        journeys.sort_by_key(happened);
        let places = journeys.iter().enumerate();
        let places: HashMap<_, _> =
            places.map(|(place, journey)| (journey.claim.token, place)).collect();
        let footing = footing.clone();
        let decide = move |journey| decide(&footing, journey);
        let mut endings = self.engine.scripts.run(&self.engine.store, journeys, decide).await?;
        endings.sort_by_key(|ending| places.get(&ending.claim.token).copied());
        Ok(endings)
    }
}

/// What the rules say of a record, as the end of its claim. Pure.
fn decide(footing: &Footing, journey: RecordJourney) -> Settlement {
    let RecordJourney { claim, subject, contacts } = journey;
    let Some(record) = subject.record.clone() else {
        return ended(claim, Outcome::Ignored);
    };
    if !record.liveness.is_live() {
        return gone(footing, claim, &record);
    }
    let is_event = record.key.kind == RecordKind::Event;
    if is_event && subject.contacts.is_empty() && EventPerson::of(&record.body).is_some() {
        // It waits until its person is known.
        return ended(claim, Outcome::Ignored);
    }
    let input = RecordInput {
        key: record.key.clone(),
        record: Arc::new(assemble::record(&subject, &record, &contacts)),
        as_of: footing.as_of,
    };
    match ask(&footing.rules, &input) {
        Ok(emission) => emitted(footing, claim, &subject, &record, emission),
        Err(error) => *derive::broken(claim, &footing.rules, &error, footing.as_of),
    }
}

fn ask(rules: &RuleSet, input: &RecordInput) -> Result<Emission, ScriptError> {
    match input.key.kind {
        RecordKind::Event => rules.decide_event(input),
        _ => rules.decide_conversation(input),
    }
}

/// The end of a record of which the rules said something.
fn emitted(
    footing: &Footing,
    claim: Claim,
    subject: &RecordSubject,
    record: &Record,
    mut emission: Emission,
) -> Settlement {
    let is_skipped = matches!(emission.verdict, Verdict::Skip { .. });
    let outcome = match (is_skipped, &emission.verdict_origin) {
        (false, _) => Outcome::Applied,
        (true, Some(Origin { .. })) => Outcome::Skipped,
        // There is no rule for it.
        (true, None) => Outcome::Ignored,
    };
    if is_skipped {
        emission.contacts.clear();
        emission.events.clear();
        emission.objects.clear();
    }
    let ending = Ending::Done { outcome, due_again: emission.flips_at };
    let derivation = derivation(footing, subject, record, &emission);
    // What is skipped is left as it is; where there is no rule any more, nothing is said of anybody.
    let emission = (outcome != Outcome::Skipped)
        .then(|| Box::new(Emitted { emission, at: record.version.at }));
    let derivation = Some(Box::new(derivation));
    Settlement { derivation, emission, ..Settlement::new(claim, ending) }
}

/// The end of a record that is gone in Intercom: nothing that it said of contacts holds any longer.
fn gone(footing: &Footing, claim: Claim, record: &Record) -> Settlement {
    let version = footing.rules.version().clone();
    let emission = Emission::new(record.key.clone(), version, footing.as_of);
    let ending = Ending::Done { outcome: Outcome::Applied, due_again: None };
    Settlement {
        emission: Some(Box::new(Emitted { emission, at: record.version.at })),
        ..Settlement::new(claim, ending)
    }
}

/// What is remembered of the derivation. What a conversation went through is part of what was seen: a
/// late notification changes it and leaves the snapshot as it was.
fn derivation(
    footing: &Footing,
    subject: &RecordSubject,
    record: &Record,
    emission: &Emission,
) -> Derivation {
    let mut seen = record.version.digest.as_bytes().to_vec();
    for one in &subject.course {
        seen.extend_from_slice(one.kind.as_str().as_bytes());
        seen.extend_from_slice(&one.at.seconds().to_le_bytes());
    }
    let snapshot =
        if subject.course.is_empty() { record.version.digest } else { Digest::of_bytes(&seen) };
    let happened = match record.version.source {
        Source::Notification => emission.as_of,
        Source::Read { .. } => record.version.at,
    };
    Derivation {
        subject: record.key.clone(),
        // An event that is about nobody is known and goes to nobody.
        contact: subject.contacts.first().cloned().unwrap_or_else(|| record.key.id.clone()),
        rule_set: emission.rule_set.clone(),
        as_of: emission.as_of,
        snapshot,
        happened,
        backfills: footing.config.intercom.backfill_events,
        events: emission.events.clone(),
    }
}

fn ended(claim: Claim, outcome: Outcome) -> Settlement {
    Settlement::new(claim, Ending::Done { outcome, due_again: None })
}
