//! Who is moved on one list, and by how many list calls.

use std::collections::BTreeMap;

use super::lists::MAX_LIST_MEMBERS;
use super::plan::{By, PlannedChange};
use crate::model::Identity;

/// How a call can name a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// By address: Brevo does not have it yet.
    Email,
    /// By number: it has no address.
    Id,
    /// Either way.
    Either,
}

impl Naming {
    pub(super) fn of(planned: &PlannedChange<'_>) -> Self {
        match (planned.change.identity, planned.email) {
            (Identity::New, _) => Self::Email,
            (Identity::Known(_), None) => Self::Id,
            (Identity::Known(_), Some(_)) => Self::Either,
        }
    }
}

/// How many contacts can be named how.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    email: usize,
    id: usize,
    either: usize,
}

impl Tally {
    pub(super) fn count(&mut self, naming: Naming) {
        match naming {
            Naming::Email => self.email += 1,
            Naming::Id => self.id += 1,
            Naming::Either => self.either += 1,
        }
    }

    pub(super) fn without(&self, leaving: &Self) -> Self {
        Self {
            email: self.email - leaving.email,
            id: self.id - leaving.id,
            either: self.either - leaving.either,
        }
    }

    /// How those go who can be named either way: by number where that does for all, since addresses
    /// move, else with those who need their address.
    fn either_goes(&self) -> By {
        if self.email == 0 { By::Id } else { By::Email }
    }

    pub(super) fn calls(&self) -> usize {
        let (email, id) = match self.either_goes() {
            By::Id => (self.email, self.id + self.either),
            By::Email => (self.email + self.either, self.id),
        };
        email.div_ceil(MAX_LIST_MEMBERS) + id.div_ceil(MAX_LIST_MEMBERS)
    }
}

/// Who is moved on one list.
#[derive(Debug, Clone, Default)]
pub(super) struct Movers {
    pub(super) members: BTreeMap<usize, Naming>,
    pub(super) tally: Tally,
}

impl Movers {
    pub(super) fn insert(&mut self, index: usize, naming: Naming) {
        self.members.insert(index, naming);
        self.tally.count(naming);
    }

    pub(super) fn remove(&mut self, index: usize) {
        if let Some(naming) = self.members.remove(&index) {
            let mut leaving = Tally::default();
            leaving.count(naming);
            self.tally = self.tally.without(&leaving);
        }
    }

    /// The members of each call.
    pub(super) fn groups(&self) -> Vec<(By, Vec<usize>)> {
        let either = self.tally.either_goes();
        let is_by_email = |naming: Naming| match naming {
            Naming::Email => true,
            Naming::Id => false,
            Naming::Either => either == By::Email,
        };
        let (by_email, by_id): (Vec<_>, Vec<_>) =
            self.members.iter().partition(|(_, naming)| is_by_email(**naming));
        let calls = |by: By, members: Vec<(&usize, &Naming)>| -> Vec<(By, Vec<usize>)> {
            let members: Vec<usize> = members.into_iter().map(|(index, _)| *index).collect();
            members.chunks(MAX_LIST_MEMBERS).map(|part| (by, part.to_vec())).collect()
        };
        [calls(By::Email, by_email), calls(By::Id, by_id)].concat()
    }
}
