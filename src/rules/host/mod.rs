//! What scripts can call, one file per noun; each registers itself beside the functions it wraps.
//!
//! The value comes first; functions return new values and change nothing. Given `()` as its value a
//! function returns `()`, except that a question (`is_email`, `older_than`, …) is answered `false`,
//! so that it can stand in an `if`.

mod field_mapping;
mod list;
mod log;
mod phone;
mod shadow;
mod table;
mod text;
mod time;

use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString};

pub(crate) use field_mapping::FieldMapping;
pub(crate) use phone::{Region, parse_region};
pub(crate) use table::{Tables, parse_table};

use super::error::{refuse, type_in_words};

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// The part of the configuration that host functions use.
#[derive(Debug, Default)]
pub(crate) struct HostData {
    /// The rows of `scripts/tables/*.csv`, by file name.
    pub(crate) tables: Tables,
    /// The configuration's `field_mapping`, prepared.
    pub(crate) field_mapping: Vec<FieldMapping>,
    /// The region of a phone number that names none.
    pub(crate) region: Option<Region>,
}

/// Makes all host functions callable.
pub(crate) fn register(engine: &mut Engine, data: &Arc<HostData>, string_bytes: usize) {
    shadow::register(engine, string_bytes);
    text::register(engine);
    time::register(engine);
    phone::register(engine, data.region);
    list::register(engine);
    log::register(engine);
    table::register(engine, data);
    field_mapping::register(engine, data);
}

/// The text in a value, `None` for `()`, an error for anything else.
fn text_of(function: &str, value: &Dynamic) -> Outcome<Option<ImmutableString>> {
    if value.is_unit() {
        return Ok(None);
    }
    if let Ok(letter) = value.as_char() {
        return Ok(Some(letter.to_string().into()));
    }
    match value.as_immutable_string_ref() {
        Ok(text) => Ok(Some(text.clone())),
        Err(name) => Err(refuse(format!("`{function}` takes text, not {}", type_in_words(name)))),
    }
}

/// Registers a function from text to text, under Rhai's own type, too, where Rhai has a method of
/// that name, which would otherwise win.
fn register_text_fn(engine: &mut Engine, name: &'static str, function: fn(&str) -> String) {
    engine.register_fn(name, move |value: Dynamic| -> Outcome<Dynamic> {
        Ok(text_of(name, &value)?.map_or(Dynamic::UNIT, |text| function(&text).into()))
    });
    engine.register_fn(name, move |text: ImmutableString| function(&text));
}
