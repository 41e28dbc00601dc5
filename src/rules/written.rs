//! Values on their way from a script into a decision.

use rhai::{Array, Dynamic};
use serde_json::Value;

use super::error::type_in_words;
use super::view::{View, json_of};
use crate::model::AttributeValue;

/// A value that was written, or the statement that there is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Written {
    /// A value.
    Value(AttributeValue),
    /// `()`, `""` or an empty list.
    Nothing,
}

impl Written {
    /// Reads a script's value; the error ends the sentence "it cannot be …".
    pub(crate) fn from_script(value: &Dynamic) -> Result<Self, String> {
        if value.is_unit() {
            return Ok(Self::Nothing);
        }
        if let Ok(float) = value.as_float() {
            return match float.is_finite() {
                true => Ok(Self::Value(AttributeValue::Float(float))),
                false => Err(format!("{float}: numbers must be finite")),
            };
        }
        if value.is_array() || value.is_map() || value.is::<View>() || value.is_char() {
            let json = json_of(value).map_err(|_| "a value so large or deep".to_owned())?;
            return Self::from_json(&json);
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            return Ok(Self::text(&text));
        }
        if let Ok(whole) = value.as_int() {
            return Ok(Self::Value(AttributeValue::Integer(whole)));
        }
        match value.as_bool() {
            Ok(flag) => Ok(Self::Value(AttributeValue::Bool(flag))),
            Err(name) => Err(type_in_words(name)),
        }
    }

    /// Reads a JSON value; the error ends the sentence "it cannot be …".
    pub(crate) fn from_json(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::Null => Self::Nothing,
            Value::Bool(flag) => Self::Value(AttributeValue::Bool(*flag)),
            Value::Number(number) => Self::Value(match number.as_i64() {
                Some(whole) => AttributeValue::Integer(whole),
                None => AttributeValue::Float(number.as_f64().unwrap_or_default()),
            }),
            Value::String(text) => Self::text(text),
            Value::Array(items) if items.is_empty() => Self::Nothing,
            Value::Array(items) => {
                let options: Option<Vec<_>> = items.iter().map(option_text).collect();
                let options = options.ok_or("a list of anything but texts and numbers")?;
                Self::Value(AttributeValue::List(options))
            }
            Value::Object(_) => return Err("a map: write one of its fields".to_owned()),
        })
    }

    /// Text, `""` being none.
    pub(crate) fn text(text: &str) -> Self {
        match text {
            "" => Self::Nothing,
            text => Self::Value(AttributeValue::Text(text.to_owned())),
        }
    }
}

fn option_text(item: &Value) -> Option<String> {
    match item {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// An attribute's value as a script reads it.
pub(crate) fn to_dynamic(value: &AttributeValue) -> Dynamic {
    match value {
        AttributeValue::Bool(flag) => (*flag).into(),
        AttributeValue::Integer(whole) => (*whole).into(),
        AttributeValue::Float(float) => (*float).into(),
        AttributeValue::Text(text) => text.as_str().into(),
        AttributeValue::List(items) => {
            items.iter().map(|item| item.as_str().into()).collect::<Array>().into()
        }
    }
}
