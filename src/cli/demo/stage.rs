//! What the demo plays on: a temporary folder, both fake services at real rate limits, and an engine
//! with its server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::error::DemoError;
use crate::cli::init;
use crate::config::Config;
use crate::engine::{Engine, Schedule, SyncRequest, load_or_make_secret};
use crate::model::{Clock, SystemClock};
use crate::sandbox::intercom::{Changed, Refused};
use crate::sandbox::{Sandbox, SandboxOptions, Seed};
use crate::server::{Addresses, Server};
use crate::store::{AddressKey, SqliteStore, Store, Sync, SyncKind};

/// Lists in Brevo, by the numbers that the default configuration names, and one for a tag.
const LISTS: [(i64, &str); 4] =
    [(ALL_USERS, "All users"), (ACTIVE, "Active conversations"), (37, "Leads"), (VIP, "VIP")];
/// The list of all users.
pub(super) const ALL_USERS: i64 = 35;
/// The list of those with an open conversation.
pub(super) const ACTIVE: i64 = 36;
/// The list of those with the tag `vip`.
pub(super) const VIP: i64 = 41;
/// How long anything may take that is no full sync.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the demo looks whether something has happened; what it measures is as exact as this.
const LOOK: Duration = Duration::from_millis(1);
/// How often it looks whether a sync is over.
const SYNC_LOOK: Duration = Duration::from_millis(10);

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Stage {
    folder: TempDir,
    pub(super) sandbox: Sandbox,
    pub(super) store: Arc<dyn Store>,
    pub(super) engine: Engine,
    pub(super) addresses: Addresses,
    server: JoinHandle<()>,
    stop: CancellationToken,
}

impl Stage {
    /// Sets everything up and starts it.
    pub(super) async fn set(contacts: usize) -> Result<Self, DemoError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let folder = tempfile::Builder::new().prefix("tajo-demo-").tempdir()?;
        let seed = Some(Seed::new(contacts).with_conversations());
        let options = SandboxOptions { seed, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options, Arc::clone(&clock)).await?;
        for (number, name) in LISTS {
            sandbox.brevo.create_list_with_id(number, name);
        }

        let config = write_project(folder.path(), &sandbox)?;
        let root = folder.path();
        let key = load_or_make_secret(&root.join("config/tajo.key"))?;
        let key = AddressKey::derive(key.expose_secret().as_bytes());
        let token = load_or_make_secret(&admin_token_file(root))?;
        let store = SqliteStore::open(&root.join("data/tajo.db"), key, clock.now())?;
        let store: Arc<dyn Store> = Arc::new(store);
        let engine = Engine::open(config.clone(), Arc::clone(&store), clock).await?;

        let server = Server::bind(&config, engine.clone(), token).await?;
        let addresses = server.addresses();
        let stop = CancellationToken::new();
        let server = tokio::spawn(server.serve(stop.clone()));
        engine.start(Schedule::None);
        let stage = Self { folder, sandbox, store, engine, addresses, server, stop };
        stage.sandbox.intercom.deliver_to(Some(stage.webhooks())).await;
        Ok(stage)
    }

    /// Stops everything and removes the folder.
    pub(super) async fn strike(self) {
        let Self { folder, sandbox, engine, server, stop, .. } = self;
        stop.cancel();
        let _ = server.await;
        engine.stop().await;
        sandbox.shutdown().await;
        // It lies among temporary files; whoever cleans up those will find it.
        let _ = folder.close();
    }

    /// Where Intercom's webhooks go.
    pub(super) fn webhooks(&self) -> String {
        format!("http://{}/webhooks/intercom", self.addresses.public)
    }

    /// The folder with `config`, `scripts` and `data`.
    pub(super) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The file with the API's token.
    pub(super) fn admin_token(&self) -> PathBuf {
        admin_token_file(self.root())
    }

    /// A script by its name, such as `mapping.rhai`.
    pub(super) fn script(&self, name: &str) -> PathBuf {
        self.root().join("scripts").join(name)
    }

    /// Lets somebody in Intercom do something.
    pub(super) fn intercom(
        &self,
        what: &'static str,
        change: impl FnOnce(&crate::sandbox::IntercomSandbox) -> Result<Changed, Refused>,
    ) -> Result<String, DemoError> {
        let changed = change(&self.sandbox.intercom);
        changed.map(|changed| changed.id).map_err(|reason| DemoError::Intercom { what, reason })
    }

    /// Runs a full sync and waits until all that it read is written.
    pub(super) async fn full_sync(&self) -> Result<Sync, DemoError> {
        let request = SyncRequest { kind: SyncKind::Full, resources: Vec::new(), since: None };
        let requested = self.engine.request_sync(request).await?;
        // Thousands of contacts take longer than hundreds.
        let contacts = self.sandbox.intercom.contacts().len() as u64;
        let patience = PATIENCE + Duration::from_millis(20 * contacts);
        let synced = async {
            loop {
                match self.engine.sync(&requested.id).await? {
                    Some(sync) if sync.state.is_over() => return Ok::<_, DemoError>(sync),
                    _ => tokio::time::sleep(SYNC_LOOK).await,
                }
            }
        };
        let both = async {
            let sync = synced.await?;
            self.engine.drained().await?;
            Ok(sync)
        };
        let late = |_| late("everything that the sync read was written", patience);
        tokio::time::timeout(patience, both).await.map_err(late)?
    }

    /// Waits until nothing is left to do.
    pub(super) async fn drained(&self) -> Result<(), DemoError> {
        let late = |_| late("nothing was left to do", PATIENCE);
        Ok(tokio::time::timeout(PATIENCE, self.engine.drained()).await.map_err(late)??)
    }

    /// Waits until something holds; how long that took.
    pub(super) async fn until(
        &self,
        what: &str,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Result<Duration, DemoError> {
        let began = Instant::now();
        loop {
            let look = Instant::now();
            if holds(self) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > PATIENCE {
                return Err(late(what, PATIENCE));
            }
            // A look stops the fake Brevo: one that takes long comes less often.
            tokio::time::sleep(LOOK.max(look.elapsed() * 10)).await;
        }
    }

    /// A contact of Brevo's, by address.
    pub(super) fn in_brevo(&self, email: &str) -> Option<Value> {
        self.sandbox.brevo.contact(email)
    }

    /// True if an address is on a list of Brevo's.
    pub(super) fn is_on_list(&self, list: i64, email: &str) -> bool {
        let contact = self.in_brevo(email);
        let lists = contact.as_ref().and_then(|contact| contact.get("listIds")?.as_array());
        lists.is_some_and(|lists| lists.iter().any(|id| id.as_i64() == Some(list)))
    }
}

fn late(what: &str, waited: Duration) -> DemoError {
    DemoError::Late { what: what.to_owned(), waited }
}

fn admin_token_file(root: &Path) -> PathBuf {
    root.join("config/admin.token")
}

/// Writes what `tajo init` writes, a configuration that points at the sandbox, and the one rule that
/// the default scripts only show as a comment: who has the tag `vip` is on a list.
fn write_project(root: &Path, sandbox: &Sandbox) -> Result<Config, DemoError> {
    init::write_project(root)?;
    let file = root.join("config/tajo.yaml");
    let text = configuration(sandbox);
    std::fs::write(&file, &text)?;
    edit(&root.join("scripts/tags.rhai"), TAGS_FILE, "    // vip: 41,", "    vip: 41,")?;
    // No variable of this machine changes what the demo does.
    Ok(Config::parse(&text, &file, &|_| None)?)
}

const TAGS_FILE: &str = "scripts/tags.rhai";

fn configuration(sandbox: &Sandbox) -> String {
    let Sandbox { intercom, brevo } = sandbox;
    let lists: String = LISTS
        .iter()
        .zip(["all_users", "active_conversations", "leads"])
        .map(|((number, _), name)| format!("      {name}: {number}\n"))
        .collect();
    format!(
        "# Points at the fake services of `tajo demo`.\n\
         connectors:\n  intercom:\n    access_token: \"{}\"\n    client_secret: \"{}\"\n    base_url: \"{}\"\n    \
         lists:\n{lists}    field_mapping:\n      email: email\n      name: FULLNAME\n      phone: SMS\n      \
         company.name: COMPANY_NAME\n      custom_attributes.plan_tier: PLAN_TIER\n  \
         brevo:\n    api_key: \"{}\"\n    base_url: \"{}\"\nserver:\n  listen: 127.0.0.1:0\n",
        intercom.access_token(),
        intercom.client_secret(),
        intercom.base_url(),
        brevo.api_key(),
        brevo.base_url(),
    )
}

/// Replaces one line of a script; the text before.
pub(super) fn edit(
    path: &Path,
    file: &'static str,
    line: &'static str,
    with: &str,
) -> Result<String, DemoError> {
    let before = std::fs::read_to_string(path)?;
    if !before.lines().any(|known| known == line) {
        return Err(DemoError::Script { file, line });
    }
    std::fs::write(path, before.replacen(line, with, 1))?;
    Ok(before)
}
