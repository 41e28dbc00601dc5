//! Functions of Rhai that a host of other people's scripts cannot leave as they are.

use rhai::{Engine, ImmutableString, NativeCallContext};

use super::Outcome;
use crate::rules::error::refuse;

/// Shadows `sleep`, which would ignore the deadline, and `replace`, which builds its result before
/// its size is checked: two texts of 60 KB end the process.
pub(super) fn register(engine: &mut Engine, string_bytes: usize) {
    engine.register_fn("sleep", |_: i64| no_sleep());
    engine.register_fn("sleep", |_: f64| no_sleep());
    engine.register_fn("timestamp", || {
        Outcome::<()>::Err(refuse("there is no clock; compare with `older_than` or `within`"))
    });

    engine.register_fn(
        "replace",
        move |_: NativeCallContext<'_>, text: &mut ImmutableString, from: &str, to: &str| {
            replace(text, from, to, string_bytes)
        },
    );
    engine.register_fn("replace", move |text: &mut ImmutableString, from: &str, to: char| {
        replace(text, from, to.encode_utf8(&mut [0; 4]), string_bytes)
    });
    engine.register_fn("replace", move |text: &mut ImmutableString, from: char, to: &str| {
        replace(text, from.encode_utf8(&mut [0; 4]), to, string_bytes)
    });
    engine.register_fn("replace", move |text: &mut ImmutableString, from: char, to: char| {
        replace(text, from.encode_utf8(&mut [0; 4]), to.encode_utf8(&mut [0; 4]), string_bytes)
    });
}

fn no_sleep() -> Outcome<()> {
    Err(refuse("`sleep` is not available: a rule does not wait"))
}

fn replace(text: &mut ImmutableString, from: &str, to: &str, limit: usize) -> Outcome<()> {
    let count = text.matches(from).count();
    let grown = count.saturating_mul(to.len());
    let size = text.len().saturating_sub(count * from.len()).saturating_add(grown);
    if size > limit {
        return Err(refuse(format!("`replace` would make a text of more than {limit} bytes")));
    }
    *text = text.as_str().replace(from, to).into();
    Ok(())
}
