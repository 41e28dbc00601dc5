//! Delivery of notifications, with Intercom's deadline, its one retry and its ways to give up (facts:
//! Intercom section 8).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::notification::sign;
use crate::model::Clock;

/// Deliveries under way at once.
const CONCURRENT: usize = 64;

/// How long a notification that is to go out of order waits for the next one.
const REORDER_WAIT: Duration = Duration::from_millis(200);

const USER_AGENT: &str = "intercom-parrot-service-client/1.0";

/// How long Intercom waits, for what. The defaults are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryOptions {
    /// An answer that takes longer is a failure.
    pub deadline: Duration,
    /// From a failure to the one retry.
    pub retry_after: Duration,
    /// From the first 429 to the next attempt; it doubles from one 429 to the next.
    pub throttled_retry_after: Duration,
    /// A notification that is throttled longer than this is dropped.
    pub throttled_at_most: Duration,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            retry_after: Duration::from_secs(60),
            throttled_retry_after: Duration::from_secs(60),
            throttled_at_most: Duration::from_secs(7200),
        }
    }
}

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// On its way, or waiting for another attempt.
    Pending,
    /// Answered with 2xx.
    Delivered,
    /// Failed twice; lost.
    Failed,
    /// Answered with 429 for too long; lost.
    Dropped,
    /// Not sent, or answered with 410: the subscription is disabled.
    Disabled,
}

/// One notification on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The notification's id; a `ping` has none.
    pub id: Option<String>,
    /// Its topic.
    pub topic: String,
    /// How far it has come.
    pub status: DeliveryStatus,
    /// How often it was sent, copies not counted.
    pub attempts: u32,
    /// The status of the last answer, if there was one.
    pub last_answer: Option<u16>,
}

/// Sends notifications in the background. A clone is another handle on the same one.
#[derive(Debug, Clone)]
pub(super) struct Courier(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    secret: String,
    options: DeliveryOptions,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    stop: CancellationToken,
    permits: Semaphore,
    /// How many deliveries have no final outcome yet.
    open: watch::Sender<usize>,
    desk: Mutex<Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    target: Option<String>,
    is_probed: Option<bool>,
    is_disabled: bool,
    deliveries: Vec<Delivery>,
    copies: usize,
    reorders: bool,
    held: Option<Parcel>,
}

/// A notification to be sent, and its place in [`Desk::deliveries`].
#[derive(Debug)]
struct Parcel {
    place: usize,
    target: String,
    notification: Value,
    copies: usize,
}

impl Courier {
    /// A courier that sends nowhere yet. Must be called within a runtime.
    pub(super) fn new(
        secret: String,
        options: DeliveryOptions,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> std::io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            http: http_client()?,
            secret,
            options,
            clock,
            runtime: Handle::current(),
            stop,
            permits: Semaphore::new(CONCURRENT),
            open: watch::Sender::new(0),
            desk: Mutex::default(),
        })))
    }

    /// Sets or clears the target and enables it again. As Intercom does when an address is saved,
    /// asks it with HEAD; unlike Intercom, keeps it even if that fails.
    pub(super) async fn set_target(&self, url: Option<String>) {
        let is_probed = match &url {
            Some(url) => Some(self.0.probe(url).await),
            None => None,
        };
        let mut desk = self.0.desk();
        desk.target = url;
        desk.is_probed = is_probed;
        desk.is_disabled = false;
    }

    /// What HEAD was answered with when the target was set: `Some(true)` for 2xx.
    pub(super) fn is_probed(&self) -> Option<bool> {
        self.0.desk().is_probed
    }

    /// True once the target has answered 410.
    pub(super) fn is_disabled(&self) -> bool {
        self.0.desk().is_disabled
    }

    /// Sends every notification this many times more, all at once.
    pub(super) fn set_copies(&self, copies: usize) {
        self.0.desk().copies = copies;
    }

    /// Sends every other notification only after the one that follows it was answered.
    pub(super) fn set_reorders(&self, reorders: bool) {
        self.0.desk().reorders = reorders;
    }

    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        self.0.desk().deliveries.clone()
    }

    /// Waits until every delivery has its final outcome, or the sandbox stops.
    pub(super) async fn wait_delivered(&self) {
        let mut open = self.0.open.subscribe();
        tokio::select! {
            _ = open.wait_for(|open| *open == 0) => {}
            () = self.0.stop.cancelled() => {}
        }
    }

    /// Sends a notification in the background, if there is a target.
    pub(super) fn queue(&self, notification: Value) {
        let mut desk = self.0.desk();
        let Some(target) = desk.target.clone() else {
            return;
        };
        let text = |key: &str| notification.get(key).and_then(Value::as_str).map(str::to_owned);
        let is_disabled = desk.is_disabled;
        desk.deliveries.push(Delivery {
            id: text("id"),
            topic: text("topic").unwrap_or_default(),
            status: if is_disabled { DeliveryStatus::Disabled } else { DeliveryStatus::Pending },
            attempts: 0,
            last_answer: None,
        });
        if is_disabled {
            return;
        }
        self.0.open.send_modify(|open| *open += 1);
        let place = desk.deliveries.len() - 1;
        let parcel = Parcel { place, target, notification, copies: desk.copies };
        let held = desk.held.take();
        if desk.reorders && held.is_none() {
            desk.held = Some(parcel);
            self.spawn_release(place);
            return;
        }
        let shared = Arc::clone(&self.0);
        self.0.spawn(async move {
            shared.deliver(parcel).await;
            if let Some(held) = held {
                shared.deliver(held).await;
            }
        });
    }

    /// Sends the parcel that is held back if none has come after it in time.
    fn spawn_release(&self, place: usize) {
        let shared = Arc::clone(&self.0);
        self.0.spawn(async move {
            tokio::time::sleep(REORDER_WAIT).await;
            let held = shared.desk().held.take_if(|held| held.place == place);
            if let Some(held) = held {
                shared.deliver(held).await;
            }
        });
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs until it ends or the sandbox stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.runtime.spawn(async move { stop.run_until_cancelled(task).await });
    }

    async fn probe(&self, url: &str) -> bool {
        let request = self.http.head(url).header("User-Agent", USER_AGENT);
        match request.timeout(self.options.deadline).send().await {
            Ok(answer) => answer.status().is_success(),
            Err(_) => false,
        }
    }

    async fn deliver(&self, parcel: Parcel) {
        let status = self.attempt_all(&parcel).await;
        self.note(parcel.place, |delivery| delivery.status = status);
        if status == DeliveryStatus::Disabled {
            self.desk().is_disabled = true;
        }
        self.open.send_modify(|open| *open = open.saturating_sub(1));
    }

    /// Sends until there is a final outcome. A 429 is no failure; it waits.
    async fn attempt_all(&self, parcel: &Parcel) -> DeliveryStatus {
        let first_sent = Instant::now();
        let mut envelope = parcel.notification.clone();
        set(&mut envelope, "first_sent_at", json!(self.clock.now().seconds()));
        let mut has_failed = false;
        let mut throttled_wait = self.options.throttled_retry_after;
        for attempt in 1.. {
            set(&mut envelope, "delivery_attempts", json!(attempt));
            if attempt > 1 {
                set(&mut envelope, "delivery_status", json!("retry"));
            }
            let wait = match self.send(parcel, &envelope).await {
                Some(200..=299) => return DeliveryStatus::Delivered,
                Some(410) => return DeliveryStatus::Disabled,
                Some(429) => {
                    let wait = throttled_wait;
                    if first_sent.elapsed() + wait > self.options.throttled_at_most {
                        return DeliveryStatus::Dropped;
                    }
                    throttled_wait = wait.saturating_mul(2);
                    wait
                }
                _ if has_failed => return DeliveryStatus::Failed,
                _ => {
                    has_failed = true;
                    self.options.retry_after
                }
            };
            tokio::time::sleep(wait).await;
        }
        DeliveryStatus::Failed
    }

    /// Sends once, and the copies with it. The status of the first, or `None` without an answer.
    async fn send(&self, parcel: &Parcel, envelope: &Value) -> Option<u16> {
        // Nothing is sent while too much is on its way; waits for a retry do not count.
        let permit = self.permits.acquire().await;
        let body = Bytes::from(envelope.to_string());
        let signature = sign(&self.secret, &body);
        let posts = (0..=parcel.copies).map(|_| self.post(&parcel.target, &body, &signature));
        let answers = join_all(posts).await;
        drop(permit);
        let answer = answers.first().copied().flatten();
        self.note(parcel.place, |delivery| {
            delivery.attempts += 1;
            delivery.last_answer = answer;
        });
        answer
    }

    async fn post(&self, target: &str, body: &Bytes, signature: &str) -> Option<u16> {
        let request = self
            .http
            .post(target)
            .header("Content-Type", "application/json")
            .header("User-Agent", USER_AGENT)
            .header("X-Hub-Signature", signature)
            .timeout(self.options.deadline)
            .body(body.clone());
        request.send().await.ok().map(|answer| answer.status().as_u16())
    }

    fn note(&self, place: usize, change: impl FnOnce(&mut Delivery)) {
        if let Some(delivery) = self.desk().deliveries.get_mut(place) {
            change(delivery);
        }
    }
}

fn set(envelope: &mut Value, key: &str, value: Value) {
    // A ping has neither an id nor a status, on a retry either.
    let Some(envelope) = envelope.as_object_mut() else {
        return;
    };
    if key != "delivery_status" || envelope.get(key).is_some_and(Value::is_string) {
        envelope.insert(key.to_owned(), value);
    }
}

/// A client for plain HTTP on this machine: no proxy, no certificates.
fn http_client() -> std::io::Result<reqwest::Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(std::io::Error::other)
}
