//! Sweeps of Intercom, as the store remembers them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

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
}

impl Resource {
    /// The word for it on the command line and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tags => "tags",
            Self::Companies => "companies",
            Self::Contacts => "contacts",
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Objects read.
    pub seen: u64,
    /// Objects that Intercom says there are; null where it does not say.
    pub expected: Option<u64>,
    /// True once this resource was read to its end.
    pub done: bool,
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
    /// Where the contacts go on: the cursor after the last durable page.
    pub cursor: Option<String>,
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
