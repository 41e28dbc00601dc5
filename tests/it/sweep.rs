//! Sweeps find what webhooks lost, and a restart goes on where the last process stood.

use std::collections::BTreeSet;
use std::sync::Arc;

use rstest::rstest;
use secrecy::SecretString;
use serde_json::json;
use tajo::http::Lane;
use tajo::intercom::{IntercomClient, IntercomSettings};
use tajo::model::{Clock, ManualClock, Timestamp};
use tajo::sandbox::intercom::{Failure, IntercomOptions, IntercomSandbox};
use tajo::sandbox::{SandboxOptions, Seed};
use tajo::store::{SyncKind, SyncState};

use crate::support::{App, Deployment, until};

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

/// Intercom compares days of the workspace's zone: whatever the zone, the hour and the clocks that
/// were put forward or back, what changed in the bound's very second or later is found.
#[rstest]
#[case::utc("UTC", "2026-06-15T12:00:00Z")]
#[case::far_ahead("Pacific/Kiritimati", "2026-06-15T10:00:00Z")]
#[case::far_behind("Pacific/Pago_Pago", "2026-06-15T10:59:59Z")]
#[case::in_quarters("Asia/Kathmandu", "2026-06-14T18:15:00Z")]
#[case::last_second_of_a_day("America/Los_Angeles", "2026-06-15T06:59:59Z")]
#[case::first_second_of_a_day("America/Los_Angeles", "2026-06-15T07:00:00Z")]
#[case::a_day_of_23_hours("America/Los_Angeles", "2026-03-09T06:59:59Z")]
#[case::a_day_of_25_hours("America/Los_Angeles", "2026-11-02T07:30:00Z")]
#[case::the_hour_that_comes_twice("Europe/Lisbon", "2026-10-25T01:30:00Z")]
#[case::a_day_without_midnight("America/Santiago", "2026-09-06T04:00:00Z")]
#[tokio::test]
async fn a_search_by_days_finds_every_change_since_a_second(
    #[case] zone: &str,
    #[case] since: &str,
) {
    let since = Timestamp::parse_text(since).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(since.plus(3 * 86_400)));
    let options = IntercomOptions {
        timezone: zone.to_owned(),
        rate_limit: None,
        ..IntercomOptions::default()
    };
    let intercom = IntercomSandbox::start(options, Arc::clone(&clock)).await.unwrap();
    let mut expected = BTreeSet::new();
    let hours = (-72..=72).map(|hour| hour * 3_600);
    for offset in hours.chain([-1, 1]) {
        let at = since.plus(offset).seconds();
        let contact = json!({"role": "user", "external_id": format!("u{offset}"), "created_at": at, "updated_at": at});
        let id = intercom.create_contact(contact).unwrap().id;
        if offset >= 0 {
            expected.insert(id);
        }
    }
    let token = SecretString::from(intercom.access_token().to_owned());
    let settings = IntercomSettings::new(intercom.base_url().parse().unwrap(), token);
    let client = IntercomClient::new(settings, clock).unwrap();
    let (mut found, mut beyond) = (BTreeSet::new(), 0);
    let mut cursor = None;
    loop {
        let page = client.updated_contacts_page(Lane::Bulk, since, cursor.as_ref()).await.unwrap();
        for snapshot in page.snapshots {
            if snapshot.version.at >= since {
                found.insert(snapshot.key.id.to_string());
            } else {
                beyond += 1;
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, expected);
    assert!(beyond <= 26, "more than the bound's own day was searched: {beyond}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_becomes_searchable_ten_minutes_late_is_found_once() {
    let begin = Timestamp::parse_text("2026-03-08T09:55:00Z").unwrap();
    let clock = Arc::new(ManualClock::at(begin));
    let app = App::builder()
        .with_clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .with_timezone("America/Los_Angeles")
        .start()
        .await;
    let intercom = &app.sandbox.intercom;
    let yesterday = begin.plus(-86_400).seconds();
    let ann = json!({"email": "ann@example.com", "name": "Ann Old", "role": "user",
        "created_at": yesterday, "updated_at": yesterday});
    let id = intercom.create_contact(ann).unwrap().id;
    app.sync().await;
    intercom.set_index_lag(600);
    clock.advance(60);
    intercom.update_contact(&id, json!({"name": "Ann New"})).unwrap();
    let name =
        || app.sandbox.brevo.contact("ann@example.com").unwrap()["attributes"]["LASTNAME"].clone();
    clock.advance(1);
    app.sync_as(SyncKind::Incremental).await;
    assert_eq!(name(), "Old", "search does not show it yet");
    clock.advance(600);
    app.sync_as(SyncKind::Incremental).await;
    assert_eq!(name(), "New");
    let writes = app.sandbox.brevo.writes();
    for _ in 0..3 {
        clock.advance(300);
        app.sync_as(SyncKind::Incremental).await;
    }
    assert_eq!(app.sandbox.brevo.writes(), writes, "the overlap applies nothing twice");
    app.sandbox.intercom.log().clear();
    clock.advance(900);
    app.sync_as(SyncKind::Incremental).await;
    let searches = app.sandbox.intercom.log().count(|call| call.path == "/contacts/search");
    assert_eq!(searches, 1, "what is older than the bound is not read on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_is_killed_goes_on_from_its_last_page() {
    let mut options =
        SandboxOptions { seed: Some(Seed::new(1_500).companies(5)), ..SandboxOptions::default() };
    options.brevo.limits = tajo::sandbox::brevo::Limits::off();
    options.intercom.rate_limit = None;
    options.intercom.latency = Some(std::time::Duration::from_millis(150));
    let deployment = Deployment::start(options, "").await;
    let people = deployment.sandbox.intercom.contacts().len();
    let pages = || {
        deployment
            .sandbox
            .intercom
            .log()
            .count(|call| call.path == "/contacts" && call.status == 200)
    };
    let service = deployment.serve().await;
    until("some pages are stored", async || {
        let status = service.get("connectors/intercom/status").await?;
        (status["sweeps"]["contacts"]["pages"].as_u64()? >= 4).then_some(())
    })
    .await;
    service.kill();
    let before = pages();
    deployment.sandbox.intercom.set_latency(None);
    let service = deployment.serve().await;
    let sweep = until("the full sweep is complete", async || {
        let status = service.get("connectors/intercom/status").await?;
        let sweep = status["sweeps"]["contacts"].clone();
        (status["lastSync"].is_string() && sweep["done"] == true).then_some(sweep)
    })
    .await;
    // The last page before the kill may not have been stored; a look at the front comes on top.
    let needed = people.div_ceil(150);
    assert!(before < needed, "it was killed too late to tell");
    assert!(pages() <= needed + 3, "{} pages were read of {needed}", pages());
    let synced = service.get("connectors/intercom/status").await.unwrap();
    assert_eq!(synced["contactsSynced"], people, "{sweep:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_webhooks_were_refused_a_sweep_begins_at_once() {
    let mut options =
        SandboxOptions { seed: Some(Seed::new(20).companies(2)), ..SandboxOptions::default() };
    options.intercom.rate_limit = None;
    let deployment = Deployment::start(options, "").await;
    let service = deployment.serve().await;
    let sweeps = async || {
        let status = service.get("connectors/intercom/status").await?;
        let is_done = status["lastSync"].is_string() && status["work"] == 0;
        is_done.then(|| status["sweeps"]["contacts"]["sync"].clone())
    };
    let first = until("the first sync is complete", sweeps).await;
    let secret = deployment.sandbox.intercom.client_secret().to_owned();
    let contact = json!({"email": "lost@example.com", "name": "Lost", "role": "user"});
    let changed = deployment.sandbox.intercom.create_contact(contact).unwrap();
    let body = changed.notifications[0].to_string();
    {
        // Somebody else holds the file: nothing can be written.
        let conn = rusqlite::Connection::open(deployment.path("data/tajo.db")).unwrap();
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(!service.deliver(&secret, &body).await, "it was taken while the store was locked");
        conn.execute_batch("ROLLBACK").unwrap();
    }
    until("an incremental sweep has begun by itself and found it", async || {
        let is_another = sweeps().await? != first;
        (is_another && deployment.sandbox.brevo.contact("lost@example.com").is_some()).then_some(())
    })
    .await;
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
