//! Spans of time such as `15m`, `1h30m` and `off`.

use std::time::Duration;

use super::setting::Setting;

const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);
const HELP: &str =
    "write a number with a unit (`s`, `m`, `h`, `d`), such as `90s`, `1h30m` or `30d`";

impl Setting for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        match parse(text.trim()) {
            Some(span) if span.is_zero() => Err(format!("it must be more than nothing: {HELP}")),
            Some(span) if span > LONGEST => Err("the longest is `3650d`".to_owned()),
            Some(span) => Ok(span),
            None => Err(HELP.to_owned()),
        }
    }
}

/// `off` or `false`, else a span of time.
impl Setting for Option<Duration> {
    fn parse(text: &str) -> Result<Self, String> {
        if is_off(text) {
            return Ok(None);
        }
        Duration::parse(text).map(Some).map_err(|help| format!("{help}; or `off`"))
    }
}

/// True of `off` and `false`, which mean the same.
pub(super) fn is_off(text: &str) -> bool {
    text.eq_ignore_ascii_case("off") || text.eq_ignore_ascii_case("false")
}

/// Pairs of number and unit, larger units first.
fn parse(text: &str) -> Option<Duration> {
    let (mut total, mut rest, mut last_unit) = (Duration::ZERO, text, u64::MAX);
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        if unit >= last_unit {
            return None;
        }
        let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
        total = total.checked_add(Duration::from_secs(seconds))?;
        if behind.is_empty() {
            return Some(total);
        }
        (rest, last_unit) = (behind, unit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        fn case(text: &str, seconds: Option<u64>) {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(Duration::parse(text).ok(), expected, "{text}");
        }
        case("15m", Some(900));
        case("24h", Some(86_400));
        case("30d", Some(2_592_000));
        case("1h30m", Some(5_400));
        case("1d2h3m4s", Some(93_784));
        case("3650d", Some(315_360_000));
        case("3651d", None);
        case("15", None);
        case("m", None);
        case("", None);
        case("0s", None);
        case("15min", None);
        case("30m1h", None);
        case("1m1m", None);
        case("-1m", None);
        case("1.5h", None);
        case("99999999999999999999d", None);
        case("99999999999999999d", None);
    }

    #[test]
    fn off_and_false_are_the_same() {
        assert_eq!(Option::<Duration>::parse("off"), Ok(None));
        assert_eq!(Option::<Duration>::parse("False"), Ok(None));
        assert_eq!(Option::<Duration>::parse("1s"), Ok(Some(Duration::from_secs(1))));
        assert!(Option::<Duration>::parse("true").is_err());
    }
}
