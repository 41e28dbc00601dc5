//! Fields of records that are named almost like known ones.

use super::flow::{Field, Flow};
use super::kind::{CONVERSATIONS, Kind, LOCATION, Record};
use super::survey::{Script, Survey};
use crate::rules::code::Code;
use crate::rules::diagnostic::{Diagnostic, nearest};
use crate::rules::files::Role;

/// Warns of `contact.emial`: a record may have fields that nobody knows here, so only what is near a
/// known one is told.
pub(super) fn check(survey: &Survey<'_>, flow: &Flow, found: &mut Vec<Diagnostic>) {
    for (index, script) in survey.scripts.iter().enumerate() {
        if script.role == Role::Test {
            continue;
        }
        for (at, function) in script.functions.iter().enumerate() {
            let variables = flow.variables(survey, (index, at));
            function.visit(|path| {
                let Some(reached) = variables.reach(path) else { return };
                let Kind::Record(record) = reached.place.kind else { return };
                found.extend(misspelt(script, record, &reached.place.path));
            });
        }
    }
}

fn misspelt(script: &Script<'_>, record: Record, path: &[Field]) -> Option<Diagnostic> {
    let (field, known, whose) = match path {
        [first, second, ..] if record == Record::Contact && first.name == "conversations" => {
            (second, CONVERSATIONS.as_slice(), "`conversations`")
        }
        [first, second, ..] if record == Record::Contact && first.name == "location" => {
            (second, LOCATION.as_slice(), "`location`")
        }
        [first, ..] => (first, record.fields(), record.in_words()),
        [] => return None,
    };
    if known.contains(&field.name.as_str()) {
        return None;
    }
    let near = nearest(&field.name, known.iter().copied())?;
    let message = format!("{whose} has no `{}`", field.name);
    let problem = script.warning(Code::UnknownRecordField, field.at, message);
    Some(problem.with_help(format!("did you mean `{near}`?")))
}
