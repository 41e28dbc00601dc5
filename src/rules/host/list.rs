//! Functions on lists, of records or of scripts.

use rhai::{Array, Dynamic, Engine};
use serde_json::Value;

use super::Outcome;
use crate::rules::error::{refuse, type_in_words};
use crate::rules::view::with_json;

/// Reads the items of an array or of a record's list; none for `()`.
fn with_items<T>(function: &str, list: &Dynamic, read: impl FnOnce(&[Value]) -> T) -> Outcome<T> {
    with_json(list, |json| match json {
        Value::Array(items) => Ok(read(items)),
        Value::Null => Ok(read(&[])),
        _ => {
            let kind = type_in_words(list.type_name());
            Err(refuse(format!("`{function}` takes a list, not {kind}")))
        }
    })
}

fn has_any(list: Dynamic, wanted: Dynamic) -> Outcome<bool> {
    with_items("has_any", &list, |items| {
        with_items("has_any", &wanted, |wanted| items.iter().any(|item| wanted.contains(item)))
    })?
}

/// The texts in a list that begin with a text.
fn with_prefix(list: Dynamic, prefix: &str) -> Outcome<Dynamic> {
    if list.is_unit() {
        return Ok(Dynamic::UNIT);
    }
    with_items("with_prefix", &list, |items| {
        let texts = items.iter().filter_map(Value::as_str);
        let kept: Array = texts.filter(|item| item.starts_with(prefix)).map(Into::into).collect();
        kept.into()
    })
}

/// Makes the functions callable.
pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("has_any", has_any);
    engine.register_fn("with_prefix", with_prefix);
}
