//! Workspaces of Intercom that were connected, each with its token.

use secrecy::SecretString;

use crate::model::{Digest, Timestamp};

/// A workspace, and the token by which it is read. The store keeps the token sealed.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The workspace, as in `app_id` of its notifications.
    pub app_id: String,
    /// Its name.
    pub name: Option<String>,
    /// Where it is hosted, as Intercom spells it.
    pub region: Option<String>,
    /// The version of the API to ask for; none: what the configuration says.
    pub api_version: Option<String>,
    /// How it was connected.
    pub way: Way,
    /// When.
    pub connected_at: Timestamp,
    /// The token.
    pub token: SecretString,
    /// The digest of the configuration's token at that time, in whose stead this one is used.
    pub instead_of: Option<Digest>,
}

/// How a workspace was connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Somebody allowed it in Intercom.
    OAuth,
    /// Somebody handed its token in.
    Token,
}

impl Way {
    /// The word for it in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OAuth => "oauth",
            Self::Token => "token",
        }
    }

    /// Reads [`Self::as_str`] back.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::OAuth, Self::Token].into_iter().find(|way| way.as_str() == text)
    }
}
