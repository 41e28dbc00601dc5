//! The traps, over HTTP.

mod consent;
mod contacts;
mod imports;
mod indexes;
mod lists;
mod service;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use super::{BrevoOptions, BrevoSandbox, Limits};
use crate::model::{ManualClock, Timestamp};

struct Brevo {
    sandbox: BrevoSandbox,
    clock: Arc<ManualClock>,
    client: Client,
}

impl Brevo {
    async fn start() -> Self {
        Self::with(BrevoOptions { limits: Limits::off(), ..BrevoOptions::default() }).await
    }

    async fn with(options: BrevoOptions) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_790_000_000)));
        let options = BrevoOptions { import_delay: Duration::ZERO, ..options };
        let sandbox = BrevoSandbox::start(options, clock.clone()).await.unwrap();
        let client = Client::builder().no_proxy().build().unwrap();
        for (name, kind) in [("PAID", "boolean"), ("MRR", "float"), ("DAY", "date")] {
            sandbox.create_attribute(name, kind).unwrap();
        }
        Self { sandbox, clock, client }
    }

    async fn try_send(&self, method: Method, path: &str, body: Value) -> reqwest::Result<Response> {
        let url = format!("{}{path}", self.sandbox.base_url());
        let request = self.client.request(method, url).header("api-key", self.sandbox.api_key());
        let request = if body.is_null() { request } else { request.json(&body) };
        request.send().await
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let response = self.try_send(method, path, body).await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(Method::POST, path, body).await
    }

    async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(Method::PUT, path, body).await
    }

    fn seed(&self, body: Value) -> i64 {
        self.sandbox.put_contact(&body).unwrap()
    }

    /// Imports, waits for the end, answers the process.
    async fn import(&self, body: Value) -> Value {
        let (status, answer) = self.post("/contacts/import", body).await;
        assert_eq!(status, 202, "{answer}");
        self.ended(answer["processId"].as_i64().unwrap()).await
    }

    async fn ended(&self, process: i64) -> Value {
        loop {
            let (status, answer) = self.get(&format!("/processes/{process}")).await;
            assert_eq!(status, 200, "{answer}");
            if ["completed", "failed"].contains(&answer["status"].as_str().unwrap()) {
                return answer;
            }
        }
    }
}

fn refused(code: &str, message: &str) -> (u16, Value) {
    (400, json!({"code": code, "message": message}))
}
