//! `tajo sandbox`: the fake Intercom and Brevo alone, to develop rules against.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use url::Url;

use super::deployment::variable;
use super::failure::Failure;
use super::{output, signals};
use crate::config::{Config, STARTER};
use crate::model::SystemClock;
use crate::sandbox::brevo::Limits;
use crate::sandbox::{RequestLog, Sandbox, SandboxOptions, Seed};

/// The ports that are taken where none are asked for, if they are free: so settings stay good.
const INTERCOM_PORT: u16 = 4710;
const BREVO_PORT: u16 = 4711;

/// Options of the sandbox.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tajo sandbox
  tajo sandbox --contacts 3000 --no-limits --webhooks http://127.0.0.1:8080/webhooks/intercom")]
pub(super) struct Args {
    /// Contacts in the fake Intercom.
    #[arg(long, value_name = "N", default_value_t = 500)]
    contacts: usize,
    /// Companies in the fake Intercom [default: one for seven contacts].
    #[arg(long, value_name = "N")]
    companies: Option<usize>,
    /// Port of the fake Intercom; 0 takes any free one [default: 4710, or any free one].
    #[arg(long, value_name = "PORT")]
    intercom_port: Option<u16>,
    /// Port of the fake Brevo; 0 takes any free one [default: 4711, or any free one].
    #[arg(long, value_name = "PORT")]
    brevo_port: Option<u16>,
    /// Answers without rate limits.
    #[arg(long)]
    no_limits: bool,
    /// Where the fake Intercom delivers its webhooks, signed.
    #[arg(long, value_name = "URL")]
    webhooks: Option<Url>,
}

/// Runs the command.
pub(super) async fn run(args: Args, config: &Path) -> Result<ExitCode, Failure> {
    let sandbox = Sandbox::start(options(&args), Arc::new(SystemClock)).await.map_err(|error| {
        let failure = Failure::failed(format!("the sandbox cannot start: {error}"));
        failure.with_help("name other ports with `--intercom-port` and `--brevo-port`")
    })?;
    for (name, id) in lists(config)? {
        sandbox.brevo.create_list_with_id(id, &name);
    }
    sandbox.intercom.deliver_to(args.webhooks.as_ref().map(Url::to_string)).await;
    output::print(&sandbox.settings())?;
    output::say(&introduction(&sandbox, args.webhooks.as_ref()));
    signals::end().await?;
    sandbox.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

fn options(args: &Args) -> SandboxOptions {
    let mut seed = Seed::new(args.contacts).with_conversations().with_events();
    if let Some(companies) = args.companies {
        seed = seed.companies(companies);
    }
    let mut options = SandboxOptions { seed: Some(seed), ..SandboxOptions::default() };
    options.intercom.listen = address(args.intercom_port, INTERCOM_PORT);
    options.brevo.listen = address(args.brevo_port, BREVO_PORT);
    // Nobody reads these logs.
    options.intercom.log = RequestLog::without_bodies();
    options.brevo.log = RequestLog::without_bodies();
    if args.no_limits {
        options.intercom.rate_limit = None;
        options.brevo.limits = Limits::off();
    }
    options
}

/// The address of a port that was asked for, else of the usual one, else of any.
fn address(asked: Option<u16>, usual: u16) -> SocketAddr {
    let port = asked.unwrap_or_else(|| {
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, usual)).is_ok();
        if is_free { usual } else { 0 }
    });
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The lists that rules name: those of the configuration if there is one, else of the starter's.
fn lists(config: &Path) -> Result<impl IntoIterator<Item = (String, i64)>, Failure> {
    let lenient = |name: &str| Some(variable(name).unwrap_or_default());
    let config = match Config::load(config, &lenient) {
        Ok(config) => config,
        Err(_) => Config::parse(STARTER, config, &lenient)?,
    };
    Ok(config.intercom.lists)
}

fn introduction(sandbox: &Sandbox, webhooks: Option<&Url>) -> String {
    let (intercom, brevo) = (&sandbox.intercom, &sandbox.brevo);
    let id = intercom
        .contacts()
        .first()
        .and_then(|contact| Some(contact.get("id")?.as_str()?.to_owned()));
    let webhooks = match webhooks {
        Some(url) => format!("webhooks go to {url}"),
        None => "webhooks go nowhere: name a target with `--webhooks URL`".to_owned(),
    };
    format!(
        "\nThe lines above point an engine at this sandbox: put them into a configuration.\n\
         {} and {} are in the fake Intercom; {webhooks}.\n\n\
         Change a contact:\n  \
           curl -X PUT {}/contacts/{} -H 'Authorization: Bearer {}' \\\n    \
             -H 'Intercom-Version: 2.11' -H 'Content-Type: application/json' -d '{{\"name\": \"Ann Example\"}}'\n\
         See what Brevo holds:\n  \
           curl '{}/contacts?limit=10' -H 'api-key: {}'\n\n\
         Ctrl-C ends it, and everything in it is gone.",
        output::count(intercom.contacts().len() as u64, "contact"),
        output::count_of(intercom.companies().len() as u64, "company", "companies"),
        intercom.base_url(),
        id.unwrap_or_else(|| "ID".to_owned()),
        intercom.access_token(),
        brevo.base_url(),
        brevo.api_key(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_configuration_the_starters_lists_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let lists: Vec<_> =
            lists(&folder.path().join("config/tajo.yaml")).unwrap().into_iter().collect();
        assert!(lists.contains(&("leads".to_owned(), 37)), "{lists:?}");
    }

    #[test]
    fn a_usual_port_that_is_taken_is_not_insisted_on() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(address(None, port).port(), 0);
        assert_eq!(address(Some(port), 1).port(), port);
    }
}
