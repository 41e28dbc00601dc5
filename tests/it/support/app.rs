//! An engine with a sandbox around it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use secrecy::SecretString;
use serde_json::Value;
use tajo::config::Config;
use tajo::engine::{Engine, EventLooks, Schedule, Status, SyncRequest, Timeouts};
use tajo::intercom::Unverified;
use tajo::model::{Clock, SystemClock};
use tajo::sandbox::brevo::Limits;
use tajo::sandbox::intercom::Changed;
use tajo::sandbox::{Sandbox, SandboxOptions, Seed};
use tajo::store::{Acceptance, AddressKey, Resource, SqliteStore, Sync, SyncKind, SyncState};
use tempfile::TempDir;

use super::until;

/// Soon after each other: the sandbox lists events at once unless it is told otherwise.
const QUICK_LOOKS: EventLooks = EventLooks {
    unanswered: [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)],
    failed: [Duration::from_secs(1), Duration::from_secs(2)],
};

/// How an [`App`] is made.
#[must_use]
pub(crate) struct AppBuilder {
    options: SandboxOptions,
    settings: Vec<(&'static str, String)>,
    scripts: Vec<(String, String)>,
    hanging: Option<&'static str>,
    limited: bool,
    unguarded: bool,
    timeouts: Timeouts,
    resubscribes: bool,
    clock: Arc<dyn Clock>,
}

impl AppBuilder {
    /// An opt-in may lift an older opt-out, and the fake Brevo takes that for lawful.
    pub(crate) fn with_resubscription(mut self) -> Self {
        self.resubscribes = true;
        self
    }

    /// A clock of the test's own, for the engine and for both services.
    pub(crate) fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The zone of the workspace in Intercom.
    pub(crate) fn with_timezone(mut self, zone: &str) -> Self {
        zone.clone_into(&mut self.options.intercom.timezone);
        self
    }

    /// Intercom's requests in ten seconds.
    pub(crate) fn with_intercom_limit(mut self, limit: u32) -> Self {
        self.options.intercom.rate_limit = Some(limit);
        self
    }

    /// Contacts that are in Intercom from the start.
    pub(crate) fn with_seed(mut self, seed: Seed) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// Brevo's rate limits as they are for everybody.
    pub(crate) fn with_real_limits(mut self) -> Self {
        self.options.brevo.limits = Limits::default();
        self.limited = true;
        self
    }

    /// A setting of the connector `intercom` or `brevo`, as a line of YAML.
    pub(crate) fn with_setting(mut self, connector: &'static str, line: &str) -> Self {
        self.settings.push((connector, line.to_owned()));
        self
    }

    /// Without a bound on what is taken away from many at once.
    pub(crate) fn without_guard(mut self) -> Self {
        self.unguarded = true;
        self
    }

    /// The first such request to Brevo, as in `GET /v3/contacts`, is never answered.
    pub(crate) fn with_hanging(mut self, request: &'static str) -> Self {
        self.hanging = Some(request);
        self
    }

    /// After this long a call counts as not answered, so that a test need not wait for a minute.
    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.intercom = timeout;
        self.timeouts.brevo = timeout;
        self
    }

    /// When, after an attempt whose answer was lost, Brevo is asked whether it has an event.
    pub(crate) fn with_event_looks(mut self, unanswered: [Duration; 3]) -> Self {
        self.timeouts.event_looks.unanswered = unanswered;
        self
    }

    /// A script instead of the default one of this name.
    pub(crate) fn with_script(mut self, name: &str, text: &str) -> Self {
        self.scripts.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Starts sandbox and engine.
    pub(crate) async fn start(self) -> App {
        let clock = self.clock;
        let folder = tempfile::tempdir().unwrap();
        copy_folder(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts"),
            &folder.path().join("scripts"),
        );
        for (name, text) in &self.scripts {
            std::fs::write(folder.path().join("scripts").join(name), text).unwrap();
        }
        if !self.scripts.is_empty() {
            // The default rules' tests say nothing about other rules.
            let _ = std::fs::remove_dir_all(folder.path().join("scripts/tests"));
        }
        let sandbox = Sandbox::start(self.options, Arc::clone(&clock)).await.unwrap();
        if self.resubscribes {
            sandbox.accept_resubscriptions();
        }
        if let Some(request) = self.hanging {
            sandbox.brevo.hang_next(request, 1);
        }
        let mut app = App {
            limited: self.limited,
            unguarded: self.unguarded,
            timeouts: self.timeouts,
            resubscribes: self.resubscribes,
            sandbox,
            engine: None,
            clock,
            folder,
            settings: self.settings,
        };
        app.start_engine().await;
        app
    }
}

/// An engine, its store, its scripts, and the services it works with.
pub(crate) struct App {
    pub(crate) sandbox: Sandbox,
    engine: Option<Engine>,
    clock: Arc<dyn Clock>,
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
    limited: bool,
    unguarded: bool,
    timeouts: Timeouts,
    pub(crate) resubscribes: bool,
}

impl App {
    /// Empty services, without rate limits.
    pub(crate) fn builder() -> AppBuilder {
        let mut options = SandboxOptions::default();
        options.brevo.limits = Limits::off();
        options.brevo.import_delay = Duration::from_millis(20);
        options.intercom.rate_limit = None;
        AppBuilder {
            options,
            settings: Vec::new(),
            scripts: Vec::new(),
            hanging: None,
            limited: false,
            unguarded: false,
            timeouts: Timeouts { event_looks: QUICK_LOOKS, ..Timeouts::default() },
            resubscribes: false,
            clock: Arc::new(SystemClock),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    pub(crate) fn script(&self, name: &str) -> PathBuf {
        self.folder.path().join("scripts").join(name)
    }

    /// The file of the store.
    pub(crate) fn store_path(&self) -> PathBuf {
        self.folder.path().join("data/tajo.db")
    }

    /// The configuration that points the engine at the sandbox.
    pub(crate) fn config(&self) -> Config {
        let mut yaml = self.sandbox.settings();
        let mut settings = self.settings.clone();
        if !self.limited {
            // Where the sandbox keeps no limits, the engine need not be held to the smallest ones.
            settings.push(("brevo", "rate_tier: extended".to_owned()));
        }
        for (connector, line) in settings {
            let section = format!("  {connector}:\n");
            yaml = yaml.replace(&section, &format!("{section}    {line}\n"));
        }
        if self.unguarded || self.resubscribes {
            yaml.push_str("guards:\n");
        }
        if self.unguarded {
            yaml.push_str("  max_change: { contacts: 1000000, percent: 100 }\n");
        }
        if self.resubscribes {
            yaml.push_str("  allow_resubscribe: true\n");
        }
        let path = self.folder.path().join("config/tajo.yaml");
        Config::parse(&yaml, &path, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
    }

    pub(crate) async fn start_engine(&mut self) {
        let config = self.config();
        let path = self.store_path();
        let store =
            SqliteStore::open(&path, AddressKey::derive(b"test"), self.clock.now()).unwrap();
        let clock = Arc::clone(&self.clock);
        let engine =
            Engine::open_with(config, Arc::new(store), clock, self.timeouts).await.unwrap();
        engine.start(Schedule::None);
        self.engine = Some(engine);
    }

    pub(crate) async fn stop_engine(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.stop().await;
        }
    }

    /// Forgets all that the engine knew, as if its disk was lost.
    pub(crate) async fn lose_store(&mut self) {
        self.stop_engine().await;
        std::fs::remove_dir_all(self.folder.path().join("data")).unwrap();
        self.start_engine().await;
    }

    /// Makes a contact in Intercom and delivers what that fires.
    pub(crate) async fn create_without_waiting(&self, contact: Value) {
        let changed = self.sandbox.intercom.create_contact(contact).unwrap();
        for notification in &changed.notifications {
            self.deliver(notification.to_string().as_bytes()).await;
        }
    }

    /// Runs a full sync and waits until all that it caused is done.
    pub(crate) async fn sync(&self) -> Sync {
        self.sync_as(SyncKind::Full).await
    }

    /// Runs a sync and waits until all that it caused is done.
    pub(crate) async fn sync_as(&self, kind: SyncKind) -> Sync {
        self.run_sync(SyncRequest { kind, resources: Vec::new(), since: None }).await
    }

    /// Runs a full sync of some resources and waits until all that it caused is done.
    pub(crate) async fn sync_of(&self, resources: Vec<Resource>) -> Sync {
        self.run_sync(SyncRequest { kind: SyncKind::Full, resources, since: None }).await
    }

    async fn run_sync(&self, request: SyncRequest) -> Sync {
        let sync = self.engine().request_sync(request).await.unwrap();
        let sync = until("the sync is over", async || {
            let sync = self.engine().sync(&sync.id).await.unwrap().unwrap();
            sync.state.is_over().then_some(sync)
        })
        .await;
        assert_eq!(sync.state, SyncState::Done, "{sync:?}");
        self.drained().await;
        sync
    }

    /// Waits until nothing is left to do, and checks that nothing was forgotten.
    pub(crate) async fn drained(&self) {
        let drained = tokio::time::timeout(Duration::from_secs(120), self.engine().drained()).await;
        assert!(drained.is_ok(), "the engine does not come to rest: {:#?}", self.status().await);
        drained.unwrap().unwrap();
        self.assert_conserved().await;
    }

    pub(crate) async fn status(&self) -> Status {
        self.engine().status().await.unwrap()
    }

    /// Every accepted input is in exactly one state.
    #[track_caller]
    pub(crate) fn assert_conserved(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let r = self.status().await.records;
            let sum = r.applied
                + r.unchanged
                + r.superseded
                + r.ignored
                + r.skipped
                + r.held
                + r.dead
                + r.pending;
            assert_eq!(r.accepted, sum, "{caller}: {r:?}");
        }
    }

    /// Delivers a body as Intercom would: signed, and verified before anything is read.
    pub(crate) async fn deliver(&self, body: &[u8]) -> Acceptance {
        let intercom = &self.sandbox.intercom;
        let signature = tajo::sandbox::intercom::sign(intercom.client_secret(), body);
        let unverified = Unverified {
            body: Bytes::copy_from_slice(body),
            signatures: vec![Bytes::from(signature)],
        };
        let verified = unverified.verify(&SecretString::from(intercom.client_secret())).unwrap();
        self.engine().accept(verified).await.unwrap()
    }

    /// Delivers what a change in Intercom fires, and waits until all that it causes is done.
    pub(crate) async fn fire(&self, changed: Changed) {
        for notification in &changed.notifications {
            self.deliver(notification.to_string().as_bytes()).await;
        }
        self.drained().await;
    }

    /// Makes a contact in Intercom and brings it to Brevo; answers its id.
    pub(crate) async fn create(&self, contact: Value) -> String {
        let changed = self.sandbox.intercom.create_contact(contact).unwrap();
        let id = changed.id.clone();
        self.fire(changed).await;
        id
    }

    /// Nobody was re-subscribed, put on a list against his will, or imported while blacklisted.
    #[track_caller]
    pub(crate) fn assert_consent_kept(&self) {
        assert_eq!(self.sandbox.brevo.violations(), Vec::<String>::new());
    }

    /// Hands a notification in, as a trusted caller does.
    pub(crate) async fn hand_in(&self, topic: &str, item: &Value) {
        self.engine().hand_in(topic, item).await.unwrap();
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
