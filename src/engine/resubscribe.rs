//! Opt-outs that are lifted: the rules ask, the configuration allows it, and a person opted in again.
//!
//! What may be lifted is decided by `model::judge`, on what the store knows, and twice: when it is asked
//! for, and once more after Intercom and Brevo were asked what they hold. It is written down before Brevo is told, and
//! the ledger changes after. Whatever goes wrong in between, Brevo is told that the opt-out holds.

use super::EngineError;
use super::identity::Target;
use super::locks::LockKey;
use super::pipeline::Round;
use crate::brevo::{ErrorKind, Standing};
use crate::config::Config;
use crate::http::{Lane, Retry};
use crate::model::{BrevoContact, Decision, RecordId, Snapshot, Stays, Timestamp};
use crate::store::{
    Channel, Claim, Ending, LiftEnd, LiftWish, OpenLift, OptOut, OptOutReason, Settlement, Subject,
};
use crate::telemetry;

/// What the rules ask to be lifted, and of which of Brevo's contacts.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    wish: LiftWish,
    brevo: i64,
    /// Other contacts of Intercom's with the address.
    others: Vec<RecordId>,
}

/// A claim whose opt-out may be lifted.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) claim: Claim,
    pub(super) asked: Asked,
}

/// What became of a wish.
#[derive(Debug)]
enum Fate {
    Lifted,
    Stays(Stays),
    Refused,
    /// Somebody else works on the contact: another time.
    Later,
}

/// What a decision asks to be lifted: of the contact's own address, which Brevo has, and which somebody
/// said takes no e-mail. Rules that say both want nobody re-subscribed.
pub(crate) fn asked(
    config: &Config,
    subject: &Subject,
    target: &Target,
    decision: &Decision,
) -> Option<Asked> {
    let leave = config.guards.may_resubscribe()?;
    let origin = decision.resubscribe.clone()?;
    let email = subject.record.as_ref()?.email()?;
    let held = target.current.as_ref().map(|mirrored| &mirrored.contact)?;
    let is_own = subject.address.as_ref() == Some(&email)
        && held.email.as_ref() == Some(&email)
        && target.former.is_none();
    let is_wanted = subject.email_suppressed && decision.email_opt_out.is_none();
    let (contact, rule_set) = (subject.id.clone(), decision.rule_set.clone());
    let wish = LiftWish { leave, contact, email, rule_set, origin };
    let others = subject.duplicates.iter().map(|other| other.key.id.clone()).collect();
    (is_own && is_wanted).then_some(Asked { wish, brevo: held.id, others })
}

impl Round<'_> {
    /// True if what is asked for may be lifted by what is known; then Brevo is asked.
    pub(super) async fn may_lift(&self, asked: &Asked) -> Result<bool, EngineError> {
        match self.engine.store.consider_lift(asked.wish.clone()).await? {
            Ok(_) | Err(Stays::OnItsWay) => Ok(true),
            Err(stays) => {
                say_stays(&asked.wish.contact, stays);
                Ok(false)
            }
        }
    }

    /// Lifts what may be lifted. Answers what is to be derived now; the rest is settled.
    pub(super) async fn lift(
        &mut self,
        candidates: Vec<Candidate>,
    ) -> Result<Vec<Claim>, EngineError> {
        let mut again = Vec::new();
        let mut endings = Vec::new();
        let mut is_down = false;
        for Candidate { claim, asked } in candidates {
            let contact = asked.wish.contact.clone();
            // Where Intercom does not answer for one it is not asked for the next.
            let fate = if is_down { Ok(Fate::Later) } else { self.lift_one(asked).await };
            match fate {
                Ok(Fate::Lifted | Fate::Refused) => again.push(claim),
                Ok(Fate::Stays(stays)) => {
                    say_stays(&contact, stays);
                    again.push(claim);
                }
                Ok(Fate::Later) => {
                    let at = self.engine.clock.now().plus(if is_down { 30 } else { 1 });
                    let ending = Ending::Retry { at, cursor: None, counts: false };
                    endings.push(Settlement::new(claim, ending));
                }
                Err(EngineError::Brevo(error)) => {
                    self.engine.gate.note_of(&contact, &error);
                    let ending = self.retry(&claim, &EngineError::Brevo(error));
                    endings.push(Settlement::new(claim, ending));
                }
                Err(EngineError::Intercom(error)) => {
                    is_down = true;
                    let ending = self.retry(&claim, &EngineError::Intercom(error));
                    endings.push(Settlement::new(claim, ending));
                }
                Err(error) => return Err(error),
            }
        }
        self.settle(endings).await?;
        Ok(again)
    }

    async fn lift_one(&self, asked: Asked) -> Result<Fate, EngineError> {
        let Asked { wish, brevo, others } = asked;
        let (store, clock) = (&self.engine.store, &self.engine.clock);
        let keys = vec![LockKey::Contact(brevo), LockKey::Address(wish.email.clone())];
        let Some(_held) = self.engine.locks.try_hold(keys) else {
            return Ok(Fate::Later);
        };
        if self.engine.gate.wait().is_some() {
            return Ok(Fate::Later);
        }
        for contact in others.iter().chain([&wish.contact]) {
            match self.ask_intercom(contact).await? {
                None => return Ok(Fate::Stays(Stays::IntercomIsSilent)),
                // Whatever a notification said that came before it.
                Some(takes_email) if !takes_email => return Ok(Fate::Stays(Stays::DoesNotSaySo)),
                Some(_) => {}
            }
        }
        let Some(held) = self.ask_brevo(&wish, brevo).await? else {
            return Ok(Fate::Stays(Stays::NotOut));
        };
        let begun = store.begin_lift(wish.clone(), held.clone(), clock.now()).await?;
        let lifted = match begun {
            Ok(lifted) => lifted,
            Err(Stays::OnItsWay) => return Ok(Fate::Later),
            Err(stays) => return Ok(Fate::Stays(stays)),
        };
        if held.email_blacklisted
            && let Err(error) = self.services.brevo.lift(self.lane, held.id, &lifted).await
        {
            store.leave_lift(lifted, clock.now()).await?;
            self.engine.live_work.notify_one();
            if error.kind() != ErrorKind::Permanent {
                return Err(error.into());
            }
            tracing::warn!(contact.id = %wish.contact, "brevo does not lift an opt-out: {error}");
            return Ok(Fate::Refused);
        }
        self.engine.gate.open();
        let open = OpenLift { lifted, wish, held };
        match store.end_lift(open.clone(), clock.now()).await? {
            LiftEnd::Lifted => {
                say_lifted(&open);
                Ok(Fate::Lifted)
            }
            LiftEnd::Overtaken => {
                self.engine.live_work.notify_one();
                Ok(Fate::Later)
            }
        }
    }

    /// The contacts of Brevo's that lifts may have taken off the blacklist which were given up. Whoever is
    /// on it, though Brevo changed him since, may have opted out there meanwhile: that counts, since our
    /// own word would cover it up.
    pub(super) async fn lifts_to_undo(&self, claim: &Claim) -> Result<Vec<i64>, EngineError> {
        let left = self.engine.store.lifts_to_undo(claim.key.id.clone()).await?;
        for lift in &left {
            // What it shows is our own doing, or is entered below: the mirror learns nothing by it.
            let Some(standing) = self.services.brevo.standing(Lane::Urgent, lift.brevo).await?
            else {
                continue;
            };
            let contact = standing.contact;
            let is_untouched = lift.modified.is_some()
                && contact.modified_at.map(Timestamp::seconds)
                    == lift.modified.map(Timestamp::seconds);
            if contact.email_blacklisted && !is_untouched {
                let now = self.engine.clock.now();
                let opt_out = OptOut {
                    email: contact.email,
                    phone: None,
                    channel: Channel::Email,
                    reason: OptOutReason::Asked,
                    at: now,
                    source: "brevo",
                    contact: None,
                };
                self.engine.store.learn(Vec::new(), vec![opt_out], now).await?;
            }
        }
        Ok(left.into_iter().map(|lift| lift.brevo).collect())
    }

    /// Stores what a contact says now, so that nobody is re-subscribed by a word that he took back while
    /// nobody listened; answers whether it takes e-mail, or none if Intercom does not show it.
    async fn ask_intercom(&self, contact: &RecordId) -> Result<Option<bool>, EngineError> {
        let Some(hydrator) = &self.services.hydrator else {
            return Ok(None);
        };
        match hydrator.show(self.lane, contact).await {
            Err(EngineError::Intercom(error)) if error.retry() == Retry::Never => {
                tracing::warn!(contact.id = %contact, "an opt-out is not lifted: {error}");
                Ok(None)
            }
            shown => Ok(shown?.map(|shown| takes_email(&shown))),
        }
    }

    /// What Brevo holds now, with all of its opt-outs entered into the ledger; none: it has no such
    /// contact at that address any more.
    async fn ask_brevo(
        &self,
        wish: &LiftWish,
        brevo: i64,
    ) -> Result<Option<BrevoContact>, EngineError> {
        let Some(standing) = self.services.read_back.standing(self.lane, brevo).await? else {
            return Ok(None);
        };
        let Standing { contact, unsubscribed, has_bounced, has_complained } = standing;
        if contact.email.as_ref() != Some(&wish.email) {
            return Ok(None);
        }
        let now = self.engine.clock.now();
        let known = [
            (unsubscribed, OptOutReason::Asked),
            (has_bounced.then_some(now), OptOutReason::Bounced),
            (has_complained.then_some(now), OptOutReason::Complained),
        ];
        let said = |(at, reason): (Option<_>, _)| {
            let (email, channel) = (contact.email.clone(), Channel::Email);
            Some(OptOut {
                email,
                phone: None,
                channel,
                reason,
                at: at?,
                source: "brevo",
                contact: None,
            })
        };
        let opt_outs: Vec<_> = known.into_iter().filter_map(said).collect();
        if !opt_outs.is_empty() {
            self.engine.store.learn(Vec::new(), opt_outs, now).await?;
        }
        Ok(Some(contact))
    }
}

/// What says nothing of e-mail says no.
fn takes_email(shown: &Snapshot) -> bool {
    shown.body.get("unsubscribed_from_emails").is_some_and(|is_out| is_out == false)
}

fn say_stays(contact: &RecordId, stays: Stays) {
    tracing::debug!(contact.id = %contact, "an opt-out is not lifted: {}", stays.reason());
}

fn say_lifted(open: &OpenLift) {
    let OpenLift { lifted, wish, .. } = open;
    let opt_in = lifted.opt_in();
    metrics::counter!(telemetry::RESUBSCRIBED.name).increment(1);
    tracing::info!(
        contact.id = %opt_in.contact(),
        lift.id = lifted.id(),
        opted_in = %opt_in.at(),
        opted_out = %opt_in.opted_out(),
        seen_by = opt_in.seen_by().as_str(),
        ruleset.version = %wish.rule_set,
        origin = %wish.origin,
        "an opt-out was lifted: the person opted in again in intercom"
    );
}
