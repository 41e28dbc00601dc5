//! The page: a text with gaps, and the tables that fill them.

use serde_json::Value;

use super::doc::{Example, Expected, FieldDoc, FunctionDoc, Group, Kind};
use super::rhai::MISSING;
use super::{
    DECIDED_FIELDS, HANDLERS, IDENTITIES, INTERCOM_FIELDS, NOT_CALLED_YET, NOT_READ_YET,
    NOT_SENT_YET, RECORDS, RUN_OPTIONS,
};
use crate::rules::handlers::handler;
use crate::rules::limits::Limits;

/// The text with gaps such as `{{handlers}}`.
const TEMPLATE: &str = include_str!("page.md");
/// Where lines of text are broken.
const WIDTH: usize = 110;
/// The longest example that has its result beside it.
const CODE_COLUMN: usize = 64;
const NOT_YET: &str = "*It can be written and tested; the engine of this version does not";

/// Fills the gaps.
pub(super) fn render(functions: &[Group], methods: &[Group]) -> String {
    let group = |title: &str| {
        let found = methods.iter().find(|group| group.title == title);
        found.map(group_body).unwrap_or_default()
    };
    let gaps = [
        ("handlers", handlers()),
        ("records", records()),
        ("views", group("Lists and maps in records")),
        ("identities", fields("brevo", &IDENTITIES)),
        ("decision contact", group("On a contact")),
        ("decision company", group("On a company")),
        ("decision occurrence", group("On a conversation or an event")),
        ("intercom fields", fields("intercom", &INTERCOM_FIELDS)),
        ("intercom contact", group("On an Intercom contact")),
        ("intercom event", group("In `map_brevo_event` alone")),
        ("index", index(functions)),
        ("functions", functions.iter().map(group_with_title).collect()),
        ("tests", group("Functions of tests")),
        ("run options", fields("", &RUN_OPTIONS)),
        ("decided", group("Questions to a decision")),
        ("decided fields", fields("d", &DECIDED_FIELDS)),
        ("limits", limits(&Limits::default())),
        ("missing", missing()),
    ];
    let mut page = TEMPLATE.to_owned();
    for (name, text) in gaps {
        page = page.replace(&format!("{{{{{name}}}}}"), text.trim_end());
    }
    page
}

fn handlers() -> String {
    let mut text = String::from("| handler | called | by convention in |\n| --- | --- | --- |\n");
    for doc in &HANDLERS {
        let parameters = handler(doc.name).map_or(String::new(), |h| h.parameters.join(", "));
        let name = doc.name;
        text +=
            &format!("| [`{name}({parameters})`](#{name}) | {} | `{}` |\n", doc.called, doc.file);
    }
    for doc in &HANDLERS {
        text += &format!("\n### {}\n\n", doc.name);
        if NOT_CALLED_YET.contains(&doc.name) {
            text += &format!("{NOT_YET} call it yet.*\n\n");
        }
        let called = format!("Called when {}. {}", doc.called, doc.notes);
        let called = called.replace("Called when after", "Called after");
        text += &format!("{}\n\n```rhai\n{}\n```\n", wrap(&called), doc.example);
    }
    text
}

fn records() -> String {
    let mut text = String::new();
    for record in &RECORDS {
        text += &format!("\n### {}\n\n{}\n", record.title, wrap(record.about));
        if !record.fields.is_empty() {
            text += &format!("\n{}", fields(record.record, record.fields));
        }
        let dot = format!("{}.", record.record);
        let empty: Vec<_> = NOT_READ_YET
            .iter()
            .filter(|path| path.starts_with(&dot) && !record.fields.is_empty())
            .map(|path| format!("`{path}`"))
            .collect();
        if !empty.is_empty() {
            text +=
                &format!("\n*Not read yet in this version, and so empty: {}.*\n", empty.join(", "));
        }
    }
    text.trim_start().to_owned()
}

/// A table of fields of a variable.
fn fields(record: &str, fields: &[FieldDoc]) -> String {
    let mut text = String::from("| field | type | what it is |\n| --- | --- | --- |\n");
    for field in fields {
        let dot = if record.is_empty() { "" } else { "." };
        let names: Vec<_> =
            field.path.split(", ").map(|name| format!("`{record}{dot}{name}`")).collect();
        let path =
            if field.path == "anything else" { field.path.to_owned() } else { names.join(", ") };
        text += &format!("| {path} | {} | {} |\n", kind(field.kind), cell(field.about));
    }
    text
}

fn index(groups: &[Group]) -> String {
    let mut text = String::from("| | |\n| --- | --- |\n");
    for group in groups {
        let names: Vec<_> =
            group.sorted().iter().map(|function| format!("[`{0}`](#{0})", function.name)).collect();
        text += &format!("| {} | {} |\n", group.title, names.join(", "));
    }
    text
}

fn group_with_title(group: &Group) -> String {
    format!("### {}\n\n{}\n\n", group.title, group_body(group).trim_end())
}

fn group_body(group: &Group) -> String {
    let handlers: Vec<_> = group.handlers.iter().map(|name| format!("`{name}`")).collect();
    let place = match handlers.as_slice() {
        [] | [_] => String::new(),
        [first @ .., last] => format!("In {} and {last}. ", first.join(", ")),
    };
    let about = format!("{place}{}", group.about);
    let mut text = String::new();
    if !about.is_empty() {
        text += &format!("{}\n\n", wrap(about.trim()));
    }
    for doc in group.sorted() {
        text += &function(group, doc);
    }
    text
}

fn function(group: &Group, doc: &FunctionDoc) -> String {
    let dot = if group.handle.is_empty() { "" } else { "." };
    let mut text = format!("#### {}{dot}{}\n\n", group.handle, doc.name);
    for signature in doc.signatures {
        let names: Vec<_> = signature.parameters.iter().map(|parameter| parameter.name).collect();
        let result = match signature.result {
            Kind::Nothing => String::new(),
            result => format!(" → {}", kind(result)),
        };
        text += &format!("`{}{dot}{}({})`{result}  \n", group.handle, doc.name, names.join(", "));
    }
    text += &wrap(format!("{} {}", doc.summary, doc.notes).trim());
    text += "\n\n";
    if group.handle == "brevo" && NOT_SENT_YET.contains(&doc.name) {
        text += &format!("{NOT_YET} send it yet.*\n\n");
    }
    let mut known = Vec::new();
    for parameter in doc.signatures.iter().flat_map(|signature| signature.parameters) {
        if !known.contains(&parameter.name) {
            known.push(parameter.name);
            let line =
                format!("`{}`, {}: {}", parameter.name, kind(parameter.kind), parameter.about);
            text += &format!("- {}\n", wrap(&line).replace('\n', "\n  "));
        }
    }
    if !doc.failures.is_empty() {
        let line = format!("An error if {}.", doc.failures.join("; if "));
        text += &format!("- {}\n", wrap(&line).replace('\n', "\n  "));
    }
    if text.ends_with("\n\n") {
        text.pop();
    }
    format!("{text}{}\n", examples(doc.examples))
}

fn examples(examples: &[Example]) -> String {
    if examples.is_empty() {
        return String::new();
    }
    let lengths = examples.iter().map(|example| example.code.chars().count());
    let column = lengths.filter(|length| *length <= CODE_COLUMN).max().unwrap_or(0);
    let mut text = String::from("\n```rhai\n");
    for Example { code, expected } in examples {
        text += &match comment(expected) {
            None => format!("{code}\n"),
            Some(comment) if code.chars().count() > column => format!("{code}\n    // {comment}\n"),
            Some(comment) => format!("{code:<column$}    // {comment}\n"),
        };
    }
    text + "```\n"
}

/// What comes of an example; nothing where that is not worth saying.
fn comment(expected: &Expected) -> Option<String> {
    let value = |json: &str| {
        serde_json::from_str(json).map_or_else(|_| json.to_owned(), |value| to_rhai(&value))
    };
    Some(match expected {
        Expected::Value(json) => value(json),
        Expected::Error(message) => format!("error: {message}"),
        Expected::Decides { look: "d.skipped", value: "false", .. } => return None,
        Expected::Decides { handler, look, value: json } => {
            let decided = format!("{look} is {}", value(json));
            match *handler {
                "map_contact" => decided,
                handler => format!("in `{handler}`: {decided}"),
            }
        }
    })
}

fn limits(limits: &Limits) -> String {
    let rows = [
        ("operations", limits.operations.to_string(), "steps of the interpreter"),
        ("time_ms", limits.time.as_millis().to_string(), "milliseconds"),
        (
            "memory_mb",
            (limits.memory_bytes >> 20).to_string(),
            "megabytes that the script holds at once",
        ),
        ("call_depth", limits.call_depth.to_string(), "calls of functions within calls"),
        ("string_bytes", limits.string_bytes.to_string(), "bytes of one text"),
        (
            "array_items",
            limits.array_items.to_string(),
            "items of one array, with those of arrays in it",
        ),
        ("map_items", limits.map_items.to_string(), "entries of one map, with those of maps in it"),
    ];
    let mut text =
        String::from("| `scripts.limits` | default | what it bounds |\n| --- | ---: | --- |\n");
    for (name, default, about) in rows {
        text += &format!("| `{name}` | {default} | {about} |\n");
    }
    text
}

fn missing() -> String {
    let mut text = String::from(
        "| not here | for example | what is said | write instead |\n| --- | --- | --- | --- |\n",
    );
    for missing in &MISSING {
        let example = format!("`{}`", missing.example);
        let cells = [missing.what, &example, missing.error, missing.instead].map(cell);
        text += &format!("| {} |\n", cells.join(" | "));
    }
    text
}

/// A text as the cell of a table, which a `|` would end.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A type, with `()` as code.
fn kind(kind: Kind) -> String {
    kind.words().replace("()", "`()`")
}

/// A JSON value as a script writes it.
pub(crate) fn to_rhai(value: &Value) -> String {
    match value {
        Value::Null => "()".to_owned(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(to_rhai).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) if map.is_empty() => "#{}".to_owned(),
        Value::Object(map) => {
            let entries =
                map.iter().map(|(name, value)| format!("{}: {}", key(name), to_rhai(value)));
            format!("#{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// The name of a map's entry, quoted where it is no name in Rhai.
pub(crate) fn key(name: &str) -> String {
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_name = begins_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_name { name.to_owned() } else { Value::from(name).to_string() }
}

/// Breaks a text into lines; code in back-ticks is not broken.
fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    let mut is_code = false;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 {
            let breaks = !is_code && column + 1 + length > WIDTH;
            wrapped.push(if breaks { '\n' } else { ' ' });
            column = if breaks { 0 } else { column + 1 };
        }
        wrapped.push_str(word);
        column += length;
        is_code ^= word.matches('`').count() % 2 == 1;
    }
    wrapped
}
