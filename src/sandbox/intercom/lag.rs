//! The delay of Intercom's search: it finds contacts as they were a moment ago.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::contact::{Contact, ContactId};
use crate::model::Timestamp;

/// What contacts were before their latest changes, as long as search may still show that.
#[derive(Debug, Default)]
pub(super) struct Lag {
    seconds: i64,
    before: HashMap<ContactId, VecDeque<Before>>,
}

#[derive(Debug)]
struct Before {
    changed_at: Timestamp,
    /// `None` if the contact did not exist.
    contact: Option<Contact>,
}

impl Lag {
    /// How many seconds search is behind; 0 for not at all.
    pub(super) fn set_seconds(&mut self, seconds: i64) {
        self.seconds = seconds.max(0);
        self.before.clear();
    }

    /// Keeps what a contact was before a change.
    pub(super) fn note(&mut self, id: &ContactId, before: Option<&Contact>, now: Timestamp) {
        if self.seconds == 0 {
            return;
        }
        let indexed = now.plus(-self.seconds);
        let kept = self.before.entry(Arc::clone(id)).or_default();
        kept.retain(|before| before.changed_at > indexed);
        kept.push_back(Before { changed_at: now, contact: before.cloned() });
    }

    /// The contact as search knows it, or `None` if it does not know it yet.
    pub(super) fn seen<'a>(&'a self, contact: &'a Contact, now: Timestamp) -> Option<&'a Contact> {
        let indexed = now.plus(-self.seconds);
        let unseen = self
            .before
            .get(&contact.id)
            .and_then(|kept| kept.iter().find(|before| before.changed_at > indexed));
        match unseen {
            Some(before) => before.contact.as_ref(),
            None => Some(contact),
        }
    }
}
