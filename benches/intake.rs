//! Durable intake, with the real sync of a real disk, against a bare endpoint that only checks the
//! same signature: requests a second, in interleaved rounds of one run.
//!
//! The load comes from a second process over loopback, on kept-alive connections; its requests are
//! signed before the clock starts, and each is about another contact. The engine's workers do
//! not run, unless the argument `workers` is given; Brevo is nowhere then, so they only derive.
//!
//! `cargo bench --bench intake -- [workers] [requests=20000] [rounds=5] [connections=64]`

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
#[path = "support/notification.rs"]
mod notification;
#[path = "support/process.rs"]
mod process;
#[path = "support/request.rs"]
mod request;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use client::Connection;
use figures::{median, quantile};
use process::Child;
use secrecy::SecretString;
use tajo::engine::{Engine, Schedule};
use tajo::intercom::Unverified;
use tajo::server::Server;
use tokio_util::sync::CancellationToken;

/// What both sides sign with.
const SECRET: &str = "bench-client-secret";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("load") => load(),
        _ if arguments.iter().any(|argument| argument == "--bench") => compare(&arguments),
        // A test run only asks whether this compiles.
        _ => {}
    }
}

fn number(arguments: &[String], name: &str, usual: usize) -> usize {
    let found =
        arguments.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
    found.map_or(usual, |digits| digits.parse().unwrap())
}

fn compare(arguments: &[String]) {
    let requests = number(arguments, "requests", 20_000);
    let rounds = number(arguments, "rounds", 5);
    let connections = number(arguments, "connections", 64);
    let has_workers = arguments.iter().any(|argument| argument == "workers");

    let folder = disk::folder();
    let syncs = disk::sync_times(&folder, 200);
    println!(
        "sync of 4 KiB: median {:.0} µs, p95 {:.0} µs",
        median(&syncs),
        quantile(&syncs, 0.95)
    );
    println!("{connections} connections, {} bytes of body", notification::body(0).len());

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stop = CancellationToken::new();
    let (engine, ours) = runtime.block_on(start_server(folder.path(), stop.clone()));
    let bare = runtime.block_on(start_bare());
    if has_workers {
        engine.start(Schedule::None);
    }

    let mut load = Load { child: Child::start(&["load"]), connections, sent: 0 };
    load.run(bare, requests / 4);
    load.run(ours, requests / 4);
    let (mut of_bare, mut of_ours) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (bare, ours) = (load.run(bare, requests), load.run(ours, requests));
        println!("round {round}: bare {bare}; durable {ours}; ratio {:.2}", ours.rate / bare.rate);
        of_bare.push(bare.rate);
        of_ours.push(ours.rate);
    }
    let (bare, ours) = (median(&of_bare), median(&of_ours));
    println!("median: bare {bare:.0}/s, durable {ours:.0}/s, ratio {:.2}", ours / bare);

    stop.cancel();
    let status = runtime.block_on(async {
        let status = engine.status().await.unwrap();
        engine.stop().await;
        status
    });
    println!("accepted {}, duplicates {}", status.records.accepted, status.duplicates);
}

/// The server as `tajo serve` runs it.
async fn start_server(folder: &std::path::Path, stop: CancellationToken) -> (Engine, SocketAddr) {
    let settings = format!(
        "connectors:\n  intercom:\n    access_token: \"none\"\n    client_secret: \"{}\"\n    \
         base_url: \"http://127.0.0.1:9\"\n  brevo:\n    api_key: \"none\"\n    \
         base_url: \"http://127.0.0.1:9\"\n",
        SECRET
    );
    let (engine, config) = engine::open(&settings, folder).await;
    let server = Server::bind(&config, engine.clone(), SecretString::from("bench")).await.unwrap();
    let address = server.addresses().public;
    tokio::spawn(server.serve(stop));
    (engine, address)
}

/// An endpoint that checks the signature and does nothing else.
async fn start_bare() -> SocketAddr {
    let secret = Arc::new(SecretString::from(SECRET));
    let router = Router::new().route("/webhooks/intercom", post(check)).with_state(secret);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn check(
    State(secret): State<Arc<SecretString>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<&'static str, StatusCode> {
    let verified = Unverified::from_request(&headers, body).verify(&secret);
    verified.map(|_| "{}").map_err(|_| StatusCode::UNAUTHORIZED)
}

/// The process that sends, and how many contacts it has used up.
struct Load {
    child: Child,
    connections: usize,
    sent: usize,
}

impl Load {
    fn run(&mut self, address: SocketAddr, requests: usize) -> Round {
        self.child.send(&format!("{address} {} {} {requests}\n", self.connections, self.sent));
        self.sent += requests;
        let answer = self.child.paragraph();
        let mut figures = answer.split_whitespace().map(|figure| figure.parse::<f64>().unwrap());
        let mut next = || figures.next().unwrap();
        Round { rate: next(), median: next(), p99: next() }
    }
}

/// What a round came to: requests a second, and how long one took, in milliseconds.
struct Round {
    rate: f64,
    median: f64,
    p99: f64,
}

impl std::fmt::Display for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0}/s ({:.1} ms, p99 {:.1} ms)", self.rate, self.median, self.p99)
    }
}

/// The second process: sends what each line of its input asks for.
fn load() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let mut words = line.split_whitespace();
        let address: SocketAddr = words.next().unwrap().parse().unwrap();
        let connections: usize = words.next().unwrap().parse().unwrap();
        let first: usize = words.next().unwrap().parse().unwrap();
        let count: usize = words.next().unwrap().parse().unwrap();
        let requests = (first..first + count)
            .map(|number| request::signed(&notification::body(number), SECRET));
        let round = runtime.block_on(send(address, connections, requests.collect()));
        println!("{} {} {}\n", round.rate, round.median, round.p99);
    }
}

async fn send(address: SocketAddr, count: usize, requests: Vec<Vec<u8>>) -> Round {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(Connection::open(address).await);
    }
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let tasks = connections.into_iter().map(|mut connection| {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        tokio::spawn(async move {
            let mut times = Vec::new();
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let began = Instant::now();
                connection.exchange(request).await;
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
            times
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut times = Vec::with_capacity(requests.len());
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let rate = requests.len() as f64 / began.elapsed().as_secs_f64();
    Round { rate, median: median(&times), p99: quantile(&times, 0.99) }
}
