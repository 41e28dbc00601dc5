//! Variables that do not exist, all of them at once; Rhai stops at the first.

use std::collections::BTreeSet;

use rhai::{ASTNode, Expr, Position, Stmt};

use super::survey::{Function, Script, Survey};
use crate::rules::calls::{Functions, unknown_module};
use crate::rules::code::Code;
use crate::rules::diagnostic::{Diagnostic, nearest};
use crate::rules::files::Role;
use crate::rules::sandbox::CONFIGURED;

/// Words of other languages, and what rules write instead.
const ELSEWHERE: [(&str, &str); 16] = [
    ("null", "write `()` for what is absent"),
    ("nil", "write `()` for what is absent"),
    ("None", "write `()` for what is absent"),
    ("NULL", "write `()` for what is absent"),
    ("undefined", "write `()` for what is absent"),
    ("True", "write `true`"),
    ("TRUE", "write `true`"),
    ("False", "write `false`"),
    ("FALSE", "write `false`"),
    ("not", "write `!` before what is denied"),
    ("console", "write `log(text)`"),
    ("Math", "numbers have methods: `x.abs()`, `x.floor()`"),
    ("JSON", "write `json(value)`"),
    ("Date", "there is no clock; a time of the record becomes a day with `date(time)`"),
    ("elif", "write `else if`"),
    ("elseif", "write `else if`"),
];

/// Checks all variables of all scripts.
pub(super) fn check(survey: &Survey<'_>, visible: &Functions, found: &mut Vec<Diagnostic>) {
    let libraries: Vec<&str> = survey.rules().filter_map(|script| library(script)).collect();
    let mut constants: BTreeSet<&str> = CONFIGURED.into_iter().collect();
    for script in survey.rules() {
        constants.extend(script.constants.iter().map(|constant| constant.name.as_str()));
    }
    let unread: Vec<_> = survey.broken.iter().map(|file| file.text.as_str()).collect();
    let check = Check { survey, visible, constants, libraries, unread };
    for script in &survey.scripts {
        super::survey::visit(script.ast.statements(), &mut |path| {
            found.extend(check.variable(script, None, path));
        });
        for function in &script.functions {
            function.visit(|path| found.extend(check.variable(script, Some(function), path)));
        }
    }
}

fn library<'a>(script: &Script<'a>) -> Option<&'a str> {
    match script.role {
        Role::Library(name) => Some(name),
        _ => None,
    }
}

struct Check<'s> {
    survey: &'s Survey<'s>,
    visible: &'s Functions,
    /// Names that are seen everywhere.
    constants: BTreeSet<&'s str>,
    libraries: Vec<&'s str>,
    /// The texts of scripts that do not parse, which may define anything that they name.
    unread: Vec<&'s str>,
}

impl Check<'_> {
    fn variable(
        &self,
        script: &Script<'_>,
        function: Option<&Function>,
        path: &[ASTNode<'_>],
    ) -> Option<Diagnostic> {
        let Some(ASTNode::Expr(Expr::Variable(variable, short, at))) = path.last() else {
            return None;
        };
        let name = variable.1.as_str();
        if !variable.2.is_empty() {
            return self.qualified(script, variable.2.root(), name, variable.2.position(), *at);
        }
        let is_own = variable.0.is_some() || short.is_some();
        if is_own
            || self.constants.contains(name)
            || script.constants.iter().any(|c| c.name == name)
        {
            return None;
        }
        if self.unread.iter().any(|text| defines_constant(text, name)) {
            return None;
        }
        if let Some(known) = script.named().find(|known| known.name == name) {
            return after_use(script, known, *at);
        }
        if let Some(around) = function.filter(|f| f.is_closure).and_then(|_| script.around(*at))
            && locals(around).contains(name)
        {
            return Some(captured(script, name, *at));
        }
        Some(self.unknown(script, function, name, *at))
    }

    /// `library::NAME`.
    fn qualified(
        &self,
        script: &Script<'_>,
        module: &str,
        name: &str,
        module_at: Position,
        at: Position,
    ) -> Option<Diagnostic> {
        if module == "global" {
            let problem = script.error(Code::UnknownModule, module_at, "`global` is not available");
            return Some(
                problem.with_help(format!("constants are seen everywhere: write `{name}`")),
            );
        }
        if !self.libraries.contains(&module) {
            let known = self.libraries.iter().copied();
            return Some(unknown_module(script.file, module, module_at, known));
        }
        let library = self.survey.rules().find(|script| library(script) == Some(module))?;
        let names = library.constants.iter().map(|constant| constant.name.as_str());
        if names.clone().any(|known| known == name) {
            return None;
        }
        let message = format!("the module `{module}` has no constant `{name}`");
        let problem = script.error(Code::UnknownVariable, at, message);
        Some(match nearest(name, names) {
            Some(near) => problem.with_help(format!("did you mean `{near}`?")),
            None => {
                problem.with_help(format!("define it in {}: `const {name} = …`", library.file.path))
            }
        })
    }

    fn unknown(
        &self,
        script: &Script<'_>,
        function: Option<&Function>,
        name: &str,
        at: Position,
    ) -> Diagnostic {
        let problem =
            script.error(Code::UnknownVariable, at, format!("there is no variable `{name}`"));
        if let Some((_, help)) = ELSEWHERE.iter().find(|(word, _)| *word == name) {
            return problem.with_help(*help);
        }
        if self.visible.knows(name) {
            return problem.with_help(format!(
                "a function is handed on as `Fn(\"{name}\")`, and called with `(…)`"
            ));
        }
        if self.libraries.contains(&name) {
            return problem
                .with_help(format!("what a module has is written with `::`: `{name}::…`"));
        }
        let own = function.map(locals).unwrap_or_default();
        let known = own.iter().map(String::as_str).chain(self.constants.iter().copied());
        match nearest(name, known) {
            Some(near) => problem.with_help(format!("did you mean `{near}`?")),
            None => match nearest(name, self.visible.names()) {
                Some(near) => problem.with_help(format!("did you mean the function `{near}`?")),
                None => problem.with_help(format!(
                    "bind it first: `let {name} = …`, or write a text in double quotes"
                )),
            },
        }
    }
}

/// A function that is handed on by its name, which Rhai only takes below its definition.
fn after_use(script: &Script<'_>, known: &Function, at: Position) -> Option<Diagnostic> {
    let use_at = crate::rules::error::line_column(at);
    (use_at < known.at).then(|| {
        let name = &known.name;
        script
            .error(Code::UnknownVariable, at, format!("`{name}` is not defined yet at this place"))
            .with_help(format!("write `Fn(\"{name}\")`, or move the function above this one"))
    })
}

fn captured(script: &Script<'_>, name: &str, at: Position) -> Diagnostic {
    script
        .error(Code::CapturedVariable, at, format!("`{name}` is not seen inside `|…| …`"))
        .with_help(
            "a closure sees its own parameters, constants and functions: write a `for` loop, which \
             sees everything around it",
        )
}

/// The names that a function binds anywhere.
fn locals(function: &Function) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = function.params.iter().cloned().collect();
    function.visit(|path| match path.last() {
        Some(ASTNode::Stmt(Stmt::Var(variable, ..))) => {
            names.insert(variable.0.name.to_string());
        }
        Some(ASTNode::Stmt(Stmt::For(each, _))) => {
            names.insert(each.0.name.to_string());
            names.extend(each.1.as_ref().map(|counter| counter.name.to_string()));
        }
        _ => {}
    });
    names
}

fn defines_constant(text: &str, name: &str) -> bool {
    let words = super::source::words(text);
    words.windows(2).any(|pair| matches!(pair, [a, b] if a.text == "const" && b.text == name))
}
