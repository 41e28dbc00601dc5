//! What became of a company, a conversation, an event or a contact of Brevo, as tests see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString};
use serde_json::{Map, Value, json};

use super::error::refuse;
use super::journal::Journal;
use super::test_decision::TestDecision;
use super::view::{View, to_json};
use crate::model::{
    AttributeIntent, CompanyDecision, Decision, Emission, Line, Message, Part, ReverseDecision,
    TagIntent, Traced, TrackedEvent, Verdict,
};

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// The parts of a decision by name, and the decisions on contacts in it.
#[derive(Debug, Clone)]
pub(crate) struct TestOutcome {
    parts: Arc<Value>,
    /// The same for people, with the lines that decided.
    pub(crate) told: Arc<[Part]>,
    contacts: Arc<BTreeMap<String, TestDecision>>,
}

impl TestOutcome {
    /// A decision on a company: its attributes by their names, too.
    pub(crate) fn of_company(decision: &CompanyDecision) -> Dynamic {
        let set = decision.attributes.iter().filter_map(|(name, traced)| match &traced.value {
            AttributeIntent::Set(value) => Some((name.clone(), json!(value))),
            _ => None,
        });
        let attributes: Map<String, Value> = set.collect();
        let mut parts = attributes.clone();
        parts.insert("attributes".to_owned(), attributes.into());
        parts.insert("deleted".to_owned(), (decision.verdict == Verdict::Delete).into());
        Self::dynamic(parts, decision.parts(), &decision.verdict, &decision.log, BTreeMap::new())
    }

    /// What a conversation or an event gives off: `events`, `objects`, `contact(id)`.
    pub(crate) fn of_emission(emission: &Emission, lists: &Arc<BTreeMap<String, i64>>) -> Dynamic {
        let mut parts = Map::new();
        parts.insert("events".to_owned(), events(&emission.events));
        let objects = emission.objects.iter();
        let objects: Map<_, _> =
            objects.map(|(key, fields)| (key.to_string(), json!(fields.value))).collect();
        parts.insert("objects".to_owned(), objects.into());
        let ids: Vec<&str> = emission.contacts.keys().map(|id| id.as_str()).collect();
        parts.insert("contacts".to_owned(), json!(ids));
        let test = |decision: &Decision| TestDecision::new(decision.clone(), lists.clone());
        let contacts = emission.contacts.iter();
        let contacts = contacts.map(|(id, decision)| (id.to_string(), test(decision))).collect();
        Self::dynamic(parts, emission.parts(lists), &emission.verdict, &emission.log, contacts)
    }

    /// A decision for Intercom: its fields by their names, `custom_attributes`, `tags_added`,
    /// `tags_removed`, `created`, `archived`, `events`, `notes`, `replies`, `conversations`.
    pub(crate) fn of_reverse(decision: &ReverseDecision) -> Dynamic {
        let values = |fields: &BTreeMap<String, Traced<Value>>| -> Map<String, Value> {
            fields.iter().map(|(name, traced)| (name.clone(), traced.value.clone())).collect()
        };
        let tags = |intent| {
            let wanted = decision.tags.iter().filter(|(_, traced)| traced.value == intent);
            json!(wanted.map(|(name, _)| name).collect::<Vec<_>>())
        };
        let (mut notes, mut replies, mut started) = (Vec::new(), Vec::new(), Vec::new());
        for message in &decision.messages {
            match &message.value {
                Message::Note { text } => notes.push(json!(text)),
                Message::Reply { conversation, text } => {
                    replies.push(json!({"conversation": conversation, "text": text}));
                }
                Message::Start { text } => started.push(json!(text)),
            }
        }
        let mut parts = values(&decision.fields);
        let custom_attributes = values(&decision.custom_attributes);
        parts.insert("custom_attributes".to_owned(), custom_attributes.into());
        parts.insert("tags_added".to_owned(), tags(TagIntent::Add));
        parts.insert("tags_removed".to_owned(), tags(TagIntent::Remove));
        parts.insert("created".to_owned(), json!(decision.create.as_ref().map(|t| t.value)));
        parts.insert("archived".to_owned(), decision.archive.is_some().into());
        parts.insert("events".to_owned(), events(&decision.events));
        parts.insert("notes".to_owned(), notes.into());
        parts.insert("replies".to_owned(), replies.into());
        parts.insert("conversations".to_owned(), started.into());
        Self::dynamic(parts, decision.parts(), &decision.verdict, &decision.log, BTreeMap::new())
    }

    fn dynamic(
        mut parts: Map<String, Value>,
        told: Vec<Part>,
        verdict: &Verdict,
        log: &[Line],
        contacts: BTreeMap<String, TestDecision>,
    ) -> Dynamic {
        let reason = match verdict {
            Verdict::Skip { reason } => Some(reason),
            _ => None,
        };
        parts.insert("skipped".to_owned(), reason.is_some().into());
        parts.insert("reason".to_owned(), json!(reason));
        let log: Vec<&str> = log.iter().map(|line| line.text.as_str()).collect();
        parts.insert("log".to_owned(), json!(log));
        let (parts, contacts) = (Arc::new(parts.into()), Arc::new(contacts));
        Dynamic::from(Self { parts, told: told.into(), contacts })
    }

    fn part(&self, name: &ImmutableString) -> Dynamic {
        match View::dynamic(self.parts.clone()).read_lock::<View>() {
            Some(parts) => parts.field(name),
            None => Dynamic::UNIT,
        }
    }

    /// The decision on one of the contacts, given by its id or as a record.
    fn contact(&self, contact: &Dynamic) -> Outcome<Dynamic> {
        let id = match to_json(contact) {
            Value::String(id) => id,
            other => other.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
        };
        match self.contacts.get(&id) {
            Some(decision) => Ok(Dynamic::from(decision.clone())),
            None => Err(refuse(format!("nothing was decided about the contact `{id}`"))),
        }
    }
}

/// Events as tests see them: `name`, `at`, `properties`.
pub(crate) fn events(events: &[Traced<TrackedEvent>]) -> Value {
    let shown = events.iter().map(|event| {
        let TrackedEvent { name, at, properties } = &event.value;
        json!({"name": name, "at": at.map(|at| at.seconds()), "properties": properties})
    });
    shown.collect::<Vec<_>>().into()
}

/// What [`Part`]s call what tests read under a name.
fn in_parts(name: &str) -> &str {
    match name {
        "reason" => "skipped",
        "events" => "event",
        "objects" => "object",
        "contacts" => "contact",
        "tags_added" => "tag added",
        "tags_removed" => "tag removed",
        "notes" => "note",
        "replies" => "reply",
        "conversations" => "conversation",
        other => other,
    }
}

/// Makes outcomes readable in tests.
pub(crate) fn register(engine: &mut Engine, journal: &Journal) {
    engine.register_type_with_name::<TestOutcome>("outcome");
    let noted = journal.clone();
    engine.register_indexer_get(move |d: &mut TestOutcome, name: ImmutableString| {
        noted.read(&d.told, in_parts(&name), None);
        d.part(&name)
    });
    engine.register_fn("contact", |d: TestOutcome, contact: Dynamic| d.contact(&contact));
}
