//! A fake Brevo on loopback that keeps state as the real one does and is as strict: what the real
//! service would refuse is refused, what it would drop without a word is dropped without a word, and
//! where its behaviour is not documented the worst is taken to be true ([`Quirks`]).
//!
//! It knows contacts, attributes, lists, folders, imports, events, webhooks, companies, custom objects
//! and double opt-in. It does not know segments, `forceMerge`, consent groups, campaigns, deals.

mod attribute;
mod company;
mod contact;
mod double_opt_in;
mod event;
mod import;
mod list;
mod mood;
mod multipart;
mod object;
mod rate;
mod reply;
mod request;
mod routes;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod value;
mod webhook;
mod write;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use attribute::AttributeBody;
use contact::{Contact, ContactBody, Identifier};
use list::FIRST_FOLDER;
use mood::{ImportMishap, Mishap, Moods};
use rate::Rates;
use server::Shared;
use state::Account;
use webhook::{Courier, HookBody};
use write::Actor;

use super::log::{Logged, RequestLog};
use crate::model::{Clock, Digest};
use crate::sandbox::OptIns;

pub use mood::Matcher;
pub use rate::Limits;
pub use reply::Refusal;
pub use state::{BadEvent, Quirks};
pub use webhook::{WebhookDelivery, WebhookOptions};

/// How a fake Brevo is set up.
#[derive(Debug, Clone)]
pub struct BrevoOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The one key that it accepts.
    pub api_key: String,
    /// The name that the key has in the account.
    pub api_key_name: String,
    /// How many requests it lets through.
    pub limits: Limits,
    /// How long an import is `queued`, and then `in_process`. Real time.
    pub import_delay: Duration,
    /// A wait before every answer. Real time.
    pub latency: Option<Duration>,
    /// What it does where the real one's behaviour is not documented.
    pub quirks: Quirks,
    /// How webhooks are delivered. Real time.
    pub webhooks: WebhookOptions,
    /// Where requests are written down.
    pub log: RequestLog,
}

impl Default for BrevoOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            api_key: "sandbox-brevo-key".to_owned(),
            api_key_name: "tajo".to_owned(),
            limits: Limits::default(),
            import_delay: Duration::from_millis(300),
            latency: None,
            quirks: Quirks::default(),
            webhooks: WebhookOptions::default(),
            log: RequestLog::new(),
        }
    }
}

/// A running fake Brevo. It stops when this is dropped.
#[derive(Debug)]
pub struct BrevoSandbox {
    shared: Arc<Shared>,
    api_key_name: String,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl BrevoSandbox {
    /// Binds and starts to answer. Times in the account come from `clock`; rates and the pace of
    /// imports are real time.
    pub async fn start(options: BrevoOptions, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let (imports, jobs) = mpsc::unbounded_channel();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let mut account = Account::new(Arc::clone(&clock), options.quirks);
        account.api_key_name.clone_from(&options.api_key_name);
        let shared = Arc::new(Shared {
            courier: Courier::start(options.webhooks, &tasks, &stop),
            account: Mutex::new(account),
            moods: Mutex::new(Moods::with_latency(options.latency)),
            rates: Mutex::new(Rates::new(options.limits)),
            log: options.log,
            api_key: options.api_key,
            clock,
            origin,
            imports,
        });
        shared.account().companies.import_delay = options.import_delay * 2;
        tasks.spawn(server::serve(listener, Arc::clone(&shared), tasks.clone(), stop.clone()));
        let worker = server::run_imports(Arc::clone(&shared), jobs, options.import_delay);
        tasks.spawn(stop.clone().run_until_cancelled_owned(worker));
        let stop = stop.drop_guard();
        Ok(Self { shared, api_key_name: options.api_key_name, tasks, stop })
    }

    /// What a client is given as its base address; it ends in `/v3`.
    pub fn base_url(&self) -> String {
        format!("{}/v3", self.shared.origin)
    }

    /// The key that a client must send.
    pub fn api_key(&self) -> &str {
        &self.shared.api_key
    }

    /// The name of that key in the account.
    pub fn api_key_name(&self) -> &str {
        &self.api_key_name
    }

    /// What was asked and answered.
    pub fn log(&self) -> RequestLog {
        self.shared.log.clone()
    }

    /// Stops, and waits until all connections are closed.
    pub async fn shutdown(self) {
        let Self { tasks, stop, .. } = self;
        drop(stop);
        tasks.close();
        tasks.wait().await;
    }
}

/// The account, past the API.
impl BrevoSandbox {
    /// The contact with this address, as `GET /contacts/{identifier}` answers it.
    pub fn contact(&self, email: &str) -> Option<Value> {
        let account = self.shared.account();
        let id = account.find(Identifier::Email, &email.to_lowercase())?;
        account.shown(id)
    }

    /// The contact with this number, likewise.
    pub fn contact_by_id(&self, id: i64) -> Option<Value> {
        self.shared.account().shown(id)
    }

    /// All contacts in the order of their creation, as `GET /contacts` answers them.
    pub fn contacts(&self) -> Vec<Value> {
        self.shared.account().contacts().map(Contact::to_json).collect()
    }

    /// How many contacts there are.
    pub fn contact_count(&self) -> usize {
        self.shared.account().contacts().count()
    }

    /// The numbers and names of all lists.
    pub fn lists(&self) -> Vec<(i64, String)> {
        let account = self.shared.account();
        account.lists.lists.iter().map(|(id, list)| (*id, list.name.clone())).collect()
    }

    /// The addresses of those on a list; `#` and the number for who has none.
    pub fn list_members(&self, list: i64) -> BTreeSet<String> {
        let account = self.shared.account();
        let Ok(list) = account.lists.get(list) else {
            return BTreeSet::new();
        };
        let contacts = list.members.iter().filter_map(|id| account.get(*id));
        let address =
            |contact: &Contact| contact.email.clone().unwrap_or(format!("#{}", contact.id));
        contacts.map(address).collect()
    }

    /// Makes a list; its number.
    pub fn create_list(&self, name: &str) -> i64 {
        let mut account = self.shared.account();
        let (id, now) = (account.lists.next_list(), account.stamp());
        account.lists.put(id, name, FIRST_FOLDER, now);
        id
    }

    /// Makes a list of this number, or renames the one that has it.
    pub fn create_list_with_id(&self, id: i64, name: &str) {
        let mut account = self.shared.account();
        let now = account.stamp();
        account.lists.put(id, name, FIRST_FOLDER, now);
    }

    /// Makes an attribute of a plain type such as `text` or `float`. Refused as by the API.
    pub fn create_attribute(&self, name: &str, kind: &str) -> Result<(), Refusal> {
        let body = AttributeBody::of_type(kind);
        self.shared.account().catalogue.create("normal", name, body)
    }

    /// The next `times` values of an attribute are dropped without a word, whichever way they come.
    pub fn drop_values_next(&self, name: &str, times: usize) {
        self.shared.account().deaf.insert(name.to_uppercase(), std::cell::Cell::new(times));
    }

    /// The attribute becomes one of another plain type, as if it had been deleted and made again; its
    /// values go.
    pub fn retype_attribute(&self, name: &str, kind: &str) -> Result<(), Refusal> {
        let mut account = self.shared.account();
        let name = name.to_uppercase();
        account.catalogue.remove(&name);
        for contact in account.contacts.values_mut() {
            contact.attributes.remove(&name);
        }
        account.catalogue.create("normal", &name, AttributeBody::of_type(kind))
    }

    /// Somebody deletes a list; its members stay.
    pub fn delete_list(&self, list: i64) {
        let mut account = self.shared.account();
        account.lists.lists.remove(&list);
        for contact in account.contacts.values_mut() {
            contact.lists.remove(&list);
        }
    }

    /// Makes an attribute with options: `category` or `multiple-choice`. Refused as by the API.
    pub fn create_choice(&self, name: &str, kind: &str, options: &[&str]) -> Result<(), Refusal> {
        let category = if kind == "category" { "category" } else { "normal" };
        let body = AttributeBody::with_options(kind, options);
        self.shared.account().catalogue.create(category, name, body)
    }

    /// The attributes, as `GET /contacts/attributes` answers them.
    pub fn attributes(&self) -> Value {
        self.shared.account().catalogue.to_json()
    }

    /// The events that were accepted, in order.
    pub fn events(&self) -> Vec<Value> {
        self.shared.account().events.clone()
    }

    /// True: events that are taken from now on are not listed, as if they were still in the queue.
    /// False: all are listed.
    pub fn list_events_late(&self, late: bool) {
        let mut account = self.shared.account();
        account.listed_events = late.then_some(account.events.len());
    }

    /// All companies in the order of their creation, as `GET /companies` answers them.
    pub fn companies(&self) -> Vec<Value> {
        self.shared.account().companies.to_json()
    }

    /// The objects of a type, by their ids, each with the numbers of its contacts.
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        let account = self.shared.account();
        let objects = account.objects.types.get(kind).into_iter().flatten();
        objects.map(|(id, object)| object.to_json(id)).collect()
    }

    /// The account has custom objects of this type. Without one its plan has none at all.
    pub fn create_object_type(&self, kind: &str) {
        self.shared.account().objects.types.entry(kind.to_owned()).or_default();
    }

    /// Somebody else makes a company. The body is that of `POST /companies`.
    pub fn put_company(&self, body: &Value) -> Result<(), Refusal> {
        self.shared.account().create_company(body).map(|_| ())
    }

    /// Somebody else links a contact to a company.
    pub fn link_contact(&self, company: &str, contact: i64) {
        self.shared.account().companies.link(company, contact);
    }

    /// The e-mails that asked people to confirm, in order: address, template, address to go on to,
    /// lists, and whether the person did.
    pub fn confirmations(&self) -> Vec<Value> {
        let account = self.shared.account();
        let shown = |one: &double_opt_in::Confirmation| {
            serde_json::json!({
                "email": one.email, "template": one.template, "url": one.url, "lists": one.lists,
                "confirmed": one.is_confirmed,
            })
        };
        account.confirmations.iter().map(shown).collect()
    }

    /// Somebody confirms; false if he was never asked to.
    pub fn confirm(&self, email: &str) -> bool {
        self.shared.account().confirm(&email.to_lowercase())
    }

    /// Creates or updates a contact as somebody else would. The body is that of `POST /contacts`;
    /// `listUnsubscribed` is read, too. Its number.
    pub fn put_contact(&self, body: &Value) -> Result<i64, Refusal> {
        let mut contact = contact_body(body)?;
        contact.update_enabled = true;
        let mut account = self.shared.account();
        let id = account.create_or_update(&contact, Actor::Foreign)?.id();
        self.shared.courier.send(account.hooks.take());
        let left = body.get("listUnsubscribed").and_then(Value::as_array);
        for list in left.into_iter().flatten().filter_map(Value::as_i64) {
            account.unsubscribe_from(id, list);
        }
        Ok(id)
    }

    /// Changes a contact as somebody else would. The body is that of `PUT /contacts/{identifier}`.
    pub fn update_contact(&self, email: &str, patch: &Value) -> Result<(), Refusal> {
        let body = contact_body(patch)?;
        let mut account = self.shared.account();
        let id = account
            .find(Identifier::Email, &email.to_lowercase())
            .ok_or_else(|| Refusal::not_found("Contact does not exist"))?;
        account.update(id, &body, Actor::Foreign)?;
        self.shared.courier.send(account.hooks.take());
        Ok(())
    }

    /// The person unsubscribes from everything; false if there is no such contact.
    pub fn blacklist(&self, email: &str) -> bool {
        self.campaign(email, "unsubscribed", "unsubscribe")
    }

    /// A campaign comes back: there is no such address. False if there is no such contact.
    pub fn hard_bounce(&self, email: &str) -> bool {
        self.campaign(email, "hardBounce", "hard_bounce")
    }

    /// The person calls a campaign spam; false if there is no such contact.
    pub fn mark_as_spam(&self, email: &str) -> bool {
        self.campaign(email, "spam", "spam")
    }

    /// The person opens a campaign, which changes nothing; false if there is no such contact.
    pub fn open_campaign(&self, email: &str) -> bool {
        let mut account = self.shared.account();
        let Some(id) = account.find(Identifier::Email, &email.to_lowercase()) else {
            return false;
        };
        account.fire_campaign(id, "opened", "opened");
        self.shared.courier.send(account.hooks.take());
        true
    }

    /// What takes somebody off marketing, and the event that tells of it.
    fn campaign(&self, email: &str, subscribed: &str, event: &str) -> bool {
        let is_done =
            self.update_contact(email, &serde_json::json!({"emailBlacklisted": true})).is_ok();
        let mut account = self.shared.account();
        if let Some(id) = account.find(Identifier::Email, &email.to_lowercase()) {
            if event != "unsubscribe" {
                account.unreachable.insert(id);
            }
            account.fire_campaign(id, subscribed, event);
        }
        self.shared.courier.send(account.hooks.take());
        is_done
    }

    /// Subscribes an address to everything that happens to contacts, as an operator does.
    pub fn subscribe(&self, url: &str, token: &str) -> Result<i64, Refusal> {
        self.shared.account().hooks.create(HookBody::new(url, token, false))
    }

    /// Likewise, with events gathered into batches.
    pub fn subscribe_batched(&self, url: &str, token: &str) -> Result<i64, Refusal> {
        self.shared.account().hooks.create(HookBody::new(url, token, true))
    }

    /// The requests that were made to webhooks' addresses, in order.
    pub fn webhook_deliveries(&self) -> Vec<WebhookDelivery> {
        self.shared.courier.deliveries()
    }

    /// Somebody else deletes a contact; false if there is no such contact.
    pub fn delete_contact(&self, email: &str) -> bool {
        let mut account = self.shared.account();
        let id = account.find(Identifier::Email, &email.to_lowercase());
        let is_done = id.is_some_and(|id| account.delete(id));
        self.shared.courier.send(account.hooks.take());
        is_done
    }

    /// All contacts by address: attributes, names of lists, flags. Numbers and times are left out, so
    /// that two runs can be compared.
    pub fn snapshot(&self) -> Value {
        self.shared.account().snapshot()
    }

    /// The digest of [`BrevoSandbox::snapshot`].
    pub fn state_digest(&self) -> Digest {
        Digest::of_json(&self.snapshot())
    }

    /// From now on whoever opted in elsewhere after he opted out may be re-subscribed, singly.
    pub fn accept_opt_ins(&self, opt_ins: OptIns) {
        self.shared.account().opt_ins = Some(opt_ins);
    }

    /// What requests did to people's consent: each line names the request and the contact's number.
    /// Re-subscribed (directly, by a change of address, by an import, by creating anew who was
    /// deleted while blacklisted), put on a list while blacklisted, put back on a list that the
    /// person left, imported while blacklisted. Empty is how it must be.
    ///
    /// A change of address with `emailBlacklisted: true` in the same request, which did not help, is
    /// listed until the flag is set again.
    pub fn violations(&self) -> Vec<String> {
        self.shared.account().violations()
    }

    /// How many requests wrote contacts, attributes, lists or imports. Those that did not get as far
    /// (401, 429, 5xx) do not count; those that were refused there (such as 400) do.
    pub fn writes(&self) -> usize {
        let is_write = |entry: &Logged| {
            entry.method != "GET"
                && entry.path.starts_with("/v3/contacts")
                && !matches!(entry.status, 401 | 429 | 500..)
        };
        self.shared.log.count(is_write)
    }

    /// How many requests asked for a change of anything, companies and events included.
    pub fn changes(&self) -> usize {
        let asks =
            |entry: &Logged| entry.method != "GET" && !matches!(entry.status, 401 | 429 | 500..);
        self.shared.log.count(asks)
    }

    /// How many requests were answered with 429.
    pub fn throttled(&self) -> usize {
        self.shared.log.count(|entry| entry.status == 429)
    }
}

/// The mood.
impl BrevoSandbox {
    /// The next `times` requests that match are answered with this status and body, and nothing is
    /// done. `null` is a body that fits the status.
    pub fn fail_next(&self, matcher: impl Into<Matcher>, status: u16, body: Value, times: usize) {
        self.shared.moods().add(matcher.into(), Mishap::Fail(status, body), times);
    }

    /// The next `times` requests that match are lost: nothing is done, the connection goes.
    pub fn reset_next(&self, matcher: impl Into<Matcher>, times: usize) {
        self.shared.moods().add(matcher.into(), Mishap::Reset, times);
    }

    /// The next `times` requests that match are carried out, but their answers are lost.
    pub fn reset_after_commit_next(&self, matcher: impl Into<Matcher>, times: usize) {
        self.shared.moods().add(matcher.into(), Mishap::ResetAfterCommit, times);
    }

    /// The next `times` requests that match are never answered, and nothing is done.
    pub fn hang_next(&self, matcher: impl Into<Matcher>, times: usize) {
        self.shared.moods().add(matcher.into(), Mishap::Hang, times);
    }

    /// The next `times` requests that match are carried out and never answered.
    pub fn hang_after_commit_next(&self, matcher: impl Into<Matcher>, times: usize) {
        self.shared.moods().add(matcher.into(), Mishap::HangAfterCommit, times);
    }

    /// How many of the failures that were asked for have not happened yet.
    pub fn failures_left(&self) -> usize {
        self.shared.moods().left()
    }

    /// Forgets the failures that were asked for and have not happened yet.
    pub fn forget_failures(&self) {
        self.shared.moods().forget();
    }

    /// A wait before every answer from now on; zero ends it.
    pub fn slow(&self, latency: Duration) {
        self.shared.moods().latency = (!latency.is_zero()).then_some(latency);
    }

    /// Whether every key is refused with 401.
    pub fn unauthorized(&self, is_unauthorized: bool) {
        self.shared.moods().is_unauthorized = is_unauthorized;
    }

    /// Whether the plan has no companies, which is answered with 403.
    pub fn forbid_companies(&self, is_forbidden: bool) {
        self.shared.account().companies.is_forbidden = is_forbidden;
    }

    /// Other limits from now on; what was counted is forgotten.
    pub fn set_limits(&self, limits: Limits) {
        *self.shared.rates() = Rates::new(limits);
    }

    /// Other quirks from now on.
    pub fn set_quirks(&self, quirks: Quirks) {
        self.shared.account().quirks = quirks;
    }

    /// The next import that is accepted ends as `failed`, with no row applied.
    pub fn import_fails_next(&self) {
        self.shared.moods().add_import(ImportMishap::Fails);
    }

    /// The next import that is accepted stays `in_process` for ever; later ones go on.
    pub fn stuck_import_next(&self) {
        self.shared.moods().add_import(ImportMishap::Sticks);
    }

    /// The next import that is accepted is `in_process` for this long and then applied; later ones
    /// wait for it.
    pub fn late_import_next(&self, by: Duration) {
        self.shared.moods().add_import(ImportMishap::Late(by));
    }

    /// The next import that is accepted loses the rows of these addresses and does not say so.
    pub fn drop_rows_next(&self, emails: &[&str]) {
        let emails = emails.iter().map(|email| email.to_lowercase()).collect();
        self.shared.moods().add_import(ImportMishap::DropsRows(emails));
    }
}

fn contact_body(value: &Value) -> Result<ContactBody, Refusal> {
    ContactBody::deserialize(value).map_err(|error| Refusal::invalid(error.to_string()))
}
