//! Brings Brevo to the state that was decided: the planner's calls, made and confirmed.
//!
//! A change is done when Brevo has confirmed it. What Brevo did not take by company is tried alone,
//! and only what it refuses alone is given up. What was written stays written: a change of which a
//! part failed comes again without the part that succeeded.

mod bulk;
mod refusal;
mod rest;
mod single;

pub(crate) use refusal::{Refusal, origin_of};
use tokio::sync::mpsc;

use super::derive::{Action, Planned};
use super::gate::Gate;
use super::importer::Importer;
use super::plans::Plans;
use super::{EngineError, account};
use crate::brevo::{BrevoClient, BrevoError, ErrorKind, Explained, Plan, PlannedChange, Situation};
use crate::http::Lane;
use crate::intercom::IntercomClient;
use crate::model::{
    Applied, BrevoContact, Change, Email, Identity, ListId, Mirrored, RecordId, Timestamp,
};
use crate::telemetry;
use rest::Rest;
pub(crate) use single::opt_out_write;

/// How long an import is taken to last: two polls, and the read that confirms it.
const IMPORT_SECONDS: f64 = 4.0;

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Brevo holds this now, and this much of it is ours.
    Written(Box<BrevoContact>, Applied),
    /// The contact is gone from Brevo, as decided.
    Deleted,
    /// Brevo is not as it was thought to be: derive again.
    Stale,
    /// Brevo refuses it, and will again.
    Refused(Box<Refusal>),
    /// It may be written later.
    Later(EngineError),
    /// A part of it is written, so that Brevo holds this now and this much of it is ours. The rest may
    /// be written later; without an error it is to be derived again.
    Partly(Box<BrevoContact>, Applied, Option<EngineError>),
}

/// Where the fates of changes go, each with the place of its change.
pub(crate) type Fates = mpsc::UnboundedSender<(usize, Fate)>;

fn tell(fates: &Fates, index: usize, fate: Fate) {
    // Nobody listens any more if the store failed: the claims are given back.
    let _ = fates.send((index, fate));
}

/// Writes what is planned.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) brevo: &'a BrevoClient,
    pub(crate) intercom: Option<&'a IntercomClient>,
    pub(crate) account: &'a account::Account,
    pub(crate) importer: &'a Importer,
    pub(crate) gate: &'a Gate,
    pub(crate) plans: &'a Plans,
    pub(crate) sync_list: &'a str,
    pub(crate) lane: Lane,
    /// Calls to `/contacts` that this lane may make in a second.
    pub(crate) contacts_per_second: f64,
}

impl Writer<'_> {
    /// Writes all of `planned` and tells the fate of each, by its place, as soon as it is known.
    pub(crate) async fn write(&self, planned: &[Planned], fates: Fates) {
        let (plannable, alone): (Vec<usize>, Vec<usize>) = (0..planned.len()).partition(|index| {
            planned.get(*index).is_some_and(|one| {
                one.action == Action::Write && one.release.is_none() && !one.is_second_try
            })
        });
        let plan = match self.plan(planned, &plannable).await {
            Ok(plan) => plan,
            Err(error) => {
                let reason = error.to_string();
                self.note_service(&error);
                for index in 0..planned.len() {
                    tell(&fates, index, Fate::Later(EngineError::Worker(reason.clone())));
                }
                return;
            }
        };
        self.explain(&plan, alone.len());
        let place = |index: &usize| plannable.get(*index).copied();
        let singles: Vec<usize> = plan.singles.iter().filter_map(place).chain(alone).collect();
        // While an import is waited for, single calls are made.
        let ((), again) = tokio::join!(
            self.write_singles(planned, &singles, &fates),
            self.write_bulk(planned, &plannable, &plan, &fates)
        );
        // What was not taken by company is tried alone, which tells why.
        self.write_rests(planned, again, &fates).await;
    }

    fn situation(&self, sync_list: ListId) -> Situation {
        Situation {
            contacts_per_second: self.contacts_per_second,
            import_seconds: IMPORT_SECONDS,
            sync_list,
        }
    }

    /// Says how changes are going to be written.
    fn explain(&self, plan: &Plan, alone: usize) {
        let explained = Explained::new(plan, &self.situation(ListId(0)), alone);
        tracing::debug!(
            lane = ?self.lane,
            changes = explained.changes,
            plan.calls = explained.calls,
            plan.singles = explained.singles,
            plan.imports = explained.imports.len(),
            plan.list_calls = plan.adds.len() + plan.removes.len(),
            plan.seconds = explained.seconds,
            plan.naive_calls = explained.naive_calls,
            "changes are written"
        );
        if self.lane == Lane::Bulk && explained.changes > 0 {
            self.plans.note(self.importer.read_back.clock.now(), explained);
        }
    }

    async fn plan(&self, planned: &[Planned], plannable: &[usize]) -> Result<Plan, BrevoError> {
        let changes: Vec<PlannedChange<'_>> = plannable
            .iter()
            .filter_map(|index| planned.get(*index))
            .map(|one| PlannedChange {
                change: &one.change,
                email: one.address(),
                held: one.current.as_ref().map(|mirrored| &mirrored.contact.lists),
                is_blacklisted: one.change.is_blacklisted
                    || one.change.sms_opt_out
                    || one.held().sms_blacklisted,
            })
            .collect();
        let situation = |sync_list| self.situation(sync_list);
        let draft = Plan::new(&changes, &situation(ListId(0)));
        if draft.imports.iter().any(|import| import.lists.contains(&ListId(0))) {
            return match self.account.sync_list(self.lane, self.sync_list).await {
                Ok(sync_list) => Ok(Plan::new(&changes, &situation(sync_list))),
                Err(error) if error.kind() == ErrorKind::Permanent => {
                    tracing::warn!(
                        "the list that imports need cannot be made, contacts are written singly: {error}"
                    );
                    let alone = Situation { import_seconds: f64::MAX, ..situation(ListId(0)) };
                    Ok(Plan::new(&changes, &alone))
                }
                Err(error) => Err(error),
            };
        }
        Ok(draft)
    }

    /// Notes a failure of a call that was about one record.
    fn note(&self, planned: &Planned, error: &impl Noted) {
        if let Some(error) = error.brevo() {
            self.gate.note_of(&planned.owner, error);
        }
    }

    /// Notes a failure of a call that was about many.
    fn note_service(&self, error: &impl Noted) {
        if let Some(error) = error.brevo() {
            self.gate.note(error);
        }
    }
}

/// The address that must not have opted out meanwhile for a change to be written.
fn must_not_be_out(planned: &Planned) -> Option<&Email> {
    let change = &planned.change;
    let matters =
        change.identity == Identity::New || !change.add.is_empty() || change.moves_address();
    planned.address().filter(|_| matters && !change.is_blacklisted)
}

/// Leaves identifiers out of a change that another contact owns, with the number `holder` where it is
/// known; the rest is written.
pub(crate) fn leave_out(
    change: &mut Change,
    identifiers: &[String],
    owner: &RecordId,
    holder: Option<i64>,
) -> Result<(), BrevoError> {
    let is_named = |what: &str| identifiers.iter().any(|identifier| identifier == what);
    let before = (change.set.len(), change.ext_id.is_some());
    change.set.retain(|name, _| !is_named(name.as_str()));
    change.ext_id.take_if(|_| is_named("EXT_ID"));
    if (change.set.len(), change.ext_id.is_some()) == before {
        return Err(BrevoError::Duplicate { identifiers: identifiers.to_vec() });
    }
    metrics::counter!(telemetry::IDENTIFIERS_LEFT_OUT.name).increment(1);
    tracing::warn!(
        contact.id = %owner,
        identifiers = identifiers.join(", "),
        brevo.contact = holder,
        "another contact of brevo's owns this identifier; the rest is written"
    );
    Ok(())
}

/// An error that may be Brevo's.
trait Noted {
    fn brevo(&self) -> Option<&BrevoError>;
}

impl Noted for BrevoError {
    fn brevo(&self) -> Option<&BrevoError> {
        Some(self)
    }
}

impl Noted for EngineError {
    fn brevo(&self) -> Option<&BrevoError> {
        match self {
            Self::Brevo(error) => Some(error),
            Self::Shared(error) => error.brevo(),
            _ => None,
        }
    }
}

/// What the mirror holds once a change was written.
pub(crate) fn mirrored(
    planned: &Planned,
    contact: BrevoContact,
    applied: Applied,
    read_at: Timestamp,
) -> Mirrored {
    match planned.action {
        Action::Release => {
            let applied = Applied { created: applied.created, ..Applied::default() };
            Mirrored { contact, applied, owner: None, read_at }
        }
        Action::Write | Action::Delete => {
            Mirrored { contact, applied, owner: Some(planned.owner.clone()), read_at }
        }
    }
}
