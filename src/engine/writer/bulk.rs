//! Changes in company: imports, and list calls of up to 150.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _};

use super::rest::ListAction;
use super::{Fate, Fates, Rest, Writer, leave_out, must_not_be_out, tell};
use crate::brevo::{By, ErrorKind, ImportFile, ImportRow, ListCall, Member, Plan, ProblemKind};
use crate::engine::EngineError;
use crate::engine::derive::Planned;
use crate::engine::importer::Imported;
use crate::model::{BrevoContact, Email, Identity, ListId};
use crate::store::Channel;

/// How many calls of one list are under way at a time. Those of different lists follow each other,
/// since they may be about the same contacts, whose writes Brevo wants one after the other (facts:
/// Brevo section 13).
const PARALLEL: usize = 8;

/// What the calls of company did, by the place of the change.
#[derive(Debug, Default)]
struct Bulk {
    /// How many steps of each change are still to be made.
    steps: BTreeMap<usize, usize>,
    /// What Brevo holds after an import; none: the row was not taken.
    rows: BTreeMap<usize, Option<BrevoContact>>,
    /// Why Brevo says that it did not take a row.
    refused: BTreeMap<usize, ProblemKind>,
    /// What list calls changed.
    moved: BTreeMap<usize, Vec<(ListAction, ListId)>>,
    failed: BTreeMap<usize, String>,
    /// Who opted out, left a list, or was not there after the change was worked out.
    stale: BTreeSet<usize>,
}

/// What a list call did.
struct Moved {
    list: ListId,
    action: ListAction,
    /// Whose step this was.
    members: Vec<usize>,
    done: Vec<usize>,
    stale: Vec<usize>,
    /// Why it failed, for reasons that may pass.
    failed: Option<String>,
}

/// How the calls of company end for a change.
enum End {
    Told(Box<Fate>),
    /// This is left, and is tried alone.
    Alone(Box<Rest>),
}

impl Writer<'_> {
    /// Makes the calls of company; answers what has to be tried alone.
    pub(super) async fn write_bulk(
        &self,
        planned: &[Planned],
        plannable: &[usize],
        plan: &Plan,
        fates: &Fates,
    ) -> Vec<(usize, Rest)> {
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
        let removes = by_list(plan.removes.iter(), ListAction::Remove);
        for (action, calls) in
            removes.into_iter().chain(by_list(first.into_iter(), ListAction::Add))
        {
            self.list_calls(planned, &places, action, &calls, &mut bulk, fates, &mut again).await;
        }
        for step in &plan.imports {
            let rows = places(&step.rows);
            let lists: Vec<ListId> = step.lists.iter().copied().collect();
            self.import(planned, &rows, &lists, &mut bulk).await;
            self.end_step(planned, &rows, &mut bulk, fates, &mut again).await;
        }
        for (action, calls) in by_list(after.into_iter(), ListAction::Add) {
            self.list_calls(planned, &places, action, &calls, &mut bulk, fates, &mut again).await;
        }
        again
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
            let indexes: Vec<usize> = usable
                .get(file.rows())
                .unwrap_or_default()
                .iter()
                .map(|(index, _)| *index)
                .collect();
            self.import_file(planned, &file, &indexes, lists, bulk).await;
        }
    }

    async fn import_file(
        &self,
        planned: &[Planned],
        file: &ImportFile,
        indexes: &[usize],
        lists: &[ListId],
        bulk: &mut Bulk,
    ) {
        let address = |index: &usize| planned.get(*index).and_then(Planned::address);
        let addresses: Vec<&Email> = indexes.iter().filter_map(address).collect();
        let imported = if self.gate.wait().is_some() {
            Err(EngineError::Worker("writing to brevo is paused".to_owned()))
        } else {
            self.importer.run(self.lane, file, &addresses, lists).await
        };
        match imported {
            Ok(Imported { mut found, mut refused }) => {
                self.gate.open();
                for index in indexes {
                    let held = address(index).and_then(|email| found.remove(email));
                    bulk.rows.insert(*index, held);
                    let why = address(index).and_then(|email| refused.remove(email.as_str()));
                    bulk.refused.extend(why.map(|why| (*index, why)));
                }
            }
            Err(error) => {
                self.note_service(&error);
                let reason = error.to_string();
                bulk.failed.extend(indexes.iter().map(|index| (*index, reason.clone())));
            }
        }
    }

    /// Makes the calls of one list.
    #[expect(clippy::too_many_arguments, reason = "a paragraph of `write_bulk`, three times")]
    async fn list_calls(
        &self,
        planned: &[Planned],
        places: &(dyn Fn(&[usize]) -> Vec<usize> + Sync),
        action: ListAction,
        calls: &[&ListCall],
        bulk: &mut Bulk,
        fates: &Fates,
        again: &mut Vec<(usize, Rest)>,
    ) {
        let moves: Vec<_> = calls
            .iter()
            .map(|call| self.list_call(planned, places(&call.members), call, action, bulk))
            .collect();
        let moves: Vec<Moved> = stream::iter(moves).buffer_unordered(PARALLEL).collect().await;
        for Moved { list, action, members, done, stale, failed } in moves {
            for index in done {
                bulk.moved.entry(index).or_default().push((action, list));
            }
            bulk.stale.extend(stale);
            if let Some(reason) = failed {
                bulk.failed.extend(members.iter().map(|index| (*index, reason.clone())));
            }
            self.end_step(planned, &members, bulk, fates, again).await;
        }
    }

    async fn list_call(
        &self,
        planned: &[Planned],
        indexes: Vec<usize>,
        call: &ListCall,
        action: ListAction,
        bulk: &Bulk,
    ) -> Moved {
        let mut stale: BTreeSet<usize> = match action {
            ListAction::Add => self.closed(planned, &indexes, call.list, bulk).await,
            ListAction::Remove => BTreeSet::new(),
        };
        let members: BTreeMap<Member, usize> = indexes
            .iter()
            // Who was not taken by the import is not there to be put on a list.
            .filter(|index| !bulk.rows.get(*index).is_some_and(Option::is_none))
            .filter(|index| !bulk.failed.contains_key(*index) && !stale.contains(*index))
            .filter_map(|index| Some((member(planned.get(*index)?, call.by)?, *index)))
            .collect();
        let asked: Vec<Member> = members.keys().cloned().collect();
        let outcome = match action {
            _ if self.gate.wait().is_some() && !asked.is_empty() => {
                let reason = "writing to brevo is paused".to_owned();
                return moved(call.list, action, indexes, stale, Some(reason));
            }
            ListAction::Add => self.brevo.add_to_list(self.lane, call.list, &asked).await,
            ListAction::Remove => self.brevo.remove_from_list(self.lane, call.list, &asked).await,
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            // A refused call is repeated singly, where it ends the journey of its own record only.
            Err(error) if error.kind() == ErrorKind::Permanent => {
                return moved(call.list, action, indexes, stale, None);
            }
            Err(error) => {
                self.note_service(&error);
                return moved(call.list, action, indexes, stale, Some(error.to_string()));
            }
        };
        if action == ListAction::Add && !outcome.failure.is_empty() {
            // "Was so already, or does not exist": it is looked at, and derived again.
            let unclear: Vec<usize> =
                outcome.failure.iter().filter_map(|member| members.get(member)).copied().collect();
            self.look_at(planned, &unclear).await;
            stale.extend(unclear);
        }
        let done: Vec<usize> =
            members.into_values().filter(|index| !stale.contains(index)).collect();
        Moved { done, ..moved(call.list, action, indexes, stale, None) }
    }

    /// Reads contacts into the mirror of which Brevo does not say whether they exist.
    async fn look_at(&self, planned: &[Planned], indexes: &[usize]) {
        let id = |index: &usize| match planned.get(*index)?.change.identity {
            Identity::Known(id) => Some(id),
            // It was read back after its import.
            Identity::New => None,
        };
        let ids: Vec<i64> = indexes.iter().filter_map(id).collect();
        if let Err(error) = self.importer.read_back.details(self.lane, &ids).await {
            // What is derived again asks once more.
            self.note_service(&error);
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

    /// Ends a step of these changes, tells the fate of those that have no further one, and gathers
    /// which of them have to be tried alone.
    async fn end_step(
        &self,
        planned: &[Planned],
        members: &[usize],
        bulk: &mut Bulk,
        fates: &Fates,
        again: &mut Vec<(usize, Rest)>,
    ) {
        for index in members {
            let Some(steps) = bulk.steps.get_mut(index) else {
                continue;
            };
            *steps = steps.saturating_sub(1);
            if *steps > 0 {
                continue;
            }
            let Some(one) = planned.get(*index) else {
                continue;
            };
            match bulk.end(*index, one) {
                End::Told(fate) => tell(fates, *index, *fate),
                End::Alone(mut rest) => {
                    if let Some(ProblemKind::Duplicate(identifier)) = bulk.refused.remove(index) {
                        self.spare_refusal(one, &mut rest, identifier).await;
                    }
                    again.push((*index, *rest));
                }
            }
        }
    }

    /// Leaves out what the import's own files say that another contact owns, so that it is not tried
    /// once more in vain.
    async fn spare_refusal(&self, planned: &Planned, rest: &mut Rest, identifier: &str) {
        let identifiers = [identifier.to_owned()];
        if self.find_owner(&rest.change, &identifiers).await.is_ok() {
            // Where it is not in the change, the single call tells why.
            let _ = leave_out(&mut rest.change, &identifiers, &planned.owner, None);
        }
    }
}

impl Bulk {
    /// The end of a change whose steps were all made.
    fn end(&mut self, index: usize, planned: &Planned) -> End {
        let mut rest = Rest::of(planned);
        if let Some(Some(contact)) = self.rows.get(&index) {
            rest.read(contact);
        }
        for (action, list) in self.moved.remove(&index).unwrap_or_default() {
            rest.moved(action, list);
        }
        let has_begun = rest.has_begun(planned);
        if let Some(reason) = self.failed.remove(&index) {
            let error = EngineError::Worker(reason);
            return End::Told(Box::new(if has_begun {
                Fate::Partly(Box::new(rest.held), rest.applied, Some(error))
            } else {
                Fate::Later(error)
            }));
        }
        if self.stale.contains(&index) {
            return End::Told(Box::new(if has_begun {
                Fate::Partly(Box::new(rest.held), rest.applied, None)
            } else {
                Fate::Stale
            }));
        }
        if rest.change.is_empty() {
            return End::Told(Box::new(Fate::Written(Box::new(rest.held), rest.applied)));
        }
        End::Alone(Box::new(rest))
    }
}

/// Calls by list, in the order of the plan.
fn by_list<'a>(
    calls: impl Iterator<Item = &'a ListCall>,
    action: ListAction,
) -> Vec<(ListAction, Vec<&'a ListCall>)> {
    let mut lists: BTreeMap<ListId, Vec<&ListCall>> = BTreeMap::new();
    for call in calls {
        lists.entry(call.list).or_default().push(call);
    }
    lists.into_values().map(|calls| (action, calls)).collect()
}

fn member(planned: &Planned, by: By) -> Option<Member> {
    match (by, &planned.change.identity) {
        (By::Id, Identity::Known(id)) => Some(Member::Id(*id)),
        _ => planned.address().cloned().map(Member::Email),
    }
}

/// A list call that changed nothing.
fn moved(
    list: ListId,
    action: ListAction,
    members: Vec<usize>,
    stale: BTreeSet<usize>,
    failed: Option<String>,
) -> Moved {
    Moved { list, action, members, done: Vec::new(), stale: stale.into_iter().collect(), failed }
}
