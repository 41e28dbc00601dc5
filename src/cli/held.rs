//! `tajo held`: what waits for approval, approved or rejected.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::{Api, Route};
use super::deployment::{Deployment, Running};
use super::failure::Failure;
use super::output;
use super::runner::{Runner, busy, lock_and_open};
use crate::engine::HoldView;
use crate::model::{Clock, SystemClock};
use crate::store::{Hold, Store};

/// Lists, shows, approves and rejects what waits for approval.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists what waits for approval, oldest first, with some of the contacts.
    #[command(after_help = "Example:\n  tajo held list --json | jq -r '.[].cause'")]
    List {
        /// Prints the list as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one hold, with some of its contacts and what goes from them.
    #[command(after_help = "Example:\n  tajo held show 3")]
    Show {
        /// Its number, as `list` shows it.
        id: i64,
        /// Prints it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Approves a hold: what today's rules still want of it is done.
    #[command(after_help = "\
Example:
  tajo held approve 3

Without a running engine it does the work itself, and ends with 1 if something dies.")]
    Approve {
        /// Its number, as `list` shows it.
        id: i64,
        /// Prints the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Rejects a hold: nothing of it is done while the rules stay as they are.
    #[command(after_help = "Example:\n  tajo held reject 3")]
    Reject {
        /// Its number, as `list` shows it.
        id: i64,
        /// Prints the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A hold with some of its contacts, as it is shown.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    #[serde(flatten)]
    hold: Hold,
    sample: Vec<ShownChange>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownChange {
    contact: String,
    email: Option<String>,
    changes: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Rejected {
    rejected: u64,
}

/// Runs the command.
pub(super) async fn run(command: Command, config: &Path) -> Result<ExitCode, Failure> {
    match command {
        Command::List { json } => {
            let deployment = Deployment::load_without_secrets(config)?;
            let holds = list(&deployment).await?;
            if json {
                output::print_json(&holds)?;
            } else if holds.is_empty() {
                output::say("nothing waits for approval");
            } else {
                output::print(&render_list(&with_samples(&deployment, &holds).await?))?;
            }
        }
        Command::Show { id, json } => {
            let shown = find(&Deployment::load_without_secrets(config)?, id).await?;
            let shown = shown.ok_or_else(|| no_such(id))?;
            if json {
                output::print_json(&shown)?;
            } else {
                output::print(&render(&shown))?;
            }
        }
        Command::Approve { id, json } => return approve(id, json, config).await,
        Command::Reject { id, json } => {
            let rejected = reject(&Deployment::load_without_secrets(config)?, id).await?;
            let contacts = rejected.ok_or_else(|| no_such(id))?;
            let text = format!(
                "rejected: nothing is taken away from {} while the rules stay as they are",
                output::count(contacts, "contact")
            );
            report(json, json!({"id": id, "rejected": contacts}), &text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(deployment: &Deployment) -> Result<Vec<Hold>, Failure> {
    if let Running::Service { api, .. } = deployment.running()? {
        return api.get("/api/v1/held").await;
    }
    Ok(deployment.open_to_read()?.holds().await?)
}

async fn with_samples(deployment: &Deployment, holds: &[Hold]) -> Result<Vec<Shown>, Failure> {
    let mut shown = Vec::new();
    for hold in holds {
        // It may have been decided since.
        shown.extend(find(deployment, hold.id).await?);
    }
    Ok(shown)
}

async fn find(deployment: &Deployment, id: i64) -> Result<Option<Shown>, Failure> {
    if let Running::Service { api, .. } = deployment.running()? {
        let path = format!("/api/v1/held/{id}");
        return api.find(Route { path: &path, pattern: "/api/v1/held/{id}" }).await;
    }
    let store = deployment.open_to_read()?;
    let Some(hold) = store.hold(id).await? else { return Ok(None) };
    let sample = store.hold_sample(id, HoldView::SAMPLE).await?;
    let HoldView { hold, sample } = HoldView::new(hold, sample, &deployment.config);
    let sample = sample.into_iter().map(|change| ShownChange {
        contact: change.contact,
        email: change.email,
        changes: change.changes,
    });
    Ok(Some(Shown { hold, sample: sample.collect() }))
}

async fn approve(id: i64, json: bool, config: &Path) -> Result<ExitCode, Failure> {
    // What is not there needs no engine; and where there is no store, none is made for it.
    find(&Deployment::load_without_secrets(config)?, id).await?.ok_or_else(|| no_such(id))?;
    let runner = Runner::start(config).await?;
    let result = tokio::select! {
        result = approve_with(&runner, id) => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::failed("interrupted; the next engine goes \
                                                            on")),
    };
    runner.stop().await;
    let (contacts, died) = result?;
    let dead = if died > 0 {
        format!("; {died} died (see `tajo dead-letters list`)")
    } else {
        String::new()
    };
    let text = format!("approved for {}{dead}", output::count(contacts, "contact"));
    report(json, json!({"id": id, "approved": contacts}), &text)?;
    Ok(if died == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Answers for how many contacts it was approved, and how many died as far as that was waited for.
async fn approve_with(runner: &Runner, id: i64) -> Result<(u64, u64), Failure> {
    // A service has other work, too, and its operator sees what dies.
    if let Runner::Service(_) = runner {
        let contacts = runner.approve_hold(id).await?.ok_or_else(|| no_such(id))?;
        return Ok((contacts, 0));
    }
    let before = runner.status().await?.dead_letters;
    let contacts = runner.approve_hold(id).await?.ok_or_else(|| no_such(id))?;
    let after = runner.drained(|_| {}).await?;
    Ok((contacts, after.dead_letters.saturating_sub(before)))
}

/// Answers for how many contacts it was rejected; none: nothing waits under this number.
async fn reject(deployment: &Deployment, id: i64) -> Result<Option<u64>, Failure> {
    let reader = deployment.open_to_read()?;
    match deployment.running()? {
        Running::Service { api, .. } => reject_by(&api, id).await,
        Running::Command { pid } => Err(busy(pid)),
        Running::Nobody => {
            let Some(hold) = reader.hold(id).await? else { return Ok(None) };
            let (store, _lock) = lock_and_open(deployment)?;
            let rule_set = store.last_rule_set().await?.map(|last| last.version);
            let rejected = store.reject_hold(id, rule_set).await?;
            while store.work_off_holds(SystemClock.now()).await? > 0 {}
            store.close().await;
            Ok(rejected.then_some(hold.contacts))
        }
    }
}

async fn reject_by(api: &Api, id: i64) -> Result<Option<u64>, Failure> {
    let path = format!("/api/v1/held/{id}/reject");
    let route = Route { path: &path, pattern: "/api/v1/held/{id}/reject" };
    let rejected: Option<Rejected> = api.change(Method::POST, route, None).await?;
    Ok(rejected.map(|answer| answer.rejected))
}

fn report(json: bool, value: serde_json::Value, text: &str) -> Result<(), Failure> {
    if json { output::print_json(&value) } else { output::print(text) }
}

fn no_such(id: i64) -> Failure {
    let failure = Failure::failed(format!("nothing waits for approval under the number {id}"));
    failure.with_help("`tajo held list` shows what does")
}

fn render_list(holds: &[Shown]) -> String {
    let mut text = holds.iter().map(render).collect::<Vec<_>>().join("\n");
    text.push_str(
        "\n`tajo held approve ID` lets it be done, `tajo held reject ID` leaves it undone\n",
    );
    text
}

fn render(shown: &Shown) -> String {
    let Shown { hold, sample } = shown;
    let counts = [
        (hold.removals, "list membership"),
        (hold.clears, "value"),
        (hold.unsubscribes, "unsubscription"),
        (hold.deletions, "deletion"),
    ];
    let counts = counts.iter().filter(|(number, _)| *number > 0);
    let counts: Vec<_> = counts.map(|(number, what)| output::count(*number, what)).collect();
    let rows = [
        ("id", hold.id.to_string()),
        ("cause", hold.cause.clone()),
        ("since", hold.created_at.to_string()),
        ("from", output::count(hold.contacts, "contact")),
        ("goes", counts.join(", ")),
    ];
    let mut text = String::new();
    // A `String` takes whatever is written to it.
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<6} {value}");
    }
    for change in sample {
        let address = change.email.as_deref().unwrap_or("no address");
        let _ = writeln!(text, "  {} ({address})", change.contact);
        for line in &change.changes {
            let _ = writeln!(text, "    {line}");
        }
    }
    let rest = hold.contacts.saturating_sub(sample.len() as u64);
    if rest > 0 {
        let _ = writeln!(text, "  and {}", output::count(rest, "other contact"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn shown() -> Shown {
        let hold = Hold {
            id: 3,
            cause: "rule set 0a1b2c3d4e5f6071".to_owned(),
            contacts: 100,
            removals: 100,
            clears: 1,
            unsubscribes: 0,
            deletions: 0,
            created_at: Timestamp::from_seconds(1_767_999_600),
        };
        let change = |contact: &str, email: Option<&str>, changes: &[&str]| ShownChange {
            contact: contact.to_owned(),
            email: email.map(str::to_owned),
            changes: changes.iter().map(|line| (*line).to_owned()).collect(),
        };
        let sample = vec![
            change("665f1", Some("a***@example.com"), &["- list 36 (active_conversations)"]),
            change("665f2", None, &["- list 36 (active_conversations)", "- attribute PLAN_TIER"]),
        ];
        Shown { hold, sample }
    }

    #[test]
    fn a_hold_is_shown_with_its_cause_its_counts_and_some_of_its_contacts() {
        let expected = "\
id     3
cause  rule set 0a1b2c3d4e5f6071
since  2026-01-09T23:00:00Z
from   100 contacts
goes   100 list memberships, 1 value
  665f1 (a***@example.com)
    - list 36 (active_conversations)
  665f2 (no address)
    - list 36 (active_conversations)
    - attribute PLAN_TIER
  and 98 other contacts

`tajo held approve ID` lets it be done, `tajo held reject ID` leaves it undone
";
        assert_eq!(render_list(&[shown()]), expected);
    }

    #[test]
    fn the_json_has_the_fields_of_the_contract() {
        let text = serde_json::to_string(&shown().hold).unwrap();
        let expected = r#"{"id":3,"cause":"rule set 0a1b2c3d4e5f6071","contacts":100,"removals":100,"clears":1,"unsubscribes":0,"deletions":0,"createdAt":"2026-01-09T23:00:00Z"}"#;
        assert_eq!(text, expected);
        let read: Hold = serde_json::from_str(expected).unwrap();
        assert_eq!(read, shown().hold);
    }

    #[test]
    fn a_number_under_which_nothing_waits_is_a_failure() {
        let expected = "error: nothing waits for approval under the number 9\n help: `tajo held list` shows what does";
        assert_eq!(no_such(9).to_string(), expected);
    }
}
