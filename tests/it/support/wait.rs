//! Waiting for a state, with a deadline; never for time to pass.

use std::time::{Duration, Instant};

/// The longest that a state may take to come true on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `check` answers something; fails with `what` if it does not in time.
#[track_caller]
pub(crate) fn until<T>(
    what: &str,
    mut check: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        loop {
            if let Some(found) = check().await {
                return found;
            }
            assert!(began.elapsed() < DEADLINE, "{caller}: not in time: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
