//! The JSON of a conversation in REST answers and in notifications (facts: Intercom sections 4 and 9).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::contact::Contact;
use super::conversation::{Author, Conversation, Part, Rating, Source, Status};
use super::state::State;
use super::time::iso;
use super::version::Version;

/// `GET /conversations/{id}` shows no more than the newest of them.
const SHOWN_PARTS: usize = 500;

const STATISTICS: [&str; 18] = [
    "time_to_assignment",
    "time_to_admin_reply",
    "time_to_first_close",
    "time_to_last_close",
    "median_time_to_reply",
    "first_contact_reply_at",
    "first_assignment_at",
    "first_admin_reply_at",
    "first_close_at",
    "last_assignment_at",
    "last_assignment_admin_reply_at",
    "last_contact_reply_at",
    "last_admin_reply_at",
    "last_close_at",
    "last_closed_by_id",
    "count_reopens",
    "count_assignments",
    "count_conversation_parts",
];

/// Which parts a conversation is shown with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parts<'a> {
    /// In lists: none, and no key for them.
    Unseen,
    /// In `GET /conversations/{id}`: the newest 500.
    Newest,
    /// In notifications: those that triggered it.
    Only(&'a [Arc<str>]),
}

/// Where a conversation is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Times as epoch seconds.
    Rest,
    /// The times of `statistics` as ISO 8601, all others as epoch seconds.
    Notification,
}

impl State {
    /// A conversation as JSON.
    pub(super) fn show_conversation(
        &self,
        conversation: &Conversation,
        place: Place,
        parts: Parts<'_>,
        version: Version,
    ) -> Value {
        let mut shown = self.conversation_body(conversation, place, version);
        let all = conversation.parts.iter();
        let (parts, total): (Vec<&Part>, usize) = match parts {
            Parts::Unseen => return shown,
            Parts::Newest => {
                let hidden = conversation.parts.len().saturating_sub(SHOWN_PARTS);
                (all.skip(hidden).collect(), conversation.parts.len())
            }
            Parts::Only(ids) => {
                let parts: Vec<&Part> = all.filter(|part| ids.contains(&part.id)).collect();
                let total = parts.len();
                (parts, total)
            }
        };
        let parts: Vec<Value> = parts.into_iter().map(|part| show_part(part, version)).collect();
        if let Some(object) = shown.as_object_mut() {
            let list = json!({
                "type": "conversation_part.list", "conversation_parts": parts,
                "total_count": total,
            });
            object.insert("conversation_parts".to_owned(), list);
        }
        shown
    }

    fn conversation_body(
        &self,
        conversation: &Conversation,
        place: Place,
        version: Version,
    ) -> Value {
        let contacts: Vec<Value> =
            conversation.contacts.iter().map(|id| self.reference(id)).collect();
        let teammates: Vec<Value> =
            conversation.teammates.iter().map(|id| json!({"type": "admin", "id": id})).collect();
        let tags: Vec<Value> = conversation
            .tags
            .iter()
            .map(|(id, at)| {
                json!({
                    "type": "tag", "id": id, "name": self.tags.get(id), "applied_at": at,
                    "applied_by": {"type": "admin", "id": super::routes::ADMIN_ID},
                })
            })
            .collect();
        let first_reply = conversation
            .statistic("first_contact_reply_at")
            .map(|at| json!({"created_at": at, "type": conversation.source.channel, "url": null}));
        json!({
            "type": "conversation",
            "id": conversation.id,
            "created_at": conversation.created_at,
            "updated_at": conversation.updated_at,
            "waiting_since": conversation.waiting_since,
            "snoozed_until": conversation.snoozed_until,
            "source": show_source(&conversation.source, version),
            "contacts": {"type": "contact.list", "contacts": contacts},
            "first_contact_reply": first_reply,
            "admin_assignee_id": conversation.admin_assignee,
            "team_assignee_id": conversation.team_assignee,
            "open": conversation.status != Status::Closed,
            "state": conversation.status.as_str(),
            "read": conversation.is_read,
            "tags": {"type": "tag.list", "tags": tags},
            "priority": priority(conversation.is_priority, version),
            "sla_applied": null,
            "statistics": statistics(conversation, place),
            "conversation_rating": self.rating(conversation.rating.as_ref(), version),
            "teammates": {"type": "admin.list", "admins": teammates},
            "title": conversation.title,
            "custom_attributes": conversation.custom_attributes,
            "topics": {},
            "ticket": null,
            "linked_objects": {"type": "list", "data": [], "total_count": 0, "has_more": false},
            "ai_agent": conversation.fin.as_ref().map(|fin| fin.shown(version)),
            "ai_agent_participated": conversation.fin.is_some(),
        })
    }

    /// `{type, id, external_id}`: all that a conversation says of a contact.
    pub(super) fn reference(&self, id: &str) -> Value {
        let external_id = self.contacts.get(id).and_then(Contact::external_id);
        json!({"type": "contact", "id": id, "external_id": external_id})
    }

    fn rating(&self, rating: Option<&Rating>, version: Version) -> Value {
        let Some(rating) = rating else {
            return Value::Null;
        };
        let mut shown = json!({
            "rating": rating.rating,
            "remark": rating.remark,
            "created_at": rating.requested_at,
            "contact": self.reference(&rating.contact),
            "teammate": rating.teammate.as_ref().map(|id| json!({"type": "admin", "id": id})),
        });
        if let (true, Some(object)) = (version.is_since(14), shown.as_object_mut()) {
            object.insert("updated_at".to_owned(), json!(rating.given_at));
        }
        shown
    }
}

fn priority(is_priority: bool, version: Version) -> &'static str {
    match (is_priority, version.is_since(16)) {
        (true, false) => "priority",
        (false, false) => "not_priority",
        (true, true) => "high",
        (false, true) => "none",
    }
}

fn statistics(conversation: &Conversation, place: Place) -> Value {
    let value = |key: &str| {
        let Some(number) = conversation.statistic(key) else {
            return Value::Null;
        };
        match key {
            // Recorded: the only times of a conversation that notifications write as text.
            _ if key.ends_with("_at") && place == Place::Notification => {
                Value::from(iso(number.saturating_mul(1000)).replace("+00:00", "Z"))
            }
            "last_closed_by_id" => Value::from(number.to_string()),
            _ => Value::from(number),
        }
    };
    let mut shown: Map<String, Value> =
        STATISTICS.iter().map(|key| ((*key).to_owned(), value(key))).collect();
    shown.insert("type".to_owned(), Value::from("conversation_statistics"));
    Value::Object(shown)
}

fn show_source(source: &Source, version: Version) -> Value {
    json!({
        "type": source.channel,
        "id": source.id,
        "delivered_as": source.delivered_as,
        "subject": "",
        "body": source.body,
        "author": show_author(&source.author, version),
        "attachments": [],
        "url": null,
        "redacted": false,
    })
}

fn show_author(author: &Author, version: Version) -> Value {
    let mut shown = json!({
        "id": author.id, "type": author.kind, "name": author.name, "email": author.email,
    });
    if let (true, Some(object)) = (version.is_since(14), shown.as_object_mut()) {
        object.insert("from_ai_agent".to_owned(), json!(author.kind == "bot"));
        object.insert("is_ai_answer".to_owned(), json!(author.kind == "bot"));
    }
    shown
}

fn show_part(part: &Part, version: Version) -> Value {
    let mut shown = json!({
        "type": "conversation_part",
        "id": part.id,
        "part_type": part.kind,
        "body": part.body,
        "created_at": part.at,
        "updated_at": part.at,
        "notified_at": part.at,
        "assigned_to": part.assigned_to.as_ref().map(|(kind, id)| json!({"type": kind, "id": id})),
        "author": show_author(&part.author, version),
        "attachments": [],
        "external_id": null,
        "redacted": part.is_redacted,
    });
    if let (true, Some(object)) = (version.is_since(13), shown.as_object_mut()) {
        object.insert("tags".to_owned(), json!([]));
        object.insert("event_details".to_owned(), Value::Null);
        object.insert("app_package_code".to_owned(), Value::Null);
    }
    shown
}
