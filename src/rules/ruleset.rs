//! A rule set: all scripts compiled together, immutable, with a version.
//!
//! Cloning one copies a pointer. A derivation takes a clone and runs its record to the end with it,
//! whatever is loaded meanwhile. Each call has a fresh scope and shares nothing with any other; no
//! lock is held while a script runs. Calls never run a script's top level again: that happened at
//! load.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rhai::AST;
use serde_json::Value;

use super::code::Code;
use super::diagnostic::Diagnostic;
use super::files::{self, Role};
use super::handlers::HANDLERS;
use super::limits::Limits;
use super::load::{self, Compiled};
use super::sandbox::on_deep_stack;
use crate::model::RuleSetVersion;

/// A file of a rule set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as it is shown to people: the folder's name and what is below, such as
    /// `scripts/lib/names.rhai`.
    pub path: String,
    /// The content.
    pub text: String,
}

/// What scripts see of the configuration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RuleEnvironment {
    /// Numbers of Brevo's lists by name: the constant `lists`.
    pub lists: BTreeMap<String, i64>,
    /// The constant `settings`.
    pub settings: serde_json::Map<String, Value>,
    /// Dotted paths in a contact and the attributes they become, for `apply_field_mapping`.
    pub field_mapping: BTreeMap<String, String>,
    /// The region of phone numbers without a country code, such as `TH`.
    pub phone_region: Option<String>,
    /// What the evaluation of one record may use.
    pub limits: Limits,
}

/// All scripts compiled together.
#[derive(Debug, Clone)]
pub struct RuleSet(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) compiled: Compiled,
    pub(super) handlers: BTreeMap<&'static str, usize>,
    pub(super) version: RuleSetVersion,
    pub(super) files: Vec<SourceFile>,
    /// Paths of the scripts, shared by all origins.
    pub(super) sources: Arc<[Arc<str>]>,
    pub(super) lists: Arc<BTreeMap<String, i64>>,
    pub(super) environment: RuleEnvironment,
}

impl RuleSet {
    /// Loads a folder of scripts. An empty one is a set without handlers, with a warning.
    ///
    /// # Errors
    /// Everything that is wrong with the scripts, all at once.
    pub fn load(dir: &Path, environment: &RuleEnvironment) -> Result<Self, Vec<Diagnostic>> {
        Self::from_files(files::read_files(dir)?, environment)
    }

    /// Compiles and checks files; what they are follows from their paths.
    ///
    /// # Errors
    /// Everything that is wrong with the scripts, all at once.
    pub fn from_files(
        files: Vec<SourceFile>,
        environment: &RuleEnvironment,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut compiled = on_deep_stack(|| load::compile(&files, environment))?;
        let handlers = find_handlers(&compiled.scripts, &files);
        if handlers.is_empty() {
            let folder = files.first().and_then(|file| file.path.split('/').next());
            compiled.warnings.push(
                Diagnostic::warning("no script has a handler", folder.unwrap_or("scripts"))
                    .coded(Code::NoHandler)
                    .with_help("define `fn map_contact(contact, brevo)`, or run `tajo init`"),
            );
        }
        let sources = files
            .iter()
            .filter(|file| matches!(file.role(), Role::Script | Role::Library(_)))
            .map(|file| Arc::from(file.path.as_str()))
            .collect();
        Ok(Self(Arc::new(Inner {
            compiled,
            handlers,
            version: RuleSetVersion::of(files::digest(&files, environment)),
            files,
            sources,
            lists: Arc::new(environment.lists.clone()),
            environment: environment.clone(),
        })))
    }

    /// The version: a digest of scripts, tables, `lists`, `settings` and `field_mapping`.
    pub fn version(&self) -> &RuleSetVersion {
        &self.0.version
    }

    /// The names of the handlers that the set defines.
    pub fn handlers(&self) -> impl Iterator<Item = &str> {
        self.0.handlers.keys().copied()
    }

    /// True if it defines any handler.
    pub fn has_handlers(&self) -> bool {
        !self.0.handlers.is_empty()
    }

    /// What is odd about the scripts, but no reason to refuse them.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.0.compiled.warnings
    }

    /// The files, for the history of versions.
    pub fn files(&self) -> &[SourceFile] {
        &self.0.files
    }

    /// The names of lists that the configuration knows.
    pub fn list_names(&self) -> &BTreeMap<String, i64> {
        &self.0.lists
    }

    /// What the set was compiled to, for the test runner.
    pub(crate) fn compiled(&self) -> &Compiled {
        &self.0.compiled
    }

    /// What the set sees of the configuration.
    pub(crate) fn environment(&self) -> &RuleEnvironment {
        &self.0.environment
    }
}

/// The handlers of top-level scripts and the index of the script that holds each.
fn find_handlers(scripts: &[AST], files: &[SourceFile]) -> BTreeMap<&'static str, usize> {
    let mut handlers = BTreeMap::new();
    for (index, script) in scripts.iter().enumerate() {
        let file = files.iter().find(|file| script.source() == Some(&file.path));
        if file.is_none_or(|file| file.role() != Role::Script) {
            continue;
        }
        for function in script.iter_functions() {
            let found = HANDLERS.iter().find(|handler| handler.name == function.name);
            if let Some(handler) = found.filter(|h| h.parameters.len() == function.params.len()) {
                handlers.insert(handler.name, index);
            }
        }
    }
    handlers
}
