//! From a contact to what is missing in Brevo: farewell or decision, then the difference. Pure; it
//! runs on the script threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::account::Snapshot as Account;
use super::resolve::{self, LeftOut};
use super::scripts::Claimed;
use super::{assemble, identity, phones, resubscribe, suppression};
use crate::config::{Config, OnGone};
use crate::http::Lane;
use crate::model::{
    Applied, BrevoContact, Change, Decision, Email, Liveness, Mirrored, Record, RecordId,
    RecordKey, Resolved, Source, Timestamp, Verdict, difference,
};
use crate::model::{AttributeName, AttributeType, AttributeValue, ListId, MissedValue, SentValue};
use crate::rules::{ContactInput, RuleSet, ScriptError};
use crate::store::{
    Cause, Claim, Derivation, Ending, Intent, MirrorWrite, Outcome, Settlement, Subject,
    WantedNumber,
};

/// How long to wait before a script that ran into its time limit is tried a second time.
const RETRY_TIME_LIMIT_SECONDS: i64 = 5;

/// A claim with all that its derivation needs.
#[derive(Debug)]
pub(crate) struct Journey {
    pub(crate) claim: Claim,
    pub(crate) subject: Subject,
}

impl Claimed for Journey {
    fn claim(&self) -> &Claim {
        &self.claim
    }
}

/// What the rules said of a journey.
#[derive(Debug)]
pub(crate) enum Station {
    /// It ends here.
    Ended(Box<Settlement>),
    /// The rules chose an address that is not the record's: Brevo's contact there must be known.
    Elsewhere(Box<Journey>, Email),
    /// It goes on to the difference.
    Decided(Box<Decided>),
}

/// A journey with what should be true.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) claim: Claim,
    pub(crate) owner: RecordId,
    /// Whom it is written to, and who stood for the record before.
    pub(crate) target: identity::Target,
    pub(crate) wish: Wish,
    /// What is remembered of it once it has ended as decided; none: no rule decided.
    derivation: Option<Box<Derivation>>,
    /// The ledger's word on the address.
    email_suppressed: bool,
    sms_suppressed: bool,
    is_credited: bool,
    /// A notification said that it is gone in Intercom.
    is_gone: bool,
    missed: BTreeMap<AttributeName, MissedValue>,
    left_lists: BTreeSet<ListId>,
    /// The ledger knows of an opt-out that Intercom does not say.
    is_news: bool,
    /// The rules ask to lift an opt-out, and the configuration would let them.
    pub(crate) asked: Option<resubscribe::Asked>,
}

/// What should be true of the target.
#[derive(Debug)]
pub(crate) enum Wish {
    /// What the rules decided.
    Rules(Box<Decision>),
    /// What the engine granted goes.
    Release(Option<Box<Decision>>),
    /// It takes no marketing e-mail.
    OptOut,
    /// It goes from Brevo.
    Delete(Option<Box<Decision>>),
}

/// A change on its way to Brevo, with what becomes true once it is written.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) claim: Claim,
    pub(crate) owner: RecordId,
    pub(crate) decision: Option<Box<Decision>>,
    pub(crate) current: Option<Mirrored>,
    pub(crate) change: Change,
    pub(crate) action: Action,
    /// Written before this one: what the engine granted to the contact that stood for the record
    /// until now.
    pub(crate) release: Option<(Box<Mirrored>, Change)>,
    /// What is remembered once it is written.
    pub(crate) derivation: Option<Box<Derivation>>,
    /// When to derive it again because something was left out that stood in the way of another.
    look_again: Option<Timestamp>,
    /// The number that it is to get and another contact has.
    pub(crate) waits_for_number: Option<WantedNumber>,
    /// What was applied includes an intent of a process that died.
    is_credited: bool,
    /// What is taken away for it is nobody's doing but Intercom's own: it never waits.
    pub(crate) is_gone: bool,
    /// Nobody but a rule or the configuration says that the person opted out.
    pub(crate) ruled_out: RuledOut,
    /// What of it is not written now.
    pub(crate) rest: Rest,
    /// The types of the attributes that are written.
    pub(crate) kinds: BTreeMap<AttributeName, AttributeType>,
    /// Some of its values were written before, and Brevo did not take them: it is written by itself.
    pub(crate) is_second_try: bool,
    /// Values that Brevo did not take and that are not wanted any more, or are there.
    unparked: Vec<AttributeName>,
    /// Intercom may have to be told of an opt-out.
    is_news: bool,
}

/// By which channels nobody but a rule or the configuration says that a person opted out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RuledOut {
    pub(crate) email: bool,
    pub(crate) sms: bool,
}

/// What of a change is not written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing.
    None,
    /// Somebody rejected something of it.
    Rejected,
    /// Something of it waits to be counted, or for approval.
    Waits,
}

/// What is done with the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The change is written.
    Write,
    /// The contact is deleted, if Intercom has none any more either.
    Delete,
    /// The change is written, and the contact no longer stands for the record.
    Release,
}

impl Planned {
    /// The address that Brevo knows the contact by now, or will.
    pub(crate) fn address(&self) -> Option<&Email> {
        let now = self.current.as_ref().and_then(|mirrored| mirrored.contact.email.as_ref());
        now.or(self.change.email.as_ref())
    }

    /// What Brevo held, as far as it is known.
    pub(crate) fn held(&self) -> BrevoContact {
        self.current.as_ref().map(|mirrored| mirrored.contact.clone()).unwrap_or_default()
    }

    /// What the engine applied before.
    pub(crate) fn applied(&self) -> Applied {
        self.current.as_ref().map(|mirrored| mirrored.applied.clone()).unwrap_or_default()
    }

    /// What Brevo held of the contacts that this concerns, as far as it is known.
    pub(crate) fn known(&self) -> impl Iterator<Item = &BrevoContact> {
        let former = self.release.as_ref().map(|(former, _)| &former.contact);
        self.current.as_ref().map(|mirrored| &mirrored.contact).into_iter().chain(former)
    }

    /// What the store is told before it is written.
    pub(crate) fn intent(&self) -> Intent {
        let former = self.release.as_ref().map(|(former, _)| &**former);
        let touched = self.current.iter().chain(former);
        Intent {
            owner: self.owner.clone(),
            change: self.change.clone(),
            basis: touched.map(|one| (one.contact.id, one.owner.clone())).collect(),
        }
    }

    /// What is remembered besides what was written: values that Brevo did not take are forgotten, and
    /// Intercom is told of opt-outs.
    pub(crate) fn notes(&self) -> impl Iterator<Item = MirrorWrite> {
        let id = self.current.as_ref().map(|mirrored| mirrored.contact.id);
        let write = move |attribute: &AttributeName| {
            Some(MirrorWrite::Unpark { id: id?, attribute: attribute.clone() })
        };
        let news = MirrorWrite::TellIntercom { contact: self.owner.clone() };
        self.unparked.iter().filter_map(write).chain(self.is_news.then_some(news))
    }

    /// What has to be looked for in Brevo once `contact` was written, by whom Brevo's answer tells
    /// nothing; none if it was read back already.
    pub(crate) fn sent(&self, contact: &BrevoContact) -> Option<MirrorWrite> {
        // What was read bears the time at which Brevo changed it; what was only sent, the time before.
        if contact.modified_at != self.held().modified_at {
            return None;
        }
        let sent = |name: &AttributeName, value: AttributeValue| {
            let kind = self.kinds.get(name).copied();
            (name.clone(), SentValue { value, kind })
        };
        // An identifier that another contact owns was left out.
        let set = self.change.set.iter().filter(|(name, _)| contact.attributes.contains_key(*name));
        let cleared = self.change.clear.iter();
        let empty = || AttributeValue::Text(String::new());
        let values: BTreeMap<_, _> = set
            .map(|(name, value)| sent(name, value.clone()))
            .chain(cleared.map(|name| sent(name, empty())))
            .collect();
        let owner = self.owner.clone();
        (!values.is_empty()).then_some(MirrorWrite::Sent { id: contact.id, owner, values })
    }

    /// Derives it again by then, since something was left out of it.
    pub(crate) fn look_again_by(&mut self, at: Timestamp) {
        self.look_again = self.look_again.into_iter().chain([at]).min();
    }

    /// When to derive again: the answer of a rule flips, or what was in the way may be gone.
    pub(crate) fn due_again(&self) -> Option<Timestamp> {
        let flips_at = self.decision.as_ref().and_then(|decision| decision.flips_at);
        flips_at.into_iter().chain(self.look_again).min()
    }

    /// The number opted out of SMS, whoever has it now: nobody's rule decides that.
    pub(crate) fn opt_out_of_sms(&mut self) {
        self.ruled_out.sms = false;
        self.change.sms_opt_out |= !self.held().sms_blacklisted;
    }

    /// True if Brevo has to be asked before this is written: a creation, an addition to a list, a row
    /// of an import, a move of an address and a deletion must not miss an opt-out that was made in
    /// Brevo meanwhile.
    pub(crate) fn needs_fresh_mirror(&self, lane: Lane) -> bool {
        let creates = self.current.is_none() && self.action == Action::Write;
        let may_be_imported = lane == Lane::Bulk && !self.change.set.is_empty();
        creates
            || may_be_imported
            || self.action == Action::Delete
            || !self.change.add.is_empty()
            || self.change.moves_address()
            || self.release.is_some()
    }
}

/// Takes a journey to its next station.
pub(crate) fn decide(
    config: &Config,
    rules: &RuleSet,
    as_of: Timestamp,
    journey: Journey,
) -> Station {
    let Some(record) = journey.subject.record.clone() else {
        return ended(journey.claim, Outcome::Ignored);
    };
    if !record.liveness.is_live() {
        return farewell(config, journey, &record);
    }
    let primary = match identity::primary(&record, &journey.subject.duplicates, rules) {
        Ok(primary) => primary.key.id.clone(),
        Err(error) => return broke(journey.claim, rules, &error, as_of),
    };
    if primary != record.key.id {
        return spoken_for(journey, primary);
    }
    let target = identity::target(&journey.subject);
    let input = ContactInput {
        key: RecordKey::contact(record.key.id.clone()),
        contact: Arc::new(assemble::contact(&journey.subject, &record)),
        existing: target
            .current
            .as_ref()
            .map(|mirrored| Arc::new(assemble::existing(&mirrored.contact))),
        as_of,
    };
    let decision = match rules.decide_contact(&input) {
        Ok(mut decision) => {
            for one in &journey.subject.overlays {
                decision.overlay(&one.decision);
            }
            Box::new(decision)
        }
        Err(error) => return broke(journey.claim, rules, &error, as_of),
    };
    let chosen: Option<Email> = decision.email.as_ref().and_then(|email| email.value.parse().ok());
    if chosen.is_some() && chosen != journey.subject.address {
        return match chosen {
            Some(address) => Station::Elsewhere(Box::new(journey), address),
            None => ended(journey.claim, Outcome::Ignored),
        };
    }
    let is_lost =
        target.current.is_none() && journey.subject.lost_with == Some(record.version.digest);
    if is_lost && decision.verdict == Verdict::Write {
        // Somebody deleted the contact in Brevo, and the record has not changed since.
        return skipped(journey.claim, &record, decision, config);
    }
    let wish = match &decision.verdict {
        Verdict::Skip { .. } => return skipped(journey.claim, &record, decision, config),
        Verdict::Release => Wish::Release(Some(decision)),
        Verdict::Delete => Wish::Delete(Some(decision)),
        // One that lost its last identifier is released; one that never had any is left out.
        Verdict::Write if decision.email.is_none() && decision.ext_id.is_none() => {
            if target.current.is_none() {
                return skipped(journey.claim, &record, decision, config);
            }
            Wish::Release(Some(decision))
        }
        Verdict::Write => Wish::Rules(decision),
    };
    let derivation = match &wish {
        Wish::Rules(decision) => Some(derivation(&record, decision, config, Events::Tracked)),
        Wish::Release(Some(decision)) | Wish::Delete(Some(decision)) => {
            Some(derivation(&record, decision, config, Events::None))
        }
        Wish::Release(None) | Wish::Delete(None) | Wish::OptOut => None,
    };
    let asked = match &wish {
        Wish::Rules(decision) => resubscribe::asked(config, &journey.subject, &target, decision),
        _ => None,
    };
    match decided(journey, target, wish, derivation) {
        Station::Decided(one) => Station::Decided(Box::new(Decided { asked, ..*one })),
        station => station,
    }
}

/// Whether the events that a decision tracked are to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Events {
    /// They are.
    Tracked,
    /// The contact is not written, so nothing is said of it.
    None,
}

/// What is remembered of a derivation.
fn derivation(
    record: &Record,
    decision: &Decision,
    config: &Config,
    events: Events,
) -> Box<Derivation> {
    // A notification tells of what has just happened, whatever time its snapshot bears: some, as of
    // tags, leave `updated_at` as it was.
    let happened = match record.version.source {
        Source::Notification => decision.as_of,
        Source::Read { .. } => record.version.at,
    };
    Box::new(Derivation {
        subject: decision.subject.clone(),
        contact: decision.subject.id.clone(),
        rule_set: decision.rule_set.clone(),
        as_of: decision.as_of,
        snapshot: record.version.digest,
        happened,
        backfills: config.intercom.backfill_events,
        events: match events {
            Events::Tracked => decision.events.clone(),
            Events::None => Vec::new(),
        },
    })
}

fn decided(
    journey: Journey,
    target: identity::Target,
    wish: Wish,
    derivation: Option<Box<Derivation>>,
) -> Station {
    let Journey { claim, subject } = journey;
    let said = subject.record.as_ref().map(|record| suppression::opted_out(&record.body));
    let (says_email, says_sms) = said.unwrap_or_default();
    let is_credited = subject.intent.is_some();
    let is_live = subject.record.as_ref().is_some_and(|record| record.liveness.is_live());
    let is_news = is_live && subject.email_suppressed && !says_email;
    Station::Decided(Box::new(Decided {
        claim,
        owner: subject.id,
        target,
        wish,
        derivation,
        email_suppressed: subject.email_suppressed || says_email,
        sms_suppressed: subject.sms_suppressed || says_sms,
        is_credited,
        is_gone: subject.record.as_ref().is_some_and(|record| {
            !record.liveness.is_live() && record.version.source == Source::Notification
        }),
        missed: subject.missed,
        left_lists: subject.left_lists,
        is_news,
        asked: None,
    }))
}

/// The end of a contact that is archived, deleted or merged in Intercom.
fn farewell(config: &Config, journey: Journey, record: &Record) -> Station {
    let policy = match record.liveness {
        Liveness::Archived => config.intercom.on_archive,
        Liveness::Merged { .. } => config.intercom.on_merge,
        Liveness::Deleted | Liveness::Live => config.intercom.on_delete,
    };
    // Only what stands for this very record is touched: the address may be somebody else's by now.
    let current =
        identity::target(&Subject { at_address: None, ..journey.subject.clone() }).current;
    if current.is_none() {
        return ended(journey.claim, Outcome::Unchanged);
    }
    // Another live contact has the address: that one speaks for it from now on.
    if let Some(heir) = journey.subject.duplicates.first() {
        return spoken_for(journey.clone_shell(), heir.key.id.clone());
    }
    let target = identity::Target { current, former: None };
    match policy {
        OnGone::Keep => ended(journey.claim, Outcome::Unchanged),
        OnGone::Unsubscribe => decided(journey, target, Wish::OptOut, None),
        OnGone::Release => decided(journey, target, Wish::Release(None), None),
        OnGone::Delete => decided(journey, target, Wish::Delete(None), None),
    }
}

impl Journey {
    fn clone_shell(&self) -> Self {
        Self { claim: self.claim.clone(), subject: self.subject.clone() }
    }
}

/// Another contact speaks for the address: this one is left out, the other is derived, and takes
/// over Brevo's contact.
fn spoken_for(journey: Journey, primary: RecordId) -> Station {
    let target = identity::target(&journey.subject);
    let own_address = journey.subject.address.clone();
    let stands_elsewhere = target.current.as_ref().is_some_and(|mirrored| {
        mirrored.owner.as_ref() == Some(&journey.subject.id)
            && mirrored.contact.email != own_address
    });
    if stands_elsewhere {
        // It moved to an address that is taken: what it was granted at its old one goes.
        return decided(journey, target, Wish::Release(None), None);
    }
    let ending = Ending::Done { outcome: Outcome::Skipped, due_again: None };
    let mut settlement = Settlement::new(journey.claim, ending);
    if let Some(mirrored) =
        target.current.filter(|mirrored| mirrored.owner.as_ref() == Some(&journey.subject.id))
    {
        settlement
            .mirror
            .push(MirrorWrite::Disown { id: mirrored.contact.id, owner: journey.subject.id });
    }
    settlement.dirties.push(primary);
    Station::Ended(Box::new(settlement))
}

fn ended(claim: Claim, outcome: Outcome) -> Station {
    let ending = Ending::Done { outcome, due_again: None };
    Station::Ended(Box::new(Settlement::new(claim, ending)))
}

/// The end of a record that the rules leave out.
fn skipped(claim: Claim, record: &Record, decision: Box<Decision>, config: &Config) -> Station {
    let ending = Ending::Done { outcome: Outcome::Skipped, due_again: decision.flips_at };
    let mut settlement = Settlement::new(claim, ending);
    settlement.derivation = Some(derivation(record, &decision, config, Events::None));
    settlement.decision = Some(decision);
    Station::Ended(Box::new(settlement))
}

/// A pure function that threw will throw again. Only a time limit may have been the machine's fault.
fn broke(claim: Claim, rules: &RuleSet, error: &ScriptError, now: Timestamp) -> Station {
    Station::Ended(broken(claim, rules, error, now))
}

/// The end of a claim whose script broke.
pub(crate) fn broken(
    claim: Claim,
    rules: &RuleSet,
    error: &ScriptError,
    now: Timestamp,
) -> Box<Settlement> {
    if error.is_time_limit() && claim.attempts < 2 {
        let at = now.plus(RETRY_TIME_LIMIT_SECONDS);
        let ending = Ending::Retry { at, cursor: None, counts: true };
        return Box::new(Settlement::new(claim, ending));
    }
    let cause = Cause {
        kind: "script",
        message: error.message.clone(),
        origin: error.origin.as_ref().map(ToString::to_string),
        request: None,
        response: None,
        rule_set: Some(rules.version().to_string()),
    };
    tracing::warn!(
        record.kind = claim.key.task.as_str(),
        record.id = %claim.key.id,
        origin = cause.origin,
        "a script failed; the record is a dead letter"
    );
    Box::new(Settlement::new(claim, Ending::Dead(cause)))
}

/// What is missing for a decision to be true, if anything is.
pub(crate) fn compare(
    config: &Config,
    account: &Account,
    decided: Decided,
    left_out: &mut Vec<LeftOut>,
) -> Result<Planned, Box<Settlement>> {
    let Decided {
        claim,
        owner,
        target,
        wish,
        derivation,
        email_suppressed,
        sms_suppressed,
        is_credited,
        is_gone,
        missed,
        left_lists,
        is_news,
        asked: _,
    } = decided;
    let target = identity::Target {
        current: target.current.map(|mirrored| Mirrored {
            contact: account.catalogue.normalised(mirrored.contact),
            ..mirrored
        }),
        ..target
    };
    let (resolved, decision, action) = match wish {
        Wish::Rules(decision) => match resolve::resolve(config, account, &decision, left_out) {
            Ok(resolved) => (resolved, Some(decision), Action::Write),
            Err(cause) => {
                let mut settlement = Settlement::new(claim, Ending::Dead(*cause));
                settlement.decision = Some(decision);
                return Err(Box::new(settlement));
            }
        },
        Wish::Release(decision) => (Resolved::default(), decision, Action::Release),
        Wish::OptOut => {
            let kept = target.current.as_ref().map(|m| m.applied.lists.clone()).unwrap_or_default();
            (
                Resolved { email_opt_out: true, add: kept, ..Resolved::default() },
                None,
                Action::Write,
            )
        }
        // What the engine did not create is not its to delete.
        Wish::Delete(decision) => match &target.current {
            Some(mirrored) if mirrored.applied.created => {
                (Resolved::default(), decision, Action::Delete)
            }
            _ => (Resolved::default(), decision, Action::Release),
        },
    };
    // Who opted out at his former address did so as a person, not as an address.
    let former = target.former.as_ref().map(|mirrored| &mirrored.contact);
    let was_out = |flag: fn(&BrevoContact) -> bool| former.is_some_and(flag);
    let email_out = email_suppressed || was_out(|c| c.email_blacklisted);
    let sms_out = sms_suppressed || was_out(|c| c.sms_blacklisted);
    let ruled_out = RuledOut {
        email: resolved.email_opt_out && !email_out,
        sms: resolved.sms_opt_out && !sms_out,
    };
    let resolved = Resolved {
        email_opt_out: resolved.email_opt_out || email_out,
        sms_opt_out: resolved.sms_opt_out || sms_out,
        left_lists,
        ..resolved
    };
    let nothing = Applied::default();
    let held = target.current.as_ref().map(|mirrored| &mirrored.contact);
    let applied = target.current.as_ref().map_or(&nothing, |mirrored| &mirrored.applied);
    let mut change = difference(&resolved, held, applied);
    // Nobody is on a list that is gone.
    change.remove.retain(|list| account.lists.has(*list));
    let kind = |name: &AttributeName| account.catalogue.find(name).and_then(|found| found.kind);
    let parking = Parking::of(&mut change, &missed, kind);
    let release = target.former.map(|former| {
        let mut change = difference(&Resolved::default(), Some(&former.contact), &former.applied);
        change.remove.retain(|list| account.lists.has(*list));
        (Box::new(former), change)
    });
    let named = change.set.keys().chain(&change.clear);
    let kinds = named.filter_map(|name| Some((name.clone(), kind(name)?))).collect();
    let planned = Planned {
        claim,
        owner,
        decision,
        current: target.current,
        change,
        action,
        release,
        derivation,
        look_again: None,
        waits_for_number: None,
        is_credited,
        is_gone,
        ruled_out,
        rest: Rest::None,
        kinds,
        is_second_try: parking.is_second_try,
        unparked: parking.unparked,
        is_news: is_news && config.intercom.sync_unsubscribes,
    };
    if has_work(&planned) { Ok(planned) } else { Err(unchanged(planned)) }
}

/// The digits of the number that a contact is to have: the one that is written, or the one that Brevo
/// holds.
pub(crate) fn number_of(planned: &Planned) -> Option<String> {
    phones::wanted(planned).or_else(|| planned.held().sms_digits())
}

/// What becomes of values that Brevo did not take before.
#[derive(Debug, Default)]
struct Parking {
    is_second_try: bool,
    unparked: Vec<AttributeName>,
}

impl Parking {
    /// Takes parked values out of a change: those that were written twice, and would be written to an
    /// attribute of the same type again.
    fn of(
        change: &mut Change,
        missed: &BTreeMap<AttributeName, MissedValue>,
        kind: impl Fn(&AttributeName) -> Option<AttributeType>,
    ) -> Self {
        let mut parking = Self::default();
        for (name, missed) in missed {
            let MissedValue { sent, .. } = missed;
            let is_wanted = match change.set.get(name) {
                Some(value) => *value == sent.value,
                None => sent.value.is_empty() && change.clear.contains(name),
            };
            if !is_wanted || kind(name) != sent.kind {
                parking.unparked.push(name.clone());
            } else if missed.is_parked() {
                change.set.remove(name);
                change.clear.remove(name);
            } else {
                parking.is_second_try = true;
            }
        }
        parking
    }
}

/// True if something has to be written.
pub(crate) fn has_work(planned: &Planned) -> bool {
    match (&planned.current, planned.action) {
        (None, Action::Release | Action::Delete) => false,
        (_, Action::Delete) => true,
        (_, Action::Write | Action::Release) => {
            !planned.change.is_empty() || planned.release.is_some()
        }
    }
}

/// The end of a journey on which nothing had to be written. That Brevo's contact stands for the
/// record is remembered all the same.
pub(crate) fn unchanged(planned: Planned) -> Box<Settlement> {
    let due_again = planned.due_again();
    let notes: Vec<MirrorWrite> = planned.notes().collect();
    let mut settlement =
        Settlement::new(planned.claim, Ending::Done { outcome: Outcome::Unchanged, due_again });
    settlement.decision = planned.decision;
    settlement.derivation = planned.derivation;
    settlement.waits_for_number = planned.waits_for_number;
    settlement.mirror.extend(notes);
    if let Some(mirrored) = planned.current {
        match planned.action {
            Action::Release => {
                settlement
                    .mirror
                    .push(MirrorWrite::Disown { id: mirrored.contact.id, owner: planned.owner });
            }
            _ if planned.is_credited || mirrored.owner.as_ref() != Some(&planned.owner) => {
                let adopted = Mirrored { owner: Some(planned.owner), ..mirrored };
                settlement.mirror.push(MirrorWrite::Put(Box::new(adopted)));
            }
            _ => {}
        }
    }
    Box::new(settlement)
}

/// The rules that a round works with, and the time that it stands for.
#[derive(Debug, Clone)]
pub(crate) struct Footing {
    pub(crate) config: Arc<Config>,
    pub(crate) rules: Arc<RuleSet>,
    pub(crate) as_of: Timestamp,
}
