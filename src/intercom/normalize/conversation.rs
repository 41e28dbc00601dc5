//! One shape for conversations: of API 2.11 to 2.16, of notifications, and of those that old apps
//! still send in the shape of 2019.
//!
//! Parts are no part of the body: a read shows up to 500 of them, a list none, and a notification the
//! one that caused it. What they tell of its course is read from
//! the item itself.

use serde_json::{Map, Value, json};

use super::{Completeness, change, fill, finish, items, text_of, time};
use crate::model::RecordId;

/// Fields of a conversation, unset as `null`.
const FIELDS: &[&str] = &[
    "id",
    "created_at",
    "updated_at",
    "waiting_since",
    "snoozed_until",
    "title",
    "open",
    "read",
    "state",
    "priority",
    "admin_assignee_id",
    "team_assignee_id",
    "source",
    "first_contact_reply",
    "conversation_rating",
    "statistics",
    "sla_applied",
    "ticket",
    "ai_agent",
    "ai_agent_participated",
];

/// Fields that every read, list item and current notification carries.
const CORE: &[&str] =
    &["state", "open", "source", "contacts", "tags", "statistics", "conversation_rating"];

/// What says nothing, what only one way of delivery carries, and what became another field.
const NOISE: &[&str] = &[
    "type",
    "url",
    "links",
    "deleted",
    "conversation_parts",
    "tags_added",
    "user",
    "customer",
    "customers",
    "assignee",
    "conversation_message",
    "metadata",
];

/// Says whether an item holds a whole conversation: old apps send another shape, people a few fields.
pub fn conversation_completeness(item: &Value) -> Completeness {
    if CORE.iter().all(|field| item.get(field).is_some()) {
        Completeness::Full
    } else {
        Completeness::Partial
    }
}

/// The normalised body of a conversation. `contacts` becomes an array of `{id}`, `tags` and `topics`
/// arrays of `{id, name}`, `teammates` an array of ids, `linked_objects` an array; in `ai_agent` the
/// `content_sources` become an array, and `resolution_state` stays in the vocabulary in which it came.
pub fn conversation(item: &Value, completeness: Completeness) -> Value {
    let mut body = of_2019(item);
    body.retain(|field, _| !NOISE.contains(&field.as_str()));
    change(&mut body, "id", text_of);
    change(&mut body, "title", unset_if_empty);
    change(
        &mut body,
        "priority",
        |value| if value == "none" { "not_priority".into() } else { value },
    );
    for field in ["waiting_since", "snoozed_until"] {
        change(&mut body, field, |value| time(value, true));
    }
    for field in ["admin_assignee_id", "team_assignee_id"] {
        change(&mut body, field, assignee);
    }
    change(&mut body, "contacts", |list| json!(references(&list)));
    for field in ["tags", "topics"] {
        change(&mut body, field, |list| json!(named(&list)));
    }
    change(&mut body, "teammates", |list| json!(ids(&list)));
    change(&mut body, "linked_objects", |list| json!(linked(&list)));
    change(&mut body, "source", source);
    change(&mut body, "first_contact_reply", |reply| object(reply, |_| {}));
    change(&mut body, "conversation_rating", rating);
    change(&mut body, "statistics", statistics);
    change(&mut body, "sla_applied", sla);
    change(&mut body, "ai_agent", ai_agent);
    finish(&mut body, completeness, FIELDS);
    if completeness == Completeness::Full {
        for field in ["contacts", "tags", "topics", "teammates", "linked_objects"] {
            fill(&mut body, field, || json!([]));
        }
        fill(&mut body, "custom_attributes", || json!({}));
        fill(&mut body, "ai_agent_participated", || Value::Bool(false));
    }
    Value::Object(body)
}

/// The contacts of a normalised conversation, in Intercom's order.
pub fn conversation_contact_ids(body: &Value) -> Vec<RecordId> {
    let contacts = body.get("contacts").and_then(Value::as_array).into_iter().flatten();
    contacts.filter_map(|contact| contact.get("id")?.as_str()?.parse().ok()).collect()
}

/// The fields of an item; those of the shape of 2019 under today's names.
fn of_2019(item: &Value) -> Map<String, Value> {
    let Value::Object(mut body) = item.clone() else {
        return Map::new();
    };
    if !body.contains_key("contacts") {
        let several = ["customers", "customer", "user"].iter().find_map(|field| body.get(*field));
        let people = match several {
            Some(Value::Array(several)) => Some(json!(several)),
            Some(one @ Value::Object(_)) => Some(json!([one])),
            _ => None,
        };
        body.extend(people.map(|people| ("contacts".to_owned(), people)));
    }
    if let (false, Some(message)) = (body.contains_key("source"), body.get("conversation_message"))
        && message.is_object()
    {
        let mut source = message.clone();
        if let Some(fields) = source.as_object_mut() {
            // Its type is `conversation_message`, and says nothing about the channel.
            fields.remove("type");
        }
        body.insert("source".to_owned(), source);
    }
    if let Some(assignee) = body.get("assignee").filter(|assignee| assignee.is_object()) {
        let field = match assignee.get("type").and_then(Value::as_str) {
            Some("team") => "team_assignee_id",
            _ => "admin_assignee_id",
        };
        let id = assignee.get("id").cloned().unwrap_or_default();
        body.entry(field).or_insert(id);
    }
    body
}

/// Ids of admins and teams are whole numbers, and `0` was nobody once.
fn assignee(value: Value) -> Value {
    let number = match &value {
        Value::String(text) => text.parse::<i64>().ok(),
        other => other.as_i64(),
    };
    match number {
        Some(0) => Value::Null,
        Some(number) => Value::from(number),
        None => value,
    }
}

fn source(value: Value) -> Value {
    object(value, |source| {
        change(source, "id", text_of);
        change(source, "author", author);
    })
}

fn author(value: Value) -> Value {
    object(value, |author| {
        change(author, "id", text_of);
        for field in ["name", "email"] {
            change(author, field, unset_if_empty);
        }
    })
}

/// Nobody rated where nothing in it is set.
fn rating(value: Value) -> Value {
    let rating = object(value, |rating| {
        for person in ["contact", "teammate"] {
            change(rating, person, |person| {
                object(person, |person| {
                    change(person, "id", text_of);
                    // It is missing in some deliveries, and the contact has it.
                    person.remove("external_id");
                })
            });
        }
        rating.remove("type");
        rating.retain(|field, value| {
            !value.is_null() || matches!(field.as_str(), "rating" | "remark")
        });
    });
    let is_empty = |fields: &Map<String, Value>| {
        fields.values().all(|value| {
            value.is_null()
                || value.as_object().is_some_and(|person| person.values().all(Value::is_null))
        })
    };
    if rating.as_object().is_some_and(is_empty) { Value::Null } else { rating }
}

/// Times in seconds; what is unset is missing in some versions, so it is left out.
fn statistics(value: Value) -> Value {
    let statistics = object(value, |statistics| {
        statistics.remove("type");
        change(statistics, "last_closed_by_id", text_of);
        statistics.retain(|_, value| !value.is_null());
    });
    if statistics.as_object().is_some_and(Map::is_empty) { Value::Null } else { statistics }
}

fn sla(value: Value) -> Value {
    object(value, |sla| {
        sla.remove("type");
    })
}

fn ai_agent(value: Value) -> Value {
    const FIELDS: [&str; 6] = [
        "source_type",
        "source_title",
        "last_answer_type",
        "resolution_state",
        "rating",
        "rating_remark",
    ];
    object(value, |agent| {
        agent.remove("type");
        agent.retain(|field, value| !value.is_null() || FIELDS.contains(&field.as_str()));
        FIELDS.iter().for_each(|field| fill(agent, field, || Value::Null));
        let sources = agent.remove("content_sources").unwrap_or_default();
        let sources: Vec<Value> = items(&sources)
            .map(|source| {
                object(source.clone(), |source| {
                    source.remove("type");
                })
            })
            .collect();
        agent.insert("content_sources".to_owned(), json!(sources));
    })
}

/// An object with its times in seconds, changed by `with`; `null` for what is none or empty.
fn object(value: Value, with: impl FnOnce(&mut Map<String, Value>)) -> Value {
    match value {
        Value::Object(mut fields) if !fields.is_empty() => {
            for (field, value) in &mut fields {
                if field.ends_with("_at") {
                    *value = time(std::mem::take(value), true);
                }
            }
            with(&mut fields);
            if fields.is_empty() { Value::Null } else { Value::Object(fields) }
        }
        _ => Value::Null,
    }
}

fn unset_if_empty(value: Value) -> Value {
    if value == "" { Value::Null } else { value }
}

fn id(item: &Value) -> Option<String> {
    let id = match item {
        Value::Object(fields) => text_of(fields.get("id")?.clone()),
        other => text_of(other.clone()),
    };
    Some(id.as_str()?.to_owned())
}

/// `{id}` of each, in the order in which they came, each once.
fn references(list: &Value) -> Vec<Value> {
    let mut seen = Vec::new();
    for id in listed(list).filter_map(id) {
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    seen.into_iter().map(|id| json!({ "id": id })).collect()
}

/// Ids, ascending, each once.
fn ids(list: &Value) -> Vec<String> {
    let mut ids: Vec<String> = listed(list).filter_map(id).collect();
    ids.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    ids.dedup();
    ids
}

/// `{id, name}` of each, by id. One that is a plain text is its name.
fn named(list: &Value) -> Vec<Value> {
    let mut named: Vec<(Option<String>, Value)> = listed(list)
        .filter_map(|item| match item {
            Value::String(name) => Some((None, json!(name))),
            Value::Object(_) => Some((id(item), item.get("name").cloned().unwrap_or_default())),
            _ => None,
        })
        .collect();
    named.sort_by(|(a, name), (b, other)| {
        let key = |id: &Option<String>| (id.as_ref().map_or(0, String::len), id.clone());
        key(a).cmp(&key(b)).then_with(|| name.as_str().cmp(&other.as_str()))
    });
    named.dedup();
    named.into_iter().map(|(id, name)| json!({ "id": id, "name": name })).collect()
}

fn linked(list: &Value) -> Vec<Value> {
    listed(list)
        .filter_map(|item| {
            let kind = item.get("type").cloned().unwrap_or_default();
            let category = item.get("category").cloned().unwrap_or_default();
            Some(json!({ "type": kind, "id": id(item)?, "category": category }))
        })
        .collect()
}

/// The items of a list in any of its envelopes.
fn listed(list: &Value) -> impl Iterator<Item = &Value> {
    const NAMES: [&str; 7] =
        ["data", "contacts", "admins", "teammates", "topics", "tags", "linked_objects"];
    let inside = |key: &str| list.get(key).and_then(Value::as_array);
    list.as_array().or_else(|| NAMES.into_iter().find_map(inside)).into_iter().flatten()
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
