//! Functions on text: case, names, addresses, patterns, digests.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use rhai::{Dynamic, Engine, ImmutableString, Map, NativeCallContext};
use sha2::{Digest as _, Sha256};

use super::{Outcome, register_text_fn, text_of};
use crate::model::canonical_json;
use crate::rules::error::refuse;
use crate::rules::view::to_json;

/// How many compiled patterns a thread keeps.
const PATTERNS: usize = 256;

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

/// What stands after the last `@` of an address, in lower case.
fn domain(email: &str) -> Option<String> {
    let (_, domain) = email.trim().rsplit_once('@')?;
    (!domain.is_empty()).then(|| domain.to_lowercase())
}

fn is_email(text: &str) -> bool {
    email_address::EmailAddress::is_valid(text.trim())
}

fn is_free_email(email: &str) -> bool {
    domain(email).is_some_and(|domain| FREE_PROVIDERS.contains(&domain.as_str()))
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// Compiles a pattern once a thread. Matching takes linear time whatever the pattern.
fn with_pattern<T>(pattern: &str, use_it: impl FnOnce(&Regex) -> T) -> Outcome<T> {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        if !compiled.contains_key(pattern) {
            let regex = RegexBuilder::new(pattern)
                .size_limit(1 << 20)
                .build()
                .map_err(|_| refuse(format!("`{pattern}` is not a regular expression")))?;
            if compiled.len() >= PATTERNS {
                compiled.clear();
            }
            compiled.insert(pattern.to_owned(), regex);
        }
        match compiled.get(pattern) {
            Some(regex) => Ok(use_it(regex)),
            None => Err(refuse(format!("`{pattern}` is not a regular expression"))),
        }
    })
}

/// The text of a group, `()` where it did not take part. A number or a name.
fn capture(text: &str, pattern: &str, group: usize) -> Outcome<Dynamic> {
    with_pattern(pattern, |regex| {
        let captures = regex.captures(text)?;
        let found = match group {
            // Without a group in the pattern the whole match is meant.
            1 if captures.len() == 1 => captures.get(0),
            group => captures.get(group),
        };
        found.map(|found| found.as_str().to_owned())
    })
    .map(|found| found.map_or(Dynamic::UNIT, Dynamic::from))
}

/// Replaces every match, as long as the result stays within the limit.
fn replace_all(text: &str, pattern: &str, with: &str, limit: usize) -> Outcome<Dynamic> {
    let too_large =
        || refuse(format!("`replace_all` would make a text of more than {limit} bytes"));
    // Bounds the size before anything is built: each match may insert the whole text per `$1`.
    let inserts = with.matches('$').count();
    let matches = with_pattern(pattern, |regex| regex.find_iter(text).count())?;
    let worst = matches.saturating_mul(with.len() + if inserts > 0 { inserts * 64 } else { 0 });
    if limit > 0 && worst.saturating_add(text.len()) > limit.saturating_mul(8) {
        return Err(too_large());
    }
    let replaced = with_pattern(pattern, |regex| regex.replace_all(text, with).into_owned())?;
    if limit > 0 && replaced.len() > limit { Err(too_large()) } else { Ok(replaced.into()) }
}

/// Makes the functions callable.
pub(super) fn register(engine: &mut Engine) {
    register_text_fn(engine, "lower", |text| text.to_lowercase());
    register_text_fn(engine, "upper", |text| text.to_uppercase());
    register_text_fn(engine, "trim", |text| text.trim().to_owned());
    register_text_fn(engine, "title_case", title_case);
    register_text_fn(engine, "sha256", sha256);
    engine.register_fn("split_name", |name: Dynamic| -> Outcome<Dynamic> {
        let Some(name) = text_of("split_name", &name)? else {
            return Ok(Dynamic::UNIT);
        };
        let Some((first, last)) = split_name(&name) else {
            return Ok(Dynamic::UNIT);
        };
        let last = last.map_or(Dynamic::UNIT, Dynamic::from);
        Ok(Map::from([("first".into(), first.into()), ("last".into(), last)]).into())
    });
    engine.register_fn("domain", |email: Dynamic| -> Outcome<Dynamic> {
        let email = text_of("domain", &email)?;
        Ok(email.and_then(|email| domain(&email)).map_or(Dynamic::UNIT, Dynamic::from))
    });
    engine.register_fn("is_email", |text: Dynamic| -> Outcome<bool> {
        Ok(text_of("is_email", &text)?.is_some_and(|text| is_email(&text)))
    });
    engine.register_fn("is_free_email", |email: Dynamic| -> Outcome<bool> {
        Ok(text_of("is_free_email", &email)?.is_some_and(|email| is_free_email(&email)))
    });
    engine.register_fn("matches", |text: Dynamic, pattern: ImmutableString| -> Outcome<bool> {
        match text_of("matches", &text)? {
            Some(text) => with_pattern(&pattern, |regex| regex.is_match(&text)),
            None => Ok(false),
        }
    });
    engine.register_fn("capture", |text: Dynamic, pattern: ImmutableString| -> Outcome<Dynamic> {
        match text_of("capture", &text)? {
            Some(text) => capture(&text, &pattern, 1),
            None => Ok(Dynamic::UNIT),
        }
    });
    engine.register_fn(
        "capture",
        |text: Dynamic, pattern: ImmutableString, group: i64| -> Outcome<Dynamic> {
            let group = usize::try_from(group)
                .map_err(|_| refuse("`capture` counts groups from 0, the whole match"))?;
            match text_of("capture", &text)? {
                Some(text) => capture(&text, &pattern, group),
                None => Ok(Dynamic::UNIT),
            }
        },
    );
    engine.register_fn(
        "replace_all",
        |ctx: NativeCallContext<'_>,
         text: Dynamic,
         pattern: ImmutableString,
         with: ImmutableString|
         -> Outcome<Dynamic> {
            match text_of("replace_all", &text)? {
                Some(text) => replace_all(&text, &pattern, &with, ctx.engine().max_string_size()),
                None => Ok(Dynamic::UNIT),
            }
        },
    );
    engine.register_fn("json", |value: Dynamic| canonical_json(&to_json(&value)));
    engine.register_fn("or", |value: Dynamic, default: Dynamic| -> Dynamic {
        let is_missing =
            value.is_unit() || value.as_immutable_string_ref().is_ok_and(|text| text.is_empty());
        if is_missing { default } else { value }
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
        case("Madonna", "Madonna", None);
        case("Mary Jane Watson", "Mary", Some("Jane Watson"));
        case("Anna van der Berg", "Anna", Some("van der Berg"));
        case("Anna Maria van der Berg", "Anna", Some("Maria van der Berg"));
        case("Osama bin Ahmed", "Osama", Some("bin Ahmed"));
        case("Van Morrison", "Van", Some("Morrison"));
        case("Ann De", "Ann", Some("De"));
        case("สมชาย ใจดี", "สมชาย", Some("ใจดี"));
        case("فاطمة بنت محمد السيد", "فاطمة", Some("بنت محمد السيد"));
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

    #[test]
    fn texts() {
        assert_eq!(title_case("ANNA-LENA o'neil  berg"), "Anna-Lena O'neil  Berg");
        assert_eq!(domain(" ann@Example.COM "), Some("example.com".to_owned()));
        assert_eq!(domain("ann"), None);
        assert!(is_free_email("ann@Gmail.com") && !is_free_email("ann@example.com"));
        assert_eq!(sha256("abc").get(..8), Some("ba7816bf"));
        assert_eq!(replace_all("a-b-c", "-", "+", 100).unwrap().to_string(), "a+b+c");
        assert!(replace_all(&"a".repeat(60_000), "a", &"b".repeat(60_000), 65_536).is_err());
        assert_eq!(capture("plan:pro", "plan:(.*)", 1).unwrap().to_string(), "pro");
        assert_eq!(capture("plan:pro", "[a-z]+", 1).unwrap().to_string(), "plan");
        assert!(capture("plan", "x", 1).unwrap().is_unit());
        assert!(capture("plan", "(", 1).is_err());
    }
}
