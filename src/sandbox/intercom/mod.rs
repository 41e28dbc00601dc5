//! A fake Intercom on this machine, as strict as the real one.
//!
//! It keeps contacts, conversations, companies, custom events and tags, answers the calls of API 2.11
//! to 2.16 that an integration needs, and delivers signed notifications of every change, whether that came over HTTP or through
//! [`IntercomSandbox`]. What the real service refuses, it refuses in the same words; what is not
//! known of the real one is the stricter guess. It does not compress answers, or pause a failing webhook
//! for fifteen minutes.

mod admin;
mod attribute;
mod attribute_calls;
mod change;
mod company;
mod company_calls;
mod company_change;
mod contact;
mod contact_calls;
mod contact_change;
mod conversation;
mod conversation_calls;
mod conversation_change;
mod conversation_search;
mod conversation_view;
mod cursor;
mod drift;
mod event;
mod export;
mod fields;
mod fin;
mod firing;
mod groups;
mod inside;
mod lag;
mod mood;
mod notification;
mod oauth;
mod refused;
mod routes;
mod search;
mod seeding;
mod segment;
mod serve;
mod sort;
mod state;
mod table;
mod tag_calls;
#[cfg(test)]
mod tests;
mod time;
mod version;
mod webhook;
mod write;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use jiff::tz::TimeZone;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use fin::{Fin, FinResolution};
pub use mood::Failure;
pub use notification::{notification, ping, sign};
pub use refused::Refused;
pub use webhook::{Delivery, DeliveryOptions, DeliveryStatus};

use self::contact::Form;
use self::mood::Moods;
use self::oauth::OAuth;
use self::serve::{Manner, Shared, handle, lock};
use self::state::State;
use self::webhook::Courier;
use self::write::Way;
use super::log::RequestLog;
use super::seed::Seed;
use super::window::EpochWindow;
use crate::model::{Clock, Timestamp};
use crate::sandbox::OptIns;

/// Requests per ten seconds of a private app: 10,000 a minute (facts: Intercom section 2).
const DEFAULT_RATE_LIMIT: u32 = 1667;

const WINDOW_SECONDS: i64 = 10;

/// How long [`IntercomSandbox::shutdown`] waits for open connections.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(2);

/// How the fake Intercom starts.
#[derive(Debug, Clone)]
pub struct IntercomOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The token that it accepts.
    pub access_token: String,
    /// The public app that admins may connect.
    pub client_id: String,
    /// The secret that it signs notifications with and that a code is exchanged with.
    pub client_secret: String,
    /// The workspace, in contacts and in notifications.
    pub app_id: String,
    /// Requests per window of ten seconds, aligned to the epoch; `None` for no limit.
    pub rate_limit: Option<u32>,
    /// How long every request takes at least.
    pub latency: Option<Duration>,
    /// The workspace's zone, by whose days search compares dates; UTC if the machine knows it not.
    pub timezone: String,
    /// How notifications are delivered.
    pub delivery: DeliveryOptions,
    /// The log to write to.
    pub log: RequestLog,
}

impl Default for IntercomOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            access_token: "sandbox-intercom-token".to_owned(),
            client_id: "sandbox-client-id".to_owned(),
            client_secret: "sandbox-client-secret".to_owned(),
            app_id: "sandbox01".to_owned(),
            rate_limit: Some(DEFAULT_RATE_LIMIT),
            latency: None,
            timezone: "America/Los_Angeles".to_owned(),
            delivery: DeliveryOptions::default(),
            log: RequestLog::new(),
        }
    }
}

/// What a change did.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// The id of what was made or changed.
    pub id: String,
    /// The notifications that it fired, in order. They are delivered if a target is set.
    pub notifications: Vec<Value>,
}

/// A running fake Intercom. Dropping it stops it.
#[derive(Debug)]
pub struct IntercomSandbox {
    shared: Arc<Shared>,
    address: SocketAddr,
    app_id: String,
    client_id: String,
    client_secret: String,
    server: JoinHandle<std::io::Result<()>>,
    _stop: DropGuard,
}

impl IntercomSandbox {
    /// Starts listening. Fails if the address is taken.
    pub async fn start(options: IntercomOptions, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let courier = Courier::new(
            options.client_secret.clone(),
            options.delivery,
            Arc::clone(&clock),
            stop.clone(),
        )?;
        let zone = TimeZone::get(&options.timezone).unwrap_or(TimeZone::UTC);
        let oauth = OAuth::new(
            options.client_id.clone(),
            options.client_secret.clone(),
            options.access_token.clone(),
        );
        let shared = Arc::new(Shared {
            access_token: options.access_token,
            clock,
            state: Mutex::new(State::new(options.app_id.clone(), zone)),
            window: Mutex::new(EpochWindow::new(options.rate_limit, WINDOW_SECONDS)),
            manner: Mutex::new(Manner { latency: options.latency, says_retry_after: false }),
            moods: Moods::default(),
            oauth: Mutex::new(oauth),
            log: options.log,
            courier,
            stop: stop.clone(),
        });
        let router = Router::new().fallback(handle).with_state(Arc::clone(&shared));
        // Without this a small answer waits for the client's delayed acknowledgement.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let serving = axum::serve(listener, router)
            .with_graceful_shutdown(stop.clone().cancelled_owned())
            .into_future();
        Ok(Self {
            shared,
            address,
            app_id: options.app_id,
            client_id: options.client_id,
            client_secret: options.client_secret,
            server: tokio::spawn(serving),
            _stop: stop.drop_guard(),
        })
    }

    /// Such as `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The token that it accepts.
    pub fn access_token(&self) -> &str {
        &self.shared.access_token
    }

    /// The public app that admins may connect.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The secret that it signs with.
    pub fn client_secret(&self) -> &str {
        &self.client_secret
    }

    /// The workspace.
    pub fn app_id(&self) -> &str {
        &self.app_id
    }

    /// Every request so far and its answer.
    pub fn log(&self) -> RequestLog {
        self.shared.log.clone()
    }

    /// Stops listening, answers what is open and gives up deliveries.
    pub async fn shutdown(mut self) {
        self.shared.stop.cancel();
        if tokio::time::timeout(SHUTDOWN_WAIT, &mut self.server).await.is_err() {
            self.server.abort();
        }
    }

    // OAuth: `GET /oauth` is the page of consent, `POST /auth/eagle/token` the exchange.

    /// A code as consent gives it, good for one exchange.
    pub fn oauth_code(&self) -> String {
        lock(&self.shared.oauth).issue_code()
    }

    /// The address that the app has registered: where consent leads back to if the request names none.
    pub fn set_redirect_url(&self, url: Option<String>) {
        lock(&self.shared.oauth).redirect_url = url;
    }

    /// Says whether the admin refuses consent.
    pub fn deny_consent(&self, denies: bool) {
        lock(&self.shared.oauth).is_denied = denies;
    }

    // What is in the workspace.

    /// Adds seeded contacts, companies and tags. Fires nothing.
    pub fn seed(&self, seed: &Seed) -> Result<(), Refused> {
        self.shared.state().seed(seed, self.shared.clock.now())
    }

    /// All contacts that are neither archived nor gone, newest `updated_at` first, as REST shows them.
    pub fn contacts(&self) -> Vec<Value> {
        let state = self.shared.state();
        state.contacts.newest_first().map(|c| state.view(c, Form::Rest).to_value()).collect()
    }

    /// A contact as REST shows it, archived or not; `None` if it is gone.
    pub fn contact(&self, id: &str) -> Option<Value> {
        let state = self.shared.state();
        let contact = state.contacts.get(id)?;
        Some(state.view(contact, Form::Rest).to_value())
    }

    /// The ids of the contacts with an address, whatever its case, archived ones among them.
    pub fn ids_by_email(&self, email: &str) -> Vec<String> {
        let state = self.shared.state();
        state.contacts.with_email(email).map(|contact| contact.id.to_string()).collect()
    }

    /// Answers, for as long as this runs, when whoever has an address opted in again: the newest such
    /// time, if no contact with the address is out.
    pub fn opt_ins(&self) -> OptIns {
        let shared = Arc::clone(&self.shared);
        OptIns::new(move |email| shared.state().opted_in(email))
    }

    /// The companies as REST shows them, those without contacts among them.
    pub fn companies(&self) -> Vec<Value> {
        let state = self.shared.state();
        state.companies.iter().map(|company| state.company_rest(company)).collect()
    }

    // Changes from inside Intercom: the Messenger, an admin, an import.

    /// Makes a contact from any of its keys. `updated_at` and `created_at` may be given; custom
    /// attributes are made as needed. Two users may share an address.
    pub fn create_contact(&self, contact: Value) -> Result<Changed, Refused> {
        self.change(|state, now| state.create(&contact, Way::Inside, now).map(|id| id.to_string()))
    }

    /// Sets the keys of `patch`, `null` clearing; custom attributes are merged. `updated_at` moves to
    /// the clock's second unless it is given.
    pub fn update_contact(&self, id: &str, patch: Value) -> Result<Changed, Refused> {
        self.change_contact(id, |state, now| state.update(id, &patch, Way::Inside, now))
    }

    /// Tags a contact, making the tag if there is none of that name.
    pub fn tag_contact(&self, id: &str, tag: &str) -> Result<Changed, Refused> {
        self.change_contact(id, |state, now| {
            let tag = state.tag_named(tag);
            state.tag(id, &tag, now)
        })
    }

    /// Takes a tag from a contact.
    pub fn untag_contact(&self, id: &str, tag: &str) -> Result<Changed, Refused> {
        self.change_contact(id, |state, now| {
            let tag = state.tag_named(tag);
            state.untag(id, &tag, now)
        })
    }

    /// The contact opts out of all e-mail.
    pub fn unsubscribe(&self, id: &str) -> Result<Changed, Refused> {
        self.update_contact(id, serde_json::json!({"unsubscribed_from_emails": true}))
    }

    /// Hides a contact.
    pub fn archive(&self, id: &str) -> Result<Changed, Refused> {
        self.change_contact(id, |state, now| state.archive(id, now))
    }

    /// Brings an archived contact back.
    pub fn unarchive(&self, id: &str) -> Result<Changed, Refused> {
        self.change_contact(id, |state, now| state.unarchive(id, now))
    }

    /// Deletes a contact for good.
    pub fn delete(&self, id: &str) -> Result<Changed, Refused> {
        self.change_contact(id, |state, now| state.delete(id, now).map(drop))
    }

    /// Merges a lead into a user.
    pub fn merge(&self, from: &str, into: &str) -> Result<Changed, Refused> {
        self.change_contact(into, |state, now| state.merge(from, into, now))
    }

    /// Makes or updates a company by what `POST /companies` takes. No list shows it before it has a contact.
    pub fn create_company(&self, company: Value) -> Result<Changed, Refused> {
        self.change(|state, now| state.create_company(&company, now).map(|id| id.to_string()))
    }

    /// Adds a company to a contact.
    pub fn attach_company(&self, contact: &str, company: &str) -> Result<Changed, Refused> {
        self.change_contact(contact, |state, now| state.attach_company(contact, company, now))
    }

    /// Takes a company from a contact.
    pub fn detach_company(&self, contact: &str, company: &str) -> Result<Changed, Refused> {
        self.change_contact(contact, |state, now| state.detach_company(contact, company, now))
    }

    // Notifications.

    /// Sets where notifications go, or `None` for nowhere, and asks it with HEAD as Intercom does when
    /// an address is saved; see [`Self::is_target_probed`]. Enables a disabled subscription again.
    pub async fn deliver_to(&self, url: Option<String>) {
        self.shared.courier.set_target(url).await;
    }

    /// Whether HEAD was answered with 2xx; `None` without a target. Intercom saves no other address.
    pub fn is_target_probed(&self) -> Option<bool> {
        self.shared.courier.is_probed()
    }

    /// True once the target has answered 410.
    pub fn is_webhook_disabled(&self) -> bool {
        self.shared.courier.is_disabled()
    }

    /// Delivers a notification of the caller's own making, see [`notification`] and [`ping`].
    pub fn deliver(&self, notification: Value) {
        self.shared.courier.queue(notification);
    }

    /// All deliveries so far, in the order in which they were fired.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.courier.deliveries()
    }

    /// Waits until every delivery has its final outcome.
    pub async fn wait_delivered(&self) {
        self.shared.courier.wait_delivered().await;
    }

    /// Sends every notification this many times more, all at once.
    pub fn duplicate_deliveries(&self, copies: usize) {
        self.shared.courier.set_copies(copies);
    }

    /// Sends notifications in swapped pairs: each second one is answered before the first is sent.
    pub fn reorder_deliveries(&self, reorders: bool) {
        self.shared.courier.set_reorders(reorders);
    }

    /// `contact.merged` names the contact that is gone, as newer docs have it and recordings do not.
    pub fn name_merged_contact(&self, names: bool) {
        self.shared.state().names_merged_contact = names;
    }

    // Moods.

    /// Lets the next `times` requests with a valid token fail whose path begins with `matcher`, which
    /// may be preceded by a method and a space.
    pub fn fail_next(&self, matcher: &str, failure: Failure, times: usize) {
        self.shared.moods.add(matcher, 0, failure, times);
    }

    /// The same, but the first `spared` of these requests are answered as they should be.
    pub fn fail_after(&self, spared: usize, matcher: &str, failure: Failure, times: usize) {
        self.shared.moods.add(matcher, spared, failure, times);
    }

    /// Lets the next request that `matcher` fits hang until the client gives up.
    pub fn hang_next(&self, matcher: &str) {
        self.fail_next(matcher, Failure::Hang, 1);
    }

    /// How many of the failures that were asked for have not happened yet.
    pub fn failures_left(&self) -> usize {
        self.shared.moods.left()
    }

    /// Forgets the failures that have not happened yet.
    pub fn forgive(&self) {
        self.shared.moods.clear();
    }

    /// Changes the requests per window of ten seconds; `None` for no limit.
    pub fn set_rate_limit(&self, limit: Option<u32>) {
        lock(&self.shared.window).set_limit(limit);
    }

    /// Says whether a 429 carries `Retry-After`, which the real one does not document.
    pub fn say_retry_after(&self, says: bool) {
        lock(&self.shared.manner).says_retry_after = says;
    }

    /// Changes how long every request takes at least.
    pub fn set_latency(&self, latency: Option<Duration>) {
        lock(&self.shared.manner).latency = latency;
    }

    /// How many seconds search is behind; 0 for not at all, which is how it starts.
    pub fn set_index_lag(&self, seconds: i64) {
        let mut state = self.shared.state();
        state.lag.set_seconds(seconds);
        state.conversation_lag.set_seconds(seconds);
    }

    fn change_contact(
        &self,
        id: &str,
        change: impl FnOnce(&mut State, Timestamp) -> Result<(), Refused>,
    ) -> Result<Changed, Refused> {
        self.change(|state, now| change(state, now).map(|()| id.to_owned()))
    }

    fn change(
        &self,
        change: impl FnOnce(&mut State, Timestamp) -> Result<String, Refused>,
    ) -> Result<Changed, Refused> {
        let now = self.shared.clock.now();
        let mut state = self.shared.state();
        let id = change(&mut state, now)?;
        let notifications = state.take_outbox();
        // Queued under the lock, so that deliveries are in the order of the changes.
        for notification in &notifications {
            self.shared.courier.queue(notification.clone());
        }
        Ok(Changed { id, notifications })
    }
}
