//! Custom events: sent by the batch, and looked up where it is not known what became of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::call::CallKind;
use super::client::{BrevoClient, read};
use super::contacts::with_milliseconds;
use super::error::{BrevoError, mask};
use crate::http::Lane;
use crate::model::{Email, Fields, Timestamp};

/// The most events that one call takes.
pub const MAX_EVENTS: usize = 200;
/// The most bytes that one call takes, which are 512 KB; some are left for the frame.
const MAX_BYTES: usize = 500_000;
/// The most events that a page of a look-up holds.
const LOOKED_UP: usize = 10_000;
/// Up to how many names a look-up is narrowed by; more would make the address too long.
const MAX_NAMES: usize = 10;
/// How many pages of a look-up are read.
const LOOK_UP_PAGES: usize = 5;
/// How far a look-up reaches beyond the dates that it is about: `startDate` and `endDate` are days of
/// the account's own time zone.
const LOOK_UP_MARGIN_SECONDS: i64 = 2 * 86_400;
/// Where receivers find the name of an event's key.
const EVENT_ID: &str = "event_id";
/// The same, where a rule has a property of that name.
const OTHER_EVENT_ID: &str = "tajo_event_id";

/// An event on its way to Brevo.
#[derive(Debug, Clone, PartialEq)]
pub struct EventWrite {
    /// The name of its key, which goes along as the property `event_id`: Brevo has no such thing of
    /// its own, and with it a receiver can tell that an event came twice.
    pub id: String,
    /// What happened: 1 to 255 of `A-Z a-z 0-9 _ -`.
    pub name: String,
    /// When it happened.
    pub date: Timestamp,
    /// Brevo's number of the contact that it is about.
    pub contact: i64,
    /// The address of that contact, which Brevo looks at only where there is no number.
    pub email: Option<Email>,
    /// What the rule said of it.
    pub properties: Fields,
}

/// What Brevo did with events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventsAnswer {
    /// It took all of them.
    Accepted,
    /// It took all but these, given by their place in the call, with what it says of each.
    Refused(BTreeMap<usize, String>),
    /// It refused some and does not say which.
    Unclear,
}

#[derive(Serialize)]
struct Body<'a> {
    events: Vec<EventBody<'a>>,
}

#[derive(Serialize)]
struct EventBody<'a> {
    event_name: &'a str,
    event_date: String,
    identifiers: Identifiers<'a>,
    event_properties: Fields,
}

#[derive(Serialize)]
struct Identifiers<'a> {
    contact_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_id: Option<&'a Email>,
}

impl<'a> From<&'a EventWrite> for EventBody<'a> {
    fn from(event: &'a EventWrite) -> Self {
        let mut properties = event.properties.clone();
        let is_taken = properties.contains_key(EVENT_ID);
        let name = if is_taken { OTHER_EVENT_ID } else { EVENT_ID };
        properties.insert(name.to_owned(), Value::from(event.id.as_str()));
        Self {
            event_name: &event.name,
            event_date: with_milliseconds(event.date),
            identifiers: Identifiers { contact_id: event.contact, email_id: event.email.as_ref() },
            event_properties: properties,
        }
    }
}

impl EventWrite {
    /// How many of these, from the first on, one call takes; at least one.
    pub fn fitting(events: &[Self]) -> usize {
        let size = |event| serde_json::to_vec(&EventBody::from(event)).map_or(0, |json| json.len());
        let mut bytes = 0;
        let fitting = events.iter().take(MAX_EVENTS).take_while(|event| {
            bytes += size(*event) + 1;
            bytes <= MAX_BYTES
        });
        fitting.count().max(1)
    }
}

impl BrevoClient {
    /// Sends events, at most as many as [`EventWrite::fitting`] says. Not repeated where Brevo may
    /// have taken them: it would take them twice.
    pub async fn send_events(
        &self,
        lane: Lane,
        events: &[EventWrite],
    ) -> Result<EventsAnswer, BrevoError> {
        let body = Body { events: events.iter().map(EventBody::from).collect() };
        let call = self.call(CallKind::SendEvents, "/events/batch")?.json(&body)?;
        let answer = self.send(lane, call).await?;
        match answer.status.as_u16() {
            207 | 400 => Ok(answer_of(&answer.body, events.len())),
            _ => Ok(EventsAnswer::Accepted),
        }
    }

    /// Which of these events Brevo has. It takes events into a queue and lists them later, so one that
    /// is not found may still be on its way.
    pub async fn find_events(
        &self,
        lane: Lane,
        events: &[EventWrite],
    ) -> Result<BTreeSet<String>, BrevoError> {
        let mut found = BTreeSet::new();
        let dates = || events.iter().map(|event| event.date);
        let (Some(first), Some(last)) = (dates().min(), dates().max()) else {
            return Ok(found);
        };
        let contacts: BTreeSet<i64> = events.iter().map(|event| event.contact).collect();
        let names: BTreeSet<&str> = events.iter().map(|event| event.name.as_str()).collect();
        for page in 0..LOOK_UP_PAGES {
            let mut call = self
                .call(CallKind::FindEvents, "/events")?
                .query("startDate", day(first.plus(-LOOK_UP_MARGIN_SECONDS)))
                .query("endDate", day(last.plus(LOOK_UP_MARGIN_SECONDS)))
                .query("limit", LOOKED_UP)
                .query("offset", page * LOOKED_UP);
            for contact in &contacts {
                call = call.query("contact_id", contact);
            }
            for name in names.iter().filter(|_| names.len() <= MAX_NAMES) {
                call = call.query("event_name", name);
            }
            let answer: Value = read(CallKind::FindEvents, &self.send(lane, call).await?)?;
            let listed = answer.get("events").and_then(Value::as_array);
            let listed = listed.map(Vec::as_slice).unwrap_or_default();
            found.extend(listed.iter().flat_map(ids_in));
            if listed.len() < LOOKED_UP {
                break;
            }
        }
        Ok(found)
    }
}

fn day(time: Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}

fn ids_in(event: &Value) -> impl Iterator<Item = String> + '_ {
    let properties = event.get("event_properties");
    [EVENT_ID, OTHER_EVENT_ID]
        .into_iter()
        .filter_map(move |name| properties?.get(name)?.as_str().map(str::to_owned))
}

/// True of a refusal that says which events it is about.
pub(super) fn names_events(body: &[u8]) -> bool {
    errors(body).is_some_and(|errors| !errors.is_empty())
}

/// `errors[]` of an answer: places of events, and what is said of them.
fn errors(body: &[u8]) -> Option<Vec<(Vec<usize>, String)>> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let place = |value: &Value| value.as_u64().and_then(|index| usize::try_from(index).ok());
    let errors = body.get("errors")?.as_array()?.iter().filter_map(|error| {
        let indexes = error.get("eventIndex")?;
        // Documented as a list; a bare number says the same.
        let indexes = match indexes.as_array() {
            Some(indexes) => indexes.iter().filter_map(place).collect(),
            None => vec![place(indexes)?],
        };
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
        Some((indexes, mask(message)))
    });
    Some(errors.collect())
}

/// Reads a refusal of some or all of `total` events.
fn answer_of(body: &[u8], total: usize) -> EventsAnswer {
    let failed = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|body| body.get("failed_events")?.as_u64());
    let mut refused = BTreeMap::new();
    for (indexes, message) in errors(body).unwrap_or_default() {
        refused.extend(indexes.into_iter().map(|index| (index, message.clone())));
    }
    let is_whole = failed.is_none_or(|failed| failed == refused.len() as u64);
    let is_sound = !refused.is_empty() && refused.keys().all(|index| *index < total);
    if is_whole && is_sound { EventsAnswer::Refused(refused) } else { EventsAnswer::Unclear }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(properties: Value) -> EventWrite {
        EventWrite {
            id: "0f".to_owned(),
            name: "signed_up".to_owned(),
            date: Timestamp::from_seconds(1_768_019_995),
            contact: 7,
            email: Some("ann@example.com".parse().unwrap()),
            properties: properties.as_object().cloned().unwrap(),
        }
    }

    #[test]
    fn an_event_tells_its_date_its_contact_and_its_id() {
        fn case(properties: Value, expected: Value) {
            let body = json!(EventBody::from(&event(properties)));
            assert_eq!(body["event_properties"], expected);
            assert_eq!(body["event_date"], "2026-01-10T04:39:55.000Z");
            assert_eq!(
                body["identifiers"],
                json!({"contact_id": 7, "email_id": "ann@example.com"})
            );
        }
        case(json!({"plan": "pro"}), json!({"plan": "pro", "event_id": "0f"}));
        case(json!({"event_id": 5}), json!({"event_id": 5, "tajo_event_id": "0f"}));
    }

    #[test]
    fn a_call_takes_two_hundred_events_and_half_a_megabyte() {
        assert_eq!(EventWrite::fitting(&vec![event(json!({})); 500]), MAX_EVENTS);
        let large = event(json!({"text": "x".repeat(49_000)}));
        let fitting = EventWrite::fitting(&vec![large.clone(); 50]);
        assert_eq!(fitting, 10);
        let sent = vec![large; fitting];
        let body = json!(Body { events: sent.iter().map(EventBody::from).collect() });
        assert!(body.to_string().len() < 512 * 1_000);
        let huge = event(json!({"text": "x".repeat(900_000)}));
        assert_eq!(EventWrite::fitting(&[huge.clone(), huge]), 1);
    }

    #[test]
    fn a_refusal_says_which_events_it_is_about_or_is_unclear() {
        fn case(body: &Value, expected: EventsAnswer) {
            assert_eq!(answer_of(body.to_string().as_bytes(), 3), expected, "{body}");
        }
        let refused = |indexes: &[usize]| {
            EventsAnswer::Refused(indexes.iter().map(|index| (*index, "bad".to_owned())).collect())
        };
        let errors = |index: Value| json!([{"eventIndex": index, "message": "bad"}]);
        case(&json!({"failed_events": 2, "errors": errors(json!([0, 2]))}), refused(&[0, 2]));
        case(&json!({"errors": errors(json!(1))}), refused(&[1]));
        case(&json!({"failed_events": 2, "errors": errors(json!([1]))}), EventsAnswer::Unclear);
        case(&json!({"failed_events": 1, "errors": errors(json!([3]))}), EventsAnswer::Unclear);
        case(&json!({"failed_events": 1, "errors": []}), EventsAnswer::Unclear);
        case(&json!("no"), EventsAnswer::Unclear);
        assert!(names_events(json!({"errors": errors(json!([0]))}).to_string().as_bytes()));
        assert!(!names_events(br#"{"code":"invalid_parameter","message":"no"}"#));
    }
}
