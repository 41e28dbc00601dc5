//! What rules ask for and this version does not do: said once for each rule set, and counted, so that
//! nothing of it vanishes without a word.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::model::{Decision, Emission, RuleSetVersion};
use crate::rules::RuleSet;
use crate::telemetry;

/// Handlers that no part of the engine calls yet.
const HANDLERS: [&str; 2] = ["map_brevo_contact", "map_brevo_event"];

/// What was said already.
#[derive(Debug, Default)]
pub(crate) struct Unserved(Mutex<BTreeSet<(RuleSetVersion, &'static str)>>);

impl Unserved {
    /// Notes the part of a decision that is not written where the configuration forbids it.
    pub(crate) fn note(&self, decision: &Decision, allow_resubscribe: bool) {
        if decision.resubscribe.is_some() && !allow_resubscribe {
            metrics::counter!(telemetry::UNSERVED_PARTS.name, "part" => "resubscribe").increment(1);
            if self.is_first(&decision.rule_set, "resubscribe") {
                tracing::warn!(
                    ruleset.version = %decision.rule_set,
                    part = "resubscribe",
                    "rules ask for `resubscribe`, which the configuration forbids: set \
                     `guards.allow_resubscribe: true`; the rest is written"
                );
            }
        }
    }

    /// Notes what a conversation or an event gave off that goes nowhere yet.
    pub(crate) fn note_emission(&self, emission: &Emission) {
        let part = "upsert_object";
        if emission.objects.is_empty() {
            return;
        }
        metrics::counter!(telemetry::UNSERVED_PARTS.name, "part" => part).increment(1);
        if self.is_first(&emission.rule_set, "upsert_object of other records") {
            tracing::warn!(
                ruleset.version = %emission.rule_set,
                part,
                "rules ask for `{part}`, which this version does not write; the rest is written"
            );
        }
    }

    /// Notes the handlers of a set that goes live which are not called.
    pub(crate) fn note_handlers(&self, rules: &RuleSet) {
        let handlers = uncalled(rules.handlers());
        if !handlers.is_empty() && self.is_first(rules.version(), "handlers") {
            tracing::warn!(
                ruleset.version = %rules.version(),
                "this version does not call {}; all other rules are in force",
                handlers.join(", ")
            );
        }
    }

    fn is_first(&self, version: &RuleSetVersion, what: &'static str) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Only the newest rules matter: what was said of older ones may be forgotten.
        if said.len() > 1_000 {
            said.clear();
        }
        said.insert((version.clone(), what))
    }
}

fn uncalled<'a>(handlers: impl Iterator<Item = &'a str>) -> Vec<&'static str> {
    let defined: BTreeSet<&str> = handlers.collect();
    HANDLERS.into_iter().filter(|handler| defined.contains(handler)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    #[test]
    fn what_is_not_written_is_said_once_for_a_set() {
        let version = |text: &str| RuleSetVersion::of(Digest::of_bytes(text.as_bytes()));
        let unserved = Unserved::default();
        assert!(unserved.is_first(&version("a"), "resubscribe"));
        assert!(!unserved.is_first(&version("a"), "resubscribe"));
        assert!(unserved.is_first(&version("b"), "resubscribe"));
    }

    #[test]
    fn handlers_that_are_called_are_not_complained_of() {
        let defined = ["map_contact", "map_tags", "map_event", "map_company"];
        assert!(uncalled(defined.into_iter()).is_empty());
        let defined = ["map_contact", "map_brevo_event"];
        assert_eq!(uncalled(defined.into_iter()), ["map_brevo_event"]);
    }
}
