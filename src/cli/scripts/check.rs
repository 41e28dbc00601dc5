//! `tajo scripts check`: would these rules go live?

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::engine::rule_environment;
use crate::rules::{Diagnostic, RuleSet, TestReport, run_tests};

/// Deep but legal scripts need more than a usual stack (facts: Rhai, "What the sandbox does not do
/// by itself").
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Checks the rules and runs their tests, as a running engine would before they go live.
///
/// Calls no service and needs no secret.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  tajo scripts check && git commit -am \"New rules\"

Ends with 1 if the rules would not go live.")]
pub(in crate::cli) struct Args {
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    ok: bool,
    /// The version that would go live; null where the rules do not load.
    version: Option<String>,
    handlers: Vec<String>,
    /// Errors and warnings.
    problems: Vec<Diagnostic>,
    tests: TestReport,
}

/// Runs the command.
pub(super) fn run(args: &Args, config: &Path) -> Result<ExitCode, Failure> {
    let deployment = Deployment::load_without_secrets(config)?;
    let environment = rule_environment(&deployment.config);
    let dir = deployment.config.scripts.dir.clone();
    let thread = std::thread::Builder::new().name("rules".to_owned()).stack_size(STACK_BYTES);
    let checking = thread.spawn(move || check(&dir, RuleSet::load(&dir, &environment)))?;
    let report = checking.join().map_err(|_| Failure::failed("checking the rules panicked"))?;
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&render(&report))?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(dir: &Path, loaded: Result<RuleSet, Vec<Diagnostic>>) -> Report {
    let rules = match loaded {
        Ok(rules) => rules,
        Err(problems) => return Report { problems, ..Report::default() },
    };
    let tests = run_tests(&rules, dir);
    Report {
        ok: tests.is_ok(),
        version: Some(rules.version().to_string()),
        handlers: rules.handlers().map(str::to_owned).collect(),
        problems: rules.warnings().to_vec(),
        tests,
    }
}

fn render(report: &Report) -> String {
    let mut parts: Vec<String> = report.problems.iter().map(Diagnostic::render).collect();
    let Some(version) = &report.version else {
        let errors = report.problems.iter().filter(|problem| problem.is_error()).count();
        let errors = output::count(errors as u64, "error");
        parts.push(format!("✗ {errors}: these rules would not go live"));
        return parts.join("\n\n");
    };
    if report.tests.is_empty() {
        parts.push("warning: the rules have no tests: write some in `tests`".to_owned());
    } else {
        parts.push(report.tests.to_string());
    }
    parts.push(match report.ok {
        true => format!("✓ {}, version {version}", report.handlers.join(", ")),
        false => "✗ a test fails: these rules would not go live".to_owned(),
    });
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{RuleEnvironment, SourceFile};

    fn checked(files: &[(&str, &str)]) -> Report {
        let files = files
            .iter()
            .map(|(path, text)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() })
            .collect();
        check(Path::new("scripts"), RuleSet::from_files(files, &RuleEnvironment::default()))
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
