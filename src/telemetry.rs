//! Telemetry: how things are logged, and the names of all metrics.
//!
//! Logs go to standard error; standard output belongs to what a command answers. `RUST_LOG` wins
//! over the configured level. Nothing personal is logged at info level or above.

use std::io::IsTerminal;
use std::io::Write as _;
use std::sync::OnceLock;

use metrics::{describe_counter, describe_gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::LogLevel;

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// `RUST_LOG` does not say what to log.
    #[error("`RUST_LOG` cannot be read: {0}; write it such as `info` or `tajo=debug,warn`")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something else in this process logs already.
    #[error("logging is set up already")]
    AlreadyUp(#[from] tracing_subscriber::util::TryInitError),
}

/// Changes the level while the process runs.
#[derive(Debug, Clone)]
pub struct LogControl {
    /// None: `RUST_LOG` decides.
    filter: Option<reload::Handle<EnvFilter, Registry>>,
}

/// Sets logging up, once in a process.
///
/// # Errors
/// A `RUST_LOG` that cannot be read, or a second set-up.
pub fn init(level: LogLevel, format: LogFormat) -> Result<LogControl, TelemetryError> {
    let from_variable = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|text| !text.is_empty());
    let is_fixed = from_variable.is_some();
    let filter = EnvFilter::try_new(from_variable.unwrap_or_else(|| directives(level)))?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry.with(lines).try_init()?,
        LogFormat::Json => registry.with(lines.json()).try_init()?,
    }
    Ok(LogControl { filter: (!is_fixed).then_some(handle) })
}

impl LogControl {
    /// Logs from another level on; does nothing where `RUST_LOG` decides.
    pub fn set_level(&self, level: LogLevel) {
        let Some(handle) = &self.filter else { return };
        let Ok(filter) = EnvFilter::try_new(directives(level)) else { return };
        if handle.reload(filter).is_err() {
            tracing::warn!("the log level stays as it was: logging has ended");
        }
    }
}

/// The libraries below say more than an operator wants to know, so theirs is one level less.
fn directives(level: LogLevel) -> String {
    let (own, others) = match level {
        LogLevel::Error => ("error", "error"),
        LogLevel::Warn => ("warn", "warn"),
        LogLevel::Info => ("info", "warn"),
        LogLevel::Debug => ("debug", "info"),
        LogLevel::Trace => ("trace", "debug"),
    };
    format!("{others},tajo={own}")
}

/// A metric: its name and what it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// `tajo_<name>[_<unit>][_total]`.
    pub name: &'static str,
    /// What a unit of it is.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: MetricKind,
}

/// Whether a metric only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows while the process lives.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// Accepted inputs; label `outcome`. The outcome `accepted` is the sum of all others.
pub const RECORDS: Metric =
    gauge("tajo_records", "Accepted inputs by what became of them; accepted is the sum");
/// Repeated notifications.
pub const DUPLICATES: Metric = counter("tajo_duplicates_total", "Repeated notifications");
/// Notifications of other workspaces.
pub const NOTIFICATIONS_FOREIGN: Metric = counter(
    "tajo_notifications_foreign_total",
    "Notifications of workspaces that this engine does not serve",
);
/// Derivations without an input of their own.
pub const REDERIVED: Metric =
    counter("tajo_rederived_total", "Derivations without an input of their own");
/// Keys that are due or being worked on.
pub const WORK: Metric = gauge("tajo_work", "Keys that are due or being worked on");
/// Dead letters.
pub const DEAD_LETTERS: Metric = gauge("tajo_dead_letters", "Dead letters");
/// Contacts of which something waits for approval.
pub const HELD_CHANGES: Metric =
    gauge("tajo_held_changes", "Contacts of which something waits for approval");
/// Writes that wait because their contact was written to too often.
pub const WRITES_HELD_UP: Metric = counter(
    "tajo_writes_held_up_total",
    "Contacts whose writes wait because they were written to too often in ten minutes",
);
/// 1 if a rule set is live.
pub const RULES_LOADED: Metric = gauge("tajo_rules_loaded", "1 if a rule set is live");
/// 1 if what is in the scripts' folder was refused.
pub const RULES_REFUSED: Metric =
    gauge("tajo_rules_refused", "1 if the content of the scripts' folder was refused");
/// 1 if a version of the rules is pinned.
pub const RULES_PINNED: Metric =
    gauge("tajo_rules_pinned", "1 if a version of the rules is pinned");
/// Calls to Brevo; label `call`.
pub const BREVO_CALLS: Metric =
    counter("tajo_brevo_calls_total", "Calls made to Brevo, repeated ones included");
/// Webhooks received; label `result`.
pub const WEBHOOKS: Metric =
    counter("tajo_webhooks_total", "Webhooks received by what was answered");
/// Webhooks of Brevo's received; label `result`.
pub const BREVO_WEBHOOKS: Metric =
    counter("tajo_brevo_webhooks_total", "Webhooks of Brevo's received by what was answered");
/// How many things do not work as they should.
pub const DEGRADED: Metric =
    gauge("tajo_degraded", "Number of things that do not work as they should");
/// 1 if the store could be read for this page.
pub const STORE_UP: Metric = gauge("tajo_store_up", "1 if the store could be read for this page");
/// Attribute values that Brevo would not have taken.
pub const VALUES_LEFT_OUT: Metric =
    counter("tajo_values_left_out_total", "Attribute values that Brevo would not have taken");
/// Values that Brevo had dropped when they were looked for; label `attribute`.
pub const VALUES_DROPPED: Metric =
    counter("tajo_values_dropped_total", "Values that Brevo had dropped when they were looked for");
/// Values that are not written any more, since Brevo dropped them twice.
pub const VALUES_PARKED: Metric = gauge(
    "tajo_values_parked",
    "Values that Brevo dropped twice and that are not written any more",
);
/// Identifiers that another contact of Brevo's owns.
pub const IDENTIFIERS_LEFT_OUT: Metric =
    counter("tajo_identifiers_left_out_total", "Identifiers that another Brevo contact owns");

/// Events that rules tracked; label `result`.
pub const EVENTS: Metric =
    counter("tajo_events_total", "Events that rules tracked by what became of them");
/// Events that wait to be sent.
pub const EVENTS_DUE: Metric = gauge("tajo_events_due", "Events that wait to be sent");
/// Companies in Brevo; label `state`.
pub const COMPANIES: Metric =
    gauge("tajo_companies", "Companies in Brevo by how they stand: synced, due, withheld, dead");
/// Links between contacts and companies; label `state`.
pub const COMPANY_LINKS: Metric = gauge(
    "tajo_company_links",
    "Links between contacts and companies by how they stand: linked, due, dead",
);
/// Custom objects that are not in Brevo as they should be; label `state`.
pub const OBJECTS: Metric =
    gauge("tajo_objects", "Custom objects that wait to be sent or are dead letters: due, dead");
/// How often a custom object was sent.
pub const OBJECTS_SENT: Metric =
    counter("tajo_objects_sent_total", "Custom objects that Brevo took");
/// People who are to be asked to confirm an opt-in; label `state`.
pub const DOUBLE_OPT_INS: Metric = gauge(
    "tajo_double_opt_ins",
    "Double opt-ins that wait to be sent or are dead letters: due, dead",
);
/// How many people were asked.
pub const DOUBLE_OPT_INS_SENT: Metric =
    counter("tajo_double_opt_ins_sent_total", "Double opt-ins that Brevo was asked to send");
/// Parts of decisions that this version does not write; label `part`.
pub const UNSERVED_PARTS: Metric =
    counter("tajo_unserved_parts_total", "Parts of decisions that this version does not write");

/// Opt-outs that a newer opt-in lifted.
pub const RESUBSCRIBED: Metric = counter(
    "tajo_resubscribed_total",
    "Opt-outs that were lifted because the person opted in again in Intercom",
);

/// 1 while nothing can be written to Brevo.
pub const WRITER_PAUSED: Metric = gauge(
    "tajo_writer_paused",
    "1 while nothing is written to Brevo: it fails, or refuses the key",
);
/// Rows that imports did not take; label `reason`.
pub const IMPORT_ROWS_REFUSED: Metric =
    counter("tajo_import_rows_refused_total", "Rows of imports that Brevo says it did not take");

/// Every metric there is.
pub const METRICS: [Metric; 32] = [
    RECORDS,
    DUPLICATES,
    NOTIFICATIONS_FOREIGN,
    REDERIVED,
    WORK,
    DEAD_LETTERS,
    HELD_CHANGES,
    WRITES_HELD_UP,
    RULES_LOADED,
    RULES_REFUSED,
    RULES_PINNED,
    BREVO_CALLS,
    WEBHOOKS,
    BREVO_WEBHOOKS,
    DEGRADED,
    STORE_UP,
    VALUES_LEFT_OUT,
    VALUES_DROPPED,
    VALUES_PARKED,
    IDENTIFIERS_LEFT_OUT,
    EVENTS,
    EVENTS_DUE,
    COMPANIES,
    COMPANY_LINKS,
    OBJECTS,
    OBJECTS_SENT,
    DOUBLE_OPT_INS,
    DOUBLE_OPT_INS_SENT,
    UNSERVED_PARTS,
    RESUBSCRIBED,
    WRITER_PAUSED,
    IMPORT_ROWS_REFUSED,
];

/// Tells the recorder that is in force what the metrics mean.
pub fn describe_metrics() {
    for Metric { name, help, kind } in METRICS {
        match kind {
            MetricKind::Counter => describe_counter!(name, help),
            MetricKind::Gauge => describe_gauge!(name, help),
        }
    }
}

/// The page of what the process counted with the `metrics` macros. The first call sets the recorder
/// up, for the whole process; what was counted before is lost.
pub fn prometheus() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, describe_metrics);
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("metrics go to another recorder of this process, not to /metrics");
        }
        handle
    })
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, help, kind: MetricKind::Counter }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, help, kind: MetricKind::Gauge }
}

/// From now on a panic is logged by its place only: its text may quote what a person wrote.
pub fn log_panics_by_place() {
    std::panic::set_hook(Box::new(|panic| {
        let place =
            panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let thread = std::thread::current().name().unwrap_or("without a name").to_owned();
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place, thread, "a panic at {place} in the thread {thread}");
        } else {
            // Nobody is left to tell that this did not work.
            let _ = writeln!(std::io::stderr(), "error: a panic at {place} in the thread {thread}");
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_named_as_the_conventions_say() {
        for metric in METRICS {
            assert!(metric.name.starts_with("tajo_"), "{metric:?}");
            let is_counter = metric.kind == MetricKind::Counter;
            assert_eq!(metric.name.ends_with("_total"), is_counter, "{metric:?}");
        }
    }

    #[test]
    fn every_level_makes_a_filter() {
        use LogLevel::{Debug, Error, Info, Trace, Warn};
        for level in [Error, Warn, Info, Debug, Trace] {
            EnvFilter::try_new(directives(level)).unwrap();
        }
    }
}
