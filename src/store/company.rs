//! What the store keeps of companies in Brevo, and of their links to contacts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Cause, CompanyCounts, DoubleOptInCounts, LinkCounts, ObjectCounts};
use crate::model::{CompanyState, CompanyValues, Record, RecordId, Timestamp};

/// A company and what its derivation needs.
#[derive(Debug, Clone, PartialEq)]
pub struct CompanySubject {
    /// Intercom's id.
    pub id: RecordId,
    /// The newest snapshot; none: it was never seen.
    pub record: Option<Record>,
    /// Names of its tags, as far as they are known.
    pub tags: BTreeMap<RecordId, String>,
    /// How many contacts it has, as far as they are known.
    pub contacts: u64,
    /// What is known of it in Brevo.
    pub known: KnownCompany,
}

/// What is known of a company in Brevo.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KnownCompany {
    /// Brevo's id; none: Brevo has none, as far as is known.
    pub brevo: Option<String>,
    /// What was applied, and what Brevo holds.
    pub state: CompanyState,
    /// Since when a creation may have reached Brevo without its answer reaching us.
    pub intended: Option<Timestamp>,
}

/// What becomes known of a company, together with the end of its claim.
#[derive(Debug, Clone, PartialEq)]
pub enum CompanyWrite {
    /// This is how it stands.
    Put(Box<KnownCompany>),
    /// Brevo has none any more, or it is no longer ours.
    Forget,
    /// It is to be derived again once Brevo takes companies.
    Withhold,
}

/// A company that was found in Brevo.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundCompany {
    /// Intercom's id, which the company bears.
    pub id: RecordId,
    /// Brevo's.
    pub brevo: String,
    /// What it holds.
    pub held: CompanyValues,
    /// Numbers of the contacts that are linked to it.
    pub contacts: BTreeSet<i64>,
}

/// Links of one company that are not as they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueLinks {
    /// Intercom's id of the company.
    pub company: RecordId,
    /// Brevo's.
    pub brevo: String,
    /// Contacts to link: Intercom's id, and Brevo's number.
    pub link: Vec<(RecordId, i64)>,
    /// Contacts to unlink: Intercom's id, and the number that was linked.
    pub unlink: Vec<(RecordId, i64)>,
    /// Contacts that somebody else linked: nothing is to be done, and nothing is ours to undo.
    pub foreign: Vec<RecordId>,
}

impl DueLinks {
    /// A company of which nothing is due yet.
    pub(crate) fn new(company: RecordId, brevo: String) -> Self {
        Self { company, brevo, link: Vec::new(), unlink: Vec::new(), foreign: Vec::new() }
    }
}

/// How an attempt on one link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEnd {
    /// The contact with this number is linked.
    Linked(i64),
    /// It is not linked any more.
    Unlinked,
    /// Somebody else linked it.
    Foreign,
    /// Brevo does not take it: it is a dead letter, and is not tried again before something about it
    /// changes.
    Refused(Cause),
}

/// Figures of what is brought to Brevo beside contacts and events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkCounts {
    /// Companies.
    pub companies: CompanyCounts,
    /// Links between contacts and companies.
    pub links: LinkCounts,
    /// Custom objects.
    pub objects: ObjectCounts,
    /// People who are asked to confirm an opt-in.
    pub double_opt_ins: DoubleOptInCounts,
    /// Opt-outs that were lifted.
    pub lifted: u64,
}
