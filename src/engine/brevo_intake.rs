//! From a webhook of Brevo's to a durable input: what it says enters journal, ledger and work in one
//! step. Whose write it echoes is known by the name of the key that made it.

use secrecy::SecretString;

use super::{EngineError, Inner};
use crate::brevo::{BrevoEvent, BrevoEventKind, UnusableWebhook, parse_webhook};
use crate::model::{Digest, Timestamp};
use crate::store::{BrevoAcceptance, BrevoArrival, BrevoEffect, Channel, OptOut, OptOutReason};

impl Inner {
    /// Makes the body of a webhook durable that carried the token. What is of no use becomes a dead
    /// letter: an error would make Brevo drop the webhook, and a retry cannot help.
    pub(crate) async fn accept_brevo(&self, body: &[u8]) -> Result<BrevoAcceptance, EngineError> {
        let received = self.clock.now();
        let own_key = self.config.load().brevo.api_key_name.clone();
        let events = match parse_webhook(body, received) {
            Ok(events) => events,
            Err(unusable) => vec![Err(unusable)],
        };
        let arrivals = events.into_iter().map(|event| match event {
            Ok(event) => arrival(event, &own_key, received),
            Err(unusable) => of_no_use(unusable, body, received),
        });
        let accepted = self.store.accept_brevo(arrivals.collect()).await;
        self.note_store(accepted.as_ref().err());
        let acceptance = accepted?;
        if acceptance.accepted > 0 {
            self.live_work.notify_one();
        }
        Ok(acceptance)
    }

    /// The token that Brevo's webhooks have to carry.
    pub(crate) fn brevo_webhook_token(&self) -> Option<SecretString> {
        self.config.load().brevo.webhook_token.clone()
    }
}

fn arrival(event: BrevoEvent, own_key: &str, received: Timestamp) -> BrevoArrival {
    let effect = match (&event.email, event.kind) {
        (None, _) | (_, BrevoEventKind::Other) => BrevoEffect::Nothing,
        _ if is_echo(&event, own_key) => BrevoEffect::Nothing,
        (Some(email), kind) => BrevoEffect::Read {
            email: email.clone(),
            opt_out: kind.is_opt_out().then(|| OptOut {
                email: Some(email.clone()),
                phone: None,
                channel: Channel::Email,
                reason: match kind {
                    BrevoEventKind::HardBounced => OptOutReason::Bounced,
                    BrevoEventKind::Spam => OptOutReason::Complained,
                    _ => OptOutReason::Asked,
                },
                at: event.at,
                source: "brevo",
                contact: None,
            }),
        },
    };
    let body = event.body.to_string().into_bytes();
    BrevoArrival { dedupe_key: event.dedupe_key, topic: event.name, body, received, effect }
}

/// True of what our own writes brought about. Nothing that a person said is ever taken for one.
fn is_echo(event: &BrevoEvent, own_key: &str) -> bool {
    !own_key.is_empty() && event.api_key_name == own_key && !event.kind.is_opt_out()
}

fn of_no_use(unusable: UnusableWebhook, body: &[u8], received: Timestamp) -> BrevoArrival {
    BrevoArrival {
        dedupe_key: format!("brevo:unusable:{}", Digest::of_bytes(body)),
        topic: "unusable".to_owned(),
        body: body.to_vec(),
        received,
        effect: BrevoEffect::Unusable { reason: unusable.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_279_400);

    fn effect(event: &Value) -> BrevoEffect {
        let read = parse_webhook(event.to_string().as_bytes(), NOW).unwrap().remove(0);
        arrival(read.unwrap(), "tajo", NOW).effect
    }

    #[test]
    fn an_echo_derives_nothing_and_an_opt_out_is_never_taken_for_one() {
        fn case(event: &str, key: &str, is_read: bool, is_out: bool) {
            let event =
                json!({"event": event, "email": "a@example.com", "ts": 5, "api_key_name": key});
            let (read, out) = match effect(&event) {
                BrevoEffect::Read { opt_out, .. } => (true, opt_out.is_some()),
                _ => (false, false),
            };
            assert_eq!((read, out), (is_read, is_out), "{event}");
        }
        case("contact_updated", "tajo", false, false);
        case("list_addition", "tajo", false, false);
        case("contact_updated", "", true, false);
        case("contact_updated", "crm", true, false);
        case("contact_deleted", "", true, false);
        case("unsubscribe", "", true, true);
        case("spam", "tajo", true, true);
        case("hard_bounce", "", true, true);
        case("soft_bounce", "", false, false);
        case("opened", "", false, false);
    }
}
