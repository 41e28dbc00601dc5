//! Calls of functions that do not exist, found before one is made.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, Position, Stmt};

use super::code::Code;
use super::diagnostic::{Diagnostic, nearest};
use super::error::line_column;
use super::ruleset::SourceFile;

/// What Rhai itself understands without a function behind it.
const KEYWORDS: [&str; 9] =
    ["Fn", "call", "curry", "type_of", "is_def_fn", "is_def_var", "is_shared", "print", "debug"];

/// Functions that other languages have, and what rules write instead.
const ELSEWHERE: [(&str, &str); 30] = [
    ("append", "write `push`, or `list + other`"),
    ("concat", "write `list + other`"),
    ("count", "write `len`"),
    ("endsWith", "write `ends_with`"),
    ("endswith", "write `ends_with`"),
    ("exists", "write `some` for a list, `value != ()` for a value"),
    ("forEach", "write `for item in list { … }`"),
    ("each", "write `for item in list { … }`"),
    ("format", "write a text in backticks: `${a} ${b}`"),
    ("has", "write `\"name\" in record`"),
    ("includes", "write `contains`, or `item in list`"),
    ("indexOf", "write `index_of`"),
    ("isNaN", "write `is_nan`"),
    ("length", "write `len`"),
    ("lowercase", "write `lower`"),
    ("match", "write `matches(text, pattern)`"),
    ("parseFloat", "write `parse_float`"),
    ("parseInt", "write `parse_int`"),
    ("replaceAll", "write `replace_all(text, pattern, with)`"),
    ("size", "write `len`"),
    ("startsWith", "write `starts_with`"),
    ("startswith", "write `starts_with`"),
    ("strip", "write `trim`"),
    ("substring", "write `sub_string(start, length)`"),
    ("toLowerCase", "write `lower(text)`"),
    ("toString", "write `to_string`"),
    ("toUpperCase", "write `upper(text)`"),
    ("uppercase", "write `upper`"),
    ("now", "there is no clock; compare with `older_than` or `within`"),
    ("today", "there is no clock; compare with `older_than` or `within`"),
];

/// Functions that are there only to say that they are not.
const REFUSED: [(&str, &str, &str); 2] = [
    ("sleep", "`sleep` is not available: a rule does not wait", "leave it out"),
    (
        "timestamp",
        "`timestamp` is not available: there is no clock",
        "compare a time with `older_than(time, \"30d\")` or `within(time, \"30d\")`",
    ),
];

/// Names of functions and the numbers of arguments that they take.
#[derive(Debug, Default)]
pub(crate) struct Functions(BTreeMap<String, BTreeSet<usize>>);

impl Functions {
    /// The functions that an engine offers without scripts.
    pub(crate) fn of_engine(engine: &Engine) -> Self {
        let mut functions = Self::default();
        let found = engine.collect_fn_metadata(
            None,
            |info| {
                let is_native = info.script.is_none();
                is_native.then(|| (info.metadata.name.to_string(), info.metadata.num_params))
            },
            true,
        );
        for (name, arguments) in found {
            functions.add(&name, arguments);
        }
        functions
    }

    /// Adds one.
    pub(crate) fn add(&mut self, name: &str, arguments: usize) {
        self.0.entry(name.to_owned()).or_default().insert(arguments);
    }

    /// True if there is one of this name for so many arguments.
    pub(crate) fn has(&self, name: &str, arguments: usize) -> bool {
        self.0.get(name).is_some_and(|known| known.contains(&arguments))
    }

    /// True if there is one of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Names that a script's writer could have meant.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0
            .keys()
            .map(String::as_str)
            .filter(|name| name.starts_with(|c: char| c.is_alphabetic()) && !name.contains('$'))
    }
}

/// What a call can reach.
#[derive(Debug)]
pub(crate) struct CallScope<'a> {
    /// Host functions and those of top-level scripts.
    pub(crate) visible: &'a Functions,
    /// Functions of the library that the call stands in.
    pub(crate) own: Option<&'a Functions>,
    /// Functions of libraries, by module.
    pub(crate) libraries: &'a BTreeMap<&'a str, Functions>,
}

impl CallScope<'_> {
    fn has(&self, name: &str, arguments: usize) -> bool {
        self.visible.has(name, arguments) || self.own.is_some_and(|own| own.has(name, arguments))
    }

    fn near(&self, name: &str) -> Option<&str> {
        let own = self.own.into_iter().flat_map(Functions::names);
        nearest(name, self.visible.names().chain(own))
    }
}

/// Finds calls that cannot succeed.
pub(crate) fn check_calls(file: &SourceFile, ast: &AST, scope: &CallScope<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    ast.walk(&mut |path| {
        let problem = match path.last() {
            Some(ASTNode::Stmt(Stmt::FnCall(call, at)) | ASTNode::Expr(Expr::FnCall(call, at))) => {
                check_call(file, call, *at, false, scope)
            }
            Some(ASTNode::Expr(Expr::MethodCall(call, at))) => {
                check_call(file, call, *at, true, scope)
            }
            _ => None,
        };
        found.extend(problem);
        true
    });
    found
}

fn check_call(
    file: &SourceFile,
    call: &FnCallExpr,
    at: Position,
    is_method: bool,
    scope: &CallScope<'_>,
) -> Option<Diagnostic> {
    let name = call.name.as_str();
    let arguments = call.args.len();
    if call.is_operator_call() {
        return None;
    }
    if name == "Fn" {
        return check_pointer(file, call, scope);
    }
    if KEYWORDS.contains(&name) {
        return None;
    }
    let error = |code, message: String| error(file, at, code, message);
    if call.is_qualified() {
        return check_qualified(file, call, at, scope);
    }
    if let Some((_, message, help)) = REFUSED.iter().find(|(refused, ..)| *refused == name) {
        return Some(error(Code::NotAvailable, (*message).to_owned()).with_help(*help));
    }
    // A method's object is its first argument, or `this` of a script's function.
    if scope.has(name, arguments) || (is_method && scope.has(name, arguments + 1)) {
        return None;
    }
    let counts: BTreeSet<usize> = [Some(scope.visible), scope.own]
        .into_iter()
        .flatten()
        .filter_map(|functions| functions.0.get(name))
        .flatten()
        .copied()
        .collect();
    if counts.is_empty() {
        // A map may hold a function under this name.
        if is_method && file.text.contains(&format!("{name}:")) {
            return None;
        }
        let problem = error(Code::UnknownFunction, format!("there is no function `{name}`"));
        return Some(advised(problem, name, scope.near(name)));
    }
    // What stands before the dot is not counted by whoever reads the message.
    let shown: Vec<String> = counts
        .iter()
        .filter_map(|count| count.checked_sub(usize::from(is_method)))
        .map(|count| count.to_string())
        .collect();
    let message = format!("`{name}` takes {} arguments, not {arguments}", shown.join(" or "));
    let message = message.replace("takes 1 arguments", "takes 1 argument");
    let begin = format!("{}{name}", if is_method { "." } else { "" });
    let counts = counts.iter().filter_map(|count| count.checked_sub(usize::from(is_method)));
    Some(error(Code::WrongArity, message).with_help(call_shapes(&begin, counts)))
}

/// `Fn("name")`.
fn check_pointer(
    file: &SourceFile,
    call: &FnCallExpr,
    scope: &CallScope<'_>,
) -> Option<Diagnostic> {
    let [Expr::StringConstant(name, at)] = &*call.args else { return None };
    let is_known = scope.visible.knows(name) || scope.own.is_some_and(|own| own.knows(name));
    if is_known || KEYWORDS.contains(&name.as_str()) {
        return None;
    }
    if name == "eval" {
        let problem = error(file, *at, Code::NotAvailable, "`eval` is not available".to_owned());
        return Some(problem.with_help("choose with `switch name { \"a\" => f(x), _ => g(x) }`"));
    }
    let problem = error(file, *at, Code::UnknownFunction, format!("there is no function `{name}`"));
    Some(advised(problem, name, scope.near(name)))
}

/// The name that was perhaps meant: another language's, or a near one.
fn advised(problem: Diagnostic, name: &str, near: Option<&str>) -> Diagnostic {
    let elsewhere = ELSEWHERE.iter().find(|(foreign, _)| *foreign == name);
    match (elsewhere, near) {
        (Some((_, help)), _) => problem.with_help(*help),
        (None, Some(near)) => problem.with_help(format!("did you mean `{near}`?")),
        (None, None) => problem.with_help(format!("define it: `fn {name}(…) {{ … }}`")),
    }
}

/// Calls with right numbers of arguments, as they are written.
fn call_shapes(name: &str, counts: impl Iterator<Item = usize>) -> String {
    let shapes: Vec<String> =
        counts.map(|count| format!("`{name}({})`", vec!["_"; count].join(", "))).collect();
    format!("write {}", shapes.join(" or "))
}

fn check_qualified(
    file: &SourceFile,
    call: &FnCallExpr,
    at: Position,
    scope: &CallScope<'_>,
) -> Option<Diagnostic> {
    let module = call.namespace.root();
    let name = call.name.as_str();
    if module == "global" {
        return None;
    }
    let Some(functions) = scope.libraries.get(module) else {
        let at = call.namespace.position();
        return Some(unknown_module(file, module, at, scope.libraries.keys().copied()));
    };
    if functions.has(name, call.args.len()) {
        return None;
    }
    let error = |code, message: String| error(file, at, code, message);
    if let Some(counts) = functions.0.get(name) {
        let shown: Vec<String> = counts.iter().map(ToString::to_string).collect();
        let (shown, given) = (shown.join(" or "), call.args.len());
        let message = format!("`{module}::{name}` takes {shown} arguments, not {given}");
        let message = message.replace("takes 1 arguments", "takes 1 argument");
        let help = call_shapes(&format!("{module}::{name}"), counts.iter().copied());
        return Some(error(Code::WrongArity, message).with_help(help));
    }
    let message = format!("the module `{module}` has no function `{name}`");
    let problem = error(Code::UnknownFunction, message);
    let names: Vec<String> = functions.names().map(|name| format!("`{name}`")).collect();
    Some(match nearest(name, functions.names()) {
        Some(near) => problem.with_help(format!("did you mean `{near}`?")),
        None if names.is_empty() => problem.with_help(format!("`lib/{module}.rhai` has none")),
        None => problem.with_help(format!("it has {}", names.join(", "))),
    })
}

/// A module that no file of `lib` is.
pub(crate) fn unknown_module<'a>(
    file: &SourceFile,
    module: &str,
    at: Position,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    let problem = error(file, at, Code::UnknownModule, format!("there is no module `{module}`"));
    match nearest(module, known) {
        Some(near) => problem.with_help(format!("did you mean `{near}`?")),
        None => problem.with_help(format!("modules are the files of `lib`: `lib/{module}.rhai`")),
    }
}

fn error(file: &SourceFile, at: Position, code: Code, message: String) -> Diagnostic {
    let (line, column) = line_column(at);
    Diagnostic::error(message, &file.path).coded(code).at(&file.text, line, column)
}
