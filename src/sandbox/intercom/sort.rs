//! The order of what a search finds.

use std::cmp::Ordering;

use serde_json::Value;

use super::attribute::AttributeTable;
use super::contact::Contact;
use super::cursor::Cursor;
use super::refused::Refused;
use super::search::{Class, Subject};

/// The order of what a search finds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sort {
    subject: Subject,
    is_ascending: bool,
}

impl Sort {
    /// Reads `sort`. Without one the last seen come first.
    pub(super) fn parse(
        sort: Option<&Value>,
        attributes: &AttributeTable,
    ) -> Result<Self, Refused> {
        let Some(sort) = sort.filter(|sort| !sort.is_null()) else {
            let subject = Subject::Field("last_seen_at", Class::Date);
            return Ok(Self { subject, is_ascending: false });
        };
        let name = sort.get("field").and_then(Value::as_str).unwrap_or_default();
        let is_ascending = match sort.get("order").and_then(Value::as_str) {
            Some("ascending") => true,
            Some("descending") | None => false,
            Some(_) => return Err(Refused::invalid("order must be ascending or descending")),
        };
        Ok(Self { subject: Subject::parse(name, attributes)?, is_ascending })
    }

    /// Where a contact stands in this order. Times count to the millisecond.
    pub(super) fn key(&self, contact: &Contact) -> SortKey {
        match self.subject {
            Subject::UpdatedAt => SortKey::Number(contact.updated_ms as f64),
            Subject::CreatedAt => SortKey::Number(contact.created_ms as f64),
            _ => SortKey::from(&self.subject.value(contact)),
        }
    }

    pub(super) fn compare(&self, a: (&SortKey, &str), b: (&SortKey, &str)) -> Ordering {
        let by_key = a.0.compare(b.0);
        let by_key = if self.is_ascending { by_key } else { by_key.reverse() };
        by_key.then_with(|| a.1.cmp(b.1))
    }

    /// True if a contact comes after the cursor.
    pub(super) fn is_after(&self, cursor: &Cursor, key: &SortKey, id: &str) -> bool {
        let last = SortKey::from(&cursor.sort_value);
        self.compare((key, id), (&last, &cursor.id)) == Ordering::Greater
    }
}

/// A contact's place in an order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SortKey {
    Missing,
    Number(f64),
    Text(String),
}

impl SortKey {
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::Missing => Value::Null,
            Self::Number(number) => Value::from(*number),
            Self::Text(text) => Value::from(&**text),
        }
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
        }
    }
}

impl From<&Value> for SortKey {
    fn from(value: &Value) -> Self {
        match value {
            Value::Number(number) => number.as_f64().map_or(Self::Missing, Self::Number),
            Value::Bool(flag) => Self::Number(f64::from(u8::from(*flag))),
            Value::String(text) => Self::Text(text.clone()),
            _ => Self::Missing,
        }
    }
}
