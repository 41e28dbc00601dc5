//! Keys, rates, moods.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::Brevo;
use crate::sandbox::brevo::{BrevoOptions, Limits};

#[tokio::test]
async fn the_key_and_the_rates_are_kept() {
    let limits = Limits { contacts_per_second: Some(2), other_per_hour: Some(1), ..Limits::off() };
    let brevo = Brevo::with(BrevoOptions { limits, ..BrevoOptions::default() }).await;
    let bare = brevo.client.get(format!("{}/account", brevo.sandbox.base_url())).send().await;
    assert_eq!(bare.unwrap().status().as_u16(), 401);
    let send = async |path: &str| brevo.try_send(Method::GET, path, Value::Null).await.unwrap();
    let header = |response: &Response, name: &str| {
        response.headers()[&format!("x-sib-ratelimit-{name}")].to_str().unwrap().to_owned()
    };
    let first = send("/account").await;
    assert_eq!((header(&first, "limit"), header(&first, "remaining")), ("1".into(), "0".into()));
    let refused = send("/account").await;
    assert_eq!((refused.status().as_u16(), header(&refused, "reset")), (429, "3600".into()));
    assert!(refused.headers().get("retry-after").is_none());
    let expected =
        json!({"code": "too_many_requests", "message": "Too many requests, please retry later"});
    assert_eq!(refused.json::<Value>().await.unwrap(), expected);
    assert_eq!(header(&send("/contacts").await, "limit"), "2");
    assert_eq!(brevo.sandbox.throttled(), 1);
    brevo.sandbox.unauthorized(true);
    let expected = json!({"code": "unauthorized", "message": "Key not found"});
    assert_eq!(brevo.get("/contacts").await, (401, expected));
}

#[tokio::test]
async fn moods_fail_hang_and_lose_answers() {
    let brevo = Brevo::start().await;
    let post = |name: &str| {
        brevo.try_send(Method::POST, "/contacts", json!({"email": format!("{name}@example.com")}))
    };
    brevo.sandbox.reset_after_commit_next("POST /v3/contacts", 1);
    assert!(post("a").await.is_err());
    assert!(brevo.sandbox.contact("a@example.com").is_some());
    brevo.sandbox.reset_next("POST /v3/contacts", 1);
    assert!(post("b").await.is_err());
    brevo.sandbox.hang_next("POST /v3/contacts", 1);
    assert!(tokio::time::timeout(Duration::from_millis(50), post("c")).await.is_err());
    brevo.sandbox.fail_next("POST /v3/contacts", 425, Value::Null, 1);
    assert_eq!(post("d").await.unwrap().status().as_u16(), 425);
    assert_eq!(brevo.sandbox.contact_count(), 1);
    let date = post("e").await.unwrap().headers()["date"].clone();
    assert_eq!(date, "Mon, 21 Sep 2026 14:13:20 GMT");
    brevo.sandbox.shutdown().await;
}

#[tokio::test]
async fn events_are_listed_by_contact_name_and_date() {
    let brevo = Brevo::start().await;
    let contact = brevo.sandbox.put_contact(&json!({"email": "ann@example.com"})).unwrap();
    let event = |name: &str, date: &str| {
        json!({"event_name": name, "event_date": date, "event_properties": {"n": 1},
               "identifiers": {"email_id": "ann@example.com"}})
    };
    let events = json!({"events": [event("a", "2026-09-20T10:00:00.000Z"),
        event("b", "2026-09-21T10:00:00.000Z"), event("b", "2025-01-01T10:00:00.000Z")]});
    let answer = brevo.try_send(Method::POST, "/events/batch", events).await.unwrap();
    assert_eq!(answer.status().as_u16(), 202);
    let list = async |query: &str| {
        let (status, body) = brevo.get(&format!("/events{query}")).await;
        assert_eq!(status, 200, "{body}");
        body
    };
    let all = list("").await;
    assert_eq!((&all["count"], &all["events"][0]["event_name"]), (&json!(2), &json!("b")));
    assert_eq!(all["events"][0]["contact_id"], contact);
    assert_eq!(all["events"][0]["event_properties"], json!({"n": 1}));
    assert_eq!(list("?event_name=a&event_name=b&startDate=2024-01-01").await["count"], 3);
    assert_eq!(list("?event_name=a&endDate=2026-09-20").await["count"], 1);
    assert_eq!(list("?endDate=2026-09-19").await["count"], 0);
    assert_eq!(list(&format!("?contact_id={}", contact + 1)).await["count"], 0);
}
