//! What makes an opt-out, wherever it is seen. The ledger itself is kept by the store; that nobody in
//! it is written to as if he were not stands in `model::difference` and in the types of
//! `brevo::ContactWrite`.

use serde_json::Value;

use crate::model::{RecordKind, Snapshot, email_of, phone_digits};
use crate::store::{Channel, OptOut, OptOutReason};

/// The opt-outs that a snapshot shows. A stale snapshot counts as much as the newest: what somebody
/// once asked for is never forgotten because a newer message overtook it.
pub(crate) fn opt_outs_of(snapshot: &Snapshot) -> Vec<OptOut> {
    if snapshot.key.kind != RecordKind::Contact {
        return Vec::new();
    }
    let (email_out, sms_out) = opted_out(&snapshot.body);
    if !email_out && !sms_out {
        return Vec::new();
    }
    let email = email_of(&snapshot.body);
    let phone = snapshot.body.get("phone").and_then(Value::as_str).and_then(phone_digits);
    let reason = reason(&snapshot.body);
    let opt_out = |channel| OptOut {
        email: email.clone(),
        phone: phone.clone().filter(|_| channel == Channel::Sms),
        channel,
        reason: if channel == Channel::Email { reason } else { OptOutReason::Asked },
        at: snapshot.version.at,
        source: "intercom",
        contact: Some(snapshot.key.id.clone()),
    };
    let email_out = email_out.then(|| opt_out(Channel::Email));
    email_out.into_iter().chain(sms_out.then(|| opt_out(Channel::Sms))).collect()
}

/// Whether a contact says that it takes no e-mail, and no SMS.
pub(crate) fn opted_out(body: &Value) -> (bool, bool) {
    let says = |field: &str| body.get(field).and_then(Value::as_bool) == Some(true);
    let email = says("unsubscribed_from_emails")
        || says("marked_email_as_spam")
        || says("has_hard_bounced");
    (email, says("unsubscribed_from_sms"))
}

/// Why a contact takes no e-mail, by what speaks the most against it.
fn reason(body: &Value) -> OptOutReason {
    let says = |field: &str| body.get(field).and_then(Value::as_bool) == Some(true);
    if says("marked_email_as_spam") {
        OptOutReason::Complained
    } else if says("has_hard_bounced") {
        OptOutReason::Bounced
    } else {
        OptOutReason::Asked
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Liveness, RecordKey, Source, Timestamp};

    #[test]
    fn every_sign_of_an_opt_out_is_one_and_absence_is_none() {
        fn case(body: Value, channels: &[Channel]) {
            let key = RecordKey::contact("c1".parse().unwrap());
            let now = Timestamp::from_seconds(100);
            let snapshot = Snapshot::new(key, Liveness::Live, body, Source::Notification, now, now);
            let found: Vec<_> = opt_outs_of(&snapshot).into_iter().map(|out| out.channel).collect();
            assert_eq!(found, channels, "{:?}", snapshot.body);
        }
        case(
            json!({"email": "a@example.com", "unsubscribed_from_emails": true}),
            &[Channel::Email],
        );
        case(json!({"email": "a@example.com", "has_hard_bounced": true}), &[Channel::Email]);
        case(json!({"email": "a@example.com", "marked_email_as_spam": true}), &[Channel::Email]);
        case(json!({"email": "a@example.com", "unsubscribed_from_sms": true}), &[Channel::Sms]);
        case(json!({"email": "a@example.com", "unsubscribed_from_emails": false}), &[]);
        case(json!({"email": "a@example.com"}), &[]);
        case(json!({"unsubscribed_from_emails": true}), &[Channel::Email]);
    }
}
