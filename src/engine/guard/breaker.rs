//! The breaker: a contact that is written to again and again waits, lest two sides that never agree
//! keep each other busy. It counts in memory, and begins anew with the process.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use crate::model::{RecordId, Timestamp};

/// How many writes a contact may have in a window.
pub(super) const WRITES: usize = 5;
/// How long a window is.
const WINDOW_SECONDS: i64 = 600;
/// From how many contacts on those are looked for whose window is over.
const MANY: usize = 10_000;

/// A write that has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    /// When the contact may be written to again.
    pub(super) until: Timestamp,
    /// False if the one before was refused, too.
    pub(super) is_first: bool,
}

/// Counts the writes of each contact.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    hasher: RandomState,
    writes: Mutex<Writes>,
}

/// By a hash of the contact's id, which is less than the id: there may be a hundred thousand.
#[derive(Debug, Default)]
struct Writes {
    of: HashMap<u64, Recent>,
    pruned: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Recent {
    /// Ascending.
    at: Vec<i64>,
    is_refused: bool,
}

impl Recent {
    fn forget(&mut self, now: Timestamp) {
        self.at.retain(|at| *at > now.seconds() - WINDOW_SECONDS);
    }
}

impl Breaker {
    /// Counts a write that was made.
    pub(super) fn count(&self, contact: &RecordId, now: Timestamp) {
        let key = self.hasher.hash_one(contact.as_str());
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.prune(now);
        writes.of.entry(key).or_default().at.push(now.seconds());
    }

    /// Why a write must not be made, if so.
    pub(super) fn refusal(&self, contact: &RecordId, now: Timestamp) -> Option<Refused> {
        let key = self.hasher.hash_one(contact.as_str());
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = writes.of.get_mut(&key)?;
        recent.forget(now);
        if recent.at.len() < WRITES {
            recent.is_refused = false;
            return None;
        }
        let oldest = recent.at.first().copied().unwrap_or_default();
        let until = Timestamp::from_seconds(oldest + WINDOW_SECONDS);
        let is_first = !std::mem::replace(&mut recent.is_refused, true);
        Some(Refused { until, is_first })
    }
}

impl Writes {
    /// Forgets contacts whose window is over, once in a window.
    fn prune(&mut self, now: Timestamp) {
        let is_due = self.pruned.is_none_or(|at| now >= at.plus(WINDOW_SECONDS));
        if self.of.len() >= MANY && is_due {
            self.of.retain(|_, recent| {
                recent.forget(now);
                !recent.at.is_empty()
            });
            self.pruned = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn contact() -> RecordId {
        "665f".parse().unwrap()
    }

    /// Why a write must not be made; otherwise it is made.
    fn admit(breaker: &Breaker, contact: &RecordId, now: Timestamp) -> Option<Refused> {
        let refusal = breaker.refusal(contact, now);
        if refusal.is_none() {
            breaker.count(contact, now);
        }
        refusal
    }

    #[test]
    fn the_sixth_write_in_ten_minutes_waits_for_the_first_to_be_over_and_is_told_once() {
        let breaker = Breaker::default();
        let at = |second| Timestamp::from_seconds(second);
        for second in [0, 10, 20, 30, 40] {
            assert_eq!(admit(&breaker, &contact(), at(second)), None);
        }
        let refused = |is_first| Some(Refused { until: at(600), is_first });
        assert_eq!(admit(&breaker, &contact(), at(50)), refused(true));
        assert_eq!(admit(&breaker, &contact(), at(599)), refused(false));
        assert_eq!(admit(&breaker, &"another".parse().unwrap(), at(50)), None);
        assert_eq!(admit(&breaker, &contact(), at(600)), None);
        let second = Some(Refused { until: at(610), is_first: true });
        assert_eq!(admit(&breaker, &contact(), at(601)), second);
    }

    proptest! {
        #[test]
        fn no_ten_minutes_see_more_than_five_writes(steps in vec(0i64..300, 0..60)) {
            let breaker = Breaker::default();
            let (mut now, mut admitted) = (0, Vec::new());
            for step in steps {
                now += step;
                match admit(&breaker, &contact(), Timestamp::from_seconds(now)) {
                    None => admitted.push(now),
                    Some(refused) => {
                        prop_assert!(refused.until.seconds() > now);
                        let ahead = refused.until.seconds() - now;
                        prop_assert!(ahead <= WINDOW_SECONDS);
                    }
                }
            }
            for start in &admitted {
                let within = admitted.iter().filter(|at| (*start..start + WINDOW_SECONDS).contains(at));
                prop_assert!(within.count() <= WRITES);
            }
        }
    }
}
