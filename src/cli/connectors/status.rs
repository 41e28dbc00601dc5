//! `tajo connectors status`: the figures of the running engine, or of its store.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use super::Source;
use crate::cli::deployment::{Deployment, Running};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::status_view::{
    self, ConnectionFigures, LimitView, RecordsView, SinkFigures, StatusView, SweepFigures,
};
use crate::store::{SyncKind, SyncState};

/// Shows what was synced, what became of it and what is not as it should be.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  tajo connectors status intercom --json | jq .records

Ends with 1 if something is not as it should be.")]
pub(in crate::cli) struct Args {
    /// Which connector.
    connector: Source,
    /// Prints what `GET /api/v1/connectors/intercom/status` answers.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(args: Args, config: &Path) -> Result<ExitCode, Failure> {
    let Source::Intercom = args.connector;
    let deployment = Deployment::load_without_secrets(config)?;
    let intercom = &deployment.config.intercom;
    let (engine, value) = match deployment.running()? {
        Running::Service { pid, api } => {
            let engine = format!("runs (pid {pid}, {})", api.base());
            (engine, status_view::of_service(&api).await?)
        }
        Running::Command { pid } => {
            let store = deployment.open_to_read()?;
            (format!("a command runs (pid {pid})"), status_view::of_store(&store, intercom).await?)
        }
        Running::Nobody => {
            let store = deployment.open_to_read()?;
            (
                "does not run; start it with `tajo serve`".to_owned(),
                status_view::of_store(&store, intercom).await?,
            )
        }
    };
    let view = StatusView::of(value.clone())?;
    if args.json {
        output::print_json(&value)?;
    } else {
        output::print(&render(&engine, &view))?;
    }
    Ok(if view.degraded.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn render(engine: &str, status: &StatusView) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        // A `String` takes whatever is written to it.
        let _ = writeln!(text, "{name:<13} {value}");
    };
    row("engine", engine);
    row("connected", if status.connected { "yes" } else { "no" });
    for one in &status.connections {
        row("workspace", &connection(one));
    }
    row("last sync", status.last_sync.as_deref().unwrap_or("never"));
    row("contacts", &status.contacts_synced.to_string());
    row("conversations", &status.conversations_synced.to_string());
    row("companies", &status.companies_synced.to_string());
    row("custom events", &status.events_synced.to_string());
    for (name, figures) in &status.sweeps {
        row("sweep", &format!("{name}: {}", sweep(figures)));
    }
    row("managed", &format!("{} in Brevo", output::count(status.managed, "contact")));
    row("records", &records(&status.records));
    row("duplicates", &status.duplicates.to_string());
    row("foreign", &output::count(status.foreign, "notification"));
    row("rederived", &status.rederived.to_string());
    row("waiting", &status.work.to_string());
    let see = if status.dead_letters > 0 { " (see `tajo dead-letters list`)" } else { "" };
    row("dead letters", &format!("{}{see}", status.dead_letters));
    if let Some(events) = sink(&status.events) {
        row("events", &events);
    }
    for (name, figures) in [
        ("companies", &status.companies),
        ("links", &status.links),
        ("objects", &status.objects),
        ("double opt-ins", &status.double_opt_ins),
    ] {
        if let Some(figures) = sink(figures) {
            row("in Brevo", &format!("{name}: {figures}"));
        }
    }
    let mut rules = match (&status.rules.version, &status.rules.loaded_at) {
        (Some(version), Some(at)) => format!("{version} since {at}"),
        (Some(version), None) => version.clone(),
        (None, _) => "none are live".to_owned(),
    };
    if let Some(pinned) = &status.rules.pinned {
        rules.push_str(&format!(", pinned to {pinned}"));
    }
    row("rules", &rules);
    for limit in status.rate_limits.intercom.iter().chain(&status.rate_limits.brevo) {
        row("rate limit", &self::limit(limit));
    }
    for reason in &status.degraded {
        row("degraded", reason);
    }
    text
}

/// The sum that always holds; what is zero is left out.
fn records(records: &RecordsView) -> String {
    let RecordsView {
        accepted,
        applied,
        unchanged,
        superseded,
        ignored,
        skipped,
        held,
        dead,
        pending,
    } = *records;
    let parts = [
        (applied, "applied"),
        (unchanged, "unchanged"),
        (superseded, "superseded"),
        (ignored, "ignored"),
        (skipped, "skipped"),
        (held, "held"),
        (dead, "dead"),
        (pending, "pending"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, name)| format!("{number} {name}"))
        .collect();
    if parts.is_empty() {
        return format!("{accepted} accepted");
    }
    format!("{accepted} accepted = {}", parts.join(" + "))
}

/// Such as `full, done, began 2026-01-10T04:39:55Z, 4 pages, 500 of 500 records, lag 12 s`.
fn sweep(figures: &SweepFigures) -> String {
    let SweepFigures { kind, state, seen, expected, pages, started_at, lag_seconds, error } =
        figures;
    let kind = match kind {
        SyncKind::Full => "full",
        SyncKind::Incremental => "incremental",
    };
    let state = match state {
        SyncState::Queued => "queued",
        SyncState::Running => "running",
        SyncState::Done => "done",
        SyncState::Incomplete => "incomplete",
        SyncState::Failed => "failed",
    };
    let mut parts = vec![kind.to_owned(), state.to_owned()];
    parts.extend(started_at.as_ref().map(|at| format!("began {at}")));
    parts.push(output::count(*pages, "page"));
    parts.push(match expected {
        Some(expected) => format!("{seen} of {}", output::count(*expected, "record")),
        None => output::count(*seen, "record"),
    });
    parts.push(match lag_seconds {
        Some(seconds) => format!("lag {seconds} s"),
        None => "never complete".to_owned(),
    });
    parts.extend(error.clone());
    parts.join(", ")
}

/// Such as `abc123 (Acme, EU), connected by OAuth at 2026-01-10T04:39:55Z, in force`.
fn connection(connection: &ConnectionFigures) -> String {
    let ConnectionFigures { app_id, workspace, region, origin, connected_at, in_force } =
        connection;
    let mut text = app_id.clone().unwrap_or_else(|| "not known yet".to_owned());
    let about: Vec<&str> = [workspace, region].into_iter().flatten().map(String::as_str).collect();
    if !about.is_empty() {
        text.push_str(&format!(" ({})", about.join(", ")));
    }
    text.push_str(match origin.as_str() {
        "oauth" => ", connected by OAuth",
        "token" => ", connected by a token",
        _ => ", by the configuration's token",
    });
    if let Some(at) = connected_at {
        text.push_str(&format!(" at {at}"));
    }
    text.push_str(if *in_force { ", in force" } else { ", not in force" });
    text
}

/// What is brought to Brevo beside contacts; none: rules ask for none of it.
fn sink(figures: &SinkFigures) -> Option<String> {
    let SinkFigures { synced, linked, sent, due, withheld, known, dead, unassigned, .. } = *figures;
    let parts = [
        (synced, "synced"),
        (linked, "linked"),
        (sent, "sent"),
        (due, "due"),
        (withheld, "withheld"),
        (known, "known"),
        (dead, "dead"),
        (unassigned, "of nobody known"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, name)| format!("{number} {name}"))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn limit(limit: &LimitView) -> String {
    let LimitView { name, limit, per_seconds, in_use } = limit;
    format!("{name}: {in_use} of {limit} in {per_seconds} s")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_every_figure_once() {
        let status = StatusView::of(json!({
            "connected": true, "lastSync": "2026-01-10T04:39:55Z",
            "contactsSynced": 500, "conversationsSynced": 300, "companiesSynced": 71, "eventsSynced": 12,
            "sweeps": {
                "contacts": { "sync": "0197", "type": "full", "state": "incomplete", "seen": 490,
                    "expected": 500, "done": false, "pages": 9, "partial": false,
                    "startedAt": "2026-01-10T04:39:40Z", "endedAt": "2026-01-10T04:39:55Z",
                    "since": null, "lagSeconds": null, "error": "saw 490 of 500" },
                "tags": { "sync": "0196", "type": "incremental", "state": "done", "seen": 15,
                    "expected": null, "done": true, "pages": 1, "partial": false,
                    "startedAt": "2026-01-10T04:39:39Z", "endedAt": "2026-01-10T04:39:40Z",
                    "since": null, "lagSeconds": 16, "error": null }
            },
            "records": { "accepted": 580, "applied": 500, "unchanged": 71, "ignored": 6, "skipped": 1,
                "held": 0, "dead": 2, "pending": 0 },
            "connections": [
                { "appId": "abc123", "workspace": "Acme", "region": "US", "apiVersion": "2.11",
                    "origin": "oauth", "connectedAt": "2026-01-10T04:00:00Z", "inForce": true }
            ],
            "events": { "sent": 5, "due": 0, "known": 200, "dead": 0, "unassigned": 2,
                "disabled": null },
            "companies": { "synced": 68, "due": 1, "withheld": 0, "dead": 2, "disabled": null },
            "links": { "linked": 400, "due": 7, "dead": 1, "disabled": null },
            "objects": { "sent": 12, "due": 3, "dead": 0, "disabled": "the plan has none" },
            "doubleOptIns": { "sent": 9, "due": 1, "dead": 1, "disabled": null },
            "duplicates": 3, "foreign": 1, "rederived": 4, "work": 0, "managed": 498, "deadLetters": 2,
            "rules": { "version": "0a1b2c", "loadedAt": "2026-01-10T04:00:00Z", "error": null },
            "rateLimits": {
                "intercom": { "name": "intercom", "limit": 50, "perSeconds": 10.0, "inUse": 3 },
                "brevo": []
            },
            "degraded": ["brevo cannot be written to: no answer"],
        }));
        let expected = "\
engine        runs (pid 7, http://127.0.0.1:8080)
connected     yes
workspace     abc123 (Acme, US), connected by OAuth at 2026-01-10T04:00:00Z, in force
last sync     2026-01-10T04:39:55Z
contacts      500
conversations 300
companies     71
custom events 12
sweep         contacts: full, incomplete, began 2026-01-10T04:39:40Z, 9 pages, 490 of 500 records, never complete, saw 490 of 500
sweep         tags: incremental, done, began 2026-01-10T04:39:39Z, 1 page, 15 records, lag 16 s
managed       498 contacts in Brevo
records       580 accepted = 500 applied + 71 unchanged + 6 ignored + 1 skipped + 2 dead
duplicates    3
foreign       1 notification
rederived     4
waiting       0
dead letters  2 (see `tajo dead-letters list`)
events        5 sent, 200 known, 2 of nobody known
in Brevo      companies: 68 synced, 1 due, 2 dead
in Brevo      links: 400 linked, 7 due, 1 dead
in Brevo      objects: 12 sent, 3 due
in Brevo      double opt-ins: 9 sent, 1 due, 1 dead
rules         0a1b2c since 2026-01-10T04:00:00Z
rate limit    intercom: 3 of 50 in 10 s
degraded      brevo cannot be written to: no answer
";
        assert_eq!(render("runs (pid 7, http://127.0.0.1:8080)", &status.unwrap()), expected);
    }

    #[test]
    fn what_is_brought_beside_contacts_is_shown_where_rules_ask_for_any() {
        let figures = SinkFigures { sent: 5, known: 200, ..SinkFigures::default() };
        assert_eq!(sink(&figures).as_deref(), Some("5 sent, 200 known"));
        assert_eq!(sink(&SinkFigures::default()), None);
    }

    #[test]
    fn a_workspace_is_shown_with_what_is_known_of_it() {
        fn case(value: serde_json::Value, expected: &str) {
            assert_eq!(connection(&serde_json::from_value(value).unwrap()), expected);
        }
        case(
            json!({ "appId": "abc123", "workspace": "Acme", "region": "EU", "apiVersion": null,
                "origin": "oauth", "connectedAt": "2026-01-10T04:39:55Z", "inForce": true }),
            "abc123 (Acme, EU), connected by OAuth at 2026-01-10T04:39:55Z, in force",
        );
        case(
            json!({ "appId": "def456", "origin": "token", "connectedAt": "2026-01-09T04:39:55Z",
                "inForce": false }),
            "def456, connected by a token at 2026-01-09T04:39:55Z, not in force",
        );
        case(
            json!({ "appId": null, "origin": "configuration", "inForce": true }),
            "not known yet, by the configuration's token, in force",
        );
    }

    #[test]
    fn what_waits_for_brevo_is_left_unless_brevo_takes_none_of_it() {
        let status = StatusView::of(json!({
            "companies": { "due": 9 }, "events": { "due": 4, "disabled": "the plan has none" },
            "links": { "due": 2 }, "objects": { "due": 3 }, "doubleOptIns": { "due": 1 },
        }));
        assert_eq!(status.unwrap().left_to_send(), 6);
    }

    #[test]
    fn nothing_accepted_is_no_sum() {
        assert_eq!(records(&RecordsView::default()), "0 accepted");
    }
}
