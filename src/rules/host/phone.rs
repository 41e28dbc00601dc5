//! `phone`: numbers as people type them, as E.164 or not at all.

use std::panic::catch_unwind;
use std::sync::Once;

use phonenumber::metadata::DATABASE;
use phonenumber::{Metadata, PhoneNumber, country};
use rhai::{Dynamic, Engine, ImmutableString, NativeCallContext};

use super::Outcome;
use super::argument::{in_words, optional, text_of};
use crate::rules::error::refuse;
use crate::rules::evaluation::Evaluation;
use crate::rules::reference::{FunctionDoc, Kind, Parameter, fails, gives, parameter, signature};

const NUMBER: Parameter = parameter(
    "value",
    Kind::Maybe(&Kind::Text),
    "a number as people type it; a whole number is taken, too",
);

/// The words for this function.
pub(super) const DOCS: [FunctionDoc; 1] = [FunctionDoc {
    name: "phone",
    signatures: &[
        signature(&[NUMBER], Kind::Maybe(&Kind::Text)),
        signature(
            &[
                NUMBER,
                parameter(
                    "region",
                    Kind::Text,
                    "the region of a number without a country code, such as `TH`",
                ),
            ],
            Kind::Maybe(&Kind::Text),
        ),
    ],
    summary: "A phone number in E.164, as Brevo wants it, or `()` where it is not a valid one.",
    notes: "Spaces, dashes, dots, slashes, parentheses and `(0)` are taken out, `00` stands for `+`, and \
            Arabic, Persian, Thai and full-width digits are read. What remains must be a valid number of \
            its country, not merely one of the right length. Without `region`, `phone_region` of the \
            configuration counts; without that, numbers need a country code.",
    failures: &[
        "the region is not two letters that are one",
        "the value is neither text, a whole number nor `()`",
    ],
    examples: &[
        gives("phone(\"+66 81 234 5678\")", "\"+66812345678\""),
        gives("phone(\"081.234-5678\", \"TH\")", "\"+66812345678\""),
        gives("phone(\"+44 (0)20 7946 0958\")", "\"+442079460958\""),
        gives("phone(\"0066 81 234 5678\")", "\"+66812345678\""),
        gives("phone(66812345678, \"TH\")", "\"+66812345678\""),
        gives("phone(\"call me\", \"TH\")", "null"),
        gives("phone(())", "null"),
        fails("phone(\"1\", \"Thailand\")", "`Thailand` is not a region"),
        fails("phone(true)", "`phone` takes text, not true or false"),
    ],
}];

/// A region whose numbers may be written without a country code, such as `TH`.
pub(crate) type Region = country::Id;

/// Reads the two letters of a region.
pub(crate) fn parse_region(text: &str) -> Option<Region> {
    text.trim().to_uppercase().parse().ok()
}

/// The number in E.164, `None` if the library does not find it valid.
pub(super) fn to_e164(text: &str, region: Option<Region>) -> Option<String> {
    // Sizes are bounded before the library sees the text.
    if text.len() > 64 {
        return None;
    }
    let cleaned = clean(text);
    let number = catch_unwind(|| phonenumber::parse(region, cleaned)).ok()?.ok()?;
    let (code, national) = (number.code().value(), number.national().to_string());
    is_valid(&number, code, &national).then(|| format!("+{code}{national}"))
}

/// What the library finds, asking for the likeliest kinds of number first where one region has the
/// code to itself; the library asks for the kind, one after the other, and then forgets it.
fn is_valid(number: &PhoneNumber, code: u16, national: &str) -> bool {
    let regions = DATABASE.region(&code).unwrap_or_default();
    let metadata = match regions.as_slice() {
        // `001` stands for all codes without a region.
        [region] if *region != "001" => DATABASE.by_id(*region),
        _ => None,
    };
    let Some(kinds) = metadata.map(Metadata::descriptors) else {
        return number.is_valid();
    };
    let mut possible = [
        kinds.mobile(),
        kinds.fixed_line(),
        kinds.toll_free(),
        kinds.premium_rate(),
        kinds.shared_cost(),
        kinds.voip(),
        kinds.personal_number(),
        kinds.pager(),
        kinds.uan(),
        kinds.voicemail(),
    ]
    .into_iter()
    .flatten();
    kinds.general().is_match(national) && possible.any(|kind| kind.is_match(national))
}

/// Without spaces, dashes, dots, parentheses and `(0)`; digits of any script as ASCII; `00` as `+`.
fn clean(text: &str) -> String {
    let text: String = text.trim().chars().map(ascii_digit).collect();
    let text: String = text
        .replace("(0)", "")
        .chars()
        .filter(|c| !c.is_whitespace() && !"-.()‐‑–/\u{200e}\u{200f}\u{202a}\u{202c}".contains(*c))
        .collect();
    match text.strip_prefix("00") {
        Some(rest) => format!("+{rest}"),
        None => text,
    }
}

/// The ASCII digit of an Arabic, Persian, Thai or full-width one.
fn ascii_digit(letter: char) -> char {
    const ZEROS: [u32; 4] = [0x0660, 0x06f0, 0x0e50, 0xff10];
    let value = u32::from(letter);
    ZEROS.iter().find_map(|zero| char::from_digit(value.checked_sub(*zero)?, 10)).unwrap_or(letter)
}

/// The number in E.164, read once for each evaluation.
pub(super) fn read(
    evaluation: &Evaluation,
    text: &str,
    region: Option<Region>,
) -> Option<ImmutableString> {
    evaluation.phone(text, region, || to_e164(text, region))
}

/// Makes `phone` callable; `default` is the region of the configuration.
pub(super) fn register(engine: &mut Engine, default: Option<Region>) {
    // The library reads its tables at first use, which is not the first record's to pay for.
    static TABLES: Once = Once::new();
    TABLES.call_once(|| drop(to_e164("+66812345678", None)));
    engine.register_fn("phone", move |ctx: NativeCallContext<'_>, value: Dynamic| {
        number(&ctx, &value, default)
    });
    engine.register_fn(
        "phone",
        |ctx: NativeCallContext<'_>, value: Dynamic, region: Dynamic| -> Outcome<Dynamic> {
            let named = text_of("phone", &region).ok().flatten();
            let region = match named.as_deref().map(|name| (name, parse_region(name))) {
                Some((_, Some(region))) => Ok(region),
                Some((name, None)) => Err(format!("`phone`: `{name}` is not a region")),
                None => Err(format!("`phone` takes a region as text, not {}", in_words(&region))),
            };
            let write = "write two letters such as \"TH\"";
            let region = region.map_err(|problem| refuse(format!("{problem}; {write}")))?;
            number(&ctx, &value, Some(region))
        },
    );
}

fn number(
    ctx: &NativeCallContext<'_>,
    value: &Dynamic,
    region: Option<Region>,
) -> Outcome<Dynamic> {
    let text = match value.as_int() {
        Ok(digits) => Some(digits.to_string().into()),
        Err(_) => text_of("phone", value)?,
    };
    let number = text.and_then(|text| match Evaluation::of(ctx) {
        Ok(evaluation) => read(&evaluation, &text, region),
        // The top level of a script, which is no evaluation.
        Err(_) => to_e164(&text, region).map(Into::into),
    });
    Ok(optional(number))
}

#[cfg(test)]
mod tests {
    use phonenumber::Mode;
    use proptest::prelude::*;

    use super::*;

    /// The number as the library itself would say it.
    fn by_the_library(text: &str, region: Option<Region>) -> Option<String> {
        let number = phonenumber::parse(region, clean(text)).ok()?;
        number.is_valid().then(|| number.format().mode(Mode::E164).to_string())
    }

    proptest! {
        #[test]
        fn a_number_is_what_the_library_says(
            code in prop::sample::select(vec!["+66", "+44", "+1", "+49", "+39", "+33", "+800", "+7", "0", "+"]),
            digits in "[0-9]{4,12}",
            region in prop::sample::select(vec![None, Some("TH"), Some("GB"), Some("US"), Some("IT")]),
        ) {
            let (text, region) = (format!("{code}{digits}"), region.and_then(parse_region));
            prop_assert_eq!(to_e164(&text, region), by_the_library(&text, region), "{}", text);
        }

        #[test]
        fn what_comes_out_is_e164_and_stays_itself(text in "[+0-9() .a-z-]{0,24}") {
            if let Some(number) = to_e164(&text, parse_region("TH")) {
                prop_assert!(number.starts_with('+') && number.len() <= 17);
                prop_assert_eq!(to_e164(&number, None), Some(number));
            }
        }
    }

    #[test]
    fn what_people_type_becomes_e164_or_nothing() {
        fn case(text: &str, region: Option<&str>, expected: Option<&str>) {
            let got = to_e164(text, region.and_then(parse_region));
            assert_eq!(got.as_deref(), expected, "{text}");
        }
        case("+66 81 234 5678", None, Some("+66812345678"));
        case("0066 81-234-5678", None, Some("+66812345678"));
        case("081.234.5678", Some("th"), Some("+66812345678"));
        case("+44 (0)20 7946 0958", None, Some("+442079460958"));
        case("(020) 7946 0958", Some("GB"), Some("+442079460958"));
        case("٠٨١٢٣٤٥٦٧٨", Some("TH"), Some("+66812345678"));
        case("081-234", Some("TH"), None);
        case("081 234 5678", None, None);
        case("call me", Some("TH"), None);
        case("", Some("TH"), None);
        case(&"9".repeat(10_000), None, None);
    }
}
