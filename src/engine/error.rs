//! What can keep the engine from going on. What concerns one record is never one of these: it ends
//! that record's journey, not the engine's.

use std::sync::Arc;

use crate::brevo::{BrevoError, ErrorKind};
use crate::intercom::IntercomError;
use crate::store::StoreError;

/// A failure that is nobody's record's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The store does not take or give.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Intercom does not answer as it should.
    #[error(transparent)]
    Intercom(#[from] IntercomError),
    /// Brevo does not answer as it should.
    #[error(transparent)]
    Brevo(#[from] BrevoError),
    /// One failure of which several had to hear.
    #[error(transparent)]
    Shared(#[from] Arc<EngineError>),
    /// The engine stops.
    #[error("the engine is stopping")]
    Stopping,
    /// A worker of the engine ended by itself; what it worked on is done again.
    #[error("a worker ended unexpectedly: {0}")]
    Worker(String),
    /// Something is not configured that this needs.
    #[error("{0}")]
    Unconfigured(String),
}

impl EngineError {
    /// True where nothing goes on until somebody acts: the key is refused.
    pub fn is_refused_key(&self) -> bool {
        match self {
            Self::Brevo(error) => error.kind() == ErrorKind::Key,
            Self::Intercom(error) => error.is_refused_access(),
            Self::Shared(error) => error.is_refused_key(),
            _ => false,
        }
    }
}
