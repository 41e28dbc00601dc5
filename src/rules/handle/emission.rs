//! `brevo` in `map_conversation` and `map_event`: events, objects, decisions on contacts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Dynamic, Engine, ImmutableString};
use serde_json::Value;

use super::contact::ContactHandle;
use super::draft::Draft;
use super::{Ctx, Outcome, emitted, register_foreign};
use crate::model::{Decision, Emission, RecordId, RecordKey, Verdict};
use crate::rules::error::refuse;
use crate::rules::evaluation::Evaluation;
use crate::rules::view::to_json;

/// What only a contact has.
const OF_CONTACTS: [(&str, usize); 12] = [
    ("add_to_list", 1),
    ("add_to_lists", 2),
    ("remove_from_list", 1),
    ("set_all", 2),
    ("clear", 1),
    ("keep", 1),
    ("unsubscribe", 0),
    ("unsubscribe", 1),
    ("resubscribe", 0),
    ("release", 0),
    ("delete", 0),
    ("link_company", 1),
];

/// What to write where the decision is about a contact.
const HELP: &str = "it is about a contact; write `brevo.contact(conversation.contact)` first";

/// What `brevo` is in `map_conversation` and `map_event`.
#[derive(Debug, Clone)]
pub(crate) struct EmissionHandle {
    draft: Draft<Emission>,
    /// Handles that `brevo.contact(…)` gave out, by Intercom's id: asking twice gives the same one.
    contacts: Arc<Mutex<BTreeMap<RecordId, ContactHandle>>>,
    lists: Arc<BTreeMap<String, i64>>,
}

impl EmissionHandle {
    /// A handle on an emission; `lists` are the numbers of lists by name.
    pub(crate) fn new(
        emission: Emission,
        evaluation: Evaluation,
        lists: Arc<BTreeMap<String, i64>>,
    ) -> Self {
        Self { draft: Draft::new(emission, evaluation), contacts: Arc::default(), lists }
    }

    /// The handle as a script's value.
    pub(crate) fn dynamic(&self) -> Dynamic {
        Dynamic::from(self.clone())
    }

    /// The emission, when the scripts are done with it.
    pub(crate) fn finish(self) -> Emission {
        let contacts =
            std::mem::take(&mut *self.contacts.lock().unwrap_or_else(PoisonError::into_inner));
        let mut emission = self.draft.finish();
        emission.contacts =
            contacts.into_iter().map(|(id, handle)| (id, handle.finish())).collect();
        emission
    }

    fn contact(&self, contact: &Dynamic) -> Outcome<Dynamic> {
        let id = match to_json(contact) {
            Value::String(id) => Some(id),
            Value::Object(contact) => contact.get("id").and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        let id = id.and_then(|id| id.parse::<RecordId>().ok()).ok_or_else(|| {
            refuse("`contact` takes a contact, such as `conversation.contact`, or its id")
        })?;
        let mut contacts = self.contacts.lock().unwrap_or_else(PoisonError::into_inner);
        if contacts.len() >= emitted::MAX_EMITTED && !contacts.contains_key(&id) {
            return Err(refuse("a decision on more contacts than one record can have"));
        }
        let handle = contacts.entry(id.clone()).or_insert_with(|| {
            let (rule_set, as_of) =
                self.draft.with(|emission| (emission.rule_set.clone(), emission.as_of));
            let decision = Decision::new(RecordKey::contact(id), rule_set, as_of);
            ContactHandle::new(decision, self.draft.evaluation().clone(), self.lists.clone())
        });
        Ok(handle.dynamic())
    }

    fn skip(&self, ctx: &Ctx<'_>, reason: &str) {
        let origin = self.draft.origin(ctx);
        self.draft.with(|emission| {
            emission.verdict = Verdict::Skip { reason: reason.to_owned() };
            emission.verdict_origin = Some(origin);
        });
    }
}

/// Makes emissions writable in scripts.
pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<EmissionHandle>("decision on a conversation or an event");
    engine.register_indexer_get(
        |_: &mut EmissionHandle, name: ImmutableString| -> Outcome<Dynamic> {
            Err(refuse(format!("there is no `{name}` here: {HELP}")))
        },
    );
    engine.register_indexer_set(
        |_: &mut EmissionHandle, name: ImmutableString, _: Dynamic| -> Outcome<()> {
            Err(refuse(format!("`{name}` cannot be written here: {HELP}")))
        },
    );
    emitted::register(engine, |brevo: &EmissionHandle| &brevo.draft);
    engine.register_fn("contact", |brevo: &mut EmissionHandle, contact: Dynamic| {
        brevo.contact(&contact)
    });
    engine.register_fn("skip", |ctx: Ctx<'_>, brevo: &mut EmissionHandle, reason: &str| {
        brevo.skip(&ctx, reason);
    });
    register_foreign::<EmissionHandle>(engine, &OF_CONTACTS, HELP);
}
