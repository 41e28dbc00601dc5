//! `tajo connectors connect`: OAuth, from the address to open to the token that is kept.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use super::Source;
use crate::cli::api::{Api, Route};
use crate::cli::deployment::{Deployment, Running};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::runner::{busy, lock_and_open};
use crate::engine::{ConnectError, connect_by_code, oauth_app};
use crate::intercom::Granted;
use crate::model::SystemClock;
use crate::store::Store;

/// How long somebody may take in Intercom.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often the running engine is asked whether he came back.
const LOOK: Duration = Duration::from_secs(1);
/// Where the running engine does OAuth.
const OAUTH: &str = "/api/v1/connectors/intercom/oauth";

/// Connects a workspace by OAuth: shows the address to open, takes the code, keeps the token.
///
/// Needs `client_id` and `client_secret` of a public app. A running engine takes whoever comes back
/// from Intercom by itself, if Intercom reaches it; else the code is pasted here.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tajo connectors connect intercom
  tajo connectors connect intercom --code 'https://tajo.example.com/oauth/intercom/callback?code=…'

A private app needs none of this: set `access_token`. Ends with 1 if nothing was connected.")]
pub(in crate::cli) struct Args {
    /// Which connector.
    connector: Source,
    /// The code, or the whole address that Intercom sent you to.
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Prints the result as JSON; the address to open goes to stderr then.
    #[arg(long)]
    json: bool,
}

/// What connecting came to, as an engine tells it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection {
    connected: bool,
    app_id: String,
    workspace: Option<String>,
    region: Option<String>,
    api_version: String,
    connected_at: String,
    in_force: bool,
    #[serde(default)]
    notes: Vec<String>,
}

/// An attempt that the running engine began.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    authorize_url: String,
    state: String,
}

/// How it stands.
#[derive(Debug, Deserialize)]
struct Attempt {
    status: String,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    connection: Option<Connection>,
}

/// Runs the command.
pub(super) async fn run(args: Args, config: &Path) -> Result<ExitCode, Failure> {
    let Source::Intercom = args.connector;
    let deployment = Deployment::load_without_secrets(config)?;
    let connection = match deployment.running()? {
        Running::Service { api, .. } => through(&api, &args).await?,
        Running::Command { pid } => return Err(busy(pid)),
        Running::Nobody => alone(&deployment, &args).await?,
    };
    if args.json {
        output::print_json(&connection)?;
    } else {
        output::print(&render(&connection))?;
    }
    Ok(if connection.in_force { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Connects by the running engine, so that the token is in force at once.
async fn through(api: &Api, args: &Args) -> Result<Connection, Failure> {
    if let Some(pasted) = &args.code {
        return hand_over(api, granted(pasted)?, None).await;
    }
    let begun: Option<Begun> = api.change(Method::POST, OAUTH, None).await?;
    let Begun { authorize_url, state } = begun.ok_or_else(too_old)?;
    show(args, &authorize_url)?;
    let mut pasted = Some(BufReader::new(tokio::io::stdin()).lines());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        tokio::select! {
            line = next_line(&mut pasted) => match line? {
                Some(line) if line.trim().is_empty() => {}
                Some(line) => return hand_over(api, granted(&line)?, Some(state)).await,
                None => pasted = None,
            },
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Some(connection) = returned(api, &state).await? {
            return Ok(connection);
        }
    }
    Err(nobody_came())
}

/// Whether whoever was sent to Intercom came back to the running engine.
async fn returned(api: &Api, state: &str) -> Result<Option<Connection>, Failure> {
    let path = format!("{OAUTH}/{state}");
    let route = Route { path: &path, pattern: "/api/v1/connectors/intercom/oauth/{state}" };
    let Some(attempt) = api.find::<Attempt>(route).await? else { return Err(nobody_came()) };
    match attempt.status.as_str() {
        "failed" => Err(Failure::failed(attempt.detail.unwrap_or_default())),
        _ => Ok(attempt.connection),
    }
}

async fn hand_over(
    api: &Api,
    granted: Granted,
    begun: Option<String>,
) -> Result<Connection, Failure> {
    // A code that was pasted alone is of the attempt that was begun here.
    let state = granted.state.or(begun);
    let body = json!({ "code": granted.code, "state": state });
    let route = "/api/v1/connectors/intercom/oauth/code";
    api.change(Method::POST, route, Some(body)).await?.ok_or_else(too_old)
}

/// Connects in the store of an engine that does not run.
async fn alone(deployment: &Deployment, args: &Args) -> Result<Connection, Failure> {
    let app = oauth_app(&deployment.config.intercom).map_err(|error| failure(&error))?;
    let granted = match &args.code {
        Some(pasted) => granted(pasted)?,
        None => {
            let state = uuid::Uuid::new_v4().simple().to_string();
            let back_to = deployment.config.server.public_url.as_ref().and_then(|url| {
                let path = format!("{}/oauth/intercom/callback", url.path().trim_end_matches('/'));
                url.join(&path).ok()
            });
            show(args, app.authorize_url(&state, back_to.as_ref()).as_str())?;
            let granted = granted(&pasted().await?)?;
            if granted.state.as_ref().is_some_and(|theirs| *theirs != state) {
                let failure =
                    Failure::failed("this is the answer to another attempt: its `state` differs");
                return Err(failure.with_help("open the address above, and paste what follows it"));
            }
            granted
        }
    };
    let (store, _lock) = lock_and_open(deployment)?;
    let code = granted.code.unwrap_or_default();
    let connected = connect_by_code(&store, &deployment.config, &SystemClock, &code).await;
    store.close().await;
    let connected = connected.map_err(|error| failure(&error))?;
    Ok(serde_json::from_value(serde_json::to_value(connected)?)?)
}

/// The first line that holds anything.
async fn pasted() -> Result<String, Failure> {
    let mut lines = Some(BufReader::new(tokio::io::stdin()).lines());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match tokio::time::timeout_at(deadline, next_line(&mut lines)).await {
            Ok(line) => match line? {
                Some(line) if line.trim().is_empty() => {}
                Some(line) => return Ok(line),
                None => {
                    let failure = Failure::failed("no code was given");
                    return Err(failure.with_help(
                        "paste the address that Intercom sends you to, or pass it with `--code`",
                    ));
                }
            },
            Err(_) => return Err(nobody_came()),
        }
    }
}

/// The next line of what is pasted; waits for ever where nothing more can be.
async fn next_line(lines: &mut Option<Lines<BufReader<Stdin>>>) -> Result<Option<String>, Failure> {
    match lines {
        Some(lines) => Ok(lines.next_line().await?),
        None => std::future::pending().await,
    }
}

/// What was pasted, if Intercom granted anything with it.
fn granted(pasted: &str) -> Result<Granted, Failure> {
    let granted = Granted::parse(pasted);
    match (&granted.code, &granted.error) {
        (Some(_), _) => Ok(granted),
        (None, Some(error)) if error == "access_denied" => {
            Err(Failure::failed("access was denied in Intercom, so nothing was connected"))
        }
        (None, _) => {
            let failure = Failure::failed("there is no code in what was pasted");
            Err(failure.with_help("paste the whole address that Intercom sent you to"))
        }
    }
}

fn show(args: &Args, url: &str) -> Result<(), Failure> {
    output::say("open this address as an admin of the workspace, and allow the access:");
    if args.json {
        output::say(url);
    } else {
        output::print(url)?;
    }
    if std::io::stdin().is_terminal() {
        output::say("then paste the address that you are sent to, or its code:");
    }
    Ok(())
}

fn render(connection: &Connection) -> String {
    let name = connection.workspace.as_deref().unwrap_or("without a name");
    let region =
        connection.region.as_ref().map_or(String::new(), |region| format!(", hosted in {region}"));
    let mut text = format!(
        "✓ connected: workspace {name}, app {}{region}, API {}\n",
        connection.app_id, connection.api_version
    );
    for note in &connection.notes {
        text.push_str(&format!("  → {note}\n"));
    }
    text
}

fn failure(error: &ConnectError) -> Failure {
    match error {
        ConnectError::NoApp | ConnectError::Disabled => Failure::usage(error.to_string()),
        _ => Failure::failed(error.to_string()),
    }
}

fn nobody_came() -> Failure {
    let failure = Failure::failed("nobody came back from Intercom in ten minutes");
    failure.with_help("run the command again, and paste the address that Intercom sends you to")
}

fn too_old() -> Failure {
    Failure::failed("the running engine cannot connect: it is of an older version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pasted_must_hold_a_code() {
        assert_eq!(granted("abc=").unwrap().code.as_deref(), Some("abc="));
        let denied = granted("https://x.example.com/?error=access_denied").unwrap_err();
        assert_eq!(
            denied.to_string(),
            "error: access was denied in Intercom, so nothing was connected"
        );
        let text = granted("https://x.example.com/?state=s").unwrap_err().to_string();
        assert!(text.starts_with("error: there is no code in what was pasted\n help: "), "{text}");
    }

    #[test]
    fn what_was_connected_is_shown_with_its_notes() {
        let connection: Connection = serde_json::from_value(json!({
            "connected": true, "appId": "abc123", "workspace": "Acme", "region": "EU",
            "apiVersion": "2.11", "connectedAt": "2026-01-10T04:39:55Z", "inForce": true,
            "notes": ["the workspace is hosted in EU"],
        }))
        .unwrap();
        let expected = "\
✓ connected: workspace Acme, app abc123, hosted in EU, API 2.11
  → the workspace is hosted in EU
";
        assert_eq!(render(&connection), expected);
    }
}
