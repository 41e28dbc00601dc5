//! `tajo connectors`: connect it, is it connected, read it now, how does it stand.

mod connect;
mod plans;
mod progress;
mod status;
mod sync;
pub(super) mod test;

use std::path::Path;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::failure::Failure;

/// Connects, checks, syncs and shows connectors.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Connects a workspace by OAuth: shows the address to open, takes the code, keeps the token.
    ///
    /// Needs `client_id` and `client_secret` of a public app. A running engine takes whoever comes
    /// back from Intercom by itself, if Intercom reaches it; else the code is pasted here.
    Connect(connect::Args),
    /// Checks that a service can be read, one line for each thing that is needed.
    Test(test::Args),
    /// Reads Intercom now, and waits until Brevo is as the rules decide.
    ///
    /// The running engine does the work; without one this command does it itself.
    Sync(sync::Args),
    /// Shows what was synced, what became of it and what is not as it should be.
    Status(status::Args),
}

/// What can be read as a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Source {
    /// Intercom.
    Intercom,
}

/// Runs the command.
pub(super) async fn run(command: Command, config: &Path) -> Result<ExitCode, Failure> {
    match command {
        Command::Connect(args) => connect::run(args, config).await,
        Command::Test(args) => test::run(args, config).await,
        Command::Sync(args) => sync::run(args, config).await,
        Command::Status(args) => status::run(args, config).await,
    }
}

#[cfg(test)]
pub(super) use test::{checks_of_brevo, checks_of_intercom};
