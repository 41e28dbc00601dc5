//! `/metrics`: the engine's figures as Prometheus reads them.

use std::sync::Arc;

use axum::extract::State as Extracted;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use metrics::{Counter, Gauge, counter, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::State;
use super::webhook::WebhookResult;
use crate::engine::Status;
use crate::telemetry::{self, Metric};

/// The page. It is answered even where the store cannot be read, for that is when it is needed.
pub(super) async fn page(Extracted(state): Extracted<Arc<State>>) -> Response {
    let status = state.engine.status().await.ok();
    let counted = telemetry::prometheus();
    counted.run_upkeep();
    let text = format!("{}{}", figures(&state, status.as_ref()), counted.render());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// Figures that are kept elsewhere. They go through a recorder of their own, so that several engines
/// in one process do not write over each other's.
fn figures(state: &State, status: Option<&Status>) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        telemetry::describe_metrics();
        for result in WebhookResult::ALL {
            let webhooks = labelled(telemetry::WEBHOOKS, "result", result.as_str());
            webhooks.absolute(state.webhooks.of(result));
        }
        for (kind, count) in state.engine.brevo_calls().iter() {
            let name = serde_json::to_value(kind).unwrap_or_default();
            let name = name.as_str().unwrap_or_default().to_owned();
            labelled(telemetry::BREVO_CALLS, "call", name).absolute(count);
        }
        set(telemetry::DEGRADED, state.engine.degraded().len() as u64);
        set(telemetry::WRITER_PAUSED, state.engine.is_writer_paused().into());
        set(telemetry::STORE_UP, status.is_some().into());
        if let Some(status) = status {
            record(status);
        }
    });
    recorder.handle().render()
}

fn record(status: &Status) {
    let records = status.records;
    let outcomes = [
        ("accepted", records.accepted),
        ("applied", records.applied),
        ("unchanged", records.unchanged),
        ("superseded", records.superseded),
        ("ignored", records.ignored),
        ("skipped", records.skipped),
        ("held", records.held),
        ("dead", records.dead),
        ("pending", records.pending),
    ];
    for (outcome, count) in outcomes {
        gauge!(telemetry::RECORDS.name, "outcome" => outcome).set(count as f64);
    }
    total(telemetry::DUPLICATES).absolute(status.duplicates);
    total(telemetry::NOTIFICATIONS_FOREIGN).absolute(status.foreign);
    total(telemetry::REDERIVED).absolute(status.rederived);
    let events = status.events.counts;
    for (result, count) in
        [("sent", events.sent), ("known", events.known), ("refused", events.refused)]
    {
        labelled(telemetry::EVENTS, "result", result).absolute(count);
    }
    set(telemetry::EVENTS_DUE, events.due);
    let companies = status.companies.counts;
    let links = status.links.counts;
    let objects = status.objects.counts;
    let asked = status.double_opt_ins.counts;
    for (metric, states) in [
        (
            telemetry::COMPANIES,
            [
                ("synced", companies.synced),
                ("due", companies.due),
                ("withheld", companies.withheld),
                ("dead", companies.dead),
            ]
            .as_slice(),
        ),
        (
            telemetry::COMPANY_LINKS,
            &[("linked", links.linked), ("due", links.due), ("dead", links.dead)],
        ),
        (telemetry::OBJECTS, &[("due", objects.due), ("dead", objects.dead)]),
        (telemetry::DOUBLE_OPT_INS, &[("due", asked.due), ("dead", asked.dead)]),
    ] {
        for (state, count) in states {
            gauge!(metric.name, "state" => *state).set(*count as f64);
        }
    }
    total(telemetry::OBJECTS_SENT).absolute(objects.sent);
    total(telemetry::DOUBLE_OPT_INS_SENT).absolute(asked.sent);
    set(telemetry::VALUES_PARKED, status.values.counts.parked);
    set(telemetry::WORK, status.work);
    set(telemetry::DEAD_LETTERS, status.dead_letters);
    set(telemetry::HELD_CHANGES, status.held_changes);
    set(telemetry::RULES_LOADED, status.rules.version.is_some().into());
    set(telemetry::RULES_REFUSED, status.rules.error.is_some().into());
    set(telemetry::RULES_PINNED, status.rules.pinned.is_some().into());
}

fn set(metric: Metric, value: u64) {
    let figure: Gauge = gauge!(metric.name);
    figure.set(value as f64);
}

fn total(metric: Metric) -> Counter {
    counter!(metric.name)
}

fn labelled(metric: Metric, label: &'static str, value: impl Into<String>) -> Counter {
    counter!(metric.name, label => value.into())
}
