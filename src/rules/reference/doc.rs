//! What a page of documentation is made of: plain, constant data beside the code that it describes.

/// A function or method that scripts can call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FunctionDoc {
    /// Its name.
    pub(crate) name: &'static str,
    /// The ways to call it.
    pub(crate) signatures: &'static [Signature],
    /// What it does, in one sentence.
    pub(crate) summary: &'static str,
    /// What else is to know; may be empty.
    pub(crate) notes: &'static str,
    /// When it fails, each as the end of the sentence "it is an error if …".
    pub(crate) failures: &'static [&'static str],
    /// What it gives; each is run as a test.
    pub(crate) examples: &'static [Example],
}

/// One way to call a function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signature {
    /// What it takes, in order.
    pub(crate) parameters: &'static [Parameter],
    /// What it gives.
    pub(crate) result: Kind,
}

/// What a function takes at one place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its type.
    pub(crate) kind: Kind,
    /// What it stands for.
    pub(crate) about: &'static str,
}

/// What kind of value a script deals with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any value.
    Any,
    /// Nothing, `()`.
    Nothing,
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// Any number.
    Number,
    /// `true` or `false`.
    Bool,
    /// A time as records have it: seconds since 1970, or ISO 8601.
    Time,
    /// A list of a record, or an array.
    List,
    /// A map.
    Map,
    /// A map or a record.
    Fields,
    /// A record.
    Record,
    /// A function.
    Function,
    /// What `brevo` is.
    Decision,
    /// What `intercom` is.
    Intercom,
    /// What `run_contact` gives.
    TestDecision,
    /// A list of Brevo: number or name.
    BrevoList,
    /// This, or `()`.
    Maybe(&'static Kind),
}

impl Kind {
    /// In the words of a script's writer.
    pub(crate) fn words(self) -> String {
        let words = match self {
            Self::Any => "any value",
            Self::Nothing => "()",
            Self::Text => "text",
            Self::Int => "whole number",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Time => "time",
            Self::List => "list",
            Self::Map => "map",
            Self::Fields => "map or record",
            Self::Record => "record",
            Self::Function => "function",
            Self::Decision => "decision",
            Self::Intercom => "intercom",
            Self::TestDecision => "what was decided",
            Self::BrevoList => "number or name",
            Self::Maybe(kind) => return format!("{} or ()", kind.words()),
        };
        words.to_owned()
    }

    /// In the language of definition files.
    pub(crate) fn definition(self) -> String {
        let name = match self {
            Self::Any => "?",
            Self::Nothing => "void",
            Self::Text => "String",
            Self::Int => "int",
            Self::Number => "int | float",
            Self::Bool => "bool",
            Self::Time | Self::BrevoList => "int | String",
            Self::List => "Array",
            Self::Map | Self::Fields => "Map",
            Self::Record => "Record",
            Self::Function => "FnPtr",
            Self::Decision => "Decision",
            Self::Intercom => "Intercom",
            Self::TestDecision => "Decided",
            Self::Maybe(kind) => return format!("{} | void", kind.definition()),
        };
        name.to_owned()
    }
}

/// A piece of script and what comes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Example {
    /// The script.
    pub(crate) code: &'static str,
    /// What comes of it.
    pub(crate) expected: Expected,
}

/// What comes of an example.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// The code is an expression of this value, written as JSON.
    Value(&'static str),
    /// The code is an expression or a body that fails with this message.
    Error(&'static str),
    /// The code is a handler's body; this expression about the decision `d` has this value.
    Decides {
        /// The handler.
        handler: &'static str,
        /// What is looked at.
        look: &'static str,
        /// What it is, written as JSON.
        value: &'static str,
    },
}

/// A function that the engine calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandlerDoc {
    /// Its name.
    pub(crate) name: &'static str,
    /// When it is called.
    pub(crate) called: &'static str,
    /// The file that holds it by convention.
    pub(crate) file: &'static str,
    /// What else is to know.
    pub(crate) notes: &'static str,
    /// A whole handler; it compiles.
    pub(crate) example: &'static str,
}

/// A field of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FieldDoc {
    /// Its path in the record.
    pub(crate) path: &'static str,
    /// Its type.
    pub(crate) kind: Kind,
    /// What it is.
    pub(crate) about: &'static str,
}

/// Functions that belong together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    /// The heading.
    pub(crate) title: &'static str,
    /// The variable that they are called on, as in `brevo.skip("…")`; empty for plain functions.
    pub(crate) handle: &'static str,
    /// The type of that variable.
    pub(crate) receiver: Kind,
    /// The handlers in which there is such a variable; none for plain functions.
    pub(crate) handlers: &'static [&'static str],
    /// What they have in common.
    pub(crate) about: &'static str,
    /// They.
    pub(crate) functions: &'static [FunctionDoc],
}

impl Group {
    /// The functions by name.
    pub(crate) fn sorted(&self) -> Vec<&'static FunctionDoc> {
        let mut functions: Vec<_> = self.functions.iter().collect();
        functions.sort_by_key(|function| function.name);
        functions
    }
}

/// A signature, for tables of constants.
pub(crate) const fn signature(parameters: &'static [Parameter], result: Kind) -> Signature {
    Signature { parameters, result }
}

/// A parameter, for tables of constants.
pub(crate) const fn parameter(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, kind, about }
}

/// A field, for tables of constants.
pub(crate) const fn field(path: &'static str, kind: Kind, about: &'static str) -> FieldDoc {
    FieldDoc { path, kind, about }
}

/// An expression and its value.
pub(crate) const fn gives(code: &'static str, value: &'static str) -> Example {
    Example { code, expected: Expected::Value(value) }
}

/// An expression or a body and the message that it fails with.
pub(crate) const fn fails(code: &'static str, message: &'static str) -> Example {
    Example { code, expected: Expected::Error(message) }
}

/// A body of `map_contact` and what it decides.
pub(crate) const fn decides(
    code: &'static str,
    look: &'static str,
    value: &'static str,
) -> Example {
    in_handler("map_contact", code, look, value)
}

/// A handler's body and what it decides.
pub(crate) const fn in_handler(
    handler: &'static str,
    code: &'static str,
    look: &'static str,
    value: &'static str,
) -> Example {
    Example { code, expected: Expected::Decides { handler, look, value } }
}
