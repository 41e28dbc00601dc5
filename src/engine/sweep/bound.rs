//! Where a listing that is sorted by `updated_at`, newest first, may end. Pure.

use crate::model::{Snapshot, Timestamp};

/// How far an incremental sweep reaches back before the start of the last one, in seconds: changes
/// take minutes to become searchable (facts: Intercom section 3.3).
pub(super) const LAG_SECONDS: i64 = 900;

/// Up to where a listing is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound(Option<Timestamp>);

impl Bound {
    /// What was updated at `since` or later; everything without one.
    pub(super) fn since(since: Option<Timestamp>) -> Self {
        Self(since)
    }

    /// True if this was updated late enough.
    pub(super) fn includes(self, at: Timestamp) -> bool {
        self.0.is_none_or(|since| at >= since)
    }

    /// True if no later page of the listing can hold anything that is included. A page out of order
    /// proves nothing, and the listing is read on.
    pub(super) fn is_passed_by(self, page: impl Iterator<Item = Timestamp> + Clone) -> bool {
        let Some(since) = self.0 else {
            return false;
        };
        page.clone().is_sorted_by(|a, b| a >= b) && page.last().is_some_and(|last| last < since)
    }
}

/// The times of a page's rows.
pub(super) fn times(page: &[Snapshot]) -> impl Iterator<Item = Timestamp> + Clone {
    page.iter().map(|snapshot| snapshot.version.at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_listing_ends_with_the_first_page_that_goes_beyond_the_bound() {
        fn case(since: Option<i64>, page: &[i64], expected: bool) {
            let page: Vec<_> = page.iter().copied().map(at).collect();
            let found = Bound::since(since.map(at)).is_passed_by(page.iter().copied());
            assert_eq!(found, expected, "{since:?} {page:?}");
        }
        case(None, &[3, 2, 1], false);
        case(Some(2), &[4, 3], false);
        case(Some(2), &[3, 2], false);
        case(Some(2), &[3, 1], true);
        case(Some(2), &[1], true);
        case(Some(2), &[], false);
        case(Some(2), &[3, 1, 4], false);
        case(Some(2), &[1, 4, 1], false);
    }

    proptest! {
        /// INVARIANT: an incremental listing reads every change from its bound on, the very second
        /// included, and at most one page that holds none.
        #[test]
        fn an_incremental_listing_reads_every_change_from_its_bound_on(
            mut rows in prop::collection::vec(0i64..50, 0..200), since in 0i64..50, per_page in 1usize..20,
        ) {
            rows.sort_by(|a, b| b.cmp(a));
            let bound = Bound::since(Some(at(since)));
            let (mut taken, mut barren) = (Vec::new(), 0);
            for page in rows.chunks(per_page) {
                let wanted: Vec<i64> = page.iter().copied().filter(|row| bound.includes(at(*row))).collect();
                barren += usize::from(wanted.is_empty());
                taken.extend(wanted);
                if bound.is_passed_by(page.iter().copied().map(at)) {
                    break;
                }
            }
            let expected: Vec<i64> = rows.iter().copied().filter(|row| *row >= since).collect();
            prop_assert_eq!(taken, expected);
            prop_assert!(barren <= 1);
        }

        /// INVARIANT: a change that becomes searchable late is found by the next sweep, if not by this one.
        #[test]
        fn what_becomes_searchable_late_is_found_by_the_next_sweep(
            changed in 0i64..10_000, lag in 0i64..=LAG_SECONDS, starts in prop::collection::btree_set(0i64..20_000, 2..8),
        ) {
            let starts: Vec<i64> = starts.into_iter().collect();
            let is_found = starts.windows(2).any(|pair| {
                let bound = Bound::since(Some(at(pair[0] - LAG_SECONDS)));
                let is_searchable = changed + lag <= pair[1];
                is_searchable && bound.includes(at(changed))
            });
            let is_due = starts.windows(2).any(|pair| pair[0] <= changed && changed + lag <= pair[1]);
            prop_assert!(is_found || !is_due);
            // Nothing falls between two sweeps that follow each other.
            let after_first = starts.iter().skip(1).any(|start| changed + lag <= *start);
            let before_first_bound = changed < starts[0] - LAG_SECONDS;
            prop_assert!(is_found || !after_first || before_first_bound);
        }
    }
}
