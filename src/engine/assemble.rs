//! A contact as scripts see it: Intercom's fields, and what it derives from.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::intercom::normalize;
use crate::model::{BrevoContact, Record, RecordId, RecordKind, Transition, conversation_summary};
use crate::store::{RecordSubject, Subject};

/// The contact with its relations: `tags` by name, `companies` and `company` as records,
/// `language`, `duplicates`. Where there is nothing, the field is there and empty.
pub(crate) fn contact(subject: &Subject, record: &Record) -> Value {
    let mut body = match &record.body {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    let tags: Vec<Value> = tag_ids(subject, record)
        .iter()
        .filter_map(|id| subject.tags.get(id).map(|name| json!(name)))
        .collect();
    let companies: Vec<Value> = company_ids(subject, record)
        .iter()
        .filter_map(|id| subject.companies.get(id))
        .filter(|company| company.liveness.is_live())
        .map(|company| company_view(&company.body, &subject.tags))
        .collect();
    let text =
        |field: &str| body.get(field).filter(|value| value.as_str().is_some_and(|t| !t.is_empty()));
    let language = text("language_override").or_else(|| text("browser_language")).cloned();
    let duplicates: Vec<Value> =
        subject.duplicates.iter().map(|other| other.body.clone()).collect();

    body.insert("language".into(), language.unwrap_or(Value::Null));
    body.insert("tags".into(), Value::Array(tags));
    body.insert("company".into(), companies.first().cloned().unwrap_or(Value::Null));
    body.insert("companies".into(), Value::Array(companies));
    body.insert("duplicates".into(), Value::Array(duplicates));
    body.insert("subscriptions".into(), subscriptions(subject, &body));
    let all = subject.conversations.newest.iter().map(conversation_view).collect();
    let summary = conversation_summary(&subject.conversations.outlines, all);
    body.insert("conversations".into(), summary);
    body.insert("events".into(), events(subject));
    Value::Object(body)
}

/// Subscription types by name: `"in"` or `"out"`.
fn subscriptions(subject: &Subject, body: &Map<String, Value>) -> Value {
    let mut named = Map::new();
    for (field, word) in
        [("opted_in_subscription_types", "in"), ("opted_out_subscription_types", "out")]
    {
        let ids = body.get(field).and_then(Value::as_array).into_iter().flatten();
        let names = ids.filter_map(|id| {
            subject.subscription_types.get(&id.as_str()?.parse::<RecordId>().ok()?)
        });
        named.extend(names.map(|name| (name.clone(), json!(word))));
    }
    Value::Object(named)
}

/// Ids of subscription types that a contact opted into or out of.
pub(crate) fn subscription_ids(record: &Record) -> impl Iterator<Item = RecordId> {
    ["opted_in_subscription_types", "opted_out_subscription_types"]
        .into_iter()
        .filter_map(|field| record.body.get(field)?.as_array())
        .flatten()
        .filter_map(|id| id.as_str()?.parse().ok())
}

/// A conversation as scripts see it, without its people: `tags` by name.
pub(crate) fn conversation_view(body: &Value) -> Value {
    let mut view = body.clone();
    if let Some(fields) = view.as_object_mut() {
        let tags = fields.get("tags").and_then(Value::as_array).into_iter().flatten();
        let names: Vec<Value> = tags
            .filter_map(|tag| if tag.is_string() { Some(tag) } else { tag.get("name") })
            .filter(|name| name.is_string())
            .cloned()
            .collect();
        fields.insert("tags".to_owned(), Value::Array(names));
    }
    view
}

/// A company as scripts see it: `tags` by name.
pub(crate) fn company_view(body: &Value, tags: &BTreeMap<RecordId, String>) -> Value {
    let names: Vec<Value> = normalize::company_tag_ids(body)
        .iter()
        .filter_map(|id| tags.get(id).map(|name| json!(name)))
        .collect();
    let mut view = body.clone();
    if let Some(fields) = view.as_object_mut() {
        fields.insert("tags".to_owned(), Value::Array(names));
    }
    view
}

/// A record that is no contact as scripts see it, with its relations.
pub(crate) fn record(subject: &RecordSubject, record: &Record, contacts: &[Subject]) -> Value {
    let mut view = match record.key.kind {
        RecordKind::Conversation => conversation_view(&record.body),
        RecordKind::Company => company_view(&record.body, &subject.tags),
        _ => record.body.clone(),
    };
    let Some(fields) = view.as_object_mut() else { return view };
    let people = people(&subject.contacts, contacts);
    match record.key.kind {
        RecordKind::Conversation => {
            let mut course: Vec<_> = subject.course.iter().collect();
            // What happened in one second stays in the order in which it became known.
            course.sort_by_key(|one| one.at);
            let course: Vec<Value> = course.into_iter().map(Transition::to_json).collect();
            fields.insert("transitions".into(), Value::Array(course));
            fields.insert("contact".into(), people.first().cloned().unwrap_or(Value::Null));
            fields.insert("contacts".into(), Value::Array(people));
        }
        RecordKind::Event => {
            fields.insert("contact".into(), people.first().cloned().unwrap_or(Value::Null));
        }
        RecordKind::Company => {
            fields.insert("contacts_count".into(), json!(subject.contacts_count));
        }
        _ => {}
    }
    view
}

/// The contacts that a record is about; of one that is not known, the id.
fn people(ids: &[RecordId], known: &[Subject]) -> Vec<Value> {
    let view = |id: &RecordId| {
        let subject = known.iter().find(|subject| subject.id == *id);
        match subject.and_then(|subject| Some((subject, subject.record.as_ref()?))) {
            Some((subject, record)) => contact(subject, record),
            None => json!({ "id": id }),
        }
    };
    ids.iter().map(view).collect()
}

/// What the contact did: how often, when first, when last, by name.
fn events(subject: &Subject) -> Value {
    let events = subject.events.iter().map(|event| {
        let totals = json!({ "count": event.count, "first": event.first, "last": event.last });
        (event.name.clone(), totals)
    });
    Value::Object(events.collect())
}

/// Brevo's contact as `existing` in `merge_contact`.
pub(crate) fn existing(contact: &BrevoContact) -> Value {
    let mut fields: Map<String, Value> = contact
        .attributes
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), serde_json::to_value(value).ok()?)))
        .collect();
    fields.insert("id".into(), json!(contact.id));
    fields.insert("email".into(), json!(contact.email.as_ref().map(|email| email.as_str())));
    fields.insert("lists".into(), json!(contact.lists));
    fields.insert("blacklisted".into(), json!(contact.email_blacklisted));
    Value::Object(fields)
}

/// Ids of all tags of a contact.
pub(crate) fn tag_ids(subject: &Subject, record: &Record) -> Vec<RecordId> {
    let full = subject.sublists.as_ref().and_then(|full| full.tags.clone());
    full.unwrap_or_else(|| normalize::contact_tag_ids(&record.body).0)
}

/// Ids of all tags that a contact's rules see: its own, and those of its companies.
pub(crate) fn seen_tag_ids(subject: &Subject, record: &Record) -> Vec<RecordId> {
    let mut ids = tag_ids(subject, record);
    let companies = subject.companies.values().filter(|company| company.liveness.is_live());
    ids.extend(companies.flat_map(|company| normalize::company_tag_ids(&company.body)));
    ids
}

/// Ids of all companies of a contact.
pub(crate) fn company_ids(subject: &Subject, record: &Record) -> Vec<RecordId> {
    let full = subject.sublists.as_ref().and_then(|full| full.companies.clone());
    full.unwrap_or_else(|| normalize::contact_company_ids(&record.body).0)
}
