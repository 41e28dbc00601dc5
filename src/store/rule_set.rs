//! The history of the rules, as the store keeps it: each judgement on a version, and the pin.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, Origin, Timestamp};

/// A judgement on the rules: they went live, or were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSetEntry {
    /// The version that was judged.
    pub version: String,
    /// When it was judged.
    pub at: Timestamp,
    /// The system user who wrote it, as far as that is known.
    pub author: Option<String>,
    /// True if it went live.
    pub live: bool,
    /// Its files with their content, by path; tests and samples are among them.
    pub files: BTreeMap<String, String>,
    /// Why it was refused.
    pub error: Option<String>,
    /// Where the reason is.
    pub origin: Option<Origin>,
}

/// A judgement without the content of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSetSummary {
    /// The version that was judged.
    pub version: String,
    /// When it was judged.
    pub at: Timestamp,
    /// The system user who wrote it, as far as that is known.
    pub author: Option<String>,
    /// True if it went live.
    pub live: bool,
    /// Why it was refused.
    pub error: Option<String>,
    /// Where the reason is.
    pub origin: Option<Origin>,
    /// The version that was live when it was judged; none: it was the first.
    pub base: Option<String>,
    /// What differs from that version.
    pub changes: FileChanges,
    /// Digests of the files' content, by path.
    pub files: BTreeMap<String, Digest>,
}

/// Which files differ between two versions, by path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileChanges {
    /// Only in the newer one.
    pub added: Vec<String>,
    /// In both, with another content.
    pub changed: Vec<String>,
    /// Only in the older one.
    pub removed: Vec<String>,
}

impl FileChanges {
    /// Compares the files of two versions.
    pub fn between<T: PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Self {
        let mut changes = Self::default();
        for (path, content) in new {
            match old.get(path) {
                None => changes.added.push(path.clone()),
                Some(before) if before != content => changes.changed.push(path.clone()),
                Some(_) => {}
            }
        }
        changes.removed = old.keys().filter(|path| !new.contains_key(*path)).cloned().collect();
        changes
    }

    /// True if the files are the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}
