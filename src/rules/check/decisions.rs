//! Fields and methods that decisions have not, and writes to records.

use rhai::{ASTNode, Position, Stmt};

use super::flow::{Flow, Place, Reached, Variables};
use super::kind::{self, Decision, IDENTITIES, Kind};
use super::survey::{Script, Survey};
use crate::rules::calls::Functions;
use crate::rules::code::Code;
use crate::rules::diagnostic::{Diagnostic, nearest};
use crate::rules::files::Role;
use crate::rules::handle::INTERCOM_FIELDS;

/// What stands before the name of a custom attribute of Intercom.
const CUSTOM_ATTRIBUTES: &str = "custom_attributes";

/// Checks what is done with the records and decisions that handlers get. `visible` are the functions
/// that could be called as methods of anything.
pub(super) fn check(
    survey: &Survey<'_>,
    flow: &Flow,
    visible: &Functions,
    found: &mut Vec<Diagnostic>,
) {
    for (index, script) in survey.scripts.iter().enumerate() {
        if script.role == Role::Test {
            continue;
        }
        for (at, function) in script.functions.iter().enumerate() {
            let variables = flow.variables(survey, (index, at));
            function.visit(|path| {
                let Some(reached) = variables.reach(path) else { return };
                match reached.place.kind {
                    Kind::Decision(decision) => {
                        found.extend(used(script, decision, &reached, visible));
                    }
                    Kind::Record(record) if is_written(path) => {
                        found.push(read_only(script, &reached.place, record.in_words()));
                    }
                    _ => {}
                }
            });
            function.visit(|path| found.extend(named(script, &variables, path)));
        }
    }
}

/// True of the left side of an assignment.
pub(super) fn is_written(path: &[ASTNode<'_>]) -> bool {
    let [.., ASTNode::Stmt(Stmt::Assignment(assignment)), ASTNode::Expr(target)] = path else {
        return false;
    };
    std::ptr::eq(&assignment.1.lhs, *target)
}

fn read_only(script: &Script<'_>, place: &Place, record: &str) -> Diagnostic {
    let field = place.path.last();
    let at = field.map_or(Position::NONE, |field| field.at);
    let name = field.map_or("", |field| field.name.as_str());
    script
        .error(
            Code::ReadOnlyRecord,
            at,
            format!("{record} is read-only: `{name}` cannot be written"),
        )
        .with_help(format!(
            "write to the decision, or keep a value of your own in a variable: `let {name} = …`"
        ))
}

fn used(
    script: &Script<'_>,
    decision: Decision,
    reached: &Reached<'_>,
    visible: &Functions,
) -> Option<Diagnostic> {
    match (reached.place.path.first(), reached.call) {
        (None, Some((call, at))) => {
            let is_foreign = kind::is_method(&call.name) && !decision.has_method(&call.name);
            is_foreign.then(|| foreign_method(script, decision, &call.name, at))
        }
        (Some(field), call) => {
            // `brevo.NAME` of a decision that has methods of that name only.
            let is_method = decision.has_method(&field.name) || visible.knows(&field.name);
            field_of(script, decision, &field.name, field.at, is_method && call.is_none())
        }
        (None, None) => None,
    }
}

fn foreign_method(script: &Script<'_>, decision: Decision, name: &str, at: Position) -> Diagnostic {
    let message = format!("{} has no `{name}`", decision.in_words());
    let problem = script.error(Code::UnknownMethod, at, message);
    let methods: Vec<_> = decision.methods().map(|known| format!("`{known}`")).collect();
    problem.with_help(match decision {
        Decision::Company => "it has attributes, `skip` and `delete`; decide on the company's \
                              contacts in `map_contact`"
            .to_owned(),
        Decision::Emission if Decision::Contact.has_method(name) => {
            format!("it is about a contact: write `brevo.contact(…).{name}(…)`")
        }
        Decision::Intercom if Decision::IntercomEvent.has_method(name) => {
            "it happens once for each event: write it in `map_brevo_event`".to_owned()
        }
        _ => format!("it has {}", methods.join(", ")),
    })
}

/// What a decision for Intercom has.
fn writable() -> impl Iterator<Item = &'static str> {
    INTERCOM_FIELDS.into_iter().chain([CUSTOM_ATTRIBUTES])
}

/// What is wrong with a field of a decision.
fn field_of(
    script: &Script<'_>,
    decision: Decision,
    name: &str,
    at: Position,
    is_method: bool,
) -> Option<Diagnostic> {
    let help = match decision {
        Decision::Company => return None,
        Decision::Contact if IDENTITIES.contains(&name) => return None,
        Decision::Contact if !name.chars().any(char::is_lowercase) => return None,
        Decision::Intercom | Decision::IntercomEvent if writable().any(|known| known == name) => {
            return None;
        }
        _ if is_method => format!("it is a function: write `{name}(…)`"),
        Decision::Emission => format!("it is about a contact: write `brevo.contact(…).{name}`"),
        Decision::Contact => match nearest(name, IDENTITIES) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("attributes are written in upper case: `{}`", name.to_uppercase()),
        },
        Decision::Intercom | Decision::IntercomEvent => match nearest(name, writable()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("a custom attribute is `custom_attributes.{}`", name.to_lowercase()),
        },
    };
    let message = format!("{} has no `{name}`", decision.in_words());
    Some(script.error(Code::UnknownField, at, message).with_help(help))
}

/// Names of attributes in texts: `brevo.clear("PLAN")`, `brevo.keep("PLAN")`.
fn named(script: &Script<'_>, variables: &Variables, path: &[ASTNode<'_>]) -> Option<Diagnostic> {
    let Reached { place, call: Some((call, _)) } = variables.reach(path)? else { return None };
    let is_named = matches!(call.name.as_str(), "clear" | "keep") && place.path.is_empty();
    if !is_named || place.kind != Kind::Decision(Decision::Contact) {
        return None;
    }
    let rhai::Expr::StringConstant(name, at) = call.args.first()? else { return None };
    if !name.chars().any(char::is_lowercase) || matches!(name.as_str(), "sms" | "whatsapp") {
        return None;
    }
    let message = format!("`{}` takes an attribute, not `{name}`", call.name);
    let help = format!("attributes are written in upper case: `{}`", name.to_uppercase());
    Some(script.error(Code::UnknownField, *at, message).with_help(help))
}
