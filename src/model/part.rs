//! A decision taken apart, for people: what was decided, and by which line.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    AttributeIntent, AttributeValue, CompanyDecision, ContactRole, Decision, Emission, Fields,
    Line, ListIntent, ListRef, Message, ObjectKey, Origin, ReverseDecision, TagIntent, Traced,
    TrackedEvent, Verdict,
};

/// How wide the values of an aligned list may be before they are cut.
const VALUE_WIDTH: usize = 60;

/// One thing that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is about: `email`, an attribute's name, `on list`, `event`.
    pub what: String,
    /// What was decided about it, as people read it.
    pub value: String,
    /// The line that decided; none: nobody did, it is the default.
    pub origin: Option<Origin>,
}

impl Part {
    fn new(what: impl Into<String>, value: impl Into<String>, origin: Option<&Origin>) -> Self {
        Self { what: what.into(), value: value.into(), origin: origin.cloned() }
    }

    /// The parts as lines in three columns.
    pub fn align(parts: &[Self]) -> Vec<String> {
        let width = |text: &str| text.chars().count();
        let what = parts.iter().map(|part| width(&part.what)).max().unwrap_or(0);
        let values: Vec<String> = parts.iter().map(|part| cut(&part.value)).collect();
        let value = values.iter().map(|value| width(value)).max().unwrap_or(0);
        let line = |(part, shown): (&Self, &String)| {
            let origin = part.origin.as_ref().map(Origin::to_string).unwrap_or_default();
            let name = &part.what;
            format!("{name:<what$}  {shown:<value$}  {origin}").trim_end().to_owned()
        };
        parts.iter().zip(&values).map(line).collect()
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= VALUE_WIDTH {
        return text.to_owned();
    }
    text.chars().take(VALUE_WIDTH - 1).chain(['…']).collect()
}

/// A list as people know it: its name in `lists`, and its number.
pub fn list_in_words(list: &ListRef, lists: &BTreeMap<String, i64>) -> String {
    match list {
        ListRef::Name(name) => match lists.get(name) {
            Some(id) => format!("{name} ({id})"),
            None => name.clone(),
        },
        ListRef::Id(id) => match lists.iter().find(|(_, known)| *known == id) {
            Some((name, _)) => format!("{name} ({id})"),
            None => id.to_string(),
        },
    }
}

impl Decision {
    /// What was decided, each part with its line; `lists` are the names of lists by which people know
    /// them.
    pub fn parts(&self, lists: &BTreeMap<String, i64>) -> Vec<Part> {
        let mut parts = verdict(&self.verdict, self.verdict_origin.as_ref());
        for (what, identity) in [("email", &self.email), ("ext_id", &self.ext_id)] {
            parts.extend(
                identity
                    .as_ref()
                    .map(|Traced { value, origin }| Part::new(what, quoted(value), Some(origin))),
            );
        }
        for (name, Traced { value, origin }) in &self.attributes {
            parts.push(Part::new(name.as_str(), intent(value), Some(origin)));
        }
        for (list, Traced { value, origin }) in &self.lists {
            let what = match value {
                ListIntent::Add => "on list",
                ListIntent::Remove => "off list",
            };
            parts.push(Part::new(what, list_in_words(list, lists), Some(origin)));
        }
        for (name, origin) in &self.keep {
            parts.push(Part::new("keep", name.as_str(), Some(origin)));
        }
        let flags = [
            ("unsubscribed", "e-mail", &self.email_opt_out),
            ("unsubscribed", "SMS", &self.sms_opt_out),
            ("resubscribe", "e-mail", &self.resubscribe),
        ];
        for (what, channel, origin) in flags {
            parts.extend(origin.as_ref().map(|origin| Part::new(what, channel, Some(origin))));
        }
        if let Some(Traced { value, origin }) = &self.double_opt_in {
            let lists: Vec<_> = value.lists.iter().map(|list| list_in_words(list, lists)).collect();
            let words = format!("template {}, lists {}", value.template, lists.join(", "));
            parts.push(Part::new("double_opt_in", words, Some(origin)));
        }
        parts.extend(self.events.iter().map(event));
        parts.extend(self.objects.iter().map(object));
        for (id, origin) in &self.companies {
            parts.push(Part::new("company", id.as_str(), Some(origin)));
        }
        parts.extend(self.log.iter().map(line));
        parts
    }
}

impl CompanyDecision {
    /// What was decided, each part with its line.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = verdict(&self.verdict, self.verdict_origin.as_ref());
        for (name, Traced { value, origin }) in &self.attributes {
            parts.push(Part::new(name.as_str(), intent(value), Some(origin)));
        }
        parts.extend(self.log.iter().map(line));
        parts
    }
}

impl Emission {
    /// What was decided, each part with its line; what is about a contact names it.
    pub fn parts(&self, lists: &BTreeMap<String, i64>) -> Vec<Part> {
        let mut parts = verdict(&self.verdict, self.verdict_origin.as_ref());
        parts.extend(self.events.iter().map(event));
        parts.extend(self.objects.iter().map(object));
        for (id, decision) in &self.contacts {
            parts.push(Part::new("contact", id.as_str(), None));
            parts.extend(decision.parts(lists));
        }
        parts.extend(self.log.iter().map(line));
        parts
    }
}

impl ReverseDecision {
    /// What was decided, each part with its line.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = verdict(&self.verdict, self.verdict_origin.as_ref());
        for (name, Traced { value, origin }) in &self.fields {
            parts.push(Part::new(name.as_str(), json(value), Some(origin)));
        }
        for (name, Traced { value, origin }) in &self.custom_attributes {
            let what = format!("custom_attributes.{name}");
            parts.push(Part::new(what, json(value), Some(origin)));
        }
        for (name, Traced { value, origin }) in &self.tags {
            let what = match value {
                TagIntent::Add => "tag added",
                TagIntent::Remove => "tag removed",
            };
            parts.push(Part::new(what, name.as_str(), Some(origin)));
        }
        if let Some(Traced { value, origin }) = &self.create {
            let role = match value {
                ContactRole::Lead => "lead",
                ContactRole::User => "user",
            };
            parts.push(Part::new("created", role, Some(origin)));
        }
        if let Some(origin) = &self.archive {
            parts.push(Part::new("archived", "the contact", Some(origin)));
        }
        parts.extend(self.events.iter().map(event));
        parts.extend(self.messages.iter().map(message));
        parts.extend(self.log.iter().map(line));
        parts
    }
}

fn event(event: &Traced<TrackedEvent>) -> Part {
    let TrackedEvent { name, at, properties } = &event.value;
    let mut words = name.clone();
    if let Some(at) = at {
        words.push_str(&format!(" at {at}"));
    }
    if !properties.is_empty() {
        words.push_str(&format!(" {}", json(&properties.clone().into())));
    }
    Part::new("event", words, Some(&event.origin))
}

fn object((key, fields): (&ObjectKey, &Traced<Fields>)) -> Part {
    let words = format!("{key} {}", json(&fields.value.clone().into()));
    Part::new("object", words, Some(&fields.origin))
}

fn message(message: &Traced<Message>) -> Part {
    let (what, words) = match &message.value {
        Message::Note { text } => ("note", quoted(text)),
        Message::Reply { conversation, text } => {
            ("reply", format!("{conversation}: {}", quoted(text)))
        }
        Message::Start { text } => ("conversation", quoted(text)),
    };
    Part::new(what, words, Some(&message.origin))
}

fn line(line: &Line) -> Part {
    Part::new("log", line.text.as_str(), Some(&line.origin))
}

/// The verdict, where it is not simply to write.
fn verdict(verdict: &Verdict, origin: Option<&Origin>) -> Vec<Part> {
    let words = match verdict {
        Verdict::Write => return Vec::new(),
        Verdict::Skip { reason } => return vec![Part::new("skipped", quoted(reason), origin)],
        Verdict::Release => "what was granted is withdrawn",
        Verdict::Delete => "it is deleted",
    };
    let what = if *verdict == Verdict::Delete { "deleted" } else { "released" };
    vec![Part::new(what, words, origin)]
}

fn intent(intent: &AttributeIntent) -> String {
    match intent {
        AttributeIntent::Set(value) => written(value),
        AttributeIntent::Withdraw => "()".to_owned(),
        AttributeIntent::Clear => "cleared".to_owned(),
    }
}

fn written(value: &AttributeValue) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A value as scripts write it.
fn json(value: &serde_json::Value) -> String {
    if value.is_null() { "()".to_owned() } else { value.to_string() }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
