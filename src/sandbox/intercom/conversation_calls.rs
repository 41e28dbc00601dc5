//! The calls under `/conversations`.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::conversation::Conversation;
use super::conversation_change::Voice;
use super::conversation_search::{ConversationQuery, ConversationSort, value};
use super::conversation_view::{Parts, Place};
use super::cursor::{Cursor, pages};
use super::refused::Refused;
use super::routes::{Call, Reply, body_id, list_page, ok, search_page, tag_shown};
use super::sort::SortKey;
use super::state::State;

const DEFAULT_PER_PAGE: usize = 20;

/// What a request under `/conversations` asks for; `rest` are the segments after it.
pub(super) fn conversations(
    state: &mut State,
    call: &Call<'_>,
    rest: &[&str],
) -> Result<Reply, Refused> {
    match (call.method, rest) {
        ("GET", []) => list(state, call),
        ("POST", []) => begin(state, call),
        ("POST", ["search"]) => search(state, call),
        ("POST", ["redact"]) => redact(state, call),
        ("GET", [id]) => show(state, call, id),
        ("PUT", [id]) => update(state, call, id),
        ("DELETE", [id]) => {
            state.delete_conversation(id, call.now)?;
            ok(json!({"id": id, "object": "conversation", "deleted": true}))
        }
        ("POST", [id, "reply"]) => reply(state, call, id),
        ("POST", [id, "parts"]) => manage(state, call, id),
        ("POST", [id, "tags"]) => {
            check_admin(call)?;
            let tag = body_id(call)?;
            state.tag_conversation(id, tag, call.now)?;
            ok(tag_shown(state, tag, Some(call.now)))
        }
        ("DELETE", [id, "tags", tag]) => {
            check_admin(call)?;
            state.untag_conversation(id, tag, call.now)?;
            ok(tag_shown(state, tag, None))
        }
        ("POST", [id, "customers"]) => {
            check_admin(call)?;
            let customer = call.body.get("customer").unwrap_or(&Value::Null);
            let contact = state.named_contact(customer)?;
            state.add_participant(id, &contact, call.now)?;
            show(state, call, id)
        }
        ("DELETE", [id, "customers", contact]) => {
            check_admin(call)?;
            state.remove_participant(id, contact, call.now)?;
            show(state, call, id)
        }
        _ => Err(Refused::no_resource()),
    }
}

fn list(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    let (per_page, cursor) = list_page(call, DEFAULT_PER_PAGE)?;
    let mut found: Vec<&Conversation> = match &cursor {
        None => state.conversations.newest_first().take(per_page + 1).collect(),
        Some(Cursor { sort_value, id, .. }) => {
            let updated_at = sort_value.as_i64().unwrap_or(i64::MAX);
            state.conversations.after(updated_at, id).take(per_page + 1).collect()
        }
    };
    let has_more = found.len() > per_page;
    found.truncate(per_page);
    let page = cursor.map_or(1, |cursor| cursor.page);
    let next = found.last().filter(|_| has_more).map(|last| Cursor {
        sort_value: Value::from(last.updated_at),
        id: last.id.to_string(),
        page: page + 1,
    });
    let total = state.conversations.len();
    let pages = pages(page, per_page, total, next.as_ref());
    page_of(state, call, &found, total, pages)
}

fn search(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    let Some(query) = call.body.get("query") else {
        return Err(Refused::missing("query is required"));
    };
    let query = ConversationQuery::parse(query)?;
    let sort = ConversationSort::parse(call.body.get("sort"))?;
    let (per_page, cursor) = search_page(call, DEFAULT_PER_PAGE)?;
    let mut found: Vec<(SortKey, &Conversation)> = state
        .conversations
        .newest_first()
        .filter_map(|held| state.conversation_lag.seen(&held.id, held, call.now))
        .filter(|held| query.matches(held))
        .map(|held| (SortKey::from(&value(held, &sort.field)), held))
        .collect();
    let total = found.len();
    let compare = |a: (&SortKey, &str), b: (&SortKey, &str)| {
        let by_key = a.0.compare(b.0);
        let by_key = if sort.is_ascending { by_key } else { by_key.reverse() };
        by_key.then_with(|| a.1.cmp(b.1))
    };
    if let Some(cursor) = &cursor {
        let last = SortKey::from(&cursor.sort_value);
        found.retain(|(key, held)| {
            compare((key, &held.id), (&last, &cursor.id)) == Ordering::Greater
        });
    }
    found.sort_by(|a, b| compare((&a.0, &a.1.id), (&b.0, &b.1.id)));
    let has_more = found.len() > per_page;
    found.truncate(per_page);
    let page = cursor.map_or(1, |cursor| cursor.page);
    let next = found.last().filter(|_| has_more).map(|(key, last)| Cursor {
        sort_value: key.to_value(),
        id: last.id.to_string(),
        page: page + 1,
    });
    let pages = pages(page, per_page, total, next.as_ref());
    let found: Vec<&Conversation> = found.into_iter().map(|(_, held)| held).collect();
    page_of(state, call, &found, total, pages)
}

fn page_of(
    state: &State,
    call: &Call<'_>,
    found: &[&Conversation],
    total: usize,
    pages: Value,
) -> Result<Reply, Refused> {
    let shown = |held: &&Conversation| {
        state.show_conversation(held, Place::Rest, Parts::Unseen, call.version)
    };
    let conversations: Vec<Value> = found.iter().map(shown).collect();
    ok(json!({
        "type": "conversation.list", "conversations": conversations, "total_count": total,
        "pages": pages,
    }))
}

fn show(state: &State, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    let conversation = state.conversation(id)?;
    ok(state.show_conversation(conversation, Place::Rest, Parts::Newest, call.version))
}

/// Answers the message, not the conversation.
fn begin(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let body = text(call, "body").ok_or_else(|| Refused::missing("body is required"))?;
    let from = call.body.get("from").and_then(|from| from.get("id")).and_then(Value::as_str);
    let from = from.ok_or_else(|| Refused::missing("from is required"))?;
    let created_at = call.body.get("created_at").and_then(Value::as_i64);
    let voice = Voice::Contact(from);
    let id = state.begin_conversation(from, voice, body, created_at, call.now)?;
    let message = state.conversation(&id)?;
    ok(json!({
        "type": "user_message", "id": message.source.id, "created_at": message.created_at,
        "body": message.source.body, "message_type": "inapp", "conversation_id": id,
    }))
}

fn reply(state: &mut State, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    let id = match id {
        "last" => last_of(state, call)?,
        id => id.to_owned(),
    };
    let body = text(call, "body").ok_or_else(|| Refused::missing("body is required"))?;
    match (text(call, "message_type"), text(call, "type")) {
        (Some("note"), Some("admin")) => {
            check_admin(call)?;
            state.note(&id, body, call.now)?;
        }
        (Some("comment"), Some("admin")) => {
            check_admin(call)?;
            state.reply(&id, Voice::Admin, body, call.now)?;
        }
        (Some("comment"), Some("user")) => {
            let contact = state.named_contact(&call.body)?;
            state.reply(&id, Voice::Contact(&contact), body, call.now)?;
        }
        _ => return Err(Refused::invalid("message_type must be comment or note")),
    }
    show(state, call, &id)
}

/// The newest conversation of the contact that the body names.
fn last_of(state: &State, call: &Call<'_>) -> Result<String, Refused> {
    let contact = state.named_contact(&call.body)?;
    let mut all = state.conversations.newest_first();
    let last = all.find(|held| held.contacts.contains(&contact));
    last.map(|held| held.id.to_string()).ok_or_else(Refused::no_conversation)
}

/// Closes, opens, snoozes, assigns. Messages go to `/reply` instead.
fn manage(state: &mut State, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    check_admin(call)?;
    let number = |key: &str| match call.body.get(key) {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_i64(),
        None => None,
    };
    match text(call, "message_type") {
        Some("close") => state.close(id, Voice::Admin, text(call, "body"), call.now)?,
        Some("open") => state.open(id, call.now)?,
        Some("snoozed") => {
            let until = number("snoozed_until");
            let until = until.ok_or_else(|| Refused::missing("snoozed_until is required"))?;
            state.snooze(id, until, call.now)?;
        }
        Some("assignment") => {
            let assignee = number("assignee_id");
            let assignee = assignee.ok_or_else(|| Refused::missing("assignee_id is required"))?;
            let kind = if text(call, "type") == Some("team") { "team" } else { "admin" };
            state.assign(id, kind, assignee, call.now)?;
        }
        _ => {
            let message = "message_type must be close, open, snoozed or assignment";
            return Err(Refused::invalid(message));
        }
    }
    show(state, call, id)
}

fn update(state: &mut State, call: &Call<'_>, id: &str) -> Result<Reply, Refused> {
    let read = call.body.get("read").and_then(Value::as_bool);
    let attributes = call.body.get("custom_attributes").and_then(Value::as_object);
    let none = Map::new();
    // `title` is writable since 2.13 (facts: Intercom section 11).
    let title = text(call, "title").filter(|_| call.version.is_since(13));
    state.set_conversation(id, read, title, attributes.unwrap_or(&none), call.now)?;
    show(state, call, id)
}

fn redact(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let id = text(call, "conversation_id");
    let id = id.ok_or_else(|| Refused::missing("conversation_id is required"))?;
    let part = text(call, "conversation_part_id");
    let part = part.ok_or_else(|| Refused::missing("conversation_part_id is required"))?;
    state.redact(id, part, call.now)?;
    show(state, call, id)
}

/// Refuses a request that does not say which admin acts.
fn check_admin(call: &Call<'_>) -> Result<(), Refused> {
    match call.body.get("admin_id") {
        Some(Value::String(id)) if super::admin::is_admin(id) => Ok(()),
        Some(Value::Number(id)) if super::admin::is_admin(&id.to_string()) => Ok(()),
        Some(Value::Null) | None => Err(Refused::missing("admin_id is required")),
        Some(_) => Err(Refused::new(404, "admin_not_found", "Admin not found")),
    }
}

fn text<'a>(call: &'a Call<'_>, key: &str) -> Option<&'a str> {
    call.body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}
