//! `tajo scripts history`: which versions of the rules there were, and what differs between them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use similar::TextDiff;

use super::rollback::no_such_version;
use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::engine::{VersionView, find_version, rule_history};
use crate::store::{FileChanges, Store};

/// How much of a version is shown in a table. Half as much names one.
const SHORT: usize = 8;
/// What is shown instead of a diff where there is nothing to compare with.
const FORGOTTEN: &str = "that version is no longer kept\n";

/// Lists the versions of the rules, newest first, or shows what one of them changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tajo scripts history                 # when, by whom, which files, whether it went live
  tajo scripts history 0a1b2c3d        # what that version changed, as a unified diff
  tajo scripts history --json | jq -r '.[] | select(.live).version'

Refused versions are kept, too. The newest 200 are, and whatever is live or pinned.")]
pub(in crate::cli) struct Args {
    /// The version to show; its first four characters or more, as far as they name one.
    #[arg(id = "which", value_name = "VERSION")]
    version: Option<String>,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// One version and what it changed.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    view: VersionView,
    /// A unified diff against the version that was live before.
    diff: String,
}

/// Runs the command.
pub(super) async fn run(args: &Args, config: &Path) -> Result<ExitCode, Failure> {
    let store = Deployment::load_without_secrets(config)?.open_to_read()?;
    let history = rule_history(&store, None).await?;
    match &args.version {
        None if args.json => output::print_json(&history)?,
        None => output::print(&render(&history))?,
        Some(asked) => {
            let shown = show(&store, history, asked).await?;
            if args.json {
                output::print_json(&shown)?;
            } else {
                output::print(&render_one(&shown))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(
    store: &impl Store,
    history: Vec<VersionView>,
    asked: &str,
) -> Result<Shown, Failure> {
    let version = find_version(asked, &store.rule_sets().await?).map_err(no_such_version)?;
    let entry = store.rule_set(version.clone()).await?;
    let view = history.into_iter().find(|view| view.version == version);
    let (Some(entry), Some(view)) = (entry, view) else {
        return Err(Failure::failed(format!("version {version} is no longer kept")));
    };
    let base = match &view.base {
        Some(base) => store.rule_set(base.clone()).await?,
        None => None,
    };
    let is_forgotten = base.is_none() && view.base.is_some();
    let base = base.map(|base| base.files).unwrap_or_default();
    // Against nothing, every line of every file would be new.
    let diff = if is_forgotten { FORGOTTEN.to_owned() } else { diff(&base, &entry.files) };
    Ok(Shown { diff, view })
}

/// A unified diff of all files.
fn diff(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let paths: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for path in paths {
        let (before, after) = (old.get(path), new.get(path));
        if before == after {
            continue;
        }
        let name = |side: char, is_there: bool| match is_there {
            true => format!("{side}/{path}"),
            false => "/dev/null".to_owned(),
        };
        let (from, to) = (name('a', before.is_some()), name('b', after.is_some()));
        let texts = TextDiff::from_lines(
            before.map_or("", String::as_str),
            after.map_or("", String::as_str),
        );
        let _ = write!(text, "{}", texts.unified_diff().header(&from, &to));
    }
    text
}

fn render(history: &[VersionView]) -> String {
    if history.is_empty() {
        return "no rules were live yet".to_owned();
    }
    let mut table = output::table(&["VERSION", "AT", "AUTHOR", "STATE", "CHANGED", "REASON"]);
    for view in history {
        table.add_row([
            short(&view.version).to_owned(),
            view.at.clone(),
            view.author.clone().unwrap_or_else(|| "-".to_owned()),
            state(view).to_owned(),
            changed(view),
            reason(view).unwrap_or_default(),
        ]);
    }
    output::render_table(&mut table)
}

fn render_one(Shown { view, diff }: &Shown) -> String {
    let author = view.author.as_deref().unwrap_or("an unknown user");
    let mut text = format!("version {}, {}, by {author}: {}\n", view.version, view.at, state(view));
    if let Some(reason) = reason(view) {
        let _ = writeln!(text, "{reason}");
    }
    let _ = match &view.base {
        Some(base) => writeln!(text, "against {base}, which was live before\n"),
        None => writeln!(text, "the first version\n"),
    };
    if diff.is_empty() {
        text.push_str("no file differs: the configuration that scripts see does\n");
    }
    text.push_str(diff);
    text
}

/// The beginning of a version, as tables show it.
pub(super) fn short(version: &str) -> &str {
    version.get(..SHORT).unwrap_or(version)
}

fn state(view: &VersionView) -> &'static str {
    match (view.live, view.pinned, view.went_live) {
        (true, true, _) => "live, pinned",
        (true, false, _) => "live",
        (false, true, _) => "pinned",
        (false, false, true) => "was live",
        (false, false, false) => "refused",
    }
}

fn changed(view: &VersionView) -> String {
    let FileChanges { added, changed, removed } = &view.files;
    if view.base.is_none() {
        return format!("the first: {}", output::count(added.len() as u64, "file"));
    }
    if view.files.is_empty() {
        return "the configuration".to_owned();
    }
    let marked = |mark: &'static str, paths: &[String]| -> Vec<String> {
        paths.iter().map(|path| format!("{mark}{path}")).collect()
    };
    let all = [marked("", changed), marked("+", added), marked("-", removed)];
    all.concat().join(", ")
}

fn reason(view: &VersionView) -> Option<String> {
    let error = view.error.as_ref()?;
    let place = match error.line {
        0 => error.file.clone(),
        line => format!("{}:{line}:{}", error.file, error.column),
    };
    Some(format!("{place}: {}", error.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RuleError;

    fn view(version: &str) -> VersionView {
        VersionView {
            version: version.to_owned(),
            at: "2026-01-10T04:39:55Z".to_owned(),
            author: Some("ann".to_owned()),
            went_live: true,
            live: false,
            pinned: false,
            error: None,
            base: Some("99aa00bb11cc22dd".to_owned()),
            files: FileChanges {
                changed: vec!["scripts/mapping.rhai".to_owned()],
                ..FileChanges::default()
            },
        }
    }

    fn refused() -> VersionView {
        VersionView {
            went_live: false,
            author: None,
            files: FileChanges {
                added: vec!["scripts/tags.rhai".to_owned()],
                changed: Vec::new(),
                removed: vec!["scripts/old.rhai".to_owned()],
            },
            error: Some(RuleError {
                message: "there is no function `split_nam`".to_owned(),
                file: "scripts/tags.rhai".to_owned(),
                line: 2,
                column: 13,
            }),
            ..view("5e4f3a2b1c0d9e8f")
        }
    }

    #[test]
    fn the_history_is_a_table() {
        let live = VersionView { live: true, pinned: true, ..view("0a1b2c3d4e5f6071") };
        let other = VersionView { files: FileChanges::default(), ..view("99aa00bb11cc22dd") };
        let first = VersionView {
            base: None,
            files: FileChanges { added: vec!["a".to_owned(); 3], ..FileChanges::default() },
            ..view("1234567812345678")
        };
        insta::assert_snapshot!(render(&[live, refused(), other, first]), @r#"
        VERSION   AT                    AUTHOR  STATE         CHANGED                                REASON
        0a1b2c3d  2026-01-10T04:39:55Z  ann     live, pinned  scripts/mapping.rhai
        5e4f3a2b  2026-01-10T04:39:55Z  -       refused       +scripts/tags.rhai, -scripts/old.rhai  scripts/tags.rhai:2:13: there is no function `split_nam`
        99aa00bb  2026-01-10T04:39:55Z  ann     was live      the configuration
        12345678  2026-01-10T04:39:55Z  ann     was live      the first: 3 files
        "#);
    }

    #[test]
    fn one_version_shows_what_it_changed() {
        let texts = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
        };
        let old = texts(&[("scripts/a.rhai", "one\ntwo\n"), ("scripts/old.rhai", "x\n")]);
        let new = texts(&[("scripts/a.rhai", "one\nthree\n"), ("scripts/tags.rhai", "y\n")]);
        let shown = Shown { view: refused(), diff: diff(&old, &new) };
        insta::assert_snapshot!(render_one(&shown), @r#"
        version 5e4f3a2b1c0d9e8f, 2026-01-10T04:39:55Z, by an unknown user: refused
        scripts/tags.rhai:2:13: there is no function `split_nam`
        against 99aa00bb11cc22dd, which was live before

        --- a/scripts/a.rhai
        +++ b/scripts/a.rhai
        @@ -1,2 +1,2 @@
         one
        -two
        +three
        --- a/scripts/old.rhai
        +++ /dev/null
        @@ -1 +0,0 @@
        -x
        --- /dev/null
        +++ b/scripts/tags.rhai
        @@ -0,0 +1 @@
        +y
        "#);
    }
}
