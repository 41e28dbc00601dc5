//! Decisions as scripts write them: `brevo.FIRSTNAME = …`, `brevo.track(…)`, `intercom.add_tag(…)`.
//!
//! A handle lives for one evaluation on one thread. Every write remembers file, line and column.
//! Each kind of handler has its own kind of decision, and with it its own methods; a method of
//! another kind says where it belongs.

mod company;
mod contact;
mod draft;
mod emission;
mod emitted;
mod intercom;

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, NativeCallContext};

use super::error::refuse;

pub(crate) use company::CompanyHandle;
pub(crate) use contact::ContactHandle;
pub(crate) use emission::EmissionHandle;
pub(crate) use intercom::{FIELDS as INTERCOM_FIELDS, IntercomHandle, Occasion};

#[cfg(test)]
mod tests;

type Outcome<T> = Result<T, Box<EvalAltResult>>;
type Ctx<'a> = NativeCallContext<'a>;

/// Makes all decisions writable in scripts.
pub(crate) fn register(engine: &mut Engine) {
    contact::register(engine);
    company::register(engine);
    emission::register(engine);
    intercom::register(engine);
}

/// Makes a property of decisions quick to read and to write; what it does stays the same.
pub(crate) fn register_property(engine: &mut Engine, name: &ImmutableString) {
    contact::register_property(engine, name);
}

/// Registers methods that a kind of decision does not have, so that calling one says what to do
/// instead of that there is no such function.
fn register_foreign<H: Clone + Send + Sync + 'static>(
    engine: &mut Engine,
    methods: &[(&'static str, usize)],
    help: &'static str,
) {
    let refused = move |ctx: &Ctx<'_>| -> Outcome<()> {
        Err(refuse(format!("`{}` is not possible here: {help}", ctx.fn_name())))
    };
    for (name, arguments) in methods {
        match arguments {
            0 => engine.register_fn(*name, move |ctx: Ctx<'_>, _: &mut H| refused(&ctx)),
            1 => {
                engine.register_fn(*name, move |ctx: Ctx<'_>, _: &mut H, _: Dynamic| refused(&ctx))
            }
            2 => engine
                .register_fn(*name, move |ctx: Ctx<'_>, _: &mut H, _: Dynamic, _: Dynamic| {
                    refused(&ctx)
                }),
            _ => engine.register_fn(
                *name,
                move |ctx: Ctx<'_>, _: &mut H, _: Dynamic, _: Dynamic, _: Dynamic| refused(&ctx),
            ),
        };
    }
}
