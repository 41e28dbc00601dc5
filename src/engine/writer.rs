//! Brings Brevo to the state that was decided: the planner's calls, made and confirmed.
//!
//! A change is done when Brevo has confirmed it. What Brevo did not take by company is tried alone,
//! and only what it refuses alone is given up.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;

use super::derive::{Action, Planned};
use super::gate::Gate;
use super::importer::Importer;
use super::read_back::ReadBack;
use super::{EngineError, account};
use crate::brevo::{
    self, BrevoClient, BrevoError, By, ContactWrite, ErrorKind, Identifier, ImportFile, ImportRow,
    ListCall, Member, Plan, PlannedChange, Situation, Upserted,
};
use crate::http::Lane;
use crate::intercom::IntercomClient;
use crate::model::{
    Applied, AttributeName, AttributeValue, BrevoContact, Change, Email, Identity, ListId,
    Mirrored, RecordId, Timestamp,
};
use crate::store::{Channel, OptOut};
use crate::telemetry;

/// How many single calls are under way at a time; the limiter keeps them apart.
const PARALLEL: usize = 16;
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
    Refused(BrevoError),
    /// It may be written later.
    Later(EngineError),
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
    pub(crate) sync_list: &'a str,
    pub(crate) lane: Lane,
    /// Calls to `/contacts` that this lane may make in a second.
    pub(crate) contacts_per_second: f64,
}

impl Writer<'_> {
    /// Writes all of `planned` and tells the fate of each, by its place, as soon as it is known.
    pub(crate) async fn write(&self, planned: &[Planned], fates: Fates) {
        let (plannable, alone): (Vec<usize>, Vec<usize>) = (0..planned.len()).partition(|index| {
            planned
                .get(*index)
                .is_some_and(|one| one.action == Action::Write && one.release.is_none())
        });
        let plan = match self.plan(planned, &plannable).await {
            Ok(plan) => plan,
            Err(error) => {
                let reason = error.to_string();
                self.note(&error);
                for index in 0..planned.len() {
                    tell(&fates, index, Fate::Later(EngineError::Worker(reason.clone())));
                }
                return;
            }
        };
        tracing::debug!(
            lane = ?self.lane,
            changes = planned.len(),
            plan.singles = plan.singles.len(),
            plan.imports = plan.imports.len(),
            plan.list_calls = plan.adds.len() + plan.removes.len(),
            "changes are written"
        );
        let place = |index: &usize| plannable.get(*index).copied();
        let singles: Vec<usize> = plan.singles.iter().filter_map(place).chain(alone).collect();
        // While an import is waited for, single calls are made.
        let ((), again) = tokio::join!(
            self.write_singles(planned, &singles, &fates),
            self.write_bulk(planned, &plannable, &plan, &fates)
        );
        // What was not taken by company is tried alone, which tells why.
        self.write_singles(planned, &again, &fates).await;
    }

    /// Makes the calls of company; answers what has to be tried alone.
    async fn write_bulk(
        &self,
        planned: &[Planned],
        plannable: &[usize],
        plan: &Plan,
        fates: &Fates,
    ) -> Vec<usize> {
        let places = |indexes: &[usize]| -> Vec<usize> {
            indexes.iter().filter_map(|index| plannable.get(*index).copied()).collect()
        };
        let singles: BTreeSet<usize> = plan.singles.iter().copied().collect();
        let steps = plan.steps_of_changes().into_iter();
        let steps = steps.filter(|(index, _)| !singles.contains(index));
        let mut bulk = Bulk {
            steps: steps.filter_map(|(index, n)| Some((*plannable.get(index)?, n))).collect(),
            ..Bulk::default()
        };
        let mut again = Vec::new();
        let (first, after): (Vec<&ListCall>, Vec<&ListCall>) =
            plan.adds.iter().partition(|call| !call.after_imports);
        for call in &plan.removes {
            let members = places(&call.members);
            self.list_call(planned, &members, call, ListAction::Remove, &mut bulk).await;
            again.extend(bulk.end_step(planned, &members, fates));
        }
        for call in first {
            let members = places(&call.members);
            self.list_call(planned, &members, call, ListAction::Add, &mut bulk).await;
            again.extend(bulk.end_step(planned, &members, fates));
        }
        for step in &plan.imports {
            let rows = places(&step.rows);
            let lists: Vec<ListId> = step.lists.iter().copied().collect();
            self.import(planned, &rows, &lists, &mut bulk).await;
            again.extend(bulk.end_step(planned, &rows, fates));
        }
        for call in after {
            let members = places(&call.members);
            self.list_call(planned, &members, call, ListAction::Add, &mut bulk).await;
            again.extend(bulk.end_step(planned, &members, fates));
        }
        again
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
        let situation = |sync_list| Situation {
            contacts_per_second: self.contacts_per_second,
            import_seconds: IMPORT_SECONDS,
            sync_list,
        };
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

    async fn write_singles(&self, planned: &[Planned], indexes: &[usize], fates: &Fates) {
        let calls = indexes.iter().filter_map(|index| Some((*index, planned.get(*index)?)));
        let calls: Vec<_> = calls.map(|(index, one)| self.write_at(index, one)).collect();
        let mut written = stream::iter(calls).buffer_unordered(PARALLEL);
        while let Some((index, fate)) = written.next().await {
            tell(fates, index, fate);
        }
    }

    async fn write_at(&self, index: usize, planned: &Planned) -> (usize, Fate) {
        (index, self.write_one(planned).await)
    }

    async fn write_one(&self, planned: &Planned) -> Fate {
        if self.gate.wait().is_some() {
            return Fate::Later(EngineError::Worker("writing to brevo is paused".to_owned()));
        }
        match self.opted_out_since(planned).await {
            Ok(true) => return Fate::Stale,
            Ok(false) => {}
            Err(error) => return Fate::Later(error),
        }
        let result = match planned.action {
            Action::Delete => self.delete(planned).await,
            Action::Write | Action::Release => self.write_change(planned).await,
        };
        let fate = result.unwrap_or_else(|error| self.fate_of(error));
        if let (Fate::Written(..), Some((former, change))) = (&fate, &planned.release)
            && !change.is_empty()
            && let Err(error) = self.put(former.contact.id, change).await
            && !matches!(error, BrevoError::NotFound { .. })
        {
            return self.fate_of(error.into());
        }
        fate
    }

    /// True if an opt-out came after the change was worked out.
    async fn opted_out_since(&self, planned: &Planned) -> Result<bool, EngineError> {
        let Some(email) = must_not_be_out(planned) else {
            return Ok(false);
        };
        let store = &self.importer.read_back.store;
        Ok(store.is_suppressed(email.clone(), Channel::Email).await?)
    }

    fn fate_of(&self, error: EngineError) -> Fate {
        self.note(&error);
        match error {
            EngineError::Brevo(error) if error.kind() == ErrorKind::Permanent => {
                Fate::Refused(error)
            }
            other => Fate::Later(other),
        }
    }

    fn note(&self, error: &impl Noted) {
        if let Some(error) = error.brevo() {
            self.gate.note(error);
        }
    }

    async fn write_change(&self, planned: &Planned) -> Result<Fate, EngineError> {
        let mut change = planned.change.clone();
        if change.is_empty() {
            return Ok(Fate::Written(Box::new(planned.held()), planned.applied()));
        }
        if change.moves_address() && change.is_blacklisted {
            self.note_opt_out_of(&change, planned).await?;
        }
        match self.send(&change).await {
            Ok(id) => return self.confirm(planned, &change, id).await,
            Err(BrevoError::Duplicate { identifiers }) => {
                if identifiers.iter().any(|name| name == "EMAIL") {
                    return self.address_is_taken(&change).await;
                }
                self.find_owner(&change, &identifiers).await?;
                leave_out(&mut change, &identifiers, &planned.owner)?;
            }
            Err(BrevoError::NotFound { message }) => return self.is_gone(planned, message).await,
            Err(error) => return Err(error.into()),
        }
        if change.is_empty() {
            return Ok(Fate::Written(Box::new(planned.held()), planned.applied()));
        }
        let id = self.send(&change).await?;
        self.confirm(planned, &change, id).await
    }

    /// Enters the new address of somebody who opted out into the ledger before the move, which takes
    /// him off Brevo's blacklist: whatever happens then, the flag is put back.
    async fn note_opt_out_of(&self, change: &Change, planned: &Planned) -> Result<(), EngineError> {
        let ReadBack { store, clock, .. } = &self.importer.read_back;
        let now = clock.now();
        let opt_out = OptOut {
            email: change.email.clone(),
            channel: Channel::Email,
            at: now,
            source: "brevo",
            contact: Some(planned.owner.clone()),
        };
        Ok(store.learn(Vec::new(), vec![opt_out], now).await?)
    }

    /// Reads who owns a phone number that was refused, so that it is not tried again in vain.
    async fn find_owner(&self, change: &Change, identifiers: &[String]) -> Result<(), EngineError> {
        let sms = change.set.iter().find(|(name, _)| name.as_str() == "SMS");
        if let Some((_, phone)) = sms.filter(|_| identifiers.iter().any(|name| name == "SMS")) {
            self.importer.read_back.by_phone(self.lane, phone.phone_digits()).await?;
        }
        Ok(())
    }

    /// Sends a change by itself; answers the contact's number, where Brevo says it.
    async fn send(&self, change: &Change) -> Result<Option<i64>, BrevoError> {
        match change.identity {
            Identity::Known(id) => self.put(id, change).await.map(|()| Some(id)),
            Identity::New => match self.brevo.upsert(self.lane, &ContactWrite::from(change)).await?
            {
                Upserted::Created(id) => Ok(Some(id)),
                Upserted::Updated => Ok(None),
            },
        }
    }

    async fn put(&self, id: i64, change: &Change) -> Result<(), BrevoError> {
        self.brevo.update(self.lane, &Identifier::Id(id), &ContactWrite::from(change)).await
    }

    /// What Brevo holds after a change was sent.
    async fn confirm(
        &self,
        planned: &Planned,
        change: &Change,
        id: Option<i64>,
    ) -> Result<Fate, EngineError> {
        self.gate.open();
        let Some(id) = id else {
            return self.adopt(change).await;
        };
        if change.moves_address() && change.is_blacklisted {
            self.reassert(id).await?;
        }
        let created = change.identity == Identity::New;
        let contact = BrevoContact { id, ..planned.held() }.after(change);
        let applied = planned.applied().after(change);
        let applied = Applied { created: applied.created || created, ..applied };
        Ok(Fate::Written(Box::new(contact), applied))
    }

    /// The contact was not new after all: what it holds is asked for.
    async fn adopt(&self, change: &Change) -> Result<Fate, EngineError> {
        let Some(email) = &change.email else {
            return Ok(Fate::Stale);
        };
        let found = self.importer.read_back.by_address(self.lane, email).await?;
        Ok(found.map_or(Fate::Stale, |contact| {
            Fate::Written(Box::new(contact), Applied::default().after(change))
        }))
    }

    /// A new address takes a contact off Brevo's blacklist, even where the same call says otherwise
    /// (facts: Brevo section 0): it is put back, and looked at.
    async fn reassert(&self, id: i64) -> Result<(), EngineError> {
        let flag =
            ContactWrite { email_blacklisted: Some(brevo::OptOut), ..ContactWrite::default() };
        self.brevo.update(self.lane, &Identifier::Id(id), &flag).await?;
        let held = self.importer.read_back.by_id(self.lane, id).await?;
        match held {
            Some(contact) if !contact.email_blacklisted => Err(EngineError::Worker(
                "brevo did not keep an opt-out after a change of address".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Another contact of Brevo's has the address: it is read into the mirror, and the record derived
    /// again.
    async fn address_is_taken(&self, change: &Change) -> Result<Fate, EngineError> {
        if let Some(email) = &change.email {
            self.importer.read_back.by_address(self.lane, email).await?;
        }
        Ok(Fate::Stale)
    }

    /// A known contact is gone, or one of its lists is: only a read tells which.
    async fn is_gone(&self, planned: &Planned, message: String) -> Result<Fate, EngineError> {
        self.account.forget().await;
        let Identity::Known(id) = planned.change.identity else {
            return Ok(Fate::Refused(BrevoError::NotFound { message }));
        };
        match self.importer.read_back.by_id(self.lane, id).await? {
            Some(_) => Ok(Fate::Refused(BrevoError::NotFound { message })),
            None => Ok(Fate::Stale),
        }
    }

    /// Deletes a contact that Intercom no longer has. That it is gone there is asked for right before.
    async fn delete(&self, planned: &Planned) -> Result<Fate, EngineError> {
        let Some(mirrored) = &planned.current else {
            return Ok(Fate::Deleted);
        };
        if planned.decision.is_none()
            && let Some(intercom) = self.intercom
        {
            match intercom.contact(self.lane, &planned.owner).await {
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
                Ok(snapshot) => {
                    let store = &self.importer.read_back.store;
                    store
                        .learn(vec![snapshot], Vec::new(), self.importer.read_back.clock.now())
                        .await?;
                    return Ok(Fate::Stale);
                }
            }
        }
        self.brevo.delete(self.lane, &Identifier::Id(mirrored.contact.id)).await?;
        self.gate.open();
        Ok(Fate::Deleted)
    }

    async fn import(&self, planned: &[Planned], rows: &[usize], lists: &[ListId], bulk: &mut Bulk) {
        let usable: Vec<(usize, ImportRow<'_>)> = rows
            .iter()
            .filter_map(|index| {
                let one = planned.get(*index)?;
                Some((*index, ImportRow::new(one.address()?, &one.change.set).ok()?))
            })
            .collect();
        let content: Vec<ImportRow<'_>> = usable.iter().map(|(_, row)| row.clone()).collect();
        let files = match ImportFile::build(&content) {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!("{error}; its contacts are written singly");
                return;
            }
        };
        for file in files {
            let indexes =
                usable.get(file.rows()).unwrap_or_default().iter().map(|(index, _)| *index);
            let addresses: Vec<&Email> = indexes
                .clone()
                .filter_map(|index| planned.get(index).and_then(Planned::address))
                .collect();
            let found = if self.gate.wait().is_some() {
                Err(EngineError::Worker("writing to brevo is paused".to_owned()))
            } else {
                self.importer.run(self.lane, &file, &addresses, lists).await
            };
            match found {
                Ok(found) => {
                    self.gate.open();
                    for index in indexes {
                        let address = planned.get(index).and_then(Planned::address);
                        bulk.rows
                            .insert(index, address.and_then(|email| found.get(email).cloned()));
                    }
                }
                Err(error) => {
                    self.note(&error);
                    let reason = error.to_string();
                    bulk.failed.extend(indexes.map(|index| (index, reason.clone())));
                }
            }
        }
    }

    /// Which of these may not be put on a list any more: they opted out, or left the list, after the
    /// change was worked out.
    async fn closed(
        &self,
        planned: &[Planned],
        indexes: &[usize],
        list: ListId,
        bulk: &Bulk,
    ) -> BTreeSet<usize> {
        let asked = indexes.iter().filter_map(|index| must_not_be_out(planned.get(*index)?));
        let store = &self.importer.read_back.store;
        // A store that does not answer is no leave to go on.
        let Ok(out) = store.suppressed(asked.cloned().collect(), Channel::Email).await else {
            return indexes.iter().copied().collect();
        };
        let is_closed = |index: &usize| {
            let row = bulk.rows.get(index).and_then(Option::as_ref);
            let has_left = row.is_some_and(|held| {
                held.email_blacklisted || held.list_unsubscribed.contains(&list)
            });
            let email = planned.get(*index).and_then(must_not_be_out);
            has_left || email.is_some_and(|email| out.contains(email))
        };
        indexes.iter().copied().filter(is_closed).collect()
    }

    async fn list_call(
        &self,
        planned: &[Planned],
        indexes: &[usize],
        call: &ListCall,
        action: ListAction,
        bulk: &mut Bulk,
    ) {
        let closed = match action {
            ListAction::Add => self.closed(planned, indexes, call.list, bulk).await,
            ListAction::Remove => BTreeSet::new(),
        };
        let mut members: BTreeMap<Member, usize> = BTreeMap::new();
        for index in indexes {
            let Some(one) = planned.get(*index) else {
                continue;
            };
            // Who was not taken by the import is not there to be put on a list.
            if bulk.rows.get(index).is_some_and(Option::is_none) || bulk.failed.contains_key(index)
            {
                continue;
            }
            if closed.contains(index) {
                bulk.closed.insert(*index);
                continue;
            }
            let member = match (call.by, &one.change.identity) {
                (By::Id, Identity::Known(id)) => Some(Member::Id(*id)),
                _ => one.address().cloned().map(Member::Email),
            };
            if let Some(member) = member {
                members.insert(member, *index);
            }
        }
        let asked: Vec<Member> = members.keys().cloned().collect();
        let outcome = match action {
            ListAction::Add => self.brevo.add_to_list(self.lane, call.list, &asked).await,
            ListAction::Remove => self.brevo.remove_from_list(self.lane, call.list, &asked).await,
        };
        match outcome {
            // A failure says "was so already, or does not exist"; the next read-back tells which.
            Ok(_) => {
                let done = bulk.lists.entry(action);
                let done = done.or_default();
                done.extend(members.values().map(|index| (*index, call.list)));
            }
            Err(error) => {
                if error.kind() != ErrorKind::Permanent {
                    self.note(&error);
                    let reason = error.to_string();
                    bulk.failed.extend(indexes.iter().map(|index| (*index, reason.clone())));
                }
                // A refused call is repeated singly, where it ends the journey of its own record only.
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ListAction {
    Add,
    Remove,
}

/// What the calls of company did, by change.
#[derive(Debug, Default)]
struct Bulk {
    /// How many steps of each change are still to be made.
    steps: BTreeMap<usize, usize>,
    /// What Brevo holds after an import; none: the row was not taken.
    rows: BTreeMap<usize, Option<BrevoContact>>,
    lists: BTreeMap<ListAction, BTreeSet<(usize, ListId)>>,
    failed: BTreeMap<usize, String>,
    /// Who opted out, or left a list, after the change was worked out.
    closed: BTreeSet<usize>,
}

impl Bulk {
    /// Ends a step of these changes and tells the fate of those that have no further one; answers
    /// which of them have to be tried alone.
    fn end_step(&mut self, planned: &[Planned], members: &[usize], fates: &Fates) -> Vec<usize> {
        let mut again = Vec::new();
        for index in members {
            let Some(steps) = self.steps.get_mut(index) else {
                continue;
            };
            *steps = steps.saturating_sub(1);
            if *steps > 0 {
                continue;
            }
            match planned.get(*index).and_then(|one| self.fate(*index, one)) {
                Some(fate) => tell(fates, *index, fate),
                None => again.push(*index),
            }
        }
        again
    }

    /// The fate of a change whose steps were all made; none: it has to be tried alone.
    fn fate(&mut self, index: usize, planned: &Planned) -> Option<Fate> {
        if let Some(reason) = self.failed.remove(&index) {
            return Some(Fate::Later(EngineError::Worker(reason)));
        }
        if self.closed.contains(&index) {
            return Some(Fate::Stale);
        }
        let has = |action, list: &ListId| {
            self.lists.get(&action).is_some_and(|done| done.contains(&(index, *list)))
        };
        let Change { identity, set, add, remove, .. } = &planned.change;
        let row = self.rows.get(&index);
        let needs_row = *identity == Identity::New || !set.is_empty();
        let held = match row {
            Some(None) => return None,
            Some(Some(contact)) => contact.clone(),
            None if needs_row => return None,
            None => planned.held(),
        };
        let takes = |(name, value): (&AttributeName, &AttributeValue)| {
            held.attributes.get(name).is_some_and(|held| value.is_same(held, name))
        };
        let listed = add.iter().all(|list| held.lists.contains(list) || has(ListAction::Add, list));
        let unlisted = remove.iter().all(|list| has(ListAction::Remove, list));
        if !(set.iter().all(takes) && listed && unlisted) {
            return None;
        }
        let created = *identity == Identity::New;
        let applied = planned.applied().after(&planned.change);
        let applied = Applied { created: applied.created || created, ..applied };
        let lists_done = Change { set: BTreeMap::new(), email: None, ..planned.change.clone() };
        Some(Fate::Written(Box::new(held.after(&lists_done)), applied))
    }
}

/// The address that must not have opted out meanwhile for a change to be written.
fn must_not_be_out(planned: &Planned) -> Option<&Email> {
    let change = &planned.change;
    let matters =
        change.identity == Identity::New || !change.add.is_empty() || change.moves_address();
    planned.address().filter(|_| matters && !change.is_blacklisted)
}

/// Leaves identifiers out of a change that another contact owns; the rest is written.
pub(crate) fn leave_out(
    change: &mut Change,
    identifiers: &[String],
    owner: &RecordId,
) -> Result<(), BrevoError> {
    let before = change.set.len();
    change.set.retain(|name, _| !identifiers.iter().any(|identifier| identifier == name.as_str()));
    if change.set.len() == before {
        return Err(BrevoError::Duplicate { identifiers: identifiers.to_vec() });
    }
    metrics::counter!(telemetry::IDENTIFIERS_LEFT_OUT.name).increment(1);
    tracing::warn!(
        contact.id = %owner,
        identifiers = identifiers.join(", "),
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

/// The whole of what an opt-out writes.
pub(crate) fn opt_out_write(channel_email: bool, channel_sms: bool) -> ContactWrite {
    ContactWrite {
        email_blacklisted: channel_email.then_some(brevo::OptOut),
        sms_blacklisted: channel_sms.then_some(brevo::OptOut),
        ..ContactWrite::default()
    }
}
