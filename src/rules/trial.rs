//! The rules on a sample, as tests run them: `sample("ann.json")`, `run_contact(…)`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult, Map};
use serde_json::Value;

use super::error::{broken, refuse};
use super::handlers::{MAP_CONVERSATION, MAP_EVENT};
use super::input::{ContactInput, RecordInput};
use super::journal::Journal;
use super::ruleset::RuleSet;
use super::test_decision::TestDecision;
use super::test_outcome::TestOutcome;
use super::view::{View, to_json};
use crate::model::{ConversationOutline, RecordKey, RecordKind, Timestamp, conversation_summary};

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// The `as_of` of a test that names none: 2026-01-01T00:00:00Z.
pub(crate) const DEFAULT_AS_OF: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// Options that are no part of the record.
const EXISTING: &str = "existing";
const AS_OF: &str = "as_of";
const LISTS: &str = "lists";

/// Numbers of lists by name.
type Lists = Arc<BTreeMap<String, i64>>;
type Run = fn(&RuleSet, Trial) -> Outcome<Dynamic>;

/// The functions that run the rules.
const RUNS: [(&str, Run); 6] = [
    ("run_contact", run_contact),
    ("run_company", run_company),
    ("run_conversation", |rules, trial| run_emission(rules, trial, RecordKind::Conversation)),
    ("run_event", |rules, trial| run_emission(rules, trial, RecordKind::Event)),
    ("run_brevo_contact", |rules, trial| run_reverse(rules, trial, RecordKind::BrevoContact)),
    ("run_brevo_event", |rules, trial| run_reverse(rules, trial, RecordKind::BrevoEvent)),
];

/// Makes samples readable and the rules runnable in tests.
pub(crate) fn register(engine: &mut Engine, rules: &RuleSet, dir: &Path, journal: &Journal) {
    let samples = Samples { rules: rules.clone(), dir: dir.join("tests").join("samples") };
    engine.register_fn("sample", move |name: &str| samples.read(name));
    for (name, run) in RUNS {
        let (of, noted) = (rules.clone(), journal.clone());
        engine.register_fn(name, move |record: Dynamic| {
            noted.run(run(&of, Trial::new(name, &of, &record, &Map::new())?))
        });
        let (of, noted) = (rules.clone(), journal.clone());
        engine.register_fn(name, move |record: Dynamic, options: Map| {
            noted.run(run(&of, Trial::new(name, &of, &record, &options)?))
        });
    }
}

/// The records that tests run on: those read with the rule set, else the folder's.
struct Samples {
    rules: RuleSet,
    dir: PathBuf,
}

impl Samples {
    fn read(&self, name: &str) -> Outcome<Dynamic> {
        let text = self
            .text(name)
            .ok_or_else(|| refuse(format!("there is no sample `{name}` in tests/samples")))?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| refuse(format!("the sample `{name}` is not JSON: {error}")))?;
        Ok(View::dynamic(Arc::new(value)))
    }

    fn text(&self, name: &str) -> Option<String> {
        // A test reads its samples and nothing else.
        if name.contains(['/', '\\']) || name.starts_with('.') {
            return None;
        }
        let end = format!("/tests/samples/{name}");
        let known = self.rules.files().iter().find(|file| file.path.ends_with(&end));
        match known {
            Some(file) => Some(file.text.clone()),
            None => std::fs::read_to_string(self.dir.join(name)).ok(),
        }
    }
}

/// A record with the options of a run. `existing`, `as_of` and `lists` (numbers by name, beside the
/// configured) are options; any other is a field of the record, such as `companies`, `tags`, `role`.
struct Trial {
    fields: serde_json::Map<String, Value>,
    existing: Option<Value>,
    as_of: Timestamp,
    lists: Lists,
}

impl Trial {
    fn new(function: &str, rules: &RuleSet, record: &Dynamic, options: &Map) -> Outcome<Self> {
        let Value::Object(fields) = to_json(record) else {
            let message = format!("`{function}` takes a record, such as `sample(\"ann.json\")`");
            return Err(refuse(message));
        };
        let lists = rules.environment().lists.clone();
        let mut trial = Self { fields, existing: None, as_of: DEFAULT_AS_OF, lists: lists.into() };
        for (name, value) in options {
            trial.set(name, to_json(value))?;
        }
        Ok(trial)
    }

    fn set(&mut self, name: &str, value: Value) -> Outcome<()> {
        match name {
            EXISTING => self.existing = Some(value).filter(|value| !value.is_null()),
            AS_OF => {
                self.as_of = Timestamp::parse(&value)
                    .ok_or_else(|| refuse("`as_of` must be a time, in seconds or ISO 8601"))?;
            }
            LISTS => {
                let named = value
                    .as_object()
                    .ok_or_else(|| refuse("`lists` must be a map of numbers by name"))?;
                let numbers =
                    named.iter().filter_map(|(name, id)| Some((name.clone(), id.as_i64()?)));
                Arc::make_mut(&mut self.lists).extend(numbers);
            }
            field => {
                // `company` is the first of `companies`, whichever of them is given.
                if field == "companies" {
                    let first = value.get(0).cloned().unwrap_or_default();
                    self.fields.insert("company".to_owned(), first);
                }
                self.fields.insert(field.to_owned(), value);
            }
        }
        Ok(())
    }

    fn key(&self, kind: RecordKind) -> Outcome<RecordKey> {
        let id = match self.fields.get("id") {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => "sample".to_owned(),
        };
        let id = id.parse().map_err(|error| refuse(format!("the record's `id`: {error}")))?;
        Ok(RecordKey { kind, id })
    }

    fn into_input(self, kind: RecordKind) -> Outcome<RecordInput> {
        let key = self.key(kind)?;
        Ok(RecordInput { key, record: Arc::new(Value::Object(self.fields)), as_of: self.as_of })
    }
}

fn run_contact(rules: &RuleSet, mut trial: Trial) -> Outcome<Dynamic> {
    if let Some(Value::Array(all)) = trial.fields.get("conversations") {
        let summary = summary(all);
        trial.fields.insert("conversations".to_owned(), summary);
    }
    let key = trial.key(RecordKind::Contact)?;
    let Trial { fields, existing, as_of, lists } = trial;
    let contact = Arc::new(Value::Object(fields));
    let input = ContactInput { key, contact, existing: existing.map(Arc::new), as_of };
    let decision = rules.decide_contact_with(&input, &lists).map_err(broken)?;
    Ok(Dynamic::from(TestDecision::new(decision, lists)))
}

fn run_company(rules: &RuleSet, trial: Trial) -> Outcome<Dynamic> {
    let input = trial.into_input(RecordKind::Company)?;
    let decision = rules.decide_company(&input).map_err(broken)?;
    Ok(TestOutcome::of_company(&decision))
}

fn run_emission(rules: &RuleSet, trial: Trial, kind: RecordKind) -> Outcome<Dynamic> {
    let lists = trial.lists.clone();
    let input = trial.into_input(kind)?;
    let handler = if kind == RecordKind::Event { MAP_EVENT } else { MAP_CONVERSATION };
    let emission = rules.emit(handler, &input, &lists).map_err(broken)?;
    Ok(TestOutcome::of_emission(&emission, &lists))
}

fn run_reverse(rules: &RuleSet, trial: Trial, kind: RecordKind) -> Outcome<Dynamic> {
    let input = trial.into_input(kind)?;
    let decision = match kind {
        RecordKind::BrevoEvent => rules.decide_brevo_event(&input),
        _ => rules.decide_brevo_contact(&input),
    };
    Ok(TestOutcome::of_reverse(&decision.map_err(broken)?))
}

/// What a contact carries of its conversations, from the conversations themselves.
pub(crate) fn summary(all: &[Value]) -> Value {
    let outlines: Vec<_> = all.iter().map(ConversationOutline::of).collect();
    conversation_summary(&outlines, all.to_vec())
}
