//! What is left of a change while it is written part by part.

use crate::engine::derive::Planned;
use crate::model::{
    Applied, AttributeName, AttributeValue, BrevoContact, Change, Identity, ListId,
};

/// A change of which parts may be written already.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rest {
    /// What is still to be written.
    pub(super) change: Change,
    /// What Brevo holds now, as far as it is known.
    pub(super) held: BrevoContact,
    /// What of it is ours.
    pub(super) applied: Applied,
}

/// Which way a membership was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListAction {
    Add,
    Remove,
}

impl Rest {
    /// All of a change.
    pub(super) fn of(planned: &Planned) -> Self {
        Self { change: planned.change.clone(), held: planned.held(), applied: planned.applied() }
    }

    /// True if a part of the change is written.
    pub(super) fn has_begun(&self, planned: &Planned) -> bool {
        self.change != planned.change
    }

    /// What is true once all of it is written; `id` is the contact's number.
    pub(super) fn written(self, id: i64) -> (BrevoContact, Applied) {
        let Self { change, held, applied } = self;
        let created = change.identity == Identity::New;
        let applied = applied.after(&change);
        let applied = Applied { created: applied.created || created, ..applied };
        (BrevoContact { id, ..held }.after(&change), applied)
    }

    /// Takes in what a read shows that began after the write: whatever of the change it shows is
    /// written, and ours.
    pub(super) fn read(&mut self, contact: &BrevoContact) {
        let Self { change, held, applied } = self;
        let is_held = |name: &AttributeName, value: &AttributeValue| {
            contact.attributes.get(name).is_some_and(|held| value.is_same(held, name))
        };
        applied.created |= change.identity == Identity::New;
        applied.attributes.extend(
            change
                .set
                .iter()
                .filter(|(name, value)| is_held(name, value))
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        applied.lists.extend(change.add.intersection(&contact.lists));
        applied.lists.retain(|list| !change.remove.contains(list) || contact.lists.contains(list));
        change.identity = Identity::Known(contact.id);
        change.email = change.email.take().filter(|email| contact.email.as_ref() != Some(email));
        change.set.retain(|name, value| !is_held(name, value));
        change.add.retain(|list| !contact.lists.contains(list));
        change.remove.retain(|list| contact.lists.contains(list));
        *held = contact.clone();
    }

    /// Takes in a membership that a list call changed.
    pub(super) fn moved(&mut self, action: ListAction, list: ListId) {
        let Self { change, held, applied } = self;
        match action {
            ListAction::Add => {
                change.add.remove(&list);
                held.lists.insert(list);
                applied.lists.insert(list);
            }
            ListAction::Remove => {
                change.remove.remove(&list);
                held.lists.remove(&list);
                applied.lists.remove(&list);
            }
        }
    }
}
