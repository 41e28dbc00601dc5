//! The properties that the scripts of a set name, as getters and setters.
//!
//! Rhai looks for a getter or setter of a name first and goes to the indexer when there is none,
//! by way of an error that it formats and drops. The names are known once the scripts are parsed, so
//! each gets its own, with what it stands for worked out beforehand. What they do is what the
//! indexers do.

use std::collections::BTreeMap;

use rhai::{AST, ASTNode, Dynamic, Engine, Expr, ImmutableString, Position};

use super::handle;
use super::view::View;

/// A property, and whether every dot before it stands next to it.
type Names = BTreeMap<ImmutableString, bool>;

/// Makes the properties that these scripts name quick to read and to write.
pub(crate) fn register<'a>(engine: &mut Engine, scripts: impl IntoIterator<Item = &'a AST>) {
    let mut names = Names::new();
    for script in scripts {
        collect(script, &mut names);
    }
    for (name, has_its_dot) in names {
        engine.register_get(name.as_str(), |(): &mut ()| Dynamic::UNIT);
        let field = name.clone();
        engine.register_get(name.as_str(), move |view: &mut View| view.field(&field));
        // Origins and errors stand at the dot, where the indexer has them.
        if has_its_dot {
            handle::register_property(engine, &name);
        }
    }
}

fn collect(script: &AST, names: &mut Names) {
    script.walk(&mut |path| {
        if let Some(ASTNode::Expr(Expr::Dot(chain, _, dot))) = path.last() {
            let named = match &chain.rhs {
                Expr::Dot(rest, ..) | Expr::Index(rest, ..) => &rest.lhs,
                last => last,
            };
            if let Expr::Property(property, at) = named {
                *names.entry(property.2.clone()).or_insert(true) &= before(*at) == *dot;
            }
        }
        true
    });
}

/// The place one column before.
pub(crate) fn before(position: Position) -> Position {
    match (position.line(), position.position()) {
        (Some(line), Some(column)) if column > 1 => {
            let [line, column] = [line, column - 1].map(|n| u16::try_from(n).unwrap_or(u16::MAX));
            Position::new(line, column)
        }
        _ => position,
    }
}
