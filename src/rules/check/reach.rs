//! Rules that are never reached, and writes whose effect is lost.

use rhai::{ASTFlags, ASTNode, Expr, Position, Stmt, StmtBlock};

use super::flow::{Flow, Reached, Variables};
use super::kind::{Decision, Kind};
use super::survey::{Script, Survey};
use crate::rules::code::Code;
use crate::rules::diagnostic::Diagnostic;
use crate::rules::error::line_column;

/// Checks the order of statements in all functions.
pub(super) fn check(survey: &Survey<'_>, flow: &Flow, found: &mut Vec<Diagnostic>) {
    for (index, script) in survey.scripts.iter().enumerate() {
        for (at, function) in script.functions.iter().enumerate() {
            let variables = flow.variables(survey, (index, at));
            check_list(script, &function.body, &variables, found);
            function.visit(|path| {
                for block in blocks(path) {
                    check_list(script, block.statements(), &variables, found);
                }
                check_condition(script, path, found);
                check_switch(script, path, found);
            });
        }
    }
}

/// The blocks that a node holds.
fn blocks<'e>(path: &[ASTNode<'e>]) -> Vec<&'e StmtBlock> {
    match path.last() {
        Some(ASTNode::Stmt(Stmt::If(flow, _) | Stmt::TryCatch(flow, _))) => {
            vec![&flow.body, &flow.branch]
        }
        Some(ASTNode::Stmt(Stmt::While(flow, _) | Stmt::Do(flow, ..))) => vec![&flow.body],
        Some(ASTNode::Stmt(Stmt::For(each, _))) => vec![&each.2.body],
        Some(ASTNode::Stmt(Stmt::Block(block))) => vec![block],
        Some(ASTNode::Expr(Expr::Stmt(block))) => vec![block],
        _ => Vec::new(),
    }
}

fn check_list(
    script: &Script<'_>,
    statements: &[Stmt],
    variables: &Variables,
    found: &mut Vec<Diagnostic>,
) {
    check_reach(script, statements, found);
    check_skip(script, statements, variables, found);
    check_lists(script, statements, variables, found);
}

fn check_reach(script: &Script<'_>, statements: &[Stmt], found: &mut Vec<Diagnostic>) {
    let mut real = statements.iter().filter(|statement| !statement.is_noop());
    let Some(end) = real.find(|statement| always_leaves(statement)) else { return };
    let Some(next) = real.next() else { return };
    let word = match end {
        Stmt::Return(_, flags, _) if flags.intersects(ASTFlags::BREAK) => "`throw`",
        Stmt::Return(..) => "`return`",
        Stmt::BreakLoop(_, flags, _) if flags.intersects(ASTFlags::BREAK) => "`break`",
        Stmt::BreakLoop(..) => "`continue`",
        _ => "what stands",
    };
    let (line, _) = line_column(end.position());
    let place = start_of(next);
    let problem = script.warning(Code::Unreachable, place, "this is never reached");
    found.push(problem.with_help(format!("{word} on line {line} always comes before it")));
}

/// True of a statement after which the next one never runs.
fn always_leaves(statement: &Stmt) -> bool {
    let ends = |block: &StmtBlock| block.statements().iter().any(always_leaves);
    match statement {
        Stmt::Return(..) | Stmt::BreakLoop(..) => true,
        Stmt::If(choice, _) => {
            !choice.branch.is_empty() && ends(&choice.body) && ends(&choice.branch)
        }
        Stmt::Block(block) => ends(block),
        Stmt::Expr(expression) => match &**expression {
            Expr::Stmt(block) => ends(block),
            _ => false,
        },
        _ => false,
    }
}

fn start_of(statement: &Stmt) -> Position {
    match statement {
        Stmt::Assignment(assignment) => assignment.1.lhs.start_position(),
        other => other.position(),
    }
}

fn check_condition(script: &Script<'_>, path: &[ASTNode<'_>], found: &mut Vec<Diagnostic>) {
    let (condition, is_loop) = match path.last() {
        Some(ASTNode::Stmt(Stmt::If(choice, _))) => (&choice.expr, false),
        Some(ASTNode::Stmt(Stmt::While(round, _))) => (&round.expr, true),
        _ => return,
    };
    let Expr::BoolConstant(value, at) = condition else { return };
    if is_loop && *value {
        return;
    }
    let message = format!("this condition is always {value}");
    let problem = script.warning(Code::ConstantCondition, *at, message);
    found.push(problem.with_help(match value {
        true => "leave out the condition, and what stands in `else`",
        false => "what stands below it never runs: leave it out, or make it a comment",
    }));
}

/// Cases of a `switch` behind one of the same value.
fn check_switch(script: &Script<'_>, path: &[ASTNode<'_>], found: &mut Vec<Diagnostic>) {
    let Some(ASTNode::Stmt(Stmt::Switch(switch, _))) = path.last() else { return };
    let cases = &switch.1;
    for case in cases.cases.values() {
        let mut blocks = case.blocks.iter().filter_map(|index| cases.expressions.get(*index));
        let always = blocks.find(|case| matches!(case.lhs, Expr::BoolConstant(true, _)));
        let (Some(first), Some(lost)) = (always, blocks.next()) else { continue };
        let (line, _) = line_column(first.rhs.start_position());
        let at = inside(&lost.rhs);
        let problem = script.warning(Code::Unreachable, at, "this case is never reached");
        found.push(problem.with_help(format!("line {line} has a case of the same value")));
    }
}

/// Where the first statement of a case stands.
fn inside(expression: &Expr) -> Position {
    match expression {
        Expr::Stmt(block) => block.statements().first().map_or(block.position(), start_of),
        other => other.start_position(),
    }
}

/// Writes behind `brevo.skip(…)` in the same block.
fn check_skip(
    script: &Script<'_>,
    statements: &[Stmt],
    variables: &Variables,
    found: &mut Vec<Diagnostic>,
) {
    let mut skipped: Option<(Decision, u32)> = None;
    for statement in statements {
        let Some((decision, done, at)) = deed(statement, variables) else { continue };
        match (&skipped, done) {
            (None, Deed::Skip) => skipped = Some((decision, line_column(at).0)),
            (Some((of, line)), Deed::Write | Deed::List { .. }) if *of == decision => {
                let line = *line;
                let message = "this has no effect: the record is skipped";
                let problem = script.warning(Code::NoEffect, at, message);
                found.push(problem.with_help(format!(
                    "`skip` on line {line} does not end the function: write `return brevo.skip(…);`"
                )));
                return;
            }
            _ => {}
        }
    }
}

/// Lists that are decided on twice, one statement after the other, so that the first is lost.
fn check_lists(
    script: &Script<'_>,
    statements: &[Stmt],
    variables: &Variables,
    found: &mut Vec<Diagnostic>,
) {
    let mut decided: Vec<(Decision, String, Position)> = Vec::new();
    for statement in statements {
        if may_leave(statement) {
            decided.clear();
        }
        let Some((decision, Deed::List { list }, at)) = deed(statement, variables) else {
            continue;
        };
        let earlier = decided.iter().position(|(of, known, _)| *of == decision && *known == list);
        if let Some(index) = earlier {
            let (.., first) = decided.remove(index);
            let (line, _) = line_column(at);
            let problem = script.warning(
                Code::NoEffect,
                first,
                format!("this has no effect: line {line} decides on the same list"),
            );
            found.push(problem.with_help("the last word on a list wins: leave one of them out"));
        }
        decided.push((decision, list, at));
    }
}

/// True if a statement can end the function.
fn may_leave(statement: &Stmt) -> bool {
    let mut leaves = false;
    super::survey::visit(std::slice::from_ref(statement), &mut |path| {
        leaves |=
            matches!(path.last(), Some(ASTNode::Stmt(Stmt::Return(..) | Stmt::BreakLoop(..))));
    });
    leaves
}

/// What a statement does to a decision.
enum Deed {
    Skip,
    Write,
    List { list: String },
}

fn deed(statement: &Stmt, variables: &Variables) -> Option<(Decision, Deed, Position)> {
    if let Stmt::Assignment(assignment) = statement {
        let reached = variables.reach_expression(&assignment.1.lhs)?;
        let Kind::Decision(decision) = reached.place.kind else { return None };
        return Some((decision, Deed::Write, reached.place.path.first()?.at));
    }
    let Stmt::Expr(expression) = statement else { return None };
    let Reached { place, call: Some((call, at)) } = variables.reach_expression(expression)? else {
        return None;
    };
    let Kind::Decision(decision) = place.kind else { return None };
    if !place.path.is_empty() {
        return None;
    }
    let deed = match call.name.as_str() {
        "skip" => Deed::Skip,
        "add_to_list" | "remove_from_list" => match call.args.first()? {
            Expr::StringConstant(name, _) => Deed::List { list: name.to_string() },
            Expr::IntegerConstant(number, _) => Deed::List { list: number.to_string() },
            _ => Deed::Write,
        },
        "set_all" | "add_to_lists" | "clear" | "keep" | "track" | "upsert_object" | "add_tag"
        | "remove_tag" | "link_company" | "note" | "reply" => Deed::Write,
        _ => return None,
    };
    Some((decision, deed, at))
}
