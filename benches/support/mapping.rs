//! The default mapping twice, on one contact: by the rules in `scripts/`, and by hand in Rust.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use phonenumber::Mode;
use serde_json::{Value, json};
use tajo::config::Config;
use tajo::engine::rule_environment;
use tajo::intercom::normalize;
use tajo::model::{
    AttributeIntent, AttributeName, AttributeValue, Decision, ListIntent, ListRef, Liveness,
    Origin, RecordKey, Snapshot, Source, Timestamp, Traced, Verdict,
};
use tajo::rules::{ContactInput, Limits, RuleSet};

use crate::notification;
use crate::rounds::Contest;

/// The names under which the programs are measured.
pub(crate) const BY_HAND: &str = "record to decision, by hand";
pub(crate) const RULES: &str = "record to decision, rules";
const UNLIMITED: &str = "record to decision, rules without limits";
const PARSE: &str = "JSON text to JSON value";
const RECORD: &str = "JSON text to record";
const TEXT_BY_HAND: &str = "JSON text to decision, by hand";
const TEXT_RULES: &str = "JSON text to decision, rules";
const TEXT_INTAKE: &str = "JSON text to decision, intake and rules";

const NOW: i64 = 1_768_019_995;
const TURNS: usize = 400;

/// The custom attributes of the contact, which become attributes of the same name.
const CUSTOM_ATTRIBUTES: [&str; 15] = [
    "plan_tier",
    "seats",
    "is_trial",
    "health_score",
    "region",
    "account_manager",
    "renewal_at",
    "utm_first",
    "industry",
    "onboarding_step",
    "nps",
    "contract_value",
    "timezone",
    "referrer_code",
    "beta_features",
];

/// A contact, and what decides on it.
pub(crate) struct Mapping {
    /// The contact as Intercom sends it: 2.5 KB, fifteen custom attributes.
    text: String,
    /// The contact as scripts see it.
    input: ContactInput,
    rules: RuleSet,
    unlimited: RuleSet,
    by_hand: ByHand,
}

impl Mapping {
    pub(crate) fn new() -> Self {
        let text = contact();
        let limits = Limits::default();
        let rules = default_rules(&limits);
        let mapping = Self {
            input: assemble(record(&text)),
            text,
            unlimited: default_rules(&Limits::off()),
            by_hand: ByHand::new(&rules),
            rules,
        };
        mapping.check();
        mapping
    }

    /// The contact as scripts see it.
    pub(crate) fn contact(&self) -> &Value {
        &self.input.contact
    }

    /// The contact and others who lack something, and what a decision on each has to say.
    pub(crate) fn cases(&self) -> impl Iterator<Item = (ContactInput, Value)> {
        variations().into_iter().map(|change| {
            let mut item: Value = serde_json::from_str(&self.text).unwrap();
            change.as_object().unwrap().iter().for_each(|(k, v)| item[k] = v.clone());
            let input = assemble(record(&item.to_string()));
            let expected = values(&self.by_hand.decide(&input.contact, &input.key));
            // Written by hand, it needs no record that is evened out.
            assert_eq!(values(&self.by_hand.decide(&with_relations(item), &input.key)), expected);
            (input, expected)
        })
    }

    fn check(&self) {
        for (input, expected) in self.cases() {
            assert_eq!(values(&self.rules.decide_contact(&input).unwrap()), expected);
            assert_eq!(values(&self.unlimited.decide_contact(&input).unwrap()), expected);
        }
    }

    /// Adds the programs that need nothing but this crate.
    pub(crate) fn enter<'a>(&'a self, contest: &mut Contest<'a>) {
        let Self { text, input, rules, unlimited, by_hand } = self;
        contest.add(BY_HAND, || {
            black_box(by_hand.decide(black_box(self.contact()), &input.key));
        });
        contest.add(RULES, || {
            black_box(rules.decide_contact(black_box(input)).unwrap());
        });
        contest.add(UNLIMITED, || {
            black_box(unlimited.decide_contact(black_box(input)).unwrap());
        });
        contest.add(PARSE, || {
            black_box(serde_json::from_str::<Value>(black_box(text)).unwrap());
        });
        contest.add(RECORD, || {
            black_box(record(black_box(text)));
        });
        contest.add(TEXT_BY_HAND, || {
            let item: Value = serde_json::from_str(black_box(text)).unwrap();
            black_box(by_hand.decide(&with_relations(item), &input.key));
        });
        contest.add(TEXT_RULES, || {
            let item: Value = serde_json::from_str(black_box(text)).unwrap();
            let input = self::input(input.key.clone(), normalize::contact(&item));
            black_box(rules.decide_contact(&input).unwrap());
        });
        contest.add(TEXT_INTAKE, || {
            let Snapshot { key, body, .. } = record(black_box(text));
            black_box(rules.decide_contact(&self::input(key, body)).unwrap());
        });
    }

    /// Measures, and prints what came out.
    #[must_use]
    pub(crate) fn report<'a>(&self, mut contest: Contest<'a>) -> Contest<'a> {
        contest.measure(TURNS);
        println!("a contact of {} bytes; medians of {TURNS} turns each\n", self.text.len());
        println!("{:<44} {:>9} {:>10}", "", "ns", "x by hand");
        for name in contest.names() {
            let (took, ratio) = (contest.nanoseconds(name), contest.ratio(name, BY_HAND));
            println!("{name:<44} {took:>9.0} {ratio:>10.2}");
        }
        let [hand, rules] = contest.scaling([BY_HAND, RULES], TURNS / 8);
        println!("\n{:<44} {:>9}   aim", "", "ratio");
        let line = |what: &str, ratio: f64, aim: &str| println!("{what:<44} {ratio:>9.2}   {aim}");
        line("default mapping, rules to by hand", contest.ratio(RULES, BY_HAND), "at most 5");
        line(
            "JSON text to decision, rules to by hand",
            contest.ratio(TEXT_RULES, TEXT_BY_HAND),
            "at most 2.5",
        );
        line("limits on to limits off", contest.ratio(RULES, UNLIMITED), "at most 1.1");
        line("two threads to one, by hand", hand, "");
        line("two threads to one, rules", rules, "");
        line("the latter to the former", rules / hand, "at least 0.9");
        contest
    }
}

/// A user with everything, and people who lack something.
fn variations() -> [Value; 7] {
    [
        json!({}),
        json!({"role": "lead", "phone": null, "name": null}),
        json!({"name": "Madonna", "signed_up_at": null}),
        json!({"name": " Anna  Maria van der Berg ", "phone": "+44 (0)20 7946 0958"}),
        json!({"phone": "call me", "last_seen_at": "2026-01-09T21:14:03.000+00:00"}),
        json!({"custom_attributes": {"seats": null, "nps": 9, "renewal_at": "soon"}}),
        json!({"email": "nobody"}),
    ]
}

/// The contact of the notification that the other benchmarks deliver.
fn contact() -> String {
    let body: Value = serde_json::from_str(&notification::body(7)).unwrap();
    let mut item = body["data"]["item"].clone();
    item["signed_up_at"] = json!("2025-11-02T08:00:00.000+00:00");
    item["last_seen_at"] = json!("2026-01-09T21:14:03.000+00:00");
    item.to_string()
}

/// The configuration of a deployment that has the fifteen custom attributes in Brevo, too: they stand
/// in `field_mapping` beside what stands there by default.
fn configuration() -> String {
    let custom = CUSTOM_ATTRIBUTES
        .map(|name| format!("  custom_attributes.{name}: {}\n", name.to_uppercase()))
        .concat();
    format!(
        "connectors:\n  intercom: {{ access_token: none, client_secret: none }}\n  \
         brevo: {{ api_key: none }}\n\
         field_mapping:\n  email: email\n  name: FULLNAME\n  phone: SMS\n  \
         company.name: COMPANY_NAME\n{custom}"
    )
}

fn default_rules(limits: &Limits) -> RuleSet {
    let config = Config::parse(&configuration(), Path::new("config/tajo.yaml"), &|_| None)
        .unwrap_or_else(|error| panic!("{error}"));
    let root = env!("CARGO_MANIFEST_DIR");
    let root = PathBuf::from(root.strip_suffix("/benches/vrl").unwrap_or(root));
    let environment =
        tajo::rules::RuleEnvironment { limits: limits.clone(), ..rule_environment(&config) };
    RuleSet::load(&root.join("scripts"), &environment).unwrap()
}

/// A snapshot as intake makes it: evened out, and with the digest by which the store orders it.
fn record(text: &str) -> Snapshot {
    let item: Value = serde_json::from_str(text).unwrap();
    let key = RecordKey::contact(normalize::id_of(&item).unwrap());
    let now = Timestamp::from_seconds(NOW);
    Snapshot::new(key, Liveness::Live, normalize::contact(&item), Source::Notification, now, now)
}

fn assemble(record: Snapshot) -> ContactInput {
    input(record.key, record.body)
}

fn input(key: RecordKey, body: Value) -> ContactInput {
    let as_of = Timestamp::from_seconds(NOW);
    ContactInput { key, contact: with_relations(body).into(), existing: None, as_of }
}

/// A record with its relations, as the engine puts them together.
fn with_relations(mut contact: Value) -> Value {
    let company = json!({"id": "63", "name": "Kestrel Works", "plan": {"id": "1", "name": "pro"}});
    let fields = contact.as_object_mut().unwrap();
    fields.insert("tags".to_owned(), json!(["vip", "beta"]));
    fields.insert("companies".to_owned(), json!([company]));
    fields.insert("company".to_owned(), company);
    fields.insert("conversations".to_owned(), json!({"open": 1}));
    contact
}

/// What a decision says, without the lines that said it.
fn values(decision: &Decision) -> Value {
    if let Verdict::Skip { reason } = &decision.verdict {
        return json!({ "skip": reason });
    }
    let attributes = decision.attributes.iter().map(|(name, traced)| match &traced.value {
        AttributeIntent::Set(value) => (name.to_string(), json!(value)),
        _ => (name.to_string(), Value::Null),
    });
    let lists = decision.lists.iter().map(|(list, traced)| {
        assert_eq!(traced.value, ListIntent::Add);
        json!(list)
    });
    json!({
        "email": decision.email.as_ref().map(|email| &email.value),
        "attributes": attributes.collect::<serde_json::Map<_, _>>(),
        "lists": lists.collect::<Vec<_>>(),
    })
}

/// The default rules, as a program that does nothing else would have them.
struct ByHand {
    empty: Decision,
    origin: Origin,
    names: [AttributeName; 7],
    custom: [(&'static str, AttributeName); 15],
    /// `TAG_LISTS` of `tags.rhai`, which is empty by default.
    tag_lists: BTreeMap<String, i64>,
}

impl ByHand {
    fn new(rules: &RuleSet) -> Self {
        let key = RecordKey::contact("none".parse().unwrap());
        let names = [
            "FULLNAME",
            "COMPANY_NAME",
            "FIRSTNAME",
            "LASTNAME",
            "SMS",
            "SIGNUP_DATE",
            "LAST_SEEN",
        ];
        Self {
            empty: Decision::new(key, rules.version().clone(), Timestamp::from_seconds(NOW)),
            origin: Origin { file: Arc::from("by hand"), line: 1, column: 1 },
            names: names.map(|name| name.parse().unwrap()),
            custom: CUSTOM_ATTRIBUTES.map(|name| (name, name.parse().unwrap())),
            tag_lists: BTreeMap::new(),
        }
    }

    fn decide(&self, contact: &Value, subject: &RecordKey) -> Decision {
        let mut decision = Decision { subject: subject.clone(), ..self.empty.clone() };
        let text = |field: &str| contact[field].as_str();
        let Some(email) = text("email").filter(|email| is_email(email)) else {
            decision.verdict = Verdict::Skip { reason: "no e-mail address".to_owned() };
            decision.verdict_origin = Some(self.origin.clone());
            return decision;
        };
        decision.email = Some(self.traced(email.to_owned()));

        let (first, last) = text("name").map(split_name).unwrap_or_default();
        let day = |field: &str| Timestamp::parse(&contact[field]).map(day);
        let values = [
            text("name").map(str::to_owned),
            contact["company"]["name"].as_str().map(str::to_owned),
            first,
            last,
            text("phone").and_then(e164),
            day("signed_up_at"),
            day("last_seen_at"),
        ];
        for (name, value) in self.names.iter().zip(values) {
            let value = value.filter(|text| !text.is_empty()).map(AttributeValue::Text);
            decision.attributes.insert(name.clone(), self.traced(intent(value)));
        }
        let custom = &contact["custom_attributes"];
        for (field, name) in &self.custom {
            let value = custom.get(field).and_then(|value| custom_attribute(field, value));
            decision.attributes.insert(name.clone(), self.traced(intent(value)));
        }

        let mut add = |list| decision.lists.insert(ListRef::Id(list), self.traced(ListIntent::Add));
        add(if text("role") == Some("lead") { 37 } else { 35 });
        if contact["conversations"]["open"].as_i64().is_some_and(|open| open > 0) {
            add(36);
        }
        for tag in contact["tags"].as_array().into_iter().flatten() {
            if let Some(list) = tag.as_str().and_then(|tag| self.tag_lists.get(tag)) {
                add(*list);
            }
        }
        decision
    }

    fn traced<T>(&self, value: T) -> Traced<T> {
        Traced { value, origin: self.origin.clone() }
    }
}

fn intent(value: Option<AttributeValue>) -> AttributeIntent {
    value.map_or(AttributeIntent::Withdraw, AttributeIntent::Set)
}

/// The value of a custom attribute, which is a scalar; a time is the day on which it is.
fn custom_attribute(field: &str, value: &Value) -> Option<AttributeValue> {
    let time = if field.ends_with("_at") { Timestamp::parse(value) } else { None };
    match (time, value) {
        (Some(time), _) => Some(AttributeValue::Text(day(time))),
        (_, Value::String(text)) => (!text.is_empty()).then(|| AttributeValue::Text(text.clone())),
        (_, Value::Bool(flag)) => Some(AttributeValue::Bool(*flag)),
        (_, Value::Number(number)) => Some(match number.as_i64() {
            Some(whole) => AttributeValue::Integer(whole),
            None => AttributeValue::Float(number.as_f64()?),
        }),
        _ => None,
    }
}

pub(crate) fn is_email(text: &str) -> bool {
    email_address::EmailAddress::is_valid(text.trim())
}

/// The first word and the rest.
fn split_name(name: &str) -> (Option<String>, Option<String>) {
    let mut words = name.split_whitespace();
    let first = words.next().map(str::to_owned);
    let rest = words.collect::<Vec<_>>().join(" ");
    (first, (!rest.is_empty()).then_some(rest))
}

/// The number without separators, if it is one.
pub(crate) fn e164(text: &str) -> Option<String> {
    let is_separator = |c: char| c.is_whitespace() || "-.()/".contains(c);
    let digits: String = text.replace("(0)", "").chars().filter(|c| !is_separator(*c)).collect();
    let number = phonenumber::parse(None, digits).ok()?;
    number.is_valid().then(|| number.format().mode(Mode::E164).to_string())
}

fn day(time: Timestamp) -> String {
    let instant = jiff::Timestamp::from_second(time.seconds()).unwrap();
    instant.to_zoned(TimeZone::UTC).date().to_string()
}
