//! What Brevo holds of a company, what the engine applied, and what is missing for a decision to be
//! true of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{AttributeIntent, AttributeName, AttributeValue};

/// Values of a company's attributes, by Brevo's internal names.
pub type CompanyValues = BTreeMap<String, AttributeValue>;

/// The Brevo company of an Intercom company.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CompanyState {
    /// The engine made it.
    pub created: bool,
    /// What the engine applied last.
    pub applied: CompanyValues,
    /// What Brevo held when it was last heard of.
    pub held: CompanyValues,
    /// Values that Brevo did not take although they were sent: they are not sent again.
    pub refused: CompanyValues,
    /// Numbers of contacts that others linked to it.
    pub linked: BTreeSet<i64>,
}

impl CompanyState {
    /// The state once `change` was made.
    #[must_use]
    pub fn after(&self, change: &CompanyChange) -> Self {
        let mut state = self.clone();
        for (name, value) in &change.set {
            state.applied.insert(name.clone(), value.clone());
            state.held.insert(name.clone(), value.clone());
            state.refused.remove(name);
        }
        for name in &change.clear {
            state.applied.remove(name);
            state.held.remove(name);
            state.refused.remove(name);
        }
        state
    }

    /// The state once Brevo was seen to hold `held` after `change` was made: what it did not take is
    /// remembered. Answers the names of those values, too.
    #[must_use]
    pub fn confirmed(&self, change: &CompanyChange, held: CompanyValues) -> (Self, Vec<String>) {
        let mut state = self.after(change);
        let mut refused = Vec::new();
        for (name, value) in &change.set {
            if !held.get(name).is_some_and(|held| is_same(value, held)) {
                state.refused.insert(name.clone(), value.clone());
                refused.push(name.clone());
            }
        }
        state.held = held;
        (state, refused)
    }
}

/// What has to be written to a company.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CompanyChange {
    /// Values to set.
    pub set: CompanyValues,
    /// Attributes to empty.
    pub clear: BTreeSet<String>,
}

impl CompanyChange {
    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.clear.is_empty()
    }

    /// All values as one call says them: an empty text empties an attribute.
    pub fn values(&self) -> CompanyValues {
        let empty = |name: &String| (name.clone(), AttributeValue::Text(String::new()));
        self.set.clone().into_iter().chain(self.clear.iter().map(empty)).collect()
    }
}

/// The three-way difference: last applied, held, wanted. What the rules do not mention stays; what
/// they withdraw goes only if it is still as the engine applied it.
pub fn company_difference(
    wanted: &BTreeMap<String, AttributeIntent>,
    state: &CompanyState,
) -> CompanyChange {
    let mut change = CompanyChange::default();
    for (name, intent) in wanted {
        let held = state.held.get(name);
        match intent {
            AttributeIntent::Set(value) => {
                let is_held = held.is_some_and(|held| is_same(value, held));
                let is_refused = state.refused.get(name).is_some_and(|refused| refused == value);
                if !is_held && !is_refused {
                    change.set.insert(name.clone(), value.clone());
                }
            }
            AttributeIntent::Withdraw => {
                let is_ours = state
                    .applied
                    .get(name)
                    .zip(held)
                    .is_some_and(|(applied, held)| is_same(applied, held));
                if is_ours {
                    change.clear.insert(name.clone());
                }
            }
            AttributeIntent::Clear if held.is_some() => {
                change.clear.insert(name.clone());
            }
            AttributeIntent::Clear => {}
        }
    }
    change
}

/// True where Brevo would answer `held` after `value` was written.
fn is_same(value: &AttributeValue, held: &AttributeValue) -> bool {
    // No attribute of a company is a phone number by its type, which is all that the name is for.
    "COMPANY".parse::<AttributeName>().is_ok_and(|name| value.is_same(held, &name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> AttributeValue {
        AttributeValue::Text(text.to_owned())
    }

    fn values(pairs: &[(&str, &str)]) -> CompanyValues {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect()
    }

    #[test]
    fn what_is_foreign_stays_and_what_is_ours_goes() {
        let state = CompanyState {
            applied: values(&[("domain", "a.example"), ("industry", "x")]),
            held: values(&[("domain", "a.example"), ("industry", "y"), ("owner", "z")]),
            ..CompanyState::default()
        };
        let wanted = |name: &str, intent| [(name.to_owned(), intent)].into();
        let cleared = |name: &str| -> Vec<String> {
            company_difference(&wanted(name, AttributeIntent::Withdraw), &state)
                .clear
                .into_iter()
                .collect()
        };
        assert_eq!(cleared("domain"), ["domain"]);
        assert!(cleared("industry").is_empty());
        assert!(cleared("owner").is_empty());
        let change = company_difference(&wanted("owner", AttributeIntent::Clear), &state);
        assert_eq!(change.values(), values(&[("owner", "")]));
    }

    #[test]
    fn a_value_that_brevo_did_not_take_is_not_sent_again_until_it_changes() {
        let set = |value: &str| [("size".to_owned(), AttributeIntent::Set(text(value)))].into();
        let state = CompanyState::default();
        let change = company_difference(&set("many"), &state);
        let (state, refused) = state.confirmed(&change, CompanyValues::new());
        assert_eq!(refused, ["size"]);
        assert!(company_difference(&set("many"), &state).is_empty());
        let change = company_difference(&set("few"), &state);
        assert_eq!(change.set, values(&[("size", "few")]));
        let (state, refused) = state.confirmed(&change, values(&[("size", "few")]));
        assert!(refused.is_empty() && state.refused.is_empty());
    }

    proptest! {
        #[test]
        fn once_a_change_is_made_nothing_is_missing(
            held in proptest::collection::btree_map("[a-d]", "[xy]", 0..4),
            applied in proptest::collection::btree_map("[a-d]", "[xy]", 0..4),
            wanted in proptest::collection::btree_map("[a-d]", 0..4u8, 0..4),
        ) {
            let of = |map: BTreeMap<String, String>| -> CompanyValues {
                map.into_iter().map(|(name, value)| (name, AttributeValue::Text(value))).collect()
            };
            let state =
                CompanyState { applied: of(applied), held: of(held), ..CompanyState::default() };
            let wanted: BTreeMap<String, AttributeIntent> = wanted
                .into_iter()
                .map(|(name, intent)| {
                    let intent = match intent {
                        0 => AttributeIntent::Withdraw,
                        1 => AttributeIntent::Clear,
                        2 => AttributeIntent::Set(text("x")),
                        _ => AttributeIntent::Set(text("y")),
                    };
                    (name, intent)
                })
                .collect();
            let change = company_difference(&wanted, &state);
            let after = state.after(&change);
            prop_assert!(company_difference(&wanted, &after).is_empty());
            for name in state.held.keys().filter(|name| !wanted.contains_key(*name)) {
                prop_assert_eq!(state.held.get(name), after.held.get(name));
            }
        }
    }
}
