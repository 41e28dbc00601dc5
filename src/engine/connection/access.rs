//! The token that is in force. Of two tokens of one workspace the one counts that somebody set last:
//! connecting goes before the token that the configuration had then, another one in the configuration
//! goes before it.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::WORKSPACE;
use crate::config::Intercom;
use crate::model::Digest;
use crate::store::{Connection, Store, StoreError, Way};

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
    pub(super) served: Option<String>,
    /// The configuration's token, where it is another workspace's, and what is to be said of it.
    pub(super) misplaced: Option<(Digest, String)>,
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
    pub(super) fn connection(&self) -> Option<&Connection> {
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

pub(super) fn digest(token: &SecretString) -> Digest {
    Digest::of_bytes(token.expose_secret().as_bytes())
}

fn origin(way: Way) -> Origin {
    match way {
        Way::OAuth => Origin::OAuth,
        Way::Token => Origin::Token,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::model::Timestamp;

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
