//! Which workspace of Intercom this engine serves, and with which token.
//!
//! A store belongs to one workspace: the first whose token was good. Tokens of others are kept, but
//! not used, for the contacts of two workspaces in one store would look deleted to each other's
//! sweeps. Of two tokens of one workspace the one counts that somebody set last: connecting goes
//! before the token that the configuration had then, another one in the configuration goes before it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::time::timeout;

use super::{Engine, EngineError, Inner, Services};
use crate::config::{Config, Intercom};
use crate::http::{Backoff, Lane, random_fraction};
use crate::intercom::{IntercomClient, IntercomError, IntercomSettings, Me, OAuthApp, OAuthError};
use crate::model::{Clock, Digest, Timestamp};
use crate::store::{Connection, Store, StoreError, Way};

/// The fact that names the workspace whose records are in the store.
const WORKSPACE: &str = "intercom_app_id";
/// How long Intercom may take to say whose a token is.
const ASK: Duration = Duration::from_secs(20);
/// The first wait before it is asked again: somebody is looking on.
const BACKOFF: Duration = Duration::from_millis(200);
/// How often an engine looks whether its workspace is known.
const LOOK: Duration = Duration::from_secs(30);

/// A token of Intercom, and what it is to be used with.
#[derive(Debug, Clone)]
pub struct Access {
    /// The token.
    pub token: SecretString,
    /// What `Intercom-Version` says.
    pub api_version: String,
    /// Where the token comes from.
    pub origin: Origin,
}

/// Where a token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `access_token` of the configuration.
    Configuration,
    /// Somebody allowed it in Intercom.
    OAuth,
    /// Somebody handed it in.
    Token,
}

/// The workspaces that were connected, and which of them the store belongs to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    connections: Vec<Connection>,
    pub(crate) served: Option<String>,
    /// The configuration's token, where it is another workspace's, and what is to be said of it.
    misplaced: Option<(Digest, String)>,
}

/// A token on its way in.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The token.
    pub token: SecretString,
    /// The version to ask for; none: the configuration's.
    pub api_version: Option<String>,
    /// How it came.
    pub way: Way,
}

/// What connecting came to.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    /// Always true: Intercom knows the token.
    pub connected: bool,
    /// The workspace.
    pub app_id: String,
    /// Its name.
    pub workspace: Option<String>,
    /// Where it is hosted.
    pub region: Option<String>,
    /// The version of the API that is asked for.
    pub api_version: String,
    /// When it was connected (ISO 8601, UTC).
    pub connected_at: String,
    /// True if this token is the one that is used now.
    pub in_force: bool,
    /// What its owner should know.
    pub notes: Vec<String>,
}

/// A workspace as it is shown; never its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionView {
    /// The workspace; null while Intercom has not said whose the token is.
    pub app_id: Option<String>,
    /// Its name, if it was connected.
    pub workspace: Option<String>,
    /// Where it is hosted, if it was connected.
    pub region: Option<String>,
    /// The version of the API that is asked for.
    pub api_version: Option<String>,
    /// Where its token comes from.
    pub origin: Origin,
    /// When it was connected (ISO 8601, UTC).
    pub connected_at: Option<String>,
    /// True if this token is the one that is used now.
    pub in_force: bool,
}

/// Why a workspace was not connected. Nothing was replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The connector is off.
    #[error("the connector is not enabled: set `connectors.intercom.enabled`")]
    Disabled,
    /// There is no app to do OAuth with.
    #[error(
        "OAuth is not set up: set `connectors.intercom.client_id` and `client_secret` (the variables INTERCOM_CLIENT_ID and INTERCOM_CLIENT_SECRET) to those of your app in the Developer Hub"
    )]
    NoApp,
    /// The exchange of the code failed.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// Intercom does not accept the token, or not with this version.
    #[error(transparent)]
    Refused(IntercomError),
    /// Intercom could not be asked.
    #[error("intercom could not be asked whose the token is: {0}")]
    Unreachable(String),
    /// What was found out could not be kept.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<StoreError> for ConnectError {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl Access {
    /// The token of a configuration.
    pub fn configured(config: &Intercom) -> Option<Self> {
        Some(Self {
            token: config.access_token.clone()?,
            api_version: config.api_version.clone(),
            origin: Origin::Configuration,
        })
    }
}

impl Known {
    /// Reads what the store knows. Tokens that do not open are no obstacle where the configuration
    /// has one.
    pub(crate) async fn load(store: &dyn Store, config: &Intercom) -> Result<Self, StoreError> {
        let connections = match store.connections().await {
            Err(StoreError::Sealed { .. }) if config.access_token.is_some() => Vec::new(),
            connections => connections?,
        };
        Ok(Self { connections, served: store.fact(WORKSPACE).await?, misplaced: None })
    }

    /// The token to use, if there is one.
    pub(crate) fn access(&self, config: &Intercom) -> Option<Access> {
        let connection = self.connection();
        let goes_before = |connection: &&Connection| match &config.access_token {
            Some(token) => connection.instead_of == Some(digest(token)),
            None => true,
        };
        if let Some(connection) = connection.filter(goes_before) {
            let version = connection.api_version.as_ref().unwrap_or(&config.api_version);
            return Some(Access {
                token: connection.token.clone(),
                api_version: version.clone(),
                origin: origin(connection.way),
            });
        }
        Access::configured(config).filter(|access| !self.is_misplaced(&access.token))
    }

    fn is_misplaced(&self, token: &SecretString) -> bool {
        self.misplaced.as_ref().is_some_and(|(misplaced, _)| *misplaced == digest(token))
    }

    /// The newest connection of the workspace that is served.
    fn connection(&self) -> Option<&Connection> {
        let is_served = |app_id: &str| self.served.as_deref().is_none_or(|own| own == app_id);
        self.connections.iter().find(|connection| is_served(&connection.app_id))
    }

    /// All workspaces as they are shown, the one that is served first.
    pub(crate) fn views(&self, config: &Intercom) -> Vec<ConnectionView> {
        let access = self.access(config);
        let in_force = access.as_ref().map(|access| access.token.expose_secret());
        let mut views: Vec<_> = self
            .connections
            .iter()
            .map(|connection| ConnectionView {
                app_id: Some(connection.app_id.clone()),
                workspace: connection.name.clone(),
                region: connection.region.clone(),
                api_version: connection.api_version.clone(),
                origin: origin(connection.way),
                connected_at: Some(connection.connected_at.to_string()),
                in_force: in_force == Some(connection.token.expose_secret()),
            })
            .collect();
        if let Some(token) = &config.access_token {
            views.push(ConnectionView {
                app_id: self.served.clone(),
                workspace: None,
                region: None,
                api_version: Some(config.api_version.clone()),
                origin: Origin::Configuration,
                connected_at: None,
                in_force: in_force == Some(token.expose_secret())
                    && access.is_some_and(|access| access.origin == Origin::Configuration),
            });
        }
        views.sort_by_key(|view| !view.in_force);
        views
    }
}

/// The token that commands use which call Intercom by themselves.
///
/// # Errors
/// A store that cannot be read, or a token that does not open.
pub async fn access_in(store: &dyn Store, config: &Intercom) -> Result<Option<Access>, StoreError> {
    Ok(Known::load(store, config).await?.access(config))
}

/// The workspaces whose tokens are known, as they are shown where no engine runs. A look needs no
/// token, so that one that does not open hides the workspaces and is no failure.
///
/// # Errors
/// A store that cannot be read.
pub async fn connections_in(
    store: &dyn Store,
    config: &Intercom,
) -> Result<Vec<ConnectionView>, StoreError> {
    match Known::load(store, config).await {
        Err(StoreError::Sealed { .. }) => Ok(Known::default().views(config)),
        known => Ok(known?.views(config)),
    }
}

/// The app of a configuration.
///
/// # Errors
/// [`ConnectError::NoApp`] if the configuration names none.
pub fn oauth_app(config: &Intercom) -> Result<OAuthApp, ConnectError> {
    match (&config.client_id, &config.client_secret) {
        (Some(id), Some(secret)) => Ok(OAuthApp {
            client_id: id.clone(),
            client_secret: secret.clone(),
            base_url: config.base_url.clone(),
        }),
        _ => Err(ConnectError::NoApp),
    }
}

/// Exchanges a code for a token and connects the workspace, in a store that this process has locked.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect_by_code(
    store: &dyn Store,
    config: &Config,
    clock: &dyn Clock,
    code: &str,
) -> Result<Connected, ConnectError> {
    let token = oauth_app(&config.intercom)?.exchange(code).await?;
    connect(store, config, clock, NewToken { token, api_version: None, way: Way::OAuth }).await
}

/// Keeps a token once Intercom has said whose it is.
///
/// # Errors
/// See [`ConnectError`].
async fn connect(
    store: &dyn Store,
    config: &Config,
    clock: &dyn Clock,
    new: NewToken,
) -> Result<Connected, ConnectError> {
    let intercom = &config.intercom;
    if !intercom.enabled {
        return Err(ConnectError::Disabled);
    }
    let version = new.api_version.as_ref().unwrap_or(&intercom.api_version);
    let me = ask(intercom, &new.token, version).await?;
    let known = Known::load(store, intercom).await?;
    let served = match known.served {
        Some(app_id) => app_id,
        None => {
            let app_id = first_workspace(intercom, &me).await;
            store.put_fact(WORKSPACE, app_id.clone()).await?;
            app_id
        }
    };
    let connection = Connection {
        app_id: me.app_id.clone(),
        name: me.app_name.clone(),
        region: me.region.clone(),
        api_version: new.api_version.clone(),
        way: new.way,
        connected_at: clock.now(),
        token: new.token,
        instead_of: intercom.access_token.as_ref().map(digest),
    };
    let connected_at = connection.connected_at;
    store.put_connection(connection).await?;
    let in_force = served == me.app_id;
    Ok(connected(intercom, me, version, connected_at, in_force.then_some(()).ok_or(served)))
}

fn connected(
    config: &Intercom,
    me: Me,
    version: &str,
    at: Timestamp,
    served: Result<(), String>,
) -> Connected {
    let mut notes = Vec::new();
    if let Err(other) = &served {
        notes.push(format!(
            "the token is kept, but this engine serves the workspace `{other}`, whose records its \
             store holds: give `{}` an engine with a store of its own (`store.url`)",
            me.app_id
        ));
    } else if config.access_token.is_some() {
        notes.push(
            "this token is used instead of the configuration's `access_token`, until that changes"
                .to_owned(),
        );
    }
    let is_regional = config.base_url.as_str().trim_end_matches('/') == config.region.base_url();
    if let Some(theirs) = me.region.as_deref().filter(|_| is_regional)
        && !theirs.eq_ignore_ascii_case(config.region.as_str())
    {
        notes.push(format!(
            "the workspace is hosted in {theirs}: set `connectors.intercom.region: {}`",
            theirs.to_lowercase()
        ));
    }
    Connected {
        connected: true,
        app_id: me.app_id,
        workspace: me.app_name,
        region: me.region,
        api_version: version.to_owned(),
        connected_at: at.to_string(),
        in_force: served.is_ok(),
        notes,
    }
}

/// Whose records the store is to hold: those of the configuration's token, if it is good, for it may
/// have been used already; else of the one that is being connected.
async fn first_workspace(config: &Intercom, me: &Me) -> String {
    let configured = match &config.access_token {
        Some(token) => ask(config, token, &config.api_version).await.ok(),
        None => None,
    };
    configured.map_or_else(|| me.app_id.clone(), |me| me.app_id)
}

/// Asks Intercom whose a token is.
async fn ask(config: &Intercom, token: &SecretString, version: &str) -> Result<Me, ConnectError> {
    let settings = IntercomSettings {
        api_version: version.to_owned(),
        timeout: ASK / 2,
        backoff_base: BACKOFF,
        ..IntercomSettings::new(config.base_url.clone(), token.clone())
    };
    let clock = std::sync::Arc::new(crate::model::SystemClock);
    let client = IntercomClient::new(settings, clock).map_err(ConnectError::Refused)?;
    match timeout(ASK, client.me(Lane::Urgent)).await {
        Ok(Ok(me)) => Ok(me),
        Ok(Err(error)) if error.is_refused_access() => Err(ConnectError::Refused(error)),
        Ok(Err(error @ (IntercomError::Invalid { .. } | IntercomError::Settings { .. }))) => {
            Err(ConnectError::Refused(error))
        }
        Ok(Err(error)) => Err(ConnectError::Unreachable(error.to_string())),
        Err(_) => Err(ConnectError::Unreachable(format!("no answer in {} s", ASK.as_secs()))),
    }
}

fn digest(token: &SecretString) -> Digest {
    Digest::of_bytes(token.expose_secret().as_bytes())
}

fn origin(way: Way) -> Origin {
    match way {
        Way::OAuth => Origin::OAuth,
        Way::Token => Origin::Token,
    }
}

impl Engine {
    /// Connects a workspace: once Intercom knows the token, it is kept and in force.
    ///
    /// # Errors
    /// See [`ConnectError`]; nothing was replaced then.
    pub async fn connect(&self, new: NewToken) -> Result<Connected, ConnectError> {
        let inner = &self.inner;
        let config = inner.config.load_full();
        let connected = connect(&*inner.store, &config, &*inner.clock, new).await?;
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
        let known = Known::load(&*inner.store, &config.intercom).await?;
        let misplaced = inner.known().misplaced.clone();
        let known = Known { misplaced, ..known };
        tracing::info!(app_id = known.served.as_deref(), "a workspace was connected");
        *inner.known() = known;
        inner.renew_services(&config)?;
        inner.note_answer();
        Ok(())
    }
}

impl Inner {
    pub(super) fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Builds the clients anew, from a configuration and what is known of connections.
    pub(super) fn renew_services(&self, config: &Config) -> Result<(), EngineError> {
        // Held to the end, so that of two renewals the later one stays.
        let known = self.known();
        let access = known.access(&config.intercom);
        let former = self.services.load_full();
        let Self { store, clock, stop, budget, .. } = self;
        let services =
            Services::new(config, access.as_ref(), store, clock, stop, budget, Some(&former))?;
        self.services.store(std::sync::Arc::new(services));
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
    pub(super) fn is_foreign(&self, app_id: Option<&str>) -> bool {
        match (app_id, &self.known().served) {
            (Some(theirs), Some(own)) => theirs != own,
            _ => false,
        }
    }

    /// What is to be said where Intercom is to be read and cannot, for want of a token.
    pub(super) fn is_unconnected(&self) -> Option<String> {
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
    pub(super) async fn identify(&self) -> Result<(), EngineError> {
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
            self.known().misplaced = Some((digest(token), reason.clone()));
        }
        self.connected.store(false, Ordering::Relaxed);
        self.renew_services(&config)?;
        Err(EngineError::Unconfigured(reason))
    }

    /// Asks whose token is in force before a sync, unless that is known. Only a token of another
    /// workspace is an obstacle: what else is wrong the sync meets by itself.
    pub(super) async fn check_workspace(&self) -> Result<(), EngineError> {
        match timeout(ASK / 4, self.identify()).await {
            Ok(Err(error @ EngineError::Unconfigured(_))) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Finds out whose token is in force, at the start and after each change.
pub(super) async fn identify(engine: std::sync::Arc<Inner>) {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(token: &str) -> Intercom {
        let yaml = format!("connectors: {{ intercom: {{ access_token: \"{token}\" }} }}\n");
        Config::parse(&yaml, Path::new("config/tajo.yaml"), &|_| None).unwrap().intercom
    }

    fn connection(app_id: &str, token: &str, instead_of: Option<&str>) -> Connection {
        Connection {
            app_id: app_id.to_owned(),
            name: None,
            region: None,
            api_version: Some("2.14".to_owned()),
            way: Way::OAuth,
            connected_at: Timestamp::from_seconds(1),
            token: SecretString::from(token),
            instead_of: instead_of.map(|token| digest(&SecretString::from(token))),
        }
    }

    #[test]
    fn of_two_tokens_the_one_counts_that_was_set_last() {
        fn case(configured: &str, known: &[Connection], expected: Option<(&str, Origin)>) {
            let served = Some("app1".to_owned());
            let known = Known { connections: known.to_vec(), served, misplaced: None };
            let found = known.access(&config(configured));
            let found = found.as_ref().map(|a| (a.token.expose_secret(), a.origin));
            assert_eq!(found, expected, "{configured:?} {known:?}");
        }
        let (own, oauth) = (Origin::Configuration, Origin::OAuth);
        case("", &[], None);
        case("a", &[], Some(("a", own)));
        case("", &[connection("app1", "b", None)], Some(("b", oauth)));
        case("a", &[connection("app1", "b", Some("a"))], Some(("b", oauth)));
        case("c", &[connection("app1", "b", Some("a"))], Some(("c", own)));
        case("a", &[connection("app1", "b", None)], Some(("a", own)));
        case("", &[connection("app2", "b", None)], None);
        case("a", &[connection("app2", "b", Some("a"))], Some(("a", own)));
        let both = [connection("app2", "b", None), connection("app1", "c", None)];
        case("", &both, Some(("c", oauth)));
    }

    #[test]
    fn a_token_of_another_workspace_is_used_as_little_as_none() {
        let misplaced = Some((digest(&SecretString::from("a")), "not ours".to_owned()));
        let known = Known { misplaced, ..Known::default() };
        assert!(known.access(&config("a")).is_none());
        assert!(known.access(&config("b")).is_some());
    }

    #[test]
    fn a_connection_brings_its_version_along() {
        let connections = vec![connection("app1", "b", None)];
        let known = Known { connections, ..Known::default() };
        assert_eq!(known.access(&config("")).unwrap().api_version, "2.14");
        assert_eq!(known.access(&config("a")).unwrap().api_version, "2.11");
        let text = format!("{known:?} {:?}", known.access(&config("")));
        assert!(!text.contains("\"b\""), "{text}");
    }
}
