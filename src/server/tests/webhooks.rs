use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn without_a_right_signature_nothing_is_stored_and_all_answers_are_the_same() {
    let server = TestServer::start().await;
    let body = notification("n1", "contact.user.created", "c1");
    let right = sign(&body);
    let other = sign("other bytes");
    let sha256 = format!("sha256={}", "0".repeat(64));
    let name = "X-Hub-Signature";
    let battery: [&[(&str, &str)]; 9] = [
        &[],
        &[(name, "")],
        &[(name, &other)],
        &[(name, &sha256)],
        &[(name, &right[5..])],
        &[(name, &right[..44])],
        &[(name, "sha1=zzzz")],
        &[(name, &right), (name, &right)],
        &[("X-Hub-Signature-256", &right)],
    ];
    let mut answers = Vec::new();
    for headers in battery {
        let reply = server.post("/webhooks/intercom", headers, &body).await;
        reply.problem(401);
        answers.push(reply.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);

    let status = server.get("/api/v1/connectors/intercom/status").await.json();
    assert_eq!(status["records"]["accepted"], 0);
    assert_eq!(status["duplicates"], 0);
    assert_eq!(server.get("/api/v1/dead-letters").await.json(), json!([]));
    let metrics = server.get("/metrics").await.body;
    for line in [
        "tajo_webhooks_total{result=\"signature_missing\"} 2",
        "tajo_webhooks_total{result=\"signature_several\"} 1",
        "tajo_webhooks_total{result=\"signature_malformed\"} 5",
        "tajo_webhooks_total{result=\"signature_mismatch\"} 1",
        "tajo_webhooks_total{result=\"accepted\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn what_is_signed_is_taken_once_and_counted() {
    let server = TestServer::start().await;
    let created = notification("n1", "contact.user.created", "c1");
    assert_eq!(server.deliver(&created).await.expect(200).json(), json!({}));
    server.deliver(&created).await.expect(200);
    server.deliver(&notification("n2", "contact.created", "c2")).await.expect(200);
    server.deliver(&notification("n3", "some.new.topic", "c3")).await.expect(200);
    let ping = r#"{"type":"notification_event","topic":"ping","data":{"item":{}}}"#;
    server.deliver(ping).await.expect(200);
    // A retry cannot help these, and errors would suspend the webhook.
    server.deliver("not JSON").await.expect(200);
    server.deliver(&"[".repeat(100_000)).await.expect(200);

    let status = server.get("/api/v1/connectors/intercom/status").await.json();
    let records = json!({
        "accepted": 6, "applied": 0, "unchanged": 0, "superseded": 0, "ignored": 2,
        "skipped": 0, "held": 0, "dead": 2, "pending": 2,
    });
    assert_eq!(status["records"], records);
    assert_eq!(status["duplicates"], 1);
    assert_eq!(status["deadLetters"], 2);
    let metrics = server.get("/metrics").await.body;
    for line in [
        "tajo_records{outcome=\"accepted\"} 6",
        "tajo_records{outcome=\"pending\"} 2",
        "tajo_duplicates_total 1",
        "tajo_webhooks_total{result=\"accepted\"} 6",
        "tajo_webhooks_total{result=\"duplicate\"} 1",
        "tajo_dead_letters 2",
        "tajo_rules_loaded 1",
        "# TYPE tajo_records gauge",
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn other_methods_are_refused_and_head_is_answered() {
    let server = TestServer::start().await;
    let address = server.addresses.public;
    let head = send(address, "HEAD", "/webhooks/intercom", &[], "").await.expect(200);
    assert_eq!(head.body, "");
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let reply = send(address, method, "/webhooks/intercom", &[], "").await;
        reply.problem(405);
        assert!(reply.head.contains("allow: post,head"), "{reply:?}");
    }
    server.post("/webhooks/brevo", &[], "{}").await.problem(503);
}

#[tokio::test]
async fn large_and_encoded_bodies_are_refused_unread() {
    let server = TestServer::start().await;
    let address = server.addresses.public;
    let head = "POST /webhooks/intercom HTTP/1.1\r\nHost: tajo\r\n";
    // The body never comes.
    let large = raw(address, &format!("{head}Content-Length: 1048577\r\n\r\n")).await;
    Reply::read(&large).problem(413);
    let encoded = format!("{head}Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n");
    Reply::read(&raw(address, &encoded).await).problem(415);

    // Neither does the end of this one, after one byte too many.
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let chunks = format!("80000\r\n{0}\r\n80000\r\n{0}\r\n1\r\nx\r\n", "x".repeat(0x8_0000));
    Reply::read(&raw(address, &format!("{chunked}{chunks}")).await).problem(413);

    let whole = "x".repeat(1 << 20);
    server.deliver(&whole).await.expect(200);
    let body = notification("n1", "contact.created", "c1");
    let headers = [("X-Hub-Signature", &*sign(&body)), ("Content-Encoding", "identity")];
    server.post("/webhooks/intercom", &headers, &body).await.expect(200);
}

#[tokio::test]
async fn two_lengths_are_refused_in_either_order() {
    let server = TestServer::start().await;
    let body = notification("n1", "contact.created", "c1");
    let signature = sign(&body);
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let lengths = ["Content-Length: 4", "Transfer-Encoding: chunked"];
    for order in [[0, 1], [1, 0]] {
        let lengths = order.map(|index| lengths[index]).join("\r\n");
        let text = format!(
            "POST /webhooks/intercom HTTP/1.1\r\nHost: tajo\r\n{lengths}\r\n\
             X-Hub-Signature: {signature}\r\n\r\n{chunked}"
        );
        Reply::read(&raw(server.addresses.public, &text).await).problem(400);
    }
    let alone = format!(
        "POST /webhooks/intercom HTTP/1.1\r\nHost: tajo\r\nTransfer-Encoding: chunked\r\n\
         X-Hub-Signature: {signature}\r\n\r\n{chunked}"
    );
    Reply::read(&raw(server.addresses.public, &alone).await).expect(200);
    let status = server.get("/api/v1/connectors/intercom/status").await.json();
    assert_eq!(status["records"]["accepted"], 1);
}

#[tokio::test]
async fn a_secret_that_is_reloaded_counts_from_then_on() {
    let server = TestServer::start().await;
    let body = notification("n1", "contact.created", "c1");
    server.reload_with_secret("");
    server.deliver(&body).await.problem(503);
    server.reload_with_secret("another");
    server.deliver(&body).await.problem(401);
    server.reload_with_secret(SECRET);
    server.deliver(&body).await.expect(200);
}

#[tokio::test]
async fn while_the_store_is_unwell_intercom_is_told_to_come_again() {
    let server = TestServer::start().await;
    server.close_store().await;
    let reply = server.deliver(&notification("n1", "contact.created", "c1")).await;
    reply.problem(429);
    assert!(reply.head.contains("retry-after: 30"), "{reply:?}");
    let handed_in = json!({"topic": "contact.created", "data": {"id": "c1"}}).to_string();
    server.api("POST", "/connectors/intercom/webhook", &handed_in).await.problem(429);
    server.get("/healthz").await.expect(200);
    let metrics = server.get("/metrics").await.expect(200).body;
    assert!(metrics.contains("tajo_webhooks_total{result=\"store_unwell\"} 1"), "{metrics}");
    let not_ready = server.get("/readyz").await.expect(503).json();
    assert_eq!(not_ready["ready"], Value::Bool(false));
}

#[tokio::test]
async fn is_ready_while_the_store_takes_webhooks() {
    let server = TestServer::start().await;
    let ready = server.get("/readyz").await.expect(200).json();
    assert_eq!(ready, json!({"ready": true, "degraded": []}));
}
