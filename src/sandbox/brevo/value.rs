//! Types of attributes and what each takes: what does not fit is dropped without a word.

use serde_json::{Value, json};

/// Where a value comes from, since imports read values in their own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// `POST`, `PUT`, events.
    Api,
    /// `jsonBody`: booleans are dropped (facts: Brevo section 2, "Import").
    JsonImport,
    /// `fileBody`: everything is text.
    CsvImport,
}

/// What becomes of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Taken {
    Set(Value),
    Clear,
    /// Of the wrong type, or for an attribute that does not exist or is calculated.
    Ignored,
    /// A phone number that is none: the one value that is refused loudly.
    InvalidPhone,
}

/// An attribute's type and options.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Text,
    Date,
    Float,
    Boolean,
    MultipleChoice(Vec<String>),
    Category(Vec<EnumerationItem>),
    /// Types that no contact write sets: `id`, `user`, formulas.
    Other(Option<String>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct EnumerationItem {
    pub(super) value: String,
    pub(super) label: String,
}

impl Kind {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Text => "text",
            Self::Date => "date",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::MultipleChoice(_) => "multiple-choice",
            Self::Category(_) => "category",
            Self::Other(name) => name.as_deref().unwrap_or_default(),
        }
    }

    pub(super) fn take(&self, value: &Value, origin: Origin) -> Taken {
        let taken = match self {
            Self::Text => text(value).map(Value::String),
            Self::Date => value.as_str().and_then(day).map(Value::String),
            Self::Float => float(value, origin),
            Self::Boolean => boolean(value, origin),
            Self::Category(items) => category(items, value).map(Value::String),
            Self::MultipleChoice(options) => return multiple_choice(options, value, origin),
            Self::Other(_) => None,
        };
        taken.map_or(Taken::Ignored, Taken::Set)
    }
}

impl EnumerationItem {
    /// `value` is 0 for what is not a number, since May 2026 (facts: Brevo section 3).
    pub(super) fn to_json(&self) -> Value {
        let value: i64 = self.value.parse().unwrap_or_default();
        json!({"value": value, "valueStr": self.value, "label": self.label})
    }
}

/// The digits of a phone number with its country code: `+91…`, `0091…` or `91…`.
pub(super) fn phone(value: &Value) -> Option<String> {
    let text = text(value)?;
    let digits = text.strip_prefix('+').or_else(|| text.strip_prefix("00")).unwrap_or(&text);
    let is_phone = digits.chars().all(|digit| digit.is_ascii_digit());
    (is_phone && (6..=15).contains(&digits.len())).then(|| digits.to_owned())
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The day of `YYYY-MM-DD` or of a time that begins so.
fn day(text: &str) -> Option<String> {
    let (day, rest) = text.split_at_checked(10)?;
    let is_day = day.parse::<jiff::civil::Date>().is_ok();
    (is_day && (rest.is_empty() || rest.starts_with(['T', ' ']))).then(|| day.to_owned())
}

fn float(value: &Value, origin: Origin) -> Option<Value> {
    match (value, origin) {
        (Value::Number(_), _) => Some(value.clone()),
        (Value::String(text), Origin::CsvImport) => {
            let whole = || text.parse::<i64>().ok().map(|number| json!(number));
            let float = || text.parse::<f64>().ok().filter(|float| float.is_finite());
            whole().or_else(|| float().map(|number| json!(number)))
        }
        _ => None,
    }
}

fn boolean(value: &Value, origin: Origin) -> Option<Value> {
    match (value, origin) {
        (Value::Bool(_), _) => Some(value.clone()),
        (Value::String(text), Origin::CsvImport) => match text.to_lowercase().as_str() {
            "yes" | "true" => Some(Value::Bool(true)),
            "no" | "false" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}

/// An option by its value or label, as its value: that is what is read back.
fn category(items: &[EnumerationItem], value: &Value) -> Option<String> {
    let wanted = text(value)?;
    let by_value = || items.iter().find(|item| item.value == wanted);
    let by_label = || items.iter().find(|item| item.label == wanted);
    by_value().or_else(by_label).map(|item| item.value.clone())
}

/// Options that do not exist are dropped, and an empty array clears.
fn multiple_choice(options: &[String], value: &Value, origin: Origin) -> Taken {
    let wanted: Vec<String> = match (value, origin) {
        (Value::Array(items), _) => items.iter().filter_map(text).collect(),
        (Value::String(text), Origin::CsvImport) => {
            text.split(',').map(|part| part.trim().to_owned()).collect()
        }
        _ => return Taken::Ignored,
    };
    if wanted.is_empty() {
        return Taken::Clear;
    }
    let known: Vec<String> = wanted.into_iter().filter(|option| options.contains(option)).collect();
    if known.is_empty() { Taken::Ignored } else { Taken::Set(json!(known)) }
}
