//! Events that rules track reach Brevo: each once, behind the contact's own write, in order.

use std::time::Duration;

use serde_json::{Value, json};
use tajo::sandbox::brevo::{BadEvent, Limits, Quirks};
use tajo::sandbox::{SandboxOptions, Seed};
use tajo::store::{DeadLetterQuery, SyncKind};

use crate::support::{App, Deployment, Service, until};

/// Two events for each contact that is not skipped.
const TRACKS: &str = r#"
fn map_contact(contact, brevo) {
    if contact.email == () { return brevo.skip("no e-mail address"); }
    brevo.email = contact.email;
    brevo.FIRSTNAME = contact.name;
    brevo.track("signed up", #{ plan: "pro", name: contact.name });
    brevo.track("seen", #{}, contact.last_seen_at);
}
"#;

/// One event for each contact.
const TRACKS_ONE: &str = r#"
fn map_contact(contact, brevo) {
    brevo.email = contact.email;
    brevo.FIRSTNAME = contact.name;
    brevo.track("known", #{ name: contact.name });
}
"#;

fn person(name: &str) -> Value {
    json!({"email": format!("{name}@example.com"), "name": name, "role": "user"})
}

/// Name, and of the property `name` the value, of what Brevo has.
fn told(app: &App) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = app.sandbox.brevo.events();
    events
        .iter()
        .map(|event| (text(&event["event_name"]), text(&event["event_properties"]["name"])))
        .collect()
}

fn batches(app: &App) -> usize {
    app.sandbox.brevo.log().count(|call| call.is("POST", "/v3/events"))
}

/// Replaces the rules and waits until everybody was derived by them.
async fn rule(app: &App, text: &str) {
    let before = app.status().await;
    std::fs::write(app.script("mapping.rhai"), text).unwrap();
    until("the new rules are live and applied", async || {
        let status = app.status().await;
        let is_derived = status.rederived >= before.rederived + status.contacts_synced;
        (status.rules.version != before.rules.version && is_derived).then_some(())
    })
    .await;
    app.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_sent_once_whatever_comes_again() {
    let mut app = App::builder().with_script("mapping.rhai", TRACKS).start().await;
    let mut ann = person("ann");
    ann["last_seen_at"] = json!(1_768_019_995);
    let changed = app.sandbox.intercom.create_contact(ann).unwrap();
    let id = changed.id.clone();
    let notification = changed.notifications[0].to_string();
    app.deliver(notification.as_bytes()).await;
    app.drained().await;
    let events = app.sandbox.brevo.events();
    let names: Vec<&Value> = events.iter().map(|event| &event["event_name"]).collect();
    assert_eq!(names, ["signed_up", "seen"]);
    assert_eq!(events[1]["event_date"], "2026-01-10T04:39:55.000Z");
    assert!(events[0]["event_date"].as_str().unwrap().ends_with('Z'), "{events:?}");
    let contact = app.sandbox.brevo.contact("ann@example.com").unwrap();
    for event in &events {
        assert_eq!(
            event["identifiers"],
            json!({"contact_id": contact["id"], "email_id": "ann@example.com"})
        );
        assert_eq!(event["event_properties"]["event_id"].as_str().unwrap().len(), 32);
    }
    assert_ne!(
        events[0]["event_properties"]["event_id"],
        events[1]["event_properties"]["event_id"]
    );

    // The same notification, another state of the contact, a restart, and a sweep.
    app.deliver(notification.as_bytes()).await;
    let patch = json!({"name": "Anna"});
    app.fire(app.sandbox.intercom.update_contact(&id, patch).unwrap()).await;
    app.stop_engine().await;
    app.start_engine().await;
    app.sync().await;
    assert_eq!(app.sandbox.brevo.events(), events);
    // Another time is another event.
    let patch = json!({"last_seen_at": 1_900_000_000});
    app.fire(app.sandbox.intercom.update_contact(&id, patch).unwrap()).await;
    assert_eq!(app.sandbox.brevo.events().len(), 3);
    let status = app.status().await;
    assert_eq!((status.events.counts.sent, status.events.counts.due), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_follows_its_contact_and_its_elders() {
    let app = App::builder().with_script("mapping.rhai", TRACKS).start().await;
    let brevo = &app.sandbox.brevo;
    brevo.fail_next("POST /v3/contacts", 500, Value::Null, 2);
    brevo.fail_next("POST /v3/events/batch", 429, Value::Null, 1);
    let mut ann = person("ann");
    ann["last_seen_at"] = json!(1_768_019_995);
    app.create(ann).await;
    let log = brevo.log();
    let sequence = |path: &str| {
        log.find(|call| call.method == "POST" && call.path == path && call.status < 300)
    };
    let (contact, events) = (sequence("/v3/contacts"), sequence("/v3/events/batch"));
    assert!(contact[0].sequence < events[0].sequence);
    assert_eq!(told(&app), [("signed_up".into(), "ann".into()), ("seen".into(), String::new())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_skipped_or_refused_has_no_events() {
    let app = App::builder().with_script("mapping.rhai", TRACKS).start().await;
    app.create(json!({"external_id": "x", "role": "user", "name": "No Address"})).await;
    app.sandbox.brevo.fail_next("POST /v3/contacts", 400, Value::Null, 1);
    app.create(person("ann")).await;
    assert_eq!(told(&app), []);
    assert_eq!(app.status().await.dead_letters, 1);
    // Once it is written, its event follows.
    app.engine().retry_dead_letters(DeadLetterQuery::All).await.unwrap();
    app.drained().await;
    assert_eq!(told(&app), [("signed_up".into(), "ann".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_rules_send_nothing_of_what_was_true_before_them() {
    let app = App::builder().with_script("mapping.rhai", TRACKS_ONE).start().await;
    let id = app.create(person("ann")).await;
    let more = TRACKS_ONE.replace(
        "brevo.track(",
        "brevo.track(\"new\", #{});\n    if contact.name == \"Anna\" { brevo.track(\"renamed\", #{}); }\n    \
         brevo.track(\"old\", #{}, 1768019995);\n    brevo.track(",
    );
    rule(&app, &more).await;
    assert_eq!(told(&app), [("known".into(), "ann".into())]);
    assert_eq!(app.status().await.events.counts.known, 2);
    // What becomes true under the new rules is sent.
    let patch = json!({"name": "Anna"});
    app.fire(app.sandbox.intercom.update_contact(&id, patch).unwrap()).await;
    assert_eq!(told(&app)[1..], [("renamed".into(), String::new())]);
    // So is everything of somebody whom the old rules never saw.
    app.create(person("bob")).await;
    assert_eq!(told(&app).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_time_brings_about_is_sent() {
    let rule = "fn map_contact(contact, brevo) {\n    brevo.email = contact.email;\n    \
                if older_than(contact.last_seen_at, \"30d\") { brevo.track(\"inactive\", #{}); }\n}\n";
    let app = App::builder().with_script("mapping.rhai", rule).start().await;
    app.sync().await;
    let seen = app.engine().now().seconds() - 30 * 86_400 + 3;
    let mut ann = person("ann");
    ann["last_seen_at"] = json!(seen);
    // Known since before the first sync, by its own account.
    ann["updated_at"] = json!(seen);
    app.sandbox.intercom.create_contact(ann).unwrap();
    app.sync().await;
    assert_eq!(told(&app), []);
    until("the answer has flipped", async || (!told(&app).is_empty()).then_some(())).await;
    app.drained().await;
    assert_eq!(told(&app), [("inactive".into(), String::new())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_before_the_first_sync_is_sent_only_if_somebody_wants_it() {
    let app = App::builder()
        .with_seed(Seed::new(40).companies(0))
        .with_script("mapping.rhai", TRACKS_ONE)
        .start()
        .await;
    app.sync().await;
    assert_eq!(app.sandbox.brevo.events(), Vec::<Value>::new());
    let known = app.status().await.events.counts.known;
    assert!(known > 20, "{known}");
    app.sync().await;
    app.create(person("ann")).await;
    assert_eq!(told(&app), [("known".into(), "ann".into())]);

    let request =
        tajo::engine::SyncRequest { kind: SyncKind::Full, resources: Vec::new(), since: None };
    app.engine().request_backfill(request).await.unwrap();
    app.drained().await;
    let counts = app.status().await.events.counts;
    assert_eq!((counts.sent, counts.known, counts.due), (known + 1, 0, 0));
    let mut ids: Vec<Value> = app
        .sandbox
        .brevo
        .events()
        .into_iter()
        .map(|event| event["event_properties"]["event_id"].clone())
        .collect();
    ids.sort_by_key(ToString::to_string);
    ids.dedup();
    assert_eq!(ids.len() as u64, known + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_events_cost_half_a_dozen_calls() {
    let app = App::builder()
        .with_seed(Seed::new(1_000).companies(0))
        .with_script("mapping.rhai", TRACKS_ONE)
        .with_setting("intercom", "backfill_events: true")
        .with_real_limits()
        .start()
        .await;
    app.sync().await;
    let counts = app.status().await.events.counts;
    assert_eq!(counts.sent, app.sandbox.brevo.events().len() as u64);
    assert!(counts.sent > 900, "{counts:?}");
    let calls = batches(&app);
    assert!(calls <= 8, "{calls} calls for {} events", counts.sent);
}

/// So large that Brevo refuses the event because of the id that goes along.
const TOO_BIG: usize = 51_170;

/// Rules by which somebody has a big event before the one that all have.
fn big_event(size: usize) -> String {
    TRACKS_ONE.replace(
        "brevo.track(",
        &format!(
            "if contact.name == \"big\" {{ let text = \"x\"; text.pad({size}, \"x\");\n        \
             brevo.track(\"big\", #{{ text: text }}); }}\n    brevo.track("
        ),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_brevo_refuses_costs_no_other_and_can_be_retried() {
    let app = App::builder().with_script("mapping.rhai", &big_event(TOO_BIG)).start().await;
    app.create(person("big")).await;
    app.create(person("ann")).await;
    assert_eq!(told(&app), [("known".into(), "big".into()), ("known".into(), "ann".into())]);
    let letters = app.engine().dead_letters(10).await.unwrap();
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.kind.as_str(), letter.inputs), ("event", 0));
    assert!(letter.message.contains("event `big` of contact"), "{letter:?}");
    assert!(letter.message.ends_with("brevo refuses the event: event_properties exceeds 50 KB"));
    assert!(letter.origin.as_deref().unwrap().starts_with("scripts/mapping.rhai:6:"), "{letter:?}");
    let counts = app.status().await.events.counts;
    assert_eq!((counts.sent, counts.dead), (2, 1));
    // A retry by itself helps nothing; with rules that say less it does.
    app.engine().retry_dead_letters(DeadLetterQuery::All).await.unwrap();
    app.drained().await;
    assert_eq!(app.status().await.events.counts.dead, 1);
    rule(&app, &big_event(100)).await;
    app.engine().retry_dead_letters(DeadLetterQuery::All).await.unwrap();
    app.drained().await;
    assert_eq!(told(&app)[2..], [("big".into(), String::new())]);
    assert_eq!(app.status().await.dead_letters, 0);
}

/// Twelve events in one batch, one of which does this to it; all others arrive.
async fn one_bad_event(bad_event: BadEvent) {
    let app = App::builder()
        .with_script("mapping.rhai", &big_event(TOO_BIG))
        .with_setting("intercom", "backfill_events: true")
        .start()
        .await;
    app.sandbox.brevo.set_quirks(Quirks { bad_event, ..Quirks::default() });
    for name in ["a", "b", "c", "d", "big", "e", "f", "g", "h", "i", "j"] {
        app.sandbox.intercom.create_contact(person(name)).unwrap();
    }
    let request =
        tajo::engine::SyncRequest { kind: SyncKind::Full, resources: Vec::new(), since: None };
    app.engine().request_sync(request).await.unwrap();
    until("all others are sent", async || {
        (app.status().await.events.counts.sent >= 10).then_some(())
    })
    .await;
    let names: std::collections::BTreeSet<_> = told(&app).into_iter().collect();
    assert_eq!(names.len(), told(&app).len());
    if bad_event == BadEvent::SpoilsTheBatch {
        app.drained().await;
        let counts = app.status().await.events.counts;
        assert_eq!((counts.sent, counts.dead), (11, 1));
    } else {
        // Whoever comes after it waits with it.
        assert!(!names.iter().any(|(_, name)| name == "big"), "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_refused_as_a_whole_is_halved_until_the_culprit_is_found() {
    one_bad_event(BadEvent::SpoilsTheBatch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_brevo_cannot_digest_holds_up_its_own_contact_only() {
    one_bad_event(BadEvent::BreaksTheCall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_answer_was_lost_is_looked_for_before_it_is_sent_again() {
    let app = App::builder().with_script("mapping.rhai", TRACKS_ONE).start().await;
    let brevo = &app.sandbox.brevo;
    brevo.reset_after_commit_next("POST /v3/events/batch", 1);
    app.create(person("ann")).await;
    brevo.reset_next("POST /v3/events/batch", 1);
    app.create(person("bob")).await;
    brevo.fail_next("POST /v3/events/batch", 503, Value::Null, 2);
    app.create(person("cleo")).await;
    let names: Vec<String> = told(&app).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["ann", "bob", "cleo"]);
    assert_eq!(app.status().await.events.counts.sent, 3);
    assert!(brevo.log().count(|call| call.is("GET", "/v3/events")) >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_brevo_lists_late_is_not_sent_again_and_what_comes_after_it_waits() {
    let seconds = Duration::from_secs;
    let app = App::builder()
        .with_script("mapping.rhai", TRACKS)
        .with_event_looks([seconds(1), seconds(5), seconds(25)])
        .start()
        .await;
    let brevo = &app.sandbox.brevo;
    brevo.list_events_late(true);
    brevo.reset_after_commit_next("POST /v3/events/batch", 1);
    let changed = app.sandbox.intercom.create_contact(person("ann")).unwrap();
    app.deliver(changed.notifications[0].to_string().as_bytes()).await;
    until("brevo was asked twice", async || {
        (brevo.log().count(|call| call.is("GET", "/v3/events")) >= 2).then_some(())
    })
    .await;
    // A later event of the same contact waits, that of another does not.
    let seen = json!({"last_seen_at": 1_900_000_000});
    let again = app.sandbox.intercom.update_contact(&changed.id, seen).unwrap();
    app.deliver(again.notifications[0].to_string().as_bytes()).await;
    app.create_without_waiting(person("bob")).await;
    let expected = ["ann", "bob"].map(|name| ("signed_up".to_owned(), name.to_owned()));
    until("only the event of the other contact came", async || {
        let due = app.status().await.events.counts.due;
        (due == 2 && told(&app) == expected).then_some(())
    })
    .await;
    brevo.list_events_late(false);
    app.drained().await;
    let names: Vec<String> = told(&app).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["signed_up", "signed_up", "seen"]);
    assert_eq!(app.status().await.events.counts.sent, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_brevo_cannot_be_asked_a_lost_answer_is_a_dead_letter_and_a_failure_is_not() {
    let app = App::builder().with_script("mapping.rhai", TRACKS_ONE).start().await;
    let brevo = &app.sandbox.brevo;
    brevo.fail_next("GET /v3/events", 405, Value::Null, 1_000);
    brevo.reset_after_commit_next("POST /v3/events/batch", 1);
    app.create(person("ann")).await;
    brevo.fail_next("POST /v3/events/batch", 500, Value::Null, 1);
    app.create(person("bob")).await;
    let names: Vec<String> = told(&app).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["ann", "bob"]);
    let letters = app.engine().dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].message.contains("answer to this event was lost"), "{letters:?}");
    assert!(letters[0].message.contains("`tajo dead-letters retry`"), "{letters:?}");
    assert_eq!(letters[0].attempts, 1);
    app.engine().drop_dead_letters(DeadLetterQuery::All).await.unwrap();
    let counts = app.status().await.events.counts;
    assert_eq!((counts.sent, counts.known, counts.dead), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_events_keeps_them_and_goes_on_with_everything_else() {
    let app = App::builder().with_script("mapping.rhai", TRACKS_ONE).start().await;
    let refusal = json!({"code": "permission_denied", "message": "events are not in your plan"});
    app.sandbox.brevo.fail_next("POST /v3/events/batch", 403, refusal, 1);
    app.create(person("ann")).await;
    until("events are disabled", async || app.status().await.events.disabled).await;
    app.create(person("bob")).await;
    assert!(app.sandbox.brevo.contact("bob@example.com").is_some());
    let status = app.status().await;
    assert_eq!((status.events.counts.due, status.dead_letters), (2, 0));
    assert!(
        status
            .degraded
            .iter()
            .any(|reason| reason.starts_with("brevo takes no events, they are kept")),
        "{:?}",
        status.degraded
    );
    // Whoever changes the configuration has it tried again.
    app.engine().reconfigure(app.config()).unwrap();
    until("the events are there", async || (told(&app).len() == 2).then_some(())).await;
    app.drained().await;
    assert_eq!(app.status().await.degraded, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_stops_events_as_it_stops_everything() {
    let app = App::builder().with_script("mapping.rhai", TRACKS_ONE).start().await;
    app.sandbox.brevo.fail_next("POST /v3/events/batch", 401, Value::Null, 2);
    app.create(person("ann")).await;
    assert_eq!(told(&app), [("known".into(), "ann".into())]);
    assert_eq!(app.status().await.dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_contact_that_is_gone_are_dropped() {
    let app = App::builder().with_script("mapping.rhai", TRACKS_ONE).start().await;
    app.sandbox.brevo.fail_next("POST /v3/events/batch", 403, Value::Null, 1);
    let id = app.create(person("ann")).await;
    until("events are disabled", async || app.status().await.events.disabled).await;
    app.fire(app.sandbox.intercom.delete(&id).unwrap()).await;
    app.engine().reconfigure(app.config()).unwrap();
    app.drained().await;
    let counts = app.status().await.events.counts;
    assert_eq!((counts.sent, counts.known, counts.due), (0, 1, 0));
    assert_eq!(told(&app), []);
}

/// A service with these rules, which sweeps nothing by itself.
async fn deployment() -> Deployment {
    let mut options = SandboxOptions::default();
    options.brevo.limits = Limits::off();
    options.intercom.rate_limit = None;
    let deployment = Deployment::start(options, "").await;
    std::fs::write(deployment.path("scripts/mapping.rhai"), TRACKS_ONE).unwrap();
    std::fs::remove_dir_all(deployment.path("scripts/tests")).unwrap();
    deployment
}

async fn deliver(deployment: &Deployment, service: &Service, name: &str) {
    let changed = deployment.sandbox.intercom.create_contact(person(name)).unwrap();
    let secret = deployment.sandbox.intercom.client_secret().to_owned();
    assert!(service.deliver(&secret, &changed.notifications[0].to_string()).await);
}

async fn sent(service: &Service, count: u64) {
    until("the events are sent", async || {
        let status = service.get("connectors/intercom/status").await?;
        (status["events"]["sent"] == count && status["events"]["due"] == 0).then_some(())
    })
    .await;
}

fn names(deployment: &Deployment) -> Vec<String> {
    let events = deployment.sandbox.brevo.events();
    let mut names: Vec<String> = events
        .iter()
        .map(|event| event["event_properties"]["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_survives_sigkill_before_and_after_brevo_took_it() {
    let deployment = deployment().await;
    let brevo = &deployment.sandbox.brevo;
    let service = deployment.serve().await;
    let is_waiting = async || {
        until("the event is in the store", async || {
            let status = service.get("connectors/intercom/status").await?;
            (status["events"]["due"] == 1).then_some(())
        })
        .await;
    };
    // Settled, and not sent when the process dies: Brevo never had it.
    brevo.set_limits(Limits { events_per_second: Some(0), ..Limits::off() });
    deliver(&deployment, &service, "ann").await;
    is_waiting().await;
    service.kill();
    brevo.set_limits(Limits::off());
    let service = deployment.serve().await;
    sent(&service, 1).await;
    assert_eq!(names(&deployment), ["ann"]);

    // Brevo has it, and the process dies before it knows.
    brevo.hang_after_commit_next("POST /v3/events/batch", 1);
    deliver(&deployment, &service, "bob").await;
    until("brevo has it", async || (brevo.events().len() == 2).then_some(())).await;
    service.kill();
    let service = deployment.serve().await;
    sent(&service, 2).await;
    assert_eq!(names(&deployment), ["ann", "bob"]);
    let metrics = service.page("metrics").await.unwrap();
    assert!(metrics.contains("tajo_events_total{result=\"sent\"} 2"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_that_are_killed_while_they_are_written_have_their_events_once() {
    let deployment = deployment().await;
    let people: Vec<String> = (0..40).map(|person| format!("p{person:02}")).collect();
    for some in people.chunks(10) {
        let service = deployment.serve().await;
        for name in some {
            deliver(&deployment, &service, name).await;
        }
        service.kill();
    }
    let service = deployment.serve().await;
    sent(&service, 40).await;
    assert_eq!(names(&deployment), people);
}
