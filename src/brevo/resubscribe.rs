//! The end of an opt-out: what Brevo knows of one, and the only call that lifts it.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::call::CallKind;
use super::client::{BrevoClient, read};
use super::contacts::Identifier;
use super::error::BrevoError;
use super::wire::contact;
use crate::http::Lane;
use crate::model::{BrevoContact, Lifted, Timestamp};

/// What Brevo holds of a contact, and what it remembers of the mail that it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The contact.
    pub contact: BrevoContact,
    /// When it unsubscribed last, as far as Brevo tells.
    pub unsubscribed: Option<Timestamp>,
    /// Mail to it bounced for good.
    pub has_bounced: bool,
    /// It called mail spam.
    pub has_complained: bool,
}

/// "This person takes marketing again": serialises as `false`, and is made only beside a [`Lifted`].
#[derive(Debug)]
struct OptedIn;

impl Serialize for OptedIn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(false)
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LiftBody {
    email_blacklisted: OptedIn,
}

impl BrevoClient {
    /// One contact with what Brevo remembers of its mail, if Brevo has it.
    pub async fn standing(&self, lane: Lane, id: i64) -> Result<Option<Standing>, BrevoError> {
        let answer = match self.send(lane, self.on(CallKind::Contact, &Identifier::Id(id))?).await {
            Err(BrevoError::NotFound { .. }) => return Ok(None),
            answer => answer?,
        };
        let body: Value = read(CallKind::Contact, &answer)?;
        Ok(standing(&body))
    }

    /// Takes a contact off the blacklist for e-mail, and does nothing else. It is sent once: by the time
    /// of a second call the person may have opted out again.
    pub async fn lift(&self, lane: Lane, id: i64, _because: &Lifted) -> Result<(), BrevoError> {
        let body = LiftBody { email_blacklisted: OptedIn };
        let call = self.on(CallKind::Resubscribe, &Identifier::Id(id))?.json(&body)?;
        self.send(lane, call).await?;
        Ok(())
    }
}

fn standing(body: &Value) -> Option<Standing> {
    let statistics = body.get("statistics").unwrap_or(&Value::Null);
    let has = |field: &str| match statistics.get(field) {
        Some(Value::Array(several)) => !several.is_empty(),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        _ => false,
    };
    let unsubscriptions = statistics.get("unsubscriptions").and_then(Value::as_object);
    let each = unsubscriptions.into_iter().flat_map(|kinds| kinds.values());
    let each = each.filter_map(Value::as_array).flatten();
    let unsubscribed = each.filter_map(|one| Timestamp::parse(one.get("eventTime")?)).max();
    Some(Standing {
        contact: contact(body)?,
        unsubscribed,
        has_bounced: has("hardBounces"),
        has_complained: has("complaints"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_brevo_remembers_of_the_mail_is_read() {
        let quiet =
            json!({"id": 7, "email": "a@example.com", "emailBlacklisted": true, "statistics": {}});
        let found = standing(&quiet).unwrap();
        assert!(found.contact.email_blacklisted && !found.has_bounced && !found.has_complained);
        assert_eq!(found.unsubscribed, None);
        let loud = json!({"id": 7, "statistics": {
            "hardBounces": [{"campaignId": 1, "eventTime": "2026-11-01T10:00:00.000+01:00"}],
            "complaints": [],
            "unsubscriptions": {
                "userUnsubscription": [{"campaignId": 1, "eventTime": "2026-11-02T10:00:00.000+01:00"}],
                "adminUnsubscription": [{"eventTime": "2026-11-03T10:00:00.000+01:00"}],
            },
        }});
        let found = standing(&loud).unwrap();
        assert!(found.has_bounced && !found.has_complained);
        assert_eq!(found.unsubscribed, Timestamp::parse_text("2026-11-03T09:00:00Z"));
    }

    #[test]
    fn the_body_says_one_thing_only() {
        let body = LiftBody { email_blacklisted: OptedIn };
        assert_eq!(serde_json::to_value(&body).unwrap(), json!({"emailBlacklisted": false}));
    }
}
