//! The threads that scripts run on: off the async executor, with stacks that deep scripts need.

use rayon::ThreadPoolBuilder;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use tokio::sync::oneshot;

use super::EngineError;
use super::derive::{self, Footing, Journey, Station};

/// Deep but legal scripts need more than the usual 2 MiB (facts: Rhai, "What the sandbox does not do
/// by itself").
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Pools of script threads.
#[derive(Debug)]
pub(crate) struct Scripts {
    /// For contacts, conversations and events, which come by the thousand.
    many: rayon::ThreadPool,
    /// For companies: who waits behind thousands of contacts is under suspicion all the while, should
    /// the process end.
    few: rayon::ThreadPool,
}

impl Scripts {
    /// Starts as many threads as there are cores, and one for companies.
    pub(crate) fn start() -> Result<Self, EngineError> {
        let pool = |threads| {
            ThreadPoolBuilder::new()
                .num_threads(threads)
                .stack_size(STACK_BYTES)
                .thread_name(|n| format!("script-{n}"))
                .build()
                .map_err(|error| EngineError::Worker(error.to_string()))
        };
        // Zero stands for the number of cores.
        Ok(Self { many: pool(0)?, few: pool(1)? })
    }

    /// Runs rules on each of `items`, beside whatever contacts are derived.
    pub(crate) async fn each<T, R>(
        &self,
        items: Vec<T>,
        run: impl Fn(T) -> R + Send + Sync + 'static,
    ) -> Result<Vec<R>, EngineError>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        run_on(&self.few, items, run).await
    }

    /// Runs the rules on journeys. Each is evaluated by exactly the rule set of `footing`.
    pub(crate) async fn decide(
        &self,
        footing: Footing,
        journeys: Vec<Journey>,
    ) -> Result<Vec<Station>, EngineError> {
        let decide = move |journey| {
            let Footing { config, rules, as_of } = &footing;
            derive::decide(config, rules, *as_of, journey)
        };
        self.run(journeys, decide).await
    }

    /// Runs something that asks the rules on each of `journeys`.
    pub(crate) async fn run<J, S>(
        &self,
        journeys: Vec<J>,
        decide: impl Fn(J) -> S + Send + Sync + 'static,
    ) -> Result<Vec<S>, EngineError>
    where
        J: Send + 'static,
        S: Send + 'static,
    {
        run_on(&self.many, journeys, decide).await
    }
}

async fn run_on<T, R>(
    pool: &rayon::ThreadPool,
    items: Vec<T>,
    run: impl Fn(T) -> R + Send + Sync + 'static,
) -> Result<Vec<R>, EngineError>
where
    T: Send + 'static,
    R: Send + 'static,
{
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let (answer, answered) = oneshot::channel();
    pool.spawn(move || {
        let done: Vec<R> = items.into_par_iter().map(run).collect();
        // Nobody waits any more: the claims are given back.
        let _ = answer.send(done);
    });
    answered
        .await
        .map_err(|_| EngineError::Worker("the scripts ended without an answer".to_owned()))
}
