//! Requests as they may be shown: without addresses and phone numbers.

use serde_json::Value;

use super::error::mask;
use super::wire::ContactWrite;
use crate::model::{Change, Identity};

/// The longest text that is shown, in characters.
const LONGEST: usize = 4_000;
/// Attributes that hold the numbers of phones.
const PHONES: [&str; 3] = ["SMS", "WHATSAPP", "LANDLINE_NUMBER"];

/// The call that writes a change by itself, such as `PUT /contacts/7 {"attributes":{"PLAN":"pro"}}`.
pub fn shown_request(change: &Change) -> String {
    let write = ContactWrite::from(change);
    let (route, body) = match change.identity {
        Identity::New => ("POST /contacts".to_owned(), serde_json::to_value(write.creating())),
        Identity::Known(id) => {
            (format!("PUT /contacts/{id}"), serde_json::to_value(write.updating()))
        }
    };
    shown_body(&route, body.unwrap_or_default())
}

/// A call with its body, with addresses and numbers masked.
pub(super) fn shown_body(route: &str, mut body: Value) -> String {
    hide(&mut body);
    let text = format!("{route} {body}");
    text.chars().take(LONGEST).collect()
}

fn hide(value: &mut Value) {
    match value {
        Value::String(text) => *text = mask(text),
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(fields) => {
            for (name, value) in fields {
                if PHONES.contains(&name.as_str()) && value.as_str() != Some("") {
                    *value = Value::from("***");
                } else {
                    hide(value);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_shown_without_addresses_and_numbers() {
        let change: Change = serde_json::from_value(json!({
            "identity": {"known": 7}, "email": "ann@example.com", "ext_id": null,
            "set": {"SMS": "+66812345678", "PLAN": "pro", "NOTE": "mail bo@example.com"},
            "clear": ["OLD"], "add": [35], "remove": [36],
            "email_opt_out": false, "sms_opt_out": false, "is_blacklisted": false,
        }))
        .unwrap();
        let expected = r#"PUT /contacts/7 {"attributes":{"EMAIL":"***","NOTE":"mail ***","OLD":"","PLAN":"pro","SMS":"***"},"listIds":[35],"unlinkListIds":[36]}"#;
        assert_eq!(shown_request(&change), expected);
        let new = Change { identity: Identity::New, ..change };
        let text = shown_request(&new);
        assert!(text.starts_with(r#"POST /contacts {"attributes":{"NOTE":"mail ***""#), "{text}");
        assert!(!text.contains("ann@"), "{text}");
    }
}
