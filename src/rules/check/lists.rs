//! Lists that rules name in texts: `brevo.add_to_list("leads")`, tables for `add_to_lists`.

use std::collections::BTreeSet;

use rhai::{ASTNode, Expr, Position, Stmt};

use super::flow::call_of;
use super::survey::{Script, Survey};
use crate::rules::code::Code;
use crate::rules::diagnostic::{Diagnostic, nearest};
use crate::rules::ruleset::RuleEnvironment;

/// A list that a script names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// How it is named.
    pub(super) list: List,
    /// Where.
    pub(super) at: Position,
}

/// A list by name or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum List {
    /// A name, of `lists` or of the account.
    Name(String),
    /// A number of the account.
    Number(i64),
}

/// Tells names that `lists` lacks: each may be the name of a list in the account, or a slip.
pub(super) fn check(
    survey: &Survey<'_>,
    environment: &RuleEnvironment,
    found: &mut Vec<Diagnostic>,
) {
    for script in survey.rules() {
        let asked = asked_for(script);
        for (script, named) in named(survey, script) {
            let List::Name(name) = &named.list else { continue };
            if environment.lists.contains_key(name) || asked.contains(name) {
                continue;
            }
            let message = format!("`lists` has no `{name}`");
            let known = environment.lists.keys().map(String::as_str);
            found.push(match nearest(name, known) {
                Some(near) => script.warning(Code::UnknownList, named.at, message).with_help(
                    format!("did you mean `{near}`? otherwise it must be a list of the account"),
                ),
                None => {
                    let severity = crate::rules::diagnostic::Severity::Note;
                    script.finding(severity, Code::UnknownList, named.at, message).with_help(
                        "it must be the exact name of a list of the account; `tajo scripts check \
                         --live` looks it up",
                    )
                }
            });
        }
    }
}

/// All lists that a script names, with the script where they stand: a table may be another's.
pub(super) fn named<'s, 'a>(
    survey: &'s Survey<'a>,
    script: &'s Script<'a>,
) -> Vec<(&'s Script<'a>, Named)> {
    let mut all = Vec::new();
    script.visit(|path| {
        let Some((call, _)) = call_of(path) else { return };
        if !matches!(path.last(), Some(ASTNode::Expr(Expr::MethodCall(..)))) {
            return;
        }
        match (call.name.as_str(), &*call.args) {
            ("add_to_list" | "remove_from_list", [list]) => {
                let mut names = Vec::new();
                collect(list, &mut names);
                all.extend(names.into_iter().map(|named| (script, named)));
            }
            ("double_opt_in", [_, _, lists]) => {
                let mut names = Vec::new();
                collect(lists, &mut names);
                all.extend(names.into_iter().map(|named| (script, named)));
            }
            ("add_to_lists", [_, table]) => {
                let (script, table) = match table {
                    Expr::Variable(variable, ..) => match survey.constant(&variable.1) {
                        Some((script, constant)) => (script, &constant.value),
                        None => return,
                    },
                    table => (script, table),
                };
                let Expr::Map(map, _) = table else { return };
                let mut names = Vec::new();
                for (_, value) in &map.0 {
                    collect(value, &mut names);
                }
                all.extend(names.into_iter().map(|named| (script, named)));
            }
            _ => {}
        }
    });
    all
}

/// The lists that an expression can be, as far as it is made of literals.
fn collect(expression: &Expr, into: &mut Vec<Named>) {
    match expression {
        Expr::StringConstant(name, at) => {
            into.push(Named { list: List::Name(name.to_string()), at: *at });
        }
        Expr::IntegerConstant(number, at) => {
            into.push(Named { list: List::Number(*number), at: *at });
        }
        Expr::Array(items, _) => items.iter().for_each(|item| collect(item, into)),
        Expr::Stmt(block) => collect_last(block.statements(), into),
        _ => {}
    }
}

fn collect_last(statements: &[Stmt], into: &mut Vec<Named>) {
    match statements.last() {
        Some(Stmt::Expr(expression)) => collect(expression, into),
        Some(Stmt::If(choice, _)) => {
            collect_last(choice.body.statements(), into);
            collect_last(choice.branch.statements(), into);
        }
        Some(Stmt::Block(block)) => collect_last(block.statements(), into),
        _ => {}
    }
}

/// Names that a script asks for before it uses them: `"vip" in lists`.
fn asked_for(script: &Script<'_>) -> BTreeSet<String> {
    let mut asked = BTreeSet::new();
    script.visit(|path| {
        let Some((call, _)) = call_of(path) else { return };
        if matches!(call.name.as_str(), "in" | "contains") {
            asked.extend(call.args.iter().filter_map(|argument| match argument {
                Expr::StringConstant(name, _) => Some(name.to_string()),
                _ => None,
            }));
        }
    });
    asked
}
