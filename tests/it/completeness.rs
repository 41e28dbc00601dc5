//! A full sweep proves that it saw everything, says so if it did not, and ends what is gone.

use serde_json::{Value, json};
use tajo::engine::SyncRequest;
use tajo::model::{Clock as _, SystemClock};
use tajo::sandbox::Seed;
use tajo::sandbox::intercom::Failure;
use tajo::store::{Resource, Sync, SyncKind, SyncState};

use crate::support::{App, until};

const DAY: i64 = 86_400;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sweep_counts_each_record_once_against_what_there_is() {
    let app = App::builder().with_seed(Seed::new(400).companies(30)).start().await;
    let people = app.sandbox.intercom.contacts().len() as u64;
    let sync = app.sync().await;
    let contacts = &sync.resources[&Resource::Contacts];
    assert_eq!((contacts.seen, contacts.expected), (people, Some(people)));
    assert!(contacts.pages >= 3, "{contacts:?}");
    let companies = &sync.resources[&Resource::Companies];
    assert_eq!(Some(companies.seen), companies.expected, "{companies:?}");
    let sweep = &app.status().await.sweeps[&Resource::Contacts];
    assert_eq!((sweep.kind, sweep.state), (SyncKind::Full, SyncState::Done));
    assert!(sweep.resource.lag_seconds.is_some_and(|lag| lag < 60), "{sweep:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_that_move_while_the_list_is_read_are_found_all_the_same() {
    let app = App::builder().with_seed(Seed::new(700).companies(5)).start().await;
    let intercom = &app.sandbox.intercom;
    intercom.set_latency(Some(std::time::Duration::from_millis(60)));
    let ids: Vec<String> = intercom
        .contacts()
        .iter()
        .rev()
        .step_by(7)
        .map(|contact| contact["id"].as_str().unwrap().to_owned())
        .collect();
    let sync = app.request(SyncKind::Full, &[Resource::Contacts], None).await;
    until("the first page is stored", async || {
        let sync = app.engine().sync(&sync.id).await.unwrap()?;
        (sync.resources[&Resource::Contacts].pages > 0).then_some(())
    })
    .await;
    // They were at the end of the list, and are at its front before the sweep comes there.
    for id in &ids {
        intercom.update_contact(id, json!({"name": "Moved Meanwhile"})).unwrap();
    }
    let fresh = intercom.create_contact(json!({"email": "fresh@example.com", "role": "user"}));
    assert!(fresh.is_ok());
    let sync = app.ended(&sync).await;
    assert_eq!(sync.state, SyncState::Done, "{sync:?}");
    let people = intercom.contacts().len() as u64;
    assert_eq!(sync.resources[&Resource::Contacts].seen, people);
    app.drained().await;
    assert_eq!(app.status().await.contacts_synced, people);
    assert!(app.sandbox.brevo.contact("fresh@example.com").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_full_sweeps_and_a_read_do_not_find_is_gone() {
    let app = App::builder().with_seed(Seed::new(200).companies(5)).start().await;
    let gone = app.create(old("gone@example.com", "user")).await;
    let kept = app.create(old("kept@example.com", "user")).await;
    app.sync().await;
    // Nobody tells of it.
    app.sandbox.intercom.delete(&gone).unwrap();
    app.sync_as(SyncKind::Incremental).await;
    app.sync().await;
    assert!(app.sandbox.brevo.contact("gone@example.com").is_some(), "one sweep proves nothing");
    app.sync_as(SyncKind::Incremental).await;
    app.sync().await;
    assert_eq!(app.sandbox.brevo.contact("gone@example.com"), None);
    assert!(app.sandbox.brevo.contact("kept@example.com").is_some(), "{kept}");
    let asked = app.sandbox.intercom.log().count(|call| call.path == format!("/contacts/{gone}"));
    assert!(asked >= 2, "asked {asked} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_sweep_or_one_from_a_date_on_counts_for_no_deletion() {
    let app = App::builder().start().await;
    let gone = app.create(old("gone@example.com", "user")).await;
    app.create(old("kept@example.com", "user")).await;
    app.sync().await;
    app.sandbox.intercom.delete(&gone).unwrap();
    app.sync().await;
    let since = app.engine().now().plus(-2 * DAY);
    let bounded = app.request(SyncKind::Full, &[Resource::Contacts], Some(since)).await;
    let bounded = app.ended(&bounded).await;
    let contacts = &bounded.resources[&Resource::Contacts];
    assert_eq!((bounded.state, contacts.partial), (SyncState::Done, true));
    assert_eq!((contacts.seen, contacts.expected), (1, None));
    app.sandbox.intercom.fail_next("GET /contacts", Failure::Status(403), 100);
    let refused = app.request(SyncKind::Full, &[Resource::Contacts], None).await;
    assert_ne!(app.ended(&refused).await.state, SyncState::Done);
    app.sandbox.intercom.forgive();
    app.drained().await;
    assert!(app.sandbox.brevo.contact("gone@example.com").is_some());
    app.sync().await;
    assert_eq!(app.sandbox.brevo.contact("gone@example.com"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_nobody_told_of_releases_the_one_that_is_gone() {
    let app = App::builder().start().await;
    let lead = app.create(old("ann@example.com", "lead")).await;
    let user = app.create(json!({"external_id": "7", "role": "user"})).await;
    app.sync().await;
    app.sandbox.intercom.merge(&lead, &user).unwrap();
    app.sandbox
        .intercom
        .update_contact(&user, json!({"email": "ann@example.com", "name": "Ann"}))
        .unwrap();
    app.sync().await;
    app.sync().await;
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["attributes"]["FIRSTNAME"], "Ann");
    assert_eq!(held["listIds"], json!([35]), "the user's list, and no longer the lead's");
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_archived_stays_so_however_many_sweeps_do_not_see_it() {
    let app = App::builder().start().await;
    let id = app.create(old("ann@example.com", "user")).await;
    app.create(old("bob@example.com", "user")).await;
    app.sync().await;
    app.fire(app.sandbox.intercom.archive(&id).unwrap()).await;
    for _ in 0..3 {
        app.sync().await;
    }
    let held = app.sandbox.brevo.contact("ann@example.com").unwrap();
    assert_eq!(held["listIds"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scroll_that_breaks_off_or_is_taken_ends_in_the_same_companies() {
    let calm = App::builder().with_seed(Seed::new(300).companies(150)).start().await;
    let expected = calm.sync().await.resources[&Resource::Companies].seen;
    for failure in [Failure::Status(500), Failure::Hang, Failure::EmptyBody, Failure::BadGateway] {
        let app = App::builder().with_seed(Seed::new(300).companies(150)).start().await;
        let matcher = if failure == Failure::Hang { "GET /tags" } else { "GET /companies/scroll" };
        app.sandbox.intercom.fail_next(matcher, failure, usize::from(failure != Failure::Hang));
        let sync = app.sync().await;
        let companies = &sync.resources[&Resource::Companies];
        assert_eq!((companies.seen, companies.expected), (expected, Some(expected)), "{failure:?}");
    }
}

/// Faults of every kind on the way cost time, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_with_faults_ends_as_one_without() {
    let seed = || Seed::new(500).companies(120);
    let calm = App::builder().with_seed(seed()).start().await;
    calm.sync().await;

    let app = App::builder().with_seed(seed()).start().await;
    let intercom = &app.sandbox.intercom;
    intercom.fail_next("GET /contacts", Failure::RateLimited { retry_after: None }, 1);
    intercom.fail_next("GET /contacts", Failure::Status(500), 1);
    intercom.fail_next("GET /contacts", Failure::EmptyBody, 1);
    intercom.fail_next("POST /companies/list", Failure::BadGateway, 1);
    intercom.fail_next("GET /companies/scroll", Failure::Status(500), 1);
    intercom.fail_next("GET /tags", Failure::Status(503), 1);
    let sync = app.request(SyncKind::Full, &[], None).await;
    let sync = app.ended(&sync).await;
    assert_eq!(sync.state, SyncState::Done, "{sync:?}");
    app.drained().await;
    app.sync().await;
    let known = |app: &App| {
        let mut state = app.sandbox.brevo.snapshot();
        for contact in state.as_object_mut().unwrap().values_mut() {
            contact["attributes"].as_object_mut().unwrap().remove("SMS");
        }
        state
    };
    assert_eq!(known(&app), known(&calm));
    let figures = async |app: &App| {
        let status = app.status().await;
        (status.contacts_synced, status.companies_synced)
    };
    assert_eq!(figures(&app).await, figures(&calm).await);
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_never_answered_is_made_again() {
    let app = App::builder().with_seed(Seed::new(300).companies(5)).start().await;
    app.sandbox.intercom.hang_next("GET /contacts");
    let sync = app.sync().await;
    let contacts = &sync.resources[&Resource::Contacts];
    assert_eq!(Some(contacts.seen), contacts.expected, "{contacts:?}");
}

/// Sweeps use what they may of the budget and never more.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_the_budget_bounds_is_never_refused_for_rate() {
    let app = App::builder()
        .with_intercom_limit(8)
        .with_seed(Seed::new(1_200).companies(20))
        .start()
        .await;
    let sync = app.request(SyncKind::Full, &[], None).await;
    let sync = app.ended(&sync).await;
    assert_eq!(sync.state, SyncState::Done, "{sync:?}");
    let refused = app.sandbox.intercom.log().count(|call| call.status == 429);
    assert_eq!(refused, 0);
}

/// A contact that was last changed yesterday: a sweep that begins now has to see it.
fn old(email: &str, role: &str) -> Value {
    let yesterday = SystemClock.now().seconds() - DAY;
    json!({"email": email, "role": role, "created_at": yesterday, "updated_at": yesterday})
}

impl App {
    /// Asks for a sync.
    async fn request(
        &self,
        kind: SyncKind,
        resources: &[Resource],
        since: Option<tajo::model::Timestamp>,
    ) -> Sync {
        let request = SyncRequest { kind, resources: resources.to_vec(), since };
        self.engine().request_sync(request).await.unwrap()
    }

    /// Waits until a sync is over.
    async fn ended(&self, sync: &Sync) -> Sync {
        until("the sync is over", async || {
            self.engine().sync(&sync.id).await.unwrap().filter(|sync| sync.state.is_over())
        })
        .await
    }
}
