//! `tajo scripts test`: the rules' own tests, and what of the rules they run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::{coverage_view, on_rules_thread, watch};
use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::engine::rule_environment;
use crate::rules::{
    Coverage, Diagnostic, Recorder, RuleEnvironment, RuleSet, TestOutcome, TestReport, TestRun,
    run_selected_tests,
};

/// How much slower rules may be while what they run is counted.
const COUNTING_COSTS: u32 = 10;

/// Runs the tests of the rules.
///
/// Tests are the functions `test_…` in `scripts/tests`. Calls no service, needs no secret, no store and
/// no running engine. Coverage counts lines inside functions; constants and comments do not count.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  tajo scripts test
  tajo scripts test vip                     # only tests whose name or file contains `vip`
  tajo scripts test --coverage --min-coverage 90
  tajo scripts test --lcov target/lcov.info
  tajo scripts test --watch

Ends with 1 if a test fails, if no test matches, or if less is covered than --min-coverage.")]
pub(in crate::cli) struct Args {
    /// Only tests whose name or file contains this.
    filter: Option<String>,
    /// Shows which lines and functions of the rules the tests run.
    #[arg(long)]
    coverage: bool,
    /// Writes the coverage for editors and other tools, in the format of lcov.
    #[arg(long, value_name = "FILE")]
    lcov: Option<PathBuf>,
    /// Fails if fewer lines than this are run, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    min_coverage: Option<f64>,
    /// Runs them again at every save, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("must be a number from 0 to 100".to_owned()),
    }
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    ok: bool,
    /// The version that was tested; null where the rules do not load.
    version: Option<String>,
    passed: usize,
    failed: usize,
    /// Why nothing was run, or what else is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// What keeps rules or files of tests from being run at all.
    problems: Vec<Diagnostic>,
    tests: Vec<TestOutcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<coverage_view::Summary>,
}

/// Runs the command.
pub(super) async fn run(args: Args, config: &Path) -> Result<ExitCode, Failure> {
    // Wrong usage and a configuration that is broken from the start end the command in any case.
    let deployment = Deployment::load_without_secrets(config)?;
    let config = config.to_owned();
    if args.watch {
        let paths = vec![deployment.config.scripts.dir.clone(), config.clone()];
        return watch::at_every_save(paths, move || test(&args, &config).map(drop)).await;
    }
    let tested = tokio::task::spawn_blocking(move || test(&args, &config)).await;
    tested.map_err(|_| Failure::failed("the tests panicked"))?
}

/// Runs the tests once, prints what came of it.
fn test(args: &Args, config: &Path) -> Result<ExitCode, Failure> {
    let deployment = Deployment::load_without_secrets(config)?;
    let dir = deployment.config.scripts.dir.clone();
    let environment = rule_environment(&deployment.config);
    let (wanted, own) = (args.clone(), dir.clone());
    let (report, coverage) = on_rules_thread(move || report(&wanted, &own, environment))?;
    if let (Some(file), Some((_, coverage))) = (&args.lcov, &coverage) {
        write_lcov(file, &dir, coverage)?;
    }
    let shown = coverage.filter(|_| args.coverage);
    if args.json {
        output::print_json(&report)?;
    } else {
        let mut text = render(&report);
        if let Some((rules, coverage)) = &shown {
            text = format!("{text}\n\n{}", coverage_view::render(coverage, rules));
        }
        output::print(&text)?;
        if let Some(message) = &report.message {
            let level = if report.ok { "warning" } else { "error" };
            output::say(&format!("{level}: {message}"));
        }
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(
    args: &Args,
    dir: &Path,
    mut environment: RuleEnvironment,
) -> (Report, Option<(RuleSet, Coverage)>) {
    let recorder = args.counts().then(Recorder::default);
    if recorder.is_some() {
        environment.limits.time *= COUNTING_COSTS;
    }
    let mut rules = match RuleSet::load(dir, &environment) {
        Ok(rules) => rules,
        Err(problems) => {
            let message = Some("the rules do not load, so nothing was tested".to_owned());
            return (Report { problems, message, ..Report::default() }, None);
        }
    };
    if let Some(recorder) = &recorder {
        // Nobody else knows the set yet.
        let _ = recorder.attach(&mut rules);
    }
    let run = TestRun { filter: args.filter.as_deref(), recorder: recorder.as_ref() };
    let TestReport { tests, problems } = run_selected_tests(&rules, dir, &run);
    let failed = tests.iter().filter(|test| test.failure.is_some()).count();
    let coverage = recorder.map(|recorder| recorder.coverage(&rules));
    let mut report = Report {
        ok: failed == 0 && problems.is_empty(),
        version: Some(rules.version().to_string()),
        passed: tests.len() - failed,
        failed,
        message: None,
        problems,
        tests,
        coverage: coverage.as_ref().map(coverage_view::Summary::of),
    };
    args.judge(&mut report, coverage.as_ref());
    (report, coverage.map(|coverage| (rules, coverage)))
}

impl Args {
    /// True if what runs is to be counted.
    fn counts(&self) -> bool {
        self.coverage || self.lcov.is_some() || self.min_coverage.is_some()
    }

    /// Adds what is not well beside the tests themselves.
    fn judge(&self, report: &mut Report, coverage: Option<&Coverage>) {
        if report.tests.is_empty() && report.problems.is_empty() {
            let (ok, message) = match &self.filter {
                Some(filter) => (false, format!("no test matches `{filter}`")),
                None => (true, "the rules have no tests: write some in `tests`".to_owned()),
            };
            (report.ok, report.message) = (ok, Some(message));
        }
        if let (Some(least), Some(coverage)) = (self.min_coverage, coverage)
            && coverage.percent() < least
        {
            report.ok = false;
            let run = coverage_view::percent(coverage.percent());
            report.message = Some(format!("{run} of the lines ran, at least {least} % are wanted"));
        }
    }
}

fn render(report: &Report) -> String {
    if report.version.is_none() {
        return report.problems.iter().map(Diagnostic::render).collect::<Vec<_>>().join("\n\n");
    }
    TestReport { tests: report.tests.clone(), problems: report.problems.clone() }.to_string()
}

/// Paths in it are those on this machine, so that editors find the files.
fn write_lcov(file: &Path, dir: &Path, coverage: &Coverage) -> Result<(), Failure> {
    let dir = std::path::absolute(dir)?;
    let on_disk = |shown: &str| {
        let inside = shown.split_once('/').map_or(shown, |(_, inside)| inside);
        dir.join(inside).display().to_string()
    };
    let failed = |error: std::io::Error| {
        Failure::failed(format!("cannot write {}: {error}", file.display()))
    };
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(file, coverage.lcov(on_disk)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "\
fn map_contact(contact, brevo) {
    brevo.email = contact.email;
    if contact.role == \"lead\" {
        brevo.LEAD = true;
    }
}
";

    /// The arguments of a command line, and a folder with rules and a test.
    fn setup(line: &str, test: &str) -> (Args, tempfile::TempDir) {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let line: Line =
            clap::Parser::parse_from(["test"].into_iter().chain(line.split_whitespace()));
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("scripts/tests")).unwrap();
        std::fs::write(folder.path().join("scripts/mapping.rhai"), RULES).unwrap();
        std::fs::write(folder.path().join("scripts/tests/a.rhai"), test).unwrap();
        (line.args, folder)
    }

    fn reported(line: &str, test: &str) -> Report {
        let (args, folder) = setup(line, test);
        report(&args, &folder.path().join("scripts"), RuleEnvironment::default()).0
    }

    const PASSES: &str = "fn test_a() { assert_eq(run_contact(#{ email: \"a@example.com\" }).email, \"a@example.com\"); }";

    #[test]
    fn a_filter_takes_part_of_a_name_or_file() {
        fn case(filter: &str, run: usize, ok: bool, message: Option<&str>) {
            let report = reported(filter, PASSES);
            let found = (report.tests.len(), report.ok, report.message.as_deref());
            assert_eq!(found, (run, ok, message), "{filter}");
        }
        case("", 1, true, None);
        case("test_a", 1, true, None);
        case("a.rhai", 1, true, None);
        case("test_b", 0, false, Some("no test matches `test_b`"));
    }

    #[test]
    fn no_tests_at_all_is_a_warning() {
        let report = reported("", "// none");
        let warning = "the rules have no tests: write some in `tests`";
        assert_eq!((report.ok, report.message.as_deref()), (true, Some(warning)));
    }

    #[test]
    fn less_coverage_than_wanted_fails() {
        assert!(reported("--min-coverage 66", PASSES).ok);
        let report = reported("--min-coverage 67%", PASSES);
        let message = "66.6 % of the lines ran, at least 67 % are wanted";
        assert_eq!((report.ok, report.message.as_deref()), (false, Some(message)));
    }

    #[test]
    fn lcov_has_the_files_as_they_lie_on_this_machine() {
        let (args, folder) = setup("--coverage", PASSES);
        let scripts = folder.path().join("scripts");
        let (_, coverage) = report(&args, &scripts, RuleEnvironment::default());
        let file = folder.path().join("out/lcov.info");
        write_lcov(&file, &scripts, &coverage.unwrap().1).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let source = format!("SF:{}", scripts.join("mapping.rhai").display());
        assert!(text.contains(&source) && text.contains("DA:4,0"), "{text}");
    }
}
