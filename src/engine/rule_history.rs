//! The versions of the rules: each judgement is kept, new rules derive all known records again, and
//! an earlier version can be pinned.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Engine, EngineError, Inner, rule_environment};
use crate::config::{Config, OnChange};
use crate::model::{Origin, RulesPin, Timestamp};
use crate::rules::{
    Diagnostic, FolderContent, Judgement, Pinned, Rehearsal, ReloadOutcome, RuleError, SourceFile,
    rehearse,
};
use crate::store::{FileChanges, RuleSetEntry, RuleSetSummary, Store};

/// The fewest characters of a version that name one.
const PREFIX: usize = 4;

/// A judgement on a version, as the history shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionView {
    /// The version.
    pub version: String,
    /// When it was judged (ISO 8601, UTC).
    pub at: String,
    /// The system user who wrote it, as far as that is known.
    pub author: Option<String>,
    /// True if it went live then; else it was refused.
    pub went_live: bool,
    /// True if it is live now.
    pub live: bool,
    /// True if it is pinned.
    pub pinned: bool,
    /// Why it was refused: the first reason.
    pub error: Option<RuleError>,
    /// The version that was live before.
    pub base: Option<String>,
    /// Which files differ from that one. None: only the configuration does.
    pub files: FileChanges,
}

/// Which version was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// It is no beginning of a version.
    #[error("`{0}` is no version: give at least {PREFIX} of its first characters")]
    Unusable(String),
    /// The history has none that begins so.
    #[error("no version begins with `{0}`")]
    Unknown(String),
    /// Several begin so.
    #[error("`{asked}` is ambiguous: {} begin so", versions.join(", "))]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// Which begin so.
        versions: Vec<String>,
    },
}

/// Why a version cannot be rolled back to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RollbackError {
    /// It is not known which version is meant.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// It does not work with today's configuration.
    #[error("version {version} does not work with today's configuration: {}", first(problems))]
    Refused {
        /// The version.
        version: String,
        /// What is wrong.
        problems: Vec<Diagnostic>,
    },
    /// Something else failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

fn first(problems: &[Diagnostic]) -> String {
    problems.first().map_or_else(String::new, |problem| {
        format!("{}:{}:{}: {}", problem.file, problem.line, problem.column, problem.message)
    })
}

/// What a rollback came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolledBack {
    /// The version that was asked for, in full.
    pub version: String,
    /// The version that its files make with today's configuration, which is live, or will be at the
    /// next start.
    pub live: String,
    /// False if the folder holds these rules, so that nothing needs to be pinned.
    pub pinned: bool,
}

/// Finds the one version that begins as somebody wrote.
///
/// # Errors
/// None does, or several do.
pub fn find_version(asked: &str, known: &[RuleSetSummary]) -> Result<String, VersionError> {
    let is_usable = asked.len() >= PREFIX && asked.chars().all(|c| c.is_ascii_hexdigit());
    if !is_usable {
        return Err(VersionError::Unusable(asked.chars().take(64).collect()));
    }
    let lower = asked.to_ascii_lowercase();
    let found: BTreeSet<&str> = known
        .iter()
        .map(|entry| entry.version.as_str())
        .filter(|version| version.starts_with(&lower))
        .collect();
    let mut versions: Vec<String> = found.into_iter().map(str::to_owned).collect();
    match versions.pop() {
        None => Err(VersionError::Unknown(asked.to_owned())),
        Some(version) if versions.is_empty() => Ok(version),
        Some(version) => {
            versions.push(version);
            Err(VersionError::Ambiguous { asked: asked.to_owned(), versions })
        }
    }
}

/// The history of a store, newest first. `live`: the version that is live; unknown, it is the last
/// that went live.
pub async fn rule_history(
    store: &dyn Store,
    live: Option<&str>,
) -> Result<Vec<VersionView>, EngineError> {
    let known = store.rule_sets().await?;
    let pin = store.rules_pin().await?;
    Ok(views(known, pin.as_ref(), live))
}

fn views(
    known: Vec<RuleSetSummary>,
    pin: Option<&RulesPin>,
    live: Option<&str>,
) -> Vec<VersionView> {
    let mut is_before_live = true;
    let mut is_before_pinned = true;
    let mut view = |entry: RuleSetSummary| {
        // Of several entries of one version the newest is shown as live, or pinned.
        let is_live = is_before_live && entry.live && live.is_none_or(|live| live == entry.version);
        is_before_live &= !is_live;
        let is_pinned = is_before_pinned && pin.is_some_and(|pin| pin.version == entry.version);
        is_before_pinned &= !is_pinned;
        let origin = entry.origin.unwrap_or(Origin { file: "scripts".into(), line: 0, column: 0 });
        let error = entry.error.map(|message| RuleError {
            message,
            file: origin.file.to_string(),
            line: origin.line,
            column: origin.column,
        });
        VersionView {
            version: entry.version,
            at: entry.at.to_string(),
            author: entry.author,
            went_live: entry.live,
            live: is_live,
            pinned: is_pinned,
            error,
            base: entry.base,
            files: entry.changes,
        }
    };
    known.into_iter().map(&mut view).collect()
}

/// The files of an entry as the rules take them.
pub(crate) fn source_files(entry: RuleSetEntry) -> Vec<SourceFile> {
    entry.files.into_iter().map(|(path, text)| SourceFile { path, text }).collect()
}

/// A version that may be rolled back to.
#[derive(Debug)]
struct Candidate {
    version: String,
    files: Vec<SourceFile>,
    /// The version that the files make with today's configuration.
    today: String,
    folder: FolderContent,
    /// The folder holds these rules already.
    is_in_folder: bool,
}

/// Finds a version and tries it.
async fn candidate(
    store: &dyn Store,
    config: &Config,
    asked: &str,
) -> Result<Candidate, RollbackError> {
    let known = store.rule_sets().await.map_err(EngineError::from)?;
    let version = find_version(asked, &known)?;
    let entry = store.rule_set(version.clone()).await.map_err(EngineError::from)?;
    let files = entry.map(source_files).ok_or_else(|| VersionError::Unknown(asked.to_owned()))?;
    let environment = rule_environment(config);
    let (dir, require_tests) = (config.scripts.dir.clone(), config.scripts.require_tests);
    let tried = {
        let (files, environment) = (files.clone(), environment.clone());
        tokio::task::spawn_blocking(move || rehearse(&dir, require_tests, &environment, files))
    };
    let Rehearsal { folder, result } = blocking(tried.await)?;
    let today = match result {
        Ok(today) => today,
        Err(problems) => return Err(RollbackError::Refused { version, problems }),
    };
    let is_in_folder = folder.version(&environment).as_ref() == Some(&today);
    Ok(Candidate { version, files, today: today.to_string(), folder, is_in_folder })
}

fn blocking<T, E: std::error::Error>(
    joined: Result<std::io::Result<T>, E>,
) -> Result<T, EngineError> {
    let result = joined.map_err(|error| EngineError::Worker(error.to_string()))?;
    result.map_err(|error| EngineError::Worker(error.to_string()))
}

/// Rolls back in a store on which no engine runs: the next one starts with the version.
///
/// # Errors
/// The version is not known, or does not work with today's configuration.
pub async fn roll_back_in(
    store: &dyn Store,
    config: &Config,
    asked: &str,
    author: Option<String>,
    now: Timestamp,
) -> Result<RolledBack, RollbackError> {
    let Candidate { version, today, folder, is_in_folder, .. } =
        candidate(store, config, asked).await?;
    if is_in_folder {
        if let Some(pin) = store.rules_pin().await.map_err(EngineError::from)? {
            store.unpin_rules(pin).await.map_err(EngineError::from)?;
        }
    } else {
        let pin = RulesPin { version: version.clone(), content: folder.rules(), at: now, author };
        store.pin_rules(pin).await.map_err(EngineError::from)?;
    }
    Ok(RolledBack { version, live: today, pinned: !is_in_folder })
}

impl Engine {
    /// The history of the rules, newest first.
    pub async fn rule_history(&self) -> Result<Vec<VersionView>, EngineError> {
        let live = self.inner.rules.status().version.map(|version| version.to_string());
        rule_history(self.inner.store.as_ref(), live.as_deref()).await
    }

    /// Lets an earlier version go live, and stay so until the rules in the folder change. It is
    /// durable before it is live.
    ///
    /// # Errors
    /// The version is not known, or does not work with today's configuration: nothing changes.
    pub async fn roll_back(
        &self,
        asked: &str,
        author: Option<String>,
    ) -> Result<RolledBack, RollbackError> {
        let inner = &self.inner;
        let Candidate { version, files, today, folder, is_in_folder } =
            candidate(inner.store.as_ref(), &inner.config.load_full(), asked).await?;
        let before = inner.store.rules_pin().await.map_err(EngineError::from)?;
        if is_in_folder {
            if let Some(pin) = before {
                inner.store.unpin_rules(pin).await.map_err(EngineError::from)?;
                let engine = Arc::clone(inner);
                let unpinned = tokio::task::spawn_blocking(move || Ok(engine.rules.unpin()));
                let _ = blocking(unpinned.await)?;
            }
            return Ok(RolledBack { version, live: today, pinned: false });
        }
        let now = inner.clock.now();
        let pin = RulesPin { version: version.clone(), content: folder.rules(), at: now, author };
        inner.store.pin_rules(pin.clone()).await.map_err(EngineError::from)?;
        let (engine, pinned) = (Arc::clone(inner), Pinned { pin: pin.clone(), files });
        let outcome = tokio::task::spawn_blocking(move || Ok(engine.rules.pin(pinned)));
        if let ReloadOutcome::Refused(error) = blocking(outcome.await)? {
            // The configuration changed in this moment.
            inner.store.unpin_rules(pin).await.map_err(EngineError::from)?;
            let problem = Diagnostic::error(error.message, error.file);
            return Err(RollbackError::Refused { version, problems: vec![problem] });
        }
        Ok(RolledBack { version, live: today, pinned: true })
    }
}

/// Keeps each judgement in the history, and derives all known records again with new rules, if so
/// configured.
pub(super) async fn keep_rules(engine: Arc<Inner>) {
    let mut status = engine.rules.subscribe();
    let mut live = loop {
        match engine.store.last_rule_set().await {
            Ok(last) => break last.map(|last| last.version),
            // Without it a change could pass for the first rules, and nothing be derived again.
            Err(error) => engine.note(&error.into()),
        }
        if engine.wait(Duration::from_secs(1)).await.is_err() {
            return;
        }
    };
    loop {
        if let Some(rules) = engine.rules.current() {
            engine.unserved.note_handlers(&rules);
        }
        while let Some(judgement) = engine.rules.next_judgement() {
            if let Err(error) = engine.keep(&judgement, &mut live).await {
                engine.note(&error);
                if engine.wait(Duration::from_secs(1)).await.is_err() {
                    return;
                }
                continue;
            }
            engine.rules.judgement_is_kept(&judgement);
        }
        // A process that died, or rules that went back and forth, may leave a count without an end.
        if let Err(error) = engine.feed_counts().await {
            engine.note(&error);
        }
        tokio::select! {
            () = engine.guard.unfed.notified() => {}
            changed = status.changed() => if changed.is_err() { return },
            () = engine.stop.cancelled() => return,
        }
    }
}

impl Inner {
    async fn keep(
        &self,
        judgement: &Judgement,
        live: &mut Option<String>,
    ) -> Result<(), EngineError> {
        if let Some(ended) = judgement.ended.clone() {
            self.store.unpin_rules(ended).await?;
        }
        let version = judgement.version.to_string();
        let is_live = judgement.error.is_none();
        let is_new = is_live && live.as_ref() != Some(&version);
        // Derived first: a crash in between derives again, and never forgets to.
        if is_new && live.is_some() && self.config.load().scripts.on_change == OnChange::Reapply {
            self.reapply(&version).await?;
        }
        self.store.put_rule_set(entry(judgement)).await?;
        if is_live {
            *live = Some(version);
            self.live_work.notify_one();
            self.bulk_work.notify_one();
            self.companies.wake();
        }
        Ok(())
    }
}

impl Inner {
    /// Derives all contacts again under new rules, and has counted what they take away.
    async fn reapply(&self, version: &str) -> Result<(), EngineError> {
        let now = self.clock.now();
        let cause = self.store.begin_rules(version.to_owned(), now).await?;
        let contacts = self.store.rederive_all(Some(cause), now).await?;
        self.store.feed(cause).await?;
        self.bulk_work.notify_one();
        self.guard.wake();
        tracing::info!(ruleset.version = version, contacts, "all contacts are derived again");
        Ok(())
    }

    /// Derives all contacts again where new rules are counted and that was not done.
    async fn feed_counts(&self) -> Result<(), EngineError> {
        if !self.store.has_unfed_rules().await? {
            return Ok(());
        }
        match self.rules.current() {
            Some(rules) => self.reapply(rules.version().as_str()).await,
            None => Ok(()),
        }
    }
}

fn entry(judgement: &Judgement) -> RuleSetEntry {
    let files = judgement.files.iter().map(|file| (file.path.clone(), file.text.clone()));
    let error = judgement.error.as_ref();
    RuleSetEntry {
        version: judgement.version.to_string(),
        at: judgement.at,
        author: judgement.author.clone(),
        live: error.is_none(),
        files: files.collect(),
        error: error.map(|error| error.message.clone()),
        origin: error.map(|error| Origin {
            file: error.file.as_str().into(),
            line: error.line,
            column: error.column,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(version: &str, live: bool) -> RuleSetSummary {
        RuleSetSummary {
            version: version.to_owned(),
            at: Timestamp::from_seconds(0),
            author: None,
            live,
            error: (!live).then(|| "broken".to_owned()),
            origin: None,
            base: None,
            changes: FileChanges::default(),
            files: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_beginning_names_a_version_if_no_other_begins_so() {
        let known =
            [summary("abcd0001", true), summary("abcd0002", false), summary("abcd0001", true)];
        fn case(asked: &str, known: &[RuleSetSummary], expected: Result<&str, &str>) {
            let found = find_version(asked, known).map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{asked}");
        }
        case("abcd0001", &known, Ok("abcd0001"));
        case("ABCD0002", &known, Ok("abcd0002"));
        case("abcd0", &known, Err("`abcd0` is ambiguous: abcd0001, abcd0002 begin so"));
        case("beef", &known, Err("no version begins with `beef`"));
        let short = "`abc` is no version: give at least 4 of its first characters";
        case("abc", &known, Err(short));
        let other = "`../x` is no version: give at least 4 of its first characters";
        case("../x", &known, Err(other));
    }

    #[test]
    fn of_several_entries_of_one_version_the_newest_is_live() {
        let known = || {
            vec![
                summary("bbbb", false),
                summary("aaaa", true),
                summary("cccc", true),
                summary("aaaa", true),
            ]
        };
        let content = crate::model::Digest::of_bytes(b"");
        let at = Timestamp::from_seconds(0);
        let pin = RulesPin { version: "aaaa".to_owned(), content, at, author: None };
        let marks = |live| -> Vec<(bool, bool)> {
            let views = views(known(), Some(&pin), live);
            views.iter().map(|view| (view.live, view.pinned)).collect()
        };
        let expected = [(false, false), (true, true), (false, false), (false, false)];
        assert_eq!(marks(None), expected);
        assert_eq!(marks(Some("aaaa")), expected);
        let expected = [(false, false), (false, true), (true, false), (false, false)];
        assert_eq!(marks(Some("cccc")), expected);
    }
}
