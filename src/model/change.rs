//! The three-way difference: what was applied, what is true, what should be true.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Applied, AttributeName, AttributeValue, BrevoContact, Email, ListId};

/// A decision with its names resolved: list numbers, and values in the form that the account's
/// attributes take.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resolved {
    /// The address that the contact should have.
    pub email: Option<Email>,
    /// The `EXT_ID` that it should have.
    pub ext_id: Option<String>,
    /// What is wanted of each attribute that the rules mention.
    pub attributes: BTreeMap<AttributeName, ResolvedAttribute>,
    /// Lists that the rules grant.
    pub add: BTreeSet<ListId>,
    /// Lists that it must not be on, whoever granted them.
    pub remove: BTreeSet<ListId>,
    /// Lists that the person left by himself, as far as Brevo's contact does not tell.
    pub left_lists: BTreeSet<ListId>,
    /// The person takes no marketing e-mail, says anybody.
    pub email_opt_out: bool,
    /// The person takes no marketing SMS, says anybody.
    pub sms_opt_out: bool,
}

/// What is wanted of one attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum ResolvedAttribute {
    /// It has this value.
    Set(AttributeValue),
    /// It has this value, unless Brevo holds one.
    SetIfEmpty(AttributeValue),
    /// The value that the engine applied goes, unless somebody changed it since.
    Withdraw,
    /// Any value goes.
    Clear,
}

/// Whom a change is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// A contact that Brevo does not have.
    New,
    /// The contact with this number.
    Known(i64),
}

/// What is missing for a decision to be true. An empty change costs no call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Whom it is written to.
    pub identity: Identity,
    /// The address of a new contact, or the new address of a known one.
    pub email: Option<Email>,
    /// A new `EXT_ID`.
    pub ext_id: Option<String>,
    /// Values to write.
    pub set: BTreeMap<AttributeName, AttributeValue>,
    /// Attributes to empty.
    pub clear: BTreeSet<AttributeName>,
    /// Lists to put it on. Never any of somebody who opted out.
    pub add: BTreeSet<ListId>,
    /// Lists to take it off.
    pub remove: BTreeSet<ListId>,
    /// Blacklist for e-mail.
    pub email_opt_out: bool,
    /// Blacklist for SMS.
    pub sms_opt_out: bool,
    /// The contact is blacklisted for e-mail, or will be by this change: it is written singly.
    pub is_blacklisted: bool,
}

impl Change {
    /// True if nothing has to be written. A contact that Brevo lacks is never nothing.
    pub fn is_empty(&self) -> bool {
        matches!(self.identity, Identity::Known(_))
            && self.email.is_none()
            && self.ext_id.is_none()
            && self.set.is_empty()
            && self.clear.is_empty()
            && self.add.is_empty()
            && self.remove.is_empty()
            && !self.email_opt_out
            && !self.sms_opt_out
    }

    /// Two changes of one contact, of which the end of neither is known.
    #[must_use]
    pub fn and_then(mut self, later: Self) -> Self {
        self.set.extend(later.set);
        self.add.extend(later.add);
        self
    }

    /// True if a known contact gets another address.
    pub fn moves_address(&self) -> bool {
        matches!(self.identity, Identity::Known(_)) && self.email.is_some()
    }
}

/// Works out what is missing for `desired` to be true of `current` (none: Brevo has no such
/// contact), given what the engine `applied` before.
///
/// - An attribute that is not mentioned is left alone.
/// - A membership that the engine granted and the rules no longer grant goes; a foreign one stays.
/// - Somebody who opted out, or left a list by himself, is not put on one. A membership that is
///   granted already stays.
/// - An opt-out is only ever added.
pub fn difference(desired: &Resolved, current: Option<&BrevoContact>, applied: &Applied) -> Change {
    let nobody = BrevoContact::default();
    let now = current.unwrap_or(&nobody);
    let is_blacklisted = desired.email_opt_out || now.email_blacklisted;

    let mut change = Change {
        identity: current.map_or(Identity::New, |contact| Identity::Known(contact.id)),
        email: desired.email.clone().filter(|email| now.email.as_ref() != Some(email)),
        ext_id: desired.ext_id.clone().filter(|ext_id| now.ext_id.as_ref() != Some(ext_id)),
        set: BTreeMap::new(),
        clear: BTreeSet::new(),
        add: BTreeSet::new(),
        remove: BTreeSet::new(),
        email_opt_out: desired.email_opt_out && !now.email_blacklisted,
        sms_opt_out: desired.sms_opt_out && !now.sms_blacklisted,
        is_blacklisted,
    };
    for (name, wanted) in &desired.attributes {
        attribute_difference(name, wanted, now, applied, &mut change);
    }
    if !is_blacklisted {
        let open = |list: &&ListId| {
            !now.lists.contains(list)
                && !now.list_unsubscribed.contains(list)
                && !desired.left_lists.contains(list)
                && !desired.remove.contains(list)
        };
        change.add = desired.add.iter().filter(open).copied().collect();
    }
    let withdrawn = applied.lists.iter().filter(|list| !desired.add.contains(list));
    let unwanted = withdrawn.chain(&desired.remove);
    change.remove = unwanted.filter(|list| now.lists.contains(list)).copied().collect();
    change
}

fn attribute_difference(
    name: &AttributeName,
    wanted: &ResolvedAttribute,
    now: &BrevoContact,
    applied: &Applied,
    change: &mut Change,
) {
    let held = now.attributes.get(name).filter(|value| !value.is_empty());
    match wanted {
        ResolvedAttribute::SetIfEmpty(_) if held.is_some() => {}
        ResolvedAttribute::Set(value) | ResolvedAttribute::SetIfEmpty(value) => {
            if !held.is_some_and(|held| value.is_same(held, name)) {
                change.set.insert(name.clone(), value.clone());
            }
        }
        ResolvedAttribute::Clear => {
            if held.is_some() {
                change.clear.insert(name.clone());
            }
        }
        ResolvedAttribute::Withdraw => {
            let ours = applied.attributes.get(name);
            if let (Some(held), Some(ours)) = (held, ours)
                && ours.is_same(held, name)
            {
                change.clear.insert(name.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, btree_set};
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = AttributeName> {
        prop::sample::select(vec!["A", "B", "C", "SMS"]).prop_map(|n| n.parse().unwrap())
    }

    fn value() -> impl Strategy<Value = AttributeValue> {
        prop_oneof![
            (100_000i64..100_009).prop_map(|n| AttributeValue::Text(format!("+{n}"))),
            (0i64..4).prop_map(AttributeValue::Integer),
            any::<bool>().prop_map(AttributeValue::Bool),
        ]
    }

    fn lists() -> impl Strategy<Value = BTreeSet<ListId>> {
        btree_set((1i64..6).prop_map(ListId), 0..5)
    }

    fn email() -> impl Strategy<Value = Option<Email>> {
        prop::option::of((0u8..3).prop_map(|n| format!("p{n}@example.com").parse().unwrap()))
    }

    prop_compose! {
        fn contact()(email in email(), blacklisted in any::<bool>(), lists in lists(), left in lists(),
                     attributes in btree_map(name(), value(), 0..4)) -> BrevoContact {
            BrevoContact { id: 7, email, email_blacklisted: blacklisted, lists, list_unsubscribed: left,
                           attributes, ..BrevoContact::default() }
        }
    }

    prop_compose! {
        fn desired()(email in email(), add in lists(), remove in lists(), opt_out in any::<bool>(),
                     set in btree_map(name(), value(), 0..4), choice in 0u8..4) -> Resolved {
            let attributes = set.into_iter().map(|(name, value)| (name, match choice {
                0 => ResolvedAttribute::Withdraw,
                1 => ResolvedAttribute::Clear,
                2 => ResolvedAttribute::SetIfEmpty(value),
                _ => ResolvedAttribute::Set(value),
            })).collect();
            Resolved { email, attributes, add, remove, email_opt_out: opt_out, ..Resolved::default() }
        }
    }

    prop_compose! {
        fn applied()(lists in lists(), attributes in btree_map(name(), value(), 0..4)) -> Applied {
            Applied { created: false, attributes, lists }
        }
    }

    proptest! {
        /// INVARIANT: what was written once is not written again.
        #[test]
        fn a_change_that_was_written_leaves_nothing_to_write(d in desired(), c in contact(), a in applied()) {
            let change = difference(&d, Some(&c), &a);
            let again = difference(&d, Some(&c.after(&change)), &a.after(&change));
            prop_assert!(again.is_empty(), "{:?}", again);
        }

        /// INVARIANT: an opt-out is never undone.
        #[test]
        fn nobody_who_opted_out_is_put_on_a_list(d in desired(), c in contact(), a in applied()) {
            let change = difference(&d, Some(&c), &a);
            if c.email_blacklisted || d.email_opt_out {
                prop_assert!(change.add.is_empty());
            }
            prop_assert!(change.add.is_disjoint(&c.list_unsubscribed));
            prop_assert!(!c.email_blacklisted || c.clone().after(&change).email_blacklisted);
        }

        /// INVARIANT: what others granted or wrote stays, unless a rule names it.
        #[test]
        fn foreign_memberships_and_values_stay(d in desired(), c in contact(), a in applied()) {
            let change = difference(&d, Some(&c), &a);
            for list in &change.remove {
                prop_assert!(a.lists.contains(list) || d.remove.contains(list));
            }
            for name in change.set.keys().chain(&change.clear) {
                prop_assert!(d.attributes.contains_key(name));
            }
            for name in &change.clear {
                let cleared = d.attributes.get(name) == Some(&ResolvedAttribute::Clear);
                prop_assert!(cleared || a.attributes[name].is_same(&c.attributes[name], name));
            }
        }

        /// INVARIANT: after the change, every list that the rules grant and the person may be on is there.
        #[test]
        fn the_decided_lists_are_there(d in desired(), c in contact(), a in applied()) {
            let change = difference(&d, Some(&c), &a);
            let after = c.clone().after(&change);
            for list in d.add.difference(&d.remove) {
                let closed = change.is_blacklisted || c.list_unsubscribed.contains(list);
                prop_assert!(closed || after.lists.contains(list));
            }
            prop_assert!(after.lists.is_disjoint(&d.remove));
        }
    }
}
