//! A plan while it is worked out: who is written in company, and who gains nothing by it.

use std::collections::{BTreeMap, BTreeSet};

use super::import::is_importable;
use super::movers::{Movers, Naming, Tally};
use super::plan::{Costs, ImportStep, ListCall, Plan, PlannedChange};
use crate::model::{Change, Identity, ListId};

/// How each change goes, while the plan is worked out.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    changes: &'a [PlannedChange<'a>],
    /// Changes that are written by themselves.
    singles: BTreeSet<usize>,
    /// The rows of each import, by the lists that it grants.
    imports: BTreeMap<BTreeSet<ListId>, BTreeSet<usize>>,
    /// Who is moved by list calls.
    moves: BTreeMap<(ListId, Direction), Movers>,
}

impl<'a> Draft<'a> {
    pub(super) fn all_single(changes: &'a [PlannedChange<'a>]) -> Self {
        let singles = (0..).zip(changes).filter(|(_, planned)| !planned.change.is_empty());
        Self {
            changes,
            singles: singles.map(|(index, _)| index).collect(),
            imports: BTreeMap::new(),
            moves: BTreeMap::new(),
        }
    }

    /// Everything in company that can be and gains by it; `grants` are the lists that a row's import
    /// grants, the others are granted by list calls. `anchors`: see [`anchored`].
    pub(super) fn by_import(
        changes: &'a [PlannedChange<'a>],
        costs: &Costs,
        anchors: &[ListId],
        grants: &dyn Fn(&Change) -> BTreeSet<ListId>,
    ) -> Self {
        let mut draft = Self::all_single(changes);
        for (index, planned) in changes.iter().enumerate() {
            let change = planned.change;
            let granted = match Company::of(planned) {
                _ if change.is_empty() => continue,
                Company::Refused => continue,
                Company::Lists => BTreeSet::new(),
                Company::Row => anchored(planned, grants(change), anchors),
            };
            draft.singles.remove(&index);
            let moves = change.add.difference(&granted).map(|list| (*list, Direction::Add));
            let moves = moves.chain(change.remove.iter().map(|list| (*list, Direction::Remove)));
            for key in moves {
                draft.moves.entry(key).or_default().insert(index, Naming::of(planned));
            }
            if Company::of(planned) == Company::Row {
                draft.imports.entry(granted).or_default().insert(index);
            }
        }
        // Each round only takes changes out of company, so this ends.
        while draft.drop_small_imports(costs) || draft.drop_small_moves() {}
        draft
    }

    /// Writes rows singly whose import would take longer.
    fn drop_small_imports(&mut self, costs: &Costs) -> bool {
        let small = self.imports.values().filter(|rows| !costs.is_worth_an_import(rows.len()));
        let lonely: Vec<usize> = small.flatten().copied().collect();
        self.write_singly(&lonely);
        !lonely.is_empty()
    }

    /// Writes the members of a list singly where that saves as many list calls, or more. A single
    /// call says all that a contact's list calls say, and says it at once.
    fn drop_small_moves(&mut self) -> bool {
        let mut by_size: Vec<(usize, (ListId, Direction))> =
            self.moves.iter().map(|(key, movers)| (movers.members.len(), *key)).collect();
        by_size.sort_unstable();
        let most_saved: usize = self.moves.values().map(|movers| movers.tally.calls()).sum();
        let mut dropped = false;
        for (_, key) in by_size {
            let Some(movers) = self.moves.get(&key) else {
                continue;
            };
            let members: Vec<usize> = movers.members.keys().copied().collect();
            if members.len() <= most_saved && members.len() <= self.calls_saved_without(&members) {
                self.write_singly(&members);
                dropped = true;
            }
        }
        dropped
    }

    /// How many list calls fewer there are if these are written singly.
    fn calls_saved_without(&self, members: &[usize]) -> usize {
        let mut leaving: BTreeMap<(ListId, Direction), Tally> = BTreeMap::new();
        for index in members {
            for key in self.moves_of(*index) {
                let naming = self.moves.get(&key).and_then(|movers| movers.members.get(index));
                if let Some(naming) = naming {
                    leaving.entry(key).or_default().count(*naming);
                }
            }
        }
        let saved = leaving.iter().filter_map(|(key, leaving)| {
            let tally = &self.moves.get(key)?.tally;
            Some(tally.calls() - tally.without(leaving).calls())
        });
        saved.sum()
    }

    fn write_singly(&mut self, indices: &[usize]) {
        self.singles.extend(indices);
        for index in indices {
            for key in self.moves_of(*index) {
                if let Some(movers) = self.moves.get_mut(&key) {
                    movers.remove(*index);
                }
            }
        }
        let singles = &self.singles;
        self.moves.retain(|_, movers| !movers.members.is_empty());
        self.imports.retain(|_, rows| {
            rows.retain(|index| !singles.contains(index));
            !rows.is_empty()
        });
    }

    /// Every membership that the change could move by list calls.
    fn moves_of(&self, index: usize) -> Vec<(ListId, Direction)> {
        let Some(planned) = self.changes.get(index) else {
            return Vec::new();
        };
        let adds = planned.change.add.iter().map(|list| (*list, Direction::Add));
        let removes = planned.change.remove.iter().map(|list| (*list, Direction::Remove));
        adds.chain(removes).collect()
    }

    pub(super) fn into_plan(self, sync_list: ListId) -> Plan {
        let rows: BTreeSet<usize> = self.imports.values().flatten().copied().collect();
        let mut plan = Plan {
            singles: self.singles.into_iter().collect(),
            naive: self.changes.iter().filter(|planned| !planned.change.is_empty()).count(),
            ..Plan::default()
        };
        for ((list, direction), movers) in &self.moves {
            let calls = movers.groups().into_iter().map(|(by, members)| {
                let waits = *direction == Direction::Add;
                let after_imports = waits && members.iter().any(|index| rows.contains(index));
                ListCall { list: *list, members, by, after_imports }
            });
            match direction {
                Direction::Add => plan.adds.extend(calls),
                Direction::Remove => plan.removes.extend(calls),
            }
        }
        plan.imports.extend(self.imports.into_iter().map(|(granted, rows)| ImportStep {
            rows: rows.into_iter().collect(),
            lists: if granted.is_empty() { [sync_list].into() } else { granted },
        }));
        plan
    }
}

/// An import needs a list. One that grants none to a row takes the first of `anchors` that the contact
/// is on, or is to be put on, so that nobody comes to be on a list that no rule chose.
fn anchored(
    planned: &PlannedChange<'_>,
    granted: BTreeSet<ListId>,
    anchors: &[ListId],
) -> BTreeSet<ListId> {
    if !granted.is_empty() {
        return granted;
    }
    let own = lists_after(planned);
    anchors.iter().copied().find(|list| own.contains(list)).into_iter().collect()
}

/// The lists that a contact is on once its change is written.
fn lists_after(planned: &PlannedChange<'_>) -> BTreeSet<ListId> {
    let held = planned.held.into_iter().flatten();
    let stays = held.filter(|list| !planned.change.remove.contains(list));
    stays.chain(&planned.change.add).copied().collect()
}

/// The lists that contacts of an import are on, or are put on, those with the most first.
pub(super) fn popular_lists(changes: &[PlannedChange<'_>]) -> Vec<ListId> {
    let mut members: BTreeMap<ListId, usize> = BTreeMap::new();
    let rows = changes.iter().filter(|planned| Company::of(planned) == Company::Row);
    for list in rows.flat_map(lists_after) {
        *members.entry(list).or_default() += 1;
    }
    let mut lists: Vec<(ListId, usize)> = members.into_iter().collect();
    lists.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    lists.into_iter().map(|(list, _)| list).collect()
}

/// How a change could be written in company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Company {
    /// Not at all: it says what neither an import nor a list call can say.
    Refused,
    /// By list calls alone.
    Lists,
    /// By a row of an import, and list calls.
    Row,
}

impl Company {
    fn of(planned: &PlannedChange<'_>) -> Self {
        let PlannedChange { change, email, is_blacklisted, .. } = planned;
        let is_consent =
            *is_blacklisted || change.is_blacklisted || change.email_opt_out || change.sms_opt_out;
        let is_identity = change.moves_address() || change.ext_id.is_some();
        if is_consent || is_identity || !change.clear.is_empty() {
            return Self::Refused;
        }
        let is_known = matches!(change.identity, Identity::Known(_));
        if is_known && change.set.is_empty() {
            return Self::Lists;
        }
        let has_email = email.is_some() || change.email.is_some();
        if has_email && change.set.iter().all(|(name, value)| is_importable(name, value)) {
            Self::Row
        } else {
            Self::Refused
        }
    }
}

/// Which way a membership changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Add,
    Remove,
}
