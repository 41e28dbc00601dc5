//! Contacts that are deleted, archived or merged in Intercom.

use serde_json::{Value, json};

use crate::support::App;

fn ann() -> Value {
    json!({"email": "ann@example.com", "name": "Ann Lee", "role": "user"})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_in_intercom_is_deleted_in_brevo_if_the_engine_made_it() {
    let app = App::builder().start().await;
    app.sandbox.brevo.put_contact(&json!({"email": "bob@example.com"})).unwrap();
    let ann_id = app.create(ann()).await;
    let bob_id = app.create(json!({"email": "bob@example.com", "role": "user"})).await;
    app.fire(app.sandbox.intercom.delete(&ann_id).unwrap()).await;
    app.fire(app.sandbox.intercom.delete(&bob_id).unwrap()).await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com"), None);
    let bob = app.sandbox.brevo.contact("bob@example.com").unwrap();
    assert_eq!(bob["listIds"], json!([]), "somebody else's contact is only released");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_intercom_denies_is_not_carried_out() {
    let app = App::builder().start().await;
    let id = app.create(ann()).await;
    let now = app.engine().now().seconds() + 60;
    let item = json!({"id": id, "type": "contact", "deleted": true});
    let notification = tajo::sandbox::intercom::notification(
        app.sandbox.intercom.app_id(),
        "contact.deleted",
        item,
        tajo::model::Timestamp::from_seconds(now),
    );
    app.deliver(notification.to_string().as_bytes()).await;
    app.drained().await;
    assert!(app.sandbox.brevo.contact("ann@example.com").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_archived_is_released_and_comes_back_in_full() {
    let app = App::builder().start().await;
    let id = app.create(ann()).await;
    app.fire(app.sandbox.intercom.archive(&id).unwrap()).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["listIds"], json!([]));
    assert_eq!(held["attributes"]["FIRSTNAME"], "Ann", "nothing else is taken away");
    app.fire(app.sandbox.intercom.unarchive(&id).unwrap()).await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com").unwrap()["listIds"], json!([35]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deletion_means_in_brevo_is_configured() {
    for (policy, is_there, lists, blacklisted) in [
        ("delete", false, json!([]), false),
        ("unsubscribe", true, json!([35]), true),
        ("release", true, json!([]), false),
        ("keep", true, json!([35]), false),
    ] {
        let app =
            App::builder().with_setting("intercom", &format!("on_delete: {policy}")).start().await;
        let id = app.create(ann()).await;
        app.fire(app.sandbox.intercom.delete(&id).unwrap()).await;
        let held = app.sandbox.brevo.contact("ann@example.com");
        assert_eq!(held.is_some(), is_there, "{policy}");
        if let Some(held) = held {
            assert_eq!(
                (&held["listIds"], &held["emailBlacklisted"]),
                (&lists, &json!(blacklisted)),
                "{policy}"
            );
        }
        app.assert_consent_kept();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_leaves_the_address_to_another_contact_that_has_it() {
    let app = App::builder().start().await;
    let user = app.create(ann()).await;
    app.create(json!({"email": "ann@example.com", "name": "Ann Lead", "role": "lead"})).await;
    app.fire(app.sandbox.intercom.delete(&user).unwrap()).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["attributes"]["LASTNAME"], "Lead");
    assert_eq!(held["listIds"], json!([37]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_releases_the_loser_and_keeps_the_survivor() {
    let app = App::builder().start().await;
    app.sandbox.intercom.name_merged_contact(true);
    let lead =
        app.create(json!({"email": "lead@example.com", "name": "Lea", "role": "lead"})).await;
    let user = app.create(ann()).await;
    app.fire(app.sandbox.intercom.merge(&lead, &user).unwrap()).await;
    assert_eq!(app.sandbox.brevo.contact("lead@example.com").unwrap()["listIds"], json!([]));
    assert_eq!(app.sandbox.brevo.contact("ann@example.com").unwrap()["listIds"], json!([35]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_stays_deleted_when_an_old_notification_comes_late() {
    let app = App::builder().start().await;
    let changed = app.sandbox.intercom.create_contact(ann()).unwrap();
    let id = changed.id.clone();
    let mut late = changed.notifications[0].clone();
    app.fire(changed).await;
    app.fire(app.sandbox.intercom.delete(&id).unwrap()).await;
    late["id"] = json!("notif_late");
    late["data"]["item"]["name"] = json!("Ann Late");
    app.deliver(late.to_string().as_bytes()).await;
    app.drained().await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_asks_intercom_for_others_with_the_address_before_it_deletes() {
    let app = App::builder().start().await;
    let user = app.create(ann()).await;
    // Its notification is lost: the engine has never heard of this one.
    let lead = json!({"email": "ann@example.com", "name": "Ann Lead", "role": "lead"});
    let _ = app.sandbox.intercom.create_contact(lead).unwrap();
    app.fire(app.sandbox.intercom.delete(&user).unwrap()).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["attributes"]["LASTNAME"], "Lead");
    assert_eq!(held["listIds"], json!([37]));
}
