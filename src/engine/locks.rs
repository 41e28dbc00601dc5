//! One at a time: what belongs to one person is worked on by one worker at a time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::Email;

/// What a change touches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum LockKey {
    /// An address: the one that a contact has, or the one that it gets.
    Address(Email),
    /// A contact of Brevo's.
    Contact(i64),
}

/// The keys that are being worked on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locks(Arc<Mutex<HashSet<LockKey>>>);

/// Keys that are held until this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Held {
    locks: Locks,
    keys: Vec<LockKey>,
}

impl Locks {
    /// Takes all of `keys` or, where somebody holds one of them, none. It never waits, so that two
    /// workers cannot wait for each other: who gets none tries again later.
    pub(crate) fn try_hold(&self, mut keys: Vec<LockKey>) -> Option<Held> {
        keys.sort();
        keys.dedup();
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.iter().any(|key| held.contains(key)) {
            return None;
        }
        held.extend(keys.iter().cloned());
        drop(held);
        Some(Held { locks: self.clone(), keys })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.locks.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            held.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_held_by_one_worker_whatever_the_key_it_is_found_by() {
        let locks = Locks::default();
        let address = || LockKey::Address("a@example.com".parse().unwrap());
        let first = locks.try_hold(vec![address(), LockKey::Contact(7)]).unwrap();
        assert!(locks.try_hold(vec![LockKey::Contact(7)]).is_none());
        assert!(locks.try_hold(vec![LockKey::Contact(8), address()]).is_none());
        let other = locks.try_hold(vec![LockKey::Contact(8)]);
        assert!(other.is_some(), "a failed try must hold nothing");
        drop(first);
        assert!(locks.try_hold(vec![address()]).is_some());
    }
}
