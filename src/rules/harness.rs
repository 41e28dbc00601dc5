//! The runner of the scripts' own tests: every `fn test_…()` in `scripts/tests/*.rhai`.
//!
//! A test takes a sample, runs the rules on it and asserts what was decided. One that asserts
//! nothing fails. Tests see all that scripts see, so that a library's functions can be tested, too.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, Map, Scope};
use serde::Serialize;
use serde_json::{Value, json};

use super::calls::{CallScope, Functions, check_calls};
use super::check;
use super::diagnostic::Diagnostic;
use super::error::{ScriptError, refuse};
use super::evaluation::Evaluation;
use super::files::Role;
use super::limits::Deadline;
use super::ruleset::{ContactInput, RuleSet, SourceFile};
use super::sandbox;
use super::test_decision::{self, TestDecision};
use super::view::{View, equals, to_json};
use crate::model::{RecordKey, Timestamp};

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// The `as_of` of a test that names none: 2026-01-01T00:00:00Z.
const DEFAULT_AS_OF: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// Options of `run_contact` that are no part of the contact.
const EXISTING: &str = "existing";
const AS_OF: &str = "as_of";
const LISTS: &str = "lists";

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
    Err(Diagnostic::error(error.message, &shown.path).at(&shown.text, line, column))
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

/// An engine with the scripts of a set and the functions of tests.
fn engine(rules: &RuleSet, dir: &Path, asserted: &Arc<AtomicUsize>) -> Engine {
    let limits = rules.environment().limits.for_tests();
    let mut engine = sandbox::engine(&limits, &rules.compiled().data);
    engine.set_strict_variables(true);
    rules.compiled().parts.register(&mut engine);
    let samples = Samples { rules: rules.clone(), dir: dir.join("tests").join("samples") };
    engine.register_fn("sample", move |name: &str| samples.read(name));
    for (function, has_options) in [("run_contact", false), ("run_contact", true)] {
        let rules = rules.clone();
        if has_options {
            engine.register_fn(function, move |contact: Dynamic, options: Map| {
                run_contact(&rules, &contact, &options)
            });
        } else {
            engine.register_fn(function, move |contact: Dynamic| {
                run_contact(&rules, &contact, &Map::new())
            });
        }
    }
    register_assertions(&mut engine, asserted);
    test_decision::register(&mut engine);
    engine
}

/// The records that tests run on: those read with the rule set, else the folder's.
struct Samples {
    rules: RuleSet,
    dir: PathBuf,
}

impl Samples {
    fn read(&self, name: &str) -> Outcome<Dynamic> {
        let text = self
            .text(name)
            .ok_or_else(|| refuse(format!("there is no sample `{name}` in tests/samples")))?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| refuse(format!("the sample `{name}` is not JSON: {error}")))?;
        Ok(View::dynamic(Arc::new(value)))
    }

    fn text(&self, name: &str) -> Option<String> {
        // A test reads its samples and nothing else.
        if name.contains(['/', '\\']) || name.starts_with('.') {
            return None;
        }
        let end = format!("/tests/samples/{name}");
        let known = self.rules.files().iter().find(|file| file.path.ends_with(&end));
        match known {
            Some(file) => Some(file.text.clone()),
            None => std::fs::read_to_string(self.dir.join(name)).ok(),
        }
    }
}

/// Runs the rules on a contact. `existing`, `as_of` and `lists` (numbers by name, beside the
/// configured) are options; any other is a field of the contact, such as `companies`, `tags`,
/// `role`.
fn run_contact(rules: &RuleSet, contact: &Dynamic, options: &Map) -> Outcome<Dynamic> {
    let Value::Object(mut contact) = to_json(contact) else {
        return Err(refuse("`run_contact` takes a contact, such as `sample(\"ann.json\")`"));
    };
    let mut existing = None;
    let mut as_of = DEFAULT_AS_OF;
    let mut lists = rules.environment().lists.clone();
    for (name, value) in options {
        let json = to_json(value);
        match name.as_str() {
            EXISTING => existing = Some(json).filter(|value| !value.is_null()),
            AS_OF => {
                as_of = Timestamp::parse(&json)
                    .ok_or_else(|| refuse("`as_of` must be a time, in seconds or ISO 8601"))?;
            }
            LISTS => {
                let named = json
                    .as_object()
                    .ok_or_else(|| refuse("`lists` must be a map of numbers by name"))?;
                lists.extend(
                    named.iter().filter_map(|(name, id)| Some((name.clone(), id.as_i64()?))),
                );
            }
            field => {
                contact.insert(field.to_owned(), json);
            }
        }
    }
    if let Some(Value::Array(all)) = contact.get("conversations") {
        let summary = summary(all);
        contact.insert("conversations".to_owned(), summary);
    }
    if options.contains_key("companies") {
        let first = contact.get("companies").and_then(|companies| companies.get(0)).cloned();
        contact.insert("company".to_owned(), first.unwrap_or_default());
    }
    let id = contact.get("id").and_then(Value::as_str).unwrap_or("sample");
    let id = id.parse().map_err(|error| refuse(format!("the contact's `id`: {error}")))?;
    let key = RecordKey::contact(id);
    let input = ContactInput { key, contact: Value::Object(contact), existing, as_of };
    let lists = Arc::new(lists);
    let decision =
        rules.decide_contact_with(&input, &lists).map_err(|error| refuse(error.to_string()))?;
    Ok(Dynamic::from(TestDecision { decision: Arc::new(decision), lists }))
}

/// What a contact carries of its conversations, from the conversations themselves.
fn summary(all: &[Value]) -> Value {
    let count = |state: &str| all.iter().filter(|c| c.get("state") == Some(&state.into())).count();
    json!({
        "open": count("open"),
        "snoozed": count("snoozed"),
        "closed": count("closed"),
        "total": all.len(),
        "all": all,
    })
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
