//! Functions of Rhai that a host of other people's scripts cannot leave as they are.
//!
//! What Rhai's own functions make is checked once it is made, and what they do inside counts no
//! operations. So whatever can become large, deep or endless in one call has a bounded one here.

use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Map, NativeCallContext};

use super::Outcome;
use super::compare::Comparison;
use super::print::{debugged, printed};
use crate::rules::error::refuse;
use crate::rules::view::json_of;

type Ctx<'a> = NativeCallContext<'a>;

/// How long an array may be padded where arrays have no limit.
const UNLIMITED_ITEMS: usize = 1_000_000;

/// Shadows them all; `string_bytes` is the limit of texts, 0 for none.
pub(super) fn register(engine: &mut Engine, string_bytes: usize) {
    register_waiting(engine);
    register_replace(engine, string_bytes);
    register_pad(engine, string_bytes);
    register_printing(engine, string_bytes);
    register_comparing(engine);
}

/// `sleep` ignores the deadline; there is no clock; `exit` would pass for an error.
fn register_waiting(engine: &mut Engine) {
    fn no_sleep() -> Outcome<()> {
        Err(refuse("`sleep` is not available: a rule does not wait"))
    }
    fn no_exit() -> Outcome<()> {
        Err(refuse("`exit` is not available: leave a function with `return`"))
    }
    engine.register_fn("sleep", |_: i64| no_sleep());
    engine.register_fn("sleep", |_: f64| no_sleep());
    engine.register_fn("timestamp", || {
        Outcome::<()>::Err(refuse("there is no clock; compare with `older_than` or `within`"))
    });
    engine.register_fn("exit", no_exit);
    engine.register_fn("exit", |_: Dynamic| no_exit());
}

/// `replace` builds its result before its size is checked: two texts of 60 KB end the process.
fn register_replace(engine: &mut Engine, limit: usize) {
    engine.register_fn("replace", move |text: &mut ImmutableString, from: &str, to: &str| {
        replace(text, from, to, limit)
    });
    engine.register_fn("replace", move |text: &mut ImmutableString, from: &str, to: char| {
        replace(text, from, to.encode_utf8(&mut [0; 4]), limit)
    });
    engine.register_fn("replace", move |text: &mut ImmutableString, from: char, to: &str| {
        replace(text, from.encode_utf8(&mut [0; 4]), to, limit)
    });
    engine.register_fn("replace", move |text: &mut ImmutableString, from: char, to: char| {
        replace(text, from.encode_utf8(&mut [0; 4]), to.encode_utf8(&mut [0; 4]), limit)
    });
}

fn replace(text: &mut ImmutableString, from: &str, to: &str, limit: usize) -> Outcome<()> {
    let count = text.matches(from).count();
    let grown = count.saturating_mul(to.len());
    let size = text.len().saturating_sub(count * from.len()).saturating_add(grown);
    if limit > 0 && size > limit {
        return Err(refuse(format!("`replace` would make a text of more than {limit} bytes")));
    }
    *text = text.as_str().replace(from, to).into();
    Ok(())
}

/// `pad` of a text with an empty one never ends, and with letters of four bytes grows to four times
/// the limit. That of an array works its size out in numbers that overflow, and may then ask for more
/// memory than there is, which ends the process.
fn register_pad(engine: &mut Engine, limit: usize) {
    engine.register_fn("pad", move |text: &mut ImmutableString, len: i64, with: &str| {
        pad(text, len, with, limit)
    });
    engine.register_fn("pad", move |text: &mut ImmutableString, len: i64, with: char| {
        pad(text, len, with.encode_utf8(&mut [0; 4]), limit)
    });
    engine.register_fn("pad", |ctx: Ctx<'_>, array: &mut Array, len: i64, item: Dynamic| {
        let limit = match ctx.engine().max_array_size() {
            0 => UNLIMITED_ITEMS,
            limit => limit,
        };
        let len = usize::try_from(len).unwrap_or(0);
        if len > limit {
            return Err(refuse(format!("`pad` would make an array of more than {limit} items")));
        }
        if len > array.len() {
            array.resize(len, item);
        }
        Ok(())
    });
}

fn pad(text: &mut ImmutableString, len: i64, with: &str, limit: usize) -> Outcome<()> {
    let Some(missing) = usize::try_from(len).unwrap_or(0).checked_sub(text.chars().count()) else {
        return Ok(());
    };
    if missing == 0 || with.is_empty() {
        return Ok(());
    }
    // A letter takes a byte at least.
    if limit > 0 && text.len().saturating_add(missing) > limit {
        return Err(refuse(format!("`pad` would make a text of more than {limit} bytes")));
    }
    let mut padded = text.to_string();
    padded.extend(with.chars().cycle().take(missing));
    *text = padded.into();
    Ok(())
}

/// Rhai prints arrays and maps whole, whatever they hold.
fn register_printing(engine: &mut Engine, limit: usize) {
    engine.register_fn("to_string", move |ctx: Ctx<'_>, array: &mut Array| {
        printed(ctx.engine(), &array.clone().into(), limit)
    });
    engine.register_fn("to_string", move |ctx: Ctx<'_>, map: &mut Map| {
        printed(ctx.engine(), &map.clone().into(), limit)
    });
    engine.register_fn("to_debug", move |ctx: Ctx<'_>, array: &mut Array| {
        debugged(ctx.engine(), &array.clone().into(), limit)
    });
    engine.register_fn("to_debug", move |ctx: Ctx<'_>, map: &mut Map| {
        debugged(ctx.engine(), &map.clone().into(), limit)
    });
    // A function prints with all that is bound to it.
    for name in ["to_string", "to_debug"] {
        engine.register_fn(name, |function: FnPtr| format!("Fn({})", function.fn_name()));
    }
    engine.register_fn("to_json", |map: Map| -> Outcome<String> {
        Ok(json_of(&map.into())?.to_string())
    });
}

fn register_comparing(engine: &mut Engine) {
    engine.register_fn("==", |ctx: Ctx<'_>, a: Array, b: Array| {
        Comparison::new(&ctx).arrays(&a, &b, 0)
    });
    engine.register_fn("!=", |ctx: Ctx<'_>, a: Array, b: Array| {
        not(Comparison::new(&ctx).arrays(&a, &b, 0))
    });
    engine.register_fn("==", |ctx: Ctx<'_>, a: Map, b: Map| Comparison::new(&ctx).maps(&a, &b, 0));
    engine.register_fn("!=", |ctx: Ctx<'_>, a: Map, b: Map| {
        not(Comparison::new(&ctx).maps(&a, &b, 0))
    });
}

fn not(equal: Result<bool, Box<EvalAltResult>>) -> Outcome<bool> {
    equal.map(|equal| !equal)
}
