//! A conversation as the workspace keeps it. Its JSON is in `conversation_view.rs`.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::contact::ContactId;
use super::fields::Fields;
use super::fin::Fin;

pub(super) type ConversationId = Arc<str>;

/// One conversation. Times are seconds since 1970, as Intercom keeps them for conversations.
#[derive(Debug, Clone)]
pub(super) struct Conversation {
    pub(super) id: ConversationId,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) waiting_since: Option<i64>,
    pub(super) snoozed_until: Option<i64>,
    pub(super) title: Option<String>,
    pub(super) status: Status,
    pub(super) is_read: bool,
    pub(super) is_priority: bool,
    pub(super) admin_assignee: Option<i64>,
    pub(super) team_assignee: Option<i64>,
    pub(super) source: Source,
    pub(super) contacts: Vec<ContactId>,
    /// The admins that took part.
    pub(super) teammates: Vec<String>,
    pub(super) tags: Vec<(Arc<str>, i64)>,
    pub(super) rating: Option<Rating>,
    /// What is set of the numbers of `statistics`; times in seconds.
    pub(super) statistics: Fields<&'static str>,
    pub(super) custom_attributes: Map<String, Value>,
    pub(super) fin: Option<Fin>,
    pub(super) parts: Vec<Part>,
}

/// Whose turn it is. A snoozed conversation is open as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Open,
    Closed,
    Snoozed,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Snoozed => "snoozed",
        }
    }
}

/// The message that began a conversation.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The channel: `conversation`, `email`, `whatsapp` and so on.
    pub(super) channel: String,
    pub(super) id: String,
    pub(super) delivered_as: &'static str,
    pub(super) body: String,
    pub(super) author: Author,
}

/// Who wrote something.
#[derive(Debug, Clone)]
pub(super) struct Author {
    /// `user`, `lead`, `admin` or `bot`.
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) email: String,
}

impl Author {
    /// True for who answers: an admin or Fin.
    pub(super) fn is_teammate(&self) -> bool {
        matches!(self.kind, "admin" | "bot")
    }
}

/// Something that happened in a conversation after its first message.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) id: Arc<str>,
    pub(super) kind: &'static str,
    pub(super) body: Option<String>,
    pub(super) at: i64,
    pub(super) author: Author,
    pub(super) assigned_to: Option<(&'static str, String)>,
    pub(super) is_redacted: bool,
}

/// What the contact thought of the conversation.
#[derive(Debug, Clone)]
pub(super) struct Rating {
    pub(super) rating: u8,
    pub(super) remark: Option<String>,
    /// When it was asked for.
    pub(super) requested_at: i64,
    /// When it was given.
    pub(super) given_at: i64,
    pub(super) contact: ContactId,
    pub(super) teammate: Option<String>,
}

impl Conversation {
    /// What a time or number of `statistics` is, if it is set.
    pub(super) fn statistic(&self, key: &str) -> Option<i64> {
        self.statistics.get(key).and_then(Value::as_i64)
    }

    pub(super) fn set_statistic(&mut self, key: &'static str, value: i64) {
        self.statistics.set(key, json!(value));
    }

    /// Sets a statistic that is about the first time of something.
    pub(super) fn set_first(&mut self, key: &'static str, value: i64) {
        if self.statistic(key).is_none() {
            self.set_statistic(key, value);
        }
    }

    pub(super) fn count(&mut self, key: &'static str) {
        let counted = self.statistic(key).unwrap_or(0);
        self.set_statistic(key, counted + 1);
    }
}

/// The conversations of a workspace.
///
/// INVARIANT: every conversation is listed once, newest first.
#[derive(Debug, Default)]
pub(super) struct ConversationTable {
    by_id: HashMap<ConversationId, Box<Conversation>>,
    newest_first: BTreeSet<(Reverse<i64>, ConversationId)>,
}

impl ConversationTable {
    /// Adds a conversation, or replaces the one with its id.
    pub(super) fn put(&mut self, conversation: Conversation) {
        self.remove(&conversation.id.clone());
        let position = (Reverse(conversation.updated_at), Arc::clone(&conversation.id));
        self.newest_first.insert(position);
        self.by_id.insert(Arc::clone(&conversation.id), Box::new(conversation));
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Conversation> {
        let gone = self.by_id.remove(id)?;
        self.newest_first.remove(&(Reverse(gone.updated_at), Arc::clone(&gone.id)));
        Some(*gone)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Conversation> {
        self.by_id.get(id).map(Box::as_ref)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All, newest `updated_at` first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Conversation> {
        self.newest_first.iter().filter_map(|(_, id)| self.get(id))
    }

    /// The same, from after a position on.
    pub(super) fn after(&self, updated_at: i64, id: &str) -> impl Iterator<Item = &Conversation> {
        let position = (Reverse(updated_at), ConversationId::from(id));
        self.newest_first
            .range((Bound::Excluded(position), Bound::Unbounded))
            .filter_map(|(_, id)| self.get(id))
    }

    /// Gives the conversations of a contact that was merged to the one that took it over.
    pub(super) fn hand_over(&mut self, from: &str, into: &ContactId) {
        for conversation in self.by_id.values_mut() {
            if conversation.contacts.iter().any(|contact| **contact == *from) {
                conversation.contacts.retain(|contact| **contact != *from && contact != into);
                conversation.contacts.push(Arc::clone(into));
            }
        }
    }
}
