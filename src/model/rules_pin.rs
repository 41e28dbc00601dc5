//! The pin on a version of the rules.

use serde::{Deserialize, Serialize};

use super::{Digest, Timestamp};

/// A version that stays live, whatever the folder holds, until the rules in the folder change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesPin {
    /// The version that was asked for. Another configuration makes another version of its files.
    pub version: String,
    /// What the folder held when it was pinned.
    pub content: Digest,
    /// When it was pinned.
    pub at: Timestamp,
    /// Who pinned it, as far as that is known.
    pub author: Option<String>,
}
