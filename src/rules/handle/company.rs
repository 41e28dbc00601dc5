//! `brevo` in `map_company`: a decision on a company.

use rhai::{Dynamic, Engine, ImmutableString};

use super::draft::Draft;
use super::{Ctx, Outcome, register_foreign};
use crate::model::{AttributeIntent, CompanyDecision, Verdict};
use crate::rules::error::refuse;
use crate::rules::evaluation::Evaluation;
use crate::rules::written::{Written, to_dynamic};

/// What only a contact has.
const OF_CONTACTS: [(&str, usize); 9] = [
    ("add_to_list", 1),
    ("add_to_lists", 2),
    ("remove_from_list", 1),
    ("unsubscribe", 0),
    ("unsubscribe", 1),
    ("resubscribe", 0),
    ("release", 0),
    ("track", 2),
    ("track", 3),
];

/// What `brevo` is in `map_company`.
#[derive(Debug, Clone)]
pub(crate) struct CompanyHandle(Draft<CompanyDecision>);

impl CompanyHandle {
    /// A handle on a decision.
    pub(crate) fn new(decision: CompanyDecision, evaluation: Evaluation) -> Self {
        Self(Draft::new(decision, evaluation))
    }

    /// The handle as a script's value.
    pub(crate) fn dynamic(&self) -> Dynamic {
        Dynamic::from(self.clone())
    }

    /// The decision, when the scripts are done with it.
    pub(crate) fn finish(self) -> CompanyDecision {
        self.0.finish()
    }

    fn held(&self, name: &str) -> Dynamic {
        self.0.with(|decision| match decision.attributes.get(name).map(|traced| &traced.value) {
            Some(AttributeIntent::Set(value)) => to_dynamic(value),
            _ => Dynamic::UNIT,
        })
    }

    fn read(&self, ctx: &Ctx<'_>, name: &ImmutableString) -> Dynamic {
        self.0.note_read(name, ctx.call_position());
        self.held(name)
    }

    fn set(&self, ctx: &Ctx<'_>, name: &ImmutableString, value: &Dynamic) -> Outcome<()> {
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Err(refuse(format!("`{name}` cannot be the name of a company's attribute")));
        }
        let value = Written::from_script(value)
            .map_err(|problem| refuse(format!("`{name}` cannot be {problem}")))?;
        let is_write_back = self.0.is_write_back(name, ctx.call_position());
        if is_write_back && Written::from_script(&self.held(name)).as_ref() == Ok(&value) {
            return Ok(());
        }
        let intent = match value {
            Written::Value(value) => AttributeIntent::Set(value),
            Written::Nothing => AttributeIntent::Withdraw,
        };
        let traced = self.0.traced(ctx, intent);
        self.0.with(|decision| decision.attributes.insert(name.to_string(), traced));
        Ok(())
    }

    fn decide(&self, ctx: &Ctx<'_>, verdict: Verdict) {
        let origin = self.0.origin(ctx);
        self.0.with(|decision| {
            decision.verdict = verdict;
            decision.verdict_origin = Some(origin);
        });
    }
}

/// Makes decisions on companies writable in scripts.
pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<CompanyHandle>("decision on a company");
    engine.register_indexer_get(
        |ctx: Ctx<'_>, brevo: &mut CompanyHandle, name: ImmutableString| brevo.read(&ctx, &name),
    );
    engine.register_indexer_set(
        |ctx: Ctx<'_>, brevo: &mut CompanyHandle, name: ImmutableString, value: Dynamic| {
            brevo.set(&ctx, &name, &value)
        },
    );
    engine.register_fn("skip", |ctx: Ctx<'_>, brevo: &mut CompanyHandle, reason: &str| {
        brevo.decide(&ctx, Verdict::Skip { reason: reason.to_owned() });
    });
    engine.register_fn("delete", |ctx: Ctx<'_>, brevo: &mut CompanyHandle| {
        brevo.decide(&ctx, Verdict::Delete);
    });
    register_foreign::<CompanyHandle>(
        engine,
        &OF_CONTACTS,
        "a company has attributes only; decide on its contacts in `map_contact`",
    );
}
