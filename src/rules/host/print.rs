//! A value as text, as Rhai prints it, but never longer than a text may be.
//!
//! Rhai builds the whole text before its size is checked. A few kilobytes of references to one text
//! print to gigabytes, and a value nested deeply enough overflows the stack.

use std::fmt::Write as _;
use std::io;

use rhai::{Dynamic, Engine};

use crate::rules::view::{NESTING, View};

/// How long a text may become where texts have no limit.
const UNLIMITED_BYTES: usize = 16 * 1024 * 1024;

/// A value inside a string: a text is itself. What is too long is cut just behind the limit, so that
/// Rhai's own check finds it too large.
pub(super) fn printed(engine: &Engine, value: &Dynamic, limit: usize) -> String {
    match value.as_immutable_string_ref() {
        Ok(text) => text.to_string(),
        Err(_) => debugged(engine, value, limit),
    }
}

/// A value as it would be written in a script.
pub(super) fn debugged(engine: &Engine, value: &Dynamic, limit: usize) -> String {
    let limit = if limit == 0 { UNLIMITED_BYTES } else { limit };
    let mut text = Bounded { text: String::new(), limit };
    // An error says that the text is full, which whoever asked for it sees from its length.
    let _ = write(engine, value, 0, &mut text);
    text.text
}

/// A text that takes no more once it is longer than its limit.
struct Bounded {
    text: String,
    limit: usize,
}

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, piece: &str) -> std::fmt::Result {
        if self.text.len() > self.limit {
            return Err(std::fmt::Error);
        }
        let room = self.limit - self.text.len() + 1;
        self.text.push_str(piece.get(..piece.ceil_char_boundary(room)).unwrap_or(piece));
        Ok(())
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.write_str(piece).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(engine: &Engine, value: &Dynamic, depth: usize, text: &mut Bounded) -> std::fmt::Result {
    if depth > NESTING {
        return text.write_str("…");
    }
    if let Ok(items) = value.as_array_ref() {
        text.write_str("[")?;
        for (at, item) in items.iter().enumerate() {
            text.write_str(if at > 0 { ", " } else { "" })?;
            write(engine, item, depth + 1, text)?;
        }
        return text.write_str("]");
    }
    if let Ok(map) = value.as_map_ref() {
        text.write_str("#{")?;
        for (at, (name, item)) in map.iter().enumerate() {
            text.write_str(if at > 0 { ", " } else { "" })?;
            write!(text, "{name:?}: ")?;
            write(engine, item, depth + 1, text)?;
        }
        return text.write_str("}");
    }
    if let Some(view) = value.read_lock::<View>() {
        return serde_json::to_writer(text, view.value()).map_err(|_| std::fmt::Error);
    }
    if value.is_variant() {
        return text.write_str(engine.map_type_name(value.type_name()));
    }
    write!(text, "{value:?}")
}
