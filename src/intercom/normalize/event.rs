//! One shape for custom events, notified or listed.

use serde_json::{Map, Value, json};

use super::{change, text_of, time};
use crate::model::made_event_id;

/// Fields of an event, unset as `null`.
const FIELDS: [&str; 6] =
    ["id", "event_name", "created_at", "intercom_user_id", "user_id", "email"];

/// The normalised body of a custom event: `{id, event_name, created_at, intercom_user_id, user_id,
/// email, metadata}`. One that came without an id has one that follows from person, name and second,
/// by which Intercom itself tells events apart.
pub fn event(item: &Value) -> Value {
    let mut body = match item {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    // Only notifications carry the first, and the second is the same as `type` and `links` elsewhere.
    body.retain(|field, value| {
        !matches!(field.as_str(), "ext_metadata" | "type" | "links") && !value.is_null()
    });
    for field in ["id", "intercom_user_id", "user_id"] {
        change(&mut body, field, text_of);
    }
    change(&mut body, "created_at", |value| time(value, true));
    for field in FIELDS {
        change(&mut body, field, |value| if value == "" { Value::Null } else { value });
        body.entry(field).or_insert(Value::Null);
    }
    let has_metadata = body.get("metadata").is_some_and(Value::is_object);
    if !has_metadata {
        body.insert("metadata".to_owned(), json!({}));
    }
    if body.get("id").is_none_or(Value::is_null) {
        body.insert("id".to_owned(), Value::String(made_event_id(&body)));
    }
    Value::Object(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notified_and_listed_events_are_equal() {
        let notified = json!({
            "type": "event", "event_name": "invited-friend", "id": "29c6", "intercom_user_id": "5c9a",
            "user_id": "38", "email": "ann@example.com", "metadata": {}, "created_at": 1_391_691_571,
            "ext_metadata": {},
        });
        let listed = json!({
            "type": "event", "event_name": "invited-friend", "id": "29c6", "intercom_user_id": "5c9a",
            "user_id": 38, "email": "ann@example.com", "created_at": "2014-02-06T12:59:31.000Z",
            "metadata": null,
        });
        assert_eq!(event(&notified), event(&listed));
        assert_eq!(event(&notified)["created_at"], 1_391_691_571);
    }

    #[test]
    fn an_event_without_an_id_has_one_by_person_name_and_second() {
        let made = |name: &str, at: i64, plan: &str| {
            let item = json!({"event_name": name, "created_at": at, "intercom_user_id": "5c9a",
                "metadata": {"plan": plan}});
            event(&item)["id"].clone()
        };
        assert_eq!(made("ordered", 7, "a"), made("ordered", 7, "b"));
        assert_ne!(made("ordered", 7, "a"), made("ordered", 8, "a"));
        assert_ne!(made("ordered", 7, "a"), made("paid", 7, "a"));
    }

    #[test]
    fn unknown_fields_stay_and_any_json_has_a_form() {
        let body = event(&json!({"event_name": "x", "id": "1", "region": "eu", "email": ""}));
        assert_eq!((&body["region"], &body["email"]), (&json!("eu"), &Value::Null));
        assert!(event(&json!([1]))["id"].is_string());
    }
}
