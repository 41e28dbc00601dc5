//! What a configuration file stands for on this machine: a store, its key, the API's token.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::api::Api;
use super::failure::Failure;
use crate::config::{Config, StoreUrl};
use crate::engine::{Access, EngineLock, access_in, load_or_make_secret};
use crate::store::{AddressKey, SqliteStore};

/// The variable that holds the key of the store, where no file shall.
const SECRET_KEY: &str = "TAJO_SECRET_KEY";
/// Where that key is kept otherwise, beside the configuration.
const KEY_FILE: &str = "tajo.key";
/// Where a token of the API is kept that was made here, beside the configuration.
const TOKEN_FILE: &str = "admin.token";

/// A configuration, and where what belongs to it lies.
#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) config: Config,
    store: PathBuf,
}

/// Who runs on the store.
#[derive(Debug)]
pub(super) enum Running {
    /// `tajo serve`, which answers here.
    Service { pid: u32, api: Api },
    /// A command that ends by itself.
    Command { pid: u32 },
    /// Nobody.
    Nobody,
}

impl Deployment {
    /// Loads a configuration. The variables that it names must be set.
    pub(super) fn load(file: &Path) -> Result<Self, Failure> {
        Self::of(Config::load(file, &variable)?)
    }

    /// Loads a configuration for a command that calls no service, and so needs no secret: a
    /// variable that is not set is empty.
    pub(super) fn load_without_secrets(file: &Path) -> Result<Self, Failure> {
        let lenient = |name: &str| Some(variable(name).unwrap_or_default());
        match Config::load(file, &variable) {
            Ok(config) => Self::of(config),
            Err(errors) => match Config::load(file, &lenient) {
                Ok(config) => Self::of(config),
                Err(_) => Err(errors.into()),
            },
        }
    }

    fn of(config: Config) -> Result<Self, Failure> {
        match &config.store.url {
            StoreUrl::Sqlite(path) => Ok(Self { store: path.clone(), config }),
            StoreUrl::Postgres(_) => {
                let failure =
                    Failure::usage("`store.url`: a store in PostgreSQL is not available yet");
                Err(failure.with_help("use `sqlite://data/tajo.db`"))
            }
        }
    }

    /// Fails if a secret is missing that calls to the services need. A workspace that was connected
    /// needs no token in the configuration.
    pub(super) async fn require_secrets(&self) -> Result<(), Failure> {
        self.require_secrets_of("connectors.brevo.")?;
        if self.intercom_access().await?.is_some() {
            return Ok(());
        }
        self.require_secrets_of("connectors.intercom.")
    }

    /// The token of Intercom that an engine on this store would use.
    pub(super) async fn intercom_access(&self) -> Result<Option<Access>, Failure> {
        if !self.store.exists() {
            return Ok(Access::configured(&self.config.intercom));
        }
        let store = match SqliteStore::open_read_only(&self.store, self.key_to_read()) {
            Ok(store) => store,
            // An older store knows no connections.
            Err(_) if self.config.intercom.access_token.is_some() => {
                return Ok(Access::configured(&self.config.intercom));
            }
            Err(_) => return Ok(None),
        };
        Ok(access_in(&store, &self.config.intercom).await?)
    }

    /// The same for one connector: `section` begins the names of its settings.
    pub(super) fn require_secrets_of(&self, section: &str) -> Result<(), Failure> {
        let mut problems = self.config.missing_for_service();
        problems.retain(|problem| problem.message.contains(section));
        if problems.is_empty() { Ok(()) } else { Err(Failure::Config(problems)) }
    }

    /// The database file.
    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    /// Opens the store beside an engine that may be running on it.
    pub(super) fn open_to_read(&self) -> Result<SqliteStore, Failure> {
        if !self.store.exists() {
            let failure =
                Failure::failed(format!("there is no store yet at {}", self.store.display()));
            return Err(failure
                .with_help("run `tajo serve`, or `tajo connectors sync intercom --type full`"));
        }
        Ok(SqliteStore::open_read_only(&self.store, self.key_to_read())?)
    }

    /// The key of the store, as far as it is known: a look at the store makes no key, and finds
    /// everything but addresses without one.
    fn key_to_read(&self) -> AddressKey {
        let kept = || std::fs::read_to_string(self.beside(KEY_FILE)).ok();
        let key = secret_key().or_else(kept).unwrap_or_default();
        AddressKey::derive(key.trim().as_bytes())
    }

    /// The key of the store: from the variable, else from a file beside the configuration, which is
    /// made at the first start.
    pub(super) fn address_key(&self) -> Result<AddressKey, Failure> {
        if let Some(key) = secret_key() {
            return Ok(AddressKey::derive(key.trim().as_bytes()));
        }
        let path = self.beside(KEY_FILE);
        let key = load_or_make_secret(&path).map_err(|error| {
            let failure = Failure::failed(format!(
                "cannot keep the store's key in {}: {error}",
                path.display()
            ));
            failure.with_help(format!(
                "let this user write there, or set the variable \
                                    `{SECRET_KEY}`"
            ))
        })?;
        Ok(AddressKey::derive(key.expose_secret().as_bytes()))
    }

    /// The file that keeps the API's token, if the configuration does not say it.
    pub(super) fn token_file(&self) -> Option<PathBuf> {
        self.config.server.admin_token.is_none().then(|| self.beside(TOKEN_FILE))
    }

    /// The API's token; made and kept where the configuration has none, which it only may for an
    /// API that other machines do not reach.
    pub(super) fn admin_token(&self) -> Result<SecretString, Failure> {
        if let Some(token) = &self.config.server.admin_token {
            return Ok(token.clone());
        }
        let path = self.beside(TOKEN_FILE);
        load_or_make_secret(&path).map_err(|error| {
            let failure = Failure::failed(format!(
                "cannot keep the API's token in {}: {error}",
                path.display()
            ));
            failure.with_help("let this user write there, or set the variable `TAJO_ADMIN_TOKEN`")
        })
    }

    /// The token of an engine that runs already.
    fn known_token(&self) -> Result<SecretString, Failure> {
        if let Some(token) = &self.config.server.admin_token {
            return Ok(token.clone());
        }
        let path = self.beside(TOKEN_FILE);
        match std::fs::read_to_string(&path) {
            Ok(token) => Ok(SecretString::from(token.trim())),
            Err(error) => {
                let failure = Failure::failed(format!(
                    "the token of the running engine's API is not in {}: {error}",
                    path.display()
                ));
                Err(failure.with_help(
                    "set the variable `TAJO_ADMIN_TOKEN` as the engine has \
                                       it, or run this as its user",
                ))
            }
        }
    }

    /// Finds out who runs on the store.
    pub(super) fn running(&self) -> Result<Running, Failure> {
        let Some(holder) = EngineLock::holder(&self.store) else { return Ok(Running::Nobody) };
        match holder.api {
            Some(address) => {
                let api = Api::new(address, self.known_token()?)?;
                Ok(Running::Service { pid: holder.pid, api })
            }
            None => Ok(Running::Command { pid: holder.pid }),
        }
    }

    fn beside(&self, name: &str) -> PathBuf {
        let folder = self.config.file.parent().unwrap_or(Path::new(""));
        folder.join(name)
    }
}

fn secret_key() -> Option<String> {
    variable(SECRET_KEY).filter(|key| !key.trim().is_empty())
}

/// An environment variable, if it is set and text.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(yaml: &str) -> (tempfile::TempDir, Result<Deployment, Failure>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config/tajo.yaml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, yaml).unwrap();
        let deployment = Deployment::load_without_secrets(&file);
        (folder, deployment)
    }

    #[test]
    fn reading_commands_need_no_secret() {
        let yaml = "connectors: { intercom: { access_token: \"${NO_SUCH_VARIABLE}\" } }\n";
        let (folder, deployment) = deployment(yaml);
        let deployment = deployment.unwrap();
        assert_eq!(deployment.store(), folder.path().join("data/tajo.db"));
        assert!(Deployment::load(&deployment.config.file).is_err());
        let Err(Failure::Config(problems)) = deployment.require_secrets_of("connectors.intercom.")
        else {
            panic!("the token is missing")
        };
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn what_cannot_be_served_yet_is_wrong_usage() {
        let (_folder, deployment) =
            deployment("store: { url: \"postgres://db.example.com/tajo\" }\n");
        let text = deployment.unwrap_err().to_string();
        assert_eq!(
            text,
            "error: `store.url`: a store in PostgreSQL is not available yet\n help: use \
             `sqlite://data/tajo.db`"
        );
    }

    #[test]
    fn without_a_store_there_is_nothing_to_read() {
        let (folder, deployment) = deployment("{}\n");
        let text = deployment.unwrap().open_to_read().unwrap_err().to_string();
        assert!(text.contains("there is no store yet"), "{text}");
        assert!(!folder.path().join("config/tajo.key").exists(), "a look makes nothing");
    }
}
