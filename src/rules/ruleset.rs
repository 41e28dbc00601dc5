//! A rule set: all scripts compiled together, immutable, with a version.
//!
//! Cloning one copies a pointer. A derivation takes a clone and runs its record to the end with it,
//! whatever is loaded meanwhile. Each call has a fresh scope and shares nothing with any other; no
//! lock is held while a script runs. Calls never run a script's top level again: that happened at
//! load.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use rhai::{AST, CallFnOptions, Dynamic, Scope};
use serde_json::Value;

use super::blame;
use super::check;
use super::diagnostic::Diagnostic;
use super::error::{ScriptError, ScriptErrorKind};
use super::evaluation::Evaluation;
use super::files::{self, Role};
use super::handle::DecisionHandle;
use super::handlers::{CHOOSE_PRIMARY, HANDLERS, MAP_CONTACT, MAP_TAGS, MERGE_CONTACT};
use super::limits::{Deadline, Limits};
use super::load::{self, Compiled};
use super::merge;
use super::view::{View, equals};
use crate::model::{Decision, Origin, RecordKey, RuleSetVersion, Timestamp, Verdict};

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
    /// What one call of a handler may use.
    pub limits: Limits,
}

/// Everything that a contact's decision is derived from.
#[derive(Clone, PartialEq)]
pub struct ContactInput {
    /// Which contact.
    pub key: RecordKey,
    /// The contact as scripts see it, with its relations: `tags` (names), `company`, `companies`,
    /// `language`, `subscriptions`, `duplicates`, `conversations`, `events`.
    pub contact: Value,
    /// Brevo's contact, if it holds one: `id`, `email`, `lists`, `blacklisted`, attributes by name.
    pub existing: Option<Value>,
    /// The time that `older_than` and `within` compare with.
    pub as_of: Timestamp,
}

impl fmt::Debug for ContactInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest is personal.
        let Self { key, as_of, .. } = self;
        f.debug_struct("ContactInput")
            .field("key", key)
            .field("as_of", as_of)
            .finish_non_exhaustive()
    }
}

/// All scripts compiled together.
#[derive(Debug, Clone)]
pub struct RuleSet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    compiled: Compiled,
    handlers: BTreeMap<&'static str, usize>,
    version: RuleSetVersion,
    files: Vec<SourceFile>,
    /// Paths of the scripts, shared by all origins.
    sources: Arc<[Arc<str>]>,
    lists: Arc<BTreeMap<String, i64>>,
    environment: RuleEnvironment,
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
        let mut compiled = load::compile(&files, environment)?;
        let handlers = find_handlers(&compiled.scripts, &files);
        if handlers.is_empty() {
            let folder = files.first().and_then(|file| file.path.split('/').next());
            compiled.warnings.push(
                Diagnostic::warning("no script has a handler", folder.unwrap_or("scripts"))
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

    /// Derives the decision on a contact: `map_contact`, then `map_tags` unless the contact was
    /// skipped or deleted, then `merge_contact` where Brevo holds the contact.
    ///
    /// # Errors
    /// The script that broke. The same input breaks it again, except at the time limit.
    pub fn decide_contact(&self, input: &ContactInput) -> Result<Decision, ScriptError> {
        self.decide_contact_with(input, &self.0.lists)
    }

    /// The same with other names of lists, for tests.
    pub(crate) fn decide_contact_with(
        &self,
        input: &ContactInput,
        lists: &Arc<BTreeMap<String, i64>>,
    ) -> Result<Decision, ScriptError> {
        let mut decision = Decision::new(input.key.clone(), self.version().clone(), input.as_of);
        if !self.has(MAP_CONTACT) {
            decision.verdict = Verdict::Skip { reason: format!("no rule `{MAP_CONTACT}`") };
            return Ok(decision);
        }
        let evaluation = Evaluation::new(input.as_of, self.0.sources.clone());
        let contact = View::dynamic(Arc::new(input.contact.clone()));
        let handle = |decision, evaluation: &Evaluation| {
            DecisionHandle::new(decision, evaluation.clone(), lists.clone())
        };
        let mut brevo = handle(decision, &evaluation);
        let _ = self.call(MAP_CONTACT, vec![contact.clone(), brevo.dynamic()], &evaluation)?;
        if !brevo.is_settled() && self.has(MAP_TAGS) {
            let tags = contact.read_lock::<View>().map(|view| view.field(&"tags".into()));
            let tags = tags.filter(|tags| !tags.is_unit()).unwrap_or_else(no_tags);
            let _ = self.call(MAP_TAGS, vec![tags, contact, brevo.dynamic()], &evaluation)?;
        }
        if let Some(existing) = &input.existing
            && !brevo.is_settled()
            && self.has(MERGE_CONTACT)
        {
            brevo = self.merge(existing, brevo, &evaluation, handle)?;
        }
        let mut decision = brevo.finish();
        let notes = evaluation.take_notes();
        decision.log = notes.log;
        decision.flips_at = notes.flips_at;
        Ok(decision)
    }

    /// Asks `choose_primary` which of several contacts is the one that counts: its index, `None`
    /// if there is no such handler or it leaves the choice to the engine by returning `()`.
    ///
    /// # Errors
    /// The script broke, or returned something else than one of the contacts.
    pub fn choose_primary(&self, contacts: &[Value]) -> Result<Option<usize>, ScriptError> {
        if !self.has(CHOOSE_PRIMARY) {
            return Ok(None);
        }
        let evaluation = Evaluation::timeless(self.0.sources.clone());
        let views = View::dynamic(Arc::new(Value::Array(contacts.to_vec())));
        let chosen = self.call(CHOOSE_PRIMARY, vec![views], &evaluation)?;
        if chosen.is_unit() {
            return Ok(None);
        }
        let found = contacts.iter().position(|contact| equals(contact, &chosen));
        match found {
            Some(index) => Ok(Some(index)),
            None => Err(ScriptError {
                kind: ScriptErrorKind::Refused,
                message: format!("`{CHOOSE_PRIMARY}` must return one of its contacts"),
                origin: self.place_of(CHOOSE_PRIMARY),
                trace: Vec::new(),
            }),
        }
    }

    /// What the set was compiled to, for the test runner.
    pub(crate) fn compiled(&self) -> &Compiled {
        &self.0.compiled
    }

    /// What the set sees of the configuration.
    pub(crate) fn environment(&self) -> &RuleEnvironment {
        &self.0.environment
    }

    /// Runs `merge_contact`, and runs it again as if its result had been written: a decision that
    /// would move with each derivation is an error at the line that moves it.
    fn merge(
        &self,
        existing: &Value,
        mapped: DecisionHandle,
        evaluation: &Evaluation,
        handle: impl FnOnce(Decision, &Evaluation) -> DecisionHandle,
    ) -> Result<DecisionHandle, ScriptError> {
        let before = mapped.snapshot();
        let view = View::dynamic(Arc::new(existing.clone()));
        let _ = self.call(MERGE_CONTACT, vec![view, mapped.dynamic()], evaluation)?;
        let merged = mapped.snapshot();

        let applied = merge::apply(existing, &merged);
        // The second run is a check, so what it logs is not kept.
        let silent = Evaluation::new(merged.as_of, self.0.sources.clone());
        let again = handle(before, &silent);
        let view = View::dynamic(Arc::new(applied.clone()));
        let _ = self.call(MERGE_CONTACT, vec![view, again.dynamic()], &silent)?;
        match merge::moves(&applied, &merged, &again.finish()) {
            None => Ok(mapped),
            Some((what, origin)) => Err(ScriptError {
                kind: ScriptErrorKind::Unstable,
                message: format!(
                    "`{MERGE_CONTACT}` decides otherwise on its own result: {what} would move each time"
                ),
                origin,
                trace: Vec::new(),
            }),
        }
    }

    /// Where a handler is defined.
    fn place_of(&self, handler: &str) -> Option<Origin> {
        let script = self.0.compiled.scripts.get(*self.0.handlers.get(handler)?)?;
        let file = self.0.files.iter().find(|file| script.source() == Some(&file.path))?;
        let (line, column) = check::head_of(&file.text, handler);
        Some(Origin { file: file.path.as_str().into(), line, column })
    }

    fn has(&self, handler: &str) -> bool {
        self.0.handlers.contains_key(handler)
    }

    fn call(
        &self,
        handler: &str,
        arguments: Vec<Dynamic>,
        evaluation: &Evaluation,
    ) -> Result<Dynamic, ScriptError> {
        let Compiled { engine, scripts, .. } = &self.0.compiled;
        let Some(script) = self.0.handlers.get(handler).and_then(|index| scripts.get(*index))
        else {
            return Ok(Dynamic::UNIT);
        };
        let options = CallFnOptions::new().eval_ast(false).with_tag(evaluation.clone());
        let _deadline = Deadline::start(self.0.environment.limits.time);
        // A panic must not take the worker down with it; nothing outlives the call but the handle.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let scope = &mut Scope::new();
            engine.call_fn_with_options::<Dynamic>(options, scope, script, handler, arguments)
        }));
        let file = script.source().unwrap_or_default();
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let operand = |place: &Origin, index| blame::operand(scripts, place, index);
                let error = ScriptError::new(*error, file, &operand);
                Err(error.or_at(|| self.place_of(handler)))
            }
            Err(panic) => Err(panicked(panic.as_ref(), handler)),
        }
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

fn no_tags() -> Dynamic {
    View::dynamic(Arc::new(Value::Array(Vec::new())))
}

fn panicked(panic: &(dyn Any + Send), handler: &str) -> ScriptError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given");
    ScriptError {
        kind: ScriptErrorKind::Panicked,
        message: super::error::single_line(&format!("a function panicked in `{handler}`: {text}")),
        origin: None,
        trace: Vec::new(),
    }
}
