//! What the rules say should be true of one company in Brevo.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AttributeIntent, Line, Origin, RecordKey, RuleSetVersion, Timestamp, Traced, Verdict};

/// What should be true of one company in Brevo. The same record, rule set and `as_of` give the same
/// decision, byte for byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompanyDecision {
    /// The company it was derived from.
    pub subject: RecordKey,
    /// The rules that decided.
    pub rule_set: RuleSetVersion,
    /// The time that `older_than` and `within` compared with.
    pub as_of: Timestamp,
    /// Written, skipped or deleted, and by which line (none: the default).
    pub verdict: Verdict,
    /// The line that chose the verdict.
    pub verdict_origin: Option<Origin>,
    /// Attributes, spelt as Brevo spells those of companies: `name`, `domain`, `industry`.
    pub attributes: BTreeMap<String, Traced<AttributeIntent>>,
    /// What the scripts logged.
    pub log: Vec<Line>,
    /// When the answer of some `older_than` or `within` flips: the earliest such time.
    pub flips_at: Option<Timestamp>,
}

impl CompanyDecision {
    /// A decision in which nothing is said yet.
    pub fn new(subject: RecordKey, rule_set: RuleSetVersion, as_of: Timestamp) -> Self {
        Self {
            subject,
            rule_set,
            as_of,
            verdict: Verdict::Write,
            verdict_origin: None,
            attributes: BTreeMap::new(),
            log: Vec::new(),
            flips_at: None,
        }
    }
}
