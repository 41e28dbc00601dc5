//! `tajo scripts`: work on the rules without an engine.

mod check;
mod definitions;
mod history;
mod live;
mod restore;
mod rollback;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use super::failure::Failure;

/// Works on the rules.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Checks the rules and runs their tests, as a running engine would before they go live.
    Check(check::Args),
    /// Lists the versions of the rules, newest first, or shows what one of them changed.
    History(history::Args),
    /// Lets an earlier version of the rules go live again.
    Rollback(rollback::Args),
    /// Writes definition files for editors: what rules can call, and what the accounts have.
    Definitions(definitions::Args),
}

/// Runs the command.
pub(super) async fn run(command: Command, config: &Path) -> Result<ExitCode, Failure> {
    match command {
        Command::Check(args) => check::run(&args, config).await,
        Command::History(args) => history::run(&args, config).await,
        Command::Rollback(args) => rollback::run(&args, config).await,
        Command::Definitions(args) => definitions::run(&args, config),
    }
}
