//! `tajo connectors test`: one line for each thing that is needed, with a reason and a remedy where
//! it fails.

pub(in crate::cli) mod brevo;
pub(in crate::cli) mod intercom;

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::cli::output;

/// How long one check may take, repetitions included.
const CHECK_TIMEOUT: Duration = Duration::from_secs(20);
/// The first wait before a call is repeated: somebody is looking on.
const BACKOFF: Duration = Duration::from_millis(200);

/// Checks that a service can be read, one line for each thing that is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tajo connectors test intercom
  tajo connectors test brevo --json

Ends with 1 if a line begins with ✗.")]
pub(in crate::cli) struct Args {
    /// Which service.
    service: Service,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Service {
    /// Where contacts come from.
    Intercom,
    /// What is kept as the rules decide.
    Brevo,
}

/// One thing that is needed.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    ok: bool,
    /// What was found.
    detail: Option<String>,
    /// Why it is not well, and what to do about it.
    #[serde(flatten)]
    trouble: Option<Trouble>,
}

/// Why something is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Trouble {
    pub(in crate::cli) reason: String,
    pub(in crate::cli) remedy: String,
}

impl Trouble {
    fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into() }
    }
}

impl Check {
    fn new(name: &str, outcome: Result<Option<String>, Trouble>) -> Self {
        let ok = outcome.is_ok();
        let (detail, trouble) = match outcome {
            Ok(detail) => (detail, None),
            Err(trouble) => (None, Some(trouble)),
        };
        Self { name: name.to_owned(), ok, detail, trouble }
    }

    /// Something that cannot be known as long as there is no connection.
    fn not_tried(name: &str) -> Self {
        Self::new(name, Err(Trouble::new("not tried without a connection", "see the first line")))
    }
}

/// Everything that was checked.
#[derive(Debug, Serialize)]
struct Report {
    connector: &'static str,
    ok: bool,
    checks: Vec<Check>,
}

/// Runs the command.
pub(super) async fn run(args: Args, config: &Path) -> Result<ExitCode, Failure> {
    let deployment = Deployment::load(config)?;
    let (connector, checks) = match args.service {
        Service::Intercom => ("intercom", intercom::checks(&deployment).await?),
        Service::Brevo => ("brevo", brevo::checks(&deployment).await?),
    };
    let report = Report { connector, ok: checks.iter().all(|check| check.ok), checks };
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&render(&report.checks))?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits for an answer no longer than a person would.
pub(in crate::cli) async fn in_time<T, E>(
    call: impl Future<Output = Result<T, E>>,
    explain: impl FnOnce(E) -> Trouble,
) -> Result<T, Trouble> {
    match tokio::time::timeout(CHECK_TIMEOUT, call).await {
        Ok(result) => result.map_err(explain),
        Err(_) => Err(Trouble::new(
            format!("no answer in {} s", CHECK_TIMEOUT.as_secs()),
            "try again in a minute; if it stays so, see whether a proxy or firewall holds it up",
        )),
    }
}

fn render(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        // A `String` takes whatever is written to it.
        let _ = match (&check.trouble, &check.detail) {
            (Some(Trouble { reason, remedy }), _) => {
                writeln!(text, "✗ {}: {reason}\n  → {remedy}", check.name)
            }
            (None, Some(detail)) => writeln!(text, "✓ {} ({detail})", check.name),
            (None, None) => writeln!(text, "✓ {}", check.name),
        };
    }
    text
}

/// The lines for Intercom, and whether each is well.
#[cfg(test)]
pub(in crate::cli) async fn checks_of_intercom(
    deployment: &Deployment,
) -> Result<Vec<(String, bool)>, Failure> {
    Ok(intercom::checks(deployment)
        .await?
        .into_iter()
        .map(|check| (check.name, check.ok))
        .collect())
}

/// The lines for Brevo, and whether each is well.
#[cfg(test)]
pub(in crate::cli) async fn checks_of_brevo(
    deployment: &Deployment,
) -> Result<Vec<(String, bool)>, Failure> {
    Ok(brevo::checks(deployment).await?.into_iter().map(|check| (check.name, check.ok)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_line_says_what_is_wrong_and_what_to_do() {
        let checks = [
            Check::new(
                "API connection successful",
                Ok(Some("workspace Acme, app abc123".to_owned())),
            ),
            Check::new("Contacts readable", Ok(None)),
            Check::new("Companies readable", Err(Trouble::new("the scope is missing", "tick it"))),
        ];
        let expected = "\
✓ API connection successful (workspace Acme, app abc123)
✓ Contacts readable
✗ Companies readable: the scope is missing
  → tick it
";
        assert_eq!(render(&checks), expected);
    }

    #[test]
    fn trouble_is_part_of_its_check_in_json() {
        let check = Check::new("x", Err(Trouble::new("a", "b")));
        let json = serde_json::to_value(check).unwrap();
        assert_eq!(
            json,
            json!({ "name": "x", "ok": false, "detail": null, "reason": "a", "remedy": "b" })
        );
    }
}
