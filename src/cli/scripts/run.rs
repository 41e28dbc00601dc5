//! `tajo scripts run`: one record through the rules as they are in the files now.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::input::{self, Input, Source};
use super::{on_rules_thread, watch};
use crate::cli::decision_view::{self, Decided};
use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::engine::rule_environment;
use crate::model::{Clock, RecordKind, SystemClock, Timestamp};
use crate::rules::{
    ContactInput, Diagnostic, RecordInput, RuleSet, ScriptError, handler_names, measured,
};

/// Runs one record through the rules as they are in the files now, and shows what each line decides.
///
/// The record comes from a file or from the store, with its relations; nothing is written, and no
/// service is called. A running engine is not disturbed.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  tajo scripts run --record ann@example.com
  tajo scripts run --record contact:665f1c0a9e3b7d0012ab34c1 --watch
  tajo scripts run --record ann.json --as-of 2026-01-01
  tajo scripts run --record ann.json --handler merge_contact --existing brevo.json

Ends with 1 if there is no such record, or the rules break on it.")]
pub(in crate::cli) struct Args {
    /// Which record: a file, an address, contact:ID or company:ID.
    ///
    /// A file is an object of Intercom's API, a notification of its webhooks, or a sample of the tests,
    /// which is also found by its name alone.
    #[arg(long, value_name = "FILE|EMAIL|contact:ID")]
    record: String,
    /// Only this handler, instead of all that such a record goes through.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(handler_names()), hide_possible_values = true)]
    handler: Option<String>,
    /// What Brevo holds of the contact, as JSON, instead of what the store knows.
    #[arg(long, value_name = "FILE")]
    existing: Option<PathBuf>,
    /// The time that `older_than` and `within` compare with [default: now].
    #[arg(long, value_name = "TIME", value_parser = time)]
    as_of: Option<Timestamp>,
    /// Runs it again at every save, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_text(text)
        .ok_or_else(|| "must be a date, a time (ISO 8601) or seconds since 1970".to_owned())
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    ok: bool,
    /// Null where the rules do not load.
    version: Option<String>,
    /// Such as `contact:665f1c0a9e3b7d0012ab34c1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decided>,
    /// Steps of the interpreter.
    operations: u64,
    time_ms: f64,
    /// What people should know about the record.
    notes: Vec<String>,
    /// Where the rules broke.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ScriptError>,
    /// The same with its excerpt, or why the rules do not load.
    problems: Vec<Diagnostic>,
}

/// Runs the command.
pub(super) async fn run(args: Args, config: &Path) -> Result<ExitCode, Failure> {
    let deployment = Deployment::load_without_secrets(config)?;
    if !args.watch {
        return once(&args, config).await;
    }
    let mut paths = vec![deployment.config.scripts.dir.clone(), config.to_owned()];
    paths.extend([args.record.clone().into()].into_iter().filter(|file: &PathBuf| file.is_file()));
    paths.extend(args.existing.clone());
    let (config, runtime) = (config.to_owned(), tokio::runtime::Handle::current());
    let work = move || runtime.block_on(once(&args, &config)).map(drop);
    watch::at_every_save(paths, work).await
}

async fn once(args: &Args, config: &Path) -> Result<ExitCode, Failure> {
    let deployment = Deployment::load_without_secrets(config)?;
    let as_of = args.as_of.unwrap_or_else(|| SystemClock.now());
    let source = Source::find(&deployment, &args.record, as_of).await?;
    let existing = args.existing.as_deref().map(input::existing_from).transpose()?;
    let environment = rule_environment(&deployment.config);
    let dir = deployment.config.scripts.dir.clone();
    let (handler, lists) = (args.handler.clone(), environment.lists.clone());
    let report = on_rules_thread(move || {
        let rules = match RuleSet::load(&dir, &environment) {
            Ok(rules) => rules,
            Err(problems) => return Ok(Report { problems, ..Report::default() }),
        };
        let mut input = source.into_input(&rules, as_of)?;
        input.existing = existing.or(input.existing);
        evaluate(&rules, input, handler, as_of)
    })??;
    if args.json {
        output::print_json(&report)?;
    } else {
        report.notes.iter().for_each(|note| output::say(&format!("note: {note}")));
        output::print(&render(&report, &lists))?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn evaluate(
    rules: &RuleSet,
    input: Input,
    handler: Option<String>,
    as_of: Timestamp,
) -> Result<Report, Failure> {
    if let Some(handler) = &handler
        && !rules.handlers().any(|defined| defined == handler)
    {
        return Err(Failure::failed(format!("the rules have no handler `{handler}`")));
    }
    let mut notes = input.notes.clone();
    if handler.as_deref() == Some("merge_contact") && input.existing.is_none() {
        notes.push(
            "Brevo does not hold the contact, so there is nothing to merge with: --existing gives \
             one"
            .to_owned(),
        );
    }
    // The first run also loads what the process has not needed yet; rules are pure, so it may be
    // run twice.
    let _ = decide(rules, &input, handler.as_deref(), as_of);
    let began = Instant::now();
    let (decided, operations) = measured(|| decide(rules, &input, handler.as_deref(), as_of));
    let time = began.elapsed();
    let (decision, error) = match decided {
        Ok(decision) => (Some(decision), None),
        Err(error) => (None, Some(error)),
    };
    Ok(Report {
        ok: error.is_none(),
        version: Some(rules.version().to_string()),
        record: Some(format!("{}:{}", input.key.kind, input.key.id.as_str())),
        from: Some(input.from),
        as_of: Some(as_of),
        handler,
        decision,
        operations,
        time_ms: milliseconds(time),
        notes,
        problems: error.iter().map(|error| excerpt(error, rules)).collect(),
        error,
    })
}

fn decide(
    rules: &RuleSet,
    input: &Input,
    handler: Option<&str>,
    as_of: Timestamp,
) -> Result<Decided, ScriptError> {
    let Input { key, record, existing, .. } = input.clone();
    let kind = handler.and_then(kind_for).unwrap_or(key.kind);
    if kind == RecordKind::Contact {
        let contact = ContactInput { key, contact: record, existing, as_of };
        return match handler {
            Some("choose_primary") => primary(rules, &contact),
            Some(handler) => rules.decide_contact_by(handler, &contact).map(Decided::contact),
            None => rules.decide_contact(&contact).map(Decided::contact),
        };
    }
    let other = RecordInput { key, record, as_of };
    match kind {
        RecordKind::Company => rules.decide_company(&other).map(Decided::Company),
        RecordKind::Conversation => rules.decide_conversation(&other).map(Decided::Emission),
        RecordKind::Event => rules.decide_event(&other).map(Decided::Emission),
        RecordKind::BrevoEvent => rules.decide_brevo_event(&other).map(Decided::Reverse),
        _ => rules.decide_brevo_contact(&other).map(Decided::Reverse),
    }
}

/// What a handler takes, whatever the record looks like.
fn kind_for(handler: &str) -> Option<RecordKind> {
    Some(match handler {
        "map_company" => RecordKind::Company,
        "map_conversation" => RecordKind::Conversation,
        "map_event" => RecordKind::Event,
        "map_brevo_contact" => RecordKind::BrevoContact,
        "map_brevo_event" => RecordKind::BrevoEvent,
        _ => RecordKind::Contact,
    })
}

/// Which of the contact and its duplicates the rules choose.
fn primary(rules: &RuleSet, contact: &ContactInput) -> Result<Decided, ScriptError> {
    let mut all = vec![contact.contact.as_ref().clone()];
    let duplicates = contact.contact.get("duplicates").and_then(|others| others.as_array());
    all.extend(duplicates.into_iter().flatten().cloned());
    let chosen = rules.choose_primary(&all)?;
    let id = chosen.and_then(|index| all.get(index)?.get("id")?.as_str().map(str::to_owned));
    Ok(Decided::Primary { chosen: id })
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The error with the line it is about.
pub(super) fn excerpt(error: &ScriptError, rules: &RuleSet) -> Diagnostic {
    let Some(place) = &error.origin else {
        return Diagnostic::error(error.message.as_str(), "scripts");
    };
    let found = Diagnostic::error(error.message.as_str(), &*place.file);
    match rules.files().iter().find(|file| file.path == *place.file) {
        Some(file) => found.at(&file.text, place.line, place.column),
        None => found,
    }
}

fn render(report: &Report, lists: &std::collections::BTreeMap<String, i64>) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let (Some(record), Some(from), Some(as_of)) = (&report.record, &report.from, &report.as_of) {
        let handler = report.handler.as_ref().map(|name| format!(", {name} alone"));
        parts.push(format!("{record} from {from}, as of {as_of}{}", handler.unwrap_or_default()));
    }
    if let Some(decision) = &report.decision {
        parts.push(decision_view::render(decision, lists));
    }
    parts.extend(report.problems.iter().map(Diagnostic::render));
    let trace = report.error.iter().flat_map(|error| &error.trace);
    let trace: Vec<String> = trace.map(|call| format!(" called from {call}")).collect();
    if !trace.is_empty() {
        parts.push(trace.join("\n"));
    }
    match &report.version {
        Some(version) => {
            let operations = output::count(report.operations, "operation");
            parts.push(format!("{operations}, {} ms, version {version}", report.time_ms));
        }
        None => parts.push("the rules do not load, so nothing was run".to_owned()),
    }
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::model::RecordKey;
    use crate::rules::{RuleEnvironment, SourceFile};

    const RULES: &str = "\
fn map_contact(contact, brevo) {
    brevo.email = contact.email;
    brevo.FIRSTNAME = split_name(contact.name).first;
    brevo.LASTNAME = split_name(contact.name).last;
    brevo.add_to_list(\"leads\");
    log(\"seats: \" + contact.seats * 1);
    if older_than(contact.seen, \"30d\") { brevo.track(\"slept\", #{ n: 1 }); }
}
fn map_tags(tags, contact, brevo) { brevo.TAGS = tags.len; }
fn merge_contact(existing, brevo) { brevo.keep(\"FIRSTNAME\"); }
";

    fn reported(handler: Option<&str>, record: serde_json::Value) -> Result<Report, Failure> {
        let file = SourceFile { path: "scripts/mapping.rhai".into(), text: RULES.into() };
        let environment =
            RuleEnvironment { lists: [("leads".to_owned(), 37)].into(), ..Default::default() };
        let rules = RuleSet::from_files(vec![file], &environment).unwrap();
        let input = Input {
            key: RecordKey::contact("5ba6".parse().unwrap()),
            record: Arc::new(record),
            existing: Some(Arc::new(json!({"id": 1, "lists": []}))),
            from: "ann.json".to_owned(),
            notes: Vec::new(),
        };
        let as_of = Timestamp::from_seconds(1_767_225_600);
        evaluate(&rules, input, handler.map(str::to_owned), as_of)
    }

    /// The text with what differs from run to run left out.
    fn shown(report: Report) -> String {
        let report = Report { time_ms: 0.5, version: Some("1234".into()), ..report };
        render(&report, &[("leads".to_owned(), 37)].into())
    }

    #[test]
    fn each_part_of_the_decision_stands_beside_its_line() {
        let record = json!({"email": "ann@example.com", "name": "Ann", "seats": 3, "seen": 1_767_225_000, "tags": ["vip"]});
        let report = reported(None, record).unwrap();
        assert!(report.operations > 20, "{}", report.operations);
        insta::assert_snapshot!(shown(Report { operations: 99, ..report }), @r#"
        contact:5ba6 from ann.json, as of 2026-01-01T00:00:00Z

        email      "ann@example.com"  scripts/mapping.rhai:2:10
        FIRSTNAME  "Ann"              scripts/mapping.rhai:3:10
        LASTNAME   ()                 scripts/mapping.rhai:4:10
        TAGS       1                  scripts/mapping.rhai:9:42
        on list    leads (37)         scripts/mapping.rhai:5:11
        keep       FIRSTNAME          scripts/mapping.rhai:10:43
        log        seats: 3           scripts/mapping.rhai:6:5

        derived again at 2026-01-30T23:50:00Z, when an answer of older_than or within flips

        99 operations, 0.5 ms, version 1234
        "#);
    }

    #[test]
    fn rules_that_break_show_the_line_and_what_led_there() {
        let report = reported(None, json!({"email": "ann@example.com"})).unwrap();
        assert!(!report.ok);
        let text = shown(Report { operations: 9, ..report });
        assert!(text.contains("--> scripts/mapping.rhai:6:"), "{text}");
        assert!(text.contains("log(\"seats: \" + contact.seats * 1);"), "{text}");
    }

    #[test]
    fn one_handler_runs_alone() {
        let record = json!({"email": "ann@example.com", "tags": ["vip"]});
        let text = shown(reported(Some("map_tags"), record.clone()).unwrap());
        assert!(text.contains("TAGS  1") && !text.contains("email"), "{text}");
        let text = shown(reported(Some("merge_contact"), record.clone()).unwrap());
        assert!(text.contains("keep  FIRSTNAME"), "{text}");
        let failure = reported(Some("map_event"), record).unwrap_err();
        assert_eq!(failure.message(), "the rules have no handler `map_event`");
    }
}
