//! From a company to what should be true of it in Brevo. Pure; it runs on the script threads.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Wanted;
use crate::config::OnGone;
use crate::engine::assemble;
use crate::engine::derive::Footing;
use crate::model::{
    AttributeIntent, CompanyDecision, Record, RecordKey, RuleSetVersion, Timestamp, Traced, Verdict,
};
use crate::rules::{RecordInput, RuleSet, ScriptError};
use crate::store::{Cause, Claim, CompanySubject, Ending, Outcome, Settlement};

/// How long to wait before a script that ran into its time limit is tried a second time.
const RETRY_TIME_LIMIT_SECONDS: i64 = 5;

/// What should be true of a company in Brevo.
#[derive(Debug)]
pub(super) enum Want {
    /// It has these values.
    Values(Values),
    /// It is gone.
    Gone {
        /// When the answer of a rule flips.
        due_again: Option<Timestamp>,
    },
}

/// What the rules decided of a company.
#[derive(Debug)]
pub(super) struct Values {
    /// By the names that the rules use.
    pub(super) attributes: BTreeMap<String, Traced<AttributeIntent>>,
    pub(super) rule_set: RuleSetVersion,
    pub(super) due_again: Option<Timestamp>,
}

impl Want {
    /// When to derive again because the answer of a rule flips.
    pub(super) fn due_again(&self) -> Option<Timestamp> {
        match self {
            Self::Values(values) => values.due_again,
            Self::Gone { due_again } => *due_again,
        }
    }
}

/// What should be true of a company, or how its journey ends here.
pub(super) fn decide(
    footing: &Footing,
    claim: Claim,
    subject: CompanySubject,
) -> Result<Wanted, Box<Settlement>> {
    let Some(record) = subject.record.as_ref() else {
        return Err(ended(claim, Outcome::Ignored, None));
    };
    let is_ours = subject.known.brevo.is_some() && subject.known.state.created;
    if !record.liveness.is_live() {
        // What the engine did not make is not its to delete.
        return match footing.config.intercom.on_delete {
            OnGone::Delete if is_ours => {
                Ok(Wanted { claim, subject, want: Want::Gone { due_again: None } })
            }
            _ => Err(ended(claim, Outcome::Unchanged, None)),
        };
    }
    if !footing.rules.handlers().any(|handler| handler == "map_company") {
        return Err(ended(claim, Outcome::Ignored, None));
    }
    let input = RecordInput {
        key: RecordKey::company(subject.id.clone()),
        record: Arc::new(shown(record, &subject)),
        as_of: footing.as_of,
    };
    let decision = match footing.rules.decide_company(&input) {
        Ok(decision) => decision,
        Err(error) => return Err(broke(claim, &footing.rules, &error, footing.as_of)),
    };
    let CompanyDecision { verdict, attributes, rule_set, flips_at: due_again, .. } = decision;
    let want = match verdict {
        Verdict::Skip { .. } => return Err(ended(claim, Outcome::Skipped, due_again)),
        Verdict::Delete | Verdict::Release if is_ours => Want::Gone { due_again },
        Verdict::Delete | Verdict::Release => {
            return Err(ended(claim, Outcome::Unchanged, due_again));
        }
        Verdict::Write => Want::Values(Values { attributes, rule_set, due_again }),
    };
    Ok(Wanted { claim, subject, want })
}

/// A company as scripts see it.
fn shown(record: &Record, subject: &CompanySubject) -> Value {
    let mut body = assemble::company_view(&record.body, &subject.tags);
    if let Some(fields) = body.as_object_mut() {
        fields.insert("contacts_count".to_owned(), json!(subject.contacts));
    }
    body
}

fn ended(claim: Claim, outcome: Outcome, due_again: Option<Timestamp>) -> Box<Settlement> {
    Box::new(Settlement::new(claim, Ending::Done { outcome, due_again }))
}

/// A pure function that threw will throw again. Only a time limit may have been the machine's fault.
fn broke(claim: Claim, rules: &RuleSet, error: &ScriptError, now: Timestamp) -> Box<Settlement> {
    if error.is_time_limit() && claim.attempts < 2 {
        let at = now.plus(RETRY_TIME_LIMIT_SECONDS);
        return Box::new(Settlement::new(claim, Ending::Retry { at, cursor: None, counts: true }));
    }
    let cause = Cause {
        kind: "script",
        message: error.message.clone(),
        origin: error.origin.as_ref().map(ToString::to_string),
        response: None,
        request: None,
        rule_set: Some(rules.version().to_string()),
    };
    tracing::warn!(company.id = %claim.key.id, origin = cause.origin, "a script failed; the company is a dead letter");
    Box::new(Settlement::new(claim, Ending::Dead(cause)))
}
