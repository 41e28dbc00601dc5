//! The program itself, as a process that can be killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tajo::model::SystemClock;
use tajo::sandbox::{Sandbox, SandboxOptions};
use tempfile::TempDir;

use super::until;

/// A folder with a configuration, pointed at a sandbox in this process.
pub(crate) struct Deployment {
    pub(crate) sandbox: Sandbox,
    folder: TempDir,
}

impl Deployment {
    /// Writes the project as `tajo init` does, with a configuration that points at the sandbox.
    pub(crate) async fn start(options: SandboxOptions, settings: &str) -> Self {
        let sandbox = Sandbox::start(options, Arc::new(SystemClock)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let deployment = Self { sandbox, folder };
        let initialised = deployment.run(&["init", "."]);
        assert!(initialised.status.success(), "{initialised:?}");
        let yaml = format!(
            "{}    rate_tier: extended\nserver:\n  listen: 127.0.0.1:0\n{settings}",
            deployment.sandbox.settings()
        );
        std::fs::write(deployment.path("config/tajo.yaml"), yaml).unwrap();
        deployment
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tajo"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a command whose output goes to a file of the deployment's folder.
    pub(crate) fn start_to(&self, arguments: &[&str], file: &str) -> Child {
        let out = std::fs::File::create(self.path(file)).unwrap();
        self.command(arguments).stdout(out).spawn().unwrap()
    }

    /// Starts the service and waits until it is ready.
    pub(crate) async fn serve(&self) -> Service {
        let mut command = self.command(&["serve"]);
        let log = std::fs::File::create(self.path("serve.log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut service = Service { child, base: String::new(), token: String::new() };
        let holder = until("the service says where it listens", async || {
            if let Some(status) = service.child.try_wait().unwrap() {
                panic!("serve ended with {status}: {}", self.log());
            }
            let holder = tajo::engine::EngineLock::holder(&self.path("data/tajo.db"))?;
            (holder.pid == service.child.id()).then_some(holder.api).flatten()
        })
        .await;
        service.base = format!("http://{holder}");
        service.token = std::fs::read_to_string(self.path("config/admin.token")).unwrap();
        until("the service is ready", async || {
            let answer = client().get(format!("{}/readyz", service.base)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        service
    }

    /// What the service logged so far.
    pub(crate) fn log(&self) -> String {
        read(&self.path("serve.log"))
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A running `tajo serve`.
pub(crate) struct Service {
    child: Child,
    pub(crate) base: String,
    token: String,
}

impl Service {
    /// Ends the process as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the process to end; answers its exit status.
    pub(crate) async fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        until("the service has ended", async || self.child.try_wait().unwrap()).await
    }

    /// The most memory that the process has held at once.
    pub(crate) fn peak_bytes(&self) -> u64 {
        let status = read(Path::new(&format!("/proc/{}/status", self.child.id())));
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes * 1024
    }

    /// True while the process that was started is the one that runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let url = format!("{}/api/v1/{path}", self.base);
        let answer = client().get(url).bearer_auth(&self.token).send().await.ok()?;
        answer.json().await.ok()
    }

    /// Asks the API to do something; the status and what it answers.
    pub(crate) async fn ask(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/api/v1/{path}", self.base);
        let request = client().post(url).bearer_auth(&self.token).body(body.to_string());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// Reads a page outside of the API; none if it is not answered with success.
    pub(crate) async fn page(&self, path: &str) -> Option<String> {
        let answer = client().get(format!("{}/{path}", self.base)).send().await.ok()?;
        answer.error_for_status().ok()?.text().await.ok()
    }

    /// Delivers a signed body; true if it was accepted.
    pub(crate) async fn deliver(&self, secret: &str, body: &str) -> bool {
        let signature = tajo::sandbox::intercom::sign(secret, body.as_bytes());
        let request = client().post(format!("{}/webhooks/intercom", self.base));
        let request = request.header("x-hub-signature", signature).body(body.to_owned());
        request.send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// Waits until nothing is left to do.
    pub(crate) async fn drained(&self) {
        until("nothing is left to do", async || {
            let status = self.get("connectors/intercom/status").await?;
            let is_brought = |sink: &str| status[sink]["due"] == 0;
            let is_done = status["work"] == 0 && status["records"]["pending"] == 0;
            (is_done && is_brought("links") && is_brought("objects")).then_some(())
        })
        .await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A test that failed must not leave a process behind; one that ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that follows no redirect.
pub(crate) fn client() -> reqwest::Client {
    let roots = rustls::RootCertStore::empty();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.unwrap().with_root_certificates(roots).with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}
