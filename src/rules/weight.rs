//! How large a value is, with all that is in it.
//!
//! Rhai bounds what is put into an array or a map by `a[i] = v` and `m[k] = v`, and not what it is
//! put into. So an array of references to one text, of a few kilobytes, prints to gigabytes, and
//! Rhai's own printing, comparing and hashing would not stop before the end. Hence whatever a script
//! uses is weighed when it is used, once the script holds enough for it to matter.

use rhai::{Dynamic, EvalAltResult, EvalContext, Position};

use super::budget;
use super::limits::Limits;

/// Below this a script holds too little for a value that matters: half of it for a text and half
/// for references to it make a value of less than 40 MB.
const LITTLE_BYTES: isize = 48 * 1024;

/// By how much a value may exceed the limits that Rhai itself keeps: by one item as large as they
/// allow.
const SLACK: usize = 2;

/// What a value may weigh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scales {
    items: usize,
    text: usize,
}

impl Scales {
    /// Scales for these limits, of which 0 is none.
    pub(crate) fn new(limits: &Limits) -> Self {
        let items = match (limits.array_items, limits.map_items) {
            (0, _) | (_, 0) => usize::MAX,
            (array, map) => array.saturating_add(map).saturating_mul(SLACK),
        };
        let text = match limits.string_bytes {
            0 => usize::MAX,
            bytes => bytes.saturating_mul(SLACK),
        };
        Self { items, text }
    }

    /// Weighs a variable that a script is about to use, and `this`.
    pub(crate) fn check(
        &self,
        name: &str,
        context: &EvalContext<'_, '_, '_, '_, '_, '_>,
    ) -> Result<(), Box<EvalAltResult>> {
        if budget::held() < LITTLE_BYTES {
            return Ok(());
        }
        let used = context.scope().get(name).into_iter().chain(context.this_ptr());
        for value in used {
            let mut left = *self;
            if !left.take(value) {
                let what = "Size of array, map or text".to_owned();
                return Err(EvalAltResult::ErrorDataTooLarge(what, Position::NONE).into());
            }
        }
        Ok(())
    }

    /// Takes a value off what is left; false if it is more.
    fn take(&mut self, value: &Dynamic) -> bool {
        if let Ok(items) = value.as_array_ref() {
            return self.take_items(items.len()) && items.iter().all(|item| self.take(item));
        }
        if let Ok(map) = value.as_map_ref() {
            return self.take_items(map.len()) && map.values().all(|item| self.take(item));
        }
        if let Ok(text) = value.as_immutable_string_ref() {
            return match self.text.checked_sub(text.len()) {
                Some(left) => {
                    self.text = left;
                    true
                }
                None => false,
            };
        }
        true
    }

    fn take_items(&mut self, count: usize) -> bool {
        match self.items.checked_sub(count) {
            Some(left) => {
                self.items = left;
                true
            }
            None => false,
        }
    }
}
