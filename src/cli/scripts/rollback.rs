//! `tajo scripts rollback`: an earlier version of the rules goes live again.

use std::path::Path;
use std::process::ExitCode;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::history::short;
use super::restore::Restoration;
use crate::cli::deployment::{Deployment, Running};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::runner::{busy, lock_and_open};
use crate::engine::{RollbackError, VersionError, find_version, roll_back_in, rule_environment};
use crate::model::{Clock, SystemClock};
use crate::rules::{Diagnostic, FolderContent, SourceFile, process_user, rehearse};
use crate::store::Store;

/// Where versions are found.
const HOW_TO_FIND: &str = "`tajo scripts history` lists them";

/// Lets an earlier version of the rules go live again.
///
/// The version is pinned: it stays live, over restarts, too, until the rules in the folder change
/// and are good. With `--write` its files are written back into the folder instead.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tajo scripts history                       # which versions there are
  tajo scripts rollback 0a1b2c3d             # that one is live at once, the files stay as they are
  tajo scripts rollback 0a1b2c3d --write     # its files are in the folder again

Rolling back to what the folder holds ends a pin. A version that does not work with today's
configuration is refused. Ends with 1 where nothing was rolled back.")]
pub(in crate::cli) struct Args {
    /// The version; its first four characters or more, as far as they name one.
    #[arg(id = "which", value_name = "VERSION")]
    version: Option<String>,
    /// Writes the version's files into the folder of the scripts, and removes others.
    #[arg(long)]
    write: bool,
    /// Overwrites and removes files whose content no version has, too.
    #[arg(long, requires = "write")]
    force: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What was done, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    version: String,
    /// The version that its files make with today's configuration.
    live: String,
    pinned: bool,
    written: Vec<String>,
    removed: Vec<String>,
}

/// What a running engine answers.
#[derive(Debug, Deserialize)]
struct Answer {
    live: String,
    pinned: bool,
}

/// Runs the command.
pub(super) async fn run(args: &Args, config: &Path) -> Result<ExitCode, Failure> {
    let Some(asked) = &args.version else {
        return Err(Failure::usage("which version?").with_help(HOW_TO_FIND));
    };
    let deployment = Deployment::load_without_secrets(config)?;
    let store = deployment.open_to_read()?;
    let version = find_version(asked, &store.rule_sets().await?).map_err(no_such_version)?;
    let report = if args.write {
        write(args, &deployment, &store, version).await?
    } else {
        pin(&deployment, version).await?
    };
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&render(&report, args.write, &deployment.config.scripts.dir))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The failure to know which version is meant.
pub(super) fn no_such_version(error: VersionError) -> Failure {
    let text = error.to_string();
    let failure = match error {
        VersionError::Unknown(_) => Failure::failed(text),
        VersionError::Unusable(_) | VersionError::Ambiguous { .. } => Failure::usage(text),
    };
    failure.with_help(HOW_TO_FIND)
}

async fn pin(deployment: &Deployment, version: String) -> Result<Report, Failure> {
    let author = process_user();
    let (live, pinned) = match deployment.running()? {
        Running::Service { api, .. } => {
            let body = json!({"version": version, "author": author});
            let answer: Option<Answer> =
                api.change(Method::POST, "/api/v1/rules/rollback", Some(body)).await?;
            let answer = answer.ok_or_else(|| {
                Failure::failed(format!("the running engine knows no version {version}"))
            })?;
            (answer.live, answer.pinned)
        }
        Running::Command { pid } => return Err(busy(pid)),
        Running::Nobody => {
            let (store, _lock) = lock_and_open(deployment)?;
            let now = SystemClock.now();
            let done = roll_back_in(&store, &deployment.config, &version, author, now).await;
            store.close().await;
            let done = done.map_err(refused)?;
            (done.live, done.pinned)
        }
    };
    Ok(Report { version, live, pinned, written: Vec::new(), removed: Vec::new() })
}

fn refused(error: RollbackError) -> Failure {
    match error {
        RollbackError::Refused { version, problems } => does_not_work(&version, &problems),
        other => Failure::failed(other.to_string()),
    }
}

fn does_not_work(version: &str, problems: &[Diagnostic]) -> Failure {
    let problems: Vec<String> = problems.iter().map(Diagnostic::render).collect();
    output::say(&problems.join("\n\n"));
    let text = format!("version {version} does not work with today's configuration");
    Failure::failed(text).with_help("nothing was changed")
}

async fn write(
    args: &Args,
    deployment: &Deployment,
    store: &impl Store,
    version: String,
) -> Result<Report, Failure> {
    let scripts = &deployment.config.scripts;
    let dir = &scripts.dir;
    let entry = store.rule_set(version.clone()).await?;
    let entry = entry.ok_or_else(|| no_such_version(VersionError::Unknown(version.clone())))?;
    let wanted: Vec<_> =
        entry.files.into_iter().map(|(path, text)| SourceFile { path, text }).collect();
    let environment = rule_environment(&deployment.config);
    let tried = rehearse(dir, scripts.require_tests, &environment, wanted.clone())?;
    let live = match (tried.result, args.force) {
        (Ok(today), _) => today.to_string(),
        (Err(_), true) => version.clone(),
        (Err(problems), false) => return Err(does_not_work(&version, &problems)),
    };
    let there = there(dir, &tried.folder, args.force)?;
    let plan = Restoration::plan(&there, &wanted, &store.rule_texts().await?);
    if !plan.unsaved.is_empty() && !args.force {
        let files = plan.unsaved.join(", ");
        let failure = Failure::failed(format!("in no version of the history: {files}"));
        return Err(failure.with_help("`--force` overwrites or removes them; they would be lost"));
    }
    plan.carry_out(dir).map_err(|error| {
        let text = format!("cannot write into {}: {error}", dir.display());
        Failure::failed(text).with_help("let this user write there, or roll back without `--write`")
    })?;
    // The folder decides from now on.
    if store.rules_pin().await?.is_some() {
        let _ = pin(deployment, version.clone()).await?;
    }
    let written = plan.writes.into_keys().collect();
    Ok(Report { version, live, pinned: false, written, removed: plan.removals })
}

/// What the folder holds. One that cannot be read as a whole may hold what would be lost.
fn there(dir: &Path, folder: &FolderContent, force: bool) -> Result<Vec<SourceFile>, Failure> {
    match folder.files() {
        Ok(files) => Ok(files.to_vec()),
        Err(_) if force || !dir.exists() => Ok(Vec::new()),
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(Diagnostic::render).collect();
            output::say(&problems.join("\n\n"));
            let text = format!("what {} holds cannot be read", dir.display());
            Err(Failure::failed(text).with_help("`--force` writes the version's files over it"))
        }
    }
}

fn render(report: &Report, is_write: bool, dir: &Path) -> String {
    let version = short(&report.version);
    let dir = dir.display();
    let mut text = match (is_write, report.pinned) {
        (true, _) if report.written.is_empty() && report.removed.is_empty() => {
            format!("{dir} holds version {version} already")
        }
        (true, _) => format!(
            "{dir} holds version {version} again: {} written, {} removed",
            output::count(report.written.len() as u64, "file"),
            report.removed.len(),
        ),
        (false, true) => format!(
            "version {version} is pinned: it is live wherever an engine runs, until the rules in \
             {dir} change"
        ),
        (false, false) => format!("{dir} holds version {version} already, so nothing is pinned"),
    };
    if report.live != report.version {
        text.push_str(&format!(
            "\nwith today's configuration its files make version {}",
            short(&report.live)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(pinned: bool, written: &[&str]) -> Report {
        let version = "0a1b2c3d4e5f6071".to_owned();
        let written = written.iter().map(|path| (*path).to_owned()).collect();
        Report { live: version.clone(), version, pinned, written, removed: Vec::new() }
    }

    #[test]
    fn what_was_done_is_said() {
        fn case(report: &Report, is_write: bool, expected: &str) {
            assert_eq!(render(report, is_write, Path::new("scripts")), expected);
        }
        let pinned = "version 0a1b2c3d is pinned: it is live wherever an engine runs, until the \
                      rules in scripts change";
        case(&report(true, &[]), false, pinned);
        let there = "scripts holds version 0a1b2c3d already, so nothing is pinned";
        case(&report(false, &[]), false, there);
        let again = "scripts holds version 0a1b2c3d again: 1 file written, 0 removed";
        case(&report(false, &["mapping.rhai"]), true, again);
        case(&report(false, &[]), true, "scripts holds version 0a1b2c3d already");
        let other = Report { live: "ffeeddccbbaa9988".to_owned(), ..report(false, &[]) };
        let text = render(&other, false, Path::new("scripts"));
        assert!(text.ends_with("\nwith today's configuration its files make version ffeeddcc"));
    }

    #[test]
    fn a_version_that_is_not_known_says_how_to_find_one() {
        fn case(error: VersionError, expected: &str, code: u8) {
            let failure = no_such_version(error);
            let help = "\n help: `tajo scripts history` lists them";
            assert_eq!(failure.to_string(), format!("error: {expected}{help}"));
            assert_eq!(failure.exit_code(), ExitCode::from(code));
        }
        case(VersionError::Unknown("abcd".to_owned()), "no version begins with `abcd`", 1);
        let unusable = "`ab` is no version: give at least 4 of its first characters";
        case(VersionError::Unusable("ab".to_owned()), unusable, 2);
        let versions = vec!["abcd1".to_owned(), "abcd2".to_owned()];
        let ambiguous = VersionError::Ambiguous { asked: "abcd".to_owned(), versions };
        case(ambiguous, "`abcd` is ambiguous: abcd1, abcd2 begin so", 2);
    }
}
