//! One engine per store: an advisory lock beside the file, with the address of who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Who runs on a store, for commands that go through it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Where its API listens; none: it runs one command and has none.
    pub api: Option<SocketAddr>,
}

/// Why a store cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process runs on it.
    #[error("another tajo (pid {}) runs on the store {}; stop it, or use its API", holder_pid(holder.as_ref()), store.display())]
    Held {
        /// The database file.
        store: PathBuf,
        /// Who runs on it, if it has said so.
        holder: Option<Holder>,
    },
    /// The lock file cannot be made.
    #[error("cannot lock the store {}: {source}", store.display())]
    Io {
        /// The database file.
        store: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn holder_pid(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "unknown".to_owned(), |holder| holder.pid.to_string())
}

/// A lock on a store, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
#[must_use]
pub struct EngineLock {
    file: File,
}

impl EngineLock {
    /// Takes the lock of the store at `store`.
    pub fn take(store: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { store: store.to_owned(), source };
        if let Some(folder) = store.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let path = lock_path(store);
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut lock = Self { file: open.map_err(io)? };
        match lock.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = read(&mut lock.file);
                return Err(LockError::Held { store: store.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        lock.announce(None).map_err(io)?;
        Ok(lock)
    }

    /// Says where the API of this process listens.
    pub fn announce(&mut self, api: Option<SocketAddr>) -> std::io::Result<()> {
        let text = serde_json::to_string(&Holder { pid: std::process::id(), api })?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }

    /// Who runs on a store, if anybody does.
    pub fn holder(store: &Path) -> Option<Holder> {
        let mut file = OpenOptions::new().read(true).write(true).open(lock_path(store)).ok()?;
        match file.try_lock() {
            Ok(()) => None,
            Err(_) => read(&mut file),
        }
    }
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn lock_path(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_and_told_who_holds_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("data/tajo.db");
        let first = EngineLock::take(&store).unwrap();
        let refused = EngineLock::take(&store).unwrap_err();
        assert!(refused.to_string().contains(&format!("pid {}", std::process::id())), "{refused}");
        assert!(EngineLock::holder(&store).is_some());
        drop(first);
        assert!(EngineLock::holder(&store).is_none());
        let _again = EngineLock::take(&store).unwrap();
    }
}
