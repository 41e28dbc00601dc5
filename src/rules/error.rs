//! What goes wrong while a script runs, and where.

use std::fmt;

use rhai::{Dynamic, EvalAltResult, Position};
use serde::Serialize;
use serde_json::Value;

use super::budget::Spent;
use super::view::{View, to_json};
use crate::model::Origin;

/// How much of a thrown text is kept.
const MESSAGE_BYTES: usize = 1024;

/// What ended an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScriptErrorKind {
    /// The script threw.
    Threw,
    /// A function or a decision refused what the script asked of it.
    Refused,
    /// The script did what its language does not allow, such as arithmetic on `()`.
    Failed,
    /// It used more than it may.
    LimitExceeded(Limit),
    /// `merge_contact` came to another decision on its own result.
    Unstable,
    /// A function of ours panicked.
    Panicked,
}

/// A limit that a script ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Steps of the interpreter.
    Operations,
    /// Wall time; the one limit that a second attempt may keep.
    Time,
    /// Memory held at once.
    Memory,
    /// Nested calls.
    CallDepth,
    /// Size of a text, an array or a map, or the number of variables.
    Size,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operations => "operations",
            Self::Time => "time",
            Self::Memory => "memory",
            Self::CallDepth => "call depth",
            Self::Size => "size",
        })
    }
}

/// A script that broke, which is not the same as one that said `skip`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}{}", place(.origin.as_ref()))]
pub struct ScriptError {
    /// What ended it.
    pub kind: ScriptErrorKind,
    /// What happened, in one line of at most 1 KiB.
    pub message: String,
    /// The place.
    pub origin: Option<Origin>,
    /// The calls that led there, innermost first.
    pub trace: Vec<Origin>,
}

impl ScriptError {
    /// True if a second attempt may succeed: a pure function that failed otherwise fails again.
    pub fn is_time_limit(&self) -> bool {
        self.kind == ScriptErrorKind::LimitExceeded(Limit::Time)
    }

    /// The same with a place, where Rhai gave none, as for limits: that of the innermost call, or
    /// the given one.
    pub(crate) fn or_at(mut self, place: impl FnOnce() -> Option<Origin>) -> Self {
        if self.origin.as_ref().is_some_and(|origin| origin.line > 0) {
            return self;
        }
        let call = self.trace.iter().find(|call| call.line > 0).cloned();
        self.origin = call.or_else(place).or(self.origin);
        self
    }

    /// The error of a call that began in `file`. `operand` tells the text of an operand of the
    /// operator at a place, if it can.
    pub(crate) fn new(
        error: EvalAltResult,
        file: &str,
        operand: &dyn Fn(&Origin, usize) -> Option<String>,
    ) -> Self {
        let mut trace = Vec::new();
        let mut file = file.to_owned();
        let mut error = error;
        loop {
            match error {
                EvalAltResult::ErrorInFunctionCall(_, source, inner, at) => {
                    trace.push(origin(&file, at));
                    if !source.is_empty() {
                        file = source;
                    }
                    error = *inner;
                }
                EvalAltResult::ErrorInModule(_, inner, _) => error = *inner,
                _ => break,
            }
        }
        trace.reverse();
        let origin = origin(&file, error.position());
        let (kind, message) = explain(error, &|index| operand(&origin, index));
        Self { kind, message, origin: Some(origin), trace }
    }
}

/// The suffix that names a place.
fn place(origin: Option<&Origin>) -> String {
    match origin {
        Some(origin) if origin.line > 0 => format!(": {origin}"),
        Some(origin) => format!(": {}", origin.file),
        None => String::new(),
    }
}

/// A place in a file.
pub(crate) fn origin(file: &str, position: Position) -> Origin {
    let (line, column) = line_column(position);
    Origin { file: file.into(), line, column }
}

/// A position as line and column; 0 where it is not known.
pub(crate) fn line_column(position: Position) -> (u32, u32) {
    let number = |n: Option<usize>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    (number(position.line()), number(position.position()))
}

/// What a host function throws: told apart from what a script throws, and caught just the same.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    message: String,
    /// The error of the rules that a test ran.
    cause: Option<ScriptError>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The error in a test whose rules broke.
pub(crate) fn broken(cause: ScriptError) -> Box<EvalAltResult> {
    let refusal = Refusal { message: cause.to_string(), cause: Some(cause) };
    Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(refusal), Position::NONE))
}

/// What broke in the rules, if that is what an error of a test is about.
pub(crate) fn cause(error: &EvalAltResult) -> Option<ScriptError> {
    match error {
        EvalAltResult::ErrorRuntime(value, _) => value.read_lock::<Refusal>()?.cause.clone(),
        _ => None,
    }
}

/// The error of a host function that will not do what it was asked.
pub(crate) fn refuse(message: impl Into<String>) -> Box<EvalAltResult> {
    let refusal = Dynamic::from(Refusal { message: message.into(), cause: None });
    Box::new(EvalAltResult::ErrorRuntime(refusal, Position::NONE))
}

/// The same error, at another place than Rhai would put it.
pub(crate) fn placed(mut error: Box<EvalAltResult>, at: Position) -> Box<EvalAltResult> {
    error.set_position(at);
    error
}

/// Says what happened in the words of a script's writer.
fn explain(
    error: EvalAltResult,
    operand: &dyn Fn(usize) -> Option<String>,
) -> (ScriptErrorKind, String) {
    use EvalAltResult as E;
    use ScriptErrorKind::{Failed, LimitExceeded, Refused, Threw};
    let (kind, message) = match error {
        E::ErrorRuntime(value, _) => match value.read_lock::<Refusal>() {
            Some(refusal) => (Refused, refusal.to_string()),
            None => (Threw, thrown(&value)),
        },
        E::ErrorTooManyOperations(_) => {
            (LimitExceeded(Limit::Operations), "the script takes too many steps".to_owned())
        }
        E::ErrorTerminated(token, _) => match token.read_lock::<Spent>() {
            Some(spent) => (LimitExceeded(spent.limit), spent.message()),
            None => (Failed, "the script was ended".to_owned()),
        },
        E::ErrorStackOverflow(_) => {
            (LimitExceeded(Limit::CallDepth), "functions call each other too deeply".to_owned())
        }
        E::ErrorDataTooLarge(what, _) => {
            (LimitExceeded(Limit::Size), format!("too large: {}", what.to_lowercase()))
        }
        E::ErrorTooManyVariables(_) => {
            (LimitExceeded(Limit::Size), "too many variables".to_owned())
        }
        E::ErrorFunctionNotFound(signature, _) => (Failed, no_function(&signature, operand)),
        E::ErrorVariableNotFound(name, _) => (Failed, format!("there is no variable `{name}`")),
        E::ErrorMismatchDataType(wanted, got, _) | E::ErrorMismatchOutputType(wanted, got, _) => (
            Failed,
            format!("{} is needed here, not {}", type_in_words(&wanted), type_in_words(&got)),
        ),
        other => (Failed, lower_first(&without_position(&other))),
    };
    (kind, single_line(&message))
}

/// What a script threw; a large value is not carried along.
fn thrown(value: &Dynamic) -> String {
    match value.as_immutable_string_ref() {
        Ok(text) if !text.is_empty() => text.to_string(),
        _ if value.is_unit() => "the script threw".to_owned(),
        _ if value.is::<View>() => "the script threw a record".to_owned(),
        // Rhai would print all of it first, however much that is.
        _ if value.is_array() || value.is_map() => match to_json(value) {
            Value::String(instead) => instead,
            json => json.to_string(),
        },
        _ if value.is_fnptr() => "the script threw a function".to_owned(),
        _ => value.to_string(),
    }
}

/// `lower (i64)` or `* ((), i64)`, in words.
fn no_function(signature: &str, operand: &dyn Fn(usize) -> Option<String>) -> String {
    let (name, types) = match signature.split_once(" (") {
        Some((name, types)) => (name, types.strip_suffix(')').unwrap_or(types)),
        None => (signature, ""),
    };
    let types: Vec<_> = types.split(", ").filter(|t| !t.is_empty()).map(type_in_words).collect();
    let is_operator = !name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let unit = types.iter().position(|word| word == "()").filter(|_| is_operator);
    if let Some(field) = unit.and_then(operand) {
        return format!("`{field}` is (), and `{name}` does not work on it");
    }
    match types.as_slice() {
        [left, right] if is_operator => format!("`{name}` does not work on {left} and {right}"),
        [] => format!("there is no function `{name}` without arguments"),
        types => format!("there is no function `{name}` for {}", types.join(", ")),
    }
}

/// A type as a script's writer calls it.
pub(crate) fn type_in_words(name: &str) -> String {
    let words = match name.trim_start_matches('&').trim_start_matches("mut ") {
        "()" => "()",
        "i64" => "a whole number",
        "f64" => "a number with decimals",
        "bool" => "true or false",
        "string" => "text",
        text if text.contains("ImmutableString") || text == "str" => "text",
        "char" => "a character",
        "array" => "an array",
        "map" => "a map",
        "record" => "a record",
        "decision" => "a decision",
        "Fn" | "FnPtr" => "a function",
        other => return format!("`{other}`"),
    };
    words.to_owned()
}

fn without_position(error: &EvalAltResult) -> String {
    let text = error.to_string();
    match text.rfind(" (line ") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// At most 1 KiB of a text, with control characters escaped.
pub(crate) fn single_line(text: &str) -> String {
    let mut line = String::new();
    for letter in text.chars() {
        if line.len() + letter.len_utf8() > MESSAGE_BYTES {
            line.push('…');
            break;
        }
        if letter.is_control() { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    line
}
