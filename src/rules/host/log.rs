//! `log`, and `print`, which is the same: lines that are kept with the decision.

use rhai::{Array, Dynamic, Engine, ImmutableString, Map, NativeCallContext, Variant};

use serde_json::Value;

use super::Outcome;
use crate::rules::evaluation::Evaluation;
use crate::rules::reference::{FunctionDoc, Kind, Signature, decides, parameter, signature};
use crate::rules::view::with_json;

const ONE_VALUE: [Signature; 1] =
    [signature(&[parameter("value", Kind::Any, "what is logged")], Kind::Nothing)];
const AT_TOP_LEVEL: [&str; 1] = ["it is called at the top level"];

/// The words for these functions.
pub(super) const DOCS: [FunctionDoc; 3] = [
    FunctionDoc {
        name: "debug",
        signatures: &ONE_VALUE,
        summary: "The same as `log`.",
        notes: "",
        failures: &AT_TOP_LEVEL,
        examples: &[decides("debug(1 + 1);", "d.log", "[\"2\"]")],
    },
    FunctionDoc {
        name: "log",
        signatures: &ONE_VALUE,
        summary: "Keeps a line with the decision, with the place of the call.",
        notes: "Records, lists and maps are shown as JSON. A line is cut at 1 KiB, its control characters are escaped, \
                and a decision keeps 100 lines. They are not part of the engine\'s log, since they may be personal.",
        failures: &AT_TOP_LEVEL,
        examples: &[
            decides(
                "log(`${contact.role} with ${contact.tags.len} tag`);",
                "d.log",
                "[\"user with 1 tag\"]",
            ),
            decides(
                "log(contact.location);",
                "d.log",
                r#"["{\"city\":\"Bangkok\",\"country\":\"Thailand\"}"]"#,
            ),
        ],
    },
    FunctionDoc {
        name: "print",
        signatures: &ONE_VALUE,
        summary: "The same as `log`.",
        notes: "",
        failures: &AT_TOP_LEVEL,
        examples: &[decides("print(\"here\");", "d.log", "[\"here\"]")],
    },
];

fn log(ctx: NativeCallContext<'_>, text: Dynamic) -> Outcome<()> {
    let evaluation = Evaluation::of(&ctx)?;
    evaluation.log(&shown(&text), evaluation.origin(&ctx));
    Ok(())
}

/// A value as text; records and lists as JSON.
fn shown(value: &Dynamic) -> String {
    with_json(value, |json| match json {
        Value::String(text) => text.clone(),
        json => json.to_string(),
    })
}

/// Makes the functions callable. Rhai passes what `print` and `debug` return to a callback, of
/// which this engine has none, so both can be ours.
pub(super) fn register(engine: &mut Engine) {
    for name in ["log", "print", "debug"] {
        engine.register_fn(name, log);
        // Rhai has its own for these types, which would win otherwise.
        register_for::<ImmutableString>(engine, name);
        register_for::<Array>(engine, name);
        register_for::<Map>(engine, name);
        register_for::<f64>(engine, name);
        register_for::<bool>(engine, name);
        register_for::<char>(engine, name);
        register_for::<()>(engine, name);
    }
}

fn register_for<T: Variant + Clone>(engine: &mut Engine, name: &str) {
    engine.register_fn(name, |ctx: NativeCallContext<'_>, value: T| log(ctx, Dynamic::from(value)));
}
