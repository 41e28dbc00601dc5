//! A contact as scripts see it: Intercom's fields, and what it derives from.

use serde_json::{Map, Value, json};

use crate::intercom::normalize;
use crate::model::{BrevoContact, Record, RecordId};
use crate::store::Subject;

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
        .map(|company| company.body.clone())
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
    body.insert("subscriptions".into(), json!({}));
    body.insert("conversations".into(), no_conversations());
    body.insert("events".into(), json!({}));
    Value::Object(body)
}

/// Conversations are not read yet; the fields that scripts count with are there.
fn no_conversations() -> Value {
    json!({"open": 0, "snoozed": 0, "closed": 0, "total": 0, "ratings": [], "tags": [], "all": []})
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

/// Ids of all companies of a contact.
pub(crate) fn company_ids(subject: &Subject, record: &Record) -> Vec<RecordId> {
    let full = subject.sublists.as_ref().and_then(|full| full.companies.clone());
    full.unwrap_or_else(|| normalize::contact_company_ids(&record.body).0)
}
