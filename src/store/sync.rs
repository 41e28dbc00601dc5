//! Sweeps of Intercom, as the store remembers them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{RecordId, RecordKind, Timestamp};

/// How much a sync reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncKind {
    /// Everything.
    Full,
    /// What changed since the last one.
    Incremental,
}

/// What a sync reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Names of tags.
    Tags,
    /// Companies.
    Companies,
    /// Users and leads.
    Contacts,
    /// Conversations.
    Conversations,
    /// Custom events of contacts.
    Events,
}

impl Resource {
    /// The word for it on the command line and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tags => "tags",
            Self::Companies => "companies",
            Self::Contacts => "contacts",
            Self::Conversations => "conversations",
            Self::Events => "events",
        }
    }

    /// The kind of record that a sweep of it proves the presence of; none where absence says nothing:
    /// all tags come in one answer, and events are never taken back.
    pub fn proves(self) -> Option<RecordKind> {
        match self {
            Self::Companies => Some(RecordKind::Company),
            Self::Contacts => Some(RecordKind::Contact),
            Self::Conversations => Some(RecordKind::Conversation),
            Self::Tags | Self::Events => None,
        }
    }
}

/// How a sync stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// It waits for its turn.
    Queued,
    /// It reads.
    Running,
    /// It read everything that it was asked to.
    Done,
    /// It ended without reading everything.
    Incomplete,
    /// It could not read at all.
    Failed,
}

impl SyncState {
    /// True once it will not go on.
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// How far a sync has come with one resource.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Objects read, each counted once.
    pub seen: u64,
    /// Objects that Intercom says there are; null where it does not say, or where only some of them
    /// were asked for.
    pub expected: Option<u64>,
    /// True once this resource was read to its end and nothing is known to be missing.
    pub done: bool,
    /// Pages read, repeated ones included.
    pub pages: u64,
    /// Rows that were stored, repeated ones included.
    pub rows: u64,
    /// Only what changed since was asked for, so that the figures say nothing about the whole.
    pub partial: bool,
    /// When this resource began to be read. What changed later may not be among what was seen.
    pub started_at: Option<Timestamp>,
    /// When this resource was ended with, complete or not.
    pub ended_at: Option<Timestamp>,
    /// From when on changes were asked for.
    pub since: Option<Timestamp>,
    /// Which pass over the list is under way: the first one reads it, later ones look for what moved.
    pub pass: u32,
    /// When that pass began.
    pub pass_began: Option<Timestamp>,
    /// Where that pass goes on: the position after the last durable page.
    pub cursor: Option<String>,
    /// Why it is not complete.
    pub error: Option<String>,
}

impl Progress {
    /// True while there is something left to read.
    pub fn is_open(&self) -> bool {
        self.ended_at.is_none() && !self.done
    }

    /// True if what Intercom says there is was seen, as far as it says anything.
    pub fn is_complete(&self) -> bool {
        self.expected.is_none_or(|expected| self.seen >= expected)
    }
}

/// A live record that a sweep did not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its id.
    pub id: RecordId,
    /// True if an earlier complete sweep did not see it either.
    pub was_missed: bool,
}

/// A sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sync {
    /// Its id.
    pub id: String,
    /// Full or incremental.
    #[serde(rename = "type")]
    pub kind: SyncKind,
    /// How it stands.
    pub state: SyncState,
    /// How far it has come.
    pub resources: BTreeMap<Resource, Progress>,
    /// Only what changed since.
    pub since: Option<Timestamp>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it began to read.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What happened before the first sync is sent as events, too.
    #[serde(default)]
    pub backfills: bool,
    /// Why it is incomplete or failed.
    pub error: Option<String>,
}
