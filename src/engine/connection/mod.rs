//! Which workspace of Intercom this engine serves, and with which token.
//!
//! A store belongs to one workspace: the first whose token was good. Tokens of others are kept, but
//! not used, for the contacts of two workspaces in one store would look deleted to each other's
//! sweeps.

mod access;
mod connect;

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use access::Known;
pub use access::{Access, ConnectionView, Origin, access_in, connections_in};
pub use connect::{ConnectError, Connected, NewToken, connect_by_code, oauth_app};
use tokio::time::timeout;

use super::{Engine, EngineError, Ground, Inner, Services};
use crate::config::Config;
use crate::http::{Backoff, Lane, random_fraction};
use crate::intercom::OAuthApp;

/// The fact that names the workspace whose records are in the store.
const WORKSPACE: &str = "intercom_app_id";
/// How long Intercom may take to say whose a token is.
const ASK: Duration = Duration::from_secs(20);
/// How often an engine looks whether its workspace is known.
const LOOK: Duration = Duration::from_secs(30);

impl Engine {
    /// Connects a workspace: once Intercom knows the token, it is kept and in force.
    ///
    /// # Errors
    /// See [`ConnectError`]; nothing was replaced then.
    pub async fn connect(&self, new: NewToken) -> Result<Connected, ConnectError> {
        let inner = &self.inner;
        let config = inner.config.load_full();
        let connected = connect::connect(&*inner.store, &config, &*inner.clock, new).await?;
        self.take_up_connection().await?;
        Ok(connected)
    }

    /// Exchanges a code for a token and connects the workspace.
    ///
    /// # Errors
    /// See [`ConnectError`]; nothing was replaced then.
    pub async fn connect_by_code(&self, code: &str) -> Result<Connected, ConnectError> {
        let inner = &self.inner;
        let config = inner.config.load_full();
        let connected = connect_by_code(&*inner.store, &config, &*inner.clock, code).await?;
        self.take_up_connection().await?;
        Ok(connected)
    }

    /// The app that OAuth is done with.
    ///
    /// # Errors
    /// [`ConnectError::NoApp`], [`ConnectError::Disabled`].
    pub fn oauth_app(&self) -> Result<OAuthApp, ConnectError> {
        let config = self.inner.config.load();
        if !config.intercom.enabled {
            return Err(ConnectError::Disabled);
        }
        oauth_app(&config.intercom)
    }

    /// True if a workspace was connected, so that the configuration needs no token.
    pub fn is_connected_by_itself(&self) -> bool {
        self.inner.known().connection().is_some()
    }

    /// The workspaces whose tokens are known, the one that is served first.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.inner.known().views(&self.inner.config.load().intercom)
    }

    async fn take_up_connection(&self) -> Result<(), EngineError> {
        let inner = &self.inner;
        let config = inner.config.load_full();
        let mut known = Known::load(&*inner.store, &config.intercom).await?;
        let misplaced = inner.known().misplaced.clone();
        known.misplaced = misplaced;
        tracing::info!(app_id = known.served.as_deref(), "a workspace was connected");
        *inner.known() = known;
        inner.renew_services(&config)?;
        inner.note_answer();
        Ok(())
    }
}

impl Inner {
    pub(in crate::engine) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds the clients anew, from a configuration and what is known of connections.
    pub(in crate::engine) fn renew_services(&self, config: &Config) -> Result<(), EngineError> {
        // Held to the end, so that of two renewals the later one stays.
        let known = self.known();
        let access = known.access(&config.intercom);
        let former = self.services.load_full();
        let Self { store, clock, stop, budget, timeouts, .. } = self;
        let ground = Ground { store, clock, stop, budget, timeouts: *timeouts };
        let services = Services::new(config, access.as_ref(), ground, Some(&former))?;
        self.services.store(Arc::new(services));
        self.token_news.notify_one();
        Ok(())
    }

    /// Remembers that Intercom answers. What changed while it did not is read soon.
    fn note_answer(&self) {
        self.connected.store(true, Ordering::Relaxed);
        if self.problem().take().is_some() {
            self.watch.note_refusal();
        }
        self.watch.note_connection();
    }

    /// True if a notification is another workspace's. While it is not known whose the own one is,
    /// none is.
    pub(in crate::engine) fn is_foreign(&self, app_id: Option<&str>) -> bool {
        match (app_id, &self.known().served) {
            (Some(theirs), Some(own)) => theirs != own,
            _ => false,
        }
    }

    /// What is to be said where Intercom is to be read and cannot, for want of a token.
    pub(in crate::engine) fn is_unconnected(&self) -> Option<String> {
        let is_wanted = self.config.load().intercom.enabled;
        let is_unconnected = is_wanted && self.services.load().intercom.is_none();
        let misplaced = || self.known().misplaced.as_ref().map(|(_, reason)| reason.clone());
        is_unconnected.then(|| {
            misplaced().unwrap_or_else(|| {
                "intercom is not connected: run `tajo connectors connect intercom`, or set the \
                 variable `INTERCOM_ACCESS_TOKEN`"
                    .to_owned()
            })
        })
    }

    /// Finds out whose token is in force, unless that is known.
    ///
    /// # Errors
    /// [`EngineError::Unconfigured`] if it is another workspace's than the store's.
    pub(in crate::engine) async fn identify(&self) -> Result<(), EngineError> {
        let services = self.services.load_full();
        let Some(client) = &services.intercom else { return Ok(()) };
        if services.is_identified.load(Ordering::Relaxed) {
            return Ok(());
        }
        let me = client.me(Lane::Live).await?;
        let served = self.store.fact(WORKSPACE).await?;
        match served {
            Some(own) if own != me.app_id => return self.misplace(&me.app_id, &own),
            Some(_) => {}
            None => self.store.put_fact(WORKSPACE, me.app_id.clone()).await?,
        }
        self.known().served = Some(me.app_id);
        services.is_identified.store(true, Ordering::Relaxed);
        self.note_answer();
        Ok(())
    }

    /// Uses the configuration's token no longer: what another workspace does not know would look
    /// deleted.
    fn misplace(&self, theirs: &str, own: &str) -> Result<(), EngineError> {
        let reason = format!(
            "the access token is of the workspace `{theirs}`, and the store holds the records of \
             `{own}`: use a token of `{own}`, or another store (`store.url`)"
        );
        let config = self.config.load_full();
        if let Some(token) = &config.intercom.access_token {
            self.known().misplaced = Some((access::digest(token), reason.clone()));
        }
        self.connected.store(false, Ordering::Relaxed);
        self.renew_services(&config)?;
        Err(EngineError::Unconfigured(reason))
    }

    /// Asks whose token is in force before a sync, unless that is known. Only a token of another
    /// workspace is an obstacle: what else is wrong the sync meets by itself.
    pub(in crate::engine) async fn check_workspace(&self) -> Result<(), EngineError> {
        match timeout(ASK / 4, self.identify()).await {
            Ok(Err(error @ EngineError::Unconfigured(_))) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Finds out whose token is in force, at the start and after each change.
pub(in crate::engine) async fn identify(engine: Arc<Inner>) {
    let mut attempt = 0;
    loop {
        let found = engine.identify().await;
        if let Err(error) = &found
            && !engine.is_connected()
        {
            engine.note(error);
        }
        let wait = match found {
            Ok(()) => {
                attempt = 0;
                LOOK
            }
            Err(_) => {
                attempt += 1;
                Backoff::default().delay(attempt, None, random_fraction()).min(LOOK * 2)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = engine.token_news.notified() => attempt = 0,
            () = engine.stop.cancelled() => return,
        }
    }
}
