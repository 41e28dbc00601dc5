//! All that can go wrong, in one run: both services refuse, fail, hang and lose answers, the scroll over
//! companies breaks off, lists change while they are read, imports fail or are late, and search shows
//! what was true a while ago. It costs time, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use tajo::model::{Clock as _, SystemClock, Timestamp};
use tajo::sandbox::Seed;
use tajo::sandbox::brevo::Limits;
use tajo::sandbox::intercom::Failure;
use tajo::store::SyncKind;

use crate::faults::{assert_same, decided_state};
use crate::support::{App, until};

/// A call that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How far behind search is, in seconds.
const LAG: i64 = 4;

/// The default rules, and everybody linked to all of his companies.
const LINKS: &str = "    for company in contact.companies { brevo.link_company(company.id); }\n";

/// The order in which faults come.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

async fn start(as_of: Timestamp) -> App {
    let rules = include_str!("../../scripts/mapping.rhai");
    let place = "    // Opt-outs need no rule";
    assert!(rules.contains(place), "the default rules have changed");
    let rules = rules.replacen(place, &format!("{LINKS}{place}"), 1);
    let app = App::builder()
        .with_seed(Seed::new(420).companies(120).with_conversations().as_of(as_of))
        .with_script("mapping.rhai", &rules)
        .with_timeout(TIMEOUT)
        .without_guard()
        .start()
        .await;
    // Refusals name the limits that there are.
    let limits = Limits { contacts_per_second: Some(60), ..Limits::off() };
    app.sandbox.brevo.set_limits(limits);
    app
}

/// Faults of Intercom while everything is read.
fn inject_into_intercom(app: &App, chance: &mut Chance) {
    let intercom = &app.sandbox.intercom;
    let mut of_contacts = [
        Failure::RateLimited { retry_after: None },
        Failure::RateLimited { retry_after: Some(Duration::from_secs(1)) },
        Failure::Status(500),
        Failure::EmptyBody,
        Failure::BadGateway,
        Failure::Hang,
    ];
    chance.shuffle(&mut of_contacts);
    for (place, failure) in of_contacts.into_iter().enumerate() {
        // No call fails so often that it is given up.
        let spared = usize::from(place % 2 == 0) + chance.below(2);
        intercom.fail_after(spared, "GET /contacts", failure, 1);
    }
    let mut of_conversations = [Failure::Status(500), Failure::Hang];
    chance.shuffle(&mut of_conversations);
    for failure in of_conversations {
        intercom.fail_next("GET /conversations", failure, 1);
    }
    let scroll = [Failure::LostScroll, Failure::Status(500), Failure::Status(404), Failure::Hang];
    let after = 1 + chance.below(2);
    intercom.fail_after(after, "GET /companies/scroll", scroll[chance.below(scroll.len())], 1);
    intercom.fail_next("POST /companies/list", Failure::BadGateway, 1);
    intercom.fail_next("GET /tags", Failure::Status(503), 1);
    intercom.drift_while_paging(5);
}

/// Faults of Brevo while everything is written.
fn inject_into_brevo(app: &App, chance: &mut Chance) {
    let brevo = &app.sandbox.brevo;
    let fail = |call: &'static str, status: u16, times: usize| {
        brevo.fail_next(call, status, Value::Null, times);
    };
    let mut faults: Vec<Box<dyn Fn() + '_>> = vec![
        Box::new(|| fail("GET /v3/contacts", 429, 1)),
        Box::new(|| brevo.hang_next("GET /v3/contacts", 1)),
        Box::new(|| brevo.reset_next("GET /v3/contacts", 1)),
        Box::new(|| fail("GET /v3/processes/*", 500, 1)),
        Box::new(|| brevo.hang_next("GET /v3/processes/*", 1)),
        Box::new(|| fail("POST /v3/contacts", 503, 2)),
        Box::new(|| brevo.hang_after_commit_next("POST /v3/contacts", 1)),
        Box::new(|| fail("PUT /v3/contacts/*", 425, 2)),
        Box::new(|| brevo.hang_next("PUT /v3/contacts/*", 1)),
        Box::new(|| fail("POST /v3/contacts/lists/*", 500, 1)),
        Box::new(|| fail("POST /v3/companies/import", 500, 1)),
        Box::new(|| brevo.reset_after_commit_next("POST /v3/companies/import", 1)),
    ];
    chance.shuffle(&mut faults);
    for fault in &faults {
        fault();
    }
    // Two imports have no answer, whatever became of them, and the third one fails.
    let mut imports: Vec<Box<dyn Fn() + '_>> = vec![
        Box::new(|| {
            brevo.hang_after_commit_next("POST /v3/contacts/import", 1);
            brevo.late_import_next(Duration::from_secs(3));
        }),
        Box::new(|| {
            brevo.reset_after_commit_next("POST /v3/contacts/import", 1);
            let people = app.sandbox.intercom.contacts();
            let emails = people.iter().filter_map(|person| person["email"].as_str());
            brevo.drop_rows_next(&emails.step_by(11).collect::<Vec<_>>());
        }),
    ];
    chance.shuffle(&mut imports);
    fail("POST /v3/contacts/import", 429, 1);
    for fault in &imports {
        fault();
    }
    brevo.import_fails_next();
}

/// Faults of an incremental sweep.
fn inject_into_search(app: &App, chance: &mut Chance) {
    let intercom = &app.sandbox.intercom;
    let mut failures =
        [Failure::Status(500), Failure::Hang, Failure::RateLimited { retry_after: None }];
    chance.shuffle(&mut failures);
    for failure in &failures[..2] {
        intercom.fail_next("POST /contacts/search", *failure, 1);
    }
    intercom.fail_next("POST /conversations/search", failures[2], 1);
    app.sandbox.brevo.fail_next("PUT /v3/contacts/*", 500, Value::Null, 1);
}

/// What happens in Intercom after it was read as a whole. Nobody tells of it.
fn change(app: &App, as_of: Timestamp) {
    let intercom = &app.sandbox.intercom;
    let at = |second: usize| as_of.seconds() + 60 + i64::try_from(second).unwrap();
    let mut ids: Vec<String> = ids_of(&intercom.contacts());
    ids.sort();
    for (place, id) in ids.iter().step_by(40).enumerate() {
        let patch = match place % 3 {
            0 => json!({"name": format!("Renamed {place}"), "updated_at": at(place)}),
            1 => json!({"unsubscribed_from_emails": true, "updated_at": at(place)}),
            _ => json!({"custom_attributes": {"plan_tier": "pro"}, "updated_at": at(place)}),
        };
        intercom.update_contact(id, patch).unwrap();
    }
    let mut open: Vec<Value> = intercom.conversations();
    open.retain(|conversation| conversation["state"] == "open");
    let mut open = ids_of(&open);
    open.sort();
    assert!(open.len() > 10, "too few conversations are open");
    for id in &open[..10] {
        intercom.close_conversation(id).unwrap();
    }
    for id in ids_of(&intercom.companies()).iter().step_by(30) {
        let patch = json!({"name": format!("Renamed {id}"), "updated_at": at(0)});
        intercom.update_company(id, &patch).unwrap();
    }
}

fn ids_of(objects: &[Value]) -> Vec<String> {
    objects.iter().map(|object| object["id"].as_str().unwrap().to_owned()).collect()
}

/// Lets happen in the workspace of `app` what happened in that of `other` while it was read.
fn follow(app: &App, other: &App) {
    let (own, theirs) = (&app.sandbox.intercom, &other.sandbox.intercom);
    let mut moved = 0;
    for contact in theirs.contacts() {
        let id = contact["id"].as_str().unwrap();
        if own.contact(id).unwrap()["updated_at"] == contact["updated_at"] {
            continue;
        }
        moved += 1;
        let patch = json!({
            "last_contacted_at": contact["last_contacted_at"], "updated_at": contact["updated_at"],
        });
        own.update_contact(id, patch).unwrap();
        assert_eq!(own.contact(id).unwrap(), contact);
    }
    assert!(moved > 0, "nothing moved while it was read");
    for conversation in theirs.conversations() {
        if conversation["read"] == true {
            own.read_conversation(conversation["id"].as_str().unwrap()).unwrap();
        }
    }
}

/// All records that the engine keeps, by kind and id.
fn records(app: &App) -> BTreeMap<(String, String), Value> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = rusqlite::Connection::open_with_flags(app.store_path(), flags).unwrap();
    let mut rows = conn.prepare("SELECT kind, id, liveness, body FROM records").unwrap();
    let rows = rows.query_map([], |row| {
        let key: (String, String) = (row.get(0)?, row.get(1)?);
        Ok((key, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
    });
    let rows = rows.unwrap().map(|row| {
        let (key, liveness, body) = row.unwrap();
        let mut body: Value = serde_json::from_str(&body).unwrap();
        if key.0 == "conversation" {
            // When it was read or closed is the one thing that two runs cannot have in common.
            let body = body.as_object_mut().unwrap();
            body.retain(|name, _| !matches!(name.as_str(), "updated_at" | "statistics"));
        }
        (key, json!({"liveness": liveness, "body": body}))
    });
    rows.collect()
}

/// The companies in Brevo by their ids in Intercom, each with its people.
fn companies(app: &App) -> BTreeMap<String, Value> {
    let brevo = &app.sandbox.brevo;
    let all = brevo.companies();
    let count = all.len();
    let shown = all.into_iter().map(|company| {
        let linked = company["linkedContactsIds"].as_array().unwrap().iter();
        let contact = |id: &Value| brevo.contact_by_id(id.as_i64().unwrap()).unwrap();
        let mut people: Vec<Value> = linked.map(|id| contact(id)["email"].clone()).collect();
        people.sort_by_key(Value::to_string);
        let mut attributes = company["attributes"].as_object().unwrap().clone();
        // When Brevo made and changed it is each run's own.
        attributes.retain(|name, _| !matches!(name.as_str(), "created_at" | "last_updated_at"));
        let id = attributes["intercom_company_id"].as_str().unwrap().to_owned();
        (id, json!({"attributes": attributes, "people": people}))
    });
    let shown: BTreeMap<String, Value> = shown.collect();
    assert_eq!(shown.len(), count, "a company has a twin");
    shown
}

/// What was told as an event, in alphabetical order; the times are each run's own.
fn told(app: &App) -> Vec<String> {
    let events = app.sandbox.brevo.events();
    let mut told: Vec<String> = events
        .iter()
        .map(|event| format!("{} {}", event["event_name"], event["identifiers"]["email_id"]))
        .collect();
    told.sort();
    told
}

async fn figures(app: &App) -> [u64; 4] {
    let status = app.status().await;
    assert_eq!(status.records.pending, 0);
    let letters = app.engine().dead_letters(9).await.unwrap();
    assert!(letters.is_empty(), "{letters:?}");
    let synced = [status.contacts_synced, status.conversations_synced, status.companies_synced];
    [synced[0], synced[1], synced[2], status.dead_letters]
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_all_faults_at_once_ends_as_one_without(#[values(1, 2)] order: u64) {
    let as_of = SystemClock.now();
    let mut chance = Chance(order);
    let app = start(as_of).await;
    let intercom = &app.sandbox.intercom;
    inject_into_intercom(&app, &mut chance);
    inject_into_brevo(&app, &mut chance);
    app.sync().await;
    assert_eq!(intercom.failures_left(), 0, "a fault of intercom was not met");
    // Which single calls are made depends on what the faults before them did.
    let left = app.sandbox.brevo.failures_left();
    assert!(left <= 8, "{left} faults of brevo were not met");
    intercom.drift_while_paging(0);

    let calm = start(as_of).await;
    follow(&calm, &app);
    calm.sync().await;

    intercom.set_index_lag(LAG);
    change(&app, as_of);
    let changed_at = SystemClock.now();
    inject_into_search(&app, &mut chance);
    app.sync_as(SyncKind::Incremental).await;
    assert_eq!(intercom.failures_left(), 0, "a fault of search was not met");
    until("search shows the change", async || {
        (SystemClock.now() > changed_at.plus(LAG)).then_some(())
    })
    .await;
    app.sync_as(SyncKind::Incremental).await;

    change(&calm, as_of);
    calm.sync_as(SyncKind::Incremental).await;

    let (ours, theirs) = (records(&app), records(&calm));
    for (key, record) in &theirs {
        assert_eq!(ours.get(key), Some(record), "{key:?}");
    }
    assert_eq!(ours.len(), theirs.len());
    assert_same(&decided_state(&app), &decided_state(&calm));
    assert_eq!(companies(&app), companies(&calm));
    assert_eq!(told(&app), told(&calm));
    assert_eq!(figures(&app).await, figures(&calm).await);
    app.assert_consent_kept();
}
