//! Commands against a sandbox: with an engine of their own, and through one that runs.

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::deployment::{Deployment, Running};
use super::init::write_project;
use super::runner::{History, Runner, lock_and_open};
use super::{connectors, dead_letters};
use crate::engine::{Engine, EngineLock, Schedule, SyncRequest};
use crate::model::SystemClock;
use crate::sandbox::{Sandbox, SandboxOptions, Seed};
use crate::server::Server;
use crate::store::{DeadLetterQuery, SyncKind, SyncState};

/// A deployment in a folder of its own, pointed at a sandbox.
struct Deployed {
    folder: TempDir,
    sandbox: Sandbox,
}

impl Deployed {
    async fn new(contacts: usize) -> Self {
        let seed = Some(Seed::new(contacts).without_long_lists());
        let options = SandboxOptions { seed, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options, Arc::new(SystemClock)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_project(folder.path()).unwrap();
        let rest = "server: { listen: \"127.0.0.1:0\", admin_token: \"secret-token\" }\n";
        let deployed = Self { folder, sandbox };
        std::fs::write(deployed.config(), format!("{}{rest}", deployed.sandbox.settings()))
            .unwrap();
        deployed
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config/tajo.yaml")
    }

    fn deployment(&self) -> Deployment {
        Deployment::load(&self.config()).unwrap()
    }

    /// An engine with its server, as `serve` runs them.
    async fn serve(&self) -> (Engine, EngineLock, CancellationToken) {
        let deployment = self.deployment();
        let (store, mut lock) = lock_and_open(&deployment).unwrap();
        let config = deployment.config.clone();
        let engine =
            Engine::open(config.clone(), Arc::new(store), Arc::new(SystemClock)).await.unwrap();
        let token = SecretString::from("secret-token");
        let server = Server::bind(&config, engine.clone(), token).await.unwrap();
        engine.start(Schedule::None);
        lock.announce(Some(server.addresses().api)).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(server.serve(stop.clone()));
        (engine, lock, stop)
    }
}

fn full() -> SyncRequest {
    SyncRequest { kind: SyncKind::Full, resources: Vec::new(), since: None }
}

/// Runs a sync to its end; how many contacts it read.
async fn sync_with(runner: &Runner) -> u64 {
    let id = runner.request_sync(full(), History::Known).await.unwrap();
    while !runner.sync(&id).await.unwrap().state.is_over() {
        super::runner::look_again().await;
    }
    let sync = runner.sync(&id).await.unwrap();
    assert_eq!((sync.state, sync.error), (SyncState::Done, None));
    let status = runner.drained(|_| {}).await.unwrap();
    assert_eq!(status.records.pending, 0);
    sync.resources.get("contacts").unwrap().seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_an_engine_runs_one_until_all_is_written() {
    let deployed = Deployed::new(12).await;
    let runner = Runner::start(&deployed.config()).await.unwrap();
    assert!(matches!(runner, Runner::Own { .. }));
    let second = Runner::start(&deployed.config()).await.unwrap_err().to_string();
    assert!(second.contains("another command (pid"), "{second}");
    assert_eq!(sync_with(&runner).await, 12);
    assert!(runner.brevo_calls().await.unwrap() > 0);
    runner.stop().await;
    assert!(deployed.sandbox.brevo.contact_count() > 0);
    assert!(matches!(deployed.deployment().running().unwrap(), Running::Nobody));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_beside_a_running_engine_goes_through_its_api() {
    let deployed = Deployed::new(12).await;
    let (engine, lock, stop) = deployed.serve().await;
    let runner = Runner::start(&deployed.config()).await.unwrap();
    assert!(matches!(runner, Runner::Service(_)));
    assert_eq!(sync_with(&runner).await, 12);
    assert!(runner.brevo_calls().await.unwrap() > 0);
    assert_eq!(runner.retry_dead_letters(DeadLetterQuery::All).await.unwrap(), 0);
    assert_eq!(runner.retry_dead_letters(DeadLetterQuery::One(9)).await.unwrap(), 0);
    let list = dead_letters::Command::List { limit: 5, json: false };
    dead_letters::run(list, &deployed.config()).await.unwrap();
    stop.cancel();
    engine.stop().await;
    drop(lock);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_check_of_a_connection_says_what_is_missing() {
    let deployed = Deployed::new(3).await;
    let names =
        |checks: &[(String, bool)]| -> Vec<bool> { checks.iter().map(|(_, ok)| *ok).collect() };
    let checks = connectors::checks_of_intercom(&deployed.deployment()).await.unwrap();
    assert_eq!(names(&checks), [true, true, true, true, false], "no webhook has come: {checks:?}");

    let bad = deployed.sandbox.settings().replace("sandbox-intercom-token", "another-token");
    std::fs::write(deployed.config(), bad).unwrap();
    let checks = connectors::checks_of_intercom(&deployed.deployment()).await.unwrap();
    assert_eq!(names(&checks), [false; 5], "{checks:?}");

    let checks = connectors::checks_of_brevo(&deployed.deployment()).await.unwrap();
    assert!(checks.iter().take(4).all(|(_, ok)| *ok), "{checks:?}");
    deployed.sandbox.brevo.unauthorized(true);
    let checks = connectors::checks_of_brevo(&deployed.deployment()).await.unwrap();
    assert!(checks.iter().all(|(_, ok)| !ok), "{checks:?}");
}
