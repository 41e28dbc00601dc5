//! What scripts define: once, under names of their own, and nothing else at their top level.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{ASTFlags, ASTNode, Expr, Stmt};

use super::flow::{call_of, named_by};
use super::kind;
use super::survey::{Function, Script, Survey};
use crate::rules::calls::Functions;
use crate::rules::code::Code;
use crate::rules::diagnostic::{Diagnostic, Severity, nearest};
use crate::rules::error::line_column;
use crate::rules::files::Role;
use crate::rules::handlers::{HANDLERS, handler};
use crate::rules::sandbox::CONFIGURED;

/// Checks definitions. `host` are the functions that there are without scripts.
pub(super) fn check(survey: &Survey<'_>, host: &Functions, found: &mut Vec<Diagnostic>) {
    for script in survey.rules() {
        check_top_level(script, found);
        check_import(script, found);
        check_hiding(survey, script, host, found);
    }
    check_constants(survey, found);
    check_functions(survey, found);
    check_meanings(survey, found);
    check_handlers(survey, found);
    if survey.broken.is_empty() {
        check_unused(survey, host, found);
    }
}

/// A top level may only define, since calls never run it.
fn check_top_level(script: &Script<'_>, found: &mut Vec<Diagnostic>) {
    const PUT_INTO: &str = "put it into a function: `fn map_contact(contact, brevo) { … }`";
    for statement in script.ast.statements() {
        let (message, help) = match statement {
            // `import` is reported wherever it stands.
            Stmt::Noop(_) | Stmt::Import(..) => continue,
            Stmt::Var(_, flags, _) if flags.intersects(ASTFlags::EXPORTED) => (
                "`export` is not needed",
                "constants and functions are seen as they are: leave it out",
            ),
            Stmt::Export(..) => (
                "`export` is not needed",
                "constants and functions are seen as they are: leave it out",
            ),
            Stmt::Var(_, flags, _) if flags.intersects(ASTFlags::CONSTANT) => continue,
            Stmt::Var(..) => (
                "the top level may only define: a variable would not be seen by functions",
                "write `const` instead of `let`, or put it into a function",
            ),
            Stmt::Assignment(..) => {
                ("the top level may only define: nothing can be assigned to here", PUT_INTO)
            }
            Stmt::FnCall(..) | Stmt::Expr(..) => {
                ("the top level may only define: nothing is called here for each record", PUT_INTO)
            }
            Stmt::For(..) | Stmt::While(..) | Stmt::Do(..) => {
                ("the top level may only define: a loop belongs into a function", PUT_INTO)
            }
            _ => ("the top level may only define constants and functions", PUT_INTO),
        };
        let place = place_of(statement);
        let problem = script.error(Code::TopLevelStatement, place, message);
        found.push(problem.with_help(help));
    }
}

/// Where a statement begins; Rhai places an assignment at its sign.
fn place_of(statement: &Stmt) -> rhai::Position {
    match statement {
        Stmt::Assignment(assignment) => assignment.1.lhs.start_position(),
        other => other.position(),
    }
}

fn check_import(script: &Script<'_>, found: &mut Vec<Diagnostic>) {
    script.visit(|path| {
        if let Some(ASTNode::Stmt(statement @ Stmt::Import(import, _))) = path.last() {
            let module = match &import.0 {
                Expr::StringConstant(name, _) => {
                    name.rsplit('/').next().unwrap_or_default().trim_end_matches(".rhai").to_owned()
                }
                _ => "names".to_owned(),
            };
            found.push(
                script
                    .error(Code::NotAvailable, statement.position(), "`import` is not available")
                    .with_help(format!(
                        "a file `lib/{module}.rhai` is the module `{module}` in every script: \
                         write `{module}::…` without an import"
                    )),
            );
        }
    });
}

/// A module that is missing because its import was refused is said once.
pub(super) fn forgive_imports(survey: &Survey<'_>, found: &mut Vec<Diagnostic>) {
    for script in &survey.scripts {
        let mut imported = BTreeSet::new();
        script.visit(|path| {
            if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = path.last() {
                imported.insert(format!("there is no module `{}`", import.1.name));
            }
        });
        found.retain(|p| p.file != script.file.path || !imported.contains(&p.message));
    }
}

/// A function that is there, but for its own file only.
pub(super) fn explain_private(survey: &Survey<'_>, found: &mut [Diagnostic]) {
    for script in survey.rules() {
        for function in script.named().filter(|function| function.is_private) {
            let ending = format!("function `{}`", function.name);
            let is_meant = |p: &&mut Diagnostic| {
                p.code == Code::UnknownFunction && p.message.ends_with(&ending)
            };
            for problem in found.iter_mut().filter(is_meant) {
                let (line, _) = function.at;
                let file = &script.file.path;
                problem.help = Some(format!("it is private at {file}:{line}: leave out `private`"));
            }
        }
    }
}

fn check_hiding(
    survey: &Survey<'_>,
    script: &Script<'_>,
    host: &Functions,
    found: &mut Vec<Diagnostic>,
) {
    // `list.filter(…)` is looked up among the scripts' functions of one parameter first.
    let hides = |f: &&Function| {
        let count = f.params.len();
        host.has(&f.name, count)
            || host.has(&f.name, count + 1)
                && survey.rules().any(|script| calls(script, &f.name, count, true))
    };
    for function in script.named().filter(hides) {
        let message = format!("`{}` would hide a built-in function", function.name);
        let problem =
            script.finding_at(Severity::Error, Code::HiddenFunction, function.at, message);
        found.push(problem.with_help("give it another name"));
    }
}

/// True if a script calls a function by its bare name, or as a method.
fn calls(script: &Script<'_>, name: &str, count: usize, only_methods: bool) -> bool {
    let mut is_called = false;
    script.visit(|path| {
        let is_method = matches!(path.last(), Some(ASTNode::Expr(Expr::MethodCall(..))));
        is_called |= call_of(path).is_some_and(|(call, _)| {
            (is_method || !only_methods)
                && !call.is_qualified()
                && call.name == name
                && call.args.len() == count
        });
    });
    is_called
}

/// A bare name that means one function in one file and another in the next: what Rhai found first, it
/// takes for both.
fn check_meanings(survey: &Survey<'_>, found: &mut Vec<Diagnostic>) {
    let mut known: BTreeMap<(&str, usize), String> = BTreeMap::new();
    for script in survey.rules() {
        let mut own = BTreeSet::new();
        for function in script.named() {
            let (name, count) = (function.name.as_str(), function.params.len());
            if !own.insert((name, count)) || !calls(script, name, count, false) {
                continue;
            }
            let (line, column) = function.at;
            let here = format!("{}:{line}:{column}", script.file.path);
            let Some(first) = known.insert((name, count), here) else { continue };
            let message = format!("`{name}` means another function in another file");
            let problem =
                script.finding_at(Severity::Error, Code::DuplicateFunction, function.at, message);
            found.push(problem.with_help(format!(
                "it is called by its bare name at {first}, too: rename one, or call it with its module"
            )));
        }
    }
}

fn check_constants(survey: &Survey<'_>, found: &mut Vec<Diagnostic>) {
    let mut known: BTreeMap<&str, String> =
        CONFIGURED.into_iter().map(|name| (name, "the configuration".to_owned())).collect();
    for script in survey.rules() {
        for constant in &script.constants {
            let (line, column) = line_column(constant.at);
            let here = format!("{}:{line}:{column}", script.file.path);
            if let Some(first) = known.get(constant.name.as_str()) {
                let message = format!("the constant `{}` is defined twice", constant.name);
                let problem = script.error(Code::DuplicateConstant, constant.at, message);
                found.push(problem.with_help(format!("it is defined in {first}, too")));
            } else {
                known.insert(&constant.name, here);
            }
        }
    }
}

fn check_functions(survey: &Survey<'_>, found: &mut Vec<Diagnostic>) {
    let mut functions: BTreeMap<(&str, Option<usize>), String> = BTreeMap::new();
    for script in survey.rules().filter(|script| script.role == Role::Script) {
        for function in script.named() {
            // A handler is one whatever it takes.
            let is_handler = handler(&function.name).is_some();
            let parameters = (!is_handler).then_some(function.params.len());
            let (line, column) = function.at;
            let here = format!("{}:{line}:{column}", script.file.path);
            let Some(first) = functions.insert((&function.name, parameters), here) else {
                continue;
            };
            let (code, what) = match is_handler {
                true => (Code::DuplicateHandler, "handler"),
                false => (Code::DuplicateFunction, "function"),
            };
            let message = format!("the {what} `{}` is defined twice", function.name);
            let problem = script.finding_at(Severity::Error, code, function.at, message);
            found.push(problem.with_help(format!("it is defined in {first}, too: keep one")));
        }
    }
}

fn check_handlers(survey: &Survey<'_>, found: &mut Vec<Diagnostic>) {
    let called = called_names(survey);
    for script in survey.rules() {
        for function in script.named() {
            if script.role == Role::Script {
                found.extend(check_handler(script, function, &called));
            } else if handler(&function.name).is_some() {
                let message = format!("`{}` is not called in a module", function.name);
                let problem = script.finding_at(
                    Severity::Warning,
                    Code::UnknownHandler,
                    function.at,
                    message,
                );
                found.push(problem.with_help("handlers stand in the files of the top folder"));
            }
        }
    }
}

fn check_handler(
    script: &Script<'_>,
    function: &Function,
    called: &BTreeSet<String>,
) -> Option<Diagnostic> {
    let name = function.name.as_str();
    let finding = |severity, code, message| script.finding_at(severity, code, function.at, message);
    if let Some(handler) = handler(name) {
        let parameters = handler.parameters.join(", ");
        if handler.parameters.len() != function.params.len() {
            let message = format!("`{name}` takes ({parameters})");
            let problem = finding(Severity::Error, Code::HandlerParameters, message);
            return Some(problem.with_help(format!("write `fn {name}({parameters})`")));
        }
        return None;
    }
    if called.contains(name) {
        return None;
    }
    let near = nearest(name, HANDLERS.iter().map(|handler| handler.name))?;
    let message = format!("`{name}` is no handler and is never called");
    let problem = finding(Severity::Error, Code::UnknownHandler, message);
    Some(problem.with_help(format!("did you mean `{near}`?")))
}

/// Functions and constants that nothing uses.
fn check_unused(survey: &Survey<'_>, host: &Functions, found: &mut Vec<Diagnostic>) {
    let called = called_names(survey);
    for script in survey.rules().filter(|script| script.role == Role::Script) {
        for function in script.named() {
            let name = function.name.as_str();
            let is_near = || nearest(name, HANDLERS.iter().map(|handler| handler.name)).is_some();
            if called.contains(name)
                || handler(name).is_some()
                || name.starts_with('_')
                || is_near()
                || host.knows(name)
            {
                continue;
            }
            let message = format!("`{name}` is never called");
            let problem =
                script.finding_at(Severity::Warning, Code::UnusedFunction, function.at, message);
            found.push(problem.with_help("call it, remove it, or begin its name with `_`"));
        }
        for constant in &script.constants {
            if called.contains(&constant.name) || constant.name.starts_with('_') {
                continue;
            }
            let message = format!("`{}` is never read", constant.name);
            let problem = script.warning(Code::UnusedConstant, constant.at, message);
            found.push(problem.with_help("use it, remove it, or begin its name with `_`"));
        }
    }
}

/// Names that some script calls, reads, or hands on as a function; a function that only calls itself
/// is none of them.
fn called_names(survey: &Survey<'_>) -> BTreeSet<String> {
    let mut called = BTreeSet::new();
    for script in &survey.scripts {
        for function in &script.functions {
            function.visit(|path| {
                let call = call_of(path).map(|(call, _)| call.name.to_string());
                called
                    .extend(call.into_iter().chain(named_by(path)).filter(|n| *n != function.name));
            });
        }
        super::survey::visit(script.ast.statements(), &mut |path| {
            let call = call_of(path).map(|(call, _)| call.name.to_string());
            called.extend(call.into_iter().chain(named_by(path)));
        });
    }
    called
}

/// All functions that calls can reach: those of the engine, of scripts and of decisions.
pub(super) fn visible(engine: Functions, survey: &Survey<'_>) -> Functions {
    let mut visible = engine;
    for (name, counts, _) in kind::METHODS {
        for count in counts {
            visible.add(name, count + 1);
        }
    }
    for script in survey.rules().filter(|script| script.role == Role::Script) {
        for function in script.named().filter(|function| !function.is_private) {
            visible.add(&function.name, function.params.len());
        }
    }
    for file in survey.broken.iter().filter(|file| file.role() == Role::Script) {
        super::add_heads(&mut visible, file);
    }
    visible
}
