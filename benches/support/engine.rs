//! An engine on a store on a real disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tajo::config::Config;
use tajo::engine::Engine;
use tajo::model::{Clock, SystemClock};
use tajo::store::{AddressKey, SqliteStore};

/// Opens an engine with the default rules; `settings` is a whole configuration but for the scripts.
pub(crate) async fn open(settings: &str, folder: &Path) -> (Engine, Config) {
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let yaml = format!(
        "{settings}scripts:\n  dir: \"{}\"\nserver:\n  listen: 127.0.0.1:0\n",
        scripts.display()
    );
    let path = folder.join("config/tajo.yaml");
    let config = Config::parse(&yaml, &path, &|_| None).unwrap_or_else(|error| panic!("{error}"));
    let key = AddressKey::derive(b"bench");
    let store = SqliteStore::open(&folder.join("data/tajo.db"), key, SystemClock.now()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let engine = Engine::open(config.clone(), Arc::new(store), clock).await.unwrap();
    (engine, config)
}
