//! `guards`: what is held for a person's approval.

use super::reader::Section;
use super::setting::Percent;
use crate::model::MayResubscribe;

/// Settings of the guards.
#[derive(Debug, Clone)]
pub struct Guards {
    /// What may be taken away without approval.
    pub max_change: MaxChange,
    /// True: an opt-in in Intercom newer than the opt-out lifts it, audited.
    pub allow_resubscribe: bool,
}

impl Guards {
    /// The leave to lift opt-outs, if it is given.
    pub fn may_resubscribe(&self) -> Option<MayResubscribe> {
        MayResubscribe::of(self.allow_resubscribe)
    }
}

/// From how many contacts something may be taken away without approval: the larger of the two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaxChange {
    /// A number of contacts.
    pub contacts: u64,
    /// A share of the contacts that the engine manages, from 0 to 100.
    pub percent: f64,
}

pub(super) fn read(mut section: Section<'_>) -> Option<Guards> {
    let mut bounds = section.section("max_change");
    let max_change = MaxChange {
        contacts: bounds.get("contacts")?,
        percent: bounds.get::<Percent>("percent")?.0,
    };
    bounds.finish();
    let guards = Guards { max_change, allow_resubscribe: section.get("allow_resubscribe")? };
    section.finish();
    Some(guards)
}
