//! `log`, and `print`, which is the same: lines that are kept with the decision.

use rhai::{Dynamic, Engine, ImmutableString, NativeCallContext};

use serde_json::Value;

use super::Outcome;
use crate::rules::evaluation::Evaluation;
use crate::rules::view::with_json;

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
        // Rhai has its own for text, which would win otherwise.
        engine.register_fn(name, |ctx: NativeCallContext<'_>, text: ImmutableString| {
            log(ctx, text.into())
        });
    }
}
