//! Arguments as scripts pass them, and the errors where they pass something else.

use rhai::{Dynamic, Engine, ImmutableString};
use serde_json::Value;

use super::Outcome;
use crate::rules::error::{refuse, type_in_words};
use crate::rules::view::View;

/// The text in a value, `None` for `()`, an error for anything else.
pub(super) fn text_of(function: &str, value: &Dynamic) -> Outcome<Option<ImmutableString>> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Some(text.clone()));
    }
    if let Ok(letter) = value.as_char() {
        return Ok(Some(letter.to_string().into()));
    }
    match value.is_unit() {
        true => Ok(None),
        false => Err(refuse(format!("`{function}` takes text, not {}", in_words(value)))),
    }
}

/// An argument that must be text; `what` says what it stands for, such as "a pattern".
pub(super) fn required_text(
    function: &str,
    what: &str,
    value: &Dynamic,
) -> Outcome<ImmutableString> {
    text_of(function, value).ok().flatten().ok_or_else(|| {
        refuse(format!("`{function}` takes {what} as text, not {}", in_words(value)))
    })
}

/// What a value is, in the words of a script's writer.
pub(super) fn in_words(value: &Dynamic) -> String {
    match value.read_lock::<View>() {
        Some(view) if view.value().is_array() => "a list".to_owned(),
        _ => type_in_words(value.type_name()),
    }
}

/// A script's value as JSON.
///
/// # Errors
/// Says so where it holds what JSON cannot: a number that is not finite, a function, a decision.
pub(super) fn json_of(function: &str, value: &Dynamic) -> Outcome<Value> {
    if let Some(view) = value.read_lock::<View>() {
        return Ok(view.value().clone());
    }
    if let Ok(items) = value.as_array_ref() {
        return items.iter().map(|item| json_of(function, item)).collect();
    }
    if let Ok(map) = value.as_map_ref() {
        return map
            .iter()
            .map(|(name, value)| Ok((name.to_string(), json_of(function, value)?)))
            .collect();
    }
    if let Ok(float) = value.as_float() {
        return serde_json::Number::from_f64(float).map(Value::Number).ok_or_else(|| {
            refuse(format!("`{function}` cannot take {float}: numbers must be finite"))
        });
    }
    if let Ok(whole) = value.as_int() {
        return Ok(whole.into());
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(flag.into());
    }
    match text_of(function, value) {
        Ok(text) => Ok(text.map_or(Value::Null, |text| text.as_str().into())),
        Err(_) => Err(refuse(format!("`{function}` cannot take {}", in_words(value)))),
    }
}

/// What was found, or `()`.
pub(super) fn optional<T: Into<Dynamic>>(found: Option<T>) -> Dynamic {
    found.map_or(Dynamic::UNIT, Into::into)
}

/// Registers a function from text to text, under Rhai's own type, too, where Rhai has a method of
/// that name, which would otherwise win.
pub(super) fn register_text_fn(
    engine: &mut Engine,
    name: &'static str,
    function: fn(&str) -> String,
) {
    engine.register_fn(name, move |value: Dynamic| -> Outcome<Dynamic> {
        Ok(optional(text_of(name, &value)?.map(|text| function(&text))))
    });
    engine.register_fn(name, move |text: ImmutableString| function(&text));
}
