//! The runner of the scripts' own tests: every `fn test_…()` in `scripts/tests/*.rhai`.
//!
//! A test takes a sample, runs the rules on it and asserts what was decided. One that asserts
//! nothing fails. Tests see all that scripts see, so that a library's functions can be tested, too.
//! They share nothing, so their order does not matter.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use rhai::{AST, CallFnOptions, Dynamic, Engine, Scope};
use serde::Serialize;

use super::budget::Budget;
use super::calls::{CallScope, Functions, check_calls};
use super::check;
use super::code::Code;
use super::contrast::shown;
use super::coverage::Recorder;
use super::diagnostic::Diagnostic;
use super::error::{Limit, ScriptError, ScriptErrorKind, refuse};
use super::evaluation::Evaluation;
use super::evidence::Evidence;
use super::files::Role;
use super::journal::{Journal, Notes};
use super::ruleset::{RuleSet, SourceFile};
use super::sandbox::{self, on_deep_stack};
use super::test_decision;
use super::trial::{self, DEFAULT_AS_OF};
use super::view::{equals, to_json};
use crate::model::Origin;

/// What every test begins with.
const PREFIX: &str = "test_";
/// Values up to this length stand in the message of a failed assertion.
const SHORT: usize = 60;

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
                Some(failure) => {
                    writeln!(f, "FAILED  {} {}\n{failure}", test.file, test.name)?;
                    if let Some(evidence) = &test.evidence {
                        writeln!(f, "{evidence}")?;
                    }
                    writeln!(f)?;
                }
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
    /// What explains a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// Which tests to run, and who looks on.
#[derive(Debug, Clone, Copy, Default)]
pub struct TestRun<'a> {
    /// Only tests whose name or file contains this.
    pub filter: Option<&'a str>,
    /// Counts what runs. It must be attached to the rule set, too.
    pub recorder: Option<&'a Recorder>,
}

impl TestRun<'_> {
    fn wants(&self, file: &SourceFile, name: &str) -> bool {
        self.filter.is_none_or(|part| name.contains(part) || file.path.contains(part))
    }

    /// True if a file may hold a test that is wanted, though it cannot be read as one.
    fn may_want(&self, file: &SourceFile) -> bool {
        self.wants(file, &file.text)
    }
}

/// Runs the tests of a rule set; `dir` is the folder of the scripts, whose `tests/samples` is read.
pub fn run_tests(rules: &RuleSet, dir: &Path) -> TestReport {
    run_selected_tests(rules, dir, &TestRun::default())
}

/// Runs some tests of a rule set.
pub fn run_selected_tests(rules: &RuleSet, dir: &Path, run: &TestRun<'_>) -> TestReport {
    let journal = Journal::default();
    let mut engine = engine(rules, dir, &journal);
    if let Some(recorder) = run.recorder {
        recorder.listen(&mut engine);
    }
    let bench = Bench { rules, engine, journal };
    let mut report = TestReport::default();
    for file in rules.files().iter().filter(|file| file.role() == Role::Test) {
        match compile(&bench.engine, rules, file) {
            Ok(script) => bench.run_file(file, &script, run, &mut report),
            Err(problems) if run.may_want(file) => report.problems.extend(problems),
            Err(_) => {}
        }
    }
    report
}

/// What tests run on.
struct Bench<'a> {
    rules: &'a RuleSet,
    engine: Engine,
    journal: Journal,
}

impl Bench<'_> {
    fn run_file(
        &self,
        file: &SourceFile,
        script: &AST,
        run: &TestRun<'_>,
        report: &mut TestReport,
    ) {
        let mut tests: Vec<_> = script
            .iter_functions()
            .filter(|function| function.name.starts_with(PREFIX))
            .filter(|function| run.wants(file, function.name))
            .map(|function| {
                let place = check::head_of(&file.text, function.name);
                (place, function.name.to_owned(), function.params.len())
            })
            .collect();
        tests.sort();
        for ((line, column), name, parameters) in tests {
            let at_head = |message: String, help: &str| {
                Diagnostic::error(message, &file.path)
                    .coded(Code::TestFailed)
                    .at(&file.text, line, column)
                    .with_help(help)
            };
            if parameters > 0 {
                let message = format!("`{name}` has parameters, and tests are called without any");
                let help = "take a sample inside of it, or give a helper another name";
                report.problems.push(at_head(message, help));
                continue;
            }
            let _ = self.journal.take();
            let result = self.run_test(file, script, &name);
            let notes = self.journal.take();
            let (failure, evidence) = match result {
                Err(error) => {
                    let head = Origin { file: file.path.as_str().into(), line, column };
                    self.explain(file, &error.or_at(|| Some(head)), &notes)
                }
                Ok(()) if notes.asserted == 0 => {
                    let message = format!("`{name}` asserts nothing");
                    (Some(at_head(message, "call `assert` or `assert_eq`")), None)
                }
                Ok(()) => (None, None),
            };
            report.tests.push(TestOutcome { file: file.path.clone(), name, failure, evidence });
        }
    }

    fn run_test(&self, file: &SourceFile, script: &AST, name: &str) -> Result<(), ScriptError> {
        // Time in tests stands still, so helpers that ask for it work outside of `run_contact`, too.
        let evaluation = Evaluation::new(DEFAULT_AS_OF, Arc::from([]));
        let options = CallFnOptions::new().eval_ast(false).with_tag(evaluation);
        let _budget = Budget::start(&self.rules.environment().limits.for_tests());
        // A panic costs the test, not the others.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let scope = &mut Scope::new();
            on_deep_stack(|| {
                self.engine.call_fn_with_options::<Dynamic>(options, scope, script, name, ())
            })
        }));
        match result {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(ScriptError::new(*error, &file.path, &|_, _| None)),
            Err(_) => Err(ScriptError {
                kind: ScriptErrorKind::Panicked,
                message: format!("a function panicked in `{name}`"),
                origin: None,
                trace: Vec::new(),
            }),
        }
    }

    /// What went wrong, at its place in the test or, if a library broke, there; and what explains it.
    fn explain(
        &self,
        file: &SourceFile,
        error: &ScriptError,
        notes: &Notes,
    ) -> (Option<Diagnostic>, Option<Evidence>) {
        let source = |path: &str| self.rules.files().iter().find(|f| f.path == path);
        let place = error.origin.as_ref();
        let shown = place.and_then(|place| source(&place.file)).unwrap_or(file);
        let (line, column) = place.map_or((0, 0), |place| (place.line, place.column));
        let limits = self.rules.environment().limits.for_tests();
        let message = match error.kind {
            ScriptErrorKind::LimitExceeded(Limit::Operations) => {
                format!("the test takes more than {} steps", limits.operations)
            }
            ScriptErrorKind::LimitExceeded(Limit::Time) => {
                format!("the test takes longer than {} s", limits.time.as_secs_f64())
            }
            _ => error.message.clone(),
        };
        let failure = Diagnostic::error(message, &shown.path).coded(Code::TestFailed);
        let failure = failure.at(&shown.text, line, column);
        // What a test caught is not why it fails.
        let broken = notes.broken.as_ref().filter(|broken| error.message == broken.to_string());
        let in_rules = broken.and_then(|broken| {
            let place = broken.origin.as_ref()?;
            let file = source(&place.file)?;
            Some(Diagnostic::error(broken.message.as_str(), &file.path).at(
                &file.text,
                place.line,
                place.column,
            ))
        });
        // A failure outside of the test's own file: the line of the test that led there.
        let called_from = error.trace.iter().rev().find(|call| *call.file == *file.path);
        let called_from = called_from.filter(|_| shown.path != file.path).cloned();
        (Some(failure), Evidence::new(notes, in_rules, called_from))
    }
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
    engine(rules, dir, &Journal::default())
}

/// An engine with the scripts of a set and the functions of tests.
fn engine(rules: &RuleSet, dir: &Path, journal: &Journal) -> Engine {
    let limits = rules.environment().limits.for_tests();
    let mut engine = sandbox::engine(&limits, &rules.compiled().data);
    engine.set_strict_variables(true);
    rules.compiled().parts.register(&mut engine);
    trial::register(&mut engine, rules, dir, journal);
    register_assertions(&mut engine, journal);
    test_decision::register(&mut engine, journal);
    engine
}

/// `assert(holds)`, `assert(holds, message)`, `assert_eq(actual, expected)`, `assert_ne(actual, other)`.
fn register_assertions(engine: &mut Engine, journal: &Journal) {
    let noted = journal.clone();
    engine.register_fn("assert", move |holds: bool| {
        noted.asserted(holds);
        if holds { Ok(()) } else { Err(refuse("the assertion does not hold")) }
    });
    let noted = journal.clone();
    engine.register_fn("assert", move |holds: bool, message: &str| {
        noted.asserted(holds);
        if holds { Ok(()) } else { Err(refuse(message)) }
    });
    let noted = journal.clone();
    engine.register_fn("assert_eq", move |actual: Dynamic, expected: Dynamic| {
        let json = to_json(&actual);
        let holds = equals(&json, &expected);
        noted.asserted(holds);
        if holds {
            return Ok(());
        }
        let expected = to_json(&expected);
        let message = match (shown(&json), shown(&expected)) {
            (got, wanted) if got.len().max(wanted.len()) <= SHORT => {
                format!("got {got}, expected {wanted}")
            }
            _ => "the values differ".to_owned(),
        };
        noted.differed(json, expected);
        Err(refuse(message))
    });
    let noted = journal.clone();
    engine.register_fn("assert_ne", move |actual: Dynamic, other: Dynamic| {
        let json = to_json(&actual);
        let holds = !equals(&json, &other);
        noted.asserted(holds);
        if holds { Ok(()) } else { Err(refuse(format!("both are {}", shown(&json)))) }
    });
}
