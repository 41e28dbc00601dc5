//! `tajo init`: a configuration and the default rules, to begin with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::failure::Failure;
use super::output;
use crate::config::STARTER;

/// Everything that `init` writes, by its path below the folder.
const FILES: &[(&str, &str)] = &[
    ("config/tajo.yaml", STARTER),
    ("scripts/mapping.rhai", include_str!("../../scripts/mapping.rhai")),
    ("scripts/tags.rhai", include_str!("../../scripts/tags.rhai")),
    ("scripts/merge.rhai", include_str!("../../scripts/merge.rhai")),
    ("scripts/reverse.rhai", include_str!("../../scripts/reverse.rhai")),
    ("scripts/lib/names.rhai", include_str!("../../scripts/lib/names.rhai")),
    ("scripts/tests/contacts.rhai", include_str!("../../scripts/tests/contacts.rhai")),
    ("scripts/tests/records.rhai", include_str!("../../scripts/tests/records.rhai")),
    ("scripts/tests/samples/ann.json", include_str!("../../scripts/tests/samples/ann.json")),
    ("scripts/tests/samples/lead.json", include_str!("../../scripts/tests/samples/lead.json")),
    (
        "scripts/tests/samples/company.json",
        include_str!("../../scripts/tests/samples/company.json"),
    ),
    (
        "scripts/tests/samples/conversation.json",
        include_str!("../../scripts/tests/samples/conversation.json"),
    ),
    ("scripts/tests/samples/event.json", include_str!("../../scripts/tests/samples/event.json")),
    (GITIGNORE, IGNORED),
];

const GITIGNORE: &str = ".gitignore";
const IGNORED: &str = "\
# What must not be shared: the store, and secrets that are made on this machine.
/data/
/config/tajo.key
/config/admin.token
.env
";

/// Writes a configuration and the default rules.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tajo init shop && cd shop && tajo scripts check")]
pub struct Args {
    /// The folder; it is made if there is none.
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its path below the folder.
    pub path: &'static str,
    /// False: there was one, which stays as it is.
    pub is_new: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let written = write_project(&args.dir)?;
    output::print(&report(&args.dir, &written))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a configuration, the default rules, their tests and a `.gitignore` below `dir`. A file
/// that is there is never touched.
///
/// # Errors
/// The first file that cannot be written; those before it stay.
pub fn write_project(dir: &Path) -> Result<Vec<Written>, Failure> {
    FILES.iter().map(|(path, text)| write_new(dir, path, text)).collect()
}

fn write_new(dir: &Path, path: &'static str, text: &str) -> Result<Written, Failure> {
    let target = dir.join(path);
    let fail = |error: std::io::Error| {
        Failure::failed(format!("cannot write `{}`: {error}", target.display()))
    };
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    match OpenOptions::new().write(true).create_new(true).open(&target) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).map_err(fail)?;
            Ok(Written { path, is_new: true })
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok(Written { path, is_new: false })
        }
        Err(error) => Err(fail(error)),
    }
}

fn report(dir: &Path, written: &[Written]) -> String {
    let mut text = String::new();
    for Written { path, is_new } in written {
        let verb = if *is_new { "wrote" } else { "kept " };
        let why = if *is_new { "" } else { " (it was there)" };
        text.push_str(&format!("{verb} {}{why}\n", dir.join(path).display()));
    }
    if written.iter().any(|file| file.path == GITIGNORE && !file.is_new) {
        text.push_str(
            "\nYour .gitignore should name /data/, /config/tajo.key and /config/admin.token.\n",
        );
    }
    text.push_str("\nNext:\n");
    if dir != Path::new(".") {
        text.push_str(&format!("  cd {}\n", dir.display()));
    }
    text.push_str(
        "  export INTERCOM_ACCESS_TOKEN=… INTERCOM_CLIENT_SECRET=… BREVO_API_KEY=…\n  \
           tajo scripts check\n  \
           tajo connectors test intercom\n  \
           tajo serve\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Config;
    use crate::engine::rule_environment;
    use crate::rules::{RuleSet, run_tests};

    #[test]
    fn what_is_written_works_as_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let written = write_project(folder.path()).unwrap();
        assert!(written.iter().all(|file| file.is_new));
        let config = Config::load(&folder.path().join("config/tajo.yaml"), &|_| None).unwrap();
        let rules = RuleSet::load(&config.scripts.dir, &rule_environment(&config)).unwrap();
        let report = run_tests(&rules, &config.scripts.dir);
        assert!(report.is_ok() && !report.is_empty(), "{report}");
    }

    #[test]
    fn a_file_that_is_there_is_never_touched() {
        let folder = tempfile::tempdir().unwrap();
        let mine = folder.path().join("scripts/mapping.rhai");
        std::fs::create_dir_all(mine.parent().unwrap()).unwrap();
        std::fs::write(&mine, "// Mine.\n").unwrap();
        let written = write_project(folder.path()).unwrap();
        let kept: Vec<_> =
            written.iter().filter(|file| !file.is_new).map(|file| file.path).collect();
        assert_eq!(kept, ["scripts/mapping.rhai"]);
        assert_eq!(std::fs::read_to_string(mine).unwrap(), "// Mine.\n");
    }

    #[test]
    fn no_default_script_is_left_out() {
        fn walk(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else {
                    found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = BTreeSet::new();
        walk(&root.join("scripts"), root, &mut found);
        // Worked examples are rule sets of their own, to be read in the repository.
        found.retain(|path| !path.starts_with("scripts/examples/"));
        let embedded: BTreeSet<String> = FILES
            .iter()
            .map(|(path, _)| (*path).to_owned())
            .filter(|path| path.starts_with("scripts/"))
            .collect();
        assert_eq!(found, embedded);
    }

    #[test]
    fn the_report_says_what_was_kept_and_what_comes_next() {
        let written = [
            Written { path: "config/tajo.yaml", is_new: false },
            Written { path: ".gitignore", is_new: true },
        ];
        let expected = "\
kept  shop/config/tajo.yaml (it was there)
wrote shop/.gitignore

Next:
  cd shop
  export INTERCOM_ACCESS_TOKEN=… INTERCOM_CLIENT_SECRET=… BREVO_API_KEY=…
  tajo scripts check
  tajo connectors test intercom
  tajo serve
";
        assert_eq!(report(Path::new("shop"), &written), expected);
    }
}
