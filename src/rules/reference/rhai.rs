//! What Rhai has elsewhere and not here, and what to write instead; and what it has here, too.

use ::rhai::Engine;
use ::rhai::packages::{
    BasicArrayPackage, BasicMapPackage, BasicMathPackage, CorePackage, LogicPackage,
    MoreStringPackage, Package,
};

/// Something that scripts cannot use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Missing {
    /// What it is.
    pub(crate) what: &'static str,
    /// A body of a handler, or a whole file, that uses it.
    pub(crate) example: &'static str,
    /// What is said about that.
    pub(crate) error: &'static str,
    /// What to write instead.
    pub(crate) instead: &'static str,
}

/// What scripts cannot use.
pub(crate) const MISSING: [Missing; 8] = [
    Missing {
        what: "`import`",
        example: "import \"names\" as names;",
        error: "`import` is not available",
        instead: "a file `lib/names.rhai` is the module `names` in every script, as `names::tidy(…)`",
    },
    Missing {
        what: "`export`",
        example: "export const LIMIT = 3;",
        error: "`export` is not needed",
        instead: "nothing",
    },
    Missing {
        what: "variables of a top level",
        example: "let count = 0;",
        error: "the top level may only define",
        instead: "`const`; nothing is kept from one record to the next",
    },
    Missing {
        what: "`eval`",
        example: "eval(\"1 + 1\");",
        error: "`eval` is not available",
        instead: "a function, `switch`, or a table",
    },
    Missing {
        what: "closures that capture",
        example: "let least = 5; contact.tags.filter(|t| t.len() > least);",
        error: "`least` is not seen inside `|…| …`",
        instead: "`curry`: `let f = |least, t| t.len() > least;`, then `contact.tags.filter(f.curry(least))`; a constant; or a \
                  loop",
    },
    Missing {
        what: "`timestamp`, any clock",
        example: "timestamp();",
        error: "`timestamp` is not available: there is no clock",
        instead: "`older_than`, `within`, `days_between` of two fields",
    },
    Missing {
        what: "`sleep`",
        example: "sleep(1);",
        error: "`sleep` is not available",
        instead: "nothing",
    },
    Missing {
        what: "random numbers, files, network",
        example: "rand();",
        error: "there is no function `rand`",
        instead: "a share of contacts by `sha256(contact.id)`; `table` for data; `settings` for values",
    },
];

/// An engine with Rhai's own functions and nothing else.
pub(crate) fn rhai_engine() -> Engine {
    let mut engine = Engine::new_raw();
    CorePackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    engine
}
