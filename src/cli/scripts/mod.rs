//! `tajo scripts`: work on the rules without an engine.

mod anonymise;
mod check;
mod coverage_view;
mod definitions;
mod disguise;
mod history;
mod input;
mod live;
mod record;
mod restore;
mod rollback;
mod run;
mod test;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

pub(in crate::cli) use self::check::check_on_thread;
pub(in crate::cli) use self::live::brevo_names;
use super::failure::Failure;

/// Deep but legal scripts need more than a usual stack (ARCHITECTURE, "The sandbox of the rules").
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Works on the rules.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Checks the rules and runs their tests, as a running engine would before they go live.
    Check(check::Args),
    /// Runs the tests of the rules.
    ///
    /// Tests are the functions `test_…` in `scripts/tests`. Calls no service, needs no secret, no
    /// store and no running engine.
    Test(test::Args),
    /// Runs one record through the rules as they are in the files now, and shows what each line
    /// decides.
    ///
    /// The record comes from a file or from the store, with its relations; nothing is written, and
    /// no service is called. A running engine is not disturbed.
    Run(run::Args),
    /// Records a stored contact as a sample without the person in it, and a test that pins what the
    /// rules decide today.
    ///
    /// Look through both before you share them: what people wrote into fields of your own is not
    /// always known by its looks.
    Record(record::Args),
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
        Command::Test(args) => test::run(args, config).await,
        Command::Run(args) => run::run(args, config).await,
        Command::Record(args) => record::run(args, config).await,
        Command::History(args) => history::run(&args, config).await,
        Command::Rollback(args) => rollback::run(&args, config).await,
        Command::Definitions(args) => definitions::run(&args, config),
    }
}

/// Does what runs scripts on a thread with the stack that they may need, and waits for it.
fn on_rules_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let thread = std::thread::Builder::new().name("rules".to_owned()).stack_size(STACK_BYTES);
    thread.spawn(work)?.join().map_err(|_| Failure::failed("running the rules panicked"))
}
