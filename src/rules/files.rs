//! The files of a rule set: where they lie, what they are, what makes their version.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::diagnostic::Diagnostic;
use super::ruleset::{RuleEnvironment, SourceFile};
use crate::model::Digest;

/// What a file is to a rule set, which follows from its place in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role<'a> {
    /// `scripts/*.rhai`.
    Script,
    /// `scripts/lib/NAME.rhai`: the module `NAME`.
    Library(&'a str),
    /// `scripts/tests/*.rhai`.
    Test,
    /// `scripts/tables/NAME.csv`.
    Table(&'a str),
    /// A sample of a test, a README, an editor's copy.
    Other,
}

impl SourceFile {
    /// What the file is.
    pub(crate) fn role(&self) -> Role<'_> {
        let inside = self.path.split_once('/').map_or(self.path.as_str(), |(_, inside)| inside);
        let stem =
            |name: &'_ str| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
        if let Some(name) = inside.strip_suffix(".rhai") {
            return match name.split_once('/') {
                None if stem(name) => Role::Script,
                Some(("lib", name)) if stem(name) => Role::Library(name),
                Some(("tests", name)) if stem(name) => Role::Test,
                _ => Role::Other,
            };
        }
        match inside.strip_prefix("tables/") {
            Some(name) if name.ends_with(".csv") && stem(name) => Role::Table(name),
            _ => Role::Other,
        }
    }

    fn is_part_of_the_version(&self) -> bool {
        matches!(self.role(), Role::Script | Role::Library(_) | Role::Table(_))
    }
}

/// Where the files of a rule set lie, below its folder, and what their names end in.
const FOLDERS: [(&str, &str); 5] = [
    ("", "rhai"),
    ("lib", "rhai"),
    ("tables", "csv"),
    ("tests", "rhai"),
    ("tests/samples", "json"),
];

/// Reads a rule set's files, sorted by path. They are shown to people under the folder's own name.
///
/// # Errors
/// A diagnostic for each file or folder that cannot be read as text; a missing folder is one.
pub(crate) fn read_files(dir: &Path) -> Result<Vec<SourceFile>, Vec<Diagnostic>> {
    let root = dir.file_name().map_or("scripts".into(), |name| name.to_string_lossy());
    if !dir.is_dir() {
        let problem =
            Diagnostic::error(format!("there is no folder `{}`", dir.display()), root.as_ref());
        return Err(vec![problem.with_help("`tajo init` writes one, or set `scripts.dir`")]);
    }
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for (folder, extension) in FOLDERS {
        let path = if folder.is_empty() { dir.to_path_buf() } else { dir.join(folder) };
        if !path.is_dir() {
            continue;
        }
        let shown = if folder.is_empty() { root.to_string() } else { format!("{root}/{folder}") };
        if let Err(error) = read_folder(&path, &shown, extension, &mut files, &mut problems) {
            problems.push(Diagnostic::error(format!("cannot be read: {error}"), shown));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn read_folder(
    path: &Path,
    shown: &str,
    extension: &str,
    files: &mut Vec<SourceFile>,
    problems: &mut Vec<Diagnostic>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let wanted = path.extension().is_some_and(|found| found == extension);
        if !wanted || name.starts_with('.') || !path.is_file() {
            continue;
        }
        let shown = format!("{shown}/{name}");
        match std::fs::read_to_string(&path) {
            Ok(text) => files.push(SourceFile { path: shown, text }),
            Err(error) => {
                problems.push(Diagnostic::error(format!("cannot be read: {error}"), shown))
            }
        }
    }
    Ok(())
}

/// The digest of all that a decision depends on beside the record.
pub(crate) fn digest(files: &[SourceFile], environment: &RuleEnvironment) -> Digest {
    let files: BTreeMap<_, _> = files
        .iter()
        .filter(|file| file.is_part_of_the_version())
        .map(|file| {
            // Without the folder's name, so that a moved folder is the same rule set.
            let inside = file.path.split_once('/').map_or(file.path.as_str(), |(_, inside)| inside);
            (inside, file.text.as_str())
        })
        .collect();
    Digest::of_json(&json!({
        "files": files,
        "lists": environment.lists,
        "settings": environment.settings,
        "field_mapping": environment.field_mapping,
        "phone_region": environment.phone_region,
    }))
}
