//! The thread that keeps the rules up to date.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Pinned, ReloadOptions, Request, State};
use crate::model::{Clock, Digest, RuleSetVersion, RulesPin};
use crate::rules::author::{author_of, process_user};
use crate::rules::diagnostic::Diagnostic;
use crate::rules::files::{self, FolderContent, root_of};
use crate::rules::judge::Judge;
use crate::rules::ruleset::{RuleEnvironment, RuleSet, SourceFile};
use crate::rules::status::{Judgement, Refusal, ReloadOutcome, RuleError};
use crate::rules::watch::FolderWatch;

/// How long a start waits for a folder in which somebody writes.
const START: Duration = Duration::from_secs(3);
/// How many times as long the folder must be quiet where a file of the live rules is gone or empty.
const LOSS: u32 = 15;
/// How many problems of a refused set are shown.
const PROBLEMS: usize = 100;

/// The thread that keeps the rules up to date.
pub(super) struct Worker {
    state: Arc<State>,
    options: ReloadOptions,
    environment: RuleEnvironment,
    clock: Arc<dyn Clock>,
    watch: FolderWatch,
    /// The content, configuration and pin that were judged last.
    seen: Option<Digest>,
    /// Who waits for what comes of the next look.
    waiting: Vec<Sender<ReloadOutcome>>,
}

/// What a request asks of the thread's loop.
enum Next {
    Look,
    Nothing,
    Stop,
}

/// What waiting for quiet came to.
enum Quiet {
    /// This is what was there twice, with the quiet in between.
    Content(FolderContent),
    /// It did not become quiet in time.
    Busy,
    Stop,
}

impl Worker {
    /// A worker that has looked at nothing yet.
    pub(super) fn new(
        state: Arc<State>,
        options: ReloadOptions,
        environment: RuleEnvironment,
        clock: Arc<dyn Clock>,
        watch: FolderWatch,
    ) -> Self {
        let (seen, waiting) = (None, Vec::new());
        Self { state, options, environment, clock, watch, seen, waiting }
    }

    /// Looks once, says so, then looks until it is told to stop.
    pub(super) fn run(mut self, inbox: &Receiver<Request>, ready: &Sender<()>) {
        self.start(inbox);
        let _ = ready.send(());
        loop {
            let request = inbox.recv_timeout(self.options.poll);
            let is_poll = matches!(request, Err(RecvTimeoutError::Timeout));
            self.watch.renew_if_moved();
            match self.serve(request) {
                Next::Stop => return,
                Next::Nothing => continue,
                Next::Look => {}
            }
            let content = FolderContent::read(&self.options.dir);
            if self.seen == Some(self.key(&content)) {
                self.answer(&ReloadOutcome::Unchanged);
                continue;
            }
            if is_poll {
                // The watcher would have said so, did it still watch.
                self.watch.renew();
            }
            match self.wait_for_quiet(content, inbox, None) {
                Quiet::Content(content) => {
                    let outcome = self.judge(&content);
                    self.answer(&outcome);
                }
                Quiet::Busy => {}
                Quiet::Stop => return,
            }
        }
    }

    /// The first look. What was judged before the restart needs no quiet.
    fn start(&mut self, inbox: &Receiver<Request>) {
        let content = FolderContent::read(&self.options.dir);
        let is_known = self.pin_holds(&content)
            || matches!(content.files(), Ok(files) if Some(files) == self.options.earlier.as_deref());
        let content = if is_known {
            Some(content)
        } else {
            match self.wait_for_quiet(content, inbox, Some(Instant::now() + START)) {
                Quiet::Content(content) => Some(content),
                Quiet::Busy | Quiet::Stop => None,
            }
        };
        if let Some(content) = content {
            let _ = self.judge(&content);
        }
        if self.state.live.load().is_none() {
            self.take_earlier();
        }
    }

    /// Does what a request asks at once, and says whether to look at the folder.
    fn serve(&mut self, request: Result<Request, RecvTimeoutError>) -> Next {
        match request {
            Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return Next::Stop,
            Ok(Request::Look) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Request::Reload(answer)) => self.waiting.push(answer),
            Ok(Request::Environment(environment)) => self.environment = *environment,
            Ok(Request::Pin(pinned, answer)) => {
                let _ = answer.send(self.pin_now(*pinned));
                return Next::Nothing;
            }
            Ok(Request::Unpin(answer)) => {
                self.options.pinned = None;
                self.state.status.send_modify(|status| status.pinned = None);
                self.waiting.push(answer);
            }
        }
        Next::Look
    }

    fn answer(&mut self, outcome: &ReloadOutcome) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(outcome.clone());
        }
    }

    /// Waits until two reads with the quiet in between are equal: a file that is gone for a moment,
    /// or half there, is somebody saving. Only what was read so is judged.
    fn wait_for_quiet(
        &mut self,
        first: FolderContent,
        inbox: &Receiver<Request>,
        deadline: Option<Instant>,
    ) -> Quiet {
        let (mut content, mut since) = (first, Instant::now());
        loop {
            let quiet = self.quiet_for(&content);
            let left = quiet.saturating_sub(since.elapsed());
            if let Next::Stop = self.serve(inbox.recv_timeout(left)) {
                return Quiet::Stop;
            }
            let now = FolderContent::read(&self.options.dir);
            if now != content {
                (content, since) = (now, Instant::now());
            } else if since.elapsed() >= quiet {
                return Quiet::Content(content);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Quiet::Busy;
            }
        }
    }

    /// How long the folder must be quiet. Longer where a file of the live rules is gone or empty: that
    /// is how one looks that is being written anew, and without it people would leave their lists.
    fn quiet_for(&self, content: &FolderContent) -> Duration {
        let live = self.state.live.load();
        let (Some(live), Ok(files)) = (live.as_ref(), content.files()) else {
            return self.options.quiet;
        };
        let is_filled = |file: &SourceFile| !file.text.trim().is_empty();
        let stands = |wanted: &SourceFile| {
            files.iter().any(|file| file.path == wanted.path && is_filled(file))
        };
        let mut wanted =
            live.files().iter().filter(|file| file.is_part_of_the_version() && is_filled(file));
        match wanted.all(stands) {
            true => self.options.quiet,
            false => self.options.quiet.saturating_mul(LOSS),
        }
    }

    /// Judges the folder's content, or what is pinned while the content is as it was then.
    fn judge(&mut self, content: &FolderContent) -> ReloadOutcome {
        let key = self.key(content);
        if self.seen.replace(key) == Some(key) {
            return ReloadOutcome::Unchanged;
        }
        if let Some(pinned) = self.options.pinned.clone().filter(|_| self.pin_holds(content)) {
            return match self.pin(pinned) {
                Ok(outcome) => outcome,
                Err((problems, files)) => self.refuse(problems, Some((files, process_user()))),
            };
        }
        let files = match content.files() {
            Ok(files) => files.to_vec(),
            Err(problems) => return self.refuse(problems.to_vec(), None),
        };
        let live = self.state.live.load_full();
        let before = live.as_deref().map(RuleSet::files).or(self.options.earlier.as_deref());
        let author = author_of(&self.options.dir, before.unwrap_or_default(), &files);
        match self.verdict(files.clone()) {
            Ok(rules) => {
                let ended = self.options.pinned.take().map(|pinned| pinned.pin);
                self.take_up(rules, author, ended)
            }
            Err(problems) => self.refuse(problems, Some((files, author))),
        }
    }

    /// Pins a version because somebody asks for it; refused, nothing changes.
    fn pin_now(&mut self, pinned: Pinned) -> ReloadOutcome {
        match self.pin(pinned) {
            Ok(outcome) => {
                let content = FolderContent::read(&self.options.dir);
                if self.pin_holds(&content) {
                    self.seen = Some(self.key(&content));
                }
                outcome
            }
            Err((problems, _)) => ReloadOutcome::Refused(RuleError::first_of(&problems)),
        }
    }

    /// Lets a version go live that is pinned; else says what is wrong with its files.
    fn pin(&mut self, pinned: Pinned) -> Result<ReloadOutcome, (Vec<Diagnostic>, Vec<SourceFile>)> {
        let root = root_of(&self.options.dir);
        let files: Vec<_> = pinned.files.iter().map(|file| file.clone().under(&root)).collect();
        let author = pinned.pin.author.clone();
        match self.verdict(files.clone()) {
            Ok(rules) => {
                self.options.pinned = Some(pinned);
                Ok(self.take_up(rules, author, None))
            }
            Err(problems) => Err((problems, files)),
        }
    }

    fn verdict(&self, files: Vec<SourceFile>) -> Result<RuleSet, Vec<Diagnostic>> {
        let live = self.state.live.load();
        let judge = Judge {
            dir: &self.options.dir,
            environment: &self.environment,
            require_tests: self.options.require_tests,
            live: live.as_deref(),
        };
        judge.judge(files)
    }

    fn take_up(
        &self,
        rules: RuleSet,
        author: Option<String>,
        ended: Option<RulesPin>,
    ) -> ReloadOutcome {
        let version = rules.version().clone();
        for warning in rules.warnings().iter().take(PROBLEMS) {
            tracing::warn!(
                file = %warning.file, line = warning.line, column = warning.column,
                "{}", warning.message
            );
        }
        let at = self.clock.now();
        let files = rules.files().to_vec();
        self.state.enter(Judgement {
            version: version.clone(),
            at,
            author,
            files,
            error: None,
            ended,
        });
        let pinned = self.options.pinned.as_ref().map(|pinned| pinned.pin.clone());
        let is_live = self.state.status.borrow().version.as_ref() == Some(&version);
        if is_live {
            // A test changed, or a broken file was put back as it was. Limits, which make no
            // version, are in force at once.
            self.state.live.store(Some(Arc::new(rules)));
            self.state.status.send_modify(|status| {
                (status.error, status.refused, status.pinned) = (None, None, pinned);
            });
            return ReloadOutcome::Unchanged;
        }
        tracing::info!(ruleset.version = %version, pinned = pinned.is_some(), "the rules are live");
        self.state.go_live(rules, at, pinned);
        ReloadOutcome::Live(version)
    }

    /// Says what is wrong, once. `content`: what was judged and who wrote it, where it could be read.
    fn refuse(
        &self,
        mut problems: Vec<Diagnostic>,
        content: Option<(Vec<SourceFile>, Option<String>)>,
    ) -> ReloadOutcome {
        problems.truncate(PROBLEMS);
        let error = RuleError::first_of(&problems);
        self.log_refusal(&error, problems.len());
        let at = self.clock.now();
        let mut version = None;
        if let Some((files, author)) = content {
            let refused = files::version(&files, &self.environment);
            version = Some(refused.clone());
            // A test that fails with the rules that are live makes no version.
            if !self.is_live(&refused) {
                self.state.enter(Judgement {
                    version: refused,
                    at,
                    author,
                    files,
                    error: Some(error.clone()),
                    ended: None,
                });
            }
        }
        self.state.refuse(Refusal { at, version, problems });
        ReloadOutcome::Refused(error)
    }

    /// One line for each content that is refused; the rest is in the API and the history.
    fn log_refusal(&self, error: &RuleError, problems: usize) {
        let RuleError { message, file, line, column } = error;
        let more = match problems.saturating_sub(1) {
            0 => String::new(),
            more => format!(" (and {more} more: `tajo scripts check`)"),
        };
        let stays = match self.state.live.load().is_some() {
            true => "the previous ones stay",
            false => "and there are no previous ones",
        };
        tracing::error!(file, line, column, "the rules were refused, {stays}: {message}{more}");
    }

    fn is_live(&self, version: &RuleSetVersion) -> bool {
        self.state.status.borrow().version.as_ref() == Some(version)
    }

    /// Falls back to the rules that were pinned, or live last, and keeps showing what is wrong with
    /// the folder. Where the pinned ones do not work, nobody wants what the pin was to replace.
    fn take_earlier(&mut self) {
        let refused = self.state.status.borrow().clone();
        if let Some(pinned) = self.options.pinned.clone() {
            if self.pin(pinned).is_err() {
                tracing::error!("the rules that are pinned do not work: derivation waits");
                return;
            }
        } else {
            let Some(files) = self.options.earlier.take() else {
                return;
            };
            let Ok(rules) = RuleSet::from_files(files, &self.environment) else {
                tracing::error!(
                    "the rules that were live last do not work with this configuration"
                );
                return;
            };
            let _ = self.take_up(rules, process_user(), None);
        }
        tracing::warn!("the folder's rules are not live: those that were live last stay so");
        self.state.status.send_modify(|status| {
            (status.error, status.refused) = (refused.error, refused.refused);
        });
    }

    fn pin_holds(&self, content: &FolderContent) -> bool {
        let pinned = self.options.pinned.as_ref();
        pinned.is_some_and(|pinned| pinned.pin.content == content.rules())
    }

    /// A digest of everything that a judgement depends on; times of files say nothing.
    fn key(&self, content: &FolderContent) -> Digest {
        let RuleEnvironment { lists, settings, field_mapping, phone_region, limits } =
            &self.environment;
        let limits = format!("{limits:?}");
        let pin = self.options.pinned.as_ref().map(|pinned| &pinned.pin);
        let content = content.digest().to_string();
        Digest::of_json(&json!([
            content,
            pin,
            lists,
            settings,
            field_mapping,
            phone_region,
            limits
        ]))
    }
}
