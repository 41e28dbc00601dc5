//! Custom events of Intercom: each becomes what the rules make of it once, whichever way it comes, and
//! counts once in what its contact shows.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tajo::model::{Clock, SystemClock, Timestamp};
use tajo::store::{Resource, SyncKind};

use crate::support::{App, until};

/// A Brevo event for each event, and the counts of its contact in attributes.
const RULES: &str = r#"
fn map_contact(contact, brevo) {
    brevo.email = contact.email;
    brevo.ORDERS = contact.events.ordered.count;
    brevo.FIRST_ORDER = contact.events.ordered.first;
    brevo.LAST_ORDER = contact.events.ordered.last;
}

fn map_event(event, brevo) {
    brevo.track(event.event_name, #{ number: event.metadata.number }, event.created_at);
}
"#;

async fn app() -> App {
    App::builder().with_script("mapping.rhai", RULES).start().await
}

fn now() -> i64 {
    SystemClock.now().seconds()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// Changed when it was seen: of two states of one second only a later read tells the newer one.
fn ann(last_seen_at: i64) -> Value {
    json!({
        "email": "ann@example.com", "role": "user", "last_seen_at": last_seen_at,
        "updated_at": last_seen_at,
    })
}

fn orders(app: &App) -> (Value, Value, Value) {
    let contact = app.sandbox.brevo.contact("ann@example.com").unwrap();
    let attribute = |name: &str| contact["attributes"][name].clone();
    (attribute("ORDERS"), attribute("FIRST_ORDER"), attribute("LAST_ORDER"))
}

fn sent(app: &App) -> usize {
    app.sandbox.brevo.events().len()
}

fn listings(app: &App) -> usize {
    app.sandbox.intercom.log().count(|call| call.is("GET", "/events"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notified_event_is_sent_once_and_counted_once() {
    let mut app = app().await;
    // Nothing counts as having happened too early once a sync has begun.
    app.sync().await;
    let id = app.create(ann(now())).await;
    let first = now();
    let ordered =
        app.sandbox.intercom.submit_event(&id, "ordered", at(first), &json!({"number": 7}));
    let ordered = ordered.unwrap();
    let notification = ordered.notifications[0].to_string();
    app.fire(ordered).await;
    let events = app.sandbox.brevo.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["event_name"], "ordered");
    assert_eq!(events[0]["event_properties"]["number"], 7);
    assert_eq!(orders(&app), (json!(1), json!(first), json!(first)));
    // The same notification, the same event without an id, a restart, and the listing.
    app.deliver(notification.as_bytes()).await;
    let mut other: Value = serde_json::from_str(&notification).unwrap();
    other["id"] = json!("notif_other");
    other["data"]["item"]["id"] = Value::Null;
    app.deliver(other.to_string().as_bytes()).await;
    app.drained().await;
    app.stop_engine().await;
    app.start_engine().await;
    // Of the second in which they are read Intercom may not tell all.
    until("another second has begun", async || (now() > first).then_some(())).await;
    app.sync().await;
    assert_eq!(sent(&app), 1);
    assert_eq!(orders(&app).0, 1);
    let second = first + 1;
    let again = app.sandbox.intercom.submit_event(&id, "ordered", at(second), &json!({}));
    app.fire(again.unwrap()).await;
    assert_eq!((sent(&app), orders(&app)), (2, (json!(2), json!(first), json!(second))));
}

/// The notification of an event, in which this item is told under this id.
fn told_as(notification: &Value, number: u64, id: &Value) -> String {
    let mut told = notification.clone();
    told["id"] = json!(format!("notif_{number}"));
    told["data"]["item"]["id"] = id.clone();
    told["data"]["item"]["metadata"] = json!({"number": number});
    told.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_second_are_told_apart_by_their_ids() {
    let app = app().await;
    app.sync().await;
    let id = app.create(ann(now())).await;
    let first = now();
    let ordered = app.sandbox.intercom.submit_event(&id, "ordered", at(first), &json!({})).unwrap();
    let [notification] = &ordered.notifications[..] else { panic!("{ordered:?}") };
    let own = notification["data"]["item"]["id"].clone();
    for (number, id) in
        [(1, json!("same-sec-1")), (2, json!("same-sec-2")), (3, json!("same-sec-1"))]
    {
        app.deliver(told_as(notification, number, &id).as_bytes()).await;
    }
    app.drained().await;
    // Of one second nobody knows which was first.
    let numbers = |app: &App| -> BTreeSet<i64> {
        let events = app.sandbox.brevo.events();
        events.iter().filter_map(|event| event["event_properties"]["number"].as_i64()).collect()
    };
    assert_eq!((numbers(&app), orders(&app).0), ([1, 2].into(), json!(2)));
    assert_eq!(sent(&app), 2);
    // Without an id it is one of them; with its own, which the listing has too, a third.
    app.deliver(told_as(notification, 4, &Value::Null).as_bytes()).await;
    app.drained().await;
    assert_eq!((sent(&app), orders(&app).0), (2, json!(2)));
    app.deliver(told_as(notification, 5, &own).as_bytes()).await;
    app.drained().await;
    app.sync().await;
    assert_eq!(numbers(&app), [1, 2, 5].into());
    assert_eq!((sent(&app), orders(&app).0), (3, json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_notified_without_its_id_and_is_listed_with_it_counts_once() {
    let app = app().await;
    app.sync().await;
    let id = app.create(ann(now())).await;
    let first = now();
    let ordered = app.sandbox.intercom.submit_event(&id, "ordered", at(first), &json!({})).unwrap();
    let notification = &ordered.notifications[0];
    app.deliver(told_as(notification, 1, &Value::Null).as_bytes()).await;
    app.drained().await;
    assert_eq!((sent(&app), orders(&app).0), (1, json!(1)));
    let listed = listings(&app);
    app.sync().await;
    assert!(listings(&app) > listed);
    assert_eq!((sent(&app), orders(&app).0), (1, json!(1)));
    // Now that its id is known, another one is another event.
    app.deliver(told_as(notification, 2, &json!("same-sec-2")).as_bytes()).await;
    app.drained().await;
    assert_eq!((sent(&app), orders(&app).0), (2, json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_notification_told_is_listed_and_only_what_is_new_is_sent() {
    let app = app().await;
    let before = now() - 5 * 86_400;
    let id = app.sandbox.intercom.create_contact(ann(before)).unwrap().id;
    let intercom = &app.sandbox.intercom;
    let old = now() - 200 * 86_400;
    for time in [old, before, before + 60] {
        intercom.submit_event(&id, "ordered", at(time), &json!({})).unwrap();
    }
    app.sync().await;
    // Before the first sync: known without being sent. Older than 90 days: in the summary alone.
    assert_eq!((sent(&app), orders(&app)), (0, (json!(3), json!(old), json!(before + 60))));
    let listed = listings(&app);
    app.sync().await;
    assert_eq!(listings(&app), listed, "nobody was seen since");

    // The webhook of this one is lost; the contact was seen.
    let later = now() + 1;
    intercom.submit_event(&id, "ordered", at(later), &json!({})).unwrap();
    intercom.update_contact(&id, json!({"last_seen_at": later})).unwrap();
    app.sync_as(SyncKind::Incremental).await;
    assert_eq!((sent(&app), orders(&app)), (1, (json!(4), json!(old), json!(later))));
    assert_eq!(listings(&app), listed + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_summary_tells_reaches_the_contact() {
    let app = app().await;
    let intercom = &app.sandbox.intercom;
    let id = intercom.create_contact(ann(now())).unwrap().id;
    app.sync_of(vec![Resource::Contacts]).await;
    assert_eq!(orders(&app).0, Value::Null);
    let old = now() - 200 * 86_400;
    intercom.submit_event(&id, "ordered", at(old), &json!({})).unwrap();
    app.sync_of(vec![Resource::Events]).await;
    assert_eq!((sent(&app), orders(&app)), (0, (json!(1), json!(old), json!(old))));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_read_by_pages_and_not_of_who_was_never_seen() {
    let app = app().await;
    let intercom = &app.sandbox.intercom;
    let id = intercom.create_contact(ann(now())).unwrap().id;
    for number in 0..310 {
        let time = at(now() - 1_000 - number);
        intercom.submit_event(&id, "ordered", time, &json!({"number": number})).unwrap();
    }
    let unseen = json!({"email": "bob@example.com", "role": "user"});
    intercom.create_contact(unseen).unwrap();
    let sync = app.sync().await;
    assert_eq!(sync.resources[&Resource::Events].seen, 310);
    assert_eq!(orders(&app).0, 310);
    // The summary, and 310 / 150 pages.
    assert_eq!(listings(&app), 1 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_goes_on_after_a_failure_and_counts_nothing_twice() {
    let mut app = app().await;
    let intercom = &app.sandbox.intercom;
    let mut ids = Vec::new();
    for number in 0..30 {
        let email = format!("p{number}@example.com");
        let contact = json!({"email": email, "role": "user", "last_seen_at": now()});
        let id = intercom.create_contact(contact).unwrap().id;
        intercom.submit_event(&id, "ordered", at(now() - 60), &json!({})).unwrap();
        ids.push(id);
    }
    intercom.fail_after(20, "GET /events", tajo::sandbox::intercom::Failure::Status(403), 1);
    let request = tajo::engine::SyncRequest {
        kind: SyncKind::Full,
        resources: vec![Resource::Contacts, Resource::Events],
        since: None,
    };
    let sync = app.engine().request_sync(request).await.unwrap();
    let sync = crate::support::until("the sync is over", async || {
        let sync = app.engine().sync(&sync.id).await.unwrap().unwrap();
        sync.state.is_over().then_some(sync)
    })
    .await;
    assert!(!sync.resources[&Resource::Events].done, "{sync:?}");
    app.stop_engine().await;
    app.start_engine().await;
    let sync = app.sync().await;
    assert!(sync.resources[&Resource::Events].done);
    for number in 0..30 {
        let email = format!("p{number}@example.com");
        let contact = app.sandbox.brevo.contact(&email).unwrap();
        assert_eq!(contact["attributes"]["ORDERS"], 1, "{email}");
    }
    assert_eq!(sent(&app), 0);
}

/// The notification of an event that names its person by these fields and by nothing else.
fn naming(notification: &Value, number: u64, person: &Value) -> String {
    let mut told = notification.clone();
    told["id"] = json!(format!("notif_{number}"));
    for field in ["intercom_user_id", "user_id", "email"] {
        told["data"]["item"][field] = person[field].clone();
    }
    told.to_string()
}

fn unassigned(status: &tajo::engine::Status) -> (u64, u64) {
    (status.events.counts.unassigned, status.events.counts.known)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_names_its_person_without_intercoms_id_reaches_him() {
    for person in [json!({"user_id": "38"}), json!({"email": "Ann@Example.com"})] {
        let mut app = app().await;
        app.sync().await;
        let mut ann = ann(now());
        ann["external_id"] = json!("38");
        let id = app.create(ann).await;
        let first = now();
        let intercom = &app.sandbox.intercom;
        let ordered = intercom.submit_event(&id, "ordered", at(first), &json!({})).unwrap();
        let notification = ordered.notifications[0].clone();
        app.deliver(naming(&notification, 1, &person).as_bytes()).await;
        app.drained().await;
        assert_eq!((sent(&app), orders(&app).0), (1, json!(1)), "{person}");
        assert_eq!(unassigned(&app.status().await), (0, 0));
        // The same with all that is known of him, a restart, and the listing.
        app.deliver(told_as(&notification, 2, &Value::Null).as_bytes()).await;
        app.drained().await;
        app.stop_engine().await;
        app.start_engine().await;
        until("another second has begun", async || (now() > first).then_some(())).await;
        app.sync().await;
        assert_eq!((sent(&app), orders(&app).0), (1, json!(1)), "{person}");
        app.assert_conserved().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_somebody_unknown_is_kept_until_he_is_known() {
    for person in [
        json!({"user_id": "38"}),
        json!({"email": "ann@example.com"}),
        json!({"user_id": "another", "email": "ann@example.com"}),
    ] {
        let mut app = app().await;
        app.sync().await;
        let mut ann = ann(now());
        ann["external_id"] = json!("38");
        let intercom = &app.sandbox.intercom;
        let id = intercom.create_contact(ann).unwrap().id;
        let first = now();
        let ordered = intercom.submit_event(&id, "ordered", at(first), &json!({})).unwrap();
        let notification = ordered.notifications[0].clone();
        app.deliver(naming(&notification, 1, &person).as_bytes()).await;
        // Once more, under another notification's id, and without its own.
        app.deliver(naming(&notification, 2, &person).as_bytes()).await;
        let mut nameless = notification.clone();
        nameless["data"]["item"]["id"] = Value::Null;
        app.deliver(naming(&nameless, 3, &person).as_bytes()).await;
        app.drained().await;
        assert_eq!((sent(&app), unassigned(&app.status().await)), (0, (2, 0)), "{person}");
        app.assert_conserved().await;
        app.stop_engine().await;
        app.start_engine().await;
        assert_eq!((sent(&app), unassigned(&app.status().await)), (0, (2, 0)), "{person}");

        until("another second has begun", async || (now() > first).then_some(())).await;
        app.sync().await;
        assert_eq!((sent(&app), orders(&app).0), (1, json!(1)), "{person}");
        assert_eq!(unassigned(&app.status().await), (0, 0), "{person}");
        app.assert_conserved().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_person_only_the_listing_tells_counts_once() {
    let app = app().await;
    app.sync().await;
    let id = app.create(ann(now())).await;
    let first = now();
    let intercom = &app.sandbox.intercom;
    let ordered = intercom.submit_event(&id, "ordered", at(first), &json!({})).unwrap();
    let person = json!({"user_id": "of another system"});
    app.deliver(naming(&ordered.notifications[0], 1, &person).as_bytes()).await;
    app.drained().await;
    assert_eq!((sent(&app), unassigned(&app.status().await)), (0, (1, 0)));
    until("another second has begun", async || (now() > first).then_some(())).await;
    app.sync().await;
    assert_eq!((sent(&app), orders(&app).0), (1, json!(1)));
    assert_eq!(unassigned(&app.status().await), (0, 0));
    app.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_with_an_address_an_event_goes_to_the_user_who_was_seen_last() {
    const APART: &str = r#"
fn map_contact(contact, brevo) { brevo.email = contact.email; }

fn map_event(event, brevo) { brevo.track(event.event_name, #{ who: event.contact.name }); }
"#;
    let app = App::builder().with_script("mapping.rhai", APART).start().await;
    app.sync().await;
    let seen = now();
    let mut ids = Vec::new();
    for (name, role, ago) in [
        ("lead", "lead", 0),
        ("earlier", "user", 500),
        ("latest", "user", 100),
        ("never", "user", -1),
    ] {
        let last_seen_at = (ago >= 0).then_some(seen - ago);
        let external_id = (role == "user").then_some(name);
        ids.push(
            app.create(json!({
                "email": "ann@example.com", "name": name, "role": role,
                "last_seen_at": last_seen_at, "external_id": external_id,
            }))
            .await,
        );
    }
    let intercom = &app.sandbox.intercom;
    let ordered = intercom.submit_event(&ids[2], "ordered", at(now()), &json!({})).unwrap();
    let notification = &ordered.notifications[0];
    let person = json!({"email": "ann@example.com"});
    app.deliver(naming(notification, 1, &person).as_bytes()).await;
    app.drained().await;
    // What the sender calls somebody decides before the address does.
    let mut other = notification.clone();
    other["data"]["item"]["id"] = json!("another");
    let person = json!({"user_id": "earlier", "email": "ann@example.com"});
    app.deliver(naming(&other, 2, &person).as_bytes()).await;
    app.drained().await;
    let events = app.sandbox.brevo.events();
    let who: Vec<&Value> = events.iter().map(|event| &event["event_properties"]["who"]).collect();
    assert_eq!(who, ["latest", "earlier"]);
}
