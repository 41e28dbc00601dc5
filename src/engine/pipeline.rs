//! One record's journey, from claim to settled: load, complete, decide, compare, refresh, write,
//! settle. A station that fails as a whole gives its claims back; what concerns one record ends that
//! record's journey only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::derive::{self, Footing, Journey, Planned, Station};
use super::locks::{Held, LockKey};
use super::resubscribe::Candidate;
use super::writer::{self, Fate, Refusal, Writer};
use super::{EngineError, Inner, Services, guard, records, resolve};
use crate::brevo::{BrevoError, ErrorKind, Identifier};
use crate::http::{Backoff, Lane, random_fraction};
use crate::model::{BrevoContact, Email, RecordId, Timestamp};
use crate::store::{
    Cause, Claim, Ending, MirrorEntry, MirrorWrite, Outcome, Priority, Settlement, Subject,
    SubjectQuery, Task, WorkKey,
};
use crate::telemetry;

/// How many contacts are derived at a time; bounds memory.
const CHUNK: usize = 500;
/// Up to this many contacts are asked for one by one before they are written; more by one read-back.
const FEW: usize = 2;
/// How many contacts of a company are made dirty at a time.
const FAN_OUT: usize = 500;
/// How long something may fail before it is given up, in seconds.
const GIVE_UP_AFTER_SECONDS: i64 = 24 * 3_600;

/// One round of work: some claims and everything that they need.
pub(crate) struct Round<'a> {
    pub(super) engine: &'a Inner,
    pub(super) services: Arc<Services>,
    pub(super) lane: Lane,
    /// When it began to look at what is known.
    began: Timestamp,
    /// Claims whose end is not settled yet.
    open: HashMap<WorkKey, Claim>,
    /// Whose opt-out this round tried to lift.
    lifted: BTreeSet<RecordId>,
}

/// Works on claims until each of them is settled.
pub(crate) async fn work(engine: &Inner, claims: Vec<Claim>, lane: Lane) {
    let open = claims.iter().map(|claim| (claim.key.clone(), claim.clone())).collect();
    let (services, began) = (engine.services.load_full(), engine.clock.now());
    let mut round = Round { engine, services, lane, began, open, lifted: BTreeSet::new() };
    if let Err(error) = round.run(claims).await {
        round.give_back(&error).await;
    }
}

impl Round<'_> {
    async fn run(&mut self, claims: Vec<Claim>) -> Result<(), EngineError> {
        let (opt_outs, rest): (Vec<_>, Vec<_>) =
            claims.into_iter().partition(|claim| claim.key.task == Task::OptOut);
        let (changed, rest): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|claim| claim.key.task == Task::BrevoContact);
        let (told, rest): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|claim| claim.key.task == Task::TellIntercom);
        let (companies, rest): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|claim| claim.key.task == Task::Members);
        let (tags, rest): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|claim| claim.key.task == Task::Bearers);
        let (others, contacts): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|claim| records::key_of(claim).is_some());
        for claim in opt_outs {
            self.opt_out(claim).await?;
        }
        for claim in told {
            self.tell_intercom(claim).await?;
        }
        self.read_changed(changed).await?;
        for claim in companies {
            self.fan_out(claim).await?;
        }
        for claim in tags {
            self.spread_tag(claim).await?;
        }
        self.derive_records(others).await?;
        if contacts.is_empty() {
            return Ok(());
        }
        let claimed = contacts.len();
        let planned = self.derive(contacts).await?;
        tracing::debug!(lane = ?self.lane, claimed, planned = planned.len(), "contacts are derived");
        // While one round of the bulk lane writes, the next one derives.
        let _turn = match self.lane {
            Lane::Bulk => Some(self.engine.bulk_turn.lock().await),
            Lane::Urgent | Lane::Live => None,
        };
        if self.engine.stop.is_cancelled() {
            return Err(EngineError::Stopping);
        }
        let planned = self.refresh(planned).await?;
        let planned = self.untangle_ext_ids(planned).await?;
        let planned = self.untangle_phones(planned).await?;
        let planned = self.guard(planned).await?;
        self.write(planned).await
    }

    /// Keeps back what would be taken away from too many people, and whoever is written to too often.
    async fn guard(&mut self, planned: Vec<Planned>) -> Result<Vec<Planned>, EngineError> {
        let guard::Guarded { planned, endings } = guard::guard(self.engine, planned).await?;
        self.settle(endings).await?;
        Ok(planned)
    }

    /// Blacklists a contact. It asks no rule and waits for no sweep, so that it works while the rules
    /// are broken, while an import runs, and while everything else waits.
    async fn opt_out(&mut self, claim: Claim) -> Result<(), EngineError> {
        let [subject] = &self.subjects(vec![claim.key.id.clone().into()]).await?[..] else {
            return Ok(());
        };
        let mut mirror = Vec::new();
        let left = self.lifts_to_undo(&claim).await?;
        for (identifier, email, sms) in opt_out_targets(subject, &left) {
            let write = writer::opt_out_write(email, sms);
            match self.services.brevo.update(Lane::Urgent, &identifier, &write).await {
                Ok(()) => {
                    self.engine.gate.open();
                    if let Identifier::Id(id) = identifier {
                        mirror.push(MirrorWrite::Blacklist { id, email, sms });
                    }
                }
                // Nobody to blacklist: the ledger sees to it that a later creation carries the flag.
                Err(BrevoError::NotFound { .. }) => {
                    if let Identifier::Id(id) = identifier {
                        let then = self.services.read_back.after_loss;
                        mirror.push(MirrorWrite::Lose { id, then });
                    }
                }
                Err(error) if error.kind() == ErrorKind::Permanent => {
                    let cause =
                        Cause { kind: "refused", message: error.to_string(), ..Cause::default() };
                    return self.settle(vec![Settlement::new(claim, Ending::Dead(cause))]).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let ending = Ending::Done { outcome: Outcome::Applied, due_again: None };
        self.settle(vec![Settlement { mirror, ..Settlement::new(claim, ending) }]).await
    }

    /// Makes the contacts of a company dirty, a batch at a time.
    async fn fan_out(&mut self, claim: Claim) -> Result<(), EngineError> {
        let store = &self.engine.store;
        let contacts =
            store.company_contacts(claim.key.id.clone(), claim.cursor.clone(), FAN_OUT).await?;
        let now = self.engine.clock.now();
        let is_last = contacts.len() < FAN_OUT;
        let cursor = contacts.last().map(ToString::to_string);
        store.rederive(contacts, Priority::Bulk, claim.cause, now).await?;
        self.engine.bulk_work.notify_one();
        let ending = if is_last {
            Ending::Done { outcome: Outcome::Ignored, due_again: None }
        } else {
            Ending::Retry { at: now, cursor, counts: false }
        };
        self.settle(vec![Settlement::new(claim, ending)]).await
    }

    /// Makes dirty what bears a tag that got another name, a page at a time.
    async fn spread_tag(&mut self, claim: Claim) -> Result<(), EngineError> {
        let now = self.engine.clock.now();
        let (tag, from) = (claim.key.id.clone(), claim.cursor.clone());
        let cursor = self.engine.store.spread_tag(tag, from, claim.cause, now).await?;
        self.engine.bulk_work.notify_one();
        let ending = match cursor {
            Some(_) => Ending::Retry { at: now, cursor, counts: false },
            None => Ending::Done { outcome: Outcome::Ignored, due_again: None },
        };
        self.settle(vec![Settlement::new(claim, ending)]).await
    }

    /// Takes claims as far as the difference; what needs no call is settled here.
    async fn derive(&mut self, claims: Vec<Claim>) -> Result<Vec<Planned>, EngineError> {
        let footing = self.footing()?;
        let mut planned = Vec::new();
        for chunk in claims.chunks(CHUNK) {
            let mut journeys = self.load(chunk).await?;
            loop {
                let mut candidates = Vec::new();
                planned.extend(self.derive_chunk(&footing, journeys, &mut candidates).await?);
                if candidates.is_empty() {
                    break;
                }
                // Once an opt-out is lifted the contact is derived as anybody else; a second time in this
                // round it is no candidate.
                let again = self.lift(candidates).await?;
                journeys = self.load(&again).await?;
            }
        }
        Ok(planned)
    }

    /// What this round works with.
    pub(super) fn footing(&self) -> Result<Footing, EngineError> {
        let Some(rules) = self.engine.rules.current() else {
            return Err(EngineError::Unconfigured(
                "no rule set is live: derivation waits for one that loads".to_owned(),
            ));
        };
        let config = self.engine.config.load_full();
        Ok(Footing { config, rules, as_of: self.engine.clock.now() })
    }

    async fn derive_chunk(
        &mut self,
        footing: &Footing,
        journeys: Vec<Journey>,
        candidates: &mut Vec<Candidate>,
    ) -> Result<Vec<Planned>, EngineError> {
        let mut sorted = Sorted::default();
        sorted.take(self.decide(footing, journeys).await?);
        if !sorted.elsewhere.is_empty() {
            let journeys = self.load_elsewhere(std::mem::take(&mut sorted.elsewhere)).await?;
            sorted.take(self.decide(footing, journeys).await?);
        }
        let Sorted { mut endings, decided, elsewhere } = sorted;
        let decided = self.set_aside(decided, candidates).await?;
        endings.extend(elsewhere.into_iter().map(|(journey, _)| undecided(journey)));
        let mut wanted = super::account::Wanted::default();
        for one in &decided {
            if let derive::Wish::Rules(decision) = &one.wish {
                self.engine.unserved.note(decision, footing.config.guards.allow_resubscribe);
                resolve::collect_wanted(&footing.config, decision, &mut wanted);
            }
        }
        let mut planned = Vec::new();
        if !decided.is_empty() {
            let account = self.services.account.ensure(self.lane, &footing.config, &wanted).await?;
            for one in decided {
                let owner = one.owner.clone();
                let mut left_out = Vec::new();
                match derive::compare(&footing.config, &account, one, &mut left_out) {
                    Ok(one) => planned.push(one),
                    Err(settlement) => endings.push(*settlement),
                }
                report(&owner, &left_out);
            }
        }
        self.settle(endings).await?;
        self.obey_numbers(&mut planned).await?;
        Ok(planned)
    }

    /// Sees to it that whoever is to have a number that opted out of SMS is written as opted out.
    async fn obey_numbers(&self, planned: &mut [Planned]) -> Result<(), EngineError> {
        let numbers: Vec<String> = planned.iter().filter_map(derive::number_of).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let out = self.engine.store.suppressed_numbers(numbers).await?;
        for one in planned {
            if derive::number_of(one).is_some_and(|digits| out.contains(&digits)) {
                one.opt_out_of_sms();
            }
        }
        Ok(())
    }

    /// Sets those aside whose opt-out may have to be lifted first; each once in a round.
    async fn set_aside(
        &mut self,
        decided: Vec<derive::Decided>,
        candidates: &mut Vec<Candidate>,
    ) -> Result<Vec<derive::Decided>, EngineError> {
        let mut rest = Vec::new();
        for one in decided {
            match &one.asked {
                Some(asked)
                    if !self.lifted.contains(&one.owner) && self.may_lift(asked).await? =>
                {
                    self.lifted.insert(one.owner.clone());
                    candidates.push(Candidate { claim: one.claim, asked: asked.clone() });
                }
                _ => rest.push(one),
            }
        }
        Ok(rest)
    }

    /// Loads what derivations need, and fetches what is missing.
    async fn load(&self, claims: &[Claim]) -> Result<Vec<Journey>, EngineError> {
        let queries = claims.iter().map(|claim| claim.key.id.clone().into()).collect();
        let subjects = self.subjects(queries).await?;
        let reads: Vec<(Subject, bool)> = subjects
            .into_iter()
            .zip(claims)
            .map(|(subject, claim)| (subject, claim.needs_read))
            .collect();
        let mut changed = BTreeSet::new();
        if let Some(hydrator) = &self.services.hydrator {
            // A sub-list that was read names tags and companies that may have to be read, too.
            changed.extend(hydrator.complete(self.lane, &reads).await?);
            if !changed.is_empty() {
                let again = self
                    .subjects(changed.iter().cloned().map(SubjectQuery::from).collect())
                    .await?;
                let again: Vec<_> = again.into_iter().map(|subject| (subject, false)).collect();
                hydrator.complete(self.lane, &again).await?;
                // What a read showed makes others dirty, in the bulk lane: a company its contacts.
                self.engine.bulk_work.notify_one();
            }
        }
        let mut subjects: HashMap<RecordId, Subject> =
            reads.into_iter().map(|(subject, _)| (subject.id.clone(), subject)).collect();
        let reloaded = self.subjects(changed.into_iter().map(SubjectQuery::from).collect()).await?;
        subjects.extend(reloaded.into_iter().map(|subject| (subject.id.clone(), subject)));
        let journeys = claims.iter().filter_map(|claim| {
            Some(Journey { claim: claim.clone(), subject: subjects.remove(&claim.key.id)? })
        });
        Ok(journeys.collect())
    }

    async fn load_elsewhere(
        &self,
        journeys: Vec<(Journey, Email)>,
    ) -> Result<Vec<Journey>, EngineError> {
        let queries = journeys
            .iter()
            .map(|(journey, address)| SubjectQuery {
                id: journey.subject.id.clone(),
                address: Some(address.clone()),
            })
            .collect();
        let subjects = self.subjects(queries).await?;
        Ok(journeys
            .into_iter()
            .zip(subjects)
            .map(|((journey, _), subject)| Journey { claim: journey.claim, subject })
            .collect())
    }

    /// Loads subjects, with everything known of Brevo's contacts that they concern.
    async fn subjects(&self, queries: Vec<SubjectQuery>) -> Result<Vec<Subject>, EngineError> {
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let subjects = self.engine.store.subjects(queries.clone()).await?;
        let entries =
            subjects.iter().flat_map(|subject| [&subject.owned, &subject.at_address]).flatten();
        let outlines: Vec<i64> = entries
            .filter_map(|entry| match entry {
                MirrorEntry::Outline { id, .. } => Some(*id),
                MirrorEntry::Full(_) => None,
            })
            .collect();
        if outlines.is_empty() {
            return Ok(subjects);
        }
        self.services.read_back.details(self.lane, &outlines).await?;
        Ok(self.engine.store.subjects(queries).await?)
    }

    /// Runs the rules. Each journey is evaluated by exactly the rule set of `footing`.
    async fn decide(
        &self,
        footing: &Footing,
        journeys: Vec<Journey>,
    ) -> Result<Vec<Station>, EngineError> {
        let Footing { config, rules, as_of } = footing.clone();
        let decide = move |journey| derive::decide(&config, &rules, as_of, journey);
        self.engine.scripts.run(&self.engine.store, journeys, decide).await
    }

    /// Asks Brevo for what must not be missed before people are created, put on lists or moved: an
    /// opt-out, or a contact that somebody else made. What is not as mirrored is derived again.
    async fn refresh(&mut self, planned: Vec<Planned>) -> Result<Vec<Planned>, EngineError> {
        let (to_ask, mut fresh): (Vec<_>, Vec<_>) =
            planned.into_iter().partition(|one| one.needs_fresh_mirror(self.lane));
        if to_ask.is_empty() {
            return Ok(fresh);
        }
        let knows_all = self.services.read_back.is_complete().await?;
        let moved = if to_ask.len() <= FEW || !knows_all {
            self.ask_each(&to_ask).await?
        } else {
            self.ask_for_changes(&to_ask).await?
        };
        let mut again = Vec::new();
        for (one, moved) in to_ask.into_iter().zip(moved) {
            if moved {
                again.push(one.claim);
            } else {
                fresh.push(one);
            }
        }
        if !again.is_empty() {
            fresh.extend(self.derive(again).await?);
        }
        Ok(fresh)
    }

    async fn ask_each(&self, planned: &[Planned]) -> Result<Vec<bool>, EngineError> {
        let read_back = &self.services.read_back;
        let mut moved = Vec::new();
        for one in planned {
            let mut has_moved = false;
            for known in one.known() {
                let found = read_back.by_id(self.lane, known.id).await?;
                has_moved |= found.as_ref() != Some(known);
            }
            if let Some(address) = &one.change.email {
                has_moved |= read_back.by_address(self.lane, address).await?.is_some();
            }
            moved.push(has_moved);
        }
        Ok(moved)
    }

    async fn ask_for_changes(&self, planned: &[Planned]) -> Result<Vec<bool>, EngineError> {
        // Another round may have read what changed since this one began.
        let changes = self.services.read_back.changes(self.lane, Some(self.began)).await?;
        let by_id: BTreeMap<i64, &BrevoContact> =
            changes.iter().map(|contact| (contact.id, contact)).collect();
        let addresses: BTreeSet<&Email> =
            changes.iter().filter_map(|contact| contact.email.as_ref()).collect();
        let has_moved = |one: &Planned| {
            let is_taken = one.change.email.as_ref().is_some_and(|email| addresses.contains(email));
            is_taken
                || one
                    .known()
                    .any(|known| by_id.get(&known.id).is_some_and(|found| *found != known))
        };
        Ok(planned.iter().map(has_moved).collect())
    }

    /// Settles those of whom nothing is left to write; answers the others.
    pub(super) async fn sift(
        &mut self,
        planned: Vec<Planned>,
    ) -> Result<Vec<Planned>, EngineError> {
        let (rest, done): (Vec<_>, Vec<_>) = planned.into_iter().partition(derive::has_work);
        self.settle(done.into_iter().map(|one| *derive::unchanged(one)).collect()).await?;
        Ok(rest)
    }

    /// Writes what is planned, and settles it as it is confirmed. Who is being worked on elsewhere
    /// waits for its turn.
    async fn write(&mut self, planned: Vec<Planned>) -> Result<(), EngineError> {
        let mut held = Vec::new();
        let mut mine = Vec::new();
        let mut later = Vec::new();
        let at = self.engine.clock.now().plus(1);
        for one in planned {
            match self.hold(&one) {
                Some(lock) => {
                    held.push(Some(lock));
                    mine.push(one);
                }
                None => later.push(Settlement::new(
                    one.claim,
                    Ending::Retry { at, cursor: None, counts: false },
                )),
            }
        }
        self.settle(later).await?;
        let intents = mine.iter().map(Planned::intent).collect();
        let stands = self.engine.store.intend(intents).await?;
        // Who exchanged addresses with another who was written meanwhile is derived again.
        let (mut stale, mut kept) = (Vec::new(), Vec::new());
        for ((one, lock), stands) in mine.into_iter().zip(held).zip(stands) {
            if stands { kept.push((one, lock)) } else { stale.push(self.ending(&one, Fate::Stale)) }
        }
        self.settle(stale).await?;
        let (mine, mut held): (Vec<_>, Vec<_>) = kept.into_iter().unzip();

        let (engine, services) = (self.engine, Arc::clone(&self.services));
        let (fates, confirmed) = mpsc::unbounded_channel();
        let writer = writer(engine, &services, self.lane);
        // What is written goes on being written if the store fails meanwhile.
        let ((), settled) = tokio::join!(
            writer.write(&mine, fates),
            self.settle_confirmed(&mine, &mut held, confirmed)
        );
        settled?;
        let untold = held.iter().zip(&mine).filter(|(lock, _)| lock.is_some());
        let endings = untold.map(|(_, one)| self.ending(one, Fate::Stale)).collect();
        self.settle(endings).await
    }

    /// Settles fates as they come, and lets go of whom they are about.
    async fn settle_confirmed(
        &mut self,
        planned: &[Planned],
        held: &mut [Option<Held>],
        mut fates: mpsc::UnboundedReceiver<(usize, Fate)>,
    ) -> Result<(), EngineError> {
        let mut batch = Vec::new();
        while fates.recv_many(&mut batch, CHUNK).await > 0 {
            let mut told = Vec::new();
            let mut endings = Vec::new();
            for (index, fate) in batch.drain(..) {
                told.push(index);
                endings.extend(planned.get(index).map(|one| self.ending(one, fate)));
            }
            self.settle(endings).await?;
            for index in told {
                if let Some(lock) = held.get_mut(index) {
                    *lock = None;
                }
            }
        }
        Ok(())
    }

    fn hold(&self, planned: &Planned) -> Option<Held> {
        let former = planned.release.as_ref().map(|(former, _)| &former.contact);
        let current = planned.current.as_ref().map(|mirrored| &mirrored.contact);
        let contacts = current.into_iter().chain(former);
        let mut keys: Vec<LockKey> = contacts
            .flat_map(|contact| {
                let address = contact.email.clone().map(LockKey::Address);
                [Some(LockKey::Contact(contact.id)), address]
            })
            .flatten()
            .collect();
        keys.extend(planned.change.email.clone().map(LockKey::Address));
        self.engine.locks.try_hold(keys)
    }

    /// How a journey ends, by the fate of what was written.
    pub(super) fn ending(&self, planned: &Planned, fate: Fate) -> Settlement {
        let now = self.engine.clock.now();
        guard::count_write(self.engine, planned, &fate);
        let due_again = planned.due_again();
        let ending = match &fate {
            Fate::Written(..) | Fate::Deleted => {
                Ending::Done { outcome: guard::outcome(planned), due_again }
            }
            Fate::Stale => self.again(&planned.claim),
            Fate::Refused(refusal) => Ending::Dead(self.cause(planned, refusal)),
            Fate::Later(error) | Fate::Partly(_, _, Some(error)) => {
                self.retry(&planned.claim, error)
            }
            Fate::Partly(_, _, None) => self.again(&planned.claim),
        };
        let mut settlement = Settlement::new(planned.claim.clone(), ending);
        match fate {
            Fate::Written(contact, applied) => {
                // Somebody else changed it meanwhile: what is to be is worked out again.
                let expected = planned.held().after(&planned.change);
                if planned.current.is_some() && !contact.is_as(&expected) {
                    settlement.dirties.push(planned.owner.clone());
                }
                if let Some((former, change)) = &planned.release {
                    let contact = former.contact.clone().after(change);
                    let applied = crate::model::Applied {
                        created: former.applied.created,
                        ..Default::default()
                    };
                    let former =
                        crate::model::Mirrored { contact, applied, owner: None, read_at: now };
                    settlement.mirror.push(MirrorWrite::Put(Box::new(former)));
                }
                let sent = planned.sent(&contact);
                let mirrored = writer::mirrored(planned, *contact, applied, now);
                settlement.mirror.push(MirrorWrite::Put(Box::new(mirrored)));
                settlement.mirror.extend(planned.notes().chain(sent));
            }
            Fate::Deleted => {
                settlement.mirror.extend(
                    planned.current.as_ref().map(|m| MirrorWrite::Forget { id: m.contact.id }),
                );
            }
            Fate::Partly(contact, applied, _) => {
                let mut mirrored = writer::mirrored(planned, *contact, applied, now);
                if planned.release.is_some() {
                    // The other one stands for the record until it is released.
                    mirrored.owner = None;
                }
                settlement.mirror.push(MirrorWrite::Put(Box::new(mirrored)));
            }
            Fate::Stale | Fate::Refused(_) | Fate::Later(_) => {}
        }
        settlement.decision.clone_from(&planned.decision);
        settlement.derivation.clone_from(&planned.derivation);
        settlement.waits_for_number.clone_from(&planned.waits_for_number);
        settlement
    }

    fn cause(&self, planned: &Planned, refusal: &Refusal) -> Cause {
        tracing::warn!(contact.id = %planned.owner, "brevo refuses a write; the record is a dead letter: {refusal}");
        let Refusal { error, request } = refusal;
        let decision = planned.decision.as_ref();
        let config = self.engine.config.load();
        Cause {
            kind: "refused",
            message: error.to_string(),
            origin: decision.and_then(|decision| writer::origin_of(&config, decision, error)),
            request: Some(request.clone()),
            response: Some(error.to_string()),
            rule_set: decision.map(|decision| decision.rule_set.to_string()),
        }
    }

    /// What was known turned out to be stale: the first time it is derived again at once, then less
    /// and less often, lest two sides that never agree keep the engine busy.
    fn again(&self, claim: &Claim) -> Ending {
        if let Some(expired) = self.expired(claim, "what Brevo holds was never as it was read") {
            return expired;
        }
        let wait = match claim.attempts {
            0 | 1 => 0,
            attempts => Backoff::default().delay(attempts, None, random_fraction()).as_secs(),
        };
        let at = self.engine.clock.now().plus(wait.cast_signed());
        Ending::Retry { at, cursor: None, counts: true }
    }

    /// A failure that may pass. It counts for the record only while the service works for others.
    pub(super) fn retry(&self, claim: &Claim, error: &EngineError) -> Ending {
        let counts = !self.engine.gate.is_down();
        if counts && let Some(expired) = self.expired(claim, &error.to_string()) {
            return expired;
        }
        let wait = Backoff::default().delay(claim.attempts, None, random_fraction());
        let at = self.engine.clock.now().plus(wait.as_secs().max(1).cast_signed());
        Ending::Retry { at, cursor: None, counts }
    }

    /// The end of what has failed for a day.
    fn expired(&self, claim: &Claim, why: &str) -> Option<Ending> {
        let since = claim.failing_since?;
        let failing = self.engine.clock.now().seconds() - since.seconds();
        let message = format!("it failed for a day: {why}");
        (failing > GIVE_UP_AFTER_SECONDS)
            .then(|| Ending::Dead(Cause { kind: "expired", message, ..Cause::default() }))
    }

    pub(super) async fn settle(&mut self, endings: Vec<Settlement>) -> Result<(), EngineError> {
        if endings.is_empty() {
            return Ok(());
        }
        let keys: Vec<WorkKey> =
            endings.iter().map(|settlement| settlement.claim.key.clone()).collect();
        let tracks = endings.iter().any(|ending| {
            let tracked = ending.derivation.as_ref().is_some_and(|d| !d.events.is_empty());
            // Events may wait for the end of a contact's write.
            let is_contact = ending.claim.key.task == Task::Contact;
            tracked || (is_contact && !matches!(ending.ending, Ending::Retry { .. }))
        });
        let is_counted = endings.iter().any(|ending| ending.claim.cause.is_some());
        self.engine.store.settle(endings, self.engine.clock.now()).await?;
        for key in keys {
            self.open.remove(&key);
        }
        if tracks {
            self.engine.events.wake();
        }
        if is_counted {
            self.engine.guard.wake();
        }
        // What ends may make others dirty, in the other lane as well.
        self.engine.live_work.notify_one();
        self.engine.bulk_work.notify_one();
        self.engine.companies.wake();
        self.engine.objects.wake();
        self.engine.double_opt_ins.wake();
        Ok(())
    }

    /// Gives claims back that a failure of the whole round left open.
    async fn give_back(&mut self, error: &EngineError) {
        self.engine.note(error);
        let now = self.engine.clock.now();
        let claims: Vec<Claim> = self.open.drain().map(|(_, claim)| claim).collect();
        let endings = claims
            .into_iter()
            .map(|claim| {
                let wait = Backoff::default().delay(claim.attempts, None, random_fraction());
                let at = now.plus(wait.as_secs().max(1).cast_signed());
                let cursor = claim.cursor.clone();
                Settlement::new(claim, Ending::Retry { at, cursor, counts: false })
            })
            .collect();
        if let Err(error) = self.engine.store.settle(endings, now).await {
            // The claims are freed at the next start at the latest.
            tracing::error!("claims cannot be given back: {error}");
        }
    }
}

fn writer<'a>(engine: &'a Inner, services: &'a Services, lane: Lane) -> Writer<'a> {
    Writer {
        brevo: &services.brevo,
        intercom: services.intercom.as_ref(),
        account: &services.account,
        importer: &services.importer,
        gate: &engine.gate,
        plans: &engine.plans,
        sync_list: &services.sync_list,
        lane,
        contacts_per_second: services.contacts_per_second(lane),
    }
}

/// Stations by what comes next.
#[derive(Debug, Default)]
struct Sorted {
    endings: Vec<Settlement>,
    decided: Vec<derive::Decided>,
    elsewhere: Vec<(Journey, Email)>,
}

impl Sorted {
    fn take(&mut self, stations: Vec<Station>) {
        for station in stations {
            match station {
                Station::Ended(settlement) => self.endings.push(*settlement),
                Station::Decided(one) => self.decided.push(*one),
                Station::Elsewhere(journey, address) => self.elsewhere.push((*journey, address)),
            }
        }
    }
}

/// Which of Brevo's contacts an opt-out concerns, and by which channels, e-mail and SMS: the one that
/// stands for the record, the one with the address, and of SMS the one with the number. One that the
/// mirror lacks is tried by its address. Those of `left` are told of e-mail whatever the record says.
fn opt_out_targets(subject: &Subject, left: &[i64]) -> Vec<(Identifier, bool, bool)> {
    let (email, sms) = (subject.email_suppressed, subject.sms_suppressed);
    let undo = |id: &i64| (Identifier::Id(*id), true, false);
    if !email && !sms {
        return left.iter().map(undo).collect();
    }
    let known: BTreeSet<i64> =
        subject.owned.iter().chain(&subject.at_address).map(MirrorEntry::id).collect();
    let at_number = subject.at_number.filter(|id| sms && !known.contains(id));
    let mut targets: Vec<_> = match known.is_empty() {
        true => subject.address.iter().cloned().map(Identifier::Email).collect(),
        false => known.into_iter().map(Identifier::Id).collect::<Vec<_>>(),
    }
    .into_iter()
    .map(|identifier| (identifier, email, sms))
    .collect();
    targets.extend(at_number.map(|id| (Identifier::Id(id), false, true)));
    let is_told = |id: &i64| {
        email && targets.iter().any(|(to, email, _)| *email && *to == Identifier::Id(*id))
    };
    let rest: Vec<_> = left.iter().filter(|id| !is_told(id)).map(undo).collect();
    targets.extend(rest);
    targets
}

fn undecided(journey: Journey) -> Settlement {
    let cause = Cause {
        kind: "identity",
        message: "the rules chose another address each time they were asked for this record"
            .to_owned(),
        ..Cause::default()
    };
    Settlement::new(journey.claim, Ending::Dead(cause))
}

fn report(owner: &RecordId, left_out: &[resolve::LeftOut]) {
    for one in left_out {
        metrics::counter!(telemetry::VALUES_LEFT_OUT.name).increment(1);
        tracing::warn!(
            contact.id = %owner,
            attribute.name = %one.attribute,
            origin = one.origin,
            "a value was left out, the rest is written: {}",
            one.reason
        );
    }
}
