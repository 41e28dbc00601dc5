//! The engine: puts Intercom, the rules, the store and Brevo together.
//!
//! Inputs become durable in `intake` and `sweep`; `runtime` keeps workers that claim what is dirty
//! and take each claim through `pipeline`; `read_back` keeps the mirror of Brevo true. Nothing here is
//! kept in memory that a restart would miss.

mod account;
mod assemble;
mod brevo_intake;
mod brevo_reads;
mod budget;
mod callbacks;
mod companies;
mod connection;
mod derive;
mod double_opt_ins;
mod error;
mod events;
mod ext_ids;
mod gate;
mod guard;
mod hydrate;
mod identity;
mod importer;
mod intake;
mod lock;
mod locks;
mod objects;
mod owner_file;
mod phones;
mod pipeline;
mod plans;
mod preview;
mod read_back;
mod records;
mod resolve;
mod resubscribe;
mod rule_history;
mod runtime;
mod scripts;
mod services;
mod sink;
mod status;
mod suppression;
mod sweep;
mod tell_intercom;
mod timeouts;
mod unserved;
mod verification;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
pub use connection::{
    Access, ConnectError, Connected, ConnectionView, NewToken, Origin, access_in, connect_by_code,
    connections_in, oauth_app,
};
pub use error::EngineError;
pub use guard::{HeldChangeView, HoldView};
pub use intake::HandInError;
pub use lock::{EngineLock, Holder, LockError};
pub use owner_file::load_or_make as load_or_make_secret;
pub use plans::PlanView;
pub(crate) use preview::{company_of, existing_of, preview, seen_alone, stored_record, subject_of};
pub use rule_history::{
    RollbackError, RolledBack, VersionError, VersionView, find_version, roll_back_in, rule_history,
};
pub use runtime::Schedule;
use serde_json::Value;
pub use services::rule_environment;
pub(crate) use services::{Ground, Services};
pub use status::{RateLimits, RulesView, SinkView, Status};
pub use sweep::{ResourceView, SweepView, SyncRequest, is_read, sweeps_view};
pub use timeouts::{EventLooks, Timeouts};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
pub use verification::{ParkedView, VerificationView};

use crate::brevo::CallCounts;
use crate::config::{Config, Direction};
use crate::intercom::{IntercomError, Verified};
use crate::model::{Clock, Timestamp};
use crate::rules::{Pinned, Refusal, ReloadOptions, RuleSet, Rules};
use crate::store::BrevoAcceptance;
use crate::store::{Acceptance, DeadLetter, DeadLetterQuery, Resource, Store, StoreError, Sync};

/// A running engine. Cheap to clone; all clones are the same engine.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
    tasks: TaskTracker,
}

/// What the workers share.
#[derive(Debug)]
pub(crate) struct Inner {
    config: ArcSwap<Config>,
    services: ArcSwap<Services>,
    timeouts: Timeouts,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    scripts: scripts::Scripts,
    locks: locks::Locks,
    gate: gate::Gate,
    budget: Arc<budget::Budget>,
    guard: guard::Guard,
    plans: plans::Plans,
    events: sink::Sink,
    companies: sink::Sink,
    objects: sink::Sink,
    double_opt_ins: sink::Sink,
    unserved: unserved::Unserved,
    live_work: Notify,
    bulk_work: Notify,
    sync_work: Notify,
    /// Held by the round of the bulk lane that writes: Brevo works on one import at a time.
    bulk_turn: tokio::sync::Mutex<()>,
    /// Held by who gathers what the bulk lane claims next.
    bulk_gathering: tokio::sync::Mutex<()>,
    connected: AtomicBool,
    /// The workspaces that were connected.
    known: Mutex<connection::Known>,
    /// Another token is in force: it is to be found out whose it is.
    token_news: Notify,
    /// Why the configuration as it stands in its file is not in force.
    refused_configuration: Mutex<Option<String>>,
    /// When a signed notification was last noted, in seconds since 1970.
    last_notification: AtomicI64,
    /// It is known what became of the imports that the last process left open.
    has_recovered: AtomicBool,
    /// What a sync is reading: more work is about to come.
    reading: ArcSwapOption<Resource>,
    /// Rounds of the bulk lane that are under way.
    bulk_rounds: AtomicUsize,
    intercom_problem: Mutex<Option<String>>,
    watch: sweep::Watch,
    /// Why the last input could not be stored; none: it was.
    store_problem: Mutex<Option<String>>,
    /// Which attributes have values that Brevo does not take.
    parked: Mutex<Vec<verification::ParkedView>>,
    stop: CancellationToken,
}

impl Engine {
    /// Sets an engine up on a store that this process has locked. It works once [`Engine::start`] is
    /// called; until then it only accepts.
    pub async fn open(
        config: Config,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EngineError> {
        Self::open_with(config, store, clock, Timeouts::default()).await
    }

    /// Likewise, with other times after which a call counts as not answered.
    pub async fn open_with(
        config: Config,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        timeouts: Timeouts,
    ) -> Result<Self, EngineError> {
        if config.intercom.direction == Direction::BrevoToIntercom {
            let text = "`direction: brevo_to_intercom` is not available yet, and the other direction was not asked for";
            return Err(EngineError::Unconfigured(text.to_owned()));
        }
        let stop = CancellationToken::new();
        let budget = budget::Budget::load(Arc::clone(&store), Arc::clone(&clock)).await?;
        let budget = Arc::new(budget);
        let known = connection::Known::load(&*store, &config.intercom).await?;
        let access = known.access(&config.intercom);
        let ground =
            Ground { store: &store, clock: &clock, stop: &stop, budget: &budget, timeouts };
        let services = Services::new(&config, access.as_ref(), ground, None)?;
        budget.hand_over(&services.brevo).await?;
        let earlier = store.last_rule_set().await?.map(rule_history::source_files);
        let pinned = match store.rules_pin().await? {
            Some(pin) => store.rule_set(pin.version.clone()).await?.map(|entry| (pin, entry)),
            None => None,
        };
        let pinned =
            pinned.map(|(pin, entry)| Pinned { pin, files: rule_history::source_files(entry) });
        let options = ReloadOptions {
            require_tests: config.scripts.require_tests,
            earlier,
            pinned,
            ..ReloadOptions::new(&config.scripts.dir)
        };
        let environment = rule_environment(&config);
        let rules_clock = Arc::clone(&clock);
        let rules =
            tokio::task::spawn_blocking(move || Rules::open(options, environment, rules_clock))
                .await;
        let rules = rules.map_err(|error| EngineError::Worker(error.to_string()))?;
        let rules = rules.map_err(|error| EngineError::Worker(error.to_string()))?;
        let inner = Inner {
            config: ArcSwap::from_pointee(config),
            services: ArcSwap::from_pointee(services),
            timeouts,
            store,
            clock,
            rules,
            scripts: scripts::Scripts::start()?,
            locks: locks::Locks::default(),
            gate: gate::Gate::default(),
            budget,
            guard: guard::Guard::default(),
            plans: plans::Plans::default(),
            events: sink::Sink::new("events"),
            companies: sink::Sink::new("companies"),
            objects: sink::Sink::new("custom objects"),
            double_opt_ins: sink::Sink::new("double opt-ins"),
            unserved: unserved::Unserved::default(),
            live_work: Notify::new(),
            bulk_work: Notify::new(),
            sync_work: Notify::new(),
            bulk_turn: tokio::sync::Mutex::new(()),
            bulk_gathering: tokio::sync::Mutex::new(()),
            connected: AtomicBool::new(false),
            known: Mutex::new(known),
            token_news: Notify::new(),
            refused_configuration: Mutex::default(),
            last_notification: AtomicI64::new(0),
            has_recovered: AtomicBool::new(false),
            reading: ArcSwapOption::empty(),
            bulk_rounds: AtomicUsize::new(0),
            intercom_problem: Mutex::default(),
            watch: sweep::Watch::default(),
            store_problem: Mutex::default(),
            parked: Mutex::default(),
            stop,
        };
        Ok(Self { inner: Arc::new(inner), tasks: TaskTracker::new() })
    }

    /// The configuration that is in force.
    pub fn config(&self) -> Arc<Config> {
        self.inner.config.load_full()
    }

    /// The time, as this engine counts it.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Makes a verified notification durable.
    pub async fn accept(&self, verified: Verified) -> Result<Acceptance, EngineError> {
        self.inner.accept(verified).await
    }

    /// Makes the body of a webhook of Brevo's durable that carried the token.
    pub async fn accept_brevo(&self, body: &[u8]) -> Result<BrevoAcceptance, EngineError> {
        self.inner.accept_brevo(body).await
    }

    /// The token that Brevo's webhooks have to carry, if one is configured.
    pub fn brevo_webhook_token(&self) -> Option<secrecy::SecretString> {
        self.inner.brevo_webhook_token()
    }

    /// Says that a notification was refused because it could not be stored in time: what it told is
    /// read from Intercom as soon as the store is well again.
    pub fn note_refusal(&self) {
        self.inner.watch.note_refusal();
    }

    /// Makes a notification durable that a trusted caller hands in.
    pub async fn hand_in(&self, topic: &str, data: &Value) -> Result<Acceptance, HandInError> {
        self.inner.hand_in(topic, data).await
    }

    /// Queues a sync.
    pub async fn request_sync(&self, request: SyncRequest) -> Result<Sync, EngineError> {
        self.inner.request_sync(request).await
    }

    /// Queues a sync that sends also what happened before the first one.
    pub async fn request_backfill(&self, request: SyncRequest) -> Result<Sync, EngineError> {
        self.inner.request_backfill(request).await
    }

    /// Finds a sync.
    pub async fn sync(&self, id: &str) -> Result<Option<Sync>, EngineError> {
        Ok(self.inner.store.sync(id.to_owned()).await?)
    }

    /// When the newest sweep of each resource began that left nothing of it unread.
    pub async fn swept(&self) -> Result<BTreeMap<Resource, Timestamp>, EngineError> {
        self.inner.swept_all().await
    }

    /// The engine's figures.
    pub async fn status(&self) -> Result<Status, EngineError> {
        self.inner.status().await
    }

    /// The live rules, and what keeps newer ones from being live.
    pub fn rules(&self) -> RulesView {
        self.inner.rules_view()
    }

    /// The live rule set.
    pub fn rule_set(&self) -> Option<Arc<RuleSet>> {
        self.inner.rules.current()
    }

    /// The rules that were refused last, unless good ones came since.
    pub fn refused_rules(&self) -> Option<Refusal> {
        self.inner.rules.status().refused
    }

    /// What does not work as it should, a sentence each.
    pub fn degraded(&self) -> Vec<String> {
        self.inner.degraded()
    }

    /// How the newest bulk changes were written to Brevo, oldest first.
    pub fn plans(&self) -> Vec<PlanView> {
        self.inner.plans.all()
    }

    /// Takes a call by which Brevo says that an import has ended; false if nobody knows its name.
    pub fn import_ended(&self, name: &str) -> bool {
        self.inner.services.load().importer.callbacks.take(name)
    }

    /// True while nothing is written to Brevo, because it fails or refuses the key.
    pub fn is_writer_paused(&self) -> bool {
        self.inner.gate.is_down()
    }

    /// Proves that a webhook can be made durable now.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let probed = self.inner.store.probe().await;
        self.inner.note_store(probed.as_ref().err());
        probed
    }

    /// Lists dead letters, newest first.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, EngineError> {
        Ok(self.inner.store.dead_letters(limit).await?)
    }

    /// Finds one dead letter.
    pub async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, EngineError> {
        Ok(self.inner.store.dead_letter(id).await?)
    }

    /// Makes dead letters due again; answers how many.
    pub async fn retry_dead_letters(&self, query: DeadLetterQuery) -> Result<u64, EngineError> {
        // Whoever asks has mended something, such as made the list that was not there.
        self.inner.services.load().account.look_anew();
        let retried = self.inner.store.retry_dead_letters(query, self.now()).await?;
        self.inner.live_work.notify_one();
        self.inner.events.wake();
        self.inner.companies.wake();
        self.inner.objects.wake();
        self.inner.double_opt_ins.wake();
        Ok(retried)
    }

    /// Drops dead letters, which counts them as skipped; answers how many.
    pub async fn drop_dead_letters(&self, query: DeadLetterQuery) -> Result<u64, EngineError> {
        let dropped = self.inner.store.drop_dead_letters(query).await?;
        self.inner.events.wake();
        Ok(dropped)
    }

    /// Calls made to Brevo since the start.
    pub fn brevo_calls(&self) -> CallCounts {
        self.inner.services.load().brevo.calls()
    }

    /// Puts another configuration in force: rules, clients and schedules follow; what has to stay as
    /// it was until a restart (addresses, store) stays.
    pub fn reconfigure(&self, config: Config) -> Result<(), EngineError> {
        let inner = &self.inner;
        inner.renew_services(&config)?;
        inner.rules.set_environment(rule_environment(&config));
        inner.config.store(Arc::new(config));
        *inner.refused_configuration() = None;
        inner.watch.note_connection();
        inner.gate.open();
        inner.events.reset();
        inner.companies.reset();
        inner.objects.reset();
        inner.double_opt_ins.reset();
        inner.live_work.notify_one();
        inner.bulk_work.notify_one();
        inner.sync_work.notify_one();
        Ok(())
    }

    /// Remembers why the configuration that stands in its file was not put in force, for `status`.
    pub fn refuse_configuration(&self, reason: String) {
        *self.inner.refused_configuration() = Some(reason);
    }
}

impl Inner {
    fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
        if connected {
            *self.problem() = None;
        }
    }

    /// Remembers whether inputs can be stored, for `status`.
    fn note_store(&self, error: Option<&StoreError>) {
        let mut problem = self.store_problem.lock().unwrap_or_else(PoisonError::into_inner);
        *problem = error.map(|error| format!("webhooks cannot be stored: {error}"));
    }

    fn store_problem(&self) -> Option<String> {
        self.store_problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn intercom_problem(&self) -> Option<String> {
        self.problem().clone()
    }

    /// Remembers a failure that is nobody's record's, for `status` and for the gate.
    fn note(&self, error: &EngineError) {
        match error {
            EngineError::Shared(inner) => self.note(inner),
            EngineError::Brevo(error) => self.gate.note(error),
            EngineError::Intercom(error) => {
                self.connected.store(false, Ordering::Relaxed);
                let mut text = format!("intercom cannot be read: {error}");
                if matches!(error, IntercomError::Server { status: 404 }) {
                    text.push_str(": is `connectors.intercom.base_url` Intercom's API?");
                }
                let mut problem = self.problem();
                if problem.as_ref() != Some(&text) {
                    tracing::warn!("{text}");
                }
                *problem = Some(text);
            }
            EngineError::Store(error) => tracing::error!("{error}"),
            EngineError::Worker(_) | EngineError::Unconfigured(_) => tracing::warn!("{error}"),
            EngineError::Stopping => {}
        }
    }

    fn refused_configuration(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.refused_configuration.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn problem(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.intercom_problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
