//! Functions on time. There is no clock: `older_than` and `within` compare with the evaluation's
//! `as_of` and remember when their answer flips.

use jiff::tz::TimeZone;
use rhai::{Dynamic, Engine, NativeCallContext};

use super::Outcome;
use super::argument::{in_words, optional, required_text};
use crate::model::Timestamp;
use crate::rules::error::refuse;
use crate::rules::evaluation::Evaluation;
use crate::rules::reference::{FunctionDoc, Kind, Parameter, fails, gives, parameter, signature};

const TIME: Parameter =
    parameter("time", Kind::Maybe(&Kind::Time), "seconds since 1970, or a text in ISO 8601");
const DURATION: Parameter = parameter(
    "duration",
    Kind::Text,
    "a whole number and `s`, `m`, `h`, `d` or `w`: seconds, minutes, hours, days, weeks",
);
const NO_TIME: &str = "the time is a list, a record, a bool, or a number that is not finite";
const NO_DURATION: &str = "the duration is not one";

/// What these functions have in common.
pub(super) const ABOUT: &str = "A time is what records hold: seconds since 1970; a text in ISO 8601 is read, too, without an offset \
     as UTC. A text that is no time counts as `()`. There is no clock: `older_than` and `within` compare with \
     the time of the derivation, and the record is derived again at the moment when the answer changes, \
     with no webhook. In `choose_primary`, whose answer must not change with time alone, they are an error.";

/// The words for these functions.
pub(super) const DOCS: [FunctionDoc; 5] = [
    FunctionDoc {
        name: "date",
        signatures: &[
            signature(&[TIME], Kind::Maybe(&Kind::Text)),
            signature(
                &[TIME, parameter("zone", Kind::Text, "a time zone such as `Asia/Bangkok`")],
                Kind::Maybe(&Kind::Text),
            ),
        ],
        summary: "The day of a time as `YYYY-MM-DD`, in UTC or in a time zone.",
        notes: "What Brevo\'s date attributes take.",
        failures: &[NO_TIME, "there is no such time zone"],
        examples: &[
            gives("date(1768086000)", "\"2026-01-10\""),
            gives("date(1768086000, \"Asia/Bangkok\")", "\"2026-01-11\""),
            gives("date(\"2026-01-10T23:00:00+07:00\")", "\"2026-01-10\""),
            gives("date(\"soon\")", "null"),
            gives("date(())", "null"),
            fails("date(1768086000, \"Bangkok\")", "`Bangkok` is not a time zone"),
            fails("date(true)", "`date` takes a time, not true or false"),
        ],
    },
    FunctionDoc {
        name: "datetime",
        signatures: &[signature(&[TIME], Kind::Maybe(&Kind::Text))],
        summary: "A time in ISO 8601, in UTC.",
        notes: "",
        failures: &[NO_TIME],
        examples: &[
            gives("datetime(1768019995)", "\"2026-01-10T04:39:55Z\""),
            gives("datetime(())", "null"),
        ],
    },
    FunctionDoc {
        name: "days_between",
        signatures: &[signature(
            &[
                parameter("from", Kind::Maybe(&Kind::Time), "the earlier time"),
                parameter("to", Kind::Maybe(&Kind::Time), "the later time"),
            ],
            Kind::Maybe(&Kind::Int),
        )],
        summary: "How many whole days of 24 hours lie between two times; negative where the second is the earlier one.",
        notes: "`()` where one of them is.",
        failures: &[NO_TIME],
        examples: &[
            gives("days_between(\"2026-01-01\", \"2026-01-10\")", "9"),
            gives("days_between(\"2026-01-10\", \"2026-01-01\")", "-9"),
            gives("days_between(1768000000, 1768086399)", "0"),
            gives("days_between(contact.created_at, ())", "null"),
        ],
    },
    FunctionDoc {
        name: "older_than",
        signatures: &[signature(&[TIME, DURATION], Kind::Bool)],
        summary: "Whether a time lies at least the duration in the past.",
        notes: "`false` for `()`: a contact that was never seen is neither asleep nor awake.",
        failures: &[NO_TIME, NO_DURATION, "it is called at the top level or in `choose_primary`"],
        examples: &[
            gives("older_than(contact.last_seen_at, \"30d\")", "false"),
            gives("older_than(contact.signed_up_at, \"12w\")", "true"),
            gives("older_than((), \"30d\")", "false"),
            fails("older_than(contact.last_seen_at, \"a month\")", "`a month` is not a duration"),
        ],
    },
    FunctionDoc {
        name: "within",
        signatures: &[signature(&[TIME, DURATION], Kind::Bool)],
        summary: "Whether a time lies less than the duration in the past, or at most that in the future.",
        notes: "For a time in the past, the opposite of `older_than`; `false` for `()`, like that.",
        failures: &[NO_TIME, NO_DURATION, "it is called at the top level or in `choose_primary`"],
        examples: &[
            gives("within(contact.last_seen_at, \"30d\")", "true"),
            gives("within(contact.custom_attributes.renews_at, \"2w\")", "true"),
            gives("within((), \"30d\")", "false"),
            fails(
                "within(contact.last_seen_at, 30)",
                "`within` takes a duration as text, not a whole number",
            ),
        ],
    },
];

const DAY_SECONDS: i64 = 86_400;

/// A time as records carry it, seconds or ISO 8601; `None` for `()` and for a text that is no time.
fn time_of(function: &str, value: &Dynamic) -> Outcome<Option<Timestamp>> {
    if let Ok(seconds) = value.as_int() {
        return Ok(Some(Timestamp::from_seconds(seconds)));
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Timestamp::parse_text(&text));
    }
    match value.as_float() {
        Ok(seconds) if seconds.is_finite() => Ok(Timestamp::parse(&seconds.into())),
        Ok(seconds) => Err(refuse(format!("`{function}` takes a time, not {seconds}"))),
        Err(_) if value.is_unit() => Ok(None),
        Err(_) => Err(refuse(format!("`{function}` takes a time, not {}", in_words(value)))),
    }
}

/// The day of a time in a zone, `YYYY-MM-DD`; `None` if no calendar reaches it.
pub(super) fn day(time: Timestamp, zone: TimeZone) -> Option<String> {
    let instant = jiff::Timestamp::from_second(time.seconds()).ok()?;
    Some(instant.to_zoned(zone).date().to_string())
}

fn zone(value: &Dynamic) -> Outcome<TimeZone> {
    let name = required_text("date", "a time zone", value)?;
    TimeZone::get(&name).map_err(|_| {
        refuse(format!("`date`: `{name}` is not a time zone; write one such as \"Asia/Bangkok\""))
    })
}

/// How many whole days lie between two times, cut towards zero.
fn days_between(from: Timestamp, to: Timestamp) -> i64 {
    to.seconds().saturating_sub(from.seconds()) / DAY_SECONDS
}

fn datetime(time: Timestamp) -> Option<String> {
    jiff::Timestamp::from_second(time.seconds()).ok().map(|instant| instant.to_string())
}

/// Reads `30d`, `12h`, `15m`, `90s`, `2w` as seconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at_checked(digits)?;
    let seconds = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => DAY_SECONDS,
        "w" => 7 * DAY_SECONDS,
        _ => return None,
    };
    count.parse::<i64>().ok()?.checked_mul(seconds)
}

fn duration(function: &str, value: &Dynamic) -> Outcome<i64> {
    let text = required_text(function, "a duration", value)?;
    parse_duration(&text).ok_or_else(|| {
        let write = "write one such as \"30d\", \"12h\" or \"15m\"";
        refuse(format!("`{function}`: `{text}` is not a duration; {write}"))
    })
}

/// True from `duration` after `time` on.
fn older_than(ctx: NativeCallContext<'_>, time: Dynamic, duration: Dynamic) -> Outcome<bool> {
    let Compared { evaluation, as_of, time, seconds } =
        Compared::new(&ctx, "older_than", &time, &duration)?;
    let Some(time) = time else {
        return Ok(false);
    };
    let flips = time.plus(seconds);
    evaluation.flips_at(flips);
    Ok(as_of >= flips)
}

/// True while `as_of` is less than `duration` after `time`, or at most that before it.
fn within(ctx: NativeCallContext<'_>, time: Dynamic, duration: Dynamic) -> Outcome<bool> {
    let Compared { evaluation, as_of, time, seconds } =
        Compared::new(&ctx, "within", &time, &duration)?;
    let Some(time) = time else {
        return Ok(false);
    };
    let (begins, ends) = (time.plus(-seconds), time.plus(seconds));
    evaluation.flips_at(begins);
    evaluation.flips_at(ends);
    Ok((begins..ends).contains(&as_of))
}

/// What is compared with `as_of`.
struct Compared {
    evaluation: Evaluation,
    as_of: Timestamp,
    time: Option<Timestamp>,
    seconds: i64,
}

impl Compared {
    fn new(
        ctx: &NativeCallContext<'_>,
        function: &str,
        time: &Dynamic,
        text: &Dynamic,
    ) -> Outcome<Self> {
        let seconds = duration(function, text)?;
        let evaluation = Evaluation::of(ctx)?;
        let as_of = evaluation.as_of().ok_or_else(|| {
            refuse(format!(
                "`{function}` cannot be used here: the answer must not change with time alone"
            ))
        })?;
        Ok(Self { time: time_of(function, time)?, evaluation, as_of, seconds })
    }
}

/// Makes the functions callable.
pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("date", |time: Dynamic| -> Outcome<Dynamic> {
        let time = time_of("date", &time)?;
        Ok(optional(time.and_then(|time| day(time, TimeZone::UTC))))
    });
    engine.register_fn("date", |time: Dynamic, name: Dynamic| -> Outcome<Dynamic> {
        let zone = zone(&name)?;
        let time = time_of("date", &time)?;
        Ok(optional(time.and_then(|time| day(time, zone))))
    });
    engine.register_fn("datetime", |time: Dynamic| -> Outcome<Dynamic> {
        Ok(optional(time_of("datetime", &time)?.and_then(datetime)))
    });
    engine.register_fn("days_between", |from: Dynamic, to: Dynamic| -> Outcome<Dynamic> {
        let (from, to) = (time_of("days_between", &from)?, time_of("days_between", &to)?);
        Ok(optional(from.zip(to).map(|(from, to)| days_between(from, to))))
    });
    engine.register_fn("older_than", older_than);
    engine.register_fn("within", within);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        fn case(text: &str, seconds: Option<i64>) {
            assert_eq!(parse_duration(text), seconds, "{text}");
        }
        case("30d", Some(2_592_000));
        case("12h", Some(43_200));
        case(" 2 w ", Some(1_209_600));
        case("90s", Some(90));
        case("30", None);
        case("d", None);
        case("", None);
        case("3 months", None);
        case("99999999999999999999d", None);
        case("9999999999999999d", None);
    }

    #[test]
    fn days() {
        let time = Timestamp::from_seconds(1_768_019_995);
        assert_eq!(day(time, TimeZone::UTC).as_deref(), Some("2026-01-10"));
        assert_eq!(datetime(time).as_deref(), Some("2026-01-10T04:39:55Z"));
        assert_eq!(day(Timestamp::from_seconds(i64::MAX), TimeZone::UTC), None);
    }

    proptest::proptest! {
        #[test]
        fn days_between_two_times_are_the_same_both_ways(from: i64, to: i64) {
            let (from, to) = (Timestamp::from_seconds(from), Timestamp::from_seconds(to));
            proptest::prop_assert_eq!(days_between(from, to), -days_between(to, from));
        }
    }
}
