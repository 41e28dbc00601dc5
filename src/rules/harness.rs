//! The runner of the scripts' own tests: every `fn test_…()` in `scripts/tests/*.rhai`.
//!
//! A test takes a sample, runs the rules on it and asserts what was decided. One that asserts
//! nothing fails. Tests see all that scripts see, so that a library's functions can be tested, too.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rhai::{AST, CallFnOptions, Dynamic, Engine, Scope};
use serde::Serialize;

use super::calls::{CallScope, Functions, check_calls};
use super::check;
use super::code::Code;
use super::diagnostic::Diagnostic;
use super::error::{ScriptError, refuse};
use super::evaluation::Evaluation;
use super::files::Role;
use super::limits::Deadline;
use super::ruleset::{RuleSet, SourceFile};
use super::sandbox;
use super::test_decision;
use super::trial::{self, DEFAULT_AS_OF};
use super::view::{equals, to_json};

/// What became of the tests of a rule set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TestReport {
    /// All tests in the order of their files.
    pub tests: Vec<TestOutcome>,
    /// What kept files from being run at all.
    pub problems: Vec<Diagnostic>,
}

impl TestReport {
    /// True if nothing failed; also true where there are no tests.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty() && self.tests.iter().all(|test| test.failure.is_none())
    }

    /// True if there was nothing to run.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty() && self.problems.is_empty()
    }

    /// The first thing that failed.
    pub fn first_failure(&self) -> Option<&Diagnostic> {
        let failed = self.tests.iter().find_map(|test| test.failure.as_ref());
        self.problems.first().or(failed)
    }
}

impl fmt::Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        for test in &self.tests {
            match &test.failure {
                None => writeln!(f, "ok      {} {}", test.file, test.name)?,
                Some(failure) => writeln!(f, "FAILED  {} {}\n{failure}", test.file, test.name)?,
            }
        }
        let failed = self.tests.iter().filter(|test| test.failure.is_some()).count();
        write!(f, "{} passed, {failed} failed", self.tests.len() - failed)
    }
}

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestOutcome {
    /// Its file, as it is shown to people.
    pub file: String,
    /// The name of its function.
    pub name: String,
    /// Why it failed, `None` if it passed.
    pub failure: Option<Diagnostic>,
}

/// Runs the tests of a rule set; `dir` is the folder of the scripts, whose `tests/samples` is read.
pub fn run_tests(rules: &RuleSet, dir: &Path) -> TestReport {
    let mut report = TestReport::default();
    let asserted = Arc::new(AtomicUsize::new(0));
    let engine = engine(rules, dir, &asserted);
    for file in rules.files().iter().filter(|file| file.role() == Role::Test) {
        match compile(&engine, rules, file) {
            Ok(script) => run_file(&engine, rules, file, &script, &asserted, &mut report),
            Err(problems) => report.problems.extend(problems),
        }
    }
    report
}

fn run_file(
    engine: &Engine,
    rules: &RuleSet,
    file: &SourceFile,
    script: &AST,
    asserted: &AtomicUsize,
    report: &mut TestReport,
) {
    let mut tests: Vec<_> = script
        .iter_functions()
        .filter(|function| function.name.starts_with("test_") && function.params.is_empty())
        .map(|function| (function.name.to_owned(), check::head_of(&file.text, function.name)))
        .collect();
    tests.sort_by_key(|(_, place)| *place);
    for (name, (line, column)) in tests {
        asserted.store(0, Ordering::Relaxed);
        let failure = match run_test(engine, rules, file, script, &name) {
            Err(failure) => Some(failure),
            Ok(()) if asserted.load(Ordering::Relaxed) == 0 => Some(
                Diagnostic::error(format!("`{name}` asserts nothing"), &file.path)
                    .coded(Code::TestFailed)
                    .at(&file.text, line, column)
                    .with_help("call `assert` or `assert_eq`"),
            ),
            Ok(()) => None,
        };
        report.tests.push(TestOutcome { file: file.path.clone(), name, failure });
    }
}

fn run_test(
    engine: &Engine,
    rules: &RuleSet,
    file: &SourceFile,
    script: &AST,
    name: &str,
) -> Result<(), Diagnostic> {
    // Time in tests stands still, so helpers that ask for it work outside of `run_contact`, too.
    let evaluation = Evaluation::new(DEFAULT_AS_OF, Arc::from([]));
    let options = CallFnOptions::new().eval_ast(false).with_tag(evaluation);
    let _deadline = Deadline::start(rules.environment().limits.for_tests().time);
    let result =
        engine.call_fn_with_options::<Dynamic>(options, &mut Scope::new(), script, name, ());
    let Err(error) = result else { return Ok(()) };
    let error = ScriptError::new(*error, &file.path, &|_, _| None);
    let place = error.origin.clone();
    let shown = place.as_ref().and_then(|p| rules.files().iter().find(|f| f.path == *p.file));
    let shown = shown.unwrap_or(file);
    let (line, column) = place.map_or((0, 0), |place| (place.line, place.column));
    let failure = Diagnostic::error(error.message, &shown.path).coded(Code::TestFailed);
    Err(failure.at(&shown.text, line, column))
}

fn compile(engine: &Engine, rules: &RuleSet, file: &SourceFile) -> Result<AST, Vec<Diagnostic>> {
    let empty = Scope::new();
    let constants = rules.compiled().parts.constants.as_ref();
    let scope = constants.map_or(&empty, |constants| constants.scope());
    let names: Vec<String> = scope.iter().map(|(name, ..)| name.to_owned()).collect();
    let mut script = engine
        .compile_with_scope(scope, &file.text)
        .map_err(|error| vec![check::syntax_error(file, &error, &names)])?;
    script.set_source(file.path.as_str());

    let mut visible = Functions::of_engine(engine);
    let mut libraries: BTreeMap<&str, Functions> = BTreeMap::new();
    for known in &rules.compiled().scripts {
        let role = rules.files().iter().find(|f| known.source() == Some(&f.path)).map(|f| f.role());
        for function in known.iter_functions() {
            match role {
                Some(Role::Library(name)) => {
                    libraries.entry(name).or_default().add(function.name, function.params.len());
                }
                _ => visible.add(function.name, function.params.len()),
            }
        }
    }
    for function in script.iter_functions() {
        visible.add(function.name, function.params.len());
    }
    let scope = CallScope { visible: &visible, own: None, libraries: &libraries };
    let problems = check_calls(file, &script, &scope);
    if problems.is_empty() { Ok(script) } else { Err(problems) }
}

/// An engine with the functions of tests, to look tests over without running one.
pub(crate) fn engine_to_check(rules: &RuleSet, dir: &Path) -> Engine {
    engine(rules, dir, &Arc::new(AtomicUsize::new(0)))
}

/// An engine with the scripts of a set and the functions of tests.
fn engine(rules: &RuleSet, dir: &Path, asserted: &Arc<AtomicUsize>) -> Engine {
    let limits = rules.environment().limits.for_tests();
    let mut engine = sandbox::engine(&limits, &rules.compiled().data);
    engine.set_strict_variables(true);
    rules.compiled().parts.register(&mut engine);
    trial::register(&mut engine, rules, dir);
    register_assertions(&mut engine, asserted);
    test_decision::register(&mut engine);
    engine
}

fn register_assertions(engine: &mut Engine, asserted: &Arc<AtomicUsize>) {
    let count = asserted.clone();
    engine.register_fn("assert", move |holds: bool| {
        count.fetch_add(1, Ordering::Relaxed);
        if holds { Ok(()) } else { Err(refuse("the assertion does not hold")) }
    });
    let count = asserted.clone();
    engine.register_fn("assert", move |holds: bool, message: &str| {
        count.fetch_add(1, Ordering::Relaxed);
        if holds { Ok(()) } else { Err(refuse(message)) }
    });
    let count = asserted.clone();
    engine.register_fn("assert_eq", move |got: Dynamic, expected: Dynamic| {
        count.fetch_add(1, Ordering::Relaxed);
        if equals(&to_json(&got), &expected) {
            return Ok(());
        }
        Err(refuse(format!("got {}, expected {}", to_json(&got), to_json(&expected))))
    });
}
