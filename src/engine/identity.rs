//! Which Brevo contact is this Intercom one, and which of several Intercom contacts speaks for an
//! address.

use std::cmp::Reverse;

use serde_json::Value;

use crate::model::{Mirrored, Record, Timestamp};
use crate::rules::{RuleSet, ScriptError};
use crate::store::{MirrorEntry, Subject};

/// The contact that speaks for an address which several live contacts have.
pub(crate) fn primary<'a>(
    own: &'a Record,
    duplicates: &'a [Record],
    rules: &RuleSet,
) -> Result<&'a Record, ScriptError> {
    if duplicates.is_empty() {
        return Ok(own);
    }
    let mut all: Vec<&Record> = duplicates.iter().chain([own]).collect();
    // The same order whichever of them is derived, so that all come to the same answer.
    all.sort_by(|a, b| a.key.cmp(&b.key));
    let bodies: Vec<Value> = all.iter().map(|record| record.body.clone()).collect();
    let chosen = rules.choose_primary(&bodies)?;
    let by_rule = chosen.and_then(|index| all.get(index).copied());
    Ok(by_rule.or_else(|| default_primary(&all)).unwrap_or(own))
}

/// A user before a lead, then the latest `last_seen_at`, then the latest `updated_at`, then the
/// smallest id.
fn default_primary<'a>(contacts: &[&'a Record]) -> Option<&'a Record> {
    let time = |record: &Record, field: &str| record.body.get(field).and_then(Timestamp::parse);
    let rank = |record: &&'a Record| {
        let is_user = record.body.get("role").and_then(Value::as_str) == Some("user");
        let seen = time(record, "last_seen_at");
        (is_user, seen, record.version.at, Reverse(record.key.id.clone()))
    };
    contacts.iter().copied().max_by_key(rank)
}

/// The Brevo contact that a decision is written to, and another that stood for this Intercom contact
/// until now and no longer does.
#[derive(Debug, Default)]
pub(crate) struct Target {
    /// None: Brevo has no such contact.
    pub(crate) current: Option<Mirrored>,
    /// Released once the other is written.
    pub(crate) former: Option<Mirrored>,
}

/// Finds the target. The Brevo contact that stands for this one keeps doing so when the address
/// changes, unless another Brevo contact has the new address already: then that one does.
///
/// Entries of which only an outline is known are not looked at: they were read in full before.
pub(crate) fn target(subject: &Subject) -> Target {
    let full = |entry: &Option<MirrorEntry>| match entry {
        Some(MirrorEntry::Full(mirrored)) => Some((**mirrored).clone()),
        _ => None,
    };
    let credited = |mut mirrored: Mirrored| {
        if let Some(intent) = &subject.intent {
            mirrored.applied = mirrored.applied.credited(intent, &mirrored.contact);
        }
        mirrored
    };
    match (full(&subject.owned), full(&subject.at_address)) {
        (owned, None) => Target { current: owned.map(credited), former: None },
        (None, at_address) => Target { current: at_address.map(credited), former: None },
        (Some(owned), Some(other)) => {
            if owned.contact.email.is_some() && owned.contact.email == subject.address {
                Target { current: Some(credited(owned)), former: None }
            } else {
                Target { current: Some(credited(other)), former: Some(owned) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Liveness, RecordKey, Snapshot, Source};

    fn record(id: &str, body: Value) -> Record {
        let key = RecordKey::contact(id.parse().unwrap());
        let now = Timestamp::from_seconds(1_000);
        Snapshot::new(key, Liveness::Live, body, Source::Notification, now, now).into()
    }

    #[test]
    fn a_user_speaks_before_a_lead_then_who_was_seen_last() {
        fn case(contacts: &[(&str, Value)], expected: &str) {
            let records: Vec<_> =
                contacts.iter().map(|(id, body)| record(id, body.clone())).collect();
            let forward: Vec<_> = records.iter().collect();
            let backward: Vec<_> = records.iter().rev().collect();
            for order in [forward, backward] {
                assert_eq!(default_primary(&order).unwrap().key.id.as_str(), expected);
            }
        }
        let lead = |seen: i64| json!({"role": "lead", "last_seen_at": seen});
        let user = |seen: Value| json!({"role": "user", "last_seen_at": seen});
        case(&[("a", lead(900)), ("b", user(json!(null)))], "b");
        case(&[("a", user(json!(5))), ("b", user(json!(6)))], "b");
        case(&[("a", user(json!(null))), ("b", user(json!(1)))], "b");
        case(&[("b", lead(5)), ("a", lead(5))], "a");
    }
}
