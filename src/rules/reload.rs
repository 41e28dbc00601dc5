//! The rule set that is live, and its replacement while the engine runs.
//!
//! A thread watches the folder, waits until it is quiet, loads everything, runs the tests and swaps
//! one pointer. Watchers can fall silent without a word, so the content is looked at every few
//! seconds as well. Whatever goes wrong, the previous rules stay; what is wrong is logged once per
//! content and shown in the [`RulesStatus`].

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};
use serde_json::json;
use tokio::sync::watch;

use super::diagnostic::Diagnostic;
use super::files;
use super::harness::run_tests;
use super::ruleset::{RuleEnvironment, RuleSet, SourceFile};
use super::status::{ReloadOutcome, RuleError, RulesStatus};
use crate::model::{Clock, Digest, Timestamp};

/// Deep scripts need deep stacks; a test may run one on the thread that reloads.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// How rules are found and taken up.
#[derive(Debug, Clone)]
pub struct ReloadOptions {
    /// The folder of the scripts.
    pub dir: PathBuf,
    /// Whether a set whose tests fail stays out. A set without tests is only warned about.
    pub require_tests: bool,
    /// The files of the rules that were live last, for a start with a folder that is broken.
    pub earlier: Option<Vec<SourceFile>>,
    /// How long the folder must be quiet before it is read.
    pub quiet: Duration,
    /// How often the content is looked at, whatever the watcher says.
    pub poll: Duration,
}

impl ReloadOptions {
    /// The options for a folder: tests required, 200 ms of quiet, a look every two seconds.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            require_tests: true,
            earlier: None,
            quiet: Duration::from_millis(200),
            poll: Duration::from_secs(2),
        }
    }
}

/// The live rules.
///
/// Dropping them ends the watching; rule sets that were handed out live on.
#[derive(Debug)]
pub struct Rules {
    state: Arc<State>,
    /// `None`: rules that never change.
    requests: Option<Sender<Request>>,
}

#[derive(Debug)]
struct State {
    live: ArcSwapOption<RuleSet>,
    status: watch::Sender<RulesStatus>,
}

enum Request {
    /// Something in the folder changed, perhaps.
    Look,
    /// Look now, and say what came of it.
    Reload(Sender<ReloadOutcome>),
    /// The configuration changed.
    Environment(Box<RuleEnvironment>),
    Stop,
}

impl Rules {
    /// Loads the folder and watches it. If it is broken, the earlier rules are taken; if there are
    /// none, [`Rules::current`] is `None` until the folder is mended. Blocks until the first look
    /// is done.
    pub fn open(
        options: ReloadOptions,
        environment: RuleEnvironment,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let (requests, inbox) = mpsc::channel();
        let (ready, first) = mpsc::channel();
        let worker = Worker {
            state: state.clone(),
            options,
            environment,
            clock,
            seen: None,
            own: requests.clone(),
        };
        std::thread::Builder::new()
            .name("rules".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || worker.run(&inbox, &ready))?;
        // The thread says so even where the folder is broken; an error means that it is gone.
        first.recv().map_err(|_| std::io::Error::other("the thread of the rules ended"))?;
        Ok(Self { state, requests: Some(requests) })
    }

    /// Rules that never change, for commands that run once.
    pub fn fixed(rules: RuleSet, clock: &dyn Clock) -> Self {
        let state = State::default();
        state.go_live(rules, clock.now());
        Self { state: Arc::new(state), requests: None }
    }

    /// The live rules; `None` if the folder was broken at the start and there were none earlier.
    /// Take them once per record and run it to its end with them.
    pub fn current(&self) -> Option<Arc<RuleSet>> {
        self.state.live.load_full()
    }

    /// Which version is live and what is wrong with the folder.
    pub fn status(&self) -> RulesStatus {
        self.state.status.borrow().clone()
    }

    /// Wakes whenever the status changes: a new version, a refusal, the end of one.
    pub fn subscribe(&self) -> watch::Receiver<RulesStatus> {
        self.state.status.subscribe()
    }

    /// Takes up another configuration, which makes a new version; the old one stays if the scripts
    /// do not work with it.
    pub fn set_environment(&self, environment: RuleEnvironment) {
        self.send(Request::Environment(Box::new(environment)));
    }

    /// Looks at the folder now and waits for what comes of it. Blocks; not for async code.
    pub fn reload(&self) -> ReloadOutcome {
        let (answer, outcome) = mpsc::channel();
        self.send(Request::Reload(answer));
        outcome.recv().unwrap_or(ReloadOutcome::Unchanged)
    }

    fn send(&self, request: Request) {
        // The thread ends only when it is told to, so nobody waits for an answer that was lost.
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
        }
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        self.send(Request::Stop);
    }
}

impl Default for State {
    fn default() -> Self {
        Self { live: ArcSwapOption::empty(), status: watch::Sender::new(RulesStatus::default()) }
    }
}

impl State {
    fn go_live(&self, rules: RuleSet, at: Timestamp) {
        let version = Some(rules.version().clone());
        self.live.store(Some(Arc::new(rules)));
        self.status.send_replace(RulesStatus { version, loaded_at: Some(at), error: None });
    }

    fn refuse(&self, error: RuleError) {
        self.status.send_modify(|status| status.error = Some(error));
    }
}

/// The thread that keeps the rules up to date.
struct Worker {
    state: Arc<State>,
    options: ReloadOptions,
    environment: RuleEnvironment,
    clock: Arc<dyn Clock>,
    /// The content and configuration that were judged last.
    seen: Option<Digest>,
    own: Sender<Request>,
}

type Watcher = Debouncer<RecommendedWatcher, RecommendedCache>;

impl Worker {
    fn run(mut self, inbox: &Receiver<Request>, ready: &Sender<()>) {
        let mut watcher = self.watch();
        if let ReloadOutcome::Refused(_) = self.look() {
            self.take_earlier();
        }
        let _ = ready.send(());
        loop {
            let request = inbox.recv_timeout(self.options.poll);
            // A folder that was made, or made again, has no watcher yet.
            if watcher.is_none() {
                watcher = self.watch();
            }
            match request {
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Request::Look) | Err(RecvTimeoutError::Timeout) => {
                    if self.has_changed() && !self.wait_for_quiet(inbox) {
                        return;
                    }
                }
                Ok(Request::Reload(answer)) => {
                    let _ = answer.send(self.look());
                }
                Ok(Request::Environment(environment)) => {
                    self.environment = *environment;
                    let _ = self.look();
                }
            }
        }
    }

    /// Waits until two reads in a row are equal, then judges: a file that is gone for a moment is
    /// an editor saving. `false`: it is time to stop.
    fn wait_for_quiet(&mut self, inbox: &Receiver<Request>) -> bool {
        let mut before = self.content();
        loop {
            match inbox.recv_timeout(self.options.quiet) {
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Ok(Request::Environment(environment)) => self.environment = *environment,
                Ok(Request::Reload(answer)) => {
                    let _ = answer.send(self.look());
                    return true;
                }
                Ok(Request::Look) | Err(RecvTimeoutError::Timeout) => {}
            }
            let now = self.content();
            if now == before {
                let _ = self.look();
                return true;
            }
            before = now;
        }
    }

    /// Judges the folder's content, unless it was judged before.
    fn look(&mut self) -> ReloadOutcome {
        let content = self.content();
        if self.seen == Some(content) {
            return ReloadOutcome::Unchanged;
        }
        self.seen = Some(content);
        match self.load_safely() {
            Ok(rules) => self.take_up(rules),
            Err(problems) => {
                let shown = problems.iter().find(|problem| problem.is_error());
                let error = shown.or(problems.first()).map(RuleError::from);
                for problem in &problems {
                    tracing::error!(
                        file = %problem.file, line = problem.line, column = problem.column,
                        "the rules were refused, the previous ones stay: {}", problem.message
                    );
                }
                let error = error.unwrap_or_else(|| self.about_folder("the rules were refused"));
                self.state.refuse(error.clone());
                ReloadOutcome::Refused(error)
            }
        }
    }

    /// A panic while loading must not end the thread, or no change would be seen any more.
    fn load_safely(&self) -> Result<RuleSet, Vec<Diagnostic>> {
        catch_unwind(AssertUnwindSafe(|| self.load())).unwrap_or_else(|_| {
            let folder = self.about_folder("").file;
            Err(vec![Diagnostic::error("loading the rules panicked", folder)])
        })
    }

    fn load(&self) -> Result<RuleSet, Vec<Diagnostic>> {
        let rules = RuleSet::load(&self.options.dir, &self.environment)?;
        let live = self.state.live.load();
        if !rules.has_handlers() && live.as_ref().is_some_and(|live| live.has_handlers()) {
            let folder = self.about_folder("").file;
            return Err(vec![
                Diagnostic::error("no script has a handler", folder)
                    .with_help("an empty set of rules never replaces one that has some"),
            ]);
        }
        if !self.options.require_tests {
            return Ok(rules);
        }
        let report = run_tests(&rules, &self.options.dir);
        if report.is_empty() && rules.has_handlers() {
            tracing::warn!("the rules have no tests: write some in `tests`");
        }
        match report.first_failure() {
            None => Ok(rules),
            Some(failure) => {
                let mut failure = failure.clone();
                failure.message = format!("a test fails: {}", failure.message);
                Err(vec![failure])
            }
        }
    }

    fn take_up(&self, rules: RuleSet) -> ReloadOutcome {
        let version = rules.version().clone();
        for warning in rules.warnings() {
            tracing::warn!(
                file = %warning.file, line = warning.line, column = warning.column,
                "{}", warning.message
            );
        }
        let is_live = self.state.status.borrow().version.as_ref() == Some(&version);
        if is_live {
            // A test changed, or a broken file was put back as it was.
            self.state.status.send_modify(|status| status.error = None);
            return ReloadOutcome::Unchanged;
        }
        tracing::info!(ruleset.version = %version, "the rules are live");
        self.state.go_live(rules, self.clock.now());
        ReloadOutcome::Live(version)
    }

    /// Falls back to the rules that were live last, and keeps showing what is wrong with the
    /// folder.
    fn take_earlier(&mut self) {
        let Some(files) = self.options.earlier.take() else {
            return;
        };
        let Ok(rules) = RuleSet::from_files(files, &self.environment) else {
            tracing::error!("the rules that were live last do not work with this configuration");
            return;
        };
        tracing::warn!(ruleset.version = %rules.version(), "the rules that were live last stay so");
        let error = self.state.status.borrow().error.clone();
        self.state.go_live(rules, self.clock.now());
        self.state.status.send_modify(|status| status.error = error);
    }

    fn has_changed(&self) -> bool {
        self.seen != Some(self.content())
    }

    /// A digest of everything that a judgement depends on; times of files say nothing.
    fn content(&self) -> Digest {
        let files = match files::read_files(&self.options.dir) {
            Ok(files) => json!(files.iter().map(|f| (&f.path, &f.text)).collect::<Vec<_>>()),
            Err(problems) => json!(problems),
        };
        let RuleEnvironment { lists, settings, field_mapping, phone_region, limits } =
            &self.environment;
        let limits = format!("{limits:?}");
        Digest::of_json(&json!([files, lists, settings, field_mapping, phone_region, limits]))
    }

    fn about_folder(&self, message: &str) -> RuleError {
        let file = self.options.dir.file_name().map_or("scripts".into(), |n| n.to_string_lossy());
        RuleError { message: message.to_owned(), file: file.into_owned(), line: 0, column: 0 }
    }

    /// Watches the folder; `None` where that does not work, and the regular look has to do.
    fn watch(&self) -> Option<Watcher> {
        let requests = Mutex::new(self.own.clone());
        let tell = move |_: DebounceEventResult| {
            let _ = requests.lock().unwrap_or_else(PoisonError::into_inner).send(Request::Look);
        };
        watch(&self.options.dir, self.options.quiet, tell)
    }
}

fn watch(
    dir: &Path,
    quiet: Duration,
    tell: impl FnMut(DebounceEventResult) + Send + 'static,
) -> Option<Watcher> {
    let mut watcher = new_debouncer(quiet, None, tell).ok()?;
    watcher.watch(dir, RecursiveMode::Recursive).ok()?;
    Some(watcher)
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Look => "Look",
            Self::Reload(_) => "Reload",
            Self::Environment(_) => "Environment",
            Self::Stop => "Stop",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::{ManualClock, RuleSetVersion};

    const GOOD: &str = "fn map_contact(contact, brevo) { brevo.A = 1; }";
    const BROKEN: &str = "fn map_contact(contact, brevo) {\n  brevo.A = split_nam(1);\n}";

    struct Folder {
        dir: tempfile::TempDir,
        rules: Rules,
    }

    impl Folder {
        fn open(text: &str, change: impl FnOnce(&mut ReloadOptions)) -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("scripts/tests")).unwrap();
            fs::write(dir.path().join("scripts/a.rhai"), text).unwrap();
            let mut options = ReloadOptions::new(dir.path().join("scripts"));
            // Without this no test would tell a watcher from a poll.
            options.poll = Duration::from_secs(600);
            change(&mut options);
            let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(7)));
            let rules = Rules::open(options, RuleEnvironment::default(), clock).unwrap();
            Self { dir, rules }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.dir.path().join("scripts").join(name), text).unwrap();
        }

        fn version(&self) -> Option<RuleSetVersion> {
            self.rules.current().map(|rules| rules.version().clone())
        }

        /// Waits until the status is as wanted; the deadline is there for a failing test only.
        fn wait_for(&self, wanted: impl FnMut(&RulesStatus) -> bool) -> RulesStatus {
            let mut status = self.rules.subscribe();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let found = tokio::time::timeout(Duration::from_secs(20), status.wait_for(wanted));
                found.await.unwrap().unwrap().clone()
            })
        }
    }

    #[test]
    fn a_change_goes_live_by_itself() {
        let folder = Folder::open(GOOD, |_| {});
        let before = folder.rules.status();
        assert_eq!((before.loaded_at, &before.error), (Some(Timestamp::from_seconds(7)), &None));
        folder.write("a.rhai", &GOOD.replace('1', "2"));
        folder.wait_for(|status| status.version != before.version);
    }

    #[test]
    fn a_change_goes_live_without_a_watcher_too() {
        let folder = Folder::open(GOOD, |options| {
            options.poll = Duration::from_millis(20);
            options.quiet = Duration::from_millis(1);
        });
        let before = folder.version();
        folder.write("b.rhai", "fn f() { 1 }");
        folder.wait_for(|status| status.version != before);
    }

    #[test]
    fn keeps_the_old_rules_when_compilation_fails_and_shows_where() {
        let folder = Folder::open(GOOD, |_| {});
        let before = folder.version();
        folder.write("a.rhai", BROKEN);
        let ReloadOutcome::Refused(error) = folder.rules.reload() else { panic!("not refused") };
        assert_eq!(error.message, "there is no function `split_nam`");
        assert_eq!((error.file.as_str(), error.line, error.column), ("scripts/a.rhai", 2, 13));
        assert_eq!(folder.rules.status().error, Some(error));
        assert_eq!(folder.version(), before);
        assert_eq!(folder.rules.reload(), ReloadOutcome::Unchanged);

        folder.write("a.rhai", GOOD);
        assert_eq!(folder.rules.reload(), ReloadOutcome::Unchanged);
        assert_eq!(folder.rules.status().error, None);
    }

    #[test]
    fn keeps_the_old_rules_when_a_test_fails() {
        let folder = Folder::open(GOOD, |_| {});
        folder.write("tests/a.rhai", "fn test_a() { assert_eq(run_contact(#{}).A, 1); }");
        assert_eq!(folder.rules.reload(), ReloadOutcome::Unchanged);
        folder.write("a.rhai", &GOOD.replace('1', "2"));
        let ReloadOutcome::Refused(error) = folder.rules.reload() else { panic!("not refused") };
        assert_eq!(error.message, "a test fails: got 2, expected 1");
        assert_eq!(error.file, "scripts/tests/a.rhai");
    }

    #[test]
    fn an_empty_or_missing_folder_never_replaces_rules() {
        let folder = Folder::open(GOOD, |_| {});
        let before = folder.version();
        folder.write("a.rhai", "// nothing");
        assert!(matches!(folder.rules.reload(), ReloadOutcome::Refused(_)));
        fs::remove_dir_all(folder.dir.path().join("scripts")).unwrap();
        assert!(matches!(folder.rules.reload(), ReloadOutcome::Refused(_)));
        assert_eq!(folder.version(), before);
    }

    #[test]
    fn broken_rules_at_the_start_leave_none_or_the_earlier_ones() {
        let folder = Folder::open(BROKEN, |_| {});
        assert!(folder.rules.current().is_none() && folder.rules.status().error.is_some());
        folder.write("a.rhai", GOOD);
        assert!(matches!(folder.rules.reload(), ReloadOutcome::Live(_)));

        let earlier = vec![SourceFile { path: "scripts/a.rhai".into(), text: GOOD.into() }];
        let folder = Folder::open(BROKEN, |options| options.earlier = Some(earlier));
        assert!(folder.rules.current().is_some() && folder.rules.status().error.is_some());
    }

    #[test]
    fn another_configuration_is_another_version() {
        let folder = Folder::open(GOOD, |_| {});
        let before = folder.version();
        let lists = [("leads".to_owned(), 37)].into();
        folder.rules.set_environment(RuleEnvironment { lists, ..RuleEnvironment::default() });
        folder.wait_for(|status| status.version != before);
    }
}
