//! What compiling does not find: names that do not exist, duplicates, rules that are never reached.
//!
//! Only what is certain is an error; what only looks wrong is a warning, and what the accounts alone
//! can tell is a note. A file that does not parse hides nothing in the others, and nothing is
//! reported of the others that it could be the reason of.

mod access;
mod decisions;
mod definitions;
mod fields;
mod flow;
mod foreign;
mod kind;
mod lists;
mod literals;
mod live;
mod reach;
mod report;
mod source;
mod survey;
mod syntax;
mod variables;

use std::collections::BTreeMap;

use rhai::{AST, Engine};

pub use live::{BrevoNames, IntercomNames, LiveNames, RecordNames};
pub use report::{Checked, check_files, check_folder};
pub(crate) use syntax::syntax_error;

use self::flow::Flow;
use self::survey::Survey;
use super::calls::{CallScope, Functions, check_calls};
use super::diagnostic::Diagnostic;
use super::files::Role;
use super::host::HostData;
use super::load::Parsing;
use super::ruleset::{RuleEnvironment, SourceFile};

/// Checks all scripts of a set together, and its tests where `for_tests` are the functions that
/// these have.
pub(crate) fn check(
    engine: &Engine,
    for_tests: Option<&Engine>,
    parsing: &Parsing<'_>,
    environment: &RuleEnvironment,
    data: &HostData,
) -> Vec<Diagnostic> {
    let survey = Survey::new(&parsing.parsed, parsing.broken_rules());
    let flow = Flow::of(&survey);
    let host = Functions::of_engine(engine);
    let mut found = Vec::new();
    definitions::check(&survey, &host, &mut found);
    literals::check(&survey, environment, data, &host, &mut found);
    let visible = definitions::visible(host, &survey);
    check_all_calls(&survey, &visible, for_tests, &mut found);
    variables::check(&survey, &visible, &mut found);
    lists::check(&survey, environment, &mut found);
    decisions::check(&survey, &flow, &visible, &mut found);
    fields::check(&survey, &flow, &mut found);
    reach::check(&survey, &flow, &mut found);
    definitions::forgive_imports(&survey, &mut found);
    definitions::explain_private(&survey, &mut found);
    found
}

/// The names of the constants of a top level.
pub(crate) fn constants(ast: &AST) -> Vec<String> {
    survey::constants(ast).into_iter().map(|constant| constant.name).collect()
}

/// Where the name of a function stands in its definition; Rhai remembers the place of its body
/// only.
pub(crate) fn head_of(text: &str, name: &str) -> (u32, u32) {
    let heads = source::heads(text);
    heads.iter().find(|head| head.name == name).map_or((0, 0), |head| (head.line, head.column))
}

/// Checks each call against the functions that it can reach.
fn check_all_calls(
    survey: &Survey<'_>,
    visible: &Functions,
    for_tests: Option<&Engine>,
    found: &mut Vec<Diagnostic>,
) {
    let libraries = libraries(survey);
    let tests = for_tests.map(|engine| definitions::visible(Functions::of_engine(engine), survey));
    for script in &survey.scripts {
        let visible = match (script.role, &tests) {
            (Role::Test, Some(tests)) => tests,
            (Role::Test, None) => continue,
            _ => visible,
        };
        let mut own = Functions::default();
        for function in script.named() {
            own.add(&function.name, function.params.len());
        }
        let scope = CallScope { visible, own: Some(&own), libraries: &libraries };
        found.extend(check_calls(script.file, script.ast, &scope));
    }
}

/// The functions of modules, by their names.
fn libraries<'a>(survey: &Survey<'a>) -> BTreeMap<&'a str, Functions> {
    let mut libraries: BTreeMap<&str, Functions> = BTreeMap::new();
    for script in survey.rules() {
        let Role::Library(name) = script.role else { continue };
        let functions = libraries.entry(name).or_default();
        for function in script.named().filter(|function| !function.is_private) {
            functions.add(&function.name, function.params.len());
        }
    }
    for file in &survey.broken {
        let Role::Library(name) = file.role() else { continue };
        add_heads(libraries.entry(name).or_default(), file);
    }
    libraries
}

/// Adds what a file that does not parse seems to define. How many parameters there are cannot be
/// relied on.
fn add_heads(functions: &mut Functions, file: &SourceFile) {
    for head in source::heads(&file.text) {
        (0..=ANY_ARITY).for_each(|count| functions.add(head.name, count));
    }
}

/// More parameters than any function has.
const ANY_ARITY: usize = 16;

#[cfg(test)]
mod tests;
