//! The account against a Brevo whose answers come late.

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;
use crate::brevo::{BrevoSettings, BucketRates};
use crate::model::{ManualClock, Timestamp};

/// A Brevo whose first answer about attributes is true when it is asked for and comes once it is let go.
#[derive(Default)]
struct Slow {
    names: std::sync::Mutex<Vec<String>>,
    asked: Notify,
    go: Notify,
    questions: AtomicU64,
}

impl Slow {
    fn attributes(&self) -> Value {
        let names = self.names.lock().unwrap();
        let shown =
            names.iter().map(|name| json!({"name": name, "category": "normal", "type": "text"}));
        json!({"attributes": shown.collect::<Vec<_>>()})
    }

    async fn answer(&self) -> Value {
        let attributes = self.attributes();
        if self.questions.fetch_add(1, Ordering::SeqCst) == 0 {
            self.asked.notify_one();
            self.go.notified().await;
        }
        attributes
    }

    async fn start(self: Arc<Self>) -> Account {
        let (shown, made) = (Arc::clone(&self), self);
        let router = Router::new()
            .route("/contacts/attributes", get(async move || axum::Json(shown.answer().await)))
            .route(
                "/contacts/attributes/normal/{name}",
                post(async move |Path(name): Path<String>| {
                    made.names.lock().unwrap().push(name);
                    axum::http::StatusCode::CREATED
                }),
            )
            .route("/contacts/lists", get(async || axum::Json(json!({"count": 0, "lists": []}))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = BrevoSettings {
            base_url: format!("http://{}", listener.local_addr().unwrap()).parse().unwrap(),
            api_key: "key".into(),
            rates: BucketRates::unlimited(),
            backoff_base: Duration::from_millis(1),
            timeout: BrevoSettings::TIMEOUT,
            book: None,
        };
        tokio::spawn(async move { axum::serve(listener, router).await });
        let clock = ManualClock::at(Timestamp::from_seconds(1_768_000_000));
        Account::new(BrevoClient::new(settings, Arc::new(clock)).unwrap())
    }
}

fn config() -> Config {
    let path = std::path::Path::new("config/tajo.yaml");
    Config::parse("connectors: {}\n", path, &|_| None).unwrap()
}

#[tokio::test]
async fn an_answer_from_before_an_attribute_was_made_hides_it_from_nobody() {
    let slow = Arc::new(Slow::default());
    let account = Arc::clone(&slow).start().await;
    let (config, name) = (config(), "PLAN".parse::<AttributeName>().unwrap());
    // Somebody asks, and the answer stays away.
    let early = tokio::spawn({
        let account = account.clone();
        async move { account.snapshot(Lane::Live).await.map(|known| known.catalogue) }
    });
    slow.asked.notified().await;
    account.forget();
    let mut wanted = Wanted::default();
    wanted.attribute(&name, &AttributeValue::Text("pro".to_owned()));
    let known = account.ensure(Lane::Bulk, &config, &wanted).await.unwrap();
    assert!(known.catalogue.find(&name).is_some());
    slow.go.notify_one();
    assert!(early.await.unwrap().unwrap().find(&name).is_none(), "it was asked for before");
    let known = account.snapshot(Lane::Live).await.unwrap();
    assert!(known.catalogue.find(&name).is_some(), "a late answer was believed");
}
