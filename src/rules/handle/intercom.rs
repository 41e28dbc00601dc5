//! `intercom` in `map_brevo_contact` and `map_brevo_event`: a decision on a contact of Intercom.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Dynamic, Engine, ImmutableString};
use serde_json::Value;

use super::draft::Draft;
use super::{Ctx, Outcome, emitted};
use crate::model::{ContactRole, Message, ReverseDecision, TagIntent, Timestamp, Traced, Verdict};
use crate::rules::diagnostic::nearest;
use crate::rules::error::refuse;
use crate::rules::evaluation::Evaluation;
use crate::rules::view::View;

/// Fields of a contact that Intercom lets others write (facts: Intercom, `PUT /contacts/{id}`).
pub(crate) const FIELDS: [&str; 11] = [
    "avatar",
    "email",
    "external_id",
    "language_override",
    "last_seen_at",
    "name",
    "owner_id",
    "phone",
    "role",
    "signed_up_at",
    "unsubscribed_from_emails",
];

/// Who may speak: `map_brevo_event` runs once for each event, `map_brevo_contact` whenever the
/// contact is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The state of a contact.
    Contact,
    /// One event.
    Event,
}

/// What `intercom` is in reverse handlers.
#[derive(Debug, Clone)]
pub(crate) struct IntercomHandle {
    draft: Draft<ReverseDecision>,
    occasion: Occasion,
}

/// What `intercom.custom_attributes` is: the same decision, under the names of custom attributes.
#[derive(Debug, Clone)]
struct CustomAttributes(IntercomHandle);

impl IntercomHandle {
    /// A handle on a decision.
    pub(crate) fn new(
        decision: ReverseDecision,
        evaluation: Evaluation,
        occasion: Occasion,
    ) -> Self {
        Self { draft: Draft::new(decision, evaluation), occasion }
    }

    /// The handle as a script's value.
    pub(crate) fn dynamic(&self) -> Dynamic {
        Dynamic::from(self.clone())
    }

    /// The decision, when the scripts are done with it.
    pub(crate) fn finish(self) -> ReverseDecision {
        self.draft.finish()
    }

    fn read(&self, ctx: &Ctx<'_>, name: &ImmutableString) -> Outcome<Dynamic> {
        if name == "custom_attributes" {
            return Ok(Dynamic::from(CustomAttributes(self.clone())));
        }
        check_field(name)?;
        self.draft.note_read(name, ctx.call_position());
        Ok(self.draft.with(|decision| shown(decision.fields.get(name.as_str()).map(|t| &t.value))))
    }

    fn set(&self, ctx: &Ctx<'_>, name: &ImmutableString, value: &Dynamic) -> Outcome<()> {
        if name == "custom_attributes" {
            // Rhai writes back what `intercom.custom_attributes.x = …` was written to.
            return match value.is::<CustomAttributes>() {
                true => Ok(()),
                false => {
                    Err(refuse("write one custom attribute: `intercom.custom_attributes.x = …`"))
                }
            };
        }
        check_field(name)?;
        let value = field_value(name, value)?;
        self.put(ctx, name, value, |decision| &mut decision.fields)
    }

    /// Writes unless Rhai only writes back what it read.
    fn put(
        &self,
        ctx: &Ctx<'_>,
        name: &ImmutableString,
        value: Value,
        place: impl Fn(&mut ReverseDecision) -> &mut BTreeMap<String, Traced<Value>>,
    ) -> Outcome<()> {
        let is_write_back = self.draft.is_write_back(name, ctx.call_position());
        let traced = self.draft.traced(ctx, value);
        self.draft.with(|decision| {
            let fields = place(decision);
            let held = fields.get(name.as_str()).map_or(&Value::Null, |traced| &traced.value);
            if !(is_write_back && *held == traced.value) {
                fields.insert(name.to_string(), traced);
            }
        });
        Ok(())
    }

    fn tag(&self, ctx: &Ctx<'_>, name: &Dynamic, intent: TagIntent) -> Outcome<()> {
        let function = ctx.fn_name();
        let name = match name.as_immutable_string_ref() {
            Ok(name) if !name.trim().is_empty() => name.trim().to_owned(),
            _ => return Err(refuse(format!("`{function}` takes the name of a tag"))),
        };
        let traced = self.draft.traced(ctx, intent);
        self.draft.with(|decision| decision.tags.insert(name, traced));
        Ok(())
    }

    fn create(&self, ctx: &Ctx<'_>, role: &str) -> Outcome<()> {
        let role = match role {
            "lead" => ContactRole::Lead,
            "user" => ContactRole::User,
            other => {
                return Err(refuse(format!(
                    "`create` makes a \"lead\" or a \"user\", not \"{other}\""
                )));
            }
        };
        let traced = self.draft.traced(ctx, role);
        self.draft.with(|decision| decision.create = Some(traced));
        Ok(())
    }

    /// Messages are sent once for each event; a state would send them with every derivation.
    fn only_in_events(&self, ctx: &Ctx<'_>) -> Outcome<()> {
        match self.occasion {
            Occasion::Event => Ok(()),
            Occasion::Contact => Err(refuse(format!(
                "`{}` belongs into `map_brevo_event`, which is called once for each event",
                ctx.fn_name()
            ))),
        }
    }

    fn say(&self, ctx: &Ctx<'_>, message: Message) -> Outcome<()> {
        self.only_in_events(ctx)?;
        let (Message::Note { text } | Message::Reply { text, .. } | Message::Start { text }) =
            &message;
        if text.trim().is_empty() {
            return Err(refuse(format!("`{}` takes a text that says something", ctx.fn_name())));
        }
        let traced = self.draft.traced(ctx, message);
        self.draft.with(|decision| {
            if decision.messages.len() >= emitted::MAX_EMITTED {
                return Err(refuse("more messages than one event can mean"));
            }
            decision.messages.push(traced);
            Ok(())
        })
    }

    fn track(&self, ctx: &Ctx<'_>, name: &ImmutableString, metadata: &Dynamic) -> Outcome<()> {
        self.only_in_events(ctx)?;
        let Some(event) = emitted::event(name, metadata, None)? else { return Ok(()) };
        let traced = self.draft.traced(ctx, event);
        self.draft.with(|decision| emitted::push(&mut decision.events, traced))
    }
}

impl CustomAttributes {
    fn read(&self, ctx: &Ctx<'_>, name: &ImmutableString) -> Dynamic {
        self.0.draft.note_read(name, ctx.call_position());
        let held = |decision: &mut ReverseDecision| {
            shown(decision.custom_attributes.get(name.as_str()).map(|traced| &traced.value))
        };
        self.0.draft.with(held)
    }

    fn set(&self, ctx: &Ctx<'_>, name: &ImmutableString, value: &Dynamic) -> Outcome<()> {
        if name.trim().is_empty() {
            return Err(refuse("a custom attribute has a name"));
        }
        let value = scalar(name, value)?;
        self.0.put(ctx, name, value, |decision| &mut decision.custom_attributes)
    }
}

/// Refuses what Intercom's contacts do not have, or let nobody write.
fn check_field(name: &str) -> Outcome<()> {
    if FIELDS.contains(&name) {
        return Ok(());
    }
    let advice = match nearest(name, FIELDS) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write `intercom.custom_attributes.{name}` for an attribute of your own"),
    };
    Err(refuse(format!("a contact of Intercom has no `{name}` that can be written; {advice}")))
}

/// The value of a field in the form that Intercom takes.
fn field_value(name: &str, value: &Dynamic) -> Outcome<Value> {
    let json = scalar(name, value)?;
    if json.is_null() {
        return Ok(json);
    }
    match name {
        "signed_up_at" | "last_seen_at" => match Timestamp::parse(&json) {
            Some(time) => Ok(time.seconds().into()),
            None => Err(refuse(format!("`{name}` must be a time, in seconds or ISO 8601"))),
        },
        // An opt-out is never undone, in any direction.
        "unsubscribed_from_emails" if json != Value::Bool(true) => Err(refuse(
            "`unsubscribed_from_emails` can only become true: nothing undoes an opt-out",
        )),
        "role" if json != "user" && json != "lead" => Err(refuse("`role` is \"user\" or \"lead\"")),
        _ => Ok(json),
    }
}

/// Text, a finite number, true or false, or nothing; `""` is nothing, too.
fn scalar(name: &str, value: &Dynamic) -> Outcome<Value> {
    let json = emitted::plain(value, 1)
        .map_err(|problem| refuse(format!("`{name}` cannot be {problem}")))?;
    match json {
        Value::Array(_) | Value::Object(_) => {
            Err(refuse(format!("`{name}` must be text, a number, true or false")))
        }
        Value::String(text) if text.is_empty() => Ok(Value::Null),
        json => Ok(json),
    }
}

/// A field as a script reads it.
fn shown(value: Option<&Value>) -> Dynamic {
    View::dynamic(Arc::new(value.cloned().unwrap_or_default()))
}

/// Makes decisions on contacts of Intercom writable in scripts.
pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<IntercomHandle>("decision for Intercom");
    engine.register_indexer_get(
        |ctx: Ctx<'_>, intercom: &mut IntercomHandle, name: ImmutableString| {
            intercom.read(&ctx, &name)
        },
    );
    engine.register_indexer_set(
        |ctx: Ctx<'_>, intercom: &mut IntercomHandle, name: ImmutableString, value: Dynamic| {
            intercom.set(&ctx, &name, &value)
        },
    );
    engine.register_type_with_name::<CustomAttributes>("custom attributes for Intercom");
    engine.register_indexer_get(
        |ctx: Ctx<'_>, attributes: &mut CustomAttributes, name: ImmutableString| {
            attributes.read(&ctx, &name)
        },
    );
    engine.register_indexer_set(
        |ctx: Ctx<'_>, attributes: &mut CustomAttributes, name: ImmutableString, value: Dynamic| {
            attributes.set(&ctx, &name, &value)
        },
    );
    register_methods(engine);
    register_messages(engine);
}

fn register_methods(engine: &mut Engine) {
    engine.register_fn("add_tag", |ctx: Ctx<'_>, intercom: &mut IntercomHandle, tag: Dynamic| {
        intercom.tag(&ctx, &tag, TagIntent::Add)
    });
    engine.register_fn(
        "remove_tag",
        |ctx: Ctx<'_>, intercom: &mut IntercomHandle, tag: Dynamic| {
            intercom.tag(&ctx, &tag, TagIntent::Remove)
        },
    );
    engine.register_fn("create", |ctx: Ctx<'_>, intercom: &mut IntercomHandle, role: &str| {
        intercom.create(&ctx, role)
    });
    engine.register_fn("archive", |ctx: Ctx<'_>, intercom: &mut IntercomHandle| {
        let origin = intercom.draft.origin(&ctx);
        intercom.draft.with(|decision| decision.archive = Some(origin));
    });
    engine.register_fn("skip", |ctx: Ctx<'_>, intercom: &mut IntercomHandle, reason: &str| {
        let origin = intercom.draft.origin(&ctx);
        intercom.draft.with(|decision| {
            decision.verdict = Verdict::Skip { reason: reason.to_owned() };
            decision.verdict_origin = Some(origin);
        });
    });
}

fn register_messages(engine: &mut Engine) {
    engine.register_fn(
        "track",
        |ctx: Ctx<'_>, intercom: &mut IntercomHandle, name: ImmutableString, metadata: Dynamic| {
            intercom.track(&ctx, &name, &metadata)
        },
    );
    engine.register_fn("note", |ctx: Ctx<'_>, intercom: &mut IntercomHandle, text: &str| {
        intercom.say(&ctx, Message::Note { text: text.to_owned() })
    });
    engine.register_fn(
        "reply",
        |ctx: Ctx<'_>, intercom: &mut IntercomHandle, conversation: Dynamic, text: &str| {
            let conversation = match (conversation.as_int(), conversation.as_immutable_string_ref())
            {
                (Ok(number), _) => number.to_string(),
                (_, Ok(id)) if !id.is_empty() => id.to_string(),
                _ => return Err(refuse("`reply` takes the id of a conversation")),
            };
            intercom.say(&ctx, Message::Reply { conversation, text: text.to_owned() })
        },
    );
    engine.register_fn(
        "start_conversation",
        |ctx: Ctx<'_>, intercom: &mut IntercomHandle, text: &str| {
            intercom.say(&ctx, Message::Start { text: text.to_owned() })
        },
    );
}
