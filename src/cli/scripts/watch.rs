//! The same again at every save.
//!
//! Editors write in several steps, so what is saved is judged by its content, once that has been the
//! same for a moment. Watchers can fall silent, so it is looked at now and then in any case.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};

use crate::cli::failure::Failure;
use crate::cli::{output, signals};
use crate::model::{Clock, Digest, SystemClock};

/// How long a content must stay the same before it counts as saved.
const QUIET: Duration = Duration::from_millis(60);
/// How often the content is looked at, whatever the watcher says.
const POLL: Duration = Duration::from_secs(1);
/// How deep below a watched folder files are looked at; rule sets have two levels.
const MOST_LEVELS: usize = 4;

/// What is watched.
#[derive(Debug)]
pub(super) struct Watch {
    paths: Vec<PathBuf>,
    seen: Content,
    quiet: Duration,
    poll: Duration,
    changes: Receiver<()>,
    _watcher: Option<Debouncer<RecommendedWatcher, RecommendedCache>>,
}

/// The digest of each file.
type Content = BTreeMap<PathBuf, Digest>;

impl Watch {
    /// Watches files and folders from now on; they need not be there yet.
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        let (events, changes) = mpsc::channel();
        let told = move |result: DebounceEventResult| {
            // What changed is found by looking; a lost event is made up for by the next look.
            if result.is_ok() {
                let _ = events.send(());
            }
        };
        let watcher = new_debouncer(QUIET, None, told).ok().map(|mut watcher| {
            for path in &paths {
                // A file that is replaced is a new one, which only its folder hears of.
                let folder = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
                let mode = match path.is_dir() {
                    true => RecursiveMode::Recursive,
                    false => RecursiveMode::NonRecursive,
                };
                if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
                    let _ = watcher.watch(folder, mode);
                }
            }
            watcher
        });
        let seen = content(&paths);
        Self { paths, seen, quiet: QUIET, poll: POLL, changes, _watcher: watcher }
    }

    /// Waits until something was saved; answers which files, by path.
    pub(super) fn wait(&mut self) -> Vec<PathBuf> {
        loop {
            // A watcher that is gone leaves the looking now and then.
            if self.changes.recv_timeout(self.poll) == Err(mpsc::RecvTimeoutError::Disconnected) {
                pause(self.poll);
            }
            let mut now = content(&self.paths);
            if now == self.seen {
                continue;
            }
            loop {
                pause(self.quiet);
                while self.changes.try_recv().is_ok() {}
                let later = content(&self.paths);
                if later == now {
                    break;
                }
                now = later;
            }
            // Put back as it was, in between.
            if now == self.seen {
                continue;
            }
            let before = std::mem::replace(&mut self.seen, now);
            return differing(&before, &self.seen);
        }
    }
}

/// Waits without a clock of its own.
fn pause(time: Duration) {
    let (_open, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}

fn differing(before: &Content, now: &Content) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = before
        .keys()
        .chain(now.keys())
        .filter(|path| before.get(*path) != now.get(*path))
        .cloned()
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

fn content(paths: &[PathBuf]) -> Content {
    let mut content = Content::new();
    for path in paths {
        add(path, MOST_LEVELS, &mut content);
    }
    content
}

fn add(path: &Path, levels: usize, content: &mut Content) {
    if path.is_file() {
        // What cannot be read counts as gone until it can be.
        if let Ok(bytes) = std::fs::read(path) {
            content.insert(path.to_owned(), Digest::of_bytes(&bytes));
        }
        return;
    }
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && levels > 0 {
            add(&entry.path(), levels - 1, content);
        }
    }
}

/// Does `work` now and again after every save of what it depends on, until the process is told to
/// end. What `work` cannot do is said, and the next save waited for.
pub(super) async fn at_every_save(
    paths: Vec<PathBuf>,
    work: impl Fn() -> Result<(), Failure> + Send + 'static,
) -> Result<ExitCode, Failure> {
    let repeating = tokio::task::spawn_blocking(move || -> Result<(), Failure> {
        let mut watch = Watch::new(paths);
        loop {
            match work() {
                Err(Failure::OutputClosed) => return Err(Failure::OutputClosed),
                Err(failure) => output::say(&failure.to_string()),
                Ok(()) => {}
            }
            output::say("\nwaiting for a save; Ctrl-C ends this");
            let changed = watch.wait();
            output::say(&separator(&changed, &SystemClock));
        }
    });
    tokio::select! {
        ended = signals::end() => ended.map(|()| ExitCode::SUCCESS),
        broken = repeating => match broken {
            Ok(Err(failure)) => Err(failure),
            _ => Err(Failure::failed("watching panicked")),
        },
    }
}

/// What stands between two runs.
fn separator(changed: &[PathBuf], clock: &dyn Clock) -> String {
    let names: Vec<String> = changed
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let what = match names.as_slice() {
        [] => "something".to_owned(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    };
    let line = format!("──── {what} changed, {} ", clock.now());
    format!("\n{line:─<78}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_save_is_told_once_and_by_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.rhai");
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::new(vec![folder.path().to_owned()]);
        fs::write(&file, "2").unwrap();
        fs::write(&file, "3").unwrap();
        assert_eq!(watch.wait(), std::slice::from_ref(&file));

        // The same content again, and an editor's copy, are no save; the next change is.
        fs::write(&file, "3").unwrap();
        fs::write(folder.path().join(".a.rhai.swp"), "x").unwrap();
        fs::create_dir(folder.path().join("tests")).unwrap();
        let test = folder.path().join("tests/b.rhai");
        fs::write(&test, "4").unwrap();
        assert_eq!(watch.wait(), [test]);
    }

    #[test]
    fn a_file_that_is_replaced_is_a_save() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ann.json");
        fs::write(&file, "{}").unwrap();
        let mut watch = Watch::new(vec![file.clone()]);
        fs::remove_file(&file).unwrap();
        fs::write(folder.path().join("new"), "[]").unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
        assert_eq!(watch.wait(), [file]);
    }

    #[test]
    fn what_is_not_there_yet_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scripts").join("a.rhai");
        let mut watch = Watch::new(vec![folder.path().join("scripts")]);
        fs::create_dir(folder.path().join("scripts")).unwrap();
        fs::write(&file, "1").unwrap();
        assert_eq!(watch.wait(), [file]);
    }

    #[test]
    fn runs_are_set_apart() {
        let clock = crate::model::ManualClock::at(crate::model::Timestamp::from_seconds(0));
        let text = separator(&["x/a.rhai".into(), "x/b.rhai".into()], &clock);
        assert_eq!(
            text,
            "\n──── a.rhai and 1 more changed, 1970-01-01T00:00:00Z ─────────────────────────"
        );
    }
}
