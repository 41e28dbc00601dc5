//! What a request wants to set on a contact, checked.

use std::sync::Arc;

use serde_json::{Value, json};

use super::attribute::AttributeTable;
use super::contact::{Contact, Kind, LOCATION, field};
use super::refused::Refused;

/// Keys that `POST /contacts` and `PUT /contacts/{id}` accept (facts: Intercom section 3.2).
const WRITABLE: [&str; 10] = [
    "role",
    "external_id",
    "email",
    "phone",
    "name",
    "avatar",
    "signed_up_at",
    "last_seen_at",
    "owner_id",
    "unsubscribed_from_emails",
];

/// No time of ours is this large in seconds; in milliseconds all are.
const LATEST_SECONDS: i64 = 99_999_999_999;

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A client of the API, with its restrictions.
    Api,
    /// Intercom itself: the Messenger, an admin, a bounce. Any key, any custom attribute.
    Inside,
}

/// A checked change of a contact.
#[derive(Debug, Default)]
pub(super) struct ContactWrite {
    pub(super) fields: Vec<(&'static str, Value)>,
    pub(super) location: Vec<(&'static str, Value)>,
    pub(super) custom_attributes: Vec<(Arc<str>, Value)>,
    pub(super) created_at: Option<i64>,
    pub(super) updated_at: Option<i64>,
}

impl ContactWrite {
    /// Reads a body. What is written from inside makes the custom attributes it names.
    pub(super) fn parse(
        body: &Value,
        way: Way,
        attributes: &mut AttributeTable,
    ) -> Result<Self, Refused> {
        let object = body.as_object().ok_or_else(|| Refused::invalid("body is not an object"))?;
        let mut write = Self::default();
        for (key, value) in object {
            if key == "custom_attributes" {
                write.custom_attributes = custom_attributes(value, way, attributes)?;
                continue;
            }
            let is_writable = way == Way::Inside || WRITABLE.contains(&key.as_str());
            match field(key).filter(|_| is_writable) {
                Some((_, Kind::CreatedAt)) => write.created_at = Some(time(key, value)?),
                Some((_, Kind::UpdatedAt)) => write.updated_at = Some(time(key, value)?),
                Some((_, Kind::Location)) => write.location = location(value)?,
                Some((name, kind)) => write.fields.push((name, checked(name, kind, value)?)),
                None => {
                    let message = format!("bad '{key}' parameter");
                    return Err(Refused::new(400, "bad_request", message));
                }
            }
        }
        Ok(write)
    }

    /// Makes the change, except for `updated_at`.
    pub(super) fn apply(self, contact: &mut Contact) {
        for (key, value) in self.fields {
            contact.fields.set(key, value);
        }
        for (key, value) in self.location {
            contact.location.set(key, value);
        }
        for (name, value) in self.custom_attributes {
            contact.custom_attributes.set(name, value);
        }
        if let Some(seconds) = self.created_at {
            contact.created_ms = seconds.saturating_mul(1000);
        }
    }
}

fn custom_attributes(
    value: &Value,
    way: Way,
    attributes: &mut AttributeTable,
) -> Result<Vec<(Arc<str>, Value)>, Refused> {
    let Some(object) = value.as_object() else {
        return Err(Refused::invalid("custom_attributes must be an object"));
    };
    let named = object.iter().map(|(name, value)| {
        let name = match way {
            Way::Api => attributes.check(name, value)?,
            Way::Inside => attributes.learn(name, value),
        };
        Ok((name, value.clone()))
    });
    named.collect()
}

fn location(value: &Value) -> Result<Vec<(&'static str, Value)>, Refused> {
    let Some(object) = value.as_object() else {
        return Err(Refused::invalid("location must be an object"));
    };
    let part = |key| object.get(key).map(|value| (key, value.clone()));
    Ok(LOCATION.into_iter().filter_map(part).collect())
}

fn checked(name: &'static str, kind: Kind, value: &Value) -> Result<Value, Refused> {
    let wrong = |wanted: &str| Err(Refused::invalid(format!("{name} must be {wanted}")));
    if name == "role" && !matches!(value.as_str(), Some("user" | "lead")) {
        return wrong("user or lead");
    }
    match kind {
        _ if value.is_null() => Ok(Value::Null),
        Kind::Text if value.is_string() => Ok(value.clone()),
        Kind::Text => wrong("a string"),
        Kind::Whole if value.is_i64() => Ok(value.clone()),
        Kind::Whole => wrong("an integer"),
        // What is not set is shown as false.
        Kind::Flag if *value == Value::Bool(false) => Ok(Value::Null),
        Kind::Flag if value.is_boolean() => Ok(value.clone()),
        Kind::Flag => wrong("a boolean"),
        Kind::Time => time(name, value).map(Value::from),
        Kind::Avatar if value.is_string() => Ok(json!({"type": "avatar", "image_url": value})),
        Kind::Avatar => wrong("a URL"),
        _ => wrong("left out"),
    }
}

fn time(name: &str, value: &Value) -> Result<i64, Refused> {
    let seconds = value.as_i64().filter(|seconds| (0..=LATEST_SECONDS).contains(seconds));
    seconds.ok_or_else(|| {
        let got = match value {
            Value::String(_) => "String",
            Value::Number(_) => "a number out of range",
            _ => "another type",
        };
        let wanted = "must be a Unix timestamp in seconds (integer)";
        Refused::invalid(format!("'{name}' {wanted}, got {got}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: Value, way: Way) -> String {
        match ContactWrite::parse(&body, way, &mut AttributeTable::default()) {
            Ok(_) => "accepted".to_owned(),
            Err(refused) => refused.message,
        }
    }

    #[test]
    fn refuses_in_the_words_of_intercom() {
        let api = |body| message(body, Way::Api);
        assert_eq!(api(json!({"email": "a@example.com"})), "accepted");
        assert_eq!(api(json!({"test": 1})), "bad 'test' parameter");
        let unknown = "Custom attribute 'plan' does not exist";
        assert_eq!(api(json!({"custom_attributes": {"plan": "pro"}})), unknown);
        let text = "'last_seen_at' must be a Unix timestamp in seconds (integer), got String";
        assert_eq!(api(json!({"last_seen_at": "2026-01-10"})), text);
        assert_ne!(api(json!({"last_seen_at": 1_768_019_995_465_i64})), "accepted");
        assert_ne!(api(json!({"has_hard_bounced": true})), "accepted");
        assert_eq!(message(json!({"has_hard_bounced": true}), Way::Inside), "accepted");
    }
}
