//! Custom events: taken in, listed, summed up (facts: Intercom section 6).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use url::form_urlencoded::Serializer;

use super::contact::{Contact, ContactId};
use super::refused::Refused;
use super::routes::{Call, Reply, ok, per_page, query_value};
use super::state::State;
use super::time::iso;
use crate::model::Timestamp;

/// `GET /events` shows nothing older.
const SHOWN_DAYS: i64 = 90;

/// The first so many keys of `metadata` are kept.
const MAX_METADATA: usize = 10;

const DEFAULT_PER_PAGE: usize = 50;

/// Something that a contact did.
#[derive(Debug, Clone)]
pub(super) struct Event {
    id: String,
    name: String,
    /// Milliseconds: no two events of a contact have the same, so that a page can begin after one.
    at_ms: i64,
    metadata: Map<String, Value>,
}

/// A count that somebody handed in instead of events.
#[derive(Debug, Clone, Copy)]
struct Summary {
    count: i64,
    first: i64,
    last: i64,
}

/// The events of all contacts, each contact's newest first.
#[derive(Debug, Default)]
pub(super) struct EventTable {
    by_contact: HashMap<ContactId, Vec<Event>>,
    summaries: HashMap<ContactId, BTreeMap<String, Summary>>,
}

impl EventTable {
    /// Adds an event, unless the contact has one of this name in this second.
    fn put(&mut self, contact: &ContactId, mut event: Event) -> Option<Event> {
        let held = self.by_contact.entry(Arc::clone(contact)).or_default();
        let second = event.at_ms.div_euclid(1000);
        let in_second: Vec<&Event> =
            held.iter().filter(|other| other.at_ms.div_euclid(1000) == second).collect();
        if in_second.iter().any(|other| other.name == event.name) {
            return None;
        }
        event.at_ms += (in_second.len() as i64).min(999);
        let place = held.partition_point(|other| other.at_ms > event.at_ms);
        held.insert(place, event.clone());
        Some(event)
    }

    fn of(&self, contact: &str) -> &[Event] {
        self.by_contact.get(contact).map(Vec::as_slice).unwrap_or_default()
    }

    /// Forgets a contact that is gone.
    pub(super) fn forget(&mut self, contact: &str) {
        self.by_contact.remove(contact);
        self.summaries.remove(contact);
    }

    /// Gives the events of a contact that was merged to the one that took it over.
    pub(super) fn hand_over(&mut self, from: &str, into: &ContactId) {
        for event in self.by_contact.remove(from).unwrap_or_default() {
            self.put(into, event);
        }
    }
}

impl State {
    /// A contact did something. A second event of its name in the same second is dropped silently.
    pub(super) fn take_event(
        &mut self,
        contact: &str,
        name: &str,
        at: i64,
        metadata: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let contact = Arc::clone(&self.live(contact)?.id);
        if let Some(event) = self.put_event(&contact, name, at, metadata) {
            let mut item = self.show_event(&contact, &event);
            if let Some(item) = item.as_object_mut() {
                item.insert("ext_metadata".to_owned(), json!({}));
            }
            self.fire("event.created", item, now);
        }
        Ok(())
    }

    /// The same without a notification.
    pub(super) fn put_event(
        &mut self,
        contact: &ContactId,
        name: &str,
        at: i64,
        metadata: &Map<String, Value>,
    ) -> Option<Event> {
        let id = self.event_id();
        let metadata = metadata.iter().take(MAX_METADATA);
        let metadata = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
        let event = Event { id, name: name.to_owned(), at_ms: at.saturating_mul(1000), metadata };
        self.events.put(contact, event)
    }

    fn event_id(&mut self) -> String {
        let number =
            u128::from(self.next_id()).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        uuid::Builder::from_random_bytes(number.to_be_bytes()).into_uuid().to_string()
    }

    fn show_event(&self, contact: &str, event: &Event) -> Value {
        let held = self.contacts.get(contact);
        json!({
            "type": "event",
            "event_name": event.name,
            "created_at": event.at_ms.div_euclid(1000),
            "user_id": held.and_then(Contact::external_id),
            "id": event.id,
            "intercom_user_id": contact,
            "email": held.and_then(Contact::email),
            "metadata": event.metadata,
        })
    }

    /// All events of a contact, newest first, as REST shows them.
    pub(super) fn events_of(&self, contact: &str) -> Vec<Value> {
        self.events.of(contact).iter().map(|event| self.show_event(contact, event)).collect()
    }
}

/// `POST /events`.
pub(super) fn submit(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let name = call.body.get("event_name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err(Refused::missing("event_name is required"));
    }
    let at = call.body.get("created_at").and_then(Value::as_i64);
    let at = at.ok_or_else(|| Refused::missing("created_at is required"))?;
    if at > call.now.seconds() + 86_400 {
        return Err(Refused::invalid("created_at must be a Unix timestamp in seconds"));
    }
    let none = Map::new();
    let metadata = call.body.get("metadata").and_then(Value::as_object).unwrap_or(&none);
    let is_nested = |value: &Value| match value {
        Value::Object(object) => {
            let has = |keys: [&str; 2]| keys.iter().all(|key| object.contains_key(*key));
            // A link and a sum of money are the two objects that may stand there.
            !has(["url", "value"]) && !has(["amount", "currency"])
        }
        Value::Array(_) => true,
        _ => false,
    };
    if metadata.values().any(is_nested) {
        return Err(Refused::invalid("metadata must not be nested"));
    }
    let contact = state.named_contact(&call.body)?;
    state.take_event(&contact, name, at, metadata, call.now)?;
    Ok(Reply { status: 202, body: Vec::new() })
}

/// `GET /events`: a contact's events of the last 90 days, or their summary.
pub(super) fn list(state: &State, call: &Call<'_>) -> Result<Reply, Refused> {
    if query_value(call, "type").as_deref() != Some("user") {
        return Err(Refused::invalid("type must be user"));
    }
    let keys = ["intercom_user_id", "user_id", "email"];
    let named: Map<String, Value> = keys
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), Value::from(query_value(call, key)?))))
        .collect();
    let contact = state.named_contact(&Value::Object(named))?;
    if query_value(call, "summary").as_deref() == Some("true") {
        return ok(summary(state, &contact));
    }
    let per_page = per_page(query_value(call, "per_page").as_deref(), DEFAULT_PER_PAGE)?;
    let before = query_value(call, "before").and_then(|text| text.parse().ok());
    let before: i64 = before.unwrap_or(i64::MAX);
    let oldest = call.now.plus(-SHOWN_DAYS * 86_400).seconds().saturating_mul(1000);
    let mut found: Vec<&Event> = state
        .events
        .of(&contact)
        .iter()
        .filter(|event| event.at_ms < before && event.at_ms >= oldest)
        .take(per_page + 1)
        .collect();
    let has_more = found.len() > per_page;
    found.truncate(per_page);
    let mut pages = json!({});
    if let (true, Some(last), Some(pages)) = (has_more, found.last(), pages.as_object_mut()) {
        let query = Serializer::new(String::new())
            .append_pair("per_page", &per_page.to_string())
            .append_pair("before", &last.at_ms.to_string())
            .append_pair("intercom_user_id", &contact)
            .append_pair("type", "user")
            .finish();
        let next = format!("https://api.intercom.io/events?{query}");
        pages.insert("next".to_owned(), Value::from(next));
    }
    let events: Vec<Value> =
        found.into_iter().map(|event| state.show_event(&contact, event)).collect();
    ok(json!({"type": "event.list", "events": events, "pages": pages}))
}

/// How often each event happened; those older than 90 days count, too.
fn summary(state: &State, contact: &str) -> Value {
    let mut totals: BTreeMap<&str, Summary> = BTreeMap::new();
    let handed_in = state.events.summaries.get(contact).into_iter().flatten();
    for (name, summary) in handed_in {
        totals.insert(name, *summary);
    }
    for event in state.events.of(contact) {
        let at = event.at_ms.div_euclid(1000);
        let total = totals.entry(&event.name).or_insert(Summary { count: 0, first: at, last: at });
        total.count += 1;
        total.first = total.first.min(at);
        total.last = total.last.max(at);
    }
    let events = totals.into_iter().map(|(name, Summary { count, first, last })| {
        let time = |at: i64| iso(at.saturating_mul(1000));
        json!({
            "name": name, "count": count, "first": time(first), "last": time(last),
            "description": null,
        })
    });
    let held = state.contacts.get(contact);
    json!({
        "type": "event.summary",
        "email": held.and_then(Contact::email),
        "intercom_user_id": contact,
        "user_id": held.and_then(Contact::external_id),
        "events": events.collect::<Vec<Value>>(),
    })
}

/// `POST /events/summaries`.
pub(super) fn hand_in_summary(state: &mut State, call: &Call<'_>) -> Result<Reply, Refused> {
    let given = call.body.get("event_summaries").unwrap_or(&Value::Null);
    let name = given.get("event_name").and_then(Value::as_str);
    let name = name.ok_or_else(|| Refused::missing("event_name is required"))?.to_owned();
    let number = |key: &str| {
        let number = given.get(key).and_then(Value::as_i64);
        number.ok_or_else(|| Refused::missing(format!("{key} is required")))
    };
    let summary =
        Summary { count: number("count")?, first: number("first")?, last: number("last")? };
    let contact = state.named_contact(&call.body)?;
    state.events.summaries.entry(contact).or_default().insert(name, summary);
    Ok(Reply { status: 200, body: Vec::new() })
}
