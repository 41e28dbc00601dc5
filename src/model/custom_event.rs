//! What tells custom events apart that come without an id, and whom they name.

use serde_json::{Map, Value, json};

use super::digest::Digest;
use super::{Email, RecordId};

/// Whom a custom event names that does not bear Intercom's id of its contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPerson {
    /// The id that its sender gave him, which is his contact's `external_id`.
    pub external_id: Option<String>,
    /// His address.
    pub email: Option<Email>,
}

impl EventPerson {
    /// Whom a body in the normal form names; none: it bears Intercom's id, or names nobody.
    pub fn of(body: &Value) -> Option<Self> {
        let text = |field: &str| body.get(field).and_then(Value::as_str);
        if text("intercom_user_id").is_some_and(|id| id.parse::<RecordId>().is_ok()) {
            return None;
        }
        let external_id = text("user_id").filter(|id| !id.is_empty()).map(str::to_owned);
        let email = text("email").and_then(|email| email.parse().ok());
        let is_named = external_id.is_some() || email.is_some();
        is_named.then_some(Self { external_id, email })
    }
}

/// The id of a custom event that came without one: it follows from person, name and second, by which
/// Intercom itself tells events apart. The body is one in the normal form.
pub fn made_event_id(body: &Map<String, Value>) -> String {
    let of = |field: &str| body.get(field).filter(|value| !value.is_null());
    let person = of("intercom_user_id").or(of("user_id")).or(of("email"));
    let digest = Digest::of_json(&json!([person, of("event_name"), of("created_at")]));
    digest.to_string().chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_intercom_does_not_name_is_named_by_what_the_sender_knows() {
        fn case(
            id: &str,
            user_id: Option<&str>,
            email: Option<&str>,
            expected: Option<(Option<&str>, Option<&str>)>,
        ) {
            let id = (!id.is_empty()).then_some(id);
            let body = json!({"intercom_user_id": id, "user_id": user_id, "email": email});
            let person = EventPerson::of(&body);
            let found = person.as_ref().map(|person| {
                (person.external_id.as_deref(), person.email.as_ref().map(Email::as_str))
            });
            assert_eq!(found, expected, "{body}");
        }
        case("5c9a", Some("38"), Some("ann@example.com"), None);
        case("", Some("38"), None, Some((Some("38"), None)));
        case("", None, Some("Ann@Example.com"), Some((None, Some("ann@example.com"))));
        case("", Some("38"), Some("no address"), Some((Some("38"), None)));
        case("", Some(""), Some("no address"), None);
        case("", None, None, None);
    }
}
