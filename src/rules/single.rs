//! One handler alone, for people who try it out.

use std::sync::Arc;

use super::decide::no_tags;
use super::error::ScriptError;
use super::evaluation::Evaluation;
use super::handle::ContactHandle;
use super::handlers::{HANDLERS, MAP_CONTACT, MAP_TAGS, MERGE_CONTACT};
use super::input::ContactInput;
use super::ruleset::RuleSet;
use super::view::View;
use crate::model::Decision;

/// The names of all handlers that a rule set can have.
pub fn handler_names() -> impl Iterator<Item = &'static str> {
    HANDLERS.iter().map(|handler| handler.name)
}

impl RuleSet {
    /// Derives the decision on a contact by one handler alone: `map_contact`, `map_tags` or
    /// `merge_contact`, as if the set had no other.
    ///
    /// # Errors
    /// The script that broke.
    pub fn decide_contact_by(
        &self,
        handler: &str,
        input: &ContactInput,
    ) -> Result<Decision, ScriptError> {
        let decision = Decision::new(input.key.clone(), self.version().clone(), input.as_of);
        let evaluation = Evaluation::new(input.as_of, self.0.sources.clone());
        let contact = View::dynamic(input.contact.clone());
        let handle = |decision, evaluation: &Evaluation| {
            ContactHandle::new(decision, evaluation.clone(), self.0.lists.clone())
        };
        let mut brevo = handle(decision, &evaluation);
        match (handler, &input.existing) {
            (MAP_TAGS, _) => {
                let tags = contact.read_lock::<View>().map(|view| view.field(&"tags".into()));
                let tags = tags.filter(|tags| !tags.is_unit()).unwrap_or_else(no_tags);
                let _ = self.call(MAP_TAGS, vec![tags, contact, brevo.dynamic()], &evaluation)?;
            }
            (MERGE_CONTACT, Some(existing)) => {
                brevo = self.merge(&Arc::clone(existing), brevo, &evaluation, handle)?;
            }
            // Without a contact in Brevo there is nothing to merge with.
            (MERGE_CONTACT, None) => {}
            _ => {
                let _ = self.call(MAP_CONTACT, vec![contact, brevo.dynamic()], &evaluation)?;
            }
        }
        let notes = evaluation.take_notes();
        Ok(Decision { log: notes.log, flips_at: notes.flips_at, ..brevo.finish() })
    }
}
