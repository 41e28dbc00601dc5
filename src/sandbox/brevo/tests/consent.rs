//! What may not happen to an opt-out, and is written down.

use reqwest::Method;
use serde_json::{Value, json};

use super::Brevo;
use crate::sandbox::brevo::Quirks;

#[tokio::test]
async fn a_change_of_address_resubscribes_until_the_flag_is_set_again() {
    let brevo = Brevo::start().await;
    for name in ["a", "b"] {
        brevo.seed(json!({"email": format!("{name}@example.com"), "emailBlacklisted": true}));
    }
    let flag = |email: &str| brevo.sandbox.contact(email).unwrap()["emailBlacklisted"].clone();

    let change = json!({"attributes": {"EMAIL": "a2@example.com"}, "emailBlacklisted": true});
    assert_eq!(brevo.put("/contacts/1", change).await.0, 204);
    assert_eq!((flag("a2@example.com"), brevo.sandbox.violations().len()), (json!(false), 1));
    assert_eq!(brevo.put("/contacts/1", json!({"emailBlacklisted": true})).await.0, 204);
    assert_eq!((flag("a2@example.com"), brevo.sandbox.violations().len()), (json!(true), 0));

    let quirks = Quirks { email_change_keeps_flag: true, ..Quirks::default() };
    brevo.sandbox.set_quirks(quirks);
    let change = json!({"attributes": {"EMAIL": "a3@example.com"}, "emailBlacklisted": true});
    assert_eq!(brevo.put("/contacts/1", change).await.0, 204);
    assert_eq!((flag("a3@example.com"), brevo.sandbox.violations().len()), (json!(true), 0));

    let change = json!({"attributes": {"EMAIL": "b2@example.com"}});
    assert_eq!(brevo.put("/contacts/2", change).await.0, 204);
    assert_eq!((flag("b2@example.com"), brevo.sandbox.violations().len()), (json!(false), 1));
}

#[tokio::test]
async fn every_way_to_break_an_opt_out_is_written_down() {
    async fn case(method: Method, path: &str, body: Value, expected: &str) {
        let brevo = Brevo::start().await;
        let contact = json!({
            "email": "a@example.com", "emailBlacklisted": true, "listUnsubscribed": [36],
        });
        brevo.seed(contact);
        let (status, answer) = brevo.send(method, path, body).await;
        assert!((200..300).contains(&status), "{path}: {answer}");
        if let Some(process) = answer["processId"].as_i64() {
            brevo.ended(process).await;
        }
        let violations = brevo.sandbox.violations();
        assert!(violations.iter().any(|line| line.contains(expected)), "{path}: {violations:?}");
    }
    let unflag = json!({"emailBlacklisted": false});
    case(Method::PUT, "/contacts/1", unflag, "re-subscribed contact 1").await;
    let on_list = "put the blacklisted contact 1 on list 35";
    case(Method::PUT, "/contacts/1", json!({"listIds": [35]}), on_list).await;
    let members = json!({"ids": [1]});
    case(Method::POST, "/contacts/lists/35/contacts/add", members.clone(), on_list).await;
    let left = "back on list 36, which it left";
    case(Method::POST, "/contacts/lists/36/contacts/add", members, left).await;
    let import = json!({"jsonBody": [{"email": "a@example.com"}], "listIds": [35]});
    case(Method::POST, "/contacts/import", import, "imported the blacklisted contact 1").await;

    let brevo = Brevo::start().await;
    brevo.seed(json!({"email": "a@example.com", "emailBlacklisted": true}));
    assert_eq!(brevo.send(Method::DELETE, "/contacts/1", Value::Null).await.0, 204);
    assert_eq!(brevo.post("/contacts", json!({"email": "a@example.com"})).await.0, 201);
    assert_eq!(brevo.sandbox.violations().len(), 1);
}
