//! `${VAR}`, `${VAR:-default}` and `${file:PATH}` in values.

use std::path::Path;

use super::findings::Findings;
use super::tree::{Node, Position, Scalar, Span, Value};

const FORMS: &str = "the forms are `${NAME}`, `${NAME:-default}` and `${file:PATH}`; \
                     `$${` is a literal `${`";

/// Where values come from that are not in the text.
pub(super) struct Environment<'a> {
    /// Looks up an environment variable.
    pub(super) variables: &'a dyn Fn(&str) -> Option<String>,
    /// The folder that `${file:PATH}` starts from.
    pub(super) folder: &'a Path,
}

/// Expands all values of a file's tree. What cannot be expanded is noted and becomes broken.
pub(super) fn expand(
    node: &mut Node,
    source: &str,
    environment: &Environment<'_>,
    findings: &Findings,
) {
    let on_failure = |span: Span, failures: Vec<Failure>| {
        for failure in failures {
            let span = locate(source, span, &failure.reference).unwrap_or(span);
            findings.add(span, failure.message, Some(failure.help));
        }
        Value::Broken
    };
    walk(node, environment, &on_failure);
}

/// Expands all values of the defaults. What cannot be expanded is absent.
pub(super) fn expand_defaults(node: &mut Node, environment: &Environment<'_>) {
    walk(node, environment, &|_, _| Value::Absent);
}

fn walk(
    node: &mut Node,
    environment: &Environment<'_>,
    on_failure: &dyn Fn(Span, Vec<Failure>) -> Value,
) {
    match &mut node.value {
        Value::Absent | Value::Broken => {}
        Value::List(items) => items.iter_mut().for_each(|i| walk(i, environment, on_failure)),
        Value::Map(entries) => {
            entries.iter_mut().for_each(|e| walk(&mut e.node, environment, on_failure));
        }
        Value::Scalar(scalar) if !scalar.text.contains("${") => {}
        Value::Scalar(scalar) => {
            node.value = match expand_text(&scalar.text, environment) {
                Ok(text) => {
                    let unexpanded = Some(std::mem::take(&mut scalar.text));
                    Value::Scalar(Scalar { text, unexpanded, is_plain: false })
                }
                Err(failures) => on_failure(node.span, failures),
            };
        }
    }
}

/// A reference that has no value.
#[derive(Debug)]
struct Failure {
    /// As it stands in the text.
    reference: String,
    message: String,
    help: String,
}

fn expand_text(text: &str, environment: &Environment<'_>) -> Result<String, Vec<Failure>> {
    let (mut expanded, mut failures, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let Some((reference, behind)) = after.split_once('}') else {
            let message = "`${` has no closing `}`".to_owned();
            let help = FORMS.to_owned();
            failures.push(Failure { reference: "${".to_owned(), message, help });
            return Err(failures);
        };
        match value_of(reference, environment) {
            Ok(value) => expanded.push_str(&value),
            Err((message, help)) => {
                failures.push(Failure { reference: format!("${{{reference}}}"), message, help });
            }
        }
        rest = behind;
    }
    expanded.push_str(rest);
    if failures.is_empty() { Ok(expanded) } else { Err(failures) }
}

/// The value of what stands between `${` and `}`, or a message and help.
fn value_of(reference: &str, environment: &Environment<'_>) -> Result<String, (String, String)> {
    if let Some(path) = reference.strip_prefix("file:") {
        return content_of(path, environment.folder);
    }
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_name(name) || default.is_some_and(|default| default.contains("${")) {
        // What stands here may be a secret that was put into braces, so it is not repeated.
        return Err(("`${…}` does not hold the name of a variable".to_owned(), FORMS.to_owned()));
    }
    let value = (environment.variables)(name);
    match (value, default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err((
            format!("the variable `{name}` is not set"),
            format!("set `{name}` in the environment, or write `${{{name}:-default}}`"),
        )),
    }
}

fn content_of(path: &str, folder: &Path) -> Result<String, (String, String)> {
    let full = folder.join(path);
    match std::fs::read_to_string(&full) {
        Ok(content) => Ok(content.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => {
            let reason = match error.kind() {
                std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                std::io::ErrorKind::InvalidData => "it is not text in UTF-8".to_owned(),
                _ => error.to_string(),
            };
            let message = format!("the file `{}` cannot be read: {reason}", full.display());
            Err((message, "the path is relative to the configuration's folder".to_owned()))
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Where `needle` stands in the source within `span`.
fn locate(source: &str, span: Span, needle: &str) -> Option<Span> {
    let lines = (1u32..).zip(source.lines());
    let within = |line: u32| (span.start.line..=span.end.line).contains(&line);
    lines.filter(|(line, _)| within(*line)).find_map(|(line, text)| {
        let skipped = if line == span.start.line { span.start.column - 1 } else { 0 };
        let begin = text.char_indices().nth(usize::try_from(skipped).ok()?)?.0;
        let found = begin + text.get(begin..)?.find(needle)?;
        let column = 1 + u32::try_from(text.get(..found)?.chars().count()).ok()?;
        let width = u32::try_from(needle.chars().count()).ok()?;
        let start = Position { line, column };
        Some(Span { start, end: Position { line, column: column + width } })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_values_defaults_or_failures() {
        fn case(text: &str, expected: Result<&str, &str>) {
            let variables = |name: &str| match name {
                "NAME" => Some("ann".to_owned()),
                "EMPTY" => Some(String::new()),
                "NESTED" => Some("${NAME}".to_owned()),
                _ => None,
            };
            let environment = Environment { variables: &variables, folder: Path::new(".") };
            let found = expand_text(text, &environment).map_err(|failures| {
                let messages: Vec<String> = failures.into_iter().map(|f| f.message).collect();
                messages.join("; ")
            });
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        }
        case("${NAME}", Ok("ann"));
        case("a ${NAME}, b ${NAME}.", Ok("a ann, b ann."));
        case("${EMPTY}", Ok(""));
        case("${NAME:-bob}", Ok("ann"));
        case("${EMPTY:-bob}", Ok("bob"));
        case("${NONE:-bob}", Ok("bob"));
        case("${NONE:-}", Ok(""));
        case("${NESTED}", Ok("${NAME}"));
        case("$${NAME} costs $5 or $$", Ok("${NAME} costs $5 or $$"));
        case("$NAME", Ok("$NAME"));
        case("${A} ${B}", Err("the variable `A` is not set; the variable `B` is not set"));
        case("${NAME", Err("`${` has no closing `}`"));
        case("${}", Err("`${…}` does not hold the name of a variable"));
        case("${sk-live}", Err("`${…}` does not hold the name of a variable"));
        case("${A:-${NAME}}", Err("`${…}` does not hold the name of a variable"));
        case("${file:no/such}", Err("the file `./no/such` cannot be read: there is no such file"));
    }
}
