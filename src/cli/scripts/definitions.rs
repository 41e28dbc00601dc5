//! `tajo scripts definitions`: what an editor needs to know about rules.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::brevo::{AttributeCategory, BrevoClient, BrevoSettings, BucketRates};
use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::config::Config;
use crate::engine::rule_environment;
use crate::http::Lane;
use crate::model::SystemClock;
use crate::rules::{AccountNames, DefinitionFile, Diagnostic, definitions, is_definition_file};

/// Where the files go below the folder of the scripts; rules are not read from there.
const FOLDER: &str = ".definitions";
/// The first wait before a call is repeated.
const BACKOFF: Duration = Duration::from_millis(200);

/// Writes definition files for editors: what rules can call, and what the accounts have.
///
/// The files are for the Rhai language server: functions with their arguments and words, the methods of
/// `brevo` and `intercom`, the fields of records, the constants `lists` and `settings`, the modules of
/// `lib/`. Calls no service unless asked to; a file that others wrote is never touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tajo scripts definitions
  tajo scripts definitions --live                 # with the account's attributes and lists")]
pub(in crate::cli) struct Args {
    /// Where the files go [default: `.definitions` in the folder of the scripts].
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Asks Brevo for the account's attributes and lists, too.
    #[arg(long)]
    live: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What was done.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Report {
    dir: PathBuf,
    /// Files that were written.
    written: Vec<String>,
    /// Files of modules that are gone.
    removed: Vec<String>,
    /// How many attributes and lists the account has; null where it was not asked.
    attributes: Option<usize>,
    lists: Option<usize>,
}

/// Runs the command.
pub(super) fn run(args: &Args, config: &Path) -> Result<ExitCode, Failure> {
    let deployment = match args.live {
        true => Deployment::load(config)?,
        false => Deployment::load_without_secrets(config)?,
    };
    let account = match args.live {
        true => Some(fetch(&deployment)?),
        false => None,
    };
    let scripts = &deployment.config.scripts.dir;
    let dir = args.dir.clone().unwrap_or_else(|| scripts.join(FOLDER));
    let files = definitions(scripts, &rule_environment(&deployment.config), account.as_ref());
    let files = files.map_err(|problems| unreadable(&problems))?;
    let report = Report {
        removed: remove_stale(&dir, &files)?,
        written: write(&dir, &files)?,
        dir,
        attributes: account.as_ref().map(|account| account.attributes.len()),
        lists: account.as_ref().map(|account| account.lists.len()),
    };
    match args.json {
        true => output::print_json(&report)?,
        false => output::print(&render(&report))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn unreadable(problems: &[Diagnostic]) -> Failure {
    let first = problems.first();
    let failure = Failure::failed(first.map_or_else(String::new, ToString::to_string));
    match first.and_then(|problem| problem.help.clone()) {
        Some(help) => failure.with_help(help),
        None => failure,
    }
}

fn fetch(deployment: &Deployment) -> Result<AccountNames, Failure> {
    deployment.require_secrets_of("connectors.brevo.")?;
    let client = client(&deployment.config)?;
    tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(Box::pin(names(&client)))
    })
}

async fn names(client: &BrevoClient) -> Result<AccountNames, Failure> {
    let attributes = client.attributes(Lane::Urgent).await?;
    let lists = client.lists(Lane::Urgent).await?;
    let mut attributes: Vec<_> = attributes
        .into_iter()
        .filter(|attribute| attribute.category != AttributeCategory::Other)
        .map(|attribute| {
            let kind = attribute.kind.map_or_else(|| "of another type".to_owned(), in_words);
            (attribute.name.as_str().to_owned(), kind)
        })
        .collect();
    attributes.sort();
    let mut lists: Vec<_> = lists.into_iter().map(|list| (list.id.0, list.name)).collect();
    lists.sort();
    Ok(AccountNames { attributes, lists })
}

/// A type in the words of the configuration.
fn in_words(kind: crate::model::AttributeType) -> String {
    let json = serde_json::to_value(kind).unwrap_or_default();
    json.as_str().unwrap_or("text").to_owned()
}

fn client(config: &Config) -> Result<BrevoClient, Failure> {
    let settings = BrevoSettings {
        base_url: config.brevo.base_url.clone(),
        api_key: config.brevo.api_key.clone().unwrap_or_default(),
        rates: BucketRates::general(),
        backoff_base: BACKOFF,
        timeout: BrevoSettings::TIMEOUT,
        book: None,
    };
    Ok(BrevoClient::new(settings, Arc::new(SystemClock))?)
}

/// Writes the files, those of others excepted.
fn write(dir: &Path, files: &[DefinitionFile]) -> Result<Vec<String>, Failure> {
    let fail = |path: &Path, error: std::io::Error| {
        Failure::failed(format!("cannot write `{}`: {error}", path.display()))
    };
    std::fs::create_dir_all(dir).map_err(|error| fail(dir, error))?;
    for file in files {
        let path = dir.join(&file.name);
        let known = std::fs::read_to_string(&path);
        if path.exists() && !known.is_ok_and(|text| is_definition_file(&text)) {
            let message = format!("`{}` was not written by this command", path.display());
            return Err(Failure::failed(message).with_help("move it away, or name another folder"));
        }
    }
    for file in files {
        let path = dir.join(&file.name);
        std::fs::write(&path, &file.text).map_err(|error| fail(&path, error))?;
    }
    Ok(files.iter().map(|file| file.name.clone()).collect())
}

/// Removes what was written for modules that are gone. What is known of the account stays.
fn remove_stale(dir: &Path, files: &[DefinitionFile]) -> Result<Vec<String>, Failure> {
    let mut removed = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(removed) };
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let is_module = name.starts_with("lib-") && name.ends_with(".d.rhai");
        if !is_module || files.iter().any(|file| file.name == name) {
            continue;
        }
        if std::fs::read_to_string(&path).is_ok_and(|text| is_definition_file(&text)) {
            std::fs::remove_file(&path)?;
            removed.push(name.to_owned());
        }
    }
    removed.sort();
    Ok(removed)
}

fn render(report: &Report) -> String {
    let Report { dir, written, removed, attributes, lists } = report;
    let mut text = String::new();
    for name in written {
        text += &format!("wrote   {}\n", dir.join(name).display());
    }
    for name in removed {
        text += &format!("removed {}\n", dir.join(name).display());
    }
    if let (Some(attributes), Some(lists)) = (attributes, lists) {
        let attributes = output::count(*attributes as u64, "attribute");
        let lists = output::count(*lists as u64, "list");
        text += &format!("\nThe account has {attributes} and {lists}.\n");
    } else {
        text += "\nWith `--live` they name the account's attributes and lists, too.\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Sandbox, SandboxOptions};

    const MODULE: &str = "/// \"ANN\" as \"Ann\".\nfn tidy(name) { title_case(name) }\n";

    fn deployed(settings: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config/tajo.yaml");
        let scripts = folder.path().join("scripts/lib");
        std::fs::create_dir_all(config.parent().unwrap()).unwrap();
        std::fs::create_dir_all(&scripts).unwrap();
        std::fs::write(&config, settings).unwrap();
        std::fs::write(scripts.join("names.rhai"), MODULE).unwrap();
        (folder, config)
    }

    fn args(live: bool) -> Args {
        Args { dir: None, live, json: true }
    }

    #[test]
    fn files_follow_the_scripts_and_spare_what_others_wrote() {
        let (folder, config) = deployed("{}\n");
        run(&args(false), &config).unwrap();
        let dir = folder.path().join("scripts/.definitions");
        let module = dir.join("lib-names.d.rhai");
        let text = std::fs::read_to_string(&module).unwrap();
        assert!(
            text.contains("module names;\n\n/// \"ANN\" as \"Ann\".\nfn tidy(name: ?) -> ?;\n")
        );
        assert!(!dir.join("account.d.rhai").exists(), "nobody was asked");

        std::fs::rename(
            folder.path().join("scripts/lib/names.rhai"),
            folder.path().join("scripts/lib/people.rhai"),
        )
        .unwrap();
        std::fs::write(dir.join("lib-mine.d.rhai"), "module mine;\n").unwrap();
        run(&args(false), &config).unwrap();
        assert!(!module.exists() && dir.join("lib-people.d.rhai").exists());
        assert!(dir.join("lib-mine.d.rhai").exists());

        std::fs::write(dir.join("functions.d.rhai"), "module static;\n").unwrap();
        let text = run(&args(false), &config).unwrap_err().to_string();
        let path = dir.join("functions.d.rhai");
        let expected = format!(
            "error: `{}` was not written by this command\n help: move it away, or name another folder",
            path.display()
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn rules_do_not_notice_the_files() {
        let (folder, config) = deployed("{}\n");
        let load = || {
            let environment = crate::rules::RuleEnvironment::default();
            let dir = folder.path().join("scripts");
            crate::rules::RuleSet::load(&dir, &environment).unwrap().version().clone()
        };
        let before = load();
        run(&args(false), &config).unwrap();
        assert_eq!(load(), before);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_account_is_asked_if_wanted() {
        let sandbox =
            Sandbox::start(SandboxOptions::default(), Arc::new(SystemClock)).await.unwrap();
        sandbox.brevo.create_list_with_id(41, "VIP \"gold\"");
        let (folder, config) = deployed(&sandbox.settings());
        run(&args(true), &config).unwrap();
        let account = folder.path().join("scripts/.definitions/account.d.rhai");
        let text = std::fs::read_to_string(account).unwrap();
        assert!(text.contains("- 41: \"VIP \\\"gold\\\"\""), "{text}");
        assert!(text.contains("const FIRSTNAME: String;"), "{text}");
        sandbox.shutdown().await;
    }

    #[test]
    fn without_a_key_the_account_cannot_be_asked() {
        let (_folder, config) = deployed("connectors: { brevo: { api_key: \"\" } }\n");
        let failure = run(&args(true), &config).unwrap_err();
        assert!(matches!(failure, Failure::Config(_)), "{failure}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("tajo.yaml");
        std::fs::write(&config, "{}\n").unwrap();
        let text = run(&args(false), &config).unwrap_err().to_string();
        assert!(text.starts_with("error: ") && text.contains("there is no folder"), "{text}");
        assert!(text.ends_with("help: `tajo init` writes one, or set `scripts.dir`"), "{text}");
    }

    #[test]
    fn the_report_names_each_file() {
        let report = Report {
            dir: "scripts/.definitions".into(),
            written: vec!["functions.d.rhai".into()],
            removed: vec!["lib-old.d.rhai".into()],
            attributes: Some(12),
            lists: Some(1),
        };
        let expected = "wrote   scripts/.definitions/functions.d.rhai\n\
                        removed scripts/.definitions/lib-old.d.rhai\n\n\
                        The account has 12 attributes and 1 list.\n";
        assert_eq!(render(&report), expected);
        let report = Report { attributes: None, lists: None, ..report };
        assert!(render(&report).ends_with("name the account's attributes and lists, too.\n"));
    }
}
