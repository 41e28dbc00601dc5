//! The fake over HTTP, as a client and as a webhook receiver see it.

mod conversations;
mod endpoints;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Extracted;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::any;
use serde_json::{Value, json};

use super::*;
use crate::model::ManualClock;

const NOW: i64 = 1_768_019_995;

struct Client {
    http: reqwest::Client,
    sandbox: IntercomSandbox,
    clock: Arc<ManualClock>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Client {
    async fn start(options: IntercomOptions) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(NOW)));
        let sandbox = IntercomSandbox::start(options, clock.clone()).await.unwrap();
        // Any provider will do: nothing here is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { http: reqwest::Client::builder().no_proxy().build().unwrap(), sandbox, clock }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or_default() }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.sandbox.base_url());
        self.http.request(method, url).bearer_auth(self.sandbox.access_token())
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    async fn post_to(&self, path: String, body: Value) -> Answer {
        self.post(&path, body).await
    }
}

fn error_of(answer: &Answer) -> (u16, &str, &str) {
    let error = &answer.body["errors"][0];
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    (answer.status, text("code"), text("message"))
}

#[tokio::test]
async fn paging_shows_every_contact_once_newest_first() {
    let client = Client::start(IntercomOptions::default()).await;
    client.sandbox.seed(&Seed::new(1_000)).unwrap();
    let mut ids = BTreeSet::new();
    let (mut cursor, mut pages, mut last_seen) = (String::new(), 0, i64::MAX);
    loop {
        let answer = client.get(&format!("/contacts?per_page=150{cursor}")).await;
        assert_eq!(answer.body["total_count"], 1_000);
        for contact in answer.body["data"].as_array().unwrap() {
            let updated_at = contact["updated_at"].as_i64().unwrap();
            assert!(updated_at <= last_seen);
            last_seen = updated_at;
            assert!(ids.insert(contact["id"].as_str().unwrap().to_owned()));
        }
        pages += 1;
        let Some(next) = answer.body["pages"].get("next") else {
            break;
        };
        cursor = format!("&starting_after={}", next["starting_after"].as_str().unwrap());
    }
    assert_eq!((ids.len(), pages), (1_000, 7));
    assert_eq!(client.sandbox.log().count(|entry| entry.is("GET", "/contacts")), 7);
}

#[tokio::test]
async fn a_search_pages_through_all_that_it_finds() {
    let client = Client::start(IntercomOptions::default()).await;
    client.sandbox.seed(&Seed::new(700)).unwrap();
    let mut ids = BTreeSet::new();
    let mut pagination = json!({"per_page": 150});
    loop {
        let query = json!({"field": "role", "operator": "=", "value": "user"});
        let sort = json!({"field": "updated_at", "order": "descending"});
        let body = json!({"query": query, "sort": sort, "pagination": pagination});
        let answer = client.post("/contacts/search", body).await;
        let found = answer.body["data"].as_array().unwrap();
        assert!(found.iter().all(|contact| contact["role"] == "user"));
        ids.extend(found.iter().map(|contact| contact["id"].as_str().unwrap().to_owned()));
        let Some(next) = answer.body["pages"].get("next") else {
            assert_eq!(answer.body["total_count"], ids.len());
            break;
        };
        pagination = json!({"per_page": 150, "starting_after": next["starting_after"]});
    }
    let users = client.sandbox.contacts().iter().filter(|c| c["role"] == "user").count();
    assert_eq!(ids.len(), users);
}

#[tokio::test]
async fn search_is_behind_by_its_lag() {
    let client = Client::start(IntercomOptions::default()).await;
    client.sandbox.set_index_lag(60);
    let id = client.sandbox.create_contact(json!({"email": "a@example.com"})).unwrap().id;
    let names = async || {
        let query = json!({"field": "email", "operator": "=", "value": "a@example.com"});
        let answer = client.post("/contacts/search", json!({"query": query})).await;
        let found = answer.body["data"].as_array().unwrap().clone();
        found.iter().map(|contact| contact["name"].clone()).collect::<Vec<Value>>()
    };
    assert!(names().await.is_empty());
    assert_eq!(client.get(&format!("/contacts/{id}")).await.status, 200);
    client.clock.advance(60);
    assert_eq!(names().await, [Value::Null]);
    client.sandbox.update_contact(&id, json!({"name": "Ana"})).unwrap();
    assert_eq!(names().await, [Value::Null]);
    client.clock.advance(60);
    assert_eq!(names().await, ["Ana"]);
}

#[tokio::test]
async fn refuses_as_intercom_does() {
    let client = Client::start(IntercomOptions::default()).await;
    let anonymous = client.http.get(format!("{}/me", client.sandbox.base_url()));
    let answer = client.send(anonymous.header("X-Request-Id", "mine")).await;
    assert_eq!(error_of(&answer), (401, "unauthorized", "Access Token Invalid"));
    assert_eq!(
        (&answer.body["request_id"], &answer.headers["x-request-id"]),
        (&json!("mine"), &"mine".parse().unwrap())
    );
    assert!(answer.headers.get("x-ratelimit-limit").is_none());

    let me = client.get("/me").await;
    assert_eq!(me.body["app"]["id_code"], "sandbox01");
    assert_eq!(me.headers["x-ratelimit-limit"], "1667");
    assert_eq!(me.headers["x-ratelimit-reset"], (NOW / 10 * 10 + 10).to_string().as_str());

    let request = client.request(Method::GET, "/me").header("Intercom-Version", "9.9");
    assert_eq!(error_of(&client.send(request).await).1, "intercom_version_invalid");
    let request = client.request(Method::GET, "/me").header("Accept", "text/html");
    assert_eq!(client.send(request).await.status, 406);
    assert_eq!(client.get("/contacts?per_page=151").await.status, 400);
    assert_eq!(client.get("/contacts?starting_after=").await.status, 500);
    assert_eq!(client.get("/no/such/path").await.status, 404);
    let missing = client.get("/contacts/665f1c0a9e3b7d0012ab34c1").await;
    assert_eq!(error_of(&missing), (404, "not_found", "User Not Found"));
}

#[tokio::test]
async fn a_full_window_refuses_until_the_next_one() {
    let options = IntercomOptions { rate_limit: Some(2), ..Default::default() };
    let client = Client::start(options).await;
    assert_eq!(client.get("/me").await.headers["x-ratelimit-remaining"], "1");
    client.get("/me").await;
    let refused = client.get("/me").await;
    let message = "Exceeded rate limit of 2 in 10_seconds";
    assert_eq!(error_of(&refused), (429, "rate_limit_exceeded", message));
    assert!(refused.headers.get("retry-after").is_none());
    client.sandbox.say_retry_after(true);
    assert_eq!(client.get("/me").await.headers["retry-after"], "5");
    client.clock.advance(5);
    assert_eq!(client.get("/me").await.status, 200);
}

#[tokio::test]
async fn faults_come_when_asked_for() {
    let client = Client::start(IntercomOptions::default()).await;
    let wait = Some(Duration::from_secs(3));
    client.sandbox.fail_next("/me", Failure::RateLimited { retry_after: wait }, 1);
    client.sandbox.fail_next("/me", Failure::BadGateway, 1);
    client.sandbox.fail_next("/me", Failure::EmptyBody, 1);
    let limited = client.get("/me").await;
    assert_eq!((limited.status, &limited.headers["retry-after"]), (429, &"3".parse().unwrap()));
    assert_eq!(client.get("/me").await.headers["content-type"], "text/html");
    let empty = client.get("/me").await;
    assert_eq!((empty.status, empty.body), (200, Value::Null));
    client.sandbox.hang_next("/me");
    let hanging = client.request(Method::GET, "/me").timeout(Duration::from_millis(50));
    assert!(hanging.send().await.unwrap_err().is_timeout());
    assert_eq!(client.get("/me").await.status, 200);
    client.sandbox.shutdown().await;
}

#[tokio::test]
async fn a_second_contact_is_refused_with_the_id_of_the_first() {
    let client = Client::start(IntercomOptions::default()).await;
    let first = client.post("/contacts", json!({"email": "a@example.com"})).await;
    let id = first.body["id"].as_str().unwrap().to_owned();
    let again = client.post("/contacts", json!({"email": "A@example.com"})).await;
    let message = format!("A contact matching those details already exists with id={id}");
    assert_eq!(error_of(&again), (409, "conflict", &*message));
    client.post(&format!("/contacts/{id}/archive"), json!({})).await;
    assert_eq!(client.get(&format!("/contacts/{id}")).await.status, 404);
    let archived = client.post("/contacts", json!({"email": "a@example.com"})).await;
    assert!(error_of(&archived).2.starts_with("An archived contact"));
    let lead = json!({"role": "lead", "email": "a@example.com"});
    assert_eq!(client.post("/contacts", lead).await.status, 200);
    assert_eq!(client.post("/contacts", json!({"name": "Ana"})).await.status, 400);
}

#[tokio::test]
async fn tags_and_companies_over_http() {
    let client = Client::start(IntercomOptions::default()).await;
    let id = client.sandbox.create_contact(json!({"email": "a@example.com"})).unwrap().id;
    client.sandbox.tag_contact(&id, "vip").unwrap();
    let tags = client.get("/tags").await.body["data"].clone();
    assert_eq!(tags, json!([{"type": "tag", "id": "9100001", "name": "vip"}]));
    let path = format!("/contacts/{id}/tags/9100001");
    assert_eq!(client.send(client.request(Method::DELETE, &path)).await.status, 200);
    assert_eq!(client.get(&format!("/contacts/{id}/tags")).await.body["data"], json!([]));
    let company = client.sandbox.create_company(json!({"name": "Acme"})).unwrap().id;
    assert_eq!(client.get("/companies/scroll").await.body["data"], json!([]));
    client.post(&format!("/contacts/{id}/companies"), json!({"id": company})).await;
    let held = client.get(&format!("/contacts/{id}/companies")).await;
    assert_eq!(
        (&held.body["data"][0]["name"], &held.body["pages"]["next"]),
        (&json!("Acme"), &Value::Null)
    );
    assert_eq!(client.get("/companies/scroll").await.body["data"][0]["id"], json!(company));
}

#[tokio::test]
async fn a_merged_or_deleted_contact_is_gone() {
    let client = Client::start(IntercomOptions::default()).await;
    let create = |body| client.sandbox.create_contact(body).unwrap().id;
    let user = create(json!({"email": "u@example.com"}));
    let lead = create(json!({"role": "lead", "phone": "+66812345678"}));
    let merged = client.post("/contacts/merge", json!({"from": lead, "into": user})).await;
    assert_eq!(merged.body["phone"], "+66812345678");
    assert_eq!(client.get(&format!("/contacts/{lead}")).await.status, 404);
    client.send(client.request(Method::DELETE, &format!("/contacts/{user}"))).await;
    assert_eq!(client.get(&format!("/contacts/{user}")).await.status, 404);
    assert!(client.sandbox.contacts().is_empty());
}

#[tokio::test]
async fn each_change_fires_its_topics() {
    let client = Client::start(IntercomOptions::default()).await;
    let sandbox = &client.sandbox;
    let topics = |changed: &Changed| -> Vec<String> {
        let topic = |n: &Value| n["topic"].as_str().unwrap().to_owned();
        changed.notifications.iter().map(topic).collect()
    };
    let created = sandbox.create_contact(json!({"email": "a@example.com"})).unwrap();
    assert_eq!(topics(&created), ["contact.user.created"]);
    let id = created.id;
    client.clock.advance(1);
    let moved = sandbox.update_contact(&id, json!({"email": "b@example.com"})).unwrap();
    assert_eq!(topics(&moved), ["contact.email.updated", "contact.user.updated"]);
    let updated_at = |n: usize| moved.notifications[n]["data"]["item"]["updated_at"].clone();
    assert_eq!(updated_at(0), "2026-01-10T04:39:56.000Z");
    assert_eq!(updated_at(1), "2026-01-10T04:39:56.465+00:00");
    let left = sandbox.unsubscribe(&id).unwrap();
    assert_eq!(topics(&left), ["contact.unsubscribed", "contact.user.updated"]);
    assert_eq!(left.notifications[0]["data"]["item"]["type"], "contact_unsubscribe");
    assert_eq!(topics(&sandbox.tag_contact(&id, "vip").unwrap()), ["contact.user.tag.created"]);
    assert_eq!(topics(&sandbox.tag_contact(&id, "VIP").unwrap()), [""; 0]);
    assert_eq!(topics(&sandbox.untag_contact(&id, "vip").unwrap()), ["contact.user.tag.deleted"]);
    assert_eq!(topics(&sandbox.archive(&id).unwrap()), ["contact.archived"]);
    assert_eq!(topics(&sandbox.unarchive(&id).unwrap()), ["contact.unarchived"]);
    assert_eq!(topics(&sandbox.delete(&id).unwrap()), ["contact.deleted"]);
    assert_eq!(sandbox.delete(&id).unwrap_err().status, 404);
    let lead = sandbox.create_contact(json!({"role": "lead"})).unwrap().id;
    let known = sandbox.update_contact(&lead, json!({"email": "l@example.com"})).unwrap();
    assert_eq!(topics(&known), ["contact.lead.added_email", "contact.lead.updated"]);
    let signed = sandbox.update_contact(&lead, json!({"role": "user"})).unwrap();
    assert_eq!(topics(&signed), ["contact.lead.signed_up", "contact.user.updated"]);
}

#[tokio::test]
async fn a_notification_has_the_keys_of_a_recorded_one() {
    let recorded = include_str!("../../../../tests/samples/recorded/contact_user_updated.json");
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let client = Client::start(IntercomOptions::default()).await;
    let id = client.sandbox.create_contact(json!({"email": "a@example.com"})).unwrap().id;
    let updated = client.sandbox.update_contact(&id, json!({"name": "Ana"})).unwrap();
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let item = |notification: &Value| notification["data"]["item"].clone();
    assert_eq!(keys(&item(&updated.notifications[0])), keys(&item(&recorded)));
}

/// Answers with the statuses it was given, then with 200, and keeps what it got.
#[derive(Clone, Default)]
struct Receiver {
    answers: Arc<Mutex<VecDeque<u16>>>,
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Receiver {
    async fn start(answers: &[u16]) -> (Self, String) {
        let receiver = Self::default();
        receiver.answers.lock().unwrap().extend(answers);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks/intercom", listener.local_addr().unwrap());
        let router = Router::new().fallback(any(receive)).with_state(receiver.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        (receiver, url)
    }

    fn bodies(&self) -> Vec<Value> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }
}

async fn receive(
    Extracted(receiver): Extracted<Receiver>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if method == Method::HEAD {
        return StatusCode::OK;
    }
    receiver.got.lock().unwrap().push((headers, body));
    let answer = receiver.answers.lock().unwrap().pop_front().unwrap_or(200);
    StatusCode::from_u16(answer).unwrap()
}

async fn delivering(answers: &[u16]) -> (Client, Receiver) {
    let delivery = DeliveryOptions {
        retry_after: Duration::from_millis(1),
        throttled_retry_after: Duration::from_millis(1),
        ..Default::default()
    };
    let client = Client::start(IntercomOptions { delivery, ..Default::default() }).await;
    let (receiver, url) = Receiver::start(answers).await;
    client.sandbox.deliver_to(Some(url)).await;
    assert_eq!(client.sandbox.is_target_probed(), Some(true));
    (client, receiver)
}

fn statuses(client: &Client) -> Vec<(DeliveryStatus, u32)> {
    let deliveries = client.sandbox.deliveries();
    deliveries.iter().map(|delivery| (delivery.status, delivery.attempts)).collect()
}

#[tokio::test]
async fn notifications_are_signed_over_their_bytes() {
    let (client, receiver) = delivering(&[]).await;
    client.post("/contacts", json!({"email": "a@example.com"})).await;
    client.sandbox.wait_delivered().await;
    let (headers, body) = receiver.got.lock().unwrap().remove(0);
    assert_eq!(headers["x-hub-signature"], sign(client.sandbox.client_secret(), &body).as_str());
    assert_eq!(headers["user-agent"], "intercom-parrot-service-client/1.0");
    assert_eq!(statuses(&client), [(DeliveryStatus::Delivered, 1)]);
}

#[tokio::test]
async fn a_failure_is_retried_once_with_the_same_id() {
    let (client, receiver) = delivering(&[500]).await;
    client.sandbox.create_contact(json!({"email": "a@example.com"})).unwrap();
    client.sandbox.wait_delivered().await;
    let bodies = receiver.bodies();
    assert_eq!(bodies[0]["id"], bodies[1]["id"]);
    assert_eq!(
        (&bodies[0]["delivery_attempts"], &bodies[0]["delivery_status"]),
        (&json!(1), &json!("pending"))
    );
    assert_eq!(
        (&bodies[1]["delivery_attempts"], &bodies[1]["delivery_status"]),
        (&json!(2), &json!("retry"))
    );
    assert_eq!(statuses(&client), [(DeliveryStatus::Delivered, 2)]);
}

#[tokio::test]
async fn two_failures_lose_it_and_429s_do_not() {
    let (client, _) = delivering(&[500, 503]).await;
    client.sandbox.create_contact(json!({"email": "a@example.com"})).unwrap();
    client.sandbox.wait_delivered().await;
    assert_eq!(statuses(&client), [(DeliveryStatus::Failed, 2)]);

    let (client, _) = delivering(&[429, 429, 429]).await;
    client.sandbox.create_contact(json!({"email": "a@example.com"})).unwrap();
    client.sandbox.wait_delivered().await;
    assert_eq!(statuses(&client), [(DeliveryStatus::Delivered, 4)]);
}

#[tokio::test]
async fn gone_disables_the_subscription() {
    let (client, receiver) = delivering(&[410]).await;
    client.sandbox.create_contact(json!({"email": "a@example.com"})).unwrap();
    client.sandbox.wait_delivered().await;
    client.sandbox.create_contact(json!({"email": "b@example.com"})).unwrap();
    client.sandbox.wait_delivered().await;
    assert!(client.sandbox.is_webhook_disabled());
    assert_eq!(receiver.bodies().len(), 1);
    let disabled = DeliveryStatus::Disabled;
    assert_eq!(statuses(&client), [(disabled, 1), (disabled, 0)]);
}

#[tokio::test]
async fn copies_and_swapped_pairs() {
    let (client, receiver) = delivering(&[]).await;
    client.sandbox.duplicate_deliveries(2);
    client.sandbox.deliver(ping("sandbox01", Timestamp::from_seconds(NOW)));
    client.sandbox.wait_delivered().await;
    assert_eq!(receiver.bodies().len(), 3);
    client.sandbox.duplicate_deliveries(0);
    client.sandbox.reorder_deliveries(true);
    for email in ["a@example.com", "b@example.com", "c@example.com"] {
        client.sandbox.create_contact(json!({"email": email})).unwrap();
    }
    client.sandbox.wait_delivered().await;
    let emails: Vec<Value> =
        receiver.bodies()[3..].iter().map(|b| b["data"]["item"]["email"].clone()).collect();
    let place = |email: &str| emails.iter().position(|held| held == email).unwrap();
    assert!(place("b@example.com") < place("a@example.com"));
    assert_eq!(emails.len(), 3);
}

#[tokio::test]
async fn a_public_app_gets_its_token_for_a_code() {
    let client = Client::start(IntercomOptions::default()).await;
    let token = |code: String| {
        let url = format!("{}/auth/eagle/token", client.sandbox.base_url());
        let form = [
            ("client_id", client.sandbox.client_id()),
            ("client_secret", client.sandbox.client_secret()),
            ("code", &code),
        ];
        client.http.post(url).form(&form)
    };
    let code = client.sandbox.oauth_code();
    let given = client.send(token(code.clone())).await;
    assert_eq!((given.status, &given.body["token"]), (200, &json!("sandbox-intercom-token")));
    let again = client.send(token(code)).await;
    assert_eq!(error_of(&again), (401, "unauthorized", "Unauthorized Code"));
    let browser = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    client.sandbox.set_redirect_url(Some("http://127.0.0.1:9/back".to_owned()));
    let url = format!("{}/oauth?client_id=sandbox-client-id&state=xyz", client.sandbox.base_url());
    let page = client.send(browser.get(url)).await;
    let back: url::Url = page.headers["location"].to_str().unwrap().parse().unwrap();
    let members: Vec<_> = back.query_pairs().collect();
    assert_eq!((page.status, &*members[1].1), (302, "xyz"));
    assert_eq!(client.send(token(members[0].1.to_string())).await.status, 200);
}
