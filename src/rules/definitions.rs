//! Definition files for the Rhai language server: what scripts can call, in words that an editor
//! shows. They describe and change nothing; the engine never reads them.

use std::collections::BTreeSet;
use std::path::Path;

use rhai::AST;
use serde_json::Value;

use super::check;
use super::diagnostic::Diagnostic;
use super::files::{Role, read_files};
use super::host;
use super::reference::{
    FieldDoc, FunctionDoc, Group, IDENTITIES, METHODS, RECORDS, key, rhai_engine, to_rhai,
};
use super::ruleset::RuleEnvironment;

/// The first line of each file; what begins so was written here and may be overwritten.
const MARK: &str = "/// Written by `tajo scripts definitions`; changes are lost.\n";

/// What Brevo's account has, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountNames {
    /// Attributes and their types in Brevo's words.
    pub attributes: Vec<(String, String)>,
    /// Lists by number.
    pub lists: Vec<(i64, String)>,
}

/// A definition file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionFile {
    /// Its name.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// The definition files of the scripts in a folder: host functions, methods, records, functions of
/// tests, constants of the configuration, modules of `lib/`, and what an account has.
///
/// # Errors
/// The folder or a file in it cannot be read. What does not compile is left out.
pub fn definitions(
    dir: &Path,
    environment: &RuleEnvironment,
    account: Option<&AccountNames>,
) -> Result<Vec<DefinitionFile>, Vec<Diagnostic>> {
    let mut files = vec![
        static_file("rhai", "Rhai's own functions, as far as rules have them.", &rhai_functions()),
        static_file("functions", "Functions of rules.", &plain_functions()),
        static_file(
            "methods",
            "Methods of `brevo`, `intercom`, records and decisions.",
            &methods(),
        ),
        static_file("records", "Fields of records.", &records()),
        static_file("configuration", "Constants from the configuration.", &constants(environment)),
    ];
    for file in read_files(dir)? {
        if let Role::Library(name) = file.role()
            && let Ok(script) = rhai_engine().compile(&file.text)
        {
            files.push(DefinitionFile {
                name: format!("lib-{name}.d.rhai"),
                text: format!(
                    "{MARK}///\n/// The module of `lib/{name}.rhai`.\nmodule {name};\n\n{}",
                    library(&script)
                ),
            });
        }
    }
    if let Some(account) = account {
        files.push(static_file("account", "What the account in Brevo has.", &of_account(account)));
    }
    Ok(files)
}

/// True for a file that was written here.
pub fn is_definition_file(text: &str) -> bool {
    text.starts_with(MARK)
}

fn static_file(name: &str, about: &str, body: &str) -> DefinitionFile {
    let text = format!("{MARK}///\n/// {about}\nmodule static;\n\n{}\n", body.trim_end());
    DefinitionFile { name: format!("{name}.d.rhai"), text }
}

/// Rhai's own functions, without operators and without what is switched off.
fn rhai_functions() -> String {
    let text = rhai_engine().definitions().static_module();
    let mut known = BTreeSet::new();
    let mut kept = String::new();
    for item in text.split("\n\n") {
        let (words, line) = item.trim().rsplit_once('\n').unwrap_or(("", item.trim()));
        let Some(line) = plain_line(line).filter(|line| known.insert(line.clone())) else {
            continue;
        };
        kept += format!("{words}\n{line}\n\n").trim_start();
    }
    kept
}

/// A function as Rhai defines it, in the types that the server's grammar knows.
fn plain_line(line: &str) -> Option<String> {
    let (name, rest) = line.strip_prefix("fn ")?.split_once('(')?;
    let is_name = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !is_name || name == "sleep" {
        return None;
    }
    let (parameters, result) = rest.strip_suffix(';')?.rsplit_once(") -> ")?;
    let mut typed = Vec::new();
    for parameter in parameters.split(", ").filter(|parameter| !parameter.is_empty()) {
        let (name, kind) = parameter.split_once(": ")?;
        typed.push(format!("{name}: {}", plain_kind(kind)?));
    }
    Some(format!("fn {name}({}) -> {};", typed.join(", "), plain_kind(result)?))
}

/// A type of Rhai; `None` for those that rules never see.
fn plain_kind(kind: &str) -> Option<&'static str> {
    Some(match kind.trim() {
        "string" | "String" => "String",
        "int" => "int",
        "float" => "float",
        "bool" => "bool",
        "char" => "char",
        "array" | "Array" => "Array",
        "map" | "Map" => "Map",
        "Fn" | "FnPtr" => "FnPtr",
        "()" => "void",
        "f32" | "blob" => return None,
        _ => "?",
    })
}

fn plain_functions() -> String {
    let of_tests = METHODS.iter().filter(|group| group.handle.is_empty());
    host::FUNCTIONS.iter().chain(of_tests).map(group).collect()
}

fn methods() -> String {
    let types = "/// What a handler writes, as `brevo`.\ntype Decision = ?;\n\n\
                 /// What a handler of the other direction writes, as `intercom`.\ntype Intercom = ?;\n\n\
                 /// What `run_contact` and the like give in tests.\ntype Decided = ?;\n\n";
    let on_handles = METHODS.iter().filter(|group| !group.handle.is_empty());
    format!("{types}{}", on_handles.map(group).collect::<String>())
}

fn group(group: &Group) -> String {
    group.sorted().into_iter().map(|doc| function(group, doc)).collect()
}

/// A function with its words, once for each way to call it.
fn function(group: &Group, doc: &FunctionDoc) -> String {
    let mut text = String::new();
    for signature in doc.signatures {
        let mut words = format!("{}\n\n{}\n", doc.summary, doc.notes);
        for parameter in signature.parameters {
            words += &format!("\n- `{}`: {}", parameter.name, parameter.about);
        }
        if !doc.failures.is_empty() {
            words += &format!("\n\nAn error if {}.", doc.failures.join("; if "));
        }
        if let Some(example) = doc.examples.first() {
            words += &format!("\n\n```rhai\n{}\n```", example.code);
        }
        let receiver = (!group.handle.is_empty())
            .then(|| format!("{}: {}", group.handle, group.receiver.definition()));
        let parameters = signature.parameters.iter().map(|parameter| {
            let name = if parameter.name == "type" { "kind" } else { parameter.name };
            format!("{name}: {}", parameter.kind.definition())
        });
        let parameters: Vec<_> = receiver.into_iter().chain(parameters).collect();
        let result = signature.result.definition();
        let parameters = parameters.join(", ");
        text += &format!("{}fn {}({parameters}) -> {result};\n\n", comment(&words), doc.name);
    }
    text
}

fn records() -> String {
    let mut text =
        String::from("/// A record, read-only; what is absent is `()`.\ntype Record = ?;\n\n");
    let decision: Vec<&FieldDoc> = IDENTITIES.iter().collect();
    text += &fields("brevo", "What scripts write as `brevo.email = …`.", &decision);
    for record in RECORDS.iter().filter(|record| !record.fields.is_empty()) {
        let handler = record.title.split_once(", in ").map_or("", |(_, handler)| handler);
        let handler = handler.trim_matches('`').to_owned();
        let fields_of: Vec<&FieldDoc> = record.fields.iter().collect();
        text += &fields(&format!("{handler}_{}", record.record), record.about, &fields_of);
    }
    text
}

/// The fields of a variable, as a type of its name: `map_brevo_event_event` is
/// `MapBrevoEventEventFields`.
fn fields(variable: &str, about: &str, fields: &[&FieldDoc]) -> String {
    let mut name = String::new();
    for word in variable.split('_') {
        let mut letters = word.chars();
        name.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        name.push_str(letters.as_str());
    }
    let mut text = format!("{}type {name}Fields = #{{\n", comment(about));
    for field in fields {
        let path = Value::from(field.path).to_string();
        let words = comment(field.about).replace("///", "    ///");
        text += &format!("{words}    {path}: {},\n", field.kind.definition());
    }
    text + "};\n\n"
}

fn constants(environment: &RuleEnvironment) -> String {
    let mut words = String::from("Lists of Brevo by the names of the configuration.\n");
    for (name, id) in &environment.lists {
        words += &format!("\n- `lists.{name}`: {id}");
    }
    let names: Vec<_> =
        environment.lists.keys().map(|name| format!("{}: int", key(name))).collect();
    let mut text = format!("{}const lists: {};\n\n", comment(&words), object(&names));
    let mut words = String::from("What stands under `scripts.settings`.\n");
    let mut entries = Vec::new();
    // Values may have come from secret variables, so only their kinds are shown.
    for (name, value) in &environment.settings {
        let kind = kind_of(value);
        words += &format!("\n- `settings.{name}`: {kind}");
        entries.push(format!("{}: {kind}", key(name)));
    }
    text += &format!("{}const settings: {};\n", comment(&words), object(&entries));
    text
}

fn object(entries: &[String]) -> String {
    match entries {
        [] => "#{}".to_owned(),
        entries => format!("#{{ {} }}", entries.join(", ")),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "void",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int",
        Value::Number(_) => "float",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Map",
    }
}

/// The functions and constants of a module.
fn library(script: &AST) -> String {
    let mut text = String::new();
    let mut functions: Vec<_> = script.iter_functions().collect();
    functions.sort_by_key(|function| (function.name.to_owned(), function.params.len()));
    for function in functions.iter().filter(|function| !function.access.is_private()) {
        for line in &function.comments {
            text += &format!("{line}\n");
        }
        let parameters: Vec<_> = function.params.iter().map(|name| format!("{name}: ?")).collect();
        text += &format!("fn {}({}) -> ?;\n\n", function.name, parameters.join(", "));
    }
    for name in check::constants(script) {
        text += &format!("const {name}: ?;\n\n");
    }
    format!("{}\n", text.trim_end())
}

fn of_account(account: &AccountNames) -> String {
    let mut words = String::from("Lists of the account, by number and name.\n");
    for (id, name) in &account.lists {
        words += &format!("\n- {id}: {}", to_rhai(&Value::from(name.as_str())));
    }
    let mut text = format!("{}type AccountLists = ?;\n\n", comment(&words));
    for (name, kind) in &account.attributes {
        // A name that is none in Rhai is written `brevo["ODD NAME"]`.
        if key(name) == *name {
            let words = format!("An attribute of Brevo, {kind}: `brevo.{name} = …`.");
            text += &format!("{}const {name}: {};\n\n", comment(&words), attribute_kind(kind));
        }
    }
    text
}

fn attribute_kind(kind: &str) -> &'static str {
    match kind {
        "float" => "float",
        "boolean" => "bool",
        "multiple-choice" => "Array",
        _ => "String",
    }
}

/// Words as a documentation comment. A line feed in a name would end the comment.
fn comment(words: &str) -> String {
    let mut text = String::new();
    let mut was_empty = false;
    for line in words.trim().lines() {
        let is_empty = line.trim().is_empty();
        if !(is_empty && was_empty) {
            text += format!("/// {line}").trim_end();
            text.push('\n');
        }
        was_empty = is_empty;
    }
    text
}

#[cfg(test)]
#[path = "definitions_tests.rs"]
mod tests;
