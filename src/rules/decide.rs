//! A rule set at work: one record in, one decision out.
//!
//! Each call of a handler has a fresh scope and shares nothing with any other but the decision that
//! it writes.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rhai::Dynamic;
use serde_json::Value;

use super::budget::Budget;
use super::error::{ScriptError, ScriptErrorKind};
use super::evaluation::Evaluation;
use super::handle::{CompanyHandle, ContactHandle, EmissionHandle, IntercomHandle, Occasion};
use super::handlers::{
    CHOOSE_PRIMARY, MAP_BREVO_CONTACT, MAP_BREVO_EVENT, MAP_COMPANY, MAP_CONTACT, MAP_CONVERSATION,
    MAP_EVENT, MAP_TAGS, MERGE_CONTACT,
};
use super::input::{ContactInput, RecordInput};
use super::load::Compiled;
use super::ruleset::RuleSet;
use super::sandbox::on_deep_stack;
use super::view::{View, equals};
use super::{blame, check, merge};
use crate::model::{CompanyDecision, Decision, Emission, Origin, ReverseDecision, Verdict};

/// Numbers of lists by name.
type Lists = Arc<BTreeMap<String, i64>>;

impl RuleSet {
    /// Derives the decision on a contact: `map_contact`, then `map_tags` unless the contact was
    /// skipped or deleted, then `merge_contact` where Brevo holds the contact.
    ///
    /// # Errors
    /// The script that broke. The same input breaks it again, except at the time limit.
    pub fn decide_contact(&self, input: &ContactInput) -> Result<Decision, ScriptError> {
        self.decide_contact_with(input, &self.0.lists)
    }

    /// The same with other names of lists, for tests.
    pub(crate) fn decide_contact_with(
        &self,
        input: &ContactInput,
        lists: &Lists,
    ) -> Result<Decision, ScriptError> {
        let mut decision = Decision::new(input.key.clone(), self.version().clone(), input.as_of);
        if !self.has(MAP_CONTACT) {
            decision.verdict = no_rule(MAP_CONTACT);
            return Ok(decision);
        }
        let evaluation = Evaluation::new(input.as_of, self.0.sources.clone());
        let contact = View::dynamic(input.contact.clone());
        let _budget = Budget::start(&self.0.environment.limits);
        let handle = |decision, evaluation: &Evaluation| {
            ContactHandle::new(decision, evaluation.clone(), lists.clone())
        };
        let mut brevo = handle(decision, &evaluation);
        let _ = self.call(MAP_CONTACT, vec![contact.clone(), brevo.dynamic()], &evaluation)?;
        if !brevo.is_settled() && self.has(MAP_TAGS) {
            let tags = contact.read_lock::<View>().map(|view| view.field(&"tags".into()));
            let tags = tags.filter(|tags| !tags.is_unit()).unwrap_or_else(no_tags);
            let _ = self.call(MAP_TAGS, vec![tags, contact, brevo.dynamic()], &evaluation)?;
        }
        if let Some(existing) = &input.existing
            && !brevo.is_settled()
            && self.has(MERGE_CONTACT)
        {
            brevo = self.merge(existing, brevo, &evaluation, handle)?;
        }
        let mut decision = brevo.finish();
        let notes = evaluation.take_notes();
        decision.log = notes.log;
        decision.flips_at = notes.flips_at;
        let limits = &self.0.environment.limits;
        limits.check(&decision).map_err(|error| error.or_at(|| self.place_of(MAP_CONTACT)))?;
        Ok(decision)
    }

    /// Derives the decision on a company.
    ///
    /// # Errors
    /// The script that broke.
    pub fn decide_company(&self, input: &RecordInput) -> Result<CompanyDecision, ScriptError> {
        let RecordInput { key, record, as_of } = input;
        let mut decision = CompanyDecision::new(key.clone(), self.version().clone(), *as_of);
        if !self.has(MAP_COMPANY) {
            decision.verdict = no_rule(MAP_COMPANY);
            return Ok(decision);
        }
        let evaluation = Evaluation::new(*as_of, self.0.sources.clone());
        let brevo = CompanyHandle::new(decision, evaluation.clone());
        let arguments = vec![View::dynamic(record.clone()), brevo.dynamic()];
        let _ = self.call(MAP_COMPANY, arguments, &evaluation)?;
        let notes = evaluation.take_notes();
        Ok(CompanyDecision { log: notes.log, flips_at: notes.flips_at, ..brevo.finish() })
    }

    /// Derives what a conversation gives off.
    ///
    /// # Errors
    /// The script that broke.
    pub fn decide_conversation(&self, input: &RecordInput) -> Result<Emission, ScriptError> {
        self.emit(MAP_CONVERSATION, input, &self.0.lists)
    }

    /// Derives what a custom event gives off.
    ///
    /// # Errors
    /// The script that broke.
    pub fn decide_event(&self, input: &RecordInput) -> Result<Emission, ScriptError> {
        self.emit(MAP_EVENT, input, &self.0.lists)
    }

    /// Derives the decision for Intercom from a contact of Brevo.
    ///
    /// # Errors
    /// The script that broke.
    pub fn decide_brevo_contact(
        &self,
        input: &RecordInput,
    ) -> Result<ReverseDecision, ScriptError> {
        self.reverse(MAP_BREVO_CONTACT, Occasion::Contact, input)
    }

    /// Derives the decision for Intercom from an event of Brevo.
    ///
    /// # Errors
    /// The script that broke.
    pub fn decide_brevo_event(&self, input: &RecordInput) -> Result<ReverseDecision, ScriptError> {
        self.reverse(MAP_BREVO_EVENT, Occasion::Event, input)
    }

    /// The emission of a conversation or an event; names of lists are those given.
    pub(crate) fn emit(
        &self,
        handler: &str,
        input: &RecordInput,
        lists: &Lists,
    ) -> Result<Emission, ScriptError> {
        let RecordInput { key, record, as_of } = input;
        let mut emission = Emission::new(key.clone(), self.version().clone(), *as_of);
        if !self.has(handler) {
            emission.verdict = no_rule(handler);
            return Ok(emission);
        }
        let evaluation = Evaluation::new(*as_of, self.0.sources.clone());
        let brevo = EmissionHandle::new(emission, evaluation.clone(), lists.clone());
        let arguments = vec![View::dynamic(record.clone()), brevo.dynamic()];
        let _ = self.call(handler, arguments, &evaluation)?;
        let notes = evaluation.take_notes();
        Ok(Emission { log: notes.log, flips_at: notes.flips_at, ..brevo.finish() })
    }

    fn reverse(
        &self,
        handler: &str,
        occasion: Occasion,
        input: &RecordInput,
    ) -> Result<ReverseDecision, ScriptError> {
        let RecordInput { key, record, as_of } = input;
        let mut decision = ReverseDecision::new(key.clone(), self.version().clone(), *as_of);
        if !self.has(handler) {
            decision.verdict = no_rule(handler);
            return Ok(decision);
        }
        let evaluation = Evaluation::new(*as_of, self.0.sources.clone());
        let intercom = IntercomHandle::new(decision, evaluation.clone(), occasion);
        let arguments = vec![View::dynamic(record.clone()), intercom.dynamic()];
        let _ = self.call(handler, arguments, &evaluation)?;
        let notes = evaluation.take_notes();
        Ok(ReverseDecision { log: notes.log, flips_at: notes.flips_at, ..intercom.finish() })
    }

    /// Asks `choose_primary` which of several contacts is the one that counts: its index, `None`
    /// if there is no such handler or it leaves the choice to the engine by returning `()`.
    ///
    /// # Errors
    /// The script broke, or returned something else than one of the contacts.
    pub fn choose_primary(&self, contacts: &[Value]) -> Result<Option<usize>, ScriptError> {
        if !self.has(CHOOSE_PRIMARY) {
            return Ok(None);
        }
        let evaluation = Evaluation::timeless(self.0.sources.clone());
        let views = View::dynamic(Arc::new(Value::Array(contacts.to_vec())));
        let chosen = self.call(CHOOSE_PRIMARY, vec![views], &evaluation)?;
        if chosen.is_unit() {
            return Ok(None);
        }
        let found = contacts.iter().position(|contact| equals(contact, &chosen));
        match found {
            Some(index) => Ok(Some(index)),
            None => Err(ScriptError {
                kind: ScriptErrorKind::Refused,
                message: format!("`{CHOOSE_PRIMARY}` must return one of its contacts"),
                origin: self.place_of(CHOOSE_PRIMARY),
                trace: Vec::new(),
            }),
        }
    }

    /// Runs `merge_contact`, and runs it again as if its result had been written: a decision that
    /// would move with each derivation is an error at the line that moves it.
    pub(super) fn merge(
        &self,
        existing: &Arc<Value>,
        mapped: ContactHandle,
        evaluation: &Evaluation,
        handle: impl FnOnce(Decision, &Evaluation) -> ContactHandle,
    ) -> Result<ContactHandle, ScriptError> {
        let before = mapped.snapshot();
        let view = View::dynamic(existing.clone());
        let _ = self.call(MERGE_CONTACT, vec![view, mapped.dynamic()], evaluation)?;
        let merged = mapped.snapshot();
        // Nothing is written, so there is no result of its own to run on.
        if mapped.is_settled() {
            return Ok(mapped);
        }

        let applied = Arc::new(merge::apply(existing, &merged));
        // The second run is a check, so what it logs is not kept.
        let silent = Evaluation::new(merged.as_of, self.0.sources.clone());
        let again = handle(before, &silent);
        let view = View::dynamic(applied.clone());
        let _ = self.call(MERGE_CONTACT, vec![view, again.dynamic()], &silent)?;
        match merge::moves(&applied, &merged, &again.finish()) {
            None => Ok(mapped),
            Some((what, origin)) => Err(ScriptError {
                kind: ScriptErrorKind::Unstable,
                message: format!(
                    "`{MERGE_CONTACT}` decides otherwise on its own result: {what} would move each time"
                ),
                origin,
                trace: Vec::new(),
            }),
        }
    }

    /// Where a handler is defined.
    fn place_of(&self, handler: &str) -> Option<Origin> {
        let script = self.0.compiled.scripts.get(*self.0.handlers.get(handler)?)?;
        let file = self.0.files.iter().find(|file| script.source() == Some(&file.path))?;
        let (line, column) = check::head_of(&file.text, handler);
        Some(Origin { file: file.path.as_str().into(), line, column })
    }

    /// What a panic leaves of a call. Its text is not carried along: it may quote the record.
    fn panicked(&self, handler: &str) -> ScriptError {
        ScriptError {
            kind: ScriptErrorKind::Panicked,
            message: format!("a function panicked in `{handler}`; the log says where"),
            origin: self.place_of(handler),
            trace: Vec::new(),
        }
    }

    fn has(&self, handler: &str) -> bool {
        self.0.handlers.contains_key(handler)
    }

    pub(super) fn call(
        &self,
        handler: &str,
        mut arguments: Vec<Dynamic>,
        evaluation: &Evaluation,
    ) -> Result<Dynamic, ScriptError> {
        let Compiled { engine, scripts, functions, .. } = &self.0.compiled;
        let found = self.0.handlers.get(handler);
        let found = found.and_then(|index| Some((scripts.get(*index)?, functions.get(*index)?)));
        let Some((script, functions)) = found else {
            return Ok(Dynamic::UNIT);
        };
        let tag = Dynamic::from(evaluation.clone());
        let _budget = Budget::share(&self.0.environment.limits);
        // A panic must not take the worker down with it; nothing outlives the call but the handle.
        let result = catch_unwind(AssertUnwindSafe(|| {
            on_deep_stack(|| functions.call(engine, script, handler, tag, &mut arguments))
        }));
        let file = script.source().unwrap_or_default();
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let operand = |place: &Origin, index| blame::operand(scripts, place, index);
                let error = ScriptError::new(*error, file, &operand);
                Err(error.or_at(|| self.place_of(handler)))
            }
            Err(_) => Err(self.panicked(handler)),
        }
    }
}

fn no_rule(handler: &str) -> Verdict {
    Verdict::Skip { reason: format!("no rule `{handler}`") }
}

pub(super) fn no_tags() -> Dynamic {
    View::dynamic(Arc::new(Value::Array(Vec::new())))
}
