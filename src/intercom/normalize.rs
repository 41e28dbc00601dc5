//! One shape for every object, whichever way and in whichever API version (2.11 to 2.16) it came.
//!
//! Times become epoch seconds, lists of references become sorted ids, empty identifiers become
//! `null`, and what only one way of delivery carries goes, so that a read and a notification of the
//! same state have the same digest. Unknown fields stay for scripts. In a body that is not partial
//! every known field is there, `null` if it is unset.

mod conversation;
mod event;

pub use conversation::{conversation, conversation_completeness, conversation_contact_ids};
pub use event::event;
use serde_json::{Map, Value, json};

use crate::model::{RecordId, Timestamp};

/// Fields of a contact beyond times, lists and custom attributes, unset as `null`.
const CONTACT_FIELDS: &[&str] = &[
    "id",
    "workspace_id",
    "external_id",
    "role",
    "email",
    "phone",
    "name",
    "avatar",
    "owner_id",
    "has_hard_bounced",
    "marked_email_as_spam",
    "unsubscribed_from_emails",
    "sms_consent",
    "unsubscribed_from_sms",
    "language_override",
    "browser",
    "browser_version",
    "browser_language",
    "os",
    "location",
    "android_app_name",
    "android_app_version",
    "android_device",
    "android_os_version",
    "android_sdk_version",
    "android_last_seen_at",
    "ios_app_name",
    "ios_app_version",
    "ios_device",
    "ios_os_version",
    "ios_sdk_version",
    "ios_last_seen_at",
    "created_at",
    "updated_at",
    "signed_up_at",
    "last_seen_at",
    "last_replied_at",
    "last_contacted_at",
    "last_email_opened_at",
    "last_email_clicked_at",
    "utm_campaign",
    "utm_content",
    "utm_medium",
    "utm_source",
    "utm_term",
    "referrer",
];

/// Fields that every read and every full notification carries; without one of them the rest is
/// unknown, too.
const CONTACT_CORE: &[&str] = &[
    "role",
    "email",
    "phone",
    "name",
    "unsubscribed_from_emails",
    "custom_attributes",
    "tags",
    "companies",
];

/// Fields of a company, unset as `null`; REST leaves unset ones out.
const COMPANY_FIELDS: &[&str] = &[
    "id",
    "company_id",
    "app_id",
    "name",
    "remote_created_at",
    "created_at",
    "updated_at",
    "last_request_at",
    "size",
    "website",
    "industry",
    "monthly_spend",
    "session_count",
    "user_count",
    "plan",
];

/// What says nothing, what is derived, and what some ways of delivery or API versions lack.
const NOISE: &[&str] = &[
    "type",
    "url",
    "links",
    "notes",
    "archived",
    "deleted",
    "merged_from",
    "merge_history",
    "email_domain",
    "formatted_phone",
    "enabled_push_messaging",
    "segments",
    "plan_id",
];

/// Whether what is missing from an object is unset or unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// What is missing is unset.
    Full,
    /// What is missing is unknown, and stays missing.
    Partial,
}

/// Whether a list of references was cut at ten (facts: Intercom section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncated {
    /// All ids are there.
    No,
    /// There are more: the sub-list has to be read.
    Yes,
}

/// Says whether an item holds a whole contact: hand-made items often hold a few fields.
pub fn contact_completeness(item: &Value) -> Completeness {
    if CONTACT_CORE.iter().all(|field| item.get(field).is_some()) {
        Completeness::Full
    } else {
        Completeness::Partial
    }
}

/// The normalised body of a contact. `tags` and `companies` become `{ids, has_more, total}`, the
/// subscription types arrays of ids, `social_profiles` an array, `owner_id` text.
pub fn contact(item: &Value) -> Value {
    into_contact(item.clone())
}

/// The same of an item that nobody needs any more.
pub fn into_contact(item: Value) -> Value {
    let completeness = contact_completeness(&item);
    let mut body = stripped(item);
    for field in ["id", "owner_id", "external_id"] {
        change(&mut body, field, text_of);
    }
    for field in ["email", "phone", "name", "external_id"] {
        change(&mut body, field, |value| if value == "" { Value::Null } else { value });
    }
    change(&mut body, "avatar", avatar);
    change(&mut body, "location", location);
    change(&mut body, "social_profiles", social_profiles);
    for field in ["opted_in_subscription_types", "opted_out_subscription_types"] {
        change(&mut body, field, |list| json!(sorted_ids(&list)));
    }
    for field in ["tags", "companies"] {
        change(&mut body, field, |list| id_list(&list));
    }
    finish(&mut body, completeness, CONTACT_FIELDS);
    if completeness == Completeness::Full {
        fill(&mut body, "location", || location(Value::Null));
        fill(&mut body, "custom_attributes", || json!({}));
        for field in
            ["social_profiles", "opted_in_subscription_types", "opted_out_subscription_types"]
        {
            fill(&mut body, field, || json!([]));
        }
    }
    Value::Object(body)
}

/// The normalised body of a company. `tags` becomes `{ids, has_more, total}` from `tags` or
/// `tag_ids`; `plan` becomes `{id, name}` or `null`.
pub fn company(item: &Value, completeness: Completeness) -> Value {
    let mut body = stripped(item.clone());
    if let Some(ids) = body.remove("tag_ids")
        && body.get("tags").is_none_or(Value::is_null)
    {
        body.insert("tags".to_owned(), ids);
    }
    for field in ["id", "company_id"] {
        change(&mut body, field, text_of);
    }
    change(&mut body, "name", |value| if value == "" { Value::Null } else { value });
    change(&mut body, "plan", plan);
    change(&mut body, "tags", |list| id_list(&list));
    if completeness == Completeness::Partial {
        // Recordings show it with a name of `null`, no tags and no sessions, whatever the company has.
        body.retain(|field, value| match field.as_str() {
            "tags" => value["ids"].as_array().is_some_and(|ids| !ids.is_empty()),
            "session_count" => *value != 0,
            _ => !value.is_null(),
        });
    }
    finish(&mut body, completeness, COMPANY_FIELDS);
    if completeness == Completeness::Full {
        fill(&mut body, "tags", || id_list(&Value::Null));
        fill(&mut body, "custom_attributes", || json!({}));
    }
    Value::Object(body)
}

/// The normalised body of a tag: `{id, name}`.
pub fn tag(item: &Value) -> Value {
    let id = item.get("id").cloned().map_or(Value::Null, text_of);
    json!({ "id": id, "name": item.get("name").cloned().unwrap_or_default() })
}

/// The tags of a normalised contact, as far as its snapshot shows them.
pub fn contact_tag_ids(body: &Value) -> (Vec<RecordId>, Truncated) {
    reference_ids(body, "tags")
}

/// The tags of a normalised company.
pub fn company_tag_ids(body: &Value) -> Vec<RecordId> {
    reference_ids(body, "tags").0
}

/// The companies of a normalised contact, as far as its snapshot shows them.
pub fn contact_company_ids(body: &Value) -> (Vec<RecordId>, Truncated) {
    reference_ids(body, "companies")
}

/// The id of an object that is not normalised yet: text, or a whole number in old shapes.
pub fn id_of(item: &Value) -> Option<RecordId> {
    text_of(item.get("id")?.clone()).as_str()?.parse().ok()
}

fn reference_ids(body: &Value, field: &str) -> (Vec<RecordId>, Truncated) {
    let Some(list) = body.get(field) else {
        return (Vec::new(), Truncated::No);
    };
    let ids = list.get("ids").and_then(Value::as_array).into_iter().flatten();
    let ids = ids.filter_map(|id| id.as_str()?.parse().ok()).collect();
    let has_more = list.get("has_more").and_then(Value::as_bool).unwrap_or(false);
    (ids, if has_more { Truncated::Yes } else { Truncated::No })
}

/// The fields of an object without noise; nothing for what is no object.
fn stripped(item: Value) -> Map<String, Value> {
    let Value::Object(mut body) = item else {
        return Map::new();
    };
    body.retain(|field, _| !NOISE.contains(&field.as_str()));
    body
}

/// Evens out times and what is missing.
fn finish(body: &mut Map<String, Value>, completeness: Completeness, known: &[&str]) {
    for (field, value) in body.iter_mut() {
        if field.ends_with("_at") {
            *value = time(std::mem::take(value), known.contains(&field.as_str()));
        }
    }
    if completeness == Completeness::Full {
        // An unknown field that is unset is there in some versions only.
        body.retain(|field, value| !value.is_null() || known.contains(&field.as_str()));
        known.iter().for_each(|field| fill(body, field, || Value::Null));
    }
}

fn change(body: &mut Map<String, Value>, field: &str, with: impl FnOnce(Value) -> Value) {
    if let Some(value) = body.get_mut(field) {
        *value = with(std::mem::take(value));
    }
}

fn fill(body: &mut Map<String, Value>, field: &str, with: impl FnOnce() -> Value) {
    // Not by `entry`, which would copy the name of every field that is there already.
    match body.get_mut(field) {
        Some(Value::Null) => change(body, field, |_| with()),
        Some(_) => {}
        None => {
            body.insert(field.to_owned(), with());
        }
    }
}

/// Epoch seconds; a known time that cannot be read is unset, an unknown field is left as it is.
fn time(value: Value, is_known: bool) -> Value {
    match Timestamp::parse(&value) {
        Some(at) => Value::from(at.seconds()),
        None if is_known => Value::Null,
        None => value,
    }
}

/// Numbers as text: `owner_id` is a number before 2.16 and text since.
fn text_of(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::String(number.to_string()),
        other => other,
    }
}

fn avatar(value: Value) -> Value {
    let url = match &value {
        Value::Object(avatar) => avatar.get("image_url").cloned().unwrap_or_default(),
        other => other.clone(),
    };
    if url.is_null() { Value::Null } else { json!({ "image_url": url }) }
}

fn location(value: Value) -> Value {
    let mut location = stripped(value);
    for field in ["country", "region", "city", "country_code", "continent_code"] {
        location.entry(field).or_insert(Value::Null);
    }
    Value::Object(location)
}

fn social_profiles(value: Value) -> Value {
    let profile = |item: &Value| json!({ "name": item.get("name"), "url": item.get("url") });
    Value::Array(items(&value).map(profile).collect())
}

/// REST says `{}` or `{id, name}`, notifications `null`; it is written as plain text.
fn plan(value: Value) -> Value {
    if let Value::String(name) = &value {
        return if name.is_empty() { Value::Null } else { json!({ "id": null, "name": name }) };
    }
    match value.get("name") {
        None | Some(Value::Null) => Value::Null,
        Some(name) => {
            let id = value.get("id").cloned().map_or(Value::Null, text_of);
            json!({ "id": id, "name": name })
        }
    }
}

fn id_list(list: &Value) -> Value {
    let ids = sorted_ids(list);
    let shown = ids.len() as u64;
    let total = list.get("total_count").and_then(Value::as_u64).unwrap_or(shown).max(shown);
    let says_more = list.get("has_more").and_then(Value::as_bool).unwrap_or(false);
    json!({ "ids": ids, "has_more": says_more || total > shown, "total": total })
}

/// The ids of a list of references, each once, in ascending order: shorter before longer, so that
/// numbers stand in their order, too.
fn sorted_ids(list: &Value) -> Vec<String> {
    let id = |item: &Value| match item {
        Value::Object(object) => object.get("id").cloned().map(text_of),
        other => Some(text_of(other.clone())),
    };
    let mut ids: Vec<String> =
        items(list).filter_map(|item| Some(id(item)?.as_str()?.to_owned())).collect();
    ids.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    ids.dedup();
    ids
}

/// The items of a list in any of its envelopes: a plain array, or under `data` or its own name.
fn items(list: &Value) -> impl Iterator<Item = &Value> {
    let inside = |key: &str| list.get(key).and_then(Value::as_array);
    let array = list.as_array().or_else(|| {
        ["data", "ids", "tags", "companies", "content_sources"].into_iter().find_map(inside)
    });
    array.into_iter().flatten()
}

#[cfg(test)]
#[path = "normalize_tests.rs"]
mod tests;
