//! The configuration: one YAML file, read into types, every problem reported at once.
//!
//! What the file leaves out has the value of `config/default.yaml`, which is part of the binary.
//! `${VAR}`, `${VAR:-default}` and `${file:PATH}` stand in values; see [`Config::parse`]. This
//! module reads the configuration file and the files it names, nothing else: variables come in as a
//! function, relative paths are resolved and not opened, and nothing is logged.

mod base_url;
mod brevo;
mod duration;
mod error;
mod excerpt;
mod expand;
mod findings;
mod guards;
mod intercom;
mod json;
mod reader;
mod root;
mod scripts;
mod secret;
mod server;
mod setting;
mod store;
mod suggestion;
mod tree;
mod validate;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use brevo::{Brevo, OnBrevoDelete, RateTier};
pub use error::{ConfigErrors, Problem};
pub use guards::{Guards, MaxChange};
pub use intercom::{
    Direction, Intercom, LogLevel, OnGone, PLAN_WINDOW, Plan, Region, Resources, check_api_version,
};
pub use scripts::{Canary, OnChange, ScriptLimits, Scripts};
pub use server::Server;
pub use store::{Store, StoreUrl};

use expand::Environment;
use findings::Findings;
use reader::Section;

/// Every setting, its default and a comment: `config/default.yaml`.
pub const DEFAULTS: &str = include_str!("../../config/default.yaml");

/// The sample deployment that `tajo init` writes: `config/tajo.yaml`.
pub const STARTER: &str = include_str!("../../config/tajo.yaml");

/// All settings, checked, with secrets that do not print.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file they came from.
    pub file: PathBuf,
    /// The folder that relative paths start from: the one that holds the file's `config` folder,
    /// else the file's own.
    pub root: PathBuf,
    /// `connectors.intercom`, and `field_mapping` of the top level.
    pub intercom: Intercom,
    /// `connectors.brevo`.
    pub brevo: Brevo,
    /// `scripts`.
    pub scripts: Scripts,
    /// `server`.
    pub server: Server,
    /// `store`.
    pub store: Store,
    /// `guards`.
    pub guards: Guards,
}

impl Config {
    /// Reads the file at `path`; `env` looks up an environment variable.
    ///
    /// # Errors
    /// Everything that is wrong with the file, or that it cannot be read.
    pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path, env),
            Err(error) => Err(ConfigErrors::unreadable(path, &error)),
        }
    }

    /// Reads a configuration from its text. `path` is the file it came from, which names it in
    /// problems and decides what relative paths mean; `env` looks up an environment variable.
    ///
    /// In values, also in the midst of them, `${VAR}` is the variable, `${VAR:-default}` has a
    /// default for one that is unset or empty, `${file:PATH}` is the content of a file without its
    /// trailing line breaks, relative to the configuration's folder, and `$${` is a literal `${`. A
    /// variable that the text names must be set; one that only the defaults name may be unset.
    /// What comes in this way is not expanded again.
    ///
    /// # Errors
    /// Everything that is wrong with the text, in the order of its lines.
    pub fn parse(
        text: &str,
        path: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigErrors> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let environment = Environment { variables: env, folder: root::folder(path) };
        let findings = Findings::default();

        let Some(mut tree) = tree::parse(text, &findings) else {
            return Err(findings.into_syntax_errors(path, text));
        };
        expand::expand(&mut tree.root, text, &environment, &findings);
        let defaults = defaults(&environment, &findings);

        let section = Section::top(&tree.root, &defaults, &findings);
        let config = read(section, path);
        if let Some(config) = &config {
            validate::check(config, &tree.root, &findings);
        }
        match (config, findings.is_empty()) {
            (Some(config), true) => Ok(config),
            _ => Err(findings.into_errors(path, text, &tree)),
        }
    }

    /// What the engine cannot run without and no file, variable or default gave: the secrets of the
    /// connectors, each with the variable to set. Commands that call no service need none of them.
    pub fn missing_for_service(&self) -> Vec<Problem> {
        validate::missing_for_service(self)
    }
}

/// The tree of the built-in defaults. Variables that it names may be unset.
fn defaults(environment: &Environment<'_>, findings: &Findings) -> tree::Node {
    match tree::parse(DEFAULTS, findings) {
        Some(mut tree) => {
            expand::expand_defaults(&mut tree.root, environment);
            tree.root
        }
        None => tree::Node::absent(),
    }
}

/// Reads all sections. None only where the built-in defaults lack a setting, which is then among
/// the findings.
fn read(mut top: Section<'_>, path: &Path) -> Option<Config> {
    let root = root::root(path);
    let mut connectors = top.section("connectors");
    let outer_mapping = top.free_map("field_mapping");
    let intercom = intercom::read(connectors.section("intercom"), outer_mapping);
    let brevo = brevo::read(connectors.section("brevo"));
    connectors.finish();
    let scripts = scripts::read(top.section("scripts"), &root);
    let server = server::read(top.section("server"));
    let store = store::read(top.section("store"), &root);
    let guards = guards::read(top.section("guards"));
    top.finish();
    Some(Config {
        file: path.to_owned(),
        root,
        intercom: intercom?,
        brevo: brevo?,
        scripts: scripts?,
        server: server?,
        store: store?,
        guards: guards?,
    })
}
