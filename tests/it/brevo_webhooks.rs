//! What Brevo tells by webhook: durable, obeyed at once, and never an echo of our own writes.

use std::net::SocketAddr;

use secrecy::SecretString;
use serde_json::{Value, json};
use tajo::sandbox::Seed;
use tajo::server::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{App, AppBuilder, until};

pub(crate) const TOKEN: &str = "webhook-token";

fn builder() -> AppBuilder {
    App::builder().with_setting("brevo", &format!("webhook_token: {TOKEN}"))
}

/// A server in front of an engine; it stops when this is dropped.
pub(crate) struct Endpoint {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Endpoint {
    pub(crate) async fn start(app: &App) -> Self {
        let mut config = app.config();
        config.server.listen = "127.0.0.1:0".parse().unwrap();
        let engine = app.engine().clone();
        let server = Server::bind(&config, engine, SecretString::from("admin")).await.unwrap();
        let address = server.addresses().public;
        let stop = CancellationToken::new();
        tokio::spawn(server.serve(stop.clone()));
        Self { address, _stop: stop.drop_guard() }
    }

    /// Subscribed by the fake Brevo, which is told the token.
    async fn subscribed(app: &App) -> Self {
        let endpoint = Self::start(app).await;
        app.sandbox.brevo.subscribe(&endpoint.url(), TOKEN).unwrap();
        endpoint
    }

    fn url(&self) -> String {
        format!("http://{}/webhooks/brevo", self.address)
    }

    /// The status that a body is answered with.
    async fn post(&self, headers: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "POST /webhooks/brevo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) async fn tell(&self, events: &Value) -> u16 {
        self.post(&format!("Authorization: Bearer {TOKEN}\r\n"), &events.to_string()).await
    }
}

/// Waits until the fake Brevo delivered so many webhooks of an event, and all is done.
async fn delivered(app: &App, event: &str, count: usize) {
    until("the webhook is delivered", async || {
        let deliveries = app.sandbox.brevo.webhook_deliveries();
        let found = deliveries.iter().filter(|one| one.body["event"] == event);
        (found.filter(|one| one.status == Some(200)).count() >= count).then_some(())
    })
    .await;
    app.drained().await;
}

fn ann() -> Value {
    json!({"email": "ann@example.com", "name": "Ann Lee", "role": "lead"})
}

fn held(app: &App) -> Value {
    app.sandbox.brevo.contact("ann@example.com").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_the_token_is_heard() {
    let app = App::builder().start().await;
    let endpoint = Endpoint::start(&app).await;
    assert_eq!(endpoint.tell(&json!({})).await, 503, "no token is configured");

    let app = builder().start().await;
    let endpoint = Endpoint::start(&app).await;
    let event = json!({"event": "spam", "email": "ann@example.com", "ts": 5}).to_string();
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    for headers in ["", "Authorization: Bearer other\r\n", "Authorization: Basic webhook-token\r\n"]
    {
        assert_eq!(endpoint.post(headers, &event).await, 401, "{headers}");
    }
    assert_eq!(endpoint.post(&format!("{right}{right}"), &event).await, 401, "two of them");
    assert_eq!(app.status().await.records.accepted, 0);
    assert_eq!(endpoint.post(&right, &event).await, 200);
    assert_eq!(app.status().await.records.accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_of_no_use_is_a_dead_letter_and_is_not_sent_again() {
    let app = builder().start().await;
    let endpoint = Endpoint::start(&app).await;
    let header = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(endpoint.post(&header, "not json").await, 200);
    assert_eq!(endpoint.tell(&json!([{"event": "spam"}, {"event": "opened", "ts": 1}])).await, 200);
    app.drained().await;
    let letters = app.engine().dead_letters(10).await.unwrap();
    let reasons: Vec<_> = letters.iter().map(|letter| letter.message.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "the webhook of brevo cannot be used: it does not say to whom it happened: `email` is missing, or is none",
            "the webhook of brevo cannot be used: it is not JSON",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_counts_once_however_often_and_in_whichever_batch_it_comes() {
    let app = builder().start().await;
    app.create(ann()).await;
    let endpoint = Endpoint::start(&app).await;
    let before = app.status().await;
    let event = json!({"id": 1, "event": "contact_updated", "email": "ANN@example.com", "ts": 7});
    let other = json!({"id": 1, "event": "contact_updated", "email": "ann@example.com", "ts": 8});
    endpoint.tell(&event).await;
    endpoint.tell(&json!([event, other])).await;
    app.drained().await;
    let after = app.status().await;
    assert_eq!(after.records.accepted - before.records.accepted, 2);
    assert_eq!(after.duplicates - before.duplicates, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_somebody_off_marketing_is_obeyed_whatever_brevo_holds() {
    for event in ["unsubscribe", "unsubscribed", "spam", "hard_bounce", "hardBounce"] {
        let app = builder().start().await;
        let id = app.create(ann()).await;
        let endpoint = Endpoint::start(&app).await;
        // Brevo's own flag is not set: the word of the webhook alone counts.
        let told = json!({"event": event, "email": "Ann@Example.com", "ts_event": 1_795_279_320});
        assert_eq!(endpoint.tell(&told).await, 200);
        app.drained().await;
        assert_eq!(held(&app)["emailBlacklisted"], true, "{event}");
        app.fire(app.sandbox.intercom.update_contact(&id, json!({"role": "user"})).unwrap()).await;
        assert_eq!(held(&app)["listIds"], json!([]), "{event}: put on a list");
        app.assert_consent_kept();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_that_came_before_the_contact_is_obeyed_by_its_creation() {
    let app = builder().start().await;
    let endpoint = Endpoint::start(&app).await;
    endpoint.tell(&json!({"event": "unsubscribe", "email": "ann@example.com", "ts": 5})).await;
    app.drained().await;
    app.create(ann()).await;
    let held = held(&app);
    assert_eq!((&held["emailBlacklisted"], &held["listIds"]), (&json!(true), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_leave_in_brevo_are_left_alone() {
    let app = builder().start().await;
    let id = app.create(ann()).await;
    let _endpoint = Endpoint::subscribed(&app).await;
    app.sandbox.brevo.blacklist("ann@example.com");
    delivered(&app, "unsubscribe", 1).await;
    app.fire(app.sandbox.intercom.update_contact(&id, json!({"role": "user"})).unwrap()).await;
    assert_eq!(held(&app)["emailBlacklisted"], true);
    assert!(!held(&app)["listIds"].as_array().unwrap().contains(&json!(35)));
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changes_in_brevo_is_put_back_where_the_rules_say_otherwise() {
    let app = builder().start().await;
    app.create(ann()).await;
    let _endpoint = Endpoint::subscribed(&app).await;
    let patch = json!({"attributes": {"FIRSTNAME": "Anna", "OPT_IN": true}, "unlinkListIds": [37]});
    app.sandbox.brevo.update_contact("ann@example.com", &patch).unwrap();
    until("the contact is as decided again", async || {
        (held(&app)["attributes"]["FIRSTNAME"] == "Ann").then_some(())
    })
    .await;
    app.drained().await;
    assert_eq!(held(&app)["listIds"], json!([37]));
    assert_eq!(held(&app)["attributes"]["OPT_IN"], true, "what no rule mentions is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_echo_of_our_own_writes_derives_nothing() {
    let mut runs = Vec::new();
    for is_told in [false, true] {
        let app = builder().start().await;
        let endpoint = if is_told { Some(Endpoint::subscribed(&app).await) } else { None };
        let id = app.create(ann()).await;
        let changed = app.sandbox.intercom.update_contact(&id, json!({"role": "user"})).unwrap();
        app.fire(changed).await;
        if endpoint.is_some() {
            delivered(&app, "list_addition", 2).await;
            let told = app.sandbox.brevo.webhook_deliveries();
            assert!(told.iter().all(|one| one.body["api_key_name"] == "tajo"), "{told:#?}");
        }
        let reads = |call: &tajo::sandbox::Logged| call.is("GET", "/v3/contacts/");
        runs.push(app.sandbox.brevo.log().count(reads));
    }
    assert_eq!(runs[0], runs[1], "an echo was read");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_does_not_tell_its_key_derives_little_and_writes_nothing_more() {
    let app = builder().with_seed(Seed::new(200).companies(5)).start().await;
    let _endpoint = Endpoint::subscribed(&app).await;
    app.sync().await;
    let writes = app.sandbox.brevo.writes();
    app.drained().await;
    app.sync().await;
    assert_eq!(app.sandbox.brevo.writes(), writes, "the echoes of an import were written again");
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_others_delete_in_brevo_stays_away_until_its_record_changes() {
    let app = builder().start().await;
    let id = app.create(ann()).await;
    let _endpoint = Endpoint::subscribed(&app).await;
    assert!(app.sandbox.brevo.delete_contact("ann@example.com"));
    delivered(&app, "contact_deleted", 1).await;

    // Another rule set derives everybody again.
    let rules = std::fs::read_to_string(app.script("mapping.rhai")).unwrap();
    let version = app.status().await.rules.version;
    std::fs::write(app.script("mapping.rhai"), format!("{rules}\n// changed\n")).unwrap();
    until("the new rules are live", async || {
        (app.status().await.rules.version != version).then_some(())
    })
    .await;
    until("everybody is derived again", async || (app.status().await.rederived > 0).then_some(()))
        .await;
    app.drained().await;
    assert_eq!(app.sandbox.brevo.contact("ann@example.com"), None);

    app.fire(app.sandbox.intercom.update_contact(&id, json!({"name": "Ann Moss"})).unwrap()).await;
    assert_eq!(held(&app)["attributes"]["LASTNAME"], "Moss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_others_delete_in_brevo_is_made_again_where_that_is_wanted() {
    let app = builder().with_setting("brevo", "on_brevo_delete: recreate").start().await;
    app.create(ann()).await;
    let _endpoint = Endpoint::subscribed(&app).await;
    assert!(app.sandbox.brevo.delete_contact("ann@example.com"));
    until("the contact is there again", async || {
        app.sandbox.brevo.contact("ann@example.com").map(|_| ())
    })
    .await;
    app.drained().await;
    assert_eq!(held(&app)["attributes"]["FIRSTNAME"], "Ann");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_and_was_deleted_in_brevo_is_made_again_as_somebody_who_left() {
    let app = builder().with_setting("brevo", "on_brevo_delete: recreate").start().await;
    app.create(ann()).await;
    let _endpoint = Endpoint::subscribed(&app).await;
    app.sandbox.brevo.blacklist("ann@example.com");
    delivered(&app, "unsubscribe", 1).await;
    assert!(app.sandbox.brevo.delete_contact("ann@example.com"));
    until("the contact is there again", async || {
        app.sandbox.brevo.contact("ann@example.com").map(|_| ())
    })
    .await;
    app.drained().await;
    assert_eq!(held(&app)["emailBlacklisted"], true);
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_with_200_survives_the_process() {
    let mut app = builder().start().await;
    app.create(ann()).await;
    let endpoint = Endpoint::start(&app).await;
    // Brevo cannot be read before the process ends.
    app.sandbox.brevo.fail_next("GET /v3/contacts/*", 500, Value::Null, 2);
    let told = json!({"event": "unsubscribe", "email": "ann@example.com", "ts": 5});
    assert_eq!(endpoint.tell(&told).await, 200);
    drop(endpoint);
    app.stop_engine().await;
    app.start_engine().await;
    app.drained().await;
    assert_eq!(held(&app)["emailBlacklisted"], true);
}
