//! Functions on text: case, space, digests.

use rhai::Engine;
use sha2::{Digest as _, Sha256};

use super::argument::register_text_fn;
use crate::rules::reference::{FunctionDoc, Kind, Parameter, Signature, fails, gives};
use crate::rules::reference::{parameter, signature};

const TEXT: Parameter = parameter("text", Kind::Maybe(&Kind::Text), "the text");
const TEXT_TO_TEXT: [Signature; 1] = [signature(&[TEXT], Kind::Maybe(&Kind::Text))];
const NOT_TEXT: [&str; 1] =
    ["the value is neither text nor `()`; write `x.to_string()` for a number"];

/// The words for these functions.
pub(super) const DOCS: [FunctionDoc; 5] = [
    FunctionDoc {
        name: "lower",
        signatures: &TEXT_TO_TEXT,
        summary: "The text in lower case.",
        notes: "Unicode's rules, whatever the language.",
        failures: &NOT_TEXT,
        examples: &[
            gives("lower(\"Ann LEE\")", "\"ann lee\""),
            gives("lower(\"ÄÖÜ\")", "\"äöü\""),
            gives("lower(())", "null"),
            fails("lower(5)", "`lower` takes text, not a whole number"),
        ],
    },
    FunctionDoc {
        name: "sha256",
        signatures: &TEXT_TO_TEXT,
        summary: "The SHA-256 of the text's UTF-8 bytes, in lower-case hexadecimal.",
        notes: "As it stands: write `sha256(lower(trim(contact.email)))` where both sides must agree.",
        failures: &NOT_TEXT,
        examples: &[
            gives(
                "sha256(\"ann@example.com\")",
                "\"71d4f55f72fa128dfb468a1a3901507c804b74316488744d769d7f4b16696476\"",
            ),
            gives("sha256(())", "null"),
        ],
    },
    FunctionDoc {
        name: "title_case",
        signatures: &TEXT_TO_TEXT,
        summary: "The first letter of each word in upper case, the others in lower case.",
        notes: "Words begin after a space and after `-`. It knows no names: `McDonald` becomes `Mcdonald`, \
                `van` becomes `Van`. Use it where case says nothing.",
        failures: &NOT_TEXT,
        examples: &[
            gives("title_case(\"ANNA-LENA o'neil\")", "\"Anna-Lena O'neil\""),
            gives("title_case(())", "null"),
        ],
    },
    FunctionDoc {
        name: "trim",
        signatures: &TEXT_TO_TEXT,
        summary: "The text without space at its beginning and end.",
        notes: "Rhai's own `trim` changes a variable; this one gives a new text, also as `text.trim()`.",
        failures: &NOT_TEXT,
        examples: &[gives("trim(\"  Ann Lee \\n\")", "\"Ann Lee\""), gives("trim(())", "null")],
    },
    FunctionDoc {
        name: "upper",
        signatures: &TEXT_TO_TEXT,
        summary: "The text in upper case.",
        notes: "Unicode's rules, whatever the language.",
        failures: &NOT_TEXT,
        examples: &[gives("upper(\"straße\")", "\"STRASSE\""), gives("upper(())", "null")],
    },
];

/// The first letter of each word in upper case, the others in lower case.
fn title_case(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut starts = true;
    for letter in text.chars() {
        if starts {
            titled.extend(letter.to_uppercase())
        } else {
            titled.extend(letter.to_lowercase())
        }
        starts = letter.is_whitespace() || letter == '-';
    }
    titled
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// Makes the functions callable.
pub(super) fn register(engine: &mut Engine) {
    register_text_fn(engine, "lower", |text| text.to_lowercase());
    register_text_fn(engine, "upper", |text| text.to_uppercase());
    register_text_fn(engine, "trim", |text| text.trim().to_owned());
    register_text_fn(engine, "title_case", title_case);
    register_text_fn(engine, "sha256", sha256);
}
