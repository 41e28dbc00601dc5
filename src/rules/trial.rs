//! The rules on a sample, as tests run them: `sample("ann.json")`, `run_contact(…)`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult, Map};
use serde_json::{Value, json};

use super::error::refuse;
use super::ruleset::{ContactInput, RuleSet};
use super::test_decision::TestDecision;
use super::view::{View, to_json};
use crate::model::{RecordKey, Timestamp};

type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// The `as_of` of a test that names none: 2026-01-01T00:00:00Z.
pub(crate) const DEFAULT_AS_OF: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// Options of `run_contact` that are no part of the contact.
const EXISTING: &str = "existing";
const AS_OF: &str = "as_of";
const LISTS: &str = "lists";

/// Makes samples readable and the rules runnable in tests.
pub(crate) fn register(engine: &mut Engine, rules: &RuleSet, dir: &Path) {
    let samples = Samples { rules: rules.clone(), dir: dir.join("tests").join("samples") };
    engine.register_fn("sample", move |name: &str| samples.read(name));
    for (function, has_options) in [("run_contact", false), ("run_contact", true)] {
        let rules = rules.clone();
        if has_options {
            engine.register_fn(function, move |contact: Dynamic, options: Map| {
                run_contact(&rules, &contact, &options)
            });
        } else {
            engine.register_fn(function, move |contact: Dynamic| {
                run_contact(&rules, &contact, &Map::new())
            });
        }
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

/// Runs the rules on a contact. `existing`, `as_of` and `lists` (numbers by name, beside the
/// configured) are options; any other is a field of the contact, such as `companies`, `tags`,
/// `role`.
fn run_contact(rules: &RuleSet, contact: &Dynamic, options: &Map) -> Outcome<Dynamic> {
    let Value::Object(mut contact) = to_json(contact) else {
        return Err(refuse("`run_contact` takes a contact, such as `sample(\"ann.json\")`"));
    };
    let mut existing = None;
    let mut as_of = DEFAULT_AS_OF;
    let mut lists = rules.environment().lists.clone();
    for (name, value) in options {
        let json = to_json(value);
        match name.as_str() {
            EXISTING => existing = Some(json).filter(|value| !value.is_null()),
            AS_OF => {
                as_of = Timestamp::parse(&json)
                    .ok_or_else(|| refuse("`as_of` must be a time, in seconds or ISO 8601"))?;
            }
            LISTS => {
                let named = json
                    .as_object()
                    .ok_or_else(|| refuse("`lists` must be a map of numbers by name"))?;
                lists.extend(
                    named.iter().filter_map(|(name, id)| Some((name.clone(), id.as_i64()?))),
                );
            }
            field => {
                contact.insert(field.to_owned(), json);
            }
        }
    }
    if let Some(Value::Array(all)) = contact.get("conversations") {
        let summary = summary(all);
        contact.insert("conversations".to_owned(), summary);
    }
    if options.contains_key("companies") {
        let first = contact.get("companies").and_then(|companies| companies.get(0)).cloned();
        contact.insert("company".to_owned(), first.unwrap_or_default());
    }
    let id = contact.get("id").and_then(Value::as_str).unwrap_or("sample");
    let id = id.parse().map_err(|error| refuse(format!("the contact's `id`: {error}")))?;
    let key = RecordKey::contact(id);
    let input = ContactInput { key, contact: Value::Object(contact), existing, as_of };
    let lists = Arc::new(lists);
    let decision =
        rules.decide_contact_with(&input, &lists).map_err(|error| refuse(error.to_string()))?;
    Ok(Dynamic::from(TestDecision { decision: Arc::new(decision), lists }))
}

/// What a contact carries of its conversations, from the conversations themselves.
fn summary(all: &[Value]) -> Value {
    let count = |state: &str| all.iter().filter(|c| c.get("state") == Some(&state.into())).count();
    json!({
        "open": count("open"),
        "snoozed": count("snoozed"),
        "closed": count("closed"),
        "total": all.len(),
        "all": all,
    })
}
