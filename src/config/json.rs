//! Values of the file as JSON, where they are anything at all.

use serde_json::Value as Json;

use super::tree::{Node, Scalar, Value};

/// JSON of a value: a plain one is a number, true or false if it looks like one; one that came from
/// a variable is text, so that its type does not hang on the environment.
pub(super) fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Absent | Value::Broken => Json::Null,
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.node))).collect()
        }
        Value::Scalar(Scalar { text, is_plain, .. }) => match plain_json(text) {
            Some(json) if *is_plain => json,
            _ => Json::String(text.clone()),
        },
    }
}

fn plain_json(text: &str) -> Option<Json> {
    match text {
        "true" | "True" | "TRUE" => return Some(Json::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Json::Bool(false)),
        _ => {}
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Json::from(whole));
    }
    let looks_like_a_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let float =
        text.parse().ok().filter(|_| looks_like_a_number).and_then(serde_json::Number::from_f64);
    float.map(Json::Number)
}
