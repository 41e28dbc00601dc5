//! `tajo completions`: a script that lets a shell complete commands.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::failure::Failure;
use super::{Cli, output};

/// Prints a script that lets a shell complete commands.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  tajo completions bash > ~/.local/share/bash-completion/completions/tajo")]
pub(super) struct Args {
    /// The shell.
    shell: Shell,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tajo", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
