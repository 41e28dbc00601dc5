//! An opt-out from SMS follows the number, the address and the contact, whichever of them stays.

use serde_json::{Value, json};

use crate::support::{App, until};

/// Everybody is written, with and without an address; whoever is tagged so takes no SMS.
const RULES: &str = r#"
fn map_contact(contact, brevo) {
    brevo.ext_id = contact.id;
    if contact.email != () { brevo.email = contact.email; }
    brevo.SMS = phone(contact.phone, "TH");
    if contact.custom_attributes.no_sms == true { brevo.unsubscribe("sms"); }
}
"#;

const PHONE: &str = "+66812345678";

async fn app() -> App {
    App::builder().with_script("mapping.rhai", RULES).start().await
}

/// The contact of Brevo's with a number, if there is one.
fn with_number(app: &App, phone: &str) -> Option<Value> {
    let digits = phone.trim_start_matches('+');
    let mut all = app.sandbox.brevo.contacts().into_iter();
    all.find(|contact| contact["attributes"]["SMS"] == digits)
}

/// What Brevo would do with an SMS to a number.
#[track_caller]
fn takes_sms(app: &App, phone: &str) -> bool {
    let held = with_number(app, phone).unwrap_or_else(|| panic!("nobody has {phone}"));
    held["smsBlacklisted"] == false
}

async fn change(app: &App, id: &str, patch: Value) {
    app.fire(app.sandbox.intercom.update_contact(id, patch).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_number_and_no_address_opts_out_though_every_rule_fails() {
    let app = app().await;
    let id = app.create(json!({"phone": PHONE, "role": "lead"})).await;
    assert!(takes_sms(&app, PHONE));
    let breaks = "fn map_contact(contact, brevo) { throw \"broken\"; }";
    std::fs::write(app.script("mapping.rhai"), breaks).unwrap();
    let _ = std::fs::remove_dir_all(app.script("tests"));
    let version = app.status().await.rules.version;
    until("the failing rules are live", async || {
        (app.status().await.rules.version != version).then_some(())
    })
    .await;
    change(&app, &id, json!({"unsubscribed_from_sms": true})).await;
    assert!(!takes_sms(&app, PHONE));
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opted_out_and_comes_back_as_another_contact_with_the_number_is_made_with_the_flag() {
    let app = app().await;
    let id = app.create(json!({"phone": PHONE, "role": "user", "external_id": "1"})).await;
    change(&app, &id, json!({"unsubscribed_from_sms": true})).await;
    app.fire(app.sandbox.intercom.delete(&id).unwrap()).await;
    assert_eq!(with_number(&app, PHONE), None);
    // As people write it at home.
    app.create(json!({"phone": "081-234-5678", "role": "user", "external_id": "2"})).await;
    assert!(!takes_sms(&app, PHONE));
    app.create(json!({"phone": "+66812345679", "role": "user", "external_id": "3"})).await;
    assert!(takes_sms(&app, "+66812345679"), "another number is another person's");
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_stays_when_the_address_changes_even_if_brevo_has_lost_the_contact() {
    let app = app().await;
    let ann = json!({"email": "ann@example.com", "phone": PHONE, "role": "user"});
    let id = app.create(ann).await;
    change(&app, &id, json!({"unsubscribed_from_sms": true})).await;
    // What Intercom says later lifts nothing.
    change(&app, &id, json!({"unsubscribed_from_sms": false, "email": "moss@example.com"})).await;
    assert!(!takes_sms(&app, PHONE));
    app.sandbox.brevo.delete_contact("moss@example.com");
    change(&app, &id, json!({"email": "ann.moss@example.com", "phone": "+66812345679"})).await;
    let made = app.sandbox.brevo.contact("ann.moss@example.com").unwrap();
    assert_eq!(made["smsBlacklisted"], true, "another address, another number, the same person");
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_seen_in_brevo_follows_the_number_to_whoever_has_it() {
    let app = app().await;
    let id = app.create(json!({"email": "ann@example.com", "phone": PHONE, "role": "user"})).await;
    let patch = json!({"smsBlacklisted": true});
    app.sandbox.brevo.update_contact("ann@example.com", &patch).unwrap();
    // The sync reads Brevo back.
    app.sync().await;
    app.fire(app.sandbox.intercom.delete(&id).unwrap()).await;
    assert_eq!(with_number(&app, PHONE), None);
    let bob = app.create(json!({"email": "bob@example.com", "role": "user"})).await;
    let held = app.sandbox.brevo.contact("bob@example.com").unwrap();
    assert_eq!(held["smsBlacklisted"], false);
    change(&app, &bob, json!({"phone": PHONE})).await;
    assert!(!takes_sms(&app, PHONE));
    assert_eq!(with_number(&app, PHONE).unwrap()["emailBlacklisted"], false, "by SMS only");
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_says_of_somebody_without_an_address_is_kept_by_the_number() {
    let app = app().await;
    let id = app
        .create(json!({"phone": PHONE, "role": "user", "external_id": "1",
            "custom_attributes": {"no_sms": true}}))
        .await;
    assert!(!takes_sms(&app, PHONE));
    app.fire(app.sandbox.intercom.delete(&id).unwrap()).await;
    app.create(json!({"phone": PHONE, "role": "user", "external_id": "2"})).await;
    assert!(!takes_sms(&app, PHONE));
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_contact_with_the_number_takes_no_sms_either() {
    let app = app().await;
    let body = json!({"email": "shop@example.com", "attributes": {"SMS": PHONE}});
    app.sandbox.brevo.put_contact(&body).unwrap();
    app.sync().await;
    let id = app.create(json!({"phone": PHONE, "role": "user", "external_id": "1"})).await;
    change(&app, &id, json!({"unsubscribed_from_sms": true})).await;
    let held = app.sandbox.brevo.contact("shop@example.com").unwrap();
    assert_eq!((&held["smsBlacklisted"], &held["emailBlacklisted"]), (&json!(true), &json!(false)));
    app.assert_consent_kept();
}
