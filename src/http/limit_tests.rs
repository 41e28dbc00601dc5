//! The limiter against a server that counts arrivals, with the clock paused.

use proptest::prelude::*;
use tokio::time::{advance, sleep};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn per_second(calls: u32) -> Limiter {
    Limiter::new("test", &[Rate { calls, per: SECOND }])
}

/// True if a permit comes without time passing.
async fn comes_at_once(limiter: &Limiter, lane: Lane) -> bool {
    tokio::select! {
        biased;
        permit = limiter.acquire(lane) => { std::mem::forget(permit); true }
        () = sleep(millis(1)) => false,
    }
}

/// One call: when it is asked for, how long until the server counts it, how long until the answer.
type Call = (u64, u64, u64, Lane);

fn lanes() -> impl Strategy<Value = Lane> {
    prop_oneof![Just(Lane::Urgent), Just(Lane::Live), Just(Lane::Bulk)]
}

/// Runs the calls and returns when the server counted each.
async fn arrivals(limiter: &Limiter, calls: Vec<Call>) -> Vec<Instant> {
    let run = |(asked, there, back, lane): Call| {
        let limiter = limiter.clone();
        tokio::spawn(async move {
            sleep(millis(asked)).await;
            let permit = limiter.acquire(lane).await;
            sleep(millis(there)).await;
            let counted = Instant::now();
            sleep(millis(back)).await;
            permit.finish();
            counted
        })
    };
    let tasks: Vec<_> = calls.into_iter().map(run).collect();
    let mut times = Vec::new();
    for task in tasks {
        times.push(task.await.unwrap());
    }
    times.sort();
    times
}

/// The most arrivals in any window of this length, wherever it starts.
fn most_in_any_window(times: &[Instant], per: Duration) -> usize {
    let within =
        |first: &Instant| times.iter().filter(|t| *t >= first && **t < *first + per).count();
    times.iter().map(within).max().unwrap_or(0)
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// INVARIANT: no window of the server holds more calls than its limit, whatever the latencies.
    #[test]
    fn is_never_above_quota_in_any_window_of_the_server(
        short in 1_u32..6,
        calls in prop::collection::vec((0_u64..3000, 0_u64..1500, 0_u64..1500, lanes()), 1..40),
    ) {
        let long = short * 3;
        let (second, ten) = (Rate { calls: short, per: SECOND }, Rate { calls: long, per: 10 * SECOND });
        let count = calls.len();
        let times = paused().block_on(arrivals(&Limiter::new("test", &[second, ten]), calls));
        prop_assert_eq!(times.len(), count);
        prop_assert!(most_in_any_window(&times, SECOND) <= short as usize);
        prop_assert!(most_in_any_window(&times, 10 * SECOND) <= long as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_one_window_after_the_response() {
    let limiter = per_second(1);
    let permit = limiter.acquire(Lane::Live).await;
    advance(5 * SECOND).await;
    assert!(!comes_at_once(&limiter, Lane::Live).await);
    let answered = Instant::now();
    permit.finish();
    let _next = limiter.acquire(Lane::Live).await;
    assert_eq!(Instant::now() - answered, SECOND);
}

/// How many calls of bulk pass now, and how many of others after them.
async fn granted(limiter: &Limiter) -> (usize, usize) {
    let mut granted = (0, 0);
    while comes_at_once(limiter, Lane::Bulk).await {
        granted.0 += 1;
    }
    while comes_at_once(limiter, Lane::Live).await {
        granted.1 += 1;
    }
    granted
}

#[tokio::test(start_paused = true)]
async fn bulk_leaves_a_fifth_of_a_second_to_others_while_they_call() {
    async fn case(limit: u32, bulk: usize) {
        let limiter = per_second(limit);
        limiter.acquire(Lane::Live).await.finish();
        advance(SECOND).await;
        assert_eq!(granted(&limiter).await, (bulk, limit as usize - bulk), "{limit}");
        // Nobody else has called for a while: it is all bulk's.
        let limiter = per_second(limit);
        limiter.acquire(Lane::Live).await.finish();
        advance(LIVE_IDLE + SECOND).await;
        assert_eq!(granted(&limiter).await, (limit as usize, 0), "{limit}");
    }
    case(1, 1).await;
    case(2, 2).await;
    case(3, 2).await;
    case(10, 8).await;
    case(100, 80).await;
}

#[tokio::test(start_paused = true)]
async fn a_part_of_an_hour_is_always_kept_from_bulk() {
    let hour = Duration::from_secs(3_600);
    let limiter = Limiter::new("test", &[Rate { calls: 100, per: hour }]);
    assert_eq!(granted(&limiter).await, (80, 20));
    let limiter = Limiter::new("test", &[Rate { calls: 5_000, per: hour }]);
    assert_eq!(granted(&limiter).await, (4_900, 100));
}

#[tokio::test(start_paused = true)]
async fn what_was_called_before_a_restart_counts() {
    let hour = Duration::from_secs(3_600);
    let limiter = Limiter::new("test", &[Rate { calls: 3, per: hour }]);
    limiter.recall(&[10, 4_000, 3_000].map(Duration::from_secs));
    assert_eq!(limiter.status().remaining, 1);
    assert!(comes_at_once(&limiter, Lane::Urgent).await);
    assert!(!comes_at_once(&limiter, Lane::Urgent).await);
    advance(Duration::from_secs(601)).await;
    assert!(comes_at_once(&limiter, Lane::Urgent).await);

    let limiter = per_second(10);
    limiter.assume_used(SECOND);
    assert!(!comes_at_once(&limiter, Lane::Urgent).await);
    advance(SECOND).await;
    assert_eq!(granted(&limiter).await, (8, 2));
}

#[tokio::test(start_paused = true)]
async fn other_rates_keep_what_was_counted() {
    let limiter = per_second(2);
    let _first = limiter.acquire(Lane::Live).await;
    limiter.set_rates(&[Rate { calls: 3, per: SECOND }]);
    assert_eq!((limiter.status().limit, limiter.status().remaining), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn urgent_goes_first_then_live_and_each_lane_in_order() {
    let limiter = per_second(1);
    limiter.acquire(Lane::Live).await.finish();
    let order = Arc::new(Mutex::new(Vec::new()));
    let ask = |name: &'static str, lane| {
        let (limiter, order) = (limiter.clone(), Arc::clone(&order));
        tokio::spawn(async move {
            let permit = limiter.acquire(lane).await;
            order.lock().unwrap().push(name);
            permit.finish();
        })
    };
    let tasks = [
        ask("bulk 1", Lane::Bulk),
        ask("live 1", Lane::Live),
        ask("bulk 2", Lane::Bulk),
        ask("live 2", Lane::Live),
        ask("urgent", Lane::Urgent),
    ];
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), ["urgent", "live 1", "live 2", "bulk 1", "bulk 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_keeps_no_slot() {
    let limiter = per_second(1);
    let permit = limiter.acquire(Lane::Live).await;
    let impatient = tokio::time::timeout(millis(10), limiter.acquire(Lane::Live)).await;
    assert!(impatient.is_err());
    permit.finish();
    advance(SECOND).await;
    assert!(comes_at_once(&limiter, Lane::Live).await);
}

#[tokio::test(start_paused = true)]
async fn nothing_passes_before_a_block_ends() {
    let limiter = per_second(10);
    let start = Instant::now();
    limiter.block_until(start + 7 * SECOND);
    limiter.block_until(start + 3 * SECOND);
    assert_eq!(limiter.status().blocked_for, Some(7 * SECOND));
    let _permit = limiter.acquire(Lane::Urgent).await;
    assert_eq!(Instant::now() - start, 7 * SECOND);
    assert_eq!(limiter.status().blocked_for, None);
}

#[tokio::test(start_paused = true)]
async fn a_block_holds_those_who_already_wait() {
    let limiter = per_second(1);
    let start = Instant::now();
    limiter.acquire(Lane::Live).await.finish();
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.acquire(Lane::Live).await.finish() }
    });
    tokio::task::yield_now().await;
    limiter.block_until(start + 5 * SECOND);
    waiting.await.unwrap();
    assert_eq!(Instant::now() - start, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn headers_win_over_configuration_within_reason() {
    let limiter = per_second(10);
    let seen = |limit, remaining| Observation { limit, remaining, reset: SECOND, per: SECOND };
    limiter.observe(seen(4, 4));
    assert_eq!((limiter.status().limit, limiter.status().remaining), (4, 4));
    limiter.observe(seen(0, 0));
    assert_eq!(limiter.status().limit, 1);
    advance(2 * SECOND).await;
    limiter.observe(seen(u32::MAX, u32::MAX));
    assert_eq!(limiter.status().limit, 1_000_000);
}

#[tokio::test(start_paused = true)]
async fn calls_of_others_count_until_the_reset() {
    let limiter = per_second(10);
    limiter.acquire(Lane::Live).await.finish();
    let reset = 30 * SECOND;
    limiter.observe(Observation { limit: 10, remaining: 3, reset, per: SECOND });
    assert_eq!((limiter.status().in_use, limiter.status().remaining), (7, 3));
    // An older answer that comes late changes nothing.
    limiter.observe(Observation { limit: 10, remaining: 8, reset, per: SECOND });
    assert_eq!(limiter.status().remaining, 3);
    advance(2 * SECOND).await;
    assert_eq!(limiter.status().remaining, 4);
    advance(29 * SECOND).await;
    assert_eq!(limiter.status().remaining, 10);
}

#[tokio::test(start_paused = true)]
async fn an_absurd_reset_is_cut() {
    let limiter = per_second(10);
    let reset = Duration::from_secs(u64::from(u32::MAX));
    limiter.observe(Observation { limit: 10, remaining: 0, reset, per: SECOND });
    let start = Instant::now();
    let _permit = limiter.acquire(Lane::Live).await;
    assert_eq!(Instant::now() - start, 60 * SECOND);
}
