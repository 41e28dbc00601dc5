//! `tajo connectors sync`: reads Intercom now, and waits until Brevo is as the rules decide.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::Source;
use super::plans;
use super::progress::Progress;
use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::runner::{History, Runner, SyncView, look_again};
use crate::cli::status_view::StatusView;
use crate::engine::{PlanView, SyncRequest};
use crate::model::{Clock, SystemClock, Timestamp};
use crate::store::{Resource, SyncKind, SyncState};

/// Reads Intercom now, and waits until Brevo is as the rules decide.
///
/// The running engine does the work; without one this command does it itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tajo connectors sync intercom
  tajo connectors sync intercom --type full --resources contacts,companies,tags
  tajo connectors sync intercom --type full --since 2023-01-01

Ends with 0 when everything was read and written, with 1 when something is missing or became a
dead letter.")]
pub(in crate::cli) struct Args {
    /// Which connector.
    connector: Source,
    /// How much is read.
    #[arg(long = "type", value_enum, default_value_t = Kind::Incremental)]
    kind: Kind,
    /// What is read [default: what `connectors.intercom.sync` names].
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "NAME,…",
        hide_possible_values = true,
        long_help = "What is read: contacts, conversations, companies, events, tags \
                     [default: what `connectors.intercom.sync` names]"
    )]
    resources: Vec<Named>,
    /// Only what was updated since: a date, a time (ISO 8601) or seconds since 1970.
    #[arg(long, value_name = "DATE", value_parser = since)]
    since: Option<Timestamp>,
    /// Sends what happened before the first sync as events, too.
    #[arg(long)]
    backfill_events: bool,
    /// Prints how Brevo was written: imports, list calls, single calls, and what one call for each
    /// contact would have been.
    #[arg(long)]
    explain_plan: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Everything.
    Full,
    /// What changed since the last sync.
    Incremental,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Named {
    Contacts,
    Conversations,
    Companies,
    Events,
    Tags,
}

impl Named {
    fn resource(self) -> Resource {
        match self {
            Self::Contacts => Resource::Contacts,
            Self::Conversations => Resource::Conversations,
            Self::Companies => Resource::Companies,
            Self::Events => Resource::Events,
            Self::Tags => Resource::Tags,
        }
    }
}

/// What a sync came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    id: String,
    state: SyncState,
    error: Option<String>,
    /// Objects read, by kind.
    read: BTreeMap<String, u64>,
    applied: u64,
    unchanged: u64,
    superseded: u64,
    ignored: u64,
    skipped: u64,
    held: u64,
    /// Dead letters that were made meanwhile.
    dead_letters: u64,
    /// Calls that were made to Brevo meanwhile; null if the engine does not tell.
    brevo_calls: Option<u64>,
    seconds: f64,
    /// How Brevo was written in bulk; only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    plans: Option<Vec<PlanView>>,
}

/// Runs the command.
pub(super) async fn run(args: Args, config: &Path) -> Result<ExitCode, Failure> {
    let Source::Intercom = args.connector;
    let resources = args.resources.iter().map(|name| name.resource()).collect();
    let kind = match args.kind {
        Kind::Full => SyncKind::Full,
        Kind::Incremental => SyncKind::Incremental,
    };
    let request = SyncRequest { kind, resources, since: args.since };
    if request.since.is_some_and(|since| since > SystemClock.now()) {
        return Err(Failure::usage("`--since` lies in the future"));
    }
    let intercom = Deployment::load_without_secrets(config)?.config.intercom;
    if !intercom.enabled {
        let failure = Failure::usage("`connectors.intercom.enabled` is false");
        return Err(failure.with_help("set it to true to use the connector"));
    }
    if let Some(off) = request.turned_off(&intercom.sync) {
        let name = off.as_str();
        let failure = Failure::usage(format!("`connectors.intercom.sync.{name}` is false"));
        let help = format!("set it to true to read {name}, or leave them out of `--resources`");
        return Err(failure.with_help(help));
    }
    let history = if args.backfill_events { History::Sent } else { History::Known };
    let runner = Runner::start(config).await?;
    let result = tokio::select! {
        result = async {
            if args.explain_plan {
                explained(&runner, request, history).await
            } else {
                follow(&runner, request, history).await
            }
        } => result,
        _ = tokio::signal::ctrl_c() => Err(interrupted(&runner)),
    };
    runner.stop().await;
    let summary = result?;
    if args.json {
        output::print_json(&summary)?;
    } else {
        if let Some(plans) = &summary.plans {
            output::print(&plans::render(plans))?;
        }
        output::print(&render(&summary))?;
    }
    let is_well = summary.state == SyncState::Done && summary.dead_letters == 0;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn since(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse().ok().map(Timestamp::from_seconds);
    let since = seconds.or_else(|| Timestamp::parse(&Value::from(text)));
    since.ok_or_else(|| "write a date such as `2023-01-01`".to_owned())
}

fn interrupted(runner: &Runner) -> Failure {
    let help = match runner {
        Runner::Service(_) => "the running engine goes on with the sync",
        Runner::Own { .. } => {
            "what was read is kept; `tajo serve` or the next sync goes on from there"
        }
    };
    Failure::failed("the sync was interrupted").with_help(help)
}

/// Runs a sync to its end, and says how Brevo was written.
async fn explained(
    runner: &Runner,
    request: SyncRequest,
    history: History,
) -> Result<Summary, Failure> {
    let newest = plans::newest(runner).await?;
    let summary = follow(runner, request, history).await?;
    Ok(Summary { plans: Some(plans::since(runner, newest).await?), ..summary })
}

/// Runs a sync to its end, and until what it brought is written.
async fn follow(
    runner: &Runner,
    request: SyncRequest,
    history: History,
) -> Result<Summary, Failure> {
    let began = Instant::now();
    let before = runner.status().await?;
    let calls_before = runner.brevo_calls().await;
    let id = runner.request_sync(request, history).await?;
    let mut progress = Progress::start();
    let result = async {
        let sync = read(runner, &id, &mut progress).await?;
        let mut most = 0;
        let after = runner.drained(|status| {
            let left = status.work.max(status.records.pending).max(status.left_to_send());
            most = most.max(left);
            progress.show("deriving and writing", most - left, Some(most));
        });
        Ok::<_, Failure>((sync, after.await?))
    };
    let result = result.await;
    progress.finish();
    let (sync, after) = result?;
    let calls = runner.brevo_calls().await;
    let calls = calls_before.zip(calls).map(|(before, after)| after.saturating_sub(before));
    Ok(summary(id, sync, (&before, &after), calls, began.elapsed()))
}

/// Waits until a sync is over.
async fn read(runner: &Runner, id: &str, progress: &mut Progress) -> Result<SyncView, Failure> {
    let mut said = String::new();
    loop {
        let sync = runner.sync(id).await?;
        if sync.state.is_over() {
            return Ok(sync);
        }
        let seen: u64 = sync.resources.values().map(|resource| resource.seen).sum();
        // All that will be read is known once each kind is done or says how much it expects.
        let expected: Option<u64> = sync
            .resources
            .values()
            .map(|resource| if resource.done { Some(resource.seen) } else { resource.expected })
            .sum();
        progress.show(&text_of(&sync), seen, expected);
        if let Some(reason) = runner.status().await?.degraded.first()
            && *reason != said
        {
            progress.say(&format!("warning: {reason}"));
            said.clone_from(reason);
        }
        look_again().await;
    }
}

fn text_of(sync: &SyncView) -> String {
    if sync.state == SyncState::Queued {
        return "queued".to_owned();
    }
    let parts: Vec<String> = sync
        .resources
        .iter()
        .filter(|(_, progress)| progress.seen > 0)
        .map(|(name, progress)| match progress.expected.filter(|_| !progress.done) {
            Some(expected) => format!("{} of {expected} {name}", progress.seen),
            None => format!("{} {name}", progress.seen),
        })
        .collect();
    if parts.is_empty() { "reading".to_owned() } else { format!("reading: {}", parts.join(", ")) }
}

fn summary(
    id: String,
    sync: SyncView,
    (before, after): (&StatusView, &StatusView),
    brevo_calls: Option<u64>,
    took: Duration,
) -> Summary {
    let (was, is) = (&before.records, &after.records);
    Summary {
        id,
        state: sync.state,
        error: sync.error,
        read: sync.resources.into_iter().map(|(name, progress)| (name, progress.seen)).collect(),
        applied: is.applied.saturating_sub(was.applied),
        unchanged: is.unchanged.saturating_sub(was.unchanged),
        superseded: is.superseded.saturating_sub(was.superseded),
        ignored: is.ignored.saturating_sub(was.ignored),
        skipped: is.skipped.saturating_sub(was.skipped),
        held: is.held.saturating_sub(was.held),
        dead_letters: after.dead_letters.saturating_sub(before.dead_letters),
        brevo_calls,
        seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
        plans: None,
    }
}

fn render(summary: &Summary) -> String {
    let Summary { state, error, read, dead_letters, brevo_calls, seconds, .. } = summary;
    let how = match state {
        SyncState::Done => "complete",
        SyncState::Incomplete => "incomplete",
        SyncState::Queued | SyncState::Running | SyncState::Failed => "failed",
    };
    let mut text = match error {
        Some(error) => format!("sync {how} after {seconds} s: {error}\n"),
        None => format!("sync {how} in {seconds} s\n"),
    };
    let mut row = |name: &str, value: &str| {
        // A `String` takes whatever is written to it.
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    let seen: Vec<String> = read.iter().map(|(name, seen)| format!("{seen} {name}")).collect();
    row("read", &seen.join(", "));
    row("applied", &summary.applied.to_string());
    row("unchanged", &summary.unchanged.to_string());
    row("superseded", &summary.superseded.to_string());
    row("ignored", &summary.ignored.to_string());
    row("skipped", &summary.skipped.to_string());
    if summary.held > 0 {
        row("held", &format!("{} (see `tajo held list`)", summary.held));
    }
    let see = if *dead_letters > 0 { " (see `tajo dead-letters list`)" } else { "" };
    row("dead letters", &format!("{dead_letters}{see}"));
    if let Some(calls) = brevo_calls {
        row("Brevo", &output::count(*calls, "call"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> Summary {
        Summary {
            id: "0197".to_owned(),
            state: SyncState::Done,
            error: None,
            read: [("companies".to_owned(), 71), ("contacts".to_owned(), 500)].into(),
            applied: 480,
            unchanged: 85,
            superseded: 0,
            ignored: 0,
            skipped: 6,
            held: 0,
            dead_letters: 0,
            brevo_calls: Some(14),
            seconds: 12.3,
            plans: None,
        }
    }

    #[test]
    fn a_complete_sync_says_what_it_did() {
        let expected = "\
sync complete in 12.3 s
  read         71 companies, 500 contacts
  applied      480
  unchanged    85
  superseded   0
  ignored      0
  skipped      6
  dead letters 0
  Brevo        14 calls
";
        assert_eq!(render(&done()), expected);
    }

    #[test]
    fn a_sync_that_ended_early_says_why() {
        let summary = Summary {
            state: SyncState::Incomplete,
            error: Some("intercom answers 503 without saying why".to_owned()),
            dead_letters: 2,
            brevo_calls: None,
            ..done()
        };
        let text = render(&summary);
        assert!(text.starts_with("sync incomplete after 12.3 s: intercom answers 503"), "{text}");
        assert!(text.contains("dead letters 2 (see `tajo dead-letters list`)"), "{text}");
    }

    #[test]
    fn since_is_a_date_a_time_or_seconds() {
        assert_eq!(since("2023-01-01").unwrap().to_string(), "2023-01-01T00:00:00Z");
        assert_eq!(since("2023-01-01T07:00:00+07:00").unwrap().to_string(), "2023-01-01T00:00:00Z");
        assert_eq!(since("1672531200").unwrap().to_string(), "2023-01-01T00:00:00Z");
        assert!(since("yesterday").is_err());
    }
}
