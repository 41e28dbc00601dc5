//! What a finding is about: names that stay, for whoever filters or counts findings.

use std::fmt;

use serde::Serialize;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)+) => {
        /// The kind of a finding, as `--json` names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $name,)+
        }

        impl Code {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name in `--json`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

codes! {
    /// Anything that has no kind of its own.
    Other => "other",
    /// A file or folder cannot be read.
    Unreadable => "unreadable",
    /// A setting that rules use is wrong.
    Configuration => "configuration",
    /// A file of `tables` is no table.
    InvalidTable => "invalid-table",
    /// The text is no Rhai.
    Syntax => "syntax",
    /// A top level broke when it was run.
    TopLevelFailed => "top-level-failed",
    /// A top level does more than define.
    TopLevelStatement => "top-level-statement",
    /// Something of Rhai that rules do not have: `import`, `eval`, a clock.
    NotAvailable => "not-available",
    /// A function that does not exist is called or handed on.
    UnknownFunction => "unknown-function",
    /// A function is called with a number of arguments that it does not take.
    WrongArity => "wrong-arity",
    /// A module that does not exist.
    UnknownModule => "unknown-module",
    /// A variable or constant that does not exist.
    UnknownVariable => "unknown-variable",
    /// A closure uses a variable of the function around it.
    CapturedVariable => "captured-variable",
    /// A function that is named almost like a handler.
    UnknownHandler => "unknown-handler",
    /// A handler with the wrong number of parameters.
    HandlerParameters => "handler-parameters",
    /// A handler is defined twice.
    DuplicateHandler => "duplicate-handler",
    /// A function is defined twice.
    DuplicateFunction => "duplicate-function",
    /// A constant is defined twice.
    DuplicateConstant => "duplicate-constant",
    /// A script's function would hide a built-in one.
    HiddenFunction => "hidden-function",
    /// No script has a handler.
    NoHandler => "no-handler",
    /// A decision has no such field.
    UnknownField => "unknown-field",
    /// A decision of this handler has no such method.
    UnknownMethod => "unknown-method",
    /// A record is written to.
    ReadOnlyRecord => "read-only-record",
    /// A record has no such field.
    UnknownRecordField => "unknown-record-field",
    /// A list that nobody knows.
    UnknownList => "unknown-list",
    /// A key that `settings` lacks.
    UnknownSetting => "unknown-setting",
    /// A table that the folder lacks.
    UnknownTable => "unknown-table",
    /// An attribute that the account lacks.
    UnknownAttribute => "unknown-attribute",
    /// A literal that its function refuses: a duration, zone, region, pattern, channel.
    InvalidLiteral => "invalid-literal",
    /// Code that is never reached.
    Unreachable => "unreachable",
    /// A condition that is always true or always false.
    ConstantCondition => "constant-condition",
    /// A write whose effect is lost.
    NoEffect => "no-effect",
    /// A function that nobody calls.
    UnusedFunction => "unused-function",
    /// A constant that nobody reads.
    UnusedConstant => "unused-constant",
    /// An account could not be asked for its names.
    Account => "account",
    /// A test failed.
    TestFailed => "test-failed",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
