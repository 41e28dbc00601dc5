//! Functions on names and e-mail addresses.

use rhai::{Dynamic, Engine, Map};

use super::Outcome;
use super::argument::{optional, text_of};
use crate::rules::reference::{FunctionDoc, Kind, Parameter, fails, gives, parameter, signature};

const EMAIL: Parameter = parameter("email", Kind::Maybe(&Kind::Text), "an e-mail address");
const NOT_TEXT: [&str; 1] = ["the value is neither text nor `()`"];

/// The words for these functions.
pub(super) const DOCS: [FunctionDoc; 4] = [
    FunctionDoc {
        name: "domain",
        signatures: &[signature(&[EMAIL], Kind::Maybe(&Kind::Text))],
        summary: "What stands after the last `@` of an address, in lower case.",
        notes: "`()` where there is no `@` or nothing after it.",
        failures: &NOT_TEXT,
        examples: &[
            gives("domain(\"Ann@Example.com\")", "\"example.com\""),
            gives("domain(\"ann\")", "null"),
            gives("domain(())", "null"),
        ],
    },
    FunctionDoc {
        name: "is_email",
        signatures: &[signature(&[EMAIL], Kind::Bool)],
        summary: "Whether the text is an e-mail address by its form.",
        notes: "Nobody is asked whether it exists. Space around it does not count.",
        failures: &NOT_TEXT,
        examples: &[
            gives("is_email(\"ann@example.com\")", "true"),
            gives("is_email(\"ann@\")", "false"),
            gives("is_email(())", "false"),
        ],
    },
    FunctionDoc {
        name: "is_free_email",
        signatures: &[signature(&[EMAIL], Kind::Bool)],
        summary: "Whether the address is with a provider that says nothing about an employer, such as `gmail.com`.",
        notes: "A list of 36 well-known providers; put those of your own market into a table.",
        failures: &NOT_TEXT,
        examples: &[
            gives("is_free_email(\"ann@gmail.com\")", "true"),
            gives("is_free_email(\"ann@example.com\")", "false"),
            gives("is_free_email(())", "false"),
        ],
    },
    FunctionDoc {
        name: "split_name",
        signatures: &[signature(
            &[parameter("name", Kind::Maybe(&Kind::Text), "a person's name")],
            Kind::Maybe(&Kind::Map),
        )],
        summary: "Splits a name into `first`, its first word, and `last`, all the rest.",
        notes: "Particles stay with the family name, in every language that writes the given name first, \
                Thai and Arabic included. One word is a first name, with `last` being `()`. The order \
                of words is not changed: a name written family name first gives the family name as \
                `first`. A name without a word gives `()`.",
        failures: &NOT_TEXT,
        examples: &[
            gives(
                "split_name(\"Anna van der Berg\")",
                r#"{"first": "Anna", "last": "van der Berg"}"#,
            ),
            gives(
                "split_name(\"Mary Jane Watson\")",
                r#"{"first": "Mary", "last": "Jane Watson"}"#,
            ),
            gives("split_name(\"Madonna\")", r#"{"first": "Madonna", "last": null}"#),
            gives("split_name(\"สมชาย ใจดี\")", r#"{"first": "สมชาย", "last": "ใจดี"}"#),
            gives(
                "split_name(\"فاطمة بنت محمد السيد\")",
                r#"{"first": "فاطمة", "last": "بنت محمد السيد"}"#,
            ),
            gives("split_name(\"  \")", "null"),
            gives("split_name(()).first", "null"),
            fails("split_name(7)", "`split_name` takes text, not a whole number"),
        ],
    },
];

/// Providers whose addresses say nothing about an employer.
const FREE_PROVIDERS: [&str; 36] = [
    "aol.com",
    "fastmail.com",
    "free.fr",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.de",
    "hotmail.fr",
    "icloud.com",
    "laposte.net",
    "libero.it",
    "live.com",
    "mac.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "naver.com",
    "orange.fr",
    "outlook.com",
    "outlook.de",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "t-online.de",
    "web.de",
    "yahoo.co.jp",
    "yahoo.co.uk",
    "yahoo.com",
    "yandex.ru",
];

/// Splits a name into what goes to FIRSTNAME and LASTNAME: the first word and the rest, so that
/// particles such as `van der` stay with the family name. One word is a first name. `None`: no word.
fn split_name(name: &str) -> Option<(String, Option<String>)> {
    let mut words = name.split_whitespace();
    let first = words.next()?;
    let rest = words.collect::<Vec<_>>().join(" ");
    Some((first.to_owned(), (!rest.is_empty()).then_some(rest)))
}

/// What stands after the last `@` of an address, in lower case.
fn domain(email: &str) -> Option<String> {
    let (_, domain) = email.trim().rsplit_once('@')?;
    (!domain.is_empty()).then(|| domain.to_lowercase())
}

fn is_email(text: &str) -> bool {
    email_address::EmailAddress::is_valid(text.trim())
}

pub(crate) fn is_free_email(email: &str) -> bool {
    domain(email).is_some_and(|domain| FREE_PROVIDERS.contains(&domain.as_str()))
}

/// Makes the functions callable.
pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("split_name", |name: Dynamic| -> Outcome<Dynamic> {
        let name = text_of("split_name", &name)?;
        let Some((first, last)) = name.and_then(|name| split_name(&name)) else {
            return Ok(Dynamic::UNIT);
        };
        let parts = [("first".into(), first.into()), ("last".into(), optional(last))];
        Ok(Map::from(parts).into())
    });
    engine.register_fn("domain", |email: Dynamic| -> Outcome<Dynamic> {
        Ok(optional(text_of("domain", &email)?.and_then(|email| domain(&email))))
    });
    engine.register_fn("is_email", |text: Dynamic| -> Outcome<bool> {
        Ok(text_of("is_email", &text)?.is_some_and(|text| is_email(&text)))
    });
    engine.register_fn("is_free_email", |email: Dynamic| -> Outcome<bool> {
        Ok(text_of("is_free_email", &email)?.is_some_and(|email| is_free_email(&email)))
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_splits_after_its_first_word() {
        fn case(name: &str, first: &str, last: Option<&str>) {
            let (got_first, got_last) = split_name(name).unwrap();
            assert_eq!((got_first.as_str(), got_last.as_deref()), (first, last), "{name}");
        }
        case("Ann Lee", "Ann", Some("Lee"));
        case("  Ann   Lee ", "Ann", Some("Lee"));
        case("Anna Maria van der Berg", "Anna", Some("Maria van der Berg"));
        case("Osama bin Ahmed", "Osama", Some("bin Ahmed"));
        case("Van Morrison", "Van", Some("Morrison"));
        case("Ann De", "Ann", Some("De"));
        assert_eq!(split_name("  "), None);
    }

    proptest! {
        #[test]
        fn a_split_name_loses_no_word(name in "[\\PC ]{0,60}") {
            let words: Vec<&str> = name.split_whitespace().collect();
            let joined = split_name(&name).map(|(first, last)| match last {
                Some(last) => format!("{first} {last}"),
                None => first,
            });
            prop_assert_eq!(joined.unwrap_or_default(), words.join(" "));
        }
    }
}
