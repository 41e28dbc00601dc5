//! Which lines and functions of the rules ran, for `tajo scripts test --coverage`.
//!
//! Rhai's debugger says before each statement and expression that it is about to run. It costs 25
//! to 160 %, so it is only ever attached to a rule set of its own; those of a service never have it.
//!
//! A line counts if a statement or an expression stands on it inside a function. Comments, braces and
//! the heads of functions do not. Neither do constants at the top level: they are computed while the
//! set is loaded, whatever is tested.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::debugger::{DebuggerCommand, DebuggerEvent};
use rhai::{AST, ASTNode, Engine, Expr, Position, Stmt};
use serde::Serialize;

use super::check;
use super::error::line_column;
use super::files::Role;
use super::handlers::handler;
use super::ruleset::RuleSet;

/// Counts what runs.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<Counts>>);

/// How often what stands at a line and column ran, by file.
type Counts = HashMap<String, HashMap<(u32, u32), u64>>;

/// What ran of a rule set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Coverage {
    /// Scripts and libraries, by path.
    pub files: Vec<FileCoverage>,
}

/// What ran of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileCoverage {
    /// Its path as it is shown to people.
    pub file: String,
    /// How often each line ran that can.
    pub lines: BTreeMap<u32, u64>,
    /// Its functions, by line.
    pub functions: Vec<FunctionCoverage>,
}

/// How often a function was called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionCoverage {
    /// Its name as others call it, such as `names::tidy`.
    pub name: String,
    /// The line it begins at.
    pub line: u32,
    /// True of what the engine calls.
    pub is_handler: bool,
    /// How often it was called. `merge_contact` is called twice for each contact.
    pub calls: u64,
}

impl Coverage {
    /// How many lines ran, and how many there are.
    pub fn lines(&self) -> (usize, usize) {
        let add = |(run, all), (r, a)| (run + r, all + a);
        self.files.iter().map(FileCoverage::run_of_all).fold((0, 0), add)
    }

    /// The share of lines that ran, in percent; all of none is all.
    pub fn percent(&self) -> f64 {
        percent(self.lines())
    }

    /// The report as `lcov` writes it, for editors and other tools. `path` turns a file's path into
    /// the one that they know it by.
    pub fn lcov(&self, path: impl Fn(&str) -> String) -> String {
        let mut text = String::new();
        for file in &self.files {
            let mut line = |content: String| {
                text.push_str(&content);
                text.push('\n');
            };
            line("TN:".to_owned());
            line(format!("SF:{}", path(&file.file)));
            for function in &file.functions {
                line(format!("FN:{},{}", function.line, function.name));
            }
            for function in &file.functions {
                line(format!("FNDA:{},{}", function.calls, function.name));
            }
            line(format!("FNF:{}", file.functions.len()));
            line(format!("FNH:{}", file.functions.iter().filter(|f| f.calls > 0).count()));
            for (number, count) in &file.lines {
                line(format!("DA:{number},{count}"));
            }
            let (run, all) = file.run_of_all();
            line(format!("LF:{all}"));
            line(format!("LH:{run}"));
            line("end_of_record".to_owned());
        }
        text
    }
}

impl FileCoverage {
    /// How many lines ran, and how many there are.
    pub fn run_of_all(&self) -> (usize, usize) {
        (self.lines.values().filter(|count| **count > 0).count(), self.lines.len())
    }

    /// The share of lines that ran, in percent.
    pub fn percent(&self) -> f64 {
        percent(self.run_of_all())
    }

    /// The lines that never ran, as ranges from the first to the last. A range goes on over lines
    /// that cannot run, and ends with its function.
    pub fn never_run(&self) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let mut is_open = false;
        let begins = |after: u32, until: u32| {
            self.functions.iter().any(|function| (after + 1..=until).contains(&function.line))
        };
        for (line, count) in &self.lines {
            match ranges.last_mut() {
                _ if *count > 0 => is_open = false,
                Some(last) if is_open && !begins(last.1, *line) => last.1 = *line,
                _ => {
                    ranges.push((*line, *line));
                    is_open = true;
                }
            }
        }
        ranges
    }
}

fn percent((run, all): (usize, usize)) -> f64 {
    if all == 0 { 100.0 } else { run as f64 * 100.0 / all as f64 }
}

impl Recorder {
    /// Counts what runs of a rule set from now on. `false` if others share the set already: theirs
    /// must not get slow.
    #[must_use]
    pub fn attach(&self, rules: &mut RuleSet) -> bool {
        match Arc::get_mut(&mut rules.0) {
            Some(inner) => self.listen(&mut inner.compiled.engine),
            None => return false,
        }
        true
    }

    /// Counts what runs in an engine.
    #[expect(deprecated, reason = "Rhai's word for volatile; the version is pinned")]
    pub(crate) fn listen(&self, engine: &mut Engine) {
        let counts = self.clone();
        engine.register_debugger(
            |_, debugger| debugger,
            move |_, event, _, source, position| {
                let begins = matches!(event, DebuggerEvent::Start | DebuggerEvent::Step);
                if let Some(file) = source.filter(|_| begins) {
                    counts.count(file, position);
                }
                Ok(DebuggerCommand::StepInto)
            },
        );
    }

    fn count(&self, file: &str, position: Position) {
        let mut counts = self.counts();
        // Nearly always it is a file seen before, so its name is not copied.
        if !counts.contains_key(file) {
            counts.insert(file.to_owned(), HashMap::new());
        }
        if let Some(places) = counts.get_mut(file) {
            *places.entry(line_column(position)).or_default() += 1;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What ran until now.
    pub fn coverage(&self, rules: &RuleSet) -> Coverage {
        let counts = self.counts();
        let nothing = HashMap::new();
        let file = |script: &AST| {
            let path = script.source().unwrap_or_default();
            let source = rules.files().iter().find(|file| file.path == path)?;
            let places = counts.get(path).unwrap_or(&nothing);
            let module = match source.role() {
                Role::Library(name) => Some(name),
                _ => None,
            };
            Some(FileCoverage {
                file: path.to_owned(),
                lines: lines(script, places),
                functions: functions(script, &source.text, module, places),
            })
        };
        let mut files: Vec<_> = rules.compiled().scripts.iter().filter_map(file).collect();
        files.sort_by(|a, b| a.file.cmp(&b.file));
        Coverage { files }
    }
}

type Places = HashMap<(u32, u32), u64>;

/// The lines of a script that can run and how often they did: as often as what ran most on them.
fn lines(script: &AST, places: &Places) -> BTreeMap<u32, u64> {
    let mut lines = BTreeMap::new();
    script.walk(&mut |path| {
        let (line, _) = path.last().map_or((0, 0), |node| line_column(node.position()));
        if line > 0 && path.last().is_some_and(|node| !is_transparent(node)) {
            let count = lines.entry(line).or_insert(0);
            *count = runs(path, places).max(*count);
        }
        true
    });
    lines
}

/// How often the last node of a path ran. The debugger is silent about some expressions, such as
/// names of properties and constants inside of maps: these run with what they are part of, unless that
/// chooses among its parts.
fn runs(path: &[ASTNode<'_>], places: &Places) -> u64 {
    let Some((node, before)) = path.split_last() else { return 0 };
    let own = places.get(&line_column(node.position())).copied().unwrap_or(0);
    match (node, before.last()) {
        _ if own > 0 => own,
        (ASTNode::Expr(part), Some(whole)) if !is_choice(whole, part) => runs(before, places),
        _ => 0,
    }
}

/// True of what only holds others. `||` and its like stand between their parts, so their line may be
/// that of a part that never ran.
fn is_transparent(node: &ASTNode<'_>) -> bool {
    matches!(
        node,
        ASTNode::Stmt(Stmt::Noop(..) | Stmt::Expr(..) | Stmt::Block(..))
            | ASTNode::Expr(Expr::Stmt(..) | Expr::And(..) | Expr::Or(..) | Expr::Coalesce(..))
    )
}

/// True if `whole` may run without its `part`.
fn is_choice(whole: &ASTNode<'_>, part: &Expr) -> bool {
    match whole {
        ASTNode::Stmt(Stmt::Switch(switch, ..)) => !std::ptr::eq(&switch.0, part),
        ASTNode::Stmt(Stmt::Expr(..) | Stmt::Block(..)) | ASTNode::Expr(Expr::Stmt(..)) => true,
        ASTNode::Expr(Expr::And(parts, ..) | Expr::Or(parts, ..) | Expr::Coalesce(parts, ..)) => {
            parts.first().is_none_or(|first| !std::ptr::eq(first, part))
        }
        _ => false,
    }
}

fn functions(
    script: &AST,
    text: &str,
    module: Option<&str>,
    places: &Places,
) -> Vec<FunctionCoverage> {
    let mut functions: Vec<FunctionCoverage> = script
        .iter_fn_def()
        .filter(|function| !function.name.starts_with("anon$"))
        .map(|function| {
            // The debugger announces a call at the brace that opens the body.
            let body = line_column(function.body.start_position());
            let name = function.name.as_str();
            let (head, _) = check::head_of(text, name);
            FunctionCoverage {
                name: module.map_or(name.to_owned(), |module| format!("{module}::{name}")),
                // Several may have one name; the body is never before the head.
                line: if head > 0 && head <= body.0 && !is_overloaded(script, name) {
                    head
                } else {
                    body.0
                },
                is_handler: module.is_none() && handler(name).is_some(),
                calls: places.get(&body).copied().unwrap_or(0),
            }
        })
        .collect();
    functions.sort_by(|a, b| (a.line, &a.name).cmp(&(b.line, &b.name)));
    functions
}

fn is_overloaded(script: &AST, name: &str) -> bool {
    script.iter_fn_def().filter(|function| function.name == name).count() > 1
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::harness::{TestRun, run_selected_tests};
    use super::super::ruleset::{RuleEnvironment, SourceFile};
    use super::*;

    /// Runs the tests of some files and answers what ran.
    fn covered(files: &[(&str, &str)]) -> Coverage {
        let files = files
            .iter()
            .map(|(path, text)| SourceFile {
                path: format!("scripts/{path}"),
                text: (*text).to_owned(),
            })
            .collect();
        let mut rules = RuleSet::from_files(files, &RuleEnvironment::default()).unwrap();
        let recorder = Recorder::default();
        assert!(recorder.attach(&mut rules));
        let run = TestRun { recorder: Some(&recorder), ..TestRun::default() };
        let report = run_selected_tests(&rules, Path::new("none"), &run);
        assert!(report.is_ok(), "{report}");
        recorder.coverage(&rules)
    }

    /// The lines of `a.rhai` that ran and those that did not, when a test runs a contact.
    fn lines_of(script: &str) -> (Vec<u32>, Vec<u32>) {
        let test = "fn test_a() { assert(run_contact(#{ email: \"a@example.com\", name: \"Ann\" }) != ()); }";
        let coverage = covered(&[("a.rhai", script), ("tests/a.rhai", test)]);
        let lines = &coverage.files[0].lines;
        let of = |ran: bool| {
            lines.iter().filter(|(_, count)| (**count > 0) == ran).map(|(line, _)| *line).collect()
        };
        (of(true), of(false))
    }

    #[test]
    fn comments_braces_heads_and_blank_lines_do_not_count() {
        let script = "\
// A comment.
fn map_contact(contact, brevo) {

    /* another */
    brevo.email = contact.email;
    {
        brevo.A = 1;
    }
}";
        assert_eq!(lines_of(script), (vec![5, 7], vec![]));
    }

    #[test]
    fn a_branch_never_taken_is_never_run() {
        let script = "\
fn map_contact(contact, brevo) {
    if contact.name == \"Ann\" {
        brevo.A = 1;
    } else if contact.name == \"Bob\" {
        brevo.A = 2;
    } else {
        brevo.A = 3;
    }
    let list = if contact.role == \"lead\" {
        \"leads\"
    } else {
        \"users\"
    };
    if contact.x == 1 { return brevo.skip(\"x\"); }
    brevo.B = list;
}";
        assert_eq!(lines_of(script), (vec![2, 3, 9, 12, 14, 15], vec![4, 5, 7, 10]));
    }

    #[test]
    fn what_comes_after_a_return_is_never_run() {
        let script = "\
fn map_contact(contact, brevo) {
    if contact.name != () {
        return brevo.skip(\"x\");
    }
    brevo.A = 1;
}";
        assert_eq!(lines_of(script), (vec![2, 3], vec![5]));
    }

    #[test]
    fn arms_of_a_switch_run_one_by_one() {
        let script = "\
fn map_contact(contact, brevo) {
    brevo.A = switch contact.name {
        \"Ann\" => 1,
        \"Bob\" => lower(contact.name),
        \"Cid\" => {
            brevo.B = 1;
            2
        }
        _ => 3,
    };
    switch contact.email {
        \"x\" if contact.y == 1 => brevo.C = 1,
        _ => brevo.C = 2,
    }
}";
        assert_eq!(lines_of(script), (vec![2, 3, 11, 13], vec![4, 6, 7, 9, 12]));
    }

    #[test]
    fn expressions_over_several_lines_run_as_a_whole() {
        let script = "\
fn map_contact(contact, brevo) {
    brevo.set_all(contact.custom_attributes, #{
        plan: \"PLAN\",
        seats: \"SEATS\",
    });
    brevo.A = contact
        .custom_attributes
        .plan;
    brevo.B = lower(
        contact.name,
    ) + `${contact.name}
        and more`;
    brevo.C = contact.name == \"Ann\"
        || contact.name == \"Bob\"
        || contact.name == \"Cid\";
}";
        let (run, never) = lines_of(script);
        assert_eq!(never, [14, 15], "{run:?}");
        for line in [2, 8, 9, 10, 13] {
            assert!(run.contains(&line), "{line}: {run:?}");
        }
    }

    #[test]
    fn loops_and_closures_count_where_their_body_stands() {
        let script = "\
fn map_contact(contact, brevo) {
    for tag in [\"a\", \"b\"] {
        brevo[upper(tag)] = 1;
    }
    for tag in [] {
        brevo.X = tag;
    }
    let all = [1, 2].filter(|n|
        n > 1
    );
    brevo.N = all.len();
    while false {
        brevo.Y = 1;
    }
    try {
        throw \"x\";
    } catch (error) {
        brevo.E = error;
    }
}";
        let (run, never) = lines_of(script);
        assert!(!run.contains(&6) && never.contains(&6), "{run:?} {never:?}");
        for line in [3, 9, 11, 16, 18] {
            assert!(run.contains(&line), "{line}: {run:?}");
        }
    }

    #[test]
    fn functions_count_their_calls_also_those_of_one_line_and_of_libraries() {
        let script = "\
const LIMIT = 3;

fn map_contact(contact, brevo) { brevo.A = twice(LIMIT); }
fn twice(n) { names::one(n) + names::one(n) }
fn never(n) { n }
fn empty() { }
";
        let library = "fn one(n) {\n    n\n}\nfn other(n) {\n    n + 1\n}\n";
        let tests = "\
fn test_a() { assert_eq(run_contact(#{}).A, 6); }
fn test_b() { assert_eq(names::one(1), 1); }
";
        let coverage =
            covered(&[("a.rhai", script), ("lib/names.rhai", library), ("tests/a.rhai", tests)]);
        let calls: Vec<_> = coverage
            .files
            .iter()
            .flat_map(|file| &file.functions)
            .map(|f| (f.name.as_str(), f.line, f.calls, f.is_handler))
            .collect();
        let expected = [
            ("map_contact", 3, 1, true),
            ("twice", 4, 1, false),
            ("never", 5, 0, false),
            ("empty", 6, 0, false),
            ("names::one", 1, 3, false),
            ("names::other", 4, 0, false),
        ];
        assert_eq!(calls, expected);
        assert_eq!(coverage.files[0].lines, [(3, 1), (4, 1), (5, 0)].into());
        assert_eq!(coverage.files[1].lines, [(2, 3), (5, 0)].into());
        assert_eq!(coverage.lines(), (3, 5));
        assert_eq!(coverage.percent(), 60.0);
    }

    #[test]
    fn lcov_names_lines_and_functions() {
        let coverage = Coverage {
            files: vec![FileCoverage {
                file: "scripts/a.rhai".to_owned(),
                lines: [(2, 1), (3, 0)].into(),
                functions: vec![FunctionCoverage {
                    name: "f".to_owned(),
                    line: 1,
                    is_handler: false,
                    calls: 1,
                }],
            }],
        };
        let expected = "TN:\nSF:/x/scripts/a.rhai\nFN:1,f\nFNDA:1,f\nFNF:1\nFNH:1\nDA:2,1\nDA:3,0\n\
                        LF:2\nLH:1\nend_of_record\n";
        assert_eq!(coverage.lcov(|file| format!("/x/{file}")), expected);
    }

    #[test]
    fn lines_never_run_are_ranges_within_a_function() {
        let file = FileCoverage {
            file: String::new(),
            lines: [(2, 1), (3, 0), (5, 0), (6, 2), (9, 0), (12, 0)].into(),
            functions: vec![FunctionCoverage {
                name: "f".to_owned(),
                line: 11,
                is_handler: false,
                calls: 0,
            }],
        };
        assert_eq!(file.never_run(), [(3, 5), (9, 9), (12, 12)]);
    }
}
