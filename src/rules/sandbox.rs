//! The engine that scripts run in: what they see, and what they can never do.
//!
//! Rhai's own limits are not enough for scripts that others write (ARCHITECTURE, "The sandbox of
//! the rules"): no import, no eval, no clock, no waiting, no closures, every limit set.

use std::sync::Arc;

use rhai::packages::{
    BasicArrayPackage, BasicMapPackage, BasicMathPackage, CorePackage, LogicPackage,
    MoreStringPackage, Package,
};
use rhai::{Engine, Module, OptimizationLevel, Scope, Shared};
use serde_json::Value;

use super::host::{self, HostData};
use super::limits::Limits;
use super::view::View;
use super::{handle, view};

/// Names that every script sees, set by the configuration.
pub(crate) const CONFIGURED: [&str; 2] = ["lists", "settings"];

/// What the deepest legal script needs, with values nested as deeply as limits of size allow: two
/// thirds of it in a build without optimisation.
const DEEP_STACK_BYTES: usize = 3 * 1024 * 1024;

/// What is added where less is left.
const ADDED_STACK_BYTES: usize = 16 * 1024 * 1024;

/// Runs scripts, or compiles them, on a stack that they cannot overflow, whatever thread this is:
/// an overflow would end the process.
pub(crate) fn on_deep_stack<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(DEEP_STACK_BYTES, ADDED_STACK_BYTES, run)
}

/// An engine with all host functions and limits, without any script.
pub(crate) fn engine(limits: &Limits, data: &Arc<HostData>) -> Engine {
    // `new_raw` has no module resolver and no output, so `import` finds nothing.
    let mut engine = Engine::new_raw();
    CorePackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);

    engine.disable_symbol("eval");
    // The interner is one lock for all threads; without it calls are twice as fast.
    engine.set_max_strings_interned(0);
    // `Full` would run functions at compile time.
    engine.set_optimization_level(OptimizationLevel::Simple);
    limits.apply(&mut engine);
    view::register(&mut engine);
    handle::register(&mut engine);
    host::register(&mut engine, data, limits.string_bytes);
    engine
}

/// The constants that all functions see by their bare names.
#[derive(Debug, Clone)]
pub(crate) struct Constants(Scope<'static>);

impl Constants {
    /// `lists` and `settings`.
    pub(crate) fn new(lists: Value, settings: Value) -> Self {
        let mut scope = Scope::new();
        for (name, value) in CONFIGURED.into_iter().zip([lists, settings]) {
            scope.push_constant_dynamic(name, View::dynamic(Arc::new(value)));
        }
        Self(scope)
    }

    /// For running a top level, which adds its own.
    pub(crate) fn scope_mut(&mut self) -> &mut Scope<'static> {
        &mut self.0
    }

    /// For compiling, so that strict variables know the names.
    pub(crate) fn scope(&self) -> &Scope<'static> {
        &self.0
    }

    /// For running: a module whose variables are seen inside functions.
    pub(crate) fn module(&self) -> Shared<Module> {
        let mut module = Module::new();
        for (name, _, value) in self.0.iter() {
            module.set_var(name, value);
        }
        module.build_index();
        module.into()
    }
}
