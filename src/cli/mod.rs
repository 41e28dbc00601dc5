//! The commands: one enum, one file per command. What was asked for goes to stdout, talk to stderr.
//!
//! Exit status: 0 success, 1 the thing asked about is not well, 2 wrong usage or configuration.
//! Nothing is decided here: commands call the engine, or the API of one that runs.

mod api;
mod completions;
mod connectors;
mod dead_letters;
mod decision_view;
pub mod demo;
mod deployment;
pub mod failure;
mod held;
pub mod init;
mod output;
mod runner;
mod sandbox;
mod scripts;
mod serve;
mod signals;
mod status_view;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use self::failure::Failure;
use crate::config::LogLevel;
use crate::telemetry::{self, LogFormat};

/// How long threads may take to end after the command has.
const THREADS_END: Duration = Duration::from_secs(1);

/// Brings Brevo to the state that your scripts decide from Intercom's contacts.
#[derive(Debug, Parser)]
#[command(
    name = "tajo",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "\
Examples:
  tajo demo                                       # the whole thing on this machine, no accounts
  tajo init shop && cd shop && tajo serve         # a deployment of your own

Exit status: 0 success, 1 the thing asked about is not well, 2 wrong usage or configuration."
)]
struct Cli {
    /// The configuration.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TAJO_CONFIG",
        hide_env_values = true,
        default_value = "config/tajo.yaml"
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a configuration and the default rules.
    Init(init::Args),
    /// Shows the whole thing on this machine, with fake services and no account.
    Demo(demo::Args),
    /// Runs the engine as a service: takes webhooks, sweeps Intercom, writes to Brevo.
    ///
    /// The rules and the configuration are taken up when they change, without a restart; what is
    /// broken changes nothing. SIGHUP takes the configuration up at once. SIGTERM and Ctrl-C end the
    /// engine in order, a second one at once.
    Serve(serve::Args),
    /// Runs the fake Intercom and Brevo alone, to develop rules against.
    ///
    /// Both keep state, know the real services' rate limits, and refuse what those would refuse. The
    /// settings that point an engine at them go to stdout.
    Sandbox(sandbox::Args),
    /// Checks, syncs and shows connectors.
    #[command(subcommand)]
    Connectors(connectors::Command),
    /// Works on the rules.
    #[command(subcommand)]
    Scripts(scripts::Command),
    /// Lists, shows, retries and drops dead letters.
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Lists, shows, approves and rejects what waits for approval.
    ///
    /// What new rules, the configuration or a sweep would take away from more people than
    /// `guards.max_change` is held; everything else flows.
    #[command(subcommand)]
    Held(held::Command),
    /// Prints a script that lets a shell complete commands.
    Completions(completions::Args),
}

/// Runs the command that `args` name; the first of them is the program itself.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help is what was asked for; wrong usage is said on stderr.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run_command(cli) {
        Ok(code) => code,
        Err(Failure::OutputClosed) => Failure::OutputClosed.exit_code(),
        Err(failure) => {
            output::say(&failure.to_string());
            failure.exit_code()
        }
    }
}

fn run_command(cli: Cli) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(Box::pin(dispatch(cli)));
    runtime.shutdown_timeout(THREADS_END);
    result
}

async fn dispatch(Cli { config, command }: Cli) -> Result<ExitCode, Failure> {
    // These two say by themselves what is logged.
    if !matches!(command, Command::Serve(_) | Command::Demo(_)) {
        telemetry::init(LogLevel::Warn, LogFormat::Text)?;
    }
    match command {
        Command::Init(args) => init::run(&args),
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(&args, config).await,
        Command::Sandbox(args) => sandbox::run(args, &config).await,
        Command::Connectors(command) => connectors::run(command, &config).await,
        Command::Scripts(command) => scripts::run(command, &config).await,
        Command::DeadLetters(command) => dead_letters::run(command, &config).await,
        Command::Held(command) => held::run(command, &config).await,
        Command::Completions(args) => completions::run(&args),
    }
}

#[cfg(test)]
mod journey_tests;
#[cfg(test)]
mod tests;
