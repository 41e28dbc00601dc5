//! An engine's figures as commands read them: of a running engine, or of its store.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::api::Api;
use super::failure::Failure;
use crate::config::{Intercom, Resources};
use crate::engine::{
    RateLimits, RulesView, SinkView, Status, SweepView, VerificationView, connections_in, is_read,
    sweeps_view,
};
use crate::model::{Clock, SystemClock};
use crate::store::{Resource, Store, Sync, SyncKind, SyncState};

/// Figures of an engine, as far as they are shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StatusView {
    pub(super) connected: bool,
    pub(super) last_sync: Option<String>,
    pub(super) contacts_synced: u64,
    pub(super) conversations_synced: u64,
    pub(super) companies_synced: u64,
    pub(super) events_synced: u64,
    pub(super) sweeps: BTreeMap<String, SweepFigures>,
    pub(super) records: RecordsView,
    pub(super) duplicates: u64,
    pub(super) foreign: u64,
    pub(super) rederived: u64,
    pub(super) work: u64,
    pub(super) managed: u64,
    pub(super) dead_letters: u64,
    pub(super) connections: Vec<ConnectionFigures>,
    pub(super) events: SinkFigures,
    pub(super) companies: SinkFigures,
    pub(super) links: SinkFigures,
    pub(super) objects: SinkFigures,
    pub(super) double_opt_ins: SinkFigures,
    pub(super) rules: RuleSetView,
    pub(super) rate_limits: LimitsView,
    pub(super) degraded: Vec<String>,
}

/// The last sweep of a resource.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SweepFigures {
    #[serde(rename = "type")]
    pub(super) kind: SyncKind,
    pub(super) state: SyncState,
    pub(super) seen: u64,
    pub(super) expected: Option<u64>,
    pub(super) pages: u64,
    pub(super) started_at: Option<String>,
    pub(super) lag_seconds: Option<i64>,
    #[serde(default)]
    pub(super) error: Option<String>,
}

/// Every accepted input, by what became of it.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct RecordsView {
    pub(super) accepted: u64,
    pub(super) applied: u64,
    pub(super) unchanged: u64,
    pub(super) superseded: u64,
    pub(super) ignored: u64,
    pub(super) skipped: u64,
    pub(super) held: u64,
    pub(super) dead: u64,
    pub(super) pending: u64,
}

/// What is brought to Brevo beside contacts, by what became of it. Each kind has some of these.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct SinkFigures {
    pub(super) synced: u64,
    pub(super) linked: u64,
    pub(super) sent: u64,
    pub(super) due: u64,
    pub(super) withheld: u64,
    pub(super) known: u64,
    pub(super) dead: u64,
    pub(super) unassigned: u64,
    pub(super) disabled: Option<String>,
}

impl SinkFigures {
    /// How many will be sent without anybody's doing.
    fn left(&self) -> u64 {
        if self.disabled.is_some() { 0 } else { self.due }
    }
}

/// A workspace whose token is known.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ConnectionFigures {
    pub(super) app_id: Option<String>,
    pub(super) workspace: Option<String>,
    pub(super) region: Option<String>,
    pub(super) origin: String,
    pub(super) connected_at: Option<String>,
    pub(super) in_force: bool,
}

/// The live rules.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RuleSetView {
    pub(super) version: Option<String>,
    pub(super) loaded_at: Option<String>,
    pub(super) pinned: Option<String>,
}

/// Rate limits of both services.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct LimitsView {
    pub(super) intercom: Option<LimitView>,
    pub(super) brevo: Vec<LimitView>,
}

/// One rate limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LimitView {
    pub(super) name: String,
    pub(super) limit: u32,
    pub(super) per_seconds: f64,
    pub(super) in_use: u32,
}

impl StatusView {
    /// How much is on its way to Brevo beside contacts. Nothing waits for what Brevo does not take at
    /// all.
    pub(super) fn left_to_send(&self) -> u64 {
        // Companies are work, which is counted as such.
        [&self.events, &self.links, &self.objects, &self.double_opt_ins]
            .map(SinkFigures::left)
            .iter()
            .sum()
    }

    /// Reads the figures from their JSON.
    pub(super) fn of(value: Value) -> Result<Self, Failure> {
        Ok(serde_json::from_value(value)?)
    }
}

/// The figures of a running engine, as it answers them.
pub(super) async fn of_service(api: &Api) -> Result<Value, Failure> {
    api.get("/api/v1/connectors/intercom/status").await
}

/// The figures of a store on which no service runs, in the same shape.
pub(super) async fn of_store(store: &dyn Store, config: &Intercom) -> Result<Value, Failure> {
    let now = SystemClock.now();
    let counts = store.counts(now).await?;
    let syncs = store.syncs(50).await?;
    let rules = store.last_rule_set().await?;
    let sweeps = sweeps_view(store, now).await?;
    let degraded = unread(&syncs, &sweeps, &config.sync);
    let status = Status {
        connected: newest_over(&syncs).is_some_and(|sync| sync.state == SyncState::Done),
        last_sync: last_complete(&syncs),
        contacts_synced: counts.contacts,
        conversations_synced: counts.conversations,
        companies_synced: counts.companies,
        events_synced: counts.custom_events,
        sweeps,
        records: counts.records,
        duplicates: counts.duplicates,
        foreign: counts.foreign,
        rederived: counts.rederived,
        resubscribed: counts.resubscribed,
        work: counts.work,
        managed: counts.managed,
        held_changes: counts.held_changes,
        dead_letters: counts.dead_letters,
        connections: connections_in(store, config).await?,
        rules: RulesView {
            version: rules.as_ref().map(|rules| rules.version.clone()),
            loaded_at: rules.as_ref().map(|rules| rules.at.to_string()),
            error: None,
            pinned: store.rules_pin().await?.map(|pin| pin.version),
        },
        rate_limits: RateLimits { intercom: None, brevo: Vec::new() },
        events: SinkView { counts: counts.events, disabled: None },
        companies: SinkView { counts: counts.sinks.companies, disabled: None },
        links: SinkView { counts: counts.sinks.links, disabled: None },
        objects: SinkView { counts: counts.sinks.objects, disabled: None },
        double_opt_ins: SinkView { counts: counts.sinks.double_opt_ins, disabled: None },
        values: VerificationView {
            counts: counts.values,
            attributes: store.parked().await?.into_iter().map(Into::into).collect(),
        },
        degraded,
    };
    Ok(serde_json::to_value(status)?)
}

/// What the newest sweeps could not read of what is to be read, a sentence each.
fn unread(
    newest_first: &[Sync],
    sweeps: &BTreeMap<Resource, SweepView>,
    configured: &Resources,
) -> Vec<String> {
    let of_resource = |(resource, sweep): (&Resource, &SweepView)| {
        let is_short = matches!(sweep.state, SyncState::Failed | SyncState::Incomplete);
        let how = if sweep.state == SyncState::Failed { "failed" } else { "is incomplete" };
        let error = sweep.resource.error.as_ref().filter(|_| is_short)?;
        Some(format!("the last sweep of {} {how}: {error}", resource.as_str()))
    };
    let wanted = sweeps.iter().filter(|(resource, _)| is_read(configured, **resource));
    let reasons: Vec<String> = wanted.filter_map(of_resource).collect();
    if !reasons.is_empty() {
        return reasons;
    }
    // Such as a token that was refused before anything was read.
    let failed = newest_over(newest_first).filter(|sync| sync.state == SyncState::Failed);
    let error = failed.and_then(|sync| sync.error.as_ref());
    error.map(|error| format!("the last sync failed: {error}")).into_iter().collect()
}

fn newest_over(newest_first: &[Sync]) -> Option<&Sync> {
    newest_first.iter().find(|sync| sync.state.is_over())
}

fn last_complete(syncs: &[Sync]) -> Option<String> {
    let is_complete = |sync: &&Sync| {
        sync.state == SyncState::Done && sync.resources.contains_key(&Resource::Contacts)
    };
    let ended = syncs.iter().filter(is_complete).filter_map(|sync| sync.finished_at).max();
    ended.map(|at| at.to_string())
}
