//! The contacts of a workspace and the orders in which they are found.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::contact::{Contact, ContactId};

type Position = (Reverse<i64>, ContactId);

/// All contacts that are neither deleted nor merged.
///
/// INVARIANT: what is not archived is listed once, newest first.
#[derive(Debug, Default)]
pub(super) struct ContactTable {
    by_id: HashMap<ContactId, Box<Contact>>,
    newest_first: BTreeSet<Position>,
    by_email: HashMap<String, BTreeSet<ContactId>>,
    by_external_id: HashMap<String, ContactId>,
}

impl ContactTable {
    /// Adds a contact, or replaces the one with its id.
    pub(super) fn put(&mut self, mut contact: Contact) {
        contact.shrink();
        self.remove(&contact.id.clone());
        let id = Arc::clone(&contact.id);
        if !contact.is_archived {
            self.newest_first.insert((Reverse(contact.updated_ms), Arc::clone(&id)));
        }
        if let Some(email) = contact.email() {
            self.by_email.entry(email.to_lowercase()).or_default().insert(Arc::clone(&id));
        }
        if let Some(external_id) = contact.external_id() {
            self.by_external_id.insert(external_id.to_owned(), Arc::clone(&id));
        }
        self.by_id.insert(id, Box::new(contact));
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Contact> {
        let contact = self.by_id.remove(id)?;
        self.newest_first.remove(&(Reverse(contact.updated_ms), Arc::clone(&contact.id)));
        if let Some(email) = contact.email().map(str::to_lowercase)
            && let Some(ids) = self.by_email.get_mut(&email)
        {
            ids.remove(id);
            if ids.is_empty() {
                self.by_email.remove(&email);
            }
        }
        if let Some(external_id) = contact.external_id()
            && self.by_external_id.get(external_id).is_some_and(|holder| **holder == *id)
        {
            self.by_external_id.remove(external_id);
        }
        Some(*contact)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Contact> {
        self.by_id.get(id).map(Box::as_ref)
    }

    /// A contact that is not archived.
    pub(super) fn live(&self, id: &str) -> Option<&Contact> {
        self.get(id).filter(|contact| !contact.is_archived)
    }

    /// How many are not archived.
    pub(super) fn live_count(&self) -> usize {
        self.newest_first.len()
    }

    /// Those that are not archived, newest `updated_at` first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Contact> {
        self.newest_first.iter().filter_map(|(_, id)| self.get(id))
    }

    /// The same, from after a position on.
    pub(super) fn after(&self, updated_ms: i64, id: &str) -> impl Iterator<Item = &Contact> {
        let position: Position = (Reverse(updated_ms), Arc::from(id));
        self.newest_first
            .range((Bound::Excluded(position), Bound::Unbounded))
            .filter_map(|(_, id)| self.get(id))
    }

    /// Those with an address, whatever its case, archived ones among them.
    pub(super) fn with_email(&self, email: &str) -> impl Iterator<Item = &Contact> {
        let ids = self.by_email.get(&email.to_lowercase());
        ids.into_iter().flatten().filter_map(|id| self.get(id))
    }

    pub(super) fn with_external_id(&self, external_id: &str) -> Option<&Contact> {
        self.get(self.by_external_id.get(external_id)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        /// INVARIANT: what is not archived is listed once, newest first.
        #[test]
        fn what_is_not_archived_is_listed_once_newest_first(
            steps in prop::collection::vec((0_u8..6, 0_i64..9, 0_u8..4), 1..60),
        ) {
            let mut table = ContactTable::default();
            for (number, updated_ms, action) in steps {
                let id = number.to_string();
                if action == 0 {
                    table.remove(&id);
                    continue;
                }
                let mut contact = Contact::new(id.into(), 0);
                contact.updated_ms = updated_ms;
                contact.is_archived = action == 1;
                contact.fields.set("email", json!(format!("{action}@example.com")));
                table.put(contact);
            }
            let mut expected: Vec<(i64, &str)> = table
                .by_id
                .values()
                .filter(|contact| !contact.is_archived)
                .map(|contact| (-contact.updated_ms, &*contact.id))
                .collect();
            expected.sort_unstable();
            let listed = table.newest_first().map(|contact| (-contact.updated_ms, &*contact.id));
            prop_assert_eq!(listed.collect::<Vec<_>>(), expected);
            let counts = (1..4).map(|n| table.with_email(&format!("{n}@EXAMPLE.com")).count());
            prop_assert_eq!(counts.sum::<usize>(), table.by_id.len());
        }
    }
}
