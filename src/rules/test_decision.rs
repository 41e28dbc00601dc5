//! A decision as the scripts' tests see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map};
use serde_json::json;

use super::error::refuse;
use super::journal::Journal;
use super::target::Target;
use super::test_outcome;
use super::view::View;
use super::written::to_dynamic;
use crate::model::{AttributeIntent, Decision, ListIntent, ListRef, Part, Verdict, list_in_words};

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// What the rules decided, as a test sees it.
#[derive(Debug, Clone)]
pub(crate) struct TestDecision {
    /// The decision.
    pub(crate) decision: Arc<Decision>,
    /// Numbers of lists by name.
    pub(crate) lists: Arc<BTreeMap<String, i64>>,
    /// What was decided, by which lines.
    pub(crate) parts: Arc<[Part]>,
}

impl TestDecision {
    /// What the rules decided; `lists` are numbers of lists by name.
    pub(crate) fn new(decision: Decision, lists: Arc<BTreeMap<String, i64>>) -> Self {
        Self { parts: decision.parts(&lists).into(), decision: Arc::new(decision), lists }
    }

    /// Notes which part of the decision a test looks at.
    fn note(&self, name: &str, journal: &Journal) {
        let (what, value) = match name {
            "reason" => ("skipped", None),
            "unsubscribed" => (name, Some("e-mail")),
            "sms_unsubscribed" => ("unsubscribed", Some("SMS")),
            "resubscribed" => ("resubscribe", None),
            "events" => ("event", None),
            "objects" => ("object", None),
            "companies" => ("company", None),
            "sms" => ("SMS", None),
            "whatsapp" => ("WHATSAPP", None),
            "flips_at" | "attributes" => return,
            _ => (name, None),
        };
        journal.read(&self.parts, what, value.map(str::to_owned));
    }

    /// Notes that a test looks at a list.
    fn note_list(&self, what: &str, list: &Dynamic, journal: &Journal) {
        let list = list_in_words(&self.list(list), &self.lists);
        journal.read(&self.parts, what, Some(list));
    }

    fn field(&self, name: &str) -> Outcome<Dynamic> {
        let decision = &self.decision;
        let text =
            |text: Option<&str>| -> Dynamic { text.map_or(Dynamic::UNIT, |text| text.into()) };
        Ok(match name {
            "skipped" => matches!(decision.verdict, Verdict::Skip { .. }).into(),
            "reason" => match &decision.verdict {
                Verdict::Skip { reason } => reason.as_str().into(),
                _ => Dynamic::UNIT,
            },
            "deleted" => (decision.verdict == Verdict::Delete).into(),
            "released" => (decision.verdict == Verdict::Release).into(),
            "unsubscribed" => decision.email_opt_out.is_some().into(),
            "sms_unsubscribed" => decision.sms_opt_out.is_some().into(),
            "flips_at" => decision.flips_at.map_or(Dynamic::UNIT, |at| at.seconds().into()),
            "attributes" => self.attributes(),
            "events" => View::dynamic(Arc::new(test_outcome::events(&decision.events))),
            "objects" => {
                let objects = decision.objects.iter();
                let objects: serde_json::Map<_, _> = objects
                    .map(|(key, fields)| (key.to_string(), fields.value.clone().into()))
                    .collect();
                View::dynamic(Arc::new(objects.into()))
            }
            "companies" => {
                decision.companies.keys().map(|id| id.as_str().into()).collect::<Array>().into()
            }
            "resubscribed" => decision.resubscribe.is_some().into(),
            "double_opt_in" => match &decision.double_opt_in {
                Some(asked) => View::dynamic(Arc::new(json!(asked.value))),
                None => Dynamic::UNIT,
            },
            "log" => decision
                .log
                .iter()
                .map(|line| Dynamic::from(line.text.clone()))
                .collect::<Vec<_>>()
                .into(),
            _ => match Target::parse(name).map_err(refuse)? {
                Target::Email => text(decision.email.as_ref().map(|t| t.value.as_str())),
                Target::ExtId => text(decision.ext_id.as_ref().map(|t| t.value.as_str())),
                Target::Attribute(name) => match decision.attributes.get(&name).map(|t| &t.value) {
                    Some(AttributeIntent::Set(value)) => to_dynamic(value),
                    _ => Dynamic::UNIT,
                },
            },
        })
    }

    /// Attributes that have a value.
    fn attributes(&self) -> Dynamic {
        let set =
            self.decision.attributes.iter().filter_map(|(name, traced)| match &traced.value {
                AttributeIntent::Set(value) => Some((name.as_str().into(), to_dynamic(value))),
                _ => None,
            });
        set.collect::<Map>().into()
    }

    /// A list as the decision knows it.
    fn list(&self, list: &Dynamic) -> ListRef {
        match list.as_int() {
            Ok(id) => ListRef::Id(id),
            Err(_) => {
                let name = list.to_string();
                self.lists.get(&name).map_or(ListRef::Name(name), |id| ListRef::Id(*id))
            }
        }
    }

    fn has_list(&self, list: &Dynamic, intent: ListIntent) -> bool {
        let list = self.list(list);
        self.decision.lists.get(&list).is_some_and(|traced| traced.value == intent)
    }
}

/// Makes decisions readable in tests.
pub(crate) fn register(engine: &mut Engine, journal: &Journal) {
    test_outcome::register(engine, journal);
    engine.register_type_with_name::<TestDecision>("decision");
    let noted = journal.clone();
    engine.register_indexer_get(move |d: &mut TestDecision, name: ImmutableString| {
        d.note(&name, &noted);
        d.field(&name)
    });
    for (name, what, intent) in
        [("on_list", "on list", ListIntent::Add), ("off_list", "off list", ListIntent::Remove)]
    {
        let noted = journal.clone();
        engine.register_fn(name, move |d: TestDecision, list: Dynamic| {
            d.note_list(what, &list, &noted);
            d.has_list(&list, intent)
        });
    }
    let noted = journal.clone();
    engine.register_fn("keeps", move |d: TestDecision, name: &str| {
        noted.read(&d.parts, "keep", Some(name.to_owned()));
        name.parse().is_ok_and(|name| d.decision.keep.contains_key(&name))
    });
    let noted = journal.clone();
    engine.register_fn("clears", move |d: TestDecision, name: &str| {
        noted.read(&d.parts, name, None);
        let intent = name.parse().ok().and_then(|name| d.decision.attributes.get(&name).cloned());
        intent.is_some_and(|traced| traced.value == AttributeIntent::Clear)
    });
}
