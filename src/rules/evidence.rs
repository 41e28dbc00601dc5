//! What explains why a test failed: the values side by side, and which lines decided.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::contrast::contrast;
use super::diagnostic::Diagnostic;
use super::journal::{Notes, Read};
use crate::model::{Origin, Part};

/// What explains why a test failed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Evidence {
    /// What `assert_eq` found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<Value>,
    /// What it wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// Both side by side.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub difference: Vec<String>,
    /// Where the rules broke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_rules: Option<Diagnostic>,
    /// The line of the test that called what broke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub called_from: Option<Origin>,
    /// Which lines decided what the assertion looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// The decision that it looked at, each part with its line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decision: Vec<Part>,
}

impl Evidence {
    /// What the notes on a test say about its failure; `None` if that is nothing.
    pub(crate) fn new(
        notes: &Notes,
        in_rules: Option<Diagnostic>,
        called_from: Option<Origin>,
    ) -> Option<Self> {
        let (actual, expected) = notes.mismatch.clone().unzip();
        let difference = match (&actual, &expected) {
            (Some(actual), Some(expected)) => contrast(actual, expected),
            _ => Vec::new(),
        };
        let mut origins: Vec<String> = Vec::new();
        for line in notes.read.iter().flat_map(origins_of) {
            if !origins.contains(&line) {
                origins.push(line);
            }
        }
        let looked_at = notes.read.last().map(|read| &read.of).or(notes.ran.as_ref());
        // A `run_…` that broke decided nothing; what was decided before says nothing about it.
        let looked_at = looked_at.filter(|_| in_rules.is_none());
        let evidence = Self {
            actual,
            expected,
            difference,
            in_rules,
            called_from,
            origins,
            decision: looked_at.map(|parts| parts.to_vec()).unwrap_or_default(),
        };
        (evidence != Self::default()).then_some(evidence)
    }
}

/// Which lines decided a part that a test looked at.
fn origins_of(read: &Read) -> Vec<String> {
    let Read { of, what, value } = read;
    let is_meant = |part: &&Part| {
        part.what == *what && value.as_ref().is_none_or(|value| part.value == *value)
    };
    let name = value.as_ref().map_or(what.clone(), |value| format!("{what} {value}"));
    let found: Vec<&Part> = of.iter().filter(is_meant).collect();
    if found.is_empty() {
        return vec![match what.as_str() {
            "on list" => format!("no rule put the contact on the list {}", value_of(value)),
            "off list" => format!("no rule took the contact off the list {}", value_of(value)),
            _ => format!("no rule decided `{name}`"),
        }];
    }
    let line = |part: &Part| match &part.origin {
        Some(origin) => format!("{} {}, by {origin}", part.what, part.value),
        None => format!("{} {}", part.what, part.value),
    };
    found.into_iter().map(line).collect()
}

fn value_of(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<String> = self.difference.clone();
        lines.extend(self.origins.iter().cloned());
        if let Some(place) = &self.called_from {
            lines.push(format!("called from {place}"));
        }
        if let Some(broken) = &self.in_rules {
            lines.extend(broken.render().lines().map(str::to_owned));
        }
        if !self.decision.is_empty() {
            lines.push("the decision:".to_owned());
            lines.extend(Part::align(&self.decision).into_iter().map(|line| format!("  {line}")));
        }
        for (index, line) in lines.iter().enumerate() {
            let gap = if index > 0 { "\n" } else { "" };
            write!(f, "{gap}   {line}")?;
        }
        Ok(())
    }
}
