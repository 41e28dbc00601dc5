//! The server over HTTP, with a real engine on a store of its own. The engine's workers do not run:
//! what was taken in stays pending.

mod api;
mod clients;
mod webhooks;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use serde_json::Value;
use sha1::Sha1;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Addresses, Server, ServerOptions};
use crate::config::Config;
use crate::engine::Engine;
use crate::model::{ManualClock, Timestamp};
use crate::store::{AddressKey, SqliteStore, Store};

const SECRET: &str = "webhook-secret";
const TOKEN: &str = "admin-token";
const BEARER: (&str, &str) = ("Authorization", "Bearer admin-token");

/// A server that answers, and what is behind it.
struct TestServer {
    addresses: Addresses,
    engine: Engine,
    store: Arc<SqliteStore>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    folder: TempDir,
}

impl TestServer {
    async fn start() -> Self {
        Self::start_with("", ServerOptions::default()).await
    }

    /// `settings` goes below `server`.
    async fn start_with(settings: &str, options: ServerOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), SECRET, settings);
        let now = Timestamp::from_seconds(1_790_000_000);
        let path = folder.path().join("data/tajo.db");
        let store = Arc::new(SqliteStore::open(&path, AddressKey::derive(b"test"), now).unwrap());
        let clock = Arc::new(ManualClock::at(now));
        let engine = Engine::open(config.clone(), store.clone(), clock).await.unwrap();
        let token = SecretString::from(TOKEN);
        let server = Server::bind_with(&config, engine.clone(), token, options).await.unwrap();
        let addresses = server.addresses();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(server.serve(shutdown.clone()));
        Self { addresses, engine, store, shutdown, task, folder }
    }

    /// Puts another webhook secret in force, as a reload does.
    fn reload_with_secret(&self, secret: &str) {
        self.engine.reconfigure(config(self.folder.path(), secret, "")).unwrap();
    }

    /// Sends a notification with a signature that is right.
    async fn deliver(&self, body: &str) -> Reply {
        let signature = sign(body);
        self.post("/webhooks/intercom", &[("X-Hub-Signature", &signature)], body).await
    }

    async fn get(&self, path: &str) -> Reply {
        send(self.addresses.api, "GET", path, &[BEARER], "").await
    }

    async fn api(&self, method: &str, path: &str, body: &str) -> Reply {
        send(self.addresses.api, method, &format!("/api/v1{path}"), &[BEARER], body).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        send(self.addresses.public, "POST", path, headers, body).await
    }

    async fn close_store(&self) {
        self.store.close().await;
    }
}

/// Nothing listens where the services should be.
fn config(folder: &Path, secret: &str, settings: &str) -> Config {
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let text = format!(
        "connectors:\n  intercom:\n    access_token: t\n    client_secret: \"{secret}\"\n    \
             base_url: http://127.0.0.1:9\n  \
           brevo:\n    api_key: k\n    base_url: http://127.0.0.1:9\n\
         scripts:\n  dir: {}\n\
         server:\n  listen: 127.0.0.1:0\n{settings}",
        scripts.display()
    );
    Config::parse(&text, &folder.join("config/tajo.yaml"), &|_| None).unwrap()
}

fn sign(body: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    format!("sha1={}", hex::encode(mac.finalize().into_bytes()))
}

fn notification(id: &str, topic: &str, contact: &str) -> String {
    format!(
        r#"{{"type":"notification_event","id":"{id}","topic":"{topic}","created_at":1780000000,
            "data":{{"item":{{"type":"contact","id":"{contact}","email":"{contact}@example.com",
            "role":"user","updated_at":1780000000}}}}}}"#
    )
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: u16,
    /// As it came, in lower case.
    head: String,
    body: String,
}

impl Reply {
    /// Reads an answer from what a connection gave until its end.
    #[track_caller]
    fn read(text: &str) -> Self {
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    #[track_caller]
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts that these are problem details, and answers the detail.
    #[track_caller]
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["status"], status);
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()));
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// Sends one request on a connection of its own.
async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: tajo\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    Reply::read(&raw(address, &text).await)
}

/// Sends these bytes, and answers all that comes back until the server closes.
async fn raw(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}
