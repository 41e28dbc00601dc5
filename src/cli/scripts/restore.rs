//! The files of a version, written back into the folder of the scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::model::Digest;
use crate::rules::SourceFile;

/// What has to be done to a folder so that it holds a version.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Restoration {
    /// Texts by path below the folder.
    pub(super) writes: BTreeMap<String, String>,
    /// Files that the version does not have.
    pub(super) removals: Vec<String>,
    /// Of both: files whose content no version has, so that it would be lost.
    pub(super) unsaved: Vec<String>,
}

impl Restoration {
    /// Compares what is there with what shall be. `known`: every text that the history holds.
    pub(super) fn plan(
        there: &[SourceFile],
        wanted: &[SourceFile],
        known: &BTreeSet<Digest>,
    ) -> Self {
        let mut plan = Self::default();
        let old: BTreeMap<&str, &str> =
            there.iter().map(|file| (file.inside(), file.text.as_str())).collect();
        let new: BTreeMap<&str, &str> =
            wanted.iter().map(|file| (file.inside(), file.text.as_str())).collect();
        for (path, text) in &new {
            if old.get(path) != Some(text) {
                plan.writes.insert((*path).to_owned(), (*text).to_owned());
            }
        }
        for (path, text) in &old {
            if !new.contains_key(path) {
                plan.removals.push((*path).to_owned());
            }
            let is_touched = new.get(path) != Some(text);
            if is_touched && !known.contains(&Digest::of_bytes(text.as_bytes())) {
                plan.unsaved.push((*path).to_owned());
            }
        }
        plan
    }

    /// Does it. Whoever watches the folder judges it when all is done, for there is no pause.
    pub(super) fn carry_out(&self, dir: &Path) -> io::Result<()> {
        for (path, text) in &self.writes {
            write(&inside(dir, path)?, text)?;
        }
        for path in &self.removals {
            std::fs::remove_file(inside(dir, path)?)?;
        }
        Ok(())
    }
}

/// A path below a folder, and nowhere else.
fn inside(dir: &Path, path: &str) -> io::Result<PathBuf> {
    let path = Path::new(path);
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(dir.join(path));
    }
    Err(io::Error::other(format!("{} does not lie in the folder", path.display())))
}

/// Writes a file beside its place and moves it there: it is never seen half written. A link stays
/// one, and what it points at is written.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other(format!("{} is no file", path.display())));
    };
    std::fs::create_dir_all(folder)?;
    // Its name begins with a dot, so that nobody takes it for a script.
    let beside = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let written = std::fs::write(&beside, text).and_then(|()| {
        if let Ok(found) = std::fs::metadata(&path) {
            std::fs::set_permissions(&beside, found.permissions())?;
        }
        std::fs::rename(&beside, &path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Vec<SourceFile> {
        let file = |(path, text): &(&str, &str)| SourceFile {
            path: format!("scripts/{path}"),
            text: (*text).to_owned(),
        };
        pairs.iter().map(file).collect()
    }

    fn known(texts: &[&str]) -> BTreeSet<Digest> {
        texts.iter().map(|text| Digest::of_bytes(text.as_bytes())).collect()
    }

    #[test]
    fn only_what_differs_is_written_and_what_no_version_has_is_unsaved() {
        let there =
            files(&[("a.rhai", "1"), ("b.rhai", "edited"), ("c.rhai", "c"), ("d.rhai", "new")]);
        let wanted = files(&[("a.rhai", "1"), ("b.rhai", "b"), ("lib/x.rhai", "x")]);
        let plan = Restoration::plan(&there, &wanted, &known(&["1", "b", "c", "x"]));
        let writes = [("b.rhai", "b"), ("lib/x.rhai", "x")];
        let expected = Restoration {
            writes: writes.map(|(path, text)| (path.to_owned(), text.to_owned())).into(),
            removals: vec!["c.rhai".to_owned(), "d.rhai".to_owned()],
            unsaved: vec!["b.rhai".to_owned(), "d.rhai".to_owned()],
        };
        assert_eq!(plan, expected);
        assert_eq!(Restoration::plan(&there, &there, &known(&[])), Restoration::default());
    }

    #[test]
    fn a_folder_holds_the_version_afterwards_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.rhai"), "old").unwrap();
        std::fs::write(folder.path().join("c.rhai"), "c").unwrap();
        let there = files(&[("a.rhai", "old"), ("c.rhai", "c")]);
        let wanted = files(&[("a.rhai", "new"), ("lib/x.rhai", "x")]);
        Restoration::plan(&there, &wanted, &known(&[])).carry_out(folder.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!(read("a.rhai").as_deref(), Some("new"));
        assert_eq!(read("lib/x.rhai").as_deref(), Some("x"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_script_that_is_a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("real"), "old").unwrap();
        std::os::unix::fs::symlink("real", folder.path().join("a.rhai")).unwrap();
        let wanted = files(&[("a.rhai", "new")]);
        let plan = Restoration::plan(&files(&[("a.rhai", "old")]), &wanted, &known(&[]));
        plan.carry_out(folder.path()).unwrap();
        assert!(folder.path().join("a.rhai").is_symlink());
        assert_eq!(std::fs::read_to_string(folder.path().join("real")).unwrap(), "new");
    }

    #[test]
    fn nothing_is_written_outside_of_the_folder() {
        assert!(inside(Path::new("scripts"), "../x.rhai").is_err());
        assert!(inside(Path::new("scripts"), "/etc/x.rhai").is_err());
    }
}
