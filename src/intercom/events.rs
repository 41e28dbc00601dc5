//! Custom events: handed in, listed for a contact, and summed up.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::{Answer, IntercomClient, malformed};
use super::error::IntercomError;
use super::normalize;
use super::page::{Cursor, next_query};
use super::reads::{rows, usable};
use crate::http::Lane;
use crate::model::{Liveness, RecordId, RecordKey, Snapshot, Source, Timestamp};

const PER_PAGE: u32 = 150;

/// A page of a contact's events.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct EventPage {
    /// The events, newest first. None is older than 90 days.
    pub snapshots: Vec<Snapshot>,
    /// The next page; none after the last.
    pub next: Option<Cursor>,
    /// Rows that were no event with a name; they are left out.
    pub unusable: usize,
}

/// How often a contact did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTotal {
    /// What it did.
    pub name: String,
    /// How often.
    pub count: u64,
    /// For the first time.
    pub first: Option<Timestamp>,
    /// For the last time.
    pub last: Option<Timestamp>,
}

/// Calls fail as [`IntercomError`] says. A write whose outcome is unknown is not repeated.
impl IntercomClient {
    /// Says that a contact did something. Another of that name in the same second is dropped.
    ///
    /// # Errors
    ///
    /// See [`IntercomError`]; this holds for all calls below.
    pub async fn submit_event(
        &self,
        lane: Lane,
        contact: &RecordId,
        name: &str,
        at: Timestamp,
        metadata: &Map<String, Value>,
    ) -> Result<(), IntercomError> {
        let body = json!({
            "event_name": name, "created_at": at, "id": contact, "metadata": metadata,
        });
        self.effect(lane, Method::POST, &["events"], Some(&body), "/events").await
    }

    /// A page of 150 events of a contact, newest first; the first one without a cursor.
    pub async fn events_page(
        &self,
        lane: Lane,
        contact: &RecordId,
        cursor: Option<&Cursor>,
    ) -> Result<EventPage, IntercomError> {
        const ROUTE: &str = "/events";
        let mut query = vec![
            ("type", "user".to_owned()),
            ("intercom_user_id", contact.to_string()),
            ("per_page", PER_PAGE.to_string()),
        ];
        query.extend(cursor.map(|cursor| ("before", cursor.to_string())));
        let answer = self.get(lane, &["events"], &query, ROUTE).await?;
        let rows = rows(&answer, &["events", "data"], ROUTE)?;
        let (snapshots, unusable) = usable(rows, |row| event(row, contact, &answer));
        // Of the address of the next page only the position is taken: it names another host.
        let next = next_query(&answer.value, "before").as_deref().and_then(Cursor::from_text);
        if next.is_some() && next.as_ref() == cursor {
            return Err(malformed(ROUTE, "its next page is the same page"));
        }
        Ok(EventPage { snapshots, next: next.filter(|_| !rows.is_empty()), unusable })
    }

    /// How often a contact did what, events older than 90 days among them; none if the answer is no
    /// summary. One call.
    pub async fn event_totals(
        &self,
        lane: Lane,
        contact: &RecordId,
    ) -> Result<Option<Vec<EventTotal>>, IntercomError> {
        const ROUTE: &str = "/events";
        let query = [
            ("type", "user".to_owned()),
            ("intercom_user_id", contact.to_string()),
            ("summary", "true".to_owned()),
        ];
        let answer = self.get(lane, &["events"], &query, ROUTE).await?;
        let rows = rows(&answer, &["events", "data"], ROUTE)?;
        let is_summary = answer.value.get("type").is_none_or(|kind| kind == "event.summary");
        Ok(is_summary.then(|| rows.iter().filter_map(EventTotal::parse).collect()))
    }

    /// Hands in how often a contact did something, instead of each event.
    pub async fn submit_event_total(
        &self,
        lane: Lane,
        contact: &RecordId,
        total: &EventTotal,
    ) -> Result<(), IntercomError> {
        let EventTotal { name, count, first, last } = total;
        let body = json!({
            "intercom_user_id": contact,
            "event_summaries": {
                "event_name": name, "count": count, "first": first, "last": last,
            },
        });
        let path = ["events", "summaries"];
        self.effect(lane, Method::POST, &path, Some(&body), "/events/summaries").await
    }
}

impl EventTotal {
    fn parse(row: &Value) -> Option<Self> {
        let name = row.get("name").or(row.get("event_name"))?.as_str()?;
        let time = |key: &str| row.get(key).and_then(Timestamp::parse);
        let count = row.get("count").and_then(Value::as_u64).unwrap_or(0);
        Some(Self { name: name.to_owned(), count, first: time("first"), last: time("last") })
    }
}

/// An event of a list that was asked for by `contact`.
fn event(row: &Value, contact: &RecordId, answer: &Answer) -> Option<Snapshot> {
    let name = row.get("event_name").and_then(Value::as_str)?;
    if name.is_empty() {
        return None;
    }
    let mut row = row.clone();
    if let Some(fields) = row.as_object_mut() {
        let id = fields.entry("intercom_user_id").or_insert(Value::Null);
        if id.is_null() {
            *id = json!(contact);
        }
    }
    let body = normalize::event(&row);
    let key = RecordKey::event(normalize::id_of(&body)?);
    let at = body.get("created_at").and_then(Timestamp::parse).unwrap_or(answer.began);
    let source = Source::Read { began: answer.began };
    Some(Snapshot::new(key, Liveness::Live, body, source, at, answer.received))
}
