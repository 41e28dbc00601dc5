//! Rules that change while the engine runs: a good one goes live, a broken one does not.

use std::time::Instant;

use serde_json::{Value, json};

use super::calls::Ledger;
use super::cast::{Cast, attribute, email_of};
use super::error::DemoError;
use super::report::{Report, count, grouped};
use super::stage::{Stage, edit};
use super::webhooks::NEWCOMER;

const FILE: &str = "scripts/mapping.rhai";
/// The line after which the demo adds its own.
const ANCHOR: &str = "    brevo.email = contact.email;";
const ADDED: &str = "    brevo.MAIL_DOMAIN = domain(contact.email);";
const BROKEN: &str = "    brevo.MAIL_DOMAIN = domian(contact.email);";
/// The attribute that the added line writes.
const ATTRIBUTE: &str = "MAIL_DOMAIN";

/// Adds a line to a rule, then breaks it, then mends it.
pub(super) async fn play(
    stage: &Stage,
    report: &mut Report,
    ledger: &mut Ledger,
) -> Result<(), DemoError> {
    report.step("Rules change while the engine runs");
    go_live(stage, report, ledger).await?;
    stay_out(stage, report).await?;
    ledger.end_step(stage, "a change under refused rules", 1);
    Ok(())
}

async fn go_live(stage: &Stage, report: &mut Report, ledger: &mut Ledger) -> Result<(), DemoError> {
    let before = version(stage);
    let began = Instant::now();
    edit(&stage.script("mapping.rhai"), FILE, ANCHOR, &format!("{ANCHOR}\n{ADDED}"))?;
    report.detail(format!("{FILE} gets a line: {}", ADDED.trim()));
    stage.until("the changed rules were live", |stage| version(stage) != before).await?;
    let live = began.elapsed();
    let (before, after) = (short(&before), short(&version(stage)));
    report.timed_claim(
        true,
        &format!("tests passed, version {before} → {after} is live, no restart"),
        live,
    );

    let wanted = |stage: &Stage| {
        let contacts = stage.sandbox.brevo.contacts();
        let has = contacts.iter().filter(|contact| has_domain(contact)).count();
        (has, contacts.len())
    };
    // Whom the engine released is not its to write any more.
    let released = 1;
    stage
        .until("all contacts were derived again", |stage| {
            let (has, all) = wanted(stage);
            has + released >= all
        })
        .await?;
    stage.drained().await?;
    let took = began.elapsed();
    let (has, all) = wanted(stage);
    let writes = ledger.end_step(stage, "a new rule for all contacts", has);
    let text = format!(
        "{} of {} contacts have {ATTRIBUTE} now (one is archived), written by {}",
        grouped(has),
        grouped(all),
        count(writes, "call")
    );
    report.timed_claim(has + released == all, &text, took);
    let newcomer = stage.in_brevo(NEWCOMER);
    let domain =
        newcomer.as_ref().and_then(|contact| attribute(contact, ATTRIBUTE)).and_then(Value::as_str);
    report.detail(format!("such as {NEWCOMER}: {ATTRIBUTE} = {}", domain.unwrap_or("none")));
    Ok(())
}

async fn stay_out(stage: &Stage, report: &mut Report) -> Result<(), DemoError> {
    let live = version(stage);
    let good = edit(&stage.script("mapping.rhai"), FILE, ADDED, BROKEN)?;
    report.detail("then somebody misspells `domain`:");
    let took = stage
        .until("the broken rules were refused", |stage| stage.engine.rules().error.is_some())
        .await?;
    let Some(error) = stage.engine.rules().error else {
        report.claim(false, "the broken rules are refused");
        return Ok(());
    };
    let line = line_of(&good, ADDED);
    let is_shown = error.file == FILE && Some(error.line as usize) == line && error.column > 0;
    report.timed_claim(
        is_shown,
        &format!("refused: {}:{}:{}: {}", error.file, error.line, error.column, error.message),
        took,
    );

    let player = Cast::of(stage).take_any("rename under refused rules")?;
    stage.intercom("rename a contact", |intercom| {
        intercom.update_contact(&player.id, json!({"name": "Olof Oldrule"}))
    })?;
    let is_written = |stage: &Stage| {
        let contact = stage.in_brevo(&player.email);
        let first = contact.as_ref().and_then(|contact| attribute(contact, "FIRSTNAME"));
        first.and_then(Value::as_str) == Some("Olof")
    };
    let took = stage.until("a change was written by the old rules", is_written).await?;
    let is_live = version(stage) == live;
    report.timed_claim(
        is_live,
        &format!(
            "version {} stays live and goes on: a name changed meanwhile is in Brevo",
            short(&live)
        ),
        took,
    );

    std::fs::write(stage.script("mapping.rhai"), good)?;
    let took = stage
        .until("the mended rules were taken", |stage| stage.engine.rules().error.is_none())
        .await?;
    stage.drained().await?;
    report.timed_claim(
        version(stage) == live,
        "mended: the diagnostic is gone, the version is the same",
        took,
    );
    Ok(())
}

fn version(stage: &Stage) -> Option<String> {
    stage.engine.rules().version
}

/// The first digits of a version.
fn short(version: &Option<String>) -> String {
    version.as_deref().unwrap_or("none").chars().take(12).collect()
}

/// The number of a line, from 1.
fn line_of(text: &str, line: &str) -> Option<usize> {
    text.lines().position(|known| known == line).map(|place| place + 1)
}

/// True if the attribute says what the added line makes of the address.
fn has_domain(contact: &Value) -> bool {
    let email = email_of(contact);
    let domain = email.as_deref().and_then(|email| email.split_once('@')).map(|(_, domain)| domain);
    domain.is_some() && attribute(contact, ATTRIBUTE).and_then(Value::as_str) == domain
}
