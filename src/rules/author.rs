//! Who wrote a version of the rules, as far as files can tell: the system user who owns the file
//! that changed last.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::ruleset::SourceFile;

/// The user who changed files: the owner of the newest of those that are not as before; where files
/// only went, the owner of the folder; else the user of this process.
pub(crate) fn author_of(dir: &Path, before: &[SourceFile], now: &[SourceFile]) -> Option<String> {
    let is_as_before = |file: &&SourceFile| before.iter().any(|old| old == *file);
    let changed = now.iter().filter(|file| !is_as_before(file));
    let newest = changed.filter_map(|file| Trace::of(&dir.join(file.inside()))).max();
    let went = || before.iter().any(|old| !now.iter().any(|file| file.path == old.path));
    let trace = newest.or_else(|| went().then(|| Trace::of(dir)).flatten());
    trace.and_then(|trace| user_name(trace.owner)).or_else(process_user)
}

/// When something was written, and whose it is.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Trace {
    modified: SystemTime,
    path: PathBuf,
    owner: u32,
}

impl Trace {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        let modified = found.modified().ok()?;
        Some(Self { modified, path: path.to_owned(), owner: owner(&found) })
    }
}

#[cfg(unix)]
fn owner(found: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::uid(found)
}

#[cfg(not(unix))]
fn owner(_: &std::fs::Metadata) -> u32 {
    0
}

#[cfg(unix)]
fn user_name(id: u32) -> Option<String> {
    let user = uzers::get_user_by_uid(id);
    // In a container the owner may have no name.
    Some(user.map_or_else(|| id.to_string(), |user| user.name().to_string_lossy().into_owned()))
}

#[cfg(not(unix))]
fn user_name(_: u32) -> Option<String> {
    None
}

/// The user of this process.
#[cfg(unix)]
pub fn process_user() -> Option<String> {
    user_name(uzers::get_current_uid())
}

/// The user of this process.
#[cfg(not(unix))]
pub fn process_user() -> Option<String> {
    std::env::var("USERNAME").ok()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_what_changed_is_the_author() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            SourceFile { path: format!("scripts/{name}"), text: text.to_owned() }
        };
        let before = vec![file("a.rhai", "1"), file("b.rhai", "1")];
        let now = vec![file("a.rhai", "2"), file("b.rhai", "1")];
        let expected = process_user();
        assert!(expected.is_some());
        assert_eq!(author_of(folder.path(), &before, &now), expected);
        assert_eq!(author_of(folder.path(), &before, &before[..1]), expected);
    }

    #[test]
    fn a_user_without_a_name_is_a_number() {
        assert_eq!(user_name(4_000_000_000).as_deref(), Some("4000000000"));
    }
}
