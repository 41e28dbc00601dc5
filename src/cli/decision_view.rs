//! A decision for people: each part beside the line that made it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{CompanyDecision, Decision, Emission, Part, ReverseDecision, Timestamp};

/// What rules decide, of whichever kind.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Decided {
    /// About a contact.
    Contact(Box<Decision>),
    /// About a company.
    Company(CompanyDecision),
    /// What a conversation or an event gives off.
    Emission(Emission),
    /// About a contact in Intercom.
    Reverse(ReverseDecision),
    /// Which of several contacts counts.
    Primary {
        /// Its id; none: the rules leave it to the engine.
        chosen: Option<String>,
    },
}

impl Decided {
    /// A decision on a contact.
    pub(super) fn contact(decision: Decision) -> Self {
        Self::Contact(Box::new(decision))
    }

    fn parts(&self, lists: &BTreeMap<String, i64>) -> Vec<Part> {
        match self {
            Self::Contact(decision) => decision.parts(lists),
            Self::Company(decision) => decision.parts(),
            Self::Emission(emission) => emission.parts(lists),
            Self::Reverse(decision) => decision.parts(),
            Self::Primary { chosen } => vec![Part {
                what: "chosen".to_owned(),
                value: chosen.clone().unwrap_or_else(|| "left to the engine".to_owned()),
                origin: None,
            }],
        }
    }

    fn flips_at(&self) -> Option<Timestamp> {
        match self {
            Self::Contact(decision) => decision.flips_at,
            Self::Company(decision) => decision.flips_at,
            Self::Emission(emission) => emission.flips_at,
            Self::Reverse(decision) => decision.flips_at,
            Self::Primary { .. } => None,
        }
    }
}

/// The decision in aligned lines; `lists` are the names of lists by which people know them.
pub(super) fn render(decided: &Decided, lists: &BTreeMap<String, i64>) -> String {
    let parts = decided.parts(lists);
    let mut lines = Part::align(&parts);
    if lines.is_empty() {
        lines.push("nothing was decided".to_owned());
    }
    if let Some(at) = decided.flips_at() {
        lines
            .push(format!("\nderived again at {at}, when an answer of older_than or within flips"));
    }
    lines.join("\n")
}
