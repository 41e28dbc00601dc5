//! Changes from inside Intercom to conversations and events, for tests and the demo.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::conversation_change::Voice;
use super::conversation_view::{Parts, Place};
use super::fin::Fin;
use super::refused::Refused;
use super::version::Version;
use super::{Changed, IntercomSandbox, State};
use crate::model::Timestamp;

impl IntercomSandbox {
    /// All conversations, newest `updated_at` first, as lists show them.
    pub fn conversations(&self) -> Vec<Value> {
        let state = self.shared.state();
        let shown =
            |held| state.show_conversation(held, Place::Rest, Parts::Unseen, Version::DEFAULT);
        state.conversations.newest_first().map(shown).collect()
    }

    /// A conversation with its parts as REST shows it; `None` if it is deleted.
    pub fn conversation(&self, id: &str) -> Option<Value> {
        let state = self.shared.state();
        let held = state.conversations.get(id)?;
        Some(state.show_conversation(held, Place::Rest, Parts::Newest, Version::DEFAULT))
    }

    /// The version of the API that notifications are in, such as `2.15`: Fin's words differ.
    pub fn set_webhook_version(&self, version: &str) {
        self.shared.state().webhook_version = Version::parse(version);
    }

    /// A contact writes for the first time.
    pub fn create_conversation(&self, contact: &str, body: &str) -> Result<Changed, Refused> {
        self.change(|state, now| {
            let voice = Voice::Contact(contact);
            let id = state.begin_conversation(contact, voice, body, None, now)?;
            Ok(id.to_string())
        })
    }

    /// An admin writes to a contact.
    pub fn start_conversation(&self, contact: &str, body: &str) -> Result<Changed, Refused> {
        self.change(|state, now| {
            let id = state.begin_conversation(contact, Voice::Admin, body, None, now)?;
            Ok(id.to_string())
        })
    }

    /// A contact that takes part replies, which opens the conversation again.
    pub fn reply_as_contact(
        &self,
        id: &str,
        contact: &str,
        body: &str,
    ) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.reply(id, Voice::Contact(contact), body, now))
    }

    /// An admin replies.
    pub fn reply_as_admin(&self, id: &str, body: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.reply(id, Voice::Admin, body, now))
    }

    /// Fin replies.
    pub fn reply_as_fin(&self, id: &str, body: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.reply(id, Voice::Fin, body, now))
    }

    /// An admin writes what only admins see.
    pub fn note_conversation(&self, id: &str, body: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.note(id, body, now))
    }

    /// An admin closes a conversation.
    pub fn close_conversation(&self, id: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.close(id, Voice::Admin, None, now))
    }

    /// An admin opens a conversation again.
    pub fn open_conversation(&self, id: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.open(id, now))
    }

    /// An admin snoozes a conversation.
    pub fn snooze_conversation(&self, id: &str, until: Timestamp) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.snooze(id, until.seconds(), now))
    }

    /// The snooze runs out.
    pub fn unsnooze_conversation(&self, id: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.unsnooze(id, now))
    }

    /// An admin gives a conversation to an admin; `0` is nobody.
    pub fn assign_conversation(&self, id: &str, admin: i64) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.assign(id, "admin", admin, now))
    }

    /// The first contact rates a conversation, 1 to 5.
    pub fn rate_conversation(
        &self,
        id: &str,
        rating: u8,
        remark: Option<&str>,
    ) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.rate(id, rating, remark, now))
    }

    /// Fin does something in a conversation.
    pub fn set_fin(&self, id: &str, fin: Fin) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.set_fin(id, fin, now))
    }

    /// Tags a conversation, making the tag if there is none of that name.
    pub fn tag_conversation(&self, id: &str, tag: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| {
            let tag = state.tag_named(tag);
            state.tag_conversation(id, &tag, now)
        })
    }

    /// Takes a tag from a conversation; no notification tells.
    pub fn untag_conversation(&self, id: &str, tag: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| {
            let tag = state.tag_named(tag);
            state.untag_conversation(id, &tag, now)
        })
    }

    /// Tags a company, making the tag if there is none of that name.
    pub fn tag_company(&self, id: &str, tag: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| {
            let tag = state.tag_named(tag);
            state.tag_company(id, &tag, true, now)
        })
    }

    /// Takes a tag from a company.
    pub fn untag_company(&self, id: &str, tag: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| {
            let tag = state.tag_named(tag);
            state.tag_company(id, &tag, false, now)
        })
    }

    /// Gives a tag another name; no notification tells.
    pub fn rename_tag(&self, tag: &str, name: &str) -> Result<Changed, Refused> {
        self.change(|state, _| {
            let id = state.tag_named(tag);
            state.tags.insert(Arc::clone(&id), name.to_owned());
            Ok(id.to_string())
        })
    }

    /// Lets a contact take part.
    pub fn add_participant(&self, id: &str, contact: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.add_participant(id, contact, now))
    }

    /// Lets a contact take part no more.
    pub fn remove_participant(&self, id: &str, contact: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.remove_participant(id, contact, now))
    }

    /// Says whether a conversation matters more than others.
    pub fn prioritise_conversation(&self, id: &str, is: bool) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.prioritise(id, is, now))
    }

    /// The contact has read a conversation.
    pub fn read_conversation(&self, id: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| {
            state.set_conversation(id, Some(true), None, &Map::new(), now)
        })
    }

    /// Sets custom attributes of a conversation; no notification tells.
    pub fn set_conversation_attributes(
        &self,
        id: &str,
        attributes: &Map<String, Value>,
    ) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.set_conversation(id, None, None, attributes, now))
    }

    /// Blackens a part.
    pub fn redact_part(&self, id: &str, part: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.redact(id, part, now))
    }

    /// Deletes a conversation for good.
    pub fn delete_conversation(&self, id: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.delete_conversation(id, now))
    }

    /// A contact decides on a kind of messages: `opt_in` or `opt_out`.
    pub fn set_subscription(
        &self,
        contact: &str,
        subscription: &str,
        consent: &str,
    ) -> Result<Changed, Refused> {
        self.converse(contact, |state, now| {
            state.set_subscription(contact, subscription, consent, now).map(drop)
        })
    }

    /// Updates a company by its Intercom id.
    pub fn update_company(&self, id: &str, patch: &Value) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.update_company(id, patch, now))
    }

    /// Deletes a company.
    pub fn delete_company(&self, id: &str) -> Result<Changed, Refused> {
        self.converse(id, |state, now| state.delete_company(id, now))
    }

    /// A contact did something at a time; again in the same second is no second event.
    pub fn submit_event(
        &self,
        contact: &str,
        name: &str,
        at: Timestamp,
        metadata: &Value,
    ) -> Result<Changed, Refused> {
        let none = Map::new();
        let metadata = metadata.as_object().unwrap_or(&none);
        self.converse(contact, |state, now| {
            state.take_event(contact, name, at.seconds(), metadata, now)
        })
    }

    /// All events of a contact, newest first, however old.
    pub fn events(&self, contact: &str) -> Vec<Value> {
        self.shared.state().events_of(contact)
    }

    /// The open scroll over companies is gone, as if it had waited too long.
    pub fn expire_scroll(&self) {
        self.shared.state().companies.lose_scroll();
    }

    /// After each of the next `pages` pages of contacts or conversations the last one of the list
    /// changes and so moves to its front, where a reader that goes on never sees it.
    pub fn drift_while_paging(&self, pages: usize) {
        self.shared.state().drifting_pages = pages;
    }

    fn converse(
        &self,
        id: &str,
        change: impl FnOnce(&mut State, Timestamp) -> Result<(), Refused>,
    ) -> Result<Changed, Refused> {
        self.change(|state, now| change(state, now).map(|()| id.to_owned()))
    }
}
