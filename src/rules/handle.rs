//! The decision as a script writes it: `brevo.FIRSTNAME = …`, `brevo.add_to_list(…)`.
//!
//! A handle lives for one evaluation on one thread. Every write remembers file, line and column.
//! Its lock is taken for one write at a time and never while a script runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, NativeCallContext, Position};
use serde_json::Value;

use super::error::refuse;
use super::evaluation::Evaluation;
use super::target::{Target, attribute_case};
use super::view::{View, to_json, with_json};
use super::written::{Written, to_dynamic};
use crate::model::{
    AttributeIntent, AttributeName, AttributeValue, Decision, ListIntent, ListRef, Origin, Traced,
    Verdict,
};

type Outcome<T> = Result<T, Box<EvalAltResult>>;
type Ctx<'a> = NativeCallContext<'a>;

/// The names under which a decision's functions are called, and with how many arguments.
const NOT_YET: [(&str, usize); 7] = [
    ("track", 2),
    ("track", 3),
    ("double_opt_in", 3),
    ("resubscribe", 0),
    ("upsert_object", 3),
    ("link_company", 1),
    ("contact", 1),
];

/// What `brevo` is in the handlers of a contact.
#[derive(Debug, Clone)]
pub(crate) struct DecisionHandle {
    draft: Arc<Mutex<Draft>>,
    evaluation: Evaluation,
    lists: Arc<BTreeMap<String, i64>>,
}

#[derive(Debug)]
struct Draft {
    decision: Decision,
    /// Rhai writes back what a method was called on, as in `brevo.NAME.len()`, at the place of the
    /// read.
    last_read: Option<(ImmutableString, Position)>,
}

impl DecisionHandle {
    /// A handle on a decision. Names in `lists` are turned into numbers as they are written, so
    /// that the last word on a list wins whatever it is called by.
    pub(crate) fn new(
        decision: Decision,
        evaluation: Evaluation,
        lists: Arc<BTreeMap<String, i64>>,
    ) -> Self {
        let draft = Draft { decision, last_read: None };
        Self { draft: Arc::new(Mutex::new(draft)), evaluation, lists }
    }

    /// The handle as a script's value.
    pub(crate) fn dynamic(&self) -> Dynamic {
        Dynamic::from(self.clone())
    }

    /// The decision as it stands.
    pub(crate) fn snapshot(&self) -> Decision {
        self.draft().decision.clone()
    }

    /// The decision, when the scripts are done with it.
    pub(crate) fn finish(self) -> Decision {
        match Arc::try_unwrap(self.draft) {
            Ok(draft) => draft.into_inner().unwrap_or_else(PoisonError::into_inner).decision,
            Err(shared) => shared.lock().unwrap_or_else(PoisonError::into_inner).decision.clone(),
        }
    }

    /// True once the contact is skipped or deleted, so that no further handler has a say.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.draft().decision.verdict, Verdict::Skip { .. } | Verdict::Delete)
    }

    /// The place of the call that a host function serves.
    pub(crate) fn origin(&self, ctx: &Ctx<'_>) -> Origin {
        self.evaluation.origin(ctx)
    }

    /// Writes an identity or an attribute under the name that a script uses.
    pub(crate) fn write(&self, target: &Target, value: Written, origin: Origin) -> Outcome<()> {
        let draft = &mut self.draft().decision;
        match target {
            Target::Email => draft.email = identity("email", value, origin)?,
            Target::ExtId => draft.ext_id = identity("ext_id", value, origin)?,
            Target::Attribute(name) => {
                let value = match value {
                    Written::Value(value) => AttributeIntent::Set(value),
                    Written::Nothing => AttributeIntent::Withdraw,
                };
                draft.attributes.insert(name.clone(), Traced { value, origin });
            }
        }
        Ok(())
    }

    fn draft(&self) -> MutexGuard<'_, Draft> {
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this decision holds under a name, whether an identity or an attribute.
    fn held(&self, target: &Target) -> Dynamic {
        let draft = &self.draft().decision;
        let text = |traced: &Option<Traced<String>>| match traced {
            Some(traced) => traced.value.as_str().into(),
            None => Dynamic::UNIT,
        };
        match target {
            Target::Email => text(&draft.email),
            Target::ExtId => text(&draft.ext_id),
            Target::Attribute(name) => match draft.attributes.get(name).map(|t| &t.value) {
                Some(AttributeIntent::Set(value)) => to_dynamic(value),
                _ => Dynamic::UNIT,
            },
        }
    }

    fn read(&self, ctx: &Ctx<'_>, name: &ImmutableString) -> Outcome<Dynamic> {
        let target = Target::parse(name).map_err(refuse)?;
        self.draft().last_read = Some((name.clone(), ctx.call_position()));
        Ok(self.held(&target))
    }

    fn set(&self, ctx: &Ctx<'_>, name: &ImmutableString, value: &Dynamic) -> Outcome<()> {
        let target = Target::parse(name).map_err(refuse)?;
        let value = Written::from_script(value)
            .map_err(|problem| refuse(format!("`{name}` cannot be {problem}")))?;
        let was_read = self.draft().last_read.take();
        let is_write_back = was_read.is_some_and(|(n, at)| n == *name && at == ctx.call_position());
        if is_write_back && Written::from_script(&self.held(&target)).as_ref() == Ok(&value) {
            return Ok(());
        }
        self.write(&target, value, self.origin(ctx))
    }

    fn set_all(&self, ctx: &Ctx<'_>, source: &Dynamic, names: &Dynamic) -> Outcome<()> {
        let origin = self.origin(ctx);
        with_json(source, |source| {
            if !matches!(source, Value::Object(_) | Value::Null) {
                return Err(refuse("`set_all` takes a map of values as its first argument"));
            }
            if let Ok(prefix) = names.as_immutable_string_ref() {
                return self.set_prefixed(source, &prefix, &origin);
            }
            with_json(names, |names| match names {
                Value::Object(names) => self.set_named(source, names, &origin),
                _ => Err(refuse(
                    "`set_all` takes a map of attribute names, or a prefix such as \"CA_\"",
                )),
            })
        })
    }

    /// Every field under its own name in upper case, after a prefix.
    fn set_prefixed(&self, source: &Value, prefix: &str, origin: &Origin) -> Outcome<()> {
        for (field, value) in source.as_object().into_iter().flatten() {
            // A nested value has no attribute of its own.
            let Ok(value) = Written::from_json(value) else {
                continue;
            };
            let name = format!("{prefix}{}", attribute_case(field));
            self.write(&Target::attribute(&name).map_err(refuse)?, value, origin.clone())?;
        }
        Ok(())
    }

    /// The fields of a table under the names that it gives; absent ones are withdrawn.
    fn set_named(
        &self,
        source: &Value,
        names: &serde_json::Map<String, Value>,
        origin: &Origin,
    ) -> Outcome<()> {
        for (field, name) in names {
            let Some(name) = name.as_str() else {
                return Err(refuse(format!("`set_all`: the attribute for `{field}` must be text")));
            };
            let value = Written::from_json(source.get(field).unwrap_or(&Value::Null))
                .map_err(|problem| refuse(format!("`{field}` cannot be {problem}")))?;
            self.write(&Target::parse(name).map_err(refuse)?, value, origin.clone())?;
        }
        Ok(())
    }

    fn put_list(&self, ctx: &Ctx<'_>, list: &Dynamic, value: ListIntent) -> Outcome<()> {
        let list = self.list(ctx.fn_name(), &to_json(list))?;
        let origin = self.origin(ctx);
        self.draft().decision.lists.insert(list, Traced { value, origin });
        Ok(())
    }

    fn add_to_lists(&self, ctx: &Ctx<'_>, tags: &Dynamic, table: &Dynamic) -> Outcome<()> {
        let origin = self.origin(ctx);
        for tag in texts(tags)? {
            let Some(list) = row(table, &tag)? else {
                continue;
            };
            let lists = match list {
                Value::Array(lists) => lists,
                // A row of `table(…)`.
                Value::Object(mut row) => row.remove("list").into_iter().collect(),
                Value::Null => continue,
                list => vec![list],
            };
            for list in lists {
                let list = self.list("add_to_lists", &list)?;
                let value = Traced { value: ListIntent::Add, origin: origin.clone() };
                self.draft().decision.lists.insert(list, value);
            }
        }
        Ok(())
    }

    fn list(&self, function: &str, list: &Value) -> Outcome<ListRef> {
        match list {
            Value::Number(number) => match number.as_i64() {
                Some(id) if id > 0 => Ok(ListRef::Id(id)),
                _ => Err(refuse(format!("`{function}`: {number} is not the number of a list"))),
            },
            Value::String(name) if !name.trim().is_empty() => Ok(match self.lists.get(name) {
                Some(id) => ListRef::Id(*id),
                None => ListRef::Name(name.clone()),
            }),
            Value::Null => {
                Err(refuse(format!("`{function}` takes the number or name of a list, not ()")))
            }
            _ => Err(refuse(format!("`{function}` takes the number or name of a list"))),
        }
    }

    fn attribute_intent(
        &self,
        ctx: &Ctx<'_>,
        name: &str,
        change: impl FnOnce(&mut Decision, AttributeName, Origin),
    ) -> Outcome<()> {
        let Target::Attribute(name) = Target::parse(name).map_err(refuse)? else {
            return Err(refuse(format!("`{}` takes an attribute, not `{name}`", ctx.fn_name())));
        };
        let origin = self.origin(ctx);
        change(&mut self.draft().decision, name, origin);
        Ok(())
    }

    fn unsubscribe(&self, ctx: &Ctx<'_>, channel: &str) -> Outcome<()> {
        let origin = self.origin(ctx);
        match channel {
            "email" => self.draft().decision.email_opt_out = Some(origin),
            "sms" => self.draft().decision.sms_opt_out = Some(origin),
            other => {
                return Err(refuse(format!(
                    "`unsubscribe` knows the channels \"email\" and \"sms\", not \"{other}\""
                )));
            }
        }
        Ok(())
    }

    fn decide(&self, ctx: &Ctx<'_>, verdict: Verdict) {
        let origin = self.origin(ctx);
        let draft = &mut self.draft().decision;
        draft.verdict = verdict;
        draft.verdict_origin = Some(origin);
    }
}

/// The texts in a list of tags; none for `()`.
fn texts(tags: &Dynamic) -> Outcome<Vec<ImmutableString>> {
    let wrong = || refuse("`add_to_lists` takes a list of tags as its first argument");
    if tags.is_unit() {
        return Ok(Vec::new());
    }
    if let Some(view) = tags.read_lock::<View>() {
        let items = view.value().as_array().ok_or_else(wrong)?;
        return Ok(items.iter().filter_map(Value::as_str).map(Into::into).collect());
    }
    let items = tags.as_array_ref().map_err(|_| wrong())?;
    Ok(items
        .iter()
        .filter_map(|item| item.as_immutable_string_ref().ok().map(|t| t.clone()))
        .collect())
}

/// What a table from tags to lists says of one tag.
fn row(table: &Dynamic, tag: &str) -> Outcome<Option<Value>> {
    if let Some(view) = table.read_lock::<View>() {
        return Ok(view.value().get(tag).cloned());
    }
    match table.as_map_ref() {
        Ok(map) => Ok(map.get(tag).map(to_json)),
        Err(_) => Err(refuse("`add_to_lists` takes a map from tags to lists")),
    }
}

fn identity(name: &str, value: Written, origin: Origin) -> Outcome<Option<Traced<String>>> {
    match value {
        Written::Nothing => Ok(None),
        Written::Value(AttributeValue::Text(value)) => Ok(Some(Traced { value, origin })),
        Written::Value(AttributeValue::Integer(id)) if name == "ext_id" => {
            Ok(Some(Traced { value: id.to_string(), origin }))
        }
        Written::Value(_) => Err(refuse(format!("`{name}` must be text"))),
    }
}

/// Makes decisions writable in scripts.
pub(crate) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<DecisionHandle>("decision");
    engine.register_indexer_get(
        |ctx: Ctx<'_>, brevo: &mut DecisionHandle, name: ImmutableString| brevo.read(&ctx, &name),
    );
    engine.register_indexer_set(
        |ctx: Ctx<'_>, brevo: &mut DecisionHandle, name: ImmutableString, value: Dynamic| {
            brevo.set(&ctx, &name, &value)
        },
    );
    engine.register_fn(
        "set_all",
        |ctx: Ctx<'_>, brevo: &mut DecisionHandle, values: Dynamic, names: Dynamic| {
            brevo.set_all(&ctx, &values, &names)
        },
    );
    engine.register_fn("clear", |ctx: Ctx<'_>, brevo: &mut DecisionHandle, name: &str| {
        brevo.attribute_intent(&ctx, name, |draft, name, origin| {
            let value = AttributeIntent::Clear;
            draft.attributes.insert(name, Traced { value, origin });
        })
    });
    engine.register_fn("keep", |ctx: Ctx<'_>, brevo: &mut DecisionHandle, name: &str| {
        brevo.attribute_intent(&ctx, name, |draft, name, _| {
            draft.keep.insert(name);
        })
    });
    engine.register_fn("add_to_list", |ctx: Ctx<'_>, brevo: &mut DecisionHandle, list: Dynamic| {
        brevo.put_list(&ctx, &list, ListIntent::Add)
    });
    engine.register_fn(
        "remove_from_list",
        |ctx: Ctx<'_>, brevo: &mut DecisionHandle, list: Dynamic| {
            brevo.put_list(&ctx, &list, ListIntent::Remove)
        },
    );
    engine.register_fn(
        "add_to_lists",
        |ctx: Ctx<'_>, brevo: &mut DecisionHandle, tags: Dynamic, table: Dynamic| {
            brevo.add_to_lists(&ctx, &tags, &table)
        },
    );
    engine.register_fn("unsubscribe", |ctx: Ctx<'_>, brevo: &mut DecisionHandle| {
        brevo.unsubscribe(&ctx, "email")
    });
    engine.register_fn("unsubscribe", |ctx: Ctx<'_>, brevo: &mut DecisionHandle, channel: &str| {
        brevo.unsubscribe(&ctx, channel)
    });
    engine.register_fn("skip", |ctx: Ctx<'_>, brevo: &mut DecisionHandle, reason: &str| {
        brevo.decide(&ctx, Verdict::Skip { reason: reason.to_owned() });
    });
    engine.register_fn("release", |ctx: Ctx<'_>, brevo: &mut DecisionHandle| {
        brevo.decide(&ctx, Verdict::Release)
    });
    engine.register_fn("delete", |ctx: Ctx<'_>, brevo: &mut DecisionHandle| {
        brevo.decide(&ctx, Verdict::Delete)
    });
    register_not_yet(engine);
}

/// Legal names that later versions will serve: a clear error, not a missing function.
fn register_not_yet(engine: &mut Engine) {
    fn not_yet(ctx: &Ctx<'_>) -> Outcome<()> {
        Err(refuse(format!("`{}` is not available yet", ctx.fn_name())))
    }
    for (name, arguments) in NOT_YET {
        match arguments {
            0 => engine.register_fn(name, |ctx: Ctx<'_>, _: &mut DecisionHandle| not_yet(&ctx)),
            1 => engine.register_fn(name, |ctx: Ctx<'_>, _: &mut DecisionHandle, _: Dynamic| {
                not_yet(&ctx)
            }),
            2 => engine.register_fn(
                name,
                |ctx: Ctx<'_>, _: &mut DecisionHandle, _: Dynamic, _: Dynamic| not_yet(&ctx),
            ),
            _ => engine.register_fn(
                name,
                |ctx: Ctx<'_>, _: &mut DecisionHandle, _: Dynamic, _: Dynamic, _: Dynamic| {
                    not_yet(&ctx)
                },
            ),
        };
    }
}
