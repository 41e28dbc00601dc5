//! What can go wrong when Intercom is read or written.

use std::time::Duration;

use crate::http::{Retry, TransportError, TransportErrorKind};
use crate::model::RecordId;

/// Why a call of Intercom failed. Calls are already repeated where that can help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntercomError {
    /// The rate limit was still exceeded after the last attempt.
    #[error("intercom's rate limit is exceeded: other apps of the workspace may be using it up")]
    RateLimited {
        /// The wait that Intercom asked for, if it did.
        retry_after: Option<Duration>,
    },
    /// The token is wrong, revoked or of a closed workspace.
    #[error("intercom refuses the access token (`{code}`): make a new one in the Developer Hub")]
    Unauthorized {
        /// Intercom's own word.
        code: String,
    },
    /// The token is good, but not for this.
    #[error("the access token lacks a permission for this: tick its scope in the Developer Hub")]
    MissingScope,
    /// The workspace's plan or state does not allow it.
    #[error("intercom forbids this (`{code}`): {message}")]
    Forbidden {
        /// Intercom's own word.
        code: String,
        /// Intercom's explanation, without addresses.
        message: String,
    },
    /// The object was never there, is deleted, or was merged into another.
    #[error("intercom has no such object")]
    NotFound {
        /// The survivor, where Intercom names it (API 2.16 and later).
        merged_into: Option<RecordId>,
    },
    /// A contact with this address or `external_id` is there already.
    #[error("intercom has {} with these details already: {id}", existing(*archived))]
    AlreadyExists {
        /// Its id.
        id: RecordId,
        /// True if it is archived, which stands in the way all the same.
        archived: bool,
    },
    /// Intercom does not accept the request.
    #[error("intercom refuses the request ({status} `{code}`): {message}")]
    Invalid {
        /// The HTTP status.
        status: u16,
        /// Intercom's own word.
        code: String,
        /// Intercom's explanation, without addresses.
        message: String,
    },
    /// Somebody else scrolls over the companies of this workspace.
    #[error(
        "another scroll over companies is running in this workspace: it ends a minute after its last page"
    )]
    ScrollBusy,
    /// A scroll over companies was started less than a minute ago.
    #[error("a scroll over companies started less than a minute ago: one starts in a minute")]
    ScrollTooSoon,
    /// The scroll waited too long or lost its place.
    #[error("the scroll over companies has expired: start it again")]
    ScrollExpired,
    /// Intercom, or what stands before it, failed.
    #[error("intercom answers {status} without saying why")]
    Server {
        /// The HTTP status.
        status: u16,
    },
    /// A success without a body, which happens (facts: Intercom section 1).
    #[error("intercom answers without a body")]
    Empty,
    /// No response.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A success that is not what the call gives.
    #[error("intercom's answer to {route} cannot be read: {reason}")]
    Malformed {
        /// The path of the call as a pattern.
        route: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The client cannot be built from its settings.
    #[error("the intercom client cannot be set up: {reason}")]
    Settings {
        /// Which setting and why.
        reason: &'static str,
    },
}

impl IntercomError {
    /// True if Intercom as a whole seems to be away, so that no other read is worth trying now.
    pub fn is_service_down(&self) -> bool {
        match self {
            Self::Server { .. } | Self::Empty => true,
            Self::Transport(error) => is_passing(error),
            _ => false,
        }
    }

    /// True if the token or the plan must be changed before any read works.
    pub fn is_refused_access(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::MissingScope | Self::Forbidden { .. })
    }

    /// True if the object is gone, which a deletion may rest on.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// True if a scroll over companies cannot start now.
    pub fn is_scroll_busy(&self) -> bool {
        matches!(self, Self::ScrollBusy | Self::ScrollTooSoon)
    }

    /// Whether the same read may succeed later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::RateLimited { retry_after: Some(wait) } => Retry::After(*wait),
            Self::RateLimited { retry_after: None } | Self::Server { .. } | Self::Empty => {
                Retry::Now
            }
            Self::Transport(error) if is_passing(error) => Retry::Now,
            _ => Retry::Never,
        }
    }

    /// True if Intercom may have done what it was asked for.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Server { .. } | Self::Empty | Self::Malformed { .. } => true,
            Self::Transport(error) => error.was_sent,
            _ => false,
        }
    }

    /// True if Intercom certainly did nothing, so that even a call that moves a position may be
    /// made again.
    pub(super) fn was_not_accepted(&self) -> bool {
        match self {
            Self::RateLimited { .. } => true,
            Self::Transport(error) => !error.was_sent,
            _ => false,
        }
    }
}

fn existing(archived: bool) -> &'static str {
    if archived { "an archived contact" } else { "a contact" }
}

fn is_passing(error: &TransportError) -> bool {
    use TransportErrorKind::{Connect, Reset, Timeout};
    matches!(error.kind, Connect | Timeout | Reset)
}
