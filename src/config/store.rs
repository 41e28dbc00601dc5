//! `store`: where the engine keeps what it knows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::reader::Section;
use super::root::resolve;
use super::setting::Setting;

/// Settings of the store.
#[derive(Debug, Clone)]
pub struct Store {
    /// The database.
    pub url: StoreUrl,
    /// How long notifications and accepted snapshots are kept.
    pub retention: Duration,
}

/// A database.
#[derive(Debug, Clone)]
pub enum StoreUrl {
    /// A file, resolved against [`super::Config::root`].
    Sqlite(PathBuf),
    /// The whole address, which may hold a password.
    Postgres(SecretString),
}

impl Setting for StoreUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(SecretString::from(text)));
        }
        match text.strip_prefix("sqlite://") {
            Some(path) if !path.is_empty() && !path.contains(['?', '\0']) => {
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            _ => Err("write `sqlite://PATH` or `postgres://HOST/DATABASE`".to_owned()),
        }
    }

    fn may_be_shown(text: &str) -> bool {
        !text.contains(['@', '?'])
    }
}

pub(super) fn read(mut section: Section<'_>, root: &Path) -> Option<Store> {
    let url = match section.get("url")? {
        StoreUrl::Sqlite(path) => StoreUrl::Sqlite(resolve(root, &path)),
        postgres @ StoreUrl::Postgres(_) => postgres,
    };
    let store = Store { url, retention: section.get("retention")? };
    section.finish();
    Some(store)
}
