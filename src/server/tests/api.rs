use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn the_api_needs_the_token_and_says_so() {
    let server = TestServer::start().await;
    let address = server.addresses.api;
    for path in ["/api/v1/rules", "/api/v1/dead-letters", "/api/v1/no/such/thing"] {
        let reply = send(address, "GET", path, &[], "").await;
        reply.problem(401);
        assert!(reply.head.contains("www-authenticate: bearer"), "{reply:?}");
    }
    let wrong = [("Authorization", "Bearer admin-tokem")];
    for _ in 0..7 {
        send(address, "GET", "/api/v1/rules", &wrong, "").await.problem(401);
    }
    let reply = send(address, "GET", "/api/v1/rules", &wrong, "").await;
    reply.problem(429);
    assert!(reply.head.contains("retry-after: "), "{reply:?}");
    // The right token is never locked out, and health is everybody's.
    server.get("/api/v1/rules").await.expect(200);
    send(address, "GET", "/healthz", &[], "").await.expect(200);
}

#[tokio::test]
async fn what_is_not_there_or_cannot_be_used_is_a_problem() {
    let server = TestServer::start().await;
    let detail = server.get("/no/such/thing").await.problem(404);
    assert_eq!(detail, "there is nothing at `/no/such/thing`");
    let detail = server.get("/api/v1/no/such/thing").await.problem(404);
    assert_eq!(detail, "there is nothing at `/api/v1/no/such/thing`");
    let reply = server.api("POST", "/rules", "").await;
    reply.problem(405);
    assert!(reply.head.contains("allow: get"), "{reply:?}");
    server.get("/api/v1/dead-letters?limit=0").await.problem(400);
    server.get("/api/v1/dead-letters?limit=1001").await.problem(400);
    server.get("/api/v1/connectors/intercom/syncs/none").await.problem(404);
    server.get("/api/v1/connectors/intercom/syncs/%ff").await.problem(404);
    server.get("/api/v1/dead-letters/1").await.problem(404);
    server.get("/api/v1/dead-letters/one").await.problem(400);
    server.get("/api/v1/dead-letters?limit=many").await.problem(400);
}

#[tokio::test]
async fn a_sync_is_queued_and_can_be_followed() {
    let server = TestServer::start().await;
    let asked = json!({
        "type": "full", "since": "2023-01-01", "backfillEvents": true,
        "resources": ["contacts", "conversations", "companies", "events", "tags"],
    });
    let reply = server.api("POST", "/connectors/intercom/sync", &asked.to_string()).await;
    let answer = reply.expect(202).json();
    assert_eq!(answer["ignored"], json!([]));
    let id = answer["id"].as_str().unwrap();
    let sync = server.api("GET", &format!("/connectors/intercom/syncs/{id}"), "").await;
    let untouched = json!({
        "seen": 0, "expected": null, "done": false, "pages": 0, "partial": false, "error": null,
        "startedAt": null, "endedAt": null, "since": null, "lagSeconds": null,
    });
    let expected = json!({
        "id": id, "type": "full", "state": "queued",
        "resources": {
            "contacts": untouched, "conversations": untouched, "companies": untouched,
            "events": untouched, "tags": untouched,
        },
        "since": "2023-01-01T00:00:00Z", "requestedAt": "2026-09-21T14:13:20Z",
        "startedAt": null, "finishedAt": null, "error": null,
    });
    assert_eq!(sync.expect(200).json(), expected);
}

#[tokio::test]
async fn a_sync_that_cannot_be_understood_says_what_is_wrong() {
    let server = TestServer::start().await;
    let cases = [
        ("", "the body cannot be used: EOF while parsing a value at line 1 column 0"),
        (r#"{"type":"all"}"#, "unknown variant `all`, expected `full` or `incremental`"),
        (r#"{"typ":"full"}"#, "unknown field `typ`"),
        (r#"{"type":"full","resources":["people"]}"#, "`people` is not a resource"),
        (r#"{"type":"full","since":"yesterday"}"#, "`since` is not a date such as"),
    ];
    for (body, expected) in cases {
        let reply = server.api("POST", "/connectors/intercom/sync", body).await;
        let detail = reply.problem(400);
        assert!(detail.contains(expected), "{detail}");
    }
}

#[tokio::test]
async fn a_trusted_caller_hands_notifications_in_without_a_signature() {
    let server = TestServer::start().await;
    let item = json!({"type": "contact", "id": "c1", "email": "c1@example.com", "updated_at": 1});
    let path = "/connectors/intercom/webhook";
    let body = json!({"topic": "contact.created", "data": {"item": item}}).to_string();
    let first = server.api("POST", path, &body).await.expect(200).json();
    assert_eq!(first, json!({"accepted": true}));
    let again = server.api("POST", path, &body).await.expect(200).json();
    assert_eq!(again, json!({"accepted": false, "duplicate": true}));
    let nobody = json!({"topic": "contact.created", "data": {}}).to_string();
    let detail = server.api("POST", path, &nobody).await.problem(400);
    assert_eq!(detail, "the notification cannot be used: its contact has no usable id");
}

#[tokio::test]
async fn dead_letters_are_listed_shown_retried_and_dropped() {
    let server = TestServer::start().await;
    for body in ["not JSON", "[]", "{}"] {
        server.deliver(body).await.expect(200);
    }
    let listed = server.api("GET", "/dead-letters?limit=2", "").await.expect(200).json();
    let newest = listed.as_array().unwrap();
    assert_eq!(newest.len(), 2);
    assert_eq!(newest[0]["kind"], "unusable");
    assert_eq!(newest[0]["at"], "2026-09-21T14:13:20Z");
    let id = &newest[0]["id"];
    let path = format!("/dead-letters/{id}");
    assert_eq!(&server.api("GET", &path, "").await.expect(200).json(), &newest[0]);
    // What cannot be used cannot be retried.
    let retried = server.api("POST", &format!("{path}/retry"), "").await.expect(200).json();
    assert_eq!(retried, json!({"retried": 0}));
    let retried = server.api("POST", "/dead-letters/retry", "").await.expect(200).json();
    assert_eq!(retried, json!({"retried": 0}));
    let dropped = server.api("DELETE", &path, "").await.expect(200).json();
    assert_eq!(dropped, json!({"dropped": 1}));
    server.api("DELETE", &path, "").await.problem(404);
    let dropped = server.api("DELETE", "/dead-letters", "").await.expect(200).json();
    assert_eq!(dropped, json!({"dropped": 2}));
    let status = server.api("GET", "/connectors/intercom/status", "").await.json();
    assert_eq!(status["records"]["skipped"], 3);
}

#[tokio::test]
async fn the_rules_are_shown_with_their_files() {
    let server = TestServer::start().await;
    let rules = server.get("/api/v1/rules").await.expect(200).json();
    assert_eq!(rules["error"], Value::Null);
    assert!(rules["version"].is_string());
    assert_eq!(rules["loadedAt"], "2026-09-21T14:13:20Z");
    let files = rules["files"].as_array().unwrap();
    assert!(files.iter().any(|file| file.as_str().unwrap().ends_with("mapping.rhai")), "{files:?}");
}

#[tokio::test]
async fn with_an_address_of_its_own_the_api_is_not_where_webhooks_are() {
    let settings = "  admin_listen: 127.0.0.1:0\n";
    let server = TestServer::start_with(settings, ServerOptions::default()).await;
    let Addresses { public, api } = server.addresses;
    assert_ne!(public, api);
    for address in [public, api] {
        send(address, "GET", "/healthz", &[], "").await.expect(200);
        send(address, "GET", "/readyz", &[], "").await.expect(200);
    }
    for path in ["/metrics", "/api/v1/rules"] {
        send(public, "GET", path, &[BEARER], "").await.problem(404);
        send(api, "GET", path, &[BEARER], "").await.expect(200);
    }
    send(api, "POST", "/webhooks/intercom", &[], "").await.problem(404);
    server.deliver(&notification("n1", "contact.created", "c1")).await.expect(200);
}
