//! What Brevo refused for good: the request, the answer, and the line of the rules that asked for it.

use std::fmt;

use crate::brevo::{BrevoError, shown_request};
use crate::config::Config;
use crate::engine::resolve::alias;
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
/// names, else that of the identity. Brevo names an attribute as the account does, the rules may name it
/// otherwise.
pub(crate) fn origin_of(
    config: &Config,
    decision: &Decision,
    error: &BrevoError,
) -> Option<String> {
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
    let attributes = || {
        let attributes = decision.attributes.iter();
        attributes.map(|(name, traced)| (alias(config, name).as_str(), &traced.origin))
    };
    let attribute = attributes()
        // `email` and `ext_id` are said of the identity.
        .filter(|(name, _)| !matches!(*name, "EMAIL" | "EXT_ID"))
        .find(|(name, _)| names(&name.to_uppercase()))
        .map(|(_, origin)| origin);
    let is_about_phones = text.contains("PHONE NUMBER");
    let phone = attributes().find(|(name, _)| is_about_phones && *name == "SMS");
    let list = || {
        let lists = decision.lists.iter();
        let mut added = lists.filter(|(_, traced)| traced.value == ListIntent::Add);
        added.next().map(|(_, traced)| &traced.origin)
    };
    let origin = attribute
        .or(phone.map(|(_, origin)| origin))
        .or_else(|| if names("LIST") { list() } else { None })
        .or(identity.map(|identity| &identity.origin));
    origin.map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        AttributeIntent, AttributeValue, Digest, Origin, RecordKey, RuleSetVersion, Timestamp,
        Traced,
    };

    fn origin(line: u32) -> Origin {
        Origin { file: "scripts/mapping.rhai".into(), line, column: 11 }
    }

    /// The e-mail address stands on line 1, the attributes on the lines that follow.
    fn decision(attributes: &[&str]) -> Decision {
        let subject = RecordKey::contact("c1".parse().unwrap());
        let version = RuleSetVersion::of(Digest::of_bytes(b"rules"));
        let mut decision = Decision::new(subject, version, Timestamp::EPOCH);
        let email = "ann@example.com".to_owned();
        decision.email = Some(Traced { value: email, origin: origin(1) });
        for (name, line) in attributes.iter().zip(2..) {
            let value = AttributeIntent::Set(AttributeValue::Text("x".to_owned()));
            let traced = Traced { value, origin: origin(line) };
            decision.attributes.insert(name.parse().unwrap(), traced);
        }
        decision
    }

    #[test]
    fn the_line_is_that_of_what_the_answer_names_as_the_account_does() {
        let text =
            "connectors: { brevo: { attribute_aliases: { FIRSTNAME: PRENOM, MOBILE: SMS } } }";
        let env = |_: &str| Some("any".to_owned());
        let config = Config::parse(text, "tajo.yaml".as_ref(), &env).unwrap();
        let decision = decision(&["LASTNAME", "FIRSTNAME", "MOBILE"]);
        let case = |message: &str, line: u32| {
            let (code, message) = ("invalid_parameter".to_owned(), message.to_owned());
            let error = BrevoError::Invalid { status: 400, code, message };
            let found = origin_of(&config, &decision, &error);
            assert_eq!(found, Some(origin(line).to_string()), "{error}");
        };
        case("LASTNAME is not valid", 2);
        case("PRENOM is not valid", 3);
        case("prenom: too long", 3);
        case("Invalid phone number", 4);
        // Brevo knows nothing of the rules' name.
        case("FIRSTNAME is not valid", 1);
        case("something is not valid", 1);
    }
}
