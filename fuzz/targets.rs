//! What is fuzzed; also run on a small corpus by the ordinary tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::Value;
use tajo::model::{RecordKey, Timestamp};
use tajo::rules::{ContactInput, Limits, RuleEnvironment, RuleSet, SourceFile};

/// The rules that `tajo init` writes.
static DEFAULT: LazyLock<RuleSet> = LazyLock::new(|| {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let scripts = if scripts.is_dir() { scripts } else { "../scripts".into() };
    RuleSet::load(&scripts, &environment()).unwrap_or_else(|problems| panic!("{problems:?}"))
});

/// Loads any text as a script, and runs its handler if it has one.
#[allow(dead_code, reason = "each target uses one of them")]
pub(crate) fn load(text: &str) {
    let file = SourceFile { path: "scripts/mapping.rhai".to_owned(), text: text.to_owned() };
    match RuleSet::from_files(vec![file], &environment()) {
        Ok(rules) => {
            let contact = serde_json::json!({
                "id": "1", "email": "ann@example.com", "name": "Ann Lee", "role": "user",
                "custom_attributes": {"plan": "pro", "seats": 3}, "tags": ["vip", "beta"],
            });
            check(&rules, contact);
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            let _ = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        }
    }
}

/// Decides on any JSON with the default rules.
#[allow(dead_code, reason = "each target uses one of them")]
pub(crate) fn decide(data: &[u8]) {
    if let Ok(contact) = serde_json::from_slice::<Value>(data) {
        check(&DEFAULT, contact);
    }
}

/// The same record and rules give the same decision, byte for byte, or the same failure; and either
/// can be written and read back.
fn check(rules: &RuleSet, contact: Value) {
    let input = ContactInput {
        key: RecordKey::contact("1".parse().unwrap()),
        existing: Some(Arc::new(contact.clone())),
        contact: Arc::new(contact),
        as_of: Timestamp::from_seconds(1_767_225_600),
    };
    let first = rules.decide_contact(&input);
    let again = rules.decide_contact(&input);
    // How far a script comes in its time is chance.
    let is_late = |outcome: &Result<_, tajo::rules::ScriptError>| {
        outcome.as_ref().is_err_and(tajo::rules::ScriptError::is_time_limit)
    };
    if is_late(&first) || is_late(&again) {
        return;
    }
    let text = |outcome: &Result<tajo::model::Decision, _>| match outcome {
        Ok(decision) => serde_json::to_string(decision).unwrap(),
        Err(error) => format!("{error:?}"),
    };
    assert_eq!(text(&first), text(&again), "two decisions on one record");
    if let Ok(decision) = first {
        let read = serde_json::from_str::<tajo::model::Decision>(&text(&Ok(decision.clone())));
        assert_eq!(read.unwrap(), decision);
    }
}

fn environment() -> RuleEnvironment {
    let lists = [("all_users", 35), ("active_conversations", 36), ("leads", 37)];
    RuleEnvironment {
        lists: lists.map(|(name, id)| (name.to_owned(), id)).into(),
        field_mapping: BTreeMap::from([
            ("email".to_owned(), "email".to_owned()),
            ("name".to_owned(), "FULLNAME".to_owned()),
            ("phone".to_owned(), "SMS".to_owned()),
            ("company.name".to_owned(), "COMPANY_NAME".to_owned()),
        ]),
        limits: Limits { operations: 20_000, time: Duration::from_secs(2), ..Limits::default() },
        ..RuleEnvironment::default()
    }
}
