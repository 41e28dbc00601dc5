//! What a change takes away, and what may be taken away without a person's approval. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{AttributeName, ListId};

/// From how many people something may be taken away without approval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// A number of contacts.
    pub contacts: u64,
    /// A share of the contacts that the engine manages, from 0 to 100.
    pub percent: f64,
}

impl Bound {
    /// True if nothing is ever more than this.
    pub fn is_off(&self) -> bool {
        self.percent >= 100.0
    }

    /// True if `contacts` are more than the larger of the two, of `managed` in all.
    pub fn is_exceeded_by(&self, contacts: u64, managed: u64) -> bool {
        contacts > self.contacts && contacts as f64 > managed as f64 * self.percent / 100.0
    }
}

/// What a change takes away from one contact.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Takes {
    /// The contact itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deletes: bool,
    /// Its consent to e-mail, by a rule.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unsubscribes_email: bool,
    /// Its consent to SMS, by a rule.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unsubscribes_sms: bool,
    /// Memberships.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub lists: BTreeSet<ListId>,
    /// Values.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub clears: BTreeSet<AttributeName>,
}

impl Takes {
    /// True if nothing is taken away.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            deletes: self.deletes && other.deletes,
            unsubscribes_email: self.unsubscribes_email && other.unsubscribes_email,
            unsubscribes_sms: self.unsubscribes_sms && other.unsubscribes_sms,
            lists: self.lists.intersection(&other.lists).copied().collect(),
            clears: self.clears.intersection(&other.clears).cloned().collect(),
        }
    }

    /// What is in this and not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self {
            deletes: self.deletes && !other.deletes,
            unsubscribes_email: self.unsubscribes_email && !other.unsubscribes_email,
            unsubscribes_sms: self.unsubscribes_sms && !other.unsubscribes_sms,
            lists: self.lists.difference(&other.lists).copied().collect(),
            clears: self.clears.difference(&other.clears).cloned().collect(),
        }
    }

    /// What is in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            deletes: self.deletes || other.deletes,
            unsubscribes_email: self.unsubscribes_email || other.unsubscribes_email,
            unsubscribes_sms: self.unsubscribes_sms || other.unsubscribes_sms,
            lists: self.lists.union(&other.lists).copied().collect(),
            clears: self.clears.union(&other.clears).cloned().collect(),
        }
    }

    /// How many channels it unsubscribes from.
    pub fn unsubscribes(&self) -> usize {
        usize::from(self.unsubscribes_email) + usize::from(self.unsubscribes_sms)
    }
}

/// What was said before of something that is taken away from a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It may be done.
    Leave,
    /// It must not be done under these rules.
    Rejected,
    /// It waits, in the hold with this number.
    Waits(i64),
}

/// What a change takes away, by what was said of it before.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parts {
    /// It may be done.
    pub leave: Takes,
    /// It must not be done under these rules.
    pub rejected: Takes,
    /// It goes on waiting, by hold.
    pub waits: Vec<(i64, Takes)>,
    /// Nothing was said of it.
    pub fresh: Takes,
}

impl Parts {
    /// Sorts what is taken away. Each piece of it is in one part: a leave goes before a rejection,
    /// that before a hold, and the older hold before the newer.
    pub fn of(takes: &Takes, said: &[(Word, Takes)]) -> Self {
        let mut parts = Self { fresh: takes.clone(), ..Self::default() };
        let mut said: Vec<&(Word, Takes)> = said.iter().collect();
        said.sort_by_key(|(word, _)| match word {
            Word::Leave => (0, 0),
            Word::Rejected => (1, 0),
            Word::Waits(hold) => (2, *hold),
        });
        for (word, about) in said {
            let found = parts.fresh.and(about);
            if found.is_empty() {
                continue;
            }
            parts.fresh = parts.fresh.without(&found);
            match word {
                Word::Leave => parts.leave = parts.leave.or(&found),
                Word::Rejected => parts.rejected = parts.rejected.or(&found),
                Word::Waits(hold) => match parts.waits.last_mut() {
                    Some((last, waits)) if last == hold => *waits = waits.or(&found),
                    _ => parts.waits.push((*hold, found)),
                },
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn takes() -> impl Strategy<Value = Takes> {
        let lists = btree_set((1i64..5).prop_map(ListId), 0..4);
        let name = prop::sample::select(vec!["A", "B"]).prop_map(|name| name.parse().unwrap());
        (any::<bool>(), any::<bool>(), any::<bool>(), lists, btree_set(name, 0..2)).prop_map(
            |(deletes, unsubscribes_email, unsubscribes_sms, lists, clears)| Takes {
                deletes,
                unsubscribes_email,
                unsubscribes_sms,
                lists,
                clears,
            },
        )
    }

    fn said() -> impl Strategy<Value = Vec<(Word, Takes)>> {
        let word =
            prop_oneof![Just(Word::Leave), Just(Word::Rejected), (1i64..4).prop_map(Word::Waits)];
        vec((word, takes()), 0..5)
    }

    proptest! {
        #[test]
        fn each_piece_is_in_exactly_one_part(takes in takes(), said in said()) {
            let parts = Parts::of(&takes, &said);
            let all: Vec<&Takes> = [&parts.leave, &parts.rejected, &parts.fresh]
                .into_iter()
                .chain(parts.waits.iter().map(|(_, waits)| waits))
                .collect();
            for (index, one) in all.iter().enumerate() {
                prop_assert!(all.iter().skip(index + 1).all(|other| one.and(other).is_empty()));
            }
            let together = all.into_iter().fold(Takes::default(), |sum, one| sum.or(one));
            prop_assert_eq!(together, takes);
        }

        #[test]
        fn nothing_goes_on_waiting_or_is_rejected_of_which_that_was_not_said(
            takes in takes(), said in said()
        ) {
            let parts = Parts::of(&takes, &said);
            let of = |wanted: Word| {
                let about = said.iter().filter(|(word, _)| *word == wanted);
                about.fold(Takes::default(), |sum, (_, one)| sum.or(one))
            };
            prop_assert!(parts.leave.without(&of(Word::Leave)).is_empty());
            prop_assert!(parts.rejected.without(&of(Word::Rejected)).is_empty());
            for (hold, waits) in &parts.waits {
                prop_assert!(!waits.is_empty() && waits.without(&of(Word::Waits(*hold))).is_empty());
            }
        }

        #[test]
        fn the_larger_of_the_two_bounds_counts(contacts in 0u64..50, percent in 0.0f64..20.0,
                                               managed in 0u64..1_000, taken in 0u64..300) {
            let bound = Bound { contacts, percent };
            let larger = (contacts as f64).max(managed as f64 * percent / 100.0);
            prop_assert_eq!(bound.is_exceeded_by(taken, managed), taken as f64 > larger);
        }
    }

    #[test]
    fn a_takes_reads_back_what_it_wrote() {
        fn case(takes: Takes, text: &str) {
            assert_eq!(serde_json::to_string(&takes).unwrap(), text);
            assert_eq!(serde_json::from_str::<Takes>(text).unwrap(), takes);
        }
        case(Takes::default(), "{}");
        let lists = BTreeSet::from([ListId(36)]);
        case(Takes { lists, ..Takes::default() }, r#"{"lists":[36]}"#);
        let clears = BTreeSet::from(["A".parse().unwrap()]);
        case(
            Takes { deletes: true, clears, ..Takes::default() },
            r#"{"deletes":true,"clears":["A"]}"#,
        );
    }
}
