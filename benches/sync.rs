//! A full sync of 3,000 and of 30,000 contacts against the sandbox: contacts a second until Brevo
//! holds everything, peak memory, calls.
//!
//! The sandbox and the engine are processes of their own, so that only the engine's memory counts.
//! The sandbox refuses nothing, and Intercom's headers announce more than anybody needs. Brevo's
//! announce nothing, so that the engine keeps to what it believes of the largest plan (`extended`);
//! with `announced` they announce the most that the engine believes, which shows what its own limiter
//! costs.
//!
//! `cargo bench --bench sync -- [announced] [contacts=3000] [runs=3]`; with `RUST_LOG=tajo=debug` the
//! engine says what it waits for.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that fails panics, and prints its figures"
)]

#[path = "support/disk.rs"]
mod disk;
#[path = "support/engine.rs"]
mod engine;
#[path = "support/figures.rs"]
mod figures;
#[path = "support/process.rs"]
mod process;

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use figures::{median, quantile};
use process::Child;
use tajo::engine::{Engine, Schedule, SyncRequest};
use tajo::model::SystemClock;
use tajo::sandbox::brevo::Limits;
use tajo::sandbox::{RequestLog, Sandbox, SandboxOptions, Seed};
use tajo::store::{SyncKind, SyncState};

/// The most of `/contacts` in a second that the engine believes of headers.
const CONTACTS_PER_SECOND: u32 = 600;
/// More of anything else than a sync needs.
const WIDE: u32 = 1_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["sandbox", contacts, limits] => sandbox(contacts.parse().unwrap(), limits),
        ["engine"] => run_engine(),
        words if words.contains(&"--bench") => measure(words),
        // A test run only asks whether this compiles.
        _ => {}
    }
}

fn measure(words: &[&str]) {
    let number = |name: &str| {
        let found = words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.map(|digits| digits.parse::<usize>().unwrap())
    };
    let limits = if words.contains(&"announced") { "announced" } else { "own" };
    let sizes = number("contacts").map_or(vec![3_000, 30_000], |contacts| vec![contacts]);
    let runs = number("runs").unwrap_or(3);

    let syncs = disk::sync_times(&disk::folder(), 200);
    println!(
        "sync of 4 KiB: median {:.0} µs, p95 {:.0} µs",
        median(&syncs),
        quantile(&syncs, 0.95)
    );
    for contacts in sizes {
        println!("\n{contacts} contacts, limits: {limits}");
        let mut rates = Vec::new();
        for _ in 0..runs {
            let mut sandbox = Child::start(&["sandbox", &contacts.to_string(), limits]);
            let settings = sandbox.paragraph();
            let mut engine = Child::start(&["engine"]);
            engine.send(&format!("{settings}\n"));
            engine.close();
            let report = engine.paragraph();
            let seconds: f64 = report.split_whitespace().next().unwrap().parse().unwrap();
            let rate = contacts as f64 / seconds;
            println!("  {rate:.0} contacts/s; seconds: {report}");
            rates.push(rate);
        }
        println!("  median: {:.0} contacts/s", median(&rates));
    }
}

/// Runs a sandbox until the input ends.
fn sandbox(contacts: usize, limits: &str) {
    let mut options =
        SandboxOptions { seed: Some(Seed::new(contacts)), ..SandboxOptions::default() };
    options.intercom.log = RequestLog::without_bodies();
    options.brevo.log = RequestLog::without_bodies();
    options.brevo.import_delay = Duration::from_millis(20);
    options.intercom.rate_limit = None;
    options.brevo.limits = Limits::off();
    if limits == "announced" {
        options.brevo.limits = Limits {
            contacts_per_second: Some(CONTACTS_PER_SECOND),
            contacts_per_hour: Some(WIDE),
            other_per_hour: Some(WIDE),
            ..Limits::off()
        };
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sandbox = runtime.block_on(Sandbox::start(options, Arc::new(SystemClock))).unwrap();
    for (number, name) in [(35, "All users"), (36, "Active conversations"), (37, "Leads")] {
        sandbox.brevo.create_list_with_id(number, name);
    }
    let settings = sandbox.settings();
    println!(
        "{}    rate_tier: extended\n",
        settings.replace("  brevo:", "    plan: premium\n  brevo:")
    );
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Runs one engine through two full syncs; the second finds everything as it is.
fn run_engine() {
    let mut settings = String::new();
    std::io::stdin().read_to_string(&mut settings).unwrap();
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let folder = disk::folder();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (engine, _) = engine::open(&settings, folder.path()).await;
        engine.start(Schedule::None);
        let before = peak_mib();
        let (read, total) = full_sync(&engine).await;
        let peak = peak_mib();
        let calls = engine.brevo_calls();
        let (_, again) = full_sync(&engine).await;
        let status = engine.status().await.unwrap();
        println!(
            "{total:.2} (reading {read:.2}), peak {peak:.0} MiB ({before:.0} before), brevo calls {} \
             ({} writes), dead letters {}; again unchanged: {again:.2} s, {} writes, peak {:.0} MiB",
            calls.reads() + calls.writes(),
            calls.writes(),
            status.dead_letters,
            engine.brevo_calls().writes() - calls.writes(),
            peak_mib(),
        );
        println!();
        engine.stop().await;
    });
}

/// Seconds until Intercom is read, and until all that follows is done.
async fn full_sync(engine: &Engine) -> (f64, f64) {
    let began = Instant::now();
    let request = SyncRequest { kind: SyncKind::Full, resources: Vec::new(), since: None };
    let id = engine.request_sync(request).await.unwrap().id;
    let sync = loop {
        let sync = engine.sync(&id).await.unwrap().unwrap();
        if sync.state.is_over() {
            break sync;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(sync.state, SyncState::Done, "{:?}", sync.error);
    let read = began.elapsed().as_secs_f64();
    engine.drained().await.unwrap();
    (read, began.elapsed().as_secs_f64())
}

/// The most memory that this process has had, in MiB.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}
