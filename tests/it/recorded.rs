//! The recorded notifications go through the intake, and each known contact topic has its effect.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::App;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/recorded")
}

fn recording(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name).with_extension("json")).unwrap()
}

async fn play(app: &App, name: &str) {
    app.deliver(&recording(name)).await;
    app.drained().await;
}

fn held(app: &App, email: &str) -> Value {
    app.sandbox.brevo.contact(email).unwrap_or_else(|| panic!("{email} is not in brevo"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recording_is_accepted_and_none_becomes_a_dead_letter() {
    let app = App::builder().start().await;
    let mut played = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            app.deliver(&std::fs::read(path).unwrap()).await;
            played += 1;
        }
    }
    app.drained().await;
    let status = app.status().await;
    assert_eq!(status.records.accepted, played);
    assert_eq!(status.dead_letters, 0, "{:#?}", app.engine().dead_letters(9).await);
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_known_contact_topic_has_its_effect() {
    let app = App::builder().start().await;

    play(&app, "contact_user_created").await;
    play(&app, "contact_lead_created").await;
    play(&app, "contact_user_updated").await;
    let updated = held(&app, "customer@example.com");
    assert_eq!(updated["attributes"]["FIRSTNAME"], "Dara");
    assert_eq!(updated["attributes"]["LASTNAME"], "Winslow");
    assert_eq!(updated["listIds"], json!([35]));

    play(&app, "contact_unsubscribed").await;
    let unsubscribed = held(&app, "zvnt@example.com");
    assert_eq!(unsubscribed["emailBlacklisted"], true);
    assert_eq!(unsubscribed["listIds"], json!([]));

    play(&app, "contacts_merged").await;
    assert_eq!(held(&app, "absorb_user_specimen@example.com")["attributes"]["FIRSTNAME"], "Absorb");
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_tags_reach_the_rules_by_name() {
    let rule = "fn map_tags(tags, contact, brevo) { brevo.TAGS = `${tags}`; }";
    let app = App::builder().with_script("tags.rhai", rule).start().await;
    play(&app, "contact_user_tag_created").await;
    let attributes = &held(&app, "absorb_user_specimen@example.com")["attributes"];
    assert!(attributes["TAGS"].as_str().unwrap().contains("Feature Request"), "{attributes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_archival_and_deletion_take_back_what_was_granted() {
    for (topic, gone) in [("contact_archived", false), ("contact_deleted", true)] {
        let app = App::builder().start().await;
        let notification: Value = serde_json::from_slice(&recording(topic)).unwrap();
        let item = &notification["data"]["item"];
        let mut before: Value = serde_json::from_slice(&recording("contact_user_updated")).unwrap();
        before["data"]["item"]["id"] = item["id"].clone();
        before["data"]["item"]["updated_at"] = json!("2026-01-10T04:00:00.000+00:00");
        app.deliver(before.to_string().as_bytes()).await;
        app.drained().await;
        assert_eq!(held(&app, "customer@example.com")["listIds"], json!([35]));
        play(&app, topic).await;
        let after = app.sandbox.brevo.contact("customer@example.com");
        assert_eq!(after.is_none(), gone, "{topic}");
        if let Some(after) = after {
            assert_eq!(after["listIds"], json!([]), "{topic}");
        }
    }
}

/// Every step of a conversation, and how many conversations its contact has.
const CONVERSATIONS: &str = r#"
fn map_contact(contact, brevo) {
    if contact.email == () { return brevo.skip("no e-mail address"); }
    brevo.email = contact.email;
    brevo.CLOSED = contact.conversations.closed;
    brevo.SNOOZED = contact.conversations.snoozed;
    brevo.TOTAL = contact.conversations.total;
}

fn map_conversation(conversation, brevo) {
    for step in conversation.transitions { brevo.track(step.kind, #{}, step.at); }
}

fn map_event(event, brevo) { brevo.track(event.event_name, event.metadata, event.created_at); }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn recorded_conversations_of_old_apps_count_and_tell_their_steps() {
    let app = App::builder().with_script("mapping.rhai", CONVERSATIONS).start().await;
    // The contact of the recordings, as the contact's own notification brings it.
    let mut contact: Value = serde_json::from_slice(&recording("contact_user_updated")).unwrap();
    contact["data"]["item"]["id"] = json!("5c9553cb871bc34fe83253a5");
    app.deliver(contact.to_string().as_bytes()).await;
    play(&app, "conversation_user_created").await;
    play(&app, "conversation_admin_closed").await;
    play(&app, "conversation_admin_snoozed").await;
    let attributes = &held(&app, "customer@example.com")["attributes"];
    let counts = ["CLOSED", "SNOOZED", "TOTAL"].map(|name| attributes[name].as_i64());
    assert_eq!(counts, [Some(1), Some(1), Some(3)], "{attributes}");
    let mut told: Vec<String> = app
        .sandbox
        .brevo
        .events()
        .iter()
        .map(|event| event["event_name"].as_str().unwrap().to_owned())
        .collect();
    told.sort();
    assert_eq!(told, ["closed", "created", "created", "created", "snoozed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_event_reaches_brevo_under_its_own_name_and_time() {
    let app = App::builder().with_script("mapping.rhai", CONVERSATIONS).start().await;
    let mut contact: Value = serde_json::from_slice(&recording("contact_user_updated")).unwrap();
    contact["data"]["item"]["id"] = json!("5c9aabdface0f602a1e2b076");
    app.deliver(contact.to_string().as_bytes()).await;
    play(&app, "event_created").await;
    let events = app.sandbox.brevo.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["event_name"], "invited-friend");
    assert_eq!(events[0]["event_date"], "2014-02-06T12:59:31.000Z");
}
