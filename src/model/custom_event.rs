//! What tells custom events apart that come without an id.

use serde_json::{Map, Value, json};

use super::digest::Digest;

/// The id of a custom event that came without one: it follows from person, name and second, by which
/// Intercom itself tells events apart. The body is one in the normal form.
pub fn made_event_id(body: &Map<String, Value>) -> String {
    let of = |field: &str| body.get(field).filter(|value| !value.is_null());
    let person = of("intercom_user_id").or(of("user_id")).or(of("email"));
    let digest = Digest::of_json(&json!([person, of("event_name"), of("created_at")]));
    digest.to_string().chars().take(32).collect()
}
