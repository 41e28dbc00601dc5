//! The judgement on files: whether they may go live.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::diagnostic::Diagnostic;
use super::files::{FolderContent, root_of};
use super::harness::run_tests;
use super::ruleset::{RuleEnvironment, RuleSet, SourceFile};
use crate::model::{Digest, RuleSetVersion};

/// Deep scripts need deep stacks; a test may run one on the thread that judges.
pub(crate) const STACK_BYTES: usize = 16 * 1024 * 1024;
/// How long all tests of a set may take together; one alone has less.
const TESTS: Duration = Duration::from_secs(60);

/// What files are judged by.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    /// The folder of the scripts.
    pub(crate) dir: &'a Path,
    /// What the scripts see of the configuration.
    pub(crate) environment: &'a RuleEnvironment,
    /// Whether a set whose tests fail stays out.
    pub(crate) require_tests: bool,
    /// What is live.
    pub(crate) live: Option<&'a RuleSet>,
}

impl Judge<'_> {
    /// Compiles files, checks them and runs their tests.
    ///
    /// # Errors
    /// Everything that keeps them from going live; at least one of it is an error.
    pub(crate) fn judge(&self, files: Vec<SourceFile>) -> Result<RuleSet, Vec<Diagnostic>> {
        // A panic must not end the thread, or no change would be seen any more.
        let judged = catch_unwind(AssertUnwindSafe(|| self.load_and_test(files)));
        judged.unwrap_or_else(|_| Err(vec![self.about_folder("loading the rules panicked")]))
    }

    fn load_and_test(&self, files: Vec<SourceFile>) -> Result<RuleSet, Vec<Diagnostic>> {
        let rules = RuleSet::from_files(files, self.environment)?;
        if !rules.has_handlers() && self.live.is_some_and(RuleSet::has_handlers) {
            let problem = self.about_folder("no script has a handler");
            return Err(vec![
                problem.with_help("an empty set of rules never replaces one that has some"),
            ]);
        }
        if !self.require_tests {
            return Ok(rules);
        }
        let problems = self.test(&rules);
        if problems.is_empty() { Ok(rules) } else { Err(problems) }
    }

    fn test(&self, rules: &RuleSet) -> Vec<Diagnostic> {
        let began = Instant::now();
        let _budget = Budget::within(TESTS);
        let report = run_tests(rules, self.dir);
        if report.is_empty() && rules.has_handlers() {
            tracing::warn!("the rules have no tests: write some in `tests`");
        }
        let failed = report.tests.into_iter().filter_map(|test| test.failure);
        let mut problems: Vec<_> = report.problems.into_iter().chain(failed).collect();
        for problem in &mut problems {
            problem.message = format!("a test fails: {}", problem.message);
        }
        if !problems.is_empty() && began.elapsed() >= TESTS {
            let message = format!("the tests take longer than {} s together", TESTS.as_secs());
            problems.insert(0, self.about_folder(&message));
        }
        problems
    }

    fn about_folder(&self, message: &str) -> Diagnostic {
        Diagnostic::error(message, root_of(self.dir))
    }
}

/// What became of trying files without letting them go live.
#[derive(Debug)]
pub struct Rehearsal {
    /// What the folder holds.
    pub folder: FolderContent,
    /// The version of the tried files under today's configuration, if they may go live.
    pub result: Result<RuleSetVersion, Vec<Diagnostic>>,
}

impl Rehearsal {
    /// What a pin is bound to.
    pub fn content(&self) -> Digest {
        self.folder.rules()
    }
}

/// Tries files of another version under today's configuration, on a thread of its own. Blocks.
///
/// # Errors
/// No thread can be started.
pub fn rehearse(
    dir: &Path,
    require_tests: bool,
    environment: &RuleEnvironment,
    files: Vec<SourceFile>,
) -> std::io::Result<Rehearsal> {
    let root = root_of(dir);
    let files = files.into_iter().map(|file| file.under(&root)).collect();
    let thread = std::thread::Builder::new().name("rules".to_owned()).stack_size(STACK_BYTES);
    let result = std::thread::scope(|scope| {
        let judge = Judge { dir, environment, require_tests, live: None };
        let judging = thread.spawn_scoped(scope, move || judge.judge(files))?;
        judging.join().map_err(|_| std::io::Error::other("the thread of the rules ended"))
    })?;
    let result = result.map(|rules| rules.version().clone());
    Ok(Rehearsal { folder: FolderContent::read(dir), result })
}
