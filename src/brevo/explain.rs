//! A plan as a person reads it: which calls it makes, and what one call for each change would be.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::plan::{ListCall, Plan, Situation};
use crate::model::ListId;

/// A plan, without the people that it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// Contacts that are written.
    pub changes: usize,
    /// Imports, in their order.
    pub imports: Vec<ExplainedImport>,
    /// Memberships that list calls change.
    pub lists: Vec<ExplainedList>,
    /// Contacts that are written by calls of their own.
    pub singles: usize,
    /// Calls in all; asking how far imports are is not counted.
    pub calls: usize,
    /// About how long they take within the rates, imports included.
    pub seconds: f64,
    /// Calls that one for each contact would be.
    pub naive_calls: usize,
    /// About how long those would take.
    pub naive_seconds: f64,
}

/// One import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedImport {
    /// The lists that all of its contacts are put on.
    pub lists: Vec<ListId>,
    /// How many contacts are in it.
    pub rows: usize,
}

/// What list calls do to one list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedList {
    /// Which list.
    pub list: ListId,
    /// Which way.
    pub action: ListActionName,
    /// How many contacts.
    pub contacts: usize,
    /// By how many calls.
    pub calls: usize,
    /// They wait for the imports.
    pub after_imports: bool,
}

/// Which way memberships change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListActionName {
    /// Onto the list.
    Add,
    /// Off the list.
    Remove,
}

impl Explained {
    /// Explains a plan beside which `alone` contacts are written that no company can take, such as
    /// deletions.
    pub fn new(plan: &Plan, situation: &Situation, alone: usize) -> Self {
        let call = 1.0 / situation.contacts_per_second.clamp(0.01, 1_000_000.0);
        let imports = plan.imports.iter().map(|import| ExplainedImport {
            lists: import.lists.iter().copied().collect(),
            rows: import.rows.len(),
        });
        let mut lists = by_list(&plan.removes, ListActionName::Remove);
        lists.extend(by_list(&plan.adds, ListActionName::Add));
        let (calls, naive_calls) = (plan.calls() + alone, plan.naive_calls() + alone);
        let waits = plan.imports.len() as f64 * situation.import_seconds;
        Self {
            changes: naive_calls,
            imports: imports.collect(),
            lists,
            singles: plan.singles.len() + alone,
            calls,
            seconds: rounded(calls as f64 * call + waits),
            naive_calls,
            naive_seconds: rounded(naive_calls as f64 * call),
        }
    }
}

fn by_list(calls: &[ListCall], action: ListActionName) -> Vec<ExplainedList> {
    let mut lists: BTreeMap<(bool, ListId), (usize, usize)> = BTreeMap::new();
    for call in calls {
        let (contacts, calls) = lists.entry((call.after_imports, call.list)).or_default();
        *contacts += call.members.len();
        *calls += 1;
    }
    let explained = lists.into_iter().map(|((after_imports, list), (contacts, calls))| {
        ExplainedList { list, action, contacts, calls, after_imports }
    });
    explained.collect()
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

impl fmt::Display for Explained {
    /// A headline, then a line for each step and one for the naive way, indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changes, imports, lists, singles, calls, seconds, .. } = self;
        let (contacts, calls) = (count(*changes, "contact"), count(*calls, "call"));
        writeln!(f, "{contacts} in {calls}, about {seconds} s")?;
        for ExplainedImport { lists, rows } in imports {
            let names: Vec<String> = lists.iter().map(ToString::to_string).collect();
            let noun = if names.len() == 1 { "list" } else { "lists" };
            let names = names.join(", ");
            writeln!(f, "  import    {} into {noun} {names}", count(*rows, "contact"))?;
        }
        for ExplainedList { list, action, contacts, calls, after_imports } in lists {
            let way = match action {
                ListActionName::Add => "on",
                ListActionName::Remove => "off",
            };
            let when = if *after_imports { ", after the imports" } else { "" };
            let (contacts, calls) = (count(*contacts, "contact"), count(*calls, "call"));
            writeln!(f, "  list {list:<4} {contacts} {way} in {calls}{when}")?;
        }
        if *singles > 0 {
            writeln!(f, "  singly    {}", count(*singles, "contact"))?;
        }
        let naive = count(self.naive_calls, "call");
        writeln!(f, "  one call for each: {naive}, about {} s", self.naive_seconds)
    }
}
