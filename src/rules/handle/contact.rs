//! `brevo` in the handlers of a contact: identity, attributes, lists, and what is sent beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Dynamic, Engine, ImmutableString, Position};
use serde_json::Value;

use super::draft::Draft;
use super::{Ctx, Outcome, emitted, register_foreign};
use crate::model::{
    AttributeIntent, AttributeName, AttributeValue, Decision, DoubleOptIn, ListIntent, ListRef,
    Origin, RecordId, Traced, Verdict,
};
use crate::rules::error::{placed, refuse};
use crate::rules::evaluation::Evaluation;
use crate::rules::properties::before;
use crate::rules::target::{Target, attribute_case};
use crate::rules::view::{View, json_of, with_json};
use crate::rules::written::{Written, to_dynamic};

/// What `brevo` is in the handlers of a contact.
#[derive(Debug, Clone)]
pub(crate) struct ContactHandle {
    draft: Draft<Decision>,
    lists: Arc<BTreeMap<String, i64>>,
}

impl ContactHandle {
    /// A handle on a decision. Names in `lists` are turned into numbers as they are written, so
    /// that the last word on a list wins whatever it is called by.
    pub(crate) fn new(
        decision: Decision,
        evaluation: Evaluation,
        lists: Arc<BTreeMap<String, i64>>,
    ) -> Self {
        Self { draft: Draft::new(decision, evaluation), lists }
    }

    /// The handle as a script's value.
    pub(crate) fn dynamic(&self) -> Dynamic {
        Dynamic::from(self.clone())
    }

    /// The decision as it stands.
    pub(crate) fn snapshot(&self) -> Decision {
        self.draft.snapshot()
    }

    /// The decision, when the scripts are done with it.
    pub(crate) fn finish(self) -> Decision {
        self.draft.finish()
    }

    /// True once the contact is skipped or deleted, so that no further handler has a say.
    pub(crate) fn is_settled(&self) -> bool {
        self.draft
            .with(|decision| matches!(decision.verdict, Verdict::Skip { .. } | Verdict::Delete))
    }

    /// The evaluation that writes it.
    pub(crate) fn evaluation(&self) -> &Evaluation {
        self.draft.evaluation()
    }

    /// The place of the call that a host function serves.
    pub(crate) fn origin(&self, ctx: &Ctx<'_>) -> Origin {
        self.draft.origin(ctx)
    }

    /// Writes an identity or an attribute under the name that a script uses.
    pub(crate) fn write(&self, target: &Target, value: Written, origin: Origin) -> Outcome<()> {
        self.draft.with(|draft| {
            match target {
                Target::Email => draft.email = identity("email", value, origin)?,
                Target::ExtId => draft.ext_id = identity("ext_id", value, origin)?,
                Target::Attribute(name) => {
                    let value = intent(value);
                    draft.attributes.insert(name.clone(), Traced { value, origin });
                }
            }
            Ok(())
        })
    }

    /// Writes many values that come from one line, in their order.
    pub(crate) fn write_all(
        &self,
        values: Vec<(&Target, Written)>,
        origin: &Origin,
    ) -> Outcome<()> {
        self.draft.with(|draft| {
            let mut attributes = Vec::with_capacity(values.len());
            for (target, value) in values {
                let origin = origin.clone();
                match target {
                    Target::Email => draft.email = identity("email", value, origin)?,
                    Target::ExtId => draft.ext_id = identity("ext_id", value, origin)?,
                    Target::Attribute(name) => {
                        let value = intent(value);
                        attributes.push((name.clone(), Traced { value, origin }));
                    }
                }
            }
            // A map that is made of many values at once costs much less than one that grows.
            if draft.attributes.is_empty() {
                draft.attributes = attributes.into_iter().collect();
            } else {
                draft.attributes.extend(attributes);
            }
            Ok(())
        })
    }

    /// What this decision holds under a name, whether an identity or an attribute.
    fn held(&self, target: &Target) -> Dynamic {
        let text = |traced: &Option<Traced<String>>| match traced {
            Some(traced) => traced.value.as_str().into(),
            None => Dynamic::UNIT,
        };
        self.draft.with(|draft| match target {
            Target::Email => text(&draft.email),
            Target::ExtId => text(&draft.ext_id),
            Target::Attribute(name) => match draft.attributes.get(name).map(|t| &t.value) {
                Some(AttributeIntent::Set(value)) => to_dynamic(value),
                _ => Dynamic::UNIT,
            },
        })
    }

    fn read(&self, ctx: &Ctx<'_>, name: &ImmutableString) -> Outcome<Dynamic> {
        let target = Target::parse(name).map_err(refuse)?;
        self.draft.note_read(name, ctx.call_position());
        Ok(self.held(&target))
    }

    fn set(&self, ctx: &Ctx<'_>, name: &ImmutableString, value: &Dynamic) -> Outcome<()> {
        let target = Target::parse(name).map_err(refuse)?;
        self.set_target(ctx, name, &target, value, ctx.call_position())
    }

    /// Writes what a script assigns to a property whose name was read already.
    fn set_target(
        &self,
        ctx: &Ctx<'_>,
        name: &ImmutableString,
        target: &Target,
        value: &Dynamic,
        at: Position,
    ) -> Outcome<()> {
        let value = Written::from_script(value)
            .map_err(|problem| refuse(format!("`{name}` cannot be {problem}")))?;
        let is_write_back = self.draft.is_write_back(name, at);
        if is_write_back && Written::from_script(&self.held(target)).as_ref() == Ok(&value) {
            return Ok(());
        }
        self.write(target, value, self.draft.evaluation().origin_at(ctx, at))
    }

    fn set_all(&self, ctx: &Ctx<'_>, source: &Dynamic, names: &Dynamic) -> Outcome<()> {
        let origin = self.origin(ctx);
        if let Ok(map) = source.as_map_ref() {
            let endless = |value: &Dynamic| value.as_float().is_ok_and(|float| !float.is_finite());
            if let Some((field, _)) = map.iter().find(|(_, value)| endless(value)) {
                return Err(refuse(format!("`set_all`: `{field}`: numbers must be finite")));
            }
        }
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

    /// Every field under its own name in upper case, after a prefix. What Brevo has no attribute for is
    /// left out and logged: the names are those of the account's data, not of a script's writer. An
    /// identity is set only where a script names it.
    fn set_prefixed(&self, source: &Value, prefix: &str, origin: &Origin) -> Outcome<()> {
        for (field, value) in source.as_object().into_iter().flatten() {
            // A nested value has no attribute of its own.
            let Ok(value) = Written::from_json(value) else {
                continue;
            };
            let name = format!("{prefix}{}", attribute_case(field));
            match Target::attribute(&name) {
                Ok(target @ Target::Attribute(_)) => self.write(&target, value, origin.clone())?,
                Ok(Target::Email | Target::ExtId) => {
                    let left_out =
                        format!("`set_all`: `{field}` is left out: `{name}` is an identity");
                    self.draft.evaluation().log(&left_out, origin.clone());
                }
                Err(problem) => {
                    let left_out = format!("`set_all`: `{field}` is left out: {problem}");
                    self.draft.evaluation().log(&left_out, origin.clone());
                }
            }
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
        let list = self.list(ctx.fn_name(), &json_of(list)?)?;
        let traced = self.draft.traced(ctx, value);
        self.draft.with(|draft| draft.lists.insert(list, traced));
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
                self.draft.with(|draft| draft.lists.insert(list, value));
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
        self.draft.with(|draft| change(draft, name, origin));
        Ok(())
    }

    fn unsubscribe(&self, ctx: &Ctx<'_>, channel: &str) -> Outcome<()> {
        let origin = self.origin(ctx);
        self.draft.with(|draft| match channel {
            "email" => draft.email_opt_out = Some(origin),
            "sms" => draft.sms_opt_out = Some(origin),
            _ => {}
        });
        match channel {
            "email" | "sms" => Ok(()),
            other => Err(refuse(format!(
                "`unsubscribe` knows the channels \"email\" and \"sms\", not \"{other}\""
            ))),
        }
    }

    fn resubscribe(&self, ctx: &Ctx<'_>) {
        let origin = self.origin(ctx);
        self.draft.with(|draft| draft.resubscribe = Some(origin));
    }

    fn double_opt_in(
        &self,
        ctx: &Ctx<'_>,
        template: i64,
        url: &str,
        lists: &Dynamic,
    ) -> Outcome<()> {
        if template <= 0 {
            return Err(refuse(format!(
                "`double_opt_in`: {template} is not the number of a template"
            )));
        }
        let is_web = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "https" | "http"));
        if !is_web {
            return Err(refuse(format!("`double_opt_in`: `{url}` is not a web address")));
        }
        let lists = match json_of(lists)? {
            Value::Array(lists) => lists,
            list => vec![list],
        };
        let lists: Vec<ListRef> =
            lists.iter().map(|list| self.list("double_opt_in", list)).collect::<Outcome<_>>()?;
        if lists.is_empty() {
            return Err(refuse("`double_opt_in` takes the lists that the confirmation leads to"));
        }
        let redirection_url = url.to_owned();
        let traced = self.draft.traced(ctx, DoubleOptIn { template, redirection_url, lists });
        self.draft.with(|draft| draft.double_opt_in = Some(traced));
        Ok(())
    }

    /// Links a company by Intercom's id; `()` links none, so that `contact.company.id` can stand here.
    fn link_company(&self, ctx: &Ctx<'_>, company: &Dynamic) -> Outcome<()> {
        if company.is_unit() {
            return Ok(());
        }
        let id = company.as_immutable_string_ref().ok().and_then(|id| id.parse::<RecordId>().ok());
        let id = id.ok_or_else(|| {
            refuse("`link_company` takes Intercom's id of a company, such as `contact.company.id`")
        })?;
        let origin = self.origin(ctx);
        self.draft.with(|draft| draft.companies.insert(id, origin));
        Ok(())
    }

    fn decide(&self, ctx: &Ctx<'_>, verdict: Verdict) {
        let origin = self.origin(ctx);
        self.draft.with(|draft| {
            draft.verdict = verdict;
            draft.verdict_origin = Some(origin);
        });
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
        Ok(map) => map.get(tag).map(json_of).transpose(),
        Err(_) => Err(refuse("`add_to_lists` takes a map from tags to lists")),
    }
}

fn intent(value: Written) -> AttributeIntent {
    match value {
        Written::Value(value) => AttributeIntent::Set(value),
        Written::Nothing => AttributeIntent::Withdraw,
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

/// Makes one property quick to read and to write, if it can be one. Rhai names the place of the
/// property here, and everywhere else that of the dot before it.
pub(super) fn register_property(engine: &mut Engine, name: &ImmutableString) {
    let Ok(target) = Target::parse(name) else {
        return;
    };
    let of = (name.clone(), target.clone());
    engine.register_get(name.as_str(), move |ctx: Ctx<'_>, brevo: &mut ContactHandle| {
        brevo.draft.note_read(&of.0, before(ctx.call_position()));
        brevo.held(&of.1)
    });
    let of = (name.clone(), target);
    engine.register_set(
        name.as_str(),
        move |ctx: Ctx<'_>, brevo: &mut ContactHandle, value: Dynamic| {
            let at = before(ctx.call_position());
            brevo.set_target(&ctx, &of.0, &of.1, &value, at).map_err(|error| placed(error, at))
        },
    );
}

/// Makes decisions on contacts writable in scripts.
pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<ContactHandle>("decision");
    engine.register_indexer_get(
        |ctx: Ctx<'_>, brevo: &mut ContactHandle, name: ImmutableString| brevo.read(&ctx, &name),
    );
    engine.register_indexer_set(
        |ctx: Ctx<'_>, brevo: &mut ContactHandle, name: ImmutableString, value: Dynamic| {
            brevo.set(&ctx, &name, &value)
        },
    );
    engine.register_fn(
        "set_all",
        |ctx: Ctx<'_>, brevo: &mut ContactHandle, values: Dynamic, names: Dynamic| {
            brevo.set_all(&ctx, &values, &names)
        },
    );
    engine.register_fn("clear", |ctx: Ctx<'_>, brevo: &mut ContactHandle, name: &str| {
        brevo.attribute_intent(&ctx, name, |draft, name, origin| {
            let value = AttributeIntent::Clear;
            draft.attributes.insert(name, Traced { value, origin });
        })
    });
    engine.register_fn("keep", |ctx: Ctx<'_>, brevo: &mut ContactHandle, name: &str| {
        brevo.attribute_intent(&ctx, name, |draft, name, origin| {
            draft.keep.insert(name, origin);
        })
    });
    engine.register_fn("add_to_list", |ctx: Ctx<'_>, brevo: &mut ContactHandle, list: Dynamic| {
        brevo.put_list(&ctx, &list, ListIntent::Add)
    });
    engine.register_fn(
        "remove_from_list",
        |ctx: Ctx<'_>, brevo: &mut ContactHandle, list: Dynamic| {
            brevo.put_list(&ctx, &list, ListIntent::Remove)
        },
    );
    engine.register_fn(
        "add_to_lists",
        |ctx: Ctx<'_>, brevo: &mut ContactHandle, tags: Dynamic, table: Dynamic| {
            brevo.add_to_lists(&ctx, &tags, &table)
        },
    );
    engine.register_fn("unsubscribe", |ctx: Ctx<'_>, brevo: &mut ContactHandle| {
        brevo.unsubscribe(&ctx, "email")
    });
    engine.register_fn("unsubscribe", |ctx: Ctx<'_>, brevo: &mut ContactHandle, channel: &str| {
        brevo.unsubscribe(&ctx, channel)
    });
    engine.register_fn("skip", |ctx: Ctx<'_>, brevo: &mut ContactHandle, reason: &str| {
        brevo.decide(&ctx, Verdict::Skip { reason: reason.to_owned() });
    });
    engine.register_fn("release", |ctx: Ctx<'_>, brevo: &mut ContactHandle| {
        brevo.decide(&ctx, Verdict::Release)
    });
    engine.register_fn("delete", |ctx: Ctx<'_>, brevo: &mut ContactHandle| {
        brevo.decide(&ctx, Verdict::Delete)
    });
    register_sent(engine);
    register_foreign::<ContactHandle>(
        engine,
        &[("contact", 1)],
        "`brevo` is a decision on this contact already",
    );
}

/// What is sent beside the contact's state.
fn register_sent(engine: &mut Engine) {
    engine.register_fn("resubscribe", |ctx: Ctx<'_>, brevo: &mut ContactHandle| {
        brevo.resubscribe(&ctx);
    });
    engine.register_fn(
        "double_opt_in",
        |ctx: Ctx<'_>, brevo: &mut ContactHandle, template: i64, url: &str, lists: Dynamic| {
            brevo.double_opt_in(&ctx, template, url, &lists)
        },
    );
    emitted::register(engine, |brevo: &ContactHandle| &brevo.draft);
    engine.register_fn(
        "link_company",
        |ctx: Ctx<'_>, brevo: &mut ContactHandle, company: Dynamic| {
            brevo.link_company(&ctx, &company)
        },
    );
}
