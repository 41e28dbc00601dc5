//! `tajo demo`: the whole thing on this machine, with no account and no file.
//!
//! It sets up the sandbox at real rate limits and an engine in a temporary folder, then plays what
//! happens to an engine in service: a full sync, webhooks over HTTP, rules that change while it runs,
//! the same sync again. What it prints it has looked up in the fake services; where that is not as
//! promised, it says so and ends with status 1.

mod calls;
mod cast;
mod decision;
mod error;
mod report;
mod rules;
mod stage;
mod sync;
mod webhooks;

use std::process::ExitCode;
use std::time::Instant;

use tracing_subscriber::EnvFilter;

use self::calls::Ledger;
use self::error::DemoError;
use self::report::{Report, count, duration};
use self::stage::Stage;
use super::failure::Failure;
use super::signals::Signals;

/// Shows the whole thing on this machine: fake services, a sync, webhooks, a change of rules.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tajo demo\n  tajo demo --stay    # then try the API, or edit the rules"
)]
pub struct Args {
    /// How many contacts the fake Intercom has.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(100..=30_000))]
    contacts: u32,
    /// Keep everything up afterwards, until Ctrl-C.
    #[arg(long)]
    stay: bool,
}

/// Runs the command. Status 1 if anything is not as the demo says, or if it was interrupted. The
/// temporary folder goes in any case.
///
/// # Errors
/// The demo cannot be set up.
pub async fn run(args: Args) -> Result<ExitCode, Failure> {
    log_if_asked();
    let began = Instant::now();
    let mut report = Report::on_stdout();
    report.line(
        "tajo demo: a fake Intercom and a fake Brevo on this machine, as strict as the real ones",
    );
    let mut signals = Signals::listen()?;
    let stage = Stage::set(args.contacts as usize).await?;
    let is_over = tokio::select! {
        played = play(&stage, &mut report) => {
            if let Err(error) = played {
                report.claim(false, error);
            }
            true
        }
        () = signals.end() => false,
    };
    if is_over {
        conclude(&mut report, began);
    }
    if is_over && args.stay {
        say_where(&stage, &mut report);
        signals.end().await;
    }
    stage.strike().await;
    let is_well = is_over && report.broken() == 0;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn play(stage: &Stage, report: &mut Report) -> Result<(), DemoError> {
    let mut ledger = Ledger::default();
    sync::first(stage, report, &mut ledger).await?;
    decision::show(stage, report).await?;
    webhooks::play(stage, report, &mut ledger).await?;
    rules::play(stage, report, &mut ledger).await?;
    sync::again(stage, report, &mut ledger).await?;
    balance(stage, report, &ledger).await
}

/// What it all came to.
async fn balance(stage: &Stage, report: &mut Report, ledger: &Ledger) -> Result<(), DemoError> {
    report.step("What it took");
    ledger.print(stage, report);

    let status = stage.engine.status().await?;
    let all = status.records;
    let sum = all.applied
        + all.unchanged
        + all.superseded
        + all.ignored
        + all.skipped
        + all.held
        + all.dead
        + all.pending;
    report.claim(
        all.accepted == sum,
        format!(
            "accepted {} = applied {} + unchanged {} + superseded {} + ignored {} + skipped {}",
            all.accepted, all.applied, all.unchanged, all.superseded, all.ignored, all.skipped
        ),
    );
    report.detail(format!("  + held {} + dead {} + pending {}", all.held, all.dead, all.pending));
    report.claim(status.dead_letters == 0, count(status.dead_letters as usize, "dead letter"));

    let limited = stage.sandbox.intercom.log().count(|entry| entry.status == 429)
        + stage.sandbox.brevo.throttled();
    report.claim(
        limited == 0,
        format!("{limited} requests were answered with 429, at the real rate limits"),
    );
    let violations = stage.sandbox.brevo.violations();
    report.claim(
        violations.is_empty(),
        format!("{} opt-outs were undone or passed over", violations.len()),
    );
    for violation in violations.iter().take(3) {
        report.detail(violation);
    }
    Ok(())
}

fn conclude(report: &mut Report, began: Instant) {
    let took = duration(began.elapsed());
    let broken = report.broken();
    report.line("");
    if broken == 0 {
        report.line(&format!("All of this was looked up in the fake services, and held. {took}."));
    } else {
        let claims = count(broken, "line");
        report.line(&format!("{claims} above did not hold: see ✗. {took}."));
    }
}

/// Says where everything is, and what to try.
fn say_where(stage: &Stage, report: &mut Report) {
    let api = format!("http://{}/api/v1", stage.addresses.api);
    let token = stage.admin_token();
    let curl = format!("curl -H \"Authorization: Bearer $(cat {})\"", token.display());
    report.step("It stays up until Ctrl-C");
    for (name, value) in [
        ("engine", format!("http://{}", stage.addresses.public)),
        ("Intercom", stage.sandbox.intercom.base_url()),
        ("Brevo", stage.sandbox.brevo.base_url()),
        ("folder", stage.root().display().to_string()),
        ("token of the API", token.display().to_string()),
    ] {
        report.detail(format!("{name:<18}{value}"));
    }
    report.line("");
    for line in [
        format!("{curl} {api}/connectors/intercom/status"),
        format!(
            "{curl} -X POST -d '{{\"type\":\"full\"}}' -H 'Content-Type: application/json' {api}/connectors/intercom/sync"
        ),
        format!(
            "{curl} {api}/rules    # edit {} and look again",
            stage.script("mapping.rhai").display()
        ),
        format!(
            "curl -H \"api-key: {}\" '{}/contacts?limit=3'",
            stage.sandbox.brevo.api_key(),
            stage.sandbox.brevo.base_url()
        ),
    ] {
        report.line(&line);
    }
}

/// The engine's log would be in the way of the report: only who asks for it gets it.
fn log_if_asked() {
    if std::env::var_os("RUST_LOG").is_some() {
        let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env());
        // An error means that somebody has set one up.
        let _ = log.with_writer(std::io::stderr).try_init();
    }
}
