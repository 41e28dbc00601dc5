//! The two services that an engine works with, built from a configuration.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::EngineError;
use super::account::Account;
use super::budget::Budget;
use super::companies::CompanyAccount;
use super::connection::Access;
use super::hydrate::Hydrator;
use super::importer::Importer;
use super::read_back::ReadBack;
use super::timeouts::Timeouts;
use crate::brevo::{BrevoClient, BrevoSettings, BucketRates, ChargeBook};
use crate::config::{Config, OnBrevoDelete, RateTier};
use crate::http::Lane;
use crate::intercom::{IntercomClient, IntercomSettings};
use crate::model::Clock;
use crate::rules::{Limits, RuleEnvironment};
use crate::store::{AfterLoss, Store};

/// The first wait before a call is repeated.
const BACKOFF: Duration = Duration::from_secs(1);
/// The share of a budget that sweeps and new rules leave to the live lane.
const LIVE_RESERVE: f64 = 0.2;

/// Clients, and what is kept of each service's side.
#[derive(Debug)]
pub(crate) struct Services {
    /// None: the connector is not enabled, or there is no token.
    pub(crate) intercom: Option<IntercomClient>,
    /// It is known that the token is of the workspace that the store belongs to.
    pub(crate) is_identified: AtomicBool,
    pub(crate) hydrator: Option<Hydrator>,
    pub(crate) brevo: BrevoClient,
    pub(crate) account: Account,
    pub(crate) companies: CompanyAccount,
    pub(crate) read_back: ReadBack,
    pub(crate) importer: Importer,
    pub(crate) sync_list: String,
    contacts_per_second: f64,
}

/// What services stand on, whatever the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) store: &'a Arc<dyn Store>,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) stop: &'a CancellationToken,
    pub(crate) budget: &'a Arc<Budget>,
    pub(crate) timeouts: Timeouts,
}

impl Services {
    /// The services of a configuration. What `former` ones have used of the rate limits counts on.
    pub(crate) fn new(
        config: &Config,
        access: Option<&Access>,
        ground: Ground<'_>,
        former: Option<&Self>,
    ) -> Result<Self, EngineError> {
        let Ground { store, clock, stop, budget, timeouts } = ground;
        let missing = |what: &str| EngineError::Unconfigured(format!("`{what}` is not set"));
        let intercom = &config.intercom;
        let intercom = match access.filter(|_| intercom.enabled) {
            Some(Access { token, api_version, .. }) => {
                let settings = IntercomSettings {
                    api_version: api_version.clone(),
                    requests_per_window: intercom.plan.requests_per_window(),
                    timeout: timeouts.intercom,
                    ..IntercomSettings::new(intercom.base_url.clone(), token.clone())
                };
                Some(IntercomClient::new(settings, Arc::clone(clock))?)
            }
            None => None,
        };
        let api_key =
            config.brevo.api_key.clone().ok_or_else(|| missing("connectors.brevo.api_key"))?;
        let (rates, contacts_per_second) = match config.brevo.rate_tier {
            RateTier::General => (BucketRates::general(), 10.0),
            RateTier::Advanced => (BucketRates::advanced(), 20.0),
            RateTier::Extended => (BucketRates::extended(), 60.0),
        };
        let settings = BrevoSettings {
            base_url: config.brevo.base_url.clone(),
            api_key,
            rates,
            backoff_base: BACKOFF,
            timeout: timeouts.brevo,
            book: Some(Arc::clone(budget) as Arc<dyn ChargeBook>),
        };
        let brevo = match former {
            Some(former) => former.brevo.renewed(settings)?,
            None => BrevoClient::new(settings, Arc::clone(clock))?,
        };
        let importer = |read_back| Importer {
            read_back,
            callbacks: former
                .map(|former| Arc::clone(&former.importer.callbacks))
                .unwrap_or_default(),
            public_url: config.server.public_url.clone(),
            stop: stop.clone(),
        };
        let account = Account::new(brevo.clone());
        let read_back = ReadBack {
            account: account.clone(),
            brevo: brevo.clone(),
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            newest: Arc::default(),
            after_loss: match config.brevo.on_brevo_delete {
                OnBrevoDelete::Forget => AfterLoss::Wait,
                OnBrevoDelete::Recreate => AfterLoss::MakeAgain,
            },
        };
        Ok(Self {
            hydrator: intercom
                .clone()
                .map(|client| Hydrator::new(client, Arc::clone(store), Arc::clone(clock))),
            intercom,
            is_identified: AtomicBool::new(false),
            account,
            importer: importer(read_back.clone()),
            companies: CompanyAccount::new(brevo.clone()),
            read_back,
            brevo,
            sync_list: config.brevo.sync_list.clone(),
            contacts_per_second,
        })
    }

    /// Calls to `/contacts` that a lane may make in a second.
    pub(crate) fn contacts_per_second(&self, lane: Lane) -> f64 {
        match lane {
            Lane::Bulk => self.contacts_per_second * (1.0 - LIVE_RESERVE),
            Lane::Urgent | Lane::Live => self.contacts_per_second,
        }
    }
}

/// What scripts see of a configuration.
pub fn rule_environment(config: &Config) -> RuleEnvironment {
    let limits = &config.scripts.limits;
    RuleEnvironment {
        lists: config.intercom.lists.clone(),
        settings: config.scripts.settings.clone(),
        field_mapping: config.intercom.field_mapping.clone(),
        phone_region: config.intercom.phone_region.clone(),
        limits: Limits {
            operations: limits.operations,
            time: limits.time,
            memory_bytes: limits.memory_bytes,
            call_depth: limits.call_depth,
            string_bytes: limits.string_bytes,
            array_items: limits.array_items,
            map_items: limits.map_items,
        },
    }
}
