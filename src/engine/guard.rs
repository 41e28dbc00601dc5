//! The guard: what rules, configuration and sweeps would take away from too many people waits for
//! somebody's approval; what they give flows. And the breaker: whoever is written to too often waits.
//!
//! What waits is in the store, with what was said of it; a re-derivation says whether it is still
//! wanted. Opt-outs do not come by here.

mod breaker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use breaker::Breaker;
use serde::Serialize;
use tokio::sync::Notify;

use super::derive::{self, Action, Planned, Rest};
use super::writer::Fate;
use super::{Engine, EngineError, Inner};
use crate::config::{Config, OnChange};
use crate::model::{Bound, Change, Email, Identity, ListId, Takes, Timestamp};
use crate::store::{Ending, HeldChange, Hold, Judgement, Measure, Outcome, Settlement, Taking};
use crate::telemetry;

/// How many contacts of a hold are shown.
const SAMPLE: usize = 10;
/// How long to wait before looking at holds again: while something is counted, and else.
const COUNTING: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(5);

/// What the guard knows besides the store.
#[derive(Debug, Default)]
pub(super) struct Guard {
    changed: Notify,
    /// Rules are counted of which the records were not all made dirty.
    pub(super) unfed: Notify,
    waiting: AtomicU64,
    breaker: Breaker,
}

impl Guard {
    /// Says that a count may have come to its end, or something was decided.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    pub(super) fn note_waiting(&self, contacts: u64) {
        self.waiting.store(contacts, Ordering::Relaxed);
    }

    /// What waits for somebody, if anything does.
    pub(super) fn problem(&self) -> Option<String> {
        match self.waiting.load(Ordering::Relaxed) {
            0 => None,
            1 => {
                Some("the change of 1 contact waits for approval: see `tajo held list`".to_owned())
            }
            many => Some(format!(
                "the changes of {many} contacts wait for approval: see `tajo held list`"
            )),
        }
    }
}

/// What may be written now, and the ends of those of whom nothing may.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    pub(super) planned: Vec<Planned>,
    pub(super) endings: Vec<Settlement>,
}

/// Judges changes. What waits is durable when this returns.
pub(super) async fn guard(engine: &Inner, planned: Vec<Planned>) -> Result<Guarded, EngineError> {
    let mut judged = judge(engine, &planned).await?;
    let now = engine.clock.now();
    let mut guarded = Guarded::default();
    for (index, mut one) in planned.into_iter().enumerate() {
        if let Some(judgement) = judged.remove(&index) {
            withhold(&mut one, &judgement);
        }
        if !derive::has_work(&one) {
            guarded.endings.push(ended(one));
        } else if let Some(until) = held_up(engine, &one, now) {
            let ending = Ending::Retry { at: until, cursor: None, counts: false };
            guarded.endings.push(Settlement::new(one.claim, ending));
        } else {
            guarded.planned.push(one);
        }
    }
    Ok(guarded)
}

/// Judges those changes that take something away, by their places.
async fn judge(
    engine: &Inner,
    planned: &[Planned],
) -> Result<BTreeMap<usize, Judgement>, EngineError> {
    let taking = planned.iter().enumerate().filter_map(|(index, one)| {
        let takes = takes(one);
        let is_counted = !takes.is_empty() && !one.is_gone;
        is_counted.then(|| (index, taking(one, takes)))
    });
    let (places, takings): (Vec<usize>, Vec<Taking>) = taking.unzip();
    if takings.is_empty() {
        return Ok(BTreeMap::new());
    }
    let judged = engine.store.judge(takings, engine.measure(), engine.clock.now()).await?;
    if judged.is_unfed {
        engine.guard.unfed.notify_one();
    }
    engine.guard.wake();
    Ok(places.into_iter().zip(judged.judgements).collect())
}

fn taking(planned: &Planned, takes: Takes) -> Taking {
    Taking {
        contact: planned.owner.clone(),
        takes,
        cause: planned.claim.cause,
        rule_set: planned.decision.as_ref().map(|decision| decision.rule_set.to_string()),
    }
}

/// What a change takes away. Who is new to Brevo has nothing to lose.
fn takes(planned: &Planned) -> Takes {
    let Planned { change, ruled_out, .. } = planned;
    if change.identity == Identity::New {
        return Takes::default();
    }
    if planned.action == Action::Delete {
        return Takes { deletes: true, ..Takes::default() };
    }
    Takes {
        deletes: false,
        unsubscribes_email: change.email_opt_out && ruled_out.email,
        unsubscribes_sms: change.sms_opt_out && ruled_out.sms,
        lists: change.remove.clone(),
        clears: change.clear.clone(),
    }
}

/// Leaves out what must not be done now.
fn withhold(planned: &mut Planned, judgement: &Judgement) {
    let Judgement { waits, rejected } = judgement;
    planned.rest = match (waits.is_empty(), rejected.is_empty()) {
        (false, _) => Rest::Waits,
        (true, false) => Rest::Rejected,
        (true, true) => return,
    };
    let left_out = waits.or(rejected);
    // What goes on standing for the record is not released.
    planned.action = Action::Write;
    if left_out.deletes {
        planned.change = nothing(planned.change.identity);
        return;
    }
    let is_out = planned.held().email_blacklisted;
    let change = &mut planned.change;
    change.remove.retain(|list| !left_out.lists.contains(list));
    change.clear.retain(|name| !left_out.clears.contains(name));
    if left_out.unsubscribes_email {
        // Nobody is put on a list meanwhile: the rules want him to be out.
        change.email_opt_out = false;
        change.is_blacklisted = is_out;
    }
    if left_out.unsubscribes_sms {
        change.sms_opt_out = false;
    }
}

fn nothing(identity: Identity) -> Change {
    Change {
        identity,
        email: None,
        ext_id: None,
        set: Default::default(),
        clear: Default::default(),
        add: Default::default(),
        remove: Default::default(),
        email_opt_out: false,
        sms_opt_out: false,
        is_blacklisted: false,
    }
}

/// The end of a journey of which nothing may be written now.
fn ended(planned: Planned) -> Settlement {
    let due_again = planned.due_again();
    let outcome = match planned.rest {
        Rest::Waits => Outcome::Held,
        Rest::Rejected => Outcome::Skipped,
        Rest::None => Outcome::Unchanged,
    };
    let mut settlement = *derive::unchanged(planned);
    settlement.ending = Ending::Done { outcome, due_again };
    settlement
}

/// How the inputs of a change are counted that was written.
pub(super) fn outcome(planned: &Planned) -> Outcome {
    match planned.rest {
        Rest::Waits => Outcome::Held,
        Rest::Rejected | Rest::None => Outcome::Applied,
    }
}

fn is_part_of_loops(planned: &Planned) -> bool {
    let change = &planned.change;
    planned.claim.cause.is_none() && !change.email_opt_out && !change.sms_opt_out
}

/// Counts what Brevo did for a contact. What failed was not written, and comes again less and less often;
/// who waits for a key, a limit or another round must not wait for ten minutes more.
pub(super) fn count_write(engine: &Inner, planned: &Planned, fate: &Fate) {
    let is_written = match fate {
        Fate::Written(..) | Fate::Deleted | Fate::Partly(..) | Fate::Refused(_) => true,
        Fate::Stale | Fate::Later(_) => false,
    };
    if is_written && is_part_of_loops(planned) {
        engine.guard.breaker.count(&planned.owner, engine.clock.now());
    }
}

/// Until when a contact is not written to, because it was too often. What new rules decide and what
/// keeps a person from being written to is not part of any loop.
fn held_up(engine: &Inner, planned: &Planned, now: Timestamp) -> Option<Timestamp> {
    if !is_part_of_loops(planned) {
        return None;
    }
    let refused = engine.guard.breaker.refusal(&planned.owner, now)?;
    if refused.is_first {
        metrics::counter!(telemetry::WRITES_HELD_UP.name).increment(1);
        tracing::warn!(
            contact.id = %planned.owner,
            "a contact was written to more than {} times in ten minutes: what follows waits until \
             {}; look whether something else changes it back each time",
            breaker::WRITES,
            refused.until
        );
    }
    Some(refused.until)
}

/// Ends counts, and works off what was decided, for as long as the engine runs.
pub(super) async fn keep(engine: Arc<Inner>) {
    loop {
        let wait = match engine.look_at_holds().await {
            Ok(wait) => wait,
            Err(error) => {
                engine.note(&error);
                COUNTING
            }
        };
        tokio::select! {
            () = engine.guard.changed.notified() => {}
            () = tokio::time::sleep(wait) => {}
            () = engine.stop.cancelled() => return,
        }
    }
}

impl Inner {
    fn measure(&self) -> Measure {
        let config = self.config.load();
        Measure {
            bound: bound(&config),
            rule_set: self.rules.current().map(|rules| rules.version().to_string()),
            reapplies: config.scripts.on_change == OnChange::Reapply,
        }
    }

    /// Answers when to look again.
    async fn look_at_holds(&self) -> Result<Duration, EngineError> {
        for hold in self.store.close_counts(self.measure()).await? {
            tracing::warn!(
                hold.id = hold.id,
                hold.cause = hold.cause,
                contacts = hold.contacts,
                "something would be taken away from too many people, and waits for approval: see \
                 `tajo held list`"
            );
        }
        while self.store.work_off_holds(self.clock.now()).await? > 0 {
            self.bulk_work.notify_one();
        }
        let counts = self.store.counts(self.clock.now()).await?;
        self.guard.note_waiting(counts.held_changes);
        Ok(if counts.work > 0 { COUNTING } else { IDLE })
    }
}

fn bound(config: &Config) -> Bound {
    let max = config.guards.max_change;
    Bound { contacts: max.contacts, percent: max.percent }
}

/// A hold with some of its contacts, as it is shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldView {
    /// The hold.
    #[serde(flatten)]
    pub hold: Hold,
    /// Some of its contacts.
    pub sample: Vec<HeldChangeView>,
}

/// What is taken away from one contact, as it is shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldChangeView {
    /// Intercom's id of the contact.
    pub contact: String,
    /// Its address, masked.
    pub email: Option<String>,
    /// What goes, a line each.
    pub changes: Vec<String>,
}

impl HoldView {
    /// Shows a hold. Lists that the configuration names are named.
    pub fn new(hold: Hold, sample: Vec<HeldChange>, config: &Config) -> Self {
        let sample = sample.into_iter().map(|held| HeldChangeView {
            contact: held.contact.to_string(),
            email: held.address.as_ref().map(masked),
            changes: lines(&held.takes, config),
        });
        Self { hold, sample: sample.collect() }
    }

    /// How many contacts are looked up to be shown.
    pub const SAMPLE: usize = SAMPLE;
}

/// An address of which only the owner of the account can tell whose it is.
fn masked(email: &Email) -> String {
    let (name, domain) = email.as_str().split_once('@').unwrap_or_default();
    let first: String = name.chars().take(1).collect();
    format!("{first}***@{domain}")
}

fn lines(takes: &Takes, config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    if takes.deletes {
        lines.push("- the contact".to_owned());
    }
    if takes.unsubscribes_email {
        lines.push("- consent to e-mail".to_owned());
    }
    if takes.unsubscribes_sms {
        lines.push("- consent to SMS".to_owned());
    }
    lines.extend(takes.lists.iter().map(|list| format!("- list {}", named(*list, config))));
    lines.extend(takes.clears.iter().map(|name| format!("- attribute {name}")));
    lines
}

fn named(list: ListId, config: &Config) -> String {
    let lists = &config.intercom.lists;
    let name = lists.iter().find(|(_, id)| **id == list.0).map(|(name, _)| name);
    name.map_or_else(|| list.to_string(), |name| format!("{list} ({name})"))
}

impl Engine {
    /// Lists what waits for approval, oldest first.
    pub async fn holds(&self) -> Result<Vec<Hold>, EngineError> {
        Ok(self.inner.store.holds().await?)
    }

    /// Finds a hold in which something waits for approval.
    pub async fn hold(&self, id: i64) -> Result<Option<HoldView>, EngineError> {
        let store = &self.inner.store;
        let Some(hold) = store.hold(id).await? else { return Ok(None) };
        let sample = store.hold_sample(id, SAMPLE).await?;
        Ok(Some(HoldView::new(hold, sample, &self.inner.config.load())))
    }

    /// Approves a hold: what today's decisions still want of it is done. False: there is no such.
    pub async fn approve_hold(&self, id: i64) -> Result<bool, EngineError> {
        let approved = self.inner.store.approve_hold(id).await?;
        self.inner.guard.wake();
        Ok(approved)
    }

    /// Rejects a hold for as long as the live rules are live. False: there is no such.
    pub async fn reject_hold(&self, id: i64) -> Result<bool, EngineError> {
        let rejected = self.inner.store.reject_hold(id, self.inner.measure().rule_set).await?;
        self.inner.guard.wake();
        Ok(rejected)
    }
}
