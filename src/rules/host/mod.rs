//! What scripts can call, one file per noun; each registers itself beside the functions it wraps and
//! the words that document them.
//!
//! The value comes first; functions return new values and change nothing. Given `()` as its value a
//! function returns `()`, except that a question (`is_email`, `older_than`, …) is answered `false`,
//! so that it can stand in an `if`. A value of another type than the function is for is an error; a
//! text that does not hold what the function looks for, such as a number in `phone`, gives `()`.

mod argument;
mod compare;
mod field_mapping;
mod list;
mod log;
mod name;
mod pattern;
mod phone;
mod print;
mod shadow;
mod table;
mod text;
mod time;
mod value;

use std::sync::Arc;

use rhai::{Engine, EvalAltResult};

pub(crate) use field_mapping::FieldMapping;
pub(crate) use name::is_free_email;
pub(crate) use phone::{Region, parse_region};
pub(crate) use table::{Tables, parse_table};
pub(crate) use time::parse_duration;

use super::reference::{Group, Kind};

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
    name::register(engine);
    pattern::register(engine);
    value::register(engine);
    time::register(engine);
    phone::register(engine, data.region);
    list::register(engine);
    log::register(engine);
    table::register(engine, data);
    field_mapping::register(engine, data);
}

/// All functions that are no methods, in the order of the reference.
pub(crate) const FUNCTIONS: [Group; 10] = [
    functions("Text", "", &text::DOCS),
    functions("Names and addresses", "", &name::DOCS),
    functions("Phone numbers", "", &phone::DOCS),
    functions("Patterns", pattern::ABOUT, &pattern::DOCS),
    functions("Time", time::ABOUT, &time::DOCS),
    functions("Lists", list::ABOUT, &list::DOCS),
    functions("Values", "", &value::DOCS),
    functions("Tables", "", &table::DOCS),
    functions("Field mapping", "", &field_mapping::DOCS),
    functions("Log", "", &log::DOCS),
];

const fn functions(
    title: &'static str,
    about: &'static str,
    functions: &'static [super::reference::FunctionDoc],
) -> Group {
    Group { title, handle: "", receiver: Kind::Nothing, handlers: &[], about, functions }
}
