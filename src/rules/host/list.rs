//! Functions on lists, of records or of scripts.

use rhai::{Array, Dynamic, Engine};
use serde_json::Value;

use super::Outcome;
use super::argument::{in_words, json_of, required_text};
use crate::rules::error::refuse;
use crate::rules::reference::{FunctionDoc, Kind, Parameter, fails, gives, parameter, signature};
use crate::rules::view::{View, with_json};

const LIST: Parameter =
    parameter("list", Kind::Maybe(&Kind::List), "a list of a record, or an array");

/// What these functions have in common.
pub(super) const ABOUT: &str = "They take lists of records and arrays of scripts alike. `filter`, `map`, `find`, `some`, `all`, \
     `contains`, `len` and `in` work on both, too.";

/// The words for these functions.
pub(super) const DOCS: [FunctionDoc; 4] = [
    FunctionDoc {
        name: "first",
        signatures: &[signature(&[LIST], Kind::Any)],
        summary: "The first item, `()` where there is none.",
        notes: "`array[0]` of an empty array is an error; of a record\'s list it is `()`, too.",
        failures: &["the value is neither a list nor `()`"],
        examples: &[
            gives("first([3, 4])", "3"),
            gives("contact.tags.filter(|t| t == \"none\").first()", "null"),
            gives("first(())", "null"),
            fails("first(\"text\")", "`first` takes a list, not text"),
        ],
    },
    FunctionDoc {
        name: "has_any",
        signatures: &[signature(
            &[LIST, parameter("wanted", Kind::Maybe(&Kind::List), "what is looked for")],
            Kind::Bool,
        )],
        summary: "Whether the list holds any of the wanted items.",
        notes: "`()` holds nothing.",
        failures: &["one of both is neither a list nor `()`"],
        examples: &[
            gives("has_any(contact.tags, [\"vip\", \"partner\"])", "true"),
            gives("has_any(contact.tags, [])", "false"),
            gives("has_any((), [\"vip\"])", "false"),
            fails("has_any(\"vip\", [\"vip\"])", "`has_any` takes a list, not text"),
        ],
    },
    FunctionDoc {
        name: "last",
        signatures: &[signature(&[LIST], Kind::Any)],
        summary: "The last item, `()` where there is none.",
        notes: "",
        failures: &["the value is neither a list nor `()`"],
        examples: &[
            gives("last([3, 4])", "4"),
            gives("last([])", "null"),
            gives("last(())", "null"),
        ],
    },
    FunctionDoc {
        name: "with_prefix",
        signatures: &[signature(
            &[LIST, parameter("prefix", Kind::Text, "how the wanted texts begin")],
            Kind::Maybe(&Kind::List),
        )],
        summary: "The texts of the list that begin with the prefix, in their order.",
        notes: "Items that are no text are left out. Case counts.",
        failures: &["the list is neither a list nor `()`", "the prefix is no text"],
        examples: &[
            gives(
                "with_prefix([\"plan:pro\", \"vip\", \"plan:trial\"], \"plan:\")",
                r#"["plan:pro", "plan:trial"]"#,
            ),
            gives("with_prefix((), \"plan:\")", "null"),
            fails(
                "with_prefix([\"a\"], 1)",
                "`with_prefix` takes a prefix as text, not a whole number",
            ),
        ],
    },
];

fn not_a_list(function: &str, value: &Dynamic) -> Box<rhai::EvalAltResult> {
    refuse(format!("`{function}` takes a list, not {}", in_words(value)))
}

/// Reads the items of an array or of a record's list; none for `()`.
fn with_items<T>(function: &str, list: &Dynamic, read: impl FnOnce(&[Value]) -> T) -> Outcome<T> {
    if list.is_array() {
        return match json_of(function, list)? {
            Value::Array(items) => Ok(read(&items)),
            _ => Err(not_a_list(function, list)),
        };
    }
    with_json(list, |json| match json {
        Value::Array(items) => Ok(read(items)),
        Value::Null => Ok(read(&[])),
        _ => Err(not_a_list(function, list)),
    })
}

fn has_any(list: Dynamic, wanted: Dynamic) -> Outcome<bool> {
    with_items("has_any", &list, |items| {
        with_items("has_any", &wanted, |wanted| items.iter().any(|item| wanted.contains(item)))
    })?
}

fn with_prefix(list: Dynamic, prefix: Dynamic) -> Outcome<Dynamic> {
    let prefix = required_text("with_prefix", "a prefix", &prefix)?;
    if list.is_unit() {
        return Ok(Dynamic::UNIT);
    }
    with_items("with_prefix", &list, |items| {
        let texts = items.iter().filter_map(Value::as_str);
        let kept: Array = texts.filter(|item| item.starts_with(&*prefix)).map(Into::into).collect();
        kept.into()
    })
}

/// The item at an end of a list.
fn end(function: &str, index: i64, list: &Dynamic) -> Outcome<Dynamic> {
    if let Some(view) = list.read_lock::<View>()
        && view.value().is_array()
    {
        return Ok(view.item(index));
    }
    match list.as_array_ref() {
        Ok(items) => {
            let item = if index < 0 { items.last() } else { items.first() };
            Ok(item.cloned().unwrap_or(Dynamic::UNIT))
        }
        Err(_) if list.is_unit() => Ok(Dynamic::UNIT),
        Err(_) => Err(not_a_list(function, list)),
    }
}

/// Makes the functions callable.
pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("has_any", has_any);
    engine.register_fn("with_prefix", with_prefix);
    engine.register_fn("first", |list: Dynamic| end("first", 0, &list));
    engine.register_fn("last", |list: Dynamic| end("last", -1, &list));
}
