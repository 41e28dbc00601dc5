//! How conversations change, whether a request or Intercom itself wants it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::contact::{Contact, ContactId, Form};
use super::conversation::{Author, Conversation, ConversationId, Part, Rating, Source, Status};
use super::conversation_view::{Parts, Place};
use super::fields::Fields;
use super::fin::Fin;
use super::refused::Refused;
use super::routes::ADMIN_ID;
use super::state::State;
use super::time::iso;
use crate::model::Timestamp;

/// The admin that is Fin.
pub(super) const FIN_ID: &str = "991267391";

/// Ids of conversations are numbers above this, as long as real ones.
const FIRST_CONVERSATION: u64 = 215_470_000_000_000;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice<'a> {
    Contact(&'a str),
    Admin,
    Fin,
}

impl State {
    /// A conversation that is not deleted.
    pub(super) fn conversation(&self, id: &str) -> Result<&Conversation, Refused> {
        self.conversations.get(id).ok_or_else(Refused::no_conversation)
    }

    /// A conversation that `voice` begins with a contact.
    pub(super) fn begin_conversation(
        &mut self,
        contact: &str,
        voice: Voice<'_>,
        body: &str,
        created_at: Option<i64>,
        now: Timestamp,
    ) -> Result<ConversationId, Refused> {
        let contact_id = Arc::clone(&self.live(contact)?.id);
        let at = created_at.unwrap_or(now.seconds());
        let is_theirs = matches!(voice, Voice::Contact(_));
        let author = self.source_author(voice)?;
        let source = Source {
            channel: "conversation".to_owned(),
            id: self.next_number(403_900_000).to_string(),
            delivered_as: if is_theirs { "customer_initiated" } else { "admin_initiated" },
            body: format!("<p>{body}</p>"),
            author,
        };
        let id = self.next_number(FIRST_CONVERSATION);
        let mut conversation = new_conversation(Arc::clone(&id), at, source, contact_id);
        if is_theirs {
            conversation.waiting_since = Some(at);
            conversation.set_statistic("first_contact_reply_at", at);
            conversation.set_statistic("last_contact_reply_at", at);
        } else {
            conversation.teammates.push(ADMIN_ID.to_owned());
        }
        self.conversation_lag.note(&id, None, now);
        self.conversations.put(conversation);
        let topic = match is_theirs {
            true => "conversation.user.created",
            false => "conversation.admin.single.created",
        };
        self.fire_conversation(topic, &id, &[], now);
        Ok(id)
    }

    fn source_author(&self, voice: Voice<'_>) -> Result<Author, Refused> {
        let mut author = self.author(voice)?;
        // The first message keeps the role; all later ones say `user` (facts: Intercom section 4.1).
        if let Voice::Contact(id) = voice
            && self.live(id)?.is_lead()
        {
            author.kind = "lead";
        }
        Ok(author)
    }

    fn author(&self, voice: Voice<'_>) -> Result<Author, Refused> {
        let owned = |text: &str| Some(text.to_owned());
        Ok(match voice {
            Voice::Contact(id) => {
                let contact = self.live(id)?;
                Author {
                    kind: "user",
                    id: id.to_owned(),
                    name: contact.text("name").map(str::to_owned),
                    email: contact.email().unwrap_or_default().to_owned(),
                }
            }
            Voice::Admin => Author {
                kind: "admin",
                id: ADMIN_ID.to_owned(),
                name: owned("Sandbox Admin"),
                email: "admin@example.com".to_owned(),
            },
            Voice::Fin => Author {
                kind: "bot",
                id: FIN_ID.to_owned(),
                name: owned("Fin"),
                email: "operator@example.com".to_owned(),
            },
        })
    }

    /// Changes a conversation, adds a part of `kind`, and fires `topic` with that part.
    fn add_part(
        &mut self,
        id: &str,
        topic: &str,
        kind: &'static str,
        voice: Voice<'_>,
        now: Timestamp,
        change: impl FnOnce(&mut Conversation, &mut Part),
    ) -> Result<(), Refused> {
        let mut conversation = self.conversation(id)?.clone();
        let author = self.author(voice)?;
        self.conversation_lag.note(&conversation.id, Some(&conversation), now);
        let mut part = Part {
            id: self.next_number(37_358_000_000),
            kind,
            body: None,
            at: now.seconds(),
            author,
            assigned_to: None,
            is_redacted: false,
        };
        change(&mut conversation, &mut part);
        if part.author.kind == "admin" && !conversation.teammates.contains(&part.author.id) {
            conversation.teammates.push(part.author.id.clone());
        }
        conversation.updated_at = conversation.updated_at.max(now.seconds());
        let part_id = Arc::clone(&part.id);
        conversation.parts.push(part);
        conversation.count("count_conversation_parts");
        self.conversations.put(conversation);
        self.fire_conversation(topic, id, &[part_id], now);
        Ok(())
    }

    /// Changes a conversation without a part.
    fn alter(
        &mut self,
        id: &str,
        topic: Option<&str>,
        now: Timestamp,
        change: impl FnOnce(&mut Conversation),
    ) -> Result<(), Refused> {
        let mut conversation = self.conversation(id)?.clone();
        self.conversation_lag.note(&conversation.id, Some(&conversation), now);
        change(&mut conversation);
        conversation.updated_at = conversation.updated_at.max(now.seconds());
        self.conversations.put(conversation);
        if let Some(topic) = topic {
            self.fire_conversation(topic, id, &[], now);
        }
        Ok(())
    }

    /// A message. One of a contact opens the conversation again.
    pub(super) fn reply(
        &mut self,
        id: &str,
        voice: Voice<'_>,
        body: &str,
        now: Timestamp,
    ) -> Result<(), Refused> {
        if let Voice::Contact(contact) = voice
            && !self.conversation(id)?.contacts.iter().any(|held| **held == *contact)
        {
            return Err(Refused::new(404, "not_found", "User Not Found"));
        }
        let topic = match voice {
            Voice::Contact(_) => "conversation.user.replied",
            Voice::Admin => "conversation.admin.replied",
            // Before 2.14 what Fin says is an admin's.
            Voice::Fin if self.webhook_version.is_since(14) => "conversation.operator.replied",
            Voice::Fin => "conversation.admin.replied",
        };
        let at = now.seconds();
        self.add_part(id, topic, "comment", voice, now, |conversation, part| {
            part.body = Some(format!("<p>{body}</p>"));
            if part.author.is_teammate() {
                answered(conversation, at);
                return;
            }
            if conversation.status == Status::Closed {
                conversation.count("count_reopens");
            }
            conversation.status = Status::Open;
            conversation.snoozed_until = None;
            conversation.waiting_since = conversation.waiting_since.or(Some(at));
            conversation.set_first("first_contact_reply_at", at);
            conversation.set_statistic("last_contact_reply_at", at);
        })
    }

    /// What only admins see.
    pub(super) fn note(&mut self, id: &str, body: &str, now: Timestamp) -> Result<(), Refused> {
        self.add_part(id, "conversation.admin.noted", "note", Voice::Admin, now, |_, part| {
            part.body = Some(format!("<p>{body}</p>"));
        })
    }

    /// Closes a conversation, perhaps with a last word.
    pub(super) fn close(
        &mut self,
        id: &str,
        voice: Voice<'_>,
        body: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let at = now.seconds();
        self.add_part(id, "conversation.admin.closed", "close", voice, now, |c, part| {
            part.body = body.map(|body| format!("<p>{body}</p>"));
            c.status = Status::Closed;
            (c.snoozed_until, c.waiting_since) = (None, None);
            c.set_first("first_close_at", at);
            c.set_first("time_to_first_close", at - c.created_at);
            c.set_statistic("last_close_at", at);
            c.set_statistic("time_to_last_close", at - c.created_at);
            c.set_statistic("last_closed_by_id", part.author.id.parse().unwrap_or(0));
        })
    }

    /// Opens a closed or snoozed conversation.
    pub(super) fn open(&mut self, id: &str, now: Timestamp) -> Result<(), Refused> {
        self.add_part(id, "conversation.admin.opened", "open", Voice::Admin, now, |c, _| {
            if c.status == Status::Closed {
                c.count("count_reopens");
            }
            c.status = Status::Open;
            c.snoozed_until = None;
        })
    }

    /// Snoozes a conversation, which stays open.
    pub(super) fn snooze(&mut self, id: &str, until: i64, now: Timestamp) -> Result<(), Refused> {
        if until <= now.seconds() {
            return Err(Refused::invalid("snoozed_until must be in the future"));
        }
        self.add_part(id, "conversation.admin.snoozed", "snoozed", Voice::Admin, now, |c, _| {
            c.status = Status::Snoozed;
            c.snoozed_until = Some(until);
        })
    }

    /// The snooze has run out.
    pub(super) fn unsnooze(&mut self, id: &str, now: Timestamp) -> Result<(), Refused> {
        if self.conversation(id)?.status != Status::Snoozed {
            return Err(Refused::invalid("the conversation is not snoozed"));
        }
        self.add_part(
            id,
            "conversation.admin.unsnoozed",
            "timer_unsnooze",
            Voice::Fin,
            now,
            |c, _| {
                c.status = Status::Open;
                c.snoozed_until = None;
            },
        )
    }

    /// Gives a conversation to an admin or a team; `0` is nobody.
    pub(super) fn assign(
        &mut self,
        id: &str,
        kind: &'static str,
        assignee: i64,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let at = now.seconds();
        let is_reopened = self.conversation(id)?.status == Status::Closed;
        let (topic, part) = match is_reopened {
            true => ("conversation.admin.open.assigned", "assign_and_reopen"),
            false => ("conversation.admin.assigned", "assignment"),
        };
        self.add_part(id, topic, part, Voice::Admin, now, |c, part| {
            let someone = Some(assignee).filter(|assignee| *assignee != 0);
            part.assigned_to = someone.map(|assignee| (kind, assignee.to_string()));
            match kind {
                "team" => c.team_assignee = someone,
                _ => c.admin_assignee = someone,
            }
            if c.status == Status::Closed {
                c.status = Status::Open;
                c.count("count_reopens");
            }
            c.set_first("first_assignment_at", at);
            c.set_first("time_to_assignment", at - c.created_at);
            c.set_statistic("last_assignment_at", at);
            c.count("count_assignments");
        })
    }

    /// The contact rates the conversation, 1 to 5.
    pub(super) fn rate(
        &mut self,
        id: &str,
        rating: u8,
        remark: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Refused> {
        if !(1..=5).contains(&rating) {
            return Err(Refused::invalid("rating must be between 1 and 5"));
        }
        let conversation = self.conversation(id)?;
        let Some(contact) = conversation.contacts.first().cloned() else {
            return Err(Refused::no_contact());
        };
        let teammate = conversation.teammates.last().cloned();
        let asked = conversation.statistic("last_close_at").unwrap_or(now.seconds());
        let given = Rating {
            rating,
            remark: remark.map(str::to_owned),
            requested_at: asked,
            given_at: now.seconds(),
            contact: Arc::clone(&contact),
            teammate,
        };
        let (topic, kind) = ("conversation.rating.added", "conversation_rating_changed");
        self.add_part(id, topic, kind, Voice::Contact(&contact), now, |c, _| {
            c.rating = Some(given);
        })
    }

    /// What Fin did.
    pub(super) fn set_fin(
        &mut self,
        id: &str,
        mut fin: Fin,
        now: Timestamp,
    ) -> Result<(), Refused> {
        fin.at = now.seconds();
        let is_escalated = matches!(
            fin.resolution,
            Some(
                super::fin::FinResolution::Escalated | super::fin::FinResolution::ProcedureHandoff
            )
        );
        let (topic, kind) = match is_escalated {
            true => ("conversation.admin.assigned", "assignment"),
            false if self.webhook_version.is_since(14) => {
                ("conversation.operator.replied", "comment")
            }
            false => ("conversation.admin.replied", "comment"),
        };
        self.add_part(id, topic, kind, Voice::Fin, now, |c, part| {
            if kind == "comment" {
                part.body = Some("<p>Fin's answer</p>".to_owned());
            }
            c.fin = Some(fin);
        })
    }

    /// Tags a conversation; again is no change.
    pub(super) fn tag_conversation(
        &mut self,
        id: &str,
        tag: &str,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let tag = self.known_tag(tag)?;
        let conversation = self.conversation(id)?;
        if conversation.tags.iter().any(|(held, _)| *held == tag) {
            return Ok(());
        }
        let newest: Vec<Arc<str>> =
            conversation.parts.last().map(|part| Arc::clone(&part.id)).into_iter().collect();
        let at = now.seconds();
        let added = json!({"type": "tag", "id": tag, "name": self.tags.get(&tag)});
        self.alter(id, None, now, |c| c.tags.push((tag, at)))?;
        let Some(mut item) = self.conversation_item(id, &newest) else {
            return Ok(());
        };
        if let Some(item) = item.as_object_mut() {
            item.insert("tags_added".to_owned(), json!({"type": "tag.list", "tags": [added]}));
        }
        self.fire("conversation_part.tag.created", item, now);
        Ok(())
    }

    /// Takes a tag from a conversation, of which Intercom tells nobody.
    pub(super) fn untag_conversation(
        &mut self,
        id: &str,
        tag: &str,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let tag = self.known_tag(tag)?;
        if !self.conversation(id)?.tags.iter().any(|(held, _)| *held == tag) {
            return Err(Refused::no_tag());
        }
        self.alter(id, None, now, |c| c.tags.retain(|(held, _)| *held != tag))
    }

    /// Lets a contact take part.
    pub(super) fn add_participant(
        &mut self,
        id: &str,
        contact: &str,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let contact = Arc::clone(&self.live(contact)?.id);
        if self.conversation(id)?.contacts.contains(&contact) {
            return Ok(());
        }
        self.alter(id, None, now, |c| c.contacts.push(Arc::clone(&contact)))?;
        self.fire_participant("attached", id, &contact, now);
        Ok(())
    }

    /// Lets a contact take part no more.
    pub(super) fn remove_participant(
        &mut self,
        id: &str,
        contact: &str,
        now: Timestamp,
    ) -> Result<(), Refused> {
        if !self.conversation(id)?.contacts.iter().any(|held| **held == *contact) {
            return Err(Refused::no_contact());
        }
        self.alter(id, None, now, |c| c.contacts.retain(|held| **held != *contact))?;
        self.fire_participant("detached", id, contact, now);
        Ok(())
    }

    /// Says whether it matters more than others.
    pub(super) fn prioritise(&mut self, id: &str, is: bool, now: Timestamp) -> Result<(), Refused> {
        let topic = "conversation.priority.updated";
        self.add_part(id, topic, "priority_changed", Voice::Admin, now, |c, _| c.is_priority = is)
    }

    /// Sets what `PUT /conversations/{id}` takes: `read`, `title` and `custom_attributes`.
    pub(super) fn set_conversation(
        &mut self,
        id: &str,
        read: Option<bool>,
        title: Option<&str>,
        attributes: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let is_newly_read = read == Some(true) && !self.conversation(id)?.is_read;
        let topic = is_newly_read.then_some("conversation.read");
        self.alter(id, topic, now, |c| {
            c.is_read = read.unwrap_or(c.is_read);
            if let Some(title) = title {
                c.title = Some(title.to_owned());
            }
            for (name, value) in attributes {
                c.custom_attributes.insert(name.clone(), value.clone());
            }
        })
    }

    /// Blackens the newest part.
    pub(super) fn redact(&mut self, id: &str, part: &str, now: Timestamp) -> Result<(), Refused> {
        let found = self.conversation(id)?.parts.iter().find(|held| *held.id == *part);
        let part = found.map(|part| Arc::clone(&part.id)).ok_or_else(Refused::no_resource)?;
        self.alter(id, None, now, |c| {
            for held in c.parts.iter_mut().filter(|held| held.id == part) {
                held.body = None;
                held.is_redacted = true;
            }
        })?;
        self.fire_conversation("conversation_part.redacted", id, &[part], now);
        Ok(())
    }

    /// Deletes a conversation for good.
    pub(super) fn delete_conversation(&mut self, id: &str, now: Timestamp) -> Result<(), Refused> {
        self.conversations.remove(id).ok_or_else(Refused::no_conversation)?;
        let item = json!({"type": "conversation", "conversation_id": id});
        self.fire("conversation.deleted", item, now);
        Ok(())
    }

    fn conversation_item(&self, id: &str, parts: &[Arc<str>]) -> Option<Value> {
        let conversation = self.conversations.get(id)?;
        let (place, parts) = (Place::Notification, Parts::Only(parts));
        Some(self.show_conversation(conversation, place, parts, self.webhook_version))
    }

    fn fire_conversation(&mut self, topic: &str, id: &str, parts: &[Arc<str>], now: Timestamp) {
        if let Some(item) = self.conversation_item(id, parts) {
            self.fire(topic, item, now);
        }
    }

    /// `conversation.contact.attached` and its like come in Intercom's inner shape, with numbers for
    /// ids (facts: Intercom section 13).
    fn fire_participant(&mut self, what: &str, id: &str, contact: &str, now: Timestamp) {
        let (Some(conversation), Some(contact)) =
            (self.conversations.get(id), self.contacts.get(contact))
        else {
            return;
        };
        let time = |seconds: i64| iso(seconds.saturating_mul(1000)).replace("+00:00", "Z");
        let number: u64 = id.parse().unwrap_or_default();
        let label = contact.text("name").unwrap_or_default();
        let data = json!({
            "added_by": {"type": "admin", "id": 991_267_390, "label": "Sandbox"},
            "participant": {"type": "user", "id": contact.id, "label": label},
            "previous_state": "state_open",
            "state": "state_open",
        });
        let item = json!({
            "conversation": {
                "parts": [{
                    "id": number % 1_000_000_007, "app_id": 3_471_906, "conversation_id": number,
                    "body": "", "created_at": time(now.seconds()), "updated_at": time(now.seconds()),
                    "owner_id": 991_267_390, "user_id": null, "channel": -1, "deleted": false,
                    "data": data.to_string(),
                }],
                "options": {"expand_for_notification": true},
                "model": {
                    "app_id": 3_471_906, "id": number, "user_id": conversation.contacts.first(),
                    "created_at": time(conversation.created_at),
                    "updated_at": time(conversation.updated_at),
                    "company_id": "-1", "original_user_id": "-1",
                    "read": conversation.is_read, "deleted": false, "dismissed": false,
                },
            },
            "contact": self.view(contact, Form::AttachedNotification),
        });
        self.fire(&format!("conversation.contact.{what}"), item, now);
    }

    /// The contact that a body names as `intercom_user_id`, `user_id`, `email` or `id`.
    pub(super) fn named_contact(&self, body: &Value) -> Result<ContactId, Refused> {
        let member = |key: &str| body.get(key).and_then(Value::as_str);
        let live = |contact: &&Contact| !contact.is_archived;
        let ids = member("intercom_user_id").or(member("id"));
        let found = match (ids, member("user_id"), member("email")) {
            (Some(id), ..) => self.contacts.live(id),
            (None, Some(user_id), _) => self.contacts.with_external_id(user_id).filter(live),
            (None, None, Some(email)) => self.contacts.with_email(email).find(live),
            (None, None, None) => {
                return Err(Refused::missing("one of id, user_id or email is required"));
            }
        };
        found.map(|contact| Arc::clone(&contact.id)).ok_or_else(Refused::no_contact)
    }
}

/// What the statistics say once a teammate has answered.
fn answered(conversation: &mut Conversation, at: i64) {
    conversation.waiting_since = None;
    conversation.set_first("first_admin_reply_at", at);
    conversation.set_first("time_to_admin_reply", at - conversation.created_at);
    conversation.set_statistic("last_admin_reply_at", at);
    conversation.set_statistic("last_assignment_admin_reply_at", at);
}

pub(super) fn new_conversation(
    id: ConversationId,
    at: i64,
    source: Source,
    contact: ContactId,
) -> Conversation {
    Conversation {
        id,
        created_at: at,
        updated_at: at,
        waiting_since: None,
        snoozed_until: None,
        title: None,
        status: Status::Open,
        is_read: false,
        is_priority: false,
        admin_assignee: None,
        team_assignee: None,
        source,
        contacts: vec![contact],
        teammates: Vec::new(),
        tags: Vec::new(),
        rating: None,
        statistics: Fields::default(),
        custom_attributes: Map::new(),
        fin: None,
        parts: Vec::new(),
    }
}
