//! A value on its way into Brevo, and whether it arrived: an answer of 204 does not tell.

use serde::{Deserialize, Serialize};

use super::{AttributeName, AttributeType, AttributeValue, BrevoContact};

/// A value that was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SentValue {
    /// The value; an empty text was to clear the attribute.
    pub value: AttributeValue,
    /// The type that the attribute had then; none: the account did not have it.
    pub kind: Option<AttributeType>,
}

impl SentValue {
    /// True if a contact that was read after the write holds it.
    pub fn is_in(&self, name: &AttributeName, contact: &BrevoContact) -> bool {
        let held = contact.attributes.get(name).filter(|held| !held.is_empty());
        match held {
            None => self.value.is_empty(),
            Some(held) => self.value.is_same(held, name),
        }
    }
}

/// A value that Brevo did not take.
#[derive(Debug, Clone, PartialEq)]
pub struct MissedValue {
    /// What was written.
    pub sent: SentValue,
    /// How often it was written in vain.
    pub misses: u32,
}

impl MissedValue {
    /// From so many times on a value is parked.
    const PARKED: u32 = 2;

    /// True if it is not to be written again.
    pub fn is_parked(&self) -> bool {
        self.misses >= Self::PARKED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_arrived_if_brevo_holds_it_or_nothing_where_it_was_to_clear() {
        fn case(value: &str, held: Option<&str>, expected: bool) {
            let name: AttributeName = "PLAN".parse().unwrap();
            let sent = SentValue { value: AttributeValue::Text(value.into()), kind: None };
            let mut contact = BrevoContact::default();
            if let Some(held) = held {
                contact.attributes.insert(name.clone(), AttributeValue::Text(held.into()));
            }
            assert_eq!(sent.is_in(&name, &contact), expected, "{value:?} {held:?}");
        }
        case("team", Some("team"), true);
        case("team", Some("free"), false);
        case("team", None, false);
        case("", None, true);
        case("", Some("free"), false);
    }
}
