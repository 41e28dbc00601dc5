//! What Brevo refused for good: the request, the answer, and the line of the rules that asked for it.

use std::fmt;

use crate::brevo::{BrevoError, shown_request};
use crate::model::{Change, Decision, ListIntent};

/// A request that Brevo will refuse each time.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What Brevo answered.
    pub(crate) error: BrevoError,
    /// What was sent, with addresses and numbers masked.
    pub(crate) request: String,
}

impl Refusal {
    /// The refusal of a change.
    pub(super) fn of(error: BrevoError, change: &Change) -> Self {
        Self { error, request: shown_request(change) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// The line that asked for what Brevo refused: that of the attribute or the list which the answer
/// names, else that of the identity.
pub(crate) fn origin_of(decision: &Decision, error: &BrevoError) -> Option<String> {
    let text = error.to_string().to_uppercase();
    let names = |word: &str| {
        text.match_indices(word).any(|(at, found)| {
            let is_edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            let before = text.get(..at).and_then(|text| text.chars().next_back());
            let behind = text.get(at + found.len()..).and_then(|text| text.chars().next());
            is_edge(before) && is_edge(behind)
        })
    };
    let identity = decision.email.as_ref().or(decision.ext_id.as_ref());
    let attribute = decision
        .attributes
        .iter()
        // `email` and `ext_id` are said of the identity.
        .filter(|(name, _)| !matches!(name.as_str(), "EMAIL" | "EXT_ID"))
        .find(|(name, _)| names(&name.as_str().to_uppercase()))
        .map(|(_, traced)| &traced.origin);
    let is_about_phones = text.contains("PHONE NUMBER");
    let phone =
        decision.attributes.iter().find(|(name, _)| is_about_phones && name.as_str() == "SMS");
    let list = || {
        let lists = decision.lists.iter();
        let mut added = lists.filter(|(_, traced)| traced.value == ListIntent::Add);
        added.next().map(|(_, traced)| &traced.origin)
    };
    let origin = attribute
        .or(phone.map(|(_, traced)| &traced.origin))
        .or_else(|| if names("LIST") { list() } else { None })
        .or(identity.map(|identity| &identity.origin));
    origin.map(ToString::to_string)
}
