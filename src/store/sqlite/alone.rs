//! Which suspect the rules are run on alone at this moment, in a file beside the store.
//!
//! It is no row of the store, since it has to be exact: whoever kills the process from outside while a
//! commit is waited for would accuse a record that no rule is run on. What is written to a file is
//! there when the process has died, without being forced to the disk; a machine that died was not taken
//! down by a script.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::store::WorkKey;

/// The file that names who is evaluated alone; empty while nobody is.
#[derive(Debug)]
pub(super) struct Alone {
    file: Mutex<File>,
}

impl Alone {
    /// Opens the file that belongs to a store, or makes it.
    pub(super) fn open(store: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).read(true).write(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = Mutex::new(options.open(path(store))?);
        Ok(Self { file })
    }

    /// Who was alone when the last process ended: the task, and the id.
    pub(super) fn last(&self) -> io::Result<Option<(String, String)>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines().map(ToOwned::to_owned);
        Ok(lines.next().zip(lines.next()))
    }

    /// Notes who is alone from now on.
    pub(super) fn note(&self, suspect: Option<&WorkKey>) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.set_len(0)?;
        let Some(key) = suspect else { return Ok(()) };
        file.rewind()?;
        file.write_all(format!("{}\n{}\n", key.task.as_str(), key.id).as_bytes())
    }
}

fn path(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".alone");
    path.into()
}
