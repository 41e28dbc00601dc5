//! What the rules cost: a contact's JSON of 2.5 KB with fifteen custom attributes becomes a record,
//! and the default rules decide on it; the same decision written by hand in Rust stands beside it.
//!
//! `cargo bench --bench rules`

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that fails panics"
)]

#[path = "support/notification.rs"]
mod notification;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::tz::TimeZone;
use mimalloc::MiMalloc;
use phonenumber::Mode;
use serde_json::{Value, json};
use tajo::config::Config;
use tajo::engine::rule_environment;
use tajo::intercom::normalize;
use tajo::model::{
    AttributeIntent, AttributeName, AttributeValue, Decision, Email, ListIntent, ListRef, Liveness,
    Origin, RecordKey, Snapshot, Source, Timestamp, Traced,
};
use tajo::rules::{ContactInput, RuleSet};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const NOW: i64 = 1_768_019_995;

fn rules(criterion: &mut Criterion) {
    let text = contact();
    let rules = default_rules();
    let hand = ByHand::new(&rules);
    let record = record(&text);
    assert_eq!(values(&decide(&rules, &record)), values(&hand.decide(&record)));

    let mut group = criterion.benchmark_group(format!("contact of {} bytes", text.len()));
    group.bench_function("parse", |bench| {
        bench.iter(|| serde_json::from_str::<Value>(black_box(&text)).unwrap());
    });
    group.bench_function("parse to record", |bench| {
        bench.iter(|| self::record(black_box(&text)));
    });
    group.bench_function("record to decision, rules", |bench| {
        bench.iter(|| decide(&rules, black_box(&record)));
    });
    group.bench_function("record to decision, by hand", |bench| {
        bench.iter(|| hand.decide(black_box(&record)));
    });
    group.bench_function("whole way, rules", |bench| {
        bench.iter(|| decide(&rules, &self::record(black_box(&text))));
    });
    group.bench_function("whole way, by hand", |bench| {
        bench.iter(|| hand.decide(&self::record(black_box(&text))));
    });
    group.finish();
}

criterion_group!(benches, rules);
criterion_main!(benches);

/// The contact of the notification that the other benchmarks deliver.
fn contact() -> String {
    let body: Value = serde_json::from_str(&notification::body(7)).unwrap();
    let mut item = body["data"]["item"].clone();
    item["signed_up_at"] = json!("2025-11-02T08:00:00.000+00:00");
    item["last_seen_at"] = json!("2026-01-09T21:14:03.000+00:00");
    item.to_string()
}

fn default_rules() -> RuleSet {
    let yaml = "connectors:\n  intercom:\n    access_token: none\n    client_secret: none\n  \
                brevo:\n    api_key: none\n";
    let config = Config::parse(yaml, Path::new("config/tajo.yaml"), &|_| None)
        .unwrap_or_else(|error| panic!("{error}"));
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts");
    RuleSet::load(&scripts, &rule_environment(&config)).unwrap()
}

/// A snapshot as intake makes it, digest and all.
fn record(text: &str) -> Snapshot {
    let item: Value = serde_json::from_str(text).unwrap();
    let key = RecordKey::contact(normalize::id_of(&item).unwrap());
    let now = Timestamp::from_seconds(NOW);
    Snapshot::new(key, Liveness::Live, normalize::contact(&item), Source::Notification, now, now)
}

fn decide(rules: &RuleSet, record: &Snapshot) -> Decision {
    let mut contact = record.body.clone();
    let fields = contact.as_object_mut().unwrap();
    fields.insert("tags".to_owned(), json!([]));
    fields.insert("companies".to_owned(), json!([]));
    fields.insert("company".to_owned(), Value::Null);
    fields.insert("conversations".to_owned(), json!({"open": 0}));
    let as_of = Timestamp::from_seconds(NOW);
    let key = record.key.clone();
    let input = ContactInput { key, contact: contact.into(), existing: None, as_of };
    rules.decide_contact(&input).unwrap()
}

/// What a decision says, without the lines that said it.
fn values(decision: &Decision) -> Value {
    let attributes = decision.attributes.iter().map(|(name, traced)| (name, &traced.value));
    let lists = decision.lists.iter().map(|(list, traced)| (list, traced.value));
    json!({
        "email": decision.email.as_ref().map(|email| &email.value),
        "attributes": attributes.collect::<Vec<_>>(),
        "lists": lists.collect::<Vec<_>>(),
    })
}

/// The default rules, as a program that does nothing else would have them.
struct ByHand {
    empty: Decision,
    origin: Origin,
    names: [AttributeName; 8],
}

impl ByHand {
    fn new(rules: &RuleSet) -> Self {
        let key = RecordKey::contact("none".parse().unwrap());
        let names = [
            "FULLNAME",
            "SMS",
            "COMPANY_NAME",
            "PLAN_TIER",
            "FIRSTNAME",
            "LASTNAME",
            "SIGNUP_DATE",
            "LAST_SEEN",
        ];
        Self {
            empty: Decision::new(key, rules.version().clone(), Timestamp::from_seconds(NOW)),
            origin: Origin { file: Arc::from("by hand"), line: 1, column: 1 },
            names: names.map(|name| name.parse().unwrap()),
        }
    }

    fn decide(&self, record: &Snapshot) -> Decision {
        let contact = &record.body;
        let text = |field: &str| contact[field].as_str();
        let email: Email = text("email").unwrap_or_default().parse().unwrap();
        let name = text("name").unwrap_or_default();
        let (first, last) = name.split_once(' ').unwrap_or((name, ""));
        let day = |field: &str| Timestamp::parse(&contact[field]).map(day);
        let values = [
            Some(name.to_owned()),
            text("phone").and_then(e164),
            contact["company"]["name"].as_str().map(str::to_owned),
            contact["custom_attributes"]["plan_tier"].as_str().map(str::to_owned),
            Some(first.to_owned()),
            Some(last.to_owned()),
            day("signed_up_at"),
            day("last_seen_at"),
        ];
        let mut decision = Decision { subject: record.key.clone(), ..self.empty.clone() };
        decision.email = Some(self.traced(email.as_str().to_owned()));
        for (name, value) in self.names.iter().zip(values) {
            let intent = match value.filter(|text| !text.is_empty()) {
                Some(text) => AttributeIntent::Set(AttributeValue::Text(text)),
                None => AttributeIntent::Withdraw,
            };
            decision.attributes.insert(name.clone(), self.traced(intent));
        }
        let list = if text("role") == Some("lead") { 37 } else { 35 };
        decision.lists.insert(ListRef::Id(list), self.traced(ListIntent::Add));
        decision
    }

    fn traced<T>(&self, value: T) -> Traced<T> {
        Traced { value, origin: self.origin.clone() }
    }
}

fn e164(text: &str) -> Option<String> {
    let number = phonenumber::parse(None, text).ok()?;
    number.is_valid().then(|| number.format().mode(Mode::E164).to_string())
}

fn day(time: Timestamp) -> String {
    let instant = jiff::Timestamp::from_second(time.seconds()).unwrap();
    instant.to_zoned(TimeZone::UTC).date().to_string()
}
