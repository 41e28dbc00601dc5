//! A notification as it may stand in a log: its shape, and nothing of anybody.
//!
//! What is shown is what is known to be harmless, by its key: ids of Intercom's own, kinds, states,
//! times, counts, flags. All else is masked, whatever it is called, for a custom attribute, a field
//! of a later version or a text in an odd place may hold anything.

use serde_json::{Map, Value};

/// What stands for a value that may be somebody's.
const MASK: &str = "***";
/// Longest text of a value that is shown.
const MAX_TEXT: usize = 64;
/// Longest text of a whole notification; what is more is cut.
const MAX_BODY: usize = 32 * 1024;

/// Keys whose values are words of Intercom's, and the ids that it gives.
const WORDS: [&str; 54] = [
    "type",
    "topic",
    "id",
    "app_id",
    "workspace_id",
    "id_code",
    "intercom_user_id",
    "conversation_id",
    "admin_assignee_id",
    "team_assignee_id",
    "owner_id",
    "plan_id",
    "tag_id",
    "contact_id",
    "assigned_to_id",
    "first_contact_reply_id",
    "role",
    "state",
    "status",
    "delivery_status",
    "part_type",
    "delivered_as",
    "priority",
    "resolution_state",
    "last_answer_type",
    "source_type",
    "content_type",
    "consent_type",
    "default_translation_locale",
    "language",
    "browser_language",
    "language_override",
    "browser",
    "os",
    "os_version",
    "browser_version",
    "continent_code",
    "attribution_type",
    "delivery_attempts",
    "total_count",
    "session_count",
    "count_reopens",
    "count_assignments",
    "count_conversation_parts",
    "time_to_assignment",
    "time_to_admin_reply",
    "time_to_first_close",
    "time_to_last_close",
    "median_time_to_reply",
    "per_page",
    "page",
    "total_pages",
    "rating",
    "waiting_since",
];
/// Keys below which the keys are somebody's own, so that none is known.
const OPEN: [&str; 5] =
    ["custom_attributes", "metadata", "ext_metadata", "custom_fields", "contact_attributes"];

/// What may be logged of a body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redacted {
    /// The topic, if it is one.
    pub topic: Option<String>,
    /// The notification's id.
    pub id: Option<String>,
    /// The workspace.
    pub app_id: Option<String>,
    /// The body in one line, masked.
    pub body: String,
}

impl Redacted {
    /// Masks a body; of one that is no JSON nothing is shown.
    pub fn of(body: &[u8]) -> Self {
        let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
            return Self { body: "not JSON".to_owned(), ..Self::default() };
        };
        mask(&mut value, Known::Keys);
        let text = |key: &str| {
            let text = value.get(key).and_then(Value::as_str);
            text.filter(|text| *text != MASK).map(str::to_owned)
        };
        let (topic, id, app_id) = (text("topic"), text("id"), text("app_id"));
        let mut body = value.to_string();
        if body.len() > MAX_BODY {
            let end = (0..=MAX_BODY).rev().find(|end| body.is_char_boundary(*end)).unwrap_or(0);
            body.truncate(end);
            body.push('…');
        }
        Self { topic, id, app_id, body }
    }
}

/// Whether keys say what a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Keys,
    Nothing,
}

fn mask(value: &mut Value, known: Known) {
    match value {
        Value::Object(map) => mask_map(map, known),
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::Object(_) | Value::Array(_) => mask(item, known),
                    _ => mask_scalar(item),
                }
            }
        }
        scalar => mask_scalar(scalar),
    }
}

fn mask_map(map: &mut Map<String, Value>, known: Known) {
    for (key, value) in map {
        match value {
            Value::Object(_) | Value::Array(_) => {
                let is_open = known == Known::Nothing || OPEN.contains(&key.as_str());
                mask(value, if is_open { Known::Nothing } else { Known::Keys });
            }
            Value::Null | Value::Bool(_) => {}
            _ if known == Known::Keys && is_harmless(key, value) => {}
            _ => mask_scalar(value),
        }
    }
}

/// True for a value that says nothing of anybody: a time, or a word under a key that is known.
fn is_harmless(key: &str, value: &Value) -> bool {
    if key.ends_with("_at") {
        return crate::model::Timestamp::parse(value).is_some();
    }
    if !WORDS.contains(&key) {
        return false;
    }
    match value {
        Value::Number(_) => true,
        Value::String(text) => {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-: ".contains(c);
            text.len() <= MAX_TEXT && text.chars().all(is_plain)
        }
        _ => false,
    }
}

fn mask_scalar(value: &mut Value) {
    if !value.is_null() && !value.is_boolean() {
        *value = Value::from(MASK);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn what_somebody_is_called_or_wrote_is_masked_and_what_happened_is_shown() {
        let body = json!({
            "type": "notification_event", "app_id": "abc123", "id": "notif_1",
            "topic": "contact.user.updated", "created_at": 1_768_018_948,
            "data": {"item": {
                "type": "contact", "id": "665f", "role": "user", "external_id": "ann-17",
                "email": "ann@example.com", "phone": "+66 81 234 5678", "name": "Ann Lee",
                "updated_at": "2026-01-10T04:39:55.000Z", "unsubscribed_from_emails": true,
                "custom_attributes": {"id": "P-1", "salary": 12000, "vip": true, "nested": {"id": 5}},
                "location": {"city": "Chiang Mai", "country": "Thailand"},
                "tags": {"data": [{"id": "7", "name": "secret"}], "total_count": 1},
                "conversation_parts": {"parts": [{"body": "<p>my password</p>"}]},
                "aliases": ["Annie", 5],
            }},
        });
        let found = Redacted::of(body.to_string().as_bytes());
        assert_eq!(found.topic.as_deref(), Some("contact.user.updated"));
        assert_eq!(found.id.as_deref(), Some("notif_1"));
        assert_eq!(found.app_id.as_deref(), Some("abc123"));
        let expected = json!({
            "type": "notification_event", "app_id": "abc123", "id": "notif_1",
            "topic": "contact.user.updated", "created_at": 1_768_018_948,
            "data": {"item": {
                "type": "contact", "id": "665f", "role": "user", "external_id": "***",
                "email": "***", "phone": "***", "name": "***",
                "updated_at": "2026-01-10T04:39:55.000Z", "unsubscribed_from_emails": true,
                "custom_attributes": {"id": "***", "salary": "***", "vip": true, "nested": {"id": "***"}},
                "location": {"city": "***", "country": "***"},
                "tags": {"data": [{"id": "7", "name": "***"}], "total_count": 1},
                "conversation_parts": {"parts": [{"body": "***"}]},
                "aliases": ["***", "***"],
            }},
        });
        assert_eq!(serde_json::from_str::<Value>(&found.body).unwrap(), expected);
    }

    #[test]
    fn an_id_or_a_time_that_is_something_else_is_masked() {
        let body = json!({"id": "ann@example.com", "role": "x".repeat(65), "seen_at": "at Ann's"});
        let found = Redacted::of(body.to_string().as_bytes());
        assert_eq!(found.body, r#"{"id":"***","role":"***","seen_at":"***"}"#);
        assert_eq!(found.id, None);
        assert_eq!(Redacted::of(b"ann@example.com").body, "not JSON");
    }

    #[test]
    fn of_the_recordings_no_address_and_no_name_is_shown() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/recorded");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let body = std::fs::read(&path).unwrap();
            let whole: Value = serde_json::from_slice(&body).unwrap();
            let shown = Redacted::of(&body).body;
            assert!(!shown.contains('@'), "{}: {shown}", path.display());
            for text in personal(&whole) {
                assert!(!shown.contains(&format!("\"{text}\"")), "{}: {text}", path.display());
            }
            seen += 1;
        }
        assert!(seen > 10);
    }

    /// Values under keys that always hold something of somebody.
    fn personal(value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let keys =
                        ["email", "name", "phone", "body", "subject", "city", "formatted_phone"];
                    match value {
                        Value::String(text) if keys.contains(&key.as_str()) && text.len() > 2 => {
                            found.push(text.clone());
                        }
                        _ => found.extend(personal(value)),
                    }
                }
            }
            Value::Array(items) => found.extend(items.iter().flat_map(personal)),
            _ => {}
        }
        found
    }
}
