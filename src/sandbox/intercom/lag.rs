//! The delay of Intercom's search: it finds objects as they were a moment ago.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::model::Timestamp;

/// What objects were before their latest changes, as long as search may still show that.
#[derive(Debug)]
pub(super) struct Lag<T> {
    seconds: i64,
    before: HashMap<Arc<str>, VecDeque<Before<T>>>,
}

#[derive(Debug)]
struct Before<T> {
    changed_at: Timestamp,
    /// `None` if it did not exist.
    object: Option<T>,
}

impl<T> Default for Lag<T> {
    fn default() -> Self {
        Self { seconds: 0, before: HashMap::new() }
    }
}

impl<T: Clone> Lag<T> {
    /// How many seconds search is behind; 0 for not at all.
    pub(super) fn set_seconds(&mut self, seconds: i64) {
        self.seconds = seconds.max(0);
        self.before.clear();
    }

    /// Keeps what an object was before a change.
    pub(super) fn note(&mut self, id: &Arc<str>, before: Option<&T>, now: Timestamp) {
        if self.seconds == 0 {
            return;
        }
        let indexed = now.plus(-self.seconds);
        let kept = self.before.entry(Arc::clone(id)).or_default();
        kept.retain(|before| before.changed_at > indexed);
        kept.push_back(Before { changed_at: now, object: before.cloned() });
    }

    /// The object as search knows it, or `None` if it does not know it yet.
    pub(super) fn seen<'a>(&'a self, id: &str, object: &'a T, now: Timestamp) -> Option<&'a T> {
        let indexed = now.plus(-self.seconds);
        let unseen = self
            .before
            .get(id)
            .and_then(|kept| kept.iter().find(|before| before.changed_at > indexed));
        match unseen {
            Some(before) => before.object.as_ref(),
            None => Some(object),
        }
    }
}
