//! Notifications: the envelope and its signature.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::model::Timestamp;

/// A notification as Intercom sends it the first time: `item` in a fresh envelope (facts: Intercom
/// section 8). The id is a new one on every call.
pub fn notification(app_id: &str, topic: &str, item: Value, created_at: Timestamp) -> Value {
    json!({
        "type": "notification_event",
        "app_id": app_id,
        "data": {"type": "notification_event_data", "item": item},
        "links": {},
        "id": format!("notif_{}", uuid::Uuid::new_v4()),
        "topic": topic,
        "delivery_status": "pending",
        "delivery_attempts": 1,
        "delivered_at": 0,
        "first_sent_at": created_at.seconds(),
        "created_at": created_at.seconds(),
        "self": null,
    })
}

/// The `ping` that Intercom sends to test a webhook: without an id.
pub fn ping(app_id: &str, created_at: Timestamp) -> Value {
    let item = json!({"type": "ping", "message": "something something interzen"});
    let mut ping = notification(app_id, "ping", item, created_at);
    if let Some(envelope) = ping.as_object_mut() {
        envelope.insert("id".to_owned(), Value::Null);
        envelope.insert("delivery_status".to_owned(), Value::Null);
    }
    ping
}

/// The value of `X-Hub-Signature` for these bytes: `sha1=` and 40 hexadecimal digits.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else {
        // HMAC takes keys of any length; a receiver would refuse this one.
        return String::new();
    };
    mac.update(body);
    format!("sha1={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_vector_says() {
        let body = br#"{"type":"notification_event","app_id":"abc123def","topic":"ping"}"#;
        let expected = "sha1=8bf7d728ab3a2d3f90ca4c4e7a94d13b35bf4941";
        assert_eq!(sign("test_client_secret", body), expected);
    }

    #[test]
    fn an_envelope_has_the_keys_of_the_recordings() {
        let recorded = include_str!("../../../tests/samples/recorded/contact_archived.json");
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        let ours = notification("a", "contact.archived", json!({}), Timestamp::EPOCH);
        for key in recorded.as_object().unwrap().keys() {
            assert!(ours.get(key).is_some(), "{key}");
        }
        assert!(ping("a", Timestamp::EPOCH)["id"].is_null());
    }
}
