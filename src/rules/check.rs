//! What compiling does not find: calls of functions that do not exist, duplicates, handlers that
//! are almost named right. Only what is certain is an error.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTFlags, ASTNode, Engine, Expr, ParseError, ParseErrorType, Position, Stmt};

use super::calls::{CallScope, Functions, check_calls};
use super::diagnostic::{Diagnostic, nearest};
use super::error::line_column;
use super::files::Role;
use super::handlers::{HANDLERS, MAP_COMPANY, MAP_CONVERSATION, MAP_EVENT, handler};
use super::host::HostData;
use super::load::Parsed;
use super::ruleset::{RuleEnvironment, SourceFile};
use super::sandbox::CONFIGURED;
use super::target::Target;

/// Checks all scripts of a set together.
pub(crate) fn check(
    engine: &Engine,
    parsed: &[Parsed<'_>],
    environment: &RuleEnvironment,
    data: &HostData,
) -> Vec<Diagnostic> {
    let host = Functions::of_engine(engine);
    let mut found = Vec::new();
    for script in parsed {
        check_top_level(script, &mut found);
        check_hiding(script, &host, &mut found);
    }
    check_duplicates(parsed, &mut found);
    check_handlers(parsed, &mut found);

    let mut visible = Functions::of_engine(engine);
    let mut libraries: BTreeMap<&str, Functions> = BTreeMap::new();
    for script in parsed {
        for function in script.ast.iter_functions() {
            match script.role {
                Role::Library(name) => {
                    libraries.entry(name).or_default().add(function.name, function.params.len());
                }
                _ => visible.add(function.name, function.params.len()),
            }
        }
        if let Role::Library(name) = script.role {
            libraries.entry(name).or_default();
        }
    }
    for script in parsed {
        let own = match script.role {
            Role::Library(name) => libraries.get(name),
            _ => None,
        };
        let scope = CallScope { visible: &visible, own, libraries: &libraries };
        found.extend(check_calls(script.file, &script.ast, &scope));
        check_names(script, environment, data, &mut found);
        check_properties(script, &mut found);
    }
    found
}

/// A top level may only define, since calls never run it.
fn check_top_level(script: &Parsed<'_>, found: &mut Vec<Diagnostic>) {
    let file = script.file;
    for statement in script.ast.statements() {
        let message = match statement {
            Stmt::Noop(_) => continue,
            Stmt::Var(_, flags, _) if flags.intersects(ASTFlags::EXPORTED) => {
                "`export` is not needed: constants and functions are seen as they are"
            }
            Stmt::Var(_, flags, _) if flags.intersects(ASTFlags::CONSTANT) => continue,
            Stmt::Var(..) => "the top level may only define: use `const` instead of `let`",
            // Reported below, wherever it stands.
            Stmt::Import(..) => continue,
            _ => "the top level may only define constants and functions",
        };
        let (line, column) = line_column(statement.position());
        found.push(Diagnostic::error(message, &file.path).at(&file.text, line, column));
    }
    script.ast.walk(&mut |path| {
        if let Some(ASTNode::Stmt(statement @ Stmt::Import(..))) = path.last() {
            let (line, column) = line_column(statement.position());
            found.push(
                Diagnostic::error("`import` is not available", &file.path)
                    .at(&file.text, line, column)
                    .with_help("a file `lib/names.rhai` is the module `names` in every script"),
            );
        }
        true
    });
}

fn check_hiding(script: &Parsed<'_>, host: &Functions, found: &mut Vec<Diagnostic>) {
    for function in script.ast.iter_functions() {
        if host.has(function.name, function.params.len()) {
            found.push(
                at_function(
                    script,
                    function.name,
                    format!("`{}` would hide a built-in function", function.name),
                )
                .with_help("give it another name"),
            );
        }
    }
}

fn check_duplicates(parsed: &[Parsed<'_>], found: &mut Vec<Diagnostic>) {
    let mut functions: BTreeMap<(&str, usize), &str> = BTreeMap::new();
    let mut handlers: BTreeMap<&str, &str> = BTreeMap::new();
    let mut known_constants: BTreeMap<String, &str> =
        CONFIGURED.into_iter().map(|name| (name.to_owned(), "configuration")).collect();
    for script in parsed {
        let path = script.file.path.as_str();
        for (name, at) in constants(&script.ast) {
            if let Some(first) = known_constants.insert(name.clone(), path) {
                let (line, column) = line_column(at);
                found.push(
                    Diagnostic::error(format!("the constant `{name}` is defined twice"), path)
                        .at(&script.file.text, line, column)
                        .with_help(format!("it is defined in {first}, too")),
                );
            }
        }
        if script.role != Role::Script {
            continue;
        }
        for function in script.ast.iter_functions() {
            let first = match handler(function.name) {
                Some(_) => handlers.insert(function.name, path),
                None => functions.insert((function.name, function.params.len()), path),
            };
            if let Some(first) = first {
                let message = format!("the function `{}` is defined twice", function.name);
                found.push(
                    at_function(script, function.name, message)
                        .with_help(format!("it is defined in {first}, too")),
                );
            }
        }
    }
}

fn check_handlers(parsed: &[Parsed<'_>], found: &mut Vec<Diagnostic>) {
    let called = called_names(parsed);
    for script in parsed.iter().filter(|script| script.role == Role::Script) {
        for function in script.ast.iter_functions() {
            let name = function.name;
            if let Some(handler) = handler(name) {
                if handler.parameters.len() != function.params.len() {
                    let message = format!("`{name}` takes ({})", handler.parameters.join(", "));
                    found.push(at_function(script, name, message));
                }
                continue;
            }
            if called.contains(name) {
                continue;
            }
            if let Some(near) = nearest(name, HANDLERS.iter().map(|handler| handler.name)) {
                let message = format!("`{name}` is no handler and is never called");
                found.push(
                    at_function(script, name, message).with_help(format!("did you mean `{near}`?")),
                );
            }
        }
    }
}

/// Names that some script calls, or hands on as a function.
fn called_names(parsed: &[Parsed<'_>]) -> BTreeSet<String> {
    let mut called = BTreeSet::new();
    for script in parsed {
        script.ast.walk(&mut |path| {
            match path.last() {
                Some(
                    ASTNode::Stmt(Stmt::FnCall(call, _))
                    | ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _)),
                ) => {
                    called.insert(call.name.to_string());
                }
                Some(ASTNode::Expr(Expr::Variable(variable, ..))) => {
                    called.insert(variable.1.to_string());
                }
                Some(ASTNode::Expr(Expr::StringConstant(text, _))) => {
                    called.insert(text.to_string());
                }
                _ => {}
            }
            true
        });
    }
    called
}

/// Names in the configuration and in the folder: `lists.leads`, `table("plans.csv")`.
fn check_names(
    script: &Parsed<'_>,
    environment: &RuleEnvironment,
    data: &HostData,
    found: &mut Vec<Diagnostic>,
) {
    let file = script.file;
    script.ast.walk(&mut |path| {
        match path.last() {
            Some(ASTNode::Expr(Expr::Dot(chain, ..))) => {
                if let (Expr::Variable(variable, ..), Expr::Property(property, at)) =
                    (&chain.lhs, &chain.rhs)
                    && variable.1 == "lists"
                    && variable.2.is_empty()
                    && !environment.lists.contains_key(property.2.as_str())
                {
                    let known = environment.lists.keys().map(String::as_str);
                    found.push(unknown_list(file, &property.2, *at, nearest(&property.2, known)));
                }
            }
            Some(ASTNode::Expr(Expr::FnCall(call, at)) | ASTNode::Stmt(Stmt::FnCall(call, at))) => {
                if let ("table", [Expr::StringConstant(name, _)]) =
                    (call.name.as_str(), &*call.args)
                    && !data.tables.contains_key(name.as_str())
                {
                    let (line, column) = line_column(*at);
                    found.push(
                        Diagnostic::error(format!("there is no table `{name}`"), &file.path)
                            .at(&file.text, line, column)
                            .with_help("tables are the files of the folder `tables`"),
                    );
                }
            }
            _ => {}
        }
        true
    });
}

/// Properties that a decision does not have: `brevo.emial`. Only where every handler of the file
/// calls its decision by the variable's name.
fn check_properties(script: &Parsed<'_>, found: &mut Vec<Diagnostic>) {
    let mut names = BTreeSet::new();
    // Other records' decisions have other properties.
    const OTHERS: [&str; 3] = [MAP_COMPANY, MAP_CONVERSATION, MAP_EVENT];
    if script.ast.iter_functions().any(|function| OTHERS.contains(&function.name)) {
        return;
    }
    for function in script.ast.iter_functions() {
        if handler(function.name).is_some_and(|handler| handler.parameters.ends_with(&["brevo"])) {
            names.extend(function.params.last().map(|name| (*name).to_owned()));
        }
    }
    let (Some(decision), 1) = (names.first(), names.len()) else {
        return;
    };
    let file = script.file;
    script.ast.walk(&mut |path| {
        if let Some(ASTNode::Expr(Expr::Dot(chain, ..))) = path.last()
            && let (Expr::Variable(variable, ..), Expr::Property(property, at)) =
                (&chain.lhs, &chain.rhs)
            && variable.1.as_str() == decision
            && let Err(message) = Target::parse(&property.2)
        {
            let (line, column) = line_column(*at);
            found.push(Diagnostic::error(message, &file.path).at(&file.text, line, column));
        }
        true
    });
}

fn unknown_list(file: &SourceFile, name: &str, at: Position, near: Option<&str>) -> Diagnostic {
    let (line, column) = line_column(at);
    let problem = Diagnostic::error(format!("`lists` has no `{name}`"), &file.path)
        .at(&file.text, line, column);
    match near {
        Some(near) => problem.with_help(format!("did you mean `{near}`?")),
        None => problem.with_help("lists are named in the configuration under `lists`"),
    }
}

/// The constants of a top level and where they stand.
pub(crate) fn constants(ast: &AST) -> Vec<(String, Position)> {
    ast.statements()
        .iter()
        .filter_map(|statement| match statement {
            Stmt::Var(variable, flags, at) if flags.intersects(ASTFlags::CONSTANT) => {
                Some((variable.0.name.to_string(), *at))
            }
            _ => None,
        })
        .collect()
}

/// A parse error in our words. `known` are the names that a variable could have been meant to be.
pub(crate) fn syntax_error(file: &SourceFile, error: &ParseError, known: &[String]) -> Diagnostic {
    let (line, column) = line_column(error.position());
    let (message, help) = match error.err_type() {
        ParseErrorType::VariableUndefined(name) => {
            let near = nearest(name, known.iter().map(String::as_str));
            (
                format!("there is no variable `{name}`"),
                near.map(|near| format!("did you mean `{near}`?")),
            )
        }
        ParseErrorType::ModuleUndefined(name) => (
            format!("there is no module `{name}`"),
            Some(format!("modules are the files of `lib`: `lib/{name}.rhai`")),
        ),
        ParseErrorType::BadInput(problem) if problem.to_string().contains("'eval'") => {
            ("`eval` is not available".to_owned(), None)
        }
        ParseErrorType::FnDuplicatedDefinition(name, _) => {
            (format!("the function `{name}` is defined twice"), None)
        }
        ParseErrorType::UnexpectedEOF => {
            ("the script ends too early".to_owned(), Some("is a `}` or a `)` missing?".to_owned()))
        }
        other => {
            let text = other.to_string();
            let mut letters = text.chars();
            let first: String =
                letters.next().map(|c| c.to_lowercase().collect()).unwrap_or_default();
            (format!("{first}{}", letters.as_str()), None)
        }
    };
    let problem = Diagnostic::error(message, &file.path).at(&file.text, line, column);
    match help {
        Some(help) => problem.with_help(help),
        None => problem,
    }
}

/// An error at the head of a function.
fn at_function(script: &Parsed<'_>, name: &str, message: String) -> Diagnostic {
    let text = &script.file.text;
    let (line, column) = head_of(text, name);
    Diagnostic::error(message, &script.file.path).at(text, line, column)
}

/// Where the name of a function stands in its definition; Rhai remembers the place of its body
/// only.
pub(crate) fn head_of(text: &str, name: &str) -> (u32, u32) {
    let column = |line: &str| {
        let after_fn = line.find("fn ")? + "fn ".len();
        let rest = line.get(after_fn..)?;
        let start = after_fn + (rest.len() - rest.trim_start().len());
        let rest = line.get(start..)?.strip_prefix(name)?;
        let before = line.get(..start)?.chars().count();
        rest.trim_start().starts_with('(').then(|| u32::try_from(before + 1).unwrap_or(0))
    };
    (1..).zip(text.lines()).find_map(|(at, line)| Some((at, column(line)?))).unwrap_or((0, 0))
}
