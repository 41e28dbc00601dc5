//! What is said of a contact that Brevo does not have yet waits for the contact's own write.

use serde_json::{Value, json};
use tajo::model::{Clock, SystemClock, Timestamp};
use tajo::store::DeadLetterQuery;

use crate::support::{App, until};

/// An event by each kind of record.
const RULES: &str = r#"
fn map_contact(contact, brevo) {
    if contact.name == "Nobody" { return brevo.skip("not wanted"); }
    brevo.email = contact.email;
    brevo.track("known", #{});
}

fn map_event(event, brevo) { brevo.track(event.event_name, #{}, event.created_at); }

fn map_conversation(conversation, brevo) { brevo.track("asked", #{}, conversation.created_at); }
"#;

/// More often than one call is repeated.
const OFTEN: usize = 7;

async fn app() -> App {
    App::builder().with_script("mapping.rhai", RULES).start().await
}

fn now() -> Timestamp {
    SystemClock.now()
}

/// Somebody whom only an event and a conversation tell of, the latter last.
async fn tell(app: &App, name: &str) {
    let intercom = &app.sandbox.intercom;
    let contact = json!({"email": "ann@example.com", "name": name, "role": "user"});
    let id = intercom.create_contact(contact).unwrap().id;
    let ordered = intercom.submit_event(&id, "ordered", now(), &json!({})).unwrap();
    app.deliver(ordered.notifications[0].to_string().as_bytes()).await;
    let conversation = json!({
        "type": "conversation", "id": "215472621202693", "created_at": now().seconds(),
        "updated_at": now().seconds(), "state": "open", "open": true,
        "contacts": {"type": "contact.list", "contacts": [{"type": "contact", "id": id}]},
    });
    let notification = json!({
        "type": "notification_event", "app_id": "abc123", "topic": "conversation.user.created",
        "id": "notif_1", "created_at": now().seconds(),
        "data": {"type": "notification_event_data", "item": conversation},
    });
    app.deliver(notification.to_string().as_bytes()).await;
}

/// Names of the events that Brevo has, in alphabetical order.
fn told(app: &App) -> Vec<String> {
    let events = app.sandbox.brevo.events();
    let name = |event: &Value| event["event_name"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = events.iter().map(name).collect();
    names.sort();
    names
}

/// Everything arrived once, behind the contact.
fn assert_told(app: &App) {
    assert_eq!(told(app), ["asked", "known", "ordered"]);
    let log = app.sandbox.brevo.log();
    let sequence = |path: &str| {
        log.find(|call| call.method == "POST" && call.path == path && call.status < 300)[0].sequence
    };
    assert!(sequence("/v3/contacts") < sequence("/v3/events/batch"));
}

async fn make_contact_dead(app: &App) {
    app.sandbox.brevo.fail_next("POST /v3/contacts", 400, Value::Null, 1_000);
    tell(app, "Ann").await;
    app.drained().await;
    assert_eq!(app.status().await.dead_letters, 1);
    // They wait, and are neither lost nor dead letters themselves.
    until("both wait", async || (app.status().await.events.counts.due == 2).then_some(())).await;
    let counts = app.status().await.events.counts;
    assert_eq!((counts.sent, counts.known, counts.dead), (0, 0, 0));
    app.sandbox.brevo.forget_failures();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_a_contact_that_is_written_at_a_later_pass() {
    let app = app().await;
    app.sandbox.brevo.fail_next("POST /v3/contacts", 500, Value::Null, OFTEN);
    tell(&app, "Ann").await;
    app.drained().await;
    assert_told(&app);
    assert_eq!(app.status().await.events.counts.known, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_follow_the_retried_dead_letter_of_their_contact() {
    let mut app = app().await;
    make_contact_dead(&app).await;
    app.stop_engine().await;
    app.start_engine().await;
    app.drained().await;
    assert_eq!(told(&app), Vec::<String>::new());
    app.engine().retry_dead_letters(DeadLetterQuery::All).await.unwrap();
    app.drained().await;
    assert_told(&app);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_dropped_with_the_dead_letter_of_their_contact() {
    let app = app().await;
    make_contact_dead(&app).await;
    app.engine().drop_dead_letters(DeadLetterQuery::All).await.unwrap();
    app.drained().await;
    let counts = app.status().await.events.counts;
    assert_eq!((counts.sent, counts.due, counts.known, counts.dead), (0, 0, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_rules_leave_out_has_no_events_and_none_that_wait() {
    let app = app().await;
    tell(&app, "Nobody").await;
    app.drained().await;
    let counts = app.status().await.events.counts;
    assert_eq!((counts.sent, counts.due, counts.known), (0, 0, 2));
}
