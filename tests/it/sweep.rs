//! Sweeps find what webhooks lost, and a restart goes on where the last process stood.

use serde_json::json;
use tajo::sandbox::Seed;
use tajo::sandbox::intercom::Failure;
use tajo::store::{SyncKind, SyncState};

use crate::support::{App, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_sync_finds_what_no_webhook_told_and_reads_only_that() {
    let app =
        App::builder().with_seed(Seed::new(600).companies(10).without_long_lists()).start().await;
    app.sync().await;
    let id = app.sandbox.intercom.ids_by_email(&first_email(&app))[0].clone();
    app.sandbox.intercom.update_contact(&id, json!({"name": "Changed Silently"})).unwrap();
    app.sandbox.intercom.log().clear();
    app.sync_as(SyncKind::Incremental).await;
    let held = app.sandbox.brevo.contact(&first_email(&app)).unwrap();
    assert_eq!(held["attributes"]["LASTNAME"], "Silently");
    let pages = app
        .sandbox
        .intercom
        .log()
        .count(|call| call.path == "/contacts" || call.path == "/contacts/search");
    assert!(pages <= 2, "{pages} pages were read for one change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_everything_known_and_writes_nothing() {
    let mut app = App::builder().with_seed(Seed::new(200).companies(10)).start().await;
    app.sync().await;
    let before = app.sandbox.brevo.snapshot();
    app.stop_engine().await;
    app.sandbox.brevo.log().clear();
    app.start_engine().await;
    app.sync().await;
    assert_eq!(app.sandbox.brevo.writes(), 0);
    assert_eq!(app.sandbox.brevo.snapshot(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_cannot_read_everything_says_so() {
    let app = App::builder().with_seed(Seed::new(400).companies(10)).start().await;
    // The second page of contacts is refused for good, as to a token whose scope was taken away.
    app.sandbox.intercom.fail_next("/companies", Failure::Status(403), 100);
    let request =
        tajo::engine::SyncRequest { kind: SyncKind::Full, resources: Vec::new(), since: None };
    let sync = app.engine().request_sync(request).await.unwrap();
    let sync = until("the sync is over", async || {
        app.engine().sync(&sync.id).await.unwrap().filter(|sync| sync.state.is_over())
    })
    .await;
    assert!(matches!(sync.state, SyncState::Failed | SyncState::Incomplete), "{sync:?}");
    assert!(sync.error.is_some());
    assert_eq!(app.status().await.last_sync, None, "an incomplete sync is never called success");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_rules_name_are_made_where_that_is_allowed() {
    let rule = "fn map_contact(contact, brevo) { brevo.email = contact.email; brevo.add_to_list(\"Made by rules\"); }";
    let app = App::builder()
        .with_setting("brevo", "create_lists: true")
        .with_script("mapping.rhai", rule)
        .with_seed(Seed::new(100).companies(5))
        .start()
        .await;
    app.sync().await;
    let lists = app.sandbox.brevo.lists();
    let made: Vec<_> = lists.iter().filter(|(_, name)| name == "Made by rules").collect();
    assert_eq!(made.len(), 1, "{lists:?}");
    assert!(!app.sandbox.brevo.list_members(made[0].0).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_changes_changes_its_contacts() {
    let app = App::builder().start().await;
    let id = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    let company = app
        .sandbox
        .intercom
        .create_company(json!({"company_id": "7", "name": "Old Name"}))
        .unwrap();
    app.sandbox.intercom.attach_company(&id, &company.id).unwrap();
    app.sync().await;
    assert_eq!(
        app.sandbox.brevo.contact("ann@example.com").unwrap()["attributes"]["COMPANY_NAME"],
        "Old Name"
    );
    let renamed = json!({"company_id": "7", "name": "New Name", "updated_at": app.engine().now().seconds() + 5});
    app.sandbox.intercom.create_company(renamed).unwrap();
    app.sync().await;
    assert_eq!(
        app.sandbox.brevo.contact("ann@example.com").unwrap()["attributes"]["COMPANY_NAME"],
        "New Name"
    );
}

fn first_email(app: &App) -> String {
    let contacts = app.sandbox.intercom.contacts();
    let user = contacts.iter().find(|contact| {
        contact["role"] == "user"
            && contact["email"].is_string()
            && contact["unsubscribed_from_emails"] == false
    });
    user.unwrap()["email"].as_str().unwrap().to_lowercase()
}
