//! `tajo serve`: the engine as a service.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::deployment::{Deployment, variable};
use super::failure::Failure;
use super::output;
use super::runner::lock_and_open;
use super::signals::Signals;
use crate::config::{Config, Problem, StoreUrl};
use crate::engine::{Engine, Schedule};
use crate::model::{Clock, SystemClock};
use crate::server::{Addresses, Server, ServerOptions};
use crate::telemetry::{self, LogControl, LogFormat};

/// How often the configuration is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long requests that are under way may take at the end. With what the engine takes, an end
/// stays within twenty seconds.
const GRACE: Duration = Duration::from_secs(4);
/// How long a whole end may take.
const END: Duration = Duration::from_millis(19_500);

/// Options of the service.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tajo serve
  tajo --config /etc/tajo/tajo.yaml serve --log-format json")]
pub(super) struct Args {
    /// How lines of the log are written, on stderr.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    #[arg(env = "TAJO_LOG_FORMAT", hide_env_values = true)]
    log_format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Runs the command.
pub(super) async fn run(args: &Args, file: PathBuf) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    let seen = std::fs::read(&file).ok();
    let deployment = Deployment::load(&file)?;
    deployment.require_secrets().await?;
    let format = match args.log_format {
        Format::Text => LogFormat::Text,
        Format::Json => LogFormat::Json,
    };
    let log = telemetry::init(deployment.config.intercom.effective_log_level(), format)?;

    let (store, mut lock) = lock_and_open(&deployment)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = &deployment.config;
    let engine = Engine::open(config.clone(), Arc::new(store), clock).await?;
    let options = ServerOptions { grace: GRACE, ..ServerOptions::default() };
    let token = deployment.admin_token()?;
    // The address is taken before anything is worked on, so that a second service ends at once.
    let server = match Server::bind_with(config, engine.clone(), token, options).await {
        Ok(server) => server,
        Err(error) => {
            engine.stop().await;
            return Err(error.into());
        }
    };
    let addresses = server.addresses();
    engine.start(Schedule::AsConfigured);
    lock.announce(Some(addresses.api))?;
    output::say(&introduction(&addresses, &deployment));

    let stop = CancellationToken::new();
    let mut serving = AbortOnDropHandle::new(tokio::spawn(server.serve(stop.clone())));
    let watcher = Watcher { file, seen, log, engine: engine.clone() };
    let watching = AbortOnDropHandle::new(tokio::spawn(watcher.run(Signals::listen()?)));
    let is_asked = tokio::select! {
        () = signals.end() => true,
        _ = &mut serving => false,
    };
    drop(watching);
    if !is_asked {
        engine.stop().await;
        return Err(Failure::failed("the server ended by itself; see the log"));
    }
    tracing::info!("the engine is ending");
    stop.cancel();
    let ended = tokio::time::timeout(END, async {
        let _ = serving.await;
        engine.stop().await;
    });
    tokio::select! {
        ended = ended => if ended.is_err() {
            tracing::warn!("not everything ended in time; it is done again at the next start");
        },
        () = signals.end() => {
            tracing::warn!("ended at once; what was under way is done again at the next start");
            return Ok(ExitCode::FAILURE);
        }
    }
    tracing::info!("the engine has ended");
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

/// One line with everything that the operator of a new engine asks for; never the token itself.
fn introduction(addresses: &Addresses, deployment: &Deployment) -> String {
    let Addresses { public, api } = addresses;
    let token = match deployment.token_file() {
        Some(file) => format!("its token is in {}", file.display()),
        None => "its token is `server.admin_token`".to_owned(),
    };
    format!(
        "tajo serves http://{public}/webhooks/intercom; the API is http://{api}/api/v1, {token}"
    )
}

/// Takes the configuration up when it changes.
#[derive(Debug)]
struct Watcher {
    file: PathBuf,
    /// The content that was judged last.
    seen: Option<Vec<u8>>,
    log: LogControl,
    engine: Engine,
}

impl Watcher {
    async fn run(mut self, mut signals: Signals) {
        loop {
            let is_asked = tokio::select! {
                () = signals.reload() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let content = tokio::fs::read(&self.file).await.ok();
            // A file that is gone is an editor saving, unless somebody asks.
            if is_asked || (content.is_some() && content != self.seen) {
                self.seen = content;
                self.take_up();
            }
        }
    }

    fn take_up(&self) {
        let config = match Config::load(&self.file, &variable) {
            Ok(config) => config,
            Err(errors) => return self.refuse(errors.problems()),
        };
        let mut missing = config.missing_for_service();
        if self.engine.is_connected_by_itself() {
            missing.retain(|problem| !problem.message.contains("connectors.intercom.access_token"));
        }
        if !missing.is_empty() {
            return self.refuse(&missing);
        }
        for setting in fixed(&self.engine.config(), &config) {
            tracing::warn!("`{setting}` changed; that takes a restart");
        }
        let level = config.intercom.effective_log_level();
        match self.engine.reconfigure(config) {
            Ok(()) => {
                self.log.set_level(level);
                tracing::info!(file = %self.file.display(), "the configuration was taken up");
            }
            Err(error) => {
                tracing::error!("the configuration was refused, the previous one stays: {error}");
                self.engine.refuse_configuration(error.to_string());
            }
        }
    }

    fn refuse(&self, problems: &[Problem]) {
        for problem in problems {
            let text = placed(problem);
            tracing::error!("the configuration was refused, the previous one stays: {text}");
        }
        if let Some(first) = problems.first() {
            let more = match problems.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            self.engine.refuse_configuration(format!("{}{more}", placed(first)));
        }
    }
}

/// A problem with its place, in one line.
fn placed(problem: &Problem) -> String {
    let Problem { message, file, line, column, .. } = problem;
    match (line, column) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}: {message}"),
        _ => format!("{file}: {message}"),
    }
}

/// Settings that a running engine cannot change.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let path = |config: &Config| match &config.store.url {
        StoreUrl::Sqlite(path) => Some(path.clone()),
        StoreUrl::Postgres(_) => None,
    };
    let token = |config: &Config| {
        config.server.admin_token.as_ref().map(|token| token.expose_secret().to_owned())
    };
    let changed = [
        ("server.listen", old.server.listen != new.server.listen),
        ("server.admin_listen", old.server.admin_listen != new.server.admin_listen),
        ("server.admin_token", token(old) != token(new)),
        ("store.url", path(old) != path(new)),
        ("scripts.dir", old.scripts.dir != new.scripts.dir),
        ("scripts.require_tests", old.scripts.require_tests != new.scripts.require_tests),
    ];
    changed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(setting, _)| setting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_restart_is_named() {
        let config =
            |yaml: &str| Config::parse(yaml, std::path::Path::new("tajo.yaml"), &|_| None).unwrap();
        let (old, new) = (
            config("{}\n"),
            config("server: { listen: \"127.0.0.1:9\" }\nstore: { url: \"sqlite://x.db\" }\n"),
        );
        assert_eq!(fixed(&old, &new), ["server.listen", "store.url"]);
        assert!(fixed(&old, &old).is_empty());
    }
}
