//! `tajo scripts check`: would these rules go live, and would they do what they say?

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::live;
use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::config::Config;
use crate::engine::rule_environment;
use crate::rules::{
    Checked, Diagnostic, LiveNames, RuleEnvironment, Severity, TestReport, check_folder, run_tests,
};

/// Deep but legal scripts need more than a usual stack (facts: Rhai, "What the sandbox does not do
/// by itself").
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Checks the rules and runs their tests, as a running engine would before they go live.
///
/// Finds functions, fields, lists, tables and modules that do not exist, rules that are never
/// reached, and more, all at once. Calls no service and needs no secret, unless `--live` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tajo scripts check && git commit -am \"New rules\"
  tajo scripts check --live
  tajo scripts check --json | jq '.problems[] | select(.code == \"unknown-function\")'

Ends with 1 if something is wrong; warnings alone end with 0.")]
pub(in crate::cli) struct Args {
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
    /// Asks both accounts for their fields, attributes and lists, and finds names that neither has.
    #[arg(long)]
    live: bool,
    /// Ends with 1 for warnings, too.
    #[arg(long)]
    deny_warnings: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    ok: bool,
    /// The version that would go live; null where the rules do not load.
    version: Option<String>,
    handlers: Vec<String>,
    /// Errors, warnings and notes.
    problems: Vec<Diagnostic>,
    tests: TestReport,
    #[serde(skip)]
    denies_warnings: bool,
}

/// Runs the command.
pub(super) async fn run(args: &Args, config: &Path) -> Result<ExitCode, Failure> {
    let mut trouble = Vec::new();
    let (deployment, names) = if args.live {
        let deployment = Deployment::load(config)?;
        let names = live::names(&deployment, &mut trouble).await?;
        (deployment, Some(names))
    } else {
        (Deployment::load_without_secrets(config)?, None)
    };
    let environment = rule_environment(&deployment.config);
    let dir = deployment.config.scripts.dir.clone();
    let mut report = on_thread(move || check(&dir, &environment, names.as_ref()))?;
    report.ok &= trouble.is_empty();
    report.problems.splice(..0, trouble);
    if args.deny_warnings {
        report.denies_warnings = true;
        report.ok &= report.count(Severity::Warning) == 0;
    }
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&render(&report))?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks the rules of a configuration against the names of the accounts.
pub(in crate::cli) fn check_on_thread(
    config: &Config,
    names: LiveNames,
) -> Result<Checked, Failure> {
    let (environment, dir) = (rule_environment(config), config.scripts.dir.clone());
    on_thread(move || check_folder(&dir, &environment, Some(&names)))
}

/// Does something on a thread whose stack is deep enough.
fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let thread = std::thread::Builder::new().name("rules".to_owned()).stack_size(STACK_BYTES);
    thread.spawn(work)?.join().map_err(|_| Failure::failed("checking the rules panicked"))
}

impl Report {
    fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }
}

fn check(dir: &Path, environment: &RuleEnvironment, names: Option<&LiveNames>) -> Report {
    report(dir, check_folder(dir, environment, names))
}

fn report(dir: &Path, checked: Checked) -> Report {
    let Checked { problems, rules } = checked;
    let is_sound = !problems.iter().any(Diagnostic::is_error);
    let Some(rules) = rules else { return Report { problems, ..Report::default() } };
    let tests = run_tests(&rules, dir);
    Report {
        ok: is_sound && tests.is_ok(),
        version: Some(rules.version().to_string()),
        handlers: rules.handlers().map(str::to_owned).collect(),
        problems,
        tests,
        denies_warnings: false,
    }
}

fn render(report: &Report) -> String {
    let mut parts: Vec<String> = report.problems.iter().map(Diagnostic::render).collect();
    let errors = report.count(Severity::Error);
    let warnings = report.count(Severity::Warning);
    let counted = |count: usize, what: &str| output::count(count as u64, what);
    let Some(version) = &report.version else {
        parts.push(format!("✗ {}: these rules would not go live", counted(errors, "error")));
        return parts.join("\n\n");
    };
    // What is wrong with a test stands above already.
    let mut tests = report.tests.clone();
    let said = live::places(&report.problems);
    tests.problems.retain(|p| !said.contains(&(&p.file, p.line, p.column, &p.message)));
    if report.tests.is_empty() {
        parts.push("warning: the rules have no tests: write some in `tests`".to_owned());
    } else {
        parts.push(tests.to_string());
    }
    let handlers = match report.handlers.as_slice() {
        [] => "no handler".to_owned(),
        handlers => handlers.join(", "),
    };
    parts.push(if !report.tests.is_ok() {
        "✗ a test fails: these rules would not go live".to_owned()
    } else if errors > 0 {
        format!("✗ {}, version {version}", counted(errors, "error"))
    } else if report.denies_warnings && warnings > 0 {
        format!("✗ {}, which `--deny-warnings` does not take", counted(warnings, "warning"))
    } else {
        format!("✓ {handlers}, version {version}")
    });
    parts.join("\n\n")
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{SourceFile, check_files};

    fn checked(files: &[(&str, &str)]) -> Report {
        let files = files
            .iter()
            .map(|(path, text)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() })
            .collect();
        let dir = Path::new("scripts");
        report(dir, check_files(files, &RuleEnvironment::default(), None, dir))
    }

    #[test]
    fn what_is_broken_is_shown_with_its_place() {
        let report = checked(&[(
            "scripts/mapping.rhai",
            "fn map_contact(contact, brevo) {\n    brevo.X = nothing(1);\n}\n",
        )]);
        let text = render(&report);
        assert!(!report.ok);
        assert!(text.contains("--> scripts/mapping.rhai:2:15"), "{text}");
        assert!(text.ends_with("✗ 1 error: these rules would not go live"), "{text}");
    }

    #[test]
    fn rules_with_a_failing_test_would_not_go_live() {
        let report = checked(&[
            (
                "scripts/mapping.rhai",
                "fn map_contact(contact, brevo) { brevo.email = contact.email; }",
            ),
            ("scripts/tests/x.rhai", "fn test_sums() { assert_eq(1 + 1, 3); }"),
        ]);
        let text = render(&report);
        assert!(!report.ok && text.contains("FAILED  scripts/tests/x.rhai test_sums"), "{text}");
    }

    #[test]
    fn rules_that_pass_show_their_version() {
        let report = checked(&[
            (
                "scripts/mapping.rhai",
                "fn map_contact(contact, brevo) { brevo.email = contact.email; }",
            ),
            ("scripts/tests/x.rhai", "fn test_sums() { assert_eq(1 + 1, 2); }"),
        ]);
        let version = report.version.clone().unwrap();
        let expected = format!(
            "ok      scripts/tests/x.rhai test_sums\n1 passed, 0 failed\n\n✓ map_contact, \
             version {version}"
        );
        assert_eq!(render(&report), expected);
    }
}
