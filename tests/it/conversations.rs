//! Conversations: every topic has its effect, in any order, and each thing that happened is told once.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{App, until};

/// What a contact shows of its conversations becomes attributes, and every step becomes an event.
const RULES: &str = r#"
fn map_contact(contact, brevo) {
    if contact.email == () { return brevo.skip("no e-mail address"); }
    brevo.email = contact.email;
    let all = contact.conversations;
    brevo.OPEN = all.open;
    brevo.SNOOZED = all.snoozed;
    brevo.CLOSED = all.closed;
    brevo.TOTAL = all.total;
    brevo.LAST_RATING = all.last_rating;
    brevo.TOPICS = `${all.tags}`;
}

fn map_conversation(conversation, brevo) {
    if conversation.contact == () { return brevo.skip("nobody takes part"); }
    for step in conversation.transitions {
        brevo.track(step.kind, #{ rating: step.rating, by: step.by, email: conversation.contact.email }, step.at);
    }
}
"#;

const BEGAN: i64 = 1_768_000_000;

pub(crate) async fn app(rules: &str) -> (App, String) {
    let app = App::builder().with_script("mapping.rhai", rules).start().await;
    let ann = json!({"email": "ann@example.com", "name": "Ann", "role": "user"});
    let id = app.sandbox.intercom.create_contact(ann).unwrap().id;
    (app, id)
}

/// A conversation at a second after its beginning.
fn conversation(contact: &str, state: &str, at: i64) -> Value {
    json!({
        "type": "conversation", "id": "215472621202693", "created_at": BEGAN,
        "updated_at": BEGAN + at, "waiting_since": null, "snoozed_until": null,
        "source": {"type": "conversation", "id": "1", "delivered_as": "customer_initiated"},
        "contacts": {"type": "contact.list", "contacts": [{"type": "contact", "id": contact}]},
        "open": state != "closed", "state": state, "read": true,
        "tags": {"type": "tag.list", "tags": []}, "statistics": null, "conversation_rating": null,
        "conversation_parts": {"type": "conversation_part.list", "conversation_parts": [], "total_count": 0},
    })
}

fn with_part(mut item: Value, kind: &str, at: i64) -> Value {
    item["conversation_parts"]["conversation_parts"] = json!([{
        "type": "conversation_part", "id": format!("{}", 9_000 + at), "part_type": kind,
        "created_at": BEGAN + at, "body": null, "author": {"type": "admin", "id": "5"},
    }]);
    item
}

fn notification(topic: &str, at: i64, item: &Value) -> Vec<u8> {
    json!({
        "type": "notification_event", "app_id": "abc123", "topic": topic,
        "id": format!("notif_{topic}_{at}"), "created_at": BEGAN + at,
        "data": {"type": "notification_event_data", "item": item},
    })
    .to_string()
    .into_bytes()
}

fn attributes(app: &App) -> Value {
    app.sandbox.brevo.contact("ann@example.com").map_or(Value::Null, |c| c["attributes"].clone())
}

/// Names of the events that Brevo has, in alphabetical order.
fn told(app: &App) -> Vec<String> {
    let events = app.sandbox.brevo.events();
    let mut names: Vec<String> =
        events.iter().map(|event| event["event_name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// The life of a conversation, as notifications tell it.
pub(crate) fn life(contact: &str) -> Vec<Vec<u8>> {
    let mut rated = conversation(contact, "closed", 50);
    rated["conversation_rating"] = json!({"rating": 4, "remark": "fine", "created_at": BEGAN + 41,
        "contact": {"type": "contact", "id": contact}, "teammate": {"type": "admin", "id": "5"}});
    rated["tags"]["tags"] = json!([{"type": "tag", "id": "7", "name": "billing"}]);
    rated["statistics"] = json!({"type": "conversation_statistics",
        "last_close_at": "2026-01-09T23:07:20.000Z", "first_close_at": "2026-01-09T23:07:20.000Z"});
    vec![
        notification("conversation.user.created", 0, &conversation(contact, "open", 0)),
        notification(
            "conversation.admin.replied",
            10,
            &with_part(conversation(contact, "open", 10), "comment", 10),
        ),
        notification(
            "conversation.admin.snoozed",
            20,
            &with_part(conversation(contact, "snoozed", 20), "snoozed", 20),
        ),
        notification(
            "conversation.admin.unsnoozed",
            30,
            &with_part(conversation(contact, "open", 30), "unsnoozed", 30),
        ),
        notification(
            "conversation.admin.closed",
            40,
            &with_part(conversation(contact, "closed", 40), "close", 40),
        ),
        notification("conversation.rating.added", 50, &rated),
    ]
}

const TOLD: [&str; 6] = ["closed", "created", "rated", "replied", "snoozed", "unsnoozed"];

#[tokio::test(flavor = "multi_thread")]
async fn each_topic_has_its_effect_on_the_contact() {
    let (app, id) = app(RULES).await;
    let counts = |app: &App| {
        let held = attributes(app);
        ["OPEN", "SNOOZED", "CLOSED", "TOTAL"].map(|name| held[name].as_i64().unwrap_or(-1))
    };
    let expected =
        [[1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [1, 0, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1]];
    for (notification, expected) in life(&id).iter().zip(expected) {
        app.deliver(notification).await;
        app.drained().await;
        assert_eq!(counts(&app), expected);
    }
    assert_eq!(attributes(&app)["LAST_RATING"], 4);
    assert!(attributes(&app)["TOPICS"].as_str().unwrap().contains("billing"));
    assert_eq!(told(&app), TOLD);
    let status = app.status().await;
    assert_eq!((status.records.accepted, status.dead_letters), (6, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_conversation_counts_no_longer() {
    let (app, id) = app(RULES).await;
    let total = |app: &App| attributes(app)["TOTAL"].as_i64();
    app.deliver(&life(&id)[0]).await;
    app.drained().await;
    assert_eq!(total(&app), Some(1));
    let gone = json!({"type": "conversation", "conversation_id": "215472621202693"});
    app.deliver(&notification("conversation.deleted", 60, &gone)).await;
    app.drained().await;
    assert_eq!(total(&app), Some(0));
    assert_eq!(told(&app), ["created"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_delivery_ends_the_same_and_tells_each_thing_once() {
    let orders: [[usize; 6]; 3] = [[5, 4, 3, 2, 1, 0], [2, 0, 5, 1, 4, 3], [4, 5, 0, 3, 1, 2]];
    for order in orders {
        let (app, id) = app(RULES).await;
        let life = life(&id);
        for index in order {
            app.deliver(&life[index]).await;
            // Some are derived together, some alone.
            if index % 2 == 0 {
                app.drained().await;
            }
        }
        app.drained().await;
        // All of it again, with other ids: a sweep would show no less.
        for notification in &life {
            let text = String::from_utf8(notification.clone()).unwrap();
            app.deliver(text.replace("notif_", "again_").as_bytes()).await;
        }
        app.drained().await;
        assert_eq!(told(&app), TOLD, "{order:?}");
        let held = attributes(&app);
        assert_eq!((&held["CLOSED"], &held["LAST_RATING"]), (&json!(1), &json!(4)), "{order:?}");
        let status = app.status().await;
        assert_eq!(status.records.accepted, 12);
        assert_eq!(status.dead_letters, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_conversations_wait_for_their_contact_and_carry_their_own_time() {
    // The contact is known to Intercom alone: it is read, written, and only then are events sent.
    let (app, id) = app(RULES).await;
    for notification in life(&id) {
        app.deliver(&notification).await;
    }
    app.drained().await;
    assert_eq!(told(&app), TOLD);
    let events = app.sandbox.brevo.events();
    let closed = events.iter().find(|event| event["event_name"] == "closed").unwrap();
    assert_eq!(closed["event_date"], "2026-01-09T23:07:20.000Z");
    assert_eq!(closed["event_properties"]["email"], "ann@example.com");
    assert_eq!(closed["identifiers"]["email_id"], "ann@example.com");
    let rated = events.iter().find(|event| event["event_name"] == "rated").unwrap();
    assert_eq!(rated["event_properties"]["rating"], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_is_not_told_again_after_a_restart() {
    let (mut app, id) = app(RULES).await;
    let life = life(&id);
    for notification in &life[..4] {
        app.deliver(notification).await;
    }
    app.drained().await;
    app.stop_engine().await;
    app.start_engine().await;
    for notification in &life {
        let text = String::from_utf8(notification.clone()).unwrap();
        app.deliver(text.replace("notif_", "again_").as_bytes()).await;
    }
    app.drained().await;
    assert_eq!(told(&app), TOLD);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_a_conversation_has_one_and_who_leaves_it_has_none() {
    let (app, ann) = app(RULES).await;
    let intercom = &app.sandbox.intercom;
    let bob = app.create(json!({"email": "bob@example.com", "role": "user"})).await;
    let made = intercom.create_conversation(&ann, "Hello").unwrap();
    let id = made.id.clone();
    app.fire(made).await;
    let totals = || {
        ["ann@example.com", "bob@example.com"].map(|email| {
            let held = app.sandbox.brevo.contact(email).unwrap();
            (held["attributes"]["TOTAL"].as_i64(), held["attributes"]["OPEN"].as_i64())
        })
    };
    let (one, none) = ((Some(1), Some(1)), (Some(0), Some(0)));
    assert_eq!(totals(), [one, none]);
    let joined = intercom.add_participant(&id, &bob).unwrap();
    assert_eq!(joined.notifications[0]["topic"], "conversation.contact.attached");
    app.fire(joined).await;
    until("he has it", async || (totals() == [one, one]).then_some(())).await;
    let left = intercom.remove_participant(&id, &bob).unwrap();
    assert_eq!(left.notifications[0]["topic"], "conversation.contact.detached");
    app.fire(left).await;
    // Of two changes in one second the second one shows in a read that begins after it.
    until("he has it no more", async || (totals() == [one, none]).then_some(())).await;
    assert_eq!(app.status().await.dead_letters, 0);
}

/// Which of two states of one second is the newer one no notification tells: it is read again.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_is_begun_and_closed_within_a_second_ends_closed(
    #[values(false, true)] is_reversed: bool,
) {
    let (app, ann) = app(RULES).await;
    let intercom = &app.sandbox.intercom;
    let mut others = 0;
    let notifications = loop {
        let made = intercom.create_conversation(&ann, "Hello").unwrap();
        let closed = intercom.close_conversation(&made.id).unwrap();
        let held = intercom.conversation(&made.id).unwrap();
        if held["created_at"] == held["updated_at"] {
            break [made.notifications, closed.notifications].concat();
        }
        // A second went by in between.
        intercom.delete_conversation(&made.id).unwrap();
        others += 1;
        assert!(others < 20, "the machine is too slow to do two things in a second");
    };
    let mut bodies: Vec<String> = notifications.iter().map(Value::to_string).collect();
    if is_reversed {
        bodies.reverse();
    }
    for body in &bodies {
        app.deliver(body.as_bytes()).await;
    }
    app.drained().await;
    let held = attributes(&app);
    assert_eq!((&held["OPEN"], &held["CLOSED"], &held["TOTAL"]), (&json!(0), &json!(1), &json!(1)));
    assert_eq!(told(&app), ["closed", "created"]);
    let listed = intercom
        .log()
        .count(|call| call.path.ends_with("/search") || call.path == "/conversations");
    assert_eq!(listed, 0, "no sweep was needed");
}

/// A decision on the contact, from a conversation.
const SAYS: &str = r#"
fn map_contact(contact, brevo) {
    brevo.email = contact.email;
    brevo.FIRSTNAME = contact.name;
}

fn map_conversation(conversation, brevo) {
    let them = brevo.contact(conversation.contact);
    them.LAST_CHANNEL = conversation.source.type;
    if conversation.state == "open" { them.add_to_list(36); }
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_conversation_says_of_its_contact_is_true_as_long_as_it_says_so() {
    let (app, id) = app(SAYS).await;
    let deliver = async |topic: &str, at: i64, item: Value| {
        app.deliver(&notification(topic, at, &item)).await;
        app.drained().await;
    };
    deliver("conversation.user.created", 0, conversation(&id, "open", 0)).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["attributes"]["LAST_CHANNEL"], "conversation");
    assert_eq!(held["attributes"]["FIRSTNAME"], "Ann");
    assert_eq!(held["listIds"], json!([36]));

    deliver("conversation.admin.closed", 9, conversation(&id, "closed", 9)).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["listIds"], json!([]));
    assert_eq!(held["attributes"]["LAST_CHANNEL"], "conversation");

    let gone = json!({"type": "conversation", "conversation_id": "215472621202693"});
    deliver("conversation.deleted", 60, gone).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["attributes"]["FIRSTNAME"], "Ann");
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_whose_script_fails_is_a_dead_letter_and_its_contact_goes_on() {
    let rules = r#"
        fn map_contact(contact, brevo) {
            brevo.email = contact.email;
            brevo.TOTAL = contact.conversations.total;
        }
        fn map_conversation(conversation, brevo) {
            let n = conversation.waiting_since + 1;
        }
    "#;
    let (app, id) = app(rules).await;
    let item = conversation(&id, "open", 0);
    app.deliver(&notification("conversation.user.created", 0, &item)).await;
    app.drained().await;
    assert_eq!(attributes(&app)["TOTAL"], 1);
    let dead = app.engine().dead_letters(9).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].kind, "script");
    assert_eq!(dead[0].record.as_deref(), Some("conversation:215472621202693"));
    let status = app.status().await;
    assert_eq!((status.records.accepted, status.records.dead), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_event_is_mapped_once() {
    let (app, id) = app(
        r#"
        fn map_contact(contact, brevo) { brevo.email = contact.email; }
        fn map_event(event, brevo) {
            brevo.track(event.event_name, #{ plan: event.metadata.plan, who: event.contact.email }, event.created_at);
        }
        "#,
    )
    .await;
    let item = json!({"type": "event", "event_name": "ordered", "id": "8a88a590", "created_at": BEGAN,
        "intercom_user_id": id, "user_id": "38", "email": "ann@example.com", "metadata": {"plan": "pro"}});
    app.deliver(&notification("event.created", 0, &item)).await;
    app.drained().await;
    app.deliver(&notification("event.created", 1, &item)).await;
    app.drained().await;
    assert_eq!(told(&app), ["ordered"]);
    let events = app.sandbox.brevo.events();
    assert_eq!(events[0]["event_properties"]["plan"], "pro");
    assert_eq!(events[0]["event_properties"]["who"], "ann@example.com");
    let records = app.status().await.records;
    assert_eq!((records.accepted, records.applied, records.unchanged), (2, 1, 1));
}
