//! Pages of lists, and the positions between them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::model::Snapshot;

/// Where the next page begins: opaque, stateless, and good for as long as the sort order lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// A cursor as Intercom or the store gave it; an empty one is none, because Intercom answers 500
    /// to it (facts: Intercom section 3.2).
    pub fn from_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The cursor as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A page of contacts. Rows may repeat or be missing if contacts change meanwhile: sweeps overlap.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Page {
    /// The contacts, newest first.
    pub snapshots: Vec<Snapshot>,
    /// The next page; none after the last.
    pub next: Option<Cursor>,
    /// How many contacts the list has in all, if Intercom says so.
    pub total: Option<u64>,
    /// Rows that were no contact with an id; they are left out.
    pub unusable: usize,
}

/// A page of the company scroll.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct ScrollPage {
    /// The companies.
    pub snapshots: Vec<Snapshot>,
    /// What continues the scroll, within a minute; none at its end.
    pub next: Option<String>,
    /// Rows that were no company with an id; they are left out.
    pub unusable: usize,
}

/// A page of the company list, which ends at 10,000 companies.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct CompanyPage {
    /// The companies.
    pub snapshots: Vec<Snapshot>,
    /// The number of the next page; none after the last.
    pub next: Option<u32>,
    /// How many companies there are in all, if Intercom says so.
    pub total: Option<u64>,
    /// Rows that were no company with an id; they are left out.
    pub unusable: usize,
}

/// The cursor of the next page: `pages.next` is an object, a URL, `null` or absent.
pub(super) fn next_cursor(answer: &Value) -> Option<Cursor> {
    let next = answer.get("pages")?.get("next")?;
    let position = match next {
        Value::String(text) => query_of(text, "starting_after")?,
        Value::Object(next) => match next.get("starting_after")? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        },
        _ => return None,
    };
    Cursor::from_text(&position)
}

/// A parameter of the address of the next page, for lists that are paged by address.
pub(super) fn next_query(answer: &Value, name: &str) -> Option<String> {
    match answer.get("pages")?.get("next")? {
        Value::String(text) => query_of(text, name),
        Value::Object(next) => match next.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// The number of the page after `current`, for lists with numbered pages.
pub(super) fn next_number(answer: &Value, current: u32) -> Option<u32> {
    let pages = answer.get("pages")?;
    let from_next = match pages.get("next") {
        Some(Value::String(text)) => query_of(text, "page").and_then(|page| page.parse().ok()),
        Some(Value::Object(next)) => next.get("page").and_then(number),
        _ => None,
    };
    let following = current.checked_add(1)?;
    let is_there = || number(pages.get("total_pages")?).filter(|last| following <= *last);
    from_next.or_else(|| is_there().map(|_| following)).filter(|next| *next > current)
}

/// Numbers inside `pages` may be text.
fn number(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| u32::try_from(number).ok()),
    }
}

/// A parameter of a URL, which may be a path only.
fn query_of(text: &str, name: &str) -> Option<String> {
    let base = Url::parse("https://api.intercom.io").ok()?;
    let url = base.join(text).ok()?;
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_every_form_of_the_next_position() {
        fn case(next: Value, expected: Option<&str>) {
            let answer = json!({ "pages": { "next": next, "per_page": "5" } });
            assert_eq!(next_cursor(&answer).as_ref().map(Cursor::as_str), expected, "{next}");
        }
        case(json!({"page": 2, "starting_after": "WzE3"}), Some("WzE3"));
        case(json!({"per_page": 5, "starting_after": "a=="}), Some("a=="));
        case(json!("https://api.intercom.io/contacts?per_page=5&starting_after=a%3D"), Some("a="));
        case(json!("/contacts?starting_after=x"), Some("x"));
        case(json!({"page": 2, "starting_after": ""}), None);
        case(json!({"page": 2}), None);
        case(json!(null), None);
        assert_eq!(next_cursor(&json!({"pages": {"page": 1}})), None);
        assert_eq!(next_cursor(&json!({"pages": null})), None);
    }

    #[test]
    fn reads_every_form_of_the_next_number() {
        fn case(pages: Value, expected: Option<u32>) {
            assert_eq!(next_number(&json!({ "pages": pages }), 1), expected, "{pages}");
        }
        case(json!({"page": 1, "total_pages": 3}), Some(2));
        case(json!({"page": "1", "total_pages": "3"}), Some(2));
        case(json!({"page": 1, "total_pages": 1, "next": null}), None);
        case(json!({"next": "https://api.intercom.io/companies/list?per_page=60&page=2"}), Some(2));
        case(json!({"next": {"page": 2}}), Some(2));
        case(json!({"next": {"page": 1}}), None);
        case(json!(null), None);
    }
}
