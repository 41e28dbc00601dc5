//! Webhooks: subscriptions as the API keeps them, what happens to contacts as payloads, and their
//! delivery with Brevo's ladder of retries (facts: Brevo section 8).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::reply::{Refusal, Reply};
use super::request::Request;
use super::server::http_client;
use super::state::Account;
use super::write::Actor;

/// At most this many webhooks in an account.
const MOST: usize = 40;
/// At most this many events in one request.
const BATCH: usize = 500;
/// An answer that takes longer counts as none.
const DEADLINE: Duration = Duration::from_secs(5);

/// How Brevo delivers webhooks. The defaults are its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookOptions {
    /// The wait before each further attempt after a 429 or no answer at all.
    pub retries: Vec<Duration>,
    /// For how long the events of a batched webhook are gathered.
    pub batch_window: Duration,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            retries: vec![minutes(10), minutes(60), minutes(120), minutes(480)],
            batch_window: minutes(5),
        }
    }
}

/// The body of `POST /webhooks`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HookBody {
    url: String,
    #[serde(default = "transactional", rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    batched: bool,
    #[serde(default)]
    auth: Option<Value>,
}

fn transactional() -> String {
    "transactional".to_owned()
}

impl HookBody {
    /// A marketing webhook for everything that happens to contacts.
    pub(super) fn new(url: &str, token: &str, batched: bool) -> Self {
        let events = ["unsubscribed", "contactUpdated", "contactDeleted", "listAddition"];
        let more = ["hardBounce", "softBounce", "spam", "opened", "click", "delivered"];
        Self {
            url: url.to_owned(),
            kind: "marketing".to_owned(),
            events: events.into_iter().chain(more).map(str::to_owned).collect(),
            description: String::new(),
            batched,
            auth: Some(json!({"type": "bearer", "token": token})),
        }
    }

    fn token(&self) -> Option<&str> {
        self.auth.as_ref()?.get("token")?.as_str()
    }

    fn to_json(&self, id: i64) -> Value {
        json!({"id": id, "url": self.url, "type": self.kind, "events": self.events,
               "description": self.description, "batched": self.batched})
    }
}

/// The account's webhooks, and what is to be delivered to them.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    next: i64,
    all: BTreeMap<i64, HookBody>,
    outbox: Vec<Parcel>,
}

/// One event for one webhook.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    hook: i64,
    body: HookBody,
    payload: Value,
}

impl Hooks {
    /// Makes a webhook; its number.
    pub(super) fn create(&mut self, body: HookBody) -> Result<i64, Refusal> {
        if self.all.len() >= MOST {
            return Err(Refusal::invalid("At most 40 webhooks are allowed"));
        }
        if body.url.parse::<url::Url>().is_err() {
            return Err(Refusal::invalid("url is not valid"));
        }
        self.next += 1;
        self.all.insert(self.next, body);
        Ok(self.next)
    }

    /// Takes what is to be delivered.
    pub(super) fn take(&mut self) -> Vec<Parcel> {
        std::mem::take(&mut self.outbox)
    }

    /// `subscribed` is how subscriptions spell the event, which the payload spells otherwise.
    fn fire(&mut self, subscribed: &str, payload: &Value) {
        for (hook, body) in &self.all {
            if body.kind == "marketing" && body.events.iter().any(|event| event == subscribed) {
                let mut payload = payload.clone();
                if let Some(fields) = payload.as_object_mut() {
                    fields.insert("id".to_owned(), json!(hook));
                }
                self.outbox.push(Parcel { hook: *hook, body: body.clone(), payload });
            }
        }
    }

    /// Answers a request below `/webhooks`.
    pub(super) fn answer(&mut self, request: &Request, inside: &[&str]) -> Result<Reply, Refusal> {
        let missing = || Refusal::not_found("Webhook ID does not exist");
        let number = |text: &str| text.parse::<i64>().map_err(|_| missing());
        match (request.method.as_str(), inside) {
            ("GET", []) => {
                let kind = request.parameter("type").unwrap_or_else(transactional);
                let of_kind = self.all.iter().filter(|(_, hook)| hook.kind == kind);
                let found: Vec<Value> = of_kind.map(|(id, hook)| hook.to_json(*id)).collect();
                // None of a type is an error and not an empty list.
                if found.is_empty() {
                    let message = "Webhook record(s) not found";
                    return Err(Refusal::new(400, "document_not_found", message));
                }
                Ok(Reply::ok(&json!({"webhooks": found})))
            }
            ("POST", []) => self.create(request.json()?).map(Reply::created),
            ("GET", [id]) => {
                let id = number(id)?;
                Ok(Reply::ok(&self.all.get(&id).ok_or_else(missing)?.to_json(id)))
            }
            ("DELETE", [id]) => {
                self.all.remove(&number(id)?).ok_or_else(missing)?;
                Ok(Reply::no_content())
            }
            (method, [] | [_]) => Err(Refusal::method(method)),
            _ => Err(Refusal::not_found("Path not found")),
        }
    }
}

impl Account {
    /// A contact has other values or flags than before.
    pub(super) fn fire_updated(&mut self, id: i64, changed: &[(String, Value)], actor: Actor<'_>) {
        let content: Vec<Value> =
            changed.iter().map(|(name, value)| json!({ name.clone(): value })).collect();
        let api_key_name = self.name_of(actor);
        self.fire(id, "contactUpdated", |mut payload| {
            payload.insert("event".into(), json!("contact_updated"));
            payload.insert("content".into(), json!(content));
            payload.insert("api_key_name".into(), json!(api_key_name));
            payload
        });
    }

    /// A contact was put on a list.
    pub(super) fn fire_joined(&mut self, id: i64, list: i64, actor: Actor<'_>) {
        let api_key_name = self.name_of(actor);
        self.fire(id, "listAddition", |mut payload| {
            payload.insert("event".into(), json!("list_addition"));
            payload.insert("list_id".into(), json!([list]));
            payload.insert("api_key_name".into(), json!(api_key_name));
            payload
        });
    }

    /// A contact is about to be deleted.
    pub(super) fn fire_deleted(&mut self, id: i64) {
        let lists = self.get(id).map(|contact| contact.lists.clone()).unwrap_or_default();
        self.fire(id, "contactDeleted", |mut payload| {
            payload.insert("event".into(), json!("contact_deleted"));
            payload.insert("list_id".into(), json!(lists));
            payload
        });
    }

    /// A campaign had an effect on a contact; `subscribed` and `event` are the two spellings.
    pub(super) fn fire_campaign(&mut self, id: i64, subscribed: &str, event: &str) {
        let now = self.now();
        self.fire(id, subscribed, |mut payload| {
            payload.insert("event".into(), json!(event));
            payload.insert("camp_id".into(), json!(21));
            payload.insert("campaign name".into(), json!("November news"));
            payload.insert("ts_event".into(), json!(now));
            payload
        });
    }

    fn fire(
        &mut self,
        id: i64,
        subscribed: &str,
        fill: impl FnOnce(serde_json::Map<String, Value>) -> serde_json::Map<String, Value>,
    ) {
        let Some(email) = self.get(id).and_then(|contact| contact.email.clone()) else {
            return;
        };
        let mut payload = serde_json::Map::new();
        payload.insert("email".into(), json!(email));
        payload.insert("ts".into(), json!(self.now()));
        let payload = Value::Object(fill(payload));
        self.hooks.fire(subscribed, &payload);
    }

    /// The name of the key that a request was made with; imports do not tell it.
    fn name_of(&self, actor: Actor<'_>) -> String {
        match actor {
            Actor::Request(label) if !label.contains("/contacts/import") => {
                self.api_key_name.clone()
            }
            Actor::Request(_) | Actor::Foreign => String::new(),
        }
    }
}

/// One request that was made to a webhook's address.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookDelivery {
    /// What was sent: an event, or an array of them.
    pub body: Value,
    /// What was answered; none: nothing was.
    pub status: Option<u16>,
}

/// Delivers webhooks, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Courier {
    parcels: mpsc::UnboundedSender<Vec<Parcel>>,
    deliveries: Arc<Mutex<Vec<WebhookDelivery>>>,
}

impl Courier {
    /// A courier that works until its tasks are stopped.
    pub(super) fn start(
        options: WebhookOptions,
        tasks: &TaskTracker,
        stop: &tokio_util::sync::CancellationToken,
    ) -> Self {
        let (parcels, waiting) = mpsc::unbounded_channel();
        let deliveries = Arc::default();
        let round = Rounds { options, deliveries: Arc::clone(&deliveries) };
        tasks.spawn(stop.clone().run_until_cancelled_owned(round.run(waiting)));
        Self { parcels, deliveries }
    }

    pub(super) fn send(&self, parcels: Vec<Parcel>) {
        if !parcels.is_empty() && self.parcels.send(parcels).is_err() {
            tracing::debug!("the fake Brevo stops, a webhook is not delivered");
        }
    }

    pub(super) fn deliveries(&self) -> Vec<WebhookDelivery> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Rounds {
    options: WebhookOptions,
    deliveries: Arc<Mutex<Vec<WebhookDelivery>>>,
}

impl Rounds {
    async fn run(self, mut waiting: mpsc::UnboundedReceiver<Vec<Parcel>>) {
        let Some(client) = http_client(DEADLINE) else { return };
        while let Some(mut parcels) = waiting.recv().await {
            if parcels.iter().any(|parcel| parcel.body.batched) {
                tokio::time::sleep(self.options.batch_window).await;
                while let Ok(more) = waiting.try_recv() {
                    parcels.extend(more);
                }
            }
            let (batched, single): (Vec<_>, Vec<_>) =
                parcels.into_iter().partition(|parcel| parcel.body.batched);
            for Parcel { body, payload, .. } in single {
                self.deliver(&client, &body, &payload).await;
            }
            let mut by_hook: BTreeMap<i64, Vec<Parcel>> = BTreeMap::new();
            for parcel in batched {
                by_hook.entry(parcel.hook).or_default().push(parcel);
            }
            for parcels in by_hook.values().flat_map(|parcels| parcels.chunks(BATCH)) {
                let payload: Vec<&Value> = parcels.iter().map(|parcel| &parcel.payload).collect();
                if let Some(first) = parcels.first() {
                    self.deliver(&client, &first.body, &json!(payload)).await;
                }
            }
        }
    }

    /// Sends until there is an answer that ends it: any but 429.
    async fn deliver(&self, client: &reqwest::Client, hook: &HookBody, payload: &Value) {
        let waits = self.options.retries.iter().map(Some).chain([None]);
        for wait in waits {
            let mut call = client.post(&hook.url).json(payload);
            if let Some(token) = hook.token() {
                call = call.bearer_auth(token);
            }
            let status = call.send().await.ok().map(|answer| answer.status().as_u16());
            let delivery = WebhookDelivery { body: payload.clone(), status };
            self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
            match (status, wait) {
                (None | Some(429), Some(wait)) => tokio::time::sleep(*wait).await,
                _ => return,
            }
        }
    }
}
