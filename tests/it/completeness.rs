//! A full sweep proves that it saw everything, says so if it did not, and ends what is gone.

use rstest::rstest;
use serde_json::{Value, json};
use tajo::engine::SyncRequest;
use tajo::model::{Clock as _, SystemClock};
use tajo::sandbox::intercom::Failure;
use tajo::sandbox::{SandboxOptions, Seed};
use tajo::store::{Resource, Sync, SyncKind, SyncState};

use crate::support::{App, Deployment, until};

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

/// However a scroll ends before its end, the companies are the same.
#[rstest]
#[case::fails_at_once(0, Failure::Status(500))]
#[case::loses_its_place(1, Failure::LostScroll)]
#[case::has_no_answer(1, Failure::EmptyBody)]
#[case::fails_at_the_edge(1, Failure::BadGateway)]
#[case::is_another_tools(0, Failure::Refusal(400, "scroll_exists"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_scroll_that_breaks_off_or_is_taken_ends_in_the_same_companies(
    #[case] spared: usize,
    #[case] failure: Failure,
) {
    let app = App::builder().with_seed(Seed::new(300).companies(150)).start().await;
    let intercom = &app.sandbox.intercom;
    intercom.fail_after(spared, "GET /companies/scroll", failure, 1);
    let sync = app.request(SyncKind::Full, &[Resource::Companies], None).await;
    let sync = app.ended(&sync).await;
    let companies = &sync.resources[&Resource::Companies];
    assert_eq!(sync.state, SyncState::Done, "{sync:?}");
    assert!(companies.seen > 0 && Some(companies.seen) == companies.expected, "{companies:?}");
    let starts =
        intercom.log().count(|call| call.path == "/companies/scroll" && call.query.is_empty());
    assert_eq!(starts, 1, "one scroll starts in a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_read_counted_and_ended_as_contacts_are() {
    let app = App::builder().start().await;
    let intercom = &app.sandbox.intercom;
    let ann = app.create(old("ann@example.com", "user")).await;
    let mut ids = Vec::new();
    for number in 0..200 {
        ids.push(intercom.create_conversation(&ann, &format!("Question {number}")).unwrap().id);
    }
    // What a sweep has to have seen was changed before it began.
    until("the second is over", async || {
        let newest = intercom.conversations().iter().filter_map(|c| c["updated_at"].as_i64()).max();
        (newest < Some(SystemClock.now().seconds())).then_some(())
    })
    .await;
    let sync = app.sync().await;
    let read = &sync.resources[&Resource::Conversations];
    assert_eq!((read.seen, read.expected, read.done), (200, Some(200), true));
    intercom.log().clear();
    intercom.close_conversation(&ids[7]).unwrap();
    let sync = app.sync_as(SyncKind::Incremental).await;
    let read = &sync.resources[&Resource::Conversations];
    assert!(read.partial && read.seen >= 1, "{read:?}");
    assert_eq!(intercom.log().count(|call| call.path == "/conversations"), 0, "they are searched");
    intercom.delete_conversation(&ids[9]).unwrap();
    app.sync().await;
    app.sync().await;
    let asked = intercom.log().count(|call| call.path == format!("/conversations/{}", ids[9]));
    assert_eq!(asked, 2, "each of two full sweeps asked for what it did not see");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_never_answered_is_made_again() {
    let app = App::builder().with_seed(Seed::new(300).companies(5)).start().await;
    app.sandbox.intercom.hang_next("GET /contacts");
    let sync = app.sync().await;
    let contacts = &sync.resources[&Resource::Contacts];
    assert_eq!(Some(contacts.seen), contacts.expected, "{contacts:?}");
}

/// Sweeps use what they may of the budget and never more: while nobody else calls, nine tenths and
/// more of all windows, and no call is refused.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_backlog_a_sweep_uses_the_budget_and_is_never_refused_for_rate() {
    const LIMIT: usize = 8;
    const WINDOWS: usize = 2;
    let app = App::builder()
        .with_intercom_limit(LIMIT as u32)
        .with_seed(Seed::new(150 * LIMIT * WINDOWS).companies(1).without_long_lists())
        .start()
        .await;
    let sync = app.request(SyncKind::Full, &[Resource::Contacts], None).await;
    let sync = app.ended(&sync).await;
    assert_eq!(sync.state, SyncState::Done, "{sync:?}");
    let calls = app.sandbox.intercom.log().find(|_| true);
    assert!(calls.iter().all(|call| call.status == 200), "a call was refused");
    let end = calls[0].at + std::time::Duration::from_secs(10 * WINDOWS as u64);
    assert!(calls.last().unwrap().at > end, "there was less to do than the windows hold");
    let used = calls.iter().filter(|call| call.at < end).count();
    assert!(used * 10 >= LIMIT * WINDOWS * 9, "{used} of {} calls were made", LIMIT * WINDOWS);
}

/// An Intercom with more companies than it lists by page, in which another tool scrolls until `scrolls`
/// have been asked for; answers when each scroll was begun.
async fn one_with_too_many_companies_to_list(
    companies: usize,
) -> (String, std::sync::Arc<std::sync::Mutex<Vec<tokio::time::Instant>>>) {
    const PAGE: usize = 500;
    let page = move |number: usize| {
        let first = number * PAGE;
        let shown = (first..companies.min(first + PAGE)).map(|company| {
            json!({"type": "company", "id": format!("{company:024x}"), "company_id": company.to_string(),
                "created_at": 1_700_000_000, "updated_at": 1_700_000_000})
        });
        let data: Vec<Value> = shown.collect();
        json!({"type": "list", "data": data, "scroll_param": (number + 1).to_string()})
    };
    let begun = std::sync::Arc::<std::sync::Mutex<Vec<tokio::time::Instant>>>::default();
    let starts = std::sync::Arc::clone(&begun);
    let scroll =
        async move |query: axum::extract::Query<std::collections::HashMap<String, String>>| {
            if let Some(place) = query.get("scroll_param") {
                return (axum::http::StatusCode::OK, axum::Json(page(place.parse().unwrap())));
            }
            let mut starts = starts.lock().unwrap();
            starts.push(tokio::time::Instant::now());
            if starts.len() > 1 {
                return (axum::http::StatusCode::OK, axum::Json(page(0)));
            }
            let error = json!({"type": "error.list", "errors": [{"code": "scroll_exists",
            "message": "scroll already exists for this workspace"}]});
            (axum::http::StatusCode::BAD_REQUEST, axum::Json(error))
        };
    let list = json!({"type": "list", "data": [], "total_count": companies,
        "pages": {"type": "pages", "page": 1, "per_page": 60, "total_pages": companies.div_ceil(60)}});
    let router = axum::Router::new()
        .route("/companies/scroll", axum::routing::get(scroll))
        .route("/companies/list", axum::routing::post(async move || axum::Json(list.clone())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), begun)
}

/// Time is not waited for: it goes on by itself while everybody waits.
#[tokio::test(start_paused = true)]
async fn more_companies_than_are_listed_wait_until_a_scroll_may_begin() {
    const COMPANIES: usize = 10_001;
    let app = App::builder().start().await;
    let (url, begun) = one_with_too_many_companies_to_list(COMPANIES).await;
    let mut config = app.config();
    config.intercom.base_url = url.parse().unwrap();
    app.engine().reconfigure(config).unwrap();
    let sync = app.request(SyncKind::Full, &[Resource::Companies], None).await;
    let sync = app.ended(&sync).await;
    assert_eq!(sync.state, SyncState::Done, "{sync:?}");
    let read = &sync.resources[&Resource::Companies];
    assert_eq!((read.seen, read.expected), (COMPANIES as u64, Some(COMPANIES as u64)));
    let begun = begun.lock().unwrap().clone();
    assert_eq!(begun.len(), 2, "one scroll was refused, and one was read");
    assert!(begun[1] - begun[0] >= std::time::Duration::from_secs(60), "one starts in a minute");
}

/// An Intercom that says that it has three contacts and shows two.
async fn one_that_shows_too_few() -> String {
    let contact = |id: u32| {
        json!({"type": "contact", "id": format!("c{id}"), "role": "user",
            "email": format!("c{id}@example.com"), "updated_at": 1_700_000_000 + id})
    };
    let list = json!({"type": "list", "data": [contact(2), contact(1)], "total_count": 3,
        "pages": {"type": "pages", "page": 1, "per_page": 150, "total_pages": 1}});
    let router = axum::Router::new()
        .route("/contacts", axum::routing::get(async move || axum::Json(list.clone())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_saw_too_few_is_incomplete_and_says_so_everywhere() {
    let deployment = Deployment::start(SandboxOptions::default(), "").await;
    let lying = one_that_shows_too_few().await;
    let yaml = std::fs::read_to_string(deployment.path("config/tajo.yaml")).unwrap();
    let yaml = yaml.replace(&deployment.sandbox.intercom.base_url(), &lying);
    std::fs::write(deployment.path("config/tajo.yaml"), yaml).unwrap();
    let sync = ["connectors", "sync", "intercom", "--type", "full", "--resources", "contacts"];
    let output = deployment.run(&[&sync[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["state"], "incomplete");
    assert_eq!(summary["error"], "contacts: saw 2 of 3");
    assert_eq!(summary["read"]["contacts"], 2);
    let output = deployment.run(&["connectors", "status", "intercom", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["lastSync"], Value::Null, "it is never called success");
    let sweep = &status["sweeps"]["contacts"];
    assert_eq!((&sweep["state"], &sweep["done"]), (&json!("incomplete"), &json!(false)));
    assert_eq!((&sweep["seen"], &sweep["expected"]), (&json!(2), &json!(3)));
    assert_eq!(sweep["lagSeconds"], Value::Null);
    let output = deployment.run(&["connectors", "status", "intercom"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("incomplete") && text.contains("2 of 3 records"), "{text}");
    let reason = "degraded      the last sweep of contacts is incomplete: saw 2 of 3\n";
    assert!(text.contains(reason), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_a_store_whose_last_sync_was_refused_is_degraded_until_one_is_not() {
    let deployment = Deployment::start(SandboxOptions::default(), "").await;
    let (intercom, status) =
        (&deployment.sandbox.intercom, ["connectors", "status", "intercom", "--json"]);
    let sync = ["connectors", "sync", "intercom", "--resources", "tags"];
    assert_eq!(deployment.run(&sync).status.code(), Some(0));
    assert_eq!(deployment.run(&status).status.code(), Some(0));

    intercom.fail_next("/tags", Failure::Status(401), 100);
    assert_eq!(deployment.run(&sync).status.code(), Some(1));
    let output = deployment.run(&status);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let reason = told["degraded"][0].as_str().unwrap();
    assert!(reason.starts_with("the last sweep of tags failed: "), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_turns_off_is_not_read_even_if_it_is_named() {
    let deployment = Deployment::start(SandboxOptions::default(), "").await;
    let file = deployment.path("config/tajo.yaml");
    let yaml = std::fs::read_to_string(&file).unwrap();
    let off = "  intercom:\n    sync: { conversations: false }\n";
    std::fs::write(&file, yaml.replacen("  intercom:\n", off, 1)).unwrap();
    let sync = ["connectors", "sync", "intercom", "--resources"];
    let output = deployment.run(&[&sync[..], &["contacts,conversations"]].concat());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("`connectors.intercom.sync.conversations` is false"), "{told}");
    assert_eq!(deployment.run(&[&sync[..], &["contacts"]].concat()).status.code(), Some(0));
    let reads = |call: &tajo::sandbox::Logged| call.path.starts_with("/conversations");
    assert_eq!(deployment.sandbox.intercom.log().count(reads), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_product_page_works_as_it_stands() {
    let mut options =
        SandboxOptions { seed: Some(Seed::new(60).companies(5)), ..SandboxOptions::default() };
    options.brevo.limits = tajo::sandbox::brevo::Limits::off();
    let deployment = Deployment::start(options, "").await;
    let command = "connectors sync intercom --type full \
                   --resources contacts,conversations,companies --since 2023-01-01";
    let mut arguments: Vec<&str> = command.split_whitespace().collect();
    arguments.push("--json");
    let output = deployment.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["state"], &summary["deadLetters"]), (&json!("done"), &json!(0)));
    let since = 1_672_531_200;
    let recent = |contacts: Vec<Value>| {
        contacts.iter().filter(|contact| contact["updated_at"].as_i64() >= Some(since)).count()
    };
    let intercom = &deployment.sandbox.intercom;
    assert_eq!(summary["read"]["contacts"], recent(intercom.contacts()));
    assert_eq!(summary["read"]["conversations"], recent(intercom.conversations()));
    assert!(summary["read"]["companies"].as_u64() > Some(0), "{summary}");
    let output = deployment.run(&["connectors", "status", "intercom", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["sweeps"]["contacts"]["partial"], true);
    assert_eq!(status["sweeps"]["contacts"]["since"], "2023-01-01T00:00:00Z");
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
