//! Which field was `()` where a script calculated with one.

use rhai::{AST, ASTNode, Expr, Stmt};

use super::error::origin;
use crate::model::Origin;

/// The text of an operand, the left one being 0, of the operator at a place; `None` unless it is a
/// variable or a chain of fields.
pub(crate) fn operand(scripts: &[AST], place: &Origin, index: usize) -> Option<String> {
    let script = scripts.iter().find(|script| script.source() == Some(&*place.file))?;
    let mut found = None;
    script.walk(&mut |path| {
        let operand =
            match path.last() {
                Some(
                    ASTNode::Expr(Expr::FnCall(call, at)) | ASTNode::Stmt(Stmt::FnCall(call, at)),
                ) if call.is_operator_call() && is_at(place, *at) => call.args.get(index),
                Some(ASTNode::Stmt(Stmt::Assignment(assignment)))
                    if is_at(place, assignment.0.position()) =>
                {
                    Some(if index == 0 { &assignment.1.lhs } else { &assignment.1.rhs })
                }
                _ => None,
            };
        found = operand.and_then(field);
        found.is_none()
    });
    found
}

fn is_at(place: &Origin, position: rhai::Position) -> bool {
    let at = origin("", position);
    (at.line, at.column) == (place.line, place.column)
}

/// `contact.custom_attributes.seats` as it was written.
fn field(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Variable(variable, ..) => Some(variable.1.to_string()),
        Expr::Property(property, _) => Some(property.2.to_string()),
        Expr::Dot(chain, ..) => Some(format!("{}.{}", field(&chain.lhs)?, field(&chain.rhs)?)),
        _ => None,
    }
}
