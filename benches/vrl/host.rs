//! What the scripts have as functions of the host, VRL has, too: the same in Rust behind both.

use vrl::compiler::prelude::*;

use crate::mapping::{e164, is_email};

/// A function of one value that cannot fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OfOne {
    name: &'static str,
    kind: u16,
    function: fn(&str) -> Value,
}

/// `is_email` and `phone`.
pub(crate) fn functions() -> [Box<dyn Function>; 2] {
    let is_email = |text: &str| is_email(text).into();
    let phone = |text: &str| e164(text).map_or(Value::Null, Value::from);
    [
        Box::new(OfOne { name: "is_email", kind: kind::BOOLEAN, function: is_email }),
        Box::new(OfOne { name: "phone", kind: kind::BYTES | kind::NULL, function: phone }),
    ]
}

impl Function for OfOne {
    fn identifier(&self) -> &'static str {
        self.name
    }

    fn usage(&self) -> &'static str {
        "As in the scripts."
    }

    fn category(&self) -> &'static str {
        "String"
    }

    fn return_kind(&self) -> u16 {
        self.kind
    }

    fn parameters(&self) -> &'static [Parameter] {
        const PARAMETERS: &[Parameter] = &[Parameter::required("value", kind::ANY, "The value.")];
        PARAMETERS
    }

    fn examples(&self) -> &'static [Example] {
        &[]
    }

    fn compile(
        &self,
        _: &TypeState,
        _: &mut FunctionCompileContext,
        arguments: ArgumentList,
    ) -> Compiled {
        Ok(Call { value: arguments.required("value"), of: *self }.as_expr())
    }
}

#[derive(Debug, Clone)]
struct Call {
    value: Box<dyn Expression>,
    of: OfOne,
}

impl FunctionExpression for Call {
    fn resolve(&self, ctx: &mut Context<'_>) -> Resolved {
        let value = self.value.resolve(ctx)?;
        Ok((self.of.function)(value.to_str_lossy().as_deref().unwrap_or_default()))
    }

    fn type_def(&self, _: &TypeState) -> TypeDef {
        match self.of.kind {
            kind::BOOLEAN => TypeDef::boolean().infallible(),
            _ => TypeDef::bytes().or_null().infallible(),
        }
    }
}
