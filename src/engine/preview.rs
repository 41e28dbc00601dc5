//! What the engine would hand to the rules for a contact, for people who want to see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{assemble, identity};
use crate::intercom::normalize;
use crate::model::{
    Liveness, Record, RecordId, RecordKey, RecordKind, Snapshot, Source, Timestamp, gather,
};
use crate::rules::{ContactInput, RuleSet, ScriptError};
use crate::store::{RecordSubject, Store, StoreError, Subject, SubjectQuery};

/// What the rules would get, and for whom.
#[derive(Debug)]
pub(crate) struct Preview {
    /// The contact with its relations, and Brevo's, if it holds one.
    pub(crate) input: ContactInput,
    /// The contact that speaks for the address, if that is another: the engine would derive that one.
    pub(crate) speaks: Option<RecordId>,
}

/// What the rules would get for a stored contact; `None` if it was never seen.
///
/// # Errors
/// `choose_primary` broke.
pub(crate) fn preview(
    subject: &Subject,
    rules: &RuleSet,
    as_of: Timestamp,
) -> Result<Option<Preview>, ScriptError> {
    let Some(record) = &subject.record else { return Ok(None) };
    let primary = identity::primary(record, &subject.duplicates, rules)?;
    let speaks = (primary.key.id != record.key.id).then(|| primary.key.id.clone());
    let current = identity::target(subject).current;
    let input = ContactInput {
        key: record.key.clone(),
        contact: Arc::new(assemble::contact(subject, record)),
        existing: current.map(|mirrored| Arc::new(assemble::existing(&mirrored.contact))),
        as_of,
    };
    Ok(Some(Preview { input, speaks }))
}

/// What the rules would get for a stored record that is no contact; `None` if it was never seen.
///
/// # Errors
/// The store cannot be read.
pub(crate) async fn stored_record(
    store: &dyn Store,
    key: RecordKey,
) -> Result<Option<Value>, StoreError> {
    let found = store.record_subjects(vec![key]).await?;
    let Some(subject) = found.into_iter().next() else { return Ok(None) };
    let Some(record) = subject.record.clone() else { return Ok(None) };
    let contacts = subject.contacts.iter().cloned().map(SubjectQuery::from).collect();
    let contacts = store.subjects(contacts).await?;
    Ok(Some(assemble::record(&subject, &record, &contacts)))
}

/// A record that is no contact as one delivery shows it, with nothing else known than what `item`,
/// which is the delivered object, says of its tags.
pub(crate) fn seen_alone(snapshot: &Snapshot, item: &Value) -> Value {
    let record = Record::from(snapshot.clone());
    let mut course = Vec::new();
    for one in &snapshot.course {
        let _ = gather(&mut course, one.clone());
    }
    let person = || record.body.get("intercom_user_id")?.as_str()?.parse().ok();
    let contacts = match record.key.kind {
        RecordKind::Event => person().into_iter().collect(),
        _ => normalize::conversation_contact_ids(&record.body),
    };
    let subject = RecordSubject {
        key: record.key.clone(),
        record: None,
        course,
        contacts,
        tags: named_tags(item),
        contacts_count: 0,
        overlays: Vec::new(),
    };
    assemble::record(&subject, &record, &[])
}

/// A contact as Intercom delivers it, with what the item itself says of its tags and companies. What
/// is not in it is not known.
pub(crate) fn subject_of(id: RecordId, body: Value, item: &Value, now: Timestamp) -> Subject {
    let key = RecordKey::contact(id.clone());
    let snapshot = Snapshot::new(key, Liveness::Live, body, Source::Notification, now, now);
    let mut tags = named_tags(item);
    let named = named(item, "companies");
    named.iter().for_each(|(_, company)| tags.extend(named_tags(company)));
    let companies = named.into_iter().map(|(id, company)| {
        let body = normalize::company(&company, normalize::Completeness::Partial);
        let key = RecordKey::company(id.clone());
        let snapshot = Snapshot::new(key, Liveness::Live, body, Source::Notification, now, now);
        (id, Record::from(snapshot))
    });
    Subject {
        id,
        record: Some(Record::from(snapshot)),
        sublists: None,
        tags,
        companies: companies.collect(),
        subscription_types: Default::default(),
        conversations: Default::default(),
        overlays: Vec::new(),
        events: Vec::new(),
        duplicates: Vec::new(),
        owned: None,
        address: None,
        at_address: None,
        at_number: None,
        intent: None,
        lost_with: None,
        missed: Default::default(),
        left_lists: Default::default(),
        email_suppressed: false,
        sms_suppressed: false,
    }
}

/// A company as Intercom's API delivers it, or as tests write it, whose tags are names already.
pub(crate) fn company_of(item: &Value) -> Value {
    let body = normalize::company(item, normalize::Completeness::Partial);
    let mut view = assemble::company_view(&body, &named_tags(item));
    let listed = item.get("tags").and_then(Value::as_array);
    if let Some(names) = listed.filter(|tags| tags.iter().all(Value::is_string))
        && let Some(fields) = view.as_object_mut()
        && !names.is_empty()
    {
        fields.insert("tags".to_owned(), json!(names));
    }
    view
}

/// The tags that an object names.
fn named_tags(item: &Value) -> BTreeMap<RecordId, String> {
    let tags = named(item, "tags").into_iter();
    tags.filter_map(|(id, tag)| Some((id, tag.get("name")?.as_str()?.to_owned()))).collect()
}

/// What an object lists under a field with a name, whatever envelope the list is in.
fn named(item: &Value, field: &str) -> Vec<(RecordId, Value)> {
    let list = item.get(field).and_then(|list| {
        list.as_array().or_else(|| {
            ["data", "tags", "companies"].iter().find_map(|key| list.get(key)?.as_array())
        })
    });
    let items = list.into_iter().flatten().filter(|item| item.get("name").is_some());
    items.filter_map(|item| Some((normalize::id_of(item)?, item.clone()))).collect()
}

/// Brevo's contact as `existing`: as tests write it, or as Brevo's API answers it.
pub(crate) fn existing_of(contact: &Value) -> Value {
    let Some(fields) = contact.as_object() else { return contact.clone() };
    let Some(Value::Object(attributes)) = fields.get("attributes") else { return contact.clone() };
    let mut existing: Map<String, Value> = attributes.clone();
    let renamed = [
        ("id", "id"),
        ("email", "email"),
        ("lists", "listIds"),
        ("blacklisted", "emailBlacklisted"),
    ];
    for (name, theirs) in renamed {
        existing.insert(name.to_owned(), fields.get(theirs).cloned().unwrap_or_default());
    }
    Value::Object(existing)
}
