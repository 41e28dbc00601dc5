//! What Brevo's webhooks say: one event, or a batch of them. The sender was let in by its token; that
//! a webhook tells the truth is only known once the contact was read.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use crate::model::{Digest, Email, Timestamp};

/// How far ahead of its receipt an event may claim to be.
const AHEAD_SECONDS: i64 = 300;

/// True of the token that a webhook has to carry, found in constant time. An empty one is none.
pub fn is_webhook_token(given: &[u8], expected: &SecretString) -> bool {
    let expected = expected.expose_secret().as_bytes();
    !expected.is_empty() && bool::from(given.ct_eq(expected))
}

/// What happened to a contact in Brevo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrevoEventKind {
    /// Attributes, flags or lists changed.
    ContactUpdated,
    /// It is gone.
    ContactDeleted,
    /// It was put on lists.
    ListAddition,
    /// The person takes no more marketing e-mail.
    Unsubscribed,
    /// The address does not exist.
    HardBounced,
    /// The person calls the sender's mail spam.
    Spam,
    /// Deliveries, opens, clicks and whatever else there is.
    Other,
}

impl BrevoEventKind {
    /// Subscriptions, payloads and documentation spell one event in three ways (facts: Brevo section
    /// 8).
    pub fn parse(name: &str) -> Self {
        let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        match letters.to_lowercase().as_str() {
            "contactupdated" | "contactupdate" => Self::ContactUpdated,
            "contactdeleted" | "contactdelete" => Self::ContactDeleted,
            "listaddition" => Self::ListAddition,
            "unsubscribed" | "unsubscribe" => Self::Unsubscribed,
            "hardbounce" | "hardbounced" | "hardbounces" => Self::HardBounced,
            "spam" | "complaint" => Self::Spam,
            _ => Self::Other,
        }
    }

    /// True if the person is not to be mailed to from now on.
    pub fn is_opt_out(self) -> bool {
        matches!(self, Self::Unsubscribed | Self::HardBounced | Self::Spam)
    }
}

/// One event of a webhook. `Debug` shows nothing personal.
#[derive(Clone, PartialEq)]
pub struct BrevoEvent {
    /// Equal for every delivery of one event: Brevo gives it no id.
    pub dedupe_key: String,
    /// What happened.
    pub kind: BrevoEventKind,
    /// Its name, as it was spelt.
    pub name: String,
    /// Whom it is about.
    pub email: Option<Email>,
    /// When it happened.
    pub at: Timestamp,
    /// The name of the key that made the change; empty: somebody in Brevo's pages did, or it is not
    /// told.
    pub api_key_name: String,
    /// All of it.
    pub body: Value,
}

impl std::fmt::Debug for BrevoEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, at, .. } = self;
        f.debug_struct("BrevoEvent").field("kind", kind).field("at", at).finish_non_exhaustive()
    }
}

/// Why a webhook is of no use; without anything personal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the webhook of brevo cannot be used: {0}")]
pub struct UnusableWebhook(pub String);

/// Reads the body of a webhook: one event, or an array of them. Each is judged by itself.
///
/// # Errors
/// A body that is neither an object nor an array.
pub fn parse_webhook(
    body: &[u8],
    received: Timestamp,
) -> Result<Vec<Result<BrevoEvent, UnusableWebhook>>, UnusableWebhook> {
    match serde_json::from_slice(body) {
        Ok(Value::Array(items)) => {
            Ok(items.into_iter().map(|item| event(item, received)).collect())
        }
        Ok(item @ Value::Object(_)) => Ok(vec![event(item, received)]),
        Ok(_) => Err(UnusableWebhook("it is neither an event nor a list of events".to_owned())),
        Err(_) => Err(UnusableWebhook("it is not JSON".to_owned())),
    }
}

fn event(body: Value, received: Timestamp) -> Result<BrevoEvent, UnusableWebhook> {
    let Value::Object(fields) = &body else {
        return Err(UnusableWebhook("one of its events is no object".to_owned()));
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = text("event");
    if name.is_empty() {
        return Err(UnusableWebhook(
            "it does not say what happened: `event` is missing".to_owned(),
        ));
    }
    let kind = BrevoEventKind::parse(name);
    let email: Option<Email> = text("email").parse().ok();
    if email.is_none() && kind != BrevoEventKind::Other {
        let reason = "it does not say to whom it happened: `email` is missing, or is none";
        return Err(UnusableWebhook(reason.to_owned()));
    }
    let time = |name: &str| fields.get(name).and_then(Timestamp::parse);
    let at = time("ts_event").or_else(|| time("ts")).unwrap_or(received);
    Ok(BrevoEvent {
        dedupe_key: dedupe_key(fields),
        kind,
        name: name.to_owned(),
        email,
        at: at.min(received.plus(AHEAD_SECONDS)),
        api_key_name: text("api_key_name").to_owned(),
        body,
    })
}

/// The digest of everything that the event says; its webhook's number aside, since two webhooks that
/// lead here tell of one event twice.
fn dedupe_key(fields: &Map<String, Value>) -> String {
    let said: Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| name.as_str() != "id")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    format!("brevo:{}", Digest::of_json(&Value::Object(said)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_279_400);

    fn one(body: &Value) -> Result<BrevoEvent, UnusableWebhook> {
        parse_webhook(body.to_string().as_bytes(), NOW).unwrap().remove(0)
    }

    #[test]
    fn every_spelling_of_an_event_is_understood() {
        use BrevoEventKind::{
            ContactDeleted, ContactUpdated, HardBounced, ListAddition, Other, Spam, Unsubscribed,
        };
        fn case(names: &[&str], expected: BrevoEventKind) {
            for name in names {
                assert_eq!(BrevoEventKind::parse(name), expected, "{name}");
            }
        }
        case(&["contact_updated", "contactUpdated"], ContactUpdated);
        case(&["contact_deleted", "contactDeleted"], ContactDeleted);
        case(&["list_addition", "listAddition"], ListAddition);
        case(&["unsubscribe", "unsubscribed"], Unsubscribed);
        case(&["hard_bounce", "hard_bounced", "hardBounce"], HardBounced);
        case(&["spam", "complaint"], Spam);
        case(&["opened", "click", "delivered", "soft_bounce", "softBounce", "new"], Other);
    }

    #[test]
    fn the_recorded_payloads_are_read() {
        let text = include_str!("../../tests/samples/brevo/webhooks.json");
        let samples: Value = serde_json::from_str(text).unwrap();
        let batch = samples["payloads"].to_string();
        let read = parse_webhook(batch.as_bytes(), NOW).unwrap();
        let kinds: Vec<_> = read.iter().map(|event| event.as_ref().unwrap().kind).collect();
        use BrevoEventKind::{
            ContactDeleted, ContactUpdated, HardBounced, ListAddition, Spam, Unsubscribed,
        };
        assert_eq!(
            kinds,
            [ContactUpdated, ListAddition, ContactDeleted, Unsubscribed, HardBounced, Spam]
        );
        let unsubscribed = read[3].as_ref().unwrap();
        assert_eq!(unsubscribed.at, Timestamp::from_seconds(1_795_279_320));
        assert_eq!(read[1].as_ref().unwrap().api_key_name, "intercom-sync");
    }

    #[test]
    fn the_same_event_has_one_key_whichever_webhook_tells_of_it() {
        let spam = |id: i64, ts: i64| {
            one(&json!({"id": id, "event": "spam", "email": "a@example.com", "ts": ts})).unwrap()
        };
        assert_eq!(spam(1, 5).dedupe_key, spam(2, 5).dedupe_key);
        assert_ne!(spam(1, 5).dedupe_key, spam(1, 6).dedupe_key);
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        fn case(body: &Value, expected: &str) {
            assert_eq!(one(body).unwrap_err().0, expected);
        }
        case(
            &json!({"email": "a@example.com"}),
            "it does not say what happened: `event` is missing",
        );
        case(
            &json!({"event": "spam", "email": "nobody"}),
            "it does not say to whom it happened: `email` is missing, or is none",
        );
        case(&json!([7]), "one of its events is no object");
        let whole = |body: &str| parse_webhook(body.as_bytes(), NOW).unwrap_err().0;
        assert_eq!(whole("{"), "it is not JSON");
        assert_eq!(whole("7"), "it is neither an event nor a list of events");
    }

    #[test]
    fn an_event_from_the_future_happened_now() {
        let event = json!({"event": "spam", "email": "a@example.com", "ts": 9_999_999_999_i64});
        assert_eq!(one(&event).unwrap().at, NOW.plus(AHEAD_SECONDS));
    }

    #[test]
    fn a_token_is_right_only_as_a_whole() {
        let expected = SecretString::from("secret");
        assert!(is_webhook_token(b"secret", &expected));
        for wrong in ["", "secre", "secrets", "Secret"] {
            assert!(!is_webhook_token(wrong.as_bytes(), &expected), "{wrong}");
        }
        assert!(!is_webhook_token(b"", &SecretString::from("")));
    }
}
