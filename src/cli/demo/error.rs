//! Why the demo cannot go on.

use std::time::Duration;

use super::report::duration;
use crate::cli::failure::Failure;
use crate::config::ConfigErrors;
use crate::engine::EngineError;
use crate::sandbox::intercom::Refused;
use crate::server::ServerError;
use crate::store::StoreError;

/// What ends the demo early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// Something did not happen in time.
    #[error("waited {} in vain until {what}", duration(*.waited))]
    Late {
        /// What should have happened.
        what: String,
        /// How long was waited.
        waited: Duration,
    },
    /// A default script is not as the demo knows it.
    #[error("{file} has no line `{line}`; the demo does not know how to edit it")]
    Script {
        /// The script.
        file: &'static str,
        /// The line that is edited.
        line: &'static str,
    },
    /// There are too few contacts of the kind that a step needs.
    #[error("the demo found no contact to {0}; try more with `--contacts`")]
    NoContact(&'static str),
    /// The fake Intercom refused a change.
    #[error("the fake Intercom refused to {what}: {reason}")]
    Intercom {
        /// The change.
        what: &'static str,
        /// Why.
        reason: Refused,
    },
    /// The project cannot be written.
    #[error(transparent)]
    Project(Failure),
    /// The temporary folder or an address cannot be used.
    #[error("cannot set the demo up: {0}")]
    Io(#[from] std::io::Error),
    /// The configuration that the demo writes is not taken.
    #[error("the demo's own configuration was refused:\n{0}")]
    Config(#[from] ConfigErrors),
    /// The store does not take or give.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine cannot go on.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The server cannot listen.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl From<Failure> for DemoError {
    fn from(failure: Failure) -> Self {
        Self::Project(failure)
    }
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Self {
        match error {
            DemoError::Project(failure) => failure,
            other => Failure::failed(other.to_string()),
        }
    }
}
