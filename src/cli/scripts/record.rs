//! `tajo scripts record`: a stored record as a sample of the tests, without the person in it, and a
//! test that pins what the rules decide about it today.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::anonymise::Anonymiser;
use super::input::{Input, Source};
use super::on_rules_thread;
use super::run::excerpt;
use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::engine::rule_environment;
use crate::model::{
    AttributeIntent, Clock, CompanyDecision, Decision, ListIntent, ListRef, RecordKind,
    SystemClock, Timestamp, Traced, TrackedEvent, Verdict,
};
use crate::rules::{
    ContactInput, RecordInput, RuleEnvironment, RuleSet, SourceFile, TestRun, run_selected_tests,
};

/// Records a stored contact as a sample without the person in it, and a test that pins what the rules
/// decide today.
///
/// Names, addresses, phones, ids, URLs, IP addresses, words of conversations and what looks personal
/// in custom attributes are replaced, the same value by the same replacement everywhere. What rules
/// decide by stays: roles, tags, times, plans, numbers, countries, free-mail domains.
/// Look through both before you share them: what people wrote into fields of your own is not always
/// known by its looks.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  tajo scripts record ann@example.com --name annual_plan
  tajo scripts record 665f1c0a9e3b7d0012ab34c1
  tajo scripts record company:6660d4f2a1b2c3d4e5f60718 --name big_company

Writes scripts/tests/samples/NAME.json and scripts/tests/NAME.rhai.")]
pub(in crate::cli) struct Args {
    /// Which record: an address, an id of a contact, contact:ID or company:ID.
    #[arg(value_name = "EMAIL|ID")]
    record: String,
    /// What the sample and the test are called: letters, digits and _ [default: recorded_1, …].
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// The time that `older_than` and `within` compare with [default: now].
    #[arg(long, value_name = "TIME", value_parser = time)]
    as_of: Option<Timestamp>,
    /// Overwrites a sample and a test of this name.
    #[arg(long)]
    force: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> Result<String, String> {
    let fits = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match fits && !text.is_empty() && text.len() <= 64 {
        true => Ok(text.to_owned()),
        false => Err("must be lower-case letters, digits and _".to_owned()),
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_text(text)
        .ok_or_else(|| "must be a date, a time (ISO 8601) or seconds since 1970".to_owned())
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    name: String,
    /// All files.
    files: Vec<PathBuf>,
}

/// A file that is about to be written.
#[derive(Debug)]
struct NewFile {
    /// Below the folder of the scripts.
    inside: String,
    text: String,
}

/// Runs the command.
pub(super) async fn run(args: Args, config: &Path) -> Result<ExitCode, Failure> {
    let deployment = Deployment::load_without_secrets(config)?;
    let now = args.as_of.unwrap_or_else(|| SystemClock.now());
    let source = Source::stored(&deployment, &args.record).await?;
    let environment = rule_environment(&deployment.config);
    let dir = deployment.config.scripts.dir.clone();
    let name = match args.name {
        Some(name) => name,
        None => free_name(&dir),
    };
    let (title, own) = (name.clone(), dir.clone());
    let files = on_rules_thread(move || prepare(&own, &title, source, &environment, now))??;
    let paths = write(&dir, &files, args.force)?;
    if args.json {
        output::print_json(&Written { name, files: paths })?;
    } else {
        let shown: Vec<String> =
            paths.iter().map(|path| format!("wrote {}", path.display())).collect();
        output::print(&shown.join("\n"))?;
    }
    output::say(
        "note: look through these files before you share them: what people wrote into fields of \
         your own is not always known by its looks",
    );
    Ok(ExitCode::SUCCESS)
}

/// The first of `recorded_1`, `recorded_2`, … that there is no test of.
fn free_name(dir: &Path) -> String {
    let is_free = |name: &String| {
        let taken = |inside: String| dir.join(inside).exists();
        !taken(format!("tests/{name}.rhai")) && !taken(format!("tests/samples/{name}.json"))
    };
    let names = (1..10_000).map(|number| format!("recorded_{number}"));
    names.into_iter().find(is_free).unwrap_or_else(|| "recorded".to_owned())
}

/// The files of a recording, whose test passes.
fn prepare(
    dir: &Path,
    name: &str,
    source: Source,
    environment: &RuleEnvironment,
    as_of: Timestamp,
) -> Result<Vec<NewFile>, Failure> {
    let rules = RuleSet::load(dir, environment).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        Failure::failed(format!("the rules do not load: {first}"))
            .with_help("`tajo scripts check` shows all that is wrong")
    })?;
    let input = source.into_input(&rules, as_of)?;
    let region = environment.phone_region.as_deref().filter(|region| !region.is_empty());
    let input = without_person(&input, region);
    let body = pinned(&rules, &input, as_of)?;
    let has_existing = input.existing.is_some();
    let mut files = vec![NewFile {
        inside: format!("tests/samples/{name}.json"),
        text: pretty(&input.record)?,
    }];
    if let Some(existing) = &input.existing {
        let inside = format!("tests/samples/{name}.brevo.json");
        files.push(NewFile { inside, text: pretty(existing)? });
    }
    let text = test_text(name, input.key.kind, has_existing, as_of, &body);
    files.push(NewFile { inside: format!("tests/{name}.rhai"), text });
    prove(dir, &rules, name, &files, environment)?;
    Ok(files)
}

fn without_person(input: &Input, region: Option<&str>) -> Input {
    let mut values = vec![&*input.record];
    values.extend(input.existing.as_deref());
    let mut changed = Anonymiser::new(region).anonymise(&values).into_iter();
    let record = Arc::new(changed.next().unwrap_or_default());
    let id = record.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    let mut key = input.key.clone();
    key.id = id.unwrap_or(key.id);
    Input { key, record, existing: changed.next().map(Arc::new), ..input.clone() }
}

fn pretty(value: &Value) -> Result<String, Failure> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// The assertions that pin what is decided.
fn pinned(rules: &RuleSet, input: &Input, as_of: Timestamp) -> Result<Vec<String>, Failure> {
    let Input { key, record, existing, .. } = input.clone();
    let result = match key.kind {
        RecordKind::Contact => rules
            .decide_contact(&ContactInput { key, contact: record, existing, as_of })
            .map(|decision| of_contact(&decision, rules)),
        RecordKind::Company => rules
            .decide_company(&RecordInput { key, record, as_of })
            .map(|decision| of_company(&decision)),
        other => {
            let message = format!("a {other} cannot be recorded yet: contacts and companies can");
            return Err(Failure::failed(message));
        }
    };
    result.map_err(|error| {
        let shown = excerpt(&error, rules).render();
        Failure::failed(format!(
            "the rules break on this record, so there is nothing to pin\n{shown}"
        ))
    })
}

fn of_contact(decision: &Decision, rules: &RuleSet) -> Vec<String> {
    let mut lines = of_verdict(&decision.verdict);
    if decision.verdict != Verdict::Write {
        return lines;
    }
    for (name, identity) in [("email", &decision.email), ("ext_id", &decision.ext_id)] {
        let value = identity.as_ref().map_or("()".to_owned(), |text| quoted(&text.value));
        if identity.is_some() || name == "email" {
            lines.push(format!("assert_eq(d.{name}, {value});"));
        }
    }
    let mut set = 0;
    for (name, Traced { value, .. }) in &decision.attributes {
        let reading = match name.as_str() {
            plain if is_plain(plain) => format!("d.{plain}"),
            odd => format!("d[{}]", quoted(odd)),
        };
        lines.push(match value {
            AttributeIntent::Set(value) => {
                set += 1;
                let value = serde_json::to_value(value).unwrap_or_default();
                format!("assert_eq({reading}, {});", literal(&value))
            }
            AttributeIntent::Withdraw => format!("assert_eq({reading}, ());"),
            AttributeIntent::Clear => format!("assert(d.clears({}));", quoted(name.as_str())),
        });
    }
    lines.push(format!("assert_eq(d.attributes.len(), {set});"));
    lines.extend(of_lists(decision, rules));
    let kept =
        decision.keep.keys().map(|name| format!("assert(d.keeps({}));", quoted(name.as_str())));
    lines.extend(kept);
    for (name, flag) in [
        ("unsubscribed", decision.email_opt_out.is_some()),
        ("sms_unsubscribed", decision.sms_opt_out.is_some()),
    ] {
        lines.push(format!("assert({}d.{name});", if flag { "" } else { "!" }));
    }
    lines.push(format!("assert_eq(d.events, {});", literal(&events(&decision.events))));
    lines
}

/// The lists that are decided, and those of the configuration that are not.
fn of_lists(decision: &Decision, rules: &RuleSet) -> Vec<String> {
    let names = rules.list_names();
    let known = |list: &ListRef| match list {
        ListRef::Name(name) => quoted(name),
        ListRef::Id(id) => match names.iter().find(|(_, number)| *number == id) {
            Some((name, _)) => quoted(name),
            None => id.to_string(),
        },
    };
    let mut lines = Vec::new();
    for (list, Traced { value, .. }) in &decision.lists {
        let method = if *value == ListIntent::Add { "on_list" } else { "off_list" };
        lines.push(format!("assert(d.{method}({}));", known(list)));
    }
    let is_granted = |name: &str, id: i64| {
        [ListRef::Id(id), ListRef::Name(name.to_owned())].iter().any(|list| {
            decision.lists.get(list).is_some_and(|traced| traced.value == ListIntent::Add)
        })
    };
    let others = names.iter().filter(|(name, id)| !is_granted(name, **id));
    lines.extend(others.map(|(name, _)| format!("assert(!d.on_list({}));", quoted(name))));
    lines
}

fn of_company(decision: &CompanyDecision) -> Vec<String> {
    let mut lines = of_verdict(&decision.verdict);
    if decision.verdict != Verdict::Write {
        return lines;
    }
    let mut set = serde_json::Map::new();
    for (name, Traced { value, .. }) in &decision.attributes {
        if let AttributeIntent::Set(value) = value {
            set.insert(name.clone(), serde_json::to_value(value).unwrap_or_default());
        }
    }
    lines.push(format!("assert_eq(d.attributes, {});", literal(&set.into())));
    lines
}

fn of_verdict(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Write => vec!["assert(!d.skipped);".to_owned()],
        Verdict::Skip { reason } => {
            vec![
                "assert(d.skipped);".to_owned(),
                format!("assert_eq(d.reason, {});", quoted(reason)),
            ]
        }
        Verdict::Release => vec!["assert(d.released);".to_owned()],
        Verdict::Delete => vec!["assert(d.deleted);".to_owned()],
    }
}

/// Events as tests see them.
fn events(events: &[Traced<TrackedEvent>]) -> Value {
    let shown = events.iter().map(|event| {
        let TrackedEvent { name, at, properties } = &event.value;
        let at = at.map(|at| at.seconds());
        serde_json::json!({"name": name, "at": at, "properties": properties})
    });
    shown.collect::<Vec<_>>().into()
}

fn test_text(
    name: &str,
    kind: RecordKind,
    has_existing: bool,
    as_of: Timestamp,
    assertions: &[String],
) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "// Recorded from a {kind} by `tajo scripts record`, without the person in it. It pins what the\n\
         // rules decided at {as_of}; where a rule shall decide otherwise, change it here, too.\n"
    );
    let function = if kind == RecordKind::Company { "run_company" } else { "run_contact" };
    let existing = if has_existing {
        format!(", existing: sample(\"{name}.brevo.json\")")
    } else {
        String::new()
    };
    let _ = writeln!(text, "fn test_{name}() {{");
    let _ = writeln!(
        text,
        "    let d = {function}(sample(\"{name}.json\"), #{{ as_of: \"{as_of}\"{existing} }});"
    );
    for line in assertions {
        let _ = writeln!(text, "    {line}");
    }
    text.push_str("}\n");
    text
}

/// Runs the test before it is written: it must pass.
fn prove(
    dir: &Path,
    rules: &RuleSet,
    name: &str,
    new: &[NewFile],
    environment: &RuleEnvironment,
) -> Result<(), Failure> {
    let root = dir.file_name().map_or("scripts".into(), |name| name.to_string_lossy());
    let mut files = rules.files().to_vec();
    for file in new {
        let path = format!("{root}/{}", file.inside);
        files.retain(|known| known.path != path);
        files.push(SourceFile { path, text: file.text.clone() });
    }
    let test = format!("tests/{name}.rhai");
    let rules = RuleSet::from_files(files, environment)
        .map_err(|_| Failure::failed("the rules do not load with the recorded test"))?;
    let run = TestRun { filter: Some(&test), ..TestRun::default() };
    let report = run_selected_tests(&rules, dir, &run);
    match report.is_ok() && !report.tests.is_empty() {
        true => Ok(()),
        false => Err(Failure::failed(format!(
            "the recorded test does not pass, so nothing was written\n{report}"
        ))),
    }
}

/// Writes all files, or none where one of them would be overwritten.
fn write(dir: &Path, files: &[NewFile], force: bool) -> Result<Vec<PathBuf>, Failure> {
    let paths: Vec<PathBuf> = files.iter().map(|file| dir.join(&file.inside)).collect();
    if let Some(taken) = paths.iter().find(|path| path.exists() && !force) {
        let failure = Failure::failed(format!("{} exists already", taken.display()));
        return Err(failure.with_help("give another --name, or --force to overwrite it"));
    }
    std::fs::create_dir_all(dir.join("tests").join("samples"))?;
    for (path, file) in paths.iter().zip(files) {
        std::fs::write(path, &file.text).map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    Ok(paths)
}

/// A name that may stand behind a dot.
fn is_plain(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A JSON value as a literal of Rhai.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "()".to_owned(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(literal).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) if fields.is_empty() => "#{}".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}: {}", quoted(name), literal(value)))
                .collect();
            format!("#{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// A text as a literal of Rhai, which knows fewer escapes than JSON.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(literal, "\\u{:04x}", u32::from(control));
            }
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::RecordKey;

    const RULES: &str = "\
fn map_contact(contact, brevo) {
    if contact.email == () { return brevo.skip(\"no \\\"address\\\"\"); }
    brevo.email = contact.email;
    brevo.FIRSTNAME = split_name(contact.name).first;
    brevo.NOTES = contact.custom_attributes.wishes;
    brevo[\"ODD NAME\"] = contact.custom_attributes.rate;
    brevo.SMS = phone(contact.phone, \"TH\");
    brevo.GONE = contact.nothing;
    brevo.clear(\"OLD\");
    brevo.add_to_list(if contact.role == \"lead\" { \"leads\" } else { \"all_users\" });
    brevo.add_to_list(99);
    brevo.track(\"seen\", #{ plan: contact.custom_attributes.plan }, contact.last_seen_at);
    if older_than(contact.last_seen_at, \"30d\") { brevo.remove_from_list(\"active\"); }
}
fn merge_contact(existing, brevo) {
    if existing.FIRSTNAME == brevo.FIRSTNAME { brevo.keep(\"FIRSTNAME\"); }
}
fn map_company(company, brevo) { brevo.name = company.name; }
";

    fn setup() -> (tempfile::TempDir, RuleEnvironment) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("scripts")).unwrap();
        std::fs::write(folder.path().join("scripts/mapping.rhai"), RULES).unwrap();
        let lists = [("leads".to_owned(), 37), ("all_users".to_owned(), 35)].into();
        (folder, RuleEnvironment { lists, ..RuleEnvironment::default() })
    }

    fn source(kind: RecordKind, record: Value, existing: Option<Value>) -> Source {
        Source::Ready(Box::new(Input {
            key: RecordKey { kind, id: "5ba682d23d7cf92bef87bfd4".parse().unwrap() },
            record: Arc::new(record),
            existing: existing.map(Arc::new),
            from: "the store".to_owned(),
            notes: Vec::new(),
        }))
    }

    fn ann() -> Value {
        json!({
            "type": "contact", "id": "5ba682d23d7cf92bef87bfd4", "role": "user",
            "email": "ann.lee@shop.test", "name": "Ann Lee", "phone": "081 234 5678",
            "last_seen_at": 1_700_000_000,
            "custom_attributes": {"wishes": "a \"call\"\nin the morning please", "rate": 0.5, "plan": "pro"},
            "tags": ["vip"], "companies": [], "company": null,
        })
    }

    const NOW: Timestamp = Timestamp::from_seconds(1_767_225_600);

    #[test]
    fn a_recording_passes_at_once_and_names_nobody() {
        let (folder, environment) = setup();
        let dir = folder.path().join("scripts");
        let existing = json!({"id": 7, "email": "ann.lee@shop.test", "lists": [35], "blacklisted": false, "FIRSTNAME": "Ann"});
        let source = source(RecordKind::Contact, ann(), Some(existing));
        let files = prepare(&dir, "ann", source, &environment, NOW).unwrap();
        let paths = write(&dir, &files, false).unwrap();
        assert_eq!(paths.len(), 3);
        let all: String = files.iter().map(|file| file.text.clone()).collect();
        for personal in ["Ann", "Lee", "shop.test", "234 5678", "5ba682d", "morning"] {
            assert!(!all.contains(personal), "{personal}: {all}");
        }
        let test = &files[2].text;
        for pinned in [
            "fn test_ann() {",
            "assert_eq(d.email, \"person1@example.com\");",
            "assert_eq(d.FIRSTNAME, \"Alex\");",
            "assert_eq(d[\"ODD NAME\"], 0.5);",
            "assert_eq(d.GONE, ());",
            "assert(d.clears(\"OLD\"));",
            "assert(d.on_list(\"all_users\"));",
            "assert(d.on_list(99));",
            "assert(d.off_list(\"active\"));",
            "assert(!d.on_list(\"leads\"));",
            "assert(d.keeps(\"FIRSTNAME\"));",
            "\"name\": \"seen\"",
            "as_of: \"2026-01-01T00:00:00Z\", existing: sample(\"ann.brevo.json\")",
        ] {
            assert!(test.contains(pinned), "{pinned}: {test}");
        }
        let rules = RuleSet::load(&dir, &environment).unwrap();
        let report = run_selected_tests(&rules, &dir, &TestRun::default());
        assert!(report.is_ok() && report.tests.len() == 1, "{report}");

        let refused = write(&dir, &files, false).unwrap_err().to_string();
        assert!(refused.contains("exists already") && refused.contains("--force"), "{refused}");
        assert!(write(&dir, &files, true).is_ok());
    }

    #[test]
    fn skips_and_companies_are_pinned_too() {
        let (folder, environment) = setup();
        let dir = folder.path().join("scripts");
        let nobody = source(RecordKind::Contact, json!({"type": "contact", "id": "1"}), None);
        let files = prepare(&dir, "nobody", nobody, &environment, NOW).unwrap();
        assert!(files[1].text.contains("assert_eq(d.reason, \"no \\\"address\\\"\");"));
        let company = source(RecordKind::Company, json!({"id": "1", "name": "Shop Ltd"}), None);
        let files = prepare(&dir, "shop", company, &environment, NOW).unwrap();
        assert!(files[1].text.contains("assert_eq(d.attributes, #{ \"name\": \"Alex Blake\" });"));
    }

    #[test]
    fn rules_that_break_pin_nothing() {
        let (folder, environment) = setup();
        let dir = folder.path().join("scripts");
        std::fs::write(dir.join("mapping.rhai"), "fn map_contact(contact, brevo) { throw \"x\"; }")
            .unwrap();
        let source = source(RecordKind::Contact, ann(), None);
        let failure = prepare(&dir, "ann", source, &environment, NOW).unwrap_err().to_string();
        assert!(failure.contains("the rules break on this record"), "{failure}");
        assert!(failure.contains("scripts/mapping.rhai:1:"), "{failure}");
    }

    #[test]
    fn names_are_those_of_functions() {
        assert_eq!(name("annual_plan").as_deref(), Ok("annual_plan"));
        assert!(name("Ann").is_err() && name("a-b").is_err() && name("").is_err());
    }
}
