//! A contact's whole journey, from Intercom to Brevo.

use serde_json::{Value, json};
use tajo::sandbox::Seed;
use tajo::store::Acceptance;

use crate::support::{App, until};

fn ann() -> Value {
    json!({
        "email": "Ann@Example.com", "name": "Ann Lee van der Berg", "role": "user",
        "phone": "+66 (0)81-234 5678", "signed_up_at": 1_701_388_799,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sync_brings_brevo_to_the_decided_state_and_a_second_one_writes_nothing() {
    let app = App::builder().with_seed(Seed::new(300).companies(40)).start().await;
    app.sync().await;

    let status = app.status().await;
    assert_eq!(status.contacts_synced, 300);
    assert_eq!(status.companies_synced, 40);
    assert_eq!(status.dead_letters, 0);
    app.assert_consent_kept();
    for contact in app.sandbox.intercom.contacts() {
        let Some(email) = contact["email"].as_str() else {
            continue;
        };
        let held = app.sandbox.brevo.contact(email);
        assert!(held.is_some(), "{email} is not in brevo");
    }

    let writes = app.sandbox.brevo.writes();
    app.sync().await;
    assert_eq!(app.sandbox.brevo.writes(), writes, "an unchanged workspace was written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_contact_is_in_brevo_as_the_rules_decide() {
    let app = App::builder().start().await;
    app.create(ann()).await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["attributes"]["FIRSTNAME"], "Ann");
    assert_eq!(held["attributes"]["LASTNAME"], "Lee van der Berg");
    assert_eq!(held["attributes"]["SMS"], "66812345678");
    assert_eq!(held["attributes"]["SIGNUP_DATE"], "2023-11-30");
    assert_eq!(held["listIds"], json!([35]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_does_not_wait_until_the_whole_of_brevo_was_read() {
    let app = App::builder().with_hanging("GET /v3/contacts").start().await;
    let changed = app.sandbox.intercom.create_contact(ann()).unwrap();
    for notification in &changed.notifications {
        app.deliver(notification.to_string().as_bytes()).await;
    }
    until("ann is in brevo", async || app.sandbox.brevo.contact("ann@example.com")).await;
    let read = app.sandbox.brevo.log().find(|call| call.path == "/v3/contacts");
    assert!(!read.iter().any(|call| call.method == "GET"), "brevo was read before: {read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_writes_only_what_changed_and_none_writes_nothing() {
    let app = App::builder().start().await;
    let id = app.create(ann()).await;
    let renamed = app.sandbox.intercom.update_contact(&id, json!({"name": "Ann Moss"})).unwrap();
    app.sandbox.brevo.log().clear();
    app.fire(renamed).await;
    let writes: Vec<_> = app.sandbox.brevo.log().find(|call| call.method != "GET");
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].body, json!({"attributes": {"LASTNAME": "Moss", "FULLNAME": "Ann Moss"}}));

    let seen = app.sandbox.intercom.update_contact(&id, json!({"browser_version": "140"})).unwrap();
    app.sandbox.brevo.log().clear();
    app.fire(seen).await;
    assert_eq!(app.sandbox.brevo.log().len(), 0, "an empty difference costs no call");
    assert!(app.status().await.records.unchanged > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_that_comes_again_has_no_effect() {
    let app = App::builder().start().await;
    let changed = app.sandbox.intercom.create_contact(ann()).unwrap();
    let body = changed.notifications[0].to_string();
    assert_eq!(app.deliver(body.as_bytes()).await, Acceptance::Accepted);
    for _ in 0..5 {
        assert_eq!(app.deliver(body.as_bytes()).await, Acceptance::Duplicate);
    }
    app.drained().await;
    assert_eq!(app.status().await.duplicates, 5);
    assert_eq!(
        app.sandbox.brevo.writes(),
        app.sandbox.brevo.log().count(|call| call.method != "GET")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_address_moves_the_contact_instead_of_making_another() {
    let app = App::builder().start().await;
    let id = app.create(ann()).await;
    let before = app.sandbox.brevo.contact("ann@example.com").unwrap();
    let moved =
        app.sandbox.intercom.update_contact(&id, json!({"email": "ann.moss@example.com"})).unwrap();
    app.fire(moved).await;
    let after = app.sandbox.brevo.contact("ann.moss@example.com").unwrap();
    assert_eq!(after["id"], before["id"]);
    assert_eq!(app.sandbox.brevo.contact("ann@example.com"), None);
    assert_eq!(app.sandbox.brevo.contact_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_address_that_brevo_has_already_adopts_that_contact_and_releases_the_old_one() {
    let app = App::builder().start().await;
    let id = app.create(ann()).await;
    app.sandbox.brevo.put_contact(&json!({"email": "moss@example.com", "listIds": [36]})).unwrap();
    let moved =
        app.sandbox.intercom.update_contact(&id, json!({"email": "moss@example.com"})).unwrap();
    app.fire(moved).await;
    let adopted = app.sandbox.brevo.contact("moss@example.com").unwrap();
    assert_eq!(adopted["listIds"], json!([35, 36]), "granted, and the foreign one kept");
    assert_eq!(adopted["attributes"]["FIRSTNAME"], "Ann");
    let old = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(old["listIds"], json!([]), "what was granted is withdrawn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_becomes_a_user_changes_lists_and_foreign_ones_stay() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "lea@example.com", "name": "Lea", "role": "lead"})).await;
    app.sandbox.brevo.update_contact("lea@example.com", &json!({"listIds": [36]})).unwrap();
    assert_eq!(app.sandbox.brevo.contact("lea@example.com").unwrap()["listIds"], json!([36, 37]));
    let promoted = app.sandbox.intercom.update_contact(&id, json!({"role": "user"})).unwrap();
    app.fire(promoted).await;
    assert_eq!(app.sandbox.brevo.contact("lea@example.com").unwrap()["listIds"], json!([35, 36]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_put_on_lists_and_take_off_them() {
    let rule = r#"
        fn map_tags(tags, contact, brevo) { brevo.add_to_lists(tags, #{ vip: "VIP" }); }
    "#;
    let app = App::builder().with_script("tags.rhai", rule).start().await;
    let list = app.sandbox.brevo.create_list("VIP");
    let id = app.create(ann()).await;
    app.fire(app.sandbox.intercom.tag_contact(&id, "vip").unwrap()).await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com").unwrap()["listIds"], json!([35, list]));
    app.fire(app.sandbox.intercom.untag_contact(&id, "vip").unwrap()).await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com").unwrap()["listIds"], json!([35]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_contacts_with_one_address_the_user_speaks() {
    let app = App::builder().start().await;
    app.create(json!({"email": "one@example.com", "name": "Lead Name", "role": "lead"})).await;
    app.create(json!({"email": "one@example.com", "name": "User Name", "role": "user", "external_id": "7"})).await;
    app.create(json!({"email": "ONE@example.com", "name": "Late Lead", "role": "lead"})).await;
    let held = app.sandbox.brevo.contact("one@example.com").unwrap();
    assert_eq!(held["attributes"]["FIRSTNAME"], "User");
    assert_eq!(held["listIds"], json!([35]));
    assert_eq!(app.sandbox.brevo.contact_count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_in_any_order_end_in_the_newest_state() {
    let app = App::builder().start().await;
    let changed = app.sandbox.intercom.create_contact(ann()).unwrap();
    let body = |name: &str, at: &str| {
        let mut notification = changed.notifications[0].clone();
        notification["id"] = json!(format!("notif_{name}"));
        notification["data"]["item"]["name"] = json!(name);
        notification["data"]["item"]["updated_at"] = json!(at);
        notification.to_string()
    };
    for (name, at) in [
        ("Second", "2026-01-10T04:23:24.000Z"),
        ("Fourth", "2026-01-10T04:23:26.900+00:00"),
        ("Third", "2026-01-10T04:23:25.000+00:00"),
        ("First", "2026-01-10T04:23:23.215+00:00"),
    ] {
        app.deliver(body(name, at).as_bytes()).await;
    }
    app.drained().await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["attributes"]["FIRSTNAME"], "Fourth");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tie_within_a_second_is_settled_by_one_read() {
    let app = App::builder().start().await;
    let changed = app.sandbox.intercom.create_contact(ann()).unwrap();
    app.deliver(changed.notifications[0].to_string().as_bytes()).await;
    app.drained().await;
    let mut twin = changed.notifications[0].clone();
    twin["id"] = json!("notif_twin");
    twin["data"]["item"]["name"] = json!("Somebody Else");
    app.sandbox.intercom.log().clear();
    app.deliver(twin.to_string().as_bytes()).await;
    app.drained().await;
    let reads = app
        .sandbox
        .intercom
        .log()
        .count(|call| call.is("GET", &format!("/contacts/{}", changed.id)));
    assert_eq!(reads, 1);
    assert_eq!(
        app.sandbox.brevo.contact("ann@example.com").unwrap()["attributes"]["FIRSTNAME"],
        "Ann"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_topics_are_stored_and_counted_as_ignored() {
    let app = App::builder().start().await;
    let before = app.status().await.records.ignored;
    for topic in ["ping", "call.ended", "ticket.created", "a.topic.of.tomorrow"] {
        app.hand_in(topic, &json!({"type": "anything", "id": topic})).await;
    }
    app.drained().await;
    assert_eq!(app.status().await.records.ignored, before + 4);
}
