//! The engine's figures, as `status` shows them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::connection::ConnectionView;
use super::gate::Closed;
use super::sweep::{SweepView, sweeps_view};
use super::verification::VerificationView;
use super::{EngineError, Inner};
use crate::http::LimitStatus;
use crate::rules::RuleError;
use crate::store::{
    CompanyCounts, DoubleOptInCounts, EventCounts, LinkCounts, ObjectCounts, RecordCounts,
    Resource, SyncState,
};

/// Figures of an engine.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// True if Intercom answered the last time it was asked.
    pub connected: bool,
    /// When the newest complete sync ended (ISO 8601, UTC); null before the first.
    pub last_sync: Option<String>,
    /// Live contacts known.
    pub contacts_synced: u64,
    /// Conversations known.
    pub conversations_synced: u64,
    /// Live companies known.
    pub companies_synced: u64,
    /// Custom events known.
    pub events_synced: u64,
    /// The last sweep of each resource that was ever read.
    pub sweeps: BTreeMap<Resource, SweepView>,
    /// Every accepted input, by what became of it.
    pub records: RecordCounts,
    /// Repeated notifications.
    pub duplicates: u64,
    /// Notifications of other workspaces; they are among the ignored.
    pub foreign: u64,
    /// Derivations without an input of their own.
    pub rederived: u64,
    /// Opt-outs that were lifted because the person opted in again in Intercom.
    pub resubscribed: u64,
    /// Keys that are due or being worked on.
    pub work: u64,
    /// Brevo contacts that stand for an Intercom contact.
    pub managed: u64,
    /// Contacts of which something waits for approval.
    pub held_changes: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// The workspaces whose tokens are known, the one that is served first.
    pub connections: Vec<ConnectionView>,
    /// The live rules.
    pub rules: RulesView,
    /// How far the rate limits are used.
    pub rate_limits: RateLimits,
    /// Events that rules tracked.
    pub events: SinkView<EventCounts>,
    /// Companies in Brevo.
    pub companies: SinkView<CompanyCounts>,
    /// Links between contacts and companies.
    pub links: SinkView<LinkCounts>,
    /// Custom objects that rules asked for.
    pub objects: SinkView<ObjectCounts>,
    /// People who are asked to confirm an opt-in.
    pub double_opt_ins: SinkView<DoubleOptInCounts>,
    /// Values that were written, and whether Brevo took them.
    pub values: VerificationView,
    /// What does not work as it should; empty if all is well.
    pub degraded: Vec<String>,
}

/// What is brought to Brevo beside contacts, as `status` shows it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkView<T> {
    /// How many there are, by what became of them.
    #[serde(flatten)]
    pub counts: T,
    /// Why Brevo takes none of them at all; null if it does.
    pub disabled: Option<String>,
}

/// The live rules, as `status` shows them.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RulesView {
    /// The live version; null while there is none.
    pub version: Option<String>,
    /// When it went live (ISO 8601, UTC).
    pub loaded_at: Option<String>,
    /// Why the content of the folder is not live; null if it is, or if another version is pinned.
    pub error: Option<RuleError>,
    /// The version that stays live until the rules in the folder change; null if none is pinned.
    pub pinned: Option<String>,
}

/// Rate limits of both services.
#[derive(Debug, Clone, Serialize)]
pub struct RateLimits {
    /// Intercom's.
    pub intercom: Option<LimitStatus>,
    /// Brevo's buckets.
    pub brevo: Vec<LimitStatus>,
}

impl Inner {
    pub(crate) async fn status(&self) -> Result<Status, EngineError> {
        // By itself: a lock in the midst of what follows would be held to its end.
        let connections = self.known().views(&self.config.load().intercom);
        let now = self.clock.now();
        let counts = self.store.counts(now).await?;
        self.guard.note_waiting(counts.held_changes);
        let services = self.services.load_full();
        let syncs = self.store.syncs(50).await?;
        let complete = syncs.iter().filter(|sync| {
            sync.state == SyncState::Done && sync.resources.contains_key(&Resource::Contacts)
        });
        let last_sync = complete.filter_map(|sync| sync.finished_at).max();
        Ok(Status {
            connected: self.is_connected(),
            last_sync: last_sync.map(|at| at.to_string()),
            contacts_synced: counts.contacts,
            conversations_synced: counts.conversations,
            companies_synced: counts.companies,
            events_synced: counts.custom_events,
            sweeps: sweeps_view(self.store.as_ref(), now).await?,
            records: counts.records,
            duplicates: counts.duplicates,
            foreign: counts.foreign,
            rederived: counts.rederived,
            resubscribed: counts.resubscribed,
            work: counts.work,
            managed: counts.managed,
            held_changes: counts.held_changes,
            dead_letters: counts.dead_letters,
            connections,
            rules: self.rules_view(),
            rate_limits: RateLimits {
                intercom: services
                    .intercom
                    .as_ref()
                    .map(crate::intercom::IntercomClient::limit_status),
                brevo: services.brevo.limit_status(),
            },
            events: SinkView { counts: counts.events, disabled: self.events.disabled() },
            companies: SinkView {
                counts: counts.sinks.companies,
                disabled: self.companies.disabled(),
            },
            links: SinkView { counts: counts.sinks.links, disabled: self.companies.disabled() },
            objects: SinkView { counts: counts.sinks.objects, disabled: self.objects.disabled() },
            double_opt_ins: SinkView {
                counts: counts.sinks.double_opt_ins,
                disabled: self.double_opt_ins.disabled(),
            },
            values: VerificationView { counts: counts.values, attributes: self.parked() },
            degraded: self.degraded(),
        })
    }

    pub(crate) fn rules_view(&self) -> RulesView {
        let status = self.rules.status();
        RulesView {
            version: status.version.map(|version| version.to_string()),
            loaded_at: status.loaded_at.map(|at| at.to_string()),
            error: status.error,
            pinned: status.pinned.map(|pin| pin.version),
        }
    }

    /// What does not work as it should, a sentence each.
    pub(crate) fn degraded(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        match self.gate.reason() {
            Some(Closed::KeyRefused(reason)) => {
                reasons.push(format!("writing to brevo is paused: {reason}"))
            }
            Some(Closed::ServiceDown(reason)) => {
                reasons.push(format!("brevo cannot be written to: {reason}"))
            }
            None => {}
        }
        reasons.extend(self.events.problem());
        reasons.extend(self.parked_problem());
        reasons.extend(self.companies.problem());
        reasons.extend(self.objects.problem());
        reasons.extend(self.double_opt_ins.problem());
        let rules = self.rules.status();
        match (&rules.version, &rules.error) {
            (None, Some(error)) => reasons.push(format!(
                "no rule set is live, and derivation waits for one that loads: {error}"
            )),
            (None, None) => {
                reasons.push("no rule set is live: derivation waits for one that loads".to_owned())
            }
            (Some(_), Some(error)) => reasons.push(format!("new rules were refused: {error}")),
            (Some(_), None) => {}
        }
        reasons.extend(self.is_unconnected());
        reasons.extend(self.guard.problem());
        reasons.extend(self.intercom_problem());
        reasons.extend(self.watch.problems());
        if let Some(reason) = self.refused_configuration().as_ref() {
            reasons
                .push(format!("the configuration was refused, the previous one stays: {reason}"));
        }
        reasons.extend(self.store_problem());
        reasons
    }
}
