//! How Brevo is written under the limits of the General tier: 20,000 contacts on eight lists, and then
//! a tenth of them off one list and onto another.
//!
//! The sandbox keeps the real limits in real windows. Told are: calls for 1,000 contacts, the time
//! against the least that any client could take within the rates, and against a client that makes one
//! call for each contact; of that one, a sample is run against the same sandbox. Then a backlog that
//! only single calls can serve, and how much of the budget that used.
//!
//! `cargo bench --bench writer -- [contacts=20000] [delay=300] [sample=200] [singles=600]`; `delay` is how
//! many milliseconds an import is queued, and then at work, in the sandbox.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that fails panics, and prints its figures"
)]

#[path = "support/disk.rs"]
mod disk;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::json;
use tajo::brevo::{BrevoClient, BrevoSettings, BucketRates, ContactWrite, Upserted};
use tajo::config::Config;
use tajo::engine::{Engine, PlanView, Schedule, SyncRequest};
use tajo::http::Lane;
use tajo::model::{Clock, SystemClock};
use tajo::sandbox::brevo::Limits;
use tajo::sandbox::{RequestLog, Sandbox, SandboxOptions};
use tajo::store::{AddressKey, SqliteStore, SyncKind, SyncState};

/// The lists that the rules grant.
const LISTS: i64 = 8;
/// Calls to `/contacts` in a second on the General tier.
const RATE: f64 = 10.0;

/// Everybody is on the list of his role, and on others by his number.
const RULES: &str = r#"
fn map_contact(contact, brevo) {
    let own = contact.custom_attributes;
    brevo.email = contact.email;
    brevo.FIRSTNAME = contact.name;
    brevo.SEATS = own.seats;
    for digit in own.lists { brevo.add_to_list(100 + parse_int(digit.to_string())); }
}
"#;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // A test run only asks whether this compiles.
    if arguments.iter().any(|word| word == "--bench") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(measure(&arguments));
    }
}

async fn measure(arguments: &[String]) {
    let number = |name: &str, usual: usize| {
        let digits = arguments.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        digits.map_or(usual, |digits| digits.parse().unwrap())
    };
    let contacts = number("contacts", 20_000);
    let delay = Duration::from_millis(number("delay", 300) as u64);
    let folder = disk::folder();
    let syncs = disk::sync_times(&folder, 50);
    println!("sync of 4 KiB: {:.0} µs in the mean", syncs.iter().sum::<f64>() / syncs.len() as f64);
    let sandbox = sandbox(delay).await;
    let mut ids = Vec::with_capacity(contacts);
    for index in 0..contacts {
        let made = sandbox.intercom.create_contact(contact(index, &lists_of(index), 1)).unwrap();
        ids.push(made.id);
    }
    let engine = engine(&sandbox, folder.path()).await;

    let before = Snapshot::of(&sandbox);
    let (read, total) = full_sync(&engine).await;
    report("first sync", &sandbox, &before, contacts, read, total);
    // In company, everybody is in an import: as few imports as there are sets of lists, or one and the
    // list calls; either way, at least the bytes have to go, and each page to be read back.
    least("first sync", &engine, contacts);

    for (index, id) in ids.iter().enumerate().filter(|(index, _)| index % 10 == 0) {
        let lists = moved(&lists_of(index));
        sandbox.intercom.update_contact(id, contact(index, &lists, 1)).unwrap();
    }
    let before = Snapshot::of(&sandbox);
    let (read, total) = full_sync(&engine).await;
    report("a tenth moves to another list", &sandbox, &before, contacts / 10, read, total);
    least("a tenth moves to another list", &engine, contacts / 10);

    singles(&engine, &sandbox, number("singles", 600)).await;
    engine.stop().await;
    println!("refused with 429 in all: {}", sandbox.brevo.throttled());
    // Its limiter does not know what the engine called right before.
    tokio::time::sleep(Duration::from_secs(2)).await;
    naive(&sandbox, number("sample", 200), contacts).await;
    println!("violations of consent: {}", sandbox.brevo.violations().len());
}

async fn sandbox(delay: Duration) -> Sandbox {
    let mut options = SandboxOptions::default();
    options.intercom.log = RequestLog::without_bodies();
    options.brevo.log = RequestLog::without_bodies();
    options.brevo.import_delay = delay;
    options.brevo.limits = Limits::default();
    options.intercom.rate_limit = None;
    let sandbox = Sandbox::start(options, Arc::new(SystemClock)).await.unwrap();
    for list in 1..=LISTS {
        sandbox.brevo.create_list_with_id(100 + list, &format!("list {list}"));
    }
    sandbox.brevo.create_attribute("SEATS", "float").unwrap();
    sandbox
}

async fn engine(sandbox: &Sandbox, folder: &Path) -> Engine {
    std::fs::create_dir_all(folder.join("scripts")).unwrap();
    std::fs::write(folder.join("scripts/mapping.rhai"), RULES).unwrap();
    let settings = sandbox.settings().replace("  brevo:", "    plan: premium\n  brevo:");
    let scripts = folder.join("scripts");
    // Nobody is there to approve what is taken away from many.
    let guards = "guards:\n  max_change: { contacts: 1000000, percent: 100 }\n";
    let yaml = format!("{settings}scripts:\n  dir: \"{}\"\n{guards}", scripts.display());
    let path = folder.join("config/tajo.yaml");
    let config = Config::parse(&yaml, &path, &|_| None).unwrap_or_else(|error| panic!("{error}"));
    let key = AddressKey::derive(b"bench");
    let store = SqliteStore::open(&folder.join("data/tajo.db"), key, SystemClock.now()).unwrap();
    let engine = Engine::open(config, Arc::new(store), Arc::new(SystemClock)).await.unwrap();
    engine.start(Schedule::None);
    engine
}

/// Two lists for each: one of four by role, and of the other four none, one or two.
fn lists_of(index: usize) -> Vec<usize> {
    let mut lists = vec![1 + index % 4];
    if index.is_multiple_of(3) {
        lists.push(5 + index / 4 % 4);
    }
    if index.is_multiple_of(7) {
        lists.push(5 + (index / 4 + 1) % 4);
    }
    lists.sort_unstable();
    lists.dedup();
    lists
}

/// Off the list of the role, and onto the next one.
fn moved(lists: &[usize]) -> Vec<usize> {
    let moved = lists.iter().map(|list| if *list <= 4 { 1 + list % 4 } else { *list });
    moved.collect()
}

fn contact(index: usize, lists: &[usize], seats: usize) -> serde_json::Value {
    let lists: String = lists.iter().map(ToString::to_string).collect();
    json!({
        "email": format!("p{index}@example.com"), "role": "user", "name": format!("Name {index}"),
        "custom_attributes": {"lists": lists, "seats": seats},
    })
}

/// How many calls there were so far, by what they were.
struct Snapshot(BTreeMap<String, usize>);

impl Snapshot {
    fn of(sandbox: &Sandbox) -> Self {
        let mut calls: BTreeMap<String, usize> = BTreeMap::new();
        for call in sandbox.brevo.log().entries() {
            let path = call.path.trim_start_matches("/v3");
            let is_number =
                |part: &&str| part.chars().all(|c| c.is_ascii_digit()) && !part.is_empty();
            let parts = path.split('/');
            let route: Vec<&str> =
                parts.map(|part| if is_number(&part) { "{id}" } else { part }).collect();
            *calls.entry(format!("{} {}", call.method, route.join("/"))).or_default() += 1;
        }
        Self(calls)
    }
}

fn report(what: &str, sandbox: &Sandbox, before: &Snapshot, changes: usize, read: f64, total: f64) {
    println!(
        "\n{what}: {changes} contacts in {total:.1} s (read from Intercom within {read:.1} s)"
    );
    let (mut writes, mut all) = (0, 0);
    for (call, count) in Snapshot::of(sandbox).0 {
        let new = count - before.0.get(&call).copied().unwrap_or(0);
        if new > 0 {
            println!("  {new:>6}  {call}");
            all += new;
            writes += if call.starts_with("GET") { 0 } else { new };
        }
    }
    let thousand = changes as f64 / 1_000.0;
    println!(
        "  calls for 1,000 contacts: {:.2} ({:.2} of them write)",
        all as f64 / thousand,
        writes as f64 / thousand
    );
    let naive = changes as f64 / RATE;
    println!(
        "  one call for each contact: {changes} calls, {naive:.0} s at {RATE} a second; {:.0} times the \
         time, {:.0} times the calls",
        naive / total,
        changes as f64 / all as f64
    );
}

/// The least that the plans could have cost within the rates, imports ending at once.
fn least(what: &str, engine: &Engine, changes: usize) {
    let plans: Vec<PlanView> = engine.plans();
    let calls: usize = plans.iter().map(|plan| plan.plan.calls).sum();
    let pages = changes.div_ceil(1_000);
    println!(
        "  {what}: {calls} calls were planned so far; those and a page read back for each thousand take \
         {:.1} s at {RATE} a second",
        (calls + pages) as f64 / RATE
    );
    for plan in plans {
        print!("  plan {}: {}", plan.id, plan.plan);
    }
}

/// A backlog that no company can serve: values of people who opted out.
async fn singles(engine: &Engine, sandbox: &Sandbox, people: usize) {
    for index in 0..people {
        let email = format!("out{index}@example.com");
        sandbox.brevo.put_contact(&json!({"email": email})).unwrap();
        sandbox.brevo.blacklist(&email);
        let mut contact = contact(index, &[1], 2);
        contact["email"] = json!(email);
        sandbox.intercom.create_contact(contact).unwrap();
    }
    let throttled = sandbox.brevo.throttled();
    full_sync(engine).await;
    let puts: Vec<Instant> = sandbox
        .brevo
        .log()
        .find(|call| call.is("PUT", "/v3/contacts/"))
        .iter()
        .map(|c| c.at)
        .collect();
    // The ends of the backlog are left out: there it is no backlog.
    let middle = puts.get(people / 10..puts.len().saturating_sub(people / 10)).unwrap();
    let (first, last) = (middle.first().unwrap(), middle.last().unwrap());
    let share = middle.len() as f64 / ((*last - *first).as_secs_f64() * RATE);
    println!(
        "\nsingle writes only: {} calls, {:.1} % of the budget, {} refused with 429",
        puts.len(),
        share * 100.0,
        sandbox.brevo.throttled() - throttled
    );
}

/// One call for each contact, as fast as the same limits let it.
async fn naive(sandbox: &Sandbox, sample: usize, contacts: usize) {
    let settings = BrevoSettings {
        base_url: sandbox.brevo.base_url().parse().unwrap(),
        api_key: SecretString::from(sandbox.brevo.api_key()),
        rates: BucketRates::general(),
        backoff_base: Duration::from_secs(1),
        timeout: BrevoSettings::TIMEOUT,
        book: None,
    };
    let brevo = BrevoClient::new(settings, Arc::new(SystemClock)).unwrap();
    let began = Instant::now();
    let calls = (0..sample).map(|index| {
        let brevo = brevo.clone();
        async move {
            let email = format!("naive{index}@example.com").parse().unwrap();
            let write = ContactWrite {
                email: Some(email),
                list_ids: [tajo::model::ListId(101)].into(),
                update_enabled: true,
                ..ContactWrite::default()
            };
            assert!(matches!(
                brevo.upsert(Lane::Live, &write).await.unwrap(),
                Upserted::Created(_)
            ));
        }
    });
    futures_util::future::join_all(calls).await;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "\na naive client, run for {sample} contacts: {seconds:.1} s, so {:.0} s for {contacts}",
        seconds / sample as f64 * contacts as f64
    );
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
