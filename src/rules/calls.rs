//! Calls of functions that do not exist, found before one is made.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, Position, Stmt};

use super::diagnostic::{Diagnostic, nearest};
use super::error::line_column;
use super::ruleset::SourceFile;

/// What Rhai itself understands without a function behind it.
const KEYWORDS: [&str; 9] =
    ["Fn", "call", "curry", "type_of", "is_def_fn", "is_def_var", "is_shared", "print", "debug"];

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

    /// Names that a script's writer could have meant.
    fn names(&self) -> impl Iterator<Item = &str> {
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
    if call.is_operator_call() || KEYWORDS.contains(&name) {
        return None;
    }
    let (line, column) = line_column(at);
    if call.is_qualified() {
        return check_qualified(file, call, (line, column), scope);
    }
    let known = |arguments| {
        scope.visible.has(name, arguments) || scope.own.is_some_and(|own| own.has(name, arguments))
    };
    // A method's object is its first argument, or `this` of a script's function.
    if known(arguments) || (is_method && known(arguments + 1)) {
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
        let problem = Diagnostic::error(format!("there is no function `{name}`"), &file.path)
            .at(&file.text, line, column);
        let own = scope.own.into_iter().flat_map(Functions::names);
        return Some(match nearest(name, scope.visible.names().chain(own)) {
            Some(near) => problem.with_help(format!("did you mean `{near}`?")),
            None => problem,
        });
    }
    // What stands before the dot is not counted by whoever reads the message.
    let shown: Vec<String> = counts
        .iter()
        .filter_map(|count| count.checked_sub(usize::from(is_method)))
        .map(|count| count.to_string())
        .collect();
    let message = format!("`{name}` takes {} arguments, not {arguments}", shown.join(" or "));
    let message = message.replace("takes 1 arguments", "takes 1 argument");
    Some(Diagnostic::error(message, &file.path).at(&file.text, line, column))
}

fn check_qualified(
    file: &SourceFile,
    call: &FnCallExpr,
    (line, column): (u32, u32),
    scope: &CallScope<'_>,
) -> Option<Diagnostic> {
    let module = call.namespace.root();
    let error =
        |message: String| Diagnostic::error(message, &file.path).at(&file.text, line, column);
    let Some(functions) = scope.libraries.get(module) else {
        let problem = error(format!("there is no module `{module}`"));
        return Some(match nearest(module, scope.libraries.keys().copied()) {
            Some(near) => problem.with_help(format!("did you mean `{near}`?")),
            None => {
                problem.with_help(format!("modules are the files of `lib`: `lib/{module}.rhai`"))
            }
        });
    };
    let name = call.name.as_str();
    if functions.has(name, call.args.len()) {
        return None;
    }
    let problem = error(format!(
        "the module `{module}` has no function `{name}` with {} arguments",
        call.args.len()
    ));
    Some(match nearest(name, functions.names()) {
        Some(near) => problem.with_help(format!("it has `{near}`")),
        None => problem,
    })
}
