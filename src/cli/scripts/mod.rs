//! `tajo scripts`: work on the rules without an engine.

mod check;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use super::failure::Failure;

/// Works on the rules.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Checks the rules and runs their tests, as a running engine would before they go live.
    Check(check::Args),
}

/// Runs the command.
pub(super) fn run(command: &Command, config: &Path) -> Result<ExitCode, Failure> {
    match command {
        Command::Check(args) => check::run(args, config),
    }
}
