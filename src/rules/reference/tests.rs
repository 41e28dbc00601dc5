//! The words are true: examples give what they say, nothing is left out, the page is current.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::doc::{Example, Expected};
use super::rhai::MISSING;
use super::*;
use crate::model::{AttributeIntent, RecordKey, Timestamp};
use crate::rules::diagnostic::Diagnostic;
use crate::rules::handlers::handler as handler_named;
use crate::rules::host::HostData;
use crate::rules::limits::Limits;
use crate::rules::{ContactInput, RuleEnvironment, RuleSet, SourceFile, run_tests, sandbox};

/// 2026-01-01T00:00:00Z, which tests run at if they name no other time.
const AS_OF: i64 = 1_767_225_600;

fn groups() -> impl Iterator<Item = Group> {
    host::FUNCTIONS.into_iter().chain(METHODS)
}

/// Every function with its group.
fn functions() -> impl Iterator<Item = (Group, FunctionDoc)> {
    groups().flat_map(|group| group.functions.iter().map(move |function| (group, *function)))
}

fn contact() -> Value {
    json!({
        "type": "contact", "id": "665f1c0a9e3b7d0012ab34c1", "role": "user", "email": "ann@example.com",
        "name": "Ann van der Berg", "created_at": 1_736_467_200, "signed_up_at": 1_736_467_200,
        "last_seen_at": 1_767_139_200, "location": {"country": "Thailand", "city": "Bangkok"},
        "custom_attributes": {"plan_tier": "pro", "seats": 12, "renews_at": 1_768_000_000},
        "tags": ["vip"], "company": {"id": "6660d4f2a1b2c3d4e5f60718", "name": "Example Co"},
        "companies": [
            {"id": "6660d4f2a1b2c3d4e5f60718", "name": "Example Co", "plan": {"name": "Gold"}},
        ],
    })
}

fn environment() -> RuleEnvironment {
    RuleEnvironment {
        lists: [("all_users".to_owned(), 35), ("leads".to_owned(), 37)].into(),
        field_mapping: [("name".to_owned(), "FULLNAME".to_owned())]
            .into_iter()
            .chain([("signed_up_at".to_owned(), "SIGNED_UP".to_owned())])
            .collect(),
        ..RuleEnvironment::default()
    }
}

/// The files that every example may use, and these.
fn files(own: &[(&str, &str)]) -> Vec<SourceFile> {
    let event = json!({
        "event_name": "ordered", "created_at": AS_OF - 60, "metadata": {"total": 5}, "contact": contact(),
        "event": "opened", "email": "ann@example.com", "subject": "News", "id": "e1",
    });
    let conversation =
        json!({"id": "215469", "state": "open", "contact": contact(), "contacts": [contact()]});
    let company = json!({"id": "6660d4f2a1b2c3d4e5f60718", "name": "Example Co"});
    let samples = [
        ("contact", contact()),
        ("event", event),
        ("conversation", conversation),
        ("company", company),
    ];
    let mut files: Vec<SourceFile> = samples
        .into_iter()
        .map(|(name, value)| SourceFile {
            path: format!("scripts/tests/samples/{name}.json"),
            text: value.to_string(),
        })
        .collect();
    let tables = [
        ("scripts/tables/plans.csv", "plan,seats,code\nfree,1,\npro,25,007\n"),
        ("scripts/tables/lists.csv", "tag,list\nvip,41\n"),
    ];
    files.extend(
        tables
            .iter()
            .chain(own)
            .map(|(path, text)| SourceFile { path: (*path).to_owned(), text: (*text).to_owned() }),
    );
    files
}

fn load(own: &[(&str, &str)]) -> Result<RuleSet, Vec<Diagnostic>> {
    RuleSet::from_files(files(own), &environment())
}

fn shown(problems: &[Diagnostic]) -> String {
    problems.iter().map(Diagnostic::render).collect::<Vec<_>>().join("\n")
}

/// The value of an expression in `map_contact`, or the error's message.
fn value(code: &str) -> Result<Value, String> {
    let script = format!("fn map_contact(contact, brevo) {{ brevo.VALUE = json([{code}]); }}");
    let rules = load(&[("scripts/mapping.rhai", &script)]).map_err(|problems| shown(&problems))?;
    let key = RecordKey::contact("665f1c0a9e3b7d0012ab34c1".parse().unwrap());
    let as_of = Timestamp::from_seconds(AS_OF);
    let input = ContactInput { key, contact: Arc::new(contact()), existing: None, as_of };
    let decision = rules.decide_contact(&input).map_err(|error| error.message)?;
    let written = &decision.attributes[&"VALUE".parse().unwrap()].value;
    let AttributeIntent::Set(written) = written else { panic!("{code}: {written:?}") };
    let list: Vec<Value> = serde_json::from_str(&written.to_string()).unwrap();
    Ok(list.into_iter().next().unwrap())
}

/// The value of an expression in a test, after a handler's body has decided as `d`.
fn in_test(handler: &str, body: &str, expression: &str, expected: &Value) -> Result<(), String> {
    let parameters = handler_named(handler).unwrap().parameters.join(", ");
    let mut script = format!("fn {handler}({parameters}) {{ {body} }}\n");
    if matches!(handler, "map_tags" | "merge_contact") {
        script += "fn map_contact(contact, brevo) { brevo.email = contact.email; }";
    }
    let run = match handler {
        "map_company" => "run_company(sample(\"company.json\"))",
        "map_conversation" => "run_conversation(sample(\"conversation.json\"))",
        "map_event" => "run_event(sample(\"event.json\"))",
        "map_brevo_contact" => "run_brevo_contact(#{ email: \"ann@example.com\", lists: [] })",
        "map_brevo_event" => "run_brevo_event(sample(\"event.json\"))",
        _ => "run_contact(sample(\"contact.json\"))",
    };
    let test = format!(
        "fn test_example() {{ let d = {run}; assert_eq({expression}, {}); }}",
        to_rhai(expected)
    );
    run_one(&script, &test)
}

fn run_one(script: &str, test: &str) -> Result<(), String> {
    let rules = load(&[("scripts/mapping.rhai", script), ("scripts/tests/example.rhai", test)]);
    let rules = rules.map_err(|problems| shown(&problems))?;
    let report = run_tests(&rules, std::path::Path::new("scripts"));
    match report.first_failure() {
        None => Ok(()),
        Some(failure) => Err(failure.render()),
    }
}

fn run_example(group: &Group, example: &Example) -> Result<(), String> {
    let parse = |json: &str| -> Value { serde_json::from_str(json).unwrap() };
    let is_test = ["Functions of tests", "Questions to a decision"].contains(&group.title);
    match example.expected {
        Expected::Value(json) if is_test => {
            in_test("map_contact", "brevo.email = contact.email;", example.code, &parse(json))
        }
        Expected::Error(message) if is_test => {
            let test = format!("fn test_example() {{ {}; assert(true); }}", example.code);
            match run_one("fn map_contact(contact, brevo) {}", &test) {
                Err(failure) if failure.contains(message) => Ok(()),
                other => Err(format!("expected `{message}`, got {other:?}")),
            }
        }
        Expected::Value(json) => match value(example.code) {
            Ok(value) if value == parse(json) => Ok(()),
            other => Err(format!("expected {json}, got {other:?}")),
        },
        Expected::Error(message) if group.handle.is_empty() || group.handle == "items" => {
            match value(example.code) {
                // What is wrong with a literal is found at load, before it runs.
                Err(error)
                    if error == message || error.starts_with(&format!("error: {message}\n")) =>
                {
                    Ok(())
                }
                other => Err(format!("expected `{message}`, got {other:?}")),
            }
        }
        Expected::Error(message) => {
            let handler = group.handlers.first().copied().unwrap_or("map_contact");
            match in_test(handler, example.code, "1", &json!(1)) {
                Err(failure) if failure.contains(message) => Ok(()),
                other => Err(format!("expected `{message}`, got {other:?}")),
            }
        }
        Expected::Decides { handler, look, value } => {
            in_test(handler, example.code, look, &parse(value))
        }
    }
}

#[test]
fn every_example_gives_what_it_says() {
    let mut wrong = Vec::new();
    for (group, function) in functions() {
        for example in function.examples {
            if let Err(problem) = run_example(&group, example) {
                wrong.push(format!(
                    "{} ({}): {}\n{problem}",
                    function.name, group.title, example.code
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_handlers_of_the_reference_compile() {
    let names: Vec<_> = HANDLERS.iter().map(|doc| doc.name).collect();
    let known: BTreeSet<_> = crate::rules::handlers::HANDLERS.iter().map(|h| h.name).collect();
    assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), known);
    for doc in &HANDLERS {
        if let Err(problems) = load(&[("scripts/mapping.rhai", doc.example)]) {
            panic!("{}: {}", doc.name, shown(&problems));
        }
    }
}

#[test]
fn what_is_not_there_is_said_at_once() {
    let mut wrong = Vec::new();
    for missing in &MISSING {
        let example = missing.example;
        let is_top_level = ["import", "export", "let count"].iter().any(|t| example.starts_with(t));
        let script = match is_top_level {
            true => example.to_owned(),
            false => format!("fn map_contact(contact, brevo) {{ {example} }}"),
        };
        let body = format!("{{ {example} }}");
        let error = match load(&[("scripts/mapping.rhai", &script)]) {
            Err(problems) => shown(&problems),
            Ok(_) => value(&body).expect_err(missing.what),
        };
        if !error.contains(missing.error) {
            wrong.push(format!("{}: {error}", missing.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let instead = "{ let least = 2; let f = |least, t| t.len() > least; contact.tags.filter(f.curry(least)) }";
    assert_eq!(value(instead), Ok(json!(["vip"])));
}

/// Names and numbers of arguments that an engine knows.
fn registered(engine: &::rhai::Engine) -> BTreeSet<(String, usize)> {
    let found = engine.collect_fn_metadata(
        None,
        |info| Some((info.metadata.name.to_string(), info.metadata.num_params)),
        true,
    );
    found.into_iter().collect()
}

#[test]
fn every_function_has_words_and_every_word_a_function() {
    let own = registered(&sandbox::engine(&Limits::default(), &Arc::new(HostData::default())));
    let rhai: BTreeSet<_> = registered(&rhai_engine()).into_iter().map(|(name, _)| name).collect();
    let described: BTreeSet<(String, usize)> = functions()
        .flat_map(|(group, function)| {
            let on = usize::from(!group.handle.is_empty());
            let count = move |signature: &Signature| signature.parameters.len() + on;
            function.signatures.iter().map(move |s| (function.name.to_owned(), count(s)))
        })
        .collect();
    // What is shadowed so that it can say what to write instead stands in a table of its own.
    let is_shadowed = |name: &str| MISSING.iter().any(|missing| missing.what.contains(name));
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let silent: Vec<_> = own
        .iter()
        .filter(|(name, _)| is_name(name) && !rhai.contains(name) && !is_shadowed(name))
        .filter(|function| !described.contains(*function))
        .collect();
    assert!(silent.is_empty(), "without words in the reference: {silent:?}");

    let is_test = |group: &Group| group.handle == "d";
    let missing: Vec<_> = functions()
        .filter(|(group, _)| !is_test(group))
        .filter(|(group, _)| group.title != "Functions of tests")
        .flat_map(|(group, function)| {
            let on = usize::from(!group.handle.is_empty());
            let count = move |signature: &Signature| signature.parameters.len() + on;
            function.signatures.iter().map(move |s| (function.name.to_owned(), count(s)))
        })
        .filter(|function| !own.contains(function))
        .collect();
    assert!(missing.is_empty(), "in the reference and not callable: {missing:?}");
}

#[test]
fn every_function_is_described_once_with_an_example_or_a_field() {
    for group in groups() {
        let names: BTreeSet<_> = group.functions.iter().map(|function| function.name).collect();
        assert_eq!(names.len(), group.functions.len(), "{}", group.title);
    }
    for (group, function) in functions().filter(|(group, _)| group.handle != "d") {
        assert!(!function.examples.is_empty(), "{}: {}", group.title, function.name);
        assert!(function.summary.ends_with('.'), "{}", function.name);
        assert!(!function.signatures.is_empty(), "{}", function.name);
    }
}

#[test]
fn scripting_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scripting.md");
    let page = reference();
    assert!(!page.contains("{{"), "a gap is left");
    if std::env::var_os("TAJO_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "run `TAJO_UPDATE_DOCS=1 cargo test scripting_page`");
}
