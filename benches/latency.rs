//! From a webhook to Brevo, on an idle engine: milliseconds from the first byte of the notification
//! until the sandbox's Brevo has answered the call that follows from it.
//!
//! Two hundred notifications, one after the other: contacts that are new, then a change of each.
//!
//! `cargo bench --bench latency`

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that fails panics, and prints its figures"
)]

#[path = "support/client.rs"]
mod client;
#[path = "support/disk.rs"]
mod disk;
#[path = "support/engine.rs"]
mod engine;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/request.rs"]
mod request;

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Connection;
use figures::{median, quantile};
use secrecy::SecretString;
use serde_json::json;
use tajo::engine::{Engine, Schedule};
use tajo::model::SystemClock;
use tajo::sandbox::brevo::Limits;
use tajo::sandbox::intercom::Changed;
use tajo::sandbox::{Sandbox, SandboxOptions};
use tajo::server::Server;
use tokio_util::sync::CancellationToken;

const CONTACTS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    // A test run only asks whether this compiles.
    if std::env::args().any(|argument| argument == "--bench") {
        tokio::runtime::Runtime::new().unwrap().block_on(measure());
    }
}

async fn measure() {
    let folder = disk::folder();
    let syncs = disk::sync_times(&folder, 200);
    println!(
        "sync of 4 KiB: median {:.0} µs, p95 {:.0} µs",
        median(&syncs),
        quantile(&syncs, 0.95)
    );

    let mut options = SandboxOptions::default();
    options.brevo.limits = Limits::off();
    options.intercom.rate_limit = None;
    let sandbox = Sandbox::start(options, Arc::new(SystemClock)).await.unwrap();
    let settings = format!("{}    rate_tier: extended\n", sandbox.settings());
    let (engine, config) = engine::open(&settings, folder.path()).await;
    let server = Server::bind(&config, engine.clone(), SecretString::from("bench")).await.unwrap();
    let connection = Connection::open(server.addresses().public).await;
    let stop = CancellationToken::new();
    let served = tokio::spawn(server.serve(stop.clone()));
    engine.start(Schedule::None);

    let mut course = Course { sandbox, engine, connection };
    // The first contact costs the attributes and lists that the account lacks.
    let warm = course.create(CONTACTS).await;
    println!("the first contact of all: {:.1} ms", warm.1.effect);
    let (mut created, mut changed) = (Vec::new(), Vec::new());
    let mut ids = Vec::new();
    for number in 0..CONTACTS {
        let (id, times) = course.create(number).await;
        ids.push(id);
        created.push(times);
    }
    for id in &ids {
        changed.push(course.rename(id).await);
    }
    report("new contacts", &created);
    report("changed contacts", &changed);
    report("all", &[created, changed].concat());

    stop.cancel();
    let Course { engine, connection, sandbox } = course;
    drop(connection);
    served.await.unwrap();
    engine.stop().await;
    sandbox.shutdown().await;
}

fn report(what: &str, times: &[Times]) {
    let effects: Vec<f64> = times.iter().map(|times| times.effect).collect();
    let answers: Vec<f64> = times.iter().map(|times| times.answer).collect();
    println!(
        "{what} ({}): in Brevo after {:.1} ms (p95 {:.1}); answered 200 after {:.1} ms (p95 {:.1})",
        times.len(),
        median(&effects),
        quantile(&effects, 0.95),
        median(&answers),
        quantile(&answers, 0.95),
    );
}

/// Milliseconds from the first byte of a notification.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Until Intercom has its 200.
    answer: f64,
    /// Until Brevo has answered.
    effect: f64,
}

struct Course {
    sandbox: Sandbox,
    engine: Engine,
    connection: Connection,
}

impl Course {
    async fn create(&mut self, number: usize) -> (String, Times) {
        let contact = json!({
            "role": "user", "email": format!("customer.{number}@example.com"),
            "name": "Dara Winslow", "external_id": number.to_string(),
            "phone": format!("+668{number:08}"),
        });
        let changed = self.sandbox.intercom.create_contact(contact).unwrap();
        (changed.id.clone(), self.deliver(changed).await)
    }

    async fn rename(&mut self, id: &str) -> Times {
        // A version is a second: the change must not fall into that of the creation.
        let name = json!({"name": "Dara van der Winslow"});
        let changed = self.sandbox.intercom.update_contact(id, name).unwrap();
        self.deliver(changed).await
    }

    /// Delivers what a change fires, and waits for the call that follows and for the engine's rest.
    async fn deliver(&mut self, changed: Changed) -> Times {
        let log = self.sandbox.brevo.log();
        let before = log.entries().last().map_or(0, |entry| entry.sequence);
        let secret = self.sandbox.intercom.client_secret();
        let bodies = changed.notifications.iter().map(ToString::to_string);
        let requests: Vec<_> = bodies.map(|body| request::signed(&body, secret)).collect();

        let began = Instant::now();
        for request in &requests {
            self.connection.exchange(request).await;
        }
        let answered = Instant::now();
        let seen = async {
            loop {
                let calls = log.find(|entry| {
                    entry.sequence > before
                        && entry.status < 300
                        && (entry.is("PUT", "/v3/contacts/")
                            || entry.method == "POST" && entry.path == "/v3/contacts")
                });
                match calls.first() {
                    Some(call) => return call.at,
                    None => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let seen = tokio::time::timeout(PATIENCE, seen).await.unwrap();
        self.engine.drained().await.unwrap();
        let since = |at: Instant| at.duration_since(began).as_secs_f64() * 1e3;
        Times { answer: since(answered), effect: since(seen) }
    }
}
