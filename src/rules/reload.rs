//! The rule set that is live, and its replacement while the engine runs.
//!
//! A thread watches the folder, waits until it is quiet, judges exactly what it read then, and swaps
//! one pointer. Watchers can fall silent without a word, so the content is looked at every few
//! seconds as well. Whatever goes wrong, the previous rules stay; what is wrong is logged once per
//! content and shown in the [`RulesStatus`]. A pinned version stays live until the rules in the
//! folder change and are good.

mod worker;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use worker::Worker;

use super::judge::STACK_BYTES;
use super::ruleset::{RuleEnvironment, RuleSet, SourceFile};
use super::status::{Judgement, Refusal, ReloadOutcome, RuleError, RulesStatus};
use super::watch::FolderWatch;
use crate::model::{Clock, RulesPin, Timestamp};

/// How many judgements wait for the history at most.
const JUDGEMENTS: usize = 64;

/// How rules are found and taken up.
#[derive(Debug, Clone)]
pub struct ReloadOptions {
    /// The folder of the scripts.
    pub dir: PathBuf,
    /// Whether a set whose tests fail stays out. A set without tests is only warned about.
    pub require_tests: bool,
    /// The files of the rules that were live last, for a start with a folder that is broken.
    pub earlier: Option<Vec<SourceFile>>,
    /// The version that was pinned.
    pub pinned: Option<Pinned>,
    /// How long the folder must be quiet before it is judged.
    pub quiet: Duration,
    /// How often the content is looked at, whatever the watcher says.
    pub poll: Duration,
}

/// A pinned version with its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The pin.
    pub pin: RulesPin,
    /// The version's files.
    pub files: Vec<SourceFile>,
}

impl ReloadOptions {
    /// The options for a folder: tests required, 200 ms of quiet, a look every two seconds.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            require_tests: true,
            earlier: None,
            pinned: None,
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
    judgements: Mutex<VecDeque<Arc<Judgement>>>,
}

enum Request {
    /// Something in the folder changed, perhaps.
    Look,
    /// Look, and say what came of it.
    Reload(Sender<ReloadOutcome>),
    /// The configuration changed.
    Environment(Box<RuleEnvironment>),
    /// A version is pinned.
    Pin(Box<Pinned>, Sender<ReloadOutcome>),
    /// No version is pinned any more.
    Unpin(Sender<ReloadOutcome>),
    Stop,
}

impl Rules {
    /// Loads the folder, or what is pinned, and watches it. If it is broken, the earlier rules are
    /// taken; if there are none, [`Rules::current`] is `None` until the folder is mended. Blocks
    /// until the first look is done.
    pub fn open(
        options: ReloadOptions,
        environment: RuleEnvironment,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let state = Arc::new(State::default());
        let (requests, inbox) = mpsc::channel();
        let (ready, first) = mpsc::channel();
        let own = requests.clone();
        let tell = move || {
            let _ = own.send(Request::Look);
        };
        // The watcher only gathers what comes at once; the quiet is waited for after it.
        let watch = FolderWatch::new(&options.dir, options.quiet / 4, tell);
        let worker = Worker::new(state.clone(), options, environment, clock, watch);
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
        state.go_live(rules, clock.now(), None);
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

    /// The oldest judgement that is not in the history yet. Each wakes the subscribers.
    pub fn next_judgement(&self) -> Option<Arc<Judgement>> {
        self.state.judgements().front().cloned()
    }

    /// Says that a judgement is in the history.
    pub fn judgement_is_kept(&self, kept: &Arc<Judgement>) {
        let mut judgements = self.state.judgements();
        if judgements.front().is_some_and(|front| Arc::ptr_eq(front, kept)) {
            judgements.pop_front();
        }
    }

    /// Takes up another configuration, which makes a new version; the old one stays if the scripts
    /// do not work with it.
    pub fn set_environment(&self, environment: RuleEnvironment) {
        self.send(Request::Environment(Box::new(environment)));
    }

    /// Looks at the folder once it is quiet and waits for what comes of it. Blocks; not for async
    /// code.
    pub fn reload(&self) -> ReloadOutcome {
        self.ask(Request::Reload)
    }

    /// Lets a version go live and stay so until the rules in the folder change. Refused, everything
    /// stays as it is. Blocks.
    pub fn pin(&self, pinned: Pinned) -> ReloadOutcome {
        self.ask(|answer| Request::Pin(Box::new(pinned), answer))
    }

    /// Lets the folder decide again. Blocks.
    pub fn unpin(&self) -> ReloadOutcome {
        self.ask(Request::Unpin)
    }

    fn ask(&self, request: impl FnOnce(Sender<ReloadOutcome>) -> Request) -> ReloadOutcome {
        let (answer, outcome) = mpsc::channel();
        self.send(request(answer));
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
        Self {
            live: ArcSwapOption::empty(),
            status: watch::Sender::new(RulesStatus::default()),
            judgements: Mutex::default(),
        }
    }
}

impl State {
    fn go_live(&self, rules: RuleSet, at: Timestamp, pinned: Option<RulesPin>) {
        let version = Some(rules.version().clone());
        self.live.store(Some(Arc::new(rules)));
        self.status.send_replace(RulesStatus {
            version,
            loaded_at: Some(at),
            pinned,
            ..RulesStatus::default()
        });
    }

    fn refuse(&self, refusal: Refusal) {
        let error = Some(RuleError::first_of(&refusal.problems));
        self.status.send_modify(|status| {
            status.error = error;
            status.refused = Some(refusal);
        });
    }

    /// Leaves a judgement for the history. Whoever keeps it is woken by the status that follows.
    fn enter(&self, judgement: Judgement) {
        let mut judgements = self.judgements();
        if judgements.len() >= JUDGEMENTS {
            judgements.pop_front();
        }
        judgements.push_back(Arc::new(judgement));
    }

    fn judgements(&self) -> MutexGuard<'_, VecDeque<Arc<Judgement>>> {
        self.judgements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Look => "Look",
            Self::Reload(_) => "Reload",
            Self::Environment(_) => "Environment",
            Self::Pin(..) => "Pin",
            Self::Unpin(_) => "Unpin",
            Self::Stop => "Stop",
        })
    }
}

#[cfg(test)]
mod tests;
