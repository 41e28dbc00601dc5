//! Chains such as `contact.companies[0].name`, step by step, whichever way Rhai nests them.

use rhai::{ASTFlags, ASTNode, Expr, FnCallExpr, Position};

/// One step of a chain.
#[derive(Debug, Clone)]
pub(super) enum Step<'e> {
    /// `.name`.
    Name(&'e str, Position),
    /// `["name"]`.
    Key(&'e str, Position),
    /// `[index]`.
    Index,
    /// `.call(…)`.
    Call(&'e FnCallExpr, Position),
}

/// Where a chain begins, and its steps. `None` for an expression that is no chain, and for the inner
/// part of one, which its whole has told already.
pub(super) fn chain<'e>(path: &[ASTNode<'e>]) -> Option<(&'e Expr, Vec<Step<'e>>)> {
    let [before @ .., ASTNode::Expr(expression)] = path else { return None };
    if !matches!(expression, Expr::Dot(..) | Expr::Index(..)) || is_inner(before, expression) {
        return None;
    }
    steps(expression)
}

/// Where a chain begins, and its steps.
pub(super) fn steps(expression: &Expr) -> Option<(&Expr, Vec<Step<'_>>)> {
    let mut steps = Vec::new();
    let root = descend(expression, &mut steps);
    Some((root?, steps))
}

fn is_inner(before: &[ASTNode<'_>], expression: &Expr) -> bool {
    match before.last() {
        Some(ASTNode::Expr(Expr::Dot(..))) => true,
        Some(ASTNode::Expr(Expr::Index(pair, flags, _))) => {
            std::ptr::eq(&pair.lhs, expression) || !flags.intersects(ASTFlags::BREAK)
        }
        _ => false,
    }
}

/// Collects the steps of a chain and answers its beginning.
fn descend<'e>(expression: &'e Expr, into: &mut Vec<Step<'e>>) -> Option<&'e Expr> {
    match expression {
        Expr::Dot(pair, ..) => {
            let root = descend(&pair.lhs, into);
            follow(&pair.rhs, into);
            root
        }
        Expr::Index(pair, flags, _) => {
            let root = descend(&pair.lhs, into);
            index(&pair.rhs, *flags, into);
            root
        }
        Expr::Property(..) | Expr::MethodCall(..) => None,
        root => Some(root),
    }
}

/// Collects the steps of what stands to the right of a dot.
fn follow<'e>(expression: &'e Expr, into: &mut Vec<Step<'e>>) {
    match expression {
        Expr::Property(property, at) => into.push(Step::Name(property.2.as_str(), *at)),
        Expr::MethodCall(call, at) | Expr::FnCall(call, at) => into.push(Step::Call(call, *at)),
        Expr::Dot(pair, ..) => {
            follow(&pair.lhs, into);
            follow(&pair.rhs, into);
        }
        Expr::Index(pair, flags, _) => {
            follow(&pair.lhs, into);
            index(&pair.rhs, *flags, into);
        }
        _ => {}
    }
}

/// Collects an index, and where the chain goes on behind it, the rest.
fn index<'e>(expression: &'e Expr, flags: ASTFlags, into: &mut Vec<Step<'e>>) {
    match expression {
        Expr::Dot(pair, ..) if !flags.intersects(ASTFlags::BREAK) => {
            push_index(&pair.lhs, into);
            follow(&pair.rhs, into);
        }
        Expr::Index(pair, inner, _) if !flags.intersects(ASTFlags::BREAK) => {
            push_index(&pair.lhs, into);
            index(&pair.rhs, *inner, into);
        }
        index => push_index(index, into),
    }
}

fn push_index<'e>(expression: &'e Expr, into: &mut Vec<Step<'e>>) {
    into.push(match expression {
        Expr::StringConstant(name, at) => Step::Key(name.as_str(), *at),
        _ => Step::Index,
    });
}
