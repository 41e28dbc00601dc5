//! Connecting a workspace: its token is kept once Intercom has said whose it is.

use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use tokio::time::timeout;

use super::access::{Known, digest};
use super::{ASK, WORKSPACE};
use crate::config::{Config, Intercom};
use crate::engine::EngineError;
use crate::http::Lane;
use crate::intercom::{IntercomClient, IntercomError, IntercomSettings, Me, OAuthApp, OAuthError};
use crate::model::{Clock, Timestamp};
use crate::store::{Connection, Store, StoreError, Way};

/// The first wait before Intercom is asked again: somebody is looking on.
const BACKOFF: Duration = Duration::from_millis(200);

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
pub(super) async fn connect(
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
