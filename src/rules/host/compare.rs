//! Equality of arrays and maps, as Rhai has it, but bounded in depth and work.
//!
//! Rhai compares without counting an operation: values nested deeply enough overflow the stack, and
//! a few kilobytes of references to one text take seconds.

use rhai::{Array, Dynamic, EvalAltResult, Map, NativeCallContext};

use super::Outcome;
use crate::rules::error::refuse;
use crate::rules::view::NESTING;

/// How much one comparison looks at: about ten milliseconds' worth.
const WORK: usize = 32 * 1024 * 1024;

/// What comparing a value costs beside its text.
const ITEM: usize = 64;

/// A comparison under way.
pub(super) struct Comparison<'a> {
    ctx: &'a NativeCallContext<'a>,
    left: usize,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(ctx: &'a NativeCallContext<'a>) -> Self {
        Self { ctx, left: WORK }
    }

    pub(super) fn arrays(&mut self, a: &Array, b: &Array, depth: usize) -> Outcome<bool> {
        if a.len() != b.len() {
            return Ok(false);
        }
        for (a, b) in a.iter().zip(b) {
            if !self.values(a, b, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn maps(&mut self, a: &Map, b: &Map, depth: usize) -> Outcome<bool> {
        if a.len() != b.len() {
            return Ok(false);
        }
        for ((name, a), (other, b)) in a.iter().zip(b) {
            self.pay(name.len())?;
            if name != other || !self.values(a, b, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn values(&mut self, a: &Dynamic, b: &Dynamic, depth: usize) -> Outcome<bool> {
        self.pay(0)?;
        if depth > NESTING {
            return Err(refuse(format!(
                "values nested more than {NESTING} deep cannot be compared"
            )));
        }
        if let (Ok(a), Ok(b)) = (a.as_array_ref(), b.as_array_ref()) {
            return self.arrays(&a, &b, depth);
        }
        if let (Ok(a), Ok(b)) = (a.as_map_ref(), b.as_map_ref()) {
            return self.maps(&a, &b, depth);
        }
        if let (Ok(a), Ok(b)) = (a.as_immutable_string_ref(), b.as_immutable_string_ref()) {
            self.pay(a.len().min(b.len()))?;
            return Ok(a.as_str() == b.as_str());
        }
        self.scalars(a, b)
    }

    /// Whatever else there is, by the `==` of its own; values of different types are different.
    fn scalars(&self, a: &Dynamic, b: &Dynamic) -> Outcome<bool> {
        let arguments = &mut [&mut a.clone(), &mut b.clone()];
        match self.ctx.call_native_fn_raw("==", true, arguments) {
            Ok(equal) => Ok(equal.as_bool().unwrap_or(false)),
            Err(error) => match *error {
                EvalAltResult::ErrorFunctionNotFound(..) if a.type_id() != b.type_id() => Ok(false),
                error => Err(error.into()),
            },
        }
    }

    fn pay(&mut self, bytes: usize) -> Outcome<()> {
        match self.left.checked_sub(bytes + ITEM) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(refuse("values of this size cannot be compared")),
        }
    }
}
