//! All scripts of a set, taken apart into functions, so that each check can ask for what it needs.

use rhai::{AST, ASTFlags, ASTNode, Expr, FnAccess, Module, Position, Stmt};

use super::source::{self, Head};
use crate::rules::code::Code;
use crate::rules::diagnostic::{Diagnostic, Severity};
use crate::rules::error::line_column;
use crate::rules::files::Role;
use crate::rules::load::Parsed;
use crate::rules::ruleset::SourceFile;

/// A set of scripts, tests among them.
#[derive(Debug)]
pub(crate) struct Survey<'a> {
    /// Those that parse.
    pub(crate) scripts: Vec<Script<'a>>,
    /// Those that do not: what they would define is known by name only.
    pub(crate) broken: Vec<&'a SourceFile>,
}

/// One script.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    /// Its file.
    pub(crate) file: &'a SourceFile,
    /// What the file is.
    pub(crate) role: Role<'a>,
    /// The syntax tree.
    pub(crate) ast: &'a AST,
    /// Its functions, closures among them, in the order of their places.
    pub(crate) functions: Vec<Function>,
    /// The constants of its top level.
    pub(crate) constants: Vec<Constant>,
}

/// A function of a script.
#[derive(Debug)]
pub(crate) struct Function {
    /// Its name; Rhai's own for a closure.
    pub(crate) name: String,
    /// The names of its parameters.
    pub(crate) params: Vec<String>,
    /// What it does.
    pub(crate) body: Vec<Stmt>,
    /// Where its name stands; for a closure where its body begins.
    pub(crate) at: (u32, u32),
    /// Where its body begins.
    pub(crate) from: Position,
    /// Where its body ends; none for a closure without braces.
    pub(crate) to: Position,
    /// True of `|x| …`.
    pub(crate) is_closure: bool,
    /// True of `private fn`.
    pub(crate) is_private: bool,
}

/// A constant of a top level.
#[derive(Debug)]
pub(crate) struct Constant {
    /// Its name.
    pub(crate) name: String,
    /// Where its name stands.
    pub(crate) at: Position,
    /// What it is set to.
    pub(crate) value: Expr,
}

impl<'a> Survey<'a> {
    /// Takes scripts apart.
    pub(crate) fn new(parsed: &'a [Parsed<'a>], broken: Vec<&'a SourceFile>) -> Self {
        Self { scripts: parsed.iter().map(Script::new).collect(), broken }
    }

    /// The scripts that make up the rules.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Script<'a>> {
        self.scripts.iter().filter(|script| script.role != Role::Test)
    }

    /// The value of a constant of the rules.
    pub(crate) fn constant(&self, name: &str) -> Option<(&Script<'a>, &Constant)> {
        self.rules().find_map(|script| {
            script.constants.iter().find(|known| known.name == name).map(|known| (script, known))
        })
    }
}

impl<'a> Script<'a> {
    fn new(parsed: &'a Parsed<'a>) -> Self {
        Self {
            file: parsed.file,
            role: parsed.role,
            ast: &parsed.ast,
            functions: functions(&parsed.ast, &parsed.file.text),
            constants: constants(&parsed.ast),
        }
    }

    /// The functions that have a name.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter().filter(|function| !function.is_closure)
    }

    /// The named function whose body holds a place.
    pub(crate) fn around(&self, place: Position) -> Option<&Function> {
        self.named().find(|function| {
            let [from, at, to] = [function.from, place, function.to].map(line_column);
            (from..=to).contains(&at)
        })
    }

    /// Visits every node of the script, each with those that it stands in.
    pub(crate) fn visit(&self, mut see: impl FnMut(&[ASTNode<'_>])) {
        self.ast.walk(&mut |path| {
            see(path);
            true
        });
    }

    /// A finding at a place in this script.
    pub(crate) fn finding(
        &self,
        severity: Severity,
        code: Code,
        at: Position,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.finding_at(severity, code, line_column(at), message)
    }

    /// The same at a line and column.
    pub(crate) fn finding_at(
        &self,
        severity: Severity,
        code: Code,
        (line, column): (u32, u32),
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::error(message, &self.file.path).graded(severity).coded(code).at(
            &self.file.text,
            line,
            column,
        )
    }

    /// An error at a place in this script.
    pub(crate) fn error(&self, code: Code, at: Position, message: impl Into<String>) -> Diagnostic {
        self.finding(Severity::Error, code, at, message)
    }

    /// A warning at a place in this script.
    pub(crate) fn warning(
        &self,
        code: Code,
        at: Position,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.finding(Severity::Warning, code, at, message)
    }
}

impl Function {
    /// Visits every node of the body.
    pub(crate) fn visit(&self, mut see: impl FnMut(&[ASTNode<'_>])) {
        visit(&self.body, &mut see);
    }
}

/// Visits every node of some statements.
pub(crate) fn visit(statements: &[Stmt], see: &mut impl FnMut(&[ASTNode<'_>])) {
    for statement in statements {
        statement.walk(&mut Vec::new(), &mut |path: &[ASTNode<'_>]| {
            see(path);
            true
        });
    }
}

fn functions(ast: &AST, text: &str) -> Vec<Function> {
    let heads = source::heads(text);
    let module: &Module = ast.as_ref();
    let mut functions: Vec<Function> = ast
        .iter_functions()
        .map(|known| {
            let (name, parameters) = (known.name, known.params.len());
            let definition = module.get_script_fn(name, parameters);
            let (from, to) = definition.map_or((Position::NONE, Position::NONE), |definition| {
                (definition.body.start_position(), definition.body.end_position())
            });
            let is_closure = name.starts_with("anon$");
            let is_head = |head: &&Head<'_>| head.name == name && head.parameters == parameters;
            let at = match heads.iter().find(is_head) {
                Some(head) => (head.line, head.column),
                None => line_column(from),
            };
            let mut alone = ast.clone_functions_only();
            alone.retain_functions(|_, _, other, count| other == name && count == parameters);
            Function {
                name: name.to_owned(),
                params: known.params.iter().map(|name| (*name).to_owned()).collect(),
                body: roots(&alone),
                at,
                from,
                to,
                is_closure,
                is_private: known.access == FnAccess::Private,
            }
        })
        .collect();
    functions.sort_by_key(|function| function.at);
    functions
}

/// The statements of a tree that holds one function only.
fn roots(alone: &AST) -> Vec<Stmt> {
    let mut roots = Vec::new();
    alone.walk(&mut |path| {
        if let [ASTNode::Stmt(statement)] = path {
            roots.push((*statement).clone());
        }
        true
    });
    roots
}

pub(super) fn constants(ast: &AST) -> Vec<Constant> {
    ast.statements()
        .iter()
        .filter_map(|statement| match statement {
            Stmt::Var(variable, flags, _) if flags.intersects(ASTFlags::CONSTANT) => {
                Some(Constant {
                    name: variable.0.name.to_string(),
                    at: variable.0.pos,
                    value: variable.1.clone(),
                })
            }
            _ => None,
        })
        .collect()
}
