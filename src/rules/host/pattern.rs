//! Functions on regular expressions. Matching takes linear time whatever the pattern.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::{Captures, Regex, RegexBuilder};
use rhai::{Dynamic, Engine, ImmutableString, NativeCallContext};

use super::Outcome;
use super::argument::{in_words, optional, required_text, text_of};
use crate::rules::error::{refuse, single_line};
use crate::rules::reference::{FunctionDoc, Kind, Parameter, fails, gives, parameter, signature};

/// How many compiled patterns a thread keeps.
const PATTERNS: usize = 64;
/// How large a compiled pattern, and the cache that matching with it fills, may become.
const PATTERN_BYTES: usize = 1 << 20;
const CACHE_BYTES: usize = 1 << 19;

const TEXT: Parameter = parameter("text", Kind::Maybe(&Kind::Text), "what is looked at");
const PATTERN: Parameter = parameter("pattern", Kind::Text, "a regular expression");
const BAD_PATTERN: &str = "the pattern is no regular expression, or a very large one";
const NOT_TEXT: &str = "the text is neither text nor `()`";

/// What these functions have in common.
pub(super) const ABOUT: &str = "Patterns are those of the [`regex` crate](https://docs.rs/regex/#syntax): no look-around and no \
     back-references, so no pattern is slow. `(?i)` at the beginning ignores case. Write them in \
     back-ticks or double the `\\`: `` `\\d+` `` is `\"\\\\d+\"`. Each is compiled once.";

/// The words for these functions.
pub(super) const DOCS: [FunctionDoc; 3] = [
    FunctionDoc {
        name: "capture",
        signatures: &[
            signature(&[TEXT, PATTERN], Kind::Maybe(&Kind::Text)),
            signature(
                &[
                    TEXT,
                    PATTERN,
                    parameter(
                        "group",
                        Kind::Any,
                        "the number of a group, or its name; 0 is the whole match",
                    ),
                ],
                Kind::Maybe(&Kind::Text),
            ),
        ],
        summary: "What a group of the pattern matched, at the first place where the pattern matches.",
        notes: "Without `group` the first one is meant, or the whole match where the pattern has none. `()` \
                where nothing matches, or the group took no part.",
        failures: &[BAD_PATTERN, "the pattern has no such group", NOT_TEXT],
        examples: &[
            gives("capture(\"plan:pro\", \"plan:(.*)\")", "\"pro\""),
            gives("capture(\"order 4711, 2 items\", `\\d+`)", "\"4711\""),
            gives("capture(\"2026-01-10\", `(\\d+)-(\\d+)`, 2)", "\"01\""),
            gives("capture(\"2026-01-10\", `(?P<year>\\d{4})`, \"year\")", "\"2026\""),
            gives("capture(\"free\", \"plan:(.*)\")", "null"),
            gives("capture((), \"plan:(.*)\")", "null"),
            fails("capture(\"x\", \"x\", 2)", "`capture`: the pattern `x` has no group 2"),
        ],
    },
    FunctionDoc {
        name: "matches",
        signatures: &[signature(&[TEXT, PATTERN], Kind::Bool)],
        summary: "Whether the pattern matches anywhere in the text.",
        notes: "`^` and `$` tie it to the whole text.",
        failures: &[BAD_PATTERN, NOT_TEXT],
        examples: &[
            gives("matches(\"+66812345678\", `^\\+66`)", "true"),
            gives("matches(\"Example GmbH\", \"(?i)gmbh$\")", "true"),
            gives("matches((), \".*\")", "false"),
            fails("matches(\"x\", \"(\")", "`(` is not a regular expression"),
            fails("matches(\"x\", ())", "`matches` takes a pattern as text, not ()"),
        ],
    },
    FunctionDoc {
        name: "replace_all",
        signatures: &[signature(
            &[
                TEXT,
                PATTERN,
                parameter(
                    "with",
                    Kind::Text,
                    "the new text; `$1` or `${name}` stand for groups, `$$` for `$`",
                ),
            ],
            Kind::Maybe(&Kind::Text),
        )],
        summary: "The text with every match of the pattern replaced.",
        notes: "Write `${1}` where a letter, digit or `_` follows.",
        failures: &[BAD_PATTERN, NOT_TEXT, "the result would be longer than `limits.string_bytes`"],
        examples: &[
            gives("replace_all(\"a-b-c\", \"-\", \"+\")", "\"a+b+c\""),
            gives("replace_all(\"Lee, Ann\", `(\\w+), (\\w+)`, \"$2 $1\")", "\"Ann Lee\""),
            gives("replace_all(\"T 12\", `\\D`, \"\")", "\"12\""),
            gives("replace_all((), \"-\", \"+\")", "null"),
        ],
    },
];

/// Compiles a pattern once a thread, and uses it.
fn with_pattern<T>(
    function: &str,
    pattern: &str,
    use_it: impl FnOnce(&Regex) -> Outcome<T>,
) -> Outcome<T> {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        if let Some(regex) = compiled.get(pattern) {
            return use_it(regex);
        }
        let regex = compile(function, pattern)?;
        let outcome = use_it(&regex);
        if compiled.len() >= PATTERNS {
            compiled.clear();
        }
        compiled.insert(pattern.to_owned(), regex);
        outcome
    })
}

fn compile(function: &str, pattern: &str) -> Outcome<Regex> {
    let built =
        RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).dfa_size_limit(CACHE_BYTES).build();
    built.map_err(|error| {
        let why = match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The last line says what is wrong; those before it show the pattern.
            error => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                last.trim_start_matches("error: ").to_owned()
            }
        };
        let shown: String = pattern.chars().take(80).collect();
        refuse(single_line(&format!("`{function}`: `{shown}` is not a regular expression: {why}")))
    })
}

/// Which group of a pattern is asked for.
#[derive(Debug, Clone, PartialEq)]
enum GroupName {
    /// The first one, or the whole match.
    First,
    Number(i64),
    Name(ImmutableString),
}

fn capture(text: &str, pattern: &str, group: &GroupName) -> Outcome<Option<String>> {
    with_pattern("capture", pattern, |regex| {
        let no_group = |group: &str| {
            Err(refuse(format!("`capture`: the pattern `{pattern}` has no group {group}")))
        };
        let index = match group {
            GroupName::First => usize::from(regex.captures_len() > 1),
            GroupName::Number(number) => match usize::try_from(*number) {
                Ok(index) if index < regex.captures_len() => index,
                _ => return no_group(&number.to_string()),
            },
            GroupName::Name(name) => {
                match regex.capture_names().position(|known| known == Some(name.as_str())) {
                    Some(index) => index,
                    None => return no_group(&format!("`{name}`")),
                }
            }
        };
        let found = regex.captures(text).and_then(|captures| captures.get(index));
        Ok(found.map(|found| found.as_str().to_owned()))
    })
}

/// Replaces every match, as long as the result stays within the limit. No step builds a text that
/// is much larger than the limit before its size is known.
fn replace_all(text: &str, pattern: &str, with: &str, limit: usize) -> Outcome<String> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let inserts = with.matches('$').count();
    with_pattern("replace_all", pattern, |regex| {
        let mut replaced = String::new();
        let mut copied = 0;
        let too_large =
            || Err(refuse(format!("`replace_all` would make a text of more than {limit} bytes")));
        for captures in regex.captures_iter(text) {
            let Some(found) = captures.get(0) else { continue };
            replaced.push_str(text.get(copied..found.start()).unwrap_or_default());
            copied = found.end();
            // A group lies within its match, so this bounds what the template becomes.
            let largest = with.len().saturating_add(inserts.saturating_mul(found.len()));
            if largest > limit.saturating_mul(16) {
                return too_large();
            }
            expand(&captures, with, inserts, &mut replaced);
            if replaced.len() > limit {
                return too_large();
            }
        }
        replaced.push_str(text.get(copied..).unwrap_or_default());
        if replaced.len() > limit { too_large() } else { Ok(replaced) }
    })
}

fn expand(captures: &Captures<'_>, with: &str, inserts: usize, into: &mut String) {
    match inserts {
        0 => into.push_str(with),
        _ => captures.expand(with, into),
    }
}

/// Makes the functions callable.
pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("matches", |text: Dynamic, pattern: Dynamic| -> Outcome<bool> {
        let pattern = required_text("matches", "a pattern", &pattern)?;
        match text_of("matches", &text)? {
            Some(text) => with_pattern("matches", &pattern, |regex| Ok(regex.is_match(&text))),
            None => Ok(false),
        }
    });
    engine.register_fn("capture", |text: Dynamic, pattern: Dynamic| {
        captured(&text, &pattern, &GroupName::First)
    });
    engine.register_fn("capture", |text: Dynamic, pattern: Dynamic, group: Dynamic| {
        let group = match (group.as_int(), group.as_immutable_string_ref()) {
            (Ok(number), _) => GroupName::Number(number),
            (_, Ok(name)) => GroupName::Name(name.clone()),
            _ => {
                let got = in_words(&group);
                return Err(refuse(format!(
                    "`capture` takes the number or name of a group, not {got}"
                )));
            }
        };
        captured(&text, &pattern, &group)
    });
    engine.register_fn(
        "replace_all",
        |ctx: NativeCallContext<'_>, text: Dynamic, pattern: Dynamic, with: Dynamic| {
            let pattern = required_text("replace_all", "a pattern", &pattern)?;
            let with = required_text("replace_all", "the new text", &with)?;
            let limit = ctx.engine().max_string_size();
            let text = text_of("replace_all", &text)?;
            let replaced =
                text.map(|text| replace_all(&text, &pattern, &with, limit)).transpose()?;
            Outcome::Ok(optional(replaced))
        },
    );
}

fn captured(text: &Dynamic, pattern: &Dynamic, group: &GroupName) -> Outcome<Dynamic> {
    let pattern = required_text("capture", "a pattern", pattern)?;
    let text = text_of("capture", text)?;
    Ok(optional(text.map(|text| capture(&text, &pattern, group)).transpose()?.flatten()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::error::ScriptError;

    fn message<T: std::fmt::Debug>(outcome: Outcome<T>) -> String {
        ScriptError::new(*outcome.unwrap_err(), "", &|_, _| None).message
    }

    #[test]
    fn a_text_that_would_grow_beyond_the_limit_is_never_built() {
        let refused = |text: &str, pattern: &str, with: &str| {
            message(replace_all(text, pattern, with, 65_536))
        };
        for (text, pattern, with) in [
            ("a".repeat(60_000), "a", "b".repeat(60_000)),
            // One match, inserted seven thousand times, would be 420 MB.
            ("a".repeat(60_000), "(.*)", "$1".repeat(7_000)),
            ("a".repeat(60_000), "(?P<all>.*)", "${all}".repeat(2)),
        ] {
            let error = refused(&text, pattern, &with);
            assert!(error.contains("more than 65536 bytes"), "{error}");
        }
    }

    #[test]
    fn a_pattern_that_compiles_to_too_much_is_refused() {
        let error = message(capture("x", r"(?:\w{100}){100}", &GroupName::First));
        assert!(error.contains("is not a regular expression: it is too large"), "{error}");
    }

    #[test]
    fn more_patterns_than_are_kept_still_match() {
        for number in 0..PATTERNS * 2 {
            let text = number.to_string();
            let found = capture(&text, &format!("^{number}$"), &GroupName::First).unwrap();
            assert_eq!(found, Some(text));
        }
    }

    proptest! {
        #[test]
        fn replacing_gives_what_the_library_gives(
            text in "[a-c$ ]{0,40}", pattern in "[a-c]|a(b?)|(?:)|[ab]+", with in "[$01{}x-]{0,8}",
        ) {
            let regex = Regex::new(&pattern).unwrap();
            let expected = regex.replace_all(&text, with.as_str()).into_owned();
            prop_assert_eq!(replace_all(&text, &pattern, &with, 65_536).unwrap(), expected);
        }
    }
}
