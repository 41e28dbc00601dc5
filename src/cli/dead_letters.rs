//! `tajo dead-letters`: what was given up, with its cause; tried again or dropped.

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
use super::runner::{Runner, busy, drop_in_store};
use crate::store::{DeadLetter, DeadLetterQuery, Store};

/// Lists, shows, retries and drops dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists dead letters, newest first.
    #[command(after_help = "Example:\n  tajo dead-letters list --json | jq -r '.[].record'")]
    List {
        /// At most so many, up to 1,000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Prints the list as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one dead letter in full.
    #[command(after_help = "Example:\n  tajo dead-letters show 17")]
    Show {
        /// Its number, as `list` shows it.
        id: i64,
        /// Prints it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Makes dead letters due again, once their cause is mended.
    #[command(after_help = "\
Examples:
  tajo dead-letters retry 17
  tajo dead-letters retry --all

Without a running engine it does the work itself, and ends with 1 if something dies again.")]
    Retry(Selection),
    /// Drops dead letters; they then count as skipped.
    #[command(
        after_help = "Examples:\n  tajo dead-letters drop 17\n  tajo dead-letters drop --all"
    )]
    Drop(Selection),
}

/// Which dead letters are meant.
#[derive(Debug, clap::Args)]
pub(super) struct Selection {
    /// The number of one, as `list` shows it.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    id: Option<i64>,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

impl Selection {
    fn query(&self) -> DeadLetterQuery {
        self.id.map_or(DeadLetterQuery::All, DeadLetterQuery::One)
    }
}

/// A dead letter as it is shown; its time is ISO 8601.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Letter {
    id: i64,
    record: Option<String>,
    /// An older engine does not say it.
    #[serde(default)]
    topic: Option<String>,
    kind: String,
    message: String,
    origin: Option<String>,
    #[serde(default)]
    request: Option<String>,
    response: Option<String>,
    rule_set: Option<String>,
    attempts: u32,
    inputs: u32,
    at: String,
}

impl From<DeadLetter> for Letter {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter {
            id,
            record,
            topic,
            kind,
            message,
            origin,
            request,
            response,
            rule_set,
            attempts,
            inputs,
            at,
        } = letter;
        Self {
            id,
            record,
            topic,
            kind,
            message,
            origin,
            request,
            response,
            rule_set,
            attempts,
            inputs,
            at: at.to_string(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Dropped {
    dropped: u64,
}

/// Runs the command.
pub(super) async fn run(command: Command, config: &Path) -> Result<ExitCode, Failure> {
    match command {
        Command::List { limit, json } => {
            let letters =
                list(&Deployment::load_without_secrets(config)?, usize::from(limit)).await?;
            if json {
                output::print_json(&letters)?;
            } else if letters.is_empty() {
                output::say("there are no dead letters");
            } else {
                output::print(&render_list(&letters))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Show { id, json } => {
            let letter = find(&Deployment::load_without_secrets(config)?, id).await?;
            let letter = letter.ok_or_else(|| no_such(id))?;
            if json {
                output::print_json(&letter)?;
            } else {
                output::print(&render(&letter))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Retry(selection) => retry(&selection, config).await,
        Command::Drop(selection) => discard(&selection, config).await,
    }
}

async fn list(deployment: &Deployment, limit: usize) -> Result<Vec<Letter>, Failure> {
    if let Running::Service { api, .. } = deployment.running()? {
        let path = format!("/api/v1/dead-letters?limit={limit}");
        return api.get(Route { path: &path, pattern: "/api/v1/dead-letters" }).await;
    }
    let letters = deployment.open_to_read()?.dead_letters(limit).await?;
    Ok(letters.into_iter().map(Letter::from).collect())
}

async fn find(deployment: &Deployment, id: i64) -> Result<Option<Letter>, Failure> {
    if let Running::Service { api, .. } = deployment.running()? {
        let path = format!("/api/v1/dead-letters/{id}");
        return api.find(Route { path: &path, pattern: "/api/v1/dead-letters/{id}" }).await;
    }
    let letter = deployment.open_to_read()?.dead_letter(id).await?;
    Ok(letter.map(Letter::from))
}

async fn retry(selection: &Selection, config: &Path) -> Result<ExitCode, Failure> {
    require_store(&Deployment::load_without_secrets(config)?)?;
    let runner = Runner::start(config).await?;
    let result = tokio::select! {
        result = retry_with(&runner, selection.query()) => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::failed("interrupted; the next engine goes \
                                                            on")),
    };
    runner.stop().await;
    let (retried, died) = result?;
    let again = if died > 0 {
        format!("; {died} died again (see `tajo dead-letters list`)")
    } else {
        String::new()
    };
    let text = format!("{} retried{again}", output::count(retried, "dead letter"));
    let is_well = report(selection, "retried", retried, &text)? && died == 0;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Answers how many were retried, and how many died again as far as that was waited for.
async fn retry_with(runner: &Runner, query: DeadLetterQuery) -> Result<(u64, u64), Failure> {
    let retried = runner.retry_dead_letters(query).await?;
    // A service has other work, too, and its operator sees what dies.
    if retried == 0 || matches!(runner, Runner::Service(_)) {
        return Ok((retried, 0));
    }
    // A retried one is no dead letter until it dies again, so what is more then died again.
    let before = runner.status().await?.dead_letters;
    let after = runner.drained(|_| {}).await?;
    Ok((retried, after.dead_letters.saturating_sub(before)))
}

async fn discard(selection: &Selection, config: &Path) -> Result<ExitCode, Failure> {
    let deployment = Deployment::load_without_secrets(config)?;
    require_store(&deployment)?;
    let dropped = match deployment.running()? {
        Running::Service { api, .. } => discard_by(&api, selection.query()).await?,
        Running::Command { pid } => return Err(busy(pid)),
        Running::Nobody => drop_in_store(&deployment, selection.query()).await?,
    };
    let text = format!("{} dropped", output::count(dropped, "dead letter"));
    let is_well = report(selection, "dropped", dropped, &text)?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn discard_by(api: &Api, query: DeadLetterQuery) -> Result<u64, Failure> {
    let dropped: Option<Dropped> = match query {
        DeadLetterQuery::All => api.change(Method::DELETE, "/api/v1/dead-letters", None).await?,
        DeadLetterQuery::One(id) => {
            let path = format!("/api/v1/dead-letters/{id}");
            let route = Route { path: &path, pattern: "/api/v1/dead-letters/{id}" };
            api.change(Method::DELETE, route, None).await?
        }
    };
    Ok(dropped.map_or(0, |answer| answer.dropped))
}

/// Where there is no store there is nothing to change, and none is made for it.
fn require_store(deployment: &Deployment) -> Result<(), Failure> {
    deployment.open_to_read().map(drop)
}

/// Prints what was done. False: the one that was named could not be had.
fn report(selection: &Selection, verb: &str, number: u64, text: &str) -> Result<bool, Failure> {
    if let (Some(id), 0) = (selection.id, number) {
        let failure = Failure::failed(format!("the dead letter {id} was not {verb}"));
        return Err(failure.with_help(
            "`tajo dead-letters list` shows which there are; a notification that cannot be used \
             can only be dropped",
        ));
    }
    if selection.json {
        output::print_json(&json!({ verb: number }))?;
    } else {
        output::print(text)?;
    }
    Ok(true)
}

fn no_such(id: i64) -> Failure {
    let failure = Failure::failed(format!("there is no dead letter {id}"));
    failure.with_help("`tajo dead-letters list` shows which there are")
}

fn render_list(letters: &[Letter]) -> String {
    let mut table = output::table(&["ID", "AT", "RECORD", "KIND", "ATTEMPTS", "CAUSE"]);
    for letter in letters {
        let cause = match &letter.origin {
            Some(origin) => format!("{origin}: {}", letter.message),
            None => letter.message.clone(),
        };
        table.add_row([
            letter.id.to_string(),
            letter.at.clone(),
            letter.record.clone().unwrap_or_else(|| "-".to_owned()),
            letter.kind.clone(),
            letter.attempts.to_string(),
            cause,
        ]);
    }
    output::render_table(&mut table)
}

fn render(letter: &Letter) -> String {
    let none = || "-".to_owned();
    let rows = [
        ("id", letter.id.to_string()),
        ("at", letter.at.clone()),
        (
            "record",
            letter
                .record
                .clone()
                .unwrap_or_else(|| "a notification that cannot be used".to_owned()),
        ),
        ("topic", letter.topic.clone().unwrap_or_else(none)),
        ("kind", letter.kind.clone()),
        ("cause", letter.message.clone()),
        ("script", letter.origin.clone().unwrap_or_else(none)),
        ("request", letter.request.clone().unwrap_or_else(none)),
        ("response", letter.response.clone().unwrap_or_else(none)),
        ("rules", letter.rule_set.clone().unwrap_or_else(none)),
        ("attempts", letter.attempts.to_string()),
        ("inputs", letter.inputs.to_string()),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        // A `String` takes whatever is written to it.
        let _ = writeln!(text, "{name:<9} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Letter {
        Letter {
            id: 17,
            record: Some("contact:665f".to_owned()),
            topic: None,
            kind: "script".to_owned(),
            message: "`*` needs numbers, not ()".to_owned(),
            origin: Some("scripts/mapping.rhai:14:9".to_owned()),
            request: None,
            response: None,
            rule_set: Some("0a1b2c3d4e5f6071".to_owned()),
            attempts: 1,
            inputs: 2,
            at: "2026-01-10T04:39:55Z".to_owned(),
        }
    }

    #[test]
    fn one_is_shown_in_full() {
        let expected = "\
id        17
at        2026-01-10T04:39:55Z
record    contact:665f
topic     -
kind      script
cause     `*` needs numbers, not ()
script    scripts/mapping.rhai:14:9
request   -
response  -
rules     0a1b2c3d4e5f6071
attempts  1
inputs    2
";
        assert_eq!(render(&letter()), expected);
    }

    #[test]
    fn a_list_is_a_table() {
        let unusable = Letter {
            id: 16,
            record: None,
            origin: None,
            kind: "notification".to_owned(),
            ..letter()
        };
        insta::assert_snapshot!(render_list(&[letter(), unusable]), @r#"
    ID  AT                    RECORD        KIND          ATTEMPTS  CAUSE
    17  2026-01-10T04:39:55Z  contact:665f  script        1         scripts/mapping.rhai:14:9: `*` needs numbers, not ()
    16  2026-01-10T04:39:55Z  -             notification  1         `*` needs numbers, not ()
"#);
    }

    #[test]
    fn one_that_is_not_there_is_a_failure() {
        let selection = Selection { id: Some(9), all: false, json: false };
        let text = report(&selection, "retried", 0, "").unwrap_err().to_string();
        assert!(text.starts_with("error: the dead letter 9 was not retried\n help: "), "{text}");
    }
}
