//! Functions on time. There is no clock: `older_than` and `within` compare with the evaluation's
//! `as_of` and remember when their answer flips.

use jiff::tz::TimeZone;
use rhai::{Dynamic, Engine, ImmutableString, NativeCallContext};

use super::Outcome;
use crate::model::Timestamp;
use crate::rules::error::refuse;
use crate::rules::evaluation::Evaluation;
use crate::rules::view::to_json;

const DAY_SECONDS: i64 = 86_400;

/// A time as records carry it, seconds or ISO 8601; `None` for `()` and for what is no time.
fn time_of(value: &Dynamic) -> Option<Timestamp> {
    if let Ok(seconds) = value.as_int() {
        return Some(Timestamp::from_seconds(seconds));
    }
    Timestamp::parse(&to_json(value))
}

/// The day of a time in a zone, `YYYY-MM-DD`; `None` if no calendar reaches it.
pub(super) fn day(time: Timestamp, zone: TimeZone) -> Option<String> {
    let instant = jiff::Timestamp::from_second(time.seconds()).ok()?;
    Some(instant.to_zoned(zone).date().to_string())
}

fn zone(name: &str) -> Outcome<TimeZone> {
    TimeZone::get(name).map_err(|_| {
        refuse(format!("`{name}` is not a time zone; write one such as \"Asia/Bangkok\""))
    })
}

fn datetime(time: Timestamp) -> Option<String> {
    jiff::Timestamp::from_second(time.seconds()).ok().map(|instant| instant.to_string())
}

/// Reads `30d`, `12h`, `15m`, `90s`, `2w` as seconds.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
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

fn duration(text: &str) -> Outcome<i64> {
    parse_duration(text).ok_or_else(|| {
        refuse(format!("`{text}` is not a duration; write one such as \"30d\", \"12h\" or \"15m\""))
    })
}

/// True from `duration` after `time` on.
fn older_than(ctx: NativeCallContext<'_>, time: Dynamic, text: ImmutableString) -> Outcome<bool> {
    let (evaluation, as_of, seconds) = comparison(&ctx, &text)?;
    let Some(time) = time_of(&time) else {
        return Ok(false);
    };
    let flips = time.plus(seconds);
    evaluation.flips_at(flips);
    Ok(as_of >= flips)
}

/// True while `as_of` is less than `duration` after `time`, or at most that before it.
fn within(ctx: NativeCallContext<'_>, time: Dynamic, text: ImmutableString) -> Outcome<bool> {
    let (evaluation, as_of, seconds) = comparison(&ctx, &text)?;
    let Some(time) = time_of(&time) else {
        return Ok(false);
    };
    let (begins, ends) = (time.plus(-seconds), time.plus(seconds));
    evaluation.flips_at(begins);
    evaluation.flips_at(ends);
    Ok((begins..ends).contains(&as_of))
}

/// What a comparison with `as_of` needs: the evaluation, its time, the duration in seconds.
fn comparison(ctx: &NativeCallContext<'_>, text: &str) -> Outcome<(Evaluation, Timestamp, i64)> {
    let seconds = duration(text)?;
    let evaluation = Evaluation::of(ctx)?;
    let as_of = evaluation.as_of().ok_or_else(|| {
        let name = ctx.fn_name();
        refuse(format!("`{name}` cannot be used here: the answer must not change with time alone"))
    })?;
    Ok((evaluation, as_of, seconds))
}

fn optional(text: Option<String>) -> Dynamic {
    text.map_or(Dynamic::UNIT, Dynamic::from)
}

/// Makes the functions callable.
pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("date", |time: Dynamic| {
        optional(time_of(&time).and_then(|time| day(time, TimeZone::UTC)))
    });
    engine.register_fn("date", |time: Dynamic, name: ImmutableString| -> Outcome<Dynamic> {
        let zone = zone(&name)?;
        Ok(optional(time_of(&time).and_then(|time| day(time, zone))))
    });
    engine.register_fn("datetime", |time: Dynamic| optional(time_of(&time).and_then(datetime)));
    engine.register_fn("days_between", |from: Dynamic, to: Dynamic| -> Dynamic {
        match (time_of(&from), time_of(&to)) {
            (Some(from), Some(to)) => {
                to.seconds().saturating_sub(from.seconds()).div_euclid(DAY_SECONDS).into()
            }
            _ => Dynamic::UNIT,
        }
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
}
