//! Turns changes into the cheapest legal calls. Pure.
//!
//! A change can be written by one call of its own, which can say everything, or together with
//! others: its values by a row of an import, its memberships by the lists of that import or by list
//! calls of up to 150 contacts. Several plans are made and the fastest is taken: every change by
//! itself; one import for all, with list calls behind it; an import for each set of lists that is
//! granted; and what lies between, where only the most popular lists are granted by imports. In all
//! but the first, whatever gains nothing by company is still written by itself.
//!
//! Order: removals and single calls need not wait for anything, calls that add wait for the imports
//! where [`ListCall::after_imports`] says so. A change is complete when every step is that
//! mentions it.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Draft, popular_lists};
use crate::model::{Change, Email, ListId};

/// How many of the most popular lists are tried as those that imports grant: 2^3 imports at most.
const MOST_GRANTED: usize = 3;

/// A change, and what the planner must know beside it.
#[derive(Debug, Clone, Copy)]
pub struct PlannedChange<'a> {
    /// What is to be written.
    pub change: &'a Change,
    /// The address that a known contact has now. A new one's is in the change.
    pub email: Option<&'a Email>,
    /// The lists that a known contact is on.
    pub held: Option<&'a BTreeSet<ListId>>,
    /// The contact is blacklisted for e-mail or SMS, says anybody: it is written singly.
    pub is_blacklisted: bool,
}

/// What decides between one call for all and one for each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Situation {
    /// Calls to `/contacts` that may be made in a second.
    pub contacts_per_second: f64,
    /// How long an import takes from its start until Brevo says that it has ended, in seconds.
    pub import_seconds: f64,
    /// The list for rows of contacts that are on no list and are put on none: an import needs one.
    pub sync_list: ListId,
}

/// How much longer a plan may take that puts nobody on the technical list, which no rule chose.
const RELUCTANCE: f64 = 2.0;

/// What is to be called. Changes are named by their place in what was given to [`Plan::new`].
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use]
pub struct Plan {
    /// Changes that are written by themselves: `POST` for a new contact, `PUT` for a known one.
    pub singles: Vec<usize>,
    /// Imports. A long one is split when its files are built.
    pub imports: Vec<ImportStep>,
    /// Calls that put contacts on lists.
    pub adds: Vec<ListCall>,
    /// Calls that take contacts off lists.
    pub removes: Vec<ListCall>,
    pub(super) naive: usize,
}

/// An import.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportStep {
    /// Whose values are written.
    pub rows: Vec<usize>,
    /// The lists that all of them are put on; never none.
    pub lists: BTreeSet<ListId>,
}

/// One call that adds contacts to a list or removes them from it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListCall {
    /// Which list.
    pub list: ListId,
    /// Who; at most 150.
    pub members: Vec<usize>,
    /// How the call names them.
    pub by: By,
    /// True if one of them is in an import of this plan, and need not exist before it has ended.
    pub after_imports: bool,
}

/// How a list call names contacts: one way for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// By Brevo's number.
    Id,
    /// By address.
    Email,
}

impl Plan {
    /// The fastest way to write `changes`; of equally fast ones that with the fewest calls. Empty
    /// changes are in no step.
    pub fn new(changes: &[PlannedChange<'_>], situation: &Situation) -> Self {
        let costs = Costs::of(situation);
        let popular = popular_lists(changes);
        let mut drafts = vec![Draft::all_single(changes)];
        for anchors in [popular.as_slice(), &[]] {
            let by_import = |granted: &dyn Fn(&Change) -> BTreeSet<ListId>| {
                Draft::by_import(changes, &costs, anchors, granted)
            };
            drafts.push(by_import(&|change| change.add.clone()));
            for count in 0..=MOST_GRANTED.min(popular.len()) {
                let granted: BTreeSet<ListId> = popular.iter().take(count).copied().collect();
                drafts.push(by_import(&|change| &change.add & &granted));
            }
        }
        let plans = drafts.into_iter().map(|draft| draft.into_plan(situation.sync_list));
        let cost = |plan: &Self| {
            let is_technical = |import: &ImportStep| import.lists.contains(&situation.sync_list);
            let reluctance = if plan.imports.iter().any(is_technical) { RELUCTANCE } else { 1.0 };
            costs.seconds(plan) * reluctance
        };
        let faster =
            |a: &Self, b: &Self| cost(a).total_cmp(&cost(b)).then(a.calls().cmp(&b.calls()));
        plans.min_by(faster).unwrap_or_default()
    }

    /// How many calls the plan makes, asking how far imports are not counted.
    pub fn calls(&self) -> usize {
        self.singles.len() + self.imports.len() + self.adds.len() + self.removes.len()
    }

    /// How many calls one for each change would be.
    pub fn naive_calls(&self) -> usize {
        self.naive
    }

    /// How many steps each change is in; when all of them are done, so is the change.
    pub fn steps_of_changes(&self) -> BTreeMap<usize, usize> {
        let rows = self.imports.iter().flat_map(|import| &import.rows);
        let members = self.adds.iter().chain(&self.removes).flat_map(|call| &call.members);
        let mut steps = BTreeMap::new();
        for index in self.singles.iter().chain(rows).chain(members) {
            *steps.entry(*index).or_default() += 1;
        }
        steps
    }
}

/// What calls cost, in seconds.
#[derive(Debug)]
pub(super) struct Costs {
    call: f64,
    import: f64,
}

impl Costs {
    fn of(situation: &Situation) -> Self {
        let call = 1.0 / situation.contacts_per_second.clamp(0.01, 1_000_000.0);
        Self { call, import: situation.import_seconds.max(0.0) }
    }

    /// Imports follow each other, since Brevo works on one at a time.
    fn seconds(&self, plan: &Plan) -> f64 {
        plan.calls() as f64 * self.call + plan.imports.len() as f64 * self.import
    }

    pub(super) fn is_worth_an_import(&self, rows: usize) -> bool {
        self.call + self.import < rows as f64 * self.call
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
