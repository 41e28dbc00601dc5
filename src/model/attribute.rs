//! Names and values of Brevo's contact attributes.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name that Brevo cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be the name of a Brevo attribute: 1 to 50 characters, no control characters")]
pub struct InvalidAttributeName(String);

/// The name of a Brevo contact attribute, in upper case, as Brevo answers it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttributeName(Arc<str>);

impl AttributeName {
    /// The name in upper case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True of the attributes that hold a phone number: unique in the account, read back as digits.
    pub fn is_phone(&self) -> bool {
        matches!(&*self.0, "SMS" | "WHATSAPP" | "LANDLINE_NUMBER")
    }
}

impl FromStr for AttributeName {
    type Err = InvalidAttributeName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim();
        let length = name.chars().count();
        if (1..=50).contains(&length) && !name.chars().any(char::is_control) {
            Ok(Self(Arc::from(name.to_uppercase())))
        } else {
            Err(InvalidAttributeName(name.chars().take(64).collect()))
        }
    }
}

impl fmt::Display for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type of an attribute in Brevo's catalogue. Others exist and are written by no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttributeType {
    /// Any text.
    Text,
    /// A day, `YYYY-MM-DD`.
    Date,
    /// The only type of number.
    Float,
    /// True or false.
    Boolean,
    /// Several options of a fixed set.
    MultipleChoice,
    /// One option of a fixed set, written by its number or label.
    Category,
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Date => "date",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::MultipleChoice => "multiple-choice",
            Self::Category => "category",
        })
    }
}

/// A value of an attribute, as it stands in JSON. Numbers are finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text, and days as `YYYY-MM-DD`.
    Text(String),
    /// Options of a multiple-choice attribute.
    List(Vec<String>),
}

impl AttributeValue {
    /// The type that Brevo would need to hold this value.
    pub fn natural_type(&self) -> AttributeType {
        match self {
            Self::Bool(_) => AttributeType::Boolean,
            Self::Integer(_) | Self::Float(_) => AttributeType::Float,
            Self::Text(text) if is_day(text) => AttributeType::Date,
            Self::Text(_) => AttributeType::Text,
            Self::List(_) => AttributeType::MultipleChoice,
        }
    }

    /// True where Brevo would answer `other` after `self` was written to the attribute `name`: phone
    /// numbers by their digits, numbers by value, days by their day, options in any order.
    pub fn is_same(&self, other: &Self, name: &AttributeName) -> bool {
        if name.is_phone() {
            return self.phone_digits() == other.phone_digits();
        }
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => {
                a == b
                    || (is_day(a) && b.starts_with(a.as_str()) && day_part(b) == a)
                    || (is_day(b) && day_part(a) == b)
            }
            (Self::List(a), Self::List(b)) => {
                let options = |items: &[String]| items.iter().cloned().collect::<BTreeSet<_>>();
                options(a) == options(b)
            }
            _ => match (self.number(), other.number()) {
                (Some(a), Some(b)) => a == b,
                _ => self == other,
            },
        }
    }

    /// True of text without characters, which stands for "no value".
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty())
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(whole) => Some(*whole as f64),
            Self::Float(float) => Some(*float),
            _ => None,
        }
    }

    /// The digits of a phone number, by which Brevo knows it; a leading `00` stands for `+`.
    pub fn phone_digits(&self) -> String {
        let text = self.to_string();
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        match digits.strip_prefix("00") {
            Some(rest) if !text.trim_start().starts_with('+') => rest.to_owned(),
            _ => digits,
        }
    }
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(flag) => flag.fmt(f),
            Self::Integer(whole) => whole.fmt(f),
            Self::Float(float) => float.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::List(items) => f.write_str(&items.join(", ")),
        }
    }
}

/// True of `YYYY-MM-DD`.
fn is_day(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn day_part(text: &str) -> &str {
    match text.split_once('T') {
        Some((day, _)) => day,
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_same_as_brevo_reads_them_back() {
        fn case(name: &str, ours: AttributeValue, theirs: AttributeValue, same: bool) {
            let name: AttributeName = name.parse().unwrap();
            assert_eq!(ours.is_same(&theirs, &name), same, "{name}: {ours} / {theirs}");
        }
        let text = |t: &str| AttributeValue::Text(t.to_owned());
        case("SMS", text("+66812345678"), text("66812345678"), true);
        case("SMS", text("0066812345678"), text("66812345678"), true);
        case("SMS", text("+66812345678"), text("66812345679"), false);
        case("NAME", text("+66812345678"), text("66812345678"), false);
        case("SEATS", AttributeValue::Integer(12), AttributeValue::Float(12.0), true);
        case("SEATS", AttributeValue::Integer(12), text("12"), false);
        case("DAY", text("2026-01-10"), text("2026-01-10T00:00:00.000Z"), true);
        case("DAY", text("2026-01-10"), text("2026-01-11T00:00:00.000Z"), false);
        let list =
            |items: &[&str]| AttributeValue::List(items.iter().map(|i| (*i).into()).collect());
        case("COLORS", list(&["a", "b"]), list(&["b", "a"]), true);
    }

    #[test]
    fn names_are_upper_case() {
        assert_eq!("plan_tier".parse::<AttributeName>().unwrap().as_str(), "PLAN_TIER");
        assert!("".parse::<AttributeName>().is_err());
    }
}
