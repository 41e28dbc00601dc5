//! Two values side by side, so that a difference is seen at once.

use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};

/// Texts up to this length are shown whole, without marks under what differs.
const SHORT: usize = 24;
/// How much of one value a line shows.
const MOST: usize = 160;
/// How many lines are shown at most.
const MOST_LINES: usize = 40;

/// What is actual and what was expected, where they differ; several lines.
pub(crate) fn contrast(actual: &Value, expected: &Value) -> Vec<String> {
    let mut lines = match (actual, expected) {
        (Value::String(a), Value::String(e)) if a.contains('\n') || e.contains('\n') => {
            by_lines(a, e)
        }
        (Value::String(a), Value::String(e)) => texts(a, e),
        (Value::Object(a), Value::Object(e)) => {
            let mut lines = Vec::new();
            fields("", a, e, &mut lines);
            lines
        }
        (Value::Array(a), Value::Array(e)) => items(a, e),
        _ => scalars(actual, expected),
    };
    if lines.len() > MOST_LINES {
        let rest = lines.len() - MOST_LINES;
        lines.truncate(MOST_LINES);
        lines.push(format!("… and {rest} more"));
    }
    lines
}

/// A value on one line, cut where it is very long; `null` is `()`, as scripts write it.
pub(crate) fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "()".to_owned(),
        other => other.to_string(),
    };
    if text.chars().count() <= MOST {
        return text;
    }
    text.chars().take(MOST - 1).chain(['…']).collect()
}

fn scalars(actual: &Value, expected: &Value) -> Vec<String> {
    let (a, e) = (shown(actual), shown(expected));
    if kind(actual) == kind(expected) {
        return vec![format!("actual    {a}"), format!("expected  {e}")];
    }
    vec![
        format!("actual    {a}  ({})", kind(actual)),
        format!("expected  {e}  ({})", kind(expected)),
    ]
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with decimals",
        Value::Number(_) => "a whole number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "a map",
    }
}

/// Two texts of one line, with carets under what differs in long ones.
fn texts(actual: &str, expected: &str) -> Vec<String> {
    let quoted = |text: &str| Value::from(text).to_string();
    let (actual, expected) = (quoted(actual), quoted(expected));
    let is_short = actual.chars().count().max(expected.chars().count()) <= SHORT;
    let diff = TextDiff::from_chars(&actual, &expected);
    if is_short || diff.ratio() < 0.3 {
        return vec![format!("actual    {actual}"), format!("expected  {expected}")];
    }
    let (mut under_actual, mut under_expected) = (String::new(), String::new());
    for change in diff.iter_all_changes() {
        let letters = change.value().chars().count();
        match change.tag() {
            ChangeTag::Equal => {
                under_actual.push_str(&" ".repeat(letters));
                under_expected.push_str(&" ".repeat(letters));
            }
            ChangeTag::Delete => under_actual.push_str(&"^".repeat(letters)),
            ChangeTag::Insert => under_expected.push_str(&"^".repeat(letters)),
        }
    }
    let mut lines = Vec::new();
    for (name, text, under) in
        [("actual    ", actual, under_actual), ("expected  ", expected, under_expected)]
    {
        lines.push(format!("{name}{text}"));
        if under.contains('^') {
            lines.push(format!("          {}", under.trim_end()));
        }
    }
    lines
}

/// Two texts of several lines: `-` is actual, `+` expected.
fn by_lines(actual: &str, expected: &str) -> Vec<String> {
    let mut lines = vec!["- actual, + expected".to_owned()];
    for change in TextDiff::from_lines(actual, expected).iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Equal => ' ',
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        lines.push(format!("{sign} {}", change.value().trim_end_matches('\n')));
    }
    lines
}

/// Two maps, field by field; equal fields are left out.
fn fields(
    path: &str,
    actual: &Map<String, Value>,
    expected: &Map<String, Value>,
    lines: &mut Vec<String>,
) {
    let mut names: Vec<&String> = actual.keys().chain(expected.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (actual.get(name), expected.get(name)) {
            (Some(a), Some(e)) if same(a, e) => {}
            (Some(Value::Object(a)), Some(Value::Object(e))) => fields(&at, a, e, lines),
            (Some(a), Some(e)) => {
                lines.push(format!("{at}: actual {}, expected {}", shown(a), shown(e)));
            }
            (Some(a), None) => lines.push(format!("{at}: actual {}, not expected", shown(a))),
            (None, Some(e)) => lines.push(format!("{at}: missing, expected {}", shown(e))),
            (None, None) => {}
        }
    }
}

/// Two arrays: `-` stands only in the actual one, `+` only in the expected one.
fn items(actual: &[Value], expected: &[Value]) -> Vec<String> {
    let one_per_line =
        |items: &[Value]| items.iter().map(|item| format!("{item}\n")).collect::<String>();
    let (actual, expected) = (one_per_line(actual), one_per_line(expected));
    let mut lines = vec!["- actual, + expected".to_owned()];
    for change in TextDiff::from_lines(&actual, &expected).iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Equal => ' ',
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        let text = change.value().trim_end_matches('\n');
        lines.push(format!("{sign} {}", text.chars().take(MOST).collect::<String>()));
    }
    lines
}

/// As scripts compare: 1 and 1.0 are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_shown_side_by_side_and_differences_marked() {
        fn case(actual: Value, expected: Value, lines: &[&str]) {
            assert_eq!(contrast(&actual, &expected), lines);
        }
        case(json!("Anna"), json!("Ann"), &["actual    \"Anna\"", "expected  \"Ann\""]);
        case(
            json!("12"),
            json!(12),
            &["actual    \"12\"  (text)", "expected  12  (a whole number)"],
        );
        case(json!(null), json!("Ann"), &["actual    ()  (nothing)", "expected  \"Ann\"  (text)"]);
        case(
            json!("the quick brown fox jumps over"),
            json!("the quick brown dog jumps over"),
            &[
                "actual    \"the quick brown fox jumps over\"",
                "                           ^ ^",
                "expected  \"the quick brown dog jumps over\"",
                "                           ^ ^",
            ],
        );
        case(
            json!("one\ntwo\nthree"),
            json!("one\n2\nthree"),
            &["- actual, + expected", "  one", "- two", "+ 2", "  three"],
        );
        case(
            json!({"a": 1, "b": {"c": "x", "d": 2}, "e": 1}),
            json!({"a": 1.0, "b": {"c": "y", "d": 2}, "f": null}),
            &[
                "b.c: actual \"x\", expected \"y\"",
                "e: actual 1, not expected",
                "f: missing, expected ()",
            ],
        );
        case(
            json!(["a", "b"]),
            json!(["a", "c", "b"]),
            &["- actual, + expected", "  \"a\"", "+ \"c\"", "  \"b\""],
        );
    }

    #[test]
    fn what_is_very_long_is_cut() {
        let long = json!("x".repeat(1_000));
        assert!(shown(&long).chars().count() == MOST && shown(&long).ends_with('…'));
        let many: Vec<Value> = (0..100).map(|n| json!(n)).collect();
        let lines = contrast(&json!(many), &json!([]));
        assert_eq!(lines.last().unwrap(), "… and 61 more");
    }
}
