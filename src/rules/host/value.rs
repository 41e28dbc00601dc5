//! Functions on any value: a default for what is missing, JSON.

use rhai::{Dynamic, Engine};

use super::Outcome;
use super::argument::json_of;
use crate::model::canonical_json;
use crate::rules::reference::{FunctionDoc, Kind, fails, gives, parameter, signature};
use crate::rules::view;

/// The words for these functions.
pub(super) const DOCS: [FunctionDoc; 2] = [
    FunctionDoc {
        name: "json",
        signatures: &[signature(
            &[parameter("value", Kind::Any, "a value, a list, a map, a record")],
            Kind::Maybe(&Kind::Text),
        )],
        summary: "The value as JSON text, with the keys of maps in alphabetical order.",
        notes: "The same value is always the same text. For a look at a record write `log(json(contact))`.",
        failures: &["the value holds a number that is not finite, a function or a decision"],
        examples: &[
            gives("json(#{ b: 1, a: [true, ()] })", r#""{\"a\":[true,null],\"b\":1}""#),
            gives("json(\"Ann\")", r#""\"Ann\"""#),
            gives("json(())", "null"),
            fails("json([1.0 / 0.0])", "`json` cannot take inf: numbers must be finite"),
        ],
    },
    FunctionDoc {
        name: "or",
        signatures: &[signature(
            &[
                parameter("value", Kind::Any, "what is wanted"),
                parameter("default", Kind::Any, "what is taken instead"),
            ],
            Kind::Any,
        )],
        summary: "The value, or a default where the value is `()` or `\"\"`.",
        notes: "`0` and `false` are values.",
        failures: &[],
        examples: &[
            gives("or(contact.nickname, \"friend\")", "\"friend\""),
            gives("or(\"\", \"friend\")", "\"friend\""),
            gives("or(0, 5)", "0"),
            gives("or((), ())", "null"),
        ],
    },
];

fn or(value: Dynamic, default: Dynamic) -> Dynamic {
    let is_missing =
        value.is_unit() || value.as_immutable_string_ref().is_ok_and(|text| text.is_empty());
    if is_missing { default } else { value }
}

fn json(value: &Dynamic) -> Outcome<Dynamic> {
    if value.is_unit() {
        return Ok(Dynamic::UNIT);
    }
    // Its size and depth come first: references make much of little.
    let _ = view::json_of(value)?;
    Ok(canonical_json(&json_of("json", value)?).into())
}

/// Makes the functions callable.
pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("json", |value: Dynamic| json(&value));
    engine.register_fn("or", or);
}
