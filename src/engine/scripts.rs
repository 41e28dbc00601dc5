//! The threads that scripts run on: off the async executor, with stacks that deep scripts need.

use std::cmp::Reverse;
use std::sync::Arc;

use rayon::ThreadPoolBuilder;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use tokio::sync::{RwLock, oneshot};

use super::EngineError;
use crate::store::{Claim, Store, StoreError, Suspicion};

/// Deep but legal scripts need more than the usual 2 MiB (facts: Rhai, "What the sandbox does not do
/// by itself").
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// What was claimed and is ready for the rules.
pub(crate) trait Claimed: Send + 'static {
    /// Its claim.
    fn claim(&self) -> &Claim;
}

/// The pool of script threads.
#[derive(Debug)]
pub(crate) struct Scripts {
    pool: rayon::ThreadPool,
    /// Held by everybody who runs rules; as a whole by who runs them on one suspect at a time.
    turn: RwLock<()>,
}

impl Scripts {
    /// Starts as many threads as there are cores.
    pub(crate) fn start() -> Result<Self, EngineError> {
        let pool = ThreadPoolBuilder::new()
            .stack_size(STACK_BYTES)
            .thread_name(|n| format!("script-{n}"))
            .build()
            .map_err(|error| EngineError::Worker(error.to_string()))?;
        Ok(Self { pool, turn: RwLock::new(()) })
    }

    /// Runs `ask`, which asks the rules, on each of `claimed`; the order of the answers is not that of
    /// the claims. What was being worked on when the process died is run while no other rule runs,
    /// one at a time, so that it cannot take others with it twice.
    pub(crate) async fn run<C: Claimed, A: Send + 'static>(
        &self,
        store: &Arc<dyn Store>,
        claimed: Vec<C>,
        ask: impl Fn(C) -> A + Send + Sync + 'static,
    ) -> Result<Vec<A>, EngineError> {
        let ask = Arc::new(ask);
        let (mut suspects, clean): (Vec<_>, Vec<_>) =
            claimed.into_iter().partition(|one| one.claim().suspicion > Suspicion::None);
        let mut answers = Vec::new();
        if !clean.is_empty() {
            let _shared = self.turn.read().await;
            let ask = Arc::clone(&ask);
            let together = move || clean.into_par_iter().map(|one| ask(one)).collect();
            answers = self.on_threads(together).await?;
        }
        if suspects.is_empty() {
            return Ok(answers);
        }
        // Who is suspected most is first: the others are soon cleared, whatever it does.
        suspects.sort_by_key(|one| Reverse(one.claim().suspicion));
        let keys = suspects.iter().map(|one| one.claim().key.clone()).collect();
        let _alone = self.turn.write().await;
        let notes = Arc::clone(store);
        let alone = move || -> Result<Vec<A>, StoreError> {
            let one_by_one = suspects.into_iter().map(|suspect| {
                notes.evaluate_alone(Some(&suspect.claim().key))?;
                let answer = ask(suspect);
                notes.evaluate_alone(None)?;
                Ok(answer)
            });
            one_by_one.collect()
        };
        answers.extend(self.on_threads(alone).await??);
        store.evaluated(keys).await?;
        Ok(answers)
    }

    async fn on_threads<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let (answer, answered) = oneshot::channel();
        self.pool.spawn(move || {
            // Nobody waits any more: the claims are given back.
            let _ = answer.send(run());
        });
        answered
            .await
            .map_err(|_| EngineError::Worker("the scripts ended without an answer".to_owned()))
    }
}
