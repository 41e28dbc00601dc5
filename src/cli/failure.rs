//! How a command ends when it cannot do what it was asked: a text for people, and an exit status.

use std::fmt;
use std::process::ExitCode;

use crate::brevo::BrevoError;
use crate::config::{ConfigErrors, Problem};
use crate::engine::{EngineError, LockError};
use crate::http::TransportError;
use crate::intercom::IntercomError;
use crate::server::ServerError;
use crate::store::StoreError;
use crate::telemetry::TelemetryError;

/// The exit status for wrong usage or configuration; clap uses the same.
const USAGE: u8 = 2;

/// Why a command could not do what it was asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The configuration is wrong or lacks something: status 2.
    Config(Vec<Problem>),
    /// The command was called in a way that makes no sense: status 2.
    Usage(Text),
    /// It did not work: status 1.
    Failed(Text),
    /// Whoever read the output went away, as `head` does: status 0, nothing is said.
    OutputClosed,
}

/// What is said about a failure, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    message: String,
    help: Option<String>,
}

impl Failure {
    /// Something that did not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(Text { message: message.into(), help: None })
    }

    /// A call that makes no sense, beyond what clap finds.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(Text { message: message.into(), help: None })
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        match &mut self {
            Self::Usage(text) | Self::Failed(text) => text.help = Some(help.into()),
            Self::Config(_) | Self::OutputClosed => {}
        }
        self
    }

    /// What happened, in one line.
    pub fn message(&self) -> &str {
        match self {
            Self::Config(problems) => {
                problems.first().map_or("", |problem| problem.message.as_str())
            }
            Self::Usage(text) | Self::Failed(text) => &text.message,
            Self::OutputClosed => "nobody reads the output",
        }
    }

    /// The exit status.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Usage(_) => ExitCode::from(USAGE),
            Self::Failed(_) => ExitCode::FAILURE,
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    let gap = if index > 0 { "\n\n" } else { "" };
                    write!(f, "{gap}{problem}")?;
                }
                Ok(())
            }
            Self::Usage(text) | Self::Failed(text) => {
                write!(f, "error: {}", text.message)?;
                match &text.help {
                    Some(help) => write!(f, "\n help: {help}"),
                    None => Ok(()),
                }
            }
            Self::OutputClosed => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors.problems().to_vec())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::failed(error.to_string()),
        }
    }
}

impl From<TelemetryError> for Failure {
    fn from(error: TelemetryError) -> Self {
        match error {
            TelemetryError::Filter(_) => Self::usage(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}

/// What can go wrong below simply did not work.
macro_rules! failed_from {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::failed(error.to_string())
            }
        })+
    };
}

failed_from!(
    BrevoError,
    EngineError,
    IntercomError,
    LockError,
    ServerError,
    StoreError,
    TransportError,
    serde_json::Error,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_happened_and_then_what_to_do() {
        let failure = Failure::failed("the engine does not answer").with_help("start `tajo serve`");
        let expected = "error: the engine does not answer\n help: start `tajo serve`";
        assert_eq!(failure.to_string(), expected);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(Failure::from(closed).exit_code(), ExitCode::SUCCESS);
    }

    #[test]
    fn usage_and_configuration_end_with_2() {
        assert_eq!(Failure::usage("x").exit_code(), ExitCode::from(2));
        assert_eq!(Failure::Config(Vec::new()).exit_code(), ExitCode::from(2));
        assert_eq!(Failure::failed("x").exit_code(), ExitCode::from(1));
    }
}
