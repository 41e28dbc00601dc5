//! The watcher of the scripts' folder.
//!
//! It only says when it is worth looking. It watches the folder and, for its name, the folder
//! above: the scripts may be a link that is switched, or be gone for a moment. A watcher follows the
//! folder it was given and not the name, so it is renewed when the name stands for another folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};

type Watcher = Debouncer<RecommendedWatcher, RecommendedCache>;
type Tell = Arc<Mutex<dyn FnMut() + Send>>;

/// Watches one folder by its name.
pub(crate) struct FolderWatch {
    dir: PathBuf,
    gather: Duration,
    tell: Tell,
    /// `None` where watching does not work, and the regular look has to do.
    watcher: Option<Watcher>,
    watched: Option<Identity>,
}

/// Which folder a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    path: PathBuf,
    file: (u64, u64),
}

impl FolderWatch {
    /// Calls `tell` after a change, once for what comes within `gather`.
    pub(crate) fn new(dir: &Path, gather: Duration, tell: impl FnMut() + Send + 'static) -> Self {
        let tell = Arc::new(Mutex::new(tell));
        let mut watch = Self { dir: dir.to_owned(), gather, tell, watcher: None, watched: None };
        watch.renew();
        watch
    }

    /// Watches anew if the name stands for another folder than it did.
    pub(crate) fn renew_if_moved(&mut self) {
        if self.watched != Identity::of(&self.dir) {
            self.renew();
        }
    }

    /// Watches anew: something changed and the watcher did not say so.
    pub(crate) fn renew(&mut self) {
        self.watched = Identity::of(&self.dir);
        self.watcher = self.watch();
    }

    fn watch(&self) -> Option<Watcher> {
        let (tell, name) = (Arc::clone(&self.tell), self.dir.file_name().map(ToOwned::to_owned));
        let above = self.above();
        let around = above.clone();
        let is_about_us = move |path: &PathBuf| {
            // Of the folder above only the name of ours matters.
            path.parent() != Some(around.as_path()) || path.file_name() == name.as_deref()
        };
        let hear = move |events: DebounceEventResult| {
            let matters = events.as_ref().map_or(true, |events| {
                events.iter().any(|event| event.paths.iter().any(&is_about_us))
            });
            if matters {
                (tell.lock().unwrap_or_else(PoisonError::into_inner))();
            }
        };
        let mut watcher = new_debouncer(self.gather, None, hear).ok()?;
        // Each is worth having without the other.
        let _ = watcher.watch(&above, RecursiveMode::NonRecursive);
        let _ = watcher.watch(&self.dir, RecursiveMode::Recursive);
        Some(watcher)
    }

    fn above(&self) -> PathBuf {
        match self.dir.parent() {
            Some(above) if above.as_os_str().is_empty() => PathBuf::from("."),
            Some(above) => above.to_owned(),
            None => self.dir.clone(),
        }
    }
}

impl Identity {
    fn of(dir: &Path) -> Option<Self> {
        let path = std::fs::canonicalize(dir).ok()?;
        let file = numbers(&std::fs::metadata(&path).ok()?);
        Some(Self { path, file })
    }
}

#[cfg(unix)]
fn numbers(found: &std::fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (found.dev(), found.ino())
}

#[cfg(not(unix))]
fn numbers(_: &std::fs::Metadata) -> (u64, u64) {
    (0, 0)
}

impl fmt::Debug for FolderWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderWatch({})", self.dir.display())
    }
}
