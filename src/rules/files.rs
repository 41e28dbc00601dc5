//! The files of a rule set: where they lie, what they are, what makes their version.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde_json::json;

use super::code::Code;
use super::diagnostic::Diagnostic;
use super::ruleset::{RuleEnvironment, SourceFile};
use crate::model::{Digest, RuleSetVersion};

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
    /// The path below the folder of the scripts.
    pub fn inside(&self) -> &str {
        self.path.split_once('/').map_or(self.path.as_str(), |(_, inside)| inside)
    }

    /// The same file in another folder of scripts, as files of the history are read.
    #[must_use]
    pub(crate) fn under(self, root: &str) -> Self {
        Self { path: format!("{root}/{}", self.inside()), text: self.text }
    }

    /// What the file is.
    pub(crate) fn role(&self) -> Role<'_> {
        let inside = self.inside();
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

    /// True of what decides: scripts, libraries and tables.
    pub(crate) fn is_part_of_the_version(&self) -> bool {
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

/// The largest file that is read. A rule set is held in memory and kept in every backup.
const FILE_BYTES: u64 = 1024 * 1024;
/// How many files a rule set may have.
const FILES: usize = 2_000;
/// How large they may be together.
const TOTAL_BYTES: u64 = 32 * 1024 * 1024;

/// What a folder of scripts held at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderContent(Result<Vec<SourceFile>, Vec<Diagnostic>>);

impl FolderContent {
    /// Reads a folder. That it cannot be read is content, too.
    pub fn read(dir: &Path) -> Self {
        Self(read_files(dir))
    }

    /// The files, sorted by path.
    ///
    /// # Errors
    /// What kept them from being read.
    pub fn files(&self) -> Result<&[SourceFile], &[Diagnostic]> {
        self.0.as_deref().map_err(Vec::as_slice)
    }

    /// A digest of the rules: scripts, libraries and tables, without tests and samples.
    pub fn rules(&self) -> Digest {
        self.digest_of(SourceFile::is_part_of_the_version)
    }

    /// A digest of every file.
    pub(crate) fn digest(&self) -> Digest {
        self.digest_of(|_| true)
    }

    /// The version of the files under a configuration; none where they cannot be read.
    pub fn version(&self, environment: &RuleEnvironment) -> Option<RuleSetVersion> {
        self.files().ok().map(|files| version(files, environment))
    }

    fn digest_of(&self, counts: impl Fn(&SourceFile) -> bool) -> Digest {
        match &self.0 {
            Err(problems) => Digest::of_json(&json!(problems)),
            Ok(files) => {
                // Each text by its digest, so that large tables are read once and copied never.
                let texts = files.iter().filter(|file| counts(file)).map(|file| {
                    (file.inside(), Digest::of_bytes(file.text.as_bytes()).to_string())
                });
                Digest::of_json(&json!({ "files": texts.collect::<Vec<_>>() }))
            }
        }
    }
}

/// Reads a rule set's files, sorted by path. They are shown to people under the folder's own name.
///
/// # Errors
/// A diagnostic for each file or folder that cannot be read as text or is too large; a missing
/// folder is one.
pub(crate) fn read_files(dir: &Path) -> Result<Vec<SourceFile>, Vec<Diagnostic>> {
    let root = root_of(dir);
    if !dir.is_dir() {
        let problem =
            Diagnostic::error(format!("there is no folder `{}`", dir.display()), root.as_str())
                .coded(Code::Unreadable);
        return Err(vec![problem.with_help("`tajo init` writes one, or set `scripts.dir`")]);
    }
    let mut reading = Reading::default();
    for (folder, extension) in FOLDERS {
        let path = if folder.is_empty() { dir.to_path_buf() } else { dir.join(folder) };
        if !path.is_dir() {
            continue;
        }
        let shown = if folder.is_empty() { root.clone() } else { format!("{root}/{folder}") };
        if let Err(error) = reading.folder(&path, &shown, extension) {
            let problem = Diagnostic::error(format!("cannot be read: {error}"), shown);
            reading.problems.push(problem.coded(Code::Unreadable));
        }
        if reading.is_too_much() {
            break;
        }
    }
    let Reading { mut files, mut problems, bytes } = reading;
    if files.len() > FILES || bytes > TOTAL_BYTES {
        let mib = TOTAL_BYTES / 1024 / 1024;
        let problem = Diagnostic::error(
            format!("a rule set has at most {FILES} files and {mib} MiB together"),
            root,
        )
        .coded(Code::Unreadable);
        problems.push(problem.with_help("move what is no part of the rules out of the folder"));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The name under which files of a folder are shown.
pub(crate) fn root_of(dir: &Path) -> String {
    dir.file_name().map_or("scripts".into(), |name| name.to_string_lossy()).into_owned()
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    files: Vec<SourceFile>,
    problems: Vec<Diagnostic>,
    bytes: u64,
}

impl Reading {
    fn is_too_much(&self) -> bool {
        self.files.len() > FILES || self.bytes > TOTAL_BYTES || self.problems.len() > FILES
    }

    fn folder(&mut self, path: &Path, shown: &str, extension: &str) -> std::io::Result<()> {
        for entry in std::fs::read_dir(path)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            // Editors' copies, locks and probes (`x.rhai~`, `.#x.rhai`, `.x.rhai.swp`, `4913`) are
            // no part of the rules.
            let wanted = path.extension().is_some_and(|found| found == extension);
            if !wanted || name.starts_with('.') {
                continue;
            }
            let shown = format!("{shown}/{name}");
            match read_file(&path) {
                Ok(text) => {
                    self.bytes += text.len() as u64;
                    self.files.push(SourceFile { path: shown, text });
                }
                Err((message, help)) => {
                    let problem = Diagnostic::error(message, shown).coded(Code::Unreadable);
                    self.problems.push(problem.with_help(help));
                }
            }
            if self.is_too_much() {
                break;
            }
        }
        Ok(())
    }
}

/// Reads a file, or says what is wrong and what helps. What is no regular file is not opened: a
/// pipe would keep the reader waiting for ever.
fn read_file(path: &Path) -> Result<String, (String, &'static str)> {
    let cannot = |error: std::io::Error| {
        (format!("cannot be read: {error}"), "the engine's user must be able to read it")
    };
    let found = std::fs::metadata(path).map_err(cannot)?;
    if !found.is_file() {
        let help = "move it out of the folder, or let its name end otherwise";
        return Err(("this is not a file".to_owned(), help));
    }
    let too_large = || {
        let message = format!("larger than {} MiB", FILE_BYTES / 1024 / 1024);
        (message, "split it, or move it out of the folder")
    };
    if found.len() > FILE_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or_default());
    // It may grow while it is read.
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(too_large());
    }
    // Some editors begin a file with a mark that is no part of its text.
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(.."\u{feff}".len());
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        (format!("line {line} is not UTF-8 text"), "save it as UTF-8")
    })
}

/// The version of files under a configuration, whether or not they compile.
pub(crate) fn version(files: &[SourceFile], environment: &RuleEnvironment) -> RuleSetVersion {
    RuleSetVersion::of(digest(files, environment))
}

/// The digest of all that a decision depends on beside the record.
pub(crate) fn digest(files: &[SourceFile], environment: &RuleEnvironment) -> Digest {
    let files: BTreeMap<_, _> = files
        .iter()
        .filter(|file| file.is_part_of_the_version())
        .map(|file| {
            // Without the folder's name, so that a moved folder is the same rule set.
            (file.inside(), file.text.as_str())
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn problem(write: impl Fn(&Path)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("scripts");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("a.rhai"), "fn a() { 1 }").unwrap();
        write(&dir);
        let problems = read_files(&dir).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].render()
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_helps() {
        let found = problem(|dir| fs::write(dir.join("b.rhai"), b"// x\n// \xff\xfe").unwrap());
        let expected =
            "error: line 2 is not UTF-8 text\n --> scripts/b.rhai\n help: save it as UTF-8";
        assert_eq!(found, expected);

        let found = problem(|dir| fs::create_dir(dir.join("b.rhai")).unwrap());
        let expected = "error: this is not a file\n --> scripts/b.rhai\n help: move it out of the \
                        folder, or let its name end otherwise";
        assert_eq!(found, expected);

        let found = problem(|dir| fs::write(dir.join("b.rhai"), vec![b' '; 1_048_577]).unwrap());
        let expected = "error: larger than 1 MiB\n --> scripts/b.rhai\n help: split it, or move it \
                        out of the folder";
        assert_eq!(found, expected);
    }

    #[test]
    fn ten_thousand_files_are_not_read() {
        let found = problem(|dir| {
            for number in 0..10_000 {
                fs::write(dir.join(format!("f{number}.rhai")), "").unwrap();
            }
        });
        let expected = "error: a rule set has at most 2000 files and 32 MiB together\n --> \
                        scripts\n help: move what is no part of the rules out of the folder";
        assert_eq!(found, expected);
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_does_not_keep_the_reader_waiting_and_a_link_to_nowhere_is_a_problem() {
        let found = problem(|dir| {
            let made = std::process::Command::new("mkfifo").arg(dir.join("b.rhai")).status();
            assert!(made.unwrap().success());
        });
        assert!(found.starts_with("error: this is not a file"), "{found}");
        let found =
            problem(|dir| std::os::unix::fs::symlink("nowhere", dir.join("b.rhai")).unwrap());
        assert!(found.starts_with("error: cannot be read: "), "{found}");
    }

    #[cfg(unix)]
    #[test]
    fn what_editors_leave_beside_a_script_is_no_part_of_the_rules() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        fs::write(dir.join("a.rhai"), "fn a() { 1 }").unwrap();
        let before = FolderContent::read(dir);
        for name in ["a.rhai~", "#a.rhai#", ".a.rhai.swp", "4913", "a.rhai___jb_tmp___", "sedXy12"]
        {
            fs::write(dir.join(name), "half a fi").unwrap();
        }
        std::os::unix::fs::symlink("somebody@host.example.com:1", dir.join(".#a.rhai")).unwrap();
        assert_eq!(FolderContent::read(dir), before);
    }

    #[test]
    fn tests_are_content_but_no_part_of_the_rules() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        fs::create_dir(dir.join("tests")).unwrap();
        fs::write(dir.join("a.rhai"), "fn a() { 1 }").unwrap();
        let before = FolderContent::read(dir);
        fs::write(dir.join("tests/a.rhai"), "fn test_a() { assert(true); }").unwrap();
        let after = FolderContent::read(dir);
        assert_eq!(before.rules(), after.rules());
        assert_ne!(before.digest(), after.digest());
    }
}
