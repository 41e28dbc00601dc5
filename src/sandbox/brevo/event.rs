//! `POST /events` and `/events/batch`, `GET /events` (facts: Brevo section 6).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::contact::Identifier;
use super::reply::{Refusal, Reply};
use super::request::Request;
use super::state::{Account, BadEvent};
use super::value::{Origin, phone};
use super::write::{Actor, Prepared};

const MAX_BATCH: usize = 200;
const MAX_BATCH_BYTES: usize = 512 * 1024;
const MAX_PROPERTIES_BYTES: usize = 50 * 1024;
const MAX_LISTED: usize = 10_000;
const DAY: i64 = 86_400;
const SIX_MONTHS: i64 = 183 * DAY;

impl Account {
    /// `POST /events`.
    pub(super) fn post_event(&mut self, request: &Request) -> Result<Reply, Refusal> {
        let event: Value = request.json()?;
        check(&event).map_err(Refusal::invalid)?;
        self.keep_event(event, &request.label());
        Ok(Reply::no_content())
    }

    /// `POST /events/batch`: those that are good are kept, whatever the others are.
    pub(super) fn post_events(&mut self, request: &Request) -> Result<Reply, Refusal> {
        if request.body.len() > MAX_BATCH_BYTES {
            return Err(Refusal::out_of_range("The body should be at most 512 KB"));
        }
        let mut body: Value = request.json()?;
        let Some(Value::Array(events)) = body.get_mut("events").map(Value::take) else {
            return Err(Refusal::missing("events is missing"));
        };
        if !(1..=MAX_BATCH).contains(&events.len()) {
            return Err(Refusal::out_of_range("events should have 1 to 200 items"));
        }
        if self.quirks.bad_event != BadEvent::IsNamed
            && events.iter().any(|event| check(event).is_err())
        {
            let status = if self.quirks.bad_event == BadEvent::BreaksTheCall { 500 } else { 400 };
            return Err(Refusal::new(status, "bad_request", "Something went wrong"));
        }
        let (total, label) = (events.len(), request.label());
        let mut failures: BTreeMap<&'static str, Vec<usize>> = BTreeMap::new();
        for (index, event) in events.into_iter().enumerate() {
            match check(&event) {
                Ok(()) => self.keep_event(event, &label),
                Err(message) => failures.entry(message).or_default().push(index),
            }
        }
        Ok(batch_reply(total, &failures))
    }

    /// `GET /events`: newest first, of the last six months unless dates are given. A date without a
    /// time ends with its day.
    pub(super) fn list_events(&self, request: &Request) -> Result<Reply, Refusal> {
        let (contacts, names) = (request.numbers("contact_id")?, request.texts("event_name"));
        let time = |name: &str, whole_day: i64| match request.parameter(name) {
            None => Ok(None),
            Some(text) => crate::model::Timestamp::parse_text(&text)
                .map(|time| Some(time.seconds() + if text.len() > 10 { 0 } else { whole_day }))
                .ok_or_else(|| Refusal::invalid(format!("{name} is not a date"))),
        };
        let now = self.now();
        let from = time("startDate", 0)?.unwrap_or(now - SIX_MONTHS);
        let to = time("endDate", DAY)?.unwrap_or(now + DAY);
        let is_wanted = |event: &&Value| {
            let date = event.get("event_date").and_then(crate::model::Timestamp::parse);
            let name = event.get("event_name").and_then(Value::as_str).unwrap_or_default();
            let contact = self.contact_of(event);
            (contacts.is_empty() || contact.is_some_and(|id| contacts.contains(&id)))
                && (names.is_empty() || names.iter().any(|wanted| wanted == name))
                && date.is_none_or(|date| (from..to).contains(&date.seconds()))
        };
        let listed = self.listed_events.unwrap_or(usize::MAX);
        let wanted: Vec<&Value> = self.events.iter().take(listed).filter(is_wanted).collect();
        let count = wanted.len();
        let page = request.page(100, MAX_LISTED)?.of(wanted.into_iter());
        let events: Vec<Value> = page.into_iter().map(|event| self.listed(event)).collect();
        Ok(Reply::ok(&json!({"events": events, "count": count})))
    }

    fn listed(&self, event: &Value) -> Value {
        let field = |name: &str| event.get(name).cloned().unwrap_or_default();
        json!({
            "contact_id": self.contact_of(event), "event_date": field("event_date"),
            "event_name": field("event_name"), "event_properties": field("event_properties"),
            "contact_properties": field("contact_properties"),
        })
    }

    /// An event may carry attributes of its contact; it touches neither lists nor identifiers, and
    /// it creates nobody.
    fn keep_event(&mut self, event: Value, label: &str) {
        let properties = event.get("contact_properties").and_then(Value::as_object);
        if let (Some(properties), Some(id)) = (properties, self.contact_of(&event)) {
            let mut prepared = Prepared::default();
            for (name, value) in properties {
                self.take(&name.to_uppercase(), value, Origin::Api, &mut prepared);
            }
            prepared.identifiers.clear();
            self.commit(id, prepared, Actor::Request(label));
        }
        self.events.push(event);
    }

    fn contact_of(&self, event: &Value) -> Option<i64> {
        let named = event.get("identifiers")?;
        if let Some(id) = named.get("contact_id").and_then(Value::as_i64) {
            return self.get(id).map(|contact| contact.id);
        }
        let text = |name: &str| named.get(name).and_then(Value::as_str);
        let digits = |name: &str| named.get(name).and_then(phone);
        let by_email = || self.find(Identifier::Email, &text("email_id")?.to_lowercase());
        let by_ext_id = || self.find(Identifier::ExtId, text("ext_id")?);
        let by_phone = || self.find(Identifier::Sms, &digits("phone_id")?);
        let by_whatsapp = || self.find(Identifier::Whatsapp, &digits("whatsapp_id")?);
        let by_landline = || self.find(Identifier::Landline, &digits("landline_number_id")?);
        by_email().or_else(by_ext_id).or_else(by_phone).or_else(by_whatsapp).or_else(by_landline)
    }
}

fn check(event: &Value) -> Result<(), &'static str> {
    let name = event.get("event_name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err("event_name is missing");
    }
    if !is_name(name) {
        return Err("event_name contains invalid characters");
    }
    let identifiers = event.get("identifiers").and_then(Value::as_object);
    if identifiers.is_none_or(serde_json::Map::is_empty) {
        return Err("identifiers is required");
    }
    if let Some(date) = event.get("event_date")
        && crate::model::Timestamp::parse(date).is_none()
    {
        return Err("event_date is invalid");
    }
    let Some(properties) = event.get("event_properties") else {
        return Ok(());
    };
    let Some(fields) = properties.as_object() else {
        return Err("event_properties is invalid");
    };
    if !fields.keys().all(|key| is_name(key)) {
        return Err("event_properties contains invalid keys");
    }
    if properties.to_string().len() > MAX_PROPERTIES_BYTES {
        return Err("event_properties exceeds 50 KB");
    }
    Ok(())
}

/// At most 255 of `[A-Za-z0-9_-]`.
fn is_name(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=255).contains(&text.len()) && text.chars().all(is_allowed)
}

fn batch_reply(total: usize, failures: &BTreeMap<&'static str, Vec<usize>>) -> Reply {
    let failed: usize = failures.values().map(Vec::len).sum();
    if failed == 0 {
        let message = "Batch accepted. Valid events have been added to the processing queue.";
        return Reply::json(202, &json!({"message": message, "count": total}));
    }
    let (status, word) = if failed == total { (400, "failed") } else { (207, "partial_success") };
    let error = |(message, indexes)| json!({"eventIndex": indexes, "message": message});
    let errors: Vec<Value> = failures.iter().map(error).collect();
    let body = json!({
        "status": word, "total_events": total, "successful_events": total - failed,
        "failed_events": failed, "errors": errors,
    });
    Reply::json(status, &body)
}
